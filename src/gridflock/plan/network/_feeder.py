"""A feeder whose day is to be planned: its network with a port for every place where devices stand.

A device injects constant power between two nodes, or between a node and ground; one with several phases
shares it among as many such pairs. Pairs are added to the network as load ports, so that power flows,
derivatives and limits see devices and loads alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from gridflock.grid import ControlState, Network, PortKind, solve
from gridflock.grid._network import Complex, Float
from gridflock.units import Rows

CONSTANT_PU = (0.2, 0.4, 1.6)
"""Floor, low and high voltage of a device port's law: constant power far beyond any answer of use."""


@dataclass(frozen=True, slots=True, eq=False)
class Feeder:
    """One feeder at held taps and capacitors, with the day's loads. T steps, L load ports, k device ports.

    Attributes:
        network: with L + j ports: its own, then the pairs of nodes between which devices inject.
        state: taps and capacitors, the same in all steps.
        load_kva: complex (T, L) power of each load at its rated voltage, house sign.
        spread: (j, k) share of each device port's power that each pair of nodes takes.
    """

    network: Network
    state: ControlState
    load_kva: Complex
    spread: sparse.csr_matrix

    @property
    def ports(self) -> int:
        """How many device ports, k."""
        return int(self.spread.shape[1])

    @property
    def pairs(self) -> int:
        """How many pairs of nodes, j."""
        return int(self.spread.shape[0])

    @property
    def steps(self) -> int:
        """T."""
        return len(self.load_kva)

    @property
    def pair_nodes(self) -> Rows:
        """(j, 2) nodes between which devices inject; -1 is ground."""
        return self.network.load_nodes[len(self.network.loads) - self.pairs :]

    def powers(self, p_kw: Float, q_kvar: Float) -> Complex:
        """Complex (T, L + j) powers of all ports when the devices inject (k, T) kW and kvar."""
        powers: Complex = np.concatenate([self.load_kva, (self.spread @ (p_kw + 1j * q_kvar)).T], axis=1)
        return powers


def feeder(
    network: Network,
    state: ControlState,
    load_kva: Complex,
    pair_nodes: Rows,
    spread: sparse.csr_matrix | None = None,
) -> Feeder:
    """A feeder with device ports added.

    Args:
        network: as read.
        state: taps and capacitors, held.
        load_kva: complex (T, L) power of each load at its rated voltage, house sign.
        pair_nodes: (j, 2) nodes between which devices inject; -1 is ground.
        spread: (j, k) share of each device port's power that each pair takes; without, every pair is a port.

    Raises:
        ValueError: arrays that do not fit the network, dead or unknown nodes, or the first step of the day
            has no solution.
    """
    nodes = np.asarray(pair_nodes, dtype=np.int32).reshape(-1, 2)
    loads = np.asarray(load_kva, dtype=np.complex128)
    _check(network, loads, nodes)
    still = np.zeros(network.n, dtype=np.complex128)
    flow = solve(network, loads.mean(axis=0), still, state)
    if not flow.converged:
        raise ValueError(f"network {network.name}: the mean load of the day has no solution")
    ends = np.append(flow.v, 0.0)[nodes]
    base = np.append(network.v_base, 0.0)[nodes].max(axis=1)
    across = base * np.abs(ends[:, 0] - ends[:, 1]) / np.abs(ends).max(axis=1)
    k = len(nodes)
    wide = replace(
        network,
        loads=(*network.loads, *(f"devices {row}" for row in range(k))),
        load_kind=np.append(network.load_kind, np.full(k, PortKind.GENERATOR, np.uint8)).astype(np.uint8),
        load_bus=np.append(network.load_bus, network.node_bus[nodes[:, 0]]).astype(np.int32),
        load_nodes=np.concatenate([network.load_nodes, nodes]),
        load_kva=np.append(network.load_kva, np.zeros(k)),
        load_zip=np.concatenate([network.load_zip, np.tile([1.0, 0.0, 0.0], (k, 2, 1))]),
        load_exponent=np.concatenate([network.load_exponent, np.full((k, 2), np.nan)]),
        load_v=np.append(network.load_v, across),
        load_range=np.concatenate([network.load_range, np.tile(CONSTANT_PU, (k, 1))]),
        load_edge=np.concatenate([network.load_edge, np.tile(1.0 / np.array(CONSTANT_PU[1:]), (k, 1))]),
        load_scaled=np.append(network.load_scaled, np.zeros(k, dtype=np.bool_)),
        wired=network.wiring,
    )
    return Feeder(wide, state, loads, sparse.csr_matrix(sparse.identity(k) if spread is None else spread))


def _check(network: Network, load_kva: Complex, nodes: Rows) -> None:
    if load_kva.ndim != 2 or load_kva.shape[1] != len(network.loads) or not len(load_kva):
        raise ValueError(
            f"load_kva {load_kva.shape}: (steps, {len(network.loads)}) for network {network.name}"
        )
    if not np.isfinite(load_kva).all():
        raise ValueError("load_kva: powers must be finite")
    live = np.append(network.topology.live, True)
    known = (nodes >= -1) & (nodes < network.n)
    bad = ~known.all(axis=1) | (nodes[:, 0] < 0) | (nodes[:, 0] == nodes[:, 1])
    bad |= ~live[np.where(known, nodes, -1)].all(axis=1)
    if bad.any():
        raise ValueError(f"device port {int(np.flatnonzero(bad)[0])}: not between live nodes")
