"""Control states per lane: the tail's own factor for every distinct change of its admittances.

Regulator and capacitor nodes stand last in the elimination, so a tap changes only the Schur complement
that is left there. For each distinct state, ``S + ΔY`` is factored in float64 on the tail's pattern by a
list of block products made once, and the constant part of its answer, ``h = −(S + ΔY)⁻¹·ΔY·v̄``, is
solved there too: it is large, and only what the ports add to it is left to the lanes. A state whose
factor, rounded to the lanes' precision, does not give back a known answer has none: its numbers are NaN,
and so are the lanes that use it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridflock.grid.lanes._circuit import Complex, Float
from gridflock.grid.lanes._compiled import exact
from gridflock.grid.lanes._ldu import Block, Blocks
from gridflock.grid.lanes._order import Order
from gridflock.grid.lanes._plan import Reals
from gridflock.grid.lanes._point import Point
from gridflock.units import Rows

FACTOR_LIMIT = 1e-3
"""Largest error, relative to the voltage, with which a rounded factor may give back a known answer."""
UNCOUPLED = "a state changes an admittance between tail nodes that nothing couples"
GOLDEN_ANGLE = 2.4
"""Radian from node to node in the known answer: no two nodes move together."""


class Elimination(NamedTuple):
    """The tail's pattern: entries are T diagonals, then the lower ones by rows, then the upper ones.

    Attributes:
        place: (E,) element of a (T, T) square in the order in which the tail was given.
        row: (E,) position in the tail.
        column: (E,) position in the tail.
        lower_start: (T+1,) lower entries by rows, counted from the first of them.
        upper_start: (T+1,) upper entries by rows, counted from the first of them.
        product_start: (T+1,) products by pivot.
        product: (…, 3) entry that changes, lower entry, upper entry.
    """

    place: Rows
    row: Rows
    column: Rows
    lower_start: Rows
    upper_start: Rows
    product_start: Rows
    product: Rows


class _Base(NamedTuple):
    """What the tail is at the base point.

    Attributes:
        blocks: (E, 4) Schur complement by entries.
        v: complex (T,) voltages.
        known: complex (T,) an answer to solve for: as long as the voltages, turned apart.
        change: complex (E,) admittances already in it, counted as those of the states.
    """

    blocks: Blocks
    v: Complex
    known: Complex
    change: Complex


def elimination(o: Order, tail: Rows) -> Elimination:
    """List what eliminating the tail takes, once per order."""
    size, first = len(tail), o.loop
    upper_start = (o.upper_start[first:] - o.upper_start[first]).astype(np.int32)
    upper = o.upper[o.upper_start[first] :] - first
    near = np.flatnonzero(o.lower >= first)
    lower_row = np.repeat(np.arange(len(o.node)), np.diff(o.lower_start))[near] - first
    lower_start = np.searchsorted(lower_row, np.arange(size + 1)).astype(np.int32)
    own = np.arange(size)
    row = np.concatenate([own, lower_row, np.repeat(own, np.diff(upper_start))])
    column = np.concatenate([own, o.lower[near] - first, upper])
    at = {(int(i), int(j)): e for e, (i, j) in enumerate(zip(row, column, strict=True))}
    products, starts = [], [0]
    for pivot in range(size):
        later = upper[upper_start[pivot] : upper_start[pivot + 1]].tolist()
        products += [(at[i, j], at[i, pivot], at[pivot, j]) for i in later for j in later]
        starts.append(len(products))
    given = np.argsort(o.position[tail])
    return Elimination(
        (given[row] * size + given[column]).astype(np.int32),
        row.astype(np.int32),
        column.astype(np.int32),
        lower_start,
        upper_start,
        np.array(starts, dtype=np.int32),
        np.array(products, dtype=np.int32).reshape(-1, 3),
    )


def entries(steps: Elimination, delta_y: Complex) -> Complex:
    """Complex (states, E) of complex (states, T, T) changes of Y between the tail's nodes, S.

    Raises:
        ValueError: a change between two nodes that the network does not couple.
    """
    flat = np.ascontiguousarray(delta_y, dtype=np.complex128).reshape(len(delta_y), -1)
    found = np.empty((len(flat), len(steps.place)), dtype=np.complex128)
    if not _take(flat, steps.place, found):
        raise ValueError(UNCOUPLED)
    return found


def square(steps: Elimination, change: Complex) -> Complex:
    """Complex (T, T) of complex (E,): the reverse of ``entries``."""
    size = len(steps.lower_start) - 1
    flat = np.zeros(size * size, dtype=np.complex128)
    flat[steps.place] = change
    return flat.reshape(size, size)


def tail_values(
    base: Point, steps: Elimination, change: tuple[Complex, Complex], values: Reals, rows: Rows
) -> None:
    """Factor the tail at some control states.

    Args:
        base: the point the lanes are solved around.
        steps: of its order.
        change: complex (states, E) and, where the base point stands, (E,), by entries, S.
        values: (states, 4·E + 2·T) D⁻¹, lower blocks times D⁻¹, upper blocks and h, in the lanes'
            precision; filled in, with NaN where a state's factor is no good.
        rows: states to factor.
    """
    o, size = base.factor.order, len(steps.lower_start) - 1
    left = base.factor.tail.reshape(-1, 4)[steps.row * size + steps.column]
    v = base.v[o.node[o.loop :]]
    known = v * np.exp(1j * GOLDEN_ANGLE * np.arange(size))
    _factor(_Base(left, v, known, change[1]), steps, change[0], values, rows)


@exact
def _take(flat: Complex, place: Rows, found: Complex) -> bool:
    """Pick the entries; False where something lies beside them."""
    missed = 0
    for k in range(len(flat)):
        for e in range(flat.shape[1]):
            missed += flat[k, e] != 0.0
        for e in range(len(place)):
            found[k, e] = flat[k, place[e]]
            missed -= found[k, e] != 0.0
    return missed == 0


@exact
def _factor(base: _Base, steps: Elimination, change: Complex, values: Reals, rows: Rows) -> None:
    size = len(base.v)
    a = np.empty((len(steps.place), 4))
    x = np.empty((size, 2))
    right = np.empty((size, 2))
    for k in rows:
        delta = change[k] - base.change
        for e in range(len(a)):
            y = delta[e]
            a[e, 0], a[e, 1] = base.blocks[e, 0] + y.real, base.blocks[e, 1] - y.imag
            a[e, 2], a[e, 3] = base.blocks[e, 2] + y.imag, base.blocks[e, 3] + y.real
        _known(base, steps, a, right)
        _eliminate(steps, a)
        _offset(base, steps, delta, x)
        _substitute(steps, a, x)
        own = values[k]
        for e in range(len(a)):
            for part in range(4):
                own[4 * e + part] = a[e, part]
        for t in range(size):
            own[4 * len(a) + 2 * t], own[4 * len(a) + 2 * t + 1] = x[t, 0], x[t, 1]
        if not _gives_back(base, steps, own[: 4 * len(a)].reshape(-1, 4), right):
            own[:] = np.nan


@exact
def _known(base: _Base, steps: Elimination, a: Blocks, right: Float) -> None:
    """Right side whose solution is known."""
    right[:] = 0.0
    for e in range(len(a)):
        x = base.known[steps.column[e]]
        right[steps.row[e], 0] += a[e, 0] * x.real + a[e, 1] * x.imag
        right[steps.row[e], 1] += a[e, 2] * x.real + a[e, 3] * x.imag


@exact
def _gives_back(base: _Base, steps: Elimination, rounded: Reals, x: Float) -> bool:
    """Whether (E, 4) numbers rounded to the lanes' precision solve for the known answer; uses ``x`` up."""
    _substitute(steps, rounded, x)
    good = True
    for t in range(len(x)):
        error = abs(complex(x[t, 0], x[t, 1]) - base.known[t])
        good &= error <= FACTOR_LIMIT * abs(base.v[t])
    return good


@exact
def _offset(base: _Base, steps: Elimination, change: Complex, x: Float) -> None:
    """Right side of h: −ΔY·v̄."""
    x[:] = 0.0
    for e in range(len(change)):
        drawn = change[e] * base.v[steps.column[e]]
        x[steps.row[e], 0] -= drawn.real
        x[steps.row[e], 1] -= drawn.imag


@exact
def _eliminate(steps: Elimination, a: Blocks) -> None:
    """In place: diagonals become D⁻¹, lower entries D⁻¹·G of their row, upper entries U."""
    size = len(steps.lower_start) - 1
    lower, upper = size, size + steps.lower_start[size]
    for q in range(size):
        w = a[q]
        scale = 1.0 / (w[0] * w[3] - w[1] * w[2])
        w[0], w[1], w[2], w[3] = w[3] * scale, -w[1] * scale, -w[2] * scale, w[0] * scale
        for e in range(lower + steps.lower_start[q], lower + steps.lower_start[q + 1]):
            _set(a, e, _product(a, q, e))
        for e in range(upper + steps.upper_start[q], upper + steps.upper_start[q + 1]):
            _set(a, e, _product(a, q, e))
        for k in range(steps.product_start[q], steps.product_start[q + 1]):
            e = steps.product[k, 0]
            b = _product(a, steps.product[k, 1], steps.product[k, 2])
            a[e, 0] -= b[0]
            a[e, 1] -= b[1]
            a[e, 2] -= b[2]
            a[e, 3] -= b[3]


@exact
def _product(a: Blocks, i: int, j: int) -> Block:
    return (
        a[i, 0] * a[j, 0] + a[i, 1] * a[j, 2],
        a[i, 0] * a[j, 1] + a[i, 1] * a[j, 3],
        a[i, 2] * a[j, 0] + a[i, 3] * a[j, 2],
        a[i, 2] * a[j, 1] + a[i, 3] * a[j, 3],
    )


@exact
def _set(a: Blocks, e: int, b: Block) -> None:
    a[e, 0], a[e, 1], a[e, 2], a[e, 3] = b


@exact
def _substitute(steps: Elimination, a: Reals, x: Float) -> None:
    """Solve for one right side (T, 2), in place, by what ``_eliminate`` leaves."""
    size = len(x)
    lower, upper = size, size + steps.lower_start[size]
    for t in range(size):
        re = a[t, 0] * x[t, 0] + a[t, 1] * x[t, 1]
        im = a[t, 2] * x[t, 0] + a[t, 3] * x[t, 1]
        for e in range(lower + steps.lower_start[t], lower + steps.lower_start[t + 1]):
            r = steps.column[e]
            re -= a[e, 0] * x[r, 0] + a[e, 1] * x[r, 1]
            im -= a[e, 2] * x[r, 0] + a[e, 3] * x[r, 1]
        x[t, 0], x[t, 1] = re, im
    for t in range(size - 1, -1, -1):
        for e in range(upper + steps.upper_start[t], upper + steps.upper_start[t + 1]):
            r = steps.column[e]
            x[t, 0] -= a[e, 0] * x[r, 0] + a[e, 1] * x[r, 1]
            x[t, 1] -= a[e, 2] * x[r, 0] + a[e, 3] * x[r, 1]
