"""EPRI's cases on dispatch (family DERGD) and connection (DERGCD) of groups of IEC 61968-5.

The titles of the families are public, the lettered variants are not: which variant stands for which
letter is ours.
"""

import importlib
import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gridflock.dispatch import arbitrate
from gridflock.fleet.functions import group_forecast
from gridflock.model import (
    ConnectControl,
    ConnectWish,
    CurveStyle,
    DerFunction,
    DispatchRemoval,
    Forecast,
    GroupChange,
    GroupDispatch,
    Parameter,
    ParameterLimit,
    ParameterSchedule,
    ParameterWish,
    Priority,
    Proposal,
)
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("der_groups_world")
NOW_S, reason = world.NOW_S, world.reason
ACTIVE = Parameter.ACTIVE_POWER


def desk_with_engine():
    """The town with a group of everything that has functions for power."""
    desk = world.town()
    desk.create("plant", ("street", "gen1", "heat1"))
    return desk


def want(desk, group, *schedules, **more):
    """Dispatch ``d1`` in quarters of an hour from now; the reply."""
    body = GroupDispatch("d1", group, NOW_S, 900, schedules, author="control room", why="peak", **more)
    return desk.say("create", body)


def able_kw(desk, group):
    """Bounds of a group's power, from its members."""
    rows, able = desk.rows(group), desk.present.capability
    return able.p_lo_kw[rows].sum(), able.p_hi_kw[rows].sum()


def test_61968_dergd_1a():
    """A constrained schedule within reach becomes one proposal for each interval, and is what is given.

    Family DERGD, dispatch (IEC 61968-5, 5.7). The variant is ours: the paid text is not public.
    """
    desk = desk_with_engine()
    lo, hi = able_kw(desk, "plant")
    values = (0.5 * hi, 0.25 * lo + 0.75 * hi, hi)
    reply = want(desk, "plant", ParameterSchedule(ACTIVE, values), priority=Priority.EVENT)
    assert (reply.done, reply.shortfalls) == (True, ())
    assert [wish.p_kw for wish in reply.wishes] == pytest.approx(values, rel=1e-9)
    edges = [NOW_S + 900 * k for k in range(4)]
    assert [(wish.start_s, wish.until_s) for wish in reply.wishes] == list(pairwise(edges))
    assert len({wish.id for wish in reply.wishes}) == 3
    for wish in reply.wishes:
        assert isinstance(wish, Proposal)
        assert (wish.group, wish.priority, wish.author, wish.why) == (
            "plant",
            Priority.EVENT,
            "control room",
            "peak",
        )
    image, able = desk.present.image, desk.present.capability
    unasked = np.full(image.n, np.nan)
    targets = arbitrate(reply.wishes[:1], desk.register.groups.rows, image, able, unasked)
    assert targets.grants[0].given_kw == pytest.approx(values[0], abs=1e-6)


def test_61968_dergd_1b():
    """Of straight lines each interval wants the mean, so that the energy is the curve's.

    Family DERGD, dispatch (5.7): curve style. The variant is ours: the paid text is not public.
    """
    desk = desk_with_engine()
    edges = (4.0, 10.0, 30.0, 26.0)
    schedule = ParameterSchedule(ACTIVE, edges, (0.0, 4.0, 20.0, 20.0), (40.0, 40.0, 50.0, 60.0))
    reply = want(desk, "plant", schedule, style=CurveStyle.STRAIGHT_LINE)
    assert [wish.p_kw for wish in reply.wishes] == [7.0, 20.0, 28.0]
    assert [(wish.p_lo_kw, wish.p_hi_kw) for wish in reply.wishes] == [
        (2.0, 40.0),
        (12.0, 45.0),
        (20.0, 55.0),
    ]
    energy_kwh = sum(wish.p_kw * (wish.until_s - wish.start_s) / 3600 for wish in reply.wishes)
    assert energy_kwh == pytest.approx(np.trapezoid(edges, dx=0.25))


def test_61968_dergd_1c():
    """A constrained schedule is clipped to what the group can do, and the rest named with its reason.

    Family DERGD, constrained dispatch (5.7): by what members can do now, by the forecast of an interval,
    by declared capability. The variant is ours: the paid text is not public.
    """
    desk = desk_with_engine()
    lo, hi = able_kw(desk, "plant")
    reply = want(desk, "plant", ParameterSchedule(ACTIVE, (hi + 12.5, 1.0, lo - 7.0)))
    assert [wish.p_kw for wish in reply.wishes] == pytest.approx([hi, 1.0, lo])
    told = [(s.interval, s.asked - s.given, s.why) for s in reply.shortfalls]
    assert told == [
        (0, pytest.approx(12.5), "beyond what the members can do now"),
        (2, pytest.approx(-7.0), "beyond what the members can do now"),
    ]
    assert desk.say("delete", DispatchRemoval("d1")).withdrawn == tuple(w.id for w in reply.wishes)
    grid = TimeGrid.uniform(NOW_S + 900, 600, 3)
    value = np.array([[[-2.0, -3.0, -1.0], [0.0, 0.0, 0.0], [9.0, 5.0, 7.0]]])
    foretold = Forecast(grid, ("plant",), np.array([0.1, 0.5, 0.9]), value, NOW_S)
    desk.with_forecast(group_forecast(desk.register.groups, ("plant",), foretold)[0])
    assert desk.say("change", GroupChange("plant", limits=(ParameterLimit(ACTIVE, -1.5, 50.0),))).done
    reply = want(desk, "plant", ParameterSchedule(ACTIVE, (60.0, 60.0, -60.0, 60.0)))
    assert [wish.p_kw for wish in reply.wishes] == pytest.approx([50.0, 5.0, -1.0, 50.0])
    assert [s.why for s in reply.shortfalls] == [
        "beyond the declared capability",
        "beyond the forecast of the interval",
        "beyond the forecast of the interval",
        "beyond the declared capability",
    ]


def test_61968_dergd_1d():
    """An unconstrained schedule is wanted as it is; what is in vain, arbitration says when it comes to it.

    Family DERGD, unconstrained dispatch (5.7). The variant is ours: the paid text is not public.
    """
    desk = desk_with_engine()
    _, hi = able_kw(desk, "plant")
    desk.present, present = None, desk.present
    asked = (10.0 * hi, -500.0)
    reply = want(desk, "plant", ParameterSchedule(ACTIVE, asked), constrained=False)
    assert [wish.p_kw for wish in reply.wishes] == list(asked)
    assert reply.shortfalls == ()
    assert math.isinf(reply.wishes[0].p_hi_kw)
    unasked = np.full(present.image.n, np.nan)
    able, rows_of = present.capability, desk.register.groups.rows
    grant = arbitrate(reply.wishes[:1], rows_of, present.image, able, unasked).grants[0]
    assert (grant.asked_kw, grant.given_kw) == (asked[0], pytest.approx(hi))
    other = GroupDispatch("d2", "plant", NOW_S, 900, (ParameterSchedule(ACTIVE, (1.0,)),), author="x")
    assert reason(desk.say("create", other))[0] == "constrained"


def test_61968_dergd_1e():
    """All twelve parameters can be dispatched together; faults are named, and nothing of them is wanted.

    Family DERGD, dispatch (5.7) with the DERFunction flags it takes (5.9). The variant is ours: the paid
    text is not public.
    """
    desk = desk_with_engine()
    schedules = [ParameterSchedule(parameter, (0.9, 1.0)) for parameter in Parameter]
    reply = want(desk, "plant", *schedules)
    assert (reply.done, reply.shortfalls, len(reply.wishes)) == (True, (), 24)
    kinds = {wish.parameter for wish in reply.wishes if isinstance(wish, ParameterWish)}
    assert kinds == set(Parameter) - {ACTIVE}
    assert sum(isinstance(wish, Proposal) for wish in reply.wishes) == 2
    good = GroupDispatch("d2", "plant", NOW_S, 900, (schedules[0],), author="control room")
    assert good.mrid not in desk.register.dispatches
    before = desk.register
    for fault, field in (
        ({"mrid": "d1"}, "mrid"),
        ({"group": "nobody"}, "group"),
        ({"author": " "}, "author"),
        ({"interval_s": 0}, "interval_s"),
        ({"start_s": NOW_S - 1800}, "until_s"),
        ({"start_s": -1}, "start_s"),
        ({"interval_s": 2**62}, "until_s"),
        ({"schedules": (ParameterSchedule(ACTIVE, (0.0,) * 100_001),)}, "activePower"),
        ({"schedules": ()}, "schedules"),
        ({"schedules": (schedules[0], schedules[0])}, "schedules"),
        ({"schedules": (schedules[0], ParameterSchedule(Parameter.VOLTAGE, (1.0,)))}, "voltage"),
        ({"schedules": (ParameterSchedule(ACTIVE, (math.nan,)),)}, "activePower"),
        ({"schedules": (ParameterSchedule(ACTIVE, (1.0,), (2.0,), (1.0,)),)}, "activePower"),
        ({"schedules": (ParameterSchedule(Parameter.APPARENT_POWER, (-1.0,)),)}, "apparentPower"),
        (
            {"schedules": (ParameterSchedule(ACTIVE, (1.0,)),), "style": CurveStyle.STRAIGHT_LINE},
            "activePower",
        ),
    ):
        found = {fault.field for fault in desk.say("create", replace(good, **fault)).rejected}
        assert field in found, (fault, found)
        assert desk.register is before
    sun = replace(good, group="sun", schedules=(ParameterSchedule(Parameter.HIGH_FILTER_UP, (1.0,)),))
    field, _, rule = reason(desk.say("create", sun))
    assert (field, "real_power_dispatch" in rule) == ("group", True)
    assert desk.say("change", GroupChange("plant", functions=DerFunction.REACTIVE_POWER_DISPATCH)).done
    assert reason(desk.say("create", good))[0] == "group"
    later = replace(good, group="store", start_s=NOW_S + 1800)
    assert desk.say("create", later, now_s=NOW_S + 1800).done
    assert set(desk.register.dispatches) == {"d2"}


# ---- connect and disconnect ----------------------------------------------------------------------------


def connect(*targets, on=False, **more):
    """A control for half an hour."""
    return ConnectControl("c1", targets, on, NOW_S, NOW_S + 1800, author="shift leader", why="works", **more)


def test_61968_dergcd_1a():
    """Disconnecting a group becomes one wish with authority and end; no device and no power is touched.

    Family DERGCD, connect and disconnect (IEC 61968-5, 5.8). The variant is ours: the paid text is not
    public.
    """
    desk = world.town()
    groups, before = desk.register.groups, desk.present.image.p_kw.copy()
    reply = desk.say("create", connect("street"))
    assert reply.done
    assert reply.wishes == (
        ConnectWish(
            "c1:street",
            "street",
            connect=False,
            priority=Priority.OPERATOR,
            author="shift leader",
            why="works",
            start_s=NOW_S,
            until_s=NOW_S + 1800,
        ),
    )
    assert desk.register.groups is groups
    np.testing.assert_array_equal(desk.present.image.p_kw, before)


def test_61968_dergcd_1b():
    """Connecting groups again takes no operator, and a wish that is not needed any more is withdrawn.

    Family DERGCD, connect and disconnect (5.8). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    assert desk.say("create", connect("sun", "store")).done
    ended = desk.say("delete", DispatchRemoval("c1"))
    assert ended.withdrawn == ("c1:sun", "c1:store")
    again = desk.say("create", connect("sun", "store", on=True, priority=Priority.SCHEDULE))
    assert [(wish.group, wish.connect) for wish in again.wishes] == [("sun", True), ("store", True)]
    assert reason(desk.say("delete", DispatchRemoval("c2")))[:2] == ("mrid", ("c2",))


def test_61968_dergcd_1c():
    """A control of single devices gives one wish for each, in the order named, beside those of groups.

    Family DERGCD, EndDeviceControls (5.8). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    reply = desk.say("create", connect("gen1", "sun", "ev1"))
    assert [wish.group for wish in reply.wishes] == ["gen1", "sun", "ev1"]
    assert {(wish.start_s, wish.until_s) for wish in reply.wishes} == {(NOW_S, NOW_S + 1800)}
    message = desk.register.seen["adms", "m4"][0]
    once = desk.register
    assert desk.hear(message).wishes == reply.wishes
    assert desk.register is once


def test_61968_dergcd_1d():
    """Without authority, end, or anything that could switch, a control is refused as a whole.

    Family DERGCD, connect and disconnect (5.8) with its DERFunction flag (5.9). The variant is ours: the
    paid text is not public.
    """
    desk = world.town()
    desk.create("lent", ("bat1",), functions=DerFunction.REAL_POWER_DISPATCH)
    before = desk.register
    for control, field, named in (
        (connect("sun", priority=Priority.MARKET), "priority", "c1"),
        (replace(connect("sun"), author=""), "author", "c1"),
        (replace(connect("sun"), until_s=NOW_S), "until_s", "c1"),
        (connect(), "targets", "c1"),
        (connect("sun", "sun"), "targets", "c1"),
        (connect("sun", "nobody"), "targets", "nobody"),
        (connect("sun", "load1"), "targets", "load1"),
        (connect("lent"), "targets", "lent"),
    ):
        faults = {(fault.field, fault.ids[1]) for fault in desk.say("create", control).rejected}
        assert (field, named) in faults, (control, faults)
        assert desk.register is before
    assert desk.register.dispatches == {}
