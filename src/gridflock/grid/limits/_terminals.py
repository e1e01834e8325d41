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
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import initial
from gridflock.grid._topology import NEUTRAL
from gridflock.grid._wiring import MAGNETIC
from gridflock.units import Mask, Rows

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
    base = np.where(_on_phases(network), np.append(network.v_base, 0.0)[blocks.node], 0.0)
    sets: list[tuple[int, int, NDArray[np.integer]]] = []
    for branch, kind in enumerate(network.branch_kind):
        if kind != "transformer":
            continue
        own = np.arange(blocks.start[branch], blocks.start[branch + 1])
        high = blocks.end[own[int(np.argmax(base[own]))]]
        sets.append((branch, WHOLE, own[(blocks.end[own] == high) & (blocks.node[own] >= 0)]))
    return _meters(sets)


def _on_phases(network: Network) -> Mask:
    """(c,) conductors of a phase or leg, not of a neutral or of ground."""
    on: Mask = np.append(network.node_phase < NEUTRAL, np.False_)[network.branch_blocks.node]
    return on


@lru_cache(maxsize=8)
def conductor_ratings(network: Network) -> Float:
    """(c,) ampere each row of ``branch_blocks`` may carry; NaN unknown, ground or winding neutral."""
    blocks = network.branch_blocks
    owner, grounded = blocks.owner, blocks.node < 0
    wound = np.array([kind in MAGNETIC for kind in network.branch_kind], dtype=np.bool_)[owner]
    ends, first, end_of = np.unique(
        owner.astype(np.int64) << 8 | blocks.end, return_index=True, return_inverse=True
    )
    volts = _end_volts(network, end_of, len(ends))
    bus = np.full(len(ends), -1, dtype=np.int64)
    bus[end_of[~grounded]] = network.node_bus[blocks.node[~grounded]]
    _, place = np.unique(owner[first] * np.int64(len(network.buses) + 1) + bus + 1, return_inverse=True)
    shared = np.where(blocks.end[first] == 0, volts, np.bincount(place, volts)[place])
    leading = volts[np.searchsorted(ends, owner[first].astype(np.int64) << 8)]
    share = np.divide(leading, shared, out=np.ones_like(shared), where=shared > 0.0)
    rated = network.rating_a[owner] * np.where(wound, share[end_of], 1.0)
    limited = np.where(wound, _on_phases(network), ~grounded)
    allowed: Float = np.where(limited, rated, np.nan)
    return allowed


def _end_volts(network: Network, end_of: NDArray[np.int64], count: int) -> Float:
    """(count,) volt-ampere of each end per ampere in each of its phase conductors, at nominal voltage."""
    nodes, on = network.branch_blocks.node, _on_phases(network)
    base = np.where(on, np.append(network.v_base, 0.0)[nodes], 0.0)
    volts: Float = np.bincount(end_of, base, count).astype(np.float64)
    # One winding between two phases, or between the legs of a split phase: the voltage across it.
    two = (np.bincount(end_of, minlength=count) == 2) & (np.bincount(end_of[on], minlength=count) == 2)
    first = np.searchsorted(end_of, np.flatnonzero(two))
    idle = np.append(admittance(network, initial(network)).v_idle, 0.0)
    one, other = idle[nodes[first]], idle[nodes[first + 1]]
    size = np.abs(one) + np.abs(other)
    across = np.divide(np.abs(one - other), size, out=np.ones_like(size), where=size > DEAD_V)
    volts[two] *= across
    return volts
