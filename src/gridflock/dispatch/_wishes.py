"""Everything that is wanted at one moment, in one form: proposals, the plan's step, grid limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from gridflock.fleet import Image
from gridflock.model import Envelope, Priority, Proposal, Rejected, Schedule
from gridflock.schema import Family, Kind
from gridflock.units import NEVER_S, Kvar, Kw, Rows

_HELD = frozenset({int(Family.STORAGE), int(Family.VEHICLE), int(Family.THERMAL)})
"""Families that are held even where the plan asks for nothing special.

The own default of stores and vehicles is not the plan's base, which is rest; comfort loads that have
been held off and are all let go at once would come back together, higher than before.
"""
_RENEWABLE = int(Family.RENEWABLE)
_HEAD_STALE_S = 300
"""An older reading of the feeder head says nothing of this moment."""


def in_force(
    proposals: Sequence[Proposal],
    rows_of: Mapping[str, Rows],
    now_s: int,
    told_s: int = NEVER_S,
    authority: Mapping[str, Priority] = MappingProxyType({}),
) -> tuple[list[Proposal], list[Rejected]]:
    """Wishes whose time it is, and those that cannot be weighed.

    A group may have vanished since the wish was accepted. Of two that bear one id and are not the same,
    neither is weighed: nobody could tell which of them was meant.

    Args:
        proposals: all there are.
        rows_of: every group's rows.
        now_s: this moment.
        told_s: moment of the last tick: what had ended by then came too late; -1 = there was none.
        authority: weightiest priority by author; ``"*"`` stands for authors that are not named. Empty =
            everybody may ask with any.
    """
    wishes, rejected = [], []
    known: dict[str, Proposal] = {}
    twice = {p.id for p in proposals if known.setdefault(p.id, p) != p}
    for proposal in known.values():
        now = proposal.start_s <= now_s < proposal.until_s
        fault = _untimely(proposal, told_s) or _beyond(proposal, authority)
        fault = fault or (_fault(proposal, rows_of) if now else None)
        if proposal.id in twice:
            fault = "id", "two different wishes bear it"
        if fault is not None:
            rejected.append(Rejected("proposal", fault[0], (proposal.id,), fault[1]))
        elif now:
            wishes.append(proposal)
    return wishes, rejected


def _untimely(proposal: Proposal, told_s: int) -> tuple[str, str] | None:
    """Field and rule of a wish that was never in force."""
    if proposal.until_s <= proposal.start_s:
        return "until_s", f"{proposal.until_s} is not after its start {proposal.start_s}"
    if told_s != NEVER_S and proposal.until_s <= told_s:
        return "until_s", f"{proposal.until_s} had passed at the last tick, {told_s}"
    return None


def _beyond(proposal: Proposal, authority: Mapping[str, Priority]) -> tuple[str, str] | None:
    """Field and rule of a wish that weighs more than its author may ask with."""
    may = authority.get(proposal.author, authority.get("*"))
    if may is None or proposal.priority >= may:
        return None
    return "priority", f"{proposal.author!r} may ask with {may.name} at most, not {proposal.priority.name}"


def _fault(proposal: Proposal, rows_of: Mapping[str, Rows]) -> tuple[str, str] | None:
    """Field and rule that a wish breaks."""
    if proposal.group not in rows_of:
        return "group", f"group {proposal.group!r} does not exist any more"
    if proposal.p_kw is not None and not math.isfinite(proposal.p_kw):
        return "p_kw", f"{proposal.p_kw} is not a finite number"
    if not proposal.p_lo_kw <= proposal.p_hi_kw:
        return "p_lo_kw", f"{proposal.p_lo_kw} is not a lower bound to {proposal.p_hi_kw}"
    return None


def from_plan(
    schedule: Schedule | None,
    image: Image,
    rows_of: Mapping[str, Rows],
    head_group: str,
    deadband: tuple[float, float],
    head_band_kw: float = math.inf,
) -> tuple[list[Proposal], list[Rejected]]:
    """The plan's present step as wishes; a group planned to do what it does anyway is left alone.

    Args:
        schedule: the newest plan, or None.
        image: the process image.
        rows_of: every group's rows; a group of the plan that is gone is reported.
        head_group: whose members can move the feeder's net.
        deadband: kW, and share of what a group would do unasked, below which a plan asks nothing.
        head_band_kw: how far the feeder's net may drift from the plan, either way, before resources
            make up for it.
    """
    k = -1 if schedule is None else schedule.grid.step_at(image.now_s)
    if schedule is None or k < 0:
        return [], []
    until_s = int(schedule.grid.edges_s[k + 1])
    wishes = _planned_head(schedule, k, image, rows_of, (head_group, head_band_kw))
    gone = tuple(group for group in schedule.groups if group not in rows_of)
    rejected = [Rejected("schedule", "groups", gone[:20], "do not exist any more", count=len(gone))]
    why = f"schedule of {len(schedule.groups)} groups"
    plans, bases = schedule.p_kw[:, k].tolist(), schedule.base_kw[:, k].tolist()
    for group, planned, base in zip(schedule.groups, plans, bases, strict=True):
        rows = rows_of.get(group)
        if rows is None or len(rows) == 0:
            continue
        family = int(image.family[rows[0]])
        if family not in _HELD and abs(planned - base) <= max(deadband[0], deadband[1] * abs(base)):
            continue
        share = 1.0
        if family == _RENEWABLE and base > 0:
            share = float(np.nansum(image.p_avail_kw[rows])) / base
        wishes.append(
            Proposal(
                id=f"plan:{group}",
                group=group,
                priority=Priority.SCHEDULE,
                author="plan",
                why=why,
                start_s=image.now_s,
                until_s=until_s,
                p_kw=planned * share,
            )
        )
    return wishes, rejected if gone else []


@dataclass(frozen=True, slots=True, eq=False)
class PlannedNow:
    """What the plan's present step means row by row, n rows.

    Attributes:
        p_kw: float64 (n,) NaN where nothing is planned for a row; None where for none.
        q_kvar: float64 (n,) the same of reactive power.
    """

    p_kw: Kw | None
    q_kvar: Kvar | None


def planned_now(schedule: Schedule | None, image: Image) -> PlannedNow:
    """The shares of the plan's present step."""
    k = -1 if schedule is None else schedule.grid.step_at(image.now_s)
    if schedule is None or schedule.shares is None or k < 0:
        return PlannedNow(None, None)
    shares = schedule.shares
    p_kw, q_kvar = np.full(image.n, np.nan), np.full(image.n, np.nan)
    p_kw[shares.rows], q_kvar[shares.rows] = shares.p_kw[:, k], shares.q_kvar[:, k]
    return PlannedNow(p_kw, q_kvar)


def _planned_head(
    schedule: Schedule,
    k: int,
    image: Image,
    rows_of: Mapping[str, Rows],
    head: tuple[str, float],
) -> list[Proposal]:
    """The peak that the plan accepts, held between two plans against what was not foreseen.

    Within the peak the head may drift from its plan by a band: sun, wind and what takes no orders are
    what they are, and what they are short of their forecast is made up for by who can move.
    """
    group, band_kw = head
    rest = _outside(image, rows_of.get(group))
    if rest is None:
        return []
    net = float(schedule.net_kw[k])
    lo, hi = max(-schedule.peak_kw, net - band_kw), max(-schedule.peak_kw, net + band_kw)
    why = f"planned import peak of {schedule.peak_kw:.0f} kW"
    if math.isfinite(band_kw):
        why = f"{why}, planned net of {net:.0f} kW within {band_kw:.0f} kW"
    return [
        Proposal(
            id="plan:peak",
            group=group,
            priority=Priority.SCHEDULE,
            author="plan",
            why=why,
            start_s=image.now_s,
            until_s=int(schedule.grid.edges_s[k + 1]),
            p_lo_kw=lo - rest,
            p_hi_kw=hi - rest,
        )
    ]


def _outside(image: Image, rows: Rows | None) -> float | None:
    """Injection at the feeder head that the rows do not explain, kW; None without a fresh measurement."""
    head = np.flatnonzero(image.kind == Kind.FEEDER_HEAD)
    if rows is None or len(head) == 0 or not np.isfinite(image.p_kw[head]).all():
        return None
    if image.silent(_HEAD_STALE_S)[head].any():
        return None
    explained = np.nansum(image.p_kw[rows], dtype=np.float64)
    return float(image.p_kw[head].sum(dtype=np.float64) - explained)


def from_grid(
    envelopes: Sequence[Envelope], image: Image, rows_of: Mapping[str, Rows], head_group: str
) -> tuple[list[Proposal], list[Rejected]]:
    """Envelopes as bounds; the head's is turned from the feeder's net into the resources' sum.

    While the head is not measured, its bound is held on the resources' sum alone. Bounds that
    cross leave the level between them that is nearest to rest, and are reported.
    """
    wishes, rejected = [], []
    for at, envelope in enumerate(envelopes, start=1):
        if envelope.until_s <= image.now_s:
            continue
        bound = Proposal(
            id=f"envelope:{envelope.group}",
            group=envelope.group,
            priority=Priority.ENVELOPE,
            author="grid",
            why=envelope.source,
            start_s=image.now_s,
            until_s=envelope.until_s,
            p_lo_kw=envelope.p_lo_kw,
            p_hi_kw=envelope.p_hi_kw,
        )
        fault = _fault(bound, rows_of)
        if fault is not None:
            rejected.append(Rejected("envelope", fault[0], (envelope.group,), fault[1], row=at))
            if fault[0] == "group" or math.isnan(bound.p_lo_kw + bound.p_hi_kw):
                continue
            level = min(max(0.0, bound.p_hi_kw), bound.p_lo_kw)
            bound = replace(bound, p_lo_kw=level, p_hi_kw=level)
        if envelope.group == head_group:
            bound = _of_resources(bound, _outside(image, rows_of[head_group]))
        wishes.append(bound)
    return wishes, rejected


def _of_resources(bound: Proposal, outside_kw: float | None) -> Proposal:
    if outside_kw is None:
        return replace(bound, why=f"{bound.why} (feeder head not measured)")
    return replace(bound, p_lo_kw=bound.p_lo_kw - outside_kw, p_hi_kw=bound.p_hi_kw - outside_kw)
