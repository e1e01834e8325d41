"""Events of another system taken in: whichever way and however often they come, the newest state stays."""

from __future__ import annotations

from gridflock.fleet.functions._manage import create, renew
from gridflock.fleet.functions._record import Draft
from gridflock.model import GroupDefinition, GroupRemoval, GroupVersion, Rejected, Verb


def take_event(
    draft: Draft, body: GroupDefinition | GroupRemoval, keeper: str, time_s: int
) -> list[Rejected]:
    """Make a group that another system keeps what the event says, unless something newer is known.

    Of two states of a group the higher version stands, and a deletion stands over the state it deletes.
    A group that is kept here or by a third system is not touched.
    """
    mrid = body.mrid
    if body.version is None:
        return [Rejected("event", "version", (mrid,), "an event must say of which version it speaks")]
    record = draft.records.get(mrid)
    if record is None and mrid in draft.groups:
        return [Rejected("event", "mrid", (mrid,), "is a group of this system")]
    if record is not None and record.keeper != keeper:
        owner = record.keeper or "this system"
        return [Rejected("event", "mrid", (mrid,), f"is kept by {owner!r}, not by {keeper!r}")]
    if isinstance(body, GroupRemoval):
        return _deleted(draft, mrid, body.version)
    known = record.version if record is not None else draft.gone.get(mrid)
    if known is not None and not body.version.newer(known):
        return []
    new = record is None
    found = create(draft, body, time_s, keeper) if new else renew(draft, body, time_s)
    if not found:
        draft.told.append((Verb.CREATED if new else Verb.CHANGED, mrid))
    return found


def _deleted(draft: Draft, mrid: str, version: GroupVersion) -> list[Rejected]:
    record, before = draft.records.get(mrid), draft.gone.get(mrid)
    if record is not None and not record.version.newer(version):
        above = [name for name, held in draft.records.items() if mrid in held.inside]
        if above:
            return [Rejected("event", "mrid", tuple(above), f"have {mrid!r} as a member")]
        last = draft.definition(mrid)
        found = list(draft.groups.remove(mrid))
        if found:
            return found
        _end_dispatches(draft, mrid)
        del draft.records[mrid]
        draft.removed[mrid] = last
        draft.told.append((Verb.DELETED, mrid))
    if before is None or version.newer(before):
        draft.gone[mrid] = version
    return []


def _end_dispatches(draft: Draft, mrid: str) -> None:
    """Who keeps a group may delete it; what was wanted of it then ends."""
    for name in [name for name, dispatch in draft.dispatches.items() if mrid in dispatch.groups]:
        draft.withdrawn += draft.dispatches.pop(name).wishes
