"""What stays the same from one estimate to the next: elimination order, patterns, the quiet nodes.

Nodes without port and measurement carry nothing but the network equations; they are ordered first
and eliminated once per control state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._admittance import Admittance
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid.estimation._blocks import (
    Blocks,
    Long,
    add_couplings,
    add_squares,
    eliminate,
    selected_inverse,
    squares,
    substitute,
    targets,
)
from gridflock.grid.lanes._order import Order, order
from gridflock.units import Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """k sparse vectors over the nodes, each entry a complex number: its real and imaginary part.

    Attributes:
        start: (k+1,) first entry of each.
        node: node of each entry.
        value: complex, per entry.
    """

    start: Rows
    node: Rows
    value: Complex

    @property
    def parts(self) -> Float:
        """(entries, 2) real and imaginary parts."""
        return self.value.view(np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The ordered matrix of one network, control state and set of places, quiet nodes eliminated.

    Attributes:
        order: elimination order and pattern.
        pair_start: first pair of each position.
        pair: entry where each elimination step falls.
        diag: (n, 4, 4) blocks after the quiet positions.
        off: (nnz, 4, 4).
    """

    order: Order
    pair_start: Long
    pair: Rows
    diag: Blocks
    off: Blocks


@dataclass(frozen=True, slots=True, eq=False)
class Factored:
    """A factored matrix of the estimator.

    Attributes:
        analysis: its pattern.
        diag: inverted pivots.
        off: unit upper factor.
    """

    analysis: Analysis
    diag: Blocks
    off: Blocks

    def solve(self, voltage_side: Complex, balance_side: Complex) -> tuple[Complex, Complex]:
        """Solve for right sides (n,) of the voltage rows and the balance rows."""
        o = self.analysis.order
        x = np.empty((len(voltage_side), 4))
        x[:, 0], x[:, 1] = voltage_side.real[o.node], voltage_side.imag[o.node]
        x[:, 2], x[:, 3] = balance_side.real[o.node], balance_side.imag[o.node]
        substitute(x, self.diag, self.off, o.upper_start, o.upper)
        x = x[o.position]
        return x[:, 0] + 1j * x[:, 1], x[:, 2] + 1j * x[:, 3]

    def inverse(self) -> Inverse:
        """The inverse within the pattern."""
        a = self.analysis
        o = a.order
        return Inverse(
            a, *selected_inverse(self.diag, self.off, o.upper_start, o.upper, a.pair_start, a.pair)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Inverse:
    """Blocks of the inverse within the pattern: covariance of the voltages, minus that of the multipliers."""

    analysis: Analysis
    diag: Blocks
    off: Blocks

    def voltage_variance(self, vectors: Vectors) -> Float:
        """(k,) variance of ``Σ Re(conj(h)·dv)``, dv per unit."""
        return self._squares(vectors, 0)

    def multiplier_variance(self, vectors: Vectors) -> Float:
        """(k,) the same form with the inverse of the balance covariance."""
        negative: Float = -self._squares(vectors, 2)
        return negative

    def _squares(self, vectors: Vectors, shift: int) -> Float:
        o = self.analysis.order
        place = o.position[vectors.node]
        found: Float = squares(
            self.diag, self.off, o.upper_start, o.upper, vectors.start, place, vectors.parts, shift
        )
        return found


def analyse(network: Network, matrix: Admittance, busy: Mask, links: NDArray[np.int32]) -> Analysis:
    """Order the nodes, find the patterns and eliminate the quiet nodes.

    Args:
        network: the feeder.
        matrix: its admittance at the control state.
        busy: (n,) nodes of ports, sources and measurements.
        links: (k, 2) nodes that ports and measurements couple beyond the admittance.

    Raises:
        numpy.linalg.LinAlgError: the network is singular.
    """
    y = sparse.coo_matrix(matrix.y)
    n = network.n
    both = np.concatenate([links, links[:, ::-1]])
    row, column = np.concatenate([y.row, y.col, both[:, 0]]), np.concatenate([y.col, y.row, both[:, 1]])
    pattern = sparse.csr_matrix((np.ones(len(row), dtype=np.int8), (row, column)), shape=(n, n))
    pattern.sum_duplicates()
    placed = order(
        pattern.indptr.astype(np.int32), pattern.indices.astype(np.int32), busy, np.empty(0, dtype=np.int32)
    )
    pair_start, pair = targets(placed.upper_start, placed.upper)
    diag, off = np.zeros((n, 4, 4)), np.zeros((len(placed.upper), 4, 4))
    scaled = y.data * network.v_base[y.row] * network.v_base[y.col] / 1000.0
    blocks = np.stack([scaled.real, -scaled.imag, scaled.imag, scaled.real], axis=1)
    add_couplings(
        diag, off, placed.upper_start, placed.upper, placed.position[y.row], placed.position[y.col], blocks
    )
    stuck = eliminate(diag, off, placed.upper_start, placed.upper, pair_start, pair, 0, placed.quiet)
    if stuck >= 0:
        raise np.linalg.LinAlgError(
            f"the network is singular at node {network.node_name(placed.node[stuck])}"
        )
    return Analysis(placed, pair_start, pair, diag, off)


def factor(
    analysis: Analysis,
    couplings: tuple[Rows, Rows, Float],
    precision: tuple[Vectors, Float],
    covariance: tuple[Vectors, Float],
) -> Factored | None:
    """Complete the matrix at one point and factor it; None if it is singular.

    Args:
        analysis: pattern and eliminated quiet nodes.
        couplings: row node, column node and 2×2 blocks (k, 4) of the ports' part of J.
        precision: vectors and weights of the measurements of voltage and flow (N).
        covariance: vectors and weights of the uncertain injections (C).
    """
    o = analysis.order
    diag, off = analysis.diag.copy(), analysis.off.copy()
    row, column, blocks = couplings
    add_couplings(diag, off, o.upper_start, o.upper, o.position[row], o.position[column], blocks)
    for (vectors, weight), shift in ((precision, 0), (covariance, 2)):
        signed = weight if shift == 0 else -weight
        place = o.position[vectors.node]
        add_squares(diag, off, o.upper_start, o.upper, vectors.start, place, vectors.parts, signed, shift)
    n = len(diag)
    if eliminate(diag, off, o.upper_start, o.upper, analysis.pair_start, analysis.pair, o.quiet, n) >= 0:
        return None
    return Factored(analysis, diag, off)
