"""Training: members, weights and corrections of a class of series, from what is known at a moment."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.learned._cells import Cells, cells_of, weather_used, without_weather
from gridflock.forecast.learned._rolling import blend_at, fitted, roll, single, some_of
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._trained import Trained
from gridflock.forecast.learned._view import view_of
from gridflock.forecast.learned._young import FEWEST_SIBLINGS, as_young, begun, few_days, usual_size
from gridflock.model import History, Weather
from gridflock.units import DAY_S, Seconds

_LEAST_ROWS = 200


def train(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: NDArray[np.int64],
    settings: Settings,
    now_s: int,
    *,
    seed: int = 0,
) -> Trained:
    """Learn from what is known at a moment.

    The last ``warm_days`` are forecast by members that have not seen them: that is where tables, weights and
    corrections come from. Then members are fitted on all that is known. Where weather is learnt from, a
    second model learns the same without it; where a class has siblings enough, twins of both learn what is to
    be expected of a series that has just begun. Series that are learnt apart (``Settings.apart``) get a model
    each, as in ``backtest``.

    Args:
        history: S series of one class, house sign; of very many, some are drawn.
        weather: what was expected, or None.
        site: coordinates, clock, holidays.
        issues_s: moments of issue to learn from; those after ``now_s`` are left out.
        leads: (L,) consecutive steps after the one that begins at the moment of issue.
        settings: of the class.
        now_s: nothing learnt later is used.
        seed: of draws.

    Raises:
        ValueError: the history's steps are not uniform or do not divide a day, or leads are not consecutive.
    """
    if not len(leads) or (np.diff(leads) != 1).any():
        raise ValueError("leads need to follow each other, one at least")
    issues_s = np.asarray(issues_s, dtype=np.int64)
    issues_s = issues_s[issues_s < now_s]
    leads = np.asarray(leads, dtype=np.int64)
    if settings.apart and len(history.series) > 1:
        each = tuple(
            (one.series[0], train(one, weather, site, issues_s, leads, settings, now_s, seed=seed))
            for one in single(history)
        )
        needs = tuple(sorted({name for _, model in each for name in model.needs}))
        return Trained(settings, each[0][1].step_s, leads, (), None, now_s, needs, each=each)
    blind = _learnt(history, None, site, issues_s, leads, without_weather(settings), now_s, seed)
    needs = weather_used(history, weather, site, issues_s, leads, settings, now_s)
    if not needs:
        return blind
    seeing = _learnt(history, weather, site, issues_s, leads, settings, now_s, seed)
    return replace(seeing, needs=needs, blind=blind) if seeing.members else blind


def _learnt(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: NDArray[np.int64],
    settings: Settings,
    now_s: int,
    seed: int,
) -> Trained:
    """One model, with weather or without."""
    step_s = int(np.diff(history.grid.edges_s[:2])[0]) if history.grid.n else 0
    nothing = Trained(settings, step_s, leads, (), None, now_s)
    if not len(issues_s) or not len(history.series):
        return nothing
    some = _drawn(history, len(issues_s) * len(leads), settings.most_rows, seed)
    cells = cells_of(some, weather, site, issues_s, leads, settings, now_s)
    found = _fitted(nothing, cells, seed)
    if not found.members:
        return found
    young, few = _twin(nothing, history, weather, site, issues_s, seed)
    return replace(found, young=young, few_days=few)


def _fitted(empty: Trained, cells: Cells, seed: int) -> Trained:
    """The model with members fitted on the rows known when it is trained; without where they are too few."""
    settings, now_s = empty.settings, empty.trained_s
    known = np.flatnonzero(cells.learnt_s <= now_s)
    if len(known) < _LEAST_ROWS:
        return empty
    said_before = _tried(cells, now_s, settings, seed)
    point = said_before[:, :, len(QUANTILES) // 2].astype(np.float64)
    members = fitted(cells, known, point, now_s, settings, seed)
    return replace(empty, members=members, blend=blend_at(cells, said_before, now_s, settings))


def _twin(
    empty: Trained, history: History, weather: Weather | None, site: Site, issues_s: Seconds, seed: int
) -> tuple[Trained | None, float]:
    """The same class learnt as if its series had just begun, and the days below which it is to answer.

    None where the class has too few series or no common size.
    """
    if len(history.series) < FEWEST_SIBLINGS or empty.settings.scale != "mean":
        return None, 0.0
    settings, leads, now_s = as_young(empty.settings), empty.leads, empty.trained_s
    now = view_of(history, None, site, np.array([now_s], dtype=np.int64), leads)
    some = _drawn(history, len(issues_s) * len(leads), settings.most_rows, seed)
    cells = cells_of(some, weather, site, issues_s, leads, settings, now_s, partial(begun, seed=seed))
    usual_kw = float(usual_size(now)[0])
    twin = _fitted(replace(empty, settings=settings, usual_kw=usual_kw), cells, seed)
    return (twin, few_days(now)) if twin.members and np.isfinite(usual_kw) else (None, 0.0)


def _tried(cells: Cells, now_s: int, settings: Settings, seed: int) -> NDArray[np.float32]:
    """What members said (M, N, 9) of the last days without having seen them."""
    first, warm = int(cells.issue_s.min()), settings.warm_days * DAY_S
    start = max(now_s - warm, (first + now_s) // 2)
    every = max(DAY_S, min(settings.refit_days * DAY_S, (now_s - start) // 2 + 1))
    return roll(cells, range(start, now_s, every), settings, seed)[0]


def _drawn(history: History, rows_each: int, most: int, seed: int) -> History:
    """As many of the series as make up the rows to learn from."""
    n = max(1, most // max(rows_each, 1))
    if n >= len(history.series):
        return history
    rows = np.sort(np.random.default_rng(seed).choice(len(history.series), n, replace=False))
    return some_of(history, rows)
