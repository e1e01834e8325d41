"""Readings: what a client posts of its meters, and what a server shows of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits16,
    Hex160,
    Int48,
    Moment,
    PowerOfTen,
    UInt8,
    UInt32,
    UInt48,
)
from gridflock.field.ieee2030_5.resources._objects import (
    DateTimeInterval,
    IdentifiedObject,
    Link,
    List,
    ListLink,
    Resource,
    SubscribableList,
    UnitValueType,
)
from gridflock.field.ieee2030_5.resources._table import At, El


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingType(Resource):
    """What a series of readings measures, in which unit, averaged how, over how long."""

    accumulation_behaviour: Annotated[UInt8 | None, El("accumulationBehaviour")] = None
    calorific_value: Annotated[UnitValueType | None, El("calorificValue")] = None
    commodity: Annotated[UInt8 | None, El("commodity")] = None
    conversion_factor: Annotated[UnitValueType | None, El("conversionFactor")] = None
    data_qualifier: Annotated[UInt8 | None, El("dataQualifier")] = None
    flow_direction: Annotated[UInt8 | None, El("flowDirection")] = None
    interval_length: Annotated[UInt32 | None, El("intervalLength")] = None
    kind: Annotated[UInt8 | None, El("kind")] = None
    max_number_of_intervals: Annotated[UInt8 | None, El("maxNumberOfIntervals")] = None
    number_of_consumption_blocks: Annotated[UInt8 | None, El("numberOfConsumptionBlocks")] = None
    number_of_tou_tiers: Annotated[UInt8 | None, El("numberOfTouTiers")] = None
    phase: Annotated[UInt8 | None, El("phase")] = None
    power_of_ten_multiplier: Annotated[PowerOfTen | None, El("powerOfTenMultiplier")] = None
    sub_interval_length: Annotated[UInt32 | None, El("subIntervalLength")] = None
    supply_limit: Annotated[UInt48 | None, El("supplyLimit")] = None
    tiered_consumption_blocks: Annotated[bool | None, El("tieredConsumptionBlocks")] = None
    uom: Annotated[UInt8 | None, El("uom")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Resource):
    """One value for one period."""

    subscribable: Annotated[UInt8, At("subscribable")] = 0
    consumption_block: Annotated[UInt8 | None, El("consumptionBlock")] = None
    quality_flags: Annotated[Bits16 | None, El("qualityFlags")] = None
    time_period: Annotated[DateTimeInterval | None, El("timePeriod")] = None
    tou_tier: Annotated[UInt8 | None, El("touTier")] = None
    value: Annotated[Int48 | None, El("value")] = None
    local_id: Annotated[Bits16 | None, El("localID")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingList(SubscribableList):
    """The readings of one set."""

    reading: Annotated[tuple[Reading, ...], El("Reading")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSetBase(IdentifiedObject):
    """A set of readings for one period."""

    time_period: Annotated[DateTimeInterval, El("timePeriod")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSet(ReadingSetBase):
    """A set of readings, which stand behind a link."""

    reading_list_link: Annotated[ListLink | None, El("ReadingListLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingSetList(SubscribableList):
    """The sets of one meter reading."""

    reading_set: Annotated[tuple[ReadingSet, ...], El("ReadingSet")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading(IdentifiedObject):
    """One measured series behind links."""

    rate_component_list_link: Annotated[ListLink | None, El("RateComponentListLink")] = None
    reading_link: Annotated[Link | None, El("ReadingLink")] = None
    reading_set_list_link: Annotated[ListLink | None, El("ReadingSetListLink")] = None
    reading_type_link: Annotated[Link, El("ReadingTypeLink")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReadingList(SubscribableList):
    """The series of one usage point."""

    meter_reading: Annotated[tuple[MeterReading, ...], El("MeterReading")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePointBase(IdentifiedObject):
    """A place that is metered; bits of ``RoleFlags`` say which."""

    role_flags: Annotated[Bits16, El("roleFlags")]
    service_category_kind: Annotated[UInt8, El("serviceCategoryKind")]
    status: Annotated[UInt8, El("status")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePoint(UsagePointBase):
    """A metered place whose series stand behind a link."""

    device_lfdi: Annotated[Hex160 | None, El("deviceLFDI")] = None
    meter_reading_list_link: Annotated[ListLink | None, El("MeterReadingListLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePointList(SubscribableList):
    """The metered places somebody may see."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    usage_point: Annotated[tuple[UsagePoint, ...], El("UsagePoint")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReadingSet(ReadingSetBase):
    """Readings of one period, posted together."""

    reading: Annotated[tuple[Reading, ...], El("Reading")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorMeterReading(IdentifiedObject):
    """A series a client posts: its type once, then readings, singly or in sets."""

    last_update_time: Annotated[Moment | None, El("lastUpdateTime")] = None
    mirror_reading_set: Annotated[tuple[MirrorReadingSet, ...], El("MirrorReadingSet")] = ()
    next_update_time: Annotated[Moment | None, El("nextUpdateTime")] = None
    reading: Annotated[Reading | None, El("Reading")] = None
    reading_type: Annotated[ReadingType | None, El("ReadingType")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorMeterReadingList(List):
    """Several series posted at once."""

    mirror_meter_reading: Annotated[tuple[MirrorMeterReading, ...], El("MirrorMeterReading")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorUsagePoint(UsagePointBase):
    """A metered place a client reports on; ``post_rate`` in seconds is how often it shall."""

    device_lfdi: Annotated[Hex160, El("deviceLFDI")]
    mirror_meter_reading: Annotated[tuple[MirrorMeterReading, ...], El("MirrorMeterReading")] = ()
    post_rate: Annotated[UInt32 | None, El("postRate")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorUsagePointList(List):
    """The places one client reports on."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    mirror_usage_point: Annotated[tuple[MirrorUsagePoint, ...], El("MirrorUsagePoint")] = ()
