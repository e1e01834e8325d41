"""The demand charge: the largest import of some time is paid by the kW."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Rejected
from gridflock.plan._terms import Peak
from gridflock.plan.goals._part import Checks, Members, Part, Reading, Setting, nothing
from gridflock.units import Kw, Mask


@dataclass(frozen=True, slots=True, eq=False)
class DemandCharge:
    """Peak shaving. Form: one variable, at least the import of every step that counts.

    Attributes:
        price: money per kW of peak above ``so_far_kw``.
        so_far_kw: peak already paid for in the billing period, >= 0.
        members: whose import; nothing named means the head.
        beside_kw: (T,) or one, injection of what else is metered with the members.
        windows: spans ``(from_s, until_s)`` that count; nothing named means always.
        name: of the goal.
    """

    price: float
    so_far_kw: float = 0.0
    members: Members = ()
    beside_kw: Kw | float = 0.0
    windows: tuple[tuple[float, float], ...] = ()
    name: str = "demand charge"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Numbers out of range, strangers, windows without a step."""
        checks = Checks(self.name, at)
        checks.number("price", self.price)
        checks.number("so_far_kw", self.so_far_kw)
        checks.members("members", self.members)
        checks.steps("beside_kw", self.beside_kw)
        for window in self.windows:
            checks.window(*window, names=("windows", "windows"))
        return checks.result()

    def _steps(self, at: Setting) -> Mask:
        if not self.windows:
            return np.ones(at.n, dtype=bool)
        return np.asarray(np.any([at.within(*window) for window in self.windows], axis=0))

    def part(self, at: Setting) -> Part:
        """The peak as a variable."""
        flow = at.flow(self.members, self.beside_kw)
        return replace(
            nothing(at), blocks=(Peak(self.name, flow, self._steps(at), self.so_far_kw, self.price),)
        )

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """New peak above what is paid for."""
        drawn = -at.flow(self.members, self.beside_kw).power_kw(at.flexibility, p_kw)[self._steps(at)]
        peak = max(0.0, float(drawn.max()))
        above = max(0.0, peak - self.so_far_kw)
        return Reading(f"<= {self.so_far_kw:g} kW", above, "kW above", self.price, {"peak_kw": peak})
