"""Laws of flexibility sets: what is promised can be done, and nothing that cannot is let in."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet.flexible import Outlook, Outside, flexibility_set, power_plane, together
from gridflock.fleet.flexible._blocks import Blocks, Turns

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("flexible_world")
seeds = st.integers(0, 2**32 - 1)


def published(seed, kinds=world.KINDS, most=8):
    """A random fleet, its grid, its set and a generator."""
    rng = np.random.default_rng(seed)
    image = world.mixed(rng, int(rng.integers(1, most + 1)), kinds)
    grid = world.uneven(rng, int(rng.integers(3, 11)))
    guide = Outlook(worth=rng.normal(size=grid.n) if rng.random() < 0.5 else None)
    return rng, image, grid, flexibility_set(image, np.arange(image.n, dtype=np.int32), grid, guide)


@settings(max_examples=210, deadline=None)
@given(seeds)
def test_what_is_inside_can_be_delivered(seed):
    """50 trajectories of each set are divided; sums meet them and every device keeps its own limits.

    210 sets make 10,500 trajectories a run.
    """
    rng, image, grid, offered = published(seed)
    rows, group = np.arange(image.n), offered._group(map, 1)
    for wanted in world.trajectories(group, rng, grid.n):
        shares = offered.divide(wanted)
        assert not isinstance(shares, Outside), shares
        assert shares.residual_kw <= 1e-6
        missed = np.abs(shares.p_kw.sum(axis=0) - wanted).max()
        assert missed <= shares.rounding_kw + 1e-6
        assert world.broken(image, rows, grid, world.by_row(shares, rows)) == []


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_referee_sees_what_is_broken(seed):
    """Schedules with more power than a device has are named: the referee is not blind."""
    _, image, grid, offered = published(seed)
    rows = np.arange(image.n)
    shares = offered.vertex(np.ones(grid.n))
    followed = world.by_row(shares, rows)
    assert world.broken(image, rows, grid, followed) == []
    assert len(world.broken(image, rows, grid, followed + 20.0)) >= image.n


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_what_is_outside_is_proven_outside(seed):
    """Beyond a vertex, the answer is a price at which the trajectory is worth more than any answer."""
    rng, _, grid, offered = published(seed)
    price = rng.normal(size=grid.n)
    vertex = offered._group(map, 1).best(price)
    beyond = vertex + price * rng.choice([1e-3, 0.1, 10.0])
    assert not offered.contains(beyond)
    found = offered.divide(beyond)
    assert isinstance(found, Outside)
    assert found.asked > found.most
    assert np.isclose(found.asked, found.price @ beyond)
    assert np.isclose(found.most, offered.most(found.price))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 4))
def test_sets_of_groups_are_the_set_of_all_members(seed, parts):
    """A group of groups promises what the flat group promises, in every direction and whatever the cuts."""
    rng, image, grid, _ = published(seed)
    offered = flexibility_set(image, np.arange(image.n, dtype=np.int32), grid)
    dealt = rng.integers(parts, size=image.n)
    groups = [np.flatnonzero(dealt == k).astype(np.int32) for k in range(parts)]
    joined = together([flexibility_set(image, rows, grid) for rows in groups])
    assert np.array_equal(joined.rows, offered.rows)
    if not offered.members.blocks.n and not offered.members.inner.any():
        for _ in range(5):
            price = rng.normal(size=grid.n)
            assert np.isclose(joined.most(price), offered.most(price), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="in two sets"):
        together([offered, offered])


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_support_of_a_sum_is_the_sum_of_supports(seed):
    """Joined sets earn in every direction what they earn apart: the Minkowski sum."""
    rng, image, grid, _ = published(seed)
    halves = np.array_split(np.arange(image.n, dtype=np.int32), 2)
    sets = [flexibility_set(image, rows, grid) for rows in halves]
    for _ in range(5):
        price = rng.normal(size=grid.n)
        assert np.isclose(together(sets).most(price), sum(s.most(price) for s in sets), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_lossless_stores_make_a_g_polymatroid(seed):
    """The upper set function is submodular, the lower one supermodular, and they cross (Frank 1984)."""
    kinds = (world.Kind.BATTERY_COMMERCIAL, world.Kind.PV_ROOFTOP)
    rng, _, grid, offered = published(seed, kinds)
    assert offered.form == "g-polymatroid"
    most, least = offered.most_kwh, offered.least_kwh
    for _ in range(4):
        one, other = rng.random(grid.n) < 0.5, rng.random(grid.n) < 0.5
        assert most(one) + most(other) >= most(one | other) + most(one & other) - 1e-9
        assert least(one) + least(other) <= least(one | other) + least(one & other) + 1e-9
        assert most(one) - least(other) >= most(one & ~other) - least(other & ~one) - 1e-9


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_room_is_reached_and_held(seed):
    """The largest power of a step is that of some trajectory, and what can be held is inside until then."""
    rng, _, grid, offered = published(seed)
    room, t = offered.room(), int(rng.integers(grid.n))
    at = np.eye(grid.n)[t]
    assert np.isclose(offered.most(at), room.p_hi_kw[t], atol=1e-9)
    assert np.isclose(-offered.most(-at), room.p_lo_kw[t], atol=1e-9)
    until = np.arange(grid.n) <= t
    assert np.isclose(offered.most_kwh(until), room.e_hi_kwh[t], atol=1e-9)
    assert np.isclose(offered.least_kwh(until), room.e_lo_kwh[t], atol=1e-9)
    for level in (room.hold_lo_kw[t], room.hold_hi_kw[t]):
        assert room.hold_lo_kw[t] > room.hold_hi_kw[t] or _held(offered, until, level)


def _held(offered, until, level):
    """Whether a constant power can be kept up until a step: no price of those steps proves otherwise."""
    stores = together([offered])
    group = stores._group(map, 1)
    rest = group.nearest(np.zeros(len(until)))
    wanted = np.where(until, level, rest.p_kw)
    steps = int(until.sum())
    cut = wanted[:steps]
    for sign in (1.0, -1.0):
        for k in range(1, steps + 1):
            price = np.concatenate([np.full(k, sign), np.zeros(len(until) - k)])
            if price[:steps] @ cut > offered.most(price) + 1e-6:
                return False
    return True


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 5))
def test_parts_change_nothing(seed, parts):
    """Spread over several calls, a vertex is the same to the bit and a division within its tolerance."""
    rng, _, grid, offered = published(seed)
    price = rng.normal(size=grid.n)
    one, many = offered.vertex(price), offered.vertex(price, map, parts)
    assert np.array_equal(one.p_kw, many.p_kw)
    wanted = offered._group(map, 1).nearest(price).p_kw
    shares = offered.divide(wanted, map, parts)
    assert not isinstance(shares, Outside)
    assert shares.residual_kw <= 1e-6


def test_rest_lies_inside_where_no_departure_demands_otherwise():
    """Stores, lossy ones too, may do nothing all day."""
    rng = np.random.default_rng(4)
    image = world.mixed(rng, 40, (world.Kind.BATTERY_HOME, world.Kind.BATTERY_COMMERCIAL))
    grid = world.uneven(rng, 24)
    offered = flexibility_set(image, np.arange(image.n, dtype=np.int32), grid)
    assert offered.form == "inner"
    assert offered.contains(np.zeros(grid.n))


def test_silent_and_unknown_members_promise_nothing():
    """Who is not ready, or whose stored energy is unknown, is left out by name."""
    image = world.mixed(np.random.default_rng(1), 6)
    quiet = dataclasses.replace(image, ready=np.zeros_like(image.ready))
    grid = world.uneven(np.random.default_rng(2), 4)
    offered = flexibility_set(quiet, np.arange(6, dtype=np.int32), grid)
    assert offered.left_out.tolist() == list(range(6))
    assert offered.contains(np.zeros(4))
    assert not offered.contains(np.full(4, 0.1))


@pytest.mark.parametrize("wanted", [np.zeros(3), np.array([0.0, np.nan, 0.0, 0.0])])
def test_a_trajectory_is_finite_and_as_long_as_the_grid(wanted):
    """Anything else is refused at the door."""
    image = world.mixed(np.random.default_rng(1), 3)
    offered = flexibility_set(image, np.arange(3, dtype=np.int32), world.uneven(np.random.default_rng(2), 4))
    with pytest.raises(ValueError, match="4 finite powers"):
        offered.divide(wanted)


def test_generators_that_switch_too_fast_are_refused():
    """Running times given from outside must keep the minimum times; the device that breaks them is named."""
    image = world.mixed(np.random.default_rng(3), 2, (world.Kind.GENSET,))
    columns = dict(image.columns) | {"min_on_s": np.full(2, 7200.0, dtype=np.float32)}
    grid = world.TimeGrid.uniform(world.NOW_S, 900, 4)
    slow = dataclasses.replace(image, columns=columns)
    flicker = np.tile(np.array([0, 1, 0, 0], dtype=np.uint8), (2, 1))
    with pytest.raises(ValueError, match="r0"):
        flexibility_set(slow, np.arange(2, dtype=np.int32), grid, Outlook(running=flicker))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_power_plane_is_delivered(seed):
    """A point of the polygon is the sum of powers inside each rating; one beyond a corner is refused."""
    rng = np.random.default_rng(seed)
    image = world.mixed(rng, 6, (world.Kind.BATTERY_HOME, world.Kind.PV_ROOFTOP, world.Kind.EV_V1G))
    s = rng.uniform(2, 9, 6).astype(np.float32)
    image = dataclasses.replace(image, columns=dict(image.columns) | {"s_max_kva": s})
    low, high = -rng.uniform(0, 4, 6), rng.uniform(0, 4, 6)
    plane = power_plane(image, np.arange(6, dtype=np.int32), low, high)
    weights = rng.dirichlet(np.full(len(plane.p_kw), 0.2))
    p, q = weights @ plane.p_kw, weights @ plane.q_kvar
    found = plane.divide(p, q)
    assert found is not None
    assert np.allclose([found[0].sum(), found[1].sum()], [p, q], atol=1e-7)
    able = image.kind != world.Kind.EV_V1G
    assert (np.hypot(*found)[able] <= s[able] + 1e-6).all()
    assert (np.abs(found[1]) <= 0.44 * s * able + 1e-6).all()
    assert (found[0] >= low - 1e-6).all()
    assert (found[0] <= high + 1e-6).all()
    assert plane.divide(plane.p_kw.max() + 1e-3, 0.0) is None
    # No powers of the members reach further in the directions asked.
    angle = 2 * np.pi * np.arange(64) / 64
    reach = plane.p_kw * np.cos(angle) + plane.q_kvar * np.sin(angle)
    some_p = np.clip(rng.uniform(low, high, (500, 6)), -s, s)
    some_p = np.where(able, some_p, rng.uniform(low, high, (500, 6)))
    most_q = np.where(able, np.minimum(0.44 * s, np.sqrt(np.maximum(s**2 - some_p**2, 0))), 0)
    some_q = rng.choice([-1, 1], (500, 1)) * most_q
    sums = np.outer(some_p.sum(axis=1), np.cos(angle)) + np.outer(some_q.sum(axis=1), np.sin(angle))
    assert (sums <= reach + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_whole_devices_miss_by_less_than_one(seed):
    """On/off loads follow any powers of their turns within their largest rating, and hold on long enough."""
    rng = np.random.default_rng(seed)
    count, steps, hold = int(rng.integers(1, 30)), int(rng.integers(2, 20)), int(rng.integers(1, 5))
    rows = np.arange(count, dtype=np.int32)
    on = (rng.random(count) < 0.5).astype(np.uint8)
    holds, locked = np.full(count, hold), rng.integers(0, 3, count)
    blocks = Blocks.of(rows, steps, rng.uniform(0.5, 3, count), on, holds, locked)
    turns = Turns(blocks)
    drawn = turns.room_kw * rng.random(turns.room_kw.shape)
    made = turns.devices(drawn)
    assert np.abs(made.sum(axis=0) - turns.power(drawn)).max() <= blocks.rounding_kw + 1e-9
    for j in range(count):
        runs = np.concatenate([[on[j]], made[j] < 0])
        changes = np.flatnonzero(np.diff(runs.astype(int)))
        assert (np.diff(changes) >= hold).all()
        assert not len(changes) or changes[0] >= locked[j]
