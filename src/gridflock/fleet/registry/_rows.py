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
DTYPES: Mapping[str, np.dtype[Any]] = {
    entry.name: np.dtype({"f4": "f4", "i8": "i8", "str": "i4"}.get(entry.dtype, "u1"))
    for entry in REGISTRY
    if entry.name != "id"
}
"""Type of each column: texts and other codes, numbers."""
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
        ids: identities, as ``texts_of`` gives them.
        columns: by registry name, each (n,) of its own type; texts as int32 codes into a vocabulary
            that is not sorted yet.
        identities: texts by identity name.
    """

    numbers: NDArray[np.int64]
    ids: NDArray[Any]
    columns: dict[str, NDArray[Any]]
    identities: Mapping[str, NDArray[Any]]


def texts_of(texts: Sequence[str]) -> NDArray[Any]:
    """Texts as an array of NumPy's own strings: a quarter of the memory of Python's, in the same order."""
    return np.array(texts, dtype=np.dtypes.StringDType())


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks of one vocabulary as one, in their order."""
    return Block(
        numbers=np.concatenate([block.numbers for block in blocks]),
        ids=np.concatenate([block.ids for block in blocks]),
        columns={name: np.concatenate([block.columns[name] for block in blocks]) for name in DTYPES},
        identities=_joined_identities(blocks),
    )


def _joined_identities(blocks: Sequence[Block]) -> dict[str, NDArray[Any]]:
    """Texts by the names that any block has."""
    found: dict[str, NDArray[Any]] = {}
    for name in IDENTITY_NAMES:
        if any(name in block.identities for block in blocks):
            texts = [block.identities.get(name, texts_of([""] * len(block.ids))) for block in blocks]
            found[name] = np.concatenate(texts)
    return found


def assembled(
    ids: NDArray[Any],
    by_id: NDArray[np.intp],
    blocks: Sequence[Block],
    words: Mapping[str, Sequence[str]],
    chosen: Mask,
) -> Registry:
    """The chosen rows of all blocks in the registry's order.

    Args:
        ids: of all rows of all blocks, n, as ``texts_of`` gives them.
        by_id: (n,) rows in the order of their ids.
        blocks: checked rows; their columns are taken out as they are copied.
        words: vocabulary of each text column, which the blocks' codes mean.
        chosen: (n,) which rows.
    """
    columns: dict[str, NDArray[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for name, dtype in DTYPES.items():
        parts = [block.columns.pop(name) for block in blocks]
        column = np.concatenate(parts)[chosen] if parts else np.empty(0, dtype)
        if name in TEXTS:
            column, labels[name] = sorted_codes(column, words[name])
        columns[name] = column
    identities = {name: texts[chosen] for name, texts in _joined_identities(blocks).items()}
    place = np.cumsum(chosen) - 1
    return ordered(ids[chosen], columns, labels, identities, place[by_id[chosen[by_id]]])[0]


def sorted_codes(codes: NDArray[Any], words: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Codes into the sorted vocabulary of the words in use, and that vocabulary."""
    used = np.flatnonzero(np.bincount(codes, minlength=len(words))) if len(codes) else np.empty(0, np.intp)
    kept = sorted(used.tolist(), key=words.__getitem__)
    place = np.zeros(len(words), dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    return place[codes.astype(np.int32, copy=False)], tuple([words[k] for k in kept])


def ordered(
    ids: Sequence[str] | NDArray[Any],
    columns: dict[str, NDArray[Any]],
    labels: Mapping[str, tuple[str, ...]],
    identities: Mapping[str, Sequence[str] | NDArray[Any]],
    by_id: NDArray[np.intp] | None = None,
) -> tuple[Registry, Rows]:
    """A registry of these rows, sorted, and where each of its rows stood.

    Args:
        ids: n identities.
        columns: by registry name, each (n,); taken out as they are sorted, which saves their memory.
        labels: vocabularies, sorted already.
        identities: n texts by identity name.
        by_id: (n,) rows in the order of their ids, where that is known.
    """
    names = texts_of(ids) if not isinstance(ids, np.ndarray) else ids
    if by_id is None:
        by_id = np.argsort(names, kind="stable")
    keys = [columns[name][by_id] for name in ("bus", "feeder", "kind")]
    order = by_id[np.lexsort(keys)].astype(np.int32)
    settled = {name: _frozen(columns.pop(name)[order]) for name in list(columns)}
    named = {}
    for name, texts in identities.items():
        others = texts if isinstance(texts, np.ndarray) else texts_of(texts)
        if (others != "").any():
            named[name] = tuple(others[order].tolist())
    registry = Registry(
        # Texts made one behind the other: a walk over them stays in the processor's cache.
        tuple(names[order].tolist()),
        MappingProxyType(settled),
        MappingProxyType(dict(labels)),
        _frozen(_FAMILY[settled["kind"]]),
        MappingProxyType(named),
    )
    return registry, order


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
