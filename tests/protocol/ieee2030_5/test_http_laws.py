"""Laws of the HTTP front: any octets, in any pieces."""

import asyncio
import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridflock.field.ieee2030_5._conversation import Conversation
from gridflock.field.ieee2030_5._http import Answer, Caller
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._messages import accepts, address_of, is_ours, request_of

WHO = Caller("49AE4096A9874227D3D0C3D3AA048C855F56E274", 197785050666, "")
METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"CONNECT", b"get", b"X"]
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class _Host:
    """A listener without sockets: it answers with what it understood."""

    limits = Limits(body_bytes=2_000, pipelined=4)
    date = b"Thu, 01 Jan 1970 00:00:00 GMT"

    def __init__(self):
        self.heard = []

    def now_s(self):
        return 0.0

    def longest(self, _):
        return self.limits.body_bytes

    def answer(self, _, asked):
        found = request_of(asked, WHO)
        if isinstance(found, Answer):
            return found
        self.heard.append((found.method, found.path, dict(found.query), found.body))
        return Answer(200, b"%s %d" % (found.path.encode(), len(found.body)))

    def settled(self, conversation):
        pass

    def count(self, cause):
        pass

    def left(self, conversation):
        pass


class _Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.said, self.ended, self.paused = b"", False, False

    def write(self, data):
        self.said += data

    def close(self):
        self.ended = True

    def abort(self):
        self.ended = True

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


def _talk(pieces):
    """What a server says to pieces that come one after the other, and what it understood."""

    async def _run():
        host, wire = _Host(), _Wire()
        conversation = Conversation(host, None)
        conversation.connection_made(wire)
        for piece in pieces:
            for _ in range(100):
                if wire.ended or not wire.paused:
                    break
                await asyncio.sleep(0)
            if not wire.ended:
                conversation.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        conversation.connection_lost(None)
        return wire.said, host.heard, wire.ended or conversation._over

    return asyncio.run(_run())


def _pieces(data, cuts):
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places) if a < b]


_PATHS = st.sampled_from([b"/dcap", b"/edev?s=0&l=10", b"/a%20b", b"/%ff", b"*", b"//x", b"/" + b"x" * 3_000])
_FIELDS = st.sampled_from(
    [
        b"Host: x", b"Accept: application/sep+xml", b"Accept: a/b", b"Content-Type: application/sep+xml",
        b"Content-Type: text/xml", b"Connection: close", b"Expect: 100-continue", b"Content-Encoding: gzip",
        b"Content-Length: 3", b"Content-Length: 9999", b"Transfer-Encoding: chunked", b"Upgrade: h2c",
        b"A: " + b"y" * 900, b"broken", b" folded", b"Content-Length: 3, 3",
    ]
)  # fmt: skip
_BODIES = st.sampled_from(
    [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n", b"zz\r\n"]
)


@st.composite
def _asked(draw):
    """Requests as they should and should not be."""
    method = draw(st.sampled_from(METHODS))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"RTSP/1.0"]))
    lines = [b" ".join((method, draw(_PATHS), version)), *draw(st.lists(_FIELDS, max_size=5))]
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(_BODIES)


@given(st.lists(_asked(), max_size=6), st.lists(st.integers(0, 20_000), max_size=8))
@settings(max_examples=300)
@example([b"GET / HTTP/1.1\r\n\r\n"] * 12, [])
def test_any_requests_in_any_pieces(requests, cuts):
    """Nothing raises, nothing is a 5xx, every answer has its length, and the pieces do not matter."""
    data = b"".join(requests)
    said, heard, _ = _talk([data] if data else [])
    cut, again, _ = _talk(_pieces(data, cuts))
    assert not [status for status in STATUS.findall(said) if status.startswith(b"5")]
    assert heard == again
    said, cut = (text.replace(b"HTTP/1.1 100 ", b"") for text in (said, cut))
    assert STATUS.findall(said) == STATUS.findall(cut)
    for head in said.split(b"HTTP/1.1 ")[1:]:
        assert b"Content-Length: " in head


@given(st.lists(st.binary(max_size=400), max_size=6))
@settings(max_examples=300)
def test_any_octets(pieces):
    """Nothing raises, whatever comes, and nothing that is no request is understood as one."""
    said, heard, ended = _talk(pieces)
    assert not [status for status in STATUS.findall(said) if status.startswith(b"5")]
    assert ended or not said or heard


@given(st.integers(1, 40), st.lists(st.integers(0, 5_000), max_size=10))
@settings(max_examples=100)
def test_answers_keep_their_order(count, cuts):
    """As many answers as requests, each to its own, in the order of asking."""
    data = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % k for k in range(count))
    said, heard, _ = _talk(_pieces(data, cuts))
    assert [path for _, path, _, _ in heard] == [f"/{k}" for k in range(count)]
    assert re.findall(rb"\r\n\r\n/(\d+) 0", said) == [b"%d" % k for k in range(count)]


@given(st.binary(max_size=60))
def test_any_header_value(value):
    """Media types and targets are judged without a fault."""
    assert accepts(value) in {True, False}
    assert is_ours(value) in {True, False}
    found = address_of(value)
    assert found is None or found[0].startswith("/")
