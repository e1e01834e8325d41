"""How far groups can move their power from each step on: by notice, by run, with what recovers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.flexibility._futures import Futures
from gridflock.forecast.flexibility._members import Sums, moves
from gridflock.units import HOUR_S, Kw, Kwh, Rows, Seconds

Floats = NDArray[np.float64]

LEVELS = np.array([0.1, 0.5, 0.9])


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a group's flexibility.

    Attributes:
        notices_s: how soon before its start it is called, ascending, > 0, s.
        runs_s: how long it has to last, ascending multiples of ``step_s``, s.
        step_s: length of the steps in which a run is looked at, s.

    Raises:
        ValueError: numbers that are not so.
    """

    notices_s: tuple[int, ...] = (60, 900, 3_600)
    runs_s: tuple[int, ...] = (900, 3_600, 14_400)
    step_s: int = 900

    def __post_init__(self) -> None:
        """Check the numbers."""
        rising = all(sorted(set(one)) == list(one) and one for one in (self.notices_s, self.runs_s))
        if not rising or self.notices_s[0] <= 0 or any(run % self.step_s or run <= 0 for run in self.runs_s):
            raise ValueError(f"ascending notices, and ascending multiples of the step as runs: {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Changes of power one way: quantiles 0.1, 0.5 and 0.9 of what a group can deliver.

    Attributes:
        change_kw: (3, N, R, T) change held through each of R runs from each moment on, called each
            of N times before; >= 0.
        rebound_kwh: (3, R, T) energy that stores, vehicles and comfort bands then have to make good, at the
            largest notice; >= 0.
        recovery_s: (3, R, T) how long that takes at full power; inf where it cannot be made good.
    """

    change_kw: Kw
    rebound_kwh: Kwh
    recovery_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FlexibilityAhead:
    """What a group will be able to do.

    Attributes:
        group: its id.
        starts_s: (T,) from when on.
        asked: the N notices and R runs.
        up: more injection, or less draw.
        down: less injection, or more draw.
        known_at_s: nothing later was used.
    """

    group: str
    starts_s: Seconds
    asked: Asked
    up: Way
    down: Way
    known_at_s: int

    def lasts_s(self, change_kw: float, level: int = 0) -> Seconds:
        """(T,) the longest run through which a change is delivered, at the largest notice; 0 where none is.

        Args:
            change_kw: of injection; negative asks for the other way.
            level: 0 for the quantile that is exceeded in nine of ten cases, 1 for the median.
        """
        way = self.up if change_kw >= 0 else self.down
        enough = way.change_kw[level, -1] >= abs(change_kw)
        runs = np.array(self.asked.runs_s, dtype=np.int64)
        return np.asarray((enough * runs[:, None]).max(axis=0), dtype=np.int64)


def flexibility_ahead(
    future: Futures,
    groups: Mapping[str, Rows],
    asked: Asked | None = None,
    starts_s: Seconds | None = None,
) -> tuple[FlexibilityAhead, ...]:
    """Quantiles of what groups can deliver beside what they do unasked, over all paths.

    In each path and at each step the members that answer and are still there give, each within its own
    model, what they can keep up through the run; a group delivers what its members give together at the
    worst step of the run. Vehicles charge as soon as they come, stores rest, comfort bands stay where they
    are until the call. Longer runs never give more, more notice never less. A device counts from the notice
    on by which an order reaches it, with what its ramp allows until the start.

    Args:
        future: K paths.
        groups: rows by group id.
        asked: notices and runs.
        starts_s: (T,) moments from which it is looked at; None: the begin of each step.

    Raises:
        ValueError: a row that is not there, or a moment outside the steps.
    """
    starts = future.grid.starts_s if starts_s is None else np.asarray(starts_s, dtype=np.int64)
    if len(starts) and not future.grid.start_s <= starts.min() <= starts.max() < future.grid.end_s:
        raise ValueError("a moment lies outside the steps")
    asked = asked or Asked()
    names = tuple(groups)
    rows = [np.unique(groups[name]) for name in names]
    if any(len(own) and not 0 <= own[0] <= own[-1] < future.image.n for own in rows):
        raise ValueError("a group names rows that are not there")
    inside = np.zeros((len(names), future.image.n), dtype=bool)
    for g, own in enumerate(rows):
        inside[g, own] = True
    each = [moves(future, inside, asked, int(t)) for t in starts]
    found = []
    for g, name in enumerate(names):
        up, down = (_way([pair[way] for pair in each], g, asked) for way in (0, 1))
        found.append(FlexibilityAhead(name, starts, asked, up, down, future.image.now_s))
    return tuple(found)


def _way(steps: list[Sums], g: int, asked: Asked) -> Way:
    """Quantiles over the paths of one group's sums, step by step."""
    runs_h = np.array(asked.runs_s) / HOUR_S
    change, rebound, recovery = [], [], []
    for sums in steps:
        held = sums.change_kw[g].min(axis=-1, where=sums.running, initial=np.inf)
        given = (sums.change_kw[g, :, -1] * sums.running).sum(axis=-1) * asked.step_s / HOUR_S
        part = np.divide(held[:, -1] * runs_h, given, out=np.zeros_like(given), where=given > 0)
        owed = sums.owed_kwh[g] * np.minimum(part, 1.0)
        change.append(np.quantile(held, LEVELS, axis=0))
        rebound.append(np.quantile(owed, LEVELS, axis=0))
        rate = np.where(sums.back_kw[g] > 0, sums.back_kw[g], np.nan)
        lasts = np.where(owed > 0, np.nan_to_num(HOUR_S * owed / rate, nan=np.inf), 0.0)
        recovery.append(np.quantile(lasts, LEVELS, axis=0, method="inverted_cdf"))
    return Way(np.stack(change, axis=-1), np.stack(rebound, axis=-1), np.stack(recovery, axis=-1))
