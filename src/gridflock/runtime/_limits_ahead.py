"""Limits that may break under the plan in force: joint paths of what nobody orders, through the power flow.

Devices do as planned; sun and wind give what a path offers them, or as much as the plan lets them; everything
that takes no orders follows its path, spread over the loads by their present size, also where it feeds back.
Taps and capacitors stand where they come to rest on the mean of the paths: they follow the day, and no single
path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.forecast.limits import Emerging, Placed, emerging
from gridflock.grid import ControlState, Flow, settle
from gridflock.grid.limits import Limits, Resources
from gridflock.model import Capability
from gridflock.runtime._expected import drawn
from gridflock.runtime._past import Past
from gridflock.runtime._planning import Planned
from gridflock.runtime._subjects import OUTSIDE, subject_of
from gridflock.runtime._system import System
from gridflock.units import DAY_S, Kw, Mask, Rows, TimeGrid, utc_offset_s

_OFFERED = frozenset({"sun", "wind"})
_SLIGHT_KW = 1.0
"""Demand below which its shape says nothing of the loads."""
_LEAST_SHARE = 0.8
"""At least so much of what flows in at the head reaches the loads: the rest is lost on the way."""
_HELD_KW = 0.5
"""A plan that stays so far below what is expected holds generation back."""


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """What the paths are laid on.

    Attributes:
        system: network, fleet and groups.
        flow: the feeder as estimated.
        state: its regulators and capacitors.
        load_kva: complex (L,) demand at each load port now, house sign; the network's own where unheard.
        injected_kw: sum of what resources inject now.
    """

    system: System
    flow: Flow
    state: ControlState
    load_kva: NDArray[np.complex128]
    injected_kw: float


def limits_ahead(
    present: Present, past: Past, planned: Planned, able: Resources, count: int, least: float
) -> Emerging:
    """Which limits break on joint paths around a plan, how likely, when, and who could prevent it.

    Args:
        present: the feeder now.
        past: ranks of past days, where they are known.
        planned: the plan in force.
        able: who could help.
        count: how many paths.
        least: chance below which a limit is not listed.
    """
    schedule = planned.schedule
    seen = planned.forecast
    path_kw = np.asarray(drawn(past, seen, count, schedule.made_at_s), dtype=np.float64)
    nodes, node_kw = _planned_nodes(present.system, planned)
    groups = [g for g, name in enumerate(schedule.groups) if subject_of(name) in _OFFERED]
    apart = np.stack(
        [
            _apart(path_kw[:, seen.series.index(schedule.groups[g])], schedule.p_kw[g], schedule.base_kw[g])
            for g in groups
        ],
        axis=1,
    ) if groups else np.empty((count, 0, schedule.grid.n))  # fmt: skip
    outside = path_kw[:, seen.series.index(OUTSIDE)]
    placed = _placed(present, nodes, [schedule.groups[g] for g in groups])
    fixed = np.broadcast_to(node_kw[None], (count, *node_kw.shape))
    joint = np.concatenate([fixed, apart, outside[:, None]], axis=1)
    controls = _controls(present, placed, joint.mean(axis=0), schedule.grid)
    return emerging(
        present.system.network, controls, placed, joint, schedule.grid, Limits(), resources=able, least=least
    )


def _controls(present: Present, placed: Placed, mean_kw: Kw, grid: TimeGrid) -> list[ControlState]:
    """Where regulators and capacitors come to rest in each step on the mean (S, T) of the paths."""
    network, state, flow = present.system.network, present.state, present.flow
    zone = present.system.site.timezone
    second = (grid.starts_s + utc_offset_s(zone, grid.starts_s)) % DAY_S
    loads, injected = placed.powers(mean_kw.T)
    found = []
    for k in range(grid.n):
        inject = np.zeros(network.n, dtype=np.complex128)
        np.add.at(inject, placed.nodes, injected[k])
        at, rest = settle(network, loads[k], inject, state, flow, second_s=float(second[k]))
        # Where there is no answer the controls stay.
        flow, state = (at, rest) if at.converged else (flow, state)
        found.append(state)
    return found


def helpers(system: System, can: Capability, p_kw: Kw, ready: Mask) -> Resources:
    """Resources that take orders, with the room they have now."""
    rows = system.places.der_rows[ready[system.places.der_rows]]
    column = np.searchsorted(system.places.der_rows, rows)
    now = np.nan_to_num(np.asarray(p_kw, dtype=np.float64)[rows])
    none = np.zeros(len(rows))
    return Resources(
        ids=tuple(system.fleet.ids[row] for row in rows.tolist()),
        weight=sparse.csr_matrix(system.places.spread.tocsc()[:, column]),
        port=np.full(len(rows), -1, dtype=np.int32),
        p_kw=now,
        q_kvar=none,
        p_up_kw=np.maximum(np.nan_to_num(can.p_hi_kw[rows].astype(np.float64)) - now, 0.0),
        p_down_kw=np.maximum(now - np.nan_to_num(can.p_lo_kw[rows].astype(np.float64)), 0.0),
        q_up_kvar=none,
        q_down_kvar=none,
    )


def _planned_nodes(system: System, planned: Planned) -> tuple[Rows, Kw]:
    """Nodes at which resources inject, and what is planned there, (k, T)."""
    schedule, places = planned.schedule, system.places
    node_kw = np.zeros((system.network.n, schedule.grid.n))
    shares = schedule.shares
    by_row = np.zeros((len(system.fleet.ids), schedule.grid.n))
    if shares is not None:
        by_row[shares.rows] = shares.p_kw
    node_kw += places.spread @ by_row[places.der_rows]
    for g, group in enumerate(schedule.groups):
        # Who is still to come stands where the members of the group do.
        rest = schedule.p_kw[g] - by_row[system.rows_of[group]].sum(axis=0)
        node_kw += _where(system, group)[:, None] * rest
    nodes = np.flatnonzero(np.diff(places.spread.tocsr().indptr)).astype(np.int32)
    return nodes, node_kw[nodes]


def _where(system: System, group: str) -> NDArray[np.float64]:
    """(n,) share of each node in a group's power, by the size of its members."""
    columns, places = system.fleet.columns, system.places
    size = np.zeros(len(system.fleet.ids))
    rows = system.rows_of[group]
    size[rows] = np.maximum(columns["p_max_kw"], -columns["p_min_kw"])[rows]
    found: NDArray[np.float64] = places.spread @ size[places.der_rows]
    return found / max(float(found.sum()), 1e-9)


def _apart(path_kw: Kw, planned_kw: Kw, expected_kw: Kw) -> Kw:
    """(K, T) by how much a group gives another power than planned: what is offered, up to what it may."""
    held = planned_kw < expected_kw - _HELD_KW
    found: Kw = np.where(held, np.minimum(path_kw, planned_kw), path_kw) - planned_kw
    return found


def spread(
    known_kva: NDArray[np.complex128], nominal_kva: NDArray[np.complex128], outside_kw: float
) -> NDArray[np.complex128]:
    """Complex (L,) kVA at each load per kW of all that takes no orders.

    By size and not by signed power: loads that feed back and loads that draw may cancel out, and shares of a
    sum near zero would be without bound.

    Args:
        known_kva: (L,) demand at each load now, house sign.
        nominal_kva: the network's own, by which it is spread where nothing is drawn.
        outside_kw: what all of it draws at the head now, losses too.
    """
    load = known_kva if float(np.abs(known_kva.real).sum()) > _SLIGHT_KW else nominal_kva
    whole = float(np.abs(load.real).sum())
    if whole <= 0.0:
        return np.zeros(len(load), dtype=np.complex128)
    # Losses come of the power flow itself, and are not spread once more.
    drawn_kw = float(known_kva.real.sum())
    told = outside_kw < -_SLIGHT_KW and drawn_kw < -_SLIGHT_KW
    share = min(max(drawn_kw / outside_kw, _LEAST_SHARE), 1.0) if told else 1.0
    found: NDArray[np.complex128] = share * (np.abs(load.real) - 1j * load.imag) / whole
    return found


def _placed(present: Present, nodes: Rows, groups: list[str]) -> Placed:
    """Where planned nodes, deviations of groups, and the rest flow in."""
    system = present.system
    outside_kw = float(present.flow.head_kva.real.sum()) - present.injected_kw
    known = present.load_kva
    series = (*(f"node {k}" for k in nodes.tolist()), *groups, OUTSIDE)
    ports = sparse.lil_matrix((len(known), len(series)), dtype=np.complex128)
    ports[:, -1] = spread(known, system.network.load_kva, outside_kw)[:, None]
    injections = sparse.lil_matrix((len(nodes), len(series)), dtype=np.complex128)
    injections[np.arange(len(nodes)), np.arange(len(nodes))] = 1.0
    for k, group in enumerate(groups):
        injections[:, len(nodes) + k] = _where(system, group)[nodes][:, None]
    return Placed(series, sparse.csr_array(ports), nodes, sparse.csr_array(injections))
