"""Laws of what a feeder's day must keep, and of the repair of plans that do not keep it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._network_world import drawn
from gridflock.grid.build import from_document
from gridflock.plan.devices import Bands
from gridflock.plan.network import Policy
from gridflock.plan.network._columns import columns
from gridflock.plan.network._correction import project
from gridflock.plan.network._deciders import softened
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._fallback import shrunk
from gridflock.plan.network._movement import Bounds, Dispatch, Guard, Kinds, Space
from gridflock.plan.network._repair import SPENT, Workshop, _score, repair
from gridflock.plan.network._verdict import judged, limits
from gridflock.sim import feeder_document

KWH = 1e-6
SEEDS = st.integers(0, 1_000)


def workshop(seed, ders=200, peak=0.51):
    """A packed feeder's day, its limits no worse than without devices, and the plan by price alone."""
    of = drawn(from_document(feeder_document("ieee123")), ders, seed, peak=peak)
    bands, stand = Bands.of(of.flexibility), columns(of.place, of.s_kva, of.feeder.ports)
    exact = Exact(of.feeder)
    still = np.zeros((of.feeder.ports, of.feeder.steps))
    without = exact.points(still, still)
    kept = limits(of.feeder.network, without.v, exact.currents(without.v))
    shop = Workshop(of.feeder, exact, kept, bands, stand, of.price)
    p_kw, _ = bands.respond_rows(of.price[of.place])
    return shop, Dispatch(p_kw, np.zeros((len(stand.reactive), of.feeder.steps)))


def missing_kwh(bands, p_kw):
    """By how much schedules leave their bands at most."""
    change = p_kw - bands.base_kw
    gain = np.where(change > 0.0, bands.gain_up[:, None], -bands.gain_down[:, None])
    content = np.cumsum(gain * change * bands.hours, axis=1)
    return max((bands.x_lo_kwh[:, 1:] - content).max(), (content - bands.x_hi_kwh[:, 1:]).max())


@given(SEEDS)
@settings(max_examples=4)
def test_a_repaired_plan_is_possible_and_no_worse(seed):
    """Devices keep powers and stores, inverters their rating; what is left is no more, by sum and steps."""
    shop, plan = workshop(seed, ders=450)
    before = shop.judged(plan)[1]
    found = repair(shop, plan, rounds=6)
    after = shop.judged(found.dispatch)[1]
    bands, p_kw = shop.bands, found.dispatch.p_kw
    assert missing_kwh(softened(bands, 0.0), p_kw) <= KWH
    assert (p_kw >= bands.base_kw - bands.down_kw - 1e-9).all()
    assert (p_kw <= bands.base_kw + bands.up_kw + 1e-9).all()
    assert (np.abs(found.dispatch.q_kvar) <= shop.columns.reactive_room(p_kw) + 1e-9).all()
    assert _score(after) <= _score(before)
    assert after.clean == found.verdict.clean


def test_the_repair_takes_all_violations_out():
    """A plan by price alone that breaks limits keeps them all after its repair."""
    shop, plan = workshop(3, ders=600)
    assert not shop.judged(plan)[1].clean
    found = repair(shop, plan)
    assert found.verdict.clean
    assert found.rounds


def test_a_clean_plan_is_left_alone():
    """Nothing is touched where nothing is broken."""
    shop, plan = workshop(1, ders=20)
    found = repair(shop, plan)
    assert found.verdict.clean
    assert found.dispatch is plan
    assert found.rounds == ()


def test_a_step_without_a_solution_is_shrunk_until_it_has_one():
    """A plan that asks more of a step than the feeder can carry comes back solved and clean."""
    shop, plan = workshop(1, ders=60)
    base, down = shop.bands.base_kw.copy(), shop.bands.down_kw.copy()
    free = np.flatnonzero((shop.bands.gain_down == 0.0) & (shop.bands.gain_up == 0.0))[:3]
    base[free, 10], down[free, 10] = 60_000.0, 60_000.0
    p_kw = plan.p_kw.copy()
    p_kw[free] = base[free]
    shop = replace(shop, bands=replace(shop.bands, base_kw=base, down_kw=down))
    begun = Dispatch(p_kw, plan.q_kvar)
    assert not shop.judged(begun)[1].solved[10]
    found = repair(shop, begun)
    assert found.rounds[0].unsolved == 1
    assert found.verdict.clean


def test_a_step_that_cannot_be_mended_ends_the_search():
    """Once nothing is left to shrink of what is broken, no more rounds follow; all else is clean."""
    shop, plan = workshop(1, ders=60)
    base, down = shop.bands.base_kw.copy(), shop.bands.down_kw.copy()
    fixed = np.flatnonzero((shop.bands.gain_down == 0.0) & (shop.bands.gain_up == 0.0))[:3]
    base[fixed], down[fixed], base[fixed, 10] = 0.0, 0.0, -600.0
    p_kw = plan.p_kw.copy()
    p_kw[fixed] = base[fixed]
    shop = replace(shop, bands=replace(shop.bands, base_kw=base, down_kw=down))
    found = repair(shop, Dispatch(p_kw, plan.q_kvar))
    assert found.verdict.solved.all()
    assert np.flatnonzero(found.verdict.by_step).tolist() == [10]
    assert len(found.rounds) <= SPENT + 2


def test_no_time_is_no_change():
    """A repair that may not go on gives back what it got, with its verdict."""
    shop, plan = workshop(3, ders=600)
    found = repair(shop, plan, going=lambda: False)
    assert found.dispatch is plan
    assert not found.verdict.clean


@given(SEEDS)
@settings(max_examples=3)
def test_what_is_shrunk_to_nothing_is_the_day_without_devices(seed):
    """All steps shrunk by all: everything rests, and limits that are no worse than that day hold."""
    shop, plan = workshop(seed, ders=100)
    ports, steps = shop.columns.ports, plan.p_kw.shape[1]
    nowhere = Guard.none((ports, steps)), Space.none((ports, steps))
    held, everywhere = Bounds.none(plan.p_kw.shape), np.ones((ports, steps), dtype=bool)
    found, _ = shrunk(
        shop.kinds, shop.columns, shop.price, plan, held, *nowhere, everywhere, np.zeros(steps), 1.0
    )
    assert np.abs(found.p_kw).max() <= 1e-9
    assert np.abs(found.q_kvar).max() == 0.0
    assert shop.judged(found)[1].clean


@given(SEEDS)
@settings(max_examples=3)
def test_what_is_shrunk_stays_within_what_devices_can_do(seed):
    """Who cannot rest goes to what is nearest to it, shrunk by any part; who cannot move at all stays."""
    shop, plan = workshop(seed, ders=60)
    rng, bands = np.random.default_rng(seed), shop.bands
    base = bands.base_kw + rng.normal(0.0, 20.0, (len(plan.p_kw), 1))
    fixed = rng.random(len(base)) < 0.3
    down, up = (np.where(fixed[:, None], 0.0, side) for side in (bands.down_kw, bands.up_kw))
    bands = replace(bands, base_kw=base, down_kw=down, up_kw=up)
    low, high = base - down, base + up
    begun = Dispatch(np.clip(plan.p_kw, low, high), plan.q_kvar)
    ports, steps = shop.columns.ports, plan.p_kw.shape[1]
    held, everywhere = Bounds.none(begun.p_kw.shape), np.ones((ports, steps), dtype=bool)
    nowhere = Guard.none((ports, steps)), Space.none((ports, steps))
    for part in (np.zeros(steps), rng.random(steps)):
        found, _ = shrunk(
            Kinds(bands, softened(bands, 1e3)), shop.columns, shop.price, begun, held, *nowhere, everywhere,
            part, 1.0,
        )  # fmt: skip
        assert (found.p_kw >= low - 1e-9).all()
        assert (found.p_kw <= high + 1e-9).all()
        assert np.abs(found.p_kw - base)[fixed].max(initial=0.0) <= 1e-9


@given(SEEDS, st.integers(1, 12), st.integers(1, 8))
def test_projection_keeps_box_and_feasible_rows(seed, columns_, rows):
    """The least change stays in its box; rows that a point inside the box keeps are kept."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, columns_)).astype(np.float32)
    low, high = -rng.uniform(0.5, 2.0, columns_), rng.uniform(0.5, 2.0, columns_)
    room = rng.uniform(0.0, 0.5, rows)
    x, wish, dual = np.zeros(columns_), np.zeros(columns_), np.zeros(rows)
    slack, weight = np.full(rows, 1e-6), np.ones(columns_)
    project(a, room, slack, weight, low, high, dual, wish, x)
    assert (x == 0.0).all()  # rest keeps all rows
    one = np.abs(a[:1]) + 0.1
    need = 0.3 * float((one[0] * high).sum())
    project(one, np.array([-need]), slack[:1], weight, -high, high, np.zeros(1), wish, x)
    assert (np.abs(x) <= high).all()
    assert float(one[0] @ x) <= -0.9 * need or (np.abs(x) == high).any()


@pytest.mark.parametrize("policy", list(Policy))
def test_policies_on_a_day_that_breaks_limits_without_devices(policy):
    """Hard: broken as it stands, and named. Else the day without devices keeps its limits."""
    shop, _ = workshop(2, ders=20, peak=1.3)
    still = np.zeros((shop.feeder.ports, shop.feeder.steps))
    v = shop.exact.points(still, still).v
    amps = shop.exact.currents(v)
    network = shop.feeder.network
    asked = limits(network, v, amps, policy)
    found = judged(network, asked, v, amps)
    assert found.clean == (policy is not Policy.HARD)
    named = found.broken(network, asked, v, amps)
    assert bool(named) == (policy is Policy.HARD)
    if named:
        worst = named[0]
        assert worst.element in str(worst)
        assert str(worst.step) in str(worst)
        assert sum(one.steps for one in named) == found.voltages + found.currents
    hard = limits(network, v, amps, Policy.HARD)
    assert (asked.v_low_pu <= hard.v_low_pu).all()
    assert (asked.v_high_pu >= hard.v_high_pu).all()
    assert (asked.most_a >= hard.most_a).all()


def test_a_step_without_a_solution_holds_nothing():
    """An unsolved step is counted, named with its number, and keeps the verdict from being clean."""
    shop, plan = workshop(1, ders=20)
    points, found = shop.judged(plan)
    assert found.clean
    assert found.unsolved == found.violations == 0
    v, network = points.v.copy(), shop.feeder.network
    v[[5, 9]] = np.nan
    amps = shop.exact.currents(v)
    found = judged(network, shop.limits, v, amps)
    assert not found.clean
    assert found.unsolved == found.violations == 2
    (named,) = found.broken(network, shop.limits, v, amps)
    assert (named.kind, named.step, named.steps) == ("unsolved", 5, 2)
    assert "no AC solution" in str(named)
    assert "step 5" in str(named)
