"""What follows from the positions of switches: islands, who is fed, by whom, and where sections end.

A node is live if closed elements connect it to a source. A line or switch connects the conductors
at the same position of its two ends; a transformer connects what its admittance couples. Dead nodes
stay in the arrays at zero voltage, so that rows keep their meaning from one version to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from gridflock.units import Codes, Mask, Rows

MAGNETIC = frozenset({"transformer", "regulator"})
"""Kinds whose ends are coupled by a core, not by a conductor."""
if TYPE_CHECKING:
    from gridflock.grid._network import Blocks, Network

GROUNDED = 1e-3
"""A winding whose row sums exceed this share of its diagonal leads to ground; stray terms do not."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Derived columns of one network version.

    Attributes:
        live: (n,) fed by a source.
        island: (n,) label of the connected part; parts with a source come first, numbered like
            their first source.
        islands: how many parts there are.
        bus_phases: (nb,) bit mask of the phases.
        bus_parent: (nb,) next bus towards the source; -1 at a source and where dead.
        bus_order: buses that are fed, breadth first from the sources.
        bus_section: (nb,) section row; -1 where dead.
        branch_phases: (m,) bit mask at the first end.
        branch_head: (m, 3) conductor of each phase at the first end; -1 absent.
        branch_live: (m,) closed and fed.
        three_wire: nodes of buses where nothing leads to ground.
        three_wire_next: the node of the next phase at the same bus.
    """

    live: Mask
    island: Rows
    islands: int
    bus_phases: Codes
    bus_parent: Rows
    bus_order: Rows
    bus_section: Rows
    branch_phases: Codes
    branch_head: Rows
    branch_live: Mask
    three_wire: Rows
    three_wire_next: Rows


def derive(network: Network) -> Topology:
    """The derived columns of a version."""
    blocks = network.branch_blocks
    first, second = _couplings(network)
    island, islands = _parts(network.n, first, second, network.source_nodes)
    live = island <= (island[network.source_nodes].max() if len(network.source_nodes) else -1)
    owner = blocks.owner
    touched = np.zeros(len(network.branches), dtype=np.bool_)
    on_live = (blocks.node >= 0) & np.append(live, False)[blocks.node]
    touched[owner[on_live]] = True
    branch_live = network.branch_closed & touched
    parent, order = _tree(network, branch_live)
    head, phases = _heads(network)
    three_wire, following = _three_wire(network, live)
    bus_phases = np.zeros(len(network.buses), dtype=np.uint8)
    np.bitwise_or.at(bus_phases, network.node_bus, ((1 << network.node_phase) & 7).astype(np.uint8))
    return Topology(
        live, island, islands, bus_phases, parent, order, _sections(network, parent, order),
        phases, head, branch_live, three_wire, following,
    )  # fmt: skip


def _couplings(network: Network) -> tuple[Rows, Rows]:
    """Pairs of nodes that closed branches connect."""
    blocks = network.branch_blocks
    closed = network.branch_closed
    row, column = blocks.pairs()
    owner = blocks.owner[row]
    magnetic = magnetic_branches(network)
    same_place = _position(blocks)
    across = blocks.end[row] != blocks.end[column]
    conducts = np.where(magnetic[owner], blocks.y != 0, across & (same_place[row] == same_place[column]))
    used = conducts & closed[owner] & (blocks.node[row] >= 0) & (blocks.node[column] >= 0)
    return blocks.node[row[used]], blocks.node[column[used]]


def magnetic_branches(network: Network) -> Mask:
    """(m,) branches whose ends are coupled by a core."""
    return np.array([kind in MAGNETIC for kind in network.branch_kind], dtype=np.bool_)


def _position(blocks: Blocks) -> Rows:
    """(c,) position of each conductor within its end."""
    index = np.arange(len(blocks.node))
    fresh = np.ones(len(index), dtype=np.bool_)
    fresh[1:] = (blocks.end[1:] != blocks.end[:-1]) | (blocks.owner[1:] != blocks.owner[:-1])
    begin = np.maximum.accumulate(np.where(fresh, index, 0))
    return (index - begin).astype(np.int32)


def _parts(n: int, first: Rows, second: Rows, sources: Rows) -> tuple[Rows, int]:
    """Connected parts, those with a source first."""
    links = sparse.csr_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(n, n))
    count, label = csgraph.connected_components(links, directed=False)
    rank = np.full(count, -1, dtype=np.int32)
    fed = list(dict.fromkeys(label[sources].tolist()))
    rank[fed] = np.arange(len(fed))
    rest = np.flatnonzero(rank < 0)
    rank[rest] = np.arange(len(fed), count)
    return rank[label], int(count)


def _tree(network: Network, branch_live: Mask) -> tuple[Rows, Rows]:
    """Parents (nb,) and the breadth-first order of the buses that are fed."""
    nb = len(network.buses)
    ends_from, ends_to = _bus_links(network, branch_live)
    starts = np.unique(network.node_bus[network.source_nodes])
    root = np.full(len(starts), nb, dtype=np.int32)
    first, second = np.concatenate([ends_from, root]), np.concatenate([ends_to, starts])
    links = sparse.csr_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(nb + 1, nb + 1))
    order, parent = csgraph.breadth_first_order(links, nb, directed=False)
    parent = np.where((parent[:nb] < 0) | (parent[:nb] == nb), -1, parent[:nb]).astype(np.int32)
    return parent, order[1:].astype(np.int32)


def _bus_links(network: Network, branch_live: Mask) -> tuple[Rows, Rows]:
    """Bus pairs of live branches: the first end's with every further end's."""
    blocks = network.branch_blocks
    at = (blocks.end > 0) & (blocks.node >= 0) & branch_live[blocks.owner]
    return network.branch_from[blocks.owner[at]], network.node_bus[blocks.node[at]]


def _sections(network: Network, parent: Rows, order: Rows) -> Rows:
    """(nb,) section of each fed bus: the nearest section head on the way to the source."""
    section = np.full(len(network.buses), -1, dtype=np.int32)
    section[network.section_head] = np.arange(len(network.sections))
    fed = section.copy()
    found = [-1] * len(section)
    for bus in order.tolist():
        own = int(fed[bus])
        above = int(parent[bus])
        found[bus] = own if own >= 0 else (found[above] if above >= 0 else 0 if len(network.sections) else -1)
    return np.array(found, dtype=np.int32)


def _heads(network: Network) -> tuple[Rows, Codes]:
    """Conductor of each phase at the first end (m, 3), and the mask of those phases (m,)."""
    blocks = network.branch_blocks
    head = np.full((len(network.branches), 3), -1, dtype=np.int32)
    conductor = np.flatnonzero((blocks.end == 0) & (blocks.node >= 0))
    phase = network.node_phase[blocks.node[conductor]]
    kept = phase < 3
    head[blocks.owner[conductor[kept]], phase[kept]] = conductor[kept]
    return head, ((head >= 0) @ np.array([1, 2, 4])).astype(np.uint8)


def _three_wire(network: Network, live: Mask) -> tuple[Rows, Rows]:
    """Live nodes without a path to ground, and the next phase of each at its bus."""
    blocks = network.branch_blocks
    row, column = blocks.pairs()
    owner = blocks.owner[row]
    magnetic = magnetic_branches(network)[owner]
    same_end = blocks.end[row] == blocks.end[column]
    place = _position(blocks)
    both = (blocks.node[row] >= 0) & (blocks.node[column] >= 0) & network.branch_closed[owner]
    joined = both & np.where(magnetic, same_end & (blocks.y != 0), ~same_end & (place[row] == place[column]))
    label, _ = _parts(network.n, blocks.node[row[joined]], blocks.node[column[joined]], network.source_nodes)
    grounded = np.zeros(int(label.max(initial=0)) + 1, dtype=np.bool_)
    grounded[label[network.source_nodes]] = True
    for net_blocks, counts in ((blocks, magnetic & same_end), (network.shunt_blocks, None)):
        grounded[label[_leaking(net_blocks, counts, network)]] = True
    floating = live & ~grounded[label] & (network.node_phase < 3)
    nodes = np.flatnonzero(floating)
    following = nodes.copy()
    buses = network.node_bus[nodes]
    for begin in np.flatnonzero(np.diff(buses, prepend=-1)).tolist():
        end = begin + int(np.count_nonzero(buses == buses[begin]))
        following[begin:end] = np.roll(nodes[begin:end], -1)
    alone = following == nodes
    return nodes[~alone].astype(np.int32), following[~alone].astype(np.int32)


def _leaking(blocks: Blocks, counts: Mask | None, network: Network) -> NDArray[np.int32]:
    """Nodes whose element leads noticeably to ground within one end; shunt capacitors do not count."""
    if counts is None:
        inductive = np.array([kind == "reactor" for kind in network.shunt_kind], dtype=np.bool_)
        row, _ = blocks.pairs()
        counts = inductive[blocks.owner[row]]
        closed = np.ones(len(counts), dtype=np.bool_)
    else:
        row, _ = blocks.pairs()
        closed = network.branch_closed[blocks.owner[row]]
    row, column = blocks.pairs()
    used = counts & closed
    to_node = used & (blocks.node[column] >= 0)
    total = np.zeros(len(blocks.node), dtype=np.complex128)
    np.add.at(total, row[to_node], blocks.y[to_node])
    diagonal = np.zeros(len(blocks.node))
    own = used & (row == column)
    diagonal[row[own]] = np.abs(blocks.y[own])
    leaks = (np.abs(total) > GROUNDED * diagonal) & (diagonal > 0) & (blocks.node >= 0)
    found: NDArray[np.int32] = blocks.node[leaks]
    return found
