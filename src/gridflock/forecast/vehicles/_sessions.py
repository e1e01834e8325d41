"""A table of charging sessions, and which of them tell of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site
from gridflock.forecast.learned._holidays import rest
from gridflock.units import DAY_S, Kwh, Seconds, utc_offset_s

_EPOCH_WEEKDAY, _WEEK, _SAT = 3, 7, 5


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """N sessions, in any order.

    Attributes:
        plugged_s: (N,) when the vehicle was plugged in.
        left_s: (N,) when it left; -1 while it is there.
        energy_kwh: (N,) what it drew, an amount, >= 0; NaN while it is not known.
    """

    plugged_s: Seconds
    left_s: Seconds
    energy_kwh: Kwh


def past(sessions: Sessions, now_s: int, days: int) -> NDArray[np.bool_]:
    """Sessions (N,) that were over at a moment, began at most some days before it, and make sense."""
    plugged, left = sessions.plugged_s, sessions.left_s
    recent = (plugged >= now_s - days * DAY_S) & (left <= now_s)
    return np.asarray(recent & (left > plugged) & (sessions.energy_kwh >= 0.0))


def local(site: Site, moments_s: Seconds) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Local hour of the day and local day number (N,) of moments."""
    clock = moments_s + utc_offset_s(site.timezone, moments_s)
    return clock % DAY_S / 3_600.0, clock // DAY_S


def free(site: Site, days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Days (N,) on which a workplace rests: weekends, holidays, and workdays that are taken off with them."""
    holiday, joined = rest(site.country, days)
    weekend = (days + _EPOCH_WEEKDAY) % _WEEK >= _SAT
    return np.asarray(weekend | (holiday > 0) | (joined >= 1.0))


def weighted_quantiles(values: NDArray[Any], weight: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """Quantiles (A, Q) of ascending values (N,) under weights (A, N); NaN where all weights are 0.

    Linear between the middles of the weights' steps.
    """
    found = np.full((len(weight), len(levels)), np.nan)
    for k, row in enumerate(weight):
        used = row > 0
        if used.any():
            w = row[used]
            found[k] = np.interp(levels, (np.cumsum(w) - 0.5 * w) / w.sum(), values[used])
    return found
