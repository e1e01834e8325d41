"""Arbitration as a table: wishes in, what each group gets out, in plain kilowatts.

The fleet: ten batteries of ±5 kW at rest, four in the north and six in the south; five sun roofs
in the south that offer 4 kW each; four loads of 3 kW, two in each section. No losses, and the
feeder head measures what these make together.
"""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gridflock.dispatch import GuardLimits, Policy, Response, step
from gridflock.fleet import Fleet, Groups
from gridflock.model import Envelope, Priority, Proposal
from gridflock.schema import Kind
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))
world = importlib.import_module("dispatch_world")

NOW_S = world.NOW_S
BATTERY = {
    "kind": "BATTERY_HOME",
    "p_max_kw": 5.0,
    "p_min_kw": -5.0,
    "e_max_kwh": 20.0,
    "eff_charge": 1.0,
    "eff_discharge": 1.0,
}
OPERATOR, EVENT, MARKET, SCHEDULE = Priority.OPERATOR, Priority.EVENT, Priority.MARKET, Priority.SCHEDULE
TOTAL_KW = 5 * 4.0 - 4 * 3.0
"""What all resources make before anybody asks: 20 kW of sun less 12 kW of load."""


def build():
    """The fleet of the table, its groups and its image."""
    rows = [{"id": f"b{i}", "bus": "north" if i < 4 else "south", "phases": "a"} | BATTERY for i in range(10)]
    rows += [
        {"id": f"pv{i}", "kind": "PV_ROOFTOP", "bus": "south", "phases": "a", "p_max_kw": 6} for i in range(5)
    ]
    rows += [
        {"id": f"load{i}", "kind": "LOAD", "bus": "north" if i < 2 else "south", "phases": "a"}
        for i in range(4)
    ]
    rows += [{"id": "head", "kind": "FEEDER_HEAD", "bus": "north", "phases": "a"}]
    fleet, rejected = Fleet.from_rows(rows, {"north": 1, "south": 1})
    assert not rejected
    groups = Groups.standard(fleet, {"north": "north", "south": "south"}, {})
    groups.add("b45", "two batteries of the south", ["b4", "b5"], parents=["section/south"])
    groups.add("stores/north", "batteries of the north", [f"b{i}" for i in range(4)])
    groups.add("stores/south", "batteries of the south", [f"b{i}" for i in range(4, 10)])
    kind = fleet.columns["kind"]
    p_kw = np.select(
        [kind == Kind.PV_ROOFTOP, kind == Kind.LOAD, kind == Kind.FEEDER_HEAD], [4.0, -3.0, TOTAL_KW]
    )
    values = {
        "p_kw": p_kw,
        "p_avail_kw": np.where(kind == Kind.PV_ROOFTOP, 4.0, np.nan),
        "e_kwh": np.where(kind == Kind.BATTERY_HOME, 10.0, np.nan),
        "ready": np.ones(len(fleet.ids)),
    }
    return fleet, groups, world.tell(fleet, values)


FLEET, GROUPS, IMAGE = build()
ROWS = {name: GROUPS.rows(name) for name in GROUPS.ids}
NORTH, SOUTH, ALL = "section/north", "section/south", "all"
BATTERIES = "type/battery_home"


def want(name, group, p_kw=None, priority=OPERATOR, lo=-np.inf, hi=np.inf, start_s=-60, until_s=600):
    """A wish; times from now."""
    return Proposal(name, group, priority, "test", "because", NOW_S + start_s, NOW_S + until_s, p_kw, lo, hi)


def limit(group, lo, hi, until_s=600):
    """An envelope."""
    return Envelope(group, lo, hi, "line 7", NOW_S + until_s)


def plan(p_kw, **settings):
    """A plan by group."""
    return world.schedule_of(list(p_kw), list(p_kw.values()), **settings)


def decide(proposals=(), envelopes=(), schedule=None):
    """One tick from rest, with a guard that does not bind."""
    policy = Policy(guard=GuardLimits(step_kw=1e9))
    return step(IMAGE, schedule, envelopes, proposals, ROWS, Response.empty(IMAGE.n), policy)


def sums(decision):
    """What each group makes: targets, and present power where nobody asked."""
    p_kw = np.where(np.isnan(decision.targets.p_kw), np.nan_to_num(IMAGE.p_kw), decision.targets.p_kw)
    return {name: float(p_kw[rows].sum()) for name, rows in ROWS.items()}


P_NORTH, P_SOUTH, SUN = "stores/north", "stores/south", "type/pv_rooftop"

TABLE = [
    # what it shows, wishes, envelopes, plan, sums in kW by group, shortfalls in kW by wish and cause
    ("nobody asks", [], [], None, {ALL: 8, BATTERIES: 0}, {}),
    ("a want", [want("w", BATTERIES, 20)], [], None, {BATTERIES: 20, ALL: 28}, {}),
    ("loads count in the sum they are part of", [want("w", NORTH, 4)], [], None, {NORTH: 4, P_NORTH: 10}, {}),
    ("more than there is", [want("w", NORTH, 20)], [], None, {NORTH: 14}, {"w": {"nameplate": 6}}),
    ("nobody to ask", [want("w", "demand", 0)], [], None, {"demand": -12}, {"w": {"no free member": 12}}),
    (
        "operator over plan",
        [want("w", BATTERIES, 10)],
        [],
        {P_NORTH: -20, P_SOUTH: -20},
        {BATTERIES: 10},
        {f"plan:{P_NORTH}": {"no free member": -24}, f"plan:{P_SOUTH}": {"no free member": -26}},
    ),
    (
        "plan beside operator",
        [want("w", P_NORTH, 10)],
        [],
        {P_NORTH: -20, P_SOUTH: -12},
        {P_NORTH: 10, P_SOUTH: -12},
        {f"plan:{P_NORTH}": {"no free member": -30}},
    ),
    (
        "event over market, whichever came first",
        [want("m", P_NORTH, 5, MARKET, start_s=-600), want("e", P_NORTH, -5, EVENT)],
        [],
        None,
        {P_NORTH: -5},
        {"m": {"no free member": 10}},
    ),
    (
        "of one priority and group, the older",
        [want("z", P_NORTH, 5, start_s=-600), want("a", P_NORTH, -5)],
        [],
        None,
        {P_NORTH: 5},
        {"a": {"no free member": -10}},
    ),
    (
        "a group and its parent, of one priority: both, whichever came first",
        [want("parent", BATTERIES, 0, start_s=-600), want("part", "b45", 10)],
        [],
        None,
        {"b45": 10, BATTERIES: 0},
        {},
    ),
    (
        "three nested groups by falling priority",
        [want("x", "b45", 10), want("y", P_SOUTH, 0, EVENT), want("z", BATTERIES, 12, MARKET)],
        [],
        None,
        {"b45": 10, P_SOUTH: 0, BATTERIES: 12, P_NORTH: 12},
        {},
    ),
    (
        "the rest of a group whose part is held",
        [want("x", P_NORTH, 20), want("z", BATTERIES, -25, MARKET)],
        [],
        None,
        {P_NORTH: 20, P_SOUTH: -30, BATTERIES: -10},
        {"z": {"nameplate": -15}},
    ),
    (
        "envelope over operator",
        [want("w", P_NORTH, 20)],
        [limit(NORTH, -50, 4)],
        None,
        {NORTH: 4, P_NORTH: 10},
        {"w": {f"held by envelope:{NORTH}": 10}},
    ),
    (
        "an envelope takes from the plan before the operator",
        [want("w", P_NORTH, 20)],
        [limit(ALL, -50, 20)],
        {P_SOUTH: 10},
        {P_NORTH: 20, P_SOUTH: -8, ALL: 20},
        {f"plan:{P_SOUTH}": {"held by envelope:all": 18}},
    ),
    (
        "batteries before sun",
        [],
        [limit(SOUTH, -50, 0)],
        None,
        {SOUTH: 0, P_SOUTH: -14, SUN: 20},
        {},
    ),
    (
        "then the sun",
        [],
        [limit(SOUTH, -50, -25)],
        None,
        {SOUTH: -25, P_SOUTH: -30, SUN: 11},
        {},
    ),
    (
        "an envelope that cannot be met",
        [],
        [limit(NORTH, 20, 50)],
        None,
        {NORTH: 14},
        {f"envelope:{NORTH}": {"limits of what may move": 6}},
    ),
    (
        "what a bound takes from a part, the rest of the group gives",
        [want("w", BATTERIES, 20, MARKET)],
        [limit(NORTH, -50, -4)],
        None,
        {NORTH: -4, P_NORTH: 2, P_SOUTH: 18, BATTERIES: 20},
        {},
    ),
    (
        "nested envelopes hold together",
        [want("w", BATTERIES, 50, MARKET)],
        [limit(ALL, -50, 30), limit(SOUTH, -50, 20)],
        None,
        {SOUTH: 20, P_SOUTH: 6, P_NORTH: 16, ALL: 30},
        {"w": {f"held by envelope:{SOUTH}": 24, "held by envelope:all": 4}},
    ),
    (
        "a want inside its own bounds",
        [want("w", BATTERIES, 40, hi=25)],
        [],
        None,
        {BATTERIES: 25},
        {},
    ),
    (
        "operator's bound on the plan",
        [want("w", BATTERIES, lo=-10, hi=10)],
        [],
        {P_NORTH: 20, P_SOUTH: 5},
        {BATTERIES: 10},
        {f"plan:{P_NORTH}": {"held by w": 15}},
    ),
    ("a bound does not move the weightier", [want("w", P_NORTH, 20)], [], {P_NORTH: 0}, {P_NORTH: 20}, None),
    ("an expired wish", [want("old", P_NORTH, 9, until_s=0)], [], None, {P_NORTH: 0}, {}),
    ("a future wish", [want("new", P_NORTH, 9, start_s=1)], [], None, {P_NORTH: 0}, {}),
    ("in force from its start", [want("now", P_NORTH, 9, start_s=0, until_s=1)], [], None, {P_NORTH: 9}, {}),
    ("expired envelope", [want("w", P_NORTH, 9)], [limit(NORTH, 0, 0, until_s=0)], None, {P_NORTH: 9}, {}),
    ("an unknown group", [want("w", "elm", 9), want("v", P_NORTH, 9)], [], None, {P_NORTH: 9}, {}),
    ("an event's bound may pause the sun", [want("e", SUN, None, EVENT, hi=5)], [], None, {SUN: 5}, {}),
    ("the planned peak", [], [], ({P_NORTH: -20, P_SOUTH: 0}, 4.0), {ALL: -4, P_NORTH: None}, None),
]  # fmt: skip


@pytest.mark.parametrize(("wishes", "envelopes", "planned", "expected", "short"), [row[1:] for row in TABLE],
                         ids=[row[0] for row in TABLE])  # fmt: skip
def test_what_each_group_gets(wishes, envelopes, planned, expected, short):
    """The sums of the named groups and the shortfalls by cause are those of the table."""
    p_kw, peak_kw = planned if isinstance(planned, tuple) else (planned, 1e6)
    schedule = None if planned is None else plan(p_kw, peak_kw=peak_kw)
    decision = decide(wishes, envelopes, schedule)
    found = sums(decision)
    for group, kw in expected.items():
        assert kw is None or found[group] == pytest.approx(kw, abs=1e-6), group
    if short is None:
        return
    causes = {g.proposal.id: dict(g.causes) for g in decision.grants if abs(g.shortfall_kw) > 1e-6}
    assert causes.keys() == short.keys()
    for name, named in short.items():
        assert causes[name] == pytest.approx(named, abs=1e-6), name


def test_unknown_groups_and_crossed_bounds_are_rejected():
    """Wishes, envelopes and plans on unknown groups are named; a crossed envelope is, too, and holds."""
    schedule = plan({"stores/elm": 5.0, P_NORTH: 5.0})
    decision = decide([want("w", "elm", 9)], [limit("oak", 0, 1), limit(NORTH, 4, -6)], schedule)
    found = {(fault.component, fault.field, fault.ids) for fault in decision.rejected}
    assert found == {
        ("proposal", "group", ("w",)),
        ("schedule", "groups", ("stores/elm",)),
        ("envelope", "group", ("oak",)),
        ("envelope", "p_lo_kw", (NORTH,)),
    }
    assert sums(decision)[NORTH] == pytest.approx(0.0, abs=1e-6)


def test_the_head_envelope_bounds_the_feeder():
    """The head measures 30 kW less than the resources make: an import limit of 40 kW leaves them -10 kW."""
    values = np.array(IMAGE.p_kw)
    values[IMAGE.kind == Kind.FEEDER_HEAD] = TOTAL_KW - 30.0
    image = dataclasses.replace(IMAGE, p_kw=values)
    policy = Policy(guard=GuardLimits(step_kw=1e9))
    wish = [want("w", BATTERIES, -50)]
    decision = step(image, None, [limit(ALL, -40, 1e3)], wish, ROWS, Response.empty(IMAGE.n), policy)
    assert sums(decision)[ALL] == pytest.approx(-10.0, abs=1e-6)


@pytest.mark.parametrize("trouble", ["absent", "stale"])
def test_without_the_head_its_envelope_holds_on_what_is_metered(trouble):
    """No fresh reading of the head: its bound holds on the resources' sum, is not dropped, and says so."""
    head = IMAGE.kind == Kind.FEEDER_HEAD
    p_kw, heard_s = np.array(IMAGE.p_kw), np.array(IMAGE.heard_s)
    if trouble == "absent":
        p_kw[head] = np.nan
    else:
        p_kw[head], heard_s[head] = 500.0, NOW_S - 3_600
    image = dataclasses.replace(IMAGE, p_kw=p_kw, heard_s=heard_s)
    policy = Policy(guard=GuardLimits(step_kw=1e9))
    wish = [want("w", BATTERIES, -50)]
    decision = step(image, None, [limit(ALL, -40, 1e3)], wish, ROWS, Response.empty(IMAGE.n), policy)
    assert sums(decision)[ALL] == pytest.approx(-40.0, abs=1e-6)
    assert "not measured" in decision.grants[0].proposal.why


def test_sun_is_planned_as_a_share_of_what_it_offers():
    """A plan to keep half of the forecast sun keeps half of the sun that shines."""
    grid = TimeGrid.uniform(NOW_S - NOW_S % 900, 900, 4)
    name = SUN
    schedule = dataclasses.replace(plan({name: 15.0}, base_kw=[30.0]), grid=grid)
    assert sums(decide(schedule=schedule))[name] == pytest.approx(10.0, abs=1e-6)


def test_a_plan_that_asks_for_what_happens_anyway_asks_nothing():
    """Sun planned at its forecast is left alone; batteries planned at rest are held there."""
    schedule = plan({SUN: 20.0, P_NORTH: 0.0}, base_kw=[20.0, 0.0])
    decision = decide(schedule=schedule)
    assert np.isnan(decision.targets.p_kw[ROWS[SUN]]).all()
    assert (decision.targets.p_kw[ROWS[P_NORTH]] == 0).all()
