"""The hot state of a fleet, and the compiled pass that takes readings into it."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.model import Quality
from gridflock.schema import QUANTITY, TELEMETRY
from gridflock.units import HOUR_S, NEVER_S, Codes, Rows, Seconds

FUTURE_S = 60
"""A reading further ahead of our clock than this is impossible, s."""
BEHIND_S = 2 * HOUR_S
"""A newest reading that arrives so late speaks of a device whose clock runs behind, s."""
FLOATS = tuple(entry.name for entry in TELEMETRY if entry.dtype == "f4")
"""Quantities held as float32 cells, in the order of the cells' rows."""
REPEATED = ("p_kw", "q_kvar", "v_pu", "p_avail_kw", "e_kwh")
"""Measured quantities whose repetitions are counted; in the order of their codes, from 0."""

_TRUSTED = int(Quality.SUBSTITUTED) + 1
# Cells are ordered by (moment, trust): a key is 4 x unix seconds + trust.
TRUST_BITS = 2
_DEPART, _READY, _REPEATED = QUANTITY["depart_s"], QUANTITY["ready"], len(REPEATED)
_SLOT = np.array([FLOATS.index(e.name) if e.name in FLOATS else -1 for e in TELEMETRY], dtype=np.int64)
_LOW = np.array([entry.low for entry in TELEMETRY])
_HIGH = np.array([entry.high for entry in TELEMETRY])
_MOST_U1, _MOST_U2, _MOST_I4 = 255, 65_535, 2**31 - 1
_BLOCK = 128
_BATCH = (np.int32, np.uint8, np.float64, np.int64, np.uint8)


class Verdict(IntEnum):
    """What became of a reading; the first rule it breaks."""

    KEPT = 0
    LATE = 1
    STRANGER = 2
    NO_QUANTITY = 3
    BEFORE_1970 = 4
    AHEAD = 5
    NOT_FINITE = 6
    OUT_OF_RANGE = 7


_KEPT, _LATE, _STRANGER, _NO_QUANTITY, _BEFORE, _AHEAD, _NOT_FINITE, _OUT_OF_RANGE = (int(v) for v in Verdict)


class Hot(NamedTuple):
    """What readings change; n resources, one row per quantity in front where two-dimensional.

    Attributes:
        cells: float32 (``FLOATS``, n), NaN where nothing is known.
        depart_s: int64 (n,), -1 where unknown.
        ready: uint8 (n,).
        keys: int64 (``TELEMETRY``, n), 4 x moment + trust of the cell; -1 where nothing is known.
        heard_s: int64 (n,), moment of the newest reading by the device's clock.
        lag_s: int32 (n,), how far that reading lay behind our clock when it came, at most some 68 years.
        behind: uint16 (n,), how many times in a row the newest reading came more than ``BEHIND_S`` late,
            once per moment of ours.
        ahead: uint16 (n,), readings refused because they lay in the future.
        late: uint16 (n,), readings refused as late or repeated since the newest one.
        same: uint8 (``REPEATED``, n), how many times in a row a newer reading repeated the value.
    """

    cells: NDArray[np.float32]
    depart_s: Seconds
    ready: Codes
    keys: NDArray[np.int64]
    heard_s: Seconds
    lag_s: NDArray[np.int32]
    behind: NDArray[np.uint16]
    ahead: NDArray[np.uint16]
    late: NDArray[np.uint16]
    same: Codes

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing known of n resources."""
        return cls(
            cells=np.full((len(FLOATS), n), np.nan, dtype=np.float32),
            depart_s=np.full(n, NEVER_S, dtype=np.int64),
            ready=np.zeros(n, dtype=np.uint8),
            keys=np.full((len(TELEMETRY), n), NEVER_S, dtype=np.int64),
            heard_s=np.full(n, NEVER_S, dtype=np.int64),
            lag_s=np.zeros(n, dtype=np.int32),
            behind=np.zeros(n, dtype=np.uint16),
            ahead=np.zeros(n, dtype=np.uint16),
            late=np.zeros(n, dtype=np.uint16),
            same=np.zeros((len(REPEATED), n), dtype=np.uint8),
        )

    def carried(self, before: Rows) -> Self:
        """The state in another order of rows.

        Args:
            before: row here of each row there, -1 where it is new.
        """
        known = np.flatnonzero(before >= 0)
        fresh = self.empty(len(before))
        columns: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(self, fresh, strict=True))
        for old, new in columns:
            new[..., known] = old[..., before[known]]
        return fresh


def take_in(
    hot: Hot,
    row_of: Rows,
    batch: tuple[Rows, Codes, NDArray[np.float64], Seconds, Codes],
    now_s: int,
) -> tuple[Codes, NDArray[np.int64]]:
    """Take a batch into the state, each reading where it is news.

    Args:
        hot: changed in place.
        row_of: row of each position of the batch's vocabulary, -1 where unknown.
        batch: position, quantity, value, moment and quality of each reading, equally long.
        now_s: our clock, unix seconds.

    Returns:
        ``Verdict`` of each reading, and how many cells of each quantity changed.

    Raises:
        ValueError: the batch's columns differ in length.
    """
    if len({column.shape for column in batch}) != 1 or batch[0].ndim != 1:
        raise ValueError(f"columns of a batch differ in length: {[column.shape for column in batch]}")
    verdict = np.empty(batch[0].shape, dtype=np.uint8)
    changed = np.zeros(len(TELEMETRY), dtype=np.int64)
    index, quantity, value, time_s, quality = (
        np.ascontiguousarray(column, dtype=dtype) for column, dtype in zip(batch, _BATCH, strict=True)
    )
    _pass(hot, row_of, index, quantity, value, time_s, quality, now_s, verdict)
    _review(hot, row_of, index, quantity, value, time_s, quality, verdict, changed)
    return verdict, changed


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _key(time_s: int, quality: int) -> int:
    return (time_s << TRUST_BITS) + _TRUSTED - min(quality, _TRUSTED)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _held(hot: Hot, quantity: int, row: int) -> float:
    """Value of a cell."""
    if quantity == _DEPART:
        return float(hot.depart_s[row])
    if quantity == _READY:
        return float(hot.ready[row])
    return float(hot.cells[_SLOT[quantity], row])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _as_held(quantity: int, value: float) -> float:
    """A value as its cell will hold it; rounding never changes which of two is the larger."""
    if quantity == _DEPART:
        return float(np.int64(value))
    if quantity == _READY:
        return 1.0 if value > 0.0 else 0.0
    # Adding zero makes a negative zero positive: equal values are equal bytes.
    return float(np.float32(value + 0.0))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _write(hot: Hot, quantity: int, row: int, value: float) -> None:
    if quantity == _DEPART:
        hot.depart_s[row] = np.int64(value)
    elif quantity == _READY:
        hot.ready[row] = np.uint8(value)
    else:
        hot.cells[_SLOT[quantity], row] = np.float32(value)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _fault(quantity: int, value: float, time_s: int, now_s: int) -> int:
    """The first rule a reading of a known resource breaks; ``Verdict.KEPT`` where none."""
    if quantity >= len(_LOW):
        return _NO_QUANTITY
    if time_s < 0:
        return _BEFORE
    if time_s > now_s + FUTURE_S:
        return _AHEAD
    if not np.isfinite(value):
        return _NOT_FINITE
    if not _LOW[quantity] <= value <= _HIGH[quantity]:
        return _OUT_OF_RANGE
    return _KEPT


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _note_clock(hot: Hot, row: int, time_s: int, now_s: int) -> None:
    """A reading is the newest of its resource: whether it came hours late, and how often so by now."""
    lag_s, last_s = min(now_s - time_s, _MOST_I4), hot.lag_s[row]
    first = hot.heard_s[row] + last_s != now_s
    hot.heard_s[row] = time_s
    hot.lag_s[row] = lag_s
    if hot.late[row]:
        hot.late[row] = 0
    if lag_s > BEHIND_S:
        if first and hot.behind[row] < _MOST_U2:
            hot.behind[row] += 1
    elif last_s > BEHIND_S:
        hot.behind[row] = 0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _note_repetition(hot: Hot, quantity: int, row: int, again: bool) -> None:  # noqa: FBT001  # a compiled inner step
    if not again:
        hot.same[quantity, row] = 0
    elif hot.same[quantity, row] < _MOST_U1:
        hot.same[quantity, row] += 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _land(hot: Hot, row: int, quantity: int, value: float, time_s: int, key: int, now_s: int) -> int:
    """Put a possible reading into its cell where it is better than what is there."""
    known = hot.keys[quantity, row]
    if key < known:
        return _LATE
    old = _held(hot, quantity, row)
    new = _as_held(quantity, value)
    if key == known and not new > old:
        return _LATE
    hot.keys[quantity, row] = key
    _write(hot, quantity, row, new)
    if quantity < _REPEATED and (time_s > known >> TRUST_BITS or new != old):
        _note_repetition(hot, quantity, row, new == old)
    if time_s > hot.heard_s[row]:
        _note_clock(hot, row, time_s, now_s)
    return _KEPT


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _fetch(hot: Hot, row_of: Rows, index: Rows, quantity: Codes, rows: Rows) -> float:
    """Rows of a block of readings, and a sum over what they will touch.

    The sum is of no use but that it loads scattered cells side by side: the loop has no branch to
    guess, so that the processor waits for many of them at once instead of one after the other.
    """
    touched = 0.0
    for i in range(len(index)):
        at = index[i]
        row = row_of[at] if 0 <= at < len(row_of) else -1
        rows[i] = row
        at, code = max(row, 0), min(quantity[i], len(_LOW) - 1)
        touched += hot.keys[code, at] + hot.cells[max(_SLOT[code], 0), at]
        touched += hot.heard_s[at] + hot.lag_s[at] + hot.late[at] + hot.same[min(code, _REPEATED - 1), at]
    return touched


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _pass(
    hot: Hot,
    row_of: Rows,
    index: Rows,
    quantity: Codes,
    value: NDArray[np.float64],
    time_s: Seconds,
    quality: Codes,
    now_s: int,
    verdict: Codes,
) -> float:
    """Take each reading where it is news when it comes; the answer only keeps the loads of ``_fetch``."""
    rows = np.empty(_BLOCK, dtype=np.int32)
    touched = 0.0
    for start in range(0, len(index), _BLOCK):
        stop = min(start + _BLOCK, len(index))
        touched += _fetch(hot, row_of, index[start:stop], quantity[start:stop], rows)
        for i in range(start, stop):
            row = rows[i - start]
            if row < 0:
                verdict[i] = _STRANGER
                continue
            fault = _fault(quantity[i], value[i], time_s[i], now_s)
            if fault == _AHEAD and hot.ahead[row] < _MOST_U2:
                hot.ahead[row] += 1
            if fault == _KEPT:
                key = _key(time_s[i], quality[i])
                fault = _land(hot, row, quantity[i], value[i], time_s[i], key, now_s)
                if fault == _LATE and hot.late[row] < _MOST_U2:
                    hot.late[row] += 1
            verdict[i] = fault
    return touched


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _review(
    hot: Hot,
    row_of: Rows,
    index: Rows,
    quantity: Codes,
    value: NDArray[np.float64],
    time_s: Seconds,
    quality: Codes,
    verdict: Codes,
    changed: NDArray[np.int64],
) -> None:
    """What was news when it came may have been outdone by a later line of the same batch."""
    for i in range(len(index)):
        if verdict[i] == _KEPT:
            row, code = row_of[index[i]], quantity[i]
            stands = hot.keys[code, row] == _key(time_s[i], quality[i])
            if stands and _held(hot, code, row) == _as_held(code, value[i]):
                changed[code] += 1
            else:
                verdict[i] = _LATE


def counted(verdict: Codes) -> dict[Verdict, NDArray[Any]]:
    """Positions of the readings under each verdict but ``KEPT``, where there are any."""
    counts = np.bincount(verdict, minlength=len(Verdict))
    found = [entry for entry in Verdict if entry is not Verdict.KEPT and counts[entry]]
    return {entry: np.flatnonzero(verdict == entry) for entry in found}
