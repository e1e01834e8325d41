"""Measured wind power and prices of a data folder, in the house's sign, units and clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gridflock.bench._forecast_series import _regular, _table
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, TimeGrid, utc_offset_s

STATIONS = ("HAL", "LLS", "NRYN", "WEW")
"""Those of the six stations with turbines; the other two have none."""
_PUBLISHED_S = 13 * HOUR_S
"""On the local clock of the day before: when a day-ahead auction's prices are out."""
_EASTERN = 5 * HOUR_S


def wind_parks(data: Path) -> tuple[History, Weather]:
    """The wind part of four Dutch stations, quarters, with the wind at 100 m as the operator kept it.

    The wind part is taken for a meter of the turbines alone. One wind stands for all four: the mean of what
    was kept for each. Its clock is off by hours, as it was recorded. Nothing left out.
    """
    tables = [_station(data, name) for name in STATIONS]
    grid = tables[0][0]
    if any(not np.array_equal(other.edges_s, grid.edges_s) for other, _ in tables):
        raise ValueError("stations on different grids")
    value = np.stack([-1000.0 * columns["w"] for _, columns in tables])
    wind = np.mean([columns["v"] for _, columns in tables], axis=0)
    return History(grid, STATIONS, value), Weather(grid, {"wind_100m_m_s": wind}, "perfect")


def _station(data: Path, name: str) -> tuple[TimeGrid, dict[str, np.ndarray]]:
    file = data / "openstef_dazls_btm" / "stations.parquet"
    columns = "epoch(datetime::TIMESTAMPTZ) AS t, total_wind_part AS w, windspeed_100m AS v"
    return _regular(_table(file, columns, where=f"station = '{name}'"), QUARTER_S)


def hourly_price(data: Path) -> History:
    """Ontario's hourly price of energy, real time, 2016, money per kWh; known when its hour is over."""
    file = data / "ieso_ontario" / "y2016.parquet"
    columns = f"epoch(strptime(date, '%d/%m/%Y')) + 3600 * (hour - 1) + {_EASTERN} AS t, HOEP AS v"
    grid, found = _regular(_table(file, columns), HOUR_S)
    return History(grid, ("ontario",), found["v"][None])


def auction_price(data: Path) -> tuple[History, Weather]:
    """Dutch day-ahead price, hours, money per kWh, known from 13:00 of the day before; operator's weather.

    The price is in the files as it was used by the operator, the weather is its numerical forecast.
    """
    from gridflock.bench._forecast_series import substations  # noqa: PLC0415 - its weather alone

    _, weather = substations(data)
    price = weather.columns["price_mwh"]
    known = np.flatnonzero(np.isfinite(price))
    first = weather.grid.edges_s[known[0]]
    whole = price[known[0] : known[-1] + 1][: (known[-1] + 1 - known[0]) // 4 * 4].reshape(-1, 4)
    grid = TimeGrid.uniform(int(first), HOUR_S, len(whole))
    local = grid.starts_s + utc_offset_s("Europe/Amsterdam", grid.starts_s)
    out = grid.starts_s - local % DAY_S - DAY_S + _PUBLISHED_S
    history = History(grid, ("nl",), whole.mean(axis=1)[None] / 1000.0, out[None])
    columns = {name: column for name, column in weather.columns.items() if name != "price_mwh"}
    return history, Weather(weather.grid, columns, weather.kind)
