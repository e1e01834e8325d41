"""Heating as features: what the last days would draw in the target's temperature.

A heat pump's draw goes with how far it is colder than the balance point, and with how many heat pumps there
are. Both change over a year, so values of past days are carried over by the ratio of degree hours, not by
a slope learnt in another season.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridflock.forecast.learned._view import Floats, Index, View
from gridflock.units import DAY_S, HOUR_S

_BALANCE_C = 17.0
"""Outside temperature from which on a building needs no heating."""
_HOT_WATER_C = 2.0
"""Hot water, as degrees of heating."""
_DAYS, _FADES = 8, 0.7
"""Past days that are carried over; weight of each against the next newer one."""


def heating(view: View, scale: Floats) -> Mapping[str, Floats]:
    """Draw of the last days per degree, at the target's degrees; how the temperature moves; wind, humidity.

    ``degree_day`` (newest days count most) and ``degree_week`` serve as anchors. Without temperature they are
    means of the past days, and all others NaN.
    """
    now: Floats = _degrees(view, view.target)
    back = [view.days_back(days) for days in range(1, _DAYS + 1)]
    value: Floats = np.stack([view.value(steps) / scale for steps in back], axis=-1)
    ratio: Floats = value / np.stack([_degrees(view, steps) for steps in back], axis=-1)
    fade = np.power(_FADES, np.arange(_DAYS, dtype=np.float64))
    newest = _either(now * _mean(ratio, fade), _mean(value, fade))
    week = _either(now * _mean(ratio, np.ones(_DAYS)), _mean(value, np.ones(_DAYS)))
    near, day = (view.weather_mean("temp_c", view.target, hours) for hours in (6, 24))
    yesterday = view.newest_day()
    last = np.broadcast_to(view.at[:, None] - 1, view.target.shape)
    return {
        "degrees": now,
        "degree_day": newest,
        "degree_week": week,
        "temp_6h_c": near,
        "temp_6h_since_day_c": near - view.weather_mean("temp_c", yesterday, 6),
        "temp_24h_since_day_c": day - view.weather_mean("temp_c", yesterday, 24),
        "temp_24h_since_week_c": day - view.weather_mean("temp_c", last, 7 * DAY_S / HOUR_S),
        "apparent_c": view.weather("apparent_c", view.target),
        "gust_m_s": view.weather("gust_m_s", view.target),
        "humidity_pct": view.weather("humidity_pct", view.target),
    }


def _degrees(view: View, steps: Index) -> Floats:
    """(1, I, L) degrees to heat at steps: a building feels six hours and a day alike."""
    felt = 0.5 * (view.weather_mean("temp_c", steps, 6) + view.weather_mean("temp_c", steps, 24))
    return np.asarray(np.maximum(_BALANCE_C - felt, 0.0) + _HOT_WATER_C)


def _mean(values: Floats, weight: Floats) -> Floats:
    """Weighted mean over the last axis of what is known."""
    known = np.isfinite(values)
    total, mass = np.where(known, values, 0.0) @ weight, known @ weight
    return np.asarray(np.divide(total, mass, out=np.full(mass.shape, np.nan), where=mass > 0))


def _either(value: Floats, other: Floats) -> Floats:
    return np.asarray(np.where(np.isfinite(value), value, other))
