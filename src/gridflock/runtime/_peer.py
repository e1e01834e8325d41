"""The verbs of a system that stands above this one: what it says, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gridflock.dispatch.guard._diverted import Followed
from gridflock.dispatch.hierarchy import Child
from gridflock.field.peer import directive_from
from gridflock.model import Directive, Rejected, Standing
from gridflock.record import RecordError
from gridflock.runtime._access import Role, Scope
from gridflock.runtime._allowed import KIND, asks_more, entry_of, id_of, mean_over, measured_kw, remembered
from gridflock.runtime._behind import behind_directive
from gridflock.runtime._guarding import Guarding
from gridflock.runtime._life import UnknownName
from gridflock.runtime._loop import Moment
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault
from gridflock.runtime._waiting import waiting_above
from gridflock.units import Kw, TimeGrid

_RULE = "as docs/hierarchy.md says"


class Peering(Guarding):
    """Verbs of the border to a system above; what it says is recorded before it is adopted."""

    @cached_property
    def _child(self) -> Child | None:
        """The lower end of the border, as the ledger has it; None for a system that stands alone."""
        settings = self._settings
        if settings.default_kw is None:
            return None
        kept = remembered(self._record.entries(0, {KIND}), settings.name, settings.default_kw)
        return kept or Child.begun(settings.name, settings.default_kw, self._clock.now_s())

    # ---- verbs ------------------------------------------------------------------------------

    def direct(self, scope: Scope, document: Mapping[str, Any]) -> Standing:
        """Say, from above, between which powers this system has to stay; the next tick keeps to it.

        That less may pass the head holds at once. What it asks beyond that (power forced through the head, a
        want, a price) counts on the budget of the credential it came with; where that could displace more
        than one person may, a second person must ``approve`` it.

        Args:
            scope: authority; operators over the whole system.
            document: a directive as ``field.peer.directive_said`` writes it.

        Returns:
            What this system tells upwards.

        Raises:
            RequestRejected: with every fault; what held before still holds.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "direct")
        found = directive_from(document)
        if isinstance(found, Rejected):
            raise refused(found)
        with self._writing:
            before = self._bordering()
            outside = self._loop.settings.policy.guard.outside(scope.user)
            found = replace(found, author=scope.user if outside else "")
            child, fault = before.heard(found, self._clock.now_s())
            if fault is not None:
                raise refused(fault)
            if child is not before:
                self._record.append([entry_of(child, self.moment.now_s, scope.user)])
                self._child = child
                self._loop.directive = child.adopted
                self._ask_a_second(found)
        self._collect_events()
        return self.standing(scope)

    def standing(self, scope: Scope) -> Standing:
        """What this system tells one above: bounds it keeps, its power, what it can do and means to do.

        Raises:
            UnknownName: it stands alone.
        """
        scope.require(Role.VIEWER)
        with self._writing:
            if self._child is None:
                message = (
                    "no system above: this one was started without a default power (Settings.default_kw)"
                )
                raise UnknownName(message)
            moment, now_s = self.moment, self._clock.now_s()
            head_kw = measured_kw(moment.image)
            told = self._child = self._keeping(self._child, moment, head_kw)
            p_kw = head_kw if np.isfinite(head_kw) else moment.head_kw
            plan_kw = _plan_kw(moment, told.kept.grid)
            return told.standing(now_s, p_kw, self._able_kw(moment), plan_kw, _value(moment))

    # ---- inside -----------------------------------------------------------------------------

    def _keeping(self, child: Child, moment: Moment, head_kw: float) -> Child:
        """The child once it keeps what it was told last; recorded first, so that it stays true."""
        settled = _settled(child, moment, head_kw, self._clock.now_s())
        if settled.settled_on == child.settled_on:
            return child
        try:
            self._record.append([entry_of(settled, moment.now_s)])
        except RecordError:
            return child
        return settled

    def _bordering(self) -> Child:
        """The lower end of the border of a system that can keep what it is told."""
        reason = ""
        if self._child is None:
            reason = "it stands alone: it was started without a default power (Settings.default_kw)"
        elif not self._settings.managed:
            reason = "it only watches: nothing it is told could be kept"
        elif self._over:
            reason = "the day is over: nothing is ordered"
        if self._child is None or reason:
            raise RequestRejected((Fault("directive", "a system that stands under another", reason),))
        return self._child

    def _ask_a_second(self, directive: Directive) -> None:
        """Let what a directive asks beyond narrower bounds wait, where it is more than one person may."""
        system, settings, now_s = self._loop.system, self._loop.settings, self.moment.now_s
        behind = behind_directive(directive, settings, system)
        if behind is None or behind.kw <= settings.policy.guard.approval_kw or not asks_more(directive):
            return
        waits = self._waiting.get(behind.id)
        waits_yet = waits is not None and waits.until_s > now_s
        if waits_yet or self._rules.approval_of(behind.id, behind.author) is not None:
            return
        until_s = now_s + settings.policy.guard.waiting_s
        self._let_wait(waiting_above(behind.author, settings.policy.head_group, behind.kw, until_s))

    def _able_kw(self, moment: Moment) -> tuple[float, float]:
        """Lowest and highest power at the head: what resources can do beside what takes no orders."""
        rows, able = self._loop.system.rows_of[self._settings.policy.head_group], moment.able
        beside_kw = moment.head_kw - float(np.nansum(moment.image.p_kw[rows], dtype=np.float64))
        return beside_kw + float(able.p_lo_kw[rows].sum()), beside_kw + float(able.p_hi_kw[rows].sum())


def refused(fault: Rejected) -> RequestRejected:
    """What is told to who said something that breaks a rule."""
    return RequestRejected((Fault(fault.field, _RULE, fault.reason),))


def _settled(child: Child, moment: Moment, head_kw: float, now_s: int) -> Child:
    """The child once a tick has decided by what it was told last, and the head is measured inside of it.

    Every later tick keeps later steps by the same bounds.
    """
    adopted, obeyed = child.adopted, moment.directive
    if adopted is None or obeyed is None or moment.halted or obeyed.order != adopted.order:
        return child
    if any(one.behind.id == id_of(adopted.author) and one.share < 1.0 for one in _followed(moment)):
        return child
    low, high = adopted.allowance.at(now_s)
    if not low <= head_kw <= high:
        return child
    return child.settled(adopted.allowance.lo_kw, adopted.allowance.hi_kw)


def _followed(moment: Moment) -> tuple[Followed, ...]:
    return () if moment.decision is None else moment.decision.followed


def _plan_kw(moment: Moment, grid: TimeGrid) -> Kw | None:
    """(T,) what the plan means for the head in the steps of another grid."""
    schedule = moment.schedule
    return None if schedule is None else mean_over(schedule.grid, schedule.net_kw, grid)


def _value(moment: Moment) -> tuple[float, float]:
    """Cost of the plan in force, and what none could cost less than; both of its own horizon."""
    if moment.planned is None:
        return float("nan"), float("nan")
    cost = moment.planned.schedule.cost
    return cost, cost - moment.planned.gap
