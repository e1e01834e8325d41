"""Series whose forecasts no longer hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.card._card import Card

WORSE = 1.1
"""Ratio of a champion's misses to the first method's from which the world has changed."""
_FEWEST, _MOST = 0.65, 0.95
"""Share of truths in the 10–90 % band that two weeks of days leave possible."""
_NO_ERROR = 1e-3
"""Share of a series' size that counts as rounding."""
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
    rounding = _rounding(card)
    for s, name in enumerate(card.series):
        m = int(card.champion[s])
        method = card.methods[m]
        if len(card.days_s) >= _DAYS:
            ours, base = card.crps_kw[m, s, -_DAYS:], card.crps_kw[0, s, -_DAYS:]
            since_s = int(card.days_s[-_DAYS])
            both = np.isfinite(ours) & np.isfinite(base)
            if not np.isfinite(ours).any():
                found.append(Alarm(name, "unmarked", method, float(_DAYS), since_s))
            elif both.any():
                least = max(base[both].sum(), rounding[s])
                if ours[both].sum() > WORSE * least:
                    found.append(Alarm(name, "worse", method, float(ours[both].sum() / least), since_s))
        if len(card.days_s) >= _COVER_DAYS and np.isfinite(card.coverage[m, s, -_COVER_DAYS:]).any():
            share = float(np.nanmean(card.coverage[m, s, -_COVER_DAYS:]))
            since_s = int(card.days_s[-_COVER_DAYS])
            if share < _FEWEST:
                found.append(Alarm(name, "narrow", method, share, since_s))
            elif share > _MOST and np.nanmean(card.mae_kw[m, s, -_COVER_DAYS:]) > 0:
                found.append(Alarm(name, "wide", method, share, since_s))
    return tuple(found)


def _rounding(card: Card) -> NDArray[np.float64]:
    """What is no error in a week beside a series' own size (S,), in its unit, whatever that is.

    Its size is the mean of the days on the card: a week of nothing does not make it small. One that was 0 on
    all of them is measured by what is usual among the others; where all were, nothing is too much.
    """
    known = np.isfinite(card.size_kw)
    total = np.where(known, card.size_kw, 0.0).sum(axis=1)
    size = np.divide(total, known.sum(axis=1), out=np.zeros_like(total), where=total > 0)
    others = float(np.median(size[size > 0])) if (size > 0).any() else np.inf
    return _DAYS * _NO_ERROR * np.where(size > 0, size, others)
