"""What a control state changes in the admittance matrix, between the few nodes it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._march import States
from gridflock.grid._network import CapacitorMode, Complex, Float, Network
from gridflock.units import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Nodes whose admittances follow regulators and switchable capacitors.

    Attributes:
        network: the feeder.
        nodes: (T,) the nodes.
        tapped: (E, 3) place in ``nodes`` of the row and of the column, value of the branch blocks.
        switched: (F, 4) the same two places, value of the shunt blocks, capacitor.
    """

    network: Network
    nodes: Rows
    tapped: Rows
    switched: Rows

    def change(self, states: States, base: States) -> Complex:
        """Complex (S, T, T) change of the admittances against a base state, S."""
        net, size = self.network, len(self.nodes)
        k = len(net.regulators.ids)
        changed = np.zeros((len(states), size, size), dtype=np.complex128)
        at, to, value = self.tapped.T
        row, column = net.branch_blocks.pairs()
        every = np.concatenate([base[None], states])[:, :k]
        factor = self._tap_factors(every)
        both = factor[:, row[value]] * factor[:, column[value]]
        pair = at * size + to
        flat = changed.reshape(len(states), -1)
        part = net.branch_blocks.y[value] * (both[1:] - both[0])
        for e in range(len(pair)):
            flat[:, pair[e]] += part[:, e]
        at, to, value, cap = self.switched.T
        moved = states[:, k + cap].astype(np.float64) - base[k + cap]
        for e in range(len(at)):
            flat[:, at[e] * size + to[e]] += net.shunt_blocks.y[value[e]] * moved[:, e]
        return changed

    def _tap_factors(self, taps: States) -> Float:
        """(S, c) what each branch conductor's row and column are multiplied by."""
        blocks, reg = self.network.branch_blocks, self.network.regulators
        factor = np.ones((len(taps), len(blocks.node)))
        for r in range(len(reg.ids)):
            own = slice(int(blocks.start[reg.branch[r]]), int(blocks.start[reg.branch[r] + 1]))
            moved = blocks.end[own] == reg.end[r]
            factor[:, own] /= np.where(moved[None, :], 1.0 + reg.step_pu[r] * taps[:, r, None], 1.0)
        return factor


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
    return Positions(network, nodes, tapped, switched.astype(np.int32))
