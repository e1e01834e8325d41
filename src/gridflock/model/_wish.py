"""What is wanted, what is possible, what is allowed: proposals, capability, envelopes, schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Codes, Kvar, Kw, Kwh, Money, Rows, Seconds, TimeGrid


class Priority(IntEnum):
    """Whose word weighs more. Lower code first (CONVENTIONS §7)."""

    SAFETY = 0
    ENVELOPE = 1
    OPERATOR = 2
    EVENT = 3
    MARKET = 4
    SCHEDULE = 5
    REGULATION = 6


class BoundSource(IntEnum):
    """Why a bound of a ``Capability`` stands where it stands."""

    NAMEPLATE = 0
    AVAILABLE = 1
    """What nature, the process or the heat demand offers now."""
    ENERGY = 2
    """Full, or down at the owner's reserve."""
    DEPARTURE = 3
    """A vehicle must charge now to leave with what it needs."""
    COMFORT = 4
    """At the edge of the comfort band."""
    LOCKED = 5
    """Inside a minimum on or off time."""
    NOT_READY = 6
    """Unplugged, opted out, overridden or silent: keeps what it does."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wish on a group (or resource); arbitration decides (CONVENTIONS §7).

    Either ``p_kw`` (a want) or bounds, or both; all active power of the group's sum.

    Attributes:
        id: unique.
        group: group or resource id.
        priority: whose word.
        author: who or what asked.
        why: in words, for the log and the screen.
        start_s: in force from, included.
        until_s: in force until, excluded. Every proposal ends.
        p_kw: wanted injection of the group, or None.
        p_lo_kw: lower bound, or -inf.
        p_hi_kw: upper bound, or +inf.
    """

    id: str
    group: str
    priority: Priority
    author: str
    why: str
    start_s: int
    until_s: int
    p_kw: float | None = None
    p_lo_kw: float = -math.inf
    p_hi_kw: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Capability:
    """What resources or groups can do now, n of them alike (CONVENTIONS §6, §13).

    Attributes:
        p_lo_kw: float64 (n,) lowest injection that can be ordered.
        p_hi_kw: float64 (n,) highest.
        lo_source: (n,) ``BoundSource`` of the lower bound; of a group: of its largest share.
        hi_source: (n,) the same for the upper bound.
    """

    p_lo_kw: Kw
    p_hi_kw: Kw
    lo_source: Codes
    hi_source: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Flexibility:
    """What groups can do over a horizon, in the one form every family fits.

    Group g injects ``p = base + up - down`` with ``0 <= up <= up_kw`` and
    ``0 <= down <= down_kw``; its store moves as
    ``x[t+1] = x[t] + (gain_up·up + gain_down·down)·hours``, ``x[0] = 0``, inside
    ``[x_lo_kwh, x_hi_kwh]``. A battery has base 0, up = discharge (gain -1/η), down = charge
    (gain η); a comfort band has base = its usual demand, up = less of it (gain -1); a CHP has
    base = heat-led output, up = more (gain +1 into the tank); sun has base = what is on offer
    and down = curtailment. Sums over members: an *outer* approximation for planning, made true
    by the split.

    Attributes:
        grid: T steps.
        groups: G group ids.
        base_kw: (G, T).
        up_kw: (G, T), >= 0.
        down_kw: (G, T), >= 0.
        x_lo_kwh: (G, T+1).
        x_hi_kwh: (G, T+1).
        gain_up: (G,) store change per kWh of up.
        gain_down: (G,) store change per kWh of down.
        cost_up: (G,) money per kWh of up.
        cost_down: (G,) money per kWh of down.
    """

    grid: TimeGrid
    groups: tuple[str, ...]
    base_kw: Kw
    up_kw: Kw
    down_kw: Kw
    x_lo_kwh: Kwh
    x_hi_kwh: Kwh
    gain_up: NDArray[np.float64]
    gain_down: NDArray[np.float64]
    cost_up: Money
    cost_down: Money


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the grid lets a group do now; each bound with its reason (CONVENTIONS §6).

    Attributes:
        group: group id.
        p_lo_kw: lowest allowed injection of the group's sum.
        p_hi_kw: highest.
        source: the binding element and limit, in words.
        until_s: end of validity.
        q_lo_kvar: lowest allowed reactive injection of the group's inverters, or -inf.
        q_hi_kvar: highest, or +inf.
    """

    group: str
    p_lo_kw: float
    p_hi_kw: float
    source: str
    until_s: int
    q_lo_kvar: float = -math.inf
    q_hi_kvar: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Mean values of the past per step, for learning.

    Attributes:
        grid: T uniform steps, the last one complete.
        series: S ids.
        value_kw: (S, T) house sign; NaN where nothing was heard. A series of prices stands here as it is, in
            money per kWh.
        known_s: (S, T) when each cell was learnt; None where that was the end of its step. A price that is
            published before its hour is known earlier.
    """

    grid: TimeGrid
    series: tuple[str, ...]
    value_kw: Kw
    known_s: Seconds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """What the weather was, or is expected to be, over each step of its own grid.

    Attributes:
        grid: T steps.
        columns: (T,) each, by name with unit: ``temp_c``, ``ghi_w_m2``, ``wind_m_s`` and others; NaN where
            nothing was heard.
        kind: ``issued`` for forecasts as they were given, ``perfect`` for what was measured or computed
            afterwards and stands for a forecast: a score made with it says so. Without any weather there is
            no such value.
        known_s: (T,) when each step's values were published; None where they were known at any moment.
    """

    grid: TimeGrid
    columns: Mapping[str, NDArray[np.floating[Any]]]
    kind: Literal["issued", "perfect"]
    known_s: Seconds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Quantiles of the future of some series, with the moment they were known.

    Attributes:
        grid: T steps.
        series: S ids.
        quantiles: (Q,) levels, ascending, 0.5 among them.
        value_kw: (S, Q, T), house sign, never crossing; of prices money per kWh.
        known_at_s: nothing later than this was used.
    """

    grid: TimeGrid
    series: tuple[str, ...]
    quantiles: NDArray[np.float64]
    value_kw: Kw
    known_at_s: int

    def median(self, series: str) -> Kw:
        """The 0.5 quantile of a series (T,).

        Raises:
            KeyError: unknown series.
        """
        if series not in self.series:
            raise KeyError(series)
        middle = int(np.argmin(np.abs(self.quantiles - 0.5)))
        values: Kw = self.value_kw[self.series.index(series), middle]
        return values


@dataclass(frozen=True, slots=True)
class Reason:
    """A row of the plan that cost something: the answer to "why?".

    Attributes:
        row: the limit in words, such as ``"import limit of the feeder head"``.
        step: step of the schedule's grid.
        price: marginal worth, money per kWh.
        slack_kw: by how much the row had to give; 0 where it held.
    """

    row: str
    step: int
    price: float
    slack_kw: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What a plan means for single resources, r of them; the groups' sums are theirs.

    Attributes:
        rows: int32 (r,) ascending.
        p_kw: float32 (r, T) planned injection.
        q_kvar: float32 (r, T) planned reactive injection; NaN where none is asked.
    """

    rows: Rows
    p_kw: Kw
    q_kvar: Kvar


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """What should be: a plan for groups with the price of every limit.

    Attributes:
        grid: T steps.
        groups: G group ids.
        p_kw: (G, T) planned injection.
        base_kw: (G, T) what the groups would do unasked.
        fixed_kw: (T,) expected injection of everything that takes no orders.
        net_kw: (T,) planned injection of the feeder as a whole (import negative).
        price: (T,) marginal worth of injected energy at the head, money per kWh.
        peak_kw: the import peak the plan accepts.
        reasons: limits that bind or had to give.
        cost: objective of the plan, money: energy, new peak, calm, own costs, less the worth of what is left
            in store, and penalties; of owners' tariffs only what is moved.
        made_at_s: when.
        penalty: part of the cost that is no money: what limits that gave way are charged, where it is told.
        shares: the same by resource, where it was planned so.
    """

    grid: TimeGrid
    groups: tuple[str, ...]
    p_kw: Kw
    base_kw: Kw
    fixed_kw: Kw
    net_kw: Kw
    price: Money
    peak_kw: float
    reasons: tuple[Reason, ...]
    cost: float
    made_at_s: int
    penalty: float = 0.0
    shares: Shares | None = None
