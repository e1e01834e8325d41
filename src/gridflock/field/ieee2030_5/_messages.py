"""HTTP/1.1 as the server speaks it: what a request asks for, and how an answer is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

import httptools

from gridflock.field.ieee2030_5 import wire
from gridflock.field.ieee2030_5._http import JSON, MEDIA_TYPE, WELL_KNOWN, Answer, Caller, Request
from gridflock.field.ieee2030_5.resources import Error, Profile

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
WITH_BODY = frozenset({"POST", "PUT"})
_MOST_WAIT_S = 65_535
_MOST_QUERY = 16
_WELL_KNOWN = WELL_KNOWN.encode()
BAD_FORMAT, BAD_VALUES, NO_RESOURCE, TOO_OFTEN = 0, 1, 2, 4
"""Reason codes of Error."""


@dataclass(slots=True)
class Asked:
    """A request as it came, header names in lower case.

    Attributes:
        method: as sent.
        target: path and query as sent.
        fields: of the header; only those that are looked at.
        body: without transfer coding.
        fault: answered instead of handling the request; the connection ends with it.
    """

    method: str = ""
    target: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    fault: Answer | None = None


@lru_cache(maxsize=256)
def error_body(reason_code: int, wait_s: int = 0) -> bytes:
    """A schema-valid Error, the whole text of every refusal; details are for our log."""
    wait = min(wait_s, _MOST_WAIT_S) if wait_s else None
    return wire.write(Error(max_retry_duration=wait, reason_code=reason_code), Profile.SEP2018)


def refusal(status: HTTPStatus, reason_code: int = BAD_FORMAT, wait_s: int = 0, allow: str = "") -> Answer:
    """An answer that says no."""
    return Answer(int(status), error_body(reason_code, wait_s), allow=allow, retry_s=wait_s)


def request_of(asked: Asked, caller: Caller) -> Request | Answer:
    """What is asked for, or the refusal of what cannot be asked.

    Methods are refused before media types, and both before the address is looked at.
    """
    if asked.method not in METHODS:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow=", ".join(METHODS))
    accept = asked.fields.get(b"accept", b"")
    if not accepts(accept) and not (asked.target.startswith(_WELL_KNOWN) and accepts(accept, JSON)):
        return refusal(HTTPStatus.NOT_ACCEPTABLE)
    refused = _body_refusal(asked)
    if refused is not None:
        return refused
    address = address_of(asked.target)
    if address is None:
        return refusal(HTTPStatus.BAD_REQUEST)
    kind = MEDIA_TYPE if asked.method in WITH_BODY else ""
    path, query = address
    return Request(asked.method, path, query, accept.decode("latin-1"), kind, asked.body, caller)


def _body_refusal(asked: Asked) -> Answer | None:
    if asked.method not in WITH_BODY:
        return refusal(HTTPStatus.BAD_REQUEST) if asked.body else None
    if b"content-length" not in asked.fields and b"transfer-encoding" not in asked.fields:
        return refusal(HTTPStatus.LENGTH_REQUIRED)
    plain = asked.fields.get(b"content-encoding", b"identity").lower() == b"identity"
    if not plain or not is_ours(asked.fields.get(b"content-type", b"")):
        return refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return None


@lru_cache(maxsize=256)
def is_ours(content_type: bytes) -> bool:
    """Whether a body is XML of IEEE 2030.5 in UTF-8; other parameters, like ``level``, are no matter."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    charsets = [p.partition(b"=")[2].strip(b' "') for p in parameters if p.partition(b"=")[0] == b"charset"]
    return kind == MEDIA_TYPE.encode() and all(charset in {b"utf-8", b"utf8"} for charset in charsets)


@lru_cache(maxsize=256)
def accepts(accept: bytes, kind_of_body: str = MEDIA_TYPE) -> bool:
    """Whether an Accept header takes bodies of a kind; none takes everything. Weights only say never."""
    if not accept.strip():
        return True
    ours = (b"*/*", b"application/*", kind_of_body.encode())
    known: dict[bytes, bool] = {}
    for part in accept.lower().split(b","):
        kind, *parameters = (piece.strip() for piece in part.split(b";"))
        if kind in ours:
            never = any(p.replace(b" ", b"") in _NEVER for p in parameters)
            known[kind] = known.get(kind, False) or not never
    return next((known[kind] for kind in reversed(ours) if kind in known), False)


_NEVER = frozenset({b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"})


@lru_cache(maxsize=4096)
def address_of(target: bytes) -> tuple[str, Mapping[str, str]] | None:
    """Path and query, decoded; None where the target is none."""
    try:
        url = httptools.parse_url(target)
        path = unquote(url.path.decode("ascii"), errors="strict")
        found = parse_qsl(
            (url.query or b"").decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_QUERY
        )
    except (httptools.HttpParserInvalidURLError, ValueError, AttributeError):
        return None
    if not path.startswith("/") or not path.isprintable():
        return None
    return path, MappingProxyType(dict(reversed(found)))


def said(answer: Answer, date: bytes, *, head: bool, stays: bool) -> bytes:
    """An answer as octets: always with its length, never in chunks.

    Args:
        answer: what to say.
        date: the present, as HTTP writes it.
        head: the body is measured only.
        stays: the connection stays open.
    """
    lines = [_status_line(answer.status), b"Date: ", date]
    if answer.status != HTTPStatus.NO_CONTENT:
        if answer.body:
            lines.append(b"\r\nContent-Type: " + answer.media_type.encode())
        lines.append(b"\r\nContent-Length: %d" % len(answer.body))
    if answer.location:
        lines.append(b"\r\nLocation: " + _token(answer.location))
    if answer.allow:
        lines.append(b"\r\nAllow: " + _token(answer.allow))
    if answer.retry_s:
        lines.append(b"\r\nRetry-After: %d" % answer.retry_s)
    if not stays:
        lines.append(b"\r\nConnection: close")
    lines.append(b"\r\n\r\n")
    if not head and answer.status != HTTPStatus.NO_CONTENT:
        lines.append(answer.body)
    return b"".join(lines)


@lru_cache(maxsize=64)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def _token(text: str) -> bytes:
    """A header's value; a line end in it would be our own mistake.

    Raises:
        ValueError: characters that no header may hold.
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} cannot stand in a header")
    return text.encode()
