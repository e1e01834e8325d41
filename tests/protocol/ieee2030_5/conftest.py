"""Keys and certificates of a small network, made once in a run; a listener and raw clients."""

import asyncio
import contextlib
import ssl
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._listen import Listener, Security
from gridflock.field.ieee2030_5._tls import client_context, server_context

sys.path.insert(0, str(Path(__file__).parent))
HARDWARE_TYPE = "1.3.6.1.4.1.40732.99.1"


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """An authority for tests, and who has a certificate of it: name -> chain, key, lfdi."""
    now_s = int(time.time()) - 60
    authority = identity.Authority.make(tmp_path_factory.mktemp("network") / "pki", "Test", now_s, tests=True)
    names = ["device-1", "device-2", "revoked", "rotated"]
    authority.issue_devices(
        [(name, identity.HardwareName(HARDWARE_TYPE, name.encode())) for name in names], now_s
    )
    authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
    authority.issue_service("aggregator", ["agg.example"], 30, now_s)
    authority.revoke("revoked", "a test", now_s)
    trust = identity.trust_from((authority.folder / "trust.pem").read_bytes(), now_s, tests=True)
    people = {
        entry.name: SimpleNamespace(
            chain=authority.folder / "issued" / entry.name / "chain.pem",
            key=authority.folder / "issued" / entry.name / "key.pem",
            lfdi=entry.lfdi,
            sfdi=entry.sfdi,
        )
        for entry in authority.issued
    }
    denied = identity.denied_from((authority.folder / "revoked.pem").read_bytes(), trust.authorities)
    return SimpleNamespace(authority=authority, trust=trust, people=people, denied=denied, now_s=now_s)


@pytest.fixture
def security(network):
    """Of the utility's server in that network."""
    utility = network.people["utility"]
    context = server_context(utility.chain, utility.key, network.trust)
    return Security(context, network.trust, network.denied)


@pytest.fixture
def as_client(network):
    """``as_client(name)``: the context of one who has a certificate."""
    return lambda name: client_context(network.people[name].chain, network.people[name].key, network.trust)


class Raw:
    """A client that says exactly what it is told to."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def say(self, *lines, body=b""):
        """Header lines and a body as they are."""
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def hear(self, *, head=False):
        """One answer: status, header fields, body."""
        lines = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        size = 0 if head else int(fields.get("content-length", 0))
        return int(lines[0].split()[1]), fields, await asyncio.wait_for(self.reader.readexactly(size), 5)

    async def get(self, path, *fields):
        """The answer to a plain GET."""
        await self.say(f"GET {path} HTTP/1.1", "Host: localhost", *fields)
        return await self.hear()

    async def over(self):
        """Whether the server has ended the connection, after all it still had to say."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def close(self):
        """Hang up."""
        self.writer.close()


@pytest.fixture
def fast_loop():
    """The event loop of the product, for tests that do not ask for the standard one."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def standard_loop(fast_loop):
    """The event loop of the standard library, on which everything works as well."""
    del fast_loop
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def serving(fast_loop, security, as_client):
    """A listener for a handler, and ``dial(name)``, which gives a raw client, for an ``async with``."""
    del fast_loop

    @contextlib.asynccontextmanager
    async def _serve(handler=lambda request: Answer(200, request.path.encode()), **options):
        listener = Listener(handler, options.pop("security", security), **options)
        port = await listener.start("127.0.0.1", 0)
        open_now = []

        async def dial(name="device-1", context=None):
            made = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context or as_client(name), server_hostname="localhost"
            )
            open_now.append(Raw(*made))
            return open_now[-1]

        listener.port = port
        try:
            yield listener, dial
        finally:
            for client in open_now:
                client.close()
            await listener.stop(0.2)

    return _serve
