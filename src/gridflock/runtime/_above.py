"""A system above others at work: it hears what they keep, shares a limit among them, and says so.

Each round asks everybody below for a standing, shares the limit out anew, records what it is about to say and
says it. Each of them is spoken to on a thread of its own and waited for no longer than the patience; who is
late is heard in a later round, and keeps meanwhile what it was given. A life that begins anew needs nothing
of the former one: it listens until no word of that can arrive any more, and goes by what it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

import numpy as np

from gridflock.dispatch.hierarchy import Known, Parent, overcommitted
from gridflock.field.peer import Unanswered
from gridflock.model import Directive, Entry, Json, Standing
from gridflock.ports import Record
from gridflock.record import RecordFull
from gridflock.runtime._allowed import KIND, SKEW_S, mean_over
from gridflock.runtime._kept import to_bytes
from gridflock.runtime._planning import horizon
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._settings import Settings
from gridflock.runtime._views import Fault, number
from gridflock.units import DAY_S, Kw, Money, TimeGrid, iso

LIFE_S = 30
_BEGUN = "change"
_SAME_KW = 1e-3
_DONE = "done"
_TEXT = 300
_Job = tuple[Callable[..., Any], tuple[Any, ...], "Future[Any]"]


class Below(Protocol):
    """A system below, as it is reached: ``field.peer.Peer``."""

    name: str

    def standing(self) -> Standing:
        """What it tells of itself."""

    def direct(self, directive: Directive) -> None:
        """Hand a directive over."""


@dataclass(frozen=True, slots=True)
class BelowView:
    """One system below.

    Attributes:
        name: its own.
        p_kw: injection at its connection, as it told last.
        lo_kw: lowest injection that it was told for now; absent before the first word.
        hi_kw: highest.
        may_lo_kw: lowest that it may still come to, whatever was lost.
        may_hi_kw: highest.
        settled: whether it keeps what it was told last.
        heard: when it told last; empty before.
        silent_s: for how long it has told nothing since.
        trouble: what is wrong with it or the way to it; empty where all is well.
    """

    name: str
    p_kw: float | None
    lo_kw: float | None
    hi_kw: float | None
    may_lo_kw: float | None
    may_hi_kw: float | None
    settled: bool
    heard: str
    silent_s: int | None
    trouble: str


@dataclass(frozen=True, slots=True)
class AboveView:
    """The system above after a round.

    Attributes:
        now: moment of the round.
        epoch: the unix second that its life began.
        limit_kw: lowest and highest injection of all below together.
        p_kw: the sum of what they told last; absent while one has told nothing.
        may_kw: lowest and highest that they may come to together, whatever was lost.
        children: those below.
        deposed: another one above is followed: this one says nothing more.
        halted: why nothing was said in this round; empty where all is well.
        allowed_kw: lowest and highest that a system above this one allows now; absent where none stands.
    """

    now: str
    epoch: int
    limit_kw: tuple[float, float]
    p_kw: float | None
    may_kw: tuple[float, float]
    children: list[BelowView]
    deposed: bool
    halted: str
    allowed_kw: tuple[float, float] | None = None


class Above:
    """One life of a system above others. One caller at a time.

    Args:
        peers: the ways to those below.
        children: what was agreed with each, in the same order.
        limit_kw: lowest and highest injection of all of them together.
        record: ledger of its own.
        clock: unix seconds now.
        life_s: so long after it was sent a directive may be adopted; a new life listens for so long.
        skew_s: by how much a clock below may be off.
        reserve_kw: so much of the limit, on either side, is kept back for what moves between two rounds.
        patience_s: so long a round waits for those below, once for standings and once for directives.

    Raises:
        RequestRejected: with everything that is wrong with what was agreed.
    """

    _lease_s = DAY_S

    def __init__(
        self,
        peers: Sequence[Below],
        children: Sequence[Known],
        limit_kw: tuple[float, float],
        record: Record,
        clock: Callable[[], int],
        *,
        life_s: int = LIFE_S,
        skew_s: int = SKEW_S,
        reserve_kw: float = 0.0,
        patience_s: float = 3.0,
    ) -> None:
        self._limit_kw, self._shared_kw = limit_kw, (limit_kw[0] + reserve_kw, limit_kw[1] - reserve_kw)
        self._reserve_kw = reserve_kw
        _agreed(children, self._shared_kw)
        self._record, self._clock, self._patience_s = record, clock, patience_s
        self._lines = [_Line(peer) for peer in peers]
        self._said: dict[str, Directive] = {}
        self._latest: dict[str, Standing] = {}
        self._adopted: dict[str, tuple[int, int]] = {}
        self._causes: dict[str, str] = {}
        now_s = clock()
        self._parent = Parent(
            _epoch(record, now_s), tuple(children), life_s=life_s, lease_s=self._lease_s, skew_s=skew_s
        )
        names: list[Json] = [child.name for child in children]
        head: dict[str, Json] = {
            "text": f"begun above {len(names)} systems: {limit_kw[0]:g} to {limit_kw[1]:g} kW together",
            "epoch": self._parent.epoch,
            "children": names,
            "limit_kw": list(limit_kw),
            "reserve_kw": reserve_kw,
        }
        record.append([Entry(_BEGUN, now_s, head)])

    def round(self) -> AboveView:
        """Hear everybody, share the limit out, record what is new of it, and say it."""
        heard = {line.name: line.ask("standing", line.peer.standing) for line in self._lines}
        self._collect(heard)
        now_s, halted = self._clock(), ""
        parent, directives = self._shared(now_s)
        news = {directive.child: directive for directive in directives if self._is_news(directive)}
        entries, causes = [_entry(directive, now_s) for directive in news.values()], self._wrong()
        entries += _changes(self._causes, causes, now_s)
        try:
            if entries:
                self._record.append(entries)
        except RecordFull as full:
            halted, news = str(full), {}  # what is not recorded is not said
        else:
            self._parent, self._causes = parent, causes
        told = {
            line.name: line.ask("direct", line.peer.direct, news[line.name])
            for line in self._lines
            if line.name in news
        }
        self._said |= {name: news[name] for name, asked in told.items() if asked}
        self._collect(told)
        return self._view(now_s, halted)

    def close(self) -> None:
        """Let go of those below and of the record; a thread that is blocked ends with the process."""
        for line in self._lines:
            line.close()
        self._record.close()

    # ---- hearing ----------------------------------------------------------------------------

    def _collect(self, asked: Mapping[str, bool]) -> None:
        """Take in what is answered in time; who was busy with something older is not waited for."""
        until_s = time.monotonic() + self._patience_s
        for line in self._lines:
            waits = asked.get(line.name, False)
            found = line.answer(max(0.0, until_s - time.monotonic()) if waits else 0.0)
            if isinstance(found, Standing):
                self._latest[line.name] = found
                self._parent, fault = self._parent.heard(found, self._clock())
                if fault is not None:
                    line.trouble = f"{fault.field} {fault.reason}"
            elif found == _DONE:
                self._adopted[line.name] = self._said[line.name].order

    # ---- sharing ----------------------------------------------------------------------------

    def _shared(self, now_s: int) -> tuple[Parent, tuple[Directive, ...]]:
        """The limit handed out anew; what somebody means to do anyway is not wished of it."""
        grid, limit_kw, worth = self._to_share(now_s)
        children = self._parent.children
        want = np.array([wanted(child, grid) for child in children])
        price, able = np.tile(worth, (len(children), 1)), _able(children, grid, now_s)
        parent, sent = self._parent.allot(grid, limit_kw, want, price, now_s, able)
        return parent, tuple(replace(each, want_kw=np.full(grid.n, np.nan)) for each in sent)

    def _to_share(self, now_s: int) -> tuple[TimeGrid, tuple[Kw, Kw], Money]:
        """T steps, (T,) lowest and (T,) highest injection of all, and (T,) worth of a kWh injected."""
        grid = horizon(now_s, Settings())
        low, high = (np.full(grid.n, bound) for bound in self._shared_kw)
        return grid, (low, high), np.zeros(grid.n)

    def _is_news(self, directive: Directive) -> bool:
        """Whether somebody has not already adopted just this, or for long does not keep it."""
        name, before = directive.child, self._said.get(directive.child)
        if before is None or self._adopted.get(name) != before.order:
            return True
        if not self._keeps(name) and directive.accept_until_s > before.accept_until_s + self._parent.life_s:
            return True
        old, new = before.allowance, directive.allowance
        return not (
            np.array_equal(old.grid.edges_s, new.grid.edges_s)
            and np.allclose(old.lo_kw, new.lo_kw, rtol=0.0, atol=_SAME_KW)
            and np.allclose(old.hi_kw, new.hi_kw, rtol=0.0, atol=_SAME_KW)
            and np.array_equal(before.price, directive.price)
        )

    def _keeps(self, name: str) -> bool:
        """Whether a system below keeps what it was told last, and everything below it."""
        said = self._said.get(name)
        told = next(child.standing for child in self._parent.children if child.name == name)
        return said is not None and told is not None and (told.epoch, told.number) == said.order

    # ---- telling ----------------------------------------------------------------------------

    def _wrong(self) -> dict[str, str]:
        """What is wrong, in words by cause."""
        found = {
            f"below: {line.name}": f"{line.name}: {line.trouble}" for line in self._lines if line.trouble
        }
        if self._parent.deposed:
            found["deposed"] = "deposed: those below follow another system above; nothing more is said"
        return found

    def _view(self, now_s: int, halted: str) -> AboveView:
        grid = TimeGrid(np.array([now_s, now_s + 1], dtype=np.int64))
        low, high = (side[:, 0] for side in self._parent.exposure(grid))
        troubles = {line.name: line.trouble for line in self._lines}
        children = [
            self._child_view(child, (low[k], high[k]), troubles[child.name], now_s)
            for k, child in enumerate(self._parent.children)
        ]
        powers = [np.nan if child.p_kw is None else child.p_kw for child in children]
        return AboveView(
            now=iso(now_s),
            epoch=self._parent.epoch,
            limit_kw=self._limit_kw,
            p_kw=number(float(np.sum(powers)), 2),
            may_kw=(round(float(low.sum()), 2), round(float(high.sum()), 2)),
            children=children,
            deposed=self._parent.deposed,
            halted=halted,
        )

    def _child_view(self, child: Known, may_kw: tuple[float, float], trouble: str, now_s: int) -> BelowView:
        told, said = child.standing, self._said.get(child.name)
        low, high = (np.nan, np.nan) if said is None else said.allowance.at(now_s)
        return BelowView(
            name=child.name,
            p_kw=None if told is None else number(told.p_kw, 2),
            lo_kw=number(low, 2),
            hi_kw=number(high, 2),
            may_lo_kw=number(may_kw[0], 2),
            may_hi_kw=number(may_kw[1], 2),
            settled=self._keeps(child.name),
            heard="" if told is None else iso(told.at_s),
            silent_s=None if told is None else max(0, now_s - told.at_s),
            trouble=trouble,
        )


class _Line:
    """The way to one system below, on a thread of its own: one question after the other."""

    def __init__(self, peer: Below) -> None:
        self.peer, self.name = peer, peer.name
        self.trouble = ""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._owed: tuple[str, Future[Any]] | None = None
        Thread(target=_work, args=(self._jobs,), name=f"gridflock-{peer.name}", daemon=True).start()

    def ask(self, verb: str, call: Callable[..., Any], *words: object) -> bool:
        """Ask, unless an answer is still owed."""
        if self._owed is not None:
            return False
        answer: Future[Any] = Future()
        self._owed = verb, answer
        self._jobs.put((call, words, answer))
        return True

    def answer(self, wait_s: float) -> object:
        """What it answered, ``_DONE`` where it only took something; None where it owes that, or had none."""
        if self._owed is None:
            return None
        verb, answer = self._owed
        try:
            found: object = answer.result(wait_s) or _DONE
        except TimeoutError:
            self.trouble = f"no answer to {verb} yet"
            return None
        except Unanswered as error:
            found, self.trouble = None, str(error)[:_TEXT]
        except Exception as error:  # noqa: BLE001 - whatever one of them does must not stop the others
            found, self.trouble = None, f"{type(error).__name__}: {error}"[:_TEXT]
        else:
            self.trouble = ""
        self._owed = None
        return found

    def close(self) -> None:
        """End the thread once it is free."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Do one thing after the other until there is none."""
    while (job := jobs.get()) is not None:
        call, words, answer = job
        try:
            answer.set_result(call(*words))
        except BaseException as error:  # noqa: BLE001 - handed to the round, which tells of it
            answer.set_exception(error)


def _agreed(children: Sequence[Known], limit_kw: tuple[float, float]) -> None:
    """Refuse what no life can hold to."""
    faults = []
    names = [child.name for child in children]
    if not names or len(set(names)) < len(names):
        faults.append(Fault("child", "at least one, each named once", f"{', '.join(names) or 'none'}"))
    if not (np.isfinite(limit_kw).all() and limit_kw[0] <= limit_kw[1]):
        faults.append(
            Fault("limit", "a lowest and a highest power", f"{limit_kw[0]:g} to {limit_kw[1]:g} kW")
        )
    for child in children:
        powers = (child.rating_kw[0], *child.default_kw, child.rating_kw[1])
        if not (np.isfinite(powers).all() and (np.diff(powers) >= 0.0).all()):
            default, rating = (
                "{:g} to {:g} kW".format(*each) for each in (child.default_kw, child.rating_kw)
            )
            reason = f"{child.name}: {default} is no range within its rating, {rating}"
            faults.append(Fault("default", "within the rating", reason))
    if not faults:
        over = overcommitted(children, limit_kw)
        if over is not None:
            faults.append(Fault("default", "all defaults together fit under the limit", over.reason))
    if faults:
        raise RequestRejected(tuple(faults))


def _epoch(record: Record, now_s: int) -> int:
    """Of a life that begins: later than any before in this ledger, even where the clock has gone back."""
    before = [entry.head.get("epoch") for entry in record.entries(0, {_BEGUN})]
    return max([now_s, *(each + 1 for each in before if isinstance(each, int))])


def _changes(before: Mapping[str, str], causes: Mapping[str, str], now_s: int) -> list[Entry]:
    """Alarms of what begins to be wrong, and of what is over."""
    begun = [(name, "begins", text) for name, text in causes.items() if name not in before]
    over = [(name, "ends", f"{name}: over") for name in before if name not in causes]
    return [
        Entry("alarm", now_s, {"cause": name, "state": state, "text": text})
        for name, state, text in (*begun, *over)
    ]


def _entry(directive: Directive, now_s: int) -> Entry:
    """What the ledger keeps of a directive before it is said."""
    low, high = directive.allowance.at(now_s)
    head: dict[str, Json] = {
        "text": f"{directive.child}: {low:.1f} to {high:.1f} kW now",
        "child": directive.child,
        "epoch": directive.epoch,
        "number": directive.number,
    }
    return Entry(KIND, now_s, head, {"directive": np.frombuffer(to_bytes(directive), dtype=np.uint8)})


def _able(children: Sequence[Known], grid: TimeGrid, now_s: int) -> tuple[Kw, Kw]:
    """(C, T) lowest and (C, T) highest that each can come to: now as it told, later its rating."""
    rating = np.array([child.rating_kw for child in children])
    low, high = (np.repeat(rating[:, side : side + 1], grid.n, axis=1) for side in (0, 1))
    now = grid.step_at(now_s)
    for k, child in enumerate(children):
        if child.standing is not None and np.isfinite(child.standing.able_kw).all():
            low[k, now], high[k, now] = child.standing.able_kw
    return low, high


def wanted(child: Known, grid: TimeGrid) -> Kw:
    """(T,) what a system below means to do: its plan, else what it does now, else its default's middle."""
    told = child.standing
    if told is None:
        return np.full(grid.n, 0.5 * sum(child.default_kw))
    plan = mean_over(told.kept.grid, told.plan_kw, grid)
    known = np.isfinite(plan)
    if not known.any():
        present = told.p_kw if np.isfinite(told.p_kw) else 0.5 * sum(child.default_kw)
        return np.full(grid.n, present)
    middles = grid.middles_s
    filled: Kw = np.interp(middles, middles[known], plan[known])
    return filled
