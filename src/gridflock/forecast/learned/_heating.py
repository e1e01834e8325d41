"""Heating as features: what the last days would draw in the target's temperature.

A heat pump's draw goes with how far it is colder than the balance point, and with how many heat pumps there
are. Both change over a year, so values of past days are carried over by the ratio of degree hours, not by
a slope learnt in another season.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridflock.forecast.learned._view import Floats, Index, View, mean_known
from gridflock.units import DAY_S, HOUR_S

_BALANCE_C = 17.0
"""Outside temperature from which on a building needs no heating."""
_HOT_WATER_C = 2.0
"""Hot water, as degrees of heating."""
_DAYS, _FADES = 8, 0.7
"""Past days that are carried over; weight of each against the next newer one."""


def heating(view: View, scale: Floats) -> Mapping[str, Floats]:
    """Draw of the last days per degree, at the target's degrees; how the temperature moves; wind, humidity.

    ``degree_day`` (newest days count most) and ``degree_week`` serve as anchors. NaN without temperature.
    """
    now = _degrees(view, view.target)
    past = [_per_degree(view, days) for days in range(1, _DAYS + 1)]
    ratio = np.stack(past, axis=-1)
    fade = _FADES ** np.arange(_DAYS)
    known = np.isfinite(ratio)
    mass = known @ fade
    newest = np.divide(
        np.where(known, ratio, 0.0) @ fade, mass, out=np.full(mass.shape, np.nan), where=mass > 0
    )
    near, day = (view.weather_mean("temp_c", view.target, hours) for hours in (6, 24))
    yesterday = _newest_day(view)
    week = np.broadcast_to(view.at[:, None] - 1, view.target.shape)
    return {
        "degrees": now,
        "degree_day": now * newest / scale,
        "degree_week": now * mean_known(ratio) / scale,
        "temp_6h_c": near,
        "temp_6h_since_day_c": near - view.weather_mean("temp_c", yesterday, 6),
        "temp_24h_since_day_c": day - view.weather_mean("temp_c", yesterday, 24),
        "temp_24h_since_week_c": day - view.weather_mean("temp_c", week, 7 * DAY_S / HOUR_S),
        "apparent_c": view.weather("apparent_c", view.target),
        "gust_m_s": view.weather("gust_m_s", view.target),
        "humidity_pct": view.weather("humidity_pct", view.target),
    }


def _degrees(view: View, steps: Index) -> Floats:
    """(1, I, L) degrees to heat at steps: a building feels six hours and a day alike."""
    felt = 0.5 * (view.weather_mean("temp_c", steps, 6) + view.weather_mean("temp_c", steps, 24))
    return np.asarray(np.maximum(_BALANCE_C - felt, 0.0) + _HOT_WATER_C)


def _per_degree(view: View, days: int) -> Floats:
    """(S, I, L) draw per degree at the same local time some days back; NaN where not known."""
    steps = view.days_back(days)
    return np.asarray(view.value(steps) / _degrees(view, steps))


def _newest_day(view: View) -> Index:
    """(I, L) the same local time on the newest day that is over at the moment of issue."""
    ahead = (view.target - view.at[:, None]) // view.per_day
    found = view.days_back(1)
    for days in range(2, int(ahead.max(initial=0)) + 2):
        found = np.where(ahead >= days - 1, view.days_back(days), found)
    return found
