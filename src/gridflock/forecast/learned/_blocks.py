"""Feature blocks: each turns a ``View`` into named columns.

A block is a function of a view and of the series' scale (S, I, 1). It returns columns by name, each of a
shape that broadcasts to (S, I, L); powers are divided by the scale. NaN is allowed. A block of a class
stands in a file of its own and enters ``BLOCKS`` with one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._habits import habits
from gridflock.forecast.learned._heating import heating
from gridflock.forecast.learned._holidays import rest
from gridflock.forecast.learned._price import price
from gridflock.forecast.learned._stations import air, fade, moves, profiles, usual, wind
from gridflock.forecast.learned._sunlight import sun, sun_air, sun_missed, sun_now, sun_past, sun_sky
from gridflock.forecast.learned._view import Floats, View, mean_known
from gridflock.forecast.learned._wind import breeze, turbine
from gridflock.forecast.learned._young import heard
from gridflock.units import DAY_S, HOUR_S

Columns = Mapping[str, Floats]
Block = Callable[[View, Floats], Columns]

_EPOCH_WEEKDAY = 3
_YEAR_DAYS = 365.2425
_WEEK = 7
_HEAT_C, _COOL_C = 15.0, 20.0
_BASE_DAYS = 3
"""How many days further back a same-time value is looked for."""


def columns_of(
    view: View, names: Sequence[str], scale: Floats
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """All columns of some blocks as a matrix.

    Returns:
        names (F,); float32 (S·I·L, F), series slowest and leads fastest.
    """
    found: dict[str, Floats] = {}
    for name in names:
        found.update(BLOCKS[name](view, scale))
    matrix = np.empty((*view.shape, len(found)), dtype=np.float32)
    for k, column in enumerate(found.values()):
        matrix[..., k] = column
    return tuple(found), matrix.reshape(-1, len(found))


def clock(view: View, scale: Floats) -> Columns:
    """Local hour, weekday (0 Monday), day type (0 workday, 1 Saturday, 2 Sunday or holiday), lead."""
    del scale
    local = view.local_of(view.target)
    day = local // DAY_S
    weekday = (day + _EPOCH_WEEKDAY) % _WEEK
    holiday, joined = rest(view.site.country, day)
    kind = np.where((weekday == 6) | (holiday > 0), 2.0, np.where(weekday == 5, 1.0, 0.0))
    lead_h = (view.leads + 0.5) * view.step_s / HOUR_S
    return {
        "hour": (local % DAY_S / HOUR_S)[None],
        "weekday": weekday[None].astype(np.float64),
        "day_type": kind[None],
        "joined": joined[None],
        "lead_h": lead_h[None, None, :],
    }


def season(view: View, scale: Floats) -> Columns:
    """Where in the year: cosine and sine."""
    del scale
    turn = 2 * np.pi * (view.start_s + view.target * view.step_s) / DAY_S / _YEAR_DAYS
    return {"year_cos": np.cos(turn)[None], "year_sin": np.sin(turn)[None]}


def lags(view: View, scale: Floats) -> Columns:
    """The same local time on the newest known days, a week and two back, and means over such days."""
    same = [view.value(view.days_back(d)) / scale for d in range(1, 2 * _WEEK + 2)]
    newest, second = _newest(same[:_BASE_DAYS]), _second(same[: _BASE_DAYS + 1])
    weeks = np.stack([same[_WEEK - 1], same[2 * _WEEK - 1], *_far(view, scale)], axis=-1)
    return {
        "day_1": newest,
        "day_2": second,
        "week_1": _newest([weeks[..., 0], weeks[..., 1]]),
        "week_2": weeks[..., 1],
        "days_7": mean_known(np.stack(same[:_WEEK], axis=-1)),
        "weeks_4": mean_known(weeks),
    }


def _far(view: View, scale: Floats) -> list[Floats]:
    return [view.value(view.days_back(_WEEK * k)) / scale for k in (3, 4)]


def _newest(values: Sequence[Floats]) -> Floats:
    """The first that is known."""
    found = values[0]
    for other in values[1:]:
        found = np.where(np.isfinite(found), found, other)
    return found


def _second(values: Sequence[Floats]) -> Floats:
    """The second that is known."""
    found = np.full(values[0].shape, np.nan)
    seen = np.isfinite(values[0]).astype(np.int64)
    for other in values[1:]:
        known = np.isfinite(other)
        found = np.where(known & (seen == 1), other, found)
        seen = seen + known
    return found


def around(view: View, scale: Floats) -> Columns:
    """Means over an hour and a half around the same time yesterday and a week ago: smoother lags."""
    reach = max(1, round(0.75 * HOUR_S / view.step_s))
    near = np.arange(-reach, reach + 1)

    def smooth(days: int) -> Floats:
        back = view.days_back(days)
        steps = (back[..., None] + near).reshape(len(back), -1)
        return mean_known(view.value(steps).reshape(*view.shape, len(near))) / scale

    return {"near_day": _newest([smooth(1), smooth(2)]), "near_week": smooth(_WEEK)}


def level(view: View, scale: Floats) -> Columns:
    """Means of what was heard last: an hour to a week, and today against the same hours before."""
    hour = max(1, HOUR_S // view.step_s)
    day = view.per_day
    names = {"last_1h": hour, "last_3h": 3 * hour, "last_24h": day, "last_7d": _WEEK * day}
    found = {name: view.mean_before(n)[:, :, None] / scale for name, n in names.items()}
    for name, hours, days in (
        ("gone_6h_week", 6, _WEEK),
        ("gone_6h_day", 6, 1),
        ("gone_24h_week", 24, _WEEK),
    ):
        now, then = view.mean_before(hours * hour), view.mean_before(hours * hour, days * day)
        found[name] = (now - then)[:, :, None] / scale
    return found


def recent(view: View, scale: Floats) -> Columns:
    """The last known steps one by one, and how they differ from a day and a week before: for short leads."""
    steps = view.at[:, None] - 1 - np.arange(max(4, 3 * HOUR_S // view.step_s))
    last = view.value(steps) / scale
    found = {f"step_{k + 1}": last[:, :, k : k + 1] for k in range(last.shape[2])}
    for name, back in (("day", view.per_day), ("week", _WEEK * view.per_day)):
        before = view.value(steps - back) / scale
        missed = last - before
        found[f"missed_{name}"] = missed[:, :, :1]
        found[f"missed_{name}_mean"] = mean_known(missed)[:, :, None]
        # What happened then between the last known step and the target.
        after = view.value(view.target - back) / scale
        found[f"then_{name}"] = after - before[:, :, :1]
    return found


def thermal(view: View, scale: Floats) -> Columns:
    """Temperature at the target, its means over a day and three, degree hours, change since lagged days."""
    del scale
    temp = view.weather("temp_c", view.target)
    day = view.weather_mean("temp_c", view.target, 24)
    found = {
        "temp_c": temp,
        "temp_24h_c": day,
        "temp_72h_c": view.weather_mean("temp_c", view.target, 72),
        "heating_c": np.maximum(_HEAT_C - day, 0.0),
        "cooling_c": np.maximum(temp - _COOL_C, 0.0),
    }
    found["temp_since_day_c"] = temp - view.weather("temp_c", view.newest_day())
    found["temp_since_week_c"] = temp - view.weather("temp_c", view.days_back(_WEEK))
    return found


def sky(view: View, scale: Floats) -> Columns:
    """Irradiance at the target, around it and over a day, its change since lagged days; wind."""
    del scale
    sun = view.weather("ghi_w_m2", view.target)
    return {
        "ghi": sun,
        "ghi_3h": view.weather_mean("ghi_w_m2", view.target + max(1, HOUR_S // view.step_s), 3),
        "ghi_24h": view.weather_mean("ghi_w_m2", view.target, 24),
        "ghi_since_day": sun - view.weather("ghi_w_m2", view.newest_day()),
        "ghi_since_week": sun - view.weather("ghi_w_m2", view.days_back(_WEEK)),
        "wind_m_s": view.weather("wind_m_s", view.target),
    }


BLOCKS: dict[str, Block] = {
    "clock": clock,
    "season": season,
    "lags": lags,
    "around": around,
    "level": level,
    "habits": habits,
    "heard": heard,
    "recent": recent,
    "thermal": thermal,
    "heating": heating,
    "sky": sky,
    "usual": usual,
    "fade": fade,
    "moves": moves,
    "wind": wind,
    "air": air,
    "profiles": profiles,
    "turbine": turbine,
    "breeze": breeze,
    "price": price,
    "sun": sun,
    "sun_past": sun_past,
    "sun_now": sun_now,
    "sun_sky": sun_sky,
    "sun_air": sun_air,
    "sun_missed": sun_missed,
}
"""All blocks by name."""
OF_WEATHER = ("thermal", "sky", "wind", "air", "profiles", "turbine", "sun_sky", "sun_air", "sun_missed")
"""Blocks that say nothing without weather, and are left out then."""
