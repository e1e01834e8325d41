"""The programs of one device, as last seen at its server."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5.device._session import Refused, Session
from gridflock.field.ieee2030_5.events import Offer
from gridflock.field.ieee2030_5.resources import (
    DefaultDERControl,
    DERControl,
    DERControlList,
    DERProgram,
    DERProgramList,
    FunctionSetAssignmentsList,
)

_GONE = 404
_CONTROLS, _DEFAULT = "controls", "default"
_BOTH = frozenset({_DEFAULT, _CONTROLS})
_USUAL_S = 300


@dataclass(slots=True)
class _Followed:
    """One program as far as it has been asked for.

    Attributes:
        program: as listed last.
        controls: as seen last; None before the first time.
        default: the same; None where the program has none.
        open: what is still to be asked for.
    """

    program: DERProgram
    controls: tuple[DERControl, ...] | None = None
    default: DefaultDERControl | None = None
    open: frozenset[str] = _BOTH

    @property
    def offer(self) -> Offer | None:
        """What it offers; None until all of it was seen once."""
        if self.controls is None:
            return None
        return Offer(self.program.primacy, self.program.mrid, self.controls, self.default)


@dataclass(slots=True)
class _Listed:
    """One list of programs: how often it wants to be asked, and what it held."""

    rate_s: int = 0
    due_s: int = 0
    programs: tuple[_Followed, ...] = ()
    vanished: bool = False
    """A program's controls were not there when they were asked for, and the list was asked for once more."""

    def take(self, programs: tuple[DERProgram, ...]) -> None:
        """A new state of the list; what hangs on its programs is to be asked for."""
        before = {each.program.mrid: each for each in self.programs}
        found = []
        for program in programs:
            known = before.get(program.mrid) or _Followed(program)
            found.append(replace(known, program=program, open=_BOTH))
        self.programs = tuple(found)


class Programs:
    """What a device is offered, kept up to date at the rates that its server states.

    What was seen last holds until something else is seen: a device that loses its server follows the controls
    it knows to their end, and then their programs' defaults. Where contact is lost in the middle, what has
    come is kept, and the rest is asked for as soon as there is contact.

    Args:
        session: the way to the server.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._path: str | None = None
        self._due_s = 0
        self._lists: dict[str, _Listed] = {}
        self.known = False
        """Whether everything was seen once."""

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Every program of every assignment, each once."""
        offers = (each.offer for listed in self._lists.values() for each in listed.programs)
        return tuple({offer.program: offer for offer in offers if offer is not None}.values())

    @property
    def controls(self) -> tuple[DERControl, ...]:
        """Every control that is listed."""
        return tuple(control for offer in self.offers for control in offer.controls)

    def due_s(self) -> int:
        """When something wants to be asked for next, by the client's own clock."""
        if any(each.open for listed in self._lists.values() for each in listed.programs):
            return 0
        return min([self._due_s, *(listed.due_s for listed in self._lists.values())])

    def rate_s(self) -> int:
        """How often something of it wants to be asked for; what is usual where nothing is known yet."""
        return min((listed.rate_s for listed in self._lists.values() if listed.rate_s), default=_USUAL_S)

    def stale(self) -> None:
        """Ask for everything at the next visit: something is said to have changed."""
        self._due_s = 0
        for listed in self._lists.values():
            listed.due_s = 0

    def found_at(self, path: str) -> None:
        """Where the device's assignments stand."""
        if path != self._path:
            self._path, self._due_s = path, 0

    async def renew(self, now_s: int) -> None:
        """Ask for what is due.

        Raises:
            Refused: the server refuses; what is known stays.
            OSError: nothing came back; what is known stays, and what had come before.
        """
        if self._path is not None and self._due_s <= now_s:
            told, assigned = await self._session.fetch_all(
                self._path, FunctionSetAssignmentsList, "function_set_assignments"
            )
            paths = {each.der_program_list_link.href for each in assigned if each.der_program_list_link}
            kept = {path: self._lists[path] for path in paths & self._lists.keys()}
            self._lists = {path: kept.get(path, _Listed()) for path in sorted(paths)}
            self._due_s = now_s + told.poll_rate
        for path, listed in self._lists.items():
            if listed.due_s <= now_s:
                page, programs = await self._session.fetch_all(path, DERProgramList, "der_program")
                listed.take(programs)
                listed.rate_s, listed.due_s = page.poll_rate, now_s + page.poll_rate
            asked = [each for each in listed.programs if each.open]
            gone = [each for each in asked if not await self._follow(each)]
            if gone and not listed.vanished:
                listed.due_s = 0  # the list was read before they went
            listed.vanished = bool(gone) if asked else listed.vanished
        self.known = self.known or self._path is not None

    async def _follow(self, each: _Followed) -> bool:
        """Ask for what is open of a program: its default first, so that controls never stand without one.

        False where its controls are not there any more.
        """
        there = True
        program = each.program
        if _DEFAULT in each.open:
            link = program.default_der_control_link
            each.default = None if link is None else await self._default(link.href)
            each.open -= {_DEFAULT}
        if _CONTROLS in each.open:
            listed = program.der_control_list_link
            if listed is None:
                each.controls = ()
            else:
                there = await self._controls(each, listed.href)
            each.open -= {_CONTROLS}
        return there

    async def _controls(self, each: _Followed, path: str) -> bool:
        """Take over a program's controls; none where the list of them is gone, which is told by False."""
        try:
            _, each.controls = await self._session.fetch_all(path, DERControlList, "der_control")
        except Refused as refused:
            if refused.status != _GONE:
                raise
            each.controls = ()
            return False
        return True

    async def _default(self, path: str) -> DefaultDERControl | None:
        try:
            return await self._session.fetch(path, DefaultDERControl)
        except Refused as refused:
            if refused.status != _GONE:
                raise
            return None
