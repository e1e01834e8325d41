"""What one horizon hands to the next: prices, and every device's schedule, moved on in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.coordination._plan import Plan
from gridflock.plan.coordination._recover import Contained, Recovered, by_group, summed
from gridflock.plan.devices import Oracle, Stores, Vehicles
from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.units import Kw, Money

Schedules = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """Where the next horizon starts.

    Attributes:
        dual: float64 (S, T) duals of the rows on the new steps.
        p_kw: for each oracle float32 (members, T) schedules on the new steps; or none at all.
    """

    dual: Array
    p_kw: tuple[Schedules, ...] = ()

    @classmethod
    def of(cls, plan: Plan, recovered: Recovered | None, *, steps: int, day: int) -> Carried:
        """Move a plan on by some steps; the devices' schedules are taken over, not copied.

        New steps at the end take the duals of a day before, where the horizon reaches so far back, otherwise
        those of the last step; the devices rest there until something better is found.

        Args:
            plan: of the earlier horizon.
            recovered: its schedules, spent by this; or None to hand on prices alone.
            steps: by how many steps the horizon moves.
            day: how many steps a day has.
        """
        last = plan.dual.shape[1]
        source = np.arange(last) + steps
        beyond = source >= last
        source[beyond] = np.where(source[beyond] >= day, source[beyond] - day, last - 1)
        schedules = () if recovered is None else recovered.p_kw
        for p_kw in schedules:
            _move(p_kw, min(steps, last))
        return cls(plan.dual[:, np.minimum(source, last - 1)], schedules)


def resumed(oracles: Sequence[Oracle], schedules: Sequence[Schedules]) -> tuple[Kw, Money]:
    """Make schedules of an earlier horizon possible for the devices as they are now, in place.

    Stores and band stores follow their true content (``replay``); vehicles that need more or less than was
    planned spread the difference over what room their steps have. Other kinds are not resumed.

    Returns:
        (G, T) the groups' sums, and (G,) own costs, NaN for groups that are not resumed.
    """
    sums, costs = [], []
    for oracle, p_kw in zip(oracles, schedules, strict=True):
        cost = np.full(oracle.groups, np.nan)
        if isinstance(oracle, Stores):
            _fit(p_kw, oracle.charge_kw, oracle.discharge_kw, oracle.first, oracle.last)
            _, own = oracle.replay(p_kw)
            cost = summed(own, oracle)
        elif isinstance(oracle, Contained):
            _, own = oracle.replay(p_kw)
            cost = summed(own, oracle)
        elif isinstance(oracle, Vehicles):
            _fit(p_kw, oracle.most_kw, np.zeros(oracle.members), oracle.first, oracle.last)
            _refill(p_kw, oracle.need_kwh, oracle.most_kw, oracle.first, oracle.last, oracle.hours)
            cost = np.zeros(oracle.groups)
        sums.append(by_group(p_kw, oracle))
        costs.append(cost)
    return np.concatenate(sums), np.concatenate(costs)


@compiled
def _move(p_kw: Schedules, by: int) -> None:
    """Schedules (members, T) some steps earlier, in place; the last steps rest."""
    steps = p_kw.shape[1]
    for k in range(len(p_kw)):
        for t in range(steps - by):
            p_kw[k, t] = p_kw[k, t + by]
        for t in range(steps - by, steps):
            p_kw[k, t] = 0.0


@compiled
def _fit(p_kw: Schedules, charge: Array, discharge: Array, first: Indices, last: Indices) -> None:
    """Within the windows and the largest powers."""
    for k in range(len(p_kw)):
        for t in range(p_kw.shape[1]):
            inside = first[k] <= t < last[k]
            p_kw[k, t] = min(max(p_kw[k, t], -charge[k]), discharge[k]) if inside else 0.0


@compiled
def _refill(p_kw: Schedules, need: Array, most: Array, first: Indices, last: Indices, hours: Array) -> None:
    """Charge what is needed: too much is scaled down, too little fills an equal part of each step's room."""
    for k in range(len(p_kw)):
        drawn, reach = 0.0, 0.0
        for t in range(first[k], last[k]):
            drawn -= p_kw[k, t] * hours[t]
            reach += most[k] * hours[t]
        wanted = min(need[k], reach)
        less = wanted / drawn if drawn > wanted else 1.0
        more = (wanted - drawn) / (reach - drawn) if drawn < wanted else 0.0
        for t in range(first[k], last[k]):
            p_kw[k, t] = less * p_kw[k, t] - more * (most[k] + p_kw[k, t])
