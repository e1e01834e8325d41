"""Quarter-hours out of all proportion to their series: another unit, until the gate has looked at it.

The gate finds after midnight what stands in another unit, and mends it. Until then nothing is to be expected
from such values; they are taken as not heard.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.model import History
from gridflock.units import DAY_S, HOUR_S, Mask

_VAST = 50.0
"""So many times what three in four of a series' values other than 0 stay below is out of all proportion."""
_FEWEST_DAYS = 2
_BESIDE_S = 3 * HOUR_S
"""What lies so near to such values may be in the same unit, though small enough."""


def out_of_scale(history: History) -> Mask:
    """Steps (S, T) out of all proportion, with those beside them.

    Where more than a quarter of what is kept is so large, that is the series' size.

    Args:
        history: on uniform steps.
    """
    size: NDArray[np.float64] = np.abs(np.asarray(history.value_kw, dtype=np.float64))
    found = np.zeros(size.shape, dtype=np.bool_)
    if history.grid.n < 2:
        return found
    step_s = int(history.grid.edges_s[1] - history.grid.edges_s[0])
    told = np.isfinite(size) & (size > 0)
    for row in np.flatnonzero(told.sum(axis=1) * step_s >= _FEWEST_DAYS * DAY_S).tolist():
        usual = float(np.quantile(size[row, told[row]], 0.75))
        found[row] = told[row] & (size[row] > _VAST * usual)
    rows = np.flatnonzero(found.any(axis=1))
    if not len(rows):
        return found
    beside = np.ones(2 * (_BESIDE_S // step_s) + 1)
    for row in rows.tolist():
        near = np.convolve(found[row].astype(np.float64), beside, mode="same")[: history.grid.n]
        found[row] = (near > 0.5) & np.isfinite(size[row])
    return found
