"""The claims in force as columns, for questions that look at many of them at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.claims._claim import ENERGY, QUANTITIES

Slots = NDArray[np.int64]
"""Places of claims in the table."""


class Table:
    """One slot per claim in force; a slot that is given up is used again.

    Attributes:
        body: number of the body it lies on.
        first: first row of that.
        sold: class of its service.
        need: (3, N) W up, W down and Wh.
        start_s: (3, N) when each of them is held, from.
        until_s: (3, N) until.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        self._used = 0
        self.body = np.zeros(0, dtype=np.int32)
        self.first = np.zeros(0, dtype=np.int32)
        self.sold = np.zeros(0, dtype=np.int32)
        self.need, self.start_s, self.until_s = (np.zeros((3, 0), dtype=np.int64) for _ in range(3))

    def put(
        self, body: int, first: int, sold: int, need: tuple[int, ...], when: tuple[tuple[int, int], ...]
    ) -> int:
        """Take a claim in; its slot."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.body[slot], self.first[slot], self.sold[slot] = body, first, sold
        self.need[:, slot] = need
        self.start_s[:, slot] = [start for start, _ in when]
        self.until_s[:, slot] = [until for _, until in when]
        self._used = max(self._used, slot + 1)
        return slot

    def drop(self, slot: int) -> None:
        """Give a slot up."""
        self.need[:, slot] = 0
        self._free.append(slot)

    def _grow(self) -> None:
        old = len(self.body)
        new = max(64, 2 * old)
        self._free = list(range(new - 1, old - 1, -1))
        for name in ("body", "first", "sold"):
            setattr(self, name, np.resize(getattr(self, name), new) if old else np.zeros(new, dtype=np.int32))
        for name in ("need", "start_s", "until_s"):
            wider = np.zeros((len(QUANTITIES), new), dtype=np.int64)
            wider[:, :old] = getattr(self, name)
            setattr(self, name, wider)

    def between(self, quantity: int, start_s: int, until_s: int) -> Slots:
        """Claims of a quantity that are in force at some moment between, ascending."""
        used = slice(0, self._used)
        here = self.need[quantity, used] > 0
        here &= self.start_s[quantity, used] < until_s
        here &= self.until_s[quantity, used] > start_s
        return np.flatnonzero(here)

    def stretches(self, slots: Slots, quantity: int, start_s: int, until_s: int) -> list[tuple[int, int]]:
        """The time between, cut where one of these claims begins or ends."""
        edges = np.concatenate([self.start_s[quantity, slots], self.until_s[quantity, slots]])
        inner = edges[(edges > start_s) & (edges < until_s)]
        cuts = [start_s, *np.unique(inner).tolist(), until_s]
        return list(pairwise(cuts))

    def at(self, slots: Slots, quantity: int, moment_s: int) -> Slots:
        """Those of some claims in force at a moment."""
        here = self.start_s[quantity, slots] <= moment_s
        found: Slots = slots[here & (self.until_s[quantity, slots] > moment_s)]
        return found


def held_when(start_s: int, until_s: int, interval_s: int) -> tuple[tuple[int, int], ...]:
    """When a claim holds each quantity: energy in all whole intervals that it touches."""
    whole = (start_s // interval_s * interval_s, -(-until_s // interval_s) * interval_s)
    return tuple(whole if quantity == ENERGY else (start_s, until_s) for quantity in range(len(QUANTITIES)))
