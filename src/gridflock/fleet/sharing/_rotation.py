"""Turns: who was asked least so far comes first, and what was asked long ago counts little."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.sharing._merit import lots, merit
from gridflock.units import HOUR_S, Kw, Kwh, Rows

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """A ledger of what was asked of each row; a value, renewed with each order.

    Attributes:
        asked_kwh: float64 (n,) energy moved by order, what is past fading away.
        half_life_s: time in which an entry loses half its weight.
    """

    asked_kwh: Kwh
    half_life_s: float

    @classmethod
    def start(cls, n: int, half_life_s: float) -> Self:
        """Nobody asked yet."""
        return cls(np.zeros(n), half_life_s)

    def after(self, rows: Rows, moved_kw: Kw, step_s: float) -> Self:
        """The ledger once some rows have been asked to move through a step.

        Args:
            rows: (m,) each once.
            moved_kw: (m,) how far each was moved from what it would have done, of either sign.
            step_s: for how long.
        """
        asked = self.asked_kwh * 0.5 ** (step_s / self.half_life_s)
        asked[rows] += np.abs(moved_kw) * (step_s / HOUR_S)
        return replace(self, asked_kwh=asked)

    def share(self, target_kw: float, rows: Rows, lo: Kw, hi: Kw, seed: int) -> _Array:
        """Raise rows from their lower to their upper bound, who was asked least first.

        Args:
            target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
            rows: (m,) each once.
            lo: (m,) lower bounds, where nobody is asked for anything.
            hi: (m,) upper bounds, >= lo.
            seed: of the lots among those who were asked alike; another one for each order.

        Returns:
            float64 (m,) shares in kW, all but one at a bound.
        """
        return merit(target_kw, lo, hi, self.asked_kwh[rows], lots(rows, seed))
