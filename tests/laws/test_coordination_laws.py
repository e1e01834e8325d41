"""Laws of price coordination: bound, plan, recovery, audit, late answers, warm starts."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.coordination import Coordinator
from gridflock.plan.coordination._first import first_duals
from gridflock.plan.coordination._recover import recover
from gridflock.plan.devices import Stores, Vehicles

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("coordination_world")
ask, batteries, mixed, optimum, run = here.ask, here.batteries, here.mixed, here.optimum, here.run

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.integers(1, 14))
@settings(max_examples=12)
def test_bound_optimum_plan(seed, rounds):
    """Whenever it is stopped: bound <= optimum of the one program <= cost of the plan."""
    of = batteries(seed)
    best = optimum(of)
    plan = run(of, rounds, target=0.0).plan()
    tolerance = 1e-6 * max(abs(best), 1.0)
    assert plan.status.bound <= best + tolerance
    assert best <= plan.status.cost + tolerance
    assert np.abs(plan.weight.sum(axis=0) - 1.0).max() <= 1e-9


@given(SEEDS)
@settings(max_examples=8)
def test_the_gap_closes(seed):
    """Enough rounds bring plan and bound together at the optimum."""
    of = batteries(seed)
    coordinator = run(of, 400, target=1e-4)
    assert coordinator.status().done
    assert abs(coordinator.plan().status.cost - optimum(of)) <= 2e-4 * abs(optimum(of)) + 1e-6


@given(SEEDS, st.integers(1, 40))
@settings(max_examples=15)
def test_recovery_keeps_limits_and_devices(seed, rounds):
    """Every device's schedule is its own, the sums are the plan's, limits hold up to its slack."""
    of = mixed(seed)
    plan = run(of, rounds, target=0.002).plan()
    got = recover(of.problem, of.oracles, plan)
    assert got.violations == 0
    stores, vehicles = of.oracles
    assert isinstance(stores, Stores)
    assert isinstance(vehicles, Vehicles)
    p_kw = got.p_kw[0].astype(np.float64)
    moved = np.where(p_kw < 0, -p_kw * stores.eff_charge[:, None], -p_kw / stores.eff_discharge[:, None])
    held = stores.e_now_kwh[:, None] + np.cumsum(moved * of.problem.hours, axis=1)
    near = 1e-4 * stores.e_hi_kwh[:, None]
    assert (held <= stores.e_hi_kwh[:, None] + near).all()
    assert (held >= stores.e_lo_kwh[:, None] - near).all()
    assert (p_kw >= -stores.charge_kw[:, None] * (1 + 1e-5)).all()
    drawn = -got.p_kw[1].astype(np.float64)
    served = vehicles.need_kwh - vehicles.missing_kwh()
    assert np.abs(drawn @ of.problem.hours - served).max() <= 1e-4
    assert (drawn <= vehicles.most_kw[:, None] * (1 + 1e-5)).all()
    steps = np.arange(len(of.problem.hours))
    outside = (steps < vehicles.first[:, None]) | (steps >= vehicles.last[:, None])
    assert not drawn[outside].any()
    if not got.corrected:
        assert np.abs(got.sums_kw - plan.p_kw).max() <= 1e-3


@given(SEEDS)
@settings(max_examples=10)
def test_a_mix_leaves_a_store_fuller_never_emptier(seed):
    """Replay finds nothing missing at the floor: only charging that no longer fits is cut."""
    of = mixed(seed, fleet="volatile")
    plan = run(of, 25, target=0.0).plan()
    stores = of.oracles[0]
    p_kw = np.zeros((stores.members, len(of.problem.hours)), dtype=np.float32)
    groups = slice(0, stores.groups)
    for question, weight in zip(plan.questions, plan.weight[:, groups], strict=True):
        stores.add_schedules(question.of(groups), weight, p_kw)
    before = p_kw.copy()
    clipped, _ = stores.replay(p_kw)
    cut = stores.corrected(clipped)
    changed = np.abs(p_kw - before) > 1e-3
    assert (before[cut][changed[cut]] < 0.0).all()
    assert (np.abs(p_kw) <= np.abs(before) + 1e-5).all()


@given(SEEDS, st.integers(2, 12))
@settings(max_examples=10)
def test_the_audit_catches_a_liar(seed, at):
    """A group that claims to be best while it is not is named, and its bound no longer counts in full."""
    of = mixed(seed)

    def lie(k, answer):
        if k != at:
            return answer
        cost = answer.cost.copy()
        cost[1] += 0.2 * abs(of.problem.worth(answer.p_kw)[1]) + 10.0  # dearer than it could be
        return replace(answer, cost=cost)

    honest, liar = run(of, at + 6, target=0.0), run(of, at + 6, lie, target=0.0)
    assert honest.status().breaches == 0
    assert liar.status().breaches > 0
    assert 1 in liar.answers.suspects()


@given(SEEDS, st.integers(1, 10))
@settings(max_examples=10)
def test_a_late_oracle_keeps_its_last_column(seed, at):
    """Without an answer a group stays as it was: no bound of that round, the plan goes on and stays true."""
    of = batteries(seed)

    def late(k, answer):
        cost = answer.cost.copy()
        cost[0] = np.nan if k == at else cost[0]
        return replace(answer, cost=cost)

    coordinator = run(of, at + 8, late, target=0.0)
    bounds = coordinator.answers.bounds()
    if len(bounds) > at:
        assert bounds[at] == -np.inf
    best = optimum(of)
    status = coordinator.plan().status
    assert status.bound <= best + 1e-6 * abs(best)
    assert best <= status.cost + 1e-6 * abs(best)


def test_the_first_round_must_be_whole():
    """A group that has never answered cannot be planned; an empty plan is refused."""
    of = batteries(1)
    coordinator = Coordinator(of.problem)
    with pytest.raises(ValueError, match="no answers yet"):
        coordinator.plan()
    answer = ask(of, coordinator.question())
    with pytest.raises(ValueError, match="1 groups without"):
        coordinator.absorb(replace(answer, cost=np.where(np.arange(2) == 0, np.nan, answer.cost)))


@given(SEEDS)
@settings(max_examples=8)
def test_a_warm_start_proves_at_least_what_it_was_given(seed):
    """The duals of a plan carried to the same problem prove its bound with the first answer."""
    of = batteries(seed)
    cold = run(of, 60, target=0.001).plan()
    warm = run(of, 1, target=0.001, warm=cold.dual, softness=0.0)
    assert warm.status().bound >= cold.status.bound - 1e-6 * abs(cold.status.bound)


@given(SEEDS)
@settings(max_examples=6)
def test_a_bad_warm_start_does_no_harm(seed):
    """From any duals, even beyond the slack's price, the target is reached."""
    of = batteries(seed)
    wild = np.random.default_rng(seed).uniform(-1.0, 3.0, of.problem.rows.need_kw.shape)
    assert run(of, 400, target=0.001, warm=wild).status().done


def test_same_questions_same_plan():
    """Two runs give the same bytes."""
    of = mixed(3)
    one, two = (run(of, 20, target=0.0).plan() for _ in range(2))
    assert one.p_kw.tobytes() == two.p_kw.tobytes()
    assert one.weight.tobytes() == two.weight.tobytes()


def test_export_limits_bind_as_import_limits_do():
    """A ceiling lowers the price behind it, and the plan keeps below it."""
    of = batteries(5, ders=40)
    limits = of.problem.limits
    free = run(of, 60, target=0.001).plan()
    net = free.p_kw + limits.fixed_kw[:2]
    ceiling = np.full_like(limits.ceiling_kw, np.inf)
    ceiling[:2] = np.quantile(net, 0.9, axis=1)[:, None]
    problem = replace(of.problem, limits=replace(limits, ceiling_kw=ceiling))
    held = replace(of, problem=problem)
    plan = run(held, 300, target=0.002).plan()
    assert plan.slack_kw.max() <= 1e-6
    assert (plan.p_kw + limits.fixed_kw[:2] <= ceiling[:2] + 1e-6).all()
    best = optimum(held)
    assert plan.status.bound <= best + 1e-6
    assert best <= plan.status.cost + 1e-6


def test_first_prices_from_a_few_are_near_those_of_all():
    """One device in five finds duals that prove most of what all devices' own duals prove."""
    of = mixed(2, ders=3000, feeders=3, fleet="normal")
    guess = first_duals(of.problem, of.oracles, 5)
    began, warm = run(of, 1, target=0.0), run(of, 1, target=0.0, warm=guess)
    best = run(of, 40, target=0.001).status().bound
    assert best - warm.status().bound <= 0.2 * (best - began.status().bound)
