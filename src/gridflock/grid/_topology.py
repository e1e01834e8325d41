"""What follows from the positions of switches: islands, who is fed, by whom, and where sections end.

A node is live if elements in service connect it to a source in service. A line or switch connects
the conductors at the same position of its two ends; a transformer connects what its admittance
couples. Dead nodes stay in the arrays at zero voltage, so that rows keep their meaning from one
version to the next. An island is a set of buses: the fed ones that hang together, or dead ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from gridflock.grid._wiring import Links
from gridflock.units import Codes, Mask, Rows

if TYPE_CHECKING:
    from gridflock.grid._network import Network

NEUTRAL = 3
"""``node_phase`` of a conductor that is none of the phases a, b, c."""


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Derived columns of one network version.

    Attributes:
        live: (n,) fed by a source.
        island: (n,) label of the island of the node's bus; those with a source come first, numbered
            like their first source. A dead node may stand at a bus of a live island: a phase that
            is open.
        islands: how many islands there are.
        islands_live: how many of them, the first ones, have a source.
        bus_island: (nb,) the same label by bus.
        bus_live: (nb,) has a live node.
        bus_phases: (nb,) bit mask of the phases.
        bus_parent: (nb,) next bus towards the source; -1 at a source and where dead.
        bus_feed: (nb,) a branch from that bus to this one; -1 likewise.
        bus_root: (nb,) bus of the source at the end of that way; -1 where dead.
        bus_order: buses that are fed, breadth first from the sources.
        bus_section: (nb,) section row; -1 where dead.
        branch_phases: (m,) bit mask at the first end.
        branch_head: (m, 3) conductor of each phase at the first end; -1 absent.
        branch_live: (m,) in service and fed.
        port_live: (L,) both ends live (or ground); a port that is not draws nothing.
        three_wire: nodes of buses where nothing leads to ground.
        three_wire_next: the node of the next phase at the same bus.
    """

    live: Mask
    island: Rows
    islands: int
    islands_live: int
    bus_island: Rows
    bus_live: Mask
    bus_phases: Codes
    bus_parent: Rows
    bus_feed: Rows
    bus_root: Rows
    bus_order: Rows
    bus_section: Rows
    branch_phases: Codes
    branch_head: Rows
    branch_live: Mask
    port_live: Mask
    three_wire: Rows
    three_wire_next: Rows


def derive(network: Network) -> Topology:
    """The derived columns of a version."""
    wiring, blocks = network.wiring, network.branch_blocks
    in_service = network.branch_in
    sources = network.source_nodes[~network.source_out[network.source_of]]
    paths = wiring.conduction.where(in_service[wiring.conduction.owner])
    label = _connected(network.n, paths)
    live = np.isin(label, label[sources])
    bus_live = np.zeros(len(network.buses), dtype=np.bool_)
    bus_live[network.node_bus[live]] = True
    grounded = _grounded_nodes(network)
    live |= _earthed_neutrals(network, label, grounded) & bus_live[network.node_bus]
    bus_island, islands, fed = _islands(network, paths, live, bus_live, sources)
    with_ground = np.append(live, False)
    branch_live = np.zeros(len(network.branches), dtype=np.bool_)
    branch_live[blocks.owner[with_ground[blocks.node]]] = True
    branch_live &= in_service
    kept = branch_live[wiring.bus_links.owner]
    kept &= bus_live[wiring.bus_links.first] & bus_live[wiring.bus_links.second]
    parent, feed, order = _tree(network, wiring.bus_links.where(kept), sources)
    root = nearest(np.where(parent < 0, np.arange(len(parent)), -1), parent)
    three_wire, following = _three_wire(network, live, np.concatenate([sources, grounded]))
    first, second = (with_ground[end] | (end < 0) for end in network.load_nodes.T)
    return Topology(
        live, bus_island[network.node_bus], islands, fed, bus_island, bus_live, wiring.bus_phases,
        parent, feed, np.where(bus_live, root, -1).astype(np.int32), order,
        _sections(network, parent, bus_live), wiring.branch_phases, wiring.head, branch_live,
        first & second, three_wire, following,
    )  # fmt: skip


def _connected(n: int, links: Links) -> Rows:
    """(n,) label of the connected part of each row."""
    matrix = sparse.csr_matrix(
        (np.ones(len(links.first), dtype=np.int8), (links.first, links.second)), shape=(n, n)
    )
    label: Rows = csgraph.connected_components(matrix, directed=False)[1]
    return label


def _islands(
    network: Network, paths: Links, live: Mask, bus_live: Mask, sources: Rows
) -> tuple[Rows, int, int]:
    """Island of each bus, how many there are, and how many of them are fed; those come first."""
    first, second = network.node_bus[paths.first], network.node_bus[paths.second]
    alike = (first != second) & (live[paths.first] | ~(bus_live[first] | bus_live[second]))
    label = _connected(len(network.buses), Links(first[alike], second[alike], paths.owner[alike]))
    fed = list(dict.fromkeys(label[network.node_bus[sources]].tolist()))
    count = int(label.max(initial=-1)) + 1
    rank = np.full(count, -1, dtype=np.int32)
    rank[fed] = np.arange(len(fed))
    rest = np.flatnonzero(rank < 0)
    rank[rest] = np.arange(len(fed), count)
    return rank[label], count, len(fed)


def _tree(network: Network, links: Links, sources: Rows) -> tuple[Rows, Rows, Rows]:
    """Parents (nb,), the branches to them (nb,), and the breadth-first order of the fed buses."""
    nb = len(network.buses)
    starts = np.unique(network.node_bus[sources])
    root = np.full(len(starts), nb, dtype=np.int32)
    first, second = np.concatenate([links.first, root]), np.concatenate([links.second, starts])
    matrix = sparse.csr_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(nb + 1, nb + 1))
    order, parent = csgraph.breadth_first_order(matrix, nb, directed=False)
    parent = np.where((parent[:nb] < 0) | (parent[:nb] == nb), -1, parent[:nb]).astype(np.int32)
    feed = np.full(nb, -1, dtype=np.int32)
    for one, other in ((links.first, links.second), (links.second, links.first)):
        down = parent[other] == one
        feed[other[down]] = np.maximum(feed[other[down]], links.owner[down])
    return parent, feed, order[1:].astype(np.int32)


def nearest(own: Rows, parent: Rows) -> Rows:
    """(nb,) the first value that is not -1 on the way up from each bus, its own included; else -1.

    Ways are halved in each round: log2 of the depth rounds.
    """
    found = np.append(own, -1)
    up = np.append(parent, -1)
    while True:
        open_ended = (found < 0) & (up >= 0)
        if not open_ended.any():
            return found[:-1].astype(np.int32)
        found[open_ended] = found[up[open_ended]]
        up[open_ended] = up[up[open_ended]]


def _sections(network: Network, parent: Rows, bus_live: Mask) -> Rows:
    """(nb,) section of each fed bus: the nearest section head on the way to the source."""
    own = np.full(len(network.buses), -1, dtype=np.int32)
    own[network.section_head] = np.arange(len(network.sections))
    found = nearest(own, parent)
    without = 0 if len(network.sections) else -1
    return np.where(bus_live, np.where(found < 0, without, found), -1).astype(np.int32)


def _grounded_nodes(network: Network) -> Rows:
    """Nodes that something in service leads to ground."""
    owner, in_service = network.wiring.leaks.owner, network.branch_in
    at_work = np.empty(len(owner), dtype=np.bool_)
    at_work[owner >= 0] = in_service[owner[owner >= 0]]
    at_work[owner < 0] = ~network.shunt_out[-1 - owner[owner < 0]]
    return network.wiring.leaks.first[at_work]


def _earthed_neutrals(network: Network, label: Rows, grounded: Rows) -> Mask:
    """(n,) neutrals that only ground ties: no source feeds them, yet their voltage is an answer."""
    neutral = network.node_phase == NEUTRAL
    tied = np.zeros(int(label.max(initial=0)) + 1, dtype=np.bool_)
    tied[label[grounded]] = True
    tied[label[~neutral]] = False
    found: Mask = tied[label]
    return found


def _three_wire(network: Network, live: Mask, grounds: Rows) -> tuple[Rows, Rows]:
    """Live nodes without a path to ground, and the next phase of each at its bus."""
    wiring, in_service = network.wiring, network.branch_in
    label = _connected(network.n, wiring.metal.where(in_service[wiring.metal.owner]))
    grounded = np.zeros(int(label.max(initial=0)) + 1, dtype=np.bool_)
    grounded[label[grounds]] = True
    nodes = np.flatnonzero(live & ~grounded[label] & (network.node_phase < 3))
    buses = network.node_bus[nodes]
    begin = np.flatnonzero(np.diff(buses, prepend=-1))
    following = np.roll(nodes, -1)
    if len(nodes):
        last = np.append(begin[1:], len(nodes)) - 1
        following[last] = nodes[begin]
    alone = following == nodes
    return nodes[~alone].astype(np.int32), following[~alone].astype(np.int32)
