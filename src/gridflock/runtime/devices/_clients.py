"""Many simulated devices that speak the real protocol: one loop, a connection each, by any clock."""

from __future__ import annotations

import asyncio
import heapq
import re
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from gridflock.field.ieee2030_5.device import Client, Identity, Line, Reply
from gridflock.runtime.devices._plants import Simulated

T = TypeVar("T")
_ROOT = re.compile(rb"(?:<\?[^>]*\?>)?\s*<(\w+)")
_READING = b"<Reading>"
_AT_FAULT = 400
READINGS, RESPONSES, LOST, REFUSED = "readings", "responses", "lost", "refused"
"""What a line counts; refusals with their status."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How badly things go between devices and their server.

    Attributes:
        lost_share: share of requests that get nowhere.
        answers_lost_share: share of requests that arrive and whose answers do not.
        skew_s: clocks of devices are off by up to so many seconds either way.
        stragglers_share: share of devices that come late to everything.
        straggle_s: by up to so much.
        seed: of all draws.
    """

    lost_share: float = 0.0
    answers_lost_share: float = 0.0
    skew_s: int = 0
    stragglers_share: float = 0.0
    straggle_s: int = 0
    seed: int = 1


class Lossy:
    """A line that loses what its draws say.

    Args:
        line: the real one.
        faults: how often.
        rng: of this device alone.
    """

    def __init__(self, line: Ending, faults: Faults, rng: np.random.Generator) -> None:
        self._line, self._faults, self._rng = line, faults, rng
        self.cut = False
        """True loses everything, the connection too."""
        self.lost = 0
        self.counts: Counter[str] = Counter()
        """Readings and responses that were taken, and what went wrong, by cause."""

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """One request.

        Raises:
            OSError: it was lost on the way there or back.
        """
        draw = self._rng.random()
        if self.cut or draw < self._faults.lost_share:
            self.lost += 1
            if self.cut:
                await self._line.close()
            raise ConnectionError("lost on the way")
        try:
            reply = await self._line.ask(method, path, body)
        except OSError as error:
            self.counts[type(error).__name__] += 1
            raise
        if draw < self._faults.lost_share + self._faults.answers_lost_share:
            self.lost += 1
            raise ConnectionError("the answer was lost")
        self._count(reply, body)
        return reply

    def _count(self, reply: Reply, body: bytes) -> None:
        if reply.status >= _AT_FAULT:
            self.counts[f"{REFUSED}: {reply.status}"] += 1
        elif (root := _ROOT.match(body)) is not None:
            kind = root[1]
            self.counts[RESPONSES] += kind == b"DERControlResponse"
            if kind.startswith(b"MirrorMeterReading"):
                self.counts[READINGS] += body.count(_READING)

    async def close(self) -> None:
        """Say goodbye."""
        await self._line.close()


class Ending(Line, Protocol):
    """A line that can be ended."""

    async def close(self) -> None:
        """Say goodbye."""
        ...


class Dial(Protocol):
    """Makes the line of a device."""

    def __call__(self, name: str) -> Ending:
        """The line of the device of that name; called on the devices' loop."""
        ...


class VirtualDevices:
    """Clients of simulated devices. Its methods are called from one thread that is not its own.

    Args:
        plants: the devices by name.
        identities: who they are.
        dial: makes their lines.
        faults: how badly things go.
        settle_s: at most so many visits' moments are told apart, seconds: those closer go together.
        entry: the one path they are told.
    """

    def __init__(
        self,
        plants: Mapping[str, Simulated],
        identities: Mapping[str, Identity],
        dial: Dial,
        faults: Faults | None = None,
        settle_s: int = 5,
        entry: str = "/dcap",
    ) -> None:
        self.plants, self._entry = dict(plants), entry
        self._faults, self._settle_s = faults or Faults(), settle_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gridflock-devices", daemon=True)
        self._thread.start()
        self.clients: dict[str, Client] = {}
        self.lines: dict[str, Lossy] = {}
        self._skew_s: dict[str, int] = {}
        self._late_s: dict[str, int] = {}
        self._queue: list[tuple[int, int, str]] = []
        self._call(self._make(identities, dial))

    def begin(self, now_s: int, over_s: int = 60) -> None:
        """Let devices come one after the other from a moment on, spread over some seconds."""
        self._queue = []
        for k, name in enumerate(self.clients):
            heapq.heappush(self._queue, (now_s + k * over_s // max(len(self.clients), 1), k, name))

    def due_s(self) -> int | None:
        """When the next one wants to be visited."""
        return self._queue[0][0] if self._queue else None

    def live(self, now_s: int) -> list[str]:
        """Visit everybody who is due; their names."""
        due = []
        while self._queue and self._queue[0][0] <= now_s:
            due.append(heapq.heappop(self._queue))
        self._call(self._visit([name for _, _, name in due], now_s))
        for _, k, name in due:
            skew_s = self._skew_s[name]
            next_s = self.clients[name].due_s(now_s + skew_s) - skew_s + self._late_s[name]
            heapq.heappush(self._queue, (next_s + (-next_s) % self._settle_s, k, name))
        return [name for _, _, name in due]

    def close(self) -> None:
        """Hang up and end the loop."""
        self._call(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _make(self, identities: Mapping[str, Identity], dial: Dial) -> None:
        faults = self._faults
        for k, name in enumerate(self.plants):
            rng = np.random.default_rng([faults.seed, k])
            self.lines[name] = Lossy(dial(name), faults, rng)
            self._skew_s[name] = int(rng.integers(-faults.skew_s, faults.skew_s + 1))
            late = rng.random() < faults.stragglers_share
            self._late_s[name] = int(rng.integers(0, faults.straggle_s + 1)) if late else 0
            self.clients[name] = Client(
                self.lines[name], identities[name], entry=self._entry, plant=self.plants[name]
            )

    async def _visit(self, names: Sequence[str], now_s: int) -> None:
        await asyncio.gather(*(self.clients[name].visit(now_s + self._skew_s[name]) for name in names))

    async def _hang_up(self) -> None:
        for line in self.lines.values():
            await line.close()
        await asyncio.sleep(0.01)  # sockets close one turn of the loop later

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
