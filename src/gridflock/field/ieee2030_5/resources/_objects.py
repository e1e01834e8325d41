"""Nouns that the others are made of: links, lists, identified things, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits8,
    Hex128,
    Int32,
    Moment,
    OneHour,
    PowerOfTen,
    UInt8,
    UInt16,
    UInt32,
    Uri,
    Words32,
    Words192,
)
from gridflock.field.ieee2030_5.resources._table import At, El, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Whatever has an address."""

    SINCE: ClassVar[Profile] = Profile.SEP2018
    """First profile that has it; a later one's stands in that profile's own namespace."""

    href: Annotated[Uri | None, At("href")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where another resource stands."""

    href: Annotated[Uri, At("href")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLink(Link):
    """Where a list stands, and how many items it holds."""

    all: Annotated[UInt32 | None, At("all")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedObject(Resource):
    """A resource with an identifier of its own that outlives its address."""

    mrid: Annotated[Hex128, El("mRID")]
    description: Annotated[Words32 | None, El("description")] = None
    version: Annotated[UInt16 | None, El("version")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribableResource(Resource):
    """A resource that can be subscribed to; 1 in ``subscribable`` without conditions, 2 with, 3 both."""

    subscribable: Annotated[UInt8, At("subscribable")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribableIdentifiedObject(SubscribableResource):
    """Identified and open to subscriptions."""

    mrid: Annotated[Hex128, El("mRID")]
    description: Annotated[Words32 | None, El("description")] = None
    version: Annotated[UInt16 | None, El("version")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RespondableSubscribableIdentifiedObject(Resource):
    """Identified, open to subscriptions, and wanting responses posted to ``reply_to``."""

    reply_to: Annotated[Uri | None, At("replyTo")] = None
    response_required: Annotated[Bits8, At("responseRequired")] = 0
    subscribable: Annotated[UInt8, At("subscribable")] = 0
    mrid: Annotated[Hex128, El("mRID")]
    description: Annotated[Words32 | None, El("description")] = None
    version: Annotated[UInt16 | None, El("version")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class List(Resource):
    """One page of a list: ``all`` items exist, ``results`` of them stand here."""

    all: Annotated[UInt32, At("all", always=True)] = 0
    results: Annotated[UInt32, At("results", always=True)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribableList(SubscribableResource):
    """A page of a list that can be subscribed to."""

    all: Annotated[UInt32, At("all", always=True)] = 0
    results: Annotated[UInt32, At("results", always=True)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTimeInterval:
    """From ``start``, UTC seconds, for ``duration`` seconds."""

    duration: Annotated[UInt32, El("duration")]
    start: Annotated[Moment, El("start")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStatus:
    """Where an event stands in its life (``EventState``) and since when."""

    current_status: Annotated[UInt8, El("currentStatus")]
    date_time: Annotated[Moment, El("dateTime")]
    potentially_superseded: Annotated[bool, El("potentiallySuperseded")]
    potentially_superseded_time: Annotated[Moment | None, El("potentiallySupersededTime")] = None
    reason: Annotated[Words192 | None, El("reason")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(RespondableSubscribableIdentifiedObject):
    """Something that holds for a time."""

    creation_time: Annotated[Moment, El("creationTime")]
    event_status: Annotated[EventStatus, El("EventStatus")]
    interval: Annotated[DateTimeInterval, El("interval")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomizableEvent(Event):
    """An event whose start and duration each client shifts by chance within these bounds, seconds."""

    randomize_duration: Annotated[OneHour | None, El("randomizeDuration")] = None
    randomize_start: Annotated[OneHour | None, El("randomizeStart")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """What a refused request is answered with (``ReasonCode``)."""

    max_retry_duration: Annotated[UInt16 | None, El("maxRetryDuration")] = None
    reason_code: Annotated[UInt16, El("reasonCode")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitValueType:
    """A value in a unit (``Uom``), times ten to the ``multiplier``."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    unit: Annotated[UInt8, El("unit")]
    value: Annotated[Int32, El("value")]
