"""Rows of training: series × issue × lead, with what came of them and when that was learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site
from gridflock.forecast.learned._blend import bins_of
from gridflock.forecast.learned._blocks import OF_WEATHER, columns_of
from gridflock.forecast.learned._bounds import BOUNDS, SCALES
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._sunlit import sunlit_learnt
from gridflock.forecast.learned._view import (
    SCALE_DAYS,
    Floats,
    Index,
    View,
    heard_days,
    size_before,
    view_of,
    wider_of,
)
from gridflock.forecast.sun import with_clear_sky
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, Seconds

NOT_YET_S = np.iinfo(np.int64).max
_PROBED = 8
"""Moments of issue at which it is looked for what features are made of."""
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """N = S·I·L rows, series slowest and leads fastest; powers in units of the series' scale.

    Attributes:
        shape: (S, I, L).
        names: (F,) of the columns.
        x: (N, F) float32.
        anchor: (N,) what is taken off the target before fitting.
        truth: (N,) what came; NaN where unknown.
        learnt_s: (N,) when it was learnt; far in the future where it was not.
        issue_s: (N,).
        scale_kw: (N,).
        wider: (N,) how much wider than usual a band has to be.
        low_kw: (N,) no quantile is below.
        high_kw: (N,) no quantile is above.
        hour: (N,) local hour of the target.
        bins: (N,) of the recalibration.
        day: (N,) number of the day of issue.
    """

    shape: tuple[int, int, int]
    names: tuple[str, ...]
    x: NDArray[np.float32]
    anchor: Floats
    truth: Floats
    learnt_s: Seconds
    issue_s: Seconds
    scale_kw: Floats
    wider: Floats
    low_kw: Floats
    high_kw: Floats
    hour: Floats
    bins: Index
    day: Index


def cells_of(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: Index,
    settings: Settings,
    settled_s: int = 0,
    seen_as: Callable[[View], View] | None = None,
) -> Cells:
    """Build all rows; those issued before ``settled_s`` are learnt from only.

    Args:
        history: S series, house sign.
        weather: what was expected, or None.
        site: coordinates, clock, holidays.
        issues_s: (I,) moments of issue.
        leads: (L,) steps after the one that begins at the moment of issue.
        settings: of the class.
        settled_s: see ``View``.
        seen_as: what of the view features are made of; None for all of it.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    if weather is not None and settings.sunlit:
        weather = with_clear_sky(weather, site)
    view = view_of(history, weather, site, issues_s, leads, settled_s)
    view = view if seen_as is None else seen_as(view)
    scale = SCALES[settings.scale](view)
    scale = scale if scale.ndim > 2 else scale[:, :, None]
    names, x = columns_of(view, settings.blocks, scale)
    shape = view.shape
    anchor = np.zeros(len(x))
    if settings.anchor:
        anchor = np.nan_to_num(x[:, names.index(settings.anchor)].astype(np.float64))
    truth, learnt = _came(view)
    if settings.sunlit:
        learnt = sunlit_learnt(view, learnt, NOT_YET_S)
    # Before a day is known, and while it stands at 0, a series' size is a guess: nothing is learnt from it.
    sized = heard_days(view) >= 1.0
    sized &= (settings.scale != "mean") | (size_before(view, SCALE_DAYS) > 0)
    sized = np.isfinite(scale[:, :, 0]) if settings.young else sized
    learnt = np.where(sized[:, :, None], learnt, NOT_YET_S)
    hour = np.broadcast_to(view.local_of(view.target) % DAY_S / HOUR_S, shape).ravel()
    lead_h = np.broadcast_to((view.leads + 0.5) * view.step_s / HOUR_S, shape).ravel()
    scale_kw = np.broadcast_to(scale, shape).ravel()
    gaps = np.ones(shape[:2]) if settings.young else wider_of(view)
    wider = np.broadcast_to(settings.wider * gaps[:, :, None], shape).ravel()
    issue = np.broadcast_to(view.issues_s[:, None], shape).ravel()
    return Cells(
        shape, names, x, anchor, truth.ravel() / scale_kw, learnt.ravel(), issue, scale_kw, wider,
        *_bounds(view, settings), hour,
        bins_of(lead_h, hour), issue // DAY_S,
    )  # fmt: skip


def without_weather(settings: Settings) -> Settings:
    """Settings of a class that has no weather, or has lost it."""
    return replace(settings, blocks=tuple(name for name in settings.blocks if name not in OF_WEATHER))


def weather_used(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: Index,
    settings: Settings,
    now_s: int,
) -> tuple[str, ...]:
    """Columns of the weather that are known for most targets issued before a moment and that features need.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    issues_s = issues_s[issues_s < now_s]
    if weather is None or not len(issues_s) or not len(history.series):
        return ()
    few = issues_s[np.linspace(0, len(issues_s) - 1, min(_PROBED, len(issues_s))).astype(np.int64)]
    known = None if history.known_s is None else history.known_s[:1]
    one = History(history.grid, history.series[:1], history.value_kw[:1], known)
    given = with_clear_sky(weather, site) if settings.sunlit else weather
    view = view_of(one, given, site, few, leads, now_s)
    unit = np.ones((*view.shape[:2], 1))
    whole = columns_of(view, settings.blocks, unit)[1]

    def needed(name: str) -> bool:
        column = view.weather_columns[name]
        if np.isfinite(view.weather(name, view.target)).mean() < _MOSTLY:
            return False
        without = replace(view, weather_columns={**view.weather_columns, name: np.full_like(column, np.nan)})
        return not np.array_equal(columns_of(without, settings.blocks, unit)[1], whole, equal_nan=True)

    return tuple(name for name in sorted(weather.columns) if needed(name))


def blind_cells(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: Index,
    needs: tuple[str, ...],
) -> NDArray[np.bool_]:
    """(I, L) targets for which a column of the weather that is needed is not known at the issue."""
    if not needs or weather is None:
        return np.full((len(issues_s), len(leads)), bool(needs))
    nobody = History(history.grid, (), np.empty((0, history.grid.n)))
    view = view_of(nobody, weather, site, issues_s, leads)
    found = np.concatenate([view.weather(name, view.target) for name in needs])
    return np.asarray(np.isnan(found).any(axis=0))


def _bounds(view: View, settings: Settings) -> tuple[Floats, Floats]:
    """Lowest and highest values (N,), kW; -0.0 becomes 0."""
    pair = (-np.inf, np.inf) if not settings.bound else BOUNDS[settings.bound](view)
    low, high = (np.broadcast_to(edge, view.shape).ravel() + 0.0 for edge in pair)
    return low, high


def _came(view: View) -> tuple[Floats, Seconds]:
    """Truth (S, I, L) of the targets, and when it was learnt."""
    inside = (view.target >= 0) & (view.target < view.heard.shape[1])
    place = np.where(inside, view.target, 0)
    truth = np.where(inside, view.heard[:, place], np.nan)
    end = np.broadcast_to(view.start_s + (view.target + 1) * view.step_s, truth.shape)
    if view.known_s is not None:
        told = view.known_s[:, place]
        end = np.where(told >= 0, np.maximum(told, end), NOT_YET_S)
    return truth, np.where(np.isfinite(truth), end, NOT_YET_S)
