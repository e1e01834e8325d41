"""Where an element is watched: which conductors carry its power, and how much current each may carry.

``Network.rating_a`` speaks of an element's first end. A line's other end has the same conductors. A
winding's rated current is the element's apparent power over the voltage it works at; two windings
at one bus, such as the halves of a centre-tapped secondary, share that power between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._admittance import admittance
from gridflock.grid._flow import DEAD_V
from gridflock.grid._network import NEUTRAL, Complex, Float, Network
from gridflock.grid._state import initial
from gridflock.grid._wiring import MAGNETIC
from gridflock.units import Rows

WHOLE = -1
"""``phase`` where an element is watched as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Meters:
    """Sets of conductors whose power is added up, one row each.

    Attributes:
        branch: (g,) branch row.
        phase: int8 (g,) 0, 1, 2, or ``WHOLE``.
        start: (g+1,) first row of each set in ``conductor``.
        conductor: rows of ``branch_blocks``.
    """

    branch: Rows
    phase: NDArray[np.int8]
    start: Rows
    conductor: Rows

    def kw(self, network: Network, v: Complex, currents: Complex) -> Float:
        """Active power (T, g) into the branches.

        Args:
            network: the network.
            v: complex (T, n) node voltages, V.
            currents: complex (T, c) currents into branches, A.
        """
        nodes = network.branch_blocks.node[self.conductor]
        power = v[:, nodes].real * currents[:, self.conductor].real
        power += v[:, nodes].imag * currents[:, self.conductor].imag
        if not len(self.branch):
            return np.zeros((len(v), 0))
        total: Float = np.add.reduceat(power, self.start[:-1], axis=1) / 1000.0
        return total


def _meters(sets: Iterable[tuple[int, int, NDArray[np.integer]]]) -> Meters:
    kept = [entry for entry in sets if len(entry[2])]
    sizes = [len(rows) for _, _, rows in kept]
    return Meters(
        np.array([branch for branch, _, _ in kept], dtype=np.int32),
        np.array([phase for _, phase, _ in kept], dtype=np.int8),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        np.concatenate([np.empty(0, dtype=np.int32), *(rows for _, _, rows in kept)]).astype(np.int32),
    )


@lru_cache(maxsize=64)
def by_phase(network: Network, branches: tuple[int, ...]) -> Meters:
    """One set per branch and phase at the first end; per branch where that end has no path to ground.

    Without a path to ground the power of a single conductor depends on where voltages are counted
    from; only the sum has a meaning.
    """
    three_wire = set(network.three_wire.tolist())
    sets: list[tuple[int, int, NDArray[np.integer]]] = []
    for branch in branches:
        head = network.branch_head[branch]
        rows = head[head >= 0]
        nodes = network.branch_blocks.node[rows].tolist()
        if three_wire.issuperset(nodes):
            sets.append((branch, WHOLE, rows))
        else:
            sets += [(branch, phase, head[[phase]]) for phase in np.flatnonzero(head >= 0).tolist()]
    return _meters(sets)


@lru_cache(maxsize=64)
def whole(network: Network, branches: tuple[int, ...]) -> Meters:
    """One set per branch: every conductor of its first end."""
    blocks = network.branch_blocks
    sets: list[tuple[int, int, NDArray[np.integer]]] = []
    for branch in branches:
        own = np.arange(blocks.start[branch], blocks.start[branch + 1])
        sets.append((branch, WHOLE, own[(blocks.end[own] == 0) & (blocks.node[own] >= 0)]))
    return _meters(sets)


@lru_cache(maxsize=8)
def high_sides(network: Network) -> Meters:
    """One set per transformer: every conductor of the end with the highest nominal voltage."""
    blocks = network.branch_blocks
    base = np.append(network.v_base, 0.0)
    sets: list[tuple[int, int, NDArray[np.integer]]] = []
    for branch, kind in enumerate(network.branch_kind):
        if kind != "transformer":
            continue
        own = np.arange(blocks.start[branch], blocks.start[branch + 1])
        own = own[blocks.node[own] >= 0]
        high = blocks.end[own[int(np.argmax(_phase_base(network, base, own)))]]
        sets.append((branch, WHOLE, own[blocks.end[own] == high]))
    return _meters(sets)


def _phase_base(network: Network, base: Float, conductors: Rows) -> Float:
    """Nominal voltage of each conductor, 0 for neutrals."""
    nodes = network.branch_blocks.node[conductors]
    phase: Float = np.where(network.node_phase[nodes] < NEUTRAL, base[nodes], 0.0)
    return phase


@lru_cache(maxsize=8)
def conductor_ratings(network: Network) -> Float:
    """(c,) ampere each row of ``branch_blocks`` may carry; NaN unknown, ground or winding neutral."""
    blocks = network.branch_blocks
    allowed = np.where(blocks.node >= 0, network.rating_a[blocks.owner], np.nan)
    idle = admittance(network, initial(network)).v_idle
    for branch, kind in enumerate(network.branch_kind):
        if kind in MAGNETIC and not np.isnan(network.rating_a[branch]):
            own = slice(int(blocks.start[branch]), int(blocks.start[branch + 1]))
            allowed[own] = _winding_ratings(network, idle, branch)
    return allowed


def _winding_ratings(network: Network, idle: Complex, branch: int) -> Float:
    """Ampere of each conductor of a transformer or regulator; NaN at neutrals and ground."""
    blocks = network.branch_blocks
    own = slice(int(blocks.start[branch]), int(blocks.start[branch + 1]))
    nodes, ends = blocks.node[own], blocks.end[own]
    volts = np.array([_end_volts(network, idle, nodes[ends == end]) for end in range(int(ends.max()) + 1)])
    buses = [set(network.node_bus[nodes[(ends == e) & (nodes >= 0)]].tolist()) for e in range(len(volts))]
    shared = np.array([sum(v for v, at in zip(volts, buses, strict=True) if at & here) for here in buses])
    shared[0] = volts[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        amps = network.rating_a[branch] * volts[0] / shared
    is_phase = np.append(network.node_phase, NEUTRAL)[nodes] < NEUTRAL
    limits: Float = np.where(is_phase, amps[ends], np.nan)
    return limits


def _end_volts(network: Network, idle: Complex, nodes: Rows) -> float:
    """Volt-ampere of one end per ampere in each of its phase conductors."""
    phases = nodes[(nodes >= 0) & (np.append(network.node_phase, NEUTRAL)[nodes] < NEUTRAL)]
    base, size = network.v_base[phases], np.abs(idle[phases])
    if len(nodes) == 2 and len(phases) == 2 and size.min() > DEAD_V:
        # One winding between two conductors: two phases, or the two legs of a split phase.
        return float(base.mean() * abs(idle[phases[0]] - idle[phases[1]]) / size.mean())
    return float(base.sum())
