"""Who answers: the memory of orders and outcomes that the next tick decides with.

A resource that refused, or did not answer, is taken as fixed at what it does until it is asked
again after a rest; its missing kilowatts are thereby split over the willing in the next tick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.model import BoundSource, Capability, Orders, Outcomes, OutcomeStatus
from gridflock.units import NEVER_S, Kw, Mask, Seconds

_PATIENCE_S = 180
"""An order without an answer for so long counts as unreachable, whatever the adapter says."""
_REST_S = 900
"""A resource that refused or fell silent is asked again after this: never ejected for good."""
_STEP_KW = 0.05
_STEP_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """State of the conversation with every resource, n rows.

    Attributes:
        ordered_kw: (n,) power of the order in force; NaN where none is.
        order_id: int64 (n,) that order; -1 where none.
        asked_s: (n,) since when an answer is awaited.
        expires_s: (n,) when it ends.
        answered: (n,) whether its outcome has come.
        rests_until_s: (n,) not to be asked before this moment.
        next_id: the next free order id.
    """

    ordered_kw: Kw
    order_id: NDArray[np.int64]
    asked_s: Seconds
    expires_s: Seconds
    answered: Mask
    rests_until_s: Seconds
    next_id: int

    @classmethod
    def empty(cls, n: int, next_id: int = 1) -> Response:
        """Nobody has been asked yet."""
        never = np.full(n, NEVER_S, dtype=np.int64)
        return cls(
            np.full(n, np.nan), never, never.copy(), never.copy(), np.ones(n, bool), never.copy(), next_id
        )

    def willing(self, now_s: int) -> Mask:
        """(n,) rows that may be asked now."""
        return self.rests_until_s <= now_s

    def narrowed(self, capability: Capability, image: Image) -> Capability:
        """Capability with resting rows fixed at what they do."""
        resting = ~self.willing(image.now_s)
        present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
        not_ready = np.uint8(BoundSource.NOT_READY)
        return Capability(
            np.where(resting, present, capability.p_lo_kw),
            np.where(resting, present, capability.p_hi_kw),
            np.where(resting, not_ready, capability.lo_source).astype(np.uint8),
            np.where(resting, not_ready, capability.hi_source).astype(np.uint8),
        )

    def expired(self, now_s: int) -> Response:
        """Orders past their end are gone; orders without an answer put their row to rest."""
        silent = ~self.answered & (self.asked_s + _PATIENCE_S <= now_s) & (self.order_id != NEVER_S)
        over = (self.expires_s <= now_s) | silent
        return replace(
            self,
            ordered_kw=np.where(over, np.nan, self.ordered_kw),
            order_id=np.where(over, NEVER_S, self.order_id),
            rests_until_s=np.where(silent, now_s + _REST_S, self.rests_until_s),
        )

    def heard(self, rows: NDArray[np.int64], outcomes: Outcomes, now_s: int) -> Response:
        """Take answers in; ``rows`` are the resources of ``outcomes``, row by row."""
        known = rows >= 0
        rows, status, order_ids = rows[known], outcomes.status[known], outcomes.order_id[known]
        answered = self.answered.copy()
        answered[rows[status != OutcomeStatus.UNREACHABLE]] = True
        rests = self.rests_until_s.copy()
        # An order replaced in the meantime still tells that its device does not answer; only the
        # refusal of one that has been replaced says nothing of the new one.
        refused = (status == OutcomeStatus.REFUSED) & (self.order_id[rows] == order_ids)
        failed = rows[refused | (status == OutcomeStatus.UNREACHABLE)]
        rests[failed] = now_s + _REST_S
        ordered, order_id = self.ordered_kw.copy(), self.order_id.copy()
        ordered[failed] = np.nan
        order_id[failed] = NEVER_S
        return replace(self, answered=answered, rests_until_s=rests, ordered_kw=ordered, order_id=order_id)

    def due(self, target_kw: Kw, now_s: int, renew_s: int) -> Mask:
        """(n,) rows to send to: the target moved, or the order in force ends within ``renew_s``."""
        step = np.maximum(_STEP_KW, _STEP_SHARE * np.abs(np.nan_to_num(self.ordered_kw)))
        moved = ~(np.abs(target_kw - self.ordered_kw) <= step)
        return np.isfinite(target_kw) & self.willing(now_s) & (moved | (self.expires_s - now_s <= renew_s))

    def sent(self, orders: Orders) -> Response:
        """Remember what goes out."""
        rows = orders.index
        ordered, order_id = self.ordered_kw.copy(), self.order_id.copy()
        asked, expires, answered = self.asked_s.copy(), self.expires_s.copy(), self.answered.copy()
        ordered[rows], order_id[rows] = orders.p_kw, orders.order_id
        asked[rows] = np.where(answered[rows], orders.issued_s, asked[rows])
        expires[rows], answered[rows] = orders.expires_s, False
        return replace(
            self,
            ordered_kw=ordered,
            order_id=order_id,
            asked_s=asked,
            expires_s=expires,
            answered=answered,
            next_id=self.next_id + len(rows),
        )
