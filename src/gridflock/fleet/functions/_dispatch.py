"""Schedules and controls become wishes with an end (5.7, 5.8, 5.10): nothing is ordered here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.functions._discovery import functions_of_rows
from gridflock.fleet.functions._forecast import means
from gridflock.fleet.functions._record import Draft, OpenDispatch
from gridflock.fleet.functions._status import Present, parameter_status
from gridflock.model import (
    ConnectControl,
    ConnectWish,
    CurveStyle,
    DerFunction,
    GroupDispatch,
    GroupWish,
    Parameter,
    ParameterForecast,
    ParameterLimit,
    ParameterSchedule,
    ParameterStatus,
    ParameterWish,
    Priority,
    Proposal,
    RampControl,
    RampWish,
    Rejected,
    Shortfall,
    VoltageControl,
)
from gridflock.units import Codes, Seconds

Control = GroupDispatch | ConnectControl | VoltageControl | RampControl

_Array = NDArray[np.float64]
_ANY_POWER = DerFunction.REAL_POWER_DISPATCH | DerFunction.REAL_POWER_LIMITING
_NEEDS: Mapping[Parameter, DerFunction] = {
    Parameter.ACTIVE_POWER: _ANY_POWER,
    Parameter.REACTIVE_POWER: DerFunction.REACTIVE_POWER_DISPATCH,
    Parameter.APPARENT_POWER: _ANY_POWER | DerFunction.REACTIVE_POWER_DISPATCH,
    Parameter.VOLTAGE: DerFunction.VOLTAGE_REGULATION,
    Parameter.INCREASING_RAMP_RATE: DerFunction.RAMP_RATE_CONTROL,
    Parameter.DECREASING_RAMP_RATE: DerFunction.RAMP_RATE_CONTROL,
}
"""Functions of which a group must have one for an order of a parameter; regulation takes dispatch."""
_SIGNED = (Parameter.ACTIVE_POWER, Parameter.REACTIVE_POWER)
_TOLERANCE = 1e-9
_LATEST_S = 2**40
"""Later moments are no dates, unix seconds."""
_MOST_VALUES = 100_000
"""Of one parameter: a year of five minutes, nearly."""
_LOWEST_PU, _HIGHEST_PU = 0.5, 1.5
_DECLARED, _FORETOLD, _ABLE = range(3)
_WHY = (
    "beyond the declared capability",
    "beyond the forecast of the interval",
    "beyond what the members can do now",
)


class Wanted(NamedTuple):
    """What became of a control: wishes and what was asked in vain, or what is wrong."""

    wishes: tuple[GroupWish, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    rejected: tuple[Rejected, ...] = ()


def wanted(draft: Draft, control: Control, present: Present | None, time_s: int) -> Wanted:
    """Make wishes of a dispatch or control and keep it open until its end."""
    faults = list(_wrong_control(draft, control, time_s))
    if isinstance(control, ConnectControl):
        faults += _wrong_connect(draft, control)
    elif control.group in draft.groups:
        faults += _wrong_of_kind(draft, control)
    else:
        faults.append(_fault("group", control.group, "is unknown"))
    if faults:
        return Wanted(rejected=tuple(faults))
    found = _of_kind(draft, control, present)
    if not found.rejected:
        targets = control.targets if isinstance(control, ConnectControl) else (control.group,)
        ids = tuple(wish.id for wish in found.wishes)
        draft.dispatches[control.mrid] = OpenDispatch(targets, _end_s(control), ids)
    return found


def _of_kind(draft: Draft, control: Control, present: Present | None) -> Wanted:
    if isinstance(control, GroupDispatch):
        return _scheduled(draft, control, present)
    if isinstance(control, ConnectControl):
        return Wanted(
            tuple(
                ConnectWish(
                    f"{control.mrid}:{target}",
                    target,
                    control.connect,
                    control.priority,
                    control.author,
                    control.why,
                    control.start_s,
                    control.until_s,
                )
                for target in control.targets
            )
        )
    words = (control.priority, control.author, control.why, control.start_s, control.until_s)
    if isinstance(control, VoltageControl):
        lo, hi = control.v_pu - control.band_pu, control.v_pu + control.band_pu
        held = ParameterWish(control.mrid, control.group, Parameter.VOLTAGE, *words, control.v_pu, lo, hi)
        return Wanted((held,))
    v_pu, up_kw_s, down_kw_s = control.v_pu, control.up_kw_s, control.down_kw_s
    return Wanted((RampWish(control.mrid, control.group, v_pu, up_kw_s, down_kw_s, *words),))


# ---- schedules ---------------------------------------------------------------------------------------


class _Bounds(NamedTuple):
    """What one parameter of a group is clipped to in each interval, (T,) each, and where that is from."""

    lo: _Array
    hi: _Array
    lo_from: Codes
    hi_from: Codes

    def at_least(self, bound: _Array, source: int) -> None:
        """Raise the lower bound where this one is higher; NaN says nothing."""
        higher = bound > self.lo
        self.lo[higher], self.lo_from[higher] = bound[higher], source

    def at_most(self, bound: _Array, source: int) -> None:
        """Lower the upper bound where this one is lower."""
        lower = bound < self.hi
        self.hi[lower], self.hi_from[lower] = bound[lower], source


def _scheduled(draft: Draft, dispatch: GroupDispatch, present: Present | None) -> Wanted:
    """One wish for each parameter and interval."""
    if dispatch.constrained and present is None:
        return Wanted(rejected=(_fault("constrained", dispatch.mrid, "the capability is not known yet"),))
    edges = dispatch.start_s + dispatch.interval_s * np.arange(_intervals(dispatch) + 1, dtype=np.int64)
    names = tuple(schedule.parameter for schedule in dispatch.schedules)
    now = None
    if dispatch.constrained and present is not None:
        now = parameter_status(draft.groups, present, (dispatch.group,), names)
    wishes: list[GroupWish] = []
    shortfalls: list[Shortfall] = []
    for schedule in dispatch.schedules:
        values = [_by_interval(curve, dispatch.style) for curve in schedule[1:]]
        if now is not None and present is not None:
            bounds = _bounds(draft, now, schedule.parameter, present.forecast, edges)
            values, short = _clipped(schedule.parameter, values, bounds)
            shortfalls += short
        for k, (start_s, until_s) in enumerate(pairwise(edges.tolist())):
            nominal, lo, hi = (float(curve[k]) if len(curve) else math.nan for curve in values)
            lo, hi = -math.inf if math.isnan(lo) else lo, math.inf if math.isnan(hi) else hi
            wishes.append(_wish(dispatch, schedule, k, (start_s, until_s), (nominal, lo, hi)))
    return Wanted(tuple(wishes), tuple(shortfalls))


def _wish(
    dispatch: GroupDispatch,
    schedule: ParameterSchedule,
    interval: int,
    validity_s: tuple[int, int],
    values: tuple[float, float, float],
) -> GroupWish:
    what = schedule.parameter
    wish_id = f"{dispatch.mrid}:{what.value}:{interval}"
    words = (dispatch.priority, dispatch.author, dispatch.why, *validity_s, *values)
    if what == Parameter.ACTIVE_POWER:
        return Proposal(wish_id, dispatch.group, *words)
    return ParameterWish(wish_id, dispatch.group, what, *words)


def _intervals(dispatch: GroupDispatch) -> int:
    """How many intervals the schedules have."""
    return len(dispatch.schedules[0].nominal) - (dispatch.style == CurveStyle.STRAIGHT_LINE)


def _by_interval(curve: Sequence[float], style: CurveStyle) -> _Array:
    """One value for each interval: of straight lines the mean."""
    values = np.array(curve, dtype=np.float64)
    return means(values) if style == CurveStyle.STRAIGHT_LINE and len(values) else values


def _bounds(
    draft: Draft,
    now: ParameterStatus,
    what: Parameter,
    forecast: ParameterForecast | None,
    edges_s: Seconds,
) -> _Bounds:
    """Declared capability, and in each interval the forecast where there is one, else what is possible now.

    Voltages of members are no capability; only a declared one bounds a wanted voltage.
    """
    group, at = now.groups[0], now.parameters.index(what)
    n = len(edges_s) - 1
    sources = np.full((2, n), _ABLE, dtype=np.uint8)
    bounds = _Bounds(np.full(n, -np.inf), np.full(n, np.inf), sources[0], sources[1])
    record = draft.records.get(group)
    declared = record.limits if record is not None else ()
    limit = next((x for x in declared if x.parameter == what), ParameterLimit(what))
    bounds.at_least(np.full(n, limit.lo), _DECLARED)
    bounds.at_most(np.full(n, limit.hi), _DECLARED)
    if what == Parameter.VOLTAGE:
        return bounds
    lo, hi = _foretold(forecast, group, what, edges_s)
    bounds.at_least(lo, _FORETOLD)
    bounds.at_most(hi, _FORETOLD)
    bounds.at_least(np.where(np.isnan(lo), now.lowest[0, at], np.nan), _ABLE)
    bounds.at_most(np.where(np.isnan(hi), now.highest[0, at], np.nan), _ABLE)
    return bounds


def _foretold(
    forecast: ParameterForecast | None, group: str, what: Parameter, edges_s: Seconds
) -> tuple[_Array, _Array]:
    """The range that holds through each interval: the narrowest of the steps it touches, else NaN."""
    lo, hi = np.full((2, len(edges_s) - 1), np.nan)
    if forecast is None or group not in forecast.groups or what not in forecast.parameters:
        return lo, hi
    g, p = forecast.groups.index(group), forecast.parameters.index(what)
    least, most = forecast.lowest[g, p], forecast.highest[g, p]
    if forecast.style == CurveStyle.STRAIGHT_LINE:
        least, most = np.maximum(least[:-1], least[1:]), np.minimum(most[:-1], most[1:])
    grid = forecast.grid
    for k, (start_s, until_s) in enumerate(pairwise(edges_s.tolist())):
        first, last = grid.step_at(start_s), grid.step_at(until_s - 1)
        if first >= 0 and last >= 0:
            lo[k], hi[k] = least[first : last + 1].max(), most[first : last + 1].min()
    return lo, hi


def _clipped(
    what: Parameter, values: Sequence[_Array], bounds: _Bounds
) -> tuple[list[_Array], list[Shortfall]]:
    """Nominal, lower and upper values within bounds, and what of the nominal ones is missing.

    Where bounds contradict each other the upper one holds: less is given rather than more.
    """
    kept = [np.minimum(np.maximum(curve, bounds.lo), bounds.hi) if len(curve) else curve for curve in values]
    asked, given = values[0], kept[0]
    short = [
        Shortfall(what, int(k), float(asked[k]), float(given[k]), _WHY[source])
        for k in np.flatnonzero(np.abs(asked - given) > _TOLERANCE)
        for source in [int((bounds.hi_from if asked[k] > given[k] else bounds.lo_from)[k])]
    ]
    return kept, short


# ---- what is wrong -----------------------------------------------------------------------------------


def _fault(field: str, name: str, reason: str) -> Rejected:
    return Rejected("dispatch", field, (name,), reason)


def _end_s(control: Control) -> int:
    if not isinstance(control, GroupDispatch):
        return control.until_s
    return control.start_s + control.interval_s * (_intervals(control) if control.schedules else 0)


def _wrong_control(draft: Draft, control: Control, time_s: int) -> Iterator[Rejected]:
    """What any control needs: an id of its own, an author, a future."""
    if not control.mrid.strip() or not control.mrid.isprintable():
        yield _fault("mrid", control.mrid, "expected a printable text")
    if control.mrid in draft.dispatches:
        yield _fault("mrid", control.mrid, "is open already")
    if not control.author.strip():
        yield _fault("author", control.mrid, "somebody must have asked")
    if not 0 <= control.start_s <= _LATEST_S:
        yield _fault("start_s", control.mrid, f"{control.start_s} is outside [0, {_LATEST_S}]")
    if isinstance(control, GroupDispatch):
        if control.interval_s <= 0:
            yield _fault("interval_s", control.mrid, "expected a positive length")
    elif control.until_s <= control.start_s:
        yield _fault("until_s", control.mrid, "ends before it begins")
    if _end_s(control) > _LATEST_S:
        yield _fault("until_s", control.mrid, f"is later than {_LATEST_S}")
    if _end_s(control) <= time_s:
        yield _fault("until_s", control.mrid, "is over")


def _wrong_of_kind(draft: Draft, control: GroupDispatch | VoltageControl | RampControl) -> Iterator[Rejected]:
    if isinstance(control, GroupDispatch):
        yield from _wrong_schedules(control)
        needed = [x.parameter for x in control.schedules]
    elif isinstance(control, VoltageControl):
        if not _LOWEST_PU <= control.v_pu <= _HIGHEST_PU:
            yield _fault("v_pu", control.mrid, f"{control.v_pu:g} is outside [{_LOWEST_PU}, {_HIGHEST_PU}]")
        if not 0.0 <= control.band_pu <= _LOWEST_PU:
            yield _fault("band_pu", control.mrid, f"{control.band_pu:g} is outside [0, {_LOWEST_PU}]")
        needed = [Parameter.VOLTAGE]
    else:
        yield from _wrong_ramp(control)
        needed = [Parameter.INCREASING_RAMP_RATE]
    able = able_to(draft, control.group)
    for what in dict.fromkeys(needed):
        need = _NEEDS.get(what, DerFunction.REAL_POWER_DISPATCH)
        if not able & need:
            words = " or ".join((flag.name or "").lower() for flag in need)
            yield _fault("group", control.group, f"{what.value} needs {words}, which the group has not")


def able_to(draft: Draft, name: str) -> DerFunction:
    """Functions of a group or resource: declared ones that a member has; undeclared: any member's."""
    groups = draft.groups
    row = groups.fleet.row_of.get(name)
    rows = groups.rows(name) if row is None else np.array([row], dtype=np.int32)
    able = functions_of_rows(groups.fleet, rows).any_of
    record = draft.records.get(name)
    return able if record is None or record.functions is None else able & record.functions


def _wrong_connect(draft: Draft, control: ConnectControl) -> Iterator[Rejected]:
    """No targets, unknown ones, ones that cannot; too weak a word to take somebody off the grid."""
    if not control.targets:
        yield _fault("targets", control.mrid, "is empty")
    if len(set(control.targets)) < len(control.targets):
        yield _fault("targets", control.mrid, "a target is listed more than once")
    if not control.connect and control.priority > Priority.OPERATOR:
        word = control.priority.name.lower()
        yield _fault("priority", control.mrid, f"{word} may not disconnect; an operator or safety may")
    for target in dict.fromkeys(control.targets):
        if target not in draft.groups and target not in draft.groups.fleet.row_of:
            yield _fault("targets", target, "is no group and no resource")
        elif not able_to(draft, target) & DerFunction.CONNECT_DISCONNECT:
            yield _fault("targets", target, "has nothing that connects or disconnects on order")


def _wrong_schedules(dispatch: GroupDispatch) -> Iterator[Rejected]:
    """No schedule, two of a parameter, lengths that differ, values that are none."""
    if not dispatch.schedules:
        yield _fault("schedules", dispatch.mrid, "is empty")
        return
    names = [schedule.parameter for schedule in dispatch.schedules]
    if len(set(names)) < len(names):
        yield _fault("schedules", dispatch.mrid, "a parameter has more than one schedule")
    length, least = len(dispatch.schedules[0].nominal), 1 + (dispatch.style == CurveStyle.STRAIGHT_LINE)
    for what, nominal, lowest, highest in dispatch.schedules:
        fault = ""
        if length > _MOST_VALUES:
            fault = f"more than {_MOST_VALUES} values"
        elif length < least or len(nominal) != length or {len(lowest), len(highest)} - {0, length}:
            fault = f"expected {max(length, least)} values in each curve"
        elif not all(math.isfinite(value) for value in (*nominal, *lowest, *highest)):
            fault = "a value is not a finite number"
        elif what not in _SIGNED and min((*nominal, *lowest, *highest)) < 0:
            fault = "a magnitude is negative"
        elif any(lo > hi for lo, hi in zip(lowest, highest, strict=False)):
            fault = "a lower bound is above the upper one"
        if fault:
            yield _fault(what.value, dispatch.mrid, fault)


def _wrong_ramp(control: RampControl) -> Iterator[Rejected]:
    """A curve without points, of different lengths, not ascending, or with negative rates."""
    lengths = {len(control.v_pu), len(control.up_kw_s), len(control.down_kw_s)}
    values = (*control.v_pu, *control.up_kw_s, *control.down_kw_s)
    if lengths == {0} or len(lengths) > 1:
        yield _fault("v_pu", control.mrid, "expected as many rates as voltages, at least one")
    elif not all(math.isfinite(value) for value in values):
        yield _fault("v_pu", control.mrid, "a value is not a finite number")
    elif any(one >= other for one, other in pairwise(control.v_pu)):
        yield _fault("v_pu", control.mrid, "voltages must ascend")
    elif min((*control.up_kw_s, *control.down_kw_s)) < 0:
        yield _fault("up_kw_s", control.mrid, "a rate is negative")
