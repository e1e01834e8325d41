"""Forecasts of the weather in files: one table, or a folder that somebody fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gridflock.field.series import SeriesColumns, Unreadable, read_series
from gridflock.field.weather._table import Judged
from gridflock.field.weather._words import ISSUED, VALID, in_our_words
from gridflock.model import Rejected, Weather

_ENDINGS = (".csv", ".csv.gz", ".parquet")
_MOST_FILES = 10_000
_TRIED = 3
"""So many of the newest files of a folder are looked at until one holds a forecast."""
_SOURCE = "weather file"

Told = tuple[Weather | None, tuple[Rejected, ...]]


class FileWeather:
    """The newest table of a file or a folder; a file is read again when it has changed.

    A table has a column of stamps (``valid_time``, ``time`` …), perhaps one that says when each row was
    issued (``issued`` …; beside ``valid_time`` it is ``time``), and a column a quantity. Without a column
    of issue a file was issued when it was written. Files being written are best renamed into the folder.

    Args:
        path: the file or folder.
        timezone: clock of stamps without offset.
    """

    def __init__(self, path: Path, timezone: str = "UTC") -> None:
        self._path, self._timezone = path, timezone
        self._read: dict[Path, tuple[tuple[int, int], SeriesColumns | Rejected]] = {}

    def newest(self, now_s: int) -> Told:
        """See ``ports.Weather``."""
        try:
            files = self._files()
        except OSError as error:
            return None, (_rejected("path", f"{type(error).__name__}: {error.strerror}"),)
        if not files:
            return None, (_rejected("path", f"no table there ({', '.join(_ENDINGS)})"),)
        self._read = {path: kept for path, kept in self._read.items() if path in files}
        found: list[tuple[int, Weather]] = []
        faults: list[Rejected] = []
        for path in files[:_TRIED]:
            weather, wrong = self._table(path, now_s)
            faults += wrong
            if weather is not None and weather.known_s is not None:
                found.append((int(weather.known_s[0]), weather))
        newest = max(found, key=lambda one: one[0], default=None)
        return (None if newest is None else newest[1]), tuple(faults)

    def _files(self) -> list[Path]:
        """Tables, the youngest first."""
        if self._path.is_file():
            return [self._path]
        paths = [p for p in self._path.iterdir() if p.name.endswith(_ENDINGS)][:_MOST_FILES]
        age = {path: path.stat().st_mtime_ns for path in paths}
        return sorted(paths, key=lambda path: (-age[path], path.name))

    def _table(self, path: Path, now_s: int) -> Told:
        try:
            written = path.stat()
        except OSError:
            return None, (_rejected("file", "gone", path.name),)
        mark = (written.st_mtime_ns, written.st_size)
        kept = self._read.get(path)
        if kept is None or kept[0] != mark:
            kept = self._read[path] = mark, self._columns(path)
        told = kept[1]
        if isinstance(told, Rejected):
            return None, (told,)
        return judged(_SOURCE, told, min(int(written.st_mtime), now_s), now_s)

    def _columns(self, path: Path) -> SeriesColumns | Rejected:
        try:
            return read_series(path, self._timezone, VALID, (*ISSUED, "time"))
        except Unreadable as error:
            return _rejected(error.rejected.field, error.rejected.reason, path.name)
        except OSError as error:
            return _rejected("file", f"{type(error).__name__}: {error.strerror}", path.name)


def judged(source: str, told: SeriesColumns, else_s: int, now_s: int) -> Told:
    """The forecast in a table.

    Args:
        source: what delivered it.
        told: stamps and columns as they came.
        else_s: when it was issued where it does not say so itself.
        now_s: the moment.
    """
    columns = dict(told.columns)
    issued = np.full(len(told.t_s), float(else_s))
    for name in (*ISSUED, "time"):
        column = columns.pop(name, None)
        issued = issued if column is None else column
    told_in = in_our_words(told.t_s, issued, columns)
    return Judged(source, told.rejected).table(told.t_s, told_in, issued, now_s)


def _rejected(field: str, reason: str, *names: str) -> Rejected:
    return Rejected(_SOURCE, field, names, reason)
