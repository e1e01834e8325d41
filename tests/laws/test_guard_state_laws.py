"""Laws of what the guard knows: trials, revocations, memory from a ledger, rules as said, curves."""

import dataclasses
import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflock.dispatch.guard import (
    Approval,
    Asked,
    CurveBounds,
    GroupLimit,
    GuardLimits,
    GuardState,
    Held,
    Mode,
    Rules,
    guard,
    revocation,
)
from gridflock.model import Orders, Outcomes, OutcomeStatus, Priority
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
FLEET, GROUPS = world.fleet_of({Kind.BATTERY_HOME: 200, Kind.PV_ROOFTOP: 4, Kind.LOAD: 2})
CELLS = GROUPS.rows("type/battery_home")
K = len(CELLS)
ROWS_OF = world.rows_of(GROUPS)
WIDE = GuardLimits(step_kw=1e9, return_s=0)
CAREFUL = dataclasses.replace(WIDE, canary_share=0.05, canary_from=20)


def image_at(now_s, p_kw=None):
    """The fleet at rest, or at some power, at a moment."""
    values = world.ordinary(FLEET, np.random.default_rng(3))
    values["p_kw"][CELLS] = 0.0 if p_kw is None else p_kw
    return world.tell(
        world.fleet_of({Kind.BATTERY_HOME: 200, Kind.PV_ROOFTOP: 4, Kind.LOAD: 2})[0], values, now_s
    )


IMAGE = image_at(NOW_S)


def ask(
    p_kw, state, limits=WIDE, *, now_s=NOW_S, author="omar", rules=None, first=1, policy="one", image=None
):
    """One pass: everybody is asked for the same, or each for his own."""
    wish = dataclasses.replace(
        world.want("w", "type/battery_home", 0.0), author=author, priority=Priority.EVENT
    )
    power = np.broadcast_to(np.asarray(p_kw, dtype=float), K).copy()
    ends, none = np.full(K, now_s + 300), np.full(K, np.nan)
    asked = Asked(CELLS, power, none, ends, np.zeros(K, np.int16), (wish,), first, policy)
    image = dataclasses.replace(IMAGE if image is None else image, now_s=now_s)
    return guard(asked, image, limits, Rules() if rules is None else rules, state, ROWS_OF)


def answered(passed, status, now_s=NOW_S, first=1):
    """The state after everybody who was asked said the same."""
    rows = CELLS[passed.keep]
    codes = np.full(len(rows), status, dtype=np.uint8)
    ids = np.arange(first, first + len(rows))
    said = Outcomes(FLEET.ids, rows, ids, codes, np.zeros(len(rows)), np.full(len(rows), now_s))
    return passed.state.heard(rows.astype(np.int64), said, now_s)


EMPTY = GuardState.empty(IMAGE.n)


# ---- canary first --------------------------------------------------------------------------------


def test_the_first_orders_of_an_author_go_to_a_few():
    """A twentieth is asked; nobody else before those have answered; then all, and never again few."""
    first = ask(2.0, EMPTY, CAREFUL)
    assert first.keep.sum() == math.ceil(0.05 * K)
    silent = ask(2.0, first.state, CAREFUL, now_s=NOW_S + 60)
    assert (silent.keep == first.keep).all()
    state = answered(first, OutcomeStatus.ACCEPTED)
    rest = ask(2.0, state, CAREFUL, now_s=NOW_S + 60)
    assert rest.keep.all()
    assert rest.trials == {"omar": True}
    assert ask(-2.0, rest.state, CAREFUL, now_s=NOW_S + 120).keep.all()
    other = ask(2.0, rest.state, CAREFUL, now_s=NOW_S + 120, author="new")
    assert (other.why == Held.CANARY).sum() == 0  # its orders repeat what is in force
    assert ask(1.0, rest.state, CAREFUL, now_s=NOW_S + 120, author="new").keep.sum() == first.keep.sum()


def test_a_changed_policy_is_new_to_everybody():
    """Who was proven under one policy is tried out under the next."""
    first = ask(2.0, EMPTY, CAREFUL)
    rest = ask(2.0, answered(first, OutcomeStatus.ACCEPTED), CAREFUL, now_s=NOW_S + 60)
    changed = ask(-2.0, rest.state, CAREFUL, now_s=NOW_S + 120, policy="two")
    assert changed.keep.sum() == math.ceil(0.05 * K)


@pytest.mark.parametrize("status", [OutcomeStatus.REFUSED, OutcomeStatus.UNREACHABLE, None])
def test_a_bad_trial_stops_its_author_for_a_while(status):
    """Refused, unreachable or silent: nothing new goes out for as long again; then others are tried."""
    first = ask(2.0, EMPTY, CAREFUL)
    state = first.state if status is None else answered(first, status)
    later_s = NOW_S + 60 if status is not None else NOW_S + CAREFUL.trial_s
    stopped = ask(-2.0, state, CAREFUL, now_s=later_s)
    assert stopped.trials == {"omar": False}
    assert not stopped.keep.any()
    assert not ask(-2.0, stopped.state, CAREFUL, now_s=later_s + CAREFUL.trial_s - 1).keep.any()
    again = ask(-2.0, stopped.state, CAREFUL, now_s=later_s + CAREFUL.trial_s)
    assert again.keep.sum() == first.keep.sum()
    assert not (again.keep == first.keep).all()


def test_some_who_never_answer_are_no_bad_trial():
    """Half of those who are tried out have to answer well, not all."""
    first = ask(2.0, EMPTY, CAREFUL)
    rows, state = CELLS[first.keep], first.state
    for place, row in enumerate(rows.tolist()):
        status = OutcomeStatus.UNREACHABLE if place % 5 == 0 else OutcomeStatus.PARTIAL
        said = Outcomes(
            FLEET.ids, np.array([row], np.int32), np.array([1 + place]), np.array([status], np.uint8),
            np.zeros(1), np.array([NOW_S]),
        )  # fmt: skip
        state = state.heard(np.array([row], np.int64), said, NOW_S)
    assert ask(2.0, state, CAREFUL, now_s=NOW_S + 60).trials == {"omar": True}


def test_what_holds_the_grid_is_not_kept_waiting():
    """An order that a limit of the grid asks for is no trial; who only calls it one is tried out."""
    wish = world.want("envelope:all", "type/battery_home", 0.0, Priority.ENVELOPE)
    ends, none = np.full(K, NOW_S + 300), np.full(K, np.nan)
    for author, many in (("grid", K), ("omar", math.ceil(0.05 * K))):
        said = dataclasses.replace(wish, author=author)
        asked = Asked(CELLS, np.full(K, -2.0), none, ends, np.zeros(K, np.int16), (said,))
        assert guard(asked, IMAGE, CAREFUL, Rules(), EMPTY, ROWS_OF).keep.sum() == many


def test_small_groups_are_not_tried_out():
    """Below so many members a trial would teach nothing."""
    few = dataclasses.replace(CAREFUL, canary_from=K + 1)
    assert ask(2.0, EMPTY, few).keep.all()


# ---- all to default ------------------------------------------------------------------------------


def test_revocations_go_out_again_until_they_are_answered():
    """To all with an order in force, again to who was silent, no more to who has heard, none past its end."""
    first = ask(2.0, EMPTY)
    off = Rules().all_to_default("omar", "drill", NOW_S + 60, NOW_S + 900)
    sent = ask(-2.0, first.state, now_s=NOW_S + 60, rules=off, first=1_000)
    assert np.array_equal(sent.revoke, CELLS)
    orders = revocation(IMAGE, sent.revoke, 1_000, 300)
    half = Outcomes(
        FLEET.ids,
        CELLS[::2],
        orders.order_id[::2],
        np.zeros(K // 2, np.uint8),
        np.zeros(K // 2),
        np.zeros(K // 2),
    )
    state = sent.state.heard(CELLS[::2].astype(np.int64), half, NOW_S + 62)
    assert len(ask(-2.0, state, now_s=NOW_S + 64, rules=off, first=2_000).revoke) == 0
    again = ask(-2.0, state, now_s=NOW_S + 90, rules=off, first=2_000)
    assert np.array_equal(again.revoke, CELLS[1::2])
    assert len(ask(-2.0, again.state, now_s=NOW_S + 300, rules=off, first=3_000).revoke) == 0
    ended = ask(-2.0, again.state, now_s=NOW_S + 900, rules=off, first=3_000)
    assert ended.keep.all()
    assert len(ended.revoke) == 0


def test_who_receives_nothing_gets_no_revocation():
    """A disabled or advisory feeder is left alone even then; its orders run out by themselves."""
    first = ask(2.0, EMPTY)
    off = Rules().all_to_default("omar", "drill", NOW_S, NOW_S + 900)
    off = off.with_mode("section/north", Mode.DISABLED).with_mode("section/south", Mode.ADVISORY)
    sent = ask(2.0, first.state, now_s=NOW_S + 60, rules=off)
    left = np.concatenate([ROWS_OF["section/north"], ROWS_OF["section/south"]])
    assert not np.isin(sent.revoke, left).any()


def test_a_group_that_is_gone_holds_everybody():
    """A mode or limit of a group that does not exist any more cannot be kept: then nothing passes."""
    assert not ask(2.0, EMPTY, rules=Rules().with_mode("gone", Mode.DISABLED)).keep.any()
    limits = dataclasses.replace(WIDE, groups=(GroupLimit("gone", step_kw=5.0),))
    assert not ask(2.0, EMPTY, limits).keep.any()


# ---- memory --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 200)), min_size=1, max_size=6), st.floats(10, 400))
def test_memory_from_a_ledger_is_the_memory_that_was(turns, budget_kw):
    """The orders that went out, with what they were counted from, tell all that budgets go by."""
    limits = dataclasses.replace(
        WIDE, budget_kw=budget_kw, groups=(GroupLimit("section/south", moved_kw=300.0),)
    )
    live = told = EMPTY
    plates = tuple(IMAGE.columns[name] for name in ("p_min_kw", "p_max_kw", "s_max_kva"))
    now_s = NOW_S
    for turn, (p_kw, wait_s) in enumerate(turns):
        passed = ask(p_kw, live, limits, now_s=now_s, first=1 + K * turn)
        live, keep = passed.state, passed.keep
        many = int(keep.sum())
        ids = np.arange(1 + K * turn, 1 + K * turn + many)
        orders = Orders(
            FLEET.ids, CELLS[keep], ids, np.full(many, p_kw, np.float32), np.full(many, now_s + 300),
            np.zeros(many, np.int16), ("w",), now_s,
        )  # fmt: skip
        start = passed.start_kw[keep].astype(np.float32)
        told = told.lived(orders, start, passed.accounts, plates, limits, passed.moved)
        now_s += wait_s
    for account in ("omar", "group:section/south"):
        assert told.memory.spent_kw(account, now_s, 300) == pytest.approx(
            live.memory.spent_kw(account, now_s, 300), abs=1e-3
        )
    assert told.memory.held_by(["omar"]) == pytest.approx(live.memory.held_by(["omar"]), abs=1e-3)
    for name in ("expires_s", "holder", "order_id", "turn"):
        assert np.array_equal(getattr(told.memory, name), getattr(live.memory, name))


def test_what_was_refused_is_counted_anew():
    """A refused order has not moved anything: asked again it counts again, and nothing is held meanwhile."""
    limits = dataclasses.replace(WIDE, budget_kw=2_000.0)
    first = ask(2.0, EMPTY, limits)
    held = float(first.state.memory.held_by(["omar"])[0])
    state = answered(first, OutcomeStatus.REFUSED)
    assert held == pytest.approx(2.0 * K)
    assert state.memory.held_by(["omar"])[0] == 0.0
    again = ask(2.0, state, limits, now_s=NOW_S + 60, first=1_000)
    assert again.state.memory.spent_kw("omar", NOW_S + 60, 300) == pytest.approx(4.0 * K)


@pytest.mark.parametrize(
    ("limits", "most_kw"), [({"approval_kw": 50.0}, 50.0), ({"budget_kw": 120.0}, 120.0)]
)
def test_an_order_that_is_told_to_have_reached_nobody_stays_in_the_books(limits, most_kw):
    """Orders that are followed although their answers are lost displace no more than one person may."""
    state, p_kw, now_s, first = EMPTY, np.zeros(K), NOW_S, 1
    wish = dataclasses.replace(
        world.want("w", "type/battery_home", 0.0), author="omar", priority=Priority.EVENT
    )
    for tick in range(8):
        rows = CELLS[tick * 25 : (tick + 1) * 25]
        asked = Asked(
            rows, np.full(25, 2.0), np.full(25, np.nan), np.full(25, now_s + 900),
            np.zeros(25, np.int16), (wish,), first, "one",
        )  # fmt: skip
        passed = guard(
            asked, image_at(now_s, p_kw), dataclasses.replace(WIDE, **limits), Rules(), state, ROWS_OF
        )
        p_kw[tick * 25 : (tick + 1) * 25][passed.keep] = 2.0
        sent, many = rows[passed.keep], int(passed.keep.sum())
        lost = np.full(many, OutcomeStatus.UNREACHABLE, np.uint8)
        orders, at_s = np.arange(first, first + many), np.full(many, now_s)
        told = Outcomes(FLEET.ids, sent, orders, lost, np.zeros(many), at_s)
        state = passed.state.heard(sent.astype(np.int64), told, now_s)
        assert p_kw.sum() <= most_kw + 1e-6
        first, now_s = first + many, now_s + 60
    assert p_kw.sum() > 0.0
    assert state.memory.released(now_s + 900).doubted == ()


def test_of_an_approved_wish_as_much_goes_as_was_approved():
    """It has become more since a second person saw it: that much still goes, and never more; else nothing."""
    limits = dataclasses.replace(WIDE, approval_kw=10.0)
    assert not ask(2.0, EMPTY, limits).keep.any()
    rules = Rules().with_approval(Approval("w", "omar", "alice", 2.0 * (K - 10), NOW_S + 600))
    first = ask(2.0, EMPTY, limits, rules=rules)
    assert first.keep.sum() == K - 10
    assert first.counts() == {Held.APPROVAL: 10}
    again = ask(2.0, first.state, limits, now_s=NOW_S + 1, first=1 + K, rules=rules)
    assert (again.keep == first.keep).all()


def test_what_is_held_is_booked_as_it_is_remembered():
    """Powers that single precision rounds up, order after order: an account that let go holds nothing."""
    state, room = EMPTY, dataclasses.replace(WIDE, budget_kw=1e9)
    for turn, p_kw in enumerate([2.4000001, 3.3999999] * 20):
        state = ask(p_kw, state, room, now_s=NOW_S + turn, first=1 + K * turn).state
    assert state.memory.held_by(["omar"])[0] == pytest.approx(3.4 * K, rel=1e-5)
    assert abs(state.memory.released(NOW_S + 1_000).held_by(["omar"])[0]) < 1e-9


def test_a_reading_older_than_the_last_order_tells_nothing():
    """As long as nobody knows what the last order did, a change counts from where the way is longer."""
    limits = dataclasses.replace(WIDE, step_kw=5.0 * K)
    state = ask(5.0, EMPTY, dataclasses.replace(WIDE, settle_s=15)).state
    blind = ask(-5.0, state, limits, now_s=NOW_S + 4)
    assert (blind.why == Held.STEP).sum() == K / 2
    seen = ask(-5.0, state, limits, now_s=NOW_S + 60, image=image_at(NOW_S + 60))
    assert seen.keep.all()


def test_who_was_not_heard_since_its_order_ended_may_be_anywhere():
    """It may do what it was ordered or be back at its own: a change counts from where the way is longer."""
    values = world.ordinary(FLEET, np.random.default_rng(3))
    values["p_kw"][CELLS], values["p_avail_kw"][CELLS] = 5.0, 0.0
    fleet, _ = world.fleet_of({Kind.BATTERY_HOME: 200, Kind.PV_ROOFTOP: 4, Kind.LOAD: 2})
    image = world.tell(fleet, values, NOW_S)
    state = ask(5.0, EMPTY, image=image).state
    later = ask(5.0, state, now_s=NOW_S + 400, image=image)
    assert later.state.memory.spent_kw("omar", NOW_S + 400, 300) == 0.0  # no budget, no account
    limits = dataclasses.replace(WIDE, budget_kw=1e6)
    later = ask(5.0, state, limits, now_s=NOW_S + 400, image=image)
    assert later.state.memory.spent_kw("omar", NOW_S + 400, 300) == pytest.approx(5.0 * K)


# ---- what people set, and limits -----------------------------------------------------------------

NAMES = st.text("abc/", min_size=1, max_size=4)
APPROVALS = st.builds(Approval, NAMES, NAMES, NAMES, st.floats(0, 1e6), st.integers(0, 2**31))


@given(
    st.dictionaries(NAMES, st.sampled_from(list(Mode))),
    st.lists(APPROVALS, max_size=4),
    st.none() | st.tuples(NAMES, st.text(max_size=9), st.integers(0, 10**9), st.integers(0, 10**9)),
    st.lists(NAMES, max_size=1),
)
def test_rules_are_what_they_say(modes, approvals, default, ending):
    """Through JSON and back nothing is lost."""
    rules = Rules()
    for group, mode in modes.items():
        rules = rules.with_mode(group, mode)
    for given_ in approvals:
        rules = rules.with_approval(given_)
    if default is not None:
        rules = rules.all_to_default(*default)
    for by in ending:
        rules = rules.end_default(by)
    assert Rules.of(json.loads(json.dumps(rules.said()))) == rules


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
def test_two_persons_end_what_one_began(people):
    """Any two different ones, the one who pressed it among them; one alone, however often, does not."""
    rules = Rules().all_to_default("a", "", 0, 100)
    for by in people:
        rules = rules.end_default(by)
    assert (rules.default is None) == (len(set(people)) > 1)
    assert rules.at(100).default is None


def test_limits_out_of_range_are_named():
    """Each wrong field by its name; a group twice, or one that does not exist; right ones say nothing."""
    assert not GuardLimits().faults()
    wrong = GuardLimits(
        step_kw=-1.0,
        share=1.5,
        window_s=0,
        budgets={"iso": math.nan},
        groups=(GroupLimit("a", rate_kw_s=math.nan), GroupLimit("a"), GroupLimit("b")),
    )
    found = {(fault.field, fault.ids) for fault in wrong.faults({"a"})}
    assert found == {
        ("step_kw", ()),
        ("share", ()),
        ("window_s", ()),
        ("budgets", ("iso",)),
        ("rate_kw_s", ("a",)),
        ("group", ("a",)),
        ("group", ("b",)),
    }


def test_only_the_program_itself_has_no_budget():
    """Outside are all but the program's own authors, and those who only call themselves so."""
    limits = GuardLimits()
    for author, priority, outside in (
        ("plan", Priority.SCHEDULE, False),
        ("grid", Priority.ENVELOPE, False),
        ("feedback", Priority.ENVELOPE, False),
        ("plan", Priority.OPERATOR, True),
        ("grid", Priority.MARKET, True),
        ("feedback", Priority.MARKET, True),
        ("local", Priority.OPERATOR, False),
        ("omar", Priority.SCHEDULE, True),
    ):
        wish = dataclasses.replace(world.want("w", "all", 1.0, priority), author=author)
        assert limits.external(wish) is outside


# ---- curves --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.5, 1.5), st.floats(-1, 1)), max_size=12))
def test_a_curve_that_passes_is_a_falling_line_inside_its_bounds(points):
    """What has no fault lies inside, rises in voltage, never rises in power and is nowhere too steep."""
    bounds = CurveBounds()
    v, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    fine = (
        2 <= len(points) <= 10
        and ((v >= bounds.v_lo_pu) & (v <= bounds.v_hi_pu)).all()
        and ((y >= bounds.y_lo) & (y <= bounds.y_hi)).all()
        and (np.diff(v) > 0).all()
        and (np.diff(y) <= 0).all()
        and (-np.diff(y) <= bounds.gain * np.diff(v) * (1 + 1e-9)).all()
    )
    assert (not bounds.faults("c", v, y)) == fine


@pytest.mark.parametrize(
    ("v_pu", "y", "field", "told"),
    [
        ([0.9, 1.1], [0.4], "points", "value for each"),
        ([0.9, math.nan], [0.4, -0.4], "points", "finite"),
        ([0.9, 1.1], [60.0, -60.0], "y", "outside"),
        ([1.1, 0.9], [0.4, -0.4], "v_pu", "rise"),
        ([0.9, 1.1], [-0.4, 0.4], "y", "sign"),
        ([1.0, 1.001], [0.4, -0.4], "y", "per pu"),
    ],
)
def test_a_bad_curve_is_named(v_pu, y, field, told):
    """Missing values, percent for pu, voltages out of order, a turned sign, a cliff."""
    faults = CurveBounds().faults("pv-1", v_pu, y)
    assert any(fault.field == field and told in fault.reason for fault in faults)
    assert {fault.ids for fault in faults} == {("pv-1",)}
