"""Groups follow the registry and the topology, and say who joined and left, when and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._checks import across, unusable
from gridflock.fleet.groups._levels import ByAttribute, ByBus, ByRow, Division, Level, Zones, grouped
from gridflock.fleet.groups._structure import Structure, Version, frozen
from gridflock.model import Rejected
from gridflock.units import Codes, Mask, Rows

_SHOWN = 20


class Cause(IntEnum):
    """Why somebody joined or left a group."""

    REGISTERED = 0
    """It is new in the registry."""
    REMOVED = 1
    """It has left the registry."""
    ATTRIBUTE = 2
    """An attribute of it has changed."""
    TOPOLOGY = 3
    """Its bus is fed another way."""
    RULE = 4
    """The group's rule holds for it now, or no more."""
    GROUPS = 5
    """It came or went with a group inside the group."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Who joined and left which group, m lines in the order of the groups.

    Attributes:
        time_s: moment of the change, unix seconds.
        groups: those whose members changed.
        versions: of these groups from now on.
        group: int32 (m,) which of ``groups``.
        joined: (m,) whether the resource joined; else it left.
        resource: (m,) positions in ``ids``.
        why: uint8 (m,) ``Cause``.
        ids: the resources that moved, each once.
        rejected: what could not follow: groups of a level that lie across groups of the level above.
    """

    time_s: int
    groups: tuple[str, ...]
    versions: tuple[Version, ...]
    group: Rows
    joined: Mask
    resource: Rows
    why: Codes
    ids: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()

    def of(self, group: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Who joined and who left one group; two empty tuples where nothing changed."""
        at = self.groups.index(group) if group in self.groups else -1
        mine = self.group == at
        joined, left = self.resource[mine & self.joined], self.resource[mine & ~self.joined]
        return tuple(self.ids[k] for k in joined.tolist()), tuple(self.ids[k] for k in left.tolist())

    def summary(self, most: int = _SHOWN) -> tuple[str, ...]:
        """One line per group, at most so many, those with most changes first, and one for the rest."""
        shape = (len(self.groups), len(Cause), 2)
        cell = (self.group.astype(np.int64) * len(Cause) + self.why) * 2 + self.joined
        count = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
        busiest = np.argsort(-count.sum(axis=(1, 2)), kind="stable")
        lines = [f"{self.groups[g]}: {_told(count[g])}" for g in busiest[:most].tolist()]
        if len(busiest) > most:
            lines.append(f"{len(busiest) - most} more groups: {_told(count[busiest[most:]].sum(axis=0))}")
        return tuple(lines)


def _told(count: NDArray[np.integer[Any]]) -> str:
    """Counts (causes, left and joined) in words."""
    parts = [
        f"{int(count[cause, way])} {word} ({Cause(cause).name.lower()})"
        for way, word in ((1, "joined"), (0, "left"))
        for cause in range(len(Cause))
        if count[cause, way]
    ]
    return ", ".join(parts)


def followed(held: Structure, fleet: Fleet, zones: Sequence[Zones], time_s: int) -> tuple[Structure, Changes]:
    """The structure of a later fleet or topology, and what changed; the earlier one stays as it is."""
    moves = _Moves.between(held.fleet, fleet)
    after = held.copy(fleet)
    rejected = [fault for zone in zones for fault in unusable(zone, held)]
    refused = {name for fault in rejected for name in fault.ids}
    by_name = {zone.level: zone for zone in zones if zone.level not in refused}
    for level in held.levels.values():
        renewed, taken = _renewed(level, after, moves, held.fleet, by_name.get(level.name))
        after.levels[level.name] = renewed
        rejected += taken
    may = grouped(fleet)
    for name, group in held.groups.items():
        listed, ruled, rows = (moves.rows(r) for r in (group.listed, group.ruled, group.rows))
        after.groups[name] = replace(group, listed=frozen(listed[may[listed]]), ruled=ruled, rows=rows)
    after.settle_all(attributes=fleet is not held.fleet)
    rejected += [fault for level in after.levels.values() for fault in across(level, after)]
    rejected += _namesakes(after, moves)
    lines = [*_level_lines(held, after, moves), *_group_lines(held, after, moves)]
    changes = _joined(lines, held, after, time_s, tuple(rejected))
    after.versions |= dict(zip(changes.groups, changes.versions, strict=True))
    return after, changes


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """Where the rows of one fleet are in a later one.

    Attributes:
        after: (n before,) row in the later fleet, -1 for who left it.
        before: (n after,) row in the earlier fleet, -1 for who is new.
        same: whether nobody came, left or moved.
    """

    after: Rows
    before: Rows
    same: bool

    @classmethod
    def between(cls, one: Fleet, other: Fleet) -> _Moves:
        n, m = len(one.ids), len(other.ids)
        if one.ids is other.ids or one.ids == other.ids:
            rows = np.arange(n, dtype=np.int32)
            return cls(rows, rows, same=True)
        after = np.fromiter(map(other.row_of.get, one.ids, repeat(-1)), np.int32, n)
        before = np.full(m, -1, dtype=np.int32)
        there = after >= 0
        before[after[there]] = np.flatnonzero(there)
        return cls(after, before, same=False)

    def rows(self, rows: Rows) -> Rows:
        """Rows of the earlier fleet in the later one, ascending; who left it is left out."""
        if self.same:
            return rows
        moved = self.after[rows]
        return frozen(np.sort(moved[moved >= 0]))


def _renewed(
    level: Level, after: Structure, moves: _Moves, earlier: Fleet, zones: Zones | None
) -> tuple[Level, list[Rejected]]:
    """The level as its source divides the fleet now; labels it had keep their numbers.

    A new label whose group's id is taken by a group of its own makes no group.
    """
    source, rejected = level.source, list[Rejected]()
    if after.fleet is earlier and isinstance(source, ByAttribute | ByRow):
        return level, rejected
    if isinstance(source, ByBus) and zones is not None:
        source = replace(source, zones=zones)
    elif isinstance(source, ByRow) and not moves.same:
        source = source.moved(moves.before)
    new = source.divide(after.fleet, after.levels)
    if new.labels != level.labels:
        known = set(level.labels)
        taken = {x for x in new.labels if x not in known and f"{level.name}/{x}" in after.groups}
        if taken:
            ids = tuple(sorted(f"{level.name}/{label}" for label in taken))
            reason = f"is the id of a group; level {level.name!r} makes none for that value"
            rejected.append(Rejected("level", "by", ids[:_SHOWN], reason, count=len(ids)))
        labels = tuple(x for x in dict.fromkeys((*level.labels, *new.labels)) if x not in taken)
        number = {label: at for at, label in enumerate(labels)}
        place = np.array([*(number.get(label, -1) for label in new.labels), -1], dtype=np.int32)
        new = Division(labels, place[new.code], {**level.titles, **new.titles})
    return Level(level.name, new, source, level.parents, level.pattern), rejected


def _namesakes(after: Structure, moves: _Moves) -> list[Rejected]:
    """New resources with the id of a group: both stay, and whoever names that id means the group."""
    new = np.flatnonzero(moves.before < 0).tolist()
    ids = tuple(name for name in (after.fleet.ids[row] for row in new) if name in after)
    reason = "a new resource has the id of a group"
    return [Rejected("resource", "id", ids[:_SHOWN], reason, count=len(ids))] if ids else []


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Some lines of the log.

    Attributes:
        names: groups.
        group: (m,) positions in ``names``.
        before: (m,) row in the earlier fleet, -1 where there is none.
        after: (m,) row in the later fleet, -1 where there is none.
        joined: (m,) else left.
        why: (m,) ``Cause`` of those that are in both fleets.
    """

    names: Sequence[str]
    group: Rows
    before: Rows
    after: Rows
    joined: Mask
    why: Codes


def _level_lines(held: Structure, after: Structure, moves: _Moves) -> Iterator[_Lines]:
    """Who changed its group of a level. Labels keep their numbers, so that codes compare."""
    by_hand = held.torn | after.torn
    for name, level in after.levels.items():
        was = held.levels[name].code
        now = np.append(level.code, np.int32(-1))[moves.after]
        moved = np.flatnonzero(was != now)
        left, came = moved[was[moved] >= 0], moved[now[moved] >= 0]
        new = np.flatnonzero((moves.before < 0) & (level.code >= 0))
        group = np.concatenate([was[left], now[came], level.code[new]])
        before = np.concatenate([left, came, np.full(len(new), -1)]).astype(np.int32)
        rows = np.concatenate([moves.after[left], moves.after[came], new]).astype(np.int32)
        joined = np.arange(len(group)) >= len(left)
        torn = [k for k, label in enumerate(level.labels) if f"{name}/{label}" in by_hand] if by_hand else []
        kept = ~np.isin(group, torn)
        if kept.any():
            why = _moved_by(level, held.fleet, after.fleet, before, rows)
            yield _Lines(level.ids, group[kept], before[kept], rows[kept], joined[kept], why[kept])


def _moved_by(level: Level, one: Fleet, other: Fleet, before: Rows, after: Rows) -> Codes:
    """Why resources changed their group of a level: by the topology if nothing of their own changed."""
    why = np.full(len(before), Cause.ATTRIBUTE, dtype=np.uint8)
    if not isinstance(level.source, ByAttribute):
        both = np.flatnonzero((before >= 0) & (after >= 0))
        same = _same_text(one, other, "bus", before[both], after[both])
        for name in ("kind", "customer"):
            same &= one.columns[name][before[both]] == other.columns[name][after[both]]
        why[both[same]] = Cause.TOPOLOGY
    return why


def _same_text(one: Fleet, other: Fleet, name: str, before: Rows, after: Rows) -> Mask:
    """Whether resources have the same text in both fleets."""
    was, now = one.columns[name][before], other.columns[name][after]
    if one.labels[name] is not other.labels[name]:
        number = {label: at for at, label in enumerate(other.labels[name])}
        was = np.array([number.get(label, -1) for label in one.labels[name]] or [-1], dtype=np.int32)[was]
    same: Mask = was == now
    return same


def _group_lines(held: Structure, after: Structure, moves: _Moves) -> Iterator[_Lines]:
    """Who joined and left each group that is no level's, or more than its level's."""
    for name in dict.fromkeys((*after.groups, *held.torn)):
        old, new = held.rows(name), after.rows(name)
        if moves.same and (old is new or np.array_equal(old, new)):
            continue
        was = np.zeros(len(held.fleet.ids), dtype=bool)
        was[old] = True
        now = np.zeros(len(after.fleet.ids), dtype=bool)
        now[new] = True
        stays = np.append(now, np.False_)[moves.after]
        left = np.flatnonzero(was & ~stays)
        came = np.flatnonzero(now & ~np.append(was, np.False_)[moves.before])
        if len(left) + len(came) == 0:
            continue
        before = np.concatenate([left, moves.before[came]]).astype(np.int32)
        rows = np.concatenate([moves.after[left], came]).astype(np.int32)
        joined = np.arange(len(rows)) >= len(left)
        why = _by_rule(name, held, after, before, rows)
        yield _Lines((name,), np.zeros(len(rows), dtype=np.int32), before, rows, joined, why)


def _by_rule(name: str, held: Structure, after: Structure, before: Rows, rows: Rows) -> Codes:
    """Why resources joined or left a group: by its own rule or level, or with a group inside it."""
    placed = after.placed(name)
    if placed is not None:
        level, at = placed
        was = np.append(held.levels[level.name].code, np.int32(-1))[before] == at
        now = np.append(level.code, np.int32(-1))[rows] == at
        own = _moved_by(level, held.fleet, after.fleet, before, rows)
    else:
        was = np.isin(before, held.groups[name].ruled)
        now = np.isin(rows, after.groups[name].ruled)
        own = np.full(len(rows), Cause.RULE, dtype=np.uint8)
    return np.where(was != now, own, np.uint8(Cause.GROUPS)).astype(np.uint8)


def _joined(
    lines: Sequence[_Lines], held: Structure, after: Structure, time_s: int, rejected: tuple[Rejected, ...]
) -> Changes:
    """All lines as one log, group by group."""
    names: list[str] = []
    places: list[NDArray[np.integer[Any]]] = []
    for part in lines:
        used, place = np.unique(part.group, return_inverse=True)
        places.append(place + len(names))
        names += [part.names[k] for k in used.tolist()]
    empty = np.zeros(0, dtype=np.int32)
    group = np.concatenate([empty, *places])
    before, rows, joined, why = (
        np.concatenate([empty, *(getattr(part, column) for part in lines)])
        for column in ("before", "after", "joined", "why")
    )
    order = np.argsort(group, kind="stable")
    n = len(held.fleet.ids)
    who, resource = np.unique(np.where(before >= 0, before, n + rows), return_inverse=True)
    why = np.where(before < 0, Cause.REGISTERED, np.where(rows < 0, Cause.REMOVED, why))
    return Changes(
        time_s=time_s,
        groups=tuple(names),
        versions=tuple(held.version(name).followed(time_s) for name in names),
        group=group[order].astype(np.int32),
        joined=joined[order].astype(bool),
        resource=resource[order].astype(np.int32),
        why=why[order].astype(np.uint8),
        ids=tuple(held.fleet.ids[k] if k < n else after.fleet.ids[k - n] for k in who.tolist()),
        rejected=rejected,
    )
