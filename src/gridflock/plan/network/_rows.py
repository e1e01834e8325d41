"""The network's limits as rows over the columns of ports, linear around an anchor that is exact.

A voltage is one row: its magnitude. A current is a pair of rows, in phase and in quadrature with the
voltage beside it, as parts of what is allowed: its limit is a disc, so that reactive current is priced like
active. Every row is divided by the size of its sensitivities, so that it counts in kW and its dual is money
per kW and step. Rows that follow the columns alike (the legs of one service, the ends of one line) are one:
of voltages the narrowest box in each step counts, of currents the fullest disc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Float, Network
from gridflock.plan.devices._compiled import compiled
from gridflock.plan.network._derivatives import Derivatives, Matrix
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._verdict import Limits
from gridflock.units import Rows

Index = NDArray[np.int64]
ALIKE = 0.1
"""Distance between two scaled rows below which they are one: what follows is anchored in exact values."""
SHADOWS = 24
"""Random directions on which the distance between rows is estimated."""
SMALL = 128
"""Rows up to which a matrix is inverted at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Which limits are looked at: r nodes and b conductors, and what they have to keep in T steps.

    Attributes:
        nodes: (r,) node rows.
        at: (b,) rows of ``Exact.conductors``.
        low: (r, T) pu.
        high: (r, T) pu.
        most: (b, T) A.
    """

    nodes: Rows
    at: Index
    low: Float
    high: Float
    most: Float

    def values(self, network: Network, exact: Exact, points: Points) -> tuple[Float, Float]:
        """Exact values: (r, T) pu, and (2, b, T) parts of what is allowed, in phase and in quadrature."""
        volts = np.ascontiguousarray(np.abs(points.v[:, self.nodes]).T) / network.v_base[self.nodes, None]
        beside = points.v[:, network.branch_blocks.node[exact.conductors[self.at]]]
        turned = (points.amps[:, self.at] * np.conj(beside) / np.abs(beside)).T / self.most
        return volts, np.stack([turned.real, turned.imag])


def watched(nodes: Rows, at: Index, exact: Exact, limits: Limits) -> Watched:
    """Limits of some nodes and of some of the exact flow's conductors."""
    return Watched(
        nodes, at, limits.v_low_pu[:, nodes].T.copy(), limits.v_high_pu[:, nodes].T.copy(),
        limits.most_a[:, exact.conductors[at]].T.copy(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Scaled sensitivities of watched limits to C columns at one operating point, and which are one row.

    Attributes:
        volts: float32 (r, C) per kW or kvar, each row of length 1.
        amps: float32 (2, b, C) both rows together of length √2.
        size_v: (r,) pu per kW.
        size_i: (b,) part of what is allowed per kW; negative where the row was turned round.
        like_v: (r,) the voltage that stands for each.
        like_i: (b,) the current that stands for each.
    """

    volts: Matrix
    amps: Matrix
    size_v: Float
    size_i: Float
    like_v: Index
    like_i: Index


def slopes(of: Derivatives, kept: Watched, exact: Exact, active: Rows, reactive: Rows) -> Slopes:
    """Sensitivities of watched limits at an operating point."""
    volts, amps = of.rows(kept.nodes, exact.conductors[kept.at], active, reactive)
    amps /= kept.most.mean(axis=1)[None, :, None].astype(np.float32)
    size_v = np.maximum(np.sqrt(np.einsum("rc,rc->r", volts, volts)), 1e-12)
    size_i = np.maximum(np.sqrt(np.einsum("kbc,kbc->b", amps, amps) / 2.0), 1e-12)
    size_i *= np.where(amps[0, :, : len(active)].sum(axis=1) < 0.0, -1.0, 1.0)
    volts /= size_v[:, None]
    amps /= size_i[None, :, None]
    thrown = np.random.default_rng(7).normal(size=(volts.shape[1], SHADOWS)).astype(np.float32)
    like_v = _alike(volts @ thrown, ALIKE)
    like_i = _alike(np.concatenate([amps[0] @ thrown, amps[1] @ thrown], axis=1), ALIKE * 2.0)
    return Slopes(volts, amps, size_v.astype(np.float64), size_i.astype(np.float64), like_v, like_i)


@compiled
def _alike(shadow: Matrix, reach: float) -> Index:
    """(r,) for each row the first one whose shadow is near; itself where none is."""
    count, width = shadow.shape
    like = np.empty(count, np.int64)
    first = np.empty(count, np.int64)
    found, limit = 0, reach * reach * SHADOWS
    for i in range(count):
        like[i] = i
        for f in range(found):
            j = first[f]
            apart = 0.0
            for c in range(width):
                d = shadow[i, c] - shadow[j, c]
                apart += d * d
                if apart > limit:
                    break
            if apart <= limit:
                like[i] = j
                break
        if like[i] == i:
            first[found] = i
            found += 1
    return like


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """How far every row may move from the anchor, kW: (r, T) boxes and (b, T) discs, by watched limit.

    Those that stand for others hold the narrowest of them.

    Attributes:
        low: (r, T) least move.
        high: (r, T) most.
        place: (2, b, T) where the current stands.
        radius: (b, T) of its disc.
        who_low: (r, T) which watched voltage gave the least move.
        who_high: (r, T) the most.
        who_disc: (b, T) which watched current gave the disc.
    """

    low: Float
    high: Float
    place: Float
    radius: Float
    who_low: Index
    who_high: Index
    who_disc: Index


def sides(of: Slopes, low: Float, high: Float, place: Float, radius: Float) -> Sides:
    """Boxes and discs, rows that are one taken together.

    Args:
        of: sensitivities.
        low: (r, T) distance to the lower limit from the anchor, pu, usually negative.
        high: (r, T) to the upper.
        place: (2, b, T) current as parts of what is allowed.
        radius: (b, T) of the disc in the same parts.
    """
    size = np.abs(of.size_i)[:, None]
    low, high = low / of.size_v[:, None], high / of.size_v[:, None]
    place, radius = place / of.size_i[None, :, None], radius / size
    who_low = _fullest(of.like_v, low)
    who_high = _fullest(of.like_v, -high)
    who_disc = _fullest(of.like_i, np.hypot(place[0], place[1]) - radius)
    steps = np.arange(low.shape[1])
    return Sides(
        low[who_low, steps], high[who_high, steps], place[:, who_disc, steps], radius[who_disc, steps],
        who_low, who_high, who_disc,
    )  # fmt: skip


@compiled
def _fullest(like: Index, value: Float) -> Index:
    """(r, T) among the rows that one stands for, that of the largest value; at others themselves."""
    count, steps = value.shape
    who = np.empty((count, steps), np.int64)
    for i in range(count):
        for t in range(steps):
            who[i, t] = i
    for i in range(count):
        j = like[i]
        if j != i:
            for t in range(steps):
                if value[i, t] > value[who[j, t], t]:
                    who[j, t] = i
    return who


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """The rows in force, and what makes the step of the ports one product. R = r + 2b rows, C columns.

    Attributes:
        volts: (r,) which watched voltages, each standing for those like it.
        amps: (b,) which watched currents.
        a: float32 (R, C) voltages, currents in phase, currents in quadrature.
        weight: float32 (R,).
        agents: float32 (C,) N, how many deciders share each column.
        h: float32 (C, C) inverse of ``N⁻¹ + Aᵀ·W·A``: there are fewer columns than rows.
    """

    volts: Index
    amps: Index
    a: Matrix
    weight: Matrix
    agents: Matrix
    h: Matrix

    def step(self, e: Matrix) -> tuple[Matrix, Matrix]:
        """The best step of the ports where rows miss by ``e`` (R, T).

        Returns:
            (R, T) what is left of that, and (C, T) by how much less every decider of a column then does.
        """
        taken: Matrix = self.h @ self._gathered(e)
        left: Matrix = e - self.a @ taken
        taken /= self.agents[:, None]
        return left, taken

    def prices(self, s: Matrix) -> Matrix:
        """(C, T) scaled price of every column for scaled duals ``s`` (R, T)."""
        return -self._gathered(s)

    def _gathered(self, e: Matrix) -> Matrix:
        """(C, T) ``Aᵀ·W·e``."""
        gathered: Matrix = self.a.T @ (e * self.weight[:, None])
        return gathered


def system(of: Slopes, volts: Index, amps: Index, weight: tuple[Float, Float], agents: Float) -> System:
    """Factor the step of the ports.

    Args:
        of: sensitivities.
        volts: (r,) which of the watched voltages are in force.
        amps: (b,) which of the currents.
        weight: (r,) and (b,) of them.
        agents: (C,) how many deciders share each column.
    """
    a = np.concatenate([of.volts[volts], of.amps[0, amps], of.amps[1, amps]])
    w = np.concatenate([weight[0], weight[1], weight[1]]).astype(np.float32)
    b = a * np.sqrt(w)[:, None]
    gram = b.T @ b
    gram[np.diag_indices_from(gram)] += (1.0 / agents).astype(np.float32)
    return System(volts, amps, a, w, agents.astype(np.float32), _inverse(gram))


def _inverse(gram: Matrix) -> Matrix:
    """Inverse of a positive definite matrix."""
    root = _root(gram)
    found: Matrix = root.T @ root
    return found


def _root(gram: Matrix) -> Matrix:
    """``L⁻¹`` of ``gram = L·Lᵀ``, by halves: nearly all of it is products of matrices."""
    n = len(gram)
    if n <= SMALL:
        lower = np.linalg.cholesky(gram.astype(np.float64))
        small: Matrix = np.tril(np.linalg.inv(lower)).astype(np.float32)
        return small
    half = n // 2
    root = np.zeros_like(gram)
    root[:half, :half] = _root(gram[:half, :half])
    across = root[:half, :half] @ gram[:half, half:]
    root[half:, half:] = _root(gram[half:, half:] - across.T @ across)
    root[half:, :half] = root[half:, half:] @ (-across.T @ root[:half, :half])
    return root
