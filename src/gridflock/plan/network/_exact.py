"""The exact power flow of every step of the day under a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.grid import Batch, ControlState, Network
from gridflock.grid._admittance import admittance
from gridflock.grid._network import Complex, Float
from gridflock.grid.lanes import Wanted
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
    """The power flow of a feeder's day in lanes of double precision, every step at its own taps.

    Attributes:
        conductors: (c,) rows of ``branch_blocks`` with a rated current, on live nodes.
    """

    def __init__(self, feeder: Feeder) -> None:
        network = feeder.network
        still = np.zeros(feeder.pairs, dtype=np.complex128)
        mean = np.append(feeder.load_kva.mean(axis=0), still)
        self._feeder = feeder
        live = np.append(network.topology.live, np.False_)[network.branch_blocks.node]
        rated = np.isfinite(conductor_ratings(network)) & live
        self.conductors: Rows = np.flatnonzero(rated).astype(np.int32)
        rows = self.conductors
        self._parts = [_part(network, state, mean, steps, rows) for state, steps in feeder.stands()]
        self._nodes: Rows = np.arange(network.n, dtype=np.int32)

    def points(self, p_kw: Float, q_kvar: Float, *, sure: bool = True) -> Points:
        """Operating points under injections at the device ports.

        Args:
            p_kw: (k, T).
            q_kvar: (k, T).
            sure: what the lanes do not solve is asked of the reference flow before it counts as unsolved.
        """
        powers = self._feeder.powers(p_kw, q_kvar)
        v: Complex = np.empty((len(powers), self._feeder.network.n), dtype=np.complex128)
        wanted = Wanted(TOLERANCE_PU, nodes=tuple(self._nodes.tolist()))
        for part in self._parts:
            asked = powers[part.steps]
            if sure:
                v[part.steps] = part.batch.solve(asked, tol=TOLERANCE_PU, nodes=self._nodes).v
            else:
                v[part.steps] = part.batch.lanes.solve(asked, wanted).v
        return Points(v, self._limited(v))

    def or_idle(self, points: Points) -> Points:
        """Points with those of the feeder without any load where a step has no solution."""
        if points.solved.all():
            return points
        v = points.v.copy()
        for part in self._parts:
            v[part.steps] = np.where(points.solved[part.steps, None], v[part.steps], part.v_idle)
        return Points(v, self._limited(v))

    def currents(self, v: Complex) -> Complex:
        """Complex (T, all rows of ``branch_blocks``) currents at voltages (T, n), A."""
        amps: Complex = np.empty((len(v), len(self._feeder.network.branch_blocks.node)), dtype=np.complex128)
        for part in self._parts:
            amps[part.steps] = (part.through @ np.ascontiguousarray(v[part.steps].T)).T
        return amps

    def _limited(self, v: Complex) -> Complex:
        """Complex (T, c) currents into the limited conductors, A."""
        amps: Complex = np.empty((len(v), len(self.conductors)), dtype=np.complex128)
        for part in self._parts:
            amps[part.steps] = (part.limited @ np.ascontiguousarray(v[part.steps].T)).T
        return amps


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The steps at which taps and capacitors stand alike: flow, currents of all and of limited conductors."""

    steps: Rows
    batch: Batch
    through: sparse.csr_matrix
    limited: sparse.csr_matrix
    v_idle: Complex

    def solved(self, powers: Complex, nodes: Rows, *, sure: bool) -> Complex:
        """Voltages (.., n) under powers of all ports, NaN where none are found."""
        lanes = self.batch.lanes
        if sure or not lanes.ready:
            return self.batch.solve(powers, tol=TOLERANCE_PU, nodes=nodes).v
        return lanes.solve(powers, Wanted(tol=TOLERANCE_PU, nodes=tuple(nodes.tolist()))).v


def _part(network: Network, state: ControlState, mean_kva: Complex, steps: Rows, rows: Rows) -> _Part:
    idle = admittance(network, state)
    batch = Batch(network, state, mean_kva, dtype="float64")
    return _Part(steps, batch, idle.to_currents, idle.to_currents[rows], idle.v_idle)
