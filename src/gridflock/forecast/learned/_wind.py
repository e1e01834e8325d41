"""Columns for wind turbines: what the wind gives by the site's own curve, and what it gave last."""

from __future__ import annotations

import numpy as np

from gridflock.forecast.learned._turbines import turbines
from gridflock.forecast.learned._view import Floats, Index, View, mean_known
from gridflock.units import HOUR_S

Columns = dict[str, Floats]

_RATED_M_S = 13.0
_FADES_H = (2.0, 6.0, 24.0)
_DAYS = 14


def turbine(view: View, scale: Floats) -> Columns:
    """The curve's power at the target and around it, wind cubed, change, direction, what the curve missed.

    Powers are shares of capacity. How far the curve was off in the last hours is carried on, fading.
    """
    known, target = turbines(view), view.target
    hour = max(1, HOUR_S // view.step_s)
    speed, share = known.speed(view, target), known.share(view, target)
    turn = np.radians(view.weather("wind_deg", target))
    found = {
        "hub_m_s": speed,
        "hub_cubed": np.clip(speed / _RATED_M_S, 0.0, 1.0) ** 3,
        "curve": np.nan_to_num(share),
        "curve_3h": _around(view, target, 1),
        "curve_7h": _around(view, target, 3),
        "hub_since_3h": speed - known.speed(view, target - 3 * hour),
        "hub_in_3h": known.speed(view, target + 3 * hour) - speed,
        "curve_north": share * np.cos(turn),
        "curve_east": share * np.sin(turn),
    }
    missed = _missed(view, scale)
    found |= {f"curve_missed_{h:.0f}h": missed * _kept(view, h) for h in _FADES_H}
    return found


def breeze(view: View, scale: Floats) -> Columns:
    """What came last, and how it goes over into the usual of the last weeks: known without any weather."""
    hour = max(1, HOUR_S // view.step_s)
    usual = view.mean_before(_DAYS * view.per_day)[:, :, None] / scale
    last = view.mean_before(hour)[:, :, None] / scale
    last = np.where(np.isfinite(last), last, usual)
    half = view.mean_before(6 * hour)[:, :, None] / scale
    day = np.stack([view.value(view.days_back(d)) / scale for d in range(1, _DAYS + 1)], axis=-1)
    found = {f"breeze_{h:.0f}h": usual + (last - usual) * _kept(view, h) for h in _FADES_H}
    found |= {
        "breeze_last": last,
        "breeze_rising": last - half,
        "breeze_hour": mean_known(day),
        "breeze_usual": usual,
    }
    return found


def _around(view: View, steps: Index, hours: int) -> Floats:
    """Mean share of capacity over some hours before and after."""
    reach = hours * max(1, HOUR_S // view.step_s)
    near = np.arange(-reach, reach + 1, max(1, reach // 4))
    around = (steps[..., None] + near).reshape(len(steps), -1)
    found = turbines(view).share(view, around)
    return mean_known(found.reshape(*found.shape[:2], steps.shape[1], len(near)))


def _missed(view: View, scale: Floats) -> Floats:
    """(S, I, 1) by how much the last two hours' power stood above the curve."""
    steps = view.at[:, None] - 1 - np.arange(2 * max(1, HOUR_S // view.step_s))
    off = view.value(steps) / scale - turbines(view).share(view, steps)
    return mean_known(off)[:, :, None]


def _kept(view: View, hours: float) -> Floats:
    """(1, 1, L) what is left of an error after each lead."""
    lead_h = (view.leads + 0.5) * view.step_s / HOUR_S
    return np.asarray(np.exp(-lead_h / hours)[None, None, :])
