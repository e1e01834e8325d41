"""What a goal is compiled against, and the parts of the one problem it compiles into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Flexibility, Rejected
from gridflock.plan._terms import Block, Flow, row_by_group
from gridflock.units import Kw, Kwh, Mask, Money

Members = tuple[str, ...] | Mapping[str, float]
"""Names of plan groups or of sums of them; a mapping also says which part of the power counts."""
NOBODY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """The problem that goals are about.

    Attributes:
        flexibility: G groups over T steps.
        fixed_kw: (T,) everything that takes no orders, injection positive.
        members: sums by name, such as a transformer, a phase or a customer: their plan groups, or by
            group the part of its power that counts.
        now_s: moment of planning, unix seconds.
    """

    flexibility: Flexibility
    fixed_kw: Kw
    members: Mapping[str, Members]
    now_s: int

    @property
    def n(self) -> int:
        """How many steps."""
        return self.flexibility.grid.n

    def shares(self, members: Members) -> dict[str, float]:
        """By plan group the part of its power that counts; a group reached twice counts once.

        Nothing named means every group; names nobody knows are left out.
        """
        if not members:
            return dict.fromkeys(self.flexibility.groups, 1.0)
        known, found = row_by_group(self.flexibility.groups), dict[str, float]()
        for name, part in weighted(members).items():
            for group, share in weighted(self.members.get(name, (name,))).items():
                if group in known:
                    found[group] = part * share
        return found

    def rows(self, members: Members) -> NDArray[np.int64]:
        """Rows of the members' plan groups."""
        return Flow(self.shares(members), np.empty(0)).rows_of(self.flexibility)[0]

    def strangers(self, members: Members) -> tuple[str, ...]:
        """Names that lead to no plan group."""
        return tuple(name for name in weighted(members) if not self.shares((name,)))

    def flow(self, members: Members, fixed: Kw | float = 0.0, moves: float = 1.0) -> Flow:
        """Power of the members and what flows beside them; of the head where no members are named."""
        beside = self.steps(fixed) + (0.0 if members else self.fixed_kw)
        return Flow(self.shares(members), beside, moves)

    def steps(self, value: Kw | float) -> NDArray[np.float64]:
        """One value per step (T,), of one number or an array."""
        return np.broadcast_to(np.asarray(value, dtype=np.float64), (self.n,)).copy()

    def within(self, from_s: float, until_s: float) -> Mask:
        """(T,) steps that start in ``[from_s, until_s)``."""
        starts = self.flexibility.grid.starts_s
        return (starts >= from_s) & (starts < until_s)

    def net_kw(self, p_kw: Kw) -> Kw:
        """(T,) injection at the head where the groups' powers are ``p_kw`` (G, T)."""
        net: Kw = self.fixed_kw + p_kw.sum(axis=0)
        return net


def weighted(members: Members) -> dict[str, float]:
    """Names with the part that counts, 1 where none is said."""
    return dict(members) if isinstance(members, Mapping) else dict.fromkeys(members, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A compiled goal: prices, owners' costs, tightened bands, rows and variables; usually one of them.

    Attributes:
        import_price: (T,) money per kWh drawn through the head.
        export_price: (T,) money per kWh delivered.
        premium: (G, T) money per kWh each group injects more.
        cost_up: (G,) money per kWh of a group's upward move.
        cost_down: (G,) money per kWh of its downward move.
        floor_kwh: (G, T+1) least a store shall hold, in the flexibility's terms; -inf for none.
        blocks: rows and variables.
    """

    import_price: Money
    export_price: Money
    premium: Money
    cost_up: Money
    cost_down: Money
    floor_kwh: Kwh
    blocks: tuple[Block, ...] = ()

    def priced(self, factor: float) -> Part:
        """The same goal, ``factor`` times as dear."""
        return Part(
            self.import_price * factor,
            self.export_price * factor,
            self.premium * factor,
            self.cost_up * factor,
            self.cost_down * factor,
            self.floor_kwh,
            tuple(block.priced(factor) for block in self.blocks),
        )


def nothing(at: Setting) -> Part:
    """A part without any term: goals replace what they add."""
    groups = len(at.flexibility.groups)
    return Part(
        np.zeros(at.n),
        np.zeros(at.n),
        np.zeros((groups, at.n)),
        np.zeros(groups),
        np.zeros(groups),
        np.full((groups, at.n + 1), -np.inf),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a schedule got with a goal; less is better.

    Attributes:
        asked: the goal in words with its numbers.
        value: what was reached.
        unit: of ``value``.
        price: money per unit at the goal's own price; NaN where there is no single one.
        facts: further figures by name, with the unit as suffix.
    """

    asked: str
    value: float
    unit: str
    price: float
    facts: Mapping[str, float] = field(default_factory=lambda: NOBODY)


class Goal(Protocol):
    """A wish as a value: named, checked, compiled into parts of the one problem, and read off again."""

    @property
    def name(self) -> str:
        """Unique among the goals of a plan."""

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Every field that breaks a rule; a goal with faults is left out of the plan."""

    def part(self, at: Setting) -> Part:
        """The terms of a goal without faults."""

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """How far the powers ``p_kw`` (G, T) got with it."""


class Checks:
    """Collects what is wrong with the fields of one goal."""

    def __init__(self, goal: str, at: Setting) -> None:
        self.goal, self.at = goal, at
        self.found: list[Rejected] = []

    def say(self, name: str, reason: str, ids: Iterable[str] = ()) -> None:
        """One more fault: field, rule, whom it concerns."""
        self.found.append(Rejected("goal", name, (self.goal, *ids), reason))

    def number(self, name: str, value: object, lo: float = 0.0, hi: float = np.inf) -> None:
        """A finite number in ``[lo, hi]``."""
        got = floats(value)
        if got is None or got.ndim != 0 or not np.isfinite(got) or not lo <= got <= hi:
            self.say(name, f"{value} is not a finite number {_range(lo, hi)}")

    def steps(self, name: str, value: object, lo: float = -np.inf, *, endless: bool = False) -> None:
        """One number, or one per step, each finite (or +inf where ``endless``) and ``>= lo``."""
        got = floats(value)
        if got is None or got.shape not in ((), (self.at.n,)):
            shape = "no numbers" if got is None else f"shape {got.shape}"
            self.say(name, f"{shape}, expected one number or ({self.at.n},)")
            return
        bad = np.flatnonzero(~((np.isfinite(got) | (endless & (got == np.inf))) & (got >= lo)))
        if bad.size:
            where = f"step {bad[0]} is" if got.ndim else "is"
            self.say(name, f"{where} {got.flat[bad[0]]}, must be {'a' if endless else 'a finite'} number"
                           f" {_range(lo, np.inf)}".rstrip())  # fmt: skip

    def members(self, name: str, members: Members) -> None:
        """Names that lead to plan groups, with parts in (0, 1]."""
        strangers = self.at.strangers(members)
        if strangers:
            self.say(name, "names no planned group", strangers[:20])
        odd = [who for who, part in weighted(members).items() if not 0 < part <= 1]
        if odd:
            self.say(name, "the part that counts must be above 0 and at most 1", odd[:20])

    def window(self, from_s: float, until_s: float, names: tuple[str, str] = ("from_s", "until_s")) -> None:
        """A span of time that begins before it ends and holds the start of a step."""
        if not from_s < until_s:
            self.say(names[1], f"ends at {until_s}, not after its start at {from_s}")
        elif not self.at.within(from_s, until_s).any():
            self.say(names[0], "empty: no step of the horizon begins within it")

    def result(self) -> tuple[Rejected, ...]:
        """All faults found."""
        return tuple(self.found)


def floats(value: object) -> NDArray[np.float64] | None:
    """Numbers as an array; None where they are none."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _range(lo: float, hi: float) -> str:
    if np.isfinite(hi):
        return f"from {lo:g} to {hi:g}"
    return f">= {lo:g}" if np.isfinite(lo) else ""
