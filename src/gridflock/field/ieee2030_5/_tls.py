"""TLS 1.2 as IEEE 2030.5 mandates it, over memory buffers in one protocol class for both sides.

The event loop's own TLS is not used. It keeps no session for a client, so that every reconnection of every
device would be a full handshake; it holds a buffer of 256 KiB for each connection; and it sends its last
handshake message before anybody has seen the certificate, so that a chain of the wrong kind could no longer
get an alert.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from gridflock.field.ieee2030_5._sides import Broken, Side
from gridflock.field.ieee2030_5.identity import CertificatesRejected, Trust

CIPHERS = "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0"
"""The first is mandated; the second serves clients whose library leaves it out. The level is written because
newer libraries rate CCM8 at 64 bits; what it lets through besides is judged from the certificates."""

_NO_AUTO_CHAIN = 0x8
"""``SSL_MODE_NO_AUTO_CHAIN``: else the issuers of a leaf alone are looked for at every handshake."""

_NO_RECORD = bytes((23, 3, 3, 0, 64)) + bytes(64)
"""What no keys open: neither library lets an alert be sent, but each sends one at this."""

_TICKET_S = 86_400
"""How long a session can be resumed: a day at most, as RFC 5246, F.1.4 has it. Who is revoked, denied or past
the end of the certificate is asked at every request, so that a ticket opens nothing by itself."""


def server_context(chain: Path, key: Path, trust: Trust) -> SSL.Context:
    """For the side that is called: its certificate with its issuers, and whom it trusts.

    A certificate is asked for and must be verified. Trusted issuers end a chain, as in ``client_context``.

    Args:
        chain: its certificate; issuers that do not follow in the file are taken from the trusted.
        key: of the certificate.
        trust: whom it trusts.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS.encode())
    context.set_tmp_ecdh(ec.SECP256R1())
    context.set_options(
        int(ssl.OP_NO_RENEGOTIATION) | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_mode(_NO_AUTO_CHAIN | SSL.MODE_RELEASE_BUFFERS)  # 17 KiB less for a connection that waits
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    context.set_session_id(b"gridflock")
    context.set_timeout(_TICKET_S)
    # a table of sessions would hold each before its chain is judged; a ticket goes out after that
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    store = context.get_cert_store()
    assert store is not None, "every context has one"
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for each in trust.authorities:
        store.add_cert(crypto.X509.from_cryptography(x509.load_der_x509_certificate(each)))
    _show(context, chain, key, trust)
    return context


def _show(context: SSL.Context, chain: Path, key: Path, trust: Trust) -> None:
    """Give a context what it proves itself with: the leaf, its issuers without the root, and the key."""
    pem = chain.read_bytes()
    try:
        leaf, *issuers = map(x509.load_der_x509_certificate, trust.chain_from(pem))
        context.use_certificate(leaf)
        for each in issuers:
            if each.issuer != each.subject:
                context.add_extra_chain_cert(each)
        context.use_privatekey_file(str(key))
        context.check_privatekey()
    except (SSL.Error, CertificatesRejected) as error:
        raise OSError(f"{chain} and {key}: no certificate with its key: {error}") from error


def client_context(chain: Path, key: Path, trust: Trust, *, by_name: bool = True) -> ssl.SSLContext:
    """For the side that calls.

    Args:
        chain: its certificate with its issuers.
        key: of the certificate.
        trust: whom it trusts.
        by_name: the server's certificate must be for the host that was called; else it is known by its LFDI.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = by_name
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_ecdh_curve("prime256v1")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    # a trusted issuer ends the chain: those above it were judged when they were trusted, and proving them
    # again at every connection is an eighth of a handshake
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(trust.authorities))
    context.load_cert_chain(chain, key)
    return context


def _spoil(tls: Side) -> None:
    """Have a fatal alert said in the session's own keys; a peer forgets the session (RFC 5246, 7.2.2)."""
    tls.take(_NO_RECORD)
    with contextlib.suppress(Broken):
        while tls.hear():
            pass


class Secured(asyncio.Protocol):
    """One connection, encrypted or (without a context) plain.

    What is said and heard is plain text. A subclass answers ``checked``, ``secured``, ``heard``, ``refused``
    and ``gone``; it calls ``say``, ``hold``, ``go_on``, ``hang_up`` and ``abort``.

    Args:
        tls: its side of TLS; None for a connection in the clear.
        begins: whether it says the first word of a handshake.
    """

    transport: asyncio.Transport

    def __init__(self, tls: Side | None, *, begins: bool) -> None:
        self.tls, self._begins = tls, begins
        self.made = self.up = self.is_held = self.closing = self._deaf = False

    # ---- what a subclass answers -----------------------------------------------------------------

    def checked(self, tls: Side) -> int:
        """Look at the peer's certificate; 0 to go on, else the TLS alert to end with (RFC 5246, 7.2.2)."""
        del tls
        return 0

    def secured(self) -> None:
        """The peer is known and may be spoken to."""

    def heard(self, data: bytes) -> None:
        """Plain text has come."""

    def refused(self, reason: str) -> None:
        """The handshake failed, or what came later was no TLS; the connection ends."""

    def leaving(self) -> None:
        """Nothing more will be said or heard; what was said may still wait to be taken."""

    def gone(self) -> None:
        """The connection has ended; called once."""

    # ---- what a subclass calls -------------------------------------------------------------------

    def say(self, data: bytes) -> None:
        """Send plain text."""
        if self.closing:
            return
        if self.tls is None:
            self.transport.write(data)
        else:
            self.tls.say(data)
            self._flush(self.tls)

    def hold(self) -> None:
        """Read no more for now."""
        if not self.is_held:
            self.is_held = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again, what waits here first."""
        if self.is_held and not self.closing:
            self.is_held = False
            self.transport.resume_reading()
            if self.up and self.tls is not None:
                asyncio.get_running_loop().call_soon(self._hear)

    def hang_up(self) -> None:
        """End the connection after all that was said."""
        if not self.made:
            self.abort()
        elif not self.closing:
            self.say_goodbye()
            self._close()

    def _close(self) -> None:
        self.closing = True
        self.transport.close()
        self.leaving()

    def say_goodbye(self) -> None:
        """Tell the peer that nothing more will be said; what it still sends is dropped undeciphered."""
        self._deaf = True
        if self.tls is not None and self.up:
            self.tls.end()
            self._flush(self.tls)

    def abort(self) -> None:
        """End it at once; one that does not stand yet, as soon as it does."""
        self.closing = True
        if self.made:
            self.transport.abort()

    # ---- what the event loop calls ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A TCP connection stands."""
        self.transport, self.made = cast("asyncio.Transport", transport), True
        if self.closing:
            self.transport.abort()
        elif self.tls is None:
            self.up = True
            self.secured()
        elif self._begins:
            self._shake(self.tls)

    def data_received(self, data: bytes) -> None:
        """Octets have come."""
        if self.closing or self._deaf:
            return
        if self.tls is None:
            self.heard(data)
            return
        self.tls.take(data)
        if self.up or self._shake(self.tls):
            self._hear()

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection has ended."""
        del exc
        self.closing = True
        self.gone()

    def _shake(self, tls: Side) -> bool:
        """Go on with the handshake; whether it is over and the peer is welcome."""
        try:
            over = tls.shake()
        except Broken as error:
            self._flush(tls)
            self._end(str(error))
            return False
        if over:
            alert = self.checked(tls)
            if alert:
                if tls.resumed:
                    _spoil(tls)
                    self._flush(tls)
                elif tls.give():  # our last message is kept back, so an alert in clear is understood
                    self.transport.write(bytes((21, 3, 3, 0, 2, 2, alert)))
                self._close()
                return False
            self.up = True
        self._flush(tls)
        if over:
            self.secured()
        return over

    def _hear(self) -> None:
        tls = self.tls
        assert tls is not None, "only asked of encrypted connections"
        while self.up and not (self.is_held or self.closing or self._deaf):
            try:
                data = tls.hear()
            except Broken as error:
                self._flush(tls)
                self._end(str(error))
                return
            answer = tls.give()
            if answer:  # the library answers by itself only to who wants another handshake
                self.transport.write(answer)
                self._end("RENEGOTIATION")
                return
            if data is None:
                return
            if not data:
                self._end("")
                return
            self.heard(data)

    def _end(self, reason: str) -> None:
        if reason:
            self.refused(reason)
            self._close()
        else:
            self.hang_up()

    def _flush(self, tls: Side) -> None:
        data = tls.give()
        if data:
            self.transport.write(data)
