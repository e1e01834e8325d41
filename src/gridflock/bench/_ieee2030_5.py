"""What a utility server of IEEE 2030.5 takes of a processor, for each request and for ten thousand devices.

The server lives in a process of its own and all requests go over mutual TLS on the loopback interface; what
is measured is the processor time of the server's process, so that what else the machine does counts little.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gridflock.bench._ieee2030_5_server import POLL_S, POST_S
from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._listen import event_loop
from gridflock.field.ieee2030_5._sides import Called, Calling
from gridflock.field.ieee2030_5._tls import client_context, server_context
from gridflock.field.ieee2030_5.device._session import Session
from gridflock.field.ieee2030_5.identity import Authority, HardwareName, Trust, trust_from
from gridflock.field.ieee2030_5.identity._authority import Issued
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    EndDeviceList,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    RoleFlags,
    Uom,
)
from gridflock.field.ieee2030_5.wire import write

CHILD = "gridflock.bench._ieee2030_5_server"
CONNECTIONS = 300
BARS = {
    "dercontrol_list_10_ms": 0.4,
    "dercontrol_list_100_ms": 0.8,
    "mirror_reading_ms": 0.5,
    "core_share": 0.4,
}
"""At most so much."""
HANDSHAKES_PER_S = 800.0
"""At least so many full ones in a second of one core."""
_REQUESTS, _ROUNDS, _TOGETHER, _HANDSHAKES = 300, 3, 32, 300
_AT_ONCE = 8
"""Clients in the middle of a handshake."""
_CHAINS = (2, 3)
"""Certificates in a chain, root and leaf counted, beside the usual four."""
_SERIES = "0B"
_HARDWARE = "1.3.6.1.4.1.40732.99.1"
_MOST_S = 120.0
Figures = dict[str, Any]


class ServerFailed(RuntimeError):  # noqa: N818 reads as what is wrong
    """The measured server did not start, or lost or refused what it was told."""


def ieee2030_5(devices: int = 10_000, seconds: float = 60.0) -> Mapping[str, Any]:
    """Measure the server.

    Args:
        devices: that are registered, poll every five minutes and post every minute.
        seconds: of wall time that they are played for.

    Returns:
        Processor time of the server's process, ms for each request: ``dercontrol_list_10_ms``,
        ``dercontrol_list_100_ms`` (one request at a time), ``mirror_reading_ms`` (durable in the journal,
        32 connections at once), ``mirror_reading_alone_ms`` (one at a time: a write to disk for each), each
        also of a plain server on the same listener with models of ``envoy-schema`` (``plain_…``), and how
        many times as much that is (``ratio_vs_pydantic``). Handshakes of one core, in the best of three
        rounds, with chains of four certificates, root counted: ``full_handshakes_per_s`` one after the other
        and ``full_at_once_handshakes_per_s`` with eight clients at a time, ``resumed_handshakes_per_s``,
        ``first_handshakes_per_s`` (once, of devices that never came before) and
        ``openssl_alone_handshakes_per_s``, which bounds them; the same for shorter chains under
        ``chain_of_2`` and ``chain_of_3``. ``core_share`` of one core under the devices,
        played over ``connections`` kept ones, each poll a device's whole round (first page, end devices,
        assignments, programs, ten controls), with ``requests_per_s``, ``posted`` and ``journaled`` readings.
        ``counts``: nothing was lost and all bars hold; else ``why_not``.

    Raises:
        ServerFailed: the server does not start, or refuses.
        ImportError: a library is missing, the rival's included.
    """
    people = min(CONNECTIONS, devices)
    with tempfile.TemporaryDirectory(prefix="gridflock-bench-") as name:
        folder = Path(name)
        authority, trust = _network(folder / "pki", people)
        with _Process(folder, [f"device-{k}" for k in range(1, people + 1)], devices) as process:
            clients = _Clients(authority, trust, process)
            loop = event_loop()
            try:
                found = loop.run_until_complete(clients.requests())
                found |= clients.handshakes()
                found |= loop.run_until_complete(clients.crowd(devices, seconds))
                loop.run_until_complete(clients.close())
            finally:
                loop.close()
        found |= {f"chain_of_{length}": _shorter(folder, people, length) for length in _CHAINS}
    return found | _judged(found)


def _shorter(folder: Path, people: int, length: int) -> Figures:
    """The same handshakes in a network whose chains are shorter, with a server of its own."""
    folder = folder / f"chain-{length}"
    authority, trust = _network(folder / "pki", people, length)
    with _Process(folder, [f"device-{k}" for k in range(1, people + 1)], people) as process:
        return _Clients(authority, trust, process).handshakes()


def _judged(found: Figures) -> Figures:
    missed = [f"{name} {found[name]} (bar {most})" for name, most in BARS.items() if found[name] > most]
    rate = found["full_handshakes_per_s"]
    if rate < HANDSHAKES_PER_S:
        missed.append(f"full_handshakes_per_s {rate} (bar {HANDSHAKES_PER_S:g})")
    if found["posted"] != found["journaled"]:
        missed.append(f"{found['posted']} readings posted, {found['journaled']} in the journal")
    return {"counts": not missed, "why_not": "; ".join(missed)}


def _network(folder: Path, people: int, length: int = 4) -> tuple[Authority, Trust]:
    now_s = int(time.time()) - 60
    authority = Authority.make(folder, "Bench", now_s, tests=True, length=length)
    names = [f"device-{k}" for k in range(1, people + 1)]
    authority.issue_devices([(name, HardwareName(_HARDWARE, name.encode())) for name in names], now_s)
    authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
    return authority, trust_from((folder / "trust.pem").read_bytes(), now_s, tests=True)


class _Process:
    """The server, from outside."""

    def __init__(self, folder: Path, people: list[str], devices: int) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - this interpreter with a module of ours
            [sys.executable, "-m", CHILD, str(folder), ",".join(people), str(devices)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.at = self._hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(_MOST_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._child.stdout.close()

    def ask(self, what: str) -> Figures:
        """``usage`` or ``count``."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{what}\n")
        self._child.stdin.flush()
        return self._hear()

    def cpu_s(self) -> float:
        """Processor seconds so far."""
        return float(self.ask("usage")["cpu_s"])

    def _hear(self) -> Figures:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise ServerFailed(f"server: ended with code {self._child.wait(_MOST_S)}")
        said: Figures = json.loads(line)
        return said


@dataclass(slots=True)
class _Device:
    """One kept connection with what is behind it."""

    line: Connection
    lfdi: str
    paths: tuple[str, ...] = ()
    mirror: str = ""
    minute: int = 0
    fault: str = ""
    done: dict[str, int] = field(default_factory=lambda: {"polls": 0, "posts": 0, "requests": 0})

    async def meet(self) -> None:
        """Find the own places, and make a mirror."""
        session = Session(self.line, Profile.SEP2018)
        _, (own,) = await session.fetch_all("/edev", EndDeviceList, "end_device")
        assigned = f"{own.href}/fsa"
        self.paths = ("/dcap", "/edev?s=0&l=50", f"{assigned}?s=0&l=50", f"{assigned}/1/derp?s=0&l=50")
        power = ReadingType(uom=Uom.WATT, power_of_ten_multiplier=0)
        place = MirrorUsagePoint(
            mrid="0E", role_flags=RoleFlags.MIRROR | RoleFlags.DER, service_category_kind=0, status=1,
            device_lfdi=self.lfdi,
            mirror_meter_reading=(MirrorMeterReading(mrid=_SERIES, reading_type=power),),
        )  # fmt: skip
        self.mirror = await session.send("POST", "/mup", place)

    async def get(self, path: str) -> None:
        """One request that must succeed."""
        reply = await self.line.ask("GET", path)
        self._took(path, reply.status == 200)

    async def post(self, path: str) -> None:
        """One reading, of a minute that was not told yet."""
        self.minute += 1
        period = DateTimeInterval(start=1_760_000_000 + 60 * self.minute, duration=60)
        said = MirrorMeterReading(mrid=_SERIES, reading=Reading(time_period=period, value=self.minute))
        reply = await self.line.ask("POST", path, write(said, Profile.SEP2018))
        self._took(path, reply.status in (201, 204))
        self.done["posts"] += 1

    async def poll(self, listed: str) -> None:
        """All that a device asks for in a period, one after the other."""
        for path in (*self.paths, f"{listed}?s=0&l=50"):
            await self.get(path)
        self.done["polls"] += 1

    def _took(self, path: str, well: bool) -> None:  # noqa: FBT001 what came of it
        self.done["requests"] += 1
        if not well:
            raise ServerFailed(f"server: {path} was refused")


class _Clients:
    """Everybody who asks, in this process."""

    def __init__(self, authority: Authority, trust: Trust, process: _Process) -> None:
        self._authority, self._trust, self._process = authority, trust, process
        self._people = [each for each in authority.issued if each.name != "utility"]
        self._open: list[Connection] = []

    # ---- one request after the other -----------------------------------------------------------------

    async def requests(self) -> Figures:
        """Processor time of the requests there are most of, ours and the plain server's."""
        at = self._process.at
        first = _Device(self._line(self._people[0], at["port"]), self._people[0].lfdi)
        await first.meet()
        plain = _Device(self._line(self._people[0], at["plain_port"]), self._people[0].lfdi)
        kinds: dict[str, tuple[Callable[[_Device, str], Awaitable[None]], str, str]] = {
            "dercontrol_list_10_ms": (_Device.get, f"{at['short']}?s=0&l=255", at["short"]),
            "dercontrol_list_100_ms": (_Device.get, f"{at['long']}?s=0&l=255", at["long"]),
            "mirror_reading_alone_ms": (_Device.post, first.mirror, "/mup/1"),
        }
        best: dict[str, float] = {}
        for _ in range(_ROUNDS):
            for name, (ask, path, plain_path) in kinds.items():
                best[name] = min(best.get(name, 1e9), await self._each_ms(ask, first, path, _REQUESTS))
                theirs = await self._each_ms(ask, plain, plain_path, _REQUESTS // 6)
                best[f"plain_{name}"] = min(best.get(f"plain_{name}", 1e9), theirs)
        best["mirror_reading_ms"] = await self._together(at["port"], first.mirror)
        best["plain_mirror_reading_ms"] = await self._together(at["plain_port"], "/mup/1")
        found: Figures = {name: round(each, 3) for name, each in sorted(best.items())}
        names = [name for name in best if not name.startswith("plain_")]
        ratios = {name: round(best[f"plain_{name}"] / best[name], 1) for name in names}
        return found | {"ratio_vs_pydantic": ratios}

    async def _together(self, port: int, path: str) -> float:
        """Processor time of a reading where many connections of a device post at once, ms."""
        who = self._people[0]
        many = [_Device(self._line(who, port), who.lfdi, minute=100_000 * k) for k in range(2, _TOGETHER + 2)]
        await asyncio.gather(*(each.post(path) for each in many))
        best_ms = float("inf")
        for _ in range(_ROUNDS):
            before_s = self._process.cpu_s()
            for _ in range(_REQUESTS // _TOGETHER):
                await asyncio.gather(*(each.post(path) for each in many))
            spent_s = self._process.cpu_s() - before_s
            best_ms = min(best_ms, 1e3 * spent_s / (_REQUESTS // _TOGETHER * _TOGETHER))
        return best_ms

    async def _each_ms(
        self, ask: Callable[[_Device, str], Awaitable[None]], device: _Device, path: str, many: int
    ) -> float:
        before_s = self._process.cpu_s()
        for _ in range(many):
            await ask(device, path)
        return 1e3 * (self._process.cpu_s() - before_s) / many

    # ---- handshakes ----------------------------------------------------------------------------------

    def handshakes(self) -> Figures:
        """How many one core does in a second: of devices that never came before, that did, and resumed ones.

        Beside them what OpenSSL alone does as a server, over memory: no listener can do more.
        """
        contexts = [self._context(each) for each in self._people[:_HANDSHAKES]]
        nothing: list[ssl.SSLSession | None] = [None] * len(contexts)
        first, sessions = self._shakes(contexts, nothing)
        asked = {"full": (nothing, 1), "full_at_once": (nothing, _AT_ONCE), "resumed": (sessions, 1)}
        best = dict.fromkeys(asked, 0)
        alone = 0
        for _ in range(_ROUNDS):
            for name, (kept, threads) in asked.items():
                best[name] = max(best[name], self._shakes(contexts, kept, threads)[0])
            alone = max(alone, self._alone(contexts))
        found = {"first": first, **best, "openssl_alone": alone}
        return {f"{name}_handshakes_per_s": rate for name, rate in found.items()}

    def _shakes(
        self, contexts: list[ssl.SSLContext], sessions: list[ssl.SSLSession | None], threads: int = 1
    ) -> tuple[int, list[ssl.SSLSession | None]]:
        with ThreadPoolExecutor(threads) as pool:
            before_s = self._process.cpu_s()
            made = list(pool.map(self._shake, contexts, sessions))
            return round(len(made) / (self._process.cpu_s() - before_s)), made

    def _alone(self, contexts: list[ssl.SSLContext]) -> int:
        at = self._authority.folder / "issued" / "utility"
        own = server_context(at / "chain.pem", at / "key.pem", self._trust)
        spent_s = 0.0
        for context in contexts:
            server, client = Called(own), Calling(context, "localhost", None)
            while not client.shake():
                said = client.give()
                before_s = time.process_time()
                server.take(said)
                server.shake()
                said = server.give()
                spent_s += time.process_time() - before_s
                client.take(said)
        return round(len(contexts) / spent_s)

    def _shake(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with (
            socket.create_connection(("127.0.0.1", self._process.at["port"])) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            if session is not None and not tls.session_reused:
                raise ServerFailed("server: a session was not resumed")
            return tls.session

    # ---- very many devices ---------------------------------------------------------------------------

    async def crowd(self, devices: int, seconds: float) -> Figures:
        """The requests of ``devices``, evenly spread in time, over a kept connection for each certificate."""
        at = self._process.at
        kept = [_Device(self._line(each, at["port"]), each.lfdi) for each in self._people]
        for device in kept:
            await device.meet()
        posts = int(seconds * devices / POST_S)
        polls = int(seconds * devices / POLL_S)
        before = int(self._process.ask("count")["readings"])
        begun_s, cpu_s = time.monotonic(), self._process.cpu_s()
        together = [self._post(kept, posts, seconds), self._poll(kept, polls, seconds)]
        await asyncio.gather(*together)
        taken_s, spent_s = time.monotonic() - begun_s, self._process.cpu_s() - cpu_s
        posted = sum(each.done["posts"] for each in kept)
        requests = sum(each.done["requests"] for each in kept)
        usage = self._process.ask("usage")
        journaled = int(self._process.ask("count")["readings"])
        return {
            "devices": devices, "connections": len(kept), "seconds": round(taken_s, 1),
            "requests_per_s": round(requests / taken_s, 1), "core_share": round(spent_s / taken_s, 3),
            "crowd_ms": round(1e3 * spent_s / requests, 3), "posted": posted,
            "journaled": journaled - before, "peak_mb": round(usage["rss_mb"]),
        }  # fmt: skip

    async def _post(self, kept: list[_Device], many: int, seconds: float) -> None:
        await _paced(many, seconds, lambda k: kept[k % len(kept)].post(kept[k % len(kept)].mirror))

    async def _poll(self, kept: list[_Device], many: int, seconds: float) -> None:
        await _paced(many, seconds, lambda k: kept[k % len(kept)].poll(self._process.at["short"]))

    # ---- connections ---------------------------------------------------------------------------------

    def _context(self, who: Issued) -> ssl.SSLContext:
        at = self._authority.folder / "issued" / who.name
        return client_context(at / "chain.pem", at / "key.pem", self._trust)

    def _line(self, who: Issued, port: int) -> Connection:
        server = Server("localhost", port, address="127.0.0.1")
        self._open.append(Connection(server, self._context(who), self._trust))
        return self._open[-1]

    async def close(self) -> None:
        """Hang up."""
        for line in self._open:
            await line.close()


async def _paced(many: int, seconds: float, begin: Callable[[int], Awaitable[None]]) -> None:
    """Begin so many things, evenly spread over so long; wait for all."""
    begun_s, tasks = time.monotonic(), []
    for k in range(many):
        late_s = begun_s + k * seconds / many - time.monotonic()
        if late_s > 0:
            await asyncio.sleep(late_s)
        tasks.append(asyncio.ensure_future(begin(k)))
    await asyncio.gather(*tasks)
