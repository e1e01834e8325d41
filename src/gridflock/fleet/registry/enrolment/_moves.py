"""From one state of enrolment into another: which moves are legal, and what moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from gridflock.fleet.registry._rows import Registry
from gridflock.fleet.registry.enrolment._naming import named, rows_of, strangers
from gridflock.fleet.registry.enrolment._programs import ProgramRules, refused_by_programs
from gridflock.model import Rejected
from gridflock.schema import Enrolment
from gridflock.units import Codes, Rows

COMPONENT = "enrolment"
LEGAL: Mapping[Enrolment, tuple[Enrolment, ...]] = MappingProxyType(
    {
        Enrolment.APPLIED: (Enrolment.APPROVED, Enrolment.RETIRED),
        Enrolment.APPROVED: (Enrolment.COMMISSIONED, Enrolment.RETIRED),
        Enrolment.COMMISSIONED: (Enrolment.ENROLLED, Enrolment.RETIRED),
        Enrolment.ENROLLED: (Enrolment.SUSPENDED, Enrolment.RETIRED),
        Enrolment.SUSPENDED: (Enrolment.ENROLLED, Enrolment.RETIRED),
        Enrolment.RETIRED: (),
    }
)
"""Where each state leads; an application that is turned down retires, and nobody comes back from there."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who moved something, when and why.

    Attributes:
        time_s: moment, unix seconds.
        author: who.
        why: in words.
    """

    time_s: int
    author: str
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """What one act moved: m events as columns.

    Attributes:
        act: who, when, why.
        ids: m resources.
        before: uint8 (m,) ``schema.Enrolment`` they came from.
        after: uint8 (m,) the one they went to.
    """

    act: Act
    ids: tuple[str, ...]
    before: Codes
    after: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """A registry after a move.

    Attributes:
        registry: the same rows; the very registry from before where nothing moved.
        moves: events.
        rejected: who was refused, by rule.
    """

    registry: Registry
    moves: Moves
    rejected: tuple[Rejected, ...]


def move(
    registry: Registry,
    ids: Iterable[str],
    to: Enrolment,
    act: Act,
    rules: Collection[ProgramRules] = (),
) -> Moved:
    """Bring resources into a state; those that may not go there stay, and are named with the rule.

    Who is in the state already is left alone: the same move twice moves once.

    Args:
        registry: n resources.
        ids: who; each counts once.
        to: where to.
        act: who asks, when and why.
        rules: of programmes, at most one of each.
    """
    rows, unknown = rows_of(registry, ids)
    faults = strangers(COMPONENT, unknown)
    rows = rows[registry.columns["enrolment"][rows] != to]
    rows, illegal = _legal(registry, rows, to)
    refused, broken = refused_by_programs(registry, rows, to, rules)
    after, moves = moved(registry, rows[~refused], to, act)
    return Moved(after, moves, (*faults, *illegal, *broken))


def moved(registry: Registry, rows: Rows, to: Enrolment, act: Act) -> tuple[Registry, Moves]:
    """A registry whose rows are in another state, whatever the rules, and the events."""
    state = registry.columns["enrolment"]
    ids = tuple([registry.ids[row] for row in rows.tolist()])
    moves = Moves(act, ids, state[rows], np.full(len(rows), to, dtype=np.uint8))
    if not len(rows):
        return registry, moves
    state = state.copy()
    state[rows] = to
    state.flags.writeable = False
    columns = MappingProxyType({**registry.columns, "enrolment": state})
    return dataclasses.replace(registry, columns=columns), moves


def _legal(registry: Registry, rows: Rows, to: Enrolment) -> tuple[Rows, list[Rejected]]:
    """Rows that may move by the table, and the others by the state they are in."""
    state = registry.columns["enrolment"][rows]
    allowed = np.array([to in LEGAL[source] for source in Enrolment])[state]
    faults = []
    for code in np.unique(state[~allowed]).tolist():
        source = Enrolment(code)
        ways = ", ".join(f"{_word(source)} -> {_word(way)}" for way in LEGAL[source])
        reason = f"{_word(source)} -> {_word(to)} is no legal move; {_legal_ones(source, ways)}"
        faults.append(named(COMPONENT, "enrolment", registry, rows[~allowed & (state == code)], reason))
    return rows[allowed], faults


def _legal_ones(source: Enrolment, ways: str) -> str:
    return f"legal are {ways}" if ways else f"nothing leads out of {_word(source)}"


def _word(state: Enrolment) -> str:
    return state.name.lower()
