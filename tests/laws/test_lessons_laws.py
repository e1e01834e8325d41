"""Laws of the daily learning: nobody is marked for what was known when it spoke."""

import numpy as np
import pytest

from gridflock.forecast import Site
from gridflock.forecast.card import new_card
from gridflock.model import Forecast, History
from gridflock.runtime import _lessons as lessons_module
from gridflock.runtime._lessons import METHODS, Lessons, Model, learn
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

SITE = Site(34.05, -118.24, "America/Los_Angeles")
DAY_0_S = unix_s("2026-07-15T07:00:00Z")  # local midnight


@pytest.mark.parametrize(("after_s", "asked"), [(0, True), (300, True), (14 * HOUR_S, False)])
def test_models_are_not_marked_for_days_that_they_have_seen(monkeypatch, after_s, asked):
    """Lessons made in the course of a day leave models that know part of it: that day they are not asked."""
    grid = TimeGrid.uniform(DAY_0_S - 3 * DAY_S, 900, 4 * 96)
    history = History(grid, ("outside",), np.full((1, grid.n), -100.0))
    former = Model("outside", ("outside",), b"")
    score = np.full((1, grid.n), np.nan, dtype=np.float32)
    card = new_card(history.series, METHODS)
    before = Lessons(DAY_0_S + after_s, history, (), (former,), card, score, ())
    said = lessons_module._Class.said
    seen = {}

    def listening(of, models, day_s, behind=None):
        seen[day_s] = tuple(models)
        return said(of, (), day_s, behind)

    monkeypatch.setattr(lessons_module._Class, "said", listening)
    monkeypatch.setattr(lessons_module._Class, "models", lambda *_: ((), ()))
    learn(history, history, None, before, SITE, frozenset(), 96, DAY_0_S + DAY_S)
    assert seen[DAY_0_S] == ((former,) if asked else ())


BERLIN = Site(52.5, 13.4, "Europe/Berlin")
LORD_HOWE = Site(-31.55, 159.08, "Australia/Lord_Howe")


@pytest.mark.parametrize(
    ("site", "day", "quarters"),
    [
        (SITE, "2026-03-08T08:00:00Z", 92),
        (SITE, "2026-03-09T07:00:00Z", 96),
        (SITE, "2026-11-01T07:00:00Z", 100),
        (SITE, "2026-11-02T08:00:00Z", 96),
        (BERLIN, "2026-03-28T23:00:00Z", 92),
        (BERLIN, "2026-10-24T22:00:00Z", 100),
        (LORD_HOWE, "2026-04-04T13:00:00Z", 98),
        (LORD_HOWE, "2026-10-03T13:30:00Z", 94),
    ],
)
def test_a_day_is_marked_over_its_own_hours(monkeypatch, site, day, quarters):
    """A day of 23, 24, 25 hours or between is marked as soon as it is over, to its last quarter-hour.

    No farther, and by the models of the day before: the lessons after know it already.
    """
    day_s = unix_s(day)
    grid = TimeGrid.uniform(day_s - 21 * DAY_S, 900, 22 * 96 + 8)
    load = np.random.default_rng(4).uniform(-140.0, -60.0, (1, grid.n))
    history, k = History(grid, ("outside",), load), (day_s - grid.start_s) // 900
    told = np.concatenate([load[0, k:], np.zeros(140)])[:140]
    told[quarters - 1] -= quarters
    former = Model("outside", ("outside",), b"")
    score = np.full((1, grid.n), np.nan, dtype=np.float32)
    before = Lessons(day_s + 300, history, (), (former,), new_card(history.series, METHODS), score, ())
    asked = []

    def speaking(model, known, _weather, _site, now_s):
        asked.append((model, now_s))
        ahead = TimeGrid.uniform(now_s, 900, 140)
        nine = np.repeat(told[None, None], 9, axis=1)
        return Forecast(ahead, known.series, lessons_module.QUANTILES, nine, now_s)

    monkeypatch.setattr(lessons_module, "forecast_by", speaking)
    monkeypatch.setattr(lessons_module._Class, "models", lambda *_: ((), ()))
    found = learn(history, history, None, before, site, frozenset(), 96, day_s + 900 * (quarters + 1))
    assert asked == [(former, day_s)]
    assert found.card.days_s.tolist()[-1] == day_s
    # Only of the last quarter-hour the models were wrong, by as many kW as the day has quarters.
    assert found.card.mae_kw[METHODS.index(lessons_module.LEARNED), 0, -1] == pytest.approx(1.0)
    assert np.isfinite(found.card.mae_kw[METHODS.index(lessons_module.HABITS), 0, -1])
    assert found.card.size_kw[0, -1] == pytest.approx(-load[0, k : k + quarters].mean())
    assert np.isfinite(found.score[0, k : k + quarters]).all()
    assert np.isnan(found.score[0, k + quarters :]).all()


@pytest.mark.parametrize(("ahead", "leads"), [(24, 100), (96, 100), (140, 140)])
def test_models_look_as_far_as_the_longest_day(monkeypatch, ahead, leads):
    """However short the plans: a day of 25 hours can be marked to its end, for every method alike."""
    seen = set()
    monkeypatch.setattr(lessons_module, "train", lambda *words: seen.add(len(words[4])) or 1 / 0)
    history = a_past(22)
    learn(history, history, None, None, SITE, SUNNY, ahead, history.grid.end_s)
    assert seen == {leads}


SUNNY = frozenset(("plan/sun/residential/s1",))


def a_past(days, seed=3):
    """Sun and what takes no orders, in quarter-hours, from a local midnight on."""
    grid = TimeGrid.uniform(DAY_0_S, 900, 96 * days)
    hour = np.arange(grid.n) % 96 / 4
    rng = np.random.default_rng(seed)
    clear = np.repeat(rng.uniform(0.3, 1.0, days), 96)
    sun = 50.0 * clear * np.maximum(0.0, np.sin((hour - 6) / 12 * np.pi)) * ((hour > 6) & (hour < 18))
    load = -100.0 - 40.0 * np.sin((hour - 14) / 24 * 2 * np.pi) + rng.normal(0.0, 4.0, grid.n)
    return History(grid, (*SUNNY, "outside"), np.stack([sun, load]))


def another_future(history, from_s, how):
    """The same until a moment; wrong in some way from then on."""
    value, later = history.value_kw.copy(), history.grid.starts_s >= from_s
    if how == "thousandfold":
        value[:, later] *= 1000.0
    elif how == "turned":
        value[:, later] *= -1.0
    elif how == "an hour late":
        value[:, later] = np.roll(value[:, later], 4, axis=1)
    elif how == "stuck":
        value[:, later] = value[:, later][:, :1]
    else:
        value[:, later] = np.nan
    return History(history.grid, history.series, value)


FUTURES = ("thousandfold", "turned", "an hour late", "stuck", "silent")


@pytest.mark.parametrize("how", FUTURES)
def test_marks_of_a_day_are_unchanged_by_what_came_later(monkeypatch, how):
    """Of three weeks marked at once: whatever the data become from some day on, the days before are the same.

    To the bit: all that was said of them, what was held against it, and what models for them were made from.
    """
    made_from = []

    def listening(part, _archive, _site, _issues, _leads, _settings, now_s, **_):
        made_from.append((now_s, part.series, part.grid.end_s, part.value_kw.tobytes()))
        raise ValueError("not today")

    monkeypatch.setattr(lessons_module, "train", listening)
    history, from_s = a_past(36), DAY_0_S + 20 * DAY_S
    told, made = [], []
    for one in (history, another_future(history, from_s, how)):
        made_from.clear()
        told.append(learn(one, one, None, None, SITE, SUNNY, 96, history.grid.end_s))
        made.append([entry for entry in made_from if entry[0] < from_s])
        assert all(entry[0] == entry[2] for entry in made_from)
    assert made[0] == made[1]
    assert len(made[0]) == 2
    cards = [lessons.card for lessons in told]
    over = cards[0].days_s < from_s
    assert over.sum() == 5
    for name in ("crps_kw", "mae_kw", "coverage", "size_kw"):
        first, second = (getattr(card, name)[..., over] for card in cards)
        assert np.array_equal(first, second, equal_nan=True), name
    before = history.grid.starts_s < from_s
    assert np.array_equal(told[0].score[:, before], told[1].score[:, before], equal_nan=True)
    assert np.isfinite(told[0].score[:, before]).any()


def test_days_marked_at_once_have_the_marks_of_days_marked_one_by_one(monkeypatch):
    """A system that has just begun knows of its methods what one knows that lived all these days.

    Though meters told watts for three days in between.
    """
    monkeypatch.setattr(lessons_module._Class, "models", lambda *_: ((), ()))
    history = another_future(a_past(26), DAY_0_S + 21 * DAY_S, "thousandfold")
    later = history.grid.starts_s >= DAY_0_S + 24 * DAY_S
    history.value_kw[:, later] = a_past(26).value_kw[:, later]
    at_once = learn(history, history, None, None, SITE, SUNNY, 96, history.grid.end_s)
    lessons = None
    for day in range(15, 27):
        now_s = DAY_0_S + day * DAY_S
        known = lessons_module.until(history, now_s)
        lessons = learn(known, known, None, lessons, SITE, SUNNY, 96, now_s)
    assert lessons.card.days_s.tolist() == at_once.card.days_s.tolist()
    assert len(lessons.card.days_s) == 12
    for name in ("crps_kw", "mae_kw", "coverage", "size_kw", "champion"):
        assert np.array_equal(getattr(lessons.card, name), getattr(at_once.card, name), equal_nan=True), name
    assert np.array_equal(lessons.score, at_once.score, equal_nan=True)
    assert lessons.findings == at_once.findings
