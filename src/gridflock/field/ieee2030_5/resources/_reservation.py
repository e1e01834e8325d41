"""Flow reservation: a vehicle or store asks for energy, the server grants power and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import Hex128, Moment, UInt8, UInt16, UInt32
from gridflock.field.ieee2030_5.resources._objects import (
    DateTimeInterval,
    Event,
    IdentifiedObject,
    List,
    SubscribableList,
)
from gridflock.field.ieee2030_5.resources._quantities import ActivePower, SignedRealEnergy
from gridflock.field.ieee2030_5.resources._table import At, El


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStatus:
    """0 requested, 1 cancelled."""

    date_time: Annotated[Moment, El("dateTime")]
    request_status: Annotated[UInt8, El("requestStatus")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReservationRequest(IdentifiedObject):
    """A vehicle or store asks for energy and power within an interval."""

    creation_time: Annotated[Moment, El("creationTime")]
    duration_requested: Annotated[UInt16 | None, El("durationRequested")] = None
    energy_requested: Annotated[SignedRealEnergy, El("energyRequested")]
    interval_requested: Annotated[DateTimeInterval, El("intervalRequested")]
    power_requested: Annotated[ActivePower, El("powerRequested")]
    request_status: Annotated[RequestStatus, El("RequestStatus")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReservationRequestList(List):
    """What a device has asked for."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    flow_reservation_request: Annotated[tuple[FlowReservationRequest, ...], El("FlowReservationRequest")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReservationResponse(Event):
    """What is granted to the request ``subject``."""

    energy_available: Annotated[SignedRealEnergy, El("energyAvailable")]
    power_available: Annotated[ActivePower, El("powerAvailable")]
    subject: Annotated[Hex128, El("subject")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReservationResponseList(SubscribableList):
    """What was granted to a device."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    flow_reservation_response: Annotated[
        tuple[FlowReservationResponse, ...], El("FlowReservationResponse")
    ] = ()
