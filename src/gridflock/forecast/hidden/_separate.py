"""Solar generation behind a meter, told from the total and the light; or why it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridflock.forecast.hidden._cells import Cells, beside_mean, cells_of, mean_known, over_the_day
from gridflock.forecast.quality import Kind
from gridflock.forecast.quality._clock import lag_between
from gridflock.forecast.quality._track import Floats, Track, median, quantile
from gridflock.model import History
from gridflock.units import DAY_S, Kw, Mask, TimeGrid

_FEWEST_DAYS = 28
_OVERCAST = 0.08
"""Darkest twentieth of a time of day's output against its brightest twentieth: 0.08 at a farm in Plymouth
(two years) and at a roof in Golden (three years), each in spans of two months."""
_SPREADS = 1.645
"""Normal spreads from the median to a twentieth."""
_SMOOTH_S = 4500
_LEAST_CORRELATION = 0.5
_MOST_NOISE = 0.3
_MOST_ERROR = 0.12


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """A total taken apart.

    Attributes:
        solar_kw: (T,) generation, at least 0 and exactly 0 in the dark; NaN where the total is.
        load_kw: (T,) the rest, house sign.
        peak_kw: the largest generation (99.9th percentile).
        expected_error: mean error to expect by day, as a share of the peak.
        evidence: the numbers behind it by name.
    """

    solar_kw: Kw
    load_kw: Kw
    peak_kw: float
    expected_error: float
    evidence: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NotSeparable:
    """A total that cannot be taken apart.

    Attributes:
        reason: in words, with the numbers.
        evidence: the numbers by name.
    """

    reason: str
    evidence: Mapping[str, float]


Hidden = Separation | NotSeparable


def separated(history: History, kinds: Mapping[str, Kind]) -> dict[str, Hidden]:
    """Take every net series of a history apart, each by the channel of light that it follows best.

    Args:
        history: with its clocks and signs right, as ``quality.repaired`` leaves it.
        kinds: what each series measures.

    Raises:
        ValueError: the steps are not uniform, or do not divide a day.
    """
    rows = dict(zip(history.series, np.asarray(history.value_kw, dtype=np.float64), strict=True))
    lights = [row for name, row in rows.items() if kinds.get(name) is Kind.IRRADIANCE]
    found: dict[str, Hidden] = {}
    for name, row in rows.items():
        if kinds.get(name) is not Kind.NET:
            continue
        if lights:
            found[name] = separate(row, _clearest(row, lights, history.grid), history.grid)
        else:
            found[name] = NotSeparable("no channel of light to tell it by", {})
    return found


def _clearest(total: Floats, lights: list[Floats], grid: TimeGrid) -> Floats:
    """The light that a total follows best."""
    step_s = int(grid.edges_s[1] - grid.edges_s[0])
    track = Track("", Kind.NET, grid.start_s, step_s, total)
    return max(lights, key=lambda light: lag_between(track, light, most_h=0.0)[2])


def separate(total_kw: Kw, light: Floats, grid: TimeGrid) -> Hidden:
    """Take the solar part out of a total that hides it.

    What the load is at a time of day is seen in three ways. The total's regression on the light, at no
    light: too near to the total's mean where the light is a poor measure of the sun (Fuller 1987, §1.1).
    The light's regression on the total, less the noise that the nights show: too far where the load varies
    more by day. And the total's low envelope, less what an overcast sky still gives: too far where the load
    varies, blind to what the light says. The middle one of the three is taken, season by season. What lies
    above the load is sun; where the load is noisy each step is drawn to what the light explains.

    Refused where too few days are known, where the total beside its habits does not follow the light, where
    what moves at night (load, wind, an engine) would drown the sun by day, or where the three ways lie
    so far apart that the error to expect is more than 12 % of the peak.

    Args:
        total_kw: (T,) house sign: load negative. Its clock and sign must be right.
        light: (T,) irradiance on the same clock, in any unit; NaN where not known.
        grid: T uniform steps that divide a day.

    Raises:
        ValueError: the steps are not uniform, or do not divide a day.
    """
    cells = cells_of(total_kw, light, grid)
    if cells.days < _FEWEST_DAYS or not cells.lit.any() or not cells.dark.any():
        reason = f"{cells.days} days with a total and light that comes and goes, fewer than {_FEWEST_DAYS}"
        return NotSeparable(reason, {"days": float(cells.days)})
    evidence = _evidence(cells)
    reason = _reason(evidence)
    if reason:
        return NotSeparable(reason, evidence)
    noise = evidence["night_spread_kw"]
    views = _loads(cells, noise)
    load = np.median(views, axis=0)
    sun, left = _sun(cells, load, noise)
    peak = float(quantile(sun.reshape(-1), 0.999))
    apart = float(np.mean((np.abs(views - load).sum(axis=0) / 2)[:, cells.lit]))
    error = float(np.hypot(left, apart / 2)) / max(peak, 1e-9)
    evidence |= {"peak_kw": peak, "views_apart_kw": apart, "expected_error": error}
    if not error <= _MOST_ERROR:
        return NotSeparable(
            f"the error to expect by day is {error:.0%} of the peak, more than 12 %", evidence
        )
    solar = np.where(np.isfinite(total_kw), cells.flat(sun, grid.n), np.nan)
    return Separation(solar, np.asarray(total_kw - solar), peak, error, evidence)


def _evidence(cells: Cells) -> dict[str, float]:
    """How the total moves by day, at night, and with the light, beside what is usual at each time of day."""
    moved = []
    for days in cells.seasons():
        total = beside_mean(cells.total[days], cells.weekend[days])
        light = beside_mean(cells.light[days], cells.weekend[days])
        lit, dark = total[:, cells.lit], total[:, cells.dark]
        bright = light[:, cells.lit]
        moved.append([_mean(lit**2), _mean(dark**2), _mean(bright**2), _mean(lit * bright)])
    day, night, of_light, together = (float(value) for value in np.mean(moved, axis=0))
    size = float(np.sqrt(day * of_light))
    return {
        "days": float(cells.days),
        "correlation": together / size if size > 0 else 0.0,
        "day_spread_kw": day**0.5,
        "night_spread_kw": night**0.5,
        "noise_share": night / day if day > 0 else 1.0,
    }


def _mean(cells: Floats) -> float:
    """Mean of what is known; 0 where nothing is."""
    known = cells[np.isfinite(cells)]
    return float(known.mean()) if len(known) else 0.0


def _reason(evidence: Mapping[str, float]) -> str:
    """Why a total cannot be separated by this evidence; empty where nothing speaks against it."""
    corr, share = evidence["correlation"], evidence["noise_share"]
    if not corr >= _LEAST_CORRELATION:
        return f"beside its habits the total follows the light with a correlation of {corr:.2f} only"
    if not share <= _MOST_NOISE:
        night, day = evidence["night_spread_kw"], evidence["day_spread_kw"]
        moves = f"what moves at night ({night:.4g} kW) has {share:.0%} of the variance by day ({day:.4g} kW)"
        return f"{moves}: other generation or load as large as the sun"
    return ""


def _loads(cells: Cells, noise: float) -> Floats:
    """Three views (3, D, N) of the load, negative, of each day and time of day."""
    per_season = []
    for days in cells.seasons():
        total, light = cells.total[days], cells.light[days]
        weekend = cells.weekend[days]
        step = _weekend_step(total, light, weekend, cells)
        plain = total - np.where(weekend[:, None], step, 0.0)
        per_season.append((_views(plain, light, cells, noise), step))
    middles = (cells.edges[1:] + cells.edges[:-1]) / 2
    place = np.interp(np.arange(len(cells.total)) + 0.5, middles, np.arange(len(middles)))
    low = np.floor(place).astype(np.int64)
    high, part = np.minimum(low + 1, len(middles) - 1), (place - low)[:, None]
    views = np.stack([view for view, _ in per_season], axis=1)
    steps = np.stack([step for _, step in per_season])
    found = views[:, low] * (1 - part) + views[:, high] * part
    return np.asarray(
        found + np.where(cells.weekend[:, None], steps[low] * (1 - part) + steps[high] * part, 0.0)
    )


def _weekend_step(total: Floats, light: Floats, weekend: Mask, cells: Cells) -> Floats:
    """(N,) by how much the load of weekends lies beside that of workdays; the sun knows no weekend."""
    if min(weekend.sum(), (~weekend).sum()) < 8:
        return np.zeros(cells.per_day)
    slope = _slope(beside_mean(total, weekend), beside_mean(light, weekend))
    cloudless = total - slope * light
    step = mean_known(cloudless[weekend]) - mean_known(cloudless[~weekend])
    return over_the_day(np.nan_to_num(step), _width(cells))


def _slope(total: Floats, light: Floats) -> Floats:
    """(N,) regression of the total on the light at each time of day; 0 where the light does not move."""
    both = mean_known(total * light)
    own = mean_known(light**2)
    return np.divide(both, own, out=np.zeros(total.shape[1]), where=own > 0)


def _views(total: Floats, light: Floats, cells: Cells, noise: float) -> Floats:
    """Three views (3, N) of the load of one season: by the light, by the total, by the envelope."""
    mean, mean_light = mean_known(total), mean_known(light)
    beside, beside_light = total - mean, light - mean_light
    together = mean_known(beside * beside_light)
    moved = mean_known(beside**2)
    seen = together > 0.1 * np.sqrt(moved * mean_known(beside_light**2))
    by_light = mean - np.maximum(_slope(beside, beside_light), 0.0) * mean_light
    back = np.divide(np.maximum(moved - noise**2, 0.0), together, out=np.zeros(len(mean)), where=seen)
    by_total = mean - back * mean_light
    # At a twentieth the noise of the load counts in full where nothing else moves, and not beside the sun.
    inside = _SPREADS * noise * np.minimum(noise / np.sqrt(np.maximum(moved, 1e-12)), 1.0)
    low, high = quantile(total, 0.05, axis=0) + inside, quantile(total, 0.95, axis=0) - inside
    bright = quantile(light, 0.95, axis=0)
    ratio = np.divide(quantile(light, 0.05, axis=0), bright, out=np.zeros(len(mean)), where=bright > 0)
    overcast = np.where(cells.lit, np.maximum(ratio, _OVERCAST), _OVERCAST)
    envelope = (low - overcast * high) / np.maximum(1 - overcast, 0.1)
    at_night = median(total, axis=0)
    views = [np.where(cells.dark, at_night, view) for view in (by_light, by_total, envelope)]
    return np.stack([over_the_day(view, _width(cells)) for view in views])


def _width(cells: Cells) -> int:
    """Slots over which a load is taken as smooth."""
    return max(1, _SMOOTH_S * cells.per_day // DAY_S) | 1


def _sun(cells: Cells, load: Floats, noise: float) -> tuple[Floats, float]:
    """What lies above the load (D, N), drawn to what the light explains; and its mean error by day.

    The weight of what is seen against what the light says is that of a linear estimate: one less the share
    of the load's noise in what the light leaves unexplained.
    """
    above = cells.total - load
    mean, mean_light = mean_known(above), mean_known(cells.light)
    rate = np.divide(np.maximum(mean, 0.0), mean_light, out=np.zeros(len(mean)), where=mean_light > 0)
    fitted = rate * cells.light
    unexplained = mean_known((above - fitted) ** 2)
    weight = np.clip(1 - noise**2 / np.maximum(unexplained, 1e-12), 0.0, 1.0)
    sun = np.maximum(fitted + weight * (above - fitted), 0.0)
    sun[(cells.light <= 0) & ~cells.lit] = 0.0
    sun[:, cells.dark] = np.where(np.isfinite(sun[:, cells.dark]), 0.0, np.nan)
    return sun, float(0.8 * noise * np.mean(np.sqrt(weight[cells.lit])))
