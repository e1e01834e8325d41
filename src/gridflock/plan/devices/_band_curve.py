"""The best path of one band store, by the derivative of its cost to come, kept inverted.

At each edge of the horizon the content ``e`` is a nondecreasing polyline of ``mu``, the derivative of the
cost to come, with vertical pieces where that derivative jumps in ``e``. Going back over a step adds what the
step takes out (both are sets at a jump; the sum is Minkowski's), divides by what the store keeps, and cuts to
the contents that can be reached and are allowed. Going forth, the content picks its place on the summed
curve, and with it ``mu`` and the step's answer. Exact for linear costs and for quadratic pulls alike.
"""

from __future__ import annotations

from gridflock.plan.devices._band_step import Room, Traits, linear_knots, pulled_knots
from gridflock.plan.devices._compiled import Array, compiled, inlined


@inlined
def _added(room: Room, t: int) -> None:
    """The curve of edge ``t``: that of edge ``t + 1`` plus the knots of step ``t``."""
    kept, n, first, last = room.kept[t], room.knots[t], room.begin[t + 1], room.end[t + 1]
    slope, content, mu, grown = room.slope, room.content, room.mu[t], 1.0 / room.kept[t]
    j, at, base, per_mu, since = 0, last, room.taken[t, 0], 0.0, 0.0
    for i in range(first, last):
        # At one mu the curve's own jump comes before the step's, so a jump of the step meets one content.
        while j < n and mu[j] < slope[i]:
            here = content[i]
            if i > first:
                rise = (content[i] - content[i - 1]) / (slope[i] - slope[i - 1])
                here = content[i - 1] + rise * (mu[j] - slope[i - 1])
            base, since, per_mu = room.taken[t, j], mu[j], 0.0
            slope[at], content[at] = since * kept, (here + base) * grown
            room.reached[t, j] = content[at]
            at += 1
            j += 1
            if j < n and mu[j] > since:
                per_mu = (room.taken[t, j] - base) / (mu[j] - since)
        slope[at] = slope[i] * kept
        content[at] = (content[i] + base + per_mu * max(slope[i] - since, 0.0)) * grown
        at += 1
    for late in range(j, n):
        slope[at], content[at] = mu[late] * kept, (content[last - 1] + room.taken[t, late]) * grown
        room.reached[t, late] = content[at]
        at += 1
    room.begin[t], room.end[t] = last, at


@inlined
def _cut(room: Room, t: int) -> None:
    """Keep of the curve of edge ``t`` what lies between the lowest and the highest content."""
    slope, content, lo, hi = room.slope, room.content, room.lo[t], room.hi[t]
    first, last = room.begin[t], room.end[t] - 1
    if content[last] <= lo:
        first, content[last] = last, lo
    elif content[first] >= hi:
        last, content[first] = first, hi
    else:
        while content[first + 1] <= lo:
            first += 1
        while last > first and content[last - 1] >= hi:
            last -= 1
        if content[first] < lo:
            per_kwh = (slope[first + 1] - slope[first]) / (content[first + 1] - content[first])
            slope[first] += per_kwh * (lo - content[first])
            content[first] = lo
        if content[last] > hi:
            per_kwh = (slope[last] - slope[last - 1]) / (content[last] - content[last - 1])
            slope[last] -= per_kwh * (content[last] - hi)
            content[last] = hi
    room.begin[t], room.end[t] = first, last + 1


@inlined
def _mu_at(room: Room, t: int, content: float) -> float:
    """Where the curve of edge ``t`` passes through a content."""
    low, high = room.begin[t], room.end[t] - 1
    if content <= room.content[low]:
        high = low
    elif content >= room.content[high]:
        low = high
    while high - low > 1:
        middle = (low + high) // 2
        if room.content[middle] <= content:
            low = middle
        else:
            high = middle
    mu = float(room.slope[low])
    if high > low:
        share = (content - room.content[low]) / (room.content[high] - room.content[low])
        mu += share * (room.slope[high] - mu)
    return mu


@inlined
def _answer(room: Room, t: int, content: float) -> tuple[float, float]:
    """The step's ``q`` and its part below base, from a content at its beginning."""
    n, j = room.knots[t], 0
    while j < n and room.reached[t, j] <= content:
        j += 1
    if j in (0, n):
        at = min(j, n - 1)
        return room.knot_q[t, at], room.knot_down[t, at]
    before = room.mu[t, j - 1]
    if room.mu[t, j] > before:
        mu = _mu_at(room, t, content) / room.kept[t]
        share = min(max((mu - before) / (room.mu[t, j] - before), 0.0), 1.0)
    else:
        share = (content - room.reached[t, j - 1]) / (room.reached[t, j] - room.reached[t, j - 1])
    q = room.knot_q[t, j - 1] + share * (room.knot_q[t, j] - room.knot_q[t, j - 1])
    down = room.knot_down[t, j - 1] + share * (room.knot_down[t, j] - room.knot_down[t, j - 1])
    return q, down


@compiled
def along_curves(room: Room, of: Traits, hours: Array) -> None:
    """Best ``q`` and ``down`` of a row whose band binds on the way; ``drain > 0``."""
    steps = len(hours)
    room.begin[steps], room.end[steps] = 0, 2
    room.slope[:2] = -of.end_value
    room.content[0], room.content[1] = room.lo[steps], room.hi[steps]
    for t in range(steps - 1, -1, -1):
        if of.pull > 0.0:
            room.knots[t] = pulled_knots(room, of, t, hours[t])
        else:
            room.knots[t] = linear_knots(room, of, t, hours[t])
        _added(room, t)
        _cut(room, t)
    content = 0.0
    for t in range(steps):
        q, down = _answer(room, t, content)
        room.q[t], room.down[t] = q, down
        content = room.kept[t] * content - hours[t] * (of.drain * (q + down) - of.fill * down)
        # Rounding only: the curves end where the allowed contents end.
        ends = (room.content[room.begin[t + 1]], room.content[room.end[t + 1] - 1])
        content = min(max(content, ends[0]), ends[1])
