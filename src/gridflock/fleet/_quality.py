"""How far the readings themselves can be trusted: their age, the device's clock, values that stand still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._ingest import REPEATED, TRUST_BITS, Hot
from gridflock.schema import QUANTITY
from gridflock.units import NEVER_S, Codes, Mask, Rows, Seconds

STANDING = 12
"""So many newer readings of one value are a standstill, where others move."""
MOVING_SHARE = 0.5
"""Share of a resource's peers that must move before its own standstill means anything."""
FEWEST_PEERS = 4
"""Among fewer peers a standstill is not judged."""
_BY_OWN_POWER = QUANTITY["e_kwh"]


@dataclass(frozen=True, slots=True, eq=False)
class ReadingQuality:
    """What the readings' arrival says of each resource; n rows, read-only.

    Unlike the values, which do not depend on it, the counts follow the order in which readings came.

    Attributes:
        age_s: int64, since the newest reading of any quantity, by the device's clock; -1 = never heard.
        lag_s: int64, how far that reading lay behind our clock when it came; negative where it lay
            ahead, as far as is taken in; 0 where never heard.
        behind: uint16, how many times in a row the newest reading came hours late, once per moment of
            ours: few after an outage, whose readings are sent afterwards; many where a clock is slow.
        ahead: uint16, readings refused so far because they lay in the future: a clock that jumped.
        late: uint16, readings refused as late or repeated since the newest one: where ``age_s`` grows too,
            a clock that was set back, or somebody who sends the same again and again.
        standing: uint8, bit ``1 << schema.QUANTITY`` of each quantity of ``REPEATED`` that stands still
            while most peers of the same kind and feeder move.
    """

    age_s: Seconds
    lag_s: Seconds
    behind: NDArray[np.uint16]
    ahead: NDArray[np.uint16]
    late: NDArray[np.uint16]
    standing: Codes


def reading_quality(
    hot: Hot, peer: Rows, now_s: int, standing: int = STANDING, stale_s: int | None = None
) -> ReadingQuality:
    """Judge the hot state of a fleet.

    Args:
        hot: the state, n resources.
        peer: (n,) number of the peer group, at least 0: resources in it ought to move alike.
        now_s: our clock, unix seconds.
        standing: so many repetitions are a standstill, 1 to 255.
        stale_s: cells older than this are neither standing nor moving; None = however old.
    """
    age = np.where(hot.heard_s == NEVER_S, NEVER_S, now_s - hot.heard_s)
    bits = np.zeros(len(peer), dtype=np.uint8)
    for code in range(len(REPEATED)):
        known = hot.keys[code] != NEVER_S
        if stale_s is not None:
            known &= now_s - (hot.keys[code] >> TRUST_BITS) <= stale_s
        stands = known & (hot.same[code] >= standing)
        if stands.any():
            found = stands & _restless(hot, code) & _moving(peer, known, known & ~stands)
            bits |= found.astype(np.uint8) << np.uint8(code)
    columns = (age, hot.lag_s.astype(np.int64), hot.behind.copy(), hot.ahead.copy(), hot.late.copy(), bits)
    for column in columns:
        column.flags.writeable = False
    return ReadingQuality(*columns)


def _restless(hot: Hot, code: int) -> Mask:
    """Where a value ought to move at all: a device at rest repeats its zero, a resting store its content."""
    by = hot.cells[QUANTITY["p_kw"] if code == _BY_OWN_POWER else code]
    moving: Mask = (by != 0.0) & ~np.isnan(by)
    return moving


def _moving(peer: Rows, known: Mask, moves: Mask) -> Mask:
    """Rows most of whose peers with a value move."""
    groups = int(peer.max()) + 1
    present = np.bincount(peer[known], minlength=groups)
    movers = np.bincount(peer[moves], minlength=groups)
    lively: Mask = ((present >= FEWEST_PEERS) & (movers >= MOVING_SHARE * present))[peer]
    return lively
