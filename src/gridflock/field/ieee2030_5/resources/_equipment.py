"""What a DER is, how it is set, and how it is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits8,
    Bits32,
    Int16,
    Moment,
    PerCent,
    Text6,
    UInt8,
    UInt16,
    UInt32,
)
from gridflock.field.ieee2030_5.resources._objects import Link, List, ListLink, Resource, SubscribableResource
from gridflock.field.ieee2030_5.resources._quantities import (
    ActivePower,
    AmpereHour,
    ApparentPower,
    CurrentRMS,
    PowerFactor,
    ReactivePower,
    ReactiveSusceptance,
    VoltageRMS,
    WattHour,
)
from gridflock.field.ieee2030_5.resources._table import At, El, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class DER(SubscribableResource):
    """One DER of an end device, and where its parts stand."""

    associated_der_program_list_link: Annotated[ListLink | None, El("AssociatedDERProgramListLink")] = None
    associated_usage_point_link: Annotated[Link | None, El("AssociatedUsagePointLink")] = None
    current_der_program_link: Annotated[Link | None, El("CurrentDERProgramLink")] = None
    der_availability_link: Annotated[Link | None, El("DERAvailabilityLink")] = None
    der_capability_link: Annotated[Link | None, El("DERCapabilityLink")] = None
    der_settings_link: Annotated[Link | None, El("DERSettingsLink")] = None
    der_status_link: Annotated[Link | None, El("DERStatusLink")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DERList(List):
    """The DERs of one end device."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    der: Annotated[tuple[DER, ...], El("DER")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DERCapability(Resource):
    """Nameplate ratings, and the modes that are built in."""

    modes_supported: Annotated[Bits32, El("modesSupported")]
    rtg_abnormal_category: Annotated[UInt8 | None, El("rtgAbnormalCategory")] = None
    rtg_max_a: Annotated[CurrentRMS | None, El("rtgMaxA")] = None
    rtg_max_ah: Annotated[AmpereHour | None, El("rtgMaxAh")] = None
    rtg_max_charge_rate_va: Annotated[ApparentPower | None, El("rtgMaxChargeRateVA")] = None
    rtg_max_charge_rate_w: Annotated[ActivePower | None, El("rtgMaxChargeRateW")] = None
    rtg_max_discharge_rate_va: Annotated[ApparentPower | None, El("rtgMaxDischargeRateVA")] = None
    rtg_max_discharge_rate_w: Annotated[ActivePower | None, El("rtgMaxDischargeRateW")] = None
    rtg_max_v: Annotated[VoltageRMS | None, El("rtgMaxV")] = None
    rtg_max_va: Annotated[ApparentPower | None, El("rtgMaxVA")] = None
    rtg_max_var: Annotated[ReactivePower | None, El("rtgMaxVar")] = None
    rtg_max_var_neg: Annotated[ReactivePower | None, El("rtgMaxVarNeg")] = None
    rtg_max_w: Annotated[ActivePower, El("rtgMaxW")]
    rtg_max_wh: Annotated[WattHour | None, El("rtgMaxWh")] = None
    rtg_min_pf_over_excited: Annotated[PowerFactor | None, El("rtgMinPFOverExcited")] = None
    rtg_min_pf_under_excited: Annotated[PowerFactor | None, El("rtgMinPFUnderExcited")] = None
    rtg_min_v: Annotated[VoltageRMS | None, El("rtgMinV")] = None
    rtg_normal_category: Annotated[UInt8 | None, El("rtgNormalCategory")] = None
    rtg_over_excited_pf: Annotated[PowerFactor | None, El("rtgOverExcitedPF")] = None
    rtg_over_excited_w: Annotated[ActivePower | None, El("rtgOverExcitedW")] = None
    rtg_reactive_susceptance: Annotated[ReactiveSusceptance | None, El("rtgReactiveSusceptance")] = None
    rtg_under_excited_pf: Annotated[PowerFactor | None, El("rtgUnderExcitedPF")] = None
    rtg_under_excited_w: Annotated[ActivePower | None, El("rtgUnderExcitedW")] = None
    rtg_v_nom: Annotated[VoltageRMS | None, El("rtgVNom")] = None
    type: Annotated[UInt8, El("type")]
    doe_modes_supported: Annotated[
        Bits8 | None, El("doeModesSupported", Profile.CSIPAUS12, aus=True, required=True, unsaid=0)
    ] = None
    vpp_modes_supported: Annotated[Bits8 | None, El("vppModesSupported", Profile.CSIPAUS13, aus=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DERSettings(SubscribableResource):
    """What holds in operation: ratings as set, and the modes that are enabled.

    Units as in ``DefaultDERControl``; ``set_min_wh`` is the stored energy that is held back.
    """

    modes_enabled: Annotated[Bits32 | None, El("modesEnabled")] = None
    set_es_delay: Annotated[UInt32 | None, El("setESDelay")] = None
    set_es_high_freq: Annotated[UInt16 | None, El("setESHighFreq")] = None
    set_es_high_volt: Annotated[Int16 | None, El("setESHighVolt")] = None
    set_es_low_freq: Annotated[UInt16 | None, El("setESLowFreq")] = None
    set_es_low_volt: Annotated[Int16 | None, El("setESLowVolt")] = None
    set_es_ramp_tms: Annotated[UInt32 | None, El("setESRampTms")] = None
    set_es_random_delay: Annotated[UInt32 | None, El("setESRandomDelay")] = None
    set_grad_w: Annotated[UInt16, El("setGradW")]
    set_max_a: Annotated[CurrentRMS | None, El("setMaxA")] = None
    set_max_ah: Annotated[AmpereHour | None, El("setMaxAh")] = None
    set_max_charge_rate_va: Annotated[ApparentPower | None, El("setMaxChargeRateVA")] = None
    set_max_charge_rate_w: Annotated[ActivePower | None, El("setMaxChargeRateW")] = None
    set_max_discharge_rate_va: Annotated[ApparentPower | None, El("setMaxDischargeRateVA")] = None
    set_max_discharge_rate_w: Annotated[ActivePower | None, El("setMaxDischargeRateW")] = None
    set_max_v: Annotated[VoltageRMS | None, El("setMaxV")] = None
    set_max_va: Annotated[ApparentPower | None, El("setMaxVA")] = None
    set_max_var: Annotated[ReactivePower | None, El("setMaxVar")] = None
    set_max_var_neg: Annotated[ReactivePower | None, El("setMaxVarNeg")] = None
    set_max_w: Annotated[ActivePower, El("setMaxW")]
    set_max_wh: Annotated[WattHour | None, El("setMaxWh")] = None
    set_min_pf_over_excited: Annotated[PowerFactor | None, El("setMinPFOverExcited")] = None
    set_min_pf_under_excited: Annotated[PowerFactor | None, El("setMinPFUnderExcited")] = None
    set_min_v: Annotated[VoltageRMS | None, El("setMinV")] = None
    set_soft_grad_w: Annotated[UInt16 | None, El("setSoftGradW")] = None
    set_v_nom: Annotated[VoltageRMS | None, El("setVNom")] = None
    set_v_ref: Annotated[VoltageRMS | None, El("setVRef")] = None
    set_v_ref_ofs: Annotated[VoltageRMS | None, El("setVRefOfs")] = None
    updated_time: Annotated[Moment, El("updatedTime")]
    doe_modes_enabled: Annotated[Bits8 | None, El("doeModesEnabled", Profile.CSIPAUS12, aus=True)] = None
    vpp_modes_enabled: Annotated[Bits8 | None, El("vppModesEnabled", Profile.CSIPAUS13, aus=True)] = None
    set_min_wh: Annotated[WattHour | None, El("setMinWh", Profile.CSIPAUS13, aus=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedStatus:
    """A code and when it was taken."""

    date_time: Annotated[Moment, El("dateTime")]
    value: Annotated[UInt8, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectStatusType:
    """Bits of ``ConnectStatus``."""

    date_time: Annotated[Moment, El("dateTime")]
    value: Annotated[Bits8, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InverterStatusType(CodedStatus):
    """One of ``InverterStatus``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalControlModeStatusType(CodedStatus):
    """0 local, 1 remote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManufacturerStatusType:
    """A code of the maker's own."""

    date_time: Annotated[Moment, El("dateTime")]
    value: Annotated[Text6, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationalModeStatusType(CodedStatus):
    """One of ``OperationalModeStatus``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOfChargeStatusType:
    """Hundredths of a percent of the usable energy."""

    date_time: Annotated[Moment, El("dateTime")]
    value: Annotated[PerCent, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageModeStatusType(CodedStatus):
    """One of ``StorageModeStatus``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DERStatus(SubscribableResource):
    """How a DER is now: connected, running, charging, alarmed (bits of ``AlarmStatus``)."""

    alarm_status: Annotated[Bits32 | None, El("alarmStatus")] = None
    gen_connect_status: Annotated[ConnectStatusType | None, El("genConnectStatus")] = None
    inverter_status: Annotated[InverterStatusType | None, El("inverterStatus")] = None
    local_control_mode_status: Annotated[LocalControlModeStatusType | None, El("localControlModeStatus")] = (
        None
    )
    manufacturer_status: Annotated[ManufacturerStatusType | None, El("manufacturerStatus")] = None
    operational_mode_status: Annotated[OperationalModeStatusType | None, El("operationalModeStatus")] = None
    reading_time: Annotated[Moment, El("readingTime")]
    state_of_charge_status: Annotated[StateOfChargeStatusType | None, El("stateOfChargeStatus")] = None
    storage_mode_status: Annotated[StorageModeStatusType | None, El("storageModeStatus")] = None
    stor_connect_status: Annotated[ConnectStatusType | None, El("storConnectStatus")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DERAvailability(SubscribableResource):
    """What a DER could still give or take, and for how many seconds."""

    availability_duration: Annotated[UInt32 | None, El("availabilityDuration")] = None
    max_charge_duration: Annotated[UInt32 | None, El("maxChargeDuration")] = None
    reading_time: Annotated[Moment, El("readingTime")]
    reserve_charge_percent: Annotated[PerCent | None, El("reserveChargePercent")] = None
    reserve_percent: Annotated[PerCent | None, El("reservePercent")] = None
    stat_var_avail: Annotated[ReactivePower | None, El("statVarAvail")] = None
    stat_w_avail: Annotated[ActivePower | None, El("statWAvail")] = None
