"""Compiled loops of the guard over rows; plain arrays in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.dispatch.guard._held import Held
from gridflock.schema import Family
from gridflock.units import Rows, Seconds

_SLACK_KW = 1e-3
_REPEAT_KW = 0.05
_REPEAT_SHARE = 0.02
"""An order that differs by less from the one in force repeats it."""
TURN_SHARE = 0.05
"""A change by less of the nameplate is no change of direction."""
_FAR = 20.0
"""What lies so far beyond nameplate was meant in another unit."""
_UNITS, _SIGN, _NAMEPLATE = int(Held.UNITS), int(Held.SIGN), int(Held.NAMEPLATE)
_NOT_FINITE, _TAKES_NONE, _REACTIVE = int(Held.NOT_FINITE), int(Held.TAKES_NONE), int(Held.REACTIVE)
_REVERSAL = int(Held.REVERSAL)
_NONE, _SHED = int(Family.NONE), int(Family.SHED)


def compiled(function: Any) -> Any:  # noqa: ANN401  # the compiler's decorator is untyped
    """Translate on first use, keep the translation on disk, let other threads run meanwhile."""
    return njit(cache=True, nogil=True)(function)


@compiled
def beyond(p_kw: float, low: float, high: float) -> int:
    """How a number lies outside a nameplate: 0 inside, else the ``Held`` code.

    A thousand times too large is watts taken for kilowatts; one that fits with its sign turned
    was meant in the other convention.
    """
    if low - _SLACK_KW <= p_kw <= high + _SLACK_KW:
        return 0
    reach = max(-low, high)
    if low - _SLACK_KW <= -p_kw <= high + _SLACK_KW:
        return _SIGN
    if reach > 0.0 and abs(p_kw) > _FAR * reach and abs(p_kw) <= 1_000.0 * reach * 1.001:
        return _UNITS
    return _NAMEPLATE


@compiled
def _sound(p_kw: float, q_kvar: float, family: int, plate: Any, demand: Any) -> int:  # noqa: ANN401 - tuples
    """``Held`` code of an order by its numbers; ``plate``: low, high, rating; ``demand``: offered, now."""
    low, high, rating = plate
    if family == _NONE:
        return _TAKES_NONE
    if not np.isnan(q_kvar) and not abs(q_kvar) <= rating + _SLACK_KW:
        return _REACTIVE
    if np.isnan(p_kw):
        return _NOT_FINITE if np.isnan(q_kvar) else 0
    if abs(p_kw) == np.inf:
        return _NOT_FINITE
    if family == _SHED:
        # The nameplate of a process is its flexible part; the whole demand is what it reports.
        for whole in demand:
            low = min(low, whole)
    return int(beyond(p_kw, low, high))


@compiled
def _repeated(p_kw: float, last: float) -> bool:
    """Whether an order only repeats the one in force; NaN: none is."""
    return bool(abs(p_kw - last) <= max(_REPEAT_KW, _REPEAT_SHARE * abs(last)))


@compiled
def _start(p_kw: float, present: float, last: float, unsettled: bool) -> float:  # noqa: FBT001 - compiled
    """From where a change is counted: as long as nobody knows what the last order did, the longer way."""
    if _repeated(p_kw, last) or (unsettled and abs(p_kw - last) > abs(p_kw - present)):
        return last
    return present


@compiled
def _extra(p_kw: float, start: float, last: float, base: float, mine: bool) -> float:  # noqa: FBT001 - compiled
    """What an order adds to the account of its credential: the way there, and more to come back."""
    if np.isnan(base):
        base = start if np.isnan(last) else last
    return abs(p_kw - start) + abs(p_kw - base) - (abs(last - base) if mine else 0.0)


@compiled
def look(
    rows: NDArray[np.int32],
    p_kw: NDArray[np.float64],
    q_kvar: NDArray[np.float64],
    account: NDArray[np.int32],
    image: Any,  # noqa: ANN401 - a tuple of columns
    memory: Any,  # noqa: ANN401 - a tuple of columns
    now_s: int,
    settle_s: int,
    turn_room_s: float,
) -> Any:  # noqa: ANN401 - a tuple of columns
    """Judge every candidate by itself.

    Returns:
        why: uint8 (k) ``Held`` code, 0 where nothing speaks against it.
        move: float64 (k) signed change of injection.
        start: float64 (k) power that the change is counted from.
        extra: float64 (k) what it adds to the account of its credential; 0 where it has none.
        repeats: bool (k) whether it repeats the order in force.
    """
    present, offered, family, low_kw, high_kw, s_kva, heard_s, reach_s = image
    last_kw, expires_s, issued_s, base_kw, holder, turn, turn_s = memory
    k = len(rows)
    why, repeats = np.zeros(k, np.uint8), np.zeros(k, np.bool_)
    move, start, extra = np.zeros(k), np.zeros(k), np.zeros(k)
    for i in range(k):
        r, p = rows[i], p_kw[i]
        low, high, free = float(low_kw[r]), float(high_kw[r]), float(offered[r])
        now_kw = float(present[r])
        why[i] = _sound(p, q_kvar[i], family[r], (low, high, float(s_kva[r])), (free, now_kw))
        if why[i] != 0:
            continue
        in_force = expires_s[r] > now_s
        last = float(last_kw[r]) if in_force else np.nan
        if np.isnan(now_kw):
            now_kw = 0.0 if np.isnan(last) else last
        if np.isnan(p):
            # Reactive power alone leaves active power to the device: an order in force ends.
            p = now_kw if np.isnan(last) or np.isnan(free) else free
        if not in_force and heard_s[r] < expires_s[r] and abs(p - free) > abs(p - now_kw):
            # Not heard since its order ended: it may be back at what it does unasked.
            now_kw = free
        unsettled = heard_s[r] < issued_s[r] + settle_s + reach_s[r]
        repeats[i] = _repeated(p, last)
        start[i] = _start(p, now_kw, last, unsettled)
        move[i] = p - start[i]
        if account[i] >= 0:
            mine = in_force and holder[r] == account[i]
            base = float(base_kw[r]) if in_force else np.nan
            extra[i] = _extra(p, start[i], last, base, mine)
        turns = (p - last) * turn[r] < -TURN_SHARE * (high - low)
        if turns and now_s < turn_s[r] - turn_room_s:
            why[i] = _REVERSAL
    return why, move, start, extra, repeats


@compiled
def look_kvar(
    rows: NDArray[np.int32],
    q_kvar: NDArray[np.float64],
    image: Any,  # noqa: ANN401 - a tuple of columns
    memory: Any,  # noqa: ANN401 - a tuple of columns
    now_s: int,
    settle_s: int,
    turn_room_s: float,
) -> Any:  # noqa: ANN401 - a tuple of columns
    """How far every candidate would move reactive power, by the rules of ``look``.

    An order without reactive power leaves it to the device: where one in force asks for some that ends, and
    the device counts with none.

    Returns:
        move: float64 (k) signed change of reactive injection, kvar.
        turns: bool (k) whether it changes direction once too often.
    """
    present, s_kva, heard_s, reach_s = image
    last_kvar, expires_s, issued_s, turn, turn_s = memory
    k = len(rows)
    move, too_often = np.zeros(k), np.zeros(k, np.bool_)
    for i in range(k):
        r, q = rows[i], q_kvar[i]
        in_force = expires_s[r] > now_s
        last = float(last_kvar[r]) if in_force else np.nan
        if np.isnan(q):
            if np.isnan(last):
                continue
            q = 0.0
        now_kvar = float(present[r])
        if np.isnan(now_kvar):
            now_kvar = 0.0 if np.isnan(last) else last
        if not in_force and heard_s[r] < expires_s[r] and abs(q) > abs(q - now_kvar):
            now_kvar = 0.0
        unsettled = heard_s[r] < issued_s[r] + settle_s + reach_s[r]
        move[i] = q - _start(q, now_kvar, last, unsettled)
        turns = (q - last) * turn[r] < -TURN_SHARE * 2.0 * s_kva[r]
        too_often[i] = turns and now_s < turn_s[r] - turn_room_s
    return move, too_often


@compiled
def remember_kvar(
    rows: NDArray[np.int32],
    q_kvar: NDArray[np.float64],
    expires_s: Seconds,
    memory: Any,  # noqa: ANN401 - a tuple of columns, written in place
    s_kva: NDArray[np.float32],
    now_s: int,
    turn_gap_s: float,
) -> None:
    """Write the reactive power of orders that go out into the memory; before ``remember`` does the rest."""
    last_kvar, turn, turn_s = memory
    for i in range(len(rows)):
        r, q = rows[i], float(np.float32(q_kvar[i]))
        last = float(last_kvar[r]) if expires_s[r] > now_s else np.nan
        goes = 0.0 if np.isnan(q) else q
        if abs(goes - last) > TURN_SHARE * 2.0 * s_kva[r]:
            side = 1 if goes > last else -1
            if side * turn[r] < 0:
                turn_s[r] = max(turn_s[r], float(now_s)) + turn_gap_s
            turn[r] = side
        last_kvar[r] = q


@compiled
def remember(
    rows: NDArray[np.int32],
    p_kw: NDArray[np.float64],
    start_kw: NDArray[np.float64],
    until_s: NDArray[np.int64],
    account: NDArray[np.int32],
    memory: Any,  # noqa: ANN401 - a tuple of columns, written in place
    low_kw: NDArray[np.float32],
    high_kw: NDArray[np.float32],
    now_s: int,
    turn_gap_s: float,
    back: NDArray[np.float64],
    held: NDArray[np.float64],
) -> None:
    """Write orders that go out into the memory, and their ways into the accounts.

    ``back`` and ``held`` are (accounts,) sums: ways back that began, and displacement now held.
    """
    last_kw, expires_s, issued_s, base_kw, holder, turn, turn_s = memory
    for i in range(len(rows)):
        r = rows[i]
        # Booked as it is remembered: what is taken off an account later is what was put on it.
        p = float(np.float32(p_kw[i]))
        in_force = expires_s[r] > now_s
        last = float(last_kw[r]) if in_force else np.nan
        old, new = holder[r], account[i]
        base = float(base_kw[r]) if in_force else np.nan
        if old >= 0 and in_force:
            away = abs(last - base)
            held[old] -= away
            if old != new:
                back[old] += away
        if new >= 0:
            if np.isnan(base):
                base = float(np.float32(start_kw[i])) if np.isnan(last) else last
            held[new] += abs(p - base)
        else:
            base = np.nan
        if abs(p - last) > TURN_SHARE * (high_kw[r] - low_kw[r]):
            side = 1 if p > last else -1
            if side * turn[r] < 0:
                turn_s[r] = max(turn_s[r], float(now_s)) + turn_gap_s
            turn[r] = side
        last_kw[r], expires_s[r], issued_s[r] = p, until_s[i], now_s
        base_kw[r], holder[r] = base, new


@compiled
def held_and_over(holder: Rows, expires_s: Seconds, now_s: int) -> Rows:
    """Rows that somebody holds displaced by an order that has ended."""
    count = 0
    for r in range(len(holder)):
        if holder[r] >= 0 and expires_s[r] <= now_s:
            count += 1
    rows = np.empty(count, np.int32)
    count = 0
    for r in range(len(holder)):
        if holder[r] >= 0 and expires_s[r] <= now_s:
            rows[count] = r
            count += 1
    return rows
