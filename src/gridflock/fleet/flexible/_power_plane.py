"""Active and reactive power a group can give together at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from gridflock.fleet._columns import Image
from gridflock.fleet._reactive import REACTIVE_SHARE
from gridflock.fleet.flexible._compiled import Array
from gridflock.schema import INVERTERS
from gridflock.units import Kvar, Kw, Rows

_OPTIMAL = 0


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
        corners = np.array([self.p_kw, self.q_kvar, np.ones(len(self.p_kw))])
        mixed = linprog(np.zeros(corners.shape[1]), A_eq=corners, b_eq=[p_kw, q_kvar, 1.0], method="highs")
        if mixed.status != _OPTIMAL:
            return None
        return self.members_p_kw @ mixed.x, self.members_q_kvar @ mixed.x


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
