"""Shells of houses and hot-water tanks, as they are built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._thermal import Houses, Tanks
from gridflock.units import Kw, Mask

_TANK_K = 17.0
"""Hottest allowed minus coldest acceptable water: 63 °C over 46 °C."""
_WATER_KWH_L_K = 1.163e-3


def houses(rng: np.random.Generator, rating_kw: Kw) -> Houses:
    """Houses that fit their machine: it holds the setpoint at 34–42 °C outside.

    Time constants of 7–15 hours, setpoints of 22.5–25 °C, comfort 0.9–1.4 K either side.
    """
    n = len(rating_kw)
    cop = rng.uniform(2.8, 3.6, n)
    set_c = rng.uniform(22.5, 25.0, n)
    gain_kw = rng.uniform(0.25, 0.6, n)
    window_m2 = rng.uniform(0.8, 2.0, n)
    design_k = rng.uniform(34.0, 42.0, n) - set_c
    loss_kw_k = np.maximum(0.9 * rating_kw * cop - gain_kw - 0.6 * window_m2, 1.0) / design_k
    return Houses(
        set_c=set_c,
        band_k=rng.uniform(0.9, 1.4, n),
        loss_kw_k=loss_kw_k,
        heat_kwh_k=loss_kw_k * rng.uniform(7.0, 15.0, n),
        cop=cop,
        gain_kw=gain_kw,
        window_m2=window_m2,
    )


def tanks(rng: np.random.Generator, pumped: Mask) -> Tanks:
    """Tanks of 150–300 l; ``pumped`` ones are heated by a heat pump, the others by resistance."""
    n = len(pumped)
    litres = rng.uniform(150, 300, n)
    nothing: NDArray[np.float32] = np.zeros((0, n), dtype=np.float32)
    return Tanks(
        width_kwh=litres * _WATER_KWH_L_K * _TANK_K,
        loss_kw=rng.uniform(0.05, 0.09, n),
        cop=np.where(pumped, rng.uniform(2.6, 3.2, n), 0.98),
        draw_kwh=nothing,
    )
