"""Bodies that cross: whether all their needs can be met together, by a flow of whole watts.

Needs of bodies flow to the regions into which the bodies part each other; what lies inside one region only
narrows it. All needs can be met if and only if no set of them is larger than what its rows have together
(Hall 1935; Gale 1957), and if they cannot, the cut of the flow is such a set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

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
        holds: (K, P) which regions each body consists of.
        size: (3, P) W up, W down and Wh.
    """

    rows: Rows
    region: Rows
    holds: Mask
    size: Watts

    @classmethod
    def of(cls, bodies: Sequence[Body], watts: Watts) -> Regions:
        """The regions of some bodies."""
        rows = np.unique(np.concatenate([body.rows for body in bodies]))
        places = {str(k): np.searchsorted(rows, body.rows) for k, body in enumerate(bodies)}
        parts = parted({k: place.astype(np.int32) for k, place in places.items()}, len(rows))
        holds = parts.holds.toarray() > 0
        size = np.zeros((len(watts), holds.shape[1]), dtype=np.int64)
        for quantity in range(len(watts)):
            np.add.at(size[quantity], parts.part, watts[quantity, rows])
        return cls(rows, parts.part, holds, size)

    def region_of(self, row: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Region of each row; -1 of those in none."""
        place = np.minimum(np.searchsorted(self.rows, row), len(self.rows) - 1)
        found: NDArray[np.int32] = np.where(self.rows[place] == row, self.region[place], -1)
        return found


def room_beside(holds: Mask, room: Watts, need: Watts, asked: Mask) -> tuple[int, Mask, Mask]:
    """How much one more need can have beside others that must be met.

    Args:
        holds: (K, P) which regions can serve each need.
        room: (P,) what each region has, >= 0.
        need: (K,) the others.
        asked: (P,) which regions can serve the one more.

    Returns:
        Room (what is missing, negative, where the others cannot be met by themselves), and the needs
        (K,) and regions (P,) of a set that has no more.
    """
    every = np.vstack([holds, asked])
    room_left, needs, regions = _fill(every, room.copy(), np.append(need, np.iinfo(np.int64).max))
    return int(room_left), needs, regions


@_compiled
def _fill(holds: Mask, room: Watts, need: Watts) -> tuple[int, Mask, Mask]:
    """Meet one need after the other along shortest paths of exchange; the last one as far as it goes."""
    count, regions = holds.shape
    flow = np.zeros((count, regions), dtype=np.int64)
    via_need = np.full(regions, -1, dtype=np.int64)
    via_region = np.full(count, -1, dtype=np.int64)
    seen = np.zeros(count, dtype=np.bool_)
    missing, got = 0, 0
    for asker in range(count):
        left = need[asker]
        while left > 0:
            end = _search(asker, holds, room, flow, seen, via_need, via_region)
            if end < 0:
                break
            step = _exchange(end, left, room, flow, via_need, via_region)
            left -= step
            if asker == count - 1:
                got += step
        if asker < count - 1:
            missing += left
    return (-missing if missing else got), seen[:-1].copy(), via_need >= 0


@_compiled
def _search(
    asker: int, holds: Mask, room: Watts, flow: Watts, seen: Mask, via_need: Watts, via_region: Watts
) -> int:
    """The nearest region with room that a need can reach by others giving way, or -1."""
    count, regions = holds.shape
    seen[:], via_need[:], via_region[:] = False, -1, -1
    queue = np.empty(count, dtype=np.int64)
    seen[asker], queue[0] = True, asker
    head, tail = 0, 1
    while head < tail:
        k = queue[head]
        head += 1
        for p in range(regions):
            if not holds[k, p] or via_need[p] >= 0:
                continue
            via_need[p] = k
            if room[p] > 0:
                return p
            for other in range(count):
                if flow[other, p] > 0 and not seen[other]:
                    seen[other], via_region[other] = True, p
                    queue[tail] = other
                    tail += 1
    return -1


@_compiled
def _exchange(end: int, most: int, room: Watts, flow: Watts, via_need: Watts, via_region: Watts) -> int:
    """Take as much as the path that was found allows; how much that is."""
    step, k = min(most, int(room[end])), via_need[end]
    while via_region[k] >= 0:
        step = min(step, int(flow[k, via_region[k]]))
        k = via_need[via_region[k]]
    room[end] -= step
    k = via_need[end]
    flow[k, end] += step
    while via_region[k] >= 0:
        p = via_region[k]
        flow[k, p] -= step
        k = via_need[p]
        flow[k, p] += step
    return step
