"""Shares by one number for all: a fraction of what each can do, or one water level.

Compiled loops over plain columns; sums are float64 whatever the columns are. Each loop costs one
pass over the rows and nothing is sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.units import Kw

ROUNDS = 60
"""Most steps to a water level; a bracket that is halved so often is narrower than any number."""
_REL = 1e-12
_NEAR = 1e-5
"""Misses below this share of the sums mostly vanish with the next step: that one is written at once."""
_SAMPLED_FROM = 65_536
_STRIDE = 64
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_Array = NDArray[np.float64]
_Columns = tuple[NDArray[Any], ...]


def columns_of(*columns: NDArray[Any]) -> _Columns:
    """The columns contiguous and of one type: float32 where all are, else float64."""
    single = all(column.dtype == np.float32 for column in columns)
    return tuple(np.ascontiguousarray(c, dtype=np.float32 if single else np.float64) for c in columns)


def fair(target_kw: float, lo: Kw, hi: Kw, weight: NDArray[Any], wish: Kw) -> _Array:
    """Quadratic-fair water-filling: the ``x = clip(wish + μ·weight, lo, hi)`` whose sum is the target.

    It minimises Σ (x − wish)² / weight inside the bounds. The sum is piecewise linear and rising in
    μ, so Newton steps inside a shrinking bracket end exactly after a few rounds; of many rows a
    sample says where to begin.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.
        weight: (n,) > 0, who moves most; who has 0 stays at its wish.
        wish: (n,) where each would like to be.

    Returns:
        float64 (n,) shares.
    """
    rows = columns_of(lo, hi, weight, wish)
    share = np.empty(len(lo))
    start = 0.0
    if len(lo) >= _SAMPLED_FROM:
        some = tuple(np.ascontiguousarray(column[::_STRIDE]) for column in rows)
        low, high = totals(*rows[:2])
        of_low, of_high = totals(*some[:2])
        fraction = (target_kw - low) / (high - low) if high > low else 0.0
        sampled = of_low + min(max(fraction, 0.0), 1.0) * (of_high - of_low)
        start = fill_level(sampled, *some, 0.0, np.empty(len(some[0])))
    fill_level(target_kw, *rows, start, share)
    return share


def proportional(target_kw: float, lo: Kw, hi: Kw) -> _Array:
    """One fraction for all: ``x = lo + θ·(hi − lo)``, 0 <= θ <= 1.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.

    Returns:
        float64 (n,) shares.
    """
    low, high = columns_of(lo, hi)
    share = np.empty(len(low))
    least, most = totals(low, high)
    fraction = (target_kw - least) / (most - least) if most > least else 0.0
    _between(min(max(fraction, 0.0), 1.0), low, high, share)
    return share


@njit(cache=True, nogil=True, fastmath=_FAST)  # type: ignore[untyped-decorator] # numba carries no annotations
def totals(lo: NDArray[Any], hi: NDArray[Any]) -> tuple[float, float]:
    """Sums of both bounds."""
    low, high = 0.0, 0.0
    for i in range(len(lo)):
        low += np.float64(lo[i])
        high += np.float64(hi[i])
    return low, high


@njit(cache=True, nogil=True, fastmath=_FAST)  # type: ignore[untyped-decorator] # numba carries no annotations
def _between(fraction: float, lo: NDArray[Any], hi: NDArray[Any], share: _Array) -> None:
    for i in range(len(lo)):
        low, high = np.float64(lo[i]), np.float64(hi[i])
        # Rounding must not carry anybody across a bound.
        x = low + fraction * (high - low)
        share[i] = max(min(x, high), low)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _reach(
    lo: NDArray[Any], hi: NDArray[Any], weight: NDArray[Any], wish: NDArray[Any]
) -> tuple[float, float]:
    """The levels below and above which nobody moves any more."""
    below, above = np.inf, -np.inf
    for i in range(len(lo)):
        at, w = np.float64(wish[i]), np.float64(weight[i])
        if w > 0.0:
            below = min(below, (lo[i] - at) / w)
            above = max(above, (hi[i] - at) / w)
    return below, above


@njit(cache=True, nogil=True, fastmath=_FAST)  # type: ignore[untyped-decorator] # numba carries no annotations
def _look(
    level: float, lo: NDArray[Any], hi: NDArray[Any], weight: NDArray[Any], wish: NDArray[Any]
) -> tuple[float, float, float]:
    """Sum of the shares at a level, and how it changes with a higher and with a lower one."""
    total, up, down = 0.0, 0.0, 0.0
    for i in range(len(lo)):
        a, b, w = np.float64(lo[i]), np.float64(hi[i]), np.float64(weight[i])
        raw = np.float64(wish[i]) + level * w
        total += max(min(raw, b), a)
        up += w if (raw >= a) & (raw < b) else 0.0
        down += w if (raw > a) & (raw <= b) else 0.0
    return total, up, down


@njit(cache=True, nogil=True, fastmath=_FAST)  # type: ignore[untyped-decorator] # numba carries no annotations
def _write(
    level: float,
    lo: NDArray[Any],
    hi: NDArray[Any],
    weight: NDArray[Any],
    wish: NDArray[Any],
    share: _Array,
) -> tuple[float, float, float]:
    """As ``_look``, and the shares are kept."""
    total, up, down = 0.0, 0.0, 0.0
    for i in range(len(lo)):
        a, b, w = np.float64(lo[i]), np.float64(hi[i]), np.float64(weight[i])
        raw = np.float64(wish[i]) + level * w
        x = max(min(raw, b), a)
        share[i] = x
        total += x
        up += w if (raw >= a) & (raw < b) else 0.0
        down += w if (raw > a) & (raw <= b) else 0.0
    return total, up, down


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def fill_level(
    target: float,
    lo: NDArray[Any],
    hi: NDArray[Any],
    weight: NDArray[Any],
    wish: NDArray[Any],
    start: float,
    share: _Array,
) -> float:
    """Shares at the water level whose sum is the target, into ``share``; returns the level.

    The bracket is looked for only once a step leads nowhere: mostly none does.
    """
    low, high = totals(lo, hi)
    if target <= low or target >= high:
        share[:] = lo if target <= low else hi
        return start
    scale = max(1.0, abs(target), abs(low), abs(high))
    below, above = -np.inf, np.inf
    level, kept, near = start, np.nan, False
    for _ in range(ROUNDS):
        if near:
            total, up, down = _write(level, lo, hi, weight, wish, share)
            kept = level
        else:
            total, up, down = _look(level, lo, hi, weight, wish)
        gap = target - total
        if abs(gap) <= _REL * scale:
            break
        below, above = (level, above) if gap > 0.0 else (below, level)
        slope = up if gap > 0.0 else down
        near = abs(gap) <= _NEAR * scale
        following = level + gap / slope if slope > 0.0 else np.inf
        if not below < following < above or not np.isfinite(following):
            if not np.isfinite(above - below):
                first, last = _reach(lo, hi, weight, wish)
                below, above = max(below, first), min(above, last)
            following = 0.5 * (below + above)
            if not below < following < above:
                break
        level = following
    if kept != level:
        _write(level, lo, hi, weight, wish, share)
    return level
