"""History: tables of measured and decided values as Parquet, one folder per table and UTC day.

``history/<table>/day=YYYY-MM-DD/part-<first>-<last>.parquet``. A flush writes part ``n-n``.
Compaction writes one part ``first-last`` and then removes the parts it covers; a part whose range
lies inside another's is ignored, so a kill in between neither loses nor doubles a row.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from gridflock.record._disk import checked_name, make_folder, put_in_place
from gridflock.record._errors import (
    RecordBroken,
    RecordBusy,
    RecordClosed,
    RecordError,
    RecordReadOnly,
    of_duckdb,
    of_system,
)
from gridflock.units import DAY_S

Columns = dict[str, NDArray[Any]]

_PART = re.compile(r"part-(\d{6})-(\d{6})\.parquet")
_DAY = re.compile(r"day=\d{4}-\d{2}-\d{2}")
_LAST_S = 253_402_300_800
"""The year 10000: later days have no four-digit folder."""
_RESERVED = {"filename", "file_row_number"}
_SELECT_PARTS = "SELECT * FROM read_parquet(?, union_by_name = true, hive_partitioning = false)"
_SELECT_PARTS_NUMBERED = (
    "SELECT * FROM read_parquet(?, union_by_name = true, hive_partitioning = false, "
    "filename = true, file_row_number = true)"
)
_ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # keeps the order of rows, and so the bytes of a part, the same in every run
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_FULL_FACTOR = 4
_ATTEMPTS = 5
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f4", "f8"}


class History:
    """Tables of rows in time. All methods may be called from any thread."""

    def __init__(self, folder: Path, *, read_only: bool, flush_rows: int) -> None:
        """Open the folder; it need not exist.

        Args:
            folder: holds one folder per table.
            read_only: refuse writes.
            flush_rows: rows of a table that are buffered before a part is written.
        """
        self._folder = folder
        self._read_only = read_only
        self._flush_rows = flush_rows
        self._lock = threading.Lock()
        self._compacting = threading.Lock()
        self._buffers: dict[str, list[Columns]] = {}
        self._engine_lock = threading.Lock()
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._closed = False
        self._released = False

    def write(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to the buffer, and write a part once it is long enough.

        Raises:
            ValueError: names, shapes, dtypes or times that no table can hold.
            RecordFull: no space for a part. The buffered rows are kept and tried again with the
                next call; beyond four times ``flush_rows`` further rows are refused.
            RecordError: another reason why a part cannot be written; rows are kept likewise.
        """
        checked_name(table, "table")
        rows = _checked_columns(columns)
        with self._lock:
            self._check_writable()
            buffer = self._buffers.setdefault(table, [])
            _check_same(table, buffer, rows)
            if _count(buffer) >= _FULL_FACTOR * self._flush_rows:
                self._flush(table)
            if len(rows["t_s"]):
                buffer.append(rows)
            if _count(buffer) >= self._flush_rows:
                self._flush(table)

    def read(self, table: str, start_s: int, end_s: int) -> Columns:
        """Rows with ``start_s <= t_s < end_s`` in time order; ``{}`` where the table is unknown.

        Columns that some parts lack are absent there: NaN, -1 (unsigned numbers and truth values
        widen to signed ones), ``""``.

        Raises:
            ValueError: not a table name.
            RecordBroken: a part cannot be read.
        """
        checked_name(table, "table")
        for _ in range(_ATTEMPTS):
            with self._lock:
                if self._closed:
                    raise RecordClosed(f"{self._folder} is closed")
                parts = self._parts(table, start_s, end_s)
                buffered = list(self._buffers.get(table, ()))
            try:
                chunks = [self._query(parts, start_s, end_s)] if parts else []
            except duckdb.Error as error:
                if all(part.exists() for part in parts):
                    raise of_duckdb(error, self._folder / table, RecordBroken) from error
                continue
            # A compaction, here or in another process, may have moved rows while they were read.
            if set(parts) <= set(self._parts(table, start_s, end_s)):
                return _stacked(chunks + [_between(rows, start_s, end_s) for rows in buffered])
        raise RecordBusy(f"{self._folder / table}: compacted again and again while it was read")

    def compact(self, table: str, day: str, key: str | None = None) -> int:
        """Merge the parts of a day into one, sorted by ``key`` (if any) and time.

        Sorting by the identity of a device lays one device's series together. Parts written
        meanwhile stay beside it until the next compaction.

        Returns:
            How many parts became one; 0 where there were not two.

        Raises:
            ValueError: not a table, day or column name.
            RecordError: the merged part cannot be written; the parts stand as before.
        """
        folder = self._folder / checked_name(table, "table") / f"day={date.fromisoformat(day).isoformat()}"
        order = ["t_s"] if key is None else [checked_name(key, "column"), "t_s"]
        with self._compacting:
            with self._lock:
                self._check_writable()
                parts = _standing(folder)
                _sweep(folder, parts)
            if len(parts) < 2:
                return 0
            first, last = _span(parts[0])[0], _span(parts[-1])[1]
            path = folder / _part_name(first, last)
            _write_part(self._merged(parts, order), path)
            with self._lock:
                _sweep(folder, _standing(folder))
        return len(parts)

    def close(self) -> None:
        """Write what is buffered and release the engine; a second call does nothing.

        Raises:
            RecordError: some rows could not be written and are lost.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # The stack goes on to the next table, and to the engine, where one cannot be written.
            with contextlib.ExitStack() as last_acts:
                last_acts.callback(self._release)
                for table in self._buffers:
                    last_acts.callback(self._flush, table)

    def _release(self) -> None:
        self._buffers.clear()
        with self._engine_lock:
            self._released = True
            if self._engine is not None:
                self._engine.close()

    def _check_writable(self) -> None:
        if self._closed:
            raise RecordClosed(f"{self._folder} is closed")
        if self._read_only:
            raise RecordReadOnly(f"{self._folder} was opened for reading only")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of the engine for one thread's use."""
        with self._engine_lock:
            if self._released:
                raise RecordClosed(f"{self._folder} is closed")
            if self._engine is None:
                self._engine = duckdb.connect(config=_ENGINE)
            return self._engine.cursor()

    def _flush(self, table: str) -> None:
        """Write the buffer of a table, a part per day; what is written leaves the buffer."""
        buffer = self._buffers[table]
        while buffer:
            rows = _stacked(buffer)
            day = int(rows["t_s"][0]) // DAY_S
            cut = int(np.searchsorted(rows["t_s"], (day + 1) * DAY_S))
            folder = self._folder / table / f"day={np.datetime64(day, 'D')}"
            make_folder(folder)
            standing = _standing(folder)
            number = _span(standing[-1])[1] + 1 if standing else 0
            cursor = self._cursor()
            # Texts as objects: NumPy's own text type would be stored as an enumeration.
            part = {
                name: values[:cut].astype(object) if values.dtype.kind == "U" else values[:cut]
                for name, values in rows.items()
            }
            cursor.register("part", part)
            _write_part(cursor.table("part"), folder / _part_name(number, number))
            rest = {name: values[cut:] for name, values in rows.items()}
            buffer[:] = [rest] if len(rest["t_s"]) else []

    def _merged(self, parts: list[Path], order: list[str]) -> duckdb.DuckDBPyRelation:
        """All rows of the parts, sorted; equal ones as they were written."""
        try:
            rows = self._cursor().sql(_SELECT_PARTS_NUMBERED, params=[[str(part) for part in parts]])
        except duckdb.Error as error:
            raise of_duckdb(error, parts[0].parent, RecordBroken) from error
        if order[0] not in rows.columns:
            raise ValueError(f"history column {order[0]!r}: not in {parts[0].parent}")
        names = [f'"{name}"' for name in rows.columns if name not in _RESERVED]
        by = [f'"{name}"' for name in order] + ["filename", "file_row_number"]
        return rows.order(", ".join(by)).project(", ".join(names))

    def _parts(self, table: str, start_s: int, end_s: int) -> list[Path]:
        """Standing parts of the days that touch the interval, in the order they were written.

        Where no day does, the table's newest part: it knows the columns of no rows.
        """
        parts: list[Path] = []
        days = [path for path in (self._folder / table).glob("day=*") if _DAY.fullmatch(path.name)]
        for folder in sorted(days):
            midnight = int(np.datetime64(folder.name.removeprefix("day="), "s").astype(np.int64))
            if midnight < end_s and start_s < midnight + DAY_S:
                parts += _standing(folder)
        return parts or [part for folder in sorted(days) for part in _standing(folder)][-1:]

    def _query(self, parts: list[Path], start_s: int, end_s: int) -> Columns:
        sql = f"{_SELECT_PARTS} WHERE t_s >= ? AND t_s < ?"
        found = self._cursor().execute(sql, [[str(part) for part in parts], start_s, end_s]).fetchnumpy()
        return {name: _plain(values) for name, values in found.items()}


def _write_part(relation: duckdb.DuckDBPyRelation, path: Path) -> None:
    """The relation as a Parquet file, wholly there or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        relation.write_parquet(str(temporary), compression="zstd")
        put_in_place(temporary, path)
    except duckdb.Error as error:
        temporary.unlink(missing_ok=True)
        raise of_duckdb(error, path, RecordError) from error
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise of_system(error, path) from error


def _part_name(first: int, last: int) -> str:
    return f"part-{first:06d}-{last:06d}.parquet"


def _span(part: Path) -> tuple[int, int]:
    """First and last number that a part stands for."""
    match = _PART.fullmatch(part.name)
    assert match is not None, part
    return int(match[1]), int(match[2])


def _standing(folder: Path) -> list[Path]:
    """The parts of a day that no other part covers, in order."""
    parts = [path for path in folder.glob("part-*.parquet") if _PART.fullmatch(path.name)]
    standing: list[Path] = []
    for part in sorted(parts, key=lambda path: (_span(path)[0], -_span(path)[1])):
        if not standing or _span(part)[1] > _span(standing[-1])[1]:
            standing.append(part)
    return standing


def _sweep(folder: Path, standing: list[Path]) -> None:
    """Remove covered parts, and what killed writers left unfinished."""
    for path in folder.glob("part-*"):
        if path not in standing:
            path.unlink()


def _checked_columns(columns: Mapping[str, NDArray[Any]]) -> Columns:
    """A copy of the columns that can be stored as rows.

    Raises:
        ValueError: no ``t_s``, unequal lengths, or a name, shape, dtype or time out of bounds.
    """
    if "t_s" not in columns:
        raise ValueError("history columns need t_s, the time of each row in unix seconds")
    rows = {name: _checked_column(name, values) for name, values in columns.items()}
    if len({len(values) for values in rows.values()}) > 1:
        lengths = {name: len(values) for name, values in rows.items()}
        raise ValueError(f"history columns of unequal length: {lengths}")
    times = rows["t_s"]
    if times.dtype.kind not in "iu" or (len(times) and not 0 <= times.min() <= times.max() < _LAST_S):
        raise ValueError("history column t_s: expected whole unix seconds from 0 to the year 9999")
    rows["t_s"] = times.astype(np.int64)
    return rows


def _checked_column(name: str, values: NDArray[Any]) -> NDArray[Any]:
    dtype = values.dtype
    if checked_name(name, "column") in _RESERVED:
        raise ValueError(f"history column name {name!r} is taken")
    if values.ndim != 1 or not (dtype.kind == "U" or f"{dtype.kind}{dtype.itemsize}" in _NUMBERS):
        raise ValueError(
            f"history column {name!r} is {dtype} of shape {values.shape}: expected 1-D numbers or text"
        )
    return np.array(values, dtype=dtype.newbyteorder("="))


def _check_same(table: str, buffer: list[Columns], rows: Columns) -> None:
    """Rows of one buffer have the same columns, so that a typing error cannot found a new one.

    Raises:
        ValueError: other columns than the rows before, or text where those have numbers.
    """
    if buffer and buffer[0].keys() != rows.keys():
        odd = sorted(buffer[0].keys() ^ rows.keys())
        raise ValueError(f"history table {table!r}: columns {odd} are not in all rows")
    for name in rows if buffer else ():
        if (rows[name].dtype.kind == "U") != (buffer[0][name].dtype.kind == "U"):
            raise ValueError(f"history table {table!r}: column {name!r} is text in some rows only")


def _count(buffer: list[Columns]) -> int:
    return sum(len(rows["t_s"]) for rows in buffer)


def _between(rows: Columns, start_s: int, end_s: int) -> Columns:
    inside = (rows["t_s"] >= start_s) & (rows["t_s"] < end_s)
    return {name: values[inside] for name, values in rows.items()}


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """A queried column with absence as NaN, -1 or ``""`` instead of a mask, texts as NumPy texts."""
    if np.ma.isMaskedArray(values):
        match values.dtype.kind:
            case "f":
                values = np.ma.filled(values, np.nan)
            case "O":
                values = np.ma.filled(values, "")
            case _:
                values = np.ma.filled(values.astype(np.promote_types(values.dtype, np.int8)), -1)
    return values.astype(np.str_) if values.dtype.kind == "O" else values


def _absent(like: np.dtype[Any], n: int) -> NDArray[Any]:
    match like.kind:
        case "f":
            return np.full(n, np.nan, like)
        case "U":
            return np.full(n, "")
        case _:
            return np.full(n, -1, np.int8)


def _stacked(chunks: list[Columns]) -> Columns:
    """All rows in time order; rows of the same moment keep their order."""
    dtypes = {name: values.dtype for chunk in chunks for name, values in chunk.items()}
    rows = {
        name: np.concatenate(
            [chunk[name] if name in chunk else _absent(dtype, len(chunk["t_s"])) for chunk in chunks]
        )
        for name, dtype in dtypes.items()
    }
    if not rows or not np.any(np.diff(rows["t_s"]) < 0):
        return rows
    order = np.argsort(rows["t_s"], kind="stable")
    return {name: values[order] for name, values in rows.items()}
