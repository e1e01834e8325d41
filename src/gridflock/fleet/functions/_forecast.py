"""Forecasts of groups from forecasts of their members or of themselves (5.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.groups import Groups
from gridflock.model import CurveStyle, Forecast, Parameter, ParameterForecast, Rejected
from gridflock.units import Mask, TimeGrid

_Array = NDArray[np.float64]
Together = Literal["alike", "apart"]


class Foretold(NamedTuple):
    """One parameter of each resource, (n, T) each, NaN where nothing is known."""

    nominal: _Array
    lowest: _Array
    highest: _Array


def group_forecast(
    groups: Groups,
    names: Sequence[str],
    forecast: Forecast,
    *,
    confidence: float = 0.8,
    style: CurveStyle = CurveStyle.CONSTANT,
    together: Together = "alike",
) -> tuple[ParameterForecast, tuple[Rejected, ...]]:
    """Active power of groups from quantiles of series: a group's own, or the sum of its members'.

    Args:
        groups: over the fleet.
        names: G groups.
        forecast: series by id of a group or resource.
        confidence: of the range, from the quantiles at its two ends, linear between the levels given.
        style: of the curve.
        together: how the errors of members add up. ``alike``: all err the same way, quantiles are
            summed (the widest such range, exact where errors rise and fall together). ``apart``: errors
            are independent, half-widths add as squares (exact for normal errors).

    Returns:
        The forecast, NaN for a group of which nothing is known; and these groups, or a confidence
        beyond the quantiles, as ``Rejected``.

    Raises:
        KeyError: no such group.
    """
    tail = (1.0 - confidence) / 2.0
    levels = forecast.quantiles
    if not levels[0] <= tail + 1e-12 <= levels[-1] or not 0.0 < confidence < 1.0:
        reason = f"{confidence:g} is beyond the quantiles {levels[0]:g} to {levels[-1]:g}"
        return _nothing(groups, names, forecast, style), (Rejected("forecast", "confidence", (), reason),)
    curves = np.stack([_quantile(forecast, level) for level in (0.5, tail, 1.0 - tail)])
    at = {name: k for k, name in enumerate(forecast.series)}
    row_of = groups.fleet.row_of
    series_of_row = np.full(len(groups.fleet.ids), -1, dtype=np.int64)
    for name, k in at.items():
        if name in row_of:
            series_of_row[row_of[name]] = k
    values = np.full((3, len(names), forecast.grid.n), np.nan)
    known, members = np.zeros((2, len(names)), dtype=np.int64)
    for g, name in enumerate(names):
        rows = groups.rows(name)
        members[g] = len(rows)
        if name in at:
            values[:, g], known[g] = curves[:, at[name]], len(rows)
            continue
        series = series_of_row[rows]
        series = series[series >= 0]
        known[g] = len(series)
        if len(series):
            values[:, g] = _summed(curves[:, series], together)
    stated, counts = (confidence, forecast.known_at_s), (known, members)
    active = (Parameter.ACTIVE_POWER,)
    made = _made(names, active, forecast.grid, style, values[:, :, None, :], stated, counts)
    return made, _unknown(names, known)


def group_forecast_of_rows(
    groups: Groups,
    names: Sequence[str],
    grid: TimeGrid,
    foretold: Mapping[Parameter, Foretold],
    *,
    confidence: float,
    created_s: int,
    style: CurveStyle = CurveStyle.CONSTANT,
) -> tuple[ParameterForecast, tuple[Rejected, ...]]:
    """Any parameters of groups from those of each resource: sums; of voltage mean, least and most.

    Ranges of members are summed as they are, so that the range of the group holds whenever theirs do.

    Args:
        groups: over the fleet, n rows.
        names: G groups.
        grid: T intervals.
        foretold: by parameter, (n, T) each.
        confidence: stated, as of the members' ranges.
        created_s: nothing later was used for it.
        style: of the curve.

    Returns:
        The forecast, and the groups of which nothing is known. A member counts as known where all of its
        values are; one with gaps is left out.

    Raises:
        KeyError: no such group.
    """
    values = np.full((3, len(names), len(foretold), grid.n), np.nan)
    known, members = np.zeros((2, len(names)), dtype=np.int64)
    curves = np.stack([curve for part in foretold.values() for curve in part])
    whole: Mask = ~np.logical_or.reduce(np.isnan(curves), axis=(0, 2))
    for g, name in enumerate(names):
        rows = groups.rows(name)
        members[g] = len(rows)
        rows = rows[whole[rows]]
        known[g] = len(rows)
        for p, (parameter, part) in enumerate(foretold.items()):
            if len(rows):
                values[:, g, p] = _joined(parameter, part, rows)
    stated, counts = (confidence, created_s), (known, members)
    return _made(names, tuple(foretold), grid, style, values, stated, counts), _unknown(names, known)


def of_forecast(
    forecast: ParameterForecast, names: Sequence[str], parameters: Sequence[Parameter], style: CurveStyle
) -> ParameterForecast:
    """The same for some of its groups and parameters, as a curve of this style.

    A curve of straight lines keeps the means of no interval exactly when it is drawn through constant
    ones, nor do constants keep its edges.
    """
    g = [forecast.groups.index(name) for name in names]
    p = [forecast.parameters.index(name) for name in parameters]
    curves = np.stack([forecast.nominal, forecast.lowest, forecast.highest])[:, g][:, :, p]
    if forecast.style != style:
        curves = _edges(curves, forecast.grid) if style == CurveStyle.STRAIGHT_LINE else means(curves)
    return ParameterForecast(
        tuple(names),
        tuple(parameters),
        forecast.grid,
        style,
        curves[0],
        curves[1],
        curves[2],
        forecast.confidence,
        forecast.created_s,
        forecast.known[g],
        forecast.members[g],
    )


def means(edges: _Array) -> _Array:
    """Mean of each interval of straight lines: (…, T) from values at the edges (…, T + 1)."""
    middle: _Array = (edges[..., :-1] + edges[..., 1:]) / 2.0
    return middle


def _edges(values: _Array, grid: TimeGrid) -> _Array:
    """Values at the edges (…, T + 1) of constants (…, T): on straight lines between the middles."""
    middles, edges = grid.middles_s.astype(np.float64), grid.edges_s.astype(np.float64)
    flat = values.reshape(-1, grid.n)
    drawn = np.array([np.interp(edges, middles, curve) for curve in flat])
    return drawn.reshape(*values.shape[:-1], grid.n + 1)


def _quantile(forecast: Forecast, level: float) -> _Array:
    """A quantile of all series (S, T), linear between the levels given."""
    levels = forecast.quantiles
    above = int(np.clip(np.searchsorted(levels, level), 1, len(levels) - 1)) if len(levels) > 1 else 0
    below = max(above - 1, 0)
    width = levels[above] - levels[below]
    share = np.clip((level - levels[below]) / width, 0.0, 1.0) if width > 0 else 0.0
    least, most = (forecast.value_kw[:, k].astype(np.float64) for k in (below, above))
    curve: _Array = least * (1.0 - share) + most * share
    return curve


def _summed(curves: _Array, together: Together) -> _Array:
    """Median and range of a sum (3, T) of members (3, m, T)."""
    if together == "alike":
        total: _Array = curves.sum(axis=1)
        return total
    middle = curves[0].sum(axis=0)
    below, above = (np.sqrt(((curves[k] - curves[0]) ** 2).sum(axis=0)) for k in (1, 2))
    return np.stack([middle, middle - below, middle + above])


def _joined(parameter: Parameter, part: Foretold, rows: NDArray[np.int32]) -> _Array:
    """Nominal and range (3, T) of a group of these rows."""
    nominal, lowest, highest = (np.asarray(curve, dtype=np.float64)[rows] for curve in part)
    if parameter == Parameter.VOLTAGE:
        return np.stack([nominal.mean(axis=0), lowest.min(axis=0), highest.max(axis=0)])
    return np.stack([nominal.sum(axis=0), lowest.sum(axis=0), highest.sum(axis=0)])


def _made(
    names: Sequence[str],
    parameters: tuple[Parameter, ...],
    grid: TimeGrid,
    style: CurveStyle,
    values: _Array,
    stated: tuple[float, int],
    counts: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> ParameterForecast:
    """The forecast of constants (3, G, P, T), with confidence and moment, known members and all."""
    curves = _edges(values, grid) if style == CurveStyle.STRAIGHT_LINE else values
    nominal, lowest, highest = curves
    return ParameterForecast(
        tuple(names), parameters, grid, style, nominal, lowest, highest, *stated, *counts
    )


def _nothing(
    groups: Groups, names: Sequence[str], forecast: Forecast, style: CurveStyle
) -> ParameterForecast:
    """A forecast that says nothing."""
    members = np.array([len(groups.rows(name)) for name in names], dtype=np.int64)
    values = np.full((3, len(names), 1, forecast.grid.n), np.nan)
    stated, counts = (np.nan, forecast.known_at_s), (np.zeros_like(members), members)
    return _made(names, (Parameter.ACTIVE_POWER,), forecast.grid, style, values, stated, counts)


def _unknown(names: Sequence[str], known: NDArray[np.int64]) -> tuple[Rejected, ...]:
    """Groups nothing is known of."""
    ids = tuple(name for name, count in zip(names, known.tolist(), strict=True) if not count)
    return (Rejected("forecast", "series", ids, "no member has a forecast"),) if ids else ()
