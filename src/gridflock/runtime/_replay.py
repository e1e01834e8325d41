"""A day of a data folder lived again: with the same policy to the same bytes, beside another to compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from threadpoolctl import threadpool_limits

from gridflock.model import Entry, Json
from gridflock.record import SqliteRecord, chained, open_record
from gridflock.runtime._book import Book
from gridflock.runtime._difference import DifferenceView
from gridflock.runtime._import import scenario_of
from gridflock.runtime._known import Known
from gridflock.runtime._loop import Loop
from gridflock.runtime._open import again, system_of
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._retrace import (
    BEGUN,
    Lived,
    NotReplayable,
    checkpoint,
    groups_as_of,
    marks,
    retrace,
    same,
    versions_now,
)
from gridflock.runtime._shadow import Shadow
from gridflock.runtime._system import System
from gridflock.runtime._training import LessonsLost
from gridflock.runtime._views import Fault
from gridflock.sim import World, feeder_document
from gridflock.units import iso, unix_s

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class ReplayView:
    """Ticks lived again.

    Attributes:
        feeder: whose.
        start: first moment of the span.
        end: last one.
        ticks: lived in the span.
        led_in: lived before it, from the checkpoint on.
        orders: in the span.
        identical: every order, plan, alarm and reading is what the ledger has, to the bit.
        differs: the first that is not, in words; empty where all are.
        hash: of the last entry, chained from what came now, hex.
        ledger_hash: the stored one.
        gaps: times that cannot be lived again, and why.
        versions: with which the life was lived, where they are others than these.
        difference: what another policy would have done; None where none was asked for.
        cpu_s: processor time.
    """

    feeder: str
    start: str
    end: str
    ticks: int
    led_in: int
    orders: int
    identical: bool
    differs: str
    hash: str
    ledger_hash: str
    gaps: list[str]
    versions: dict[str, Json]
    difference: DifferenceView | None
    cpu_s: float


def replay(
    folder: Path,
    *,
    start: str = "",
    end: str = "",
    changes: Mapping[str, Json] | None = None,
    progress: Progress = lambda _: None,
) -> ReplayView:
    """Live a span of a data folder again, whether or not somebody lives in it.

    Args:
        folder: with a ledger.
        start: first moment: ISO 8601, or ``HH:MM`` in the feeder's own time; the first tick where empty.
        end: moment before which it ends; after the last tick where empty.
        changes: settings of another policy that decides beside it; None = none.
        progress: told the share that is done.

    Raises:
        RequestRejected: moments or settings that mean nothing.
        NotReplayable: the ledger has no tick there, or nothing that it could start from.
        RecordError: no ledger there, or a broken one.
    """
    threadpool_limits(1)
    record = open_record(folder, read_only=True)
    try:
        return _Replay(folder, record, changes).run(start, end, progress)
    finally:
        record.close()


class _Replay:
    """One replay of one folder."""

    def __init__(self, folder: Path, record: SqliteRecord, changes: Mapping[str, Json] | None) -> None:
        scenario = scenario_of(folder)
        if scenario is None:
            raise NotReplayable(f"{folder} is no folder that a system has lived in")
        self._record, self._changes = record, changes
        self._scenario = scenario
        self._document = feeder_document(scenario.feeder)
        self._zone = ZoneInfo(str(self._document["timezone"]))
        self._base: System | None = None
        self._shadow: Shadow | None = None
        self._gaps: list[str] = []
        self._differs = ""
        self._head = self._stored = b""

    def run(self, start: str, end: str, progress: Progress) -> ReplayView:
        """See ``replay``."""
        begun_s = time.process_time()
        ticks = [(entry.time_s, entry) for entry in self._record.entries(0, {"tick"})]
        if not ticks:
            raise NotReplayable("the ledger has no tick")
        from_s = self._moment("from", start, ticks[0][0], ticks[0][0])
        to_s = self._moment("to", end, ticks[-1][0] + 1, ticks[0][0])
        wanted = [entry for t_s, entry in ticks if from_s <= t_s < to_s]
        if not wanted:
            raise NotReplayable(f"the ledger has no tick from {iso(from_s)} until {iso(to_s)}")
        first, last = wanted[0], wanted[-1]
        led_in = lived = orders = 0
        for tick in self._lived(first, last):
            inside = tick.moment.now_s >= first.time_s
            lived, led_in = lived + inside, led_in + (not inside)
            if inside and tick.moment.decision is not None:
                orders += len(tick.moment.decision.orders.index)
            progress((led_in + lived) / max(led_in + len(wanted), 1))
        return ReplayView(
            feeder=self._scenario.feeder,
            start=iso(first.time_s),
            end=iso(last.time_s),
            ticks=lived,
            led_in=led_in,
            orders=orders,
            identical=not self._differs and not self._gaps and self._head == self._stored,
            differs=self._differs,
            hash=self._head.hex(),
            ledger_hash=self._stored.hex(),
            gaps=self._gaps,
            versions=self._versions(first),
            difference=None if self._shadow is None else self._shadow.view(),
            cpu_s=round(time.process_time() - begun_s, 2),
        )

    def _lived(self, first: Entry, last: Entry) -> Iterator[Lived]:
        """Ticks from the nearest checkpoint to the last wanted one."""
        known = checkpoint(self._record, by_tick=int(first.head["tick"]))  # type: ignore[arg-type]  # ours
        while True:
            if known is None:
                raise NotReplayable(f"no checkpoint from which {iso(first.time_s)} can be lived again")
            try:
                yield from self._from(known, first, last)
            except NotReplayable as gap:
                self._gaps.append(str(gap))
                known = checkpoint(self._record, after_seq=gap.seq, but=known)
                if known is None or known.seq >= last.seq:
                    return
            else:
                return

    def _from(self, known: Known, first: Entry, last: Entry) -> Iterator[Lived]:
        """Ticks of one stretch without a gap."""
        record, base = self._record, self._fleet_of(known)
        try:
            loop, mirror = again(base, known, Book(), record)
        except LessonsLost as lost:
            raise NotReplayable(str(lost), known.seq) from lost
        groups_at = groups_as_of(record, base.groups)
        if known.groups_seq:
            loop.regroup(groups_at(known.groups_seq), known.groups_seq)
        self._head = record.hash_of(known.seq)
        entries = (entry for entry in record.entries(known.seq) if entry.seq <= last.seq)
        self._compare_from(first, loop, known.tick)
        for lived in retrace(entries, loop, mirror, groups_at):
            self._chain(lived)
            yield lived
            self._compare_from(first, loop, lived.moment.tick)
        self._stored = record.hash_of(last.seq)

    def _compare_from(self, first: Entry, loop: Loop, tick: int) -> None:
        """Set the other policy beside the loop once tick ``tick`` is lived and the next is of the span."""
        if self._changes is None or loop.beside is not None or tick + 1 < int(str(first.head["tick"])):
            return
        if self._shadow is None:
            self._shadow = Shadow(self._changes, loop)
        else:
            self._shadow.follow(loop)
        loop.beside = self._shadow.look

    def _chain(self, lived: Lived) -> None:
        """Chain what came now, and name the first entry that is another."""
        for was, entry in zip(lived.recorded, lived.written, strict=False):
            self._head = chained(self._head, entry)
            if not self._differs and not same(was, entry):
                self._differs = _difference(was, entry)
        if self._shadow is not None and self._shadow.failed:
            raise RuntimeError(f"the other policy failed: {self._shadow.failed}")

    def _fleet_of(self, known: Known) -> System:
        """The system as it was; its fleet is filled anew for each stretch."""
        lives = [e for e in self._record.entries(0, {BEGUN}) if "fleet" in e.head and e.seq <= known.seq]
        at = lives[-1] if lives else None
        world = World(self._scenario)
        base = system_of(self._record, self._document, world, None, known.now_s or world.start_s)
        if at is None or not marks(base.fleet, self._document).items() <= at.head.items():
            raise NotReplayable("the registry or the feeder is another than the one of that time", known.seq)
        return base

    def _moment(self, field: str, text: str, default_s: int, day_s: int) -> int:
        """What a user's moment means."""
        if not text:
            return default_s
        try:
            if len(text) <= _CLOCK:
                hour, minute = map(int, text.split(":"))
                local = datetime.fromtimestamp(day_s, self._zone)
                return int(local.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp())
            return unix_s(text)
        except (ValueError, OverflowError) as error:
            fault = Fault(field, "a moment in ISO 8601, or HH:MM of the feeder's day", f"{text!r} is not")
            raise RequestRejected((fault,)) from error

    def _versions(self, first: Entry) -> dict[str, Any]:
        """Versions of then that are not those of now."""
        now, found = versions_now(), {}
        for entry in self._record.entries(0, {BEGUN}):
            if entry.seq < first.seq and isinstance(entry.head.get("versions"), Mapping):
                told: Any = entry.head["versions"]
                found = {name: text for name, text in told.items() if text != now.get(name)}
        return found


_CLOCK = len("HH:MM")


def _difference(was: Entry, entry: Entry) -> str:
    """Where two entries part, in words."""
    if was.kind != entry.kind:
        return f"entry {was.seq}: {entry.kind} in place of {was.kind}"
    parts = [
        name for name in was.head.keys() | entry.head.keys() if was.head.get(name) != entry.head.get(name)
    ]
    for name in was.columns.keys() | entry.columns.keys():
        one, other = was.columns.get(name), entry.columns.get(name)
        if one is None or other is None or one.tobytes() != other.tobytes():
            parts.append(name)
    return f"entry {was.seq} ({was.kind} of {iso(was.time_s)}): {', '.join(sorted(parts))}"
