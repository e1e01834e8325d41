"""Ticks of a ledger lived again: what was known before, then everything heard since, through the same code.

A checkpoint is what a loop knew before a tick that made a plan: a snapshot whose digest stands in the
chain. From there each recorded tick is lived as it was; resuming a life and replaying a day are this.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock import __version__
from gridflock.fleet import Fleet, Groups
from gridflock.model import Entry, Json, Orders, Outcomes, Readings, Verdict
from gridflock.ports import Record
from gridflock.record import RecordFull
from gridflock.runtime import _heard, _virtual_kept
from gridflock.runtime._alarms import FULL
from gridflock.runtime._heard import Heard
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.runtime._known import Known
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._settings import Settings
from gridflock.runtime._training import LessonsLost

CHECKPOINT = "checkpoint"
BEGUN = "change"
_ROLLING = "loop"
_HOUR_S = 3_600


class NotReplayable(Exception):  # noqa: N818 - bad input, told whole
    """The ledger does not hold all that the asked ticks were made from; ``seq`` is where that shows."""

    def __init__(self, message: str, seq: int = 0) -> None:
        super().__init__(message)
        self.seq = seq


class Keeper:
    """Keeps checkpoints: the newest one to resume from, and one of every hour to replay from.

    Args:
        record: ledger and snapshots.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._hour = -1

    def __call__(self, known: Known, now_s: int) -> None:
        """Keep what was known before the tick of ``now_s``; on a full disk the former ones stand."""
        data, hour = to_bytes(known), now_s // _HOUR_S
        name = _ROLLING if hour == self._hour else f"{_ROLLING}_{known.seq:09d}"
        head: dict[str, Json] = {"name": name, "seq": known.seq, "tick": known.tick}
        head |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        with contextlib.suppress(RecordFull):
            self._record.snapshot(name, data)
            self._record.append([Entry(CHECKPOINT, now_s, head)])
            self._hour = hour


def checkpoint(
    record: Record, *, by_tick: int | None = None, after_seq: int | None = None, but: Known | None = None
) -> Known | None:
    """The newest sound checkpoint.

    Args:
        record: ledger and snapshots.
        by_tick: only those from which the tick of this number is yet to come.
        after_seq: the oldest one after this entry instead.
        but: not this one.
    """
    kept = list(record.entries(after_seq or 0, {CHECKPOINT}))
    for entry in kept if after_seq is not None else reversed(kept):
        head: Mapping[str, Any] = entry.head
        if by_tick is not None and head["tick"] >= by_tick:
            continue
        if but is not None and (head["seq"], head["tick"]) == (but.seq, but.tick):
            continue
        data = record.snapshot(head["name"])
        if data is None or hashlib.sha256(data).hexdigest() != head["sha256"]:
            continue  # a newer one stands under its name
        with contextlib.suppress(KeptBroken):  # written by another version
            known = from_bytes(data)
            if isinstance(known, Known):
                return known
    return None


# ---- what a life is lived with -------------------------------------------------------------------


def begun(
    text: str,
    now_s: int,
    tick: int,
    settings: Settings,
    fleet: Fleet,
    document: Mapping[str, object],
    *,
    exact: bool,
) -> Entry:
    """What is to be known of a life that begins or goes on: settings, versions, whom rows mean.

    Args:
        text: in words.
        now_s: moment of its first tick.
        tick: number of the last tick before.
        settings: tempos and limits.
        fleet: whose rows entries speak of.
        document: the feeder's.
        exact: it goes on from where the last one stopped, bit by bit.
    """
    head: dict[str, Json] = {"text": text, "tick": tick, "exact": exact, "settings": said(settings)}
    head["versions"] = {
        "gridflock": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    head |= marks(fleet, document)
    return Entry(BEGUN, now_s, head, {"settings": np.frombuffer(to_bytes(settings), dtype=np.uint8)})


def versions_now() -> dict[str, Json]:
    """What numbers may depend on."""
    return {"gridflock": __version__, "numpy": np.__version__, "python": platform.python_version()}


def marks(fleet: Fleet, document: Mapping[str, object]) -> dict[str, Json]:
    """By which another fleet or feeder is told."""
    digest = hashlib.sha256("\n".join(fleet.ids).encode())
    for name, column in sorted(fleet.columns.items()):
        digest.update(name.encode() + np.ascontiguousarray(column).tobytes())
    feeder = json.dumps(document, sort_keys=True, default=str).encode()
    return {"fleet": digest.hexdigest(), "feeder": hashlib.sha256(feeder).hexdigest()}


def said(value: Any) -> Json:  # noqa: ANN401 - settings and what is in them
    """Settings as JSON for people; numbers without end as words."""
    if dataclasses.is_dataclass(value):
        return {item.name: said(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): said(item) for key, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [said(item) for item in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


# ---- living again --------------------------------------------------------------------------------


@dataclass(slots=True)
class Mirror:
    """A record that only listens."""

    entries_: list[Entry]
    source: Record | None = None
    """Where snapshots are read."""

    def append(self, entries: Sequence[Entry]) -> int:
        """Listen."""
        self.entries_ += entries
        return 0

    def entries(self, after: int = 0, kinds: Collection[str] | None = None) -> Iterator[Entry]:
        """Nothing is asked of it."""
        del after, kinds
        return iter(())

    def verify(self) -> Verdict:
        """Nothing is asked of it."""
        return Verdict(ok=True, entries=0, head="", broken_seq=0, reason="")

    def write_history(self, table: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """History is not lived again."""

    def history(self, table: str, start_s: int, end_s: int) -> dict[str, NDArray[Any]]:
        """Nothing is asked of it."""
        del table, start_s, end_s
        return {}

    def snapshot(self, name: str, data: bytes | None = None) -> bytes | None:
        """What stands in the source; what comes now is kept nowhere."""
        return self.source.snapshot(name) if data is None and self.source is not None else data

    def close(self) -> None:
        """Nothing is held."""


class Deaf:
    """A field that says nothing and takes no order to anybody."""

    def read(self, now_s: int) -> Readings:
        """Nothing is asked of it: what was heard is in the ledger."""
        raise NotImplementedError(now_s)

    def outcomes(self, now_s: int) -> Outcomes:
        """The same."""
        raise NotImplementedError(now_s)

    def send(self, orders: Orders) -> None:
        """It was sent then."""


@dataclass(frozen=True, slots=True, eq=False)
class Lived:
    """A tick lived again.

    Attributes:
        moment: what came of it.
        recorded: the ledger's entries since the tick before, this tick's last.
        entries: this tick's as they came now, with the recorded places.
        heard: what it was made from.
    """

    moment: Moment
    recorded: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    heard: Heard

    @property
    def written(self) -> tuple[Entry, ...]:
        """The recorded entries as they are with what came now in its place."""
        return (*self.recorded[: max(0, len(self.recorded) - len(self.entries))], *self.entries)


def retrace(
    entries: Iterable[Entry], loop: Loop, mirror: Mirror, groups_at: Callable[[int], Groups]
) -> Iterator[Lived]:
    """Live recorded ticks again, one at each step.

    Args:
        entries: of the ledger, after the last tick that the loop knows.
        loop: over a ``Deaf`` field; records into ``mirror``.
        mirror: where the loop records.
        groups_at: all groups as of a ledger position.

    Raises:
        NotReplayable: the next tick was made from something else than what the ledger holds.
    """
    window: list[Entry] = []
    heard: Entry | None = None
    for entry in entries:
        window.append(entry)
        if entry.kind == _heard.KIND:
            heard = entry
        elif entry.kind == BEGUN and "settings" in entry.columns:
            _go_on(entry, loop)
        elif entry.kind == "alarm" and entry.head.get("cause") == FULL and not loop.unrecorded:
            raise NotReplayable(f"entry {entry.seq}: {entry.head.get('text')}", entry.seq)
        elif entry.kind == "tick":
            if heard is None:
                text = f"entry {entry.seq}: the ledger does not say what tick {entry.head['tick']} heard"
                raise NotReplayable(text, entry.seq)
            yield _again(loop, mirror, groups_at, heard, tuple(window))
            window, heard = [], None


def _go_on(entry: Entry, loop: Loop) -> None:
    """Take up the settings that a life went on with."""
    if not entry.head["exact"]:
        raise NotReplayable(f"entry {entry.seq}: begun anew: {entry.head['text']}", entry.seq)
    settings = from_bytes(entry.columns["settings"].tobytes())
    if settings != loop.settings:
        loop.obey(settings)


def _again(
    loop: Loop, mirror: Mirror, groups_at: Callable[[int], Groups], told: Entry, window: tuple[Entry, ...]
) -> Lived:
    try:
        heard = _heard.from_entry(told, loop.system.fleet.ids, loop.wishes, loop.directed)
    except (ValueError, KeyError, TypeError, KeptBroken) as error:
        raise NotReplayable(f"entry {told.seq}: {error}", told.seq) from error
    if heard.groups_seq != loop.groups_seq:
        loop.regroup(groups_at(heard.groups_seq), heard.groups_seq)
    mirror.entries_.clear()
    try:
        moment = loop.live(heard)
    except LessonsLost as lost:
        raise NotReplayable(f"entry {told.seq}: {lost}", told.seq) from lost
    lived, first = mirror.entries_, window[-1].seq - len(mirror.entries_) + 1
    placed = [dataclasses.replace(entry, seq=first + k) for k, entry in enumerate(lived)]
    return Lived(moment, window, tuple(placed), heard)


def groups_as_of(record: Record, base: Groups) -> Callable[[int], Groups]:
    """All groups as of a ledger position, over the system's own."""

    def found(seq: int) -> Groups:
        kept = [entry for entry in record.entries(0, {_virtual_kept.KIND}) if entry.seq <= seq]
        if not kept:
            return base
        virtual, _ = _virtual_kept.rebuilt(base, kept, kept[-1].time_s)
        return virtual.groups

    return found


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries say the same, bit by bit."""
    if (one.kind, one.time_s, one.head) != (other.kind, other.time_s, other.head):
        return False
    if one.columns.keys() != other.columns.keys():
        return False
    return all(
        one.columns[name].dtype == other.columns[name].dtype
        and one.columns[name].tobytes() == other.columns[name].tobytes()
        for name in one.columns
    )
