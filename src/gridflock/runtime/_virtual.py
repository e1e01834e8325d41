"""Virtual DERs made while the system lives: defined, changed, deleted.

The register of IEC 61968-5 judges and numbers them; rules and places are laid on top. A state of all of
them is a value: a request gives the next one or says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from gridflock.fleet.functions import GroupRegister
from gridflock.fleet.groups import Groups, Place, PlaceRejected, Rule, Version
from gridflock.model import (
    GroupBody,
    GroupChange,
    GroupDefinition,
    GroupMessage,
    GroupName,
    GroupRemoval,
    GroupReply,
    GroupVersion,
    Rejected,
    Verb,
)
from gridflock.units import Rows

MOST = 1_000
"""Groups of people: each is part of every look at all groups."""
_LONGEST = 200
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", re.ASCII)
_NOTHING_NEW = "change"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a group follows, as it was said.

    Attributes:
        where: query over any attribute.
        place: GeoJSON polygon or polygons.
        inside: in at least one of these groups.
        outside: in none of these groups.
    """

    where: str = ""
    place: Mapping[str, Any] | None = None
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    def rule(self) -> Rule | None:
        """As a rule; None where nothing is followed.

        Raises:
            PlaceRejected: the shape is none.
        """
        if not (self.where.strip() or self.place is not None or self.inside or self.outside):
            return None
        place = None if self.place is None else Place.of_shape(self.place)
        return Rule(self.where.strip(), place, self.inside, self.outside)

    def plain(self) -> Terms:
        """With nothing of the shape but what makes the place: anything may stand beside that."""
        if self.place is None:
            return self
        made_of = ("type", "coordinates")
        return replace(self, place={name: self.place[name] for name in made_of if name in self.place})


@dataclass(frozen=True, slots=True)
class Definition:
    """A group that is asked for.

    Attributes:
        id: its mRID.
        title: for the screen; the id where empty.
        members: resources by id or registered mRID.
        children: groups inside it.
        parents: groups of people that it becomes part of.
        terms: what it follows.
        version: kept where it is known from before.
    """

    id: str
    title: str = ""
    members: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)
    version: GroupVersion | None = None


@dataclass(frozen=True, slots=True)
class Alteration:
    """What is to be different with a group; what is None or empty stays.

    Attributes:
        id: its mRID.
        based_on: version that the author knows (``"1.0.0"``); any other is refused. Empty = any.
        title: for the screen.
        join: resources that become members.
        leave: resources that are so no longer.
        children: all groups inside it from now on.
        parents: all groups of people it is part of from now on.
        where: query instead of the one it follows.
        place: polygon instead of the one it follows.
        inside: instead of those it follows.
        outside: instead of those it follows.
    """

    id: str
    based_on: str = ""
    title: str | None = None
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    children: tuple[str, ...] | None = None
    parents: tuple[str, ...] | None = None
    where: str | None = None
    place: Mapping[str, Any] | None = None
    inside: tuple[str, ...] | None = None
    outside: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a request makes of the groups.

    Attributes:
        after: the groups then; as before where something is wrong.
        rejected: what is wrong.
        changed: groups that are made or changed by it.
        gone: last version of the group that is deleted by it.
    """

    after: VirtualDers
    rejected: tuple[Rejected, ...] = ()
    changed: tuple[str, ...] = ()
    gone: GroupVersion | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VirtualDers:
    """The groups of people beside the system's own, at one moment; never changed.

    Attributes:
        register: of IEC 61968-5, over all groups.
        terms: what the groups of people follow, by id.
        heads: first parts of the ids of the system's own groups, which nobody else's may have.
        said: requests that were done, for the numbers of the next ones.
    """

    register: GroupRegister
    terms: Mapping[str, Terms] = field(default_factory=dict)
    heads: frozenset[str] = frozenset()
    said: int = 0

    @classmethod
    def over(cls, groups: Groups) -> Self:
        """None yet, over the system's own groups."""
        heads = {name.partition("/")[0] for name in (*groups.ids, *groups.levels)}
        return cls(GroupRegister.over(groups, "gridflock"), heads=frozenset(heads))

    @property
    def groups(self) -> Groups:
        """All groups, the system's own included."""
        return self.register.groups

    def __contains__(self, group: object) -> bool:
        return group in self.register.records

    # ---- requests ----------------------------------------------------------------------------------

    def define(self, asked: Definition, author: str, now_s: int) -> Step:
        """A new group."""
        asked = replace(asked, terms=asked.terms.plain())
        found = [*self._wrong_id(asked.id), *self._wrong_ties(asked.id, asked.children, asked.parents)]
        rule, misplaced = _ruled(asked.id, asked.terms)
        names = (GroupName(asked.title),) if asked.title else ()
        inside = (name for name in asked.children if name in self.groups or name == asked.id)
        body = GroupDefinition(asked.id, names, members=(*asked.members, *inside), version=asked.version)
        register, reply = self._take(self.register, author, now_s, 0, Verb.CREATE, body)
        found += [*misplaced, *_plain(reply)]
        if not found and rule is not None:
            version = register.records[asked.id].version
            register, rejected = _followed(register, asked.id, rule, version, now_s)
            found += rejected
        if found:
            return Step(self, tuple(dict.fromkeys(found)))
        after = replace(self, register=register, terms={**self.terms, asked.id: asked.terms})
        return self._tied(after, asked.id, asked.parents, (), author, now_s)

    def change(self, asked: Alteration, author: str, now_s: int) -> Step:
        """Another state of a group."""
        if asked.id not in self:
            return Step(self, (self._no_group(asked.id),))
        before, record = self.register.definition(asked.id).version, self.register.records[asked.id]
        assert before is not None
        above = self.parents(asked.id)
        parents = above if asked.parents is None else asked.parents
        inside = record.inside if asked.children is None else asked.children
        terms = _altered(self.terms[asked.id], asked).plain()
        found = [*self._wrong_ties(asked.id, inside, parents)]
        based_on, unreadable = _version(asked.id, asked.based_on)
        rule, misplaced = _ruled(asked.id, terms)
        found += [*unreadable, *misplaced]
        follows = terms != self.terms[asked.id]
        if follows and rule is None and not misplaced:
            reason = "a rule is replaced, never taken away: delete the group and define it without"
            found.append(Rejected("group", "rule", (asked.id,), reason))
        body = GroupChange(
            asked.id,
            based_on,
            join=(*asked.join, *_without(inside, record.inside)),
            leave=(*asked.leave, *_without(record.inside, inside)),
            names=None if asked.title is None else (GroupName(asked.title or asked.id),),
        )
        register, reply = self._take(self.register, author, now_s, 0, Verb.CHANGE, body)
        other = follows or set(parents) != set(above)
        found += [fault for fault in _plain(reply) if not (other and fault.field == _NOTHING_NEW)]
        if not found and follows and rule is not None:
            version = register.records[asked.id].version
            if version.major == before.major:
                version = GroupVersion(*Version(*before).redefined(now_s))
            register, rejected = _followed(register, asked.id, rule, version, now_s)
            found += rejected
        if found:
            return Step(self, tuple(dict.fromkeys(found)))
        after = replace(self, register=register, terms={**self.terms, asked.id: terms})
        join, leave = _without(parents, above), _without(above, parents)
        return self._tied(after, asked.id, join, leave, author, now_s)

    def delete(self, group: str, based_on: str, author: str, now_s: int, *, cascade: bool) -> Step:
        """Without a group; its members and the groups inside it stay. ``cascade``: others let go of it."""
        if group not in self:
            return Step(self, (self._no_group(group),))
        version, unreadable = _version(group, based_on)
        last = self.register.definition(group).version
        body = GroupRemoval(group, version, cascade=cascade)
        register, reply = self._take(self.register, author, now_s, 0, Verb.DELETE, body)
        found = (*unreadable, *_plain(reply))
        if found:
            return Step(self, found)
        terms = {name: kept for name, kept in self.terms.items() if name != group}
        changed = tuple(definition.mrid for definition in reply.groups)
        after = replace(self, register=register, terms=terms, said=self.said + 1)
        return self._settled(after, changed, now_s, last)

    def _take(
        self, register: GroupRegister, author: str, now_s: int, part: int, verb: Verb, body: GroupBody
    ) -> tuple[GroupRegister, GroupReply]:
        message = GroupMessage(f"{self.said}.{part}", author, now_s, verb, body)
        return register.take(message, now_s)

    def _tied(
        self,
        after: VirtualDers,
        group: str,
        join: Sequence[str],
        leave: Sequence[str],
        author: str,
        now_s: int,
    ) -> Step:
        """A group that is right by itself, taken into groups and out of others."""
        register, changed = after.register, [group]
        bodies = [GroupChange(name, join=(group,)) for name in join]
        bodies += [GroupChange(name, leave=(group,)) for name in leave]
        for part, body in enumerate(bodies, start=1):
            register, reply = self._take(register, author, now_s, part, Verb.CHANGE, body)
            if reply.rejected:
                return Step(self, tuple(_plain(reply)))
            changed.append(body.mrid)
        return self._settled(replace(after, register=register, said=self.said + 1), changed, now_s)

    def _settled(
        self, after: VirtualDers, changed: Sequence[str], now_s: int, gone: GroupVersion | None = None
    ) -> Step:
        """With new versions of the groups whose members came or went with a group that was changed."""
        before, names = self.groups, list(changed)
        for name in after.register.records:
            if name not in changed and not np.array_equal(before.rows(name), after.groups.rows(name)):
                after = after.renumbered(name, now_s)
                names.append(name)
        return Step(after, changed=tuple(names), gone=gone)

    def _wrong_id(self, group: str) -> list[Rejected]:
        """What no path of a URL can hold, or the system's own."""
        faults = []
        head, *rest = group.split("/")
        if head in self.heads:
            words = f"begins as the system's own groups do ({head})"
            faults.append(Rejected("group", "id", (group,), words))
        if len(group) > _LONGEST or any(not part.strip() or part in {".", ".."} for part in (head, *rest)):
            words = f"expected 1 to {_LONGEST} characters, and something between slashes"
            faults.append(Rejected("group", "id", (group,), words))
        if len(self.register.records) >= MOST:
            faults.append(Rejected("group", "id", (group,), f"there are {MOST} groups already; delete some"))
        return faults

    def _wrong_ties(self, group: str, children: Iterable[str], parents: Iterable[str]) -> list[Rejected]:
        """Children that are no groups, and parents that are none of people's."""
        unknown = tuple(name for name in children if name not in self.groups and name != group)
        faults = [Rejected("group", "children", unknown, "are no groups")] if unknown else []
        own = tuple(name for name in parents if name not in self)
        if own:
            words = "take in no groups: they are unknown or the system's own"
            faults.append(Rejected("group", "parents", own, words))
        return faults

    def _no_group(self, group: str) -> Rejected:
        told = "is the system's own and follows the registry" if group in self.groups else "is unknown"
        return Rejected("group", "id", (group,), told)

    # ---- asked -------------------------------------------------------------------------------------

    def parents(self, group: str) -> tuple[str, ...]:
        """Groups of people that a group is part of."""
        return tuple(name for name, record in self.register.records.items() if group in record.inside)

    def version(self, group: str) -> GroupVersion:
        """Which state of a group of people this is."""
        found = self.register.definition(group).version
        assert found is not None
        return found

    def definition(self, group: str) -> Definition:
        """A group of people as it is meant."""
        record = self.register.records[group]
        title = record.names[0].name if record.names else ""
        terms, version = self.terms[group], self.version(group)
        return Definition(group, title, record.devices, record.inside, self.parents(group), terms, version)

    def renumbered(self, group: str, now_s: int) -> VirtualDers:
        """With the next minor version of a group, whose members have come and gone by themselves."""
        records = dict(self.register.records)
        version = GroupVersion(*Version(*self.version(group)).followed(now_s))
        records[group] = replace(records[group], version=version, under=self.groups.version(group))
        return replace(self, register=replace(self.register, records=records))

    def touched(self, step: Step, group: str) -> Rows:
        """Rows that the groups of a step hold, before it or after it."""
        states = (self.groups, step.after.groups)
        held = [groups.rows(n) for groups in states for n in (group, *step.changed) if n in groups]
        rows: Rows = np.unique(np.concatenate(held))
        return rows

    def empty(self, step: Step, group: str) -> bool:
        """Whether a group has no member before a step or after it, so that no part of the fleet owns it."""
        states = (self.groups, step.after.groups)
        return any(group in groups and not len(groups.rows(group)) for groups in states)


def _followed(
    register: GroupRegister, group: str, rule: Rule, version: GroupVersion, now_s: int
) -> tuple[GroupRegister, tuple[Rejected, ...]]:
    """The register with a registered group following a rule, at a version."""
    groups = register.groups.copy()
    rejected = groups.change(group, rule=rule, time_s=now_s)
    records = dict(register.records)
    records[group] = replace(records[group], version=version, under=groups.version(group))
    return replace(register, groups=groups, records=records), rejected


def _ruled(group: str, terms: Terms) -> tuple[Rule | None, list[Rejected]]:
    if not terms.where.isprintable():
        return None, [Rejected("group", "rule", (group,), "expected a printable text")]
    try:
        return terms.rule(), []
    except PlaceRejected as fault:
        return None, [Rejected("group", "place", (group,), str(fault))]


def _altered(terms: Terms, asked: Alteration) -> Terms:
    return Terms(
        terms.where if asked.where is None else asked.where,
        terms.place if asked.place is None else asked.place,
        terms.inside if asked.inside is None else asked.inside,
        terms.outside if asked.outside is None else asked.outside,
    )


def _version(group: str, text: str) -> tuple[GroupVersion | None, list[Rejected]]:
    if not text:
        return None, []
    match = _VERSION.fullmatch(text)
    if match is None:
        return None, [Rejected("group", "version", (group,), f"{text!r} is no version such as 1.0.0")]
    return GroupVersion(-1, *map(int, match.groups())), []


def _plain(reply: GroupReply) -> list[Rejected]:
    """What is wrong, without the number of the message."""
    return [replace(fault, ids=fault.ids[1:]) for fault in reply.rejected]


def _without(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(name for name in names if name not in known)
