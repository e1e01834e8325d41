"""An answer of a service taken apart: JSON by paths, or a table of lines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gridflock.field.series import SeriesColumns, Unreadable, read_series
from gridflock.field.weather._table import Floats
from gridflock.field.weather._words import ISSUED, VALID
from gridflock.model import Rejected

_MILLISECONDS_FROM = 1e11
_MOST_ROWS = 100_000
_MOST_COLUMNS = 200


class Useless(Exception):  # noqa: N818 - bad input, told whole
    """An answer that holds no table, in words that name the place."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def from_csv(body: bytes, timezone: str) -> SeriesColumns:
    """A table of lines.

    Raises:
        Useless: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        path = Path(folder) / "answer.csv"
        path.write_bytes(body)
        try:
            return read_series(path, timezone, VALID, (*ISSUED, "time"))
        except Unreadable as error:
            raise Useless(error.rejected.field, error.rejected.reason) from error


def from_json(
    body: bytes, rows: str, stamps: str, columns: Mapping[str, str], issued: str, timezone: str
) -> SeriesColumns:
    """Columns of a JSON document: arrays beside each other, or one object a row.

    Args:
        body: as it came.
        rows: path of the list of rows; empty: every column is an array.
        stamps: path of the stamps, from each row on where there are rows.
        columns: paths by our names; empty: all numbers that stand beside the stamps, by their own.
        issued: path of the moment of issue, from the top on; empty: it is not told.
        timezone: clock of stamps without offset.

    Raises:
        Useless: no JSON, or nothing at a path.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Useless("body", f"no JSON: {type(error).__name__}") from error
    table = _of_rows(_at(document, rows), stamps, columns) if rows else _of_arrays(document, stamps, columns)
    told = table.pop("")
    faults: list[Rejected] = []
    zone = ZoneInfo(timezone)
    t_s = np.array([_moment(value, zone) for value in told], dtype=np.float64)
    found: dict[str, Floats] = {}
    for name, values in table.items():
        if len(values) != len(told):
            raise Useless(name, f"{len(values)} values beside {len(told)} stamps")
        found[name] = np.array([_number(value) for value in values], dtype=np.float64)
        strange = sum(value is not None and not isinstance(value, int | float) for value in values)
        if strange:
            faults.append(Rejected("weather service", name, (), "not a number", count=strange))
    if issued:
        found["issued"] = np.full(len(t_s), _moment(_at(document, issued), zone))
    return SeriesColumns(t_s, found, tuple(faults))


def _at(document: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """What stands at a path of names and numbers with dots."""
    at = document
    for name in path.split("."):
        if isinstance(at, Mapping) and name in at:
            at = at[name]
        elif isinstance(at, list) and name.isdigit() and int(name) < len(at):
            at = at[int(name)]
        else:
            raise Useless(path, f"nothing at {name!r}")
    return at


def _list(value: Any, path: str) -> list[Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, list) or len(value) > _MOST_ROWS:
        raise Useless(path, f"no list of at most {_MOST_ROWS}")
    return value


def _of_arrays(document: Any, stamps: str, columns: Mapping[str, str]) -> dict[str, list[Any]]:  # noqa: ANN401 - JSON
    """Arrays by our names, the stamps under an empty one."""
    found = {"": _list(_at(document, stamps), stamps)}
    if columns:
        return found | {ours: _list(_at(document, path), path) for ours, path in columns.items()}
    above, _, own = stamps.rpartition(".")
    beside = _at(document, above) if above else document
    if not isinstance(beside, Mapping):
        raise Useless(above, "no object")
    many = {name: value for name, value in beside.items() if name != own and isinstance(value, list)}
    if len(many) > _MOST_COLUMNS:
        raise Useless(above, f"{len(many)} columns (rule: at most {_MOST_COLUMNS})")
    return found | {str(name): _list(value, str(name)) for name, value in many.items()}


def _of_rows(rows: Any, stamps: str, columns: Mapping[str, str]) -> dict[str, list[Any]]:  # noqa: ANN401 - JSON
    """The same of one object a row; a row without a value has none."""
    many = _list(rows, "rows")
    names = dict(columns)
    if not names and many and isinstance(many[0], Mapping):
        names = {str(name): str(name) for name in list(many[0])[:_MOST_COLUMNS] if name != stamps}
    found: dict[str, list[Any]] = {"": [_or_none(row, stamps) for row in many]}
    return found | {ours: [_or_none(row, path) for row in many] for ours, path in names.items()}


def _or_none(row: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return _at(row, path)
    except Useless:
        return None


def _number(value: Any) -> float:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _moment(value: Any, zone: ZoneInfo) -> float:  # noqa: ANN401 - JSON
    """Unix seconds of a number or an ISO text; NaN for what is neither."""
    if isinstance(value, str):
        try:
            told = datetime.fromisoformat(value)
            return (told if told.tzinfo else told.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError):
            return np.nan
    number = _number(value)
    return number / 1000.0 if abs(number) > _MILLISECONDS_FROM else number
