"""Allocation: a power flow on the newest readings, closed against what the feeder head measures.

Loads without a reading take their nominal shape, scaled like the loads that were read. The head's
measurement per phase then leaves a remainder (unread loads, meter errors, unmetered demand), which
is placed on the phase's loads in proportion to their nominal power: load allocation as in Kersting,
*Distribution System Modeling and Analysis*, ch. 2 and 10. It is quick enough for every tick and
believes every reading; ``grid.estimation`` weighs them, and says how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.units import Mask

CORRECTIONS = 2
"""Rounds of closing the head's remainder; each shrinks it to the change of losses, a few percent."""


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """The operating point that explains the readings.

    Attributes:
        flow: its power flow.
        load_kva: complex (L,) the loads used, at rated voltage, house sign.
        unmetered_kva: complex (3,) power per phase that no reading explains, as placed on loads
            (demand negative): assumed values of unread loads plus the head's remainder.
        remainder_kva: complex (3,) measured minus computed head that is still open; NaN where the
            head was not measured.
    """

    flow: Flow
    load_kva: Complex
    unmetered_kva: Complex
    remainder_kva: Complex


def allocate(
    network: Network,
    load_kva: Complex,
    inject_kva: Complex,
    head_kva: Complex,
    state: ControlState,
    start: Flow | None = None,
) -> Allocation:
    """Find the operating point of the newest readings.

    Args:
        network: the feeder.
        load_kva: complex (L,) metered power of each load at its actual voltage, house sign (demand
            negative); NaN where no reading is.
        inject_kva: complex (n,) injections of everything else, house sign.
        head_kva: complex (3,) measured net injection of the feeder into the source per phase
            (negative when importing); NaN where not measured.
        state: taps and capacitors.
        start: an earlier flow to start from.

    Returns:
        The allocation; look at ``flow.converged``.
    """
    missing = np.isnan(load_kva)
    assumed = network.load_kva * _scale(network, load_kva, missing)
    target = np.where(missing, assumed, load_kva)
    shares = _allocation(network, missing)
    measured = ~np.isnan(head_kva)
    by_phase = phase_shares(network)
    placed = np.zeros_like(target)
    used = target
    flow = solve(network, used, inject_kva, state, start)
    for _ in range(CORRECTIONS):
        expected = flow.head_kva + by_phase.T @ (target + placed - flow.served_kva)
        remainder = np.where(measured, head_kva - expected, 0.0)
        placed = placed + shares @ remainder
        used = (target + placed) * _rated_over_served(used, flow.served_kva)
        flow = solve(network, used, inject_kva, state, flow)
    unmetered = by_phase.T @ (np.where(missing, target, 0.0) + placed)
    return Allocation(flow, used, unmetered, head_kva - flow.head_kva)


def phase_shares(network: Network) -> Float:
    """(L, 3) share of each load port per phase: one to ground, a half each between two."""
    present = (network.load_phase[:, None] >> np.arange(3)) & 1
    shares: Float = present / present.sum(axis=1, keepdims=True)
    return shares


def _scale(network: Network, load_kva: Complex, missing: Mask) -> float:
    """How the loads that were read compare with their nominal power; 1 without any."""
    nominal = network.load_kva.real[~missing].sum()
    return float(load_kva.real[~missing].sum() / nominal) if nominal < 0.0 else 1.0


def _allocation(network: Network, missing: Mask) -> Float:
    """(L, 3) how a remainder per phase spreads over loads: unread ones first, else all of the phase."""
    weight = phase_shares(network) * np.abs(network.load_kva)[:, None]
    unread = weight * missing[:, None]
    weight = np.where(unread.sum(axis=0) > 0.0, unread, weight)
    total = weight.sum(axis=0)
    shares: Float = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0.0)
    return shares


def _rated_over_served(rated: Complex, served: Complex) -> Float:
    """(L,) ratio that turns metered power into the load's power at rated voltage; 1 for no load."""
    drawn = np.abs(served)
    ratio: Float = np.divide(np.abs(rated), drawn, out=np.ones_like(drawn), where=drawn > 1e-9)
    return ratio
