"""What rows of the network ask of a step: which are near a limit, and the least change that mends them.

Rows are upper limits at the exact values of one step; their sensitivities are those at the mean of the steps
to be mended. Broken and near rows are projected away in turn (Hildreth, "A quadratic programming procedure",
Naval Research Logistics Quarterly 4, 1957), taken in as they turn out broken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Complex, Float
from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.plan.network._columns import Columns
from gridflock.plan.network._deciders import softened
from gridflock.plan.network._derivatives import Derivatives, Matrix
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._movement import Dispatch, Guard, Kinds, Space, possible
from gridflock.plan.network._verdict import Limits, Verdict, judged
from gridflock.units import Mask, Money, Rows

NEAR_PU, NEAR = 2e-4, 2e-3
"""Rows so near to a limit, pu and part of it, are kept from being broken by the repair of others."""
ASIDE_PU, ASIDE = 2e-5, 2e-4
"""How far inside a limit a broken row is put, pu and part of it."""
MATTERS = 0.2
"""A row moves ports with at least this part of its largest sensitivity."""
LARGE_PU, LARGE = 5e-4, 0.01
"""A row that one kW at a port moves by so much, pu and part of its limit, is of the port's own service."""
MOST_DUAL = 4.0
"""Most of a dual, in what its row would need alone: rows that cannot hold do not drag all else."""
SWEEPS = 80
PASSES, AT_ONCE = 12, 64
"""How often rows are taken in, and how many at once."""
OWED = 1e3
"""Money per kWh of a need that may stay unserved: far more than any energy is worth."""
MOST_GUARDED = 512
"""Near rows of a step that ports are kept from pushing."""


@dataclass(frozen=True, slots=True, eq=False)
class Workshop:
    """What a repair works with.

    Attributes:
        feeder: with its device ports.
        exact: its power flow.
        limits: what is to be kept.
        bands: the devices.
        columns: where they stand.
        price: (k, T) worth of a kWh injected at each port, limits included where known, money/kWh.
        kinds: the devices; and their needs that may stay unserved at a price beyond all others.
    """

    feeder: Feeder
    exact: Exact
    limits: Limits
    bands: Bands
    columns: Columns
    price: Money
    kinds: Kinds = field(init=False)

    def __post_init__(self) -> None:
        """Soften the needs."""
        object.__setattr__(self, "kinds", Kinds(self.bands, softened(self.bands, OWED)))

    def possible(self, dispatch: Dispatch) -> Dispatch:
        """What of a dispatch the devices can do; needs may stay unserved."""
        return possible(self.kinds.soft, self.columns, dispatch)

    def judged(self, dispatch: Dispatch) -> tuple[Points, Verdict]:
        """AC of all steps, against the limits."""
        columns = self.columns
        p_kw = np.asarray(columns.sums @ dispatch.p_kw)
        points = self.exact.points(p_kw, columns.spread_kvar(dispatch.q_kvar))
        amps = self.exact.currents(points.v)
        return points, judged(self.feeder.network, self.limits, points.v, amps)


@dataclass(frozen=True, slots=True, eq=False)
class NearRows:
    """Rows near a limit in some step: nodes, which of the exact flow's conductors, and sensitivities."""

    nodes: Rows
    at: Indices
    volts: Matrix
    amps: Matrix


def near_rows(
    of: Workshop,
    dispatch: Dispatch,
    verdict: Verdict,
    steps: Mask,
    near: tuple[float, float] = (NEAR_PU, NEAR),
) -> NearRows:
    """The rows near a limit in some step, their sensitivities at the mean of the steps to be corrected."""
    columns, conductors = of.columns, of.exact.conductors
    close = (verdict.low_pu > -near[0]) | (verdict.high_pu > -near[0])
    nodes = np.flatnonzero(close.any(axis=0)).astype(np.int32)
    at = np.flatnonzero((verdict.over[:, conductors] > -near[1]).any(axis=0))
    p_kw = np.asarray(columns.sums @ dispatch.p_kw)
    powers = of.feeder.powers(p_kw, columns.spread_kvar(dispatch.q_kvar))
    slopes = Derivatives(of.feeder, powers[steps].mean(axis=0), steps)
    return NearRows(nodes, at, *slopes.rows(nodes, conductors[at], columns.active, columns.reactive))


@dataclass(frozen=True, slots=True, eq=False)
class AtStep:
    """Near rows at one step, as upper limits: their signs and turns, how much they may grow, what counts."""

    sign: Matrix
    along: Matrix
    across: Matrix
    room: Float
    slack: Float

    def rows(self, of: NearRows, which: Indices) -> Matrix:
        """(len(which), C) sensitivities of some rows."""
        count = len(self.sign)
        a = np.empty((len(which), of.volts.shape[1]), dtype=np.float32)
        v, i = which[which < count], which[which >= count] - count
        a[which < count] = self.sign[v, None] * of.volts[v]
        a[which >= count] = self.along[i, None] * of.amps[0, i] + self.across[i, None] * of.amps[1, i]
        return a

    def growth(self, of: NearRows, x: Float) -> Float:
        """(R,) how much all rows grow by a change of the columns."""
        x32 = x.astype(np.float32)
        amps = self.along * (of.amps[0] @ x32) + self.across * (of.amps[1] @ x32)
        grown: Float = np.concatenate([self.sign * (of.volts @ x32), amps]).astype(np.float64)
        return grown


def at_step(
    of: Workshop, rows: NearRows, points: Points, verdict: Verdict, t: int, further: float = 1.0
) -> AtStep:
    """Near rows as upper limits at one step; those about to be broken on both sides by their nearer one.

    Args:
        of: what the repair works with.
        rows: near in some step.
        points: of the dispatch.
        verdict: on it.
        t: the step.
        further: broken rows are put so many times as far inside as usual: where they stayed broken.
    """
    conductors = of.exact.conductors[rows.at]
    v_low, v_high = verdict.low_pu[t, rows.nodes], verdict.high_pu[t, rows.nodes]
    beside = of.feeder.network.branch_blocks.node[conductors]
    turn = points.amps[t, rows.at] * np.conj(points.v[t, beside])
    turn /= np.maximum(np.abs(turn), 1e-12) * of.limits.most_a[t, conductors]
    over = verdict.over[t, conductors]
    return AtStep(
        np.where(v_high > v_low, 1.0, -1.0).astype(np.float32),
        turn.real.astype(np.float32),
        turn.imag.astype(np.float32),
        np.concatenate([_room(np.maximum(v_low, v_high), further * ASIDE_PU), _room(over, further * ASIDE)]),
        np.repeat([0.1 * ASIDE_PU, 0.1 * ASIDE], [len(v_low), len(over)]),
    )


def pushed(of: Workshop, rows: NearRows, points: Points, verdict: Verdict, side: float) -> Guard:
    """Which ports have a say in rows that are near or broken (``side`` 1), or broken (0), and which way."""
    ports = of.columns.ports
    found = Guard.none((ports, len(verdict.solved)))
    reach = 2.0 * np.repeat([ASIDE_PU, ASIDE], [len(rows.nodes), len(rows.at)])
    for t in np.flatnonzero(verdict.solved).tolist():
        near = at_step(of, rows, points, verdict, t)
        which = np.flatnonzero(near.room < side * reach)
        which = which[np.argsort(near.room[which] / reach[which], kind="stable")[:MOST_GUARDED]]
        if not len(which):
            continue
        a = near.rows(rows, which)[:, :ports]
        most = MATTERS * np.abs(a).max(axis=1, keepdims=True)
        found.less[:, t], found.more[:, t] = (a < -most).any(axis=0), (a > most).any(axis=0)
    return found


def own_space(
    of: Workshop, rows: NearRows, points: Points, verdict: Verdict, *, reactive: bool = False
) -> Space:
    """How much every port may change before a row of its own service, near in some step, is full.

    Args:
        of: what the repair works with.
        rows: near in some step.
        points: of the dispatch.
        verdict: on it.
        reactive: kvar of the reactive columns instead of kW of the ports.
    """
    ports, conductors = of.columns.ports, of.exact.conductors[rows.at]
    mine = slice(ports, None) if reactive else slice(0, ports)
    volts, amps = rows.volts[:, mine], rows.amps[:, :, mine]
    space = Space.none((volts.shape[1], len(verdict.solved)))
    row, port = np.nonzero(np.abs(volts) > LARGE_PU)
    slope = volts[row, port].astype(np.float64)
    down, up = (
        -(beyond[:, rows.nodes[row]] + ASIDE_PU) / np.abs(slope)
        for beyond in (verdict.low_pu, verdict.high_pu)
    )
    np.minimum.at(space.more, port, np.maximum(np.where(slope > 0.0, up, down), 0.0).T)
    np.minimum.at(space.less, port, np.maximum(np.where(slope > 0.0, down, up), 0.0).T)
    most, beside = (
        (1.0 - ASIDE) * of.limits.most_a[:, conductors],
        of.feeder.network.branch_blocks.node[conductors],
    )
    size = np.hypot(amps[0], amps[1]) / most.mean(axis=0)[:, None]
    row, port = np.nonzero(size > LARGE)
    v = points.v[:, beside[row]]
    with np.errstate(invalid="ignore"):  # steps without a solution have no edge
        now = points.amps[:, rows.at[row]] * np.conj(v) / (np.abs(v) * most[:, row])
    slopes = (amps[0, row, port] + 1j * amps[1, row, port]) / most[:, row]
    np.minimum.at(space.more, port, _to_the_edge(now, slopes).T)
    np.minimum.at(space.less, port, _to_the_edge(now, -slopes).T)
    return space


def _to_the_edge(now: Complex, slope: Complex) -> Float:
    """Largest ``x`` with ``|now + slope·x| <= 1``; 0 where there is none."""
    now = np.nan_to_num(now, nan=2.0)
    along, steep = (np.conj(now) * slope).real, np.abs(slope) ** 2
    root = along**2 + steep * (1.0 - np.abs(now) ** 2)
    edge: Float = np.maximum((np.sqrt(np.maximum(root, 0.0)) - along) / steep, 0.0)
    return np.where(root >= 0.0, edge, 0.0)


def least_change(
    rows: NearRows, near: AtStep, weight: Float, low: Float, high: Float, holding: float = MOST_DUAL
) -> Float:
    """(C,) least change of all columns in one step; rows are taken in as they turn out broken.

    Args:
        rows: near a limit.
        near: at the step.
        weight: (C,) by how much more a column moves.
        low: (C,) least change of each.
        high: (C,) most.
        holding: bound of the duals of rows that hold; infinite where they must, whatever others ask.
    """
    taken = np.zeros(0, dtype=np.int64)
    x, wish, dual = np.zeros(len(weight)), np.zeros(len(weight)), np.zeros(0)
    for _ in range(PASSES):
        beyond = (near.growth(rows, x) - near.room) / near.slack
        beyond[taken] = 0.0
        new = np.argsort(-beyond, kind="stable")[:AT_ONCE]
        new = new[beyond[new] > 1.0]
        if not len(new):
            break
        taken, dual = np.append(taken, new), np.append(dual, np.zeros(len(new)))
        a = near.rows(rows, taken)
        project(a, near.room[taken], near.slack[taken], weight, low, high, dual, wish, x, holding)
    return x


def _room(beyond: Float, aside: float) -> Float:
    """By how much a row may still grow: broken ones go inside, near ones may take half of what is left."""
    room: Float = np.where(beyond > 0.0, -beyond - aside, np.minimum(-0.5 * beyond, -beyond))
    return room


@compiled
def _used(a: Matrix, low: Array, high: Array, begin: Indices) -> NDArray[np.int32]:
    """Columns that each row moves, one row's after the other's; ``begin`` (R + 1,) is filled."""
    rows, columns = a.shape
    used = np.empty(rows * columns, dtype=np.int32)
    for r in range(rows):
        most = 0.0
        for c in range(columns):
            if high[c] > low[c]:
                most = max(most, abs(a[r, c]))
        count = begin[r]
        for c in range(columns):
            if high[c] > low[c] and most > 0.0 and abs(a[r, c]) >= MATTERS * most:
                used[count] = c
                count += 1
        begin[r + 1] = count
    return used


@compiled
def _steepness(
    a: Matrix,
    r: int,
    used: NDArray[np.int32],
    sense: float,
    weight: Array,
    low: Array,
    high: Array,
    wish: Array,
) -> float:
    """How much a row falls (where ``sense`` > 0) per unit of its dual, by the columns that still can move."""
    steep = 0.0
    for c in used:
        down = sense * a[r, c] > 0.0
        if (down and low[c] < wish[c] <= high[c]) or (not down and low[c] <= wish[c] < high[c]):
            steep += weight[c] * a[r, c] * a[r, c]
    return steep


@compiled
def project(
    a: Matrix,
    room: Array,
    slack: Array,
    weight: Array,
    low: Array,
    high: Array,
    dual: Array,
    wish: Array,
    x: Array,
    holding: float = MOST_DUAL,
) -> None:
    """Least weighted change ``x`` in ``[low, high]`` with ``a·x <= room``, by sweeps; as near as sweeps come.

    ``x = clip(wish)``, ``wish = -weight·aᵀ·dual``, each dual in turn set to where its own row holds. Duals,
    wishes and ``x`` go on from where they stand. Duals are bounded (``MOST_DUAL``), those of rows that are
    not broken by ``holding``.
    """
    begin = np.zeros(len(a) + 1, dtype=np.int64)
    used = _used(a, low, high, begin)
    most = np.empty(len(a))
    for r in range(len(a)):
        own = used[begin[r] : begin[r + 1]]
        whole = (weight[own] * a[r][own] ** 2).sum()
        part = holding if room[r] >= 0.0 else MOST_DUAL
        most[r] = part * (abs(room[r]) + slack[r]) / whole if whole > 0.0 else 0.0
    for _ in range(SWEEPS):
        quiet = True
        for r in range(len(a)):
            gap = -room[r]
            for c in range(len(x)):
                gap += a[r, c] * x[c]
            if gap <= slack[r] and (dual[r] == 0.0 or gap > -slack[r]):
                continue
            own = used[begin[r] : begin[r + 1]]
            steep = _steepness(a, r, own, gap, weight, low, high, wish)
            step = min(max(gap / steep, -dual[r]), most[r] - dual[r]) if steep > 0.0 else 0.0
            if step == 0.0:
                continue
            quiet = False
            dual[r] += step
            for c in own:
                wish[c] -= step * weight[c] * a[r, c]
                x[c] = min(max(wish[c], low[c]), high[c])
        if quiet:
            break
