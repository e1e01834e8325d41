"""What a tick hears and what a loop knows are kept bit for bit; hostile bytes are refused."""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet
from gridflock.model import Entry, Outcomes, Priority, Proposal, Quality, Readings
from gridflock.record import open_record
from gridflock.runtime._heard import Heard, Hearing, from_entry, to_entry
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.schema import TELEMETRY

ROWS = [
    {"id": name, "kind": "BATTERY_HOME", "bus": "1", "phases": "a", "p_max_kw": 5.0, "p_min_kw": -5.0}
    for name in ("a", "b", "c")
]
FLEET, _ = Fleet.from_rows(ROWS, {"1": 7})
STRANGE = ("b", "stranger", "a", "c")
NOW_S = 1_800_000_000
CODES = st.integers(0, len(TELEMETRY) + 2) | st.just(255)
VALUES = (
    st.floats(-10, 10)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([0.0, -0.0, 1e300, -1e300, 3.5e38, float(NOW_S), NOW_S + 0.25])
)
TIMES = st.sampled_from([NOW_S, NOW_S - 60, NOW_S + 7_200, -1, -(2**62), 2**62])


@st.composite
def batches(draw):
    """Some batches over another vocabulary than the fleet's, full of what no meter should say."""
    found = []
    for _ in range(draw(st.integers(0, 3))):
        n = draw(st.integers(0, 25))

        def column(values, dtype, n=n):
            return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)

        found.append(
            Readings(
                STRANGE,
                column(st.integers(-2, 6), np.int32),
                column(CODES, np.uint8),
                column(VALUES, np.float64),
                column(TIMES, np.int64),
                column(st.sampled_from([*Quality, 9]), np.uint8),
            )
        )
    return found


def _outcomes(n):
    k = np.arange(n)
    return Outcomes(STRANGE, (k % 5).astype(np.int32), k, (k % 5).astype(np.uint8), k * 0.1, NOW_S - k)


def _wish(name):
    return Proposal(name, "all", Priority.OPERATOR, "me", "why", NOW_S, NOW_S + 60, p_kw=1.0)


def _same(one, other, names):
    for name in names:
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype == theirs.dtype, name
        assert mine.tobytes() == theirs.tobytes(), name


READING = ("index", "quantity", "value", "time_s", "quality")


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A ledger that entries go through."""
    found = open_record(tmp_path_factory.mktemp("heard"))
    yield found
    found.close()


@settings(max_examples=60, deadline=None)
@given(batches=batches(), n=st.integers(0, 9), gone=st.booleans())
def test_what_was_heard_is_read_again_bit_for_bit(record, batches, n, gone):
    """Through the ledger and back: readings, outcomes, wishes that came and went."""
    hearing = Hearing(FLEET.ids, FLEET.row_of)
    readings, _ = hearing.readings(batches)
    outcomes, _ = hearing.outcomes([_outcomes(n)] if n else [])
    before = (_wish("old"), _wish("stays"))
    wishes = (*before[gone:], _wish("new"))
    heard = Heard(NOW_S, readings, outcomes, wishes, 7, ("devices failed: x",))
    seq = record.append([to_entry(heard, before)])
    (entry,) = record.entries(seq - 1)
    back = from_entry(entry, FLEET.ids, before)
    _same(readings, back.readings, READING)
    _same(outcomes, back.outcomes, ("index", "order_id", "status", "p_kw", "time_s"))
    assert (back.wishes, back.groups_seq, back.troubles, back.now_s) == (wishes, 7, heard.troubles, NOW_S)


@settings(max_examples=60, deadline=None)
@given(batches=batches())
def test_what_is_recorded_is_what_the_fleet_would_have_taken_in(batches):
    """Rows instead of names, rounded values, another order: the cells are those of the batches as such."""
    raw, kept = Fleet(FLEET.registry), Fleet(FLEET.registry)
    for batch in batches:
        raw.ingest(batch, NOW_S)
    kept.ingest(Hearing(FLEET.ids, FLEET.row_of).readings(batches)[0], NOW_S)
    one, other = raw.image(NOW_S), kept.image(NOW_S)
    for name in ("p_kw", "q_kvar", "v_pu", "p_avail_kw", "e_kwh", "e_target_kwh", "locked_s"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert np.array_equal(one.depart_s, other.depart_s)
    assert np.array_equal(one.ready, other.ready)


def test_more_than_a_tick_takes_in_is_refused_and_counted():
    """Of very many readings the first ones are taken; the rest is a number."""
    n = 250_000
    zero = np.zeros(n)
    flood = Readings(
        ("a",),
        zero.astype(np.int32),
        zero.astype(np.uint8),
        zero,
        zero.astype(np.int64),
        zero.astype(np.uint8),
    )
    found, refused = Hearing(FLEET.ids, FLEET.row_of).readings([flood])
    assert len(found.index) == 100_000
    assert [(fault.component, fault.count) for fault in refused] == [("reading", 150_000)]


def test_an_entry_of_another_fleet_is_refused():
    """The number of resources stands in it: no row is taken for another."""
    hearing = Hearing(FLEET.ids, FLEET.row_of)
    heard = Heard(NOW_S, hearing.readings([])[0], hearing.outcomes([])[0], ())
    with pytest.raises(ValueError, match="of 3 resources, not of 2"):
        from_entry(to_entry(heard, ()), FLEET.ids[:2], ())


# ---- values as bytes -----------------------------------------------------------------------------


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
)
ARRAYS = st.sampled_from(
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.array([np.nan, -0.0, np.inf], dtype=np.float32),
        np.array([], dtype=np.uint8),
        np.array([1 + 2j]),
        np.array([True, False]),
    ]
)
TREES = st.recursive(
    PLAIN | st.binary(max_size=9) | st.just(Priority.MARKET) | ARRAYS,
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.lists(inside, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inside, max_size=3)
        | st.frozensets(st.text(max_size=4), max_size=3)
    ),
    max_leaves=12,
)


def _alike(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@settings(max_examples=80, deadline=None)
@given(value=TREES)
def test_values_come_back_as_they_were(value):
    """Numbers, texts, arrays, and what holds them: same types, same bits, same bytes again."""
    data = to_bytes(value)
    assert _alike(from_bytes(data), value)
    assert to_bytes(from_bytes(data)) == data


@dataclass
class Foreign:
    """A value of somebody else."""

    x: int = 0


class Pair(NamedTuple):
    """A named tuple of somebody else."""

    x: int = 0


@pytest.mark.parametrize("value", [Foreign(), Pair(), {1, 2}, object(), np.array([None]), print])
def test_what_is_not_ours_is_not_kept(value):
    """Classes of others, objects and functions: a bug of ours, said by type."""
    with pytest.raises(TypeError, match="kept"):
        to_bytes(value)


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=60), at=st.integers(0, 400), flip=st.integers(1, 255))
def test_hostile_bytes_are_refused_or_give_a_value(data, at, flip):
    """Noise, and a sound value with a byte changed: never anything but ``KeptBroken`` or a value of ours."""
    sound = bytearray(to_bytes({"a": np.arange(30), "b": (1, "x", Priority.MARKET), "c": _wish("w")}))
    sound[at % len(sound)] ^= flip
    for hostile in (data, bytes(sound)):
        try:
            from_bytes(hostile)
        except KeptBroken:
            continue


@pytest.mark.parametrize(
    "tree",
    [
        '["o","os:system",{}]',
        '["o","gridflock.runtime._kept:importlib.import_module",{}]',
        '["o","gridflock.runtime:rehearse",{}]',
        '["a","|O",[1]]',
        '["a","<f8",[1000000000]]',
        '["a","<f8",[-1]]',
        '["e","gridflock.model:Priority",99]',
        '["o","gridflock.model:Proposal",{"nothing":1}]',
        '["?",[]]',
        "[[[[",
    ],
)
def test_names_of_others_and_sizes_that_lie_run_nothing(tree):
    """Only our own values are made: no function, no class of others, no array that is not there."""
    text = tree.encode()
    body = len(text).to_bytes(8, "little") + text
    with pytest.raises(KeptBroken):
        from_bytes(b"GFK1" + len(body).to_bytes(8, "little") + zlib.compress(body))


def test_an_entry_holds_settings(record):
    """What ``to_bytes`` gives goes through the ledger as a column."""
    seq = record.append([Entry("change", NOW_S, {}, {"x": np.frombuffer(to_bytes(_wish("w")), np.uint8)})])
    (entry,) = record.entries(seq - 1)
    assert from_bytes(entry.columns["x"].tobytes()) == _wish("w")
