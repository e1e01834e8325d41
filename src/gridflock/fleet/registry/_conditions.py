"""What a query asks of each resource: comparisons of columns, and how they are joined."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Codes, Mask

EARTH_KM = 6371.0088
"""Mean radius of the Earth (IUGG), km."""
_FEW = 4
"""Identities are looked at one by one where at most 1 / _FEW of the rows are left."""

Comparison = Callable[[Any, Any], Any]
ORDER: Mapping[str, Comparison] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""Comparisons of numbers by their sign."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The columns that a condition reads, or some rows of them.

    Attributes:
        columns: registry columns by name, each (n,); texts as codes.
        labels: vocabulary of each coded text column.
        family: uint8 (n,) ``schema.Family``.
        ids: n identities.
        rows: which rows of the columns are meant; None = all.
    """

    columns: Mapping[str, NDArray[Any]]
    labels: Mapping[str, Sequence[str]]
    family: Codes
    ids: Sequence[str]
    rows: NDArray[np.intp] | None = None

    @property
    def n(self) -> int:
        """How many rows are meant."""
        return len(self.ids) if self.rows is None else len(self.rows)

    def column(self, name: str) -> NDArray[Any]:
        """The meant rows of a column."""
        whole = self.family if name == "family" else self.columns[name]
        return whole if self.rows is None else whole[self.rows]

    def names(self) -> Sequence[str]:
        """The meant identities."""
        return self.ids if self.rows is None else [self.ids[row] for row in self.rows.tolist()]

    def narrowed(self, mask: Mask) -> Table:
        """Only the meant rows where the mask (n,) is true."""
        at = np.flatnonzero(mask)
        return Table(
            self.columns, self.labels, self.family, self.ids, at if self.rows is None else self.rows[at]
        )


class Node(Protocol):
    """A part of a condition."""

    def mask(self, table: Table) -> Mask:
        """Which of the table's rows fulfil it."""
        ...

    def reads(self) -> frozenset[str]:
        """Names of the attributes it looks at."""
        ...


class Texts(Protocol):
    """A test of texts."""

    def of(self, texts: Sequence[str]) -> Mask:
        """Which of the texts pass."""
        ...


@dataclass(frozen=True, slots=True)
class Among:
    """The text is one of these."""

    wanted: frozenset[str]

    def of(self, texts: Sequence[str]) -> Mask:
        """Which of the texts are listed."""
        return _flags(map(self.wanted.__contains__, texts), len(texts))


@dataclass(frozen=True, slots=True)
class Like:
    """The text has this pattern: ``%`` any run of characters, ``_`` one character, all else as written."""

    pattern: str

    def of(self, texts: Sequence[str]) -> Mask:
        """Which of the texts have the pattern."""
        literal = self.pattern.replace("%", "")
        if "_" not in literal:
            if self.pattern == f"{literal}%":
                return _flags(map(str.startswith, texts, repeat(literal)), len(texts))
            if self.pattern == f"%{literal}":
                return _flags(map(str.endswith, texts, repeat(literal)), len(texts))
            if self.pattern == f"%{literal}%":
                return _flags(map(operator.contains, texts, repeat(literal)), len(texts))
        # Each inner piece is taken where it first fits and never tried elsewhere (an atomic group): that
        # loses no match, and no pattern takes longer than its length times the text's.
        first, *inner = ["".join(map(_piece, part)) for part in re.split("%+", self.pattern)]
        form = (
            first + "".join(f"(?>.*?{part})" for part in inner[:-1]) + "".join(f".*{p}" for p in inner[-1:])
        )
        match = re.compile(form, re.DOTALL).fullmatch
        return _flags(map(operator.is_not, map(match, texts), repeat(None)), len(texts))


def _piece(mark: str) -> str:
    return "." if mark == "_" else re.escape(mark)


def _flags(found: Iterable[bool], count: int) -> Mask:
    return np.fromiter(found, dtype=bool, count=count)


@dataclass(frozen=True, slots=True)
class OfText:
    """A text attribute, or the identity, passes a test."""

    name: str
    test: Texts

    def mask(self, table: Table) -> Mask:
        """The test is made once per word of the vocabulary."""
        if self.name == "id":
            return self.test.of(table.names())
        known: Mask = self.test.of(table.labels[self.name])[table.column(self.name)]
        return known

    def reads(self) -> frozenset[str]:
        """The attribute."""
        return frozenset({self.name})


@dataclass(frozen=True, slots=True)
class OfCode:
    """A coded attribute has one of these codes."""

    name: str
    codes: frozenset[int]

    def mask(self, table: Table) -> Mask:
        """By a table of all 256 codes."""
        wanted = np.zeros(256, dtype=bool)
        wanted[list(self.codes)] = True
        found: Mask = wanted[table.column(self.name)]
        return found

    def reads(self) -> frozenset[str]:
        """The attribute."""
        return frozenset({self.name})


@dataclass(frozen=True, slots=True)
class OfNumber:
    """A number compares with a limit; what is absent fulfils no comparison.

    The limit is rounded as the column is, so that 7.2 is found where a file said 7.2.
    """

    name: str
    order: str
    limit: float

    def mask(self, table: Table) -> Mask:
        """Elementwise."""
        column = table.column(self.name)
        with np.errstate(over="ignore"):
            limit = column.dtype.type(self.limit) if column.dtype.kind == "f" else self.limit
        found: Mask = ORDER[self.order](column, limit)
        # NaN differs from every number; what is not known is not known to differ.
        return found & ~np.isnan(column) if self.order == "!=" and column.dtype.kind == "f" else found

    def reads(self) -> frozenset[str]:
        """The attribute."""
        return frozenset({self.name})


@dataclass(frozen=True, slots=True)
class Missing:
    """An attribute is absent: an empty text, or no number."""

    name: str

    def mask(self, table: Table) -> Mask:
        """Elementwise."""
        if self.name in table.labels:
            return OfText(self.name, Among(frozenset({""}))).mask(table)
        absent: Mask = np.isnan(table.column(self.name))
        return absent

    def reads(self) -> frozenset[str]:
        """The attribute."""
        return frozenset({self.name})


@dataclass(frozen=True, slots=True)
class Within:
    """Not further than ``km`` from a point, along the great circle; who has no coordinates is nowhere."""

    lat_deg: float
    lon_deg: float
    km: float

    def mask(self, table: Table) -> Mask:
        """The haversine, of those whose latitude alone does not rule them out."""
        lat = table.column("lat_deg")
        band = np.degrees(self.km / EARTH_KM) + 1e-4
        near = np.flatnonzero(np.abs(lat - np.float64(self.lat_deg)) <= band)
        phi = np.radians(lat[near].astype(np.float64))
        turn = np.radians(table.column("lon_deg")[near].astype(np.float64) - self.lon_deg)
        here = np.radians(self.lat_deg)
        chord = np.sin((phi - here) / 2) ** 2 + np.cos(phi) * np.cos(here) * np.sin(turn / 2) ** 2
        found = np.zeros(len(lat), dtype=bool)
        found[near] = 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0))) <= self.km
        return found

    def reads(self) -> frozenset[str]:
        """Both coordinates."""
        return frozenset({"lat_deg", "lon_deg"})


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node

    def mask(self, table: Table) -> Mask:
        """The other rows."""
        return ~self.part.mask(table)

    def reads(self) -> frozenset[str]:
        """What the part reads."""
        return self.part.reads()


@dataclass(frozen=True, slots=True)
class Both:
    """All parts hold."""

    parts: tuple[Node, ...]

    def mask(self, table: Table) -> Mask:
        """Columns first; identities, which are texts one by one, where little is left only of that."""
        found = np.ones(table.n, dtype=bool)
        for part in sorted(self.parts, key=lambda part: "id" in part.reads()):
            if "id" in part.reads() and _FEW * np.count_nonzero(found) <= table.n:
                found[found] = part.mask(table.narrowed(found))
            else:
                found &= part.mask(table)
        return found

    def reads(self) -> frozenset[str]:
        """What any part reads."""
        return frozenset().union(*(part.reads() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """One of the parts holds."""

    parts: tuple[Node, ...]

    def mask(self, table: Table) -> Mask:
        """The union."""
        found = np.zeros(table.n, dtype=bool)
        for part in self.parts:
            found |= part.mask(table)
        return found

    def reads(self) -> frozenset[str]:
        """What any part reads."""
        return frozenset().union(*(part.reads() for part in self.parts))
