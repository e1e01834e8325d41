"""One Newton step of the interior-point method, device by device: chains, then the rows they share.

A device's step is a chain over time. Its balance rows give a tridiagonal system that is solved as a ladder
of conductances, additions of positive numbers only, so that no digit is lost however far the weights of
columns at a bound and of free ones lie apart. What the chains leave for the rows that sum over devices
is a dense matrix of one row per step and limit (the Schur complement, S. J. Wright, Primal-Dual
Interior-Point Methods, ch. 11).

Columns stand in one array: ``up``, ``down``, content and room of each device and step (m·T each; room is
the slack of ``up/up_kw + down/down_kw <= 1``), then four local columns of each shared row, then the slack
of the peak row of each step, last the peak.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridflock.plan.devices._compiled import Array, Indices, compiled

LOCAL = 4
"""Columns that stand in one shared row only."""
LOCAL_SIGN = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 0.0], [1.0, -1.0, 0.0, 0.0]])
"""Their signs in a row of the head (import, beyond its limit, export, beyond), of an envelope (under,
over, value less its least) and of the head's change (fall, rise)."""
TINY = 1e-10
"""Conductance of a step without any flow: holds a price that nothing else holds."""
NONE = 1e-200
"""Keeps a quotient of two zeros finite."""


class Shape(NamedTuple):
    """What stays the same while iterating; powers and money in the problem's own scale.

    Attributes:
        effect_up: (m, T) what one unit of ``up`` adds to the content, mostly negative.
        effect_down: (m, T) the same of ``down``.
        share_up: (m, T) 1/up_kw where the two exclude each other, else 0.
        share_down: (m, T).
        kind: (m,) which blocks of rows count the device.
        counted: (kinds, blocks) whether a kind counts in a block; block 0 is the head's and counts all.
        block_start: (blocks + 1,) rows of each block, which begin with step 0.
        ramp_start: first row of the head's changes, which stand last; the number of rows where none.
        rows: number of shared rows.
        row_kind: (rows,) 0 head, 1 envelope, 2 change.
        peaked: whether there is a peak.
    """

    effect_up: Array
    effect_down: Array
    share_up: Array
    share_down: Array
    kind: Indices
    counted: Array
    block_start: Indices
    ramp_start: int
    rows: int
    row_kind: Indices
    peaked: bool


class Factor(NamedTuple):
    """The matrix of one iteration, ready to be solved with.

    Attributes:
        uu: (m, T) inverse weight of ``up`` against itself, exclusion included.
        ud: (m, T) of ``up`` against ``down``.
        dd: (m, T).
        cross: (m, T) content gained per unit of a row's price.
        gain: (m, T) of a chain's ladder: 1/(1 + conductance·weight).
        stiff: (m, T) weight·gain.
        conductance: (m, T).
        weight: (m, T) of the content.
        own: (m, T) net power gained per unit of the same step's price.
        dense: (rows, rows) upper Cholesky factor.
        ratio: (T,) of the peak's elimination.
        peak_inverse: (T,) of the same.
        peak_weight: of the peak after it.
    """

    uu: Array
    ud: Array
    dd: Array
    cross: Array
    gain: Array
    stiff: Array
    conductance: Array
    weight: Array
    own: Array
    dense: Array
    ratio: Array
    peak_inverse: Array
    peak_weight: Array


class Errors(NamedTuple):
    """Of one point: what rows and stationarity lack.

    Attributes:
        slope: (columns,) minus the derivative, bounds left out.
        lacking: (m, T) of the chains' rows.
        unfilled: (m·T,) of the rows of exclusion.
        short: (rows,) of the shared rows.
        short_peak: (T,) of the peak's rows.
    """

    slope: Array
    lacking: Array
    unfilled: Array
    short: Array
    short_peak: Array


def room(m: int, steps: int, rows: int) -> Factor:
    """Empty arrays for a factor."""
    chains = [np.empty((m, steps)) for _ in range(9)]
    uu, ud, dd, cross, gain, stiff, conductance, weight, own = chains
    dense, ratio, peak_inverse = np.empty((rows, rows)), np.empty(steps), np.empty(steps)
    return Factor(
        uu, ud, dd, cross, gain, stiff, conductance, weight, own, dense, ratio, peak_inverse, np.empty(1)
    )


@compiled
def _exclusion(shape: Shape, inverse: Array, factor: Factor, i: int) -> None:
    """Two by two inverse of a device's flows at each step, by sums and products of positive numbers."""
    m, steps = shape.effect_up.shape
    n, at = m * steps, i * steps
    for t in range(steps):
        one, other = inverse[at + t], inverse[n + at + t]
        u, d = shape.share_up[i, t], shape.share_down[i, t]
        first, second = one * u, other * d
        if u + d > 0.0:
            # Sherman and Morrison, with the subtraction carried out beforehand.
            free = inverse[3 * n + at + t]
            whole = free + first * u + second * d + NONE
            factor.uu[i, t] = one * (free + second * d) / whole
            factor.dd[i, t] = other * (free + first * u) / whole
            factor.ud[i, t] = -first * second / whole
        else:
            factor.uu[i, t], factor.dd[i, t], factor.ud[i, t] = one, other, 0.0


@compiled
def _ladder(shape: Shape, inverse: Array, factor: Factor, i: int) -> None:
    """The chain's own system, from the first step to the last."""
    m, steps = shape.effect_up.shape
    at = 2 * m * steps + i * steps
    carried = 0.0
    for t in range(steps):
        up, down = shape.effect_up[i, t], shape.effect_down[i, t]
        uu, ud, dd = factor.uu[i, t], factor.ud[i, t], factor.dd[i, t]
        factor.cross[i, t] = up * (uu - ud) + down * (ud - dd)
        here = up * up * uu + 2.0 * up * down * ud + down * down * dd
        if here == 0.0:
            here = TINY
        conductance = carried + here
        weight = 1.0 / (inverse[at + t] + NONE)
        gain = 1.0 / (1.0 + conductance * weight)
        factor.conductance[i, t], factor.weight[i, t], factor.own[i, t] = conductance, weight, here
        factor.gain[i, t], factor.stiff[i, t] = gain, weight * gain
        carried = conductance * gain
    _own(shape, inverse, factor, i)


@compiled
def _own(shape: Shape, inverse: Array, factor: Factor, i: int) -> None:
    """Diagonal of a device's answer to prices, from the last step to the first.

    The flows' own weights less what the chain holds back, as a sum of positive parts: what moves
    nothing in the store, and what its neighbours in time take up.
    """
    m, steps = shape.effect_up.shape
    n, at = m * steps, i * steps
    after = 1.0 / NONE
    for back in range(steps):
        t = steps - 1 - back
        here = factor.own[i, t]
        after = after / (1.0 + after * factor.weight[i, t])
        beside = after + (factor.conductance[i, t - 1] * factor.gain[i, t - 1] if t > 0 else 0.0)
        one, other = inverse[at + t], inverse[n + at + t]
        both = one * other
        if shape.share_up[i, t] + shape.share_down[i, t] > 0.0:
            free = inverse[3 * n + at + t]
            first, second = one * shape.share_up[i, t], other * shape.share_down[i, t]
            both *= free / (free + first * shape.share_up[i, t] + second * shape.share_down[i, t] + NONE)
        off = shape.effect_up[i, t] + shape.effect_down[i, t]
        cross = factor.cross[i, t]
        if cross == 0.0:
            factor.own[i, t] = one - 2.0 * factor.ud[i, t] + other
        else:
            factor.own[i, t] = (both * off * off + cross * cross * beside / (here + beside)) / here
        after += here


@compiled
def _add_chain(factor: Factor, i: int, response: Array, total: Array) -> None:
    """Add what a device's net power answers to prices, upper triangle (T, T), to ``total``."""
    steps = len(response)
    end, diagonal = steps, 0.0
    for back in range(steps):
        t = steps - 1 - back
        gain, cross = factor.gain[i, t], factor.cross[i, t]
        diagonal = factor.stiff[i, t] + gain * gain * diagonal
        response[t] = diagonal * cross
        # Beyond a full or empty store prices are not felt; products of small gains leave the range.
        while end > t + 1 and abs(response[end - 1]) < 1e-80:
            end -= 1
        later, row = response[t + 1 : end], total[t, t + 1 : end]
        for j in range(len(later)):
            felt = later[j] * gain
            later[j] = felt
            row[j] -= cross * felt
        total[t, t] += factor.own[i, t]


@compiled
def _shared(shape: Shape, inverse: Array, factor: Factor, work: Array) -> None:
    """The dense matrix of the shared rows, upper triangle; ``work`` is (kinds, T, T) of answers."""
    m, steps = shape.effect_up.shape
    dense, rows = factor.dense, shape.rows
    dense[:] = 0.0
    blocks = len(shape.block_start) - 1
    for kind in range(len(shape.counted)):
        for a in range(blocks):
            for b in range(a, blocks):
                if shape.counted[kind, a] and shape.counted[kind, b]:
                    _answered(shape, work[kind], a, b, dense)
    _changes(shape, dense)
    at = 4 * m * steps
    for k in range(LOCAL):
        for r in range(rows):
            if not (shape.peaked and k < 2 and r < steps):
                dense[r, r] += inverse[at + k * rows + r]
    if shape.peaked:
        _peak(shape, inverse, factor)


@compiled
def _answered(shape: Shape, answer: Array, a: int, b: int, dense: Array) -> None:
    """Add one kind's answers (T, T), upper triangle, where blocks a and b meet."""
    at, to = shape.block_start[a], shape.block_start[b]
    for s in range(shape.block_start[a + 1] - at):
        for t in range(s if a == b else 0, shape.block_start[b + 1] - to):
            dense[at + s, to + t] += answer[s, t] if t >= s else answer[t, s]


@compiled
def _changes(shape: Shape, dense: Array) -> None:
    """Rows of the head's changes: differences of its rows, sign turned."""
    first = shape.ramp_start
    for k in range(shape.rows - first):
        for r in range(first):
            after = dense[r, k + 1] if r <= k + 1 else dense[k + 1, r]
            before = dense[r, k] if r <= k else dense[k, r]
            dense[r, first + k] = before - after
    for k in range(shape.rows - first):
        for other in range(k, shape.rows - first):
            dense[first + k, first + other] = dense[k, first + other] - dense[k + 1, first + other]


@compiled
def _peak(shape: Shape, inverse: Array, factor: Factor) -> None:
    """Peak rows and peak eliminated: a diagonal and one outer product."""
    m, steps = shape.effect_up.shape
    rows, at = shape.rows, 4 * m * steps
    slack = at + LOCAL * rows
    total = 1.0 / (inverse[slack + steps] + NONE)
    for t in range(steps):
        bought = inverse[at + t] + inverse[at + rows + t]
        whole = bought + inverse[slack + t] + NONE
        factor.ratio[t] = bought / whole
        factor.peak_inverse[t] = 1.0 / whole
        factor.dense[t, t] += bought * inverse[slack + t] / whole
        total += 1.0 / whole
    factor.peak_weight[0] = total
    for s in range(steps):
        for t in range(s, steps):
            factor.dense[s, t] += factor.ratio[s] * factor.ratio[t] / total


@compiled
def _cholesky(dense: Array) -> None:
    """Upper factor in place; a row that hangs on nothing is held still."""
    n = len(dense)
    largest = 0.0
    for k in range(n):
        largest = max(largest, dense[k, k])
    for k in range(n):
        if not dense[k, k] > 1e-30 * largest:
            dense[k, k] = 1e128
        row = dense[k, k:]
        inverse = 1.0 / np.sqrt(row[0])
        for j in range(len(row)):
            row[j] *= inverse
        for i in range(1, len(row)):
            above = row[i]
            if above != 0.0:
                source, target = row[i:], dense[k + i, k + i :]
                for j in range(len(source)):
                    target[j] -= above * source[j]


@compiled
def factorise(shape: Shape, inverse: Array, factor: Factor, work: Array) -> None:
    """Make ready to solve with the given inverse weights of all columns.

    Args:
        shape: the problem's.
        inverse: (columns,) >= 0; 0 holds a column where it is.
        factor: overwritten.
        work: (kinds + 1, T, T) scratch.
    """
    work[:] = 0.0
    response = work[len(work) - 1, 0]
    for i in range(len(shape.kind)):
        _exclusion(shape, inverse, factor, i)
        _ladder(shape, inverse, factor, i)
        response[:] = 0.0
        _add_chain(factor, i, response, work[shape.kind[i]])
    _shared(shape, inverse, factor, work)
    _cholesky(factor.dense)


@compiled
def _substitute(dense: Array, right: Array) -> None:
    """Solve with the Cholesky factor, forth and back, in place of ``right`` (rows,)."""
    n = len(right)
    for k in range(n):
        right[k] /= dense[k, k]
        row, rest, value = dense[k, k + 1 :], right[k + 1 :], right[k]
        for j in range(len(rest)):
            rest[j] -= row[j] * value
    for back in range(n):
        k = n - 1 - back
        row, rest, value = dense[k, k + 1 :], right[k + 1 :], right[k]
        for j in range(len(rest)):
            value -= row[j] * rest[j]
        right[k] = value / dense[k, k]


@compiled
def row_prices(shape: Shape, price: Array, by_kind: Array) -> None:
    """What each kind of device is paid per unit of net power at each step: (kinds, T)."""
    for kind in range(len(by_kind)):
        by_kind[kind] = 0.0
        for b in range(len(shape.block_start) - 1):
            if shape.counted[kind, b]:
                at = shape.block_start[b]
                for t in range(shape.block_start[b + 1] - at):
                    by_kind[kind, t] += price[at + t]
        for k in range(shape.rows - shape.ramp_start):
            by_kind[kind, k] += price[shape.ramp_start + k]
            by_kind[kind, k + 1] -= price[shape.ramp_start + k]


@compiled
def count(shape: Shape, net: Array, rows: Array) -> None:
    """Take net powers (kinds, T) off every row that counts them."""
    for kind in range(len(net)):
        for b in range(len(shape.block_start) - 1):
            if shape.counted[kind, b]:
                at = shape.block_start[b]
                for t in range(shape.block_start[b + 1] - at):
                    rows[at + t] -= net[kind, t]
        for k in range(shape.rows - shape.ramp_start):
            rows[shape.ramp_start + k] += net[kind, k + 1] - net[kind, k]


@compiled
def _chain(factor: Factor, i: int, current: Array, right: Array, value: Array, content: Array) -> None:
    """Solve a chain: ``current`` (T,) of its rows, ``right`` (T,) of its contents.

    ``value`` gets the change of the rows' prices, ``content`` that of the contents.
    """
    steps = len(current)
    carried = 0.0
    for t in range(steps):
        carried += current[t]
        value[t] = carried
        carried = factor.gain[i, t] * (carried + factor.conductance[i, t] * right[t])
    after = 0.0
    for back in range(steps):
        t = steps - 1 - back
        gain, conductance = factor.gain[i, t], factor.conductance[i, t]
        content[t] = gain * (conductance * (right[t] - after) + value[t])
        after = gain * (after - right[t]) + factor.stiff[i, t] * value[t]
        value[t] = after


@compiled
def direction(
    shape: Shape,
    inverse: Array,
    factor: Factor,
    right: Array,
    errors: Errors,
    step: Array,
    d_value: Array,
    d_price: Array,
    d_peak: Array,
    work: Array,
) -> None:
    """Solve for all columns and prices.

    Args:
        shape: the problem's.
        inverse: (columns,) as factorised with.
        factor: of ``factorise``.
        right: (columns,) of stationarity, complementarity taken in.
        errors: what the rows lack.
        step: (columns,) overwritten.
        d_value: (m, T) change of the chains' prices, overwritten.
        d_price: (rows,) of the shared rows', overwritten.
        d_peak: (T,) of the peak rows', overwritten.
        work: (kinds + 3, T) scratch.
    """
    m, steps = shape.effect_up.shape
    rows, local = shape.rows, 4 * m * steps
    slack = local + LOCAL * rows
    by_kind = work[3:]
    d_price[:] = errors.short
    _at_given_prices(shape, inverse, factor, right, errors, d_value, by_kind, work)
    count(shape, by_kind, d_price)
    for k in range(LOCAL):
        for r in range(rows):
            j = local + k * rows + r
            d_price[r] -= LOCAL_SIGN[shape.row_kind[r], k] * inverse[j] * right[j]
    if shape.peaked:
        _with_peak(shape, inverse, factor, right, errors.short_peak, step, d_price, d_peak)
    else:
        _substitute(factor.dense, d_price)
        d_peak[:] = 0.0
        step[slack : slack + steps + 1] = 0.0
    row_prices(shape, d_price, by_kind)
    for i in range(m):
        paid = by_kind[shape.kind[i]]
        _device(shape, inverse, factor, right, errors.unfilled, i, paid, step, d_value[i], work)
    for k in range(LOCAL):
        for r in range(rows):
            j = local + k * rows + r
            felt = LOCAL_SIGN[shape.row_kind[r], k] * d_price[r]
            if shape.peaked and k < 2 and r < steps:
                felt -= d_peak[r]
            step[j] = inverse[j] * (right[j] + felt)


@compiled
def _at_given_prices(
    shape: Shape,
    inverse: Array,
    factor: Factor,
    right: Array,
    errors: Errors,
    d_value: Array,
    net: Array,
    work: Array,
) -> None:
    """What the devices would do at the shared rows' present prices; ``net`` (kinds, T) gets their powers.

    ``d_value`` gets what the chains must answer for.
    """
    m, steps = shape.effect_up.shape
    n, current, value = m * steps, work[0], work[1]
    net[:] = 0.0
    for i in range(m):
        at, moved = i * steps, net[shape.kind[i]]
        for t in range(steps):
            a, b = right[at + t], right[n + at + t]
            up, down, _ = _flows(shape, inverse, right, errors.unfilled, i, t, a, b)
            moved[t] += up - down
            needed = errors.lacking[i, t] + shape.effect_up[i, t] * up + shape.effect_down[i, t] * down
            current[t], d_value[i, t] = needed, needed
        _chain(factor, i, current, right[2 * n + at : 2 * n + at + steps], value, work[2])
        for t in range(steps):
            moved[t] -= factor.cross[i, t] * value[t]


@compiled
def _flows(
    shape: Shape, inverse: Array, right: Array, unfilled: Array, i: int, t: int, up: float, down: float
) -> tuple[float, float, float]:
    """Steps of up, down and room for given right sides of the two flows.

    By the price of the row of exclusion, so that a room that is all but gone keeps its digits.
    """
    m, steps = shape.effect_up.shape
    n, at = m * steps, i * steps + t
    u, d = shape.share_up[i, t], shape.share_down[i, t]
    one, other, free, pushed = inverse[at], inverse[n + at], inverse[3 * n + at], right[3 * n + at]
    wanted = unfilled[at] - one * u * up - other * d * down - free * pushed
    price = wanted / (free + one * u * u + other * d * d + NONE)
    return one * (up + u * price), other * (down + d * price), free * (pushed + price)


@compiled
def _with_peak(
    shape: Shape,
    inverse: Array,
    factor: Factor,
    right: Array,
    short_peak: Array,
    step: Array,
    d_price: Array,
    d_peak: Array,
) -> None:
    """Solve the shared rows with the peak eliminated; then its column, its rows' prices and slacks."""
    m, steps = shape.effect_up.shape
    local, rows = 4 * m * steps, shape.rows
    slack = local + LOCAL * rows
    top = right[slack + steps]
    for t in range(steps):
        pulled = short_peak[t] + inverse[local + t] * right[local + t]
        pulled += inverse[local + rows + t] * right[local + rows + t] + inverse[slack + t] * right[slack + t]
        d_peak[t] = pulled
        d_price[t] += factor.ratio[t] * pulled
        top += factor.peak_inverse[t] * pulled
    weight = factor.peak_weight[0]
    for t in range(steps):
        d_price[t] -= factor.ratio[t] * top / weight
    _substitute(factor.dense, d_price)
    for t in range(steps):
        top += factor.ratio[t] * d_price[t]
    step[slack + steps] = top / weight
    for t in range(steps):
        bought = inverse[local + t] + inverse[local + rows + t]
        d_peak[t] = (d_peak[t] + bought * d_price[t] - step[slack + steps]) * factor.peak_inverse[t]
        step[slack + t] = inverse[slack + t] * (right[slack + t] - d_peak[t])


@compiled
def _device(
    shape: Shape,
    inverse: Array,
    factor: Factor,
    right: Array,
    unfilled: Array,
    i: int,
    paid: Array,
    step: Array,
    d_value: Array,
    work: Array,
) -> None:
    """A device's step once the shared rows' prices are known."""
    m, steps = shape.effect_up.shape
    n, at = m * steps, i * steps
    current, value = work[0], work[1]
    for t in range(steps):
        current[t] = d_value[t] + factor.cross[i, t] * paid[t]
    contents = slice(2 * n + at, 2 * n + at + steps)
    _chain(factor, i, current, right[contents], value, step[contents])
    for t in range(steps):
        d_value[t] = value[t]
        a = right[at + t] + paid[t] - shape.effect_up[i, t] * value[t]
        b = right[n + at + t] - paid[t] - shape.effect_down[i, t] * value[t]
        up, down, room = _flows(shape, inverse, right, unfilled, i, t, a, b)
        step[at + t], step[n + at + t], step[3 * n + at + t] = up, down, room
