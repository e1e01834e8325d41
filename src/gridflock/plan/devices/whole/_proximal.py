"""What devices that come in whole ones have in common: the best of all their schedules, price or pull."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._grouped import Grouped
from gridflock.units import Kw, Money


@dataclass(frozen=True, slots=True, eq=False)
class Proximal(Grouped):
    """Devices whose best schedule is looked for among all of them, also under a pull to a target."""

    def respond_rows(self, price: Array) -> tuple[Kw, Money]:
        """Each device's best answer to prices of its own.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,).
        """
        return self.nearest(price, np.zeros_like(price), 0.0)

    def nearest(self, price: Array, target: Kw, pull: Array | float) -> tuple[Kw, Money]:
        """The proximal answer: least own cost - Σ price·hours·p + pull/2·Σ (p - target)², of all schedules.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            target: float64 (m, T) kW.
            pull: money per kW² and step, >= 0, one for all or (m,).

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,), the pull not counted.
        """
        p_kw, cost = np.empty((self.members, len(self.hours))), np.empty(self.members)
        each = np.array(np.broadcast_to(pull, self.members), dtype=np.float64)
        self._follow(price, target, each, p_kw, cost)
        return p_kw, cost

    @abstractmethod
    def _follow(self, price: Array, target: Kw, pull: Array, p_kw: Kw, cost: Money) -> None:
        """Fill schedules (m, T) and own costs (m,) for prices and targets (m, T) and pulls (m,)."""
