"""Laws of the score card: marks are the scores, champions are the better ones, changes are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from gridflock.forecast import score
from gridflock.forecast.card import alarms, marked, new_card, standing
from gridflock.model import Forecast, History
from gridflock.units import DAY_S, HOUR_S, TimeGrid

START_S = 1_749_945_600
LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 1)
SERIES = ("a", "b")


def a_world(days, seed=1, wrong_from=None):
    """Hourly truths of two series, a good method with the right spread and a poor one of twice the error."""
    rng = np.random.default_rng(seed)
    level = 10.0 + 3.0 * rng.normal(size=(2, days * 24))
    truth = level + rng.normal(size=level.shape)
    history = History(TimeGrid.uniform(START_S, HOUR_S, days * 24), SERIES, truth)
    poor = level + 2.0 * rng.normal(size=level.shape)
    good = level.copy()
    if wrong_from is not None:
        good[:, wrong_from * 24 :] += 8.0
    return history, {"usual": (poor, 2.5), "learned": (good, 1.0)}


def said(middle, spread, day, names=SERIES):
    """A forecast of one day and six hours of the next."""
    steps = slice(day * 24, min(day * 24 + 30, middle.shape[1]))
    value = middle[:, None, steps] + spread * ndtri(LEVELS)[:, None]
    grid = TimeGrid.uniform(START_S + day * DAY_S, HOUR_S, value.shape[2])
    return Forecast(grid, names, LEVELS, value, grid.start_s - 12 * HOUR_S)


def lived(history, methods, days, skip=()):
    """A card after some days; ``skip`` holds (method, day) that gave no forecast."""
    card = new_card(SERIES, tuple(methods))
    for day in range(days):
        given_on = {name: said(*of, day) for name, of in methods.items() if (name, day) not in skip}
        card = marked(card, START_S + day * DAY_S, history, given_on)
    return card


def test_marks_are_the_scores_of_the_day():
    """A day's marks are what ``score`` says of the steps that lie in it, and no others."""
    history, methods = a_world(3)
    card = lived(history, methods, 2)
    whole = said(*methods["learned"], 1)
    of_day = Forecast(
        TimeGrid.uniform(START_S + DAY_S, HOUR_S, 24), SERIES, LEVELS, whole.value_kw[:, :, :24], 0
    )
    found = score(history, of_day)
    np.testing.assert_allclose(card.crps_kw[1, :, 1], 2 * found.pinball_kw)
    np.testing.assert_allclose(card.mae_kw[1, :, 1], found.mae_kw)
    np.testing.assert_allclose(card.coverage[1, :, 1], found.coverage)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_better_method_becomes_champion_and_stays(seed):
    """The method that is always there begins; the better one takes over once three days speak for it."""
    history, methods = a_world(20, seed)
    assert lived(history, methods, 2).champion.tolist() == [0, 0]
    card = lived(history, methods, 20)
    assert card.champion.tolist() == [1, 1]
    assert not alarms(card)
    row = {(r.series, r.method): r for r in standing(card)}
    assert row["a", "learned"].crps_ratio < 0.75
    assert row["a", "usual"].crps_ratio == pytest.approx(1.0)
    assert row["a", "learned"].champion
    assert row["a", "learned"].pinball_kw == pytest.approx(0.5 * row["a", "learned"].crps_kw)


def test_a_broken_champion_is_deposed_and_told():
    """When the world changes for the learned one, it is alarmed at first and then loses its place."""
    history, methods = a_world(40, wrong_from=25)
    rules = set()
    for days in range(26, 36):
        card = lived(history, methods, days)
        rules |= {alarm.rule for alarm in alarms(card)}
        if (card.champion == 0).all():
            break
    assert (card.champion == 0).all()
    assert days <= 32
    assert rules & {"worse", "narrow"}


def test_who_says_nothing_is_no_champion():
    """A champion that gave no forecast on the last day hands over to the method that is always there."""
    history, methods = a_world(20)
    assert lived(history, methods, 20, {("learned", 19)}).champion.tolist() == [0, 0]


def test_marking_a_day_again_changes_nothing():
    """The same day twice gives the same card; sixty days are kept; strange methods are refused."""
    history, methods = a_world(70)
    card = lived(history, methods, 70)
    assert len(card.days_s) == 60
    again = marked(card, START_S + 69 * DAY_S, history, {name: said(*of, 69) for name, of in methods.items()})
    np.testing.assert_array_equal(again.crps_kw, card.crps_kw)
    np.testing.assert_array_equal(again.champion, card.champion)
    with pytest.raises(KeyError):
        marked(card, START_S, history, {"oracle": said(*methods["usual"], 0)})
    with pytest.raises(ValueError, match="each once"):
        new_card(SERIES, ("usual", "usual"))


def test_unknown_truth_leaves_no_mark():
    """Days without truth or series without forecasts are gaps, never zeros; a week of them is told."""
    history, methods = a_world(10)
    history.value_kw[0] = np.nan
    card = lived(history, methods, 10)
    assert np.isnan(card.crps_kw[:, 0]).all()
    assert np.isfinite(card.crps_kw[:, 1]).all()
    assert [(a.series, a.rule) for a in alarms(card)] == [("a", "unmarked")]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("stood", [0, 8])
def test_what_is_too_much_does_not_depend_on_the_unit(unit, stood):
    """A price in money per kWh or a region in kW: alarms are the same, also where a week stood at 0."""
    history, methods = a_world(30, wrong_from=26)
    value = history.value_kw * unit
    methods = {name: (unit * middle, unit * spread) for name, (middle, spread) in methods.items()}
    if stood:
        value[0, -stood * 24 :] = 0.0
        methods["usual"][0][0, -stood * 24 :] = 0.0
        methods["learned"][0][0, -stood * 24 :] = 1e-4 * unit
        for name in methods:
            methods[name] = (
                methods[name][0],
                np.where(np.arange(2) < 1, 0.0, methods[name][1])[:, None, None],
            )
    card = lived(replace(history, value_kw=value), methods, 30)
    card = replace(card, champion=np.ones(2, np.int64))
    rules = {(alarm.series, alarm.rule) for alarm in alarms(card)}
    assert ("b", "worse") in rules
    assert (("a", "worse") in rules) == (not stood)


def test_a_series_that_never_was_anything_is_measured_by_the_others():
    """Its champion's misses count beside what is usual; where nothing ever was, nothing is too much."""
    history, methods = a_world(10)
    still = replace(history, value_kw=np.concatenate([0.0 * history.value_kw[:1], history.value_kw[1:]]))
    for said_kw, told in ((1e-3, False), (1.0, True)):
        zeros = np.concatenate([np.zeros_like(methods["usual"][0][:1]), methods["usual"][0][1:]])
        wrong = np.concatenate([np.full_like(zeros[:1], said_kw), zeros[1:]])
        card = lived(still, {"usual": (zeros, 0.0), "learned": (wrong, 0.0)}, 9)
        card = replace(card, champion=np.ones(2, np.int64))
        assert (("a", "worse") in {(a.series, a.rule) for a in alarms(card)}) == told
    nothing = replace(history, value_kw=0.0 * history.value_kw)
    card = lived(nothing, {"usual": (0.0 * zeros, 0.0), "learned": (0.0 * zeros + 5.0, 0.0)}, 9)
    assert not alarms(replace(card, champion=np.ones(2, np.int64)))
