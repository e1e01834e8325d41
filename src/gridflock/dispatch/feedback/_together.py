"""What a feeder's voltages do together: a few shapes, each with a level and a slope of its own.

Load that grows, a cloud, a step of the substation's taps: many voltages move by less than one meter's error,
and all meters together show it at once. Each shape's coordinate is followed by a filter of level and slope
(Kalman, "A new approach to linear filtering and prediction problems", J. Basic Engineering 82, 1960); its
level is added to the rows', so that none is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.dispatch.feedback._sight import Float, Sight
from gridflock.units import Mask

RIDGE = 1e-9
FADES_S = 120.0
"""A slope loses most of itself in so long unless readings go on to show it."""
TURNS_S = 5.0
"""A slope as steep as the usual drift may come about in so long."""
BEGINS_S = 4.0
"""A jump may be the begin of a slope that would have made it in so long."""
SHARED = 4.5
"""Standard deviations beyond which a shift along a shape is no noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """What is believed of k shapes of m rows.

    Attributes:
        slope: (m,) change of each row by itself per second along the shapes.
        var: (3, k) of each shape's coordinate: variance of the level, covariance of both, variance of the
            slope.
    """

    slope: Float
    var: Float

    @classmethod
    def none(cls, m: int) -> Common:
        """Nothing read yet."""
        return cls(np.zeros(m), np.zeros((3, 0)))


def shared(
    common: Common, sight: Sight, miss: Float, spread: Float, known: Mask, by_orders: Float, dt: float
) -> tuple[Float, Common]:
    """How far all rows have moved along the feeder's shapes, and what is believed of these then.

    Args:
        common: before.
        sight: rows, their noise, drift and shapes.
        miss: (m,) readings less what was expected.
        spread: (m,) standard deviation of that.
        known: (m,) rows with both.
        by_orders: (m,) error that orders may have added since the reading before.
        dt: seconds since then.

    Returns:
        (m,) shift, of rows without a reading too.
    """
    modes = sight.effects.modes
    rows = known & (spread > 0.0) & modes.any(axis=1)
    if not rows.any():
        return np.zeros(sight.m), common
    wander, noise = usual(sight)
    vv, vs, ss = common.var if common.var.shape[1] == len(wander) else _begun(wander, noise)
    fade = np.exp(-dt / FADES_S)
    vv = vv + dt * (2.0 * vs + dt * ss + wander**2) + (modes.T @ by_orders) ** 2
    vs, ss = fade * (vs + dt * ss), fade**2 * ss + (wander / TURNS_S) ** 2 * dt
    b = modes[rows] / spread[rows, None]
    told, pull = b.T @ b, b.T @ (miss[rows] / spread[rows])
    told[np.diag_indices(len(told))] += RIDGE * np.trace(told) / len(told)
    inverse = np.linalg.inv(told)
    alone, error = inverse @ pull, np.diag(inverse)
    opened = np.where(np.abs(alone) > SHARED * np.sqrt(error + vv), alone**2, 0.0)
    vv, ss = vv + opened, ss + opened / BEGINS_S**2
    size = np.linalg.solve(told + np.diag(1.0 / np.maximum(vv, 1e-24)), pull)
    slope = fade * (modes.T @ common.slope) + np.divide(vs, vv, out=np.zeros_like(vv), where=vv > 0.0) * size
    kept = error / (error + vv)
    after = np.stack([kept * vv, kept * vs, np.maximum(ss - vs**2 / (error + vv), 0.0)])
    return modes @ size, Common(modes @ slope, after)


def usual(sight: Sight) -> tuple[Float, Float]:
    """(k,) how far each shape's coordinate wanders in a second, and the noise of one look at it."""
    squares = sight.effects.modes**2
    wide = np.maximum((squares**2).sum(axis=0), 1e-12)
    return np.sqrt(squares.T @ sight.drift**2 / wide), np.sqrt(squares.T @ sight.noise**2)


def _begun(wander: Float, noise: Float) -> Float:
    return np.stack([noise**2, np.zeros_like(noise), (wander / 2.0) ** 2])
