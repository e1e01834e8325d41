"""What a register keeps of a group beside its members, and the working form that changes are made in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups import Groups, Version
from gridflock.model import (
    DerFunction,
    GroupDefinition,
    GroupName,
    GroupVersion,
    ParameterLimit,
    Rejected,
    Verb,
)

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Record:
    """A registered group.

    Attributes:
        names: other names.
        description: in words.
        devices: resources named as members, by their ids in the fleet.
        inside: groups named as members.
        functions: what may be asked of it; None = whatever one of its members can do.
        limits: declared capability.
        version: state at the last change by a message.
        under: version that ``Groups`` had then; it rises when members come and go by themselves.
        keeper: whose system holds the group; "" for this one. Only the keeper's word changes it.
    """

    names: tuple[GroupName, ...]
    description: str
    devices: tuple[str, ...]
    inside: tuple[str, ...]
    functions: DerFunction | None
    limits: tuple[ParameterLimit, ...]
    version: GroupVersion
    under: Version
    keeper: str = ""

    def version_now(self, now: Version) -> GroupVersion:
        """The state where ``Groups`` has this version now: each change by itself is a minor one."""
        moved = now.minor - self.under.minor if now.major == self.under.major else now.minor + 1
        if moved <= 0:
            return self.version
        return GroupVersion(now.date_s, self.version.major, self.version.minor + moved)


@dataclass(frozen=True, slots=True)
class OpenDispatch:
    """What a dispatch or control that is not over yet has become."""

    groups: tuple[str, ...]
    until_s: int
    wishes: tuple[str, ...]


class Devices:
    """Resources by what others call them: id, or mRID with or without hyphens."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ids: dict[str, str] | None = None

    @property
    def fleet(self) -> Fleet:
        """Whose resources these are."""
        return self._fleet

    def id_of(self, name: str) -> str | None:
        """The id of a resource; None where nobody is called so."""
        if name in self._fleet.row_of:
            return name
        if self._ids is None:
            mrids = self._fleet.registry.identities.get("mrid", ())
            pairs = zip(mrids, self._fleet.ids, strict=bool(mrids))
            self._ids = {_plain(mrid): row_id for mrid, row_id in pairs if mrid}
        return self._ids.get(_plain(name))


def _plain(mrid: str) -> str:
    return mrid.replace("-", "").lower()


@dataclass(slots=True)
class Draft:
    """A register while it is being changed: thrown away where anything is refused.

    Attributes:
        groups: a copy, changed freely.
        devices: resources by their names.
        records: registered groups by mRID.
        gone: last version of groups that were deleted by their keeper, by mRID.
        dispatches: open ones by mRID.
        told: what has happened, in order: verb and mRID.
        removed: last state of the deleted groups.
        withdrawn: wishes to be taken back.
    """

    groups: Groups
    devices: Devices
    records: dict[str, Record]
    gone: dict[str, GroupVersion]
    dispatches: dict[str, OpenDispatch]
    told: list[tuple[Verb, str]] = field(default_factory=list)
    removed: dict[str, GroupDefinition] = field(default_factory=dict)
    withdrawn: list[str] = field(default_factory=list)

    def store(self, mrid: str, record: Record) -> None:
        """Keep a record as of the present state of the groups."""
        self.records[mrid] = replace(record, under=self.groups.version(mrid))

    def definition(self, mrid: str) -> GroupDefinition:
        """A group as it is now."""
        return definition(self.groups, self.records, mrid)

    def parted(self, members: Iterable[str], mrid: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Members parted into resources, by id where known, and groups; the group itself is a group."""
        devices: list[str] = []
        inside: list[str] = []
        for member in members:
            if member in self.groups or member == mrid:
                inside.append(member)
            else:
                devices.append(self.devices.id_of(member) or member)
        return tuple(devices), tuple(inside)


def definition(
    groups: Groups, records: Mapping[str, Record], mrid: str, *, flat: bool = False
) -> GroupDefinition:
    """A group as it is now; of one that no message made, all resources are its members.

    Args:
        groups: over the fleet.
        records: registered groups.
        mrid: of any group.
        flat: all resources as members, also of a registered group.
    """
    record = records.get(mrid)
    now = groups.version(mrid)
    if record is None or flat:
        ids = groups.fleet.ids
        members = tuple(ids[row] for row in groups.rows(mrid).tolist())
    else:
        members = (*record.devices, *record.inside)
    if record is None:
        return GroupDefinition(
            mrid, (GroupName(groups.title(mrid)),), members=members, version=GroupVersion(*now)
        )
    return GroupDefinition(
        mrid,
        record.names,
        record.description,
        members,
        record.functions,
        record.limits,
        record.version_now(now),
    )


def wrong(field_name: str, ids: Iterable[str], reason: str) -> Iterator[Rejected]:
    """One report where there are such ids."""
    listed = tuple(ids)
    if listed:
        yield Rejected("group", field_name, listed[:SHOWN], reason, count=len(listed))
