"""Series from a file, made ready for forecasts: read, taken apart from the weather, checked, mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gridflock.field.series import SeriesColumns, read_series
from gridflock.forecast import Site
from gridflock.forecast.quality import (
    Examination,
    Finding,
    Kind,
    Repaired,
    check,
    gathered,
    repaired,
    unheard,
)
from gridflock.model import History, Rejected, Weather

WEATHER = (
    "temp_c", "ghi_w_m2", "wind_m_s", "wind_100m_m_s", "wind_deg", "pressure_pa", "cloud", "humidity",
)  # fmt: skip
"""Columns that tell of the weather, whatever file they stand in."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesFile:
    """What a file holds once the gate has seen it.

    Attributes:
        history: mended, house sign, kW; prices as they stand in the file.
        kinds: what each series measures.
        weather: of the file's own weather columns, or of a file of its own; None without any that tell
            something.
        examination: everything that was found, of weather what is missing.
        done: findings that were mended.
        rejected: cells that could not be read.
    """

    history: History
    kinds: Mapping[str, Kind]
    weather: Weather | None
    examination: Examination
    done: tuple[Finding, ...]
    rejected: tuple[Rejected, ...]


def series_file(
    path: Path,
    kinds: Mapping[str, Kind],
    site: Site | None,
    *,
    otherwise: Kind = Kind.LOAD,
    timezone: str = "UTC",
    demand_positive: bool = False,
    weather: Path | None = None,
    weather_kind: Literal["issued", "perfect"] = "issued",
) -> SeriesFile:
    """Read a file and pass it through the gate.

    Args:
        path: CSV or Parquet with a column of stamps.
        kinds: what series measure, by name.
        site: where they stand; None: clocks are compared with each other only.
        otherwise: what all others measure.
        timezone: clock of stamps without offset.
        demand_positive: the file counts consumption as positive; generation series keep their sign.
        weather: a file of weather columns, instead of the file's own. What stands in the file itself was
            measured with the rest: it is known once it is over.
        weather_kind: whether the weather of that file was issued in advance, or stands for a perfect
            forecast.

    Raises:
        Unreadable: the file as a whole cannot be read.
        KeyError: a kind for a series that the file does not hold.
        ValueError: nothing but weather in the file.
    """
    told = read_series(path, timezone)
    power = {name: column for name, column in told.columns.items() if name not in WEATHER}
    strange = sorted(set(kinds) - set(power))
    if strange:
        raise KeyError(strange[0])
    if not power:
        raise ValueError(f"{path.name}: no series but the weather's")
    labels = {name: kinds.get(name, otherwise) for name in power}
    if demand_positive:
        power = {n: -v if labels[n] in {Kind.LOAD, Kind.NET} else v for n, v in power.items()}
    mended, seen = check(told.t_s, power, labels, site)
    sky = told if weather is None else read_series(weather, timezone)
    found, missing = _weather(sky, weather_kind, measured=weather is None)
    whole = replace(seen, findings=(*seen.findings, *missing.done, *missing.left))
    return SeriesFile(
        mended.history, mended.kinds, found, whole, (*mended.done, *missing.done),
        told.rejected if weather is None else (*told.rejected, *sky.rejected),
    )  # fmt: skip


def _weather(
    told: SeriesColumns, kind: Literal["issued", "perfect"], *, measured: bool
) -> tuple[Weather | None, Repaired]:
    """Columns that tell something of the weather, and what is missing in all of them."""
    columns = {name: column for name, column in told.columns.items() if name in WEATHER}
    laid, _ = gathered(told.t_s, columns)
    mended = repaired(laid, unheard(laid))
    values = dict(zip(laid.series, mended.history.value_kw, strict=True))
    telling = {name: value for name, value in values.items() if np.isfinite(value).any()}
    if not telling:
        return None, mended
    known_s = laid.grid.edges_s[1:] if measured else None
    return Weather(laid.grid, telling, kind, known_s), mended
