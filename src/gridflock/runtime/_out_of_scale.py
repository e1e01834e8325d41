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
_KNOWN_DAYS, _ALIKE = 4, 3.0
"""What was reached on so many days, to within this factor, is its own: a charger beside its standby."""
_AT_REST = 0.25
"""On such a day so much of what was told is of the usual size: another unit leaves nothing of that."""


def out_of_scale(history: History) -> Mask:
    """Steps (S, T) out of all proportion, with those beside them.

    Where more than a quarter of what is kept is so large, that is the series' size. What rests at little and
    comes in bursts, day after day, has both.

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
        vast = told[row] & (size[row] > _VAST * usual)
        if vast.any():
            found[row] = vast & (size[row] > _ALIKE * _reached(size[row], told[row], vast, DAY_S // step_s))
    rows = np.flatnonzero(found.any(axis=1))
    if not len(rows):
        return found
    beside = np.ones(2 * (_BESIDE_S // step_s) + 1)
    for row in rows.tolist():
        near = np.convolve(found[row].astype(np.float64), beside, mode="same")[: history.grid.n]
        found[row] = (near > 0.5) & np.isfinite(size[row])
    return found


def _reached(size: NDArray[np.float64], told: Mask, vast: Mask, per_day: int) -> float:
    """What a series (T,) comes to on several days on which it rests as well; 0 where there are none such."""
    days = len(size) // per_day
    large, some, strange = (
        column[len(column) - days * per_day :].reshape(days, per_day)
        for column in (np.where(told, size, 0.0), told, vast)
    )
    rests = (some & ~strange).sum(axis=1) >= np.maximum(_AT_REST * some.sum(axis=1), 1.0)
    tops = np.sort(large[rests].max(axis=1, initial=0.0))[::-1]
    return float(tops[_KNOWN_DAYS - 1]) if len(tops) >= _KNOWN_DAYS else 0.0
