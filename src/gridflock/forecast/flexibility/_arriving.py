"""Vehicles that are not there yet: what those can stop drawing that are expected to come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.flexible._bands import DWELL_S, TYPICAL_CHARGER_KW, TYPICAL_GAIN, TYPICAL_NEED_KWH
from gridflock.units import HOUR_S, Kw, TimeGrid

Floats = NDArray[np.float64]


def arriving(base_kw: Kw, grid: TimeGrid, edges_s: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """What vehicles to come draw unasked, and could draw as well.

    A need appears at its step's end in vehicles of a typical need and charger, which charge at once and stay
    for hours after they are full: whatever they put off for a while is made good.

    Args:
        base_kw: (K, T) needs as negative mean powers.
        grid: the T steps.
        edges_s: (H+1,) of the steps in question.

    Returns:
        (K, H) kW that is drawn, and kW that is connected and not drawn; >= 0.
    """
    need = np.maximum(-np.asarray(base_kw, dtype=np.float64), 0.0) * grid.hours
    came = grid.edges_s[1:, None].astype(np.float64)
    charged = came + HOUR_S * TYPICAL_NEED_KWH / (TYPICAL_CHARGER_KW * TYPICAL_GAIN)
    begin, end = edges_s[None, :-1], edges_s[None, 1:]

    def inside(until: Floats) -> Floats:
        both = np.clip(np.minimum(end, until) - np.maximum(begin, came), 0.0, None)
        return np.asarray(both / (end - begin))

    power = need * (TYPICAL_CHARGER_KW / TYPICAL_NEED_KWH)
    drawn = power @ inside(charged)
    return drawn, np.maximum(power @ inside(came + DWELL_S) - drawn, 0.0)
