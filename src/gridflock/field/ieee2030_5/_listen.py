"""The listener: TLS ended here, identity from the certificate, limits on everything a client may do.

No proxy stands before it and no header says who somebody is. The certificate is judged once per connection;
whether its holder is denied, suspended or too busy is asked at every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus

from OpenSSL import SSL

from gridflock.field.ieee2030_5._conversation import Conversation
from gridflock.field.ieee2030_5._http import Answer, Caller, Handler
from gridflock.field.ieee2030_5._limits import Limits, Quotas
from gridflock.field.ieee2030_5._messages import (
    BAD_FORMAT,
    BAD_VALUES,
    NO_RESOURCE,
    TOO_OFTEN,
    Asked,
    error_body,
    refusal,
    request_of,
)
from gridflock.field.ieee2030_5._sides import Side
from gridflock.field.ieee2030_5.identity import Denied, Standing, Trust

_LOG = logging.getLogger(__name__)
_SWEEP_S, _FORGET_S = 1.0, 60.0
_BACKLOG = 1_024
_MOST_STANDINGS = 200_000
_MOST_LEAVING = 4
"""Connections of one client that were replaced and are not gone yet."""
_BAD_CERTIFICATE, _UNSUPPORTED_CERTIFICATE, _EXPIRED, _ACCESS_DENIED = 42, 43, 45, 49
_ALERTS = {"CURVE": _UNSUPPORTED_CERTIFICATE, "SIGNATURE": _UNSUPPORTED_CERTIFICATE, "DATES": _EXPIRED}
_REASONS = {400: BAD_FORMAT, 429: TOO_OFTEN, 503: NO_RESOURCE}


@dataclass(frozen=True, slots=True)
class Security:
    """What the listener proves itself with, and whom it lets in.

    Attributes:
        context: of ``server_context``.
        trust: the same authorities, with the rules of their network.
        denied: who is kept out although the chain is sound.
    """

    context: SSL.Context
    trust: Trust
    denied: Denied = field(default_factory=Denied)


def _everybody(caller: Caller) -> bool:
    del caller
    return True


def event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop for a listener or for many connections: uvloop's where it can be had."""
    try:
        import uvloop  # noqa: PLC0415 - not made for every platform
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Listener:
    """Serves one handler over mutual TLS on one address.

    All methods are called on the event loop it was started in.

    Args:
        handler: the server's rules.
        security: certificate and trust.
        limits: bounds of time, size and number.
        allowed: asked at every request; False is answered with 403 and the handler hears nothing.
        longest: bytes of a body at a path, at most; 0 for the usual bound.
        quota: what a client may ask where that is more than the limits: requests per second and at once by
            its LFDI; asked again every few seconds.
    """

    def __init__(
        self,
        handler: Handler,
        security: Security,
        *,
        limits: Limits | None = None,
        allowed: Callable[[Caller], bool] = _everybody,
        longest: Callable[[str], int] = lambda _: 0,
        quota: Callable[[str], tuple[float, int]] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.date = b""
        self._handler, self._security = handler, security
        self._allowed, self._longest = allowed, longest
        self._quotas, self._handshakes = Quotas(self.limits, quota), Quotas(self.limits, quota)
        self._counts: Counter[str] = Counter()
        self._all: set[Conversation] = set()
        self._of: dict[str, set[Conversation]] = {}
        self._standings: dict[bytes, tuple[bytes, Standing]] = {}
        """By the leaf, with the chain it was judged in; both as digests."""
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._empty = asyncio.Event()
        self._forget_s = self._due_s = math.inf

    # ---- what an operator does -------------------------------------------------------------------

    async def start(self, host: str, port: int) -> int:
        """Listen.

        Returns:
            The port, chosen by the system where 0 was asked for.

        Raises:
            OSError: the address cannot be had.
        """
        self._loop = asyncio.get_running_loop()
        self._forget_s = self._due_s = self.now_s()
        self._sweep()
        self._server = await self._loop.create_server(self._accept, host, port, backlog=_BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no more connections, answer what has been asked, and end; after the grace, end at once."""
        if self._server is not None:
            self._server.close()
        if self._timer is not None:
            self._timer.cancel()
        for conversation in list(self._all):
            conversation.finish()
        self._empty.clear()
        if self._all:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_s)
        for conversation in list(self._all):
            conversation.abort()

    def renew(self, security: Security) -> None:
        """New certificate or authorities; tickets of before count no more.

        Connections stay if the authorities do; else they end after what has been asked on them.
        """
        other = security.trust != self._security.trust
        self._security = security
        self._standings.clear()
        for conversation in list(self._all) if other else ():
            conversation.finish()

    def deny(self, denied: Denied) -> None:
        """Another list of those kept out: it counts from the next request on, on standing connections too."""
        self._security = replace(self._security, denied=denied)

    def limit(self, lfdi: str, per_s: float, burst: int, connections: int | None = None) -> None:
        """What one client may ask from now on, whatever its quota says; its handshakes count by themselves.

        Args:
            lfdi: whose.
            per_s: requests in the long run.
            burst: requests at once.
            connections: at the same time; the usual bound if not given.

        Raises:
            ValueError: a bound that lets nothing through.
        """
        most = self.limits.per_client if connections is None else connections
        now_s = time.monotonic()
        self._quotas.set(lfdi, per_s, burst, most, now_s)
        self._handshakes.set(lfdi, per_s, max(burst, most), most, now_s)

    def drop(self, lfdi: str) -> int:
        """End a client's connections after what has been asked on them; how many there were."""
        found = list(self._of.get(lfdi, ()))
        for conversation in found:
            conversation.finish()
        return len(found)

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened since the start, by cause."""
        return dict(self._counts)

    @property
    def connections(self) -> int:
        """That stand now, handshakes included."""
        return len(self._all)

    @property
    def clients(self) -> Mapping[str, int]:
        """Connections by LFDI."""
        return {lfdi: len(found) for lfdi, found in self._of.items()}

    # ---- what a conversation asks ----------------------------------------------------------------

    def now_s(self) -> float:
        """Seconds of a clock that no one sets."""
        return time.monotonic()

    def count(self, cause: str) -> None:
        """One more of something."""
        self._counts[cause] += 1

    def longest(self, path: str) -> int:
        """Bytes of a body at a path, at most."""
        return self._longest(path) or self.limits.body_bytes

    def welcome(self, conversation: Conversation, tls: Side) -> int:
        """Judge a certificate that OpenSSL found sound; 0, or the alert to end with."""
        standing = self._standing(tls)
        if not isinstance(standing, Standing):
            return standing
        conversation.standing = standing
        conversation.caller = Caller(standing.lfdi, standing.sfdi, standing.subject)
        wait_s = self._handshakes.wait_s(standing.lfdi, self.now_s())
        if wait_s:
            self.count("refused: handshakes of one client")
            answer = refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_OFTEN, wait_s)
        elif not self._has_room(standing.lfdi):
            self.count("refused: connections of one client")
            answer = refusal(HTTPStatus.SERVICE_UNAVAILABLE, NO_RESOURCE)
        else:
            return 0
        if tls.resumed:  # our last word of the handshake is said: it hears why by HTTP
            conversation.turned_away = answer
            return 0
        return _ACCESS_DENIED

    def settled(self, conversation: Conversation) -> None:
        """A handshake is over."""
        tls = conversation.tls
        resumed = tls is not None and tls.resumed
        self.count("handshakes resumed" if resumed else "handshakes full")
        if conversation.turned_away is None:
            self._of.setdefault(conversation.caller.lfdi, set()).add(conversation)

    def left(self, conversation: Conversation) -> None:
        """A connection has ended."""
        self._all.discard(conversation)
        if not self._all:
            self._empty.set()
        caller = getattr(conversation, "caller", None)
        if caller is not None:
            mine = self._of.get(caller.lfdi, set())
            mine.discard(conversation)
            if not mine:
                self._of.pop(caller.lfdi, None)

    def answer(self, conversation: Conversation, asked: Asked) -> Answer | asyncio.Future[Answer]:
        """Ask who, how often and what, and only then the handler."""
        self._counts["requests"] += 1
        why = self._why_not(conversation)
        if why:
            self.count(f"refused: {why}")
            return refusal(HTTPStatus.FORBIDDEN, BAD_VALUES)
        wait_s = self._quotas.wait_s(conversation.caller.lfdi, self.now_s())
        if wait_s:
            self.count("refused: 429")
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_OFTEN, wait_s)
        request = request_of(asked, conversation.caller)
        if isinstance(request, Answer):
            self.count(f"refused: {request.status}")
            return request
        try:
            answer = self._handler(request)
        except Exception:  # noqa: BLE001 - our own mistake ends one answer, not the listener
            return self._fault(conversation.caller)
        if isinstance(answer, Answer):
            return self._whole(answer)
        return asyncio.ensure_future(self._settle(conversation.caller, answer))

    # ---- how -------------------------------------------------------------------------------------

    def _accept(self) -> Conversation:
        conversation = Conversation(self, self._security.context)
        self.count("connections")
        self._all.add(conversation)
        if len(self._all) > self.limits.connections:
            self.count("refused: connections")
            self._loop.call_soon(conversation.abort)
        return conversation

    def _standing(self, tls: Side) -> Standing | int:
        """What a chain says, judged or known; else the alert.

        A resumed session shows its leaf without issuers, which is never judged alone: one that is not known
        gets a fatal alert, at which a client forgets its session and shows its chain again.
        """
        leaf = tls.leaf()
        if not leaf:
            return _BAD_CERTIFICATE
        now_s, at = int(time.time()), hashlib.sha256(leaf).digest()
        known, standing = self._standings.get(at, (b"", None))
        if standing is not None and standing.until_s < now_s:
            del self._standings[at]
            standing = None
        if tls.resumed:
            if standing is None:
                self.count("handshakes to be made in full")
            return _BAD_CERTIFICATE if standing is None else standing
        chain = tls.chain()
        digest = hashlib.sha256(b"".join(chain)).digest()
        if standing is not None and digest == known:
            return standing
        return self._judged(chain, at, digest) if chain else _BAD_CERTIFICATE

    def _judged(self, chain: list[bytes], at: bytes, digest: bytes) -> Standing | int:
        """What a whole chain says; known from now on by its leaf, as are its resumed sessions."""
        try:
            standing = self._security.trust.judge(chain, int(time.time()))
        except ValueError:
            self.count("certificate: unreadable")
            return _BAD_CERTIFICATE
        if standing.broken:
            return self._refuse(standing)
        if len(self._standings) >= _MOST_STANDINGS and at not in self._standings:
            self._standings.pop(next(iter(self._standings)))
        self._standings[at] = (digest, standing)
        return standing

    def _refuse(self, standing: Standing) -> int:
        for broken in standing.broken:
            self.count(f"certificate: {broken.rule.name.lower()}")
        _LOG.warning("certificate %s refused: %s", standing.lfdi, "; ".join(map(str, standing.broken)))
        found = [_ALERTS[each.rule.name] for each in standing.broken if each.rule.name in _ALERTS]
        return found[0] if found else _BAD_CERTIFICATE

    def _has_room(self, lfdi: str) -> bool:
        """Room for one connection more: a device that lost its link comes back before we notice."""
        mine, most = self._of.get(lfdi, ()), self._quotas.connections(lfdi)
        if len(mine) < most:
            return True
        idle = [conversation for conversation in mine if conversation.idle]
        if not idle or len(mine) >= most + _MOST_LEAVING:
            return False
        oldest = min(idle, key=lambda conversation: conversation.deadline_s)
        self.count("connections replaced")
        if oldest.transport.get_write_buffer_size():  # it takes nothing, so it will not take a goodbye
            oldest.abort()
        else:
            oldest.hang_up()
        return True

    def _why_not(self, conversation: Conversation) -> str:
        standing = conversation.standing
        why = self._security.denied.why(standing)
        if why:
            return why
        if standing.until_s < time.time():
            return "expired"
        return "" if self._allowed(conversation.caller) else "suspended"

    async def _settle(self, caller: Caller, answer: Awaitable[Answer]) -> Answer:
        try:
            return self._whole(await answer)
        except Exception:  # noqa: BLE001 - our own mistake ends one answer, not the listener
            return self._fault(caller)

    def _fault(self, caller: Caller) -> Answer:
        self.count("faults")
        _LOG.exception("a request of %s ended in a fault of ours", caller.lfdi)
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, BAD_FORMAT)

    def _whole(self, answer: Answer) -> Answer:
        """Every refusal has a body."""
        if answer.status < HTTPStatus.BAD_REQUEST:
            return answer
        self.count(f"refused: {answer.status}")
        if answer.body:
            return answer
        body = error_body(_REASONS.get(answer.status, BAD_VALUES), answer.retry_s)
        return replace(answer, body=body)

    def _sweep(self) -> None:
        """Once a second: end what is overdue, and write the date."""
        self.date = formatdate(usegmt=True).encode()
        now_s = self.now_s()
        late_s = now_s - self._due_s
        if late_s > _SWEEP_S:  # we were busy: what clients said in time may still wait to be read
            for conversation in self._all:
                conversation.deadline_s += late_s
        for conversation in [each for each in self._all if each.deadline_s < now_s]:
            conversation.overdue()
        if now_s > self._forget_s:
            self._forget_s = now_s + _FORGET_S
            self._quotas.forget(now_s)
            self._handshakes.forget(now_s)
        self._due_s = now_s + _SWEEP_S
        self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
