"""The rules, one line each, and what a broken one becomes."""
# ruff: noqa: E501 - one rule, one line: a table is read across

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

import numpy as np

from gridflock.units import Mask, Rows

_SHOWN = 20
_LISTED = 1_000


class Severity(IntEnum):
    """How much a finding matters."""

    HINT = 0
    """Something is not known that would be good to know."""
    WARNING = 1
    """Probably wrong; planning and dispatch work with it."""
    ERROR = 2
    """Cannot be right: orders or estimates that rest on it are wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that ought to hold.

    Attributes:
        name: stable identifier.
        severity: how much it matters.
        field: attribute at fault, where it is always the same one.
        says: what is wrong, in words.
        remedy: what to do.
    """

    name: str
    severity: Severity
    field: str
    says: str
    remedy: str


_H, _W, _E = Severity.HINT, Severity.WARNING, Severity.ERROR
# fmt: off
_ALL = (
    Rule("phase-missing", _E, "phases", "no phase is registered", "look the connection up, or let voltages tell the phase"),
    Rule("bus-missing", _E, "bus", "no bus is registered", "register the connection point"),
    Rule("bus-unknown", _E, "bus", "the feeder has no such bus", "correct the bus, or import the feeder's newer version"),
    Rule("phase-not-at-bus", _E, "phases", "the bus does not have that phase", "correct phases or bus"),
    Rule("transformer-missing", _H, "transformer", "no transformer is registered, while others have one", "register the service transformer"),
    Rule("feeder-missing", _H, "feeder", "no feeder is registered, while others have one", "register the feeder"),
    Rule("place-far", _W, "lat_deg", "the coordinates lie far from those of others at the same transformer", "correct the coordinates or the transformer"),
    Rule("place-shared", _W, "lat_deg", "the coordinates lie far from the transformer, and resources of other transformers have the very same", "these are the coordinates of an office or a town, not of the connection: replace them"),
    Rule("no-group", _W, "id", "it is in no group, so that nothing can be asked of it", "add it to a group, or widen a rule"),
    Rule("rating-missing", _E, "s_max_kva", "the rating is missing", "take it from the nameplate"),
    Rule("no-power", _E, "p_max_kw", "it can neither inject nor consume", "register its largest injection or consumption"),
    Rule("power-above-rating", _E, "s_max_kva", "active power above the apparent-power rating", "correct the power or the rating"),
    Rule("wrong-direction", _E, "p_min_kw", "a producer that consumes, or a consumer that injects, by its nameplate", "correct the sign, or the kind"),
    Rule("energy-without-power", _E, "e_max_kwh", "it stores energy, yet can neither charge nor discharge", "register its power"),
    Rule("energy-missing", _E, "e_max_kwh", "it can charge or discharge, yet stores nothing", "register its usable energy"),
    Rule("reserve-above-energy", _E, "e_reserve_kwh", "the reserve is larger than what it can store", "correct reserve or energy"),
    Rule("floor-above-power", _E, "p_floor_kw", "the smallest running level is above the largest", "correct the level or the power"),
    Rule("rest-without-switching", _W, "min_on_s", "it has shortest times on or off, yet does not only know on and off", "set on_off, or clear the times"),
    Rule("identity-form", _E, "", "the name has not the form its standard gives it", "ask the provider for the right one"),
    Rule("identity-twice", _E, "", "several resources claim one name", "unite the records if they are one device; else correct the name"),
    Rule("never-heard", _W, "p_kw", "it is enrolled and was never heard", "check its communication and its identities"),
    Rule("dead", _W, "p_kw", "it is enrolled and has fallen silent", "check its communication"),
    Rule("stuck", _W, "", "the reading repeats itself while those of others move", "let the device or its gateway be restarted"),
    Rule("clock-wrong", _W, "", "readings come with times that cannot be right", "let the device set its clock"),
    Rule("outside-nameplate", _E, "", "the reading lies outside the nameplate", "check scale and unit of the reading, then the nameplate"),
    Rule("sign-suspect", _E, "p_kw", "the power has the wrong sign over its whole trace", "turn the meter, or the sign in the adapter"),
    Rule("wrong-phase", _W, "phases", "the voltage goes with another phase than the registered one", "check the phase on site, then correct it"),
    Rule("wrong-transformer", _W, "transformer", "the voltage goes with another transformer than the registered one", "check the transformer on site, then correct it"),
)
# fmt: on
RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})
"""Every rule by name, in the order of reports."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A broken rule.

    Attributes:
        rule: name in ``RULES``.
        severity: how much it matters.
        field: attribute at fault.
        ids: which resources, at most a screenful.
        rows: all of them, int32 rows of the fleet, ascending.
        reason: what is wrong, in words.
        remedy: what to do.
    """

    rule: str
    severity: Severity
    field: str
    ids: tuple[str, ...]
    rows: Rows
    reason: str
    remedy: str


class Findings:
    """Collects broken rules, and those that could not be looked at."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._found: dict[str, list[Finding]] = {name: [] for name in RULES}
        self.skipped: dict[str, str] = {}

    def add(self, rule: str, where: Mask | Rows, reason: str = "", field: str = "") -> None:
        """Resources broke a rule; none is no finding.

        Args:
            rule: its name.
            where: bool (n,) over all rows, or the rows.
            reason: default the rule's own words.
            field: default the rule's own.
        """
        rows = (np.flatnonzero(where) if where.dtype == bool else np.unique(where)).astype(np.int32)
        if not len(rows):
            return
        known = RULES[rule]
        shown = tuple([self._ids[row] for row in rows[:_SHOWN].tolist()])
        self._found[rule].append(
            Finding(
                rule, known.severity, field or known.field, shown, rows, reason or known.says, known.remedy
            )
        )

    def add_each(self, rule: str, cases: Sequence[tuple[Sequence[int], str, str]]) -> None:
        """Cases of their own: rows, field and reason of each; beyond a thousand all in one finding.

        Args:
            rule: its name.
            cases: in the order they are told.
        """
        for rows, field, reason in cases[:_LISTED]:
            self.add(rule, np.array(rows, dtype=np.int32), reason, field)
        rest = [row for rows, _, _ in cases[_LISTED:] for row in rows]
        if rest:
            more = f"{RULES[rule].says}: {len(cases) - _LISTED} more cases"
            self.add(rule, np.array(rest, dtype=np.int32), more, cases[-1][1])

    def skip(self, why: str, *rules: str) -> None:
        """Rules that cannot be looked at, and the reason."""
        self.skipped |= dict.fromkeys(rules, why)

    def all(self) -> tuple[Finding, ...]:
        """The gravest first, then in the order of the rules."""
        found = [finding for name in RULES for finding in self._found[name]]
        return tuple(sorted(found, key=lambda finding: -finding.severity))
