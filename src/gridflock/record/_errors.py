# ruff: noqa: N818  # a leaf is named after what happened, as the caller's `except` line reads best
"""Everything the record can raise apart from ``ValueError`` for a caller's own bug.

::

    RecordError                 the record cannot do what was asked; nothing was half done
    ├── RecordBusy              another process writes this folder
    ├── RecordFull              no space is left; the same call works again once there is some
    ├── RecordReadOnly          opened for reading only, or the file system refuses writes
    ├── RecordTooNew            written by a later Gridflock
    ├── RecordBroken            stored bytes cannot be what was written
    └── RecordClosed            used after ``close``
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path


class RecordError(Exception):
    """The record cannot do what was asked; nothing was half done. See the tree above."""


class RecordBusy(RecordError):
    """Another process writes this folder."""


class RecordFull(RecordError):
    """No space is left on the disk. The chain is intact; the same call works once there is space."""


class RecordReadOnly(RecordError):
    """Opened for reading only, or the file system refuses writes."""


class RecordTooNew(RecordError):
    """The folder was written by a later Gridflock than this one."""


class RecordBroken(RecordError):
    """Stored bytes cannot be what was written: ``verify`` says where the chain breaks."""


class RecordClosed(RecordError):
    """The record was used after ``close``."""


_BY_SQLITE_CODE: dict[int, type[RecordError]] = {
    sqlite3.SQLITE_FULL: RecordFull,
    sqlite3.SQLITE_BUSY: RecordBusy,
    sqlite3.SQLITE_LOCKED: RecordBusy,
    sqlite3.SQLITE_READONLY: RecordReadOnly,
    sqlite3.SQLITE_PERM: RecordReadOnly,
    sqlite3.SQLITE_CORRUPT: RecordBroken,
    sqlite3.SQLITE_NOTADB: RecordBroken,
}
_BY_ERRNO: dict[int, type[RecordError]] = {
    errno.ENOSPC: RecordFull,
    errno.EDQUOT: RecordFull,
    errno.EROFS: RecordReadOnly,
    errno.EACCES: RecordReadOnly,
    errno.EPERM: RecordReadOnly,
}


def of_sqlite(error: sqlite3.Error, path: Path) -> RecordError:
    """The leaf of the tree that says what SQLite ran into, naming the file."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _BY_SQLITE_CODE.get(code, RecordError)(f"{path}: {error}")


def of_system(error: OSError, path: Path) -> RecordError:
    """The leaf of the tree that says what the operating system refused, naming the file."""
    return _BY_ERRNO.get(error.errno or 0, RecordError)(f"{path}: {error.strerror or error}")


def of_duckdb(error: Exception, path: Path, otherwise: type[RecordError]) -> RecordError:
    """The leaf of the tree that says what DuckDB ran into; ``otherwise`` where the system is not to blame.

    DuckDB carries no error number, only the operating system's own words.
    """
    said = str(error)
    for number, leaf in _BY_ERRNO.items():
        if os.strerror(number) in said:
            return leaf(f"{path}: {said}")
    return otherwise(f"{path}: {said}")
