"""One policy at work: its plan, its conversation with the devices, its orders.

The live system has one, a shadow beside it has another, a replay has that of its settings: all look at the
same ``Seen``, and what each knows between two ticks is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gridflock.dispatch import Decision, Response, step
from gridflock.fleet import Image
from gridflock.grid import ControlState, Flow, Violations, head_envelope
from gridflock.model import Entry, Envelope, Json, Proposal
from gridflock.plan.coordination import Status
from gridflock.plan.network import Round
from gridflock.runtime._past import Past
from gridflock.runtime._planning import Planned, Planning, plan_entry
from gridflock.runtime._settings import Settings
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
    """

    image: Image
    flow: Flow
    state: ControlState
    violations: Violations
    near: tuple[Envelope, ...]
    sites: tuple[Envelope, ...]
    peak_kw: float


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a policy knows between two ticks.

    Attributes:
        response: the conversation with every resource.
        planned: the plan in force, with what it was made from.
        planned_s: when a plan was last asked for; 0 for never.
    """

    response: Response
    planned: Planned | None = None
    planned_s: int = 0


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
        self.standing = Standing(response)
        self.planning = Planning(settings, past, timezone)
        self._past = past

    def watch(self, watch: Callable[[Status | Round], None]) -> None:
        """Tell of every round of planning from now on."""
        self.planning.watch = watch

    def envelopes(self, system: System, seen: Seen) -> tuple[Envelope, ...]:
        """Limits in force: head, voltages, sites."""
        return (self._head_limits(system, seen), *seen.near, *seen.sites)

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
        limit = self._head_limits(system, seen)
        try:
            planned = self.planning.plan(system, seen.image, (seen.flow, seen.state), limit, seen.peak_kw)
            entry = plan_entry(planned)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in planning must not stop the ticks
            text = f"no new plan, the last one stays in force: {type(error).__name__}: {error}"
            head: dict[str, Json] = {"cause": "planning failed", "state": "begins", "text": text[:500]}
            entry = Entry("alarm", now_s, head)
        self.standing = Standing(self.standing.response, planned, now_s)
        return [entry]

    def decide(
        self, system: System, image: Image, envelopes: Sequence[Envelope], wishes: Sequence[Proposal]
    ) -> Decision:
        """The orders of this moment; nothing is remembered before ``sent``."""
        planned = self.standing.planned
        return step(
            image,
            None if planned is None else planned.schedule,
            envelopes,
            wishes,
            system.rows_of,
            self.standing.response,
            self.settings.policy,
        )

    def hear(self, response: Response) -> None:
        """Go on with another state of the conversation."""
        self.standing = Standing(response, self.standing.planned, self.standing.planned_s)

    def _head_limits(self, system: System, seen: Seen) -> Envelope:
        """What the feeder as a whole may draw and deliver: conductors and contract, the tighter."""
        settings = self.settings
        until_s = seen.image.now_s + 2 * settings.tick_s
        head = head_envelope(system.network, seen.flow, until_s, _HEAD_MARGIN)
        lower = max(head.p_lo_kw, -settings.import_limit_kw)
        upper = min(head.p_hi_kw, settings.export_limit_kw)
        return Envelope("all", lower, upper, head.source, until_s)
