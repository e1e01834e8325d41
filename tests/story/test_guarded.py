"""The guard as people live with it: a stolen token, two persons, a feeder under work, all to default."""

from dataclasses import replace

import numpy as np
import pytest

from gridflock.dispatch import GuardLimits, Policy
from gridflock.dispatch.guard import GroupLimit
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Scope,
    Settings,
    UnknownName,
    read_limits,
    rehearse,
)
from gridflock.sim import Scenario, World

HOMES = "type/battery_home"
OMAR = Scope("omar", Role.OPERATOR, frozenset({"all"}))
ALICE = Scope("alice", Role.OPERATOR, frozenset({"all"}))
WEST = Scope("wilma", Role.OPERATOR, frozenset({"section/s2"}))
VERA = Scope("vera", Role.VIEWER, frozenset({"all"}))
LIMITS = GuardLimits(budget_kw=40.0, approval_kw=15.0, canary_share=0.05, canary_from=1_000)


def life(folder, limits=LIMITS, registry=None):
    """A day at 15:00 without a plan, so that every order is somebody's wish."""
    settings = Settings(policy=Policy(guard=limits), plans=False)
    scenario = Scenario(ders=120, seed=7)
    derms, _ = rehearse(folder, scenario, settings, join_s=15 * 3_600, registry=registry)
    return derms


def tick(derms):
    """A minute."""
    moment = derms.tick()
    derms.clock.sleep_until(moment.now_s + 60)
    return moment


def sent(moment):
    """Rows that an order with power in it went to."""
    orders = moment.decision.orders
    return orders.index[np.isfinite(orders.p_kw)]


def events(derms, kind):
    """Texts of the events of a kind, oldest first."""
    return [event.text for event in derms.events(LOCAL, 0, 2_000)[::-1] if event.kind == kind]


@pytest.fixture(scope="module")
def derms(tmp_path_factory):
    """One system for the stories that leave it as they found it."""
    found = life(tmp_path_factory.mktemp("guarded"))
    tick(found)
    yield found
    found.close()


def test_a_stolen_token_moves_no_more_than_its_budget(tmp_path):
    """Wish after wish, split, withdrawn and asked again: in no five minutes more than the budget moves."""
    derms = life(tmp_path, replace(LIMITS, approval_kw=np.inf))
    tick(derms)
    book = []
    for minute in range(12):
        for wish in derms.proposals(LOCAL):
            if minute % 3 == 2:
                derms.withdraw(OMAR, wish.id)
        way = (-1) ** minute
        for group in (HOMES, "type/ev_v1g", "type/ev_v2g", "type/pv_rooftop"):
            cells = derms.group(LOCAL, group).group
            most = cells.p_hi_kw if way > 0 else cells.p_lo_kw
            derms.propose(OMAR, group, p_kw=most * 0.9, minutes=20)
        moment = tick(derms)
        orders, passed = moment.decision.orders, moment.decision.passed
        moved = float(np.nansum(np.abs(orders.p_kw - passed.start_kw[passed.keep])))
        book.append((moment.now_s, moved))
        assert sum(kw for t_s, kw in book if t_s > moment.now_s - 300) <= 40.0 + 1e-3
    view = derms.guard(LOCAL)
    assert view.budgets[0].account == "omar"
    assert view.budgets[0].moved_kw + view.budgets[0].held_kw <= 40.0 + 1e-3
    assert sum(kw for _, kw in book) > 40.0
    derms.close()


def test_code_in_the_process_and_the_plan_have_no_budget(derms):
    """Whoever can import us can already do everything; accounts are of those who come from outside."""
    answer = derms.propose(LOCAL, "all", p_hi_kw=0.0, minutes=2)
    assert not answer.waits
    tick(derms)
    assert not derms.guard(LOCAL).budgets
    derms.withdraw(LOCAL, answer.proposal.id)


def test_a_large_wish_needs_a_second_person(derms):
    """It waits, its author cannot approve it, another operator can; then it is in force at once."""
    preview = derms.propose(OMAR, HOMES, p_kw=60.0, minutes=30, why="peak", dry_run=True)
    assert preview.waits
    asked = derms.propose(OMAR, HOMES, p_kw=60.0, minutes=30, why="peak")
    name = asked.proposal.id
    assert asked.waits
    assert asked.seq > 0
    assert derms.proposals(LOCAL) == []
    homes = derms._loop.system.rows_of[HOMES]
    assert not np.isin(homes, sent(tick(derms))).any()
    waiting = derms.guard(VERA).waiting[0]
    assert (waiting.id, waiting.author, waiting.limit_kw) == (name, "omar", 15.0)
    assert waiting.moved_kw > 15.0
    for who in (OMAR, WEST, VERA):
        with pytest.raises(AccessDenied):
            derms.approve(who, name)
    assert any("another person" in text for text in events(derms, "refusal"))
    view = derms.approve(ALICE, name, why="agreed")
    assert [(given.author, given.by) for given in view.approvals] == [("omar", "alice")]
    assert [wish.id for wish in derms.proposals(LOCAL)] == [name]
    assert np.isin(homes, sent(tick(derms))).any()
    assert {budget.account for budget in derms.guard(LOCAL).budgets} == {f"approved:{name}"}
    with pytest.raises(UnknownName):
        derms.approve(ALICE, name)
    derms.withdraw(OMAR, name)
    texts = events(derms, "guard")
    assert any(text.startswith("waits for a second person") for text in texts)
    assert any("approved" in text and "agreed" in text for text in texts)


def test_a_large_wish_waits_even_while_nobody_can_be_asked(derms):
    """What would move once all is not on its default, or disabled, any more needs a second person now."""

    def waits():
        asked = derms.propose(OMAR, HOMES, p_kw=60.0, minutes=30)
        derms.refuse(ALICE, asked.proposal.id)
        return asked.waits

    derms.all_to_default(OMAR, minutes=30)
    assert waits()
    derms.end_default(OMAR)
    assert derms.end_default(ALICE).default is None
    derms.set_mode(OMAR, "all", mode="disabled")
    assert waits()
    for who in (OMAR, ALICE):
        derms.set_mode(who, "all", mode="automatic")
    assert {view.mode for view in derms.guard(LOCAL).modes} == {"automatic"}


def test_a_waiting_wish_is_refused_or_forgotten(derms):
    """The second person says no, with a reason that is kept; nobody has to say anything for it to lapse."""
    for _ in range(6):
        tick(derms)
    first = derms.propose(OMAR, HOMES, p_kw=-60.0, minutes=30).proposal.id
    derms.refuse(ALICE, first, why="storm is coming")
    assert any("storm" in text for text in events(derms, "guard"))
    second = derms.propose(OMAR, HOMES, p_kw=-60.0, minutes=60).proposal.id
    assert second in [waiting.id for waiting in derms.guard(LOCAL).waiting]
    for _ in range(31):
        tick(derms)
    assert derms.guard(LOCAL).waiting == []
    with pytest.raises(UnknownName):
        derms.approve(ALICE, second)


def test_a_feeder_under_work_receives_nothing_and_one_that_is_watched_neither(tmp_path):
    """Disabled: nothing is decided for it. Advisory: decided, shown, never sent. After a restart, too."""
    derms = life(tmp_path, replace(LIMITS, approval_kw=np.inf, budget_kw=np.inf))
    derms.tick()
    derms.clock.sleep_until(derms.moment.now_s + 60)
    with pytest.raises(AccessDenied):
        derms.set_mode(WEST, "section/s5", mode="disabled")
    with pytest.raises(RequestRejected) as refused:
        derms.set_mode(OMAR, "section/s5", mode="off", why="\n")
    assert {fault.field for fault in refused.value.faults} == {"mode", "why"}
    derms.set_mode(WEST, "section/s2", mode="disabled", why="works on the line")
    derms.set_mode(OMAR, "section/s5", mode="advisory", why="new")
    derms.propose(OMAR, "all", p_lo_kw=0.0, minutes=60)
    rows_of = derms._loop.system.rows_of
    shut, watched = rows_of["section/s2"], rows_of["section/s5"]
    for turn in range(5):
        if turn == 3:
            derms.close()
            derms = life(tmp_path, replace(LIMITS, approval_kw=np.inf, budget_kw=np.inf))
        moment = tick(derms)
        assert not np.isin(moment.decision.orders.index, np.concatenate([shut, watched])).any()
        assert "advisory" in derms.guard(LOCAL).held
        assert len(sent(moment)) > 0 or turn
    modes = {view.group: view.mode for view in derms.guard(LOCAL).modes}
    assert (modes["section/s2"], modes["section/s5"], modes["section/s3"]) == (
        "disabled",
        "advisory",
        "automatic",
    )
    assert any("works on the line" in text for text in events(derms, "guard"))
    derms.set_mode(OMAR, "section/s5", mode="automatic")
    assert np.isin(tick(derms).decision.orders.index, watched).any()
    derms.close()


def test_all_to_default_takes_everything_back_until_two_say_otherwise(tmp_path):
    """All is taken back at once, and nothing else goes out, until two persons end it; one twice is one."""
    derms = life(tmp_path, replace(LIMITS, approval_kw=np.inf, budget_kw=np.inf))
    derms.tick()
    derms.clock.sleep_until(derms.moment.now_s + 60)
    derms.propose(OMAR, HOMES, p_kw=40.0, minutes=120)
    asked = sent(tick(derms))
    assert len(asked) > 0
    with pytest.raises(AccessDenied):
        derms.all_to_default(WEST)
    with pytest.raises(RequestRejected):
        derms.all_to_default(OMAR, minutes=0)
    assert derms.all_to_default(
        WEST.__class__("omar", Role.OPERATOR, frozenset({"all"})), why="odd"
    ).default.open
    orders = tick(derms).decision.orders
    assert set(asked) <= set(orders.index)
    assert np.isnan(orders.p_kw).all()
    assert np.isnan(orders.q_kvar).all()
    for _ in range(3):
        assert len(sent(tick(derms))) == 0
    # Whoever heard it is left alone; lost revocations have gone out again.
    assert derms.guard(LOCAL).default.open < len(asked) / 4
    cells = derms._loop.system.rows_of[HOMES]
    assert np.nansum(np.abs(derms._loop.response.ordered_kw[cells])) == 0
    derms.end_default(OMAR)
    assert derms.end_default(OMAR).default.ending == ["omar"]
    assert len(sent(tick(derms))) == 0
    assert derms.end_default(ALICE, why="found").default is None
    assert len(sent(tick(derms))) > 0
    assert derms.guard(LOCAL).held["return"] > 0
    tick(derms)
    assert "return" not in derms.guard(LOCAL).held
    with pytest.raises(UnknownName):
        derms.end_default(ALICE)
    derms.all_to_default(OMAR, minutes=3)
    for _ in range(2):
        assert len(sent(tick(derms))) == 0
    tick(derms)
    assert derms.guard(LOCAL).default is None
    derms.close()


@pytest.mark.parametrize("another", [False, True], ids=["as it was", "with another registry"])
def test_a_restart_forgets_no_budget(tmp_path, another):
    """What a credential has moved and holds counts after a restart, bit by bit or from the orders alone.

    So do changes of direction of a group.
    """
    limits = replace(LIMITS, approval_kw=np.inf, groups=(GroupLimit(HOMES, reversals=3),))
    derms = life(tmp_path, limits)
    derms.tick()
    derms.clock.sleep_until(derms.moment.now_s + 60)
    derms.propose(OMAR, HOMES, p_kw=-60.0, minutes=60)
    tick(derms)
    before, swings = derms.guard(LOCAL).budgets[0], derms._loop.deciding.standing.guarded.swings
    assert swings[HOMES][0].way == -1
    derms.close()
    registry = None
    if another:
        registry = [dict(row) for row in World(Scenario(ders=120, seed=7)).registry]
        registry[-1]["provider"] = "another"
    derms = life(tmp_path, limits, registry)
    assert derms._loop.deciding.standing.guarded.swings == swings
    after = derms._loop.deciding.standing.guarded.memory
    assert after.spent_kw("omar", derms.clock.now_s(), 300) == pytest.approx(before.moved_kw, abs=1e-2)
    assert float(after.held_by(["omar"])[0]) == pytest.approx(before.held_kw, abs=1e-2)
    tick(derms)
    view = derms.guard(LOCAL).budgets[0]
    assert view.moved_kw + view.held_kw <= 40.0 + 1e-2
    derms.close()


def test_a_group_the_guard_watches_cannot_be_deleted(derms):
    """With the group its mode would go: it has to be automatic first."""
    derms.define_group(LOCAL, "street", members=[derms._loop.system.fleet.ids[0]])
    derms.set_mode(LOCAL, "street", mode="disabled")
    with pytest.raises(RequestRejected) as refused:
        derms.delete_group(LOCAL, "street")
    assert "disabled" in refused.value.faults[0].reason
    derms.set_mode(LOCAL, "street", mode="automatic")
    derms.delete_group(LOCAL, "street")


def test_limits_are_read_and_refused_by_name(tmp_path):
    """A file of limits: what it says holds, what it does not say is as usual, every fault is named."""
    file = tmp_path / "limits.toml"
    file.write_text('step_kw = 80\nbudgets = {iso = 900}\n[[groups]]\ngroup = "section/s2"\nshare = 0.5\n')
    limits = read_limits(file)
    assert (limits.step_kw, limits.budgets, limits.budget_share) == (80, {"iso": 900}, 0.05)
    assert limits.groups == (GroupLimit("section/s2", share=0.5),)
    file.write_text('step_kw = -1\nspeed = 3\nbudgets = {iso = "much"}\n[[groups]]\nshare = 2\n')
    with pytest.raises(RequestRejected) as refused:
        read_limits(file)
    fields = {fault.field for fault in refused.value.faults}
    assert {"guard.step_kw", "speed", "guard.iso.budgets", "groups.group"} <= fields
    file.write_text("step_kw = = 3")
    with pytest.raises(RequestRejected, match="cannot be read"):
        read_limits(file)
    with pytest.raises(RequestRejected, match="no such feeder"):
        life(tmp_path / "life", GuardLimits(groups=(GroupLimit("section/nowhere"),)))
