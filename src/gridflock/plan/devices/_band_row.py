"""One band store from its columns into the one form, and the way to its best answer.

What can be reached is followed first. A band that asks for more is widened, edge by edge in time, to the
nearest content that can be reached: what it lacks is named, and there is always an answer. A row whose band
then never binds has a known price of keeping in every step; one whose band binds only at the end has the
same unknown one in all steps; only the others need curves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._band_curve import along_curves
from gridflock.plan.devices._band_level import at_one_level, only_the_end_binds
from gridflock.plan.devices._band_step import Room, Traits, answer_at, room_for
from gridflock.plan.devices._compiled import Array, Indices, compiled, inlined

_KWH = 1e-9
"""By less a band is not said to bind."""


class Columns(NamedTuple):
    """The columns of ``Bands`` as compiled loops take them."""

    hours: Array
    base: Array
    up: Array
    down: Array
    x_lo: Array
    x_hi: Array
    gain_up: Array
    gain_down: Array
    cost_up: Array
    cost_down: Array
    end_value: Array
    loss: Array
    unserved: float


class Asked(NamedTuple):
    """A question to rows: prices, pulls and further bounds, one line for each row asked.

    ``line[k]`` is the line of ``price`` for row ``row[k]``; the others have a line for each row asked, or
    none at all.
    """

    row: Indices
    line: Indices
    price: Array
    target: Array
    pull: Array
    p_lo: Array
    p_hi: Array


@inlined
def form_of(of: Columns, r: int, pull: float) -> Traits:
    """The row turned so that ``q`` above 0 empties it and a way there and back loses."""
    up, down, v, turned, upturned = of.gain_up[r], of.gain_down[r], of.end_value[r], 1.0, 1.0
    costs = (of.cost_up[r], of.cost_down[r])
    if up + down > 0.0:
        up, down, v, upturned = -up, -down, -v, -1.0
    if up > 0.0 or down < 0.0:
        up, down, turned = down, up, -1.0
        costs = (costs[1], costs[0])
    return Traits(-up, down, costs[0], costs[1], v, of.loss[r], pull, turned, upturned)


@inlined
def limits(room: Room, of: Columns, form: Traits, r: int, k: int, p_lo: Array, p_hi: Array) -> None:
    """Bounds of ``q`` and band of row ``r`` in its one form; further bounds stand in line ``k``, if any."""
    for t in range(len(of.hours)):
        base = of.base[r, t]
        lo, hi = -of.down[r, t], of.up[r, t]
        if len(p_lo) > 0:
            least, most = p_lo[k, t] - base, p_hi[k, t] - base
            lo, hi = min(max(lo, least), hi), max(min(hi, most), lo)
            lo = min(lo, hi)
        if form.turned > 0.0:
            room.q_lo[t], room.q_hi[t] = lo, hi
        else:
            room.q_lo[t], room.q_hi[t] = -hi, -lo
        room.kept[t] = (1.0 - form.loss) ** of.hours[t] if form.loss > 0.0 else 1.0
        lo, hi = of.x_lo[r, t + 1], of.x_hi[r, t + 1]
        if form.upturned < 0.0:
            lo, hi = -hi, -lo
        room.band_lo[t + 1], room.band_hi[t + 1] = lo, hi


@inlined
def _prices(room: Room, of: Columns, form: Traits, asked: Asked, k: int) -> None:
    """Prices and aims of the k-th row asked, in its one form."""
    r, line = asked.row[k], asked.line[k]
    for t in range(len(of.hours)):
        room.worth[t] = form.turned * asked.price[line, t]
        if form.pull > 0.0:
            room.aim[t] = form.turned * (asked.target[k, t] - of.base[r, t])


@inlined
def _rest_at_the_end(room: Room, form: Traits, hour: float, t: int, idle: tuple[float, float]) -> None:
    """Let bounds of step ``t`` yield that would force energy out of an empty store or into a full one.

    ``idle`` are the lowest and the highest content after the step if nothing is done.
    """
    if room.q_lo[t] > 0.0 and form.drain > 0.0:
        most = max(idle[1] - room.band_lo[t + 1], 0.0) / (hour * form.drain)
        room.q_lo[t] = min(room.q_lo[t], most)
    elif room.q_hi[t] < 0.0 and form.fill > 0.0:
        most = max(room.band_hi[t + 1] - idle[0], 0.0) / (hour * form.fill)
        room.q_hi[t] = max(room.q_hi[t], -most)


@inlined
def reach(room: Room, form: Traits, hours: Array) -> tuple[float, bool]:
    """Contents that can be reached and are allowed, into ``lo`` and ``hi``; bounds of ``q`` may yield.

    Returns:
        Most kWh by which the band had to be widened, and whether it binds at all.
    """
    lo = hi = missing = 0.0
    binds = False
    room.lo[0] = room.hi[0] = 0.0
    for t in range(len(hours)):
        _rest_at_the_end(room, form, hours[t], t, (room.kept[t] * lo, room.kept[t] * hi))
        low_q, high_q = room.q_lo[t], room.q_hi[t]
        up = form.drain * max(high_q, 0.0) - form.fill * max(-high_q, 0.0)
        down = form.drain * max(low_q, 0.0) - form.fill * max(-low_q, 0.0)
        lo = room.kept[t] * lo - hours[t] * up
        hi = room.kept[t] * hi - hours[t] * down
        band_lo, band_hi = room.band_lo[t + 1], room.band_hi[t + 1]
        binds = binds or band_lo > lo + _KWH or band_hi < hi - _KWH
        if band_lo > hi:
            missing, lo = max(missing, band_lo - hi), hi
        elif band_hi < lo:
            missing, hi = max(missing, lo - band_hi), lo
        else:
            lo, hi = max(lo, band_lo), min(hi, band_hi)
        room.lo[t + 1], room.hi[t + 1] = lo, hi
    return missing, binds


@inlined
def _free(room: Room, form: Traits, hours: Array) -> None:
    """The answer of a row whose band never binds: every step at a known price of keeping."""
    mu = -form.end_value
    for t in range(len(hours) - 1, -1, -1):
        room.q[t], room.down[t] = answer_at(room, form, t, hours[t], mu)
        mu *= room.kept[t]


@inlined
def own_cost(room: Room, of: Columns, form: Traits, missing: float) -> float:
    """Money for the answer in ``room`` and for what the band lacks, less the worth of the end's content."""
    content, cost = 0.0, of.unserved * missing
    for t in range(len(of.hours)):
        up, down = room.q[t] + room.down[t], room.down[t]
        content = room.kept[t] * content - of.hours[t] * (form.drain * up - form.fill * down)
        cost += of.hours[t] * (form.cost_up * up + form.cost_down * down)
    return cost - form.end_value * content


@compiled
def _answer(room: Room, of: Columns, asked: Asked, k: int) -> tuple[Traits, float, float]:
    """Best answer of the k-th row asked into ``room``; its form, own cost and the kWh its band lacks."""
    r = asked.row[k]
    form = form_of(of, r, asked.pull[k] if len(asked.pull) > 0 else 0.0)
    limits(room, of, form, r, k, asked.p_lo, asked.p_hi)
    _prices(room, of, form, asked, k)
    missing, binds = reach(room, form, of.hours)
    if not binds or form.drain == 0.0:
        _free(room, form, of.hours)
    elif form.pull > 0.0 and only_the_end_binds(room, form, of.hours):
        at_one_level(room, form, of.hours)
    else:
        along_curves(room, form, of.hours)
    return form, own_cost(room, of, form, missing), missing


@compiled
def answer_rows(
    part: tuple[int, int], of: Columns, asked: Asked, p: Array, cost: Array, missing: Array
) -> None:
    """Schedules, own costs and missing energy of some of the rows asked."""
    room = room_for(len(of.hours))
    for k in range(part[0], part[1]):
        form, cost[k], missing[k] = _answer(room, of, asked, k)
        for t in range(len(of.hours)):
            p[k, t] = of.base[asked.row[k], t] + form.turned * room.q[t]


@compiled
def sum_groups(
    groups: tuple[int, int], start: Indices, of: Columns, asked: Asked, total: Array, cost: Array
) -> None:
    """Sums of the groups' schedules and own costs; all rows are asked."""
    room = room_for(len(of.hours))
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            form, own, _ = _answer(room, of, asked, k)
            cost[g] += own
            for t in range(len(of.hours)):
                total[g, t] += of.base[k, t] + form.turned * room.q[t]


@compiled
def add_groups(
    groups: tuple[int, int],
    start: Indices,
    of: Columns,
    asked: Asked,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules of the groups' rows onto ``total``; all rows are asked."""
    room = room_for(len(of.hours))
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            form, _, _ = _answer(room, of, asked, k)
            for t in range(len(of.hours)):
                total[k, t] += weight[g] * (of.base[k, t] + form.turned * room.q[t])
