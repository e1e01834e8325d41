"""Rounds of a system above: who is slow, what is not recorded, who follows another, what was never agreed."""

import threading

import numpy as np
import pytest

from gridflock.dispatch.hierarchy import Child, Known
from gridflock.field.peer import Unanswered
from gridflock.model import Directive
from gridflock.record import RecordFull, open_record
from gridflock.runtime import RequestRejected
from gridflock.runtime._above import Above

START = 1_750_032_000
RATING, DEFAULT, LIMIT = (-100.0, 60.0), (-10.0, 5.0), (-120.0, 70.0)
LIFE_S, SKEW_S = 30, 2


class Below:
    """A system below that settles at once, and means to do ``p_kw`` as far as its bounds let it."""

    def __init__(self, name, clock, p_kw=-5.0):
        self.name, self.clock, self.p_kw, self.able_kw = name, clock, p_kw, RATING
        self.child, self.got, self.waits = Child.begun(name, DEFAULT, clock()), [], None

    def standing(self):
        """What it tells; it may take its time."""
        if self.waits is not None:
            self.waits.wait()
        bounds = self.child.aims
        self.child = self.child.settled(bounds.lo_kw, bounds.hi_kw)
        p_kw = float(np.clip(np.clip(self.p_kw, *bounds.at(self.clock())), *self.able_kw))
        plan_kw = np.full(self.child.kept.grid.n, self.p_kw)
        return self.child.standing(self.clock(), p_kw, self.able_kw, plan_kw)

    def direct(self, directive):
        """Adopt it, or say what is wrong with it."""
        self.child, fault = self.child.heard(directive, self.clock())
        self.got.append(directive)
        if fault is not None:
            raise Unanswered(f"{self.name}: {fault.field} {fault.reason}")


class World:
    """Some below, one above, and the time they all go by."""

    def __init__(self, folder, names=("north", "south"), **words):
        self.now_s, self.folder = START, folder
        self.below = {name: Below(name, lambda: self.now_s) for name in names}
        self.words = {"life_s": LIFE_S, "skew_s": SKEW_S, "patience_s": 20.0} | words
        self.above = self.begun()

    def begun(self):
        """A life above."""
        agreed = [Known(name, RATING, DEFAULT) for name in self.below]
        record = open_record(self.folder)
        return Above(list(self.below.values()), agreed, LIMIT, record, lambda: self.now_s, **self.words)

    def rounds(self, many, every_s=10):
        """Some rounds; the last look."""
        for _ in range(many):
            self.now_s += every_s
            look = self.above.round()
        return look


@pytest.fixture
def world(tmp_path):
    """Two below, one above, past the time in which it only listens."""
    world = World(tmp_path)
    world.rounds(6)
    yield world
    world.above.close()


def high(below):
    """Highest injection that one may come to now."""
    return below.child.aims.at(below.clock(), SKEW_S)[1]


def test_the_limit_is_shared_and_what_stands_is_not_said_again(world):
    """Both are told what adds up to the limit; once they keep it nothing more is recorded or said."""
    look = world.rounds(2)
    assert look.may_kw == LIMIT
    assert all(child.settled and not child.trouble for child in look.children)
    assert sum(high(below) for below in world.below.values()) == pytest.approx(LIMIT[1])
    said = [len(below.got) for below in world.below.values()]
    world.rounds(5)
    assert [len(below.got) for below in world.below.values()] == said
    assert all(np.isnan(below.got[-1].want_kw).all() for below in world.below.values())


def test_nothing_is_said_before_words_of_a_former_life_are_over(tmp_path):
    """For the life of a directive and the clocks' difference a new life only listens."""
    world = World(tmp_path)
    look = world.rounds(3)
    assert [child.heard for child in look.children] == ["", ""]
    assert not any(below.got for below in world.below.values())
    world.rounds(2)
    assert all(below.got for below in world.below.values())
    world.above.close()


def test_one_that_does_not_answer_holds_nobody_up(tmp_path):
    """While south sits on a question north is heard and told; its answer counts when it comes."""
    world = World(tmp_path, patience_s=0.5)
    south = world.below["south"]
    world.rounds(6)
    south.waits = threading.Event()
    before = len(world.below["north"].got)
    world.below["north"].p_kw = 40.0
    look = world.rounds(3)
    north, late = look.children
    assert north.silent_s == 0
    assert late.silent_s == 30
    assert "no answer to standing" in late.trouble
    assert len(world.below["north"].got) > before
    south.waits.set()
    world.rounds(2)
    look = world.rounds(1)
    assert (look.children[1].silent_s, look.children[1].trouble) == (0, "")
    world.above.close()


def test_who_cannot_keep_its_part_is_made_up_for(world):
    """North cannot import less than 90 kW: it is told no less, and south gets what is left of 120."""
    world.below["south"].p_kw, world.below["north"].p_kw = -60.0, -90.0
    world.below["north"].able_kw = -100.0, -90.0
    look = world.rounds(6)
    assert [child.lo_kw for child in look.children] == pytest.approx([-90.0, -30.0], abs=0.01)


def test_what_is_not_recorded_is_not_said(world, monkeypatch):
    """On a full disk nobody is told anything new; with room again all goes on."""
    said = len(world.below["north"].got)

    def full(_):
        raise RecordFull("no space left")

    world.below["north"].p_kw = -70.0
    with monkeypatch.context() as patch:
        patch.setattr(world.above._record, "append", full)
        assert world.rounds(2).halted == "no space left"
        assert len(world.below["north"].got) == said
    assert not world.rounds(2).halted
    assert len(world.below["north"].got) > said


def test_one_whose_children_follow_a_later_life_says_nothing_more(world):
    """It says so, and the ledger has an alarm of it."""
    later = world.below["south"].got[-1]
    words = later.allowance, later.want_kw, later.price
    world.below["south"].direct(Directive("south", START + 10_000, 1, world.now_s + 60, *words))
    said = len(world.below["north"].got)
    world.below["north"].p_kw = -70.0
    assert world.rounds(2).deposed
    assert len(world.below["north"].got) == said
    alarms = [entry.head["cause"] for entry in world.above._record.entries(0, {"alarm"})]
    assert alarms == ["deposed"]


def test_a_new_life_is_later_than_the_former_one_even_where_the_clock_went_back(tmp_path):
    """Otherwise those below would not follow it."""
    world = World(tmp_path)
    first = world.rounds(1).epoch
    world.above.close()
    world.now_s = START - 500
    world.above = world.begun()
    assert world.rounds(1).epoch > first
    world.above.close()


@pytest.mark.parametrize(
    ("children", "limit", "words"),
    [
        ([], LIMIT, "child"),
        ([Known("a", RATING, DEFAULT)] * 2, LIMIT, "each named once"),
        ([Known("a", RATING, (-200.0, 5.0))], LIMIT, "within the rating"),
        ([Known(name, RATING, (-70.0, 5.0)) for name in "ab"], LIMIT, "defaults add up to -140 kW"),
        ([Known("a", RATING, DEFAULT)], (-np.inf, 5.0), "limit"),
    ],
)
def test_what_no_life_can_hold_to_is_refused(children, limit, words, tmp_path):
    """It does not begin; field, rule and figures are said."""
    record = open_record(tmp_path)
    with pytest.raises(RequestRejected) as refused:
        Above([], children, limit, record, lambda: START)
    record.close()
    assert any(words in f"{f.field} {f.rule} {f.reason}" for f in refused.value.faults), refused.value.faults
