"""The ledger: one SQLite file, appended by group commit, read in short pages.

A commit ends with an fsync (WAL, ``synchronous=FULL``). While one thread waits for its fsync,
others only queue; the next to get the pen writes everything queued in one transaction, so that
concurrent appends share an fsync. Readers hold no transaction longer than one page: a slow or
forgotten reader neither blocks the writer nor lets the write-ahead log grow.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gridflock.model import Verdict
from gridflock.record._chain import GENESIS, Sealed, link
from gridflock.record._disk import sync_folder
from gridflock.record._errors import (
    RecordBroken,
    RecordClosed,
    RecordError,
    RecordReadOnly,
    RecordTooNew,
    of_sqlite,
    of_system,
)

SCHEMA_VERSION = 1

_BUSY_S = 5.0
_PAGE_ROWS = 512
_PAGE_BYTES = 4 * 2**20
_IDLE_READERS = 8
_BEFORE_ALL = -(2**63)

_CREATE = (
    """
    CREATE TABLE meta (
        only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL, last_seq INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE ledger (
        seq INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, kind TEXT NOT NULL, head TEXT NOT NULL,
        hash BLOB NOT NULL, columns BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX ledger_kind ON ledger (kind, seq)",
)
_INSERT = "INSERT INTO ledger (seq, time_s, kind, head, hash, columns) VALUES (?, ?, ?, ?, ?, ?)"
# Texts are read as bytes: a flipped bit may leave them no valid UTF-8.
_SELECT = (
    "SELECT seq, time_s, CAST(kind AS BLOB), CAST(head AS BLOB), columns, hash "
    "FROM ledger WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
_SELECT_KIND = (
    "SELECT seq, time_s, CAST(kind AS BLOB), CAST(head AS BLOB), columns, hash "
    "FROM ledger WHERE kind = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored entry as it lies in the file.

    Attributes:
        seq: place.
        sealed: the entry's bytes.
        hash: stored hash.
    """

    seq: int
    sealed: Sealed
    hash: bytes


@dataclass(slots=True, eq=False)
class _Batch:
    """What one ``append`` hands to whoever holds the pen."""

    entries: list[Sealed]
    last_seq: int = 0
    error: Exception | None = None
    done: bool = False


class Ledger:
    """A chain of entries in a SQLite file. All methods may be called from any thread."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open the file, or create it.

        Raises:
            RecordTooNew: a later schema version.
            RecordError: missing (read-only), not a ledger, or refused by the file system.
        """
        self._path = path
        self._pen = threading.Lock()
        self._queue_lock = threading.Lock()
        self._queue: list[_Batch] = []
        self._readers_lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        if not read_only:
            self._writer = _open_writer(path)
        try:
            self._check_version()
            self._seq, self._hash = self._read_end()
        except BaseException:
            self.close()
            raise

    def append(self, entries: Sequence[Sealed]) -> int:
        """Chain and store, all or none; durable on return. Returns the last sequence number.

        Raises:
            RecordReadOnly: opened for reading.
            RecordFull: no space; nothing was stored.
            RecordError: anything else in the way; nothing was stored.
        """
        batch = _Batch(list(entries))
        with self._queue_lock:
            self._queue.append(batch)
        with self._pen:
            if not batch.done:
                with self._queue_lock:
                    batches, self._queue = self._queue, []
                self._commit(batches)
        if batch.error is not None:
            raise batch.error
        return batch.last_seq

    def rows(self, after: int, last: int, kind: str | None = None) -> Iterator[Row]:
        """Rows with ``after < seq <= last`` in order, a page at a time.

        Raises:
            RecordBroken: a page cannot be read, or rows do not ascend.
        """
        while page := self._page(after, last, kind):
            for values in page:
                row = _row(values)
                if row.seq <= after:
                    raise RecordBroken(f"{self._path}: entry {row.seq} stands behind entry {after}")
                after = row.seq
                yield row

    def last_seq(self) -> int:
        """Sequence number of the newest entry; 0 in an empty ledger."""
        return self._ends()[0]

    def verify(self) -> Verdict:
        """Walk the chain up to the entry that is newest now."""
        good, head, reason = 0, GENESIS, ""
        try:
            newest, counted = self._ends()
            for row in self.rows(_BEFORE_ALL, newest):
                reason = _fault(row, good + 1, head, counted)
                if reason:
                    break
                good, head = row.seq, row.hash
            if not reason and good < counted:
                reason = f"missing: the ledger counts {counted} entries, {good} are there"
        except RecordBroken as error:
            reason = f"unreadable: {error}"
        broken = good + 1 if reason else 0
        return Verdict(ok=not reason, entries=good, head=head.hex(), broken_seq=broken, reason=reason)

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        with self._pen, self._readers_lock:
            self._closed = True
            for connection in self._readers:
                connection.close()
            self._readers.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _commit(self, batches: list[_Batch]) -> None:
        """One transaction for all batches; on any failure none of them is stored."""
        try:
            self._write(batches)
        except BaseException as error:  # also a Ctrl-C: nobody may be left waiting for an answer
            self._give_up()
            for batch in batches:
                # A Ctrl-C may come after the commit: what is stored is not an error.
                if not 0 < batch.last_seq <= self._seq:
                    batch.error = self._answer(error)
            if not isinstance(error, Exception):
                raise
        finally:
            for batch in batches:
                batch.done = True

    def _answer(self, error: BaseException) -> Exception:
        """What one waiting caller is told about a failed transaction."""
        if isinstance(error, sqlite3.Error):
            return of_sqlite(error, self._path)
        return error if isinstance(error, Exception) else RecordError(f"{self._path}: interrupted")

    def _write(self, batches: list[_Batch]) -> None:
        if self._closed:
            raise RecordClosed(f"{self._path} is closed")
        if self._writer is None:
            raise RecordReadOnly(f"{self._path} was opened for reading only")
        seq, previous, rows = self._seq, self._hash, []
        for batch in batches:
            for sealed in batch.entries:
                seq += 1
                previous = link(previous, seq, sealed)
                texts = sealed.kind.decode(), sealed.head.decode()
                rows.append((seq, sealed.time_s, *texts, previous, sealed.columns))
            batch.last_seq = seq
        if rows:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany(_INSERT, rows)
            self._writer.execute("UPDATE meta SET last_seq = ?", (seq,))
            self._writer.execute("COMMIT")
            self._seq, self._hash = seq, previous

    def _give_up(self) -> None:
        """Back to the last durable entry, whatever the failed transaction got to."""
        with contextlib.suppress(sqlite3.Error, RecordError):
            if self._writer is not None:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                self._seq, self._hash = self._read_end()

    def _check_version(self) -> None:
        with self._reading() as connection:
            sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('meta', 'ledger')"
            if connection.execute(sql).fetchone() != (2,):
                raise RecordError(f"{self._path} is not a Gridflock ledger")
            (version,) = connection.execute("SELECT version FROM meta").fetchone() or (None,)
        if not isinstance(version, int) or version < SCHEMA_VERSION:
            raise RecordBroken(f"{self._path} has no readable schema version ({version!r})")
        if version > SCHEMA_VERSION:
            raise RecordTooNew(
                f"{self._path} has schema version {version}; this Gridflock reads up to {SCHEMA_VERSION}"
            )

    def _read_end(self) -> tuple[int, bytes]:
        """Sequence number and hash of the newest entry."""
        with self._reading() as connection:
            sql = "SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1"
            seq, digest = connection.execute(sql).fetchone() or (0, GENESIS)
        if not isinstance(digest, bytes):
            raise RecordBroken(f"{self._path}: the hash of entry {seq} is unreadable")
        return seq, digest

    def _ends(self) -> tuple[int, int]:
        """The newest entry's number as found and as counted, seen in the same moment."""
        with self._reading() as connection:
            sql = "SELECT (SELECT max(seq) FROM ledger), (SELECT last_seq FROM meta)"
            found, counted = connection.execute(sql).fetchone()
        return found or 0, counted if isinstance(counted, int) else -1

    def _page(self, after: int, last: int, kind: str | None) -> list[tuple[object, ...]]:
        """Up to ``_PAGE_ROWS`` rows and about ``_PAGE_BYTES`` bytes."""
        rows: list[tuple[object, ...]] = []
        size = 0
        try:
            with self._reading() as connection:
                bounds = (after, last, _PAGE_ROWS)
                cursor = (
                    connection.execute(_SELECT, bounds)
                    if kind is None
                    else connection.execute(_SELECT_KIND, (kind, *bounds))
                )
                with contextlib.closing(cursor):
                    for values in cursor:
                        rows.append(values)
                        size += len(values[4]) if isinstance(values[4], bytes) else 0
                        if size >= _PAGE_BYTES:
                            break
        except RecordBroken:
            if not rows:  # what was read before the damage is handed on; the next page meets it first
                raise
        return rows

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile."""
        with self._readers_lock:
            if self._closed:
                raise RecordClosed(f"{self._path} is closed")
            connection = self._readers.pop() if self._readers else None
        try:
            if connection is None:
                connection = _open_reader(self._path)
            yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise _told(error, self._path) from error
        finally:
            if connection is not None:
                self._put_back(connection)

    def _put_back(self, connection: sqlite3.Connection) -> None:
        with self._readers_lock:
            if self._closed or len(self._readers) >= _IDLE_READERS:
                connection.close()
            else:
                self._readers.append(connection)


def _open_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection, with the tables in place."""
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in _CREATE:
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES (1, ?, 0)", (SCHEMA_VERSION,))
        connection.execute("COMMIT")
        sync_folder(path.parent)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        if connection is not None:
            connection.close()
        raise _told(error, path) from error
    if mode != "wal":
        connection.close()
        raise RecordError(f"{path}: the file system cannot hold a write-ahead log (journal mode {mode})")
    return connection


def _told(error: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> RecordError:
    """What SQLite or the system said, in the record's own tree."""
    match error:
        case sqlite3.Error():
            return of_sqlite(error, path)
        case OSError():
            return of_system(error, path)
        case UnicodeDecodeError():  # a damaged name, or SQLite's complaint about it
            return RecordBroken(f"{path}: {error}")


def _open_reader(path: Path) -> sqlite3.Connection:
    """A reading connection; also on a file system that nobody can write."""
    if not path.is_file():
        raise RecordError(f"{path} does not exist: no ledger in this folder")
    # Reading a live ledger needs its shared-memory file beside it; where that cannot be made and no
    # log is waiting, nobody can be writing either.
    log = path.with_name(f"{path.name}-wal")
    still = not os.access(path.parent, os.W_OK) and not log.exists()
    uri = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _row(values: tuple[object, ...]) -> Row:
    """The row of these values.

    Raises:
        RecordBroken: a value of another type than was stored.
    """
    match values:
        case (int(seq), int(time_s), bytes(kind), bytes(head), bytes(columns), bytes(digest)):
            return Row(seq, Sealed(kind, time_s, head, columns), digest)
        case _:
            raise RecordBroken(f"entry {values[0]} has a value of the wrong type")


def _fault(row: Row, expected: int, previous: bytes, counted: int) -> str:
    """Why the row cannot be number ``expected`` of ``counted`` behind that hash; empty where it can."""
    if row.seq != expected:
        return f"missing: entry {row.seq} stands where {expected} should"
    if row.seq > counted:
        return f"added: the ledger counts {counted} entries"
    if link(previous, row.seq, row.sealed) != row.hash:
        return "hash mismatch: the entry or its hash was changed, or the entry before was replaced"
    return ""
