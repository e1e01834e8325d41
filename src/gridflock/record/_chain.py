"""The chain: each entry's hash covers the one before, so nothing can be changed unnoticed.

``hash = SHA-256(previous ‖ seq ‖ time_s ‖ len(kind) ‖ kind ‖ len(head) ‖ head ‖ columns)`` with
64-bit little-endian signed numbers, 32-bit lengths, UTF-8 texts and 32 zero bytes before the
first entry. The head is hashed as the bytes that are stored, so checking needs no JSON reader.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass

from gridflock.model import Entry
from gridflock.record._columns import decode_columns, encode_columns
from gridflock.record._errors import RecordBroken

GENESIS = bytes(32)
"""What stands before the first entry."""

_PLACE = struct.Struct("<qq")
_LENGTH = struct.Struct("<I")
_LONGEST_KIND = 64


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry as bytes, without its place.

    Attributes:
        kind: UTF-8.
        time_s: unix seconds.
        head: canonical JSON: ASCII, keys sorted, no spaces.
        columns: ``encode_columns`` bytes.
    """

    kind: bytes
    time_s: int
    head: bytes
    columns: bytes


def seal(entry: Entry) -> Sealed:
    """The bytes of an entry.

    Raises:
        ValueError: the kind is empty or too long, the time has no 64-bit number, the head is not
            strict JSON (NaN and infinite numbers are not), the columns are not storable.
    """
    kind = entry.kind.encode()
    if not 0 < len(kind) <= _LONGEST_KIND:
        raise ValueError(f"entry kind {entry.kind!r}: expected 1 to {_LONGEST_KIND} bytes")
    time_s = int(entry.time_s)
    if not -(2**63) <= time_s < 2**63:
        raise ValueError(f"time {time_s} of entry {entry.kind!r}: no 64-bit number")
    try:
        head = json.dumps(dict(entry.head), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"head of entry {entry.kind!r} is not JSON: {error}") from error
    return Sealed(kind, time_s, head.encode("ascii"), encode_columns(entry.columns))


def unseal(seq: int, sealed: Sealed) -> Entry:
    """The entry of these bytes at its place.

    Raises:
        RecordBroken: they are not an entry.
    """
    try:
        head = json.loads(sealed.head)
        kind = sealed.kind.decode()
        columns = decode_columns(sealed.columns)
    except (RecordBroken, ValueError, RecursionError) as error:
        raise RecordBroken(f"entry {seq} is unreadable: {error}") from error
    if not isinstance(head, dict):
        raise RecordBroken(f"entry {seq} is unreadable: the head is not a JSON object")
    return Entry(kind, sealed.time_s, head, columns, seq)


def link(previous: bytes, seq: int, sealed: Sealed) -> bytes:
    """SHA-256 (32 bytes) of an entry at its place after the entry with hash ``previous``."""
    digest = hashlib.sha256(previous)
    digest.update(_PLACE.pack(seq, sealed.time_s))
    digest.update(_LENGTH.pack(len(sealed.kind)) + sealed.kind)
    digest.update(_LENGTH.pack(len(sealed.head)) + sealed.head)
    digest.update(sealed.columns)
    return digest.digest()


def chained(previous: bytes, entry: Entry) -> bytes:
    """SHA-256 (32 bytes) of an entry at its own place, as the ledger would have it after ``previous``."""
    return link(previous, entry.seq, seal(entry))
