"""A utility server that lives: its loop, its memory, the passing of its time, its notifications.

One thread has the loop, and with it the state: requests, the operator's verbs and the ticks of time take
turns there. A change is in the journal before anybody hears of it: whoever asked waits until the next write,
which holds the changes of all who wait. Where the journal takes nothing or does not answer, who asks is told
to come back, and what was said is written with the next that works; of too much unwritten no more is taken.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from gridflock.field.ieee2030_5._disk import Disk
from gridflock.field.ieee2030_5._http import Answer, Request
from gridflock.field.ieee2030_5._limits import BATCH_BYTES, Limits
from gridflock.field.ieee2030_5._listen import Listener, Security, event_loop
from gridflock.field.ieee2030_5._notify import Poster
from gridflock.field.ieee2030_5.identity import Denied, Trust
from gridflock.field.ieee2030_5.server import CHANGES, Change, Journal, Policy, UtilityServer
from gridflock.field.ieee2030_5.server._alarms import Alarm
from gridflock.field.ieee2030_5.server._devices import LIST, DeviceGone, DeviceKept
from gridflock.field.ieee2030_5.server._logs import EventLogged, logged_words
from gridflock.field.ieee2030_5.server._rates import quota
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._subscriptions import News, told
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.ports import Record

_LOG = logging.getLogger(__name__)
_TOGETHER_S = 0.002
"""So long a change waits for others to be written with it."""
_BUSY_S = 5
"""Told to come back after so long while the journal takes nothing."""
_HANGS_S = 8.0
"""A write that takes longer than this counts as taking nothing; people wait a little longer than that."""
_LAST_S = 60.0
"""For the last snapshot, which of many devices takes its time on a sound disk, too."""
_MOST_UNWRITTEN = 200_000
"""Changes; who would cause more is told to come back."""
_WAKE_S = 1.0
_POSTS = 64
_MOST_ALARMS = 10_000
_PATIENCE_S = 10.0
"""So long people wait for an answer of the server's thread."""
_READS = frozenset({"GET", "HEAD"})
_SILENT, _OVER = "the server of devices does not answer", "the server of devices has ended"
_OF_DEVICE = re.compile(r"/edev/([0-9]{1,12})(/cp)?")
"""Addresses at which a client says that a device is gone, or is somewhere else."""
P = ParamSpec("P")
T = TypeVar("T")


Hosts = Callable[[str], tuple[str, ...]]
"""LFDI of a client to the hosts that its notifications may be sent to."""


class Now(Protocol):
    """The time a server goes by, unix seconds."""

    def now_s(self) -> int:
        """Never going backwards."""
        ...


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where a server listens.

    Attributes:
        host: address to bind.
        port: TCP port; 0 lets the system choose.
        limits: bounds on what clients may do.
    """

    host: str = "127.0.0.1"
    port: int = 0
    limits: Limits = field(default_factory=Limits)


class Utility:
    """A running utility server. Its methods may be called from any thread but its own.

    Args:
        policy: what the operator decided once.
        record: its memory, its own.
        security: certificate and trust.
        clock: the time it goes by.
        reachable: where it listens.
        poster: carries notifications to the hosts of an LFDI; made on the server's loop. None = nobody is
            notified, all must poll.
    """

    def __init__(
        self,
        policy: Policy,
        record: Record,
        security: Security,
        clock: Now,
        reachable: Reachable | None = None,
        poster: Callable[[Hosts], Poster] | None = None,
    ) -> None:
        self.record, self._security, self._clock = record, security, clock
        self._reachable = reachable or Reachable()
        self._journal = Journal(record, CHANGES)
        self.server = UtilityServer(policy, self._journal.restore(), clock.now_s())
        """State and rules; to be touched on the server's thread only (``act``, ``call``)."""
        self._make_poster = poster
        self._poster: Poster | None = None
        self._posting: dict[int, asyncio.Task[None]] = {}
        self._unwritten: list[Change] = []
        self._waiting: list[asyncio.Future[bool]] = []
        self._writing: asyncio.Task[None] | None = None
        self._disk = Disk("gridflock-2030.5-disk")
        self._hangs = self._closing = False
        self._loop = event_loop()
        self._thread = threading.Thread(target=self._run, name="gridflock-2030.5", daemon=True)
        self._over = False
        self._ending = threading.Lock()
        self._listener: Listener | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.alarms: list[Alarm] = []
        """For the operator, oldest first."""
        self.port = 0
        """Where it listens, once it is started."""

    # ---- life ----------------------------------------------------------------------------------------

    def start(self) -> int:
        """Listen; the port.

        Raises:
            OSError: the address cannot be had.
        """
        self._thread.start()
        self.port = self.call(self._start())
        return self.port

    def stop(self, grace_s: float = 5.0) -> bool:
        """Answer what has been asked, write what is unwritten, and end; no disk keeps it from ending.

        Returns:
            Whether the disk is done. Else something still writes to the record, which is not to be closed.
        """
        done = True
        if self._thread.is_alive():
            done = self.call(self._stop(grace_s))
            with self._ending:
                self._over = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._disk.end()
        self._loop.close()
        return done

    def call(self, work: Coroutine[Any, Any, T], wait_s: float | None = None) -> T:
        """Do something on the server's thread and wait for what comes of it.

        Args:
            work: to be done.
            wait_s: at most so long; it may be done later for all that. None = as long as it takes.

        Raises:
            TimeoutError: no answer yet.
            OSError: the server has ended.
        """
        with self._ending:
            if self._over:
                work.close()
                raise OSError(_OVER)
            doing = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return doing.result(wait_s)
        except CancelledError as error:
            raise OSError(_OVER) from error
        except TimeoutError as error:
            if doing.done():
                raise
            raise TimeoutError(_SILENT) from error

    def say(self, verb: Callable[Concatenate[Turn, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``act``, for people, who do not wait for ever.

        Raises:
            TimeoutError: the server has not answered in time; the verb may be in effect, now or later.
            OSError: as ``act``.
        """
        return self.call(self._act(verb, *args, **kwargs), _PATIENCE_S)

    def act(self, verb: Callable[Concatenate[Turn, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one of the operator's verbs; it is durable when this returns.

        Raises:
            OSError: the journal takes nothing; the verb is in effect and will be written.
        """
        return self.call(self._act(verb, *args, **kwargs))

    async def _act(self, verb: Callable[Concatenate[Turn, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closing:
            raise OSError(_OVER)
        result, changes = self.server.act(self._clock.now_s(), verb, *args, **kwargs)
        if not await self._durable(changes):
            raise OSError("the journal takes nothing")
        self._post_soon()
        return result

    def ask(self, question: Callable[[UtilityServer], T]) -> T:
        """Look at state and rules, on the server's thread; nothing is changed there."""

        async def look() -> T:
            return question(self.server)

        return self.call(look(), _PATIENCE_S)

    def wake(self) -> None:
        """Let the server see that its clock has gone on; what is due to be posted has been tried then."""
        self.call(self._wake(finish=True))

    # ---- on its own thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(_let_go())

    async def _start(self) -> int:
        self._listener = Listener(
            self.handle,
            self._security,
            limits=self._reachable.limits,
            longest=lambda path: BATCH_BYTES if path.startswith("/mup") else 0,
            quota=lambda lfdi: quota(self.server.state, self.server.policy, lfdi),
        )
        self._listener.deny(self._denied())
        self._poster = None if self._make_poster is None else self._make_poster(self.hosts)
        self._ticking = asyncio.ensure_future(self._tick())
        return await self._listener.start(self._reachable.host, self._reachable.port)

    async def _stop(self, grace_s: float) -> bool:
        assert self._listener is not None
        if self._ticking is not None:
            self._ticking.cancel()
        await self._listener.stop(grace_s)
        poster, self._poster = self._poster, None  # nothing more is posted; what is on its way may arrive
        if self._posting:
            await asyncio.wait(list(self._posting.values()), timeout=grace_s)
        left = list(self._posting.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if poster is not None:
            await poster.close()
        self._closing = True  # from here on nothing changes
        if self._unwritten:
            await self._durable(())
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=0.0 if self._hangs else _HANGS_S)
        if self._unwritten or self._writing is not None:
            _LOG.error("ends with %d changes or more that are not written", len(self._unwritten))
        if self._writing is not None:
            return False
        last = asyncio.wrap_future(self._disk.submit(self._snapshot))
        return bool((await asyncio.wait({last}, timeout=_LAST_S))[0])

    def _snapshot(self) -> None:
        """Shorten the next start; where that fails, it takes longer."""
        try:
            self._journal.snapshot(self.server.state)
        except Exception:  # noqa: BLE001 - whatever a disk raises must not end the server
            _LOG.exception("no snapshot")

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """The listener's handler."""
        if self._closing or (len(self._unwritten) >= _MOST_UNWRITTEN and request.method not in _READS):
            return Answer(503, retry_s=_BUSY_S)
        was = self._meant(request)
        answer, changes = self.server.answer(request, self._clock.now_s())
        if changes:
            self._tell(request, changes, was)
        # Nobody is shown what is not written yet, whoever has changed it.
        return answer if not changes and self._writing is None else self._settled(answer, changes)

    def _meant(self, request: Request) -> Device | None:
        """The device that a request may move or take away, as it is before."""
        if request.method in _READS or (found := _OF_DEVICE.fullmatch(request.path)) is None:
            return None
        return self.server.state.registry.devices.get(int(found[1]))

    def _tell(self, request: Request, changes: Sequence[Change], was: Device | None) -> None:
        """What a request has changed that the operator is to hear of."""
        registers = (request.method, request.path) == ("POST", LIST)
        for change in changes:
            match change:
                case EventLogged(device, logged):
                    self._alarm(device, "log event", logged.at_s, logged_words(logged.event))
                case DeviceKept(device) if registers:
                    words = f"its aggregator {device.owner} claims it" if device.claimed else ""
                    self._alarm(device.number, "registered", device.registered_s, words)
                case DeviceKept(device) if was is not None:
                    if words := self._moved(was, device):
                        self._keep(Alarm(was.lfdi, "moved", device.changed_s, words))
                case DeviceGone() if was is not None:
                    words = f"it was {was.resource or 'no resource'}, spoken for by {was.owner}"
                    self._keep(Alarm(was.lfdi, "given up", self._clock.now_s(), words))
                case _:
                    pass

    def _moved(self, was: Device, now: Device) -> str:
        """How a device is somewhere else, or something else, by its client's word; empty where it is not."""
        if (was.point, was.resource) == (now.point, now.resource):
            return ""
        words = f"connection point {now.point!r} instead of {was.point!r}"
        if now.resource != was.resource:
            return f"{words}, and with it {now.resource or 'no resource'} instead of {was.resource or 'none'}"
        there = self.server.state.registry.points.get(now.point, "")
        if there in {"", now.resource}:
            return words
        return f"{words}; {there} stands there, it stays {now.resource or 'none'} until an operator joins it"

    def _alarm(self, number: int, what: str, since_s: int, text: str = "") -> None:
        device = self.server.state.registry.devices.get(number)
        if device is not None:
            self._keep(Alarm(device.lfdi, what, since_s, text))

    def _keep(self, *alarms: Alarm) -> None:
        kept = [*self.alarms, *alarms]
        if len(kept) > _MOST_ALARMS:  # what devices report goes first, so that it hides nothing
            kept = sorted(kept, key=lambda alarm: alarm.what != "log event")[-_MOST_ALARMS:]
        self.alarms = kept

    async def _settled(self, answer: Answer, changes: tuple[Change, ...]) -> Answer:
        if await self._durable(changes):
            self._post_soon()
            return answer
        return Answer(503, retry_s=_BUSY_S)

    def _durable(self, changes: tuple[Change, ...]) -> asyncio.Future[bool]:
        """Whether the changes are in the journal, once that is known, or known to take too long."""
        written: asyncio.Future[bool] = self._loop.create_future()
        if not changes and not self._unwritten and self._writing is None:
            written.set_result(True)
            return written
        self._unwritten += changes
        if self._hangs:
            written.set_result(False)
            return written
        self._waiting.append(written)
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())
        return written

    async def _write(self) -> None:
        """Write all that waits, again and again until nothing does."""
        while self._waiting:
            await asyncio.sleep(_TOGETHER_S)
            changes, waiting = self._unwritten, self._waiting
            self._unwritten, self._waiting = [], []
            late = self._loop.call_later(_HANGS_S, self._give_up, waiting)
            try:
                await asyncio.wrap_future(
                    self._disk.submit(self._journal.write, changes, self._clock.now_s())
                )
                done = True
            except Exception:  # noqa: BLE001 - whatever a disk raises must not end the server
                _LOG.exception("the journal takes nothing")
                self._unwritten, done = [*changes, *self._unwritten], False
            late.cancel()
            self._hangs = False
            _answer(waiting, written=done)
            if done and self._journal.due():
                self._snapshot()
        self._writing = None

    def _give_up(self, waiting: list[asyncio.Future[bool]]) -> None:
        """A write takes too long: nobody waits for it any more, until it has come to an end."""
        _LOG.error("the journal does not answer")
        self._hangs = True
        _answer([*waiting, *self._waiting], written=False)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_WAKE_S)
            try:
                await self._wake()
            except Exception:  # noqa: BLE001 - time goes on whatever one moment brought
                _LOG.exception("the passing of time failed")

    async def _wake(self, *, finish: bool = False) -> None:
        if self._closing:
            return
        due, changes = self.server.advance(self._clock.now_s())
        self._keep(*due.alarms)
        await self._durable(changes)
        self._post_soon()
        if finish and self._posting:
            await asyncio.wait(list(self._posting.values()))

    # ---- notifications -------------------------------------------------------------------------------

    def _post_soon(self) -> None:
        if self._poster is None:
            return
        free = _POSTS - len(self._posting)
        if free > 0 and self.server.state.subscribed.owed:
            for news in self.server.news(self._clock.now_s(), free, frozenset(self._posting)):
                self._posting[news.number] = asyncio.ensure_future(self._post(self._poster, news))

    async def _post(self, poster: Poster, news: News) -> None:
        try:
            owner = self.server.state.subscribed.wishes[news.number].owner
            delivery = await poster.post(owner, news.uri, news.body)
            ended, changes = self.server.act(
                self._clock.now_s(), told, news, arrived=not delivery.reason, final=delivery.final
            )
            if ended:
                _LOG.warning("subscription %d: %s; given up", news.number, delivery.reason)
                self._keep(Alarm(owner, "not notified", self._clock.now_s(), delivery.reason))
            await self._durable(changes)
        finally:
            del self._posting[news.number]
        self._post_soon()

    # ---- for the operator ----------------------------------------------------------------------------

    def hosts(self, lfdi: str) -> tuple[str, ...]:
        """Where notifications of a client may be sent to; on the server's thread."""
        client = self.server.state.registry.clients.get(lfdi)
        return (*(() if client is None else client.hosts), *self.server.policy.hosts)

    def counts(self) -> dict[str, int]:
        """Connections, requests, refusals and notifications by cause since the start."""

        async def read() -> dict[str, int]:
            assert self._listener is not None
            by_rule = {f"refused: {status} {at}": n for (status, at), n in self.server.refusals.items()}
            posted = Counter() if self._poster is None else Counter(self._poster.counts)
            told = {f"notifications: {cause}": n for cause, n in posted.items()}
            return {**self._listener.counts, **by_rule, **told, "connected": self._listener.connections}

        return self.call(read(), _PATIENCE_S)

    def connected(self, lfdi: str) -> int:
        """How many connections of a client stand."""

        async def read() -> int:
            assert self._listener is not None
            return self._listener.clients.get(lfdi, 0)

        return self.call(read(), _PATIENCE_S)

    @property
    def trust(self) -> Trust:
        """The authorities whose certificates it takes."""
        return self._security.trust

    @property
    def revoked(self) -> int:
        """Certificates on the revocation lists in force."""
        return len(self.lists.revoked)

    @property
    def lists(self) -> Denied:
        """The revocation lists in force."""
        return self._security.denied

    def new_alarms(self) -> list[Alarm]:
        """Those since the last call until now, oldest first."""

        async def take() -> list[Alarm]:
            await self._wake()
            taken, self.alarms = self.alarms, []
            return taken

        return self.call(take())

    def deny(self, revoked: Denied | None = None) -> None:
        """Keep out, from the next request on, whom the state names.

        Args:
            revoked: newer revocation lists; None = those there are.
        """

        async def do() -> None:
            assert self._listener is not None
            if revoked is not None:
                self._security = replace(self._security, denied=revoked)
            self._listener.deny(self._denied())
            for lfdi in self.server.state.registry.denied:
                self._listener.drop(lfdi)

        self.call(do(), _PATIENCE_S)

    def _denied(self) -> Denied:
        """Who is revoked, with those whom the operator keeps out by name."""
        denied = self._security.denied
        return replace(denied, lfdis=denied.lfdis | self.server.state.registry.denied.keys())

    def drop(self, lfdi: str) -> int:
        """End a client's connections; how many there were."""

        async def do() -> int:
            assert self._listener is not None
            return self._listener.drop(lfdi)

        return self.call(do(), _PATIENCE_S)


def _answer(waiting: Iterable[asyncio.Future[bool]], *, written: bool) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(written)


async def _let_go() -> None:
    """End what still waits for something, so that nobody waits for it for ever."""
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
