"""Programs: groups of devices with what is asked of them, their defaults and their curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.events import modes
from gridflock.field.ieee2030_5.resources import (
    DefaultDERControl,
    DERControlBase,
    DERCurve,
    DERCurveList,
    DERProgram,
    Link,
    ListLink,
    Profile,
)
from gridflock.field.ieee2030_5.server._offered import Program
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import page, single
from gridflock.field.ieee2030_5.server._registry import By
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.field.ieee2030_5.wire import item
from gridflock.model import Rejected

_HIGHEST_PRIMACY = 255
_MOST_TEXT = 31
"""Octets of a description: one deployed parser fails at 32."""


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProgramKept(Change):
    """A program is there, or is otherwise."""

    program: Program
    by: By

    def __call__(self, state: State) -> None:
        state.offered.keep(self.program)


@dataclass(frozen=True, slots=True)
class ProgramGone(Change):
    """A program is taken out with all that is in it."""

    number: int
    by: By

    def __call__(self, state: State) -> None:
        state.offered.forget(self.number)


@dataclass(frozen=True, slots=True)
class CurveKept(Change):
    """A program has one more curve."""

    program: int
    number: int
    curve: DERCurve
    by: By

    def __call__(self, state: State) -> None:
        state.offered.keep_curve(self.program, self.number, self.curve)


CHANGES: tuple[type[Change], ...] = (ProgramKept, ProgramGone, CurveKept)


# ---- what clients see --------------------------------------------------------------------------------


def described(program: Program) -> DERProgram:
    """A program as its devices see it."""
    path = program.path
    return DERProgram(
        href=path,
        subscribable=1,
        mrid=program.mrid,
        description=short(program.name),
        primacy=program.primacy,
        active_der_control_list_link=ListLink(href=f"{path}/actderc"),
        default_der_control_link=None if program.default is None else Link(href=f"{path}/dderc"),
        der_control_list_link=ListLink(href=f"{path}/derc"),
        der_curve_list_link=ListLink(href=f"{path}/dc"),
    )


def short(text: str) -> str:
    """A description of at most 31 octets."""
    return text.encode()[:_MOST_TEXT].decode(errors="ignore")


def program_item(program: Program, within: type[Any], profile: Profile) -> bytes:
    """A program as an item of a list of programs."""
    return item(described(program), within, profile)


def in_order(programs: list[Program]) -> list[Program]:
    """As a list of programs goes: by ascending primacy, then by descending mRID."""
    return sorted(sorted(programs, key=lambda each: each.mrid, reverse=True), key=lambda each: each.primacy)


def program(ask: Ask, number: int) -> Answer:
    """One program."""
    found = of_number(ask, number)
    return single(ask, found.path, lambda: described(found))


def default(ask: Ask, number: int) -> Answer:
    """What holds while no control does."""
    found = of_number(ask, number)
    if found.default is None:
        raise Refused(404, "has no default")
    held = found.default
    return single(ask, f"{found.path}/dderc", lambda: held)


def curves(ask: Ask, number: int) -> Answer:
    """A program's curves, the newest first."""
    path = f"{of_number(ask, number).path}/dc"
    held = ask.state.offered.curves.get(number, {}).values()
    ordered = sorted(held, key=lambda each: (each.creation_time, each.mrid), reverse=True)
    return page(ask, DERCurveList(href=path), ordered, lambda each: each)


def curve(ask: Ask, number: int, text: str) -> Answer:
    """One curve."""
    of_number(ask, number)
    found = ask.state.offered.curves.get(number, {}).get(index(text))
    if found is None:
        raise Refused(404, "is no curve")
    return single(ask, f"/derp/{number}/dc/{text}", lambda: found)


def of_number(ask: Ask, number: int) -> Program:
    """The program, if it is still there."""
    found = ask.state.offered.programs.get(number)
    if found is None:
        raise Refused(404, "is no program")
    return found


def index(text: str) -> int:
    """A further number of an address; -1 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1


# ---- what operators do -------------------------------------------------------------------------------


def make_program(turn: Turn, name: str, primacy: int, by: By) -> Program | Rejected:
    """A new program, without default, curves and controls.

    Args:
        turn: of the operator.
        name: unique, not empty.
        primacy: 0 to 255; the lower wins.
        by: who and why.
    """
    wrong = _wrong(turn.state, name, primacy)
    if wrong is not None:
        return wrong
    number = turn.state.offered.next_program
    made = Program(number, turn.policy.mrid("derp", number, turn.now_s), name, primacy)
    turn.do(ProgramKept(made, by))
    return made


def set_primacy(turn: Turn, number: int, primacy: int, by: By) -> Program | Rejected:
    """Let a program weigh otherwise from now on."""
    known = turn.state.offered.programs.get(number)
    if known is None:
        return _unknown(number)
    wrong = _wrong_primacy(primacy)
    return wrong if wrong is not None else _kept(turn, replace(known, primacy=primacy), by)


def set_default(turn: Turn, number: int, wanted: DefaultDERControl | None, by: By) -> Program | Rejected:
    """Let another default hold from now on, or none.

    Args:
        turn: of the operator.
        number: of the program.
        wanted: what it sets; its address and identifiers are given here. None withdraws it.
        by: who and why.
    """
    known = turn.state.offered.programs.get(number)
    if known is None:
        return _unknown(number)
    if wanted is not None:
        wrong = wrong_base(turn.state, number, wanted.der_control_base, "default")
        if wrong is not None:
            return wrong
        version = 0 if known.default is None else ((known.default.version or 0) + 1) % 65_536
        wanted = replace(
            wanted,
            href=f"{known.path}/dderc",
            subscribable=1,
            mrid=turn.policy.mrid("dderc", number),
            version=version,
        )
    turn.touch(f"{known.path}/dderc")
    return _kept(turn, replace(known, default=wanted), by)


def remove_program(turn: Turn, number: int, by: By) -> Rejected | None:
    """Take a program out; it must have no control that a client may hold, and no device may follow it."""
    offered = turn.state.offered
    known = offered.programs.get(number)
    if known is None:
        return _unknown(number)
    if offered.controls.get(number):
        return Rejected("program", "controls", (known.name,), "has controls that are not over")
    if turn.state.assignments.followers.get(number):
        return Rejected("program", "devices", (known.name,), "is followed by devices")
    turn.do(ProgramGone(number, by))
    turn.touch(known.path)
    return None


def make_curve(turn: Turn, number: int, wanted: DERCurve, by: By) -> DERCurve | Rejected:
    """A new curve of a program; its address, identifier and creation time are given here."""
    offered = turn.state.offered
    known = offered.programs.get(number)
    if known is None:
        return _unknown(number)
    at = offered.next_curve
    made = replace(
        wanted, href=f"{known.path}/dc/{at}", mrid=turn.policy.mrid("dc", at), creation_time=turn.now_s
    )
    turn.do(CurveKept(number, at, made, by))
    turn.touch(f"{known.path}/dc")
    return made


def wrong_base(state: State, number: int, base: DERControlBase, what: str) -> Rejected | None:
    """What is wrong with modes that a control or default is to set; None where nothing is."""
    named = modes(base)
    if not named:
        return Rejected(what, "modes", (), "sets nothing")
    known = {each.href for each in state.offered.curves.get(number, {}).values()}
    for mode in sorted(named):
        value = getattr(base, mode)
        if isinstance(value, Link) and value.href not in known:
            return Rejected(what, mode, (value.href,), "is no curve of this program")
    return None


def touch_program(turn: Turn, number: int) -> None:
    """What stands of a program itself is no longer what it was, in every list of programs too."""
    turn.touch(f"/derp/{number}")
    assignments = turn.state.assignments
    for device in assignments.followers.get(number, ()):
        for held in assignments.held[device]:
            if number in held.programs:
                turn.touch(f"/edev/{device}/fsa/{held.number}/derp")


def _kept(turn: Turn, program: Program, by: By) -> Program:
    turn.do(ProgramKept(program, by))
    touch_program(turn, program.number)
    return program


def _wrong(state: State, name: str, primacy: int) -> Rejected | None:
    if not name.strip():
        return Rejected("program", "name", (), "is empty")
    if name in state.offered.by_name:
        return Rejected("program", "name", (name,), "is there already")
    return _wrong_primacy(primacy)


def _wrong_primacy(primacy: int) -> Rejected | None:
    if not 0 <= primacy <= _HIGHEST_PRIMACY:
        return Rejected("program", "primacy", (str(primacy),), f"is not from 0 to {_HIGHEST_PRIMACY}")
    return None


def _unknown(number: int) -> Rejected:
    return Rejected("program", "number", (str(number),), "is no program")


ROUTES = (
    Route("/derp/{}", Need.PROGRAM, {"GET": program}),
    Route("/derp/{}/dderc", Need.PROGRAM, {"GET": default}),
    Route("/derp/{}/dc", Need.PROGRAM, {"GET": curves}),
    Route("/derp/{}/dc/{}", Need.PROGRAM, {"GET": curve}),
)
