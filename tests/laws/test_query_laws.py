"""Queries: what they find is what a plain walk over the rows finds; what is no query is named by position."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflock.fleet import Fleet
from gridflock.fleet.registry import QueryRejected, parse, select
from gridflock.schema import Enrolment, Family, Kind
from gridflock.units import phase_letters

KINDS = ("pv_rooftop", "battery_home", "ev_v1g", "load")
seeds = st.integers(0, 2**32 - 1)


def fleet_of(rng, n):
    """Resources with every sort of attribute, some absent."""
    rows = []
    for i in range(n):
        row = {
            "id": f"{rng.choice(['ev', 'pv', 'x_'])}-{i}",
            "kind": rng.choice(KINDS),
            "bus": f"b{rng.integers(3)}",
        }
        row |= {
            "phases": rng.choice(["a", "b", "ca", "abc"]),
            "provider": rng.choice(["acme", "o'neil", "not"]),
        }
        row |= {"p_max_kw": float(rng.choice([0, 1.2, 7.2])), "p_min_kw": -float(rng.integers(8))}
        row |= {"feeder": rng.choice(["", "f1", "f2"]), "enrolment": rng.choice([e.name for e in Enrolment])}
        if rng.random() < 0.7:
            row |= {"lat_deg": 52 + rng.normal() / 20, "lon_deg": 5 + rng.normal() / 20}
        rows.append(row)
    fleet, rejected = Fleet.from_rows(rows, {f"b{k}": 7 for k in range(3)})
    assert rejected == ()
    return fleet


def cell(fleet, name, row):
    """One value as a person would write it."""
    if name == "id":
        return fleet.ids[row]
    if name == "family":
        return Family(fleet.family[row]).name.lower()
    value = fleet.columns[name][row]
    if name in fleet.labels:
        return fleet.labels[name][value]
    named = {"kind": Kind, "enrolment": Enrolment}.get(name)
    if named:
        return named(value).name.lower()
    return set(phase_letters(value)) if name == "phases" else value


def far_km(fleet, row, lat, lon):
    """Distance by the spherical law of cosines; NaN without coordinates."""
    a, b = math.radians(lat), math.radians(float(fleet.columns["lat_deg"][row]))
    turn = math.radians(float(fleet.columns["lon_deg"][row]) - lon)
    inner = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(turn)
    return 6371.0088 * math.acos(min(1.0, inner)) if inner == inner else math.nan  # noqa: PLR0124 - NaN


ATOMS = {
    "kind = ev_v1g": lambda c, r: c("kind", r) == "ev_v1g",
    "KIND != 'EV_V1G'": lambda c, r: c("kind", r) != "ev_v1g",
    "kind in (pv_rooftop, load)": lambda c, r: c("kind", r) in ("pv_rooftop", "load"),
    "family not in (storage, none)": lambda c, r: c("family", r) not in ("storage", "none"),
    "p_min_kw < -3": lambda c, r: c("p_min_kw", r) < -3,
    "p_max_kw = 7.2": lambda c, r: c("p_max_kw", r) == np.float32(7.2),
    "p_max_kw in (0, 1.2)": lambda c, r: c("p_max_kw", r) in (0, np.float32(1.2)),
    "p_max_kw >= 1.2e0": lambda c, r: c("p_max_kw", r) >= np.float32(1.2),
    "lat_deg <= 52": lambda c, r: c("lat_deg", r) <= 52,
    "lat_deg != 52": lambda c, r: c("lat_deg", r) == c("lat_deg", r) != 52,
    "lat_deg is missing": lambda c, r: bool(np.isnan(c("lat_deg", r))),
    "feeder is not missing": lambda c, r: c("feeder", r) != "",
    "feeder in (f1, f2)": lambda c, r: c("feeder", r) in ("f1", "f2"),
    "provider = 'o''neil'": lambda c, r: c("provider", r) == "o'neil",
    'provider = "not"': lambda c, r: c("provider", r) == "not",
    "provider not like '%e%'": lambda c, r: "e" not in c("provider", r),
    "id like 'ev-%'": lambda c, r: c("id", r).startswith("ev-"),
    "id like '%-_'": lambda c, r: re.fullmatch(".*-.", c("id", r)) is not None,
    "id like 'x%1%'": lambda c, r: re.fullmatch("x.*1.*", c("id", r)) is not None,
    "phases = ac": lambda c, r: c("phases", r) == {"a", "c"},
    "phases has a": lambda c, r: "a" in c("phases", r),
    "enrolment = Enrolled": lambda c, r: c("enrolment", r) == "enrolled",
}
"""A comparison, and the same in Python."""


def conditions():
    """A query's text, and a function of cells and row that says the same."""
    atoms = st.sampled_from(sorted(ATOMS)).map(lambda text: (text, ATOMS[text]))

    def joined(parts):
        (left, is_left), (right, is_right), how = parts
        if how == "not":
            return f"not ({left})", lambda c, r: not is_left(c, r)
        if how == "and":
            return f"({left}) and ({right})", lambda c, r: is_left(c, r) and is_right(c, r)
        return f"({left} OR {right})", lambda c, r: is_left(c, r) or is_right(c, r)

    # Outside of parentheses `or` binds weakest, so an alternative of any two parts needs none inside.
    return st.recursive(
        atoms,
        lambda inner: st.tuples(inner, inner, st.sampled_from(["and", "or", "not"])).map(joined),
        max_leaves=6,
    )


@given(seeds, conditions())
def test_a_query_finds_what_a_walk_finds(seed, condition):
    """Every row for which the words hold, and no other; in ascending order."""
    fleet = fleet_of(np.random.default_rng(seed), 40)
    text, holds = condition
    walked = [row for row in range(40) if holds(lambda name, r: cell(fleet, name, r), row)]
    assert select(fleet, text).tolist() == walked
    assert select(fleet, text).dtype == np.int32


@given(seeds, st.floats(51.8, 52.2), st.floats(4.8, 5.2), st.floats(0, 20))
def test_a_circle_holds_who_is_near(seed, lat, lon, km):
    """Membership by great-circle distance; who has no coordinates is in no circle."""
    fleet = fleet_of(np.random.default_rng(seed), 40)
    found = set(select(fleet, f"within({lat:.6f}, {lon:.6f}, {km:.3f})").tolist())
    for row in range(40):
        far = far_km(fleet, row, round(lat, 6), round(lon, 6))
        # The law of cosines loses digits at short distances, and coordinates are float32.
        if math.isnan(far) or abs(far - round(km, 3)) > 0.02:
            assert (row in found) == (far <= km)


def test_how_words_bind():
    """``not`` binds closer than ``and``, ``and`` closer than ``or``; a double ``not`` is none."""
    fleet = fleet_of(np.random.default_rng(1), 60)
    pairs = {
        "kind = load or kind = ev_v1g and feeder = f1": "kind = load or (kind = ev_v1g and feeder = f1)",
        "not kind = load and feeder = f1": "(not kind = load) and feeder = f1",
        "not not kind = load": "kind = load",
        "feeder <> f1": "not feeder == f1",
    }
    for one, other in pairs.items():
        assert select(fleet, one).tolist() == select(fleet, other).tolist()


def test_a_query_knows_what_it_reads():
    """The attributes a rule rests on are told, so that it is asked again only where they change."""
    condition = parse("kind = load and (within(52, 5, 1) or not id like 'a%')")
    assert condition.reads == {"kind", "lat_deg", "lon_deg", "id"}
    assert condition.text.startswith("kind = load")


@pytest.mark.parametrize(
    ("text", "position", "told"),
    [
        ("", 1, "expected an attribute, 'not' or '(', found the end"),
        ("kind", 5, "expected '=', '!=' or 'in', found the end"),
        ("colour = red", 1, "expected an attribute, 'not' or '(', found 'colour'"),
        ("p_max_kv > 3", 1, "did you mean 'p_max_kw'?"),
        ("kind < load", 6, "expected '=', '!=' or 'in', found '<'"),
        ("kind = toaster", 8, "expected one of pv_rooftop"),
        ("p_max_kw > three", 12, "expected a number, found 'three'"),
        ("p_max_kw > nan", 12, "expected a number"),
        ("p_max_kw > 1e999", 12, "expected a number"),
        ("p_max_kw > '3'", 12, "expected a number"),
        ("p_max_kw like '3%'", 10, "expected '='"),
        ("phases = ad", 10, "some of a, b, c"),
        ("kind is missing", 6, "kind is never missing"),
        ("feeder is", 10, "expected 'missing', found the end"),
        ("feeder in f1", 11, "expected '('"),
        ("feeder in (f1 f2)", 15, "expected ',' or ')'"),
        ("(kind = load", 13, "expected ')', found the end"),
        ("kind = load)", 12, "expected 'and', 'or' or the end, found ')'"),
        ("kind = load kind = load", 13, "expected 'and', 'or' or the end"),
        ("provider = 'acme", 12, "expected a closing quote"),
        ("within(91, 0, 1)", 8, "a latitude from -90 to 90"),
        ("within(0, 0, -1)", 14, "a distance in km, 0 or more"),
        ("kind = load and !", 17, "expected a word"),
        ("(" * 60 + "kind = load" + ")" * 60, 51, "nested deeper than 50"),
        ("not " * 6_000, 20_000, "longer than 20000"),
    ],
)
def test_what_is_no_query_is_named(text, position, told):
    """The place of the first character that does not fit, and what could stand there."""
    with pytest.raises(QueryRejected) as caught:
        parse(text)
    assert caught.value.rejected.row == position
    assert told in caught.value.rejected.reason
    assert (caught.value.rejected.component, caught.value.rejected.field) == ("query", "text")


@given(st.text(alphabet="abkind=<>!'\"(),%-_ 123.e\n\\", max_size=60))
def test_no_text_breaks_the_parser(text):
    """Any text is a query or a rejection with a position inside it, never another error."""
    position = 1
    try:
        parse(text)
    except QueryRejected as error:
        position = error.rejected.row
    assert 1 <= position <= len(text) + 1


def test_a_hostile_pattern_costs_little():
    """Many wildcards against long identities end at once: each piece is tried in one place only."""
    rows = [{"id": "a" * 199 + "b", "kind": "load", "bus": "b0", "phases": "a"}]
    fleet, _ = Fleet.from_rows(rows, {"b0": 1})
    assert select(fleet, f"id like '{'%a_' * 40}%c'").tolist() == []
    assert select(fleet, f"id like '{'%a_' * 40}%b'").tolist() == [0]
