"""Every kind of bad registry row is named by id, field, line and rule; the good rows are kept."""

import csv
import io

import numpy as np
import pytest

from gridflock.fleet import Fleet
from gridflock.model import Readings
from gridflock.schema import FAMILY, QUANTITY, REGISTRY, Kind

PLACES = {"1": 0b111, "2": 0b001, "10": 0b110}
GOOD = {"id": "a", "kind": "battery_home", "bus": "1", "phases": "ab", "p_max_kw": "5", "p_min_kw": -5}


@pytest.mark.parametrize(
    ("field", "cell", "rule"),
    [
        ("id", None, "missing"),
        ("id", "  ", "missing"),
        ("id", "x" * 201, "200 printable"),
        ("id", "a\nb", "printable"),
        ("id", 1.5, "printable"),
        ("kind", "toaster", "'toaster' is unknown; expected one of pv_rooftop"),
        ("kind", "", "missing"),
        ("bus", "99", "'99' is not a bus of the feeder"),
        ("bus", None, "missing"),
        ("phases", "d", "expected some of a, b, c"),
        ("phases", "aa", "each once"),
        ("phases", None, "missing"),
        ("customer", "royal", "'royal' is unknown; expected one of residential"),
        ("provider", True, "printable"),
        ("p_max_kw", "five", "'five' is not a number"),
        ("p_max_kw", [5], "not a number"),
        ("p_max_kw", 10**400, "not a number"),
        ("p_max_kw", "nan", "NaN"),
        ("p_max_kw", float("nan"), "NaN"),
        ("p_max_kw", "inf", "outside [0, 10000] kW"),
        ("p_max_kw", -1, "-1 kW is outside [0, 10000] kW"),
        ("p_min_kw", 3, "3 kW is outside [-10000, 0] kW"),
        ("eff_charge", 0.1, "outside [0.3, 1]"),
        ("on_off", 0.5, "whole number"),
        ("on_off", 2, "outside [0, 1]"),
        ("p_max_kW", 5, "unknown column"),
    ],
)
def test_a_bad_cell_is_named(field, cell, rule):
    """One fault gives one report with component, field, line and the broken rule; neighbours stay."""
    bad = {**GOOD, "id": "bad", field: cell}
    fleet, rejected = Fleet.from_rows([GOOD, bad, {**GOOD, "id": "c"}], PLACES, first_row=2)
    assert fleet.ids == ("a", "c")
    assert [(r.component, r.field, r.row, r.count) for r in rejected] == [("resource", field, 3, 1)]
    assert rule in rejected[0].reason
    if field != "id":
        assert rejected[0].ids == ("bad",)


def test_a_phase_must_be_at_the_bus():
    """A connection to a phase that the bus does not have is refused, and the phase is named."""
    fleet, rejected = Fleet.from_rows([{**GOOD, "bus": "2"}], PLACES)
    assert fleet.ids == ()
    assert rejected[0].field == "phases"
    assert rejected[0].reason == "phase b is not at bus '2', which has a"


def test_the_first_of_two_twins_is_kept():
    """A repeated id is refused; but a faulty row does not take the id away from a later good one."""
    rows = [{**GOOD, "p_max_kw": "x"}, {**GOOD, "p_max_kw": 1}, {**GOOD, "p_max_kw": 2}]
    fleet, rejected = Fleet.from_rows(rows, PLACES)
    assert fleet.columns["p_max_kw"].tolist() == [1.0]
    assert [(r.field, r.row) for r in rejected] == [("p_max_kw", 1), ("id", 3)]


def test_all_faults_of_a_row_are_named():
    """Nobody has to repair a file fault by fault."""
    row = {"id": "z", "kind": "?", "bus": "1", "phases": "a", "p_max_kw": "?", "colour": "red"}
    _, rejected = Fleet.from_rows([row], PLACES)
    assert {r.field for r in rejected} == {"kind", "p_max_kw", "colour"}
    assert {r.row for r in rejected} == {1}


def test_nothing_at_all_is_an_empty_fleet():
    """No rows, or none good, is a fleet of nobody and not an error."""
    for rows in ([], [{}]):
        fleet, rejected = Fleet.from_rows(rows, PLACES)
        assert fleet.ids == ()
        assert fleet.image(0).n == 0
        assert len(rejected) == sum(entry.default is None for entry in REGISTRY) * len(rows)


def test_a_csv_file_is_read_as_it_stands():
    """Texts from a CSV file, empty cells included, give typed columns and the table's defaults."""
    text = "id,kind,bus,phases,p_max_kw,on_off,provider\nb1,WIND,10,bc,12.5,,\nb0, chp ,1,ABC,3,1,acme\n"
    fleet, rejected = Fleet.from_rows(csv.DictReader(io.StringIO(text)), PLACES, first_row=2)
    assert rejected == ()
    assert fleet.ids == ("b1", "b0")
    columns = fleet.columns
    assert columns["phases"].tolist() == [6, 7]
    assert columns["on_off"].tolist() == [0, 1]
    assert columns["p_max_kw"].dtype == np.float32
    assert [fleet.labels["bus"][code] for code in columns["bus"]] == ["10", "1"]
    assert [fleet.labels["provider"][code] for code in columns["provider"]] == ["utility", "acme"]
    assert [FAMILY[Kind(code)] for code in columns["kind"]] == fleet.family.tolist()


def test_every_attribute_has_its_column():
    """The table of attributes is the list of columns: none missing, none extra, all read-only."""
    fleet, _ = Fleet.from_rows([GOOD], PLACES)
    assert set(fleet.columns) == {entry.name for entry in REGISTRY} - {"id"}
    assert not any(column.flags.writeable for column in fleet.columns.values())
    for entry in REGISTRY:
        if isinstance(entry.default, float) and entry.name not in GOOD:
            assert np.array_equal(fleet.columns[entry.name][:1], [np.float32(entry.default)], equal_nan=True)


def test_rows_are_sorted_by_kind_then_bus_then_id():
    """The order of the file does not matter; a family is one run of rows."""
    rows = [
        {**GOOD, "id": "z", "kind": "wind"},
        {**GOOD, "id": "y", "kind": "pv_rooftop", "bus": "10", "phases": "b"},
        {**GOOD, "id": "x", "kind": "pv_rooftop"},
        {**GOOD, "id": "w", "kind": "pv_rooftop"},
    ]
    fleet, rejected = Fleet.from_rows(rows, PLACES)
    assert rejected == ()
    assert fleet.ids == ("w", "x", "y", "z")
    assert fleet.row_of == {"w": 0, "x": 1, "y": 2, "z": 3}


def test_an_upsert_changes_what_differs_and_nothing_else():
    """A second import of the same rows changes 0; a changed or new row counts once; readings stay."""
    rows = [{**GOOD, "id": name} for name in "bca"]
    fleet, _ = Fleet.from_rows(rows, PLACES)
    reading = Readings(
        fleet.ids,
        np.array([1], np.int32),
        np.array([QUANTITY["p_kw"]], np.uint8),
        np.array([2.5]),
        np.array([1_000]),
        np.zeros(1, np.uint8),
    )
    assert fleet.ingest(reading, 1_000) == ()
    same, changed, rejected = fleet.upsert(rows, PLACES)
    assert (same is fleet, changed, rejected) == (True, 0, ())
    news = [
        {**GOOD, "id": "b", "p_max_kw": 7},
        {**GOOD, "id": "a0", "provider": "acme"},
        {**GOOD, "bus": "?"},
    ]
    grown, changed, rejected = fleet.upsert(news, PLACES)
    assert (changed, [fault.field for fault in rejected]) == (2, ["bus"])
    assert grown.ids == ("a", "a0", "b", "c")
    assert grown.columns["p_max_kw"].tolist() == [5, 5, 7, 5]
    assert [grown.labels["provider"][code] for code in grown.columns["provider"]][1] == "acme"
    np.testing.assert_array_equal(grown.image(1_000).p_kw, [np.nan, np.nan, 2.5, np.nan])
    assert grown.image(1_000).heard_s.tolist() == [-1, -1, 1_000, -1]
    assert fleet.ids == ("a", "b", "c")
