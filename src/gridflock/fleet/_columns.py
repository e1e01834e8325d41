"""The state of all resources as columns: readings go in, a frozen image comes out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._ingest import FLOATS, FUTURE_S, REPEATED, TRUST_BITS, Hot, Verdict, counted, take_in
from gridflock.fleet._quality import STANDING, ReadingQuality, reading_quality
from gridflock.fleet.registry import Registry, merge, read_registry
from gridflock.model import Readings, Rejected
from gridflock.schema import QUANTITY, TELEMETRY, Family
from gridflock.units import NEVER_S, Codes, Kvar, Kw, Kwh, Mask, Pu, Rows, Seconds

_SHOWN = 20
# What is remembered of vocabularies: so many, and so many ids in all besides twice the fleet's own.
_VOCABULARIES, _VOCABULARY_IDS, _VOCABULARY_SHARE = 16, 100_000, 2
_REASONS = {
    Verdict.LATE: ("time_s", "late or repeated: a newer value, or this one, is already known"),
    Verdict.STRANGER: ("id", "unknown resource"),
    Verdict.NO_QUANTITY: ("quantity", "unknown quantity"),
    Verdict.BEFORE_1970: ("time_s", "before 1970"),
    Verdict.AHEAD: ("time_s", f"more than {FUTURE_S} s ahead of our clock"),
    Verdict.NOT_FINITE: ("value", "not a finite number"),
}
_GIB = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A frozen snapshot of the fleet that all stages read; every array is read-only, n rows.

    Attributes:
        ids: outside identity of each row.
        columns: registry columns by name.
        kind: uint8 ``schema.Kind``.
        family: uint8 ``schema.Family``, never falling along the rows.
        now_s: moment of the snapshot, unix seconds.
        heard_s: int64, moment of the newest reading of a row; -1 where nothing was heard.
        p_kw: active power, injection positive; NaN where unknown, as all float columns.
        q_kvar: reactive power.
        v_pu: voltage magnitude.
        p_avail_kw: what the device would do unasked.
        e_kwh: stored energy.
        e_target_kwh: energy wanted at departure.
        depart_s: int64 departure, -1 where unknown.
        ready: uint8, 1 where the device takes orders.
        locked_s: seconds until it may switch again.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    kind: Codes
    family: Codes
    now_s: int
    heard_s: Seconds
    p_kw: Kw
    q_kvar: Kvar
    v_pu: Pu
    p_avail_kw: Kw
    e_kwh: Kwh
    e_target_kwh: Kwh
    depart_s: Seconds
    ready: Codes
    locked_s: NDArray[np.floating[Any]]

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.ids)

    def rows_of(self, family: Family) -> slice:
        """The rows of a family: one slice, because rows are sorted by kind."""
        first, last = np.searchsorted(self.family, [family, family + 1])
        return slice(int(first), int(last))

    def silent(self, stale_s: int) -> Mask:
        """Rows never heard, or not for ``stale_s`` seconds more than the ``reach_s`` they may take."""
        aged = self.now_s - self.heard_s > stale_s + self.columns["reach_s"]
        quiet: Mask = (self.heard_s == NEVER_S) | aged
        return quiet


class Fleet:
    """All resources: the registry's columns and the newest reading of each quantity.

    Attributes:
        registry: nameplates and settings, as they were read.
        ids: outside identity of each row.
        row_of: row of each identity.
        columns: registry columns by name, each (n,); texts are int32 codes into ``labels``.
        labels: vocabularies of the coded columns.
        family: uint8 (n,) ``schema.Family``.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.ids = registry.ids
        self.row_of = {name: row for row, name in enumerate(registry.ids)}
        self.columns = registry.columns
        self.labels = registry.labels
        self.family = registry.family
        self._hot = Hot.empty(len(registry.ids))
        self._frozen: dict[str, NDArray[Any]] = {}
        self._own = np.arange(len(registry.ids), dtype=np.int32)
        self._vocabularies: dict[int, tuple[tuple[str, ...], Rows]] = {}

    @classmethod
    def from_rows(
        cls, rows: Iterable[Mapping[str, object]], places: Mapping[str, int], first_row: int = 1
    ) -> tuple[Self, tuple[Rejected, ...]]:
        """A fleet of the rows without a fault, and every fault by name.

        Args:
            rows: one mapping per resource, by ``schema.REGISTRY`` name; texts (from CSV) or numbers.
            places: mask of the phases present at each bus.
            first_row: number the reports give to the first row: 2 for a CSV file with a header.
        """
        registry, rejected = read_registry(rows, places, first_row)
        return cls(registry), rejected

    def upsert(
        self, rows: Iterable[Mapping[str, object]], places: Mapping[str, int], first_row: int = 1
    ) -> tuple[Fleet, int, tuple[Rejected, ...]]:
        """A fleet in which these rows are added, or replace those of the same id as a whole.

        Readings are carried over; the rows' numbers may change, so that groups have to be built
        anew. The same rows twice change nothing.

        Args:
            rows: as of ``from_rows``.
            places: mask of the phases present at each bus.
            first_row: number the reports give to the first row.

        Returns:
            The new fleet (this one where nothing changed), how many rows changed, and the faults.
        """
        news, rejected = read_registry(rows, places, first_row)
        done = merge(self.registry, news)
        return self.with_registry(done.registry, done.before), done.count, rejected

    def with_registry(self, registry: Registry, before: Rows | None = None) -> Fleet:
        """A fleet of another version of the registry, into which the readings are carried over.

        Args:
            registry: the other version; the one this fleet has gives this fleet.
            before: (n,) row here of each row there, -1 where it is new; None = found by id.
        """
        if registry is self.registry:
            return self
        fleet = Fleet(registry)
        fleet._hot = self._hot.carried(self._rows_of(registry.ids) if before is None else before)
        return fleet

    def ingest(self, readings: Readings, now_s: int) -> tuple[Rejected, ...]:
        """Take in a batch; what cannot be true or is not news is counted, never raised.

        A cell keeps the newest reading; of two readings of one moment the better quality, then the
        larger value stands. So the result depends neither on the order of batches nor on how often
        one arrives.

        Args:
            readings: house sign and units.
            now_s: our clock, unix seconds.
        """
        batch = (readings.index, readings.quantity, readings.value, readings.time_s, readings.quality)
        verdict, changed = take_in(self._hot, self._vocabulary(readings.ids), batch, now_s)
        if changed.any():
            self._frozen.pop("heard_s", None)
        for code in np.flatnonzero(changed):
            self._frozen.pop(TELEMETRY[code].name, None)
        found = counted(verdict)
        rejected = [_count(readings, at, *_REASONS[why]) for why, at in found.items() if why in _REASONS]
        if Verdict.OUT_OF_RANGE in found:
            rejected += _out_of_range(readings, found[Verdict.OUT_OF_RANGE])
        return tuple(rejected)

    def _vocabulary(self, ids: tuple[str, ...]) -> Rows:
        """Row of each identity, -1 where unknown; found once for each vocabulary, known by identity."""
        if ids is self.ids:
            return self._own
        known = self._vocabularies.get(id(ids))
        if known is not None and known[0] is ids:
            return known[1]
        rows = self._rows_of(ids)
        room = _VOCABULARY_IDS + _VOCABULARY_SHARE * len(self.ids) - len(ids)
        while self._vocabularies and (
            len(self._vocabularies) >= _VOCABULARIES
            or sum(len(held) for held, _ in self._vocabularies.values()) > room
        ):
            self._vocabularies.pop(next(iter(self._vocabularies)))
        self._vocabularies[id(ids)] = (ids, rows)
        return rows

    def _rows_of(self, ids: tuple[str, ...]) -> Rows:
        """Row of each identity, -1 where unknown."""
        return np.fromiter(map(self.row_of.get, ids, repeat(-1)), np.int32, len(ids))

    def image(self, now_s: int) -> Image:
        """A frozen snapshot; later readings never show in it.

        Each column that readings changed since the last image is copied; the others are shared with it.
        """
        for at, name in enumerate(FLOATS):
            self._freeze(name, self._hot.cells[at])
        for name in ("depart_s", "ready", "heard_s"):
            self._freeze(name, getattr(self._hot, name))
        return Image(
            ids=self.ids,
            columns=self.columns,
            kind=self.columns["kind"],
            family=self.family,
            now_s=now_s,
            **self._frozen,
        )

    def _freeze(self, name: str, column: NDArray[Any]) -> None:
        if name not in self._frozen:
            copy = column.copy()
            copy.flags.writeable = False
            self._frozen[name] = copy

    def cells(self) -> dict[str, NDArray[Any]]:
        """All that readings have changed, as copies; with ``refill`` another fleet of these rows has it."""
        return {name: column.copy() for name, column in self._hot._asdict().items()}

    def refill(self, cells: Mapping[str, NDArray[Any]]) -> None:
        """Take back what ``cells`` gave.

        Raises:
            ValueError: it is of another number of resources, or of other columns.
        """
        now = self._hot._asdict()
        if now.keys() != cells.keys() or any(now[name].shape != cells[name].shape for name in now):
            raise ValueError(f"cells of another fleet than of {len(self.ids)} resources")
        self._hot = Hot(**{name: cells[name].astype(column.dtype) for name, column in now.items()})
        self._frozen.clear()

    def moment_s(self, quantity: str) -> Seconds:
        """Moment of each resource's reading of a quantity, int64 (n,); -1 where there is none.

        Args:
            quantity: ``schema.TELEMETRY`` name.

        Raises:
            KeyError: no such quantity.
        """
        # An arithmetic shift keeps the absent moment: -1 >> 2 is -1.
        moments: Seconds = self._hot.keys[QUANTITY[quantity]] >> TRUST_BITS
        return moments

    def repeats(self, quantity: str) -> Codes:
        """How many times in a row a newer reading repeated a quantity's value, uint8 (n,), at most 255.

        Args:
            quantity: one that is measured: ``p_kw``, ``q_kvar``, ``v_pu``, ``p_avail_kw``, ``e_kwh``.

        Raises:
            ValueError: repetitions of it are not counted.
        """
        counts: Codes = self._hot.same[REPEATED.index(quantity)].copy()
        return counts

    def stale(self, quantity: str, now_s: int, stale_s: int) -> Mask:
        """Rows without a reading of a quantity from the last ``stale_s`` seconds.

        Args:
            quantity: ``schema.TELEMETRY`` name.
            now_s: our clock, unix seconds.
            stale_s: age past which a reading says nothing of the present.

        Raises:
            KeyError: no such quantity.
        """
        moments = self.moment_s(quantity)
        old: Mask = (moments == NEVER_S) | (now_s - moments > stale_s)
        return old

    def reading_quality(
        self, now_s: int, standing: int = STANDING, stale_s: int | None = None
    ) -> ReadingQuality:
        """Age, clocks and standstills of each resource's readings; peers are of one kind and feeder.

        Args:
            now_s: our clock, unix seconds.
            standing: so many repetitions of a value are a standstill, 1 to 255.
            stale_s: values older than this are neither standing nor moving; None = however old.
        """
        feeders = len(self.labels["feeder"])
        peer = self.columns["kind"].astype(np.int32) * feeders + self.columns["feeder"]
        return reading_quality(self._hot, peer, now_s, standing, stale_s)

    def hot_gib(self) -> float:
        """Memory a running fleet holds, GiB: columns, readings, the last image, ids and vocabularies.

        Not counted are the registry's names with others, which no tick reads.
        """
        arrays = [*self.columns.values(), self.family, *self._hot, *self._frozen.values(), self._own]
        arrays += [rows for _, rows in self._vocabularies.values()]
        texts = [self.ids, *self.labels.values(), *(ids for ids, _ in self._vocabularies.values())]
        # Names stand once in memory however many tuples list them; a row number is a small object.
        names = {id(name): sys.getsizeof(name) for listed in texts for name in listed}
        total = sum(array.nbytes for array in arrays) + sum(map(sys.getsizeof, texts)) + sum(names.values())
        return (total + sys.getsizeof(self.row_of) + sum(map(sys.getsizeof, self.row_of.values()))) / _GIB


def filled(values: NDArray[Any]) -> NDArray[np.float64]:
    """A float64 copy with 0 for what is absent, where 0 is what absence comes down to."""
    known: NDArray[np.float64] = values.astype(np.float64)
    known[np.isnan(known)] = 0.0
    return known


def _count(readings: Readings, at: NDArray[np.intp], field: str, reason: str) -> Rejected:
    """One report for many readings, naming at most a screenful of resources."""
    known = [readings.ids[i] for i in readings.index[at[: 4 * _SHOWN]] if 0 <= i < len(readings.ids)]
    return Rejected("reading", field, tuple(dict.fromkeys(known))[:_SHOWN], reason, count=len(at))


def _out_of_range(readings: Readings, at: NDArray[np.intp]) -> list[Rejected]:
    """Counts of the values outside their quantity's range, by quantity."""
    found = []
    quantity = readings.quantity[at]
    for code in np.unique(quantity):
        entry = TELEMETRY[code]
        rule = f"outside [{entry.low:g}, {entry.high:g}] {entry.unit}".rstrip()
        found.append(_count(readings, at[quantity == code], entry.name, rule))
    return found
