"""Band stores under a schedule that is not their own answer: what of it their true content allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._band_row import Columns, form_of, limits, own_cost, reach
from gridflock.plan.devices._band_step import Room, Traits, room_for
from gridflock.plan.devices._compiled import Array, compiled, inlined


@inlined
def _energy(form: Traits, q: float) -> float:
    """Power out of the store."""
    return form.drain * q if q > 0.0 else form.fill * q


@inlined
def _power(form: Traits, energy: float, q: float) -> float:
    """The ``q`` that takes so much power out of the store; ``q`` itself where that makes no difference."""
    gain = form.drain if energy > 0.0 else form.fill
    return energy / gain if gain > 0.0 else min(q, 0.0)


@inlined
def _viable(room: Room, form: Traits, hours: Array) -> None:
    """Cut the contents in ``lo`` and ``hi`` to those from which all later bands can still be kept."""
    for t in range(len(hours) - 1, 0, -1):
        least = (room.lo[t + 1] + hours[t] * _energy(form, room.q_lo[t])) / room.kept[t]
        most = (room.hi[t + 1] + hours[t] * _energy(form, room.q_hi[t])) / room.kept[t]
        room.lo[t] = min(max(room.lo[t], least), room.hi[t])
        room.hi[t] = max(min(room.hi[t], most), room.lo[t])


@compiled
def replay_rows(of: Columns, p: NDArray[np.float32], clipped: Array, cost: Array) -> None:
    """Follow each row's true content; change what its band does not allow; own costs."""
    room, none = room_for(len(of.hours)), np.empty((0, 0))
    for r in range(len(p)):
        form = form_of(of, r, 0.0)
        limits(room, of, form, r, 0, none, none)
        missing, _ = reach(room, form, of.hours)
        _viable(room, form, of.hours)
        content = 0.0
        for t in range(len(of.hours)):
            h, kept, most = of.hours[t], room.kept[t] * content, max(room.q_hi[t], -room.q_lo[t])
            wanted = form.turned * (p[r, t] - of.base[r, t])
            q = min(max(wanted, room.q_lo[t]), room.q_hi[t])
            if kept - h * _energy(form, q) > room.hi[t + 1]:
                q = _power(form, (kept - room.hi[t + 1]) / h, q)
            elif kept - h * _energy(form, q) < room.lo[t + 1]:
                q = _power(form, (kept - room.lo[t + 1]) / h, q)
            q = min(max(q, room.q_lo[t]), room.q_hi[t])
            if abs(q - wanted) > 1e-6 * max(most, abs(of.base[r, t])):
                clipped[r] += abs(q - wanted) * h
                p[r, t] = of.base[r, t] + form.turned * q
            content = kept - h * _energy(form, q)
            room.q[t], room.down[t] = q, max(-q, 0.0)
        cost[r] = own_cost(room, of, form, missing)
