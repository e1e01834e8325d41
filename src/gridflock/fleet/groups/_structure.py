"""Who is part of what: levels and groups of their own, and the members of each, flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._levels import Level
from gridflock.fleet.groups._rules import Rule
from gridflock.units import NEVER_S, Rows

_NOBODY = np.zeros(0, dtype=np.int32)
_NOBODY.flags.writeable = False
_MANY = 20
"""From one row in so many on, a table of all is faster than a search for each."""


class Version(NamedTuple):
    """Which state of a group this is (IEC 61968-5, ``version`` of a DER group).

    ``major`` counts changes of what the group is meant to hold, ``minor`` those of who that is now,
    ``revision`` those of words.
    """

    date_s: int = NEVER_S
    """Moment since which it holds, unix seconds; -1 where nobody said."""
    major: int = 1
    minor: int = 0
    revision: int = 0

    def redefined(self, time_s: int) -> Version:
        """After a change of what the group is meant to hold."""
        return Version(time_s, self.major + 1)

    def followed(self, time_s: int) -> Version:
        """After others joined or left by themselves."""
        return Version(time_s, self.major, self.minor + 1)

    def reworded(self, time_s: int) -> Version:
        """After a change of words."""
        return Version(time_s, self.major, self.minor, self.revision + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A group of its own, as it is meant and as it is.

    Attributes:
        title: for the screen.
        listed: members named one by one, ascending.
        rule: who else is a member.
        ruled: whom the rule found, ascending.
        rows: all members, those of child groups included, each once, ascending.
    """

    title: str
    listed: Rows = field(default_factory=lambda: _NOBODY)
    rule: Rule | None = None
    ruled: Rows = field(default_factory=lambda: _NOBODY)
    rows: Rows = field(default_factory=lambda: _NOBODY)


def frozen(rows: NDArray[np.integer[Any]]) -> Rows:
    """Rows that nobody can write into."""
    fixed: Rows = rows.astype(np.int32)
    fixed.flags.writeable = False
    return fixed


class Structure:
    """Levels and groups of one fleet with the ties between them; the working form behind ``Groups``.

    A group of a level that has been given members from elsewhere stands in ``groups``, too, which then
    holds.

    Attributes:
        fleet: whose rows.
        order: levels, and groups that belong to none, as they came.
        levels: by name.
        groups: by id.
        parents: groups that a group was made part of, by id; those of its level are not repeated.
        children: the other direction.
        versions: of the groups that have one of their own.
        torn: groups of levels that have members from elsewhere.
        looking: groups whose rule looks at other groups.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.order: list[str] = []
        self.levels: dict[str, Level] = {}
        self.groups: dict[str, Group] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.children: dict[str, tuple[str, ...]] = {}
        self.versions: dict[str, Version] = {}
        self.torn: set[str] = set()
        self.looking: set[str] = set()

    def copy(self, fleet: Fleet | None = None) -> Structure:
        """The same again, to be changed apart."""
        other = Structure(fleet or self.fleet)
        other.order = list(self.order)
        for name in ("levels", "groups", "parents", "children", "versions", "torn", "looking"):
            setattr(other, name, getattr(self, name).copy())
        return other

    # ---- asked ---------------------------------------------------------------------------------------

    def placed(self, name: str) -> tuple[Level, int] | None:
        """Level and number of a group of a level."""
        head, _, label = name.partition("/")
        level = self.levels.get(head)
        at = -1 if level is None else level.number.get(label, -1)
        return None if level is None or at < 0 else (level, at)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.groups or self.placed(name) is not None)

    def need(self, name: str) -> tuple[Level, int] | None:
        """``placed``; ``KeyError`` for no group at all."""
        found = self.placed(name)
        if found is None and name not in self.groups:
            raise KeyError(name)
        return found

    def rows(self, name: str) -> Rows:
        """All members, ascending."""
        group = self.groups.get(name)
        return self.seen_by_rules(name) if group is None else group.rows

    def seen_by_rules(self, name: str) -> Rows:
        """What a rule sees of a group: of a group of a level those whom the level puts there, no guests."""
        found = self.placed(name)
        return self.groups[name].rows if found is None else found[0].rows(found[1])

    def title(self, name: str) -> str:
        """Words for the screen."""
        found = self.placed(name)
        return self.groups[name].title if found is None else found[0].title(found[1])

    def version(self, name: str) -> Version:
        """Which state of the group this is."""
        return self.versions.get(name, Version())

    def parents_of(self, name: str) -> tuple[str, ...]:
        """Groups it is directly part of, those by its level first."""
        found = self.need(name)
        return (*(self._by_level(*found) if found else ()), *self.parents.get(name, ()))

    def _by_level(self, level: Level, at: int) -> Iterator[str]:
        for parent in level.parents:
            if parent not in self.levels:
                yield parent
                continue
            above = self.levels[parent]
            rows = level.rows(at)
            if len(rows) and (code := int(above.code[rows[0]])) >= 0 and self._inside(level, above, at):
                yield f"{parent}/{above.labels[code]}"

    @staticmethod
    def _inside(level: Level, above: Level, at: int) -> bool:
        codes = above.code[level.rows(at)]
        return bool((codes == codes[0]).all())

    def children_of(self, name: str) -> tuple[str, ...]:
        """Groups that are directly part of it, those by levels first."""
        found = self.need(name)
        by_level: list[str] = []
        for level in self.levels.values():
            if found and found[0].name in level.parents:
                inside = level.within(found[0]) == found[1]
                by_level += [f"{level.name}/{level.labels[k]}" for k in np.flatnonzero(inside).tolist()]
            elif not found and name in level.parents:
                by_level += level.ids
        return (*by_level, *self.children.get(name, ()))

    def looked_at(self, name: str) -> list[str]:
        """Groups of their own that a group's rule looks at; levels follow no group."""
        rule = self.groups[name].rule if name in self.groups else None
        return [read for read in rule.groups if self.placed(read) is None] if rule is not None else []

    def readers(self) -> dict[str, list[str]]:
        """By group: those whose rule looks at it."""
        found: dict[str, list[str]] = {}
        for name in sorted(self.looking):
            for read in self.looked_at(name):
                found.setdefault(read, []).append(name)
        return found

    def above(self, names: Iterable[str]) -> set[str]:
        """The groups, everything over them, and whatever follows one of these by rule."""
        seen: set[str] = set()
        readers, open_ends = self.readers(), list(names)
        while open_ends:
            name = open_ends.pop()
            if name not in seen:
                seen.add(name)
                open_ends += readers.get(name, [])
                open_ends += self.parents_of(name) if name in self else self.parents.get(name, ())
        return seen

    # ---- changed -------------------------------------------------------------------------------------

    def put(self, name: str, group: Group) -> None:
        """Let a group be as it is given."""
        self.groups[name] = group
        self.looking.discard(name)
        if group.rule is not None and group.rule.groups:
            self.looking.add(name)

    def drop(self, name: str) -> None:
        """Forget a group that is tied to no other any more."""
        del self.groups[name]
        self.looking.discard(name)
        self.versions.pop(name, None)
        self.order.remove(name)

    def tie(self, parent: str, child: str) -> None:
        """Make one group part of another."""
        self.parents[child] = (*self.parents.get(child, ()), parent)
        self.children[parent] = (*self.children.get(parent, ()), child)

    def untie(self, parent: str, child: str) -> None:
        """Take one group out of another."""
        for ties, one, other in ((self.parents, child, parent), (self.children, parent, child)):
            left = tuple(name for name in ties.get(one, ()) if name != other)
            ties.pop(one, None)
            if left:
                ties[one] = left

    def settle(self, names: Iterable[str]) -> None:
        """Find the members of these groups and of all above them anew."""
        for name in self._bottom_up(self.above(names)):
            self._renew(name)

    def settle_one(self, name: str) -> None:
        """Find the members of a new group, that nothing stands on."""
        self._renew(name)

    def settle_all(self, *, attributes: bool) -> None:
        """Find the members of every group anew; where no ``attributes`` changed, rules on these hold."""
        for name in self._bottom_up(self.above([*self.groups, *self.children])):
            self._renew(name, attributes=attributes)

    def include(self, parents: Iterable[str], rows: Rows) -> None:
        """Let rows count in groups and in all above that do not know them; rules follow."""
        grown: list[str] = []
        open_ends = list(parents)
        while open_ends:
            name = open_ends.pop()
            known = self.rows(name)
            if not _among(rows, known):
                grown.append(name)
                if name not in self.groups:
                    self.torn.add(name)
                group = self.groups.get(name) or Group(self.title(name))
                self.groups[name] = replace(group, rows=frozen(np.union1d(known, rows)))
                open_ends += self.parents_of(name)
        readers = self.readers()
        followers = [reader for name in grown for reader in readers.get(name, [])]
        if followers:
            self.settle(followers)

    def _bottom_up(self, names: set[str]) -> list[str]:
        """The groups, each behind what it is made of."""
        done: dict[str, None] = {}
        open_ends = [(name, False) for name in sorted(names, reverse=True)]
        while open_ends:
            name, ready = open_ends.pop()
            if ready:
                done[name] = None
            elif name not in done:
                open_ends.append((name, True))
                open_ends += [(below, False) for below in self._below(name) if below in names]
        return list(done)

    def _below(self, name: str) -> list[str]:
        """What a group is made of, beside its own rows and whole levels."""
        return [*self._parts(name), *self.looked_at(name)]

    def _parts(self, name: str) -> list[str]:
        """Groups whose members count in it and might not be known by its levels."""
        torn = [other for other in sorted(self.torn) if name in self.parents_of(other)]
        return [*self.children.get(name, ()), *torn]

    def _renew(self, name: str, *, attributes: bool = True) -> None:
        """Find a group's members from its definition."""
        group, found = self.groups.get(name), self.placed(name)
        parts = self._parts(name)
        if group is None and not parts:
            return
        inside = np.zeros(len(self.fleet.ids), dtype=bool)
        if found is not None:
            inside[found[0].rows(found[1])] = True
        else:
            group = self._ruled(group or Group(name), attributes=attributes)
            inside[group.listed] = True
            inside[group.ruled] = True
            for level in self.levels.values():
                if name in level.parents:
                    inside[level.code >= 0] = True
        for part in parts:
            inside[self.rows(part)] = True
        rows = frozen(np.flatnonzero(inside))
        if found is not None and len(rows) == len(found[0].rows(found[1])):
            self.groups.pop(name, None)
            self.torn.discard(name)
        else:
            self.groups[name] = replace(group or Group(self.title(name)), rows=rows)
            if found is not None:
                self.torn.add(name)

    def _ruled(self, group: Group, *, attributes: bool) -> Group:
        """The same with whom its rule finds now."""
        if group.rule is None or not (attributes or group.rule.groups):
            return group
        return replace(group, ruled=frozen(np.flatnonzero(group.rule.mask(self.fleet, self.seen_by_rules))))


def holds(rows: Rows, row: int) -> bool:
    """Whether a row is among rows that ascend."""
    at = int(np.searchsorted(rows, row))
    return at < len(rows) and int(rows[at]) == row


def _among(rows: Rows, known: Rows) -> bool:
    """Whether all rows are among others, both ascending."""
    if not len(rows) or len(rows) > len(known):
        return not len(rows)
    if len(rows) * _MANY > len(known):
        held = np.zeros(max(int(rows[-1]), int(known[-1])) + 1, dtype=bool)
        held[known] = True
        return bool(held[rows].all())
    at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return bool((known[at] == rows).all())
