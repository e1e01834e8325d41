"""The standard's codes and bitmaps.

Fields keep plain whole numbers, so that a reserved code somebody sends is kept as sent; these names are for
comparing and for writing.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class EventState(IntEnum):
    """``EventStatus.current_status``."""

    SCHEDULED = 0
    ACTIVE = 1
    CANCELLED = 2
    CANCELLED_RANDOMISED = 3
    SUPERSEDED = 4


class ResponseStatus(IntEnum):
    """``Response.status``: what a client says became of an event."""

    RECEIVED = 1
    STARTED = 2
    COMPLETED = 3
    OPTED_OUT = 4
    OPTED_IN = 5
    CANCELLED = 6
    SUPERSEDED = 7
    PARTLY_OPTED_OUT = 8
    PARTLY_OPTED_IN = 9
    NO_PARTICIPATION = 10
    ACKNOWLEDGED = 11
    NOT_DISPLAYED = 12
    ABORTED_BY_SERVER = 13
    ABORTED_BY_PROGRAM = 14
    REJECTED_NOT_APPLICABLE = 252
    REJECTED_INVALID = 253
    REJECTED_LATE = 254


class ResponseRequired(IntFlag):
    """``response_required``: which responses an event wants."""

    RECEIVED = 1
    SPECIFIC = 2
    CUSTOMER = 4


class ReasonCode(IntEnum):
    """``Error.reason_code``."""

    FORMAT = 0
    VALUES = 1
    LIMIT = 2
    CONDITIONAL_SUBSCRIPTION = 3
    TOO_FREQUENT = 4


class NotificationStatus(IntEnum):
    """``Notification.status``; all but ``DEFAULT`` end the subscription."""

    DEFAULT = 0
    CANCELLED = 1
    MOVED = 2
    REDEFINED = 3
    DELETED = 4


class DERControlType(IntFlag):
    """``modes_supported`` and ``modes_enabled``: which modes a DER has."""

    CHARGE = 1 << 0
    DISCHARGE = 1 << 1
    CONNECT = 1 << 2
    ENERGIZE = 1 << 3
    FIXED_PF_ABSORB_W = 1 << 4
    FIXED_PF_INJECT_W = 1 << 5
    FIXED_VAR = 1 << 6
    FIXED_W = 1 << 7
    FREQ_DROOP = 1 << 8
    FREQ_WATT = 1 << 9
    HFRT_MAY_TRIP = 1 << 10
    HFRT_MUST_TRIP = 1 << 11
    HVRT_MAY_TRIP = 1 << 12
    HVRT_MOMENTARY_CESSATION = 1 << 13
    HVRT_MUST_TRIP = 1 << 14
    LFRT_MAY_TRIP = 1 << 15
    LFRT_MUST_TRIP = 1 << 16
    LVRT_MAY_TRIP = 1 << 17
    LVRT_MOMENTARY_CESSATION = 1 << 18
    LVRT_MUST_TRIP = 1 << 19
    MAX_LIM_W = 1 << 20
    TARGET_VAR = 1 << 21
    TARGET_W = 1 << 22
    VOLT_VAR = 1 << 23
    VOLT_WATT = 1 << 24
    WATT_PF = 1 << 25
    WATT_VAR = 1 << 26


class DOEControlType(IntFlag):
    """``doe_modes_supported`` and ``doe_modes_enabled``: limits of a dynamic operating envelope."""

    EXPORT_LIMIT = 1
    IMPORT_LIMIT = 2
    GENERATION_LIMIT = 4
    LOAD_LIMIT = 8


class VPPControlType(IntFlag):
    """``vpp_modes_supported`` and ``vpp_modes_enabled``."""

    STORAGE_TARGET = 1


class DERCurveType(IntEnum):
    """``DERCurve.curve_type``: the mode a curve is for."""

    FREQ_WATT = 0
    HFRT_MAY_TRIP = 1
    HFRT_MUST_TRIP = 2
    HVRT_MAY_TRIP = 3
    HVRT_MOMENTARY_CESSATION = 4
    HVRT_MUST_TRIP = 5
    LFRT_MAY_TRIP = 6
    LFRT_MUST_TRIP = 7
    LVRT_MAY_TRIP = 8
    LVRT_MOMENTARY_CESSATION = 9
    LVRT_MUST_TRIP = 10
    VOLT_VAR = 11
    VOLT_WATT = 12
    WATT_PF = 13
    WATT_VAR = 14


class DERUnitRefType(IntEnum):
    """What a percentage is a part of."""

    NOT_APPLICABLE = 0
    SET_MAX_W = 1
    SET_MAX_VAR = 2
    STAT_VAR_AVAIL = 3
    SET_EFFECTIVE_V = 4
    SET_MAX_CHARGE_RATE_W = 5
    SET_MAX_DISCHARGE_RATE_W = 6
    STAT_W_AVAIL = 7


class DERType(IntEnum):
    """``DERCapability.type``."""

    UNKNOWN = 0
    VIRTUAL_OR_MIXED = 1
    RECIPROCATING_ENGINE = 2
    FUEL_CELL = 3
    PHOTOVOLTAIC = 4
    COMBINED_HEAT_AND_POWER = 5
    OTHER_GENERATION = 6
    OTHER_STORAGE = 80
    ELECTRIC_VEHICLE = 81
    EVSE = 82
    PHOTOVOLTAIC_AND_STORAGE = 83


class DeviceCategory(IntFlag):
    """``device_category``: what a device is, and whom an event is for."""

    THERMOSTAT = 1 << 0
    STRIP_HEATER = 1 << 1
    BASEBOARD_HEATER = 1 << 2
    WATER_HEATER = 1 << 3
    POOL_PUMP = 1 << 4
    SAUNA = 1 << 5
    HOT_TUB = 1 << 6
    SMART_APPLIANCE = 1 << 7
    IRRIGATION_PUMP = 1 << 8
    COMMERCIAL_LOAD = 1 << 9
    SIMPLE_LOAD = 1 << 10
    EXTERIOR_LIGHTING = 1 << 11
    INTERIOR_LIGHTING = 1 << 12
    LOAD_SWITCH = 1 << 13
    ENERGY_MANAGEMENT = 1 << 14
    SMART_ENERGY_MODULE = 1 << 15
    ELECTRIC_VEHICLE = 1 << 16
    EVSE = 1 << 17
    VIRTUAL_OR_MIXED = 1 << 18
    RECIPROCATING_ENGINE = 1 << 19
    FUEL_CELL = 1 << 20
    PHOTOVOLTAIC = 1 << 21
    COMBINED_HEAT_AND_POWER = 1 << 22
    PHOTOVOLTAIC_AND_STORAGE = 1 << 23
    OTHER_GENERATION = 1 << 24
    OTHER_STORAGE = 1 << 25


class ConnectStatus(IntFlag):
    """``gen_connect_status`` and ``stor_connect_status``."""

    CONNECTED = 1
    AVAILABLE = 2
    OPERATING = 4
    TEST = 8
    FAULT = 16


class InverterStatus(IntEnum):
    """``inverter_status``."""

    UNKNOWN = 0
    OFF = 1
    SLEEPING = 2
    STARTING = 3
    TRACKING = 4
    FORCED_REDUCTION = 5
    SHUTTING_DOWN = 6
    FAULT = 7
    STANDBY = 8
    TEST = 9
    MANUFACTURER = 10


class OperationalModeStatus(IntEnum):
    """``operational_mode_status``."""

    UNKNOWN = 0
    OFF = 1
    OPERATIONAL = 2
    TEST = 3


class StorageModeStatus(IntEnum):
    """``storage_mode_status``."""

    CHARGING = 0
    DISCHARGING = 1
    HOLDING = 2


class AlarmStatus(IntFlag):
    """``DERStatus.alarm_status``."""

    OVER_CURRENT = 1 << 0
    OVER_VOLTAGE = 1 << 1
    UNDER_VOLTAGE = 1 << 2
    OVER_FREQUENCY = 1 << 3
    UNDER_FREQUENCY = 1 << 4
    VOLTAGE_IMBALANCE = 1 << 5
    CURRENT_IMBALANCE = 1 << 6
    LOCAL_EMERGENCY = 1 << 7
    REMOTE_EMERGENCY = 1 << 8
    LOW_POWER_INPUT = 1 << 9
    PHASE_ROTATION = 1 << 10


class Uom(IntEnum):
    """Units of measure that are used with DERs."""

    NOT_APPLICABLE = 0
    AMPERE = 5
    VOLT = 29
    HERTZ = 33
    WATT = 38
    VOLT_AMPERE = 61
    VAR = 63
    POWER_FACTOR = 65
    VOLT_AMPERE_HOUR = 71
    WATT_HOUR = 72
    VAR_HOUR = 73
    AMPERE_HOUR = 106


class DataQualifier(IntEnum):
    """How a reading came from its samples."""

    NOT_APPLICABLE = 0
    AVERAGE = 2
    MAXIMUM = 8
    MINIMUM = 9
    STANDARD = 12


class FlowDirection(IntEnum):
    """Which way a reading counts positive: ``FORWARD`` to the customer, ``REVERSE`` from the customer."""

    NOT_APPLICABLE = 0
    FORWARD = 1
    REVERSE = 19


class AccumulationBehaviour(IntEnum):
    """Whether a reading is a sum, a difference or a moment."""

    NOT_APPLICABLE = 0
    CUMULATIVE = 3
    DELTA = 4
    INDICATING = 6
    SUMMATION = 9
    INSTANTANEOUS = 12


class ReadingKind(IntEnum):
    """``ReadingType.kind``."""

    NOT_APPLICABLE = 0
    CURRENCY = 3
    DEMAND = 8
    ENERGY = 12
    POWER = 37


class PhaseCode(IntEnum):
    """Which conductors a reading is of."""

    NOT_APPLICABLE = 0
    C = 32
    CN = 33
    CA = 40
    B = 64
    BN = 65
    BC = 66
    A = 128
    AN = 129
    AB = 132
    ABC = 224


class QualityFlags(IntFlag):
    """How far a reading is to be trusted."""

    VALID = 1
    EDITED = 2
    ESTIMATED_FROM_DAY = 4
    INTERPOLATED = 8
    QUESTIONABLE = 16
    DERIVED = 32
    FORECAST = 64


class RoleFlags(IntFlag):
    """What a usage point is."""

    MIRROR = 1
    PREMISES = 2
    PEV = 4
    DER = 8
    REVENUE_QUALITY = 16
    DC = 32
    SUBMETER = 64


class ServiceKind(IntEnum):
    """What is metered."""

    ELECTRICITY = 0
    GAS = 1
    WATER = 2
    TIME = 3
    PRESSURE = 4
    HEAT = 5
    COOLING = 6


class TimeQuality(IntEnum):
    """How good the server's clock is."""

    AUTHORITATIVE = 3
    LEVEL_3 = 4
    LEVEL_4 = 5
    LEVEL_5 = 6
    UNCOORDINATED = 7


class LogFunctionSet(IntEnum):
    """``LogEvent.function_set`` where ``profile_id`` is the standard's own."""

    GENERAL = 0
    SUBSCRIPTIONS = 1
    END_DEVICE = 2
    ASSIGNMENTS = 3
    RESPONSE = 4
    DEMAND_RESPONSE = 5
    METERING = 6
    PRICING = 7
    MESSAGING = 8
    BILLING = 9
    PREPAYMENT = 10
    DER = 11
    TIME = 12
    SOFTWARE_DOWNLOAD = 13
    DEVICE_INFORMATION = 14
    POWER_STATUS = 15
    NETWORK_STATUS = 16
    LOG_EVENTS = 17
    CONFIGURATION = 18
    SECURITY = 19
