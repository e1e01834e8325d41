"""Combined heat and power, and gensets: on at one of some levels, or off, for no less than their times.

A unit's best schedule is a shortest path: its state after each step is on or off, for how many steps (as
far as a minimum time still binds), at which level, and how full its heat tank is. Levels and contents stand
on grids, and on these the answer is exact. Heat that is missing comes from a boiler at a price and heat
that is too much is thrown away at one, so no state is a dead end; they also bring the content to the next
place of its grid.

Such sets are not convex: a mix of two schedules is none. One unit is one group, so that a last choice of
one schedule each is possible (``pick_whole``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.plan.devices._compiled import Array, Indices, Spread, compiled, over_groups, thin
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import broken, misshapen
from gridflock.units import Codes, Kw, Kwh, Money

_SHARED = {"hours", "start", "tank_places", "spread", "parts"}
_NOT_NEGATIVE = ("start_cost", "min_on_h", "min_off_h", "since_h", "tank_kwh", "boiler_price", "dump_price")
_FINITE = ("tank_now_kwh", "heat_value")
_TINY = 1e-9


class _Columns(NamedTuple):
    """Units as plain arrays; times in steps, see ``Units``."""

    level: Array
    burn: Array
    start_cost: Array
    ramp: Array
    on: Codes
    now: Array
    heat: Array
    need: Array
    tank: Array
    content: Array
    boiler: Array
    dump: Array
    end_value: Array
    least: Array
    """(2, m) shortest time off, on, h."""
    until: Indices
    """(m,) step from which the unit may leave the state it is in now."""
    ages: Indices
    """(2, m) how many steps off, on have to be told apart."""


@compiled
def _land(x: float, tank: float, places: int, boiler: float, dump: float) -> tuple[int, float, int, float]:
    """The grid's places below and above a content, and what it costs to come there."""
    if x <= 0.0:
        return 0, -x * boiler, 0, -x * boiler
    if x >= tank:
        return places - 1, (x - tank) * dump, places - 1, (x - tank) * dump
    width = tank / (places - 1)
    low = min(int(x / width), places - 2)
    return low, max(x - low * width, 0.0) * dump, low + 1, max((low + 1) * width - x, 0.0) * boiler


@compiled
def _carry(
    of: _Columns, k: int, stage: float, gain: float, after: Array, at: tuple[int, int], value: Array
) -> None:
    """Cost from a step on, ``value`` (ages, places), with a gain of heat and the costs ``after`` it."""
    ages, places = at
    for e in range(places):
        content = e * of.tank[k] / max(places - 1, 1)
        low, down, high, up = _land(content + gain, of.tank[k], places, of.boiler[k], of.dump[k])
        for j in range(ages):
            value[j, e] = stage + min(after[j, low] + down, after[j, high] + up)


@compiled
def _may_leave(of: _Columns, k: int, on: int, t: int, age: int, clock: Array) -> bool:
    """Whether after ``age`` + 1 steps on or off a unit may do the other at step ``t``."""
    if t < of.until[k]:
        return False
    begun = t - age - 1
    return age + 1 >= of.ages[on, k] or begun < 0 or clock[t] - clock[begun] >= of.least[on, k] - _TINY


@compiled
def _before_on(
    of: _Columns,
    k: int,
    t: int,
    clock: Array,
    w_on: Array,
    w_off: Array,
    v_on: Array,
    room: tuple[float, float],
) -> None:
    """Costs from step ``t`` on for a unit that is on, out of those by what is done in it (``w``)."""
    levels, ages, places = w_on.shape
    reach, low = room
    for j in range(ages):
        then, leaves = min(j + 1, of.ages[1, k] - 1), _may_leave(of, k, 1, t, j, clock)
        for n in range(levels):
            at = of.level[k, n]
            stops = leaves and at <= low
            for e in range(places):
                v_on[n, j, e] = w_off[0, e] if stops else np.inf
            for to in range(levels):
                if abs(of.level[k, to] - at) <= reach:
                    for e in range(places):
                        v_on[n, j, e] = min(v_on[n, j, e], w_on[to, then, e])


@compiled
def _before_off(
    of: _Columns, k: int, t: int, clock: Array, w_on: Array, w_off: Array, v_off: Array, low: float
) -> None:
    """The same for one that is off."""
    ages, places = w_off.shape
    for j in range(ages):
        then, leaves = min(j + 1, of.ages[0, k] - 1), _may_leave(of, k, 0, t, j, clock)
        for e in range(places):
            v_off[j, e] = w_off[then, e]
        for to in range(len(w_on)):
            if leaves and of.level[k, to] <= low:
                for e in range(places):
                    v_off[j, e] = min(v_off[j, e], of.start_cost[k] + w_on[to, 0, e])


@compiled
def _values(of: _Columns, k: int, stage: Array, clock: Array, places: int, room: tuple[Array, ...]) -> None:
    """Least costs from every step and state on, into ``room``: by level, age and place."""
    v_on, v_off, w_on, w_off = room
    steps, levels = len(clock) - 1, of.level.shape[1]
    for e in range(places):
        left = -of.end_value[k] * e * of.tank[k] / max(places - 1, 1)
        v_on[steps, :, :, e] = left
        v_off[steps, :, e] = left
    for t in range(steps - 1, -1, -1):
        hours = clock[t + 1] - clock[t]
        for n in range(levels):
            gain = (of.heat[k, n] - of.need[k, t]) * hours
            _carry(of, k, stage[t, n + 1], gain, v_on[t + 1, n], (of.ages[1, k], places), w_on[n])
        _carry(of, k, stage[t, 0], -of.need[k, t] * hours, v_off[t + 1], (of.ages[0, k], places), w_off)
        reach = of.ramp[k] * hours + _TINY
        low = max(of.level[k, 0], reach)
        w = w_on[:, : of.ages[1, k]], w_off[: of.ages[0, k]]
        _before_on(of, k, t, clock, w[0], w[1], v_on[t], (reach, low))
        _before_off(of, k, t, clock, w[0], w[1], v_off[t], low)


@compiled
def _choice(
    of: _Columns,
    k: int,
    t: int,
    clock: Array,
    stage: Array,
    state: tuple[int, int, float, float],
    places: int,
    room: tuple[Array, ...],
) -> tuple[int, int, float]:
    """What to do in step ``t``: level (-1 off), place of the content after it, cost of boiler and dump."""
    on, age, at, content = state
    v_on, v_off = room[0][t + 1], room[1][t + 1]
    hours = clock[t + 1] - clock[t]
    leaves, then = _may_leave(of, k, on, t, age, clock), min(age + 1, of.ages[on, k] - 1)
    reach = of.ramp[k] * hours + _TINY
    low = max(of.level[k, 0], reach)
    if on:
        reach = max(reach, np.abs(of.level[k] - at).min() + _TINY)
    best, level, place, paid = np.inf, -1, 0, 0.0
    for n in range(-1, of.level.shape[1]):
        if n < 0:
            allowed = not on or (leaves and at <= low)
        elif on:
            allowed = abs(of.level[k, n] - at) <= reach
        else:
            allowed = leaves and of.level[k, n] <= low
        if not allowed:
            continue
        gain = (-of.need[k, t] if n < 0 else of.heat[k, n] - of.need[k, t]) * hours
        same = (n >= 0) == (on == 1)
        after = v_off[then if same else 0] if n < 0 else v_on[n, then if same else 0]
        begun = of.start_cost[k] if n >= 0 and not on else 0.0
        down, lower, up, higher = _land(content + gain, of.tank[k], places, of.boiler[k], of.dump[k])
        for j, cost in ((down, lower), (up, higher)):
            total = stage[t, n + 1] + begun + cost + after[j]
            if total < best:
                best, level, place, paid = total, n, j, begun + cost
    return level, place, paid


@compiled
def _schedule(
    of: _Columns, k: int, stage: Array, clock: Array, places: int, room: tuple[Array, ...], p: Array
) -> float:
    """Best schedule of unit ``k`` under the costs of its ``stage`` (T, 1 + levels); its own cost."""
    _values(of, k, stage, clock, places, room)
    on = int(of.on[k])
    age, at, content, cost = int(of.ages[on, k]) - 1, of.now[k] * on, of.content[k], 0.0
    for t in range(len(p)):
        state = (on, age, at, content)
        level, place, paid = _choice(of, k, t, clock, stage, state, places, room)
        now = 1 if level >= 0 else 0
        age = min(age + 1, of.ages[on, k] - 1) if now == on else 0
        on, at = now, of.level[k, level] if now else 0.0
        content = place * of.tank[k] / max(places - 1, 1)
        p[t] = at
        cost += paid + (of.burn[k, level] * (clock[t + 1] - clock[t]) if now else 0.0)
    total: float = cost - of.end_value[k] * content
    return total


@compiled
def _stage_at(of: _Columns, k: int, price: Array, clock: Array, stage: Array) -> None:
    """Cost of each step off and at each level: fuel less the worth of the energy."""
    for t in range(len(price)):
        hours = clock[t + 1] - clock[t]
        stage[t, 0] = 0.0
        for n in range(of.level.shape[1]):
            stage[t, n + 1] = (of.burn[k, n] - price[t] * of.level[k, n]) * hours


@compiled
def _room(of: _Columns, steps: int, places: int) -> tuple[Array, Array, Array, Array]:
    """Space for the costs of all steps and states of the largest unit."""
    levels, old_off, old_on = of.level.shape[1], 1, 1
    for k in range(of.ages.shape[1]):
        old_off, old_on = max(old_off, of.ages[0, k]), max(old_on, of.ages[1, k])
    return (
        np.empty((steps + 1, levels, old_on, places)),
        np.empty((steps + 1, old_off, places)),
        np.empty((levels, old_on, places)),
        np.empty((old_off, places)),
    )


@compiled
def _sums(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    clock: Array,
    places: int,
    total: Array,
    cost: Array,
) -> None:
    """Sums of the groups' schedules and own costs."""
    steps = len(clock) - 1
    p, stage, room = np.empty(steps), np.empty((steps, of.level.shape[1] + 1)), _room(of, steps, places)
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            _stage_at(of, k, price[g], clock, stage)
            cost[g] += _schedule(of, k, stage, clock, places, room, p)
            total[g] += p


@compiled
def _add(
    groups: tuple[int, int],
    start: Indices,
    of: _Columns,
    price: Array,
    clock: Array,
    places: int,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules onto ``total``."""
    steps = len(clock) - 1
    p, stage, room = np.empty(steps), np.empty((steps, of.level.shape[1] + 1)), _room(of, steps, places)
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            _stage_at(of, k, price[g], clock, stage)
            _schedule(of, k, stage, clock, places, room, p)
            for t in range(steps):
                total[k, t] += weight[g] * p[t]


@compiled
def _nearest(
    of: _Columns,
    price: Array,
    target: Array,
    pull: Array,
    clock: Array,
    places: int,
    p_kw: Array,
    cost: Array,
) -> None:
    """Schedules of all units under a pull to a target, and own costs."""
    steps = len(clock) - 1
    stage, room = np.empty((steps, of.level.shape[1] + 1)), _room(of, steps, places)
    for k in range(len(cost)):
        _stage_at(of, k, price[k], clock, stage)
        for t in range(steps):
            stage[t, 0] += 0.5 * pull[k] * target[k, t] ** 2
            for n in range(of.level.shape[1]):
                stage[t, n + 1] += 0.5 * pull[k] * (of.level[k, n] - target[k, t]) ** 2
        cost[k] = _schedule(of, k, stage, clock, places, room, p_kw[k])


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """An oracle of m units that are on at one of L levels or off; exact on its grid (``epsilon`` 0).

    Own cost: fuel, starts, and heat made by a boiler or thrown away, less the worth of heat left in the
    tank. From one step to the next the output moves by the ramp at most; it enters and leaves at the lowest
    level or within the ramp from nothing. A mix of answers is no schedule: one unit per group.

    Attributes:
        hours: float64 (T,) length of each step.
        start: int64 (G + 1,) first member of each group, and m.
        level_kw: float64 (m, L) outputs while on, > 0, ascending; the first is the minimum load.
        burn: float64 (m, L) fuel and wear at each level, money/h.
        start_cost: float64 (m,) money for each start, >= 0.
        min_on_h: float64 (m,) shortest time on, h.
        min_off_h: float64 (m,) shortest time off, h.
        ramp_kw_h: float64 (m,) most that the output may change, kW per hour; inf for any change.
        on: uint8 (m,) 1 where it is on now.
        since_h: float64 (m,) hours for which it has been so.
        now_kw: float64 (m,) output now, where on.
        heat_kw: float64 (m, L) heat at each level, kW; 0 for a genset.
        heat_need_kw: float64 (m, T) heat taken, kW, >= 0.
        tank_kwh: float64 (m,) heat a full tank holds, >= 0.
        tank_now_kwh: float64 (m,) heat in it now.
        boiler_price: float64 (m,) money per kWh of heat from elsewhere, >= 0.
        dump_price: float64 (m,) money per kWh of heat thrown away, >= 0.
        heat_value: float64 (m,) money per kWh of heat left at the end, at most ``boiler_price``.
        tank_places: places of the contents' grid; 1 without tanks.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.
    """

    hours: Array
    start: Indices
    level_kw: Kw
    burn: Money
    start_cost: Money
    min_on_h: Array
    min_off_h: Array
    ramp_kw_h: Array
    on: Codes
    since_h: Array
    now_kw: Kw
    heat_kw: Kw
    heat_need_kw: Kw
    tank_kwh: Kwh
    tank_now_kwh: Kwh
    boiler_price: Money
    dump_price: Money
    heat_value: Money
    tank_places: int = 1
    spread: Spread = map
    parts: int = 1

    @property
    def groups(self) -> int:
        """How many groups."""
        return len(self.start) - 1

    @property
    def members(self) -> int:
        """How many units."""
        return len(self.start_cost)

    def thinned(self, every: int) -> Units:
        """One unit in ``every`` of each group; the first of each where a group is one unit."""
        kept, start = thin(self.start, every)
        names = [each.name for each in fields(self) if each.name not in _SHARED]
        columns: dict[str, Any] = {name: getattr(self, name)[kept] for name in names}
        return replace(self, start=start, **columns)

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules."""
        p_kw, cost = np.zeros((self.groups, len(self.hours))), np.zeros(self.groups)
        of, clock = self._columns(), self._clock()

        def part(first: int, last: int) -> None:
            asked = (question.price, clock, self.tank_places)
            _sums((first, last), self.start, of, *asked, p_kw, cost)

        over_groups(self.start, self.parts, self.spread, part)
        return Answer(p_kw, cost, np.zeros(self.groups))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every unit's schedule to ``total`` (m, T), kW."""
        of, clock = self._columns(), self._clock()

        def part(first: int, last: int) -> None:
            asked = (question.price, clock, self.tank_places)
            _add((first, last), self.start, of, *asked, weight, total)

        over_groups(self.start, self.parts, self.spread, part)

    def rejected(self, names: Sequence[str]) -> tuple[Rejected, ...]:
        """What of the columns breaks a rule, by field and unit; ``names`` are m ids."""
        m, levels = len(names), np.shape(self.level_kw)[-1]
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("level_kw", "burn", "heat_kw"), (m, levels))
        wanted |= dict.fromkeys((*_NOT_NEGATIVE, *_FINITE, "on", "ramp_kw_h"), (m,))
        wanted |= {"heat_need_kw": (m, len(self.hours))}
        finite = (*_FINITE, "burn", "heat_kw", "heat_need_kw")
        climbs = (np.diff(self.level_kw, axis=-1) > 0.0).all(axis=-1) & (self.level_kw[..., 0] > 0.0)
        rules = [("level_kw", "must be finite, above 0 and ascending", climbs)]
        rules += [(f, "must be finite and not below 0", getattr(self, f) >= 0.0) for f in _NOT_NEGATIVE]
        rules += [(f, "must be finite", np.isfinite(getattr(self, f))) for f in (*_NOT_NEGATIVE, *finite)]
        rules += [
            ("on", "must be 0 or 1", self.on <= 1),
            ("ramp_kw_h", "must not be below 0", self.ramp_kw_h >= 0.0),
            ("now_kw", "must be known where the unit is on", np.isfinite(self.now_kw) | (self.on == 0)),
            ("heat_value", "must not be above boiler_price", ~(self.heat_value > self.boiler_price)),
        ]
        if self.tank_places < 2:
            rules.append(("tank_kwh", "must be 0 where tank_places is 1", self.tank_kwh == 0.0))
        return misshapen(self, wanted) or broken(names, rules)

    def respond_rows(self, price: Array) -> tuple[Kw, Money]:
        """Each unit's best answer to prices of its own.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,).
        """
        return self.nearest(price, np.zeros_like(price), 0.0)

    def nearest(self, price: Array, target: Kw, pull: Array | float) -> tuple[Kw, Money]:
        """The proximal answer: least own cost - Σ price·hours·p + pull/2·Σ (p - target)², of all schedules.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            target: float64 (m, T) kW.
            pull: money per kW² and step, >= 0, one for all or (m,).

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,), the pull not counted.
        """
        p_kw, cost = np.empty((self.members, len(self.hours))), np.empty(self.members)
        each = np.array(np.broadcast_to(pull, self.members), dtype=np.float64)
        _nearest(self._columns(), price, target, each, self._clock(), self.tank_places, p_kw, cost)
        return p_kw, cost

    def _clock(self) -> Array:
        """(T + 1,) hours from the start."""
        return np.concatenate([[0.0], np.cumsum(self.hours)])

    def _columns(self) -> _Columns:
        clock = self._clock()
        least = np.stack([self.min_off_h, self.min_on_h]).astype(np.float64)
        left = least[self.on, np.arange(self.members)] - self.since_h
        return _Columns(
            self.level_kw,
            self.burn,
            self.start_cost,
            self.ramp_kw_h,
            self.on,
            self.now_kw,
            self.heat_kw,
            self.heat_need_kw,
            self.tank_kwh,
            np.clip(self.tank_now_kwh, 0.0, self.tank_kwh),
            self.boiler_price,
            self.dump_price,
            self.heat_value,
            least,
            np.searchsorted(clock, left - _TINY),
            _ages(clock, least),
        )


def _ages(clock: Array, least: Array) -> Indices:
    """How many steps of a state have to be told apart: the most that a shortest time can last, at least 1."""
    ends = np.searchsorted(clock, clock[:-1] + least.ravel()[:, None] - _TINY)
    count = (np.minimum(ends, len(clock) - 1) - np.arange(len(clock) - 1)).max(axis=1)
    ages: Indices = np.maximum(count, 1).reshape(least.shape).astype(np.int64)
    return ages
