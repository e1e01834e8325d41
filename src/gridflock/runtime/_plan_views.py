"""What the façade says of plans: limits, goals, conflicts, verdicts, and why a set-point is what it is.

Times are ISO 8601 UTC texts; powers in the house sign; prices in money per kWh; an absent number is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gridflock.runtime._guard_views import WaitingView
from gridflock.runtime._views import Fault


@dataclass(frozen=True, slots=True)
class ReasonView:
    """A limit that the plan pays for, money per kWh, over the steps in which it does."""

    row: str
    start: str
    until: str
    price: float
    slack_kw: float


@dataclass(frozen=True, slots=True)
class ClashView:
    """One side of a conflict: whose wish, by how much it must give, and what that costs or saves, money."""

    wish: str
    start: str
    until: str
    gives_kw: float | None
    gives_kwh: float | None
    costs: float | None
    saves: float | None


@dataclass(frozen=True, slots=True)
class ConflictView:
    """Wishes that cannot all hold."""

    text: str
    members: list[ClashView]


@dataclass(frozen=True, slots=True)
class PlannedView:
    """What one group is to do."""

    id: str
    p_kw: list[float | None]
    unasked_kw: list[float | None]


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What AC says of a plan: limits broken over all nodes, conductors and steps, before and after."""

    steps: int
    unsolved: int
    voltages_before: int
    currents_before: int
    voltages: int
    currents: int
    worst_pu: float
    worst_over: float
    v_min_pu: list[float | None]
    v_max_pu: list[float | None]
    broken: list[str]


@dataclass(frozen=True, slots=True)
class CautionView:
    """How limits were lowered for what is uncertain."""

    target: float
    met: bool
    rate_at_most: float | None
    nominal_rate: float | None
    price: float | None
    named: list[str]


@dataclass(frozen=True, slots=True)
class GoalView:
    """One goal in a plan: what was asked, how far the plan got (less is better), what it weighs and costs.

    ``rank`` is 0 and ``asked`` the span where it is not due. ``price`` is money per unit as weighed, ``cost``
    the money the plan would save without it.
    """

    goal: str
    rank: int
    state: str
    asked: str
    reached: float | None
    unit: str
    price: float | None
    cost: float | None
    facts: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class GoalsView:
    """The goals of the system, and what became of them in the plan in force.

    Attributes:
        plan_made_at: of the plan in force.
        stated_at: when they were stated.
        goals: each with what was reached.
        rejected: what of them could not be planned for.
        document: as they were stated.
        author: the credential that stated them; empty where the owner did.
        approved_until: so long a second person's word lasts; empty where there is none.
        followed: how far ticks go from the plan without them to the plan with them, 0 to 1; None where they
            are the owner's, and nobody's budget holds them.
        waiting: goals that wait for a second person.
    """

    plan_made_at: str
    stated_at: str
    goals: list[GoalView]
    rejected: list[Fault]
    document: dict[str, Any]
    author: str
    approved_until: str
    followed: float | None
    waiting: list[WaitingView]


@dataclass(frozen=True, slots=True)
class PlanView:
    """The plan in force: net load, prices (money per kWh), groups, and why; penalties are no money paid.

    What a kWh costs at the head, ``tariff``, is step by step by ``tariff``, ``published`` or ``expected``;
    P10 and P90 tell how sure what is expected is.
    """

    made_at: str
    t: list[str]
    net_kw: list[float | None]
    unasked_kw: list[float | None]
    fixed_kw: list[float | None]
    price: list[float | None]
    tariff: list[float | None]
    tariff_by: list[str]
    tariff_p10: list[float | None]
    tariff_p90: list[float | None]
    peak_kw: float | None
    cost: float | None
    penalty: float | None
    gap: float | None
    in_ac: VerdictView | None
    caution: CautionView | None
    goals: list[GoalView]
    rejected: list[Fault]
    groups: list[PlannedView]
    reasons: list[ReasonView]
    conflicts: list[ConflictView]


@dataclass(frozen=True, slots=True)
class PartView:
    """A named part of a price, money per kWh."""

    name: str
    price: float


@dataclass(frozen=True, slots=True)
class RefusedView:
    """What could have been done instead, and what that would cost, money."""

    by_kw: float
    costs: float | None
    makes_up: str
    why: str


@dataclass(frozen=True, slots=True)
class GroupReasonView:
    """Why a plan group is planned to do what it does; prices and worths in money per kWh."""

    group: str
    p_kw: float | None
    unasked_kw: float | None
    at_tariff_alone_kw: float | None
    price: float | None
    parts: list[PartView]
    bounds: list[str]
    worth_in_store: float | None
    worth_of: list[PartView]
    holds_from: float | None
    holds_to: float | None
    more: RefusedView
    less: RefusedView
    moved_in_ac_kw: float
    text: str


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order that a resource was under."""

    id: int
    p_kw: float | None
    q_kvar: float | None
    since: str
    expires: str
    source: str


@dataclass(frozen=True, slots=True)
class ExplanationView:
    """Why a resource or group was to do what it was to do at a moment."""

    id: str
    time: str
    plan_made_at: str
    order: OrderView | None
    groups: list[GroupReasonView]
    text: str
