"""Groups of resources and of groups: virtual DERs of virtual DERs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._checks import (
    across,
    shadowed,
    wrong_change,
    wrong_level,
    wrong_members,
    wrong_name,
    wrong_removal,
    wrong_rule,
    wrong_ties,
)
from gridflock.fleet.groups._follow import Changes, followed
from gridflock.fleet.groups._levels import ByAttribute, ByBus, Level, Source, Zones
from gridflock.fleet.groups._rules import Rule, as_rule
from gridflock.fleet.groups._standard import ALL, standard_levels, standard_rules
from gridflock.fleet.groups._structure import Group, Structure, Version, frozen, holds
from gridflock.fleet.groups._sums import Columns, Partition, Sums
from gridflock.model import Rejected
from gridflock.units import NEVER_S, Rows


class Groups:
    """Nested, overlapping groups over the rows of one fleet.

    A group has resources and groups as members and any number of parents; a resource is in any number
    of groups and counts once in each. Beside groups of their own there are *levels*, one group per value
    of something (``transformer/t123``), which cost no object each. ``follow`` gives the groups of a later
    fleet or topology; these stay as they are.
    """

    def __init__(self, fleet: Fleet, held: Structure | None = None) -> None:
        self._held = held or Structure(fleet)
        self._forget()

    def _forget(self) -> None:
        """What is derived from the structure is made again when somebody asks."""
        self._ids: tuple[str, ...] | None = None
        self._first: dict[str, int] = {}
        self._sums: Sums | None = None

    @classmethod
    def standard(
        cls, fleet: Fleet, section_of_bus: Mapping[str, str], section_titles: Mapping[str, str]
    ) -> Self:
        """The groups every fleet has; feeder heads belong to none.

        ``all`` above ``section/<s>`` above ``plan/<class>/<customer>/<s>`` (what takes orders; these
        never overlap), and above ``type/<kind>``, ``provider/<name>``, ``program/<name>`` (but
        ``none``), ``phase/<a|b|c>`` and ``demand``. Families and kinds in lower case.

        Args:
            fleet: whose rows.
            section_of_bus: section id of each bus; an unknown bus is in section ``other``.
            section_titles: words for the screen by section id.
        """
        groups = cls(fleet)
        faults = [groups.add(ALL, "All resources", rule=Rule())]
        for name, source, parents, title in standard_levels(section_of_bus, section_titles):
            faults.append(groups.add_level(name, source, parents=parents, title=title))
        for name, title, rule in standard_rules():
            faults.append(groups.add(name, title, rule=rule, parents=(ALL,)))
        assert not any(faults), faults
        return groups

    def copy(self) -> Groups:
        """The same groups again, to be changed apart: several changes at once, or none."""
        return Groups(self._held.fleet, self._held.copy())

    # ---- made and changed ------------------------------------------------------------------------------

    def add_level(
        self, name: str, by: str | Source | Zones, *, parents: Sequence[str] = (), title: str = "{}"
    ) -> tuple[Rejected, ...]:
        """One group per value of something, ``<name>/<value>``, each resource in at most one.

        Args:
            name: new, without a slash.
            by: a coded attribute of the registry; or a source of divisions (``ByBus``, ``ByRow`` …).
            parents: groups that all of these become part of, and levels: each of these groups lies in
                one group of that level or in none.
            title: words for the screen, ``{}`` for the value.

        Returns:
            What is wrong; empty where the level now exists. A faulty level changes nothing.
        """
        held = self._held
        source = ByAttribute(by) if isinstance(by, str) else ByBus(by) if isinstance(by, Zones) else by
        rejected = wrong_level(held, name, source, parents)
        if rejected:
            return tuple(rejected)
        level = Level(name, source.divide(held.fleet, held.levels), source, tuple(parents), title)
        rejected = [*shadowed(level, held), *across(level, held)]
        if rejected:
            return tuple(rejected)
        held.levels[name] = level
        held.order.append(name)
        held.include([parent for parent in parents if parent not in held.levels], level.members)
        self._forget()
        return ()

    def add(
        self,
        name: str,
        title: str,
        members: Iterable[str] = (),
        *,
        parents: Sequence[str] = (),
        children: Sequence[str] = (),
        rule: Rule | str | Mapping[str, object] | None = None,
        time_s: int = NEVER_S,
    ) -> tuple[Rejected, ...]:
        """A group of resources, of groups, by rule, or all of these.

        Args:
            name: new id.
            title: for the screen.
            members: resource ids.
            parents: groups it becomes part of.
            children: groups that become part of it.
            rule: a ``Rule``, or its first condition alone: a query (``"kind in (wind, chp)"``), or
                attribute -> value, or -> a collection of values; all must hold. Texts for coded
                attributes (``{"kind": ["wind", "chp"], "phases": "a"}``), numbers for others.
            time_s: date of its version, unix seconds.

        Returns:
            What is wrong; empty where the group now exists. A faulty group changes nothing.
        """
        held, members = self._held, tuple(members)
        asked = None if rule is None else as_rule(rule)
        rejected = [*wrong_name(held, name), *wrong_members(held.fleet, name, members)]
        rejected += wrong_ties(held, name, parents, children, asked)
        if asked is not None:
            rejected += wrong_rule(held, name, asked)
        if rejected:
            return tuple(rejected)
        held.put(name, Group(title, self._listed(members), asked))
        held.order.append(name)
        held.versions[name] = Version(time_s)
        for child in dict.fromkeys(children):
            held.tie(name, child)
        held.settle_one(name)
        for parent in dict.fromkeys(parents):
            held.tie(parent, name)
        held.include(dict.fromkeys(parents), held.rows(name))
        self._forget()
        return ()

    def _listed(self, members: Iterable[str]) -> Rows:
        rows = [self._held.fleet.row_of[member] for member in members]
        return frozen(np.unique(np.array(rows, dtype=np.int32)))

    def change(
        self,
        name: str,
        *,
        title: str | None = None,
        join: Iterable[str] = (),
        leave: Iterable[str] = (),
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        rule: Rule | str | Mapping[str, object] | None = None,
        time_s: int = NEVER_S,
    ) -> tuple[Rejected, ...]:
        """Change a group of its own; what is not given stays.

        Args:
            name: its id.
            title: for the screen.
            join: resources that become members by name.
            leave: resources that are members by name, and no longer so.
            children: all groups that are part of it from now on, beside those of levels.
            parents: all groups it is part of from now on.
            rule: instead of the one it has.
            time_s: date of the new version, unix seconds.

        Returns:
            What is wrong; empty where it is done. A faulty change changes nothing.
        """
        held, join, leave = self._held, tuple(join), tuple(leave)
        rejected = wrong_change(held, name, join, leave)
        asked = None if rule is None else as_rule(rule)
        if not rejected:
            apart = held.copy()
            for child in apart.children.get(name, ()) if children is not None else ():
                apart.untie(name, child)
            for parent in apart.parents.get(name, ()) if parents is not None else ():
                apart.untie(parent, name)
            rejected += wrong_ties(apart, name, parents or (), children or (), asked)
            rejected += wrong_rule(apart, name, asked) if asked is not None else []
        if rejected:
            return tuple(rejected)
        former = (*held.parents.get(name, ()), name)
        group = apart.groups[name]
        listed = np.union1d(np.setdiff1d(group.listed, self._listed(leave)), self._listed(join))
        news = replace(group, title=title or group.title, listed=frozen(listed), rule=asked or group.rule)
        apart.put(name, news)
        for child in dict.fromkeys(children or ()):
            apart.tie(name, child)
        for parent in dict.fromkeys(parents or ()):
            apart.tie(parent, name)
        words_only = not (join or leave) and children is None and parents is None and rule is None
        version = held.version(name)
        apart.versions[name] = version.reworded(time_s) if words_only else version.redefined(time_s)
        apart.settle(former)
        self._held = apart
        self._forget()
        return ()

    def remove(self, name: str) -> tuple[Rejected, ...]:
        """Delete a group of its own; its members and the groups inside it stay, and leave what was above.

        Returns:
            What is wrong (unknown, a group of a level, or another's rule looks at it); empty where it
            is gone.
        """
        held = self._held
        rejected = wrong_removal(held, name)
        if rejected:
            return tuple(rejected)
        former = held.parents.get(name, ())
        for parent in former:
            held.untie(parent, name)
        for child in held.children.get(name, ()):
            held.untie(name, child)
        held.drop(name)
        held.settle(former)
        self._forget()
        return ()

    def follow(
        self, fleet: Fleet, zones: Sequence[Zones] = (), time_s: int = NEVER_S
    ) -> tuple[Groups, Changes]:
        """The groups of a later registry or topology, and who joined and left; these stay valid as they are.

        Levels divide anew, rules are asked anew, resources named one by one keep their place as long as
        they are registered. A group never disappears by following: it may become empty.

        Args:
            fleet: registry as it is now, this one's where only the topology has changed.
            zones: the topology as it is now, for the levels made by bus; the others keep theirs.
            time_s: moment of the change, unix seconds.
        """
        held, changes = followed(self._held, fleet, zones, time_s)
        return Groups(fleet, held), changes

    # ---- asked -----------------------------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """Whose rows these are."""
        return self._held.fleet

    @property
    def ids(self) -> tuple[str, ...]:
        """All groups; the row order of ``aggregate``."""
        if self._ids is None:
            held, found = self._held, list[str]()
            for entry in held.order:
                self._first[entry] = len(found)
                if entry in held.levels:
                    found += held.levels[entry].ids
                else:
                    found.append(entry)
            self._ids = tuple(found)
        return self._ids

    def at(self, name: str) -> int:
        """Place of a group in ``ids``, found without a search."""
        placed = self._held.need(name)
        assert self.ids is not None
        return self._first[name] if placed is None else self._first[placed[0].name] + placed[1]

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels."""
        return tuple(self._held.levels)

    def level(self, name: str) -> Level:
        """One group per value of something, as arrays."""
        return self._held.levels[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def title(self, name: str) -> str:
        """Words for the screen. Raises ``KeyError`` for an unknown group, as all verbs here do."""
        return self._held.title(name)

    def parents(self, name: str) -> tuple[str, ...]:
        """Groups it is directly part of."""
        return self._held.parents_of(name)

    def children(self, name: str) -> tuple[str, ...]:
        """Groups that are directly part of it."""
        return self._held.children_of(name)

    def rows(self, name: str) -> Rows:
        """All members, those of child groups included, each once, ascending."""
        return self._held.rows(name)

    def rule(self, name: str) -> Rule | None:
        """The rule it follows, where it has one of its own."""
        self._held.need(name)
        group = self._held.groups.get(name)
        return None if group is None else group.rule

    def version(self, name: str) -> Version:
        """Which state of the group this is."""
        self._held.need(name)
        return self._held.version(name)

    def of(self, resource: str) -> tuple[str, ...]:
        """All groups a resource counts in, as in ``ids``. Raises ``KeyError`` for an unknown resource."""
        held, row = self._held, self._held.fleet.row_of[resource]
        found = [name for name, group in held.groups.items() if holds(group.rows, row)]
        for level in held.levels.values():
            at = int(level.code[row])
            if at >= 0:
                found.append(f"{level.name}/{level.labels[at]}")
        return tuple(sorted(set(found), key=self.at))

    # ---- summed ----------------------------------------------------------------------------------------

    @property
    def sums(self) -> Sums:
        """The plan of sums over all groups, made once per structure."""
        if self._sums is None:
            held = self._held
            ids = self.ids
            partitions = [
                Partition(level.code, level.size, self._first[level.name]) for level in held.levels.values()
            ]
            members = {self.at(name): group.rows for name, group in held.groups.items()}
            self._sums = Sums(len(held.fleet.ids), len(ids), partitions, members)
        return self._sums

    def aggregate(
        self, values: Columns, how: Literal["sum", "mean", "min", "max"] = "sum"
    ) -> NDArray[np.float64]:
        """Sum, mean, lowest or highest over the members of every group, absent values (NaN) left out.

        Args:
            values: (n,), (k, n) or k columns of n, one value per row of the fleet.
            how: all but the sum are over the members with a value, and NaN where none has one.

        Returns:
            float64 (G,) or (k, G) in the order of ``ids``.
        """
        if how == "min":
            found = self.sums.lowest(values)
        elif how == "max":
            found = self.sums.highest(values)
        else:
            found = self.sums.sums(values)
        if how == "mean":
            heard = self.sums.heard(values)
            found = np.divide(found, heard, out=np.full_like(found, np.nan), where=heard > 0)
        return found[0] if isinstance(values, np.ndarray) and values.ndim == 1 else found
