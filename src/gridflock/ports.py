"""What the core asks of the outside. Implementations live in field, record, sim and runtime.

Every port has one contract suite in ``tests/contract`` that runs over all implementations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from gridflock.model import Entry, Orders, Outcomes, Readings, Rejected, Verdict
from gridflock.model import Weather as Issued


class Clock(Protocol):
    """The time the system lives in: the wall's, or a virtual one."""

    def now_s(self) -> int:
        """Unix seconds, never going backwards."""
        ...

    def sleep_until(self, t_s: int) -> None:
        """Return once ``now_s() >= t_s``; a virtual clock jumps or paces itself."""
        ...


class Field(Protocol):
    """A way to speak with devices. Never blocks longer than its own time-out."""

    def read(self, now_s: int) -> Readings:
        """Everything that has arrived since the last call; late and repeated values included."""
        ...

    def send(self, orders: Orders) -> None:
        """Hand orders over. Idempotent by ``order_id``: a repeated one changes nothing."""
        ...

    def outcomes(self, now_s: int) -> Outcomes:
        """Answers that have arrived since the last call."""
        ...


class Weather(Protocol):
    """Where forecasts of the weather come from, for one place. Never blocks longer than its own time-out."""

    def newest(self, now_s: int) -> tuple[Issued | None, tuple[Rejected, ...]]:
        """The newest forecast that is to be had, and what was wrong with what was delivered.

        A table that is late, broken, empty or of no use is named and left out; nothing is raised. The
        same table may come again and again: ``known_s`` of its steps says when it was issued.

        Returns:
            Columns over uniform steps, of kind ``issued``, at least one step of which is yet to come, and
            none issued after ``now_s``; None where there is none.
        """
        ...


class Record(Protocol):
    """What the system remembers. Seven verbs."""

    def append(self, entries: Sequence[Entry]) -> int:
        """Chain and store; when this returns, a killed process or machine keeps them.

        Returns:
            The sequence number of the last one.
        """
        ...

    def entries(self, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        """Entries with ``seq > after`` in order, optionally of some kinds only."""
        ...

    def verify(self) -> Verdict:
        """Walk the whole chain and name the first broken entry."""
        ...

    def write_history(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to a table of history; column ``t_s`` is the time. Buffered, not durable at once."""
        ...

    def history(self, table: str, start_s: int, end_s: int) -> dict[str, NDArray[Any]]:
        """Rows with ``start_s <= t_s < end_s`` in time order, buffered ones included."""
        ...

    def snapshot(self, name: str, data: bytes | None = None) -> bytes | None:
        """Store (atomically) and return ``data``; without data return what is stored, or None."""
        ...

    def close(self) -> None:
        """Flush history and release files."""
        ...
