"""What has been heard of the weather: the newest forecast, and an archive to learn from.

The archive holds for every hour what was expected of it a day ahead. So a model is taught by forecasts that
were at hand when it would have had to speak, and not by better ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import Site
from gridflock.forecast._sun import clear_sky
from gridflock.model import Rejected, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid

NOTICE_S = DAY_S
"""What was heard at least so long before an hour is learnt from."""
FARTHEST_S = 30 * DAY_S
"""What lies farther ahead is not kept: nobody can know it, and it would make the archive as long."""
_LIGHT = ("ghi_w_m2", "dni_w_m2", "dhi_w_m2")
_DARK_SHARE = 0.01
_PER_HOUR = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Skies:
    """Forecasts of the weather as a system has heard them, in steps of hours.

    Attributes:
        newest: the last one; None before the first.
        archive: what was expected of each hour a day ahead, and ``known_s`` when; None before the first.
    """

    newest: Weather | None = None
    archive: Weather | None = None

    def heard(self, told: Weather, now_s: int, keep_s: int) -> Skies:
        """With one more forecast, in hours, known from now on; of the past so much is kept."""
        near = _near(told, now_s)
        if near is None:
            return self
        newest = replace(near, known_s=np.full(near.grid.n, now_s, dtype=np.int64))
        return Skies(newest, _archived(self.archive, newest, now_s, now_s - keep_s))

    def at(self, now_s: int) -> Weather | None:
        """What is known now: the newest forecast where it reaches, the archive before."""
        newest, archive = self.newest, self.archive
        if newest is None or archive is None or newest.grid.end_s <= now_s:
            return archive
        return _laid_over(archive, newest, np.ones(newest.grid.n, dtype=bool))

    def reaches_s(self) -> int:
        """End of the newest forecast; 0 before the first."""
        return 0 if self.newest is None else self.newest.grid.end_s


def sound(told: Weather, site: Site) -> Weather | Rejected:
    """A forecast in steps of hours, or why it cannot be of this place: light while the sun is down."""
    hours = _hours(told)
    dark = clear_sky(site, hours.grid.edges_s)[:, [0, 3]].sum(axis=1) <= 0.0
    for name in _LIGHT:
        if name in hours.columns:
            light = np.nan_to_num(hours.columns[name])
            share = float(light[dark].sum() / max(light.sum(), 1e-9))
            if share > _DARK_SHARE:
                reason = f"{share:.0%} of its light while the sun is down: clock, zone or place is another"
                return Rejected("weather", name, (), reason, count=int((light[dark] > 0).sum()))
    return hours


def _hours(told: Weather) -> Weather:
    """Means over whole hours; steps longer than that are repeated."""
    start = told.grid.start_s - told.grid.start_s % HOUR_S
    n = -(-(told.grid.end_s - start) // HOUR_S)
    fine = HOUR_S // _PER_HOUR
    middles = start + fine * np.arange(n * _PER_HOUR, dtype=np.int64) + fine // 2
    step = np.searchsorted(told.grid.edges_s, middles, side="right") - 1
    inside = (step >= 0) & (step < told.grid.n)
    place = np.where(inside, step, 0)
    columns = {}
    for name, column in told.columns.items():
        values = np.where(inside, np.asarray(column, dtype=np.float64)[place], np.nan).reshape(n, _PER_HOUR)
        known = np.isfinite(values)
        total, count = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
        mean = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
        columns[name] = mean.astype(np.float32).astype(np.float64)
    return Weather(TimeGrid.uniform(start, HOUR_S, n), columns, told.kind)


def _near(told: Weather, now_s: int) -> Weather | None:
    """What of a forecast does not lie too far ahead; None where all of it does."""
    n = int(np.searchsorted(told.grid.starts_s, now_s + FARTHEST_S, side="right"))
    if n == told.grid.n:
        return told
    columns = {name: column[:n] for name, column in told.columns.items()}
    return Weather(TimeGrid(told.grid.edges_s[: n + 1]), columns, told.kind) if n else None


def _archived(archive: Weather | None, newest: Weather, now_s: int, from_s: int) -> Weather:
    """The archive with what is news for it: hours a day ahead, and those nobody spoke of before."""
    if archive is None:
        return newest
    grid = archive.grid
    place = (newest.grid.starts_s - grid.start_s) // HOUR_S
    inside = (place >= 0) & (place < grid.n)
    spoken = np.zeros(newest.grid.n, dtype=bool)
    assert archive.known_s is not None
    spoken[inside] = archive.known_s[place[inside]] >= 0
    news = ~spoken | (newest.grid.starts_s >= now_s + NOTICE_S)
    found = _laid_over(archive, newest, news)
    late = (found.grid.starts_s >= from_s) & (found.grid.starts_s <= now_s + FARTHEST_S)
    assert found.known_s is not None
    return Weather(
        TimeGrid.uniform(int(found.grid.starts_s[late][0]), HOUR_S, int(late.sum())),
        {name: column[late] for name, column in found.columns.items()},
        found.kind,
        found.known_s[late],
    )


def _laid_over(under: Weather, over: Weather, which: NDArray[np.bool_]) -> Weather:
    """Hours of two forecasts on one grid, some steps of the second in place of the first."""
    start = min(under.grid.start_s, over.grid.start_s)
    n = (max(under.grid.end_s, over.grid.end_s) - start) // HOUR_S
    below = slice((under.grid.start_s - start) // HOUR_S, (under.grid.end_s - start) // HOUR_S)
    above = ((over.grid.starts_s - start) // HOUR_S)[which]
    columns: dict[str, Floats] = {}
    for name in sorted(under.columns.keys() | over.columns.keys()):
        column = np.full(n, np.nan)
        column[below] = under.columns.get(name, np.nan)
        column[above] = np.asarray(over.columns.get(name, np.full(over.grid.n, np.nan)))[which]
        columns[name] = column
    known = np.full(n, -1, dtype=np.int64)
    assert under.known_s is not None
    assert over.known_s is not None
    known[below] = under.known_s
    known[above] = over.known_s[which]
    return Weather(TimeGrid.uniform(start, HOUR_S, n), columns, "issued", known)
