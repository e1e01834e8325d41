"""What a tick takes in from outside, as one value, and as one chained record from which it is read again.

Readings are kept as they came: on the fleet's rows, values as the cells will hold them. The many of a
fleet lie on a grid of quantities and rows, of which a bit says whether it was heard; what comes twice and
who is unknown stands beside it, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Rules
from gridflock.model import Directive, Entry, Json, Outcomes, Proposal, Readings, Rejected, Weather
from gridflock.runtime._agreed import Agreed
from gridflock.runtime._book import from_head, to_head
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.runtime._market import Published
from gridflock.schema import TELEMETRY
from gridflock.units import Rows

KIND = "heard"
_KINDS = len(TELEMETRY)
_LARGEST = 3e38
_LEAST, _PER_ROW = 100_000, 4
"""So many readings and outcomes are taken in by one tick, or so many per cell of the fleet if more."""
_EXACT = np.array([entry.dtype != "f4" for entry in TELEMETRY])
"""Quantities whose cells hold more than a float32 can."""
_LOW = np.array([entry.low for entry in TELEMETRY])
_HIGH = np.array([entry.high for entry in TELEMETRY])
_OUTCOME = ("outcome_row", "outcome_order_id", "outcome_status", "outcome_p_kw", "outcome_s")
_VOCABULARIES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Everything that a tick decides from and that does not follow from the ticks before.

    Attributes:
        now_s: the tick's moment.
        readings: on the fleet's rows; -1 for strangers.
        outcomes: the same.
        wishes: proposals in force or to come, oldest first.
        groups_seq: ledger position of the newest change of groups that is obeyed; 0 for none.
        troubles: what is wrong with the ways to the devices and with the clock, in words; it lasts as long
            as it is named.
        refused: what was not taken in at all.
        rules: what people have set for the guard.
        directive: the newest of a system above; None before the first, and for who stands alone.
        leapt_s: how much of the way from the tick before nobody has lived: the clock was set.
        sky: a forecast of the weather, where there is a new one.
        lessons: name of what was learnt, where that is new: a snapshot named by its digest.
        published: prices that were published since the tick before.
        agreed: what is new of what devices have agreed with their server.
    """

    now_s: int
    readings: Readings
    outcomes: Outcomes
    wishes: tuple[Proposal, ...]
    groups_seq: int = 0
    troubles: tuple[str, ...] = ()
    refused: tuple[Rejected, ...] = ()
    rules: Rules = field(default_factory=Rules)
    directive: Directive | None = None
    leapt_s: int = 0
    sky: Weather | None = None
    lessons: str = ""
    published: tuple[Published, ...] = ()
    agreed: Agreed = field(default_factory=Agreed)


class Hearing:
    """Puts what arrives on the fleet's rows.

    Args:
        ids: of the fleet, row by row.
        row_of: row of each identity.
    """

    def __init__(self, ids: tuple[str, ...], row_of: dict[str, int]) -> None:
        self._ids, self._row_of = ids, row_of
        self._known: dict[int, tuple[tuple[str, ...], Rows]] = {}

    def readings(self, batches: Sequence[Readings]) -> tuple[Readings, tuple[Rejected, ...]]:
        """Readings in the order and with the values in which they are recorded and taken in."""
        most = max(_LEAST, _PER_ROW * _KINDS * len(self._ids))
        many = sum(len(raw.index) for raw in batches)
        quantity = _column([raw.quantity for raw in batches], np.uint8)[:most]
        value = _column([raw.value for raw in batches], np.float64)[:most]
        value[value == 0.0], value[np.isnan(value)] = 0.0, np.nan  # one zero, and one way not to know
        known = quantity < _KINDS
        coarse = known & ~_EXACT[np.where(known, quantity, 0)] & np.isfinite(value)
        value[coarse] = _rounded(value[coarse], _LOW[quantity[coarse]], _HIGH[quantity[coarse]])
        found = Readings(
            self._ids,
            _column([self._rows(raw.ids, np.asarray(raw.index)) for raw in batches], np.int32)[:most],
            quantity,
            value,
            _column([raw.time_s for raw in batches], np.int64)[:most],
            _column([raw.quality for raw in batches], np.uint8)[:most],
        )
        return _ordered(found, *_split(found)), _too_many("reading", many - most)

    def outcomes(self, batches: Sequence[Outcomes]) -> tuple[Outcomes, tuple[Rejected, ...]]:
        """Outcomes on the fleet's rows, power as it is recorded."""
        most = max(_LEAST, _PER_ROW * len(self._ids))
        many = sum(len(raw.index) for raw in batches)
        p_kw = np.clip(_column([raw.p_kw for raw in batches], np.float64), -_LARGEST, _LARGEST)
        found = Outcomes(
            self._ids,
            _column([self._rows(raw.ids, np.asarray(raw.index)) for raw in batches], np.int32)[:most],
            _column([raw.order_id for raw in batches], np.int64)[:most],
            _column([raw.status for raw in batches], np.uint8)[:most],
            p_kw[:most].astype(np.float32),
            _column([raw.time_s for raw in batches], np.int64)[:most],
        )
        return found, _too_many("outcome", many - most)

    def _rows(self, ids: tuple[str, ...], index: NDArray[np.integer[Any]]) -> Rows:
        """Fleet row of each position of a vocabulary, -1 where unknown; found once per vocabulary."""
        known = self._known.get(id(ids))
        if known is None or known[0] is not ids:
            if len(self._known) >= _VOCABULARIES:
                self._known.pop(next(iter(self._known)))
            rows = np.array([*(self._row_of.get(name, -1) for name in ids), -1], dtype=np.int32)
            known = self._known[id(ids)] = (ids, rows)
        inside = (index >= 0) & (index < len(ids))
        found: Rows = known[1][np.where(inside, index, -1)]
        return found


def _rounded(value: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float32]:
    """Values as float32; what lies outside its range by less than that can tell stays outside."""
    found: NDArray[np.float32] = np.clip(value, -_LARGEST, _LARGEST).astype(np.float32)
    below, above = (value < low) & (found >= low), (value > high) & (found <= high)
    found[below] = np.nextafter(low[below].astype(np.float32), np.float32(-np.inf))
    found[above] = np.nextafter(high[above].astype(np.float32), np.float32(np.inf))
    return found


def _column(parts: Sequence[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The parts of a column behind each other, as a copy."""
    return np.concatenate([np.empty(0, dtype), *(np.asarray(part, dtype=dtype) for part in parts)])


def to_entry(heard: Heard, before: Sequence[Proposal], directed: Directive | None = None) -> Entry:
    """What was heard as a record.

    Args:
        heard: of one tick.
        before: wishes of the tick before; only what differs is said again.
        directed: the directive of the tick before, alike.
    """
    n = len(heard.readings.ids)
    columns, told = _columns_of(heard.readings)
    outcomes = heard.outcomes
    columns |= {
        "outcome_row": outcomes.index,
        "outcome_order_id": outcomes.order_id,
        "outcome_status": outcomes.status,
        "outcome_p_kw": np.asarray(outcomes.p_kw, dtype=np.float32),
        "outcome_s": outcomes.time_s,
    }
    head: dict[str, Json] = {"n": n, "groups": heard.groups_seq, **told}
    old, new = {wish.id for wish in before}, {wish.id for wish in heard.wishes}
    head["opened"] = [to_head(wish) for wish in heard.wishes if wish.id not in old]
    head["closed"] = [wish.id for wish in before if wish.id not in new]
    if heard.troubles:
        head["troubles"] = list(heard.troubles)
    if heard.refused:
        head["refused"] = {fault.component: fault.count for fault in heard.refused}
    if heard.rules != Rules():
        head["rules"] = heard.rules.said()
    if heard.leapt_s:
        head["leapt_s"] = heard.leapt_s
    if heard.directive is not None:
        head["directive"] = list(heard.directive.order)
        if directed is None or directed.order != heard.directive.order:
            columns["directive"] = np.frombuffer(to_bytes(heard.directive), dtype=np.uint8)
    if heard.lessons:
        head["lessons"] = heard.lessons
    for name, none in (("sky", None), ("published", ()), ("agreed", Agreed())):
        if (news := getattr(heard, name)) != none:
            columns[name] = np.frombuffer(to_bytes(news), dtype=np.uint8)
    return Entry(KIND, heard.now_s, head, {name: column for name, column in columns.items() if len(column)})


def from_entry(
    entry: Entry, ids: tuple[str, ...], before: Sequence[Proposal], directed: Directive | None = None
) -> Heard:
    """The inverse of ``to_entry``.

    Args:
        entry: of kind ``KIND``.
        ids: of the fleet it was heard by.
        before: wishes of the tick before.
        directed: the directive of the tick before.

    Raises:
        ValueError: the entry is of another fleet, or no entry before it tells its directive.
        KeptBroken: its directive is of another version.
    """
    head: dict[str, Any] = dict(entry.head)
    if head["n"] != len(ids):
        raise ValueError(f"entry {entry.seq} is of {head['n']} resources, not of {len(ids)}")
    closed = set(head["closed"])
    wishes = [wish for wish in before if wish.id not in closed]
    wishes += [from_head(wish) for wish in head["opened"]]
    none = np.empty(0)
    found = {name: entry.columns.get(name, none) for name in _OUTCOME}
    outcomes = Outcomes(
        ids,
        found["outcome_row"].astype(np.int32),
        found["outcome_order_id"].astype(np.int64),
        found["outcome_status"].astype(np.uint8),
        found["outcome_p_kw"].astype(np.float32),
        found["outcome_s"].astype(np.int64),
    )
    return Heard(
        entry.time_s,
        _readings_of(entry, ids),
        outcomes,
        tuple(wishes),
        int(head["groups"]),
        tuple(map(str, head.get("troubles", ()))),
        tuple(fault for name, many in head.get("refused", {}).items() for fault in _too_many(name, many)),
        Rules.of(head.get("rules", {})),
        _directive_of(entry, directed),
        int(head.get("leapt_s", 0)),
        _sky_of(entry),
        str(head.get("lessons", "")),
        _published_of(entry),
        _agreed_of(entry),
    )


def _published_of(entry: Entry) -> tuple[Published, ...]:
    """The prices of an entry."""
    column = entry.columns.get("published")
    found = () if column is None else from_bytes(column.tobytes())
    if not (isinstance(found, tuple) and all(isinstance(one, Published) for one in found)):
        raise ValueError(f"entry {entry.seq} says no prices")
    return found


def _agreed_of(entry: Entry) -> Agreed:
    """What is new of what devices have agreed, as an entry tells it."""
    column = entry.columns.get("agreed")
    found = Agreed() if column is None else from_bytes(column.tobytes())
    if isinstance(found, Agreed):
        return found
    raise ValueError(f"entry {entry.seq} does not say what devices have agreed")


def _sky_of(entry: Entry) -> Weather | None:
    """The forecast of the weather of an entry."""
    column = entry.columns.get("sky")
    found = None if column is None else from_bytes(column.tobytes())
    if found is not None and not isinstance(found, Weather):
        raise ValueError(f"entry {entry.seq} says no weather")
    return found


def _directive_of(entry: Entry, directed: Directive | None) -> Directive | None:
    """The directive of an entry, where it differs from that of the tick before said in it."""
    order: Any = entry.head.get("directive")
    if order is None:
        return None
    column = entry.columns.get("directive")
    found = directed if column is None else from_bytes(column.tobytes())
    if not isinstance(found, Directive) or list(found.order) != order:
        raise ValueError(f"entry {entry.seq} does not say directive {order}")
    return found


def _too_many(what: str, over: int) -> tuple[Rejected, ...]:
    """What of one tick was more than it takes in."""
    reason = "more in one tick than it takes in"
    return (Rejected(what, "count", (), reason, count=over),) if over > 0 else ()


def _split(found: Readings) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions beside the grid, as they came, and positions on it, by quantity and row."""
    n, many = len(found.ids), len(found.index)
    fits = (found.index >= 0) & (found.quantity < _KINDS)
    at = np.flatnonzero(fits)
    cell = found.quantity[at].astype(np.int64) * n + found.index[at]
    last = np.full(_KINDS * n, -1, dtype=np.int64)
    last[cell] = at  # of several readings of a cell the last one is on the grid
    grid = last[last >= 0]
    beside = np.ones(many, dtype=bool)
    beside[grid] = False
    return np.flatnonzero(beside), grid


def _ordered(found: Readings, beside: NDArray[np.intp], grid: NDArray[np.intp]) -> Readings:
    order = np.concatenate([beside, grid])
    return Readings(
        found.ids,
        found.index[order],
        found.quantity[order],
        found.value[order],
        found.time_s[order],
        found.quality[order],
    )


def _columns_of(found: Readings) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
    """Ordered readings as columns, and what of them is the same for all."""
    n = len(found.ids)
    beside, grid = _split(found)
    mask = np.zeros(_KINDS * n, dtype=bool)
    mask[found.quantity[grid].astype(np.int64) * n + found.index[grid]] = True
    exact = _EXACT[found.quantity[grid]]
    columns: dict[str, NDArray[Any]] = {
        "mask": np.packbits(mask),
        "coarse": found.value[grid][~exact].astype(np.float32),
        "exact": found.value[grid][exact],
        "beside_row": found.index[beside].astype(np.int32),
        "beside_quantity": found.quantity[beside],
        "beside_value": found.value[beside],
        "beside_s": found.time_s[beside],
        "beside_quality": found.quality[beside],
    }
    told: dict[str, Json] = {}
    for name, values in (("time_s", found.time_s[grid]), ("quality", found.quality[grid])):
        if len(values) and (values == values[0]).all():
            told[name] = int(values[0])
        else:
            columns[f"grid_{name}"] = values
    return columns, told


def _readings_of(entry: Entry, ids: tuple[str, ...]) -> Readings:
    """The readings of an entry, in the order in which they were taken in."""
    columns, n = entry.columns, len(ids)
    none = np.empty(0)
    mask = np.unpackbits(columns["mask"], count=_KINDS * n).astype(bool) if n else np.empty(0, dtype=bool)
    quantity, row = np.divmod(np.flatnonzero(mask), max(n, 1))
    exact = _EXACT[quantity]
    value = np.empty(len(row))
    value[exact] = columns.get("exact", none)
    value[~exact] = columns.get("coarse", none)

    def whole(name: str, dtype: type[np.generic]) -> NDArray[Any]:
        told = entry.head.get(name)
        if told is not None:
            return np.full(len(row), told, dtype=dtype)
        return columns.get(f"grid_{name}", none).astype(dtype)

    def joined(name: str, values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([columns.get(f"beside_{name}", none).astype(values.dtype), values])

    return Readings(
        ids,
        joined("row", row.astype(np.int32)),
        joined("quantity", quantity.astype(np.uint8)),
        joined("value", value),
        joined("s", whole("time_s", np.int64)),
        joined("quality", whole("quality", np.uint8)),
    )
