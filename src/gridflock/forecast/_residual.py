"""Tables of past errors: how far the truth has been from such a forecast before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

QUANTILES = np.round(np.arange(0.1, 0.95, 0.1), 1)
_PRIOR_COUNT = 6.0
"""How many errors the prior is worth."""


@dataclass(frozen=True, slots=True, eq=False)
class ResidualTable:
    """Error quantiles by series, band and level (below or above the band's mean forecast).

    Attributes:
        level: (S, B) border between low and high forecasts.
        error: (S, B, 2, Q).
    """

    level: Floats
    error: Floats

    def look_up(self, band: NDArray[np.int64], forecast: Floats) -> Floats:
        """Error quantiles (S, F, Q) of forecasts (S, F) in bands (F,)."""
        series = np.arange(len(self.level))[:, None]
        high = (forecast > self.level[:, band]).astype(np.int64)
        return self.error[series, band[None, :], high]


def believed(error: Floats, widest: Floats) -> Floats:
    """Spread (S,) to believe of a bin without errors of its own.

    The root mean square of all errors (S, D, N), once there are days of them; ``widest`` (S,)
    before.
    """
    known = np.isfinite(error)
    count = known.sum(axis=(1, 2))
    square = (np.where(known, error, 0.0) ** 2).sum(axis=(1, 2))
    share = (days := count / error.shape[2]) ** 2 / (1.0 + days**2)
    return np.asarray(share * np.sqrt(square / np.maximum(count, 1)) + (1.0 - share) * widest)


def learn(error: Floats, forecast: Floats, prior: Floats) -> ResidualTable:
    """Quantiles of past errors, drawn towards a normal distribution where few are known.

    Args:
        error: (S, B, M) truth less forecast, NaN where unknown.
        forecast: (S, B, M) the forecasts.
        prior: (S,) standard deviation to believe without any error seen.
    """
    known = np.isfinite(error)
    count = known.sum(axis=2)
    total = np.where(known, forecast, 0.0).sum(axis=2)
    level = np.divide(total, count, out=np.zeros(total.shape), where=count > 0)
    high = forecast > level[:, :, None]
    sides = np.stack([known & ~high, known & high], axis=2)
    ranked = np.sort(np.where(sides, error[:, :, None], np.inf).astype(np.float32), axis=3)
    n = sides.sum(axis=3)[..., None]
    place = QUANTILES * np.maximum(n - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(n - 1, 0))
    low, up = (np.where(n > 0, np.take_along_axis(ranked, k, axis=3), 0.0) for k in (below, above))
    seen = low + (place - below) * (up - low)
    believed = prior[:, None, None, None] * ndtri(QUANTILES)
    return ResidualTable(level, (n * seen + _PRIOR_COUNT * believed) / (n + _PRIOR_COUNT))
