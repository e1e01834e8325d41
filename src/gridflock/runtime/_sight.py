"""What feedback sees of the running feeder: voltages that meters tell, currents as estimated from them.

The slow part, once a planning period: which quantities are watched, and what a kW and a kvar of each
resource does to them at the estimated flow. The fast part, every tick: their newest values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.dispatch.feedback import Effects, Quantity, Sight, effects
from gridflock.fleet import Image
from gridflock.grid import CapacitorMode, ControlState, Flow, linearise, solve
from gridflock.grid.limits import conductor_ratings
from gridflock.runtime._system import System
from gridflock.units import PHASES, Codes, Rows, Seconds

BAND_PU = (0.95, 1.05)
FASTEST_S = 10
"""Ticks further apart than this leave voltages to envelopes: between two of them too much happens."""
_METER_PU, _ESTIMATE = 2e-3, 0.03
"""Standard deviation of a meter's voltage, and of an estimated current as a part of its size."""
_USUAL_PU, _USUAL = 2e-4, 2e-3
"""What a voltage, and a current as a part of its rating, usually wanders in a second."""
_LOADED, _MOST = 0.5, 60
"""Conductors are watched from this part of their rating on, the most loaded first, at most so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What is watched of a feeder over one period, m quantities: r voltages, then c currents.

    Attributes:
        made_s: when.
        nodes: int32 (r,) nodes that some meter measures.
        meters: int32 (k,) fleet rows of the meters, and
        place: int32 (k,) position of each one's node in ``nodes``.
        conductors: int32 (c,) rows of ``branch_blocks``.
        most_a: (c,) their ratings.
        names: m.
        quantity: (m,) ``Quantity``.
        effects: what resources do to them.
    """

    made_s: int
    nodes: Rows
    meters: Rows
    place: Rows
    conductors: Rows
    most_a: np.ndarray
    names: tuple[str, ...]
    quantity: Codes
    effects: Effects


def watched(system: System, flow: Flow, now_s: int) -> Watched | None:
    """What is watched from now on; None where no meter tells a voltage.

    Args:
        system: feeder and fleet.
        flow: the estimate to take derivatives at.
        now_s: moment.
    """
    places, net = system.places, system.network
    if not len(places.volt_rows) or not flow.converged:
        return None
    live = flow.v_pu[places.volt_nodes] > 0.0
    nodes, place = np.unique(places.volt_nodes[live], return_inverse=True)
    conductors, most_a = _loaded(flow)
    at = linearise(flow)
    directions = [at.voltage_direction(int(node)) for node in nodes]
    directions += [at.current_direction(int(row)) for row in conductors]
    slopes = at.gradients(np.array(directions), _values(flow, nodes, conductors))
    # Resources at the same phases of the same bus do the same: one port.
    columns = system.fleet.columns
    key = columns["bus"][places.der_rows].astype(np.int64) * 8 + columns["phases"][places.der_rows]
    _, first, port = np.unique(key, return_index=True, return_inverse=True)
    share = places.spread.T.tocsr()[first]
    by_kw, by_kvar = (
        np.nan_to_num(np.array([share @ getattr(slope, name) for slope in slopes], dtype=np.float32))
        for name in ("node_kw", "node_kvar")
    )
    column = np.full(len(system.fleet.ids), -1, dtype=np.int32)
    column[places.der_rows] = port
    quantity = np.repeat(
        np.array([Quantity.VOLTAGE, Quantity.CURRENT], dtype=np.uint8), [len(nodes), len(conductors)]
    )
    names = (
        *(f"voltage at bus {net.buses[net.node_bus[k]]} phase {PHASES[net.node_phase[k]]}" for k in nodes),
        *(f"current in {_conductor(system, int(row))}" for row in conductors),
    )
    return Watched(
        now_s, nodes.astype(np.int32), places.volt_rows[live], place.astype(np.int32), conductors, most_a,
        names, quantity,
        effects(by_kw, by_kvar, column, quantity, now_s, _shifts(flow, nodes, conductors)),
    )  # fmt: skip


def sight(of: Watched, image: Image, flow: Flow, told_s: Seconds, stale_s: float) -> Sight:
    """The newest values of what is watched.

    Args:
        of: what is watched.
        image: the process image.
        flow: the estimate.
        told_s: (n,) moment of each resource's newest voltage; what else it says makes that no younger.
        stale_s: an older voltage says nothing, of its node's mean neither.
    """
    told, told_s = np.asarray(image.v_pu, dtype=np.float64)[of.meters], told_s[of.meters]
    heard = np.isfinite(told) & (image.now_s - told_s <= stale_s)
    many = np.bincount(of.place[heard], minlength=len(of.nodes))
    value = np.full(len(of.nodes), np.nan)
    seen = many > 0
    sums = np.bincount(of.place[heard], told[heard], len(of.nodes))
    value[seen] = sums[seen] / many[seen]
    at_s = np.zeros(len(of.nodes))
    np.maximum.at(at_s, of.place[heard], told_s[heard].astype(np.float64))
    amps = np.abs(flow.currents[of.conductors])
    c, r = len(of.conductors), len(of.nodes)
    endless = np.full(c + r, np.inf)
    return Sight(
        of.names,
        of.quantity,
        np.concatenate([value, amps]),
        np.concatenate([at_s, np.full(c, float(image.now_s))]),
        np.concatenate([np.full(r, BAND_PU[0]), np.full(c, -np.inf)]),
        np.concatenate([np.full(r, BAND_PU[1]), of.most_a]),
        np.concatenate([_METER_PU / np.sqrt(np.maximum(many, 1)), _ESTIMATE * amps]),
        np.concatenate([np.full(r, _USUAL_PU), _USUAL * of.most_a]),
        endless,
        of.effects,
    )


def _shifts(flow: Flow, nodes: Rows, conductors: Rows) -> np.ndarray:
    """(m, K) change of each quantity by one position of each regulator and one switching of each capacitor.

    What both do is no small change, so that the flow is solved anew with each; upwards unless at the end.
    """
    before = _values(flow, nodes, conductors)
    shifts = [
        _values(found, nodes, conductors) - before
        for state in _steps(flow)
        if (found := solve(flow.network, flow.load_kva, flow.inject_kva, state, flow)).converged
    ]
    return np.array(shifts).reshape(-1, len(before)).T


def _steps(flow: Flow) -> list[ControlState]:
    """The controls' positions with each of those that act by themselves moved by one."""
    state, regulators, capacitors = flow.state, flow.network.regulators, flow.network.capacitors
    steps = []
    for k in np.flatnonzero(~regulators.locked):
        taps = state.taps.copy()
        taps[k] += 1 if taps[k] < regulators.tap_high[k] else -1
        steps.append(replace(state, taps=taps))
    for k in np.flatnonzero(capacitors.mode != CapacitorMode.FIXED):
        cap_on = state.cap_on.copy()
        cap_on[k] = not cap_on[k]
        steps.append(replace(state, cap_on=cap_on))
    return steps


def _values(flow: Flow, nodes: Rows, conductors: Rows) -> np.ndarray:
    """Voltages of nodes, pu, then currents of conductors, A."""
    return np.concatenate([flow.v_pu[nodes], np.abs(flow.currents[conductors])])


def _loaded(flow: Flow) -> tuple[Rows, np.ndarray]:
    """Conductors worth watching, ascending, and their ratings, A."""
    rating = conductor_ratings(flow.network)
    rated = np.isfinite(rating) & (rating > 0.0)
    loading = np.where(rated, np.abs(flow.currents) / np.where(rated, rating, 1.0), 0.0)
    order = np.argsort(-loading, kind="stable")[:_MOST]
    rows = np.sort(order[loading[order] > _LOADED]).astype(np.int32)
    return rows, rating[rows]


def _conductor(system: System, row: int) -> str:
    """A conductor in words."""
    net, blocks = system.network, system.network.branch_blocks
    node = int(blocks.node[row])
    phase = (
        "" if node < 0 or net.node_phase[node] >= len(PHASES) else f" phase {PHASES[net.node_phase[node]]}"
    )
    return f"{net.branches[blocks.owner[row]]}{phase} (end {int(blocks.end[row]) + 1})"
