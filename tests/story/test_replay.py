"""The story of a day lived again: the same bytes with the same policy, a difference with another."""

import dataclasses
import shutil

import numpy as np
import pytest

from gridflock.model import Entry
from gridflock.record import RecordFull, SqliteRecord, open_record
from gridflock.runtime import LOCAL, NotReplayable, RequestRejected, Settings, UnknownName, rehearse, replay
from gridflock.runtime._heard import KIND as HEARD
from gridflock.sim import Scenario

SCENARIO = Scenario(ders=120, seed=7)
JOIN_S = 17 * 3_600 + 40 * 60
TICKS = 50


def _live(derms, ticks):
    for _ in range(ticks):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 60)
    return moment


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A folder with wishes, a group, a dead process and an hour's end in it."""
    folder = tmp_path_factory.mktemp("lived")
    derms, _ = rehearse(folder, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, 8)
    wish = derms.propose(LOCAL, "type/battery_home", p_kw=5.0, minutes=30, why="evening").proposal
    members = derms.resources(LOCAL, "type/battery_home", 3)
    derms.define_group(LOCAL, "few", members=[member.id for member in members])
    _live(derms, 3)
    derms.propose(LOCAL, "few", p_kw=2.0, minutes=10, why="few")
    derms.withdraw(LOCAL, wish.id)
    derms.change_group(LOCAL, "few", leave=[members[0].id])
    _live(derms, 12)
    derms.close()
    derms, _ = rehearse(folder, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, TICKS - 23)
    derms.close()
    return folder


@pytest.fixture
def copy(lived, tmp_path):
    """A copy of it that may be spoilt."""
    return shutil.copytree(lived, tmp_path / "copy")


def test_the_whole_life_is_lived_again_to_the_same_bytes(lived):
    """Over a restart, wishes, a group that came and changed, and four plans: one chain, one hash."""
    found = replay(lived)
    assert found.identical, found.differs
    assert (found.ticks, found.led_in, found.gaps) == (TICKS, 0, [])
    assert found.hash == found.ledger_hash
    record = open_record(lived, read_only=True)
    ticks = list(record.entries(0, {"tick"}))
    record.close()
    assert found.orders == sum(len(entry.columns["order_id"]) for entry in ticks) > 0


def test_fast_ticks_with_feedback_are_lived_again(tmp_path):
    """Every four seconds, over the end of a slow period and a restart: feedback's memory is kept, too."""
    settings = Settings(tick_s=4, feedback=True)
    for ticks in (20, 30):
        derms, _ = rehearse(tmp_path, SCENARIO, settings, join_s=17 * 3_600 + 43 * 60 + 50)
        for _ in range(ticks):
            moment = derms.tick()
            derms.clock.sleep_until(moment.now_s + 4)
        derms.close()
    assert moment.sight is not None
    found = replay(tmp_path)
    assert found.identical, found.differs
    assert found.ticks == 50
    late = replay(tmp_path, start="17:46")
    assert late.identical, late.differs
    assert late.led_in < 17


def test_a_span_is_lived_from_the_checkpoint_before_it(lived):
    """Half-open, in the feeder's own time: what is lived before the first tick is said and not counted."""
    shares = []
    found = replay(lived, start="18:10", end="18:20", progress=shares.append)
    assert found.identical
    assert found.ticks == 10
    assert 0 < found.led_in < 30
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("words", [{"start": "yesterday"}, {"end": "25:99"}, {"start": "18:0x"}])
def test_moments_that_mean_nothing_are_named(lived, words):
    """Not a moment: refused by field, nothing is lived."""
    with pytest.raises(RequestRejected, match="is not"):
        replay(lived, **words)


def test_a_span_without_ticks_is_refused(lived, tmp_path):
    """Nothing there, nobody lived there: said in words."""
    with pytest.raises(NotReplayable, match="no tick from"):
        replay(lived, start="2026-07-17T00:00:00Z")
    open_record(tmp_path / "new").close()
    with pytest.raises(NotReplayable, match="no folder that a system has lived in"):
        replay(tmp_path / "new")


def _spoil(folder, monkeypatch, kind, spoil):
    """Let every entry of a kind be read as another."""
    read = SqliteRecord.entries

    def entries(self, after=0, kinds=None):
        for entry in read(self, after, kinds):
            yield spoil(entry) if entry.kind == kind else entry

    monkeypatch.setattr(SqliteRecord, "entries", entries)
    return replay(folder)


def test_an_order_that_was_not_so_is_named(lived, monkeypatch):
    """Where the ledger says another order than the code gives, the first such entry is named."""

    def spoil(entry: Entry) -> Entry:
        p_kw = entry.columns["p_kw"].copy()
        p_kw[:1] += 1.0
        return dataclasses.replace(entry, columns={**entry.columns, "p_kw": p_kw})

    found = _spoil(lived, monkeypatch, "tick", spoil)
    assert not found.identical
    assert "(tick of" in found.differs
    assert found.differs.endswith(": p_kw")


def test_a_reading_that_was_not_so_gives_another_hash(lived, monkeypatch):
    """One value of one meter of one tick: what comes of it is not what the ledger has."""

    def spoil(entry: Entry) -> Entry:
        coarse = entry.columns["coarse"].copy()
        coarse[5] *= 1.5
        return dataclasses.replace(entry, columns={**entry.columns, "coarse": coarse})

    found = _spoil(lived, monkeypatch, HEARD, spoil)
    assert not found.identical
    assert found.hash != found.ledger_hash


def test_without_a_sound_checkpoint_nothing_is_pretended(copy):
    """Snapshots that are gone or spoilt are not used: said in words."""
    for file in (copy / "snapshots").glob("loop*.bin"):
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(NotReplayable, match="no checkpoint"):
        replay(copy)


def test_another_policy_is_compared_on_the_same_images(lived):
    """Without a plan and with a wide dead band less is asked; what was lived is still what was lived."""
    found = replay(lived, start="18:00", changes={"plans": False, "policy": {"deadband_kw": 50.0}})
    assert found.identical
    difference = found.difference
    assert difference.ticks == found.ticks
    figures = {row.figure: (row.live, row.other) for row in difference.figures}
    assert figures["orders"][0] == found.orders
    assert figures["orders"][1] < figures["orders"][0]
    asked = np.array([(row.asked_kwh, row.other_asked_kwh) for row in difference.kinds]).sum(axis=0)
    assert asked[1] < asked[0]
    assert len(difference.t) == len(difference.head_kw) == len(difference.other_head_kw) == found.ticks
    assert difference.head_kw != difference.other_head_kw


def test_the_same_policy_beside_itself_differs_in_nothing(lived):
    """No setting differs: nothing does, to the last digit, answers included."""
    found = replay(lived, start="17:52", end="18:10", changes={})
    assert all(row.live == row.other for row in found.difference.figures)
    assert not found.difference.resources


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"nothing": 1}, "nothing"),
        ({"policy.nothing": 1}, "policy.nothing"),
        ({"tick_s": 30}, "tick_s"),
        ({"plans": 1}, "plans"),
        ({"policy": 3}, "policy"),
        ({"policy.valid_s": -5}, "policy.valid_s"),
        ({"tariff": 3.0}, "tariff"),
        ({"import_limit_kw": "much"}, "import_limit_kw"),
        ({"import_limit_kw": float("nan")}, "import_limit_kw"),
    ],
)
def test_settings_that_mean_nothing_are_named(lived, changes, word):
    """Unknown names, other types, what no replay can change: refused by field."""
    with pytest.raises(RequestRejected) as refused:
        replay(lived, changes=changes)
    assert word in {fault.field for fault in refused.value.faults}


def test_a_time_without_a_record_is_a_gap_and_the_rest_is_lived(tmp_path, monkeypatch):
    """After a full disk the next plan is a new beginning: what is between cannot be lived, and is said."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, 4)
    with monkeypatch.context() as patch:

        def full(*_):
            raise RecordFull("no space")

        for verb in ("append", "write_history", "snapshot"):
            patch.setattr(SqliteRecord, verb, full)
        _live(derms, 2)
    _live(derms, 6)
    derms.close()
    found = replay(tmp_path)
    assert not found.identical
    assert not found.differs
    assert "record full" in found.gaps[0]
    assert found.ticks == 4 + 6
    again, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    _live(again, 1)
    again.close()


def test_a_shadow_sees_sends_nothing_and_is_kept(tmp_path):
    """Its account grows, is recorded every hour, and begins anew after a restart; nothing of it is sent."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, 2)
    assert not derms.shadow(LOCAL).on
    with pytest.raises(UnknownName):
        derms.stop_shadow(LOCAL)
    derms.start_shadow(LOCAL, {"policy.deadband_kw": 30.0})
    with pytest.raises(RequestRejected, match="stop it first"):
        derms.start_shadow(LOCAL, {})
    _live(derms, 22)
    view = derms.shadow(LOCAL)
    assert (view.on, view.failed, view.difference.ticks) == (True, "", 22)
    told = [entry.head["verb"] for entry in derms._record.entries(0, {"shadow"})]
    assert told == ["start", "difference"]
    derms.close()
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, 2)
    assert derms.shadow(LOCAL).difference.ticks == 2
    last = derms.stop_shadow(LOCAL)
    assert (last.on, last.difference.ticks) == (False, 2)
    _live(derms, 1)
    derms.close()
    assert replay(tmp_path).identical


def test_a_shadow_that_fails_stops_no_tick(tmp_path, monkeypatch):
    """What goes wrong in it ends it alone; why is shown."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S)
    _live(derms, 1)
    derms.start_shadow(LOCAL, {"plans": False})

    def broken(*_):
        raise RuntimeError("cannot count")

    monkeypatch.setattr("gridflock.runtime._difference.Difference.count", broken)
    moment = _live(derms, 2)
    assert moment.tick == 3
    assert "cannot count" in derms.shadow(LOCAL).failed
    derms.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_day_is_lived_again_whole(tmp_path):
    """Two thousand resources from midnight to midnight, a tick a minute: identical to the last byte."""
    derms, world = rehearse(tmp_path, Scenario(ders=2000, seed=1), Settings())
    while derms.clock.now_s() <= world.end_s:
        _live(derms, 1)
    derms.close()
    found = replay(tmp_path)
    assert found.identical, found.differs
    assert found.ticks == 1_441
