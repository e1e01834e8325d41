"""Bodies: the sets of rows that claims lie on, and how they lie to each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.claims._steps import Steps
from gridflock.units import Mask, Rows

QuantityClass = tuple[int, int]
"""Number of a quantity and of a class of services."""


@dataclass(slots=True, eq=False)
class Body:
    """A set of rows with what is claimed of it.

    Attributes:
        rows: ascending, each once.
        size: W up, W down and Wh of all rows together.
        number: place among the bodies; -1 of one that is only asked about.
        above: bodies that hold all of its rows and more.
        below: bodies all of whose rows are among its own, and not all of these.
        crosses: bodies that share some rows with it, and each of the two has others.
        own: what is claimed of this very body, over time.
        within: what is claimed of this body and of all below it, over time.
        across: what is claimed of all that cross it, over time.
    """

    rows: Rows
    size: tuple[int, int, int]
    number: int = -1
    above: list[Body] = field(default_factory=list)
    below: list[Body] = field(default_factory=list)
    crosses: list[Body] = field(default_factory=list)
    own: dict[QuantityClass, Steps] = field(default_factory=dict)
    within: dict[QuantityClass, Steps] = field(default_factory=dict)
    across: dict[QuantityClass, Steps] = field(default_factory=dict)

    def active(self, quantity: int, start_s: int, until_s: int) -> bool:
        """Whether anything of this very body is claimed between."""
        return any(steps.peak(start_s, until_s) for (q, _), steps in self.own.items() if q == quantity)

    def most(self, what: dict[QuantityClass, Steps], quantity: int, start_s: int, until_s: int) -> int:
        """No less than what is claimed at any moment between, over all classes."""
        return sum(steps.peak(start_s, until_s) for (q, _), steps in what.items() if q == quantity)


class Bodies:
    """All bodies with claims. Rows are parted by the set of bodies they are in; single rows stand apart."""

    def __init__(self, watts: NDArray[np.int64]) -> None:
        n = watts.shape[1]
        self.watts = watts
        self.all: list[Body] = []
        self._single: dict[int, Body] = {}
        self._is_single = np.zeros(n, dtype=np.bool_)
        self._part = np.zeros(n, dtype=np.int32)
        self._count = [n]
        self._over: list[list[Body]] = [[]]
        """Bodies of several rows that hold each part."""

    def probe(self, rows: Rows) -> Body:
        """The body of some rows: the one there is, or a new one that nobody else knows of."""
        if len(rows) == 1 and int(rows[0]) in self._single:
            return self._single[int(rows[0])]
        body = Body(rows, tuple(int(w) for w in self.watts[:, rows].sum(axis=1)))  # type: ignore[arg-type]  # three
        if len(rows) == 1:
            body.above = list(self._over[int(self._part[rows[0]])])
            return body
        shared: Counter[int] = Counter()
        hits = np.bincount(self._part[rows], minlength=len(self._count))
        for part in np.flatnonzero(hits).tolist():
            for other in self._over[part]:
                shared[other.number] += int(hits[part])
        for number, rows_shared in shared.items():
            other = self.all[number]
            if rows_shared == len(rows) == len(other.rows):
                return other
            whole = body.above if rows_shared == len(rows) else body.crosses
            (body.below if rows_shared == len(other.rows) else whole).append(other)
        body.below += [self._single[row] for row in rows[self._is_single[rows]].tolist()]
        body.within = _together(body.below)
        body.across = _together(body.crosses)
        return body

    def enter(self, body: Body) -> Body:
        """Make a body known, if it is not."""
        if body.number >= 0:
            return body
        body.number = len(self.all)
        self.all.append(body)
        for other in body.above:
            other.below.append(body)
        for other in body.crosses:
            other.crosses.append(body)
        for other in body.below:
            other.above.append(body)
        if len(body.rows) == 1:
            self._single[int(body.rows[0])] = body
            self._is_single[body.rows] = True
        else:
            self._part_by(body)
        return body

    def _part_by(self, body: Body) -> None:
        parts = self._part[body.rows]
        hits = np.bincount(parts, minlength=len(self._count))
        fresh = np.arange(len(hits), dtype=np.int32)
        for part in np.flatnonzero(hits).tolist():
            if hits[part] == self._count[part]:
                self._over[part].append(body)
            else:
                fresh[part] = len(self._count)
                self._count[part] -= int(hits[part])
                self._count.append(int(hits[part]))
                self._over.append([*self._over[part], body])
        self._part[body.rows] = fresh[parts]

    def add(self, body: Body, key: QuantityClass, start_s: int, until_s: int, size: int) -> None:
        """Raise what is claimed of a known body; lower it, where negative."""
        body.own.setdefault(key, Steps()).add(start_s, until_s, size)
        body.within.setdefault(key, Steps()).add(start_s, until_s, size)
        for other in body.above:
            other.within.setdefault(key, Steps()).add(start_s, until_s, size)
        for other in body.crosses:
            other.across.setdefault(key, Steps()).add(start_s, until_s, size)


def _together(bodies: list[Body]) -> dict[QuantityClass, Steps]:
    whole: dict[QuantityClass, Steps] = {}
    for body in bodies:
        for key, steps in body.own.items():
            whole.setdefault(key, Steps()).include(steps)
    return whole


def within(rows: NDArray[np.int32], many: Rows) -> Mask:
    """Which of some rows are among many, ascending and at least one."""
    found: Mask = many[np.minimum(np.searchsorted(many, rows), len(many) - 1)] == rows
    return found
