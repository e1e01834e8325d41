"""Measurements of voltage and flow as functions of the node voltages, with their derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._admittance import Admittance
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid.estimation._analysis import Vectors
from gridflock.grid.estimation._measurements import (
    BRANCH_POWERS,
    PORT_POWERS,
    VOLTAGES,
    Measurements,
    Quantity,
)
from gridflock.units import Codes, Mask, Rows

SMALL = 1e-9
"""Magnitudes below this have no direction, V or A."""


@dataclass(frozen=True, slots=True, eq=False)
class Sensors:
    """k measurements of voltage and flow.

    Attributes:
        row: (k,) which of all measurements each is.
        quantity: (k,) ``Quantity``.
        owner: (t,) sensor of each term; a term is one voltage, or one conductor of a branch.
        at: (t,) node of each term's voltage; -1 is ground.
        back: (t,) node subtracted from it.
        to_currents: CSR (t, n) current of each term's conductor; empty rows for voltages.
        start: (k+1,) first entry of each sensor's derivative.
        node: node of each entry.
        term: term of each entry.
        y: per entry, admittance of the conductor to the node; 1 or -1 where the term's voltage
            itself stands.
        direct: entries of the term's own voltage.
    """

    row: Rows
    quantity: Codes
    owner: Rows
    at: Rows
    back: Rows
    to_currents: sparse.csr_matrix
    start: Rows
    node: Rows
    term: Rows
    y: Complex
    direct: Mask

    @property
    def entry_sensor(self) -> Rows:
        """Sensor of each entry of the derivatives."""
        return np.repeat(np.arange(len(self.row), dtype=np.int32), np.diff(self.start))

    def values(self, v: Complex) -> Float:
        """(k,) what they would read at voltages v: V, kW, kvar, A."""
        u, i = self._terms(v)
        power = u * np.conj(i) / 1000.0
        kind = self.quantity[self.owner]
        part = np.select(
            [np.isin(kind, VOLTAGES), kind == Quantity.BRANCH_KW, kind == Quantity.BRANCH_KVAR],
            [np.abs(u), power.real, power.imag],
            np.abs(i),
        )
        return np.bincount(self.owner, part, len(self.row)).astype(np.float64)

    def derivatives(self, v: Complex, v_base: Float) -> Vectors:
        """Vectors h with ``d reading = Σ Re(conj(h)·dv)``, dv per unit of ``v_base``."""
        u, i = self._terms(v)
        kind = self.quantity[self.owner]
        u_way = u / np.maximum(np.abs(u), SMALL)
        i_way = i / np.maximum(np.abs(i), SMALL)
        turn = np.where(kind == Quantity.BRANCH_KVAR, 1j, 1.0) / 1000.0
        power = np.isin(kind, BRANCH_POWERS)
        by_voltage = np.where(power, turn * i, np.where(kind == Quantity.BRANCH_A, 0.0, u_way))
        by_current = np.where(power, np.conj(turn) * u, i_way)
        h = np.where(self.direct, by_voltage[self.term], by_current[self.term]) * np.conj(self.y)
        return Vectors(self.start, self.node, np.ascontiguousarray(h * v_base[self.node]))

    def _terms(self, v: Complex) -> tuple[Complex, Complex]:
        ends = np.append(v, 0.0)
        return ends[self.at] - ends[self.back], self.to_currents @ v


def sensors(network: Network, matrix: Admittance, given: Measurements, placed: Mask) -> Sensors:
    """The measurements of voltage and flow among those whose place exists."""
    mine = placed & ~np.isin(given.quantity, PORT_POWERS)
    row = np.flatnonzero(mine).astype(np.int32)
    number = np.cumsum(mine) - 1
    entries = mine[given.owner]
    owner = number[given.owner[entries]].astype(np.int32)
    quantity, where = given.quantity[row], given.row[entries]
    kind = quantity[owner]
    at, back = _ends(network, kind, where)
    flow = ~np.isin(kind, VOLTAGES)
    chosen = sparse.csr_matrix(
        (np.ones(int(flow.sum())), (np.flatnonzero(flow), where[flow])),
        shape=(len(where), matrix.to_currents.shape[0]),
    )
    to_currents = sparse.csr_matrix(chosen @ matrix.to_currents)
    parts = (_own(at, 1.0), _own(back, -1.0), _through(to_currents))
    term = np.concatenate([part[0] for part in parts])
    node = np.concatenate([part[1] for part in parts])
    y = np.concatenate([part[2] for part in parts])
    direct = np.concatenate([part[3] for part in parts])
    in_order = np.argsort(owner[term], kind="stable")
    term, node, y, direct = term[in_order], node[in_order], y[in_order], direct[in_order]
    start = np.zeros(len(row) + 1, dtype=np.int32)
    start[1:] = np.cumsum(np.bincount(owner[term], minlength=len(row)))
    return Sensors(row, quantity, owner, at, back, to_currents, start, node, term, y, direct)


def _ends(network: Network, kind: Codes, where: Rows) -> tuple[Rows, Rows]:
    """Nodes whose voltage difference each term has."""
    at, back = np.full(len(where), -1, dtype=np.int32), np.full(len(where), -1, dtype=np.int32)
    node = kind == Quantity.VOLTAGE
    at[node] = where[node]
    port = kind == Quantity.PORT_VOLTAGE
    at[port], back[port] = network.load_nodes[where[port]].T
    flow = ~node & ~port
    at[flow] = network.branch_blocks.node[where[flow]]
    return at, back


Entries = tuple[NDArray[np.intp], Rows, Complex, Mask]


def _own(nodes: Rows, sign: float) -> Entries:
    used = np.flatnonzero(nodes >= 0)
    return (
        used,
        nodes[used],
        np.full(len(used), sign, dtype=np.complex128),
        np.ones(len(used), dtype=np.bool_),
    )


def _through(to_currents: sparse.csr_matrix) -> Entries:
    term = np.repeat(np.arange(to_currents.shape[0]), np.diff(to_currents.indptr))
    return term, to_currents.indices, to_currents.data, np.zeros(len(term), dtype=np.bool_)


def linked(sensor: Sensors) -> NDArray[np.int32]:
    """(k, 2) pairs of nodes that one sensor sees together."""
    first, second = [], []
    sizes = np.diff(sensor.start)
    for size in np.unique(sizes[sizes > 1]):
        begin = sensor.start[:-1][sizes == size]
        nodes = sensor.node[begin[:, None] + np.arange(size)]
        a, b = np.triu_indices(size, 1)
        first.append(nodes[:, a].ravel())
        second.append(nodes[:, b].ravel())
    if not first:
        return np.empty((0, 2), dtype=np.int32)
    pairs = np.stack([np.concatenate(first), np.concatenate(second)], axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).astype(np.int32)
