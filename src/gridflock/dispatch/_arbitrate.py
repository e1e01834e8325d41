"""Arbitration: many wishes on overlapping groups become one target per resource.

Wants are granted by priority; each fixes its members, and a later want on an overlapping group
counts what those members already give and asks only the rest of the free ones, so that no
kilowatt is ordered twice (CONVENTIONS §7). Bounds on group sums are applied afterwards, the
weightiest last, and may move every target of a lesser priority than their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image, split
from gridflock.model import Capability, Priority, Proposal
from gridflock.schema import Family
from gridflock.units import Kw, Rows

_BOUND_ORDER = (
    Family.STORAGE,
    Family.VEHICLE,
    Family.THERMAL,
    Family.GENERATOR,
    Family.SHED,
    Family.RENEWABLE,
)
"""Who moves first to hold a bound: what costs nobody anything before what somebody notices."""

RowsOf = Callable[[str], Rows]
UNASKED = -1
_TOLERANCE_KW = 1e-6


@dataclass(frozen=True, slots=True)
class Grant:
    """What a proposal got.

    Attributes:
        proposal: the wish.
        asked_kw: the wanted sum, or for pure bounds the sum that the bounds leave.
        given_kw: the sum that the members' targets make.
        causes: shortfall in kW by cause, in words; their sum is asked − given.
    """

    proposal: Proposal
    asked_kw: float
    given_kw: float
    causes: Mapping[str, float] = field(default_factory=dict)

    @property
    def shortfall_kw(self) -> float:
        """Asked minus given, kW."""
        return self.asked_kw - self.given_kw


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The outcome of arbitration, row by row.

    Attributes:
        p_kw: float64 (n,) target; NaN for rows nobody asked.
        source: int16 (n,) position in ``proposals``; -1 for rows nobody asked.
        proposals: the wishes that were weighed, weightiest first.
        grants: one per proposal, in the same order.
    """

    p_kw: Kw
    source: NDArray[np.int16]
    proposals: tuple[Proposal, ...]
    grants: tuple[Grant, ...]


def arbitrate(
    proposals: Sequence[Proposal],
    rows_of: RowsOf,
    image: Image,
    capability: Capability,
    previous_kw: Kw,
) -> Targets:
    """Weigh wishes against each other and against what the resources can do.

    Args:
        proposals: wishes in force now, any order.
        rows_of: group or resource id -> rows.
        image: the process image.
        capability: per row, n rows; already narrowed to what will answer.
        previous_kw: (n,) targets of the tick before, NaN where none: on/off devices that need not
            move stay as they are.

    Returns:
        Targets inside ``capability`` for every row that some wish covers.
    """
    ranked = tuple(sorted(proposals, key=lambda p: (p.priority, p.start_s, p.id)))
    desk = _Desk(image, capability, previous_kw)
    grants: dict[int, Grant] = {}
    for k, proposal in enumerate(ranked):
        if proposal.p_kw is not None:
            grants[k] = desk.grant_want(k, proposal, rows_of(proposal.group))
    for k in range(len(ranked) - 1, -1, -1):
        proposal = ranked[k]
        if math.isfinite(proposal.p_lo_kw) or math.isfinite(proposal.p_hi_kw):
            grants[k] = desk.hold_bounds(k, proposal, rows_of(proposal.group), ranked)
    final = tuple(_settled(grants[k], desk.given(rows_of(p.group))) for k, p in enumerate(ranked))
    return Targets(desk.target, desk.source, ranked, final)


class _Desk:
    """Working arrays of one arbitration."""

    def __init__(self, image: Image, capability: Capability, previous_kw: Kw) -> None:
        n = len(image.ids)
        self.image = image
        self.capability = capability
        self.previous = previous_kw
        self.present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
        self.target = np.full(n, np.nan)
        self.source = np.full(n, UNASKED, dtype=np.int16)

    def given(self, rows: Rows) -> float:
        """Sum that the rows make: targets where asked, present power elsewhere."""
        target = self.target[rows]
        return float(np.where(np.isnan(target), self.present[rows], target).sum())

    def grant_want(self, k: int, proposal: Proposal, rows: Rows) -> Grant:
        """Split a wanted sum over the members that no weightier wish holds."""
        assert proposal.p_kw is not None
        asked = min(max(proposal.p_kw, proposal.p_lo_kw), proposal.p_hi_kw)
        held = self.source[rows] != UNASKED
        free = rows[~held]
        rest = asked - float(self.target[rows[held]].sum())
        causes = self._spread(k, free, rest)
        return Grant(proposal, asked, self.given(rows), causes)

    def hold_bounds(self, k: int, proposal: Proposal, rows: Rows, ranked: Sequence[Proposal]) -> Grant:
        """Move lesser targets until the group's sum is inside the bounds."""
        total = self.given(rows)
        asked = min(max(total, proposal.p_lo_kw), proposal.p_hi_kw)
        if abs(asked - total) <= _TOLERANCE_KW:
            return Grant(proposal, asked, total)
        weightier = np.array([p.priority < proposal.priority for p in ranked] + [False])
        movable = rows[~weightier[self.source[rows]]]
        missing = asked - total
        for family in _BOUND_ORDER:
            if abs(missing) <= _TOLERANCE_KW:
                break
            some = movable[self.image.family[movable] == family]
            if len(some):
                before = self.given(some)
                self._spread(k, some, before + missing)
                missing -= self.given(some) - before
        causes = {"limits of what may move": missing} if abs(missing) > _TOLERANCE_KW else {}
        return Grant(proposal, asked, self.given(rows), causes)

    def _spread(self, k: int, rows: Rows, wanted_kw: float) -> Mapping[str, float]:
        rows = rows[self.image.family[rows] != Family.NONE]
        if len(rows) == 0:
            return {"no free member": wanted_kw} if abs(wanted_kw) > _TOLERANCE_KW else {}
        share = split(wanted_kw, rows, self.image, self.capability, self.previous)
        self.target[rows] = share.p_kw
        self.source[rows] = k
        return share.causes


def _settled(grant: Grant, given_kw: float) -> Grant:
    """The grant as it stands after every bound has been held."""
    moved = given_kw - grant.given_kw
    if abs(moved) <= _TOLERANCE_KW:
        return grant
    causes = {**grant.causes, "a weightier bound": -moved}
    return Grant(grant.proposal, grant.asked_kw, given_kw, causes)


def in_force(proposals: Sequence[Proposal], now_s: int) -> tuple[Proposal, ...]:
    """The wishes whose time it is."""
    return tuple(p for p in proposals if p.start_s <= now_s < p.until_s)


def as_bound(group: str, p_lo_kw: float, p_hi_kw: float, why: str, now_s: int, until_s: int) -> Proposal:
    """A grid limit as a wish of priority ENVELOPE."""
    return Proposal(
        id=f"envelope:{group}",
        group=group,
        priority=Priority.ENVELOPE,
        author="grid",
        why=why,
        start_s=now_s,
        until_s=until_s,
        p_lo_kw=p_lo_kw,
        p_hi_kw=p_hi_kw,
    )
