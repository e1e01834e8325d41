"""The small program of one tick: the least weighted change that brings every limit in sight inside.

Minimise ``Σ ½·(x - anchor)²/ease`` over ``low <= x <= high`` with rows ``±g·x <= room``. Rows are soft:
beyond ``room`` their price grows with the way, to ``FULL`` at the end of ``soft``, at most to ``cap``, and
beyond ``wall`` to ``top``. A price that grows conditions the program: of hundreds of rows that cannot all
hold each gives way a little, and noise in one of them turns no others round. Where ``soft`` is 0 a row is
held exactly as long as that can be.

The dual is concave, piecewise quadratic and has one price per row; prices are climbed by Newton's method.
Each step goes to the best of the quadratic model over the box of prices' pieces, found by Gauss-Seidel
sweeps, which tell what prices are at an end, and one factor for all others (after Moré and Toraldo, "On the
solution of large quadratic programming problems with bound constraints", SIAM J. Optimization 1, 1991), with
an exact line search. Rows are taken in as they turn out broken, so that thousands of rows in sight cost
one product and a few dozen prices (Goldfarb and Idnani, "A numerically stable dual method for solving
strictly convex quadratic programs", Mathematical Programming 27, 1983, for the order). All sums run in a
fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.units import Rows

Float = NDArray[np.float64]
Matrix = NDArray[np.float32]
_Function = TypeVar("_Function", bound=Callable[..., Any])

AT_ONCE = 16
"""Broken rows taken in before prices are climbed again."""
PASSES = 60
STEPS = 12
"""Steps before rows are looked for that have turned out broken."""
WORK = 1e9
"""Products that may be spent: a program that needs more is late."""
TOLD = 4.0
"""Times that a step goes through rows and resources beside its curvature."""
KEPT = 8
"""Answers remembered on the way."""
PARTS = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Of the way from standing still to an answer that is not the last word."""
SEARCH = 60
EXACT, ENDED = 1e-10, 1e-7
"""A row, scaled to unit effect, holds when it misses by no more than this part of what can be moved; where
rounding ends the climb before, the second is enough."""
FACES, SWEEPS = 2, 30
"""Looks for the prices that end where their piece does, in one step, and sweeps before each."""
EASED = 0.1
"""Of the harm of standing still, so much must be taken off for an answer without an end to ease it."""
TRIFLE, AS_GOOD = 1e-4, 1.01
"""Harm of a hundredth of one unit, and a part of what is left in any case: what clipping adds beyond makes an
answer another one."""
WEAK = 2.0
"""A row that all together cannot move by so much of its unit is left alone: it would command everybody."""
HOLDS = 1e-9
"""A row not taken in yet holds when it misses by no more than this part of its unit."""
RIDGE = 1e-11
"""Keeps twin rows apart."""
FULL = 1.0
"""Price of a row at the end of its soft way, as a multiple of what moving everything costs."""
CAP, TOP = 30.0, 1e3
"""Price of a soft row and of its wall, as multiples of what moving everything costs."""


def compiled(function: _Function) -> _Function:
    """Compile to IEEE arithmetic as written, so that the same inputs give the same bytes."""
    return cast("_Function", njit(cache=True, nogil=True, error_model="numpy")(function))


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """v variables in C columns, m quantities, 2m rows: each quantity from above, then each from below.

    Attributes:
        effect: float32 (C, m) what a unit in a column does to each quantity.
        room: (2m,) by how much it may grow, then fall; infinite where nothing is asked.
        wall: (2m,) >= room, beyond which it costs far more.
        unit: (m,) > 0, what counts as one of a quantity: little, but worth an order.
        soft: (m,) >= 0, way beyond ``room`` on which the price of a quantity grows to ``FULL``; 0: at once.
        column: int32 (v,) of each variable.
        ease: (v,) > 0, inverse weight.
        anchor: (v,) where each would be.
        low: (v,)
        high: (v,)
    """

    effect: Matrix
    room: Float
    wall: Float
    unit: Float
    soft: Float
    column: Rows
    ease: Float
    anchor: Float
    low: Float
    high: Float


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """The answer of a program.

    Attributes:
        x: (v,) variables.
        price: (2m,) of each row, >= 0: of one unit of its quantity.
        growth: (m,) how much each quantity grows.
        climbs: Newton steps taken.
        exact: whether the end was reached within the steps allowed.
        eases: whether it takes a stated share off the violations of standing still; of an exact answer
            always true.
    """

    x: Float
    price: Float
    growth: Float
    climbs: int
    exact: bool
    eases: bool


def solve(program: Program, price: Float) -> Solved:
    """Solve a program, or come as near as the work allowed takes it.

    A program that is not at its end by then is answered by the best that came up on the way: of each answer
    met, and of standing still, and of parts of the way between, the one with the least squares of violations.

    Args:
        program: finite, ``low <= high``.
        price: (2m,) prices to start from, such as the last tick's; where they lead nowhere, from none.
    """
    found = _from(program, price)
    if found.exact or not price.any():
        return found
    anew = _from(program, np.zeros(len(price)))
    return anew if anew.exact or _harm(program, anew.growth) < _harm(program, found.growth) else found


def _harm(of: Program, growth: Float) -> float:
    """Squares of violations, in units of their quantities; of walls beside those of rooms."""
    both = np.concatenate([growth, -growth])
    unit = np.tile(of.unit, 2)
    over, beyond = (np.maximum(both - edge, 0.0) / unit for edge in (of.room, of.wall))
    return float(over @ over + beyond @ beyond)


def _nearer(of: Program, tried: list[tuple[Float, Float]], climbs: int, found: Float) -> Solved:
    """The best of the answers met (changes and growth), and of parts of the way to each."""
    still = np.clip(np.zeros(len(of.anchor)), of.low, of.high)
    at_rest = growth_of(of, still)
    whole = least = _harm(of, at_rest)
    x, growth = still, at_rest
    for there, grown in tried:
        for part in PARTS:
            step = at_rest + part * (grown - at_rest)
            harm = _harm(of, step)
            if harm < least:
                least, x, growth = harm, still + part * (there - still), step
    return Solved(x, found, growth, climbs, exact=False, eases=_eased(least, whole))


def growth_of(of: Program, x: Float) -> Float:
    """(m,) how much each quantity grows with given changes."""
    total = np.bincount(of.column, x, minlength=len(of.effect)).astype(np.float64)
    growth = np.zeros(len(of.unit))
    _grow(of.effect, total, growth)
    return growth


def _eased(harm: float, whole: float) -> bool:
    """Whether enough was taken off a whole harm."""
    return whole > 0.0 and harm <= (1.0 - EASED) * whole


def instead(of: Program, found: Solved, x: Float) -> Solved:
    """An answer whose changes were clipped: what it is worth by what is really sent.

    Args:
        of: the program that was answered.
        found: its answer.
        x: (v,) changes that are sent instead.
    """
    growth = growth_of(of, x)
    harm, still = _harm(of, growth), np.clip(np.zeros(len(of.anchor)), of.low, of.high)
    exact = found.exact and harm <= AS_GOOD * _harm(of, found.growth) + TRIFLE
    eases = exact or _eased(harm, _harm(of, growth_of(of, still)))
    return replace(found, x=x, growth=growth, exact=exact, eases=eases)


def _from(program: Program, price: Float) -> Solved:
    """The answer from given prices, rows taken in as they turn out broken."""
    of, m = program, program.effect.shape[1]
    anchor, unit = np.ascontiguousarray(of.anchor), np.tile(of.unit, 2)
    most = float(np.sqrt((np.maximum(of.high - of.low, 1e-9) ** 2 / of.ease).sum()))
    spread = np.bincount(of.column, of.high - of.low, minlength=len(of.effect)).astype(np.float64)
    taken = _strong(of, spread, np.flatnonzero((price > 0.0) & np.isfinite(of.room)))
    ignored = np.zeros(2 * m, dtype=np.bool_)
    x, total, growth = np.empty(len(anchor)), np.empty(len(of.effect)), np.empty(m)
    whole = np.zeros(len(of.effect))
    np.add.at(whole, of.column, np.where(of.high > of.low, of.ease, 0.0))
    y, exact, climbs, work = price[taken], False, 0, np.array([WORK])
    tried: list[tuple[Float, Float]] = []
    for turn in range(PASSES):
        rows = of.effect[:, taken % m] * np.where(taken < m, 1.0, -1.0)
        size = np.sqrt((rows**2 * whole[:, None]).sum(axis=0))
        size = np.where(size > 0.0, size, 1.0)
        y = np.clip(y * size, 0.0, TOP * most)
        count = _climb(
            rows / size, of.room[taken] / size, of.wall[taken] / size,
            of.soft[taken % m] / (size * FULL * most), CAP * most, TOP * most, y,
            of.column, of.ease, anchor, of.low, of.high, x, total, EXACT * most, ENDED * most, STEPS, work,
        )  # fmt: skip
        y = y / size
        climbs += count if count >= 0 else -count - 1
        _grow(of.effect, total, growth)
        tried = [*tried[1 - KEPT :], (x.copy(), growth.copy())]
        beyond = (np.concatenate([growth, -growth]) - of.room) / unit
        beyond[taken] = 0.0
        beyond[ignored] = 0.0
        most_new = min(AT_ONCE << min(turn, 4), 2 * m)
        broken = np.argpartition(-beyond, most_new - 1)[:most_new]
        broken = np.sort(broken[beyond[broken] > HOLDS])
        if work[0] <= 0.0 or (count >= 0 and not len(broken)):
            exact = count >= 0 and not len(broken)
            break
        new = _strong(of, spread, broken)
        ignored[np.setdiff1d(broken, new)] = True
        kept = y > 0.0
        taken = np.concatenate([taken[kept], new])
        y = np.concatenate([y[kept], np.zeros(len(new))])
    found = np.zeros(2 * m)
    found[taken] = y
    return Solved(x, found, growth, climbs, exact, eases=True) if exact else _nearer(of, tried, climbs, found)


def _strong(of: Program, spread: Float, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some rows that all variables together can move by more than a trifle."""
    reach = spread @ np.abs(of.effect[:, rows % len(of.unit)])
    strong: NDArray[np.int64] = rows[reach > WEAK * of.unit[rows % len(of.unit)]]
    return strong


@compiled
def _grow(effect: Matrix, total: Float, growth: Float) -> None:
    """What the columns' sums do to every row."""
    growth[:] = 0.0
    for c in range(len(total)):
        t = total[c]
        if t != 0.0:
            for r in range(len(growth)):
                growth[r] += t * effect[c, r]


@compiled
def carried(effect: Matrix, change: Float, at: Rows, out: Float) -> None:
    """What changes (k, C) of the columns do to rows, row r taking the change numbered ``at[r]``."""
    if len(change) == 1:
        _grow(effect, change[0], out)
        return
    out[:] = 0.0
    for c in range(len(effect)):
        used = False
        for k in range(len(change)):
            used = used or change[k, c] != 0.0
        if used:
            for r in range(len(out)):
                out[r] += change[at[r], c] * effect[c, r]


@compiled
def _respond(
    price: Float, column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
    x: Float, total: Float, give: Float,
) -> None:  # fmt: skip
    """What everybody does at the columns' prices, the columns' sums, and how those would give way."""
    total[:] = 0.0
    give[:] = 0.0
    for j in range(len(x)):
        c = column[j]
        wish = anchor[j] - ease[j] * price[c]
        if wish <= low[j]:
            wish = low[j]
        elif wish >= high[j]:
            wish = high[j]
        else:
            give[c] += ease[j]
        x[j] = wish
        total[c] += wish


@compiled
def _slope(
    t: float, price: Float, step: Float, column: Rows, ease: Float, anchor: Float, low: Float, high: Float
) -> float:
    """Derivative of the dual along a step, but for the part that does not change."""
    found = 0.0
    for j in range(len(column)):
        s = step[column[j]]
        if s != 0.0:
            wish = anchor[j] - ease[j] * (price[column[j]] + t * s)
            found += s * min(max(wish, low[j]), high[j])
    return found


@compiled
def _curvature(a: Float, give: Float, was: Float, curve: Float) -> int:
    """Bring the dual's curvature over all rows from old ways of giving to new; how many."""
    count, k = 0, a.shape[1]
    for c in range(len(a)):
        more = give[c] - was[c]
        if more != 0.0:
            was[c] = give[c]
            count += 1
            for i in range(k):
                g = more * a[c, i]
                if g != 0.0:
                    for q in range(i + 1):
                        curve[i, q] += g * a[c, q]
    for i in range(k):
        for q in range(i):
            curve[q, i] = curve[i, q]
    return count


@compiled
def _factor(curve: Float, soft: Float, free: Rows, count: int, h: Float) -> None:
    """Cholesky factor, lower triangle, of the curvature over free rows (ascending)."""
    for i in range(count):
        for q in range(i + 1):
            h[i, q] = curve[free[i], free[q]]
        h[i, i] += RIDGE + soft[free[i]]
    below = np.empty(count)
    for q in range(count):
        pivot = np.sqrt(max(h[q, q], 0.1 * RIDGE))
        h[q, q] = pivot
        for i in range(q + 1, count):
            below[i] = h[i, q] / pivot
            h[i, q] = below[i]
        for i in range(q + 1, count):
            g = below[i]
            for k in range(q + 1, i + 1):
                h[i, k] -= g * below[k]


@compiled
def _back(h: Float, count: int, d: Float) -> None:
    """Solve with the factor, in place."""
    for i in range(count):
        for k in range(i):
            d[i] -= h[i, k] * d[k]
        d[i] /= h[i, i]
    for back in range(count):
        i = count - 1 - back
        for k in range(i + 1, count):
            d[i] -= h[k, i] * d[k]
        d[i] /= h[i, i]


@compiled
def _length(
    most: float, flat: float, bend: float, price: Float, step: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> float:  # fmt: skip
    """How far along a step the dual rises, at most ``most``; by false position on its falling slope."""
    a, fa = 0.0, _slope(0.0, price, step, column, ease, anchor, low, high) - flat
    if fa <= 0.0:
        return 0.0
    b = min(1.0, most)
    fb = _slope(b, price, step, column, ease, anchor, low, high) - flat - b * bend
    while fb > 0.0 and b < most:
        a, fa = b, fb
        b = min(4.0 * b, most)
        fb = _slope(b, price, step, column, ease, anchor, low, high) - flat - b * bend
    if fb >= 0.0:
        return b
    start, side = fa, 0
    for _ in range(SEARCH):
        t = (a * fb - b * fa) / (fb - fa)
        ft = _slope(t, price, step, column, ease, anchor, low, high) - flat - t * bend
        if abs(ft) <= 1e-13 * start:
            return t
        if ft > 0.0:
            a, fa = t, ft
            if side == 1:
                fb *= 0.5
            side = 1
        else:
            b, fb = t, ft
            if side == -1:
                fa *= 0.5
            side = -1
    return a


@compiled
def _judged(
    y: Float, act: Float, room: Float, wall: Float, soft: Float, cap: float, top: float,
    slope: Float, upper: Float, lower: Float,
) -> float:  # fmt: skip
    """Slope and reach of each price on its present piece; the steepest that may move."""
    worst = 0.0
    for r in range(len(y)):
        left = act[r] - soft[r] * y[r]
        if y[r] < cap or (y[r] == cap and left < room[r]):
            lower[r], upper[r], slope[r] = 0.0, cap, left - room[r]
        else:
            lower[r], upper[r], slope[r] = cap, top, left - wall[r]
        if (y[r] > lower[r] or slope[r] > 0.0) and (y[r] < upper[r] or slope[r] < 0.0):
            worst = max(worst, abs(slope[r]))
    return worst


@compiled
def _swept(curve: Float, soft: Float, low: Float, high: Float, d: Float, left: Float) -> None:
    """A Gauss-Seidel sweep over the box: each price to its own best, ``left`` the slope that remains."""
    for i in range(len(d)):
        own = curve[i, i] + soft[i] + RIDGE
        there = min(max(d[i] + left[i] / own, low[i]), high[i])
        step = there - d[i]
        if step != 0.0:
            d[i] = there
            for q in range(len(d)):
                left[q] -= step * curve[i, q]
            left[i] -= step * (soft[i] + RIDGE)


@compiled
def _faced(
    curve: Float, soft: Float, low: Float, high: Float, d: Float, left: Float, free: Rows, h: Float, s: Float
) -> int:
    """Solve for all prices at no end of the box at once, as far as it lets them go; how many those were."""
    count, k = 0, len(d)
    for i in range(k):
        if low[i] < d[i] < high[i]:
            s[count], free[count] = left[i], i
            count += 1
    _factor(curve, soft, free, count, h)
    _back(h, count, s)
    part, at = 1.0, -1
    for n in range(count):
        i = free[n]
        edge = high[i] if s[n] > 0.0 else low[i]
        if s[n] != 0.0 and (edge - d[i]) / s[n] < part:
            part, at = (edge - d[i]) / s[n], i
    for n in range(count):
        i, step = free[n], part * s[n]
        if i == at:
            d[i] = high[i] if step > 0.0 else low[i]
        else:
            d[i] = min(max(d[i] + step, low[i]), high[i])
        for q in range(k):
            left[q] -= step * curve[i, q]
        left[i] -= step * (soft[i] + RIDGE)
    return count


@compiled
def _direction(
    curve: Float, soft: Float, y: Float, slope: Float, lower: Float, upper: Float, enough: float,
    free: Rows, h: Float, d: Float, work: Float,
) -> None:  # fmt: skip
    """Newton's direction: the best of the quadratic model over the box of prices' pieces."""
    k = len(y)
    low, high, left, s = lower - y, upper - y, slope.copy(), np.empty(k)
    d[:] = 0.0
    for _ in range(FACES):
        for _ in range(SWEEPS):
            _swept(curve, soft, low, high, d, left)
        count = _faced(curve, soft, low, high, d, left, free, h, s)
        work[0] -= (SWEEPS + 1.0) * k * k + count**3 / 6.0
        worst = 0.0
        for i in range(k):
            if (left[i] > 0.0 and d[i] < high[i]) or (left[i] < 0.0 and d[i] > low[i]):
                worst = max(worst, abs(left[i]))
        if worst <= enough:
            break


@compiled
def _prices(a: Float, y: Float, price: Float) -> None:
    """The columns' prices."""
    price[:] = 0.0
    for c in range(len(a)):
        for r in range(len(y)):
            price[c] += a[c, r] * y[r]


@compiled
def _along(
    a: Float, soft: Float, y: Float, act: Float, slope: Float, upper: Float, lower: Float, d: Float,
    price: Float, step: Float, column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> bool:  # fmt: skip
    """Go along a direction while the dual rises and no price leaves its piece; whether that was anywhere."""
    most, flat, bend = np.inf, 0.0, 0.0
    for r in range(len(y)):
        edge = upper[r] if d[r] > 0.0 else lower[r]
        if d[r] != 0.0:
            most = min(most, (edge - y[r]) / d[r])
        flat += d[r] * (act[r] - slope[r])
        bend += soft[r] * d[r] ** 2
    _prices(a, d, step)
    t = _length(most, flat, bend, price, step, column, ease, anchor, low, high)
    for r in range(len(y)):
        edge = upper[r] if d[r] > 0.0 else lower[r]
        y[r] = min(max(y[r] + t * d[r], lower[r]), upper[r])
        if t == most and d[r] != 0.0 and abs(edge - y[r]) <= 1e-14 * (abs(edge) + abs(y[r])):
            y[r] = edge
    return t > 0.0


@compiled
def _climb(
    a: Float, room: Float, wall: Float, soft: Float, cap: float, top: float, y: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
    x: Float, total: Float, enough: float, ended: float, most: int, work: Float,
) -> int:  # fmt: skip
    """Climb the dual over a few rows ``a`` (C, k) of unit effect, from ``y`` in place; ``x`` is its answer.

    Returns:
        Steps taken; negative, less one, where that is not the end. What is done is taken off ``work``; none
        of it is left where a step leads nowhere.
    """
    columns, k = a.shape
    give, price, step = np.empty(columns), np.empty(columns), np.empty(columns)
    act, slope, upper, lower = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    free, d, h = np.empty(k, dtype=np.int32), np.empty(k), np.empty((k, k))
    was, curve, count = np.zeros(columns), np.zeros((k, k)), 0
    while work[0] > 0.0 and count < most:
        work[0] -= TOLD * (columns * k + len(x))
        _prices(a, y, price)
        _respond(price, column, ease, anchor, low, high, x, total, give)
        act[:] = 0.0
        for c in range(columns):
            for r in range(k):
                act[r] += a[c, r] * total[c]
        worst = _judged(y, act, room, wall, soft, cap, top, slope, upper, lower)
        if worst <= enough:
            return count
        count += 1
        work[0] -= 0.5 * k * k * _curvature(a, give, was, curve)
        _direction(curve, soft, y, slope, lower, upper, min(enough, 1e-3 * worst), free, h, d, work)
        if not _along(a, soft, y, act, slope, upper, lower, d, price, step, column, ease, anchor, low, high):
            work[0] = work[0] if worst <= ended else 0.0
            return count if worst <= ended else -count - 1
    _prices(a, y, price)
    _respond(price, column, ease, anchor, low, high, x, total, give)
    return -count - 1
