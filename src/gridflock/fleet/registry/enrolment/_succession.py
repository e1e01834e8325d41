"""One resource stands where another stood: another device in its place, or two records of one device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._rows import IDENTITY_NAMES, TEXTS, Registry, ordered, sorted_codes
from gridflock.fleet.registry.enrolment._lives import Link
from gridflock.fleet.registry.enrolment._moves import Act, Moves, moved
from gridflock.fleet.registry.enrolment._naming import named, rows_of
from gridflock.fleet.registry.enrolment._programs import ProgramRules, refused_by_programs
from gridflock.fleet.registry.identities import canonical
from gridflock.model import Rejected
from gridflock.schema import FAMILY, REGISTRY, Enrolment, Kind
from gridflock.units import Rows

PLACE = ("bus", "phases", "feeder", "transformer", "lat_deg", "lon_deg")
"""Attributes of the connection point."""
CONTRACT = ("program", "provider", "customer")
"""Attributes of the customer's contract."""
_COMPONENT = "replacement"
_FAMILY = np.array([FAMILY[Kind(code)] for code in range(len(Kind))], dtype=np.uint8)
_DEFAULT: Mapping[str, object] = {entry.name: entry.default for entry in REGISTRY}


@dataclass(frozen=True, slots=True, eq=False)
class Succession:
    """A registry after successions.

    Attributes:
        registry: rows may have moved, since a place is part of their order; the very registry from before
            where nothing happened.
        moves: events: who was retired and who was enrolled or suspended in its stead.
        links: who took whose place.
        rejected: what was refused, with the rule.
    """

    registry: Registry
    moves: tuple[Moves, ...]
    links: tuple[Link, ...]
    rejected: tuple[Rejected, ...]


def replace(
    registry: Registry, pairs: Mapping[str, str], act: Act, rules: Collection[ProgramRules] = ()
) -> Succession:
    """New devices take the places and contracts of old ones, which retire.

    The new device must be commissioned, of the old one's family, and allowed by the rules of the
    programme it takes over. It is enrolled if the old one was, suspended if that was suspended, and
    stays commissioned otherwise. Both keep their identities and their histories.

    Args:
        registry: n resources, the new ones among them.
        pairs: new device by old one.
        act: who asks, when and why.
        rules: of programmes, at most one of each.
    """
    old, new, faults = _pairs(registry, pairs)
    state, kind = registry.columns["enrolment"], registry.columns["kind"]
    checks = (
        ("enrolment", state[old] == Enrolment.RETIRED, old, "is retired and stands nowhere"),
        ("enrolment", state[new] != Enrolment.COMMISSIONED, new, "takes a place only when commissioned"),
        ("kind", _FAMILY[kind[old]] != _FAMILY[kind[new]], new, "is of another family than the old one"),
    )
    good = np.ones(len(old), dtype=bool)
    for field, broken, rows, reason in checks:
        if broken.any():
            faults.append(named(_COMPONENT, field, registry, rows[broken], reason))
            good &= ~broken
    old, new = old[good], new[good]
    taken = _with_taken(registry, old, new, (*PLACE, *CONTRACT))
    refused, broken_rules = refused_by_programs(taken, new, Enrolment.ENROLLED, rules)
    if refused.any():
        old, new = old[~refused], new[~refused]
        taken = _with_taken(registry, old, new, (*PLACE, *CONTRACT))
    if not len(old):
        return Succession(registry, (), (), (*faults, *broken_rules))
    held = state[old]
    after, retired = moved(taken, old, Enrolment.RETIRED, act)
    in_force = new[(held == Enrolment.ENROLLED) | (held == Enrolment.SUSPENDED)]
    after, enrolled = moved(after, in_force, Enrolment.ENROLLED, act)
    after, suspended = moved(after, new[held == Enrolment.SUSPENDED], Enrolment.SUSPENDED, act)
    names = [(registry.ids[a], registry.ids[b]) for a, b in zip(old.tolist(), new.tolist(), strict=True)]
    links = tuple([Link(a, b, "replaced", act) for a, b in names])
    moves = tuple([m for m in (retired, enrolled, suspended) if m.ids])
    return Succession(_in_order(after), moves, links, (*faults, *broken_rules))


def unite(registry: Registry, keep: str, gone: str, act: Act) -> Succession:
    """Two records turn out to be one device: one record is kept, the other retires.

    What the kept record does not say, the other one fills in, identities included; where both speak, the
    kept one holds. Records of different kinds, or with different values of one identity, are refused: they
    are not one device.

    Args:
        registry: n resources.
        keep: who stays.
        gone: who retires.
        act: who asks, when and why.
    """
    goes, stays, faults = _pairs(registry, {gone: keep})
    if not faults:
        faults = _contradictions(registry, int(stays[0]), int(goes[0]))
    if faults:
        return Succession(registry, (), (), tuple(faults))
    filled = _filled(registry, int(stays[0]), int(goes[0]))
    after, retired = moved(filled, goes, Enrolment.RETIRED, act)
    moves = (retired,) if retired.ids else ()
    return Succession(_in_order(after), moves, (Link(gone, keep, "united", act),), ())


def _pairs(registry: Registry, pairs: Mapping[str, str]) -> tuple[Rows, Rows, list[Rejected]]:
    """Rows of who goes and who comes; each resource may be in one pair only, and on one side."""
    listed = [*pairs, *pairs.values()]
    rows, unknown = rows_of(registry, listed)
    row_of = {registry.ids[row]: row for row in rows.tolist()}
    faults, seen = [], set[str]()
    good: list[tuple[int, int]] = []
    for names in pairs.items():
        lost = [name for name in names if name not in row_of]
        twice = [name for name in dict.fromkeys(names) if name in seen or names[0] == names[1]]
        if lost:
            faults.append(Rejected(_COMPONENT, "id", tuple(lost), "unknown resource"))
        elif twice:
            faults.append(
                Rejected(_COMPONENT, "id", tuple(twice), "is in two pairs, or on both sides of one")
            )
        else:
            good.append((row_of[names[0]], row_of[names[1]]))
            seen.update(names)
    assert bool(unknown) <= bool(faults)
    found = np.array(good, dtype=np.int32).reshape(-1, 2)
    return found[:, 0], found[:, 1], faults


def _with_taken(registry: Registry, source: Rows, target: Rows, names: Collection[str]) -> Registry:
    """A registry, not in order yet, in which rows have values of other rows."""
    columns = dict(registry.columns)
    for name in names:
        columns[name] = registry.columns[name].copy()
        columns[name][target] = registry.columns[name][source]
    return Registry(registry.ids, columns, registry.labels, registry.family, registry.identities)


def _in_order(registry: Registry) -> Registry:
    """The same resources in the registry's order, with the vocabularies in use."""
    columns, labels = dict(registry.columns), dict(registry.labels)
    for name in TEXTS:
        columns[name], labels[name] = sorted_codes(columns[name], labels[name])
    return ordered(registry.ids, columns, labels, registry.identities)[0]


def _contradictions(registry: Registry, stays: int, goes: int) -> list[Rejected]:
    """Why two records cannot be one device."""
    ids = (registry.ids[stays], registry.ids[goes])
    faults = []
    if registry.columns["kind"][stays] != registry.columns["kind"][goes]:
        faults.append(Rejected(_COMPONENT, "kind", ids, "differs: these are two devices"))
    for name, texts in registry.identities.items():
        one, other = (canonical(name, texts[row]) for row in (stays, goes))
        if one and other and one != other:
            faults.append(
                Rejected(_COMPONENT, name, ids, f"differs, {one} and {other}: these are two devices")
            )
    return faults


def _filled(registry: Registry, stays: int, goes: int) -> Registry:
    """The registry in which one row is told what another knows and it does not."""
    columns: dict[str, NDArray[Any]] = dict(registry.columns)
    for name in columns.keys() - {"kind", "enrolment"}:
        if _silent(registry, name, stays) and not _silent(registry, name, goes):
            columns[name] = registry.columns[name].copy()
            columns[name][stays] = columns[name][goes]
    identities = {name: list(texts) for name, texts in registry.identities.items()}
    for texts in identities.values():
        texts[stays] = texts[stays] or texts[goes]
    known = {name: tuple(identities[name]) for name in IDENTITY_NAMES if name in identities}
    return Registry(registry.ids, columns, registry.labels, registry.family, known)


def _silent(registry: Registry, name: str, row: int) -> bool:
    """Whether a row says no more of an attribute than its default, or that it is absent."""
    value = registry.columns[name][row]
    default = _DEFAULT[name]
    if name in TEXTS:
        return bool(registry.labels[name][value] == (default or ""))
    if value.dtype.kind == "f" and np.isnan(value):
        return True
    return isinstance(default, float) and bool(value == np.float32(default))
