"""The desk of one arbitration: who has been asked for what so far, and who may still move.

Wants are granted first, weightiest first. Then bounds on group sums move what is not weightier
than they are, always one way and never further than needed, and leave the sums alone that
another bound of at least their weight protects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image, split
from gridflock.model import Capability, Priority, Proposal
from gridflock.schema import Family
from gridflock.units import Kw, Mask, Rows

_BOUND_ORDER = (
    Family.STORAGE,
    Family.VEHICLE,
    Family.THERMAL,
    Family.GENERATOR,
    Family.SHED,
    Family.RENEWABLE,
)
"""Who moves first to hold a bound: what costs nobody anything before what somebody notices."""
UNASKED = -1
TOLERANCE_KW = 1e-6
_SWEEPS = 3
"""Bounds that disturb each other are held again so often."""
_TINY_KW = 1e-9


class Desk:
    """Working arrays of one arbitration.

    Attributes:
        target: float64 (n,) target of each row, NaN where nobody asked.
        source: int16 (n,) position of the wish that set it, -1 where nobody asked.
        wanted: float64 (n,) targets as the wants alone would have them.
    """

    def __init__(
        self,
        ranked: Sequence[Proposal],
        members: Sequence[Rows],
        image: Image,
        capability: Capability,
        previous_kw: Kw,
    ) -> None:
        n = image.n
        self._ranked, self._members = ranked, members
        self._image, self._capability, self._previous = image, capability, previous_kw
        self._member = np.concatenate([np.zeros(0, dtype=np.int32), *members])
        self._wish = np.repeat(
            np.arange(len(members)), np.array([len(rows) for rows in members], dtype=np.int64)
        )
        self._takes_orders = image.family != Family.NONE
        # What nobody asked weighs like the plan: the last entry answers for position -1.
        self._weight = np.array([*(p.priority for p in ranked), Priority.SCHEDULE])
        self._bounds = [
            k for k, p in enumerate(ranked) if math.isfinite(p.p_lo_kw) or math.isfinite(p.p_hi_kw)
        ]
        self._free = self._takes_orders & (capability.p_lo_kw < capability.p_hi_kw)
        self._inside: dict[int, Mask] = {}
        self.present = np.nan_to_num(image.p_kw.astype(np.float64))
        self._idle = _idle(self.present, image, self._free & np.isfinite(previous_kw))
        self.target = np.full(n, np.nan)
        self.source = np.full(n, UNASKED, dtype=np.int16)
        self.wanted = self.target

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of a column (n,) over the members of each wish."""
        column = values[self._member].astype(np.float64)
        return np.bincount(self._wish, weights=column, minlength=len(self._ranked)).astype(np.float64)

    def grant_want(self, k: int) -> tuple[float, float, Mapping[str, float]]:
        """Split a wanted sum over the members that no weightier wish holds.

        What takes no orders counts with what it does.

        Returns:
            Asked and given sum in kW, and the shortfall by cause.
        """
        proposal, rows = self._ranked[k], self._members[k]
        assert proposal.p_kw is not None
        asked = min(max(proposal.p_kw, proposal.p_lo_kw), proposal.p_hi_kw)
        free = self._takes_orders[rows] & (self.source[rows] == UNASKED)
        fixed = 0.0
        if not free.all():
            others = rows[~free]
            unasked = self.source[others] == UNASKED
            fixed = float(np.where(unasked, self.present[others], self.target[others]).sum())
            rows = rows[free]
        rest = asked - fixed
        if len(rows) == 0:
            return asked, fixed, {"no free member": rest} if abs(rest) > TOLERANCE_KW else {}
        share = split(rest, rows, self._image, self._capability, self._previous)
        self.target[rows] = share.p_kw
        self.source[rows] = k
        return asked, fixed + float(share.p_kw.sum()), share.causes

    def hold_bounds(self) -> None:
        """Bring every group inside its bounds, the weightiest last, as far as members can move.

        Wants that lost something to a bound on a part of their group then take it from the rest.
        """
        self.wanted = self.target.copy()
        if not self._bounds:
            return
        owner = self.source.copy()
        self._hold_all()
        if self._take_from_the_rest(owner):
            self._hold_all()

    def _hold_all(self) -> None:
        """Every bound in turn, the lightest first; again where a weightier one has disturbed a lighter."""
        turn = sorted(self._bounds, key=lambda k: (-self._weight[k], k))
        for _ in range(_SWEEPS):
            moved = [self._hold(k) for k in turn]
            if sum(moved) <= 1:
                break

    def _hold(self, k: int) -> bool:
        """Bring a group inside its bounds by moving what is not weightier; whether anything moved."""
        moved = False
        for side in (1, -1):
            missing = self._beyond(k, side)
            if abs(missing) > TOLERANCE_KW:
                rows = self._members[k]
                rows = rows[self._weight[self.source[rows]] >= self._weight[k]]
                moved |= self._push(k, rows, missing, self._fences(k)) != missing
        return moved

    def _take_from_the_rest(self, owner: NDArray[np.int16]) -> bool:
        binding = [j for j in self._bounds if (self.source == j).any()]
        lost = self.sums(np.nan_to_num(self.wanted - self.target))
        lost[[k for k, p in enumerate(self._ranked) if p.p_kw is None]] = 0.0
        for j in binding:
            # A bound on the whole group leaves no rest to take from.
            within = self.sums(~self._in(j)) == 0
            lost[within & (self._weight[:-1] >= self._weight[j])] = 0.0
        moved = False
        for k in np.flatnonzero(np.abs(lost) > TOLERANCE_KW).tolist():
            rows = self._members[k]
            rows = rows[owner[rows] == k]
            for j in binding:
                if self._weight[j] <= self._weight[k]:
                    rows = rows[~self._in(j)[rows]]
            moved |= self._push(k, rows, float(lost[k]), self._fences(k)) != lost[k]
        return moved

    def _fences(self, k: int) -> list[int]:
        """Other bounds of no less weight, the smallest group first."""
        fences = [j for j in self._bounds if j != k and self._weight[j] <= self._weight[k]]
        return sorted(fences, key=lambda j: (len(self._members[j]), j))

    def _now(self, side: int) -> Kw:
        """(n,) targets, and where there is none the idle power."""
        return np.where(self.source == UNASKED, self._idle[side], self.target)

    def _beyond(self, k: int, side: int) -> float:
        """What a group lacks to its lower bound (side 1, >= 0) or has above its upper (side -1, <= 0)."""
        return side * max(0.0, side * self._room(k, -side))

    def _room(self, k: int, side: int) -> float:
        """How far a group's sum may still go up (side 1) or down (side -1); of the other sign once beyond."""
        proposal = self._ranked[k]
        bound = proposal.p_hi_kw if side > 0 else proposal.p_lo_kw
        return bound - float(self._now(-side)[self._members[k]].sum())

    def _push(self, k: int, rows: Rows, missing_kw: float, fences: Sequence[int]) -> float:
        """Move rows until their sum has changed by ``missing_kw``; returns what could not be moved.

        No group of ``fences`` is pushed beyond its bound: it goes to its bound, the others go on.
        """
        side = 1 if missing_kw > 0 else -1
        for j in fences:
            if side * self._room(j, side) <= TOLERANCE_KW:
                rows = rows[~self._in(j)[rows]]
        while len(rows):
            kept = self.target.copy(), self.source.copy()
            moved = self._move(k, rows, missing_kw)
            broken = next((j for j in fences if side * self._room(j, side) < -TOLERANCE_KW), None)
            inside = np.zeros(len(rows), bool) if broken is None else self._in(broken)[rows]
            if broken is None or not inside.any():
                return missing_kw - moved
            self.target, self.source = kept
            room, others = self._room(broken, side), [j for j in fences if j != broken]
            missing_kw -= room - self._push(k, rows[inside], room, others)
            rows = rows[~inside]
        return missing_kw

    def _in(self, k: int) -> Mask:
        """(n,) members of a group."""
        if k not in self._inside:
            inside = np.zeros(self._image.n, dtype=bool)
            inside[self._members[k]] = True
            self._inside[k] = inside
        return self._inside[k]

    def _move(self, k: int, rows: Rows, missing_kw: float) -> float:
        """Move rows one way, the least weighty first, family by family; returns by how much."""
        side, left = (1, missing_kw) if missing_kw > 0 else (-1, missing_kw)
        now = self._now(side)
        reach = self._capability.p_hi_kw if side > 0 else self._capability.p_lo_kw
        rows = rows[(self._free & (side * (reach - now) > _TINY_KW))[rows]]
        weight, family = self._weight[self.source[rows]], self._image.family[rows]
        for tier in np.unique(weight)[::-1]:
            for kind in _BOUND_ORDER:
                some = rows[(weight == tier) & (family == kind)]
                if len(some) and side * left > TOLERANCE_KW:
                    left -= self._lean(k, some, left, now)
        return missing_kw - left

    def _lean(self, k: int, rows: Rows, missing_kw: float, now: Kw) -> float:
        """Split what is missing over rows none of which may move the other way."""
        able = self._capability
        start = self._level(now, rows)
        lo, hi = able.p_lo_kw, able.p_hi_kw
        fixed = np.array(lo if missing_kw > 0 else hi)
        fixed[rows] = start
        lo, hi = (fixed, hi) if missing_kw > 0 else (lo, fixed)
        narrowed = Capability(lo, hi, able.lo_source, able.hi_source)
        wanted = float(now[rows].sum()) + missing_kw
        share = split(wanted, rows, self._image, narrowed, self._previous).p_kw
        changed = np.abs(share - start) > _TINY_KW
        moved = float((share - now[rows])[changed].sum())
        self.target[rows[changed]] = share[changed]
        self.source[rows[changed]] = k
        return moved

    def _level(self, now: Kw, rows: Rows) -> Kw:
        """The level of each row that is nearest to what it does or shall do."""
        lo, hi = self._capability.p_lo_kw[rows], self._capability.p_hi_kw[rows]
        columns, level = self._image.columns, np.clip(now[rows], lo, hi)
        floor = columns["p_floor_kw"][rows]
        size = np.abs(level)
        snapped = np.where(size > 0.5 * floor, np.copysign(floor, level), 0.0)
        level = np.where((size > 0) & (size < floor), np.clip(snapped, lo, hi), level)
        nearer = np.where(level - lo < hi - level, lo, hi)
        return np.where(columns["on_off"][rows] == 1, nearer, level)


def _idle(present: Kw, image: Image, lapsing: Mask) -> dict[int, Kw]:
    """What rows without a target may come to do: the least (1) or the most (-1), (n,) each.

    An order of which nobody wants anything any more runs out; what the device would do without
    it counts as much as what it does.
    """
    offered = image.p_avail_kw.astype(np.float64)
    lapsing = lapsing & np.isfinite(offered)
    if not lapsing.any():
        return {1: present, -1: present}
    return {
        1: np.where(lapsing, np.minimum(present, offered), present),
        -1: np.where(lapsing, np.maximum(present, offered), present),
    }
