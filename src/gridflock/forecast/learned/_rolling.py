"""Rolling through time: fit on what is known, forecast what comes, learn from what was missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.learned._blend import Blend, learn_blend
from gridflock.forecast.learned._cells import (
    Cells,
    blind_cells,
    cells_of,
    weather_used,
    without_weather,
)
from gridflock.forecast.learned._members import Member, fit_members, said, table_for
from gridflock.forecast.learned._settings import Settings
from gridflock.model import History, Weather
from gridflock.units import DAY_S, Seconds

Floats = NDArray[np.float64]
Progress = Callable[[float], None]
_LEAST_ROWS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Forecasts that were made one after the other, none knowing more than its moment of issue.

    Attributes:
        issues_s: (I,) those asked for.
        value_kw: (S, I, L, 9) quantiles 0.1 to 0.9, sorted; NaN before anything could be fitted.
        truth_kw: (S, I, L) what came; NaN where unknown.
        weight: (I, M) of the members, with weather.
        fits: how often members were fitted.
    """

    issues_s: Seconds
    value_kw: NDArray[np.float32]
    truth_kw: Floats
    weight: Floats
    fits: int


def backtest(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: NDArray[np.int64],
    settings: Settings,
    first_s: int,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trial:
    """Forecast at each moment of issue from ``first_s`` on, fitted again every ``refit_days``.

    Moments before ``first_s`` are learnt from. Each forecast uses what was known at its moment alone: of
    the history for features, of earlier forecasts' errors for weights and recalibration, and at the last
    refit for the members. Steps whose weather is not known are forecast by a second roll that has none.

    Args:
        history: S series, house sign.
        weather: what was expected, or None.
        site: coordinates, clock, holidays.
        issues_s: (I,) all moments of issue, ascending.
        leads: (L,) steps after the one that begins at the moment of issue.
        settings: of the class.
        first_s: from when on forecasts are wanted.
        seed: of draws.
        progress: told the share that is done.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    if settings.apart and len(history.series) > 1:
        n = len(history.series)
        return _side_by_side(
            [
                backtest(
                    one, weather, site, issues_s, leads, settings, first_s,
                    seed=seed, progress=_part_of(progress, k, n),
                )
                for k, one in enumerate(single(history))
            ]
        )  # fmt: skip
    needs = weather_used(history, weather, site, issues_s, leads, settings, first_s)
    if not needs:
        return _rolled(history, None, site, issues_s, leads, settings, first_s, seed, progress)
    missing = blind_cells(history, weather, site, issues_s[issues_s >= first_s], leads, needs)
    parts = [_part_of(progress, k, 1 + int(missing.any())) for k in range(2)]
    seeing = _rolled(history, weather, site, issues_s, leads, settings, first_s, seed, parts[0])
    if not missing.any():
        return seeing
    blind = _rolled(history, None, site, issues_s, leads, settings, first_s, seed, parts[1])
    value = np.where(missing[..., None], blind.value_kw, seeing.value_kw)
    return replace(seeing, value_kw=value, fits=seeing.fits + blind.fits)


def _rolled(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: NDArray[np.int64],
    settings: Settings,
    first_s: int,
    seed: int,
    progress: Progress | None,
) -> Trial:
    """One back-test, with weather or without."""
    settings = settings if weather is not None else without_weather(settings)
    cells = cells_of(history, weather, site, issues_s, leads, settings, first_s)
    bounds = _bounds(issues_s, first_s, settings)
    members, fits = roll(cells, bounds, settings, seed, progress)
    value, weight = blended(cells, members, settings)
    wanted = issues_s >= first_s
    shape = cells.shape
    kilowatts = bounded(value, cells).reshape(*shape, -1)[:, wanted]
    truth = (cells.truth * cells.scale_kw).reshape(shape)[:, wanted]
    return Trial(issues_s[wanted], kilowatts.astype(np.float32), truth, weight[wanted], fits)


def _part_of(progress: Progress | None, k: int, n: int) -> Progress | None:
    """Told of the k-th of n parts, tell of the whole."""
    return None if progress is None else lambda share: progress((k + share) / n)


def single(history: History) -> Iterator[History]:
    """Each series of a history by itself."""
    for k in range(len(history.series)):
        yield some_of(history, np.array([k]))


def some_of(history: History, rows: NDArray[np.int64]) -> History:
    """Some series of a history."""
    known = None if history.known_s is None else history.known_s[rows]
    return History(history.grid, tuple(history.series[k] for k in rows), history.value_kw[rows], known)


def _side_by_side(each: Sequence[Trial]) -> Trial:
    """Trials of series that were learnt apart, as one; weights are their mean."""
    value = np.concatenate([trial.value_kw for trial in each])
    truth = np.concatenate([trial.truth_kw for trial in each])
    weight = np.mean([trial.weight for trial in each], axis=0)
    return Trial(each[0].issues_s, value, truth, weight, sum(trial.fits for trial in each))


def bounded(value: Floats, cells: Cells) -> Floats:
    """Quantiles (N, 9) in kW within what the class allows."""
    middle = value[:, [len(QUANTILES) // 2]]
    kilowatts = (middle + (value - middle) * cells.wider[:, None]) * cells.scale_kw[:, None]
    return np.clip(kilowatts, cells.low_kw[:, None], cells.high_kw[:, None]) + 0.0


def _bounds(issues_s: Seconds, first_s: int, settings: Settings) -> Sequence[int]:
    """When members are fitted: through the warm days, then at the first issue and every so often after it."""
    every = settings.refit_days * DAY_S
    warm = range(first_s - settings.warm_days * DAY_S, first_s, every)
    found = [b for b in warm if first_s - b > every // 2 or b == warm[0]]
    return [*found, *range(first_s, int(issues_s[-1]) + 1, every)]


def roll(
    cells: Cells, bounds: Sequence[int], settings: Settings, seed: int, progress: Progress | None = None
) -> tuple[NDArray[np.float32], int]:
    """What each member said (M, N, 9) of rows issued from the first bound on, NaN before; number of fits."""
    n = len(cells.truth)
    found = np.full((len(settings.members), n, len(QUANTILES)), np.nan, dtype=np.float32)
    point = np.full((len(settings.members), n), np.nan)
    fits = 0
    for k, bound in enumerate(bounds):
        end = bounds[k + 1] if k + 1 < len(bounds) else int(cells.issue_s.max(initial=0)) + 1
        rows = np.flatnonzero((cells.issue_s >= bound) & (cells.issue_s < end))
        known = np.flatnonzero(cells.learnt_s <= bound)
        if len(known) < _LEAST_ROWS or not len(rows):
            continue
        members = fitted(cells, known, point, bound, settings, seed)
        fits += 1
        for m, member in enumerate(members):
            raw = said(member.model, cells, rows)
            point[m, rows] = raw[:, raw.shape[1] // 2]
            found[m, rows] = member.quantiles(raw, cells.hour[rows])
        if progress is not None:
            progress((k + 1) / len(bounds))
    return found, fits


def fitted(
    cells: Cells, known: NDArray[np.int64], point: Floats, now_s: int, settings: Settings, seed: int
) -> tuple[Member, ...]:
    """Members fitted on the known rows, with tables of the errors that were made so far."""
    models = fit_members(cells, known, now_s, settings, seed)
    members = []
    for m, model in enumerate(models):
        past = known[np.isfinite(point[m, known])]
        members.append(Member(model, table_for(model, cells, past, point[m, past], known)))
    return tuple(members)


def blended(cells: Cells, members: NDArray[np.float32], settings: Settings) -> tuple[Floats, Floats]:
    """One forecast (N, 9) of what members said, weighed and set right day by day; weights (I, M)."""
    value = np.full((len(cells.truth), len(QUANTILES)), np.nan)
    weight = np.full((cells.shape[1], len(members)), np.nan)
    said_at = np.isfinite(members[0, :, 0])
    first_of = cells.issue_s.reshape(cells.shape)[0, :, 0]
    for day in np.unique(cells.day[said_at]):
        rows = np.flatnonzero(said_at & (cells.day == day))
        blend = blend_at(cells, members, int(cells.issue_s[rows].min()), settings)
        value[rows] = blend.apply(members[:, rows], cells.bins[rows])
        weight[first_of // DAY_S == day] = blend.weight
    return value, weight


def blend_at(cells: Cells, members: NDArray[np.float32], now_s: int, settings: Settings) -> Blend:
    """Weights and shifts from the forecasts of the last days whose truth is known."""
    recent = cells.issue_s >= now_s - settings.recent_days * DAY_S
    rows = np.flatnonzero(recent & (cells.learnt_s <= now_s) & np.isfinite(members[0, :, 0]))
    return learn_blend(members[:, rows], cells.truth[rows], cells.bins[rows], cells.day[rows], settings.calm)
