"""Files that are either wholly there or not at all, names that are safe as paths, one writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path

from gridflock.record._errors import RecordBusy, of_system

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def checked_name(name: str, what: str) -> str:
    """``name`` itself where it is lower-case letters, digits and ``_``, at most 63, no leading digit.

    Raises:
        ValueError: anything else; such a name never reaches a path or a query.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} name {name!r}: expected lower-case letters, digits and _, at most 63")
    return name


def make_folder(folder: Path) -> None:
    """Create the folder and its parents so that they outlive a power cut.

    Raises:
        RecordError: the file system refuses.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise of_system(error, folder) from error


def sync_folder(folder: Path) -> None:
    """Make renames and new names inside the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(temporary: Path, path: Path) -> None:
    """Make a finished temporary file durable under its final name, replacing what stood there.

    Raises:
        OSError: the file system refuses; the former file, if any, still stands.
    """
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file by ``data``: a reader, or a restart, sees the old or the new bytes only.

    Raises:
        RecordError: no space, or the file system refuses; the former file still stands.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        put_in_place(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise of_system(error, path) from error


class WriterLock:
    """Exclusive right to write a folder; the kernel takes it back from a killed process."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            RecordBusy: somebody else holds it.
            RecordReadOnly: the folder cannot be written.
        """
        path = folder / "writer.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise of_system(error, path) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise RecordBusy(
                f"{folder} is being written by another process ({holder or 'unknown'})"
            ) from error
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"pid {os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)
