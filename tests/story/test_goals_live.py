"""What operators ask of a running system, goal by goal, on the demo feeder; each story prints its table."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._cli import app
from gridflock.plan import explain, unpacked
from gridflock.plan.goals import shown
from gridflock.plan.goals.stated import read
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Settings,
    Users,
    read_goals,
    rehearse,
)
from gridflock.runtime._goals import Aim
from gridflock.sim import Scenario
from gridflock.units import iso

SCENARIO = Scenario(ders=400, seed=7)
JOIN_S = 10 * 3_600
HOUR_S = 3_600
BATTERIES = ["type/battery_home", "type/battery_commercial"]


def say(text):
    """To whoever runs the stories with ``-s``."""
    sys.stdout.write(f"\n{text}\n")


def tick(derms):
    """One minute more."""
    moment = derms.tick()
    derms.clock.sleep_until(moment.now_s + 60)
    return moment


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """A running system at ten in the morning, and its first plan, made for no goals."""
    settings = Settings(in_ac=False, plan_s=HOUR_S)
    derms, _ = rehearse(tmp_path_factory.mktemp("goals"), SCENARIO, settings, join_s=JOIN_S)
    free = tick(derms)
    derms.define_group(LOCAL, "t7", "Transformer T7", children=["type/pv_community", "section/s7"])
    yield derms, free
    derms.close()


def planned_for(derms, *goals, order=None):
    """The plan that follows when these goals are stated."""
    derms.pursue(LOCAL, {"goals": list(goals)} | ({"order": order} if order else {}))
    moment = tick(derms)
    say(shown(moment.planned.aim.table))
    assert not derms.goals(LOCAL).rejected
    return moment


def line_of(moment, name):
    """The goal's line of the plan's table."""
    return next(line for line in moment.planned.aim.table if line.goal == name)


def without(derms, free, goal):
    """What the goal would read of the plan that was made without it."""
    planned, system = free.planned, derms._loop.system
    goals = read({"goals": [goal]})[0].called(free.now_s)
    names = planned.members.flexibility.groups
    rows = np.array([system.fleet.row_of.get(name, -1) for name in names], dtype=np.int32)
    aim = Aim.of(goals, system, free.image, planned.members, rows, planned.fixed_kw, planned.terms)
    p_kw = planned.members.flexibility.base_kw.copy()
    at = {row: k for k, row in enumerate(rows.tolist()) if row >= 0}
    shares = planned.schedule.shares
    for row, own in zip(shares.rows.tolist(), shares.p_kw, strict=True):
        p_kw[at[row]] = own
    return next(line for line in aim.sought.table(p_kw) if line.goal == goal["name"])


def at(free, hours):
    """A moment some hours after the first plan, as text."""
    return iso(free.now_s + round(hours * HOUR_S))


def test_a_transformer_does_not_feed_back(life):
    """No more than so much flows back through it, loads counted; whom that moves is told, with the price."""
    derms, free = life
    limit = {"kind": "power limit", "name": "transformer T7", "members": ["t7"], "export_kw": 20.0}
    assert without(derms, free, limit).facts["most_export_kw"] > 75.0
    moment = planned_for(derms, limit)
    assert line_of(moment, "transformer T7").facts["most_export_kw"] <= 20.0 + 0.5
    reason = next(r for r in moment.schedule.reasons if r.row == "transformer T7")
    assert reason.price > 0.0
    farm = next(name for name in derms._loop.system.fleet.ids if name.startswith("pvc"))
    told = explain(moment.planned.grounds, farm, reason.step)
    part = next(part for part in told.limits if part.name == "transformer T7")
    assert part.price == pytest.approx(-reason.price, rel=1e-6)
    assert "transformer T7" in told.text
    recorded = unpacked(*_entry(derms))
    assert "transformer T7" in {part.name for part in recorded.parts}


def _entry(derms):
    """Head and columns of the newest plan in the ledger."""
    entry = list(derms._record.entries(0, {"plan"}))[-1]
    return dict(entry.head), dict(entry.columns)


def test_batteries_are_kept_for_a_storm(life):
    """From an hour on they hold so much together, each by its size; otherwise they would be emptier."""
    derms, free = life
    reserve = {"kind": "reserve", "name": "storm", "from": at(free, 8), "until": at(free, 12)}
    reserve["kwh"] = {BATTERIES[0]: 250.0, BATTERIES[1]: 250.0}
    assert without(derms, free, reserve).reached > 50.0
    moment = planned_for(derms, reserve)
    assert line_of(moment, "storm").reached < 1.0
    grounds = unpacked(*_entry(derms))
    f = grounds.flexibility
    step = f.grid.step_at(free.now_s + 7 * HOUR_S)
    batteries = [name for name in f.groups if name.startswith("bat")]
    worth = [part.name for name in batteries for part in explain(grounds, name, step).worth_of]
    assert any(name.startswith("kept for storm") for name in worth)


def test_the_feeder_follows_a_shape_for_four_hours(life):
    """The head stays within 3 % of a shape for four hours, and gives up no more than that."""
    derms, free = life
    target = [[at(free, 1), -1_900.0], [at(free, 3), -1_960.0]]
    shape = {"kind": "load shape", "name": "shape", "target_kw": target, "band": 0.03}
    shape |= {"from": at(free, 1), "until": at(free, 5)}
    assert without(derms, free, shape).facts["largest_miss_share"] > 0.04
    moment = planned_for(derms, shape)
    assert line_of(moment, "shape").facts["largest_miss_share"] <= 0.03 + 1e-3


def test_an_event_comes_in_stages_and_its_rebound_is_bounded(life):
    """An hour at the first stage, an hour at the second; afterwards no more than so much comes back."""
    derms, free = life
    call = {"kind": "event", "name": "call", "members": BATTERIES, "notice_s": 1800}
    call |= {"from": at(free, 2), "until": at(free, 4), "rebound_kw": 30.0, "rebound_s": 2 * HOUR_S}
    call["stages"] = [[at(free, 2), 60.0], [at(free, 3), 120.0]]
    moment = planned_for(derms, call)
    facts = line_of(moment, "call").facts
    assert facts["asked_kwh"] == pytest.approx(180.0, abs=1.0)
    assert facts["given_kwh"] >= 0.99 * facts["asked_kwh"]
    assert without(derms, free, call).facts["given_kwh"] < 0.5 * facts["asked_kwh"]
    f, p_kw = moment.planned.members.flexibility, moment.planned.grounds.p_kw
    of = [k for k, name in enumerate(f.groups) if name.startswith("bat")]
    after = (f.grid.starts_s >= free.now_s + 4 * HOUR_S) & (f.grid.starts_s < free.now_s + 6 * HOUR_S)
    assert -(p_kw - f.base_kw)[of].sum(axis=0)[after].min() <= 30.0 + 0.5


def test_an_event_and_a_limit_are_lived(tmp_path):
    """Measured at the devices: batteries rise by the stages, and each tick keeps a limit as the plan does."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(in_ac=False), join_s=JOIN_S)
    start = tick(derms)
    derms.define_group(LOCAL, "t7", "Transformer T7", children=["type/pv_community", "section/s7"])
    half = {"kind": "power limit", "name": "T7", "members": ["t7"], "export_kw": 30.0}
    call = {
        "kind": "event",
        "name": "call",
        "members": BATTERIES,
        "from": at(start, 0.25),
        "until": at(start, 0.75),
    }
    call["stages"] = [[at(start, 0.25), 40.0], [at(start, 0.5), 80.0]]
    derms.pursue(LOCAL, {"goals": [half, call]})
    rows_of, seen = derms._loop.system.rows_of, {"t7": [], "batteries": []}
    batteries = np.concatenate([rows_of[name] for name in BATTERIES])
    for _ in range(45):
        moment = tick(derms)
        seen["t7"].append(float(np.nansum(moment.image.p_kw[rows_of["t7"]])))
        seen["batteries"].append(float(np.nansum(moment.image.p_kw[batteries])))
        held = next(grant for grant in moment.decision.grants if grant.proposal.id == "goal:T7")
        assert held.proposal.p_hi_kw >= 30.0
    first, second = np.mean(seen["batteries"][18:29]), np.mean(seen["batteries"][33:44])
    beyond = "".join("x" if kw > 31.0 else "." for kw in seen["t7"][3:])
    say(f"batteries {first:.0f} kW, then {second:.0f} kW; T7 beyond 30 kW: {beyond}")
    assert second - first >= 0.8 * 40.0
    assert "xxxx" not in beyond
    derms.close()


def test_the_declared_order_holds(life):
    """An event and a limit that cannot both be met: the one that is ranked first is."""
    derms, free = life
    call = {"kind": "event", "name": "call", "members": BATTERIES, "from": at(free, 2), "until": at(free, 4)}
    call |= {"stages": [[at(free, 2), 120.0]], "price": 1.0}
    limit = {"kind": "power limit", "name": "T7", "members": BATTERIES, "export_kw": 50.0, "price": 1.0}
    first = planned_for(derms, call, limit, order=["call", "T7", "energy cost"])
    assert line_of(first, "call").reached < 1.0 < line_of(first, "T7").reached
    second = planned_for(derms, call, limit, order=["T7", "call", "energy cost"])
    assert line_of(second, "T7").reached < 1.0 < line_of(second, "call").reached


def test_goals_taken_back_leave_the_plan_as_it_was(life):
    """With no goals the plan is what it is without any; goals that are over or far ahead change nothing."""
    derms, free = life
    limit = {"kind": "power limit", "name": "T7", "members": ["t7"], "export_kw": 0.0}
    derms.pursue(LOCAL, {"goals": []})
    bare = tick(derms)
    assert bare.planned.aim is None
    derms.pursue(
        LOCAL, {"goals": [limit | {"until": at(free, -1)}, limit | {"name": "then", "from": at(free, 900)}]}
    )
    again = tick(derms)
    assert again.planned.aim is None
    assert [line.state for line in derms.goals(LOCAL).goals] == ["over", "ahead"]
    assert again.schedule.made_at_s == again.now_s
    assert not derms.plan(LOCAL).goals


def test_what_is_wrong_with_goals_is_told_at_once(life):
    """Every fault with its goal, field and rule; the goals before still hold."""
    derms, _ = life
    derms.pursue(LOCAL, {"goals": [{"kind": "self-consumption", "worth": 0.01}]})
    bad = [
        {"kind": "power limit", "name": "x", "members": ["nowhere"], "export_kw": 10},
        {"kind": "reserve", "name": "y", "kwh": {BATTERIES[0]: 1e6}},
    ]
    with pytest.raises(RequestRejected, match="nowhere"):
        derms.pursue(LOCAL, {"goals": bad})
    with pytest.raises(RequestRejected, match="more than its stores hold"):
        derms.pursue(LOCAL, {"goals": bad[1:]})
    assert [line.goal for line in derms.goals(LOCAL).goals] == ["self-consumption"]


def test_goals_live_through_a_restart_and_are_replaced_by_a_file(tmp_path):
    """What was stated holds after a restart, with its moment; a file given at the start takes its place."""
    settings = Settings(in_ac=False, managed=False)
    derms, _ = rehearse(tmp_path / "life", SCENARIO, settings, join_s=JOIN_S)
    tick(derms)
    stated_at = derms.pursue(LOCAL, {"goals": [{"kind": "self-consumption", "worth": 0.01}]}).stated_at
    users = Users(tmp_path / "life")
    viewer = users.scope(users.add("eve", Role.VIEWER))
    with pytest.raises(AccessDenied):
        derms.pursue(viewer, {"goals": []})
    tick(derms)
    derms.close()
    again, _ = rehearse(tmp_path / "life", SCENARIO, settings)
    tick(again)
    view = again.goals(LOCAL)
    assert ([line.goal for line in view.goals], view.stated_at) == (["self-consumption"], stated_at)
    assert any(
        event.kind == "change" and "goals: self-consumption" in event.text for event in again.events(LOCAL)
    )
    again.close()
    file = tmp_path / "goals.json"
    file.write_text(json.dumps({"goals": [{"kind": "carbon", "kg_per_kwh": 0.3, "price": 0.05}]}), "utf-8")
    other, _ = rehearse(tmp_path / "life", SCENARIO, replace(settings, goals=read_goals(file)))
    tick(other)
    view = other.goals(LOCAL)
    assert [line.goal for line in view.goals] == ["carbon"]
    assert view.stated_at > stated_at
    other.close()
    file.write_text('{"goals": [{"kind": "reserve", "kwh": {"type/nothing": 3}}]}', "utf-8")
    with pytest.raises(RequestRejected, match="type/nothing"):
        rehearse(tmp_path / "life", SCENARIO, replace(settings, goals=read_goals(file)))


def test_a_file_with_faults_ends_the_command(tmp_path):
    """``gridflock plan FEEDER --goals FILE`` names every fault of the file, and exits with 1."""
    file = tmp_path / "goals.json"
    file.write_text('{"goals": [{"kind": "reserv"}, {"kind": "load shape", "target": 3}]}', "utf-8")
    said = CliRunner().invoke(app, ["plan", "ieee123", "--goals", str(file)])
    assert said.exit_code == 1
    assert "goal 1, kind" in said.output
    assert "goal 2, target: load shape: unknown field" in said.output
    assert "goal 2, target_kw: load shape: missing" in said.output


def test_the_same_over_rest_and_on_the_command_line(life, tmp_path, monkeypatch):
    """``gridflock pursue`` states goals, ``gridflock goals`` shows what became of them, both over REST."""
    derms, _ = life
    users = Users(tmp_path)
    token = users.add("ann", Role.OPERATOR)
    application = build(derms, users)

    def request(method, url, **more):
        async def call():
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://gridflock") as client:
                return await client.request(method, url, **more)

        return asyncio.run(call())

    monkeypatch.setattr(httpx, "request", request)
    file, run = tmp_path / "goals.json", CliRunner().invoke
    file.write_text(json.dumps({"goals": [{"kind": "self-consumption", "worth": 0.01}]}), "utf-8")
    options = ["--url", "http://gridflock", "--token", token]
    stated = run(app, ["pursue", str(file), *options])
    assert stated.exit_code == 0
    assert "not yet planned" in stated.output
    tick(derms)
    shown_now = run(app, ["goals", *options])
    assert "none delivered" in shown_now.output
    file.write_text(json.dumps({"goals": [{"kind": "wear", "price": {"nobody": 1}}]}), "utf-8")
    refused = run(app, ["pursue", str(file), *options])
    assert refused.exit_code == 1
    assert "'nobody' is none" in refused.output
    view = json.loads(run(app, ["goals", "--json", *options]).output)
    assert [line["goal"] for line in view["goals"]][-1] == "self-consumption"
