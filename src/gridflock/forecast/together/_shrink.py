"""How far a correlation matrix seen in few errors is believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def standard(error: Floats) -> Floats:
    """Errors (N, M) scaled to a mean square of 1; unknown ones are 0, and so are rows without any error.

    They are not centred: what a forecast always misses is doubt in it like any other.
    """
    known = np.isfinite(error)
    filled = np.where(known, error, 0.0)
    usual = np.sqrt((filled**2).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1))
    scaled: Floats = np.divide(filled, usual, out=np.zeros_like(filled), where=usual > 0)
    return scaled


def shrunk(score: Floats, independent: int | None = None) -> float:
    """Share λ in [0, 1] by which correlations are drawn to 0: Schäfer and Strimmer, SAGMB 4, 2005, table 1 D.

    The sums over all pairs of N rows are taken over M×M products, so that a million rows cost no more than
    their reading.

    Args:
        score: (N, M) standardised errors, one column a joint observation.
        independent: how many of the observations are independent of each other: errors of one day's steps
            are one bad day, not many. None: all.

    Returns:
        λ; 1 with fewer than three observations or nothing that correlates.
    """
    n, m = score.shape
    many = m if independent is None else min(m, independent)
    if many < 3 or n < 2:
        return 1.0
    gram = score.T @ score
    own = (score**2).sum(axis=1) / m
    squares = float((gram**2).sum()) / m**2 - float((own**2).sum())
    fourth = float(((score**2).sum(axis=0) ** 2).sum() - (score**4).sum())
    # Σ_pairs Var(r) with r = mean of the products z_i·z_j over so many independent observations.
    variance = (fourth / m - squares) / (many - 1)
    return 1.0 if squares <= 0 else float(np.clip(variance / squares, 0.0, 1.0))
