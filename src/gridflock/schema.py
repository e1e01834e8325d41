"""The attribute table: every column of every resource, once.

One row here makes a column of the fleet's arrays, a field of the registry file, a field of the
REST answer, a rule for bad input and a line of ``docs/attributes.md``. Nothing else states a
unit, a range or a default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class Kind(IntEnum):
    """What a resource is. The order is the fleet's sort order and the wire code."""

    PV_ROOFTOP = 0
    PV_COMMUNITY = 1
    WIND = 2
    BATTERY_HOME = 3
    BATTERY_COMMERCIAL = 4
    EV_V1G = 5
    EV_V2G = 6
    EV_V2H = 7
    EVSE = 8
    CHP = 9
    TRIGENERATION = 10
    GENSET = 11
    CURTAILABLE = 12
    THERMOSTAT = 13
    HEAT_PUMP = 14
    WATER_HEATER = 15
    LOAD = 16
    """Metered demand that takes no orders: in the registry so that groups and estimates see it."""
    FEEDER_HEAD = 17
    """SCADA at the feeder head, one row per phase; positive towards the source (house sign)."""


class Family(IntEnum):
    """How a kind behaves towards an order: the class the plan and the split reason about."""

    RENEWABLE = 0
    """Can only be held below what nature offers."""
    STORAGE = 1
    """Charges and discharges within its energy, reserve kept."""
    VEHICLE = 2
    """Must hold the wanted energy at departure; V2G and V2H may also discharge."""
    GENERATOR = 3
    """Fuelled: off, or between its smallest level and its rating."""
    SHED = 4
    """Industrial and commercial load that may be pausing a process."""
    THERMAL = 5
    """On or off inside a comfort band: cooling, heat pumps, hot water."""
    NONE = 6
    """Takes no orders."""


FAMILY: dict[Kind, Family] = {
    Kind.PV_ROOFTOP: Family.RENEWABLE,
    Kind.PV_COMMUNITY: Family.RENEWABLE,
    Kind.WIND: Family.RENEWABLE,
    Kind.BATTERY_HOME: Family.STORAGE,
    Kind.BATTERY_COMMERCIAL: Family.STORAGE,
    Kind.EV_V1G: Family.VEHICLE,
    Kind.EV_V2G: Family.VEHICLE,
    Kind.EV_V2H: Family.VEHICLE,
    Kind.EVSE: Family.VEHICLE,
    Kind.CHP: Family.GENERATOR,
    Kind.TRIGENERATION: Family.GENERATOR,
    Kind.GENSET: Family.GENERATOR,
    Kind.CURTAILABLE: Family.SHED,
    Kind.THERMOSTAT: Family.THERMAL,
    Kind.HEAT_PUMP: Family.THERMAL,
    Kind.WATER_HEATER: Family.THERMAL,
    Kind.LOAD: Family.NONE,
    Kind.FEEDER_HEAD: Family.NONE,
}

INVERTERS = frozenset(
    {
        Kind.PV_ROOFTOP,
        Kind.PV_COMMUNITY,
        Kind.BATTERY_HOME,
        Kind.BATTERY_COMMERCIAL,
        Kind.EV_V2G,
        Kind.EV_V2H,
    }
)
"""Kinds behind a grid-support inverter, which gives reactive power on order (IEEE 1547-2018)."""


class Enrolment(IntEnum):
    """How far a resource has come in its life with the utility; only an enrolled one takes orders."""

    APPLIED = 0
    APPROVED = 1
    COMMISSIONED = 2
    ENROLLED = 3
    SUSPENDED = 4
    RETIRED = 5


CUSTOMER_CLASSES = ("residential", "commercial", "industrial", "utility")

ColumnType = Literal["str", "kind", "phases", "customer", "enrolment", "f4", "i8", "u1"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One column.

    Attributes:
        name: column name; its suffix is the unit (CONVENTIONS §2).
        dtype: ``str``; a coded text (``kind``, ``phases``, ``customer``, ``enrolment``); or a NumPy type.
        unit: ``""`` where there is none.
        low: smallest allowed value, included.
        high: largest allowed value, included.
        default: value where the registry file is silent, NaN or ``""`` = absent; ``None`` = the field
            must be given.
        meaning: one sentence.
        clause: the standard's own name of the thing, where it has one.
    """

    name: str
    dtype: ColumnType
    unit: str
    low: float
    high: float
    default: float | str | None
    meaning: str
    clause: str = ""

    @property
    def may_be_absent(self) -> bool:
        """Whether a resource may have none: the default is NaN or empty."""
        return self.default == "" or (isinstance(self.default, float) and math.isnan(self.default))


_INF = math.inf

# fmt: off
REGISTRY: tuple[Attribute, ...] = (
    Attribute("id", "str", "", -_INF, _INF, None, "Stable outside identity of the resource.", "61968-5 mRID"),
    Attribute("kind", "kind", "", 0, max(Kind), None, "What the resource is.", "2030.5 DERType"),
    Attribute("bus", "str", "", -_INF, _INF, None, "Feeder bus of the connection point."),
    Attribute("phases", "phases", "", 1, 7, None, "Phases of the connection point, some of a, b, c."),
    Attribute("provider", "str", "", -_INF, _INF, "utility", "Who speaks for the resource: an aggregator or the utility."),
    Attribute("program", "str", "", -_INF, _INF, "none", "Programme the resource is enrolled in.", "2030.5 DERProgram"),
    Attribute("enrolment", "enrolment", "", 0, 5, "enrolled", "How far its enrolment has come.", "2030.5 Registration"),
    Attribute("feeder", "str", "", -_INF, _INF, "", "Feeder of the connection point, where several are told apart.", "CIM Feeder"),
    Attribute("transformer", "str", "", -_INF, _INF, "", "Service transformer of the connection point.", "CIM PowerTransformer"),
    Attribute("lat_deg", "f4", "deg", -90.0, 90.0, math.nan, "Latitude, north positive, WGS 84.", "CIM Location"),
    Attribute("lon_deg", "f4", "deg", -180.0, 180.0, math.nan, "Longitude, east positive, WGS 84.", "CIM Location"),
    Attribute("make", "str", "", -_INF, _INF, "", "Manufacturer.", "2030.5 DeviceInformation mfModel"),
    Attribute("device", "str", "", -_INF, _INF, "", "Manufacturer's model."),
    Attribute("firmware", "str", "", -_INF, _INF, "", "Firmware version.", "2030.5 DeviceInformation swVer"),
    Attribute("customer", "customer", "", 0, 3, "residential", "Customer class the bill is made for."),
    Attribute("p_max_kw", "f4", "kW", 0.0, 10_000.0, 0.0, "Largest injection.", "2030.5 setMaxW; 1547 nameplate" ),
    Attribute("p_min_kw", "f4", "kW", -10_000.0, 0.0, 0.0, "Largest consumption, as a negative number.", "2030.5 setMaxChargeRateW"),
    Attribute("s_max_kva", "f4", "kVA", 0.0, 12_000.0, 0.0, "Apparent-power rating.", "2030.5 setMaxVA"),
    Attribute("p_floor_kw", "f4", "kW", 0.0, 10_000.0, 0.0, "Smallest running level other than zero, as a magnitude."),
    Attribute("ramp_kw_s", "f4", "kW/s", 0.0, 1e6, 1e6, "Fastest change of active power.", "2030.5 setGradW"),
    Attribute("on_off", "u1", "", 0, 1, 0.0, "1 where the device only knows on (at its rating) and off."),
    Attribute("min_on_s", "f4", "s", 0.0, 86_400.0, 0.0, "Shortest time it stays on."),
    Attribute("min_off_s", "f4", "s", 0.0, 86_400.0, 0.0, "Shortest time it stays off."),
    Attribute("e_max_kwh", "f4", "kWh", 0.0, 1e6, 0.0, "Usable energy when full; for thermal mass the width of the comfort band as energy at the meter.", "2030.5 setMaxWh"),
    Attribute("e_reserve_kwh", "f4", "kWh", 0.0, 1e6, 0.0, "Energy the owner keeps for back-up; never ordered away.", "2030.5 setMinWh"),
    Attribute("eff_charge", "f4", "", 0.3, 1.0, 1.0, "Stored per drawn energy."),
    Attribute("eff_discharge", "f4", "", 0.3, 1.0, 1.0, "Delivered per withdrawn energy."),
    Attribute("reach_s", "f4", "s", 0.0, 86_400.0, 0.0, "How long it may take until an order has reached the device, and until the device says what it does: how often it asks and reports; 0 = at once.", "2030.5 pollRate, postRate"),
    Attribute("cost_kwh", "f4", "money/kWh", 0.0, 100.0, 0.0, "Own cost per kWh moved: wear, fuel, or the payment for a paused process."),
)
"""Nameplate and settings: the columns of the registry file, constant until changed."""

IDENTITIES: tuple[Attribute, ...] = (
    Attribute("mrid", "str", "", -_INF, _INF, "", "Master resource identifier, 32 hexadecimal digits or a UUID.", "61968 mRID"),
    Attribute("lfdi", "str", "", -_INF, _INF, "", "Long-form device identifier, 40 hexadecimal digits.", "2030.5 lFDI"),
    Attribute("serial", "str", "", -_INF, _INF, "", "Manufacturer's serial number.", "2030.5 DeviceInformation mfSerNum"),
    Attribute("ocpp", "str", "", -_INF, _INF, "", "Charging-station identity.", "OCPP identity"),
    Attribute("openadr", "str", "", -_INF, _INF, "", "Resource name towards a VTN.", "OpenADR 3 resourceName"),
)
"""Names a resource has with others, beside its id: columns of the registry file, no arrays of the fleet."""

TELEMETRY: tuple[Attribute, ...] = (
    Attribute("p_kw", "f4", "kW", -50_000.0, 50_000.0, None, "Active power at the connection point.", "61968-5 activePower"),
    Attribute("q_kvar", "f4", "kvar", -50_000.0, 50_000.0, None, "Reactive power at the connection point.", "61968-5 reactivePower"),
    Attribute("v_pu", "f4", "pu", 0.0, 2.0, None, "Voltage magnitude at the connection point, mean over its phases.", "61968-5 voltage"),
    Attribute("p_avail_kw", "f4", "kW", -10_000.0, 10_000.0, None, "What the device would do now if nobody asked: sun or wind on offer, the process's own demand, the heat-led level."),
    Attribute("e_kwh", "f4", "kWh", -1e6, 1e6, None, "Energy stored: battery content above empty; for thermal mass 0 = warm end for cooling, cold end for heating, e_max_kwh = fully charged.", "2030.5 stateOfChargeStatus"),
    Attribute("e_target_kwh", "f4", "kWh", 0.0, 1e6, None, "Energy a plugged-in vehicle wants at departure."),
    Attribute("depart_s", "i8", "s", 0, 2**53, None, "Moment a plugged-in vehicle leaves."),
    Attribute("ready", "u1", "", 0, 1, None, "1 where the device will take an order now: plugged in, not opted out, not in a local override.", "2030.5 operationalModeStatus"),
    Attribute("locked_s", "f4", "s", 0.0, 86_400.0, None, "Seconds until a device in its minimum on or off time may switch again."),
)
# fmt: on
"""Readings: the columns that telemetry fills. Absence is NaN, -1 for depart_s, 0 for ready."""

QUANTITY: dict[str, int] = {attribute.name: code for code, attribute in enumerate(TELEMETRY)}
"""Wire code of a telemetry column inside ``Readings.quantity``."""


def attribute(name: str) -> Attribute:
    """The attribute of that name.

    Raises:
        KeyError: no such attribute.
    """
    return _BY_NAME[name]


_BY_NAME = {entry.name: entry for entry in REGISTRY + IDENTITIES + TELEMETRY}
