"""Laws of the whole way: any mix of oracles, deadlines, the next horizon, what replay leaves over."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._coordination_world import rolled
from gridflock.plan.coordination import Carried, Coordinator, Limits, Peaks, answered, coordinate
from gridflock.plan.coordination import _coordinator as coordinator_file
from gridflock.plan.coordination._first import first_duals
from gridflock.plan.coordination._later import resumed
from gridflock.plan.coordination._resplit import resplit
from gridflock.plan.devices import Bands

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "cases"))
here = importlib.import_module("coordination_world")
units_world = importlib.import_module("units_world")
batteries, mixed, optimum, run = here.batteries, here.mixed, here.optimum, here.run

SEEDS = st.integers(0, 10_000)


def held(stores, p_kw, hours):
    """(m, T) contents after each step."""
    moved = np.where(p_kw < 0, -p_kw * stores.eff_charge[:, None], -p_kw / stores.eff_discharge[:, None])
    return stores.e_now_kwh[:, None] + np.cumsum(moved * hours, axis=1)


def possible(of, schedules):
    """Stores keep power and content, vehicles power, window and need."""
    hours = of.problem.hours
    stores, vehicles = of.oracles
    near = 1e-4 * stores.e_hi_kwh[:, None]
    p_kw, drawn = schedules[0].astype(np.float64), -schedules[1].astype(np.float64)
    contents = held(stores, p_kw, hours)
    assert (contents <= stores.e_hi_kwh[:, None] + near).all()
    assert (contents >= stores.e_lo_kwh[:, None] - near).all()
    assert (p_kw >= -stores.charge_kw[:, None] * (1 + 1e-5)).all()
    assert (p_kw <= stores.discharge_kw[:, None] * (1 + 1e-5)).all()
    assert np.abs(drawn @ hours - (vehicles.need_kwh - vehicles.missing_kwh())).max() <= 1e-3
    assert (drawn >= -1e-6).all()
    assert (drawn <= vehicles.most_kw[:, None] * (1 + 1e-5)).all()
    steps = np.arange(len(hours))
    assert not drawn[(steps < vehicles.first[:, None]) | (steps >= vehicles.last[:, None])].any()


@given(SEEDS)
@settings(max_examples=8)
def test_a_plan_goes_on_into_the_next_horizon(seed):
    """Prices and schedules carried on: possible for every device, limits hold, the gap is proven anew."""
    of = mixed(seed)
    cold = coordinate(of.problem, of.oracles, target=0.01)
    assert cold.plan.status.done
    assert cold.recovered.violations == 0
    later = rolled(of, cold.recovered, seed)
    warm = coordinate(
        later.problem, later.oracles, target=0.01, warm=Carried.of(cold.plan, cold.recovered, steps=1, day=96)
    )
    assert warm.plan.status.done
    assert warm.recovered.violations == 0
    assert np.abs(warm.plan.weight.sum(axis=0) + warm.plan.kept - 1.0).max() <= 1e-6
    possible(later, warm.recovered.p_kw)
    if not warm.recovered.corrected:
        assert np.abs(warm.recovered.sums_kw - warm.plan.p_kw).max() <= 1e-2
    again = coordinate(later.problem, later.oracles, target=0.01)
    assert warm.plan.status.bound <= again.plan.status.cost * (1 + 1e-9) + 1e-6
    assert again.plan.status.bound <= warm.plan.status.cost * (1 + 1e-9) + 1e-6


@given(SEEDS)
@settings(max_examples=10)
def test_old_schedules_become_possible_ones(seed):
    """Whatever devices have done meanwhile: resumed schedules keep powers, contents, windows and needs."""
    of = mixed(seed)
    rng = np.random.default_rng(seed)
    wild = [
        rng.normal(0.0, 6.0, (each.members, len(of.problem.hours))).astype(np.float32) for each in of.oracles
    ]
    sums, cost = resumed(of.oracles, wild)
    possible(of, wild)
    assert np.isfinite(cost).all()
    first = of.oracles[0].groups
    assert sums[0] == pytest.approx(wild[0][: of.oracles[0].start[1]].sum(axis=0), abs=1e-3)
    assert not cost[first:].any()


def test_what_does_not_fit_is_left_aside():
    """Duals of other rows, or schedules of other devices, are no error: the plan begins without them."""
    of = mixed(4)
    wrong = Carried(np.ones((1, 3)), (np.zeros((2, 3), dtype=np.float32),))
    plain = coordinate(of.problem, of.oracles, target=0.01)
    done = coordinate(of.problem, of.oracles, target=0.01, warm=wrong)
    assert done.plan.p_kw.tobytes() == plain.plan.p_kw.tobytes()


def test_duals_move_with_the_clock():
    """New steps take the duals of a day before where there is one, otherwise the last step's."""
    plan = run(batteries(3), 5).plan()
    steps = plan.dual.shape[1]
    day = Carried.of(plan, None, steps=2, day=steps).dual
    assert (day == np.roll(plan.dual, -2, axis=1)).all()
    none = Carried.of(plan, None, steps=2, day=10 * steps).dual
    assert (none[:, :-2] == plan.dual[:, 2:]).all()
    assert (none[:, -2:] == plan.dual[:, -1:]).all()


@given(SEEDS, st.integers(0, 5))
@settings(max_examples=8)
def test_a_deadline_leaves_a_true_plan(seed, rounds):
    """Stopped at any moment: bound <= optimum <= cost, schedules, and a status that says so."""
    of = batteries(seed)
    told = []

    def go_on():
        return len(told) <= rounds

    done = coordinate(of.problem, of.oracles, target=0.0, go_on=go_on, progress=told.append)
    best = optimum(of)
    status = done.plan.status
    assert status.answers == len(told)
    assert len(told) == rounds + 1 or status.done
    assert status.done == (status.gap == 0.0)
    assert done.plan.status.bound <= best + 1e-6 * abs(best)
    assert best <= done.plan.status.cost + 1e-6 * abs(best)
    assert done.recovered.violations == 0


def test_a_bad_problem_is_no_plan():
    """Faults come back as values, with nothing planned."""
    of = mixed(1)
    done = coordinate(replace(of.problem, price=np.full_like(of.problem.price, np.nan)), of.oracles)
    assert done.plan is None
    assert done.recovered is None
    assert done.rejected[0].field == "price"
    short = coordinate(of.problem, of.oracles[:1])
    assert "oracles answer for" in short.rejected[0].reason


def test_a_limit_below_the_load_gives_way_and_is_named():
    """An import limit that the load alone breaks: a plan, and the limit with step, price and slack."""
    of = mixed(6)
    limits = of.problem.limits
    floor = limits.floor_kw.copy()
    floor[1] = limits.fixed_kw[1].max() * 0.5
    done = coordinate(replace(of.problem, limits=replace(limits, floor_kw=floor)), of.oracles, target=0.02)
    worst = done.reasons[0]
    assert worst.row == limits.names[1]
    assert worst.slack_kw > 0.0
    assert worst.price == pytest.approx(limits.slack_price[1], rel=0.05)
    assert done.recovered.violations == 0


def test_band_stores_and_vehicles_in_one_plan():
    """Rows of any kind behind the same limits; their contents hold after the replay."""
    of = mixed(8)
    stores, vehicles = of.oracles
    m, steps = stores.members, len(of.problem.hours)
    same, per_row = np.ones((m, steps)), np.ones((m, steps + 1))
    bands = Bands(
        hours=of.problem.hours,
        start=stores.start,
        base_kw=0.0 * same,
        up_kw=stores.discharge_kw[:, None] * same,
        down_kw=stores.charge_kw[:, None] * same,
        x_lo_kwh=(stores.e_lo_kwh - stores.e_now_kwh)[:, None] * per_row,
        x_hi_kwh=(stores.e_hi_kwh - stores.e_now_kwh)[:, None] * per_row,
        gain_up=-1.0 / stores.eff_discharge,
        gain_down=stores.eff_charge,
        cost_up=stores.wear,
        cost_down=stores.wear,
        end_value=stores.end_value,
        loss_per_hour=np.zeros(m),
    )
    done = coordinate(of.problem, [bands, vehicles], target=0.005)
    twin = coordinate(of.problem, of.oracles, target=0.005)
    worth = float((stores.end_value * (stores.e_now_kwh - stores.e_want_kwh)).sum())
    assert done.plan.status.done
    assert done.recovered.violations == 0
    assert done.plan.status.bound - worth <= twin.plan.status.cost + 1e-6
    assert twin.plan.status.bound <= done.plan.status.cost - worth + 1e-6
    possible(of, done.recovered.p_kw)
    kept = Carried.of(done.plan, done.recovered, steps=0, day=96)
    warm = coordinate(of.problem, [bands, vehicles], target=0.005, warm=kept)
    assert warm.plan.status.answers < done.plan.status.answers
    assert warm.plan.kept.max() > 0.5


def test_units_are_never_mixed():
    """Beside batteries that mix, each unit follows one of its answers; the gap says what that costs."""
    of = batteries(4, steps=6)
    rng = np.random.default_rng(3)
    units = replace(units_world.units(rng, 3, 6, 2, 1), hours=of.problem.hours)
    problem = replace(of.problem, groups=of.problem.groups + units.groups)
    done = coordinate(problem, [*of.oracles, units], target=0.01)
    assert set(np.unique(done.plan.weight[:, -units.groups :])) <= {0.0, 1.0}
    assert done.plan.status.bound <= done.plan.status.cost
    assert done.recovered.violations == 0
    assert done.recovered.cost == pytest.approx(done.plan.status.cost, rel=1e-3, abs=1e-3)


@given(SEEDS)
@settings(max_examples=10)
def test_what_some_cannot_draw_others_draw(seed):
    """Re-splitting lowers the sums by what it says, within powers and contents."""
    of = batteries(seed)
    stores, hours = of.oracles[0], of.problem.hours
    rng = np.random.default_rng(seed)
    p_kw = rng.normal(0.0, 4.0, (stores.members, len(hours))).astype(np.float32)
    resumed(of.oracles, [p_kw])
    before = p_kw.astype(np.float64)
    missing = rng.uniform(0.0, 6.0, (stores.groups, len(hours))) * (rng.random(len(hours)) < 0.3)
    left = resplit(stores, p_kw, missing.copy())
    assert (left >= -1e-9).all()
    assert (left <= missing + 1e-9).all()
    drawn = (before - p_kw).reshape(stores.groups, -1, len(hours)).sum(axis=1)
    assert drawn == pytest.approx(missing - left, abs=1e-4)
    assert (p_kw >= -stores.charge_kw[:, None] * (1 + 1e-5)).all()
    contents = held(stores, p_kw.astype(np.float64), hours)
    assert (contents <= stores.e_hi_kwh[:, None] * (1 + 1e-4)).all()
    room = stores.e_hi_kwh[:, None] - contents
    able = np.minimum.accumulate(room[:, ::-1], axis=1)[:, ::-1] > 1e-3
    more = (p_kw > -stores.charge_kw[:, None] * (1 - 1e-4)) & able
    unserved = np.repeat(left > 1e-6, np.diff(stores.start), axis=0)
    assert not (more & unserved).any()


def test_what_replay_leaves_over_is_split_or_stated():
    """Batteries mixed against narrow limits end fuller than planned: others draw, or the row is named."""
    corrected, taken_over, stated = 0, 0.0, 0
    for seed in range(6):
        of = mixed(seed, ders=400)
        limits, rows = of.problem.limits, of.problem.rows
        net = np.array([run(of, 25, target=0.002).plan().p_kw[g].sum(axis=0) for g in limits.groups])
        middle = np.quantile(net + limits.fixed_kw, 0.5, axis=1, keepdims=True)
        ceiling = np.maximum(middle, limits.floor_kw + 1.0)
        problem = replace(of.problem, limits=replace(limits, ceiling_kw=ceiling))
        done = coordinate(problem, of.oracles, target=0.02)
        got, rows = done.recovered, problem.rows
        beyond = got.short_kw - done.plan.slack_kw > 1e-5 * rows.scale_kw
        assert got.violations == beyond.sum()
        named = {(reason.row, reason.step) for reason in done.reasons if reason.slack_kw > 0.0}
        assert {(rows.names[s], int(t)) for s, t in np.argwhere(beyond)} <= named
        assert got.cost >= done.plan.status.bound - 1e-6 * abs(got.cost)
        corrected, taken_over, stated = (
            corrected + got.corrected,
            taken_over + got.resplit_kwh,
            stated + got.violations,
        )
    assert corrected > 0
    assert taken_over > 0.0
    assert stated > 0


def test_few_rounds_are_remembered(monkeypatch):
    """With room for a dozen answers the target is reached all the same."""
    monkeypatch.setattr(coordinator_file, "MOST_ROUNDS", 12)
    monkeypatch.setattr(coordinator_file, "NEWEST", 4)
    of = here.coupled(0)
    coordinator = run(of, 400, target=1e-3)
    status, best = coordinator.status(), here.referee(of)
    assert status.done
    assert status.answers > 12
    assert coordinator.answers.rounds < status.answers
    assert status.bound <= best + 1e-6 * abs(best)
    assert best <= status.cost + 1e-6 * abs(best)


def test_no_limits_and_no_worth_have_plans():
    """Nothing that couples, only a peak, or energy worth nothing: plans with a proven gap all the same."""
    of = mixed(1)
    steps = len(of.problem.hours)
    none, limits = np.zeros((0, steps)), of.problem.limits
    free = replace(of.problem, limits=Limits((), (), none, none, none, np.zeros(0)))
    every = np.arange(free.groups)
    peak = Peaks(("demand charge",), (every,), limits.fixed_kw[-1:], np.zeros(1), np.array([0.3]))
    worthless = replace(of.problem, price=np.zeros(steps))
    for problem in (free, replace(free, peaks=peak), worthless):
        done = coordinate(problem, of.oracles, target=0.01)
        assert done.plan.status.done
        assert done.recovered.violations == 0


class Vague:
    """An oracle that is never sure of its answers."""

    def __init__(self, of):
        self.of, self.groups, self.members, self.start = of, of.groups, of.members, of.start
        self.add_schedules = of.add_schedules

    def respond(self, question):
        """The same, and a better one might save 5."""
        answer = self.of.respond(question)
        return replace(answer, epsilon=answer.epsilon + 5.0)


def test_work_that_leads_nowhere_ends():
    """Where the answers themselves leave the gap open the work ends by itself, and the status says so."""
    of = batteries(3)
    done = coordinate(of.problem, [Vague(of.oracles[0])], target=1e-4)
    assert not done.plan.status.done
    assert done.plan.status.gap >= 5.0
    assert done.recovered.violations == 0


def test_only_the_promising_are_asked():
    """Oracles whose groups promise little are left out of a round; all others answer."""
    of = mixed(2)
    question = Coordinator(of.problem).question()
    stores = of.oracles[0].groups
    promise = np.where(np.arange(of.problem.groups) < stores, 0.1, 1.0)
    answer = answered(of.oracles, question, promise)
    assert np.isnan(answer.cost[:stores]).all()
    assert np.isfinite(answer.cost[stores:]).all()
    assert np.isfinite(answered(of.oracles, question).cost).all()


def test_warm_prices_are_refined_on_a_few():
    """Duals to begin with are improved on the few devices: they prove more than those given."""
    of = mixed(2, ders=3000, feeders=3, fleet="normal")
    rng = np.random.default_rng(1)
    best = run(of, 40, target=0.001).plan()
    stale = best.dual * rng.uniform(0.0, 2.0, best.dual.shape)
    refined = first_duals(of.problem, of.oracles, 5, stale)
    bounds = [run(of, 1, target=0.0, warm=dual, softness=0.0).status().bound for dual in (stale, refined)]
    assert bounds[1] > bounds[0]
