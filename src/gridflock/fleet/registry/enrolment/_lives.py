"""What happened to each resource, and who took whose place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gridflock.fleet.registry.enrolment._moves import Act, Moves
from gridflock.schema import Enrolment


@dataclass(frozen=True, slots=True)
class Link:
    """One resource stands where another stood.

    Attributes:
        old: who went.
        new: who took over its place, its programme and what was claimed of it.
        how: another device, or the same one under another id.
        act: who, when, why.
    """

    old: str
    new: str
    how: Literal["replaced", "united"]
    act: Act


@dataclass(frozen=True, slots=True, eq=False)
class Lives:
    """Events in the order they happened in; a value, which ``after`` makes longer.

    Attributes:
        moves: all moves.
        links: all successions.
    """

    moves: tuple[Moves, ...] = ()
    links: tuple[Link, ...] = ()

    def after(self, moves: Iterable[Moves], links: Iterable[Link] = ()) -> Lives:
        """With more events; acts that moved nothing are none."""
        return Lives((*self.moves, *(m for m in moves if m.ids)), (*self.links, *links))

    def of(self, name: str) -> tuple[tuple[Act, Enrolment, Enrolment], ...]:
        """Moves of one resource: the act, from where, to where."""
        found = []
        for moves in self.moves:
            if name in moves.ids:
                k = moves.ids.index(name)
                found.append((moves.act, Enrolment(int(moves.before[k])), Enrolment(int(moves.after[k]))))
        return tuple(found)

    def heir(self, name: str) -> str:
        """Who stands there now: the end of all successions; the resource itself where nobody took over."""
        to = {link.old: link.new for link in self.links}
        while name in to:
            name = to[name]
        return name

    def forebears(self, name: str) -> tuple[str, ...]:
        """Who stood there before, the last one first; of united records every one."""
        found: list[str] = []
        ahead = [name]
        for link in reversed(self.links):
            if link.new in ahead:
                found.append(link.old)
                ahead.append(link.old)
        return tuple(found)
