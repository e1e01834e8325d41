"""Industrial and commercial load that may pause part of a process for some hours a day."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.sim._devices import Column, Columns, Devices
from gridflock.units import Kw, Kwh


class Processes(Devices):
    """Draws what the process needs; a pause spends a budget of kWh that renews at midnight."""

    STATE: ClassVar[tuple[str, ...]] = ("e_kwh",)

    def __init__(self, plate: Columns, demand_kw: NDArray[np.float32]) -> None:
        super().__init__(plate)
        self.demand_kw = demand_kw
        """float32 (T, n), as a magnitude."""
        self.e_kwh: Kwh = plate["e_max_kwh"].copy()

    def step(self, hours: float, ask_kw: Kw, k: int) -> None:
        """Hold over ``hours``; an order can only lessen the demand of step ``k``."""
        demand = self.demand_kw[k].astype(np.float64)
        self.own_kw = -demand
        least = -demand
        most = np.minimum(0.0, least + self.e_kwh / hours)
        self.p_kw = np.where(np.isnan(ask_kw), least, np.clip(ask_kw, least, most))
        self.e_kwh = np.maximum(self.e_kwh - (self.p_kw - least) * hours, 0.0)

    def energy_kwh(self) -> Column:
        """Pause still allowed today (n,)."""
        return self.e_kwh
