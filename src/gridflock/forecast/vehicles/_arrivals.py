"""How many vehicles plug in, step by step: what such days brought."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.vehicles._sessions import Sessions, free, local, weighted_quantiles
from gridflock.units import DAY_S, Seconds, TimeGrid, utc_offset_s

_DAYS = 84
_FADES = 0.97
_OTHER_WEEKDAY, _OTHER_TYPE = 0.4, 0.01


def plug_ins(sessions: Sessions, site: Site, grid: TimeGrid, now_s: int) -> NDArray[np.float64]:
    """Quantiles (T, 9) of the number of arrivals in each step of a grid after ``now_s``.

    Args:
        sessions: arrivals before ``now_s`` are used, whether the vehicle has left or not.
        site: clock and holidays of the place.
        grid: T steps.
        now_s: moment of asking.

    Returns:
        (T, 9) sorted, >= 0; NaN where no whole day has been seen.
    """
    counts, days = _counts(sessions.plugged_s, site, grid, now_s)
    _, wanted = local(site, grid.starts_s)
    same_type = free(site, wanted)[:, None] == free(site, days)[None, :]
    same_weekday = (wanted[:, None] - days[None, :]) % 7 == 0
    like = np.where(same_type, np.where(same_weekday, 1.0, _OTHER_WEEKDAY), _OTHER_TYPE)
    weight = like * np.power(_FADES, (wanted[:, None] - days[None, :]).astype(np.float64))
    found = np.full((grid.n, len(QUANTILES)), np.nan)
    for k in range(grid.n):
        order = np.argsort(counts[k], kind="stable")
        found[k] = weighted_quantiles(counts[k, order], weight[k : k + 1, order], QUANTILES)[0]
    return found


def _counts(
    plugged: Seconds, site: Site, grid: TimeGrid, now_s: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Arrivals (T, D) in the same local step of each past whole day; local day numbers (D,)."""
    seen = np.sort(plugged[plugged < now_s])
    clock = np.sort(seen + utc_offset_s(site.timezone, seen))
    today = int(local(site, np.array([now_s]))[1][0])
    first = max(int(clock[0]) // DAY_S + 1, today - _DAYS) if len(clock) else today
    days = np.arange(first, max(today, first))
    edges = grid.edges_s + utc_offset_s(site.timezone, grid.edges_s)
    start, end = edges[:-1, None], edges[1:, None]
    back = (start // DAY_S - days[None, :]) * DAY_S
    counts = np.searchsorted(clock, end - back) - np.searchsorted(clock, start - back)
    return counts.astype(np.float64), days
