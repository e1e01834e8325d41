"""Ridge regression: a column for each hour of workdays and of other days, and slopes by time of day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

_SLOTS = 48
"""24 hours of workdays, 24 of other days."""
_BANDS = 8
_FAR = 5.0
"""Standard deviations at which a column ends."""
_OWN_PENALTY = 20.0
"""How much harder a slope of a time of day is held to the slope of all day."""
_TAIL = 0.002
"""Share of targets at each end that are drawn in before fitting."""


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """A fitted ridge.

    Attributes:
        hour: which column is the local hour, -1 without one.
        day_type: which column is the day type, -1 without one.
        middle: (F,) taken off each column.
        size: (F,) each column is divided by.
        slope: (F, 1 + bands) of all day, and its change by time of day.
        slot: (48,) intercepts.
    """

    hour: int
    day_type: int
    middle: Floats
    size: Floats
    slope: Floats
    slot: Floats

    def predict(self, x: Matrix) -> Floats:
        """Expected value (N,) of rows (N, F)."""
        z = _standard(x, self.middle, self.size)
        slot, band = _places(x, self.hour, self.day_type)
        found = self.slot[slot] + z @ self.slope[:, 0]
        for k in np.unique(band):
            rows = band == k
            found[rows] += z[rows] @ self.slope[:, 1 + k]
        return np.asarray(found)


def fit_ridge(x: Matrix, y: Floats, weight: Floats, names: Sequence[str], penalty: float) -> Ridge:
    """Fit on rows (N, F), N > 0; unknown values count as the column's mean, far ones as less far.

    Args:
        x: features, NaN allowed.
        y: (N,) target, finite.
        weight: (N,) > 0.
        names: of the columns; "hour" and "day_type" are told apart.
        penalty: per row, of standardised slopes.
    """
    hour, day_type = (names.index(n) if n in names else -1 for n in ("hour", "day_type"))
    middle, size = _spread(x)
    z = _standard(x, middle, size)
    y = np.clip(y, *np.quantile(y, [_TAIL, 1 - _TAIL]))
    slot, band = _places(x, hour, day_type)
    mass = weight.sum()
    slots = np.zeros((len(y), _SLOTS), dtype=np.float32)
    slots[np.arange(len(y)), slot] = 1.0
    design = np.hstack([z, slots, np.ones((len(y), 1), dtype=np.float32)])
    strength = np.full(design.shape[1], penalty * mass)
    strength[z.shape[1] :] = penalty * mass / _SLOTS
    strength[-1] = 1e-6 * mass
    found = _solve(design, y, weight, strength)
    slope = np.zeros((x.shape[1], 1 + _BANDS))
    slope[:, 0] = found[: x.shape[1]]
    left = y - design @ found
    for k in np.unique(band):
        rows = band == k
        own = np.full(x.shape[1], _OWN_PENALTY * penalty * weight[rows].sum())
        slope[:, 1 + k] = _solve(z[rows], left[rows], weight[rows], own)
    return Ridge(hour, day_type, middle, size, slope, found[x.shape[1] : -1] + found[-1])


def _solve(design: Matrix, y: Floats, weight: Floats, strength: Floats) -> Floats:
    heavy = design * weight[:, None].astype(np.float32)
    normal = (heavy.T @ design).astype(np.float64)
    normal[np.diag_indices_from(normal)] += strength + 1e-9
    right = heavy.T.astype(np.float64) @ y
    return np.asarray(np.linalg.solve(normal, right))


def _spread(x: Matrix) -> tuple[Floats, Floats]:
    """Mean and deviation (F,) of columns without NaN; 0 and 1 where nothing is known or nothing moves."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, x, 0.0)
    middle = filled.sum(axis=0, dtype=np.float64) / count
    square = (np.where(known, x - middle, 0.0) ** 2).sum(axis=0, dtype=np.float64) / count
    deviation = np.sqrt(square)
    return middle, np.where(deviation > 1e-9 * (1.0 + np.abs(middle)), deviation, 1.0)


def _standard(x: Matrix, middle: Floats, size: Floats) -> Matrix:
    z = (x - middle.astype(np.float32)) / size.astype(np.float32)
    np.nan_to_num(z, copy=False, nan=0.0)
    found: Matrix = np.clip(z, -_FAR, _FAR).astype(np.float32, copy=False)
    return found


def _places(x: Matrix, hour: int, day_type: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slot and band (N,) of rows."""
    at = np.zeros(len(x), dtype=np.int64) if hour < 0 else x[:, hour].astype(np.int64) % 24
    free = np.zeros(len(x), dtype=np.int64) if day_type < 0 else (x[:, day_type] > 0.5).astype(np.int64)
    return at + 24 * free, at * _BANDS // 24
