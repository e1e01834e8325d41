"""Limits of feeders and groups: steps, speeds, shares, and what moves in a window."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gridflock.dispatch.guard import _kernels
from gridflock.dispatch.guard._asked import Moves, Places
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GroupLimit, GuardLimits
from gridflock.dispatch.guard._state import GuardState
from gridflock.fleet import Image
from gridflock.units import Codes, Kw, Rows

_ROUNDING_KW = 1e-6


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
    place = np.full(image.n, -1, dtype=np.int64)
    place[moves.rows] = np.arange(len(moves.rows))
    found: list[tuple[GroupLimit, Places, int]] = []
    for limit in limits.all_groups():
        if not limit.group:
            found.append((limit, moves.turn, image.n))
        elif limit.group not in rows_of:
            why[why == Held.NOT] = Held.STEP
        else:
            rows = rows_of[limit.group]
            at = place[rows]
            inside = np.zeros(len(moves.rows), dtype=bool)
            inside[at[at >= 0]] = True
            found.append((limit, moves.ranked(inside), len(rows)))
    for limit, turn, members in found:
        _hold_share(why, moves, turn, limit.share, members)
        _hold_moved(why, moves, turn, limit, limits, image.now_s, state)
    since_s = image.now_s - state.now_s if state.now_s >= 0 else 1
    steps = [(turn, _step_kw(limit, since_s)) for limit, turn, _ in found]
    steps = [(turn, step_kw) for turn, step_kw in steps if step_kw < math.inf]
    while any(_hold_step(why, moves.kw, turn, step_kw) for turn, step_kw in steps):
        pass
    sizes = np.where(why == Held.NOT, np.abs(moves.kw), 0.0)
    return {meter(limit): float(sizes[turn].sum()) for limit, turn, _ in found if limit.moved_kw < math.inf}


def meter(limit: GroupLimit) -> str:
    """Under which name the moves of a group are remembered."""
    return f"group:{limit.group}"


def _step_kw(limit: GroupLimit, since_s: int) -> float:
    """Largest net change now; a clock that stood still or went back allows none by the second."""
    speed = math.inf if limit.rate_kw_s == math.inf else limit.rate_kw_s * max(since_s, 0)
    return min(limit.step_kw, speed)


def _hold_share(why: Codes, moves: Moves, turn: Places, share: float, members: int) -> None:
    if share >= 1.0:
        return
    changed = turn[(why[turn] == Held.NOT) & ~moves.repeats[turn]]
    why[changed[math.ceil(share * members) :]] = Held.SHARE


def _hold_moved(
    why: Codes,
    moves: Moves,
    turn: Places,
    limit: GroupLimit,
    limits: GuardLimits,
    now_s: int,
    state: GuardState,
) -> None:
    if limit.moved_kw == math.inf:
        return
    room = limit.moved_kw - state.memory.spent_kw(meter(limit), now_s, limits.window_s)
    some = turn[why[turn] == Held.NOT]
    size = np.abs(moves.kw[some])
    if size.sum() > room:
        why[some[~_kernels.first_fit(size, room)]] = Held.MOVED


def _hold_step(why: Codes, kw: Kw, turn: Places, step_kw: float) -> bool:
    """Hold what makes the net step too large; whether anything was held.

    An order that does not fit into what those before it left is passed over, and lighter ones may
    still fit. Orders against the direction of the overshoot all pass, unless they alone would be too
    large a step.
    """
    some = turn[why[turn] == Held.NOT]
    move = kw[some]
    total = float(move.sum())
    if abs(total) <= step_kw + _ROUNDING_KW:
        return False
    size = np.copysign(1.0, total) * move
    out, back = np.flatnonzero(size > 0), np.flatnonzero(size <= 0)
    while abs(float(size[out].sum() + size[back].sum())) > step_kw + _ROUNDING_KW:
        out = out[_kernels.first_fit(size[out], step_kw - float(size[back].sum()))]
        back = back[_kernels.first_fit(-size[back], step_kw + float(size[out].sum()))]
    stays = np.zeros(len(some), dtype=bool)
    stays[out], stays[back] = True, True
    why[some[~stays]] = Held.STEP
    return True
