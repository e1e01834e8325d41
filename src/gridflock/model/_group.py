"""What is said about groups of resources: the nouns of IEC 61968-5 in house units and sign.

Messages hold tuples, so that two of them can be compared; what is computed holds arrays. Multipliers,
units and signs of the wire end in the adapter that makes these values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.model._field import Rejected
from gridflock.model._wish import Priority, Proposal
from gridflock.units import NEVER_S, Seconds, TimeGrid


class Parameter(StrEnum):
    """What of a group is watched, foretold and ordered (``DERParameterKind``)."""

    ACTIVE_POWER = "activePower"
    REACTIVE_POWER = "reactivePower"
    APPARENT_POWER = "apparentPower"
    VOLTAGE = "voltage"
    INCREASING_RAMP_RATE = "increasingRampRate"
    DECREASING_RAMP_RATE = "decreasingRampRate"
    HIGH_FILTER_BIDIRECTIONAL = "highFilterBiDirectionalRegulation"
    HIGH_FILTER_UP = "highFilterUpRegulation"
    HIGH_FILTER_DOWN = "highFilterDownRegulation"
    LOW_FILTER_BIDIRECTIONAL = "lowFilterBiDirectionalRegulation"
    LOW_FILTER_UP = "lowFilterUpRegulation"
    LOW_FILTER_DOWN = "lowFilterDownRegulation"

    @property
    def unit(self) -> str:
        """The house's unit of its values; ramp rates and regulation are magnitudes, never negative."""
        return _UNITS.get(self, "kW")


_UNITS = {
    Parameter.REACTIVE_POWER: "kvar",
    Parameter.APPARENT_POWER: "kVA",
    Parameter.VOLTAGE: "pu",
    Parameter.INCREASING_RAMP_RATE: "kW/s",
    Parameter.DECREASING_RAMP_RATE: "kW/s",
}


class DerFunction(IntFlag):
    """What members can be asked for (``DERFunction``)."""

    NONE = 0
    CONNECT_DISCONNECT = 1
    FREQUENCY_WATT = 2
    REAL_POWER_LIMITING = 4
    RAMP_RATE_CONTROL = 8
    REACTIVE_POWER_DISPATCH = 16
    REAL_POWER_DISPATCH = 32
    VOLTAGE_REGULATION = 64
    VOLT_VAR = 128
    VOLT_WATT = 256


class CurveStyle(StrEnum):
    """What is between the values of a curve."""

    CONSTANT = "constantYValue"
    """One value for each interval."""
    STRAIGHT_LINE = "straightLineYValues"
    """One value for each edge of an interval: one more than intervals."""


class Verb(StrEnum):
    """What a message wants done, or (past tense) says has been done."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    EXECUTE = "execute"
    GET = "get"
    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


# ---- groups ------------------------------------------------------------------------------------------


class GroupVersion(NamedTuple):
    """Which state of a group is meant; the date takes no part in which of two is newer."""

    date_s: int = NEVER_S
    major: int = 1
    minor: int = 0
    revision: int = 0

    def newer(self, other: GroupVersion) -> bool:
        """Whether this state came after another one."""
        return self[1:] > other[1:]


class GroupName(NamedTuple):
    """One name of a group, of a type and given by an authority; both may be empty."""

    name: str
    type: str = ""
    authority: str = ""


class ParameterLimit(NamedTuple):
    """The capability that is declared for a group, in the unit of the parameter."""

    parameter: Parameter
    lo: float = -math.inf
    hi: float = math.inf


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """A group as it is meant (``DERGroup``).

    Attributes:
        mrid: its id.
        names: other names, none twice in a register.
        description: in words.
        members: resources (by id or registered mRID) and groups (by mRID) directly in it.
        functions: what may be asked of it; None = whatever one of its members can do.
        limits: declared capability, narrower than that of the members.
        version: which state this is; None = the register numbers it.
    """

    mrid: str
    names: tuple[GroupName, ...] = ()
    description: str = ""
    members: tuple[str, ...] = ()
    functions: DerFunction | None = None
    limits: tuple[ParameterLimit, ...] = ()
    version: GroupVersion | None = None


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What is to be different with a group; what is None or empty stays.

    Attributes:
        mrid: its id.
        based_on: the state that the author of the change knows; any other is refused. None = any.
        join: resources and groups that become members.
        leave: members that are so no longer.
        members: all members from now on, instead of ``join`` and ``leave``.
        names: all names from now on.
        description: in words.
        functions: what may be asked of it.
        limits: declared capability from now on.
    """

    mrid: str
    based_on: GroupVersion | None = None
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    members: tuple[str, ...] | None = None
    names: tuple[GroupName, ...] | None = None
    description: str | None = None
    functions: DerFunction | None = None
    limits: tuple[ParameterLimit, ...] | None = None


@dataclass(frozen=True, slots=True)
class GroupRemoval:
    """A group that is to go; in an event, that has gone. Its members stay.

    Attributes:
        mrid: its id.
        version: the state that the author knows; any other is refused. None = any.
        cascade: also end its open dispatches and take it out of the groups it is a member of. Without,
            either is a reason to refuse.
    """

    mrid: str
    version: GroupVersion | None = None
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class OperationSet:
    """Several changes of groups, done in this order: all of them or none."""

    operations: tuple[GroupDefinition | GroupChange | GroupRemoval, ...]


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Groups asked for: those that fit any of the conditions; without one, all that are registered.

    Attributes:
        mrids: of groups.
        names: of groups; an empty type or authority fits any.
        devices: resources that the groups hold, directly or through groups inside.
        flat: answer with all resources as members instead of the direct members.
    """

    mrids: tuple[str, ...] = ()
    names: tuple[GroupName, ...] = ()
    devices: tuple[str, ...] = ()
    flat: bool = False


# ---- status and forecast -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """Status of groups asked for (``DERGroupStatusQueries``); no parameters: all twelve."""

    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class ForecastQuery:
    """Forecast of groups asked for (``DERGroupForecastQueries``); no parameters: all there are."""

    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    style: CurveStyle = CurveStyle.CONSTANT


@dataclass(frozen=True, slots=True, eq=False)
class ParameterStatus:
    """Groups at one moment (``DERGroupStatus``), G groups, P parameters; NaN where nothing is known.

    Attributes:
        groups: G ids.
        parameters: P of them, each in its ``Parameter.unit``.
        time_s: (G,) moment of the newest reading of a member; -1 where nothing was heard.
        nominal: float64 (G, P) what is now.
        lowest: (G, P) least that can be ordered now; of voltage: of a member.
        highest: (G, P) most.
        installed_lo: (G, P) least by nameplates.
        installed_hi: (G, P) most.
    """

    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    time_s: Seconds
    nominal: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    installed_lo: NDArray[np.float64]
    installed_hi: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ParameterForecast:
    """Groups over time (``DERGroupForecast``): G groups, P parameters, K values by the curve's style.

    Attributes:
        groups: G ids.
        parameters: P of them, each in its ``Parameter.unit``.
        grid: T intervals.
        style: constant, K = T; or straight lines between the edges, K = T + 1.
        nominal: float64 (G, P, K) the median; NaN where nothing is known.
        lowest: (G, P, K) lower end of the range that holds the value with this confidence.
        highest: (G, P, K) upper end.
        confidence: stated probability of the range, 0 to 1.
        created_s: nothing later than this was used (``predictionCreationDate``).
        known: int64 (G,) how many members the forecast rests on.
        members: int64 (G,) how many there are.
    """

    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    grid: TimeGrid
    style: CurveStyle
    nominal: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    confidence: float
    created_s: int
    known: NDArray[np.int64]
    members: NDArray[np.int64]


# ---- what is wanted of groups ------------------------------------------------------------------------


class ParameterSchedule(NamedTuple):
    """Wanted values of one parameter over the intervals of a dispatch.

    K values each, by the curve's style; ``lowest`` and ``highest`` may be empty for no bounds.
    """

    parameter: Parameter
    nominal: tuple[float, ...]
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupDispatch:
    """A schedule wanted of a group (``DERGroupDispatch``).

    Attributes:
        mrid: id of the dispatch.
        group: of whom.
        start_s: begin of the first interval.
        interval_s: length of each.
        schedules: wanted values by parameter, each parameter once.
        style: what is between the values; of a straight line the mean of each interval is wanted.
        constrained: clip to what the group can do and name the rest; else want it as it is.
        priority: whose word.
        author: who asked.
        why: in words.
    """

    mrid: str
    group: str
    start_s: int
    interval_s: int
    schedules: tuple[ParameterSchedule, ...]
    style: CurveStyle = CurveStyle.CONSTANT
    constrained: bool = True
    priority: Priority = Priority.OPERATOR
    author: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class DispatchRemoval:
    """A dispatch or control that is to end before its time."""

    mrid: str


@dataclass(frozen=True, slots=True)
class ConnectControl:
    """Connect or disconnect groups or resources (``EndDeviceControls``).

    Attributes:
        mrid: id of the control.
        targets: groups and resources.
        connect: True to connect, False to cease to energise.
        start_s: in force from.
        until_s: in force until; then each device is on its own default again.
        priority: whose word; to disconnect takes that of an operator or more.
        author: who asked.
        why: in words.
    """

    mrid: str
    targets: tuple[str, ...]
    connect: bool
    start_s: int
    until_s: int
    priority: Priority = Priority.OPERATOR
    author: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class VoltageControl:
    """A group is to hold a voltage at its connection points.

    Attributes:
        mrid: id of the control.
        group: who.
        v_pu: the target.
        band_pu: half-width of the dead band around it.
        start_s: in force from.
        until_s: in force until.
        priority: whose word.
        author: who asked.
        why: in words.
    """

    mrid: str
    group: str
    v_pu: float
    band_pu: float
    start_s: int
    until_s: int
    priority: Priority = Priority.OPERATOR
    author: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class RampControl:
    """How fast a group may change its active power, by voltage.

    Attributes:
        mrid: id of the control.
        group: who.
        v_pu: k voltages, ascending; between them straight lines, beyond them the outer values.
        up_kw_s: k rates at which the group's injection may rise, kW/s, not negative.
        down_kw_s: k rates at which it may fall, kW/s, not negative.
        start_s: in force from.
        until_s: in force until.
        priority: whose word.
        author: who asked.
        why: in words.
    """

    mrid: str
    group: str
    v_pu: tuple[float, ...]
    up_kw_s: tuple[float, ...]
    down_kw_s: tuple[float, ...]
    start_s: int
    until_s: int
    priority: Priority = Priority.OPERATOR
    author: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class ParameterWish:
    """A wish on any parameter of a group but its active power, which is a ``Proposal``.

    Attributes:
        id: unique.
        group: group id.
        parameter: of what.
        priority: whose word.
        author: who asked.
        why: in words.
        start_s: in force from, included.
        until_s: in force until, excluded. Every wish ends.
        value: wanted, in the parameter's unit.
        lo: lower bound, or -inf.
        hi: upper bound, or +inf.
    """

    id: str
    group: str
    parameter: Parameter
    priority: Priority
    author: str
    why: str
    start_s: int
    until_s: int
    value: float
    lo: float = -math.inf
    hi: float = math.inf


@dataclass(frozen=True, slots=True)
class ConnectWish:
    """A wish that a group or resource be connected or not; nothing is switched by it.

    Attributes:
        id: unique.
        group: group or resource id.
        connect: True to connect, False to cease to energise.
        priority: whose word.
        author: who asked.
        why: in words.
        start_s: in force from, included.
        until_s: in force until, excluded.
    """

    id: str
    group: str
    connect: bool
    priority: Priority
    author: str
    why: str
    start_s: int
    until_s: int


@dataclass(frozen=True, slots=True)
class RampWish:
    """A wish on how fast a group's active power may change, by voltage; fields as of ``RampControl``."""

    id: str
    group: str
    v_pu: tuple[float, ...]
    up_kw_s: tuple[float, ...]
    down_kw_s: tuple[float, ...]
    priority: Priority
    author: str
    why: str
    start_s: int
    until_s: int

    def rates_kw_s(self, v_pu: float) -> tuple[float, float]:
        """Allowed rise and fall at a voltage, kW/s."""
        up = float(np.interp(v_pu, self.v_pu, self.up_kw_s))
        return up, float(np.interp(v_pu, self.v_pu, self.down_kw_s))


# ---- messages ----------------------------------------------------------------------------------------

GroupBody = (
    GroupDefinition
    | GroupChange
    | GroupRemoval
    | OperationSet
    | GroupQuery
    | StatusQuery
    | ForecastQuery
    | ParameterStatus
    | ParameterForecast
    | GroupDispatch
    | DispatchRemoval
    | ConnectControl
    | VoltageControl
    | RampControl
)
"""What a message is about."""

GroupWish = Proposal | ParameterWish | ConnectWish | RampWish
"""What a dispatch or control becomes: a wish that arbitration and dispatch decide on."""


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """A request, or an event with a past verb.

    Attributes:
        id: unique for its sender; the same message may arrive again.
        sender: who speaks.
        time_s: when it was said.
        verb: what is to be done or has been done.
        body: with what.
        sequence: of an event: its place among those of its sender to this receiver, from 1; else 0.
    """

    id: str
    sender: str
    time_s: int
    verb: Verb
    body: GroupBody
    sequence: int = 0


class Shortfall(NamedTuple):
    """Where a constrained dispatch asks for more than there is: ``asked`` less ``given`` is missing."""

    parameter: Parameter
    interval: int
    asked: float
    given: float
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class GroupReply:
    """Answer to a message.

    Attributes:
        message: id of the message.
        rejected: what is wrong, the message's id first among the ids; empty where it is done.
        groups: groups as they are after it: those asked for or changed.
        report: status or forecast asked for.
        wishes: what a dispatch or control has become.
        shortfalls: what a constrained dispatch asked in vain.
        withdrawn: ids of the wishes that are to be taken back.
        missing: sequence numbers of the sender's events that have not arrived yet.
    """

    message: str
    rejected: tuple[Rejected, ...] = ()
    groups: tuple[GroupDefinition, ...] = ()
    report: ParameterStatus | ParameterForecast | None = None
    wishes: tuple[GroupWish, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    withdrawn: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing was wrong."""
        return not self.rejected
