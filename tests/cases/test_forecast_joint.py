"""Forecasts that agree, as they are tried: coherent, from what was known, guarded where a season turns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import ndtri

from gridflock.bench import _forecast_joint as room
from gridflock.bench._forecast_sets import FONTANA, ForecastSet
from gridflock.forecast.learned import Trial
from gridflock.model import History
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

START_S = unix_s("2026-01-05T12:00")
DAYS, HOMES, STEPS = 48, 4, 3
FIRST = 24
SUMS = csr_array(np.ones((1, HOMES)))


def tried(season, seed=3):
    """A total whose own forecast is good, and homes that all miss ``season`` kW from the test span on."""
    rng = np.random.default_rng(seed)
    homes = rng.normal(size=(HOMES, DAYS, STEPS))
    truth = np.concatenate([homes.sum(axis=0, keepdims=True), homes])
    middle = truth + 0.5 * rng.normal(size=truth.shape)
    middle[1:, FIRST:] += season
    value = middle[..., None] + 0.6 * ndtri(room.QUANTILES)
    history = History(
        TimeGrid.uniform(START_S, HOUR_S, 24 * DAYS), tuple("abcd"), np.zeros((HOMES, 24 * DAYS))
    )
    edge = START_S + FIRST * DAY_S
    task = ForecastSet(
        "homes", "home", history, None, FONTANA, edge, edge, START_S + DAYS * DAY_S, daily=True,
        leads=np.arange(STEPS), naive="week",
    )  # fmt: skip
    issues = START_S + DAY_S * np.arange(DAYS)
    trial = Trial(issues, value[1:].astype(np.float32), truth[1:], np.ones((DAYS, 1)), 1)
    return task, value, truth, trial


@pytest.fixture(autouse=True)
def few_paths(monkeypatch):
    """Few paths are enough for what is asked here."""
    monkeypatch.setattr(room, "_PATHS", 20)


def test_what_comes_later_changes_nothing_said_before():
    """Reconciled means and the total's quantiles up to a day are the same whatever came after it."""
    task, value, truth, trial = tried(1.0)
    first = room._reconciled(task, SUMS, value, truth, trial, 0)
    other = truth.copy()
    other[:, FIRST + 10 :] = np.random.default_rng(9).normal(0, 30, other[:, FIRST + 10 :].shape)
    again = room._reconciled(task, SUMS, value, other, trial, 0)
    np.testing.assert_array_equal(first[0][:, :11], again[0][:, :11])
    np.testing.assert_array_equal(first[2][:11], again[2][:11])
    assert not np.array_equal(first[0][:, 12:], again[0][:, 12:])
    np.testing.assert_allclose(first[0][0], first[0][1:].sum(axis=0), atol=1e-9)


def test_where_members_miss_a_season_groups_are_believed():
    """Homes that all start to miss the same lead the total astray by trace minimisation; leaning guards."""
    steady, late = (tried(season) for season in (0.0, 1.5))
    share = [
        room._reconciled(task, SUMS, value, truth, trial, 0)[4]
        for task, value, truth, trial in (steady, late)
    ]
    assert share[1] < share[0] - 0.1
    task, value, truth, trial = late
    scored = slice(FIRST, None)
    found = room._reconciled(task, SUMS, value, truth, trial, 0)[0][0]
    free = room._both_ways(task, SUMS, value, truth, trial)[1][0, scored]
    missed, missed_free = (np.abs(said - truth[0, scored]).mean() for said in (found, free))
    assert missed < missed_free
