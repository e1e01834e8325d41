"""Goals and systems above under the guard: a stolen token pursues a huge goal, a parent forces a flow."""

import asyncio
from dataclasses import replace

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._cli import app as commands
from gridflock.console._remote import Remote
from gridflock.dispatch import GuardLimits, Policy
from gridflock.field.peer import directive_said
from gridflock.model import Allowance, Directive
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Scope,
    Settings,
    UnknownName,
    Users,
    rehearse,
    replay,
)
from gridflock.runtime._planning import Planning
from gridflock.sim import Scenario
from gridflock.units import TimeGrid, iso

SCENARIO = Scenario(ders=120, seed=7)
JOIN_S = 17 * 3_600
LIMITS = GuardLimits(budget_kw=40.0, approval_kw=15.0, step_kw=1e6)
ALONE = replace(LIMITS, approval_kw=np.inf)
OMAR = Scope("omar", Role.OPERATOR, frozenset({"all"}))
ALICE = Scope("alice", Role.OPERATOR, frozenset({"all"}))
UTILITY = Scope("utility", Role.OPERATOR, frozenset({"all"}))
HOMES = "type/battery_home"


def life(folder, limits=LIMITS, **settings):
    """A running system, its plans a quarter of an hour apart."""
    told = Settings(policy=Policy(guard=limits), in_ac=False, fine_steps=8, coarse_steps=4, **settings)
    derms, _ = rehearse(folder, SCENARIO, told, join_s=JOIN_S)
    return derms


def tick(derms, many=1):
    """Minutes."""
    for _ in range(many):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 60)
    return moment


def huge(moment, by_kw=400.0):
    """Goals that would turn the whole fleet: another flow at the head from now on, at any price."""
    head_kw, now_s = moment.head_kw, moment.now_s
    shape = {"kind": "load shape", "name": "rob", "target_kw": round(head_kw + by_kw), "price": 100.0}
    return {"goals": [shape | {"from": iso(now_s - 3_600), "until": iso(now_s + 6 * 3_600)}]}


def followed(moment):
    """How far the goals were followed."""
    return [one.share for one in moment.decision.followed]


class Books:
    """What was diverted on each account, window by window, as the ledger tells it."""

    def __init__(self):
        self.moves = {}

    def see(self, moment, most_kw):
        """One tick more: no account is beyond its budget."""
        for one in moment.decision.followed:
            book = self.moves.setdefault(one.account, [])
            book.append((moment.now_s, one.moved_kw))
            recent = sum(kw for t_s, kw in book if t_s > moment.now_s - 300)
            assert recent + one.held_kw <= most_kw + 1e-3


def test_a_stolen_token_pursues_a_huge_goal(tmp_path, monkeypatch):
    """Nothing moves for it until another person approves; then it counts on an account of its own."""
    derms, users = life(tmp_path / "life"), Users(tmp_path / "life")
    tokens = {name: users.add(name, Role.OPERATOR) for name in ("omar", "alice")}
    tokens |= {"vera": users.add("vera", Role.VIEWER)}
    app = build(derms, users)

    def ask(method, path, who, **more):
        async def call():
            headers = {"Authorization": f"Bearer {tokens[who]}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gridflock") as client:
                return await client.request(method, f"/api/{path}", headers=headers, **more)

        return asyncio.run(call())

    moment = tick(derms, 2)
    document = huge(moment)
    told = ask("PUT", "goals", "omar", json=document).json()
    name = told["waiting"][0]["id"]
    assert (told["goals"], told["author"], told["followed"]) == ([], "", None)
    assert told["waiting"][0]["moved_kw"] > 100.0
    assert [one["id"] for one in ask("GET", "guard", "vera").json()["waiting"]] == [name]
    for _ in range(4):
        moment = tick(derms)
        assert moment.decision.followed == ()
        assert moment.planned.aim is None
    for who in ("omar", "vera"):
        assert ask("POST", f"guard/waiting/{name}", who).status_code == 403
    again = ask("PUT", "goals", "omar", json=document).json()["waiting"]
    assert [one["id"] for one in again] != [name]
    assert len(again) == 1
    name = again[0]["id"]

    def as_vera(_, method, path, *, params=None, body=None):
        return ask(method, path.removeprefix("/api/"), "vera", params=params, json=body).json()

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "ask", as_vera)
        assert f"{name} waits for a second person" in CliRunner().invoke(commands, ["goals"]).output
    approved = ask("POST", f"guard/waiting/{name}", "alice", params={"why": "by phone"})
    assert approved.status_code == 200
    assert [(one["proposal"], one["by"]) for one in approved.json()["approvals"]] == [(name, "alice")]
    moment = tick(derms)
    assert (moment.planned.behind.author, moment.planned.beneath.aim) == ("omar", None)
    assert followed(moment)[0] > 0.0
    view = ask("GET", "goals", "vera").json()
    assert (view["author"], view["waiting"]) == ("omar", [])
    assert view["approved_until"]
    assert view["followed"] == pytest.approx(followed(moment)[0], abs=1e-4)
    accounts = [budget.account for budget in derms.guard(LOCAL).budgets]
    assert accounts == [f"approved:{name}"]
    assert ask("PUT", "goals", "omar", json={"goals": []}).json()["goals"] == []
    moment = tick(derms)
    assert moment.decision.followed == ()
    derms.close()


def test_a_goal_in_force_moves_no_more_than_its_authors_budget(tmp_path):
    """By one person alone, stated anew with every few minutes, with wishes beside: never beyond the budget.

    Over a restart, too; and the ledger is lived again to the same bytes.
    """
    derms, books = life(tmp_path, ALONE), Books()
    tick(derms, 2)
    shares, causes = [], set()
    for minute in range(18):
        if minute % 4 == 0:
            derms.pursue(OMAR, huge(derms.moment, 400.0 if minute % 8 else -400.0))
        if minute % 5 == 0:
            derms.propose(OMAR, HOMES, p_kw=30.0 * (-1) ** minute, minutes=3)
        if minute == 13:
            derms.close()
            derms = life(tmp_path, ALONE)
        moment = tick(derms)
        books.see(moment, 40.0)
        shares += followed(moment)
        causes |= {why for grant in moment.decision.grants for why in grant.causes}
        held = [budget for budget in derms.guard(LOCAL).budgets if budget.account == "omar"]
        assert all(budget.moved_kw + budget.held_kw <= 40.0 + 1e-2 for budget in held)
    assert any(0.0 < share < 1.0 for share in shares)
    assert "budget of omar" in causes
    derms.pursue(OMAR, {"goals": []})
    derms.close()
    found = replay(tmp_path)
    assert found.identical, found.differs


def test_goals_that_cannot_be_planned_keep_nobody_else_from_a_plan(tmp_path, monkeypatch):
    """A mistake in a plan for one person's goals is told; the plan beneath is made and holds."""
    derms = life(tmp_path, ALONE)
    tick(derms)
    derms.pursue(OMAR, huge(derms.moment))
    made = Planning._made

    def broken(self, basis, goals, shift, warm):
        if goals.author:
            raise ArithmeticError("too much is asked")
        return made(self, basis, goals, shift, warm)

    monkeypatch.setattr(Planning, "_made", broken)
    moment = tick(derms)
    assert (moment.planned.schedule.made_at_s, moment.planned.behind) == (moment.now_s, None)
    assert moment.decision.followed == ()
    texts = [event.text for event in derms.events(LOCAL) if event.kind == "alarm"]
    assert any("what omar asks" in text and "too much" in text for text in texts)
    derms.close()


def test_what_the_owner_wants_holds_beside_what_one_person_states(tmp_path):
    """Goals of the owner are not taken away by one person: the plan beneath keeps them, until two say so."""
    derms = life(tmp_path)
    tick(derms)
    keep = {"kind": "power limit", "name": "keep", "members": [HOMES], "export_kw": 1.0}
    derms.pursue(LOCAL, {"goals": [keep]})
    moment = tick(derms)
    assert moment.planned.behind is None
    assert "keep" in {line.goal for line in moment.planned.aim.table}
    answer = derms.pursue(OMAR, {"goals": []})
    assert [one.author for one in answer.waiting] == ["omar"]
    tick(derms, 2)
    assert "keep" in {line.goal for line in derms.goals(LOCAL).goals}
    assert derms.pursue(OMAR, {"goals": [keep]}).author == ""
    derms.approve(ALICE, answer.waiting[0].id)
    moment = tick(derms)
    assert moment.planned.aim is None
    assert "keep" in {line.goal for line in moment.planned.beneath.aim.table}
    derms.close()


def test_nobody_alone_takes_back_what_two_have_agreed_on(tmp_path):
    """Approved goals hold until their author takes them back, or two others do; fewer goals wait, too."""
    derms = life(tmp_path)
    tick(derms, 2)
    document, carol = huge(derms.moment), replace(ALICE, user="carol")
    name = derms.pursue(OMAR, document).waiting[0].id
    derms.approve(ALICE, name)
    for less in ({"goals": []}, {"goals": [document["goals"][0] | {"price": 1.0}]}):
        answer = derms.pursue(carol, less)
        assert (answer.author, [one.author for one in answer.waiting]) == ("omar", ["carol"])
    assert followed(tick(derms))[0] > 0.0
    waits = derms.pursue(carol, {"goals": []}).waiting[0]
    assert waits.moved_kw > LIMITS.approval_kw
    with pytest.raises(AccessDenied):
        derms.approve(carol, waits.id)
    derms.approve(OMAR, waits.id)
    assert derms.goals(LOCAL).author == ""
    assert followed(tick(derms)) == []

    derms.approve(ALICE, derms.pursue(OMAR, document).waiting[0].id)
    assert derms.pursue(OMAR, {"goals": []}).author == ""
    derms.close()


def test_an_approval_of_goals_ends_and_is_prolonged(tmp_path):
    """At its end nothing is followed any more; said again before, it goes on; never by the author."""
    derms = life(tmp_path, replace(LIMITS, goals_s=600))
    tick(derms, 2)
    name = derms.pursue(OMAR, huge(derms.moment)).waiting[0].id
    derms.close()
    derms = life(tmp_path, replace(LIMITS, goals_s=600))
    tick(derms)
    derms.approve(ALICE, name)
    assert followed(tick(derms, 5))[0] > 0.0
    with pytest.raises(AccessDenied):
        derms.approve(OMAR, name)
    derms.approve(ALICE, name)
    assert followed(tick(derms, 7))[0] > 0.0
    moment = tick(derms, 5)
    assert (moment.decision.followed[0].waits, followed(moment)) == (True, [0.0])
    assert derms.goals(LOCAL).followed == 0.0
    assert "has to approve" in derms.explain(LOCAL, HOMES).text
    derms.close()


def directive(now_s, number, low=-900.0, high=500.0, price=0.0):
    """Of a system above."""
    grid = TimeGrid.uniform(now_s - now_s % 900, 900, 8)
    full = [np.full(8, value) for value in (low, high, np.nan, price)]
    bounds = Allowance(grid, *full[:2], (-900.0, 500.0))
    return directive_said(Directive("north", 1_700_000_000, number, now_s + 60, bounds, *full[2:]))


def test_a_system_above_narrows_at_once_and_forces_nothing_alone(tmp_path):
    """Less through the head holds in the next tick; power forced through it waits for a second person."""
    derms = life(tmp_path, name="north", default_kw=(-900.0, 500.0))
    moment = tick(derms, 2)
    derms.direct(UTILITY, directive(derms.clock.now_s(), 1, low=moment.head_kw + 30.0))
    assert derms.guard(LOCAL).waiting == []
    narrow = tick(derms)
    bound = next(one for one in narrow.envelopes if one.group == "all")
    assert bound.p_lo_kw == moment.head_kw + 30.0
    assert (narrow.decision.followed, narrow.planned.behind) == ((), None)

    derms.direct(UTILITY, directive(derms.clock.now_s(), 2, low=100.0, high=200.0))
    forced = tick(derms, 2)
    bound = next(one for one in forced.envelopes if one.group == "all")
    assert bound.p_lo_kw == 0.0
    assert [(one.waits, one.share) for one in forced.decision.followed] == [(True, 0.0)]
    assert derms.standing(LOCAL).number != 2
    assert [(one.id, one.author) for one in derms.guard(LOCAL).waiting] == [("above:utility", "utility")]
    with pytest.raises(AccessDenied):
        derms.approve(UTILITY, "above:utility")
    derms.approve(ALICE, "above:utility")
    assert followed(tick(derms))[0] > 0.0
    with pytest.raises(UnknownName):
        derms.approve(ALICE, "nothing")
    derms.close()


def test_an_approval_of_a_system_above_is_of_one_author_alone(tmp_path):
    """What another one asks meanwhile waits by itself, and runs on nobody else's approval or plan."""
    derms = life(tmp_path, name="north", default_kw=(-900.0, 500.0))
    tick(derms, 2)
    derms.direct(UTILITY, directive(derms.clock.now_s(), 1, low=100.0, high=200.0, price=3.0))
    derms.direct(OMAR, directive(derms.clock.now_s(), 2, low=100.0, high=200.0))
    waits = {(one.id, one.author) for one in derms.guard(LOCAL).waiting}
    assert waits == {("above:utility", "utility"), ("above:omar", "omar")}
    derms.approve(ALICE, "above:utility")
    with pytest.raises(UnknownName):
        derms.approve(ALICE, "above")
    moment = tick(derms)
    told = [(one.behind.author, one.account, one.waits, one.share) for one in moment.decision.followed]
    assert told == [("omar", "omar", True, 0.0)]
    derms.approve(ALICE, "above:omar")
    given = {(one.proposal, one.author) for one in derms.guard(LOCAL).approvals}
    assert given == {("above:utility", "utility"), ("above:omar", "omar")}
    one = tick(derms).decision.followed[0]
    assert (one.account, one.waits) == ("approved:above:omar", False)

    # A plan with the utility's price; then omar forces a flow, before another plan is made.
    derms.direct(UTILITY, directive(derms.clock.now_s(), 3, low=100.0, high=200.0, price=3.0))
    while (moment := tick(derms)).planned.behind is None:
        pass
    assert [one.account for one in moment.decision.followed] == ["approved:above:utility"]
    derms.direct(OMAR, directive(derms.clock.now_s(), 4, low=100.0, high=200.0))
    moment = tick(derms)
    assert moment.planned.behind.author == "utility"
    assert [one.account for one in moment.decision.followed] == ["approved:above:omar"]
    derms.close()
    assert replay(tmp_path).identical


def test_a_price_from_above_counts_on_its_budget(tmp_path):
    """A plan with the price, one without: the difference is on the account of who said it."""
    derms, books = life(tmp_path, ALONE, name="north", default_kw=(-900.0, 500.0)), Books()
    tick(derms, 2)
    derms.direct(UTILITY, directive(derms.clock.now_s(), 1, price=3.0))
    shares = []
    for _ in range(18):
        moment = tick(derms)
        books.see(moment, 40.0)
        shares += followed(moment)
    assert (moment.planned.behind.author, moment.planned.beneath.behind) == ("utility", None)
    assert np.allclose(
        moment.planned.terms.import_price[:4] - moment.planned.beneath.terms.import_price[:4], 3.0
    )
    assert max(shares) > 0.0
    derms.close()
    assert replay(tmp_path).identical


def test_a_disabled_feeder_is_enabled_by_two(tmp_path):
    """Stricter at once, looser when two say so; nobody frees devices by changing a group either."""
    derms = life(tmp_path)
    tick(derms)
    ids = derms._loop.system.fleet.ids
    derms.define_group(LOCAL, "street", members=list(ids[:3]))
    derms.set_mode(OMAR, "street", mode="disabled", why="works")
    mode = {view.group: view for view in derms.set_mode(OMAR, "street", mode="automatic").modes}["street"]
    assert (mode.mode, mode.wanted) == ("disabled", "automatic by omar, one more person is needed")
    mode = {view.group: view for view in derms.set_mode(OMAR, "street", mode="automatic").modes}["street"]
    assert mode.mode == "disabled"
    with pytest.raises(RequestRejected) as refused:
        derms.change_group(OMAR, "street", leave=[ids[0]])
    assert "street" in refused.value.faults[0].reason
    derms.change_group(OMAR, "street", join=[ids[4]])
    after = derms.set_mode(ALICE, "street", mode="automatic", why="done")
    assert "street" not in {view.group for view in after.modes}
    derms.close()
