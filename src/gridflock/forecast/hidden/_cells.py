"""Totals and light laid out by season, day and time of day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._track import Floats, by_day, median
from gridflock.units import DAY_S, Kw, Mask, TimeGrid

_BLOCK_DAYS = 91
_LIT, _DARK = 0.15, 0.005
"""Shares of the mean day's strongest light above which slots speak of the sun, below which of load alone."""
_EPOCH_WEEKDAY = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Days by time of day, cut into seasons.

    Attributes:
        total: (D, N) kW, NaN where it or the light is not known.
        light: (D, N) likewise.
        edges: (B+1,) first day of each season of about three months, and D.
        weekend: (D,) Saturdays and Sundays, UTC.
        lit: (N,) times of day with much light.
        dark: (N,) times of day without any.
        first: step of the first day at which the series begins.
    """

    total: Floats
    light: Floats
    edges: NDArray[np.int64]
    weekend: Mask
    lit: Mask
    dark: Mask
    first: int

    @property
    def per_day(self) -> int:
        """Steps in a day."""
        return int(self.total.shape[1])

    @property
    def days(self) -> int:
        """Days of which anything is known."""
        return int(np.isfinite(self.total).any(axis=1).sum())

    def seasons(self) -> list[slice]:
        """The days of each season."""
        return [slice(int(a), int(b)) for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]

    def flat(self, cells: Floats, n: int) -> Floats:
        """(T,) of values by day (D, N)."""
        return np.asarray(cells.reshape(-1)[self.first : self.first + n])


def cells_of(total_kw: Kw, light: Floats, grid: TimeGrid) -> Cells:
    """Lay a total and its light out.

    Raises:
        ValueError: the steps are not uniform, or do not divide a day.
    """
    step_s = int(grid.edges_s[1] - grid.edges_s[0]) if grid.n else DAY_S
    if DAY_S % step_s or (np.diff(grid.edges_s) != step_s).any() or (grid.n and grid.start_s % step_s):
        raise ValueError("a total to separate needs uniform steps that divide a day, from a multiple of them")
    known = np.isfinite(total_kw) & np.isfinite(light)
    total = by_day(np.where(known, total_kw, np.nan), grid.start_s, step_s)
    sun = by_day(np.where(known, np.maximum(light, 0.0), np.nan), grid.start_s, step_s)
    n = len(total)
    edges = np.linspace(0, n, max(1, round(n / _BLOCK_DAYS)) + 1).astype(np.int64)
    mean = np.nan_to_num(mean_known(sun))
    top = float(mean.max(initial=0.0))
    days = grid.start_s // DAY_S + np.arange(n)
    return Cells(
        total,
        sun,
        edges,
        np.asarray((days + _EPOCH_WEEKDAY) % 7 >= 5),
        np.asarray(mean > _LIT * top),
        np.asarray(mean <= _DARK * top),
        grid.start_s % DAY_S // step_s,
    )


def mean_known(cells: Floats) -> Floats:
    """Means (N,) over the days of what is known; NaN where nothing is."""
    known = np.isfinite(cells)
    count = known.sum(axis=0)
    total = np.where(known, cells, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, count, out=np.full(cells.shape[1], np.nan), where=count > 0)
    return mean


def over_the_day(values: Floats, width: int) -> Floats:
    """Medians (N,) of values by time of day over ``width`` slots around each, across midnight."""
    half = width // 2
    around = np.stack([np.roll(values, k) for k in range(-half, half + 1)])
    return median(around, axis=0)


def beside_mean(cells: Floats, weekend: Mask) -> Floats:
    """(D, N) less the mean of its time of day over the days of its type."""
    found = np.array(cells)
    for kind in (True, False):
        days = weekend == kind
        found[days] -= mean_known(cells[days])
    return found
