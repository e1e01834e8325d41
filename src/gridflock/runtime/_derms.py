"""The façade: every verb a person or program can use, each taking verified authority.

Python, REST, command line and console are thin skins over this class; a test keeps them equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from threading import Condition, Event, Lock

import numpy as np

from gridflock.dispatch import Decision
from gridflock.grid import Flow, violations
from gridflock.model import Entry, Priority, Proposal, Rejected
from gridflock.ports import Clock, Field, Record
from gridflock.runtime import _show
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._book import Book, to_head
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._settings import Settings
from gridflock.runtime._views import (
    AuditView,
    Day,
    EventView,
    Fault,
    FeederView,
    GroupDetail,
    GroupView,
    ProposalAnswer,
    ProposalView,
    ResourceView,
    StateView,
    StatusView,
    TimelineView,
    number,
)
from gridflock.schema import Family
from gridflock.units import iso

EVENT_KINDS = frozenset({"proposal", "withdrawal", "plan", "alarm", "change", "refusal"})
_LONGEST_MINUTES = 24 * 60.0
_WHY_CHARS = 500
_MOST_OPEN = 200
"""Proposals of one author in force: each costs every tick, and a stolen token can send many."""
_SAMPLE = 50


class ProposalRejected(Exception):  # noqa: N818 - bad input as values
    """A proposal that cannot be taken; ``faults`` names every field and rule."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{f.field}: {f.reason}" for f in faults))
        self.faults = faults


class UnknownName(Exception):  # noqa: N818 - bad input as values
    """No such group, resource or proposal."""


class Derms:
    """One running system. Thread-safe: one thread ticks, any thread asks.

    Args:
        loop: the ticking system.
        book: open proposals.
        record: the ledger.
        settings: tempos and limits.
        clock: the time it lives in.
        day: first and last moment.
        on_tick: called after each tick, for snapshots of a simulated world.
        trail: moments and head powers, kW, of the ticks before.
    """

    def __init__(
        self,
        loop: Loop,
        book: Book,
        record: Record,
        settings: Settings,
        clock: Clock,
        day: tuple[int, int],
        on_tick: Callable[[Moment], None] | None = None,
        trail: Iterable[tuple[int, float]] = (),
    ) -> None:
        self._loop = loop
        self._book = book
        self._record = record
        self._settings = settings
        self._clock = clock
        self._day = day
        self._on_tick = on_tick
        self._moment: Moment | None = None
        self._changed = Condition()
        self._deciding = Lock()
        self._previewing = Lock()
        self._over = False
        self._events: deque[EventView] = deque(maxlen=2_000)
        self._trail = list(trail)
        self._peak_kw = max((-p for _, p in self._trail), default=0.0)
        self._refused = 0
        self._last_event = 0
        self._proposed = 0
        self._collect_events()

    # ---- life -------------------------------------------------------------------------------

    def tick(self) -> Moment:
        """Live through one fast tick at the clock's present moment."""
        with self._deciding:
            moment = self._loop.tick(self._clock.now_s())
            self._refused += sum(r.count for r in moment.rejected)
            self._trail.append((moment.now_s, moment.head_kw))
            self._peak_kw = max(self._peak_kw, -moment.head_kw)
            self._collect_events()
            # Published before others may decide: a moment and the loop's state belong together.
            with self._changed:
                self._moment = moment
                self._changed.notify_all()
        if self._on_tick is not None:
            self._on_tick(moment)
        return moment

    def run(self, stop: Event, until_s: int | None = None) -> None:
        """Tick until ``stop`` is set or the clock passes ``until_s``; after that nothing can be asked."""
        while not stop.is_set():
            moment = self.tick()
            if until_s is not None and moment.now_s + self._settings.tick_s > until_s:
                self._over = True
                return
            self._clock.sleep_until(moment.now_s + self._settings.tick_s)

    def close(self) -> None:
        """Flush and release the record."""
        self._record.close()

    def wait(self, after_tick: int, timeout_s: float) -> Moment | None:
        """The newest moment once its tick exceeds ``after_tick``, or None after ``timeout_s``."""
        with self._changed:
            fresh = self._changed.wait_for(
                lambda: self._moment is not None and self._moment.tick > after_tick, timeout_s
            )
            return self._moment if fresh else None

    @property
    def moment(self) -> Moment:
        """The newest moment.

        Raises:
            UnknownName: before the first tick.
        """
        if self._moment is None:
            message = "the system has not ticked yet"
            raise UnknownName(message)
        return self._moment

    @property
    def clock(self) -> Clock:
        """The time it lives in."""
        return self._clock

    @property
    def field(self) -> Field:
        """The devices' side."""
        return self._loop.field

    @property
    def day(self) -> tuple[int, int]:
        """First and last moment of what is lived through, unix seconds."""
        return self._day

    @property
    def refused_rows(self) -> tuple[Rejected, ...]:
        """Registry rows that were not taken."""
        return self._loop.system.rejected

    def summary(self) -> str:
        """One line for a terminal."""
        if self._moment is None:
            return "waiting for the first tick"
        m = self._moment
        worst = f"{np.nanmin(m.flow.v_pu):.3f}–{np.nanmax(m.flow.v_pu):.3f} pu"
        orders = 0 if m.decision is None else len(m.decision.orders.index)
        broken = f"{len(m.violations.kind)} limits broken"
        told = "  RECORD FULL: nothing is ordered" if m.halted else ""
        return f"{iso(m.now_s)}  head {m.head_kw:,.0f} kW  {worst}  {broken}  {orders} orders{told}"

    # ---- verbs ------------------------------------------------------------------------------

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
        system, moment = self._loop.system, self.moment
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
        )

    def resources(self, scope: Scope, group: str = "all", limit: int = 100) -> list[ResourceView]:
        """Members of a group, at most ``limit``.

        Raises:
            UnknownName: no such group.
        """
        scope.require(Role.VIEWER)
        system = self._loop.system
        if group not in system.rows_of:
            message = f"no group or resource {group!r}"
            raise UnknownName(message)
        return _show.resources(system, self.moment, system.rows_of[group][:limit], self._loop.response)

    def timeline(self, scope: Scope) -> TimelineView:
        """Net load of the day: actual, forecast and plan."""
        scope.require(Role.VIEWER)
        return _show.timeline(self.moment, list(self._trail))

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

    def propose(
        self,
        scope: Scope,
        group: str,
        *,
        p_kw: float | None = None,
        p_lo_kw: float | None = None,
        p_hi_kw: float | None = None,
        minutes: float = 60.0,
        why: str = "",
        dry_run: bool = False,
    ) -> ProposalAnswer:
        """Ask a group for an injection, or bound it; a dry run shows what would happen.

        Args:
            scope: authority; operators over the group.
            group: group or resource id.
            p_kw: wanted sum of the group, injection positive.
            p_lo_kw: lower bound of the sum.
            p_hi_kw: upper bound of the sum.
            minutes: how long; every proposal ends.
            why: in words, kept in the ledger.
            dry_run: decide on the present image, record and send nothing.

        Raises:
            ProposalRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, group, "propose")
        faults = self._faults(group, p_kw, p_lo_kw, p_hi_kw, minutes, why)
        faults += self._closed(scope.user)
        if faults:
            raise ProposalRejected(faults)
        # Of many previews only one at a time stands in a tick's way.
        with self._previewing, self._deciding:
            moment = self.moment
            start_s = moment.now_s
            proposal = Proposal(
                id=f"{scope.user}-{moment.seq}-0" if dry_run else self._new_id(scope.user),
                group=group,
                priority=Priority.OPERATOR,
                author=scope.user,
                why=why or "operator",
                start_s=start_s,
                until_s=start_s + round(minutes * 60),
                p_kw=p_kw,
                p_lo_kw=-np.inf if p_lo_kw is None else p_lo_kw,
                p_hi_kw=np.inf if p_hi_kw is None else p_hi_kw,
            )
            decision, after = self._loop.rehearse(moment, [proposal])
        answer = self._answer(proposal, decision, moment, after)
        if dry_run:
            return answer
        head = to_head(proposal) | {"text": _show.wish_text(proposal), "given_kw": answer.given_kw}
        seq = self._record.append([Entry("proposal", moment.now_s, head)])
        self._book.add(proposal)
        self._collect_events()
        return replace(answer, dry_run=False, seq=seq)

    def withdraw(self, scope: Scope, proposal_id: str) -> ProposalView:
        """Take a proposal back: undo.

        Raises:
            UnknownName: it is not in force.
            AccessDenied: recorded as a refusal.
        """
        found = next((p for p in self._book.open() if p.id == proposal_id), None)
        if found is None:
            message = f"no proposal {proposal_id!r} in force"
            raise UnknownName(message)
        self._authorise(scope, found.group, "withdraw")
        head = {"id": found.id, "group": found.group, "author": scope.user, "text": f"withdrawn: {found.id}"}
        self._record.append([Entry("withdrawal", self.moment.now_s, head)])
        self._book.withdraw(proposal_id)
        self._collect_events()
        return _show.proposal(found)

    def verify(self, scope: Scope) -> AuditView:
        """Walk the ledger's hash chain."""
        scope.require(Role.VIEWER)
        verdict = self._record.verify()
        return AuditView(verdict.ok, verdict.entries, verdict.head, verdict.broken_seq, verdict.reason)

    # ---- inside -----------------------------------------------------------------------------

    def _mode(self, moment: Moment) -> str:
        """In two words: who decides, and what keeps it from deciding."""
        if self._over:
            return "day over"
        if moment.halted:
            return "record full"
        return "automatic" if self._settings.managed else "watching"

    def _known_group(self, group: str) -> None:
        if group not in self._loop.system.groups.ids:
            message = f"no group {group!r}"
            raise UnknownName(message)

    def _new_id(self, user: str) -> str:
        with self._changed:
            self._proposed += 1
            return f"{user}-{self.moment.seq}-{self._proposed}"

    def _authorise(self, scope: Scope, group: str, verb: str) -> None:
        """Check role and subtree; record a refusal before raising it."""
        system = self._loop.system
        try:
            scope.require(Role.OPERATOR)
            scope.require_group(_show.lineage(system.groups, system.fleet.row_of, group))
        except AccessDenied as refusal:
            head = {"author": scope.user, "group": group, "verb": verb, "text": str(refusal)}
            self._record.append([Entry("refusal", self.moment.now_s, head)])
            self._collect_events()
            raise

    def _faults(
        self,
        group: str,
        p_kw: float | None,
        p_lo_kw: float | None,
        p_hi_kw: float | None,
        minutes: float,
        why: str,
    ) -> tuple[Fault, ...]:
        faults: list[Fault] = []
        given = {"p_kw": p_kw, "p_lo_kw": p_lo_kw, "p_hi_kw": p_hi_kw}
        rows = self._loop.system.rows_of.get(group)
        if rows is None:
            faults.append(Fault("group", "must exist", f"no group or resource {group!r}"))
        if all(value is None for value in given.values()):
            faults.append(Fault("p_kw", "a want or a bound", "give p_kw, p_lo_kw or p_hi_kw"))
        for name, value in given.items():
            if value is not None and not np.isfinite(value):
                faults.append(Fault(name, "a finite number", f"{value} is not finite"))
        if p_lo_kw is not None and p_hi_kw is not None and p_lo_kw > p_hi_kw:
            faults.append(Fault("p_lo_kw", "not above p_hi_kw", f"{p_lo_kw} > {p_hi_kw}"))
        shortest = self._settings.tick_s / 60
        if not shortest < minutes <= _LONGEST_MINUTES:
            rule = f"longer than a tick ({shortest:g}), at most {_LONGEST_MINUTES:.0f}"
            faults.append(Fault("minutes", rule, f"{minutes:g} is not"))
        faults += _wrong_words(why)
        if rows is not None and p_kw is not None and np.isfinite(p_kw):
            faults += self._beyond(group, p_kw)
        return tuple(faults)

    def _closed(self, author: str) -> tuple[Fault, ...]:
        """Why nothing more can be asked, whatever it is."""
        if self._over:
            return (Fault("group", "while the system lives", "the day is over: nothing is ordered"),)
        mine = sum(wish.author == author for wish in self._book.open())
        if mine < _MOST_OPEN:
            return ()
        reason = f"{author!r} has {mine} in force; withdraw some"
        return (Fault("group", f"at most {_MOST_OPEN} proposals of one author", reason),)

    def _beyond(self, group: str, p_kw: float) -> list[Fault]:
        """A want outside nameplate is an error; one outside the moment's capability a shortfall."""
        fleet, rows = self._loop.system.fleet, self._loop.system.rows_of[group]
        fixed = fleet.family[rows] == Family.NONE
        demand = float(np.nansum(self.moment.image.p_kw[rows[fixed]]))
        lowest = demand + float(fleet.columns["p_min_kw"][rows[~fixed]].sum())
        highest = demand + float(fleet.columns["p_max_kw"][rows[~fixed]].sum())
        if lowest - 1e-6 <= p_kw <= highest + 1e-6:
            return []
        reason = f"{p_kw:g} kW is outside what demand and nameplates leave, [{lowest:.1f}, {highest:.1f}] kW"
        return [Fault("p_kw", "within capability", reason)]

    def _answer(self, proposal: Proposal, decision: Decision, moment: Moment, after: Flow) -> ProposalAnswer:
        grant = next(g for g in decision.grants if g.proposal.id == proposal.id)
        network = self._loop.system.network
        return ProposalAnswer(
            proposal=_show.proposal(proposal),
            dry_run=True,
            seq=0,
            target_kw=number(grant.asked_kw, 3),
            given_kw=number(grant.given_kw, 3),
            shortfall_kw=number(grant.shortfall_kw, 3),
            causes={cause: round(kw, 3) for cause, kw in grant.causes.items()},
            by_family=_show.by_family(self._loop.system, moment, decision, proposal),
            members=_show.moves(self._loop.system, moment, decision, proposal),
            before=_show.glance(moment.flow, moment.violations),
            after=_show.glance(after, violations(network, after)),
            expires=iso(proposal.until_s),
            default="each device's own default when its order expires "
            f"({self._settings.policy.valid_s} s after the last renewal)",
        )

    def _collect_events(self) -> None:
        """Bring the event list up to the ledger's end."""
        with self._changed:
            for entry in self._record.entries(self._last_event, EVENT_KINDS):
                self._events.append(_show.event(entry))
                self._last_event = max(self._last_event, entry.seq)


def _wrong_words(why: str) -> list[Fault]:
    """What keeps a reason from being shown on every screen as it was typed."""
    faults = []
    if len(why) > _WHY_CHARS:
        faults.append(Fault("why", f"at most {_WHY_CHARS} characters", f"{len(why)} characters"))
    if not why.isprintable():
        faults.append(Fault("why", "printable characters", "holds control characters"))
    return faults
