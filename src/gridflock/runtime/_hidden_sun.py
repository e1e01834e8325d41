"""Solar generation behind customers' meters that nobody has registered: found once a day, foreseen apart.

What lights it up is what registered solar resources have on offer, or else the sunlight that was forecast. A
point that shows sun and cannot be taken apart is told with the reason; of points that show none nothing is
said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import Site, forecast
from gridflock.forecast.hidden import Separation, separated
from gridflock.forecast.quality import Kind
from gridflock.model import Forecast, History, Weather
from gridflock.runtime._points import Points
from gridflock.runtime._subjects import OUTSIDE
from gridflock.units import DAY_S, HOUR_S, Mask, TimeGrid

_SIGN = 0.35
"""From such a correlation with the light, beside its habits, a point shows sun: three times what chance
brings about in four weeks of three hours a day that are independent of each other."""
_FEEDS = 0.05
"""Share of its largest draw that a point without registered generation gives by day: it shows sun, too."""
_FEW_DAYS = 3
_LIKE_DAYS = 14
_LEAST = 0.5
_LIGHT = ("ghi_w_m2",)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HiddenSun:
    """What is known of the sun behind one meter.

    Attributes:
        row: of the fleet.
        peak_kw: its largest generation; NaN where it cannot be separated.
        expected_error: mean error to expect by day, as a share of the peak; NaN alike.
        correlation: of the meter with the light, beside what is usual at each time of day.
        reason: why it cannot be separated; empty where it can.
    """

    row: int
    peak_kw: float
    expected_error: float
    correlation: float
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class BehindMeters:
    """What one day's look through the connection points has found.

    Attributes:
        looked: how many points were looked at.
        days: of how many days.
        found: those that show sun, in the order of rows.
        start_s: begin of the first hour of ``sun_kw``.
        sun_kw: float32 (H,) generation behind all that could be separated; NaN where it is not known.
    """

    looked: int
    days: int
    found: tuple[HiddenSun, ...]
    start_s: int
    sun_kw: NDArray[np.float32]

    @property
    def separable(self) -> bool:
        """Whether any could be separated."""
        return any(not one.reason for one in self.found)


def look_behind(
    points: Points, history: History, solar: frozenset[str], archive: Weather | None
) -> BehindMeters:
    """Look through connection points for solar generation.

    Args:
        points: hours of each.
        history: quarter-hours of the series; those in ``solar`` are light.
        solar: series whose shape is the sun's.
        archive: what was expected of the weather, hours; None without any.
    """
    ids = tuple(f"point/{row}" for row in points.rows.tolist())
    net = points.history(ids)
    days = net.grid.n * HOUR_S // DAY_S
    nothing = BehindMeters(len(ids), days, (), net.grid.start_s, np.empty(0, np.float32))
    lights = _lights(net.grid, history, solar, archive)
    if not ids or not lights or not days:
        return nothing
    series = {f"light/{k}": light for k, light in enumerate(lights)}
    both = History(net.grid, (*ids, *series), np.vstack([net.value_kw, *series.values()]))
    kinds = dict.fromkeys(ids, Kind.NET) | dict.fromkeys(series, Kind.IRRADIANCE)
    told = separated(both, kinds)
    found, suns = list[HiddenSun](), list[Separation]()
    bright, dark = _day_and_night(lights)
    for k, name in enumerate(ids):
        one, row = told[name], int(points.rows[k])
        correlation = one.evidence.get("correlation", np.nan)
        if isinstance(one, Separation):
            suns.append(one)
            found.append(HiddenSun(row, one.peak_kw, one.expected_error, correlation, ""))
        elif correlation >= _SIGN or _feeds_in(net.value_kw[k], bright, dark, net.grid):
            found.append(HiddenSun(row, np.nan, np.nan, correlation, one.reason))
    return BehindMeters(len(ids), days, tuple(found), net.grid.start_s, _sum(suns))


def apart(
    known: History, behind: BehindMeters, solar: frozenset[str], site: Site, grid: TimeGrid, now_s: int
) -> Forecast | None:
    """``outside`` as load and hidden sun, each by its own habits; None where too little is known of the sun.

    Their errors are taken to be independent.

    Args:
        known: quarter-hours, mended.
        behind: found on the days before.
        solar: series whose shape is the sun's.
        site: where the feeder stands.
        grid: T steps.
        now_s: the moment.
    """
    if not behind.separable:
        return None
    sun = _on(behind, known, solar)
    load = known.value_kw[known.series.index(OUTSIDE)] - sun
    if np.isfinite(load).sum() * int(known.grid.edges_s[1] - known.grid.edges_s[0]) < DAY_S:
        return None
    parts = History(known.grid, ("load", "sun"), np.stack([load, sun]))
    said = forecast(parts, grid, site, ("sun",), now_s)
    middle = said.value_kw[:, len(said.quantiles) // 2][:, None]
    off = np.sqrt(((said.value_kw - middle) ** 2).sum(axis=0)) * np.sign(said.quantiles - 0.5)[:, None]
    value = np.sort(middle.sum(axis=0) + off, axis=0)
    return Forecast(grid, (OUTSIDE,), said.quantiles, value[None], now_s)


def light_of(history: History, solar: frozenset[str]) -> Floats:
    """What registered solar resources have on offer (T,), NaN where none is known."""
    rows = [row for row, name in enumerate(history.series) if name in solar]
    values = np.asarray(history.value_kw[rows], dtype=np.float64)
    known = np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def _lights(grid: TimeGrid, history: History, solar: frozenset[str], archive: Weather | None) -> list[Floats]:
    """Channels of light on the hours of a grid, those of which anything is known."""
    found = [_hourly(light_of(history, solar), history.grid, grid)]
    if archive is not None:
        place = (grid.starts_s - archive.grid.start_s) // HOUR_S
        inside = (place >= 0) & (place < archive.grid.n)
        for name in _LIGHT:
            if name in archive.columns:
                column = np.asarray(archive.columns[name], dtype=np.float64)
                found.append(np.where(inside, column[np.where(inside, place, 0)], np.nan))
    return [light for light in found if np.isfinite(light).any() and np.nanmax(light) > 0]


def _hourly(values: Floats, of: TimeGrid, grid: TimeGrid) -> Floats:
    """Means of uniform steps over the hours of another grid."""
    hour = (of.starts_s - grid.start_s) // HOUR_S
    inside = np.isfinite(values) & (hour >= 0) & (hour < grid.n)
    count = np.bincount(hour[inside], minlength=grid.n)
    total = np.bincount(hour[inside], values[inside], grid.n)
    mean: Floats = np.divide(total, count, out=np.full(grid.n, np.nan), where=count > 0)
    return mean


def _day_and_night(lights: list[Floats]) -> tuple[Mask, Mask]:
    """Hours (H,) in which most channels of those known are lit, and in which not; neither where none is."""
    light = np.stack(lights)
    known = np.isfinite(light).sum(axis=0)
    bright = (light > 0).sum(axis=0) > _LEAST * known
    return bright, ~bright & (known > 0)


def _feeds_in(net_kw: Floats, bright: Mask, dark: Mask, grid: TimeGrid) -> bool:
    """Whether a point gives power by day, and never in the dark."""
    draw = np.nan_to_num(-net_kw).max(initial=0.0)
    gives = net_kw > max(_FEEDS * draw, 1e-3)
    days = np.unique(grid.starts_s[gives & bright] // DAY_S)
    return len(days) >= _FEW_DAYS and not (gives & dark).any()


def _sum(suns: list[Separation]) -> NDArray[np.float32]:
    """Generation of all (H,), scaled by the peaks of those known; NaN where less than half is."""
    if not suns:
        return np.empty(0, np.float32)
    values, peaks = np.stack([one.solar_kw for one in suns]), np.array([one.peak_kw for one in suns])
    known = np.isfinite(values)
    share = peaks @ known / max(float(peaks.sum()), 1e-9)
    total = np.where(known, values, 0.0).sum(axis=0)
    found = np.where(share >= _LEAST, total / np.maximum(share, _LEAST), np.nan)
    return found.astype(np.float32)


def _on(behind: BehindMeters, known: History, solar: frozenset[str]) -> Floats:
    """Hidden sun on the steps of a history; since the last look by what registered sun has on offer."""
    starts = known.grid.starts_s
    hour = (starts - behind.start_s) // HOUR_S
    inside = (hour >= 0) & (hour < len(behind.sun_kw))
    sun = np.where(inside, behind.sun_kw[np.where(inside, hour, 0)].astype(np.float64), np.nan)
    light = light_of(known, solar)
    later = hour >= len(behind.sun_kw)
    like = np.isfinite(sun) & np.isfinite(light) & (starts >= known.grid.end_s - _LIKE_DAYS * DAY_S)
    clock = starts % DAY_S // HOUR_S
    total, lit = (np.bincount(clock[like], v[like], 24) for v in (sun, light))
    rate = np.divide(total, lit, out=np.zeros(24), where=lit > 1e-6)
    return np.where(later, light * rate[clock], sun)
