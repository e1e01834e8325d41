"""The name of a device's hardware, as its leaf certificate writes it (RFC 4108, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

_SEQUENCE, _OID, _OCTETS = 0x30, 0x06, 0x04
_MOST = 120
"""Bytes of content: so every length fits one byte."""


@dataclass(frozen=True, slots=True)
class HardwareName:
    """Who made a device, and its serial number.

    Attributes:
        kind: object identifier of the type of hardware, under the maker's enterprise number.
        serial: octets; usually text.
    """

    kind: str
    serial: bytes


def hardware_name_said(name: HardwareName) -> bytes:
    """DER of a name.

    Raises:
        ValueError: no object identifier, or longer than certificates need.
    """
    content = _tagged(_OID, _arcs_said(name.kind)) + _tagged(_OCTETS, name.serial)
    return _tagged(_SEQUENCE, content)


def hardware_name_from(der: bytes) -> HardwareName:
    """A name from DER.

    Raises:
        ValueError: it is nothing of the kind.
    """
    content, rest = _content(der, _SEQUENCE)
    kind, tail = _content(content, _OID)
    serial, end = _content(tail, _OCTETS)
    if rest or end:
        raise ValueError("octets after a hardware module name")
    return HardwareName(_arcs_from(kind), serial)


def _tagged(tag: int, content: bytes) -> bytes:
    if not 0 < len(content) <= _MOST:
        raise ValueError(f"{len(content)} octets where 1 to {_MOST} are allowed")
    return bytes((tag, len(content))) + content


def _content(der: bytes, tag: int) -> tuple[bytes, bytes]:
    if len(der) < 2 or der[0] != tag or not 0 < der[1] <= len(der) - 2 or der[1] > 127:
        raise ValueError("not the DER of a hardware module name")
    return der[2 : 2 + der[1]], der[2 + der[1] :]


def _arcs_said(text: str) -> bytes:
    arcs = [int(arc) for arc in text.split(".")]
    if len(arcs) < 2 or min(arcs) < 0 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39):
        raise ValueError(f"{text!r} is no object identifier")
    return b"".join(_septets(arc) for arc in (40 * arcs[0] + arcs[1], *arcs[2:]))


def _septets(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))


def _arcs_from(octets: bytes) -> str:
    arcs, arc = [], 0
    for octet in octets:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    if octets[-1] >= 0x80:
        raise ValueError("an object identifier ends in its middle")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
