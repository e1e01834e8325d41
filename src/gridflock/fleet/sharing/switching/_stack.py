"""The priority stack of on/off loads: who switches when a sum of very many has to follow a target.

Priority is how full a load's comfort band is: the emptiest is switched on first, the fullest off.
Who leaves its band is switched whatever the target, who is in its minimum on or off time never.
Nothing is sorted but the few that stand at the margin of a histogram (as in Hao, Sanandaji, Poolla
and Vincent, Aggregate flexibility of thermostatically controlled loads, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._merit import lots
from gridflock.units import Codes, Kw, Rows

OFF, ON = 0, 1
_BUCKETS = 16_384
_TINY_KW = 1e-9
ROUNDING = "on/off rounding"
"""Cause of what is missing because loads come in whole ones."""
_CAUSES = ("locked", "comfort", "not_ready")
_LOCKED, _COMFORT, _NOT_READY, _ASKED, _ARRIVED, _SUM = range(6)
_Array = NDArray[np.float64]
_Moments = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """On/off loads as columns of n rows; a step makes the next stack and leaves this one.

    Moments are whole seconds after ``start_s``, so that they fit into four bytes.

    Attributes:
        start_s: unix seconds that moments count from.
        p_on_kw: float32 power while on, <= 0; while off it is 0.
        min_on_s: int32 shortest time on.
        min_off_s: int32 shortest time off.
        on: uint8, 1 where it should be on: what was ordered last, or what it was last heard to do.
        heard_on: uint8, 1 where it was on when last heard.
        heard_s: int32 moment it was last heard.
        free_s: int32 moment from which it may switch again.
        stepped_s: moment of the last step.
    """

    start_s: int
    p_on_kw: Kw
    min_on_s: _Moments
    min_off_s: _Moments
    on: Codes
    heard_on: Codes
    heard_s: _Moments
    free_s: _Moments
    stepped_s: int = 0

    @classmethod
    def start(
        cls,
        p_on_kw: Kw,
        min_on_s: NDArray[Any],
        min_off_s: NDArray[Any],
        on: Codes,
        now_s: int,
        locked_s: NDArray[Any] | None = None,
    ) -> Self:
        """The loads as they are now.

        Args:
            p_on_kw: (n,) power while on, <= 0.
            min_on_s: (n,) shortest time on, rounded up to whole seconds.
            min_off_s: (n,) shortest time off.
            on: (n,) 1 where a load is on.
            now_s: unix seconds.
            locked_s: (n,) seconds until each may switch again; unknown (NaN, or no column at all)
                counts as a switch just now.
        """
        least_on = np.ceil(np.asarray(min_on_s)).astype(np.int32)
        least_off = np.ceil(np.asarray(min_off_s)).astype(np.int32)
        whole = np.where(on == ON, least_on, least_off)
        left = whole if locked_s is None else np.where(np.isnan(locked_s), whole, np.ceil(locked_s))
        state = (on == ON).astype(np.uint8)
        heard_s = np.zeros(len(on), dtype=np.int32)
        p_kw = np.ascontiguousarray(p_on_kw, dtype=np.float32)
        return cls(now_s, p_kw, least_on, least_off, state, state, heard_s, left.astype(np.int32))

    @property
    def p_kw(self) -> float:
        """Sum of what the loads should be doing, kW, <= 0."""
        return float(np.dot(self.on, self.p_on_kw.astype(np.float64)))

    def step(
        self,
        target_kw: float,
        fullness: NDArray[Any],
        seen: NDArray[np.int8],
        now_s: int,
        response: float = 1.0,
    ) -> Stepped:
        """Hear the loads, then switch as few as bring their sum to the target.

        A load heard in another state than before has switched since; one that was silent for so
        long that it may have switched twice, too. Both count their minimum time from now, so that
        no order, late, lost or overtaken by the load's own thermostat, ever cuts one short. Who is
        silent is asked nothing and counts with what it should be doing.

        Args:
            target_kw: wanted sum, <= 0.
            fullness: (n,) place in the comfort band: from 0 on down it must run, from 1 on up it
                must not; where unknown (NaN) it is left alone.
            seen: int8 (n,) what each was heard to be, 1 on, 0 off; -1 where it was not heard.
            now_s: unix seconds.
            response: share of orders that are expected to arrive, in (0, 1]: so many more are sent.

        Returns:
            The stack after the orders, and the orders.
        """
        now, rows = now_s - self.start_s, np.empty(len(self.on), dtype=np.int32)
        turn, room, sums = np.empty(len(rows), dtype=np.int16), np.zeros((2, _BUCKETS)), np.zeros((2, 6))
        on, heard_on = self.on.copy(), self.heard_on.copy()
        heard_s, free_s = self.heard_s.copy(), self.free_s.copy()
        full = np.ascontiguousarray(fullness, dtype=np.float32)
        fixed = self.p_on_kw, self.min_on_s, self.min_off_s
        count = _hear(
            now, self.stepped_s, full, seen, *fixed, on, heard_on, heard_s, free_s, turn, rows, room, sums
        )
        present = float(sums[:, _SUM].sum())
        gap = target_kw - present
        to, wanted = (ON if gap < 0 else OFF), abs(gap) / response
        given, count = self._switch(to, wanted, full, turn, room[to], on, rows, count, now)
        missing = gap - float(np.copysign(given * response, gap))
        spent = given < wanted and given >= float(room[to].sum()) - _TINY_KW
        held = dict(zip(_CAUSES, sums[1 - to, :3].tolist(), strict=True)) if spent else {ROUNDING: math.inf}
        return Stepped(
            Stack(self.start_s, *fixed, on, heard_on, heard_s, free_s, now),
            np.sort(rows[:count]),
            present + float(np.copysign(given, gap)),
            MappingProxyType(_named(missing, held)),
            float(sums[:, _ASKED].sum()),
            float(sums[:, _ARRIVED].sum()),
        )

    def _switch(
        self,
        to: int,
        amount: float,
        fullness: NDArray[Any],
        turn: NDArray[np.int16],
        room: _Array,
        on: Codes,
        rows: Rows,
        count: int,
        now: int,
    ) -> tuple[float, int]:
        """Switch free loads until an amount of kW has changed; returns how much did, and the new count."""
        before = np.cumsum(room if to == ON else room[::-1])
        at = int(np.searchsorted(before, amount))
        given = float(before[at - 1]) if at else 0.0
        count, met = _pass(to, at if to == ON else _BUCKETS - 1 - at, turn, on, rows, count)
        if not met:
            return given, count
        margin = rows[len(rows) - met :].copy()
        key = fullness[margin] if to == ON else -fullness[margin]
        order = margin[np.lexsort((lots(margin, now), key))]
        reached = np.concatenate([[0.0], np.cumsum(-self.p_on_kw[order], dtype=np.float64)])
        taken = int(np.argmin(np.abs(amount - given - reached)))
        on[order[:taken]] = to
        rows[count : count + taken] = order[:taken]
        return given + float(reached[taken]), count + taken


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """One step of a stack.

    Attributes:
        stack: the loads after the orders.
        switched: rows that are ordered to the state in ``stack.on``, ascending.
        p_kw: sum that all orders together would make if every one arrived.
        causes: what is missing of the target, kW of its sign, by what holds the loads that could
            have given it: a minimum time, their comfort, silence, or that there are no more.
        asked_kw: of the orders before this step, kW switched, >= 0.
        arrived_kw: of those, what has been heard to arrive.
    """

    stack: Stack
    switched: Rows
    p_kw: float
    causes: Mapping[str, float]
    asked_kw: float
    arrived_kw: float


def _named(missing: float, held: Mapping[str, float]) -> dict[str, float]:
    """Share what is missing among what held loads back; the rest is beyond all nameplates."""
    size, whole = abs(missing), sum(held.values())
    part = min(size, whole)
    causes = {name: kw / whole * part if kw < math.inf else part for name, kw in held.items() if kw > 0}
    causes["nameplate"] = size - part
    return {name: math.copysign(kw, missing) for name, kw in causes.items() if kw > _TINY_KW}


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _hear(
    now: int,
    stepped: int,
    fullness: NDArray[Any],
    seen: NDArray[np.int8],
    p_on: NDArray[Any],
    min_on: _Moments,
    min_off: _Moments,
    on: Codes,
    heard_on: Codes,
    heard: _Moments,
    free: _Moments,
    turn: NDArray[np.int16],
    rows: Rows,
    room: _Array,
    sums: _Array,
) -> int:
    """Take in what was heard, switch who must, and count the others by priority.

    ``sums`` is kept for each state, off and on: held by a timer, by comfort, by silence, asked and
    arrived before, and the power of those that end up in it.
    """
    count = 0
    for i in range(len(on)):
        size, is_on = -np.float64(p_on[i]), on[i]
        turn[i] = 0
        if seen[i] < OFF:
            sums[is_on, _NOT_READY] += size
            sums[is_on, _SUM] -= size * is_on
            # Who was silent before has not been asked again.
            sums[is_on, _ASKED] += size * (is_on != heard_on[i] and heard[i] == stepped)
            continue
        if is_on != heard_on[i] and heard[i] == stepped:
            sums[is_on, _ASKED] += size
            sums[is_on, _ARRIVED] += size * (seen[i] == is_on)
        is_on = np.uint8(seen[i])
        least, other = (min_on[i], min_off[i]) if is_on == ON else (min_off[i], min_on[i])
        if is_on != heard_on[i] or now - heard[i] >= other:
            free[i] = now + least
        on[i], heard_on[i], heard[i] = is_on, is_on, now
        full = fullness[i]
        if free[i] > now:
            sums[is_on, _LOCKED] += size
        elif full <= 0.0 or full >= 1.0:
            must = ON if full <= 0.0 else OFF
            sums[must, _COMFORT] += size
            if must != is_on:
                on[i] = must
                rows[count] = i
                count += 1
            is_on = must
        elif not np.isnan(full):
            at = min(int(full * _BUCKETS), _BUCKETS - 1)
            turn[i] = -1 - at if is_on == ON else 1 + at
            room[1 - is_on, at] += size
        else:
            sums[is_on, _NOT_READY] += size
        sums[is_on, _SUM] -= size * is_on
    return count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _pass(to: int, edge: int, turn: NDArray[np.int16], on: Codes, rows: Rows, count: int) -> tuple[int, int]:
    """Switch all free loads before the marginal bucket; those in it are listed at the end of ``rows``.

    Returns:
        How many are switched so far, and how many stand at the margin.
    """
    met = 0
    for i in range(len(turn)):
        at = turn[i] - 1 if to == ON else -turn[i] - 1
        if at < 0 or (at > edge if to == ON else at < edge):
            continue
        if at == edge:
            met += 1
            rows[len(rows) - met] = i
        else:
            on[i] = to
            rows[count] = i
            count += 1
    return count, met
