"""Forecasts of the weather from a service that is asked over HTTPS."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from threading import Event, Timer
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx

from gridflock.field.weather._answer import Useless, from_csv, from_json
from gridflock.field.weather._files import Told, judged
from gridflock.field.weather._table import QUANTITIES
from gridflock.model import Rejected, Weather

_SOURCE = "weather service"
_HERE = {"127.0.0.1", "localhost", "::1"}
_SECRET = re.compile(r"\{env:(\w+)\}")
_FIRST_BACK_S, _MOST_BACK_S = 60, 3_600
_LARGEST = 50_000_000
_GRACE_S = 0.2


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is, and what its words mean.

    Attributes:
        url: with ``{lat}`` and ``{lon}`` in it; ``{env:NAME}`` stands for a variable of the environment, so
            that no key stands in a file. Other than on this machine only ``https``.
        form: ``json`` or ``csv``.
        rows: JSON: path (names with dots) of the list of rows; empty: every column is an array.
        stamps: JSON: path of the stamps.
        issued: JSON: path of the moment of issue; empty: when it was asked for.
        columns: JSON: paths by our names (``temp_c`` …); empty: all that stands beside the stamps.
        headers: sent along; ``{env:NAME}`` as in ``url``.
        timezone: clock of stamps without offset.
        every_s: it is asked no more often.
        timeout_s: an answer that is not whole by then is none.
        largest: bytes of an answer.
        ca_file: certificates to trust instead of the public ones.
    """

    url: str
    form: str = "json"
    rows: str = ""
    stamps: str = "hourly.time"
    issued: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    every_s: int = 1_800
    timeout_s: float = 10.0
    largest: int = 5_000_000
    ca_file: str = ""


def service_from(document: Mapping[str, Any]) -> Service | tuple[Rejected, ...]:
    """A service as a file of settings tells it, or all that is wrong with that."""
    known = {item.name: item for item in fields(Service)}
    faults = [
        _fault(name, "unknown (rule: one of " + ", ".join(known) + ")") for name in document.keys() - known
    ]
    for name, value in document.items():
        if name in known and not _of_type(name, value):
            faults.append(_fault(name, f"{type(value).__name__} is no value for it"))
    if not isinstance(document.get("url"), str):
        faults.append(_fault("url", "is missing"))
    if faults:
        return tuple(faults)
    service = Service(**document)
    return tuple(_wrong(service)) or service


def _of_type(name: str, value: object) -> bool:
    if name in {"columns", "headers"}:
        return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())
    if name in {"every_s", "largest"}:
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "timeout_s":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _wrong(service: Service) -> list[Rejected]:
    """Values that do not go together."""
    found = []
    try:
        address = httpx.URL(_SECRET.sub("x", service.url).replace("{lat}", "0").replace("{lon}", "0"))
    except httpx.InvalidURL:
        return [_fault("url", "no address")]
    if address.scheme != "https" and not (address.scheme == "http" and address.host in _HERE):
        found.append(_fault("url", "https only, except on this machine"))
    if service.form not in {"json", "csv"}:
        found.append(_fault("form", f"{service.form!r} (rule: json or csv)"))
    if strange := sorted(set(service.columns) - set(QUANTITIES)):
        found.append(_fault("columns", f"{', '.join(strange)} (rule: of {', '.join(QUANTITIES)})"))
    if not (0 < service.timeout_s <= 120 and 0 < service.largest <= _LARGEST and service.every_s >= 0):
        found.append(_fault("timeout_s, largest, every_s", f"up to 120 s, {_LARGEST} bytes, from 0 s"))
    try:
        ZoneInfo(service.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        found.append(_fault("timezone", f"{service.timezone!r} (rule: an IANA name)"))
    return found


class HttpWeather:
    """One service for one place. What it said last stands until something newer comes.

    After a failure it is left alone for a minute, then for twice as long each time, an hour at most. Nothing
    that is told of a failure holds more of the address than host and path.

    Args:
        service: see there.
        latitude: of the place, degrees.
        longitude: alike.
    """

    def __init__(self, service: Service, latitude: float, longitude: float) -> None:
        self._service = service
        self._lat, self._lon = f"{latitude:.4f}", f"{longitude:.4f}"
        self._last: Weather | None = None
        self._faults: tuple[Rejected, ...] = ()
        self._asked_s: int | None = None
        self._failed = 0
        self._client: httpx.Client | None = None

    def newest(self, now_s: int) -> Told:
        """See ``ports.Weather``; asks no more often than the service allows."""
        back_s = min(_FIRST_BACK_S * 2 ** max(self._failed - 1, 0), _MOST_BACK_S)
        pause_s = back_s if self._failed else self._service.every_s
        if self._asked_s is None or not 0 <= now_s - self._asked_s < pause_s:
            self._asked_s = now_s
            found, self._faults = self._ask(now_s)
            self._failed = 0 if found is not None else min(self._failed + 1, 20)
            self._last = found or self._last
        last = self._last
        return (last if last is not None and last.grid.end_s > now_s else None), self._faults

    def close(self) -> None:
        """Let the connection go."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(self, now_s: int) -> Told:
        service = self._service
        try:
            body = self._body()
            if service.form == "csv":
                told = from_csv(body, service.timezone)
            else:
                told = from_json(
                    body, service.rows, service.stamps, service.columns, service.issued, service.timezone
                )
        except Useless as useless:
            return None, (_fault(useless.field, useless.reason),)
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            return None, (_fault("connection", f"{type(error).__name__} at {self._place()}"),)
        return judged(_SOURCE, told, now_s, now_s)

    def _body(self) -> bytes:
        """The whole answer, within its time and size."""
        service = self._service
        if self._client is None:
            context = ssl.create_default_context(cafile=service.ca_file or None)
            self._client = httpx.Client(verify=context, timeout=service.timeout_s, follow_redirects=False)
        url = _with_secrets(service.url).replace("{lat}", self._lat).replace("{lon}", self._lon)
        headers = {name: _with_secrets(value) for name, value in service.headers.items()}
        # Each wait for a byte has its own limit, and headers can come byte by byte: so the line is cut.
        late = Event()
        timer = Timer(service.timeout_s + _GRACE_S, _cut, (self._client, late))
        timer.daemon = True
        timer.start()
        try:
            return self._read(self._client, url, headers)
        except (httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
            if not late.is_set():
                raise
            raise Useless("body", f"late: not whole after {service.timeout_s:g} s") from error
        finally:
            timer.cancel()
            if late.is_set():
                self._client = None

    def _read(self, client: httpx.Client, url: str, headers: Mapping[str, str]) -> bytes:
        service = self._service
        deadline = time.monotonic() + service.timeout_s
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Useless("status", f"{answer.status_code} from {self._place()}")
            parts, size = [], 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > service.largest:
                    raise Useless("body", f"more than {service.largest} bytes")
                if time.monotonic() > deadline:
                    raise Useless("body", f"late: not whole after {service.timeout_s:g} s")
                parts.append(part)
        return b"".join(parts)

    def _place(self) -> str:
        """Host and path: what may be told."""
        address = httpx.URL(_SECRET.sub("-", self._service.url).replace("{lat}", "-").replace("{lon}", "-"))
        return f"{address.host}{address.path}"


def _cut(client: httpx.Client, late: Event) -> None:
    """Close a client under whoever waits for its answer."""
    late.set()
    with suppress(Exception):
        client.close()


def _with_secrets(text: str) -> str:
    """A text with what the environment holds in place of its variables.

    Raises:
        Useless: a variable is not set.
    """

    def of(found: re.Match[str]) -> str:
        value = os.environ.get(found[1])
        if value is None:
            raise Useless("environment", f"no variable {found[1]}")
        return value

    return _SECRET.sub(of, text)


def _fault(field_: str, reason: str) -> Rejected:
    return Rejected(_SOURCE, field_, (), reason)
