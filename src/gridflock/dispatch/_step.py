"""One fast tick: wishes, plan and limits in; orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gridflock.dispatch._arbitrate import Grant, Targets, arbitrate, as_bound, in_force
from gridflock.dispatch._guard import GuardLimits, Passed, guard
from gridflock.dispatch._response import Response
from gridflock.fleet import Image, capability
from gridflock.model import Capability, Envelope, Orders, Priority, Proposal, Rejected, Schedule
from gridflock.schema import Family, Kind
from gridflock.units import Rows


@dataclass(frozen=True, slots=True)
class Policy:
    """How orders are made.

    Attributes:
        valid_s: life of an order; past it the device is on its own default.
        renew_s: an unchanged order is renewed when it has so little life left.
        deadband_kw: a plan that asks less than this of a group, against what it would do unasked,
            asks nothing.
        deadband_share: the same, as a share of what it would do unasked.
        head_group: group whose sum the feeder-head envelope can move.
        guard: engineered limits of one step.
    """

    valid_s: int = 300
    renew_s: int = 120
    deadband_kw: float = 1.0
    deadband_share: float = 0.03
    head_group: str = "all"
    guard: GuardLimits = field(default_factory=GuardLimits)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What a tick decided.

    Attributes:
        orders: what goes to the wire.
        targets: every row's target, sent now or in force already.
        capability: what rows could do, as narrowed by who answers.
        passed: the guard's verdict over the candidates.
        response: the conversation's state after sending.
        rejected: wishes that could not be weighed.
    """

    orders: Orders
    targets: Targets
    capability: Capability
    passed: Passed
    response: Response
    rejected: tuple[Rejected, ...]

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What each wish got, weightiest first."""
        return self.targets.grants


def step(
    image: Image,
    schedule: Schedule | None,
    envelopes: Sequence[Envelope],
    proposals: Sequence[Proposal],
    rows_of: Mapping[str, Rows],
    response: Response,
    policy: Policy,
) -> Decision:
    """Decide the orders of this moment (``image.now_s``). A pure function: a dry run is a call.

    Args:
        image: the process image.
        schedule: the newest plan, or None.
        envelopes: grid limits on group sums; that of ``policy.head_group`` bounds the *feeder's*
            net injection, what takes no orders included.
        proposals: operators', events' and markets' wishes.
        rows_of: every group's rows.
        response: who has been asked what, and who answers.
        policy: settings.

    Returns:
        Orders with expiry, and the reason of every target.
    """
    now_s = image.now_s
    response = response.expired(now_s)
    can = response.narrowed(capability(image), image)
    wishes, rejected = _known(in_force(proposals, now_s), rows_of)
    wishes += _from_plan(schedule, image, rows_of, policy, now_s)
    wishes += _from_grid(envelopes, image, rows_of, policy)
    targets = arbitrate(wishes, rows_of.__getitem__, image, can, response.ordered_kw)
    due = np.flatnonzero(response.due(targets.p_kw, now_s, policy.renew_s)).astype(np.int32)
    weight = np.array([p.priority for p in targets.proposals], dtype=np.int64)[targets.source[due]]
    passed = guard(due, targets.p_kw[due], weight, image, policy.guard)
    orders = _orders(image, due[passed.keep], targets, response.next_id, policy)
    return Decision(orders, targets, can, passed, response.sent(orders), rejected)


def _known(
    proposals: Sequence[Proposal], rows_of: Mapping[str, Rows]
) -> tuple[list[Proposal], tuple[Rejected, ...]]:
    """Wishes on groups that exist; a group may have vanished since the wish was accepted."""
    known = [p for p in proposals if p.group in rows_of]
    lost = tuple(
        Rejected("proposal", "group", (p.id,), f"group {p.group!r} does not exist any more")
        for p in proposals
        if p.group not in rows_of
    )
    return known, lost


def _from_plan(
    schedule: Schedule | None, image: Image, rows_of: Mapping[str, Rows], policy: Policy, now_s: int
) -> list[Proposal]:
    """The plan's present step as wishes; a group planned to do what it does anyway is left alone."""
    k = -1 if schedule is None else schedule.grid.step_at(now_s)
    if schedule is None or k < 0:
        return []
    until_s = int(schedule.grid.edges_s[k + 1])
    wishes = _planned_peak(schedule, image, rows_of, policy, until_s)
    for g, group in enumerate(schedule.groups):
        if group not in rows_of or len(rows_of[group]) == 0:
            continue
        planned, base = float(schedule.p_kw[g, k]), float(schedule.base_kw[g, k])
        family = Family(int(image.family[rows_of[group][0]]))
        idle = abs(planned - base) <= max(policy.deadband_kw, policy.deadband_share * abs(base))
        if idle and family not in _HELD:
            continue
        if family is Family.RENEWABLE and base > 0:
            planned *= float(np.nansum(image.p_avail_kw[rows_of[group]])) / base
        wishes.append(
            Proposal(
                id=f"plan:{group}",
                group=group,
                priority=Priority.SCHEDULE,
                author="plan",
                why=f"schedule of {len(schedule.groups)} groups",
                start_s=now_s,
                until_s=until_s,
                p_kw=planned,
            )
        )
    return wishes


def _planned_peak(
    schedule: Schedule, image: Image, rows_of: Mapping[str, Rows], policy: Policy, until_s: int
) -> list[Proposal]:
    """The peak that the plan accepts, held between two plans against what was not foreseen."""
    rest = _outside(image, rows_of.get(policy.head_group))
    if rest is None:
        return []
    return [
        Proposal(
            id="plan:peak",
            group=policy.head_group,
            priority=Priority.SCHEDULE,
            author="plan",
            why=f"planned import peak of {schedule.peak_kw:.0f} kW",
            start_s=image.now_s,
            until_s=until_s,
            p_lo_kw=-schedule.peak_kw - rest,
        )
    ]


def _outside(image: Image, rows: Rows | None) -> float | None:
    """Injection at the feeder head that the rows do not explain, kW; None without a measurement."""
    head = image.kind == Kind.FEEDER_HEAD
    if rows is None or not head.any() or not np.isfinite(image.p_kw[head]).all():
        return None
    return float(image.p_kw[head].sum()) - float(np.nansum(image.p_kw[rows]))


_HELD = frozenset({Family.STORAGE, Family.VEHICLE})
"""Families whose own default is not the plan's base (rest): they are held even at rest."""


def _from_grid(
    envelopes: Sequence[Envelope], image: Image, rows_of: Mapping[str, Rows], policy: Policy
) -> list[Proposal]:
    """Envelopes as bounds; the head's is turned from the feeder's net into the resources' sum."""
    wishes = []
    for envelope in envelopes:
        if envelope.group not in rows_of or envelope.until_s <= image.now_s:
            continue
        shift: float | None = 0.0
        if envelope.group == policy.head_group:
            shift = _outside(image, rows_of[envelope.group])
        if shift is None:
            continue
        wishes.append(
            as_bound(
                envelope.group,
                envelope.p_lo_kw - shift,
                envelope.p_hi_kw - shift,
                envelope.source,
                image.now_s,
                envelope.until_s,
            )
        )
    return wishes


def _orders(image: Image, rows: Rows, targets: Targets, next_id: int, policy: Policy) -> Orders:
    k = len(rows)
    return Orders(
        ids=image.ids,
        index=rows,
        order_id=np.arange(next_id, next_id + k, dtype=np.int64),
        p_kw=np.asarray(targets.p_kw[rows], dtype=np.float32),
        expires_s=np.full(k, image.now_s + policy.valid_s, dtype=np.int64),
        source=targets.source[rows],
        sources=tuple(p.id for p in targets.proposals),
        issued_s=image.now_s,
    )
