"""Vehicles that only charge: the need goes into the cheapest steps of the window, or softly around them.

Greedy is best for one vehicle (its set is a g-polymatroid, Edmonds 1970), but then all vehicles of a
feeder jump from step to step together, and prices alone can hardly steer them. A soft answer charges by
water-filling instead: ``p = clip((level - price)·P/softness, 0, P)``, the best schedule under an added
cost ``softness/(2P)·p²``. It serves the same need; how much dearer it is than the greedy is known exactly
and stated as ``epsilon``, so that bounds stay proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.plan.devices._grouped import Grouped
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule, between, unanswered
from gridflock.units import Kw, Kwh


class _Columns(NamedTuple):
    """Vehicles as plain arrays, see ``Vehicles``."""

    need: Array
    most: Array
    first: Indices
    last: Indices


@compiled
def _greedy(
    of: _Columns, k: int, price: Array, hours: Array, width: float, order: Indices, steps: Indices, p: Array
) -> tuple[int, float]:
    """Cheapest charging into ``p`` over ``steps``, and the steps dearer than its last by less than ``width``.

    Returns:
        How many steps, and what it costs at the prices.
    """
    left, paid, n, dearest = of.need[k], 0.0, 0, np.inf
    for t in order:
        if price[t] > dearest + width or (left <= 0.0 and width == 0.0):
            break
        if t < of.first[k] or t >= of.last[k]:
            continue
        drawn = min(of.most[k] * hours[t], left)
        left -= drawn
        paid += price[t] * drawn
        steps[n], p[n] = t, drawn / hours[t]
        n += 1
        if left <= 0.0 and dearest == np.inf:
            dearest = price[t]
    return n, paid


@compiled
def _soft(
    of: _Columns, k: int, price: Array, hours: Array, width: float, steps: Indices, n: int, p: Array
) -> float:
    """The same by water-filling: ``low`` steps are full, those up to ``high`` fill as the level rises."""
    target, slope = of.need[k], of.most[k] / width
    low, high, open_hours, drawn = 0, 0, 0.0, 0.0
    level = price[steps[0]] if n > 0 else 0.0
    while low < n and drawn < target:
        enters = price[steps[high]] if high < n else np.inf
        fills = price[steps[low]] + width if low < high else np.inf
        upto = min(enters, fills)
        more = (upto - level) * slope * open_hours if open_hours > 0.0 else 0.0
        if open_hours > 0.0 and drawn + more >= target:
            level += (target - drawn) / (slope * open_hours)
            break
        drawn += more
        level = upto
        if enters <= fills:
            open_hours += hours[steps[high]]
            high += 1
        else:
            open_hours -= hours[steps[low]]
            low += 1
            if low == high:
                open_hours = 0.0
    paid = 0.0
    for j in range(n):
        t = steps[j]
        p[j] = min(max((level - price[t]) * slope, 0.0), of.most[k])
        paid += price[t] * p[j] * hours[t]
    return paid


@compiled
def _charged(
    of: _Columns, k: int, price: Array, hours: Array, width: float, order: Indices, steps: Indices, p: Array
) -> tuple[int, float]:
    """Charging kW into ``p`` over ``steps``: how many of them, and by how much softness made it dearer."""
    n, least = _greedy(of, k, price, hours, width, order, steps, p)
    dearer = max(_soft(of, k, price, hours, width, steps, n, p) - least, 0.0) if width > 0.0 else 0.0
    return n, dearer


@compiled
def _sums(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    hours: Array,
    width: float,
    order: Indices,
    total: Array,
    epsilon: Array,
) -> None:
    """Sums of the groups' schedules into ``total``, and what softness gave away into ``epsilon``."""
    steps, p = np.empty(len(hours), np.int64), np.empty(len(hours))
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            n, dearer = _charged(of, k, price[g], hours, width, order[g], steps, p)
            epsilon[g] += dearer
            for j in range(n):
                total[g, steps[j]] -= p[j]


@compiled
def _add(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    hours: Array,
    width: float,
    order: Indices,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules of the groups' members onto ``total``."""
    steps, p = np.empty(len(hours), np.int64), np.empty(len(hours))
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            n, _ = _charged(of, k, price[g], hours, width, order[g], steps, p)
            for j in range(n):
                total[k, steps[j]] -= weight[g] * p[j]


@dataclass(frozen=True, slots=True, eq=False)
class Vehicles(Grouped):
    """An oracle of m vehicles that charge inside a window (``Grouped``).

    Attributes:
        need_kwh: float64 (m,) energy wanted at the connection point.
        most_kw: float64 (m,) largest charging power, > 0.
        first: int64 (m,) first step of the window.
        last: int64 (m,) step after the window.
    """

    need_kwh: Kwh
    most_kw: Kw
    first: Indices
    last: Indices

    def missing_kwh(self) -> Kwh:
        """(m,) what even charging at once cannot reach before departure."""
        clock = self.clock
        reach = self.most_kw * np.maximum(clock[self.last] - clock[self.first], 0.0)
        missing: Kwh = np.maximum(self.need_kwh - reach, 0.0)
        return missing

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(self._column_names(), (count,))

    def _rules(self) -> Sequence[Rule]:
        steps = len(self.hours)
        return (
            ("need_kwh", "must be finite and >= 0", np.isfinite(self.need_kwh) & (self.need_kwh >= 0.0)),
            ("most_kw", "must be finite and > 0", np.isfinite(self.most_kw) & (self.most_kw > 0.0)),
            ("first", "must lie in the horizon", between(0, self.first, steps)),
            ("last", "must not come before first", between(self.first, self.last, steps)),
        )

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' cheapest charging; soft where the question says so."""
        order = np.argsort(question.price, axis=1, kind="stable")
        asked = (self._columns(), question.price, self.hours, question.softness, order)
        p_kw, epsilon = np.zeros((self.groups, len(self.hours))), np.zeros(self.groups)
        self._over_groups(lambda of: _sums(of, self.start, *asked, p_kw, epsilon))
        return Answer(p_kw, unanswered(question.price, np.zeros(self.groups)), epsilon)

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every vehicle's schedule to ``total`` (m, T), kW."""
        order = np.argsort(question.price, axis=1, kind="stable")
        asked = (self._columns(), question.price, self.hours, question.softness, order)
        self._over_groups(lambda of: _add(of, self.start, *asked, weight, total))

    def _columns(self) -> _Columns:
        return _Columns(self.need_kwh, self.most_kw, self.first, self.last)
