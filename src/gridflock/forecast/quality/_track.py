"""One series as the rules see it, and statistics that pass over absent values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._finding import Finding, Kind, Repair, Rule
from gridflock.units import DAY_S, Mask

Floats = NDArray[np.float64]

_AROUND_DAYS = 57
"""Days around a day that say what is usual; a fault of three weeks is still their minority."""
_WEEK = 7
_EPOCH_WEEKDAY = 3


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A series on uniform steps that divide a day.

    Attributes:
        series: id.
        kind: what it is said to measure.
        start_s: start of the first step, unix seconds.
        step_s: length of a step.
        value: (T,) NaN where nothing was heard.
    """

    series: str
    kind: Kind
    start_s: int
    step_s: int
    value: Floats

    @property
    def n(self) -> int:
        """How many steps."""
        return len(self.value)

    @property
    def per_day(self) -> int:
        """Steps in a day."""
        return DAY_S // self.step_s

    @property
    def slot(self) -> NDArray[np.int64]:
        """(T,) step of the UTC day."""
        return (self.start_s // self.step_s + np.arange(self.n)) % self.per_day

    @property
    def weekend(self) -> Mask:
        """(D,) Saturdays and Sundays among the UTC days of ``by_day``."""
        days = self.start_s // DAY_S + np.arange(len(self.by_day()))
        return np.asarray((days + _EPOCH_WEEKDAY) % _WEEK >= 5)

    @property
    def habit(self) -> NDArray[np.int64]:
        """(T,) slot of the day, those of weekends counted after those of workdays."""
        day = (self.start_s + self.step_s * np.arange(self.n)) // DAY_S
        return np.asarray(self.slot + self.per_day * ((day + _EPOCH_WEEKDAY) % _WEEK >= 5))

    @property
    def known(self) -> Mask:
        """(T,) where a value is."""
        return np.isfinite(self.value)

    def at(self, step: int) -> int:
        """Start of a step, unix seconds."""
        return self.start_s + step * self.step_s

    def with_value(self, value: Floats) -> Track:
        """The same with other values."""
        return replace(self, value=value)

    def by_day(self) -> Floats:
        """(D, N) values by UTC day; NaN before the first and after the last step."""
        return by_day(self.value, self.start_s, self.step_s)

    def from_days(self, cells: Floats) -> Floats:
        """(T,) of values by UTC day (D, N)."""
        first = self.start_s % DAY_S // self.step_s
        return cells.reshape(-1)[first : first + self.n]

    def step_of_day(self, day: int) -> int:
        """First step of the d-th UTC day, at least 0."""
        return max(day * self.per_day - self.start_s % DAY_S // self.step_s, 0)

    def finding(
        self,
        rule: Rule,
        steps: tuple[int, int],
        seen: str,
        evidence: dict[str, float],
        repair: Repair = Repair.NONE,
        amount: float = 0.0,
        *,
        safe: bool = True,
    ) -> Finding:
        """A fault of the steps ``[first, end)``."""
        numbers = {name: float(value) for name, value in evidence.items()}
        return Finding(
            self.series,
            rule,
            self.at(steps[0]),
            self.at(steps[1]),
            seen,
            numbers,
            repair,
            float(amount),
            safe,
        )


def by_day(value: NDArray[Any], start_s: int, step_s: int) -> Floats:
    """(D, N) of values (T,) from a moment on, by UTC day; NaN where there is no step."""
    per_day = DAY_S // step_s
    first = start_s % DAY_S // step_s
    days = -(-(first + len(value)) // per_day)
    cells = np.full(days * per_day, np.nan)
    cells[first : first + len(value)] = value
    return cells.reshape(days, per_day)


def quantile(values: Floats, q: float, axis: int = -1) -> Floats:
    """Quantile along an axis over what is known, linear between; NaN where nothing is."""
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=axis)
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    place = q * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    if not ordered.shape[axis]:
        return np.full(count.squeeze(axis).shape, np.nan)
    below, above = np.take_along_axis(ordered, low, axis), np.take_along_axis(ordered, high, axis)
    found: Floats = (below + (place - low) * (above - below)).squeeze(axis)
    return found


def median(values: Floats, axis: int = -1) -> Floats:
    """Median along an axis over what is known; NaN where nothing is."""
    return quantile(values, 0.5, axis)


def spread_of(values: Floats) -> float:
    """Standard deviation of a normal law with the same median absolute value; 0 where nothing is known."""
    size = float(median(np.abs(values).reshape(-1)))
    return 1.4826 * size if np.isfinite(size) else 0.0


def usual(cells: Floats, among: Mask, days: int = _AROUND_DAYS) -> Floats:
    """What is usual around each day: medians (D, ...) of days of one type around it, anew each week.

    Args:
        cells: (D, N) values by day.
        among: (D,) the days of the type.
        days: how many days around, of all types.
    """
    found = np.full_like(cells, np.nan)
    rows = np.flatnonzero(among)
    around = max(round(days * len(rows) / max(len(cells), 1)), 1)
    for first in range(0, len(cells), _WEEK):
        middle = int(np.searchsorted(rows, first + _WEEK // 2))
        low = max(0, min(middle - around // 2, len(rows) - around))
        found[first : first + _WEEK] = median(cells[rows[low : low + around]], axis=0)
    return found


def beside_usual(cells: Floats, weekend: Mask) -> Floats:
    """(D, N) less what is usual around then on workdays or on weekends, whichever a day is more like.

    A holiday is a Sunday, and no fault.
    """
    work, rest = cells - usual(cells, ~weekend), cells - usual(cells, weekend)
    like_rest = np.nansum(np.abs(rest), axis=1) < np.nansum(np.abs(work), axis=1)
    like_rest &= np.isfinite(rest).any(axis=1)
    return np.where((like_rest | ~np.isfinite(work).any(axis=1))[:, None], rest, work)


def runs(mask: Mask) -> Iterator[tuple[int, int]]:
    """Stretches ``[first, end)`` where a mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for first, end in edges.reshape(-1, 2):
        yield int(first), int(end)


def joined(stretches: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Stretches with those at most ``gap`` steps apart made one."""
    found: list[tuple[int, int]] = []
    for first, end in stretches:
        if found and first - found[-1][1] <= gap:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    return found


def begin_of(inside: Floats, low: int, high: int, *, tight: bool = False) -> int:
    """The step in ``[low, high]`` from which a stretch holds, by a score negative before it.

    Steps of score 0 at the border belong to the stretch, or not if it is to be tight.
    """
    total = np.concatenate([[0.0], np.cumsum(inside[low:high])])
    return low + (len(total) - 1 - int(total[::-1].argmin()) if tight else int(total.argmin()))


def end_of(inside: Floats, low: int, high: int, *, tight: bool = False) -> int:
    """The step in ``[low, high]`` before which a stretch holds, by a score negative after it."""
    total = np.concatenate([[0.0], np.cumsum(inside[low:high])])
    return low + (int(total.argmax()) if tight else len(total) - 1 - int(total[::-1].argmax()))
