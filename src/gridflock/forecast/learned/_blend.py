"""Members weighed and widths set right by what recent forecasts missed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._score import crps

Floats = NDArray[np.float64]
_SHARES = 10
_MOST_CELLS = 20_000
_FLOOR = 0.02
"""Least width, of the series' scale, that a shift is measured in."""
_LEAD_H = (12.0, 24.0)
_BANDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """How members become one forecast.

    Attributes:
        weight: (M,) sums to 1.
        shift: (bins, 9) of each quantile, in widths of the 10–90 % band.
    """

    weight: Floats
    shift: Floats

    def apply(self, members: NDArray[np.floating], bins: NDArray[np.int64]) -> Floats:
        """Sorted quantiles (N, 9) of members' (M, N, 9) in bins (N,)."""
        found = np.tensordot(self.weight, members, axes=1)
        found = found + self.shift[bins] * _width(found)
        return np.sort(found, axis=1)


def bins_of(lead_h: Floats, hour: Floats) -> NDArray[np.int64]:
    """Bin (N,) of a lead and a local hour."""
    return np.searchsorted(np.array(_LEAD_H), lead_h) * _BANDS + hour.astype(np.int64) % 24 * _BANDS // 24


N_BINS = (len(_LEAD_H) + 1) * _BANDS


def plain(members: int) -> Blend:
    """Equal weights and no correction."""
    return Blend(np.full(members, 1.0 / members), np.zeros((N_BINS, len(QUANTILES))))


def learn_blend(
    members: NDArray[np.floating],
    truth: Floats,
    bins: NDArray[np.int64],
    day: NDArray[np.int64],
    calm: float,
) -> Blend:
    """Weights and shifts from past forecasts whose truth is known.

    Args:
        members: (M, N, 9) what each member said.
        truth: (N,) what came.
        bins: (N,).
        day: (N,) day of issue: errors of a day count as one piece of evidence.
        calm: days of evidence that equal weights and no shift are worth.
    """
    if not len(truth):
        return plain(len(members))
    weight = _weights(members, truth, len(np.unique(day)), calm)
    found = np.sort(np.tensordot(weight, members, axes=1), axis=1)
    missed = (truth[:, None] - found) / _width(found)
    shift = np.zeros((N_BINS, len(QUANTILES)))
    for b in np.unique(bins):
        rows = bins == b
        own = missed[rows]
        days = len(np.unique(day[rows]))
        shift[b] = [np.quantile(own[:, k], q) for k, q in enumerate(QUANTILES)]
        shift[b] *= days / (days + calm)
    return Blend(weight, shift)


def _weights(members: NDArray[np.floating], truth: Floats, days: int, calm: float) -> Floats:
    """Shares of least CRPS among tenths, drawn towards equal ones."""
    n = len(members)
    if n == 1:
        return np.ones(1)
    every = max(1, len(truth) // _MOST_CELLS)
    few, came = members[:, ::every], truth[::every]
    grid = np.array([c for c in product(range(_SHARES + 1), repeat=n) if sum(c) == _SHARES]) / _SHARES
    losses = [crps(came, np.tensordot(c, few, axes=1)).mean() for c in grid]
    best = grid[int(np.argmin(losses))]
    return np.asarray((days * best + calm / n) / (days + calm))


def _width(quantiles: Floats) -> Floats:
    return np.maximum(quantiles[:, -1:] - quantiles[:, :1], _FLOOR)
