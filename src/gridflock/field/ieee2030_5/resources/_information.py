"""What a device tells of itself beside its measurements: make, status, configuration, log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits32,
    Bits64,
    Hex160,
    Int16,
    Int32,
    Moment,
    PerCent,
    PowerOfTen,
    Text32,
    Text42,
    UInt8,
    UInt16,
    UInt32,
    Words32,
)
from gridflock.field.ieee2030_5.resources._objects import (
    Link,
    List,
    ListLink,
    Resource,
    SubscribableList,
    SubscribableResource,
)
from gridflock.field.ieee2030_5.resources._quantities import ActivePower, RealEnergy
from gridflock.field.ieee2030_5.resources._table import At, El


@dataclass(frozen=True, slots=True, kw_only=True)
class DRLCCapabilities:
    """What a device can do for demand response."""

    average_energy: Annotated[RealEnergy, El("averageEnergy")]
    max_demand: Annotated[ActivePower, El("maxDemand")]
    options_implemented: Annotated[Bits32, El("optionsImplemented")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GPSLocationType:
    """Decimal degrees, as text."""

    lat: Annotated[Text32, El("lat")]
    lon: Annotated[Text32, El("lon")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInformation(Resource):
    """Who made a device and what runs on it."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    drlc_capabilities: Annotated[DRLCCapabilities | None, El("DRLCCapabilities")] = None
    functions_implemented: Annotated[Bits64 | None, El("functionsImplemented")] = None
    gps_location: Annotated[GPSLocationType | None, El("gpsLocation")] = None
    lfdi: Annotated[Hex160, El("lFDI")]
    mf_date: Annotated[Moment, El("mfDate")]
    mf_hw_ver: Annotated[Text32, El("mfHwVer")]
    mf_id: Annotated[UInt32, El("mfID")]
    mf_info: Annotated[Text32 | None, El("mfInfo")] = None
    mf_model: Annotated[Text32, El("mfModel")]
    mf_ser_num: Annotated[Text32, El("mfSerNum")]
    primary_power: Annotated[UInt8, El("primaryPower")]
    secondary_power: Annotated[UInt8, El("secondaryPower")]
    supported_locale_list_link: Annotated[ListLink | None, El("SupportedLocaleListLink")] = None
    sw_act_time: Annotated[Moment, El("swActTime")]
    sw_ver: Annotated[Text32, El("swVer")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedLocale(Resource):
    """One language and region a device speaks."""

    locale: Annotated[Text42, El("locale")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedLocaleList(List):
    """All of them."""

    supported_locale: Annotated[tuple[SupportedLocale, ...], El("SupportedLocale")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """Of what ``subject`` names, in degrees Celsius times ten to the ``multiplier``."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    subject: Annotated[UInt8, El("subject")]
    value: Annotated[Int16, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus(Resource):
    """How long a device runs, how often it was started, how warm it is."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    changed_time: Annotated[Moment, El("changedTime")]
    on_count: Annotated[UInt16 | None, El("onCount")] = None
    op_state: Annotated[UInt8 | None, El("opState")] = None
    op_time: Annotated[UInt32 | None, El("opTime")] = None
    temperature: Annotated[tuple[Temperature, ...], El("Temperature")] = ()
    time_link: Annotated[Link | None, El("TimeLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PEVInfo:
    """What a plugged-in vehicle needs and by when."""

    charging_power_now: Annotated[ActivePower, El("chargingPowerNow")]
    energy_request_now: Annotated[RealEnergy, El("energyRequestNow")]
    max_forward_power: Annotated[ActivePower, El("maxForwardPower")]
    minimum_charging_duration: Annotated[UInt32, El("minimumChargingDuration")]
    target_state_of_charge: Annotated[PerCent, El("targetStateOfCharge")]
    time_charge_is_needed: Annotated[Moment, El("timeChargeIsNeeded")]
    time_charging_status_pev: Annotated[Moment, El("timeChargingStatusPEV")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerStatus(Resource):
    """What a device lives on: mains, battery, a vehicle's."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    battery_status: Annotated[UInt8, El("batteryStatus")]
    changed_time: Annotated[Moment, El("changedTime")]
    current_power_source: Annotated[UInt8, El("currentPowerSource")]
    estimated_charge_remaining: Annotated[PerCent | None, El("estimatedChargeRemaining")] = None
    estimated_time_remaining: Annotated[UInt32 | None, El("estimatedTimeRemaining")] = None
    pev_info: Annotated[PEVInfo | None, El("PEVInfo")] = None
    session_time_on_battery: Annotated[UInt32 | None, El("sessionTimeOnBattery")] = None
    total_time_on_battery: Annotated[UInt32 | None, El("totalTimeOnBattery")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerConfiguration:
    """A device's battery."""

    battery_install_time: Annotated[Moment | None, El("batteryInstallTime")] = None
    low_charge_threshold: Annotated[UInt32 | None, El("lowChargeThreshold")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeConfiguration:
    """A device's local time."""

    dst_end_rule: Annotated[Bits32, El("dstEndRule")]
    dst_offset: Annotated[Int32, El("dstOffset")]
    dst_start_rule: Annotated[Bits32, El("dstStartRule")]
    tz_offset: Annotated[Int32, El("tzOffset")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(SubscribableResource):
    """What may be set on a device."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    current_locale: Annotated[Text42, El("currentLocale")]
    power_configuration: Annotated[PowerConfiguration | None, El("PowerConfiguration")] = None
    price_response_cfg_list_link: Annotated[ListLink | None, El("PriceResponseCfgListLink")] = None
    time_configuration: Annotated[TimeConfiguration | None, El("TimeConfiguration")] = None
    user_device_name: Annotated[Text32, El("userDeviceName")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceResponseCfg(Resource):
    """From which price on a device reacts."""

    consume_threshold: Annotated[Int32, El("consumeThreshold")]
    max_reduction_threshold: Annotated[Int32, El("maxReductionThreshold")]
    rate_component_link: Annotated[Link, El("RateComponentLink")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceResponseCfgList(List):
    """One for each rate component."""

    price_response_cfg: Annotated[tuple[PriceResponseCfg, ...], El("PriceResponseCfg")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent(Resource):
    """Something a device reports, alarms above all; ``function_set`` and ``log_event_code`` say what."""

    created_date_time: Annotated[Moment, El("createdDateTime")]
    details: Annotated[Words32 | None, El("details")] = None
    extended_data: Annotated[UInt32 | None, El("extendedData")] = None
    function_set: Annotated[UInt8, El("functionSet")]
    log_event_code: Annotated[UInt8, El("logEventCode")]
    log_event_id: Annotated[UInt16, El("logEventID")]
    log_event_pen: Annotated[UInt32, El("logEventPEN")]
    profile_id: Annotated[UInt8, El("profileID")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEventList(SubscribableList):
    """A device's reports, latest first."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    log_event: Annotated[tuple[LogEvent, ...], El("LogEvent")] = ()
