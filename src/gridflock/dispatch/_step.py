"""One fast tick: wishes, plan and limits in; orders out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gridflock.dispatch._arbitrate import Grant, Targets, arbitrate
from gridflock.dispatch._chance import uniform
from gridflock.dispatch._diverted import Diversion, Followers, Weigh
from gridflock.dispatch._expect import Odds
from gridflock.dispatch._held import hold
from gridflock.dispatch._ramp import Ramp, ramped
from gridflock.dispatch._reactive import reactive_due, reactive_targets
from gridflock.dispatch._response import Response
from gridflock.dispatch._wishes import PlannedNow, from_grid, from_plan, in_force, planned_now
from gridflock.dispatch.feedback import Feedback, Powers, Sight, Tuning
from gridflock.dispatch.guard import Asked, GuardLimits, GuardState, Passed, Rules, guard, revocation
from gridflock.dispatch.guard._diverted import Behind, Followed
from gridflock.fleet import Image, capability
from gridflock.model import BoundSource, Capability, Envelope, Orders, Priority, Proposal, Rejected, Schedule
from gridflock.units import Kvar, Kw, Mask, Rows, Seconds

_GRACE_S = 60
"""An order outlives its wish by so little: time for the next one to arrive before it ends."""
_SUM_KW = 0.05
_SUM_SHARE = 1e-3
"""Unchanged orders may keep a wish's sum off its target by the larger of the two."""
_SAME_KW = 1e-4
"""An order that differs by less says the same, and is not worth saying again."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How orders are made.

    Attributes:
        valid_s: life of an order once its device has heard of it (``Response.reach_s``); past it the device
            is on its own default.
        spread: each resource's orders live shorter by lot, by up to this share of ``valid_s``: what nobody
            renews any more runs out one by one, whatever has become of us.
        renew_s: an unchanged order is renewed when it has so little of that life left.
        deadband_kw: a plan that asks less than this of a group, against what it would do unasked,
            asks nothing.
        deadband_share: the same, as a share of what it would do unasked.
        recovery_s: life of an order that makes up for what others failed to give: should they give it
            late, it runs out soon.
        ramp_s: how long events take to come in and to go out, device by device; 0 = at once.
        head_band_kw: how far the feeder's net may drift from the plan, either way, before resources make
            up for what sun, wind and loads are off their forecast; inf = only the planned peak is held.
        authority: weightiest priority by author, ``"*"`` for those not named; empty = any.
        head_group: group whose sum the feeder-head envelope can move.
        tuning: how feedback from the network acts.
        guard: engineered limits of one step.
    """

    valid_s: int = 300
    spread: float = 0.2
    renew_s: int = 120
    deadband_kw: float = 1.0
    deadband_share: float = 0.03
    recovery_s: int = 150
    ramp_s: int = 720
    head_band_kw: float = math.inf
    authority: Mapping[str, Priority] = field(default_factory=dict)
    head_group: str = "all"
    tuning: Tuning = field(default_factory=Tuning)
    guard: GuardLimits = field(default_factory=GuardLimits)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What a tick decided.

    Attributes:
        orders: what goes to the wire.
        targets: every row's target: sent now, in force already, or held back by the guard.
        capability: what rows could do, as narrowed by who answers.
        passed: the guard's verdict over the candidates.
        response: the conversation's state after sending.
        rejected: wishes and limits that could not be weighed.
        feedback: what feedback knows for the next tick; None where nothing is in sight.
        followed: how far what outside credentials made of the plan is followed.
    """

    orders: Orders
    targets: Targets
    capability: Capability
    passed: Passed
    response: Response
    rejected: tuple[Rejected, ...]
    feedback: Feedback | None = None
    followed: tuple[Followed, ...] = ()

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
    rules: Rules | None = None,
    guarded: GuardState | None = None,
    sight: Sight | None = None,
    feedback: Feedback | None = None,
    diversions: Sequence[Diversion] = (),
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
        rules: what people have set for the guard; None = nothing.
        guarded: what the guard knows; None = nothing yet.
        sight: measured voltages and flows with their limits; None = no feedback from the network.
        feedback: what feedback knows from the last tick; None = nothing yet.
        diversions: the same schedule, limits and wishes with what outside credentials make of them, each
            followed as far as its account has room.

    Returns:
        Orders with expiry, and the reason of every target.
    """
    now_s, able = image.now_s, capability(image)
    response = response.expired(now_s).observed(image, able)
    odds = Odds.of(response, image)
    rules = Rules() if rules is None else rules
    guarded = GuardState.empty(image.n) if guarded is None else guarded
    can = response.narrowed(able, image, None if odds is None else odds.likely)
    can = rules.narrowed(can, image, rows_of)
    basis = Diversion(_OURS, schedule, envelopes, proposals)
    lines = [_Line.of(one, image, rows_of, policy, response.told_s) for one in (basis, *diversions)]
    ramps = ramped(response.ramps, lines[0].wishes, response.told_s, now_s, policy.ramp_s)
    weigh = [line.weigh(rows_of, image, can, response, odds, ramps) for line in lines]
    others = [(one.behind, other) for one, other in zip(diversions, weigh[1:], strict=True)]
    follows = image, can, policy.guard, rules, guarded, rows_of.__getitem__, response.ordered_kw
    followers = Followers(*follows)
    rejected = list(dict.fromkeys(fault for line in lines for fault in line.rejected))
    targets, diverting, followed = followers.targets(weigh[0], others)
    q_kvar = reactive_targets(envelopes, rows_of, image, _reactive_plan(lines, followed))
    may = (able.hi_source != BoundSource.NOT_READY) & response.willing(now_s)
    if sight is not None:
        wanted, until_s = Powers(targets.p_kw, q_kvar), now_s + policy.valid_s
        held = hold(feedback, sight, wanted, image, can, response, policy.tuning, policy.head_group, until_s)
        if held.wishes:
            targets, diverting, followed = followers.targets(weigh[0], others, held)
        q_kvar, feedback = np.where(np.isfinite(held.q_kvar), held.q_kvar, q_kvar), held.state
        may &= ~held.left
        rejected += [Rejected("feedback", "sight", (), held.alarm)] if held.alarm else []
    response = replace(response, ramps=ramps, follows=targets.follows, told_s=now_s)
    asked = _asked(image, targets, q_kvar, may, response, policy)
    passed = guard(asked, image, policy.guard, rules, diverting, rows_of)
    if len(passed.revoke):
        orders = revocation(image, passed.revoke, response.next_id, policy.valid_s)
    else:
        orders = _orders(image, asked, passed)
    response = response.sent(orders, _present(image, odds))
    return Decision(orders, targets, can, passed, response, tuple(rejected), feedback, followed)


_OURS = Behind("plan", "plan", 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """One way to decide this moment: everything that is wanted, and what the plan means row by row."""

    wishes: list[Proposal]
    rejected: list[Rejected]
    planned: PlannedNow

    @classmethod
    def of(
        cls, one: Diversion, image: Image, rows_of: Mapping[str, Rows], policy: Policy, told_s: int
    ) -> _Line:
        found = _wishes(image, one.schedule, one.envelopes, one.proposals, rows_of, policy, told_s)
        return cls(*found, planned_now(one.schedule, image))

    def weigh(
        self,
        rows_of: Mapping[str, Rows],
        image: Image,
        can: Capability,
        response: Response,
        odds: Odds | None,
        ramps: Sequence[Ramp],
    ) -> Weigh:
        """Arbitration, but for what the network holds."""
        return partial(
            arbitrate,
            self.wishes,
            rows_of.__getitem__,
            image,
            can,
            response.ordered_kw,
            self.planned.p_kw,
            odds=odds,
            ramps=[ramp for ramp in ramps if ramp.proposal.group in rows_of],
            follows=response.follows,
        )


def _reactive_plan(lines: Sequence[_Line], followed: Sequence[Followed]) -> Kvar | None:
    """(n,) reactive power of the last plan that is followed to the end; None where nothing is planned."""
    last = max((k for k, one in enumerate(followed, start=1) if one.share == 1.0), default=0)
    return lines[last].planned.q_kvar


def _wishes(
    image: Image,
    schedule: Schedule | None,
    envelopes: Sequence[Envelope],
    proposals: Sequence[Proposal],
    rows_of: Mapping[str, Rows],
    policy: Policy,
    told_s: int,
) -> tuple[list[Proposal], list[Rejected]]:
    """Everything that is wanted now, and what of it cannot be weighed."""
    wishes, rejected = in_force(proposals, rows_of, image.now_s, told_s, policy.authority)
    deadband = policy.deadband_kw, policy.deadband_share
    for more, faults in (
        from_plan(schedule, image, rows_of, policy.head_group, deadband, policy.head_band_kw),
        from_grid(envelopes, image, rows_of, policy.head_group),
    ):
        wishes += more
        rejected += faults
    return wishes, rejected


def _asked(
    image: Image, targets: Targets, q_kvar: Kvar, may: Mask, response: Response, policy: Policy
) -> Asked:
    """The candidate orders to who may be asked: what has moved, ends soon, or keeps a sum off."""
    now_s, longest = image.now_s, _longest(image, response, policy)
    expires_s = _expiry(targets, response, longest, now_s, policy)
    due = may & response.due(targets.p_kw, expires_s, now_s, policy.renew_s)
    due |= _off_sum(may & ~due, targets, response)
    volts = may & reactive_due(q_kvar, response.ordered_kvar, image)
    # Orders of reactive power alone leave the active power to the device.
    alone = volts & (targets.source < 0)
    rows = np.flatnonzero(due | volts).astype(np.int32)
    expires_s = np.where(targets.source < 0, longest, expires_s)
    return Asked(
        rows=rows,
        p_kw=np.where(alone, np.nan, targets.p_kw)[rows],
        q_kvar=q_kvar[rows],
        expires_s=expires_s[rows],
        source=targets.source[rows],
        proposals=targets.proposals,
        next_id=response.next_id,
        policy=repr(policy),
    )


def _longest(image: Image, response: Response, policy: Policy) -> Seconds:
    """(n,) latest end of an order made now."""
    lives_s = np.ceil(policy.valid_s * (1.0 - policy.spread * uniform(image.n, "expiry")))
    longest: Seconds = image.now_s + response.reach_s + lives_s.astype(np.int64)
    return longest


def _expiry(targets: Targets, response: Response, longest: Seconds, now_s: int, policy: Policy) -> Seconds:
    """(n,) end of an order made now: with its wish, unless that is the plan, which goes on.

    Orders of an event end one after the other, so that devices return one by one even if nobody can
    tell them to; changed orders of a wish that has just lost something to devices' failing end soon.
    """
    latest = now_s + policy.valid_s + int(np.max(response.reach_s, initial=0))
    ends = [latest if p.priority == Priority.SCHEDULE else p.until_s + _GRACE_S for p in targets.proposals]
    # The last entry stands for position -1, where nobody asks.
    by_wish = np.array([*ends, now_s], dtype=np.int64)
    expires = by_wish[targets.source]
    for k, proposal in enumerate(targets.proposals):
        if proposal.priority == Priority.EVENT and by_wish[k] < latest + policy.ramp_s:
            mine = targets.source == k
            lot = uniform(len(mine), proposal.id)[mine]
            expires[mine] += np.ceil(policy.ramp_s * lot).astype(np.int64)
    expires = np.minimum(expires, longest)
    lost = np.flatnonzero(response.lost_s > now_s - response.patience.answer_s)
    if len(lost):
        recovers = np.zeros(len(ends) + 1, dtype=bool)
        recovers[targets.source[lost]] = True
        recovers[-1] = False
        soon = recovers[targets.source] & response.moved(targets.p_kw)
        expires = np.where(soon, np.minimum(expires, now_s + policy.recovery_s + response.reach_s), expires)
    found: Seconds = expires
    return found


def _present(image: Image, odds: Odds | None) -> Kw:
    return np.asarray(image.p_kw, dtype=np.float64) if odds is None else odds.present_kw


def _off_sum(stays: Mask, targets: Targets, response: Response) -> Mask:
    """Of the rows that keep their order: those whose small deviations together miss their wish's sum."""
    asked = targets.source >= 0
    drift = np.where(
        stays & asked & np.isfinite(response.ordered_kw), targets.p_kw - response.ordered_kw, 0.0
    )
    source, many = targets.source[asked], len(targets.proposals)
    off = np.abs(np.bincount(source, weights=drift[asked], minlength=many + 1))
    whole = np.abs(np.bincount(source, weights=targets.p_kw[asked], minlength=many + 1))
    wrong = off > np.maximum(_SUM_KW, _SUM_SHARE * whole)
    rows: Mask = wrong[targets.source] & (np.abs(drift) > _SAME_KW)
    return rows


def _orders(image: Image, asked: Asked, passed: Passed) -> Orders:
    """The candidates that passed."""
    keep = passed.keep
    rows = asked.rows[keep]
    return Orders(
        ids=image.ids,
        index=rows,
        order_id=np.arange(asked.next_id, asked.next_id + len(rows), dtype=np.int64),
        p_kw=asked.p_kw[keep].astype(np.float32),
        expires_s=asked.expires_s[keep],
        source=asked.source[keep].astype(np.int16),
        sources=tuple(p.id for p in asked.proposals),
        issued_s=image.now_s,
        q_kvar=passed.q_kvar[keep].astype(np.float32),
    )
