"""Stories of wishes that cannot all hold: the plan names which, in words, and what giving way would cost.

Run with ``-s`` to read them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Terms, plan
from gridflock.plan._terms import Band, Flow
from gridflock.plan.conflict import conflicts
from gridflock.plan.goals import weigh
from gridflock.plan.goals.bounds import Event, Reserve, Stage
from gridflock.plan.goals.money import EnergyCost
from gridflock.units import TimeGrid, unix_s

START_S = unix_s("2026-01-15T20:00:00Z")
GRID = TimeGrid.uniform(START_S, 900, 64)
DENVER = "America/Denver"
"""There the story begins at 13:00."""


def step_of(hour):
    """The step that begins at an hour of the day in Denver."""
    return round((hour - 13) * 4)


def able(*groups):
    """Flexibility of groups given as ``(name, up, down, lo, hi, gain)``; bounds broadcast over the day."""
    n, g = GRID.n, len(groups)
    names, up, down, lo, hi, gain = zip(*groups, strict=True)
    power = [np.stack([np.broadcast_to(v, n) for v in side]).astype(float) for side in (up, down)]
    band = [np.stack([np.broadcast_to(v, n + 1) for v in side]).astype(float) for side in (lo, hi)]
    gain = np.array(gain)
    return Flexibility(
        GRID, names, np.zeros((g, n)), *power, *band, -1 / gain, gain, np.full(g, 0.02), np.full(g, 0.02)
    )


def bus_depot(need_kwh=400.0):
    """Buses that come at 17:00 and leave at 22:00 with what they need; 120 kW of chargers."""
    lo, down = np.zeros(GRID.n + 1), np.zeros(GRID.n)
    lo[step_of(22) :] = need_kwh
    down[step_of(17) : step_of(22)] = 120.0
    return ("bus depot", 0.0, down, lo, 480.0, 0.95)


def battery():
    """A battery of 60 kW and 120 kWh, half full."""
    return ("battery", 60.0, 60.0, -60.0, 60.0, 0.95)


def terms(import_kw=np.inf, **more):
    """A tariff that is dear from 17:00 to 21:00, and one limit."""
    price = np.full(GRID.n, 0.15)
    price[step_of(17) : step_of(21)] = 0.42
    limit = np.broadcast_to(np.asarray(import_kw, dtype=float), (GRID.n,)).copy()
    return Terms(price, 0.4 * price, limit, np.full(GRID.n, np.inf), **more)


def load():
    """A feeder whose load peaks at 19:00."""
    hour = 13 + (GRID.middles_s - START_S) / 3600
    return -(80.0 + 60.0 * np.exp(-(((hour - 19) / 2) ** 2)))


def told(*problem, **more):
    """The conflicts, printed."""
    found = conflicts(*problem, timezone=DENVER, **more)
    for conflict in found:
        print(conflict.text)  # noqa: T201 -- these stories are there to be read
    return found


def slack_kw(*problem):
    """By how much limits give way in the plan."""
    return max((reason.slack_kw for reason in plan(*problem, GRID.start_s).reasons), default=0.0)


def test_buses_want_to_leave_full_and_the_substation_is_small():
    """The head's limit and the departure clash; either alone is fine, and what each gives makes peace."""
    buses, fixed = able(battery(), bus_depot()), load()
    asked = terms(170.0)
    (conflict,) = told(buses, fixed, asked)
    limit, depot = sorted(conflict.members, key=lambda m: m.row, reverse=True)
    assert limit.row == "import limit of the feeder head"
    assert depot.row == "energy owed to bus depot"
    assert depot.wish == "energy owed to bus depot: 400.0 kWh more by 22:00"
    assert "170.0 kW" in limit.wish
    assert "If «" in conflict.text
    assert step_of(17) - 20 <= limit.first_step < limit.until_step <= step_of(22)

    later = able(battery(), bus_depot(400.0 - depot.gives_kwh - 0.01))
    assert slack_kw(later, fixed, asked) < 1e-3
    raised = np.full(GRID.n, 170.0)
    raised[limit.first_step : limit.until_step] += limit.gives_kw
    assert slack_kw(buses, fixed, terms(raised)) < 1e-3
    assert slack_kw(buses, fixed, asked) > 1.0


def test_the_load_alone_is_above_the_limit():
    """One limit that nobody can keep: a set of one, with the kWh and the kW that are missing."""
    (conflict,) = told(able(battery()), load() - 100.0, terms(120.0))
    (only,) = conflict.members
    assert only.row == "import limit of the feeder head"
    assert "cannot hold, whatever the groups do" in conflict.text
    assert only.gives_kwh > 100.0


def test_two_contracts_ask_opposite_things_of_one_battery():
    """A reserve contract wants more injection than the transformer allows: these two are named."""
    until_s = int(GRID.edges_s[4])
    contracts = (
        Envelope("battery", 30.0, np.inf, "reserve contract of Westwind", until_s),
        Envelope("battery", -np.inf, 10.0, "transformer T12, 80 % of its rating", until_s),
    )
    (conflict,) = told(able(battery(), bus_depot(100.0)), load(), terms(group_limits=contracts))
    assert {member.row for member in conflict.members} == {
        "reserve contract of Westwind (limit of battery)",
        "transformer T12, 80 % of its rating (limit of battery)",
    }
    for member in conflict.members:
        assert member.gives_kw == pytest.approx(20.0)
        assert member.gives_kwh == pytest.approx(20.0)


def test_a_departure_that_no_charger_can_reach():
    """More energy than the chargers carry until departure: a conflict with nothing but physics."""
    lo = np.zeros(GRID.n + 1)
    lo[step_of(18) :] = 200.0
    late = list(bus_depot())
    late[3] = lo
    (conflict,) = told(able(tuple(late)), load(), terms())
    (only,) = conflict.members
    assert only.row == "energy owed to bus depot"
    assert only.gives_kwh == pytest.approx(200.0 - 120.0 * 0.95, abs=0.1)


def test_comfort_is_a_wish_where_it_is_said_to_be():
    """A heated hall's band is physics by default; called yielding, it becomes one side of the conflict."""
    down = np.full(GRID.n, 40.0)
    hall = ("sports hall", 0.0, down, np.r_[0.0, np.linspace(5, 380, GRID.n)], 400.0, 1.0)
    fixed = np.full(GRID.n, -90.0)
    strict = told(able(hall), fixed, terms(100.0), yielding=("sports hall",))
    assert {member.row for conflict in strict for member in conflict.members} == {
        "import limit of the feeder head",
        "energy band of sports hall",
    }


def test_a_phase_and_a_departure():
    """Rows of goals take part under their own names."""
    flow = Flow({"bus depot": 1.0 / 3.0}, np.full(GRID.n, -20.0))
    phase = Band(
        "phase b of transformer T7", flow, np.full(GRID.n, -40.0), np.full(GRID.n, np.inf), 10.0, 10.0
    )
    (conflict,) = told(able(bus_depot()), load(), terms(blocks=(phase,)))
    assert {member.row for member in conflict.members} == {
        "phase b of transformer T7",
        "energy owed to bus depot",
    }


def test_a_storm_reserve_and_an_event():
    """Goals clash as well: an event asks for what the storm reserve keeps back."""
    storm = Reserve({"battery": 100.0}, from_s=float(GRID.edges_s[4]))
    calls = (Stage(float(GRID.edges_s[8]), 50.0),)
    event = Event(
        float(GRID.edges_s[8]), float(GRID.edges_s[16]), calls, ("battery",), name="event of the utility"
    )
    weighed = weigh(
        (EnergyCost(terms().import_price, terms().export_price), storm, event),
        able(battery()),
        load(),
        START_S,
    )
    assert not weighed.rejected
    (conflict,) = told(weighed.flexibility, weighed.fixed_kw, weighed.terms)
    assert {member.row for member in conflict.members} == {"event of the utility", "energy owed to battery"}


def test_two_evenings_are_two_conflicts():
    """What clashes at different times with different partners is told apart."""
    until_s = int(GRID.edges_s[4])
    early = Envelope("battery", 61.0, np.inf, "reserve contract of Westwind", until_s)
    found = told(able(battery(), bus_depot()), load(), terms(170.0, group_limits=(early,)))
    assert len(found) == 2
    rows = [{member.row for member in conflict.members} for conflict in found]
    assert {"reserve contract of Westwind (limit of battery)"} in rows
    assert {"import limit of the feeder head", "energy owed to bus depot"} in rows


def test_where_all_can_be_had_nothing_is_told():
    """Without a clash there is no conflict to tell of."""
    assert told(able(battery(), bus_depot(200.0)), load(), terms(300.0)) == ()


def test_a_relaxed_wish_is_worth_its_price():
    """What relaxing saves or costs is what two plans differ by."""
    buses, fixed, asked = able(battery(), bus_depot()), load(), terms(170.0)
    (conflict,) = told(buses, fixed, asked)
    by_row = {member.row: member for member in conflict.members}
    limit = by_row["import limit of the feeder head"]
    free = asked.import_limit_kw.copy()
    free[limit.first_step : limit.until_step] = np.inf
    made, without = (
        plan(buses, fixed, asked, START_S),
        plan(buses, fixed, replace(asked, import_limit_kw=free), START_S),
    )
    beyond = np.maximum(-made.net_kw - asked.import_limit_kw, 0.0) @ GRID.hours
    assert limit.saves == pytest.approx(made.cost - asked.limit_penalty * beyond - without.cost, abs=1e-4)
    assert by_row["energy owed to bus depot"].costs < 0
