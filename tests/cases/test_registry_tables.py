"""Registry tables by column: one result for every form of the same cells, and reports of bounded size."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet.registry import Reader, _reading, read_registry, read_table
from gridflock.schema import REGISTRY, Kind
from gridflock.units import phase_letters

PLACES = {"b0": 7, "b1": 1}
CELLS = {
    "id": ["a", "b", "c", "d", " e ", "", None, "x\n", "\udcff"],
    "kind": ["wind", "EV_V1G", "toaster", None],
    "bus": ["b0", "b1", "nowhere", ""],
    "phases": ["a", "abc", "aa", None],
    "p_max_kw": ["1", "7.2", 3, 7.2, -1, "x", "1_0", "nan", "", None, True, [1]],
    "lat_deg": [52.5, "52", None, float("nan"), "nan", 91],
    "on_off": [0, "1", 0.5, 2],
    "provider": ["acme", 5, 5.0, True, "", "x" * 201],
    "serial": ["S1", "S2", "", None],
    "colour": [None, "", "red"],
}
rows = st.lists(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(cells) for name, cells in CELLS.items()}),
    max_size=12,
)


def same(one, other):
    """Two registries hold the same values."""
    assert (one.ids, one.labels, one.identities) == (other.ids, other.labels, other.identities)
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, other.columns[name])
        assert column.dtype == other.columns[name].dtype


def feed(reader, table, size):
    """Rows in parts of a size, numbered from 7."""
    for start in range(0, len(table), size):
        part = table[start : start + size]
        reader.add_rows(part, np.arange(start + 7, start + 7 + len(part)))


@settings(deadline=None)
@given(rows, st.integers(1, 5))
def test_a_table_read_in_parts_is_the_table_read_at_once(table, size):
    """Where a file is cut into parts shows neither in the registry nor in the report."""
    whole, rejected = read_registry(table, PLACES, 7)
    reader = Reader(PLACES)
    with mock.patch.object(_reading, "_JOINED", 2):
        feed(reader, table, size)
    cut, told = reader.done()
    same(whole, cut)
    assert told == rejected
    assert {fault.row for fault in rejected} <= set(range(7, 7 + len(table)))
    assert len(whole.ids) == len(table) - len({fault.row for fault in rejected})


@settings(deadline=None)
@given(rows)
def test_what_was_read_is_read_again_unchanged(table):
    """A registry written as texts gives the registry again."""
    registry, _ = read_registry(table, PLACES)
    texts = []
    for row, name in enumerate(registry.ids):
        cells = {n: registry.labels[n][registry.columns[n][row]] for n in registry.labels}
        cells |= {n: values[row] for n, values in registry.identities.items()}
        number = {n: float(registry.columns[n][row]) for n in ("p_max_kw", "lat_deg", "on_off")}
        cells |= {n: "" if np.isnan(value) else repr(value) for n, value in number.items()}
        kind, phases = registry.columns["kind"][row], registry.columns["phases"][row]
        texts.append({**cells, "id": name, "kind": Kind(kind).name, "phases": phase_letters(phases)})
    again, rejected = read_registry(texts, PLACES)
    assert rejected == ()
    same(registry, again)


def test_numbers_and_texts_say_the_same():
    """Arrays of numbers, masked arrays, NumPy texts and objects are forms of the same cells."""
    base = {
        "id": np.array(["a", "b", "c"]),
        "kind": np.array(["wind"] * 3),
        "bus": np.array(["b0"] * 3),
        "phases": np.array(["a"] * 3),
    }
    numbers = np.array([1.0, 7.2, 3.0])
    missing = np.array([52.5, np.nan, 1.0])
    whole = np.array([1, 0, 7], dtype=np.int64)
    forms = [
        {"p_max_kw": numbers, "lat_deg": missing, "on_off": np.ma.array(whole, mask=[0, 0, 1])},
        {
            "p_max_kw": np.array(["1", "7.2", "3"]),
            "lat_deg": np.array(["52.5", "", "1"], dtype=object),
            "on_off": np.array([True, 0, None], dtype=object),
        },
        {
            "p_max_kw": numbers.astype(object),
            "lat_deg": np.ma.array(missing, mask=[0, 1, 0]),
            "on_off": np.array(["1", "0", " "]),
        },
    ]
    first, rejected = read_table({**base, **forms[0]}, PLACES)
    assert rejected == ()
    assert first.columns["on_off"].tolist() == [1, 0, 0]
    for form in forms[1:]:
        other, rejected = read_table({**base, **form}, PLACES)
        assert rejected == ()
        same(first, other)


def test_faults_of_arrays_are_named_with_their_numbers():
    """An array of numbers is judged as texts are: range, NaN, whole numbers; rows by the given numbers."""
    table = {
        "id": np.array(["a", "b", "c", "d"]),
        "kind": np.array(["wind"] * 4),
        "bus": np.array(["b0"] * 4),
        "phases": np.array(["a"] * 4),
        "p_max_kw": np.array([1.0, -2.0, np.nan, 4.0]),
        "on_off": np.array([0.0, 0.0, 0.0, 0.5]),
    }
    registry, rejected = read_table(table, None, numbers=np.array([2, 5, 9, 11]))
    assert registry.ids == ("a",)
    assert [(fault.row, fault.field, fault.ids, fault.reason) for fault in rejected] == [
        (5, "p_max_kw", ("b",), "-2 kW is outside [0, 10000] kW"),
        (9, "p_max_kw", ("c",), "is NaN; leave the field empty for its default"),
        (11, "on_off", ("d",), "0.5 is not a whole number"),
    ]
    with pytest.raises(ValueError, match="unequal lengths"):
        read_table({"id": np.array(["a"]), "kind": np.array(["wind", "wind"])}, None)


def test_a_report_is_bounded():
    """The first 10,000 faults are listed, the rest counted by field and rule; nothing is lost."""
    n = 30_000
    table = {
        "id": np.array([f"d{k}" for k in range(n)]),
        "kind": np.array([f"toaster {k}" if k % 2 else "wind" for k in range(n)]),
        "bus": np.full(n, "b0"),
        "phases": np.full(n, "a"),
        "p_max_kw": np.where(np.arange(n) % 3 == 0, -1.0, 1.0),
    }
    registry, rejected = read_table(table, PLACES)
    assert len(registry.ids) == n // 3
    listed = [fault for fault in rejected if fault.row]
    counts = {(fault.field, fault.reason[:10]): fault.count for fault in rejected if not fault.row}
    assert len(listed) == 10_000
    assert len(rejected) == 10_002
    assert counts == {("kind", "is unknown"): 5_000, ("p_max_kw", "is outside"): 10_000}
    assert [fault.row for fault in listed] == sorted(fault.row for fault in listed)


def test_names_that_nobody_has_are_bounded():
    """Rows that each bring columns of their own name cost no column each."""
    table = [{"id": f"d{k}", f"x{k}": 1} for k in range(2_000)]
    registry, rejected = read_registry(table, None)
    assert registry.ids == ()
    unknown = [fault for fault in rejected if "unknown column" in fault.reason]
    assert sum(fault.count for fault in unknown) == 2_000
    assert len({fault.field for fault in unknown}) <= 202


def test_identities_are_texts_beside_the_columns():
    """Names with others are kept row by row where anybody has one; an unprintable one is refused."""
    row = {"kind": "wind", "bus": "b0", "phases": "a"}
    table = [
        {"id": "b", "serial": "S1", **row},
        {"id": "a", "lfdi": "", "serial": None, **row},
        {"id": "c", "serial": "S\x00", **row},
    ]
    registry, rejected = read_registry(table, PLACES)
    assert (registry.ids, dict(registry.identities)) == (("a", "b"), {"serial": ("", "S1")})
    assert [(fault.row, fault.field) for fault in rejected] == [(3, "serial")]


def test_rows_of_a_kind_are_sorted_by_feeder_then_bus():
    """Kind, feeder, bus, id: a family is a slice, and so is a feeder inside it."""
    row = {"kind": "wind", "phases": "a"}
    places = [("f2", "b0"), ("f1", "b1"), ("f1", "b0"), ("f1", "b0")]
    table = [{"id": f"{9 - k}", "feeder": f, "bus": b, **row} for k, (f, b) in enumerate(places)]
    registry, _ = read_registry(table, PLACES)
    assert registry.ids == ("6", "7", "8", "9")
    assert set(registry.columns) == {entry.name for entry in REGISTRY} - {"id"}


def test_an_underscore_makes_no_number():
    """Python reads 1_0 as ten; a registry refuses it by field and row."""
    row = {"id": "a", "kind": "wind", "bus": "b0", "phases": "a", "p_max_kw": "1_0"}
    registry, rejected = read_registry([row], PLACES)
    assert registry.ids == ()
    assert [(fault.field, fault.row) for fault in rejected] == [("p_max_kw", 1)]
    assert "is not a number" in rejected[0].reason
