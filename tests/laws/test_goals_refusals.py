"""Bad input to goals: field and goal are named, the goal is left out, and the rest is planned."""

from __future__ import annotations

import importlib
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from gridflock.model import Flexibility
from gridflock.plan.goals import Ranked, pursue
from gridflock.plan.goals.bounds import (
    Departures,
    Event,
    LoadShape,
    Need,
    PowerLimit,
    RampLimit,
    Reserve,
    Stage,
    VoltageReduction,
)
from gridflock.plan.goals.fairness import (
    CallBound,
    FairShare,
    Ledger,
)
from gridflock.plan.goals.money import Carbon, DemandCharge, EnergyCost, Losses, SelfConsumption, Wear
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("goals_world")
MEMBERS, NOW_S, goal_of, world = here.MEMBERS, here.NOW_S, here.goal_of, here.world

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


NAN = float("nan")


def bad_goals(f):
    """Goals with one wrong field each: the goal, and the field to be named."""
    t, n = f.grid.edges_s, f.grid.n
    stage = Stage(t[1], 2.0)
    event = Event(t[1], t[3], (stage,), ("T1",))
    fair = FairShare({"a": ("sun0",)}, "injecting", 1.0)
    calls = CallBound({"a": ("sun0",)}, Ledger(), "injecting")
    return [
        (EnergyCost(np.full(n, NAN), 0.0), "import_price"),
        (EnergyCost(0.1, np.inf), "export_price"),
        (EnergyCost(0.1, 0.2), "export_price"),
        (EnergyCost(np.zeros(n + 1), 0.0), "import_price"),
        (EnergyCost("dear", 0.0), "import_price"),
        (DemandCharge(NAN), "price"),
        (DemandCharge(1.0, -1.0), "so_far_kw"),
        (DemandCharge(1.0, members=("nobody",)), "members"),
        (DemandCharge(1.0, beside_kw=NAN), "beside_kw"),
        (DemandCharge(1.0, windows=((t[2], t[1]),)), "windows"),
        (SelfConsumption(-1.0), "worth"),
        (Carbon(np.full(n, -1.0), 0.1), "kg_per_kwh"),
        (Carbon(0.1, NAN), "price"),
        (Losses({"nobody": 0.1}, 0.1), "factor"),
        (Losses({"sun0": 2.0}, 0.1), "factor"),
        (Losses({"sun0": NAN}, 0.1), "factor"),
        (Losses({"sun0": 0.1}, -0.1), "price"),
        (Wear({"store0": -0.1}), "price"),
        (Wear({"nobody": 0.1}), "price"),
        (PowerLimit(-1.0), "import_kw"),
        (PowerLimit(export_kw=NAN), "export_kw"),
        (PowerLimit(1.0, members={"store0": 2.0}), "members"),
        (PowerLimit(1.0, price=np.inf), "price"),
        (PowerLimit(1.0, beside_kw=np.full(n, np.inf)), "beside_kw"),
        (RampLimit(-1.0), "kw_per_min"),
        (RampLimit(1.0, ("nobody",)), "members"),
        (RampLimit(1.0, beside_kw=NAN), "beside_kw"),
        (RampLimit(1.0, price=NAN), "price"),
        (RampLimit(1.0, before_kw=np.inf), "before_kw"),
        (LoadShape(np.full(n, NAN)), "target_kw"),
        (LoadShape(-5.0, band=-0.1), "band"),
        (LoadShape(-5.0, members=("nobody",)), "members"),
        (LoadShape(-5.0, beside_kw=NAN), "beside_kw"),
        (LoadShape(-5.0, from_s=t[3], until_s=t[1]), "until_s"),
        (LoadShape(-5.0, from_s=t[1] + 1, until_s=t[1] + 2), "from_s"),
        (LoadShape(-5.0, response=0.0), "response"),
        (LoadShape(-5.0, price=-1.0), "price"),
        (replace(event, end_s=t[0]), "end_s"),
        (replace(event, end_s=t[1]), "end_s"),
        (replace(event, start_s=t[-1], end_s=t[-1] + 900), "start_s"),
        (replace(event, stages=()), "stages"),
        (replace(event, stages=(stage, stage)), "stages"),
        (replace(event, stages=(Stage(t[1], -1.0),)), "rise_kw"),
        (replace(event, stages=(Stage(t[1], NAN),)), "rise_kw"),
        (replace(event, stages=(Stage(t[0], 1.0),)), "from_s"),
        (replace(event, members=("nobody",)), "members"),
        (replace(event, opted_out=("nobody",)), "opted_out"),
        (replace(event, opted_out=("sun0",)), "opted_out"),
        (replace(event, opted_out=("T1",)), "opted_out"),
        (replace(event, notice_s=-1.0), "notice_s"),
        (replace(event, rebound_kw=-1.0), "rebound_kw"),
        (replace(event, rebound_kw=NAN), "rebound_kw"),
        (replace(event, rebound_s=NAN), "rebound_s"),
        (replace(event, price=NAN), "price"),
        (replace(event, rebound_price=-1.0), "rebound_price"),
        (Reserve({"nobody": 1.0}), "kwh"),
        (Reserve({"sun0": 1.0}), "kwh"),
        (Reserve({"store0": -1.0}), "kwh"),
        (Reserve({"store0": 1e3}), "kwh"),
        (Reserve({"store0": 1.0}, t[3], t[1]), "until_s"),
        (Reserve({"store0": 1.0}, t[-1] + 1), "from_s"),
        (Departures((Need("store0", t[2], 1.0), Need("store0", t[2], 2.0))), "needs"),
        (Departures((Need("nobody", t[2], 1.0),)), "group"),
        (Departures((Need("store0", t[0], 1.0),)), "by_s"),
        (Departures((Need("store0", t[2], NAN),)), "kwh"),
        (Departures((Need("store0", t[2], 1e3),)), "kwh"),
        (VoltageReduction(0.5, 0.8, -1.0, 0.1), "target_v_pu"),
        (VoltageReduction(0.97, NAN, -1.0, 0.1), "factor"),
        (VoltageReduction(0.97, 0.8, 1.0, 0.1), "load_kw"),
        (VoltageReduction(0.97, 0.8, -1.0, -0.1), "price"),
        (replace(fair, participants={}), "participants"),
        (replace(fair, participants={"a": ("nobody",)}), "participants"),
        (replace(fair, direction="up"), "direction"),
        (replace(fair, alpha=-1.0), "alpha"),
        (replace(fair, requested_kwh={"a": 0.0}), "requested_kwh"),
        (replace(fair, requested_kwh={"b": 1.0}), "requested_kwh"),
        (replace(fair, participants={"a": ("store0",)}, direction="drawing", from_s=t[4] + 1), "from_s"),
        (replace(fair, direction="drawing"), "requested_kwh"),
        (replace(fair, weight={"a": NAN}), "weight"),
        (replace(fair, worth=-1.0), "worth"),
        (replace(fair, segments=0), "segments"),
        (replace(fair, until_s=t[0]), "from_s"),
        (replace(calls, participants={}), "participants"),
        (replace(calls, participants={"a": ("nobody",)}), "participants"),
        (replace(calls, direction=""), "direction"),
        (replace(calls, times_median=0.5), "times_median"),
        (replace(calls, price=NAN), "price"),
        (replace(calls, until_s=-np.inf), "until_s"),
        (replace(calls, ledger=Ledger(calls={"a": NAN})), "ledger"),
        (replace(calls, ledger=Ledger(keep=2.0)), "ledger"),
    ]


@pytest.mark.parametrize("case", range(len(bad_goals(world(3)[0]))))
def test_a_wrong_field_is_named_and_its_goal_left_out(case):
    """Goal and field are named, nothing is raised, and the plan is that of the goals that are sound."""
    f, fixed, _rng = world(3)
    goal, name = bad_goals(f)[case]
    sound = SelfConsumption(0.1, name="sound")
    got = pursue([sound, goal], f, fixed, NOW_S, MEMBERS)
    assert name in {r.field for r in got.rejected if r.ids[0] == goal.name}
    assert [line.goal for line in got.table] == ["sound"]
    without = pursue([sound], f, fixed, NOW_S, MEMBERS)
    assert got.schedule.p_kw.tobytes() == without.schedule.p_kw.tobytes()


def test_two_goals_of_one_name_are_both_left_out():
    """Which of them a table would speak of could not be said."""
    f, fixed, _ = world(1)
    got = pursue([SelfConsumption(0.1), SelfConsumption(0.2)], f, fixed, NOW_S)
    assert [(r.field, r.count) for r in got.rejected] == [("name", 2)]
    assert got.table == ()


def test_a_rank_that_cannot_be_is_named_and_replaced():
    """A tolerance of nothing or a ratio below one leave the defaults and say so."""
    f, fixed, _ = world(1)
    got = pursue(Ranked((SelfConsumption(0.1),), tolerance=0.0, ratio=NAN), f, fixed, NOW_S)
    assert [r.field for r in got.rejected] == ["tolerance", "ratio"]
    assert len(got.table) == 1


def test_what_cannot_be_planned_rests_with_its_reason():
    """Arrays that do not fit, an empty horizon: a schedule at base, an empty table, the fault named."""
    f, fixed, _ = world(1)
    short = pursue([SelfConsumption(0.1)], f, fixed[:-1], NOW_S)
    assert short.table == ()
    assert [r.field for r in short.rejected] == ["fixed_kw"]
    assert np.isnan(short.schedule.cost)
    empty = replace(f, grid=TimeGrid(np.array([NOW_S])))
    assert [r.field for r in pursue([], empty, np.empty(0), NOW_S).rejected] == ["grid"]


def test_no_goals_and_no_groups_are_problems_too():
    """Nothing wanted costs nothing; nobody there leaves the load as it is."""
    f, fixed, _ = world(1)
    assert pursue([], f, fixed, NOW_S).table == ()
    g = slice(0, 0)
    nobody = Flexibility(
        f.grid, (), f.base_kw[g], f.up_kw[g], f.down_kw[g], f.x_lo_kwh[g], f.x_hi_kwh[g],
        f.gain_up[g], f.gain_down[g], f.cost_up[g], f.cost_down[g],
    )  # fmt: skip
    got = pursue([PowerLimit(1.0, 1.0)], nobody, fixed, NOW_S)
    np.testing.assert_array_equal(got.schedule.net_kw, fixed)
    assert got.table[0].reached > 0


def test_a_broken_group_rests_and_the_goals_go_on():
    """A group with a NaN bound is planned at base and named; the other groups serve the goals."""
    f, fixed, _ = world(1)
    up_kw = f.up_kw.copy()
    up_kw[0, 0] = NAN
    got = pursue([PowerLimit(1.0, 1.0)], replace(f, up_kw=up_kw), fixed, NOW_S)
    assert [(r.field, r.ids) for r in got.rejected] == [("up_kw", ("store0",))]
    np.testing.assert_array_equal(got.schedule.p_kw[0], f.base_kw[0])
    assert len(got.table) == 1


JUNK = (NAN, -1.0, np.inf, -np.inf, 0, 1e9, (), {}, [], "x", None, True, ("nobody",), {"store0": NAN})
JUNK += (np.full(3, 1.0), np.full(5, NAN))


@pytest.mark.parametrize("kind", here.KINDS)
def test_whatever_stands_in_a_field_there_is_a_plan(kind):
    """Any value in any field gives a schedule of finite powers, and never an exception."""
    f, fixed, rng = world(3)
    goal = goal_of(kind, f, rng)
    for entry in fields(goal):
        for junk in JUNK:
            got = pursue([replace(goal, **{entry.name: junk})], f, fixed, NOW_S, MEMBERS)
            assert np.isfinite(got.schedule.p_kw).all()
            assert got.rejected or got.table


def test_a_field_of_another_kind_is_named():
    """A text for a number, a number for a mapping: field and goal are named with what was expected."""
    f, fixed, _ = world(3)
    goals = [DemandCharge("dear"), Wear(0.1), PowerLimit(members="T1"), Reserve({"store0": "much"})]
    got = pursue(goals, f, fixed, NOW_S, MEMBERS)
    named = [(r.ids[0], r.field) for r in got.rejected]
    assert named == [
        ("demand charge", "price"),
        ("wear", "price"),
        ("power limit", "members"),
        ("reserve", "kwh"),
    ]
    assert got.rejected[0].reason == "is of type str, expected float"
