"""Groups made, changed and deleted on demand (IEC 61968-5, 5.2 and 5.3)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gridflock.fleet.functions._discovery import functions_of_rows
from gridflock.fleet.functions._record import Draft, Record, wrong
from gridflock.fleet.groups import Version
from gridflock.model import (
    DerFunction,
    GroupChange,
    GroupDefinition,
    GroupName,
    GroupRemoval,
    GroupVersion,
    OperationSet,
    ParameterLimit,
    Rejected,
    Verb,
)

Operation = GroupDefinition | GroupChange | GroupRemoval
_LONGEST = 255


def operate(draft: Draft, operation: Operation, time_s: int) -> list[Rejected]:
    """Do one change of groups that are kept here; what is wrong, empty where it is done."""
    if isinstance(operation, GroupDefinition):
        found = create(draft, operation, time_s)
        verb = Verb.CREATED
    elif isinstance(operation, GroupChange):
        found = kept_elsewhere(draft, operation.mrid) or change(draft, operation, time_s)
        verb = Verb.CHANGED
    else:
        return kept_elsewhere(draft, operation.mrid) or remove(draft, operation, time_s)
    if not found:
        draft.told.append((verb, operation.mrid))
    return found


def operate_all(draft: Draft, operations: OperationSet, time_s: int) -> list[Rejected]:
    """Do several changes in their order, the first that is refused ends them; rows count from 1."""
    if not operations.operations:
        return [Rejected("operation set", "operations", (), "is empty")]
    for row, operation in enumerate(operations.operations, start=1):
        found = operate(draft, operation, time_s)
        if found:
            return [replace(fault, row=row) for fault in found]
    return []


def create(draft: Draft, asked: GroupDefinition, time_s: int, keeper: str = "") -> list[Rejected]:
    """A new group of resources and groups, with names, flags and declared capability."""
    devices, inside = draft.parted(asked.members, asked.mrid)
    found = [*_wrong_words(draft, asked.mrid, asked.names, asked.description), *_wrong_limits(asked.limits)]
    found += _twice(inside, asked.mrid)
    last = draft.gone.get(asked.mrid)
    if asked.version is not None and last is not None and not asked.version.newer(last):
        words = f"version {_told(asked.version)} is stale: the group was deleted at {_told(last)}"
        found.append(Rejected("group", "version", (asked.mrid,), words))
    if asked.version is not None and min(asked.version[1:]) < 0:
        found.append(Rejected("group", "version", (asked.mrid,), "numbers of a version are not negative"))
    found += draft.groups.add(
        asked.mrid, _title(asked.mrid, asked.names), devices, children=inside, time_s=time_s
    )
    found = found or list(_beyond_members(draft, asked.mrid, asked.functions))
    if not found:
        again = GroupVersion(time_s) if last is None else GroupVersion(time_s, last.major + 1)
        version = asked.version or again
        record = Record(
            asked.names,
            asked.description,
            devices,
            inside,
            asked.functions,
            asked.limits,
            version if version.date_s >= 0 else version._replace(date_s=time_s),
            draft.groups.version(asked.mrid),
            keeper,
        )
        draft.store(asked.mrid, record)
    return found


def change(draft: Draft, asked: GroupChange, time_s: int) -> list[Rejected]:
    """Another state of a registered group: the version rises, by its revision where only words change."""
    record = draft.records.get(asked.mrid)
    if record is None:
        return [Rejected("group", "mrid", (asked.mrid,), "is not registered")]
    found = _other_state(draft, asked.mrid, asked.based_on)
    found += [*_wrong_words(draft, asked.mrid, asked.names or (), asked.description or "")]
    found += [*_wrong_limits(asked.limits or ())]
    if asked.members is not None and (asked.join or asked.leave):
        found.append(
            Rejected("group", "members", (asked.mrid,), "either all members or who joins and leaves")
        )
    if found:
        return found
    before = record.version_now(draft.groups.version(asked.mrid))
    after, found = _regrouped(draft, record, _changed(record, asked), asked, time_s)
    if after == record and not found:
        found.append(Rejected("group", "change", (asked.mrid,), "changes nothing"))
    found = found or list(_beyond_members(draft, asked.mrid, after.functions))
    if not found:
        meant = replace(after, names=record.names, description=record.description) != record
        step = Version(*before).redefined(time_s) if meant else Version(*before).reworded(time_s)
        draft.store(asked.mrid, replace(after, version=GroupVersion(*step)))
    return found


def renew(draft: Draft, state: GroupDefinition, time_s: int) -> list[Rejected]:
    """Make a registered group what its keeper says it is, with the keeper's version."""
    record = draft.records[state.mrid]
    assert state.version is not None
    found = [*_wrong_words(draft, state.mrid, state.names, state.description), *_wrong_limits(state.limits)]
    if found:
        return found
    after = replace(
        record,
        names=state.names,
        description=state.description,
        functions=state.functions,
        limits=state.limits,
        version=state.version,
    )
    asked = GroupChange(state.mrid, members=state.members)
    after, found = _regrouped(draft, record, after, asked, time_s)
    found = found or list(_beyond_members(draft, state.mrid, after.functions))
    if not found:
        draft.store(state.mrid, after)
    return found


def remove(draft: Draft, asked: GroupRemoval, time_s: int) -> list[Rejected]:
    """Delete a registered group; its members stay. The rule for what hangs on it is ``GroupRemoval``'s."""
    mrid = asked.mrid
    if mrid not in draft.records:
        return [Rejected("group", "mrid", (mrid,), "is not registered")]
    found = _other_state(draft, mrid, asked.version)
    above = tuple(name for name, record in draft.records.items() if mrid in record.inside)
    open_ones = tuple(name for name, dispatch in draft.dispatches.items() if mrid in dispatch.groups)
    if not asked.cascade:
        found += wrong("mrid", above, f"have {mrid!r} as a member; only a cascade takes it out")
        found += wrong("dispatch", open_ones, f"are open dispatches of {mrid!r}; only a cascade ends them")
    found += [fault for name in above for fault in kept_elsewhere(draft, name)]
    if found:
        return found
    last = draft.definition(mrid)
    for name in above:
        found += change(draft, GroupChange(name, leave=(mrid,)), time_s)
    found = found or list(draft.groups.remove(mrid))
    if found:
        return found
    for name in open_ones:
        draft.withdrawn += draft.dispatches.pop(name).wishes
    del draft.records[mrid]
    draft.removed[mrid] = last
    assert last.version is not None
    draft.gone[mrid] = last.version
    draft.told += [(Verb.CHANGED, name) for name in above]
    draft.told.append((Verb.DELETED, mrid))
    return []


def kept_elsewhere(draft: Draft, mrid: str) -> list[Rejected]:
    """A group that another system keeps is changed there."""
    record = draft.records.get(mrid)
    if record is None or not record.keeper:
        return []
    return [Rejected("group", "mrid", (mrid,), f"is kept by {record.keeper!r}, which alone may change it")]


def _changed(record: Record, asked: GroupChange) -> Record:
    """The record with everything new but the members."""
    return replace(
        record,
        names=record.names if asked.names is None else asked.names,
        description=record.description if asked.description is None else asked.description,
        functions=record.functions if asked.functions is None else asked.functions,
        limits=record.limits if asked.limits is None else asked.limits,
    )


def _regrouped(
    draft: Draft, record: Record, after: Record, asked: GroupChange, time_s: int
) -> tuple[Record, list[Rejected]]:
    """Members changed as asked: the record with them, and what is wrong with it."""
    mrid = asked.mrid
    join, join_inside = draft.parted(asked.join, mrid)
    leave, leave_inside = draft.parted(asked.leave, mrid)
    if asked.members is not None:
        devices, inside = draft.parted(asked.members, mrid)
        found = [*_twice(asked.members, mrid)]
        held = (set(record.devices), set(record.inside))
        join, leave = _without(devices, held[0]), _without(record.devices, set(devices))
        join_inside, leave_inside = _without(inside, held[1]), _without(record.inside, set(inside))
    else:
        found = [*_twice((*join_inside, *leave_inside), mrid)]
        there = [name for name in join_inside if name in record.inside]
        found += wrong("members", there, f"are members of group {mrid!r} already")
        gone = [name for name in leave_inside if name not in record.inside]
        found += wrong("members", gone, f"are no members of group {mrid!r}")
    inside = (*_without(record.inside, set(leave_inside)), *join_inside)
    moves = bool(join or leave or inside != record.inside)
    retitled = after.names != record.names
    if not found and (moves or retitled):
        found += draft.groups.change(
            mrid,
            title=_title(mrid, after.names) if retitled else None,
            join=join,
            leave=leave,
            children=inside if inside != record.inside else None,
            time_s=time_s,
        )
    devices = (*_without(record.devices, set(leave)), *join)
    return replace(after, devices=devices, inside=inside), found


def _without(members: Iterable[str], others: set[str]) -> tuple[str, ...]:
    return tuple(member for member in members if member not in others)


def _title(mrid: str, names: Sequence[GroupName]) -> str:
    return names[0].name if names else mrid


def _other_state(draft: Draft, mrid: str, known: GroupVersion | None) -> list[Rejected]:
    """The author knows another state of the group than there is."""
    if known is None:
        return []
    now = draft.definition(mrid).version
    assert now is not None
    if now[1:] == known[1:]:
        return []
    word = "stale" if now.newer(known) else "not known yet"
    reason = f"version {_told(known)} is {word}: the group is at {_told(now)}"
    return [Rejected("group", "version", (mrid,), reason)]


def _told(version: GroupVersion) -> str:
    return f"{version.major}.{version.minor}.{version.revision}"


def _twice(members: Iterable[str], mrid: str) -> Iterator[Rejected]:
    repeated = [member for member, times in Counter(members).items() if times > 1]
    return wrong("members", repeated, f"listed more than once in group {mrid!r}")


def _wrong_words(draft: Draft, mrid: str, names: Sequence[GroupName], description: str) -> Iterator[Rejected]:
    """Names that are none, repeated or another group's, and texts that cannot be shown."""
    texts = [text for name in names for text in name]
    if any(not name.name.strip() for name in names) or any(len(text) > _LONGEST for text in texts):
        yield Rejected("group", "names", (mrid,), f"a name has 1 to {_LONGEST} characters")
    if any(not text.isprintable() for text in texts):
        yield Rejected("group", "names", (mrid,), "expected printable texts")
    if any(not (c.isprintable() or c in "\n\t") for c in description):
        yield Rejected("group", "description", (mrid,), "expected a printable text")
    if len(set(names)) < len(names):
        yield Rejected("group", "names", (mrid,), "a name is listed more than once")
    wanted = set(names)
    taken = [other for other, held in draft.records.items() if other != mrid and wanted & set(held.names)]
    yield from wrong("names", taken, f"have a name of {mrid!r} of the same type and authority")


def _wrong_limits(limits: Sequence[ParameterLimit]) -> Iterator[Rejected]:
    """Bounds that are none, and parameters with two."""
    repeated = [name.value for name, times in Counter(x.parameter for x in limits).items() if times > 1]
    yield from wrong("limits", repeated, "limited more than once")
    odd = [x.parameter.value for x in limits if math.isnan(x.lo) or math.isnan(x.hi) or x.lo > x.hi]
    yield from wrong("limits", odd, "expected a lower limit that is not above the upper one")


def _beyond_members(draft: Draft, mrid: str, functions: DerFunction | None) -> Iterator[Rejected]:
    """Functions are declared that no member has; an empty group may declare any."""
    rows = draft.groups.rows(mrid)
    if functions is None or not len(rows):
        return
    able = functions_of_rows(draft.groups.fleet, rows).any_of
    lacking = [flag.name or "" for flag in functions & ~able]
    yield from wrong("functions", lacking, f"no member of {mrid!r} can do this")
