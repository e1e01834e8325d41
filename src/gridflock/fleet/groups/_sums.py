"""How the columns of rows become those of groups: planned once per structure, run every tick.

Each level of groups (one group per premise, per transformer …) is a partition of the rows. A level whose
groups consist of whole groups of a finer one is summed from that; only the finest are summed from rows.
A group of its own is the sum of whole groups of a level where it consists of such; all others are cut
into *parts*, the sets of rows that are in exactly the same of them, and summed from these. So a row is
read once per partition, not once per membership, and counts once in each group.

Accuracy: every addition is float64. The error of a sum is at most (number of additions on the longest way
up) × 2⁻⁵³ × Σ|value|: some hundred additions from rows to the root of a hierarchy, and never more than n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.groups._kernels import (
    Table,
    add_five,
    add_keyed,
    add_listed,
    add_one,
    add_up,
    count_one,
    differences,
    lower_listed,
    lower_one,
    lower_up,
    parents_of,
    refined,
    shift,
    whole_codes,
)
from gridflock.units import Codes, Rows

_ROWS_PER_PART = 8
"""Levels are summed together where their common parts still hold so many rows each."""
_ROOM = 64
"""So many parts are few in any fleet."""
_PAIRS_PER_ROW = 4
"""Largest table of pairs of codes."""

Columns = NDArray[Any] | Sequence[NDArray[Any]]
_Entry = tuple[NDArray[np.integer[Any]], NDArray[np.int64], NDArray[np.integer[Any]]]
"""Places of groups, how many slots each is the sum of, and these."""


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Groups that share no row: K codes over n rows.

    Attributes:
        code: int32 (n,) group of each row, -1 for none.
        size: int64 (K,) rows of each.
        first: place of its first group among all groups.
    """

    code: Rows
    size: NDArray[np.int64]
    first: int

    def holds(self, places: NDArray[np.int64]) -> bool:
        """Whether one of these places is that of a group of this level."""
        return bool(((places >= self.first) & (places < self.first + len(self.size))).any())


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """Groups as sums of slots."""

    target: Rows
    start: NDArray[np.int64]
    source: Rows

    @classmethod
    def of(cls, found: Sequence[_Entry]) -> _Lists:
        """Join lists of targets, how many sources each has, and the sources."""
        empty = np.zeros(0, dtype=np.int32)
        target, length, source = (
            np.concatenate([empty, *(np.asarray(entry[k]) for entry in found)]) for k in range(3)
        )
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        return cls(target.astype(np.int32), start, source.astype(np.int32))


def _fixed(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: compiled loops know one kind of array only."""
    view = values.view()
    view.flags.writeable = False
    return view


def _columns(values: Columns, n: int) -> list[NDArray[Any]]:
    """The columns one by one, contiguous float32 or float64.

    Raises:
        ValueError: a column is not of n rows.
    """
    stacked = isinstance(values, np.ndarray)
    parts = list(np.atleast_2d(values)) if stacked else [np.asarray(part) for part in values]
    if any(part.shape != (n,) for part in parts):
        raise ValueError(f"expected columns of {n} rows")
    kinds = (np.float32, np.float64)
    return [
        _fixed(
            np.ascontiguousarray(
                part,
                dtype=part.dtype if part.dtype in kinds else np.float32 if part.dtype == bool else np.float64,
            )
        )
        for part in parts
    ]


class Sums:
    """The plan of the sums of one structure of groups.

    Args:
        n: rows of the fleet.
        groups: how many groups there are; the first slots are theirs, in their order.
        partitions: the levels.
        members: rows of each group that is no group of a level, or is more than that, by its place.
    """

    def __init__(
        self, n: int, groups: int, partitions: Sequence[Partition], members: Mapping[int, Rows]
    ) -> None:
        self._n, self._groups = n, groups
        levels = sorted(partitions, key=lambda partition: len(partition.size))
        whole, rest = _whole_groups(levels, members)
        ways, roots = _ways_up(levels)
        pieces = _Pieces.of(n, levels, roots, rest)
        # Where a group is more than its level's, the level is summed beside and copied.
        places, end = np.fromiter(members, np.int64, len(members)), groups + pieces.count
        copies: list[_Entry] = []
        first: list[int] = []
        for level in levels:
            first.append(end if level.holds(places) else level.first)
            if level.holds(places):
                named = np.setdiff1d(np.arange(level.first, level.first + len(level.size)), places)
                ones = np.ones(len(named), dtype=np.int64)
                copies.append((named, ones, named - level.first + end))
                end += len(level.size)
        self._slots = end + 1
        self._level_slots = [_placed(x.code, at, end) for x, at in zip(levels, first, strict=True)]
        self._part = _fixed(pieces.part + np.int32(groups)) if pieces.count else None
        self._passes = [self._level_slots[k] for k in pieces.apart]
        if self._part is not None:
            self._passes.append(self._part)
        self._climbs = [(groups, _placed(parent, first[k], end)) for k, parent in pieces.levels]
        self._climbs += [(first[fine], _placed(parent, first[k], end)) for fine, k, parent in ways]
        lists = [_entry(at, codes + first[k]) for at, k, codes in whole]
        lists += [_entry(at, parts + groups) for at, parts in pieces.groups]
        self._lists = _Lists.of([*copies, *lists])

    def _filled(self, columns: list[NDArray[Any]]) -> Table:
        """The table of sums of some columns, (slots, k)."""
        table = np.zeros((self._slots, len(columns)))
        for kind in (np.float32, np.float64):
            places = [at for at, column in enumerate(columns) if column.dtype == kind]
            for slot in self._passes:
                self._scatter(columns, places, slot, table)
        return self._climbed(table)

    @staticmethod
    def _scatter(columns: list[NDArray[Any]], places: list[int], slot: Rows, table: Table) -> None:
        at = 0
        while at < len(places):
            five = places[at : at + 5]
            if len(five) == 5 and five[4] - five[0] == 4:
                add_five(*(columns[j] for j in five), slot, table.reshape(-1), table.shape[1], five[0])
                at += 5
            else:
                add_one(columns[five[0]], slot, table.reshape(-1), table.shape[1], five[0])
                at += 1

    def _climbed(self, table: Table) -> Table:
        for first, parent in self._climbs:
            add_up(first, parent, table)
        add_listed(self._lists.target, self._lists.start, self._lists.source, table)
        return table

    def sums(self, values: Columns) -> Table:
        """Sums of k columns over the members of each group, (k, G); absent values left out."""
        return self._filled(_columns(values, self._n))[: self._groups].T

    def heard(self, values: Columns) -> Table:
        """How many members of each group have a value, (k, G), for each of k columns."""
        columns = _columns(values, self._n)
        table = np.zeros((self._slots, len(columns)))
        for slot in self._passes:
            for at, column in enumerate(columns):
                count_one(column, slot, table.reshape(-1), len(columns), at)
        return self._climbed(table)[: self._groups].T

    def lowest(self, values: Columns) -> Table:
        """Lowest value of k columns in each group, (k, G); NaN where no member has one."""
        columns = _columns(values, self._n)
        table = np.full((self._slots, len(columns)), np.inf)
        for slot in self._passes:
            for at, column in enumerate(columns):
                lower_one(column, slot, table.reshape(-1), len(columns), at)
        for first, parent in self._climbs:
            lower_up(first, parent, table)
        lower_listed(self._lists.target, self._lists.start, self._lists.source, table)
        found = table[: self._groups].T
        found[np.isposinf(found)] = np.nan
        return found

    def highest(self, values: Columns) -> Table:
        """Highest value of k columns in each group, (k, G); NaN where no member has one."""
        return -self.lowest([-column for column in _columns(values, self._n)])

    def keyed(self, weight: NDArray[Any], key: Codes, keys: int) -> Table:
        """Sum of the weights of the rows of each key in each group, (keys, G)."""
        table = np.zeros((self._slots, keys))
        column, code = _columns(weight, self._n)[0], _fixed(np.ascontiguousarray(key))
        for slot in self._passes:
            add_keyed(column, code, slot, table)
        return self._climbed(table)[: self._groups].T

    @cached_property
    def members(self) -> NDArray[np.int64]:
        """(G,) how many rows each group has."""
        counts: NDArray[np.int64] = self.sums(np.ones(self._n, dtype=np.float32))[0].astype(np.int64)
        counts.flags.writeable = False
        return counts

    def running(self, values: Columns) -> Running:
        """Sums that are kept up to date by the changes of single rows."""
        slots = [*self._level_slots, *([] if self._part is None else [self._part])]
        return Running(self._filled(_columns(values, self._n)), slots, self._lists, self._groups)


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """Sums of groups that follow changes of a few rows; float64 drifts, so begin anew now and then."""

    _table: Table
    _slots: list[Rows]
    _lists: _Lists
    _groups: int

    @property
    def sums(self) -> Table:
        """(k, G) as of the last change; a view that later changes show in."""
        return self._table[: self._groups].T

    def change(self, rows: Rows, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Replace the values of some rows, each once.

        Args:
            rows: m rows.
            before: (k, m) values they were summed with, NaN for absent.
            after: (k, m) values they have now, NaN for absent.
        """
        delta = differences(*(_fixed(np.atleast_2d(values)) for values in (before, after)))
        for slot in self._slots:
            shift(rows, delta, slot, self._table)
        add_listed(self._lists.target, self._lists.start, self._lists.source, self._table)


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """The common parts of the coarsest levels and of the groups that fit no level.

    Attributes:
        part: (n,) part of each row.
        count: how many parts; 0 where none are needed.
        apart: levels that are summed from the rows by themselves.
        levels: levels summed from the parts: which, and group of each part.
        groups: groups summed from the parts: place, and parts.
    """

    part: Rows
    count: int
    apart: list[int]
    levels: list[tuple[int, Rows]]
    groups: list[tuple[int, Rows]]

    @classmethod
    def of(
        cls, n: int, levels: Sequence[Partition], roots: Sequence[int], rest: Mapping[int, Rows]
    ) -> _Pieces:
        """Join levels while the parts stay large, coarsest first; then cut by the groups."""
        part, count = np.zeros(n, dtype=np.int32), 1
        apart: list[int] = []
        joined: list[int] = []
        for k in roots:
            finer = joint(part, count, levels[k].code, len(levels[k].size))
            if finer is None or finer[1] > max(n // _ROWS_PER_PART, _ROOM):
                apart.append(k)
            else:
                part, count = finer
                joined.append(k)
        if not rest and len(joined) < 2:
            return cls(part, 0, list(roots), [], [])
        part, count, parts = cut(part, count, list(rest.values()))
        parents = []
        for k in joined:
            parent = np.full(count, -1, dtype=np.int32)
            parent[part] = levels[k].code
            parents.append((k, parent))
        return cls(part, count, apart, parents, list(zip(rest, parts, strict=True)))


def _whole_groups(
    levels: Sequence[Partition], members: Mapping[int, Rows]
) -> tuple[list[tuple[int, int, Rows]], dict[int, Rows]]:
    """Groups that consist of whole groups of a level: place, level, codes; and the rows of the others."""
    seen = [np.full(len(level.size), -1, dtype=np.int32) for level in levels]
    found: list[tuple[int, int, Rows]] = []
    rest: dict[int, Rows] = {}
    for at, rows in members.items():
        for k, level in enumerate(levels):
            if len(level.size) > len(rows):
                continue
            count = whole_codes(_fixed(rows), _fixed(level.code), _fixed(level.size), seen[k], at)
            if count >= 0:
                found.append((at, k, np.flatnonzero(seen[k] == at).astype(np.int32)))
                break
        else:
            rest[at] = rows
    return found, rest


def _ways_up(levels: Sequence[Partition]) -> tuple[list[tuple[int, int, Rows]], list[int]]:
    """Levels that are sums of a finer one: finer, coarser, parents, finest first; and those that are not."""
    ways: list[tuple[int, int, Rows]] = []
    roots: list[int] = []
    for k, coarse in enumerate(levels):
        for f in range(k + 1, len(levels)):
            fine = levels[f]
            parent, outside = parents_of(_fixed(fine.code), _fixed(coarse.code), len(fine.size))
            if not outside and (parent != -2).all():
                ways.insert(0, (f, k, parent))
                break
        else:
            roots.append(k)
    return ways, roots


def _entry(target: int, sources: Rows) -> _Entry:
    """One group as a list."""
    length = np.array([len(sources)], dtype=np.int64)
    return np.array([target], dtype=np.int32), length, sources


def _placed(code: Rows, first: int, nowhere: int) -> Rows:
    """Codes as slots, those of no group in the last one."""
    return _fixed(np.where(code >= 0, code + np.int32(first), np.int32(nowhere)).astype(np.int32))


def joint(part: Rows, parts: int, code: Rows, codes: int) -> tuple[Rows, int] | None:
    """The common parts of two partitions of n rows, numbered densely, and their count.

    Returns:
        ``None`` where the table of pairs would be larger than some times the rows.
    """
    if parts * (codes + 1) > _PAIRS_PER_ROW * max(len(part), _ROOM):
        return None
    pair = part.astype(np.int64) * (codes + 1) + code + 1
    held = np.zeros(parts * (codes + 1), dtype=bool)
    held[pair] = True
    number = np.cumsum(held, dtype=np.int32) - 1
    return number[pair].astype(np.int32), int(np.count_nonzero(held))


def cut(part: Rows, parts: int, groups: Sequence[Rows]) -> tuple[Rows, int, list[Rows]]:
    """The coarsest partition below another one of whose parts every group consists.

    Args:
        part: (n,) part of each row, numbered densely from 0.
        parts: how many.
        groups: rows of each, each row once.

    Returns:
        Part of each row, how many parts, and the parts of each group, ascending.
    """
    part, n = part.astype(np.int32), len(part)
    size = np.zeros(n + 1, dtype=np.int32)
    size[:parts] = np.bincount(part, minlength=parts)
    hits, fresh = np.zeros(n + 1, dtype=np.int32), np.full(n + 1, -1, dtype=np.int32)
    for rows in groups:
        parts = refined(_fixed(rows), part, size, hits, fresh, parts)
    return part, parts, [np.unique(part[rows]).astype(np.int32) for rows in groups]
