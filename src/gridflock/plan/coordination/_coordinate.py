"""The whole way: check, first prices, questions and answers, the plan, every device's schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gridflock.model import Reason, Rejected
from gridflock.plan.coordination._answers import Unanswered
from gridflock.plan.coordination._check import SHOWN, check
from gridflock.plan.coordination._coordinator import Coordinator
from gridflock.plan.coordination._first import AGAIN, answered, first_duals
from gridflock.plan.coordination._later import Carried, Schedules, resumed
from gridflock.plan.coordination._master import MasterFailed
from gridflock.plan.coordination._plan import Plan, Status
from gridflock.plan.coordination._problem import LARGEST, Problem
from gridflock.plan.coordination._recover import HOLDS, Recovered, recover
from gridflock.plan.devices import Oracle
from gridflock.plan.devices.whole import Blocks, Units

EVERY, FEW = 10, 200
"""First prices are those of one device in so many at most; so many of them are to stand behind each row."""
FEW_OF_GROUP = 10
"""And so many of each group, or they are no likeness of it."""
WORTH_THINNING = 3
"""Fewer left out are not worth asking the rest apart."""
PRICED = 1e-6
"""A row's price below this part of its slack's is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Coordinated:
    """A plan and what became of it at every device.

    Attributes:
        plan: questions, weights, prices and proof; None where the problem was rejected.
        recovered: schedules, and what of the limits holds; None where the problem was rejected.
        reasons: rows that cost something or gave way, the dearest first; a peak's price is that of a
            kWh in its step.
        rejected: what is wrong with the problem or with the first answers.
    """

    plan: Plan | None
    recovered: Recovered | None
    reasons: tuple[Reason, ...]
    rejected: tuple[Rejected, ...]


def coordinate(
    problem: Problem,
    oracles: Sequence[Oracle],
    *,
    target: float = 0.005,
    warm: Carried | None = None,
    go_on: Callable[[], bool] = lambda: True,
    progress: Callable[[Status], None] = lambda _: None,
) -> Coordinated:
    """Coordinate any mix of oracles to a proven gap, or to the best plan there is time for.

    Groups of ``Units`` and ``Blocks`` get one answer each, never a mix; the gap then says what that may
    have cost, and may stay above the target. At least one round of answers is asked for, whatever ``go_on``
    says: without it there is no plan. ``plan.status.done`` tells whether the gap was reached,
    ``plan.status`` how good the plan is anyhow; answers that long stopped to help end the work as well.

    Args:
        problem: what couples the oracles' groups.
        oracles: who answers, in the order of the groups.
        target: gap to stop at, as a part of the cost's size.
        warm: what an earlier horizon handed on; its schedules are spent. What does not fit this problem's
            rows or these oracles' members is left aside.
        go_on: asked before every further answer; False ends the work with what there is.
        progress: told how good the plan is after every answer.

    Returns:
        Without a plan where the problem breaks a rule, a group never answers in numbers, or the numbers are
        too far apart for the solver; ``rejected`` then says which.
    """
    rejected = check(problem, oracles)
    if rejected:
        return Coordinated(None, None, (), rejected)
    try:
        return _coordinated(problem, oracles, target, warm, go_on, progress)
    except Unanswered as silent:
        ids = tuple(f"group {row}" for row in silent.rows[:SHOWN])
        rule = f"no power up to {LARGEST:g} kW, or no cost (rule: every group answers the first prices)"
        wrong = Rejected("answer", "p_kw", ids, rule, count=len(silent.rows))
    except MasterFailed as failed:
        rule = f"the solver said {failed} of the mix of answers: its numbers are too far apart"
        wrong = Rejected("problem", "limits", (), rule)
    return Coordinated(None, None, (), (wrong,))


def _coordinated(
    problem: Problem,
    oracles: Sequence[Oracle],
    target: float,
    warm: Carried | None,
    go_on: Callable[[], bool],
    progress: Callable[[Status], None],
) -> Coordinated:
    """A sound problem's plan.

    Raises:
        Unanswered: a group gave no first answer.
        MasterFailed: the solver cannot hold the numbers.
    """
    kept = _fitting(problem, oracles, warm)
    coordinator = _begun(problem, oracles, target, warm, go_on)
    if kept:
        coordinator.keep(*resumed(oracles, kept))
    again = AGAIN
    while True:
        answer = answered(oracles, coordinator.question(), coordinator.promise, again=again)
        coordinator.absorb(answer)
        again = 0
        status = coordinator.status()
        progress(status)
        if status.done or coordinator.stalled or not go_on():
            break
    plan = coordinator.plan()
    whole = np.repeat([isinstance(of, Units | Blocks) for of in oracles], [of.groups for of in oracles])
    if whole.any():
        coordinator.settle(whole)
        plan = coordinator.plan()
    del coordinator
    recovered = recover(problem, oracles, plan, kept)
    return Coordinated(plan, recovered, _reasons(problem, plan, recovered), ())


def _reasons(problem: Problem, plan: Plan, recovered: Recovered) -> tuple[Reason, ...]:
    """Rows and steps with a price or a slack, of the plan or of its schedules: slack first, then price."""
    rows = problem.rows
    slack = np.maximum(rows.short(plan.p_kw), recovered.short_kw)
    slack[(slack <= HOLDS * rows.scale_kw) | rows.peak[:, None]] = 0.0
    cells = np.argwhere((plan.dual > PRICED * rows.most) | (slack > 0.0))
    at = tuple(cells.T)
    order = np.lexsort((-plan.dual[at], -(slack * rows.most)[at]))
    return tuple(
        Reason(rows.names[s], int(t), float(plan.dual[s, t] / problem.hours[t]), float(slack[s, t]))
        for s, t in cells[order]
    )


def _begun(
    problem: Problem,
    oracles: Sequence[Oracle],
    target: float,
    warm: Carried | None,
    go_on: Callable[[], bool],
) -> Coordinator:
    """A coordinator at the first prices there are."""
    duals = None if warm is None or warm.dual.shape != problem.rows.need_kw.shape else warm.dual
    members = sum(oracle.members for oracle in oracles)
    smallest = min(int(np.diff(oracle.start).min()) for oracle in oracles)
    every = min(members // (FEW * max(len(problem.rows.names), 1)), smallest // FEW_OF_GROUP, EVERY)
    if every >= WORTH_THINNING:
        duals = first_duals(problem, oracles, every, duals, go_on)
    return Coordinator(problem, target=target, warm=duals, climbed=every >= WORTH_THINNING)


def _fitting(problem: Problem, oracles: Sequence[Oracle], warm: Carried | None) -> tuple[Schedules, ...]:
    """Schedules handed on, if they are of these oracles' members and this horizon's steps."""
    given = () if warm is None else warm.p_kw
    fit = [p_kw.shape for p_kw in given] == [(of.members, len(problem.hours)) for of in oracles]
    return given if fit else ()
