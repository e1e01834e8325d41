"""Control states per lane: the tail's own factor for every distinct change of its admittances.

Regulator and capacitor nodes stand last in the elimination, so a tap changes only the Schur complement
that is left there. For each distinct state, ``S + ΔY`` is factored in float64 on the tail's pattern,
and the constant part of its answer, ``h = −(S + ΔY)⁻¹·ΔY·v̄``, is solved there too: it is large, and
only what the ports add to it is left to the lanes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Complex, Float
from gridflock.grid.lanes._compiled import exact
from gridflock.grid.lanes._ldu import Blocks, Matrix, Starts, factor_into, substitute
from gridflock.grid.lanes._point import Point
from gridflock.units import Rows


def tail_values(base: Point, tail: Rows, delta_y: Complex) -> Float:
    """Factor the tail at each control state.

    Args:
        base: the point the lanes are solved around, made at ΔY = 0.
        tail: (T,) nodes, as given when the elimination was ordered.
        delta_y: complex (states, T, T) change of Y between the tail's nodes, S.

    Returns:
        (states, 4·T + 4·lower + 4·upper + 2·T): D⁻¹, lower blocks times D⁻¹, upper blocks, and h.

    Raises:
        ValueError: a change between two nodes that the network does not couple.
    """
    o = base.factor.order
    size = len(tail)
    given = np.argsort(o.position[tail])
    start, column, where = _pattern(base)
    changed = delta_y[:, given[where // size], given[column]]
    if np.count_nonzero(changed) != np.count_nonzero(delta_y):
        raise ValueError("delta_y changes an admittance between tail nodes that nothing couples")
    blocks = np.stack([changed.real, -changed.imag, changed.imag, changed.real], axis=-1)
    blocks += base.factor.tail.reshape(-1, 4)[where]
    drawn = changed * base.v[o.node[o.loop :]][column]
    offset = np.add.reduceat(drawn, start[:-1], axis=1) if size else drawn
    right = -np.stack([offset.real, offset.imag], axis=-1)
    lower_start, lower, upper_start, upper = _rows(base)
    values = np.empty((len(delta_y), 6 * size + 4 * (len(lower) + len(upper))))
    _factor_states((start, column, blocks), (lower_start, lower, upper_start, upper), right, values)
    return values


def _rows(base: Point) -> tuple[Rows, Rows, Rows, Rows]:
    """Starts and columns of the tail's lower and upper rows, counted from the tail's first position."""
    o = base.factor.order
    size = len(o.node) - o.loop
    upper_start = (o.upper_start[o.loop :] - o.upper_start[o.loop]).astype(np.int32)
    upper = o.upper[o.upper_start[o.loop] :] - np.int32(o.loop)
    near = np.flatnonzero(o.lower >= o.loop)
    row = np.repeat(np.arange(len(o.node)), np.diff(o.lower_start))[near] - o.loop
    lower_start = np.searchsorted(row, np.arange(size + 1)).astype(np.int32)
    return lower_start, o.lower[near] - np.int32(o.loop), upper_start, upper


def _pattern(base: Point) -> tuple[Rows, Rows, NDArray[np.int64]]:
    """CSR of the tail's full pattern, and each entry's place in a dense square."""
    lower_start, lower, upper_start, upper = _rows(base)
    size = len(lower_start) - 1
    rows = np.arange(size)
    row = np.concatenate([np.repeat(rows, np.diff(lower_start)), rows, np.repeat(rows, np.diff(upper_start))])
    where = np.sort(row * size + np.concatenate([lower, rows, upper]))
    start = np.searchsorted(where, np.arange(size + 1) * size).astype(np.int32)
    return start, (where % size).astype(np.int32), where


@exact
def _factor_states(matrices: Matrix, pattern: Starts, right: Float, values: Float) -> None:
    start, column, blocks = matrices
    lower_start, lower_column, _, upper_column = pattern
    size = len(start) - 1
    identity = np.arange(size).astype(np.int32)
    lower = np.zeros((len(lower_column), 4))
    upper = np.zeros((len(upper_column), 4))
    inverse = np.zeros((size, 4))
    none = np.zeros((0, 0, 4))
    for k in range(len(blocks)):
        matrix = (start, column, blocks[k])
        factors = (lower, inverse, upper, none)
        factor_into(matrix, (identity, identity, size), pattern, factors)
        x = right[k].copy()
        substitute(x, factors, pattern)
        at = 4 * size
        values[k, :at] = inverse.reshape(-1)
        for q in range(size):
            for e in range(lower_start[q], lower_start[q + 1]):
                _scale(inverse, q, lower, e)
        values[k, at : at + 4 * len(lower)] = lower.reshape(-1)
        at += 4 * len(lower)
        values[k, at : at + 4 * len(upper)] = upper.reshape(-1)
        values[k, at + 4 * len(upper) :] = x.reshape(-1)


@exact
def _scale(inverse: Blocks, q: int, lower: Blocks, e: int) -> None:
    """Multiply a lower block by its row's D⁻¹."""
    a, b, c, d = lower[e, 0], lower[e, 1], lower[e, 2], lower[e, 3]
    lower[e, 0] = inverse[q, 0] * a + inverse[q, 1] * c
    lower[e, 1] = inverse[q, 0] * b + inverse[q, 1] * d
    lower[e, 2] = inverse[q, 2] * a + inverse[q, 3] * c
    lower[e, 3] = inverse[q, 2] * b + inverse[q, 3] * d
