"""The room left at the feeder head before the ampacity of a main branch binds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gridflock.grid._allocation import phase_shares
from gridflock.grid._flow import Flow
from gridflock.grid._network import Float, Network
from gridflock.model import Envelope
from gridflock.units import PHASES

MAIN_SHARE = 0.2
"""A three-phase branch that feeds at least this share of a phase's nominal load is a main branch."""


def head_envelope(network: Network, flow: Flow, until_s: int, margin: float = 0.02) -> Envelope:
    """Room of the whole feeder before the ampacity of a main branch binds, from the present flow.

    The bounds are on the FEEDER's net active injection into the source, all phases together, kW in
    the house sign: ``p_lo_kw`` is the largest import as a negative number, ``p_hi_kw`` the largest
    export. On each phase of each main branch the reactive current stays and the active one may grow
    up to the rating; the head's change passes a branch by the larger of its share of nominal load
    and its share of the present head current, and spreads over the phases like nominal load, no
    phase below a third. The tightest phase of the tightest branch sets each bound. A branch that is
    over its rating already puts the present import outside the bounds.

    Args:
        network: the feeder.
        flow: a converged flow of it.
        until_s: end of validity.
        margin: share of the ratings that is kept back.

    Raises:
        ValueError: the flow has not converged.
    """
    if not flow.converged:
        raise ValueError("no envelope from a flow that has not converged")
    share, weight = _shares(network)
    v_head = np.abs(flow.v[network.source_nodes])
    head = network.branch_head
    v_from = np.where(head >= 0, np.abs(flow.v[network.branch_blocks.node[head]]), 1.0)
    current = flow.branch_kva * 1000.0 / v_from
    head_amps = np.abs(flow.head_kva) * 1000.0 / v_head
    present = np.abs(current) / np.maximum(head_amps, 0.1 * network.rating_a.max())
    passing = np.clip(np.maximum(share, present), 0.0, 1.0)
    rating = (1.0 - margin) * network.rating_a[:, None]
    active = np.sqrt(np.maximum(rating**2 - current.imag**2, 0.0))
    main = (share >= MAIN_SHARE) & (network.branch_phases == 7)[:, None]
    kw_per_ampere = v_head / 1000.0 / (weight * np.where(main, passing, 1.0))
    rise = np.where(main, (active - current.real) * kw_per_ampere, np.inf)
    fall = np.where(main, (active + current.real) * kw_per_ampere, np.inf)
    now_kw = float(flow.head_kva.real.sum())
    source = f"import: {_named(network, rise)}; export: {_named(network, fall)}"
    return Envelope("all", now_kw - float(rise.min()), now_kw + float(fall.min()), source, until_s)


def _named(network: Network, room: Float) -> str:
    branch, phase = np.unravel_index(int(room.argmin()), room.shape)
    kind, name = network.branch_kind[branch], network.branches[branch]
    return f"phase {PHASES[phase]} of {kind} {name}, {network.rating_a[branch]:.0f} A"


@lru_cache(maxsize=8)
def _shares(network: Network) -> tuple[Float, Float]:
    """Nominal-load share of each branch and phase (m, 3), and the head's spread over phases (3,)."""
    below = np.zeros((len(network.buses), 3))
    np.add.at(below, network.load_bus, -phase_shares(network) * network.load_kva.real[:, None])
    total = below.sum(axis=0)
    for bus in network.topology.bus_order[::-1].tolist():
        if network.bus_parent[bus] >= 0:
            below[network.bus_parent[bus]] += below[bus]
    forward = network.bus_parent[network.branch_to] == network.branch_from
    share = np.where(forward[:, None], below[network.branch_to], 0.0) / np.maximum(total, 1e-9)
    share[network.branch_head < 0] = 0.0
    return share, np.maximum(total / total.sum(), 1.0 / 3.0)
