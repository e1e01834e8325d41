"""Series whose forecasts no longer hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridflock.forecast.card._card import Card

WORSE = 1.1
"""Ratio of a champion's misses to the first method's from which the world has changed."""
_FEWEST, _MOST = 0.65, 0.95
"""Share of truths in the 10–90 % band that two weeks of days leave possible."""
_DAYS = 7
_COVER_DAYS = 14


@dataclass(frozen=True, slots=True)
class Alarm:
    """One series that needs a look.

    Attributes:
        series: its id.
        rule: ``worse``: the champion misses more than the method that is always there; ``narrow`` and
            ``wide``: its band holds too few or too many truths; ``unmarked``: nothing could be scored.
        method: whose forecast.
        value: the ratio, the share, or the days without a mark.
        since_s: first day of those it was seen on.
    """

    series: str
    rule: Literal["worse", "narrow", "wide", "unmarked"]
    method: str
    value: float
    since_s: int


def alarms(card: Card) -> tuple[Alarm, ...]:
    """What the last week (bands: the last two) tells, series by series; nothing from fewer days."""
    found: list[Alarm] = []
    for s, name in enumerate(card.series):
        m = int(card.champion[s])
        method = card.methods[m]
        if len(card.days_s) >= _DAYS:
            ours, base = card.crps_kw[m, s, -_DAYS:], card.crps_kw[0, s, -_DAYS:]
            since_s = int(card.days_s[-_DAYS])
            both = np.isfinite(ours) & np.isfinite(base)
            if not np.isfinite(ours).any():
                found.append(Alarm(name, "unmarked", method, float(_DAYS), since_s))
            elif both.any() and ours[both].sum() > WORSE * max(base[both].sum(), _rounding(card, s)):
                ratio = float(ours[both].sum() / max(base[both].sum(), _rounding(card, s)))
                found.append(Alarm(name, "worse", method, ratio, since_s))
        if len(card.days_s) >= _COVER_DAYS and np.isfinite(card.coverage[m, s, -_COVER_DAYS:]).any():
            share = float(np.nanmean(card.coverage[m, s, -_COVER_DAYS:]))
            since_s = int(card.days_s[-_COVER_DAYS])
            if share < _FEWEST:
                found.append(Alarm(name, "narrow", method, share, since_s))
            elif share > _MOST and np.nanmean(card.mae_kw[m, s, -_COVER_DAYS:]) > 0:
                found.append(Alarm(name, "wide", method, share, since_s))
    return tuple(found)


def _rounding(card: Card, s: int) -> float:
    """What is no error beside a series' own size; a watt beside one that is always 0."""
    size = card.size_kw[s, -_DAYS:]
    known = size[np.isfinite(size)]
    return _DAYS * max(1e-3 * float(known.mean()) if len(known) else 0.0, 1e-3)
