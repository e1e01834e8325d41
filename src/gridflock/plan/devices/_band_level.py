"""Rows that move their store one way only and whose band binds only at the end: one price of keeping for all.

Vehicles that only charge, and calls that only shed. The energy of the whole horizon is a nondecreasing
polyline of that price; Newton's steps inside a bracket find where it passes through the wanted energy.
"""

from __future__ import annotations

from gridflock.plan.devices._band_step import Room, Traits
from gridflock.plan.devices._compiled import Array, inlined

_ROUNDS = 60
_KWH = 1e-9


@inlined
def only_the_end_binds(room: Room, form: Traits, hours: Array) -> bool:
    """Whether all paths that end inside the last edge's band keep every band; no step goes both ways then."""
    steps = len(hours)
    if form.loss > 0.0:
        return False
    free_lo = free_hi = 0.0
    # First what is reached without bands, then back what the end asks for.
    for t in range(steps):
        if room.q_lo[t] < 0.0 < room.q_hi[t]:
            return False
        gain = hours[t] * (form.drain if room.q_hi[t] > 0.0 else form.fill)
        if gain == 0.0 and room.q_lo[t] < room.q_hi[t]:
            return False
        free_lo -= gain * room.q_hi[t]
        free_hi -= gain * room.q_lo[t]
        room.reached[t, 0], room.reached[t, 1] = free_lo, free_hi
    need_lo, need_hi = room.lo[steps], room.hi[steps]
    for t in range(steps - 1, 0, -1):
        gain = hours[t] * (form.drain if room.q_hi[t] > 0.0 else form.fill)
        need_lo += gain * room.q_lo[t]
        need_hi += gain * room.q_hi[t]
        if max(need_lo, room.reached[t - 1, 0]) < room.band_lo[t] - _KWH:
            return False
        if min(need_hi, room.reached[t - 1, 1]) > room.band_hi[t] + _KWH:
            return False
    return True


@inlined
def _open_steps(room: Room, form: Traits, hours: Array) -> tuple[int, float]:
    """Steps with a choice, one after the other in columns of ``mu``; how many, and what the others take."""
    n, fixed = 0, 0.0
    for t in range(len(hours)):
        k, lo, hi = hours[t] / form.pull, room.q_lo[t], room.q_hi[t]
        gain, cost = (form.drain, -form.cost_up) if hi > 0.0 else (form.fill, form.cost_down)
        if lo == hi:
            fixed += hours[t] * gain * lo
            continue
        room.mu[n, 0] = room.aim[t] + k * (room.worth[t] + cost)
        room.mu[n, 1], room.mu[n, 2] = k * gain, hours[t] * gain
        room.mu[n, 3], room.mu[n, 4] = lo, hi
        n += 1
    return n, fixed


@inlined
def _taken(room: Room, n: int, mu: float) -> tuple[float, float]:
    """Energy out of the store over all open steps, and how it grows with ``mu``."""
    total = grows = 0.0
    for j in range(n):
        q = room.mu[j, 0] + room.mu[j, 1] * mu
        if q <= room.mu[j, 3]:
            total += room.mu[j, 2] * room.mu[j, 3]
        elif q >= room.mu[j, 4]:
            total += room.mu[j, 2] * room.mu[j, 4]
        else:
            total += room.mu[j, 2] * q
            grows += room.mu[j, 1] * room.mu[j, 2]
    return total, grows


@inlined
def _level(room: Room, n: int, goal: float, start: float) -> float:
    """The price of keeping at which the open steps take ``goal`` kWh out."""
    left = right = start
    for j in range(n):
        left = min(left, (room.mu[j, 3] - room.mu[j, 0]) / room.mu[j, 1])
        right = max(right, (room.mu[j, 4] - room.mu[j, 0]) / room.mu[j, 1])
    mu = start
    for k in range(_ROUNDS):
        total, grows = _taken(room, n, mu)
        if total < goal:
            left = mu
        elif total > goal:
            right = mu
        else:
            break
        step = (goal - total) / grows if grows > 0.0 else 0.0
        if mu + step == mu and grows > 0.0:
            break
        mu += step
        if grows == 0.0 or not left < mu < right or k % 8 == 7:
            mu = 0.5 * (left + right)
    return mu


@inlined
def at_one_level(room: Room, form: Traits, hours: Array) -> None:
    """Best ``q`` of a row for which ``only_the_end_binds``; ``pull`` and ``drain > 0``."""
    n, fixed = _open_steps(room, form, hours)
    mu = -form.end_value
    taken = fixed + _taken(room, n, mu)[0]
    content = min(max(-taken, room.lo[len(hours)]), room.hi[len(hours)])
    if content != -taken:
        mu = _level(room, n, -content - fixed, mu)
    j = 0
    for t in range(len(hours)):
        q = room.q_lo[t]
        if room.q_lo[t] != room.q_hi[t]:
            q = min(max(room.mu[j, 0] + room.mu[j, 1] * mu, q), room.q_hi[t])
            j += 1
        room.q[t], room.down[t] = q, max(-q, 0.0)
