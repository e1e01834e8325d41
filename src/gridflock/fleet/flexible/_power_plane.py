"""Active and reactive power a group can give together at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.fleet._columns import Image
from gridflock.fleet._reactive import REACTIVE_SHARE
from gridflock.fleet.flexible._compiled import Array
from gridflock.schema import INVERTERS
from gridflock.units import Kvar, Kw, Rows


@dataclass(frozen=True, slots=True, eq=False)
class PowerPlane:
    """A polygon of P and Q from inside: each point of it is delivered by a mix of its corners.

    Member i gives any point of its disc ``p² + q² <= s²`` cut at its active bounds and at the reactive
    share of its rating. A corner is the sum of the members' furthest points in one direction; the
    polygon is thus inside the Minkowski sum and touches it in every direction asked.

    Attributes:
        rows: int32 (m,).
        p_kw: (K,) corners, counter-clockwise.
        q_kvar: (K,).
        members_p_kw: (m, K) each member's part of each corner.
        members_q_kvar: (m, K).
    """

    rows: Rows
    p_kw: Array
    q_kvar: Array
    members_p_kw: Array
    members_q_kvar: Array

    def divide(self, p_kw: float, q_kvar: float) -> tuple[Kw, Kvar] | None:
        """(m,) powers of the members for a point of the polygon, or None for one outside."""
        weights = _weights(self.p_kw, self.q_kvar, p_kw, q_kvar)
        if weights is None:
            return None
        return self.members_p_kw @ weights, self.members_q_kvar @ weights


def _weights(x: Array, y: Array, px: float, py: float) -> Array | None:
    """Weights of three corners of a convex polygon, the first among them, for a point inside."""
    ax, ay = x - x[0], y - y[0]
    bx, by, dx, dy = np.roll(ax, -1), np.roll(ay, -1), px - x[0], py - y[0]
    area = ax * by - ay * bx
    size = float(np.abs(area).max(initial=0.0))
    good = area > 1e-12 * max(size, 1e-300)
    u = np.divide(dx * by - dy * bx, area, out=np.full(len(x), -np.inf), where=good)
    v = np.divide(ax * dy - ay * dx, area, out=np.full(len(x), -np.inf), where=good)
    best = np.minimum(np.minimum(u, v), 1.0 - u - v)
    k = int(best.argmax())
    weights = np.zeros(len(x))
    if best[k] < -1e-9:
        return None
    weights[k], weights[(k + 1) % len(x)] = max(u[k], 0.0), max(v[k], 0.0)
    weights[0] += max(1.0 - weights.sum(), 0.0)
    mixed: Array = weights / weights.sum()
    return mixed


def power_plane(image: Image, rows: Rows, p_lo_kw: Kw, p_hi_kw: Kw, directions: int = 64) -> PowerPlane:
    """The polygon of a group whose members' active powers are bounded.

    Args:
        image: the process image.
        rows: int32 (m,) members.
        p_lo_kw: (m,) least injection of each now.
        p_hi_kw: (m,) most, not below.
        directions: K, in how many directions the sum is touched.
    """
    angle = 2.0 * np.pi * np.arange(directions) / directions
    along_p, along_q = np.cos(angle), np.sin(angle)
    s = image.columns["s_max_kva"][rows].astype(np.float64)
    able = np.isin(image.kind[rows], tuple(INVERTERS)) & (image.ready[rows] == 1)
    s = np.where(able, s, 0.0)
    # Active power comes first: where it exceeds the rating as given, there is no room beside it.
    low, high = np.asarray(p_lo_kw, np.float64), np.asarray(p_hi_kw, np.float64)
    low, high = (np.where(s > 0.0, np.clip(bound, -s, s), bound) for bound in (low, high))
    side = np.where(along_q >= 0.0, 1.0, -1.0) * (np.abs(along_q) > 1e-12)
    tops = REACTIVE_SHARE * s
    points = []
    for wish in (
        s[:, None] * along_p,
        low[:, None] + 0.0 * along_p,
        high[:, None] + 0.0 * along_p,
        _knee(s, tops)[:, None] * np.sign(along_p),
    ):
        p = np.clip(wish, low[:, None], high[:, None])
        beside = np.sqrt(np.maximum(s[:, None] ** 2 - p**2, 0.0))
        points.append((p, side * np.minimum(beside, tops[:, None])))
    value = np.array([p * along_p + q * along_q for p, q in points])
    chosen = value.argmax(axis=0)[None]
    p = np.take_along_axis(np.array([p for p, _ in points]), chosen, axis=0)[0]
    q = np.take_along_axis(np.array([q for _, q in points]), chosen, axis=0)[0]
    return PowerPlane(rows, p.sum(axis=0), q.sum(axis=0), p, q)


def _knee(s: Array, tops: Array) -> Array:
    """Active power at which the disc meets the reactive limit."""
    knee: Array = np.sqrt(np.maximum(s**2 - tops**2, 0.0))
    return knee
