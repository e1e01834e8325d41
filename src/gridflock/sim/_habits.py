"""What people do on a day: come and go, shower, cook, work. Drawn by day, never by what was ordered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from gridflock.schema import Kind
from gridflock.sim._devices import Columns
from gridflock.sim._scenario import Draw, draws
from gridflock.sim._vehicles import FAR_S, Sessions
from gridflock.sim._weather import Weather, local_midnight
from gridflock.units import Codes, Kw, Seconds

_F8 = NDArray[np.float64]
_F4 = NDArray[np.float32]
_STAYS = 5
"""Sessions of a charging point per day, at most."""

# Hour and level of the native demand of an average home (without cooling, hot water and
# vehicles), a business and an industrial customer; 1 is the evening peak of a home.
_HOME = ((0, 0.36), (3, 0.28), (5.5, 0.32), (7.2, 0.55), (9, 0.44), (12, 0.48), (15, 0.50), (17, 0.76),
         (18.7, 0.98), (19.8, 1.0), (21.2, 0.90), (22.6, 0.62), (24, 0.36))  # fmt: skip
_BUSINESS = ((0, 0.30), (5.5, 0.34), (8, 0.78), (10, 0.95), (14, 1.0), (17, 0.88), (18.5, 0.72), (20.5, 0.62),
             (22.5, 0.40), (24, 0.30))  # fmt: skip
_INDUSTRY = ((0, 0.62), (5, 0.65), (6.5, 0.95), (14, 1.0), (21, 0.9), (22.5, 0.68), (24, 0.62))
_SHOWERS = (
    (0, 0.05),
    (5, 0.2),
    (7, 2.6),
    (9, 1.0),
    (12, 0.8),
    (16, 0.7),
    (19, 1.9),
    (21, 1.6),
    (23, 0.4),
    (24, 0.05),
)
_HEAT = ((0, 0.25), (6, 0.6), (9, 0.5), (13, 0.45), (18, 0.6), (22, 0.35), (24, 0.25))
_SHIFT = ((0, 0.35), (6, 0.45), (8, 0.9), (12, 1.0), (16, 0.95), (19, 0.75), (22, 0.45), (24, 0.35))


def _shape(points: Sequence[tuple[float, float]], hour: _F8) -> _F8:
    hours, levels = zip(*points, strict=True)
    levels_then: _F8 = np.interp(hour, hours, levels)
    return levels_then


def _wander(rng: np.random.Generator, shape: tuple[int, int], step_s: int, memory_s: float) -> _F8:
    """First-order autoregressive noise of unit variance along the first axis, (T, n)."""
    keep = np.exp(-step_s / memory_s)
    noise = rng.standard_normal(shape, dtype=np.float32).astype(np.float64)
    noise[1:] *= np.sqrt(1 - keep**2)
    for k in range(1, shape[0]):
        noise[k] += keep * noise[k - 1]
    return noise


def demand(seed: int, day: date, sky: Weather, nominal_kw: Kw, customer: Codes) -> _F8:
    """Native demand of each load port as a share of nothing but itself: (T, L) kW, positive.

    Homes lessen each other's noise: its spread falls with the root of their number.

    Args:
        seed: of the world.
        day: local day.
        sky: of that day.
        nominal_kw: (L,) published demand already scaled.
        customer: (L,) customer class code.
    """
    rng = draws(seed, Draw.DEMAND, day.toordinal())
    step_s = int(sky.t_s[1] - sky.t_s[0])
    rest = 0.55 if day.weekday() >= 5 else 1.0
    curves = np.column_stack([
        _shape(_HOME, sky.hour), rest * _shape(_BUSINESS, sky.hour), _shape(_INDUSTRY, sky.hour),
        _shape(_BUSINESS, sky.hour),
    ])  # fmt: skip
    level = curves[:, customer] * rng.normal(1.0, 0.05, len(nominal_kw)) * rng.normal(1.0, 0.02)
    spread = 0.35 / np.sqrt(np.maximum(nominal_kw, 2.0) / 1.6)
    spread = np.where(customer == 0, spread, 0.5 * spread)
    shape = (len(sky.t_s), len(nominal_kw))
    slow, fast = _wander(rng, shape, step_s, 1500.0), _wander(rng, shape, step_s, 120.0)
    demand_kw: _F8 = nominal_kw * level * np.exp(spread * (0.8 * slow + 0.5 * fast))
    return demand_kw


def occupancy(seed: int, day: date, hour: _F8, n: int) -> Codes:
    """1 where somebody is in, uint8 (T, n): a third of the homes all day, the others but for work."""
    rng = draws(seed, Draw.PEOPLE, day.toordinal(), 1)
    leave, back = rng.normal(8.0, 0.8, n), rng.normal(17.3, 1.2, n)
    stays = rng.random(n) < (0.8 if day.weekday() >= 5 else 0.35)
    away = (hour[:, None] >= leave) & (hour[:, None] < back) & ~stays
    return (~away).astype(np.uint8)


def hot_water(seed: int, day: date, sky: Weather, n: int) -> _F4:
    """Heat drawn from tanks in each step, kWh, float32 (T, n): 4–9 kWh a day in some 15 draws."""
    rng = draws(seed, Draw.HOT_WATER, day.toordinal())
    step_h = (sky.t_s[1] - sky.t_s[0]) / 3600
    wish = _shape(_SHOWERS, sky.hour)
    rate = 15 * wish / wish.sum()
    events = rng.poisson(np.broadcast_to(rate[:, None], (len(rate), n)))
    size = rng.gamma(2.0, 0.5 * rng.uniform(4.0, 9.0, n) / 15, (len(rate), n))
    drawn = events * size
    # A draw lasts some five minutes: on a minute grid it is spread over as many steps.
    steps = max(1, round(5 / 60 / step_h))
    smooth = np.cumsum(drawn, axis=0)
    smooth[steps:] -= smooth[:-steps].copy()
    spread: _F4 = (smooth / steps).astype(np.float32)
    return spread


def heat(seed: int, day: date, sky: Weather, plate: Columns, cooling: NDArray[np.bool_]) -> _F4:
    """Heat demand of cogeneration hosts in kW of electricity, float32 (T, n).

    Cooling hosts drive absorption chillers: their demand grows with the outdoor temperature.
    """
    rng = draws(seed, Draw.PROCESS, day.toordinal())
    base = _shape(_HEAT, sky.hour)[:, None] * rng.uniform(0.6, 1.0, len(cooling))
    warm = np.clip((sky.outdoor_c - 18.0) / 16.0, 0.0, 1.0)[:, None] * _shape(_SHIFT, sky.hour)[:, None]
    share = np.where(cooling, 0.2 + 0.8 * warm, base)
    noise = 1 + 0.05 * _wander(rng, (len(sky.t_s), len(cooling)), int(sky.t_s[1] - sky.t_s[0]), 900.0)
    kw: _F4 = (plate["p_max_kw"] * 0.75 * share * np.maximum(noise, 0.2)).astype(np.float32)
    return kw


def process(seed: int, day: date, sky: Weather, plate: Columns) -> _F4:
    """Demand of the part of a process that may pause, kW as a magnitude, float32 (T, n)."""
    rng = draws(seed, Draw.PROCESS, day.toordinal(), 1)
    n = len(plate["p_min_kw"])
    rest = 0.5 if day.weekday() >= 5 else 1.0
    level = _shape(_SHIFT, sky.hour)[:, None] * rng.uniform(0.7, 1.0, n) * rest
    noise = 1 + 0.06 * _wander(rng, (len(sky.t_s), n), int(sky.t_s[1] - sky.t_s[0]), 900.0)
    kw: _F4 = np.clip(-plate["p_min_kw"] * level * noise, 0.0, -plate["p_min_kw"]).astype(np.float32)
    return kw


def sessions(seed: int, days: Sequence[date], timezone: str, kind: Codes, plate: Columns) -> Sessions:
    """Stays of home vehicles and charging points that begin on the given days, in order.

    Home: 85 % plug in on a day, around 18 h, and leave around 7.4 h with some 9 kWh more.
    Workplaces: 8.7–17 h. Public points: short stays one after another.
    """
    parts = []
    for day in days:
        home = _home_stays(seed, day, timezone, kind, plate)
        shared = _shared_stays(seed, day, timezone, len(kind))
        at_point = (kind == Kind.EVSE)[:, None]
        pads = (FAR_S, FAR_S, 0.0, 0.0)
        wide = [
            np.concatenate([column[:, None], np.full((len(kind), _STAYS - 1), pad)], axis=1)
            for column, pad in zip(home, pads, strict=True)
        ]
        parts.append([np.where(at_point, b, a) for a, b in zip(wide, shared, strict=True)])
    end = [np.full((len(kind), 1), FAR_S)] * 2 + [np.zeros((len(kind), 1))] * 2
    arrive, depart, start, target = (
        np.concatenate([part[i] for part in parts] + [end[i]], axis=1) for i in range(4)
    )
    order = np.argsort(arrive, axis=1, kind="stable")
    arrive, depart, start, target = (
        np.take_along_axis(table, order, axis=1) for table in (arrive, depart, start, target)
    )
    # Who comes back before the last stay's end has left earlier than thought.
    depart[:, :-1] = np.minimum(depart[:, :-1], np.where(arrive[:, 1:] < FAR_S, arrive[:, 1:] - 60, FAR_S))
    return Sessions(arrive.astype(np.int64), depart.astype(np.int64), start, target)


_Stays = tuple[Seconds, Seconds, _F8, _F8]


def _home_stays(seed: int, day: date, timezone: str, kind: Codes, plate: Columns) -> _Stays:
    rng = draws(seed, Draw.SESSIONS, day.toordinal())
    n = len(kind)
    midnight = local_midnight(day, timezone)
    arrive = midnight + _minutes(np.clip(rng.normal(18.0, 1.7, n), 12.5, 23.6))
    depart = midnight + _minutes(24 + np.clip(rng.normal(7.4, 0.9, n), 4.5, 11.5))
    capacity = plate["e_max_kwh"]
    need = np.clip(rng.lognormal(np.log(9.0), 0.55, n), 2.0, 0.6 * capacity)
    target = capacity * rng.choice([0.8, 0.9, 1.0], n, p=[0.5, 0.3, 0.2])
    comes = rng.random(n) < 0.85
    return (
        np.where(comes, arrive, FAR_S),
        np.where(comes, depart, FAR_S),
        np.where(comes, np.maximum(target - need, 0.05 * capacity), 0.0),
        np.where(comes, target, 0.0),
    )


def _shared_stays(seed: int, day: date, timezone: str, n: int) -> _Stays:
    rng = draws(seed, Draw.SESSIONS, day.toordinal(), 1)
    work = rng.permutation(n) < 0.6 * n
    busy = 0.25 if day.weekday() >= 5 else 0.85
    arrive = np.full((n, _STAYS), FAR_S)
    depart = np.full((n, _STAYS), FAR_S)
    need = np.zeros((n, _STAYS))
    midnight = local_midnight(day, timezone)
    free = np.where(work, np.clip(rng.normal(8.7, 0.8, n), 6.0, 12.0), 8.0 + rng.exponential(1.5, n))
    for stay in range(_STAYS):
        length = np.where(work, rng.normal(8.2, 0.9, n), rng.uniform(0.7, 2.6, n))
        length = np.maximum(length, 0.5)
        comes = (free < 21.0) & (rng.random(n) < np.where(work, busy, 0.8)) & (~work | (stay == 0))
        arrive[:, stay] = np.where(comes, midnight + _minutes(free), FAR_S)
        depart[:, stay] = np.where(comes, midnight + _minutes(free + length), FAR_S)
        wish = np.where(work, rng.gamma(4.0, 3.0, n), rng.gamma(4.0, 2.2, n))
        need[:, stay] = np.where(comes, np.clip(wish, 2.0, 0.98 * 7.0 * length), 0.0)
        free = free + length + rng.exponential(1.4, n)
    return arrive, depart, np.zeros_like(need), need


def _minutes(hours: _F8) -> Seconds:
    """Seconds of so many hours, whole minutes."""
    return np.round(hours * 60).astype(np.int64) * 60
