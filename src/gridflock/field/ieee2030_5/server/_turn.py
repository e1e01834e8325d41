"""One go of the server: what it is made from, what it changes, what it touches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gridflock.field.ieee2030_5._http import Request
from gridflock.field.ieee2030_5.resources import Profile, ReasonCode
from gridflock.field.ieee2030_5.server._policy import Policy
from gridflock.field.ieee2030_5.server._registry import Client, Device
from gridflock.field.ieee2030_5.wire import spoken

if TYPE_CHECKING:
    from gridflock.field.ieee2030_5.server._state import State

FOREVER = 1 << 62
_MOST_BYTES = 128 * 2**20
"""Of cached pages."""
_OVERHEAD = 200
"""Bytes that keeping a page takes beside it."""


class Change:
    """One step of the state that outlives the process: a frozen value, called with the state it alters.

    The same call is made when it happens and when the journal is read again.
    """

    __slots__ = ()

    def __call__(self, state: State) -> None:
        raise NotImplementedError


def make(change: Change, state: State) -> None:
    """Alter the state by one change, as it happens or as the journal tells it."""
    change(state)
    state.made += 1


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The request cannot be granted; raised before anything was changed."""

    def __init__(self, status: int, why: str, code: ReasonCode = ReasonCode.VALUES, retry_s: int = 0) -> None:
        """Answer with ``status`` and an error of ``code``; ``why`` is for the log alone."""
        super().__init__(why)
        self.status = status
        self.code = code
        self.retry_s = retry_s


class Pages:
    """Bytes that were rendered once, by address and reader, until the resource is touched or time comes."""

    def __init__(self) -> None:
        self._pages: dict[str, dict[str, dict[object, tuple[int, bytes]]]] = {}
        self._bytes = 0

    def get(self, path: str, reader: str, key: object, now_s: int) -> bytes | None:
        """What was kept, if it still holds at ``now_s``."""
        readers = self._pages.get(path)
        if readers is None:
            return None
        kept = readers.get(reader)
        if kept is None:
            return None
        found = kept.get(key)
        return None if found is None or now_s >= found[0] else found[1]

    def keep(self, path: str, reader: str, key: object, until_s: int, body: bytes) -> None:
        """Keep the bytes while ``now_s < until_s``; where all is too much, all is dropped."""
        self._bytes += len(body) + _OVERHEAD
        if self._bytes > _MOST_BYTES:
            self._pages.clear()
            self._bytes = len(body) + _OVERHEAD
        kept = self._pages.setdefault(path, {}).setdefault(reader, {})
        if key in kept:
            self._bytes -= len(kept[key][1]) + _OVERHEAD
        kept[key] = (until_s, body)

    def drop(self, path: str, reader: str) -> None:
        """Forget an address, of one reader or (``""``) of all."""
        readers = self._pages.get(path)
        if readers is None:
            return
        dropped = [*readers] if not reader else [reader]
        for each in dropped:
            for _, body in readers.pop(each, {}).values():
                self._bytes -= len(body) + _OVERHEAD
        if not readers:
            del self._pages[path]


@dataclass(slots=True, kw_only=True)
class Turn:
    """One go: a request, a verb of the operator, or the passing of time.

    Attributes:
        state: what is altered, by ``do`` alone.
        policy: what the operator decided.
        now_s: the moment of the whole turn.
        pages: cached bytes.
        changes: made in this turn, in order.
        touched: addresses whose representation changed, each with the one client that sees it so, or ``""``.
        note: called once, before the first change is made; what it raises keeps all from being changed.
    """

    state: State
    policy: Policy
    now_s: int
    pages: Pages
    changes: list[Change] = field(default_factory=list)
    touched: list[tuple[str, str]] = field(default_factory=list)
    note: Callable[[], None] | None = None

    def do(self, change: Change) -> None:
        """Make a change and remember it for the journal."""
        if self.note is not None:
            note, self.note = self.note, None
            note()
        make(change, self.state)
        self.changes.append(change)

    def touch(self, path: str, reader: str = "") -> None:
        """What stands at ``path`` is no longer what it was (for one client only, if given)."""
        self.pages.drop(path, reader)
        self.touched.append((path, reader))


@dataclass(slots=True, kw_only=True)
class Ask(Turn):
    """A turn that answers a request.

    Attributes:
        request: as it came.
        client: who asks; None if unknown.
        device: the client's own device; None if unknown.
        about: the device the address is about; None where it is about none.
        contested: the site that an aggregator speaks for and that asks for itself.
    """

    request: Request
    client: Client | None = None
    device: Device | None = None
    about: Device | None = None
    contested: Device | None = None

    @property
    def writes(self) -> bool:
        """Whether the request wants to change something."""
        return self.request.method not in {"GET", "HEAD"}

    @property
    def profile(self) -> Profile:
        """What the client speaks; one that is not known yet, what its body shows."""
        if self.client is not None:
            return self.client.profile
        return min(spoken(self.request.body), self.policy.profile)

    @property
    def lfdi(self) -> str:
        """Of the certificate the request came with."""
        return self.request.caller.lfdi

    def known(self) -> tuple[Client, Device]:
        """The client, where the route admits only registered ones."""
        if self.client is None or self.device is None:
            raise Refused(404, "is not registered")
        return self.client, self.device

    def cached(self, path: str, reader: str, key: object, render: Callable[[], tuple[bytes, int]]) -> bytes:
        """The kept bytes, or those that ``render`` gives with the moment until which they hold."""
        body = self.pages.get(path, reader, (self.profile, key), self.now_s)
        if body is None:
            body, until_s = render()
            self.pages.keep(path, reader, (self.profile, key), until_s, body)
        return body
