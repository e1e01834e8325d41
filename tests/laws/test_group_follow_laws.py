"""Laws of groups that follow: rules and topology decide who is in, and each change is told once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet, Groups
from gridflock.fleet.groups import ByRow, Place, Rule, Version, Zones
from gridflock.fleet.groups._follow import Cause

seeds = st.integers(0, 2**32 - 1)
PLACES = {f"b{i}": 7 for i in range(8)}
KINDS = ("pv_rooftop", "battery_home", "ev_v1g", "thermostat", "load", "feeder_head")
WEST = {"type": "Polygon", "coordinates": [[[0, 0], [5, 0], [5, 9], [0, 9]]]}
NOON_S = 1_700_000_000


def drawn(rng, n):
    """Rows of a registry, few of everything; the first one is in transformer t0."""
    rows = [
        {
            "id": f"r{i}",
            "kind": KINDS[rng.integers(len(KINDS))],
            "bus": f"b{rng.integers(8)}",
            "phases": "abc"[rng.integers(3) :],
            "provider": f"p{rng.integers(3)}",
            "program": ("none", "solar", "night")[rng.integers(3)],
            "transformer": f"t{rng.integers(4)}",
            "p_max_kw": float(rng.integers(9)),
            "lat_deg": float(rng.integers(10)),
            "lon_deg": float(rng.integers(10)),
        }
        for i in range(n)
    ]
    rows[:1] = [row | {"kind": "wind", "transformer": "t0"} for row in rows[:1]]
    return rows


def fleet_of(rows):
    """A fleet of these rows, none refused."""
    fleet, rejected = Fleet.from_rows(rows, PLACES)
    assert rejected == ()
    return fleet


def sections(rng):
    """Each bus in one of three sections, dead, or unknown to the map."""
    code = rng.integers(-1, 3, 7).astype(np.int32)
    return Zones("section", tuple(f"b{i}" for i in range(7)), code, ("s0", "s1", "s2"), "other")


def built(fleet, zones):
    """Groups of all sorts: standard ones, rules on rules, static ones, groups of groups, a fixed level."""
    groups = Groups.standard(fleet, {}, {})
    groups, _ = groups.follow(fleet, (zones,))
    faults = [
        groups.add_level("transformer", "transformer", parents=("all",)),
        groups.add_level("plate", ByRow(("odd", "even"), np.arange(len(fleet.ids), dtype=np.int32) % 2)),
        groups.add("big", "Big", rule="p_max_kw > 4 and not provider = p1"),
        groups.add("west", "West", rule=Rule(place=Place.of_shape(WEST))),
        groups.add("mapped", "Mapped", rule={"program": "solar", "kind": ["ev_v1g", "load"]}),
        groups.add("fed", "Fed by s1", rule=Rule("phases has c", inside=("section/s1",), outside=("west",))),
        groups.add("named", "Named", [name for name in fleet.ids[:5] if name in groups.of(name)]),
        groups.add("both", "Both", children=("big", "fed")),
        groups.add("loose", "Loose", rule=Rule(inside=("both",))),
    ]
    faults.append(groups.add("guest", "Guest", children=("big",), parents=("transformer/t0",)))
    assert not any(faults), faults
    return groups


def members(groups):
    """Ids of the members of each group."""
    ids = groups.fleet.ids
    return {name: {ids[row] for row in groups.rows(name)} for name in groups.ids}


def changed_rows(rng, rows):
    """Some rows gone, some new, some with other attributes; the first one stays."""
    kept = [dict(row) for row in rows[1:] if rng.random() < 0.8]
    others = drawn(rng, len(rows))
    for row in kept:
        for name in ("kind", "bus", "provider", "program", "transformer", "p_max_kw", "lat_deg", "lon_deg"):
            if rng.random() < 0.1:
                row[name] = others[int(rng.integers(len(others)))][name]
    news = [row | {"id": f"n{i}"} for i, row in enumerate(drawn(rng, int(rng.integers(4))))]
    return rows[:1] + kept + news


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled, or read from their cache, before a law's first example is timed."""
    rng = np.random.default_rng(0)
    built(fleet_of(drawn(rng, 30)), sections(rng))


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_following_is_building_anew(seed):
    """After registry and topology have changed, members are those of groups built on the new ones."""
    rng = np.random.default_rng(seed)
    rows = drawn(rng, 40)
    before = built(fleet_of(rows), sections(rng))
    was = members(before)
    fleet, zones = fleet_of(changed_rows(rng, rows)), sections(rng)
    after, changes = before.follow(fleet, (zones,), NOON_S)
    now, fresh = members(after), members(built(fleet, zones))
    assert members(before) == was
    may, might = set(now["all"]), set(was["all"])
    for name, mine in now.items():
        if name == "named" or name.startswith("plate/"):
            assert mine & might == was[name] & may
        else:
            assert mine == fresh.get(name, set()), name
    assert set(was) <= set(now)
    assert set(fresh) <= set(now)
    for name in now:
        joined, left = changes.of(name)
        assert set(joined) == now[name] - was.get(name, set()), name
        assert set(left) == was.get(name, set()) - now[name], name
        assert len(joined) + len(left) == len({*joined, *left})
    values = rng.normal(size=len(fleet.ids))
    sums = after.aggregate(values)
    for g, name in enumerate(after.ids):
        assert sums[g] == pytest.approx(values[after.rows(name)].sum(), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_nothing_changes_where_nothing_has_changed(seed):
    """The same registry and topology give no line, no version, the same members; twice following is once."""
    rng = np.random.default_rng(seed)
    rows, zones = drawn(rng, 30), sections(rng)
    groups = built(fleet_of(rows), zones)
    for fleet in (groups.fleet, fleet_of(rows)):
        same, changes = groups.follow(fleet, (zones,), NOON_S)
        assert changes.groups == ()
        assert changes.summary() == ()
        assert len(changes.group) == 0
        assert members(same) == members(groups)
        assert all(same.version(name) == groups.version(name) for name in groups.ids)
    other = sections(rng)
    once, _ = groups.follow(groups.fleet, (other,), NOON_S)
    twice, changes = once.follow(groups.fleet, (other,), NOON_S + 1)
    assert changes.groups == ()
    assert members(twice) == members(once)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_every_cause_is_true(seed):
    """New and gone resources, attributes, topology and rules are told apart, and versions count up."""
    rng = np.random.default_rng(seed)
    rows = drawn(rng, 40)
    before = built(fleet_of(rows), sections(rng))
    fleet = fleet_of(changed_rows(rng, rows))
    after, changes = before.follow(fleet, (sections(rng),), NOON_S)
    old, new = set(before.fleet.ids), set(fleet.ids)
    for group, joined, at, why in zip(
        changes.group, changes.joined, changes.resource, changes.why, strict=True
    ):
        name, who = changes.groups[group], changes.ids[at]
        assert (why == Cause.REGISTERED) == (who not in old)
        assert (why == Cause.REMOVED) == (who not in new)
        assert (why == Cause.REGISTERED) <= joined
        if why == Cause.TOPOLOGY:
            assert name.startswith(("section/", "plan/"))
        if why == Cause.RULE:
            assert after.rule(name) is not None
    for name, version in zip(changes.groups, changes.versions, strict=True):
        former = before.version(name) if name in before else Version()
        assert version == (NOON_S, former.major, former.minor + 1, 0)
        assert after.version(name) == version


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_a_switching_alone_is_told_as_topology(seed):
    """Where only the map of buses changes, all lines of sections are of topology."""
    rng = np.random.default_rng(seed)
    groups = built(fleet_of(drawn(rng, 40)), sections(rng))
    _, changes = groups.follow(groups.fleet, (sections(rng),), NOON_S)
    by_level = [changes.groups[g].startswith("section/") for g in changes.group]
    assert (changes.why[np.array(by_level, dtype=bool)] == Cause.TOPOLOGY).all()


def test_a_summary_is_bounded():
    """However many groups change, the summary is as long as asked for, and says what it leaves out."""
    rows = drawn(np.random.default_rng(1), 60)
    groups = built(fleet_of(rows), sections(np.random.default_rng(2)))
    _, changes = groups.follow(fleet_of(rows[:30]), (), NOON_S)
    assert len(changes.groups) > 5
    lines = changes.summary(3)
    assert len(lines) == 4
    assert lines[0].startswith("all: ")
    assert "left (removed)" in lines[0]
    assert lines[-1].startswith(f"{len(changes.groups) - 3} more groups: ")


def test_zones_nobody_follows_and_torn_levels_are_told():
    """A map for no level is named; so are groups that no longer lie in one group of the level above."""
    rows = [
        {"id": f"r{i}", "kind": "load", "bus": f"b{i}", "phases": "a", "transformer": "t"} for i in range(2)
    ]
    fleet = fleet_of(rows)
    groups = Groups(fleet)
    together = Zones.of_map("section", {"b0": "s0", "b1": "s0"})
    assert groups.add_level("section", together) == ()
    assert groups.add_level("transformer", "transformer", parents=("section",)) == ()
    apart = Zones.of_map("section", {"b0": "s0", "b1": "s1"})
    after, changes = groups.follow(fleet, (apart, Zones.of_map("island", {})), NOON_S)
    assert [(fault.field, fault.ids) for fault in changes.rejected] == [
        ("zones", ("island",)),
        ("parents", ("transformer/t",)),
    ]
    assert groups.parents("transformer/t") == ("section/s0",)
    assert after.parents("transformer/t") == ()
    assert members(after)["section/s1"] == {"r1"}


def test_zones_that_contradict_themselves_are_refused():
    """Repeated buses and codes that do not fit are named, at the start and later; old zones then stay."""
    fleet = fleet_of(drawn(np.random.default_rng(6), 20))
    buses, code = ("b0", "b1"), np.array([0, 1], dtype=np.int32)
    faulty = {
        "buses are repeated": Zones("section", ("b0", "b0"), code, ("s0", "s1")),
        "each of 1 buses": Zones("section", ("b0",), code, ("s0", "s1")),
        "whole number": Zones("section", buses, np.array([0.0, np.nan]), ("s0", "s1")),
        "outside": Zones("section", buses, code, ("s0",)),
        "labels are repeated": Zones("section", buses, code, ("s0", "s0")),
        "no printable texts": Zones("section", buses, code, ("s0", "\n")),
    }
    groups = Groups(fleet)
    for words, zones in faulty.items():
        assert [words in fault.reason for fault in groups.add_level("section", zones)] == [True], words
    assert groups.levels == ()
    assert groups.add_level("section", Zones("section", buses, code, ("s0", "s1"))) == ()
    for words, zones in faulty.items():
        after, changes = groups.follow(fleet, (zones,))
        assert [words in fault.reason for fault in changes.rejected] == [True], words
        assert members(after) == members(groups)


def test_names_that_are_taken_later_are_told():
    """A new resource called like a group, and a new value whose group exists, are named; nothing is mixed."""
    rows = drawn(np.random.default_rng(7), 10)
    groups = Groups(fleet_of(rows))
    assert groups.add_level("transformer", "transformer") == ()
    assert groups.add("transformer/new", "By hand", ["r0"]) == ()
    assert groups.add("mine", "Mine", ["r0"]) == ()
    news = [rows[0] | {"id": "mine"}, rows[0] | {"id": "r99", "transformer": "new"}]
    after, changes = groups.follow(fleet_of(rows + news))
    assert [(fault.field, fault.ids) for fault in changes.rejected] == [
        ("by", ("transformer/new",)),
        ("id", ("mine",)),
    ]
    assert members(after)["transformer/new"] == members(after)["mine"] == {"r0"}
    assert not any(name.startswith("transformer/") for name in after.of("r99"))
    fleet = fleet_of([rows[0] | {"id": "transformer/t0"}])
    assert "ids of resources" in Groups(fleet).add_level("transformer", "transformer")[0].reason


def test_a_changed_group_has_a_new_version_and_a_faulty_change_changes_nothing():
    """Words count as revision, members as major version; wrong changes are named and leave all as it was."""
    fleet = fleet_of(drawn(np.random.default_rng(3), 30))
    groups = built(fleet, sections(np.random.default_rng(3)))
    others = [fleet.ids[row] for row in groups.rows("all") if row not in groups.rows("named")]
    assert groups.change("named", title="By name", time_s=5) == ()
    assert groups.version("named") == (5, 1, 0, 1)
    assert groups.change("named", join=others[:2], time_s=6) == ()
    assert groups.version("named") == (6, 2, 0, 0)
    assert {fleet.row_of[name] for name in others[:2]} <= set(groups.rows("named"))
    assert groups.change("both", children=("west",), parents=("section/s0",)) == ()
    assert groups.children("both") == ("west",)
    assert set(groups.rows("both")) == set(groups.rows("west")) == set(groups.rows("loose"))
    assert set(groups.rows("both")) <= set(groups.rows("section/s0"))
    assert groups.change("big", rule="kind = load") == ()
    assert set(groups.rows("big")) <= set(groups.rows("transformer/t0"))
    before, ids = members(groups), groups.ids
    faulty = {
        "is unknown": groups.change("nowhere", title="?"),
        "is a group of a level": groups.change("section/s0", title="?"),
        "already": groups.change("named", join=others[:1]),
        "by name": groups.change("named", leave=others[5:6]),
        "unknown resources": groups.change("named", join=("nobody",)),
        "above and below": groups.change("both", children=("loose",)),
        "part of itself": groups.change("both", children=("both",)),
        "expected": groups.change("big", rule="p_max_kw >"),
        "unknown groups": groups.change("big", parents=("nowhere",)),
        "stand on it": groups.remove("west"),
        "follows that": groups.remove("section/s0"),
    }
    for words, rejected in faulty.items():
        assert [words in fault.reason for fault in rejected] == [True], (words, rejected)
    assert (members(groups), groups.ids) == (before, ids)


def test_a_rule_cannot_turn_in_circles():
    """Groups in themselves, rules on groups above and NaN in a rule are refused by name."""
    fleet = fleet_of(drawn(np.random.default_rng(4), 20))
    groups = built(fleet, sections(np.random.default_rng(4)))
    before = groups.ids
    faulty = {
        "part of itself": groups.add("me", "Me", children=("me",)),
        "no part of itself": groups.add("me", "Me", rule=Rule(inside=("me",))),
        "above and below": groups.add("me", "Me", parents=("both",), rule=Rule(outside=("loose",))),
        "is NaN": groups.add("me", "Me", rule={"p_max_kw": float("nan")}),
        "found 'nan'": groups.add("me", "Me", rule="p_max_kw = nan"),
        "expected an attribute": groups.add("me", "Me", rule="colour = red"),
        "unknown groups": groups.add("me", "Me", rule=Rule(inside=("nowhere",))),
        "name of a level": groups.add("section", "Section"),
        "duplicate": groups.add("section/s0", "Section"),
    }
    for words, rejected in faulty.items():
        assert [words in fault.reason for fault in rejected] == [True], (words, rejected)
    assert groups.ids == before


def test_a_rule_may_choose_among_its_parent():
    """A part of a section by rule stands below the section, follows it, and takes no guests for its own."""
    rows = drawn(np.random.default_rng(8), 30)
    groups = Groups.standard(fleet_of(rows), {f"b{i}": f"s{i % 2}" for i in range(8)}, {})
    part = Rule("phases has a and not family = none", inside=("section/s0",))
    assert groups.add("section/s0/a", "Phase a", rule=part, parents=("section/s0",)) == ()
    assert groups.parents("section/s0/a") == ("section/s0",)
    here, section = members(groups)["section/s0/a"], members(groups)["section/s0"]
    assert here == section & members(groups)["phase/a"] - members(groups)["demand"]
    guest = min(members(groups)["section/s1"] & members(groups)["phase/a"])
    assert groups.add("guests", "Guests", [guest], parents=("section/s0",)) == ()
    assert guest in members(groups)["section/s0"]
    assert members(groups)["section/s0/a"] == here
    after, changes = groups.follow(groups.fleet, (Zones.of_map("section", {"b1": "s0", "b3": "s1"}),))
    now = members(after)
    own = {name for name in after.fleet.ids if after.level("section").code[after.fleet.row_of[name]] == 0}
    assert now["section/s0"] == own | {guest}
    assert now["section/s0/a"] == own & now["phase/a"] - now["demand"]
    assert "section/s0/a" in changes.groups


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_a_copy_is_changed_apart(seed):
    """Several changes on a copy show in the copy alone: all of them are taken, or none."""
    rng = np.random.default_rng(seed)
    groups = built(fleet_of(drawn(rng, 30)), sections(rng))
    before = members(groups)
    apart = groups.copy()
    assert apart.remove("loose") == ()
    assert apart.remove("both") == ()
    assert apart.change("named", title="?") == ()
    assert apart.add("late", "Late", children=("named",), parents=("transformer/t1",)) == ()
    assert members(groups) == before
    assert groups.title("named") == "Named"
    assert set(before) - set(members(apart)) == {"loose", "both"}
