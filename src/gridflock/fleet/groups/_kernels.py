"""Compiled loops over rows and groups; plain arrays in and out.

A *slot* is a line of the table of sums, one per group or part. Rows in no group of a level lead to the
last slot, which nobody reads, so that the loops have no branch per row. Sums are float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.units import Codes, Rows

Table = NDArray[np.float64]
_Column = NDArray[np.floating[Any]]


def compiled(function: Any) -> Any:  # noqa: ANN401  # the compiler's decorator is untyped
    """Translate on first use, keep the translation on disk, let other threads run meanwhile."""
    return njit(cache=True, nogil=True)(function)


@compiled
def add_four(a: _Column, b: _Column, c: _Column, d: _Column, slot: Rows, sums: Table, first: int) -> None:
    """Add four columns, absent values (NaN) left out, to columns ``first`` … of the slots of their rows."""
    nothing = a.dtype.type(0)
    for i in range(slot.shape[0]):
        k = np.uint32(slot[i])
        w, x, y, z = a[i], b[i], c[i], d[i]
        w = w if w == w else nothing  # noqa: PLR0124  # the definition of NaN
        x = x if x == x else nothing  # noqa: PLR0124  # the definition of NaN
        y = y if y == y else nothing  # noqa: PLR0124  # the definition of NaN
        z = z if z == z else nothing  # noqa: PLR0124  # the definition of NaN
        # All loads before all stores: the four sums become one vector operation.
        s, t = sums[k, first] + w, sums[k, first + 1] + x
        u, v = sums[k, first + 2] + y, sums[k, first + 3] + z
        sums[k, first], sums[k, first + 1] = s, t
        sums[k, first + 2], sums[k, first + 3] = u, v


@compiled
def add_one(a: _Column, slot: Rows, sums: Table, at: int) -> None:
    """Add one column, absent values left out, to column ``at`` of the slots of its rows."""
    nothing = a.dtype.type(0)
    for i in range(slot.shape[0]):
        w = a[i]
        sums[np.uint32(slot[i]), at] += w if w == w else nothing  # noqa: PLR0124  # the definition of NaN


@compiled
def lower_one(a: _Column, slot: Rows, lowest: Table, at: int) -> None:
    """Let column ``at`` of the slots fall to the lowest value of their rows; NaN lowers nothing."""
    for i in range(slot.shape[0]):
        k = np.uint32(slot[i])
        if a[i] < lowest[k, at]:  # noqa: PLR1730  # min() could hand NaN on
            lowest[k, at] = a[i]


@compiled
def add_keyed(weight: _Column, key: Codes, slot: Rows, sums: Table) -> None:
    """Add each row's weight to the column of its key."""
    for i in range(slot.shape[0]):
        sums[np.uint32(slot[i]), key[i]] += weight[i]


@compiled
def add_up(first: int, parent: Rows, sums: Table) -> None:
    """Add the slots ``first`` … to the slots of their parents."""
    for i in range(parent.shape[0]):
        k = np.uint32(parent[i])
        for j in range(sums.shape[1]):
            sums[k, j] += sums[first + i, j]


@compiled
def lower_up(first: int, parent: Rows, lowest: Table) -> None:
    """Let the slots of the parents fall to those of ``first`` …."""
    for i in range(parent.shape[0]):
        k = np.uint32(parent[i])
        for j in range(lowest.shape[1]):
            lowest[k, j] = min(lowest[k, j], lowest[first + i, j])


@compiled
def add_listed(target: Rows, start: NDArray[np.int64], source: Rows, sums: Table) -> None:
    """Make each target slot the sum of its listed slots."""
    for i in range(target.shape[0]):
        for j in range(sums.shape[1]):
            sums[target[i], j] = 0.0
        for at in range(start[i], start[i + 1]):
            for j in range(sums.shape[1]):
                sums[target[i], j] += sums[source[at], j]


@compiled
def lower_listed(target: Rows, start: NDArray[np.int64], source: Rows, lowest: Table) -> None:
    """Make each target slot the lowest of its listed slots."""
    for i in range(target.shape[0]):
        for j in range(lowest.shape[1]):
            lowest[target[i], j] = np.inf
        for at in range(start[i], start[i + 1]):
            for j in range(lowest.shape[1]):
                lowest[target[i], j] = min(lowest[target[i], j], lowest[source[at], j])


@compiled
def sorted_by(code: Rows, count: int) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of each code 0 … count - 1, ascending, one after another, and where each code's begin."""
    start = np.zeros(count + 1, dtype=np.int64)
    for i in range(code.shape[0]):
        if code[i] >= 0:
            start[code[i] + 1] += 1
    for k in range(count):
        start[k + 1] += start[k]
    place = start[:-1].copy()
    order = np.empty(start[count], dtype=np.int32)
    for i in range(code.shape[0]):
        if code[i] >= 0:
            order[place[code[i]]] = i
            place[code[i]] += 1
    return order, start


@compiled
def parents_of(fine: Rows, coarse: Rows, count: int) -> tuple[Rows, int]:
    """Coarse code of each fine code where its rows agree in it.

    Returns:
        (count,) coarse codes, -1 for none, -2 where a fine code's rows differ; and how many rows are in
        a coarse group but in no fine one.
    """
    unseen = -3
    parent = np.full(count, unseen, dtype=np.int32)
    outside = 0
    for i in range(fine.shape[0]):
        k = fine[i]
        if k < 0:
            outside += coarse[i] >= 0
        elif parent[k] == unseen:
            parent[k] = coarse[i]
        elif parent[k] != coarse[i]:
            parent[k] = -2
    for k in range(count):
        if parent[k] == unseen:
            parent[k] = -1
    return parent, outside


@compiled
def whole_codes(rows: Rows, code: Rows, size: NDArray[np.int64], seen: Rows, stamp: int) -> int:
    """How many codes the rows consist of; -1 where they are not the whole of some codes.

    Args:
        rows: each once.
        code: (n,) code of each row, -1 for none.
        size: how many rows have each code.
        seen: scratch, one per code, never yet holding ``stamp``.
        stamp: any new number.
    """
    covered, count = 0, 0
    for i in range(rows.shape[0]):
        k = code[rows[i]]
        if k < 0:
            return -1
        if seen[k] != stamp:
            seen[k] = stamp
            count += 1
            covered += size[k]
            if covered > rows.shape[0]:
                return -1
    return count


@compiled
def refined(rows: Rows, part: Rows, size: Rows, hits: Rows, fresh: Rows, count: int) -> int:
    """Tell the parts of a partition that lie within some rows from those that do not.

    Args:
        rows: each once.
        part: (n,) part of each row; changed in place where a part is cut in two.
        size: rows of each part, room for n + 1 parts; changed in place.
        hits: scratch of zeros, as large; zeros again afterwards.
        fresh: scratch of -1, as large; -1 again afterwards.
        count: how many parts there are.

    Returns:
        How many parts there are now.
    """
    for i in range(rows.shape[0]):
        hits[part[rows[i]]] += 1
    before = count
    origin = np.empty(rows.shape[0], dtype=np.int32)
    for i in range(rows.shape[0]):
        old = part[rows[i]]
        if hits[old] < size[old]:
            if fresh[old] < 0:
                fresh[old] = count
                origin[count - before] = old
                size[count] = hits[old]
                count += 1
            part[rows[i]] = fresh[old]
    for k in range(before, count):
        old = origin[k - before]
        size[old] -= hits[old]
        fresh[old] = -1
        hits[old] = 0
    for i in range(rows.shape[0]):
        hits[part[rows[i]]] = 0
    return count


@compiled
def shift_level(row: Rows, delta: Table, slot: Rows, sums: Table) -> None:
    """Add changes of single rows, (rows, k), to their slots."""
    for i in range(row.shape[0]):
        k = np.uint32(slot[row[i]])
        for j in range(delta.shape[1]):
            sums[k, j] += delta[i, j]
