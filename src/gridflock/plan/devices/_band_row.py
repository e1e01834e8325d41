"""One band store from its columns into the one form, and the way to its best answer.

What can be reached is followed first. A band that asks for more is widened, edge by edge in time, to the
nearest content that can be reached: what it lacks is named, and there is always an answer. A row whose band
then never binds has a known price of keeping in every step; one whose band binds only at the end has the
same unknown one in all steps; only the others need curves.
"""

from __future__ import annotations

from typing import NamedTuple

from gridflock.plan.devices._band_curve import along_curves
from gridflock.plan.devices._band_step import Room, Traits, answer_at, room_for
from gridflock.plan.devices._compiled import Array, Indices, compiled

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

    ``line[k]`` is the line of ``price`` that row ``row[k]`` is asked; the others have a line for each row
    asked, or none at all.
    """

    row: Indices
    line: Indices
    price: Array
    target: Array
    pull: Array
    p_lo: Array
    p_hi: Array


@compiled
def _form(of: Columns, r: int, pull: float) -> Traits:
    """The row turned so that ``q`` above 0 empties it and a way there and back loses."""
    up, down, v, turned, upturned = of.gain_up[r], of.gain_down[r], of.end_value[r], 1.0, 1.0
    costs = (of.cost_up[r], of.cost_down[r])
    if up + down > 0.0:
        up, down, v, upturned = -up, -down, -v, -1.0
    if up > 0.0 or down < 0.0:
        up, down, turned = down, up, -1.0
        costs = (costs[1], costs[0])
    return Traits(-up, down, costs[0], costs[1], v, of.loss[r], pull, turned, upturned)


@compiled
def _load(room: Room, of: Columns, form: Traits, asked: Asked, k: int) -> None:
    """Prices, aims and bounds of ``q`` of the k-th row asked, in its one form."""
    r, line, bounded, pulled = asked.row[k], asked.line[k], len(asked.p_lo) > 0, form.pull > 0.0
    for t in range(len(of.hours)):
        base = of.base[r, t]
        lo, hi = -of.down[r, t], of.up[r, t]
        if bounded:
            least, most = asked.p_lo[k, t] - base, asked.p_hi[k, t] - base
            lo, hi = min(max(lo, least), hi), max(min(hi, most), lo)
            lo = min(lo, hi)
        aim = asked.target[k, t] - base if pulled else 0.0
        if form.turned > 0.0:
            room.q_lo[t], room.q_hi[t] = lo, hi
        else:
            room.q_lo[t], room.q_hi[t] = -hi, -lo
        room.worth[t], room.aim[t] = form.turned * asked.price[line, t], form.turned * aim
        room.kept[t] = (1.0 - form.loss) ** of.hours[t] if form.loss > 0.0 else 1.0


@compiled
def _reach(room: Room, of: Columns, form: Traits, r: int) -> tuple[float, int, int]:
    """Contents that can be reached and are allowed, into ``lo`` and ``hi``.

    Returns:
        Most kWh by which the band had to be widened, and the first and last edge at which it binds (0: none).
    """
    lo = hi = missing = 0.0
    first = last = 0
    room.lo[0] = room.hi[0] = 0.0
    for t in range(len(of.hours)):
        low_q, high_q = room.q_lo[t], room.q_hi[t]
        up = form.drain * max(high_q, 0.0) - form.fill * max(-high_q, 0.0)
        down = form.drain * max(low_q, 0.0) - form.fill * max(-low_q, 0.0)
        lo = room.kept[t] * lo - of.hours[t] * up
        hi = room.kept[t] * hi - of.hours[t] * down
        band_lo, band_hi = of.x_lo[r, t + 1], of.x_hi[r, t + 1]
        if form.upturned < 0.0:
            band_lo, band_hi = -band_hi, -band_lo
        if band_lo > lo + _KWH or band_hi < hi - _KWH:
            first, last = (first or t + 1), t + 1
        if band_lo > hi:
            missing, lo = max(missing, band_lo - hi), hi
        elif band_hi < lo:
            missing, hi = max(missing, lo - band_hi), lo
        else:
            lo, hi = max(lo, band_lo), min(hi, band_hi)
        room.lo[t + 1], room.hi[t + 1] = lo, hi
    return missing, first, last


@compiled
def _free(room: Room, form: Traits, hours: Array) -> None:
    """The answer of a row whose band never binds: every step at a known price of keeping."""
    mu = -form.end_value
    for t in range(len(hours) - 1, -1, -1):
        room.q[t], room.down[t] = answer_at(room, form, t, hours[t], mu)
        mu *= room.kept[t]


@compiled
def _end_content(room: Room, form: Traits, hours: Array) -> float:
    """Content after the last step of the answer in ``room``."""
    x = 0.0
    for t in range(len(hours)):
        x = room.kept[t] * x - hours[t] * (form.drain * (room.q[t] + room.down[t]) - form.fill * room.down[t])
    return x


@compiled
def _answer(room: Room, of: Columns, asked: Asked, k: int) -> tuple[Traits, float]:
    """Best answer of the k-th row asked into ``room``; its form and the kWh its band had to give way."""
    r = asked.row[k]
    form = _form(of, r, asked.pull[k] if len(asked.pull) > 0 else 0.0)
    _load(room, of, form, asked, k)
    missing, first, _ = _reach(room, of, form, r)
    if first == 0 or form.drain == 0.0:
        _free(room, form, of.hours)
    else:
        along_curves(room, form, of.hours)
    return form, missing


@compiled
def answer_rows(
    part: tuple[int, int], of: Columns, asked: Asked, p: Array, cost: Array, missing: Array
) -> None:
    """Schedules, own costs and missing energy of some of the rows asked."""
    room = room_for(len(of.hours))
    for k in range(part[0], part[1]):
        r = asked.row[k]
        form, missing[k] = _answer(room, of, asked, k)
        total = of.unserved * missing[k] - form.end_value * _end_content(room, form, of.hours)
        for t in range(len(of.hours)):
            p[k, t] = of.base[r, t] + form.turned * room.q[t]
            total += of.hours[t] * (form.cost_up * (room.q[t] + room.down[t]) + form.cost_down * room.down[t])
        cost[k] = total
