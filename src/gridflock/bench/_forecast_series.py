"""Measured series of a data folder, read into the house's sign, units and clock.

Each reader says what it left out: only what a product could find by itself without knowing the future, a
value that stands still for hours. Everything else stays as it was recorded, faults included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, TimeGrid, unix_s, utc_offset_s

Floats = NDArray[np.float64]
HALF_S = 1_800
_STUCK_H = 8
"""A load that stands still to the last digit for so long is taken as not heard."""
_J_PER_WH = 3_600.0
_HOMES_START_S = unix_s("2016-07-31T23:00")
"""Wall clock of the homes' first hour: their weekdays are those of 2016."""
_DIGITS = 4
"""Of energies from running sums, whose own error is a hundred times smaller."""
_POINTS = range(1, 7)
_PROFILES = ("e1a", "e1b", "e1c", "e2a", "e2b", "e3a", "e3b", "e3c", "e3d", "e4a")


def feeder(data: Path) -> tuple[History, Weather]:
    """Demand of Stentaway primary, half-hours, with reanalysis of six points around it.

    Left out: zeros that stand for hours (2018-05-08). Transfers of load stay.
    """
    table = _table(data / "wpd_pod_stentaway" / "demand.parquet", 'epoch("datetime") AS t, "demand_MW" AS v')
    grid, columns = _regular(table, HALF_S)
    value = without_stuck(-1000.0 * columns["v"], HALF_S)
    return History(grid, ("stentaway",), value[None]), _reanalysis(data)


def solar_farm(data: Path) -> tuple[History, Weather]:
    """Output of the 5 MWp farm at Stentaway, half-hours, with the same reanalysis. Nothing left out."""
    table = _table(data / "wpd_pod_stentaway" / "pv.parquet", 'epoch("datetime") AS t, "pv_power_mw" AS v')
    grid, columns = _regular(table, HALF_S)
    return History(grid, ("solar_farm",), 1000.0 * columns["v"][None]), _reanalysis(data)


def _reanalysis(data: Path) -> Weather:
    """Hourly means of six points: each, and the mean of all."""
    points = ", ".join(f'"temp_location{k}", "solar_location{k}"' for k in _POINTS)
    table = _table(data / "wpd_pod_stentaway" / "weather.parquet", f'epoch("datetime") AS t, {points}')
    grid, columns = _regular(table, HOUR_S)
    temp = {f"temp_{k}_c": columns[f"temp_location{k}"] for k in _POINTS}
    sun = {f"ghi_{k}_w_m2": columns[f"solar_location{k}"] for k in _POINTS}
    means = {"temp_c": _mean(temp), "ghi_w_m2": _mean(sun)}
    return Weather(grid, means | temp | sun, "perfect")


def homes(data: Path) -> History:
    """Household load of 17 homes, hours.

    The weather that comes with them is not read: its foreseen columns are the future, and the others tell
    nothing of the load from day to day (correlation of daily means -0.3 in August). The homes' clock is the
    wall clock: an hour of the spring change is missing, one of autumn's two is.
    """
    folder = data / "citylearn2022_homes"
    table = _table(folder / "homes.parquet", "t, building, load_kwh AS v", order="building, t")
    hours = int(table["t"].max()) + 1
    ids = np.unique(table["building"])
    wall = _HOMES_START_S + HOUR_S * np.arange(hours)
    start = wall - utc_offset_s("America/Los_Angeles", wall + 8 * HOUR_S)
    grid, place = _places(start, HOUR_S)
    value = np.full((len(ids), grid.n), np.nan)
    value[:, place] = -table["v"].astype(np.float64).reshape(len(ids), hours)
    return History(grid, tuple(f"home_{k}" for k in ids), value)


def workplace(data: Path) -> History:
    """Charging at the JPL garages, hours, from sessions: energy spread evenly over the charging time.

    Charging ends with the parking at the latest (a clock of one minute's resolution says otherwise in 11 %
    of the sessions). The sessions' clock is the wall clock. Nothing left out.
    """
    query = 'epoch("start") AS t, epoch("end") AS until, charge_min, energy_kwh AS e'
    table = _table(data / "ev_sessions" / "sessions.parquet", query, where="site = 'jpl'")
    wall = table["t"].astype(np.int64)
    start = wall - utc_offset_s("America/Los_Angeles", wall + 8 * HOUR_S)
    parked = table["until"] - table["t"]
    charging = np.clip(60.0 * table["charge_min"], 60.0, np.maximum(parked, 60.0))
    first = int(start.min()) // DAY_S * DAY_S + 8 * HOUR_S
    n = (int((start + charging).max()) - first) // HOUR_S + 1
    grid = TimeGrid.uniform(first, HOUR_S, n)
    energy = _spread(start - first, start - first + charging, table["e"].astype(np.float64), n)
    return History(grid, ("jpl",), -energy[None])


def _spread(begin: NDArray[Any], end: NDArray[Any], energy: Floats, n: int) -> Floats:
    """Energy by hour (n,) of rows that draw evenly from begin to end, seconds after the first hour."""
    power = energy / (end - begin)
    # The running sum of energy up to each edge, from where rows begin and where they end.
    edges = HOUR_S * np.arange(n + 1, dtype=np.float64)
    found = np.zeros(n + 1)
    for moments, sign in ((begin, 1.0), (end, -1.0)):
        order = np.argsort(moments, kind="stable")
        count = np.searchsorted(moments[order], edges)
        rates = np.concatenate([[0.0], np.cumsum(power[order])])
        firsts = np.concatenate([[0.0], np.cumsum((power * moments)[order])])
        found += sign * (rates[count] * edges - firsts[count])
    return np.maximum(np.round(np.diff(found), _DIGITS), 0.0)


def heat_pumps(data: Path) -> tuple[History, Weather]:
    """Heat pumps of German homes together, hours, with the weather as shipped. Nothing left out."""
    columns = (
        'epoch("date"::TIMESTAMPTZ) AS t, hp_w, "temp" AS temp_c, app_temp AS apparent_c, '
        "rh AS humidity_pct, gust AS gust_m_s"
    )
    table = _table(data / "wpuq_homes_heatpumps" / "agg.parquet", columns)
    grid, found = _regular(table, HOUR_S)
    value = -found.pop("hp_w") / 1000.0
    return History(grid, ("heat_pumps",), value[None]), Weather(grid, found, "perfect")


def substations(data: Path) -> tuple[History, Weather]:
    """Three Dutch substations, quarters, with the operator's weather forecasts, price and profiles.

    Radiation, J/m² per hour in the files, becomes W/m² and is never negative. Left out: values that stand
    still for hours (435 on 2020-10-12).
    """
    folder = data / "openstef_nl_substations"
    tables = {k: _regular(_station(folder / f"pid_{k}.parquet"), QUARTER_S) for k in (287, 307, 435)}
    grid, shared = tables[287]
    load = np.stack([columns["load"] for _, columns in tables.values()])
    value = np.stack([without_stuck(-1000.0 * row, QUARTER_S) for row in load])
    weather = {name: column for name, column in shared.items() if name != "load"}
    weather["ghi_w_m2"] = np.maximum(weather["ghi_w_m2"] / _J_PER_WH, 0.0)
    return History(grid, tuple(f"pid_{k}" for k in tables), value), Weather(grid, weather, "issued")


def _station(file: Path) -> Mapping[str, Floats]:
    names = {
        "load": "load",
        "temp": "temp_c",
        "radiation": "ghi_w_m2",
        "windspeed": "wind_m_s",
        "windspeed_100m": "wind_100m_m_s",
        "winddeg": "wind_deg",
        "clouds": "clouds_pct",
        "humidity": "humidity",
        "pressure": "pressure_pa",
        "rain": "rain",
        "mxlD": "mixed_layer_m",
        "snowDepth": "snow_depth",
        "clearSky_ulf": "clear_sky_up",
        "clearSky_dlf": "clear_sky_down",
        "APX": "price_mwh",
    } | {f"sjv_{kind.upper()}": f"profile_{kind}" for kind in _PROFILES}
    columns = ", ".join(f'"{source}" AS {name}' for source, name in names.items())
    return _table(file, f'epoch("index"::TIMESTAMPTZ) AS t, {columns}')


def without_stuck(value: Floats, step_s: int) -> Floats:
    """A load (T,) without the runs that stand still to the last digit for eight hours or more."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(value) != 0]))
    length = np.diff(np.append(starts, len(value)))
    stuck = np.repeat(length * step_s >= _STUCK_H * HOUR_S, length)
    return np.where(stuck, np.nan, value)


def _mean(columns: Mapping[str, Floats]) -> Floats:
    mean: Floats = np.mean(list(columns.values()), axis=0)
    return mean


def _table(file: Path, columns: str, where: str = "true", order: str = "t") -> Mapping[str, NDArray[Any]]:
    """Columns of a Parquet file; NaN where null.

    Raises:
        FileNotFoundError: no such file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} (rule: --data names the folder with the series)")
    source = f"read_parquet('{file}', file_row_number = true)"
    query = f"SELECT {columns} FROM {source} WHERE {where} ORDER BY {order}"  # noqa: S608 - all of it ours
    with duckdb.connect() as base:
        found = base.execute(query).fetchnumpy()
    return {name: _plain(column) for name, column in found.items()}


def _plain(column: Any) -> NDArray[Any]:  # noqa: ANN401 - duckdb masks nulls
    if isinstance(column, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(column), np.nan, np.ma.getdata(column).astype(np.float64))
    return np.asarray(column)


def _regular(table: Mapping[str, NDArray[Any]], step_s: int) -> tuple[TimeGrid, dict[str, Floats]]:
    """Columns on the uniform grid from the first to the last ``t``; NaN where there is no row."""
    grid, place = _places(table["t"].astype(np.int64), step_s)
    found = {}
    for name, column in table.items():
        if name != "t":
            found[name] = np.full(grid.n, np.nan)
            found[name][place] = column
    return grid, found


def _places(start: NDArray[np.int64], step_s: int) -> tuple[TimeGrid, NDArray[np.int64]]:
    """The uniform grid that holds all starts, and where each lies."""
    first = int(start.min())
    place = (start - first) // step_s
    return TimeGrid.uniform(first, step_s, int(place.max()) + 1), place
