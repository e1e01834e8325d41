"""The small program of one tick: the least weighted change that brings every limit in sight inside.

Minimise ``Σ ½·(x - anchor)²/ease`` over ``low <= x <= high`` with rows ``±g·x <= room``. Rows are soft in
two steps: beyond ``room`` a unit costs ``cap``, beyond ``wall`` it costs ``top``. Its dual is concave,
piecewise quadratic and has one price per row; prices are climbed by Newton's method over an active set with
an exact line search, and rows are taken in as they turn out broken, so that thousands of rows in sight cost
one product and a few dozen prices (Goldfarb and Idnani, "A numerically stable dual method for solving
strictly convex quadratic programs", Mathematical Programming 27, 1983, for the order; Bertsekas, "Projected
Newton methods", SIAM J. Control 20(2), 1982, for the step). All sums run in a fixed order.
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
WORK = 5e8
"""Products that may be spent on curvatures: a program that needs more is late."""
KEPT = 8
"""Answers remembered on the way."""
PARTS = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Of the way from standing still to an answer that is not the last word."""
SEARCH = 60
EXACT, ENDED = 1e-10, 1e-7
"""A row, scaled to unit effect, holds when it misses by no more than this part of what can be moved; where
rounding ends the climb before, the second is enough."""
ENOUGH = 1e-4
"""Least rise of the dual, as a part of what its slope promises, for which a clipped step is taken whole."""
EASED = 0.1
"""Of the harm of standing still, so much must be taken off for an answer without an end to ease it."""
TRIFLE = 1e-4
"""Harm of a hundredth of one unit: what clipping adds beyond makes an answer another one."""
WEAK = 2.0
"""A row that all together cannot move by so much of its unit is left alone: it would command everybody."""
HOLDS = 1e-9
"""A row not taken in yet holds when it misses by no more than this part of its unit."""
RIDGE = 1e-11
"""Keeps twin rows apart."""
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
    at_rest = _growth(of, still)
    whole = least = _harm(of, at_rest)
    x, growth = still, at_rest
    for there, grown in tried:
        for part in PARTS:
            step = at_rest + part * (grown - at_rest)
            harm = _harm(of, step)
            if harm < least:
                least, x, growth = harm, still + part * (there - still), step
    return Solved(x, found, growth, climbs, exact=False, eases=_eased(least, whole))


def _growth(of: Program, x: Float) -> Float:
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
    growth = _growth(of, x)
    harm, still = _harm(of, growth), np.clip(np.zeros(len(of.anchor)), of.low, of.high)
    exact = found.exact and harm <= _harm(of, found.growth) + TRIFLE
    eases = exact or _eased(harm, _harm(of, _growth(of, still)))
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
    y, exact, climbs, work = price[taken], False, 0, WORK
    tried: list[tuple[Float, Float]] = []
    for _ in range(PASSES):
        rows = of.effect[:, taken % m] * np.where(taken < m, 1.0, -1.0)
        size = np.sqrt((rows**2 * whole[:, None]).sum(axis=0))
        size = np.where(size > 0.0, size, 1.0)
        y = np.clip(y * size, 0.0, TOP * most)
        count = _climb(
            rows / size, of.room[taken] / size, of.wall[taken] / size, CAP * most, TOP * most, y,
            of.column, of.ease, anchor, of.low, of.high, x, total, EXACT * most, ENDED * most,
            max(1, int(work / (rows.size * (len(taken) + 1) + 1))),
        )  # fmt: skip
        y = y / size
        climbs += abs(count)
        work -= abs(count) * (rows.size * (len(taken) + 1.0))
        _grow(of.effect, total, growth)
        tried = [*tried[1 - KEPT :], (x.copy(), growth.copy())]
        beyond = (np.concatenate([growth, -growth]) - of.room) / unit
        beyond[taken] = 0.0
        beyond[ignored] = 0.0
        broken = np.argpartition(-beyond, min(AT_ONCE, 2 * m - 1))[:AT_ONCE]
        broken = np.sort(broken[beyond[broken] > HOLDS])
        if not len(broken) or count < 0:
            exact = count >= 0
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
def _curvature(a: Float, give: Float, free: Rows, count: int, h: Float) -> None:
    """The dual's curvature over free rows, in the lower triangle of ``h``."""
    for i in range(count):
        h[i, : i + 1] = 0.0
        h[i, i] = RIDGE
    for c in range(len(a)):
        if give[c] > 0.0:
            for i in range(count):
                g = give[c] * a[c, free[i]]
                if g != 0.0:
                    for k in range(i + 1):
                        h[i, k] += g * a[c, free[k]]


@compiled
def _factor(h: Float, count: int) -> None:
    """Cholesky factor, in place of the lower triangle."""
    for i in range(count):
        for k in range(i):
            s = h[i, k]
            for q in range(k):
                s -= h[i, q] * h[k, q]
            h[i, k] = s / h[k, k]
        s = h[i, i]
        for q in range(i):
            s -= h[i, q] * h[i, q]
        h[i, i] = np.sqrt(max(s, 0.1 * RIDGE))


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
    most: float, flat: float, price: Float, step: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> float:  # fmt: skip
    """How far along a step the dual rises, at most ``most``; by false position on its falling slope."""
    a, fa = 0.0, _slope(0.0, price, step, column, ease, anchor, low, high) - flat
    if fa <= 0.0:
        return 0.0
    b = min(1.0, most)
    fb = _slope(b, price, step, column, ease, anchor, low, high) - flat
    while fb > 0.0 and b < most:
        a, fa = b, fb
        b = min(4.0 * b, most)
        fb = _slope(b, price, step, column, ease, anchor, low, high) - flat
    if fb >= 0.0:
        return b
    start, side = fa, 0
    for _ in range(SEARCH):
        t = (a * fb - b * fa) / (fb - fa)
        ft = _slope(t, price, step, column, ease, anchor, low, high) - flat
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
    y: Float, act: Float, room: Float, wall: Float, cap: float, top: float,
    slope: Float, upper: Float, lower: Float, free: Rows,
) -> int:  # fmt: skip
    """Slope and reach of each price on its present piece; the rows that may move, and how many."""
    count = 0
    for r in range(len(y)):
        if y[r] < cap or (y[r] == cap and act[r] < room[r]):
            lower[r], upper[r], slope[r] = 0.0, cap, act[r] - room[r]
        else:
            lower[r], upper[r], slope[r] = cap, top, act[r] - wall[r]
        if (y[r] > lower[r] or slope[r] > 0.0) and (y[r] < upper[r] or slope[r] < 0.0):
            free[count] = r
            count += 1
    return count


@compiled
def _direction(
    a: Float, give: Float, y: Float, slope: Float, lower: Float, upper: Float,
    free: Rows, count: int, h: Float, d: Float,
) -> int:  # fmt: skip
    """Newton's direction over the free rows without those it would push out; how many are left."""
    while count > 0:
        _curvature(a, give, free, count, h)
        _factor(h, count)
        for i in range(count):
            d[i] = slope[free[i]]
        _back(h, count, d)
        kept = 0
        for i in range(count):
            r = free[i]
            if not ((y[r] == lower[r] and d[i] < 0.0) or (y[r] == upper[r] and d[i] > 0.0)):
                free[kept] = r
                kept += 1
        if kept == count:
            break
        count = kept
    return count


@compiled
def _dual(
    a: Float, room: Float, wall: Float, cap: float, y: Float, price: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> float:  # fmt: skip
    """Value of the dual at ``y``; the columns' prices are left in ``price``."""
    price[:] = 0.0
    for c in range(len(a)):
        for r in range(len(y)):
            price[c] += a[c, r] * y[r]
    found = 0.0
    for r in range(len(y)):
        found -= room[r] * min(y[r], cap) + (wall[r] * (y[r] - cap) if y[r] > cap else 0.0)
    for j in range(len(column)):
        p = price[column[j]]
        x = min(max(anchor[j] - ease[j] * p, low[j]), high[j])
        found += 0.5 * (x - anchor[j]) ** 2 / ease[j] + p * x
    return found


@compiled
def _along(
    a: Float, y: Float, act: Float, slope: Float, upper: Float, lower: Float, free: Rows, many: int, d: Float,
    price: Float, step: Float, column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> bool:  # fmt: skip
    """Go along a direction while the dual rises and no price leaves its piece; whether that was anywhere."""
    most, flat = np.inf, 0.0
    step[:] = 0.0
    for i in range(many):
        r = free[i]
        edge = upper[r] if d[i] > 0.0 else lower[r]
        if d[i] != 0.0:
            most = min(most, (edge - y[r]) / d[i])
        flat += d[i] * (act[r] - slope[r])
        for c in range(len(a)):
            step[c] += d[i] * a[c, r]
    t = _length(most, flat, price, step, column, ease, anchor, low, high)
    for i in range(many):
        r = free[i]
        edge = upper[r] if d[i] > 0.0 else lower[r]
        y[r] = min(max(y[r] + t * d[i], lower[r]), upper[r])
        if t == most and d[i] != 0.0 and abs(edge - y[r]) <= 1e-14 * (abs(edge) + abs(y[r])):
            y[r] = edge
    return t > 0.0


@compiled
def _clipped(
    a: Float, room: Float, wall: Float, cap: float, y: Float, slope: Float, upper: Float, lower: Float,
    free: Rows, many: int, d: Float, price: Float, tried: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
) -> bool:  # fmt: skip
    """Take a whole step, each price stopped at the end of its piece, if the dual rises; whether it did."""
    tried[:] = y
    risen = 0.0
    for i in range(many):
        r = free[i]
        tried[r] = min(max(y[r] + d[i], lower[r]), upper[r])
        risen += slope[r] * (tried[r] - y[r])
    if risen <= 0.0:
        return False
    value = _dual(a, room, wall, cap, y, price, column, ease, anchor, low, high)
    if _dual(a, room, wall, cap, tried, price, column, ease, anchor, low, high) - value < ENOUGH * risen:
        return False
    y[:] = tried
    return True


@compiled
def _climb(
    a: Float, room: Float, wall: Float, cap: float, top: float, y: Float,
    column: Rows, ease: Float, anchor: Float, low: Float, high: Float,
    x: Float, total: Float, enough: float, ended: float, most: int,
) -> int:  # fmt: skip
    """Climb the dual over a few rows ``a`` (C, k) of unit effect, from ``y`` in place; ``x`` is its answer.

    Returns:
        Steps taken; negative where they ran out or led nowhere.
    """
    columns, k = a.shape
    give, price, step = np.empty(columns), np.empty(columns), np.empty(columns)
    act, slope, upper, lower = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    free, d, h, tried = np.empty(k, dtype=np.int32), np.empty(k), np.empty((k, k)), np.empty(k)
    for count in range(most):
        _dual(a, room, wall, cap, y, price, column, ease, anchor, low, high)
        _respond(price, column, ease, anchor, low, high, x, total, give)
        act[:] = 0.0
        for c in range(columns):
            for r in range(k):
                act[r] += a[c, r] * total[c]
        many = _judged(y, act, room, wall, cap, top, slope, upper, lower, free)
        worst, at = 0.0, 0
        for i in range(many):
            if abs(slope[free[i]]) > worst:
                worst, at = abs(slope[free[i]]), free[i]
        if worst <= enough:
            return count
        many = _direction(a, give, y, slope, lower, upper, free, many, h, d)
        if _clipped(
            a, room, wall, cap, y, slope, upper, lower, free, many, d, step, tried,
            column, ease, anchor, low, high,
        ) or _along(
            a, y, act, slope, upper, lower, free, many, d, price, step, column, ease, anchor, low, high
        ):  # fmt: skip
            continue
        # Rounding between twin rows may leave Newton's direction nowhere to go: the steepest row always has.
        free[0], d[0] = at, slope[at]
        if not _along(
            a, y, act, slope, upper, lower, free, 1, d, price, step, column, ease, anchor, low, high
        ):
            return count if worst <= ended else -count - 1
    return -most - 1
