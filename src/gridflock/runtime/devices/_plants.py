"""A simulated device as what stands behind a client of IEEE 2030.5."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5._map import Able, Plate, able, active_power, ordered_kw, reactive_power
from gridflock.field.ieee2030_5.events import Standing
from gridflock.field.ieee2030_5.resources import (
    ApparentPower,
    ConnectStatus,
    ConnectStatusType,
    DateTimeInterval,
    DERAvailability,
    DERCapability,
    DERControlType,
    DERSettings,
    DERStatus,
    DERType,
    FlowDirection,
    LogEvent,
    MirrorMeterReading,
    MirrorUsagePoint,
    OperationalModeStatus,
    OperationalModeStatusType,
    PEVInfo,
    PowerStatus,
    Profile,
    Reading,
    ReadingType,
    RealEnergy,
    RoleFlags,
    StateOfChargeStatusType,
    Uom,
    WattHour,
)
from gridflock.schema import Kind

_TYPES = {
    Kind.PV_ROOFTOP: DERType.PHOTOVOLTAIC,
    Kind.BATTERY_HOME: DERType.OTHER_STORAGE,
    Kind.EV_V1G: DERType.EVSE,
    Kind.EV_V2G: DERType.EVSE,
    Kind.CHP: DERType.COMBINED_HEAT_AND_POWER,
    Kind.GENSET: DERType.RECIPROCATING_ENGINE,
}
_VEHICLES = (Kind.EV_V1G, Kind.EV_V2G)
_HUNDREDTHS = 10_000
_KILO = 1_000.0
_ON_MAINS = 1
_PERIOD_S = 60
_ROLES = RoleFlags.MIRROR | RoleFlags.DER | RoleFlags.SUBMETER
_SERIES = {
    "p_kw": ReadingType(uom=Uom.WATT, flow_direction=FlowDirection.REVERSE, power_of_ten_multiplier=0),
    "q_kvar": ReadingType(uom=Uom.VAR, flow_direction=FlowDirection.REVERSE, power_of_ten_multiplier=0),
    "v_pu": ReadingType(uom=Uom.VOLT, power_of_ten_multiplier=-1),
}


@dataclass(slots=True)
class Simulated:
    """One simulated resource that speaks.

    Attributes:
        plate: its nameplate.
        kind: what it is.
        seen: newest value of each telemetry column, as it measures them itself.
        asked: what it was told to do, kW and kvar, NaN where it is left alone.
        until_s: before this moment nothing else is asked of it.
        cannot: modes it refuses.
    """

    plate: Plate
    kind: Kind
    seen: dict[str, float] = field(default_factory=dict)
    asked: tuple[float, float] = (math.nan, math.nan)
    until_s: int | None = None
    cannot: frozenset[str] = frozenset()
    _read_s: int = -1

    def capability(self) -> DERCapability:
        """Its nameplate."""
        plate = self.plate
        modes = DERControlType.MAX_LIM_W | DERControlType.FIXED_W | DERControlType.TARGET_W
        if plate.q_max_kvar > 0:
            modes |= DERControlType.TARGET_VAR | DERControlType.FIXED_VAR
        if plate.e_max_kwh > 0:
            modes |= DERControlType.CHARGE
            modes |= DERControlType.DISCHARGE if plate.p_max_kw > 0 else DERControlType(0)
        charges = plate.p_min_kw < 0
        return DERCapability(
            modes_supported=modes,
            rtg_max_w=active_power(plate.p_max_kw),
            rtg_max_charge_rate_w=active_power(-plate.p_min_kw) if charges else None,
            rtg_max_var=reactive_power(plate.q_max_kvar) if plate.q_max_kvar > 0 else None,
            rtg_max_wh=_watt_hours(plate.e_max_kwh),
            type=_TYPES.get(self.kind, DERType.OTHER_GENERATION),
        )

    def settings(self, now_s: int) -> DERSettings:
        """As built."""
        plate = self.plate
        rated_kva = math.hypot(max(plate.p_max_kw, -plate.p_min_kw), plate.q_max_kvar)
        whole = active_power(rated_kva)
        return DERSettings(
            set_grad_w=_HUNDREDTHS // 100,
            set_max_w=active_power(plate.p_max_kw),
            set_max_charge_rate_w=active_power(-plate.p_min_kw) if plate.p_min_kw < 0 else None,
            set_max_va=ApparentPower(multiplier=whole.multiplier, value=whole.value),
            set_max_var=reactive_power(plate.q_max_kvar) if plate.q_max_kvar > 0 else None,
            set_max_wh=_watt_hours(plate.e_max_kwh),
            updated_time=now_s,
        )

    def status(self, now_s: int) -> DERStatus:
        """Connected and operating, unless it takes no orders now; how full it is."""
        there = self.seen.get("ready", 1.0) >= 1.0
        bits = ConnectStatus.CONNECTED | ConnectStatus.OPERATING if there else ConnectStatus(0)
        mode = OperationalModeStatus.OPERATIONAL if there else OperationalModeStatus.OFF
        stored, most = self.seen.get("e_kwh", math.nan), self.plate.e_max_kwh
        charge = None
        if most > 0 and math.isfinite(stored):
            share = min(max(stored / most, 0.0), 1.0)
            charge = StateOfChargeStatusType(date_time=now_s, value=round(share * _HUNDREDTHS))
        return DERStatus(
            gen_connect_status=ConnectStatusType(date_time=now_s, value=bits),
            operational_mode_status=OperationalModeStatusType(date_time=now_s, value=mode),
            reading_time=now_s,
            state_of_charge_status=charge,
        )

    def availability(self, now_s: int) -> DERAvailability | None:
        """How much more it would give by itself than it does."""
        more_kw = self.seen.get("p_avail_kw", math.nan) - self.seen.get("p_kw", math.nan)
        if math.isnan(more_kw):
            return None
        return DERAvailability(reading_time=now_s, stat_w_avail=active_power(more_kw))

    def power(self, now_s: int) -> PowerStatus | None:
        """What a vehicle that is there needs."""
        target, leaves_s = self.seen.get("e_target_kwh", math.nan), self.seen.get("depart_s", -1.0)
        there = self.seen.get("ready", 0.0) >= 1.0
        if self.kind not in _VEHICLES or not there or math.isnan(target) or leaves_s < 0:
            return None
        needed = max(target - self.seen.get("e_kwh", 0.0), 0.0)
        forward_w = active_power(-self.plate.p_min_kw)
        hours = needed / -self.plate.p_min_kw if self.plate.p_min_kw < 0 else 0.0
        info = PEVInfo(
            charging_power_now=active_power(max(-self.seen.get("p_kw", 0.0), 0.0)),
            energy_request_now=RealEnergy(multiplier=0, value=round(needed * _KILO)),
            max_forward_power=forward_w,
            minimum_charging_duration=round(3_600 * hours),
            target_state_of_charge=_HUNDREDTHS,
            time_charge_is_needed=int(leaves_s),
            time_charging_status_pev=now_s,
        )
        return PowerStatus(
            battery_status=0, changed_time=now_s, current_power_source=_ON_MAINS, pev_info=info
        )

    def places(self) -> list[MirrorUsagePoint]:
        """One meter of its own: active and reactive power, voltage."""
        series = tuple(
            MirrorMeterReading(mrid=self._mrid(name), reading_type=of) for name, of in _SERIES.items()
        )
        return [
            MirrorUsagePoint(
                mrid=self._mrid("meter"),
                role_flags=_ROLES,
                service_category_kind=0,
                status=1,
                device_lfdi="00",
                mirror_meter_reading=series,
            )
        ]

    def readings(self, now_s: int) -> list[MirrorMeterReading]:
        """What its meter says of the minute that has just passed."""
        start_s = now_s - now_s % _PERIOD_S - _PERIOD_S
        if start_s <= self._read_s:
            return []
        self._read_s = start_s
        factors = {"p_kw": _KILO, "q_kvar": _KILO, "v_pu": 10.0 * self.plate.v_nom}
        period = DateTimeInterval(start=start_s, duration=_PERIOD_S)
        return [
            MirrorMeterReading(
                mrid=self._mrid(name),
                reading=Reading(time_period=period, value=round(factor * self.seen[name])),
            )
            for name, factor in factors.items()
            if math.isfinite(self.seen.get(name, math.nan))
        ]

    def log(self, _now_s: int) -> list[LogEvent]:
        """Nothing ever happens to it."""
        return []

    def obey(self, standing: Standing, _now_s: int) -> frozenset[str]:
        """Do as it is told, within its nameplate."""
        own_kw = self.seen.get("p_avail_kw", self.seen.get("p_kw", 0.0))
        self.asked = ordered_kw(standing.base, own_kw, self.plate, self.able)
        self.until_s = standing.until_s
        return self.cannot

    def waits(self) -> bool:
        """Nobody has to agree."""
        return False

    @property
    def able(self) -> Able:
        """What it can be told."""
        return able(self.capability(), self.settings(0), Profile.SEP2018, self.plate)

    def _mrid(self, what: str) -> str:
        return hashlib.sha256(f"{self.plate.id}/{what}".encode()).hexdigest()[:32].upper()


def _watt_hours(e_kwh: float) -> WattHour | None:
    if e_kwh <= 0:
        return None
    value, multiplier = round(e_kwh * _KILO), 0
    while value > 2**16 - 1:
        value, multiplier = round(value / 10), multiplier + 1
    return WattHour(multiplier=multiplier, value=value)
