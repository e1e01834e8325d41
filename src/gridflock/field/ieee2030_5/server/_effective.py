"""What a device is expected to be under: the answer that a conforming client comes to by itself."""

from __future__ import annotations

from dataclasses import replace

from gridflock.field.ieee2030_5.events import Offer, Standing, standing
from gridflock.field.ieee2030_5.resources import DERControl, EventState
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._state import State

_OVER = (EventState.CANCELLED, EventState.CANCELLED_RANDOMISED, EventState.SUPERSEDED)


def offers(state: State, device: Device) -> list[Offer]:
    """The programs that a device follows, with the controls that it can know.

    One that has not been heard of since a moment knows nothing that was made, cancelled or replaced after it:
    what has been since is to it what it was.
    """
    lost_s = state.registry.lost.get(device.number)
    numbers = {n for held in state.assignments.held.get(device.number, ()) for n in held.programs}
    found = []
    for number in sorted(numbers & state.offered.programs.keys()):
        program = state.offered.programs[number]
        controls = [
            each if lost_s is None else _as_of(each, lost_s)
            for each in state.offered.controls.get(number, {}).values()
            if lost_s is None or each.creation_time <= lost_s
        ]
        found.append(Offer(program.primacy, program.mrid, controls, program.default))
    return found


def _as_of(control: DERControl, known_s: int) -> DERControl:
    """A control to a device that has heard nothing of it since; what is over later is open to it."""
    status = control.event_status
    if status.date_time <= known_s or status.current_status not in _OVER:
        return control
    return replace(control, event_status=replace(status, current_status=EventState.ACTIVE))


def effective(state: State, device: Device, at_s: int) -> Standing:
    """What stands for a device at a moment, mode by mode, randomised as it does itself.

    Args:
        state: the server's.
        device: enabled; one that is not follows nothing.
        at_s: UTC seconds.
    """
    category = None if device.category < 0 else device.category
    return standing(offers(state, device), at_s, device.lfdi, category)


def unanswered(state: State, mrid: str, status: int) -> list[int]:
    """Devices that follow a control's program and have not said that of it."""
    program = state.offered.program_of(mrid)
    if program is None:
        return []
    said = state.responses.of_subject.get(mrid, {})
    return [each for each in state.assignments.followers.get(program, {}) if (each, status) not in said]
