"""What follows from the elements alone, whatever is switched: kept from one version to the next.

Every list is flat and names the element it comes from, so that a version only masks it with what is
in service. The factors of islands are remembered here too, because they hold for every version that
has the same elements and, in that island, the same positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflock.units import Codes, Mask, Rows

if TYPE_CHECKING:
    from gridflock.grid._network import Blocks, Network

MAGNETIC = frozenset({"transformer", "regulator"})
"""Kinds whose ends are coupled by a core, not by a conductor."""
GROUNDED = 1e-3
"""A winding whose row sums exceed this share of its diagonal leads to ground; stray terms do not."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs that branches connect.

    Attributes:
        first: rows of one side.
        second: rows of the other.
        owner: the branch that connects them.
    """

    first: Rows
    second: Rows
    owner: Rows

    def where(self, kept: Mask) -> Links:
        """Those of the pairs that ``kept`` says."""
        return Links(self.first[kept], self.second[kept], self.owner[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """Static lists of one set of elements.

    Attributes:
        conduction: node pairs that a closed branch connects: the conductors at the same position of
            a line's ends, and what a transformer's admittance couples.
        metal: node pairs that a closed branch joins without a core between them.
        bus_links: bus pairs: the first end's with every further end's.
        leaks: nodes (``first``) that an element leads to ground, by branch; of shunts, owner -1 - row.
        head: (m, 3) conductor of each phase at the first end; -1 absent.
        branch_phases: (m,) bit mask at the first end.
        bus_phases: (nb,) bit mask.
        patterns: where primitive values land in the matrix of an island, by its positions; a cache.
        factored: factors of islands by positions and control state; a cache.
    """

    conduction: Links
    metal: Links
    bus_links: Links
    leaks: Links
    head: Rows
    branch_phases: Codes
    bus_phases: Codes
    patterns: dict[bytes, Any] = field(default_factory=dict, repr=False)
    factored: dict[tuple[bytes, bytes, bytes], Any] = field(default_factory=dict, repr=False)


def wire(network: Network) -> Wiring:
    """The static lists of a network."""
    blocks = network.branch_blocks
    row, column = blocks.pairs()
    owner = blocks.owner[row]
    magnetic = np.array([kind in MAGNETIC for kind in network.branch_kind], dtype=np.bool_)[owner]
    place = _position(blocks)
    same_end = blocks.end[row] == blocks.end[column]
    both = (blocks.node[row] >= 0) & (blocks.node[column] >= 0) & (row < column)
    along = ~magnetic & ~same_end & (place[row] == place[column])
    coupled = magnetic & (blocks.y != 0)

    def links(used: Mask) -> Links:
        kept = used & both
        return Links(blocks.node[row[kept]], blocks.node[column[kept]], owner[kept])

    far = (blocks.end > 0) & (blocks.node >= 0)
    bus_links = Links(
        network.branch_from[blocks.owner[far]], network.node_bus[blocks.node[far]], blocks.owner[far]
    )
    head, phases = _heads(network)
    bus_phases = np.zeros(len(network.buses), dtype=np.uint8)
    np.bitwise_or.at(bus_phases, network.node_bus, ((1 << network.node_phase) & 7).astype(np.uint8))
    return Wiring(
        links(along | coupled), links(along | (coupled & same_end)), bus_links,
        _leaks(network, ~magnetic | same_end), head, phases, bus_phases,
    )  # fmt: skip


def _position(blocks: Blocks) -> Rows:
    """(c,) position of each conductor within its end."""
    index = np.arange(len(blocks.node))
    fresh = np.ones(len(index), dtype=np.bool_)
    fresh[1:] = (blocks.end[1:] != blocks.end[:-1]) | (blocks.owner[1:] != blocks.owner[:-1])
    begin = np.maximum.accumulate(np.where(fresh, index, 0))
    return (index - begin).astype(np.int32)


def _heads(network: Network) -> tuple[Rows, Codes]:
    """Conductor of each phase at the first end (m, 3), and the mask of those phases (m,)."""
    blocks = network.branch_blocks
    head = np.full((len(network.branches), 3), -1, dtype=np.int32)
    conductor = np.flatnonzero((blocks.end == 0) & (blocks.node >= 0))
    phase = network.node_phase[blocks.node[conductor]]
    kept = phase < 3
    head[blocks.owner[conductor[kept]], phase[kept]] = conductor[kept]
    return head, ((head >= 0) @ np.array([1, 2, 4])).astype(np.uint8)


def _leaks(network: Network, within: Mask) -> Links:
    """Nodes that windings, conductors with a grounded end and shunt reactors lead to ground.

    Shunt capacitors and the charging of lines do not count.
    """
    node, owner = _leaking(network.branch_blocks, within)
    shunts = network.shunt_blocks
    inductive = np.array([kind == "reactor" for kind in network.shunt_kind], dtype=np.bool_)
    row, _ = shunts.pairs()
    shunt_node, shunt = _leaking(shunts, inductive[shunts.owner[row]])
    nodes, owners = np.concatenate([node, shunt_node]), np.concatenate([owner, -1 - shunt])
    return Links(nodes, nodes, owners.astype(np.int32))


def _leaking(blocks: Blocks, counts: Mask) -> tuple[Rows, Rows]:
    """Nodes whose element leads noticeably to ground by the values that count, and that element."""
    row, column = blocks.pairs()
    to_node = counts & (blocks.node[column] >= 0)
    total = np.zeros(len(blocks.node), dtype=np.complex128)
    np.add.at(total, row[to_node], blocks.y[to_node])
    diagonal = np.zeros(len(blocks.node))
    own = counts & (row == column)
    diagonal[row[own]] = np.abs(blocks.y[own])
    leaks = (np.abs(total) > GROUNDED * diagonal) & (diagonal > 0) & (blocks.node >= 0)
    return blocks.node[leaks], blocks.owner[leaks]
