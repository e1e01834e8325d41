"""Values as bytes: what a system knows between two ticks, kept and read again bit for bit.

A value is made of numbers, texts, arrays, tuples, lists, mappings, and of our own dataclasses, named tuples
and enumerations, which are found by name among the project's modules and made by their constructors.
Nothing else is read, so that a file of a stranger runs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import zlib
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

_MAGIC = b"GFK1"
_LARGEST = 2**30
_PLAIN = (bool, int, float, str)
_MARKS = 8
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ImportError, RecursionError)
_HOLDERS: dict[str, Any] = {"t": tuple, "l": list, "s": frozenset}


class KeptBroken(Exception):  # noqa: N818 - bad input, told whole
    """The bytes are no value of ours, or one of another version."""


def to_bytes(value: object) -> bytes:
    """The bytes of a value; equal values give equal bytes.

    Raises:
        TypeError: it holds something that is not kept.
    """
    blobs: list[bytes] = []
    tree = json.dumps(_tree(value, blobs), separators=(",", ":")).encode()
    body = len(tree).to_bytes(_MARKS, "little") + tree + b"".join(blobs)
    return _MAGIC + len(body).to_bytes(_MARKS, "little") + zlib.compress(body, 1)


def from_bytes(data: bytes) -> Any:  # noqa: ANN401 - any value of ours
    """The inverse of ``to_bytes``; arrays are read-only.

    Raises:
        KeptBroken: the bytes are no value, or it has other fields by now.
    """
    tree, blob = _opened(data)
    try:
        return _Reader(blob).value(tree)
    except _UNREADABLE as error:
        raise _broken(error) from error


def fields_from_bytes(data: bytes) -> dict[str, Any]:
    """Those fields of a kept dataclass that can be read, though the class may be another by now.

    Raises:
        KeptBroken: the bytes are no kept dataclass.
    """
    tree, blob = _opened(data)
    if not (isinstance(tree, list) and tree[:1] == ["o"]):
        raise KeptBroken("not a kept dataclass")
    found, at = {}, 0
    for name, part in tree[2].items():
        end = at + _blob_size(part)
        with contextlib.suppress(*_UNREADABLE):
            found[name] = _Reader(blob[at:end]).value(part)
        at = end
    return found


def _opened(data: bytes) -> tuple[Any, memoryview]:
    """The tree of a kept value, and the bytes of its arrays."""
    start = len(_MAGIC) + _MARKS
    size = int.from_bytes(data[len(_MAGIC) : start], "little")
    if data[: len(_MAGIC)] != _MAGIC or size > _LARGEST:
        raise KeptBroken("not a kept value")
    try:
        body = zlib.decompressobj().decompress(memoryview(data)[start:], size + 1)
        end = _MARKS + int.from_bytes(body[:_MARKS], "little")
        return json.loads(body[_MARKS:end]), memoryview(body)[end:]
    except (zlib.error, ValueError, RecursionError) as error:
        raise _broken(error) from error


def _broken(error: BaseException) -> KeptBroken:
    return KeptBroken(f"a kept value cannot be read: {type(error).__name__}: {error}")


def _blob_size(tree: Any) -> int:  # noqa: ANN401 - any value of ours
    """How many bytes the arrays of a part of a tree take."""
    if not isinstance(tree, list):
        return 0
    mark, *parts = tree
    if mark in ("a", "v"):
        return int(np.prod(parts[1], dtype=np.int64)) * np.dtype(parts[0]).itemsize
    if mark == "b":
        return int(parts[0])
    if mark == "d":
        return sum(_blob_size(item) for pair in parts[0] for item in pair)
    inner = parts[-1].values() if mark == "o" else [parts[-1]] if mark == "e" else parts[-1]
    return sum(map(_blob_size, inner))


def _tree(value: Any, blobs: list[bytes]) -> Any:  # noqa: ANN401 - any value of ours
    """JSON that says what a value is made of; the bytes of its arrays go to ``blobs``."""
    # Enumerations of numbers and named tuples are numbers and tuples, too: they come first.
    if isinstance(value, Enum):
        return ["e", _name(value), _tree(value.value, blobs)]
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return _array(value, blobs)
    if isinstance(value, bytes):
        blobs.append(value)
        return ["b", len(value)]
    return _many(value, blobs)


def _many(value: Any, blobs: list[bytes]) -> list[Any]:  # noqa: ANN401 - any value of ours
    """The same of a value that holds others."""
    if is_dataclass(value):
        told = {item.name: _tree(getattr(value, item.name), blobs) for item in fields(value) if item.init}
        return ["o", _name(value), told]
    if isinstance(value, dict):
        return ["d", [[_tree(key, blobs), _tree(item, blobs)] for key, item in value.items()]]
    if not isinstance(value, tuple | list | frozenset):
        raise TypeError(f"{type(value).__name__} is not kept")
    named = hasattr(value, "_fields")
    items = [_tree(item, blobs) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if named:
        return ["n", _name(value), items]
    return [{tuple: "t", list: "l", frozenset: "s"}[type(value)], items]


def _array(value: np.ndarray | np.generic, blobs: list[bytes]) -> list[Any]:
    if value.dtype.hasobject:
        raise TypeError("an array of objects is not kept")
    blobs.append(value.tobytes())
    return ["a" if isinstance(value, np.ndarray) else "v", value.dtype.str, list(value.shape)]


def _name(value: object) -> str:
    kind = type(value)
    if not kind.__module__.startswith("gridflock."):
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} is not kept")
    return f"{kind.__module__}:{kind.__qualname__}"


class _Reader:
    """Reads arrays one after the other."""

    def __init__(self, blob: memoryview) -> None:
        self._blob, self._at = blob, 0

    def value(self, tree: Any) -> Any:  # noqa: ANN401 - any value of ours
        """The value that a tree says."""
        if not isinstance(tree, list):
            return tree
        mark, *parts = tree
        if mark in _HOLDERS:
            return _HOLDERS[mark](self.value(item) for item in parts[0])
        if mark in ("a", "v"):
            numbers = self._numbers(*parts)
            return numbers if mark == "a" else numbers[()]
        if mark == "b":
            return bytes(self._take(parts[0]))
        if mark == "d":
            return {self.value(key): self.value(item) for key, item in parts[0]}
        return self._ours(mark, *parts)

    def _ours(self, mark: str, name: str, told: Any) -> Any:  # noqa: ANN401 - any value of ours
        """A value of one of our classes."""
        kind = _kind(name)
        if mark == "o":
            return kind(**{key: self.value(item) for key, item in told.items()})
        if mark == "n":
            return kind(*(self.value(item) for item in told))
        if mark == "e":
            return kind(self.value(told))
        raise ValueError(f"no mark of ours: {mark!r}")

    def _numbers(self, dtype: str, shape: list[int]) -> np.ndarray:
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError("an array of objects")
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._take(count * kind.itemsize), kind).reshape(shape)

    def _take(self, size: int) -> memoryview:
        end = self._at + size
        if size < 0 or end > len(self._blob):
            raise ValueError("shorter than it says")
        taken, self._at = self._blob[self._at : end], end
        return taken


def _kind(name: str) -> Any:  # noqa: ANN401 - a class
    """A class of ours that holds values and nothing else."""
    module, _, qualified = name.partition(":")
    if not module.startswith("gridflock."):
        raise ValueError(f"{module} is not ours")
    found: Any = importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    holds = isinstance(found, type) and (
        is_dataclass(found) or issubclass(found, Enum) or hasattr(found, "_fields")
    )
    if not holds:
        raise ValueError(f"{name} holds no values")
    return found
