"""What is asked of a decider, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Money


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Prices for G groups.

    Attributes:
        price: float64 (G, T) worth of one kWh injected, money/kWh.
        softness: width of price, money/kWh, over which a device may pass from rest to full power;
            0 asks for a best answer. What a soft answer gives away is its ``epsilon``.
    """

    price: Array
    softness: float

    def of(self, groups: slice) -> Question:
        """The same for some of the groups."""
        return Question(self.price[groups], self.softness)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What G groups would do at the prices of a question.

    Attributes:
        p_kw: float64 (G, T) sum of the members' schedules, injection positive.
        cost: float64 (G,) their own cost: wear, fuel, discomfort; NaN where no answer came in time.
        epsilon: float64 (G,) most by which a better answer could beat this one, money, >= 0.
    """

    p_kw: Kw
    cost: Money
    epsilon: Money


class Oracle(Protocol):
    """Anything that answers prices: a class of devices, a shard, a DERMS below."""

    @property
    def groups(self) -> int:
        """How many groups answer, one column of the master each."""
        ...

    @property
    def members(self) -> int:
        """How many devices they hold together."""
        ...

    @property
    def start(self) -> Indices:
        """(G + 1,) first member of each group, and how many members there are."""
        ...

    def thinned(self, every: int) -> Oracle:
        """One device in ``every`` of each group, for first prices."""
        ...

    def respond(self, question: Question) -> Answer:
        """The sums of the schedules that cost least at these prices."""
        ...

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` (of each group) times every member's schedule to ``total`` (members, T), kW."""
        ...


def joined(answers: list[Answer]) -> Answer:
    """The answers of several oracles as one, in their order."""
    return Answer(
        np.concatenate([a.p_kw for a in answers]),
        np.concatenate([a.cost for a in answers]),
        np.concatenate([a.epsilon for a in answers]),
    )
