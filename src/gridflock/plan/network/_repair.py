"""The last violations of a plan taken away, step by step, with as little change as there can be.

In every step that breaks a limit, the rows that are broken or near are projected away in turn (Hildreth's
method; "A quadratic programming procedure", Naval Research Logistics Quarterly 4, 1957) on the derivatives
at the mean of those steps: reactive power first, active power at a fraction of its weight, and only at ports
that matter to the row. What devices with a store are asked becomes a bound on that step, and their
schedule the nearest one that keeps it: energy moves in time instead of being lost. Then AC again. A step
that became worse takes half of its next correction, and where corrections lead nowhere the step shrinks
towards the day without devices (``_fallback``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Float
from gridflock.plan.devices import Bands
from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.plan.network._columns import Columns
from gridflock.plan.network._derivatives import Derivatives, Matrix
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._fallback import shrunk
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._movement import Bounds, Dispatch, Guard, found_unable, moved, rooms, shares
from gridflock.plan.network._verdict import Limits, Verdict, judged
from gridflock.units import Mask, Money, Rows

NEAR_PU, NEAR = 2e-4, 2e-3
"""Rows so near to a limit, pu and part of it, are kept from being broken by the repair of others."""
ASIDE_PU, ASIDE = 2e-5, 2e-4
"""How far inside a limit a broken row is put, pu and part of it."""
ACTIVE = 0.15
"""Weight of a kW beside that of a kvar: it moves as much less."""
MATTERS = 0.2
"""A row moves ports with at least this part of its largest sensitivity."""
MOST_DUAL = 4.0
"""Most of a dual, in what its row would need alone: rows that cannot hold do not drag all else."""
SWEEPS = 80
PASSES, AT_ONCE = 12, 64
"""How often rows are taken in, and how many at once."""
PULL, MOST_PULL = 0.5, 8.0
"""Money per kW² and step of straying from what is wanted, doubled round by round: energy first goes where it
is worth most, later where it was."""
MOST_GUARDED = 512
"""Near rows of a step that ports are kept from pushing."""
MOST_ROUNDS = 40
PATIENCE = 3
"""Rounds without less violation after which a step shrinks instead."""
ENOUGH = 0.7
"""A step is tired by a round that leaves more than this part of its violation."""
ASTRAY, SMALL = 1.2, 0.01
"""A round whose violations sum up to so many times the best, and so much more, is taken back."""
SHRINK, LOCAL = 0.6, 6
"""What stays of a step that resists, round by round; for so many rounds only of ports with a say in it."""
FINAL = 0.02
"""Less of a step than this part is nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a repair.

    Attributes:
        voltages: nodes and steps beyond a limit before it.
        currents: conductors and steps.
        steps: how many steps break a limit.
        worst_pu: largest voltage violation.
        worst_over: largest current violation, as a part of the limit.
        shrunk: how many of the steps it shrank.
    """

    voltages: int
    currents: int
    steps: int
    worst_pu: float
    worst_over: float
    shrunk: int


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A plan after its repair.

    Attributes:
        dispatch: what devices do; what was handed in where nothing was broken.
        points: its operating points.
        verdict: over every node, conductor and step.
        rounds: what it took.
    """

    dispatch: Dispatch
    points: Points
    verdict: Verdict
    rounds: tuple[Round, ...]


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
    """

    feeder: Feeder
    exact: Exact
    limits: Limits
    bands: Bands
    columns: Columns
    price: Money

    def judged(self, dispatch: Dispatch) -> tuple[Points, Verdict]:
        """AC of all steps, against the limits."""
        columns = self.columns
        p_kw = np.asarray(columns.sums @ dispatch.p_kw)
        points = self.exact.points(p_kw, columns.spread_kvar(dispatch.q_kvar))
        amps = self.exact.currents(points.v)
        return points, judged(self.feeder.network, self.limits, points.v, amps)


def repair(
    of: Workshop,
    dispatch: Dispatch,
    *,
    rounds: int = MOST_ROUNDS,
    going: Callable[[], bool] = lambda: True,
    watch: Callable[[Round], None] = lambda _: None,
) -> Repaired:
    """Take all violations out of a plan, or as many as can be.

    Args:
        of: feeder, limits and devices.
        dispatch: the plan; its schedules are possible for the devices.
        rounds: most of them.
        going: asked before each round whether there is time for it.
        watch: told of every round.

    Returns:
        The plan with the least violation found; look at ``verdict.clean``.
    """
    points, verdict = of.judged(dispatch)
    now = best = Repaired(dispatch, points, verdict, ())
    held, unable = Bounds.none(dispatch.p_kw.shape), Guard.none(dispatch.p_kw.shape)
    best_held, steps = held, dispatch.p_kw.shape[1]
    damping, tired = np.ones(steps), np.zeros(steps, dtype=np.int64)
    log: list[Round] = []
    while not now.verdict.clean and len(log) < rounds and going():
        size = now.verdict.by_step
        broken = size > 0.0
        giving_up = broken & ((tired >= PATIENCE) | ~now.verdict.solved)
        log.append(_round(now.verdict, broken, giving_up))
        watch(log[-1])
        pull = min(PULL * 2.0 ** len(log), MOST_PULL)
        tried, held, unable = _tried(
            of, now, held, unable, broken & ~giving_up, giving_up, damping, tired, pull
        )
        points, verdict = of.judged(tried)
        worse = verdict.by_step > size
        damping = np.where(worse, 0.5 * damping, np.minimum(1.0, 2.0 * damping))
        tired = np.where(verdict.by_step > ENOUGH * size, tired + broken, np.where(giving_up, tired, 0))
        now = Repaired(tried, points, verdict, ())
        if _score(verdict) <= _score(best.verdict):
            best, best_held = now, held
        elif not _score(verdict) <= ASTRAY * _score(best.verdict) + SMALL:
            now, held = best, best_held
            damping = 0.5 * damping
    return replace(best, rounds=tuple(log))


def _tried(
    of: Workshop,
    now: Repaired,
    held: Bounds,
    unable: Guard,
    working: Mask,
    giving_up: Mask,
    damping: Float,
    tired: Indices,
    pull: float,
) -> tuple[Dispatch, Bounds, Guard]:
    """The next dispatch, some steps corrected, others shrunk; what holds devices, and who cannot do more."""
    dispatch, points, verdict = now.dispatch, now.points, now.verdict
    guard = Guard.none((of.columns.ports, len(verdict.solved)))
    where = np.repeat(giving_up[None, :], of.columns.ports, axis=0)
    looked = (working | giving_up) & verdict.solved
    if looked.any():
        rows = _near(of, dispatch, verdict, looked)
        guard = _pushed(of, rows, points, verdict, 1.0)
        if working.any():
            dispatch, held, unable = _corrected(of, now, held, guard, unable, rows, working, damping, pull)
        concerned = _pushed(of, rows, points, verdict, 0.0)
        local = giving_up & verdict.solved & (tired < PATIENCE + LOCAL)
        where[:, local] = (concerned.less | concerned.more)[:, local]
    if giving_up.any():
        part = _part(tired)
        dispatch, held = shrunk(of.bands, of.columns, of.price, dispatch, held, guard, where, part, pull)
    return dispatch, held, unable


def _round(verdict: Verdict, broken: Mask, giving_up: Mask) -> Round:
    return Round(
        verdict.voltages, verdict.currents, int(broken.sum()), verdict.worst_pu, verdict.worst_over,
        int(giving_up.sum()),
    )  # fmt: skip


def _score(verdict: Verdict) -> float:
    """Sum of every step's worst violation."""
    return float(verdict.by_step.sum())


def _part(tired: Indices) -> Float:
    """(T,) what may stay of steps that resist: the longer they do the less."""
    part: Float = np.power(SHRINK, tired - PATIENCE + 1.0, dtype=np.float64)
    part[part < FINAL] = 0.0
    return part


# ---- corrections -------------------------------------------------------------------------------------


def _corrected(
    of: Workshop,
    now: Repaired,
    held: Bounds,
    guard: Guard,
    unable: Guard,
    rows: _Rows,
    steps: Mask,
    damping: Float,
    pull: float,
) -> tuple[Dispatch, Bounds, Guard]:
    """The dispatch with the least change that would mend some steps, its bounds, and who cannot do more."""
    columns, dispatch = of.columns, now.dispatch
    room = rooms(of.bands, dispatch, unable, steps)
    less, more = (np.asarray(columns.sums @ sum(kinds)) for kinds in (room.less, room.more))
    q_room = columns.reactive_room(dispatch.p_kw)
    low = np.concatenate([-less, -q_room - dispatch.q_kvar])
    high = np.concatenate([more, q_room - dispatch.q_kvar])
    weight = np.repeat([ACTIVE, 1.0], [len(less), len(q_room)])
    change: Float = np.zeros_like(low)
    for t in np.flatnonzero(steps).tolist():
        near = _at_step(of, rows, now.points, now.verdict, t)
        change[:, t] = damping[t] * _least_change(rows, near, weight, low[:, t], high[:, t])
    wanted = dispatch.p_kw + shares(columns, room, change[: len(less)])
    moving = Dispatch(dispatch.p_kw, dispatch.q_kvar + change[len(less) :])
    found = moved(of.bands, columns, of.price, moving, held, guard, wanted, pull)
    kept = held.after(dispatch.p_kw, found.p_kw, wanted)
    return found, kept, found_unable(unable, dispatch.p_kw, wanted, found.p_kw)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows near a limit in some step: nodes, which of the exact flow's conductors, and sensitivities."""

    nodes: Rows
    at: Indices
    volts: Matrix
    amps: Matrix


def _near(of: Workshop, dispatch: Dispatch, verdict: Verdict, steps: Mask) -> _Rows:
    """The rows near a limit in some step, their sensitivities at the mean of the steps to be corrected."""
    columns, conductors = of.columns, of.exact.conductors
    close = (verdict.low_pu > -NEAR_PU) | (verdict.high_pu > -NEAR_PU)
    nodes = np.flatnonzero(close.any(axis=0)).astype(np.int32)
    at = np.flatnonzero((verdict.over[:, conductors] > -NEAR).any(axis=0))
    p_kw = np.asarray(columns.sums @ dispatch.p_kw)
    powers = of.feeder.powers(p_kw, columns.spread_kvar(dispatch.q_kvar))
    slopes = Derivatives(of.feeder, powers[steps].mean(axis=0))
    return _Rows(nodes, at, *slopes.rows(nodes, conductors[at], columns.active, columns.reactive))


@dataclass(frozen=True, slots=True, eq=False)
class _AtStep:
    """Near rows at one step, as upper limits: their signs and turns, how much they may grow, what counts."""

    sign: Matrix
    along: Matrix
    across: Matrix
    room: Float
    slack: Float

    def rows(self, of: _Rows, which: Indices) -> Matrix:
        """(len(which), C) sensitivities of some rows."""
        count = len(self.sign)
        a = np.empty((len(which), of.volts.shape[1]), dtype=np.float32)
        v, i = which[which < count], which[which >= count] - count
        a[which < count] = self.sign[v, None] * of.volts[v]
        a[which >= count] = self.along[i, None] * of.amps[0, i] + self.across[i, None] * of.amps[1, i]
        return a

    def growth(self, of: _Rows, x: Float) -> Float:
        """(R,) how much all rows grow by a change of the columns."""
        x32 = x.astype(np.float32)
        amps = self.along * (of.amps[0] @ x32) + self.across * (of.amps[1] @ x32)
        grown: Float = np.concatenate([self.sign * (of.volts @ x32), amps]).astype(np.float64)
        return grown


def _at_step(of: Workshop, rows: _Rows, points: Points, verdict: Verdict, t: int) -> _AtStep:
    conductors = of.exact.conductors[rows.at]
    v_low, v_high = verdict.low_pu[t, rows.nodes], verdict.high_pu[t, rows.nodes]
    beside = of.feeder.network.branch_blocks.node[conductors]
    turn = points.amps[t, rows.at] * np.conj(points.v[t, beside])
    turn /= np.maximum(np.abs(turn), 1e-12) * of.limits.most_a[t, conductors]
    over = verdict.over[t, conductors]
    return _AtStep(
        np.where(v_high > v_low, 1.0, -1.0).astype(np.float32),
        turn.real.astype(np.float32),
        turn.imag.astype(np.float32),
        np.concatenate([_room(np.maximum(v_low, v_high), ASIDE_PU), _room(over, ASIDE)]),
        np.repeat([0.1 * ASIDE_PU, 0.1 * ASIDE], [len(v_low), len(over)]),
    )


def _pushed(of: Workshop, rows: _Rows, points: Points, verdict: Verdict, side: float) -> Guard:
    """Which ports have a say in rows that are near or broken (``side`` 1), or broken (0), and which way."""
    ports = of.columns.ports
    found = Guard.none((ports, len(verdict.solved)))
    reach = 2.0 * np.repeat([ASIDE_PU, ASIDE], [len(rows.nodes), len(rows.at)])
    for t in np.flatnonzero(verdict.solved).tolist():
        near = _at_step(of, rows, points, verdict, t)
        which = np.flatnonzero(near.room < side * reach)
        which = which[np.argsort(near.room[which] / reach[which], kind="stable")[:MOST_GUARDED]]
        if not len(which):
            continue
        a = near.rows(rows, which)[:, :ports]
        most = MATTERS * np.abs(a).max(axis=1, keepdims=True)
        found.less[:, t], found.more[:, t] = (a < -most).any(axis=0), (a > most).any(axis=0)
    return found


def _least_change(rows: _Rows, near: _AtStep, weight: Float, low: Float, high: Float) -> Float:
    """(C,) least change of all columns in one step; rows are taken in as they turn out broken."""
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
        _project(a, near.room[taken], near.slack[taken], weight, low, high, dual, wish, x)
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
def _project(
    a: Matrix,
    room: Array,
    slack: Array,
    weight: Array,
    low: Array,
    high: Array,
    dual: Array,
    wish: Array,
    x: Array,
) -> None:
    """Least weighted change ``x`` in ``[low, high]`` with ``a·x <= room``, by sweeps; as near as sweeps come.

    ``x = clip(wish)``, ``wish = -weight·aᵀ·dual``, each dual in turn set to where its own row holds. Duals,
    wishes and ``x`` go on from where they stand.
    """
    begin = np.zeros(len(a) + 1, dtype=np.int64)
    used = _used(a, low, high, begin)
    most = np.empty(len(a))
    for r in range(len(a)):
        own = used[begin[r] : begin[r + 1]]
        whole = (weight[own] * a[r][own] ** 2).sum()
        most[r] = MOST_DUAL * (abs(room[r]) + slack[r]) / whole if whole > 0.0 else 0.0
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
