"""Where the sun stands, and how far a series' days lie from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site
from gridflock.forecast.quality._track import Floats, Track, median, quantile
from gridflock.units import DAY_S, HOUR_S, Mask, Seconds

_UP_LIGHT = 0.03
"""Light from which a cloudy sky still moves a panel."""
_LIT_SHARE = 0.02
"""Share of a series' largest values that counts as light."""
_DARK_DEG = -3.0
_LEAST_JUMP_H = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Daylight:
    """The sun over the steps of a history.

    Attributes:
        elevation_deg: (T,) at the middle of each step.
        sun_start_s: offset by which a day begins at the site's solar midnight, seconds.
    """

    elevation_deg: Floats
    sun_start_s: int

    @property
    def dark(self) -> Mask:
        """(T,) sun well below the horizon."""
        return np.asarray(self.elevation_deg < _DARK_DEG)

    @property
    def light(self) -> Floats:
        """(T,) share of the strongest light a clear sky can give: rough, its shape is what counts."""
        return np.asarray(np.maximum(np.sin(np.deg2rad(self.elevation_deg)), 0.0) ** 1.2)


def daylight(site: Site, start_s: int, step_s: int, n: int) -> Daylight:
    """The sun over ``n`` steps from a moment on; position after NREL SPA, from pvlib."""
    # pvlib takes seconds to import; whoever asks for no sun does not wait for it.
    from pvlib import spa  # noqa: PLC0415 -- see above

    middle = start_s + step_s * (np.arange(n) + 0.5)
    elevation = spa.solar_position(middle, site.latitude, site.longitude, 0.0, 1013.25, 12.0, 67.0, 0.5667)[2]
    return Daylight(np.asarray(elevation, dtype=np.float64), round(-site.longitude / 15.0 * HOUR_S))


def gross_lag(value: Floats, light: Floats, per_day: int, slot: Seconds) -> int:
    """Steps by which the mean day of a series lies after that of the light, to the nearest step.

    Centres of mass on the circle of the day, so that it holds for any shift.
    """
    angle = np.exp(2j * np.pi * np.arange(per_day) / per_day)
    centres = []
    for row in (value, light):
        known = np.isfinite(row)
        total = np.bincount(slot[known], np.maximum(row[known], 0.0), minlength=per_day)
        count = np.maximum(np.bincount(slot[known], minlength=per_day), 1)
        centres.append(np.angle((total / count * angle).sum()))
    turn = (centres[0] - centres[1] + np.pi) % (2 * np.pi) - np.pi
    return round(float(turn) / (2 * np.pi) * per_day)


def daily_lags(track: Track, sun: Daylight) -> tuple[Floats, Seconds]:
    """How far the middle of each day's output lies after the middle of its sunlight.

    First and last output of a day are moved by clouds much less than its centre of mass.

    Returns:
        (D,) hours, NaN for days without output or with gaps; (D,) start of each day by the sun.
    """
    per_day = track.per_day
    gross = gross_lag(np.abs(track.value), sun.light, per_day, track.slot)
    value = np.roll(np.abs(track.value), -gross)
    if gross > 0:
        value[-gross:] = np.nan
    elif gross < 0:
        value[:-gross] = np.nan
    limit = _LIT_SHARE * float(quantile(np.abs(track.value), 0.995))
    first = (track.start_s - sun.sun_start_s) % DAY_S // track.step_s
    day = (first + np.arange(track.n)) // per_day
    days = int(day[-1]) + 1
    hours = np.full(days, np.nan)
    gaps = np.bincount(day, ~np.isfinite(value), minlength=days)
    full = np.bincount(day, minlength=days) == per_day
    output, sunlit = _middles(value, limit, day, days), _middles(sun.light, _UP_LIGHT, day, days)
    enough = np.bincount(day, value > limit, minlength=days) * track.step_s >= 2 * HOUR_S
    usable = full & (gaps == 0) & enough
    hours[usable] = (output - sunlit)[usable] * track.step_s / HOUR_S
    starts = track.start_s + (np.arange(days) * per_day - first) * track.step_s
    return hours + gross * track.step_s / HOUR_S, starts.astype(np.int64)


def _middles(value: Floats, limit: float, day: NDArray[np.int64], days: int) -> Floats:
    """Middle (D,) between where each day first and last crosses a limit, in steps; NaN where it never does.

    Between the step beyond the limit and the one before, the crossing is found on a straight line.
    """
    steps = np.flatnonzero(value > limit)
    first, last = np.full(days, -1), np.full(days, -1)
    first[day[steps[::-1]]] = steps[::-1]
    last[day[steps]] = steps
    found = np.full(days, np.nan)
    seen = first >= 0
    found[seen] = (_crossing(value, limit, first[seen], -1) + _crossing(value, limit, last[seen], 1)) / 2
    return found


def _crossing(value: Floats, limit: float, step: NDArray[np.int64], to: int) -> Floats:
    """Where values cross a limit between some steps beyond it and the steps before (-1) or after (1)."""
    beside = np.clip(step + to, 0, len(value) - 1)
    over, under = value[step] - limit, limit - value[beside]
    part = np.where(np.isfinite(under) & (under >= 0), over / np.maximum(over + under, 1e-12), 0.0)
    return np.asarray(step + to * np.minimum(part, 1.0))


def pieces(hours: Floats, switch: float) -> list[tuple[int, int, float]]:
    """Stretches of days with one lag each, the fewest that explain daily lags well.

    The cheapest path through candidate lags a quarter of an hour apart: absolute errors, at most two
    hours each, and a price for each change.

    Args:
        hours: (D,) daily lags; NaN says nothing.
        switch: price of a change, hours of error.

    Returns:
        (first day, end day, mean lag) of each stretch.
    """
    known = np.isfinite(hours)
    if not known.any():
        return []
    low, high = np.floor(np.nanmin(hours) * 4) / 4, np.ceil(np.nanmax(hours) * 4) / 4
    lags = np.arange(low, high + 0.25, 0.25)
    error = np.where(known[:, None], np.minimum(np.abs(hours[:, None] - lags), 2.0), 0.0)
    cost, came = error[0].copy(), np.zeros((len(hours), len(lags)), dtype=np.int64)
    for k in range(1, len(hours)):
        best = int(cost.argmin())
        change = cost[best] + switch < cost
        came[k] = np.where(change, best, np.arange(len(lags)))
        cost = np.where(change, cost[best] + switch, cost) + error[k]
    path = np.empty(len(hours), dtype=np.int64)
    path[-1] = int(cost.argmin())
    for k in range(len(hours) - 1, 0, -1):
        path[k - 1] = came[k, path[k]]
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(hours)]
    return _merged(hours, edges)


def _middle(hours: Floats) -> float:
    """Mean of what lies within an hour of the median: finer than steps, and blind to odd days."""
    near = np.abs(hours - median(hours)) <= 1.0
    return float(hours[near].mean()) if near.any() else np.nan


def _merged(hours: Floats, edges: list[int]) -> list[tuple[int, int, float]]:
    """Stretches between edges, with those made one that differ by less than a clock would."""
    while True:
        lags = [_middle(hours[a:b]) for a, b in itertools.pairwise(edges)]
        steps = np.abs(np.diff(lags))
        if not len(steps) or steps.min() >= _LEAST_JUMP_H:
            return [(a, b, lag) for (a, b), lag in zip(itertools.pairwise(edges), lags, strict=True)]
        del edges[int(steps.argmin()) + 1]
