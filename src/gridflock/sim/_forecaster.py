"""The weather service of a simulated world: forecasts around its truth, wrong by more the further ahead.

Four issues a day, hourly means for sixty hours. Cloud is wrong in the logit of the clear-sky index, air by
degrees, wind by a factor; each error lasts from step to step and grows with the lead, as those of numerical
weather models do. What an issue says depends on world and issue alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from gridflock.model import Rejected, Weather
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.sim._weather import weather
from gridflock.units import HOUR_S, TimeGrid

ISSUE_S = 6 * HOUR_S
STEPS = 60
_FINE_S = 300
_CLOUD, _AIR_C, _WIND = 0.35, 0.5, 0.12
"""Standard deviations of the errors of the first hour: of the logit, of the air, of the logarithm."""
_GROWS_H = 18.0
"""Hours after which an error is twice that of the first, and so on."""
_KEPT = 0.93
"""Correlation of an error with that of the hour before."""
_LEAST = 0.02

Floats = NDArray[np.float64]


class Forecaster:
    """``ports.Weather`` of a world.

    Args:
        scenario: of the world.
        timezone: of its feeder.
        site: latitude and longitude, degrees.
        place_km: (places, 2) where its sky is looked at, km.
    """

    def __init__(
        self, scenario: Scenario, timezone: str, site: tuple[float, float], place_km: Floats
    ) -> None:
        self._scenario, self._zone, self._site, self._place_km = scenario, timezone, site, place_km
        self._true_day = lru_cache(maxsize=8)(self._day)

    def newest(self, now_s: int) -> tuple[Weather | None, tuple[Rejected, ...]]:
        """See ``ports.Weather``: the issue of the last six hours that ended."""
        return self.issue(now_s - now_s % ISSUE_S), ()

    def issue(self, issued_s: int) -> Weather:
        """The forecast of one moment of issue."""
        truth = self._truth(issued_s, STEPS)
        rng = draws(self._scenario.seed, Draw.FORECAST, issued_s // ISSUE_S)
        grown = 1.0 + np.arange(STEPS) / _GROWS_H
        cloud, air, wind = (grown * row for row in _lasting(rng.standard_normal((3, STEPS))))
        index = expit(logit(np.clip(truth["index"], _LEAST, 1.0 - _LEAST)) + _CLOUD * cloud)
        beam = np.clip((index - 0.3) / 0.7, 0.0, 1.0)
        columns = {
            "temp_c": truth["temp_c"] + _AIR_C * air,
            "ghi_w_m2": truth["ghi"] * index,
            "dni_w_m2": truth["dni"] * beam,
            "wind_m_s": truth["wind_m_s"] * np.exp(_WIND * wind),
            "cloud": 1.0 - index,
        }
        rounded = {name: np.round(column, 3) for name, column in columns.items()}
        grid = TimeGrid.uniform(issued_s, HOUR_S, STEPS)
        return Weather(grid, rounded, "issued", np.full(STEPS, issued_s, dtype=np.int64))

    def issues(self, from_s: int, until_s: int) -> Iterator[Weather]:
        """Every forecast issued from one moment until before another, oldest first."""
        for issued_s in range(from_s - from_s % ISSUE_S, until_s, ISSUE_S):
            yield self.issue(issued_s)

    def _truth(self, start_s: int, hours: int) -> dict[str, Floats]:
        """Hourly means of the true weather."""
        zone = ZoneInfo(self._zone)
        first = datetime.fromtimestamp(start_s, tz=UTC).astimezone(zone).date()
        last = datetime.fromtimestamp(start_s + hours * HOUR_S - 1, tz=UTC).astimezone(zone).date()
        days = [first + timedelta(days=k) for k in range((last - first).days + 1)]
        parts = [self._true_day(day) for day in days]
        t_s = np.concatenate([part["t_s"] for part in parts])
        inside = (t_s >= start_s) & (t_s < start_s + hours * HOUR_S)
        fine = {name: np.concatenate([part[name] for part in parts])[inside] for name in parts[0]}
        found = {
            name: column.reshape(hours, -1).mean(axis=1) for name, column in fine.items() if name != "t_s"
        }
        reached = (fine["ghi"] * fine["index"]).reshape(hours, -1).mean(axis=1)
        found["index"] = np.where(found["ghi"] > 0, reached / np.maximum(found["ghi"], 1e-9), found["index"])
        return found

    def _day(self, day: date) -> dict[str, Floats]:
        """One true local day in fine steps, its sky averaged over the places."""
        sky = weather(self._scenario.seed, day, _FINE_S, self._zone, self._site, self._place_km)
        return {
            "t_s": sky.t_s.astype(np.float64),
            "temp_c": sky.outdoor_c,
            "ghi": sky.ghi,
            "dni": sky.dni,
            "index": sky.clear_index.mean(axis=0).astype(np.float64),
            "wind_m_s": sky.wind_mps,
        }


def _lasting(shocks: Floats) -> Floats:
    """Errors (k, T) of unit spread that last, from independent shocks."""
    found = shocks.copy()
    for t in range(1, found.shape[1]):
        found[:, t] = _KEPT * found[:, t - 1] + np.sqrt(1.0 - _KEPT**2) * shocks[:, t]
    return found
