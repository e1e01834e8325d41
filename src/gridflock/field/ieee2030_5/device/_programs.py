"""The programs of one device, as last seen at its server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5.device._refusals import Refusals
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
        """What it offers; None until all of it was asked for once.

        Where its controls are refused and were never seen, the default holds, as it does without contact.
        """
        if self.controls is None and (_CONTROLS in self.open or self.default is None):
            return None
        return Offer(self.program.primacy, self.program.mrid, self.controls or (), self.default)

    @property
    def places(self) -> set[str]:
        """Where what it offers stands."""
        links = (self.program.default_der_control_link, self.program.der_control_list_link)
        return {link.href for link in links if link is not None}


@dataclass(slots=True)
class _Listed:
    """One list of programs: how often it wants to be asked, and what it held."""

    rate_s: int = 0
    due_s: int = 0
    programs: tuple[_Followed, ...] = ()
    vanished: bool = False
    """A program's controls were not there when they were asked for, and the list was asked for once more."""

    def take(self, programs: Iterable[DERProgram]) -> None:
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
    come is kept, and the rest is asked for as soon as there is contact. A list that is refused holds up no
    others: what is known of it stays, and it is asked for again in its turn.

    Args:
        session: the way to the server.
        lfdi: of the device.
    """

    def __init__(self, session: Session, lfdi: str) -> None:
        self._session = session
        self.refusals = Refusals(lfdi)
        """Lists and defaults that the server does not give, by their paths."""
        self._path: str | None = None
        self._rate_s, self._due_s = 0, 0
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

    def set_back(self) -> None:
        """The client's own clock was set back: nothing waits for what it said before."""
        self.refusals.only(())
        self.stale()

    def found_at(self, path: str) -> None:
        """Where the device's assignments stand."""
        if path != self._path:
            self._path, self._due_s = path, 0

    async def renew(self, now_s: int) -> None:
        """Ask for what is due.

        Raises:
            Refused: the server wants to be left alone altogether; what is known stays.
            OSError: nothing came back; what is known stays, and what had come before.
        """
        if self._path is not None and self._due_s <= now_s:
            await self._assign(self._path, now_s)
        for path, listed in self._lists.items():
            if listed.due_s <= now_s:
                await self._list(path, listed, now_s)
            await self._follow_all(listed, now_s)
        self.refusals.only(self._places())
        self.known = self.known or self._all_seen()

    def _places(self) -> set[str]:
        """Everything that is asked for."""
        programs = (each for listed in self._lists.values() for each in listed.programs)
        return {self._path or "", *self._lists}.union(*(each.places for each in programs))

    def _all_seen(self) -> bool:
        lists = self._lists.values()
        programs = (each for listed in lists for each in listed.programs)
        return (
            self._rate_s > 0
            and all(listed.rate_s for listed in lists)
            and all(each.controls is not None for each in programs)
        )

    async def _assign(self, path: str, now_s: int) -> None:
        """The assignments, and with them the lists of programs."""
        talk = self._session.fetch_all(path, FunctionSetAssignmentsList, "function_set_assignments")
        told = await self.refusals.ask(path, talk, now_s, self._rate_s or _USUAL_S)
        if isinstance(told, Refused):
            self._due_s = self.refusals.again_s(path)
            return
        page, assigned = told
        paths = {each.der_program_list_link.href for each in assigned if each.der_program_list_link}
        kept = {path: self._lists[path] for path in paths & self._lists.keys()}
        self._lists = {path: kept.get(path, _Listed()) for path in sorted(paths)}
        self._rate_s = page.poll_rate or _USUAL_S
        self._due_s = now_s + self._rate_s

    async def _list(self, path: str, listed: _Listed, now_s: int) -> None:
        """One list of programs; refused or not, what hangs on those that are known is due."""
        talk = self._session.fetch_all(path, DERProgramList, "der_program")
        told = await self.refusals.ask(path, talk, now_s, listed.rate_s or self.rate_s())
        if isinstance(told, Refused):
            if told.gone and self.refusals.times(path) == 1:
                self._due_s = 0  # the assignments were read before it went
            listed.due_s = self.refusals.again_s(path)
            listed.take([each.program for each in listed.programs])
            return
        page, programs = told
        listed.take(programs)
        listed.rate_s = page.poll_rate or _USUAL_S
        listed.due_s = now_s + listed.rate_s

    async def _follow_all(self, listed: _Listed, now_s: int) -> None:
        """Ask for what is open of the programs of a list."""
        asked = [each for each in listed.programs if each.open]
        gone = [each for each in asked if not await self._follow(each, listed, now_s)]
        if gone and not listed.vanished:
            listed.due_s = 0  # the list was read before they went
        listed.vanished = bool(gone) if asked else listed.vanished
        again = [self.refusals.again_s(path) for each in asked for path in each.places]
        listed.due_s = min([listed.due_s, *(moment for moment in again if moment)])

    async def _follow(self, each: _Followed, listed: _Listed, now_s: int) -> bool:
        """Ask for what is open of a program: its default first, so that controls never stand without one.

        False where the list of its controls is not there any more; those that are known stand to their end
        while the program is listed.
        """
        there = True
        program, rate_s = each.program, listed.rate_s or self.rate_s()
        if _DEFAULT in each.open:
            link = program.default_der_control_link
            each.default = None if link is None else await self._default(each, link.href, now_s, rate_s)
            each.open -= {_DEFAULT}
        if _CONTROLS in each.open:
            link = program.der_control_list_link
            if link is None:
                each.controls = ()
            else:
                talk = self._session.fetch_all(link.href, DERControlList, "der_control")
                told = await self.refusals.ask(
                    link.href, talk, now_s, rate_s, may_be_gone=not listed.vanished
                )
                if not isinstance(told, Refused):
                    each.controls = told[1]
                elif told.gone:
                    each.controls, there = each.controls or (), False
            each.open -= {_CONTROLS}
        return there

    async def _default(self, each: _Followed, path: str, now_s: int, rate_s: int) -> DefaultDERControl | None:
        """A program's default; None where there is none, the one that is known where it is refused."""
        talk = self._session.fetch(path, DefaultDERControl)
        told = await self.refusals.ask(path, talk, now_s, rate_s, may_be_gone=True)
        if not isinstance(told, Refused):
            return told
        return None if told.gone else each.default
