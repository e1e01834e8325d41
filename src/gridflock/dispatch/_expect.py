"""What orders are likely to bring, and how much to order so that it is enough.

A device that is asked for a change brings it with the probability that its past tells. What is
measured counts as it is: expectation only fills the time between an order and the reading that shows
what came of it, so that over-ordering goes back as answers come in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch._delivered import believed_kw
from gridflock.dispatch._response import Response
from gridflock.fleet import Image, Split
from gridflock.fleet._health import Health
from gridflock.model import Capability, Priority
from gridflock.units import NEVER_S, Kw, Mask, Rows

_PROMISED = 0.9
"""Events are promises: so probable it shall be that at least what was asked is delivered."""
_ROUNDS = 4
_LEAST_SLOPE = 0.25
_NOTHING_KW = 1e-9
_TOLERANCE_KW = 0.05
_TOLERANCE_SHARE = 0.003


@dataclass(frozen=True, slots=True, eq=False)
class Odds:
    """How likely each row brings what it is asked for, n rows.

    Attributes:
        present_kw: what each does, as far as one can tell.
        standing_kw: the order in force; what each does where none is.
        likely: probability that a new change is followed.
        left: probability that the rest of the order in force still comes.
        fresh: whose newest reading is older than its order: nothing can have come yet.
        health: what the probabilities come from.
        now_s: this moment.
    """

    present_kw: Kw
    standing_kw: Kw
    likely: NDArray[np.float64]
    left: NDArray[np.float64]
    fresh: Mask
    health: Health
    now_s: int

    @classmethod
    def of(cls, response: Response, image: Image) -> Odds | None:
        """The odds of this moment; None where nothing is learnt of who responds.

        The longer a device had for a change by its newest reading without having made it, the less
        likely it still will: by Bayes, with as many late answers as there is settling time left.
        """
        if response.health is None:
            return None
        health = Health.of(response.health)
        patience, now_s = response.patience, image.now_s
        likely = health.probability(now_s)
        quiet = (response.since_s != NEVER_S) & image.silent(patience.quiet_s)
        present = believed_kw(image, quiet)
        standing = np.where(np.isfinite(response.ordered_kw) & ~quiet, response.ordered_kw, present)
        settles_s = np.maximum(patience.settle_s + response.reach_s, 1)
        late = 1.0 - (image.heard_s - response.since_s) / settles_s
        late = np.where(response.judged, 0.0, np.clip(late, 0.0, 1.0))
        left = late * likely / (late * likely + 1.0 - likely)
        return cls(present, standing, likely, left, late >= 1.0, health, now_s)

    def expected_kw(self, rows: Rows, ordered_kw: Kw, sure: Mask) -> tuple[float, float]:
        """Mean sums of some rows after orders: if nothing under way comes any more, and as it is likely.

        What lies between what a row does and its order in force was asked of it before, and comes with
        the probability that is left; what lies beyond both is new.

        Args:
            rows: (m,) resources.
            ordered_kw: (m,) what each is ordered.
            sure: (m,) who has no choice but to do that.
        """
        present, standing = self.present_kw[rows], self.standing_kw[rows]
        asked = np.clip(ordered_kw, np.minimum(present, standing), np.maximum(present, standing))
        least = np.where(sure, ordered_kw, present + self.likely[rows] * (ordered_kw - asked))
        under_way = np.where(sure, 0.0, self.left[rows] * (asked - present))
        before = float(least.sum())
        # Of what has been ordered just now nothing can have come yet.
        fresh = float(under_way[self.fresh[rows]].sum())
        return before + fresh, before + float(under_way.sum())

    def margin_kw(self, rows: Rows, ordered_kw: Kw, sure: Mask, confidence: float) -> float:
        """By how much less than its mean the change may be, of its sign, at a confidence."""
        change = np.where(sure, 0.0, ordered_kw - self.present_kw[rows])
        open_ = (self.left[rows] > 0.0) | (np.abs(ordered_kw - self.standing_kw[rows]) > _TOLERANCE_KW)
        asked = np.flatnonzero(open_ & (np.abs(change) > _TOLERANCE_KW))
        if len(asked) == 0:
            return 0.0
        bring = self.health.delivery(rows[asked], change[asked], self.now_s, confidence)
        return bring.expected_kw - bring.promised_kw

    def largest_kw(self, rows: Rows, ordered_kw: Kw, sure: Mask) -> float:
        """The largest change that one row is newly asked for."""
        if len(rows) == 0:
            return 0.0
        start = np.where(self.fresh[rows], self.present_kw[rows], self.standing_kw[rows])
        return float(np.where(sure, 0.0, np.abs(ordered_kw - start)).max())


def confidence_of(priority: Priority) -> float:
    """Probability with which a want shall be met: an even chance, and more for what is promised."""
    return _PROMISED if priority is Priority.EVENT else 0.5


def enough(
    asked_kw: float,
    rows: Rows,
    share_of: Callable[[float], Split],
    odds: Odds,
    able: Capability,
    confidence: float,
    within: tuple[float, float],
) -> tuple[Split, float, float]:
    """Order so much that what is expected meets what was asked.

    Orders stand as long as the sum may still come out right: what is under way is neither ordered a
    second time nor given back before it has had its time.

    Args:
        asked_kw: wanted sum of the rows.
        rows: (m,) resources.
        share_of: the split of a sum.
        odds: how likely each brings what it is asked for.
        able: (n,) what the rows can do.
        confidence: probability with which the sum shall be met.
        within: least and most that may be ordered, whatever is expected.

    Returns:
        The split to order, of which sum it is, and the mean of what it brings.
    """
    sure = able.p_lo_kw[rows] == able.p_hi_kw[rows]
    slope = max(float(odds.likely[rows[~sure]].mean()), _LEAST_SLOPE) if not sure.all() else 1.0
    wanted, best = float(odds.standing_kw[rows].sum()), (np.inf, Split(np.zeros(0), 0.0, {}), 0.0, 0.0)
    for rounds in range(_ROUNDS):
        wanted = min(max(wanted, within[0]), within[1])
        share = share_of(wanted)
        least, likely = odds.expected_kw(rows, share.p_kw, sure)
        margin = odds.margin_kw(rows, share.p_kw, sure, confidence) if confidence > 0.5 else 0.0
        nearest = min(max(asked_kw, min(least, likely) - margin), max(least, likely) - margin)
        gap = asked_kw - nearest
        if rounds and confidence <= 0.5 and abs(gap) <= 0.5 * odds.largest_kw(rows, share.p_kw, sure):
            # Nobody responds by halves: less than half a device is as likely too much as too little.
            return share, wanted, likely
        size = max(abs(asked_kw), float(np.abs(share.p_kw).sum()))
        if abs(gap) >= best[0] - _TOLERANCE_KW:
            break
        best = abs(gap), share, wanted, likely
        # Where nobody has more to give, asking for more gives nothing.
        if abs(gap) <= max(_TOLERANCE_KW, _TOLERANCE_SHARE * size) or share.shortfall_kw * gap > 0:
            break
        wanted += gap / slope if rounds else gap
    return best[1:]


def beyond_of(share: Split, asked_kw: float, wanted_kw: float) -> tuple[dict[str, float], float]:
    """What is missing of what was asked, by cause, and by how much more is ordered for expected losses.

    Args:
        share: the split of ``wanted_kw``.
        asked_kw: sum that was asked.
        wanted_kw: sum that was split, for what is expected to be lost.
    """
    over, short = wanted_kw - asked_kw, share.shortfall_kw
    both = min(abs(short), abs(over)) if short * over > 0 else 0.0
    left = 1.0 - both / abs(short) if both else 1.0
    causes = {name: kw * left for name, kw in share.causes.items() if abs(kw * left) > _NOTHING_KW}
    return causes, over - float(np.copysign(both, over))
