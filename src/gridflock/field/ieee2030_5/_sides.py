"""The two sides of TLS over memory buffers, behind one face.

A server answers storms of devices that come back at once, so its handshakes count. It uses the OpenSSL that
comes with ``cryptography`` by way of pyOpenSSL: with chains of four it does a full mutual handshake in about
half the processor time of the OpenSSL 3.0 that Python is usually built with, which searches its tables of
algorithms at every step. The calling side stays with Python's own: that one checks the server's name, and
nobody waits for its speed.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from OpenSSL import SSL, crypto

_RECORD = 16_384
"""Bytes of plain text in a record, at most."""
_PIECE = 32_768
"""Octets taken from a buffer at once; the C library tidies its whole heap after one of 65,536."""
_ALERT, _HEADER = 21, 5
_UNTRUSTED = "certificate verify failed"
_WHY_UNTRUSTED = {42: "bad", 43: "unsupported", 45: "expired", 48: "unknown authority", 51: "signature"}
"""What the alert for an untrusted chain says (RFC 5246, 7.2.2), in words."""


class Broken(Exception):  # noqa: N818 - what came is no TLS, or of nobody we trust
    """The library's short name of what went wrong: few, and none made of what the peer sent."""


class Side(Protocol):
    """One connection's TLS.

    Octets go in by ``take`` and out by ``give``; plain text goes in by ``say`` and out by ``hear``.
    """

    @property
    def resumed(self) -> bool:
        """Whether the handshake, which is over, went on with an earlier session."""
        ...

    def take(self, data: bytes) -> None:
        """Octets of the peer."""
        ...

    def give(self) -> bytes:
        """Octets for the peer; empty where there are none."""
        ...

    def shake(self) -> bool:
        """Go on with the handshake; whether it is over.

        Raises:
            Broken: it failed; what the peer is to be told waits in ``give``.
        """
        ...

    def say(self, data: bytes) -> None:
        """Plain text for the peer."""
        ...

    def hear(self) -> bytes | None:
        """Plain text of the peer, of one record; None where more must come, empty where it has ended.

        Raises:
            Broken: what came is no TLS.
        """
        ...

    def end(self) -> None:
        """Say that nothing more will be said."""
        ...

    def leaf(self) -> bytes:
        """DER of the peer's certificate."""
        ...

    def chain(self) -> list[bytes]:
        """DER of the peer's certificate and its issuers up to a trusted one; nothing of a resumed session."""
        ...


class Calling:
    """The side that calls.

    Args:
        context: of ``client_context``.
        host: that was called.
        session: of an earlier connection with the same context.
    """

    def __init__(self, context: ssl.SSLContext, host: str | None, session: ssl.SSLSession | None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host, session=session)

    @property
    def session(self) -> ssl.SSLSession | None:
        """To be resumed later."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        """As in ``Side``."""
        return bool(self._tls.session_reused)

    def take(self, data: bytes) -> None:
        """As in ``Side``."""
        self._in.write(data)

    def give(self) -> bytes:
        """As in ``Side``."""
        return self._out.read()

    def shake(self) -> bool:
        """As in ``Side``."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            raise Broken(_of_python(error)) from error
        return True

    def say(self, data: bytes) -> None:
        """As in ``Side``."""
        self._tls.write(data)

    def hear(self) -> bytes | None:
        """As in ``Side``."""
        try:
            return self._tls.read(_RECORD)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise Broken(_of_python(error)) from error

    def end(self) -> None:
        """As in ``Side``."""
        with contextlib.suppress(ssl.SSLError):  # the peer has not said it yet; ours is in the buffer
            self._tls.unwrap()

    def leaf(self) -> bytes:
        """As in ``Side``."""
        return self._tls.getpeercert(binary_form=True) or b""

    def chain(self) -> list[bytes]:
        """As in ``Side``."""
        public: Callable[[], list[bytes]] | None = getattr(self._tls, "get_verified_chain", None)
        if public is not None:  # Python 3.13
            return list(public() or [])
        found = cast("Any", self._tls)._sslobj.get_verified_chain()  # noqa: SLF001 - public from Python 3.13 on
        return [each.public_bytes(ssl._ssl.ENCODING_DER) for each in found or []]  # type: ignore[attr-defined] # noqa: SLF001 - its constants are not re-exported


class Called:
    """The side that is called.

    Args:
        context: of ``server_context``.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._tls = SSL.Connection(context)
        self._tls.set_accept_state()
        self._rest = b""
        self._peer: crypto.X509 | None = None
        self._resumed = False

    @property
    def resumed(self) -> bool:
        """As in ``Side``."""
        return self._resumed

    def take(self, data: bytes) -> None:
        """As in ``Side``."""
        self._tls.bio_write(data)

    def give(self) -> bytes:
        """As in ``Side``."""
        found, self._rest = self._rest, b""
        more = True
        while more:
            try:
                piece = self._tls.bio_read(_PIECE)
            except SSL.WantReadError:
                break
            found = found + piece if found else piece
            more = len(piece) == _PIECE
        return found

    def shake(self) -> bool:
        """As in ``Side``."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            self._rest = self.give()
            raise Broken(_of_library(error, self._rest)) from error
        chain = self._tls.get_verified_chain()  # every full handshake verifies one: without, it was resumed
        self._resumed = chain is None
        self._peer = chain[0] if chain else self._tls.get_peer_certificate()
        return True

    def say(self, data: bytes) -> None:
        """As in ``Side``."""
        self._tls.sendall(data)

    def hear(self) -> bytes | None:
        """As in ``Side``."""
        try:
            return self._tls.recv(_RECORD)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise Broken(_of_library(error)) from error

    def end(self) -> None:
        """As in ``Side``."""
        with contextlib.suppress(SSL.Error):  # after an error of the library's nothing can be said
            self._tls.shutdown()

    def leaf(self) -> bytes:
        """As in ``Side``."""
        return b"" if self._peer is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, self._peer)

    def chain(self) -> list[bytes]:
        """As in ``Side``."""
        found = self._tls.get_verified_chain() or []
        return [crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in found]


def _of_python(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(getattr(error, "reason", None) or type(error).__name__)


def _of_library(error: SSL.Error, last: bytes = b"") -> str:
    """In capitals, as Python's own names it; of an untrusted chain what the peer is told, in clear."""
    found = error.args[0] if error.args else None
    reason = str(found[-1][-1]) if isinstance(found, list) and found else type(error).__name__
    if reason == _UNTRUSTED and len(last) > _HEADER and last[0] == _ALERT:
        return f"certificate: {_WHY_UNTRUSTED.get(last[-1], f'alert {last[-1]}')}"
    return reason.upper().replace(" ", "_")
