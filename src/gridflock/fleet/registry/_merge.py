"""More rows for a registry: added, or in the place of those of the same id."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._rows import IDENTITY_NAMES, TEXTS, Registry, ordered, sorted_codes, texts_of
from gridflock.units import Mask, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """A registry after an import, and what the import did.

    Attributes:
        registry: n rows; the registry from before where nothing changed.
        before: int32 (n,) row in the registry from before; -1 where the resource is new.
        changed: by attribute, the rows of known resources whose value is another one; attributes
            without any are left out.
        count: how many resources are new or changed.
    """

    registry: Registry
    before: Rows
    changed: Mapping[str, Rows]
    count: int


def merge(old: Registry, new: Registry, given: Collection[str] | None = None) -> Merge:
    """The old registry with the new rows added, or in the place of those of the same id.

    Args:
        old: what is known.
        new: the import's good rows.
        given: attributes that the import speaks of; the others of a known resource stay as they are.
            None = all: a row is replaced as a whole.
    """
    if not old.ids and new.ids:
        nowhere = np.full(len(new.ids), -1, dtype=np.int32)
        return Merge(new, nowhere, MappingProxyType({}), len(new.ids))
    place = dict(zip(old.ids, range(len(old.ids)), strict=True))
    at = np.fromiter(map(place.get, new.ids, repeat(-1)), dtype=np.int32, count=len(new.ids))
    del place
    known, added = np.flatnonzero(at >= 0), np.flatnonzero(at < 0)
    columns: dict[str, NDArray[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    differs: dict[str, Mask] = {}
    for name, values in new.columns.items():
        told, held = values, old.columns[name]
        if name in TEXTS:
            told, held, labels[name] = _one_vocabulary(old, new, name)
        joint = np.concatenate([held, told[added]])
        if given is None or name in given:
            differs[name] = _differ(told[known], held[at[known]])
            joint[at[known]] = told[known]
        if name in TEXTS:
            joint, labels[name] = sorted_codes(joint, labels[name])
        columns[name] = joint
    identities = _identities(old, new, at, given, differs)
    any_differs = np.zeros(len(known), dtype=bool)
    for mask in differs.values():
        any_differs |= mask
    count = len(added) + int(np.count_nonzero(any_differs))
    if not count:
        return Merge(old, np.arange(len(old.ids), dtype=np.int32), MappingProxyType({}), 0)
    ids = [*old.ids, *(new.ids[k] for k in added.tolist())]
    registry, before = ordered(ids, columns, labels, identities)
    # `before` says where a row stood among the old ones and the added ones behind them.
    now = np.empty(len(ids), dtype=np.int32)
    now[before] = np.arange(len(ids), dtype=np.int32)
    changed = {name: np.sort(now[at[known[mask]]]) for name, mask in differs.items() if mask.any()}
    return Merge(
        registry, np.where(before < len(old.ids), before, np.int32(-1)), MappingProxyType(changed), count
    )


def _one_vocabulary(
    old: Registry, new: Registry, name: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[str, ...]]:
    """New and old codes of a text column in one vocabulary, and that vocabulary."""
    words = tuple(dict.fromkeys((*old.labels[name], *new.labels[name])))
    if words == old.labels[name] == new.labels[name]:
        return new.columns[name], old.columns[name], words
    place = dict(zip(words, range(len(words)), strict=True))
    turned = np.array([place[word] for word in new.labels[name]], dtype=np.int32)
    told = turned[new.columns[name]] if len(turned) else new.columns[name]
    return told, old.columns[name], words


def _differ(told: NDArray[Any], held: NDArray[Any]) -> Mask:
    """Where values differ; two absent numbers do not."""
    differs: Mask = told != held
    if told.dtype.kind == "f":
        differs &= ~(np.isnan(told) & np.isnan(held))
    return differs


def _identities(
    old: Registry,
    new: Registry,
    at: Rows,
    given: Collection[str] | None,
    differs: dict[str, Mask],
) -> dict[str, NDArray[Any]]:
    """Names with others of the joint rows; what differs is added to ``differs``."""
    known, added = np.flatnonzero(at >= 0), np.flatnonzero(at < 0)
    joint: dict[str, NDArray[Any]] = {}
    for name in IDENTITY_NAMES:
        if name not in old.identities and name not in new.identities:
            continue
        held = texts_of(old.identities.get(name) or [""] * len(old.ids))
        told = texts_of(new.identities.get(name) or [""] * len(new.ids))
        joint[name] = np.concatenate([held, told[added]])
        if given is None or name in given:
            differs[name] = told[known] != held[at[known]]
            joint[name][at[known]] = told[known]
    return joint
