"""What a plan expects: each series by the method that missed least, and joint paths of all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast import Site, forecast
from gridflock.forecast.together import joint, paths, shared_ranks
from gridflock.model import Forecast, History
from gridflock.runtime._hidden_sun import apart
from gridflock.runtime._lessons import (
    APART,
    LAST_WEEK,
    LEARNED,
    METHODS,
    Lessons,
    forecast_by,
    last_week,
    newest,
)
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._subjects import subject_of
from gridflock.units import DAY_S, Kw, TimeGrid

_FEWEST_DAYS = 20
"""Marked days from which joint paths take the ranks of past days; below, series err each for itself."""
_WEEKS = 4

Floats = NDArray[np.float64]


def expected(past: Past, grid: TimeGrid, site: Site, now_s: int) -> Forecast:
    """Quantiles of every series over a plan's steps: each by its champion, by habit where that is silent.

    Args:
        past: what has been measured, learnt, and heard of the weather.
        grid: of the plan, from the beginning of a quarter-hour on.
        site: where the feeder stands.
        now_s: the moment.
    """
    known = past.history()
    habit = _with_newcomers(past, known, forecast(known, grid, site, past.solar, now_s), site, now_s)
    if past.taught is None:
        return habit
    lessons, value = past.taught[1], habit.value_kw.copy()
    champion = {name: METHODS[m] for name, m in zip(lessons.card.series, lessons.card.champion, strict=True)}
    for other, method in _others(past, lessons, champion, grid, site, now_s):
        place = {name: row for row, name in enumerate(other.series)}
        laid = _on_steps(other, grid)
        for row, name in enumerate(habit.series):
            if champion.get(name) == method and name in place:
                found = laid[place[name]]
                value[row] = np.where(np.isfinite(found), found, value[row])
    return replace(habit, value_kw=value)


def _with_newcomers(past: Past, known: History, habit: Forecast, site: Site, now_s: int) -> Forecast:
    """Habits, but vehicles' groups of which less than a day is known by the stays of their class.

    Few come at their own times: need is taken to be as wide as an exponential of the same mean.
    """
    value, grid = habit.value_kw, habit.grid
    young = np.isfinite(known.value_kw).sum(axis=1) < DAY_S // STEP_S
    for row in np.flatnonzero(young).tolist():
        name = habit.series[row]
        ahead = past.coming(name, site, grid, now_s) if subject_of(name) == "vehicle" else None
        if ahead is not None and ahead.number.any():
            wide = -np.log1p(-habit.quantiles[::-1])
            need_kw = ahead.number * ahead.need_kwh / grid.hours
            value[row] = -(wide / wide.mean())[:, None] * need_kw
    return habit


def _others(
    past: Past, lessons: Lessons, champion: dict[str, str], grid: TimeGrid, site: Site, now_s: int
) -> list[tuple[Forecast, str]]:
    """Forecasts in quarter-hours of the methods that are champion of anything."""
    found: list[tuple[Forecast, str]] = []
    wanted = set(champion.values())
    if LAST_WEEK in wanted:
        fine = TimeGrid.uniform(grid.start_s, STEP_S, (grid.end_s - grid.start_s) // STEP_S)
        known = newest(past.mended(7 * _WEEKS + 1), 7 * _WEEKS)
        found.append((last_week(known, past.solar, site, fine, grid.start_s), LAST_WEEK))
    if APART in wanted and lessons.behind is not None:
        fine = TimeGrid.uniform(grid.start_s, STEP_S, (grid.end_s - grid.start_s) // STEP_S)
        other = apart(past.history(), lessons.behind, past.solar, site, fine, now_s)
        found += [] if other is None else [(other, APART)]
    if LEARNED in wanted:
        known, weather = past.mended(), past.skies.at(now_s)
        found += [
            (forecast_by(model, known, weather, site, now_s), LEARNED)
            for model in lessons.models
            if any(champion.get(name) == LEARNED for name in model.series)
        ]
    return found


def _on_steps(fine: Forecast, grid: TimeGrid) -> Floats:
    """Quantiles (S, Q, T) of a forecast in quarter-hours over a plan's steps; NaN where it does not reach."""
    place = (grid.edges_s - fine.grid.start_s) // STEP_S
    covered = int(np.searchsorted(place, fine.grid.n, side="right")) - 1
    found = np.full((*fine.value_kw.shape[:2], grid.n), np.nan)
    if place[0] == 0 and covered > 0:
        values = np.asarray(fine.value_kw[:, :, : place[covered]], dtype=np.float64)
        found[:, :, :covered] = np.add.reduceat(values, place[:covered], axis=2) / np.diff(place)[:covered]
    return np.sort(found, axis=1)


def drawn(past: Past, seen: Forecast, count: int, seed: int) -> Kw:
    """Joint paths (count, S, T) of a forecast: by the ranks of past days, where there are enough of them."""
    ranks = None if past.taught is None else ranks_of(past.taught[1], seen)
    if ranks is None or len(ranks) < _FEWEST_DAYS:
        return paths(seen, count, seed)
    return joint(seen, ranks, count, seed)


def by_past_days(past: Past, seen: Forecast) -> bool:
    """Whether joint paths of a forecast take the ranks of past days."""
    return past.taught is not None and len(ranks_of(past.taught[1], seen)) >= _FEWEST_DAYS


def ranks_of(lessons: Lessons, seen: Forecast) -> Floats:
    """Where each past day lay, (I, S, T), from the same time of the day on as a forecast begins."""
    history, grid = lessons.history, seen.grid
    edges = (grid.edges_s - history.grid.start_s) // STEP_S
    levels = seen.quantiles
    days: list[Floats] = []
    back = DAY_S // STEP_S
    heard = np.isfinite(lessons.score)
    total, known = _running(np.where(heard, lessons.score, 0.0)), _running(heard)
    for k in range(1, history.grid.n // back + 1):
        at = edges - k * back
        if at[0] < 0:
            break
        if at[-1] > history.grid.n:
            continue
        count = known[:, at[1:]] - known[:, at[:-1]]
        mean = np.divide(
            total[:, at[1:]] - total[:, at[:-1]], count, out=np.full(count.shape, np.nan), where=count > 0
        )
        if np.isfinite(mean).mean() > 0.5:
            days.append(mean)
    if not days or seen.series != history.series:
        return np.empty((0, len(seen.series), grid.n))
    scores = np.stack(days[::-1])
    # Scores are truths in terms of a standard normal "forecast".
    normal = np.broadcast_to(ndtri(levels)[None, None, :, None], (*scores.shape[:2], len(levels), grid.n))
    return shared_ranks(scores, levels, normal)


def _running(values: NDArray[np.generic]) -> Floats:
    """(S, T+1) sums of all before each step."""
    sums = np.cumsum(values, axis=1, dtype=np.float64)
    return np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
