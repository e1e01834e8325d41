"""Readings and outcomes as they come together, in an order that does not depend on who spoke first."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Outcomes, OutcomeStatus, Quality, Readings
from gridflock.schema import QUANTITY

_LATE_S, _GONE_S = 900, 86_400
"""A meter so far behind the others is waited for no more, and is missed no more."""
_SETTLED = (OutcomeStatus.ACCEPTED, OutcomeStatus.PARTIAL)


@dataclass(slots=True)
class Answers:
    """Outcomes as they come together."""

    resource: list[str] = field(default_factory=list)
    order_id: list[int] = field(default_factory=list)
    status: list[OutcomeStatus] = field(default_factory=list)
    p_kw: list[float] = field(default_factory=list)
    time_s: list[int] = field(default_factory=list)

    def add(self, resource: str, order_id: int, status: OutcomeStatus, p_kw: float, time_s: int) -> None:
        """One more; power counts only of what is done at least partly."""
        self.resource.append(resource)
        self.order_id.append(order_id)
        self.status.append(status)
        self.p_kw.append(p_kw if status in _SETTLED else math.nan)
        self.time_s.append(time_s)

    def outcomes(self, ids: tuple[str, ...], place: Mapping[str, int]) -> Outcomes:
        """As columns, sorted."""
        index = np.array([place[name] for name in self.resource], dtype=np.int32)
        order_id, time_s = np.array(self.order_id, dtype=np.int64), np.array(self.time_s, dtype=np.int64)
        status = np.array(self.status, dtype=np.uint8)
        order = np.lexsort((status, index, order_id, time_s))
        p_kw = np.array(self.p_kw, dtype=np.float64)
        return Outcomes(ids, index[order], order_id[order], status[order], p_kw[order], time_s[order])


@dataclass(slots=True)
class Columns:
    """Readings as they come together."""

    index: list[int] = field(default_factory=list)
    quantity: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    time_s: list[int] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)

    def add(
        self,
        at: int,
        quantity: str,
        value: NDArray[np.floating[Any]],
        time_s: NDArray[np.int64],
        quality: list[int],
    ) -> None:
        """Some of one resource and quantity."""
        many = len(value)
        self.index += [at] * many
        self.quantity += [QUANTITY[quantity]] * many
        self.value += value.tolist()
        self.time_s += time_s.tolist()
        self.quality += quality

    def readings(self, ids: tuple[str, ...]) -> Readings:
        """As columns, sorted."""
        index, quantity = np.array(self.index, dtype=np.int32), np.array(self.quantity, dtype=np.uint8)
        time_s = np.array(self.time_s, dtype=np.int64)
        order = np.lexsort((time_s, quantity, index))
        return Readings(
            ids,
            index[order],
            quantity[order],
            np.array(self.value, dtype=np.float64)[order],
            time_s[order],
            np.array(self.quality, dtype=np.uint8)[order],
        )


@dataclass(frozen=True, slots=True)
class Said:
    """One reading in our units: of the interval that ends at ``end_s``."""

    end_s: int
    value: float
    quality: Quality


@dataclass(slots=True)
class Summed:
    """What several meters of one resource say, added up as they come together.

    An interval is told once every meter has said something of it or of a later one; of a meter that said
    nothing of just this, what it said last before counts. Without the word of one that has been silent for
    long the sum is suspect, until after a day that meter is taken to be no more.

    Attributes:
        known: meter to end of an interval to what it said, those not told yet and the last before.
        since_s: the first end that any of them has told.
        upto_s: what ends up to here is told.
    """

    known: dict[int, dict[int, Said]] = field(default_factory=dict)
    since_s: int = -1
    upto_s: int = -1

    def add(self, meter: int, said: Iterable[Said]) -> None:
        """What one meter says."""
        self.known.setdefault(meter, {}).update({each.end_s: each for each in said})

    def take(self, meters: Collection[int], *, mean: bool) -> list[Said]:
        """Sums, or means, of the intervals that are whole now.

        Args:
            meters: that there are, whether they have said something yet or not.
            mean: else sums.
        """
        self.known = {meter: self.known.get(meter, {}) for meter in sorted({*meters})}
        ends = sorted({end_s for held in self.known.values() for end_s in held})
        if not ends:
            return []
        self.since_s = ends[0] if self.since_s < 0 else self.since_s
        newest = [max(held, default=self.since_s - 1) for held in self.known.values()]
        whole_s = min(end_s for end_s in newest if end_s > ends[-1] - _LATE_S)
        found = [self._at(end_s, mean=mean) for end_s in ends if self.upto_s < end_s <= whole_s]
        self.upto_s = max(self.upto_s, whole_s)
        for held in self.known.values():
            for end_s in sorted(end_s for end_s in held if end_s <= self.upto_s)[:-1]:
                del held[end_s]
        return found

    def _at(self, at_s: int, *, mean: bool) -> Said:
        here, silent = list[Said](), False
        for held in self.known.values():
            last = held.get(max((end_s for end_s in held if end_s <= at_s), default=-1))
            late_s = at_s - (self.since_s if last is None else last.end_s)
            if last is not None and late_s < _LATE_S:
                here.append(last)
            else:
                silent |= late_s < _GONE_S
        quality = Quality.SUSPECT if silent else max((one.quality for one in here), key=int)
        total = sum(one.value for one in here)
        return Said(at_s, total / len(here) if mean else total, quality)
