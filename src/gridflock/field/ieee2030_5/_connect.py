"""The calling side of a connection: kept open, resumed when it was lost, patient with a server that is away.

One ``Connection`` is one client's way to one server, one request at a time; thousands of them live in one
event loop. It is a ``device.Line``.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

from gridflock.field.ieee2030_5._http import MEDIA_TYPE
from gridflock.field.ieee2030_5._sides import Calling, Side
from gridflock.field.ieee2030_5._tls import Secured
from gridflock.field.ieee2030_5.device import Reply
from gridflock.field.ieee2030_5.identity import Standing as Identified
from gridflock.field.ieee2030_5.identity import Trust

_HEAD_BYTES = 16_384
_FIELDS = 64
_BAD_CERTIFICATE = 42
_SAFE = frozenset({"GET", "PUT", "DELETE"})
"""Asked again by itself when a kept connection turns out to be dead: asking twice is asking once."""


class NoAnswer(OSError):  # noqa: N818 - the world said nothing
    """Nothing usable came back, in words."""


class NotTrusted(NoAnswer):
    """The server is not who it should be, or does not take us for who we are."""


class _Ended(NoAnswer):
    """The connection ended before any of the answer came."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one waits.

    Attributes:
        connect_s: for a connection with its handshake.
        answer_s: for a whole answer.
        first_s: after a first failure, before the next attempt; doubled after each further one.
        most_s: between two attempts, at most.
        answer_bytes: of a body, at most.
    """

    connect_s: float = 60.0
    answer_s: float = 30.0
    first_s: float = 1.0
    most_s: float = 300.0
    answer_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to call.

    Attributes:
        host: name or address, as in its certificate.
        port: TCP port.
        address: numerical address to connect to, where it has been looked up already; else empty.
        lfdi: of its certificate, where it is known by that.
    """

    host: str
    port: int
    address: str = ""
    lfdi: str = ""


class Connection:
    """Requests to one server.

    Args:
        server: whom to call.
        context: of ``client_context``; None speaks in the clear.
        trust: the rules the server's certificate is judged by.
        patience: how long to wait.
        jitter: a number in [0, 1) for every attempt, so that many who lost a server do not come back at once.

    Attributes:
        server: whom it calls.
    """

    def __init__(
        self,
        server: Server,
        context: ssl.SSLContext | None,
        trust: Trust | None,
        *,
        patience: Patience | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.server = server
        self._context, self._trust = context, trust
        self._patience, self._jitter = patience or Patience(), jitter
        self._session: ssl.SSLSession | None = None
        self._call: _Call | None = None
        self._turn = asyncio.Lock()
        self._failures = 0
        self._not_before_s, self._why = 0.0, ""
        self._counts: Counter[str] = Counter()

    @property
    def wait_s(self) -> float:
        """Seconds until the next attempt to connect; 0 while there is no reason to wait."""
        return max(0.0, self._not_before_s - time.monotonic())

    @property
    def counts(self) -> Mapping[str, int]:
        """Handshakes, requests and failures since the start."""
        return dict(self._counts)

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """One request; a connection is made where there is none.

        Args:
            method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
            path: with its query, encoded; or the whole URI of something on this server.
            body: XML.

        Raises:
            NoAnswer: no connection, no answer in time, or it is too soon after a failure to try again.
            NotTrusted: the handshake failed for what a certificate says.
            ValueError: the path holds what no path may, or leads to another server; nothing was sent.
        """
        path = _own(self.server, path)
        data = _said(self.server, method, path, body)
        async with self._turn:
            kept = self._call is not None and not self._call.closing
            try:
                return await self._ask(f"{method} {path}", data)
            except _Ended:
                if not kept or method not in _SAFE:
                    raise
                return await self._ask(f"{method} {path}", data)

    async def close(self) -> None:
        """Say goodbye."""
        if self._call is not None:
            self._call.hang_up()
            self._call = None

    async def _ask(self, what: str, data: bytes) -> Reply:
        """One request; who lets one in and gives no answer is as good as away."""
        call, kept = self._call, True
        if call is None or call.closing:
            call, kept = await self._connect(), False
            self._call = call
        self._counts["requests"] += 1
        try:
            async with asyncio.timeout(self._patience.answer_s):
                reply = await call.ask(data)
        except TimeoutError as error:
            why = f"{what}: no answer in {self._patience.answer_s:g} s"
            self._failed(call, why)
            raise NoAnswer(why) from error
        except NoAnswer as error:
            if not (kept and isinstance(error, _Ended)):  # an idle connection may be ended at any time
                self._failed(call, str(error))
            raise
        finally:
            if call.asking:
                call.abort()  # an answer that comes later must not be taken for the next one's
        self._failures = 0
        return reply

    async def _connect(self) -> _Call:
        if self.wait_s > 0.0:
            raise NoAnswer(f"{self._why}; not tried again for {self.wait_s:.1f} s")
        loop = asyncio.get_running_loop()
        call = _Call(self.server, self._context, self._trust, self._session, self._patience.answer_bytes)
        try:
            async with asyncio.timeout(self._patience.connect_s):
                address = self.server.address or self.server.host
                await loop.create_connection(lambda: call, address, self.server.port)
                await call.ready
        except (OSError, TimeoutError) as error:
            known = isinstance(error, NoAnswer)
            why = str(error) or "no connection in time"
            why = why if known else f"{self.server.host}:{self.server.port}: {why}"
            self._failed(call, why)
            if known:
                raise
            raise NoAnswer(why) from error
        except asyncio.CancelledError:
            call.abort()  # whoever asked is no longer there
            raise
        if call.tls is not None:
            self._counts["handshakes resumed" if call.tls.resumed else "handshakes full"] += 1
            self._session = call.session
        return call

    def _failed(self, call: _Call, why: str) -> None:
        """Wait longer each time, and not as long as others do; a session that failed is not tried again."""
        self._counts["failures"] += 1
        self._session, self._why = None, why
        call.abort()
        span_s = min(self._patience.first_s * 2.0**self._failures, self._patience.most_s)
        self._not_before_s = time.monotonic() + span_s * (0.5 + 0.5 * self._jitter())
        self._failures = min(self._failures + 1, 30)


class _Call(Secured):
    """One connection, from the calling side.

    Attributes:
        ready: done when requests can be sent.
        asking: whether an answer is still to come.
    """

    def __init__(
        self,
        server: Server,
        context: ssl.SSLContext | None,
        trust: Trust | None,
        session: ssl.SSLSession | None,
        most: int,
    ) -> None:
        self._side = None if context is None else Calling(context, server.host, session)
        super().__init__(self._side, begins=True)
        self._server, self._trust, self._most = server, trust, most
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer: asyncio.Future[Reply] | None = None
        self._error: NoAnswer | None = None
        self.asking = False
        self._parser = httptools.HttpResponseParser(self)
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._fed = 0

    @property
    def session(self) -> ssl.SSLSession | None:
        """To be resumed by the next call."""
        return None if self._side is None else self._side.session

    async def ask(self, data: bytes) -> Reply:
        """Send a request and wait for its answer.

        Raises:
            NoAnswer: the connection ended, or what came is no answer.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self.asking, self._fed = True, 0
        self.say(data)
        return await self._answer

    def checked(self, tls: Side) -> int:
        """The server's certificate is judged unless its session was resumed."""
        if tls.resumed or self._trust is None:
            return 0
        leaf = tls.leaf()
        try:
            found: Identified = self._trust.judge(tls.chain() or [leaf], int(time.time()))
        except ValueError:
            return self._distrust("a certificate that cannot be read")
        if found.broken:
            return self._distrust("; ".join(map(str, found.broken)))
        if self._server.lfdi not in {"", found.lfdi}:
            return self._distrust(f"LFDI {found.lfdi}, where {self._server.lfdi} is expected")
        return 0

    def _distrust(self, why: str) -> int:
        self._error = NotTrusted(f"{self._server.host}: {why}")
        return _BAD_CERTIFICATE

    def secured(self) -> None:
        """Requests can be sent."""
        if not self.ready.done():
            self.ready.set_result(None)

    def refused(self, reason: str) -> None:
        """The handshake failed."""
        self._error = NotTrusted(f"{self._server.host}: TLS: {reason}")

    def heard(self, data: bytes) -> None:
        """A piece of an answer."""
        if not self.asking:
            self.abort()  # nobody asked
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(f"no HTTP: {error}")
        if self._fed > self._most + 2 * _HEAD_BYTES:
            self._break("an answer without end")

    def gone(self) -> None:
        """Whoever waits will wait no longer."""
        kind = NoAnswer if self._fed else _Ended
        error = self._error or kind(f"{self._server.host}: the connection ended")
        for waiting in (self.ready, self._answer):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
        if not self.ready.cancelled() and self.ready.done():
            self.ready.exception()  # seen: whoever connects may have stopped waiting

    # ---- what the parser calls -------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header."""
        self._fields[name.lower()] = value
        if len(self._fields) > _FIELDS:
            self._break("a header without end")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """An answer is whole; one that only says to go on is no answer."""
        status, stays = self._parser.get_status_code(), self._parser.should_keep_alive()
        fields, body = self._fields, b"".join(self._body)
        self._fields, self._body = {}, []
        if status < 200 or self._error is not None:
            return
        self.asking = False
        if self._answer is not None and not self._answer.done():
            wait = fields.get(b"retry-after", b"")
            reply = Reply(
                status,
                body,
                fields.get(b"location", b"").decode("latin-1"),
                int(wait) if wait.isdigit() else 0,
            )
            self._answer.set_result(reply)
        if not stays:
            self.hang_up()

    def _break(self, why: str) -> None:
        self._error = NoAnswer(f"{self._server.host}: {why}")
        self.abort()


def _own(server: Server, path: str) -> str:
    """Path and query of what a server names by its whole URI."""
    if path.startswith("/"):
        return path
    told = urlsplit(path)
    here = told.hostname in {server.host.lower(), server.address.lower()} and told.port in {None, server.port}
    if told.scheme not in {"http", "https"} or not here:
        raise ValueError(f"{path!r} is no path on {server.host}")
    return (told.path or "/") + (f"?{told.query}" if told.query else "")


def _said(server: Server, method: str, path: str, body: bytes) -> bytes:
    kind = (
        f"\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}" if method in {"POST", "PUT"} else ""
    )
    host = f"[{server.host}]" if ":" in server.host else server.host
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{server.port}\r\nAccept: {MEDIA_TYPE}{kind}\r\n\r\n"
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"{path!r} is no path")
    return head.encode("ascii") + body
