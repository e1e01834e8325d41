"""Series of a file forecast from its last moment on, by whatever did best on its last days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast import Site, forecast, naive
from gridflock.forecast.card import Card, marked, new_card
from gridflock.forecast.learned import SETTINGS, Trial, backtest
from gridflock.forecast.quality import Kind, Rule
from gridflock.model import Forecast, History, Weather
from gridflock.runtime.series._file import SeriesFile
from gridflock.units import DAY_S, HOUR_S, TimeGrid

METHODS = ("last week", "learned")
QUANTILES = np.round(np.arange(0.1, 0.95, 0.1), 1)
_FEWEST_DAYS = 21
"""Days of history below which nothing is learnt: habits answer."""
_MANY = 50
"""Series of one kind from which they are taken for meters."""
_AT_ONCE = 100
"""Series that are learnt together: their rows stay below a gigabyte."""
_MOST_LEADS = 400
_STRANGE = 1.1
"""Spread of a series of which only the size is known, as a part of that: what habits believe of one."""
_OF_KIND = {Kind.SOLAR: "pv", Kind.WIND: "wind", Kind.PRICE: "price"}
"""Settings of kinds that have a class of their own."""
_RULES: Mapping[str, Literal["day", "last", "week"]] = {"pv": "day", "wind": "last"}
"""What of the past stands for last week's: yesterday's sun, the last wind."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """The last days of some series as they would have been forecast, and the days ahead.

    Attributes:
        rows: of the file's series.
        settings: name of what they were learnt with.
        trial: of the learned method; its last moment of issue is now.
        said: (s, I, L, 9) of each of ``METHODS``.
    """

    rows: tuple[int, ...]
    settings: str
    trial: Trial
    said: tuple[NDArray[np.floating[Any]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SeriesAhead:
    """A forecast, and what speaks for it.

    Attributes:
        forecast: nine quantiles of every series; each by its champion.
        card: marks of both methods over the days that were tried; None where history was too short.
        by: method of each series; ``habit`` where no method was tried, ``standing`` where it never moved.
        tried: what the marks are of, by kind of series.
        weather: class of the weather that was used; ``none`` also where it ended too early.
    """

    forecast: Forecast
    card: Card | None
    by: tuple[str, ...]
    tried: tuple[Tried, ...]
    weather: str

    def reliability(self) -> dict[str, NDArray[np.float64]]:
        """By method, the share of truths (9,) at or below each quantile over all that was tried."""
        found = {}
        for m, method in enumerate(METHODS):
            below = [_below(of.trial.truth_kw, of.said[m]) for of in self.tried]
            found[method] = (
                np.mean(np.concatenate(below), axis=0) if below else np.full(len(QUANTILES), np.nan)
            )
        return found


def series_ahead(
    file: SeriesFile,
    site: Site,
    *,
    hours: int = 36,
    days: int = 28,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> SeriesAhead:
    """Forecast every series of a file from the end of its last step on.

    The last days are forecast first, each knowing no more than its moment but for faults of the data, which
    the gate has found in the whole file; series by series the method that missed less makes the forecast.
    Weather that does not reach the end of the horizon is left out, in the days that are tried too. A series
    that the gate found standing still throughout is believed at its value, as uncertain as if never heard.

    Args:
        file: through the gate.
        site: coordinates, clock, holidays.
        hours: how far ahead, 1 to as many as 400 steps are.
        days: how many of the last days are tried.
        seed: of the trees' draws.
        progress: told the share that is done.

    Raises:
        ValueError: nothing in the file, or a horizon of no step or too many.
    """
    history = file.history
    if not history.grid.n:
        raise ValueError("the file holds no step")
    step_s = int(history.grid.edges_s[1] - history.grid.edges_s[0])
    steps = hours * HOUR_S // step_s
    if not 0 < steps <= _MOST_LEADS:
        raise ValueError(f"hours: {hours} are {steps} steps (rule: 1 to {_MOST_LEADS} steps)")
    now_s = history.grid.end_s
    solar = frozenset(name for name, kind in file.kinds.items() if kind is Kind.SOLAR)
    ahead = TimeGrid.uniform(now_s, step_s, steps)
    usual = _no_draw(forecast(history, ahead, site, solar, now_s), file.kinds)
    still = _standing(file, ahead, site, solar)
    sky = _reaching(file.weather, ahead)
    weather = "none" if sky is None else sky.kind
    if (now_s - history.grid.start_s) < _FEWEST_DAYS * DAY_S:
        names = ["habit"] * len(history.series)
        found = replace(usual, value_kw=_with(usual.value_kw.copy(), names, still))
        return SeriesAhead(found, None, tuple(names), (), weather)
    value, by = usual.value_kw.copy(), ["habit"] * len(history.series)
    tried: list[Tried] = []
    parts = _classes(file)
    for k, (settings, rows) in enumerate(parts):
        tell = _share(progress, k, len(parts))
        tried.append(_tried(history, rows, sky, site, settings, steps, days, seed, tell))
    card = _carded(history, tried)
    for of in tried:
        for s, row in enumerate(of.rows):
            best = int(card.champion[row])
            chosen = of.said[best][s, -1]
            if np.isfinite(chosen).all():
                value[row], by[row] = chosen.T, METHODS[best]
    found = Forecast(ahead, history.series, QUANTILES, _with(value, by, still), now_s)
    return SeriesAhead(found, card, tuple(by), tuple(tried), weather)


def _standing(
    file: SeriesFile, ahead: TimeGrid, site: Site, solar: frozenset[str]
) -> dict[int, NDArray[np.float64]]:
    """Quantiles (9, T) of rows that never moved, though the gate expects them to: no error is no certainty.

    Of a meter that is dead nothing is known but the size of its like; of one that shows a number, that.
    """
    history, value = file.history, np.array(file.history.value_kw, dtype=np.float64)
    stuck = {fault.series for fault in file.examination.findings if fault.rule is Rule.STUCK}
    rows = [row for row, name in enumerate(history.series) if name in stuck and _one_value(value[row])]
    if not rows:
        return {}
    shown = [float(value[row][np.isfinite(value[row])][0]) for row in rows]
    value[rows] = np.nan
    unheard = forecast(replace(history, value_kw=value), ahead, site, solar, history.grid.end_s).value_kw
    found: dict[int, NDArray[np.float64]] = {}
    for row, number in zip(rows, shown, strict=True):
        wide = number + _STRANGE * abs(number) * ndtri(QUANTILES)
        quantiles = (
            np.repeat(wide[:, None], ahead.n, axis=1) if number else np.asarray(unheard[row], np.float64)
        )
        kind = file.kinds.get(history.series[row])
        low = 0.0 if kind in {Kind.SOLAR, Kind.WIND} else -np.inf
        found[row] = np.clip(quantiles, low, 0.0 if kind is Kind.LOAD else np.inf)
    return found


def _one_value(cells: NDArray[np.float64]) -> bool:
    """Whether all values that are known are the same."""
    known = cells[np.isfinite(cells)]
    return bool(len(known) and (known == known[0]).all())


def _with(
    value: NDArray[np.floating[Any]], by: list[str], still: Mapping[int, NDArray[np.float64]]
) -> NDArray[np.floating[Any]]:
    """Quantiles (S, 9, T), those of rows that never moved in their place."""
    for row, quantiles in still.items():
        value[row], by[row] = quantiles, "standing"
    return value


def _no_draw(usual: Forecast, kinds: Mapping[str, Kind]) -> Forecast:
    """Turbines give nothing less than 0, which habits do not know."""
    wind = np.array([kinds.get(name) is Kind.WIND for name in usual.series])[:, None, None]
    return replace(usual, value_kw=np.where(wind, np.maximum(usual.value_kw, 0.0), usual.value_kw))


def _classes(file: SeriesFile) -> list[tuple[str, list[int]]]:
    """Rows by the settings they are learnt with."""
    found: dict[str, list[int]] = {}
    plain = [name for name in file.history.series if file.kinds.get(name) not in _OF_KIND]
    for row, name in enumerate(file.history.series):
        own = _OF_KIND.get(file.kinds.get(name, Kind.OTHER))
        if own is not None:
            found.setdefault(own, []).append(row)
        elif len(plain) > _MANY:
            found.setdefault("meter", []).append(row)
        else:
            found.setdefault("feeder" if len(plain) == 1 else "homes", []).append(row)
    return [
        (settings, rows[first : first + _AT_ONCE])
        for settings, rows in found.items()
        for first in range(0, len(rows), _AT_ONCE)
    ]


def _reaching(weather: Weather | None, ahead: TimeGrid) -> Weather | None:
    """The weather, if the days ahead have what the days before will be tried with."""
    if weather is None or weather.known_s is not None or weather.grid.end_s >= ahead.end_s:
        return weather
    return None


def _tried(
    history: History,
    rows: list[int],
    weather: Weather | None,
    site: Site,
    settings: str,
    steps: int,
    days: int,
    seed: int,
    progress: Callable[[float], None],
) -> Tried:
    """The last days and the days ahead as the learned method and the baseline say them."""
    part = History(history.grid, tuple(history.series[r] for r in rows), history.value_kw[rows])
    step_s = int(part.grid.edges_s[1] - part.grid.edges_s[0])
    now_s, leads = part.grid.end_s, np.arange(steps, dtype=np.int64)
    issues = np.arange(now_s - (now_s - part.grid.start_s) // DAY_S * DAY_S, now_s + 1, DAY_S, dtype=np.int64)
    first_s = max(now_s - days * DAY_S, int(issues[0]) + len(issues) // 2 * DAY_S)
    trial = backtest(
        part, weather, site, issues, leads, SETTINGS[settings], first_s, seed=seed, progress=progress
    )
    at = (trial.issues_s - part.grid.start_s) // step_s
    usual = naive(
        np.asarray(part.value_kw, dtype=np.float64),
        part.grid.starts_s,
        site.timezone,
        at,
        leads,
        _RULES.get(settings, "week"),
        first_s,
    )
    return Tried(tuple(rows), settings, trial, (usual, trial.value_kw))


def _carded(history: History, tried: list[Tried]) -> Card:
    """Marks of every day that was tried, all series of a day at once."""
    card = new_card(history.series, METHODS)
    step_s = int(history.grid.edges_s[1] - history.grid.edges_s[0])
    issues = np.unique(np.concatenate([of.trial.issues_s[:-1] for of in tried]))
    for issue_s in issues.tolist():
        grid = TimeGrid.uniform(issue_s, step_s, tried[0].trial.value_kw.shape[2])
        said = {
            method: found
            for m, method in enumerate(METHODS)
            if (found := _of_moment(history.series, tried, m, issue_s, grid)) is not None
        }
        card = marked(card, issue_s, history, said)
    return card


def _of_moment(
    series: tuple[str, ...], tried: list[Tried], m: int, issue_s: int, grid: TimeGrid
) -> Forecast | None:
    """One method's forecasts of all series that it could make at a moment."""
    names: list[str] = []
    values = []
    for of in tried:
        at = np.flatnonzero(of.trial.issues_s == issue_s)
        if len(at):
            value = of.said[m][:, at[0]]
            known = np.isfinite(value).all(axis=(1, 2))
            names += [series[row] for row, ok in zip(of.rows, known, strict=True) if ok]
            values.append(value[known].transpose(0, 2, 1))
    return Forecast(grid, tuple(names), QUANTILES, np.concatenate(values), issue_s) if names else None


def _below(truth: NDArray[np.float64], value: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """(N, 9) which quantiles each known truth does not exceed."""
    known = np.isfinite(truth) & np.isfinite(value[..., 0])
    return np.asarray(truth[known][:, None] <= value[known])


def _share(progress: Callable[[float], None] | None, k: int, of: int) -> Callable[[float], None]:
    def tell(share: float) -> None:
        if progress is not None:
            progress((k + share) / of)

    return tell
