"""What a document of goals says, and the goals it makes over one horizon of a rolling plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.goals._part import Goal
from gridflock.plan.goals.bounds import Departures, Event, LoadShape, PowerLimit, RampLimit, Reserve
from gridflock.plan.goals.fairness import FairShare
from gridflock.plan.goals.money import Carbon, DemandCharge, Losses, SelfConsumption, Wear
from gridflock.units import Kw, TimeGrid

MADE: Mapping[str, Callable[..., Goal]] = {
    "power limit": PowerLimit,
    "ramp limit": RampLimit,
    "load shape": LoadShape,
    "event": Event,
    "reserve": Reserve,
    "departures": Departures,
    "demand charge": DemandCharge,
    "self-consumption": SelfConsumption,
    "carbon": Carbon,
    "losses": Losses,
    "wear": Wear,
    "fair share": FairShare,
}
"""Class of each kind."""
SPANNED = frozenset(("power limit", "load shape", "event", "reserve", "fair share"))
"""Kinds that hold from one moment until another."""
_BESIDE = frozenset(("power limit", "ramp limit", "load shape", "demand charge"))
"""Kinds about the whole power of a sum, what takes no orders included."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Numbers that hold from one moment until the next; the first also before it, the last for ever.

    Attributes:
        from_s: moments, unix seconds, ascending.
        value: one number for each.
    """

    from_s: tuple[int, ...]
    value: tuple[float, ...]

    def on(self, grid: TimeGrid) -> NDArray[np.float64]:
        """(T,) the number in force at the start of each step."""
        at = np.searchsorted(np.array(self.from_s), grid.starts_s, side="right") - 1
        found: NDArray[np.float64] = np.array(self.value)[np.maximum(at, 0)]
        return found


@dataclass(frozen=True, slots=True)
class StatedGoal:
    """One goal of a document.

    Attributes:
        kind: one of ``MADE``.
        name: unique in the document.
        values: by field of the class; profiles and moments as they were said.
        names: groups and resources that it speaks of.
        from_s: it matters from then on, unix seconds; -inf for always.
        until_s: until then; inf for ever.
    """

    kind: str
    name: str
    values: Mapping[str, Any]
    names: tuple[str, ...]
    from_s: float = -np.inf
    until_s: float = np.inf

    def state(self, grid: TimeGrid) -> str:
        """``"over"``, ``"ahead"`` of the horizon, or ``"due"``."""
        if self.until_s <= grid.start_s:
            return "over"
        return "ahead" if self.from_s >= grid.edges_s[-1] else "due"

    def on(self, grid: TimeGrid, beside_kw: Kw | float, called_s: float, now_kw: float = np.nan) -> Goal:
        """The goal over a horizon.

        Args:
            grid: T steps.
            beside_kw: (T,) what flows beside the planned groups where it names some.
            called_s: when it was stated.
            now_kw: what flows now where it speaks of changes; NaN where that is not known.
        """
        values = {
            name: value.on(grid) if isinstance(value, Profile) else value
            for name, value in self.values.items()
        }
        if np.any(beside_kw):
            values["beside_kw"] = values.get("beside_kw", 0.0) + np.asarray(beside_kw)
        if self.kind == "event":
            values["called_s"] = called_s
        if self.kind == "ramp limit":
            values["before_kw"] = now_kw
        if self.kind == "power limit":
            inside = (grid.starts_s >= self.from_s) & (grid.starts_s < self.until_s)
            for side in ("import_kw", "export_kw"):
                values[side] = np.where(inside, values.get(side, np.inf), np.inf)
        return MADE[self.kind](name=self.name, **values)

    @property
    def has_beside(self) -> bool:
        """Whether what flows beside the planned members counts: named ones, in a goal about their sum."""
        return bool(self.names) and self.kind in _BESIDE


@dataclass(frozen=True, slots=True)
class Stated:
    """All goals of a system.

    Attributes:
        goals: as they were read.
        order: names by rank, first before next; empty where all are weighed by their own prices.
        document: what was read, as values.
        called_s: when it was stated, unix seconds.
        author: credential that stated it; empty where the owner did.
        id: what a second person approves it by; empty where none is needed.
        moves_kw: the most that it could displace.
    """

    goals: tuple[StatedGoal, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    document: Mapping[str, Any] | None = None
    called_s: float = np.nan
    author: str = ""
    id: str = ""
    moves_kw: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Every group and resource spoken of."""
        return tuple(dict.fromkeys(name for goal in self.goals for name in goal.names))

    def called(self, now_s: int) -> Stated:
        """The same, stated now."""
        return replace(self, called_s=float(now_s))

    def due(self, grid: TimeGrid) -> tuple[StatedGoal, ...]:
        """Those that matter within a horizon."""
        return tuple(goal for goal in self.goals if goal.state(grid) == "due")
