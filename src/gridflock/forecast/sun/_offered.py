"""The clear sky beside a weather forecast, on its own steps, so that the two compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflock.forecast._sun import Site, clear_sky
from gridflock.model import Weather

CLEAR_GHI = "clear_ghi_w_m2"


def with_clear_sky(weather: Weather, site: Site) -> Weather:
    """The weather with a column ``clear_ghi_w_m2``: irradiance of a horizontal plane under a clear sky.

    Means over the same steps as ``ghi_w_m2``, W/m², so that whatever is done to both columns alike
    (interpolation, means over hours) leaves their ratio a clear-sky index.
    """
    edges = weather.grid.edges_s
    light = clear_sky(site, edges)[:, [0, 3]].sum(axis=1) if weather.grid.n else np.empty(0)
    return replace(weather, columns={**weather.columns, CLEAR_GHI: 1000.0 * light})
