"""Laws of identities: one form per name, any name finds its resource, claims of two are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflock.fleet.registry import read_registry
from gridflock.fleet.registry.identities import (
    FORMS,
    Directory,
    canonical,
    canonical_column,
    duplicates,
    misfits,
)

PLAIN = {"kind": "battery_home", "bus": "b", "phases": "a", "p_max_kw": 5, "p_min_kw": -5, "e_max_kwh": 9}
HEX = "0123456789abcdefABCDEF"
texts = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=50).filter(
    str.isprintable
)


def registry_of(rows):
    """A registry of rows without a fault."""
    registry, rejected = read_registry([{"id": f"r{k}", **PLAIN, **row} for k, row in enumerate(rows)], None)
    assert rejected == ()
    return registry


@given(st.sampled_from(list(FORMS)), st.lists(texts, max_size=20))
def test_a_column_is_its_names_one_by_one(name, column):
    """Many names at once become what each becomes alone, and a second time changes nothing."""
    found = canonical_column(name, column)
    assert found == [canonical(name, text) for text in column]
    wrong = {*misfits(name, found).tolist()}
    assert wrong == {k for k, text in enumerate(found) if len(misfits(name, [text]))}


@pytest.mark.parametrize(
    ("name", "text", "form", "fits"),
    [
        ("mrid", "7f3a09d2-1b44-4c5e-9a10-0123456789ab", "7F3A09D21B444C5E9A100123456789AB", True),
        ("mrid", "urn:uuid:7f3a09d2-1b44-4c5e-9a10-0123456789ab", "7F3A09D21B444C5E9A100123456789AB", True),
        ("mrid", "_7F3A09D21B444C5E9A100123456789AB", "7F3A09D21B444C5E9A100123456789AB", True),
        ("mrid", "7F3A09D21B444C5E9A100123456789A", "7F3A09D21B444C5E9A100123456789A", False),
        ("mrid", "7F3A09D21B444C5E9A100123456789AG", "7F3A09D21B444C5E9A100123456789AG", False),
        ("lfdi", "0x" + "3e4f" * 10, "3E4F" * 10, True),
        ("lfdi", "-".join(["3e4f"] * 10), "3E4F" * 10, True),
        ("lfdi", "3e4f" * 8, "3E4F" * 8, False),
        ("lfdi", "é" + "3e4f" * 9 + "123", "É" + "3E4F" * 9 + "123", False),
        ("serial", "sn-00 17", "SN0017", True),
        ("ocpp", "CS-0017", "CS-0017", True),
        ("ocpp", "a/b", "a/b", False),
        ("ocpp", "a b", "a b", False),
        ("openadr", "My site 7", "My site 7", True),
        ("openadr", "", "", True),
    ],
)
def test_forms(name, text, form, fits):
    """Case, hyphens and prefixes go where they mean nothing; what is no such name is told."""
    assert canonical(name, text) == form
    assert (len(misfits(name, [form])) == 0) == fits


@given(st.lists(st.fixed_dictionaries({}, optional={
    "serial": st.sampled_from(["A-1", "a1", "B 2", "b2", "c3"]),
    "lfdi": st.sampled_from(["A" * 40, "a" * 40, "B" * 40]),
    "ocpp": st.sampled_from(["x", "X"]),
    "make": st.sampled_from(["acme", "zeta"]),
    "enrolment": st.sampled_from(["enrolled", "retired", "applied"]),
}), max_size=12))  # fmt: skip
def test_any_name_finds_all_its_holders(rows):
    """A look-up in any spelling gives exactly who has the name; duplicates are exactly the shared ones."""
    registry = registry_of(rows)
    directory = Directory.of(registry)
    state = registry.columns["enrolment"]
    make = [registry.labels["make"][code] for code in registry.columns["make"]]
    claims = {}
    for name, column in registry.identities.items():
        for row, text in enumerate(column):
            if text:
                assert (name, row) in directory.find(text.upper() if FORMS[name].fold else text)
                claims.setdefault((name, canonical(name, text)), []).append(row)
    for (name, text), holders in claims.items():
        assert [row for sort, row in sorted(directory.find(text)) if sort == name] == holders
        first = directory.rows_of(name, [text, "nobody"])
        working = [row for row in holders if state[row] != 5]
        assert first.tolist() == [(working or holders)[0], -1]
    found = {(d.name, d.text, d.rows) for d in duplicates(directory)}
    pairs = {(d[0], a, b) for d in found for a in d[2] for b in d[2] if a < b}
    expected = {
        (name, a, b)
        for (name, _), holders in claims.items()
        for a in holders
        for b in holders
        if a < b and 5 not in (state[a], state[b])
        and (name != "serial" or make[a] == make[b] or "" in (make[a], make[b]))
    }  # fmt: skip
    assert pairs == expected


def test_one_serial_from_two_providers_is_found():
    """The same device told by two aggregators, spelled in two ways, names both holders."""
    registry = registry_of([
        {"serial": "SN-0017", "provider": "acme"},
        {"serial": "sn0017", "provider": "zeta"},
        {"serial": "SN-0018", "provider": "zeta"},
    ])  # fmt: skip
    found = duplicates(Directory.of(registry))
    assert [(d.name, d.text, [registry.ids[row] for row in d.rows]) for d in found] == [
        ("serial", "SN0017", ["r0", "r1"])
    ]


def test_the_index_takes_twelve_bytes_a_name():
    """The index holds a hash and a row for each name that is there, and no text."""
    registry = registry_of([{"serial": f"S{k}", "lfdi": f"{k:040x}" if k % 2 else ""} for k in range(100)])
    directory = Directory.of(registry)
    assert directory.nbytes == 12 * 150
    assert directory.rows["lfdi"].dtype == np.int32
