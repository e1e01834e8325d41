"""How far a correlation matrix seen in few errors is believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def standard(error: Floats) -> Floats:
    """Errors (N, M) centred and scaled to variance 1; unknown ones and those of constant rows are 0."""
    known = np.isfinite(error)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, error, 0.0)
    centred = np.where(known, filled - filled.sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    # What is left of rounding in a constant row is not a spread.
    some = spread > 1e-12 * np.abs(filled).max(axis=1, initial=0.0)[:, None]
    scaled: Floats = np.divide(centred, spread, out=np.zeros_like(centred), where=some)
    return scaled


def shrunk(score: Floats) -> float:
    """Share λ in [0, 1] by which correlations are drawn to 0: Schäfer and Strimmer, SAGMB 4, 2005, table 1 D.

    The sums over all pairs of N rows are taken over M×M products, so that a million rows cost no more than
    their reading.

    Args:
        score: (N, M) standardised errors, one column a joint observation.

    Returns:
        λ; 1 with fewer than three observations or nothing that correlates.
    """
    n, m = score.shape
    if m < 3 or n < 2:
        return 1.0
    gram = score.T @ score
    own = (score**2).sum(axis=1) / m
    squares = float((gram**2).sum()) / m**2 - float((own**2).sum())
    fourth = float(((score**2).sum(axis=0) ** 2).sum() - (score**4).sum())
    # Σ_pairs Var(r) with r = mean of the products z_i·z_j, unbiased over m observations.
    variance = (fourth / m - squares) / (m - 1)
    return 1.0 if squares <= 0 else float(np.clip(variance / squares, 0.0, 1.0))
