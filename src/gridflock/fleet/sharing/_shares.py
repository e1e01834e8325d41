"""Sharing among devices that cannot take any level: in turn, off the hole below the smallest, and the trim.

Compiled loops over rows of any family; ``_split`` decides which family uses which.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._merit import margin_of
from gridflock.schema import Family
from gridflock.units import Codes, Kw, Mask, Rows

_REL = 1e-12
_TINY_KW = 1e-9
_MANY = 20_000
"""From so many rows on only those round the margin are sorted."""
_GIVE_UP = 8.0
"""So many smallest levels before the margin are sorted with it: they may have to make room."""
_SHED, _RENEWABLE = int(Family.SHED), int(Family.RENEWABLE)
_Array = NDArray[np.float64]


def in_turn(start: _Array, amount_kw: float, key: _Array, lo: Kw, hi: Kw, floor: Kw, steps: Mask) -> _Array:
    """Move from a start by an amount, smallest key first, on/off devices as a whole.

    Args:
        start: (m,) where each is.
        amount_kw: by how much the sum moves, of either sign.
        key: (m,) finite; among equals the earlier row comes first.
        lo: (m,) lower bounds.
        hi: (m,) upper bounds, >= lo.
        floor: (m,) smallest level other than 0, as a magnitude.
        steps: (m,) devices that only know on and off.

    Returns:
        float64 (m,) shares.
    """
    room, least = _rooms(start, amount_kw, lo, hi, floor, steps)
    if len(key) < _MANY:
        moved = fill(abs(amount_kw), np.argsort(key, kind="stable"), room, least)
    else:
        moved = _fill_many(abs(amount_kw), key, room, least)
    shares: _Array = start + moved if amount_kw >= 0 else start - moved
    return shares


def _fill_many(amount_kw: float, key: _Array, room: _Array, least: _Array) -> _Array:
    """As ``fill`` in the order of the keys, without sorting those far from the margin."""
    nothing = np.zeros(len(key))
    before = amount_kw - _GIVE_UP * float(least.max())
    first = margin_of(before, nothing, room, key)[0] if before > 0 else -np.inf
    last = margin_of(amount_kw * (1.0 + 2.0 * _REL) + _REL, nothing, room, key)[0]
    given = np.where(key < first, room, 0.0)
    near = np.flatnonzero((key >= first) & (key <= last))
    order = np.argsort(key[near], kind="stable")
    given[near] = fill(amount_kw - float(given.sum()), order, room[near], least[near])
    return given


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _rooms(
    start: _Array, amount: float, lo: _Array, hi: _Array, floor: _Array, steps: Mask
) -> tuple[_Array, _Array]:
    """How far each can move, and the least that it can move other than nothing."""
    room, least = np.empty(len(lo)), np.empty(len(lo))
    for i in range(len(lo)):
        room[i] = hi[i] - start[i] if amount >= 0.0 else start[i] - lo[i]
        least[i] = min(floor[i], room[i]) if start[i] == 0.0 else 0.0
        least[i] = room[i] if steps[i] else least[i]
    return room, least


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def fill(amount_kw: float, order: NDArray[np.intp], room: Kw, least: Kw) -> _Array:
    """Give an amount away in an order: each gets all of its room, until the last gets the rest.

    Nobody gets between 0 and its ``least``. Where the rest is smaller than that, those before give
    up what they can above their own least; where they cannot, the nearer of nothing and ``least``
    is given, so that the error is at most half a device.

    Args:
        amount_kw: >= 0.
        order: (n,) who comes first.
        room: (n,) >= 0, most that each can take.
        least: (n,) smallest share other than 0, <= room.

    Returns:
        float64 (n,), in the rows' own order.
    """
    given = np.zeros(len(room))
    tiny = _REL * max(1.0, amount_kw)
    filled, last = 0.0, 0
    while last < len(order) and filled + room[order[last]] <= amount_kw + tiny:
        filled += room[order[last]]
        given[order[last]] = room[order[last]]
        last += 1
    rest = amount_kw - filled
    if last == len(order) or rest <= tiny:
        return given
    smallest, slack = least[order[last]], 0.0
    for k in range(last):
        slack += room[order[k]] - least[order[k]]
    if rest >= smallest:
        given[order[last]] = rest
    elif slack >= smallest - rest:
        lacking = smallest - rest
        for k in range(last - 1, -1, -1):
            back = min(lacking, room[order[k]] - least[order[k]])
            given[order[k]] -= back
            lacking -= back
            if lacking <= 0.0:
                break
        given[order[last]] = smallest
    elif rest > 0.5 * smallest:
        given[order[last]] = smallest
    return given


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def gather(
    rows: Rows,
    lo: Kw,
    hi: Kw,
    previous: Kw,
    present: NDArray[Any],
    available: NDArray[Any],
    p_min: NDArray[Any],
    p_max: NDArray[Any],
    least: NDArray[Any],
    on_off: Codes,
    family: Codes,
) -> tuple[_Array, _Array, _Array, _Array, Mask]:
    """What a split needs of some rows, bounds tightened to levels that devices can hold.

    Crossed bounds become the level between them that is nearest to rest. On/off devices have two
    levels: sun and wind give all on offer or nothing, a process runs or pauses, others are at 0 or
    a rating; nobody is between 0 and its smallest level. A row without any such level inside its
    bounds keeps them: rows with lo == hi stay what they are.

    Args:
        rows: (m,) which of the n rows.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds.
        previous: (n,) orders in force, NaN where none.
        present: (n,) what each does, NaN where unknown.
        available: (n,) what each would do unasked, NaN where unknown.
        p_min: (n,) nameplate.
        p_max: (n,) nameplate.
        least: (n,) smallest level other than 0, as a magnitude.
        on_off: (n,) 1 for devices that only know on and off.
        family: (n,) ``schema.Family``.

    Returns:
        float64 (m,) lower and upper bounds, state (the last order, or what it does) and smallest
        level, and bool (m,) devices that only know on and off.
    """
    m = len(rows)
    low, high, state, floor = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    steps, levels = np.empty(m, dtype=np.bool_), np.empty(3)
    for k in range(m):
        row = rows[k]
        a, b, does, p = lo[row], hi[row], _known(present[row]), previous[row]
        state[k] = does if np.isnan(p) else p
        floor[k], steps[k] = least[row], on_off[row] == 1
        if a > b:
            a = b = min(max(0.0, b), a)
        if a < b and steps[k]:
            offered = does if np.isnan(available[row]) else np.float64(available[row])
            _levels(family[row], p_min[row], p_max[row], offered, levels)
            a, b = _ends(levels, a, b, state[k])
        free = lo[row] < hi[row] and floor[k] > 0.0
        low[k], high[k] = _past_the_hole(a, b, floor[k]) if free else (a, b)
    return low, high, state, floor, steps


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _known(p: float) -> float:
    return 0.0 if np.isnan(p) else np.float64(p)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _levels(family: int, p_min: float, p_max: float, offered: float, levels: _Array) -> None:
    """What an on/off device can do, three levels ascending."""
    levels[0], levels[1], levels[2] = p_min, 0.0, p_max
    if family == _SHED:
        levels[0] = min(offered, 0.0)
        levels[1] = levels[2] = min(levels[0] - p_min, 0.0)
    elif family == _RENEWABLE:
        levels[2] = min(max(offered, 0.0), np.float64(p_max))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _ends(levels: _Array, lo: float, hi: float, state: float) -> tuple[float, float]:
    """Lowest and highest level inside the bounds; without any, where it is."""
    least, most = np.inf, -np.inf
    for level in levels:
        if lo <= level <= hi:
            least, most = min(least, level), max(most, level)
    held = min(max(state, lo), hi)
    return (least, most) if least <= most else (held, held)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _past_the_hole(lo: float, hi: float, floor: float) -> tuple[float, float]:
    """Bounds with neither of them between 0 and the smallest level, where there is another choice."""
    if lo <= 0.0 <= hi:
        return (0.0 if lo > -floor else lo), (0.0 if hi < floor else hi)
    if lo > 0.0:
        return min(max(lo, floor), hi), hi
    return lo, max(min(hi, -floor), lo)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def off_holes(p_kw: _Array, lo: Kw, hi: Kw, floor: Kw) -> _Array:
    """Shares between 0 and the smallest level go to the nearer of the two that the bounds allow."""
    off = np.empty(len(p_kw))
    for i in range(len(p_kw)):
        off[i] = _off_the_hole(p_kw[i], lo[i], hi[i], floor[i])
    return off


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _off_the_hole(p: float, lo: float, hi: float, floor: float) -> float:
    size = abs(p)
    if size == 0.0 or size >= floor:
        return p
    up = np.copysign(floor, p)
    can_off = lo <= 0.0 <= hi
    if lo <= up <= hi and (not can_off or size > 0.5 * floor):
        return float(up)
    return 0.0 if can_off else p


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def settle(p_kw: _Array, target_kw: float, lo: Kw, hi: Kw, floor: Kw, steps: Mask) -> float:
    """Bring shares onto levels that devices can hold, in place, and trim what the sum then lacks.

    A small rest goes to whoever can move smoothly, in proportion to what each can.

    Args:
        p_kw: (m,) shares.
        target_kw: wanted sum.
        lo: (m,) lower bounds.
        hi: (m,) upper bounds, >= lo.
        floor: (m,) smallest level other than 0, as a magnitude.
        steps: (m,) devices that only know on and off.

    Returns:
        Sum of the shares: as near to the wanted one as smooth moves reach.
    """
    total = 0.0
    for i in range(len(p_kw)):
        p = min(max(p_kw[i], lo[i]), hi[i])
        p_kw[i] = _off_the_hole(p, lo[i], hi[i], floor[i])
        total += p_kw[i]
    missing = target_kw - total
    if abs(missing) <= _TINY_KW:
        return total
    whole = 0.0
    for i in range(len(p_kw)):
        whole += _smooth(p_kw[i], missing, lo[i], hi[i], floor[i], steps[i])
    if whole <= 0.0:
        return total
    share, total = np.copysign(min(1.0, abs(missing) / whole), missing), 0.0
    for i in range(len(p_kw)):
        p_kw[i] += share * _smooth(p_kw[i], missing, lo[i], hi[i], floor[i], steps[i])
        total += p_kw[i]
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _smooth(p: float, missing: float, lo: float, hi: float, floor: float, steps: bool) -> float:  # noqa: FBT001 - a column's cell
    """How far a device can move towards what is missing without a jump."""
    if steps or (p == 0.0 and floor > 0.0):
        return 0.0
    if missing > 0.0:
        end = min(hi, -floor) if p < 0.0 and floor > 0.0 else hi
        return max(end - p, 0.0)
    end = max(lo, floor) if p > 0.0 and floor > 0.0 else lo
    return max(p - end, 0.0)
