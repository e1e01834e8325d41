"""The life of the system: the fast tick and the slow one.

Fast: what is heard -> image -> estimate -> arbitration, split, guard -> recorded -> sent. Slow, every
``plan_s``: forecast -> flexibility -> plan; the fast tick picks the newest plan up by reference.

A tick is a function of what is known before it (``Known``) and of what it hears (``Heard``). Both are
kept, so that any tick can be lived again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from gridflock.dispatch import Decision, Response, Rules
from gridflock.dispatch.feedback import Sight
from gridflock.fleet import Groups, Image, capability
from gridflock.grid import (
    ControlState,
    Flow,
    Violations,
    act,
    allocate,
    initial,
    settle,
    violations,
    voltage_envelopes,
)
from gridflock.model import (
    Capability,
    Directive,
    Entry,
    Envelope,
    Forecast,
    Orders,
    Outcomes,
    Proposal,
    Rejected,
    Schedule,
)
from gridflock.plan.coordination import Status
from gridflock.plan.network import Round
from gridflock.ports import Field, Record
from gridflock.record import RecordFull
from gridflock.runtime._agreed import Agreed, Agreement
from gridflock.runtime._alarms import FULL, STANDING, begun_and_over, missed
from gridflock.runtime._book import Book
from gridflock.runtime._could_have import CouldHave
from gridflock.runtime._deciding import Deciding, Seen, Standing
from gridflock.runtime._heard import Heard, Hearing, to_entry
from gridflock.runtime._known import FLOW, Known
from gridflock.runtime._market import Market, told_since
from gridflock.runtime._near_marks import NearMarks
from gridflock.runtime._offered_port import Offered
from gridflock.runtime._past import Past
from gridflock.runtime._planning import Planned
from gridflock.runtime._rules import leap_entries, trial_entries
from gridflock.runtime._settings import Settings
from gridflock.runtime._sky_way import SkyWay
from gridflock.runtime._steady import Steady
from gridflock.runtime._suspect import standing, upright
from gridflock.runtime._system import PhaseAreas, System
from gridflock.runtime._training import Training, remember, take_in, told_of
from gridflock.runtime._utility_port import Served
from gridflock.runtime._ways import Ways
from gridflock.runtime._written import feeder_row, resource_rows, tick_entry
from gridflock.units import DAY_S, NEVER_S, Kw


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Everything known after a tick; published by reference, never changed.

    Attributes:
        now_s: the tick's moment.
        tick: its number in the life of the ledger.
        image: what the resources said.
        flow: the estimated state of the feeder.
        state: regulator and capacitor positions it assumes.
        violations: limits broken in the estimate.
        decision: what was ordered; None while watching only.
        planned: the plan in force, with what it was made from.
        envelopes: limits in force.
        outcomes: answers that came with this tick.
        rejected: readings and wishes refused in this tick.
        seq: ledger position of this tick.
        halted: why nothing was recorded and so nothing ordered; empty where all is well.
        directive: of a system above, which it obeyed; None where there was none.
        sight: what feedback saw of the network; None where it does not act.
    """

    now_s: int
    tick: int
    image: Image
    flow: Flow
    state: ControlState
    violations: Violations
    decision: Decision | None
    planned: Planned | None
    envelopes: tuple[Envelope, ...]
    outcomes: Outcomes
    rejected: tuple[Rejected, ...]
    seq: int
    halted: str = ""
    directive: Directive | None = None
    sight: Sight | None = None

    @property
    def able(self) -> Capability:
        """What each resource can do now, as seen by dispatch where it decides."""
        return capability(self.image) if self.decision is None else self.decision.capability

    @property
    def schedule(self) -> Schedule | None:
        """The plan in force."""
        return None if self.planned is None else self.planned.schedule

    @property
    def forecast(self) -> Forecast | None:
        """What the plan was made from."""
        return None if self.planned is None else self.planned.forecast

    @property
    def head_kw(self) -> float:
        """The feeder's net injection into the source as estimated, kW; import is negative."""
        return float(self.flow.head_kva.real.sum())


class Loop:
    """Ticks over one system. Single-threaded: one writer per value.

    Args:
        system: network, fleet, groups.
        field: the devices.
        record: the ledger.
        settings: tempos and limits.
        past: what forecasts learn from.
        book: open proposals.
        response: conversation state, empty or rebuilt.
        tick: number of the last tick in the ledger.
        heads: moments and head powers, kW, of the ticks before, for the day's peak.
    """

    def __init__(
        self,
        system: System,
        field: Field,
        record: Record,
        settings: Settings,
        past: Past,
        book: Book,
        response: Response,
        tick: int = 0,
        heads: Iterable[tuple[int, float]] = (),
    ) -> None:
        self.system = system
        self.past = past
        self.book = book
        self._ways = Ways(field, settings.patience_s)
        self._steady = Steady(settings.tick_s)
        self.sky_way = SkyWay(None, system.site, settings.plan_s, 0.0)
        """The way to the weather; another holds from the next tick on."""
        self.training = Training(system.site)
        """The daily learning."""
        self.could_have, self.near = CouldHave(), NearMarks()
        """What groups could have done, beside what was said; marks an hour ahead."""
        self.market, self.agreement = Market(), Agreement()  # prices; what devices and their server agreed
        self.record = record
        self.groups_seq = 0
        """Ledger position of the newest change of groups that the system obeys."""
        self._rules, self._late = Rules(), (NEVER_S, 0)
        self.directive: Directive | None = None
        """The newest of a system above, from the next tick on."""
        self.keep: Callable[[Known, int], None] | None = None
        """Told what was known before a tick that makes a plan, and its moment, once it is recorded."""
        self.ends: Callable[[], None] | None = None
        """Called when the loop has let go of the devices."""
        self.server: Served | None = None
        """Speaks with devices over IEEE 2030.5; None where nobody does."""
        self.upward: Offered | None = None  # speaks with a server above
        self.beside: Callable[[Heard, Seen, Moment], None] | None = None
        """Told of every tick once it is over."""
        self.publish: Callable[[Moment], None] | None = None
        """Told of every tick that was recorded: what follows from it may be let known beside orders."""
        self.deciding = Deciding(settings, past, system.network.timezone, response)
        self._settings = settings
        self._hearing = Hearing(system.fleet.ids, system.fleet.row_of)
        self._tick, self._now_s = tick, 0
        self._state = initial(system.network)
        self._flow: Flow | None = None
        self._shares = PhaseAreas.of(system)
        self._zone = ZoneInfo(system.network.timezone)
        self._peak_kw, self._peak_day = 0.0, 0
        self._broken: frozenset[str] = frozenset()
        self._troubles: frozenset[str] = frozenset()
        self._wishes: tuple[Proposal, ...] = ()
        self._directed: Directive | None = None
        self._seq = 0
        self._owed: list[Outcomes] = []
        self._unrecorded_s = 0
        self._kept_s = self._imaged_s = 0
        for t_s, head_kw in heads:
            self._note_peak(t_s, head_kw)

    @property
    def field(self) -> Field:
        """The devices."""
        return self._ways.field

    @field.setter
    def field(self, field: Field) -> None:
        """Speak with other devices from the next tick on."""
        self._ways.field = field

    def join(self, name: str, field: Field, ids: Collection[str]) -> None:
        """Let another adapter speak with some of the devices from the next tick on."""
        self._ways.join(name, field, ids)

    def speak(self, name: str, ids: Collection[str]) -> None:
        """Let the adapter of that name speak with these devices from the next tick on."""
        self._ways.speak(name, ids)

    def close(self) -> None:
        """Let go of the ways to the devices."""
        self._ways.close()
        if self.ends is not None:
            self.ends()

    @property
    def rules(self) -> Rules:
        """What people have set for the guard, from the next tick on; leaps of clocks end no kill switch."""
        return self._rules.late(*self._late)

    @rules.setter
    def rules(self, rules: Rules) -> None:
        """Let them hold from the next tick on."""
        self._rules = rules

    @property
    def settings(self) -> Settings:
        """Tempos and limits, and how orders are made."""
        return self._settings

    @property
    def unrecorded(self) -> bool:
        """Whether the last ticks could not be recorded."""
        return self._unrecorded_s > 0

    @property
    def wishes(self) -> tuple[Proposal, ...]:
        """Proposals as the last recorded tick saw them."""
        return self._wishes

    @property
    def directed(self) -> Directive | None:
        """The directive of a system above as the last recorded tick saw it."""
        return self._directed

    @property
    def response(self) -> Response:
        """The conversation with every resource."""
        return self.deciding.standing.response

    def watch_plans(self, watch: Callable[[Status | Round], None]) -> None:
        """Tell of every round of planning from now on."""
        self.deciding.watch(watch)

    def tick(self, clock_s: int, lived_s: float | None = None) -> Moment:
        """One fast tick, and the slow one where it is due.

        Args:
            clock_s: what the clock says; the tick's moment is never before the last one's.
            lived_s: what has passed by a source that nobody sets; None without one.
        """
        heard = self._listen(clock_s, lived_s)
        now_s = heard.now_s
        period = self._settings.plan_s
        begins = self._now_s == 0 or now_s // period > self._now_s // period
        planning = self.deciding.plan_is_due(now_s) or (begins and not self.deciding.plans)
        known = self.known() if self.keep is not None and planning and self._may_keep(now_s) else None
        moment = self.live(heard)
        self.book.expire(now_s)
        made = moment.planned is None or moment.planned.schedule.made_at_s == moment.now_s
        if known is not None and made and not moment.halted:
            assert self.keep is not None
            self._kept_s = now_s
            self.keep(known, now_s)
        return moment

    def live(self, heard: Heard) -> Moment:
        """One tick of what was heard: the whole of it but for the listening."""
        now_s, fleet, deciding = heard.now_s, self.system.fleet, self.deciding
        readings, turned = upright(heard.readings, fleet)
        take_in(self.past, self.record, heard)
        rejected = (*heard.refused, *turned, *fleet.ingest(readings, now_s))
        outcomes = heard.outcomes
        deciding.answered(outcomes, now_s, heard.leapt_s)
        self.market = self.market.heard(heard.published, now_s, self._settings.past_days * DAY_S)
        seen = self._see(heard, self.agreement.heard(heard.agreed))
        still = standing(fleet, seen.image, self.response)
        rejected += still
        before = deciding.standing, self._broken, self._troubles
        entries = [to_entry(heard, self._wishes, self._directed), *deciding.replan(self.system, seen)]
        after, unkept = seen.agreement.after(seen.image, fleet.row_of, self.response)
        entries += [*leap_entries(heard.rules, heard.leapt_s, now_s), *unkept]
        sighted, decision = deciding.look(self.system, seen), None
        envelopes = deciding.envelopes(self.system, seen)
        if self._settings.managed:
            wishes = seen.agreement.beside(heard.wishes, seen.image, fleet.row_of)
            decision = deciding.decide(
                self.system, seen.image, envelopes, wishes, heard.rules, heard.directive, sighted
            )
            entries += trial_entries(decision.passed.trials, now_s)
        troubles = (*heard.troubles, *missed(now_s, self._now_s, self._settings.tick_s))
        troubles += (*(f"{STANDING}: {r.count}" for r in still), *told_of(self.past, now_s))
        troubles += (*self.could_have.troubles, *self.near.troubles(), *self.market.troubles(now_s))
        told, (self._broken, self._troubles) = begun_and_over(
            (self._broken, self._troubles), seen.violations, troubles, now_s
        )
        entries += told
        self._tick += 1
        self._owed.append(outcomes)
        entries.append(
            tick_entry(
                self._tick, seen.image, seen.flow, decision, self._owed, rejected, self.response.next_id
            )
        )
        halted = self._store(entries, now_s)
        if halted:
            decision, (deciding.standing, self._broken, self._troubles) = None, before
        else:
            self._wishes, self._directed, self.agreement = heard.wishes, heard.directive, after
        if decision is not None:
            deciding.taken(decision)
            if len(decision.orders.index):
                self._ways.send(self._on_the_wire(decision.orders), now_s)
            rejected += decision.rejected
        self._remember(seen)
        self._look_back(seen.image)
        moment = Moment(
            now_s, self._tick, seen.image, seen.flow, self._state, seen.violations, decision,
            deciding.standing.planned, envelopes, outcomes, rejected, self._seq, halted, heard.directive,
            sighted,
        )  # fmt: skip
        if self.beside is not None:
            self.beside(heard, seen, moment)
        if self.publish is not None and not halted:
            self.publish(moment)
        return moment

    # ---- between ticks ----------------------------------------------------------------------

    def known(self) -> Known:
        """What the next tick will build on, as a value that later ticks do not change."""
        flow, standing = self._flow, self.deciding.standing
        before = self.past.last_image
        return Known(
            seq=self._seq,
            tick=self._tick,
            now_s=self._now_s,
            flow=None if flow is None else tuple(getattr(flow, name) for name in FLOW),
            state=self._state,
            response=standing.response,
            guarded=standing.guarded,
            prices=self.deciding.planning.prices,
            peak=(self._peak_kw, self._peak_day),
            broken=self._broken,
            troubles=self._troubles,
            wishes=self._wishes,
            groups_seq=self.groups_seq,
            readings=self.system.fleet.cells(),
            past=self.past.to_bytes(),
            past_s=-1 if before is None else before.now_s,
            imaged_s=self._imaged_s,
            settings=self._settings,
            unrecorded_s=self._unrecorded_s,
            owed=tuple(self._owed),
            directive=self._directed,
            lessons="" if self.past.taught is None else self.past.taught[0],
            feedback=standing.feedback,
            could_have=self.could_have,
            market=self.market,
            near=self.near,
            agreement=self.agreement,
        )

    def resume(self, known: Known) -> None:
        """Stand where a loop over the same fleet and feeder stood.

        Raises:
            ValueError: it was of another fleet, or its past of other groups.
        """
        fleet = self.system.fleet
        fleet.refill(known.readings)
        before = None if known.past_s < 0 else fleet.image(known.past_s)
        remember(self.past, self.record, known)
        if not self.past.restore(known.past, before):
            raise ValueError("what was known is of other groups or sites")
        self._seq, self._tick, self._now_s = known.seq, known.tick, known.now_s
        self._flow = None if known.flow is None else Flow(self.system.network, *known.flow)
        self._state = known.state
        self.deciding.standing = Standing(known.response, known.guarded, feedback=known.feedback)
        self.deciding.planning.prices = known.prices
        self._peak_kw, self._peak_day = known.peak
        self._broken, self._troubles = known.broken, known.troubles
        self._wishes, self.groups_seq, self._imaged_s = known.wishes, known.groups_seq, known.imaged_s
        self._unrecorded_s, self._owed = known.unrecorded_s, list(known.owed)
        self._directed, self.could_have = known.directive, known.could_have
        self.market, self.near, self.agreement = known.market, known.near, known.agreement
        self.obey(known.settings)

    def regroup(self, groups: Groups, seq: int) -> None:
        """Obey other groups, those of ledger entry ``seq``, from the next tick on."""
        self.system, self.groups_seq = replace(self.system, groups=groups), seq

    def begin(self, seq: int, groups_seq: int) -> None:
        """Go on after entry ``seq``, with the groups of entry ``groups_seq``; 0 = the system's own."""
        self._seq, self.groups_seq = seq, groups_seq

    def obey(self, settings: Settings) -> None:
        """Live under other settings from the next tick on."""
        before, self._settings = self.deciding, settings
        self.past.keep(settings.past_days if settings.learn_days else 0)
        self.deciding = Deciding(settings, self.past, self.system.network.timezone, self.response)
        self.deciding.standing = before.standing
        if settings.goals != before.settings.goals:  # a plan for others is no longer what is wanted
            self.deciding.standing = replace(before.standing, planned_s=0)
        self.deciding.planning.prices = before.planning.prices
        self.deciding.watch(before.planning.watch)

    def rehearse(
        self, moment: Moment, extra: Sequence[Proposal], rules: Rules | None = None
    ) -> tuple[Decision, Flow]:
        """What a tick would decide with further wishes, and the feeder after it: the same code.

        Args:
            moment: to decide at.
            extra: further wishes.
            rules: instead of those that people have set.
        """
        wishes, rules = (*self.book.open(), *extra), self.rules if rules is None else rules
        wishes = self.agreement.beside(wishes, moment.image, self.system.fleet.row_of)
        decision = self.deciding.decide(
            self.system, moment.image, moment.envelopes, wishes, rules, moment.directive, moment.sight
        )
        return decision, self.flow_at(moment, decision.targets.p_kw)

    def flow_at(self, moment: Moment | Seen, p_kw: Kw) -> Flow:
        """The feeder as it would be with resources at ``p_kw`` (n,) where finite."""
        places, image = self.system.places, moment.image
        return allocate(
            self.system.network,
            places.load_kva(image),
            places.inject_kva(image, p_kw),
            np.full(3, np.nan + 0j),
            moment.state,
            moment.flow,
        ).flow

    # ---- inside a tick ----------------------------------------------------------------------

    def _listen(self, clock_s: int, lived_s: float | None) -> Heard:
        """Everything that has arrived, on the fleet's rows."""
        now_s, astray = self._steady.moment(clock_s, self._now_s, lived_s)
        on, leapt_s = self.rules.at(self._now_s).default, self._steady.leapt_s
        if on is not None and leapt_s:
            self._late = on.since_s, on.late_s + leapt_s
        arrived = self._ways.listen(now_s)
        served = [text for each in (self.server, self.upward) if each is not None for text in each.troubles]
        readings, many = self._hearing.readings(arrived.readings)
        outcomes, more = self._hearing.outcomes(arrived.outcomes)
        newest = self.past.skies.newest
        sky, cloudy = self.sky_way.listen(now_s, newest)
        lessons, unlearnt = self.training.listen(self.past, self.record, self._settings, now_s)
        return Heard(
            now_s,
            readings,
            outcomes,
            self.book.open(),
            self.groups_seq,
            (*arrived.troubles, *served, *astray, *cloudy, *unlearnt),
            (*many, *more),
            self.rules,
            self.directive,
            leapt_s,
            sky,
            lessons,
            told_since(self.record, self.market.seq),
            self.agreement.news(Agreed((), ()) if self.server is None else self.server.agreed),
        )

    def _on_the_wire(self, orders: Orders) -> Orders:
        """Orders by the clock, behind which the ticks may be ahead: none lives longer than meant."""
        ahead_s = self._steady.ahead_s
        if not ahead_s:
            return orders
        return replace(orders, expires_s=orders.expires_s - ahead_s, issued_s=orders.issued_s - ahead_s)

    def _may_keep(self, now_s: int) -> bool:
        """Whether a slow period has gone by since what was known was kept."""
        period = self._settings.plan_s
        return self._kept_s == 0 or now_s // period > self._kept_s // period

    def _store(self, entries: list[Entry], now_s: int) -> str:
        """Record the tick, or say why it cannot be: on a full disk the system sees but orders nothing.

        Devices fall back by themselves when their orders expire. Answers heard meanwhile are kept
        for the first tick that is recorded again, and so is how long nothing was.
        """
        if self._unrecorded_s:
            text = f"record full: nothing recorded or ordered for {now_s - self._unrecorded_s} s"
            entries.insert(0, Entry("alarm", now_s, {"cause": FULL, "state": "ends", "text": text}))
        try:
            self._seq = self.record.append(entries)
        except RecordFull as full:
            self._unrecorded_s = self._unrecorded_s or now_s
            return str(full)
        if self._unrecorded_s:
            # What was heard meanwhile is not recorded: what follows is kept anew, from the next plan on.
            self.deciding.standing = replace(self.deciding.standing, planned_s=0, watched=None)
            self._kept_s = 0
        self._owed, self._unrecorded_s = [], 0
        return ""

    def _see(self, heard: Heard, agreement: Agreement) -> Seen:
        """The feeder as one tick sees it."""
        fleet = self.system.fleet
        image = agreement.narrowed(fleet.image(heard.now_s), fleet.row_of)
        self.past.add(image)
        flow = self._estimate(image)
        until_s = image.now_s + 2 * self._settings.tick_s
        return Seen(
            image,
            flow,
            self._state,
            violations(self.system.network, flow),
            self._near_limits(image, flow, until_s),
            self.past.sites.envelopes(image, until_s),
            self._peak_kw,
            heard.directive,
            self.market,
            agreement,
        )

    def _estimate(self, image: Image) -> Flow:
        """Estimate the feeder from the newest readings; the regulators of the model act too."""
        places, network = self.system.places, self.system.network
        load, inject, head = places.load_kva(image), places.inject_kva(image), places.head_kva(image)
        if self._flow is None:
            # Nobody tells the taps: a controller that has been alive for a while has settled.
            known = np.where(np.isnan(load), network.load_kva, load)
            self._flow, self._state = settle(network, known, inject, self._state)
        found = allocate(network, load, inject, head, self._state, self._flow)
        if found.flow.converged:
            self._flow = found.flow
            self._state = act(network, found.flow, self._state, image.now_s)
        assert self._flow is not None, "the first estimate of a sound feeder converges"
        return self._flow

    def _near_limits(self, image: Image, flow: Flow, until_s: int) -> tuple[Envelope, ...]:
        """Voltage envelopes of this tick, from the estimate and the voltages that meters report."""
        system = self.system
        v_pu = system.places.best_v_pu(system.network, image, flow)
        s_kva, room_kvar = self._shares.present(image)
        return voltage_envelopes(system.network, flow, v_pu, self._shares.areas, s_kva, room_kvar, until_s)

    def _note_peak(self, now_s: int, head_kw: float) -> None:
        """The import peak of the feeder's local day: what the demand charge goes by."""
        day = datetime.fromtimestamp(now_s, self._zone).toordinal()
        so_far = self._peak_kw if day == self._peak_day else 0.0
        self._peak_kw, self._peak_day = max(so_far, -head_kw), day

    def _look_back(self, image: Image) -> None:
        """What was said before, held against what came."""
        planned, past = self.deciding.standing.planned, self.past
        seen = None if planned is None else planned.forecast
        self.could_have = self.could_have.after(self.system, past, image, seen, self.response)
        self.near = self.near.after(past, seen, image.now_s, self.system.network.timezone)

    def _remember(self, seen: Seen) -> None:
        """The past that the next tick builds on, and history."""
        now_s, flow, image = seen.image.now_s, seen.flow, seen.image
        head_kw = float(flow.head_kva.real.sum())
        self._now_s = now_s
        self._note_peak(now_s, head_kw)
        # The record keeps its buffer and tries again; losing rows of it must not stop the ticks.
        with contextlib.suppress(RecordFull):
            self.record.write_history("feeder", feeder_row(now_s, flow, len(seen.violations.kind)))
            if now_s - self._imaged_s >= self._settings.plan_s:
                self._imaged_s = now_s
                self.record.write_history("resources", resource_rows(image))
