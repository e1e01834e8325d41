"""Who causes a violation, and what each could do about it: first-order shares at the flow.

A violated quantity q has the derivative g with respect to every injection (``Linearisation``). What
a resource does to q now is ``g·s`` with its present injection s; what it could do is ``g`` times its
room. Both hold to first order: exact for small moves, a few percent off where voltages move by
hundredths or loads cross the edges of their law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._sensitivity import AT_ONCE, Gradient, Linearisation
from gridflock.grid._unbalance import UnbalanceBy
from gridflock.grid.limits._terminals import by_phase, high_sides, whole
from gridflock.grid.limits._violations import LimitKind, Violations
from gridflock.units import Kvar, Kw, Rows

ROUNDING = 1e-9
"""A resource that weighs less against the weightiest does not touch the violation."""
_RAMPS = (LimitKind.RAMP_POWER, LimitKind.RAMP_VOLTAGE)
_UPWARDS = (LimitKind.VOLTAGE_HIGH, LimitKind.THERMAL, LimitKind.UNBALANCE)


@dataclass(frozen=True, slots=True, eq=False)
class Resources:
    """Resources as the network sees them, R of them. Powers in the house sign.

    Attributes:
        ids: R names.
        weight: CSR (n, R) share of each one's power at each node, as in ``Network.spread``; an empty
            column where it stands at a port.
        port: (R,) row among the ports whose ``load_kva`` is its power; -1 where ``weight`` places it.
        p_kw: (R,) present active power, contained in ``Flow.inject_kva`` or ``Flow.load_kva``.
        q_kvar: (R,) present reactive power.
        p_up_kw: (R,) from 0, how far active power may rise.
        p_down_kw: (R,) from 0, how far it may fall.
        q_up_kvar: (R,) from 0, how far reactive power may rise.
        q_down_kvar: (R,) from 0, how far it may fall.
    """

    ids: tuple[str, ...]
    weight: sparse.csr_matrix
    port: Rows
    p_kw: Kw
    q_kvar: Kvar
    p_up_kw: Kw
    p_down_kw: Kw
    q_up_kvar: Kvar
    q_down_kvar: Kvar


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """For each of k violations, what the resources do to it and could do about it.

    Amounts are in the unit of the violated quantity; a positive contribution pushes towards the
    violation, relief takes away from it. The rows of violation v are ``start[v]:start[v+1]``, the
    largest contribution first.

    Attributes:
        excess: (k,) by how much the limit is broken.
        loads: (k,) contribution of the ports that are no resource; NaN for ramps.
        injections: (k,) contribution of injections at nodes that are no resource; NaN for ramps.
        network: (k,) what remains of the quantity: sources, charging, all that is not first-order,
            and for ramps everything that is no resource.
        together: (k,) relief by all resources at once, each using all its room in P and in Q.
        start: (k+1,) first row of each violation.
        resource: (m,) row in ``Resources``.
        by_kw: (m,) change of the quantity per kW of the resource.
        by_kvar: (m,) per kvar.
        contribution: (m,) of its present injection, for ramps of its change; NaN where that is not given.
        share: (m,) contribution over all that pushes towards the violation: the positive
            contributions of resources and those of loads and injections.
        move_kw: (m,) change of active power, within its room, that alone relieves most, at most
            what ends the violation.
        move_kvar: (m,) the same for reactive power.
        relief_kw: (m,) relief by ``move_kw``.
        relief_kvar: (m,) relief by ``move_kvar``.
    """

    excess: Float
    loads: Float
    injections: Float
    network: Float
    together: Float
    start: Rows
    resource: Rows
    by_kw: Float
    by_kvar: Float
    contribution: Float
    share: Float
    move_kw: Kw
    move_kvar: Kvar
    relief_kw: Float
    relief_kvar: Float


def attribute(
    linear: Linearisation,
    found: Violations,
    resources: Resources,
    *,
    most: int = 50,
    unbalance_by: UnbalanceBy = UnbalanceBy.LINE,
    moved_kva: Complex | None = None,
) -> Attribution:
    """Contributions and possible relief of resources at the violations of one flow.

    Args:
        linear: of that flow.
        found: its violations; of a series, those of this moment.
        resources: whose part is asked for.
        most: at most so many rows per violation, those with the largest contribution or relief;
            the totals are over all resources.
        unbalance_by: the definition the unbalance was found with.
        moved_kva: complex (R,) change of each resource since the flow before, for ramps.

    Returns:
        The table; empty where nothing is violated.
    """
    heads, tables = [], []
    for first in range(0, len(found.kind), AT_ONCE):
        rows = range(first, min(first + AT_ONCE, len(found.kind)))
        directions = np.stack([_direction(linear, found, k, unbalance_by) for k in rows])
        for k, gradient in zip(rows, linear.gradients(directions, found.value[rows]), strict=True):
            head, table = _one(linear, found, k, gradient, resources, moved_kva)
            heads.append(head)
            tables.append(_ranked(table, most))
    excess, loads, injections, rest, together = np.array(heads, dtype=np.float64).reshape(-1, 5).T
    columns = np.concatenate([np.empty((9, 0)), *tables], axis=1)
    start = np.concatenate([[0], np.cumsum([t.shape[1] for t in tables])]).astype(np.int32)
    resource, by_kw, by_kvar, part, share, move_kw, move_kvar, relief_kw, relief_kvar = columns
    return Attribution(
        excess, loads, injections, rest, together, start, resource.astype(np.int32), by_kw, by_kvar,
        part, share, move_kw, move_kvar, relief_kw, relief_kvar,
    )  # fmt: skip


def _direction(linear: Linearisation, found: Violations, k: int, by: UnbalanceBy) -> Complex:
    """Complex (n,) c with ``dq = Re(c̄·dv)`` of the violated quantity, ramps per minute."""
    kind, row = LimitKind(int(found.kind[k])), int(found.row[k])
    if kind == LimitKind.THERMAL:
        return linear.current_direction(row)
    if kind == LimitKind.UNBALANCE:
        return linear.unbalance_direction(row, by)
    per_minute = 60.0 / found.span_s[k] if kind in _RAMPS else 1.0
    if kind in {LimitKind.VOLTAGE_LOW, LimitKind.VOLTAGE_HIGH, LimitKind.RAMP_VOLTAGE}:
        return per_minute * linear.voltage_direction(row)
    return per_minute * linear.power_direction(
        _conductors(linear.flow.network, kind, row, int(found.phase[k]))
    )


def _conductors(network: Network, kind: LimitKind, branch: int, phase: int) -> Rows:
    """Rows of ``branch_blocks`` whose power the violation is about."""
    if kind == LimitKind.RAMP_POWER:
        return whole(network, (branch,)).conductor
    meters = high_sides(network) if kind == LimitKind.BACK_FEED else by_phase(network, (branch,))
    at = int(np.flatnonzero((meters.branch == branch) & (meters.phase == phase))[0])
    return meters.conductor[meters.start[at] : meters.start[at + 1]]


def _one(
    linear: Linearisation,
    found: Violations,
    k: int,
    gradient: Gradient,
    resources: Resources,
    moved_kva: Complex | None,
) -> tuple[tuple[float, ...], Float]:
    """The five totals of a violation and its table (9, R)."""
    kind, flow = LimitKind(int(found.kind[k])), linear.flow
    worse = 1.0 if kind in _UPWARDS or (kind in _RAMPS and found.value[k] > 0.0) else -1.0
    excess = max(-float(found.margin[k]), 0.0)
    by_kw, by_kvar = _at_resources(gradient, resources)
    if kind in _RAMPS:
        now = moved_kva if moved_kva is not None else np.full(len(by_kw), np.nan + 0j)
        loads = injections = np.nan
    else:
        now = resources.p_kw + 1j * resources.q_kvar
        loads = worse * _total(gradient.port_kw, gradient.port_kvar, flow.load_kva)
        injections = worse * _total(gradient.node_kw, gradient.node_kvar, flow.inject_kva)
    part = worse * (by_kw * now.real + by_kvar * now.imag)
    at_port = resources.port >= 0
    loads, injections = loads - part[at_port].sum(), injections - part[~at_port].sum()
    rest = np.nansum([loads, injections])
    pushing = np.maximum(part, 0.0).sum() + max(loads, 0.0) + max(injections, 0.0)
    if kind in _RAMPS:
        pushing = np.maximum(part, 0.0).sum() + max(worse * found.value[k] - part.sum(), 0.0)
    room_kw, full_kw = _reach(worse * by_kw, resources.p_up_kw, resources.p_down_kw)
    room_kvar, full_kvar = _reach(worse * by_kvar, resources.q_up_kvar, resources.q_down_kvar)
    cut_kw, cut_kvar = _enough(full_kw, excess), _enough(full_kvar, excess)
    network = worse * float(found.value[k]) - part.sum() - rest
    head = (excess, loads, injections, network, float(full_kw.sum() + full_kvar.sum()))
    rows = np.arange(len(by_kw), dtype=np.float64)
    share = np.divide(part, pushing, out=np.zeros_like(part), where=pushing > 0.0)
    table = np.stack([
        rows, by_kw, by_kvar, part, share, cut_kw * room_kw, cut_kvar * room_kvar,
        cut_kw * full_kw, cut_kvar * full_kvar,
    ])  # fmt: skip
    return head, table


def _at_resources(gradient: Gradient, resources: Resources) -> tuple[Float, Float]:
    """(R,) change of the quantity per kW and per kvar of each resource."""
    there = resources.port >= 0
    spread = resources.weight.T
    found = []
    for node, port in ((gradient.node_kw, gradient.port_kw), (gradient.node_kvar, gradient.port_kvar)):
        by = np.asarray(spread @ node, dtype=np.float64)
        by[there] += port[resources.port[there]]
        found.append(by)
    return found[0], found[1]


def _total(by_kw: Float, by_kvar: Float, kva: Complex) -> float:
    return float(by_kw @ kva.real + by_kvar @ kva.imag)


def _reach(worse: Float, up: NDArray[np.floating], down: NDArray[np.floating]) -> tuple[Float, Float]:
    """The move to the relieving end of the room, and the relief there."""
    move = np.where(worse > 0.0, -np.asarray(down, dtype=np.float64), np.asarray(up, dtype=np.float64))
    move = np.where(worse == 0.0, 0.0, move)
    return move, np.maximum(-worse * move, 0.0)


def _enough(relief: Float, excess: float) -> Float:
    """Share of a move that ends the violation, at most 1."""
    share: Float = np.minimum(np.divide(excess, relief, out=np.ones_like(relief), where=relief > 0.0), 1.0)
    return share


def _ranked(table: Float, most: int) -> Float:
    """The weightiest rows, the largest contribution first; resources that matter in no way are left out."""
    contribution = np.nan_to_num(table[3])
    weight = np.maximum(np.abs(contribution), table[7] + table[8])
    kept = np.flatnonzero(weight > ROUNDING * weight.max(initial=0.0))
    kept = kept[np.argsort(-weight[kept], kind="stable")[:most]]
    kept = np.sort(kept)
    order = np.lexsort((-(table[7] + table[8])[kept], -contribution[kept]))
    ranked: Float = table[:, kept[order]]
    return ranked
