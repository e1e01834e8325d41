"""Blocks of generation by the sun: where it stands, how clear it has been, how clear it will be.

All clear-sky indices are power or irradiance against what a clear sky would give at the same time, so that
morning tells of noon and winter of summer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridflock.forecast.learned._sunlit import sky_of, sunlit
from gridflock.forecast.learned._view import Floats, Index, View
from gridflock.forecast.sun import CLEAR_GHI
from gridflock.units import DAY_S, HOUR_S

Columns = Mapping[str, Floats]
_LEAST_SHARE = 0.02
"""Share of capacity below which an output says nothing of the sky."""
_FAINT = 0.02
"""How much the hours around count in an index of irradiance: near the horizon they are all there is."""
_MOST_INDEX = 1.6
"""Indices end here: beyond it lies the horizon's noise."""
_AROUND_H = (-3, -2, -1, 1, 2, 3)


def sun(view: View, scale: Floats) -> Columns:
    """Clear-sky power, elevation of the sun, its hour, share of direct light, lead."""
    del scale
    sky = sky_of(view, view.target)
    light = sky[..., 0] + sky[..., 3]
    clear = sunlit(view).clear(view, view.target)
    turn = (view.start_s + (view.target + 0.5) * view.step_s) % DAY_S / HOUR_S + view.site.longitude / 15.0
    lead_h = (view.leads + 0.5) * view.step_s / HOUR_S
    return {
        "clear": clear / sunlit(view).capacity()[:, :, None],
        "elevation": sky[None, ..., 4],
        "sun_hour": turn[None],
        "direct": (sky[..., 0] / np.maximum(light, 1e-3))[None],
        "sun_lead_h": lead_h[None, None, :],
    }


def sun_past(view: View, scale: Floats) -> Columns:
    """Clear-sky index of the last hours and days, and at the same time on the newest known day."""
    del scale
    per = max(1, HOUR_S // view.step_s)
    window = view.at[:, None] - 1 - np.arange(2 * view.per_day)
    power, offered = _heard(view, window)
    found = {}
    for name, begin, end in (
        ("index_3h", 0, 3 * per),
        ("index_9h", 0, 9 * per),
        ("index_24h", 0, view.per_day),
        ("index_24h_before", view.per_day, 2 * view.per_day),
    ):
        found[name] = _over(power, offered, begin, end)[:, :, None]
    back = -(-(view.leads + 1) // view.per_day) * view.per_day
    found["index_same"] = _around_same(view, power, offered, back, per)
    return found


def sun_now(view: View, scale: Floats) -> Columns:
    """Clear-sky index of each half-hour of the last two hours, and how it has moved: for short leads."""
    del scale
    per = max(1, HOUR_S // view.step_s)
    window = view.at[:, None] - 1 - np.arange(2 * per)
    power, offered = _heard(view, window)
    half = max(1, per // 2)
    found = {
        f"index_now_{k + 1}": _over(power, offered, k * half, (k + 1) * half)[:, :, None]
        for k in range(2 * per // half)
    }
    found["index_moved"] = found["index_now_1"] - _over(power, offered, 0, 2 * per)[:, :, None]
    return found


def _over(power: Floats, offered: Floats, begin: int, end: int) -> Floats:
    """Index (S, I) over places of a window, NaN where the sky offered nothing."""
    return _ratio(power[..., begin:end].sum(axis=-1), offered[..., begin:end].sum(axis=-1))


def _around_same(view: View, power: Floats, offered: Floats, back: Index, reach: int) -> Floats:
    """Index (S, I, L) within an hour of the same time on the newest known day."""
    # Place 0 of the window is the step before the one of issue.
    middle = back - view.leads - 1
    near = np.clip(middle[:, None] + np.arange(-reach, reach + 1), 0, power.shape[-1] - 1)
    return _ratio(power[:, :, near].sum(axis=-1), offered[:, :, near].sum(axis=-1))


def sun_sky(view: View, scale: Floats) -> Columns:
    """Clearness of the expected sky around the target and over its day, its spread over the points."""
    del scale
    per = max(1, HOUR_S // view.step_s)
    target, known = view.target, sunlit(view)
    index = _clearness(view, "ghi_w_m2", target)
    size = known.capacity()[:, :, None]
    found = {"sky": index, "sky_power": index * known.clear(view, target) / size}
    for hours in _AROUND_H:
        found[f"sky_{hours:+d}h"] = _clearness(view, "ghi_w_m2", target + hours * per)
    midnight = target + view.per_day - 1 - view.local_of(target) % DAY_S // view.step_s
    whole = [view.weather_mean(name, midnight, 24) for name in ("ghi_w_m2", CLEAR_GHI)]
    found["sky_day"] = _ratio(*whole)
    points = [_clearness(view, name, target) for name in _points(view, "ghi_", "_w_m2")]
    if points:
        found["sky_spread"] = np.std(points, axis=0)
    return found


def sun_air(view: View, scale: Floats) -> Columns:
    """How warm the target is against the day around it and six hours before, and how it warms then.

    What the sky does to the ground shows in it: clear days warm up, clear nights cool down.
    """
    del scale
    per = max(1, HOUR_S // view.step_s)
    target = view.target
    temp = view.weather("temp_c", target)
    return {
        "air_swing_c": temp - view.weather_mean("temp_c", target + 12 * per, 24),
        "air_rise_c": view.weather("temp_c", target + 3 * per) - view.weather("temp_c", target - 3 * per),
        "air_6h_c": temp - view.weather("temp_c", target - 6 * per),
    }


def sun_missed(view: View, scale: Floats) -> Columns:
    """How the output of the last hours differs from what the weather would have let expect."""
    del scale
    per = max(1, HOUR_S // view.step_s)
    window = view.at[:, None] - 1 - np.arange(2 * view.per_day)
    power, clear = _heard(view, window)
    index = _clearness(view, "ghi_w_m2", window)
    expected = clear * np.where(np.isfinite(index), index, 0.0)
    found = {}
    for name, steps in (("missed_3h", 3 * per), ("missed_9h", 9 * per), ("missed_48h", 2 * view.per_day)):
        offered = clear[..., :steps].sum(axis=-1)
        missed = (power - expected)[..., :steps].sum(axis=-1)
        found[name] = _ratio(missed, offered)[:, :, None]
    return found


def _points(view: View, begin: str, end: str) -> list[str]:
    """Columns of single points, such as ``ghi_3_w_m2``."""
    return [
        name
        for name in view.weather_columns
        if name.startswith(begin) and name.endswith(end) and name[len(begin) : -len(end)].isdigit()
    ]


def _clearness(view: View, name: str, steps: Index) -> Floats:
    """Clear-sky index (1, I, K) of an irradiance at steps (I, K)."""
    around = steps + max(1, 2 * HOUR_S // view.step_s)
    here, clear = view.weather(name, steps), view.weather(CLEAR_GHI, steps)
    near, near_clear = (view.weather_mean(of, around, 5) for of in (name, CLEAR_GHI))
    return np.minimum(_ratio(here + _FAINT * near, clear + _FAINT * near_clear), _MOST_INDEX)


def _heard(view: View, window: Index) -> tuple[Floats, Floats]:
    """Output and clear-sky power (S, I, K) at steps (I, K) where the one tells of the other; 0 elsewhere."""
    known = sunlit(view)
    clear, heard = known.clear(view, window), view.value(window)
    counts = np.isfinite(heard) & (clear > _LEAST_SHARE * known.capacity()[:, :, None])
    return np.where(counts, heard, 0.0), np.where(counts, clear, 0.0)


def _ratio(total: Floats, mass: Floats) -> Floats:
    found: Floats = np.divide(total, mass, out=np.full(np.shape(total), np.nan), where=mass > 0)
    return found
