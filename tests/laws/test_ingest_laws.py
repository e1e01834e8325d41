"""Laws of taking readings in: the compiled pass against its meaning, images, clocks and standstills."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._million import NOON_S, million
from gridflock.fleet import Fleet
from gridflock.fleet._ingest import BEHIND_S, FUTURE_S
from gridflock.fleet._quality import STANDING
from gridflock.model import Readings
from gridflock.schema import QUANTITY, TELEMETRY, Kind
from gridflock.units import NEVER_S

DRAWN = million(60, 4)
seeds = st.integers(0, 2**32 - 1)


def readings(index, quantity, value, time_s, quality=0, ids=DRAWN.registry.ids):
    """A batch; single values stand for every reading."""
    parts = np.broadcast_arrays(np.atleast_1d(index), quantity, value, time_s, quality)
    types = (np.int32, np.uint8, np.float64, np.int64, np.uint8)
    return Readings(ids, *(part.astype(dtype) for part, dtype in zip(parts, types, strict=True)))


def drawn_batch(rng, m):
    """Readings with every fault, few cells, few moments and values that float32 cannot tell apart."""
    return readings(
        rng.integers(-1, 6, m),
        rng.choice([0, 2, 6, 7, 8, len(TELEMETRY), 255], m),
        rng.choice([0.0, -0.0, 1.0, 1.0 + 1e-12, 0.25, -1.0, np.nan, np.inf, 7e4], m),
        NOON_S + rng.choice([-3, -2, 0, FUTURE_S, FUTURE_S + 1, -NOON_S - 1], m),
        rng.integers(0, 5, m),
    )


def best(batch, state):
    """What each cell holds after a batch, by definition, and how many readings it does not stand for."""
    before, state, fit = state, dict(state), 0
    for at in range(len(batch.index)):
        code, value, time_s = int(batch.quantity[at]), batch.value[at], int(batch.time_s[at])
        if not 0 <= batch.index[at] < len(batch.ids) or code >= len(TELEMETRY):
            continue
        if not 0 <= time_s <= NOON_S + FUTURE_S or not TELEMETRY[code].low <= value <= TELEMETRY[code].high:
            continue
        fit += 1
        held = {"f4": np.float32, "i8": np.int64, "u1": lambda v: v > 0}[TELEMETRY[code].dtype](value)
        news = (time_s, -min(int(batch.quality[at]), 3), float(held) + 0.0)
        cell = (TELEMETRY[code].name, int(batch.index[at]))
        state[cell] = max(state.get(cell, news), news)
    return state, fit - sum(state[cell] != before.get(cell) for cell in state)


@settings(deadline=None)
@given(seeds, st.integers(0, 60), st.integers(0, 400))
def test_the_compiled_pass_keeps_the_best_reading_of_each_cell(seed, m, more):
    """Cells, moments and the count of late readings are those of the plain definition, batch by batch."""
    rng = np.random.default_rng(seed)
    fleet, state = Fleet(DRAWN.registry), {}
    for size in (m, more):
        batch = drawn_batch(rng, size)
        state, late = best(batch, state)
        rejected = fleet.ingest(batch, NOON_S)
        assert sum(fault.count for fault in rejected if "late" in fault.reason) == late
    image = fleet.image(NOON_S)
    for entry in TELEMETRY:
        moments = fleet.moment_s(entry.name)
        for row in range(image.n):
            time_s, _, value = state.get((entry.name, row), (NEVER_S, 0, np.nan))
            assert moments[row] == time_s
            absent = {"f4": np.nan, "i8": -1, "u1": 0}[entry.dtype]
            held = getattr(image, entry.name)[row]
            np.testing.assert_equal(float(held), float(absent) if np.isnan(value) else value)


@settings(deadline=None)
@given(seeds, st.integers(1, 200))
def test_equal_readings_are_equal_bytes(seed, m):
    """Whatever the order, the image's bytes are the same: zero has one sign, doubles that round alike tie."""
    rng = np.random.default_rng(seed)
    batch, order = drawn_batch(rng, m), rng.permutation(m)
    names = ("index", "quantity", "value", "time_s", "quality")
    turned = Readings(batch.ids, *(getattr(batch, name)[order] for name in names))
    one, other = Fleet(DRAWN.registry), Fleet(DRAWN.registry)
    one.ingest(batch, NOON_S)
    other.ingest(turned, NOON_S)
    first, second = one.image(NOON_S), other.image(NOON_S)
    for entry in TELEMETRY:
        assert getattr(first, entry.name).tobytes() == getattr(second, entry.name).tobytes(), entry.name
    assert one.ingest(turned, NOON_S)[0].reason.startswith("late") or m == 0 or not fits(batch)


def fits(batch):
    """Whether any reading of a batch can be true."""
    return bool(best(batch, {})[0])


@settings(deadline=None)
@given(seeds, st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_no_image_ever_changes_whatever_is_shared(seed, sizes):
    """Every image of a run still holds the bytes it was taken with; only changed columns are copied."""
    rng = np.random.default_rng(seed)
    fleet = DRAWN.fleet()
    taken = []
    for tick, size in enumerate(sizes):
        now_s = NOON_S + tick
        quantity = rng.integers(len(TELEMETRY), size=size)
        batch = readings(rng.integers(60, size=size), quantity, rng.integers(0, 2, size), now_s)
        fleet.ingest(batch, now_s)
        image = fleet.image(now_s)
        if taken:
            changed = {TELEMETRY[code].name for code in quantity} | ({"heard_s"} if size else set())
            for name in (*QUANTITY, "heard_s"):
                shared = getattr(image, name) is getattr(taken[-1][0], name)
                assert shared == (name not in changed), name
        taken.append((image, columns_of(image)))
    for image, bytes_then in taken:
        assert columns_of(image) == bytes_then


def columns_of(image):
    """The bytes of an image's arrays, none of which can be written to."""
    arrays = {f.name: getattr(image, f.name) for f in dataclasses.fields(image)}
    arrays = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}
    assert not any(value.flags.writeable for value in arrays.values())
    return {name: value.tobytes() for name, value in arrays.items()}


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_a_vocabulary_is_only_names(seed):
    """The same readings under another vocabulary, in another order and among strangers, mean the same."""
    rng = np.random.default_rng(seed)
    ids = (*DRAWN.registry.ids, "stranger", "")
    order = rng.permutation(len(ids))
    place = np.argsort(order)
    told, other = DRAWN.fleet(), Fleet(DRAWN.registry)
    batch = DRAWN.readings(NOON_S)
    again = dataclasses.replace(
        batch, ids=tuple(ids[at] for at in order), index=place[batch.index].astype(np.int32)
    )
    assert other.ingest(again, NOON_S) == ()
    assert columns_of(told.image(NOON_S)) == columns_of(other.image(NOON_S))
    for _ in range(20):
        other.ingest(dataclasses.replace(again, ids=(*again.ids[:-1], again.ids[-1])), NOON_S)
    assert columns_of(told.image(NOON_S)) == columns_of(other.image(NOON_S))


def test_readings_are_carried_over_an_upsert():
    """Values, moments, clocks and repetitions follow their resource to its new row."""
    fleet = DRAWN.fleet()
    for step in range(1, 4):
        fleet.ingest(readings(np.arange(60), 2, 1.01, NOON_S + step), NOON_S + step)
    row = {"id": "a-new-one", "kind": "pv_rooftop", "bus": DRAWN.registry.labels["bus"][0], "phases": "a"}
    after, changed, rejected = fleet.upsert([row], DRAWN.places)
    assert (changed, rejected) == (1, ())
    at = np.array([after.row_of[name] for name in fleet.ids])
    one, other = fleet.image(NOON_S + 3), after.image(NOON_S + 3)
    for name in (*QUANTITY, "heard_s"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[at], err_msg=name)
    for old, new in zip(fleet._hot, after._hot, strict=True):
        np.testing.assert_array_equal(old, new[..., at])
    assert other.heard_s[after.row_of["a-new-one"]] == NEVER_S
    assert after.with_registry(after.registry) is after
    back = after.with_registry(DRAWN.registry)
    assert columns_of(back.image(NOON_S + 3)) == columns_of(one)


def test_columns_of_a_batch_are_equally_long():
    """A batch whose columns differ in length is our own mistake, found before anything is read."""
    batch = readings(np.zeros(3), 0, 1.0, NOON_S)
    with pytest.raises(ValueError, match="differ in length"):
        DRAWN.fleet().ingest(dataclasses.replace(batch, value=batch.value[:2]), NOON_S)


def test_age_is_per_resource_and_per_quantity():
    """A resource may be heard while one of its quantities is old or was never told."""
    fleet = Fleet(DRAWN.registry)
    fleet.ingest(readings([0, 0, 1], [0, 2, 0], 1.0, [NOON_S, NOON_S - 900, NOON_S - 900]), NOON_S)
    assert fleet.moment_s("p_kw")[:3].tolist() == [NOON_S, NOON_S - 900, NEVER_S]
    assert fleet.stale("p_kw", NOON_S, 899)[:3].tolist() == [False, True, True]
    assert fleet.stale("p_kw", NOON_S, 900)[:3].tolist() == [False, False, True]
    assert fleet.stale("v_pu", NOON_S, 300)[:2].tolist() == [True, True]
    quality = fleet.reading_quality(NOON_S + 5)
    assert quality.age_s[:3].tolist() == [5, 905, NEVER_S]
    assert quality.lag_s[:3].tolist() == [0, 900, 0]
    with pytest.raises(KeyError):
        fleet.moment_s("colour")


def test_a_slow_clock_is_told_from_a_late_delivery():
    """What stays hours behind is counted each time it is heard; what catches up after an outage is not."""
    fleet = Fleet(DRAWN.registry)
    for step in range(10):
        now_s = NOON_S + 60 * step
        slow = readings([0, 0], [0, 2], 1.0, now_s - BEHIND_S - 1)
        backlog = readings(np.ones(5), 0, 1.0, NOON_S - 40_000 + 60 * (5 * step + np.arange(5)))
        prompt = readings([2, 2], 0, 1.0, [now_s - BEHIND_S, now_s - 3 * BEHIND_S])
        for batch in (slow, backlog, prompt, slow):
            fleet.ingest(batch, now_s)
    quality = fleet.reading_quality(now_s)
    assert quality.behind[:4].tolist() == [10, 10, 0, 0]
    assert quality.lag_s[0] == BEHIND_S + 1
    fleet.ingest(readings(1, 0, 1.0, now_s), now_s)
    assert fleet.reading_quality(now_s).behind[:2].tolist() == [10, 0]


def test_a_clock_that_jumped_ahead_is_counted_and_refused():
    """Readings of the future change no cell; their number stands beside the resource."""
    fleet = DRAWN.fleet()
    before = columns_of(fleet.image(NOON_S))
    rejected = fleet.ingest(readings([3, 3, 4], 0, 1.0, NOON_S + FUTURE_S + np.array([1, 9, 2**40])), NOON_S)
    assert [(fault.field, fault.count) for fault in rejected] == [("time_s", 3)]
    assert fleet.reading_quality(NOON_S).ahead[:6].tolist() == [0, 0, 0, 2, 1, 0]
    assert columns_of(fleet.image(NOON_S)) == before


def test_a_clock_that_was_set_back_is_noticed():
    """Its readings are all late: they are counted until one is news, while the resource grows old."""
    fleet = DRAWN.fleet()
    for step in range(1, 7):
        now_s = NOON_S + 900 * step
        fleet.ingest(readings([0, 1, 1], 0, 1.0, [now_s - 3 * 3_600, now_s - 10_000, now_s]), now_s)
    quality = fleet.reading_quality(now_s)
    assert quality.late[:3].tolist() == [6, 0, 0]
    assert quality.age_s[:3].tolist() == [5_400, 0, 5_400]
    fleet.ingest(readings(0, 0, 1.0, now_s), now_s)
    assert fleet.reading_quality(now_s).late[0] == 0
    fleet.ingest(readings(0, 0, 1.0, np.full(70_000, now_s)), now_s)
    assert fleet.reading_quality(now_s).late[0] == 65_535


def standing(values, others, quantity="v_pu", **options):
    """Standstills among one kind and feeder: the first row is told the values, the rest others."""
    drawn = million(400, 1)
    fleet = Fleet(drawn.registry)
    rows = np.flatnonzero(drawn.registry.columns["kind"] == Kind.THERMOSTAT)[:20]
    assert len(np.unique(drawn.registry.columns["feeder"])) == 1
    for step, value in enumerate(values):
        told = np.full(len(rows), value)
        told[1:] = others(step, np.arange(1, len(rows)))
        now_s = NOON_S + step
        fleet.ingest(readings(rows, QUANTITY[quantity], told, now_s, ids=drawn.registry.ids), now_s)
    return fleet.reading_quality(now_s, **options).standing[rows]


def moves(step, row):
    """Another value at each step."""
    return 1.0 + 0.01 * ((step + row) % 3)


def test_a_value_that_stands_still_while_others_move_is_found():
    """Only the one that repeats itself is marked, by quantity, and only after enough repetitions."""
    bit = 1 << QUANTITY["v_pu"]
    still = [1.02] * (STANDING + 1)
    assert standing(still, moves).tolist() == [bit] + [0] * 19
    assert not standing(still[:-1], moves).any()
    assert standing(still[:4], moves, standing=3).tolist() == [bit] + [0] * 19
    assert not standing([*still[:-1], 1.03], moves).any()
    assert standing([-2.0] * 20, lambda s, r: -moves(s, r), "p_kw").tolist() == [1] + [0] * 19


def test_standing_among_the_standing_and_rest_are_no_fault():
    """Where all stand still, the value is a resting zero or a store is not used, none is marked."""
    assert not standing([1.02] * 20, lambda _, row: 1.0 + 0.001 * row).any()
    assert not standing([0.0] * 20, lambda s, r: -moves(s, r), "p_kw").any()
    assert not standing([5.0] * 20, moves, "e_kwh").any()
    assert not standing([1.02] * 20, moves, stale_s=-1).any()


def test_a_repeated_batch_is_no_standstill():
    """The same readings again and again, and a better reading of the same moment, repeat nothing."""
    fleet = Fleet(DRAWN.registry)
    for _ in range(20):
        fleet.ingest(readings(np.arange(60), 2, 1.0, NOON_S, 1), NOON_S)
    fleet.ingest(readings(np.arange(60), 2, 1.0, NOON_S, 0), NOON_S)
    assert not fleet._hot.same.any()
    fleet.ingest(readings(np.arange(60), 2, 1.0, NOON_S + 1, 0), NOON_S + 1)
    assert (fleet._hot.same[2] == 1).all()


def test_the_memory_of_a_fleet_is_counted():
    """The sum covers at least the arrays and the names, grows with the image, and is far from double."""
    drawn = million(20_000, 0)
    fleet = drawn.fleet()
    before = fleet.hot_gib() * 2**30
    arrays = sum(c.nbytes for c in fleet.columns.values()) + sum(c.nbytes for c in fleet._hot)
    assert arrays + 20_000 * 60 < before < 2 * (arrays + 20_000 * 60)
    fleet.image(NOON_S)
    assert fleet.hot_gib() * 2**30 - before == pytest.approx(20_000 * (7 * 4 + 8 + 1 + 8))


def test_vocabularies_are_forgotten():
    """Who brings a new vocabulary with every batch fills no memory: few are kept, and few ids in all."""
    fleet = Fleet(DRAWN.registry)
    for size in (10, 90_000, 10_000, 200_000, 5, 6):
        ids = tuple(str(number) for number in range(size))
        assert fleet.ingest(readings(0, 0, 1.0, NOON_S, ids=ids), NOON_S)[0].reason == "unknown resource"
    assert [len(ids) for ids, _ in fleet._vocabularies.values()] == [5, 6]


def test_a_fleet_of_nobody_is_a_fleet():
    """Without any resource, readings are refused and images are empty."""
    fleet, _ = Fleet.from_rows([], {})
    assert fleet.ingest(readings(0, 0, 1.0, NOON_S), NOON_S)[0].count == 1
    assert fleet.image(NOON_S).n == 0
    assert len(fleet.reading_quality(NOON_S).standing) == 0
    assert fleet.hot_gib() < 1e-3


MEMORY = """
import gc, json
from gridflock.bench._million import NOON_S, million
from gridflock.fleet import Fleet

def used_gib():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 2**20

million(100).fleet().image(NOON_S)
before = used_gib()
drawn = million()
batch, fleet = drawn.readings(NOON_S), Fleet(drawn.registry)
del drawn
fleet.ingest(batch, NOON_S)
del batch
image = fleet.image(NOON_S)
print(json.dumps([used_gib() - before, fleet.hot_gib()]))
"""


@pytest.mark.slow
def test_a_million_resources_take_less_than_half_a_gibibyte(require):
    """What a process grows by is what the fleet says it holds, and both are at most 0.5 GiB."""
    require("the process table of Linux", sys.platform == "linux")
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    grown, said = json.loads(done.stdout)
    assert grown < 0.5
    assert said < 0.5
    assert said == pytest.approx(grown, rel=0.15)
