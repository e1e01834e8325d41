"""The coordinator: prices out, answers in, a plan with a proven bound at every moment."""

from __future__ import annotations

import numpy as np

from gridflock.plan.coordination._answers import Answers
from gridflock.plan.coordination._ascent import Ascent
from gridflock.plan.coordination._master import Master
from gridflock.plan.coordination._plan import Plan, Stage, Status
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.coordination._recover import HOLDS
from gridflock.plan.devices import Answer, Question
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices.whole import pick_whole
from gridflock.units import Kw, Mask, Money

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
PROMISE = 0.3
"""Some groups alone are asked once so much of the gap lies in how dear the answers mixed are."""
FASTER = 0.9
"""And for as long as each of their rounds leaves at most so much of the gap."""
UNCLIMBED, FAR = 8, 10.0
"""A mix that began without a climb and is after so many rounds so many targets away begins with one again."""
STALLED, PROGRESS = 60, 0.999
"""After so many answers that left more than such a part of the gap, more of them would not help either."""
NEAR_ZERO = 0.01
"""A cost below such a part of the turnover is a difference of large numbers: the gap is one of that part."""
MOST_ROUNDS, NEWEST = 96, 24
"""Rounds remembered; beyond that only those that carry weight, the best bound and the newest are."""

SMALL = 20_000_000
"""Answers times limited cells up to which everybody has a part in the choice of those that cannot mix."""
TIDYING = 6
"""Mixes more at most, once the gap is reached, for limits that are still broken."""


class Coordinator:
    """Dantzig-Wolfe decomposition: the bound is climbed first, the plan is mixed afterwards.

    No clock and no waiting: ``question`` is what to ask now, ``absorb`` takes what came back, and
    ``status`` and ``plan`` are true at any moment in between.

    Args:
        problem: what couples the groups.
        target: gap to stop at, as a part of the cost's size.
        warm: (S, T) duals to start from: of an earlier horizon, moved to this one, or of a few devices.
        climbed: whether they are near the best already, so that mixing may begin with the first answer.
        softness: money/kWh, of the first questions; None for a part of the median price.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        target: float = 0.005,
        warm: Array | None = None,
        climbed: bool = False,
        softness: float | None = None,
    ) -> None:
        self._problem, self._rows, self._target = problem, problem.rows, target
        typical = float(np.median(np.abs(problem.price))) or 1.0
        if softness is None:
            softness = max(SOFTNESS * typical, SOFTNESS_OF_SPREAD * float(problem.price.std()))
        self._softness = softness
        self._first_step = FIRST_STEP * typical * float(problem.hours.min())
        start = np.zeros_like(self._rows.need_kw) if warm is None else self._rows.projected(warm)
        self._ascent = Ascent(start, self._rows, self._first_step)
        self._dual, self._window = start, WINDOW if warm is None else WINDOW_WARM
        self._asked: list[Question | None] = []
        self.answers = Answers(problem)
        self._master = Master(problem)
        self._entered = self._count = self._mixes = self._idle = 0
        self._weight: Array = np.zeros((0, problem.groups))
        self._p_kw: Kw = np.zeros((problem.groups, len(problem.hours)))
        self._tidied = 0
        self._cost = self._last_gap = self._least_gap = np.inf
        self._bounds_of_steps: list[float] = []
        self._stage, self._climbed = (Stage.MIX if climbed else Stage.CLIMB), not climbed
        self._promise: Money | None = None
        self._settled = False

    def question(self) -> Question:
        """The prices to ask at now."""
        return Question(self._problem.local_price(self._dual), self._softness)

    @property
    def promise(self) -> Money | None:
        """(G,) by how much dearer each group's part of the plan is than its bound; None to ask everybody.

        Once few groups hold most of the gap, asking those alone closes it: the others may be left out
        (NaN) as if they were late.
        """
        return self._promise

    @property
    def stalled(self) -> bool:
        """Whether answers have long stopped to help, as where an oracle contradicts itself."""
        return self._idle >= STALLED

    @property
    def dual(self) -> Array:
        """(S, T) duals with the best bound so far."""
        return self.answers.best()[0]

    def keep(self, p_kw: Kw, own_cost: Money) -> None:
        """Offer schedules that need no question, such as those of an earlier horizon, to the mix.

        Args:
            p_kw: (G, T) the groups' sums.
            own_cost: (G,); NaN for groups without.
        """
        self.answers.keep(p_kw, own_cost)
        self._asked.append(None)

    def absorb(self, answer: Answer) -> None:
        """Take the answer to ``question``; a group without one (NaN) keeps what it answered last.

        Raises:
            Unanswered: the first round is incomplete.
            MasterFailed: the solver cannot hold the numbers.
        """
        asked = self.question()
        self.answers.add(answer, self._dual)
        self._asked.append(asked)
        self._count += 1
        self._take_alone()
        if self._stage == Stage.CLIMB:
            self._ascent.learn(self._rows.short(self.answers.p_kw[-1]))
            self._dual = self._ascent.point
            if self._calm():
                self._stage, self._climbed = Stage.MIX, True
        if self._stage != Stage.CLIMB:
            self._mix()
            self._softness *= HARDENING
        self._judge()

    def status(self) -> Status:
        """How good the plan is now."""
        bound = float(self.answers.bounds().max(initial=-np.inf))
        gap = max(self._cost - bound, 0.0)
        turnover = float((np.abs(self._p_kw) * np.abs(self._problem.price) * self._problem.hours).sum())
        limits = ~(self._rows.peak | self._rows.change)
        slack = np.maximum(self._rows.short(self._p_kw)[limits], 0.0) @ self._problem.hours
        return Status(
            answers=self._count,
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
            MasterFailed: the solver cannot hold the numbers.
        """
        if not self._count:
            raise ValueError("plan: no answers yet (rule: at least one round)")
        if self._entered < self.answers.rounds and self._stage != Stage.DONE and not self._settled:
            self._mix()
        used = np.flatnonzero(self._weight.any(axis=1))
        questions = {int(k): asked for k in used if (asked := self._asked[k]) is not None}
        unasked = [k for k in used if k not in questions]
        count = len(self._weight)
        own = self.answers.cost[:count] + self._problem.worth(self.answers.p_kw[:count])
        return Plan(
            questions=tuple(questions.values()),
            weight=self._weight[list(questions)],
            kept=self._weight[unasked].sum(axis=0),
            p_kw=self._p_kw,
            own_cost=(self._weight * own).sum(axis=0),
            dual=self.dual,
            slack_kw=self._rows.slack(self._rows.short(self._p_kw)),
            status=self.status(),
        )

    def settle(self, whole: Mask) -> None:
        """Choose one answer for each group that cannot mix, after the last question; the plan may get dearer.

        The others mix anew around the choice where that is small enough, otherwise they stay.

        Args:
            whole: (G,) whose sets are not convex.
        """
        of = self.answers
        cells = int(self._rows.there.sum())
        asked = np.arange(len(whole)) if of.cost.size * cells <= SMALL else np.flatnonzero(whole)
        others = self._p_kw.copy()
        others[asked] = 0.0
        there, cost = of.there[:, asked], of.cost[:, asked]
        picked = pick_whole(of.p_kw[:, asked], cost, there, whole[asked], self._rows, asked, others)
        weight = np.zeros((of.rounds, len(whole)))
        weight[: len(self._weight)] = self._weight
        weight[:, asked] = picked.weight
        self._cost, self._settled = np.inf, True
        self._take(weight)
        self._stage = Stage.DONE if self._reached(self.status()) else Stage.MIX

    def _judge(self) -> None:
        """After an answer: done, climb after all, or whom to ask next."""
        status = self.status()
        fell = status.gap < PROGRESS * self._least_gap
        self._idle, self._least_gap = (0, status.gap) if fell else (self._idle + 1, self._least_gap)
        if self._reached(status):
            self._stage, self._climbed = (Stage.DONE if self._finished() else Stage.MIX), True
        elif not self._climbed and self._mixes >= UNCLIMBED and status.gap_of_cost > FAR * self._target:
            self._stage, self._climbed = Stage.CLIMB, True
            self._ascent = Ascent(self.dual, self._rows, self._first_step)
            self._dual = self._ascent.point
        self._promise = self._promised(status.gap) if self._stage == Stage.MIX else None
        self._last_gap = status.gap

    def _reached(self, status: Status) -> bool:
        """Whether the gap is what was asked for."""
        turnover = status.gap / max(status.gap_of_turnover, 1e-300)
        return status.gap <= self._target * max(abs(status.cost), NEAR_ZERO * turnover, 1e-9)

    def _finished(self) -> bool:
        """Whether limits hold but for rounding; where they do not, some more mixes are tried first.

        A slack that is cheaper than the gap may still be avoidable, and one that is not stays.
        """
        hard = ~(self._rows.peak | self._rows.change)
        short = self._rows.short(self._p_kw)[hard]
        if not (short > HOLDS * self._rows.scale_kw[hard]).any():
            return True
        self._tidied += 1
        return self._tidied > TIDYING

    def _promised(self, gap: float) -> Money | None:
        """What each group's answers could still save, where that is what the gap is made of."""
        if self._promise is not None and gap > FASTER * self._last_gap:
            return None
        dual, least = self.answers.best()
        reduced = self.answers.reduced(self._rows.pull(dual))[: len(self._weight)]
        promise: Money = np.maximum((self._weight * (reduced - least)).sum(axis=0), 0.0)
        return promise if promise.sum() > PROMISE * gap else None

    def _calm(self) -> bool:
        """Whether the climb has become slow."""
        if self._count >= LONGEST_CLIMB:
            return True
        best = float(self.answers.bounds().max())
        if self._ascent.steps > len(self._bounds_of_steps):
            self._bounds_of_steps.append(best)
        if len(self._bounds_of_steps) <= self._window:
            return False
        return best - self._bounds_of_steps[-1 - self._window] < CALM * self._target * abs(best)

    def _take_alone(self) -> None:
        """Everybody's last answers alone as the plan, if they are better than what there is."""
        weight = np.zeros((self.answers.rounds, self._problem.groups))
        weight[self.answers.last(), np.arange(self._problem.groups)] = 1.0
        self._take(weight)

    def _take(self, weight: Array) -> None:
        """Keep a mix if it is the best so far, at its cost with every row counted."""
        count = len(weight)
        p_kw: Kw = np.einsum("kg,kgt->gt", weight, self.answers.p_kw[:count])
        slack = self._rows.slack(self._rows.short(p_kw))
        cost = float((weight * self.answers.cost[:count]).sum()) + self._rows.slack_cost(slack)
        if cost < self._cost:
            self._cost, self._weight, self._p_kw = cost, weight, p_kw

    def _mix(self) -> None:
        """Solve the master over all answers; the next prices lie between its own and the best."""
        if self.answers.rounds > MOST_ROUNDS:
            self._forget()
        for k in range(self._entered, self.answers.rounds):
            self._master.add(self.answers.p_kw[k], self.answers.cost[k], self.answers.there[k])
        self._entered = self.answers.rounds
        self._mixes += 1
        weight, dual = self._master.solve()
        self._take(weight)
        self._dual = SMOOTHING * self.dual + (1.0 - SMOOTHING) * dual

    def _forget(self) -> None:
        """Drop rounds without weight; the master begins again with those that are left."""
        kept = np.zeros(self.answers.rounds, dtype=np.bool_)
        kept[: len(self._weight)] = self._weight.any(axis=1)
        kept[int(np.argmax(self.answers.bounds()))] = True
        kept[self.answers.last()] = kept[-NEWEST:] = True
        self._weight = self._weight[kept[: len(self._weight)]]
        self._asked = [question for question, k in zip(self._asked, kept, strict=True) if k]
        self.answers.only(np.flatnonzero(kept))
        self._master, self._entered = Master(self._problem), 0
