"""All that limits a resource in the next step, folded into one lower and one upper bound.

Bounds that cross each other are a finding, not a fault: the level nearest to rest between them is
kept and the row is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.units import HOUR_S, Kw, Kwh

_BLOCK = 131_072
"""Rows folded at a time: both results stay in a core's own memory while limits stream by one by one."""
_Column = NDArray[Any]
_NOTHING = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """One range of injection for each row.

    Attributes:
        lo_kw: float32 (n,) lower bounds.
        hi_kw: float32 (n,) upper bounds, never below the lower.
        crossed: rows whose limits contradict each other.
        unknown: rows without room because some limit is unknown.
    """

    lo_kw: Kw
    hi_kw: Kw
    crossed: int
    unknown: int


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What may limit resources, as columns of n rows; ``None`` where a kind of limit does not exist.

    An unknown number (NaN) in a column that is given leaves its row no room at all.

    Attributes:
        p_min_kw: largest consumption by the nameplate, <= 0.
        p_max_kw: largest injection by the nameplate, >= 0.
        p_avail_kw: what sun or wind offer, at most which can be given.
        now_kw: present power, from which a ramp starts; with ``ramp_kw_s``.
        ramp_kw_s: fastest change, kW/s.
        e_kwh: energy stored; with the four columns below.
        e_lo_kwh: energy that has to stay.
        e_hi_kwh: energy when full.
        eff_charge: stored per drawn energy.
        eff_discharge: delivered per withdrawn energy.
        envelope_lo_kw: lowest injection that the grid lets the resource have.
        envelope_hi_kw: highest.
    """

    p_min_kw: Kw
    p_max_kw: Kw
    p_avail_kw: Kw | None = None
    now_kw: Kw | None = None
    ramp_kw_s: NDArray[Any] | None = None
    e_kwh: Kwh | None = None
    e_lo_kwh: Kwh | None = None
    e_hi_kwh: Kwh | None = None
    eff_charge: NDArray[Any] | None = None
    eff_discharge: NDArray[Any] | None = None
    envelope_lo_kw: Kw | None = None
    envelope_hi_kw: Kw | None = None

    def fold(self, step_s: float) -> Bounds:
        """The range in which each row can be held through a step.

        Args:
            step_s: length of the step, > 0.

        Returns:
            Bounds; where limits cross, both are the level nearest to 0 between the crossing ones,
            and where one is unknown both are 0.
        """
        n = len(self.p_min_kw)
        lo, hi = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
        columns = [
            _NOTHING if column is None else np.ascontiguousarray(column, dtype=np.float32)
            for column in (getattr(self, name) for name in Limits.__slots__)
        ]
        crossed, unknown = _fold(*columns, np.float32(step_s), np.float32(step_s / HOUR_S), lo, hi)
        return Bounds(lo, hi, crossed, unknown)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _fold(
    p_min: _Column,
    p_max: _Column,
    offered: _Column,
    now: _Column,
    ramp: _Column,
    energy: _Column,
    e_lo: _Column,
    e_hi: _Column,
    eff_charge: _Column,
    eff_discharge: _Column,
    envelope_lo: _Column,
    envelope_hi: _Column,
    step_s: np.float32,
    hours: np.float32,
    lo: _Column,
    hi: _Column,
) -> tuple[int, int]:
    crossed, unknown = 0, 0
    for first in range(0, len(lo), _BLOCK):
        here = slice(first, min(first + _BLOCK, len(lo)))
        low, high = lo[here], hi[here]
        low[:], high[:] = p_min[here], p_max[here]
        if len(offered):
            _at_most(offered[here], high)
        if len(ramp):
            _near(now[here], ramp[here], step_s, low, high)
        if len(energy):
            _room(energy[here], e_hi[here], eff_charge[here], hours, low)
            _spare(energy[here], e_lo[here], eff_discharge[here], hours, high)
        if len(envelope_lo):
            _at_least(envelope_lo[here], low)
        if len(envelope_hi):
            _at_most(envelope_hi[here], high)
        found = _settle(low, high)
        crossed, unknown = crossed + found[0], unknown + found[1]
    return crossed, unknown


# Each loop writes few columns and reads few: beyond that the compiler cannot tell that they do not
# overlap, and takes row by row.


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _lower(bound: float, limit: float) -> float:
    """The lower of two, unknown where one of them is."""
    return bound if bound <= limit or np.isnan(bound) else limit


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _upper(bound: float, limit: float) -> float:
    """The higher of two, unknown where one of them is."""
    return bound if bound >= limit or np.isnan(bound) else limit


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _at_most(limit: _Column, hi: _Column) -> None:
    for i in range(len(hi)):
        hi[i] = _lower(hi[i], limit[i])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _at_least(limit: _Column, lo: _Column) -> None:
    for i in range(len(lo)):
        lo[i] = _upper(lo[i], limit[i])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _near(now: _Column, ramp: _Column, step_s: np.float32, lo: _Column, hi: _Column) -> None:
    """What a ramp reaches from the present power."""
    for i in range(len(lo)):
        lo[i] = _upper(lo[i], now[i] - ramp[i] * step_s)
        hi[i] = _lower(hi[i], now[i] + ramp[i] * step_s)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _room(energy: _Column, full: _Column, eff: _Column, hours: np.float32, lo: _Column) -> None:
    """What room for more energy sustains, as a lower bound."""
    none = np.float32(0.0)
    for i in range(len(lo)):
        lo[i] = _upper(lo[i], -_upper(full[i] - energy[i], none) / (eff[i] * hours))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _spare(energy: _Column, least: _Column, eff: _Column, hours: np.float32, hi: _Column) -> None:
    """What energy that may go sustains, as an upper bound."""
    none = np.float32(0.0)
    for i in range(len(hi)):
        hi[i] = _lower(hi[i], _upper(energy[i] - least[i], none) * eff[i] / hours)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator] # numba carries no annotations
def _settle(lo: _Column, hi: _Column) -> tuple[int, int]:
    """Crossed and unknown bounds become one level; returns how many of each."""
    crossed, unknown, rest = np.int32(0), np.int32(0), np.float32(0.0)
    for i in range(len(lo)):
        a, b = lo[i], hi[i]
        wrong, absent = a > b, np.isnan(a) or np.isnan(b)
        # Between crossing bounds the level nearest to rest: 0, or the bound on its side.
        safe = rest if absent else min(max(b, rest), a)
        lo[i] = safe if wrong or absent else a
        hi[i] = safe if wrong or absent else b
        crossed += np.int32(1) if wrong else np.int32(0)
        unknown += np.int32(1) if absent else np.int32(0)
    return int(crossed), int(unknown)
