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


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08T08:00:00Z", 23), ("2026-03-09T07:00:00Z", 24)])
def test_a_day_of_23_hours_is_marked_as_soon_as_it_is_over(monkeypatch, day, hours):
    """Models of the day before speak of it, over its own hours; the lessons after know it already."""
    day_s = unix_s(day)
    grid = TimeGrid.uniform(day_s - 21 * DAY_S, 900, 22 * 96)
    history = History(grid, ("outside",), np.full((1, grid.n), -100.0))
    former = Model("outside", ("outside",), b"")
    score = np.full((1, grid.n), np.nan, dtype=np.float32)
    before = Lessons(day_s + 300, history, (), (former,), new_card(history.series, METHODS), score, ())
    asked = []

    def speaking(model, known, _weather, _site, now_s):
        asked.append((model, now_s))
        ahead = TimeGrid.uniform(now_s, 900, 140)
        return Forecast(ahead, known.series, lessons_module.QUANTILES, np.full((1, 9, 140), -100.0), now_s)

    monkeypatch.setattr(lessons_module, "forecast_by", speaking)
    monkeypatch.setattr(lessons_module._Class, "models", lambda *_: ((), ()))
    after_s = day_s + hours * HOUR_S + 900
    found = learn(history, history, None, before, SITE, frozenset(), 96, after_s)
    assert asked == [(former, day_s)]
    learned = METHODS.index(lessons_module.LEARNED)
    assert found.card.days_s.tolist()[-1] == day_s
    assert np.isfinite(found.card.mae_kw[learned, 0, -1])
    k = (day_s - grid.start_s) // 900
    assert np.isfinite(found.score[0, k : k + 4 * hours]).all()
    assert np.isnan(found.score[0, k + 4 * hours :]).all()
