"""How good a forecast was, once the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._calendar import ratio
from gridflock.forecast._residual import QUANTILES
from gridflock.model import Forecast, History

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Errors of each series (S,) over the steps whose truth is known; NaN where none is.

    Attributes:
        mae_kw: mean absolute error of the median.
        pinball_kw: mean pinball loss over the quantiles; twice it is close to the CRPS.
        coverage: share of truths inside the 10–90 % band.
    """

    mae_kw: Floats
    pinball_kw: Floats
    coverage: Floats


def score(history: History, forecast: Forecast) -> Score:
    """Compare a forecast with what happened, series by series, steps weighted by their length.

    Raises:
        KeyError: a forecast series that the history does not hold.
    """
    places = {name: k for k, name in enumerate(history.series)}
    truth = _means(history, forecast)[[places[name] for name in forecast.series]]
    known = np.isfinite(truth)
    weight = known * forecast.grid.hours
    miss = np.where(known[:, None], truth[:, None] - forecast.value_kw, 0.0)
    level = forecast.quantiles[:, None]
    pinball = np.maximum(level * miss, (level - 1.0) * miss).mean(axis=1)
    middle = int(np.argmin(np.abs(forecast.quantiles - 0.5)))
    within = (miss[:, 0] >= 0) & (miss[:, -1] <= 0)
    return Score(*(_mean(values, weight) for values in (np.abs(miss[:, middle]), pinball, within)))


def crps(truth: Floats, quantiles: NDArray[Any]) -> Floats:
    """Twice the mean pinball loss over nine quantiles: close to the continuous ranked probability score.

    Args:
        truth: (...), NaN where unknown.
        quantiles: (..., 9) for 0.1 to 0.9.

    Returns:
        (...) in the truth's unit; NaN where it is unknown.
    """
    miss = truth[..., None] - quantiles
    return np.asarray(2.0 * np.maximum(QUANTILES * miss, (QUANTILES - 1.0) * miss).mean(axis=-1))


def inside(truth: Floats, quantiles: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether truth (...) lies in the 10–90 % band of nine quantiles (..., 9), edges included."""
    return np.asarray((truth >= quantiles[..., 0]) & (truth <= quantiles[..., -1]))


def _mean(values: NDArray[Any], weight: Floats) -> Floats:
    return ratio((values * weight).sum(axis=1), weight.sum(axis=1))


def _means(history: History, forecast: Forecast) -> Floats:
    """Mean of each history series (S, T) over the forecast's steps; NaN where any part is unknown."""
    edges, wanted = history.grid.edges_s, forecast.grid.edges_s
    overlap = np.minimum(edges[1:, None], wanted[None, 1:]) - np.maximum(edges[:-1, None], wanted[None, :-1])
    overlap = np.maximum(overlap, 0)
    known = np.isfinite(history.value_kw)
    total = np.where(known, history.value_kw, 0.0) @ overlap
    whole = known.astype(np.float64) @ overlap == np.diff(wanted)
    return np.where(whole, total / np.diff(wanted), np.nan)
