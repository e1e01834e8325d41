"""Changes of direction of feeders and groups: what their members do together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridflock.dispatch.guard._kernels import TURN_SHARE
from gridflock.dispatch.guard._limits import GroupLimit, GuardLimits
from gridflock.dispatch.guard._memory import Memory, turning
from gridflock.fleet import Image
from gridflock.units import Rows

_LEAST = 0.05
"""A change by less is no change of direction, kW or kvar, however small the group."""
_ROUNDING = 1e-4
"""So much more than a limit leaves is rounding, and no turn."""


@dataclass(frozen=True, slots=True)
class Swing:
    """Which way orders move a group's power, active or reactive, and how often that has turned.

    Attributes:
        way: 1 up, -1 down, 0 not known yet.
        back: how far it has come back from the furthest point on that way, >= 0; where no way is known, how
            far it has come from where it began, signed. kW or kvar.
        turned_s: turns as a moment, each adding its share of the window (as ``Memory.turn_s``).
    """

    way: int = 0
    back: float = 0.0
    turned_s: float = 0.0

    def moved(self, by: float, turn: float, limit: GroupLimit, limits: GuardLimits, now_s: int) -> Swing:
        """The same after a move; one against the way by more than ``turn`` in all changes it."""
        if self.way == 0:
            gone = self.back + by
            return replace(self, back=gone) if abs(gone) <= turn else Swing(int(math.copysign(1, gone)))
        back = max(0.0, self.back - self.way * by)
        if back <= turn + _ROUNDING:
            return replace(self, back=back)
        gap_s, _ = turning(limit.reversals, limits.reversal_s)
        turned_s = max(self.turned_s, float(now_s)) + gap_s if math.isfinite(gap_s) else self.turned_s
        return Swing(-self.way, 0.0, turned_s)

    def room(self, turn: float, limit: GroupLimit, limits: GuardLimits, now_s: int) -> tuple[float, float]:
        """Least and most net change that it may make now: against its way no further than what is no turn."""
        _, room_s = turning(limit.reversals, limits.reversal_s)
        if self.way == 0 or now_s >= self.turned_s - room_s:
            return -math.inf, math.inf
        left = max(0.0, turn - self.back)
        return (-left, math.inf) if self.way > 0 else (-math.inf, left)

    def later(self, leapt_s: int) -> Swing:
        """The same after a clock was set ahead: it has turned as long ago as was lived."""
        return replace(self, turned_s=self.turned_s + leapt_s)


Swings = Mapping[str, tuple[Swing, Swing]]
"""By group, of active and of reactive power."""
STILL = Swing(), Swing()


def turns_of(image: Image, rows: Rows) -> tuple[float, float]:
    """By how much a group's power has to change, kW and kvar, to have changed its direction."""
    columns = image.columns
    size_kw = (columns["p_max_kw"][rows] - columns["p_min_kw"][rows]).sum(dtype=np.float64)
    size_kvar = 2.0 * columns["s_max_kva"][rows].sum(dtype=np.float64)
    return max(_LEAST, TURN_SHARE * float(size_kw)), max(_LEAST, TURN_SHARE * float(size_kvar))


def counted(limits: GuardLimits, rows_of: Mapping[str, Rows]) -> tuple[GroupLimit, ...]:
    """Limits of groups whose changes of direction are counted."""
    return tuple(limit for limit in limits.groups if limit.reversals < math.inf and limit.group in rows_of)


def swung(
    swings: Swings,
    net: Mapping[str, tuple[float, float]],
    image: Image,
    limits: GuardLimits,
    rows_of: Mapping[str, Rows],
) -> Swings:
    """Swings after net changes of groups, kW and kvar; groups that are not counted any more are dropped."""
    found = {}
    for limit in counted(limits, rows_of):
        before, by = swings.get(limit.group, STILL), net.get(limit.group, (0.0, 0.0))
        turns = turns_of(image, rows_of[limit.group])
        kw, kvar = (
            one.moved(change, turn, limit, limits, image.now_s)
            for one, change, turn in zip(before, by, turns, strict=True)
        )
        found[limit.group] = kw, kvar
    return found


def come_back(
    swings: Swings,
    memory: Memory,
    rows: Rows,
    image: Image,
    limits: GuardLimits,
    rows_of: Mapping[str, Rows],
) -> Swings:
    """Swings after orders of some rows have ended or were taken back: that moves their groups as well."""
    if not len(rows) or not swings:
        return swings
    over = np.zeros(image.n, dtype=bool)
    over[rows] = True
    net = {}
    for limit in counted(limits, rows_of):
        mine = rows_of[limit.group]
        mine = mine[over[mine]]
        last, free = memory.last_kw[mine].astype(np.float64), image.p_avail_kw[mine].astype(np.float64)
        back_kw, back_kvar = np.nansum(free - last), -np.nansum(memory.last_kvar[mine].astype(np.float64))
        net[limit.group] = float(back_kw), float(back_kvar)
    return swung(swings, net, image, limits, rows_of)


def run_out(
    swings: Swings,
    memory: Memory,
    before_s: int,
    image: Image,
    limits: GuardLimits,
    rows_of: Mapping[str, Rows],
) -> Swings:
    """Swings after orders have run out since the last pass, at ``before_s``."""
    if not counted(limits, rows_of):
        return {}
    over = (memory.expires_s <= image.now_s) & (memory.expires_s > before_s)
    return come_back(swings, memory, np.flatnonzero(over).astype(np.int32), image, limits, rows_of)
