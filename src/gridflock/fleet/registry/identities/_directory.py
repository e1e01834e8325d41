"""From any of its names to the resource, and the names that two resources claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._rows import Registry
from gridflock.fleet.registry.identities._forms import FORMS, canonical, canonical_column, misfits
from gridflock.schema import Enrolment
from gridflock.units import Rows

_Hashes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """Finds resources by their names with others.

    Of each name that is there it holds a hash and a row, 12 bytes, sorted by hash; the texts themselves
    stay with the registry, where a hit is checked.

    Attributes:
        registry: whose names.
        hashes: sorted int64 by ``schema.IDENTITIES`` name.
        rows: int32, the row of each hash.
        misfits: int32, rows whose name has not the form that its standard gives it.
    """

    registry: Registry
    hashes: Mapping[str, _Hashes]
    rows: Mapping[str, Rows]
    misfits: Mapping[str, Rows]

    @classmethod
    def of(cls, registry: Registry) -> Directory:
        """Index every name of a registry."""
        hashes: dict[str, _Hashes] = {}
        rows: dict[str, Rows] = {}
        wrong: dict[str, Rows] = {}
        for name, texts in registry.identities.items():
            canonicals = canonical_column(name, texts)
            hashes[name], rows[name] = _sorted_hashes(canonicals)
            wrong[name] = misfits(name, canonicals)
        return cls(registry, MappingProxyType(hashes), MappingProxyType(rows), MappingProxyType(wrong))

    @property
    def nbytes(self) -> int:
        """Memory of the index, bytes; the registry's texts not counted."""
        arrays: list[NDArray[Any]] = [*self.hashes.values(), *self.rows.values(), *self.misfits.values()]
        return sum(array.nbytes for array in arrays)

    def find(self, text: str) -> tuple[tuple[str, int], ...]:
        """Who has this name, of whatever sort: sort and row, those still in service first."""
        retired = self.registry.columns["enrolment"] == Enrolment.RETIRED
        found = [(name, row) for name in self.hashes for row in self._holders(name, text)]
        return tuple(sorted(found, key=lambda hit: (bool(retired[hit[1]]), hit[0], hit[1])))

    def rows_of(self, name: str, texts: Sequence[str]) -> Rows:
        """The row of each name of one sort, int32 as long as ``texts``; -1 where nobody has it.

        Of several holders the first one in service is meant.

        Args:
            name: of ``schema.IDENTITIES``.
            texts: in any spelling.
        """
        return np.array([self._first(name, text) for text in texts], dtype=np.int32)

    def _first(self, name: str, text: str) -> int:
        holders = self._holders(name, text)
        state = self.registry.columns["enrolment"]
        in_service = [row for row in holders if state[row] != Enrolment.RETIRED]
        return (in_service or holders or [-1])[0]

    def _holders(self, name: str, text: str) -> list[int]:
        wanted = canonical(name, text)
        if not wanted or name not in self.hashes:
            return []
        hashes = self.hashes[name]
        first = int(np.searchsorted(hashes, hash(wanted)))
        found = []
        while first < len(hashes) and hashes[first] == hash(wanted):
            row = int(self.rows[name][first])
            if canonical(name, self.registry.identities[name][row]) == wanted:
                found.append(row)
            first += 1
        return sorted(found)


def _sorted_hashes(texts: Sequence[str]) -> tuple[_Hashes, Rows]:
    hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
    present = np.flatnonzero(np.fromiter(map(bool, texts), dtype=bool, count=len(texts)))
    order = present[np.argsort(hashes[present], kind="stable")]
    return hashes[order], order.astype(np.int32)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One name that several resources in service claim.

    Attributes:
        name: sort, of ``schema.IDENTITIES``.
        text: in canonical form.
        rows: who, ascending.
    """

    name: str
    text: str
    rows: tuple[int, ...]


def duplicates(directory: Directory) -> tuple[Duplicate, ...]:
    """Every name that more than one resource in service claims, by sort, then by the first holder.

    Two makes may give one serial number; so it is claimed twice only where the makes agree or one is not
    known. Who is retired claims nothing: a device that moves keeps its names.
    """
    found: list[Duplicate] = []
    for name in FORMS:
        if name in directory.hashes:
            found += sorted(_claimed_twice(directory, name), key=lambda duplicate: duplicate.rows)
    return tuple(found)


def _claimed_twice(directory: Directory, name: str) -> Iterator[Duplicate]:
    registry, hashes, rows = directory.registry, directory.hashes[name], directory.rows[name]
    state, texts = registry.columns["enrolment"], registry.identities[name]
    again = np.flatnonzero(hashes[1:] == hashes[:-1])
    holders: dict[str, list[int]] = {}
    for row in sorted({*rows[again].tolist(), *rows[again + 1].tolist()}):
        if state[row] != Enrolment.RETIRED:
            holders.setdefault(canonical(name, texts[row]), []).append(row)
    for text, claimed in holders.items():
        parts = _by_make(registry, claimed) if name == "serial" else [claimed]
        for part in parts:
            if len(part) > 1:
                yield Duplicate(name, text, tuple(part))


def _by_make(registry: Registry, rows: list[int]) -> list[list[int]]:
    """Rows by make; whose make is not known may be of any."""
    make = {row: registry.labels["make"][registry.columns["make"][row]] for row in rows}
    makes = sorted({*make.values()} - {""})
    if len(makes) < 2:
        return [rows]
    return [[row for row in rows if make[row] in ("", one)] for one in makes]
