"""Columns as bytes: the same mapping always gives the same bytes, and hostile bytes are refused.

Layout, all little-endian::

    4 s   b"GFC1"
    u4    length of the header
    u8    length of header and body before compression; its top bit says "compressed"
    ...   header: JSON [[name, type, length], ...], sorted by name, padded by spaces to 8
    ...   body: the columns in that order, each padded by zeros to 8

A compressed body is stored as byte planes (the first bytes of all numbers of a column, then the
second ones, ...) under zlib level 1: slowly moving numbers differ in few planes, so it is both
smaller and faster than compressing the numbers as they lie. No columns at all is no bytes at all.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.record._errors import RecordBroken

LARGEST_BYTES = 256 * 2**20
"""No entry's columns are larger than this before compression."""

_PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"GFC1"
_PACKED = 1 << 63
_LARGEST_HEADER = 2**20
_WORTH_BYTES = 128
"""Below this size compression is not tried."""
_DTYPES = {
    "b1": np.dtype("?"),
    "u1": np.dtype("u1"),
    "i2": np.dtype("<i2"),
    "i4": np.dtype("<i4"),
    "i8": np.dtype("<i8"),
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
}


def encode_columns(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of the columns; equal columns give equal bytes whatever order they came in.

    Args:
        columns: 1-D arrays of bool, u1, i2, i4, i8, f4 or f8, of any lengths; texts belong in
            the head of an entry.

    Raises:
        ValueError: another dtype or shape, or more than ``LARGEST_BYTES`` in all.
    """
    if not columns:
        return b""
    arrays = {name: _storable(name, columns[name]) for name in sorted(columns)}
    layout = [[name, _code(array.dtype), len(array)] for name, array in arrays.items()]
    header = json.dumps(layout, separators=(",", ":")).encode("ascii")
    header += b" " * (-len(header) % 8)
    size = len(header) + sum(_padded(array.nbytes) for array in arrays.values())
    if size > LARGEST_BYTES or len(header) > _LARGEST_HEADER:
        raise ValueError(f"columns of {size} bytes: at most {LARGEST_BYTES} in one entry")
    if size >= _WORTH_BYTES:
        planes = header + b"".join(_pad(_planes(array)) for array in arrays.values())
        packed = zlib.compress(planes, 1)
        if len(packed) < size:
            return _PREFIX.pack(_MAGIC, len(header), size | _PACKED) + packed
    body = b"".join(_pad(array.tobytes()) for array in arrays.values())
    return _PREFIX.pack(_MAGIC, len(header), size) + header + body


def decode_columns(blob: bytes) -> dict[str, NDArray[Any]]:
    """The columns of ``encode_columns``, read-only, bit by bit as they were.

    Every declared size is checked before anything of that size is made.

    Raises:
        RecordBroken: the bytes are not columns.
    """
    if not blob:
        return {}
    if len(blob) < _PREFIX.size:
        raise RecordBroken("columns: shorter than their prefix")
    magic, header_size, size = _PREFIX.unpack_from(blob)
    packed = bool(size & _PACKED)
    size &= ~_PACKED
    if magic != _MAGIC:
        raise RecordBroken(f"columns: begin with {magic!r}, not {_MAGIC!r}")
    if size > LARGEST_BYTES or header_size > min(size, _LARGEST_HEADER):
        raise RecordBroken(f"columns: declare {size} bytes and a header of {header_size}")
    body = _inflated(blob, size) if packed else blob[_PREFIX.size :]
    if len(body) != size:
        raise RecordBroken(f"columns: {len(body)} bytes where {size} are declared")
    return _sliced(body, _layout(body[:header_size]), header_size, planes=packed)


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as little-endian numbers lying side by side."""
    if array.ndim != 1 or _code(array.dtype) not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise ValueError(f"column {name!r} is {array.dtype} of shape {array.shape}: expected 1-D of {known}")
    return np.ascontiguousarray(array, dtype=_DTYPES[_code(array.dtype)])


def _code(dtype: np.dtype[Any]) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _padded(size: int) -> int:
    return size + -size % 8


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _planes(array: NDArray[Any]) -> bytes:
    """First bytes of all numbers, then second bytes, and so on."""
    return array.view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def _inflated(blob: bytes, size: int) -> bytes:
    """At most ``size`` decompressed bytes; a stream that holds more or ends early is refused."""
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(memoryview(blob)[_PREFIX.size :], size + 1)
    except zlib.error as error:
        raise RecordBroken(f"columns: {error}") from error
    if not stream.eof or stream.unused_data:
        raise RecordBroken("columns: the compressed stream does not end where it should")
    return body


def _layout(header: bytes) -> list[tuple[str, np.dtype[Any], int]]:
    """Name, dtype and length of every column."""
    try:
        rows = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise RecordBroken("columns: the header is not JSON") from error
    if not isinstance(rows, list) or not all(_is_layout_row(row) for row in rows):
        raise RecordBroken("columns: the header is not a list of name, type and length")
    if len({row[0] for row in rows}) != len(rows):
        raise RecordBroken("columns: a name occurs twice")
    return [(name, _DTYPES[code], length) for name, code, length in rows]


def _is_layout_row(row: object) -> bool:
    match row:
        case [str(), str(code), int(length)]:
            return code in _DTYPES and not isinstance(length, bool) and 0 <= length <= LARGEST_BYTES
        case _:
            return False


def _sliced(
    body: bytes, layout: list[tuple[str, np.dtype[Any], int]], start: int, *, planes: bool
) -> dict[str, NDArray[Any]]:
    """The body cut into its columns."""
    expected = start + sum(_padded(length * dtype.itemsize) for _, dtype, length in layout)
    if expected != len(body):
        raise RecordBroken(f"columns: {len(body)} bytes where the header asks for {expected}")
    columns: dict[str, NDArray[Any]] = {}
    for name, dtype, length in layout:
        size = length * dtype.itemsize
        raw = np.frombuffer(body, np.uint8, size, start)
        if dtype.kind == "b" and size and raw.max() > 1:
            raise RecordBroken(f"columns: {name!r} holds a truth value that is neither 0 nor 1")
        if planes and dtype.itemsize > 1:
            raw = np.ascontiguousarray(raw.reshape(dtype.itemsize, length).T).reshape(-1)
        array = raw.view(dtype)
        array.flags.writeable = False
        columns[name] = array
        start += _padded(size)
    return columns
