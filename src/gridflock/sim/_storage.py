"""Batteries: half of the homes use their own sun, the others wait for an outage."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from gridflock.sim._devices import Column, Columns, Devices
from gridflock.units import Kw, Kwh, Mask


class Batteries(Devices):
    """Stationary storage with losses, an owner's reserve, and a fade-out at full and at reserve."""

    STATE: ClassVar[tuple[str, ...]] = ("e_kwh",)

    def __init__(self, plate: Columns, e_kwh: Kwh, self_use: Mask) -> None:
        super().__init__(plate)
        self.e_kwh = e_kwh
        self.self_use = self_use
        """(n,) True where the default is to balance the home; the others rest."""

    def step(self, hours: float, ask_kw: Kw, home_kw: Kw) -> None:
        """Hold over ``hours``.

        Args:
            hours: length of the step.
            ask_kw: (n,) asked power, NaN for none.
            home_kw: (n,) injection of the rest of the home: demand negative, sun positive.
        """
        plate = self.plate
        above = np.maximum(self.e_kwh - plate["e_reserve_kwh"], 0.0)
        room = np.maximum(plate["e_max_kwh"] - self.e_kwh, 0.0)
        high = np.minimum(plate["p_max_kw"], above * plate["eff_discharge"] / hours)
        low = np.maximum(plate["p_min_kw"], -room / plate["eff_charge"] / hours)
        self.own_kw = np.where(self.self_use, np.clip(-home_kw, low, high), 0.0)
        self.p_kw = np.where(np.isnan(ask_kw), self.own_kw, np.clip(ask_kw, low, high))
        charge = np.maximum(-self.p_kw, 0.0) * plate["eff_charge"]
        discharge = np.maximum(self.p_kw, 0.0) / plate["eff_discharge"]
        self.e_kwh = np.clip(self.e_kwh + (charge - discharge) * hours, 0.0, plate["e_max_kwh"])

    def energy_kwh(self) -> Column:
        """Content above empty (n,)."""
        return self.e_kwh
