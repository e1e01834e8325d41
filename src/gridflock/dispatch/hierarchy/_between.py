"""A system between two others: what it was given it hands on, and says that it keeps it when all below do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.dispatch.hierarchy._child import Child
from gridflock.dispatch.hierarchy._parent import Parent
from gridflock.model import Directive
from gridflock.units import Kw, Money, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """A child upwards and a parent downwards.

    Attributes:
        up: its side towards the system above.
        down: its side towards the systems below.
        limit_kw: lowest and highest injection that its own connection allows.
        reserve_kw: so much of what it was given, on either side, is not handed on: it is for what moves below
            between two rounds.
    """

    up: Child
    down: Parent
    limit_kw: tuple[float, float]
    reserve_kw: float = 0.0

    def bounds(self, grid: TimeGrid) -> tuple[Kw, Kw]:
        """(T,) lowest and (T,) highest that it hands on: the tighter of what it was given and its limit."""
        low, high = self.up.aims.within(grid)
        room = np.minimum(self.reserve_kw, 0.5 * (high - low))
        return np.clip(low + room, *self.limit_kw), np.clip(high - room, *self.limit_kw)

    def handed_on(
        self, grid: TimeGrid, want_kw: Kw, price: Money, now_s: int
    ) -> tuple[Between, tuple[Directive, ...]]:
        """A round: what it hands on is shared below.

        Args:
            grid: T steps.
            want_kw: (C, T) what each system below is to inject.
            price: (C, T) worth of a kWh injected at each, money/kWh.
            now_s: moment, unix seconds.
        """
        down, sent = self.down.allot(grid, self.bounds(grid), want_kw, price, now_s)
        after = replace(self, down=down)
        return replace(after, up=after.settled(now_s)), sent

    def settled(self, now_s: int) -> Child:
        """Its upper side, which keeps what was adopted once nobody below can be outside of it any more.

        Args:
            now_s: moment, unix seconds; steps that are over by then are judged no more.
        """
        if self.up.adopted is None:
            return self.up
        bounds = self.up.adopted.allowance
        low, high = (side.sum(axis=0) for side in self.down.exposure(bounds.grid))
        over = bounds.grid.edges_s[1:] <= now_s - self.down.skew_s
        return self.up.settled(np.where(over, bounds.lo_kw, low), np.where(over, bounds.hi_kw, high))
