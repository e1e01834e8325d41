"""Stores under shared limits, written so that each store stays a chain over time."""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.plan.devices._compiled import Array
from gridflock.units import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """Bounds on the sum of some devices' net power in the first steps, giving way at a price.

    Attributes:
        member: (m,) which devices count.
        least: (n,) kW, n of the T steps; -inf for none.
        most: (n,) kW, at least ``least``; inf for none.
        penalty: (n,) money per kW.
    """

    member: Mask
    least: Array
    most: Array
    penalty: Array


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """m devices over T steps behind one feeder head; money per kW is for a whole step.

    Minimise what is bought less what is sold, the devices' own costs, the peak, the head's changes and
    what limits give way, less the worth of what is left in store.

    Attributes:
        most_up: (m, T) kW injected beyond rest, >= 0.
        most_down: (m, T) kW drawn beyond rest, >= 0.
        cost_up: (m, T) money per kW.
        cost_down: (m, T) money per kW.
        effect_up: (m, T) kWh that a kW of ``up`` adds to the content, mostly negative.
        effect_down: (m, T) kWh that a kW of ``down`` adds.
        content: (m,) kWh at the beginning.
        least: (m, T) kWh after each step; -inf for none.
        most: (m, T) kWh, at least ``least``; inf for none.
        worth: (m,) money per kWh left at the end.
        exclusive: (m,) devices that keep ``up/most_up + down/most_down <= 1``.
        demand: (T,) kW drawn at the head if no device moved.
        buy: (T,) money per kW.
        sell: (T,) money per kW, at most ``buy``.
        import_limit: (T,) kW, >= 0; inf for none.
        export_limit: (T,) kW, >= 0; inf for none.
        penalty: (T,) money per kW beyond a limit of the head; inf where it does not give way.
        peak_price: money per kW of import above ``so_far``.
        so_far: kW.
        change_price: money per kW of change of the head's flow between two steps.
        limits: on sums of devices.
    """

    most_up: Array
    most_down: Array
    cost_up: Array
    cost_down: Array
    effect_up: Array
    effect_down: Array
    content: Array
    least: Array
    most: Array
    worth: Array
    exclusive: Mask
    demand: Array
    buy: Array
    sell: Array
    import_limit: Array
    export_limit: Array
    penalty: Array
    peak_price: float = 0.0
    so_far: float = 0.0
    change_price: float = 0.0
    limits: tuple[Limit, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that sum over devices: of the head, of every limit, of the head's changes."""
        steps = len(self.demand)
        changes = steps - 1 if self.change_price > 0 else 0
        return steps + sum(len(limit.most) for limit in self.limits) + changes
