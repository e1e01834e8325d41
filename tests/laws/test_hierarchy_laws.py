"""Laws of systems above systems: the sum holds whatever becomes of the messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gridflock.dispatch.hierarchy import Child, Known, Parent, overcommitted
from gridflock.dispatch.hierarchy._child import ACCEPT_S
from gridflock.dispatch.hierarchy._parent import _aims
from gridflock.model import Allowance, Directive
from gridflock.units import TimeGrid

START = 1_750_000_000
RATING = (-100.0, 60.0)
DEFAULT = (-10.0, 5.0)
LIFE_S, SKEW_S = 20, 2
STEP_S, STEPS = 60, 5


class Greedy:
    """A child that always does the most it may, and moves into new bounds only after a while.

    What it does beside its bounds (load that takes no orders) it tells; it is not counted as what it may.
    """

    def __init__(self, name, skew_s, rng):
        self.child = Child.begun(name, DEFAULT, START)
        self.skew_s, self.rng, self.slow = skew_s, rng, 0

    def told(self, now_s, strays):
        """Its standing, with a power inside of its bounds or, where it strays, often beside them."""
        clock = now_s + self.skew_s
        low, high = self.child.kept.at(clock)
        p_kw = self.rng.uniform(low, high)
        if strays and self.rng.random() < 0.4:
            beside = self.rng.exponential(25.0)
            p_kw = high + beside if self.rng.random() < 0.5 else low - beside
        return self.child.standing(clock, p_kw, RATING)

    def live(self, now_s):
        """Its greatest import and export by its own clock, while settled and while not."""
        clock = now_s + self.skew_s
        bounds = [self.child.kept.at(clock, SKEW_S), self.child.aims.at(clock, SKEW_S)]
        if self.slow > 0:
            self.slow -= 1
        elif self.child.adopted is not None:
            grid = self.child.adopted.allowance.grid
            self.child = self.child.settled(*self.child.adopted.allowance.over(grid))
            bounds = [self.child.aims.at(clock, SKEW_S)]
        return min(low for low, _ in bounds), max(high for _, high in bounds)


class Wire:
    """Loses, delays, doubles and shuffles what it carries; nothing arrives later than it may."""

    def __init__(self, rng, loss, cuts=()):
        self.rng, self.loss, self.cuts, self.under_way = rng, loss, cuts, []

    def send(self, now_s, to, message):
        """Perhaps once, perhaps twice, perhaps not; nothing while the line of that child is cut."""
        if any(message.child == f"child {k}" and a <= now_s - START < a + 120 for k, a in self.cuts):
            return
        for _ in range(1 + int(self.rng.random() < 0.2)):
            if self.rng.random() >= self.loss:
                self.under_way.append((now_s + int(self.rng.integers(0, 25)), to, message))

    def arrived(self, now_s):
        """What is here by now, in any order."""
        here = [item for item in self.under_way if item[0] <= now_s]
        self.under_way = [item for item in self.under_way if item[0] > now_s]
        self.rng.shuffle(here)
        return here


def parent(names, epoch):
    """A parent that begins its life and knows nothing but ratings and defaults."""
    return Parent(
        epoch,
        tuple(Known(n, RATING, DEFAULT) for n in names),
        life_s=LIFE_S,
        lease_s=STEP_S * STEPS,
        skew_s=SKEW_S,
    )


class Life:
    """A parent with four greedy children, second by second."""

    def __init__(self, seed, loss, limit, steady, unable, strays, cuts):
        self.strays = strays
        self.steady, self.unable = steady, np.random.default_rng(seed + 1) if unable else None
        self.rng = np.random.default_rng(seed)
        self.names = [f"child {k}" for k in range(4)]
        self.children = {n: Greedy(n, int(self.rng.integers(-1, 2)), self.rng) for n in self.names}
        self.up, self.wire, self.limit = parent(self.names, START), Wire(self.rng, loss, cuts), limit

    def second(self, now_s, *, dies):
        """Messages arrive, children do all they may, the parent hands out; what the children did."""
        if dies:
            self.up = parent(self.names, now_s) if self.rng.random() < 0.8 else None
        elif self.up is None and self.rng.random() < 0.02:
            self.up = parent(self.names, now_s)
        for _, to, message in self.wire.arrived(now_s):
            self.deliver(now_s, to, message)
        did = [greedy.live(now_s) for greedy in self.children.values()]
        if self.up is not None and now_s % 10 == 0:
            self.hand_out(now_s)
        if now_s % 5 == 0:
            for greedy in self.children.values():
                self.wire.send(now_s, "parent", greedy.told(now_s, self.strays))
        return sum(low for low, _ in did), sum(high for _, high in did)

    def deliver(self, now_s, to, message):
        """One message to whom it is for."""
        if to == "parent":
            if self.up is not None:
                self.up, fault = self.up.heard(message, now_s)
                assert fault is None
            return
        greedy = self.children[to]
        before = greedy.child.adopted
        greedy.child, _ = greedy.child.heard(message, now_s + greedy.skew_s)
        if greedy.child.adopted is not before:
            greedy.slow = int(self.rng.integers(0, 8))

    def hand_out(self, now_s):
        """A round of the parent, with wishes that jump about."""
        grid = TimeGrid.uniform(now_s - now_s % STEP_S, STEP_S, STEPS)
        want = self.rng.uniform(-60.0, 40.0, (len(self.names), 1 if self.steady else STEPS))
        want = want + np.zeros(STEPS)
        want[self.rng.random(len(want)) < 0.1] = np.nan
        bounds = (np.full(STEPS, self.limit[0]), np.full(STEPS, self.limit[1]))
        able = None
        if self.unable is not None:
            ends = np.sort(self.unable.uniform(*RATING, (2, *want.shape)), axis=0)
            able = ends[0], ends[1]
        self.up, sent = self.up.allot(grid, bounds, want, np.zeros_like(want), now_s, able)
        for directive in sent:
            self.wire.send(now_s, directive.child, directive)


def lived(
    seed, loss, restarts, *, steady=False, limit=(-120.0, 70.0), seconds=600, unable=False,
    strays=False, cuts=(),
):  # fmt: skip
    """(seconds, 2) sums of the least and most that the children did."""
    life = Life(seed, loss, limit, steady, unable, strays, cuts)
    return np.array([life.second(START + s, dies=s in restarts) for s in range(seconds)])


LIVES = {
    "seed": st.integers(0, 10_000),
    "loss": st.sampled_from([0.0, 0.05, 0.2, 0.6, 1.0]),
    "restarts": st.lists(st.integers(50, 550), max_size=3),
}
AS_DRAWN = [Phase.explicit, Phase.reuse, Phase.generate]
"""A life is as short as it can be: nothing to shrink."""


@settings(max_examples=30, deadline=None, phases=AS_DRAWN)
@given(**LIVES, steady=st.booleans())
def test_the_sum_of_what_children_may_do_never_exceeds_the_limit(seed, loss, restarts, steady):
    """Whatever is lost, late, doubled or out of order, and whenever the parent dies, the sum holds.

    Children use all they may at every second, move into smaller bounds only after a while, and have clocks
    that are off: only around the edge of two steps whose bounds have nothing in common may the sum be off.
    """
    assert_held(lived(seed, loss, restarts, steady=steady))


def assert_held(used):
    """The sums of what children may do, edges of steps aside, are within the limit."""
    past_edge = (START + np.arange(len(used))) % STEP_S
    inside = (past_edge > SKEW_S + 1) & (past_edge < STEP_S - SKEW_S - 1)
    assert used[inside, 0].min() >= -120.0 - 1e-3
    assert used[inside, 1].max() <= 70.0 + 1e-3


CUTS = st.lists(st.tuples(st.integers(0, 3), st.integers(40, 500)), max_size=4)


@settings(max_examples=25, deadline=None, phases=AS_DRAWN)
@given(**LIVES, cuts=CUTS)
def test_a_stray_is_no_right_to_more(seed, loss, restarts, cuts):
    """Whatever children draw beside their bounds, the sum of what they *may* do never exceeds the limit.

    Strays of any size on either side come and go, messages are lost, lines are cut for two minutes and
    mended, the parent dies and begins anew, knowing of a child's stray nothing but what the child tells.
    """
    assert_held(lived(seed, loss, restarts, strays=True, cuts=cuts))


def test_much_of_the_limit_is_used_while_messages_arrive():
    """Much is used although a fifth of the messages is lost and wishes jump; with none the defaults hold."""
    used = lived(3, 0.2, [])
    assert used[300:, 0].mean() < 0.5 * -120.0
    assert used[300:, 1].mean() > 0.3 * 70.0
    silent = lived(3, 1.0, [])
    assert np.allclose(silent, [4 * DEFAULT[0], 4 * DEFAULT[1]])


def settled_pair(limit_hi=70.0):
    """A parent and two children that have agreed on a first allowance."""
    up = parent(["a", "b"], START)
    children = {n: Child.begun(n, DEFAULT, START) for n in ("a", "b")}
    grid = TimeGrid.uniform(START, STEP_S, 30)
    now_s = START + LIFE_S + SKEW_S + 1
    for _ in range(3):
        for child in children.values():
            up, fault = up.heard(child.standing(now_s, 0.0, RATING), now_s)
            assert fault is None
        want = np.tile([[30.0], [10.0]], grid.n)
        limits = np.full(grid.n, -120.0), np.full(grid.n, limit_hi)
        up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s)
        for d in sent:
            child, fault = children[d.child].heard(d, now_s)
            assert fault is None
            children[d.child] = child.settled(*d.allowance.over(d.allowance.grid))
        now_s += 1
    return up, children, grid, now_s


def test_what_one_gives_up_another_gets_only_when_it_is_given_up():
    """A part taken from one child goes to another no sooner than the first says that it keeps less."""
    up, children, grid, now_s = settled_pair()
    up, _ = up.heard(children["a"].standing(now_s, 0.0, RATING), now_s)
    up, _ = up.heard(children["b"].standing(now_s, 0.0, RATING), now_s)
    before = [float(children[n].aims.hi_kw[5]) for n in ("a", "b")]
    assert sum(before) == pytest.approx(70.0)
    want = np.tile([[0.0], [60.0]], grid.n)
    limits = np.full(grid.n, -120.0), np.full(grid.n, 70.0)
    up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s)
    first = [float(d.allowance.hi_kw[5]) for d in sent]
    assert first[0] < before[0]
    assert first[1] == pytest.approx(before[1])
    a, _ = children["a"].heard(sent[0], now_s)
    up, _ = up.heard(a.standing(now_s + 1, 0.0, RATING), now_s + 1)
    up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s + 1)
    assert float(sent[1].allowance.hi_kw[5]) == pytest.approx(before[1]), "adopted is not yet kept"
    a, _ = a.heard(sent[0], now_s + 1)
    a = a.settled(*a.aims.over(grid))
    up, _ = up.heard(a.standing(now_s + 2, 0.0, RATING), now_s + 2)
    up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s + 2)
    second = [float(d.allowance.hi_kw[5]) for d in sent]
    assert second[1] > before[1] + 1.0
    assert sum(second) <= 70.0 + 1e-6


def test_who_goes_back_to_what_it_kept_before_has_no_right_to_it():
    """A child restored to before it kept what it was told last, the other cut off, gets no more than that."""
    up, children, grid, now_s = settled_pair()
    limits = np.full(grid.n, -120.0), np.full(grid.n, 70.0)

    def round_of(want_kw, *told):
        nonlocal up
        for child in told:
            up, fault = up.heard(child.standing(now_s, 0.0, RATING), now_s)
            assert fault is None
        want = np.tile([[each] for each in want_kw], grid.n)
        up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s)
        return sent

    (a, b), before = children.values(), None
    for _ in range(3):
        for directive in round_of((0.0, 60.0), a, b):
            child = {"a": a, "b": b}[directive.child].heard(directive, now_s)[0]
            before = (before or child) if directive.child == "a" else before
            a, b = (child, b) if directive.child == "a" else (a, child)
        a, b = (each.settled(*each.aims.over(grid)) for each in (a, b))
        now_s += 1
    round_of((0.0, 60.0), a, b)
    assert before.kept.hi_kw[5] > a.kept.hi_kw[5] + 30.0
    now_s += LIFE_S + SKEW_S + 1  # nothing that was sent is under way any more
    assert round_of((60.0, -60.0), before)[0].allowance.hi_kw[5] <= 70.0 - b.kept.hi_kw[5] + 1e-6


POWERS = st.lists(st.floats(-80.0, 80.0), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None)
@given(wants=POWERS, limit=st.tuples(st.floats(-200.0, 0.0), st.floats(0.0, 200.0)))
def test_what_fits_is_allowed_and_nobody_is_forced_without_need(wants, limit):
    """Wants that fit under the limit together lie within the bounds; those that do not are all cut alike.

    A bound forces a flow only on who wants that flow, and only where others need it for theirs.
    """
    want, rating = np.array(wants)[:, None], np.full((4, 1), 100.0)
    ends = -rating, rating
    low, high = _aims((np.array([limit[0]]), np.array([limit[1]])), want, ends, ends)
    assert high.sum() <= limit[1] + 1e-6
    assert low.sum() >= limit[0] - 1e-6
    assert (low <= high + 1e-6).all()
    assert (want.sum() > limit[1]) or (want <= high + 1e-6).all()
    assert (want.sum() < limit[0]) or (want >= low - 1e-6).all()
    for bound, wish, most in ((high, want, limit[1]), (-low, -want, -limit[0])):
        forced = bound < -1e-6
        assert (wish[forced] <= bound[forced] + 1e-6).all()
        assert not forced.any() or np.maximum(wish, 0.0).sum() > most - 1e-6
        cut = (wish > bound + 1e-6) & (bound > 1e-6)
        assert not cut.any() or np.ptp(bound[cut]) <= 1e-3


ROUNDS = st.lists(
    st.tuples(st.floats(-150.0, 150.0), st.floats(-60.0, 40.0), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(rounds=ROUNDS, limit_hi=st.sampled_from([70.0, 40.0, 25.0]))
def test_what_a_stray_child_may_do_does_not_grow_from_round_to_round(rounds, limit_hi):
    """While the other one cannot be reached, no stray gets a child more than it was given at first.

    Nor does a new life of the parent, which knows nothing of what was given: in every step its bounds and
    those of the other stay within the limit together.
    """
    up, children, grid, now_s = settled_pair(limit_hi)
    up, _ = up.heard(children["a"].standing(now_s, 0.0, RATING), now_s)
    up, _ = up.heard(children["b"].standing(now_s, 0.0, RATING), now_s)
    a, other = children["a"], children["b"].aims
    limits = np.full(grid.n, -120.0), np.full(grid.n, limit_hi)
    for p_kw, wanted, hears, keeps, anew in rounds:
        now_s += LIFE_S + SKEW_S + 1
        up, fault = up.heard(a.standing(now_s, p_kw, RATING), now_s)
        assert fault is None
        want = np.full((2, grid.n), wanted)
        up, sent = up.allot(grid, limits, want, np.zeros_like(want), now_s)
        for given_a in (each for each in sent if each.child == "a" and hears):
            a, _ = a.heard(given_a, now_s)
            a = a.settled(*a.aims.over(grid)) if keeps else a
        assert (a.aims.lo_kw + other.lo_kw >= limits[0] - 1e-6).all()
        assert (a.aims.hi_kw + other.hi_kw <= limits[1] + 1e-6).all()
        low, high = up.exposure(grid)
        up = replace(parent(["a", "b"], now_s), lease_s=grid.end_s - START) if anew else up
        k = grid.step_at(now_s)
        assert low[0, k] <= max(p_kw, RATING[0]) + 1e-6, "what it does is counted"
        assert high[0, k] >= min(p_kw, RATING[1]) - 1e-6, "what it does is counted"


def test_a_parent_of_an_earlier_life_is_not_followed():
    """Directives of an earlier life are refused by name; a parent that sees a later life says no more."""
    up, children, grid, now_s = settled_pair()
    later = replace(children["a"].adopted, epoch=START + 500, number=1, accept_until_s=now_s + 100)
    a, fault = children["a"].heard(later, now_s)
    assert fault is None
    _, fault = a.heard(replace(later, epoch=START, number=99), now_s)
    assert fault is not None
    assert fault.field == "number"
    a = a.settled(*a.aims.over(grid))
    up, _ = up.heard(a.standing(now_s + 1, 0.0, RATING), now_s + 1)
    assert up.deposed
    want = np.zeros((2, grid.n))
    assert up.allot(grid, (want[0] - 99, want[0] + 99), want, want, now_s)[1] == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"child": "b"}, "child"),
        ({"accept_until_s": START - 1}, "accept_until_s"),
        ({"accept_until_s": START + 2 * ACCEPT_S}, "accept_until_s"),
        ({"want_kw": np.zeros(2)}, "allowance"),
    ],
)
def test_directives_that_break_a_rule_are_refused_by_field(change, field):
    """A directive for another, too late or misshapen changes nothing and names its field."""
    grid = TimeGrid.uniform(START, STEP_S, 3)
    bounds = Allowance(grid, np.full(3, -5.0), np.full(3, 5.0), DEFAULT)
    good = Directive("a", START, 1, START + 20, bounds, np.zeros(3), np.zeros(3))
    child = Child.begun("a", DEFAULT, START)
    after, fault = child.heard(replace(good, **change), START + 1)
    assert after is child
    assert fault is not None
    assert fault.field == field
    crossed = replace(bounds, lo_kw=np.array([-5.0, np.nan, -5.0]))
    _, fault = child.heard(replace(good, allowance=crossed), START + 1)
    assert fault is not None
    assert fault.field == "lo_kw"


def test_defaults_that_do_not_fit_under_the_limit_are_named():
    """Children whose defaults alone break the limit are refused before anything is handed out."""
    known = [Known(n, RATING, DEFAULT) for n in ("a", "b")]
    assert overcommitted(known, (-20.0, 10.0)) is None
    fault = overcommitted(known, (-20.0, 9.0))
    assert fault is not None
    assert fault.field == "default_hi_kw"
    assert fault.ids == ("a", "b")
