"""Boosted trees (LightGBM) for the median or for quantiles, one thread, the same bytes every time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._settings import Settings

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

LEVELS = {"table": (0.5,), "three": (0.1, 0.5, 0.9), "nine": tuple(np.round(np.arange(0.1, 0.95, 0.1), 1))}
_SEED_STEP = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Fitted trees.

    Attributes:
        levels: quantile levels that were grown for.
        models: for each level, one or more models as LightGBM's text; their mean counts.
        boosters: the same, loaded.
    """

    levels: tuple[float, ...]
    models: tuple[tuple[str, ...], ...] = field(repr=False)
    boosters: tuple[tuple[Any, ...], ...] = field(repr=False)

    def predict(self, x: Matrix) -> Floats:
        """Quantiles (N, K) of rows (N, F), not sorted."""
        found = np.empty((len(x), len(self.levels)))
        for k, group in enumerate(self.boosters):
            found[:, k] = np.mean([model.predict(x, num_threads=1) for model in group], axis=0)
        return found


def fit_trees(x: Matrix, y: Floats, weight: Floats, settings: Settings, seed: int) -> Trees:
    """Grow trees on rows (N, F); NaN has a side of its own at each split."""
    import lightgbm  # noqa: PLC0415 -- takes a second to import; who forecasts habits does not wait for it

    levels = LEVELS[settings.mode]
    data = lightgbm.Dataset(
        x, y, weight=weight, free_raw_data=False, params={"verbosity": -1, "max_bin": 127, "num_threads": 1}
    )
    models = []
    for k, level in enumerate(levels):
        own = []
        for repeat in range(settings.seeds):
            parameters = _parameters(settings, len(y), seed + k + _SEED_STEP * repeat)
            parameters |= (
                {"objective": "l1"} if settings.mode == "table" else {"objective": "quantile", "alpha": level}
            )
            own.append(lightgbm.train(parameters, data, num_boost_round=settings.trees).model_to_string())
        models.append(tuple(own))
    return trees_from(levels, tuple(models))


def trees_from(levels: tuple[float, ...], models: tuple[tuple[str, ...], ...]) -> Trees:
    """Load trees from LightGBM's text."""
    import lightgbm  # noqa: PLC0415 -- see above

    boosters = tuple(tuple(lightgbm.Booster(model_str=text) for text in group) for group in models)
    return Trees(levels, models, boosters)


def _parameters(settings: Settings, rows: int, seed: int) -> dict[str, Any]:
    return {
        "num_leaves": settings.leaves,
        "learning_rate": settings.rate,
        "min_data_in_leaf": max(1, min(settings.least, rows // 10)),
        "feature_fraction": settings.columns,
        "bagging_fraction": settings.rows,
        "bagging_freq": 1,
        "lambda_l2": settings.strict,
        "extra_trees": settings.bold,
        "max_bin": 127,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
