"""Limits of feeders and groups: steps, speeds, shares, and what moves in a window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.guard import _fitting
from gridflock.dispatch.guard._asked import Moves, Places
from gridflock.dispatch.guard._held import Held
from gridflock.dispatch.guard._limits import GroupLimit, GuardLimits
from gridflock.dispatch.guard._memory import GROUP
from gridflock.dispatch.guard._state import GuardState
from gridflock.dispatch.guard._swings import STILL, counted, turns_of
from gridflock.fleet import Image
from gridflock.units import Codes, Rows

Float = NDArray[np.floating]
_ROUNDING_KW = 1e-6


def hold_steps(
    why: Codes,
    moves: Moves,
    image: Image,
    limits: GuardLimits,
    state: GuardState,
    rows_of: Mapping[str, Rows],
) -> Stepped:
    """Hold what exceeds a limit of a feeder or group, in place.

    To hold one order can break the balance of another group it is in: all are looked at again until
    none holds anything more. A group that is gone lets nothing pass.

    Returns:
        What the orders left come to.
    """
    now_s = image.now_s
    groups = _Groups(moves, image.n, rows_of)
    found = [limit for limit in (*limits.groups, limits.whole) if limit.binds]
    if any(limit.group and limit.group not in rows_of for limit in found):
        why[why == Held.NOT] = Held.STEP
        found = []
    for limit in found:
        room = limit.moved_kw
        if room < math.inf:
            room -= state.memory.spent_kw(meter(limit), now_s, limits.window_s)
        _, gross, changed = groups.sums(limit, why, moves.move_kw)
        most = math.ceil(limit.share * groups.members(limit)) if limit.share < 1.0 else changed
        if changed > most:
            _fitting.fit_share(why, groups.turn(limit), moves.repeats, most, Held.SHARE)
        if gross > room:
            _fitting.fit_size(why, groups.turn(limit), moves.move_kw, room, Held.MOVED)
    again = _bounds(found, moves, image, limits, state, rows_of)
    while again and sum(_held(why, groups, *one) for one in again):
        pass
    return Stepped(
        {
            meter(limit): groups.sums(limit, why, moves.move_kw)[1]
            for limit in found
            if limit.moved_kw < math.inf
        },
        {
            limit.group: (
                groups.sums(limit, why, moves.move_kw)[0],
                groups.sums(limit, why, moves.move_kvar)[0],
            )
            for limit in counted(limits, rows_of)
        },
    )


@dataclass(frozen=True, slots=True)
class Stepped:
    """What orders come to that keep the limits of feeders and groups.

    Attributes:
        moved: kW that they move in each group with a limit on that, both ways added.
        net: net change in each group whose changes of direction are counted, kW and kvar.
    """

    moved: dict[str, float]
    net: dict[str, tuple[float, float]]


_Bound = tuple[GroupLimit, Float, float, float, Held]
"""A limit, what each order moves, how far down and up together, and what is held is held for."""


def _bounds(
    found: Sequence[GroupLimit],
    moves: Moves,
    image: Image,
    limits: GuardLimits,
    state: GuardState,
    rows_of: Mapping[str, Rows],
) -> list[_Bound]:
    """What bounds the net changes of groups now."""
    now_s, bounds = image.now_s, list[_Bound]()
    since_s = now_s - state.now_s if state.now_s >= 0 else 1
    for limit in found:
        for moved, most, code in (
            (moves.move_kw, _most(limit.step_kw, limit.rate_kw_s, since_s), Held.STEP),
            (moves.move_kvar, _most(limit.step_kvar, limit.rate_kvar_s, since_s), Held.STEP_KVAR),
        ):
            bounds.append((limit, moved, -most, most, code))
        if limit.reversals < math.inf:
            turns = turns_of(image, rows_of[limit.group])
            swings = state.swings.get(limit.group, STILL)
            for moved, swing, turn in zip((moves.move_kw, moves.move_kvar), swings, turns, strict=True):
                low, high = swing.room(turn, limit, limits, now_s)
                bounds.append((limit, moved, low, high, Held.SWING))
    return [one for one in bounds if one[2] > -math.inf or one[3] < math.inf]


def meter(limit: GroupLimit) -> str:
    """Under which name the moves of a group are remembered."""
    return f"{GROUP}{limit.group}"


@dataclass(slots=True)
class _Groups:
    """Orders of groups; those that go first in front, sorted only where a limit is exceeded."""

    moves: Moves
    n: int
    rows_of: Mapping[str, Rows]
    _place: Rows | None = None
    _rank: Rows | None = None
    _turns: dict[str, Places] = field(default_factory=dict)

    def members(self, limit: GroupLimit) -> int:
        """How many resources the group has."""
        return len(self.rows_of[limit.group]) if limit.group else self.n

    def sums(self, limit: GroupLimit, why: Codes, moved: Float) -> tuple[float, float, int]:
        """Net and gross change by the group's orders that are not held, and how many are changed.

        ``moved`` is what each order moves, of active or of reactive power.
        """
        moves = self.moves
        if not limit.group:
            good = why == Held.NOT
            move = moved[good]
            return float(move.sum()), float(np.abs(move).sum()), int((good & ~moves.repeats).sum())
        if self._place is None:
            self._place = np.full(self.n, -1, dtype=np.int32)
            self._place[moves.rows] = np.arange(len(moves.rows), dtype=np.int32)
        found: tuple[float, float, int] = _fitting.sums(
            why, self.rows_of[limit.group], self._place, moved, moves.repeats
        )
        return found

    def turn(self, limit: GroupLimit) -> Places:
        """Places of the group's orders, those that go first in front."""
        if not limit.group:
            return self.moves.turn
        if limit.group not in self._turns:
            turn = self.moves.turn
            if self._rank is None:
                self._rank = np.empty(len(turn), dtype=np.int32)
                self._rank[turn] = np.arange(len(turn), dtype=np.int32)
            mine = _fitting.places(self.rows_of[limit.group], self._place, self._rank)
            self._turns[limit.group] = turn[mine]
        return self._turns[limit.group]


def _held(
    why: Codes, groups: _Groups, limit: GroupLimit, moved: Float, low: float, high: float, code: Held
) -> int:
    """Hold what takes a group's net change outside [low, high], kW or kvar; how many."""
    if low - _ROUNDING_KW <= groups.sums(limit, why, moved)[0] <= high + _ROUNDING_KW:
        return 0
    return int(_fitting.fit_step(why, groups.turn(limit), moved, -low, high, code))


def _most(step: float, rate: float, since_s: int) -> float:
    """Largest net change now, kW or kvar; a clock that stood still or went back allows none by the second."""
    speed = math.inf if rate == math.inf else rate * max(since_s, 0)
    return min(step, speed)
