"""What is asked of the lanes and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Complex, Float
from gridflock.grid.lanes._plan import Reals
from gridflock.grid.lanes._states import StateTable
from gridflock.units import Mask, Pu, Rows

Spread = Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]
"""``map``, or the same of a pool of threads: compiled parts run without the interpreter's lock."""

TOLERANCE_PU = 1e-5
ROUNDS = 2
"""How often the lanes left over are tried again around base points of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """Scenarios as shared multipliers of constant injections: ``p·shapes[p_shape] + j·q·shapes[q_shape]``.

    Attributes:
        s_kva: complex (P,) injection of each port, house sign.
        p_shape: (P,) row of ``shapes`` for the active power.
        q_shape: (P,) row for the reactive power.
        shapes: (K, S) multipliers.
    """

    s_kva: Complex
    p_shape: Rows
    q_shape: Rows
    shapes: Float

    def mean_kva(self) -> Complex:
        """Complex (P,) mean injection over the scenarios."""
        return self._scaled(self.shapes.mean(axis=1))

    def total_kw(self) -> Float:
        """(S,) sum of the active injections."""
        weight = np.bincount(self.p_shape, self.s_kva.real, len(self.shapes))
        total: Float = weight @ self.shapes
        return total

    def some(self, rows: NDArray[np.int64]) -> Shaped:
        """The scenarios ``rows`` alone."""
        return Shaped(self.s_kva, self.p_shape, self.q_shape, self.shapes[:, rows])

    def dense(self) -> Complex:
        """Complex (S, P) kVA, written out."""
        p = self.s_kva.real[:, None] * self.shapes[self.p_shape]
        written: Complex = (p + 1j * self.s_kva.imag[:, None] * self.shapes[self.q_shape]).T
        return written

    def _scaled(self, each: Float) -> Complex:
        scaled: Complex = self.s_kva.real * each[self.p_shape] + 1j * self.s_kva.imag * each[self.q_shape]
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class LaneFlows:
    """Flows of S scenarios over n nodes. A scenario that is not converged has no voltage: NaN.

    Attributes:
        converged: (S,) only then is the rest an answer.
        iterations: (S,) of its block of lanes.
        residual_kva: (S,) largest miss of a port's current against the law at the final voltages, times
            the voltage across the port.
        low_pu: (S,) lowest voltage of a node that is not hidden.
        high_pu: (S,) highest.
        v_pu: (S, n) every node voltage; without rows if not asked for.
        v: complex (S, c) V at the chosen nodes.
        node_low_pu: (n,) lowest voltage of each node over the converged scenarios; empty without a band.
        node_high_pu: (n,) highest.
        below: (n,) how many converged scenarios leave the node below the band.
        above: (n,) how many above.
    """

    converged: Mask
    iterations: Rows
    residual_kva: Float
    low_pu: Pu
    high_pu: Pu
    v_pu: Pu
    v: Complex
    node_low_pu: Pu
    node_high_pu: Pu
    below: NDArray[np.int64]
    above: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What to solve for and what to keep of the answers.

    Attributes:
        tol: estimated distance to the exact answer at which a lane may stop, pu.
        v_pu: keep every node voltage of every scenario.
        nodes: keep the complex voltage of these nodes.
        band: low and high pu: keep each node's extremes and how often it leaves the band.
        spread: ``map`` or that of a pool of threads.
        parts: how many calls to spread over.
        rounds: how often lanes left over are tried around new base points.
        room: aligned memory for ``v_pu`` from ``Lanes.room``, to be used again from call to call.
    """

    tol: float = TOLERANCE_PU
    v_pu: bool = False
    nodes: tuple[int, ...] = ()
    band: tuple[float, float] | None = None
    spread: Spread = map
    parts: int = 1
    rounds: int = ROUNDS
    room: Reals | None = None


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Control states of the tail per scenario.

    Attributes:
        of: (S,) row of ``delta_y``.
        delta_y: complex (states, T, T) change of the admittance between the tail's nodes against the
            circuit's, S, in the order in which the tail was given; or a table from ``Lanes.table``, whose
            states are factored once for all calls.
    """

    of: Rows
    delta_y: Complex | StateTable
