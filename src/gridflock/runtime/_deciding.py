"""One policy at work: its plan, its conversation with the devices, its orders.

The live system has one, a shadow beside it has another, a replay has that of its settings: all look at the
same ``Seen``, and what each knows between two ticks is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gridflock.dispatch import Decision, GuardState, Response, Rules, step
from gridflock.dispatch._diverted import Diversion
from gridflock.dispatch.feedback import Feedback, Sight
from gridflock.fleet import Image
from gridflock.grid import ControlState, Flow, Violations, head_envelope
from gridflock.model import Directive, Entry, Envelope, Json, Outcomes, Proposal
from gridflock.plan.coordination import Status
from gridflock.plan.network import Round
from gridflock.runtime._agreed import Agreement
from gridflock.runtime._allowed import asked, forced, id_of, narrowed
from gridflock.runtime._behind import behind_directive
from gridflock.runtime._goals import bounds_now
from gridflock.runtime._market import Market
from gridflock.runtime._past import Past
from gridflock.runtime._planning import Planned, Planning, plan_entry
from gridflock.runtime._settings import Settings
from gridflock.runtime._sight import FASTEST_S, Watched, sight, watched
from gridflock.runtime._system import System

_HEAD_MARGIN = 0.04
"""Share of the conductors' rating that is kept back for what moves between two ticks."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one tick sees, whoever decides then.

    Attributes:
        image: what the resources said.
        flow: the estimated state of the feeder.
        state: regulator and capacitor positions it assumes.
        violations: limits broken in the estimate.
        near: limits from measured and estimated voltages.
        sites: limits of connection points with a demand charge.
        peak_kw: import peak of the feeder's local day before this tick.
        directive: the newest of a system above; None before the first, and for who stands alone.
        market: what is known of prices.
        agreement: what devices have agreed with their server.
    """

    image: Image
    flow: Flow
    state: ControlState
    violations: Violations
    near: tuple[Envelope, ...]
    sites: tuple[Envelope, ...]
    peak_kw: float
    directive: Directive | None = None
    market: Market = field(default_factory=Market)
    agreement: Agreement = field(default_factory=Agreement)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a policy knows between two ticks.

    Attributes:
        response: the conversation with every resource.
        guarded: what the guard knows.
        planned: the plan in force, with what it was made from.
        planned_s: when a plan was last asked for; 0 for never.
        watched: what feedback watches of the network in this period; None before the first.
        feedback: what feedback knows; None before the first.
    """

    response: Response
    guarded: GuardState
    planned: Planned | None = None
    planned_s: int = 0
    watched: Watched | None = None
    feedback: Feedback | None = None


class Deciding:
    """Decides tick after tick under one set of settings.

    Args:
        settings: tempos, limits, how orders are made.
        past: what forecasts learn from.
        timezone: whose local time tariffs go by.
        response: conversation state, empty or rebuilt.
    """

    def __init__(self, settings: Settings, past: Past, timezone: str, response: Response) -> None:
        self.settings = settings
        self.standing = Standing(response, GuardState.empty(len(response.order_id)))
        self.planning = Planning(settings, past, timezone)
        self._past = past

    def watch(self, watch: Callable[[Status | Round], None]) -> None:
        """Tell of every round of planning from now on."""
        self.planning.watch = watch

    def envelopes(self, system: System, seen: Seen) -> tuple[Envelope, ...]:
        """Limits in force: head, voltages, sites; feedback mends what meters still see outside."""
        return (self._head_limits(system, seen), *seen.near, *seen.sites)

    def look(self, system: System, seen: Seen) -> Sight | None:
        """What feedback sees; what is watched is chosen anew with every slow period."""
        settings, now_s = self.settings, seen.image.now_s
        if not (settings.feedback and settings.managed and settings.tick_s <= FASTEST_S):
            return None
        before, period = self.standing.watched, settings.plan_s
        if before is None or now_s // period > before.made_s // period:
            self.standing = replace(self.standing, watched=watched(system, seen.flow, now_s))
        of = self.standing.watched
        told_s, stale_s = system.fleet.moment_s("v_pu"), settings.policy.tuning.stale_s
        return None if of is None else sight(of, seen.image, seen.flow, told_s, stale_s)

    @property
    def plans(self) -> bool:
        """Whether plans are made, and there is something to plan."""
        return self.settings.managed and self.settings.plans and bool(self._past.plan_groups)

    def plan_is_due(self, now_s: int) -> bool:
        """Whether a new slow period has begun since the plan."""
        if not self.plans:
            return False
        period, planned_s = self.settings.plan_s, self.standing.planned_s
        return planned_s == 0 or now_s // period > planned_s // period

    def replan(self, system: System, seen: Seen) -> list[Entry]:
        """The slow tick where it is due: forecast, flexibility, plan.

        Where that fails the last plan stays in force.
        """
        now_s, planned = seen.image.now_s, self.standing.planned
        if not self.plan_is_due(now_s):
            return []
        limit, said, market = self._own_limits(system, seen), seen.directive, seen.market
        granted, flow = seen.agreement.granted, (seen.flow, seen.state)
        try:
            planned = self.planning.plan(system, seen.image, flow, limit, seen.peak_kw, said, market, granted)
            entries = [plan_entry(planned), *([_failed(planned.failed, now_s)] if planned.failed else [])]
        except Exception as error:  # noqa: BLE001 - a mistake of ours in planning must not stop the ticks
            text = f"no new plan, the last one stays in force: {type(error).__name__}: {error}"
            entries = [_failed(text, now_s)]
        self.standing = replace(self.standing, planned=planned, planned_s=now_s)
        return entries

    def decide(
        self,
        system: System,
        image: Image,
        envelopes: Sequence[Envelope],
        wishes: Sequence[Proposal],
        rules: Rules,
        directive: Directive | None = None,
        seen: Sight | None = None,
    ) -> Decision:
        """The orders of this moment; nothing is remembered before ``taken``."""
        planned, head = self.standing.planned, self.settings.policy.head_group
        wishes = (*wishes, *asked(directive, image, system.rows_of[head], head))
        own = None if planned is None else planned.chain[0]
        diversions = self._diversions(system, image, envelopes, wishes, directive)
        return step(
            image,
            None if own is None else own.schedule,
            envelopes,
            _with_bounds(wishes, own, image.now_s),
            system.rows_of,
            self.standing.response,
            self.settings.policy,
            rules,
            self.standing.guarded,
            seen,
            self.standing.feedback,
            diversions,
        )

    def _diversions(
        self,
        system: System,
        image: Image,
        envelopes: Sequence[Envelope],
        wishes: Sequence[Proposal],
        directive: Directive | None,
    ) -> list[Diversion]:
        """What credentials ask of this tick, each for itself.

        A plan for what one author asked as a system above goes with the limits that the same author forces.
        Where another one speaks now, that plan is of the past, and what is forced now stands by itself.
        """
        chain = () if self.standing.planned is None else self.standing.planned.chain
        pressed = forced(envelopes, directive, self.settings, image.now_s)
        above, found = behind_directive(directive, self.settings, system), list[Diversion]()
        said_by = None if above is None else (above.author, above.id)
        plans = [(one.behind, one) for one in chain[1:] if one.behind is not None]
        if pressed and above is not None and said_by not in {(who.author, who.id) for who, _ in plans}:
            plain = chain[0] if chain else None
            asks = _with_bounds(wishes, plain, image.now_s)
            found = [Diversion(above, None if plain is None else plain.schedule, pressed, asks)]
        for who, one in plans:
            now = (who.author, who.id) == said_by
            if not now and who.id == id_of(who.author):
                continue
            limits = pressed or envelopes if now else envelopes
            asks = _with_bounds(wishes, one, image.now_s)
            found.append(Diversion(who, one.schedule, limits, asks))
        return found

    def answered(self, outcomes: Outcomes, now_s: int, leapt_s: int = 0) -> None:
        """Take in what was answered, on the fleet's rows, and how much of the way here nobody lived."""
        rows, standing = outcomes.index.astype(np.int64), self.standing
        feedback = standing.feedback
        self.standing = replace(
            standing,
            response=standing.response.later(leapt_s).heard(rows, outcomes, now_s),
            guarded=standing.guarded.later(leapt_s).heard(rows, outcomes, now_s),
            feedback=None if feedback is None else feedback.later(leapt_s),
        )

    def taken(self, decision: Decision) -> None:
        """Remember a decision: it is recorded, and goes out."""
        self.standing = replace(
            self.standing,
            response=decision.response,
            guarded=decision.passed.state,
            feedback=decision.feedback,
        )

    def _head_limits(self, system: System, seen: Seen) -> Envelope:
        """What the feeder as a whole may draw and deliver: its own limits and what a system above allows."""
        return narrowed(self._own_limits(system, seen), seen.directive, self.settings, seen.image.now_s)

    def _own_limits(self, system: System, seen: Seen) -> Envelope:
        """Conductors and contract, the tighter."""
        settings = self.settings
        until_s = seen.image.now_s + 2 * settings.tick_s
        head = head_envelope(system.network, seen.flow, until_s, _HEAD_MARGIN)
        lower = max(head.p_lo_kw, -settings.import_limit_kw)
        upper = min(head.p_hi_kw, settings.export_limit_kw)
        return Envelope("all", lower, upper, head.source, until_s)


def _failed(text: str, now_s: int) -> Entry:
    head: dict[str, Json] = {"cause": "planning failed", "state": "begins", "text": text[:500]}
    return Entry("alarm", now_s, head)


def _with_bounds(wishes: Sequence[Proposal], planned: Planned | None, now_s: int) -> tuple[Proposal, ...]:
    """Wishes with the limits that every tick keeps for a plan's goals."""
    if planned is None or planned.aim is None:
        return tuple(wishes)
    return (*wishes, *bounds_now(planned.aim.bounds, planned.schedule.grid, now_s))
