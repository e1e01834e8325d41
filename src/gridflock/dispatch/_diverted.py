"""Targets on the way between those of a tick without what somebody asked of the plan, and those with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.dispatch._arbitrate import Grant, RowsOf, Targets
from gridflock.dispatch._desk import TOLERANCE_KW, UNASKED, unasked_kw
from gridflock.dispatch._held import Held
from gridflock.dispatch._ramp import between
from gridflock.dispatch.guard import GuardLimits, GuardState, Rules
from gridflock.dispatch.guard._diverted import Behind, Followed, account_of, follow
from gridflock.dispatch.guard._memory import Diverted
from gridflock.fleet import Image
from gridflock.model import Capability, Envelope, Proposal, Schedule
from gridflock.units import Kw, Mask

Weigh = Callable[..., Targets]


@dataclass(frozen=True, slots=True, eq=False)
class Diversion:
    """What a tick would be decided from, if all that somebody asked of the plan were followed.

    Attributes:
        behind: who.
        schedule: the plan made with it.
        envelopes: limits in force with it.
        proposals: wishes in force with it.
    """

    behind: Behind
    schedule: Schedule | None
    envelopes: Sequence[Envelope]
    proposals: Sequence[Proposal]


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """From the targets without what somebody asked to those with it, n rows.

    Where nobody asks a row any more its order in force goes on; without what diverted it, it were another.

    Attributes:
        found: targets without.
        aims: targets with it.
        goes_on_kw: (n,) what rows do if nobody asks any more: their order in force, else what they do by
            themselves.
        without_kw: (n,) what rows come to do without, finite.
        with_kw: (n,) the same with it.
        diverts_kw: (n,) by how much orders in force are others than without it.
        steps: (n,) devices that only know on and off.
        floor_kw: (n,) smallest level other than 0, as a magnitude.
    """

    found: Targets
    aims: Targets
    goes_on_kw: Kw
    without_kw: Kw
    with_kw: Kw
    diverts_kw: Kw
    steps: Mask
    floor_kw: Kw

    def level_kw(self, share: float) -> Kw:
        """(n,) targets at a share of the way; NaN where nobody asks, or what is asked goes nowhere."""
        if share == 0.0:
            return self.found.p_kw
        if share == 1.0:
            return self.aims.p_kw
        part = np.full(len(self.steps), share)
        mixed = between(self.without_kw, self.with_kw, part, self.steps, self.floor_kw)
        left = np.isnan(self.found.p_kw) & (np.isnan(self.aims.p_kw) | (mixed == self.without_kw))
        level: Kw = np.where(left, np.nan, mixed)
        return level

    def diverted(self, share: float) -> Kw:
        """(n,) by how much rows come to do something else at a share of the way."""
        level = self.level_kw(share)
        by_kw: Kw = np.where(np.isnan(level), self.goes_on_kw, level) - self.without_kw
        # Where nobody asks, with or without it, an order that is left diverts by what it did.
        return np.where(np.isnan(level) & np.isnan(self.found.p_kw), self.diverts_kw, by_kw)


@dataclass(frozen=True, slots=True, eq=False)
class Followers:
    """Follows diversions, one after the other, as far as the guard lets them.

    Attributes:
        image: the process image.
        can: what rows can do.
        limits: the engineered limits.
        rules: what people have set.
        state: what the guard knows from the ticks before.
        rows_of: members of groups.
        ordered_kw: (n,) orders in force, NaN where none: they go on where nobody asks, until they run out.
    """

    image: Image
    can: Capability
    limits: GuardLimits
    rules: Rules
    state: GuardState
    rows_of: RowsOf
    ordered_kw: Kw

    def targets(
        self, weigh: Weigh, others: Sequence[tuple[Behind, Weigh]], held: Held | None = None
    ) -> tuple[Targets, GuardState, tuple[Followed, ...]]:
        """The targets of this moment, the guard's state with what they divert, and how far each is followed.

        Args:
            weigh: decides without any diversion.
            others: who stands behind each of them, and what decides with it.
            held: rows that the network holds where they are.
        """
        found, now_s = weigh(held=held), self.image.now_s
        memory, told = self.state.memory, []
        rules, size_kw = self.rules.at(now_s), self.limits.fleet_kw(self.image) if others else 0.0
        for behind, other in others:
            before = memory.diverted.get(behind.id)
            if before is not None and before.account != account_of(behind, rules):
                before = None
            way = self._way(found, other(held=held), before)
            followed, memory = follow(way.diverted, behind, rules, self.limits, memory, size_kw, now_s)
            found = self._on_the_way(way, followed)
            told.append(followed)
        for name in memory.diverted.keys() - {behind.id for behind, _ in others}:
            over = memory.diverted[name]
            left_kw = self._way(found, found, over).diverted(0.0).astype(np.float32)
            memory = memory.diverting(name, over.account, left_kw, now_s)
        return found, replace(self.state, memory=memory), tuple(told)

    def _way(self, found: Targets, aims: Targets, before: Diverted | None) -> _Way:
        """The way from the targets without what somebody asked to those with it."""
        columns, in_force = self.image.columns, np.isfinite(self.ordered_kw)
        own_kw = unasked_kw(found.present_kw, self.image, self.can)
        goes_on = np.where(in_force, self.ordered_kw, own_kw)
        diverts = np.zeros(len(own_kw)) if before is None else np.where(in_force, before.by_kw, 0.0)
        return _Way(
            found,
            aims,
            goes_on,
            np.where(np.isnan(found.p_kw), goes_on - diverts, found.p_kw),
            np.where(np.isnan(aims.p_kw), goes_on, aims.p_kw),
            diverts,
            columns["on_off"] == 1,
            columns["p_floor_kw"],
        )

    def _on_the_way(self, way: _Way, followed: Followed) -> Targets:
        """The targets where what somebody asked is followed so far."""
        found, aims = way.found, way.aims
        if followed.share == 1.0:
            return replace(aims, follows=found.follows)
        if followed.share == 0.0:
            return found
        p_kw = way.level_kw(followed.share)
        wishes = {wish.id: wish for wish in (*aims.proposals, *found.proposals)}
        at = {name: k for k, name in enumerate(wishes)}
        place = np.array([*(at[wish.id] for wish in found.proposals), UNASKED], dtype=np.int16)
        theirs = (p_kw != found.p_kw) & (aims.source != UNASKED)
        source = np.where(theirs, aims.source, place[found.source])
        source = np.where(np.isnan(p_kw), np.int16(UNASKED), source)
        mixed = Targets(p_kw, source, aims.present_kw, tuple(wishes.values()), (), found.follows)
        old = {grant.proposal.id: grant for grant in (*found.grants, *aims.grants)}
        of = {wish.id: found for wish in found.proposals} | {wish.id: aims for wish in aims.proposals}
        why = f"budget of {followed.account}"
        grants = tuple(self._granted(old[name], of[name], mixed, why) for name in wishes)
        return replace(mixed, grants=grants)

    def _granted(self, grant: Grant, of: Targets, mixed: Targets, why: str) -> Grant:
        """What a wish got on the way, where it is less or more than it was granted."""
        rows = self.rows_of(grant.proposal.group)
        was, is_now = (
            np.where(one.source[rows] == UNASKED, one.present_kw[rows], one.p_kw[rows]) for one in (of, mixed)
        )
        lost = float((was - is_now).sum())
        if abs(lost) <= TOLERANCE_KW:
            return grant
        given, expected, wish = grant.given_kw - lost, grant.expected_kw - lost, grant.proposal
        if wish.p_kw is None:
            asked = min(max(given, wish.p_lo_kw), wish.p_hi_kw)
            causes = {why: asked - given} if abs(asked - given) > TOLERANCE_KW else {}
            return Grant(wish, asked, given, causes, given)
        causes = {**grant.causes, why: grant.causes.get(why, 0.0) + lost}
        return replace(grant, given_kw=given, expected_kw=expected, causes=causes)
