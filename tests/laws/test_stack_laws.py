"""Laws of the priority stack: who may switch, who must, how near the sum comes, and what it never does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._regulation import performance_score, regulation
from gridflock.fleet import Fleet
from gridflock.fleet.sharing.switching import Stack, Tracker, hear, stack_of, switchable
from gridflock.model import Readings
from gridflock.schema import QUANTITY

NOW_S = 1_700_000_000
STEP_S = 4
CAUSES = {"locked", "comfort", "not_ready", "nameplate", "on/off rounding"}
seeds = st.integers(0, 2**32 - 1)
laws = settings(deadline=None, max_examples=100)


def loads(rng, n, locked=0.3):
    """A stack with some loads locked, some out of their band, and what a step hears."""
    p_kw, on = -rng.uniform(1, 6, n).astype(np.float32), rng.integers(0, 2, n).astype(np.uint8)
    locked_s = rng.integers(1, 180, n) * (rng.random(n) < locked)
    shortest = rng.integers(60, 300, (2, n))
    stack = Stack.start(p_kw, *shortest, on, NOW_S, locked_s)
    fullness = rng.uniform(-0.1, 1.1, n).astype(np.float32)
    fullness[rng.random(n) < 0.05] = np.nan
    seen = np.where(rng.random(n) < 0.1, -1, on).astype(np.int8)
    return stack, fullness, seen, locked_s


def by_sorting(stack, fullness, may, target):
    """The same step in plain NumPy, all free loads sorted."""
    size, on = -stack.p_on_kw.astype(float), stack.on.astype(bool)
    must_on, must_off = may & (fullness <= 0), may & (fullness >= 1)
    state = (on | must_on) & ~must_off
    free = may & (fullness > 0) & (fullness < 1)
    gap = target + size[state].sum()
    rows = np.flatnonzero(free & (state if gap > 0 else ~state))
    rows = rows[np.argsort(-fullness[rows] if gap > 0 else fullness[rows], kind="stable")]
    reached = np.concatenate([[0.0], np.cumsum(size[rows])])
    state[rows[: np.argmin(np.abs(abs(gap) - reached))]] = gap <= 0
    return state


@laws
@given(seeds, st.integers(1, 300), st.floats(-0.2, 1.2))
def test_a_step_is_what_sorting_all_loads_would_give(seed, n, fraction):
    """Emptiest on first, fullest off first, as near to the target as whole loads come."""
    rng = np.random.default_rng(seed)
    stack, fullness, seen, locked_s = loads(rng, n)
    target = fraction * float(stack.p_on_kw.sum())
    stepped = stack.step(target, fullness, seen, NOW_S)
    expected = by_sorting(stack, fullness, (locked_s == 0) & (seen >= 0), target)
    np.testing.assert_array_equal(stepped.stack.on, expected)
    assert stepped.switched.tolist() == np.flatnonzero(stack.on != expected).tolist()
    assert stepped.p_kw == pytest.approx(stepped.stack.p_kw, abs=1e-4)


@laws
@given(seeds, st.integers(1, 300), st.floats(-0.2, 1.2))
def test_a_step_meets_its_target_or_says_what_held_the_loads(seed, n, fraction):
    """Sum and causes make the target; within half a load unless all that might switch has switched."""
    rng = np.random.default_rng(seed)
    stack, fullness, seen, locked_s = loads(rng, n)
    target = fraction * float(stack.p_on_kw.sum())
    stepped = stack.step(target, fullness, seen, NOW_S)
    assert stepped.p_kw + sum(stepped.causes.values()) == pytest.approx(target, abs=1e-3)
    assert set(stepped.causes) <= CAUSES
    rounding = stepped.causes.get("on/off rounding", 0.0)
    assert abs(rounding) <= 3.0 + 1e-3
    changed = stepped.stack.on != stack.on
    assert not changed[(locked_s > 0) | (seen < 0) | np.isnan(fullness)].any()
    may = (locked_s == 0) & (seen >= 0)
    assert (stepped.stack.on[may & (fullness <= 0)] == 1).all()
    assert (stepped.stack.on[may & (fullness >= 1)] == 0).all()


def test_causes_name_the_timer_the_comfort_and_the_silence():
    """Four loads off, 10 kW wanted: one is free, the others are held each for a reason of its own."""
    p_kw, off, locked = np.full(4, -4.0), np.zeros(4, np.uint8), np.array([0, 90, 0, 0])
    stack = Stack.start(p_kw, np.full(4, 180), np.full(4, 180), off, NOW_S, locked)
    seen = np.array([0, 0, 0, -1], np.int8)
    stepped = stack.step(-16.0, np.array([0.5, 0.5, 1.0, 0.5]), seen, NOW_S)
    assert stepped.switched.tolist() == [0]
    assert stepped.causes == pytest.approx({"locked": -4.0, "comfort": -4.0, "not_ready": -4.0})
    assert stack.step(-20.0, np.full(4, 0.5), seen, NOW_S).causes["nameplate"] == pytest.approx(-4.0)


def test_more_is_ordered_where_some_orders_get_lost():
    """Where four of five orders arrive, five loads are ordered for the power of four."""
    n = 100
    stack = Stack.start(np.full(n, -1.0), *np.full((2, n), 60), np.zeros(n, np.uint8), NOW_S, np.zeros(n))
    full, seen = np.linspace(0.1, 0.9, n), np.zeros(n, np.int8)
    assert len(stack.step(-40.0, full, seen, NOW_S, 1.0).switched) == 40
    stepped = stack.step(-40.0, full, seen, NOW_S, 0.8)
    assert stepped.switched.tolist() == list(range(50))
    heard = (np.arange(n) < 38).astype(np.int8)
    following = stepped.stack.step(-40.0, full, heard, NOW_S + STEP_S, 0.8)
    assert (following.asked_kw, following.arrived_kw) == (50.0, 38.0)


def test_a_load_heard_to_have_switched_is_left_alone_for_its_time():
    """Its own thermostat, a late order: the minimum time counts from when it is heard."""
    stack = Stack.start(np.array([-1.0]), [180], [120], np.zeros(1, np.uint8), NOW_S, np.zeros(1))
    half, on = np.array([0.5]), np.ones(1, np.int8)
    for k in range(46):
        stepped = stack.step(0.0, half, on, NOW_S + STEP_S * (k + 1))
        assert len(stepped.switched) == (k == 45)
        stack = stepped.stack


def test_a_load_silent_for_long_may_have_switched_twice():
    """Silent for less than its other minimum time it cannot have; for longer its timer starts anew."""
    for silent_s, free in ((100, True), (124, False)):
        stack = Stack.start(np.array([-1.0]), [180], [120], np.ones(1, np.uint8), NOW_S, np.zeros(1))
        stack = stack.step(-1.0, np.array([0.5]), np.ones(1, np.int8), NOW_S + STEP_S).stack
        now = NOW_S + STEP_S + silent_s
        stepped = stack.step(0.0, np.array([0.5]), np.ones(1, np.int8), now)
        assert (len(stepped.switched) == 1) is free


@laws
@given(seeds, st.integers(2, 200))
def test_a_step_leaves_the_stack_before_it_alone_and_repeats_itself(seed, n):
    """The same step twice gives the same bytes: a dry run is the run."""
    rng = np.random.default_rng(seed)
    stack, fullness, seen, _ = loads(rng, n)
    kept = stack.on.copy(), stack.free_s.copy(), stack.heard_s.copy()
    one, other = (stack.step(-2.0 * n, fullness, seen, NOW_S + STEP_S) for _ in range(2))
    for name in ("on", "free_s", "heard_s", "heard_on"):
        np.testing.assert_array_equal(getattr(one.stack, name), getattr(other.stack, name))
    np.testing.assert_array_equal(one.switched, other.switched)
    for before, now in zip(kept, (stack.on, stack.free_s, stack.heard_s), strict=True):
        np.testing.assert_array_equal(before, now)


def test_a_tracker_learns_what_arrives_and_never_corrects_beyond_its_limit():
    """The share of orders that arrive is learnt slowly; the correction stays inside its limit."""
    tracker = Tracker(limit_kw=50.0)
    for _ in range(200):
        tracker = tracker.heard(-100.0, 0.0, 10.0, 9.0)
    assert tracker.response == pytest.approx(0.9, abs=1e-3)
    assert tracker.correction_kw == -50.0
    assert tracker.heard(-100.0, float("nan"), 0.0, 0.0) == tracker


def test_the_stack_of_a_fleet_is_what_its_image_shows():
    """Heat pumps of a fleet: state, timers, band and silence come from nameplates and readings."""
    rows = [
        {"id": f"h{i}", "kind": "HEAT_PUMP", "bus": "b", "phases": "a", "p_min_kw": -3, "e_max_kwh": 2}
        | {"on_off": int(i != 4), "min_on_s": 300, "min_off_s": 120}
        for i in range(5)
    ]
    fleet, rejected = Fleet.from_rows(rows, {"b": 7})
    assert rejected == ()
    told = {"p_kw": [-3, 0, 0, np.nan, 0], "e_kwh": [1, 0.5, 1.5, 1, 1]}
    told |= {"ready": [1, 1, 0, 1, 1], "locked_s": [60, 0, 0, 0, 0]}
    for name, values in told.items():
        value = np.array(values, dtype=float)
        at = np.flatnonzero(~np.isnan(value)).astype(np.int32)
        code, when = np.full(len(at), QUANTITY[name], np.uint8), np.full(len(at), NOW_S)
        batch = Readings(fleet.ids, at, code, value[at], when, np.zeros(len(at), np.uint8))
        assert fleet.ingest(batch, NOW_S) == ()
    image = fleet.image(NOW_S)
    members = switchable(image)
    assert members.tolist() == [0, 1, 2, 3]
    stack, (fullness, seen) = stack_of(image, members), hear(image, members, 60)
    assert stack.on.tolist() == [1, 0, 0, 0]
    assert stack.free_s.tolist()[0] == 60
    np.testing.assert_array_equal(fullness, np.array([0.5, 0.25, np.nan, 0.5], np.float32))
    assert seen.tolist() == [1, 0, 0, -1]
    stepped = stack.step(-12.0, fullness, seen, NOW_S)
    assert stepped.switched.tolist() == [1]
    assert stepped.causes == pytest.approx({"not_ready": -6.0})


# ---- regulation --------------------------------------------------------------------------------


def regulation_signal(steps, seed):
    """A seeded second-order autoregressive signal in the style of PJM's RegD, one value per 4 s.

    Its poles swing within five minutes and die away within two; it is zero in the mean and clipped
    to [-1, 1] at twice its standard deviation.
    """
    rng, damping, turn = np.random.default_rng(seed), 0.97, 2 * np.pi / 75
    x, noise = np.zeros(steps + 500), rng.normal(size=steps + 500)
    for k in range(2, len(x)):
        x[k] = 2 * damping * np.cos(turn) * x[k - 1] - damping**2 * x[k - 2] + noise[k]
    x = x[500:] - x[500:].mean()
    return np.clip(x / (2 * x.std()), -1, 1)


def test_the_score_is_one_for_the_signal_itself_and_falls_with_delay_and_error():
    """A copy scores 1; 30 s cost a tenth of the delay score, half the size half of the precision."""
    signal = np.repeat(regulation_signal(450, 3), 2)
    assert performance_score(signal, signal, 2).total == pytest.approx(1.0)
    late = performance_score(signal, np.roll(signal, 15), 2)
    assert late.delay == pytest.approx(0.9, abs=0.02)
    assert late.correlation > 0.98
    half = performance_score(signal, 0.5 * signal, 2)
    assert (half.correlation, half.delay, half.precision) == pytest.approx((1.0, 1.0, 0.5))
    assert performance_score(signal, -signal, 2).total < 0.5
    for nothing in (signal[:300], np.zeros(900)):
        with pytest.raises(ValueError, match="more than 10 min"):
            performance_score(nothing, nothing, 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_thousand_loads_follow_a_regulation_signal(seed):
    """450 steps of 4 s, orders 2 s late, 5 % of links down: score at least 0.9, no minimum time cut short."""
    run = regulation(regulation_signal(450, seed), 20_000, seed)
    assert run.score.total >= 0.9
    assert run.too_short == 0
    assert run.worst_kw < 0.1 * run.capacity_kw


@settings(deadline=None, max_examples=15)
@given(seeds, st.floats(0.0, 0.5))
def test_minimum_times_are_kept_however_many_links_fail(seed, dropped):
    """With up to half of all links down and few loads no order ever cuts a minimum time short."""
    run = regulation(regulation_signal(300, seed), 200, seed, 0.5, dropped)
    assert run.switched > 0
    assert run.too_short == 0


@pytest.mark.slow
def test_a_million_loads_follow_a_regulation_signal():
    """The same at full size."""
    run = regulation(regulation_signal(450, 0), 1_000_000, 0)
    assert run.score.total >= 0.9
    assert run.too_short == 0
