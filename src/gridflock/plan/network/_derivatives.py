"""What one more kW or kvar at every device port does to voltages and branch currents, as dense matrices.

One factor of the feeder's derivative (``grid.linearise``) at the mean point of some steps and where most of
them have their taps, then two triangular solves per column, many columns at a time with the columns
innermost, so that each number of the factor is read once for all of them and the zeros above a port's node
cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid import Linearisation, linearise, solve
from gridflock.grid._admittance import admittance
from gridflock.grid._network import Complex, Float
from gridflock.plan.devices._compiled import Indices, compiled
from gridflock.plan.network._feeder import Feeder
from gridflock.units import Mask, Rows

Matrix = NDArray[np.float32]
AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Triangles:
    """A factor ``P_r·J·P_c = L·U`` by columns, rows ascending: the diagonal of L first, that of U last."""

    l_start: Indices
    l_row: Indices
    l_value: Float
    u_start: Indices
    u_row: Indices
    u_value: Float
    place: Indices
    found: Indices


@compiled
def _down(start: Indices, row: Indices, value: Float, x: Float) -> None:
    """Solve ``L·x = x`` in place, x (n, w) with the right sides innermost; what is zero costs nothing."""
    n, width = x.shape
    for j in range(n):
        used = False
        for c in range(width):
            used = used or x[j, c] != 0.0
        if used:
            for k in range(start[j] + 1, start[j + 1]):
                i, v = row[k], value[k]
                for c in range(width):
                    x[i, c] -= v * x[j, c]


@compiled
def _up(start: Indices, row: Indices, value: Float, x: Float) -> None:
    """Solve ``U·x = x`` in place."""
    n, width = x.shape
    for back in range(n):
        j = n - 1 - back
        last = start[j + 1] - 1
        pivot = 1.0 / value[last]
        for c in range(width):
            x[j, c] *= pivot
        for k in range(start[j], last):
            i, v = row[k], value[k]
            for c in range(width):
                x[i, c] -= v * x[j, c]


class Derivatives:
    """The derivative of a feeder at one operating point, ready for any rows.

    Args:
        feeder: with its device ports.
        powers_kva: complex (L + k,) powers of all ports at the point, the mean of some steps.
        steps: (T,) of these; without, of all. Taps are where most of them have them.

    Raises:
        ValueError: the point has no solution.
    """

    def __init__(self, feeder: Feeder, powers_kva: Complex, steps: Mask | None = None) -> None:
        network = feeder.network
        looked = np.ones(feeder.steps, dtype=np.bool_) if steps is None else steps
        self._state = max(feeder.stands(), key=lambda stand: int(looked[stand[1]].sum()))[0]
        flow = solve(network, powers_kva, np.zeros(network.n, dtype=np.complex128), self._state)
        self._feeder = feeder
        self._at: Linearisation = linearise(flow)
        self._triangles = _triangles(self._at)
        self.v: Complex = flow.v

    def rows(self, nodes: Rows, conductors: Rows, active: Rows, reactive: Rows) -> tuple[Matrix, Matrix]:
        """Sensitivities of voltages and currents.

        Args:
            nodes: (r,) nodes whose voltage magnitude is asked for.
            conductors: (b,) rows of ``branch_blocks`` whose current is.
            active: (c,) device ports with a column of active power.
            reactive: (d,) device ports with a column of reactive power.

        Returns:
            float32 (r, c + d) pu per kW or kvar; and float32 (2, b, c + d) A per kW or kvar: in phase with
            the voltage at the conductor's node, and in quadrature.
        """
        net, v = self._feeder.network, self.v
        through = admittance(net, self._state).to_currents[conductors]
        at = v[net.branch_blocks.node[conductors]]
        looked = np.union1d(nodes, through.indices)
        turned = sparse.csr_matrix(sparse.diags(np.conj(at) / np.abs(at)) @ through[:, looked])
        place = np.searchsorted(looked, nodes)
        along = (np.conj(v[nodes]) / (np.abs(v[nodes]) * net.v_base[nodes]))[:, None]
        columns = np.concatenate([active, reactive]).astype(np.int64)
        kinds = np.repeat([0, 1], [len(active), len(reactive)])
        spread = self._feeder.spread.tocsc()
        volts = np.empty((len(nodes), len(columns)), dtype=np.float32)
        amps = np.empty((2, len(conductors), len(columns)), dtype=np.float32)
        for first in range(0, len(columns), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            moved = self._moved(spread[:, columns[part]].tocoo(), kinds[part], looked)
            volts[:, part] = (along * moved[place]).real
            current = turned @ moved
            amps[0][:, part], amps[1][:, part] = current.real, current.imag
        return volts, amps

    def _moved(self, spread: sparse.coo_matrix, kinds: Indices, looked: Indices) -> Complex:
        """Complex (len(looked), w) change of node voltages, V, per kW (kind 0) or kvar (1) of w columns.

        Args:
            spread: (j, w) share of each column that each pair of nodes takes.
            kinds: (w,) of the columns.
            looked: nodes.
        """
        lin, net, t = self._at, self._feeder.network, self._triangles
        width = spread.col
        rows = len(net.loads) - self._feeder.pairs + spread.row
        amps: Complex = np.conj(lin.port_amps[kinds[width], rows]) * spread.data
        ends = net.load_nodes[rows]
        x: Float = np.zeros((2 * net.n, len(kinds)))
        for end, sign in ((0, 1.0), (1, -1.0)):
            there = ends[:, end] >= 0
            node, col = ends[there, end], width[there]
            put = sign * amps[there] / lin.scale[node]
            np.add.at(x, (t.place[2 * node], col), put.imag)
            np.add.at(x, (t.place[2 * node + 1], col), put.real)
        _down(t.l_start, t.l_row, t.l_value, x)
        _up(t.u_start, t.u_row, t.u_value, x)
        moved = np.empty((len(looked), len(kinds)), dtype=np.complex128)
        moved.real, moved.imag = x[t.found[2 * looked]], x[t.found[2 * looked + 1]]
        moved /= lin.scale[looked, None]
        return moved


def _triangles(at: Linearisation) -> _Triangles:
    lower, upper = at.lu.L.tocsc(), at.lu.U.tocsc()
    lower.sort_indices()
    upper.sort_indices()
    return _Triangles(
        lower.indptr.astype(np.int64), lower.indices.astype(np.int64), lower.data,
        upper.indptr.astype(np.int64), upper.indices.astype(np.int64), upper.data,
        at.lu.perm_r.astype(np.int64), at.lu.perm_c.astype(np.int64),
    )  # fmt: skip
