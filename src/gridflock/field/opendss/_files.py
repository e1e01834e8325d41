"""Files a feeder may read: below one root, bounded, found as the other operating system wrote them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 64 * 2**20
"""Size of one file beyond which it is not read."""
MOST_BYTES_TOGETHER = 512 * 2**20
"""Size of all files beyond which no further one is read; one read twice counts twice."""
MOST_FILES = 50_000
_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\n|\r|\Z)")


class Refused(Exception):  # noqa: N818 becomes a `Rejected` value where it is caught
    """A file that is not read, with the reason."""


class Root:
    """The folder outside which nothing is read.

    Args:
        folder: the root; symbolic links in it are followed once, here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.files = 0
        self.bytes = 0

    def name(self, path: Path) -> str:
        """The path as messages show it."""
        return path.relative_to(self.folder).as_posix()

    def find(self, written: str, base: Path) -> Path:
        """The existing file that a name stands for.

        Args:
            written: the name in the file, with either kind of slash.
            base: folder it is relative to, inside the root.

        Returns:
            The resolved path.

        Raises:
            Refused: outside the root (also through a symbolic link), missing, not a plain file, or
                more than may be read, alone or with all that were found before it.
        """
        if not written or "\0" in written:
            raise Refused("no file name")
        path = Path(os.path.normpath(base / written.replace("\\", "/")))
        if not path.is_relative_to(self.folder):
            raise Refused(
                f"{written!r} lies outside {self.folder}; if it may be read, allow the folder that holds "
                "both with --root"
            )
        path = self._any_case(path).resolve()
        if not path.is_relative_to(self.folder):
            raise Refused(f"{written!r} leads outside {self.folder} by a symbolic link")
        if not path.is_file():
            raise Refused(f"missing file {written!r}")
        if path.stat().st_size > MOST_BYTES:
            raise Refused(f"{written!r} is larger than {MOST_BYTES // 2**20} MiB")
        self.files += 1
        self.bytes += path.stat().st_size
        if self.bytes > MOST_BYTES_TOGETHER or self.files > MOST_FILES:
            most = f"{MOST_FILES} files or {MOST_BYTES_TOGETHER // 2**20} MiB"
            raise Refused(f"{written!r}: more than {most} together: is a file read again and again?")
        return path

    def _any_case(self, path: Path) -> Path:
        """The path with each part as it is spelled on disk."""
        if path.exists():
            return path
        found = self.folder
        for part in path.relative_to(self.folder).parts:
            step = found / part
            if not step.exists() and found.is_dir():
                same = [p for p in found.iterdir() if p.name.casefold() == part.casefold()]
                step = min(same, default=step)
            found = step
        return found


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file in whatever encoding: UTF-8, else Windows Western."""
    raw = path.read_bytes()[:MOST_BYTES]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    for match in _LINE.finditer(text):
        yield match[1]
