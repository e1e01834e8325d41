"""Elimination order of a nodal matrix and the pattern of its factors.

First the nodes without injection leave, as long as that adds no more couplings than it removes: in
delta form their right side is zero, so they are outside the iteration. The rest follows by minimum
degree (Tinney & Walker, "Direct solutions of sparse network equations by optimally ordered
triangular factorization", Proc. IEEE 55(11), 1967, scheme 2), the tail last. The neighbours a node
has when it leaves are its row of the upper factor, so no separate symbolic step is needed.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._compiled import exact
from gridflock.units import Mask, Rows

FREE, INJECTING, TAIL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Positions of the nodes in the elimination and the pattern of the factors.

    Attributes:
        node: (n,) node at each position.
        position: (n,) position of each node.
        quiet: how many positions from the front hold nodes without injection.
        loop: position at which the tail begins.
        upper_start: (n+1,) where each position's row of the upper factor starts.
        upper: positions it couples to, all later, ascending.
        lower_start: (n+1,) the same by rows of the lower factor.
        lower: positions, all earlier, ascending.
        lower_to_upper: entry of ``upper`` that mirrors each entry of ``lower``.
    """

    node: Rows
    position: Rows
    quiet: int
    loop: int
    upper_start: Rows
    upper: Rows
    lower_start: Rows
    lower: Rows
    lower_to_upper: Rows


def order(start: Rows, column: Rows, injecting: Mask, tail: Rows) -> Order:
    """Order the nodes of a symmetric pattern.

    Args:
        start: (n+1,) CSR row starts of the pattern.
        column: (nnz,) CSR columns; the diagonal may be there.
        injecting: (n,) nodes at which a port stands.
        tail: nodes kept for the end.
    """
    n = len(start) - 1
    kind = np.where(injecting, INJECTING, FREE).astype(np.uint8)
    kind[tail] = TAIL
    room = 16
    while True:
        node, upper_start, upper, quiet, enough = _eliminate(start, column, kind, room)
        if enough:
            break
        room *= 2
    position = np.empty(n, dtype=np.int32)
    position[node] = np.arange(n, dtype=np.int32)
    upper = _in_positions(upper_start, upper, position)
    row = np.repeat(np.arange(n, dtype=np.int32), np.diff(upper_start))
    mirror = np.lexsort((row, upper)).astype(np.int32)
    lower_start = np.zeros(n + 1, dtype=np.int32)
    lower_start[1:] = np.cumsum(np.bincount(upper, minlength=n))
    return Order(node, position, quiet, n - len(tail), upper_start, upper, lower_start, row[mirror], mirror)


def _in_positions(start: Rows, upper: Rows, position: Rows) -> Rows:
    """Columns as positions, ascending within each row."""
    row = np.repeat(np.arange(len(start) - 1), np.diff(start))
    where = position[upper]
    inside: Rows = where[np.lexsort((where, row))]
    return inside


@exact
def _neighbours(start: Rows, column: Rows, room: int) -> tuple[NDArray[np.int32], Rows, bool]:
    n = len(start) - 1
    near = np.empty((n, room), dtype=np.int32)
    degree = np.zeros(n, dtype=np.int32)
    for a in range(n):
        for e in range(start[a], start[a + 1]):
            b = column[e]
            if a != b:
                if degree[a] == room:
                    return near, degree, False
                near[a, degree[a]] = b
                degree[a] += 1
    return near, degree, True


@exact
def _coupled(near: NDArray[np.int32], degree: Rows, a: int, b: int) -> bool:
    found = False
    for k in range(degree[a]):
        found |= near[a, k] == b
    return found


@exact
def _fill(near: NDArray[np.int32], degree: Rows, a: int) -> int:
    """Couplings that eliminating ``a`` would add."""
    added = 0
    for i in range(degree[a]):
        for j in range(i):
            if not _coupled(near, degree, near[a, i], near[a, j]):
                added += 1
    return added


@exact
def _leave(near: NDArray[np.int32], degree: Rows, a: int) -> bool:
    """Take ``a`` out and couple its neighbours; False if a row has no room."""
    room = near.shape[1]
    for i in range(degree[a]):
        b = near[a, i]
        kept = 0
        for k in range(degree[b]):
            if near[b, k] != a:
                near[b, kept] = near[b, k]
                kept += 1
        degree[b] = kept
    for i in range(degree[a]):
        b = near[a, i]
        for j in range(degree[a]):
            c = near[a, j]
            if c != b and not _coupled(near, degree, b, c):
                if degree[b] == room:
                    return False
                near[b, degree[b]] = c
                degree[b] += 1
    return True


@exact
def _eliminate(
    start: Rows, column: Rows, kind: NDArray[np.uint8], room: int
) -> tuple[Rows, Rows, Rows, int, bool]:
    n = len(start) - 1
    node = np.empty(n, dtype=np.int32)
    upper_start = np.zeros(n + 1, dtype=np.int32)
    upper = np.empty(n * room, dtype=np.int32)
    near, degree, enough = _neighbours(start, column, room)
    gone = np.zeros(n, dtype=np.bool_)
    done = 0
    quiet = 0
    for phase in range(3):
        waiting = [
            np.int64(degree[a]) << 32 | a for a in range(n) if not gone[a] and _may_leave(kind[a], phase)
        ]
        heapq.heapify(waiting)
        while enough and len(waiting) > 0:
            key = heapq.heappop(waiting)
            a = int(key & 0xFFFFFFFF)
            if gone[a] or key >> 32 != degree[a]:
                continue
            if phase == 0 and _fill(near, degree, a) > degree[a]:
                continue
            gone[a] = True
            node[done] = a
            upper[upper_start[done] : upper_start[done] + degree[a]] = near[a, : degree[a]]
            upper_start[done + 1] = upper_start[done] + degree[a]
            done += 1
            enough = _leave(near, degree, a)
            for i in range(degree[a]):
                b = near[a, i]
                if _may_leave(kind[b], phase):
                    heapq.heappush(waiting, np.int64(degree[b]) << 32 | b)
        if phase == 0:
            quiet = done
    return node, upper_start, upper[: upper_start[done]].copy(), quiet, enough


@exact
def _may_leave(kind: int, phase: int) -> bool:
    return kind <= phase
