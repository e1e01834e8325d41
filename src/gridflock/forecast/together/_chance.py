"""How likely a limit breaks, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Kw, Seconds, TimeGrid

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Beyond:
    """Chance of S limits to be broken within a horizon of T steps, over joint paths.

    Attributes:
        chance: (S,) share of paths that break it at any step.
        by_step: (S, T) share that breaks it in each step.
        from_s: (S,) earliest step in which at least half of the breaking paths have broken it; -1 where none
            does.
        relief_kw: (S,) what would keep nine in ten of all paths inside: how far the worst of each goes
            beyond, its 0.9 quantile; 0 where that is inside already.
    """

    chance: Floats
    by_step: Floats
    from_s: Seconds
    relief_kw: Kw


def chance_beyond(paths_kw: Kw, limit_kw: Kw, grid: TimeGrid) -> Beyond:
    """Compare joint paths (K, S, T) with upper limits.

    Args:
        paths_kw: values whose excess counts, e.g. a transformer's import.
        limit_kw: (S,) or (S, T); inf for none.
        grid: the T steps.

    Raises:
        ValueError: no path, or a limit that is not a number.
    """
    if not len(paths_kw) or np.isnan(limit_kw).any():
        raise ValueError("a chance needs paths, and limits that are numbers")
    limit = limit_kw[:, None] if limit_kw.ndim == 1 else limit_kw
    beyond = np.asarray(paths_kw, dtype=np.float64) - limit
    broken = beyond > 0
    ever = np.logical_or.accumulate(broken, axis=2)
    chance = ever[:, :, -1].mean(axis=0) if grid.n else np.zeros(broken.shape[1])
    met = ever.mean(axis=0) >= 0.5 * np.maximum(chance, 1e-12)[:, None]
    first = np.where(chance > 0, grid.starts_s[met.argmax(axis=1)] if grid.n else -1, -1)
    worst = np.quantile(beyond.max(axis=2, initial=-np.inf), 0.9, axis=0, method="higher")
    return Beyond(chance, broken.mean(axis=0), first.astype(np.int64), np.maximum(worst, 0.0))
