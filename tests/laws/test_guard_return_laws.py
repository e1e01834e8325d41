"""Laws of returns: what is taken back, and what comes again, does so one by one and within the steps."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch.guard import Asked, GroupLimit, GuardLimits, GuardState, Held, Mode, Rules, guard
from gridflock.model import Outcomes, OutcomeStatus, Priority
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
FLEET, GROUPS = world.fleet_of({Kind.BATTERY_HOME: 120, Kind.EV_V2G: 30, Kind.GENSET: 2, Kind.LOAD: 2})
MINE = np.sort(np.concatenate([GROUPS.rows(f"type/{kind}") for kind in ("battery_home", "ev_v2g", "genset")]))
K = len(MINE)
ROWS_OF = world.rows_of(GROUPS)
VALUES = world.ordinary(FLEET, np.random.default_rng(3))
VALUES["p_kw"][MINE] = VALUES["p_avail_kw"][MINE] = 0.0
IMAGE = world.tell(FLEET, VALUES, NOW_S)
WIDE = GuardLimits(step_kw=math.inf, return_s=240, take_back_s=240)
P_KW = np.where(IMAGE.columns["p_max_kw"][MINE] > 50, 40.0, 4.0)
NORTH = np.isin(MINE, ROWS_OF["section/north"])


class Life:
    """Devices that do at once what they are told, answer it, and do nothing by themselves."""

    def __init__(self, limits):
        self.limits, self.state, self.now_s, self.next_id = limits, GuardState.empty(IMAGE.n), NOW_S, 1
        self.p_kw = np.zeros(IMAGE.n, dtype=np.float32)
        self.rules = Rules()

    def tick(self, wait_s=0, p_kw=P_KW, answers=True, priority=Priority.SCHEDULE, author="plan"):
        """One pass; what came of it, and how far each of ours moved."""
        self.now_s += wait_s
        before = self.p_kw.copy()
        wish = dataclasses.replace(world.want("w", "all", 0.0, priority), author=author)
        ends, power = np.full(K, self.now_s + 900), np.asarray(p_kw, dtype=float)
        asked = Asked(MINE, power, np.full(K, np.nan), ends, np.zeros(K, np.int16), (wish,), self.next_id)
        heard = np.full(IMAGE.n, self.now_s, dtype=np.int64)
        image = dataclasses.replace(IMAGE, now_s=self.now_s, heard_s=heard, p_kw=self.p_kw.copy())
        passed = guard(asked, image, self.limits, self.rules, self.state, ROWS_OF)
        self.state = passed.state
        self.p_kw[MINE[passed.keep]], self.p_kw[passed.revoke] = power[passed.keep], 0.0
        rows = passed.revoke if len(passed.revoke) else MINE[passed.keep]
        if answers and len(rows):
            ids = np.arange(self.next_id, self.next_id + len(rows))
            yes = np.full(len(rows), OutcomeStatus.ACCEPTED, dtype=np.uint8)
            at_s = np.full(len(rows), self.now_s)
            said = Outcomes(FLEET.ids, rows, ids, yes, np.zeros(len(rows)), at_s)
            self.state = self.state.heard(rows.astype(np.int64), said, self.now_s)
        self.next_id += len(rows)
        return passed, (self.p_kw - before)[MINE].astype(float)

    def all_to_default(self, minutes=60):
        """Press the switch now."""
        self.rules = self.rules.all_to_default("omar", "drill", self.now_s, self.now_s + 60 * minutes)

    def end(self):
        """Two persons end it."""
        self.rules = self.rules.end_default("omar").end_default("alice")


LIMITS = st.builds(
    lambda step, rate, north, return_s: GuardLimits(
        step_kw=step,
        rate_kw_s=rate,
        groups=(GroupLimit("section/north", step_kw=north),),
        return_s=return_s,
        take_back_s=max(return_s, 1),
    ),
    st.sampled_from([45.0, 120.0, math.inf]),
    st.sampled_from([3.0, math.inf]),
    st.sampled_from([41.0, 90.0, math.inf]),
    st.sampled_from([0, 60, 240, 900]),
)


@given(LIMITS, st.lists(st.sampled_from([1, 4, 20, 60]), min_size=3, max_size=25))
@settings(max_examples=60, deadline=None)
def test_what_is_taken_back_and_what_comes_again_keeps_the_steps(limits, waits):
    """In no tick of the way back, or there again, a feeder or everything moves by more than its step."""
    life = Life(WIDE)
    life.tick()
    life.limits = limits
    life.all_to_default()
    for turn, wait_s in enumerate(waits):
        if turn == len(waits) // 2:
            life.end()
        _, moved = life.tick(wait_s)
        assert abs(moved.sum()) <= min(limits.step_kw, limits.rate_kw_s * wait_s) + 1e-3
        assert abs(moved[NORTH].sum()) <= limits.groups[0].step_kw + 1e-3


@pytest.mark.parametrize("tick_s", [4, 20, 60])
def test_the_way_back_and_the_way_there_go_evenly(tick_s):
    """Where no step binds, the sum follows the time that has passed, to within the largest member."""
    life, most = Life(WIDE), P_KW.sum()
    life.tick()
    life.all_to_default()
    for up in (False, True):
        begun_s = life.now_s
        if up:
            life.end()
        for _ in range(0, WIDE.return_s + tick_s, tick_s):
            _, moved = life.tick(tick_s)
            done = min(1.0, (life.now_s - begun_s) / WIDE.return_s)
            there = life.p_kw[MINE].sum() / most
            assert abs((there if up else 1.0 - there) - done) * most <= 40.0 + 1e-3
            assert (moved >= 0).all() if up else (moved <= 0).all()
        assert there == (1.0 if up else 0.0)
    assert life.state.revoking.since_s < 0


def test_who_goes_first_is_a_lot_of_the_moment():
    """The same drill takes its turns in the same order, so that it can be replayed, another one does not."""

    def first(wait_s):
        life = Life(WIDE)
        life.tick()
        life.now_s += wait_s
        life.all_to_default()
        return life.tick(60)[0].revoke.tolist()

    assert first(0) == first(0)
    assert first(0) != first(7)


def test_after_a_long_absence_no_more_than_half_come_at_once():
    """Who was away while everything was on its default, and finds it over, does not let all come at once."""
    life = Life(WIDE)
    life.tick()
    life.all_to_default(minutes=1)
    life.tick(30)
    passed, _ = life.tick(7_200)
    assert 0 < passed.counts()[Held.RETURN] < K
    assert P_KW[passed.keep].sum() <= 0.5 * P_KW.sum() + 40.0


def test_a_spent_window_keeps_nobody_from_going_back():
    """What moves in a window, and shares of members, limit orders; what is taken back keeps the steps."""
    life = Life(dataclasses.replace(WIDE, moved_kw=P_KW.sum(), share=0.5, return_s=0, take_back_s=0))
    life.limits = dataclasses.replace(life.limits, share=1.0)
    life.tick()
    life.limits = dataclasses.replace(life.limits, share=0.1)
    life.all_to_default()
    assert len(life.tick(4)[0].revoke) == K


def test_who_was_silent_is_taken_back_again_and_nobody_twice_within_half_a_minute():
    """Without an answer again every 30 s, as long as the order in force lasts."""
    life = Life(WIDE)
    life.tick()
    life.all_to_default()
    sent = {}
    for _ in range(100):
        passed, _ = life.tick(4, answers=False)
        for row in passed.revoke.tolist():
            sent.setdefault(row, []).append(life.now_s)
    gaps = np.concatenate([np.diff(at_s) for at_s in sent.values()])
    assert set(sent) == set(MINE.tolist())
    assert gaps.min() >= 30
    assert gaps.max() <= 34


def test_limits_of_the_grid_do_not_wait_for_their_turn():
    """What the grid's own limits ask goes at once, by whatever lot; who only says so waits."""
    for author, waits in (("grid", False), ("omar", True)):
        life = Life(WIDE)
        life.all_to_default()
        life.tick(4)
        life.end()
        passed, _ = life.tick(4, priority=Priority.ENVELOPE, author=author)
        assert (Held.RETURN in passed.counts()) == waits


def test_a_disabled_feeder_is_nobodys_turn():
    """Who receives nothing gets no revocation, whatever its lot."""
    life = Life(WIDE)
    life.tick()
    life.rules = life.rules.with_mode("section/north", Mode.DISABLED)
    life.all_to_default()
    for _ in range(10):
        assert not np.isin(life.tick(60)[0].revoke, ROWS_OF["section/north"]).any()


@pytest.mark.parametrize("up", [False, True])
def test_a_clock_set_ahead_brings_no_turn_nearer(up):
    """Seconds that nobody lived let nobody come back sooner."""
    counted = []
    for leapt_s in (0, 600):
        life = Life(WIDE)
        if not up:
            life.tick()
        life.all_to_default(minutes=600)
        life.tick(4)
        if up:
            life.end()
            life.tick(4)
        life.state, life.now_s = life.state.later(leapt_s), life.now_s + leapt_s
        passed, _ = life.tick(20)
        counted.append(int(passed.keep.sum()) if up else len(passed.revoke))
    assert counted[0] == counted[1] > 0


def test_nobody_waits_where_the_owner_wants_it_at_once():
    """Times of 0: all in one tick, there and back."""
    life = Life(dataclasses.replace(WIDE, return_s=0, take_back_s=0))
    life.tick()
    life.all_to_default()
    assert len(life.tick(1)[0].revoke) == K
    life.end()
    assert life.tick(1)[0].keep.all()


@pytest.mark.parametrize(
    "narrow", [{"step_kw": 30.0}, {"rate_kw_s": 0.1}, {"moved_kw": 0.0}, {"share": 0.01}]
)
def test_unless_its_owner_says_otherwise_the_switch_takes_all_back_in_one_tick(narrow):
    """No lot and no limit of what may move delays it, large resources least of all; only the return waits."""
    life = Life(WIDE)
    life.tick()
    part = GroupLimit("section/north", step_kw=1.0, reversals=0)
    life.limits = GuardLimits(**narrow, groups=(part,))
    life.all_to_default()
    assert life.tick(1)[0].revoke.tolist() == MINE.tolist()
    life.end()
    assert life.tick(4)[0].counts()[Held.RETURN] > 0
