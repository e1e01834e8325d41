"""Interior-point method for chains under shared rows (S. Mehrotra, SIAM J. Optim. 2(4), 1992)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridflock.plan.devices._compiled import Array, compiled
from gridflock.plan.direct._newton import (
    LOCAL,
    LOCAL_SIGN,
    Errors,
    Factor,
    Shape,
    count,
    direction,
    factorise,
    row_prices,
)

ROUNDS = 100
FINE, ENOUGH = 10.0, 0.1
"""Largest errors, and the gap aimed at, in terms of the gap asked for."""
ROUGH = 1e-6
"""Largest error of rows before they are put right at the end."""
LOST = 1e30
"""Errors at which nothing more is to be hoped for."""
NEARLY = 0.9995
"""Part of the way to the nearest bound that is gone."""


class Columns(NamedTuple):
    """All columns, counted from their lower bounds.

    Attributes:
        cost: money per unit.
        value: above the lower bound.
        left: below the upper bound; 1 where there is none.
        lower: price of the lower bound.
        upper: price of the upper bound; 0 where there is none.
        live: 1 where the column may move, else 0.
        capped: 1 where it has an upper bound, too, else 0.
    """

    cost: Array
    value: Array
    left: Array
    lower: Array
    upper: Array
    live: Array
    capped: Array


class Rows(NamedTuple):
    """What the rows want and what they cost.

    Attributes:
        floor: (m, T + 1) least content at each edge, first the content now.
        demand: (rows,).
        so_far: peak already paid for.
        value: (m, T) price of the chains' rows.
        price: (rows,) of the shared ones.
    """

    floor: Array
    demand: Array
    so_far: float
    value: Array
    price: Array


@compiled
def _largest(values: Array, at_least: float) -> float:
    """The largest size among ``values``, or ``at_least``; NaN where any is no number."""
    for j in range(len(values)):
        # Turned round so that what is not a number is the largest.
        if not abs(values[j]) <= at_least:
            at_least = abs(values[j])
    return at_least


@compiled
def _rows_lack(shape: Shape, columns: Columns, rows: Rows, net: Array, errors: Errors) -> float:
    """Fill what the rows lack; its largest part."""
    m, steps = shape.effect_up.shape
    n, v = m * steps, columns.value
    errors.short[:] = rows.demand
    net[:] = 0.0
    for i in range(m):
        before = rows.floor[i, 0]
        for t in range(steps):
            k = i * steps + t
            content = rows.floor[i, t + 1] + v[2 * n + k]
            moved = shape.effect_up[i, t] * v[k] + shape.effect_down[i, t] * v[n + k]
            errors.lacking[i, t] = moved + before - content
            before = content
            net[shape.kind[i], t] += v[k] - v[n + k]
            u, d = shape.share_up[i, t], shape.share_down[i, t]
            errors.unfilled[k] = 1.0 - u * v[k] - d * v[n + k] - v[3 * n + k] if u > 0.0 else 0.0
    count(shape, net, errors.short)
    for k in range(LOCAL):
        for r in range(shape.rows):
            errors.short[r] -= LOCAL_SIGN[shape.row_kind[r], k] * v[4 * n + k * shape.rows + r]
    errors.short_peak[:] = 0.0
    if shape.peaked:
        slack = 4 * n + LOCAL * shape.rows
        for t in range(steps):
            bought = v[4 * n + t] + v[4 * n + shape.rows + t]
            errors.short_peak[t] = bought + v[slack + t] - v[slack + steps] - rows.so_far
    worst = _largest(errors.lacking.ravel(), _largest(errors.short, 0.0))
    return _largest(errors.short_peak, _largest(errors.unfilled, worst))


@compiled
def _slope(shape: Shape, columns: Columns, rows: Rows, by_kind: Array, slope: Array) -> None:
    """Minus the derivative of cost less priced rows, for every column."""
    m, steps = shape.effect_up.shape
    n, count_of = m * steps, shape.rows
    slack = 4 * n + LOCAL * count_of
    for j in range(len(slope)):
        slope[j] = -columns.cost[j]
    row_prices(shape, rows.price, by_kind)
    for i in range(m):
        paid = by_kind[shape.kind[i]]
        for t in range(steps):
            k = i * steps + t
            full, value = columns.lower[3 * n + k], rows.value[i, t]
            after = rows.value[i, t + 1] if t + 1 < steps else 0.0
            slope[k] += paid[t] - shape.effect_up[i, t] * value - shape.share_up[i, t] * full
            slope[n + k] -= paid[t] + shape.effect_down[i, t] * value + shape.share_down[i, t] * full
            slope[2 * n + k] += value - after
            slope[3 * n + k] = -full
    for k in range(LOCAL):
        for r in range(count_of):
            felt = LOCAL_SIGN[shape.row_kind[r], k] * rows.price[r]
            if shape.peaked and k < 2 and r < steps:
                felt -= columns.lower[slack + r]
            slope[4 * n + k * count_of + r] += felt
    if shape.peaked:
        for t in range(steps):
            slope[slack + t] = -columns.lower[slack + t]
            slope[slack + steps] += columns.lower[slack + t]


@compiled
def _state(columns: Columns, slope: Array) -> tuple[float, float, float]:
    """Largest error of stationarity, sum of the products of bounds and prices, and the cost's size."""
    leaning, low, high, worth = 0.0, 0.0, 0.0, 0.0
    for j in range(len(slope)):
        leaning = max(leaning, abs(slope[j] + columns.lower[j] - columns.upper[j]) * columns.live[j])
        low += columns.value[j] * columns.lower[j]
        high += columns.left[j] * columns.upper[j]
        worth += columns.cost[j] * columns.value[j]
    return leaning, low + high, abs(worth)


@compiled
def _weigh(columns: Columns, inverse: Array) -> None:
    """Inverse weights of all columns: what their bounds' prices let them move."""
    for j in range(len(inverse)):
        weight = columns.lower[j] / columns.value[j] + columns.upper[j] / columns.left[j]
        inverse[j] = columns.live[j] / (weight + 1e-300)


@compiled
def _prices_step(
    columns: Columns, step: Array, aim: float, second: Array, d_lower: Array, d_upper: Array
) -> None:
    """Change of the bounds' prices that belongs to the columns'; ``second`` (2, columns): second order."""
    for j in range(len(step)):
        low, high = aim * columns.live[j] - second[0, j], aim * columns.capped[j] - second[1, j]
        d_lower[j] = (low - columns.lower[j] * step[j]) / columns.value[j] - columns.lower[j]
        d_upper[j] = (high + columns.upper[j] * step[j]) / columns.left[j] - columns.upper[j]


@compiled
def _farthest(columns: Columns, step: Array, d_lower: Array, d_upper: Array) -> tuple[float, float]:
    """How far one may go until a column, and until a bound's price, is zero: in inverse steps."""
    most = most_price = 1e-12
    for j in range(len(step)):
        # Multiplied first, divided only where it counts.
        if -step[j] > most * columns.value[j]:
            most = -step[j] / columns.value[j]
        if step[j] * columns.capped[j] > most * columns.left[j]:
            most = step[j] / columns.left[j]
        if -d_lower[j] > most_price * columns.lower[j]:
            most_price = -d_lower[j] / columns.lower[j]
        if -d_upper[j] > most_price * columns.upper[j]:
            most_price = -d_upper[j] / columns.upper[j]
    return min(1.0, 1.0 / most), min(1.0, 1.0 / most_price)


@compiled
def _gap_after(
    columns: Columns, step: Array, d_lower: Array, d_upper: Array, ahead: float, ahead_price: float
) -> float:
    """Sum of the products of bounds and prices after a step."""
    total = 0.0
    for j in range(len(step)):
        low = (columns.value[j] + ahead * step[j]) * (columns.lower[j] + ahead_price * d_lower[j])
        left = columns.left[j] - ahead * step[j]
        total += (
            low * columns.live[j] + left * (columns.upper[j] + ahead_price * d_upper[j]) * columns.capped[j]
        )
    return total


@compiled
def _centred(
    columns: Columns,
    step: Array,
    d_lower: Array,
    d_upper: Array,
    mean: float,
    second: Array,
    slope: Array,
    right: Array,
) -> None:
    """Right side towards the central path, with what the first direction leaves in second order."""
    for j in range(len(step)):
        low, high = step[j] * d_lower[j], -step[j] * d_upper[j]
        second[0, j], second[1, j] = low, high
        low, high = mean * columns.live[j] - low, mean * columns.capped[j] - high
        right[j] = slope[j] + low / columns.value[j] - high / columns.left[j]


@compiled
def _keep(columns: Columns, step: Array) -> None:
    """Held columns do not move."""
    for j in range(len(step)):
        step[j] *= columns.live[j]


@compiled
def _go(
    columns: Columns, step: Array, d_lower: Array, d_upper: Array, ahead: float, ahead_price: float
) -> None:
    """Move columns and their bounds' prices, each by its own length."""
    for j in range(len(step)):
        columns.value[j] += ahead * step[j]
        columns.left[j] -= ahead * step[j] * columns.capped[j]
        columns.lower[j] += ahead_price * d_lower[j]
        columns.upper[j] += ahead_price * d_upper[j]


@compiled
def descend(shape: Shape, columns: Columns, rows: Rows, factor: Factor, errors: Errors, aim: float) -> int:
    """Go on from a point inside all bounds until the optimum is near.

    Args:
        shape: the problem's.
        columns: the point; overwritten.
        rows: their prices are overwritten.
        factor: scratch.
        errors: scratch; holds the last point's.
        aim: largest error of rows and stationarity, and largest gap as a part of the cost.

    Returns:
        Rounds.
    """
    m, steps = shape.effect_up.shape
    size, kinds = len(columns.cost), len(shape.counted)
    inverse, right, step = np.empty(size), np.empty(size), np.empty(size)
    d_lower, d_upper, second = np.empty(size), np.empty(size), np.zeros((2, size))
    d_value, d_price, d_peak = np.empty((m, steps)), np.empty(shape.rows), np.empty(steps)
    chains, work = np.empty((kinds + 1, steps, steps)), np.empty((kinds + 3, steps))
    pairs = columns.live.sum() + columns.capped.sum()
    done = 0
    while done < ROUNDS:
        lacking = _rows_lack(shape, columns, rows, work[3:], errors)
        _slope(shape, columns, rows, work[3:], errors.slope)
        leaning, gap, worth = _state(columns, errors.slope)
        if lacking < ROUGH and leaning < FINE * aim and gap < aim * (1.0 + worth):
            break
        if not lacking + leaning + gap < LOST:
            break
        _weigh(columns, inverse)
        factorise(shape, inverse, factor, chains)
        second[:] = 0.0
        direction(shape, inverse, factor, errors.slope, errors, step, d_value, d_price, d_peak, work)
        _keep(columns, step)
        _prices_step(columns, step, 0.0, second, d_lower, d_upper)
        ahead, ahead_price = _farthest(columns, step, d_lower, d_upper)
        after = _gap_after(columns, step, d_lower, d_upper, ahead, ahead_price)
        # Never nearer to the bounds than asked for: there digits are lost.
        mean = max(gap * (after / gap) ** 3, ENOUGH * aim * (1.0 + worth)) / pairs
        _centred(columns, step, d_lower, d_upper, mean, second, errors.slope, right)
        direction(shape, inverse, factor, right, errors, step, d_value, d_price, d_peak, work)
        _keep(columns, step)
        _prices_step(columns, step, mean, second, d_lower, d_upper)
        ahead, ahead_price = _farthest(columns, step, d_lower, d_upper)
        ahead, ahead_price = min(1.0, NEARLY * ahead), min(1.0, NEARLY * ahead_price)
        _go(columns, step, d_lower, d_upper, ahead, ahead_price)
        for i in range(m):
            for t in range(steps):
                rows.value[i, t] += ahead_price * d_value[i, t]
        for r in range(shape.rows):
            rows.price[r] += ahead_price * d_price[r]
        done += 1
    if done:
        right[:] = 0.0
        direction(shape, inverse, factor, right, errors, step, d_value, d_price, d_peak, work)
        _keep(columns, step)
        d_lower[:], d_upper[:] = 0.0, 0.0
        _go(columns, step, d_lower, d_upper, _farthest(columns, step, d_lower, d_upper)[0], 0.0)
    return done
