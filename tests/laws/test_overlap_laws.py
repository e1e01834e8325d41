"""Laws of overlapping groups with orders: parts share no row, and no kilowatt is ordered twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridflock.bench._million import NOON_S, million
from gridflock.fleet import capability, split
from gridflock.fleet.groups import parted, shared_orders

seeds = st.integers(0, 2**32 - 1)


def overlapping(rng, n, count):
    """Some groups of n rows."""
    shares = rng.uniform(0.1, 0.9, count)
    return {f"g{k}": np.flatnonzero(rng.random(n) < shares[k]).astype(np.int32) for k in range(count)}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled, or read from their cache, before a law's first example is timed."""
    parted(overlapping(np.random.default_rng(0), 9, 2), 9)


@given(seeds, st.integers(0, 60), st.integers(0, 6))
def test_parts_are_the_sets_of_rows_in_the_same_groups(seed, n, count):
    """Parts share no row; each lies in a group as a whole or not at all; together they are the groups."""
    groups = overlapping(np.random.default_rng(seed), n, count)
    parts = parted(groups, n)
    times = np.zeros(n, dtype=int)
    signs = []
    for k, rows in enumerate(parts.rows):
        times[rows] += 1
        assert len(rows)
        assert (parts.part[rows] == k).all()
        sign = parts.groups_of(k)
        signs.append(sign)
        for name, members in groups.items():
            assert np.isin(rows, members).all() if name in sign else not np.isin(rows, members).any()
    assert len(set(signs)) == len(signs)
    assert (times == (parts.part >= 0)).all()
    for g, rows in enumerate(groups.values()):
        mine = parts.holds[[g]].indices.tolist()
        joint = np.concatenate([np.zeros(0, dtype=np.int32), *(parts.rows[k] for k in mine)])
        np.testing.assert_array_equal(np.sort(joint), rows)


def least_miss(parts, target, low, high):
    """The least sum of misses over all orders, found by a program of its own: one per row."""
    g, n = len(parts.names), len(low)
    inside = np.zeros((g, n))
    for k in range(g):
        for part in parts.holds[[k]].indices:
            inside[k, parts.rows[part]] = 1.0
    found = linprog(
        np.concatenate([np.zeros(n), np.ones(2 * g)]),
        A_eq=np.hstack([inside, np.eye(g), -np.eye(g)]),
        b_eq=target,
        bounds=[*zip(low, high, strict=True), *[(0, None)] * (2 * g)],
    )
    return found.fun


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 30), st.integers(1, 5))
def test_orders_on_parts_come_as_near_as_any_orders_on_rows(seed, n, count):
    """Parts stay in their bounds, sums are those of the parts, and no choice of rows misses by less."""
    rng = np.random.default_rng(seed)
    parts = parted(overlapping(rng, n, count), n)
    low, high = -rng.random(n) * 5, rng.random(n) * 5
    target = rng.normal(size=count) * rng.choice([1.0, 5.0, 60.0])
    orders = shared_orders(parts, target, low, high)
    for k, rows in enumerate(parts.rows):
        assert low[rows].sum() - 1e-9 <= orders.p_kw[k] <= high[rows].sum() + 1e-9
    np.testing.assert_allclose(orders.group_kw, parts.holds @ orders.p_kw, atol=1e-9)
    np.testing.assert_allclose(orders.group_kw + orders.short_kw, target, atol=1e-9)
    least = least_miss(parts, target, low, high)
    assert np.abs(orders.short_kw).sum() == pytest.approx(least, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 30), st.integers(2, 5))
def test_who_asks_first_is_served_as_if_alone(seed, n, count):
    """The group of the first rank gets what it would get without the others."""
    rng = np.random.default_rng(seed)
    parts = parted(overlapping(rng, n, count), n)
    low, high = -rng.random(n) * 5, rng.random(n) * 5
    target = rng.normal(size=count) * 20.0
    rank = rng.permutation(count)
    orders = shared_orders(parts, target, low, high, rank=rank)
    first = int(np.argmin(rank))
    mine = np.concatenate([np.zeros(0, int), *(parts.rows[k] for k in parts.holds[[first]].indices)])
    alone = np.clip(target[first], low[mine].sum(), high[mine].sum())
    assert orders.group_kw[first] == pytest.approx(alone, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 30), st.integers(1, 4))
def test_orders_that_ask_for_the_wish_leave_everybody_alone(seed, n, count):
    """Where each group is asked for what its members would do anyway, each part does that."""
    rng = np.random.default_rng(seed)
    parts = parted(overlapping(rng, n, count), n)
    low, high = -rng.random(n) * 5, rng.random(n) * 5
    wish = low + rng.random(n) * (high - low)
    part_wish = np.array([wish[rows].sum() for rows in parts.rows])
    orders = shared_orders(parts, parts.holds @ part_wish, low, high, wish)
    np.testing.assert_allclose(orders.p_kw, part_wish, atol=1e-6)
    np.testing.assert_allclose(orders.short_kw, 0.0, atol=1e-6)


def test_one_group_is_spread_by_room():
    """Without overlap the part of a group is the group; with two halves, each gives by its room."""
    one = parted({"a": np.arange(4, dtype=np.int32)}, 5)
    assert shared_orders(one, [6.0], np.zeros(5), np.full(5, 3.0)).p_kw.tolist() == pytest.approx([6.0])
    two = parted({"a": np.arange(4, dtype=np.int32), "b": np.arange(1, dtype=np.int32)}, 4)
    orders = shared_orders(two, [6.0, 1.5], np.zeros(4), np.full(4, 3.0))
    assert {two.groups_of(k): round(float(orders.p_kw[k]), 6) for k in range(2)} == {
        ("a", "b"): 1.5,
        ("a",): 4.5,
    }


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_device_in_two_groups_hears_one_order(seed):
    """Orders on overlapping groups of a real fleet, split part by part, sum to what was said they would."""
    rng = np.random.default_rng(seed)
    drawn = million(150, seed)
    fleet = drawn.fleet()
    image = fleet.image(NOON_S)
    can = capability(image)
    groups = overlapping(rng, image.n, 3)
    parts = parted(groups, image.n)
    target = [rng.uniform(can.p_lo_kw[rows].sum(), can.p_hi_kw[rows].sum()) for rows in groups.values()]
    orders = shared_orders(parts, target, can.p_lo_kw, can.p_hi_kw)
    ordered, times = np.zeros(image.n), np.zeros(image.n, dtype=int)
    missed = np.zeros(len(parts.rows))
    for k, rows in enumerate(parts.rows):
        shares = split(float(orders.p_kw[k]), rows, image, can, np.nan_to_num(image.p_kw))
        ordered[rows] += shares.p_kw
        times[rows] += 1
        missed[k] = shares.shortfall_kw
    assert times.max() <= 1
    for g, rows in enumerate(groups.values()):
        expected = orders.group_kw[g] - missed[parts.holds[[g]].indices].sum()
        assert ordered[rows].sum() == pytest.approx(expected, abs=1e-4)
