"""Alarms: one event per cause when it begins and when it ends, never one per node or device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridflock.grid import LimitKind, Violations
from gridflock.model import Entry, Json

FULL = "record full"
"""Cause of the alarm that ends a time of which the ledger has nothing."""
STANDING = "measurements stand still"
MISSED = "ticks missed"
_LONG_S = 60
"""So long without a tick beyond the usual is told."""


def missed(now_s: int, before_s: int, tick_s: int) -> tuple[str, ...]:
    """Ticks that were due since the last one, 0 for none, where they come to a minute."""
    away_s = now_s - before_s - tick_s
    return (f"{MISSED}: {away_s} s without one",) if before_s and away_s >= _LONG_S else ()


def begun_and_over(
    told: tuple[frozenset[str], frozenset[str]], broken: Violations, troubles: Sequence[str], now_s: int
) -> tuple[list[Entry], tuple[frozenset[str], frozenset[str]]]:
    """Alarms for what begins and what is over, and what is told of now.

    Args:
        told: causes of broken limits and of troubles that were told of before.
        broken: limits broken in the estimate.
        troubles: what is wrong else, in words that begin with their cause and a colon.
        now_s: the moment.
    """
    counts = causes(broken)
    limits = {cause: f"{cause}: {count}" for cause, count in counts.items()}
    others = {text.partition(":")[0]: text for text in troubles}
    entries = [*_changes(told[0], limits, counts, now_s), *_changes(told[1], others, {}, now_s)]
    return entries, (frozenset(limits), frozenset(others))


def causes(broken: Violations) -> dict[str, int]:
    """Broken limits by cause, in words."""
    codes, counts = np.unique(broken.kind, return_counts=True)
    return {
        LimitKind(int(code)).name.lower().replace("_", " "): int(count)
        for code, count in zip(codes, counts, strict=True)
    }


def _changes(
    told: frozenset[str], texts: Mapping[str, str], counts: Mapping[str, int], now_s: int
) -> list[Entry]:
    """Alarms for causes that begin, and for those told of before that are over."""
    entries = []
    for cause in sorted(texts.keys() - told):
        head: dict[str, Json] = {"cause": cause, "state": "begins", "text": texts[cause]}
        if cause in counts:
            head["count"] = counts[cause]
        entries.append(Entry("alarm", now_s, head))
    entries += [
        Entry("alarm", now_s, {"cause": cause, "state": "ends", "text": f"{cause}: over"})
        for cause in sorted(told - texts.keys())
    ]
    return entries
