"""Prices on energy: at the head, of a group's place, or of a group's own use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.plan.goals._part import Checks, Part, Reading, Setting, nothing
from gridflock.units import Kw, Kwh, Money


def _imported_kwh(at: Setting, p_kw: Kw) -> Kwh:
    return np.maximum(-at.net_kw(p_kw), 0.0) * at.flexibility.grid.hours


def _exported_kwh(at: Setting, p_kw: Kw) -> Kwh:
    return np.maximum(at.net_kw(p_kw), 0.0) * at.flexibility.grid.hours


@dataclass(frozen=True, slots=True, eq=False)
class EnergyCost:
    """The bill for energy at the head. Form: price.

    The groups' own costs and the worth of what is left in store belong to it.

    Attributes:
        import_price: (T,) or one, money per kWh drawn; may be negative.
        export_price: (T,) or one, money per kWh delivered, at most ``import_price``.
        name: of the goal.
    """

    import_price: Money | float
    export_price: Money | float
    name: str = "energy cost"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Prices that are not finite, or that pay for drawing and delivering at once."""
        checks = Checks(self.name, at)
        checks.steps("import_price", self.import_price)
        checks.steps("export_price", self.export_price)
        if not checks.found:
            circular = at.steps(self.export_price) > at.steps(self.import_price)
            if circular.any():
                checks.say("export_price", f"above import_price at step {int(np.argmax(circular))}")
        return checks.result()

    def part(self, at: Setting) -> Part:
        """Both prices at the head."""
        return replace(
            nothing(at), import_price=at.steps(self.import_price), export_price=at.steps(self.export_price)
        )

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """The bill."""
        paid = _imported_kwh(at, p_kw) @ at.steps(self.import_price)
        earned = _exported_kwh(at, p_kw) @ at.steps(self.export_price)
        return Reading("least", float(paid - earned), "money", 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class SelfConsumption:
    """Own energy used behind the head rather than delivered. Form: price.

    Attributes:
        worth: money per kWh kept, beside what delivering earns.
        name: of the goal.
    """

    worth: float
    name: str = "self-consumption"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """A worth that is no number >= 0."""
        checks = Checks(self.name, at)
        checks.number("worth", self.worth)
        return checks.result()

    def part(self, at: Setting) -> Part:
        """A kWh delivered is a kWh not used."""
        return replace(nothing(at), export_price=np.full(at.n, -self.worth))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy delivered."""
        return Reading("none delivered", float(_exported_kwh(at, p_kw).sum()), "kWh", self.worth)


@dataclass(frozen=True, slots=True, eq=False)
class Carbon:
    """Emission of the energy drawn. Form: price.

    Attributes:
        kg_per_kwh: (T,) or one, intensity of the grid's energy.
        price: money per kg.
        credited: whether energy delivered counts as emission avoided.
        name: of the goal.
    """

    kg_per_kwh: NDArray[np.float64] | float
    price: float
    credited: bool = True
    name: str = "carbon"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Intensities or a price that are not finite and >= 0."""
        checks = Checks(self.name, at)
        checks.steps("kg_per_kwh", self.kg_per_kwh, 0.0)
        checks.number("price", self.price)
        return checks.result()

    def part(self, at: Setting) -> Part:
        """Price times intensity."""
        price = self.price * at.steps(self.kg_per_kwh)
        return replace(nothing(at), import_price=price, export_price=price * self.credited)

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Emission."""
        drawn = _imported_kwh(at, p_kw) - self.credited * _exported_kwh(at, p_kw)
        return Reading("least", float(drawn @ at.steps(self.kg_per_kwh)), "kg", self.price)


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Losses of the network, by the marginal loss factor of each group's place. Form: price.

    Injecting a kWh changes the losses by ``factor`` kWh: below zero at the end of a loaded feeder. The
    factors hold at one operating point (for a flow, by its derivatives); the plan is linear in them.

    Attributes:
        factor: by group, (T,) or one, kWh lost more per kWh injected more, between -1 and 1.
        price: (T,) or one, money per kWh lost, >= 0.
        name: of the goal.
    """

    factor: Mapping[str, NDArray[np.float64] | float]
    price: Money | float
    name: str = "losses"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Strangers, and factors or prices out of range."""
        checks = Checks(self.name, at)
        checks.members("factor", tuple(self.factor))
        checks.steps("price", self.price, 0.0)
        for group, factor in self.factor.items():
            before = len(checks.found)
            checks.steps("factor", factor, -1.0)
            if len(checks.found) == before and np.max(factor) > 1:
                checks.say("factor", f"{np.max(factor)} is above 1", (group,))
        return checks.result()

    def _factors(self, at: Setting) -> NDArray[np.float64]:
        """(G, T), 0 where a group has none."""
        table = np.zeros((len(at.flexibility.groups), at.n))
        for name, factor in self.factor.items():
            table[at.rows((name,))] = at.steps(factor)
        return table

    def part(self, at: Setting) -> Part:
        """What a kWh injected here saves or costs in losses."""
        return replace(nothing(at), premium=-at.steps(self.price) * self._factors(at))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Change of the losses against everybody at base."""
        moved = p_kw - at.flexibility.base_kw
        change = float((self._factors(at) * moved * at.flexibility.grid.hours).sum())
        return Reading("least", change, "kWh", float(np.mean(self.price)))


@dataclass(frozen=True, slots=True, eq=False)
class Wear:
    """Ageing of batteries by throughput. Form: the owner's cost.

    Attributes:
        price: by group, money per kWh moved up or down.
        name: of the goal.
    """

    price: Mapping[str, float]
    name: str = "wear"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Strangers, and prices that are not finite and >= 0."""
        checks = Checks(self.name, at)
        checks.members("price", tuple(self.price))
        for price in self.price.values():
            checks.number("price", price)
        return checks.result()

    def _prices(self, at: Setting) -> NDArray[np.float64]:
        table = np.zeros(len(at.flexibility.groups))
        for name, price in self.price.items():
            table[at.rows((name,))] = price
        return table

    def part(self, at: Setting) -> Part:
        """The same price up and down."""
        price = self._prices(at)
        return replace(nothing(at), cost_up=price, cost_down=price)

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """What the moves cost."""
        moved = np.abs(p_kw - at.flexibility.base_kw) @ at.flexibility.grid.hours
        return Reading("least", float(self._prices(at) @ moved), "money", 1.0)
