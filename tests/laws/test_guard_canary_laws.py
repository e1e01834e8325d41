"""Laws of the canary: who asks few at a time is tried out as well, and rests as long as slow members take."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch.guard import Asked, GuardLimits, GuardState, Held, Rules, guard
from gridflock.model import Outcomes, OutcomeStatus, Priority
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
FLEET, GROUPS = world.fleet_of({Kind.BATTERY_HOME: 80, Kind.LOAD: 2})
CELLS = GROUPS.rows("type/battery_home")
K = len(CELLS)
VALUES = world.ordinary(FLEET, np.random.default_rng(3))
VALUES["p_kw"][CELLS] = 0.0
IMAGE = world.tell(FLEET, VALUES, NOW_S)
LIMITS = GuardLimits(
    step_kw=math.inf, canary_share=0.05, canary_least=4, canary_from=20, canary_window_s=7_200, trial_s=300
)
EMPTY = GuardState.empty(IMAGE.n)


class Author:
    """One who asks, and who is answered; the books of whom was asked when are kept here."""

    def __init__(self, limits=LIMITS, reach_s=0.0):
        self.limits, self.state, self.now_s, self.next_id = limits, EMPTY, NOW_S, 1
        slow = np.full(IMAGE.n, reach_s, dtype=np.float32)
        self.image = dataclasses.replace(IMAGE, columns={**IMAGE.columns, "reach_s": slow})
        self.asked, self.well, self.ended = {}, set(), []
        self.force = {}

    def ask(self, rows, p_kw, *, wait_s=0, status=None):
        """One pass over some rows a while later; all that went out is answered so, if at all.

        Returns:
            The verdict, and to how many something else goes than is in force.
        """
        self.now_s += wait_s
        rows, k = np.unique(np.asarray(rows, dtype=np.int32)), len(np.unique(rows))
        wish = world.want("w", "type/battery_home", 0.0, Priority.OPERATOR)
        wish = dataclasses.replace(wish, author="omar")
        power, ends = np.broadcast_to(np.asarray(p_kw, dtype=float), k).copy(), np.full(k, self.now_s + 300)
        asked = Asked(rows, power, np.full(k, np.nan), ends, np.zeros(k, np.int16), (wish,), self.next_id)
        image = dataclasses.replace(self.image, now_s=self.now_s)
        passed = guard(asked, image, self.limits, Rules(), self.state, {})
        self.state, sent = passed.state, rows[passed.keep]
        ids = np.arange(self.next_id, self.next_id + len(sent))
        self.next_id += len(sent)
        self.ended += list(passed.trials.values())
        fresh = 0
        for row, p in zip(sent.tolist(), power[passed.keep].tolist(), strict=True):
            repeats = self.force.get(row, (math.nan, 0))[0] == p and self.force[row][1] > self.now_s
            if not repeats or row in self.asked:
                self.asked[row] = self.now_s
            fresh += not repeats
            self.force[row] = (p, self.now_s + 300)
        if status is not None:
            codes = np.full(len(sent), status, dtype=np.uint8)
            said = Outcomes(FLEET.ids, sent, ids, codes, np.zeros(len(sent)), np.full(len(sent), self.now_s))
            self.state = self.state.heard(sent.astype(np.int64), said, self.now_s)
            if status in (OutcomeStatus.ACCEPTED, OutcomeStatus.PARTIAL):
                self.well |= set(sent.tolist())
            else:
                self.force = {
                    row: order for row, order in self.force.items() if row not in set(sent.tolist())
                }
        return passed, fresh

    def within(self, since_s):
        """Who was asked since a moment."""
        return {row for row, at_s in self.asked.items() if at_s > since_s}


STEPS = st.tuples(
    st.integers(0, 79),
    st.integers(1, 30),
    st.sampled_from([1, 4, 60, 299, 1_000]),
    st.sampled_from([None, None, OutcomeStatus.ACCEPTED, OutcomeStatus.REFUSED, OutcomeStatus.UNREACHABLE]),
)


@given(st.lists(STEPS, min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_before_an_author_is_proven_few_are_asked_however_it_asks(steps):
    """Trickle or burst, in any order: fewer than ``canary_from`` in any window, until enough answered well.

    After a failed trial even fewer: a new choice of as many as a trial takes.
    """
    author, failed_s = Author(), -1
    for turn, (first, many, wait_s, status) in enumerate(steps):
        rows = CELLS[(first + np.arange(many)) % K]
        passed, fresh = author.ask(rows, 2.0 if turn % 2 else -2.0, wait_s=wait_s, status=status)
        if True in author.ended:
            assert len(author.well) >= LIMITS.canary_good * LIMITS.canary_least
            assert Held.CANARY not in passed.counts()
            return
        if passed.trials.get("omar") is False:
            failed_s = author.now_s
            assert not fresh
            author.asked, author.well = {}, set()
        if not author.asked:
            continue
        reached = author.within(author.now_s - LIMITS.canary_window_s)
        assert len(reached) < LIMITS.canary_from
        assert failed_s < 0 or len(reached) <= max(LIMITS.canary_least, math.ceil(0.05 * K))


@given(st.integers(1, 10), st.sampled_from([4, 60, 120]), st.integers(0, 2**20))
@settings(max_examples=30, deadline=None)
def test_a_slow_trickle_that_nobody_answers_reaches_no_more_than_a_burst_may(each, wait_s, seed):
    """Some at a time to the end of the fleet, unanswered: it stops before ``canary_from``, and rests."""
    author, order = Author(), np.random.default_rng(seed).permutation(K)
    for at in range(0, K, each):
        author.ask(CELLS[order[at : at + each]], 2.0, wait_s=wait_s)
        if author.ended:
            break
    assert len(author.asked) < LIMITS.canary_from
    assert author.ended in ([], [False])


@given(st.integers(1, 19), st.sampled_from([4, 60, 600]))
@settings(max_examples=20, deadline=None)
def test_a_trickle_that_is_answered_well_is_never_kept_waiting(each, wait_s):
    """Those who were asked before are the few: their answers prove the author before anybody waits."""
    author = Author()
    for at in range(0, K, each):
        passed, _ = author.ask(CELLS[at : at + each], 2.0, wait_s=wait_s, status=OutcomeStatus.ACCEPTED)
        assert passed.keep.all()
    author.ask(CELLS, -2.0, wait_s=wait_s)
    assert "omar" in author.state.proven


def test_who_asked_long_ago_is_not_counted():
    """Fewer in any window than a trial takes are nobody's trial, however many in all."""
    author = Author()
    for at in range(0, K, 10):
        assert author.ask(CELLS[at : at + 10], 2.0, wait_s=LIMITS.canary_window_s)[0].keep.all()
    assert not author.state.trials["omar"].on(author.now_s)


def test_what_is_held_in_force_counts_however_long():
    """Orders that are renewed hold their members displaced: they count as long as that lasts."""
    author, mine = Author(), CELLS[:15]
    author.ask(mine, 2.0)
    for _ in range(100):
        author.ask(mine, 2.0, wait_s=150)
    assert not author.ask(CELLS[15:30], 2.0, wait_s=4)[0].keep.all()


def test_creeping_is_asking():
    """Orders that differ a little from those in force of somebody else take resources away all the same."""
    limits, author = dataclasses.replace(LIMITS, canary_share=1.0), Author()
    author.limits = limits
    author.ask(CELLS, 2.0)
    author.limits, author.state = LIMITS, dataclasses.replace(author.state, proven=frozenset(), trials={})
    assert author.ask(CELLS, 2.0, wait_s=4)[0].keep.all()
    crept, _ = author.ask(CELLS, 2.03, wait_s=4)
    assert crept.counts() == {Held.CANARY: K - LIMITS.canary_least}


@given(st.floats(1.0, 60.0), st.integers(1, 20), st.floats(0.5, 5.0))
@settings(max_examples=40, deadline=None)
def test_few_but_large_are_tried_out_by_what_they_move(most_kw, each, p_kw):
    """Before it is proven an author moves no more than ``canary_kw``, or one resource."""
    limits = dataclasses.replace(LIMITS, canary_from=1_000, canary_kw=most_kw)
    author, moved = Author(limits), 0.0
    for at in range(0, K, each):
        passed, _ = author.ask(CELLS[at : at + each], p_kw, wait_s=4)
        moved += p_kw * int(passed.keep.sum())
        if author.ended:
            break
    assert moved <= max(most_kw, p_kw) * (1 + 1e-6)


def test_after_a_failed_trial_a_trickle_is_tried_out_at_once():
    """Fewer than would be tried out otherwise: as many as a trial takes, and the others wait."""
    author = Author()
    author.ask(CELLS, 2.0, status=OutcomeStatus.REFUSED)
    author.ask(CELLS, 2.0, wait_s=60)
    assert author.ended == [False]
    author.asked = {}
    for at in range(10):
        author.ask(CELLS[at : at + 1], 2.0, wait_s=60 if at else LIMITS.trial_s)
    assert len(author.asked) == LIMITS.canary_least


@pytest.mark.parametrize(("reach_s", "more_s"), [(0.0, 0), (900.0, 900), (40_000.0, 3_600)])
def test_a_rest_lasts_as_long_as_slow_members_take(reach_s, more_s):
    """Who hears late may yet do what is no longer wanted: nothing new until then, an hour more at most."""
    author = Author(reach_s=reach_s)
    author.ask(CELLS, 2.0, status=OutcomeStatus.REFUSED)
    author.ask(CELLS, 2.0, wait_s=60)
    assert author.ended == [False]
    assert not author.ask(CELLS, 2.0, wait_s=LIMITS.trial_s + more_s - 1)[0].keep.any()
    assert author.ask(CELLS, 2.0, wait_s=1)[0].keep.any()


def test_who_was_not_sent_anything_yet_is_not_silent():
    """A trial whose members a step limit holds back waits for them; it is no failed one."""
    author = Author(dataclasses.replace(LIMITS, step_kw=2.5))
    for _ in range(3):
        author.ask(CELLS, 2.0, wait_s=100)
    assert author.ended == []
    assert len(author.asked) == 3


@pytest.mark.parametrize("leapt_s", [0, 5_000])
def test_a_clock_set_ahead_ends_no_watch_and_no_rest(leapt_s):
    """Seconds that nobody lived count for no window, no silence and no rest."""
    author = Author()
    author.ask(CELLS[:15], 2.0)
    author.state, author.now_s = author.state.later(leapt_s), author.now_s + leapt_s
    held, _ = author.ask(CELLS[15:40], 2.0, wait_s=4)
    assert held.counts()[Held.CANARY] == 25
    silent, _ = author.ask(CELLS[15:40], 2.0, wait_s=LIMITS.trial_s)
    assert silent.trials == {"omar": False}
    author.state, author.now_s = author.state.later(leapt_s), author.now_s + leapt_s
    assert not author.ask(CELLS, 2.0, wait_s=LIMITS.trial_s - 1)[0].keep.any()


def test_a_trial_whose_members_follow_somebody_else_ends():
    """Whom the grid's limits take over answers nobody any more: others are tried in their place, in time."""
    author = Author()
    mine = CELLS[author.ask(CELLS, 2.0)[0].keep]
    wish = dataclasses.replace(world.want("g", "type/battery_home", 0.0, Priority.SAFETY), author="grid")
    k, others = len(mine), np.setdiff1d(CELLS, mine)
    for _ in range(10):
        ends = np.full(k, author.now_s + 300)
        taken = Asked(
            mine, np.full(k, -1.0), np.full(k, np.nan), ends, np.zeros(k, np.int16), (wish,), author.next_id
        )
        image = dataclasses.replace(author.image, now_s=author.now_s)
        author.state = guard(taken, image, author.limits, Rules(), author.state, {}).state
        author.next_id += k
        author.ask(others, 2.0, wait_s=LIMITS.trial_s // 2)
    assert author.ended[0] is False
    assert set(others.tolist()) & set(author.asked)
