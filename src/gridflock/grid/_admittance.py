"""Primitive blocks, the node admittance matrix and its factor, once per control state.

Each two-ended branch has the 6 x 6 block of Kersting's exact line model, or of an ideal
transformer with ratio n in front of its series admittance (Kersting, *Distribution System
Modeling and Analysis*, ch. 6-8): ``[[Y, -Y·n], [-n·Y, n·Y·n]]``, charging halved to both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from gridflock.grid._network import Complex, Network
from gridflock.grid._state import TAP_STEP, ControlState
from gridflock.units import Mask

KEPT = 64
"""Control states whose factors are kept per network; the oldest goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Admittance:
    """One control state of one network, ready to solve.

    Attributes:
        blocks: complex (m, 6, 6) primitive admittance of each branch, S.
        y: CSC (n, n) node admittance without loads, source included.
        i_source: (n,) Norton current of the source, A.
        v_idle: (n,) voltages with every port at zero current, V.
        lu: sparse factor of ``y``. On a feeder of a few hundred nodes its two triangular solves
            cost 20 µs, half of what evaluating the loads costs; a dense inverse saves little per
            solve and costs milliseconds at every tap change.
    """

    blocks: Complex
    y: sparse.csc_matrix
    i_source: Complex
    v_idle: Complex
    lu: linalg.SuperLU

    def voltages(self, i_ports: Complex) -> Complex:
        """Node voltages (n,) for injected port currents (n,), by superposition on the idle state."""
        v: Complex = self.v_idle + self.lu.solve(i_ports)
        return v


def admittance(network: Network, state: ControlState) -> Admittance:
    """The factored admittance of a control state, from the network's cache where it is known."""
    key = (state.taps.tobytes(), state.cap_on.tobytes())
    kept = network.factors
    if key not in kept:
        if len(kept) >= KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = _factor(network, state)
    found: Admittance = kept[key]
    return found


def tap_factors(network: Network, taps: NDArray[np.int8]) -> NDArray[np.float64]:
    """(m,) voltage factor of each branch's load side: 1 + step·tap on regulators, else 1."""
    factors = np.ones(len(network.branches))
    tapped = network.branch_control >= 0
    factors[tapped] = 1.0 + TAP_STEP * taps[network.branch_control[tapped]]
    return factors


def branch_blocks(network: Network, taps: NDArray[np.int8]) -> Complex:
    """(m, 6, 6) primitive admittance of all branches at given taps, S."""
    ratio = (network.branch_ratio / tap_factors(network, taps))[:, None, None]
    series = network.branch_y
    charging = 0.5j * network.branch_b
    blocks = np.empty((len(series), 6, 6), dtype=np.complex128)
    blocks[:, :3, :3] = series + charging
    blocks[:, :3, 3:] = blocks[:, 3:, :3] = -series * ratio
    blocks[:, 3:, 3:] = series * ratio * ratio + charging
    corner = np.arange(6)
    blocks[:, corner, corner] -= 1j * np.repeat(network.branch_stray, 3, axis=1)
    return blocks


def _factor(network: Network, state: ControlState) -> Admittance:
    blocks = branch_blocks(network, state.taps)
    y = _node_matrix(network, blocks, state.cap_on)
    lu = linalg.splu(y, permc_spec="MMD_AT_PLUS_A")
    i_source = np.zeros(network.n, dtype=np.complex128)
    i_source[network.source_nodes] = network.source_y @ network.source_v
    v_idle = lu.solve(i_source)
    v_idle += lu.solve(i_source - y @ v_idle)
    return Admittance(blocks, y, i_source, v_idle, lu)


def _node_matrix(network: Network, blocks: Complex, cap_on: Mask) -> sparse.csc_matrix:
    nodes = network.branch_nodes
    rows = np.broadcast_to(nodes[:, :, None], blocks.shape)
    columns = np.broadcast_to(nodes[:, None, :], blocks.shape)
    used = (rows >= 0) & (columns >= 0) & (blocks != 0)
    caps = network.capacitors
    fitted = (caps.nodes >= 0) & cap_on[:, None]
    cap_nodes = caps.nodes[fitted]
    cap_y = 1j * caps.kvar[fitted] * 1000.0 / network.v_base[cap_nodes] ** 2
    source_rows, source_columns = np.meshgrid(network.source_nodes, network.source_nodes, indexing="ij")
    values = np.concatenate([blocks[used], cap_y, network.source_y.ravel()])
    at_row = np.concatenate([rows[used], cap_nodes, source_rows.ravel()])
    at_column = np.concatenate([columns[used], cap_nodes, source_columns.ravel()])
    return sparse.csc_matrix((values, (at_row, at_column)), shape=(network.n, network.n))
