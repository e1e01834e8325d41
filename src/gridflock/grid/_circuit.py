"""A network at one control state as the plain arrays that lanes and Newton's method take."""

from __future__ import annotations

import numpy as np

from gridflock.grid._admittance import admittance
from gridflock.grid._network import Network
from gridflock.grid._state import ControlState
from gridflock.grid._topology import NEUTRAL
from gridflock.grid.lanes import Circuit, Laws
from gridflock.units import Mask, Rows

INJECTION_RANGE = (0.4, 1.6)
"""Per unit in which an injection is constant power in the lanes; far outside any answer of use."""
BOUNDLESS_V = 1e12
"""Rated voltage beside which any voltage vanishes, and whose square float32 still holds."""


def hidden_nodes(network: Network) -> Mask:
    """(n,) neutrals and dead nodes: their voltage is no service voltage."""
    hidden: Mask = ~network.topology.live | (network.node_phase >= NEUTRAL)
    return hidden


def circuit(network: Network, state: ControlState, inject_nodes: Rows) -> Circuit:
    """The plain arrays of a network at a control state; injections become ports of constant power."""
    matrix = admittance(network, state)
    k = len(inject_nodes)
    following = np.full(network.n, -1, dtype=np.int32)
    following[network.three_wire] = network.three_wire_next
    ends = np.stack([inject_nodes, following[inject_nodes]], axis=1)
    rated = network.v_base[inject_nodes] * np.where(ends[:, 1] >= 0, np.sqrt(3.0), 1.0)
    floor, low, high = network.load_range.T
    constant = np.tile([[1.0, 0.0, 0.0]], (k, 2, 1)).reshape(k, 2, 3)
    limits = np.tile(INJECTION_RANGE, (k, 1))
    law = Laws(
        np.concatenate([network.load_zip, constant]),
        np.concatenate([network.load_exponent, np.full((k, 2), np.nan)]),
        np.append(low, limits[:, 0]),
        np.append(high, limits[:, 1]),
        np.append(floor, np.full(k, 0.2)),
        np.concatenate([network.load_edge, 1.0 / limits]),
    )
    # A dead port keeps its row: at a source, of boundless rated voltage, it draws nothing.
    live = network.topology.port_live
    beside = np.array([network.source_nodes[0], -1])
    ports = np.concatenate([np.where(live[:, None], network.load_nodes, beside), ends]).astype(np.int32)
    rated = np.append(np.where(live, network.load_v, BOUNDLESS_V), rated)
    hidden = hidden_nodes(network)
    return Circuit(
        matrix.y, matrix.i_source, network.v_base, ports, rated, law, hidden=hidden if hidden.any() else None
    )
