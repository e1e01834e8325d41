"""The story of a system that learns: models take over where they miss less; all can be lived again."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from gridflock.field.weather import NoWeather
from gridflock.forecast import Site
from gridflock.forecast.card import new_card
from gridflock.forecast.learned import SETTINGS
from gridflock.model import History, Rejected
from gridflock.record import open_record
from gridflock.runtime import LOCAL, Settings, rehearse, replay
from gridflock.runtime import _expected as expected_module
from gridflock.runtime import _lessons as lessons_module
from gridflock.runtime import _subjects as subjects_module
from gridflock.runtime import _training as training_module
from gridflock.runtime._expected import by_past_days, drawn, ranks_of
from gridflock.runtime._kept import to_bytes
from gridflock.runtime._lessons import APART, METHODS, learn
from gridflock.sim import Scenario
from gridflock.units import TimeGrid, unix_s

SCENARIO = Scenario(ders=60, seed=7)
JOIN_S = 23 * 3_600 + 35 * 60
WEEKS = 4
LEARNING = Settings(violation_rate=0.05, learn_within_s=300)
MARKED = 14
"""Days of these that are marked: the first two weeks are for models to learn from."""
SMALL = {
    name: replace(SETTINGS[of], members=("ridge",), warm_days=7, refit_days=7, most_rows=10_000)
    for name, of in (("outside", "feeder"), ("sun", "pv"))
}


class Moody:
    """A weather source that falls silent, or that errs."""

    def __init__(self, port, until_s):
        self.port, self.until_s = port, until_s

    def newest(self, now_s):
        """As long as it speaks."""
        if now_s < self.until_s:
            return self.port.newest(now_s)
        return None, (Rejected("weather", "connection", (), "gone"),)


def live(derms, ticks):
    """Some ticks."""
    for _ in range(ticks):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 60)
    return moment


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Small models: what is tried is the life around them."""
    patch = pytest.MonkeyPatch()
    for module in (lessons_module, subjects_module):
        patch.setattr(module, "SUBJECTS", SMALL)
    patch.setattr(expected_module, "_FEWEST_DAYS", 10)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A folder with four weeks before it, an evening, a restart in between."""
    folder = tmp_path_factory.mktemp("learned")
    derms, _ = rehearse(folder, SCENARIO, LEARNING, join_s=JOIN_S, weeks=WEEKS)
    live(derms, 8)
    derms.close()
    derms, _ = rehearse(folder, SCENARIO, LEARNING, join_s=JOIN_S, weeks=WEEKS)
    live(derms, 14)
    yield folder, derms
    derms.close()


def test_models_are_trained_and_marked(lived):
    """Five minutes after the first tick: models, methods marked over two weeks, a champion of each series."""
    _, derms = lived
    card = derms.card(LOCAL, 21)
    assert set(card.models) == set(SMALL)
    assert card.failed == []
    assert card.known_days >= 7 * WEEKS
    assert {row.method for row in card.marks} == set(METHODS) - {APART}
    sunny = [row for row in card.marks if row.series.startswith("plan/sun")]
    assert sum(row.champion for row in sunny) == len(sunny) / len(METHODS[:-1])
    learned = [row for row in sunny if row.method == "learned"]
    assert all(row.days == MARKED and row.crps_ratio < 1.2 for row in learned)
    assert card.hidden_looked > 50
    assert card.hidden == []  # nobody hides any
    assert card.weather_until > "2026-07-16"


def test_it_goes_on_after_a_restart_with_the_same_lessons(lived):
    """Nothing is learnt twice: the second life took up the models of the first, to the bit."""
    folder, _ = lived
    names = [path.name for path in (folder / "snapshots").iterdir() if path.name.startswith("lessons_")]
    assert len(names) == 1
    record = open_record(folder, read_only=True)
    lives = [entry for entry in record.entries(0, {"change"}) if "exact" in entry.head]
    heard = [entry for entry in record.entries(0, {"heard"}) if "lessons" in entry.head]
    record.close()
    assert [entry.head["exact"] for entry in lives] == [False, True]
    assert [f"{entry.head['lessons']}.bin" for entry in heard] == names


def test_it_is_lived_again_to_the_same_bytes(lived, tmp_path):
    """Plans made from models, weather that was heard, caution by past days: one chain, one hash."""
    folder, _ = lived
    copy = shutil.copytree(folder, tmp_path / "copy")
    found = replay(copy)
    assert found.identical, found.differs
    assert (found.ticks, found.gaps) == (22, [])


def test_without_what_was_learnt_it_is_no_replay(lived, tmp_path):
    """Lessons that are gone or spoilt are named as a gap; a life goes on anew and learns again."""
    folder, _ = lived
    copy = shutil.copytree(folder, tmp_path / "copy")
    (path,) = [p for p in (copy / "snapshots").iterdir() if p.name.startswith("lessons_")]
    path.write_bytes(path.read_bytes()[:-7])
    found = replay(copy)
    assert not found.identical
    assert "what was learnt" in found.gaps[0]
    derms, _ = rehearse(copy, SCENARIO, Settings(), join_s=JOIN_S, weeks=WEEKS)
    assert live(derms, 1).decision is not None
    assert "is lost, with the history in it" in derms._loop.past.told
    derms.close()


def test_a_life_that_is_stopped_while_it_learns_hands_over_at_the_same_tick(lived, tmp_path):
    """Stopped after three ticks: the next life learns from the same and takes it in at the same tick."""
    folder, _ = lived
    for ticks in (3, 5):
        derms, _ = rehearse(tmp_path, SCENARIO, LEARNING, join_s=JOIN_S, weeks=WEEKS)
        live(derms, ticks)
        derms.close()
    handed = []
    for one in (folder, tmp_path):
        record = open_record(one, read_only=True)
        heard = [entry for entry in record.entries(0, {"heard"}) if "lessons" in entry.head]
        record.close()
        handed.append([(entry.time_s, entry.head["lessons"]) for entry in heard])
    assert handed[0] == handed[1]
    assert len(handed[0]) == 1
    assert replay(tmp_path).identical


def test_paths_take_the_ranks_of_past_days(lived):
    """Enough days are marked: paths stay within their quantiles and hang together as those days did."""
    _, derms = lived
    past, seen = derms._loop.past, derms.moment.planned.forecast
    assert by_past_days(past, seen)
    assert len(ranks_of(past.taught[1], seen)) >= 10
    paths = drawn(past, seen, 400, 3)
    row = seen.series.index("outside")
    low, high = seen.value_kw[row, 0], seen.value_kw[row, -1]
    assert 0.7 < ((paths[:, row] >= low) & (paths[:, row] <= high)).mean() < 0.9
    ahead = derms.emerging(LOCAL, paths=20)
    assert ahead.by == "past days"
    assert all(0 < limit.chance <= 1 for limit in ahead.limits)
    assert derms.emerging(LOCAL, paths=20) == ahead


def test_weather_that_is_lost_degrades_and_never_stops(tmp_path, lived):
    """The source falls silent: that is an alarm, plans go on, and all can be lived again."""
    _, derms = lived
    world = derms.field.world
    start_s = world.start_s + JOIN_S
    source = Moody(world.forecaster(), start_s + 60)
    settings = Settings(learn_days=0)
    derms, _ = rehearse(tmp_path, SCENARIO, settings, join_s=JOIN_S, weather=source)
    derms._loop.sky_way._patience_s = 20.0
    assert live(derms, 16).planned is not None
    derms.close()
    record = open_record(tmp_path, read_only=True)
    causes = [entry.head["cause"] for entry in record.entries(0, {"alarm"})]
    record.close()
    assert "weather refused" in causes
    found = replay(tmp_path)
    assert found.identical, found.differs


def test_where_learning_fails_the_lessons_before_stay(lived, monkeypatch):
    """A mistake in learning is an alarm by name; the next day's tick keeps the models it had."""
    _, derms = lived
    loop = derms._loop
    before = loop.past.taught
    monkeypatch.setattr(training_module, "learn", lambda *_: 1 / 0)
    words, later_s = (loop.past, loop.record, loop.settings), derms.moment.now_s + 86_400
    assert loop.training.listen(*words, later_s) == ("", ())
    name, troubles = loop.training.listen(*words, later_s + 300)
    assert name == ""
    assert "ZeroDivisionError" in troubles[0]
    assert loop.past.taught is before
    assert loop.training.listen(*words, later_s + 360)[1] == troubles


def test_one_subject_that_fails_keeps_its_model(lived, monkeypatch):
    """Training of one class fails: the former model stays, the fault names the class, the others are new."""
    _, derms = lived
    past = derms._loop.past
    before = past.taught[1]
    train = lessons_module.train

    def failing(history, *words, **more):
        if history.series == ("outside",):
            raise ValueError("too hot")
        return train(history, *words, **more)

    monkeypatch.setattr(lessons_module, "train", failing)
    now_s = before.made_s + 86_400
    found = learn(
        past.whole(),
        past.measured(),
        past.skies.archive,
        before,
        derms._loop.system.site,
        past.solar,
        96,
        now_s,
    )
    kept = {model.subject: model.data for model in before.models}
    assert found.failed == ("outside: ValueError: too hot",)
    assert {model.subject: model.data for model in found.models}["outside"] == kept["outside"]


@pytest.mark.slow
def test_lessons_are_the_same_twice(lived):
    """From the same past the same bytes, whatever thread and whenever."""
    _, derms = lived
    past, site = derms._loop.past, derms._loop.system.site
    words = (past.whole(), past.measured(), past.skies.archive, None, site, past.solar, 96)
    now_s = past.taught[1].made_s
    assert to_bytes(learn(*words, now_s)) == to_bytes(learn(*words, now_s))


@pytest.mark.parametrize("points", [0, 3, 200])
def test_a_few_points_or_none_are_enough_for_lessons(points):
    """Three points, two days, none, series of NaN: lessons without models, habits stay champions."""
    site = Site(34.05, -118.24, "America/Los_Angeles")
    grid = TimeGrid.uniform(unix_s("2026-07-01T00:00:00Z"), 900, points)
    series = ("plan/sun/residential/s1", "plan/vehicle/residential/s1", "outside")
    value = np.full((3, points), np.nan)
    value[2] = -100.0
    history = History(grid, series, value)
    found = learn(history, history, None, None, site, frozenset(series[:1]), 96, grid.end_s)
    assert found.models == ()
    assert (found.card.champion == new_card(series, METHODS).champion).all()


def test_nobody_is_asked_for_weather_where_there_is_none(tmp_path):
    """Without weather plans are made all the same, and nothing is said of it."""
    derms, _ = rehearse(tmp_path, SCENARIO, Settings(), join_s=JOIN_S, weather=NoWeather())
    moment = live(derms, 2)
    assert moment.planned is not None
    assert derms.card(LOCAL).weather_until == ""
    derms.close()


@pytest.mark.slow
@pytest.mark.parametrize("point", ["learning", "stored", "sent"])
def test_a_killed_life_learns_the_same(tmp_path, lived, point):
    """Killed while it learns, once that is stored, or after the tick: the next life has the same lessons."""
    folder, _ = lived
    (wanted,) = [path.name for path in (folder / "snapshots").iterdir() if path.name.startswith("lessons_")]
    settings = Settings(violation_rate=0.05, learn_within_s=0)
    child = os.fork()
    if not child:
        derms, _ = rehearse(tmp_path, SCENARIO, settings, join_s=JOIN_S, weeks=WEEKS)
        _die_at(point, derms)
        live(derms, 3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    derms, _ = rehearse(tmp_path, SCENARIO, settings, join_s=JOIN_S, weeks=WEEKS)
    live(derms, 2)
    derms.close()
    assert [p.name for p in (tmp_path / "snapshots").iterdir() if p.name.startswith("lessons_")] == [wanted]
    found = replay(tmp_path)
    assert found.identical, found.differs


def _die_at(point, derms):
    """Let a life kill itself."""

    def dies(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "learning":
        training_module.learn = dies
    elif point == "sent":
        keep = derms._loop.keep
        derms._loop.keep = lambda *words: (keep(*words), dies())
    else:
        store = derms._record.snapshot

        def stored(name, data=None):
            found = store(name, data)
            return dies() if name.startswith("lessons_") and data is not None else found

        derms._loop.record = _With(derms._record, snapshot=stored)


class _With:
    """A record, one verb of it by another."""

    def __init__(self, record, **verbs):
        self.__dict__.update(verbs)
        self.record = record

    def __getattr__(self, name):
        """All else as it is."""
        return getattr(self.record, name)
