"""Asking all oracles, and first prices from a few of the devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from gridflock.plan.coordination._coordinator import Coordinator
from gridflock.plan.coordination._plan import Stage
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices import Answer, Oracle, Question, joined
from gridflock.plan.devices._compiled import Array
from gridflock.units import Money

ANSWERS = 20
"""Longest climb; answers of a few are cheap."""
TARGET = 5e-4
"""The climb ends when it gains little against this gap."""
AGAIN = 10
"""So often a first question is asked again where no answer came: without one there is no plan."""
WORTH_ASKING = 0.4
"""An oracle is asked where its groups promise so much of what the most promising one does."""


def answered(
    oracles: Sequence[Oracle], question: Question, promise: Money | None = None, *, again: int = 0
) -> Answer:
    """The answers of all oracles, in the order of their groups.

    Args:
        oracles: who is asked.
        question: prices for all their groups.
        promise: (G,) ``Coordinator.promise``; oracles that promise little are not asked (NaN).
        again: how often an oracle with a group that did not answer is asked once more.
    """
    bounds = np.cumsum([0, *(oracle.groups for oracle in oracles)])
    slices = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
    worth = [1.0 if promise is None else float(promise[of].sum()) for of in slices]
    answers = []
    for oracle, of, each in zip(oracles, slices, worth, strict=True):
        part = question.of(of)
        answers.append(_heard(oracle, part, again) if each >= WORTH_ASKING * max(worth) else unanswered(part))
    return joined(answers)


def _heard(oracle: Oracle, question: Question, again: int) -> Answer:
    """An oracle's answer, what it left open filled from further tries."""
    answer = oracle.respond(question)
    for _ in range(again):
        silent = np.isnan(answer.cost)
        if not silent.any():
            break
        more = oracle.respond(question)
        answer = Answer(
            np.where(silent[:, None], more.p_kw, answer.p_kw),
            np.where(silent, more.cost, answer.cost),
            np.where(silent, more.epsilon, answer.epsilon),
        )
    return answer


def first_duals(
    problem: Problem,
    oracles: Sequence[Oracle],
    every: int,
    warm: Array | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Array:
    """Duals to start from: those of one device in ``every`` under limits that much smaller.

    They prove nothing here: the coordinator that starts from them asks everybody.

    Args:
        problem: the whole.
        oracles: who answers, in the order of the groups.
        every: a power of the fleet's size; a thousand devices behind each limit are plenty.
        warm: duals (S, T) to begin with in turn.
        go_on: whether there is time for another answer.

    Returns:
        float64 (S, T).
    """
    few = [oracle.thinned(every) for oracle in oracles]
    coordinator = Coordinator(problem.thinned(every), target=TARGET, warm=warm)
    for k in range(ANSWERS):
        coordinator.absorb(answered(few, coordinator.question(), again=0 if k else AGAIN))
        if coordinator.status().stage != Stage.CLIMB or not go_on():
            break
    return coordinator.dual


def unanswered(question: Question) -> Answer:
    """No answer of any group: NaN throughout."""
    nothing = np.full(len(question.price), np.nan)
    return Answer(np.full(question.price.shape, np.nan), nothing, nothing)
