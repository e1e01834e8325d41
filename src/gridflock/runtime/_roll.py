"""The roll: every change of the registry, kept in a data folder's ledger and rebuilt from it.

One import is one or several entries of kind ``"registry"``, appended together: first the added resources,
``_ENTRY_ROWS`` an entry, then what changed. Texts are stored as UTF-8 bytes, one a line.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry import Change, Registry, Versions
from gridflock.model import Entry, Json, Rejected
from gridflock.ports import Record
from gridflock.schema import FAMILY, Kind

KIND = "registry"
_ENTRY_ROWS = 250_000
_ENTRY_CHANGES = 2_000_000
_FAMILY = np.array([FAMILY[Kind(code)] for code in range(len(Kind))], dtype=np.uint8)
_NOTHING: Mapping[str, NDArray[Any]] = {
    "resource": np.empty(0, np.int32),
    "attribute": np.empty(0, np.uint8),
    "old": np.empty(0),
    "new": np.empty(0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What an import did.

    Attributes:
        registry: as it is from the import's moment on.
        added: how many resources are new.
        changed: by attribute, how many known resources have another value.
        resources: how many known resources have another value of any attribute.
        unchanged: how many were known just so.
        rejected: rows refused because their resource is known from a later moment on only.
    """

    registry: Registry
    added: int
    changed: Mapping[str, int]
    resources: int
    unchanged: int
    rejected: tuple[Rejected, ...]


def versions(record: Record) -> Versions:
    """All changes of the registry in a ledger, in the order they were learnt in."""
    changes: list[Change] = []
    parts: list[Entry] = []
    for entry in record.entries(0, {KIND}):
        parts.append(entry)
        if entry.head["last"]:
            changes += [_from_entry(part) for part in parts]
            parts = []
    return Versions(tuple(changes))


def take(
    record: Record,
    known: Versions,
    news: Registry,
    given: Collection[str] | None,
    *,
    valid_s: int,
    now_s: int,
    author: str,
    source: str,
) -> Imported:
    """Compare rows with what holds at a moment and append what changes; nothing where nothing does.

    Args:
        record: ledger.
        known: its changes so far, as ``versions`` gives them.
        news: checked rows.
        given: attributes that the rows speak of; None = all.
        valid_s: moment from which they hold, unix seconds.
        now_s: moment of learning.
        author: who says so.
        source: where from.
    """
    change, done, rejected = known.change(news, valid_s, now_s, author, source, given)
    added, resources = len(change.added.ids), len(change.ids)
    if added or resources:
        record.append(_entries(change))
    refused = sum(fault.count for fault in rejected)
    changed = {name: len(rows) for name, rows in done.changed.items()}
    left = len(news.ids) - refused - added - resources
    return Imported(done.registry, added, MappingProxyType(changed), resources, left, rejected)


def present_s(record: Record) -> int:
    """The present of a folder: the last moment it has lived, or the wall's where nobody lives in it."""
    last = -1
    for entry in record.entries(0, {"tick"}):
        last = entry.time_s
    return int(time.time()) if last < 0 else last


def _entries(change: Change) -> list[Entry]:
    """A change as entries; a large one is cut."""
    added, m = len(change.added.ids), len(change.resource)
    head: dict[str, Json] = {
        "valid_s": change.valid_s,
        "author": change.author,
        "source": change.source,
    }
    told = f"registry: {added} added, {len(change.ids)} changed ({change.source}, {change.author})"
    starts = range(0, added, _ENTRY_ROWS)
    columns = [_of_registry(change.added, slice(start, start + _ENTRY_ROWS)) for start in starts]
    for start in range(0, m, _ENTRY_CHANGES):
        part = {name: getattr(change, name)[start : start + _ENTRY_CHANGES] for name in _NOTHING}
        columns.append({**part, "ids": _bytes(change.ids), "words": _bytes(change.words)})
    last = len(columns) - 1
    return [
        Entry(KIND, change.known_s, {**head, "text": told, "last": k == last}, stored)
        for k, stored in enumerate(columns)
    ]


def _from_entry(entry: Entry) -> Change:
    columns = {"ids": _bytes(()), "words": _bytes(()), **_NOTHING, **entry.columns}
    return Change(
        valid_s=int(entry.head["valid_s"]),  # type: ignore[arg-type]  # written by _entries
        known_s=entry.time_s,
        author=str(entry.head["author"]),
        source=str(entry.head["source"]),
        added=_to_registry(columns),
        ids=_texts(columns["ids"]),
        words=_texts(columns["words"]),
        resource=columns["resource"],
        attribute=columns["attribute"],
        old=columns["old"],
        new=columns["new"],
    )


def _of_registry(registry: Registry, rows: slice) -> dict[str, NDArray[Any]]:
    """Some rows of a registry as columns that a ledger stores."""
    stored: dict[str, NDArray[Any]] = {"added.ids": _bytes(registry.ids[rows])}
    stored |= {f"added.{name}": column[rows] for name, column in registry.columns.items()}
    stored |= {f"labels.{name}": _bytes(words) for name, words in registry.labels.items()}
    stored |= {f"names.{name}": _bytes(texts[rows]) for name, texts in registry.identities.items()}
    return stored


def _to_registry(columns: Mapping[str, NDArray[Any]]) -> Registry:
    """The inverse of ``_of_registry``; of a registry without rows where there is none."""
    if "added.ids" not in columns:
        return Registry((), MappingProxyType({}), MappingProxyType({}), np.empty(0, np.uint8))
    under = {
        prefix: {name[len(prefix) :]: column for name, column in columns.items() if name.startswith(prefix)}
        for prefix in ("added.", "labels.", "names.")
    }
    values = {name: column for name, column in under["added."].items() if name != "ids"}
    return Registry(
        _texts(columns["added.ids"]),
        MappingProxyType(values),
        MappingProxyType({name: _texts(column) for name, column in under["labels."].items()}),
        _FAMILY[values["kind"]],
        MappingProxyType({name: _texts(column) for name, column in under["names."].items()}),
    )


def _bytes(texts: Collection[str]) -> NDArray[np.uint8]:
    """Printable texts, each followed by a line's end."""
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), dtype=np.uint8)


def _texts(stored: NDArray[Any]) -> tuple[str, ...]:
    return tuple(stored.tobytes().decode().split("\n")[:-1])
