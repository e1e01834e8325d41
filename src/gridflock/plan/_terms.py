"""What the plan is to weigh: prices, limits and the price of breaking each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Envelope, Flexibility
from gridflock.units import Kw, Money, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Goals as terms of one problem.

    Energy bands are never traded against a limit: they yield only where the group cannot keep
    them by itself. Limits yield at ``limit_penalty``, money at the prices.

    Attributes:
        import_price: (T,) money per kWh drawn through the head; may be negative.
        export_price: (T,) money per kWh delivered; above ``import_price`` it counts as equal to
            it, since drawing and delivering at once would otherwise earn without end.
        import_limit_kw: (T,) largest import at the head, >= 0, ``inf`` for none.
        export_limit_kw: (T,) largest export at the head, >= 0, ``inf`` for none.
        peak_price: money per kW of import peak above ``peak_so_far_kw``.
        peak_so_far_kw: peak already paid for in the billing period.
        limit_penalty: money per kWh by which a limit gives way.
        ramp_penalty: money per kW of change of the head's flow between two steps.
        end_value: money per kWh in store at the end, by group; absent groups take
            ``default_end_value``.
        group_limits: bounds on sums of groups, in force for the steps that start before their
            ``until_s``.
        premium: by group, (T,) money per kWh that its owner pays above ``import_price``: what the
            group injects more earns it, what it draws more costs it. Absent groups have none.
        members: plan groups that an envelope's group consists of; absent: the group itself.
    """

    import_price: Money
    export_price: Money
    import_limit_kw: Kw
    export_limit_kw: Kw
    peak_price: float = 0.0
    peak_so_far_kw: float = 0.0
    limit_penalty: float = 10.0
    ramp_penalty: float = 0.0
    end_value: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    group_limits: tuple[Envelope, ...] = ()
    premium: Mapping[str, Money] = field(default_factory=lambda: MappingProxyType({}))
    members: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


def premiums(flexibility: Flexibility, terms: Terms) -> NDArray[np.float64]:
    """``terms.premium`` as a matrix (G, T), 0 where a group has none."""
    table = np.zeros((len(flexibility.groups), flexibility.grid.n))
    for g, group in enumerate(flexibility.groups):
        if group in terms.premium:
            table[g] = terms.premium[group]
    return table


def default_end_value(flexibility: Flexibility, terms: Terms) -> NDArray[np.float64]:
    """What a kWh left in each store is worth: the median price it saves later, losses taken off.

    A store that up empties (battery, comfort) delivers ``1/|gain_up|`` kWh per kWh held; one
    that only takes in (a vehicle that never feeds back) is credited ``gain_down``. A store that
    up fills (the heat tank of a CHP) has no electricity to give back: 0.

    Returns:
        (G,) money per kWh in store.
    """
    own_price = terms.import_price + premiums(flexibility, terms)
    median = np.array([weighted_median(price, flexibility.grid) for price in own_price])
    drains = flexibility.gain_up < 0
    given_back = np.divide(1.0, -flexibility.gain_up, out=np.zeros(len(drains)), where=drains)
    taken_in = np.where(flexibility.gain_up == 0, np.maximum(flexibility.gain_down, 0.0), 0.0)
    worth: NDArray[np.float64] = np.maximum(median, 0.0) * (given_back + taken_in)
    return worth


def weighted_median(values: Money, grid: TimeGrid) -> float:
    """Median of a step function over time (T,): long steps weigh more."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(grid.hours[order])
    return float(values[order][np.searchsorted(share, 0.5 * share[-1])])
