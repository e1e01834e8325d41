"""From history to quantiles of every series."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from gridflock.forecast._calendar import ahead_of, past_of
from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._season import season
from gridflock.forecast._solar import solar as solar_quantiles
from gridflock.forecast._sun import Site
from gridflock.model import Forecast, History
from gridflock.units import TimeGrid


def forecast(history: History, grid: TimeGrid, site: Site, solar: Collection[str], now_s: int) -> Forecast:
    """Nine quantiles of each series' mean power over each step.

    Series named in ``solar`` (generation alone, no load behind it) follow the sun: exactly 0 at
    night. All others follow habits: the same local time on like days, corrected by the last
    hour's error. Gaps are left out, constants stay constant; with little or no history the
    answer is wide, never missing: an unheard series is taken as a typical one of the others
    around 0. A step longer than the history's takes the mean of the quantiles over it, which is
    a little too wide.

    Args:
        history: S series in uniform steps that divide a day, house sign, kW.
        grid: T steps, of any growing lengths.
        site: for the sun and the local clock.
        solar: ids of generation series.
        now_s: only whole steps before this moment are used.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    past = past_of(history, site.timezone, now_s)
    ahead = ahead_of(grid, past)
    sunny = np.array([name in solar for name in history.series], dtype=bool)
    pieces = np.zeros((len(history.series), len(ahead.day), len(QUANTILES)))
    if not sunny.all():
        pieces[~sunny] = season(past.only(~sunny), ahead)
    if sunny.any():
        pieces[sunny] = solar_quantiles(past.only(sunny), ahead, site)
    value = pieces.transpose(0, 2, 1) @ ahead.share
    return Forecast(grid, history.series, QUANTILES.copy(), np.sort(value, axis=1), now_s)
