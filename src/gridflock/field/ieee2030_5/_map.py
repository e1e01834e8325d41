"""Between the wire and our columns: units, signs, multipliers and codes end here.

Ours: kW, kvar, kWh, per unit of nominal voltage; positive is injection. On the wire: a value times a power of
ten in W, var, Wh, V; a control's power positive is output; a reading counts positive as its type says, to the
customer or from it. What is ordered is rounded towards the safe side: a limit never upwards, a set-point
towards zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gridflock.field.ieee2030_5.events import modes
from gridflock.field.ieee2030_5.resources import (
    AccumulationBehaviour,
    ActivePower,
    CurveData,
    DataQualifier,
    DERCapability,
    DERControlBase,
    DERControlType,
    DERCurve,
    DERCurveType,
    DERSettings,
    DERStatus,
    DERType,
    DERUnitRefType,
    DOEControlType,
    FixedVar,
    FlowDirection,
    FlowReservationRequest,
    OperationalModeStatus,
    PowerStatus,
    Profile,
    QualityFlags,
    ReactivePower,
    ReadingKind,
    ReadingType,
    ResponseStatus,
    RoleFlags,
    SignedRealEnergy,
    Uom,
    VPPControlType,
)
from gridflock.model import OutcomeStatus, Quality

_INT16, _INT48 = 32_767, 2**47
_SECONDARY = 1
"""Electricity as it is metered at customers."""
_HUNDREDTHS = 10_000
_KILO = 1_000.0
_FAR_KW = 1e6
"""Stands for no bound at a connection point."""
_WHOLE = (0, 224, 225)
"""Phase codes of a connection as a whole: not told, ABC, ABCN."""
_MOMENTS = (
    AccumulationBehaviour.NOT_APPLICABLE,
    AccumulationBehaviour.INDICATING,
    AccumulationBehaviour.INSTANTANEOUS,
)
_MADE_UP = QualityFlags.ESTIMATED_FROM_DAY | QualityFlags.INTERPOLATED | QualityFlags.FORECAST


@dataclass(frozen=True, slots=True)
class Plate:
    """A resource as orders to it need to know it.

    Attributes:
        id: our identity of it.
        p_max_kw: largest injection.
        p_min_kw: largest consumption, negative.
        q_max_kvar: largest reactive power either way; 0 where it has none.
        e_max_kwh: usable energy; 0 where it stores none.
        v_nom: nominal voltage of its connection point, V.
    """

    id: str
    p_max_kw: float
    p_min_kw: float
    q_max_kvar: float = 0.0
    e_max_kwh: float = 0.0
    v_nom: float = 240.0


@dataclass(frozen=True, slots=True)
class Able:
    """What a device says it can be told.

    Attributes:
        modes: bits of ``DERControlType`` that it has and that are enabled.
        w_max: rated output, W, to which percentages of output refer.
        w_charge: rated input, W, to which percentages of charging refer.
        var_max: rated reactive power, var.
        profile: what it is spoken to in.
        envelope: bits of ``DOEControlType``: limits of CSIP-AUS that it has and that are enabled.
        virtual: bits of ``VPPControlType``, alike.
    """

    modes: DERControlType
    w_max: float
    w_charge: float
    var_max: float
    profile: Profile
    envelope: int = 0
    virtual: int = 0


# ---- numbers -----------------------------------------------------------------------------------------


def active_power(p_kw: float, *, down: bool = True) -> ActivePower:
    """Power in W with the smallest multiplier that fits, its magnitude rounded down, or up.

    Args:
        p_kw: kW.
        down: the safe side of a limit or set-point is the smaller magnitude.
    """
    multiplier, value = _scaled(p_kw * _KILO, down=down)
    return ActivePower(multiplier=multiplier, value=value)


def reactive_power(q_kvar: float) -> ReactivePower:
    """Reactive power in var, its magnitude rounded down."""
    multiplier, value = _scaled(q_kvar * _KILO, down=True)
    return ReactivePower(multiplier=multiplier, value=value)


def _scaled(value: float, *, down: bool) -> tuple[int, int]:
    """The smallest power of ten from 0 up at which a value fits 16 bits, and its mantissa."""
    size, multiplier = abs(value), 0
    # A thousandth of a unit is noise of the way it was computed, not a reason to round a whole unit.
    whole = math.floor(size + 1e-3) if down else math.ceil(size - 1e-3)
    while whole > _INT16:
        multiplier += 1
        scaled = size / 10**multiplier
        whole = math.floor(scaled + 1e-9) if down else math.ceil(scaled - 1e-9)
    return multiplier, int(math.copysign(whole, value)) if whole else 0


def in_kilo(quantity: Any) -> float:  # noqa: ANN401 - whatever has a value and a multiplier
    """Value times power of ten as thousands of the unit; NaN where there is none."""
    if quantity is None:
        return math.nan
    return float(quantity.value * 10.0**quantity.multiplier) / _KILO


# ---- what a device can be told -----------------------------------------------------------------------


def able(
    capability: DERCapability | None, settings: DERSettings | None, profile: Profile, plate: Plate
) -> Able:
    """What a device can be told: by its settings, else its capability, else its nameplate here.

    A device that has said nothing yet is taken to know limits and set-points of active power.
    """
    modes = DERControlType.MAX_LIM_W | DERControlType.FIXED_W
    envelope, virtual = DOEControlType(0), VPPControlType(0)
    if capability is not None:
        modes = DERControlType(capability.modes_supported)
        envelope = DOEControlType(capability.doe_modes_supported or 0)
        virtual = VPPControlType(capability.vpp_modes_supported or 0)
    if settings is not None:
        modes &= DERControlType(modes if settings.modes_enabled is None else settings.modes_enabled)
        envelope &= DOEControlType(
            envelope if settings.doe_modes_enabled is None else settings.doe_modes_enabled
        )
        virtual &= VPPControlType(
            virtual if settings.vpp_modes_enabled is None else settings.vpp_modes_enabled
        )
    told = settings if settings is not None else capability
    names = ("set_max_w", "set_max_charge_rate_w", "set_max_var")
    if told is capability:
        names = ("rtg_max_w", "rtg_max_charge_rate_w", "rtg_max_var")
    kilo = [in_kilo(getattr(told, name, None)) for name in names]
    charges = -plate.p_min_kw if plate.p_min_kw < 0 else plate.p_max_kw
    own = (plate.p_max_kw if plate.p_max_kw > 0 else charges, charges, plate.q_max_kvar)
    w_max, w_charge, var_max = (
        _KILO * (mine if math.isnan(said) or said <= 0 else said)
        for said, mine in zip(kilo, own, strict=True)
    )
    return Able(modes, w_max, w_charge, var_max, profile, envelope, virtual)


def control_of(p_kw: float, q_kvar: float, plate: Plate, can: Able) -> DERControlBase | None:
    """The modes that make a device do what is ordered; None where it has none that would.

    A generator without storage is limited; whatever charges or draws is given a set-point. Devices that have
    them get the limits and the storage target of CSIP-AUS, in W; others a target in W if they have that mode,
    else a share of their rating. Reactive power that a device has no mode for is left out.

    Args:
        p_kw: ordered active power, injection positive; NaN leaves it to the device.
        q_kvar: ordered reactive power, injection positive; NaN leaves it to the device.
        plate: the resource.
        can: what it can be told.
    """
    base = DERControlBase()
    if not math.isnan(p_kw):
        found = _active(p_kw, plate, can)
        if found is None:
            return None
        base = found
    if not math.isnan(q_kvar):
        if DERControlType.TARGET_VAR in can.modes:
            return replace(base, op_mod_target_var=reactive_power(q_kvar))
        if DERControlType.FIXED_VAR in can.modes and can.var_max > 0:
            share = int(_HUNDREDTHS * max(-1.0, min(1.0, q_kvar * _KILO / can.var_max)))
            return replace(base, op_mod_fixed_var=FixedVar(ref_type=DERUnitRefType.SET_MAX_VAR, value=share))
        return None if math.isnan(p_kw) else base
    return base


def _active(p_kw: float, plate: Plate, can: Able) -> DERControlBase | None:
    if plate.p_min_kw == 0.0 and plate.e_max_kwh == 0.0:
        limited = _limited(max(p_kw, 0.0), can)
        if limited is not None:
            return limited
    elif plate.e_max_kwh > 0.0 and _spoken(
        can, Profile.CSIPAUS13, can.virtual & VPPControlType.STORAGE_TARGET
    ):
        return DERControlBase(op_mod_storage_target_w=active_power(p_kw))
    elif plate.p_max_kw == plate.e_max_kwh == 0.0 and _spoken(
        can, Profile.CSIPAUS12, can.envelope & DOEControlType.LOAD_LIMIT
    ):
        return DERControlBase(op_mod_load_lim_w=active_power(max(-p_kw, 0.0)))
    if DERControlType.TARGET_W in can.modes:
        return DERControlBase(op_mod_target_w=active_power(p_kw))
    rating = can.w_max if p_kw >= 0 else can.w_charge
    if DERControlType.FIXED_W in can.modes and rating > 0:
        share = _share(abs(p_kw), rating)
        return DERControlBase(op_mod_fixed_w=share if p_kw >= 0 else -share)
    return None


def lacks_q(base: DERControlBase, q_kvar: float) -> bool:
    """Whether a control leaves out reactive power that was ordered."""
    ordered = not math.isnan(q_kvar) and q_kvar != 0.0
    return ordered and base.op_mod_target_var is None and base.op_mod_fixed_var is None


def limits_of(
    p_lo_kw: float, p_hi_kw: float, plate: Plate, can: Able, *, at_point: bool = False
) -> DERControlBase | None:
    """The modes that keep a device, or its connection point, within bounds; None where it has none.

    Generation and load limits act on the equipment, export and import limits at the connection point, both in
    W since CSIP-AUS. Whoever has none of these is limited to a share of its rating, which holds for output
    alone; equipment that is held holds its connection point's export too, its import it does not. What the
    nameplate keeps anyway is said as well, so that one device's limits always speak of the same modes.

    Args:
        p_lo_kw: lowest power, injection positive; never above 0 on the wire.
        p_hi_kw: highest; never below 0 on the wire.
        plate: the resource.
        can: what it can be told.
        at_point: the bounds are of the connection point with all that is there.
    """
    base = DERControlBase()
    if plate.p_max_kw > 0 or at_point:
        high = min(p_hi_kw, plate.p_max_kw) if not at_point else min(p_hi_kw, _FAR_KW)
        base = _output_limit(base, max(high, 0.0), can, at_point=at_point)
    if plate.p_min_kw < 0 or at_point:
        low = min(-p_lo_kw, -plate.p_min_kw) if not at_point else min(-p_lo_kw, _FAR_KW)
        base = _draw_limit(base, max(low, 0.0), can, at_point=at_point)
    return base if base != DERControlBase() else None


def freed(base: DERControlBase, beside: DERControlBase, plate: Plate) -> DERControlBase:
    """Limits that speak of the limits of a default as well: what they leave out is no bound."""
    far = active_power(_FAR_KW)
    free = DERControlBase(
        op_mod_exp_lim_w=far,
        op_mod_imp_lim_w=far,
        op_mod_gen_lim_w=active_power(max(plate.p_max_kw, 0.0)),
        op_mod_load_lim_w=active_power(max(-plate.p_min_kw, 0.0)),
        op_mod_max_lim_w=_HUNDREDTHS,
    )
    names = [
        mode for mode in modes(free) if getattr(beside, mode) is not None and getattr(base, mode) is None
    ]
    return replace(base, **{name: getattr(free, name) for name in names})


def _output_limit(base: DERControlBase, p_kw: float, can: Able, *, at_point: bool) -> DERControlBase:
    if at_point and _spoken(can, Profile.CSIPAUS12, can.envelope & DOEControlType.EXPORT_LIMIT):
        return replace(base, op_mod_exp_lim_w=active_power(p_kw))
    limited = _limited(p_kw, can)
    if limited is None:
        return base
    return replace(base, op_mod_gen_lim_w=limited.op_mod_gen_lim_w, op_mod_max_lim_w=limited.op_mod_max_lim_w)


def _draw_limit(base: DERControlBase, p_kw: float, can: Able, *, at_point: bool) -> DERControlBase:
    if at_point and _spoken(can, Profile.CSIPAUS12, can.envelope & DOEControlType.IMPORT_LIMIT):
        return replace(base, op_mod_imp_lim_w=active_power(p_kw))
    if not at_point and _spoken(can, Profile.CSIPAUS12, can.envelope & DOEControlType.LOAD_LIMIT):
        return replace(base, op_mod_load_lim_w=active_power(p_kw))
    return base


def curve_of(kind: DERCurveType, v_pu: Sequence[float], y: Sequence[float]) -> DERCurve:
    """A curve over the voltage; its identifiers are given where it is kept.

    Args:
        kind: volt-var or volt-watt.
        v_pu: voltages of its points, ascending, at most ten.
        y: there, as parts of the largest active power; injection positive.
    """
    points = tuple(
        CurveData(xvalue=round(x * _HUNDREDTHS), yvalue=round(value * _HUNDREDTHS))
        for x, value in zip(v_pu, y, strict=True)
    )
    return DERCurve(
        mrid="00", creation_time=0, curve_data=points, curve_type=kind,
        x_multiplier=-2, y_multiplier=-2, y_ref_type=DERUnitRefType.SET_MAX_W,
    )  # fmt: skip


def _spoken(can: Able, since: Profile, bit: int) -> bool:
    """Whether a mode of a profile is one that the device has, and is spoken to in."""
    return can.profile >= since and bool(bit)


def _limited(p_kw: float, can: Able) -> DERControlBase | None:
    """A limit of generation."""
    if _spoken(can, Profile.CSIPAUS12, can.envelope & DOEControlType.GENERATION_LIMIT):
        return DERControlBase(op_mod_gen_lim_w=active_power(p_kw))
    if DERControlType.MAX_LIM_W in can.modes and can.w_max > 0:
        return DERControlBase(op_mod_max_lim_w=_share(p_kw, can.w_max))
    return None


def _share(p_kw: float, rating_w: float) -> int:
    """Hundredths of a percent of a rating, rounded down."""
    return int(max(0.0, min(1.0, p_kw * _KILO / rating_w)) * _HUNDREDTHS + 1e-6)


def ordered_kw(base: DERControlBase, own_kw: float, plate: Plate, can: Able) -> tuple[float, float]:
    """What a device does under a control: kW and kvar, NaN where it is left alone.

    The inverse of ``control_of``, and of everything else that limits or sets active power.

    Args:
        base: what stands for it.
        own_kw: what it would do by itself.
        plate: the resource.
        can: its ratings.
    """
    if base.op_mod_connect is False or base.op_mod_energize is False:
        return 0.0, math.nan
    wanted_kw, (low, high) = _target(base, can), bounds(base, plate, can)
    free = math.isnan(wanted_kw)
    held = min(max(own_kw if free else wanted_kw, low), high)
    alone = free and (low, high) == (plate.p_min_kw, plate.p_max_kw)
    q_kvar = math.nan if base.op_mod_target_var is None else in_kilo(base.op_mod_target_var)
    if base.op_mod_fixed_var is not None:
        q_kvar = base.op_mod_fixed_var.value / _HUNDREDTHS * can.var_max / _KILO
    return math.nan if alone else held, q_kvar


def _target(base: DERControlBase, can: Able) -> float:
    """The set-point, kW; NaN without one."""
    for target in (base.op_mod_storage_target_w, base.op_mod_target_w):
        if target is not None:
            return in_kilo(target)
    if base.op_mod_fixed_w is None:
        return math.nan
    rating = can.w_max if base.op_mod_fixed_w >= 0 else can.w_charge
    return base.op_mod_fixed_w / _HUNDREDTHS * rating / _KILO


def bounds(base: DERControlBase, plate: Plate, can: Able) -> tuple[float, float]:
    """Lowest and highest power that limits leave, kW."""
    most = [in_kilo(each) for each in (base.op_mod_gen_lim_w, base.op_mod_exp_lim_w)]
    if base.op_mod_max_lim_w is not None:
        most.append(base.op_mod_max_lim_w / _HUNDREDTHS * can.w_max / _KILO)
    least = [-in_kilo(each) for each in (base.op_mod_load_lim_w, base.op_mod_imp_lim_w)]
    high = min([plate.p_max_kw, *(each for each in most if not math.isnan(each))])
    low = max([plate.p_min_kw, *(each for each in least if not math.isnan(each))])
    return low, high


# ---- prices and reservations --------------------------------------------------------------------------


def price_of(price: float, multiplier: int, *, given: bool) -> int:
    """Money per kWh as a price on the wire, which the customer pays: what it is paid is negative."""
    whole = round(price * 10.0**-multiplier)
    return -whole if given else whole


def priced_energy(*, given: bool) -> ReadingType:
    """The quantity that prices are of: kWh to the customer, or from it."""
    return ReadingType(
        commodity=_SECONDARY,
        flow_direction=FlowDirection.REVERSE if given else FlowDirection.FORWARD,
        kind=ReadingKind.ENERGY,
        power_of_ten_multiplier=3,
        uom=Uom.WATT_HOUR,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Energy that a vehicle or store asks for within an interval.

    Attributes:
        start_s: from when on.
        end_s: until when.
        e_kwh: how much; injection positive, so that charging is negative.
        p_kw: at which power, of the same sign.
        least_s: it takes at least so long.
    """

    start_s: int
    end_s: int
    e_kwh: float
    p_kw: float
    least_s: int


def reserved_of(request: FlowReservationRequest) -> Asked:
    """A request in our sign: on the wire charging is positive, and power has the sign of energy or none."""
    e_kwh = -in_kilo(request.energy_requested)
    p_kw = math.copysign(abs(in_kilo(request.power_requested)), e_kwh)
    period = request.interval_requested
    return Asked(period.start, period.start + period.duration, e_kwh, p_kw, request.duration_requested or 0)


def granted_of(e_kwh: float, p_kw: float) -> tuple[SignedRealEnergy, ActivePower]:
    """Energy and power that are granted, as they were asked for: charging is positive, power a magnitude."""
    multiplier, value = 0, round(-e_kwh * _KILO)
    while abs(value) >= _INT48:
        multiplier, value = multiplier + 1, round(value / 10)
    return SignedRealEnergy(multiplier=multiplier, value=value), active_power(abs(p_kw))


def granted_kw(power: ActivePower, energy: SignedRealEnergy) -> float:
    """The power of a grant in our sign."""
    return math.copysign(abs(in_kilo(power)), -energy.value)


# ---- what a device says ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meant:
    """What one series of readings is in our columns.

    Attributes:
        quantity: name of a telemetry column.
        factor: by which a value on the wire becomes a value of that column, sign included.
    """

    quantity: str
    factor: float


def meant(of: ReadingType | None, role_flags: int, plate: Plate) -> Meant | None:
    """What a series of a DER's own meter is; None for a whole site's, or for what we have no column for.

    Args:
        of: the series' type; None was never told.
        role_flags: of the usage point.
        plate: the resource.
    """
    roles = RoleFlags(role_flags)
    of_der = bool(roles & (RoleFlags.DER | RoleFlags.SUBMETER | RoleFlags.PEV))
    if of is None or not of_der or not _plain(of):
        return None
    scale = 10.0 ** (of.power_of_ten_multiplier or 0)
    # What says nothing of its direction counts output positive, as meters of DERs do.
    sign = -1.0 if of.flow_direction == FlowDirection.FORWARD else 1.0
    if of.uom == Uom.WATT:
        return Meant("p_kw", sign * scale / _KILO)
    if of.uom == Uom.VAR:
        return Meant("q_kvar", sign * scale / _KILO)
    if of.uom == Uom.VOLT and plate.v_nom > 0:
        return Meant("v_pu", scale / plate.v_nom)
    return None


def _plain(of: ReadingType) -> bool:
    """Whether a series is of the whole connection, as an average or a moment: no maximum, no one phase."""
    return (
        (of.phase or 0) in _WHOLE
        and (of.data_qualifier or 0) in (DataQualifier.NOT_APPLICABLE, DataQualifier.AVERAGE)
        and (of.accumulation_behaviour or 0) in _MOMENTS
        and (of.kind or 0) in (ReadingKind.NOT_APPLICABLE, ReadingKind.POWER)
    )


def trust(flags: int) -> Quality:
    """Quality flags as our quality; none at all are taken as valid."""
    if flags & QualityFlags.QUESTIONABLE:
        return Quality.SUSPECT
    return Quality.SUBSTITUTED if flags & _MADE_UP else Quality.GOOD


def state_of(status: DERStatus, plate: Plate) -> dict[str, float]:
    """What a status says in our columns: stored energy, and whether the device takes orders."""
    found: dict[str, float] = {}
    if status.state_of_charge_status is not None and plate.e_max_kwh > 0:
        share = min(status.state_of_charge_status.value / _HUNDREDTHS, 1.0)
        found["e_kwh"] = share * plate.e_max_kwh
    mode = status.operational_mode_status
    connected = [each.value for each in (status.gen_connect_status, status.stor_connect_status) if each]
    # Bit 0 connected, bit 4 fault; a device that says neither is taken to be there.
    there = not connected or any(value & 1 and not value & 16 for value in connected)
    local = status.local_control_mode_status
    off = mode is not None and mode.value == OperationalModeStatus.OFF
    found["ready"] = float(there and not off and (local is None or local.value == 1))
    return found


def vehicle_of(power: PowerStatus, e_kwh: float) -> dict[str, float]:
    """What a plugged-in vehicle needs and by when; nothing without one.

    Args:
        power: as told.
        e_kwh: what it holds, where that is told beside; NaN where not: then it counts from what it lacks.
    """
    info = power.pev_info
    if info is None:
        return {}
    needed_kwh = in_kilo(info.energy_request_now)
    leaves = {"depart_s": float(info.time_charge_is_needed)}
    if math.isnan(e_kwh):
        return {"e_kwh": 0.0, "e_target_kwh": needed_kwh, **leaves}
    return {"e_target_kwh": e_kwh + needed_kwh, **leaves}


_STORES = (DERType.OTHER_STORAGE, DERType.ELECTRIC_VEHICLE, DERType.EVSE)


def rated(settings: DERSettings, capability: DERCapability | None) -> dict[str, float]:
    """A device's settings as attributes of the registry; what it does not say is not there."""
    kilo = {
        "p_max_kw": in_kilo(settings.set_max_w),
        "p_min_kw": -in_kilo(settings.set_max_charge_rate_w),
        "s_max_kva": in_kilo(settings.set_max_va),
        "e_max_kwh": in_kilo(settings.set_max_wh),
        "e_reserve_kwh": in_kilo(settings.set_min_wh),
    }
    if capability is not None and capability.type in _STORES:
        # What a store alone gives is what it discharges at; beside a roof it is only part of that.
        discharge_kw = in_kilo(settings.set_max_discharge_rate_w)
        kilo["p_max_kw"] = min(kilo["p_max_kw"], math.inf if math.isnan(discharge_kw) else discharge_kw)
    if capability is not None and capability.type == DERType.EVSE:
        kilo["p_max_kw"] = 0.0 if settings.set_max_discharge_rate_w is None else kilo["p_max_kw"]
    found = {name: value for name, value in kilo.items() if not math.isnan(value)}
    if settings.set_grad_w > 0 and "p_max_kw" in found:
        found["ramp_kw_s"] = settings.set_grad_w / _HUNDREDTHS * max(found["p_max_kw"], 1e-3)
    return found


_OUTCOMES: dict[int, OutcomeStatus] = {
    ResponseStatus.RECEIVED: OutcomeStatus.ACCEPTED,
    ResponseStatus.STARTED: OutcomeStatus.ACCEPTED,
    ResponseStatus.OPTED_OUT: OutcomeStatus.REFUSED,
    ResponseStatus.PARTLY_OPTED_OUT: OutcomeStatus.PARTIAL,
    ResponseStatus.NO_PARTICIPATION: OutcomeStatus.REFUSED,
    ResponseStatus.ABORTED_BY_SERVER: OutcomeStatus.REFUSED,
    ResponseStatus.ABORTED_BY_PROGRAM: OutcomeStatus.REFUSED,
    ResponseStatus.REJECTED_NOT_APPLICABLE: OutcomeStatus.REFUSED,
    ResponseStatus.REJECTED_INVALID: OutcomeStatus.REFUSED,
    ResponseStatus.REJECTED_LATE: OutcomeStatus.EXPIRED,
}


def outcome_of(status: int) -> OutcomeStatus | None:
    """What a response says of an order; None where it says nothing of how it went, as that it is over."""
    return _OUTCOMES.get(status)
