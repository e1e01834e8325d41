"""How far a correlation matrix seen in few errors is believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MOST_COMMON = 0.99
_NOTHING = 1e-12
"""Mean square distance from the common correlation that is rounding."""


def standard(error: Floats) -> Floats:
    """Errors (N, M) scaled to a mean square of 1; unknown ones are 0, and so are rows without any error.

    They are not centred: what a forecast always misses is doubt in it like any other.
    """
    known = np.isfinite(error)
    filled = np.where(known, error, 0.0)
    usual = np.sqrt((filled**2).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1))
    scaled: Floats = np.divide(filled, usual, out=np.zeros_like(filled), where=usual > 0)
    return scaled


@dataclass(frozen=True, slots=True)
class Belief:
    """How far correlations seen in few errors are believed.

    Attributes:
        doubt: share λ in [0, 1] by which each is drawn to the common one.
        common: the common correlation, their mean; from 0 on.
    """

    doubt: float
    common: float


def shrunk(score: Floats, steps: int = 1) -> Belief:
    """Shrinkage to a common correlation: Ledoit and Wolf, J. Portfolio Management 30 (4), 2004.

    Sums of many members keep what they were seen to miss, which they lose where correlations are drawn to 0.
    The share is Schäfer and Strimmer's (SAGMB 4, 2005, target F): how uncertain correlations beside their
    mean are, over how far they lie from it. Uncertainty is how they differ from block to block: errors of
    one forecast's steps are one bad day, not many. The sums over all pairs of N rows are taken over products
    of columns, so that a million rows cost no more than their reading.

    Args:
        score: (N, M) standardised errors, one column a joint observation.
        steps: how many successive columns make a block; M is a multiple of it.

    Returns:
        A doubt of 1 where nothing lies beside the mean; no belief at all with fewer than three blocks.
    """
    n, m = score.shape
    blocks = m // steps
    if blocks < 3 or n < 2:
        return Belief(1.0, 0.0)
    pairs = n * (n - 1)
    whole = float(((score.T @ score) ** 2).sum()) / m**2 - float((((score**2).sum(axis=1) / m) ** 2).sum())
    apart, likeness = 0.0, np.empty(blocks)
    for k in range(blocks):
        own = score[:, k * steps : (k + 1) * steps]
        square = (own**2).sum(axis=1) / steps
        apart += float(((own.T @ own) ** 2).sum()) / steps**2 - float((square**2).sum())
        likeness[k] = (float((own.sum(axis=0) ** 2).sum()) / steps - float(square.sum())) / pairs
    common = float(likeness.mean())
    variance = (apart - blocks * whole) / (blocks * (blocks - 1))
    variance -= pairs * float(likeness.var(ddof=1)) / blocks
    beside = whole - pairs * common**2
    doubt = 1.0 if beside <= _NOTHING * pairs else float(np.clip(variance / beside, 0.0, 1.0))
    return Belief(doubt, float(np.clip(common, 0.0, _MOST_COMMON)))
