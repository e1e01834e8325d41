"""What couples the groups: limits, ramps and peaks of sums of some of them, each named and priced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gridflock.plan.coordination._rows import Rows, Side, rows_of
from gridflock.plan.devices._compiled import Array
from gridflock.units import Kw, Mask, Money

LARGEST = 1e12
"""Numbers beyond this are a mistake; a limit beyond it is endless."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """R limits on net injection, each on the sum of the groups it names and what else flows there.

    Attributes:
        names: R texts: element and rule.
        groups: for each limit the int rows of its groups.
        fixed_kw: (R, T) injection beside the groups' (load negative).
        floor_kw: (R, T) lowest net injection (import limit, negative), or -inf.
        ceiling_kw: (R, T) highest (export limit), or +inf.
        slack_price: (R,) money per kWh beyond the limit: thermal above voltage above contract.
        coefficient: for each limit float64 (n,) or (n, T) of its n groups: what a kW of the group is at
            the limit (losses, sensitivities); None for 1 throughout.
    """

    names: tuple[str, ...]
    groups: tuple[np.ndarray, ...]
    fixed_kw: Kw
    floor_kw: Kw
    ceiling_kw: Kw
    slack_price: Money
    coefficient: tuple[Array, ...] | None = None

    def sides(self, hours: Array) -> list[Side]:
        """Floors, then ceilings."""
        found = []
        for sign, edges in ((1.0, self.floor_kw), (-1.0, self.ceiling_kw)):
            for r, name in enumerate(self.names):
                edge = np.where(np.abs(edges[r]) <= LARGEST, edges[r], -sign * np.inf)
                of = sign * _part(self.coefficient, r, self.groups[r])
                need = sign * (edge - self.fixed_kw[r])
                price = self.slack_price[r] * hours
                found.append(Side(name, self.groups[r], of, need, price, np.abs(edge)))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Ramps:
    """R limits on the change of net injection from one step to the next, both ways.

    Attributes:
        names: R texts: element and rule.
        groups: for each the int rows of its groups.
        fixed_kw: (R, T) injection beside the groups'.
        before_kw: (R,) net injection in the step before the first; NaN where the first step is free.
        most_kw: (R, T) largest change into each step, >= 0.
        slack_price: (R,) money per kW of change beyond it.
        coefficient: for each float64 (n,) of its n groups: how much of a group's power flows there; None
            for all of it.
    """

    names: tuple[str, ...]
    groups: tuple[np.ndarray, ...]
    fixed_kw: Kw
    before_kw: Kw
    most_kw: Kw
    slack_price: Money
    coefficient: tuple[Array, ...] | None = None

    def sides(self) -> list[Side]:
        """The change's floors, then its ceilings."""
        most_kw = np.where(self.most_kw <= LARGEST, self.most_kw, np.inf)
        fixed = np.diff(self.fixed_kw, axis=1, prepend=0.0)
        fixed[:, 0] -= self.before_kw
        found = []
        for sign in (1.0, -1.0):
            for r, name in enumerate(self.names):
                need = -most_kw[r] - sign * fixed[r]
                price = np.full(len(need), self.slack_price[r])
                of = sign * _part(self.coefficient, r, self.groups[r])
                scale = most_kw[r]
                found.append(Side(name, self.groups[r], of, need, price, scale, change=True))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """R demand charges on the largest net import of a sum of groups over the horizon.

    Attributes:
        names: R texts.
        groups: for each the int rows of its groups.
        fixed_kw: (R, T) injection beside the groups'.
        paid_kw: (R,) import already paid for in the billing period, >= 0; only more than that costs.
        price: (R,) money per kW above it.
        counted: bool (R, T) steps whose import counts, or None for all.
        coefficient: for each float64 (n,) of its n groups: how much of a group's power flows there; None
            for all of it.
    """

    names: tuple[str, ...]
    groups: tuple[np.ndarray, ...]
    fixed_kw: Kw
    paid_kw: Kw
    price: Money
    counted: Mask | None = None
    coefficient: tuple[Array, ...] | None = None

    def sides(self) -> list[Side]:
        """Net injection never below the peak, negated."""
        found = []
        for r, name in enumerate(self.names):
            need = -self.paid_kw[r] - self.fixed_kw[r]
            if self.counted is not None:
                need = np.where(self.counted[r], need, -np.inf)
            price = np.full(len(need), self.price[r])
            scale = np.full(len(need), max(self.paid_kw[r], np.abs(self.fixed_kw[r]).max(initial=0.0)))
            of = _part(self.coefficient, r, self.groups[r])
            found.append(Side(name, self.groups[r], of, need, price, scale, peak=True))
        return found


def _part(coefficient: tuple[Array, ...] | None, r: int, groups: np.ndarray) -> Array:
    """(n,) how much of each group's power counts in row r."""
    return np.ones(len(groups)) if coefficient is None else coefficient[r]


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise own costs less the worth of the energy, plus slacks and peaks.

    Attributes:
        hours: float64 (T,) length of each step.
        price: float64 (T,) worth of a kWh at the reference point, money/kWh.
        groups: how many groups answer.
        limits: what couples them.
        ramps: what couples their changes, or None.
        peaks: demand charges, or None.
        premium: float64 (G, T) what a kWh is worth at each group beyond ``price``: carbon, losses,
            self-consumption; or None.
    """

    hours: Array
    price: Array
    groups: int
    limits: Limits
    ramps: Ramps | None = None
    peaks: Peaks | None = None
    premium: Array | None = None

    def thinned(self, every: int) -> Problem:
        """The problem of one device in ``every``: the same prices, limits that much smaller."""
        changes = {}
        for name in ("limits", "ramps", "peaks"):
            of = getattr(self, name)
            if of is not None:
                kws = {each: getattr(of, each) / every for each in of.__slots__ if each.endswith("_kw")}
                changes[name] = replace(of, **kws)
        return replace(self, **changes)

    @cached_property
    def rows(self) -> Rows:
        """Everything that couples as one-sided rows."""
        sides = self.limits.sides(self.hours)
        sides += self.ramps.sides() if self.ramps else []
        sides += self.peaks.sides() if self.peaks else []
        return rows_of(sides, self.groups, len(self.hours))

    @cached_property
    def value(self) -> Array:
        """(G, T) worth of a kW of each group over each step, money."""
        local = self.price if self.premium is None else self.price + self.premium
        value: Array = np.broadcast_to(local * self.hours, (self.groups, len(self.hours)))
        return value

    def local_price(self, dual: Array) -> Array:
        """(G, T) worth of a kWh of each group under the rows' duals: what the groups are asked at."""
        price: Array = (self.value + self.rows.pull(dual)) / self.hours
        return price

    def worth(self, p_kw: Kw) -> Money:
        """(G,) worth of the groups' energy."""
        worth: Money = (p_kw * self.value).sum(axis=-1)
        return worth
