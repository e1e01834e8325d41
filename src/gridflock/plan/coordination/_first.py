"""First prices from a few of the devices."""

from __future__ import annotations

from collections.abc import Sequence

from gridflock.plan.coordination._coordinator import Coordinator, Stage
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._oracle import Answer, Oracle, Question, joined

ANSWERS = 20
"""Longest climb; answers of a few are cheap."""
TARGET = 5e-4
"""The climb ends when it gains little against this gap."""


def answered(oracles: Sequence[Oracle], question: Question) -> Answer:
    """The answers of all oracles, in the order of their groups."""
    answers, first = [], 0
    for oracle in oracles:
        answers.append(oracle.respond(question.of(slice(first, first + oracle.groups))))
        first += oracle.groups
    return joined(answers)


def first_duals(problem: Problem, oracles: Sequence[Oracle], every: int) -> Array:
    """Duals to start from: those of one device in ``every`` under limits that much smaller.

    They prove nothing here: the coordinator that starts from them asks everybody.

    Args:
        problem: the whole.
        oracles: who answers, in the order of the groups.
        every: a power of the fleet's size; a thousand devices behind each limit are plenty.

    Returns:
        float64 (S, T).
    """
    few = [oracle.thinned(every) for oracle in oracles]
    coordinator = Coordinator(problem.thinned(every), target=TARGET)
    for _ in range(ANSWERS):
        coordinator.absorb(answered(few, coordinator.question()))
        if coordinator.status().stage != Stage.CLIMB:
            break
    return coordinator.dual
