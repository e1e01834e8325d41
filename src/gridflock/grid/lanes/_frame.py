"""A network laid out for lanes, and a base point on it: factored, packed, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from gridflock.grid.lanes import _plain
from gridflock.grid.lanes._circuit import Circuit, Complex, Float
from gridflock.grid.lanes._fit import Classes
from gridflock.grid.lanes._plan import Layout, Packed
from gridflock.grid.lanes._point import Pattern, Point, changed
from gridflock.grid.lanes._simd import width
from gridflock.grid.lanes._tail import Elimination, square
from gridflock.units import Rows

PROOF_LIMIT_PU = 2e-5
FACTOR_LIMIT = 1e-3
"""Relative, of the packed factors: a voltage changes by some per cent, so this is below the tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What all base points of one network share.

    Attributes:
        circuit: the network.
        dtype: of the lanes.
        tail: (T,) nodes whose admittances may differ between scenarios.
        plain: plain loops instead of vectors.
        pattern: elimination order and the admittances in it.
        laws: load laws as the kernel evaluates them.
        steps: elimination of the tail.
        layout: what every base point packs alike.
    """

    circuit: Circuit
    dtype: np.dtype[np.floating]
    tail: Rows
    plain: bool
    pattern: Pattern
    laws: Classes
    steps: Elimination
    layout: Layout

    @property
    def width(self) -> int:
        """Lanes side by side."""
        return _plain.LANES if self.plain else width(self.dtype)

    def changed(self, change: Complex) -> Frame:
        """The frame with complex (E,) added to the admittances of the tail's entries, S."""
        n, nodes, delta_y = len(self.circuit.v_base), self.tail, square(self.steps, change)
        where = np.repeat(nodes, len(nodes)), np.tile(nodes, len(nodes))
        added = sparse.csc_matrix((delta_y.reshape(-1), where), shape=(n, n))
        circuit = replace(self.circuit, y=(self.circuit.y + added).tocsc())
        return replace(self, circuit=circuit, pattern=changed(self.pattern, nodes, delta_y))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Anchor:
    """A base point with everything the kernel needs.

    Attributes:
        frame: the network, at the control state of the base point.
        change: complex (E,) that control state by the tail's entries, against the circuit's, S.
        base: the operating point; the rest is of use only if it was found.
        packed: the plan of the kernel.
        factor_error: largest relative difference of the packed factors from the float64 ones.
        proof_pu: largest error of a lane away from the base point against Newton's method in float64.
        truths: (n,) what that found, by how far away the lane was: V, NaN where it found nothing.
    """

    frame: Frame
    change: Complex
    base: Point
    packed: Packed
    factor_error: float
    proof_pu: float
    truths: dict[float, Float]

    @property
    def ready(self) -> bool:
        """Whether the base point was found and its packed form reproduces what float64 finds."""
        exact = self.factor_error <= FACTOR_LIMIT and self.proof_pu <= PROOF_LIMIT_PU
        return bool(self.base.solved and exact)
