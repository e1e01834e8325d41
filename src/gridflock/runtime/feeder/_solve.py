"""One operating point of a feeder, in the numbers people ask for first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid import Flow, Network, initial, settle, solve
from gridflock.grid import violations as broken_limits


@dataclass(frozen=True, slots=True)
class Solved:
    """An operating point at a glance.

    Attributes:
        converged: only then are there other numbers.
        iterations: steps of the fixed point.
        residual_kva: largest miss of Kirchhoff's law at a node.
        head_kw: net injection into the sources: negative when the feeder imports.
        head_kvar: the same, reactive.
        served_kw: net injection of all ports: demand negative.
        losses_kw: lost in the branches.
        v_min_pu: lowest phase voltage of a live node.
        v_min_node: where.
        v_max_pu: highest.
        v_max_node: where.
        taps: position of each regulator.
        capacitors_on: state of each switched capacitor.
        violations: how many of each kind.
    """

    converged: bool
    iterations: int
    residual_kva: float
    head_kw: float | None
    head_kvar: float | None
    served_kw: float | None
    losses_kw: float | None
    v_min_pu: float | None
    v_min_node: str
    v_max_pu: float | None
    v_max_node: str
    taps: dict[str, int]
    capacitors_on: dict[str, bool]
    violations: dict[str, int]


def solve_once(network: Network, load_scale: float = 1.0, *, controls: bool = False) -> tuple[Solved, Flow]:
    """Solve the feeder at its written loads.

    Args:
        network: the feeder.
        load_scale: multiplier of every load that follows one.
        controls: let regulators and capacitors act until they rest; else they stay as written.
    """
    load = np.where(network.load_scaled, load_scale, 1.0) * network.load_kva
    nothing = np.zeros(network.n, dtype=np.complex128)
    state = initial(network)
    flow = settle(network, load, nothing, state)[0] if controls else solve(network, load, nothing, state)
    return summary(flow), flow


def summary(flow: Flow) -> Solved:
    """A flow in the numbers people ask for first; a flow that is no answer has none of them."""
    network = flow.network
    watched = network.topology.live & (network.node_phase < 3)
    good = flow.converged
    v = np.where(watched, flow.v_pu, np.nan) if good else np.where(watched, 1.0, np.nan)
    low, high = int(np.nanargmin(v)), int(np.nanargmax(v))
    kinds = [k.name.lower() for k in broken_limits(network, flow).kinds()] if good else []
    head = flow.head_kva.sum()

    def told(value: float, digits: int = 3) -> float | None:
        return round(float(value), digits) if good else None

    return Solved(
        converged=good,
        iterations=flow.iterations,
        residual_kva=float(f"{flow.residual_kva:.3g}"),
        head_kw=told(head.real),
        head_kvar=told(head.imag),
        served_kw=told(flow.served_kva.sum().real),
        losses_kw=told(flow.losses_kw),
        v_min_pu=told(v[low], 6),
        v_min_node=network.node_name(low) if good else "",
        v_max_pu=told(v[high], 6),
        v_max_node=network.node_name(high) if good else "",
        taps=dict(zip(network.regulators.ids, flow.state.taps.tolist(), strict=True)),
        capacitors_on=dict(zip(network.capacitors.ids, flow.state.cap_on.tolist(), strict=True)),
        violations={kind: kinds.count(kind) for kind in sorted(set(kinds))},
    )
