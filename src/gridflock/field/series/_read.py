"""A file of stamps and numbers, untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.units import utc_offset_s

Floats = NDArray[np.float64]

STAMPS = ("t_s", "t", "time", "timestamp", "datetime", "utc", "start")
"""Names under which a column of stamps is looked for, in this order, capitals ignored."""
_LARGEST_BYTES = 2 * 1024**3
_MOST_ROWS = 20_000_000
_MEMORY = "4GB"
_MOST_CELLS = 400_000_000
_MOST_COLUMNS = 20_000
_UNITS = {"_kw": 1.0, "_mw": 1000.0, "_w": 0.001}
_SHOWN = 5
_HEADER = 1
_MILLISECONDS_FROM = 1e11
_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)$"


class Unreadable(Exception):  # noqa: N818 - bad input, told whole
    """The file as a whole cannot be read; ``rejected`` says why."""

    def __init__(self, field: str, reason: str, path: Path) -> None:
        super().__init__(f"{path.name}: {field}: {reason}")
        self.rejected = Rejected("series file", field, (path.name,), reason)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesColumns:
    """What a file holds.

    Attributes:
        t_s: float64 (n,) start of each row's step, unix seconds; NaN where the stamp could not be read.
        columns: (n,) each, by name in the file's order. Names that end in ``_kw``, ``_mw`` or ``_w`` are
            powers: they come in kW under the name without the unit; all others come as they are.
        rejected: cells that are neither numbers nor empty and stamps that are none, by column with the
            first row and their count.
    """

    t_s: Floats
    columns: Mapping[str, Floats]
    rejected: tuple[Rejected, ...]


def read_series(
    path: Path, timezone: str = "UTC", stamps: tuple[str, ...] = STAMPS, moments: tuple[str, ...] = ()
) -> SeriesColumns:
    """Read a wide table: one column of stamps, every other column a series.

    Stamps are unix seconds (also milliseconds), or ISO 8601; those without an offset are taken on the
    clock of ``timezone``, in the hour that comes twice as its first pass.

    Args:
        path: ``.csv`` (also compressed) or ``.parquet``.
        timezone: IANA name.
        stamps: names under which the column of stamps is looked for, capitals ignored.
        moments: columns that hold stamps, too: they come as unix seconds.

    Raises:
        Unreadable: no such file, too large, no column of stamps, no series, one twice by two units.
    """
    source = _source(path)
    with duckdb.connect() as base:
        try:
            base.execute(f"SET memory_limit = '{_MEMORY}'")
            described = base.execute(f"DESCRIBE {_select('*', source)}").fetchall()
            # A table of columns is read once; a file of lines would be read again for each of them.
            base.execute(f"CREATE TABLE told AS {_select('*', source)} LIMIT {_MOST_ROWS + 1}")
            rows = int(base.execute(_select("count(*)", "told")).fetchall()[0][0])
        except duckdb.Error as error:
            raise Unreadable("file", str(error).splitlines()[0], path) from error
        names = [str(row[0]) for row in described]
        stamp = _stamp_column(names, path, stamps)
        series = [name for name in names if name != stamp]
        _within_bounds(rows, series, path)
        t_s, rejected = _stamps(base, "told", stamp, timezone)
        columns: dict[str, Floats] = {}
        for name in series:
            if name in moments:
                columns[name], bad = _stamps(base, "told", name, timezone)
                rejected += bad
                continue
            value, bad = _numbers(base, "told", name)
            rejected += bad
            plain, factor = _power(name)
            if plain in columns:
                raise Unreadable(name, f"two columns mean {plain!r}", path)
            columns[plain] = value * factor
    return SeriesColumns(t_s, columns, tuple(rejected))


def _source(path: Path) -> str:
    if not path.is_file():
        raise Unreadable("file", "no such file", path)
    if path.stat().st_size > _LARGEST_BYTES:
        raise Unreadable("file", f"larger than {_LARGEST_BYTES} bytes", path)
    literal = "'" + str(path).replace("'", "''") + "'"
    if path.suffix == ".parquet":
        return f"read_parquet({literal})"
    if path.suffix in {".csv", ".gz", ".txt"}:
        return f"read_csv({literal}, all_varchar = true, header = true, strict_mode = false)"
    raise Unreadable("file", f"{path.suffix or 'no'} ending; expected .csv, .csv.gz or .parquet", path)


def _stamp_column(names: list[str], path: Path, stamps: tuple[str, ...]) -> str:
    low = {name.lower(): name for name in names}
    for wanted in stamps:
        if wanted in low:
            return low[wanted]
    raise Unreadable("header", f"no column of stamps; expected one of {', '.join(stamps)}", path)


def _within_bounds(rows: int, series: list[str], path: Path) -> None:
    if not series:
        raise Unreadable("header", "no column but the stamps", path)
    if len(series) > _MOST_COLUMNS or rows > _MOST_ROWS or rows * len(series) > _MOST_CELLS:
        raise Unreadable("file", f"{rows} rows of {len(series)} series are more than fit", path)


def _stamps(
    base: duckdb.DuckDBPyConnection, source: str, name: str, timezone: str
) -> tuple[Floats, list[Rejected]]:
    """Unix seconds of a column of stamps, and those that are none."""
    text = f"trim(CAST({_quoted(name)} AS VARCHAR))"
    zone = f"CASE WHEN length({text}) > 10 THEN regexp_extract({text}, '{_ZONE}', 1) ELSE '' END"
    clock = f"trim(left({text}, length({text}) - length({zone})))"
    asked = (
        f"{text} AS said, try_cast({text} AS DOUBLE) AS number, {zone} AS zone, "
        f"epoch(try_cast({clock} AS TIMESTAMP)) AS moment"
    )
    found = base.execute(_select(asked, source)).fetchnumpy()
    number = np.ma.filled(found["number"].astype(np.float64), np.nan)
    number = np.where(np.abs(number) > _MILLISECONDS_FROM, number / 1000.0, number)
    moment = np.ma.filled(found["moment"].astype(np.float64), np.nan)
    zones = np.ma.filled(found["zone"], "").astype(str)
    local = np.isfinite(moment) & (zones == "")
    for offset in np.unique(zones[zones != ""]):
        moment[zones == offset] -= _offset_s(str(offset))
    if local.any() and timezone != "UTC":
        moment[local] = _to_utc(moment[local], timezone)
    t_s = np.where(np.isfinite(number), number, moment)
    bad = np.flatnonzero(~np.isfinite(t_s))
    if not len(bad):
        return t_s, []
    shown = tuple(str(said) for said in np.ma.filled(found["said"], "")[bad[:_SHOWN]])
    reason = "not a moment (rule: unix seconds or ISO 8601)"
    return t_s, [Rejected("series file", name, shown, reason, int(bad[0]) + _HEADER + 1, len(bad))]


def _offset_s(text: str) -> int:
    """Seconds of ``Z``, ``+02``, ``+0200`` or ``+02:00``."""
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -size if text[0] == "-" else size


def _to_utc(local: Floats, timezone: str) -> Floats:
    """Moments of a local clock in UTC; of an hour that comes twice, the first pass."""
    early = local - utc_offset_s(timezone, (local - 86_400).astype(np.int64))
    late = local - utc_offset_s(timezone, (local + 86_400).astype(np.int64))
    fits = early + utc_offset_s(timezone, early.astype(np.int64)) == local
    return np.asarray(np.where(fits, early, late))


def _numbers(base: duckdb.DuckDBPyConnection, source: str, name: str) -> tuple[Floats, list[Rejected]]:
    """A column as numbers, NaN where empty, and the cells that are neither."""
    column = _quoted(name)
    text = f"trim(coalesce(CAST({column} AS VARCHAR), ''))"
    asked = f"try_cast({column} AS DOUBLE) AS value, lower({text}) IN ('', 'nan', 'null', 'na') AS empty"
    found = base.execute(_select(asked, source)).fetchnumpy()
    value = np.ma.filled(found["value"].astype(np.float64), np.nan)
    bad = np.flatnonzero(np.isnan(value) & ~np.ma.filled(found["empty"], fill_value=True).astype(bool))
    if not len(bad):
        return value, []
    return value, [Rejected("series file", name, (), "not a number", int(bad[0]) + _HEADER + 1, len(bad))]


def _select(columns: str, source: str) -> str:
    """A query over the file: its path is a literal, its names are quoted."""
    return f"SELECT {columns} FROM {source}"  # noqa: S608 - see above


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _power(name: str) -> tuple[str, float]:
    """Name without its unit of power, and the factor to kW."""
    for ending, factor in _UNITS.items():
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], factor
    return name, 1.0
