"""What a programme asks of a resource that wants to be in it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._rows import IDENTITY_NAMES, Registry
from gridflock.fleet.registry.enrolment._naming import named
from gridflock.model import Rejected
from gridflock.schema import Enrolment, Kind
from gridflock.units import Mask, Rows

JUDGED = frozenset({Enrolment.APPROVED, Enrolment.COMMISSIONED, Enrolment.ENROLLED})
"""States into which the rules let a resource or do not."""
_KNOWN_DEVICE = frozenset({Enrolment.COMMISSIONED, Enrolment.ENROLLED})


@dataclass(frozen=True, slots=True)
class ProgramRules:
    """Rules of one programme; a programme without any takes everybody.

    Kind and size are judged from approval on, identities once the device is there: on commissioning and
    enrolment.

    Attributes:
        program: its name in the registry.
        kinds: kinds it takes; empty = all.
        smallest_kw: the larger of a resource's injection and consumption is at least this.
        largest_kw: and at most this.
        identities: names with others, of ``schema.IDENTITIES``, that a resource must have.

    Raises:
        ValueError: sizes that no resource can have, or an identity that does not exist.
    """

    program: str
    kinds: frozenset[Kind] = frozenset()
    smallest_kw: float = 0.0
    largest_kw: float = math.inf
    identities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.smallest_kw <= self.largest_kw:
            raise ValueError(f"sizes of {self.program!r}: from {self.smallest_kw} to {self.largest_kw} kW")
        unknown = set(self.identities) - set(IDENTITY_NAMES)
        if unknown:
            raise ValueError(f"identities of {self.program!r}: {', '.join(sorted(unknown))}")


def refused_by_programs(
    registry: Registry, rows: Rows, to: Enrolment, rules: Collection[ProgramRules]
) -> tuple[Mask, list[Rejected]]:
    """Which of some rows their programme does not let into a state, and every rule that is broken.

    Args:
        registry: n resources.
        rows: (m,) who would move.
        to: where to.
        rules: at most one of each programme.
    """
    refused = np.zeros(len(rows), dtype=bool)
    faults: list[Rejected] = []
    if to not in JUDGED:
        return refused, faults
    program = registry.columns["program"][rows]
    code_of = {name: code for code, name in enumerate(registry.labels["program"])}
    for rule in rules:
        at = np.flatnonzero(program == code_of.get(rule.program, -1))
        if not len(at):
            continue
        for field, broken, reason in _broken(registry, rows[at], to, rule):
            if broken.any():
                refused[at[broken]] = True
                faults.append(named("enrolment", field, registry, rows[at[broken]], reason))
    return refused, faults


def _broken(
    registry: Registry, rows: Rows, to: Enrolment, rule: ProgramRules
) -> Iterable[tuple[str, Mask, str]]:
    """Field, rows at fault and reason of each rule."""
    said = f"programme {rule.program!r} takes"
    if rule.kinds:
        kinds = ", ".join(sorted(kind.name.lower() for kind in rule.kinds))
        allowed = np.array([int(kind) for kind in rule.kinds], dtype=np.uint8)
        yield "kind", ~np.isin(registry.columns["kind"][rows], allowed), f"{said} {kinds} only"
    size = np.maximum(registry.columns["p_max_kw"][rows], -registry.columns["p_min_kw"][rows])
    yield "p_max_kw", ~(size >= rule.smallest_kw), f"{said} resources of {rule.smallest_kw:g} kW and more"
    yield "p_max_kw", ~(size <= rule.largest_kw), f"{said} resources of {rule.largest_kw:g} kW and less"
    if to in _KNOWN_DEVICE:
        for name in rule.identities:
            yield name, _without(registry, name, rows), f"programme {rule.program!r} needs the {name}"


def _without(registry: Registry, name: str, rows: Rows) -> NDArray[np.bool_]:
    texts = registry.identities.get(name)
    if texts is None:
        return np.ones(len(rows), dtype=bool)
    return np.array([not texts[row] for row in rows.tolist()], dtype=bool)
