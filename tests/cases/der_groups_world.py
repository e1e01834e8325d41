"""A small fleet with readings, and short ways to speak with its register of groups."""

from dataclasses import replace

import numpy as np

from gridflock.fleet import Fleet, Groups, capability
from gridflock.fleet.functions import GroupRegister, Present
from gridflock.model import (
    GroupDefinition,
    GroupDispatch,
    GroupMessage,
    GroupName,
    Parameter,
    ParameterSchedule,
    Readings,
    Verb,
)
from gridflock.schema import QUANTITY

NOW_S = 1_700_000_100
MRID = "0a1b2c3d-0000-4000-8000-00000000000{}"

PV, HOME, CAR, ENGINE, HEAT, LOAD = (
    {"kind": "pv_rooftop", "p_max_kw": 6.0, "s_max_kva": 7.0, "ramp_kw_s": 0.5},
    {"kind": "battery_home", "p_max_kw": 5.0, "p_min_kw": -4.0, "s_max_kva": 5.0, "e_max_kwh": 12.0},
    {"kind": "ev_v1g", "p_min_kw": -7.0, "e_max_kwh": 40.0},
    {"kind": "genset", "p_max_kw": 80.0, "p_floor_kw": 10.0, "ramp_kw_s": 1.0},
    {"kind": "water_heater", "p_min_kw": -3.0, "on_off": 1, "e_max_kwh": 6.0},
    {"kind": "load"},
)
ROWS = (
    ("pv1", PV, {"p_kw": 4.0, "p_avail_kw": 4.0, "q_kvar": 0.5, "v_pu": 1.02}),
    ("pv2", PV, {"p_kw": 3.0, "p_avail_kw": 3.5, "q_kvar": -0.25, "v_pu": 1.03}),
    ("bat1", HOME, {"p_kw": 1.0, "e_kwh": 6.0, "q_kvar": 0.25, "v_pu": 0.99}),
    ("bat2", HOME, {"p_kw": -2.0, "e_kwh": 7.0, "q_kvar": 0.0, "v_pu": 1.0}),
    ("ev1", CAR, {"p_kw": -3.5, "e_kwh": 10.0}),
    ("gen1", ENGINE, {"p_kw": 20.0, "q_kvar": 4.0}),
    ("heat1", HEAT, {"p_kw": -3.0, "e_kwh": 3.0, "v_pu": 0.97}),
    ("load1", LOAD, {"p_kw": -30.0, "q_kvar": -8.0, "v_pu": 0.96}),
)
"""Id, nameplate, readings."""


def fleet():
    """Eight resources with readings of now; each has an mRID beside its id."""
    rows = [
        {"id": name, "bus": f"b{k}", "phases": "a", "mrid": MRID.format(k)} | plate
        for k, (name, plate, _) in enumerate(ROWS)
    ]
    found, rejected = Fleet.from_rows(rows, {f"b{k}": 7 for k in range(len(ROWS))})
    assert rejected == ()
    cells = [
        (found.ids.index(name), QUANTITY[quantity], value)
        for name, _, readings in ROWS
        for quantity, value in ({"ready": 1.0} | readings).items()
    ]
    index, quantity, value = zip(*cells, strict=True)
    m = len(cells)
    readings = Readings(
        found.ids,
        np.array(index, dtype=np.int32),
        np.array(quantity, dtype=np.uint8),
        np.array(value),
        np.full(m, NOW_S - 10, dtype=np.int64),
        np.zeros(m, dtype=np.uint8),
    )
    assert found.ingest(readings, NOW_S) == ()
    return found


class Desk:
    """A register and one who speaks with it; the register moves on with each message."""

    def __init__(self, name="gridflock", of=None):
        self.fleet = of or fleet()
        self.register = GroupRegister.over(Groups(self.fleet), name)
        image = self.fleet.image(NOW_S)
        self.present = Present(image, capability(image))
        self.count = 0

    def say(self, verb, body, now_s=NOW_S, sender="adms"):
        """Send a message of its own; the reply."""
        self.count += 1
        return self.hear(GroupMessage(f"m{self.count}", sender, now_s, Verb(verb), body), now_s)

    def hear(self, message, now_s=NOW_S):
        """Take a message as it is; the reply."""
        self.register, reply = self.register.take(message, now_s, self.present)
        return reply

    def create(self, mrid, members, **more):
        """Create a group; the reply, which must be good."""
        reply = self.say("create", GroupDefinition(mrid, members=tuple(members), **more))
        assert reply.done, reply.rejected
        return reply

    def members(self, mrid):
        """All resources of a group by id."""
        return {self.fleet.ids[row] for row in self.register.groups.rows(mrid)}

    def rows(self, mrid):
        """Rows of a group, found from the members' ids."""
        return [self.fleet.row_of[name] for name in sorted(self.members(mrid))]

    def with_forecast(self, forecast):
        """Let a forecast be known."""
        self.present = replace(self.present, forecast=forecast)


def town():
    """A desk with a group of sun, one of batteries, and one of both and a car."""
    desk = Desk()
    desk.create("sun", ("pv1", "pv2"), names=(GroupName("Sun roofs", "alias", "utility"),))
    desk.create("store", ("bat1", "bat2"))
    desk.create("street", ("sun", "store", "ev1"))
    return desk


def reason(reply):
    """The one thing that is wrong: field and ids behind the message's own, and rule."""
    assert len(reply.rejected) == 1, reply.rejected
    fault = reply.rejected[0]
    assert fault.ids[0] == reply.message
    return fault.field, fault.ids[1:], fault.reason


def dispatched(desk, group):
    """Dispatch ``d1``: half an hour of active power from a group; the reply, which must be good."""
    schedule = (ParameterSchedule(Parameter.ACTIVE_POWER, (1.0, 2.0)),)
    reply = desk.say("create", GroupDispatch("d1", group, NOW_S, 900, schedule, author="control room"))
    assert reply.done, reply.rejected
    return reply
