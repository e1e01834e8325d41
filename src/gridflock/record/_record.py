"""The record of one folder: ledger, history and snapshots behind one port."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gridflock.model import Entry, Verdict
from gridflock.record._chain import GENESIS, seal, unseal
from gridflock.record._disk import WriterLock, checked_name, make_folder, write_whole
from gridflock.record._errors import RecordClosed, RecordReadOnly, of_system
from gridflock.record._history import History
from gridflock.record._ledger import Ledger


def open_record(folder: Path, *, read_only: bool = False, flush_rows: int = 200_000) -> SqliteRecord:
    """Open the record of a folder, creating it unless ``read_only``.

    Args:
        folder: holds ``ledger.sqlite``, ``history/``, ``snapshots/`` and ``writer.lock``.
        read_only: look only; works beside a writer in another process (its buffered history is
            not visible) and on a file system that cannot be written.
        flush_rows: rows of a history table that are buffered before a part is written.

    Raises:
        RecordBusy: another process (or an earlier call) writes this folder.
        RecordTooNew: the folder was written by a later Gridflock.
        RecordError: nothing there to read, not a ledger, or refused by the file system.
    """
    return SqliteRecord(Path(folder), read_only=read_only, flush_rows=flush_rows)


class SqliteRecord:
    """``ports.Record`` on SQLite and Parquet. All methods may be called from any thread."""

    def __init__(self, folder: Path, *, read_only: bool, flush_rows: int) -> None:
        """See ``open_record``."""
        self._lock = None
        if not read_only:
            make_folder(folder)
            self._lock = WriterLock(folder)
        self._folder = folder
        self._closed = False
        self._snapshot_lock = threading.Lock()
        self._history = History(folder / "history", read_only=read_only, flush_rows=flush_rows)
        try:
            self._ledger = Ledger(folder / "ledger.sqlite", read_only=read_only)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def append(self, entries: Sequence[Entry]) -> int:
        """Chain and store all entries or none; durable when this returns.

        Returns:
            The sequence number of the last one; of the newest entry where none were given.

        Raises:
            ValueError: an entry's head is not strict JSON (no NaN, no infinity) or its columns
                are of a dtype that is not storable; a caller's bug, nothing was stored.
            RecordFull: no space; nothing was stored, and the same call works once there is space.
            RecordError: see the tree in ``gridflock.record``; nothing was stored.
        """
        return self._ledger.append([seal(entry) for entry in entries])

    def entries(self, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        """Entries with ``seq > after`` in order, up to the one that is newest at this call.

        Memory is bounded by a page of about 4 MiB (per kind), however long the ledger is.

        Raises:
            RecordBroken: while iterating: an entry is unreadable. Hashes are ``verify``'s business.
        """
        last = self._ledger.last_seq()
        streams = [None] if kinds is None else sorted(set(kinds))
        rows = (self._ledger.rows(after, last, kind) for kind in streams)
        merged = heapq.merge(*rows, key=lambda row: row.seq)
        return (unseal(row.seq, row.sealed) for row in merged)

    def verify(self) -> Verdict:
        """Walk the whole chain and name the first broken entry: changed, missing or unreadable.

        Entries appended meanwhile are not walked. Whoever rewrites the whole file can make a new
        chain: compare ``Verdict.head`` with one that was kept elsewhere.
        """
        return self._ledger.verify()

    def write_history(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to a table of history. Buffered: durable once a part is full, or on ``close``.

        Args:
            table: lower-case letters, digits and ``_``.
            columns: 1-D arrays of equal length, named likewise: numbers, truth values or NumPy
                texts; ``t_s`` is the time in unix seconds. They are copied.

        Raises:
            ValueError: names, shapes, dtypes or times that no table can hold.
            RecordFull: no space for a part; the rows stay buffered, see ``docs/record.md``.
            RecordError: see the tree in ``gridflock.record``.
        """
        self._history.write(table, columns)

    def history(self, table: str, start_s: int, end_s: int) -> dict[str, NDArray[Any]]:
        """Rows with ``start_s <= t_s < end_s`` in time order, buffered ones included.

        Rows of the same moment stand in the order they were written, unless ``compact`` sorted
        them by a key. An unknown table is ``{}``. Absence is NaN, -1 or ``""``.

        Raises:
            ValueError: not a table name.
            RecordError: a part cannot be read.
        """
        return self._history.read(table, start_s, end_s)

    def compact(self, table: str, day: str, key: str | None = None) -> int:
        """Merge the history parts of a UTC day (``YYYY-MM-DD``) into one sorted part.

        Args:
            table: table of history.
            day: which day.
            key: column to sort by before time, such as the row of the device.

        Returns:
            How many parts became one; 0 where there were not two.

        Raises:
            ValueError: not a table, day or column name.
            RecordError: the merged part cannot be written; the parts stand as before.
        """
        return self._history.compact(table, day, key)

    def hash_of(self, seq: int) -> bytes:
        """Stored hash (32 bytes) of an entry; what stands before the first one for 0.

        Raises:
            KeyError: no such entry.
            RecordError: see the tree in ``gridflock.record``.
        """
        if seq == 0:
            return GENESIS
        for row in self._ledger.rows(seq - 1, seq):
            return row.hash
        raise KeyError(seq)

    def snapshot(self, name: str, data: bytes | None = None) -> bytes | None:
        """Store ``data`` atomically and return it; without data return what is stored, or None.

        Raises:
            ValueError: not a name.
            RecordFull: no space; the former snapshot still stands.
            RecordError: see the tree in ``gridflock.record``.
        """
        path = self._folder / "snapshots" / f"{checked_name(name, 'snapshot')}.bin"
        with self._snapshot_lock:
            if self._closed:
                raise RecordClosed(f"{self._folder} is closed")
            if data is not None:
                if self._lock is None:
                    raise RecordReadOnly(f"{self._folder} was opened for reading only")
                make_folder(path.parent)
                write_whole(path, data)
                return data
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise of_system(error, path) from error

    def close(self) -> None:
        """Flush history and release the folder; a second call does nothing.

        Raises:
            RecordError: buffered history could not be written and is lost. All else is released.
        """
        with self._snapshot_lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._history.close()
        finally:
            self._ledger.close()
            if self._lock is not None:
                self._lock.release()
