"""What a control state changes in the admittance matrix, between the few nodes it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._network import CapacitorMode, Complex, Network
from gridflock.grid.series._march import States
from gridflock.units import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Nodes whose admittances follow regulators and switchable capacitors.

    Attributes:
        network: the feeder.
        nodes: (T,) the nodes.
        tapped: (E, 3) place in ``nodes`` of the row and of the column, value of the branch blocks.
        switched: (F, 4) the same two places, value of the shunt blocks, capacitor.
        dividing: (E, …) regulators whose taps divide each of ``tapped``, filled up with K for none.
    """

    network: Network
    nodes: Rows
    tapped: Rows
    switched: Rows
    dividing: Rows

    @property
    def row(self) -> Rows:
        """(E+F,) place in ``nodes`` of the row of each admittance that may change."""
        return np.concatenate([self.tapped[:, 0], self.switched[:, 0]])

    @property
    def column(self) -> Rows:
        """(E+F,) of its column."""
        return np.concatenate([self.tapped[:, 1], self.switched[:, 1]])

    def change(self, states: States, base: States) -> Complex:
        """Complex (S, E+F) change of these admittances against a base state, S."""
        net = self.network
        k = len(net.regulators.ids)
        changes = np.zeros((len(states), len(self.tapped) + len(self.switched)), dtype=np.complex128)
        factors = 1.0 / (1.0 + net.regulators.step_pu * np.concatenate([base[None], states])[:, :k])
        factors = np.concatenate([factors, np.ones((len(factors), 1))], axis=1)
        both = factors[:, self.dividing].prod(axis=2)
        changes[:, : len(self.tapped)] = net.branch_blocks.y[self.tapped[:, 2]] * (both[1:] - both[0])
        for f, (value, cap) in enumerate(self.switched[:, 2:].tolist(), len(self.tapped)):
            moved = states[:, k + cap].astype(np.float64) - base[k + cap]
            changes[:, f] = net.shunt_blocks.y[value] * moved
        return changes


def positions(network: Network) -> Positions:
    """The nodes and block values that follow a network's control states."""
    reg, caps = network.regulators, network.capacitors
    blocks, shunts = network.branch_blocks, network.shunt_blocks
    row, column = blocks.pairs()
    live = network.topology.branch_live[blocks.owner[row]]
    used = (
        np.isin(blocks.owner[row], reg.branch) & live & (blocks.node[row] >= 0) & (blocks.node[column] >= 0)
    )
    srow, scolumn = shunts.pairs()
    moves = np.flatnonzero(caps.mode != CapacitorMode.FIXED)
    cap_of = np.full(len(network.shunts) + 1, -1, dtype=np.int32)
    cap_of[caps.shunt[moves]] = moves
    fitted = (cap_of[shunts.owner[srow]] >= 0) & (shunts.node[srow] >= 0) & (shunts.node[scolumn] >= 0)
    ends = [
        blocks.node[row[used]],
        blocks.node[column[used]],
        shunts.node[srow[fitted]],
        shunts.node[scolumn[fitted]],
    ]
    nodes = np.unique(np.concatenate(ends)).astype(np.int32)
    at = [np.searchsorted(nodes, end) for end in ends]
    tapped = np.stack([at[0], at[1], np.flatnonzero(used)], axis=1).astype(np.int32)
    switched = np.stack([at[2], at[3], np.flatnonzero(fitted), cap_of[shunts.owner[srow[fitted]]]], axis=1)
    own = {
        c: np.flatnonzero((reg.branch == blocks.owner[c]) & (reg.end == blocks.end[c])).tolist()
        for c in np.unique(row[used]).tolist()
    }
    both = [own[r] + own[c] for r, c in zip(row[used].tolist(), column[used].tolist(), strict=True)]
    dividing = np.full((len(both), max(map(len, both), default=0)), len(reg.ids), dtype=np.int32)
    for e, found in enumerate(both):
        dividing[e, : len(found)] = found
    return Positions(network, nodes, tapped, switched.astype(np.int32), dividing)
