"""The life of the system: the fast tick and the slow one.

Fast: readings -> image -> estimate -> arbitration, split, guard -> recorded -> sent. Slow, every
``plan_s``: forecast -> flexibility -> plan; the fast tick picks the newest plan up by reference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Decision, Response, step
from gridflock.fleet import Image, capability
from gridflock.grid import (
    ControlState,
    Flow,
    LimitKind,
    Violations,
    act,
    allocate,
    head_envelope,
    initial,
    settle,
    violations,
    voltage_envelopes,
)
from gridflock.model import (
    Capability,
    Entry,
    Envelope,
    Forecast,
    Json,
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
from gridflock.runtime._book import Book
from gridflock.runtime._past import Past
from gridflock.runtime._planning import Planned, Planning, plan_entry
from gridflock.runtime._settings import Settings
from gridflock.runtime._system import PhaseAreas, System
from gridflock.units import Kvar, Kw

_HEAD_MARGIN = 0.04
"""Share of the conductors' rating that is kept back for what moves between two ticks."""


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
        self.response = response
        self.field = field
        self._record = record
        self._settings = settings
        self._tick = tick
        self._state = initial(system.network)
        self._flow: Flow | None = None
        self._planning = Planning(settings, past, system.network.timezone)
        self._planned: Planned | None = None
        self._planned_s = 0
        self._shares = PhaseAreas.of(system)
        self._zone = ZoneInfo(system.network.timezone)
        self._peak_kw, self._peak_day = 0.0, 0
        self._imaged_s = 0
        self._broken: frozenset[str] = frozenset()
        self._seq = 0
        self._owed: list[Outcomes] = []
        self._unrecorded_s = 0
        for t_s, head_kw in heads:
            self._note_peak(t_s, head_kw)

    def watch_plans(self, watch: Callable[[Status | Round], None]) -> None:
        """Tell of every round of planning from now on."""
        self._planning.watch = watch

    def tick(self, now_s: int) -> Moment:
        """One fast tick, and the slow one where it is due."""
        fleet = self.system.fleet
        rejected = fleet.ingest(self.field.read(now_s), now_s)
        outcomes = self.field.outcomes(now_s)
        self.response = self.response.heard(_rows(fleet.row_of, outcomes), outcomes, now_s)
        image = fleet.image(now_s)
        self.past.add(image)
        flow = self._see(image)
        near = self._near_limits(image, flow)
        entries: list[Entry] = []
        before = self._planned, self._broken, self._planned_s
        if self._settings.managed and self._plan_is_due(now_s):
            entries.append(self._replan(image, flow))
        sites = self.past.sites.envelopes(image, now_s + 2 * self._settings.tick_s)
        envelopes = (self._head_limits(flow, now_s), *near, *sites)
        decision = self._decide(image, envelopes) if self._settings.managed else None
        broken = violations(self.system.network, flow)
        entries += self._alarms(broken, now_s)
        self._tick += 1
        self._owed.append(outcomes)
        entries.append(self._entry(image, decision, flow, rejected))
        halted = self._store(entries, now_s)
        if halted:
            decision, (self._planned, self._broken, self._planned_s) = None, before
        if decision is not None:
            self.response = decision.response
            if len(decision.orders.index):
                self.field.send(decision.orders)
            rejected += decision.rejected
        self._remember(image, flow, broken)
        self.book.expire(now_s)
        return Moment(
            now_s,
            self._tick,
            image,
            flow,
            self._state,
            broken,
            decision,
            self._planned,
            envelopes,
            outcomes,
            rejected,
            self._seq,
            halted,
        )

    def rehearse(self, moment: Moment, extra: Sequence[Proposal]) -> tuple[Decision, Flow]:
        """What a tick would decide with further wishes, and the feeder after it: the same code."""
        decision = step(
            moment.image,
            moment.schedule,
            moment.envelopes,
            (*self.book.open(), *extra),
            self.system.rows_of,
            self.response,
            self._settings.policy,
        )
        return decision, self.flow_at(moment, decision.targets.p_kw)

    def flow_at(self, moment: Moment, p_kw: Kw) -> Flow:
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

    def _plan_is_due(self, now_s: int) -> bool:
        """Whether a new slow period has begun since the plan, and there is something to plan."""
        if not self.past.plan_groups:
            return False
        period = self._settings.plan_s
        return self._planned_s == 0 or now_s // period > self._planned_s // period

    def _store(self, entries: list[Entry], now_s: int) -> str:
        """Record the tick, or say why it cannot be: on a full disk the system sees but orders nothing.

        Devices fall back by themselves when their orders expire. Answers heard meanwhile are kept
        for the first tick that is recorded again, and so is how long nothing was.
        """
        if self._unrecorded_s:
            text = f"record full: nothing recorded or ordered for {now_s - self._unrecorded_s} s"
            entries.insert(0, Entry("alarm", now_s, {"cause": "record full", "state": "ends", "text": text}))
        try:
            self._seq = self._record.append(entries)
        except RecordFull as full:
            self._unrecorded_s = self._unrecorded_s or now_s
            return str(full)
        self._owed, self._unrecorded_s = [], 0
        return ""

    def _see(self, image: Image) -> Flow:
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

    def _head_limits(self, flow: Flow, now_s: int) -> Envelope:
        """What the feeder as a whole may draw and deliver: conductors and contract, the tighter."""
        settings = self._settings
        until_s = now_s + 2 * settings.tick_s
        head = head_envelope(self.system.network, flow, until_s, _HEAD_MARGIN)
        lower = max(head.p_lo_kw, -settings.import_limit_kw)
        upper = min(head.p_hi_kw, settings.export_limit_kw)
        return Envelope("all", lower, upper, head.source, until_s)

    def _near_limits(self, image: Image, flow: Flow) -> tuple[Envelope, ...]:
        """Voltage envelopes of this tick, from the estimate and the voltages that meters report."""
        system = self.system
        v_pu = system.places.best_v_pu(system.network, image, flow)
        s_kva, room_kvar = self._shares.present(image)
        until_s = image.now_s + 2 * self._settings.tick_s
        return voltage_envelopes(system.network, flow, v_pu, self._shares.areas, s_kva, room_kvar, until_s)

    def _decide(self, image: Image, envelopes: Sequence[Envelope]) -> Decision:
        return step(
            image,
            None if self._planned is None else self._planned.schedule,
            envelopes,
            self.book.open(),
            self.system.rows_of,
            self.response,
            self._settings.policy,
        )

    def _replan(self, image: Image, flow: Flow) -> Entry:
        """The slow tick: forecast, flexibility, plan. Where that fails the last plan stays in force."""
        limit = self._head_limits(flow, image.now_s)
        self._planned_s = image.now_s
        try:
            planned = self._planning.plan(self.system, image, (flow, self._state), limit, self._peak_kw)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in planning must not stop the ticks
            text = f"no new plan, the last one stays in force: {type(error).__name__}: {error}"
            head: dict[str, Json] = {"cause": "planning failed", "state": "begins", "text": text[:500]}
            return Entry("alarm", image.now_s, head)
        self._planned = planned
        return plan_entry(planned)

    def _alarms(self, broken: Violations, now_s: int) -> list[Entry]:
        """One event per cause when it begins and when it ends, never one per node or device."""
        causes = _causes(broken)
        entries = []
        for cause in sorted(causes.keys() - self._broken):
            head: dict[str, Json] = {
                "cause": cause,
                "state": "begins",
                "count": causes[cause],
                "text": f"{cause}: {causes[cause]}",
            }
            entries.append(Entry("alarm", now_s, head))
        entries += [
            Entry("alarm", now_s, {"cause": cause, "state": "ends", "text": f"{cause}: over"})
            for cause in sorted(self._broken - causes.keys())
        ]
        self._broken = frozenset(causes)
        return entries

    def _entry(
        self,
        image: Image,
        decision: Decision | None,
        flow: Flow,
        rejected: Sequence[Rejected],
    ) -> Entry:
        """The tick as one chained record of columns."""
        columns: dict[str, NDArray[np.generic]] = {
            "outcome_order_id": np.concatenate([o.order_id for o in self._owed]),
            "outcome_status": np.concatenate([o.status for o in self._owed]),
            "outcome_p_kw": np.concatenate([np.asarray(o.p_kw, dtype=np.float32) for o in self._owed]),
        }
        head: dict[str, Json] = {
            "tick": self._tick,
            "head_kw": round(float(flow.head_kva.real.sum()), 3),
            "refused_readings": sum(r.count for r in rejected),
            "next_order_id": self.response.next_id,
        }
        if decision is not None:
            orders = decision.orders
            columns |= {
                "order_id": orders.order_id,
                "row": orders.index,
                "p_kw": orders.p_kw,
                "q_kvar": _reactive(orders),
                "expires_s": orders.expires_s,
                "source": orders.source,
            }
            head["sources"] = list(orders.sources)
            head["next_order_id"] = decision.response.next_id
            head["held_kw"] = round(decision.passed.held_kw, 3)
            head["shortfall_kw"] = {
                g.proposal.id: round(g.shortfall_kw, 3) for g in decision.grants if abs(g.shortfall_kw) > 1e-3
            }
        return Entry("tick", image.now_s, head, columns)

    def _note_peak(self, now_s: int, head_kw: float) -> None:
        """The import peak of the feeder's local day: what the demand charge goes by."""
        day = datetime.fromtimestamp(now_s, self._zone).toordinal()
        so_far = self._peak_kw if day == self._peak_day else 0.0
        self._peak_kw, self._peak_day = max(so_far, -head_kw), day

    def _remember(self, image: Image, flow: Flow, broken: Violations) -> None:
        now_s, head_kw = image.now_s, float(flow.head_kva.real.sum())
        self._note_peak(now_s, head_kw)
        row = {
            "t_s": np.array([now_s]),
            "head_kw": np.array([head_kw]),
            "head_kvar": np.array([float(flow.head_kva.imag.sum())]),
            "losses_kw": np.array([flow.losses_kw]),
            "v_min_pu": np.array([float(np.nanmin(flow.v_pu))]),
            "v_max_pu": np.array([float(np.nanmax(flow.v_pu))]),
            "violations": np.array([len(broken.kind)]),
        }
        # The record keeps its buffer and tries again; losing rows of it must not stop the ticks.
        with contextlib.suppress(RecordFull):
            self._record.write_history("feeder", row)
            if now_s - self._imaged_s >= self._settings.plan_s:
                self._imaged_s = now_s
                self._record.write_history("resources", _readings_of(image))


def _readings_of(image: Image) -> dict[str, NDArray[np.generic]]:
    """One row per resource, ``row`` as in the ledger's orders; absent values stay absent."""
    return {
        "t_s": np.full(image.n, image.now_s),
        "row": np.arange(image.n),
        "p_kw": image.p_kw,
        "q_kvar": image.q_kvar,
        "v_pu": image.v_pu,
        "e_kwh": image.e_kwh,
    }


def _causes(broken: Violations) -> dict[str, int]:
    """Broken limits by cause, in words."""
    codes, counts = np.unique(broken.kind, return_counts=True)
    return {
        LimitKind(int(code)).name.lower().replace("_", " "): int(count)
        for code, count in zip(codes, counts, strict=True)
    }


def _reactive(orders: Orders) -> Kvar:
    """Reactive power of a batch as a column."""
    return np.full(len(orders.index), np.nan, dtype=np.float32) if orders.q_kvar is None else orders.q_kvar


def _rows(row_of: dict[str, int], outcomes: Outcomes) -> NDArray[np.int64]:
    names = outcomes.ids
    return np.array([row_of.get(names[i], -1) for i in outcomes.index], dtype=np.int64)
