"""Laws of the register of groups: what it says is what its members are, however it came to that."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet
from gridflock.fleet.functions import discovered, parameter_status
from gridflock.fleet.groups import ByRow
from gridflock.model import (
    DerFunction,
    GroupChange,
    GroupDefinition,
    GroupMessage,
    GroupRemoval,
    OperationSet,
    Parameter,
    ParameterStatus,
    RampControl,
    RampWish,
    Verb,
    VoltageControl,
)
from gridflock.schema import attribute

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))
world = importlib.import_module("der_groups_world")
NOW_S, reason = world.NOW_S, world.reason
FLEET = world.fleet()
IDS = tuple(row[0] for row in world.ROWS)
GROUPS = ("g0", "g1", "g2", "g3")

members = st.lists(st.sampled_from((*IDS, *GROUPS)), max_size=4, unique=True).map(tuple)
operations = st.one_of(
    st.builds(GroupDefinition, st.sampled_from(GROUPS), members=members),
    st.builds(GroupChange, st.sampled_from(GROUPS), join=members, leave=members),
    st.builds(GroupChange, st.sampled_from(GROUPS), members=members),
    st.builds(GroupRemoval, st.sampled_from(GROUPS), cascade=st.booleans()),
)
VERBS = {GroupDefinition: "create", GroupChange: "change", GroupRemoval: "delete"}


def reached(register, mrid):
    """Resources of a group by walking the definitions."""
    definition, found = register.definition(mrid), set()
    for member in definition.members:
        found |= reached(register, member) if member in register.records else {member}
    return found


def state(register):
    """Everything a register says of its groups."""
    return {mrid: register.definition(mrid) for mrid in register.records}


@given(st.lists(operations, max_size=14))
@settings(max_examples=150)
def test_definitions_and_members_never_part(asked):
    """After any messages the members of each group are those that its definitions reach, versions rise."""
    desk = world.Desk(of=FLEET)
    for body in asked:
        before = desk.register
        reply = desk.say(VERBS[type(body)], body)
        assert reply.done == (desk.register is not before)
        for mrid, group in state(desk.register).items():
            assert desk.members(mrid) == reached(desk.register, mrid)
            earlier = before.records.get(mrid)
            assert earlier is None or not earlier.version.newer(group.version)
            if reply.done and mrid == body.mrid and earlier is not None:
                assert group.version.newer(earlier.version)


@given(st.lists(operations, max_size=8))
@settings(max_examples=100)
def test_an_operation_set_is_its_operations_one_by_one(asked):
    """A set does what its operations do in turn, or, where one of these is refused, nothing."""
    one, other = world.Desk(of=FLEET), world.Desk(of=FLEET)
    good = all(one.say(VERBS[type(body)], body).done for body in asked) and bool(asked)
    before = other.register
    assert other.say("execute", OperationSet(tuple(asked))).done == good
    if good:
        assert state(other.register) == state(one.register)
    else:
        assert other.register is before


@given(st.lists(operations, max_size=10), st.data())
@settings(max_examples=100)
def test_a_register_that_hears_everything_says_the_same(asked, data):
    """Whoever takes in all events, some twice, ends with the same groups, as long as devices are members."""
    ours, theirs = world.Desk(of=FLEET), world.Desk("far", of=FLEET)
    ours.register = ours.register.subscribed("far")
    for body in asked:
        flat = {
            name: tuple(m for m in getattr(body, name) if m in IDS)
            for name in ("members", "join", "leave")
            if getattr(body, name, None)
        }
        ours.say(VERBS[type(body)], replace(body, **flat))
    events = ours.register.waiting("far")
    repeated = data.draw(st.permutations([*events, *events[::2]]))
    for message in repeated:
        assert theirs.hear(message).done
    assert {m: replace(g, version=None) for m, g in state(theirs.register).items()} == {
        m: replace(g, version=None) for m, g in state(ours.register).items()
    }
    assert all(g.version == theirs.register.definition(m).version for m, g in state(ours.register).items())


def test_a_request_twice_is_done_once():
    """The same message again gets the same answer and does nothing; its id with another body is refused."""
    desk = world.town()
    message = GroupMessage("once", "adms", NOW_S, Verb.CREATE, GroupDefinition("g1", members=("gen1",)))
    reply = desk.hear(message)
    after = desk.register
    assert desk.hear(message) is reply
    other = replace(message, body=GroupDefinition("g2"))
    assert reason(desk.hear(other))[0] == "id"
    assert desk.register is after
    assert desk.hear(replace(other, sender="scada")).done


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_status_is_the_sum_over_members(seed):
    """All extensive parameters of all groups are sums over their members, whatever the groups are."""
    rng = np.random.default_rng(seed)
    desk = world.Desk(of=FLEET)
    for k in range(4):
        chosen = [name for name in IDS if rng.random() < 0.5]
        desk.create(f"g{k}", (*chosen, *(g for g in GROUPS[:k] if rng.random() < 0.5)))
    for k, name in enumerate(IDS):
        desk.create(f"only{k}", (name,))
    status = parameter_status(desk.register.groups, desk.present, (*GROUPS, *(f"only{k}" for k in range(8))))
    assert isinstance(status, ParameterStatus)
    single = {name: 4 + k for k, name in enumerate(IDS)}
    halves = {Parameter.HIGH_FILTER_BIDIRECTIONAL, Parameter.LOW_FILTER_BIDIRECTIONAL}
    for p, parameter in enumerate(status.parameters):
        if parameter in {Parameter.VOLTAGE, Parameter.APPARENT_POWER} | halves:
            continue
        for g, name in enumerate(GROUPS):
            at = [single[member] for member in desk.members(name)]
            for part in (status.lowest, status.highest, status.installed_lo, status.installed_hi):
                assert part[g, p] == pytest.approx(part[at, p].sum(), abs=1e-6)
            if at and not np.isnan(status.nominal[at, p]).all():
                assert status.nominal[g, p] == pytest.approx(np.nansum(status.nominal[at, p]), abs=1e-6)


def test_functions_are_discovered_from_kinds_and_settings():
    """What a group can be asked for: by any member, by every member, and by how many."""
    desk = world.town()
    desk.create("plant", ("street", "gen1", "heat1", "load1"))
    found = discovered(desk.register.groups, ("sun", "store", "plant"))
    curves = DerFunction.FREQUENCY_WATT | DerFunction.VOLT_WATT | DerFunction.VOLT_VAR
    reactive = DerFunction.REACTIVE_POWER_DISPATCH | DerFunction.VOLTAGE_REGULATION
    common = DerFunction.CONNECT_DISCONNECT | DerFunction.REAL_POWER_LIMITING | curves | reactive
    assert found["sun"].all_of == found["sun"].any_of == common | DerFunction.RAMP_RATE_CONTROL
    assert found["store"].all_of == common | DerFunction.REAL_POWER_DISPATCH
    assert found["plant"].all_of == DerFunction.NONE
    assert found["plant"].any_of == DerFunction(511)
    assert found["plant"].able[DerFunction.CONNECT_DISCONNECT] == 7
    assert found["plant"].able[DerFunction.RAMP_RATE_CONTROL] == 3
    assert found["plant"].able[DerFunction.REAL_POWER_DISPATCH] == 5
    rows = [{"id": "s", "kind": "battery_home", "bus": "b", "phases": "a", "enrolment": "suspended"}]
    idle, _ = Fleet.from_rows(rows, {"b": 7})
    groups = type(desk.register.groups)(idle)
    assert groups.add("g", "G", ("s",)) == ()
    assert discovered(groups, ("g",))["g"].any_of == DerFunction.NONE
    assert attribute("ramp_kw_s").default == attribute("ramp_kw_s").high


def test_voltage_regulation_becomes_a_wish_with_an_end():
    """A target with a dead band for a group that can; senseless targets and others are refused."""
    desk = world.town()
    control = VoltageControl("v1", "store", 1.01, 0.01, NOW_S, NOW_S + 3600, author="grid desk")
    (wish,) = desk.say("create", control).wishes
    assert (wish.parameter, wish.group, wish.value) == (Parameter.VOLTAGE, "store", 1.01)
    assert (wish.lo, wish.hi) == (pytest.approx(1.0), pytest.approx(1.02))
    assert (wish.start_s, wish.until_s) == (NOW_S, NOW_S + 3600)
    desk.create("plain", ("gen1", "ev1"))
    for other, field in (
        (replace(control, mrid="v2", v_pu=230.0), "v_pu"),
        (replace(control, mrid="v2", v_pu=float("nan")), "v_pu"),
        (replace(control, mrid="v2", band_pu=-0.1), "band_pu"),
        (replace(control, mrid="v2", until_s=NOW_S), "until_s"),
        (replace(control, mrid="v2", group="plain"), "group"),
    ):
        assert field in {fault.field for fault in desk.say("create", other).rejected}


def test_voltage_ramp_control_becomes_a_wish_with_a_curve():
    """Rates follow the voltage on straight lines and stay beyond the ends; a faulty curve is refused."""
    desk = world.town()
    control = RampControl(
        "r1", "sun", (0.95, 1.05), (2.0, 0.5), (1.0, 3.0), NOW_S, NOW_S + 3600, author="grid desk"
    )
    (wish,) = desk.say("create", control).wishes
    assert isinstance(wish, RampWish)
    assert wish.rates_kw_s(1.0) == (pytest.approx(1.25), pytest.approx(2.0))
    assert wish.rates_kw_s(0.9) == (2.0, 1.0)
    assert wish.rates_kw_s(1.2) == (0.5, 3.0)
    for other, field in (
        (replace(control, mrid="r2", v_pu=(1.05, 0.95)), "v_pu"),
        (replace(control, mrid="r2", up_kw_s=(1.0,)), "v_pu"),
        (replace(control, mrid="r2", v_pu=(), up_kw_s=(), down_kw_s=()), "v_pu"),
        (replace(control, mrid="r2", down_kw_s=(1.0, -1.0)), "up_kw_s"),
        (replace(control, mrid="r2", group="store"), "group"),
    ):
        assert reason(desk.say("create", other))[0] == field


def test_members_that_come_and_go_by_themselves_raise_the_version_and_are_told():
    """A retired resource leaves its groups by following the registry: a minor version and an event."""
    desk = world.town()
    desk.register = desk.register.subscribed("adms", ("sun", "street", "store"))
    rows = [
        {"id": name, "bus": f"b{k}", "phases": "a"} | plate
        for k, (name, plate, _) in enumerate(world.ROWS)
        if name != "pv2"
    ]
    later, _ = Fleet.from_rows(rows, {f"b{k}": 7 for k in range(8)})
    groups, changes = desk.register.groups.follow(later, time_s=NOW_S + 60)
    desk.register, desk.fleet = desk.register.followed(groups, changes, NOW_S + 60), later
    assert desk.register.definition("sun").members == ("pv1",)
    assert desk.register.definition("sun").version == (NOW_S + 60, 1, 1, 0)
    told = {m.body.mrid: m.body.version for m in desk.register.waiting("adms")}
    assert told == dict.fromkeys(("sun", "street"), (NOW_S + 60, 1, 1, 0))
    desk.present = None
    changed = desk.say("change", GroupChange("sun", join=("gen1",))).groups[0]
    assert changed.version[1:] == (2, 0, 0)
    assert desk.members("street") == {"pv1", "gen1", "bat1", "bat2", "ev1"}


def test_groups_that_are_no_message_s_can_be_asked_for_but_not_changed():
    """Groups of levels and rules answer queries with all their resources; messages do not change them."""
    desk = world.town()
    code = np.arange(len(desk.fleet.ids), dtype=np.int32) % 2
    assert desk.register.groups.add_level("plate", ByRow(("odd", "even"), code)) == ()
    group = desk.register.definition("plate/odd")
    assert group.members == tuple(desk.fleet.ids[::2])
    assert reason(desk.say("change", GroupChange("plate/odd", join=("pv1",))))[0] == "mrid"
    assert reason(desk.say("delete", GroupRemoval("plate/odd")))[0] == "mrid"
    assert desk.say("change", GroupChange("store", join=("plate/odd",))).done
    assert desk.members("store") >= set(desk.fleet.ids[::2])
