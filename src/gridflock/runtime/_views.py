"""What the façade answers with: plain values that Python, REST and the command line share.

Times are ISO 8601 UTC texts; powers in the house sign; an absent number is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


def number(value: float | np.floating[Any] | None, digits: int = 4) -> float | None:
    """A finite rounded number, or None."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits)


def numbers(values: np.ndarray, digits: int = 4) -> list[float | None]:
    """The same for an array."""
    rounded = np.round(np.asarray(values, dtype=np.float64), digits)
    return [v if math.isfinite(v) else None for v in rounded.tolist()]


@dataclass(frozen=True, slots=True)
class Day:
    """First and last moment of what is being lived through."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """The system at a glance; ``served``: devices over IEEE 2030.5 by state, and requests refused to them."""

    feeder: str
    title: str
    now: str
    speed: float
    tick: int
    mode: str
    head_kw: float | None
    head_kvar: float | None
    import_limit_kw: float | None
    peak_kw: float | None
    v_min_pu: float | None
    v_max_pu: float | None
    violations: int
    losses_kw: float | None
    resources: int
    online: int
    refused: int
    seq: int
    plan_made_at: str
    day: Day
    served: dict[str, int]


@dataclass(frozen=True, slots=True)
class BusView:
    """A bus on the map."""

    id: str
    x: float
    y: float
    phases: str
    section: str
    ders: int


@dataclass(frozen=True, slots=True)
class BranchView:
    """A line, switch, regulator or transformer on the map."""

    id: str
    from_: str
    to: str
    kind: str
    phases: str
    rating_a: float | None


@dataclass(frozen=True, slots=True)
class SectionView:
    """A part of the feeder between switching or regulating devices."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class FeederView:
    """The feeder's map."""

    name: str
    timezone: str
    buses: list[BusView]
    branches: list[BranchView]
    sections: list[SectionView]


@dataclass(frozen=True, slots=True)
class ViolationView:
    """One limit broken now."""

    kind: str
    element: str
    phase: str
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class StateView:
    """The feeder's electrical state as estimated."""

    now: str
    v_pu: dict[str, list[float | None]]
    loading: dict[str, float | None]
    taps: dict[str, int]
    violations: list[ViolationView]


@dataclass(frozen=True, slots=True)
class Fan:
    """Quantiles over time."""

    t: list[str]
    q10: list[float | None]
    q50: list[float | None]
    q90: list[float | None]


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource."""

    id: str
    kind: str
    bus: str
    phases: str
    provider: str
    p_kw: float | None
    p_lo_kw: float | None
    p_hi_kw: float | None
    lo_source: str
    hi_source: str
    e_kwh: float | None
    ready: bool
    ordered_kw: float | None


@dataclass(frozen=True, slots=True)
class GroupView:
    """A virtual DER: the same face as a resource."""

    id: str
    title: str
    parents: list[str]
    members: int
    online: int
    p_kw: float | None
    q_kvar: float | None
    p_lo_kw: float | None
    p_hi_kw: float | None
    lo_source: str
    hi_source: str
    e_kwh: float | None
    e_max_kwh: float | None


@dataclass(frozen=True, slots=True)
class DefinitionView:
    """How a group was defined, and which state of it this is."""

    id: str
    title: str
    version: str
    since: str
    members: list[str]
    children: list[str]
    parents: list[str]
    rule: str
    place: dict[str, Any] | None
    inside: list[str]
    outside: list[str]


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """What became of a request on groups."""

    definition: DefinitionView
    count: int
    withdrawn: list[str]
    seq: int


@dataclass(frozen=True, slots=True)
class GroupDetail:
    """A group with its neighbours, forecast, some of its members, and how it was defined, if by people."""

    group: GroupView
    children: list[str]
    forecast: Fan | None
    members_sample: list[ResourceView]
    definition: DefinitionView | None


@dataclass(frozen=True, slots=True)
class PlanLine:
    """The plan's net load."""

    t: list[str]
    net_kw: list[float | None]


@dataclass(frozen=True, slots=True)
class LimitsView:
    """Limits at the feeder head, as positive magnitudes."""

    import_kw: float | None
    export_kw: float | None


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Net load: what was, what is expected, what is planned."""

    t: list[str]
    actual_kw: list[float | None]
    forecast: Fan | None
    plan: PlanLine | None
    limits: LimitsView


@dataclass(frozen=True, slots=True)
class EventView:
    """One thing that happened."""

    seq: int
    time: str
    kind: str
    text: str
    author: str
    group: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A wish on a group."""

    id: str
    group: str
    priority: str
    author: str
    why: str
    start: str
    until: str
    p_kw: float | None
    p_lo_kw: float | None
    p_hi_kw: float | None


@dataclass(frozen=True, slots=True)
class AnswersView:
    """Orders since a moment, what was answered to them, and how many are in force and awaited now."""

    since: str
    sent: int
    in_force: int
    awaited: int
    accepted: int
    partial: int
    refused: int
    expired: int
    unreachable: int


@dataclass(frozen=True, slots=True)
class WishView:
    """A wish in force: what was asked of the group, ordered, accepted, and is delivered now, kW.

    ``accepted_kw`` is what the group comes to if only those follow who have said so; ``members`` are those
    that this wish orders, ``answered`` how many of them have.
    """

    id: str
    group: str
    priority: str
    author: str
    why: str
    until: str
    asked_kw: float | None
    given_kw: float | None
    accepted_kw: float | None
    delivered_kw: float | None
    members: int
    answered: int
    causes: dict[str, float]


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """Asked, accepted, delivered."""

    now: str
    orders: AnswersView
    wishes: list[WishView]


@dataclass(frozen=True, slots=True)
class MoveView:
    """What a proposal asks of one member."""

    id: str
    kind: str
    from_kw: float | None
    to_kw: float | None


@dataclass(frozen=True, slots=True)
class FeederGlance:
    """The feeder in four numbers."""

    head_kw: float | None
    v_min_pu: float | None
    v_max_pu: float | None
    violations: int


@dataclass(frozen=True, slots=True)
class ProposalAnswer:
    """What became, or would become, of a proposal."""

    proposal: ProposalView
    dry_run: bool
    seq: int
    target_kw: float | None
    given_kw: float | None
    shortfall_kw: float | None
    causes: dict[str, float]
    by_family: dict[str, float]
    members: list[MoveView]
    before: FeederGlance
    after: FeederGlance
    held: dict[str, int]
    waits: bool
    expires: str
    default: str


@dataclass(frozen=True, slots=True)
class ClaimView:
    """Something of a group or resource that is promised over a time."""

    id: str
    owner: str
    kind: str
    group: str
    start: str
    until: str
    up_kw: float
    down_kw: float
    e_kwh: float
    priority: str
    service: str
    why: str
    made: str


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A claim that is held, and those that had to go for it."""

    claim: ClaimView
    displaced: list[ClaimView]


@dataclass(frozen=True, slots=True)
class FindingView:
    """Something in the data that cannot be right, or ought to be known."""

    rule: str
    severity: str
    attribute: str
    count: int
    resources: list[str]
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ExaminationView:
    """What the doctor says of the fleet."""

    resources: int
    findings: list[FindingView]
    skipped: dict[str, str]
    phases_judged: int
    transformers_judged: int


@dataclass(frozen=True, slots=True)
class AuditView:
    """The ledger's chain, walked."""

    ok: bool
    entries: int
    head: str
    broken_seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule of a request."""

    field: str
    rule: str
    reason: str
