"""Wind turbines as known at each moment of issue: capacity, power curve, and how far the wind's clock is off.

The curve is fitted to what a site gave at which wind: means by wind speed, made monotone by pooling adjacent
violators (Ayer et al., "An empirical distribution function for sampling with incomplete information", 1955),
drawn towards a usual curve where little was seen, and kept between 0 and capacity. Wind speeds are those at
the hub in standard air: the speed at ten metres is carried up by the power law, and air of another density
counts as the speed that carries the same power (IEC 61400-12-1, normalisation to a reference density).

Like the planes under the sun, curves are fitted anew each week to what was known when the week began.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gridflock.forecast.learned._view import Floats, Index, View
from gridflock.units import DAY_S, HOUR_S

_WEEK_S = 7 * DAY_S
_FIT_DAYS = 400
_HUB, _GROUND = "wind_100m_m_s", "wind_m_s"
_HUB_M, _GROUND_M, _SHEAR = 100.0, 10.0, 1.0 / 7.0
_STANDARD_AIR, _STANDARD_PA, _GAS, _KELVIN = 1.225, 101_325.0, 287.05, 273.15
SPEEDS = np.arange(0.0, 30.5, 0.5)
"""Speeds at which a curve is known, m/s."""
_KNOTS_M_S = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0)
_SHARES = (0.0, 0.02, 0.06, 0.12, 0.21, 0.32, 0.47, 0.64, 0.81, 0.94, 1.0)
USUAL = np.interp(SPEEDS, _KNOTS_M_S, _SHARES)
"""Share of capacity at ``SPEEDS`` of a usual turbine of the 2 to 3 MW class."""
_PRIOR = 6.0
"""Hours at a speed that the usual curve is worth."""
_MOST_SHIFT_H, _LEAST_DAYS, _CLEARLY = 6, 14, 0.02
"""The wind's clock is believed to be off where that raises the correlation by so much."""


@dataclass(frozen=True, slots=True, eq=False)
class Turbines:
    """Power curves of S series through the W weeks that I moments of issue lie in.

    Attributes:
        week: (I,) which week each moment lies in.
        capacity_kw: (W, S) largest output known; 0 before any.
        curve: (W, S, speeds) share of capacity at ``SPEEDS``, ascending, 0 to 1.
        shift: (W, S) steps by which power comes later than the wind that is told for it.
    """

    week: Index
    capacity_kw: Floats
    curve: Floats
    shift: Index

    def share(self, view: View, steps: Index) -> Floats:
        """Share of capacity (S, I, K) that the wind of steps (I, K) gives; NaN without wind."""
        speed = self.speed(view, steps)
        found = np.full(speed.shape, np.nan)
        for k, curves in enumerate(self.curve):
            here = self.week == k
            for s, curve in enumerate(curves):
                found[s, here] = np.interp(speed[s, here], SPEEDS, curve)
        return np.where(np.isfinite(speed), found, np.nan)

    def speed(self, view: View, steps: Index) -> Floats:
        """Wind speed (S, I, K) at the hub in standard air, of the moment that power at steps comes from."""
        found = np.empty((self.shift.shape[1], *steps.shape))
        for s in range(len(found)):
            found[s] = hub_speed(view, steps - self.shift[self.week, s][:, None])
        return found

    def capacity(self) -> Floats:
        """Largest output (S, I) to be taken for the size of a series, > 0."""
        return np.where(self.capacity_kw > 0, self.capacity_kw, 1.0)[self.week].T


def hub_speed(view: View, steps: Index) -> Floats:
    """(I, K) wind speed at the hub in standard air at steps (I, K), m/s; NaN where nothing is known."""
    lifted = view.weather(_GROUND, steps)[0] * (_HUB_M / _GROUND_M) ** _SHEAR
    hub = view.weather(_HUB, steps)[0]
    temp, pressure = view.weather("temp_c", steps)[0], view.weather("pressure_pa", steps)[0]
    return standard(np.where(np.isfinite(hub), hub, lifted), temp, pressure)


def standard(speed_m_s: Floats, temp_c: Floats, pressure_pa: Floats) -> Floats:
    """The speed in standard air that carries the power of a speed in this air; unknown air is standard."""
    air = np.where(np.isfinite(pressure_pa), pressure_pa, _STANDARD_PA)
    air = air / (_GAS * (temp_c + _KELVIN))
    ratio = np.where(np.isfinite(temp_c), air, _STANDARD_AIR) / _STANDARD_AIR
    return np.asarray(np.maximum(speed_m_s, 0.0) * np.cbrt(ratio))


@lru_cache(maxsize=1)
def turbines(view: View) -> Turbines:
    """Fit curves for all weeks that the view's moments of issue lie in."""
    number, week = np.unique(np.maximum(view.issues_s, view.settled_s) // _WEEK_S, return_inverse=True)
    fitted = [_fitted(view, int(n) * _WEEK_S) for n in number]
    capacity, curve, shift = (np.stack(part) for part in zip(*fitted, strict=True))
    return Turbines(np.asarray(week, dtype=np.int64), capacity, curve, shift)


def _fitted(view: View, now_s: int) -> tuple[Floats, Floats, Index]:
    """Capacity (S,), curve (S, speeds) and shift (S,) as known at a moment."""
    end = int(np.clip((now_s - view.start_s) // view.step_s, 0, view.heard.shape[1]))
    begin = max(0, end - _FIT_DAYS * view.per_day)
    steps = np.arange(begin, end)
    power = view.heard[:, begin:end]
    if view.known_s is not None:
        learnt = view.known_s[:, begin:end]
        power = np.where((learnt >= 0) & (learnt <= now_s), power, np.nan)
    capacity = np.where(np.isfinite(power), power, 0.0).max(axis=1, initial=0.0)
    reach = _MOST_SHIFT_H * HOUR_S // view.step_s
    wind = _wind_known(view, np.arange(begin - reach, end + reach), now_s)
    curve, shift = np.empty((len(power), len(SPEEDS))), np.zeros(len(power), dtype=np.int64)
    for s, row in enumerate(power):
        shift[s] = _shift(row, wind, reach, view.step_s)
        told = wind[reach - shift[s] : reach - shift[s] + len(steps)]
        curve[s] = fit_curve(told, row, float(capacity[s]), view.step_s / HOUR_S)
    return capacity, curve, shift


def _wind_known(view: View, steps: Index, now_s: int) -> Floats:
    """Hub speed (N,) of steps as known at a moment, whatever the view's own are."""
    if not len(view.issues_s):
        return np.full(len(steps), np.nan)
    inside = view.start_s + (steps + 1) * view.step_s <= now_s
    told = View(
        view.series, view.step_s, view.start_s, np.array([now_s]), np.array([0]), view.leads, view.site,
        view.local_s, view.heard, view.known_s, view.weather_columns, view.weather_known_s,
    )  # fmt: skip
    return np.where(inside, hub_speed(told, steps[None])[0], np.nan)


def _shift(power: Floats, wind: Floats, reach: int, step_s: int) -> int:
    """Steps, whole hours, by which power follows the wind; 0 where that is not clear."""
    hour, n = HOUR_S // step_s, len(power)
    if n * step_s < _LEAST_DAYS * DAY_S:
        return 0
    found = {
        k: _likeness(power, wind[reach - k : reach - k + n]) for k in range(-reach, reach + 1, max(hour, 1))
    }
    best = max(found, key=lambda k: (found[k], -abs(k)))
    return best if found[best] > found[0] + _CLEARLY else 0


def _likeness(power: Floats, wind: Floats) -> float:
    """Correlation of power with what a usual turbine gives."""
    known = np.isfinite(power) & np.isfinite(wind)
    if known.sum() < 2:
        return 0.0
    a, b = power[known], np.interp(wind[known], SPEEDS, USUAL)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def fit_curve(speed_m_s: Floats, power_kw: Floats, capacity_kw: float, step_h: float) -> Floats:
    """Share of capacity at ``SPEEDS``: never falling, 0 to 1.

    Args:
        speed_m_s: (N,) at the hub in standard air, NaN where unknown.
        power_kw: (N,) what came of it, NaN where unknown.
        capacity_kw: the largest output.
        step_h: length of a step, h.
    """
    known = np.isfinite(speed_m_s) & np.isfinite(power_kw)
    if not known.any() or capacity_kw <= 0:
        return np.asarray(USUAL, dtype=np.float64).copy()
    place = np.clip(np.round(speed_m_s[known] / (SPEEDS[1] - SPEEDS[0])), 0, len(SPEEDS) - 1).astype(np.int64)
    share = np.clip(power_kw[known] / capacity_kw, 0.0, 1.0)
    hours = step_h * np.bincount(place, minlength=len(SPEEDS))
    total = step_h * np.bincount(place, share, len(SPEEDS))
    # A site gives less than the usual curve where the wind is told too high, and the other way round.
    usual = USUAL * float(np.clip(total.sum() / max(float(hours @ USUAL), 1e-9), 0.0, 1.0))
    mass = np.asarray(hours + _PRIOR, dtype=np.float64)
    return np.clip(pooled(np.asarray((total + _PRIOR * usual) / mass, dtype=np.float64), mass), 0.0, 1.0)


def pooled(value: Floats, weight: Floats) -> Floats:
    """The never-falling sequence nearest to values (N,) in weighted squares: adjacent violators pooled."""
    blocks: list[tuple[float, float, int]] = []
    for v, w in zip(value.tolist(), weight.tolist(), strict=True):
        mean, mass, count = v, w, 1
        while blocks and blocks[-1][0] > mean:
            before, heavy, many = blocks.pop()
            mean = (before * heavy + mean * mass) / (heavy + mass)
            mass, count = mass + heavy, count + many
        blocks.append((mean, mass, count))
    return np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks])


def turbine_scale(view: View) -> Floats:
    """Size (S, I) of each series: its capacity."""
    return turbines(view).capacity()


def turbine_bound(view: View) -> tuple[float, Floats]:
    """Generation between 0 and capacity (S, I, 1), the largest output known; open above before any."""
    known = turbines(view)
    largest = known.capacity_kw[known.week].T
    return 0.0, np.where(largest > 0, largest, np.inf)[:, :, None]
