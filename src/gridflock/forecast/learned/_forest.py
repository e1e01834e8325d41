"""A forest for whole distributions: trees share out rows, quantiles are read from those a row falls among.

One forest gives all quantiles (Meinshausen, "Quantile regression forests", 2006). Trees are grown by
LightGBM on draws of rows and, at each split, of columns; each leaf keeps how its rows' targets were spread
over a grid, so that asking takes no training rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast.learned._settings import Settings

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

_BINS = 96
_EDGE = 0.001
"""Share of targets beyond each end of the grid: they count as at its end."""
_CHUNK = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A grown forest.

    Attributes:
        model: trees as LightGBM's text.
        booster: the same, loaded.
        grid: (B,) values, ascending.
        first: (T,) row of ``spread`` that each tree's leaf 0 is.
        spread: (leaves of all trees, B) share of each leaf's weight at each value; rows sum to 1.
    """

    model: str
    booster: Any
    grid: Floats
    first: NDArray[np.int64]
    spread: Matrix

    def predict(self, x: Matrix) -> Floats:
        """Nine quantiles (N, 9) of rows (N, F)."""
        parts = [self._quantiles(x[k : k + _CHUNK]) for k in range(0, len(x), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, len(QUANTILES)))

    def _quantiles(self, x: Matrix) -> Floats:
        leaf = _leaves(self.booster, x) + self.first
        share = np.zeros((len(x), len(self.grid)), dtype=np.float32)
        for tree in range(leaf.shape[1]):
            share += self.spread[leaf[:, tree]]
        below = np.cumsum(share, axis=1, dtype=np.float64)
        below /= below[:, -1:]
        return _read(below, self.grid)


def fit_forest(x: Matrix, y: Floats, weight: Floats, settings: Settings, seed: int) -> Forest:
    """Grow a forest on rows (N, F); NaN has a side of its own at each split."""
    import lightgbm  # noqa: PLC0415 -- takes a second to import; who forecasts habits does not wait for it

    data = lightgbm.Dataset(x, y, weight=weight, params={"verbosity": -1, "max_bin": 127, "num_threads": 1})
    parameters = {
        "objective": "regression",
        "boosting": "rf",
        "num_leaves": settings.forest_leaves,
        "min_data_in_leaf": max(1, min(settings.forest_least, len(y) // 10)),
        "feature_fraction_bynode": settings.forest_columns,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        "max_bin": 127,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    booster = lightgbm.train(parameters, data, num_boost_round=settings.forest_trees)
    low, high = np.quantile(y, [_EDGE, 1.0 - _EDGE])
    grid = np.linspace(low, max(high, low + 1e-6), _BINS)
    leaf = _leaves(booster, x)
    size = leaf.max(axis=0) + 1
    first = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    place = np.clip(np.rint((y - low) / (grid[1] - grid[0])), 0, _BINS - 1).astype(np.int64)
    spread = np.concatenate(
        [_spread(leaf[:, tree], place, weight, int(size[tree])) for tree in range(leaf.shape[1])]
    )
    return Forest(booster.model_to_string(), booster, grid, first, spread)


def forest_from(
    model: str, grid: Floats, first: NDArray[np.int64], spread: NDArray[np.floating[Any]]
) -> Forest:
    """Load a forest from LightGBM's text and its leaves."""
    import lightgbm  # noqa: PLC0415 -- see above

    return Forest(model, lightgbm.Booster(model_str=model), grid, first, spread.astype(np.float32))


def _leaves(booster: Any, x: Matrix) -> NDArray[np.int64]:  # noqa: ANN401 - LightGBM has no types
    """Leaf (N, T) each row falls into, tree by tree."""
    found = booster.predict(x, pred_leaf=True, num_threads=1)
    return np.asarray(found).reshape(len(x), -1).astype(np.int64)


def _spread(leaf: NDArray[np.int64], place: NDArray[np.int64], weight: Floats, leaves: int) -> Matrix:
    """How each leaf's rows share out over the grid (leaves, B)."""
    mass = np.bincount(leaf * _BINS + place, weights=weight, minlength=leaves * _BINS).reshape(leaves, -1)
    return np.asarray(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _read(below: Floats, grid: Floats) -> Floats:
    """Quantiles (N, 9) of running shares (N, B); a value's share lies evenly half a step around it."""
    rows, step = np.arange(len(below)), grid[1] - grid[0]
    found = np.empty((len(below), len(QUANTILES)))
    for k, level in enumerate(QUANTILES):
        at = np.minimum((below < level).sum(axis=1), len(grid) - 1)
        before = np.where(at > 0, below[rows, np.maximum(at - 1, 0)], 0.0)
        part = (level - before) / np.maximum(below[rows, at] - before, 1e-12)
        found[:, k] = grid[at] + step * (np.clip(part, 0.0, 1.0) - 0.5)
    return np.clip(found, grid[0], grid[-1])
