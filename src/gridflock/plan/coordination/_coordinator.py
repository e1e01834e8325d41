"""The coordinator: prices out, answers in, a plan with a proven bound at every moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gridflock.plan.coordination._answers import Answers
from gridflock.plan.coordination._ascent import Ascent
from gridflock.plan.coordination._master import NEAR, Master
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.units import Kw, Money

SMOOTHING = 0.8
"""Weight of the prices with the best bound against the master's own (Wentges, ITOR 4, 1997)."""
SOFTNESS = 0.06
"""Softness of the first questions as a part of the median price, and of its spread where that is more."""
SOFTNESS_OF_SPREAD = 0.3
HARDENING = 0.7
"""Softness of a mixing round as a part of the one before."""
FIRST_STEP = 0.1
"""Largest price change of the first step as a part of the median price."""
WINDOW = 3
"""The climb ends when so many of its steps together raised the bound by less than ``CALM`` of the target."""
WINDOW_WARM = 1
"""The same where duals of an earlier horizon are carried on."""
CALM = 0.3
LONGEST_CLIMB = 40
"""Answers after which the climb ends whatever it still gains."""


class Stage(IntEnum):
    """What the next question is for."""

    CLIMB = 0
    """Raising the bound."""
    MIX = 1
    """Finding answers whose mix meets the limits."""
    DONE = 2
    """The gap asked for is proven."""


@dataclass(frozen=True, slots=True)
class Status:
    """How good the plan is now.

    Attributes:
        answers: rounds of answers so far.
        stage: what the next question is for.
        bound: no plan can cost less, money.
        cost: what the plan costs, slack included.
        gap: ``cost - bound``, money.
        gap_of_cost: the same as a part of the cost's size; meaningless where that is near zero.
        gap_of_turnover: the same as a part of the worth of all energy moved by the groups.
        slack_kwh: energy beyond the limits.
        breaches: answers that others of the same group proved worse than stated.
    """

    answers: int
    stage: Stage
    bound: float
    cost: float
    gap: float
    gap_of_cost: float
    gap_of_turnover: float
    slack_kwh: float
    breaches: int

    @property
    def done(self) -> bool:
        """Whether the gap asked for is proven."""
        return self.stage == Stage.DONE


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A plan as questions and weights: whoever holds devices computes their share of it.

    Attributes:
        questions: K rounds that carry weight.
        weight: (K, G) of each group's answers, adding up to 1.
        p_kw: (G, T) the groups' sums.
        own_cost: (G,) their own cost.
        dual: (S, T) duals with the best bound: prices of the rows, and where the next horizon starts.
        slack_kw: (S, T) beyond the limits.
        status: its proof.
    """

    questions: tuple[Question, ...]
    weight: Array
    p_kw: Kw
    own_cost: Money
    dual: Array
    slack_kw: Kw
    status: Status


class Coordinator:
    """Dantzig-Wolfe decomposition: the bound is climbed first, the plan is mixed afterwards.

    No clock and no waiting: ``question`` is what to ask now, ``absorb`` takes what came back, and
    ``status`` and ``plan`` are true at any moment in between.

    Args:
        problem: what couples the groups.
        target: gap to stop at, as a part of the cost's size.
        warm: (S, T) duals of an earlier horizon, moved to this one.
        softness: money/kWh, of the first questions; None for a part of the median price.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        target: float = 0.005,
        warm: Array | None = None,
        softness: float | None = None,
    ) -> None:
        self._problem, self._rows, self._target = problem, problem.rows, target
        typical = float(np.median(np.abs(problem.price))) or 1.0
        if softness is None:
            softness = max(SOFTNESS * typical, SOFTNESS_OF_SPREAD * float(problem.price.std()))
        self._softness = softness
        start = np.zeros_like(self._rows.need_kw) if warm is None else np.clip(warm, 0.0, self._rows.most)
        self._ascent = Ascent(start, self._rows.most, FIRST_STEP * typical * float(problem.hours.min()))
        self._dual, self._cold = start, warm is None
        self._asked: list[Question] = []
        self.answers = Answers(problem)
        self._master: Master | None = None
        self._entered = 0
        self._weight: Array = np.zeros((0, problem.groups))
        self._cost = np.inf
        self._best: list[float] = []
        self._best_at_step: list[float] = []
        self._stage = Stage.CLIMB

    def question(self) -> Question:
        """The prices to ask at now."""
        return Question(self._problem.local_price(self._dual), self._softness)

    def absorb(self, answer: Answer) -> None:
        """Take the answer to ``question``; a group without one (NaN) keeps what it answered last.

        Raises:
            ValueError: the first round is incomplete.
        """
        asked = self.question()
        self.answers.add(answer, self._dual)
        self._asked.append(asked)
        self._best.append(float(self.answers.bounds().max()))
        self._take_alone()
        if self._stage == Stage.CLIMB:
            self._ascent.learn(self._rows.short(self.answers.p_kw[-1]))
            self._dual = self._ascent.point
            if self._calm():
                self._stage = Stage.MIX
        if self._stage != Stage.CLIMB:
            self._mix()
            self._softness *= HARDENING
        if self.status().gap_of_cost <= self._target:
            self._stage = Stage.DONE

    def status(self) -> Status:
        """How good the plan is now."""
        p_kw = self._p_kw()
        bound = self._best[-1] if self._best else -np.inf
        gap = max(self._cost - bound, 0.0)
        turnover = float((np.abs(p_kw) * np.abs(self._problem.price) * self._problem.hours).sum())
        slack = np.maximum(self._rows.short(p_kw), 0.0) @ self._problem.hours
        return Status(
            answers=self.answers.rounds,
            stage=self._stage,
            bound=bound,
            cost=self._cost,
            gap=gap,
            gap_of_cost=gap / max(abs(self._cost), 1e-9),
            gap_of_turnover=gap / max(turnover, 1e-9),
            slack_kwh=float(slack.sum()),
            breaches=self.answers.breaches,
        )

    def plan(self) -> Plan:
        """The best plan the answers so far allow.

        Raises:
            ValueError: nothing has been answered.
        """
        if not self._asked:
            raise ValueError("plan: no answers yet (rule: at least one round)")
        if self._entered < self.answers.rounds and self._stage != Stage.DONE:
            self._mix()
        used = np.flatnonzero(self._weight.any(axis=1))
        p_kw = self._p_kw()
        return Plan(
            questions=tuple(self._asked[k] for k in used),
            weight=self._weight[used],
            p_kw=p_kw,
            own_cost=self._own_cost(),
            dual=self.dual,
            slack_kw=np.maximum(self._rows.short(p_kw), 0.0),
            status=self.status(),
        )

    @property
    def dual(self) -> Array:
        """(S, T) duals with the best bound so far."""
        return self.answers.duals[int(np.argmax(self.answers.bounds()))]

    def _p_kw(self) -> Kw:
        """(G, T) what the plan's weights make of the answers."""
        count = len(self._weight)
        p_kw: Kw = np.einsum("kg,kgt->gt", self._weight, self.answers.p_kw[:count])
        return p_kw

    def _own_cost(self) -> Money:
        """(G,) own cost of the plan's mix."""
        count = len(self._weight)
        own = self.answers.cost[:count] + self.answers.p_kw[:count] @ (
            self._problem.price * self._problem.hours
        )
        cost: Money = (self._weight * own).sum(axis=0)
        return cost

    def _calm(self) -> bool:
        """Whether the climb has become slow."""
        if len(self._best) >= LONGEST_CLIMB:
            return True
        if self._ascent.steps > len(self._best_at_step):
            self._best_at_step.append(self._best[-1])
        window = WINDOW if self._cold else WINDOW_WARM
        if len(self._best_at_step) <= window:
            return False
        gained = self._best[-1] - self._best_at_step[-1 - window]
        return gained < CALM * self._target * abs(self._best[-1])

    def _take_alone(self) -> None:
        """The last answers alone as the plan, if they are better than what there is."""
        weight = np.zeros((self.answers.rounds, self._problem.groups))
        weight[-1] = 1.0
        self._take(weight)

    def _take(self, weight: Array) -> None:
        """Keep a mix if it is the best so far, at its cost with every row counted."""
        count = len(weight)
        p_kw: Kw = np.einsum("kg,kgt->gt", weight, self.answers.p_kw[:count])
        slack = np.maximum(self._rows.short(p_kw), 0.0)
        cost = float((weight * self.answers.cost[:count]).sum() + (slack * self._rows.most).sum())
        if cost < self._cost:
            self._cost, self._weight = cost, weight

    def _mix(self) -> None:
        """Solve the master over all answers; the next prices lie between its own and the best."""
        master = self._master = self._master or Master(self._problem)
        for k in range(self._entered, self.answers.rounds):
            near = self._rows.short(self.answers.p_kw[k]) > -NEAR * self._rows.scale_kw
            master.add(self.answers.p_kw[k], self.answers.cost[k], self.answers.there[k], near)
        self._entered = self.answers.rounds
        weight, dual = master.solve()
        self._take(weight)
        self._dual = SMOOTHING * self.dual + (1.0 - SMOOTHING) * dual
