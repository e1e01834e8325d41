"""The level of every measured quantity: readings weighed against what orders must have changed.

A quantity moves by our own orders, which are known, and by itself, which is not. What it does by itself
is followed by a filter of level and slope (Kalman, "A new approach to linear filtering and prediction
problems", J. Basic Engineering 82, 1960), one per row, its slope fading. A reading that was taken before an
order was followed is carried forward by the order's effect: so delay is no reason to ask for the same twice
(Smith, "Closer control of loops with dead time", Chemical Engineering Progress 53, 1957). A reading far
from what was expected, or a shift that readings of one kind or in a row share, opens the filter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.feedback._sight import Quantity, Sight
from gridflock.dispatch.feedback._solve import carried
from gridflock.units import Kvar, Kw, Mask

Float = NDArray[np.float64]

FADES_S = 20.0
"""A slope loses most of itself in so long unless readings go on to show it."""
JUMP = 4.0
"""Standard deviations beyond which a reading, or a shared shift, is no noise."""
LASTING = 0.3
"""Share of the newest reading in the running mean of surprises."""
_STEADY = np.sqrt(LASTING / (2.0 - LASTING))
"""Standard deviation of that mean for readings as expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What is believed of m quantities.

    Attributes:
        value: (m,) level at ``seen_s``, as if every order acknowledged by now had been followed then; NaN
            before the first reading.
        slope: (m,) change by itself per second.
        value_var: (m,) variance of the level.
        cross_var: (m,) covariance of both.
        slope_var: (m,) variance of the slope.
        surprise: (m,) running mean of readings' misses, in standard deviations.
        seen_s: (m,) when the newest reading was taken; -inf before the first.
    """

    value: Float
    slope: Float
    value_var: Float
    cross_var: Float
    slope_var: Float
    surprise: Float
    seen_s: Float

    @classmethod
    def none(cls, m: int) -> Levels:
        """Nothing read yet."""
        zero = np.zeros(m)
        return cls(np.full(m, np.nan), zero, zero, zero, zero, zero, np.full(m, -np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What resources did at the last few moments, the newest last.

    Attributes:
        at_s: (k,) moments, ascending.
        p_kw: (k, n)
        q_kvar: (k, n)
    """

    at_s: Float
    p_kw: Kw
    q_kvar: Kvar

    @classmethod
    def none(cls, n: int) -> Past:
        """Nothing known yet."""
        return cls(np.zeros(0), np.zeros((0, n)), np.zeros((0, n)))


def heard(past: Past, p_kw: Kw, q_kvar: Kvar, since_s: Float, now_s: float, memory_s: float) -> Past:
    """The past with what is known now: an order heard of late is put where it belongs.

    Args:
        past: as known a tick ago.
        p_kw: (n,) what each does now, finite.
        q_kvar: (n,) the same.
        since_s: (n,) since when.
        now_s: this tick.
        memory_s: what is older is forgotten, but for one moment.
    """
    later = past.at_s[:, None] >= since_s[None, :]
    old_p, old_q = np.where(later, p_kw, past.p_kw), np.where(later, q_kvar, past.q_kvar)
    first = max(0, int(np.searchsorted(past.at_s, now_s - memory_s, side="right")) - 1)
    return Past(
        np.append(past.at_s[first:], now_s),
        np.concatenate([old_p[first:], p_kw[None]]),
        np.concatenate([old_q[first:], q_kvar[None]]),
    )


def moved(levels: Levels, sight: Sight, before: Past, after: Past) -> Float:
    """(m,) by how much each level has to move for what has become known of orders since the last tick.

    Orders followed before a row's last reading were in it already.
    """
    if not len(before.at_s):
        return np.zeros(sight.m)
    at = np.searchsorted(before.at_s, levels.seen_s, side="right") - 1
    at = np.clip(at, 0, len(before.at_s) - 1)
    now = _sums(sight, after.p_kw[-1:] - before.p_kw[-1:], after.q_kvar[-1:] - before.q_kvar[-1:])
    lost = len(before.at_s) + 1 - len(after.at_s)
    then_p, then_q = np.zeros_like(before.p_kw), np.zeros_like(before.q_kvar)
    then_p[lost:] = after.p_kw[:-1] - before.p_kw[lost:]
    then_q[lost:] = after.q_kvar[:-1] - before.q_kvar[lost:]
    return _carried(sight, now - _sums(sight, then_p, then_q), at)


def since_reading(sight: Sight, past: Past) -> Float:
    """(m,) what orders have done to each quantity since its newest reading was taken."""
    at = np.clip(np.searchsorted(past.at_s, sight.at_s, side="right") - 1, 0, len(past.at_s) - 1)
    change = _sums(sight, past.p_kw[-1:] - past.p_kw, past.q_kvar[-1:] - past.q_kvar)
    return _carried(sight, change, at)


def _sums(sight: Sight, p_kw: Kw, q_kvar: Kvar) -> Float:
    """(k, 2·C) sums at the ports of resources' powers (k, n)."""
    ports, column = sight.effects.ports, sight.effects.column
    there = column >= 0
    total = np.zeros((len(p_kw), 2 * ports))
    for k in range(len(p_kw)):
        total[k, :ports] = np.bincount(column[there], p_kw[k, there], minlength=ports)
        total[k, ports:] = np.bincount(column[there], q_kvar[k, there], minlength=ports)
    return total


def _carried(sight: Sight, change: Float, at: NDArray[np.int64]) -> Float:
    found = np.zeros(sight.m)
    if change.any():
        carried(sight.effects.matrix, np.ascontiguousarray(change), at.astype(np.int32), found)
    return found


def weighed(levels: Levels, sight: Sight, by_orders: Float, reading: Float, fresh: Mask) -> Levels:
    """Levels after this tick's readings.

    Args:
        levels: before.
        sight: rows, their noise and drift.
        by_orders: (m,) what has become known of orders' effects.
        reading: (m,) readings carried to now.
        fresh: (m,) rows with a new reading that is believed.
    """
    first = fresh & ~np.isfinite(levels.value)
    known = fresh & ~first
    dt = np.where(known, sight.at_s - levels.seen_s, 0.0)
    fade = np.exp(-dt / FADES_S)
    value = levels.value + by_orders + levels.slope * dt
    vv = levels.value_var + 2.0 * dt * levels.cross_var + dt**2 * levels.slope_var + sight.drift**2 * dt
    vs = fade * (levels.cross_var + dt * levels.slope_var)
    ss = fade**2 * levels.slope_var + (sight.drift / FADES_S) ** 2 * dt
    sensor = sight.noise**2
    miss = np.where(known, reading - value, 0.0)
    spread = np.sqrt(vv + sensor)
    z = np.divide(miss, spread, out=np.zeros_like(miss), where=spread > 0.0)
    surprise = np.where(known, (1.0 - LASTING) * levels.surprise + LASTING * z, levels.surprise)
    opened = _opened(sight, miss, z, surprise, spread, known)
    vv = vv + opened
    surprise = np.where(opened > 0.0, 0.0, surprise)
    whole = vv + sensor
    gain = np.where(known, np.divide(vv, whole, out=np.ones_like(vv), where=whole > 0.0), 0.0)
    turn = np.where(known, np.divide(vs, whole, out=np.zeros_like(vs), where=whole > 0.0), 0.0)
    return replace(
        levels,
        value=np.where(first, reading, value + gain * miss),
        slope=np.where(first, 0.0, fade * levels.slope + turn * miss),
        value_var=np.where(first, sensor, (1.0 - gain) * vv),
        cross_var=np.where(first, 0.0, (1.0 - gain) * vs),
        slope_var=np.where(first, (sight.drift / 2.0) ** 2, np.maximum(ss - turn * vs, 0.0)),
        surprise=np.where(first, 0.0, surprise),
        seen_s=np.where(fresh, sight.at_s, levels.seen_s),
    )


def _opened(sight: Sight, miss: Float, z: Float, surprise: Float, spread: Float, known: Mask) -> Float:
    """(m,) variance to add where readings show that something has happened that nobody foresaw."""
    opened = np.where(np.abs(z) > JUMP, miss**2, 0.0)
    lasting = np.abs(surprise) > JUMP * _STEADY
    opened = np.where(lasting, np.maximum(opened, (surprise * spread) ** 2), opened)
    for quantity in Quantity:
        rows = known & (sight.quantity == quantity)
        many = int(rows.sum())
        if many > 1:
            shared = float(z[rows].mean())
            if abs(shared) * np.sqrt(many) > JUMP:
                opened = np.where(rows, np.maximum(opened, (shared * spread) ** 2), opened)
    return opened
