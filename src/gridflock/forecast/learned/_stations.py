"""Columns for substations: wind behind them, the air, standard profiles, what is usual and how it moves on.

A substation carries homes, firms and whatever generates below it. Wind turbines show as a share of the wind's
power, which rises with the cube of the wind at hub height up to the rated one; how far each column counts is
for the members to find.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._view import Floats, View, mean_known
from gridflock.units import DAY_S, HOUR_S

Columns = dict[str, Floats]
Index = NDArray[np.int64]

_HUB, _GROUND = "wind_100m_m_s", "wind_m_s"
_RATED_M_S, _RATED_GROUND_M_S = 13.0, 6.0
_KNEES_M_S = (3, 5, 7, 9, 11, 13, 15)
_AIR = (
    "clouds_pct", "humidity", "pressure_pa", "rain", "mixed_layer_m", "clear_sky_up", "clear_sky_down",
    "snow_depth",
)  # fmt: skip
_PROFILES = ("profile_e1a", "profile_e3a", "profile_e4a")
_PER_STEP = 1e5
"""Shares of a year's energy in a step, to about one."""
_WEEK = 7
_FADES_H = (3.0, 12.0)


def wind(view: View, scale: Floats) -> Columns:
    """Share of wind power at the target and around it, its change since lagged days, direction, bends."""
    del scale
    target = view.target
    hub = view.weather(_HUB, target)
    share = _power_around(view, target)
    turn = np.radians(view.weather("wind_deg", target))
    found = {
        "wind_100m_m_s": hub,
        "wind_power": _power(view, target),
        "wind_power_2h": share,
        "wind_power_ground": np.clip(view.weather(_GROUND, target) / _RATED_GROUND_M_S, 0.0, 1.0) ** 3,
        "wind_since_day": share - _power_around(view, _newest(view)),
        "wind_since_week": share - _power_around(view, view.days_back(_WEEK)),
        "wind_north": share * np.cos(turn),
        "wind_east": share * np.sin(turn),
        "from_north": np.cos(turn),
        "from_east": np.sin(turn),
    }
    return found | {f"wind_over_{knee}": np.maximum(hub - knee, 0.0) for knee in _KNEES_M_S}


def air(view: View, scale: Floats) -> Columns:
    """Clouds, humidity, pressure, rain, snow and what else a numerical forecast says of the air."""
    del scale
    found = {name: view.weather(name, view.target) for name in _AIR}
    found["clouds_pct"] = np.minimum(found["clouds_pct"], 100.0)
    return found


def profiles(view: View, scale: Floats) -> Columns:
    """Standard profiles of homes, firms and street lamps."""
    del scale
    return {name: _PER_STEP * view.weather(name, view.target) for name in _PROFILES}


def usual(view: View, scale: Floats) -> Columns:
    """Half the newest known day around the same time, half the mean of seven days; 0 where unknown."""
    near = [_near(view, scale, days) for days in range(1, _WEEK + 1)]
    newest = near[0]
    for other in near[1:]:
        newest = np.where(np.isfinite(newest), newest, other)
    same = np.stack([view.value(view.days_back(days)) / scale for days in range(1, _WEEK + 1)], axis=-1)
    mean = mean_known(same)
    found = 0.5 * newest + 0.5 * np.where(np.isfinite(mean), mean, newest)
    return {"usual": np.nan_to_num(found)}


def fade(view: View, scale: Floats) -> Columns:
    """How far the last hour stood from the day before the issue, fading with the lead."""
    hour = HOUR_S // view.step_s
    apart = (view.mean_before(hour) - view.mean_before(24 * hour))[:, :, None] / scale
    lead_h = ((view.leads + 0.5) * view.step_s / HOUR_S)[None, None]
    return {f"fade_{hours:.0f}h": apart * np.exp(-lead_h / hours) for hours in _FADES_H}


def moves(view: View, scale: Floats) -> Columns:
    """How weather, profiles and past days moved from the last known step to the target: for short leads."""
    last = view.at[:, None] - 1
    found = {"move_wind": _power(view, view.target) - _power(view, last)}
    for name, size in (("ghi_w_m2", 1.0), ("temp_c", 1.0), *((p, _PER_STEP) for p in _PROFILES)):
        found[f"move_{name}"] = size * (view.weather(name, view.target) - view.weather(name, last))
    day = view.per_day
    then = [
        (view.value(view.target - day * k) - view.value(last - day * k)) / scale for k in range(1, _WEEK + 1)
    ]
    hour = max(1, HOUR_S // view.step_s)
    hours = view.value(last - np.arange(2 * hour)) / scale
    found["then_7_days"] = mean_known(np.stack(then, axis=-1))
    found["then_2_days_ago"] = then[1]
    found["step_last"] = np.nan_to_num(hours[:, :, :1])
    found["slope_1h"] = hours[:, :, :1] - hours[:, :, hour : hour + 1]
    found["mean_1h"] = mean_known(hours[:, :, :hour])[:, :, None]
    found["rough_2h"] = mean_known(np.abs(np.diff(hours, axis=2)))[:, :, None]
    return found


def _power(view: View, steps: Index) -> Floats:
    """Share of rated power at steps (I, L)."""
    return np.clip(view.weather(_HUB, steps) / _RATED_M_S, 0.0, 1.0) ** 3


def _power_around(view: View, steps: Index) -> Floats:
    """Mean share of rated power over two hours around steps (I, L)."""
    reach = max(1, HOUR_S // view.step_s)
    near = np.arange(-reach, reach + 1)
    around = (steps[..., None] + near).reshape(len(steps), -1)
    return mean_known(_power(view, around).reshape(1, *steps.shape, len(near)))


def _near(view: View, scale: Floats, days: int) -> Floats:
    """Mean over an hour and a half around the same time some days ago, of what is known."""
    reach = max(1, round(0.75 * HOUR_S / view.step_s))
    near = np.arange(-reach, reach + 1)
    steps = (view.days_back(days)[..., None] + near).reshape(len(view.at), -1)
    return mean_known(view.value(steps).reshape(*view.shape, len(near))) / scale


def _newest(view: View) -> Index:
    """(I, L) the same local time on the newest day that is over at the moment of issue."""
    found = view.days_back(1)
    for days in range(2, 2 + int(view.leads.max(initial=0)) * view.step_s // DAY_S):
        found = np.where(found >= view.at[:, None], view.days_back(days), found)
    return found
