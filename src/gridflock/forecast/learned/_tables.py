"""Residual tables: what has been missed by such a forecast at such a time of day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES

Floats = NDArray[np.float64]
_BANDS, _LEVELS = 8, 3
_CALM = 60.0
"""Errors that a bin needs before it counts as much as those above it."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Quantiles of errors by time of day and predicted level.

    Attributes:
        border: (8, 2) levels between the lower, middle and upper third of forecasts of a time of day.
        error: (8, 3, 9).
    """

    border: Floats
    error: Floats

    def quantiles(self, point: Floats, hour: Floats) -> Floats:
        """Nine quantiles (N, 9) around point forecasts (N,) at local hours (N,)."""
        band = _band(hour)
        third = (point[:, None] > self.border[band]).sum(axis=1)
        return np.asarray(point[:, None] + self.error[band, third])


def learn_table(point: Floats, error: Floats, hour: Floats) -> Table:
    """Quantiles of errors (N,), bins of few drawn towards their time of day's, that towards all."""
    whole = _quantiles(error, np.zeros(len(QUANTILES)))
    band = _band(hour)
    border, found = np.zeros((_BANDS, _LEVELS - 1)), np.empty((_BANDS, _LEVELS, len(QUANTILES)))
    for b in range(_BANDS):
        rows = band == b
        own = _quantiles(error[rows], whole)
        if rows.any():
            border[b] = np.quantile(point[rows], [1 / 3, 2 / 3])
        third = (point[:, None] > border[band]).sum(axis=1)
        for k in range(_LEVELS):
            found[b, k] = _quantiles(error[rows & (third == k)], own)
    return Table(border, found)


def _quantiles(error: Floats, prior: Floats) -> Floats:
    if not len(error):
        return prior
    n = len(error)
    return np.asarray((n * np.quantile(error, QUANTILES) + _CALM * prior) / (n + _CALM))


def _band(hour: Floats) -> NDArray[np.int64]:
    return hour.astype(np.int64) % 24 * _BANDS // 24
