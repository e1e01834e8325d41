"""Trees on what a ridge leaves: what is nearly linear is its part, and only the rest is grown for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._ridge import Ridge
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._trees import Trees, fit_trees

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Over:
    """A ridge and trees on its residuals.

    Attributes:
        base: the ridge.
        rest: the trees.
    """

    base: Ridge
    rest: Trees

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantile levels."""
        return self.rest.levels

    def predict(self, x: Matrix) -> Floats:
        """Quantiles (N, K) of rows (N, F), not sorted."""
        return np.asarray(self.base.predict(x)[:, None] + self.rest.predict(x))


def fit_over(x: Matrix, y: Floats, weight: Floats, base: Ridge, settings: Settings, seed: int) -> Over:
    """Grow trees on the residuals of a ridge that was fitted on the same rows."""
    return Over(base, fit_trees(x, y - base.predict(x), weight, settings, seed))
