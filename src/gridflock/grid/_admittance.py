"""The node admittance matrix and its factor, once per control state.

Every element is a dense primitive block over its conductors (Dugan's primitive admittance of
OpenDSS; Kersting, *Distribution System Modeling and Analysis*, ch. 6-8). Moving a tap by its factor
a divides the rows and columns of that end's conductors by a, which is exact for any winding block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from gridflock.grid._network import Blocks, Complex, Float, Network
from gridflock.grid._state import ControlState, initial

if TYPE_CHECKING:
    from gridflock.grid.build._document import Faults

KEPT = 64
"""Control states whose factors are kept per network; the oldest goes first."""
REGULAR = 1e-9
"""A factor whose idle voltages miss the source current by more than this share is singular."""


@dataclass(frozen=True, slots=True, eq=False)
class Admittance:
    """One control state of one network, ready to solve.

    Attributes:
        y: CSC complex (n, n) node admittance without loads, sources included; the identity at dead nodes.
        to_currents: CSR complex (c, n): node voltages to the current into each branch at each of
            its conductors, A.
        i_source: (n,) Norton current of the sources, A.
        v_idle: (n,) voltages with every port at zero current, V.
        lu: sparse factor of ``y``. On a feeder of a few hundred nodes its two triangular solves
            cost 20 µs, half of what evaluating the loads costs; a dense inverse saves little per
            solve and costs milliseconds at every tap change.
    """

    y: sparse.csc_matrix
    to_currents: sparse.csr_matrix
    i_source: Complex
    v_idle: Complex
    lu: linalg.SuperLU

    def voltages(self, i_ports: Complex) -> Complex:
        """Node voltages (n,) for injected port currents (n,), by superposition on the idle state."""
        v: Complex = self.v_idle + self.lu.solve(i_ports)
        return v


def admittance(network: Network, state: ControlState) -> Admittance:
    """The factored admittance of a control state, from the network's cache where it is known.

    Raises:
        numpy.linalg.LinAlgError: the network is singular at this state.
    """
    key = (state.taps.tobytes(), state.cap_on.tobytes())
    kept = network.factors
    if key not in kept:
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = _factor(network, state)
    found: Admittance = kept[key]
    return found


def tap_factors(network: Network, taps: NDArray[np.int8]) -> Float:
    """(c,) what each branch conductor's row and column are multiplied by: 1/(1 + step·tap) at tapped ends."""
    blocks, reg = network.branch_blocks, network.regulators
    factors = np.ones(len(blocks.node))
    for branch, end, step, tap in zip(reg.branch, reg.end, reg.step_pu, taps, strict=True):
        own = slice(int(blocks.start[branch]), int(blocks.start[branch + 1]))
        factors[own] = np.where(
            blocks.end[own] == end, factors[own] / (1.0 + step * float(tap)), factors[own]
        )
    return factors


def branch_values(network: Network, taps: NDArray[np.int8]) -> Complex:
    """Values of all branch blocks at given taps, zero where open or dead, S."""
    blocks = network.branch_blocks
    row, column = blocks.pairs()
    factors = tap_factors(network, taps)
    values: Complex = blocks.y * (factors[row] * factors[column])
    values[~network.topology.branch_live[blocks.owner[row]]] = 0.0
    return values


def shunt_values(network: Network, cap_on: NDArray[np.bool_]) -> Complex:
    """Values of all shunt blocks, zero where switched off, S."""
    blocks = network.shunt_blocks
    fitted = np.ones(len(network.shunts), dtype=np.bool_)
    fitted[network.capacitors.shunt] = cap_on
    row, _ = blocks.pairs()
    return np.where(fitted[blocks.owner[row]], blocks.y, 0.0)


def node_matrix(network: Network, state: ControlState) -> tuple[sparse.csc_matrix, sparse.csr_matrix]:
    """The node admittance matrix, and the matrix from node voltages to branch conductor currents."""
    n, live = network.n, network.topology.live
    blocks = network.branch_blocks
    row, column = blocks.pairs()
    values = branch_values(network, state.taps)
    used = (blocks.node[column] >= 0) & (values != 0)
    to_currents = sparse.csr_matrix(
        (values[used], (row[used], blocks.node[column[used]])), shape=(len(blocks.node), n)
    )
    at, to, y = _entries(blocks, values)
    shunt_at, shunt_to, shunt_y = _entries(network.shunt_blocks, shunt_values(network, state.cap_on))
    src_at, src_to = np.meshgrid(network.source_nodes, network.source_nodes, indexing="ij")
    dead = np.flatnonzero(~live)
    at = np.concatenate([at, shunt_at, src_at.ravel(), dead])
    to = np.concatenate([to, shunt_to, src_to.ravel(), dead])
    y = np.concatenate([y, shunt_y, network.source_y.ravel(), np.ones(len(dead))])
    inside = (live[at] & live[to]) | (at == to)
    return sparse.csc_matrix((y[inside], (at[inside], to[inside])), shape=(n, n)), to_currents


def _entries(blocks: Blocks, values: Complex) -> tuple[NDArray[np.int32], NDArray[np.int32], Complex]:
    row, column = blocks.pairs()
    at, to = blocks.node[row], blocks.node[column]
    used = (at >= 0) & (to >= 0) & (values != 0)
    return at[used], to[used], values[used]


def _factor(network: Network, state: ControlState) -> Admittance:
    y, to_currents = node_matrix(network, state)
    try:
        lu = linalg.splu(y, permc_spec="MMD_AT_PLUS_A")
    except RuntimeError as error:
        raise np.linalg.LinAlgError(f"the network is singular: {error}") from error
    i_source = np.zeros(network.n, dtype=np.complex128)
    np.add.at(i_source, network.source_nodes, network.source_y @ network.source_v)
    v_idle = lu.solve(i_source)
    v_idle += lu.solve(i_source - y @ v_idle)
    return Admittance(y, to_currents, i_source, v_idle, lu)


def idle_voltages(network: Network, faults: Faults) -> Complex:
    """(n,) voltages without any load; a singular network becomes a fault that names a node."""
    try:
        found = admittance(network, initial(network))
    except np.linalg.LinAlgError as error:
        faults.add("feeder", network.name, "topology", f"{error}; {_loose_node(network)}")
        return np.ones(network.n, dtype=np.complex128)
    miss = np.abs(found.y @ found.v_idle - found.i_source)
    if not np.isfinite(found.v_idle).all() or miss.max() > REGULAR * max(np.abs(found.i_source).max(), 1.0):
        faults.add("feeder", network.name, "topology", f"the network is singular; {_loose_node(network)}")
    return found.v_idle


def _loose_node(network: Network) -> str:
    """In words, the node whose own admittance nearly vanishes against its neighbours'."""
    y, _ = node_matrix(network, initial(network))
    away = np.abs(np.asarray(y.sum(axis=1)).ravel()) / np.maximum(np.abs(y.diagonal()), 1e-30)
    away[~network.topology.live] = np.inf
    return f"look at node {network.node_name(int(np.argmin(away)))}: nothing ties it to ground or a source"
