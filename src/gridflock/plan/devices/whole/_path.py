"""The shortest path through a unit's states: on or off, for how long, at which level, how much heat is kept.

Costs are carried back from the end, step by step, over every state on its grid; then the schedule is
walked forth from the state now. One compiled routine serves prices alone and pulls to a target: both are
costs of a step at a level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.units import Codes

TINY = 1e-9
"""Hours and kW below this are rounding."""


class Columns(NamedTuple):
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
    of: Columns, k: int, stage: float, gain: float, after: Array, at: tuple[int, int], value: Array
) -> None:
    """Cost from a step on, ``value`` (ages, places), with a gain of heat and the costs ``after`` it."""
    ages, places = at
    for e in range(places):
        content = e * of.tank[k] / max(places - 1, 1)
        low, down, high, up = _land(content + gain, of.tank[k], places, of.boiler[k], of.dump[k])
        for j in range(ages):
            value[j, e] = stage + min(after[j, low] + down, after[j, high] + up)


@compiled
def _may_leave(of: Columns, k: int, on: int, t: int, age: int, clock: Array) -> bool:
    """Whether after ``age`` + 1 steps on or off a unit may do the other at step ``t``."""
    if t < of.until[k]:
        return False
    begun = t - age - 1
    return age + 1 >= of.ages[on, k] or begun < 0 or clock[t] - clock[begun] >= of.least[on, k] - TINY


@compiled
def _before_on(
    of: Columns,
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
    of: Columns, k: int, t: int, clock: Array, w_on: Array, w_off: Array, v_off: Array, low: float
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
def _values(of: Columns, k: int, stage: Array, clock: Array, places: int, room: tuple[Array, ...]) -> None:
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
        reach = of.ramp[k] * hours + TINY
        low = max(of.level[k, 0], reach)
        w = w_on[:, : of.ages[1, k]], w_off[: of.ages[0, k]]
        _before_on(of, k, t, clock, w[0], w[1], v_on[t], (reach, low))
        _before_off(of, k, t, clock, w[0], w[1], v_off[t], low)


@compiled
def _off_grid(of: Columns, k: int, at: float) -> float:
    """How far an output is from the nearest level, kW."""
    gap = np.inf
    for n in range(of.level.shape[1]):
        gap = min(gap, abs(of.level[k, n] - at))
    return gap


@compiled
def _choice(
    of: Columns,
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
    reach = of.ramp[k] * hours + TINY
    low = max(of.level[k, 0], reach)
    if on:
        reach = max(reach, _off_grid(of, k, at) + TINY)
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
    of: Columns, k: int, stage: Array, clock: Array, places: int, room: tuple[Array, ...], p: Array
) -> float:
    """Best schedule of unit ``k`` under the costs of its ``stage`` (T, 1 + levels); its own cost."""
    _values(of, k, stage, clock, places, room)
    on = 1 if of.on[k] else 0
    age, at, content, cost = of.ages[on, k] - 1, of.now[k] * on, of.content[k], 0.0
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
def _stage_at(of: Columns, k: int, price: Array, clock: Array, stage: Array) -> None:
    """Cost of each step off and at each level: fuel less the worth of the energy."""
    for t in range(len(price)):
        hours = clock[t + 1] - clock[t]
        stage[t, 0] = 0.0
        for n in range(of.level.shape[1]):
            stage[t, n + 1] = (of.burn[k, n] - price[t] * of.level[k, n]) * hours


@compiled
def _room(of: Columns, steps: int, places: int) -> tuple[Array, Array, Array, Array]:
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
def sums(
    groups: tuple[int, int],
    start: Indices,
    of: Columns,
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
            for t in range(steps):
                total[g, t] += p[t]


@compiled
def add(
    groups: tuple[int, int],
    start: Indices,
    of: Columns,
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
def nearest(
    of: Columns,
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
