"""The exact power flow of every step of the day under a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid import Batch
from gridflock.grid._admittance import admittance
from gridflock.grid._network import Complex, Float
from gridflock.grid.limits._terminals import conductor_ratings
from gridflock.plan.network._feeder import Feeder
from gridflock.units import Mask, Rows

TOLERANCE_PU = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Operating points of T steps; NaN where a step has no solution.

    Attributes:
        v: complex (T, n) node voltages, V.
        amps: complex (T, c) current into the limited conductors, A.
    """

    v: Complex
    amps: Complex

    @property
    def solved(self) -> Mask:
        """(T,) only there the rest is an answer."""
        solved: Mask = np.isfinite(self.v[:, 0])
        return solved


class Exact:
    """The power flow of a feeder's day in lanes of double precision.

    Attributes:
        conductors: (c,) rows of ``branch_blocks`` with a rated current, on live nodes.
    """

    def __init__(self, feeder: Feeder) -> None:
        network = feeder.network
        still = np.zeros(feeder.pairs, dtype=np.complex128)
        mean = np.append(feeder.load_kva.mean(axis=0), still)
        self._feeder = feeder
        self._batch = Batch(network, feeder.state, mean, dtype="float64")
        live = np.append(network.topology.live, np.False_)[network.branch_blocks.node]
        rated = np.isfinite(conductor_ratings(network)) & live
        self.conductors: Rows = np.flatnonzero(rated).astype(np.int32)
        idle = admittance(network, feeder.state)
        self._through, self._idle = idle.to_currents, idle.v_idle
        self._limited = self._through[self.conductors]
        self._nodes: Rows = np.arange(network.n, dtype=np.int32)

    def points(self, p_kw: Float, q_kvar: Float) -> Points:
        """Operating points under (k, T) injections at the device ports."""
        v = self._batch.solve(self._feeder.powers(p_kw, q_kvar), tol=TOLERANCE_PU, nodes=self._nodes).v
        return Points(v, np.ascontiguousarray((self._limited @ np.ascontiguousarray(v.T)).T))

    def or_idle(self, points: Points) -> Points:
        """Points with those of the feeder without any load where a step has no solution."""
        solved = points.solved[:, None]
        return Points(
            np.where(solved, points.v, self._idle), np.where(solved, points.amps, self._limited @ self._idle)
        )

    def currents(self, v: Complex) -> Complex:
        """Complex (T, all rows of ``branch_blocks``) currents at voltages (T, n), A."""
        amps: Complex = np.ascontiguousarray((self._through @ np.ascontiguousarray(v.T)).T)
        return amps
