"""Sessions over a real TLS socket: who may come back without a chain, how often, and how it ends."""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Listener
from gridflock.field.ieee2030_5._sides import Called
from gridflock.field.ieee2030_5._tls import CIPHERS
from gridflock.field.ieee2030_5.identity._sign import (
    Signer,
    authority_certificate,
    device_certificate,
    new_key,
)
from gridflock.field.ieee2030_5.identity._words import DEVICE_GENERIC

METER = identity.HardwareName("1.3.6.1.4.1.40732.99.1", b"odd")


class _Refused:
    """One that is asked whether a chain is welcome."""

    idle = False


@pytest.fixture
def crooked(network):
    """A client without tickets whose leaf is sound, and whose own issuer breaks rules; the root signed it."""
    place = network.authority.folder / "authority"
    root = Signer(
        x509.load_pem_x509_certificate((place / "serca.pem").read_bytes()),
        load_pem_private_key((place / "serca.key").read_bytes(), None),
    )
    between, key = ec.generate_private_key(ec.SECP384R1()), new_key()
    made = authority_certificate(
        root, between.public_key(), "crooked", 0, network.now_s, devices=True, tests=True
    )
    leaf = device_certificate(
        Signer(made, between), key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=True
    )
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS.encode())
    context.set_options(SSL.OP_NO_TICKET)
    context.use_certificate(leaf)
    context.use_privatekey(key)
    context.add_extra_chain_cert(made)
    return context


def test_a_refused_chain_is_not_resumed(security, crooked):
    """A chain that was refused stays refused: no session of it is kept, and its leaf is not judged alone."""
    listener = Listener(lambda _: Answer(204), security)
    session, seen, kept = None, [], []  # libraries forget sessions of connections that end without a word
    for _ in range(3):
        called, client = Called(security.context), SSL.Connection(crooked)
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        for _ in range(2):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            called.take(client.bio_read(65_536))
            if called.shake():
                break
            client.bio_write(called.give())
        seen.append((called.resumed, listener.welcome(_Refused(), called) > 0))
        client.bio_write(called.give())  # as if the last flight had got out before the verdict
        client.do_handshake()
        session = client.get_session()
        kept.append((called, client))
    assert seen == [(False, True)] * 3


def _asked(port, context, session=None):
    """The session and the answer of one request, made with another session or in full."""
    client = SSL.Connection(context, socket.create_connection(("127.0.0.1", port)))
    client.set_connect_state()
    if session is not None:
        client.set_session(session)
    try:
        client.do_handshake()
        client.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = client.recv(4096)
        client.shutdown()  # a session is forgotten of a connection that ends without
        return client.get_session(), answer
    finally:
        client.close()


def _own(people):
    """A client's context that keeps to what RFC 5246 says of sessions."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS.encode())
    context.use_certificate_chain_file(str(people.chain))
    context.use_privatekey_file(str(people.key))
    return context


@pytest.mark.parametrize("cause", ["forgotten", "past its end"])
def test_a_session_without_a_verdict_is_made_in_full(serving, network, cause):
    """Where the verdict of a session counts no more, a fatal alert ends it, and the next one is judged."""

    def _turn(listener):
        context, known = _own(network.people["device-1"]), listener._standings
        session, _ = _asked(listener.port, context)
        first = dict(known)
        known.clear()
        if cause == "past its end":
            known.update({at: (chain, replace(each, until_s=-1)) for at, (chain, each) in first.items()})
        with pytest.raises(SSL.Error, match="bad record mac"):
            _asked(listener.port, context, session)
        return _asked(listener.port, context, session)[1], known == first

    async def _run():
        async with serving() as (listener, _):
            return await asyncio.to_thread(_turn, listener), listener.counts

    (data, again), counts = asyncio.run(_run())
    assert (data[:12], again) == (b"HTTP/1.1 200", True)
    assert (counts["handshakes to be made in full"], counts["handshakes full"]) == (1, 2)


def test_a_second_handshake_ends_the_connection(serving, network):
    """Who asks for another handshake hears why not, and the connection ends there."""

    def _turn(port):
        client = SSL.Connection(
            _own(network.people["device-1"]), socket.create_connection(("127.0.0.1", port))
        )
        client.set_connect_state()
        client.do_handshake()
        client.renegotiate()
        with contextlib.closing(client), pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()

    async def _run():
        async with serving() as (listener, _):
            await asyncio.to_thread(_turn, listener.port)
            await asyncio.sleep(0.05)
            return listener.connections, listener.counts

    left, counts = asyncio.run(_run())
    assert (left, counts["tls: RENEGOTIATION"]) == (0, 1)


def test_what_is_no_record_gets_its_alert(serving):
    """Octets that no keys open end a standing connection with the alert of the library."""

    async def _run():
        async with serving() as (_, dial):
            client = await dial()
            plain = client.writer.transport.get_extra_info("socket")
            with socket.socket(fileno=os.dup(plain.fileno())) as beside:
                beside.send(bytes((23, 3, 3, 0, 64)) + bytes(64))
            await asyncio.wait_for(client.reader.read(), 5)

    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        asyncio.run(_run())


def test_handshakes_of_one_client_are_bounded(serving, network):
    """Over its rate a client's handshakes are refused: in full by an alert, resumed by 429; others go on."""

    def _turn(port):
        context = _own(network.people["device-1"])
        session, _ = _asked(port, context)
        first = [_asked(port, context, session)[1][:12] for _ in range(2)]
        with pytest.raises(SSL.Error, match="access denied"):
            _asked(port, context)
        return [*first, _asked(port, _own(network.people["device-2"]))[1][:12]]

    async def _run():
        async with serving(limits=Limits(per_s=0.1, burst=2)) as (listener, _):
            return await asyncio.to_thread(_turn, listener.port), listener.counts, listener.clients

    seen, counts, clients = asyncio.run(_run())
    assert seen == [b"HTTP/1.1 200", b"HTTP/1.1 429", b"HTTP/1.1 200"]
    assert counts["refused: handshakes of one client"] == 2
    assert sum(clients.values()) <= 1


def test_a_resumed_connection_without_room_hears_503(serving, network):
    """Where all connections of a client are busy, one more that is resumed is answered once, and ends."""

    def _turn(port):
        context = _own(network.people["device-1"])
        session, _ = _asked(port, context)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            busy = SSL.Connection(context, plain)
            busy.set_connect_state()
            busy.do_handshake()
            busy.sendall(b"GET /x HT")
            time.sleep(0.05)
            return _asked(port, context, session)[1]

    async def _run():
        async with serving(limits=Limits(per_client=1)) as (listener, _):
            return await asyncio.to_thread(_turn, listener.port), listener.counts

    answer, counts = asyncio.run(_run())
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Connection: close" in answer
    assert counts["refused: connections of one client"] == 1
