"""Devices with levels: whole steps above a lowest one, as near to the target as steps come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._merit import lots, merit
from gridflock.fleet.sharing._water import proportional
from gridflock.units import Kw

_SLACK = 1e-6
"""A level missed by this share of a step is that level."""
_LAST_STEPS = 64
_Array = NDArray[np.float64]


def in_steps(target_kw: float, lo: Kw, hi: Kw, step_kw: Kw, key: NDArray[Any] | None = None) -> _Array:
    """Share a sum among devices that only hold ``lo``, ``lo + step``, … up to ``hi``.

    A continuous share is cut to whole steps; what that leaves goes to the largest remainders, and
    what is left then to the step that fits it best.

    Args:
        target_kw: wanted sum; outside what the highest and lowest levels make, those are given.
        lo: (n,) lowest levels.
        hi: (n,) upper bounds, >= lo; the highest level is the last step below.
        step_kw: (n,) > 0.
        key: (n,) finite, who comes first; without it all share in proportion.

    Returns:
        float64 (n,) levels. Their sum misses a target they can reach by half a step at most, of the
        smallest one where it falls short.
    """
    low, high, step = (np.ascontiguousarray(column, dtype=np.float64) for column in (lo, hi, step_kw))
    top = np.empty(len(low))
    _highest(low, high, step, top)
    share = proportional(target_kw, low, top) if key is None else merit(target_kw, low, top, key)
    room, remainder = np.empty(len(low)), np.empty(len(low))
    missing = target_kw - _cut(low, step, top, share, room, remainder)
    if missing > 0.0 and room.any():
        turn = lots(np.arange(len(low), dtype=np.int32), 0)
        raised = (merit(missing, np.zeros(len(low)), room, remainder, turn) >= room) & (room > 0.0)
        share[raised] += step[raised]
        missing -= float(step[raised].sum())
    _fit(missing, share, top, step)
    return share


def _fit(missing: float, share: _Array, top: _Array, step: _Array) -> None:
    """Raise single devices by the step that comes nearest to what is missing, while that helps."""
    for _ in range(_LAST_STEPS):
        best, left = _nearest(missing, share, top, step)
        if best < 0 or not left < abs(missing):
            break
        share[best] += step[best]
        missing -= float(step[best])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _highest(lo: _Array, hi: _Array, step: _Array, top: _Array) -> None:
    """The highest level of each."""
    for i in range(len(lo)):
        top[i] = lo[i] + np.floor((hi[i] - lo[i]) / step[i] + _SLACK) * step[i]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _cut(lo: _Array, step: _Array, top: _Array, share: _Array, room: _Array, remainder: _Array) -> float:
    """Cut shares to levels; one more step each can take, what each lost as a falling key, and the sum."""
    total = 0.0
    for i in range(len(lo)):
        exact = (share[i] - lo[i]) / step[i]
        steps = np.floor(exact + _SLACK)
        share[i] = min(lo[i] + steps * step[i], top[i])
        room[i] = step[i] if top[i] - share[i] > 0.5 * step[i] else 0.0
        remainder[i] = steps - exact
        total += share[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _nearest(missing: float, share: _Array, top: _Array, step: _Array) -> tuple[int, float]:
    """Whose step comes nearest to what is missing, and what it would leave; -1 where nobody has one."""
    best, left = -1, np.inf
    for i in range(len(share)):
        if top[i] - share[i] > 0.5 * step[i] and abs(missing - step[i]) < left:
            best, left = i, abs(missing - step[i])
    return best, left
