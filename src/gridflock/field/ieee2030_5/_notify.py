"""Posting notifications to addresses that clients chose, without being led anywhere else.

An address in a subscription is a wish of its client. It is followed over HTTPS only, to hosts that the
operator has registered for that client, and only where every address its name has is a public one: else a
client could have us speak to what only we can reach. The connection goes to the very address that was
checked, redirects are not followed, and of the answer the status alone is of interest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5._connect import Connection, NoAnswer, Patience, Server
from gridflock.field.ieee2030_5._target import Target, target_of
from gridflock.field.ieee2030_5.identity import Trust

Resolve = Callable[[str, int], Awaitable[Collection[str]]]


def _short() -> Patience:
    return Patience(connect_s=10.0, answer_s=10.0, answer_bytes=4_096)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far notifications may go.

    Attributes:
        lab: allows plain HTTP and addresses of this machine and network: for laboratories only.
        per_host: notifications to one host at the same time.
        hosts: with an open connection.
        patience: with a host.
    """

    lab: bool = False
    per_host: int = 2
    hosts: int = 256
    patience: Patience = field(default_factory=_short)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notification.

    Attributes:
        status: HTTP status code of the answer; 0 where none came.
        reason: why it did not arrive; empty where it did.
        final: trying again would change nothing.
    """

    status: int
    reason: str = ""
    final: bool = False


def is_public(address: str) -> bool:
    """Whether an address is one of the public network, also where it is wrapped in another."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    if any(found in each for each in _WITHDRAWN if each.version == found.version):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_WITHDRAWN = (ipaddress.ip_network("fec0::/10"), ipaddress.ip_network("192.88.99.0/24"))
"""Local addresses of a site (RFC 3879) and relays into IPv6 (RFC 7526), which some networks still use."""


async def looked_up(host: str, port: int) -> list[str]:
    """Every address of a name.

    Raises:
        OSError: it has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(slots=True)
class _Turns:
    """Who speaks with a host, or waits for it."""

    free: asyncio.Semaphore
    users: int = 0


class Poster:
    """Posts notifications; used from one event loop.

    Args:
        context: of ``client_context``: the utility's certificate.
        trust: authorities of the subscribers' servers.
        domains: LFDI to the domains that the operator has registered.
        reach: how far it may go.
        resolve: names to addresses.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        trust: Trust,
        domains: Callable[[str], Collection[str]],
        *,
        reach: Reach | None = None,
        resolve: Resolve = looked_up,
    ) -> None:
        self._context, self._trust, self._domains = context, trust, domains
        self._reach, self._resolve = reach or Reach(), resolve
        self._free: dict[tuple[str, int, str], list[Connection]] = {}
        self._turns: dict[tuple[str, int], _Turns] = {}
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of notifications, by cause."""
        return dict(self._counts)

    async def post(self, lfdi: str, uri: str, body: bytes) -> Delivery:
        """Post one notification; never raises for what the other side does.

        Args:
            lfdi: of the subscriber.
            uri: from its subscription.
            body: a Notification.
        """
        target = target_of(uri, self._domains(lfdi), lab=self._reach.lab)
        if isinstance(target, str):
            return self._told(Delivery(0, f"the address {target}", final=True), "not allowed")
        async with self._turn(target):
            try:
                address = await self._address(target)
            except OSError as error:
                return self._told(Delivery(0, f"{target.host}: {error}"), "no address")
            if not address:
                return self._told(
                    Delivery(0, f"{target.host}: not a public address", final=True), "not public"
                )
            return await self._post(target, address, body)

    async def close(self) -> None:
        """End all connections."""
        for free in self._free.values():
            for connection in free:
                await connection.close()
        self._free.clear()

    @contextlib.asynccontextmanager
    async def _turn(self, target: Target) -> AsyncIterator[None]:
        """Wait for a host; known as long as somebody has its turn or waits for it, and no longer."""
        key = (target.host, target.port)
        turns = self._turns.setdefault(key, _Turns(asyncio.Semaphore(self._reach.per_host)))
        turns.users += 1
        try:
            async with turns.free:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[key]

    async def _post(self, target: Target, address: str, body: bytes) -> Delivery:
        key = (target.host, target.port, address)
        connection = self._kept(key) or self._connection(target, address)
        try:
            reply = await connection.ask("POST", target.path, body)
        except NoAnswer as error:
            await connection.close()
            return self._told(Delivery(0, str(error)), "no answer")
        await self._keep(key, connection)
        if reply.status in range(200, 300):
            return self._told(Delivery(reply.status), "delivered")
        gone = reply.status in {404, 410}
        return self._told(Delivery(reply.status, f"answered {reply.status}", final=gone), "refused")

    def _kept(self, key: tuple[str, int, str]) -> Connection | None:
        free = self._free.get(key)
        if free is None:
            return None
        connection = free.pop()
        if not free:
            del self._free[key]
        return connection

    async def _keep(self, key: tuple[str, int, str], connection: Connection) -> None:
        self._free.setdefault(key, []).append(connection)
        while len(self._free) > self._reach.hosts:
            for old in self._free.pop(next(iter(self._free))):
                await old.close()

    async def _address(self, target: Target) -> str:
        found = await self._resolve(target.host, target.port)
        if not self._reach.lab and not all(map(is_public, found)):
            return ""
        return next(iter(found), "")

    def _connection(self, target: Target, address: str) -> Connection:
        server = Server(target.host, target.port, address)
        context = self._context if target.secure else None
        trust = self._trust if target.secure else None
        return Connection(server, context, trust, patience=self._reach.patience)

    def _told(self, delivery: Delivery, cause: str) -> Delivery:
        self._counts[cause] += 1
        return delivery
