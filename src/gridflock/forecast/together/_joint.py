"""Paths of all series at once, hanging together as past days did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast.together._lines import at_scores, scores_of
from gridflock.model import Forecast
from gridflock.units import Kw

Floats = NDArray[np.float64]


def shared_ranks(truth_kw: Kw, quantiles: Floats, forecast_kw: Kw) -> Floats:
    """Where the truth of each past day lay among the others, in its own forecast's terms.

    Args:
        truth_kw: (I, S, T) what happened after I forecasts were made, NaN where unknown.
        quantiles: (Q,) levels.
        forecast_kw: (I, S, Q, T) the forecasts, never crossing.

    Returns:
        (I, S, T) ranks in (0, 1): exactly even over the days of every series and step, so that joint paths
        keep today's quantiles. Unknown truths take the middle rank, ties the order of days.
    """
    score = np.stack(
        [scores_of(t, quantiles, f) for t, f in zip(truth_kw, forecast_kw, strict=True)]
        or [np.empty(truth_kw.shape[1:])]
    )
    known = np.isfinite(score)
    order = np.argsort(np.where(known, score, np.inf), axis=0, kind="stable")
    rank = np.empty(score.shape, dtype=np.float64)
    days = np.arange(len(score), dtype=np.float64)[:, None, None]
    np.put_along_axis(rank, order, np.broadcast_to(days, score.shape).copy(), axis=0)
    return np.where(known, (rank + 0.5) / np.maximum(known.sum(axis=0), 1), 0.5)


def joint(
    forecast: Forecast, ranks: Floats, count: int, seed: int, weight: Floats | None = None
) -> NDArray[np.float32]:
    """Joint paths by Schaake's shuffle: Clark et al., J. Hydrometeorology 5, 2004.

    Each path takes one past day's ranks for all series and steps, so clouds and cold spells that hit all at
    once still do, and reads them off today's quantiles: linear between them in the normal score, tails
    normal. Between neighbouring ranks a path lies anywhere, the same way for all its series. A series whose
    quantiles never change sign keeps it.

    Args:
        forecast: S series over T steps.
        ranks: (I, S, T) from ``shared_ranks``.
        count: how many paths.
        seed: of the draws; the same seed gives the same paths.
        weight: (I,) how much each day is to be like today, >= 0; None for all alike.

    Returns:
        (count, S, T) kW.

    Raises:
        ValueError: ranks of no day, or of other series or steps.
    """
    series, steps = len(forecast.series), forecast.grid.n
    if ranks.ndim != 3 or not len(ranks) or ranks.shape[1:] != (series, steps):
        raise ValueError(f"ranks of shape {ranks.shape} for {series} series over {steps} steps")
    rng = np.random.default_rng(seed)
    day = _days(len(ranks), count, rng, weight)
    within = (rng.random(count) - 0.5) / len(ranks)
    values = np.asarray(forecast.value_kw, dtype=np.float64)
    path = np.empty((count, series, steps), dtype=np.float32)
    for k in range(count):
        rank = np.clip(ranks[day[k]] + within[k], 0.5 / (len(ranks) + 1), 1.0 - 0.5 / (len(ranks) + 1))
        path[k] = at_scores(ndtri(rank), forecast.quantiles, values)
    return path


def _days(of: int, count: int, rng: np.random.Generator, weight: Floats | None) -> NDArray[np.int64]:
    """Days drawn so evenly that each comes as often as its weight says, to less than one."""
    share = np.full(of, 1.0 / of) if weight is None else np.asarray(weight, dtype=np.float64) / np.sum(weight)
    edge = np.cumsum(share)
    place = (np.arange(count) + rng.random()) / count
    day = np.minimum(np.searchsorted(edge, place * edge[-1], side="right"), of - 1)
    return np.asarray(rng.permutation(day), dtype=np.int64)
