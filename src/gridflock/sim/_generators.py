"""Fuelled machines: heat-led CHP and trigeneration with a tank, and gensets that wait."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._devices import Column, Columns, Devices
from gridflock.units import Kw, Kwh, Mask, Seconds


class Generators(Devices):
    """Off, or between the smallest level and the rating; ramped; with minimum running and resting times.

    Heat stands in kWh of electricity whose by-product it is (heat over the heat-to-power ratio),
    so that one kWh generated adds one kWh to the tank. Trigeneration turns part of it into
    cooling in an absorption chiller; its demand is the heat the chiller takes.
    """

    STATE: ClassVar[tuple[str, ...]] = ("e_kwh", "runs", "switched_s")
    _LOW, _HIGH = 0.25, 0.85
    """Fill of the tank at which the machine starts and stops by itself; running it follows the heat."""

    def __init__(self, plate: Columns, heat_kw: NDArray[np.float32]) -> None:
        super().__init__(plate)
        self.heat_kw = heat_kw
        """float32 (T, n): heat demand in kW of electricity."""
        self.led: Mask = plate["e_max_kwh"] > 0
        self.e_kwh: Kwh = 0.5 * plate["e_max_kwh"]
        self.runs: Mask = np.zeros(self.n, bool)
        self.switched_s: Seconds = np.zeros(self.n, np.int64)

    def start(self, rng: np.random.Generator) -> None:
        """Begin with tanks somewhere between start and stop."""
        self.e_kwh = self.plate["e_max_kwh"] * rng.uniform(self._LOW, self._HIGH, self.n)

    def locked_s(self, now_s: int) -> Column:
        """Seconds left of a minimum running or resting time (n,)."""
        least = np.where(self.runs, self.plate["min_on_s"], self.plate["min_off_s"])
        return np.maximum(self.switched_s + least - now_s, 0.0)

    def step(self, now_s: int, hours: float, ask_kw: Kw, k: int) -> None:
        """Hold over ``hours`` from ``now_s``; ``k`` is the step of the day's grid.

        An order below half the smallest level means off. An empty tank starts the machine and a
        full one stops it, whatever was ordered; while it ramps it may be below its smallest level.
        """
        plate = self.plate
        floor, rating = plate["p_floor_kw"], plate["p_max_kw"]
        fill = self.e_kwh / np.where(self.led, plate["e_max_kwh"], 1.0)
        own = self.led & ((fill < self._LOW) | (self.runs & (fill < self._HIGH)))
        asked = ~np.isnan(ask_kw)
        run = np.where(asked, ask_kw >= 0.5 * floor, own)
        run = np.where(self.led, (run | (fill < 0.03)) & (fill < 0.98), run)
        run = np.where(self.locked_s(now_s) > 0, self.runs, run)
        led_kw = np.clip(self.heat_kw[k], floor, rating)
        level = np.where(asked, np.clip(ask_kw, floor, rating), led_kw)
        reach = plate["ramp_kw_s"] * hours * 3600
        aim = np.where(run, level, 0.0)
        power = np.clip(aim, self.p_kw - reach, self.p_kw + reach)
        self.switched_s = np.where(run != self.runs, now_s, self.switched_s)
        self.runs = run
        self.own_kw = np.where(own, led_kw, 0.0)
        self.p_kw = power
        # A boiler covers what the tank cannot, a cooler dumps what it cannot take.
        stored = self.e_kwh + (power - self.heat_kw[k]) * hours
        self.e_kwh = np.where(self.led, np.clip(stored, 0.0, plate["e_max_kwh"]), 0.0)

    def energy_kwh(self) -> Column:
        """Heat in the tank as kWh of electricity (n,); NaN without a tank."""
        return np.where(self.led, self.e_kwh, np.nan)
