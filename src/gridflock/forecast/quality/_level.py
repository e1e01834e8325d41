"""Stretches far from what a series ever does, and days without output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._daylight import Daylight
from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._track import (
    Floats,
    Track,
    begin_of,
    beside_usual,
    end_of,
    joined,
    median,
    quantile,
    runs,
    spread_of,
)
from gridflock.units import HOUR_S, Mask

_FEWEST_DAYS = 21
_WINDOW_S = 6 * HOUR_S
_BEYOND, _BEYOND_MOST = 2.9, 6.0
"""Six-hour deviations beyond so many times their own 98th, or 90th, percentile."""
_ABRUPT = 0.5
"""Share of the deviation that comes or goes within an hour: all of a switch's, a third of a heat wave's."""
_ROUNDS = 3
_BASE_SPREADS = 8.0
_BASE_SHARE = 0.25
"""Least change of the daily base against the median level."""
_BASE_DAYS = 7
_STEADY = 0.2
"""Spread of a stretch's base changes against their size, above which it is life and no fault."""
_NO_OUTPUT = 0.005
_LIGHT = 0.1
_DEAD_SHARE, _DEAD_SHARE_BY_HABIT = 0.6, 0.95
"""Share of a day's light without output: by the sun, and by the usual day, which winter days do not fill."""


def level_faults(track: Track) -> list[Finding]:
    """Load moved from or to another feeder, and sums with a part missing or doubled.

    Two signs: six hours far beyond any others, and a daily base that steps up or down for days and
    comes back, while it hardly moves otherwise.
    """
    cells = track.by_day()
    if track.kind not in {Kind.LOAD, Kind.NET} or np.isfinite(cells).any(axis=1).sum() < _FEWEST_DAYS:
        return []
    beyond = beside_usual(cells, track.weekend)
    stretches = joined(sorted(_stretches(track)), track.per_day)
    scale = max(spread_of(beyond), 1e-12)
    found = []
    for first, end in stretches:
        change = float(median(track.from_days(beyond)[first:end]))
        level = float(median(np.abs(track.value[first:end])))
        seen = f"{change:+.4g} against what is usual around then, {abs(change) / scale:.1f} times its spread"
        evidence = {"change": change, "spread": scale, "level": level}
        found.append(track.finding(Rule.LEVEL, (first, end), seen, evidence, Repair.MASK))
    return found


def _stretches(track: Track) -> list[tuple[int, int]]:
    """Both kinds of stretches; looked for anew without those found, which widen what seems usual."""
    found: list[tuple[int, int]] = []
    for _ in range(_ROUNDS):
        cells = track.by_day()
        beyond = beside_usual(cells, track.weekend)
        more = _far(track, beyond) + _base_steps(track, cells, beyond)
        if not more:
            break
        value = track.value.copy()
        for first, end in more:
            value[first:end] = np.nan
        track, found = track.with_value(value), found + more
    return found


def _far(track: Track, beyond: Floats) -> list[tuple[int, int]]:
    """Stretches whose six-hour means lie beyond all proportion to the others."""
    width = max(1, _WINDOW_S // track.step_s)
    flat = track.from_days(beyond)
    known = np.isfinite(flat)
    kernel = np.ones(width)
    total = np.convolve(np.where(known, flat, 0.0), kernel, "same")
    count = np.convolve(known.astype(np.float64), kernel, "same")
    mean = np.divide(total, count, out=np.full(len(flat), np.nan), where=count >= width / 2)
    size = np.abs(mean)
    limit = min(_BEYOND * float(quantile(size, 0.98)), _BEYOND_MOST * float(quantile(size, 0.9)))
    if not limit > 0:
        return []
    found = []
    for first, end in runs(np.nan_to_num(size) > limit):
        at = _grown(flat, (first, end), float(np.sign(mean[first])) * limit / 2, track.per_day)
        if _abrupt(flat, at, float(np.nanmax(size[first:end])), max(1, HOUR_S // track.step_s)):
            found.append(at)
    return joined(sorted(found), track.per_day)


def _grown(flat: Floats, at: tuple[int, int], limit: float, most: int) -> tuple[int, int]:
    """A stretch found by its means, over all steps beside it that deviate the same way by the limit."""
    with_it = np.nan_to_num(np.sign(limit) * flat) > abs(limit)
    begin, end = at
    while begin > max(at[0] - most, 0) and with_it[begin - 1]:
        begin -= 1
    while end < min(at[1] + most, len(flat)) and with_it[end]:
        end += 1
    while begin < end - 1 and not with_it[begin]:
        begin += 1
    while end > begin + 1 and not with_it[end - 1]:
        end -= 1
    return begin, end


def _abrupt(flat: Floats, at: tuple[int, int], size: float, hour: int) -> bool:
    """Whether the deviation comes or goes within an hour by much of its size."""
    around = np.nan_to_num(flat[max(at[0] - hour, 0) : at[1] + hour])
    return len(around) > hour and bool(np.abs(around[hour:] - around[:-hour]).max() > _ABRUPT * size)


def _base_steps(track: Track, cells: Floats, beyond: Floats) -> list[tuple[int, int]]:
    """Days on which the quietest hours lie far from where they usually do, all by the same."""
    base = quantile(cells, 0.9 if float(median(cells.reshape(-1))) < 0 else 0.1, axis=1)[:, None]
    change = beside_usual(base, track.weekend)[:, 0]
    level = float(median(np.abs(cells).reshape(-1)))
    limit = max(_BASE_SPREADS * spread_of(change), _BASE_SHARE * level)
    if not limit > 0:
        return []
    flat = np.nan_to_num(track.from_days(beyond))
    found = []
    for sign in (1, -1):
        for first, end in runs(np.nan_to_num(sign * change) > limit):
            here = change[first:end]
            size = abs(float(median(here)))
            comes_back = first > 0 and end < len(change)
            if end - first >= _BASE_DAYS and comes_back and spread_of(here - median(here)) < _STEADY * size:
                a, b, day = track.step_of_day(first), track.step_of_day(end), track.per_day
                score = sign * flat - size / 2
                begin = begin_of(score, max(a - day, 0), a + day)
                found.append((begin, end_of(score, b - day, min(b + day, track.n))))
    return found


def dead_days(track: Track, sun: Daylight | None) -> list[Finding]:
    """A solar series without output through most of a day's light."""
    top = float(quantile(track.value, 0.995))
    if track.kind is not Kind.SOLAR or not top > 0:
        return []
    nothing = track.known & (np.abs(track.value) < _NO_OUTPUT * top)
    lit, day = _lit_days(track, sun)
    days = int(day.max()) + 1
    light = np.bincount(day, lit & track.known, minlength=days)
    dark = np.bincount(day, lit & nothing, minlength=days)
    share = _DEAD_SHARE if sun is not None else _DEAD_SHARE_BY_HABIT
    dead = (light * track.step_s >= 4 * HOUR_S) & (dark >= share * light)
    found = []
    for first, end in joined([at for at in runs(nothing) if _blind(at, day, dead, lit)], track.per_day // 2):
        hit = np.unique(day[first:end])
        if lit[first:end].sum() >= share * light[hit[dead[hit]]].min():
            hours = float(lit[first:end].sum() * track.step_s / HOUR_S)
            seen = f"no output through {hours:.4g} h of light"
            found.append(
                track.finding(
                    Rule.DEAD, (first, end), seen, {"light_h": hours, "days": dead[hit].sum()}, Repair.MASK
                )
            )
    return found


def _blind(at: tuple[int, int], day: NDArray[np.int64], dead: Mask, lit: Mask) -> bool:
    """Whether a stretch holds light of a dead day."""
    return bool((dead[day[at[0] : at[1]]] & lit[at[0] : at[1]]).any())


def _lit_days(track: Track, sun: Daylight | None) -> tuple[Mask, NDArray[np.int64]]:
    """(T,) where there must be light, and the number of the day, counted from the middle of the nights."""
    if sun is not None:
        lit = sun.light > _LIGHT
        start_s = sun.sun_start_s
    else:
        usual_day = np.nan_to_num(quantile(track.by_day(), 0.7, axis=0))
        lit = (usual_day > _LIGHT * usual_day.max())[track.slot]
        start_s = int(_middle_of_night(usual_day) * track.step_s)
    first = (track.start_s - start_s) % (track.per_day * track.step_s) // track.step_s
    return lit, (first + np.arange(track.n)) // track.per_day


def _middle_of_night(day: Floats) -> int:
    """Slot in the middle of the longest dark stretch of a mean day."""
    dark = np.tile(day <= _LIGHT * day.max(), 2)
    first, end = max(runs(dark), key=lambda at: at[1] - at[0], default=(0, 0))
    return ((first + end) // 2) % len(day)
