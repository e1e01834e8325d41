"""Clear-sky irradiance at a site: what the sun offers a roof of any orientation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridflock.units import DAY_S, Seconds

_CELL_S = 300
_CELLS = DAY_S // _CELL_S
_TURBIDITY = 3.0
"""Linke turbidity of ordinary air; its error ends up in the fitted capacity."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the series are.

    Attributes:
        latitude: degrees, north positive.
        longitude: degrees, east positive.
        timezone: IANA name; people's habits follow its clock.
        country: ISO 3166-1 code, with the part of the country after a dash where holidays differ ("US-CA");
            empty: no holidays.
    """

    latitude: float
    longitude: float
    timezone: str
    country: str = ""


def clear_sky(site: Site, edges_s: Seconds) -> Floats:
    """Means over each step of what a plane's clear-sky power is a linear combination of.

    A plane with unit normal n sees ``beam·max(n·sun, 0) + diffuse``; a fleet of many roofs acts
    like one mean normal, so beam·sun (up, north, east) and diffuse span its power. Solar position
    after NREL SPA, irradiance after Ineichen and Perez (2002), both from pvlib, on 5-minute cells.

    Args:
        site: latitude and longitude.
        edges_s: (n+1,) edges of the steps, unix seconds.

    Returns:
        (n, 5): beam on a horizontal, a north-facing and an east-facing plane, diffuse, all in
        kW/m² and exactly 0 where the sun is below the horizon throughout; elevation in degrees.
    """
    first, last = int(edges_s[0]) // DAY_S, -(-int(edges_s[-1]) // DAY_S)
    cells = np.concatenate([_day(site, day) for day in range(first, last)])
    total = np.concatenate([np.zeros((1, cells.shape[1])), np.cumsum(cells, axis=0)])
    # Running sums read off between cells: exact for steps of any length, 0 stays 0.
    place = (edges_s - first * DAY_S) / _CELL_S
    cell = np.minimum(place.astype(np.int64), len(cells) - 1)
    at_edge = total[cell] + (place - cell)[:, None] * cells[cell]
    at_edge = np.where((place == cell)[:, None], total[cell], at_edge)
    return np.diff(at_edge, axis=0) / np.diff(place)[:, None]


@lru_cache(maxsize=512)
def _day(site: Site, day: int) -> Floats:
    """The five columns of ``clear_sky`` for the cells of one UTC day."""
    # pvlib takes seconds to import; whoever asks for no sun does not wait for it.
    from pvlib import atmosphere, clearsky, irradiance, spa  # noqa: PLC0415 -- see above

    t_s = day * DAY_S + _CELL_S * (np.arange(_CELLS) + 0.5)
    apparent_zenith, _, elevation, _, azimuth, _ = spa.solar_position(
        t_s, site.latitude, site.longitude, 0.0, 1013.25, 12.0, 67.0, 0.5667
    )
    day_of_year = (
        1 + day - int(np.datetime64(day, "D").astype("datetime64[Y]").astype("datetime64[D]").astype(int))
    )
    sky = clearsky.ineichen(
        np.minimum(apparent_zenith, 90.0),
        atmosphere.get_relative_airmass(np.minimum(apparent_zenith, 89.9)),
        _TURBIDITY,
        dni_extra=irradiance.get_extra_radiation(day_of_year),
    )
    high, turn = np.deg2rad(elevation), np.deg2rad(azimuth)
    beam, diffuse = sky["dni"] / 1000.0, sky["dhi"] / 1000.0
    columns = np.stack(
        [
            beam * np.sin(high),
            beam * np.cos(high) * np.cos(turn),
            beam * np.cos(high) * np.sin(turn),
            np.maximum(diffuse, 0.0),
        ],
        axis=1,
    )
    cells = np.column_stack([np.where(elevation[:, None] > 0, columns, 0.0), elevation])
    cells.flags.writeable = False
    return cells
