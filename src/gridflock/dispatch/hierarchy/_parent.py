"""The upper end of a border: what each system below may be using, and what can be handed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gridflock.dispatch.hierarchy._child import ROUNDING_KW
from gridflock.model import Allowance, Directive, Rejected, Standing
from gridflock.units import Kw, Money, TimeGrid

_STRAY_S = 900
"""For so long it is reckoned with what was beside bounds without steps of their own."""
_MOST = 8
"""So many directives that nobody confirmed are counted one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a parent knows of one child.

    Attributes:
        name: the child.
        rating_kw: lowest and highest injection it can come to at all.
        default_kw: the same while nothing is said, as agreed.
        standing: the newest it told; None before the first of the parent's present life.
        under_way: directives that it may still adopt, or keeps without having said so, oldest first.
        given: bounds of the newest directive of this life that it has said it keeps; None before. Where it
            goes back to what it kept before (a life that was restored), it has no right to more than these.
    """

    name: str
    rating_kw: tuple[float, float]
    default_kw: tuple[float, float]
    standing: Standing | None = None
    under_way: tuple[Directive, ...] = ()
    given: Allowance | None = None

    def bounds(self, grid: TimeGrid, skew_s: int, unknown_until_s: int) -> _Bounds:
        """What it may be doing in each step, whatever was lost.

        Args:
            grid: T steps.
            skew_s: by how much its clock may be off.
            unknown_until_s: until then a child that has not told anything may keep what an earlier life of
                the parent gave it; after that its default holds.
        """
        low, high = (np.full(grid.n, bound) for bound in self.rating_kw)
        if self.standing is None:
            over = grid.starts_s >= unknown_until_s
            low, high = (np.where(over, d, r) for d, r in zip(self.default_kw, (low, high), strict=True))
            return _Bounds(low, high, low, high, low, high)
        given = () if self.given is None else (self.given,)
        told = (self.standing.kept, *given, *(directive.allowance for directive in self.under_way))
        each = [bounds.over(grid, skew_s) for bounds in told]
        lows, highs = np.array([lo for lo, _ in each]), np.array([hi for _, hi in each])
        does_low, does_high = _with_stray(self.standing).over(grid, skew_s)
        return _Bounds(
            np.maximum(low, np.minimum(does_low, lows.min(axis=0))),
            np.minimum(high, np.maximum(does_high, highs.max(axis=0))),
            lows.max(axis=0), highs.min(axis=0), lows[-1], highs[-1],
        )  # fmt: skip


class _Bounds(NamedTuple):
    """Of children and steps, kW: what they may do at most, what for certain, and what they were told last."""

    low_kw: Kw
    high_kw: Kw
    sure_low_kw: Kw
    sure_high_kw: Kw
    last_low_kw: Kw
    last_high_kw: Kw


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """What a system knows of those below it.

    Attributes:
        epoch: the unix second its present life began.
        children: C of them.
        life_s: so long after it was sent a directive may still be adopted.
        lease_s: so long after it was sent a directive holds at most; grids do not reach further.
        skew_s: by how much a child's clock may be off.
        number: of the last directive.
        deposed: whether a child follows a parent of a later life: then it says nothing more.
    """

    epoch: int
    children: tuple[Known, ...]
    life_s: int = 60
    lease_s: int = 86_400
    skew_s: int = 5
    number: int = 0
    deposed: bool = False

    def heard(self, standing: Standing, now_s: int) -> tuple[Parent, Rejected | None]:
        """Take in what a child tells.

        A standing of a child that has not adopted anything of this life counts only if it was written when
        no word of an earlier life could reach the child any more.

        Args:
            standing: from below, in any order, any number of times.
            now_s: moment by the own clock, unix seconds.
        """
        k = next((k for k, child in enumerate(self.children) if child.name == standing.child), -1)
        if k < 0:
            return self, Rejected("standing", "child", (standing.child,), "is not one of the systems below")
        if standing.at_s > now_s + self.skew_s:
            late = f"is {standing.at_s - now_s} s ahead of this clock (rule: at most {self.skew_s} s)"
            return self, Rejected("standing", "at_s", (standing.child,), late)
        if standing.epoch > self.epoch:
            return replace(self, deposed=True), None
        child = self.children[k]
        quiet_s = self.epoch + self.life_s + self.skew_s
        if standing.epoch < self.epoch and standing.at_s <= quiet_s:
            return self, None
        if child.standing is not None and standing.at_s <= child.standing.at_s:
            return self, None
        keeps = (standing.epoch, standing.number)
        # What it has adopted since is inside what it says it keeps; older words it would refuse.
        left = tuple(
            each for each in child.under_way if each.order > keeps and each.accept_until_s >= standing.at_s
        )
        given = next((each.allowance for each in child.under_way if each.order == keeps), child.given)
        known = replace(child, standing=standing, under_way=left, given=given)
        return replace(self, children=(*self.children[:k], known, *self.children[k + 1 :])), None

    def exposure(self, grid: TimeGrid) -> tuple[Kw, Kw]:
        """Lowest and highest injection that each child may come to in each step, both (C, T) kW."""
        bounds = self._bounds(grid)
        return bounds.low_kw, bounds.high_kw

    def _bounds(self, grid: TimeGrid) -> _Bounds:
        until_s = self.epoch + self.lease_s + self.skew_s
        found = [child.bounds(grid, self.skew_s, until_s) for child in self.children]
        shape = len(self.children), grid.n
        return _Bounds(
            *(np.array([getattr(b, side) for b in found]).reshape(shape) for side in _Bounds._fields)
        )

    def allot(
        self,
        grid: TimeGrid,
        limit_kw: tuple[Kw, Kw],
        want_kw: Kw,
        price: Money,
        now_s: int,
        able_kw: tuple[Kw, Kw] | None = None,
    ) -> tuple[Parent, tuple[Directive, ...]]:
        """Share a limit out anew: to each what it is wanted to do, and an equal part of the room around it.

        Where wants are too much for the limit, they too get equal parts. Who gets less is told at once; who
        gets more gets at first only what nobody can be using, and the rest in a later round, when the others
        have said that they keep less.

        Args:
            grid: T steps; after them every child is on its default.
            limit_kw: (T,) lowest and (T,) highest injection of all children together.
            want_kw: (C, T) what each is to inject.
            price: (C, T) worth of a kWh injected at each connection, money/kWh.
            now_s: moment, unix seconds.
            able_kw: (C, T) lowest and (C, T) highest that each can come to at all in each step: no bound is
                beyond them, so that the others make up for who cannot keep it; None = its rating.

        Returns:
            The parent after sending, and the directives, one for each child that has told what it keeps;
            none once it is deposed.
        """
        if self.deposed or not self.children:
            return self, ()
        rating = np.array([child.rating_kw for child in self.children])
        lowest, highest = (np.repeat(side, grid.n, axis=1) for side in (rating[:, :1], rating[:, 1:]))
        least, most = (lowest, highest) if able_kw is None else (np.clip(x, lowest, highest) for x in able_kw)
        may = self._bounds(grid)
        wanted = np.where(np.isfinite(want_kw), want_kw, np.clip(0.0, lowest, highest))
        aims = _aims(limit_kw, wanted, (least, most), (lowest, highest))
        low = -_handed_out(-limit_kw[0], -aims[0], -may.low_kw, -may.sure_low_kw)
        high = _handed_out(limit_kw[1], aims[1], may.high_kw, may.sure_high_kw)
        # Where the two limits leave a child nothing it stays with what it was told until the others answer.
        crossed = low > high
        low, high = np.where(crossed, may.last_low_kw, low), np.where(crossed, may.last_high_kw, high)
        known = [k for k, child in enumerate(self.children) if child.standing is not None]
        sent = tuple(
            Directive(
                self.children[k].name, self.epoch, self.number + number, now_s + self.life_s,
                Allowance(grid, low[k], high[k], self.children[k].default_kw),
                np.clip(want_kw[k], low[k], high[k]), price[k],
            )
            for number, k in enumerate(known, start=1)
        )  # fmt: skip
        children = list(self.children)
        for k, directive in zip(known, sent, strict=True):
            under_way = (*children[k].under_way, directive)
            children[k] = replace(children[k], under_way=_few(under_way))
        return replace(self, children=tuple(children), number=self.number + len(sent)), sent

    def silent(self, now_s: int, after_s: int) -> tuple[str, ...]:
        """Children that have told nothing for so long."""
        return tuple(
            child.name
            for child in self.children
            if child.standing is None or child.standing.at_s + after_s < now_s
        )


def _with_stray(standing: Standing) -> Allowance:
    """What a child may be doing by its own word: the bounds it keeps, and its load where that is beside them.

    Nobody else is given what it draws there, for as long as that step lasts; it is no right to draw it.
    """
    kept, p_kw, now_s = standing.kept, standing.p_kw, standing.at_s
    low, high = kept.at(now_s)
    if not (p_kw < low - ROUNDING_KW or p_kw > high + ROUNDING_KW):
        return kept
    grid = kept.grid
    if now_s >= grid.end_s:
        grid = TimeGrid(np.array([now_s, now_s + _STRAY_S], dtype=np.int64))
    lows, highs = kept.over(grid)
    k = max(grid.step_at(now_s), 0)
    lows[k], highs[k] = min(lows[k], p_kw), max(highs[k], p_kw)
    return replace(kept, grid=grid, lo_kw=lows, hi_kw=highs)


def _few(under_way: tuple[Directive, ...]) -> tuple[Directive, ...]:
    """The same in few: of a child that says nothing the oldest are counted as one with the bounds of both."""
    if len(under_way) <= _MOST:
        return under_way
    first, second, *rest = under_way
    longer = max(first.allowance, second.allowance, key=lambda bounds: bounds.grid.end_s)
    widest = [each.allowance.over(longer.grid) for each in (first, second)]
    low, high = np.min([lo for lo, _ in widest], axis=0), np.max([hi for _, hi in widest], axis=0)
    both = replace(longer, lo_kw=low, hi_kw=high)
    accepted = max(first.accept_until_s, second.accept_until_s)
    return (replace(second, allowance=both, accept_until_s=accepted), *rest)


def _handed_out(limit_kw: Kw, aim_kw: Kw, may_kw: Kw, sure_kw: Kw) -> Kw:
    """(C, T) upper bounds to hand out now.

    Args:
        limit_kw: (T,) of the sum.
        aim_kw: (C, T) what each is to have in the end.
        may_kw: (C, T) what each may be using at most.
        sure_kw: (C, T) what each may use for certain: where the limit is not kept for certain, nobody gets
            more than that.
    """
    free = limit_kw - may_kw.sum(axis=0)
    more = np.maximum(aim_kw - may_kw, 0.0)
    whole = more.sum(axis=0)
    part = np.clip(np.divide(free, whole, out=np.ones_like(free), where=whole > 0.0), 0.0, 1.0)
    grown = np.where(aim_kw > may_kw, may_kw + part * more, aim_kw)
    handed_out: Kw = np.where(free < -ROUNDING_KW, np.minimum(aim_kw, sure_kw), grown)
    return handed_out


def _aims(
    limit_kw: tuple[Kw, Kw], want_kw: Kw, able_kw: tuple[Kw, Kw], rating_kw: tuple[Kw, Kw]
) -> tuple[Kw, Kw]:
    """(C, T) lowest and highest injection that each is to be allowed in the end, never crossed.

    Args:
        limit_kw: (T,) lowest and (T,) highest of the sum.
        want_kw: (C, T) what each is to inject.
        able_kw: (C, T) lowest and (C, T) highest that each can come to: a bound beyond would be broken.
        rating_kw: (C, T) lowest and (C, T) highest: the room around what it is to inject reaches to there.
    """
    (least, most), (lowest, highest) = able_kw, rating_kw
    width = highest - lowest
    fits = _cut(limit_kw[1], np.clip(want_kw, least, most), least, width)
    fits = -_cut(-limit_kw[0], -fits, -most, width)
    low = -_around(-limit_kw[0], -fits, -lowest, width)
    return low, _around(limit_kw[1], fits, highest, width)


def _cut(limit_kw: Kw, want_kw: Kw, least_kw: Kw, width_kw: Kw) -> Kw:
    """(C, T) wants as far as the limit of their sum allows; a flow the other way is what gives way last."""
    bound = _filled(limit_kw, least_kw, np.minimum(want_kw, np.maximum(least_kw, 0.0)), width_kw)
    cut: Kw = np.where(np.isinf(limit_kw), want_kw, _filled(limit_kw, bound, want_kw, width_kw))
    return cut


def _around(limit_kw: Kw, want_kw: Kw, most_kw: Kw, width_kw: Kw) -> Kw:
    """(C, T) upper bounds around wants, whose sum is the limit or theirs.

    No bound forces a flow, unless others need it for theirs; what is left is for everybody.
    """
    bound = _filled(limit_kw, want_kw, np.clip(0.0, want_kw, most_kw), width_kw)
    around: Kw = np.where(np.isinf(limit_kw), most_kw, _filled(limit_kw, bound, most_kw, width_kw))
    return around


def _filled(limit_kw: Kw, bound_kw: Kw, top_kw: Kw, width_kw: Kw) -> Kw:
    """(C, T) bounds raised towards others as far as the limit of their sum allows, in proportion to size."""
    for _ in range(len(bound_kw)):
        left = np.maximum(np.where(np.isinf(limit_kw), 0.0, limit_kw - bound_kw.sum(axis=0)), 0.0)
        weight = (bound_kw < top_kw) * width_kw
        whole = weight.sum(axis=0)
        if not ((left > ROUNDING_KW) & (whole > 0.0)).any():
            break
        step = np.divide(weight * left, whole, out=np.zeros_like(bound_kw), where=whole > 0.0)
        bound_kw = np.minimum(bound_kw + step, np.maximum(top_kw, bound_kw))
    return bound_kw


def overcommitted(children: Sequence[Known], limit_kw: tuple[float, float]) -> Rejected | None:
    """Why defaults that were agreed do not fit under a limit together; None where they do."""
    for side, (sign, name) in enumerate(((-1.0, "default_lo_kw"), (1.0, "default_hi_kw"))):
        whole = sum(child.default_kw[side] for child in children)
        if sign * whole > sign * limit_kw[side]:
            rule = f"defaults add up to {whole:g} kW beyond the limit of {limit_kw[side]:g} kW"
            return Rejected("hierarchy", name, tuple(child.name for child in children), rule)
    return None
