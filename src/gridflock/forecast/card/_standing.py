"""The last days of each series and method in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.forecast.card._card import Card


@dataclass(frozen=True, slots=True)
class Standing:
    """Marks of one method on one series over the days asked for; NaN without any.

    Attributes:
        series: its id.
        method: its name.
        champion: whether it is believed now.
        days: on which it was marked.
        mae_kw: mean absolute error of the median.
        nmae: the same in shares of the series' mean size.
        pinball_kw: mean pinball loss of the nine quantiles.
        crps_kw: twice that.
        crps_ratio: to the first method's, on days both were marked.
        coverage: share of truths in the 10–90 % band.
    """

    series: str
    method: str
    champion: bool
    days: int
    mae_kw: float
    nmae: float
    pinball_kw: float
    crps_kw: float
    crps_ratio: float
    coverage: float


def standing(card: Card, days: int = 30) -> tuple[Standing, ...]:
    """Every series and method of the card over its last days, in the card's order."""
    found = []
    for s, name in enumerate(card.series):
        for m, method in enumerate(card.methods):
            crps, base = card.crps_kw[m, s, -days:], card.crps_kw[0, s, -days:]
            known = np.isfinite(crps)
            both = known & np.isfinite(base)
            mae, size = _mean(card.mae_kw[m, s, -days:][known]), _mean(card.size_kw[s, -days:][known])
            missed = float(base[both].sum())
            found.append(
                Standing(
                    name,
                    method,
                    bool(card.champion[s] == m),
                    int(known.sum()),
                    mae,
                    mae / size if size > 0 else np.nan,
                    0.5 * _mean(crps[known]),
                    _mean(crps[known]),
                    float(crps[both].sum()) / missed if missed > 0 else np.nan,
                    _mean(card.coverage[m, s, -days:][known]),
                )
            )
    return tuple(found)


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(values.mean()) if len(values) else np.nan
