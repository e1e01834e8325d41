"""Rules: who is a member by what it is, where it stands and which other groups it is in."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._levels import grouped
from gridflock.fleet.groups._places import Place
from gridflock.fleet.registry import TEXTS, QueryRejected, parse
from gridflock.schema import CUSTOMER_CLASSES, REGISTRY, Enrolment, Family, Kind
from gridflock.units import Mask, Rows, phase_mask

_CODES: Mapping[str, Mapping[str, int]] = {
    "kind": {kind.name.lower(): int(kind) for kind in Kind},
    "family": {family.name.lower(): int(family) for family in Family},
    "customer": {name: code for code, name in enumerate(CUSTOMER_CLASSES)},
    "enrolment": {state.name.lower(): int(state) for state in Enrolment},
}
_WORDS = {"customer": "customer class", "enrolment": "enrolment state"}
_KNOWN = {entry.name for entry in REGISTRY} - {"id"} | {"family"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that all hold for a member; none at all: everybody is one. Feeder heads never are.

    Attributes:
        where: a query over any attribute (``"kind = ev_v1g and phases has b"``), or a mapping of
            attributes to a value or a collection of values.
        place: in this polygon.
        inside: in at least one of these groups. Of a group of a level it sees those whom the level puts
            there, not those who came with a group inside it; so a rule may choose among its own parent's.
        outside: in none of these groups, in the same sense.
    """

    where: str | Mapping[str, object] = ""
    place: Place | None = None
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups it looks at, each once."""
        return tuple(dict.fromkeys((*self.inside, *self.outside)))

    def mask(self, fleet: Fleet, rows_of: Callable[[str], Rows]) -> Mask:
        """(n,) who is a member.

        Args:
            fleet: whose rows.
            rows_of: members of the groups it looks at.

        Raises:
            ValueError: it is no rule: no query, an unknown attribute or value.
        """
        fits = grouped(fleet)
        if isinstance(self.where, str):
            if self.where.strip():
                try:
                    condition = parse(self.where)
                except QueryRejected as fault:
                    raise ValueError(str(fault)) from None
                fits &= condition.matches(fleet.columns, fleet.labels, fleet.family, fleet.ids)
        else:
            fits &= _matching(self.where, fleet)
        if self.place is not None:
            fits &= self.place.holds(fleet.columns["lat_deg"], fleet.columns["lon_deg"])
        if self.inside:
            fits &= _held(self.inside, rows_of, len(fits))
        if self.outside:
            fits &= ~_held(self.outside, rows_of, len(fits))
        return fits


def as_rule(given: Rule | str | Mapping[str, object]) -> Rule:
    """A rule from a query or a mapping of attributes alone."""
    return given if isinstance(given, Rule) else Rule(given)


def _held(names: tuple[str, ...], rows_of: Callable[[str], Rows], n: int) -> Mask:
    held = np.zeros(n, dtype=bool)
    for name in names:
        held[rows_of(name)] = True
    return held


def _matching(wanted: Mapping[str, object], fleet: Fleet) -> Mask:
    """Rows whose attributes are all among the wanted values."""
    fits = np.ones(len(fleet.ids), dtype=bool)
    for name, value in wanted.items():
        if name not in _KNOWN:
            raise ValueError(f"no attribute {name!r} to match")
        column = fleet.family if name == "family" else fleet.columns[name]
        several = isinstance(value, Collection) and not isinstance(value, str | bytes)
        values = list(value) if several else [value]  # type: ignore[call-overload]  # see several
        fits &= np.isin(column, np.array([_code(fleet, name, entry) for entry in values]))
    return fits


def _code(fleet: Fleet, name: str, value: object) -> float:
    """The value as the column holds it; -1 for a label nobody has yet, which is no error."""
    text = str(value).strip()
    if name in TEXTS:
        labels = fleet.labels[name]
        return labels.index(text) if text in labels else -1
    if name in _CODES:
        if text.lower() not in _CODES[name]:
            raise ValueError(f"no {_WORDS.get(name, name)} {text!r}")
        return _CODES[name][text.lower()]
    if name == "phases":
        return phase_mask(text)
    try:
        number = float(np.float32(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{name} {text!r} is not a number") from None
    if math.isnan(number):
        raise ValueError(f"{name} is NaN, which nothing equals; ask for '{name} is missing' in a query")
    return number
