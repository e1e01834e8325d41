"""Voltage envelopes: what a part of the feeder may inject before a node leaves its band.

First-order sensitivities at the present operating point: injecting dP at constant power changes
node currents by conj(dP/V) and voltages by Y⁻¹ of that (loads held), so one solve gives the effect
of a whole area on every node. Bounds are re-anchored at each new estimate, which makes them a
feedback: model error changes how fast the limit is reached, not where (Bernstein and Dall'Anese,
*Real-time feedback-based optimization of distribution grids*, IEEE TCNS 6(3), 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._admittance import admittance
from gridflock.grid._flow import Flow
from gridflock.grid._network import Float, Network
from gridflock.model import Envelope
from gridflock.units import PHASES, Kvar, Pu, Rows

NEAR_PU = 0.01
"""Only nodes so close to a limit, or beyond it, make an envelope."""
GAIN = 0.5
"""Share of the distance to a limit that one step may use: below 1, since neighbours, taps and loads
answer too."""
Kva = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A group and where it acts.

    Attributes:
        group: group id.
        nodes: nodes whose voltages it answers for.
        weight: (n,) share of the group's injection at each node, summing to 1.
    """

    group: str
    nodes: Rows
    weight: Float


def voltage_envelopes(
    network: Network,
    flow: Flow,
    v_pu: Pu,
    areas: Sequence[Area],
    s_kva: Kva,
    room_kvar: Kvar,
    until_s: int,
    v_lo: float = 0.951,
    v_hi: float = 1.049,
    calm: float = 0.0065,
) -> tuple[Envelope, ...]:
    """Bounds on the injection of areas whose voltages are near a limit.

    Reactive power goes first, since it costs nobody energy; active power is bounded only where an
    area's reactive room is used up.

    Args:
        network: the feeder.
        flow: a converged flow of it.
        v_pu: (n,) voltages as best known, measured ones included.
        areas: k groups and their nodes.
        s_kva: complex (k,) present injection: active of the group, reactive of its inverters.
        room_kvar: (k,) largest reactive power of the group's inverters, either way.
        until_s: end of validity.
        v_lo: lowest voltage that active power defends, pu: the limit and a margin.
        v_hi: highest.
        calm: distance to these that reactive power keeps, pu: room for what moves between two ticks.

    Returns:
        Envelopes of those areas only that need one, each naming the binding node.
    """
    if not areas:
        return ()
    weight = np.stack([area.weight for area in areas], axis=1)
    by_kw, by_kvar = _effects(network, flow, weight)
    found = []
    for k, area in enumerate(areas):
        high = int(area.nodes[int(np.argmax(v_pu[area.nodes]))])
        low = int(area.nodes[int(np.argmin(v_pu[area.nodes]))])
        q = float(s_kva[k].imag)
        above, below = v_pu[high] - v_hi + calm, v_lo + calm - v_pu[low]
        at_work = abs(q) > 0.01 * room_kvar[k] + 0.1
        if max(above, below) < -NEAR_PU and not at_work:
            continue
        p = float(s_kva[k].real)
        q_hi, p_hi = _bound(above, calm, q, p, by_kvar[high, k], by_kw[high, k], float(room_kvar[k]))
        q_lo, p_lo = _bound(below, calm, -q, -p, by_kvar[low, k], by_kw[low, k], float(room_kvar[k]))
        words = _named(network, high if above > below else low, v_pu)
        found.append(Envelope(area.group, -p_lo, p_hi, words, until_s, -q_lo, q_hi))
    return tuple(found)


def _bound(
    excess: float, calm: float, q: float, p: float, by_kvar: float, by_kw: float, room: float
) -> tuple[float, float]:
    """Upper bounds of reactive and active power that take ``excess`` pu off a node.

    Active power need only take what would then still lie beyond the calm.
    """
    if by_kvar <= 0 or by_kw <= 0:
        return np.inf, np.inf
    q_hi = max(q - GAIN * excess / by_kvar, -room)
    rest = excess - calm - by_kvar * (q + room)
    if rest <= -NEAR_PU:
        return q_hi, np.inf
    return q_hi, p - GAIN * rest / by_kw


def _effects(network: Network, flow: Flow, weight: Float) -> tuple[Float, Float]:
    """(n, k) change of voltage magnitude, pu, per kW and per kvar injected by each column's area.

    A kvar's current is that of a kW turned back by a right angle, so one solve serves both.
    """
    found = admittance(network, flow.state)
    across = flow.v.copy()
    across[network.three_wire] -= flow.v[network.three_wire_next]
    current = np.conj(1000.0 * weight / across[:, None])
    current[network.three_wire_next] -= current[network.three_wire]
    change = np.stack([found.voltages(column) - found.v_idle for column in current.T], axis=1)
    along = (np.conj(flow.v) / np.abs(flow.v) / network.v_base)[:, None] * change
    by_kw: Float = along.real
    by_kvar: Float = along.imag
    return by_kw, by_kvar


def _named(network: Network, node: int, v_pu: Pu) -> str:
    bus, phase = network.buses[network.node_bus[node]], PHASES[network.node_phase[node]]
    return f"voltage at bus {bus} phase {phase}, {v_pu[node]:.4f} pu"
