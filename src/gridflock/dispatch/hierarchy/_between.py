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
    """

    up: Child
    down: Parent
    limit_kw: tuple[float, float]

    def handed_on(
        self, grid: TimeGrid, want_kw: Kw, price: Money, now_s: int
    ) -> tuple[Between, tuple[Directive, ...]]:
        """A round: the tighter of what was given and what the connection allows is shared below.

        Args:
            grid: T steps.
            want_kw: (C, T) what each system below is to inject.
            price: (C, T) worth of a kWh injected at each, money/kWh.
            now_s: moment, unix seconds.
        """
        low, high = self.up.aims.within(grid)
        bounds = np.clip(low, *self.limit_kw), np.clip(high, *self.limit_kw)
        down, sent = self.down.allot(grid, bounds, want_kw, price, now_s)
        return replace(self, down=down, up=self._settled(down)), sent

    def _settled(self, down: Parent) -> Child:
        """Its upper side, which keeps what was adopted once nobody below can be outside of it."""
        if self.up.adopted is None:
            return self.up
        low, high = down.exposure(self.up.adopted.allowance.grid)
        return self.up.settled(low.sum(axis=0), high.sum(axis=0))
