"""What one step of a band store does as its content becomes dearer to keep.

A row is first turned into one form: with ``q = p - base`` a kWh of ``q > 0`` takes ``drain`` kWh out of the
store, a kWh of ``q < 0`` puts ``fill <= drain`` into it. A tank that fills by giving power is turned over in
``q`` or in its content; both cover every row whose two gains do not have the same sign.

Let ``mu`` be what one more kWh in store adds to the cost to come. The step's best ``q`` and the energy ``s``
it takes out are nondecreasing in ``mu``, piecewise linear with vertical pieces: at most eight knots. Up and
down at once share the step's time (``up/up_kw + down/down_kw <= 1``); that pays only where keeping energy is
so dear that burning it is worth the losses, ``cost_up + cost_down + mu·(fill - drain) < 0``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridflock.plan.devices._compiled import Array, Indices, compiled, inlined

KNOTS = 8
"""Most knots of one step's answer."""


class Traits(NamedTuple):
    """What one row is, in the one form."""

    drain: float
    fill: float
    cost_up: float
    cost_down: float
    end_value: float
    loss: float
    pull: float
    turned: float  # -1 where q is -(p - base), else 1
    upturned: float  # -1 where x is minus the content, else 1


class Room(NamedTuple):
    """Working space of one call for rows of T steps; curves of all edges stand one after the other."""

    worth: Array  # (T,)
    aim: Array  # (T,) where q is pulled to
    q_lo: Array  # (T,)
    q_hi: Array  # (T,)
    kept: Array  # (T,) share of the content that outlasts the step
    band_lo: Array  # (T + 1,) the band
    band_hi: Array  # (T + 1,)
    lo: Array  # (T + 1,) lowest content that is allowed and can be reached
    hi: Array  # (T + 1,)
    q: Array  # (T,) the answer
    down: Array  # (T,) its part below base, >= 0
    mu: Array  # (T, KNOTS)
    taken: Array  # (T, KNOTS)
    knot_q: Array  # (T, KNOTS)
    knot_down: Array  # (T, KNOTS)
    reached: Array  # (T, KNOTS) content of the summed curve at each knot
    knots: Indices  # (T,)
    begin: Indices  # (T + 1,)
    end: Indices  # (T + 1,)
    slope: Array  # derivative of the cost to come
    content: Array  # where it has that derivative


@compiled
def room_for(steps: int) -> Room:
    """Working space for rows of so many steps."""
    most = 2 + 2 * steps + KNOTS * steps * (steps + 1) // 2 + 2 * steps
    return Room(
        np.empty(steps),
        np.empty(steps),
        np.empty(steps),
        np.empty(steps),
        np.empty(steps),
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps + 1),
        np.empty(steps),
        np.empty(steps),
        np.empty((steps, KNOTS)),
        np.empty((steps, KNOTS)),
        np.empty((steps, KNOTS)),
        np.empty((steps, KNOTS)),
        np.empty((steps, KNOTS)),
        np.empty(steps, np.int64),
        np.empty(steps + 1, np.int64),
        np.empty(steps + 1, np.int64),
        np.empty(most),
        np.empty(most),
    )


@inlined
def _put(room: Room, of: Traits, t: int, hour: float, n: int, mu: float, q: float, down: float) -> int:
    """One more knot; how many there are."""
    room.mu[t, n], room.knot_q[t, n], room.knot_down[t, n] = mu, q, down
    room.taken[t, n] = hour * (of.drain * (q + down) - of.fill * down)
    return n + 1


@inlined
def linear_knots(room: Room, of: Traits, t: int, hour: float) -> int:
    """Knots of step ``t`` without a pull: jumps between rest and full power; ``drain > 0``."""
    lo, hi = room.q_lo[t], room.q_hi[t]
    up, down = room.worth[t] - of.cost_up, room.worth[t] + of.cost_down
    if lo >= 0.0:
        n = _put(room, of, t, hour, 0, -up / of.drain, lo, 0.0)
        return _put(room, of, t, hour, n, -up / of.drain, hi, 0.0)
    fills = -down / of.fill if of.fill > 0.0 else (np.inf if down < 0.0 else -np.inf)
    if hi <= 0.0:
        if of.fill == 0.0:
            q = lo if down < 0.0 else hi
            return _put(room, of, t, hour, 0, 0.0, q, -q)
        n = _put(room, of, t, hour, 0, fills, lo, -lo)
        return _put(room, of, t, hour, n, fills, hi, -hi)
    if fills > -up / of.drain:
        share = hi / (hi - lo)
        both = share * of.drain + (1.0 - share) * of.fill
        jump = -(share * up + (1.0 - share) * down) / both
        n = _put(room, of, t, hour, 0, jump, lo, -lo)
        return _put(room, of, t, hour, n, jump, hi, 0.0)
    n = 0
    if of.fill > 0.0:
        n = _put(room, of, t, hour, n, fills, lo, -lo)
        n = _put(room, of, t, hour, n, fills, 0.0, 0.0)
    n = _put(room, of, t, hour, n, -up / of.drain, 0.0, 0.0)
    return _put(room, of, t, hour, n, -up / of.drain, hi, 0.0)


@inlined
def pulled_knots(room: Room, of: Traits, t: int, hour: float) -> int:
    """Knots of step ``t`` under a pull: ramps instead of jumps; ``drain > 0``."""
    lo, hi, k = room.q_lo[t], room.q_hi[t], hour / of.pull
    up = room.aim[t] + k * (room.worth[t] - of.cost_up)
    down = room.aim[t] + k * (room.worth[t] + of.cost_down)
    if lo >= 0.0:
        n = _put(room, of, t, hour, 0, (lo - up) / (k * of.drain), lo, 0.0)
        return _put(room, of, t, hour, n, (hi - up) / (k * of.drain), hi, 0.0)
    if hi <= 0.0:
        if of.fill == 0.0:
            q = min(max(down, lo), hi)
            return _put(room, of, t, hour, 0, 0.0, q, -q)
        n = _put(room, of, t, hour, 0, (lo - down) / (k * of.fill), lo, -lo)
        return _put(room, of, t, hour, n, (hi - down) / (k * of.fill), hi, -hi)
    burn = burns_from(of)
    at_burn = up + k * of.drain * burn
    burn = burn if at_burn < hi else np.inf
    n = 0
    if of.fill > 0.0:
        if (lo - down) / (k * of.fill) < burn:
            n = _put(room, of, t, hour, n, (lo - down) / (k * of.fill), lo, -lo)
        if -down / (k * of.fill) < burn:
            n = _put(room, of, t, hour, n, -down / (k * of.fill), 0.0, 0.0)
    if -up / (k * of.drain) < burn:
        n = _put(room, of, t, hour, n, -up / (k * of.drain), 0.0, 0.0)
    if burn == np.inf:
        return _put(room, of, t, hour, n, (hi - up) / (k * of.drain), hi, 0.0)
    return _burning_knots(room, of, t, hour, n, burn, at_burn)


@inlined
def _burning_knots(room: Room, of: Traits, t: int, hour: float, n: int, burn: float, at_burn: float) -> int:
    """From ``burn`` on, where ``q`` is ``at_burn``, both directions share the time of step ``t``."""
    lo, hi, k = room.q_lo[t], room.q_hi[t], hour / of.pull
    share = hi / (hi - lo)
    rest = room.aim[t] + k * (room.worth[t] - share * of.cost_up + (1.0 - share) * of.cost_down)
    both = k * (share * of.drain + (1.0 - share) * of.fill)
    if burn > -np.inf:
        q = max(at_burn, lo)
        n = _put(room, of, t, hour, n, burn, q, max(-q, 0.0))
        n = _put(room, of, t, hour, n, burn, q, (1.0 - share) * (hi - q))
    if at_burn < lo:
        n = _put(room, of, t, hour, n, (lo - rest) / both, lo, -lo)
    return _put(room, of, t, hour, n, (hi - rest) / both, hi, 0.0)


@inlined
def burns_from(of: Traits) -> float:
    """The price of keeping a kWh above which both directions at once pay."""
    price = of.cost_up + of.cost_down
    if of.drain > of.fill:
        return price / (of.drain - of.fill)
    return np.inf if price >= 0.0 else -np.inf


@inlined
def answer_at(room: Room, of: Traits, t: int, hour: float, mu: float) -> tuple[float, float]:
    """Best ``q`` of step ``t`` at one price of keeping, and its part below base."""
    lo, hi = room.q_lo[t], room.q_hi[t]
    k = hour / of.pull if of.pull > 0.0 else 1.0
    aim = room.aim[t] if of.pull > 0.0 else 0.0
    up = aim + k * (room.worth[t] - of.cost_up + of.drain * mu)
    down = aim + k * (room.worth[t] + of.cost_down + of.fill * mu)
    if lo >= 0.0:
        down = np.inf
    elif hi <= 0.0:
        up = -np.inf
    elif up > down:  # burning pays
        share = hi / (hi - lo)
        both = share * up + (1.0 - share) * down
        if of.pull <= 0.0:
            both = _full(both, lo, hi)
        q = min(max(both, lo), hi)
        return q, (1.0 - share) * (hi - q)
    q = max(up, 0.0) + min(down, 0.0)
    if of.pull <= 0.0:
        q = _full(q, lo, hi)
    q = min(max(q, lo), hi)
    return q, max(-q, 0.0)


@inlined
def _full(q: float, lo: float, hi: float) -> float:
    """Without a pull what pays at all pays to the end."""
    if q == 0.0:
        return 0.0
    return hi if q > 0.0 else lo
