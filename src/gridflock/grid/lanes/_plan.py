"""A base point packed for the compiled lanes: flat arrays in the order the kernel walks them.

State vectors stand by elimination position: node at position k has its real part at ``2·k·W`` and its
imaginary part W further, W lanes each; one more node, always zero, stands behind the last one and is
the ground. All offsets in the plan are such element offsets, so the kernel only adds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Circuit, Float
from gridflock.grid.lanes._compiled import exact
from gridflock.grid.lanes._fit import Classes
from gridflock.grid.lanes._inverter_law import SEGMENTS_FROM, records
from gridflock.grid.lanes._law import currents, factors, port_voltage
from gridflock.grid.lanes._order import Order
from gridflock.grid.lanes._point import Point
from gridflock.grid.lanes._simd import VECTOR_BYTES

Reals = NDArray[np.floating[Any]]
Offsets = NDArray[np.int32]
PORT = 16
"""Numbers per port: base voltage (re, im), base current (re, im), slope block (4), 1/v_rated²,
first-pass coefficients (4), and of an inverter's what turns the power asked of it into a part of the
inverter's rating and what turns that into its own share of the power: one cache line in float32."""

NOWHERE_PU = 1e9
"""Added to a hidden node's voltage, or taken off it, so that it is never an extreme."""
WIDEST = 16
"""Nodes are shown in squares of at most this side; the last node is repeated to fill them."""


class Plan(NamedTuple):
    """Everything the kernel reads but the scenarios.

    Attributes:
        sizes: nodes, first position of the iteration, ports, numbers per law class, first position of
            the tail, segments of an inverter's curve, inverters.
        lower_start: (m+1,) rows of G of the iterated positions.
        lower: offsets of the nodes they gather.
        lower_block: four numbers each.
        pivot: four numbers of D⁻¹ per iterated position.
        upper_start: (n+1,) rows of U, last position first.
        upper: offsets of the nodes they gather.
        upper_block: four numbers each.
        port_start: (m+1,) ports whose first end is each iterated position.
        port_other: (P,) offset of the second end.
        port_law: (P,) offset of the law class; of an inverter's port -1 less that.
        port: (P·16) numbers.
        return_start: (m+1,) ports whose second end is each iterated position.
        returned: (…,) rows of those ports.
        inverter_start: (D+1,) first port row of each inverter in
        inverter_port: (…,) their port rows.
        inverter: records of the inverters (see ``_inverter_law``).
        law: records of the law classes; one-dimensional for constant power, else (1, …).
        far_start: (T+1,) rows of G of the tail, up to where the tail begins.
        far: offsets of the nodes they gather.
        far_block: four numbers each, without the pivot.
        near_lower_start: (T+1,) rows of the pattern inside the tail, earlier positions.
        near_lower: offsets of those.
        near_upper_start: (T+1,) the same, later positions.
        near_upper: offsets of those.
        node_at: (n16,) state offset of each node, in node order, filled up to a multiple of 16.
        node_base: (n16·4) re v, im v, 1/v_base of each node, in node order, and what takes hidden ones
            out of the extremes: a voltage nobody has.
    """

    sizes: tuple[int, int, int, int, int, int, int]
    lower_start: Offsets
    lower: Offsets
    lower_block: Reals
    pivot: Reals
    upper_start: Offsets
    upper: Offsets
    upper_block: Reals
    port_start: Offsets
    port_other: Offsets
    port_law: Offsets
    port: Reals
    return_start: Offsets
    returned: Offsets
    law: Reals
    inverter_start: Offsets
    inverter_port: Offsets
    inverter: Reals
    far_start: Offsets
    far: Offsets
    far_block: Reals
    near_lower_start: Offsets
    near_lower: Offsets
    near_upper_start: Offsets
    near_upper: Offsets
    node_at: Offsets
    node_base: Reals


class Layout(NamedTuple):
    """What every base point of one network packs alike.

    Attributes:
        plan: everything but what follows from the base point: no blocks, pivots, ports and voltages.
        port_row: port that stands in each port row.
        turned: (P,) -1.0 where a port row is seen from the port's second node.
        row: row of the lower factor of each walked entry.
        walked: entries of the lower factor inside the iteration.
        far: entries of the lower factor from the iteration into the tail.
        shown: (n16,) nodes as they are shown.
    """

    plan: Plan
    port_row: Offsets
    turned: Float
    row: NDArray[np.integer[Any]]
    walked: NDArray[np.integer[Any]]
    far: NDArray[np.integer[Any]]
    shown: NDArray[np.integer[Any]]


class Packed(NamedTuple):
    """A plan and the port that stands in each of its port rows."""

    plan: Plan
    port_row: Offsets


def aligned(count: int, dtype: np.dtype[Any]) -> Reals:
    """Uninitialised flat array that starts on a vector's boundary."""
    dtype = np.dtype(dtype)
    raw = np.empty(count * dtype.itemsize + VECTOR_BYTES, dtype=np.uint8)
    skip = -raw.ctypes.data % VECTOR_BYTES
    return raw[skip : skip + count * dtype.itemsize].view(dtype)


def _copied(values: Float, dtype: np.dtype[Any]) -> Reals:
    flat = aligned(values.size, dtype)
    flat[:] = values.reshape(-1)
    return flat


def layout(circuit: Circuit, o: Order, laws: Classes, dtype: np.dtype[Any], lanes: int) -> Layout:
    """Lay a network out for ``lanes`` lanes of ``dtype`` side by side."""
    step = np.int32(2 * lanes)
    n, quiet = len(o.node), o.quiet
    first, second, port_row = _ends(circuit, o.position, n)
    row_of = np.repeat(np.arange(n), np.diff(o.lower_start))
    walked = np.flatnonzero((row_of >= quiet) & (o.lower >= quiet))
    far = np.flatnonzero((row_of >= o.loop) & (o.lower >= quiet) & (o.lower < o.loop))
    near = np.flatnonzero(o.lower >= o.loop)
    taken = np.flatnonzero(second < n)
    by_second = taken[np.argsort(second[taken], kind="stable")]
    starts, in_tail = np.arange(quiet, n + 1), np.arange(o.loop, n + 1)
    shown = np.minimum(np.arange(-(-n // WIDEST) * WIDEST), n - 1)
    law = _copied(laws.record, dtype)
    port_law, inverter_start, inverter_port, record = _inverters(circuit, laws, port_row)
    segments = (record.shape[1] - SEGMENTS_FROM) // 3
    none = np.zeros(0, dtype=dtype)
    plan = Plan(
        sizes=(n, quiet, len(first), laws.record.shape[1], o.loop, segments, len(record)),
        lower_start=np.searchsorted(row_of[walked], starts).astype(np.int32),
        lower=o.lower[walked] * step,
        lower_block=none,
        pivot=none,
        upper_start=(o.upper_start[-1] - o.upper_start[::-1]).astype(np.int32),
        upper=np.ascontiguousarray(o.upper[::-1]) * step,
        upper_block=none,
        port_start=np.searchsorted(first, starts).astype(np.int32),
        port_other=second * step,
        port_law=port_law,
        port=none,
        return_start=np.searchsorted(second[by_second], starts).astype(np.int32),
        returned=by_second.astype(np.int32),
        law=law if laws.degree < 0 else law.reshape(1, -1),
        inverter_start=inverter_start,
        inverter_port=inverter_port,
        inverter=_copied(record, dtype),
        far_start=np.searchsorted(row_of[far], in_tail).astype(np.int32),
        far=o.lower[far] * step,
        far_block=none,
        near_lower_start=np.searchsorted(row_of[near], in_tail).astype(np.int32),
        near_lower=o.lower[near] * step,
        near_upper_start=(o.upper_start[o.loop :] - o.upper_start[o.loop]).astype(np.int32),
        near_upper=o.upper[o.upper_start[o.loop] :] * step,
        node_at=o.position[shown] * step,
        node_base=none,
    )
    turned = np.where(o.position[circuit.port_nodes[port_row, 0]] == first, 1.0, -1.0)
    return Layout(plan, port_row, turned, row_of[walked], walked, far, shown)


def pack(circuit: Circuit, base: Point, made: Layout, dtype: np.dtype[Any]) -> Packed:
    """Put the numbers of a base point into the network's layout."""
    held = base.factor
    hidden = np.zeros(len(circuit.v_base))
    if circuit.hidden is not None:
        hidden[circuit.hidden] = NOWHERE_PU
    plan = made.plan._replace(
        lower_block=_copied(_times(held.pivot_inverse[made.row], held.lower[made.walked]), dtype),
        pivot=_copied(held.pivot_inverse[held.order.quiet :], dtype),
        upper_block=_copied(held.upper[::-1], dtype),
        port=_copied(_port_numbers(circuit, base, made), dtype),
        far_block=_copied(held.lower[made.far], dtype),
        node_base=_copied(
            np.column_stack([base.v.real, base.v.imag, 1.0 / circuit.v_base, hidden])[made.shown], dtype
        ),
    )
    return Packed(plan, made.port_row)


@exact
def _times(a: Float, b: Float) -> Float:
    """Products of 2×2 blocks (k, 4)."""
    product = np.empty_like(b)
    for k in range(len(b)):
        for i in range(0, 4, 2):
            product[k, i] = a[k, i] * b[k, 0] + a[k, i + 1] * b[k, 2]
            product[k, i + 1] = a[k, i] * b[k, 1] + a[k, i + 1] * b[k, 3]
    return product


def _ends(circuit: Circuit, position: Offsets, n: int) -> tuple[Offsets, Offsets, Offsets]:
    """Positions of the earlier and the later end of each port (ground: n), ports in walking order."""
    ends = np.append(position, np.int32(n))[circuit.port_nodes]
    early, late = ends.min(axis=1), ends.max(axis=1)
    row = np.lexsort((late, early)).astype(np.int32)
    return early[row], late[row], row


def _inverters(circuit: Circuit, laws: Classes, row: Offsets) -> tuple[Offsets, Offsets, Offsets, Float]:
    """The laws of the port rows, and where the inverters stand among these and what they follow."""
    port_law = (laws.of_port[row] * laws.record.shape[1]).astype(np.int32)
    c = circuit.inverters
    if c is None:
        none = np.zeros(0, dtype=np.int32)
        return port_law, np.zeros(1, dtype=np.int32), none, np.zeros((0, SEGMENTS_FROM))
    here = np.argsort(row)[c.port].astype(np.int32)
    port_law[here] = -1 - port_law[here]
    return port_law, c.start.astype(np.int32), here, records(c)


def _port_numbers(circuit: Circuit, base: Point, made: Layout) -> Float:
    """(P, 16) numbers, each port seen from its earlier end."""
    row, across = made.port_row, port_voltage(circuit, base.v)
    now = currents(circuit, base.s_kva, across)[0][row] * made.turned
    u = across[row] * made.turned
    rated = circuit.port_v[row]
    r = np.abs(across) / circuit.port_v
    f = (factors(circuit.law, r)[0] / r[:, None])[row]
    numbers = np.zeros((len(row), PORT))
    numbers[:, 0], numbers[:, 1] = u.real, u.imag
    numbers[:, 2], numbers[:, 3] = now.real, now.imag
    numbers[:, 4:8] = base.slopes[row]
    numbers[:, 8] = rated**-2.0
    numbers[:, 9], numbers[:, 10] = f[:, 0] * u.real, f[:, 1] * u.imag
    numbers[:, 11], numbers[:, 12] = f[:, 0] * u.imag, f[:, 1] * u.real
    if circuit.inverters is not None:
        c, kva, count = circuit.inverters, np.ones(len(row)), np.ones(len(row))
        kva[c.port], count[c.port] = c.kva[c.owner], c.count[c.owner]
        numbers[:, 13] = rated**2 / 1000.0 / kva[row]
        numbers[:, 14] = kva[row] / count[row] * 1000.0 / rated**2
    return numbers
