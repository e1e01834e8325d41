"""The register of groups: a value that messages make into the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from gridflock.fleet.functions._dispatch import wanted
from gridflock.fleet.functions._events import take_event
from gridflock.fleet.functions._forecast import of_forecast
from gridflock.fleet.functions._manage import operate, operate_all
from gridflock.fleet.functions._queries import asked_for
from gridflock.fleet.functions._record import Devices, Draft, OpenDispatch, Record, definition
from gridflock.fleet.functions._status import EVERY, Present, parameter_status
from gridflock.fleet.functions._subscribers import Heard, Subscriber, all_told
from gridflock.fleet.groups import Changes, Groups
from gridflock.model import (
    ConnectControl,
    DispatchRemoval,
    ForecastQuery,
    GroupBody,
    GroupChange,
    GroupDefinition,
    GroupDispatch,
    GroupMessage,
    GroupQuery,
    GroupRemoval,
    GroupReply,
    GroupVersion,
    OperationSet,
    ParameterForecast,
    ParameterStatus,
    RampControl,
    Rejected,
    StatusQuery,
    Verb,
    VoltageControl,
)

REMEMBERED = 10_000
"""So many messages are known again when they arrive once more."""

_VERBS: Mapping[type, tuple[Verb, ...]] = {
    GroupDefinition: (Verb.CREATE, Verb.CREATED, Verb.CHANGED),
    GroupChange: (Verb.CHANGE,),
    GroupRemoval: (Verb.DELETE, Verb.DELETED),
    OperationSet: (Verb.EXECUTE,),
    GroupQuery: (Verb.GET,),
    StatusQuery: (Verb.GET,),
    ForecastQuery: (Verb.GET,),
    GroupDispatch: (Verb.CREATE,),
    DispatchRemoval: (Verb.DELETE,),
    ConnectControl: (Verb.CREATE,),
    VoltageControl: (Verb.CREATE,),
    RampControl: (Verb.CREATE,),
}
_PAST = (Verb.CREATED, Verb.CHANGED, Verb.DELETED)


@dataclass(frozen=True, slots=True, eq=False)
class GroupRegister:
    """Groups with what IEC 61968-5 says of them; never changed, each message gives the next register.

    A resource and a group may be members of any number of groups. The register is the one place where
    the membership of its own groups is kept; those of another system are held as its events say.

    Attributes:
        groups: over the fleet; whoever changes them elsewhere says so by ``followed``.
        name: under which this register speaks to others.
        devices: resources by their names.
        records: registered groups by mRID.
        gone: last version of deleted groups by mRID.
        dispatches: open dispatches and controls by mRID.
        subscribers: who is told what happens.
        heard: events that have arrived, by sender.
        seen: requests that were done, with their answers, by sender and id.
    """

    groups: Groups
    name: str
    devices: Devices
    records: Mapping[str, Record] = field(default_factory=dict)
    gone: Mapping[str, GroupVersion] = field(default_factory=dict)
    dispatches: Mapping[str, OpenDispatch] = field(default_factory=dict)
    subscribers: Mapping[str, Subscriber] = field(default_factory=dict)
    heard: Mapping[str, Heard] = field(default_factory=dict)
    seen: Mapping[tuple[str, str], tuple[GroupMessage, GroupReply]] = field(default_factory=dict)

    @classmethod
    def over(cls, groups: Groups, name: str) -> Self:
        """An empty register over groups that are there already."""
        return cls(groups, name, Devices(groups.fleet))

    # ---- messages ------------------------------------------------------------------------------------

    def take(
        self, message: GroupMessage, now_s: int, present: Present | None = None
    ) -> tuple[GroupRegister, GroupReply]:
        """The register after a message, and the answer.

        A request that was done before gets the same answer again and does nothing, and so does an event
        whose number has arrived; of what is refused nothing is done. Requests for status, forecasts and
        constrained dispatches need ``present``.

        Args:
            message: of anybody; who may ask for what has been judged before.
            now_s: our clock, unix seconds.
            present: the fleet at this moment.

        Returns:
            This register where nothing changes.
        """
        known = self.seen.get((message.sender, message.id))
        if known is not None and known[0] == message:
            return self, known[1]
        fault = self._wrong_message(message, repeated=known is not None)
        if fault is not None:
            return self, _answer(message, GroupReply(message.id, (fault,)))
        if message.verb == Verb.GET:
            return self, _answer(message, self._asked(message, present))
        if message.verb in _PAST:
            return self._event(message, now_s)
        return self._request(message, now_s, present)

    @staticmethod
    def _wrong_message(message: GroupMessage, *, repeated: bool) -> Rejected | None:
        """No message at all: nobody's, of a verb that does not go with its body, or an id used before."""
        if repeated:
            return Rejected("message", "id", (message.sender,), "was another message's")
        if not message.id.strip() or not message.sender.strip():
            return Rejected("message", "id", (message.sender,), "expected an id and a sender")
        verbs = _VERBS.get(type(message.body), ())
        if message.verb not in verbs:
            words = type(message.body).__name__
            return Rejected("message", "verb", (message.verb.value,), f"does not go with {words}")
        if message.verb in _PAST and message.sequence < 1:
            return Rejected("message", "sequence", (str(message.sequence),), "events count from 1")
        return None

    def _asked(self, message: GroupMessage, present: Present | None) -> GroupReply:
        """The answer to a query."""
        query = message.body
        if isinstance(query, GroupQuery):
            listed, rejected = asked_for(self.groups, self.records, self.devices, query)
            return GroupReply(message.id, rejected, listed)
        assert isinstance(query, StatusQuery | ForecastQuery)
        unknown = tuple(name for name in query.groups if name not in self.groups)
        if unknown:
            return GroupReply(message.id, (Rejected("group", "mrid", unknown, "is unknown"),))
        if present is None:
            return GroupReply(message.id, (Rejected("status", "present", (), "nothing is known yet"),))
        if isinstance(query, StatusQuery):
            wanted_ones = query.parameters or EVERY
            status = parameter_status(self.groups, present, query.groups, wanted_ones)
            return GroupReply(message.id, report=status)
        return _foretold(message.id, query, present.forecast)

    def _request(
        self, message: GroupMessage, now_s: int, present: Present | None
    ) -> tuple[GroupRegister, GroupReply]:
        """What changes groups or wants something of them."""
        body = message.body
        manages = isinstance(body, GroupDefinition | GroupChange | GroupRemoval | OperationSet)
        draft = self._draft(self.groups.copy() if manages else self.groups, now_s)
        reply = GroupReply(message.id)
        if isinstance(body, GroupDefinition | GroupChange | GroupRemoval):
            reply = replace(reply, rejected=tuple(operate(draft, body, now_s)))
        elif isinstance(body, OperationSet):
            reply = replace(reply, rejected=tuple(operate_all(draft, body, now_s)))
        elif isinstance(body, DispatchRemoval):
            reply = replace(reply, rejected=_ended(draft, body.mrid))
        else:
            assert isinstance(body, GroupDispatch | ConnectControl | VoltageControl | RampControl)
            found = wanted(draft, body, present, now_s)
            reply = GroupReply(message.id, found.rejected, wishes=found.wishes, shortfalls=found.shortfalls)
        if not reply.done:
            return self, _answer(message, reply)
        return self._next(draft, message, now_s, reply)

    def _event(self, message: GroupMessage, now_s: int) -> tuple[GroupRegister, GroupReply]:
        """What another system says has happened."""
        body, sender = message.body, message.sender
        assert isinstance(body, GroupDefinition | GroupRemoval)
        heard = self.heard.get(sender, Heard())
        if message.sequence in heard:
            return self, GroupReply(message.id, missing=heard.missing)
        draft = self._draft(self.groups.copy(), now_s)
        rejected = tuple(take_event(draft, body, sender, now_s))
        if rejected:
            return self, _answer(message, GroupReply(message.id, rejected, missing=heard.missing))
        after = heard.taken(message.sequence)
        register, reply = self._next(draft, message, now_s, GroupReply(message.id, missing=after.missing))
        return replace(register, heard={**self.heard, sender: after}), reply

    def _draft(self, groups: Groups, now_s: int) -> Draft:
        open_ones = {mrid: one for mrid, one in self.dispatches.items() if one.until_s > now_s}
        return Draft(groups, self.devices, dict(self.records), dict(self.gone), open_ones)

    def _next(
        self, draft: Draft, message: GroupMessage, now_s: int, reply: GroupReply
    ) -> tuple[GroupRegister, GroupReply]:
        """The register with a draft's changes, told to everybody; the answer says how groups are now."""
        told = message.verb in _PAST
        # Who wants to hear of another system's groups asks that one: two that tell each other never end.
        happened = () if told else tuple(_happened(draft))
        changed = dict.fromkeys(mrid for verb, mrid in draft.told if verb != Verb.DELETED)
        reply = replace(
            reply,
            groups=tuple(draft.definition(mrid) for mrid in changed if mrid in draft.records),
            withdrawn=tuple(draft.withdrawn),
        )
        seen = dict(self.seen) if told else {**self.seen, (message.sender, message.id): (message, reply)}
        while len(seen) > REMEMBERED:
            del seen[next(iter(seen))]
        register = replace(
            self,
            groups=draft.groups if draft.told else self.groups,
            records=draft.records,
            gone=draft.gone,
            dispatches=draft.dispatches,
            subscribers=all_told(self.subscribers, self.name, now_s, happened),
            seen=seen,
        )
        return register, reply

    # ---- asked -----------------------------------------------------------------------------------------

    def definition(self, mrid: str) -> GroupDefinition:
        """A group as it is now. Raises ``KeyError`` for an unknown one."""
        return definition(self.groups, self.records, mrid)

    # ---- subscribers ---------------------------------------------------------------------------------

    def subscribed(self, subscriber: str, groups: Iterable[str] | None = None) -> GroupRegister:
        """With a subscriber who is told of these groups (None: of all) from now on."""
        wanted_ones = None if groups is None else frozenset(groups)
        before = self.subscribers.get(subscriber, Subscriber())
        return replace(
            self, subscribers={**self.subscribers, subscriber: replace(before, groups=wanted_ones)}
        )

    def unsubscribed(self, subscriber: str) -> GroupRegister:
        """Without a subscriber."""
        return replace(self, subscribers={k: v for k, v in self.subscribers.items() if k != subscriber})

    def waiting(self, subscriber: str) -> tuple[GroupMessage, ...]:
        """What a subscriber has not acknowledged, oldest first. Raises ``KeyError`` for an unknown one."""
        return self.subscribers[subscriber].waiting

    def acknowledged(self, subscriber: str, sequence: int) -> GroupRegister:
        """After a subscriber has everything up to a number. Raises ``KeyError`` for an unknown one."""
        after = self.subscribers[subscriber].acknowledged(sequence)
        return replace(self, subscribers={**self.subscribers, subscriber: after})

    def pushed(self, report: ParameterStatus | ParameterForecast, now_s: int) -> GroupRegister:
        """With a status or forecast for every subscriber, each its groups."""
        event = (Verb.CREATED, "", report)
        return replace(self, subscribers=all_told(self.subscribers, self.name, now_s, (event,)))

    def followed(self, groups: Groups, changes: Changes, now_s: int) -> GroupRegister:
        """With the groups of a later registry or topology; changed registered groups are told.

        Args:
            groups: as ``Groups.follow`` gave them.
            changes: who joined and left.
            now_s: our clock, unix seconds.
        """
        row_of = groups.fleet.row_of
        records = {
            mrid: replace(held, devices=tuple(name for name in held.devices if name in row_of))
            for mrid, held in self.records.items()
        }
        moved = [mrid for mrid in changes.groups if mrid in records]
        events = [(Verb.CHANGED, mrid, definition(groups, records, mrid)) for mrid in moved]
        subscribers = all_told(self.subscribers, self.name, now_s, events)
        devices = self.devices if groups.fleet is self.devices.fleet else Devices(groups.fleet)
        return replace(self, groups=groups, devices=devices, records=records, subscribers=subscribers)


def _happened(draft: Draft) -> Iterable[tuple[Verb, str, GroupBody]]:
    """What a draft has to tell: each group once, as it is now, in the order of what happened last."""
    last = {mrid: verb for verb, mrid in draft.told}
    created = {mrid for verb, mrid in draft.told if verb == Verb.CREATED}
    for mrid, verb in last.items():
        if verb == Verb.DELETED:
            yield verb, mrid, GroupRemoval(mrid, draft.removed[mrid].version)
        else:
            yield Verb.CREATED if mrid in created else Verb.CHANGED, mrid, draft.definition(mrid)


def _ended(draft: Draft, mrid: str) -> tuple[Rejected, ...]:
    """End a dispatch or control before its time."""
    if mrid not in draft.dispatches:
        return (Rejected("dispatch", "mrid", (mrid,), "is not open"),)
    draft.withdrawn += draft.dispatches.pop(mrid).wishes
    return ()


def _foretold(message: str, query: ForecastQuery, forecast: ParameterForecast | None) -> GroupReply:
    """The part of the forecast that is asked for."""
    if forecast is None:
        return GroupReply(message, (Rejected("forecast", "present", (), "nothing is foretold yet"),))
    groups = tuple(name for name in query.groups if name not in forecast.groups)
    parameters = tuple(p.value for p in query.parameters if p not in forecast.parameters)
    rejected = [Rejected("forecast", "group", groups, "has no forecast")] if groups else []
    if parameters:
        rejected.append(Rejected("forecast", "parameter", parameters, "has no forecast"))
    if rejected:
        return GroupReply(message, tuple(rejected))
    wanted_ones = query.parameters or forecast.parameters
    return GroupReply(message, report=of_forecast(forecast, query.groups, wanted_ones, query.style))


def _answer(message: GroupMessage, reply: GroupReply) -> GroupReply:
    """The reply with the message's id first in everything that is wrong."""
    return replace(reply, rejected=tuple(replace(r, ids=(message.id, *r.ids)) for r in reply.rejected))
