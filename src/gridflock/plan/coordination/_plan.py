"""What comes out of a coordination, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gridflock.plan.devices import Question
from gridflock.plan.devices._compiled import Array
from gridflock.units import Kw, Money


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
        cost: what the plan costs, slacks and peaks included.
        gap: ``cost - bound``, money.
        gap_of_cost: the same as a part of the cost's size; where that is under 1 % of the turnover, the gap
            asked for is one of that 1 %.
        gap_of_turnover: the same as a part of the worth of all energy moved by the groups.
        slack_kwh: energy beyond the limits, ramps and peaks not counted.
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
        weight: (K, G) of each group's answers, with ``kept`` adding up to 1.
        kept: (G,) weight of the schedules kept from an earlier horizon.
        p_kw: (G, T) the groups' sums.
        own_cost: (G,) their own cost.
        dual: (S, T) duals with the best bound: prices of the rows, and where the next horizon starts.
        slack_kw: (S, T) beyond the limits and ramps; of a peak what is above the peak already paid.
        status: its proof.
    """

    questions: tuple[Question, ...]
    weight: Array
    kept: Array
    p_kw: Kw
    own_cost: Money
    dual: Array
    slack_kw: Kw
    status: Status
