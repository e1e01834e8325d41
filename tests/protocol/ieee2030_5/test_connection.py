"""A client's connection: kept, resumed, patient, and sure of whom it speaks with."""

import asyncio
import contextlib
import sys

import pytest

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._connect import Connection, NoAnswer, NotTrusted, Patience, Server
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import event_loop
from gridflock.field.ieee2030_5._tls import client_context

CALM = Patience(connect_s=20.0, answer_s=20.0, first_s=0.05, most_s=0.1)
QUICK = Patience(connect_s=20.0, answer_s=0.3, first_s=0.0)


def _echo(request):
    body = b"%s %s %s" % (request.method.encode(), request.path.encode(), request.body)
    return Answer(201 if request.method == "POST" else 200, body, location="/new")


@contextlib.asynccontextmanager
async def _stub(answer):
    """A server in the clear that says what it is told to: its port."""

    async def _serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        finally:
            writer.close()

    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    async with server:
        yield Connection(
            Server("localhost", server.sockets[0].getsockname()[1], "127.0.0.1"), None, None, patience=CALM
        )
    await asyncio.sleep(0.01)


@pytest.fixture
def caller(as_client, network):
    """``caller(listener, name)``: a connection of one who has a certificate."""

    def _made(listener, name="device-1", **options):
        server = options.pop("server", None) or Server("localhost", listener.port, "127.0.0.1")
        context = options.pop("context", None) or as_client(name)
        return Connection(server, context, network.trust, jitter=lambda: 0.0, **{"patience": CALM, **options})

    return _made


def test_one_connection_carries_many_requests(serving, caller):
    """Requests go over one handshake; status, body and location come back."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener)
            replies = [await connection.ask("POST", "/mup", b"<a/>") for _ in range(3)]
            replies.append(await connection.ask("GET", "/dcap?s=0&l=1"))
            await connection.close()
            return replies, connection.counts, listener.counts

    replies, mine, theirs = asyncio.run(_run())
    assert [(r.status, r.location) for r in replies] == [(201, "/new")] * 3 + [(200, "/new")]
    assert (replies[0].body, replies[3].body) == (b"POST /mup <a/>", b"GET /dcap ")
    assert (mine["handshakes full"], theirs["handshakes full"]) == (1, 1)


def test_lost_connections_resume(serving, caller):
    """After the connection was lost the next one resumes the session, without a full handshake."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener)
            for _ in range(3):
                await connection.ask("GET", "/dcap")
                await connection.close()
            return connection.counts, listener.counts

    mine, theirs = asyncio.run(_run())
    assert (mine["handshakes full"], mine["handshakes resumed"]) == (1, 2)
    assert theirs["handshakes resumed"] == 2


def test_a_connection_that_died_is_replaced_for_safe_requests(serving, caller, network):
    """A GET over a connection that the server has dropped is asked again; the caller notices nothing."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener)
            await connection.ask("GET", "/one")
            listener.drop(network.people["device-1"].lfdi)
            return (await connection.ask("GET", "/two")).status, connection.counts

    status, counts = asyncio.run(_run())
    assert status == 200
    assert counts["handshakes resumed"] == 1


def test_no_answer_in_time(serving, caller):
    """An answer that does not come ends the connection, so that it is never taken for another's."""

    async def _slow(request):
        await asyncio.sleep(0.6 if request.path == "/slow" else 0.0)
        return Answer(200, request.path.encode())

    async def _run():
        async with serving(_slow) as (listener, _):
            connection = caller(listener, patience=QUICK)
            with pytest.raises(NoAnswer, match="no answer in"):
                await connection.ask("GET", "/slow")
            return (await connection.ask("GET", "/quick")).body

    assert asyncio.run(_run()) == b"/quick"


def test_who_lets_in_and_says_nothing_is_left_alone(serving, caller):
    """An answer that does not come is a failure: attempts are rarer each time, until one is answered."""

    async def _mute(request):
        await asyncio.sleep(0.0 if request.path == "/quick" else 0.6)
        return Answer(200, b"")

    async def _run():
        async with serving(_mute) as (listener, _):
            patience = Patience(connect_s=20.0, answer_s=0.1, first_s=100.0, most_s=300.0)
            connection, waits = caller(listener, patience=patience), []
            for path in ("/slow", "/slow", "/quick", "/slow"):
                with contextlib.suppress(NoAnswer):
                    await connection.ask("GET", path)
                waits.append(connection.wait_s)
                connection._not_before_s = 0.0  # time passes
            return waits

    assert asyncio.run(_run()) == pytest.approx([50, 100, 0, 50], abs=5)


@pytest.mark.parametrize("ends", ["hang_up", "abort"])
def test_who_closes_without_an_answer_is_left_alone(serving, caller, network, ends):
    """Each handshake that ends in no answer makes the next one rarer; an answer makes all good again.

    Meanwhile nobody connects, however often something is asked for, and what is told names the cause.
    """
    lfdi = network.people["device-1"].lfdi

    async def _run():
        def _answers(request):
            if request.path == "/closed":
                for conversation in list(listener._of[lfdi]):
                    getattr(conversation, ends)()
            return Answer(200, b"")

        async with serving(_answers) as (listener, _):
            patience = Patience(connect_s=20.0, answer_s=20.0, first_s=100.0, most_s=300.0)
            connection, waits = caller(listener, patience=patience), []
            for path in ("/closed", "/closed", "/closed", "/closed", "/open", "/closed"):
                with contextlib.suppress(NoAnswer):
                    await connection.ask("GET", path)
                waits.append(connection.wait_s)
                for _ in range(3 if waits[-1] else 0):
                    with pytest.raises(NoAnswer, match=r"localhost.*; not tried again for"):
                        await connection.ask("GET", path)
                connection._not_before_s = 0.0  # time passes
            return waits, connection.counts, listener.counts

    waits, mine, theirs = asyncio.run(_run())
    assert waits == pytest.approx([50, 100, 150, 150, 0, 50], abs=5)
    # The last one found its kept connection closed, which is no failure, and its own closed again.
    assert mine["failures"] == 5
    assert theirs["handshakes full"] + theirs.get("handshakes resumed", 0) == 6


def test_an_idle_connection_may_be_ended_at_any_time(serving, caller, network):
    """A server that drops kept connections is no failing one: nothing waits, also after a POST."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener)
            for method in ("GET", "POST", "GET", "POST"):
                await connection.ask("GET", "/x")
                listener.drop(network.people["device-1"].lfdi)
                with contextlib.suppress(NoAnswer):
                    await connection.ask(method, "/y", b"")
                assert connection.wait_s == 0.0
            await connection.close()
            return connection.counts

    assert "failures" not in asyncio.run(_run())


@pytest.mark.parametrize("whole", ["https://LOCALHOST:{}/edev/7?s=0", "http://127.0.0.1:{}/edev/7?s=0"])
def test_a_server_may_name_its_own_places_whole(serving, caller, whole):
    """Its own host in a URI is left away; what stands on another is not asked for."""

    async def _run():
        seen = []

        def _note(request):
            seen.append(request.path)
            return Answer(200, b"")

        async with serving(_note) as (listener, _):
            connection = caller(listener)
            await connection.ask("GET", whole.format(listener.port))
            for other in ("https://elsewhere.example/edev/7", "ftp://localhost/edev", "", "edev/7"):
                with pytest.raises(ValueError, match="is no path"):
                    await connection.ask("GET", other)
            await connection.close()
        return seen

    assert asyncio.run(_run()) == ["/edev/7"]


def test_failures_are_spaced_out(caller):
    """While a server is away, attempts are rarer each time, up to a bound, and spread by the jitter."""

    async def _run():
        nowhere = Server("localhost", 1, "127.0.0.1")
        waits = []
        for jitter in (0.0, 0.9):
            connection = caller(None, server=nowhere, patience=Patience(first_s=100.0, most_s=300.0))
            connection._jitter = lambda jitter=jitter: jitter
            for _ in range(4):
                with pytest.raises(NoAnswer, match="localhost:1"):
                    await connection.ask("GET", "/x")
                waits.append(connection.wait_s)
                with pytest.raises(NoAnswer, match="not tried again"):
                    await connection.ask("GET", "/x")
                connection._not_before_s = 0.0  # time passes
        return waits

    waits = asyncio.run(_run())
    assert waits == pytest.approx([50, 100, 150, 150, 95, 190, 285, 285], abs=5)


def test_a_server_of_another_name_is_not_trusted(serving, caller):
    """The certificate must be for the host that was called."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener, server=Server("elsewhere.example", listener.port, "127.0.0.1"))
            with pytest.raises(NotTrusted, match="Hostname mismatch"):
                await connection.ask("GET", "/x")
            return listener.counts

    assert "requests" not in asyncio.run(_run())


def test_a_server_known_by_its_lfdi(serving, caller, network):
    """Where a server is known by its LFDI the name does not matter, and another LFDI is not trusted."""

    async def _run():
        device, utility = network.people["device-1"], network.people["utility"]
        async with serving(_echo) as (listener, _):
            context = client_context(device.chain, device.key, network.trust, by_name=False)
            right = Server("elsewhere.example", listener.port, "127.0.0.1", utility.lfdi)
            wrong = Server("elsewhere.example", listener.port, "127.0.0.1", device.lfdi)
            status = (await caller(listener, server=right, context=context).ask("GET", "/x")).status
            with pytest.raises(NotTrusted, match="is expected"):
                await caller(listener, server=wrong, context=context).ask("GET", "/x")
            return status

    assert asyncio.run(_run()) == 200


def test_a_server_of_another_network_is_not_trusted(serving, caller, network, tmp_path):
    """A server whose chain leads to nobody we trust is not spoken with."""
    other = identity.Authority.make(tmp_path / "o", "Other", network.now_s, tests=True)
    trust = identity.trust_from((other.folder / "trust.pem").read_bytes(), network.now_s, tests=True)
    device = network.people["device-1"]

    async def _run():
        async with serving(_echo) as (listener, _):
            context = client_context(device.chain, device.key, trust)
            with pytest.raises(NotTrusted, match="unable to get local issuer"):
                await caller(listener, context=context).ask("GET", "/x")

    asyncio.run(_run())


def test_a_server_with_a_devices_certificate_is_not_trusted(serving, caller, network, tmp_path):
    """A sound chain that breaks a rule of the profile is refused, and the rule is named."""
    other = identity.Authority.make(tmp_path / "o", "Other", network.now_s, tests=False)
    other.issue_service("utility", ["localhost"], 30, network.now_s)
    place = other.folder / "issued" / "utility"
    lenient = identity.trust_from((other.folder / "trust.pem").read_bytes(), network.now_s)
    both = identity.Trust((*lenient.authorities, *network.trust.authorities), tests=True)
    from gridflock.field.ieee2030_5._listen import Security
    from gridflock.field.ieee2030_5._tls import server_context

    device = network.people["device-1"]
    security = Security(server_context(device.chain, device.key, both), both)
    context = client_context(place / "chain.pem", place / "key.pem", network.trust, by_name=False)

    async def _run():
        async with serving(_echo, security=security) as (listener, _):
            strict = caller(listener, context=context)
            strict._trust = lenient  # which does not welcome certificates for tests
            with pytest.raises(NotTrusted, match="a test certificate is used in tests only"):
                await strict.ask("GET", "/x")

    asyncio.run(_run())


def test_the_revoked_are_told(serving, caller):
    """A client that was revoked gets the server's 403, not silence."""

    async def _run():
        async with serving(_echo) as (listener, _):
            return (await caller(listener, "revoked").ask("GET", "/x")).status

    assert asyncio.run(_run()) == 403


def test_waiting_is_passed_on(serving, caller):
    """The server's wish to wait comes back with the answer."""

    async def _run():
        async with serving(_echo, limits=Limits(per_s=0.1, burst=1)) as (listener, _):
            connection = caller(listener)
            await connection.ask("GET", "/x")
            return await connection.ask("GET", "/x")

    reply = asyncio.run(_run())
    assert (reply.status, reply.retry_s) == (429, 10)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 3_000_000,
        b"HTTP/1.1 200 OK\r\n"
        + b"".join(b"A%d: 1\r\n" % k for k in range(200))
        + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"",
    ],
    ids=["no http", "long body", "long header", "cut", "nothing"],
)
def test_hostile_servers(data):
    """What is no answer, or too much of one, ends the connection with a word of why."""

    async def _answer(writer):
        writer.write(data)
        await writer.drain()

    async def _run():
        async with _stub(_answer) as connection:
            with pytest.raises(NoAnswer):
                await connection.ask("POST", "/x", b"")

    asyncio.run(_run())


def test_unasked_answers_are_not_taken():
    """What a server says unasked is never the answer to a later question."""

    async def _answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asyncio.sleep(0.1)

    async def _run():
        async with _stub(_answer) as connection:
            first = await connection.ask("GET", "/x")
            await asyncio.sleep(0.1)
            second = await connection.ask("GET", "/y")
            await connection.close()
            await asyncio.sleep(0.2)
            return first.body, second.body

    assert asyncio.run(_run()) == (b"a", b"a")


def test_interim_answers_are_passed_over():
    """An answer that only says to go on is not the answer."""

    async def _answer(writer):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

    async def _run():
        async with _stub(_answer) as connection:
            return (await connection.ask("PUT", "/x", b"abc")).status

    assert asyncio.run(_run()) == 204


def test_a_path_is_a_path(serving, caller):
    """Line ends or spaces never reach the wire: they would be another request."""

    async def _run():
        async with serving(_echo) as (listener, _):
            connection = caller(listener)
            for path in ("x", "/a b", "/a\r\nB: c", "/ü"):
                with pytest.raises(ValueError, match="no path"):
                    await connection.ask("GET", path)
            await connection.close()

    asyncio.run(_run())


def test_a_hundred_clients_in_one_loop(serving, caller):
    """Many connections live in one event loop, each answered as its own."""

    async def _run():
        async with serving(
            lambda r: Answer(200, r.path.encode()), limits=Limits(per_client=200, burst=500)
        ) as (
            server,
            _,
        ):
            connections = [caller(server, context=None) for _ in range(100)]
            for _ in range(3):
                replies = await asyncio.gather(*(c.ask("GET", f"/{k}") for k, c in enumerate(connections)))
            for connection in connections:
                await connection.close()
            return [reply.body for reply in replies]

    assert asyncio.run(_run()) == [b"/%d" % k for k in range(100)]


def test_the_fast_loop_may_be_missing(monkeypatch):
    """Where uvloop is not installed the standard event loop takes its place."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = event_loop()
    loop.close()
    assert type(loop).__module__.startswith("asyncio")
