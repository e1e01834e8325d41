"""What devices are told: programs, controls, defaults, curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits32,
    Int16,
    Int32,
    Moment,
    PerCent,
    PowerOfTen,
    SignedPerCent,
    UInt8,
    UInt16,
    UInt32,
)
from gridflock.field.ieee2030_5.resources._objects import (
    IdentifiedObject,
    Link,
    List,
    ListLink,
    RandomizableEvent,
    SubscribableIdentifiedObject,
    SubscribableList,
)
from gridflock.field.ieee2030_5.resources._quantities import (
    ActivePower,
    FixedVar,
    PowerFactorWithExcitation,
    ReactivePower,
)
from gridflock.field.ieee2030_5.resources._table import At, El, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class FreqDroopType:
    """Frequency droop: dead bands in mHz, slopes, open-loop response in hundredths of a second."""

    dbof: Annotated[UInt32, El("dBOF")]
    dbuf: Annotated[UInt32, El("dBUF")]
    kof: Annotated[UInt16, El("kOF")]
    kuf: Annotated[UInt16, El("kUF")]
    open_loop_tms: Annotated[UInt16, El("openLoopTms")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DERControlBase:
    """What a control sets; ``None`` leaves a mode alone.

    ``op_mod_fixed_w`` positive is output; the limits since CSIP-AUS are magnitudes in W, those of import and
    export at the connection point; ``op_mod_storage_target_w`` positive is discharge. ``ramp_tms`` is in
    hundredths of a second.
    """

    op_mod_connect: Annotated[bool | None, El("opModConnect")] = None
    op_mod_energize: Annotated[bool | None, El("opModEnergize")] = None
    op_mod_fixed_pf_absorb_w: Annotated[PowerFactorWithExcitation | None, El("opModFixedPFAbsorbW")] = None
    op_mod_fixed_pf_inject_w: Annotated[PowerFactorWithExcitation | None, El("opModFixedPFInjectW")] = None
    op_mod_fixed_var: Annotated[FixedVar | None, El("opModFixedVar")] = None
    op_mod_fixed_w: Annotated[SignedPerCent | None, El("opModFixedW")] = None
    op_mod_freq_droop: Annotated[FreqDroopType | None, El("opModFreqDroop")] = None
    op_mod_freq_watt: Annotated[Link | None, El("opModFreqWatt")] = None
    op_mod_hfrt_may_trip: Annotated[Link | None, El("opModHFRTMayTrip")] = None
    op_mod_hfrt_must_trip: Annotated[Link | None, El("opModHFRTMustTrip")] = None
    op_mod_hvrt_may_trip: Annotated[Link | None, El("opModHVRTMayTrip")] = None
    op_mod_hvrt_momentary_cessation: Annotated[Link | None, El("opModHVRTMomentaryCessation")] = None
    op_mod_hvrt_must_trip: Annotated[Link | None, El("opModHVRTMustTrip")] = None
    op_mod_lfrt_may_trip: Annotated[Link | None, El("opModLFRTMayTrip")] = None
    op_mod_lfrt_must_trip: Annotated[Link | None, El("opModLFRTMustTrip")] = None
    op_mod_lvrt_may_trip: Annotated[Link | None, El("opModLVRTMayTrip")] = None
    op_mod_lvrt_momentary_cessation: Annotated[Link | None, El("opModLVRTMomentaryCessation")] = None
    op_mod_lvrt_must_trip: Annotated[Link | None, El("opModLVRTMustTrip")] = None
    op_mod_max_lim_w: Annotated[PerCent | None, El("opModMaxLimW")] = None
    op_mod_target_var: Annotated[ReactivePower | None, El("opModTargetVar")] = None
    op_mod_target_w: Annotated[ActivePower | None, El("opModTargetW")] = None
    op_mod_volt_var: Annotated[Link | None, El("opModVoltVar")] = None
    op_mod_volt_watt: Annotated[Link | None, El("opModVoltWatt")] = None
    op_mod_watt_pf: Annotated[Link | None, El("opModWattPF")] = None
    op_mod_watt_var: Annotated[Link | None, El("opModWattVar")] = None
    ramp_tms: Annotated[UInt16 | None, El("rampTms")] = None
    op_mod_imp_lim_w: Annotated[ActivePower | None, El("opModImpLimW", Profile.CSIPAUS12, aus=True)] = None
    op_mod_exp_lim_w: Annotated[ActivePower | None, El("opModExpLimW", Profile.CSIPAUS12, aus=True)] = None
    op_mod_gen_lim_w: Annotated[ActivePower | None, El("opModGenLimW", Profile.CSIPAUS12, aus=True)] = None
    op_mod_load_lim_w: Annotated[ActivePower | None, El("opModLoadLimW", Profile.CSIPAUS12, aus=True)] = None
    op_mod_storage_target_w: Annotated[
        ActivePower | None, El("opModStorageTargetW", Profile.CSIPAUS13, aus=True)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DERControl(RandomizableEvent):
    """What a program's devices shall do for a time; only those of ``device_category``, if it is given."""

    der_control_base: Annotated[DERControlBase, El("DERControlBase")]
    device_category: Annotated[Bits32 | None, El("deviceCategory")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DERControlList(SubscribableList):
    """The controls of one program."""

    der_control: Annotated[tuple[DERControl, ...], El("DERControl")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultDERControl(SubscribableIdentifiedObject):
    """What holds while no control does, and when a device may enter service.

    Ramps ``set_grad_w`` and ``set_soft_grad_w`` are hundredths of a percent of the rating per second; of the
    enter-service group, delays and ramp are hundredths of a second, frequencies hundredths of a hertz,
    voltages hundredths of a percent.
    """

    der_control_base: Annotated[DERControlBase, El("DERControlBase")]
    set_es_delay: Annotated[UInt32 | None, El("setESDelay")] = None
    set_es_high_freq: Annotated[UInt16 | None, El("setESHighFreq")] = None
    set_es_high_volt: Annotated[Int16 | None, El("setESHighVolt")] = None
    set_es_low_freq: Annotated[UInt16 | None, El("setESLowFreq")] = None
    set_es_low_volt: Annotated[Int16 | None, El("setESLowVolt")] = None
    set_es_ramp_tms: Annotated[UInt32 | None, El("setESRampTms")] = None
    set_es_random_delay: Annotated[UInt32 | None, El("setESRandomDelay")] = None
    set_grad_w: Annotated[UInt16 | None, El("setGradW")] = None
    set_soft_grad_w: Annotated[UInt16 | None, El("setSoftGradW")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveData:
    """One point of a curve."""

    excitation: Annotated[bool | None, El("excitation")] = None
    xvalue: Annotated[Int32, El("xvalue")]
    yvalue: Annotated[Int32, El("yvalue")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DERCurve(IdentifiedObject):
    """A curve: points times ten to the multipliers, y as a part of what ``y_ref_type`` names."""

    autonomous_v_ref_enable: Annotated[bool | None, El("autonomousVRefEnable")] = None
    autonomous_v_ref_time_constant: Annotated[UInt32 | None, El("autonomousVRefTimeConstant")] = None
    creation_time: Annotated[Moment, El("creationTime")]
    curve_data: Annotated[tuple[CurveData, ...], El("CurveData", least=1, most=10)]
    curve_type: Annotated[UInt8, El("curveType")]
    open_loop_tms: Annotated[UInt16 | None, El("openLoopTms")] = None
    ramp_dec_tms: Annotated[UInt16 | None, El("rampDecTms")] = None
    ramp_inc_tms: Annotated[UInt16 | None, El("rampIncTms")] = None
    ramp_pt1_tms: Annotated[UInt16 | None, El("rampPT1Tms")] = None
    v_ref: Annotated[PerCent | None, El("vRef")] = None
    x_multiplier: Annotated[PowerOfTen, El("xMultiplier")]
    y_multiplier: Annotated[PowerOfTen, El("yMultiplier")]
    y_ref_type: Annotated[UInt8, El("yRefType")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DERCurveList(List):
    """The curves of one program."""

    der_curve: Annotated[tuple[DERCurve, ...], El("DERCurve")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DERProgram(SubscribableIdentifiedObject):
    """Controls, default and curves of one group; the lower ``primacy`` wins."""

    active_der_control_list_link: Annotated[ListLink | None, El("ActiveDERControlListLink")] = None
    default_der_control_link: Annotated[Link | None, El("DefaultDERControlLink")] = None
    der_control_list_link: Annotated[ListLink | None, El("DERControlListLink")] = None
    der_curve_list_link: Annotated[ListLink | None, El("DERCurveListLink")] = None
    primacy: Annotated[UInt8, El("primacy")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DERProgramList(SubscribableList):
    """The programs of one assignment."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    der_program: Annotated[tuple[DERProgram, ...], El("DERProgram")] = ()
