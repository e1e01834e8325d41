"""Climbing the bound: a quasi-Newton method for a concave function of duals inside a box.

Thousands of devices behind each limit make the bound nearly smooth in the prices, the more so under soft
answers; then curvature learnt from a few answers (L-BFGS: Nocedal, Math. Comp. 35, 1980, with the free
variables of a projection: Bertsekas, SIAM J. Control Optim. 20, 1982) needs far fewer of them than cutting
planes. Steps are judged by the slope along them alone, which a concave function allows.
"""

from __future__ import annotations

import numpy as np

from gridflock.plan.coordination._rows import Rows
from gridflock.plan.devices._compiled import Array

MEMORY = 30
"""Pairs of steps and slopes that are kept."""
OVERSHOOT = 0.9
"""A step is shortened where the slope at its end falls below this part of the one at its start, negated."""
SHORTENINGS = 2
"""How often in a row."""


class Ascent:
    """Proposes points, learns slopes.

    Args:
        start: where to begin, inside the box.
        rows: whose duals they are: their box, and the peaks whose duals add up to no more than a price.
        first: how far the first step moves the variable of the steepest slope.
    """

    def __init__(self, start: Array, rows: Rows, first: float) -> None:
        self._rows, self._most, self._first = rows, rows.most, first
        self._best, self._slope = start, np.zeros_like(start)
        self._pairs: list[tuple[Array, Array]] = []
        self._known = False
        self._length, self._shortened = 1.0, 0
        self._direction = np.zeros_like(start)
        self.point = start
        self.steps = 0
        """Steps kept so far."""

    def learn(self, slope: Array) -> None:
        """Take the slope at ``point`` and move ``point`` on."""
        if self._known and self._too_far(slope):
            return
        if self._known:
            step, bend = self.point - self._best, self._slope - slope
            if float((step * bend).sum()) > 1e-12 * float((bend * bend).sum()) ** 0.5:
                self._pairs = [*self._pairs[1 - MEMORY :], (step, bend)]
        self._best, self._slope, self._known = self.point, slope, True
        self._length, self._shortened = 1.0, 0
        self.steps += 1
        self._direction = self._towards()
        self.point = self._rows.projected(self._best + self._direction)

    def _too_far(self, slope: Array) -> bool:
        """Whether the step was too long; then it is shortened."""
        step = self.point - self._best
        start, end = float((self._slope * step).sum()), float((slope * step).sum())
        if end >= -OVERSHOOT * start or self._shortened >= SHORTENINGS or start <= 0.0:
            return False
        self._length *= max(start / (start - end), 0.1)
        self._shortened += 1
        self.point = self._rows.projected(self._best + self._length * self._direction)
        return True

    def _along_peaks(self, slope: Array) -> Array:
        """The slope less what raises the sum of a peak's duals, where that is at its price."""
        peak = np.flatnonzero(self._rows.peak)
        full = [s for s in peak if self._best[s].sum() >= self._most[s].max() * (1.0 - 1e-9)]
        if not full:
            return slope
        slope = slope.copy()
        for s in full:
            mean = slope[s][self._best[s] > 0.0].mean()
            slope[s] -= max(mean, 0.0) if np.isfinite(mean) else 0.0
        return slope

    def _towards(self) -> Array:
        """The quasi-Newton direction in the variables that are free to move."""
        at = self._best
        slope = self._along_peaks(self._slope)
        free = ~(((at <= 0.0) & (slope < 0.0)) | ((at >= self._most) & (slope > 0.0)))
        wanted = np.where(free, slope, 0.0)
        steepest = float(np.abs(wanted).max(initial=0.0))
        if steepest == 0.0:
            return wanted
        used = []
        left = wanted
        scale = 0.0
        for step, bend in reversed(self._pairs):
            kept = np.where(free, step, 0.0), np.where(free, bend, 0.0)
            along = float((kept[0] * kept[1]).sum())
            if along <= 1e-10 * float((step * bend).sum()):
                continue
            scale = scale or along / float((kept[1] * kept[1]).sum())
            part = float((kept[0] * left).sum()) / along
            left = left - part * kept[1]
            used.append((*kept, along, part))
        left = (scale or self._first / steepest) * left
        for step, bend, along, part in reversed(used):
            left = left + (part - float((bend * left).sum()) / along) * step
        return left
