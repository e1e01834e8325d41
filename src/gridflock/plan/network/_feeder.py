"""A feeder whose day is to be planned: its network with a port for every place where devices stand.

A device injects constant power between two nodes, or between a node and ground; one with several phases
shares it among as many such pairs. Pairs are added to the network as load ports, so that power flows,
derivatives and limits see devices and loads alike. Taps and capacitors stand still all day or go where each
step has them (``acting``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid import ControlState, Network, PortKind, solve
from gridflock.grid._network import Complex, Float
from gridflock.units import NEVER_S, Mask, Rows

CONSTANT_PU = (0.2, 0.4, 1.6)
"""Floor, low and high voltage of a device port's law: constant power far beyond any answer of use."""


@dataclass(frozen=True, slots=True, eq=False)
class Feeder:
    """One feeder with the day's loads. T steps, L load ports, k device ports, K regulators, M capacitors.

    Attributes:
        network: with L + j ports: its own, then the pairs of nodes between which devices inject.
        state: where taps and capacitors stand before the day.
        load_kva: complex (T, L) power of each load at its rated voltage, house sign.
        spread: (j, k) share of each device port's power that each pair of nodes takes.
        taps: int8 (T, K) position of every regulator in every step.
        cap_on: (T, M) capacitors.
    """

    network: Network
    state: ControlState
    load_kva: Complex
    spread: sparse.csr_matrix
    taps: NDArray[np.int8]
    cap_on: Mask

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

    @property
    def tap_moves(self) -> int:
        """By how many positions regulators move in the day, the way to the first step's included."""
        begin = self.state.taps.astype(np.int64)[None]
        return int(np.abs(np.diff(self.taps, axis=0, prepend=begin)).sum())

    @property
    def cap_moves(self) -> int:
        """How often capacitors switch, likewise."""
        return int((self.cap_on ^ np.concatenate([self.state.cap_on[None], self.cap_on[:-1]])).sum())

    def acting(self, taps: NDArray[np.int8], cap_on: Mask) -> Feeder:
        """The same day with taps (T, K) and capacitors (T, M) where they are to be in each step.

        Raises:
            ValueError: arrays that do not fit, or positions a regulator does not have.
        """
        reg = self.network.regulators
        if taps.shape != self.taps.shape or cap_on.shape != self.cap_on.shape:
            raise ValueError(
                f"taps {taps.shape}, cap_on {cap_on.shape}: {self.taps.shape} and {self.cap_on.shape}"
            )
        if ((taps < reg.tap_low) | (taps > reg.tap_high)).any():
            raise ValueError("taps: positions must be inside each regulator's range")
        return replace(self, taps=taps.astype(np.int8), cap_on=cap_on.astype(np.bool_))

    def state_at(self, step: int) -> ControlState:
        """Taps and capacitors in one step."""
        never = np.full(self.taps.shape[1] + self.cap_on.shape[1], NEVER_S, dtype=np.int64)
        return ControlState(self.taps[step], self.cap_on[step], never)

    def stands(self) -> list[tuple[ControlState, Rows]]:
        """Where taps and capacitors stand in the day: every state once, with its steps; by first step."""
        found: dict[bytes, list[int]] = {}
        for step, both in enumerate(np.concatenate([self.taps, self.cap_on], axis=1)):
            found.setdefault(both.tobytes(), []).append(step)
        return [(self.state_at(steps[0]), np.array(steps, dtype=np.int32)) for steps in found.values()]

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
    """A feeder with device ports added, its taps and capacitors held all day.

    Args:
        network: as read.
        state: taps and capacitors, held (``Feeder.acting`` moves them).
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
    shares = sparse.csr_matrix(sparse.identity(k) if spread is None else spread)
    taps = np.repeat(state.taps[None], len(loads), axis=0)
    cap_on = np.repeat(state.cap_on[None], len(loads), axis=0)
    return Feeder(wide, state, loads, shares, taps, cap_on)


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
