"""Function set assignments: which programs and tariffs a device follows, handed in from the group tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    DERProgramList,
    FunctionSetAssignments,
    FunctionSetAssignmentsList,
    Link,
    ListLink,
)
from gridflock.field.ieee2030_5.server._discovery import TIME
from gridflock.field.ieee2030_5.server._offered import Program
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import joined, page, single
from gridflock.field.ieee2030_5.server._programs import in_order, program_item
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import Access, By, Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import Assignment, State
from gridflock.field.ieee2030_5.server._turn import FOREVER, Ask, Change, Refused, Turn
from gridflock.model import Rejected

RESPONSES = "/rsps"


@dataclass(frozen=True, slots=True)
class Assigned(Change):
    """What a device follows from now on."""

    device: int
    owner: str
    held: tuple[Assignment, ...]
    by: By

    def __call__(self, state: State) -> None:
        state.assignments.keep(self.device, self.owner, self.held)


CHANGES: tuple[type[Change], ...] = (Assigned,)


def assignment_list(ask: Ask, about: Device) -> Answer:
    """What a device is to follow, by the order of the assignments' numbers."""
    rate_s = poll_s(ask.state, ask.policy, "FunctionSetAssignmentsList", ask.lfdi)
    head = FunctionSetAssignmentsList(href=f"{about.path}/fsa", subscribable=1, poll_rate=rate_s)
    held = ask.state.assignments.held.get(about.number, ())
    return page(ask, head, held, lambda each: _shown(ask, about, each))


def assignment(ask: Ask, about: Device, number: str) -> Answer:
    """One assignment."""
    found = held_by(ask, about, number)
    path = f"{about.path}/fsa/{found.number}"
    return single(ask, path, lambda: _shown(ask, about, found))


def held_by(ask: Ask, about: Device, number: str) -> Assignment:
    """The assignment an address names.

    Raises:
        Refused: 404.
    """
    for each in ask.state.assignments.held.get(about.number, ()):
        if str(each.number) == number:
            return each
    raise Refused(404, "is no assignment")


def program_list(ask: Ask, about: Device, number: str) -> Answer:
    """The programs of one assignment, the one that wins first; each is rendered once for all devices."""
    found = held_by(ask, about, number)
    known = ask.state.offered.programs
    programs = in_order([known[each] for each in found.programs if each in known])
    rate_s = poll_s(ask.state, ask.policy, "DERProgramList", ask.lfdi)
    head = DERProgramList(href=f"{about.path}/fsa/{found.number}/derp", subscribable=1, poll_rate=rate_s)

    def render(each: Program) -> bytes:
        def anew() -> tuple[bytes, int]:
            return program_item(each, DERProgramList, ask.profile), FOREVER

        return ask.cached(each.path, "", DERProgramList, anew)

    return joined(ask, head, programs, render)


def _shown(ask: Ask, about: Device, found: Assignment) -> FunctionSetAssignments:
    path = f"{about.path}/fsa/{found.number}"
    programs, tariffs = len(found.programs), len(found.tariffs)
    return FunctionSetAssignments(
        href=path,
        subscribable=1,
        mrid=ask.policy.mrid("fsa", about.lfdi, found.name),
        description=found.name,
        der_program_list_link=ListLink(href=f"{path}/derp", all=programs) if programs else None,
        response_set_list_link=ListLink(href=RESPONSES) if programs or tariffs else None,
        tariff_profile_list_link=ListLink(href=f"{path}/tp", all=tariffs) if tariffs else None,
        time_link=Link(href=TIME),
    )


# ---- what the operator does --------------------------------------------------------------------------


def assign(turn: Turn, held: Mapping[str, Sequence[Assignment]], by: By) -> tuple[Rejected, ...]:
    """Let devices follow these assignments and no others.

    An assignment of a name that the device holds already keeps its address, whatever is in it now; devices
    that are not named stay as they are.

    Args:
        turn: of the operator.
        held: LFDI to the assignments of the device; their own numbers are not looked at.
        by: who and why.

    Returns:
        Devices that follow nothing new, and why.
    """
    rejected = []
    for lfdi, wanted in held.items():
        device = turn.state.registry.of(lfdi)
        wrong = _wrong(turn, device, wanted)
        if wrong or device is None:
            rejected.append(Rejected("assignment", "lfdi", (lfdi,), wrong))
        else:
            _assign(turn, device, wanted, by)
    return tuple(rejected)


def unassign(turn: Turn, device: Device, by: By) -> None:
    """Let a device follow nothing any more."""
    _assign(turn, device, (), by)


def _wrong(turn: Turn, device: Device | None, wanted: Sequence[Assignment]) -> str:
    if device is None:
        return "is not registered"
    if device.access not in {Access.ENABLED, Access.SUSPENDED}:
        return "is not enabled"
    if len({each.name for each in wanted}) < len(wanted):
        return "holds two assignments of the same name"
    strange = {each for held in wanted for each in held.programs} - turn.state.offered.programs.keys()
    if strange:
        return f"follows programs that are not there: {sorted(strange)}"
    strange = {each for held in wanted for each in held.tariffs} - turn.state.prices.tariffs.keys()
    if strange:
        return f"follows tariffs that are not there: {sorted(strange)}"
    return ""


def _assign(turn: Turn, device: Device, wanted: Sequence[Assignment], by: By) -> None:
    assignments = turn.state.assignments
    former = {each.name: each for each in assignments.held.get(device.number, ())}
    following = assignments.next_number.get(device.number, 1)
    held = []
    for each in wanted:
        if each.name in former:
            held.append(replace(each, number=former[each.name].number))
        else:
            held.append(replace(each, number=following))
            following += 1
    now = tuple(sorted(held, key=lambda each: each.number))
    if now == assignments.held.get(device.number, ()):
        return
    turn.do(Assigned(device.number, device.owner, now, by))
    _touch(turn, device, set(former.values()) ^ set(now), len(former) != len(now))


def _touch(turn: Turn, device: Device, changed: set[Assignment], counted: bool) -> None:  # noqa: FBT001 whether their number changed
    path = f"{device.path}/fsa"
    turn.touch(path)
    for number in sorted({each.number for each in changed}):
        turn.touch(f"{path}/{number}")
        turn.touch(f"{path}/{number}/derp")
        turn.touch(f"{path}/{number}/tp")
    if counted:
        turn.touch(device.path)
        turn.touch("/edev", device.owner)


ROUTES = (
    Route("/edev/{}/fsa", Need.DEVICE, {"GET": assignment_list}),
    Route("/edev/{}/fsa/{}", Need.DEVICE, {"GET": assignment}),
    Route("/edev/{}/fsa/{}/derp", Need.DEVICE, {"GET": program_list}),
)
