"""What one DERMS and another above it tell each other: an envelope over time down, a standing up.

Neither names a device: only the power that passes the connection, what it is worth, and what was kept
cross the border between two systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Kw, Mask, Money, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Allowance:
    """Bounds on the power through a connection over time.

    Before the grid those of its first step hold, so that clocks may differ; after it a default.

    Attributes:
        grid: T steps.
        lo_kw: (T,) lowest injection, -inf for none.
        hi_kw: (T,) highest injection, +inf for none.
        default_kw: lowest and highest injection after the grid.
    """

    grid: TimeGrid
    lo_kw: Kw
    hi_kw: Kw
    default_kw: tuple[float, float]

    def at(self, now_s: float, skew_s: int = 0) -> tuple[float, float]:
        """Lowest and highest injection at a moment, kW.

        Args:
            now_s: unix seconds.
            skew_s: by how much clocks may differ: so near the edge of two steps the bounds of both hold, so
                that one child's step may grow while another's falls. Bounds that have nothing in common do
                not, and the step of the moment holds alone.
        """
        low, high = self._step(now_s)
        for other_s in (now_s - skew_s, now_s + skew_s):
            beside = self._step(other_s)
            if max(low, beside[0]) <= min(high, beside[1]):
                low, high = max(low, beside[0]), min(high, beside[1])
        return low, high

    def _step(self, now_s: float) -> tuple[float, float]:
        if now_s >= self.grid.end_s:
            return self.default_kw
        k = max(self.grid.step_at(now_s), 0)
        return float(self.lo_kw[k]), float(self.hi_kw[k])

    def over(self, grid: TimeGrid, skew_s: int = 0) -> tuple[Kw, Kw]:
        """The widest bounds within each step of another grid, both (T',), kW.

        Args:
            grid: T' steps.
            skew_s: by how much the clock of whoever keeps the bounds may be ahead when they end.
        """
        overlaps, outside = self._steps(grid, skew_s)
        low = np.where(overlaps, self.lo_kw, np.inf).min(axis=1, initial=np.inf)
        high = np.where(overlaps, self.hi_kw, -np.inf).max(axis=1, initial=-np.inf)
        low = np.where(outside, np.minimum(low, self.default_kw[0]), low)
        high = np.where(outside, np.maximum(high, self.default_kw[1]), high)
        return low, high

    def within(self, grid: TimeGrid) -> tuple[Kw, Kw]:
        """What holds throughout each step of another grid, both (T',), kW; of steps at odds the middle."""
        overlaps, outside = self._steps(grid, 0)
        low = np.where(overlaps, self.lo_kw, -np.inf).max(axis=1, initial=-np.inf)
        high = np.where(overlaps, self.hi_kw, np.inf).min(axis=1, initial=np.inf)
        low = np.where(outside, np.maximum(low, self.default_kw[0]), low)
        high = np.where(outside, np.minimum(high, self.default_kw[1]), high)
        crossed = low > high
        low[crossed] = high[crossed] = 0.5 * (low[crossed] + high[crossed])
        return low, high

    def _steps(self, grid: TimeGrid, skew_s: int) -> tuple[Mask, Mask]:
        """(T', T) which own steps overlap each of another grid, and (T',) which reach beyond the last."""
        edges = self.grid.edges_s.copy()
        edges[0] = min(edges[0], grid.start_s)
        starts, ends = grid.edges_s[:-1], grid.edges_s[1:]
        overlaps: Mask = (edges[None, :-1] < ends[:, None]) & (edges[None, 1:] > starts[:, None])
        return overlaps, ends + skew_s > self.grid.end_s


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """What a DERMS tells one below it. Later ones replace earlier ones.

    Attributes:
        child: whom it is for.
        epoch: the life of the sender: the unix second it began. A later life's word replaces an earlier's.
        number: ascending within an epoch.
        accept_until_s: who hears it later than this leaves it aside, unix seconds.
        allowance: between which bounds the child's connection has to stay.
        want_kw: (T,) what it is asked to inject within them; NaN where it is free.
        price: (T,) worth of a kWh injected at its connection, money/kWh.
        author: credential it came with, as the child knows it; empty on its way, and for code in its process.
    """

    child: str
    epoch: int
    number: int
    accept_until_s: int
    allowance: Allowance
    want_kw: Kw
    price: Money
    author: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """What decides which of two is the later: life, then number."""
        return self.epoch, self.number


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a DERMS tells the one above it.

    Attributes:
        child: who speaks.
        at_s: when, unix seconds of its own clock.
        epoch: of the directive it keeps; -1 where it has none.
        number: of the same.
        kept: the bounds it keeps, all below it included; load that takes no orders may stand beside them.
        p_kw: injection at its connection now.
        able_kw: lowest and highest it could come to now.
        plan_kw: float64 (T,) what it means to inject in the steps of ``kept``; NaN where it does not know.
        cost: of that plan, money; NaN where there is none.
        bound: what no plan of it could cost less than; NaN where it proves none.
    """

    child: str
    at_s: int
    epoch: int
    number: int
    kept: Allowance
    p_kw: float
    able_kw: tuple[float, float]
    plan_kw: NDArray[np.float64]
    cost: float = np.nan
    bound: float = np.nan
