"""The life behind the façade: it ticks, publishes moments and events, and tells of itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition, Event, Lock

import numpy as np

from gridflock.model import Rejected
from gridflock.ports import Clock, Field, Record
from gridflock.runtime import _claims, _show, _show_delivery, _virtual_kept
from gridflock.runtime._allowed import KIND as DIRECTIVE
from gridflock.runtime._book import Book
from gridflock.runtime._clock import witnessed
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._market import KIND as PRICES
from gridflock.runtime._promises import Promises
from gridflock.runtime._rules import KIND as GUARD
from gridflock.runtime._settings import Settings
from gridflock.runtime._utility_port import KIND as DEVICE
from gridflock.runtime._views import EventView
from gridflock.runtime._virtual import VirtualDers
from gridflock.runtime._worked_out import WorkedOut
from gridflock.units import iso

EVENT_KINDS = frozenset(
    {
        "proposal",
        "withdrawal",
        "plan",
        "alarm",
        "change",
        "refusal",
        GUARD,
        "shadow",
        DEVICE,
        DIRECTIVE,
        PRICES,
        _virtual_kept.KIND,
        _claims.MADE,
        _claims.REFUSED,
        _claims.WITHDRAWN,
    }
)


class UnknownName(Exception):  # noqa: N818 - bad input as values
    """No such group, resource, proposal or claim."""


class Life:
    """One running system. Thread-safe: one thread ticks, any thread asks.

    Args:
        loop: the ticking system.
        book: open proposals.
        virtual: groups of people, over those of the loop's system.
        promises: who holds what.
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
        virtual: VirtualDers,
        promises: Promises,
        record: Record,
        settings: Settings,
        clock: Clock,
        day: tuple[int, int],
        on_tick: Callable[[Moment], None] | None = None,
        trail: Iterable[tuple[int, float]] = (),
    ) -> None:
        self._loop = loop
        self._book = book
        self._virtual = virtual
        self._promises = promises
        self._record = record
        self._settings = settings
        self._clock = clock
        self._day = day
        self._on_tick = on_tick
        self._moment: Moment | None = None
        self._changed = Condition()
        self._deciding = Lock()
        self._previewing = Lock()
        self._writing = Lock()
        self._operating = Lock()
        self._worked_out = WorkedOut()
        self._over = False
        self._events: deque[EventView] = deque(maxlen=2_000)
        self._trail = list(trail)
        self._lately: deque[_show_delivery.Counted] = deque()
        self._peak_kw = max((-p for _, p in self._trail), default=0.0)
        self._refused = 0
        self._last_event = 0
        self._proposed = 0
        self._collect_events()

    # ---- life -------------------------------------------------------------------------------

    def tick(self) -> Moment:
        """Live through one fast tick at the clock's present moment."""
        with self._deciding:
            moment = self._loop.tick(self._clock.now_s(), witnessed(self._clock))
            self._refused += sum(r.count for r in moment.rejected)
            self._trail.append((moment.now_s, moment.head_kw))
            self._peak_kw = max(self._peak_kw, -moment.head_kw)
            self._collect_events()
            # Published before others may decide: a moment and the loop's state belong together.
            with self._changed:
                self._moment = moment
                self._lately.append(_show_delivery.counted(moment))
                _show_delivery.forget(self._lately, moment.now_s)
                self._changed.notify_all()
        if self._on_tick is not None:
            self._on_tick(moment)
        return moment

    def run(self, stop: Event, until_s: int | None = None) -> None:
        """Tick until ``stop`` is set or the clock passes ``until_s``; after that nothing can be asked."""
        tick_s = self._settings.tick_s
        while not stop.is_set():
            begun_s = self._clock.now_s()
            moment = self.tick()
            if until_s is not None and moment.now_s + tick_s > until_s:
                self._over = True
                return
            now_s = self._clock.now_s()
            # A tick that took too long costs those it ran over, and no more; a clock may have gone back.
            over = max(0, now_s - begun_s) // tick_s if now_s >= begun_s else 0
            self._clock.sleep_until(min(begun_s, now_s) + (over + 1) * tick_s)

    def close(self) -> None:
        """Let go of the devices; flush and release the record."""
        self._loop.close()
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

    # ---- inside -----------------------------------------------------------------------------

    def _collect_events(self) -> None:
        """Bring the event list up to the ledger's end."""
        with self._changed:
            for entry in self._record.entries(self._last_event, EVENT_KINDS):
                self._events.append(_show.event(entry))
                self._last_event = max(self._last_event, entry.seq)
