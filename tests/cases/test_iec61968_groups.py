"""EPRI's cases on groups (family DERG) of IEC 61968-5.

The titles of the families are public, the lettered variants are not: which variant stands for which
letter is ours.
"""

import importlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path

from gridflock.model import (
    DerFunction,
    GroupChange,
    GroupDefinition,
    GroupMessage,
    GroupName,
    GroupQuery,
    GroupRemoval,
    GroupVersion,
    OperationSet,
    Parameter,
    ParameterLimit,
    Verb,
)

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("der_groups_world")
NOW_S, reason = world.NOW_S, world.reason


def test_61968_derg_1a():
    """Create a group of resources: it has exactly these members, its words, and a first version.

    Family DERG, group creation (IEC 61968-5, 5.2). The variant is ours: the paid text is not public.
    """
    desk = world.Desk()
    name = GroupName("Elm Street", "alias", "utility")
    reply = desk.create("g1", ("pv1", "bat1", "ev1"), names=(name,), description="roofs and a car")
    group = reply.groups[0]
    assert group.version == GroupVersion(NOW_S, 1, 0, 0)
    assert (group.names, group.description, group.members) == (
        (name,),
        "roofs and a car",
        ("pv1", "bat1", "ev1"),
    )
    assert desk.members("g1") == {"pv1", "bat1", "ev1"}
    powers = {row[0]: row[2]["p_kw"] for row in world.ROWS}
    at = desk.register.groups.at("g1")
    total = desk.register.groups.aggregate(desk.present.image.p_kw)[at]
    assert total == sum(powers[member] for member in group.members)


def test_61968_derg_1b():
    """Create a group of groups and resources; who is reached by several ways counts once, in each group.

    Family DERG, group creation (5.2); a resource may be in many groups. The variant is ours: the paid
    text is not public.
    """
    desk = world.town()
    desk.create("both", ("street", "sun", "pv1", "gen1"))
    assert desk.members("both") == {"pv1", "pv2", "bat1", "bat2", "ev1", "gen1"}
    at = desk.register.groups.at("both")
    total = desk.register.groups.aggregate(desk.present.image.p_kw)[at]
    assert total == 4.0 + 3.0 + 1.0 - 2.0 - 3.5 + 20.0
    assert desk.register.groups.of("pv1") == ("sun", "street", "both")


def test_61968_derg_1c():
    """Create a group whose version, functions and capability are stated, its members named by mRID.

    Family DERG, group creation with version and DERFunction flags (5.2, 5.9). The variant is ours: the
    paid text is not public.
    """
    desk = world.Desk()
    functions = DerFunction.REACTIVE_POWER_DISPATCH | DerFunction.VOLT_VAR
    version = GroupVersion(NOW_S - 500, 3, 1, 4)
    limits = (ParameterLimit(Parameter.REACTIVE_POWER, -2.0, 2.0),)
    members = (world.MRID.format(0), world.MRID.format(2).upper(), "gen1")
    desk.create("g1", members, functions=functions, version=version, limits=limits)
    kept = desk.register.definition("g1")
    assert kept.members == ("pv1", "bat1", "gen1")
    assert (kept.functions, kept.version, kept.limits) == (functions, version, limits)
    told = world.Desk().say("create", GroupDefinition("g1", members=("gen1",), functions=functions))
    field, flags, _ = reason(told)
    assert field == "functions"
    assert set(flags) == {"REACTIVE_POWER_DISPATCH", "VOLT_VAR"}


def test_61968_derg_1d():
    """Create an empty group: it is there, sums to nothing, and takes members later.

    Family DERG, group creation (5.2). The variant is ours: the paid text is not public.
    """
    desk = world.Desk()
    desk.create("g1", (), functions=DerFunction.REAL_POWER_DISPATCH)
    assert desk.members("g1") == set()
    groups = desk.register.groups
    assert groups.aggregate(desk.present.image.p_kw)[groups.at("g1")] == 0.0
    assert desk.say("change", GroupChange("g1", join=("bat1",))).groups[0].members == ("bat1",)


def test_61968_derg_1e():
    """A create that breaks a rule is refused with the message's id, field and rule, and changes nothing.

    Family DERG, group creation (5.2): mRID and names taken, members unknown or repeated, the group in
    itself, limits that cross. The variant is ours: the paid text is not public.
    """
    desk = world.town()
    before = desk.register
    taken = (GroupName("Sun roofs", "alias", "utility"),)
    crossed = (ParameterLimit(Parameter.ACTIVE_POWER, 2.0, -2.0),)
    for body, field in (
        (GroupDefinition("sun", members=("pv1",)), "id"),
        (GroupDefinition("pv1"), "id"),
        (GroupDefinition(" "), "id"),
        (GroupDefinition("g1", members=("pv1", "nobody")), "members"),
        (GroupDefinition("g1", members=("pv1", world.MRID.format(0))), "members"),
        (GroupDefinition("g1", members=("sun", "sun")), "members"),
        (GroupDefinition("g1", members=("g1",)), "id"),
        (GroupDefinition("g1", names=taken), "names"),
        (GroupDefinition("g1", names=(GroupName(""),)), "names"),
        (GroupDefinition("g1", limits=crossed), "limits"),
        (GroupDefinition("g1", version=GroupVersion(NOW_S, 1, -1, 0)), "version"),
    ):
        reply = desk.say("create", body)
        assert reason(reply)[0] == field, (body, reply.rejected)
        assert desk.register is before
    reply = desk.say("delete", GroupDefinition("g1"))
    assert reason(reply)[0] == "verb"


def test_61968_derg_2a():
    """Change a group: members join and leave, flags and words change, and the version rises each time.

    Family DERG, group maintenance (5.3). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    moved = desk.say("change", GroupChange("street", join=("gen1",), leave=("sun", "ev1"))).groups[0]
    assert set(moved.members) == {"store", "gen1"}
    assert desk.members("street") == {"bat1", "bat2", "gen1"}
    assert desk.register.groups.parents("sun") == ()
    flagged = desk.say("change", GroupChange("street", functions=DerFunction.REAL_POWER_DISPATCH)).groups[0]
    reworded = desk.say("change", GroupChange("street", description="batteries and engine")).groups[0]
    whole = desk.say("change", GroupChange("street", members=("store", "ev1"))).groups[0]
    versions = [group.version[1:] for group in (moved, flagged, reworded, whole)]
    assert versions == [(2, 0, 0), (3, 0, 0), (3, 0, 1), (4, 0, 0)]
    assert whole.description == "batteries and engine"
    assert desk.members("street") == {"bat1", "bat2", "ev1"}


def test_61968_derg_2b():
    """A change on a stale version, of nobody, or against a rule is refused and leaves the group alone.

    Family DERG, group maintenance (5.3): versions. The variant is ours: the paid text is not public.
    """
    desk = world.town()
    first = desk.register.definition("street").version
    assert desk.say("change", GroupChange("street", based_on=first, join=("gen1",))).done
    before = desk.register
    field, ids, rule = reason(desk.say("change", GroupChange("street", based_on=first, leave=("ev1",))))
    assert (field, ids) == ("version", ("street",))
    assert "stale" in rule
    for body, field in (
        (GroupChange("nobody", join=("pv1",)), "mrid"),
        (GroupChange("street"), "change"),
        (GroupChange("street", members=before.definition("street").members), "change"),
        (GroupChange("street", based_on=GroupVersion(0, 9, 0, 0), join=("heat1",)), "version"),
        (GroupChange("street", join=("gen1",)), "members"),
        (GroupChange("street", join=("sun",)), "members"),
        (GroupChange("street", leave=("heat1",)), "members"),
        (GroupChange("street", join=("heat1",), members=("heat1",)), "members"),
        (GroupChange("sun", join=("street",)), "children"),
        (GroupChange("sun", functions=DerFunction.REAL_POWER_DISPATCH), "functions"),
    ):
        reply = desk.say("change", body)
        assert reason(reply)[0] == field, (body, reply.rejected)
        assert desk.register is before
    assert desk.register.definition("street").version[1:] == (2, 0, 0)


def test_61968_derg_3():
    """A set of operations is done in its order, all or none; each group is told once.

    Family DERG, operation set (5.3). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.register = desk.register.subscribed("scada")
    good = (
        GroupDefinition("g1", members=("gen1",)),
        GroupChange("street", join=("g1",)),
        GroupChange("g1", join=("heat1",)),
        GroupRemoval("sun", cascade=True),
    )
    bad = desk.say("execute", OperationSet((*good, GroupChange("g1", join=("pv9",)))))
    assert bad.rejected[0].row == 5
    assert "g1" not in desk.register.groups
    assert desk.members("sun") == {"pv1", "pv2"}
    assert desk.register.waiting("scada") == ()
    other_order = desk.say("execute", OperationSet((good[1], good[0])))
    assert other_order.rejected[0].row == 1
    assert desk.say("execute", OperationSet(good)).done
    assert desk.members("street") == {"bat1", "bat2", "ev1", "gen1", "heat1"}
    assert "sun" not in desk.register.groups
    told = [(m.sequence, m.verb, m.body.mrid) for m in desk.register.waiting("scada")]
    assert [number for number, _, _ in told] == [1, 2, 3]
    assert {(verb, mrid) for _, verb, mrid in told} == {
        (Verb.CREATED, "g1"),
        (Verb.CHANGED, "street"),
        (Verb.DELETED, "sun"),
    }


def test_61968_derg_4():
    """Delete a group: members stay; a parent or an open dispatch refuses it, or is cascaded if asked.

    Family DERG, group deletion (5.3). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    dispatch = world.dispatched(desk, "sun")
    before = desk.register
    faults = {fault.field: fault.ids[1:] for fault in desk.say("delete", GroupRemoval("sun")).rejected}
    assert faults == {"mrid": ("street",), "dispatch": ("d1",)}
    assert desk.register is before
    stale = desk.say("delete", GroupRemoval("sun", GroupVersion(0, 0, 9, 9), cascade=True))
    assert reason(stale)[0] == "version"
    reply = desk.say("delete", GroupRemoval("sun", cascade=True))
    assert reply.done
    assert reply.withdrawn == tuple(wish.id for wish in dispatch.wishes)
    assert "sun" not in desk.register.groups
    assert desk.register.dispatches == {}
    assert desk.members("street") == {"bat1", "bat2", "ev1"}
    assert desk.register.definition("street").version[1:] == (2, 0, 0)
    assert desk.say("delete", GroupRemoval("street")).done
    assert desk.members("store") == {"bat1", "bat2"}
    assert reason(desk.say("delete", GroupRemoval("street")))[0] == "mrid"


def test_61968_derg_5a():
    """Query by mRID: definition and membership as they are, direct or flat; unknown ones are named.

    Family DERG, group queries (5.4). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    reply = desk.say("get", GroupQuery(mrids=("street", "nobody", "store")))
    assert [group.mrid for group in reply.groups] == ["street", "store"]
    assert set(reply.groups[0].members) == {"sun", "store", "ev1"}
    assert reason(reply)[:2] == ("mrid", ("nobody",))
    flat = desk.say("get", GroupQuery(mrids=("street",), flat=True)).groups[0]
    assert set(flat.members) == {"pv1", "pv2", "bat1", "bat2", "ev1"}
    assert {group.mrid for group in desk.say("get", GroupQuery()).groups} == {"sun", "store", "street"}


def test_61968_derg_5b():
    """Query by name: type and authority narrow it where they are given.

    Family DERG, group queries (5.4). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("g1", ("gen1",), names=(GroupName("Sun roofs", "alias", "aggregator"),))

    def found(*name):
        return [g.mrid for g in desk.say("get", GroupQuery(names=(GroupName(*name),))).groups]

    assert found("Sun roofs") == ["sun", "g1"]
    assert found("Sun roofs", "alias", "aggregator") == ["g1"]
    assert found("Sun roofs", "", "utility") == ["sun"]
    assert found("Sun roofs", "serial") == []
    missing = desk.say("get", GroupQuery(names=(GroupName("Moon roofs"),)))
    assert reason(missing)[:2] == ("names", ("Moon roofs",))


def test_61968_derg_5c():
    """Query by member: all groups that hold the device, directly or through groups inside, by id or mRID.

    Family DERG, group queries (5.4); many-to-many. The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("again", ("pv1", "gen1"))
    for name in ("pv1", world.MRID.format(0)):
        found = desk.say("get", GroupQuery(devices=(name,))).groups
        assert [group.mrid for group in found] == ["sun", "street", "again"]
    both = desk.say("get", GroupQuery(mrids=("again",), devices=("gen1", "ev1"))).groups
    assert [group.mrid for group in both] == ["again", "street"]
    assert desk.say("get", GroupQuery(devices=("load1",))).groups == ()
    assert reason(desk.say("get", GroupQuery(devices=("pv9",))))[:2] == ("devices", ("pv9",))


def event(number, verb, body):
    """An event of another system."""
    return GroupMessage(f"e{number}", "aggregator", NOW_S, verb, body, number)


def test_61968_derg_6():
    """Take in the event that a group was created elsewhere: same state here, once, changed only there.

    Family DERG, received events (5.2). The variant is ours: the paid text is not public.
    """
    theirs, ours = world.Desk("aggregator"), world.Desk()
    theirs.register = theirs.register.subscribed("gridflock")
    theirs.create("far", ("pv1", "bat1"), names=(GroupName("Far"),), version=GroupVersion(NOW_S, 2, 0, 5))
    (message,) = theirs.register.waiting("gridflock")
    assert (message.verb, message.sequence) == (Verb.CREATED, 1)
    assert ours.hear(message).done
    assert ours.register.definition("far") == theirs.register.definition("far")
    assert ours.members("far") == {"pv1", "bat1"}
    once = ours.register
    assert ours.hear(message).done
    assert ours.register is once
    field, ids, rule = reason(ours.say("change", GroupChange("far", join=("pv2",))))
    assert (field, ids) == ("mrid", ("far",))
    assert "aggregator" in rule
    assert not ours.hear(replace(message, id="x", sender="third", sequence=7)).done
    theirs.register = theirs.register.acknowledged("gridflock", message.sequence)
    assert theirs.register.waiting("gridflock") == ()


def test_61968_derg_7():
    """Take in the event that a group was changed elsewhere; an event on an older version changes nothing.

    Family DERG, received events (5.3). The variant is ours: the paid text is not public.
    """
    theirs, ours = world.Desk("aggregator"), world.Desk()
    theirs.register = theirs.register.subscribed("gridflock")
    theirs.create("far", ("pv1", "bat1"))
    assert theirs.say("change", GroupChange("far", join=("pv2",), leave=("bat1",))).done
    created, changed = theirs.register.waiting("gridflock")
    ours.create("near", ("gen1",))
    assert ours.hear(created).done
    assert ours.say("change", GroupChange("near", join=("far",))).done
    assert ours.hear(changed).done
    assert ours.register.definition("far") == theirs.register.definition("far")
    assert ours.members("near") == {"gen1", "pv1", "pv2"}
    late = replace(changed, id="late", sequence=3, body=created.body)
    assert ours.hear(late).done
    assert ours.members("far") == {"pv1", "pv2"}
    own = replace(changed, id="own", sequence=4, body=replace(changed.body, mrid="near"))
    assert reason(ours.hear(own))[:2] == ("mrid", ("near",))


def test_61968_derg_8():
    """Take in the event that a group was deleted elsewhere: it goes with its dispatches, and stays gone.

    Family DERG, received events (5.3). The variant is ours: the paid text is not public.
    """
    theirs, ours = world.Desk("aggregator"), world.Desk()
    theirs.register = theirs.register.subscribed("gridflock")
    theirs.create("far", ("pv1", "bat1"))
    assert theirs.say("delete", GroupRemoval("far")).done
    created, deleted = theirs.register.waiting("gridflock")
    assert deleted.body.version == created.body.version
    assert ours.hear(created).done
    wishes = tuple(wish.id for wish in world.dispatched(ours, "far").wishes)
    assert ours.hear(deleted).withdrawn == wishes
    assert "far" not in ours.register.groups
    assert ours.hear(replace(created, id="again", sequence=3)).done
    assert "far" not in ours.register.groups
    newer = replace(created.body, version=GroupVersion(NOW_S, 2, 0, 0))
    assert ours.hear(replace(created, id="anew", sequence=4, body=newer)).done
    assert ours.members("far") == {"pv1", "bat1"}


def test_61968_derg_9():
    """Events that are late, repeated and out of order all end in the same state; gaps are named meanwhile.

    Family DERG, received events and their sequence (5.2, 5.3). The variant is ours: the paid text is
    not public.
    """

    def state(version, *members):
        return GroupDefinition("far", members=members, version=GroupVersion(NOW_S, version, 0, 0))

    events = (
        event(1, Verb.CREATED, state(1, "pv1")),
        event(2, Verb.CHANGED, state(2, "pv1", "bat1")),
        event(3, Verb.DELETED, GroupRemoval("far", GroupVersion(NOW_S, 2, 0, 0))),
        event(4, Verb.CREATED, state(3, "ev1", "gen1")),
    )
    for order in itertools.permutations(events):
        desk, arrived = world.Desk(), set()
        for message in (*order, *reversed(order)):
            reply = desk.hear(message)
            assert reply.done
            arrived.add(message.sequence)
            assert set(reply.missing) == set(range(1, max(arrived))) - arrived
        assert desk.members("far") == {"ev1", "gen1"}
        assert desk.register.definition("far").version[1:] == (3, 0, 0)
    unnumbered = world.Desk().hear(replace(events[0], sequence=0))
    assert reason(unnumbered)[0] == "sequence"
