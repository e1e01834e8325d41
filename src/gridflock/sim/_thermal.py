"""Houses and tanks: air-conditioning, reversible heat pumps, hot water; on or off in a comfort band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._devices import Column, Columns, Devices
from gridflock.units import Codes, Kw, Kwh, Mask, Seconds

_F8 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Houses:
    """One thermal node each (1R1C): C dT/dt = (T_out − T)/R + gains − cooling.

    ``u`` is how far a house is from its setpoint towards discomfort, K: warmer when cooling,
    colder when heating.

    Attributes:
        set_c: (h,) setpoint, °C.
        band_k: (h,) comfort reaches this far either side of it.
        loss_kw_k: (h,) 1/R.
        heat_kwh_k: (h,) C.
        cop: (h,) heat moved per electricity.
        gain_kw: (h,) people and appliances.
        window_m2: (h,) effective solar aperture.
    """

    set_c: _F8
    band_k: _F8
    loss_kw_k: _F8
    heat_kwh_k: _F8
    cop: _F8
    gain_kw: _F8
    window_m2: _F8


@dataclass(frozen=True, slots=True, eq=False)
class Tanks:
    """Well-mixed hot-water tanks; content is heat above the coldest acceptable water.

    Attributes:
        width_kwh: (w,) heat between coldest acceptable and hottest allowed.
        loss_kw: (w,) standing loss.
        cop: (w,) heat per electricity.
        draw_kwh: float32 (T, w) heat drawn in each step of the day.
    """

    width_kwh: _F8
    loss_kw: _F8
    cop: _F8
    draw_kwh: NDArray[np.float32]


class Thermal(Devices):
    """Thermostats, then heat pumps, then water heaters; houses are rows [:h], tanks rows [n-w:].

    A heat pump serves either its tank or its house. Minimum on and off times bind first, then
    the edges of comfort, then an order, then the device's own hysteresis, which works inside
    the middle of the comfort band.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "on", "switched_s", "house_u", "tank_kwh", "tank_calls", "occupied_s", "lost_s"
    )  # fmt: skip
    _DEADBAND = 0.4
    """Half width of the own hysteresis, as a share of the comfort band's half width."""
    _TANK_LOW, _TANK_HIGH = 0.35, 0.75
    _GRACE_K = 0.25
    """Beyond the band by more than this, an occupied minute counts as lost."""

    def __init__(self, plate: Columns, houses: Houses, tanks: Tanks, *, cooling: bool, step_h: float) -> None:
        """``cooling``: False on a day for heating; ``step_h``: length of a step of the draws, hours."""
        super().__init__(plate)
        self.step_h = step_h
        self.houses, self.tanks, self.cooling = houses, tanks, cooling
        self.h, self.w = len(houses.set_c), len(tanks.width_kwh)
        self.t0 = self.n - self.w
        self.rating_kw = -plate["p_min_kw"]
        pumps = self.h - self.t0
        self.works: Mask = np.ones(self.n, bool)
        if not cooling:
            self.works[: self.h - pumps] = False
        self.house_width_kwh = 2 * houses.band_k * houses.heat_kwh_k / houses.cop
        self.on: Mask = np.zeros(self.n, bool)
        self.switched_s: Seconds = np.zeros(self.n, np.int64)
        self.house_u: _F8 = np.zeros(self.h)
        self.tank_kwh: Kwh = 0.6 * tanks.width_kwh
        self.tank_calls: Mask = np.zeros(self.w, bool)
        self.occupied_s: _F8 = np.zeros(self.n)
        self.lost_s: _F8 = np.zeros(self.n)

    def start(self, rng: np.random.Generator) -> None:
        """Begin somewhere inside the own hysteresis."""
        reach = self._DEADBAND * self.houses.band_k
        self.house_u = rng.uniform(-reach, reach)
        self.tank_kwh = self.tanks.width_kwh * rng.uniform(self._TANK_LOW, self._TANK_HIGH, self.w)
        self.on = (rng.random(self.n) < 0.3) & self.works

    def _own(self) -> Mask:
        """What the thermostats would switch to now (n,)."""
        on = np.zeros(self.n, bool)
        reach = self._DEADBAND * self.houses.band_k
        held = self.on[: self.h]
        on[: self.h] = (self.house_u > reach) | (held & (self.house_u > -reach))
        fill = self.tank_kwh / self.tanks.width_kwh
        self.tank_calls = (fill < self._TANK_LOW) | (self.tank_calls & (fill < self._TANK_HIGH))
        on[self.t0 :] |= self.tank_calls
        return on & self.works

    def _edges(self) -> tuple[Mask, Mask]:
        """Rows that must run, and rows that must not, to stay comfortable."""
        must = np.zeros(self.n, bool)
        full = np.ones(self.n, bool)
        band = self.houses.band_k
        must[: self.h] = self.house_u >= band
        must[self.t0 :] |= self.tank_kwh <= 0.05 * self.tanks.width_kwh
        full[: self.h] = self.house_u <= -band
        full[self.t0 :] &= self.tank_kwh >= 0.97 * self.tanks.width_kwh
        return must & self.works, full | ~self.works

    def locked_s(self, now_s: int) -> Column:
        """Seconds left of a minimum on or off time (n,)."""
        least = np.where(self.on, self.plate["min_on_s"], self.plate["min_off_s"])
        return np.maximum(self.switched_s + least - now_s, 0.0)

    def step(self, now_s: int, hours: float, ask_kw: Kw, air: tuple[float, float, int], home: Codes) -> None:
        """Hold over ``hours`` from ``now_s``.

        Args:
            now_s: start of the step.
            hours: length of the step.
            ask_kw: (n,) asked power, NaN for none; beyond half the rating means on.
            air: outdoor temperature °C, sun on the windows kW/m², step of the day's grid.
            home: (n,) 1 where somebody is in.
        """
        own = self._own()
        must, full = self._edges()
        want = np.where(np.isnan(ask_kw), own, ask_kw < -0.5 * self.rating_kw)
        want = (want | must) & ~full
        want = np.where(self.locked_s(now_s) > 0, self.on, want)
        self.switched_s = np.where(want != self.on, now_s, self.switched_s)
        self.on = want
        self.own_kw = np.where(own, -self.rating_kw, 0.0)
        self.p_kw = np.where(want, -self.rating_kw, 0.0)
        self._heat(hours, air)
        self._count(hours, home)

    def _heat(self, hours: float, air: tuple[float, float, int]) -> None:
        """Move temperatures: exact solution of the linear model over the step."""
        outdoor_c, sun_kw_m2, k = air
        houses, tanks = self.houses, self.tanks
        pump = slice(self.t0, self.h)
        to_tank = np.zeros(self.n, bool)
        to_tank[self.h :] = True
        to_tank[pump] = self.tank_calls[: self.h - self.t0] | (self.house_u[pump] <= -houses.band_k[pump])
        run_kw = -self.p_kw
        moved = np.where(to_tank[: self.h], 0.0, run_kw[: self.h]) * houses.cop
        sense = 1.0 if self.cooling else -1.0
        drive_k = sense * (outdoor_c - houses.set_c)
        inner_kw = sense * (houses.gain_kw + houses.window_m2 * sun_kw_m2)
        rest = drive_k + (inner_kw - moved) / houses.loss_kw_k
        keep = np.exp(-hours * houses.loss_kw_k / houses.heat_kwh_k)
        moving = rest + (self.house_u - rest) * keep
        self.house_u = np.where(self.works[: self.h], moving, 0.0)
        into = np.where(to_tank[self.t0 :], run_kw[self.t0 :], 0.0) * tanks.cop
        drawn = tanks.draw_kwh[k].astype(np.float64) * (hours / self.step_h)
        level = self.tank_kwh + (into - tanks.loss_kw) * hours - drawn
        # Colder than the mains (one more band below) or hotter than the valve cannot be.
        self.tank_kwh = np.clip(level, -tanks.width_kwh, tanks.width_kwh)

    def _count(self, hours: float, home: Codes) -> None:
        """Comfort: occupied seconds, and those of them outside the band."""
        bad = np.zeros(self.n, bool)
        bad[: self.h] = self.house_u > self.houses.band_k + self._GRACE_K
        bad[self.t0 :] |= self.tank_kwh < 0.0
        seconds = hours * 3600 * home * self.works
        self.occupied_s = self.occupied_s + seconds
        self.lost_s = self.lost_s + seconds * bad

    def energy_kwh(self) -> Column:
        """Stored comfort at the meter (n,): 0 at the edge of discomfort, e_max fully pre-cooled or hot."""
        energy = np.zeros(self.n)
        houses, tanks = self.houses, self.tanks
        energy[: self.h] = (houses.band_k - self.house_u) * houses.heat_kwh_k / houses.cop
        energy[self.t0 :] += self.tank_kwh / tanks.cop
        return energy
