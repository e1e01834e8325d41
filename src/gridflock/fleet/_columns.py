"""The state of all resources as columns: readings go in, a frozen image comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry import Registry, merged, read_registry
from gridflock.model import Quality, Readings, Rejected
from gridflock.schema import QUANTITY, TELEMETRY, Family
from gridflock.units import NEVER_S, Codes, Kvar, Kw, Kwh, Mask, Pu, Rows, Seconds

FUTURE_S = 60
"""A reading further ahead of our clock than this is impossible, s."""
_SHOWN = 20
_VOCABULARIES = 16
# One slot per possible quantity code: an unknown code has an empty range, so every value fails it.
_LOW = np.full(256, np.inf)
_HIGH = np.full(256, -np.inf)
_LOW[: len(TELEMETRY)] = [entry.low for entry in TELEMETRY]
_HIGH[: len(TELEMETRY)] = [entry.high for entry in TELEMETRY]
# Cells are ordered by (moment, trust): a key is 4 x unix seconds + trust.
_TRUST_BITS = 2


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
        """Rows never heard, or not within the last ``stale_s`` seconds."""
        quiet: Mask = (self.heard_s == NEVER_S) | (self.now_s - self.heard_s > stale_s)
        return quiet


class Fleet:
    """All resources: the registry's columns and the newest reading of each quantity.

    Attributes:
        ids: outside identity of each row.
        row_of: row of each identity.
        columns: registry columns by name, each (n,); ``bus``, ``provider`` and ``program`` are int32
            codes into ``labels``.
        labels: vocabularies of the coded columns.
        family: uint8 (n,) ``schema.Family``.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.ids = registry.ids
        self.row_of = {name: row for row, name in enumerate(registry.ids)}
        self.columns = registry.columns
        self.labels = registry.labels
        self.family = registry.family
        shape = (len(TELEMETRY), len(registry.ids))
        self._cells = np.full(shape, np.nan)
        self._keys = np.full(shape, NEVER_S, dtype=np.int64)
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
        registry, changed = merged(self._registry, news)
        if not changed:
            return self, 0, rejected
        fleet = Fleet(registry)
        before = np.fromiter((self.row_of.get(name, -1) for name in fleet.ids), np.int64, len(fleet.ids))
        known = before >= 0
        fleet._cells[:, known] = self._cells[:, before[known]]
        fleet._keys[:, known] = self._keys[:, before[known]]
        return fleet, changed, rejected

    def ingest(self, readings: Readings, now_s: int) -> tuple[Rejected, ...]:
        """Take in a batch; what cannot be true or is not news is counted, never raised.

        A cell keeps the newest reading; of two readings of one moment the better quality, then the
        larger value stands. So the result depends neither on the order of batches nor on how often
        one arrives.

        Args:
            readings: house sign and units.
            now_s: our clock, unix seconds.
        """
        index, quantity, value, time_s = readings.index, readings.quantity, readings.value, readings.time_s
        vocabulary = self._vocabulary(readings.ids)
        # The last slot of a vocabulary is -1: where a position outside of it leads.
        row = vocabulary[np.where((index >= 0) & (index < len(readings.ids)), index, len(readings.ids))]
        possible = (value >= _LOW[quantity]) & (value <= _HIGH[quantity])
        timely = (time_s >= 0) & (time_s <= now_s + FUTURE_S)
        fit = possible & timely & (row >= 0)
        rejected: list[Rejected] = []
        trust = (
            Quality.SUBSTITUTED + 1 - np.minimum(readings.quality, Quality.SUBSTITUTED + 1).astype(np.int64)
        )
        key = (time_s << _TRUST_BITS) + trust
        cell = quantity * np.int64(len(self.ids)) + row
        if not fit.all():
            rejected = _impossible(readings, row, possible, timely)
            chosen = np.flatnonzero(fit)
            kept = self._store(cell[chosen], key[chosen], value[chosen])
            late = chosen[~kept]
        else:
            late = np.flatnonzero(~self._store(cell, key, value))
        if len(late):
            reason = "late or repeated: a newer value, or this one, is already known"
            rejected.append(_count(readings, late, "time_s", reason))
        return tuple(rejected)

    def _store(self, cell: NDArray[np.int64], key: NDArray[np.int64], value: NDArray[np.float64]) -> Mask:
        """Keep the best reading of each cell; which of the batch were kept."""
        keys, cells = self._keys.reshape(-1), self._cells.reshape(-1)
        known = keys[cell]
        newer = key > known
        news = newer | ((key == known) & (value > cells[cell]))
        np.maximum.at(keys, cell, key)
        best = news & (key == keys[cell])
        cells[cell[best & newer]] = -np.inf
        np.maximum.at(cells, cell[best], value[best])
        kept: Mask = best & (value == cells[cell])
        return kept

    def _vocabulary(self, ids: tuple[str, ...]) -> Rows:
        """Row of each identity, -1 where unknown, one more -1 at the end; cached by identity."""
        known = self._vocabularies.get(id(ids))
        if known is not None and known[0] is ids:
            return known[1]
        rows = np.fromiter((self.row_of.get(name, -1) for name in (*ids, "")), np.int32, len(ids) + 1)
        if len(self._vocabularies) >= _VOCABULARIES:
            self._vocabularies.pop(next(iter(self._vocabularies)))
        self._vocabularies[id(ids)] = (ids, rows)
        return rows

    def image(self, now_s: int) -> Image:
        """A frozen snapshot; later readings never show in it."""
        floats = self._cells.astype(np.float32)
        floats.flags.writeable = False
        columns: dict[str, NDArray[Any]] = {
            entry.name: floats[code] for code, entry in enumerate(TELEMETRY) if entry.dtype == "f4"
        }
        depart = self._cells[QUANTITY["depart_s"]]
        columns["depart_s"] = np.where(np.isnan(depart), NEVER_S, depart).astype(np.int64)
        columns["ready"] = (self._cells[QUANTITY["ready"]] > 0).astype(np.uint8)
        # An arithmetic shift keeps the absent moment: -1 >> 2 is -1.
        columns["heard_s"] = self._keys.max(axis=0) >> _TRUST_BITS
        for name in ("depart_s", "ready", "heard_s"):
            columns[name].flags.writeable = False
        return Image(
            ids=self.ids,
            columns=self.columns,
            kind=self.columns["kind"],
            family=self.family,
            now_s=now_s,
            **columns,
        )


def filled(values: NDArray[Any]) -> NDArray[np.float64]:
    """A float64 copy with 0 for what is absent, where 0 is what absence comes down to."""
    known: NDArray[np.float64] = values.astype(np.float64)
    known[np.isnan(known)] = 0.0
    return known


def _count(readings: Readings, at: NDArray[np.intp], field: str, reason: str) -> Rejected:
    """One report for many readings, naming at most a screenful of resources."""
    known = [readings.ids[i] for i in readings.index[at[: 4 * _SHOWN]] if 0 <= i < len(readings.ids)]
    return Rejected("reading", field, tuple(dict.fromkeys(known))[:_SHOWN], reason, count=len(at))


def _impossible(readings: Readings, row: Rows, possible: Mask, timely: Mask) -> list[Rejected]:
    """Counts of the readings that cannot be true, each under its first broken rule."""
    found: list[Rejected] = []
    left = np.ones(len(row), dtype=bool)

    def take(broken: Mask, field: str, reason: str) -> None:
        at = np.flatnonzero(left & broken)
        if len(at):
            left[at] = False
            found.append(_count(readings, at, field, reason))

    take(row < 0, "id", "unknown resource")
    take(readings.quantity >= len(TELEMETRY), "quantity", "unknown quantity")
    take(readings.time_s < 0, "time_s", "before 1970")
    take(~timely, "time_s", f"more than {FUTURE_S} s ahead of our clock")
    take(~np.isfinite(readings.value), "value", "not a finite number")
    for code in np.unique(readings.quantity[left & ~possible]):
        entry = TELEMETRY[code]
        rule = f"outside [{entry.low:g}, {entry.high:g}] {entry.unit}".rstrip()
        take(~possible & (readings.quantity == code), entry.name, rule)
    return found
