"""Series with the wrong sign, or under the wrong name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._clock import lag_between, shifted
from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.forecast.quality._track import Floats, Track, begin_of, end_of, joined, quantile, runs
from gridflock.units import HOUR_S, Mask

_EXPECTED = {Kind.LOAD: -1, Kind.SOLAR: 1, Kind.WIND: 1, Kind.IRRADIANCE: 1}
_ONE_SIDED = 0.8
"""Share by which a day's energy must lean to the wrong side."""
_NEARLY_ALL = 0.9
_NIGHT_H = 4
_NIGHT_SHARE = 0.1
"""Mean of the darkest hours over the mean of all: 0 for the sun, 1 for what knows no night."""
_NEARLY_DARK = 0.25
"""The same of a clock that jumps by nine hours; one that jumps by more makes night of day."""
_NET_CORRELATION = -0.5
_DARK_SHARE = 0.01


def wrong_sign(track: Track) -> list[Finding]:
    """Load that feeds in, or generation that draws: throughout, or in whole days.

    Safe where nearly all days are wrong, or the others are the larger part.
    """
    if track.kind not in _EXPECTED:
        return []
    cells = track.by_day() * _EXPECTED[track.kind]
    size = np.nansum(np.abs(cells), axis=1)
    heard = size > 0.05 * float(quantile(size, 0.5))
    heard &= size > 0
    if not heard.any():
        return []
    lean = np.divide(np.nansum(cells, axis=1), size, out=np.zeros(len(size)), where=size > 0)
    wrong = heard & (lean < -_ONE_SIDED)
    share = float(wrong.sum() / heard.sum())
    if share >= _NEARLY_ALL:
        spans, safe = [(0, track.n)], True
    else:
        spans, safe = _wrong_spans(track, cells, wrong), share < 0.5
    side = "load that feeds in" if track.kind is Kind.LOAD else f"{track.kind} that draws power"
    evidence = {
        "days_wrong": wrong.sum(),
        "days": heard.sum(),
        "mean_lean": float(lean[wrong].mean()) if wrong.any() else 0.0,
    }
    seen = f"{side} on {int(wrong.sum())} of {int(heard.sum())} days"
    return [track.finding(Rule.SIGN, span, seen, evidence, Repair.NEGATE, safe=safe) for span in spans]


def _wrong_spans(track: Track, cells: Floats, wrong: Mask) -> list[tuple[int, int]]:
    """Stretches of wrong days, with the ends where the steps beside them turn right."""
    against = -track.from_days(np.where(np.isfinite(cells), cells, 0.0))
    spans = []
    for first, end in runs(wrong):
        a, b = track.step_of_day(first), min(track.step_of_day(end), track.n)
        middle = (a + b) // 2
        begin = begin_of(against, max(a - track.per_day, 0), min(a + track.per_day, middle))
        spans.append(
            (begin, end_of(against, max(b - track.per_day, middle), min(b + track.per_day, track.n)))
        )
    return joined(spans, 0)


def net_sign(track: Track, light: Floats, channel: str) -> list[Finding]:
    """A net load that feeds in at night and draws when the sun shines.

    Clouds decide: what the series does beside its habits goes against the light, and in the dark it feeds
    in. Either alone also comes of cooling, or of wind.
    """
    if track.kind is not Kind.NET:
        return []
    lag, corr, _ = lag_between(track, light, most_h=6.0)
    there = shifted(light, round(lag * HOUR_S / track.step_s))
    dark = (there < _DARK_SHARE * float(quantile(light, 0.995))) & track.known
    if corr > _NET_CORRELATION or not dark.any():
        return []
    night = float(track.value[dark].mean())
    if night <= 0:
        return []
    seen = f"goes against {channel} (correlation {corr:.2f} beside habits), feeds in {night:.4g} in the dark"
    evidence = {"correlation": corr, "night_mean": night, "lag_h": lag}
    return [track.finding(Rule.SIGN, (0, track.n), seen, evidence, Repair.NEGATE)]


def mislabelled(track: Track) -> list[Finding]:
    """A series of light that has no night, at whatever time of its clock.

    Week by week, too: a clock that jumps has its night at another time then, but has one.
    """
    if track.kind not in {Kind.SOLAR, Kind.IRRADIANCE}:
        return []
    size, width = np.abs(track.value), max(1, _NIGHT_H * HOUR_S // track.step_s)
    darkest, share = _darkest(size, track.slot, track.per_day, width)
    week = 7 * track.per_day
    parts = [slice(first, first + week) for first in range(0, track.n - week + 1, week)]
    weeks = np.array([_darkest(size[part], track.slot[part], track.per_day, width)[1] for part in parts])
    lit = weeks[np.isfinite(weeks)]
    jumps = share < _NEARLY_DARK and len(lit) > 0 and np.median(lit) < _NIGHT_SHARE
    if not share >= _NIGHT_SHARE or jumps:
        return []
    hour = darkest * track.step_s / HOUR_S
    night = float(np.nanmean(np.where((track.slot - darkest) % track.per_day < width, track.value, np.nan)))
    until = (hour + _NIGHT_H) % 24
    seen = f"{track.kind} that gives {night:.4g} in its darkest hours, from {hour:.4g} to {until:.4g} h UTC"
    evidence = {"night_mean": night, "night_share": share}
    return [track.finding(Rule.MISLABEL, (0, track.n), seen, evidence, Repair.RELABEL)]


def _darkest(size: Floats, slot: NDArray[np.int64], per_day: int, width: int) -> tuple[int, float]:
    """Where a mean day's darkest hours begin, and their mean over that of all; NaN if a slot is unknown."""
    known = np.isfinite(size)
    total = np.bincount(slot[known], size[known], minlength=per_day)
    count = np.bincount(slot[known], minlength=per_day)
    if not (count > 0).all() or total.sum() == 0:
        return 0, np.nan
    day = total / count
    around = np.convolve(np.concatenate([day, day[: width - 1]]), np.ones(width) / width, "valid")
    first = int(around.argmin())
    return first, float(around[first] / day.mean())
