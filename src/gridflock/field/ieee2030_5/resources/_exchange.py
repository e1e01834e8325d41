"""Answers to events, subscriptions, and the notifications that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Hex128,
    Hex160,
    Int48,
    Moment,
    Text16,
    UInt8,
    UInt32,
    Uri,
)
from gridflock.field.ieee2030_5.resources._objects import IdentifiedObject, List, ListLink, Resource
from gridflock.field.ieee2030_5.resources._table import At, El


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSet(IdentifiedObject):
    """A place for responses."""

    response_list_link: Annotated[ListLink | None, El("ResponseListLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSetList(List):
    """The places for responses."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    response_set: Annotated[tuple[ResponseSet, ...], El("ResponseSet")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Resource):
    """What became of the event ``subject`` on one device; ``status`` is one of ``ResponseStatus``."""

    created_date_time: Annotated[Moment | None, El("createdDateTime")] = None
    end_device_lfdi: Annotated[Hex160, El("endDeviceLFDI")]
    status: Annotated[UInt8 | None, El("status")] = None
    subject: Annotated[Hex128, El("subject")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DERControlResponse(Response):
    """To a DER control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReservationResponseResponse(Response):
    """To a granted flow reservation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceResponse(Response):
    """To a price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseList(List):
    """Responses that came in."""

    response: Annotated[tuple[Response, ...], El("Response", derived=True)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionBase(Resource):
    """The resource a subscription is about."""

    subscribed_resource: Annotated[Uri, El("subscribedResource")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Notify only outside these thresholds."""

    attribute_identifier: Annotated[UInt8, El("attributeIdentifier")]
    lower_threshold: Annotated[Int48, El("lowerThreshold")]
    upper_threshold: Annotated[Int48, El("upperThreshold")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(SubscriptionBase):
    """A wish to be told at ``notification_uri``; ``limit`` 0 asks for the bare fact of a change."""

    condition: Annotated[Condition | None, El("Condition")] = None
    encoding: Annotated[UInt8, El("encoding")]
    level: Annotated[Text16, El("level")]
    limit: Annotated[UInt32, El("limit")]
    notification_uri: Annotated[Uri, El("notificationURI")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionList(List):
    """A client's subscriptions."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    subscription: Annotated[tuple[Subscription, ...], El("Subscription")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(SubscriptionBase):
    """That something changed, with the resource as it is now unless only the fact was wanted."""

    new_resource_uri: Annotated[Uri | None, El("newResourceURI")] = None
    resource: Annotated[Resource | None, El("Resource", derived=True)] = None
    status: Annotated[UInt8, El("status")]
    subscription_uri: Annotated[Uri, El("subscriptionURI")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationList(List):
    """Notifications that came in."""

    notification: Annotated[tuple[Notification, ...], El("Notification")] = ()
