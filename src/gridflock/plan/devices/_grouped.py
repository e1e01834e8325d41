"""What sets of devices have in common: the horizon, their groups, and how their loops are spread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.devices._compiled import Array, Indices, Spread, over_groups, thin
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule, broken, misgrouped, misshapen, unanswered
from gridflock.units import Kw, Money


@dataclass(frozen=True, slots=True, eq=False)
class Grouped(ABC):
    """m devices over T steps, sorted by group; every other array of a set has a row for each device.

    Attributes:
        hours: float64 (T,) length of each step.
        start: int64 (G + 1,) first member of each group, and m.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.
    """

    hours: Array
    start: Indices
    spread: Spread = field(default=map, kw_only=True)
    parts: int = field(default=1, kw_only=True)

    @property
    def groups(self) -> int:
        """How many groups."""
        return len(self.start) - 1

    @property
    def members(self) -> int:
        """How many devices."""
        return int(self.start[-1])

    @property
    def clock(self) -> Array:
        """(T + 1,) hours from the start of the horizon to each edge."""
        return np.concatenate([[0.0], np.cumsum(self.hours)])

    def thinned(self, every: int) -> Self:
        """One device in ``every`` of each group; the first of each where a group is one device."""
        kept, start = thin(self.start, every)
        return self.only(kept, start)

    def only(self, kept: Indices, start: Indices) -> Self:
        """Some of the devices, in new groups.

        Args:
            kept: int64 (n,) which.
            start: int64 (G + 1,) first of them in each group, and n.
        """
        columns = {name: getattr(self, name)[kept] for name in self._column_names()}
        changed: dict[str, Any] = {"start": start, **columns}
        return replace(self, **changed)

    def rejected(self, names: Sequence[str]) -> tuple[Rejected, ...]:
        """What of the columns breaks a rule, by field and device; ``names`` are m ids."""
        shapes = misshapen(self, self._shapes(len(names))) or misgrouped(self.start, len(names))
        return shapes or broken(names, self._rules())

    @abstractmethod
    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        """Field -> shape for so many devices."""

    @abstractmethod
    def _rules(self) -> Sequence[Rule]:
        """What the columns must keep; their shapes are right."""

    def _column_names(self) -> list[str]:
        """The arrays with a row for each device."""
        names = [each.name for each in fields(self) if each.name not in {"hours", "start"}]
        return [name for name in names if isinstance(getattr(self, name), np.ndarray)]

    def _over_groups(self, part: Callable[[tuple[int, int]], None]) -> None:
        """Call ``part`` over ranges of groups, spread over threads."""
        over_groups(self.start, self.parts, self.spread, part)

    def _exact(self, question: Question, part: Callable[[tuple[int, int], Kw, Money], None]) -> Answer:
        """What ``part`` adds to the sums (G, T) kW and own costs (G,) of ranges of groups; ``epsilon`` 0."""
        p_kw, cost = np.zeros((self.groups, len(self.hours))), np.zeros(self.groups)
        self._over_groups(lambda groups: part(groups, p_kw, cost))
        return Answer(p_kw, unanswered(question.price, cost), np.zeros(self.groups))
