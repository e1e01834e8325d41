"""Readings that no device of that kind could give, and values that stand still though others are ordered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Response
from gridflock.fleet import Fleet, Image
from gridflock.model import Readings, Rejected
from gridflock.schema import QUANTITY, Family

STANDING = 5
"""So many newer readings that repeat a value to the last digit are no measurement of what is ordered."""
_SLACK_SHARE, _SLACK_KW = 0.1, 0.5
_SHOWN = 20
_P = QUANTITY["p_kw"]
_SCALE, _LEAST_KW = 20.0, 1.0
"""So many times a nameplate (of this size at least) is no power of the device: another unit, or nonsense."""
_TURNED = "sign turned round: outside the nameplate, and inside it with the other"
_UNIT = "another unit: twenty times the nameplate and more"
_STANDS = "stands still to the last digit though another power is ordered"


def upright(readings: Readings, fleet: Fleet) -> tuple[Readings, tuple[Rejected, ...]]:
    """Readings without powers of the wrong sign or out of all proportion.

    A power of the wrong sign lies outside the nameplate, and its opposite inside: a generator that draws what
    it could give, a load that gives. Meters of others, which may turn, are not judged. Out of proportion is a
    power many times the nameplate, such as watts taken for kilowatts: of every resource that has one.

    Args:
        readings: on the fleet's rows.
        fleet: whose nameplates.
    """
    low, high = fleet.columns["p_min_kw"], fleet.columns["p_max_kw"]
    at = np.flatnonzero((readings.quantity == _P) & (readings.index >= 0) & np.isfinite(readings.value))
    rows = readings.index[at]
    value, least, most = readings.value[at], low[rows].astype(np.float64), high[rows].astype(np.float64)
    slack = _SLACK_KW + _SLACK_SHARE * np.maximum(most, -least)
    size = np.maximum(np.nan_to_num(most), -np.nan_to_num(least))
    vast = (size > 0) & (np.abs(value) > _SCALE * np.maximum(size, _LEAST_KW))
    outside = (value < least - slack) | (value > most + slack)
    turned = outside & (-value >= least - slack) & (-value <= most + slack)
    turned &= (fleet.family[rows] != Family.NONE) & ~vast
    if not (turned | vast).any():
        return readings, ()
    keep = np.ones(len(readings.index), dtype=bool)
    keep[at[turned | vast]] = False
    left = Readings(
        readings.ids,
        readings.index[keep],
        readings.quantity[keep],
        readings.value[keep],
        readings.time_s[keep],
        readings.quality[keep],
    )
    told = ((turned, _TURNED), (vast, _UNIT))
    return left, tuple(_told(fleet, rows[those], reason) for those, reason in told if those.any())


def standing(fleet: Fleet, image: Image, response: Response) -> tuple[Rejected, ...]:
    """Resources whose power is repeated to the last digit though another is ordered and they have taken it.

    Args:
        fleet: counts repetitions.
        image: of this moment.
        response: the orders in force.
    """
    asked = np.asarray(response.ordered_kw, dtype=np.float64)
    size = np.maximum(image.columns["p_max_kw"], -image.columns["p_min_kw"].astype(np.float64))
    off = np.abs(asked - image.p_kw) > np.maximum(_SLACK_KW, _SLACK_SHARE * size)
    stands = off & response.answered & (image.p_kw != 0.0) & (fleet.repeats("p_kw") >= STANDING)
    rows = np.flatnonzero(stands)
    if not len(rows):
        return ()
    return (_told(fleet, rows, _STANDS),)


def _told(fleet: Fleet, rows: NDArray[np.integer], reason: str) -> Rejected:
    """One report for many resources, naming at most a screenful."""
    ids = tuple(dict.fromkeys(fleet.ids[row] for row in rows[: 4 * _SHOWN].tolist()))[:_SHOWN]
    return Rejected("reading", "p_kw", ids, reason, count=len(rows))
