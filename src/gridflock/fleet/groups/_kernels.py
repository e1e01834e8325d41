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
_Line = NDArray[np.float64]
_Column = NDArray[np.floating[Any]]


def compiled(function: Any) -> Any:  # noqa: ANN401  # the compiler's decorator is untyped
    """Translate on first use, keep the translation on disk, let other threads run meanwhile."""
    return njit(cache=True, nogil=True)(function)


@compiled
def _known(value: Any, nothing: Any) -> Any:  # noqa: ANN401  # a number of the column's type
    return value if value == value else nothing  # noqa: PLR0124  # the definition of NaN


@compiled
def add_five(
    a: _Column,
    b: _Column,
    c: _Column,
    d: _Column,
    e: _Column,
    slot: Rows,
    sums: _Line,
    width: int,
    first: int,
) -> None:
    """Add five columns, absent values (NaN) left out, to the slots of their rows.

    Args:
        a: first column; the other four follow, of the same type.
        b: second.
        c: third.
        d: fourth.
        e: fifth.
        slot: of each row.
        sums: the table of sums, slot by slot; unsigned places in it spare the loop all checks.
        width: columns of the table.
        first: where in a slot the five sums begin.
    """
    nothing = a.dtype.type(0)
    wide, start = np.uint64(width), np.uint64(first)
    for i in range(slot.shape[0]):
        k = np.uint64(slot[i]) * wide + start
        v, w, x = _known(a[i], nothing), _known(b[i], nothing), _known(c[i], nothing)
        y, z = _known(d[i], nothing), _known(e[i], nothing)
        # All loads before all stores: the sums then become vector operations.
        p, q, r = sums[k] + v, sums[k + np.uint64(1)] + w, sums[k + np.uint64(2)] + x
        s, t = sums[k + np.uint64(3)] + y, sums[k + np.uint64(4)] + z
        sums[k], sums[k + np.uint64(1)], sums[k + np.uint64(2)] = p, q, r
        sums[k + np.uint64(3)], sums[k + np.uint64(4)] = s, t


@compiled
def add_one(a: _Column, slot: Rows, sums: _Line, width: int, at: int) -> None:
    """Add one column, absent values left out, to place ``at`` of the slots of its rows."""
    nothing = a.dtype.type(0)
    wide, start = np.uint64(width), np.uint64(at)
    for i in range(slot.shape[0]):
        sums[np.uint64(slot[i]) * wide + start] += _known(a[i], nothing)


@compiled
def count_one(a: _Column, slot: Rows, sums: _Line, width: int, at: int) -> None:
    """Count at place ``at`` of the slots the rows that have a value."""
    wide, start = np.uint64(width), np.uint64(at)
    for i in range(slot.shape[0]):
        sums[np.uint64(slot[i]) * wide + start] += a[i] == a[i]  # NaN is not


@compiled
def lower_one(a: _Column, slot: Rows, lowest: _Line, width: int, at: int) -> None:
    """Let place ``at`` of the slots fall to the lowest value of their rows; NaN lowers nothing."""
    wide, start = np.uint64(width), np.uint64(at)
    for i in range(slot.shape[0]):
        k, v = np.uint64(slot[i]) * wide + start, a[i]
        low = lowest[k]
        lowest[k] = v if v < low else low  # noqa: FURB136  # min() could hand NaN on


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
def shift(row: Rows, delta: Table, slot: Rows, sums: Table) -> None:
    """Add the changes of single rows, (rows, k), to their slots."""
    for i in range(row.shape[0]):
        k = np.uint32(slot[row[i]])
        for j in range(delta.shape[1]):
            sums[k, j] += delta[i, j]


@compiled
def differences(before: NDArray[Any], after: NDArray[Any]) -> Table:
    """What (k, m) values changed by, (m, k); absent values count as zero."""
    delta = np.empty((before.shape[1], before.shape[0]))
    for j in range(before.shape[0]):
        for i in range(before.shape[1]):
            delta[i, j] = np.float64(_known(after[j, i], 0)) - np.float64(_known(before[j, i], 0))
    return delta
