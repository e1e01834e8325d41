"""What a feeder's voltages do together: a few shapes, each with a level and a slope of its own.

Load that grows, a cloud, a step of the substation's taps: many voltages move by less than one meter's error,
and all meters together show it at once. Each shape's coordinate is followed by a filter of level and slope
(Kalman, "A new approach to linear filtering and prediction problems", J. Basic Engineering 82, 1960); its
level is added to the rows', so that none is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.dispatch.feedback._sight import Float, Quantity, Sight
from gridflock.units import Mask

RIDGE = 1e-9
FADES_S = 120.0
"""A slope loses most of itself in so long unless readings go on to show it."""
TURNS_S = 5.0
"""A slope as steep as the usual drift may come about in so long."""
BEGINS_S = 4.0
"""A jump may be the begin of a slope that would have made it in so long."""
DOUBTED_S, LEAST_GAIN = 30.0, 0.6
"""What has been learnt of sensitivities is doubted again after so long, and never believed beyond: a
gain learnt far too low, from something else that happened, would have every correction overshoot."""
ALONE = 0.1
"""What orders do along one shape may be wrong by such a part beside what is wrong with all of them."""
SHARED = 4.5
"""Standard deviations beyond which a shift along a shape is no noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What is believed of k shapes of m rows.

    Attributes:
        slope: (m,) change of each row by itself per second along the shapes.
        var: (3, k) of each shape's coordinate: variance of the level, covariance of both, variance of the
            slope.
        gain: (3,) what orders do to all rows of a ``Quantity``, as a part of what sensitivities say.
        gain_var: (3,) variance of that; NaN before the first look.
    """

    slope: Float
    var: Float
    gain: Float
    gain_var: Float

    @classmethod
    def none(cls, m: int) -> Common:
        """Nothing read yet."""
        return cls(np.zeros(m), np.zeros((3, 0)), np.ones(3), np.full(3, np.nan))

    def aged(self, dt: float, doubt: float) -> Common:
        """The same later: what was learnt of the gain is doubted again."""
        gain = 1.0 + (self.gain - 1.0) * np.exp(-dt / FADES_S)
        return replace(self, gain=gain, gain_var=np.fmin(self.gain_var + doubt**2 * dt / DOUBTED_S, doubt**2))


def together(
    common: Common,
    sight: Sight,
    miss: Float,
    spread: Float,
    known: Mask,
    by_orders: Float,
    dt: float,
    doubt: float,
) -> tuple[Float, Common]:
    """What rows have done together, and what is believed of that then.

    Args:
        common: before, aged to now.
        sight: rows, their noise, drift and shapes.
        miss: (m,) readings less what was expected.
        spread: (m,) standard deviation of that.
        known: (m,) rows with both.
        by_orders: (m,) what orders should have done since the reading before.
        dt: seconds since then.
        doubt: error of the sensitivities, as a part of an effect.

    Returns:
        (m,) shift of what was expected, of rows without a reading too.
    """
    shift, common = _shaped(common, sight, miss, spread, known, by_orders, dt, doubt)
    plain = known & (spread > 0.0) & (sight.quantity == Quantity.CURRENT)
    if not plain.any():
        return shift, common
    b, doubt = by_orders[plain] / spread[plain], max(float(common.gain_var[Quantity.CURRENT]), 1e-12)
    sure = float(b @ b) + 1.0 / doubt
    more = float(b @ (miss[plain] / spread[plain])) / sure
    gain, gain_var = common.gain.copy(), common.gain_var.copy()
    gain[Quantity.CURRENT] = np.clip(gain[Quantity.CURRENT] + more, LEAST_GAIN, 1.0 / LEAST_GAIN)
    gain_var[Quantity.CURRENT] = 1.0 / sure
    shift = np.where(plain, more * by_orders, shift)
    return shift, replace(common, gain=gain, gain_var=gain_var)


def _shaped(
    common: Common,
    sight: Sight,
    miss: Float,
    spread: Float,
    known: Mask,
    by_orders: Float,
    dt: float,
    doubt: float,
) -> tuple[Float, Common]:
    """How far voltages have moved along the feeder's shapes.

    That sensitivities are all too large or all too small looks like a shape. What was ordered tells both
    apart: they are weighed together, each by what is usual of it.
    """
    modes = sight.effects.modes
    rows = known & (spread > 0.0) & modes.any(axis=1)
    if not rows.any():
        return np.zeros(sight.m), common
    wander, noise = usual(sight)
    vv, vs, ss = common.var if common.var.shape[1] == len(wander) else _begun(wander, noise)
    fade = np.exp(-dt / FADES_S)
    ordered = np.where(modes.any(axis=1), by_orders, 0.0)
    of_shapes = (modes.T @ ordered) ** 2
    vv = vv + dt * (2.0 * vs + dt * ss + wander**2) + ALONE**2 * of_shapes
    vs, ss = fade * (vs + dt * ss), fade**2 * ss + (wander / TURNS_S) ** 2 * dt
    columns = np.column_stack([modes, ordered])
    b = columns[rows] / spread[rows, None]
    told, pull = b.T @ b, b.T @ (miss[rows] / spread[rows])
    k = len(wander)
    ridge = RIDGE * np.trace(told[:k, :k]) / k
    told[np.diag_indices(k)] += ridge
    inverse = np.linalg.inv(told[:k, :k])
    alone, error = inverse @ pull[:k], np.diag(inverse)
    doubted = error + vv + doubt**2 * of_shapes
    opened = np.where(np.abs(alone) > SHARED * np.sqrt(doubted), alone**2, 0.0)
    vv, ss = vv + opened, ss + opened / BEGINS_S**2
    prior = np.append(1.0 / np.maximum(vv, 1e-24), 1.0 / max(float(common.gain_var[Quantity.VOLTAGE]), 1e-12))
    after = np.linalg.inv(told + np.diag(prior))
    size, left = after @ pull, np.diag(after)
    slope = (
        fade * (modes.T @ common.slope) + np.divide(vs, vv, out=np.zeros_like(vv), where=vv > 0.0) * size[:k]
    )
    kept = np.divide(left[:k], vv, out=np.ones_like(vv), where=vv > 0.0)
    var = np.stack([left[:k], kept * vs, np.maximum(ss - (1.0 - kept) * vs**2 / np.maximum(vv, 1e-24), 0.0)])
    gain, gain_var = common.gain.copy(), common.gain_var.copy()
    gain[Quantity.VOLTAGE] = np.clip(gain[Quantity.VOLTAGE] + size[k], LEAST_GAIN, 1.0 / LEAST_GAIN)
    gain_var[Quantity.VOLTAGE] = left[k]
    return columns @ size, Common(modes @ slope, var, gain, gain_var)


def usual(sight: Sight) -> tuple[Float, Float]:
    """(k,) how far each shape's coordinate wanders in a second, and the noise of one look at it."""
    squares = sight.effects.modes**2
    wide = np.maximum((squares**2).sum(axis=0), 1e-12)
    return np.sqrt(squares.T @ sight.drift**2 / wide), np.sqrt(squares.T @ sight.noise**2)


def _begun(wander: Float, noise: Float) -> Float:
    return np.stack([noise**2, np.zeros_like(noise), (wander / 2.0) ** 2])
