"""Laws of the daily learning beside the ticks: when it is handed over, and what is left of it elsewhere."""

import hashlib
import threading
import zlib

import numpy as np
import pytest

from gridflock.forecast import Site
from gridflock.forecast.card import new_card
from gridflock.model import History
from gridflock.record import open_record
from gridflock.runtime import Settings, rehearse, replay
from gridflock.runtime import _training as training_module
from gridflock.runtime._kept import KeptBroken, fields_from_bytes, from_bytes, to_bytes
from gridflock.runtime._lessons import METHODS, Lessons, Model
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._sites import Sites
from gridflock.runtime._system import System
from gridflock.runtime._training import Training, lessons_of, revived
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import DAY_S, TimeGrid, unix_s

SCENARIO = Scenario(ders=40, seed=7)
SITE = Site(34.05, -118.24, "America/Los_Angeles")
NOW_S = unix_s("2026-07-15T12:00:00Z")
WEEKS_3 = Settings(learn_days=21)


@pytest.fixture(scope="module")
def system():
    """A small feeder."""
    return System.build(feeder_document(SCENARIO.feeder), World(SCENARIO).registry)


def a_past(system, days=22):
    """A past of constants."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    found = Past(system.groups, sites, system.fleet.family, system.fleet.columns, 63)
    n, steps = len(system.fleet.ids), days * 96
    t_s = NOW_S - STEP_S * np.arange(steps, 0, -1, dtype=np.int64)
    column = np.broadcast_to(np.arange(float(steps)), (n, steps))
    found.load({"t_s": t_s, "p_kw": column, "p_avail_kw": column, "need_kw": column}, np.arange(n))
    return found


def what_was_learnt(history, *_):
    """Lessons that say from how much they were learnt, without learning."""
    card = new_card(history.series, METHODS)
    score = np.zeros(history.value_kw.shape, dtype=np.float32)
    model = Model("outside", history.series[-1:], b"bytes of a model")
    return Lessons(history.grid.end_s, history, (), (model,), card, score, (f"{history.grid.n} steps",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Learning takes no time."""
    monkeypatch.setattr(training_module, "learn", what_was_learnt)


def test_lessons_are_handed_over_so_long_after_they_began(system, tmp_path):
    """Not before, at that tick, once; not again the same day."""
    record, past, training = open_record(tmp_path), a_past(system), Training(SITE)
    for t_s in (NOW_S, NOW_S + 60, NOW_S + 899):
        assert training.listen(past, record, WEEKS_3, t_s) == ("", ())
    name, _ = training.listen(past, record, WEEKS_3, NOW_S + 900)
    found = lessons_of(record, name)
    assert found.failed == ("2112 steps",)
    past.be_taught(name, found)
    assert training.listen(past, record, WEEKS_3, NOW_S + 3_600) == ("", ())
    record.close()


def test_no_paced_tick_waits_for_lessons(system, tmp_path, monkeypatch):
    """Learning that takes its time: ticks go on without, and the first one after it is over takes it in."""
    may_end = threading.Event()
    monkeypatch.setattr(training_module, "learn", lambda *w: may_end.wait(60) and what_was_learnt(*w))
    record, past, training = open_record(tmp_path), a_past(system), Training(SITE)
    training.waits = False
    for t_s in (NOW_S, NOW_S + 900, NOW_S + 1_800):
        assert training.listen(past, record, WEEKS_3, t_s) == ("", ())
    may_end.set()
    training._owed.exception(timeout=60)
    assert training.listen(past, record, WEEKS_3, NOW_S + 1_860)[0].startswith("lessons_")
    record.close()


def test_a_life_stopped_meanwhile_learns_from_what_it_had_begun_with(system, tmp_path):
    """Another life on the same folder, whose past has grown: the same bytes at the same moment."""
    record, past, training = open_record(tmp_path), a_past(system), Training(SITE)
    training.listen(past, record, WEEKS_3, NOW_S)
    want, _ = training.listen(past, record, WEEKS_3, NOW_S + 900)
    grown, again = a_past(system, 23), Training(SITE)
    assert again.listen(grown, record, WEEKS_3, NOW_S + 300) == ("", ())
    assert again.listen(grown, record, WEEKS_3, NOW_S + 900) == (want, ())
    tomorrow = Training(SITE)
    tomorrow.listen(grown, record, WEEKS_3, NOW_S + DAY_S)
    assert tomorrow.listen(grown, record, WEEKS_3, NOW_S + DAY_S + 900)[0] not in ("", want)
    record.close()


def of_another_version(data):
    """The bytes of lessons that have a field that nobody knows."""
    body = zlib.decompress(data[12:])
    end = 8 + int.from_bytes(body[:8], "little")
    tree = body[8:end].replace(b'"failed":', b'"flawed":')
    body = len(tree).to_bytes(8, "little") + tree + body[end:]
    return data[:4] + len(body).to_bytes(8, "little") + zlib.compress(body, 1)


def stored(record, past, data):
    """A snapshot of a past whose lessons are these bytes."""
    lessons = what_was_learnt(past.measured())
    name = f"lessons_{hashlib.sha256(data).hexdigest()[:32]}"
    record.snapshot(name, data)
    past.be_taught(name, lessons)
    return past.to_bytes()


def test_history_outlives_the_format_of_the_lessons(system, tmp_path):
    """Lessons of another version: no models, but every step of the past is there, and it is said."""
    record, past = open_record(tmp_path), a_past(system)
    data = of_another_version(to_bytes(what_was_learnt(past.measured())))
    with pytest.raises(KeptBroken):
        from_bytes(data)
    kept = stored(record, past, data)
    found = a_past(system, 1)
    assert revived(found, record, kept)
    assert found.taught is None
    assert np.array_equal(found.measured().value_kw, past.measured().value_kw)
    assert "of another version: learnt anew from 22 days" in found.told
    record.close()


def test_lessons_that_are_spoilt_are_told_as_lost(system, tmp_path):
    """Bytes that are not what their name says: nothing is believed of them."""
    record, past = open_record(tmp_path), a_past(system)
    kept = stored(record, past, to_bytes(what_was_learnt(past.measured())))
    name = past.taught[0]
    record.snapshot(name, b"spoilt")
    found = a_past(system, 1)
    assert not revived(found, record, kept)
    assert "is lost, with the history in it" in found.told
    record.close()


def test_fields_are_read_one_by_one():
    """Each field of a kept value as a whole reader has it; what is no dataclass is refused."""
    grid = TimeGrid.uniform(0, 900, 3)
    history = History(grid, ("a", "v"), np.arange(6.0).reshape(2, 3))
    lessons = what_was_learnt(history)
    found, whole = fields_from_bytes(to_bytes(lessons)), from_bytes(to_bytes(lessons))
    assert set(found) == set(Lessons.__dataclass_fields__)
    assert found["history"].value_kw.tobytes() == whole.history.value_kw.tobytes()
    assert found["history"].series == ("a", "v")
    assert found["models"][0].data == b"bytes of a model"
    assert found["score"].tobytes() == whole.score.tobytes()
    with pytest.raises(KeptBroken):
        fields_from_bytes(to_bytes((1, 2)))
    with pytest.raises(KeptBroken):
        fields_from_bytes(b"nothing")


def test_another_span_of_the_past_holds_after_a_restart(tmp_path):
    """``past_days`` is changed when a life goes on: so much is kept from then on; it is lived again."""
    for days, ticks in ((63, 7), (10, 7)):
        changed = Settings(tick_s=300, plans=False, learn_days=28, past_days=days)
        derms, _ = rehearse(tmp_path, SCENARIO, changed, join_s=3_600, weeks=2)
        for _ in range(ticks):
            derms.clock.sleep_until(derms.tick().now_s + 300)
        kept = derms._loop.past.steps
        derms.close()
        assert (kept > 14 * 96) if days == 63 else (kept == 10 * 96)
    found = replay(tmp_path)
    assert found.identical, found.differs
    assert found.ticks == 14
