"""Ways to share one sum among many: fair, by order of merit, and the trim of what is left.

All are pure array arithmetic over rows of any family; ``_split`` decides which family uses which.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Kw, Mask

_ROUNDS = 60
_REL = 1e-12
_TINY_KW = 1e-9
_Array = NDArray[np.float64]


def fair(target_kw: float, lo: Kw, hi: Kw, weight: NDArray[Any], wish: Kw) -> _Array:
    """Quadratic-fair water-filling: the ``x = clip(wish + μ·weight, lo, hi)`` whose sum is the target.

    It minimises Σ (x − wish)² / weight inside the bounds. The sum is piecewise linear and rising in
    μ, so Newton steps inside a shrinking bracket end exactly after a few rounds.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.
        weight: (n,) > 0, who moves most.
        wish: (n,) where each would like to be.

    Returns:
        float64 (n,) shares.
    """
    low, high = float(lo.sum()), float(hi.sum())
    if target_kw <= low or target_kw >= high:
        return np.array(lo if target_kw <= low else hi, dtype=np.float64)
    below, above = float(((lo - wish) / weight).min()), float(((hi - wish) / weight).max())
    close = _REL * max(1.0, abs(target_kw), abs(low), abs(high))
    level = min(max(0.0, below), above)
    share: _Array = np.clip(wish + level * weight, lo, hi)
    for _ in range(_ROUNDS):
        gap = target_kw - float(share.sum())
        if abs(gap) <= close:
            break
        if gap > 0:
            below = level
        else:
            above = level
        raw = wish + level * weight
        moves = (raw < hi) if gap > 0 else (raw > lo)
        moves &= (raw >= lo) if gap > 0 else (raw <= hi)
        slope = float(weight[moves].sum())
        level = level + gap / slope if slope > 0 else 0.5 * (below + above)
        if not below < level < above:
            level = 0.5 * (below + above)
        share = np.clip(wish + level * weight, lo, hi)
    return share


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
    room_by_turn = room[order]
    filled = np.cumsum(room_by_turn)
    tiny = _REL * max(1.0, amount_kw)
    last = int(np.searchsorted(filled, amount_kw + tiny, side="right"))
    by_turn = np.zeros(len(room))
    by_turn[:last] = room_by_turn[:last]
    rest = amount_kw - (float(filled[last - 1]) if last else 0.0)
    if last < len(room) and rest > tiny:
        smallest = float(least[order[last]])
        slack = by_turn[:last] - least[order[:last]]
        if rest >= smallest:
            by_turn[last] = rest
        elif float(slack.sum()) >= smallest - rest:
            back = np.cumsum(slack[::-1])[::-1]
            by_turn[:last] -= np.clip(smallest - rest - (back - slack), 0.0, slack)
            by_turn[last] = smallest
        elif rest > 0.5 * smallest:
            by_turn[last] = smallest
    given[order] = by_turn
    return given


def trim(p_kw: _Array, missing_kw: float, lo: Kw, hi: Kw, floor: Kw, *, steps: Mask) -> _Array:
    """Give a small rest to whoever can move smoothly, in proportion to what each can.

    Args:
        p_kw: (n,) shares, each allowed.
        missing_kw: what the sum still lacks, of either sign.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds.
        floor: (n,) smallest level other than 0, as a magnitude.
        steps: (n,) devices that only know on and off.

    Returns:
        float64 (n,) shares; the sum is as near to the wanted one as smooth moves reach.
    """
    if abs(missing_kw) <= _TINY_KW:
        return p_kw
    stopped = steps | ((p_kw == 0) & (floor > 0))
    if missing_kw > 0:
        room = np.where(p_kw < 0, np.where(floor > 0, np.minimum(hi, -floor), hi), hi) - p_kw
    else:
        room = p_kw - np.where(p_kw > 0, np.where(floor > 0, np.maximum(lo, floor), lo), lo)
    room = np.where(stopped, 0.0, np.maximum(room, 0.0))
    whole = float(room.sum())
    if whole <= 0:
        return p_kw
    moved: _Array = p_kw + np.sign(missing_kw) * room * min(1.0, abs(missing_kw) / whole)
    return moved


def off_the_hole(p_kw: _Array, lo: Kw, hi: Kw, floor: Kw) -> _Array:
    """Shares between 0 and the smallest level go to the nearer of the two that the bounds allow."""
    size = np.abs(p_kw)
    inside = (size > 0) & (size < floor)
    if not inside.any():
        return p_kw
    up = np.copysign(floor, p_kw)
    can_up = (up >= lo) & (up <= hi)
    can_off = (lo <= 0) & (hi >= 0)
    to = np.where(can_up & (~can_off | (size > 0.5 * floor)), up, np.where(can_off, 0.0, p_kw))
    snapped: _Array = np.where(inside, to, p_kw)
    return snapped
