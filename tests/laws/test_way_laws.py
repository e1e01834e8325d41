"""The way to the devices, the loop's time, and measurements that cannot be: bad input stops no tick."""

import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch import Response
from gridflock.fleet import Fleet
from gridflock.model import Orders, Outcomes, OutcomeStatus, Readings
from gridflock.runtime import LOCAL, Rehearsal, Settings, rehearse, replay
from gridflock.runtime._steady import BACK, FAR_S, LEAPT, Steady
from gridflock.runtime._suspect import STANDING, standing, upright
from gridflock.runtime._way import BLOCKED, FAILED, Way
from gridflock.runtime._ways import Ways
from gridflock.schema import QUANTITY
from gridflock.sim import Scenario

PATIENCE_S = 0.2
IDS = ("a", "b")


def _readings(value=1.0):
    one = np.array([0])
    return Readings(IDS, one.astype(np.int32), one.astype(np.uint8), one + value, one, one.astype(np.uint8))


def _outcomes(*order_ids):
    k = np.array(order_ids, dtype=np.int64)
    zero = np.zeros(len(k))
    return Outcomes(IDS, zero.astype(np.int32), k, zero.astype(np.uint8), zero, zero.astype(np.int64))


def _orders(*order_ids):
    k, zero = np.array(order_ids, dtype=np.int64), np.zeros(len(order_ids))
    return Orders(IDS, zero.astype(np.int32), k, zero, k + 900, zero.astype(np.int16), ("x",), 0)


class Moody:
    """An adapter that answers, blocks until told otherwise, or raises; by verb."""

    def __init__(self):
        self.blocked, self.raising = set(), set()
        self.free = threading.Event()
        self.sent = []

    def _mood(self, verb):
        if verb in self.blocked:
            self.free.wait(30)
        if verb in self.raising:
            raise OSError(f"{verb} is broken")

    def read(self, now_s):
        """One reading whose value is the moment."""
        self._mood("read")
        return _readings(now_s)

    def outcomes(self, now_s):
        """Nothing."""
        del now_s
        self._mood("outcomes")
        return _outcomes()

    def send(self, orders):
        """Note what arrived."""
        self._mood("send")
        self.sent += orders.order_id.tolist()


@pytest.fixture
def moody():
    """An adapter, let free in the end."""
    field = Moody()
    yield field
    field.free.set()


def _lost(arrived):
    return [int(k) for o in arrived.outcomes for k in o.order_id[o.status == OutcomeStatus.UNREACHABLE]]


def test_a_way_that_answers_is_the_adapter(moody):
    """Readings, outcomes and orders pass as they are; nothing is wrong."""
    way = Way(moody, PATIENCE_S)
    arrived = way.listen(60)
    way.send(_orders(1, 2), 60)
    assert ([r.value.tolist() for r in arrived.readings], arrived.troubles) == ([[60.0]], ())
    assert moody.sent == [1, 2]
    assert _lost(way.listen(120)) == []
    way.close()


def test_a_blocked_adapter_is_waited_for_once_and_comes_back(moody):
    """One tick waits as long as its patience, the next ones not at all; what came late is taken in then."""
    way = Way(moody, PATIENCE_S)
    moody.blocked = {"read"}
    assert way.listen(60).troubles[0].startswith(BLOCKED)
    begun = time.monotonic()
    for k in range(20):
        assert way.listen(120 + k).troubles[0].startswith(BLOCKED)
        way.send(_orders(10 + k), 120 + k)
    assert time.monotonic() - begun < 10 * PATIENCE_S
    assert moody.sent == []
    moody.blocked = set()
    moody.free.set()
    deadline = time.monotonic() + 20
    values, lost = [], []
    while len(values) < 2 and time.monotonic() < deadline:
        arrived = way.listen(500)
        values += [r.value[0] for r in arrived.readings]
        lost += _lost(arrived)
        time.sleep(0.01)
    assert values[:2] == [60.0, 500.0]
    assert lost == list(range(29, 30))
    assert arrived.troubles == ()
    way.send(_orders(99), 500)
    assert moody.sent == [99]
    way.close()


@pytest.mark.parametrize("verb", ["read", "outcomes", "send"])
def test_an_adapter_that_raises_is_told_of_and_asked_again(moody, verb):
    """Its orders count as unreachable, the reason is told, the next call is made."""
    way = Way(moody, PATIENCE_S)
    moody.raising = {verb}
    way.send(_orders(1), 60)
    arrived = way.listen(120)
    if verb == "send":
        assert _lost(arrived) == [1]
    else:
        assert arrived.troubles == (f"{FAILED}: {verb}: OSError: {verb} is broken",)
    moody.raising = set()
    assert way.listen(180).troubles == ()
    way.close()


class Interrupted:
    """Names; while they are gone through for the first time, something else happens."""

    def __init__(self, names, then):
        self.names, self.then = names, [then]

    def __iter__(self):
        for name in self.names:
            if self.then:
                self.then.pop()()
            yield name


def test_who_is_spoken_to_otherwise_while_orders_go_out_is_so_from_the_next_on():
    """Another sharing in the middle of a tick: that one goes by the former whole, the next by the new."""
    one, other = Moody(), Moody()
    ways = Ways(one, PATIENCE_S)
    ways.join("radio", other, ())
    ids = Interrupted(IDS, lambda: ways.speak("radio", {"a"}))
    both = np.array([0, 1], dtype=np.int32)
    ways.send(replace(_orders(1, 2), ids=ids, index=both), 60)
    assert (one.sent, other.sent) == ([1, 2], [])
    ways.send(replace(_orders(3, 4), ids=ids, index=both), 120)
    assert (one.sent, other.sent) == ([1, 2, 4], [3])
    ways.close()


def test_each_resource_is_spoken_to_by_one_adapter_and_none_stops_another():
    """Orders go to who speaks with their resource; one that blocks is named, the other goes on."""
    one, other = Moody(), Moody()
    ways = Ways(one, PATIENCE_S)
    ways.join("radio", other, {"b"})
    both = np.array([0, 1, 0], dtype=np.int32)
    orders = replace(_orders(1, 2, 3), index=both)
    ways.send(orders, 60)
    assert (one.sent, other.sent) == ([1, 3], [2])
    assert len(ways.listen(60).readings) == 2
    other.blocked = {"read"}
    arrived = ways.listen(120)
    assert [batch.value.tolist() for batch in arrived.readings] == [[120.0]]
    assert arrived.troubles[0].startswith(f"{BLOCKED} (radio):")
    ways.send(replace(orders, order_id=orders.order_id + 10), 120)
    assert one.sent == [1, 3, 11, 13]
    assert _lost(ways.listen(180)) == [12]
    with pytest.raises(ValueError, match="spoken to"):
        ways.join("again", other, {"b"})
    other.free.set()
    ways.close()


def test_orders_whose_sending_blocks_are_unreachable_once(moody):
    """Whether they went is not known: they are told of as unreachable, and never again."""
    way = Way(moody, PATIENCE_S)
    moody.blocked = {"send"}
    way.send(_orders(5), 60)
    assert _lost(way.listen(120)) == [5]
    assert _lost(way.listen(180)) == []
    way.close()


# ---- time ----------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(
    steps=st.lists(st.integers(-10_000, 10_000) | st.integers(-10 * FAR_S, 10 * FAR_S), max_size=40),
    tick_s=st.integers(1, 300),
)
def test_time_never_goes_back_and_no_order_lives_longer_than_meant(steps, tick_s):
    """Whatever a clock does: moments never fall, and the wire's end is never later by the clock."""
    steady, clock_s, last_s = Steady(tick_s), 1_800_000_000, 0
    for step_s in [0, *steps]:
        clock_s += step_s
        now_s, troubles = steady.moment(clock_s, last_s)
        assert now_s >= last_s
        assert now_s - steady.ahead_s <= clock_s or steady.ahead_s == 0
        assert (now_s != clock_s) == bool(troubles)
        last_s = now_s


def test_ticks_catch_up_with_a_clock_that_went_back():
    """At half the pace the clock is met after twice the time, with one cause all the while."""
    steady, last_s, clock_s, told = Steady(60), 1_000_000, 1_000_000 - 600, []
    for _ in range(40):
        last_s, troubles = steady.moment(clock_s, last_s)
        told += [text.partition(":")[0] for text in troubles]
        clock_s += 60
    assert set(told) == {BACK}
    assert 18 <= len(told) <= 22
    assert last_s == clock_s - 60


def test_a_leap_of_more_than_a_day_is_believed_when_it_stays():
    """A single wrong word of the clock moves nothing; three do that go on from one another."""
    steady, last_s = Steady(60), 1_000_000
    wrong = last_s + 10 * FAR_S
    now_s, troubles = steady.moment(wrong, last_s)
    assert (now_s, troubles[0].partition(":")[0]) == (last_s + 60, LEAPT)
    assert steady.moment(last_s + 120, now_s) == (last_s + 120, ())
    for k in range(3):
        last_s, troubles = steady.moment(wrong + 60 * k, last_s)
    assert (last_s, troubles) == (wrong + 120, ())


# ---- measurements --------------------------------------------------------------------------------


def test_a_power_of_the_wrong_sign_is_refused_by_name():
    """Sun that draws what it could give, a heater that gives: refused; what may turn is taken."""
    rows = [
        {"id": "sun", "kind": "PV_ROOFTOP", "bus": "1", "phases": "a", "p_max_kw": 5.0, "p_min_kw": 0.0},
        {"id": "heat", "kind": "WATER_HEATER", "bus": "1", "phases": "a", "p_min_kw": -4.5, "p_max_kw": 0.0},
        {"id": "store", "kind": "BATTERY_HOME", "bus": "1", "phases": "a", "p_min_kw": -5.0, "p_max_kw": 5.0},
        {"id": "house", "kind": "LOAD", "bus": "1", "phases": "a", "p_min_kw": -9.0, "p_max_kw": 0.0},
    ]
    fleet, _ = Fleet.from_rows(rows, {"1": 7})
    value = {"sun": -4.0, "heat": 4.0, "store": -4.0, "house": 4.0}
    n = len(fleet.ids)
    at = np.arange(n, dtype=np.int32)
    batch = Readings(
        fleet.ids,
        at,
        np.full(n, QUANTITY["p_kw"], np.uint8),
        np.array([value[name] for name in fleet.ids]),
        np.full(n, 60),
        np.zeros(n, np.uint8),
    )
    left, told = upright(batch, fleet)
    assert {fleet.ids[row] for row in left.index} == {"store", "house"}
    assert (told[0].count, set(told[0].ids), told[0].field) == (2, {"sun", "heat"}, "p_kw")
    assert upright(left, fleet) == (left, ())


def test_a_power_in_another_unit_is_refused_by_name():
    """Watts taken for kilowatts, of whatever has a nameplate; without one, and a bit beyond it, taken."""
    rows = [
        {"id": "sun", "kind": "PV_ROOFTOP", "bus": "1", "phases": "a", "p_max_kw": 5.0, "p_min_kw": 0.0},
        {"id": "house", "kind": "LOAD", "bus": "1", "phases": "a"},
        {"id": "shop", "kind": "LOAD", "bus": "1", "phases": "a", "p_min_kw": -30.0},
        {"id": "small", "kind": "LOAD", "bus": "1", "phases": "a", "p_min_kw": -0.01},
    ]
    fleet, _ = Fleet.from_rows(rows, {"1": 7})
    at = np.arange(len(rows), dtype=np.int32)
    for value, refused in (
        ({"sun": 4000.0, "house": -4000.0, "shop": -9000.0, "small": -10.0}, {"sun", "shop"}),
        ({"sun": 8.0, "house": -4.0, "shop": -90.0, "small": -0.5}, set()),
    ):
        batch = Readings(
            fleet.ids,
            at,
            np.full(len(at), QUANTITY["p_kw"], np.uint8),
            np.array([value[name] for name in fleet.ids]),
            np.full(len(at), 60),
            np.zeros(len(at), np.uint8),
        )
        left, told = upright(batch, fleet)
        assert {fleet.ids[row] for row in left.index} == set(value) - refused
        assert {name for fault in told for name in fault.ids} == refused
        assert all(fault.reason.startswith("another unit") and fault.count == 2 for fault in told)


def test_a_power_that_stands_still_while_another_is_ordered_is_told():
    """Fresh stamps, the same digits: named once repeated often, if the order was taken and is another."""
    rows = [
        {"id": name, "kind": "BATTERY_HOME", "bus": "1", "phases": "a", "p_min_kw": -5.0, "p_max_kw": 5.0}
        for name in ("frozen", "moves", "obeys", "unasked")
    ]
    fleet, _ = Fleet.from_rows(rows, {"1": 7})
    asked = {"frozen": -3.0, "moves": -3.0, "obeys": 2.0, "unasked": np.nan}
    response = replace(
        Response.empty(4), ordered_kw=np.array([asked[name] for name in fleet.ids]), answered=np.ones(4, bool)
    )
    told = []
    for k in range(STANDING + 2):
        value = {"frozen": 2.0, "moves": 2.0 + 0.01 * k, "obeys": 2.0, "unasked": 2.0}
        batch = Readings(
            fleet.ids,
            np.arange(4, dtype=np.int32),
            np.full(4, QUANTITY["p_kw"], np.uint8),
            np.array([value[name] for name in fleet.ids]),
            np.full(4, 60 * (k + 1)),
            np.zeros(4, np.uint8),
        )
        fleet.ingest(batch, 60 * (k + 1))
        told.append(standing(fleet, fleet.image(60 * (k + 1)), response))
    assert [len(faults) for faults in told] == [0] * STANDING + [1, 1]
    assert (told[-1][0].ids, told[-1][0].count) == (("frozen",), 1)


# ---- the whole -----------------------------------------------------------------------------------


class Breaking(Rehearsal):
    """The world behind an adapter that blocks, raises, freezes and repeats; by moment of the life."""

    mood = ""
    free = threading.Event()

    def read(self, now_s):
        """As the mood is."""
        if self.mood == "blocks":
            self.free.wait(30)
        if self.mood == "raises":
            raise ValueError("no line")
        found = Rehearsal.read(self, now_s)
        if self.mood == "twice":
            names = ("index", "quantity", "value", "time_s", "quality")
            return Readings(found.ids, *(np.concatenate([getattr(found, x)] * 2) for x in names))
        return found


def test_a_loop_lives_through_all_of_it_and_can_be_lived_again(tmp_path, monkeypatch):
    """Blocked, broken, doubled readings, a clock going back: ticks go on, one alarm each, replay holds."""
    monkeypatch.setattr(Breaking, "mood", "")
    monkeypatch.setattr(Breaking, "free", threading.Event())
    derms, world = rehearse(
        tmp_path, Scenario(ders=120, seed=7), Settings(patience_s=5.0), wrap=Breaking, join_s=64_800
    )
    now_s = derms.clock.now_s()

    def live(mood="", ticks=1, back_s=0):
        monkeypatch.setattr(Breaking, "mood", mood)
        for _ in range(ticks):
            moment = derms.tick()
            derms.clock._now_s += 60 - back_s
        return moment

    live(ticks=2)
    live("raises", 3)
    live("twice", 2)
    live(back_s=240)
    live(ticks=12)
    monkeypatch.setattr(derms._loop._ways._ways[0], "_patience_s", 0.1)
    live("blocks", 3)
    Breaking.free.set()
    monkeypatch.setattr(derms._loop._ways._ways[0], "_patience_s", 30.0)
    last = live(ticks=3)
    assert last.tick == 26
    assert last.now_s > now_s
    ticks = list(derms._record.entries(0, {"tick"}))
    assert all(b.time_s >= a.time_s for a, b in pairwise(ticks))
    alarms = [e.head["cause"] for e in derms._record.entries(0, {"alarm"}) if e.head["state"] == "begins"]
    assert [alarms.count(cause) for cause in (FAILED, BLOCKED, BACK)] == [1, 1, 1]
    assert derms.verify(LOCAL).ok
    derms.close()
    found = replay(tmp_path)
    assert found.identical, found.differs
    del world


class Running:
    """A clock that runs on while the system works."""

    def __init__(self, now_s):
        self.t_s = now_s

    def now_s(self):
        """The present."""
        return self.t_s

    def sleep_until(self, t_s):
        """Move on, never back."""
        self.t_s = max(self.t_s, t_s)


class Slow(Rehearsal):
    """The world behind a way that now and then takes its time."""

    clock = None
    takes_s = ()

    def read(self, now_s):
        """Let the clock run on meanwhile."""
        found = Rehearsal.read(self, now_s)
        if Slow.takes_s:
            Slow.clock.t_s += Slow.takes_s.pop(0)
        return found


def test_a_tick_that_takes_too_long_costs_those_it_ran_over_and_no_more(tmp_path, monkeypatch):
    """Nothing piles up: the next tick comes at its own time; what was missed is told, and lived again."""
    derms, _ = rehearse(tmp_path, Scenario(ders=80, seed=7), Settings(), wrap=Slow, join_s=64_800)
    start_s = derms.clock.now_s()
    clock = Running(start_s)
    monkeypatch.setattr(Slow, "clock", clock)
    monkeypatch.setattr(Slow, "takes_s", [0, 59, 150, 3, 60])
    derms._clock = clock
    derms.run(threading.Event(), start_s + 600)
    ticks = [entry.time_s - start_s for entry in derms._record.entries(0, {"tick"})]
    assert ticks == [0, 60, 120, 300, 360, 480, 540, 600]
    told = [e.head for e in derms._record.entries(0, {"alarm"}) if e.head["cause"] == "ticks missed"]
    assert [head["state"] for head in told] == ["begins", "ends", "begins", "ends"]
    assert told[0]["text"] == "ticks missed: 120 s without one"
    derms.close()
    assert replay(tmp_path).identical
