"""Groups asked for by mRID, name or member (5.4)."""

from __future__ import annotations

from collections.abc import Mapping

from gridflock.fleet.functions._record import Devices, Record, definition, wrong
from gridflock.fleet.groups import Groups
from gridflock.model import GroupDefinition, GroupName, GroupQuery, Rejected


def asked_for(
    groups: Groups, records: Mapping[str, Record], devices: Devices, query: GroupQuery
) -> tuple[tuple[GroupDefinition, ...], tuple[Rejected, ...]]:
    """The groups that fit, each once, by mRIDs, names and devices in turn; and what nobody knows.

    A device is in every group that holds it, directly or through groups inside: as many as there are.
    """
    found = dict.fromkeys(mrid for mrid in query.mrids if mrid in groups)
    rejected = list(wrong("mrid", [m for m in query.mrids if m not in groups], "is unknown"))
    nameless: list[str] = []
    for asked in query.names:
        named = [mrid for mrid, record in records.items() if any(_fits(asked, x) for x in record.names)]
        found |= dict.fromkeys(named)
        nameless += [] if named else [asked.name]
    rejected += wrong("names", nameless, "no group has this name")
    strangers: list[str] = []
    for device in query.devices:
        resource = devices.id_of(device)
        if resource is None:
            strangers.append(device)
        else:
            found |= dict.fromkeys(groups.of(resource))
    rejected += wrong("devices", strangers, "is no resource")
    if not (query.mrids or query.names or query.devices):
        found = dict.fromkeys(records)
    listed = tuple(definition(groups, records, mrid, flat=query.flat) for mrid in found)
    return listed, tuple(rejected)


def _fits(asked: GroupName, name: GroupName) -> bool:
    """Whether a name is the one asked for; an empty type or authority fits any."""
    return (
        asked.name == name.name and asked.type in {"", name.type} and asked.authority in {"", name.authority}
    )
