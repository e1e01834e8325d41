"""Registry files: CSV, JSON, JSON lines or Parquet, untrusted, read in parts of bounded size."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import duckdb
import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry import Reader, Registry
from gridflock.model import Rejected
from gridflock.schema import IDENTITIES, REGISTRY

PART = 2_000
"""Rows that are held as cells at once: so few that their texts stay in the cache of the processor."""
Progress = Callable[[int, float], None]
"""Told rows read so far, and the share of the file that they are, 0 to 1."""

_LARGEST_BYTES = 512 * 1024 * 1024
_LONGEST_LINE = 16 * 1024 * 1024
_LARGEST_OBJECT = 4 * 1024 * 1024
_READ_CHARACTERS = 1024 * 1024
_NUMERIC = frozenset(a.name for a in REGISTRY if a.dtype in {"f4", "i8", "u1"})
_KNOWN = frozenset(a.name for a in REGISTRY + IDENTITIES)
_SURPLUS = "(surplus cell)"


class FileRejected(Exception):  # noqa: N818 - bad input, told whole
    """The file as a whole cannot be read; ``rejected`` says why."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__(f"{rejected.field}: {rejected.reason}")
        self.rejected = rejected


class Rows(list[Mapping[str, object]]):
    """Rows of a file, and the number by which a report names each: its line, or place in a list."""

    def __init__(self, rows: Iterable[tuple[int, Mapping[str, object]]] = ()) -> None:
        pairs = list(rows)
        super().__init__(row for _, row in pairs)
        self.numbers = [number for number, _ in pairs]


@dataclass(frozen=True, slots=True, eq=False)
class FileRead:
    """A registry file's content.

    Attributes:
        registry: the good rows.
        rejected: broken rules, the first ones by row, the others counted by field and rule.
        rows: how many rows the file has.
        given: attributes that the file speaks of.
        faults: how many faults each field and rule has, the most frequent first.
    """

    registry: Registry
    rejected: tuple[Rejected, ...]
    rows: int
    given: frozenset[str]
    faults: Mapping[tuple[str, str], int]


def read_file(path: Path, places: Mapping[str, int] | None, progress: Progress | None = None) -> FileRead:
    """Read a registry file by its ending: ``.csv``, ``.json``, ``.jsonl`` or ``.ndjson``, ``.parquet``.

    Rows are named by their line (CSV, JSON lines) or their place from 1. A row with a fault is left out;
    bytes that are no UTF-8 are a fault of their row. Memory holds the good rows as columns and one part
    of the file.

    Args:
        path: the file.
        places: mask of the phases present at each bus; None = buses are not checked.
        progress: told after each part.

    Raises:
        FileRejected: no such file, no readable header, broken CSV quoting, not JSON, not Parquet.
    """
    reader = Reader(places)
    parts = {".json": _json_parts, ".jsonl": _line_parts, ".ndjson": _line_parts, ".parquet": _parquet_parts}
    given: set[str] = set()
    rows = 0
    with _faults_of(path):
        for part in parts.get(path.suffix.lower(), _csv_parts)(path, reader):
            numbers = np.array(part.numbers, dtype=np.int64)
            if isinstance(part.cells, dict):
                reader.add(part.cells, numbers)
                given |= _KNOWN & part.cells.keys()
            else:
                reader.add_rows(part.cells, numbers)
                given |= _KNOWN.intersection(chain.from_iterable(part.cells))
            rows += part.rows
            if progress is not None:
                progress(rows, part.share)
    registry, rejected = reader.done()
    return FileRead(registry, rejected, rows, frozenset(given), reader.faults.by_rule())


def read_rows(path: Path) -> Rows:
    """Rows of a small ``.csv`` file (with a header line) or ``.json`` file (a list of objects).

    Empty cells are absent. Values are checked later by who asks.

    Raises:
        FileRejected: no such file, too large, not UTF-8, not CSV or JSON, not a list of objects.
    """
    with _faults_of(path):
        if path.is_file() and path.stat().st_size > _LARGEST_BYTES:
            raise _refused(path, f"larger than {_LARGEST_BYTES} bytes")
        with _text(path, "strict") as file:
            if path.suffix.lower() == ".json":
                return Rows(enumerate(_objects(file, path), 1))
            names, lines = _csv_lines(file, path)
            return Rows((number, _named_cells(names, cells)) for number, cells in lines)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some rows: columns of cells, or mappings; their numbers; the share of the file read by then.

    ``rows`` also counts those that are no rows at all, which have neither cells nor number.
    """

    cells: dict[str, NDArray[Any]] | Sequence[Mapping[str, object]]
    numbers: Sequence[int]
    rows: int
    share: float


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    """What goes wrong with the file as a whole, in words."""
    try:
        if not path.is_file():
            raise _refused(path, "no such file")
        yield
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"not UTF-8: {error.reason}") from error
    except csv.Error as error:
        raise _refused(path, f"not CSV: {error}") from error
    except duckdb.Error as error:
        raise _refused(path, f"not Parquet: {str(error).splitlines()[0]}") from error


def _refused(path: Path, reason: str, row: int = 0) -> FileRejected:
    return FileRejected(Rejected("file", str(path), (), reason, row=row))


def _text(path: Path, errors: str) -> TextIO:
    # Spreadsheets put a byte-order mark before the header.
    return path.open(encoding="utf-8-sig", errors=errors, newline="")


def _share(file: TextIO, size: int) -> float:
    return min(1.0, file.buffer.tell() / size) if size else 1.0


def _bounded(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file, none so long that it could not be held."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise _refused(path, f"a line of more than {_LONGEST_LINE} characters", row=number)
        yield line


# ---- CSV -----------------------------------------------------------------------------------------


def _csv_lines(file: TextIO, path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header's names, and each row that is not blank with the line it ends on: nearly always its own."""
    reader = csv.reader(_bounded(file, path), strict=True)
    names = [name or _SURPLUS for name in next(reader, [])]
    if not names:
        raise _refused(path, "empty: no header", row=1)
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        raise _refused(path, "not UTF-8: the header", row=1)
    twice = sorted({name for name, times in Counter(names).items() if times > 1} - {_SURPLUS})
    if twice:
        raise _refused(path, f"the header names {', '.join(twice)} twice", row=1)
    return names, ((reader.line_num, cells) for cells in reader if cells)


def _named_cells(names: list[str], cells: list[str]) -> dict[str, object]:
    """A row as a mapping of its cells that are not empty; surplus cells under a name that nobody has."""
    named: dict[str, object] = {
        name: _number(name, text) for name, text in zip(names, cells, strict=False) if text
    }
    if any(cells[len(names) :]):
        named[_SURPLUS] = ",".join(cells[len(names) :])
    return named


def _number(name: str, text: str) -> object:
    """A numeric column's text as a number where it is one; the fleet names what is not."""
    if name not in _NUMERIC:
        return text
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _csv_parts(path: Path, reader: Reader) -> Iterator[_Part]:
    del reader  # every line that csv gives is a row
    size = path.stat().st_size
    with _text(path, "surrogateescape") as file:
        names, lines = _csv_lines(file, path)
        while part := list(islice(lines, PART)):
            numbers, rows = zip(*part, strict=True)
            yield _Part(_transposed(names, rows), numbers, len(rows), _share(file, size))


def _transposed(names: list[str], rows: Sequence[list[str]]) -> dict[str, NDArray[Any]]:
    """Columns of cells; short rows end in empty cells, long ones in a surplus column."""
    width = len(names)
    if any(len(row) != width for row in rows):
        surplus = [",".join(row[width:]) for row in rows]
        rows = [row[:width] + [""] * (width - len(row)) for row in rows]
        found = {**_transposed(names, rows), _SURPLUS: np.array(surplus, dtype=object)}
        return found if any(surplus) else {name: found[name] for name in names}
    return {
        name: np.array(cells, dtype=object)
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }


# ---- JSON ----------------------------------------------------------------------------------------


def _json_parts(path: Path, reader: Reader) -> Iterator[_Part]:
    del reader  # a list that is broken anywhere is refused as a whole
    size, first = path.stat().st_size, 1
    with _text(path, "surrogateescape") as file:
        objects = _objects(file, path)
        while part := list(islice(objects, PART)):
            yield _Part(part, range(first, first + len(part)), len(part), _share(file, size))
            first += len(part)


def _line_parts(path: Path, reader: Reader) -> Iterator[_Part]:
    """Objects, one a line; a line that is none is a fault of its row."""
    size = path.stat().st_size
    with _text(path, "surrogateescape") as file:
        lines = enumerate(_bounded(file, path), 1)
        while part := [(number, line) for number, line in islice(lines, PART)]:
            rows: list[Mapping[str, object]] = []
            numbers: list[int] = []
            broken = 0
            for number, line in part:
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    row, reason = None, f"not JSON: {getattr(error, 'msg', error)}"
                else:
                    reason = "expected an object"
                if isinstance(row, dict):
                    rows.append(row)
                    numbers.append(number)
                else:
                    reader.faults.add("(line)", reason, np.array([number]), [""])
                    broken += 1
            yield _Part(rows, numbers, len(rows) + broken, _share(file, size))


def _objects(file: TextIO, path: Path) -> Iterator[dict[str, object]]:
    """The objects of a JSON list one by one, holding a few of them as text.

    Raises:
        FileRejected: not JSON, or not a list of objects.
    """
    text = _Ahead(file, path)
    if text.peek() != "[":
        text.value()
        raise _refused(path, "expected a list of objects")
    text.skip()
    if text.peek() == "]":
        text.skip()
    else:
        yield text.an_object()
        while text.peek() == ",":
            text.skip()
            yield text.an_object()
        if text.peek() != "]":
            raise text.fault("expecting ',' or ']'")
        text.skip()
    if text.peek():
        raise text.fault("extra data")


class _Ahead:
    """A text read piece by piece, with a place in it."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._text = ""
        self._at = 0
        self._line = 1
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is not white; empty at the end."""
        while True:
            rest = self._text[self._at : self._at + 64].lstrip(" \t\r\n")
            if rest:
                self._at += len(self._text[self._at : self._at + 64]) - len(rest)
                return rest[0]
            self._at = min(self._at + 64, len(self._text))
            if self._at == len(self._text) and not self._more():
                return ""

    def skip(self) -> None:
        """Go past the character just seen."""
        self._at += 1

    def an_object(self) -> dict[str, object]:
        """The object that begins here."""
        found = self.value()
        if not isinstance(found, dict):
            raise _refused(self._path, "expected a list of objects")
        return found

    def value(self) -> object:
        """The value that begins here."""
        self.peek()
        while True:
            try:
                found, self._at = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Whether more text would mend it is not to be seen from here.
                if len(self._text) - self._at > _LARGEST_OBJECT or not self._more():
                    raise self.fault(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.fault(str(error)) from error
            else:
                return found

    def fault(self, reason: str, at: int | None = None) -> FileRejected:
        """What is wrong, with its line."""
        line = self._line + self._text.count("\n", 0, self._at if at is None else at)
        return _refused(self._path, f"not JSON: {reason}", row=line)

    def _more(self) -> bool:
        """Read on, letting go of what lies behind; False at the end of the file."""
        kept = len(self._text) - self._at
        news = self._file.read(max(_READ_CHARACTERS, kept))
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + news, 0
        return bool(news)


# ---- Parquet -------------------------------------------------------------------------------------


def _parquet_parts(path: Path, reader: Reader) -> Iterator[_Part]:
    """Rows through DuckDB, which must not take the name for a pattern."""
    del reader  # DuckDB gives whole rows only
    if set(str(path)) & set("*?["):
        raise _refused(path, "not Parquet: the name must be without *, ? and [")
    with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as connection:
        count = connection.execute("select count(*) from read_parquet(?)", [str(path)]).fetchone()
        total = int(count[0]) if count else 0
        found = connection.execute("select * from read_parquet(?)", [str(path)])
        names = [str(column[0]) for column in found.description or []]
        first = 1
        while rows := found.fetchmany(PART):
            columns = zip(names, zip(*rows, strict=True), strict=True)
            cells = {name: np.fromiter(column, dtype=object, count=len(rows)) for name, column in columns}
            yield _Part(cells, range(first, first + len(rows)), len(rows), (first + len(rows) - 1) / total)
            first += len(rows)
