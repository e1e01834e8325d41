"""Limits of feeders and groups: steps, speeds, shares, and what moves in a window."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gridflock.dispatch.guard import _fitting
from gridflock.dispatch.guard._asked import Moves, Places
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GroupLimit, GuardLimits
from gridflock.dispatch.guard._state import GuardState
from gridflock.fleet import Image
from gridflock.units import Codes, Rows


def hold_steps(
    why: Codes,
    moves: Moves,
    image: Image,
    limits: GuardLimits,
    state: GuardState,
    rows_of: Mapping[str, Rows],
) -> dict[str, float]:
    """Hold what exceeds a limit of a feeder or group, in place.

    To hold one order can break the balance of another group it is in: all are looked at again until
    none holds anything more. A group that is gone lets nothing pass.

    Returns:
        kW that the orders left move in each group with a limit on that.
    """
    now_s, kw = image.now_s, moves.kw
    found = _found(why, moves, image, limits, rows_of)
    for limit, turn, members in found:
        if limit.share < 1.0:
            _fitting.fit_share(why, turn, moves.repeats, math.ceil(limit.share * members), Held.SHARE)
        if limit.moved_kw < math.inf:
            room = limit.moved_kw - state.memory.spent_kw(meter(limit), now_s, limits.window_s)
            _fitting.fit_size(why, turn, kw, room, Held.MOVED)
    since_s = now_s - state.now_s if state.now_s >= 0 else 1
    steps = [(turn, _step_kw(limit, since_s)) for limit, turn, _ in found]
    steps = [(turn, step_kw) for turn, step_kw in steps if step_kw < math.inf]
    while sum(_fitting.fit_step(why, turn, kw, step_kw, Held.STEP) for turn, step_kw in steps):
        pass
    sizes = np.where(why == Held.NOT, np.abs(kw), 0.0)
    return {meter(limit): float(sizes[turn].sum()) for limit, turn, _ in found if limit.moved_kw < math.inf}


def meter(limit: GroupLimit) -> str:
    """Under which name the moves of a group are remembered."""
    return f"group:{limit.group}"


def _found(
    why: Codes, moves: Moves, image: Image, limits: GuardLimits, rows_of: Mapping[str, Rows]
) -> list[tuple[GroupLimit, Places, int]]:
    """Limits with the places of their members' orders, those that go first in front, and all members."""
    whole = limits.whole
    found = [(whole, moves.turn, image.n)] if whole.binds else []
    if not limits.groups:
        return found
    place = np.full(image.n, -1, dtype=np.int64)
    place[moves.rows] = np.arange(len(moves.rows))
    rank = np.empty(len(moves.turn), dtype=np.intp)
    rank[moves.turn] = np.arange(len(moves.turn))
    for limit in limits.groups:
        if limit.group not in rows_of:
            why[why == Held.NOT] = Held.STEP
            continue
        rows = rows_of[limit.group]
        at = place[rows]
        found.append((limit, moves.turn[np.sort(rank[at[at >= 0]])], len(rows)))
    return found


def _step_kw(limit: GroupLimit, since_s: int) -> float:
    """Largest net change now; a clock that stood still or went back allows none by the second."""
    speed = math.inf if limit.rate_kw_s == math.inf else limit.rate_kw_s * max(since_s, 0)
    return min(limit.step_kw, speed)
