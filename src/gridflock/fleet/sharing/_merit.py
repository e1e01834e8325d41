"""Order of merit without sorting: who comes before the margin gets all, who comes after nothing.

The margin is found with a histogram of the keys. Its bucket is spread over a new histogram until
all that is left has one key, so that the order is exact; those equals share, or take turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._water import columns_of, totals
from gridflock.units import Kw, Rows

BUCKETS = 65_536
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_Array = NDArray[np.float64]


def merit(target_kw: float, lo: Kw, hi: Kw, key: NDArray[Any], tie: NDArray[Any] | None = None) -> _Array:
    """Raise rows from their lower to their upper bound, the smallest key first.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.
        key: (n,) finite; cost, or whatever says who comes first.
        tie: (n,) finite; who comes first among equal keys. Without it they share in proportion to
            what each can.

    Returns:
        float64 (n,) shares; where keys and ties tell all rows apart, one at most is between its bounds.
    """
    low, high = columns_of(lo, hi)
    keys = np.ascontiguousarray(key, dtype=key.dtype if key.dtype == np.float32 else np.float64)
    share = np.empty(len(low))
    amount = target_kw - totals(low, high)[0]
    if amount <= 0.0 or len(low) == 0:
        share[:] = low
        return share
    margin, rest, room = margin_of(amount, low, high, keys)
    fraction = min(rest / room, 1.0) if room > 0.0 else 0.0
    _around(margin, fraction, low, high, keys, share)
    if tie is not None and 0.0 < fraction < 1.0:
        equals = np.flatnonzero(keys == margin)
        least, most = low[equals], high[equals]
        share[equals] = merit(rest + totals(least, most)[0], least, most, tie[equals])
    return share


def lots(rows: Rows, seed: int) -> _Array:
    """A lot for each row, in [0, 1): the same for a row and seed in whatever order rows stand.

    A mixing function of 64 bits (Steele, Lea and Flood, Fast splittable pseudorandom number
    generators, 2014).

    Args:
        rows: (n,) row numbers.
        seed: which draw.

    Returns:
        float64 (n,) lots.
    """
    drawn = np.empty(len(rows))
    _draw(np.ascontiguousarray(rows), np.uint64(seed % 2**32 * 0xD1342543DE82EF95 % 2**64), drawn)
    return drawn


def margin_of(
    amount: float, lo: NDArray[Any], hi: NDArray[Any], key: NDArray[Any]
) -> tuple[float, float, float]:
    """The key at which an amount is used up, what is left for its rows, and their room.

    Args:
        amount: kW, > 0.
        lo: (n,) lower bounds, n > 0.
        hi: (n,) upper bounds, of the same type.
        key: (n,) finite.

    Returns:
        Key, rest and room; an infinite key where all rooms together hold less than the amount.
    """
    rest, room = amount, np.empty(BUCKETS)
    while True:
        first = float(key.min())
        scale = _scale(first, float(key.max()))
        _spread(first, scale, lo, hi, key, room)
        at, rest = _marginal(rest, room)
        if at == BUCKETS:
            return np.inf, 0.0, 0.0
        if scale == 0.0:
            return first, rest, float(room[at])
        inside = _bucket(at, first, scale, key)
        lo, hi, key = lo[inside], hi[inside], key[inside]
        # A sum taken anew may be less by its rounding: the amount still ends in this bucket.
        rest = min(rest, float(room[at]) * (1.0 - 1e-12))


def _scale(first: float, last: float) -> float:
    """Buckets per unit of key; 0 where the keys are too close to be told apart."""
    width = last - first
    scale = BUCKETS / width if width > 0.0 else 0.0
    return scale if np.isfinite(scale) else 0.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _draw(rows: NDArray[Any], start: np.uint64, drawn: _Array) -> None:
    for i in range(len(rows)):
        z = (np.uint64(rows[i]) + np.uint64(1) + start) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        drawn[i] = np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator] # numba carries no annotations
def _at(key: float, first: float, scale: float) -> int:
    """The bucket of a key."""
    return int(min(max(np.int32((key - first) * scale), np.int32(0)), np.int32(BUCKETS - 1)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _spread(
    first: float, scale: float, lo: NDArray[Any], hi: NDArray[Any], key: NDArray[Any], room: _Array
) -> None:
    """Room of each bucket."""
    room[:] = 0.0
    for i in range(len(key)):
        room[_at(np.float64(key[i]), first, scale)] += np.float64(hi[i]) - np.float64(lo[i])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _marginal(amount: float, room: _Array) -> tuple[int, float]:
    """The bucket that an amount ends in, and what is left for it; ``BUCKETS`` where it goes beyond."""
    for at in range(len(room)):
        if amount <= room[at] and room[at] > 0.0:
            return at, amount
        amount -= room[at]
    return len(room), amount


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _bucket(at: int, first: float, scale: float, key: NDArray[Any]) -> NDArray[np.int64]:
    """The rows of a bucket."""
    count = 0
    for i in range(len(key)):
        count += _at(np.float64(key[i]), first, scale) == at
    rows = np.empty(count, dtype=np.int64)
    count = 0
    for i in range(len(key)):
        if _at(np.float64(key[i]), first, scale) == at:
            rows[count] = i
            count += 1
    return rows


@njit(cache=True, nogil=True, fastmath=_FAST)  # type: ignore[untyped-decorator] # numba carries no annotations
def _around(
    margin: float, fraction: float, lo: NDArray[Any], hi: NDArray[Any], key: NDArray[Any], share: _Array
) -> None:
    """All before the margin, nothing after it, a fraction at it."""
    for i in range(len(key)):
        k, low, high = np.float64(key[i]), np.float64(lo[i]), np.float64(hi[i])
        x = low + fraction * (high - low)
        x = min(x, high) if k == margin else low
        share[i] = high if k < margin else x
