"""Laws of groups' changes of direction: what members do together is not swung to and fro too often."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch.guard import Asked, GroupLimit, GuardLimits, GuardState, Held, Rules, guard
from gridflock.model import Priority
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
FLEET, GROUPS = world.fleet_of({Kind.BATTERY_HOME: 30, Kind.LOAD: 2})
CELLS = GROUPS.rows("type/battery_home")
K = len(CELLS)
ROWS_OF = world.rows_of(GROUPS)
VALUES = world.ordinary(FLEET, np.random.default_rng(3))
VALUES["p_kw"][CELLS] = VALUES["p_avail_kw"][CELLS] = 0.0
IMAGE = world.tell(FLEET, VALUES, NOW_S)
RATED = {**IMAGE.columns, "s_max_kva": np.full(IMAGE.n, 6.0, np.float32)}
TURN_KW, TURN_KVAR = 0.05 * 10.0 * K, 0.05 * 12.0 * K
SLACK = 1e-3


def limits_of(reversals, group="type/battery_home"):
    """Nothing but this."""
    return GuardLimits(step_kw=math.inf, groups=(GroupLimit(group, reversals=reversals),))


class Life:
    """Devices that do at once what they are told, as long as it lasts."""

    def __init__(self, limits):
        self.limits, self.state, self.now_s = limits, GuardState.empty(IMAGE.n), NOW_S
        self.p_kw = np.zeros(IMAGE.n, dtype=np.float32)
        self.q_kvar, self.ends = self.p_kw.copy(), np.zeros(IMAGE.n, dtype=np.int64)

    def tick(self, p_kw, q_kvar=np.nan, *, wait_s=20, lasts_s=300, rows=CELLS):
        """One pass; how many orders went out, and how far all moved together, kW, kvar."""
        self.now_s += wait_s
        over = self.ends <= self.now_s
        self.p_kw[over] = self.q_kvar[over] = 0.0
        k, before = len(rows), (self.p_kw.sum(), self.q_kvar.sum())
        wish = dataclasses.replace(world.want("w", "all", 0.0, Priority.SCHEDULE), author="plan")
        power, reactive = (np.broadcast_to(np.asarray(x, dtype=float), k).copy() for x in (p_kw, q_kvar))
        asked = Asked(rows, power, reactive, np.full(k, self.now_s + lasts_s), np.zeros(k, np.int16), (wish,))
        heard, does = np.full(IMAGE.n, self.now_s), {"p_kw": self.p_kw.copy(), "q_kvar": self.q_kvar.copy()}
        image = dataclasses.replace(IMAGE, now_s=self.now_s, columns=RATED, heard_s=heard, **does)
        passed = guard(asked, image, self.limits, Rules(), self.state, ROWS_OF)
        self.state, sent = passed.state, rows[passed.keep]
        self.p_kw[sent], self.q_kvar[sent] = power[passed.keep], np.nan_to_num(passed.q_kvar[passed.keep])
        self.ends[sent] = self.now_s + lasts_s
        return passed, float(self.p_kw.sum() - before[0]), float(self.q_kvar.sum() - before[1])


def turns(path, turn):
    """Places of a path of moves, ``(moment, by, ordered)``, at which orders change its direction."""
    at = far = way = 0.0
    found = []
    for now_s, by, ordered in path:
        at += by
        if way == 0.0 and abs(at) > turn:
            way, far = math.copysign(1.0, at), at
        elif way * (far - at) > turn:
            way, far = -way, at
            found += [now_s] if ordered else []
        elif way:
            far = max(far, at) if way > 0 else min(far, at)
    return found


@given(
    st.sampled_from([0, 1, 2, 5]),
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-3, 3), st.sampled_from([4, 60, 290])), max_size=25),
    st.integers(4, 400),
)
@settings(max_examples=60, deadline=None)
def test_a_group_turns_no_more_often_than_it_may(reversals, steps, lasts_s):
    """Whatever is asked and however short it lasts: in any window orders turn the whole so often at most."""
    life, limits = Life(limits_of(reversals)), limits_of(reversals)
    path = {"kw": [], "kvar": []}
    for p_kw, q_kvar, wait_s in steps:
        now_s = life.now_s + wait_s
        over = life.ends <= now_s
        path["kw"].append((now_s, -float(life.p_kw[over].sum()), False))
        path["kvar"].append((now_s, -float(life.q_kvar[over].sum()), False))
        _, kw, kvar = life.tick(p_kw, q_kvar, wait_s=wait_s, lasts_s=lasts_s)
        path["kw"].append((now_s, kw, True))
        path["kvar"].append((now_s, kvar, True))
    for unit, turn in (("kw", TURN_KW), ("kvar", TURN_KVAR)):
        at_s = turns(path[unit], turn + SLACK)
        for last_s in at_s:
            recent = [t for t in at_s if last_s - limits.reversal_s < t <= last_s]
            assert len(recent) <= reversals


def test_what_is_held_is_held_for_that():
    """Up, and down once; the second way up goes only as far as what is no turn, until the window is over."""
    life = Life(limits_of(1))
    assert life.tick(4.0)[0].keep.all()
    assert life.tick(-4.0)[0].keep.all()
    passed, kw, _ = life.tick(4.0)
    assert Held.SWING in passed.counts()
    assert 0.0 < kw <= TURN_KW + SLACK
    assert life.tick(-4.0)[0].keep.all()
    passed, kw, _ = life.tick(4.0, wait_s=life.limits.reversal_s)
    assert kw == pytest.approx(4.0 * K)  # from nothing: the orders had run out


def test_members_may_change_places():
    """Half up and half down, to and fro: each turns, the group does not."""
    life, half = Life(limits_of(0)), np.where(np.arange(K) % 2 == 0, 4.0, -4.0)
    for turn in range(6):
        assert life.tick(half if turn % 2 else -half)[0].keep.all()


def test_orders_that_run_out_turn_a_group_as_well():
    """Up, let it lapse, up again: the second way up is a turn, though no order ever went down."""
    life = Life(limits_of(0))
    assert life.tick(4.0, lasts_s=30)[0].keep.all()
    passed, kw, _ = life.tick(4.0, wait_s=40)
    assert Held.SWING in passed.counts()
    assert kw <= TURN_KW + SLACK


def test_all_to_default_turns_a_group_as_well():
    """Orders that are taken back count as the way back that they are."""
    life = Life(dataclasses.replace(limits_of(0), return_s=0))
    life.tick(4.0)
    rules = Rules().all_to_default("omar", "drill", life.now_s, life.now_s + 60)
    ends, none = np.full(K, life.now_s + 300), np.full(K, np.nan)
    asked = Asked(CELLS, np.full(K, 4.0), none, ends, np.zeros(K, np.int16), (world.want("w", "all", 0.0),))
    image = dataclasses.replace(IMAGE, now_s=life.now_s + 1, p_kw=life.p_kw.copy())
    state = guard(asked, image, life.limits, rules, life.state, ROWS_OF).state
    assert state.swings["type/battery_home"][0].way == -1


def test_a_clock_set_ahead_frees_no_turn():
    """Seconds that nobody lived count for no window."""
    life = Life(limits_of(1))
    life.tick(4.0)
    life.tick(-4.0)
    life.state = life.state.later(5_000)
    life.now_s += 5_000
    life.ends += 5_000
    memory = life.state.memory.copied()
    memory.expires_s[CELLS] += 5_000
    life.state = dataclasses.replace(life.state, memory=memory)
    assert Held.SWING in life.tick(4.0)[0].counts()


def test_groups_without_such_a_limit_are_not_counted():
    """Nobody is turned back, and nothing is remembered, where the owner says nothing."""
    life = Life(limits_of(math.inf))
    for turn in range(10):
        assert life.tick(4.0 if turn % 2 else -4.0)[0].keep.all()
    assert life.state.swings == {}
