"""What crosses the border between the listener, which does the I/O, and the server's rules, which do none.

The listener hands a ``Request`` to one ``Handler`` and writes its ``Answer``. The content type of every body
that is received is ``application/sep+xml``; of those that are sent, that of all but well-known ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

MEDIA_TYPE = "application/sep+xml"
JSON = "application/json"
WELL_KNOWN = "/.well-known/"
"""Below this address stand answers in JSON, of RFC 8615 and not of the standard's resources."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose certificate the connection was made with.

    Attributes:
        lfdi: long form device identifier, 40 uppercase hexadecimal digits.
        sfdi: short form device identifier with its check digit.
        subject: the certificate's subject for people to read; empty for a device certificate.
    """

    lfdi: str
    sfdi: int
    subject: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request whose sender, size, method and media types have been checked.

    Attributes:
        method: ``GET``, ``HEAD``, ``POST``, ``PUT`` or ``DELETE``.
        path: decoded, without the query.
        query: names and decoded values; of a repeated name the first value.
        accept: as sent, possibly empty.
        content_type: without parameters, in lower case; empty where there is no body.
        body: whole, with no transfer or content coding left on it.
        caller: of the connection, never of a header.
    """

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    content_type: str
    body: bytes
    caller: Caller


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: HTTP status code.
        body: of a HEAD request it is measured and not sent.
        location: of what was made, or was there already.
        allow: methods of the path, beside a 405.
        retry_s: seconds to wait, beside a 429 or 503; 0 says nothing.
        media_type: of the body.
    """

    status: int
    body: bytes = b""
    location: str = ""
    allow: str = ""
    retry_s: int = 0
    media_type: str = MEDIA_TYPE


Handler: TypeAlias = Callable[[Request], "Answer | Awaitable[Answer]"]
"""Called once per request in the order of arrival of its connection. An awaitable is for a change that must
be durable before it is answered; it is awaited without holding up other connections."""
