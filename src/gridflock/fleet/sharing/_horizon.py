"""Sharing among stores so that what is left keeps the group able: by fullness, or by time left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._water import columns_of, fair
from gridflock.units import HOUR_S, Kw, Kwh

_LEAST = 1e-6
"""Weight of who has nothing, as a share of the largest: with room by its bounds it still comes last."""
_Array = NDArray[np.float64]


def balance(target_kw: float, lo: Kw, hi: Kw, spare_kwh: Kwh, room_kwh: Kwh) -> _Array:
    """Move stores towards one state of charge: the fuller discharge more, the emptier charge more.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.
        spare_kwh: (n,) energy that each can still deliver, losses taken off.
        room_kwh: (n,) energy that each can still draw, losses added.

    Returns:
        float64 (n,) shares in kW; nobody charges while another discharges.
    """
    low, high = columns_of(lo, hi)
    rest = np.empty_like(low)
    discharging = target_kw >= _rest(low, high, rest)
    least, most, stock = (rest, high, spare_kwh) if discharging else (low, rest, room_kwh)
    return fair(target_kw, least, most, _positive(stock), rest)


def sustain(
    target_kw: float,
    lo: Kw,
    hi: Kw,
    rated_kw: Kw,
    spare_kwh: Kwh,
    room_kwh: Kwh,
    step_s: float,
) -> _Array:
    """Keep the group able as long as any policy can: who could go on longest is used first.

    Time left is energy by rated power. All above one level of time left are used, down to that
    level where a step is long enough: ``x = clip((spare − level·rated) / step, 0, hi)``. Of all ways
    to follow a course of one sign this one serves every course that any other serves, without
    knowing it (Evans, Tindemans and Angeli, Robustly maximal utilisation of energy-constrained
    distributed resources, 2018). Over a course of both signs no rule does that; this one then
    still equalises hours to empty, or to full.

    Args:
        target_kw: wanted sum; outside [Σ lo, Σ hi] the nearest bound is given.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo, of this step: energy included.
        rated_kw: (n,) power that each has as long as its energy lasts, in the target's direction, >= 0.
        spare_kwh: (n,) energy that each may deliver until the end of the horizon, losses and what
            is promised otherwise taken off.
        room_kwh: (n,) energy that each may draw until then.
        step_s: for how long the shares will hold.

    Returns:
        float64 (n,) shares in kW; nobody charges while another discharges.
    """
    low, high = columns_of(lo, hi)
    rest = np.empty_like(low)
    per_kwh = HOUR_S / step_s
    weight = _positive(rated_kw)
    if target_kw >= _rest(low, high, rest):
        return fair(target_kw, rest, high, weight, np.maximum(spare_kwh, 0.0) * per_kwh)
    return fair(target_kw, low, rest, weight, np.maximum(room_kwh, 0.0) * -per_kwh)


def _positive(weight: NDArray[Any]) -> NDArray[Any]:
    largest = float(weight.max(initial=0.0))
    positive: NDArray[Any] = np.maximum(weight, weight.dtype.type(_LEAST * max(1.0, largest)))
    return positive


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})  # type: ignore[untyped-decorator] # numba carries no annotations
def _rest(lo: NDArray[Any], hi: NDArray[Any], rest: NDArray[Any]) -> float:
    """The level of each row that is nearest to 0, into ``rest``; returns their sum."""
    total, none = 0.0, rest.dtype.type(0.0)
    for i in range(len(lo)):
        x = max(min(hi[i], none), lo[i])
        rest[i] = x
        total += np.float64(x)
    return total
