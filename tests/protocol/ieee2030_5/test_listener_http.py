"""What the listener takes and answers: HTTP over a real TLS socket."""

import asyncio

import pytest
from lxml import etree

from gridflock.field.ieee2030_5._http import JSON, MEDIA_TYPE, Answer
from gridflock.field.ieee2030_5._limits import BATCH_BYTES, Limits, Quotas
from gridflock.field.ieee2030_5._messages import accepts, address_of, is_ours

SEP = "Content-Type: application/sep+xml"


def _echo(request):
    return Answer(200, b"%s %d" % (request.method.encode(), len(request.body)))


def _reason(body):
    """Reason code and wait of an Error, whose only elements they are."""
    root = etree.fromstring(body)
    assert root.tag == "{urn:ieee:std:2030.5:ns}Error"
    found = {etree.QName(child).localname: int(child.text) for child in root}
    assert found.keys() <= {"maxRetryDuration", "reasonCode"}
    return found["reasonCode"], found.get("maxRetryDuration")


def _run(serving, talk, handler=_echo, **options):
    """Serve, talk, and give what was said with the listener's counts."""

    async def _both():
        async with serving(handler, **options) as (listener, dial):
            return await talk(listener, dial), listener.counts

    return asyncio.run(_both())


def test_an_answer_has_its_length_and_type(serving):
    """Every answer has a Content-Length and is never in chunks; a body is XML of the standard."""

    async def _talk(_, dial):
        return await (await dial()).get("/dcap?s=0&l=1")

    (status, fields, body), counts = _run(serving, _talk)
    assert (status, body) == (200, b"GET 0")
    assert fields["content-length"] == "5"
    assert fields["content-type"] == "application/sep+xml"
    assert "transfer-encoding" not in fields
    assert fields["date"].endswith("GMT")
    assert counts["requests"] == 1


@pytest.mark.parametrize("accept", ["application/json", "application/sep+xml", "*/*"])
def test_what_is_well_known_is_json(serving, accept):
    """An answer names its own media type; JSON is asked for below /.well-known/ and nowhere else."""

    async def _talk(_, dial):
        client = await dial()
        told = []
        for path in ("/.well-known/csipaus", "/dcap"):
            await client.say(f"GET {path} HTTP/1.1", "Host: x", f"Accept: {accept}")
            told.append(await client.hear())
        return told

    def _handler(request):
        return Answer(200, b"{}", media_type=JSON if request.path.startswith("/.well-known/") else MEDIA_TYPE)

    ((status, fields, _), (other, _, _)), _ = _run(serving, _talk, _handler)
    assert (status, fields["content-type"]) == (200, "application/json")
    assert other == (406 if accept == "application/json" else 200)


def test_head_is_measured_and_not_sent(serving):
    """HEAD has the header of GET, its length included, and no body; the connection goes on."""

    async def _talk(_, dial):
        client = await dial()
        await client.say("HEAD /dcap HTTP/1.1", "Host: localhost")
        status, fields, _ = await client.hear(head=True)
        return status, fields["content-length"], (await client.get("/dcap"))[2]

    assert _run(serving, _talk)[0] == (200, "6", b"GET 0")


def test_what_a_request_holds(serving):
    """Path and query are decoded, the first of a repeated name counts, and the type has no parameters."""
    seen = []

    async def _talk(_, dial):
        client = await dial()
        await client.say(
            "POST /edev/1%2F2/x%20y?s=3&l=10&s=4&a= HTTP/1.1",
            "Host: localhost", "Accept: application/sep+xml;level=-S1",
            "Content-Type: application/sep+xml; level=-S1; charset=UTF-8", "Content-Length: 4",
            body=b"<a/>",
        )  # fmt: skip
        await client.hear()

    _run(serving, _talk, lambda request: seen.append(request) or Answer(204))
    request = seen[0]
    assert (request.method, request.path, request.body) == ("POST", "/edev/1/2/x y", b"<a/>")
    assert dict(request.query) == {"s": "3", "l": "10", "a": ""}
    assert request.content_type == "application/sep+xml"
    assert request.accept == "application/sep+xml;level=-S1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(201, location="/edev/7"), {"location": "/edev/7", "content-length": "0"}),
        (Answer(405, allow="GET, HEAD"), {"allow": "GET, HEAD"}),
        (Answer(503, retry_s=30), {"retry-after": "30"}),
    ],
)
def test_what_stands_beside_an_answer(serving, answer, expected):
    """Location, allowed methods and the time to wait are in the header; refusals have an Error."""

    async def _talk(_, dial):
        return await (await dial()).get("/x")

    (status, fields, body), _ = _run(serving, _talk, lambda _: answer)
    assert status == answer.status
    assert expected.items() <= fields.items()
    assert status < 400 or _reason(body)


def test_no_content_has_no_length(serving):
    """204 has neither body nor length (RFC 9110, 8.6), and the connection goes on."""

    async def _talk(_, dial):
        client = await dial()
        return [await client.get("/x") for _ in range(2)]

    answers, _ = _run(serving, _talk, lambda _: Answer(204))
    assert [(status, "content-length" in fields) for status, fields, _ in answers] == [(204, False)] * 2


def test_pipelined_requests_are_answered_in_order(serving):
    """Requests sent at once are answered in their order, also where an early one takes longest."""

    async def _slow(request):
        await asyncio.sleep(0.05 if request.path in {"/0", "/7"} else 0.0)
        return Answer(200, request.path.encode())

    def _mixed(request):
        return _slow(request) if int(request.path[1:]) % 7 == 0 else Answer(200, request.path.encode())

    async def _talk(_, dial):
        client = await dial()
        client.writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % k for k in range(90)))
        return [(await client.hear())[2] for _ in range(90)]

    bodies, _ = _run(serving, _talk, _mixed, limits=Limits(pipelined=8))
    assert bodies == [b"/%d" % k for k in range(90)]


def test_a_slow_answer_holds_up_nobody_else(serving):
    """While one connection waits for its answer, others are answered."""
    free = asyncio.Event()

    async def _wait():
        await free.wait()
        return Answer(200, b"late")

    async def _talk(_, dial):
        one, two = await dial(), await dial("device-2")
        await one.say("GET /slow HTTP/1.1", "Host: x")
        quick = await two.get("/quick")
        free.set()
        return quick[2], (await one.hear())[2]

    assert _run(serving, _talk, lambda r: _wait() if r.path == "/slow" else _echo(r))[0] == (
        b"GET 0",
        b"late",
    )


def test_chunked_requests_are_taken(serving):
    """A body in chunks, with extensions and a trailer, is put together."""

    async def _talk(_, dial):
        client = await dial()
        await client.say("POST /mup HTTP/1.1", "Host: x", SEP, "Transfer-Encoding: chunked")
        client.writer.write(b"5;note=1\r\n01234\r\n3\r\n567\r\n0\r\nX-Trailer: t\r\n\r\n")
        return await client.hear(), (await client.get("/x"))[0]

    (answer, after), _ = _run(serving, _talk)
    assert (answer[0], answer[2], after) == (200, b"POST 8", 200)


def _chunk(size):
    return b"%x\r\n%s\r\n" % (size, b"x" * size)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 70000", b""),
        ("Content-Length: 70000", b"x" * 70_000),
        ("Transfer-Encoding: chunked", _chunk(40_000) * 2 + b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked", _chunk(1) * 2_000),
        ("Transfer-Encoding: chunked", b"5;" + b"x" * 200_000),
    ],
    ids=["announced", "sent", "chunks", "tiny chunks", "extension"],
)
def test_over_long_bodies(serving, head, body):
    """A body over its bound is refused with 413 before it is whole; nothing reaches the handler."""
    heard = []

    async def _talk(_, dial):
        client = await dial()
        await client.say("POST /mup HTTP/1.1", "Host: x", SEP, head, body=body)
        answer = await client.hear()
        return answer, await client.over()

    ((status, fields, text), ended), counts = _run(serving, _talk, lambda r: heard.append(r) or Answer(204))
    assert (status, fields["connection"], ended) == (413, "close", True)
    assert _reason(text) == (0, None)
    assert counts["refused: 413"] == 1
    assert not heard


def test_batches_of_readings_may_be_longer(serving):
    """The bound of a body is its path's: a batch of 900 kB is taken where batches go, and only there."""

    async def _talk(_, dial):
        statuses = []
        for path in ("/mup/1", "/edev"):
            client = await dial()
            await client.say(f"POST {path} HTTP/1.1", "Host: x", SEP, "Content-Length: 900000")
            client.writer.write(b"x" * 900_000)
            statuses.append((await client.hear())[0])
        return statuses

    longest = lambda path: BATCH_BYTES if path.startswith("/mup/") else 0  # noqa: E731 - a hook
    assert _run(serving, _talk, longest=longest)[0] == [200, 413]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["POST /x HTTP/1.1", "Content-Type: application/json", "Content-Length: 2"], 415),
        (["POST /x HTTP/1.1", "Content-Length: 2"], 415),
        (["POST /x HTTP/1.1", "Content-Type: application/sep-exi", "Content-Length: 2"], 415),
        (["PUT /x HTTP/1.1", SEP + "; charset=utf-16", "Content-Length: 2"], 415),
        (["PUT /x HTTP/1.1", SEP, "Content-Encoding: gzip", "Content-Length: 2"], 415),
        (["POST /x HTTP/1.1", SEP], 411),
        (["GET /x HTTP/1.1", "Accept: application/sep-exi"], 406),
        (["GET /x HTTP/1.1", "Accept: text/html"], 406),
        (["GET /x HTTP/1.1", SEP, "Content-Length: 2"], 400),
        (["PATCH /x HTTP/1.1", "Content-Length: 2"], 405),
        (["OPTIONS /x HTTP/1.1"], 405),
        (["GET /x%ff HTTP/1.1"], 400),
        (["GET /x%00 HTTP/1.1"], 400),
        (["GET * HTTP/1.1"], 400),
    ],
)
def test_what_cannot_be_asked(serving, lines, status):
    """The right 4xx with a schema-valid Error; the handler hears nothing; the connection goes on."""
    heard = []

    async def _talk(_, dial):
        client = await dial()
        await client.say(*lines, "Host: x", body=b"{}" if "Content-Length: 2" in lines else b"")
        return await client.hear(), (await client.get("/next"))[0]

    def _handler(request):
        heard.append(request.path)
        return Answer(204)

    ((got, fields, body), after), counts = _run(serving, _talk, _handler)
    assert (got, after, heard) == (status, 204, ["/next"])
    assert _reason(body) == (0, None)
    assert counts[f"refused: {status}"] == 1
    assert status != 405 or fields["allow"] == "GET, HEAD, POST, PUT, DELETE"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost x\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nA: 1\r\n B: 2\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (
            b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"x" * 3_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /x HTTP/1.1\r\n" + b"A: 1\r\n" * 100 + b"\r\n", 431),
        (b"GET /x HTTP/1.1\r\nA: " + b"x" * 40_000, 431),
    ],
)
def test_what_cannot_be_read(serving, data, status):
    """What is no HTTP, or too much of it, is answered with an Error and ends the connection."""
    heard = []

    async def _talk(_, dial):
        client = await dial()
        client.writer.write(data)
        answer = await client.hear()
        return answer, await client.over()

    ((got, fields, body), ended), _ = _run(serving, _talk, lambda r: heard.append(r) or Answer(204))
    assert (got, fields["connection"], ended, heard) == (status, "close", True, [])
    assert _reason(body) == (0, None)


def test_what_was_asked_before_is_answered(serving):
    """A request that cannot be read does not take the answers of those before it."""

    async def _talk(_, dial):
        client = await dial()
        client.writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"nonsense\r\n\r\n")
        return [(await client.hear())[0] for _ in range(4)]

    assert _run(serving, _talk)[0] == [200, 200, 200, 400]


def test_another_protocol_is_not_spoken(serving):
    """An upgrade is answered in HTTP/1.1, and the connection ends."""

    async def _talk(_, dial):
        client = await dial()
        await client.say("GET /x HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: h2c")
        answer = await client.hear()
        return answer[0], answer[1]["connection"], await client.over()

    assert _run(serving, _talk)[0] == (200, "close", True)


@pytest.mark.parametrize("line", ["GET /x HTTP/1.1|Connection: close", "GET /x HTTP/1.0"])
def test_a_client_that_wants_to_end(serving, line):
    """A connection that the client wants closed is answered and closed."""

    async def _talk(_, dial):
        client = await dial()
        await client.say(*line.split("|"), "Host: x")
        return (await client.hear())[1]["connection"], await client.over()

    assert _run(serving, _talk)[0] == ("close", True)


def test_expecting_clients_are_told_to_go_on(serving):
    """A client that asks before sending its body is told to; one whose body is too long is refused first."""

    async def _talk(_, dial):
        client = await dial()
        await client.say("POST /x HTTP/1.1", "Host: x", SEP, "Content-Length: 2", "Expect: 100-continue")
        first = (await client.hear())[0]
        client.writer.write(b"ab")
        second = await client.hear()
        await client.say("POST /x HTTP/1.1", "Host: x", SEP, "Content-Length: 99999", "Expect: 100-continue")
        return first, second[2], (await client.hear())[0]

    assert _run(serving, _talk)[0] == (100, b"POST 2", 413)


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (b"GET /x HTTP/1.1\r\nHost: x\r\n", "header"),
        (b"POST /x HTTP/1.1\r\nContent-Length: 999\r\n\r\nx", "body"),
    ],
)
def test_slow_requests_are_ended(serving, start, cause):
    """A request that comes octet by octet is ended in time, with 408, however regularly it comes."""

    async def _talk(_, dial):
        client = await dial()
        client.writer.write(start)

        async def _trickle():
            for _ in range(50):
                await asyncio.sleep(0.1)
                client.writer.write(b"x")

        trickle = asyncio.create_task(_trickle())
        answer = await client.hear()
        trickle.cancel()
        return answer[0], _reason(answer[2])

    limits = Limits(head_s=0.3, body_s=0.3)
    answer, counts = _run(serving, _talk, limits=limits)
    assert answer == (408, (0, None))
    assert counts[f"timeout: {cause}"] == 1


def test_idle_connections_end(serving):
    """A connection without requests ends after its time, and octets that are no request do not prolong it."""

    async def _talk(_, dial):
        client = await dial()
        await client.get("/x")
        client.writer.write(b"\r\n")
        return await client.over()

    ended, counts = _run(serving, _talk, limits=Limits(idle_s=0.2))
    assert ended
    assert counts["connections idle"] == 1


def test_a_client_that_takes_no_answers_is_held(serving):
    """Who pipelines and never reads stops being read, and is ended; memory does not grow with it."""
    made = []

    async def _talk(listener, dial):
        client = await dial()
        client.writer.transport.pause_reading()
        client.writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000)
        await asyncio.sleep(2.5)
        return listener.connections

    limits = Limits(stall_s=0.5, burst=10_000)
    left, counts = _run(serving, _talk, lambda _: made.append(1) or Answer(200, b"x" * 60_000), limits=limits)
    assert counts["timeout: answers not taken"] == 1
    assert len(made) < 500
    assert left == 0


async def _choking(listener, dial):
    """A client with an answer that waits to be taken, fewer octets than hold the next one back."""
    client = await dial()
    client.writer.transport.pause_reading()
    known = set(listener._all)
    for _ in range(2_000):
        client.writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.002)
        if any(each.transport.get_write_buffer_size() for each in known):
            break
    return client


def test_an_ended_connection_is_gone(serving):
    """Who does not take the last answer is let go: an idle connection that was ended does not stay so."""

    async def _talk(listener, dial):
        await _choking(listener, dial)
        await asyncio.sleep(3.5)
        return listener.connections

    limits = Limits(idle_s=0.3, stall_s=0.5, burst=10_000)
    left, counts = _run(serving, _talk, lambda _: Answer(200, b"x" * 16_000), limits=limits)
    assert left == 0
    assert counts["connections idle"] == counts["timeout: after the last answer"] == 1


def test_a_replaced_connection_is_gone(serving):
    """Connections that take nothing are not kept beside those that replace them."""

    async def _talk(listener, dial):
        for _ in range(3):
            await _choking(listener, dial)
        await asyncio.sleep(0.1)
        return listener.connections

    limits = Limits(per_client=1, burst=10_000)
    left, counts = _run(serving, _talk, lambda _: Answer(200, b"x" * 16_000), limits=limits)
    assert (left, counts["connections replaced"]) == (1, 2)


def test_too_many_requests(serving, network):
    """Over its rate a client hears 429 with reason 4 and the time to wait; its own rate can be set."""

    async def _talk(listener, dial):
        one, two = await dial("device-1"), await dial("device-2")
        statuses = [(await one.get("/x"))[0] for _ in range(3)]
        refused = await one.get("/x")
        statuses.append((await two.get("/x"))[0])
        listener.limit(network.people["device-2"].lfdi, 1.0, 1)
        listener.limit(network.people["device-1"].lfdi, 50.0, 5)
        await asyncio.sleep(0.1)
        return statuses, refused, (await one.get("/x"))[0], [(await two.get("/x"))[0] for _ in range(2)]

    answer, counts = _run(serving, _talk, limits=Limits(per_s=0.1, burst=3))
    statuses, (status, fields, body), again, other = answer
    assert statuses == [200] * 4
    assert (status, fields["retry-after"], _reason(body)) == (429, "10", (4, 10))
    assert (again, other) == (200, [200, 429])
    assert counts["refused: 429"] == 2


def test_quotas_follow_what_clients_are_told():
    """What a client may ask is asked again every few seconds, and a fuller bucket is cut to its new size."""
    told = {"A": (1.0, 3)}
    quotas = Quotas(Limits(per_s=0.1, burst=1), lambda lfdi: told[lfdi])
    assert [quotas.wait_s("A", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    told["A"] = (0.0, 0)
    assert [quotas.wait_s("A", 3.0) for _ in range(3)] == [0, 0, 0]
    assert [quotas.wait_s("A", 20.0) for _ in range(2)] == [0, 10]


def test_our_own_mistakes_tell_nothing(serving):
    """A fault of the handler, now or later, is an Error without a word of it, logged and counted."""

    async def _later():
        raise RuntimeError("secret")

    def _handler(request):
        if request.path == "/later":
            return _later()
        if request.path == "/place":
            return Answer(201, location="/a\r\nSet-Cookie: b")
        raise ValueError("secret")

    async def _talk(_, dial):
        client = await dial()
        return [await client.get(path) for path in ("/now", "/later", "/place", "/now")]

    answers, counts = _run(serving, _talk, _handler)
    assert [status for status, _, _ in answers] == [500] * 4
    assert b"secret" not in b"".join(body for _, _, body in answers)
    assert counts["faults"] == 4


def test_stopping_answers_what_was_asked(serving):
    """On stopping, what has been asked is answered, idle connections end, new ones are not taken."""

    async def _slow(_):
        await asyncio.sleep(0.2)
        return Answer(200, b"done")

    async def _talk(listener, dial):
        busy, idle = await dial(), await dial("device-2")
        await busy.say("GET /x HTTP/1.1", "Host: x")
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(listener.stop(3.0))
        answer = await busy.hear()
        await stopping
        with pytest.raises(OSError, match=r"refused|Connect"):
            await dial()
        return answer[2], answer[1]["connection"], await idle.over(), listener.connections

    assert _run(serving, _talk, _slow)[0] == (b"done", "close", True, 0)


def test_a_client_is_dropped(serving, network):
    """An operator ends one client's connections; others stay."""

    async def _talk(listener, dial):
        one, two = await dial(), await dial("device-2")
        await one.get("/x")
        dropped = listener.drop(network.people["device-1"].lfdi)
        return dropped, await one.over(), (await two.get("/x"))[0]

    assert _run(serving, _talk)[0] == (1, True, 200)


def test_media_types():
    """Accept and Content-Type are read as RFC 9110 says: most specific first, a weight of 0 is never."""
    assert accepts(b"")
    assert accepts(b"*/*")
    assert accepts(b"text/html, application/*;q=0.1")
    assert accepts(b"application/sep+xml; level=+S1, application/sep-exi")
    assert not accepts(b"application/sep-exi")
    assert not accepts(b"*/*, application/sep+xml;q=0")
    assert not accepts(b"application/sep+xml; q=0.0")
    assert is_ours(b"APPLICATION/SEP+XML ; level=-S1")
    assert is_ours(b'application/sep+xml; charset="UTF-8"')
    assert not is_ours(b"application/xml")


def test_addresses():
    """A target is a path, or a whole address of which the path counts; anything else is none."""
    assert address_of(b"/edev?l=1") == ("/edev", {"l": "1"})
    assert address_of(b"https://elsewhere:1/edev") == ("/edev", {})
    assert address_of(b"edev") is None
    assert address_of(b"/" + b"?" + b"&".join(b"a%d=1" % k for k in range(40))) is None


def test_quotas_forget_the_quiet():
    """A client is let go once it is like a new one; a bound of its own stays."""
    quotas = Quotas(Limits(per_s=1.0, burst=2))
    quotas.set("B", 1.0, 1, 2, 0.0)
    assert [quotas.wait_s("A", 0.0) for _ in range(3)] == [0, 0, 1]
    quotas.forget(1.0)
    assert quotas.wait_s("A", 1.0) == 0
    quotas.forget(9.0)
    assert set(quotas._of) == {"B"}
    with pytest.raises(ValueError, match="none may be 0"):
        quotas.set("B", 0.0, 1, 1, 0.0)
