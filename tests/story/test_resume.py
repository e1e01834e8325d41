"""A life that is interrupted goes on: nothing restarts, nothing is forgotten that was promised."""

import io

import numpy as np
import pytest

from gridflock.model import Orders
from gridflock.record import RecordFull, SqliteRecord
from gridflock.runtime import LOCAL, FolderMismatch, Rehearsal, Settings, plain, rehearse
from gridflock.sim import Scenario, World

SCENARIO = Scenario(ders=120, seed=7)
JOIN_S = 15 * 3_600
BEFORE, AFTER = 23, 12
"""Ticks of a minute: past one snapshot at the quarter of an hour, and eight minutes beyond it."""


class Wired(Rehearsal):
    """The world with a device-side book of everything that arrived."""

    def __init__(self, world):
        super().__init__(world)
        self.wire = []

    def send(self, orders: Orders) -> None:
        """Note by name, then hand over."""
        ids = [orders.ids[row] for row in orders.index]
        self.wire += zip(orders.order_id.tolist(), ids, orders.p_kw.tolist(), strict=True)
        super().send(orders)


def _open(folder, settings=None, **more):
    return rehearse(folder, SCENARIO, settings or Settings(), join_s=JOIN_S, **more)


def _live(derms, ticks):
    moments = []
    for _ in range(ticks):
        moments.append(derms.tick())
        derms.clock.sleep_until(moments[-1].now_s + 60)
    return moments


def _truth(world):
    """The world's whole state, as arrays by name."""
    with np.load(io.BytesIO(world.snapshot())) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """One life never stopped; one of as many ticks, closed in between; wishes of 10 and 60 minutes."""
    never, _ = _open(tmp_path_factory.mktemp("never"), wrap=Wired)
    folder = tmp_path_factory.mktemp("resumed")
    first, world = _open(folder, wrap=Wired)
    before = []
    for derms in (never, first):
        before.append(_live(derms, BEFORE - 1))
        derms.propose(LOCAL, "type/battery_home", p_kw=3.0, minutes=60, why="long")
        derms.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=10, why="short")
        before[-1] += _live(derms, 1)
    first.close()
    second, again = _open(folder, wrap=Wired)
    same = _truth(world), _truth(again)
    loop = second._loop
    opened = {
        "ids": [p.id for p in second._book.open()], "trail": list(second._trail), "peak_kw": loop._peak_kw,
        "past": loop.past.history(), "clock": second.clock.now_s(), "image": loop.system.fleet.image(0),
    }  # fmt: skip
    want = {"past": never._loop.past.history(), "peak_kw": never._loop._peak_kw, "trail": list(never._trail)}
    after = [_live(derms, AFTER) for derms in (never, second)]
    yield never, first, second, before, after, same, opened, want
    never.close()
    second.close()


def test_the_world_is_the_one_that_was_left(lives):
    """Snapshot and replayed orders give back the simulated world bit for bit: every array of it."""
    left, found = lives[5]
    assert left.keys() == found.keys()
    assert [name for name in left if not np.array_equal(left[name], found[name], equal_nan=True)] == []


def test_ticks_clock_and_order_ids_go_on(lives):
    """Numbers follow on, a tick's time after the last; no order id is given twice, none goes back."""
    _, first, second, before, after, _, opened, _ = lives
    assert opened["clock"] == before[1][-1].now_s + 60
    assert [m.tick for m in after[1]] == list(range(BEFORE + 1, BEFORE + AFTER + 1))
    assert [m.now_s for m in after[1]] == [m.now_s for m in after[0]]
    old, new = [i for i, *_ in first.field.wire], [i for i, *_ in second.field.wire]
    assert old
    assert new
    assert min(new) > max(old)
    assert second.verify(LOCAL).ok


def test_open_wishes_are_open_still_and_end_when_they_were_to_end(lives):
    """Both wishes are there on opening and obeyed by the first tick; the short one ends on time."""
    never, _, second, _, after, _, opened, _ = lives
    assert len(opened["ids"]) == 2
    for moment in (after[1][0], after[0][0]):
        assert {"long", "short"} <= {g.proposal.why for g in moment.decision.grants}
    assert [p.why for p in second.proposals(LOCAL)] == [p.why for p in never.proposals(LOCAL)] == ["long"]


def test_what_forecasts_learn_from_goes_on(lives):
    """Closed quarter-hours, the day's trail and its peak are those of the life that never stopped."""
    opened, want = lives[6], lives[7]
    assert np.allclose(opened["trail"], want["trail"], rtol=0, atol=1e-3)
    assert opened["peak_kw"] == want["peak_kw"]
    assert opened["past"].grid.edges_s.tolist() == want["past"].grid.edges_s.tolist()
    assert np.array_equal(opened["past"].value_kw, want["past"].value_kw, equal_nan=True)


def test_the_resumed_life_is_the_one_that_never_stopped(lives):
    """Images, estimates, plans and orders to the last bit, from the first tick on; and no order twice."""
    never, resumed = lives[4]
    for one, other in zip(never, resumed, strict=True):
        for name in ("p_kw", "q_kvar", "v_pu", "e_kwh", "heard_s"):
            assert np.array_equal(getattr(one.image, name), getattr(other.image, name), equal_nan=True), name
        assert np.array_equal(one.flow.v, other.flow.v)
        assert np.array_equal(one.state.taps, other.state.taps)
        assert np.array_equal(one.schedule.p_kw, other.schedule.p_kw)
        mine, theirs = one.decision.orders, other.decision.orders
        for name in ("index", "order_id", "p_kw", "q_kvar", "expires_s"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=True), name


def test_without_a_checkpoint_orders_in_force_are_known(tmp_path):
    """Where the last life cannot be lived again, what it ordered and who answered comes from the ledger."""
    first, _ = _open(tmp_path)
    _live(first, 6)
    before = first._loop.response
    first.close()
    for file in (tmp_path / "snapshots").glob("loop*.bin"):
        file.unlink()
    second, _ = _open(tmp_path)
    now_s, after = second.clock.now_s(), second._loop.response
    stands = before.expires_s > now_s
    assert stands.any()
    assert np.array_equal(before.ordered_kw[stands], after.ordered_kw[stands], equal_nan=True)
    assert np.array_equal(before.order_id[stands], after.order_id[stands])
    assert after.next_id == before.next_id
    again = _live(second, 1)[0].decision.orders
    fresh = np.isin(again.index, np.flatnonzero(before.expires_s > now_s + 240))
    same = again.p_kw == np.asarray(before.ordered_kw, dtype=np.float32)[again.index]
    assert not (fresh & same).any()
    second.close()


def test_watching_goes_on_exactly(tmp_path):
    """Where nothing is ordered nothing can differ: fresh readings are equal bit for bit to the end."""
    watch = Settings(managed=False)
    never, _ = _open(tmp_path / "never", watch)
    first, _ = _open(tmp_path / "resumed", watch)
    _live(never, 20)
    _live(first, 20)
    first.close()
    second, _ = _open(tmp_path / "resumed", watch)
    for one, other in zip(_live(never, 5), _live(second, 5), strict=True):
        assert np.array_equal(one.image.p_kw, other.image.p_kw, equal_nan=True)
        assert one.head_kw == other.head_kw
    never.close()
    second.close()


def test_orders_are_replayed_to_whom_they_were_sent_whatever_the_registry_says_now(tmp_path):
    """Rows of the ledger mean the fleet of their time.

    A registry in another order, or a smaller one, changes neither the world that is replayed nor
    who got which order.
    """
    first, world = _open(tmp_path)
    _live(first, 5)
    truth = _truth(world)
    first.close()
    fewer = [row for row in world.registry if row["kind"] != "PV_ROOFTOP"][::-1]
    second, again = _open(tmp_path, registry=fewer)
    assert all(np.array_equal(value, truth[name], equal_nan=True) for name, value in _truth(again).items())
    assert len(second._loop.system.fleet.ids) == len(fewer)
    _live(second, 2)
    truth = _truth(again)
    second.close()
    third, last = _open(tmp_path)
    assert all(np.array_equal(value, truth[name], equal_nan=True) for name, value in _truth(last).items())
    _live(third, 1)
    third.close()


def test_a_day_that_is_over_cannot_be_lived_on(tmp_path):
    """After the last tick nothing can be asked; opening the folder again is refused in words."""
    from threading import Event

    late = 86_400 - 180
    derms, world = rehearse(tmp_path, SCENARIO, Settings(), join_s=late)
    derms.run(Event(), derms.day[1])
    assert derms.moment.now_s == world.end_s
    assert derms.status(LOCAL).mode == "day over"
    with pytest.raises(Exception, match="the day is over"):
        derms.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=5)
    derms.close()
    with pytest.raises(FolderMismatch, match="to the end"):
        rehearse(tmp_path, SCENARIO, Settings())


def test_a_full_disk_orders_nothing_and_recovers_without_a_restart(tmp_path, monkeypatch):
    """While nothing can be recorded the system sees and shows, sends no order, and says so.

    With space again it orders, tells the gap, and the ledger holds every order that was ever sent
    and every answer that was heard.
    """
    derms, _ = _open(tmp_path, wrap=Wired)
    _live(derms, 3)
    sent = len(derms.field.wire)
    store = SqliteRecord.append

    def full(*_):
        raise RecordFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteRecord, "append", full)
        patch.setattr(SqliteRecord, "write_history", full)
        patch.setattr(SqliteRecord, "snapshot", full)
        shut = _live(derms, 15)
        assert derms.status(LOCAL).mode == "record full"
    assert SqliteRecord.append is store
    assert [m.decision for m in shut] == [None] * 15
    assert len(derms.field.wire) == sent
    assert [m.tick for m in shut] == list(range(4, 19))
    moment = _live(derms, 1)[0]
    assert not moment.halted
    assert derms.status(LOCAL).mode == "automatic"
    assert len(derms.field.wire) > sent
    assert "record full" in [e.text[:11] for e in derms.events(LOCAL)]
    ticks = list(derms._record.entries(0, {"tick"}))
    recorded = {int(i) for entry in ticks for i in entry.columns["order_id"]}
    assert {i for i, *_ in derms.field.wire} <= recorded
    heard = {int(i) for m in shut for i in m.outcomes.order_id}
    assert heard <= {int(i) for entry in ticks for i in entry.columns["outcome_order_id"]}
    assert derms.verify(LOCAL).ok
    derms.close()
    again, _ = _open(tmp_path)
    assert _live(again, 1)[0].tick == 20
    again.close()


@pytest.mark.parametrize("kinds", [{"BATTERY_HOME"}, {"LOAD", "FEEDER_HEAD"}, {"LOAD"}, set()])
def test_a_registry_of_little_lives(tmp_path, kinds):
    """Only batteries, only meters, no head meter, nothing at all: it ticks, shows and verifies."""
    rows = [row for row in World(SCENARIO).registry if row["kind"] in kinds]
    derms, _ = _open(tmp_path, registry=rows)
    assert _live(derms, 2)[-1].decision is not None
    for look in (derms.status, derms.state, derms.groups, derms.timeline, derms.resources):
        plain(look(LOCAL))
    assert derms.propose(LOCAL, "all", p_lo_kw=-9_000.0, minutes=5, dry_run=True).dry_run
    assert derms.verify(LOCAL).ok
    derms.close()
