"""Laws of the guard: whatever is asked for, what passes is plausible and moves the feeder by little."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gridflock.dispatch import GuardLimits, Policy, Response
from gridflock.dispatch.guard import Asked, GuardState, Held, Rules, guard
from gridflock.fleet import capability
from gridflock.model import Priority
from gridflock.schema import Family, Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
want, decide = world.want, world.decide

COUNTS = {
    Kind.PV_ROOFTOP: 4,
    Kind.WIND: 2,
    Kind.BATTERY_HOME: 6,
    Kind.EV_V1G: 4,
    Kind.EV_V2G: 3,
    Kind.CHP: 1,
    Kind.GENSET: 1,
    Kind.CURTAILABLE: 2,
    Kind.THERMOSTAT: 4,
    Kind.LOAD: 2,
}
FLEET, GROUPS = world.fleet_of(COUNTS)
IMAGE = world.tell(FLEET, world.ordinary(FLEET, np.random.default_rng(3)))
N = IMAGE.n
WILD = st.floats(-200, 200) | st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0])
CALM = st.floats(0, 1)
LIMITS = st.builds(GuardLimits, step_kw=st.floats(0.5, 300), share=st.floats(0, 1))


@st.composite
def candidates(draw):
    """Rows, what is asked of them (anything at all, or within nameplate), weights, and orders in force."""
    rows = np.array(sorted(draw(st.sets(st.integers(0, N - 1), max_size=N))), dtype=np.int32)
    k = len(rows)
    wild = draw(npst.arrays(float, k, elements=WILD))
    u = draw(npst.arrays(float, k, elements=CALM))
    low, high = IMAGE.columns["p_min_kw"][rows], IMAGE.columns["p_max_kw"][rows]
    p_kw = np.where(draw(npst.arrays(bool, k)), wild, low + u * (high.astype(float) - low))
    weight = draw(npst.arrays(np.int64, k, elements=st.integers(0, 6)))
    standing = draw(npst.arrays(float, k, elements=st.floats(-50, 50) | st.just(np.nan)))
    # The guard remembers in single precision.
    standing = np.where(draw(npst.arrays(bool, k)), np.clip(p_kw, -1e9, 1e9), standing)
    standing = standing.astype(np.float32).astype(float)
    return rows, p_kw, weight, np.where(np.isfinite(standing), standing, np.nan)


def judge(rows, p_kw, weight, limits, standing=None):
    """One pass of the guard over candidates of the program's own wishes, each order in force remembered."""
    wishes = tuple(want(f"w{p}", "all", 0.0, Priority(p)) for p in range(len(Priority)))
    wishes = tuple(dataclasses.replace(wish, author="local") for wish in wishes)
    memory = GuardState.empty(N).memory.copied()
    if standing is not None:
        known = np.isfinite(standing)
        memory.last_kw[rows[known]], memory.expires_s[rows[known]] = standing[known], world.NOW_S + 60
    ends = np.full(len(rows), world.NOW_S + 300)
    asked = Asked(rows, p_kw, np.full(len(rows), np.nan), ends, weight.astype(np.int16), wishes)
    return guard(asked, IMAGE, limits, Rules(), GuardState(memory), {})


def moves(rows, p_kw, standing):
    """Change of injection by each order, kW: nothing for one that repeats the order in force."""
    present = np.nan_to_num(IMAGE.p_kw[rows].astype(float))
    repeats = np.abs(p_kw - standing) <= np.maximum(0.05, 0.02 * np.abs(standing))
    return np.where(repeats, p_kw - standing, p_kw - present), repeats


def sound(rows, p_kw):
    """Finite, within nameplate, and to something that takes orders, by the long way."""
    verdict = []
    for row, p in zip(rows.tolist(), p_kw.tolist(), strict=True):
        low, high = float(IMAGE.columns["p_min_kw"][row]), float(IMAGE.columns["p_max_kw"][row])
        if IMAGE.family[row] == Family.SHED:
            low = min(low, float(IMAGE.p_avail_kw[row]), float(IMAGE.p_kw[row]))
        ordered = IMAGE.family[row] != Family.NONE
        verdict.append(ordered and np.isfinite(p) and low - 1e-3 <= p <= high + 1e-3)
    return np.array(verdict, dtype=bool)


@given(candidates(), LIMITS)
def test_the_net_change_stays_within_the_step(orders, limits):
    """Whatever the planner asks, what passes changes the feeder by no more than the step."""
    rows, p_kw, weight, standing = orders
    passed = judge(rows, p_kw, weight, limits, standing)
    move, _ = moves(rows, p_kw, standing)
    assert abs(move[passed.keep].sum()) <= limits.step_kw + 1e-6


@given(candidates(), LIMITS)
def test_the_implausible_never_passes(orders, limits):
    """NaN, infinite, beyond nameplate, of the wrong sign, or to what takes no orders: held and counted."""
    rows, p_kw, weight, standing = orders
    passed = judge(rows, p_kw, weight, limits, standing)
    good = sound(rows, p_kw)
    assert not (passed.keep & ~good).any()
    assert passed.implausible == (~good).sum()


@given(candidates(), LIMITS)
def test_changed_orders_keep_to_their_share(orders, limits):
    """No more than the share of the fleet gets a changed order in one tick; repeats do not count."""
    rows, p_kw, weight, standing = orders
    passed = judge(rows, p_kw, weight, limits, standing)
    _, repeats = moves(rows, p_kw, standing)
    assert (passed.keep & ~repeats).sum() <= np.ceil(limits.share * N)


@given(candidates(), st.floats(0.5, 300))
def test_what_reduces_the_overshoot_passes(orders, step_kw):
    """Orders against the direction of the sum all pass, unless they alone would be too large a step."""
    rows, p_kw, weight, standing = orders
    keep = judge(rows, p_kw, weight, GuardLimits(step_kw=step_kw), standing).keep
    move, _ = moves(rows, p_kw, standing)
    good = sound(rows, p_kw)
    inward = good & (np.sign(move) != np.sign(move[good].sum()))
    assert keep[inward].all() or abs(move[inward].sum()) > step_kw * (1 - 1e-9)


@given(candidates(), st.floats(0.5, 300))
def test_weightier_orders_pass_first(orders, step_kw):
    """An order held while all against it pass would not have fitted after the weightier ones of its side."""
    rows, p_kw, weight, standing = orders
    keep = judge(rows, p_kw, weight, GuardLimits(step_kw=step_kw), standing).keep
    move, repeats = moves(rows, p_kw, standing)
    good = sound(rows, p_kw)
    place = np.empty(len(rows), dtype=int)
    place[np.lexsort((rows, weight, ~repeats))] = np.arange(len(rows))
    for at in np.flatnonzero(good & ~keep):
        sign = np.sign(move[at])
        against = good & (np.sign(move) == -sign)
        ahead = keep & (np.sign(move) == sign) & (place < place[at])
        if keep[against].all():
            assert sign * (move[ahead].sum() + move[at] + move[against].sum()) > step_kw * (1 - 1e-9)


@given(candidates())
def test_within_the_limits_all_that_is_plausible_passes(orders):
    """A guard whose limits do not bind only holds what is implausible."""
    rows, p_kw, weight, standing = orders
    passed = judge(rows, p_kw, weight, GuardLimits(step_kw=1e9), standing)
    assert np.array_equal(passed.keep, sound(rows, p_kw))
    assert passed.held_kw == pytest.approx(0, abs=1e-9)


@given(candidates(), LIMITS)
def test_what_is_held_is_counted(orders, limits):
    """The held change is that of the plausible orders less that of those that passed."""
    rows, p_kw, weight, standing = orders
    passed = judge(rows, p_kw, weight, limits, standing)
    move, _ = moves(rows, p_kw, standing)
    held = move[sound(rows, p_kw)].sum() - move[passed.keep].sum()
    assert passed.held_kw == pytest.approx(held, abs=1e-6)


def test_one_giant_does_not_stop_the_others():
    """An order larger than the step never goes; those behind it do."""
    rows = np.concatenate([GROUPS.rows("type/genset"), GROUPS.rows("type/battery_home")])
    image_kw = np.nan_to_num(IMAGE.p_kw[rows].astype(float))
    p_kw = np.concatenate([[100.0 if image_kw[0] < 50 else 0.0], np.full(6, 5.0)])
    weight = np.array([Priority.OPERATOR] + [Priority.SCHEDULE] * 6)
    keep = judge(rows, p_kw, weight, GuardLimits(step_kw=40.0)).keep
    assert not keep[0]
    assert keep[1:].sum() >= 3


def test_a_process_may_go_on_with_its_demand():
    """A process's demand lies beyond its flexible part; an order to go on with it is plausible."""
    rows = GROUPS.rows("type/curtailable")
    demand = IMAGE.p_avail_kw[rows].astype(float)
    assert (demand < IMAGE.columns["p_min_kw"][rows]).all()
    assert judge(rows, demand, np.zeros(2, int), GuardLimits()).keep.all()


def test_held_orders_are_retried_until_all_have_gone():
    """A want larger than the step is reached over several ticks; nobody held back is taken as ordered."""
    values = world.ordinary(FLEET, np.random.default_rng(3))
    batteries = GROUPS.rows("type/battery_home")
    fleet, _ = world.fleet_of(COUNTS)
    values["p_kw"][batteries], values["e_kwh"][batteries] = 0.0, 8.0
    policy = Policy(guard=GuardLimits(step_kw=11.0))
    wish = [want("w", "type/battery_home", 30.0, until_s=world.NOW_S + 7_200)]
    response, sums = Response.empty(N), []
    for minute in range(4):
        now_s = world.NOW_S + 60 * minute
        image = world.tell(fleet, values, now_s)
        decision = decide(image, GROUPS, wish, response=response, policy=policy)
        ordered = decision.response.ordered_kw[batteries]
        sent = np.isin(batteries, decision.orders.index)
        before = response.ordered_kw[batteries]
        assert np.array_equal(ordered[~sent], before[~sent], equal_nan=True)
        assert decision.passed.held_kw == pytest.approx(max(0.0, 20.0 - 10.0 * minute))
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
        values["p_kw"][batteries] = np.nan_to_num(ordered)
        sums.append(float(np.nansum(ordered)))
    assert sums == pytest.approx([10.0, 20.0, 30.0, 30.0])


@given(st.integers(0, 2**32), st.floats(-1e6, 1e6), st.floats(1, 200))
def test_the_whole_tick_keeps_the_step(seed, p_kw, step_kw):
    """An absurd want on everything: the orders of one tick change the feeder by no more than the step."""
    values = world.ordinary(FLEET, np.random.default_rng(seed))
    image = world.tell(world.fleet_of(COUNTS)[0], values)
    decision = decide(
        image, GROUPS, [want("w", "all", p_kw)], policy=Policy(guard=GuardLimits(step_kw=step_kw))
    )
    rows = decision.orders.index
    move = decision.orders.p_kw.astype(float) - np.nan_to_num(image.p_kw[rows].astype(float))
    assert abs(move.sum()) <= step_kw + 1e-3
    assert decision.passed.implausible == 0
    assert (decision.orders.p_kw <= capability(image).p_hi_kw[rows] + 1e-3).all()


@given(st.floats(-5, 5), st.floats(-2, 2), st.sampled_from([30, 200, 290]))
def test_reactive_power_that_may_not_turn_holds_no_active_power_back(p_kw, last_kw, left_s):
    """Active power goes with the reactive power in force; an order that says nothing new waits."""
    rows = np.flatnonzero(IMAGE.kind == Kind.BATTERY_HOME)[:1].astype(np.int32)
    rated = {**IMAGE.columns, "s_max_kva": np.full(N, 6.0, np.float32)}
    image = dataclasses.replace(IMAGE, columns=rated)
    memory = GuardState.empty(N).memory.copied()
    memory.last_kw[rows], memory.last_kvar[rows] = last_kw, 2.0
    memory.expires_s[rows], memory.order_id[rows] = world.NOW_S + left_s, 1
    memory.turn_kvar[rows], memory.turn_kvar_s[rows] = 1, world.NOW_S + 1e6
    ends, none = np.array([world.NOW_S + 300]), np.array([0], np.int16)
    wish = (dataclasses.replace(want("w", "all", 0.0), author="local"),)

    def passes(p):
        asked = Asked(rows, np.array([p]), np.array([-2.0]), ends, none, wish)
        return guard(asked, image, GuardLimits(reversals=1), Rules(), GuardState(memory), {})

    passed = passes(p_kw)
    last = float(np.float32(last_kw))
    says = abs(p_kw - last) > max(0.05, 0.02 * abs(last)) or left_s <= 150
    assert passed.keep.tolist() == [says]
    if says:
        assert passed.q_kvar.tolist() == [2.0]
        assert passed.state.memory.last_kvar[rows].tolist() == [2.0]
        assert passed.state.memory.turn_kvar_s[rows].tolist() == [world.NOW_S + 1e6]
    assert passes(np.nan).why.tolist() == [Held.REVERSAL]
