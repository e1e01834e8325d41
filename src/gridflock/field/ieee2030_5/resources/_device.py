"""What a client finds first: time, devices, their registration, and what is assigned to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits32,
    Hex128,
    Hex160,
    Int32,
    Int64,
    Moment,
    Pin,
    Text32,
    UInt8,
    UInt16,
    UInt32,
    UInt40,
    Words32,
)
from gridflock.field.ieee2030_5.resources._objects import (
    Link,
    ListLink,
    Resource,
    SubscribableList,
    SubscribableResource,
)
from gridflock.field.ieee2030_5.resources._table import At, El, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Time(Resource):
    """The server's clock: UTC and its local offsets, seconds; all events are judged by it."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    current_time: Annotated[Int64, El("currentTime")]
    dst_end_time: Annotated[Int64, El("dstEndTime")]
    dst_offset: Annotated[Int32, El("dstOffset")]
    dst_start_time: Annotated[Int64, El("dstStartTime")]
    local_time: Annotated[Int64 | None, El("localTime")] = None
    quality: Annotated[UInt8, El("quality")]
    tz_offset: Annotated[Int32, El("tzOffset")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSetAssignmentsBase(Resource):
    """Links to the function sets somebody is to use."""

    customer_account_list_link: Annotated[ListLink | None, El("CustomerAccountListLink")] = None
    demand_response_program_list_link: Annotated[ListLink | None, El("DemandResponseProgramListLink")] = None
    der_program_list_link: Annotated[ListLink | None, El("DERProgramListLink")] = None
    file_list_link: Annotated[ListLink | None, El("FileListLink")] = None
    messaging_program_list_link: Annotated[ListLink | None, El("MessagingProgramListLink")] = None
    prepayment_list_link: Annotated[ListLink | None, El("PrepaymentListLink")] = None
    response_set_list_link: Annotated[ListLink | None, El("ResponseSetListLink")] = None
    tariff_profile_list_link: Annotated[ListLink | None, El("TariffProfileListLink")] = None
    time_link: Annotated[Link | None, El("TimeLink")] = None
    usage_point_list_link: Annotated[ListLink | None, El("UsagePointListLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCapability(FunctionSetAssignmentsBase):
    """The first page: from it a client finds everything else."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    end_device_list_link: Annotated[ListLink | None, El("EndDeviceListLink")] = None
    mirror_usage_point_list_link: Annotated[ListLink | None, El("MirrorUsagePointListLink")] = None
    self_device_link: Annotated[Link | None, El("SelfDeviceLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSetAssignments(FunctionSetAssignmentsBase):
    """What one device is to follow."""

    subscribable: Annotated[UInt8, At("subscribable")] = 0
    mrid: Annotated[Hex128, El("mRID")]
    description: Annotated[Words32 | None, El("description")] = None
    version: Annotated[UInt16 | None, El("version")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSetAssignmentsList(SubscribableList):
    """The assignments of one device."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    function_set_assignments: Annotated[tuple[FunctionSetAssignments, ...], El("FunctionSetAssignments")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstractDevice(SubscribableResource):
    """What every device says of itself: the identifiers of its certificate, and where its rest stands."""

    configuration_link: Annotated[Link | None, El("ConfigurationLink")] = None
    der_list_link: Annotated[ListLink | None, El("DERListLink")] = None
    device_category: Annotated[Bits32 | None, El("deviceCategory")] = None
    device_information_link: Annotated[Link | None, El("DeviceInformationLink")] = None
    device_status_link: Annotated[Link | None, El("DeviceStatusLink")] = None
    file_status_link: Annotated[Link | None, El("FileStatusLink")] = None
    ip_interface_list_link: Annotated[ListLink | None, El("IPInterfaceListLink")] = None
    lfdi: Annotated[Hex160 | None, El("lFDI")] = None
    load_shed_availability_list_link: Annotated[ListLink | None, El("LoadShedAvailabilityListLink")] = None
    log_event_list_link: Annotated[ListLink | None, El("LogEventListLink")] = None
    power_status_link: Annotated[Link | None, El("PowerStatusLink")] = None
    sfdi: Annotated[UInt40, El("sFDI")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDevice(AbstractDevice):
    """A device as the server knows it; ``post_rate`` in seconds is how often it shall report."""

    changed_time: Annotated[Moment, El("changedTime")]
    enabled: Annotated[bool | None, El("enabled")] = None
    flow_reservation_request_list_link: Annotated[ListLink | None, El("FlowReservationRequestListLink")] = (
        None
    )
    flow_reservation_response_list_link: Annotated[ListLink | None, El("FlowReservationResponseListLink")] = (
        None
    )
    function_set_assignments_list_link: Annotated[ListLink | None, El("FunctionSetAssignmentsListLink")] = (
        None
    )
    post_rate: Annotated[UInt32 | None, El("postRate")] = None
    registration_link: Annotated[Link | None, El("RegistrationLink")] = None
    subscription_list_link: Annotated[ListLink | None, El("SubscriptionListLink")] = None
    connection_point_link: Annotated[Link | None, El("ConnectionPointLink", Profile.CSIPAUS12, aus=True)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDeviceList(SubscribableList):
    """The devices one client may see."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    end_device: Annotated[tuple[EndDevice, ...], El("EndDevice")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfDevice(AbstractDevice):
    """The server's own device."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPoint(Resource):
    """Where a site meets the network; in Australia its NMI."""

    SINCE: ClassVar[Profile] = Profile.CSIPAUS12

    connection_point_id: Annotated[Text32, El("connectionPointId", Profile.CSIPAUS12, aus=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Resource):
    """When a device was registered, and the PIN by which it knows that it found the right server."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    date_time_registered: Annotated[Moment, El("dateTimeRegistered")]
    pin: Annotated[Pin, El("pIN")]
