"""The base point of the lanes: one operating point in float64, by Newton's method, and its factor.

``F(v) = Y·v − i_source − A·i(Aᵀv)`` with A from ports to nodes; the Jacobian ``J = Y − A·G·Aᵀ`` is
factored anew as long as steps are long, so the factor kept is that of the solution or next to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid.lanes._circuit import Circuit, Complex, Float
from gridflock.grid.lanes._law import currents, port_voltage
from gridflock.grid.lanes._ldu import Blocks, Factor, factor
from gridflock.grid.lanes._order import Order, order
from gridflock.units import Rows

MAX_STEPS = 20
GOOD_STEP_PU = 1e-6
"""A point whose last step is longer is no answer."""
GOOD_ENOUGH_PU = 1e-10
LONG_STEP_PU = 1e-3
"""After a longer step the Jacobian is made anew, and after one that is this part of the one before."""
SLOW = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Where the blocks of Y and of the ports stand in the Jacobian.

    Attributes:
        start: (n+1,) CSR row starts.
        column: (nnz,) nodes.
        blocks: (nnz, 4) Y as real 2×2 blocks.
        port_entry: (P, 4) entries ii, ij, ji, jj of each port; -1 where it ends at ground.
        order: elimination order.
    """

    start: Rows
    column: Rows
    blocks: Blocks
    port_entry: Rows
    order: Order


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """An operating point and the factored Jacobian there.

    Attributes:
        s_kva: complex (P,) injections.
        v: complex (n,) V.
        slopes: (P, 4) of the port currents, S.
        factor: of the Jacobian.
        solved: only then is ``v`` an answer.
    """

    s_kva: Complex
    v: Complex
    slopes: Blocks
    factor: Factor
    solved: bool


def pattern(circuit: Circuit, tail: Rows) -> Pattern:
    """Pattern of the Jacobian and its elimination order."""
    n = len(circuit.v_base)
    ends = circuit.port_nodes
    pair = np.stack([ends[:, [0, 0, 1, 1]], ends[:, [0, 1, 0, 1]]], axis=-1)
    there = (pair >= 0).all(axis=-1)
    rows, columns = pair[there].T
    coo = circuit.y.tocoo()
    every = (
        np.concatenate([coo.row, coo.col, rows, columns]),
        np.concatenate([coo.col, coo.row, columns, rows]),
    )
    shape = sparse.csr_matrix((np.ones(len(every[0])), every), shape=(n, n))
    shape.sort_indices()
    start, column = shape.indptr.astype(np.int32), shape.indices.astype(np.int32)
    key = np.repeat(np.arange(n, dtype=np.int64), np.diff(start)) * n + column
    at = np.searchsorted(key, coo.row.astype(np.int64) * n + coo.col)
    blocks = _real_blocks(len(column), at, coo.data)
    entry = np.full(there.shape, -1, dtype=np.int32)
    entry[there] = np.searchsorted(key, rows.astype(np.int64) * n + columns)
    injecting = np.zeros(n, dtype=np.bool_)
    injecting[ends[ends >= 0]] = True
    return Pattern(start, column, blocks, entry, order(start, column, injecting, tail))


def changed(shape: Pattern, nodes: Rows, delta_y: Complex) -> Pattern:
    """The pattern with its Y changed by complex (T, T) between some nodes that it couples already."""
    n = len(shape.start) - 1
    key = np.repeat(np.arange(n, dtype=np.int64), np.diff(shape.start)) * n + shape.column
    row, column = np.nonzero(delta_y)
    at = np.searchsorted(key, nodes[row].astype(np.int64) * n + nodes[column])
    return replace(shape, blocks=shape.blocks + _real_blocks(len(key), at, delta_y[row, column]))


def _real_blocks(count: int, at: NDArray[np.int64], values: Complex) -> Blocks:
    """(count, 4) real 2×2 blocks with complex values added at the entries ``at``."""
    blocks = np.zeros((count, 4))
    for k, part in enumerate((values.real, -values.imag, values.imag, values.real)):
        np.add.at(blocks[:, k], at, part)
    return blocks


def point(
    circuit: Circuit, shape: Pattern, s_kva: Complex, start: Complex | None = None, near: Point | None = None
) -> Point:
    """Solve one operating point.

    A factor serves until a step is too long for it; the last steps to the answer need no new one.

    Args:
        circuit: the network.
        shape: of its Jacobian.
        s_kva: complex (P,) injections.
        start: complex (n,) V to begin at; the idle network's where None.
        near: a point to begin at instead, whose factor takes the first step.
    """
    slopes = np.zeros((len(s_kva), 4))
    made, v, own = None if near is None else near.factor, start if near is None else near.v, False
    if v is None:
        idle = factor(shape.order, shape.start, shape.column, shape.blocks)
        v = _planes_to_complex(idle.solve(_planes(circuit.i_source)))
    step, due = np.inf, near is None
    with np.errstate(all="ignore"):
        for _ in range(MAX_STEPS):
            before = step
            miss, now = _miss(circuit, s_kva, v)
            if made is None or due:
                slopes, own = now, True
                made = factor(shape.order, shape.start, shape.column, _jacobian(shape, slopes))
            move = _planes_to_complex(made.solve(_planes(miss)))
            v = v - move
            step = float((np.abs(move) / circuit.v_base).max(initial=0.0))
            if not np.isfinite(step) or (own and _arrived(step, before)):
                break
            due = not own or step > min(LONG_STEP_PU, SLOW * before)
    assert made is not None
    return Point(s_kva, v, slopes, made, bool(step < GOOD_STEP_PU and made.regular and own))


def _arrived(step: float, before: float) -> bool:
    """Whether what the next steps would still change is nothing, or rounding."""
    remaining = step * step / before
    return step < GOOD_STEP_PU and (remaining < GOOD_ENOUGH_PU or step > 0.1 * before or step == 0.0)


def _jacobian(shape: Pattern, slopes: Blocks) -> Blocks:
    blocks = shape.blocks.copy()
    for k, sign in enumerate((-1.0, 1.0, 1.0, -1.0)):
        there = shape.port_entry[:, k] >= 0
        np.add.at(blocks, shape.port_entry[there, k], sign * slopes[there])
    return blocks


def _miss(circuit: Circuit, s_kva: Complex, v: Complex) -> tuple[Complex, Blocks]:
    """Current missing at each node, complex (n,) A, and the slopes of the ports."""
    current, slopes = currents(circuit, s_kva, port_voltage(circuit, v))
    total = np.zeros(len(v) + 1, dtype=np.complex128)
    np.add.at(total, circuit.port_nodes[:, 0], current)
    np.subtract.at(total, circuit.port_nodes[:, 1], current)
    return circuit.y @ v - circuit.i_source - total[:-1], slopes


def miss_kva(circuit: Circuit, s_kva: Complex, v: Complex) -> float:
    """Largest miss of Kirchhoff's current law at a node times its voltage, kVA."""
    miss, _ = _miss(circuit, s_kva, v)
    return float(np.abs(miss * v).max()) / 1000.0


def _planes(values: Complex) -> Float:
    planes: Float = np.stack([values.real, values.imag], axis=1)
    return planes


def _planes_to_complex(planes: NDArray[np.float64]) -> Complex:
    values: Complex = planes[:, 0] + 1j * planes[:, 1]
    return values
