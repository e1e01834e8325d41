"""Stores with losses: batteries, and vehicles that may give back, inside a window of the horizon.

The cost-to-go of a store is convex and piecewise linear in its content, so it is kept as slopes in
ascending order with the length over which each holds. Going back in time a step inserts two pieces:
charging, at ``-(price + wear)/eff_charge`` per kWh stored, and discharging, at
``-(price - wear)·eff_discharge``; the lengths passed over are the contents to charge up to and to
discharge down to. Below the price at which burning energy would pay, both directions share the step's
time and the two pieces become one. A store that leaks has its lengths divided, and its slopes multiplied,
by what outlasts the step. Going forth the two contents become a schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices, compiled, inlined
from gridflock.plan.devices._grouped import Grouped
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule, between
from gridflock.units import Kw, Kwh, Mask, Money


class _Columns(NamedTuple):
    """Stores as plain arrays, see ``Stores``."""

    charge: Array
    discharge: Array
    e_lo: Array
    e_hi: Array
    e_now: Array
    e_want: Array
    eff_charge: Array
    eff_discharge: Array
    wear: Array
    end_value: Array
    short_price: Array
    first: Indices
    last: Indices
    loss: Array


@inlined
def _insert(slope: Array, length: Array, ends: tuple[int, int], at: int, s: float, n: float) -> int:
    """Put a piece before place ``at``, moving what is behind it; the new tail."""
    for j in range(ends[1], at, -1):
        slope[j], length[j] = slope[j - 1], length[j - 1]
    slope[at], length[at] = s, n
    return ends[1] + 1


@inlined
def _cut(length: Array, head: int, tail: int, below: float, above: float) -> tuple[int, int]:
    """Take ``below`` off the left end of the list and ``above`` off the right end; (head, tail)."""
    while below > 0.0 and head < tail:
        if length[head] > below:
            length[head] -= below
            break
        below -= length[head]
        head += 1
    while above > 0.0 and head < tail:
        if length[tail - 1] > above:
            length[tail - 1] -= above
            break
        above -= length[tail - 1]
        tail -= 1
    return head, tail


@inlined
def _faded(slope: Array, length: Array, head: int, tail: int, kept: float) -> int:
    """The list before a step of which only ``kept`` of the content outlasts it; the new tail."""
    whole = 0.0
    for j in range(head, tail):
        whole += length[j]
        slope[j] *= kept
        length[j] /= kept
    return _cut(length, head, tail, 0.0, whole / kept - whole)[1]


@compiled
def _aims(
    of: _Columns,
    k: int,
    price: Array,
    hours: Array,
    slope: Array,
    length: Array,
    up_to: Array,
    down_to: Array,
) -> None:
    """Contents to charge up to and to discharge down to in each step; equal where both share the time."""
    head = len(price) + 2
    tail = head
    if of.e_want[k] > of.e_lo[k]:
        slope[tail], length[tail] = -of.short_price[k], of.e_want[k] - of.e_lo[k]
        tail += 1
    if of.e_hi[k] > of.e_want[k]:
        slope[tail], length[tail] = -of.end_value[k], of.e_hi[k] - of.e_want[k]
        tail += 1
    for t in range(of.last[k] - 1, of.first[k] - 1, -1):
        up = of.eff_charge[k] * of.charge[k] * hours[t]
        down = of.discharge[k] * hours[t] / of.eff_discharge[k]
        s_up = -(price[t] + of.wear[k]) / of.eff_charge[k]
        s_down = -(price[t] - of.wear[k]) * of.eff_discharge[k]
        shared = s_up > s_down
        if shared:
            s_up = s_down = (s_up * up + s_down * down) / (up + down)
        at, reach = head, of.e_lo[k]
        while at < tail and slope[at] < s_up:
            reach += length[at]
            at += 1
        up_to[t] = reach
        if shared:
            down_to[t] = reach
            tail = _insert(slope, length, (head, tail), at, s_up, up + down)
        else:
            behind = at
            while behind < tail and slope[behind] < s_down:
                reach += length[behind]
                behind += 1
            down_to[t] = reach
            for j in range(head, at):
                slope[j - 1], length[j - 1] = slope[j], length[j]
            head -= 1
            slope[at - 1], length[at - 1] = s_up, up
            tail = _insert(slope, length, (head, tail), behind, s_down, down)
        head, tail = _cut(length, head, tail, up, down)
        if of.loss[k] > 0.0:
            tail = _faded(slope, length, head, tail, (1.0 - of.loss[k]) ** hours[t])


@compiled
def _schedule(of: _Columns, k: int, price: Array, hours: Array, room: tuple[Array, ...], p: Array) -> float:
    """Best schedule of store ``k`` into ``p``; its own cost."""
    slope, length, up_to, down_to = room
    _aims(of, k, price, hours, slope, length, up_to, down_to)
    e, cost = of.e_now[k], 0.0
    p[:] = 0.0
    for t in range(of.first[k], of.last[k]):
        if of.loss[k] > 0.0:
            e = of.e_lo[k] + (e - of.e_lo[k]) * (1.0 - of.loss[k]) ** hours[t]
        up = of.eff_charge[k] * of.charge[k] * hours[t]
        down = of.discharge[k] * hours[t] / of.eff_discharge[k]
        pays = (price[t] + of.wear[k]) < (price[t] - of.wear[k]) * of.eff_discharge[k] * of.eff_charge[k]
        if pays:
            moved = min(max(up_to[t] - e, -down), up)
            moved = min(max(moved, of.e_lo[k] - e), of.e_hi[k] - e)
            part = (moved + down) / (up + down) if up + down > 0.0 else 0.0
            drawn, given = part * of.charge[k], (1.0 - part) * of.discharge[k]
        else:
            stored = min(max(up_to[t] - e, 0.0), up)
            taken = min(max(e - down_to[t], 0.0), down)
            moved = stored - taken
            drawn, given = stored / of.eff_charge[k] / hours[t], taken * of.eff_discharge[k] / hours[t]
        e += moved
        p[t] = given - drawn
        cost += of.wear[k] * (given + drawn) * hours[t]
    short = max(of.e_want[k] - e, 0.0)
    total: float = cost + of.short_price[k] * short - of.end_value[k] * (e - of.e_want[k] + short)
    return total


@compiled
def _room(steps: int) -> tuple[Array, Array, Array, Array]:
    """Space for slopes and lengths, two more pieces a step, and for the contents to aim at."""
    return np.empty(2 * steps + 8), np.empty(2 * steps + 8), np.empty(steps), np.empty(steps)


@compiled
def _sums(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    hours: Array,
    total: Array,
    cost: Array,
) -> None:
    """Sums of the groups' schedules and own costs."""
    p, room = np.empty(len(hours)), _room(len(hours))
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            cost[g] += _schedule(of, k, price[g], hours, room, p)
            for t in range(of.first[k], of.last[k]):
                total[g, t] += p[t]


@compiled
def _add(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    hours: Array,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules of the groups' members onto ``total``."""
    p, room = np.empty(len(hours)), _room(len(hours))
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            _schedule(of, k, price[g], hours, room, p)
            for t in range(of.first[k], of.last[k]):
                total[k, t] += weight[g] * p[t]


@compiled
def _replay(of: _Columns, hours: Array, p: NDArray[np.float32], clipped: Array, cost: Array) -> None:
    """Follow each store's true content; take off what it cannot store or give; own costs."""
    for k in range(len(of.e_now)):
        e = of.e_now[k]
        for t in range(of.first[k], of.last[k]):
            wanted = float(p[k, t])
            if of.loss[k] > 0.0:
                e = of.e_lo[k] + (e - of.e_lo[k]) * (1.0 - of.loss[k]) ** hours[t]
            if wanted < 0.0:
                stored = min(-wanted * hours[t] * of.eff_charge[k], of.e_hi[k] - e)
                e += stored
                done = -stored / of.eff_charge[k] / hours[t]
            else:
                taken = min(wanted * hours[t] / of.eff_discharge[k], e - of.e_lo[k])
                e -= taken
                done = taken * of.eff_discharge[k] / hours[t]
            if abs(done - wanted) > 1e-6 * max(of.charge[k], of.discharge[k]):
                clipped[k] += abs(done - wanted) * hours[t]
                p[k, t] = done
            cost[k] += of.wear[k] * abs(done) * hours[t]
        short = max(of.e_want[k] - e, 0.0)
        cost[k] += of.short_price[k] * short - of.end_value[k] * (e - of.e_want[k] + short)


@dataclass(frozen=True, slots=True, eq=False)
class Stores(Grouped):
    """An oracle of m stores with losses (``Grouped``); exact (``epsilon`` 0), softness is not needed.

    Own cost: wear of every kWh through the connection point, ``short_price`` of every kWh missing to
    ``e_want_kwh`` when the window closes, less ``end_value`` of every kWh above it.

    Attributes:
        charge_kw: float64 (m,) largest charging power, >= 0.
        discharge_kw: float64 (m,) largest discharging power, >= 0; not both 0.
        e_lo_kwh: float64 (m,) lowest content.
        e_hi_kwh: float64 (m,) highest.
        e_now_kwh: float64 (m,) content when the window opens.
        e_want_kwh: float64 (m,) content wanted when it closes, between lowest and highest.
        eff_charge: float64 (m,) in (0, 1].
        eff_discharge: float64 (m,) in (0, 1].
        wear: float64 (m,) money/kWh.
        end_value: float64 (m,) money/kWh stored.
        short_price: float64 (m,) money/kWh stored, at least ``end_value``.
        first: int64 (m,) first step of the window.
        last: int64 (m,) step after the window.
        loss_per_hour: float64 (m,) share of the content above ``e_lo_kwh`` lost in an hour, in [0, 1); left
            out, nothing is lost.
    """

    charge_kw: Kw
    discharge_kw: Kw
    e_lo_kwh: Kwh
    e_hi_kwh: Kwh
    e_now_kwh: Kwh
    e_want_kwh: Kwh
    eff_charge: Array
    eff_discharge: Array
    wear: Money
    end_value: Money
    short_price: Money
    first: Indices
    last: Indices
    loss_per_hour: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Where no losses are stated there are none."""
        if not self.loss_per_hour.size:
            object.__setattr__(self, "loss_per_hour", np.zeros(self.members))

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(self._column_names(), (count,))

    def _rules(self) -> Sequence[Rule]:
        lo, hi, most = self.e_lo_kwh, self.e_hi_kwh, np.maximum(self.charge_kw, self.discharge_kw)
        finite = ("charge_kw", "discharge_kw", "e_lo_kwh", "e_hi_kwh", "wear", "end_value")
        return (
            *((name, "must be finite", np.isfinite(getattr(self, name))) for name in finite),
            ("charge_kw", "must be >= 0, and one of charge and discharge more", self.charge_kw >= 0.0),
            ("discharge_kw", "must be >= 0, and one of both more", (self.discharge_kw >= 0) & (most > 0)),
            ("e_lo_kwh", "must be <= e_hi_kwh", lo <= hi),
            ("e_now_kwh", "must lie between lowest and highest", between(lo, self.e_now_kwh, hi)),
            ("e_want_kwh", "must lie between lowest and highest", between(lo, self.e_want_kwh, hi)),
            ("eff_charge", "must lie in (0, 1]", between(1e-9, self.eff_charge, 1.0)),
            ("eff_discharge", "must lie in (0, 1]", between(1e-9, self.eff_discharge, 1.0)),
            ("short_price", "must be >= end_value", self.short_price >= self.end_value),
            ("first", "must lie in the horizon", between(0, self.first, len(self.hours))),
            ("last", "must not come before first", between(self.first, self.last, len(self.hours))),
            ("loss_per_hour", "must lie in [0, 1)", (self.loss_per_hour >= 0) & (self.loss_per_hour < 1)),
        )

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules."""
        asked = (self._columns(), question.price, self.hours)
        return self._exact(question, lambda of, *into: _sums(of, self.start, *asked, *into))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every store's schedule to ``total`` (m, T), kW."""
        asked = (self._columns(), question.price, self.hours)
        self._over_groups(lambda of: _add(of, self.start, *asked, weight, total))

    def replay(self, p_kw: NDArray[np.float32]) -> tuple[Kwh, Money]:
        """Follow the true content under mixed schedules, and correct them in place.

        A mix of a schedule that charges and one that discharges in the same step nets out before the
        losses, so the store ends fuller than the mix, never emptier: what would not fit is not drawn.

        Args:
            p_kw: float32 (m, T), corrected in place.

        Returns:
            (m,) kWh corrected at the connection point, and (m,) own cost of what is left.
        """
        clipped, cost = np.zeros(self.members), np.zeros(self.members)
        _replay(self._columns(), self.hours, p_kw, clipped, cost)
        return clipped, cost

    def corrected(self, clipped_kwh: Kwh) -> Mask:
        """(m,) which stores a replay changed by more than rounding."""
        changed: Mask = clipped_kwh > 1e-5 * self.e_hi_kwh
        return changed

    def _columns(self) -> _Columns:
        return _Columns(
            self.charge_kw,
            self.discharge_kw,
            self.e_lo_kwh,
            self.e_hi_kwh,
            self.e_now_kwh,
            self.e_want_kwh,
            self.eff_charge,
            self.eff_discharge,
            self.wear,
            self.end_value,
            self.short_price,
            self.first,
            self.last,
            self.loss_per_hour,
        )
