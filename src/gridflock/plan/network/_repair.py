"""The last violations of a plan taken away, step by step, with as little change as there can be.

In every step that breaks a limit, the rows that are broken or near are projected away in turn (Hildreth's
method; "A quadratic programming procedure", Naval Research Logistics Quarterly 4, 1957) on the derivatives
at the mean of those steps: reactive power first, active power at a fraction of its weight, and only at ports
that matter to the row. What devices with a store are asked becomes a bound on that step, and their
schedule the nearest one that keeps it: energy moves in time instead of being lost. Then AC again. A step
that became worse takes half of its next correction, and where corrections lead nowhere the step shrinks
towards the day without devices (``_fallback``). Needs that had to yield get back what there is space for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.devices._compiled import Indices
from gridflock.plan.network._correction import (
    NearRows,
    Workshop,
    at_step,
    least_change,
    near_rows,
    own_space,
    pushed,
)
from gridflock.plan.network._exact import Points
from gridflock.plan.network._fallback import shrunk
from gridflock.plan.network._movement import (
    Bounds,
    Dispatch,
    Guard,
    Space,
    found_unable,
    moved,
    rooms,
    shares,
)
from gridflock.plan.network._needs import Kept, served
from gridflock.plan.network._verdict import Verdict
from gridflock.units import Mask

__all__ = ["Repaired", "Round", "Workshop", "repair"]

ACTIVE = 0.15
"""Weight of a kW beside that of a kvar: it moves as much less."""
PULL, MOST_PULL = 0.5, 8.0
"""Money per kW² and step of straying from what is wanted, doubled round by round: energy first goes where it
is worth most, later where it was."""
MOST_ROUNDS = 40
PATIENCE = 3
"""Rounds without less violation after which a step shrinks instead."""
ENOUGH = 0.7
"""A step is tired by a round that leaves more than this part of its violation."""
ASTRAY, SMALL = 1.2, 0.01
"""A round whose violations sum up to so many times the best, and so much more, is taken back."""
SHRINK, LOCAL = 0.6, 6
"""What stays of a step that resists, round by round; for so many rounds only of ports with a say in it."""
STEP, UNSOLVED = 1e-3, 1e3
"""What a broken step counts beside its worst violation, so that no small one is kept for the sake of another
step that cannot be mended; and a step without an AC solution."""
FINAL = 0.02
"""Less of a step than this part is nothing."""
SPENT = PATIENCE + int(np.ceil(np.log(FINAL) / np.log(SHRINK))) - 1
"""Rounds without less violation after which nothing is left of a step to shrink."""


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
        unsolved: how many of the steps have no AC solution.
    """

    voltages: int
    currents: int
    steps: int
    worst_pu: float
    worst_over: float
    shrunk: int
    unsolved: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A plan after its repair.

    Attributes:
        dispatch: what devices do and can; what was handed in where they can and nothing was broken.
        points: its operating points.
        verdict: over every node, conductor and step.
        rounds: what it took.
    """

    dispatch: Dispatch
    points: Points
    verdict: Verdict
    rounds: tuple[Round, ...]


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
        dispatch: the plan; what of it devices cannot do is corrected first.
        rounds: most of them.
        going: asked before each round whether there is time for it.
        watch: told of every round.

    Returns:
        The plan with the least violation found; look at ``verdict.clean``. Where all steps still broken have
        been shrunk to nothing without avail, the search ends.
    """
    dispatch = of.possible(dispatch)
    points, verdict = of.judged(dispatch)
    now = best = Repaired(dispatch, points, verdict, ())
    held, unable = Bounds.none(dispatch.p_kw.shape), Guard.none(dispatch.p_kw.shape)
    best_held, steps = held, dispatch.p_kw.shape[1]
    damping, tired = np.ones(steps), np.zeros(steps, dtype=np.int64)
    log: list[Round] = []
    while not now.verdict.clean and len(log) < rounds and going():
        size = _sizes(now.verdict)
        broken = size > 0.0
        if (tired[broken] > SPENT).all():
            break
        tired = np.where(now.verdict.solved, tired, np.maximum(tired, PATIENCE))
        giving_up = broken & (tired >= PATIENCE)
        log.append(_round(now.verdict, broken, giving_up))
        watch(log[-1])
        pull = min(PULL * 2.0 ** len(log), MOST_PULL)
        tried, held, unable = _tried(
            of, now, held, unable, broken & ~giving_up, giving_up, damping, tired, pull
        )
        tried = of.possible(tried)
        points, verdict = of.judged(tried)
        left = _sizes(verdict)
        damping = np.where(left > size, 0.5 * damping, np.minimum(1.0, 2.0 * damping))
        tired = np.where(left > ENOUGH * size, tired + broken, np.where(giving_up, tired, 0))
        now = Repaired(tried, points, verdict, ())
        if _score(verdict) <= _score(best.verdict):
            best, best_held = now, held
        elif not _score(verdict) <= ASTRAY * _score(best.verdict) + SMALL:
            now, held = best, best_held
            damping = 0.5 * damping
    return replace(_given_back(of, best) if log else best, rounds=tuple(log))


def _given_back(of: Workshop, found: Repaired) -> Repaired:
    """The plan after needs that had to yield took what space there is for them."""
    kept = served(of, Kept(found.dispatch, found.points, found.verdict), rounds=0)
    return replace(found, dispatch=kept.dispatch, points=kept.points, verdict=kept.verdict)


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
    shape = of.columns.ports, len(verdict.solved)
    guard, space = Guard.none(shape), Space.none(shape)
    where = np.repeat(giving_up[None, :], of.columns.ports, axis=0)
    looked = (working | giving_up) & verdict.solved
    if looked.any():
        rows = near_rows(of, dispatch, verdict, looked)
        guard, space = pushed(of, rows, points, verdict, 1.0), own_space(of, rows, points, verdict)
        if working.any():
            dispatch, held, unable = _corrected(
                of, now, held, guard, space, unable, rows, working, damping, tired, pull
            )
        concerned = pushed(of, rows, points, verdict, 0.0)
        local = giving_up & verdict.solved & (tired < PATIENCE + LOCAL)
        where[:, local] = (concerned.less | concerned.more)[:, local]
    if giving_up.any():
        part = _part(tired)
        dispatch, held = shrunk(
            of.kinds, of.columns, of.price, dispatch, held, guard, space, where, part, pull
        )
    return dispatch, held, unable


def _round(verdict: Verdict, broken: Mask, giving_up: Mask) -> Round:
    return Round(
        verdict.voltages, verdict.currents, int(broken.sum()), verdict.worst_pu, verdict.worst_over,
        int(giving_up.sum()), verdict.unsolved,
    )  # fmt: skip


def _sizes(verdict: Verdict) -> Float:
    """(T,) each step's worst violation, pu or part of a limit."""
    return np.where(verdict.solved, verdict.by_step, UNSOLVED)


def _score(verdict: Verdict) -> float:
    """Sum of every step's worst violation, and a little for each broken step."""
    size = _sizes(verdict)
    return float(size.sum()) + STEP * int((size > 0.0).sum())


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
    space: Space,
    unable: Guard,
    rows: NearRows,
    steps: Mask,
    damping: Float,
    tired: Indices,
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
        near = at_step(of, rows, now.points, now.verdict, t, 1.0 + tired[t])
        change[:, t] = damping[t] * least_change(rows, near, weight, low[:, t], high[:, t])
    wanted = dispatch.p_kw + shares(columns, room, change[: len(less)])
    moving = Dispatch(dispatch.p_kw, dispatch.q_kvar + change[len(less) :])
    found = moved(of.kinds, columns, of.price, moving, held, guard, space, wanted, pull)
    kept = held.after(dispatch.p_kw, found.p_kw, wanted)
    return found, kept, found_unable(unable, dispatch.p_kw, wanted, found.p_kw)
