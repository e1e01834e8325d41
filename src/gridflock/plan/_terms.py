"""What the plan is to weigh: prices, limits and the price of breaking each.

A goal enters as a price, as rows with slack, as one more variable or as an owner's cost. ``Band``,
``Peak``, ``Ramp`` and ``Share`` are the rows and variables any goal is made of; each speaks of the power of
some groups together (``Flow``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Envelope, Flexibility
from gridflock.units import Kw, Kwh, Money, TimeGrid


@lru_cache(maxsize=8)
def row_by_group(groups: tuple[str, ...]) -> Mapping[str, int]:
    """Row of each group."""
    return {group: k for k, group in enumerate(groups)}


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Power of some groups together, injection positive: ``fixed + sum(share * (base + moves * moved))``.

    Attributes:
        share: by group the part of its power that flows here; a three-phase group has 1/3 per phase.
        fixed_kw: (T,) what flows here beside the groups.
        moves: expected part of what is asked that is done, in (0, 1].
    """

    share: Mapping[str, float]
    fixed_kw: Kw
    moves: float = 1.0

    def rows_of(self, flexibility: Flexibility) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the groups that flow here and their shares, both (M,)."""
        row = row_by_group(flexibility.groups)
        found = sorted((row[group], share) for group, share in self.share.items() if group in row)
        rows = np.array([k for k, _ in found], dtype=np.int64)
        return rows, np.array([share for _, share in found], dtype=np.float64)

    def power_kw(self, flexibility: Flexibility, p_kw: Kw) -> Kw:
        """(T,) the flow where the groups' powers are ``p_kw`` (G, T)."""
        rows, share = self.rows_of(flexibility)
        base = flexibility.base_kw[rows]
        power: Kw = self.fixed_kw + share @ (base + self.moves * (p_kw[rows] - base))
        return power


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Rows with two slacks: ``lo_kw <= flow <= hi_kw`` at every step where they are finite.

    Attributes:
        name: the limit in words.
        flow: what is bounded.
        lo_kw: (T,), -inf for none.
        hi_kw: (T,), +inf for none.
        under_price: money per kWh below ``lo_kw``.
        over_price: money per kWh above ``hi_kw``.
    """

    name: str
    flow: Flow
    lo_kw: Kw
    hi_kw: Kw
    under_price: float
    over_price: float

    def priced(self, factor: float) -> Band:
        """The same rows, ``factor`` times as dear to break."""
        return replace(self, under_price=self.under_price * factor, over_price=self.over_price * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """One variable, the largest import of the flow over ``so_far_kw`` within some steps.

    Attributes:
        name: the peak in words.
        flow: whose import.
        steps: bool (T,) when it is counted.
        so_far_kw: what is already paid for.
        price: money per kW above it.
    """

    name: str
    flow: Flow
    steps: NDArray[np.bool_]
    so_far_kw: float
    price: float

    def priced(self, factor: float) -> Peak:
        """The same peak, ``factor`` times as dear."""
        return replace(self, price=self.price * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Ramp:
    """Rows with slack: the flow changes by at most ``limit_kw`` from one step to the next.

    Attributes:
        name: the limit in words.
        flow: whose change.
        limit_kw: (T-1,), +inf for none, 0 where every change is priced.
        price: money per kW of change beyond it.
        before_kw: the flow before the first step; NaN where that step is free.
        first_kw: how much it may change from there into the first step.
    """

    name: str
    flow: Flow
    limit_kw: Kw
    price: float
    before_kw: float = np.nan
    first_kw: float = np.inf

    @property
    def limits_kw(self) -> Kw:
        """(T,) largest change into each step, +inf for none."""
        first = np.inf if np.isnan(self.before_kw) else self.first_kw
        return np.append(first, self.limit_kw)

    def change_kw(self, flow_kw: Kw) -> Kw:
        """(T,) change of a flow (T,) into each step; into the first 0 where that is free."""
        before = flow_kw[0] if np.isnan(self.before_kw) else self.before_kw
        change: Kw = np.diff(flow_kw, prepend=before)
        return change

    def priced(self, factor: float) -> Ramp:
        """The same limit, ``factor`` times as dear to break."""
        return replace(self, price=self.price * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """A concave worth of energy over some steps, in segments of falling slope.

    The energy is ``sum(sign * flow * hours)``. Its first ``width_kwh[0]`` kWh are worth ``slope[0]`` each,
    and so on; more than all segments is worth nothing, less than none costs ``slope[0]`` per kWh.

    Attributes:
        name: whose share, in words.
        flow: whose energy.
        sign: (T,) +1 where injection counts, -1 where drawing does, 0 where neither.
        width_kwh: (S,) > 0.
        slope: (S,) money per kWh, not rising.
    """

    name: str
    flow: Flow
    sign: NDArray[np.float64]
    width_kwh: Kwh
    slope: Money

    def priced(self, factor: float) -> Share:
        """The same worth, ``factor`` times."""
        return replace(self, slope=self.slope * factor)


Block = Band | Peak | Ramp | Share


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
        blocks: rows and variables of further goals.
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
    blocks: tuple[Block, ...] = ()


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
