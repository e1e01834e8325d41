"""What a server refuses, one by one: each thing waits by itself, and the others go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from gridflock.field.ieee2030_5.device._session import Refused, wait_s

_FORBIDDEN = 403
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known:
    """One thing that is refused: how often in a row, when it is tried again, and in words."""

    times: int
    again_s: int
    words: str


class Refusals:
    """Things that a server refuses while it answers to others.

    What it has understood and does not want is tried again when one would have asked anyhow; what failed in
    it, sooner and then more and more rarely. A server that says for how long, or that it is asked too often,
    means everything: that is raised.

    Args:
        who: LFDI, by which waits are drawn.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._of: dict[str, _Known] = {}

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is refused now, in words."""
        return tuple(each.words for each in self._of.values())

    @property
    def trouble(self) -> str:
        """The first of them; empty where nothing is refused."""
        return next((each.words for each in self._of.values()), "")

    def times(self, what: str) -> int:
        """How often in a row something was refused."""
        return self._of[what].times if what in self._of else 0

    def again_s(self, what: str) -> int:
        """When it is tried again, by the client's own clock; 0 where nothing keeps it."""
        return self._of[what].again_s if what in self._of else 0

    def only(self, what: Collection[str]) -> None:
        """Nothing else is asked for any more."""
        self._of = {each: known for each, known in self._of.items() if each in what}

    async def ask(
        self, what: str, talk: Awaitable[T], now_s: int, rate_s: int, *, may_be_gone: bool = False
    ) -> T | Refused:
        """Ask for something; what came, or how it was refused.

        Args:
            what: by which it is known again: its path, or in words.
            talk: the asking.
            now_s: the client's own clock.
            rate_s: how often it is asked for while all goes well, seconds.
            may_be_gone: that it is not there (404) is an answer like any other.

        Raises:
            Refused: the server wants to be left alone altogether.
            OSError: nothing came back.
        """
        try:
            found = await talk
        except Refused as refused:
            if refused.all_of_it:
                raise
            if may_be_gone and refused.gone:
                self._of.pop(what, None)
            else:
                self._note(what, refused, now_s, rate_s)
            return refused
        self._of.pop(what, None)
        return found

    async def alone(self, what: str, talk: Callable[[], Awaitable[None]], now_s: int, rate_s: int) -> None:
        """Do one of many things, unless it waits: refused, it holds up no others.

        Raises:
            Refused: the server wants to be left alone altogether.
            OSError: nothing came back.
        """
        if self.again_s(what) <= now_s:
            await self.ask(what, talk(), now_s, rate_s)

    def _note(self, what: str, refused: Refused, now_s: int, rate_s: int) -> None:
        times = self.times(what) + 1
        understood = refused.for_good or refused.status == _FORBIDDEN
        left_s = rate_s if understood else wait_s(times, rate_s, self._who)
        self._of[what] = _Known(times, now_s + max(left_s, 1), str(refused))
