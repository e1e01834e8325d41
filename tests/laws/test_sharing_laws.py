"""Laws of the sharing kernels: each against a plain NumPy reference, sums, bounds, order, ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet.sharing import (
    Limits,
    Rotation,
    balance,
    fair,
    fair_groups,
    in_steps,
    merit,
    proportional,
    sustain,
)
from gridflock.fleet.sharing._merit import lots
from gridflock.fleet.sharing._shares import _MANY, fill, in_turn

MET_KW = 2e-5
"""How exactly a target is met."""
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 60)
fractions = st.floats(-0.2, 1.2)
laws = settings(deadline=None, max_examples=100)
# The compiler needs seconds when it sees a kernel for the first time, so nothing here has a deadline.


def bounds(rng, n, dtype=np.float32):
    """Bounds of every sort: closed, one-sided, round zero and away from it."""
    lo = -rng.random(n) * rng.choice([0, 1, 10], n)
    hi = lo + rng.random(n) * rng.choice([0, 1, 10], n)
    return lo.astype(dtype), hi.astype(dtype)


def at(lo, hi, fraction):
    """A target so far from the lower to the upper sum."""
    low, high = lo.sum(dtype=float), hi.sum(dtype=float)
    return float(low + fraction * (high - low))


def assert_meets(share, target, lo, hi):
    """Inside the bounds, and the sum is the target or the nearest sum there is."""
    assert share.dtype == np.float64
    assert (share >= lo).all()
    assert (share <= hi).all()
    reachable = min(max(target, lo.sum(dtype=float)), hi.sum(dtype=float))
    assert share.sum() == pytest.approx(reachable, abs=MET_KW)


def sorted_merit(target, lo, hi, key):
    """Order of merit by sorting; equals share in proportion."""
    span = hi.astype(float) - lo
    share, left = lo.astype(float), target - lo.sum(dtype=float)
    for value in np.unique(key):
        mine = key == value
        room = span[mine].sum()
        share[mine] += span[mine] * (min(max(left / room, 0.0), 1.0) if room > 0 else 0.0)
        left -= room
    return share


@laws
@given(seeds, sizes, fractions, st.sampled_from([np.float32, np.float64]))
def test_a_proportional_share_is_one_fraction_of_every_range(seed, n, fraction, dtype):
    """The target is met, and everybody stands at the same fraction of its range."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n, dtype)
    share = proportional(at(lo, hi, fraction), lo, hi)
    assert_meets(share, at(lo, hi, fraction), lo, hi)
    theta = min(max(fraction, 0.0), 1.0)
    np.testing.assert_allclose(share, lo + theta * (hi.astype(float) - lo), atol=1e-5)


@laws
@given(seeds, sizes, fractions, st.sampled_from([np.float32, np.float64]))
def test_water_filling_meets_its_target_with_one_level(seed, n, fraction, dtype):
    """Nobody who could still rise stands at a lower level than somebody who could still fall."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n, dtype)
    weight, wish = rng.uniform(1e-3, 5, n).astype(dtype), rng.normal(size=n).astype(dtype)
    target = at(lo, hi, fraction)
    share = fair(target, lo, hi, weight, wish)
    assert_meets(share, target, lo, hi)
    level = (share - wish) / weight
    can_rise, can_fall = share < hi, share > lo
    if 0 < fraction < 1 and can_rise.any() and can_fall.any():
        assert level[can_rise].min() >= level[can_fall].max() - 1e-3


@laws
@given(seeds, sizes, fractions, fractions, st.sampled_from(["proportional", "fair", "merit", "balance"]))
def test_a_higher_target_gives_nobody_less(seed, n, one, other, kind):
    """Every kernel is monotone in its target."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n)
    a, b = rng.uniform(0.1, 5, (2, n)).astype(np.float32)
    way = {
        "proportional": lambda t: proportional(t, lo, hi),
        "fair": lambda t: fair(t, lo, hi, a, b),
        "merit": lambda t: merit(t, lo, hi, np.round(a)),
        "balance": lambda t: balance(t, lo, hi, a, b),
    }[kind]
    less, more = (way(at(lo, hi, f)) for f in sorted((one, other)))
    assert (less <= more + 1e-5).all()


@laws
@given(seeds, sizes, fractions, st.sampled_from(["proportional", "fair", "merit", "lots", "balance"]))
def test_the_order_of_rows_does_not_matter(seed, n, fraction, kind):
    """Rows in another order get the same; equals in merit share, or draw lots by their own number."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n)
    a, b = rng.uniform(0.1, 5, (2, n)).astype(np.float32)
    target, rows = at(lo, hi, fraction), np.arange(n, dtype=np.int32)
    way = {
        "proportional": lambda o: proportional(target, lo[o], hi[o]),
        "fair": lambda o: fair(target, lo[o], hi[o], a[o], b[o]),
        "merit": lambda o: merit(target, lo[o], hi[o], np.round(a[o])),
        "lots": lambda o: merit(target, lo[o], hi[o], np.round(a[o]), lots(rows[o], 5)),
        "balance": lambda o: balance(target, lo[o], hi[o], a[o], b[o]),
    }[kind]
    order = rng.permutation(n)
    np.testing.assert_allclose(way(order), way(rows)[order], atol=2e-5)


@laws
@given(seeds, sizes, fractions, st.sampled_from(["cells", "close", "wide"]))
def test_merit_without_sorting_is_merit_by_sorting(seed, n, fraction, keys):
    """Whatever the keys, few and equal, closer than a bucket or far apart: the order is exact."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n)
    key = {
        "cells": rng.integers(0, 4, n) / 10,
        "close": 1.0 + rng.integers(0, 5, n) * 2.0**-50,
        "wide": 10.0 ** rng.integers(-12, 12, n) * rng.choice([-1, 1], n),
    }[keys]
    target = at(lo, hi, fraction)
    share = merit(target, lo, hi, key)
    assert_meets(share, target, lo, hi)
    np.testing.assert_allclose(share, sorted_merit(target, lo, hi, key), atol=2e-5)


@laws
@given(seeds, sizes, fractions)
def test_equals_that_take_turns_are_whole_but_one(seed, n, fraction):
    """With lots at most one row is between its bounds."""
    lo, hi = np.zeros(n, np.float32), np.ones(n, np.float32)
    rows, key = np.arange(n, dtype=np.int32), np.zeros(n, np.float32)
    target = at(lo, hi, fraction)
    share = merit(target, lo, hi, key, lots(rows, seed))
    assert_meets(share, target, lo, hi)
    assert ((share > 1e-6) & (share < 1 - 1e-6)).sum() <= 1


def test_lots_are_even_and_change_with_the_seed():
    """A lot belongs to a row and a seed; over many rows lots are spread evenly, two draws unrelated."""
    rows = np.arange(200_000, dtype=np.int32)
    one, other = lots(rows, 1), lots(rows, 2)
    np.testing.assert_array_equal(one[::-1], lots(rows[::-1], 1))
    for drawn in (one, other):
        counts = np.histogram(drawn, 50, (0, 1))[0]
        assert np.abs(counts - 4_000).max() < 5 * np.sqrt(4_000)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.01


@laws
@given(seeds, st.integers(2, 40), st.floats(0, 1))
def test_the_fuller_store_discharges_more_and_nobody_charges_meanwhile(seed, n, fraction):
    """Of two stores alike but for their energy the fuller gives at least as much; signs never mix."""
    rng = np.random.default_rng(seed)
    lo, hi = np.full(n, -4, np.float32), np.full(n, 5, np.float32)
    energy = rng.uniform(0, 10, n).astype(np.float32)
    share = balance(at(lo, hi, fraction), lo, hi, energy, 10 - energy)
    assert (np.diff(share[np.argsort(energy)]) >= -1e-6).all()
    assert (share >= 0).all() or (share <= 0).all()


@laws
@given(seeds, st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_who_goes_on_longest_first_serves_every_course_that_can_be_served(seed, n, steps, charging):
    """Any course that some schedule of the stores can deliver is delivered step by step, blind to the rest.

    The course is the sum of random schedules, each within its store's power and energy, so that it
    can be served, and often only just.
    """
    rng = np.random.default_rng(seed)
    rated, hours = rng.uniform(0.5, 5, n), 0.25
    use = rated[:, None] * rng.choice([0, 0.5, 1], (n, steps)) * rng.random((n, steps)) ** 0.2
    energy = use.sum(axis=1) * hours * rng.choice([1.0, 1.0, 1.2], n)
    side = -1.0 if charging else 1.0
    for wanted in use.sum(axis=0):
        able = np.minimum(rated, energy / hours)
        lo, hi = (-able, np.zeros(n)) if charging else (np.zeros(n), able)
        stocks = (np.zeros(n), energy) if charging else (energy, np.zeros(n))
        share = sustain(side * float(wanted), lo, hi, rated, *stocks, 900.0)
        assert share.sum() == pytest.approx(side * wanted, abs=1e-7)
        energy = np.maximum(energy - np.abs(share) * hours, 0.0)


def test_sharing_by_fullness_alone_fails_where_time_left_does_not():
    """A small fast store and a large slow one: by fullness the fast one is empty when the peak comes."""
    rated, energy = np.array([10.0, 1.0]), np.array([2.6, 2.6])
    rest, none = np.zeros(2), np.zeros(2)
    course = [1.0, 1.0, 11.0, 1.0]

    def left_out(way):
        stored, missing = energy.copy(), 0.0
        for wanted in course:
            share = way(wanted, np.minimum(rated, stored / 0.25), stored)
            missing, stored = missing + wanted - share.sum(), stored - share * 0.25
        return missing

    assert left_out(lambda w, hi, e: sustain(w, rest, hi, rated, e, none, 900.0)) == pytest.approx(0.0)
    assert left_out(lambda w, hi, e: balance(w, rest, hi, e, none)) > 0.1


@laws
@given(seeds, sizes, st.floats(0, 1), st.booleans())
def test_devices_with_levels_hold_levels_and_miss_by_half_a_step(seed, n, fraction, keyed):
    """Every share is a level inside its bounds; the sum misses by half a step at most."""
    rng = np.random.default_rng(seed)
    step = rng.choice([0.5, 1.0, 3.0], n if rng.random() < 0.5 else 1) * np.ones(n)
    lo = rng.uniform(-5, 5, n)
    hi = lo + step * rng.integers(0, 6, n) + 0.3 * step * rng.integers(0, 2, n)
    top = lo + np.floor((hi - lo) / step + 1e-6) * step
    target = at(lo, top, fraction)
    share = in_steps(target, lo, hi, step, rng.random(n) if keyed else None)
    steps = (share - lo) / step
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert (share >= lo - 1e-9).all()
    assert (share <= hi + 1e-5).all()
    free = step[share + step <= top + 1e-9]
    missing = target - share.sum()
    assert missing <= 0.5 * (free.min() if len(free) else 0.0) + 1e-5
    assert missing >= -0.5 * step.max() - 1e-5


@laws
@given(seeds, st.integers(2, 30))
def test_in_rotation_everybody_is_asked_alike(seed, n):
    """However often one in three is called, nobody is ever a whole call ahead of another by more than one."""
    rng = np.random.default_rng(seed)
    rows, rotation = rng.permutation(n).astype(np.int32), Rotation.start(n, 1e12)
    lo, hi = np.full(n, -2.0), np.zeros(n)
    called = max(1, n // 3)
    for k in range(12):
        share = rotation.share(float(lo.sum()) + 2.0 * called, rows, lo, hi, k)
        assert_meets(share, float(lo.sum()) + 2.0 * called, lo, hi)
        rotation = rotation.after(rows, share - lo, 3600.0)
    assert np.ptp(rotation.asked_kwh) <= 2.0 + 1e-6
    faded = rotation.after(rows[:0], lo[:0], 1e12)
    np.testing.assert_allclose(faded.asked_kwh, 0.5 * rotation.asked_kwh)


def reference_fold(columns, step_s):
    """``Limits.fold`` in plain NumPy."""
    hours = step_s / 3600
    c = {name: value.astype(float) for name, value in columns.items()}
    lo, hi = c["p_min_kw"], np.minimum(c["p_max_kw"], c["p_avail_kw"])
    lo = np.maximum(lo, c["now_kw"] - c["ramp_kw_s"] * step_s)
    hi = np.minimum(hi, c["now_kw"] + c["ramp_kw_s"] * step_s)
    lo = np.maximum(lo, -np.maximum(c["e_hi_kwh"] - c["e_kwh"], 0) / c["eff_charge"] / hours)
    hi = np.minimum(hi, np.maximum(c["e_kwh"] - c["e_lo_kwh"], 0) * c["eff_discharge"] / hours)
    lo, hi = np.maximum(lo, c["envelope_lo_kw"]), np.minimum(hi, c["envelope_hi_kw"])
    absent, crossed = np.isnan(lo) | np.isnan(hi), lo > hi
    safe = np.where(absent, 0.0, np.minimum(np.maximum(hi, 0.0), lo))
    whole = np.where(crossed | absent, safe, lo), np.where(crossed | absent, safe, hi)
    return *whole, crossed.sum(), absent.sum()


@laws
@given(seeds, st.integers(1, 200))
def test_folding_keeps_the_narrowest_of_all_limits(seed, n):
    """Bounds agree with plain NumPy; crossed ones meet at the level nearest to rest, unknown ones at rest."""
    rng = np.random.default_rng(seed)
    columns = {
        "p_min_kw": -rng.uniform(0, 5, n),
        "p_max_kw": rng.uniform(0, 5, n),
        "p_avail_kw": rng.uniform(0, 8, n),
        "now_kw": rng.uniform(-6, 6, n),
        "ramp_kw_s": rng.uniform(0, 1, n),
        "e_kwh": rng.uniform(-0.01, 0.05, n),
        "e_lo_kwh": np.full(n, 0.01),
        "e_hi_kwh": np.full(n, 0.04),
        "eff_charge": rng.uniform(0.8, 1, n),
        "eff_discharge": rng.uniform(0.8, 1, n),
        "envelope_lo_kw": np.where(rng.random(n) < 0.5, -np.inf, rng.uniform(-5, 3, n)),
        "envelope_hi_kw": np.where(rng.random(n) < 0.5, np.inf, rng.uniform(-3, 5, n)),
    }
    columns = {name: value.astype(np.float32) for name, value in columns.items()}
    for value in columns.values():
        value[rng.random(n) < 0.02] = np.nan
    found = Limits(**columns).fold(4.0)
    lo, hi, crossed, absent = reference_fold(columns, 4.0)
    np.testing.assert_allclose(found.lo_kw, lo, atol=1e-3)
    np.testing.assert_allclose(found.hi_kw, hi, atol=1e-3)
    assert (found.lo_kw <= found.hi_kw).all()
    assert found.unknown == absent
    assert abs(found.crossed - crossed) <= 1


def test_limits_that_do_not_exist_do_not_limit():
    """With a nameplate alone the bounds are the nameplate."""
    found = Limits(np.array([-3.0, 0.0]), np.array([0.0, 2.0])).fold(60.0)
    assert found.lo_kw.tolist() == [-3.0, 0.0]
    assert found.hi_kw.tolist() == [0.0, 2.0]
    assert (found.crossed, found.unknown) == (0, 0)


@laws
@given(seeds, sizes, st.integers(1, 8))
def test_many_groups_at_once_are_the_groups_one_by_one(seed, n, groups):
    """Groups may overlap: what an earlier one gave stays and counts, and no kilowatt is ordered twice."""
    rng = np.random.default_rng(seed)
    lo, hi = bounds(rng, n, np.float64)
    weight, wish = rng.uniform(0.1, 5, n), rng.normal(size=n)
    members = [np.flatnonzero(rng.random(n) < 0.4).astype(np.int32) for _ in range(groups)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in members])]).astype(np.int64)
    targets = np.array([at(lo[rows], hi[rows], rng.uniform(-0.2, 1.2)) for rows in members])
    rows = np.concatenate(members).astype(np.int32)
    share, missing = fair_groups(targets, starts, rows, lo, hi, weight, wish)
    expected = np.full(n, np.nan)
    for k, mine in enumerate(members):
        free = mine[np.isnan(expected[mine])]
        rest = float(targets[k] - np.nansum(expected[mine]))
        expected[free] = fair(rest, lo[free], hi[free], weight[free], wish[free])
        assert missing[k] == pytest.approx(targets[k] - expected[mine].sum(), abs=1e-6)
    np.testing.assert_allclose(share, expected, atol=1e-6)


@laws
@given(seeds, st.integers(1, 40), st.floats(-1.2, 1.2), st.sampled_from(["smooth", "steps", "floors"]))
def test_turns_of_many_are_turns_of_few(seed, n, fraction, kind):
    """Sorting only round the margin gives what sorting all would give, least levels included."""
    rng = np.random.default_rng(seed)
    m = _MANY // n * n + n
    lo, hi = -np.tile(rng.uniform(0, 3, n), m // n), np.tile(rng.uniform(0, 3, n), m // n)
    floor = np.full(m, 0.5 if kind == "floors" else 0.0)
    steps = np.full(m, kind == "steps")
    key, start = rng.integers(0, 50, m).astype(float), np.zeros(m)
    amount = fraction * float((hi if fraction > 0 else -lo).sum())
    share = in_turn(start, amount, key, lo, hi, floor, steps)
    room = hi if amount >= 0 else -lo
    least = np.where(steps, room, np.minimum(floor, room))
    moved = fill(abs(amount), np.argsort(key, kind="stable"), room, least)
    np.testing.assert_allclose(share, moved if amount >= 0 else -moved, atol=1e-9)


def test_a_million_rows_meet_their_target():
    """At full size each kernel is inside the bounds and within 2e-5 kW of the target."""
    rng, n = np.random.default_rng(7), 1_000_000
    lo, hi = -rng.uniform(0, 5, n).astype(np.float32), rng.uniform(0, 6, n).astype(np.float32)
    a, b = rng.uniform(0.1, 5, (2, n)).astype(np.float32)
    for target in (-1.3e6, 4e5, 2.7e6):
        assert_meets(proportional(target, lo, hi), target, lo, hi)
        assert_meets(fair(target, lo, hi, a, b), target, lo, hi)
        assert_meets(merit(target, lo, hi, a), target, lo, hi)
        assert_meets(balance(target, lo, hi, a, b), target, lo, hi)
