"""Registry files: CSV or JSON rows of resources, untrusted."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gridflock.model import Rejected
from gridflock.schema import REGISTRY

_LARGEST_BYTES = 512 * 1024 * 1024
_NUMERIC = frozenset(a.name for a in REGISTRY if a.dtype in {"f4", "i8", "u1"})


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


def read_rows(path: Path) -> Rows:
    """Rows of a ``.csv`` file (with a header line) or a ``.json`` file (a list of objects).

    Empty cells are absent. Values are checked later, attribute by attribute, by the fleet.

    Raises:
        FileRejected: no such file, too large, not UTF-8, not CSV or JSON, not a list of objects.
    """
    try:
        if not path.is_file():
            raise FileRejected(Rejected("file", str(path), (), "no such file"))
        if path.stat().st_size > _LARGEST_BYTES:
            raise FileRejected(Rejected("file", str(path), (), f"larger than {_LARGEST_BYTES} bytes"))
        # Spreadsheets put a byte-order mark before the header.
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".json":
                return Rows(enumerate(_objects(json.load(file), path), 1))
            return Rows(_cells(csv.DictReader(file, strict=True)))
    except OSError as error:
        raise FileRejected(Rejected("file", str(path), (), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise FileRejected(Rejected("file", str(path), (), f"not UTF-8: {error.reason}")) from error
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg}"
        raise FileRejected(Rejected("file", str(path), (), reason, row=error.lineno)) from error
    except csv.Error as error:
        raise FileRejected(Rejected("file", str(path), (), f"not CSV: {error}")) from error
    except (ValueError, RecursionError) as error:
        raise FileRejected(Rejected("file", str(path), (), f"not JSON: {error}")) from error


def _objects(document: object, path: Path) -> list[Mapping[str, object]]:
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise FileRejected(Rejected("file", str(path), (), "expected a list of objects"))
    return document


def _cells(reader: csv.DictReader[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows with the line each ends on: where it is one line, as nearly always, that line."""
    for row in reader:
        # DictReader files surplus cells under None; named, the fleet refuses them as unknown.
        yield (
            reader.line_num,
            {name or "(surplus cell)": _number(name, text) for name, text in row.items() if text},
        )


def _number(name: str, text: str) -> object:
    """A numeric column's text as a number where it is one; the fleet names what is not."""
    if name not in _NUMERIC:
        return text
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
