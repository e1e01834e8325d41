"""Who answers: the memory of orders and outcomes that the next tick decides with.

Whoever refused rests, and whoever did not answer is counted with what it does until it has
answered a probe: an order to go on doing just that. Who gave only a part is asked for little more
than what it does. What is missing is thereby split over the willing in the next tick, nobody is
ejected for good, and one lost message costs no more than a few ticks. Saying yes is not doing: what
devices do is compared with what they were ordered once they had time to settle, and ``fleet.Health``
learns from both.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._chance import uniform
from gridflock.dispatch._delivered import believed_kw, compare
from gridflock.dispatch._follow import Following
from gridflock.dispatch._ramp import Ramp
from gridflock.fleet import Image
from gridflock.fleet._health import Evidence, Health
from gridflock.model import BoundSource, Capability, Orders, Outcomes, OutcomeStatus
from gridflock.units import NEVER_S, Kvar, Kw, Mask, Seconds

_LONGEST_DOUBLING = 4
_SHORT_STEP = 0.1
"""Who gave only a part is asked for so much more, as a share of its size."""
_DOUBTED = 0.3
"""Who responds less often is asked only now and then, to see whether that is still so."""
_WARY = 0.5
"""Who responds less often than that is asked for little more or less than it does, until it shows better."""
_PROBED_OF = 4
"""One in so many of them at a time."""
_STEP_KW = 0.05
_STEP_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the conversation waits, seconds.

    Attributes:
        answer_s: an order without an answer for so long counts as unreachable, whatever the adapter
            says: the acknowledgement window.
        settle_s: so long after a change was ordered, a reading shows what came of it.
        quiet_s: a resource under orders from which nothing was heard for longer counts with what it
            would do unasked.
        rest_s: a resource that refused is asked again after this, or up to twice as long by lot: never
            ejected for good.
        first_rest_s: the first probe of a resource that did not answer; every further one waits twice
            as long, up to ``rest_s``.
        short_s: so long, or up to twice as long by lot, a resource that gave only a part is asked for
            little more than it does.
    """

    answer_s: int = 180
    settle_s: int = 120
    quiet_s: int = 180
    rest_s: int = 900
    first_rest_s: int = 60
    short_s: int = 900

    def resting(self, rests_until_s: Seconds, misses: NDArray[np.int16], lost: Mask, now_s: int) -> Seconds:
        """Rest of those that have missed one more, twice as long each time; a longer rest stands."""
        rest_s = np.minimum(self.first_rest_s << misses.astype(np.int64), self.rest_s)
        return np.where(lost, np.maximum(rests_until_s, now_s + rest_s), rests_until_s)


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """State of the conversation with every resource, n rows.

    Attributes:
        ordered_kw: (n,) power of the order in force; NaN where none is.
        ordered_kvar: (n,) its reactive power; NaN where it has none.
        order_id: int64 (n,) that order; -1 where none.
        asked_s: (n,) since when an answer is awaited.
        expires_s: (n,) when it ends.
        answered: (n,) False while an answer is awaited.
        rests_until_s: (n,) not to be asked before this moment.
        misses: int16 (n,) orders in a row that were not answered.
        short_side: int8 (n,) 1 where the last order got less injection than asked, -1 where more.
        short_until_s: (n,) until when that limits what is asked.
        before_kw: (n,) what it did when it was last asked for a change; NaN where never, or unknown.
        since_s: (n,) when that was; -1 where never.
        judged: (n,) whether what came of that change has been seen.
        lost_s: (n,) when it last failed to give what it was asked for; -1 where never.
        next_id: the next free order id.
        patience: how long to wait for whom.
        health: how likely each responds, as learnt so far; None = all are expected to.
        ramps: events that come in or go out, and how far.
        follows: signals that are followed.
        told_s: moment of the last tick; -1 before the first.
        reach_s: (n,) how long a resource may take to hear an order and to show what came of it; this is
            waited for beside what ``patience`` says.
    """

    ordered_kw: Kw
    ordered_kvar: Kvar
    order_id: NDArray[np.int64]
    asked_s: Seconds
    expires_s: Seconds
    answered: Mask
    rests_until_s: Seconds
    misses: NDArray[np.int16]
    short_side: NDArray[np.int8]
    short_until_s: Seconds
    before_kw: Kw
    since_s: Seconds
    judged: Mask
    lost_s: Seconds
    next_id: int
    patience: Patience = field(default_factory=Patience)
    health: Evidence | None = None
    ramps: tuple[Ramp, ...] = ()
    follows: tuple[Following, ...] = ()
    told_s: int = NEVER_S
    reach_s: Seconds | int = 0

    @classmethod
    def empty(
        cls,
        n: int,
        next_id: int = 1,
        *,
        health: Evidence | None = None,
        patience: Patience | None = None,
        reach_s: Seconds | int = 0,
    ) -> Response:
        """Nobody has been asked yet."""
        never = np.full(n, NEVER_S, dtype=np.int64)
        return cls(
            ordered_kw=np.full(n, np.nan),
            ordered_kvar=np.full(n, np.nan),
            order_id=never,
            asked_s=never,
            expires_s=never,
            answered=np.ones(n, dtype=bool),
            rests_until_s=never,
            misses=np.zeros(n, dtype=np.int16),
            short_side=np.zeros(n, dtype=np.int8),
            short_until_s=never,
            before_kw=np.full(n, np.nan),
            since_s=never,
            judged=np.ones(n, dtype=bool),
            lost_s=never,
            next_id=next_id,
            patience=patience or Patience(),
            health=health,
            reach_s=reach_s,
        )

    def later(self, leapt_s: int) -> Response:
        """The same after a clock was set ahead: nothing that is awaited, rests or ramps has come nearer.

        Orders keep their ends, which devices know: those that are over by the new time are over.
        """
        if leapt_s == 0:
            return self
        follows = tuple(
            replace(of, stack=replace(of.stack, start_s=of.stack.start_s + leapt_s)) for of in self.follows
        )
        told_s = self.told_s if self.told_s == NEVER_S else self.told_s + leapt_s
        return replace(
            self,
            asked_s=_later(self.asked_s, leapt_s),
            rests_until_s=_later(self.rests_until_s, leapt_s),
            short_until_s=_later(self.short_until_s, leapt_s),
            since_s=_later(self.since_s, leapt_s),
            lost_s=_later(self.lost_s, leapt_s),
            follows=follows,
            told_s=told_s,
        )

    def willing(self, now_s: int) -> Mask:
        """(n,) rows that may be asked now: no rest, no open probe."""
        willing: Mask = (self.rests_until_s <= now_s) & ((self.misses == 0) | self.answered)
        return willing

    def narrowed(
        self, capability: Capability, image: Image, likely: NDArray[np.float64] | None = None
    ) -> Capability:
        """Capability as dispatch may count on it.

        Resting rows are fixed at what they do, and so are those that owe an answer to a probe; who
        fell silent under an order is fixed at what it would do unasked, who gave only a part can be
        asked for little more than what it does, and who hardly ever responds is fixed but for probes.

        Args:
            capability: what the rows can do.
            image: the process image.
            likely: (n,) probability to respond, where it is known.
        """
        resting, doubted = self.rests_until_s > image.now_s, self.misses > 0
        short = self.short_until_s > image.now_s
        quiet = (self.since_s != NEVER_S) & image.silent(self.patience.quiet_s)
        wary = np.zeros(len(short), dtype=bool)
        if likely is not None:
            doubted |= (likely < _DOUBTED) & ~self._probed(image.now_s)
            wary = (likely < _WARY) & (image.columns["on_off"] == 0)
        if not (resting | doubted | short | quiet | wary).any():
            return capability
        lo, hi = capability.p_lo_kw, capability.p_hi_kw
        lo_source, hi_source = capability.lo_source, capability.hi_source
        present = believed_kw(image, quiet)
        size = image.columns["p_max_kw"] - image.columns["p_min_kw"].astype(np.float64)
        reach = np.where(image.columns["on_off"] == 1, 0.0, _SHORT_STEP * size)
        less, more = short & (self.short_side > 0), short & (self.short_side < 0)
        less, more = less | wary, more | wary
        available = np.uint8(BoundSource.AVAILABLE)
        hi_source = np.where(less & (present + reach < hi), available, hi_source)
        lo_source = np.where(more & (present - reach > lo), available, lo_source)
        lo, hi = (
            np.where(more, np.clip(present - reach, lo, hi), lo),
            np.where(less, np.clip(present + reach, lo, hi), hi),
        )
        fixed = np.where(resting, present, _level(present, capability, image))
        pinned, not_ready = resting | doubted | quiet, np.uint8(BoundSource.NOT_READY)
        return Capability(
            np.where(pinned, fixed, lo),
            np.where(pinned, fixed, hi),
            np.where(pinned, not_ready, lo_source).astype(np.uint8),
            np.where(pinned, not_ready, hi_source).astype(np.uint8),
        )

    def _probed(self, now_s: int) -> Mask:
        """(n,) whose turn it is to show that it responds again, by lot, all in turn."""
        turn = now_s // self.patience.rest_s
        lot = np.floor(_PROBED_OF * uniform(len(self.since_s), "probe")).astype(np.int64)
        probed: Mask = lot == turn % _PROBED_OF
        return probed

    def expired(self, now_s: int) -> Response:
        """Orders past their end are gone; whoever was silent for too long has missed one.

        A miss that nobody had reason to probe is forgotten after the longest rest.
        """
        silent = ~self.answered & (self.asked_s + self.patience.answer_s + self.reach_s <= now_s)
        over = (self.expires_s <= now_s) | silent
        forgotten = self.answered & (self.rests_until_s + self.patience.rest_s <= now_s)
        return replace(
            self,
            answered=self.answered | silent,
            misses=np.where(forgotten, 0, _counted(self.misses, silent)).astype(np.int16),
            rests_until_s=self.patience.resting(self.rests_until_s, self.misses, silent, now_s),
            ordered_kw=np.where(over, np.nan, self.ordered_kw),
            ordered_kvar=np.where(over, np.nan, self.ordered_kvar),
            order_id=np.where(over, NEVER_S, self.order_id),
            judged=self.judged | silent,
            lost_s=np.where(silent, now_s, self.lost_s),
            health=self._learnt(
                np.flatnonzero(silent & (self.misses == 0)), OutcomeStatus.UNREACHABLE, now_s
            ),
        )

    def observed(self, image: Image, able: Capability) -> Response:
        """Compare what devices do with what they were ordered, once they had time to settle.

        Who takes an order and does not follow it is treated as one that gave only a part.

        Args:
            image: the process image.
            able: what the rows can do, not narrowed: nobody is blamed for what it cannot do.
        """
        due = np.isfinite(self.ordered_kw) & (self.short_until_s <= image.now_s)
        due &= (self.since_s != NEVER_S) & (image.ready == 1)
        due &= image.heard_s >= self.since_s + self.patience.settle_s + self.reach_s
        rows = np.flatnonzero(due).astype(np.int32)
        if len(rows) == 0:
            return self
        seen = compare(rows, self.ordered_kw[rows], self.before_kw[rows], image, able)
        news = (seen.known & ~self.judged[rows]) | seen.missing
        missing, now_s = rows[seen.missing], image.now_s
        judged, lost_s = self.judged.copy(), self.lost_s.copy()
        judged[rows], lost_s[missing] = True, now_s
        side, until_s = self.short_side.copy(), self.short_until_s.copy()
        side[missing] = seen.side[seen.missing]
        until_s[missing] = now_s + self._waits(missing, self.patience.short_s)
        kept = np.where(seen.missing, 0.0, seen.kept)[news]
        return replace(
            self,
            judged=judged,
            lost_s=lost_s,
            short_side=side,
            short_until_s=until_s,
            health=self._learnt(rows[news], OutcomeStatus.PARTIAL, now_s, kept),
        )

    def heard(self, rows: NDArray[np.int64], outcomes: Outcomes, now_s: int) -> Response:
        """Take answers in; ``rows`` are the resources of ``outcomes``, row by row, -1 where unknown.

        An answer to an order that has been replaced shows that its device listens, and no more.
        """
        known = rows >= 0
        rows, status, order_ids = rows[known], outcomes.status[known], outcomes.order_id[known]
        newest, reply = order_ids >= self.order_id[rows], status != OutcomeStatus.UNREACHABLE
        answered, asked = self.answered.copy(), self.asked_s.copy()
        answered[rows[reply & newest]] = True
        asked[rows[reply & ~newest]] = now_s
        misses, rests = self.misses.copy(), self.rests_until_s.copy()
        misses[rows[reply]] = 0
        refused = rows[newest & (status == OutcomeStatus.REFUSED)]
        rests[refused] = now_s + self._waits(refused, self.patience.rest_s)
        lost = np.zeros(len(misses), dtype=bool)
        # A lost order that has been replaced tells of its device while the new one is open too.
        lost[rows[~reply & (newest | ~answered[rows])]] = True
        void = lost.copy()
        void[refused] = True
        void[rows[newest & (status == OutcomeStatus.EXPIRED)]] = True
        part = newest & (status == OutcomeStatus.PARTIAL)
        side, until = self._shortened(rows[part], np.asarray(outcomes.p_kw)[known][part], now_s)
        # What was accepted is judged by what is delivered; the others have said what to think of them.
        # One that is lost is lost once, however often it is probed.
        told = newest & ~self.answered[rows] & (status != OutcomeStatus.ACCEPTED)
        told &= reply | (self.misses[rows] == 0)
        failed = np.zeros(len(misses), dtype=bool)
        failed[rows[told]] = True
        return replace(
            self,
            answered=answered | lost,
            asked_s=asked,
            misses=_counted(misses, lost),
            rests_until_s=self.patience.resting(rests, misses, lost, now_s),
            short_side=side,
            short_until_s=until,
            ordered_kw=np.where(void, np.nan, self.ordered_kw),
            ordered_kvar=np.where(void, np.nan, self.ordered_kvar),
            order_id=np.where(void, NEVER_S, self.order_id),
            judged=self.judged | failed,
            lost_s=np.where(failed, now_s, self.lost_s),
            health=self._told(rows[told], status[told], np.asarray(outcomes.p_kw)[known][told], now_s),
        )

    def _shortened(self, rows: NDArray[np.int64], p_kw: Kw, now_s: int) -> tuple[NDArray[np.int8], Seconds]:
        """Side and time of what was only partly met."""
        gap = self.ordered_kw[rows] - p_kw
        clear = np.abs(gap) > _STEP_KW
        side, until = self.short_side.copy(), self.short_until_s.copy()
        side[rows[clear]] = np.sign(gap[clear]).astype(np.int8)
        until[rows[clear]] = now_s + self._waits(rows[clear], self.patience.short_s)
        return side, until

    def _waits(self, rows: NDArray[np.integer[Any]], least_s: int) -> Seconds:
        """How long some rows wait: up to twice as long by lot, so that they do not return all at once."""
        if len(rows) == 0:
            return np.zeros(0, dtype=np.int64)
        lot = uniform(len(self.since_s), "wait")[rows]
        waits: Seconds = (least_s * (1.0 + lot)).astype(np.int64)
        return waits

    def due(self, target_kw: Kw, expires_s: Seconds, now_s: int, renew_s: int) -> Mask:
        """(n,) rows to send to.

        The target moved, or the order in force ends within ``renew_s`` and the new one, which
        would end at ``expires_s``, lives longer.
        """
        ends = (self.expires_s - now_s <= renew_s + self.reach_s) & (self.expires_s < expires_s)
        return np.isfinite(target_kw) & self.willing(now_s) & (self.moved(target_kw) | ends)

    def sent(self, orders: Orders, present_kw: Kw | None = None) -> Response:
        """Remember what goes out.

        Args:
            orders: what goes out.
            present_kw: (n,) what each row does now, to tell later what came of its order.
        """
        rows = orders.index
        ordered, order_id = self.ordered_kw.copy(), self.order_id.copy()
        reactive = self.ordered_kvar.copy()
        reactive[rows] = np.nan if orders.q_kvar is None else orders.q_kvar
        asked, expires, answered = self.asked_s.copy(), self.expires_s.copy(), self.answered.copy()
        ordered[rows], order_id[rows] = orders.p_kw, orders.order_id
        awaited = ~answered[rows] & (
            (expires + self.patience.answer_s + self.reach_s)[rows] > orders.issued_s
        )
        asked[rows] = np.where(awaited, asked[rows], orders.issued_s)
        expires[rows], answered[rows] = orders.expires_s, False
        # A further change before the last one was seen belongs to it: the device is still under way.
        starts = rows[self.moved(ordered)[rows] & (self.judged | np.isnan(self.ordered_kw))[rows]]
        before, since, judged = self.before_kw.copy(), self.since_s.copy(), self.judged.copy()
        before[starts] = np.nan if present_kw is None else present_kw[starts]
        since[starts], judged[starts] = orders.issued_s, False
        return replace(
            self,
            ordered_kw=ordered,
            ordered_kvar=reactive,
            order_id=order_id,
            asked_s=asked,
            expires_s=expires,
            answered=answered,
            before_kw=before,
            since_s=since,
            judged=judged,
            next_id=self.next_id + len(rows),
        )

    def moved(self, target_kw: Kw) -> Mask:
        """(n,) where a target is another than the order in force."""
        step = np.maximum(_STEP_KW, _STEP_SHARE * np.abs(np.nan_to_num(self.ordered_kw)))
        moved: Mask = ~(np.abs(target_kw - self.ordered_kw) <= step)
        return moved

    def _told(
        self, rows: NDArray[np.int64], status: NDArray[np.uint8], p_kw: Kw, now_s: int
    ) -> Evidence | None:
        """What is known of who responds, after answers; each row once."""
        rows, first = np.unique(rows, return_index=True)
        change = self.ordered_kw[rows] - self.before_kw[rows]
        kept = np.divide(
            p_kw[first] - self.before_kw[rows], change, out=np.full(len(rows), np.nan), where=change != 0
        )
        return self._learnt(rows, status[first], now_s, kept)

    def _learnt(
        self,
        rows: NDArray[np.integer[Any]],
        status: NDArray[np.uint8] | OutcomeStatus,
        now_s: int,
        kept: NDArray[np.float64] | None = None,
    ) -> Evidence | None:
        if self.health is None or len(rows) == 0:
            return self.health
        codes = np.broadcast_to(np.asarray(status, dtype=np.uint8), len(rows))
        health = Health.of(self.health, copied=True)
        health.learn(rows.astype(np.int32), codes, now_s, kept)
        return health.evidence


def _later(at_s: Seconds, leapt_s: int) -> Seconds:
    """Moments so much later; what never was stays so."""
    moved: Seconds = np.where(at_s == NEVER_S, NEVER_S, at_s + leapt_s)
    return moved


def _level(present: Kw, capability: Capability, image: Image) -> Kw:
    """The order that is nearest to what each does: within its bounds, and a level for on/off devices."""
    lo, hi = capability.p_lo_kw, capability.p_hi_kw
    nearer = np.where(present - lo < hi - present, lo, hi)
    level: Kw = np.where(image.columns["on_off"] == 1, nearer, np.clip(present, lo, hi))
    return level


def _counted(misses: NDArray[np.int16], lost: Mask) -> NDArray[np.int16]:
    """One more order in a row without an answer; beyond the longest rest nobody counts."""
    return np.minimum(misses + lost, _LONGEST_DOUBLING).astype(np.int16)
