"""Versions of settings: the registry as of any moment is what holds then, learnt in any order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet.registry import Change, Versions, merge, read_registry
from gridflock.record import open_record
from gridflock.runtime import _roll
from gridflock.schema import IDENTITIES, REGISTRY

PLACES = {"b0": 7, "b1": 7}
ROW = {"id": "a", "kind": "battery_home", "bus": "b0", "phases": "a"}
VALUES = {
    "p_max_kw": [0, 5, 7.2],
    "lat_deg": [None, 52.1],
    "firmware": [None, "1.0", "1.1"],
    "bus": ["b0", "b1"],
    "phases": ["a", "abc"],
    "kind": ["battery_home", "wind"],
    "serial": [None, "S1", "S2"],
}


def registry_of(rows):
    """Rows without a fault."""
    registry, rejected = read_registry(rows, PLACES)
    assert rejected == ()
    return registry


def told(registry):
    """Every resource as a mapping of its values in words."""
    found = {}
    for row, name in enumerate(registry.ids):
        cells = {n: c[row].item() for n, c in registry.columns.items()}
        cells |= {n: registry.labels[n][cells[n]] for n in registry.labels}
        cells |= {e.name: registry.identities.get(e.name, ("",) * len(registry.ids))[row] for e in IDENTITIES}
        found[name] = {n: None if v != v else v for n, v in cells.items()}  # noqa: PLR0124 - NaN
    return found


rows = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})
imports = st.lists(
    st.tuples(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abcd"), rows), max_size=4)), max_size=6
)


@settings(deadline=None)
@given(imports)
def test_a_moment_has_what_the_last_change_before_it_said(history):
    """As-of agrees with a plain replay per resource and attribute, whatever the order of learning."""
    versions = Versions()
    plain: dict[str, dict[int, dict[str, object]]] = {}
    for known, (valid, batch) in enumerate(history):
        unique = {name: {**ROW, "id": name, **cells} for name, cells in batch}
        news = registry_of(unique.values())
        change, _, rejected = versions.change(news, valid, known, "me")
        refused = {fault.ids[0] for fault in rejected}
        versions = versions.with_change(change)
        for name, cells in told(news).items():
            mine = plain.setdefault(name, {})
            if mine and valid < min(mine):
                assert name in refused
                continue
            assert name not in refused
            before = state(mine, valid)
            if before is None:
                mine[valid] = dict(cells)
            else:
                mine.setdefault(valid, {}).update({n: v for n, v in cells.items() if before[n] != v})
    for t in range(7):
        wanted = {name: state(mine, t) for name, mine in plain.items()}
        found = told(versions.as_of(t))
        assert found == {name: cells for name, cells in wanted.items() if cells is not None}


def state(mine, t):
    """A resource at a moment: every value by the last change that named it; None before it is known."""
    if not mine or t < min(mine):
        return None
    cells: dict[str, object] = {}
    for moment in sorted(mine):
        if moment <= t:
            cells.update(mine[moment])
    return cells


@given(st.lists(st.tuples(st.sampled_from("abcdef"), rows), max_size=6))
def test_an_import_repeated_changes_nothing(batch):
    """The same rows again are no change, and the registry is the very same value."""
    registry = registry_of({name: {**ROW, "id": name, **cells} for name, cells in batch}.values())
    again = registry_of({name: {**ROW, "id": name, **cells} for name, cells in reversed(batch)}.values())
    assert merge(registry, registry_of([])).registry is registry
    first, _, _ = Versions().change(registry, 1, 1, "me")
    versions = Versions().with_change(first)
    if told(again) == told(registry):
        change, done, _ = versions.change(again, 2, 2, "me")
        assert (done.count, len(change.resource), change.added.ids) == (0, 0, ())


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), rows), min_size=1),
    st.lists(st.tuples(st.sampled_from("cdef"), rows)),
)
def test_a_merge_names_what_it_changed(first, second):
    """Added rows and, by attribute, changed ones are exactly those that differ from before."""
    old = registry_of({name: {**ROW, "id": name, **cells} for name, cells in first}.values())
    new = registry_of({name: {**ROW, "id": name, **cells} for name, cells in second}.values())
    done = merge(old, new)
    before, after = told(old), told(done.registry)
    assert after == {**before, **told(new)}
    names = np.array(done.registry.ids)
    assert set(names[done.before < 0]) == after.keys() - before.keys()
    changed = {n: {i for i in before if before[i][n] != after[i][n]} for n in next(iter(after.values()))}
    assert {n: set(names[r]) for n, r in done.changed.items()} == {
        n: ids for n, ids in changed.items() if ids
    }
    kept = [row for row in done.before.tolist() if row >= 0]
    assert sorted(kept) == list(range(len(old.ids)))
    # The joint registry is the one that reading all rows at once gives.
    both = registry_of({name: {**ROW, "id": name, **cells} for name, cells in first + second}.values())
    assert (both.ids, both.labels, both.identities) == (
        done.registry.ids,
        done.registry.labels,
        done.registry.identities,
    )
    for entry in REGISTRY[1:]:
        np.testing.assert_array_equal(both.columns[entry.name], done.registry.columns[entry.name])


def test_a_file_speaks_only_of_its_columns():
    """What an import does not name stays as it is: nobody is enrolled anew by a list of firmware."""
    old = registry_of([{**ROW, "enrolment": "suspended", "firmware": "1.0"}])
    news = registry_of([{**ROW, "firmware": "1.1"}])
    done = merge(old, news, {"id", "kind", "bus", "phases", "firmware"})
    assert {name: rows.tolist() for name, rows in done.changed.items()} == {"firmware": [0]}
    assert told(done.registry)["a"]["enrolment"] == 4


def test_a_version_tells_who_said_what_when():
    """A resource's versions are listed by the moment they hold from, with old and new value and author."""
    versions = Versions()
    for valid, known, author, cells in [
        (10, 10, "ann", {"p_max_kw": 5}),
        (30, 31, "bob", {"p_max_kw": 3, "firmware": "1.1"}),
        (20, 40, "cy", {"p_max_kw": 4}),
    ]:
        news = registry_of([{**ROW, **cells}])
        change, _, _ = versions.change(news, valid, known, author, "list.csv", {"p_max_kw", *cells})
        versions = versions.with_change(change)
    assert [(v.valid_s, v.known_s, v.author, v.attribute, v.old, v.new) for v in versions.of("a")] == [
        (10, 10, "ann", "id", None, "a"),
        (20, 40, "cy", "p_max_kw", 5.0, 4.0),
        (30, 31, "bob", "firmware", None, "1.1"),
        (30, 31, "bob", "p_max_kw", 5.0, 3.0),
    ]
    power = [versions.as_of(t).columns["p_max_kw"].tolist() for t in (9, 10, 19, 20, 29, 30)]
    assert power == [[], [5], [5], [4], [4], [3]]
    # By what was known before the correction, the time between still had the first value.
    assert versions.as_of(25, known_s=39).columns["p_max_kw"].tolist() == [5]


def test_before_a_resource_is_known_nothing_can_be_said_of_it():
    """A change dated before its resource's first moment is refused by name; the others land."""
    first, _, _ = Versions().change(registry_of([ROW]), 100, 100, "me")
    versions = Versions().with_change(first)
    news = registry_of([{**ROW, "p_max_kw": 5}, {**ROW, "id": "b"}])
    change, done, rejected = versions.change(news, 50, 101, "me")
    assert [(fault.field, fault.ids) for fault in rejected] == [("valid_s", ("a",))]
    assert "1970-01-01T00:01:40Z" in rejected[0].reason
    assert (change.added.ids, done.registry.ids) == (("b",), ("b",))


@pytest.mark.parametrize("cut", [1, 2, 250_000])
def test_the_ledger_gives_the_versions_back(tmp_path, monkeypatch, cut):
    """Changes recorded are rebuilt value by value, also where a large one was cut into several entries."""
    monkeypatch.setattr(_roll, "_ENTRY_ROWS", cut)
    monkeypatch.setattr(_roll, "_ENTRY_CHANGES", cut)
    record = open_record(tmp_path)
    some = [{**ROW, "id": f"ä {k}", "serial": f"S{k}", "lat_deg": k or None} for k in range(5)]
    other = [{**row, "serial": "T", "lat_deg": 7, "provider": "acme", "kind": "wind"} for row in some[2:]]
    for at, batch in ((10, some), (20, other), (30, other)):
        known = _roll.versions(record)
        done = _roll.take(
            record, known, registry_of(batch), None, valid_s=at, now_s=at, author="me", source="test"
        )
        assert (done.added, done.resources) == {10: (5, 0), 20: (0, 3), 30: (0, 0)}[at]
        assert done.added + done.resources + done.unchanged == len(batch)
        assert told(_roll.versions(record).as_of(at)) == told(done.registry)
    assert told(_roll.versions(record).as_of(15)) == told(registry_of(some))
    assert record.verify().ok
    record.close()


def test_a_change_is_its_columns():
    """One import is one value: its moment, its author and flat columns of what differs."""
    first, _, _ = Versions().change(registry_of([ROW, {**ROW, "id": "b"}]), 1, 1, "me")
    change, _, _ = Versions().with_change(first).change(registry_of([{**ROW, "p_max_kw": 2}]), 5, 6, "me")
    assert isinstance(change, Change)
    assert (change.ids, change.old.tolist(), change.new.tolist()) == (("a",), [0.0], [2.0])


def test_a_ledger_from_before_an_attribute_gives_its_default(tmp_path, monkeypatch):
    """What the attribute table did not have when a resource was recorded holds its default now."""
    record = open_record(tmp_path)
    stored = _roll._of_registry
    late = {"added.firmware", "labels.firmware", "added.eff_charge"}
    monkeypatch.setattr(
        _roll, "_of_registry", lambda *words: {n: c for n, c in stored(*words).items() if n not in late}
    )
    news = registry_of([{**ROW, "firmware": "1.0", "eff_charge": 0.5}])
    _roll.take(record, Versions(), news, None, valid_s=1, now_s=1, author="me", source="test")
    found = told(_roll.versions(record).as_of(1))["a"]
    assert (found["firmware"], found["eff_charge"]) == ("", 1.0)
    record.close()


def test_an_import_cannot_bring_the_retired_back():
    """A row that would change the enrolment by no legal move is refused whole; a legal one lands."""
    first = [{**ROW, "enrolment": "retired"}, {**ROW, "id": "b", "enrolment": "enrolled"}]
    change, _, _ = Versions().change(registry_of(first), 1, 1, "me")
    news = [{**ROW, "firmware": "2", "enrolment": "enrolled"}, {**ROW, "id": "b", "enrolment": "suspended"}]
    change, done, rejected = Versions().with_change(change).change(registry_of(news), 2, 2, "me")
    assert [(f.field, f.ids, f.reason) for f in rejected] == [
        ("enrolment", ("a",), "retired -> enrolled is no legal move")
    ]
    assert change.ids == ("b",)
    assert told(done.registry)["a"]["firmware"] == ""
