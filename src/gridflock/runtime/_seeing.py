"""What everybody may look at: the reading verbs of the façade."""

from __future__ import annotations

import numpy as np

from gridflock.runtime import _goals, _show, _show_delivery, _show_plan
from gridflock.runtime._access import Role, Scope
from gridflock.runtime._doctor import see_life
from gridflock.runtime._flexibility_ahead import FlexibilityView, look_ahead
from gridflock.runtime._life import Life, UnknownName
from gridflock.runtime._loop import Moment
from gridflock.runtime._plan_views import ExplanationView, GoalsView, PlanView
from gridflock.runtime._planning import Planned
from gridflock.runtime._requests import asked_at, chosen
from gridflock.runtime._views import (
    AuditView,
    ClaimView,
    Day,
    DeliveryView,
    EventView,
    ExaminationView,
    FeederView,
    GroupDetail,
    GroupView,
    ProposalView,
    ResourceView,
    StateView,
    StatusView,
    TimelineView,
    number,
)
from gridflock.runtime._why import explanation
from gridflock.units import iso

_SAMPLE = 50


class Seeing(Life):
    """The verbs that change nothing; a viewer's authority is enough."""

    def status(self, scope: Scope) -> StatusView:
        """The system at a glance: head, voltages, limits, fleet, ledger."""
        scope.require(Role.VIEWER)
        m, network = self.moment, self._loop.system.network
        limit = next((e for e in m.envelopes if e.group == "all"), None)
        controllable = self._loop.system.places.der_rows
        return StatusView(
            feeder=network.name,
            title=self._loop.system.title,
            now=iso(m.now_s),
            speed=float(getattr(self._clock, "speed", 1.0)),
            tick=m.tick,
            mode=self._mode(m),
            head_kw=number(m.head_kw, 2),
            head_kvar=number(float(m.flow.head_kva.imag.sum()), 2),
            import_limit_kw=number(-limit.p_lo_kw, 1) if limit else None,
            peak_kw=number(self._peak_kw, 1),
            v_min_pu=number(float(np.nanmin(m.flow.v_pu))),
            v_max_pu=number(float(np.nanmax(m.flow.v_pu))),
            violations=len(m.violations.kind),
            losses_kw=number(m.flow.losses_kw, 2),
            resources=len(controllable),
            online=int((m.now_s - m.image.heard_s[controllable] <= _show.ONLINE_S).sum()),
            refused=self._refused,
            seq=m.seq,
            plan_made_at=iso(m.schedule.made_at_s) if m.schedule else "",
            day=Day(iso(self._day[0]), iso(self._day[1])),
            served={} if self._loop.server is None else dict(self._loop.server.counted),
        )

    def feeder(self, scope: Scope) -> FeederView:
        """The map: buses, branches, sections."""
        scope.require(Role.VIEWER)
        return _show.feeder(self._loop.system)

    def state(self, scope: Scope) -> StateView:
        """Voltages, loadings, taps and broken limits as estimated now."""
        scope.require(Role.VIEWER)
        return _show.state(self._loop.system, self.moment)

    def groups(self, scope: Scope) -> list[GroupView]:
        """All virtual DERs with status and capability."""
        scope.require(Role.VIEWER)
        return _show.groups(self._loop.system, self.moment)

    def group(self, scope: Scope, group: str) -> GroupDetail:
        """One virtual DER, or one resource alike: status, capability, forecast, children, members.

        Raises:
            UnknownName: no such group or resource.
        """
        scope.require(Role.VIEWER)
        system, moment, virtual = self._loop.system, self.moment, self._virtual
        if group in system.fleet.row_of:
            view, children = _show.alone(system, moment, system.fleet.row_of[group]), []
        else:
            self._known_group(group)
            view = next(v for v in _show.groups(system, moment) if v.id == group)
            children = list(system.groups.children(group))
        return GroupDetail(
            group=view,
            children=children,
            forecast=_show.outlook(system, moment, system.rows_of[group]),
            members_sample=self.resources(scope, group, _SAMPLE),
            definition=_show.definition(virtual.definition(group)) if group in virtual else None,
        )

    def flexibility(
        self, scope: Scope, group: str = "all", hours: int = 6, notice_s: int = 900
    ) -> FlexibilityView:
        """How far a group, or one resource, will be able to move its power, up and down, and for how long.

        Args:
            scope: authority; viewers.
            group: group or resource id.
            hours: how far ahead, 1 to 24.
            notice_s: how soon before its start it is called, s.

        Raises:
            UnknownName: no such group or resource.
            RequestRejected: a number out of range, no forecast yet, or too much to be counted.
            Busy: too much was asked lately.
        """
        scope.require(Role.VIEWER)
        if group not in self._loop.system.rows_of:
            message = f"no group or resource {group!r}"
            raise UnknownName(message)
        loop, moment, budget = self._loop, self.moment, self._worked_out
        return look_ahead(
            loop, moment, group, hours, notice_s, lambda *question: budget.ask(scope, *question)
        )

    def resources(
        self, scope: Scope, group: str = "all", limit: int = 100, query: str = ""
    ) -> list[ResourceView]:
        """Members of a group that fulfil a query over any attribute, at most ``limit``.

        Raises:
            UnknownName: no such group.
            RequestRejected: no query; the position is told.
        """
        scope.require(Role.VIEWER)
        system = self._loop.system
        if group not in system.rows_of:
            message = f"no group or resource {group!r}"
            raise UnknownName(message)
        rows = chosen(system, system.rows_of[group], query)
        return _show.resources(system, self.moment, rows[:limit], self._loop.response)

    def examine(self, scope: Scope) -> ExaminationView:
        """What cannot be right in the data of the fleet, from the registry, the present and the last week."""
        scope.require(Role.VIEWER)
        return _show.examination(see_life(self._record, self._loop.system, self.moment.image))

    def timeline(self, scope: Scope) -> TimelineView:
        """Net load of the day: actual, forecast and plan."""
        scope.require(Role.VIEWER)
        return _show.timeline(self.moment, list(self._trail))

    def plan(self, scope: Scope) -> PlanView:
        """The plan in force: net load, prices, groups, the limits it pays for, and what clashes.

        Raises:
            UnknownName: there is no plan yet, or none is made.
        """
        scope.require(Role.VIEWER)
        return _show_plan.plan(self._planned())

    def goals(self, scope: Scope) -> GoalsView:
        """What is wanted of the plans, and how far the plan in force got with each goal."""
        scope.require(Role.VIEWER)
        return _goals.view(self._loop.settings.goals, self.moment)

    def explain(self, scope: Scope, name: str, at: str = "") -> ExplanationView:
        """Why a resource or group is, or was, to do what it does.

        Args:
            scope: authority.
            name: resource or group id.
            at: ISO 8601; now where empty. As far back as the ledger goes.

        Raises:
            UnknownName: no such resource or group, or no plan at that moment.
            RequestRejected: no moment.
        """
        scope.require(Role.VIEWER)
        system, now_s = self._loop.system, self.moment.now_s
        if name not in system.rows_of:
            message = f"no group or resource {name!r}"
            raise UnknownName(message)
        return explanation(self._record, system, name, asked_at(at, now_s))

    def events(self, scope: Scope, after: int = 0, limit: int = 100) -> list[EventView]:
        """The newest ``limit`` events with ``seq > after``, newest first."""
        scope.require(Role.VIEWER)
        with self._changed:
            found = [event for event in self._events if event.seq > after]
        return found[::-1][: max(0, limit)]

    def proposals(self, scope: Scope) -> list[ProposalView]:
        """Wishes in force or to come."""
        scope.require(Role.VIEWER)
        return [_show.proposal(p) for p in self._book.open()]

    def delivery(self, scope: Scope) -> DeliveryView:
        """What was asked of groups, ordered, accepted and is delivered; what became of orders of late."""
        scope.require(Role.VIEWER)
        with self._changed:
            moment, lately = self.moment, list(self._lately)
        return _show_delivery.delivery(self._loop.system, moment, lately)

    def claims(self, scope: Scope) -> list[ClaimView]:
        """What is promised of resources and groups, now or to come."""
        scope.require(Role.VIEWER)
        with self._writing:
            return [_show.claim(life) for life in self._promises.open(self.moment.now_s)]

    def verify(self, scope: Scope) -> AuditView:
        """Walk the ledger's hash chain."""
        scope.require(Role.VIEWER)
        verdict = self._record.verify()
        return AuditView(verdict.ok, verdict.entries, verdict.head, verdict.broken_seq, verdict.reason)

    def _planned(self) -> Planned:
        """The newest plan with what it was made from."""
        if self.moment.planned is None:
            message = "no plan yet" if self._settings.managed else "no plan: the system only watches"
            raise UnknownName(message)
        return self.moment.planned

    def _mode(self, moment: Moment) -> str:
        """In two words: who decides, and what keeps it from deciding."""
        if self._over:
            return "day over"
        if moment.halted:
            return "record full"
        return "automatic" if self._settings.managed else "watching"

    def _known_group(self, group: str) -> None:
        if group not in self._loop.system.groups:
            message = f"no group {group!r}"
            raise UnknownName(message)
