"""Virtual DERs and claims in a system that lives: made, asked, refused, and there again after its death."""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from gridflock.console import build
from gridflock.record import RecordFull, SqliteRecord
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Scope,
    Settings,
    System,
    UnknownName,
    Users,
    rehearse,
)
from gridflock.runtime._virtual import Definition, Terms, VirtualDers
from gridflock.runtime._virtual_kept import KIND, entry_of, rebuilt
from gridflock.sim import Scenario, World, feeder_document

SCENARIO = Scenario(ders=200, seed=7)
NOON_S = 43_200
BLOCK = {"type": "Polygon", "coordinates": [[[5.0, 52.0], [5.1, 52.0], [5.1, 52.1], [5.0, 52.1]]]}
VERA = Scope("vera", Role.VIEWER, frozenset({"all"}))


def _open(folder, **more):
    derms, _ = rehearse(folder, SCENARIO, Settings(tick_s=60), join_s=NOON_S, **more)
    derms.tick()
    return derms


def _next(derms):
    derms.clock.sleep_until(derms.moment.now_s + 60)
    return derms.tick()


def _faults(ask, *words, **more):
    """Field -> reason of a request that must be refused."""
    with pytest.raises(RequestRejected) as refused:
        ask(LOCAL, *words, **more)
    return {fault.field: fault.reason for fault in refused.value.faults}


@pytest.fixture(scope="module")
def noon(tmp_path_factory):
    """A small system at noon."""
    derms = _open(tmp_path_factory.mktemp("noon"))
    yield derms
    derms.close()


@pytest.fixture
def derms(noon):
    """The same, left as it was found."""
    yield noon
    for life in noon.claims(LOCAL):
        noon.release(LOCAL, life.id)
    for wish in noon.proposals(LOCAL):
        noon.withdraw(LOCAL, wish.id)
    for name in reversed(list(noon._virtual.register.records)):
        noon.delete_group(LOCAL, name, cascade=True)


# ---- groups --------------------------------------------------------------------------------------


def test_a_rule_makes_a_virtual_der_that_can_be_asked_at_once(derms):
    """Who fulfils the rule shares the order, exactly; the next tick obeys without a restart."""
    made = derms.define_group(LOCAL, "roofs/b", "Roofs on b", rule="kind = pv_rooftop and phases has b")
    fulfil = {r.id for r in derms.resources(LOCAL, "all", 10_000, "kind = pv_rooftop and phases has b")}
    assert made.count == len(fulfil) > 2
    view = derms.group(LOCAL, "roofs/b")
    assert (view.group.title, view.group.members, view.definition) == (
        "Roofs on b",
        made.count,
        made.definition,
    )
    assert "roofs/b" in [group.id for group in derms.groups(LOCAL)]
    wanted = round(0.5 * view.group.p_kw, 2)
    answer = derms.propose(LOCAL, "roofs/b", p_kw=wanted, minutes=30, why="story")
    assert answer.given_kw == pytest.approx(wanted, abs=1e-2)
    assert {move.id for move in answer.members} <= fulfil
    granted = {grant.proposal.id: grant for grant in _next(derms).decision.grants}
    assert granted[answer.proposal.id].given_kw == pytest.approx(wanted, abs=0.05 * wanted)
    told = next(event for event in derms.events(LOCAL) if event.kind == KIND)
    assert (told.author, told.group, told.data["version"]) == ("local", "roofs/b", "1.0.0")


def test_groups_of_groups_of_people_and_of_the_system(derms):
    """Resources, groups inside and a rule together count each once; a parent takes the group in."""
    rows = derms._loop.system.rows_of
    derms.define_group(LOCAL, "west", children=["section/s2", "section/s3"])
    first = derms.resources(LOCAL, "section/s2", 1)[0].id
    made = derms.define_group(
        LOCAL, "mix", members=[first, "pv-0001"], children=["section/s2"], parents=["west"], rule="phases = a"
    )
    both = np.union1d(rows["section/s2"], derms._loop.system.rows_of["mix"])
    assert made.definition.parents == ["west"]
    assert set(derms._loop.system.rows_of["mix"]) <= set(derms._loop.system.rows_of["west"])
    assert len(both) == made.count
    assert derms.group(LOCAL, "west").definition.version == "2.0.0"
    inside = derms.define_group(LOCAL, "part", rule="phases = a", inside=["west"], outside=["section/s2"])
    wanted = set(derms._loop.system.rows_of["west"]) - set(rows["section/s2"])
    assert set(derms._loop.system.rows_of["part"]) <= wanted
    assert inside.definition.outside == ["section/s2"]
    assert "part" in _faults(derms.delete_group, "west", cascade=True)["id"]


def test_a_change_rests_on_the_version_its_author_knows(derms):
    """Members and rules raise the major version, titles the revision; a stale version changes nothing."""
    derms.define_group(LOCAL, "elm", "Elm Street", members=["pv-0001"])
    derms.define_group(LOCAL, "town", children=["elm"])
    assert derms.change_group(LOCAL, "elm", version="1.0.0", title="Elm").definition.version == "1.0.1"
    joined = derms.change_group(LOCAL, "elm", version="1.0.1", join=["pv-0002"], rule="kind = wind")
    assert joined.definition.version == "2.0.0"
    assert derms.group(LOCAL, "town").definition.version == "1.1.0"
    reason = _faults(derms.change_group, "elm", version="1.0.1", rule="kind = load")["version"]
    assert reason == "elm: version 1.0.1 is stale: the group is at 2.0.0"
    assert "stale" in _faults(derms.delete_group, "elm", version="1.0.1", cascade=True)["version"]
    assert derms.group(LOCAL, "elm").definition == joined.definition
    assert derms.group(LOCAL, "elm").definition.parents == ["town"]
    left = derms.change_group(LOCAL, "elm", leave=["pv-0001"], parents=[])
    assert (left.definition.members, left.definition.parents) == (["pv-0002"], [])
    assert "changes nothing" in _faults(derms.change_group, "elm", title="Elm")["change"]


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ({"group": "type/mine"}, "id", "system's own"),
        ({"group": "a//b"}, "id", "between slashes"),
        ({"group": "x" * 201}, "id", "200"),
        ({"group": "\n"}, "id", "printable"),
        ({"group": "pv-0001"}, "id", "resource"),
        ({"group": "all"}, "id", "duplicate"),
        ({"title": "x" * 256}, "names", "255"),
        ({"members": ["nobody"]}, "members", "nobody"),
        ({"members": ["pv-0001", "pv-0001"]}, "members", "more than once"),
        ({"children": ["nothing"]}, "children", "nothing"),
        ({"children": ["new"]}, "id", "no part of itself"),
        ({"parents": ["all"]}, "parents", "system's own"),
        ({"rule": "kind ="}, "rule", "character 7"),
        ({"rule": "__import__('os')"}, "rule", "expected an attribute"),
        ({"rule": "provider = '\x1b[2J'"}, "rule", "printable"),
        ({"inside": ["nothing"]}, "rule", "nothing"),
        ({"inside": ["new"]}, "id", "no part of itself"),
        ({"place": {"type": "Point"}}, "place", "Polygon"),
        ({"place": {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [1, 1]]]}}, "place", "longitude"),
    ],
)
def test_what_cannot_be_made_is_named(derms, words, field, said):
    """Each fault names its field and the rule, and nothing is made."""
    before = [group.id for group in derms.groups(LOCAL)]
    asked = {"group": "new"} | words
    assert said in _faults(derms.define_group, asked.pop("group"), **asked)[field]
    assert [group.id for group in derms.groups(LOCAL)] == before


def test_cycles_and_the_systems_own_groups_are_refused(derms):
    """No group stands above and below another; what the system made is not changed."""
    derms.define_group(LOCAL, "upper", members=["pv-0001"])
    derms.define_group(LOCAL, "lower", members=["pv-0002"], parents=["upper"])
    assert "above and below" in _faults(derms.change_group, "lower", children=["upper"])["children"]
    assert "above and below" in _faults(derms.change_group, "lower", inside=["upper"])["rule"]
    for ask in (derms.change_group, derms.delete_group):
        assert "system's own" in _faults(ask, "type/pv_rooftop")["id"]
        with pytest.raises(UnknownName):
            ask(LOCAL, "nothing")


def test_a_group_with_proposals_goes_only_by_cascade(derms):
    """Without, the proposals are named; with it they are withdrawn, and groups above let go of it."""
    derms.define_group(LOCAL, "roofs", rule="kind = pv_rooftop")
    derms.define_group(LOCAL, "sun", children=["roofs"])
    wish = derms.propose(LOCAL, "roofs", p_hi_kw=1.0, minutes=30).proposal.id
    assert wish in _faults(derms.delete_group, "roofs")["group"]
    assert [p.id for p in derms.proposals(LOCAL)] == [wish]
    assert derms.delete_group(LOCAL, "roofs", cascade=True).withdrawn == [wish]
    assert derms.proposals(LOCAL) == []
    assert derms.group(LOCAL, "sun").definition.children == []
    assert _next(derms).rejected == ()
    with pytest.raises(UnknownName):
        derms.group(LOCAL, "roofs")
    assert derms.define_group(LOCAL, "roofs").definition.version == "2.0.0"


def test_a_place_holds_who_stands_in_it(tmp_path):
    """Of a rule with a polygon only who is inside is a member; who has no coordinates is nowhere."""
    rows = [dict(row) for row in World(SCENARIO).registry]
    sun = [row for row in rows if row["kind"] == "PV_ROOFTOP"]
    for k, row in enumerate(sun[:6]):
        row |= {"lat_deg": 52.05, "lon_deg": 5.05 if k < 4 else 5.15}
    derms = _open(tmp_path, registry=rows)
    made = derms.define_group(LOCAL, "block", rule="kind = pv_rooftop", place=BLOCK)
    assert made.count == 4
    assert derms.group(LOCAL, "block").definition.place == BLOCK
    derms.close()
    again = _open(tmp_path)
    assert {r.id for r in again.resources(LOCAL, "block")} == {row["id"] for row in sun[:4]}
    again.close()


# ---- authority -----------------------------------------------------------------------------------


def test_an_operator_groups_only_those_he_may_order(derms):
    """Right over every member is needed; what a defined group gives is no right to widen it."""
    lucy = Scope("lucy", Role.OPERATOR, frozenset({"section/s2", "grown"}))
    mine, other = (derms.resources(LOCAL, f"section/{s}", 3, "kind = pv_rooftop") for s in ("s2", "s4"))
    derms.define_group(lucy, "hers", members=[mine[0].id])
    assert derms.propose(lucy, "hers", p_hi_kw=1.0, minutes=5, dry_run=True).members is not None
    for ask in (
        lambda: derms.define_group(lucy, "more", members=[mine[0].id, other[0].id]),
        lambda: derms.define_group(lucy, "more", rule="kind = pv_rooftop"),
        lambda: derms.change_group(lucy, "hers", join=[other[0].id]),
        lambda: derms.define_group(VERA, "looked"),
    ):
        with pytest.raises(AccessDenied):
            ask()
        assert derms.events(LOCAL, 0, 1)[0].kind == "refusal"
    derms.define_group(LOCAL, "grown", members=[other[0].id])
    assert derms.propose(lucy, "grown", p_hi_kw=1.0, minutes=5, dry_run=True).proposal.group == "grown"
    for ask in (
        lambda: derms.change_group(lucy, "grown", join=[mine[0].id]),
        lambda: derms.delete_group(lucy, "grown"),
    ):
        with pytest.raises(AccessDenied):
            ask()
    derms.change_group(LOCAL, "hers", join=[other[1].id])
    with pytest.raises(AccessDenied):
        derms.propose(lucy, "hers", p_hi_kw=1.0, minutes=5)
    derms.define_group(LOCAL, "nobodys", rule="kind = wind and p_max_kw > 9999")
    for ask in (
        lambda: derms.change_group(lucy, "nobodys", rule=f"id = '{mine[0].id}'"),
        lambda: derms.delete_group(lucy, "nobodys"),
        lambda: derms.define_group(lucy, "bare"),
    ):
        with pytest.raises(AccessDenied, match="without members"):
            ask()
    derms.delete_group(LOCAL, "nobodys")


# ---- claims --------------------------------------------------------------------------------------


def test_a_claim_is_held_refused_with_the_holder_and_released(derms):
    """What is promised of a group is not promised again of its members together; released it is free."""
    derms.define_group(LOCAL, "cells", rule="kind = battery_home")
    size = _size(derms, "cells")
    held = derms.claim(LOCAL, "cells", kind="reserve", up_kw=size, owner="ISO", minutes=120, why="night")
    assert [claim.id for claim in derms.claims(VERA)] == [held.claim.id]
    reason = _faults(derms.claim, "type/battery_home", kind="offer", up_kw=1.0)["up_kw"]
    assert held.claim.id in reason
    assert "ISO" in reason
    event = derms.claim(LOCAL, "cells", kind="event", up_kw=1.0, priority="operator", displace=True)
    assert [claim.id for claim in event.displaced] == [held.claim.id]
    assert derms.release(LOCAL, event.claim.id).owner == "local"
    assert derms.claims(LOCAL) == []
    with pytest.raises(UnknownName):
        derms.release(LOCAL, event.claim.id)
    with pytest.raises(AccessDenied):
        derms.claim(VERA, "cells", kind="offer", up_kw=1.0)
    told = [(e.kind, e.author) for e in derms.events(LOCAL, 0, 5)]
    assert told[:4] == [
        ("refusal", "vera"),
        ("claim withdrawn", "local"),
        ("claim", "local"),
        ("claim refused", "local"),
    ]


def test_a_claim_ends_no_other_beyond_its_authors_authority(derms):
    """Neither by taking its place nor by displacing it; what the author may release gives way."""
    lucy = Scope("lucy", Role.OPERATOR, frozenset({"section/s2"}))
    whole, part = (derms._promises._claims.size(group)[0] for group in ("all", "section/s2"))
    theirs = derms.claim(LOCAL, "all", kind="reserve", up_kw=whole - part / 4).claim.id
    with pytest.raises(AccessDenied):
        derms.claim(lucy, "section/s2", kind="offer", up_kw=0.001, replaces=theirs)
    assert derms.events(LOCAL, 0, 1)[0].kind == "refusal"
    hers = derms.claim(lucy, "section/s2", kind="offer", up_kw=part / 8).claim.id
    urgent = {"kind": "event", "priority": "operator", "displace": True}
    with pytest.raises(RequestRejected):
        derms.claim(lucy, "section/s2", up_kw=part / 2, **urgent)
    done = derms.claim(lucy, "section/s2", up_kw=part / 5, **urgent)
    assert [claim.id for claim in done.displaced] == [hers]
    assert theirs in [claim.id for claim in derms.claims(LOCAL)]
    after = derms.claim(LOCAL, "section/s2", up_kw=part / 2, **urgent)
    assert [claim.id for claim in after.displaced] == [theirs]


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"kind": "gift"}, "kind"),
        ({"priority": "safety"}, "priority"),
        ({"start": "tomorrow"}, "start"),
        ({"start": "2020-01-01T00:00:00Z"}, "minutes"),
        ({"minutes": -1.0}, "minutes"),
        ({"minutes": float("nan")}, "minutes"),
        ({"up_kw": -1.0}, "up_kw"),
        ({"up_kw": 0.0}, "up_kw"),
        ({"up_kw": float("inf")}, "up_kw"),
        ({"up_kw": 1e306}, "up_kw"),
        ({"up_kw": 1e-9}, "up_kw"),
        ({"start": "9999-12-31T23:59:00"}, "minutes"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"group": "nothing"}, "group"),
        ({"replaces": "nothing"}, "replaces"),
        ({"why": "\x1b[2J"}, "why"),
    ],
)
def test_a_senseless_claim_is_named(derms, words, field):
    """Each fault names its field, and nothing is held."""
    asked = {"group": "all", "kind": "offer", "up_kw": 0.1} | words
    assert field in _faults(derms.claim, asked.pop("group"), **asked)
    assert derms.claims(LOCAL) == []


def test_a_group_that_bears_a_claim_is_not_taken_away(derms):
    """Neither a change that leaves too little nor a deletion; a change that leaves enough is done."""
    derms.define_group(LOCAL, "bearing", rule="kind = battery_home")
    size = _size(derms, "bearing")
    held = derms.claim(LOCAL, "bearing", kind="reserve", up_kw=0.9 * size).claim.id
    assert held in _faults(derms.change_group, "bearing", rule="id = 'bh-none'")["group"]
    assert held in _faults(derms.delete_group, "bearing", cascade=True)["group"]
    assert derms.change_group(LOCAL, "bearing", join=["pv-0001"]).definition.version == "2.0.0"
    assert [claim.id for claim in derms.claims(LOCAL)] == [held]


def _size(derms, group):
    """Power that a group's members can inject by their nameplates, kW."""
    system = derms._loop.system
    return float(system.fleet.columns["p_max_kw"][system.rows_of[group]].sum())


# ---- the ledger ----------------------------------------------------------------------------------

KILLED = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_virtual_ders import LOCAL, _next, _open
derms = _open(Path({folder!r}))
derms.define_group(LOCAL, "elm", "Elm Street", rule="kind = pv_rooftop and phases has a")
derms.define_group(LOCAL, "town", members=["pv-0001"], children=["elm"])
derms.define_group(LOCAL, "gone")
derms.change_group(LOCAL, "elm", version="1.0.0", rule="kind = pv_rooftop")
derms.delete_group(LOCAL, "gone")
derms.propose(LOCAL, "town", p_hi_kw=40.0, minutes=60)
kept = derms.claim(LOCAL, "elm", kind="reserve", down_kw=2.0, minutes=600)
derms.release(LOCAL, derms.claim(LOCAL, "town", kind="offer", down_kw=1.0).claim.id)
_next(derms)
print(kept.claim.id, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_system_has_its_groups_and_claims_again(tmp_path):
    """After SIGKILL and a new start groups, versions, proposals on them and claims stand as they were."""
    folder = tmp_path / "life"
    script = KILLED.format(path=[str(Path(__file__).parent)], folder=str(folder))
    folder.mkdir()
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert died.returncode == -9, died.stderr
    derms = _open(folder)
    assert [claim.id for claim in derms.claims(LOCAL)] == [died.stdout.strip()]
    assert derms.claims(LOCAL)[0].made == "2026-07-15T18:00:00Z"
    elm, town = (derms.group(LOCAL, name) for name in ("elm", "town"))
    assert (elm.definition.version, elm.definition.rule) == ("2.0.0", "kind = pv_rooftop")
    assert elm.group.title == "Elm Street"
    assert (town.definition.version, town.definition.children) == ("1.1.0", ["elm"])
    assert [(p.group, p.p_hi_kw) for p in derms.proposals(LOCAL)] == [("town", 40.0)]
    assert "gone" not in [group.id for group in derms.groups(LOCAL)]
    assert derms.define_group(LOCAL, "gone").definition.version == "2.0.0"
    assert derms.verify(LOCAL).ok
    assert [event.data.get("verb") for event in derms.events(LOCAL, 0, 4) if event.kind == "group"] == [
        "define"
    ]
    derms.close()


def test_what_cannot_be_recorded_does_not_hold(derms, monkeypatch):
    """On a full disk nothing is made, changed, deleted or promised."""
    derms.define_group(LOCAL, "unrecorded", rule="kind = battery_home")
    held = derms.claim(LOCAL, "unrecorded", kind="reserve", up_kw=1.0).claim

    def full(self, entries):
        del self, entries
        raise RecordFull("no room")

    monkeypatch.setattr(SqliteRecord, "append", full)
    for ask in (
        lambda: derms.define_group(LOCAL, "new"),
        lambda: derms.change_group(LOCAL, "unrecorded", join=["pv-0001"]),
        lambda: derms.claim(LOCAL, "unrecorded", kind="offer", up_kw=1.0),
        lambda: derms.release(LOCAL, held.id),
    ):
        with pytest.raises(RecordFull):
            ask()
    monkeypatch.undo()
    assert derms.group(LOCAL, "unrecorded").definition.version == "1.0.0"
    assert "new" not in [group.id for group in derms.groups(LOCAL)]
    assert derms.claims(LOCAL) == [held]


def _system(rows):
    return System.build(feeder_document(SCENARIO.feeder), rows)


def _kept(system, *asked):
    """Groups defined one after the other, and their entries as a ledger has them."""
    known, entries = VirtualDers.over(system.groups), []
    for definition in asked:
        step = known.define(definition, "anna", 1_000)
        assert step.rejected == ()
        head = {"group": definition.id, "verb": "define", "text": definition.id}
        entries.append(entry_of(step, head, 1_000))
        known = step.after
    return known, entries


def test_groups_follow_a_registry_that_changed_while_the_system_was_down():
    """Members that left are left out, minor versions tell; a rule without its group waits for its return."""
    rows = World(SCENARIO).registry
    homes = [row["id"] for row in rows if row["kind"] == "BATTERY_HOME"]
    whole, fewer = _system(rows), _system([row for row in rows if row["kind"] != "BATTERY_HOME"])
    asked = (
        Definition("pair", members=(homes[0], "pv-0001")),
        Definition("town", children=("pair", "type/battery_home"), members=("pv-0002",)),
        Definition("homes", terms=Terms("phases has a", inside=("type/battery_home",))),
        Definition("still", terms=Terms("kind = pv_rooftop")),
    )
    before, entries = _kept(whole, *asked)
    same, told = rebuilt(whole.groups, entries, 2_000)
    assert told == []
    for name in ("pair", "town", "homes", "still"):
        assert same.definition(name) == before.definition(name)
        assert np.array_equal(same.groups.rows(name), before.groups.rows(name))
    after, told = rebuilt(fewer.groups, entries, 2_000)
    assert [(e.kind, e.head["group"], e.head["verb"]) for e in told] == [
        (KIND, "pair", "follow"),
        (KIND, "town", "follow"),
        (KIND, "homes", "missing"),
    ]
    assert after.definition("pair").members == ("pv-0001",)
    assert after.version("pair")[1:] == (1, 1, 0)
    assert after.definition("town").children == ("pair",)
    assert "homes" not in after
    back, told = rebuilt(whole.groups, [*entries, *told], 3_000)
    assert "homes" in back
    assert [e.head["group"] for e in told] == []


def test_an_import_while_the_system_was_down_moves_rule_groups(tmp_path):
    """A restart with more resources enlarges a rule's group, as an event and a minor version tell."""
    rows = World(SCENARIO).registry
    late = [row["id"] for row in rows if row["kind"] == "PV_ROOFTOP"][:3]
    derms = _open(tmp_path, registry=[row for row in rows if row["id"] not in late])
    made = derms.define_group(LOCAL, "roofs", rule="kind = pv_rooftop")
    derms.close()
    again = _open(tmp_path, registry=rows)
    view = again.group(LOCAL, "roofs")
    assert (view.group.members, view.definition.version) == (made.count + 3, "1.1.0")
    told = next(event for event in again.events(LOCAL) if event.kind == KIND)
    assert told.text == f"group 'roofs' follows the registry: {made.count + 3} members, {made.count} before"
    again.close()


# ---- looking, and from outside -------------------------------------------------------------------


def test_a_query_chooses_among_the_living(derms):
    """Members of a group that fulfil a query; of one that is none the position is told."""
    found = derms.resources(LOCAL, "section/s2", 1_000, "kind = pv_rooftop and not phases has a")
    assert found
    assert all(r.kind == "pv_rooftop" and "a" not in r.phases for r in found)
    assert "character 6" in _faults(derms.resources, "all", 5, "kind ~ pv")["query"]


def test_the_doctor_looks_at_the_living(derms):
    """Findings have resources, reason and remedy; what could not be looked at is named."""
    seen = derms.examine(VERA)
    assert seen.resources > 200
    assert all(f.count >= len(f.resources) > 0 and f.reason and f.remedy for f in seen.findings)
    assert "transformer-missing" in seen.skipped


def test_groups_change_while_the_system_ticks(derms):
    """Ticks and previews go on beside changes of the groups, none of them fails, and the last state holds."""
    done = []

    def regroup():
        for k in range(12):
            derms.define_group(LOCAL, f"g{k}", rule=f"p_max_kw > {k}")
            derms.propose(LOCAL, f"g{k}", p_hi_kw=1e4, minutes=5, dry_run=True)
            done.append(derms.delete_group(LOCAL, f"g{k}").count)

    beside = threading.Thread(target=regroup)
    beside.start()
    while beside.is_alive():
        _next(derms)
        derms.groups(LOCAL)
    assert len(done) == 12
    assert not [group.id for group in derms.groups(LOCAL) if group.id.startswith("g")]


def test_rest_makes_changes_and_deletes(derms, tmp_path):
    """The same verbs over HTTP, with their refusals as field, rule and reason."""
    users = Users(tmp_path)
    headers = {"Authorization": f"Bearer {users.add('omar', Role.OPERATOR)}"}

    async def told():
        transport = httpx.ASGITransport(build(derms, users))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gridflock", headers=headers
        ) as site:
            group = {"group": "east/b", "rule": "kind = pv_rooftop", "inside": ["section/s2"]}
            answers = [
                await site.post("/api/groups", json=group),
                await site.post("/api/groups", json=group | {"titel": "x"}),
                await site.patch("/api/groups/east/b", json={"version": "0.9.0", "title": "East"}),
                await site.patch("/api/groups/east/b", json={"version": "1.0.0", "title": "East"}),
                await site.get("/api/resources", params={"group": "east/b", "query": "phases = b or"}),
                await site.post("/api/claims", json={"group": "east/b", "kind": "offer", "down_kw": 0.5}),
                await site.delete("/api/groups/east/b"),
                await site.get("/api/doctor"),
            ]
            held = (await site.get("/api/claims")).json()[0]["id"]
            answers.append(await site.delete(f"/api/claims/{held}"))
            answers.append(await site.delete("/api/groups/east/b", params={"version": "1.0.1"}))
            return answers

    answers = asyncio.run(told())
    assert [answer.status_code for answer in answers] == [200, 422, 422, 200, 422, 200, 422, 200, 200, 200]
    assert answers[0].json()["definition"]["inside"] == ["section/s2"]
    assert answers[2].json()["detail"][0]["field"] == "version"
    assert "character 14" in answers[4].json()["detail"][0]["reason"]
    assert "claim" in answers[6].json()["detail"][0]["reason"]


def test_no_body_gets_half_in(derms, tmp_path):
    """Texts that are no Unicode and what stands beside a shape: answered, and groups are shown as before."""
    users = Users(tmp_path)
    headers = {"Authorization": f"Bearer {users.add('omar', Role.OPERATOR)}"}
    headers["Content-Type"] = "application/json"
    beside = BLOCK | {"note": "\ud800", "more": [[]]}

    async def told():
        transport = httpx.ASGITransport(build(derms, users))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gridflock", headers=headers
        ) as site:
            bodies = [{names: ["\ud800"]} for names in ("members", "children", "parents", "inside")]
            bodies += [{"place": {}}, {"place": {"type": "Polygon", "coordinates": [[[10**400, 1]]]}}]
            refused = [
                await site.post("/api/groups", content=json.dumps({"group": "odd"} | body)) for body in bodies
            ]
            made = await site.post("/api/groups", content=json.dumps({"group": "block", "place": beside}))
            return refused, [made, await site.get("/api/groups/block"), await site.get("/api/groups")]

    refused, shown = asyncio.run(told())
    assert [answer.status_code for answer in refused] == [422] * 6
    assert [answer.status_code for answer in shown] == [200] * 3
    assert shown[1].json()["definition"]["place"] == BLOCK


def test_the_loop_sees_one_state_of_the_groups(derms):
    """A new state is a new system; the one before is as it was, whoever still works with it."""
    before = derms._loop.system
    derms.define_group(LOCAL, "new", members=["pv-0001"])
    after = derms._loop.system
    assert "new" not in before.rows_of
    assert after.rows_of["new"].tolist() == [after.fleet.row_of["pv-0001"]]
    assert replace(after, groups=before.groups).rows_of["all"] is before.rows_of["all"]
    names = list(after.rows_of)
    assert len(names) == len(after.rows_of) == len(set(names))
