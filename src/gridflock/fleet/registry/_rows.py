"""The registry as columns, and how checked rows are put in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.schema import FAMILY, IDENTITIES, REGISTRY, Kind
from gridflock.units import Codes, Mask, Rows

TEXTS = tuple(entry.name for entry in REGISTRY if entry.dtype == "str" and entry.name != "id")
"""Text columns that are held as codes into a sorted vocabulary."""
IDENTITY_NAMES = tuple(entry.name for entry in IDENTITIES)
"""Names a resource has with others."""
_FAMILY = np.array([FAMILY[Kind(code)] for code in range(len(Kind))], dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """Nameplates of a fleet, sorted by kind, then feeder, bus and id.

    Attributes:
        ids: n outside identities.
        columns: registry columns by name, each (n,), read-only; texts as int32 codes.
        labels: vocabulary of each coded text column, sorted.
        family: uint8 (n,) ``schema.Family``, never falling along the rows.
        identities: n texts for each name in ``schema.IDENTITIES`` that anybody has, ``""`` where absent.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    labels: Mapping[str, tuple[str, ...]]
    family: Codes
    identities: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Checked rows before they are sorted.

    Attributes:
        numbers: int64 (n,) number of each row in the input.
        ids: identities.
        columns: by registry name, each (n,) of its own type; texts as int32 codes into a vocabulary
            that is not sorted yet.
        identities: texts by identity name.
    """

    numbers: NDArray[np.int64]
    ids: Sequence[str]
    columns: dict[str, NDArray[Any]]
    identities: Mapping[str, Sequence[str]]


def assembled(
    ids: Sequence[str], blocks: Sequence[Block], words: Mapping[str, Sequence[str]], chosen: Mask
) -> Registry:
    """The chosen rows of all blocks in the registry's order.

    Args:
        ids: of all rows of all blocks, n.
        blocks: checked rows; their columns are taken out as they are copied.
        words: vocabulary of each text column, which the blocks' codes mean.
        chosen: (n,) which rows.
    """
    columns: dict[str, NDArray[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for entry in REGISTRY:
        if entry.name == "id":
            continue
        parts = [block.columns.pop(entry.name) for block in blocks]
        column = np.concatenate(parts)[chosen] if parts else np.empty(0, np.uint8)
        if entry.name in TEXTS:
            column, labels[entry.name] = sorted_codes(column, words[entry.name])
        columns[entry.name] = column
    ids = [ids[k] for k in np.flatnonzero(chosen).tolist()]
    identities: dict[str, Sequence[str]] = {}
    for name in IDENTITY_NAMES:
        if any(name in block.identities for block in blocks):
            texts = [text for block in blocks for text in block.identities.get(name) or [""] * len(block.ids)]
            identities[name] = [texts[k] for k in np.flatnonzero(chosen).tolist()]
    return ordered(ids, columns, labels, identities)[0]


def sorted_codes(codes: NDArray[Any], words: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Codes into the sorted vocabulary of the words in use, and that vocabulary."""
    used = np.flatnonzero(np.bincount(codes, minlength=len(words))) if len(codes) else np.empty(0, np.intp)
    kept = sorted(used.tolist(), key=words.__getitem__)
    place = np.zeros(len(words), dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    return place[codes.astype(np.int32, copy=False)], tuple([words[k] for k in kept])


def ordered(
    ids: Sequence[str],
    columns: Mapping[str, NDArray[Any]],
    labels: Mapping[str, tuple[str, ...]],
    identities: Mapping[str, Sequence[str]],
) -> tuple[Registry, Rows]:
    """A registry of these rows, sorted, and where each of its rows stood; labels are sorted already."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int32)
    keys = [columns[name][by_id] for name in ("bus", "feeder", "kind")]
    order = by_id[np.lexsort(keys)]
    settled = {name: _frozen(column[order]) for name, column in columns.items()}
    at = order.tolist()
    named = {name: side_by_side([texts[k] for k in at]) for name, texts in identities.items() if any(texts)}
    registry = Registry(
        side_by_side([ids[k] for k in at]),
        MappingProxyType(settled),
        MappingProxyType(dict(labels)),
        _frozen(_FAMILY[settled["kind"]]),
        MappingProxyType(named),
    )
    return registry, order


def side_by_side(texts: Sequence[str]) -> tuple[str, ...]:
    """The same printable texts, made anew one behind the other: a walk over them stays in the cache."""
    fresh = tuple("\n".join(texts).split("\n")) if texts else ()
    assert len(fresh) == len(texts)
    return fresh


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
