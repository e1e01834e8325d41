"""Who answers: the memory of orders and outcomes that the next tick decides with.

Whoever refused rests, and whoever did not answer is counted with what it does until it has
answered a probe: an order to go on doing just that. Who gave only a part is asked for little more
than what it does. What is missing is thereby split over the willing in the next tick, nobody is
ejected for good, and one lost message costs no more than a few ticks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.model import BoundSource, Capability, Orders, Outcomes, OutcomeStatus
from gridflock.units import NEVER_S, Kvar, Kw, Mask, Seconds

_PATIENCE_S = 180
"""An order without an answer for so long counts as unreachable, whatever the adapter says."""
_REST_S = 900
"""A resource that refused is asked again after this: never ejected for good."""
_FIRST_REST_S = 60
"""The first probe of a resource that did not answer; every further one waits twice as long."""
_LONGEST_DOUBLING = 4
_SHORT_S = 900
"""So long a resource that gave only a part is asked for little more than it does."""
_SHORT_STEP = 0.1
"""That little more, as a share of its size."""
_STEP_KW = 0.05
_STEP_SHARE = 0.02


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
        next_id: the next free order id.
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
    next_id: int

    @classmethod
    def empty(cls, n: int, next_id: int = 1) -> Response:
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
            next_id=next_id,
        )

    def willing(self, now_s: int) -> Mask:
        """(n,) rows that may be asked now: no rest, no open probe."""
        willing: Mask = (self.rests_until_s <= now_s) & ((self.misses == 0) | self.answered)
        return willing

    def narrowed(self, capability: Capability, image: Image) -> Capability:
        """Capability as dispatch may count on it.

        Resting rows are fixed at what they do, and so are those that owe an answer to a probe;
        who gave only a part can be asked for little more than what it does.
        """
        resting, doubted = self.rests_until_s > image.now_s, self.misses > 0
        short = self.short_until_s > image.now_s
        if not (resting | doubted | short).any():
            return capability
        lo, hi = capability.p_lo_kw, capability.p_hi_kw
        lo_source, hi_source = capability.lo_source, capability.hi_source
        present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
        reach = _SHORT_STEP * (image.columns["p_max_kw"] - image.columns["p_min_kw"].astype(np.float64))
        less, more = short & (self.short_side > 0), short & (self.short_side < 0)
        available = np.uint8(BoundSource.AVAILABLE)
        hi_source = np.where(less & (present + reach < hi), available, hi_source)
        lo_source = np.where(more & (present - reach > lo), available, lo_source)
        lo, hi = (
            np.where(more, np.clip(present - reach, lo, hi), lo),
            np.where(less, np.clip(present + reach, lo, hi), hi),
        )
        fixed = np.where(resting, present, _level(present, capability, image))
        pinned, not_ready = resting | doubted, np.uint8(BoundSource.NOT_READY)
        return Capability(
            np.where(pinned, fixed, lo),
            np.where(pinned, fixed, hi),
            np.where(pinned, not_ready, lo_source).astype(np.uint8),
            np.where(pinned, not_ready, hi_source).astype(np.uint8),
        )

    def expired(self, now_s: int) -> Response:
        """Orders past their end are gone; whoever was silent for too long has missed one.

        A miss that nobody had reason to probe is forgotten after the longest rest.
        """
        silent = ~self.answered & (self.asked_s + _PATIENCE_S <= now_s)
        over = (self.expires_s <= now_s) | silent
        forgotten = self.answered & (self.rests_until_s + _REST_S <= now_s)
        return replace(
            self,
            answered=self.answered | silent,
            misses=np.where(forgotten, 0, _counted(self.misses, silent)).astype(np.int16),
            rests_until_s=_resting(self.rests_until_s, self.misses, silent, now_s),
            ordered_kw=np.where(over, np.nan, self.ordered_kw),
            ordered_kvar=np.where(over, np.nan, self.ordered_kvar),
            order_id=np.where(over, NEVER_S, self.order_id),
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
        rests[refused] = now_s + _REST_S
        lost = np.zeros(len(misses), dtype=bool)
        # A lost order that has been replaced tells of its device while the new one is open too.
        lost[rows[~reply & (newest | ~answered[rows])]] = True
        void = lost.copy()
        void[refused] = True
        void[rows[newest & (status == OutcomeStatus.EXPIRED)]] = True
        part = newest & (status == OutcomeStatus.PARTIAL)
        side, until = self._shortened(rows[part], np.asarray(outcomes.p_kw)[known][part], now_s)
        return replace(
            self,
            answered=answered | lost,
            asked_s=asked,
            misses=_counted(misses, lost),
            rests_until_s=_resting(rests, misses, lost, now_s),
            short_side=side,
            short_until_s=until,
            ordered_kw=np.where(void, np.nan, self.ordered_kw),
            ordered_kvar=np.where(void, np.nan, self.ordered_kvar),
            order_id=np.where(void, NEVER_S, self.order_id),
        )

    def _shortened(self, rows: NDArray[np.int64], p_kw: Kw, now_s: int) -> tuple[NDArray[np.int8], Seconds]:
        """Side and time of what was only partly met."""
        gap = self.ordered_kw[rows] - p_kw
        clear = np.abs(gap) > _STEP_KW
        side, until = self.short_side.copy(), self.short_until_s.copy()
        side[rows[clear]] = np.sign(gap[clear]).astype(np.int8)
        until[rows[clear]] = now_s + _SHORT_S
        return side, until

    def due(self, target_kw: Kw, expires_s: Seconds, now_s: int, renew_s: int) -> Mask:
        """(n,) rows to send to.

        The target moved, or the order in force ends within ``renew_s`` and the new one, which
        would end at ``expires_s``, lives longer.
        """
        step = np.maximum(_STEP_KW, _STEP_SHARE * np.abs(np.nan_to_num(self.ordered_kw)))
        moved = ~(np.abs(target_kw - self.ordered_kw) <= step)
        ends = (self.expires_s - now_s <= renew_s) & (self.expires_s < expires_s)
        return np.isfinite(target_kw) & self.willing(now_s) & (moved | ends)

    def sent(self, orders: Orders) -> Response:
        """Remember what goes out."""
        rows = orders.index
        ordered, order_id = self.ordered_kw.copy(), self.order_id.copy()
        reactive = self.ordered_kvar.copy()
        reactive[rows] = np.nan if orders.q_kvar is None else orders.q_kvar
        asked, expires, answered = self.asked_s.copy(), self.expires_s.copy(), self.answered.copy()
        ordered[rows], order_id[rows] = orders.p_kw, orders.order_id
        awaited = ~answered[rows] & (expires[rows] + _PATIENCE_S > orders.issued_s)
        asked[rows] = np.where(awaited, asked[rows], orders.issued_s)
        expires[rows], answered[rows] = orders.expires_s, False
        return replace(
            self,
            ordered_kw=ordered,
            ordered_kvar=reactive,
            order_id=order_id,
            asked_s=asked,
            expires_s=expires,
            answered=answered,
            next_id=self.next_id + len(rows),
        )


def _level(present: Kw, capability: Capability, image: Image) -> Kw:
    """The order that is nearest to what each does: within its bounds, and a level for on/off devices."""
    lo, hi = capability.p_lo_kw, capability.p_hi_kw
    nearer = np.where(present - lo < hi - present, lo, hi)
    level: Kw = np.where(image.columns["on_off"] == 1, nearer, np.clip(present, lo, hi))
    return level


def _counted(misses: NDArray[np.int16], lost: Mask) -> NDArray[np.int16]:
    """One more order in a row without an answer; beyond the longest rest nobody counts."""
    return np.minimum(misses + lost, _LONGEST_DOUBLING).astype(np.int16)


def _resting(rests_until_s: Seconds, misses: NDArray[np.int16], lost: Mask, now_s: int) -> Seconds:
    """Rest of those that have missed one more, twice as long each time; a longer rest stands."""
    rest_s = np.minimum(_FIRST_REST_S << misses.astype(np.int64), _REST_S)
    return np.where(lost, np.maximum(rests_until_s, now_s + rest_s), rests_until_s)
