"""Members of a forecast: fitted on what is known, each brought to nine quantiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast._residual import QUANTILES
from gridflock.forecast.learned._cells import Cells
from gridflock.forecast.learned._forest import Forest, fit_forest
from gridflock.forecast.learned._over import Over, fit_over
from gridflock.forecast.learned._ridge import Ridge, fit_ridge
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._tables import Table, learn_table
from gridflock.forecast.learned._trees import Trees, fit_trees
from gridflock.units import DAY_S

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

Model = Ridge | Trees | Over | Forest
"""What a member fits."""

_WIDER = 1.15
"""How much wider errors are than those of the rows a member was fitted on."""
_OUTER = float(ndtri(0.9))


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One way to forecast.

    Attributes:
        model: what was fitted.
        table: of errors, where the model says one value only.
    """

    model: Model
    table: Table | None

    def quantiles(self, raw: Floats, hour: Floats) -> Floats:
        """Nine quantiles (N, 9) of what the model said (N, K)."""
        if raw.shape[1] == len(QUANTILES):
            return np.sort(raw, axis=1)
        if self.table is not None:
            return self.table.quantiles(raw[:, 0], hour)
        return _nine(np.sort(raw, axis=1))


def fit_members(cells: Cells, rows: Rows, now_s: int, settings: Settings, seed: int) -> tuple[Model, ...]:
    """Fit each member on rows whose truth is known."""
    rows = thinned(rows, settings.most_rows, seed)
    x, y = cells.x[rows], cells.truth[rows] - cells.anchor[rows]
    age = (now_s - cells.issue_s[rows]) / DAY_S
    weight = 0.5 ** (age / settings.half_life_days) if settings.half_life_days else np.ones(len(rows))
    if settings.sunlit:
        weight = weight * cells.scale_kw[rows] / cells.scale_kw[rows].mean()

    @cache
    def ridge() -> Ridge:
        return fit_ridge(x, y, weight, cells.names, settings.penalty)

    fits: dict[str, Callable[[], Model]] = {
        "ridge": ridge,
        "trees": lambda: fit_trees(x, y, weight, settings, seed),
        "over": lambda: fit_over(x, y, weight, ridge(), settings, seed),
        "forest": lambda: fit_forest(x, y, weight, settings, seed),
    }
    return tuple(fits[name]() for name in settings.members)


def said(model: Model, cells: Cells, rows: Rows) -> Floats:
    """What a model says of rows (N, K), anchor added."""
    raw = model.predict(cells.x[rows])
    return np.asarray(raw.reshape(len(rows), -1) + cells.anchor[rows, None])


def table_for(model: Model, cells: Cells, past: Rows, before: Floats, fitted: Rows) -> Table | None:
    """Errors of a model that says one value.

    Args:
        model: fitted.
        cells: all rows.
        past: rows that models of this kind forecast without having seen them, truth known.
        before: (len(past),) what they said.
        fitted: rows the model was fitted on, for want of others.
    """
    if isinstance(model, Forest) or (isinstance(model, Trees | Over) and len(model.levels) > 1):
        return None
    if len(past) < len(QUANTILES) * 20:
        point = said(model, cells, fitted)[:, 0]
        return learn_table(point, _WIDER * (cells.truth[fitted] - point), cells.hour[fitted])
    return learn_table(before, cells.truth[past] - before, cells.hour[past])


def thinned(rows: Rows, most: int, seed: int) -> Rows:
    """At most so many of the rows, in order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _nine(three: Floats) -> Floats:
    """Two halves of a normal distribution through the 10, 50 and 90 % quantiles."""
    steps = ndtri(QUANTILES) / _OUTER
    low, middle, high = three[:, :1], three[:, 1:2], three[:, 2:]
    return np.asarray(middle + np.where(steps < 0, middle - low, high - middle) * steps)
