"""Each chain's best schedule for one vector of prices: together a vertex of the group's set.

The worth of stored energy is concave and piecewise linear, so it is kept as its slopes in falling
order with the length over which each holds. A step of time inserts one piece, as long as what the
step can move, at its own price per stored kWh: the sup-convolution of two concave functions sorts
their pieces. Going back in time this gives, for each step, the content to aim at; going forth the
aims become a schedule. One member takes T insertions into a list that the energy bounds keep short.
"""

from __future__ import annotations

import numpy as np

from gridflock.fleet.flexible._chains import Chains, Columns, kept
from gridflock.fleet.flexible._compiled import Array, Spread, compiled, cuts
from gridflock.units import Kw


@compiled
def _inserted(slope: Array, length: Array, head: int, tail: int, at: int) -> tuple[int, int, int]:
    """Open a gap before place ``at`` of the list, moving its shorter side; (head, tail, gap)."""
    if at - head < tail + 1 - at:
        for j in range(head - 1, at - 1):
            slope[j], length[j] = slope[j + 1], length[j + 1]
        return head - 1, tail, at - 1
    for j in range(tail, at - 1, -1):
        slope[j + 1], length[j + 1] = slope[j], length[j]
    return head, tail + 1, at


@compiled
def _aims(k: int, of: Columns, price: Array, slope: Array, length: Array, aim: Array) -> None:
    """Content that member ``k`` aims at after each step: there stored energy is worth the price."""
    steps = len(price)
    head = tail = steps + 1
    left, right = of.e_lo[k, steps], of.e_hi[k, steps]
    slope[head], length[head] = 0.0, right - left
    for t in range(steps - 1, -1, -1):
        gain, low, high = of.gain[k, t], of.p_lo[k, t], of.p_hi[k, t]
        if gain > 0.0 and high > low:
            worth = price[t] / gain
            at, reach = head, left
            while at <= tail and slope[at] > worth:
                reach += length[at]
                at += 1
            aim[t] = reach
            head, tail, at = _inserted(slope, length, head, tail, at)
            slope[at], length[at] = worth, gain * (high - low)
        left += gain * low
        right += gain * high
        rho = kept(of.loss[k], of.hours[t])
        floor, ceiling = rho * of.e_lo[k, t], rho * of.e_hi[k, t]
        while head <= tail and left + length[head] <= floor:
            left += length[head]
            head += 1
        if head <= tail and left < floor:
            length[head] -= floor - left
        while head <= tail and right - length[tail] >= ceiling:
            right -= length[tail]
            tail -= 1
        if head <= tail and right > ceiling:
            length[tail] -= right - ceiling
        left, right = of.e_lo[k, t], of.e_hi[k, t]
        if rho != 1.0:
            for j in range(head, tail + 1):
                slope[j] *= rho
                length[j] /= rho


@compiled
def _rows(first: int, last: int, of: Columns, price: Array, schedule: Kw, total: Kw) -> None:
    """Best schedules of the members ``first`` to ``last``, and their sum into ``total``."""
    steps = len(price)
    slope, length, aim = np.empty(2 * steps + 4), np.empty(2 * steps + 4), np.empty(steps)
    for k in range(first, last):
        _aims(k, of, price, slope, length, aim)
        energy = of.e_lo[k, 0]
        for t in range(steps):
            gain, low, high = of.gain[k, t], of.p_lo[k, t], of.p_hi[k, t]
            here = kept(of.loss[k], of.hours[t]) * energy
            if high > low and gain > 0.0:
                after = min(max(aim[t], here - gain * high), here - gain * low)
                energy = min(max(after, of.e_lo[k, t + 1]), of.e_hi[k, t + 1])
                p = min(max((here - energy) / gain, low), high)
            else:
                p = high if price[t] > 0.0 else low
                energy = here - gain * p
            schedule[k, t] = p
            total[t] += p


def best(chains: Chains, price: Array, schedule: Kw, spread: Spread = map, parts: int = 1) -> Array:
    """The schedules that maximise ``sum(price·p)``, member by member, and their sum.

    Exact for any chains, leaking or not; of equal schedules always the same one. For lossless stores
    these are the vertices of a g-polymatroid, found by greedy in the order of prices (Edmonds 1970;
    for storage fleets arXiv 2503.23458); the slopes sort themselves instead.

    Args:
        chains: m members over T steps.
        price: (T,) worth of one kW held over each step.
        schedule: (m, T) float32 or float64, filled with the schedules, kW, injection positive.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.

    Returns:
        float64 (T,) sum of the schedules, kW.
    """
    totals = np.zeros((parts, len(price)))
    ranges = cuts(chains.n, parts)

    def part(k: int) -> None:
        _rows(*ranges[k], chains.columns, price, schedule, totals[k])

    for _ in spread(part, range(parts)):
        pass
    total: Array = totals.sum(axis=0)
    return total
