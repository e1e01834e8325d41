"""The level of every measured quantity: readings weighed against what orders must have changed.

A quantity moves by our own orders, which are known, and by itself, which is not. What it does by itself
is followed by a filter of level and slope (Kalman, "A new approach to linear filtering and prediction
problems", J. Basic Engineering 82, 1960), one per row, its slope fading. What voltages do together is
followed apart (``_together.py``); beside that each has a level of its own without a slope, slow and therefore
quiet. Orders that were followed since
the newest reading are added to it: so delay is no reason to ask for the same twice (Smith, "Closer control
of loops with dead time", Chemical Engineering Progress 53, 1957); how far they did what they should is
learnt from the readings after. A reading far from what was expected, a miss that lasts, or a shift of the
whole feeder, opens the filter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.feedback._sight import Sight
from gridflock.dispatch.feedback._solve import carried
from gridflock.dispatch.feedback._together import (
    BEGINS_S,
    DOUBTED_S,
    FADES_S,
    LEAST_GAIN,
    TURNS_S,
    Common,
    together,
)
from gridflock.units import Kvar, Kw, Mask

Float = NDArray[np.float64]

JUMP, SHIFT = 6.5, 5.5
"""Standard deviations beyond which one reading of thousands, or a lasting shift of a row, is no noise."""
LASTING = 0.3
"""Share of the newest reading in the running mean of surprises."""
_STEADY = np.sqrt(LASTING / (2.0 - LASTING))
"""Standard deviation of that mean for readings as expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What is believed of m quantities.

    Attributes:
        value: (m,) level at ``seen_s``; NaN before the first reading.
        slope: (m,) change by itself per second, beside what is common.
        value_var: (m,) variance of the level.
        cross_var: (m,) covariance of both.
        slope_var: (m,) variance of the slope.
        gain: (m,) what orders do to the quantity, as a part of what its sensitivities say.
        gain_var: (m,) variance of that.
        surprise: (m,) running mean of readings' misses, in standard deviations.
        first_s: (m,) when the first reading was taken; +inf before it.
        seen_s: (m,) when the newest reading was taken; -inf before the first.
    """

    value: Float
    slope: Float
    value_var: Float
    cross_var: Float
    slope_var: Float
    gain: Float
    gain_var: Float
    surprise: Float
    first_s: Float
    seen_s: Float

    @classmethod
    def none(cls, m: int) -> Levels:
        """Nothing read yet."""
        zero = np.zeros(m)
        never = np.full(m, np.inf)
        return cls(np.full(m, np.nan), zero, zero, zero, zero, zero + 1.0, zero, zero, never, -never)


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


def rebased(past: Past, by_kw: Kw, by_kvar: Kvar) -> Past:
    """The past as if each resource had always done so much more: changes that no order made.

    What sun and stores do by themselves belongs to what a quantity does by itself, with its slope.
    """
    return replace(past, p_kw=past.p_kw + by_kw, q_kvar=past.q_kvar + by_kvar)


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


def between(sight: Sight, past: Past, first_s: Float, last_s: Float) -> Float:
    """(m,) what orders did to each quantity from one moment of its own to another.

    Args:
        sight: rows and sensitivities.
        past: with the present as its last moment.
        first_s: (m,) moments; before all that is remembered, the earliest remembered stands.
        last_s: (m,)
    """
    many = len(past.at_s)
    first, last = (
        np.clip(np.searchsorted(past.at_s, at_s, side="right") - 1, 0, many - 1) for at_s in (first_s, last_s)
    )
    pairs, at = np.unique(first * many + last, return_inverse=True)
    sums, ends = (
        _sums(sight, past.p_kw - past.p_kw[-1], past.q_kvar - past.q_kvar[-1]),
        np.divmod(pairs, many),
    )
    change, found = sums[ends[1]] - sums[ends[0]], np.zeros(sight.m)
    if change.any():
        carried(sight.effects.matrix, change, at.astype(np.int32), found)
    return found


def _sums(sight: Sight, p_kw: Kw, q_kvar: Kvar) -> Float:
    """(k, 2·C) sums at the ports of resources' powers (k, n)."""
    ports, column = sight.effects.ports, sight.effects.column
    there = column >= 0
    total = np.zeros((len(p_kw), 2 * ports))
    for k in range(len(p_kw)):
        total[k, :ports] = np.bincount(column[there], p_kw[k, there], minlength=ports)
        total[k, ports:] = np.bincount(column[there], q_kvar[k, there], minlength=ports)
    return total


def weighed(
    levels: Levels, common: Common, sight: Sight, by_orders: Float, fresh: Mask, doubt: float
) -> tuple[Levels, Common]:
    """Levels after this tick's readings.

    Args:
        levels: before.
        common: before.
        sight: rows, their noise and drift.
        by_orders: (m,) what orders did between the reading before and this one.
        fresh: (m,) rows with a new reading that is believed.
        doubt: error of the sensitivities, as a part of an effect.
    """
    first = fresh & ~np.isfinite(levels.value)
    known = fresh & ~first
    dt = np.where(known, sight.at_s - levels.seen_s, 0.0)
    fade = np.exp(-dt / FADES_S)
    by_orders = np.where(known, by_orders, 0.0)
    gain_var = np.minimum(levels.gain_var + doubt**2 * dt / DOUBTED_S, doubt**2)
    shaped = sight.effects.modes.any(axis=1)
    alike = common.gain[sight.quantity]
    usual = alike + (levels.gain - alike) * np.exp(-dt / DOUBTED_S)
    value = levels.value + usual * by_orders + (levels.slope + common.slope) * dt
    # What is common has the slopes; the rest of a voltage stays where it is.
    turns = np.where(shaped, 0.0, sight.drift)
    vv = levels.value_var + dt * (2.0 * levels.cross_var + dt * levels.slope_var + sight.drift**2)
    vs = fade * (levels.cross_var + dt * levels.slope_var)
    ss = fade**2 * levels.slope_var + (turns / TURNS_S) ** 2 * dt
    whole = vv + gain_var * by_orders**2 + sight.noise**2
    spread = np.sqrt(whole)
    miss = np.where(known, sight.value - value, 0.0)
    shift, common = _together(levels, common, sight, miss, spread, known, by_orders, doubt)
    value, miss = value + shift, np.where(known, miss - shift, 0.0)
    usual = usual + common.gain[sight.quantity] - alike
    z = np.divide(miss, spread, out=np.zeros_like(miss), where=spread > 0.0)
    surprise = np.where(known, (1.0 - LASTING) * levels.surprise + LASTING * z, levels.surprise)
    opened = _opened(miss, z, surprise, spread)
    surprise = np.where(opened > 0.0, 0.0, surprise)
    whole = whole + opened
    vv, ss = vv + opened + gain_var * by_orders**2, ss + np.where(shaped, 0.0, opened) / BEGINS_S**2
    on_value, on_slope, on_gain = (
        np.where(known, np.divide(part, whole, out=np.full_like(vv, none), where=whole > 0.0), 0.0)
        for part, none in ((vv, 1.0), (vs, 0.0), (gain_var * by_orders, 0.0))
    )
    gain = np.clip(usual + on_gain * miss, LEAST_GAIN, 1.0 / LEAST_GAIN)
    found = replace(
        levels,
        value=np.where(first, sight.value, value + on_value * miss),
        slope=np.where(first, 0.0, fade * levels.slope + on_slope * miss),
        value_var=np.where(first, sight.noise**2, np.maximum(1.0 - on_value, 0.0) * vv),
        cross_var=np.where(first, 0.0, (1.0 - on_value) * vs),
        slope_var=np.where(first, (turns / 2.0) ** 2, np.maximum(ss - on_slope * vs, 0.0)),
        gain=gain,
        gain_var=np.where(first, doubt**2, np.maximum(gain_var - on_gain * gain_var * by_orders, 0.0)),
        surprise=np.where(first, 0.0, surprise),
        first_s=np.where(first, sight.at_s, levels.first_s),
        seen_s=np.where(fresh, sight.at_s, levels.seen_s),
    )
    return found, common


def _together(
    levels: Levels, common: Common, sight: Sight, miss: Float, spread: Float, known: Mask, by_orders: Float,
    doubt: float,
) -> tuple[Float, Common]:  # fmt: skip
    """What voltages have done together since the newest readings of the tick before."""
    if not known.any():
        return np.zeros(sight.m), common
    before = levels.seen_s[np.isfinite(levels.seen_s)].max()
    dt = max(float(sight.at_s[known].max() - before), 0.0)
    return together(common.aged(dt, doubt), sight, miss, spread, known, by_orders, dt, doubt)


def _opened(miss: Float, z: Float, surprise: Float, spread: Float) -> Float:
    """(m,) variance to add where readings show that something has happened that nobody foresaw."""
    opened = np.where(np.abs(z) > JUMP, miss**2, 0.0)
    lasting = np.abs(surprise) > SHIFT * _STEADY
    return np.where(lasting, np.maximum(opened, (surprise * spread) ** 2), opened)
