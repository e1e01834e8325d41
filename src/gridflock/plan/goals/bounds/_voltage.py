"""Conservation voltage reduction: what a lower voltage is worth, for whoever sets voltages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.goals._part import Checks, Part, Reading, Setting, nothing
from gridflock.units import Kw, Money


@dataclass(frozen=True, slots=True, eq=False)
class VoltageWish:
    """What the network level is asked to aim at beside its limits.

    Attributes:
        target_v_pu: mean voltage of the loads aimed at.
        worth: (T,) money per pu of lower mean voltage in each step.
    """

    target_v_pu: float
    worth: Money


@dataclass(frozen=True, slots=True, eq=False)
class VoltageReduction:
    """Less energy through a lower voltage. Form: price on voltage-dependent load.

    Voltages are the network level's to set; to the sums planned here they are given, so this goal adds
    no term to them and hands ``VoltageWish`` on.

    Attributes:
        target_v_pu: voltage aimed at, from 0.9 to 1.1; limits still hold.
        factor: share of energy saved per share of voltage, from 0 to 2 (0.4 to 1.2 in the field).
        load_kw: (T,) or one, load that depends on voltage, <= 0 as all load.
        price: (T,) or one, money per kWh saved, >= 0.
        name: of the goal.
    """

    target_v_pu: float
    factor: float
    load_kw: Kw | float
    price: Money | float
    name: str = "voltage reduction"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Numbers out of range, a load above zero."""
        checks = Checks(self.name, at)
        checks.number("target_v_pu", self.target_v_pu, 0.9, 1.1)
        checks.number("factor", self.factor, 0.0, 2.0)
        checks.steps("load_kw", self.load_kw)
        checks.steps("price", self.price, 0.0)
        if not checks.found and (at.steps(self.load_kw) > 0).any():
            checks.say("load_kw", "a load is not above 0")
        return checks.result()

    def part(self, at: Setting) -> Part:
        """Nothing among the sums."""
        return nothing(at)

    def wish(self, at: Setting) -> VoltageWish:
        """Target and worth for the network level."""
        load_kwh = -at.steps(self.load_kw) * at.flexibility.grid.hours
        return VoltageWish(self.target_v_pu, at.steps(self.price) * self.factor * load_kwh)

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """What reaching the target from 1 pu would save; whether it was is the network level's to say."""
        del p_kw
        load_kwh = float(-at.steps(self.load_kw) @ at.flexibility.grid.hours)
        saved = self.factor * (1.0 - self.target_v_pu) * load_kwh
        return Reading(f"{self.target_v_pu:g} pu", -saved, "kWh at the target", float(np.mean(self.price)))
