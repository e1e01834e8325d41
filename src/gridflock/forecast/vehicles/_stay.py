"""How long vehicles stay and what they need: the past sessions of such an arrival, weighed by likeness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.vehicles._sessions import Sessions, free, local, past, weighted_quantiles
from gridflock.units import DAY_S, HOUR_S, Kwh, Seconds

_DAYS = 120
_FADES = 0.985
"""Weight of a session against one a day later."""
_LIKE_H = 0.75
"""Standard deviation of the likeness of arrival times."""
_OTHER_TYPE = 0.05
"""Weight of sessions of the other type of day (of work, of rest)."""
_LEAST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Stay:
    """Quantiles 0.1 to 0.9 of A vehicles, sorted.

    Attributes:
        left_s: (A, 9) when it leaves, never before the moment of asking; NaN without any past session.
        energy_kwh: (A, 9) what it draws in all, never less than it has drawn; NaN where no past session drew
            so much.
    """

    left_s: NDArray[np.float64]
    energy_kwh: Kwh


def stay(
    sessions: Sessions, site: Site, plugged_s: Seconds, now_s: int, drawn_kwh: Kwh | None = None
) -> Stay:
    """Departure and energy of vehicles that plugged in, or will, at given moments.

    Args:
        sessions: the past; nothing that ended after ``now_s`` is used.
        site: clock and holidays of the place.
        plugged_s: (A,) arrivals; before ``now_s`` for those that are still there.
        now_s: moment of asking.
        drawn_kwh: (A,) what each has drawn so far; None: nothing is known.
    """
    known = past(sessions, now_s, _DAYS)
    begun, length = sessions.plugged_s[known], (sessions.left_s - sessions.plugged_s)[known]
    alike = _likeness(site, begun, plugged_s, now_s)
    here = np.maximum(now_s - plugged_s, 0)
    lasted = alike * (length[None, :] > here[:, None])
    order = np.argsort(length, kind="stable")
    staying = weighted_quantiles(length[order], lasted[:, order], QUANTILES)
    left = np.maximum(plugged_s[:, None] + staying, now_s)
    energy = sessions.energy_kwh[known].astype(np.float64)
    drawn = np.zeros(len(plugged_s)) if drawn_kwh is None else np.nan_to_num(drawn_kwh)
    more = lasted * (energy[None, :] >= drawn[:, None])
    rank = np.argsort(energy, kind="stable")
    need = weighted_quantiles(energy[rank], more[:, rank], QUANTILES)
    return Stay(_or_beyond(left, here, now_s), np.maximum(need, drawn[:, None]))


def _likeness(site: Site, begun: Seconds, plugged: Seconds, now_s: int) -> NDArray[Any]:
    """Weights (A, N) of past sessions for arrivals."""
    (hour, day), (at, on) = local(site, begun), local(site, plugged)
    apart = np.abs(at[:, None] - hour[None, :])
    apart = np.minimum(apart, 24.0 - apart)
    same = free(site, on)[:, None] == free(site, day)[None, :]
    fade = np.power(_FADES, (now_s - begun) / DAY_S)
    like = np.exp(-0.5 * (apart / _LIKE_H) ** 2) + _LEAST
    return np.asarray(like * np.where(same, 1.0, _OTHER_TYPE) * fade[None, :])


def _or_beyond(left: NDArray[Any], here: Seconds, now_s: int) -> NDArray[Any]:
    """A vehicle that has stayed longer than any before leaves within as long again, evenly."""
    unknown = ~np.isfinite(left) & (here > 0)[:, None]
    again = now_s + QUANTILES[None, :] * np.maximum(here, HOUR_S)[:, None]
    return np.where(unknown, again, left)
