"""From stamps and columns as they came to one history on uniform steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._finding import Finding, Rule
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, Seconds, TimeGrid, iso

Floats = NDArray[np.float64]
_LATEST_S = 1e11
"""A moment of the year 5138: nothing was measured later."""
_MOST_CELLS = 400_000_000
_COMMON = 0.05
"""Share of all distances from which the commonest is that of the series."""
_SPARSEST, _MOST_STEPS = 200, 100_000
"""Steps a row may stand for, and a grid that is laid out however few rows there are."""


def gathered(
    t_s: Seconds | Floats, columns: Mapping[str, NDArray[Any]], step_s: int | None = None
) -> tuple[History, tuple[Finding, ...]]:
    """Lay columns out on uniform steps, whatever the order, doubling and spacing of their stamps.

    The step is the commonest distance of stamps (of stamps at random the middle one), taken to the nearest
    length that divides a day. Values of the same step make their mean; stamps that are not finite, or lie
    farther from the middle half of all than twice its length, are left out.

    Args:
        t_s: (n,) start of each row's step, unix seconds.
        columns: (n,) each, by series.
        step_s: length of a step, a divisor of a day; None = found in the stamps.

    Returns:
        The history, NaN where there was no row, and findings ``disorder``, ``duplicate`` and
        ``off grid``, one of each at most and series; ``empty`` where there was no row at all.

    Raises:
        ValueError: a column has another length than ``t_s``, the step does not divide a day, or a few stamps
            lie so far apart that laying them out would fill the memory.
    """
    stamps = np.asarray(t_s, dtype=np.float64)
    wrong = [name for name, column in columns.items() if np.shape(column) != stamps.shape]
    if wrong:
        raise ValueError(f"columns {wrong}: another length than their stamps ({len(stamps)})")
    usable, strays = _usable(stamps)
    kept = stamps[usable].astype(np.int64)
    step = step_s or _step(kept)
    if step <= 0 or DAY_S % step:
        raise ValueError(f"a step of {step} s does not divide a day")
    first = int(kept.min()) // step * step if len(kept) else 0
    place = np.asarray((kept - first) // step, dtype=np.int64)
    n = int(place.max()) + 1 if len(place) else 0
    if n * max(len(columns), 1) > _MOST_CELLS or n > _MOST_STEPS + _SPARSEST * len(kept):
        raise ValueError(f"{len(kept)} stamps spread over {n} steps of {step} s are more gap than series")
    grid = TimeGrid.uniform(first, step, n)
    value = np.full((len(columns), n), np.nan)
    findings: list[Finding] = []
    for row, (name, column) in enumerate(columns.items()):
        cells = np.asarray(column, dtype=np.float64)[usable]
        value[row], doubled = _laid(cells, place, n)
        findings += _stamp_findings(name, kept, step, strays, doubled)
    return History(grid, tuple(columns), value), tuple(findings)


def with_light(history: History, weather: Weather, column: str = "ghi_w_m2") -> History:
    """A history with the light of a weather as one more series, named as its column, to be examined with it.

    Each step gets the value of the weather's step that holds its middle; NaN outside the weather's span.
    """
    place = np.searchsorted(weather.grid.edges_s, history.grid.middles_s, side="right") - 1
    inside = (place >= 0) & (place < weather.grid.n)
    light = np.full(history.grid.n, np.nan)
    light[inside] = np.asarray(weather.columns[column], dtype=np.float64)[place[inside]]
    known_s = history.known_s
    if known_s is not None:
        known_s = np.concatenate([known_s, history.grid.edges_s[None, 1:]])
    value = np.concatenate([np.asarray(history.value_kw, dtype=np.float64), light[None]])
    return History(history.grid, (*history.series, column), value, known_s)


def _usable(stamps: Floats) -> tuple[NDArray[np.bool_], int]:
    """Stamps that can be laid out, and how many cannot: not finite, or years away from most others."""
    usable = np.isfinite(stamps) & (np.abs(stamps) < _LATEST_S)
    if usable.any():
        low, high = np.quantile(stamps[usable], [0.25, 0.75])
        reach = max(2.0 * (high - low), DAY_S)
        usable &= (stamps >= low - reach) & (stamps <= high + reach)
    return usable, int((~usable).sum())


def _step(stamps: Seconds) -> int:
    """Commonest distance of stamps, at the nearest divisor of a day; an hour where there is none."""
    gaps = np.diff(np.unique(stamps))
    if not len(gaps):
        return HOUR_S
    lengths, counts = np.unique(gaps, return_counts=True)
    # Where hardly any two distances are alike, the commonest is the one that chance made shortest.
    common = counts.max() >= _COMMON * len(gaps)
    usual = float(lengths[counts.argmax()]) if common else float(np.median(gaps))
    divisors = np.array([k for k in range(1, DAY_S + 1) if DAY_S % k == 0])
    return int(divisors[np.abs(np.log(divisors / usual)).argmin()])


def _laid(cells: Floats, place: Seconds, n: int) -> tuple[Floats, NDArray[np.int64]]:
    """Mean by step (n,), and the steps with values that differ."""
    known = np.isfinite(cells)
    where, what = place[known], cells[known]
    count = np.bincount(where, minlength=n)
    mean = np.full(n, np.nan)
    np.divide(np.bincount(where, what, minlength=n), count, out=mean, where=count > 0)
    # One value is kept to the last digit: a sum divided by its count need not be.
    single = count[where] == 1
    mean[where[single]] = what[single]
    doubled = np.unique(where[(count[where] > 1)])
    infinite = np.unique(place[np.isinf(cells)])
    mean[infinite] = np.where(np.isnan(mean[infinite]), np.inf, mean[infinite])
    return mean, doubled


def _stamp_findings(
    name: str, stamps: Seconds, step: int, strays: int, doubled: NDArray[np.int64]
) -> list[Finding]:
    """What is wrong with the stamps of a series."""
    if not len(stamps):
        seen = f"{strays} stamps, none of them a moment" if strays else "not one row"
        return [Finding(name, Rule.OFF_GRID if strays else Rule.EMPTY, 0, 0, seen, {"count": float(strays)})]
    found = []
    first, end = int(stamps.min()), int(stamps.max()) + step

    def add(rule: Rule, seen: str, count: int) -> None:
        found.append(Finding(name, rule, first, end, seen, {"count": float(count)}))

    backwards = int((np.diff(stamps) < 0).sum())
    if backwards:
        add(Rule.DISORDER, f"{backwards} stamps earlier than the one before; put in order", backwards)
    if len(doubled):
        begin = iso(first // step * step + int(doubled[0]) * step)
        seen = f"{len(doubled)} steps with several values, first at {begin}; their mean is taken"
        add(Rule.DUPLICATE, seen, len(doubled))
    off = int((stamps % step != 0).sum())
    if off + strays:
        seen = f"{off} stamps between steps of {step} s, put into the step they lie in; {strays} unusable"
        add(Rule.OFF_GRID, seen, off + strays)
    return found
