"""Laws of the fleet's state: ingest, image, capability, groups and flexibility."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet, Groups, arrivals_kwh, capability, flexibility, group_status
from gridflock.model import BoundSource, Readings
from gridflock.schema import FAMILY, QUANTITY, TELEMETRY, Family, Kind, attribute
from gridflock.units import HOUR_S, TimeGrid

NOW_S = 1_700_000_000
BUSES = {f"b{i}": 7 for i in range(6)}
SECTION = {bus: f"s{i % 2}" for i, bus in enumerate(BUSES)}
NAMEPLATE = {
    Family.RENEWABLE: {"p_max_kw": 6},
    Family.STORAGE: {"p_max_kw": 5, "p_min_kw": -4, "e_max_kwh": 10, "e_reserve_kwh": 2, "eff_charge": 0.9},
    Family.VEHICLE: {"p_min_kw": -7.2, "p_floor_kw": 1.4, "e_max_kwh": 60, "eff_charge": 0.9},
    Family.GENERATOR: {"p_max_kw": 50, "p_floor_kw": 20, "e_max_kwh": 80},
    Family.SHED: {"p_min_kw": -30},
    Family.THERMAL: {"p_min_kw": -3, "on_off": 1, "e_max_kwh": 2},
    Family.NONE: {},
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled, or read from their cache, before a law's first example is timed."""
    fleet = one(Kind.LOAD)
    told(fleet, p_kw=1.0)
    groups = Groups.standard(fleet, SECTION, {})
    for how in ("sum", "min"):
        groups.aggregate(np.ones((5, 1)), how)


def fleet_of(rng, n, kinds=tuple(Kind)):
    """A fleet of random kinds and places."""
    rows = []
    for i in range(n):
        kind = kinds[rng.integers(len(kinds))]
        row = {
            "id": f"r{i}",
            "kind": kind.name,
            "bus": f"b{rng.integers(6)}",
            "phases": "abc"[rng.integers(3) :],
        }
        row |= NAMEPLATE[FAMILY[kind]] | {"provider": f"p{rng.integers(2)}", "cost_kwh": rng.integers(9) / 20}
        if kind in (Kind.EV_V2G, Kind.EV_V2H):
            row["p_max_kw"] = 7.2
        rows.append(row)
    fleet, rejected = Fleet.from_rows(rows, BUSES)
    assert rejected == ()
    return fleet


def batch(fleet, rng, m, time_s=NOW_S):
    """Random readings inside the schema's ranges, some repeated, near the edges of what devices do."""
    quantity = rng.integers(len(TELEMETRY), size=m).astype(np.uint8)
    value = rng.choice([-3.0, 0.0, 0.4, 1.0, 2.0, 7.5], size=m)
    low = np.array([entry.low for entry in TELEMETRY])[quantity]
    high = np.array([entry.high for entry in TELEMETRY])[quantity]
    value = np.clip(np.where(quantity == QUANTITY["ready"], value > 0, value), low, high)
    value = np.where(quantity == QUANTITY["depart_s"], time_s + rng.integers(0, 40_000, size=m), value)
    index = rng.integers(len(fleet.ids), size=m).astype(np.int32)
    times = time_s - rng.integers(0, 4, size=m)
    return Readings(fleet.ids, index, quantity, value, times, rng.integers(3, size=m).astype(np.uint8))


def parts(readings, rng, k):
    """The same readings in k batches in another order."""
    order = rng.permutation(len(readings.index))
    for at in np.array_split(order, k):
        yield Readings(
            readings.ids,
            *(getattr(readings, name)[at] for name in ("index", "quantity", "value", "time_s", "quality")),
        )


def arrays_of(image):
    """All arrays of an image by name."""
    pairs = ((field.name, getattr(image, field.name)) for field in dataclasses.fields(image))
    return {name: value for name, value in pairs if isinstance(value, np.ndarray)}


def assert_same(one, other):
    """Two images hold the same bits."""
    for name, value in arrays_of(one).items():
        np.testing.assert_array_equal(value, arrays_of(other)[name], err_msg=name)


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 40)


@given(seeds, sizes, st.integers(0, 300), st.integers(1, 5))
def test_ingest_is_idempotent_and_free_of_order(seed, n, m, k):
    """Any order, any cut into batches and any repetition of the same readings give the same image."""
    rng = np.random.default_rng(seed)
    once = fleet_of(rng, n)
    readings = batch(once, rng, m)
    again = fleet_of(np.random.default_rng(seed), n)
    once.ingest(readings, NOW_S)
    for part in parts(readings, rng, k):
        again.ingest(part, NOW_S)
    assert_same(once.image(NOW_S), again.image(NOW_S))
    rejected = once.ingest(readings, NOW_S)
    assert sum(fault.count for fault in rejected) == m
    assert all("late or repeated" in fault.reason for fault in rejected)
    assert_same(once.image(NOW_S), again.image(NOW_S))


@given(seeds, sizes, st.integers(1, 200))
def test_the_newest_value_stands(seed, n, m):
    """A cell holds a value of its newest moment, and a row's heard_s is its newest reading."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n)
    readings = batch(fleet, rng, m)
    fleet.ingest(readings, NOW_S)
    image = fleet.image(NOW_S)
    for row in range(n):
        mine = readings.index == row
        assert image.heard_s[row] == (readings.time_s[mine].max() if mine.any() else -1)
        power = mine & (readings.quantity == QUANTITY["p_kw"])
        if power.any():
            newest = power & (readings.time_s == readings.time_s[power].max())
            assert image.p_kw[row] in readings.value[newest].astype(np.float32)
        else:
            assert np.isnan(image.p_kw[row])


@given(seeds, sizes)
def test_an_image_never_changes(seed, n):
    """Later readings do not show in an image, and nobody can write into one."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n)
    fleet.ingest(batch(fleet, rng, 100), NOW_S)
    image = fleet.image(NOW_S)
    before = {name: value.copy() for name, value in arrays_of(image).items()}
    fleet.ingest(batch(fleet, rng, 100, NOW_S + 50), NOW_S + 50)
    for name, value in arrays_of(image).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
        assert not value.flags.writeable, name
        with pytest.raises(ValueError, match="read-only"):
            value[:1] = value[:1]


@given(
    seeds, st.lists(st.sampled_from(["id", "quantity", "past", "future", "nan", "inf", "range"]), max_size=30)
)
def test_what_cannot_be_true_is_counted(seed, faults):
    """Impossible readings are counted by rule and change nothing; the good ones among them count."""
    rng = np.random.default_rng(seed)
    fleet, clean = fleet_of(rng, 5), fleet_of(np.random.default_rng(seed), 5)
    good = batch(fleet, rng, 20)
    clean.ingest(good, NOW_S)
    ids = (*fleet.ids, "stranger")
    m = len(faults)
    index, quantity = np.zeros(m, np.int32), np.zeros(m, np.uint8)
    value, time_s = np.ones(m), np.full(m, NOW_S, np.int64)
    for at, fault in enumerate(faults):
        index[at] = rng.choice([5, 6, -7]) if fault == "id" else 0
        quantity[at] = len(TELEMETRY) + at if fault == "quantity" else 0
        time_s[at] = {"past": -1, "future": NOW_S + 61}.get(fault, NOW_S)
        value[at] = {"nan": np.nan, "inf": -np.inf, "range": 60_000.0}.get(fault, 1.0)
    mixed = Readings(
        ids,
        np.concatenate([good.index, index]),
        np.concatenate([good.quantity, quantity]),
        np.concatenate([good.value, value]),
        np.concatenate([good.time_s, time_s]),
        np.concatenate([good.quality, np.zeros(m, np.uint8)]),
    )
    rejected = [fault for fault in fleet.ingest(mixed, NOW_S) if "late" not in fault.reason]
    assert_same(fleet.image(NOW_S), clean.image(NOW_S))
    assert sum(fault.count for fault in rejected) == m
    assert len(rejected) <= 7
    assert {fault.component for fault in rejected} <= {"reading"}


@given(seeds, sizes, st.integers(0, 400), st.integers(0, 900))
def test_capability_never_crosses_and_keeps_to_the_nameplate(seed, n, m, later_s):
    """Bounds never cross and are finite, inside the nameplate (processes: within their flexible part)."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n)
    fleet.ingest(batch(fleet, rng, m), NOW_S)
    image = fleet.image(NOW_S + later_s)
    can = capability(image)
    assert np.isfinite(can.p_lo_kw).all()
    assert np.isfinite(can.p_hi_kw).all()
    assert (can.p_lo_kw <= can.p_hi_kw).all()
    p_min, p_max = fleet.columns["p_min_kw"], fleet.columns["p_max_kw"]
    plain = ~np.isin(image.family, (Family.SHED, Family.NONE))
    assert (can.p_lo_kw[plain] >= p_min[plain]).all()
    assert (can.p_hi_kw[plain] <= p_max[plain]).all()
    shed = image.family == Family.SHED
    assert (can.p_hi_kw[shed] - can.p_lo_kw[shed] <= -p_min[shed] + 1e-9).all()
    held = (image.ready == 0) | image.silent(300)
    assert (can.p_lo_kw[held] == can.p_hi_kw[held]).all()
    assert (can.hi_source[held] == BoundSource.NOT_READY).all()


@given(seeds, sizes)
def test_a_group_of_groups_is_the_flat_group(seed, n):
    """Sums of a group of overlapping groups are those of its distinct members: nobody counts twice."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n)
    groups = Groups.standard(fleet, SECTION, {})
    chosen = [name for name in groups.ids if rng.random() < 0.3] or ["all"]
    singles = [fleet.ids[row] for row in groups.rows("all") if rng.random() < 0.2]
    assert groups.add("mine", "Mine", singles, children=chosen) == ()
    assert groups.add("outer", "Outer", children=["mine", chosen[0]]) == ()
    assert groups.add("late", "Late", [fleet.ids[row] for row in groups.rows("all")], parents=["mine"]) == ()
    values = rng.normal(size=(3, n))
    values[:, rng.random(n) < 0.1] = np.nan
    sums = groups.aggregate(values)
    for g, name in enumerate(groups.ids):
        rows = groups.rows(name)
        assert (np.diff(rows) > 0).all()
        np.testing.assert_allclose(sums[:, g], np.nansum(values[:, rows], axis=1), atol=1e-9)
        for child in groups.children(name):
            assert np.isin(groups.rows(child), rows).all()
            assert name in groups.parents(child)
    np.testing.assert_array_equal(groups.rows("outer"), groups.rows("all"))
    row = int(rng.integers(n))
    held = {name for name in groups.ids if row in groups.rows(name)}
    assert set(groups.of(fleet.ids[row])) == held


@given(seeds, sizes)
def test_plan_groups_part_the_fleet(seed, n):
    """Every resource that takes orders is in exactly one plan group, a head in no group at all."""
    fleet = fleet_of(np.random.default_rng(seed), n)
    groups = Groups.standard(fleet, {"b0": "north"}, {"north": "North"})
    times = np.zeros(n, dtype=int)
    for name in groups.ids:
        if name.startswith("plan/"):
            times[groups.rows(name)] += 1
            assert len(set(fleet.family[groups.rows(name)])) == 1
    assert (times == (fleet.family != Family.NONE)).all()
    assert not np.isin(np.flatnonzero(fleet.columns["kind"] == Kind.FEEDER_HEAD), groups.rows("all")).any()


@given(seeds, sizes, st.integers(0, 300))
def test_group_status_is_the_sum_of_the_members(seed, n, m):
    """Power, bounds, energy and counts of a group are its members'; so are sources of its bounds."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n)
    fleet.ingest(batch(fleet, rng, m), NOW_S)
    image = fleet.image(NOW_S)
    can = capability(image)
    groups = Groups.standard(fleet, SECTION, {})
    status = group_status(groups, image, can)
    assert status.ids == groups.ids
    for g, name in enumerate(groups.ids):
        rows = groups.rows(name)
        assert status.members[g] == len(rows)
        assert status.online[g] == (image.heard_s[rows] >= 0).sum()
        np.testing.assert_allclose(status.p_kw[g], np.nansum(image.p_kw[rows].astype(float)), atol=1e-6)
        np.testing.assert_allclose(status.p_lo_kw[g], can.p_lo_kw[rows].sum(), atol=1e-6)
        np.testing.assert_allclose(status.capability.p_hi_kw[g], can.p_hi_kw[rows].sum(), atol=1e-6)
        if len(rows):
            assert status.capability.lo_source[g] in can.lo_source[rows]
            assert status.capability.hi_source[g] in can.hi_source[rows]


def test_a_faulty_group_is_refused_and_changes_nothing():
    """Cycles, strangers, twins, taken names and wrong rules are Rejected values."""
    fleet = fleet_of(np.random.default_rng(1), 30)
    groups = Groups.standard(fleet, SECTION, {})
    head = fleet.ids[int(np.flatnonzero(fleet.columns["kind"] == Kind.FEEDER_HEAD)[0])]
    some = fleet.ids[int(groups.rows("all")[0])]
    assert groups.add("x", "X", [some], parents=["section/s0"]) == ()
    before = groups.ids
    faulty = {
        "duplicate": groups.add("x", "X"),
        "is the id of a resource": groups.add(some, "X"),
        "printable": groups.add(" ", "X"),
        "unknown resources": groups.add("y", "Y", ["nobody", "no one"]),
        "more than once": groups.add("y", "Y", [some, some]),
        "feeder head": groups.add("y", "Y", [head]),
        "unknown groups": groups.add("y", "Y", parents=["nowhere"]),
        "above and below": groups.add("y", "Y", parents=["x"], children=["section/s0"]),
        "no attribute": groups.add("y", "Y", rule={"colour": "red"}),
        "no kind": groups.add("y", "Y", rule={"kind": "toaster"}),
        "not a number": groups.add("y", "Y", rule={"p_max_kw": "many"}),
        "no customer class": groups.add("y", "Y", rule={"customer": "royal"}),
        "expected some of a, b, c": groups.add("y", "Y", rule={"phases": "q"}),
    }
    for words, rejected in faulty.items():
        assert [words in fault.reason for fault in rejected] == [True], words
    assert groups.ids == before


def test_a_rule_finds_its_members():
    """All conditions of a rule must hold; a condition may list values; absent labels match nobody."""
    fleet = fleet_of(np.random.default_rng(2), 60)
    groups = Groups.standard(fleet, SECTION, {})
    rule = {"family": "thermal", "provider": ["p1", "nobody"], "phases": ["abc", "c"], "on_off": 1}
    assert groups.add("warm", "Warm", rule=rule) == ()
    masks = fleet.columns["phases"]
    labels = np.array(fleet.labels["provider"])[fleet.columns["provider"]]
    expected = (fleet.family == Family.THERMAL) & (labels == "p1") & np.isin(masks, (7, 4))
    np.testing.assert_array_equal(groups.rows("warm"), np.flatnonzero(expected))
    assert groups.add("none", "None", rule={"program": "unheard-of"}) == ()
    assert len(groups.rows("none")) == 0


def test_means_leave_absent_values_out():
    """The mean of a group is over the members that report; a group without any has none."""
    fleet = fleet_of(np.random.default_rng(3), 12, kinds=(Kind.PV_ROOFTOP,))
    groups = Groups.standard(fleet, SECTION, {})
    values = np.full(12, np.nan)
    values[:2] = 1.0, 3.0
    means = groups.aggregate(values, how="mean")
    assert means[groups.ids.index("all")] == 2.0
    assert np.isnan(means[groups.ids.index("demand")])


def told(fleet, time_s=NOW_S, **columns):
    """Give every row one value per quantity."""
    n = len(fleet.ids)
    for name, values in columns.items():
        column = np.broadcast_to(np.asarray(values, dtype=np.float64), (n,)).copy()
        code = np.full(n, QUANTITY[name], np.uint8)
        index = np.arange(n, dtype=np.int32)
        fleet.ingest(
            Readings(fleet.ids, index, code, column, np.full(n, time_s), np.zeros(n, np.uint8)), time_s
        )
    return fleet.image(time_s)


def one(kind, n=1):
    """A fleet of one kind."""
    return fleet_of(np.random.default_rng(0), n, kinds=(kind,))


def bounds(image):
    """The first row's bounds and their sources."""
    can = capability(image)
    sources = BoundSource(can.lo_source[0]), BoundSource(can.hi_source[0])
    return float(can.p_lo_kw[0]), float(can.p_hi_kw[0]), *sources


B = BoundSource


@pytest.mark.parametrize(
    ("kind", "readings", "expected"),
    [
        (Kind.PV_ROOFTOP, {"p_avail_kw": 4}, (0, 4, B.NAMEPLATE, B.AVAILABLE)),
        (Kind.PV_ROOFTOP, {"p_avail_kw": 9}, (0, 6, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.PV_ROOFTOP, {"p_kw": 3}, (0, 3, B.NAMEPLATE, B.AVAILABLE)),
        (Kind.BATTERY_HOME, {"e_kwh": 5}, (-4, 5, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.BATTERY_HOME, {"e_kwh": 2}, (-4, 0, B.NAMEPLATE, B.ENERGY)),
        (Kind.BATTERY_HOME, {"e_kwh": 1}, (-4, 0, B.NAMEPLATE, B.ENERGY)),
        (Kind.BATTERY_HOME, {"e_kwh": 10}, (0, 5, B.ENERGY, B.NAMEPLATE)),
        (Kind.BATTERY_HOME, {"e_kwh": 2.1}, (-4, 3, B.NAMEPLATE, B.ENERGY)),
        (Kind.BATTERY_HOME, {"p_kw": 2}, (2, 2, B.NOT_READY, B.NOT_READY)),
        (Kind.BATTERY_HOME, {"p_kw": 2, "e_kwh": 5, "ready": 0}, (2, 2, B.NOT_READY, B.NOT_READY)),
        (Kind.EV_V1G, {"e_kwh": 30}, (-7.2, 0, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.EV_V1G, {"e_kwh": 60}, (0, 0, B.ENERGY, B.NAMEPLATE)),
        (
            Kind.EV_V1G,
            {"e_kwh": 30, "e_target_kwh": 36.48, "depart_s": NOW_S + HOUR_S + 1_199},
            (-7.2, -7.2, B.DEPARTURE, B.DEPARTURE),
        ),
        (
            Kind.EV_V1G,
            {"e_kwh": 30, "e_target_kwh": 36.48, "depart_s": NOW_S + HOUR_S + 1_201},
            (-7.2, 0, B.NAMEPLATE, B.NAMEPLATE),
        ),
        (
            Kind.EV_V1G,
            {"e_kwh": 40, "e_target_kwh": 36, "depart_s": NOW_S},
            (-7.2, 0, B.NAMEPLATE, B.NAMEPLATE),
        ),
        (Kind.EV_V2G, {"e_kwh": 30}, (-7.2, 7.2, B.NAMEPLATE, B.NAMEPLATE)),
        (
            Kind.EV_V2G,
            {"e_kwh": 30, "e_target_kwh": 36.48, "depart_s": NOW_S + HOUR_S + 1_300},
            (-7.2, 0, B.NAMEPLATE, B.DEPARTURE),
        ),
        (Kind.GENSET, {"p_kw": 0}, (0, 50, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.GENSET, {"p_kw": 30, "locked_s": 9}, (20, 50, B.LOCKED, B.NAMEPLATE)),
        (Kind.GENSET, {"p_kw": 0, "locked_s": 9}, (0, 0, B.LOCKED, B.LOCKED)),
        (Kind.CHP, {"e_kwh": 40, "p_avail_kw": 25}, (0, 50, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.CHP, {"e_kwh": 80, "p_avail_kw": 25}, (0, 25, B.NAMEPLATE, B.ENERGY)),
        (Kind.CHP, {"e_kwh": 0, "p_avail_kw": 25}, (25, 50, B.ENERGY, B.NAMEPLATE)),
        (Kind.CURTAILABLE, {"p_avail_kw": -40}, (-40, -10, B.AVAILABLE, B.NAMEPLATE)),
        (Kind.CURTAILABLE, {"p_avail_kw": -20}, (-20, 0, B.AVAILABLE, B.AVAILABLE)),
        (Kind.CURTAILABLE, {"p_kw": -15, "p_avail_kw": -20, "locked_s": 1}, (-15, -15, B.LOCKED, B.LOCKED)),
        (Kind.THERMOSTAT, {"e_kwh": 1}, (-3, 0, B.NAMEPLATE, B.NAMEPLATE)),
        (Kind.THERMOSTAT, {"e_kwh": 0}, (-3, -3, B.COMFORT, B.COMFORT)),
        (Kind.THERMOSTAT, {"e_kwh": 2}, (0, 0, B.COMFORT, B.COMFORT)),
        (Kind.THERMOSTAT, {"e_kwh": 0, "p_kw": 0, "locked_s": 5}, (0, 0, B.LOCKED, B.LOCKED)),
        (Kind.THERMOSTAT, {"e_kwh": 1, "p_kw": -2.9, "locked_s": 5}, (-3, -3, B.LOCKED, B.LOCKED)),
        (Kind.LOAD, {"p_kw": -2}, (-2, -2, B.NOT_READY, B.NOT_READY)),
    ],
)
def test_capability_by_family(kind, readings, expected):
    """Each family's bounds and their reasons, computed by hand from its nameplate."""
    image = told(one(kind), **({"ready": 1} | readings))
    assert bounds(image) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_silence_takes_the_choice_away():
    """Past the limit of staleness a device keeps what it does, whatever it could do before."""
    image = told(one(Kind.BATTERY_HOME), ready=1, e_kwh=5, p_kw=1)
    late = dataclasses.replace(image, now_s=NOW_S + 301)
    assert bounds(dataclasses.replace(image, now_s=NOW_S + 300))[:2] == (-4, 5)
    assert bounds(late) == (1, 1, B.NOT_READY, B.NOT_READY)
    can = capability(late, stale_s=600)
    assert (can.p_lo_kw[0], can.p_hi_kw[0]) == (-4, 5)


def test_an_arrival_is_a_need_that_was_not_there():
    """Only vehicles that came since the earlier image bring a need, and never a negative one."""
    fleet = one(Kind.EV_V1G, 5)
    states = np.array([0, 0, 1, 0, 0])
    before = told(fleet, ready=states, e_kwh=20, e_target_kwh=30)
    after = told(fleet, NOW_S + 60, ready=[1, 0, 1, 1, 1], e_kwh=[20, 20, 20, 35, 28])
    np.testing.assert_allclose(arrivals_kwh(before, after), [10, 0, 0, 0, 2])
    silent = one(Kind.EV_V1G, 5).image(NOW_S)
    assert arrivals_kwh(silent, after).sum() == 0


def form_of(image, base=0.0, inflow=0.0, steps=96, step_s=900):
    """Flexibility of the whole fleet as one group."""
    grid = TimeGrid.uniform(NOW_S, step_s, steps)
    rows = np.arange(image.n, dtype=np.int32)
    bases, inflows = np.full((1, steps), base), np.broadcast_to(inflow, (1, steps))
    return flexibility(image, ["g"], [rows], grid, bases, inflows)


@settings(max_examples=60)
@given(
    seeds,
    st.sampled_from([kind for kind in Kind if kind < Kind.LOAD]),
    st.integers(1, 20),
    st.integers(0, 200),
)
def test_flexibility_is_sane_and_holds_the_idle_path(seed, kind, n, m):
    """Bands start around 0, never cross and can be kept; idling is inside where no departure presses."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of(rng, n, kinds=(kind,))
    told(fleet, NOW_S - 5, ready=1, e_kwh=rng.uniform(0, attribute("e_kwh").high / 1e5, n))
    fleet.ingest(batch(fleet, rng, m), NOW_S)
    family = FAMILY[kind]
    base = {Family.RENEWABLE: 3.0, Family.THERMAL: -1.0, Family.SHED: -9.0}.get(family, 0.0) * n
    inflow = -rng.random(40) * 5 if family is Family.VEHICLE else 0.0
    form = form_of(fleet.image(NOW_S), base, inflow, 40, 1_800)
    assert (form.up_kw >= 0).all()
    assert (form.down_kw >= 0).all()
    lo, hi = form.x_lo_kwh[0], form.x_hi_kwh[0]
    assert np.isfinite(lo).all()
    assert np.isfinite(hi).all()
    assert lo[0] <= 0 <= hi[0]
    assert (lo <= hi + 1e-9).all()
    if family is not Family.VEHICLE:
        assert (lo <= 0).all()
        assert (hi >= 0).all()
    gains = np.stack([form.gain_up[0] * form.up_kw[0], form.gain_down[0] * form.down_kw[0]]) * form.grid.hours
    rise, fall = np.maximum(gains, 0).sum(axis=0), np.minimum(gains, 0).sum(axis=0)
    least = most = 0.0
    for t in range(form.grid.n):
        least, most = max(least + fall[t], lo[t + 1]), min(most + rise[t], hi[t + 1])
        assert least <= most + 1e-6


def test_a_vehicle_charges_as_late_as_its_departure_allows():
    """A need of 6.48 kWh at 7.2 kW and 90 % takes one hour: the band rises in the last hour only."""
    fleet = one(Kind.EV_V1G)
    form = form_of(told(fleet, ready=1, e_kwh=20, e_target_kwh=26.48, depart_s=NOW_S + 4 * HOUR_S), steps=24)
    lo = form.x_lo_kwh[0]
    np.testing.assert_allclose(lo[: 3 * 4 + 1], 0, atol=1e-5)
    np.testing.assert_allclose(lo[3 * 4 : 4 * 4 + 1], np.linspace(0, 6.48, 5), atol=1e-5)
    np.testing.assert_allclose(lo[4 * 4 :], 6.48, atol=1e-5)
    np.testing.assert_allclose(form.x_hi_kwh[0], 6.48, atol=1e-5)
    np.testing.assert_allclose(form.down_kw[0], [7.2] * 16 + [0] * 8, rtol=1e-6)
    assert (form.up_kw == 0).all()


def test_an_expected_arrival_widens_the_band_and_must_be_met_one_dwell_later():
    """10 kWh that appear in the first hour may be charged from then on, and must be 8 h later."""
    inflow = np.zeros(24)
    inflow[0] = -10.0
    fleet = one(Kind.EV_V1G)
    form = form_of(told(fleet, ready=0), inflow=inflow, steps=24, step_s=HOUR_S)
    assert form.x_hi_kwh[0].tolist() == [0] + [10] * 24
    assert form.x_lo_kwh[0].tolist() == [0] * 9 + [10] * 16
    assert form.down_kw[0].tolist() == pytest.approx([0] + [7.2] * 8 + [0] * 15)


def test_groups_of_several_families_have_no_such_form():
    """Asking for one is our own mistake, not bad input."""
    fleet = fleet_of(np.random.default_rng(0), 10, kinds=(Kind.WIND, Kind.GENSET))
    with pytest.raises(ValueError, match="several families"):
        form_of(fleet.image(NOW_S))
