"""Sun and wind: they give what there is, or less when held down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._devices import Columns, Devices
from gridflock.sim._scenario import Draw, draws
from gridflock.sim._weather import Weather
from gridflock.units import Kw, Rows

_GROUND_ALBEDO = 0.2
_CUT_IN, _RATED, _CUT_OUT = 3.0, 11.0, 22.0


class Renewables(Devices):
    """Photovoltaics and wind. An order is a ceiling: above what is on offer it changes nothing."""

    def __init__(self, plate: Columns, offer_kw: NDArray[np.float32]) -> None:
        super().__init__(plate)
        self.offer_kw = offer_kw
        """float32 (T, n): on offer in each step of the day."""

    def step(self, k: int, ask_kw: Kw) -> None:
        """Hold over step ``k`` of the day's grid."""
        offer = self.offer_kw[k].astype(np.float64)
        self.own_kw = offer
        self.p_kw = np.where(np.isnan(ask_kw), offer, np.clip(ask_kw, 0.0, offer))


def offer(
    seed: int, plate: Columns, windy: NDArray[np.bool_], place: Rows, sky: Weather
) -> NDArray[np.float32]:
    """What nature offers each row, float32 (T, n), kW.

    Plane-of-array irradiance is beam plus isotropic sky and ground diffuse; a module loses
    0.4 % of power per kelvin above 25 °C cell temperature (cell = air + 0.03 K per W/m²); the
    inverter clips at its rating. Wind follows a cubic power curve between cut-in and rated
    speed.

    Args:
        seed: of the world; roofs and turbines keep their make from day to day.
        plate: registry numbers of the rows.
        windy: (n,) True for turbines.
        place: (n,) row of ``sky.clear_index``.
        sky: the day.
    """
    rng = draws(seed, Draw.FLEET, 1)
    n = len(place)
    turn = rng.choice([180.0, 90.0, 270.0], n, p=[0.6, 0.15, 0.25]) + rng.normal(0, 15, n)
    tilt = np.radians(np.clip(rng.normal(22, 8, n), 3, 45))
    modules_kw = plate["p_max_kw"] * rng.uniform(1.0, 1.3, n)
    clean = rng.uniform(0.82, 0.93, n)
    lee = rng.uniform(0.8, 1.1, n)

    zenith = np.radians(sky.zenith_deg)[:, None]
    incidence = np.cos(zenith) * np.cos(tilt) + np.sin(zenith) * np.sin(tilt) * np.cos(
        np.radians(sky.azimuth_deg[:, None] - turn)
    )
    plane = (
        sky.dni[:, None] * np.maximum(incidence, 0.0)
        + sky.dhi[:, None] * (1 + np.cos(tilt)) / 2
        + sky.ghi[:, None] * _GROUND_ALBEDO * (1 - np.cos(tilt)) / 2
    ) * sky.clear_index[place].T
    cell_c = sky.outdoor_c[:, None] + 0.03 * plane
    sun_kw = modules_kw * clean * plane / 1000 * (1 - 0.004 * (cell_c - 25.0))

    speed = sky.wind_mps[:, None] * lee
    turning = np.clip((speed**3 - _CUT_IN**3) / (_RATED**3 - _CUT_IN**3), 0.0, 1.0) * (speed < _CUT_OUT)
    power = np.where(windy, plate["p_max_kw"] * turning, np.minimum(sun_kw, plate["p_max_kw"]))
    return np.maximum(power, 0.0).astype(np.float32)
