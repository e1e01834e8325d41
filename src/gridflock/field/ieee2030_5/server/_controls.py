"""Controls and their life: scheduled, active, superseded or cancelled, over.

A control is listed until no device can be under it any more, whatever has become of it, so that whoever asks
late still learns that it was cancelled or replaced. Its status changes by the passing of time alone
(``advance``), at the very moment and in the order in which that is due, however late the server wakes up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.events import earliest_start_s, gives_way, latest_end_s, meet
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DERControl,
    DERControlBase,
    DERControlList,
    EventState,
    EventStatus,
    ResponseRequired,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import page, single
from gridflock.field.ieee2030_5.server._programs import index, of_number, short, wrong_base
from gridflock.field.ieee2030_5.server._registry import By
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.model import Rejected

REPLY_TO = "/rsps/1/rsp"
"""One place for all responses to controls, so that one rendered list serves every device."""
_OPEN = (EventState.SCHEDULED, EventState.ACTIVE)
_LONGEST_S = 7 * 86_400
_FARTHEST_S = 366 * 86_400
_HOUR_S = 3_600
_LATE_S = 86_400
"""So long after its end a response to a control is still taken."""
_COUNTED = 12
"""Digits of an identifier in which controls are counted."""
_OF_TIME = By("time", "due")


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControlKept(Change):
    """A control is there, or stands otherwise."""

    program: int
    number: int
    control: DERControl
    by: By

    def __call__(self, state: State) -> None:
        state.offered.keep_control(self.program, self.number, self.control)


@dataclass(frozen=True, slots=True)
class ControlOver(Change):
    """No device can be under a control any more."""

    program: int
    number: int

    def __call__(self, state: State) -> None:
        state.offered.end(self.program, self.number)


@dataclass(frozen=True, slots=True)
class ControlForgotten(Change):
    """Late responses to a control are of no interest any more."""

    mrid: str

    def __call__(self, state: State) -> None:
        del state.offered.ended[self.mrid]
        state.responses.forget(self.mrid)


CHANGES: tuple[type[Change], ...] = (ControlKept, ControlOver, ControlForgotten)


# ---- what clients see --------------------------------------------------------------------------------


def controls(ask: Ask, number: int) -> Answer:
    """All of a program's controls that are not over."""
    of_number(ask, number)
    head = DERControlList(href=f"/derp/{number}/derc", subscribable=1)
    return page(ask, head, _in_order(ask.state, number), lambda each: each, time_of=_start_s)


def active(ask: Ask, number: int) -> Answer:
    """Those that hold now for some device."""
    of_number(ask, number)
    head = DERControlList(href=f"/derp/{number}/actderc", subscribable=1)
    held = [
        each for each in _in_order(ask.state, number) if each.event_status.current_status == EventState.ACTIVE
    ]
    return page(ask, head, held, lambda each: each, time_of=_start_s)


def control(ask: Ask, number: int, text: str) -> Answer:
    """One control."""
    of_number(ask, number)
    found = ask.state.offered.controls.get(number, {}).get(index(text))
    if found is None:
        raise Refused(404, "is no control, or is over")
    return single(ask, f"/derp/{number}/derc/{text}", lambda: found)


def _in_order(state: State, program: int) -> list[DERControl]:
    """By ascending start, then the newest first, then by descending mRID."""
    held = state.offered.controls.get(program, {}).values()
    newest = sorted(held, key=lambda each: (each.creation_time, each.mrid), reverse=True)
    return sorted(newest, key=_start_s)


def _start_s(control: DERControl) -> int:
    return control.interval.start


# ---- what operators do -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """A control to be made.

    Attributes:
        base: what it sets.
        start_s: UTC seconds; before now, it is active from the first.
        duration_s: at least one second, at most a week.
        randomize_start: seconds by which devices shift their start, -3600 to 3600.
        randomize_duration: the same of its duration.
        category: bits of ``DeviceCategory`` it is for; None = all.
        description: for people, cut to 31 octets.
    """

    base: DERControlBase
    start_s: int
    duration_s: int
    randomize_start: int = 0
    randomize_duration: int = 0
    category: int | None = None
    description: str = ""


def make_control(turn: Turn, program: int, wanted: Wanted, by: By) -> DERControl | Rejected:
    """A new control of a program; older ones of the same modes give way to it."""
    wrong = _wrong(turn, program, wanted)
    if wrong is not None:
        return wrong
    number = turn.state.offered.next_control
    fresh = EventStatus(
        current_status=EventState.SCHEDULED, date_time=turn.now_s, potentially_superseded=False
    )
    made = DERControl(
        href=f"/derp/{program}/derc/{number}",
        reply_to=REPLY_TO,
        response_required=ResponseRequired.RECEIVED | ResponseRequired.SPECIFIC,
        subscribable=1,
        mrid=_mrid(turn, number),
        description=short(wanted.description) or None,
        creation_time=turn.now_s,
        event_status=fresh,
        interval=DateTimeInterval(duration=wanted.duration_s, start=wanted.start_s),
        der_control_base=wanted.base,
        randomize_start=wanted.randomize_start or None,
        randomize_duration=wanted.randomize_duration or None,
        device_category=wanted.category,
    )
    if earliest_start_s(made) <= turn.now_s:
        made = replace(made, event_status=replace(fresh, current_status=EventState.ACTIVE))
    turn.do(ControlKept(program, number, made, by))
    _settle(turn, program, _meeting(turn.state, program, made), turn.now_s, by)
    _touch(turn, program, number)
    return turn.state.offered.controls[program][number]


def _mrid(turn: Turn, number: int) -> str:
    """An identifier that grows with every control: of two made in one second the later one is the newer."""
    rest = turn.policy.mrid("derc", number, turn.now_s)
    return f"{number:0{_COUNTED}X}{rest[_COUNTED:]}"


def cancel(turn: Turn, mrid: str, by: By, *, randomise: bool = False) -> DERControl | Rejected:
    """Cancel a control: it stays listed as cancelled to its original end.

    Args:
        turn: of the operator.
        mrid: of the control.
        by: who and why.
        randomise: devices end it one by one, within the larger of its randomisations.
    """
    place = turn.state.offered.by_mrid.get(mrid)
    if place is None:
        return Rejected("control", "mrid", (mrid,), "is no control, or is over")
    program, number = place
    known = turn.state.offered.controls[program][number]
    if known.event_status.current_status not in _OPEN:
        return Rejected("control", "status", (mrid,), "is cancelled or superseded already")
    state = EventState.CANCELLED_RANDOMISED if randomise else EventState.CANCELLED
    status = EventStatus(
        current_status=state,
        date_time=turn.now_s,
        potentially_superseded=known.event_status.potentially_superseded,
        potentially_superseded_time=known.event_status.potentially_superseded_time,
        reason=by.reason[:192] or None,
    )
    over = replace(known, event_status=status)
    turn.do(ControlKept(program, number, over, by))
    _settle(turn, program, _meeting(turn.state, program, over), turn.now_s, by)
    _touch(turn, program, number)
    return over


# ---- the passing of time -----------------------------------------------------------------------------


def advance(turn: Turn) -> None:
    """Everything that is due by now, each at its own moment."""
    offered = turn.state.offered
    while offered.due and offered.due[0][0] <= turn.now_s:
        moment_s, program = heappop(offered.due)
        while offered.due and offered.due[0] == (moment_s, program):
            heappop(offered.due)
        if program in offered.programs:
            _settle(turn, program, _due(turn.state, program, moment_s), moment_s, _OF_TIME)
    # They stand in about the order in which they ended.
    while (oldest := next(iter(offered.ended.items()), None)) and oldest[1].end_s + _LATE_S <= turn.now_s:
        turn.do(ControlForgotten(oldest[0]))


def next_s(state: State) -> int | None:
    """When time next changes a control."""
    return state.offered.due[0][0] if state.offered.due else None


def _meeting(state: State, program: int, control: DERControl) -> list[int]:
    """Controls that another may change: those that may hold at the same time, itself included."""
    return [number for number, each in state.offered.controls[program].items() if meet(each, control)]


def _due(state: State, program: int, at_s: int) -> list[int]:
    """Controls that a moment may change: they begin, give way or end."""
    found = []
    for number, each in state.offered.controls[program].items():
        status = each.event_status
        gives_s = status.potentially_superseded_time
        begins = status.current_status == EventState.SCHEDULED and earliest_start_s(each) <= at_s
        if begins or latest_end_s(each) <= at_s or (gives_s is not None and gives_s <= at_s):
            found.append(number)
    return found


def _settle(turn: Turn, program: int, numbers: list[int], at_s: int, by: By) -> None:
    """Bring some controls of a program to where they stand at a moment."""
    held = turn.state.offered.controls[program]
    for number in numbers:
        control = held[number]
        if latest_end_s(control) <= at_s:
            turn.do(ControlOver(program, number))
            _touch(turn, program, number)
            continue
        now = _at(control, list(held.values()), at_s)
        if now != control.event_status:
            turn.do(ControlKept(program, number, replace(control, event_status=now), by))
            _touch(turn, program, number)


def _at(control: DERControl, others: list[DERControl], at_s: int) -> EventStatus:
    """The status of a control at a moment; ``date_time`` is when it came about."""
    known = control.event_status
    if known.current_status not in _OPEN:
        return known
    way = gives_way(control, others)
    if way.superseded_s is not None and way.superseded_s <= at_s:
        return EventStatus(
            current_status=EventState.SUPERSEDED,
            date_time=at_s,
            potentially_superseded=False,
            reason="replaced by a newer control",
        )
    perhaps = [moment for moment in (way.superseded_s, way.partly_s) if moment is not None]
    status, since_s = known.current_status, known.date_time
    if status == EventState.SCHEDULED and earliest_start_s(control) <= at_s:
        status, since_s = EventState.ACTIVE, at_s
    return replace(
        known,
        current_status=status,
        date_time=since_s,
        potentially_superseded=bool(perhaps),
        potentially_superseded_time=min(perhaps, default=None),
    )


def _touch(turn: Turn, program: int, number: int) -> None:
    path = f"/derp/{program}"
    for each in (f"{path}/derc/{number}", f"{path}/derc", f"{path}/actderc"):
        turn.touch(each)


def _wrong(turn: Turn, program: int, wanted: Wanted) -> Rejected | None:
    if program not in turn.state.offered.programs:
        return Rejected("program", "number", (str(program),), "is no program")
    if not 1 <= wanted.duration_s <= _LONGEST_S:
        told = f"{wanted.duration_s} s is not from 1 s to {_LONGEST_S} s"
        return Rejected("control", "duration_s", (), told)
    bounds = (wanted.randomize_start, wanted.randomize_duration)
    if any(abs(each) > _HOUR_S for each in bounds):
        return Rejected("control", "randomize", (), f"{bounds} is not within {_HOUR_S} s")
    last_s = wanted.start_s + wanted.duration_s + sum(max(each, 0) for each in bounds)
    if last_s <= turn.now_s:
        return Rejected("control", "start_s", (), "is over before it is made")
    if wanted.start_s > turn.now_s + _FARTHEST_S:
        return Rejected("control", "start_s", (), "is more than a year ahead")
    return wrong_base(turn.state, program, wanted.base, "control")


ROUTES = (
    Route("/derp/{}/derc", Need.PROGRAM, {"GET": controls}),
    Route("/derp/{}/derc/{}", Need.PROGRAM, {"GET": control}),
    Route("/derp/{}/actderc", Need.PROGRAM, {"GET": active}),
)
