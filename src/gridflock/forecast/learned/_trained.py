"""A trained model: made once a day or a week, asked at any moment, kept as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._forecast import forecast as by_habit
from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.learned._blend import Blend
from gridflock.forecast.learned._cells import (
    Cells,
    blind_cells,
    cells_of,
    weather_used,
    without_weather,
)
from gridflock.forecast.learned._members import Member, said
from gridflock.forecast.learned._rolling import blend_at, bounded, fitted, roll
from gridflock.forecast.learned._settings import Settings
from gridflock.model import Forecast, History, Weather
from gridflock.units import DAY_S, Seconds, TimeGrid

_CHUNK = 4_000
"""Series that are forecast at once: what they need stays in a hundred megabytes."""
_LEAST_ROWS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Members, their weights and their corrections for one class of series.

    Attributes:
        settings: of the class.
        step_s: of the histories it can be asked with.
        leads: (L,) steps after the one that begins at the moment of issue.
        members: fitted; none where there was too little to learn from: habits answer then.
        blend: weights and corrections.
        trained_s: nothing later was learnt from.
        needs: columns of the weather that were learnt from.
        blind: learnt from the same without weather: answers for steps whose weather is not known; None where
            nothing is needed.
    """

    settings: Settings
    step_s: int
    leads: NDArray[np.int64]
    members: tuple[Member, ...]
    blend: Blend | None
    trained_s: int
    needs: tuple[str, ...] = ()
    blind: Trained | None = None

    def forecast(self, history: History, weather: Weather | None, site: Site, now_s: int) -> Forecast:
        """Nine quantiles of each series over the steps ahead.

        Series without a history, or with gaps in the last week, get a wider answer; so do steps for which
        weather is missing (``blind_steps``). Of the history and the weather only what was known at
        ``now_s`` is used.

        Raises:
            ValueError: the history's steps are not those that were learnt from.
        """
        _check_step(history, self.step_s)
        grid = _grid(history, self.leads, now_s, self.step_s)
        if not self.members:
            return by_habit(history, grid, site, (), now_s)
        missing = self.blind_steps(history, weather, site, now_s)
        value = np.empty((len(history.series), len(QUANTILES), grid.n))
        if not missing.all():
            seen = weather if self.needs else None
            found = [self._some(part, seen, site, now_s) for part in _parts(history)]
            value = np.concatenate(found) if found else value
        if self.blind is not None and missing.any():
            value = np.where(missing, self.blind.forecast(history, None, site, now_s).value_kw, value)
        return Forecast(grid, history.series, QUANTILES.copy(), value, now_s)

    def blind_steps(
        self, history: History, weather: Weather | None, site: Site, now_s: int
    ) -> NDArray[np.bool_]:
        """(L,) steps that ``forecast`` answers without weather although weather was learnt from.

        At these a column that is needed is absent, ends before, or was published after ``now_s``. None are
        where no weather was learnt from: all that is answered is without it then.
        """
        issue = np.array([now_s], dtype=np.int64)
        return np.asarray(blind_cells(history, weather, site, issue, self.leads, self.needs)[0])

    def _some(self, history: History, weather: Weather | None, site: Site, now_s: int) -> NDArray[np.float64]:
        """Quantiles (S, 9, L) of some series."""
        issue = np.array([now_s], dtype=np.int64)
        cells = cells_of(history, weather, site, issue, self.leads, self.settings)
        rows = np.arange(len(cells.issue_s))
        nine = [m.quantiles(said(m.model, cells, rows), cells.hour) for m in self.members]
        assert self.blend is not None
        value = bounded(self.blend.apply(np.stack(nine), cells.bins), cells)
        return value.reshape(len(history.series), len(self.leads), -1).transpose(0, 2, 1)


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
    second model learns the same without it.

    Args:
        history: S series of one class, house sign; of very many, some are drawn. Series of a class that is
            learnt apart (``Settings.apart``) are given one at a time.
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
    known = np.flatnonzero(cells.learnt_s <= now_s)
    if len(known) < _LEAST_ROWS:
        return nothing
    said_before = _tried(cells, now_s, settings, seed)
    point = said_before[:, :, len(QUANTILES) // 2].astype(np.float64)
    members = fitted(cells, known, point, now_s, settings, seed)
    blend = blend_at(cells, said_before, now_s, settings)
    return replace(nothing, members=members, blend=blend)


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
    return _of(history, rows)


def _of(history: History, rows: NDArray[np.int64]) -> History:
    known = None if history.known_s is None else history.known_s[rows]
    return History(history.grid, tuple(history.series[k] for k in rows), history.value_kw[rows], known)


def _parts(history: History) -> Iterator[History]:
    n = len(history.series)
    for first in range(0, n, _CHUNK):
        yield history if n <= _CHUNK else _of(history, np.arange(first, min(n, first + _CHUNK)))


def _check_step(history: History, step_s: int) -> None:
    if history.grid.n and (np.diff(history.grid.edges_s) != step_s).any():
        raise ValueError(f"history needs steps of {step_s} s")


def _grid(history: History, leads: NDArray[np.int64], now_s: int, step_s: int) -> TimeGrid:
    start = history.grid.start_s
    first = start + ((now_s - start) // step_s + int(leads[0])) * step_s
    return TimeGrid.uniform(first, step_s, len(leads))
