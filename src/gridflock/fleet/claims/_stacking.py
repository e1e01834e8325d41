"""Services that may lie on the same kilowatt, and what room they leave each other.

Claims of two services that are declared stackable may be served by the same kW; any others exclude each
other. What a resource can serve at once is then a mix of sets of mutually stackable services (a fractional
colouring), and needs of groups choose among resources at the same time: one linear program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, vstack

from gridflock.units import Mask

_ROUND_W = 1e-3
"""The solver's error; rooms are whole watts."""
Watts = NDArray[np.int64]


class Stacking:
    """Which services stack.

    Services that no pair names all exclude each other, so they are one class, number 0.

    Attributes:
        pairs: (C, C) whether two classes stack; never one with itself.
    """

    def __init__(self, stackable: Iterable[tuple[str, str]]) -> None:
        declared = sorted({tuple(sorted(pair)) for pair in stackable})
        named = sorted({name for pair in declared for name in pair})
        self._class = {name: k + 1 for k, name in enumerate(named)}
        self.pairs = np.zeros((len(named) + 1, len(named) + 1), dtype=np.bool_)
        for one, other in declared:
            if one == other:
                raise ValueError(f"service {one!r} cannot be stackable with itself: its claims add up")
            i, j = self._class[one], self._class[other]
            self.pairs[i, j] = self.pairs[j, i] = True

    def of(self, service: str) -> int:
        """Class of a service."""
        return self._class.get(service, 0)

    def any_among(self, classes: Sequence[int]) -> bool:
        """Whether two of these stack."""
        return bool(self.pairs[np.ix_(classes, classes)].any())

    def sets(self, classes: Sequence[int]) -> list[tuple[int, ...]]:
        """The sets among these in which all stack with all, none of them part of another."""
        found: list[tuple[int, ...]] = []
        for size in range(len(classes), 0, -1):
            for some in combinations(sorted(classes), size):
                together = all(self.pairs[i, j] for i, j in combinations(some, 2))
                if together and not any(set(some) <= set(larger) for larger in found):
                    found.append(some)
        return found


def room_stacked(
    holds: Mask,
    size: Watts,
    need: Watts,
    sold: Sequence[int],
    asked: Mask,
    asked_sold: int,
    stacking: Stacking,
) -> int:
    """How much one more need can have beside others that must be met, where services stack.

    Args:
        holds: (K, P) which regions can serve each need.
        size: (P,) what each region has, W.
        need: (K,) the others, W.
        sold: (K,) their classes.
        asked: (P,) which regions can serve the one more.
        asked_sold: its class.
        stacking: which classes stack.

    Returns:
        Room in whole W; -1 where the others cannot be met by themselves.
    """
    count, regions = holds.shape
    classes = sorted({*sold, asked_sold})
    sets = stacking.sets(classes)
    who, where = np.nonzero(np.vstack([holds, asked]))
    kind = np.searchsorted(classes, np.append(np.asarray(sold, dtype=np.int64), asked_sold))
    served = len(who)
    total = served + regions * len(sets)
    shares = served + np.arange(regions * len(sets)).reshape(regions, len(sets))
    of_class = [
        _entries(kind[who] * regions + where, np.arange(served), 1.0, (len(classes) * regions, total)),
        *(
            _entries(k * regions + np.arange(regions), shares[:, s], -1.0, (len(classes) * regions, total))
            for k, name in enumerate(classes)
            for s, some in enumerate(sets)
            if name in some
        ),
    ]
    at_most = _entries(np.repeat(np.arange(regions), len(sets)), shares.ravel(), 1.0, (regions, total))
    others = who < count
    met = _entries(who[others], np.flatnonzero(others), 1.0, (count, total))
    cost = np.zeros(total)
    cost[:served][~others] = -1.0
    found = linprog(
        cost,
        A_ub=vstack([sum(of_class[1:], of_class[0]), at_most], format="csr"),
        b_ub=np.concatenate([np.zeros(len(classes) * regions), size]),
        A_eq=met if count else None,
        b_eq=need if count else None,
        method="highs",
    )
    return -1 if found.x is None else int(np.floor(-found.fun + _ROUND_W))


def _entries(
    row: NDArray[np.int64], column: NDArray[np.int64], value: float, shape: tuple[int, int]
) -> csr_array:
    return coo_array((np.full(len(row), value), (row, column)), shape=shape).tocsr()
