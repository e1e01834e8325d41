"""Clocks that run beside the sun, or beside the light that another channel measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._daylight import Daylight, daily_lags, pieces
from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._track import Floats, Track
from gridflock.units import DAY_S, HOUR_S, utc_offset_s

_LEAST_LAG_H = 0.6
"""Orientation of a plane, hills and the labels of intervals move a day by less."""
_FEWEST_DAYS = 7
_CHANGE_H = 9.0
"""Hours of error that a change of the clock must save; twice as many where steps are hours."""
_NEAR_CHANGE_S = 3 * DAY_S
_STEADY_H = 1.0
"""Mean error of daily lags about their stretch above which they tell of no clock."""
_SEEN_SOLAR, _SEEN_NET = 0.5, 0.3
"""Least correlation with light at the best lag: of a panel, and of what a net load does beside its habits."""
_GAIN = 0.05
"""How much better the best lag must be than none."""
_LEAST_BETWEEN_H = 0.75


def beside_sun(track: Track, sun: Daylight, timezone: str) -> list[Finding]:
    """How a series of light lies to the sun: shifted throughout, or jumping as with daylight saving.

    Each stretch of days with one lag is a finding where the lag is more than orientation explains.
    The repair moves its stamps by whole steps.
    """
    hours, starts = daily_lags(track, sun)
    found = pieces(hours, _CHANGE_H * (1 + track.step_s / HOUR_S))
    known = [(a, b, lag) for a, b, lag in found if np.isfinite(hours[a:b]).sum() >= _FEWEST_DAYS]
    if not known or _scatter(hours, known) > _STEADY_H:
        return []
    one = len({round(lag * 4) for *_, lag in known}) == 1
    findings = []
    for a, b, lag in known:
        if abs(lag) < _LEAST_LAG_H:
            continue
        until_s = int(starts[b]) if b < len(starts) else track.at(track.n)
        span = (
            _exact(track, int(starts[a]), timezone, first=a == 0),
            _exact(track, until_s, timezone, first=False),
        )
        findings.append(
            _beside(track, span, lag, Rule.CLOCK_SHIFT if one else Rule.CLOCK_JUMP, hours[a:b], timezone)
        )
    return findings


def _scatter(hours: Floats, found: list[tuple[int, int, float]]) -> float:
    """Mean absolute error of daily lags about those of their stretches."""
    errors = np.concatenate([np.abs(hours[a:b] - lag) for a, b, lag in found])
    return float(np.nanmean(errors))


def _exact(track: Track, t_s: int, timezone: str, *, first: bool) -> int:
    """A border of days as a step: the clock change of the zone beside it, where there is one."""
    if first:
        return 0
    if t_s < track.at(track.n):
        t_s = next(
            (change for change in clock_changes(timezone, t_s - _NEAR_CHANGE_S, t_s + _NEAR_CHANGE_S)), t_s
        )
    return min(max((t_s - track.start_s) // track.step_s, 0), track.n)


def clock_changes(timezone: str, from_s: int, until_s: int) -> list[int]:
    """Moments at which a zone's offset changes, to the hour."""
    moments = np.arange(from_s // HOUR_S, until_s // HOUR_S + 1, dtype=np.int64) * HOUR_S
    offsets = utc_offset_s(timezone, moments)
    return [int(moments[k + 1]) for k in np.flatnonzero(np.diff(offsets))]


def _beside(
    track: Track, span: tuple[int, int], lag: float, rule: Rule, hours: Floats, timezone: str
) -> Finding:
    """The finding of one stretch."""
    amount = -_whole(lag, track.step_s)
    summer = int(utc_offset_s(timezone, np.array([track.at(sum(span) // 2)]))[0])
    seen = f"the day's middle lies {abs(lag):.2f} h {'after' if lag > 0 else 'before'} the sun's"
    evidence = {
        "lag_h": lag,
        "days": int(np.isfinite(hours).sum()),
        "scatter_h": float(np.nanmean(np.abs(hours - lag))),
        "zone_offset_h": summer / HOUR_S,
    }
    if rule is Rule.CLOCK_JUMP:
        seen += ", and otherwise at other times"
    return track.finding(rule, span, seen, evidence, Repair.SHIFT, amount, safe=amount != 0)


def _whole(lag_h: float, step_s: int) -> int:
    """Seconds of a clock's error: clocks err by half hours, where the steps are as fine."""
    unit_s = step_s * max(1, round(0.5 * HOUR_S / step_s))
    return int(np.floor(lag_h * HOUR_S / unit_s + 0.5)) * unit_s


def lag_between(track: Track, light: Floats, most_h: float = 12.0) -> tuple[float, float, float]:
    """By how much a series lies after the light of another channel.

    Solar output is compared as it is. Of a net load first its mean day is taken away, as light has it
    too: what is left of both are clouds.

    Returns:
        Hours, positive where the series is late; correlation at that lag; correlation without any.
    """
    value, other = track.value, light
    if track.kind is Kind.NET:
        value, other = (
            beside_habit(value, track.habit),
            beside_habit(other, track.habit),
        )
    most = min(int(most_h * HOUR_S / track.step_s), track.n // 4)
    lags = np.arange(-most, most + 1)
    found = np.array([correlation(value, shifted(other, int(lag))) for lag in lags])
    best = int(np.abs(found).argmax())
    if 0 < best < len(lags) - 1:
        # The top of the parabola through the best lag and its neighbours.
        left, top, right = np.abs(found[best - 1 : best + 2])
        bend = left - 2 * top + right
        part = 0.5 * (left - right) / bend if bend < 0 else 0.0
    else:
        part = 0.0
    return float((lags[best] + part) * track.step_s / HOUR_S), float(found[best]), float(found[most])


def beside_light(track: Track, light: Floats, channel: str) -> list[Finding]:
    """A constant lag of a solar or net series to a channel of light."""
    lag, corr, none = lag_between(track, light)
    least = _SEEN_SOLAR if track.kind is Kind.SOLAR else _SEEN_NET
    if (
        abs(corr) < least
        or abs(corr) < abs(none) + _GAIN
        or abs(lag) < max(_LEAST_BETWEEN_H, 0.75 * track.step_s / HOUR_S)
    ):
        return []
    amount = -round(lag * HOUR_S / track.step_s) * track.step_s
    seen = f"{channel} lies {abs(lag):.2f} h {'before' if lag > 0 else 'after'} it"
    seen += f": correlation {corr:.2f} at that lag, {none:.2f} without"
    evidence = {"lag_h": lag, "correlation": corr, "correlation_unshifted": none}
    return [track.finding(Rule.CLOCK_SHIFT, (0, track.n), seen, evidence, Repair.SHIFT, amount)]


def shifted(value: Floats, lag: int) -> Floats:
    """Values (T,) moved ``lag`` steps later; NaN where none come from."""
    found = np.full_like(value, np.nan)
    if lag > 0:
        found[lag:] = value[:-lag]
    elif lag < 0:
        found[:lag] = value[-lag:]
    else:
        found[:] = value
    return found


def beside_habit(value: Floats, habit: NDArray[np.int64]) -> Floats:
    """What is left of values (T,) after the mean of their habit."""
    known = np.isfinite(value)
    total = np.bincount(habit[known], value[known], minlength=int(habit.max()) + 1)
    count = np.maximum(np.bincount(habit[known], minlength=len(total)), 1)
    return np.asarray(value - (total / count)[habit])


def correlation(a: Floats, b: Floats) -> float:
    """Correlation of two series (T,) where both are known; 0 where one does not move."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3:
        return 0.0
    x, y = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else 0.0
