"""What controls see, from the voltages of the few nodes concerned, many operating points at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.grid._controls import sight
from gridflock.grid._network import CapacitorMode, Capacitors, Complex, Float, Network, Regulators
from gridflock.grid.series._march import States
from gridflock.units import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """The controls of a network over ``nodes`` alone.

    Attributes:
        nodes: (L,) nodes whose voltages sights depend on; what follows points into these.
        regulators: their rows of nodes and conductors point into this watch.
        capacitors: the same.
        at: (C,) node of each conductor needed.
        rows: per conductor the nodes, admittances at neutral taps, and for each of these the
            regulators whose taps divide it (the conductor's own among them).
    """

    nodes: Rows
    regulators: Regulators
    capacitors: Capacitors
    at: Rows
    rows: tuple[tuple[Rows, Complex, tuple[Rows, ...]], ...]

    def sights(self, v: Complex, states: States) -> Float:
        """(S, K+2M) regulated voltages, capacitors' voltages, capacitors' flows.

        Args:
            v: complex (S, L) voltages of ``nodes``, V.
            states: (S, K+M) where the controls stand.
        """
        reg = self.regulators
        factor = 1.0 / (1.0 + reg.step_pu * states[:, : len(reg.ids)])
        grounded = np.concatenate([v, np.zeros((len(v), 1))], axis=1)
        currents = np.zeros((len(v), len(self.rows)), dtype=np.complex128)
        for c, (nodes, y, dividing) in enumerate(self.rows):
            for node, value, taps in zip(nodes.tolist(), y.tolist(), dividing, strict=True):
                currents[:, c] += grounded[:, node] * (value * factor[:, taps].prod(axis=1))
        seen = sight(reg, self.capacitors, self.at, v, currents)
        return np.concatenate([seen.regulated_v, seen.capacitor_v, seen.capacitor_flow], axis=1)


def watch(network: Network) -> Watch:
    """The watch of a network's controls."""
    reg, caps, blocks = network.regulators, network.capacitors, network.branch_blocks
    compensated = (reg.r_v != 0) | (reg.x_v != 0)
    flows = np.isin(caps.mode, (CapacitorMode.KVAR, CapacitorMode.CURRENT))
    used = [reg.conductor[compensated & (reg.conductor >= 0)]]
    used.append(caps.flow_conductor[np.repeat(flows, np.diff(caps.flow_start))])
    conductors = np.unique(np.concatenate(used))
    owner = blocks.owner
    inside = np.isin(owner, owner[conductors])
    wanted = np.concatenate([reg.node, reg.node_to, caps.seen_node, blocks.node[inside]])
    own = np.unique(wanted[wanted >= 0])
    place = np.full(network.n + 1, -1, dtype=np.int32)
    place[own] = np.arange(len(own))
    row = np.full(len(blocks.node) + 1, -1, dtype=np.int32)
    row[conductors] = np.arange(len(conductors))
    counts = np.where(flows, np.diff(caps.flow_start), 0)
    return Watch(
        own.astype(np.int32),
        replace(reg, node=place[reg.node], node_to=place[reg.node_to], conductor=row[reg.conductor]),
        replace(
            caps,
            seen_node=place[caps.seen_node],
            flow_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            flow_conductor=row[used[1]],
        ),
        place[blocks.node[conductors]],
        tuple(_row(network, int(c), place) for c in conductors),
    )


def _row(network: Network, conductor: int, place: Rows) -> tuple[Rows, Complex, tuple[Rows, ...]]:
    """Nodes, admittances and dividing regulators of one conductor's row in its element's block."""
    reg, blocks = network.regulators, network.branch_blocks
    branch = int(blocks.owner[conductor])
    own = np.arange(blocks.start[branch], blocks.start[branch + 1])
    y = blocks.block(branch)[conductor - own[0]] * bool(network.topology.branch_live[branch])
    on_branch = reg.branch == branch
    dividing = []
    for column in own:
        ends = (blocks.end[conductor], blocks.end[column])
        dividing.append(
            np.concatenate([np.flatnonzero(on_branch & (reg.end == end)) for end in ends]).astype(np.int32)
        )
    return np.where(blocks.node[own] >= 0, place[blocks.node[own]], -1), y, tuple(dividing)
