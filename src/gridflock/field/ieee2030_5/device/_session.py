"""A client's conversation with one server: fetching, sending, the server's time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from gridflock.field.ieee2030_5.resources import Link, Profile, Resource, Time
from gridflock.field.ieee2030_5.wire import Malformed, read, write

_PAGE = 50
_MOST_PAGES = 200
_TRIES = 2
"""Of one request in one visit; what is still missing then is asked for at the next."""
_MOST_KNOWN = 4_096
_DIGEST = 16
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5, 300
_LONGEST_RETRY_S = 3_600
"""For so long at most a server is believed that it wants to be left alone."""
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    Attributes:
        status: HTTP status code.
        body: XML, or nothing.
        location: of what was made.
        retry_s: seconds it asks to wait; 0 where it says nothing.
    """

    status: int
    body: bytes = b""
    location: str = ""
    retry_s: int = 0


class Line(Protocol):
    """One connection to a server, or the means to make one."""

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """One request.

        Raises:
            OSError: nothing came back: no connection, no answer in time, a certificate that is not trusted.
            ValueError: the path is none that this server could have; nothing was sent.
        """
        ...


class Refused(Exception):  # noqa: N818 - what the server said, not a mistake of ours
    """The server answered something else than was asked for.

    Attributes:
        status: HTTP status code; 0 where its body could not be read.
        retry_s: seconds it asks to wait.
        nowhere: the place is none that could be asked; nothing was sent.
    """

    def __init__(
        self,
        method: str,
        path: str,
        status: int,
        why: str = "",
        retry_s: int = 0,
        *,
        nowhere: bool = False,
    ) -> None:
        super().__init__(f"{method} {path}: {why or status}")
        self.status, self.retry_s, self.nowhere = status, min(retry_s, _LONGEST_RETRY_S), nowhere

    @property
    def for_good(self) -> bool:
        """Whether the same again would bring the same: the server has understood, and does not want it."""
        return self.nowhere or (400 <= self.status < 500 and self.status not in (403, 408, 429))

    @property
    def all_of_it(self) -> bool:
        """Whether the server wants to be left alone altogether."""
        return self.retry_s > 0 or self.status == 429

    @property
    def gone(self) -> bool:
        """Whether there is no such thing, or no more."""
        return self.status in (404, 410)


class Session:
    """Requests of one client to one server.

    A request that is lost is made once more at once: everything a client sends may arrive twice without harm.
    A page of which nothing has changed is not read again.

    Args:
        line: the way to the server.
        profile: what is spoken with it.
    """

    def __init__(self, line: Line, profile: Profile) -> None:
        self._line, self.profile = line, profile
        self._known: dict[str, tuple[type[Any], bytes, Any]] = {}
        self.ahead_s = 0
        """The server's clock less the client's own."""
        self.clock: Callable[[], int] = lambda: 0
        """The client's own."""
        self.heard_s: int | None = None
        """When the server answered last; None before that."""
        self.silent_s: int | None = None
        """From when it gives no answer; None while it does, or was not asked yet."""

    def server_s(self, now_s: int) -> int:
        """The server's time at a moment of the client's own clock."""
        return now_s + self.ahead_s

    async def fetch(self, path: str, of: type[R]) -> R:
        """The resource at a path.

        Raises:
            Refused: the server refuses, or its body is no such resource.
            OSError: nothing came back.
        """
        reply = await self._ask("GET", path)
        if reply.status != 200:
            raise Refused("GET", path, reply.status, retry_s=reply.retry_s)
        digest = blake2b(reply.body, digest_size=_DIGEST).digest()
        known = self._known.pop(path, None)
        if known is None or known[:2] != (of, digest):
            found = read(reply.body, (of,), self.profile)
            if isinstance(found, Malformed):
                raise Refused("GET", path, 0, f"{found.path}: {found.reason}")
            known = of, digest, found
        self._known[path] = known
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        assert isinstance(known[2], of)
        return known[2]

    async def fetch_all(self, path: str, of: type[R], items: str) -> tuple[R, tuple[Any, ...]]:
        """A list's first page, and the items of all its pages.

        Args:
            path: of the list.
            of: its class.
            items: the field its items stand in.

        Raises:
            Refused: the server refuses, or its body is no such list.
            OSError: nothing came back.
        """
        first, found, same = await self._pages(path, of, items)
        if not same:  # it has changed between two pages
            first, found, _ = await self._pages(path, of, items)
        return first, tuple(found)

    async def _pages(self, path: str, of: type[R], items: str) -> tuple[R, list[Any], bool]:
        """As of ``fetch_all``, and whether all pages tell the same length of the list."""
        more = "&" if "?" in path else "?"
        first = await self.fetch(f"{path}{more}s=0&l={_PAGE}", of)
        found, lengths = [*getattr(first, items)], {int(getattr(first, "all"))}  # noqa: B009 - of a list
        for _ in range(_MOST_PAGES):
            if len(found) >= max(lengths):
                break
            page = await self.fetch(f"{path}{more}s={len(found)}&l={_PAGE}", of)
            lengths.add(int(getattr(page, "all")))  # noqa: B009 - the same
            if not getattr(page, items):
                break
            found += getattr(page, items)
        return first, found, len(lengths) == 1

    async def send(self, method: str, path: str, resource: Resource) -> str:
        """Post or put a resource; where it stands from then on, if the server says.

        Raises:
            Refused: the server refuses.
            OSError: nothing came back.
        """
        reply = await self._ask(method, path, write(resource, self.profile))
        if reply.status not in (200, 201, 204):
            raise Refused(method, path, reply.status, retry_s=reply.retry_s)
        return reply.location

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """One request, tried again where nothing comes back.

        Raises:
            Refused: the server has named a place that cannot be asked for.
            OSError: nothing came back, for the reason of the first try.
        """
        first: OSError | None = None
        for _ in range(_TRIES):
            try:
                reply = await self._line.ask(method, path, body)
            except OSError as error:
                first = first or error
            except ValueError as error:
                raise Refused(method, path, 0, str(error), nowhere=True) from error
            else:
                self.heard_s, self.silent_s = self.clock(), None
                return reply
        assert first is not None
        self.silent_s = self.clock() if self.silent_s is None else self.silent_s
        raise first

    def set_back(self, by_s: int) -> None:
        """The client's own clock was set back by so many seconds: the server's was not."""
        self.ahead_s += by_s
        self.heard_s = None if self.heard_s is None else self.heard_s - by_s
        self.silent_s = None if self.silent_s is None else self.silent_s - by_s

    async def set_clock(self, path: str, clock: Callable[[], int]) -> int:
        """Take the server's time over; how often it wants to be asked, seconds.

        Raises:
            Refused: the server refuses.
            OSError: nothing came back.
        """
        told = await self.fetch(path, Time)
        self.ahead_s = told.current_time - clock()
        return told.poll_rate


def wait_s(missed: int, rate_s: int, who: str) -> int:
    """How long to leave a server alone after a visit that failed, seconds.

    Longer each time, never longer than until one would have asked anyhow, and not as long as others do.

    Args:
        missed: visits that failed in a row, this one among them.
        rate_s: how often it is asked while all goes well.
        who: LFDI, by which the wait is drawn.
    """
    longest_s = max(_FIRST_WAIT_S, min(rate_s, _LONGEST_WAIT_S))
    span_s = min(_FIRST_WAIT_S << min(max(missed, 1) - 1, 10), longest_s)
    drawn = int.from_bytes(blake2b(f"{who}/{missed}".encode(), digest_size=4).digest(), "big")
    return span_s - drawn % (span_s // 2 + 1)


def href(link: Link | None) -> str | None:
    """Where a link leads; None without one."""
    return None if link is None else link.href
