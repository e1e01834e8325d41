"""Loads that are on or off and must stay so for a while, as powers that switch in turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.fleet.flexible._compiled import Array
from gridflock.fleet.flexible._nearest import Nearest
from gridflock.units import Codes, Kw, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """On/off loads; load j may switch at the steps ``first[j] + k·hold[j]`` and at no other.

    A load that holds each state for ``hold`` steps keeps its minimum on and off times by
    construction. Loads of one hold take turns, so that some may switch at every step. The power
    drawn by those that switch together is free between 0 and the sum of their ratings and stays for
    ``hold`` steps; real powers in these bounds become whole devices by rounding running sums, which
    misses the group's power by less than its largest rating, at every step.

    Attributes:
        rows: int32 (m,) rows of the fleet.
        steps: T.
        rated_kw: (m,) power drawn when on, > 0.
        on: uint8 (m,) 1 where it runs now.
        hold: int32 (m,) steps for which a state is kept, >= 1.
        first: int32 (m,) first step at which it may switch.
    """

    rows: Rows
    steps: int
    rated_kw: Kw
    on: Codes
    hold: Rows
    first: Rows

    @classmethod
    def of(cls, rows: Rows, steps: int, rated_kw: Kw, on: Codes, hold: Rows, locked: Rows) -> Blocks:
        """Loads with their turns: loads of one hold are dealt out over its steps by falling rating.

        Args:
            rows: (m,) rows of the fleet.
            steps: T.
            rated_kw: (m,) power drawn when on.
            on: (m,) 1 where it runs now.
            hold: (m,) steps for which a state is kept.
            locked: (m,) first step at which its present state may end.

        Raises:
            ValueError: a rating that is not positive and finite, a hold below 1 or a lock below 0.
        """
        rated = np.array(rated_kw, dtype=np.float64)
        sound = np.isfinite(rated).all() and (rated > 0).all()
        if not sound or (np.asarray(hold) < 1).any() or (np.asarray(locked) < 0).any():
            raise ValueError("blocks need positive finite ratings, a hold of at least 1 and no negative lock")
        first = np.zeros(len(rows), dtype=np.int32)
        for length in np.unique(hold):
            those = np.flatnonzero(hold == length)
            dealt = those[np.lexsort((rows[those], -rated[those]))]
            turn = np.arange(len(dealt)) % length
            behind = np.maximum(locked[dealt] - turn, 0)
            first[dealt] = turn + -(-behind // length) * length
        columns = (rated, on.astype(np.uint8), hold.astype(np.int32), first)
        return cls(rows.astype(np.int32), steps, *columns)

    @classmethod
    def none(cls, steps: int) -> Blocks:
        """No loads over so many steps."""
        empty = np.zeros(0, dtype=np.int32)
        return cls(empty, steps, np.zeros(0), np.zeros(0, dtype=np.uint8), empty, empty)

    @property
    def n(self) -> int:
        """How many loads."""
        return len(self.rows)

    @property
    def rounding_kw(self) -> float:
        """How far whole devices can be from a real power: the largest rating of each hold, added up."""
        return float(sum(self.rated_kw[self.hold == length].max() for length in np.unique(self.hold)))

    def and_also(self, others: Blocks) -> Blocks:
        """These loads and those, in that order, over the same steps."""
        names = ("rated_kw", "on", "hold", "first")
        rows = np.concatenate([self.rows, others.rows])
        joined = (np.concatenate([getattr(self, name), getattr(others, name)]) for name in names)
        return Blocks(rows, self.steps, *joined)


class Turns:
    """The powers that loads of one hold draw from each switching step on, as free numbers.

    Attributes:
        room_kw: (H, T) sum of ratings that may switch at a step, for each of H holds.
        ease_kw: (H, T) what of it runs now.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.holds = np.unique(blocks.hold)
        shape = (len(self.holds), blocks.steps)
        self.room_kw, self.ease_kw = np.zeros(shape), np.zeros(shape)
        self._still = np.zeros(blocks.steps)
        runs = blocks.rated_kw * blocks.on
        for h, hold in enumerate(self.holds):
            for t in range(blocks.steps):
                now = self._switching(int(hold), t)
                self.room_kw[h, t] = blocks.rated_kw[now].sum()
                self.ease_kw[h, t] = runs[now].sum()
        for t in range(blocks.steps):
            self._still[t] = -runs[blocks.first > t].sum()

    def _switching(self, hold: int, t: int) -> Rows:
        blocks = self.blocks
        due = (blocks.hold == hold) & (blocks.first <= t) & ((t - blocks.first) % hold == 0)
        return np.flatnonzero(due).astype(np.int32)

    def power(self, drawn_kw: Kw) -> Kw:
        """(T,) injection of the group when (H, T) powers are drawn from each step on."""
        total = self._still.copy()
        for h, hold in enumerate(self.holds):
            total -= _windows(drawn_kw[h], int(hold))
        return total

    def _worth(self, price: Array) -> Array:
        """(H, T) worth of a kW drawn from a step on for the hold."""
        ahead = [-_windows(price[::-1], int(hold))[::-1] for hold in self.holds]
        return np.array(ahead).reshape(self.room_kw.shape)

    def best(self, price: Array) -> Kw:
        """(H, T) powers that maximise the worth of the group's injection."""
        return np.where(self._worth(price) > 0.0, self.room_kw, 0.0)

    def nearest(self, price: Array, drawn_kw: Kw) -> Nearest:
        """Powers that maximise worth less half the squared straying by room, into ``drawn_kw``."""
        worth = self._worth(price)
        drawn_kw[:] = np.clip(self.ease_kw + self.room_kw * worth, 0.0, self.room_kw)
        p = self.power(drawn_kw)
        stray = (drawn_kw - self.ease_kw) ** 2
        cost = 0.5 * np.divide(stray, self.room_kw, out=np.zeros_like(stray), where=self.room_kw > 0.0).sum()
        reach = np.zeros((len(price), len(price)))
        free = np.where((drawn_kw > 0.0) & (drawn_kw < self.room_kw), self.room_kw, 0.0)
        for h, hold in enumerate(self.holds):
            for t in np.flatnonzero(free[h]):
                reach[t : t + hold, t : t + hold] += free[h, t]
        return Nearest(p, float(price @ p - cost), reach)

    def most_cost(self) -> float:
        """The largest cost of straying."""
        far = np.maximum(self.ease_kw, self.room_kw - self.ease_kw) ** 2
        return float(
            0.5 * np.divide(far, self.room_kw, out=np.zeros_like(far), where=self.room_kw > 0.0).sum()
        )

    def devices(self, drawn_kw: Kw) -> Kw:
        """(m, T) injection of each load, 0 or minus its rating, for (H, T) powers within their rooms.

        The running sum of what is switched on follows that of the powers within half the largest
        rating: loads come in a fixed order that starts after the last one taken, so that all get
        their turn, and as many are taken as bring the sum nearest. A group's power at a step is the
        difference of two such sums, hence the whole miss.
        """
        blocks = self.blocks
        powers = np.where(np.arange(blocks.steps) < blocks.first[:, None], blocks.on[:, None], 0)
        for h, hold in enumerate(self.holds):
            owed, next_up = 0.0, 0
            for t in range(blocks.steps):
                due = self._switching(int(hold), t)
                if not len(due):
                    continue
                owed += drawn_kw[h, t]
                due = np.roll(due, -next_up % len(due))
                sums = np.concatenate([[0.0], np.cumsum(blocks.rated_kw[due])])
                count = int(np.abs(sums - owed).argmin())
                owed -= sums[count]
                next_up = (next_up + count) % max(len(due), 1)
                powers[due[:count], t : t + int(hold)] = 1
        schedule: Kw = -(powers * blocks.rated_kw[:, None])
        return schedule


def _windows(values: Array, length: int) -> Array:
    """Sum of each value and those before it, ``length`` of them at most."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    begin = np.maximum(np.arange(1, len(sums)) - length, 0)
    windows: Array = sums[1:] - sums[begin]
    return windows
