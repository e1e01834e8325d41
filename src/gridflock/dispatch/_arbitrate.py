"""Arbitration: many wishes on overlapping groups become one target per resource.

Wants are granted by priority; each fixes its members, and a later want on an overlapping group
counts what those members already give and asks only the rest of the free ones, so that no
kilowatt is ordered twice (CONVENTIONS §7). Among wishes of one priority the smaller group comes
first, so that a group and its parent can both have what they want. Bounds on group sums are
applied afterwards, the weightiest last, and move no target of more weight than their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._desk import TOLERANCE_KW, Desk
from gridflock.fleet import Image
from gridflock.model import Capability, Proposal
from gridflock.units import Kw, Rows

RowsOf = Callable[[str], Rows]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a proposal got.

    Attributes:
        proposal: the wish.
        asked_kw: the wanted sum, or for pure bounds the sum that the bounds leave.
        given_kw: the sum that the members' targets make, with the present power of those that
            nobody asked.
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
    planned_kw: Kw | None = None,
) -> Targets:
    """Weigh wishes against each other and against what the resources can do.

    Args:
        proposals: wishes in force now, any order, finite numbers, lower bounds not above upper.
        rows_of: group or resource id -> rows.
        image: the process image.
        capability: per row, n rows; already narrowed to what will answer.
        previous_kw: (n,) orders in force, NaN where none: on/off devices that need not move stay
            as they are.
        planned_kw: (n,) what the plan means for each row, NaN where nothing.

    Returns:
        Targets inside ``capability`` for every row that some want covers or some bound moves.
    """
    ranked = tuple(sorted(proposals, key=lambda p: _rank(p, len(rows_of(p.group)))))
    members = [rows_of(p.group) for p in ranked]
    desk = Desk(ranked, members, image, capability, previous_kw, planned_kw)
    granted = {k: desk.grant_want(k) for k, p in enumerate(ranked) if p.p_kw is not None}
    desk.hold_bounds()
    given = desk.given()
    taken = _taken(desk, ranked)
    grants = []
    for k, proposal in enumerate(ranked):
        if k in granted:
            asked, had, causes = granted[k]
            lost = had - given[k]
            if abs(lost) > TOLERANCE_KW:
                causes = {**causes, **_by_holder(lost, desk.source[members[k]], taken[members[k]], ranked)}
        else:
            asked = min(max(given[k], proposal.p_lo_kw), proposal.p_hi_kw)
            short = asked - given[k]
            causes = {"limits of what may move": short} if abs(short) > TOLERANCE_KW else {}
        grants.append(Grant(proposal, asked, given[k], causes))
    return Targets(desk.target, desk.source, ranked, tuple(grants))


def _rank(proposal: Proposal, size: int) -> tuple[float | str, ...]:
    """Sort key: weight, then the smaller group, then the older wish; the rest only breaks ties."""
    want = (0.0, 0.0) if proposal.p_kw is None else (1.0, proposal.p_kw)
    ties = (proposal.id, proposal.group, proposal.until_s, proposal.p_lo_kw, proposal.p_hi_kw, *want)
    return (proposal.priority, size, proposal.start_s, *ties)


def _by_holder(
    lost_kw: float, source: NDArray[np.int16], taken_kw: Kw, ranked: Sequence[Proposal]
) -> dict[str, float]:
    """What bounds took from a want, by bound, in proportion to how far each moved the members."""
    by_wish = np.bincount(source + 1, weights=taken_kw)
    whole = float(by_wish.sum())
    if whole == 0:
        return {"held by a bound": lost_kw}
    shares = lost_kw * by_wish / whole
    return {f"held by {ranked[at - 1].id}": float(shares[at]) for at in np.flatnonzero(shares).tolist()}


def _taken(desk: Desk, ranked: Sequence[Proposal]) -> Kw:
    """(n,) how far bounds have moved each row from what its want gave it, kW >= 0."""
    bounding = np.array([*(k in desk.bounds for k in range(len(ranked))), False])
    moved: Kw = np.where(bounding[desk.source], np.abs(desk.wanted - desk.target), 0.0)
    return np.nan_to_num(moved)
