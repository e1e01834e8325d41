"""Control states kept with their factors: what repeats from call to call is computed once."""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Complex
from gridflock.grid.lanes._frame import Anchor
from gridflock.grid.lanes._plan import Reals
from gridflock.grid.lanes._tail import UNCOUPLED, Elimination, entries, tail_values
from gridflock.units import Mask, Rows

FIRST_ROOM = 4096
"""States there is room for at first: memory that nobody has written to costs nothing."""
_Number = TypeVar("_Number", bound=np.generic)


class StateTable:
    """Control states of one ``Lanes``, growing; each is factored once around each base point that meets it.

    Made by ``Lanes.table``; ``States.of`` counts its rows.
    """

    def __init__(self, steps: Elimination) -> None:
        self.steps = steps
        self.change: Complex = np.zeros((0, len(steps.place)), dtype=np.complex128)
        self._size = 0
        self._made: WeakKeyDictionary[Anchor, tuple[Reals, Mask]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return self._size

    def add(self, delta_y: Complex) -> Rows:
        """Take in more states.

        Args:
            delta_y: complex (states, T, T) change of the admittance between the tail's nodes against the
                circuit's, S, in the order in which the tail was given.

        Returns:
            (states,) their rows.

        Raises:
            ValueError: a change between two nodes that the network does not couple.
        """
        return self._add(entries(self.steps, np.asarray(delta_y)))

    def add_at(self, rows: Rows, columns: Rows, values: Complex) -> Rows:
        """Take in more states, given by the few admittances that they change.

        Args:
            rows: (F,) place in the tail of each changed admittance's row.
            columns: (F,) of its column.
            values: complex (states, F) changes, S; where two stand at one place both count.

        Returns:
            (states,) their rows.

        Raises:
            ValueError: a change between two nodes that the network does not couple.
        """
        size = len(self.steps.lower_start) - 1
        entry = np.full(size * size, -1, dtype=np.int32)
        entry[self.steps.place] = np.arange(len(self.steps.place))
        at = entry[rows.astype(np.int64) * size + columns]
        if values[:, at < 0].any():
            raise ValueError(UNCOUPLED)
        new = np.zeros((len(values), len(self.steps.place)), dtype=np.complex128)
        for f in np.flatnonzero(at >= 0):
            new[:, at[f]] += values[:, f]
        return self._add(new)

    def _add(self, new: Complex) -> Rows:
        begin, end = self._size, self._size + len(new)
        self.change = _grown(self.change, begin, end)
        self.change[begin:end] = new
        self._size = end
        return np.arange(begin, end, dtype=np.int32)

    def middle(self, of: Rows) -> Complex:
        """Complex (E,) state, by entries, among those of some scenarios that is the nearest to their mean.

        The mean itself is no state: mean admittances of several taps are those of no transformer.
        """
        share = np.bincount(of, minlength=self._size) / max(len(of), 1)
        used = np.flatnonzero(share)
        changes = self.change[used]
        away = np.abs(changes - share[used] @ changes).sum(axis=1)
        found: Complex = changes[away.argmin()]
        return found

    def values(self, around: Anchor, of: Rows) -> Reals:
        """(states, numbers) factors around a base point; only the rows in ``of`` are sure to be there."""
        numbers = 4 * len(self.steps.place) + 2 * (len(self.steps.lower_start) - 1)
        values, done = self._made.get(around) or (
            np.zeros((0, numbers), dtype=around.frame.dtype), np.zeros(0, dtype=np.bool_)
        )  # fmt: skip
        values, done = _grown(values, len(values), self._size), _grown(done, len(done), self._size)
        asked = np.zeros(len(done), dtype=np.bool_)
        asked[of] = True
        missing = np.flatnonzero(asked & ~done).astype(np.int32)
        tail_values(around.base, self.steps, (self.change, around.change), values, missing)
        done[missing] = True
        self._made[around] = values, done
        return values


def _grown(rows: NDArray[_Number], used: int, wanted: int) -> NDArray[_Number]:
    """Room for ``wanted`` rows, much more at a time; the first ``used`` are kept, the rest is zero."""
    if wanted <= len(rows):
        return rows
    grown = np.zeros((max(wanted, 4 * len(rows), FIRST_ROOM), *rows.shape[1:]), dtype=rows.dtype)
    grown[:used] = rows[:used]
    return grown
