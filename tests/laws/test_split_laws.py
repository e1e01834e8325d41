"""Laws of sharing one target among many: sums, bounds, levels, order, least switching."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet, Groups, capability, fair, split
from gridflock.fleet.sharing._shares import fill
from gridflock.fleet.sharing._split import _part
from gridflock.model import BoundSource, Readings
from gridflock.schema import FAMILY, QUANTITY, Family, Kind

NOW_S = 1_700_000_000
NAMEPLATE = {
    Family.RENEWABLE: {"p_max_kw": 6},
    Family.STORAGE: {"p_max_kw": 5, "p_min_kw": -4, "e_max_kwh": 10, "e_reserve_kwh": 2, "eff_charge": 0.9},
    Family.VEHICLE: {"p_min_kw": -7.2, "p_floor_kw": 1.4, "e_max_kwh": 60, "eff_charge": 0.9},
    Family.GENERATOR: {"p_max_kw": 50, "p_floor_kw": 20, "e_max_kwh": 80},
    Family.SHED: {"p_min_kw": -30},
    Family.THERMAL: {"p_min_kw": -3, "on_off": 1, "e_max_kwh": 2},
    Family.NONE: {},
}
ORDERED = tuple(kind for kind in Kind if FAMILY[kind] is not Family.NONE)


def world(rng, n, kinds=ORDERED, on_off=0.0, **given_values):
    """A fleet, an image with plausible random readings and its capability."""
    rows = []
    for i in range(n):
        kind = kinds[rng.integers(len(kinds))]
        row = {"id": f"r{i}", "kind": kind.name, "bus": "b", "phases": "a"} | NAMEPLATE[FAMILY[kind]]
        row |= {"cost_kwh": rng.integers(9) / 20}
        if kind in (Kind.EV_V2G, Kind.EV_V2H):
            row["p_max_kw"] = 7.2
        if rng.random() < on_off:
            row["on_off"] = 1
        rows.append(row)
    fleet, rejected = Fleet.from_rows(rows, {"b": 7})
    assert rejected == ()
    family, columns = fleet.family, fleet.columns
    e_max = columns["e_max_kwh"].astype(float)
    on = np.where(rng.random(n) < 0.5, columns["p_min_kw"], 0.0)
    readings = {
        "p_kw": np.where(
            family == Family.THERMAL, on, rng.uniform(columns["p_min_kw"], columns["p_max_kw"] + 1e-3)
        ),
        "p_avail_kw": np.choose(np.minimum(family, 6), [6, 0, 0, 30, -40, 0, 0]) * rng.random(n),
        "e_kwh": e_max * rng.uniform(-0.05, 1.0, n),
        "e_target_kwh": e_max * rng.random(n),
        "depart_s": NOW_S + rng.integers(0, 40_000, n),
        "ready": rng.random(n) < 0.9,
        "locked_s": 60.0 * (rng.random(n) < 0.1),
    } | given_values
    for name, values in readings.items():
        value = np.broadcast_to(np.asarray(values, dtype=np.float64), (n,)).copy()
        index, code = np.arange(n, dtype=np.int32), np.full(n, QUANTITY[name], np.uint8)
        batch = Readings(fleet.ids, index, code, value, np.full(n, NOW_S), np.zeros(n, np.uint8))
        assert fleet.ingest(batch, NOW_S) == ()
    image = fleet.image(NOW_S)
    return fleet, image, capability(image)


def share(target, image, can, previous=None, rows=None, **more):
    """Split over all rows by default."""
    rows = np.arange(image.n, dtype=np.int32) if rows is None else rows
    return split(target, rows, image, can, np.full(image.n, np.nan) if previous is None else previous, **more)


def between(can, fraction):
    """A target that far from the lower to the upper sum."""
    low, high = can.p_lo_kw.sum(), can.p_hi_kw.sum()
    return float(low + fraction * (high - low))


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 40)
fractions = st.floats(-0.5, 1.5)


def assert_fair_deal(result, target, image, can):
    """What every split must obey, whatever the family."""
    scale = max(1.0, abs(target), np.abs(result.p_kw).sum())
    assert result.p_kw.sum() + result.shortfall_kw == pytest.approx(target, abs=1e-6 * scale)
    assert sum(result.causes.values()) == pytest.approx(result.shortfall_kw, abs=1e-6 * scale)
    words = {source.name.lower() for source in BoundSource} | {"on/off rounding", "minimum level"}
    assert set(result.causes) <= words
    assert (result.p_kw >= can.p_lo_kw - 1e-9).all()
    assert (result.p_kw <= can.p_hi_kw + 1e-9).all()
    free = can.p_lo_kw < can.p_hi_kw
    only = free & (image.columns["on_off"] == 1) & (image.family != Family.SHED)
    levels = np.stack([image.columns["p_min_kw"], np.zeros(image.n), image.columns["p_max_kw"]])
    offered = np.minimum(image.p_avail_kw, levels[2])
    levels[2] = np.where(image.family == Family.RENEWABLE, offered, levels[2])
    can_hold = ((levels >= can.p_lo_kw) & (levels <= can.p_hi_kw)).any(axis=0)
    assert np.isclose(result.p_kw, levels, atol=1e-6).any(axis=0)[only & can_hold].all()
    floor = image.columns["p_floor_kw"]
    size = np.abs(result.p_kw)
    assert ((size < 1e-9) | (size >= floor - 1e-6) | ~free).all()


@settings(max_examples=200, deadline=None)
@given(seeds, sizes, fractions, st.sampled_from([0.0, 0.3]))
def test_a_mixed_split_meets_the_target_or_names_why_not(seed, n, fraction, on_off):
    """Shares add up to the target or to target − shortfall, whose causes add up; all bounds hold."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, on_off=on_off)
    target = between(can, fraction)
    assert_fair_deal(share(target, image, can), target, image, can)


@settings(max_examples=200, deadline=None)
@given(seeds, st.sampled_from(ORDERED), sizes, fractions, st.sampled_from([0.0, 0.3]))
def test_a_split_within_a_family_meets_the_target_or_names_why_not(seed, kind, n, fraction, on_off):
    """The same for each family by its own rule; smooth families miss no target inside their bounds."""
    rng = np.random.default_rng(seed)
    kinds = tuple(other for other in ORDERED if FAMILY[other] is FAMILY[kind])
    _, image, can = world(rng, n, kinds, on_off)
    target = between(can, fraction)
    result = share(target, image, can)
    assert_fair_deal(result, target, image, can)
    smooth = FAMILY[kind] in (Family.RENEWABLE, Family.STORAGE, Family.SHED) and on_off == 0
    if smooth and 0 <= fraction <= 1:
        assert result.shortfall_kw == 0
        assert result.causes == {}


@settings(deadline=None)
@given(seeds, sizes, fractions)
def test_narrowed_bounds_hold(seed, n, fraction):
    """Bounds that arbitration or the grid narrowed are kept like the devices' own."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, on_off=0.2)
    cut = rng.random((2, n)) * 0.4 * (can.p_hi_kw - can.p_lo_kw)
    narrowed = dataclasses.replace(can, p_lo_kw=can.p_lo_kw + cut[0], p_hi_kw=can.p_hi_kw - cut[1])
    target = between(narrowed, fraction)
    result = share(target, image, narrowed)
    assert (result.p_kw >= narrowed.p_lo_kw - 1e-9).all()
    assert (result.p_kw <= narrowed.p_hi_kw + 1e-9).all()
    scale = max(1.0, abs(target), np.abs(result.p_kw).sum())
    assert result.p_kw.sum() + result.shortfall_kw == pytest.approx(target, abs=1e-6 * scale)


@settings(deadline=None)
@given(seeds, sizes, st.floats(0, 1))
def test_aggregate_of_a_split_is_the_target(seed, n, fraction):
    """Sharing a group's target and adding the shares up over the group gives the target again."""
    rng = np.random.default_rng(seed)
    fleet, image, can = world(rng, n, (Kind.BATTERY_HOME, Kind.PV_ROOFTOP))
    groups = Groups.standard(fleet, {"b": "s"}, {})
    for name in groups.ids:
        rows = groups.rows(name)
        low, high = can.p_lo_kw[rows].sum(), can.p_hi_kw[rows].sum()
        target = float(low + fraction * (high - low))
        everyone = np.zeros(n)
        everyone[rows] = share(target, image, can, rows=rows).p_kw
        assert groups.aggregate(everyone)[groups.ids.index(name)] == pytest.approx(target, abs=1e-6)


@settings(deadline=None)
@given(seeds, sizes, fractions, fractions)
def test_sun_and_wind_share_in_proportion(seed, n, one, other):
    """A higher target gives nobody less, and every free member the same fraction of its offer."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (Kind.PV_ROOFTOP, Kind.WIND))
    less, more = (share(between(can, f), image, can).p_kw for f in sorted((one, other)))
    assert (less <= more + 1e-9).all()
    free = can.p_hi_kw > can.p_lo_kw
    fraction = more[free] / can.p_hi_kw[free]
    assert np.ptp(fraction) < 1e-9 if free.any() else True


@settings(deadline=None)
@given(seeds, st.integers(2, 40), st.floats(0.05, 0.95))
def test_storage_moves_towards_one_state_of_charge(seed, n, fraction):
    """The fuller discharges at least as much as the emptier of the same size, and charges no more."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (Kind.BATTERY_HOME,), ready=1)
    order = np.argsort(image.e_kwh)
    shares = share(between(can, fraction), image, can).p_kw
    assert (np.diff(shares[order]) >= -1e-6).all()


@settings(deadline=None)
@given(seeds, st.integers(2, 30), st.floats(0.0, 1.0))
def test_who_must_leave_first_charges_first(seed, n, fraction):
    """A waiting vehicle never has 15 min less laxity than one that charges at full power."""
    rng = np.random.default_rng(seed)
    depart_s = NOW_S + rng.integers(20_000, 60_000, n)
    fixed = {"e_kwh": 20, "e_target_kwh": 30, "p_kw": 0, "ready": 1, "depart_s": depart_s}
    _, image, can = world(rng, n, (Kind.EV_V1G,), **fixed)
    shares = share(between(can, fraction), image, can).p_kw
    full, waiting = shares <= -7.2 + 1e-5, shares == 0
    if full.any() and waiting.any():
        assert image.depart_s[full].max() <= image.depart_s[waiting].min() + 900


@settings(deadline=None)
@given(seeds, st.integers(2, 30), st.floats(0.0, 1.0))
def test_the_cheapest_generator_runs_first(seed, n, fraction):
    """No stopped generator is cheaper than one that runs above its smallest level."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (Kind.GENSET,), p_kw=0, ready=1, locked_s=0)
    shares = share(between(can, fraction), image, can).p_kw
    cost = image.columns["cost_kwh"]
    stopped, above = shares == 0, shares > 20 + 1e-6
    if stopped.any() and above.any():
        assert cost[above].max() <= cost[stopped].min() + 1e-6


@settings(deadline=None)
@given(seeds, st.integers(2, 30), st.floats(0.0, 1.0))
def test_processes_are_called_in_rotation(seed, n, fraction):
    """Of those not paused yet, nobody is called before somebody who was called less."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (Kind.CURTAILABLE,), p_avail_kw=-40, p_kw=-40, ready=1, locked_s=0)
    called = rng.permutation(n).astype(float)
    shares = share(between(can, fraction), image, can, called_kwh=called).p_kw
    spared, paused = shares <= can.p_lo_kw + 1e-9, shares >= can.p_hi_kw - 1e-9
    if spared.any() and paused.any():
        assert called[paused].max() < called[spared].min()


@settings(deadline=None)
@given(seeds, st.integers(2, 40), st.floats(0.0, 1.0))
def test_comfort_loads_switch_as_few_as_possible(seed, n, fraction):
    """Devices switch in one direction only, the fullest off or the emptiest on, within half a device."""
    rng = np.random.default_rng(seed)
    state = np.where(rng.random(n) < 0.5, -3.0, 0.0)
    band = rng.uniform(0.1, 1.9, n)
    _, image, can = world(rng, n, (Kind.HEAT_PUMP,), p_kw=state, e_kwh=band, ready=1, locked_s=0)
    target = between(can, fraction)
    result = share(target, image, can)
    assert abs(result.shortfall_kw) <= 1.5 + 1e-6
    on, off = result.p_kw < state, result.p_kw > state
    assert not (on.any() and off.any())
    assert on.sum() + off.sum() == round(abs(state.sum() - result.p_kw.sum()) / 3)
    stay = ~on & ~off
    if on.any() and (stay & (state == 0)).any():
        assert image.e_kwh[on].max() <= image.e_kwh[stay & (state == 0)].min()
    if off.any() and (stay & (state < 0)).any():
        assert image.e_kwh[off].min() >= image.e_kwh[stay & (state < 0)].max()
    again = share(target, image, can, previous=result.p_kw)
    np.testing.assert_array_equal(again.p_kw, result.p_kw)


def test_orders_in_force_count_before_what_devices_do():
    """Least switching goes by the last order where there is one: a reading may be older than it."""
    _, image, can = world(
        np.random.default_rng(0), 2, (Kind.HEAT_PUMP,), p_kw=0, e_kwh=[0.5, 1.0], ready=1, locked_s=0
    )
    assert share(-3.0, image, can).p_kw.tolist() == [-3.0, 0.0]
    assert share(-3.0, image, can, previous=np.array([np.nan, -3.0])).p_kw.tolist() == [0.0, -3.0]


def test_smallest_levels_are_made_room_for():
    """55 kW from two 50 kW sets that run from 20 kW up: 35 + 20, not 50 + 5."""
    _, image, can = world(np.random.default_rng(0), 2, (Kind.GENSET,), p_kw=0, ready=1, locked_s=0)
    assert sorted(share(55.0, image, can).p_kw) == pytest.approx([20, 35])
    short = share(8.0, image, can)
    assert short.p_kw.tolist() == [0, 0]
    assert short.causes == {"minimum level": 8.0}


def test_a_shortfall_names_the_bounds_that_cause_it():
    """Beyond the bounds, each source answers for what it keeps from nameplate; the rest is nameplate."""
    fleet, image, can = world(
        np.random.default_rng(0), 3, (Kind.PV_ROOFTOP,), p_avail_kw=[2, 6, 6], p_kw=[0, 0, 5], ready=[1, 1, 0]
    )
    result = share(20.0, image, can)
    assert result.shortfall_kw == pytest.approx(7.0)
    assert result.causes == pytest.approx({"available": 4.0, "not_ready": 1.0, "nameplate": 2.0})
    assert share(1.0, image, can).causes == pytest.approx({"not_ready": -4.0})
    nobody = split(5.0, np.zeros(0, np.int32), image, can, np.full(3, np.nan))
    assert (len(nobody.p_kw), nobody.shortfall_kw, dict(nobody.causes)) == (0, 5.0, {"nameplate": 5.0})
    assert len(fleet.ids) == 3


def test_on_off_sun_gives_all_or_nothing():
    """A plant that can only be connected or not gives what is on offer, or nothing."""
    _, image, can = world(np.random.default_rng(0), 3, (Kind.PV_ROOFTOP,), 1.0, p_avail_kw=[3, 4, 9], ready=1)
    assert sorted(share(7.0, image, can).p_kw) == [0, 3, 4]
    assert share(9.0, image, can).causes == pytest.approx({"on/off rounding": 2.0})
    assert share(99.0, image, can).p_kw.tolist() == [3, 4, 6]


def test_in_a_mixed_group_the_cheap_goes_first_and_sun_is_held_back_last():
    """A battery charges before sun is held back, and sun is held back once it is full of power."""
    kinds = (Kind.PV_ROOFTOP, Kind.BATTERY_HOME)
    _, image, can = world(np.random.default_rng(5), 8, kinds, p_avail_kw=5, e_kwh=5, ready=1)
    sun, store = image.family == Family.RENEWABLE, image.family == Family.STORAGE
    offered, room = 5.0 * sun.sum(), 4.0 * store.sum()
    shares = share(float(offered - 0.5 * room), image, can).p_kw
    assert shares[sun].sum() == pytest.approx(offered)
    assert shares[store].sum() == pytest.approx(-0.5 * room)
    shares = share(float(offered - room - 3.0), image, can).p_kw
    assert shares[sun].sum() == pytest.approx(offered - 3.0)
    assert shares[store].sum() == pytest.approx(-room)


def test_crossed_bounds_collapse_to_the_side_of_rest():
    """Bounds that contradict each other leave the level nearest to rest, and nothing is raised."""
    _, image, can = world(np.random.default_rng(0), 1, (Kind.BATTERY_HOME,), e_kwh=5, ready=1)
    crossed = dataclasses.replace(can, p_lo_kw=np.array([3.0]), p_hi_kw=np.array([1.0]))
    assert share(4.0, image, crossed).p_kw.tolist() == [1.0]


@settings(deadline=None)
@given(seeds, sizes, fractions, st.sampled_from([Kind.PV_ROOFTOP, Kind.BATTERY_HOME, Kind.HEAT_PUMP]))
def test_the_order_in_which_members_stand_does_not_matter(seed, n, fraction, kind):
    """A group's rows in another order get the same shares."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (kind,), e_kwh=rng.permutation(n) / n + 0.1)
    order, target = rng.permutation(n).astype(np.int32), between(can, fraction)
    np.testing.assert_allclose(
        share(target, image, can, rows=order).p_kw, share(target, image, can).p_kw[order], atol=1e-6
    )


@settings(deadline=None)
@given(seeds, sizes, fractions, fractions)
def test_a_higher_target_gives_no_store_less(seed, n, one, other):
    """Stores without levels of their own move one way with their group's target."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, (Kind.BATTERY_HOME, Kind.BATTERY_COMMERCIAL))
    less, more = (share(between(can, f), image, can).p_kw for f in sorted((one, other)))
    assert (less <= more + 1e-6).all()


def gathered(rows, image, can, previous):
    """``gather`` in plain NumPy."""
    plate = {name: column[rows].astype(float) for name, column in image.columns.items() if name != "bus"}
    low, high = can.p_lo_kw[rows], can.p_hi_kw[rows]
    crossed, safe = low > high, np.clip(0.0, high, low)
    low, high = np.where(crossed, safe, low), np.where(crossed, safe, high)
    does, family = np.nan_to_num(image.p_kw[rows].astype(float)), image.family[rows]
    offered = np.where(np.isnan(image.p_avail_kw[rows]), does, image.p_avail_kw[rows])
    state = np.where(np.isnan(previous[rows]), does, previous[rows])
    shed, runs = family == Family.SHED, np.minimum(offered, 0.0)
    pauses = np.minimum(runs - plate["p_min_kw"], 0.0)
    top = np.where(family == Family.RENEWABLE, np.clip(offered, 0.0, plate["p_max_kw"]), plate["p_max_kw"])
    first, middle = np.where(shed, runs, plate["p_min_kw"]), np.where(shed, pauses, 0.0)
    levels = np.stack([first, middle, np.where(shed, pauses, top)])
    inside, steps = (levels >= low) & (levels <= high), plate["on_off"] == 1
    held, free = np.clip(state, low, high), low < high
    ends = np.where(inside, levels, np.inf).min(axis=0), np.where(inside, levels, -np.inf).max(axis=0)
    snaps = steps & free
    low, high = (
        np.where(snaps, np.where(inside.any(axis=0), end, held), bound)
        for end, bound in zip(ends, (low, high), strict=True)
    )
    floor, around = plate["p_floor_kw"], (low <= 0) & (high >= 0)
    least = np.where(around, np.where(low > -floor, 0.0, low), np.where(low > 0, np.maximum(low, floor), low))
    most = np.where(
        around, np.where(high < floor, 0.0, high), np.where(high < 0, np.minimum(high, -floor), high)
    )
    holes = free & (floor > 0)
    return np.where(holes, np.minimum(least, high), low), np.where(holes, np.maximum(most, low), high), state


@settings(deadline=None)
@given(seeds, sizes, st.sampled_from([0.0, 0.5, 1.0]))
def test_bounds_are_tightened_as_plain_numpy_does(seed, n, on_off):
    """Levels, holes, crossed bounds and what is known of each row agree with a reference without loops."""
    rng = np.random.default_rng(seed)
    _, image, can = world(rng, n, on_off=on_off)
    cut = rng.random((2, n)) * 0.6 * (can.p_hi_kw - can.p_lo_kw)
    can = dataclasses.replace(can, p_lo_kw=can.p_lo_kw + cut[0], p_hi_kw=can.p_hi_kw - cut[1])
    previous = np.where(rng.random(n) < 0.5, np.nan, rng.normal(0, 4, n))
    rows = rng.permutation(n).astype(np.int32)
    part = _part(rows, image, can, previous, None)
    for found, expected in zip(
        (part.lo, part.hi, part.state), gathered(rows, image, can, previous), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(deadline=None)
@given(seeds, st.integers(1, 60), st.floats(-0.2, 1.2))
def test_fair_shares_are_the_clipped_water_level(seed, n, fraction):
    """Shares are clip(wish + μ·weight, lo, hi) with one μ for all, found again by plain bisection."""
    rng = np.random.default_rng(seed)
    lo = -rng.random(n) * rng.choice([0, 1, 10], n)
    hi = lo + rng.random(n) * rng.choice([0, 1, 10], n)
    weight, wish = rng.uniform(1e-3, 5, n), rng.normal(size=n)
    target = float(lo.sum() + fraction * (hi.sum() - lo.sum()))
    below, above = -1e7, 1e7
    for _ in range(200):
        level = 0.5 * (below + above)
        if np.clip(wish + level * weight, lo, hi).sum() < target:
            below = level
        else:
            above = level
    expected = np.clip(wish + above * weight, lo, hi)
    found = fair(target, lo, hi, weight, wish)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if 0 <= fraction <= 1:
        assert found.sum() == pytest.approx(target, abs=1e-9 * max(1.0, np.abs(found).sum()))


@settings(deadline=None)
@given(seeds, st.integers(1, 30), st.floats(0, 1.3))
def test_fill_gives_the_amount_within_half_a_smallest_share(seed, n, fraction):
    """Each gets nothing or between its least and its room; the sum misses by half a least at most."""
    rng = np.random.default_rng(seed)
    room = rng.uniform(0, 5, n) * (rng.random(n) < 0.9)
    least = room * rng.choice([0.0, 0.5, 1.0], n)
    amount = float(fraction * room.sum())
    order = rng.permutation(n)
    given_away = fill(amount, order, room, least)
    assert (given_away <= room + 1e-9).all()
    assert ((given_away == 0) | (given_away >= least - 1e-9)).all()
    wanted = min(amount, room.sum())
    assert abs(given_away.sum() - wanted) <= 0.5 * least.max() + 1e-9


@pytest.mark.parametrize("kind", [Kind.BATTERY_HOME, Kind.PV_ROOFTOP, Kind.EV_V2G])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1.0, 1.0))
def test_a_planned_group_stays_near_its_plan(kind, seed, lean):
    """Planned members do as planned where their sum is the target, else move all the same way from it."""
    rng = np.random.default_rng(seed)
    _, image, able = world(rng, 12, kinds=(kind,), ready=1.0, locked_s=0.0)
    lo, hi = able.p_lo_kw, able.p_hi_kw
    plan = lo + rng.random(12) * (hi - lo)
    floor = image.columns["p_floor_kw"]
    plan = np.where(np.abs(plan) < floor, lo, plan)
    rows, none = np.arange(12, dtype=np.int32), np.full(12, np.nan)
    whole = float(plan.sum())
    same = split(whole, rows, image, able, none, planned_kw=plan)
    assert abs(float(same.p_kw.sum()) - whole) <= 1e-3 + abs(same.shortfall_kw)
    if not floor.any():
        np.testing.assert_allclose(same.p_kw, plan, atol=1e-4)
    target = whole + lean * (float(hi.sum()) - whole if lean > 0 else whole - float(lo.sum()))
    moved = split(target, rows, image, able, none, planned_kw=plan)
    assert abs(float(moved.p_kw.sum()) + moved.shortfall_kw - target) <= 1e-3
    if not floor.any():
        assert (np.sign(target - whole) * (moved.p_kw - plan) >= -1e-4).all()
