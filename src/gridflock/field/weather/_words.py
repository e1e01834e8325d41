"""What others call the quantities of the weather, and the factors from their units to ours.

Names of programs that make tables of GRIB messages are known (ecCodes, cfgrib): Kelvin, pascals, shares of
cloud, two components of wind, and radiation that is counted up from the start of the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridflock.field.weather._table import QUANTITIES, Floats

KELVIN = 273.15


@dataclass(frozen=True, slots=True)
class Word:
    """What a column of another's means.

    Attributes:
        ours: the name of ours.
        factor: to our unit.
        offset: added after.
        summed: it counts up from the issue on, per m²; what is wanted is its rate.
    """

    ours: str
    factor: float = 1.0
    offset: float = 0.0
    summed: bool = False


_PASCAL = Word("pressure_pa")
WORDS: Mapping[str, Word] = {
    "t2m": Word("temp_c", offset=-KELVIN),
    "2t": Word("temp_c", offset=-KELVIN),
    "ssrd": Word("ghi_w_m2", summed=True),
    "fdir": Word("dni_w_m2", summed=True),
    "tcc": Word("cloud"),
    "sp": _PASCAL,
    "msl": _PASCAL,
    "i10fg": Word("gust_m_s"),
    "temperature_2m": Word("temp_c"),
    "shortwave_radiation": Word("ghi_w_m2"),
    "direct_normal_irradiance": Word("dni_w_m2"),
    "diffuse_radiation": Word("dhi_w_m2"),
    "cloud_cover": Word("cloud", 0.01),
    "relative_humidity_2m": Word("humidity_pct"),
}
_WIND = {("u10", "v10"): "wind_m_s", ("u100", "v100"): "wind_100m_m_s"}
VALID = ("valid_time", "valid", "t_s", "time", "timestamp", "datetime", "utc", "start")
"""Names of the column that says which step a row is of."""
ISSUED = ("issued_s", "issued", "issue_time", "reference_time", "run")
"""Names of the column that says when a row was issued."""
_IDLE = ("step", "number", "latitude", "longitude", "surface", "heightaboveground")
"""Columns of GRIB tables that say where and what, and are not needed."""


def in_our_words(t_s: Floats, issued_s: Floats, columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Columns by our names and in our units; those that nobody knows keep theirs.

    Args:
        t_s: (n,) starts of steps.
        issued_s: (n,) issues: what counts up does so within one.
        columns: (n,) each, by anybody's name.
    """
    found: dict[str, Floats] = {}
    low = {name.lower(): name for name in columns}
    for (east, north), ours in _WIND.items():
        if east in low and north in low:
            found[ours] = np.hypot(columns[low.pop(east)], columns[low.pop(north)])
    for name, theirs in low.items():
        word = WORDS.get(name)
        if name in QUANTITIES:
            found[name] = columns[theirs]
        elif word is not None:
            column = _rate(t_s, issued_s, columns[theirs]) if word.summed else columns[theirs]
            found.setdefault(word.ours, column * word.factor + word.offset)
        elif name not in _IDLE:
            found[theirs] = columns[theirs]
    return found


def _rate(t_s: Floats, issued_s: Floats, total: Floats) -> Floats:
    """What is added per second from each step to the next of the same issue; NaN at the last."""
    found = np.full(len(total), np.nan)
    order = np.lexsort((t_s, issued_s))
    first, after = order[:-1], order[1:]
    together = (issued_s[first] == issued_s[after]) & (t_s[after] > t_s[first])
    first, after = first[together], after[together]
    found[first] = (total[after] - total[first]) / (t_s[after] - t_s[first])
    return found
