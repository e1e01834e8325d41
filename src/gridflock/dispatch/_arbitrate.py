"""Arbitration: many wishes on overlapping groups become one target per resource.

Wants are granted by priority; each fixes its members, and a later want on an overlapping group
counts what those members already give and asks only the rest of the free ones, so that no
kilowatt is ordered twice (CONVENTIONS §7). Among wishes of one priority the smaller group comes
first, so that a group and its parent can both have what they want. Bounds on group sums are
applied afterwards, the weightiest last, and move no target of more weight than their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._desk import TOLERANCE_KW, Desk, Granted
from gridflock.dispatch._expect import Odds
from gridflock.dispatch._follow import Following
from gridflock.dispatch._held import Held
from gridflock.dispatch._ramp import Ramp, share_in
from gridflock.fleet import Image
from gridflock.fleet._capability import span_kw
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
            nobody asked, less ``beyond_kw``.
        causes: shortfall in kW by cause, in words; their sum is asked − given.
        expected_kw: the sum that is expected to come, where it is known how likely who responds; else
            what is given.
        beyond_kw: how much more is ordered, because not all are expected to respond; of either sign.
    """

    proposal: Proposal
    asked_kw: float
    given_kw: float
    causes: Mapping[str, float] = field(default_factory=dict)
    expected_kw: float = float("nan")
    beyond_kw: float = 0.0

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
        present_kw: float64 (n,) what each row is taken to do now; it counts where nobody asked.
        proposals: the wishes that were weighed, weightiest first.
        grants: one per proposal, in the same order.
        follows: signals that are followed, for the next tick.
    """

    p_kw: Kw
    source: NDArray[np.int16]
    present_kw: Kw
    proposals: tuple[Proposal, ...]
    grants: tuple[Grant, ...]
    follows: tuple[Following, ...] = ()


def arbitrate(
    proposals: Sequence[Proposal],
    rows_of: RowsOf,
    image: Image,
    capability: Capability,
    previous_kw: Kw,
    planned_kw: Kw | None = None,
    *,
    odds: Odds | None = None,
    ramps: Sequence[Ramp] = (),
    held: Held | None = None,
    follows: Sequence[Following] = (),
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
        odds: how likely each row brings what it is asked for; None = all do.
        ramps: events that come in or go out; those that go out are weighed besides ``proposals``.
        held: rows that the network holds where they are; wants have the rest of their sum from the
            others.
        follows: signals that were followed in the last tick.

    Returns:
        Targets inside ``capability`` for every row that some want covers or some bound moves.
    """
    moving = [ramp for ramp in ramps if ramp.moves]
    leaving = [ramp.proposal for ramp in moving if ramp.ends]
    holding = () if held is None else held.wishes
    every = [*proposals, *leaving, *holding]
    ranked = tuple(sorted(every, key=lambda p: _rank(p, len(rows_of(p.group)))))
    members = [rows_of(p.group) for p in ranked]

    def desk_of(wishes: Sequence[Proposal], rows: Sequence[Rows]) -> tuple[Desk, dict[int, Granted]]:
        desk = Desk(wishes, rows, image, capability, previous_kw, planned_kw, odds, follows)
        if held is not None and held.wishes:
            at = {p.id: k for k, p in enumerate(wishes)}
            place = np.array([*(at[p.id] for p in holding), -1], dtype=np.int16)
            desk.hold(held.p_kw, place[held.by])
        return desk, {k: desk.grant_want(k) for k, p in enumerate(wishes) if p.p_kw is not None}

    desk, granted = desk_of(ranked, members)
    entered = {}
    if moving:
        events = {ramp.proposal.id for ramp in moving}
        stay = [k for k, p in enumerate(ranked) if p.id not in events]
        without, _ = desk_of([ranked[k] for k in stay], [members[k] for k in stay])
        place = np.array([*stay, -1], dtype=np.int16)
        _enter(desk, without, place, moving, rows_of, span_kw(image))
        entered = dict(enumerate(desk.given()))
    desk.hold_bounds()
    grants = _grants(desk, ranked, members, granted, entered)
    if held is not None and held.wishes:
        grants = tuple(_by_network(grant, rows, held) for grant, rows in zip(grants, members, strict=True))
    return Targets(desk.target, desk.source, desk.present, ranked, grants, tuple(desk.follows))


def _enter(
    desk: Desk, without: Desk, place: NDArray[np.int16], moving: Sequence[Ramp], rows_of: RowsOf, size_kw: Kw
) -> None:
    """Let each row take its turn between the desks without and with the events that move.

    Rows of other wishes, which take up what an event leaves, follow the events together.
    """
    shares = {ramp.proposal.id: share_in(ramp, rows_of(ramp.proposal.group), size_kw) for ramp in moving}
    share = np.mean(list(shares.values()), axis=0)
    leaving = np.full(len(share), all(ramp.ends for ramp in moving))
    ends = {ramp.proposal.id: ramp.ends for ramp in moving}
    for k, proposal in enumerate(desk.ranked):
        if proposal.id in shares:
            mine = desk.source == k
            share[mine], leaving[mine] = shares[proposal.id][mine], ends[proposal.id]
    desk.mix(without, place, share, leaving)


def _grants(
    desk: Desk,
    ranked: Sequence[Proposal],
    members: Sequence[Rows],
    granted: Mapping[int, Granted],
    entered: Mapping[int, float],
) -> tuple[Grant, ...]:
    """What each wish got, after bounds and ramps."""
    sums, taken = desk.given(), _taken(desk, ranked)
    beyond = [granted[k].beyond_kw if k in granted else 0.0 for k in range(len(ranked))]
    given = [whole - more for whole, more in zip(sums, beyond, strict=True)]
    grants = []
    for k, proposal in enumerate(ranked):
        got = granted.get(k)
        if got is None:
            asked = min(max(given[k], proposal.p_lo_kw), proposal.p_hi_kw)
            short = asked - given[k]
            causes = {"limits of what may move": short} if abs(short) > TOLERANCE_KW else {}
            grants.append(Grant(proposal, asked, given[k], causes, given[k]))
            continue
        causes = dict(got.causes)
        had = entered[k] - beyond[k] if k in entered else got.given_kw
        if abs(got.given_kw - had) > TOLERANCE_KW:
            causes["ramp"] = got.given_kw - had
        lost = had - given[k]
        if abs(lost) > TOLERANCE_KW:
            causes |= _by_holder(lost, desk.source[members[k]], taken[members[k]], ranked)
        expected = got.expected_kw - got.given_kw + given[k]
        grants.append(Grant(proposal, got.asked_kw, given[k], causes, expected, beyond[k]))
    return tuple(grants)


def _by_network(grant: Grant, rows: Rows, held: Held) -> Grant:
    """What a want misses because the network holds members of it, by what holds them."""
    lost = np.bincount(held.by[rows] + 1, weights=held.lost_kw[rows], minlength=len(held.wishes) + 1)[1:]
    short, whole = grant.shortfall_kw, float(lost.sum())
    if grant.proposal.p_kw is None or short * whole <= 0 or abs(short) <= TOLERANCE_KW:
        return grant
    part = min(abs(short), abs(whole)) / abs(short)
    causes = {name: kw * (1.0 - part) for name, kw in grant.causes.items() if part < 1.0}
    for k in np.flatnonzero(lost).tolist():
        causes[f"held by {held.wishes[k].why}"] = float(part * short * lost[k] / whole)
    return replace(grant, causes=causes)


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
