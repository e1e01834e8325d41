"""From a plan's weights to every device's schedule, and what of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.coordination._plan import Plan
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.coordination._resplit import resplit
from gridflock.plan.devices import Oracle, Stores
from gridflock.plan.devices._compiled import Array
from gridflock.units import Kw, Kwh, Mask, Money

HOLDS = 1e-5
"""A limit holds when it is broken by less than this part of it: sums of float32 schedules."""


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """Every device's schedule.

    Attributes:
        p_kw: for each oracle float32 (members, T), injection positive.
        sums_kw: (G, T) their sums by group.
        short_kw: (S, T) by how much they break the rows of the problem, 0 where they hold.
        violations: cells of ``short_kw`` broken beyond rounding, the plan's own slack not counted.
        corrected: members whose schedule did not fit their true content and was changed.
        corrected_kwh: by how much, at the connection point.
        worst_correction: largest part of what a member moves.
        resplit_kwh: how much of it others of the same group took over, because a limit needed it.
        cost: what the schedules cost, slacks and peaks included, money.
    """

    p_kw: tuple[NDArray[np.float32], ...]
    sums_kw: Kw
    short_kw: Kw
    violations: int
    corrected: int
    corrected_kwh: float
    worst_correction: float
    resplit_kwh: float
    cost: float


@runtime_checkable
class Contained(Protocol):
    """An oracle whose members have a content to follow under a mix of schedules."""

    def replay(self, p_kw: NDArray[np.float32]) -> tuple[Kwh, Money]:
        """Correct schedules (members, T) in place: kWh corrected and own cost of each member."""
        ...

    def corrected(self, clipped_kwh: Kwh) -> Mask:
        """(members,) which were changed by more than rounding."""
        ...


def recover(
    problem: Problem,
    oracles: Sequence[Oracle],
    plan: Plan,
    kept: Sequence[NDArray[np.float32]] = (),
) -> Recovered:
    """Mix every device's answers by its group's weights, and replay the stores.

    The set of a device's schedules is convex, so a mix of its answers is one of them, and the sums are the
    plan's. Only contents need a second look: charging and discharging of the same step cancel out in a mix
    before they lose anything, and a battery ends fuller than planned (``replay``). What a store can
    no longer draw others of its group draw instead where a limit would be broken otherwise.

    Args:
        problem: the limits.
        oracles: who answered, in the order of the groups.
        plan: questions and weights.
        kept: schedules kept from an earlier horizon (members, T) for each oracle, if the plan was offered
            any; they are taken over and become the result.
    """
    bounds = np.cumsum([0, *(oracle.groups for oracle in oracles)])
    groups = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
    schedules = []
    for n, oracle in enumerate(oracles):
        p_kw = _kept(oracle, plan.kept[groups[n]], kept[n] if kept else None, len(problem.hours))
        for question, weight in zip(plan.questions, plan.weight[:, groups[n]], strict=True):
            oracle.add_schedules(question.of(groups[n]), weight, p_kw)
        schedules.append(p_kw)
    return _replayed(problem, oracles, plan, groups, schedules)


def by_group(p_kw: NDArray[np.float32], oracle: Oracle) -> Array:
    """(G, T) float64 sums of the groups' members."""
    start = oracle.start
    total = np.zeros((oracle.groups, p_kw.shape[1]))
    for g in range(oracle.groups):
        total[g] = p_kw[start[g] : start[g + 1]].sum(axis=0, dtype=np.float64)
    return total


def summed(cost: Money, oracle: Oracle) -> Money:
    """(G,) the members' costs by group."""
    until = np.concatenate([[0.0], np.cumsum(cost)])
    summed: Money = until[oracle.start[1:]] - until[oracle.start[:-1]]
    return summed


def _kept(oracle: Oracle, weight: Array, kept: NDArray[np.float32] | None, steps: int) -> NDArray[np.float32]:
    """The kept schedules' part of the mix."""
    if kept is None or not weight.any():
        return np.zeros((oracle.members, steps), dtype=np.float32)
    of_member = np.repeat(weight, np.diff(oracle.start)).astype(np.float32)
    np.multiply(kept, of_member[:, None], out=kept)
    return kept


def _replayed(
    problem: Problem,
    oracles: Sequence[Oracle],
    plan: Plan,
    groups: Sequence[slice],
    schedules: list[NDArray[np.float32]],
) -> Recovered:
    """Contents followed, what limits lack taken over by others of the group, and all of it counted."""
    own, sums = plan.own_cost.copy(), np.zeros_like(plan.p_kw)
    corrected, kwh, worst, taken_over = 0, 0.0, 0.0, 0.0
    for oracle, of, p_kw in zip(oracles, groups, schedules, strict=True):
        if isinstance(oracle, Contained):
            clipped, cost = oracle.replay(p_kw)
            own[of] = summed(cost, oracle)
            corrected += int(oracle.corrected(clipped).sum())
            kwh += float(clipped.sum())
            moved = np.abs(p_kw).sum(axis=1, dtype=np.float64) * float(problem.hours.mean())
            worst = max(worst, float((clipped / np.maximum(moved + clipped, 1e-9)).max(initial=0.0)))
        sums[of] = by_group(p_kw, oracle)
    broken = _broken(problem, plan, sums)
    for oracle, of, p_kw in zip(oracles, groups, schedules, strict=True):
        if broken.any() and isinstance(oracle, Stores):
            missing = np.where(_helped(problem, broken)[of], np.maximum(sums[of] - plan.p_kw[of], 0.0), 0.0)
            left = resplit(oracle, p_kw, missing.copy())
            taken_over += float(((missing - left) @ problem.hours).sum())
            own[of] = summed(oracle.replay(p_kw)[1], oracle)
            sums[of] = by_group(p_kw, oracle)
    short = problem.rows.short(sums)
    slack = problem.rows.slack_cost(problem.rows.slack(short))
    return Recovered(
        p_kw=tuple(schedules),
        sums_kw=sums,
        short_kw=np.maximum(short, 0.0),
        violations=int(_broken(problem, plan, sums).sum()),
        corrected=corrected,
        corrected_kwh=kwh,
        worst_correction=worst,
        resplit_kwh=taken_over,
        cost=float((own - problem.worth(sums)).sum()) + slack,
    )


def _broken(problem: Problem, plan: Plan, sums_kw: Kw) -> Mask:
    """(S, T) rows broken by more than the plan's own slack and rounding."""
    beyond: Mask = problem.rows.short(sums_kw) - plan.slack_kw > HOLDS * problem.rows.scale_kw
    return beyond


def _helped(problem: Problem, broken: Mask) -> Mask:
    """(G, T) where drawing more would mend what is broken."""
    helped: Mask = problem.rows.pull(broken.astype(np.float64)) < 0.0
    return helped
