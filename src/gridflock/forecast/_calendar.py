"""The past laid out by the local calendar, and how much each past day tells of another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.model import History
from gridflock.units import DAY_S, HOUR_S, Seconds, TimeGrid, utc_offset_s

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

MOST_DAYS = 21
_FADES = 0.85
"""Weight of a day against the one after it."""
_OTHER_WEEKDAY, _OTHER_TYPE = 0.6, 0.12
"""Weight of another day of the same type (workday; Saturday or Sunday), and of the other type."""
_EPOCH_WEEKDAY = 3


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Values known at a moment, by local day and time of day; NaN where nothing was heard.

    Attributes:
        value: (S, D, N) series, local days in order, slots of the day.
        days: (D,) local day numbers, the last one holding the moment.
        step_s: length of a slot.
        starts_s: (D, N) UTC start of the step in each cell; -1 where there is none.
        now_s: the moment.
        timezone: whose local days.
    """

    value: Floats
    days: Days
    step_s: int
    starts_s: Seconds
    now_s: int
    timezone: str

    @property
    def n_slots(self) -> int:
        """Slots in a day."""
        return int(self.value.shape[2])

    def only(self, series: NDArray[np.bool_]) -> Past:
        """The past of some series."""
        return replace(self, value=self.value[series])

    def latest(self, cells: Floats) -> Floats:
        """Mean (S,) over the last hour before now of values by cell (S, D, N); NaN without any."""
        recent = (self.starts_s >= self.now_s - max(HOUR_S, self.step_s)) & (self.starts_s >= 0)
        return mean_known(cells[:, recent])

    def hourly(self, cells: Floats) -> Floats:
        """Means (S, H) over each hour of values by cell (S, D, N); NaN without any."""
        per = max(1, HOUR_S // self.step_s)
        series = cells.reshape(len(cells), -1)
        return mean_known(series[:, : series.shape[1] // per * per].reshape(len(cells), -1, per))


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """The future cut at the past's steps, F pieces.

    Attributes:
        edges_s: (F+1,).
        day: (F,) local day number.
        slot: (F,) slot of the day.
        lead_h: (F,) hours from now to the middle of the piece, >= 0.
        share: (F, T) share of each wanted step that a piece makes up; columns sum to 1.
    """

    edges_s: Seconds
    day: Days
    slot: Days
    lead_h: Floats
    share: Floats


def past_of(history: History, timezone: str, now_s: int) -> Past:
    """Lay out what was known at ``now_s``: whole steps before it, the last days only.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    grid = history.grid
    step_s = int(grid.edges_s[1] - grid.edges_s[0]) if grid.n else HOUR_S
    if DAY_S % step_s or (grid.n and (np.diff(grid.edges_s) != step_s).any()):
        raise ValueError("history needs uniform steps that divide a day")
    known = (grid.edges_s[1:] <= now_s) & (grid.starts_s >= now_s - MOST_DAYS * DAY_S)
    starts = grid.starts_s[known]
    local = starts + utc_offset_s(timezone, starts)
    today = int((now_s + utc_offset_s(timezone, np.array([now_s]))[0]) // DAY_S)
    first = min(int(local[0]) // DAY_S, today) if len(local) else today
    days = np.arange(first, today + 1)
    n = DAY_S // step_s
    value = np.full((len(history.series), len(days), n), np.nan)
    cells = np.full((len(days), n), -1, dtype=np.int64)
    day, slot = local // DAY_S - first, local % DAY_S // step_s
    value[:, day, slot] = history.value_kw[:, known]
    cells[day, slot] = starts
    return Past(np.where(np.isfinite(value), value, np.nan), days, step_s, cells, now_s, timezone)


def ahead_of(grid: TimeGrid, past: Past) -> Ahead:
    """Cut the wanted grid at the steps the past is known in."""
    step = past.step_s
    first, last = grid.start_s // step, -(-grid.end_s // step)
    edges = np.arange(first, last + 1, dtype=np.int64) * step
    starts = edges[:-1]
    local = starts + utc_offset_s(past.timezone, starts)
    overlap = np.minimum(edges[1:, None], grid.edges_s[None, 1:]) - np.maximum(
        edges[:-1, None], grid.edges_s[None, :-1]
    )
    return Ahead(
        edges,
        local // DAY_S,
        local % DAY_S // step,
        np.maximum(starts + 0.5 * step - past.now_s, 0.0) / HOUR_S,
        np.maximum(overlap, 0) / np.diff(grid.edges_s),
    )


def day_weights(of: Days, by: Days, *, by_weekday: bool) -> Floats:
    """How much each day of ``by`` tells of each day of ``of`` (len(of), len(by)); itself: 0."""
    gap = np.abs(of[:, None] - by[None, :])
    weight = np.where(gap > 0, _FADES**gap, 0.0)
    if not by_weekday:
        return weight
    of_day, by_day = (of[:, None] + _EPOCH_WEEKDAY) % 7, (by[None, :] + _EPOCH_WEEKDAY) % 7
    alike = np.where(
        of_day == by_day, 1.0, np.where((of_day < 5) == (by_day < 5), _OTHER_WEEKDAY, _OTHER_TYPE)
    )
    return weight * alike


def weighted_days(cells: Floats, weights: Floats) -> Floats:
    """Weighted means over days of (S, D, N) by (J, D): (S, J, N); NaN where no day is known."""
    known = np.isfinite(cells)
    total = weights @ np.where(known, cells, 0.0)
    mass = weights @ known.astype(np.float64)
    return ratio(total, mass)


def mean_known(values: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), count)


def ratio(total: NDArray[Any], mass: NDArray[Any], default: float = np.nan) -> Floats:
    """``total / mass``, and ``default`` where there is no mass."""
    result: Floats = np.divide(total, mass, out=np.full(np.shape(total), default), where=mass > 0)
    return result
