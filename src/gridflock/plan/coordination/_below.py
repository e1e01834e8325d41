"""A whole system below as one decider: it answers prices with a plan of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.coordination._answers import Unanswered
from gridflock.plan.coordination._coordinator import Coordinator
from gridflock.plan.coordination._first import AGAIN, answered, unanswered
from gridflock.plan.coordination._master import MasterFailed
from gridflock.plan.coordination._plan import Plan
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices import Answer, Oracle, Question
from gridflock.plan.devices._compiled import Array, Indices


class Below:
    """An oracle of one group: what passes the connection of a system with limits and oracles of its own.

    Its own cost is that of its plan, slacks and peaks within included, before the worth of what passes the
    connection; ``epsilon`` is the gap it proved. Nothing else leaves it: not its devices, not its limits.
    Plans are remembered by their question, so that the schedules of an answer are the ones it was made of.
    What its stores' true contents change of a mix of plans is its own to replay.

    Args:
        problem: its groups and limits; the price is that of each question, ``premium`` stays.
        oracles: who answers below, in the order of the groups.
        target: gap its answers are proven to, as a part of their cost's size.
    """

    def __init__(self, problem: Problem, oracles: Sequence[Oracle], target: float = 0.001) -> None:
        self._problem, self._oracles, self._target = problem, tuple(oracles), target
        self._plans: dict[bytes, Plan] = {}
        self._dual: Array | None = None

    @property
    def groups(self) -> int:
        """One."""
        return 1

    @property
    def members(self) -> int:
        """How many devices there are below."""
        return sum(oracle.members for oracle in self._oracles)

    @property
    def start(self) -> Indices:
        """(2,)."""
        return np.array([0, self.members])

    def thinned(self, every: int) -> Below:
        """The system of one device in ``every``."""
        few = [oracle.thinned(every) for oracle in self._oracles]
        return Below(self._problem.thinned(every), few, self._target)

    def respond(self, question: Question) -> Answer:
        """What passes the connection at these prices, within the limits below.

        NaN where a group below does not answer in numbers, or the numbers there are too far apart.
        """
        try:
            plan = self._planned(question)
        except (Unanswered, MasterFailed):
            return unanswered(question)
        price = question.price[0]
        p_kw = plan.p_kw.sum(axis=0)
        cost = plan.status.cost + float((price * self._problem.hours * p_kw).sum())
        return Answer(p_kw[None], np.array([cost]), np.array([plan.status.gap]))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every device's schedule to ``total`` (members, T), kW."""
        if weight[0] == 0.0:
            return
        plan = self._planned(question)
        group = row = 0
        for oracle in self._oracles:
            groups, rows = slice(group, group + oracle.groups), slice(row, row + oracle.members)
            group, row = groups.stop, rows.stop
            for asked, part in zip(plan.questions, plan.weight[:, groups], strict=True):
                oracle.add_schedules(asked.of(groups), weight[0] * part, total[rows])

    def _planned(self, question: Question) -> Plan:
        """The plan at a question's prices."""
        key = question.price[0].tobytes()
        if key not in self._plans:
            problem = replace(self._problem, price=question.price[0])
            coordinator = Coordinator(problem, target=self._target, warm=self._dual)
            again = AGAIN
            while not (coordinator.status().done or coordinator.stalled):
                asked, promise = coordinator.question(), coordinator.promise
                coordinator.absorb(answered(self._oracles, asked, promise, again=again))
                again = 0
            self._plans[key] = coordinator.plan()
            self._dual = self._plans[key].dual
        return self._plans[key]
