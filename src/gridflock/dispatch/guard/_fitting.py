"""Compiled loops that fit orders into what limits leave; plain arrays in and out, ``why`` in place.

Several accounts or groups are served in one pass: places come in the order in which orders go first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard._kernels import compiled
from gridflock.units import Codes, Kw, Mask, Rows

Places = NDArray[np.intp]
_ROUNDING_KW = 1e-6


@compiled
def fit_accounts(why: Codes, turn: Places, account: Rows, size_kw: Kw, room_kw: Kw, code: int) -> None:
    """Hold what does not fit into what is left of its account; sizes >= 0, ``room_kw`` is used up."""
    for i in turn:
        a = account[i]
        if a >= 0 and why[i] == 0:
            if size_kw[i] <= room_kw[a]:
                room_kw[a] -= size_kw[i]
            else:
                why[i] = code


@compiled
def fit_proposals(
    why: Codes,
    source: NDArray[np.int64],
    account: Rows,
    away_kw: Kw,
    of_source: Rows,
    room_kw: Kw,
    code: int,
) -> None:
    """Hold, whole, proposals that do not fit into what is left of their account.

    Args:
        why: ``Held`` codes (k).
        source: (k,) proposal of each order; negative where none.
        account: (k,) account of each order; -1 where none.
        away_kw: (k,) how much further it takes its resource away; negative where it comes back.
        of_source: (proposals + 1,) account of each proposal.
        room_kw: (accounts,) what is left; used up.
        code: what is held is held for.
    """
    wanted = np.zeros(len(of_source))
    for i in range(len(why)):
        if why[i] == 0 and account[i] >= 0 and away_kw[i] > 0.0:
            wanted[source[i]] += away_kw[i]
    denied = np.zeros(len(of_source), np.bool_)
    for s in range(len(of_source)):
        a = of_source[s]
        if a >= 0 and wanted[s] > 0.0:
            if wanted[s] <= room_kw[a] + _ROUNDING_KW:
                room_kw[a] -= wanted[s]
            else:
                denied[s] = True
    for i in range(len(why)):
        if why[i] == 0 and account[i] >= 0 and away_kw[i] > 0.0 and denied[source[i]]:
            why[i] = code


@compiled
def fit_size(why: Codes, turn: Places, kw: Kw, room_kw: float, code: int) -> None:
    """Hold what does not fit into what a group may still move, both ways added."""
    for i in turn:
        if why[i] == 0:
            if abs(kw[i]) <= room_kw:
                room_kw -= abs(kw[i])
            else:
                why[i] = code


@compiled
def fit_share(why: Codes, turn: Places, repeats: Mask, most: int, code: int) -> None:
    """Hold all changed orders behind the first so many."""
    for i in turn:
        if why[i] == 0 and not repeats[i]:
            if most > 0:
                most -= 1
            else:
                why[i] = code


@compiled
def _fit_side(why: Codes, turn: Places, kw: Kw, side: float, room_kw: float, code: int) -> float:
    """Hold what of one direction does not fit; what has passed, >= 0."""
    passed = 0.0
    for i in turn:
        size = side * kw[i]
        if why[i] == 0 and size > 0.0:
            if passed + size <= room_kw:
                passed += size
            else:
                why[i] = code
    return passed


@compiled
def fit_step(why: Codes, turn: Places, kw: Kw, down_kw: float, up_kw: float, code: int) -> int:
    """Hold what makes the net change of a group too large, up or down (both >= 0); how many.

    An order that does not fit into what those before it left is passed over, and lighter ones may
    still fit. Orders against the direction of the overshoot all pass, unless they alone would be too
    large a step.
    """
    up, down, before = 0.0, 0.0, 0
    for i in turn:
        if why[i] == 0:
            before += 1
            up += max(kw[i], 0.0)
            down += max(-kw[i], 0.0)
    if -down_kw - _ROUNDING_KW <= up - down <= up_kw + _ROUNDING_KW:
        return 0
    side = 1.0 if up - down > up_kw else -1.0
    ahead, back = (up, down) if side > 0.0 else (down, up)
    most_ahead, most_back = (up_kw, down_kw) if side > 0.0 else (down_kw, up_kw)
    while ahead - back > most_ahead + _ROUNDING_KW or back - ahead > most_back + _ROUNDING_KW:
        ahead = _fit_side(why, turn, kw, side, most_ahead + back, code)
        back = _fit_side(why, turn, kw, -side, most_back + ahead, code)
    after = 0
    for i in turn:
        if why[i] == 0:
            after += 1
    return before - after


@compiled
def sums(why: Codes, rows: Rows, place: Rows, kw: Kw, repeats: Mask) -> tuple[float, float, int]:
    """What the orders of some rows come to: net and gross change, and how many are changed."""
    net, gross, changed = 0.0, 0.0, 0
    for r in rows:
        i = place[r]
        if i >= 0 and why[i] == 0:
            net += kw[i]
            gross += abs(kw[i])
            changed += not repeats[i]
    return net, gross, changed


@compiled
def places(rows: Rows, place: Rows, rank: Rows) -> Rows:
    """Rank of the orders of some rows, ascending."""
    found = np.empty(len(rows), np.int32)
    count = 0
    for r in rows:
        if place[r] >= 0:
            found[count] = rank[place[r]]
            count += 1
    return np.sort(found[:count])
