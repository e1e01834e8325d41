"""Each chain's schedule for a price when straying from its ease costs by the square.

The slope of the cost-to-go is continuous and piecewise linear in the energy. It is kept as a
polyline of points (energy, slope), both rising, with walls at the energy bounds. One step back in
time moves every point by the energy that the step gives at that slope, and adds the two points at
which the power meets its bounds. Forth, the place on the polyline gives the power. Where that place
is vertical the content is pinned, whatever the price: there a new stretch of steps begins, and
within a stretch only the steps strictly between their bounds react, together keeping its energy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridflock.fleet.flexible._chains import Chains, Columns, kept
from gridflock.fleet.flexible._compiled import Array, Spread, compiled, cuts
from gridflock.units import Kw

FREE = 1e-11
"""A power nearer than this share of its range to a bound is at the bound."""


class Nearest(NamedTuple):
    """Answer of some members to prices: sums, and how they move with the price.

    Attributes:
        p_kw: (T,) sum of the schedules.
        worth: sum of price·p less half the squared straying by size.
        reach: (T, T) derivative of ``p_kw`` by the price, symmetric, no negative eigenvalue.
    """

    p_kw: Kw
    worth: float
    reach: Array


class _Curve(NamedTuple):
    """Polylines of all steps: (T, 2T+6) content before and after, slope of the cost-to-go, last point."""

    before: Array
    after: Array
    slope: Array
    last: Array


@compiled
def _power(
    slope: float, gain: float, ease: float, size: float, price: float, low: float, high: float
) -> float:
    """Power at which price, straying and the worth of energy balance."""
    return min(max(ease + size * (price + gain * slope), low), high)


@compiled
def _between(curve: _Curve, t: int, content: float, j: int) -> float:
    """Slope at a content before step ``t`` that lies on the line from point ``j`` to the next."""
    x, s = curve.before[t], curve.slope[t]
    wide = x[j + 1] - x[j]
    slope: float = s[j] + (content - x[j]) / wide * (s[j + 1] - s[j]) if wide > 0.0 else s[j]
    return slope


@compiled
def _hand_on(curve: _Curve, t: int, rho: float, floor: float, ceiling: float) -> None:
    """Start the polyline of step ``t - 1`` with what lies between two contents at its end."""
    x, s = curve.before[t], curve.slope[t]
    after, slope = curve.after[t - 1], curve.slope[t - 1]
    a, b = 0, int(curve.last[t])
    while a < b - 1 and x[a + 1] <= floor * rho:
        a += 1
    while b > a + 1 and x[b - 1] >= ceiling * rho:
        b -= 1
    after[0] = floor
    slope[0] = rho * (s[a] if x[a] >= floor * rho else _between(curve, t, floor * rho, a))
    count = 1
    for j in range(a + 1, b):
        after[count], slope[count] = x[j] / rho, rho * s[j]
        count += 1
    after[count] = ceiling
    slope[count] = rho * (s[b] if x[b] <= ceiling * rho else _between(curve, t, ceiling * rho, b - 1))
    curve.last[t - 1] = count


@compiled
def _put(curve: _Curve, t: int, at: int, slope: float) -> None:
    """Insert a point of this slope before place ``at``, on the line between its neighbours."""
    y, s = curve.after[t], curve.slope[t]
    b = int(curve.last[t])
    for j in range(b, at - 1, -1):
        y[j + 1], s[j + 1] = y[j], s[j]
    curve.last[t] = b + 1
    s[at] = slope
    if at == 0:
        y[at] = y[1]
    elif at == b + 1:
        y[at] = y[b]
    else:
        rise = s[at + 1] - s[at - 1]
        part = (slope - s[at - 1]) / rise if rise > 0.0 else 0.0
        y[at] = y[at - 1] + part * (y[at + 1] - y[at - 1])


@compiled
def _back(k: int, of: Columns, ease: Array, size: float, price: Array, curve: _Curve) -> None:
    """Polylines of member ``k`` for all steps, the last first."""
    end = len(price) - 1
    curve.after[end, 0], curve.after[end, 1] = of.e_lo[k, end + 1], of.e_hi[k, end + 1]
    curve.slope[end, 0] = curve.slope[end, 1] = 0.0
    curve.last[end] = 1
    for t in range(end, -1, -1):
        after, slope = curve.after[t], curve.slope[t]
        gain, low, high = of.gain[k, t], of.p_lo[k, t], of.p_hi[k, t]
        if gain > 0.0 and high > low:
            for bound in (low, high):
                meets = ((bound - ease[t]) / size - price[t]) / gain
                at = 0
                while at <= curve.last[t] and slope[at] < meets:
                    at += 1
                _put(curve, t, at, meets)
        for j in range(int(curve.last[t]) + 1):
            power = _power(slope[j], gain, ease[t], size, price[t], low, high)
            curve.before[t, j] = after[j] + gain * power
        if t > 0:
            _hand_on(curve, t, kept(of.loss[k], of.hours[t]), of.e_lo[k, t], of.e_hi[k, t])


@compiled
def _step(curve: _Curve, t: int, here: float) -> tuple[float, bool]:
    """Content after a step that has ``here`` to begin with, and whether it is pinned there."""
    x, y = curve.before[t], curve.after[t]
    a, b = 0, int(curve.last[t])
    while b - a > 1:
        middle = (a + b) // 2
        if x[middle] <= here:
            a = middle
        else:
            b = middle
    if x[b] <= x[a]:
        return y[a], y[a] == y[b]
    part = min(max((here - x[a]) / (x[b] - x[a]), 0.0), 1.0)
    return y[a] + part * (y[b] - y[a]), y[a] == y[b]


@compiled
def _loose(reach: Array, share: Array, begin: int, end: int, size: float) -> None:
    """Add how the free steps of a stretch move by their own prices.

    ``share`` holds what a step's power takes from the stretch's last content: 0 where it is not free,
    and -1 where it moves no energy.
    """
    for s in range(begin, end):
        if share[s] != 0.0:
            reach[s, s] += size


@compiled
def _pinned(reach: Array, share: Array, begin: int, end: int, size: float) -> None:
    """Take back what of it would change the stretch's last content."""
    weight = 0.0
    for s in range(begin, end):
        if share[s] > 0.0:
            weight += share[s] * share[s]
    if weight == 0.0:
        return
    for s in range(begin, end):
        if share[s] > 0.0:
            part = size * share[s] / weight
            for u in range(begin, end):
                if share[u] > 0.0:
                    reach[s, u] -= part * share[u]


@compiled
def _forth(
    k: int,
    of: Columns,
    ease: Array,
    size: float,
    price: Array,
    curve: _Curve,
    p: Array,
    reach: Array,
    share: Array,
) -> None:
    """Schedule of member ``k`` from its polylines, and its derivative added to ``reach``."""
    steps = len(price)
    energy, begin = of.e_lo[k, 0], 0
    for t in range(steps):
        gain, low, high = of.gain[k, t], of.p_lo[k, t], of.p_hi[k, t]
        rho = kept(of.loss[k], of.hours[t])
        here = rho * energy
        pinned = False
        if gain > 0.0 and high > low:
            after, pinned = _step(curve, t, here)
            p[t] = min(max((here - after) / gain, low), high)
            energy = after
        else:
            p[t] = _power(0.0, 0.0, ease[t], size, price[t], low, high)
            energy = here - gain * p[t]
        energy = min(max(energy, of.e_lo[k, t + 1]), of.e_hi[k, t + 1])
        for s in range(begin, t):
            if share[s] > 0.0:
                share[s] *= rho
        tiny = FREE * (high - low)
        free = low + tiny < p[t] < high - tiny
        share[t] = (gain if gain > 0.0 else -1.0) if free else 0.0
        if pinned:
            _loose(reach, share, begin, t + 1, size)
            _pinned(reach, share, begin, t + 1, size)
            begin = t + 1
    _loose(reach, share, begin, steps, size)


@compiled
def _rows(
    first: int,
    last: int,
    of: Columns,
    sizes: Array,
    price: Array,
    schedule: Kw,
    total: Kw,
    worth: Array,
    reach: Array,
) -> None:
    """Schedules of the members ``first`` to ``last``; sums, worth and derivative are added to."""
    steps = len(price)
    wide = (steps, 2 * steps + 6)
    curve = _Curve(np.empty(wide), np.empty(wide), np.empty(wide), np.zeros(steps))
    p, ease, share = np.empty(steps), np.empty(steps), np.empty(steps)
    for k in range(first, last):
        for t in range(steps):
            ease[t] = min(max(0.0, of.p_lo[k, t]), of.p_hi[k, t])
        _back(k, of, ease, sizes[k], price, curve)
        _forth(k, of, ease, sizes[k], price, curve, p, reach, share)
        for t in range(steps):
            schedule[k, t] = p[t]
            total[t] += p[t]
            stray = p[t] - ease[t]
            worth[0] += price[t] * p[t] - 0.5 * stray * stray / sizes[k]


def nearest(
    chains: Chains, sizes_kw: Array, price: Array, schedule: Kw, spread: Spread = map, parts: int = 1
) -> Nearest:
    """The schedules that maximise ``sum(price·p) - |p - ease|²/(2·size)``, and how they move.

    Ease is the power nearest to none. The maximum is unique, and as a function of the price piecewise
    linear: what a Newton step needs.

    Args:
        chains: m members over T steps.
        sizes_kw: (m,) > 0; a member twice the size strays twice as far for the same price.
        price: (T,).
        schedule: (m, T) float64, filled with the schedules, kW, injection positive.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.
    """
    steps = len(price)
    totals, worths = np.zeros((parts, steps)), np.zeros((parts, 1))
    reaches = np.zeros((parts, steps, steps))
    ranges = cuts(chains.n, parts)

    def part(k: int) -> None:
        _rows(*ranges[k], chains.columns, sizes_kw, price, schedule, totals[k], worths[k], reaches[k])

    for _ in spread(part, range(parts)):
        pass
    return Nearest(totals.sum(axis=0), float(worths.sum()), reaches.sum(axis=0))
