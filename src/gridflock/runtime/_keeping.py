"""Whether who was granted energy keeps to it: what is measured in the interval, beside what was granted.

A device hears of its order, obeys and reports after a while: what it does before that is not counted. From
then on the mean of its readings is held against what was granted; who is off by more than a band over a
quarter of an hour, or a quarter of a shorter interval, is told once, with whether it was ordered otherwise.
So is who was not heard of at all. Who has had its energy may rest. Of who was granted several at once, each
is held against what is measured beyond the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.fleet import Image
from gridflock.model import Entry, Json
from gridflock.runtime._reserved import Granted
from gridflock.runtime._utility_port import KIND
from gridflock.units import HOUR_S, NEVER_S, Kw, iso

WHAT = "reservation not kept"
BAND, LEAST_KW = 0.1, 0.1
"""Part of what was granted, and kW, by which a mean may differ."""
_SETTLED_S = 300
"""Until a device that asks and reports every minute shows what it was told, beside its ``reach_s``."""
_LONG_S = 900
_STALE_S = 300
_MOST_S = 300
"""A longer time between two ticks was not seen."""


@dataclass(frozen=True, slots=True)
class Watched:
    """How a grant was kept to so far.

    Attributes:
        granted: the grant.
        looked_s: when it was looked at last; -1 before the first time in its interval.
        had_kwh: what it was seen to do since its start, injection positive.
        seen_s: for how long it was heard of once it had had the time to obey.
        silent_s: for how long it was not, then.
        did_kwh: what it did then.
        asked_kwh: what it was ordered then.
        told: it was told that it is not kept to.
    """

    granted: Granted
    looked_s: int = NEVER_S
    had_kwh: float = 0.0
    seen_s: int = 0
    silent_s: int = 0
    did_kwh: float = 0.0
    asked_kwh: float = 0.0
    told: bool = False


def watched(
    granted: Sequence[Granted],
    before: Sequence[Watched],
    image: Image,
    row_of: Mapping[str, int],
    ordered_kw: Kw,
) -> tuple[tuple[Watched, ...], list[Entry]]:
    """How grants are kept to after one more tick, and what is to be told of that.

    Args:
        granted: all that are not over.
        before: as of the tick before.
        image: of this tick.
        row_of: fleet rows by name.
        ordered_kw: (n,) power of the order in force; NaN where none is.
    """
    known = {each.granted.id: each for each in before}
    found, entries = [], []
    all_kw = _held_kw(granted, image.now_s)
    for one in granted:
        now = replace(known.pop(one.id, Watched(one)), granted=one)
        row = row_of.get(one.resource, -1)
        if row >= 0 and one.start_s <= image.now_s < one.end_s:
            now = _seen(now, image, row, ordered_kw, all_kw[one.resource] - one.rate_kw)
        if text := _fault(now, image.now_s):
            entries.append(_entry(now, text, image.now_s))
            now = replace(now, told=True)
        found.append(now)
    for was in known.values():  # over, or taken back
        unheard = was.silent_s > 0 and not (was.seen_s or was.told)
        if unheard and was.granted.end_s <= image.now_s:
            entries.append(_entry(was, "nothing was heard of it", image.now_s))
    return tuple(found), entries


def _held_kw(granted: Sequence[Granted], now_s: int) -> Mapping[str, float]:
    """What all grants of each resource come to now, kW."""
    found: dict[str, float] = defaultdict(float)
    for one in granted:
        if one.start_s <= now_s < one.end_s:
            found[one.resource] += one.rate_kw
    return found


def _seen(was: Watched, image: Image, row: int, ordered_kw: Kw, others_kw: float) -> Watched:
    """With what one tick in its interval shows of it, beyond what other grants of its resource come to."""
    one, now_s = was.granted, image.now_s
    lived_s = now_s - was.looked_s if was.looked_s >= 0 else 0
    now, reach_s = replace(was, looked_s=now_s), int(image.columns["reach_s"][row])
    if not 0 < lived_s <= _MOST_S:
        return now
    settled = was.looked_s >= one.start_s + min(reach_s + _SETTLED_S, (one.end_s - one.start_s) // 2)
    if image.heard_s[row] < now_s - _STALE_S - reach_s or not np.isfinite(image.p_kw[row]):
        return replace(now, silent_s=was.silent_s + lived_s) if settled else now
    hours, p_kw = lived_s / HOUR_S, float(image.p_kw[row]) - others_kw
    now = replace(now, had_kwh=was.had_kwh + p_kw * hours)
    if not settled:
        return now
    asked_kw = one.rate_kw if np.isnan(ordered_kw[row]) else float(ordered_kw[row]) - others_kw
    return replace(
        now,
        seen_s=was.seen_s + lived_s,
        did_kwh=was.did_kwh + p_kw * hours,
        asked_kwh=was.asked_kwh + asked_kw * hours,
    )


def _fault(of: Watched, now_s: int) -> str:
    """What is wrong, in words; empty where nothing is, or too little was seen."""
    one = of.granted
    if of.told or of.looked_s != now_s or of.seen_s < max(1, min(_LONG_S, (one.end_s - one.start_s) // 4)):
        return ""
    hours, side = of.seen_s / HOUR_S, float(np.sign(one.p_kw))
    did, asked, due = (side * kw for kw in (of.did_kwh / hours, of.asked_kwh / hours, one.rate_kw))
    had, all_kwh, most = side * of.had_kwh, abs(one.e_kwh), abs(one.p_kw)
    over = did > most + _band(most) or had > all_kwh * (1.0 + BAND) + _band(most) * hours
    short = did < due - _band(due) and had < all_kwh * (1.0 - BAND)
    if not (over or short):
        return ""
    text = f"{side * did:.2f} kW on average where {side * due:.2f} kW are granted"
    return text if abs(asked - due) <= _band(due) else f"{text}; it was ordered {side * asked:.2f} kW"


def _band(kw: float) -> float:
    return max(BAND * kw, LEAST_KW)


def _entry(of: Watched, text: str, now_s: int) -> Entry:
    one = of.granted
    told = f"{one.resource}: {WHAT} ({iso(one.start_s)} to {iso(one.end_s)}): {text}"
    head: dict[str, Json] = {"what": WHAT, "group": one.resource, "reservation": one.id, "text": told}
    return Entry(KIND, now_s, head)
