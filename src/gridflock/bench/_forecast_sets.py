"""The sets of the forecast protocol: which series, from when, issued how, against which baseline."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridflock.bench import _forecast_series as series
from gridflock.bench import _forecast_wind_price as markets
from gridflock.forecast import Site
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, Seconds, unix_s, utc_offset_s

_NOON_S = 12 * HOUR_S
_AHEAD_H = 36
PLYMOUTH = Site(50.40, -4.09, "Europe/London", "GB-ENG")
FONTANA = Site(34.10, -117.44, "America/Los_Angeles", "US-CA")
PASADENA = Site(34.20, -118.17, "America/Los_Angeles", "US-CA")
TORONTO = Site(43.65, -79.38, "America/Toronto", "CA-ON")
HAMELN = Site(52.10, 9.36, "Europe/Berlin", "DE-NI")
NETHERLANDS = Site(52.10, 5.30, "Europe/Amsterdam", "NL")
_Spans = tuple[str, str, str]
_FEEDER: _Spans = ("2019-01-01", "2019-01-01", "2019-07-01")
_HOMES: _Spans = ("2017-04-01T07:00", "2017-04-01T07:00", "2017-08-01T06:00")
_WORKPLACE: _Spans = ("2019-11-01T07:00", "2019-11-01T07:00", "2020-03-01T08:00")
_HEAT: _Spans = ("2019-08-31T22:00", "2019-08-31T22:00", "2020-01-01")
_STATIONS: _Spans = ("2021-01-10T17:00", "2021-01-10T17:00", "2021-01-28T10:00")
_WIND: _Spans = ("2021-09-30T22:00", "2021-09-30T22:00", "2021-10-31")
_HOURLY_PRICE: _Spans = ("2016-09-01T04:00", "2016-09-01T04:00", "2017-01-01T05:00")
_AUCTION: _Spans = ("2020-11-30T23:00", "2020-11-30T23:00", "2020-12-31T23:00")
"""Ends of training, begins and ends of the test, UTC."""


@dataclass(frozen=True, slots=True, eq=False)
class ForecastSet:
    """A task of the protocol with its data.

    Attributes:
        name: of the set.
        kind: class of the series: feeder, home, homes, pv, ev, heat_pump, substation, wind, price.
        history: S series, house sign; NaN where nothing was heard or a value stood still.
        weather: what was expected of the weather; None without any.
        site: coordinates, clock and holidays of the place.
        train_end_s: nothing at or after this moment is seen when settings are chosen.
        test_start_s: first moment of issue that is scored.
        test_end_s: no step beyond it is scored.
        daily: issued at local noon each day, for all steps to 36 h; otherwise at every step, for the step
            that ends an hour later.
        leads: (L,) steps after the one that begins at the moment of issue.
        naive: baseline: the same time last week, the newest known day, or the last known step.
        published: steps after the moment of issue that are known then, as prices of an auction are.
    """

    name: str
    kind: str
    history: History
    weather: Weather | None
    site: Site
    train_end_s: int
    test_start_s: int
    test_end_s: int
    daily: bool
    leads: NDArray[np.int64]
    naive: Literal["week", "day", "last"]
    published: int = 0

    @property
    def step_s(self) -> int:
        """Length of a step, s."""
        return int(self.history.grid.edges_s[1] - self.history.grid.edges_s[0])

    @property
    def weather_kind(self) -> Literal["none", "issued", "perfect"]:
        """The class of weather to name beside every score."""
        return "none" if self.weather is None else self.weather.kind

    def issues(self, start_s: int, end_s: int) -> Seconds:
        """Moments of issue in ``[start, end)`` within the history."""
        grid = self.history.grid
        start, end = max(start_s, grid.start_s), min(end_s, grid.end_s)
        if not self.daily:
            first = grid.start_s + -(-(start - grid.start_s) // self.step_s) * self.step_s
            return np.arange(first, end, self.step_s, dtype=np.int64)
        noons = np.arange(start // DAY_S - 1, end // DAY_S + 2) * DAY_S + _NOON_S
        noons = noons - utc_offset_s(self.site.timezone, noons)
        return noons[(noons >= start) & (noons < end)]


def forecast_set(name: str, data: Path) -> ForecastSet:
    """Read one set.

    Args:
        name: one of ``SETS``.
        data: folder with the series' folders in it.

    Raises:
        KeyError: no such set.
        FileNotFoundError: its files are not in the folder.
    """
    return SETS[name](data)


def data_folder() -> Path:
    """Where the series lie unless told: ``$GRIDFLOCK_SHARED/data/series``, else ``../shared/data/series``."""
    return Path(os.environ.get("GRIDFLOCK_SHARED", "../shared")) / "data" / "series"


def _daily(
    name: str,
    kind: str,
    data: tuple[History, Weather | None],
    site: Site,
    spans: _Spans,
    naive: Literal["week", "day", "last"] = "week",
) -> ForecastSet:
    history, weather = data
    steps = _AHEAD_H * HOUR_S // int(history.grid.edges_s[1] - history.grid.edges_s[0])
    end, start, stop = (unix_s(text) for text in spans)
    leads = np.arange(steps, dtype=np.int64)
    return ForecastSet(
        name, kind, history, weather, site, end, start, stop, daily=True, leads=leads, naive=naive
    )


def _hourly(of: ForecastSet, name: str) -> ForecastSet:
    """The same series an hour ahead, at every step."""
    leads = np.array([HOUR_S // of.step_s - 1], dtype=np.int64)
    return replace(of, name=name, daily=False, leads=leads, naive="last")


def _feeder(data: Path) -> ForecastSet:
    return _daily("feeder_day_ahead", "feeder", series.feeder(data), PLYMOUTH, _FEEDER)


def _homes17(data: Path) -> ForecastSet:
    history = series.homes(data)
    total = History(history.grid, ("homes",), history.value_kw.sum(axis=0)[None])
    return _daily("homes17_day_ahead", "homes", (total, None), FONTANA, _HOMES)


def _home(data: Path) -> ForecastSet:
    return _daily("home_day_ahead", "home", (series.homes(data), None), FONTANA, _HOMES)


def _pv(data: Path) -> ForecastSet:
    return _daily("pv_day_ahead", "pv", series.solar_farm(data), PLYMOUTH, _FEEDER, "day")


def _pv_blind(data: Path) -> ForecastSet:
    return replace(_pv(data), name="pv_day_ahead_no_weather", weather=None)


def _ev(data: Path) -> ForecastSet:
    return _daily("ev_day_ahead", "ev", (series.workplace(data), None), PASADENA, _WORKPLACE)


def _heat_pump(data: Path) -> ForecastSet:
    return _daily("heat_pump_day_ahead", "heat_pump", series.heat_pumps(data), HAMELN, _HEAT)


def _substations(data: Path) -> ForecastSet:
    return _daily("substations_36h", "substation", series.substations(data), NETHERLANDS, _STATIONS)


def _wind(data: Path) -> ForecastSet:
    return _daily("wind_day_ahead", "wind", markets.wind_parks(data), NETHERLANDS, _WIND, "last")


def _wind_blind(data: Path) -> ForecastSet:
    return replace(_wind(data), name="wind_day_ahead_no_weather", weather=None)


def _hourly_price(data: Path) -> ForecastSet:
    of = (markets.hourly_price(data), None)
    return _daily("hourly_price_day_ahead", "price", of, TORONTO, _HOURLY_PRICE, "last")


def _auction_price(data: Path) -> ForecastSet:
    """The day after: what is left of the day of issue is published."""
    of = _daily("auction_price", "price", markets.auction_price(data), NETHERLANDS, _AUCTION, "day")
    return replace(of, leads=of.leads[_NOON_S // HOUR_S :], published=_NOON_S // HOUR_S)


SETS: Mapping[str, Callable[[Path], ForecastSet]] = {
    "feeder_day_ahead": _feeder,
    "feeder_hour_ahead": lambda data: _hourly(_feeder(data), "feeder_hour_ahead"),
    "homes17_day_ahead": _homes17,
    "home_day_ahead": _home,
    "pv_day_ahead": _pv,
    "pv_day_ahead_no_weather": _pv_blind,
    "ev_day_ahead": _ev,
    "heat_pump_day_ahead": _heat_pump,
    "substations_36h": _substations,
    "substations_1h": lambda data: _hourly(_substations(data), "substations_1h"),
    "wind_day_ahead": _wind,
    "wind_day_ahead_no_weather": _wind_blind,
    "hourly_price_day_ahead": _hourly_price,
    "auction_price": _auction_price,
}
"""All sets by name, in the protocol's order."""
