"""Block LDU of a nodal matrix of real 2×2 blocks, without any exchange of rows.

Unknowns per node are the real and imaginary part of its voltage, equations those of its current.
The pivot is a node's whole block, inverted by its determinant: a scalar pivot inside the block would
be a conductance or a susceptance alone, and either may vanish while the block is perfectly regular.
With ``J = (I + G·D⁻¹)·D·(I + U)``, G strictly lower and U strictly upper, both on one symmetric
pattern, a solution is ``z = b − G·(D⁻¹·z)`` downwards, then ``x = D⁻¹·z − U·x`` upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._compiled import exact
from gridflock.grid.lanes._order import Order
from gridflock.units import Rows

Blocks = NDArray[np.float64]
"""(k, 4) 2×2 blocks by rows: a b / c d."""
Block = tuple[float, float, float, float]
Matrix = tuple[Rows, Rows, NDArray[np.float64]]
"""CSR row starts, columns and blocks, in node order."""
Positions = tuple[Rows, Rows, int]
"""Node of each position, position of each node, first position of the tail."""
Starts = tuple[Rows, Rows, Rows, Rows]
"""Starts and columns of the lower rows, of the upper rows."""
Factors = tuple[Blocks, Blocks, Blocks, NDArray[np.float64]]
"""G, D⁻¹, U and what is left at the tail: filled in."""


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The three factors.

    Attributes:
        order: their pattern.
        lower: (nnz, 4) G by rows, the lower factor times the pivot.
        pivot_inverse: (n, 4) D⁻¹.
        upper: (nnz, 4) U by rows, unit upper factor.
        tail: (T, T, 4) what is left of the matrix at the tail once all other nodes are gone.
        regular: no pivot vanished.
    """

    order: Order
    lower: Blocks
    pivot_inverse: Blocks
    upper: Blocks
    tail: NDArray[np.float64]
    regular: bool

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for one right side (n, 2) in node order; returns (n, 2) in node order."""
        o = self.order
        x = np.ascontiguousarray(right[o.node])
        pattern = (o.lower_start, o.lower, o.upper_start, o.upper)
        substitute(x, (self.lower, self.pivot_inverse, self.upper, self.tail), pattern)
        solution: NDArray[np.float64] = x[o.position]
        return solution


def factor(order: Order, start: Rows, column: Rows, blocks: Blocks) -> Factor:
    """Factor the matrix given as CSR of 2×2 blocks in node order.

    Args:
        order: made for this pattern.
        start: (n+1,) row starts.
        column: (nnz,) nodes.
        blocks: (nnz, 4) values.
    """
    lower = np.zeros((len(order.lower), 4))
    upper = np.zeros((len(order.upper), 4))
    inverse = np.zeros((len(order.node), 4))
    size = len(order.node) - order.loop
    tail = np.zeros((size, size, 4))
    regular = factor_into(
        (start, column, blocks),
        (order.node, order.position, order.loop),
        (order.lower_start, order.lower, order.upper_start, order.upper),
        (lower, inverse, upper, tail),
    )
    return Factor(order, lower, inverse, upper, tail, bool(regular))


@exact
def _product(a: Blocks, i: int, b: Blocks, j: int) -> Block:
    return (
        a[i, 0] * b[j, 0] + a[i, 1] * b[j, 2],
        a[i, 0] * b[j, 1] + a[i, 1] * b[j, 3],
        a[i, 2] * b[j, 0] + a[i, 3] * b[j, 2],
        a[i, 2] * b[j, 1] + a[i, 3] * b[j, 3],
    )


@exact
def _subtract(w: Blocks, k: int, p: Block) -> None:
    w[k, 0] -= p[0]
    w[k, 1] -= p[1]
    w[k, 2] -= p[2]
    w[k, 3] -= p[3]


@exact
def _invert(w: Blocks, q: int, inverse: Blocks) -> bool:
    """``inverse[q] = w[q]⁻¹`` by the determinant; False where that is zero or not a number."""
    scale = 1.0 / (w[q, 0] * w[q, 3] - w[q, 1] * w[q, 2])
    inverse[q, 0] = w[q, 3] * scale
    inverse[q, 1] = -w[q, 1] * scale
    inverse[q, 2] = -w[q, 2] * scale
    inverse[q, 3] = w[q, 0] * scale
    return bool(np.isfinite(scale))


@exact
def _take(w: Blocks, q: int, block: Blocks, e: int) -> None:
    """Move a block out of the work row."""
    for k in range(4):
        block[e, k] = w[q, k]
        w[q, k] = 0.0


@exact
def factor_into(matrix: Matrix, positions: Positions, pattern: Starts, factors: Factors) -> bool:
    """Row by row: a dense work row takes the matrix's blocks and loses what earlier rows explain."""
    node, _, loop = positions
    lower_start, lower_column, upper_start, upper_column = pattern
    lower, inverse, upper, tail = factors
    n = len(node)
    w = np.zeros((n, 4))
    regular = True
    for q in range(n):
        _open_row(matrix, positions, q, w)
        for e in range(lower_start[q], lower_start[q + 1]):
            if lower_column[e] >= loop and (e == lower_start[q] or lower_column[e - 1] < loop):
                tail[q - loop] = w[loop:]
            _explain(w, lower_column[e], upper_start, upper_column, upper)
        if q >= loop and (
            lower_start[q] == lower_start[q + 1] or lower_column[lower_start[q + 1] - 1] < loop
        ):
            tail[q - loop] = w[loop:]
        regular &= _invert(w, q, inverse)
        for e in range(lower_start[q], lower_start[q + 1]):
            _take(w, lower_column[e], lower, e)
        for e in range(upper_start[q], upper_start[q + 1]):
            _set(upper, e, _product(inverse, q, w, upper_column[e]))
        _close_row(pattern, q, w)
    return regular


@exact
def _open_row(matrix: Matrix, positions: Positions, q: int, w: Blocks) -> None:
    start, column, blocks = matrix
    node, position, _ = positions
    for e in range(start[node[q]], start[node[q] + 1]):
        at = position[column[e]]
        for k in range(4):
            w[at, k] += blocks[e, k]


@exact
def _close_row(pattern: Starts, q: int, w: Blocks) -> None:
    for e in range(pattern[2][q], pattern[2][q + 1]):
        _set(w, pattern[3][e], (0.0, 0.0, 0.0, 0.0))
    _set(w, q, (0.0, 0.0, 0.0, 0.0))


@exact
def _set(w: Blocks, k: int, p: Block) -> None:
    w[k, 0], w[k, 1], w[k, 2], w[k, 3] = p


@exact
def _explain(w: Blocks, r: int, upper_start: Rows, upper_column: Rows, upper: Blocks) -> None:
    for u in range(upper_start[r], upper_start[r + 1]):
        _subtract(w, upper_column[u], _product(w, r, upper, u))


@exact
def substitute(x: Blocks, factors: Factors, pattern: Starts) -> None:
    """Solve for one right side (n, 2) by position, in place."""
    lower, inverse, upper, _ = factors
    lower_start, lower_column, upper_start, upper_column = pattern
    n = len(x)
    for q in range(n):
        a, b = x[q, 0], x[q, 1]
        for e in range(lower_start[q], lower_start[q + 1]):
            r = lower_column[e]
            a -= lower[e, 0] * x[r, 0] + lower[e, 1] * x[r, 1]
            b -= lower[e, 2] * x[r, 0] + lower[e, 3] * x[r, 1]
        x[q, 0] = inverse[q, 0] * a + inverse[q, 1] * b
        x[q, 1] = inverse[q, 2] * a + inverse[q, 3] * b
    for q in range(n - 1, -1, -1):
        for e in range(upper_start[q], upper_start[q + 1]):
            r = upper_column[e]
            x[q, 0] -= upper[e, 0] * x[r, 0] + upper[e, 1] * x[r, 1]
            x[q, 1] -= upper[e, 2] * x[r, 0] + upper[e, 3] * x[r, 1]
