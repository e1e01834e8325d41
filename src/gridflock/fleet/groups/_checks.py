"""What is wrong with a group somebody wants: named before anything is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._levels import COUNTED_BY, ByAttribute, ByBus, ByRow, Level, Source, Zones
from gridflock.fleet.groups._rules import Rule
from gridflock.fleet.groups._structure import Structure
from gridflock.model import Rejected
from gridflock.schema import Kind
from gridflock.units import Rows

_SHOWN = 20


def wrong_name(held: Structure, name: str) -> list[Rejected]:
    """No printable text, or taken by a group, a level or a resource."""
    if not name.strip() or not name.isprintable():
        return [Rejected("group", "id", (name,), "expected a printable text")]
    if name in held:
        return [Rejected("group", "id", (name,), "is a duplicate")]
    if name in held.levels:
        return [Rejected("group", "id", (name,), "is the name of a level of groups")]
    if name in held.fleet.row_of:
        return [Rejected("group", "id", (name,), "is the id of a resource")]
    return []


def wrong_members(fleet: Fleet, name: str, members: Sequence[str]) -> list[Rejected]:
    """Unknown, listed twice, or feeder heads."""
    unknown = [member for member in members if member not in fleet.row_of]
    twice = [member for member, times in Counter(members).items() if times > 1]
    kind = fleet.columns["kind"]
    heads = [m for m in members if m in fleet.row_of and kind[fleet.row_of[m]] == Kind.FEEDER_HEAD]
    found = []
    for ids, reason in (
        (unknown, f"unknown resources in group {name!r}"),
        (twice, f"listed more than once in group {name!r}"),
        (heads, "a feeder head belongs to no group"),
    ):
        if ids:
            found.append(Rejected("group", "members", tuple(ids[:_SHOWN]), reason, count=len(ids)))
    return found


def wrong_ties(
    held: Structure, name: str, parents: Sequence[str], children: Sequence[str], rule: Rule | None
) -> list[Rejected]:
    """Unknown groups, and groups that would stand above and below the group, or be the group itself."""
    read = rule.groups if rule is not None else ()
    found = []
    for field, others in (("parents", parents), ("children", children), ("rule", read)):
        unknown = tuple(other for other in others if other not in held and other != name)
        if unknown:
            found.append(Rejected("group", field, unknown, f"unknown groups in group {name!r}"))
    above = held.above([name, *parents])
    for field, others in (("children", children), ("rule", read)):
        loops = [x for x in others if x in above and x != name]
        if field == "rule":
            loops = [x for x in loops if held.placed(x) is None]
        cycle = tuple(dict.fromkeys(loops))
        if cycle:
            found.append(Rejected("group", field, cycle, f"would stand above and below {name!r}"))
    if any(name in others for others in (parents, children, read)):
        found.append(Rejected("group", "id", (name,), "a group is no part of itself"))
    return found


def wrong_rule(held: Structure, name: str, rule: Rule) -> list[Rejected]:
    """A rule that cannot be asked; the groups it looks at have been judged before."""
    known = [group for group in rule.groups if group in held]
    if len(known) < len(rule.groups):
        return []
    try:
        rule.mask(held.fleet, held.seen_by_rules)
    except ValueError as fault:
        return [Rejected("group", "rule", (name,), str(fault))]
    return []


def wrong_level(held: Structure, name: str, source: Source, parents: Sequence[str]) -> list[Rejected]:
    """A name that is none or taken, unknown parents, or a source that cannot divide this fleet."""
    found = []
    if not name.strip() or not name.isprintable() or "/" in name:
        found.append(Rejected("level", "id", (name,), "expected a printable text without a slash"))
    elif name in held.levels or name in held or name in held.fleet.row_of:
        found.append(Rejected("level", "id", (name,), "is the name of a level, a group or a resource"))
    elif taken := [other for other in held.order if other.startswith(f"{name}/")]:
        found.append(Rejected("level", "id", tuple(taken[:_SHOWN]), f"groups with ids of level {name!r}"))
    unknown = tuple(other for other in parents if other not in held.levels and other not in held)
    if unknown:
        found.append(Rejected("level", "parents", unknown, f"unknown levels or groups above level {name!r}"))
    fault = _wrong_source(source, len(held.fleet.ids))
    if fault:
        found.append(Rejected("level", "by", (name,), fault))
    return found


def _wrong_source(source: Source, n: int) -> str:
    """What is wrong with where a level comes from; empty for nothing."""
    if isinstance(source, ByAttribute) and source.name not in COUNTED_BY:
        return f"{source.name!r} is no attribute that divides; expected one of {', '.join(COUNTED_BY)}"
    if isinstance(source, ByRow):
        return _wrong_codes(source.code, source.labels, n, "resources")
    return _wrong_zones(source.zones) if isinstance(source, ByBus) else ""


def _wrong_zones(zones: Zones) -> str:
    if len(set(zones.buses)) < len(zones.buses):
        return "buses are repeated"
    return _wrong_codes(zones.code, zones.names, len(zones.buses), "buses")


def _wrong_codes(code: Rows, labels: Sequence[str], n: int, of: str) -> str:
    if code.shape != (n,) or code.dtype.kind != "i":
        return f"expected a whole number for each of {n} {of}, got {code.dtype} {code.shape}"
    if len(set(labels)) < len(labels):
        return "labels are repeated"
    if ((code < -1) | (code >= len(labels))).any():
        return f"codes are outside [-1, {len(labels) - 1}]"
    unfit = [label for label in labels if not label.strip() or not label.isprintable()]
    return f"labels are no printable texts: {unfit[:_SHOWN]}" if unfit else ""


def unusable(zones: Zones, held: Structure) -> list[Rejected]:
    """Zones for no level that follows any, or that contradict themselves."""
    level = held.levels.get(zones.level)
    if level is None or not isinstance(level.source, ByBus):
        return [Rejected("level", "zones", (zones.level,), "no level of that name follows zones")]
    fault = _wrong_zones(zones)
    return [Rejected("level", "zones", (zones.level,), fault)] if fault else []


def shadowed(level: Level, held: Structure) -> list[Rejected]:
    """Groups of a new level that would have the id of a resource."""
    ids = [name for name in level.ids if name in held.fleet.row_of]
    reason = f"would be groups of level {level.name!r}, and are ids of resources"
    return [Rejected("level", "id", tuple(ids[:_SHOWN]), reason, count=len(ids))] if ids else []


def across(level: Level, held: Structure) -> list[Rejected]:
    """Groups of a level that do not lie within one group of a level above them."""
    found = []
    for parent in level.parents:
        if parent in held.levels:
            torn = np.flatnonzero(level.within(held.levels[parent]) == -2)
            if len(torn):
                ids = tuple(f"{level.name}/{level.labels[k]}" for k in torn[:_SHOWN].tolist())
                reason = f"members are not all in one group of level {parent!r}"
                found.append(Rejected("level", "parents", ids, reason, count=len(torn)))
    return found


def wrong_change(held: Structure, name: str, join: Sequence[str], leave: Sequence[str]) -> list[Rejected]:
    """No group of its own, members unknown or named already, leavers that are no listed members."""
    found = wrong_removal(held, name, read=False)
    if found:
        return found
    found += wrong_members(held.fleet, name, (*join, *leave))
    listed = set(held.groups[name].listed.tolist())
    row_of = held.fleet.row_of
    there = [member for member in join if row_of.get(member, -1) in listed]
    gone = [member for member in leave if member in row_of and row_of[member] not in listed]
    for ids, reason in (
        (there, f"members of group {name!r} already"),
        (gone, f"no members of group {name!r} by name"),
    ):
        if ids:
            found.append(Rejected("group", "members", tuple(ids[:_SHOWN]), reason, count=len(ids)))
    return found


def wrong_removal(held: Structure, name: str, *, read: bool = True) -> list[Rejected]:
    """No group, a group of a level, or (``read``) one that another's rule or a level stands on."""
    if held.placed(name) is not None:
        return [Rejected("group", "id", (name,), "is a group of a level and follows that")]
    if name not in held.groups:
        return [Rejected("group", "id", (name,), "is unknown")]
    users = held.readers().get(name, [])
    users += [level.name for level in held.levels.values() if name in level.parents]
    if read and users:
        return [Rejected("group", "id", (name,), f"rules or levels stand on it: {', '.join(users[:_SHOWN])}")]
    return []
