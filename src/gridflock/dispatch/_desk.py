"""The desk of one arbitration: who has been asked for what so far, and who may still move.

Wants are granted first, weightiest first. Then bounds on group sums move what is not weightier
than they are, always one way and never further than needed, and leave the sums alone that
another bound of at least their weight protects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._expect import Odds, beyond_of, confidence_of, enough
from gridflock.dispatch._follow import Following, follow
from gridflock.dispatch._ramp import between
from gridflock.fleet import Image, Split, split
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
    Family.NONE,
)
"""Who moves first to hold a bound: what costs nobody anything before what somebody notices."""
_TURN = np.argsort(_BOUND_ORDER)
_COSTLY = (Family.GENERATOR, Family.SHED, Family.RENEWABLE)
"""Fuel, a paused process, lost sun: where nobody asked, the plan's own bounds leave these alone."""
_STORES = (Family.STORAGE, Family.VEHICLE)
"""Of these nothing is expected unasked, where they do not tell."""
UNASKED = -1
TOLERANCE_KW = 1e-6
_SWEEPS = 3
"""Bounds that disturb each other are held again so often."""
_TINY_KW = 1e-9


@dataclass(frozen=True, slots=True)
class Granted:
    """What a want was granted.

    Attributes:
        asked_kw: the wanted sum.
        given_kw: what the members' targets make, less ``beyond_kw``.
        expected_kw: what they are expected to bring.
        causes: asked less given, by cause.
        beyond_kw: what is ordered beyond it, because not all are expected to respond.
    """

    asked_kw: float
    given_kw: float
    expected_kw: float
    causes: Mapping[str, float]
    beyond_kw: float = 0.0


class Desk:
    """Working arrays of one arbitration.

    Attributes:
        ranked: the wishes, weightiest first.
        target: float64 (n,) target of each row, NaN where nobody asked.
        source: int16 (n,) position of the wish that set it, -1 where nobody asked.
        wanted: float64 (n,) targets as the wants alone would have them.
        follows: signals that are followed, for the next tick.
        bounds: positions of the wishes with a bound, weightiest first.
    """

    def __init__(
        self,
        ranked: Sequence[Proposal],
        members: Sequence[Rows],
        image: Image,
        capability: Capability,
        previous_kw: Kw,
        planned_kw: Kw | None,
        odds: Odds | None = None,
        follows: Sequence[Following] = (),
    ) -> None:
        self._planned, self._odds = planned_kw, odds
        self._followed = {one.group: one for one in follows}
        self.follows: list[Following] = []
        self.ranked, self._members = ranked, members
        self._image, self._able, self._previous = image, capability, previous_kw
        self._open = image.family != Family.NONE
        self._free = self._open & (capability.p_lo_kw < capability.p_hi_kw)
        # What nobody asked weighs like the plan: the last entry answers for position -1.
        self._weight = np.array([*(p.priority for p in ranked), Priority.SCHEDULE])
        self.bounds = [
            k for k, p in enumerate(ranked) if math.isfinite(p.p_lo_kw) or math.isfinite(p.p_hi_kw)
        ]
        self._all = _Sums(members)
        self._bounded = _Sums([members[k] for k in self.bounds])
        self._limit = {
            1: np.array([ranked[k].p_hi_kw for k in self.bounds]),
            -1: np.array([ranked[k].p_lo_kw for k in self.bounds]),
        }
        self.present = np.nan_to_num(image.p_kw.astype(np.float64)) if odds is None else odds.present_kw
        self._idle = _idle(self.present, image, self._free & np.isfinite(previous_kw))
        self._costly = np.isin(image.family, _COSTLY)
        # Sun and wind without an order already give all there is.
        self._gives_all = (image.family == Family.RENEWABLE) & np.isnan(previous_kw)
        self.target = np.full(image.n, np.nan)
        self.source = np.full(image.n, UNASKED, dtype=np.int16)
        self.wanted = self.target

    def hold(self, p_kw: Kw, source: NDArray[np.int16]) -> None:
        """Keep rows where the network holds them: (n,) targets, and the wishes that hold them; -1 = free."""
        held = source != UNASKED
        self.target[held], self.source[held] = p_kw[held], source[held]
        self._open &= ~held

    def grant_want(self, k: int) -> Granted:
        """Split a wanted sum over the members that no weightier wish holds.

        What takes no orders counts with what it does. Where it is known how likely each responds, so
        much is ordered that the sum is met on average, or as probably as was promised.
        """
        proposal, rows = self.ranked[k], self._members[k]
        assert proposal.p_kw is not None
        asked = min(max(proposal.p_kw, proposal.p_lo_kw), proposal.p_hi_kw)
        free, fixed = self._open[rows], 0.0
        if not free.all():
            others, rows = rows[~free], rows[free]
            unasked = self.source[others] == UNASKED
            fixed = float(np.where(unasked, self.present[others], self.target[others]).sum())
        rest = asked - fixed
        if len(rows) == 0:
            causes = {"no free member": rest} if abs(rest) > TOLERANCE_KW else {}
            return Granted(asked, fixed, fixed, causes)
        if proposal.priority is Priority.REGULATION:
            return self._follow(k, rows, asked, fixed)
        planned = self._planned if proposal.priority is Priority.SCHEDULE else None

        def share_of(sum_kw: float) -> Split:
            return split(sum_kw, rows, self._image, self._able, self._previous, planned_kw=planned)

        if self._odds is None:
            share, wanted = share_of(rest), rest
            expected = float(share.p_kw.sum())
        else:
            confidence = confidence_of(proposal.priority)
            within = proposal.p_lo_kw - fixed, proposal.p_hi_kw - fixed
            share, wanted, expected = enough(rest, rows, share_of, self._odds, self._able, confidence, within)
        self.target[rows] = share.p_kw
        self.source[rows] = k
        self._open[rows] = False
        causes, beyond = beyond_of(share, rest, wanted)
        given = fixed + float(share.p_kw.sum()) - beyond
        return Granted(asked, given, fixed + expected, causes, beyond)

    def _follow(self, k: int, rows: Rows, asked: float, fixed: float) -> Granted:
        """Let members follow a signal that changes with every tick."""
        group, rest = self.ranked[k].group, asked - fixed
        before = self._followed.get(group)
        following, p_kw = follow(before, group, rest, rows, self._image, self._able, self._previous)
        self.follows.append(following)
        self.target[rows] = p_kw
        self.source[rows] = k
        self._open[rows] = False
        given = float(p_kw.sum())
        causes = {"signal tracking": rest - given} if abs(rest - given) > TOLERANCE_KW else {}
        return Granted(asked, fixed + given, asked, causes)

    def mix(self, without: Desk, place: NDArray[np.int16], share: NDArray[np.float64], leaving: Mask) -> None:
        """Come in from another desk, on which some wishes were not made, row by row.

        Args:
            without: that desk, its wants granted.
            place: position here of each of its wishes; the last entry stands for -1.
            share: (n,) how far each row has come: 0 as there, 1 as here.
            leaving: (n,) rows on their way back: whose order in force nobody else would renew is
                brought to what it would do unasked, instead of keeping it until it runs out.
        """
        columns = self._image.columns
        own = unasked_kw(self.present, self._image, self._able)
        free = np.isnan(without.target)
        there = np.where(free, own, without.target)
        mixed = between(there, self.target, share, columns["on_off"] == 1, columns["p_floor_kw"])
        out = (share <= 0.0) & free & ~(leaving & np.isfinite(self._previous))
        out |= free & np.isnan(self.target)
        back = (share <= 0.0) & ~free
        self.target = np.where(out, np.nan, mixed)
        self.source = np.where(out, UNASKED, np.where(back, place[without.source], self.source))

    def given(self) -> list[float]:
        """Sum of each wish's members: targets, and what they do where nobody asked."""
        found: list[float] = self._all.of(
            np.where(self.source == UNASKED, self.present, self.target)
        ).tolist()
        return found

    def hold_bounds(self) -> None:
        """Bring every group inside its bounds, the weightiest last, as far as members can move.

        Wants that lost something to a bound on a part of their group then take it from the rest.
        """
        self.wanted = self.target.copy()
        if self.bounds:
            owner = self.source.copy()
            self._hold_all()
            if self._take_from_the_rest(owner):
                self._hold_all()

    def _hold_all(self) -> None:
        """Every bound in turn, the lightest first; again where a weightier one has disturbed a lighter."""
        turn = sorted(range(len(self.bounds)), key=lambda b: (-self._weight[self.bounds[b]], b))
        for _ in range(_SWEEPS):
            wrong = (self._room(1) < -TOLERANCE_KW) | (-self._room(-1) < -TOLERANCE_KW)
            moved = [self._hold(b) for b in turn if wrong[b]]
            if not any(moved):
                break

    def _hold(self, b: int) -> bool:
        """Bring a group inside its bounds by moving what is not weightier; whether anything moved."""
        k, moved = self.bounds[b], False
        for side in (1, -1):
            missing = side * max(0.0, side * float(self._room(-side)[b]))
            if abs(missing) > TOLERANCE_KW:
                rows = self._members[k]
                weight = self._weighed(rows, Priority.MARKET)
                moved |= self._push(k, rows[weight >= self._weight[k]], missing, self._fences(b))
        return moved

    def _take_from_the_rest(self, owner: NDArray[np.int16]) -> bool:
        setting = set(np.unique(self.source).tolist())
        binding = [b for b, k in enumerate(self.bounds) if k in setting]
        lost = self._all.of(np.nan_to_num(self.wanted - self.target))
        lost[[k for k, p in enumerate(self.ranked) if p.p_kw is None]] = 0.0
        lost[np.abs(lost) <= TOLERANCE_KW] = 0.0
        moved = False
        for k in np.flatnonzero(lost).tolist():
            rows = self._members[k]
            rows = rows[(owner[rows] == k) & ~self._under(binding, int(self._weight[k]))[rows]]
            if len(rows):
                moved |= self._push(k, rows, float(lost[k]), self._weight[self.bounds] <= self._weight[k])
        return moved

    def _fences(self, b: int) -> Mask:
        """Bounds that holding this one must not break: of more weight, and of its own but on larger groups.

        A larger group comes later in turn and can make up for its part with its other members.
        """
        k = self.bounds[b]
        mine = np.zeros(self._image.n)
        mine[self._members[k]] = 1.0
        weight = self._weight[self.bounds]
        around = (weight == self._weight[k]) & (self._bounded.of(mine) == len(self._members[k]))
        fences: Mask = (weight <= self._weight[k]) & ~around
        return fences

    def _under(self, binding: Sequence[int], weight: int) -> Mask:
        """(n,) rows under some of these bounds of at least a weight."""
        under = np.zeros(self._image.n, dtype=bool)
        for b in binding:
            if self._weight[self.bounds[b]] <= weight:
                under[self._bounded.members[b]] = True
        return under

    def _now(self, side: int) -> Kw:
        """(n,) targets, and where there is none what rows may come to do, towards the other side."""
        return np.where(self.source == UNASKED, self._idle[side], self.target)

    def _room(self, side: int) -> NDArray[np.float64]:
        """How far each bounded sum may go up (side 1) or down (side -1); of the other sign once beyond."""
        return self._limit[side] - self._bounded.of(self._now(-side))

    def _push(self, k: int, rows: Rows, missing_kw: float, fences: Mask) -> bool:
        """Move rows until their sum has changed by ``missing_kw``; whether anything moved.

        No sum that a bound of ``fences`` limits is pushed beyond it: its members go as far as it
        allows, the others go on.
        """
        side = 1 if missing_kw > 0 else -1
        now = self._now(side)
        most = self._able.p_hi_kw if side > 0 else self._able.p_lo_kw
        free = self._free & ~(self._gives_all & (self.source == UNASKED)) if side > 0 else self._free
        reach = np.where(free, np.maximum(side * (most - now), 0.0), 0.0)
        room = side * self._room(side)
        for b in np.flatnonzero(fences & (room <= TOLERANCE_KW)).tolist():
            reach[self._bounded.members[b]] = 0.0
        kept = self.target.copy(), self.source.copy()
        while True:
            moved = self._move(k, rows[reach[rows] > _TINY_KW], missing_kw, now, reach)
            left = side * self._room(side)
            broken = fences & (left < -TOLERANCE_KW) & (left < room)
            if not moved or not broken.any():
                return moved
            self.target, self.source = kept[0].copy(), kept[1].copy()
            for b in np.flatnonzero(broken).tolist():
                inside = rows[np.isin(rows, self._bounded.members[b])]
                reach[inside] = self._shared(float(room[b]), inside, reach[inside])
                fences[b] = False

    def _shared(self, room_kw: float, rows: Rows, reach: Kw) -> Kw:
        """Reach of rows that share a room, in the order in which they would move, each class alike."""
        turn = self._class(rows)
        whole = np.bincount(turn, weights=reach)
        before = np.cumsum(whole) - whole
        fraction = np.clip((room_kw - before) / np.maximum(whole, _TINY_KW), 0.0, 1.0)
        shared: Kw = reach * fraction[turn]
        return shared

    def _weighed(self, rows: Rows, costly: Priority) -> NDArray[np.int64]:
        """Weight of what rows shall do: of their wish; unasked like the plan, or ``costly`` where it is."""
        source = self.source[rows]
        alone = (source == UNASKED) & self._costly[rows]
        weight: NDArray[np.int64] = np.where(alone, costly, self._weight[source])
        return weight

    def _class(self, rows: Rows) -> NDArray[np.int64]:
        """Who moves first: the least weighty, and of one weight family by family.

        Bounds narrow wants before they cost those something who were never asked.
        """
        weight = len(Priority) - self._weighed(rows, Priority.OPERATOR)
        return weight * len(_BOUND_ORDER) + _TURN[self._image.family[rows]]

    def _move(self, k: int, rows: Rows, missing_kw: float, now: Kw, reach: Kw) -> bool:
        """Move rows one way within their reach, class by class; whether anything moved."""
        side, left = (1, missing_kw) if missing_kw > 0 else (-1, missing_kw)
        turn = self._class(rows)
        moved = False
        for part in np.unique(turn):
            if side * left <= TOLERANCE_KW:
                break
            some = rows[turn == part]
            by = self._lean(k, some, left, now[some], reach[some])
            moved |= by != 0.0
            left -= by
        return moved

    def _lean(self, k: int, rows: Rows, missing_kw: float, now: Kw, reach: Kw) -> float:
        """Split what is missing over rows none of which may move the other way; returns by how much."""
        start = self._level(now, rows)
        end = now + math.copysign(1.0, missing_kw) * reach
        lo, hi = self._able.p_lo_kw.copy(), self._able.p_hi_kw.copy()
        lo[rows], hi[rows] = np.minimum(start, end), np.maximum(start, end)
        narrowed = Capability(lo, hi, self._able.lo_source, self._able.hi_source)
        wanted = float(now.sum()) + missing_kw
        share = split(wanted, rows, self._image, narrowed, self._previous).p_kw
        changed = np.abs(share - start) > _TINY_KW
        self.target[rows[changed]] = share[changed]
        self.source[rows[changed]] = k
        return float((share - now)[changed].sum())

    def _level(self, now: Kw, rows: Rows) -> Kw:
        """The level of each row that is nearest to what it does or shall do."""
        lo, hi = self._able.p_lo_kw[rows], self._able.p_hi_kw[rows]
        columns, level = self._image.columns, np.clip(now, lo, hi)
        floor = columns["p_floor_kw"][rows]
        size = np.abs(level)
        snapped = np.where(size > 0.5 * floor, np.copysign(floor, level), 0.0)
        level = np.where((size > 0) & (size < floor), np.clip(snapped, lo, hi), level)
        nearer = np.where(level - lo < hi - level, lo, hi)
        return np.where(columns["on_off"][rows] == 1, nearer, level)


class _Sums:
    """Sums of a column over several lists of rows at once."""

    def __init__(self, members: Sequence[Rows]) -> None:
        self.members = members
        self._row = np.concatenate([np.zeros(0, dtype=np.int32), *members])
        ends = np.cumsum([len(rows) for rows in members], dtype=np.int64)
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        self._some = starts < ends
        self._starts = starts[self._some]

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of ``values`` (n,) over each list."""
        sums = np.zeros(len(self.members))
        if len(self._starts):
            sums[self._some] = np.add.reduceat(values[self._row], self._starts)
        return sums


def unasked_kw(present: Kw, image: Image, able: Capability) -> Kw:
    """(n,) what each row would do if nobody asked: what it tells, else rest for stores, else what it does."""
    offered = np.asarray(image.p_avail_kw, dtype=np.float64)
    rest = np.where(np.isin(image.family, _STORES), 0.0, present)
    own: Kw = np.clip(np.where(np.isnan(offered), rest, offered), able.p_lo_kw, able.p_hi_kw)
    return own


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
