"""Notifications go where the operator allows, and nowhere else."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5._connect import Patience
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._notify import Poster, Reach, is_public
from gridflock.field.ieee2030_5._target import Target, target_of

pytestmark = pytest.mark.usefixtures("standard_loop")
DOMAINS = ["agg.example", "Other.Example.", "93.184.216.34"]
LAB = Reach(lab=True, patience=Patience(connect_s=20.0, answer_s=0.5, answer_bytes=4_096))


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("https://agg.example/ntfy", Target("agg.example", 443, "/ntfy", secure=True)),
        ("https://a.b.agg.example:8443", Target("a.b.agg.example", 8443, "/", secure=True)),
        ("https://AGG.example./n?x=1", Target("agg.example", 443, "/n?x=1", secure=True)),
        ("https://other.example/n", Target("other.example", 443, "/n", secure=True)),
    ],
)
def test_addresses_that_are_followed(uri, target):
    """HTTPS to a registered domain, or below one, on any port."""
    assert target_of(uri, DOMAINS) == target


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("http://agg.example/n", "is not HTTPS"),
        ("ftp://agg.example/n", "is not HTTPS"),
        ("//agg.example/n", "is not HTTPS"),
        ("https://evil.example/n", "not registered"),
        ("https://notagg.example/n", "not registered"),
        ("https://agg.example.evil.example/n", "not registered"),
        ("https://agg.example@evil.example/n", "user"),
        ("https://evil.example#@agg.example/n", "fragment"),
        ("https://evil.example\\@agg.example/n", "is no address"),
        ("https://agg.example/n\r\nHost: x", "is no address"),
        ("https://agg.example/a b", "is no address"),
        ("https://agg.example:99999/n", "is no address"),
        ("https://agg.example:0/n", "host or port"),
        ("https://[::1/n", "is no address"),
        ("https://127.0.0.1/n", "not registered"),
        ("https://2130706433/n", "not registered"),
        ("https://ágg.example/n", "is no address"),
        ("https://agg.example/" + "x" * 3_000, "is no address"),
        ("", "is not HTTPS"),
    ],
)
def test_addresses_that_are_not(uri, rule):
    """Every trick with an address ends in the rule it breaks."""
    assert rule in str(target_of(uri, DOMAINS))


def test_without_domains_nothing_is_followed():
    """A client for which nothing is registered is notified nowhere; an empty name registers nothing."""
    assert isinstance(target_of("https://agg.example/", []), str)
    assert isinstance(target_of("https://agg.example/", [""]), str)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1",
        "2001:db8::1", "fec0::1", "feff::1", "192.88.99.1", "2002:c058:6301::", "nonsense", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    """Loopback, private, link-local, shared, reserved, multicast and documentation, also wrapped in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_addresses_that_are_public(address):
    """Addresses of the public network."""
    assert is_public(address)


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:192.168.0.1"], []], ids="-".join
)
def test_names_that_lead_inside_are_not_followed(as_client, network, found):
    """One private address among those of a registered name is enough: nobody is spoken to."""

    async def _resolve(*_):
        return found

    async def _run():
        poster = Poster(as_client("aggregator"), network.trust, lambda _: DOMAINS, resolve=_resolve)
        delivery = await poster.post("A", "https://agg.example/n", b"<a/>")
        return delivery, poster.counts

    delivery, counts = asyncio.run(_run())
    assert (delivery.status, delivery.reason, delivery.final) == (
        0,
        "agg.example: not a public address",
        True,
    )
    assert counts == {"not public": 1}


async def _here(*_):
    return ["127.0.0.1"]


def _poster(as_client, network, **options):
    options = {"reach": LAB, "resolve": _here, **options}
    return Poster(as_client("utility"), network.trust, lambda _: ["localhost"], **options)


def test_a_notification_is_delivered(serving, as_client, network):
    """Over mutual TLS to the subscriber's own server; connections are kept, two at most at a time."""
    seen, at_once = [], []

    async def _take(request):
        at_once.append(1)
        most.append(len(at_once))
        await asyncio.sleep(0.02)
        at_once.pop()
        seen.append((request.method, request.path, request.body, request.caller.lfdi))
        return Answer(201)

    most = []

    async def _run():
        async with serving(_take) as (listener, _):
            poster = _poster(as_client, network)
            uri = f"https://localhost:{listener.port}/ntfy"
            deliveries = await asyncio.gather(*(poster.post("A", uri, b"<n>%d</n>" % k) for k in range(8)))
            await poster.close()
            return deliveries, listener.counts, poster.counts

    deliveries, counts, mine = asyncio.run(_run())
    assert {(d.status, d.reason) for d in deliveries} == {(201, "")}
    assert {(method, path, lfdi) for method, path, _, lfdi in seen} == {
        ("POST", "/ntfy", network.people["utility"].lfdi)
    }
    assert sorted(body for _, _, body, _ in seen) == [b"<n>%d</n>" % k for k in range(8)]
    assert max(most) == 2
    assert counts["connections"] == 2
    assert mine == {"delivered": 8}


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        (Answer(302, location="https://localhost/elsewhere"), False),
        (Answer(404), True),
        (Answer(410), True),
        (Answer(503), False),
    ],
)
def test_refusals_and_redirects(serving, as_client, network, answer, final):
    """A redirect is not followed; who is gone for good is told apart from who is busy."""
    asked = []

    async def _run():
        async with serving(lambda r: asked.append(r.path) or answer) as (listener, _):
            poster = _poster(as_client, network)
            delivery = await poster.post("A", f"https://localhost:{listener.port}/n", b"<a/>")
            await poster.close()
            return delivery

    delivery = asyncio.run(_run())
    assert (delivery.status, delivery.final) == (answer.status, final)
    assert asked == ["/n"]


def test_long_answers_are_not_read(serving, as_client, network):
    """Of an answer little is taken: a subscriber cannot fill our memory."""

    async def _run():
        async with serving(lambda _: Answer(200, b"x" * 500_000)) as (listener, _):
            poster = _poster(as_client, network)
            return await poster.post("A", f"https://localhost:{listener.port}/n", b"<a/>")

    delivery = asyncio.run(_run())
    assert (delivery.status, "without end" in delivery.reason, delivery.final) == (0, True, False)


def test_silence_is_not_waited_for(serving, as_client, network):
    """A subscriber that takes the notification and says nothing costs its time, and no more."""

    async def _never(_):
        await asyncio.sleep(1.5)
        return Answer(200)

    async def _run():
        async with serving(_never) as (listener, _):
            poster = _poster(as_client, network)
            delivery = await poster.post("A", f"https://localhost:{listener.port}/n", b"<a/>")
            return delivery, poster.counts

    delivery, counts = asyncio.run(_run())
    assert (delivery.status, delivery.final, counts) == (0, False, {"no answer": 1})


def test_plain_http_is_for_laboratories(as_client, network):
    """Without encryption and on this machine only where the operator has said that it is a laboratory."""

    async def _run():
        async def _answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        async with server:
            uri = f"http://localhost:{server.sockets[0].getsockname()[1]}/n"
            lab = await _poster(as_client, network).post("A", uri, b"<a/>")
            real = await _poster(as_client, network, reach=Reach()).post("A", uri, b"<a/>")
            return lab, real

    lab, real = asyncio.run(_run())
    assert lab.status == 204
    assert (real.status, real.final, "not HTTPS" in real.reason) == (0, True, True)


def test_names_without_addresses(as_client, network):
    """A name that cannot be looked up is tried again later."""

    async def _lost(*_):
        raise OSError("name unknown")

    async def _run():
        return await _poster(as_client, network, resolve=_lost).post("A", "https://localhost/n", b"<a/>")

    delivery = asyncio.run(_run())
    assert (delivery.reason, delivery.final) == ("localhost: name unknown", False)


def test_nothing_is_kept_of_hosts_that_do_not_answer(as_client, network):
    """A client cannot fill our memory with hosts whose notifications fail."""

    async def _run():
        poster = _poster(as_client, network)
        deliveries = await asyncio.gather(
            *(poster.post("A", f"https://localhost:{port}/n", b"<a/>") for port in (1, 2, 3, 4) * 3)
        )
        return deliveries, poster._free, poster._turns

    deliveries, free, turns = asyncio.run(_run())
    assert {each.status for each in deliveries} == {0}
    assert (free, turns) == ({}, {})


def test_the_bound_of_a_host_holds_among_many(serving, as_client, network):
    """While others come and go, one host is spoken to by two at a time."""
    now, most, heard, holding = [], [], asyncio.Event(), asyncio.Event()

    async def _take(_):
        now.append(1)
        most.append(len(now))
        heard.set()
        await holding.wait() if len(most) == 1 else await asyncio.sleep(0.05)
        now.pop()
        return Answer(201)

    async def _run():
        async with serving(_take) as (listener, _):
            poster = _poster(as_client, network, reach=replace(LAB, patience=Patience(answer_s=20.0)))
            here = f"https://localhost:{listener.port}/n"
            posts = [asyncio.ensure_future(poster.post("A", here, b"<a/>"))]
            await heard.wait()
            async with contextlib.AsyncExitStack() as others:
                for k in range(4_200):
                    target = Target(f"h{k}.example", 443, "/", secure=True)
                    await others.enter_async_context(poster._turn(target))
                posts += [asyncio.ensure_future(poster.post("A", here, b"<a/>")) for _ in range(4)]
                asyncio.get_running_loop().call_later(0.2, holding.set)
                await asyncio.gather(*posts)
            await poster.close()

    asyncio.run(_run())
    assert max(most) == 2
