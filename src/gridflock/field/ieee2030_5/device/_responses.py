"""Which responses a client owes: received, started, completed, cancelled, superseded, or why not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5.events import Standing, modes, span_of
from gridflock.field.ieee2030_5.resources import (
    DERControl,
    DERControlResponse,
    EventState,
    ResponseRequired,
    ResponseStatus,
)

_OVER = frozenset({
    ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.REJECTED_LATE,
    ResponseStatus.REJECTED_NOT_APPLICABLE, ResponseStatus.ABORTED_BY_SERVER,
    ResponseStatus.NO_PARTICIPATION,
})  # fmt: skip
_REMEMBERED = 20
_MOST_OWED = 1_000
_CANCELLED = (EventState.CANCELLED, EventState.CANCELLED_RANDOMISED)


@dataclass(frozen=True, slots=True)
class Owed:
    """A response and where it goes."""

    path: str
    response: DERControlResponse


@dataclass(frozen=True, slots=True)
class Gone:
    """A response that is owed no more: it has arrived, or was refused for good, in words."""

    response: DERControlResponse
    refused: str


@dataclass(frozen=True, slots=True)
class _Holds:
    obeyed: bool
    waits: bool
    overtaken: bool
    listed: bool


@dataclass(slots=True)
class Course:
    """What became of one control on this device so far; ``started`` while it is obeyed.

    ``waited``: it would have been obeyed, had somebody agreed in time.
    """

    control: DERControl
    said: set[int] = field(default_factory=set)
    started: bool = False
    waited: bool = False

    def over(self) -> bool:
        """Whether nothing is left to say."""
        return not _OVER.isdisjoint(self.said) or (
            ResponseStatus.SUPERSEDED in self.said
            and self.control.event_status.current_status == EventState.SUPERSEDED
        )


class Responses:
    """What one device says of the controls it sees.

    Every status is said once for each control, when it has come true; what could not be sent stays owed. A
    control that gives way for a time is superseded then and started again afterwards, of which the second
    start is not told; if it ends while it gives way, nothing more is said of it. A control that was started
    and is listed no more before its end was neither completed nor cancelled: its server has taken it back
    (13). One that somebody had to agree to is started when that has happened; where it has not by its end,
    nobody took part (10).

    Args:
        lfdi: of the device.
    """

    def __init__(self, lfdi: str) -> None:
        self._lfdi = lfdi
        self._courses: dict[str, Course] = {}
        self._owed: list[Owed] = []
        self.gone: deque[Gone] = deque(maxlen=_REMEMBERED)
        """What is owed no more, newest last."""

    @property
    def owed(self) -> tuple[Owed, ...]:
        """What is still to be sent, oldest first."""
        return tuple(self._owed)

    def settle(self, owed: Owed, refused: str = "") -> None:
        """It has arrived, or was refused for good, in words."""
        self._owed.remove(owed)
        self.gone.append(Gone(owed.response, refused))

    def note(
        self,
        listed: Iterable[DERControl],
        standing: Standing,
        now_s: int,
        cannot: frozenset[str],
        *,
        waits: bool = False,
    ) -> None:
        """Take in what is listed and what holds now.

        Args:
            listed: every control of every program that concerns the device, as last seen.
            standing: what the device is under.
            now_s: the server's time.
            cannot: modes that the device does not have, or cannot as they stand now.
            waits: somebody has still to agree to what stands.
        """
        seen = {control.mrid: control for control in listed}
        for mrid, control in seen.items():
            course = self._courses.setdefault(mrid, Course(control))
            course.control = control
        obeyed = {control.mrid for control in standing.controls}
        never = cannot - standing.by_mode.keys()  # of what stands now its present value may be the reason
        for mrid, course in list(self._courses.items()):
            holds = _Holds(mrid in obeyed, waits, mrid in standing.overtaken, mrid in seen)
            for status in self._new(course, holds, now_s, cannot if holds.obeyed else never):
                course.said.add(status)
                self._owe(course.control, status, now_s)
            gone = span_of(course.control, self._lfdi).end_s <= now_s and mrid not in seen
            if gone:
                del self._courses[mrid]

    def _new(self, course: Course, holds: _Holds, now_s: int, cannot: frozenset[str]) -> list[ResponseStatus]:
        """What has come true and has not been said."""
        if course.over():
            return []
        span = span_of(course.control, self._lfdi)
        if not holds.listed and now_s < span.end_s:
            return [ResponseStatus.ABORTED_BY_SERVER] if course.started else []
        found = [ResponseStatus.RECEIVED, *self._come_true(course, holds, now_s, cannot)]
        return [each for each in found if each not in course.said]

    def _come_true(
        self, course: Course, holds: _Holds, now_s: int, cannot: frozenset[str]
    ) -> list[ResponseStatus]:
        """What holds of a control now, said or not."""
        control = course.control
        status, span = control.event_status.current_status, span_of(control, self._lfdi)
        found: list[ResponseStatus] = []
        if modes(control.der_control_base) <= cannot:
            found.append(ResponseStatus.REJECTED_NOT_APPLICABLE)
        elif status in _CANCELLED:
            if span.end_s <= now_s or not course.started:
                found.append(ResponseStatus.CANCELLED)
        elif holds.obeyed:  # also what is superseded, until its replacement begins here
            course.waited |= holds.waits
            course.started |= not holds.waits
            found += [ResponseStatus.STARTED] if course.started else []
        elif status == EventState.SUPERSEDED:
            if span.end_s <= now_s:
                found.append(ResponseStatus.SUPERSEDED)
        elif holds.overtaken:
            course.started = False
            found.append(ResponseStatus.SUPERSEDED)
        elif span.end_s <= now_s:
            found += _ended(course)
        return found

    def _owe(self, control: DERControl, status: ResponseStatus, now_s: int) -> None:
        wanted = ResponseRequired(control.response_required)
        bit = ResponseRequired.RECEIVED if status == ResponseStatus.RECEIVED else ResponseRequired.SPECIFIC
        if control.reply_to is None or not wanted & bit:
            return
        said = DERControlResponse(
            created_date_time=now_s, end_device_lfdi=self._lfdi, status=status, subject=control.mrid
        )
        self._owed.append(Owed(control.reply_to, said))
        if len(self._owed) > _MOST_OWED:
            self.settle(self._owed[0], "given up: too many wait")


def _ended(course: Course) -> list[ResponseStatus]:
    """What is said of a control that has come to its end."""
    if course.started:
        return [ResponseStatus.COMPLETED]
    if course.waited:
        return [ResponseStatus.NO_PARTICIPATION]
    return [] if ResponseStatus.SUPERSEDED in course.said else [ResponseStatus.REJECTED_LATE]
