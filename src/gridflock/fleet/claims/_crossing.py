"""Bodies that cross: whether all their needs can be met together, by a flow of whole watts.

Needs of bodies flow to the regions into which the bodies part each other; what lies inside one region only
narrows it. All needs can be met if and only if no set of them is larger than what its rows have together
(Hall 1935; Gale 1957), and if they cannot, the cut of the flow is such a set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gridflock.fleet.claims._bodies import Body
from gridflock.fleet.groups import parted
from gridflock.units import Mask, Rows

Watts = NDArray[np.int64]


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    return cast("_Function", njit(cache=True, nogil=True)(function))


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Rows of some bodies, parted by the set of these that they are in.

    Attributes:
        rows: all rows, ascending.
        region: region of each.
        holds: (K, P) 1.0 where a region belongs to a body.
        size: (3, P) W up, W down and Wh.
    """

    rows: Rows
    region: Rows
    holds: csr_array
    size: Watts

    @classmethod
    def of(cls, bodies: Sequence[Body], watts: Watts) -> Regions:
        """The regions of some bodies."""
        held = np.zeros(watts.shape[1], dtype=np.bool_)
        for body in bodies:
            held[body.rows] = True
        rows = np.flatnonzero(held).astype(np.int32)
        place = np.empty(watts.shape[1], dtype=np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        parts = parted({str(k): place[body.rows] for k, body in enumerate(bodies)}, len(rows))
        size = np.zeros((len(watts), len(parts.rows)), dtype=np.int64)
        for quantity in range(len(watts)):
            np.add.at(size[quantity], parts.part, watts[quantity, rows])
        return cls(rows, parts.part, parts.holds, size)

    def region_of(self, row: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Region of each row; -1 of those in none."""
        place = np.minimum(np.searchsorted(self.rows, row), len(self.rows) - 1)
        found: NDArray[np.int32] = np.where(self.rows[place] == row, self.region[place], -1)
        return found


class Arcs(NamedTuple):
    """Which needs can be served by which regions, both ways; the last need is the one asked about.

    Attributes:
        start: (K+1,) first arc of each need.
        region: (E,) where an arc ends.
        need: (E,) where it begins.
        back_start: (P+1,) first place of each region in ``back``.
        back: (E,) arcs by region.
    """

    start: Watts
    region: Watts
    need: Watts
    back_start: Watts
    back: Watts


def arcs_of(holds: csr_array, asked: NDArray[np.integer[Any]]) -> Arcs:
    """Arcs of needs on bodies, and of one more need.

    Args:
        holds: (K, P) regions of each body.
        asked: regions of the one more.
    """
    count, regions = holds.shape
    start = np.append(holds.indptr, holds.indptr[-1] + len(asked)).astype(np.int64)
    region = np.append(holds.indices, asked).astype(np.int64)
    need = np.repeat(np.arange(count + 1), np.diff(start))
    back = np.argsort(region, kind="stable")
    back_start = np.searchsorted(region[back], np.arange(regions + 1))
    return Arcs(start, region, need, back_start, back)


def room_beside(arcs: Arcs, room: Watts, need: Watts) -> tuple[int, Mask, Mask]:
    """How much the last need can have beside the others, which must be met.

    Args:
        arcs: who can be served where.
        room: (P,) what each region has, >= 0.
        need: (K,) the others.

    Returns:
        Room (what is missing, negative, where the others cannot be met by themselves), and the needs
        (K,) and regions (P,) of a set that has no more.
    """
    left = np.append(need, 0)
    room_left = room.copy()
    flow = np.zeros(len(arcs.region), dtype=np.int64)
    _serve(arcs, left, room_left, flow)
    missing = int(left.sum())
    before = int(room_left.sum())
    left[-1] = before + 1  # never all of it, so that the last search tells what bounds it
    seen, reached = _serve(arcs, left, room_left, flow)
    return -missing if missing else before - int(room_left.sum()), seen[:-1] >= 0, reached >= 0


@_compiled
def _serve(arcs: Arcs, left: Watts, room: Watts, flow: Watts) -> tuple[Watts, Watts]:
    """Serve as much as there is room for, along shortest exchanges first (Dinic 1970).

    Returns:
        Levels of needs and of regions that what is still left reaches; -1 of all others.
    """
    at, back_at = arcs.start[:-1].copy(), arcs.back_start[:-1].copy()
    path = np.empty(2 * len(left), dtype=np.int64)
    while True:
        level, deep, open_ended = _levels(arcs, left, room, flow)
        if not open_ended:
            return level, deep
        at[:], back_at[:] = arcs.start[:-1], arcs.back_start[:-1]
        for source in range(len(left)):
            while left[source] > 0:
                length = _path(arcs, source, room, flow, level, deep, at, back_at, path)
                if length == 0:
                    break
                _exchange(arcs, path[:length], source, left, room, flow)


@_compiled
def _levels(arcs: Arcs, left: Watts, room: Watts, flow: Watts) -> tuple[Watts, Watts, bool]:
    """Steps of exchange from any need that is left to each need and region; -1 where none leads."""
    level = np.full(len(left), -1, dtype=np.int64)
    deep = np.full(len(room), -1, dtype=np.int64)
    queue = np.empty(len(left), dtype=np.int64)
    head, tail, found = 0, 0, False
    for k in range(len(left)):
        if left[k] > 0:
            level[k], queue[tail] = 0, k
            tail += 1
    while head < tail:
        k = queue[head]
        head += 1
        for arc in range(arcs.start[k], arcs.start[k + 1]):
            p = arcs.region[arc]
            if deep[p] >= 0:
                continue
            deep[p] = level[k]
            found = found or room[p] > 0
            for place in range(arcs.back_start[p], arcs.back_start[p + 1]):
                other = arcs.need[arcs.back[place]]
                if flow[arcs.back[place]] > 0 and level[other] < 0:
                    level[other], queue[tail] = level[k] + 1, other
                    tail += 1
    return level, deep, found


@_compiled
def _path(
    arcs: Arcs,
    source: int,
    room: Watts,
    flow: Watts,
    level: Watts,
    deep: Watts,
    at: Watts,
    back_at: Watts,
    path: Watts,
) -> int:
    """Arcs, forth and back in turn, from a need to a region with room; their number, 0 where none leads."""
    k, length = source, 0
    while True:
        while at[k] < arcs.start[k + 1] and deep[arcs.region[at[k]]] != level[k]:
            at[k] += 1
        if at[k] == arcs.start[k + 1]:
            if length == 0:
                return 0
            length -= 2
            back_at[arcs.region[path[length]]] += 1
            k = arcs.need[path[length]]
            continue
        p = arcs.region[at[k]]
        path[length] = at[k]
        if room[p] > 0:
            return length + 1
        while back_at[p] < arcs.back_start[p + 1]:
            arc = arcs.back[back_at[p]]
            if flow[arc] > 0 and level[arcs.need[arc]] == deep[p] + 1:
                break
            back_at[p] += 1
        if back_at[p] == arcs.back_start[p + 1]:
            at[k] += 1
            continue
        path[length + 1] = arcs.back[back_at[p]]
        k = arcs.need[path[length + 1]]
        length += 2


@_compiled
def _exchange(arcs: Arcs, path: Watts, source: int, left: Watts, room: Watts, flow: Watts) -> None:
    """Serve as much as a path allows."""
    end = arcs.region[path[-1]]
    step = min(left[source], room[end])
    for place in range(1, len(path), 2):
        step = min(step, flow[path[place]])
    left[source] -= step
    room[end] -= step
    for place in range(len(path)):
        flow[path[place]] += step if place % 2 == 0 else -step
