"""From a plan's weights to every device's schedule, and what of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.coordination._coordinator import Plan
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._oracle import Oracle
from gridflock.plan.devices._store import Stores
from gridflock.units import Kw

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
        corrected: stores whose schedule did not fit their true content and was cut back.
        corrected_kwh: how much was cut, at the connection point.
        worst_correction: largest part of a store's size.
        cost_change: what the true contents change of the stores' own costs, money.
    """

    p_kw: tuple[NDArray[np.float32], ...]
    sums_kw: Kw
    short_kw: Kw
    violations: int
    corrected: int
    corrected_kwh: float
    worst_correction: float
    cost_change: float


def recover(problem: Problem, oracles: Sequence[Oracle], plan: Plan) -> Recovered:
    """Mix every device's answers by its group's weights, and replay the stores.

    The set of a device's schedules is convex, so a mix of its answers is one of them, and the sums are the
    plan's. Only stores need a second look: charging and discharging of the same step cancel out in a mix
    before they lose anything, and the store ends fuller than planned (``Stores.replay``).

    Args:
        problem: the limits.
        oracles: who answered, in the order of the groups.
        plan: questions and weights.
    """
    schedules, sums = [], []
    corrected, kwh, worst, change, first = 0, 0.0, 0.0, 0.0, 0
    for oracle in oracles:
        groups = slice(first, first + oracle.groups)
        first = groups.stop
        p_kw = np.zeros((oracle.members, len(problem.hours)), dtype=np.float32)
        cost = np.zeros(oracle.groups)
        for question, weight in zip(plan.questions, plan.weight[:, groups], strict=True):
            oracle.add_schedules(question.of(groups), weight, p_kw)
        if isinstance(oracle, Stores):
            before = plan.own_cost[groups]
            clipped, own = oracle.replay(p_kw)
            cost = np.add.reduceat(own, oracle.start[:-1])
            corrected += int(oracle.corrected(clipped).sum())
            kwh += float(clipped.sum())
            worst = max(worst, float((clipped / oracle.e_hi_kwh).max()))
            change += float((cost - before).sum())
        schedules.append(p_kw)
        sums.append(_by_group(p_kw, oracle))
    sums_kw = np.concatenate(sums)
    short = np.maximum(problem.rows.short(sums_kw), 0.0)
    beyond = short - plan.slack_kw > HOLDS * problem.rows.scale_kw
    return Recovered(
        p_kw=tuple(schedules),
        sums_kw=sums_kw,
        short_kw=short,
        violations=int(beyond.sum()),
        corrected=corrected,
        corrected_kwh=kwh,
        worst_correction=worst,
        cost_change=change,
    )


def _by_group(p_kw: NDArray[np.float32], oracle: Oracle) -> Array:
    """(G, T) float64 sums of the groups' members."""
    start = oracle.start
    total = np.zeros((oracle.groups, p_kw.shape[1]))
    for g in range(oracle.groups):
        total[g] = p_kw[start[g] : start[g + 1]].sum(axis=0, dtype=np.float64)
    return total
