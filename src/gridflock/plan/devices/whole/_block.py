"""Industrial and commercial load that gives up a block at a call, and takes part of it back afterwards.

A call has a shortest and a longest length, a rest until the next, and there are only so many. What it gave
up comes back in part, evenly over some hours after its end; the next call waits for that, too. So the
worth of a call is its own, whatever the others are, and the best calls are a shortest path over (calls
left, step from which one may begin): each begins now or later, and ends at any length allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule
from gridflock.plan.devices.whole._proximal import Proximal
from gridflock.units import Kw, Kwh, Money

_NOT_NEGATIVE = ("ready_h", "shortest_h", "rest_h", "rebound", "rebound_h", "given_kwh")
_FINITE = ("longest_h", "pay_kwh", "pay_call", "after_price")
_TINY = 1e-9


class _Columns(NamedTuple):
    """Blocks as plain arrays, see ``Blocks``."""

    base: Array
    drop: Array
    calls: Indices
    ready: Array
    shortest: Array
    longest: Array
    rest: Array
    back: Array
    back_hours: Array
    pay_kwh: Array
    pay_call: Array
    after_price: Array
    running: Array
    owed: Array


class _Worth(NamedTuple):
    """Costs of one block's calls, all (T + 1,) and read at a call's first step and the step after it."""

    given: Array
    """What giving up every step before this one would cost."""
    energy: Array
    """Energy given up by then, kWh."""
    owing: Array
    """Cost of taking a kWh back if a call ends here, and of a squared kWh."""
    owing_squared: Array
    then: Indices
    """Step from which the next call may begin if one ends here."""


@compiled
def _share_back(of: _Columns, k: int, clock: Array, end: int, t: int) -> float:
    """Part of what is owed after a call ending before step ``end`` that step ``t`` takes back."""
    until = clock[end] + of.back_hours[k]
    overlap = max(min(clock[t + 1], until) - clock[t], 0.0)
    return overlap / of.back_hours[k] if of.back_hours[k] > 0.0 else 0.0


@compiled
def _weigh(of: _Columns, k: int, step: Array, away: Array, pull: float, clock: Array, worth: _Worth) -> None:
    """Fill ``worth`` from the cost of a kWh in each ``step`` and of being ``away`` from a target."""
    steps = len(step)
    worth.given[0], worth.energy[0] = 0.0, 0.0
    for t in range(steps):
        hours, drop = clock[t + 1] - clock[t], of.drop[k, t]
        linear = (of.pay_kwh[k] - step[t]) * drop * hours
        squared = 0.5 * pull * drop * (2.0 * away[t] + drop)
        worth.given[t + 1] = worth.given[t] + linear + squared
        worth.energy[t + 1] = worth.energy[t] + drop * hours
    for end in range(steps + 1):
        cost, squared, left, t = 0.0, 0.0, 1.0, end
        while t < steps:
            part = _share_back(of, k, clock, end, t)
            if part == 0.0:
                break
            power = part / (clock[t + 1] - clock[t])
            cost += part * step[t] - pull * away[t] * power
            squared += 0.5 * pull * power * power
            left -= part
            t += 1
        beyond = of.after_price[k] * max(left, 0.0) if of.back_hours[k] > 0.0 else 0.0
        worth.owing[end], worth.owing_squared[end] = cost + beyond, squared
        ready = clock[end] + max(of.rest[k], of.back_hours[k]) - _TINY
        worth.then[end] = np.searchsorted(clock, ready)


@compiled
def _of_call(of: _Columns, k: int, worth: _Worth, first: int, end: int, owed: float) -> float:
    """Cost of a call over ``first`` to ``end`` that owed so much before, its own payment not counted."""
    energy = of.back[k] * (worth.energy[end] - worth.energy[first] + owed)
    back = energy * (worth.owing[end] + energy * worth.owing_squared[end])
    total: float = worth.given[end] - worth.given[first] + back
    return total


@compiled
def _best_end(
    of: _Columns, k: int, worth: _Worth, clock: Array, first: int, after: Array
) -> tuple[float, int]:
    """Least cost of a call beginning at ``first`` with what comes ``after``, and its end; -1 for none."""
    best, where = np.inf, -1
    for end in range(first + 1, len(clock)):
        length = clock[end] - clock[first]
        if length > of.longest[k] + _TINY:
            break
        if length < of.shortest[k] - _TINY:
            continue
        cost = (
            of.pay_call[k]
            + _of_call(of, k, worth, first, end, 0.0)
            + after[min(worth.then[end], len(clock) - 1)]
        )
        if cost < best:
            best, where = cost, end
    return best, where


@compiled
def _end_running(of: _Columns, k: int, worth: _Worth, clock: Array, after: Array) -> int:
    """Step before which a call that is under way ends; where no length fits, the first long enough."""
    steps = len(clock) - 1
    best, where = np.inf, -1
    for end in range(steps + 1):
        length = of.running[k] + clock[end]
        if length < of.shortest[k] - _TINY:
            continue
        if length > of.longest[k] + _TINY:
            return where if where >= 0 else end
        cost = _of_call(of, k, worth, 0, end, of.owed[k]) + after[min(worth.then[end], steps)]
        if cost < best:
            best, where = cost, end
    return where if where >= 0 else steps


@compiled
def _give(of: _Columns, k: int, clock: Array, first: int, end: int, owed: float, p: Array) -> float:
    """Put a call and what follows it into ``p``; its own cost, its payment for being called not counted."""
    energy = 0.0
    for t in range(first, end):
        p[t] += of.drop[k, t]
        energy += of.drop[k, t] * (clock[t + 1] - clock[t])
    back, left = of.back[k] * (energy + owed), 1.0
    for t in range(end, len(p)):
        part = _share_back(of, k, clock, end, t)
        if part == 0.0:
            break
        p[t] -= back * part / (clock[t + 1] - clock[t])
        left -= part
    beyond = back * max(left, 0.0) * of.after_price[k] if of.back_hours[k] > 0.0 else 0.0
    total: float = of.pay_kwh[k] * energy + beyond
    return total


@compiled
def _schedule(of: _Columns, k: int, clock: Array, worth: _Worth, cost_to_go: Array, p: Array) -> float:
    """Best schedule of block ``k`` into ``p``; its own cost. ``worth`` has been filled."""
    steps = len(p)
    soonest = int(np.searchsorted(clock, of.ready[k] - _TINY))
    calls = min(of.calls[k], steps)
    cost_to_go[0, :] = 0.0
    for c in range(1, calls + 1):
        cost_to_go[c, steps] = 0.0
        for t in range(steps - 1, -1, -1):
            cost_to_go[c, t] = cost_to_go[c, t + 1]
            if t >= soonest:
                call, _ = _best_end(of, k, worth, clock, t, cost_to_go[c - 1])
                cost_to_go[c, t] = min(cost_to_go[c, t], call)
    for step in range(steps):
        p[step] = of.base[k, step]
    own, t = 0.0, 0
    if not np.isnan(of.running[k]):
        end = _end_running(of, k, worth, clock, cost_to_go[calls])
        own += _give(of, k, clock, 0, end, of.owed[k], p)
        t = worth.then[end]
    while calls > 0 and t < steps:
        call, end = _best_end(of, k, worth, clock, t, cost_to_go[calls - 1])
        if t >= soonest and call < cost_to_go[calls, t + 1]:
            own += of.pay_call[k] + _give(of, k, clock, t, end, 0.0, p)
            t, calls = worth.then[end], calls - 1
        else:
            t += 1
    return own


@compiled
def _room(of: _Columns, steps: int) -> tuple[_Worth, Array]:
    """Space for the costs of one block."""
    calls = min(of.calls.max(), steps) if len(of.calls) else 0
    worth = _Worth(
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps + 1, np.int64),
    )
    return worth, np.empty((calls + 1, steps + 1))


@compiled
def _sums(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    clock: Array,
    total: Array,
    cost: Array,
) -> None:
    """Sums of the groups' schedules and own costs."""
    steps = len(clock) - 1
    p, nowhere = np.empty(steps), np.zeros(steps)
    worth, cost_to_go = _room(of, steps)
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            _weigh(of, k, price[g], nowhere, 0.0, clock, worth)
            cost[g] += _schedule(of, k, clock, worth, cost_to_go, p)
            for t in range(steps):
                total[g, t] += p[t]


@compiled
def _add(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    clock: Array,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules onto ``total``."""
    steps = len(clock) - 1
    p, nowhere = np.empty(steps), np.zeros(steps)
    worth, cost_to_go = _room(of, steps)
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            _weigh(of, k, price[g], nowhere, 0.0, clock, worth)
            _schedule(of, k, clock, worth, cost_to_go, p)
            for t in range(steps):
                total[k, t] += weight[g] * p[t]


@compiled
def _nearest(
    of: _Columns, price: Array, target: Array, pull: Array, clock: Array, p_kw: Array, cost: Array
) -> None:
    """Schedules of all blocks under a pull to a target, and own costs."""
    worth, cost_to_go = _room(of, len(clock) - 1)
    for k in range(len(cost)):
        _weigh(of, k, price[k], of.base[k] - target[k], pull[k], clock, worth)
        cost[k] = _schedule(of, k, clock, worth, cost_to_go, p_kw[k])


@dataclass(frozen=True, slots=True, eq=False)
class Blocks(Proximal):
    """An oracle of m loads (``Grouped``) that give up a block when called; exact (``epsilon`` 0).

    Own cost: what is paid for each call and each kWh given up, and for what is still owed at the end. A
    call ends within the horizon. A mix of answers is no schedule: one load per group.

    Attributes:
        base_kw: float64 (m, T) injection without a call, <= 0.
        drop_kw: float64 (m, T) load given up in each step of a call, >= 0.
        calls: int64 (m,) how many there may be in the horizon, that under way not counted.
        ready_h: float64 (m,) hours until one may begin: notice, or rest after the last one.
        shortest_h: float64 (m,) shortest call, h, > 0.
        longest_h: float64 (m,) longest, h.
        rest_h: float64 (m,) shortest time from the end of a call to the next, h.
        rebound: float64 (m,) share of the energy given up that is taken back after the call.
        rebound_h: float64 (m,) over how many hours, evenly; 0 where nothing is taken back. The next call
            waits at least so long.
        pay_kwh: float64 (m,) money per kWh given up.
        pay_call: float64 (m,) money per call.
        after_price: float64 (m,) money per kWh taken back after the horizon.
        running_h: float64 (m,) for how long a call has been under way, h; NaN where none is.
        given_kwh: float64 (m,) energy it has given up by now, 0 where none is.
    """

    base_kw: Kw
    drop_kw: Kw
    calls: Indices
    ready_h: Array
    shortest_h: Array
    longest_h: Array
    rest_h: Array
    rebound: Array
    rebound_h: Array
    pay_kwh: Money
    pay_call: Money
    after_price: Money
    running_h: Array
    given_kwh: Kwh

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules."""
        asked = (self._columns(), question.price, self.clock)
        return self._exact(question, lambda of, *into: _sums(of, self.start, *asked, *into))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every load's schedule to ``total`` (m, T), kW."""
        asked = (self._columns(), question.price, self.clock)
        self._over_groups(lambda of: _add(of, self.start, *asked, weight, total))

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("base_kw", "drop_kw"), (count, len(self.hours)))
        return wanted | dict.fromkeys((*_NOT_NEGATIVE, *_FINITE, "calls", "running_h"), (count,))

    def _rules(self) -> Sequence[Rule]:
        not_negative = ("drop_kw", *_NOT_NEGATIVE)
        finite = ("base_kw", "drop_kw", *_NOT_NEGATIVE, *_FINITE)
        return (
            ("base_kw", "must be finite and not above 0", self.base_kw <= 0.0),
            ("drop_kw", "must not be more than the load", self.drop_kw <= -self.base_kw),
            ("calls", "must not be below 0", self.calls >= 0),
            ("longest_h", "must not be below shortest_h", self.longest_h >= self.shortest_h),
            ("shortest_h", "must be above 0", self.shortest_h > 0.0),
            ("running_h", "must not be below 0", ~(self.running_h < 0.0)),
            *((name, "must not be below 0", getattr(self, name) >= 0.0) for name in not_negative),
            *((name, "must be finite", np.isfinite(getattr(self, name))) for name in finite),
        )

    def _follow(self, price: Array, target: Kw, pull: Array, p_kw: Kw, cost: Money) -> None:
        _nearest(self._columns(), price, target, pull, self.clock, p_kw, cost)

    def _columns(self) -> _Columns:
        return _Columns(
            self.base_kw,
            self.drop_kw,
            self.calls,
            self.ready_h,
            self.shortest_h,
            self.longest_h,
            self.rest_h,
            self.rebound,
            self.rebound_h,
            self.pay_kwh,
            self.pay_call,
            self.after_price,
            self.running_h,
            self.given_kwh,
        )
