"""Joint paths where past days are too few to shuffle: a Gaussian copula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast.together._lines import at_scores
from gridflock.model import Forecast
from gridflock.units import HOUR_S, Kw, TimeGrid

Floats = NDArray[np.float64]
_LONGEST_H = 48.0
_SHORTEST_H = 1e-3
_FEWEST = 8
"""Common values below which two series are taken to know nothing of each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Dependence:
    """How the errors of S series hang together, as normal scores.

    Attributes:
        between: (S, S) correlation at one moment.
        lasting_h: hours over which an error falls to 1/e of itself.
    """

    between: Floats
    lasting_h: float


def independent(series: int, lasting_h: float = 3.0) -> Dependence:
    """Series that know nothing of each other, their errors lasting some hours."""
    return Dependence(np.eye(series), lasting_h)


def dependence_of(error_kw: Kw, step_h: float) -> Dependence:
    """Dependence seen in past errors: rank correlation as normal scores, and how long errors last.

    Args:
        error_kw: (S, N) truth less forecast in uniform steps, NaN where unknown.
        step_h: hours of a step.

    Returns:
        Pairs with fewer than eight common values count as independent; a matrix that is no
        correlation matrix is moved to one near it (eigenvalues below 0 are set to 0).
    """
    score = _normal_scores(np.asarray(error_kw, dtype=np.float64))
    known = np.isfinite(score)
    filled = np.where(known, score, 0.0)
    count = known.astype(np.float64) @ known.T.astype(np.float64)
    cross = filled @ filled.T
    power = (filled**2) @ known.T.astype(np.float64)
    size = np.sqrt(power * power.T)
    between = np.divide(cross, size, out=np.zeros_like(cross), where=(size > 0) & (count >= _FEWEST))
    both = known[:, 1:] & known[:, :-1]
    after = float((filled[:, 1:] * filled[:, :-1])[both].sum())
    before = float((filled[:, :-1][both] ** 2).sum())
    rho = after / before if before > 0 else 0.0
    lasting = -step_h / np.log(rho) if 0 < rho < 1 else (_SHORTEST_H if rho <= 0 else _LONGEST_H)
    return Dependence(_correlation_near(between), float(np.clip(lasting, _SHORTEST_H, _LONGEST_H)))


def paths(forecast: Forecast, count: int, seed: int, dependence: Dependence | None = None) -> Kw:
    """Joint paths of all series: a Gaussian copula over the forecast's own quantiles.

    Normal scores that last over time (autoregressive, exact for steps of any length) and are correlated
    between series are turned into kW by each step's quantile function: linear between the quantiles in
    the normal score, and beyond the outermost continued by the same line, so the tails are normal ones.
    A series whose quantiles never change sign keeps it.

    Args:
        forecast: S series over T steps.
        count: how many paths.
        seed: of the draws; the same seed gives the same paths.
        dependence: how errors hang together; None for independent series whose errors last three hours.

    Returns:
        (count, S, T) kW.
    """
    series = len(forecast.series)
    how = independent(series) if dependence is None else dependence
    score = _scores(forecast.grid, how, count, np.random.default_rng(seed))
    return at_scores(score, forecast.quantiles, forecast.value_kw)


def _scores(grid: TimeGrid, how: Dependence, count: int, rng: np.random.Generator) -> Floats:
    """Standard normal scores (count, S, T) with the wanted dependence."""
    series = len(how.between)
    root = _root(how.between)
    fresh = rng.standard_normal((grid.n, count, series)) @ root.T
    apart_h = np.diff(grid.middles_s) / HOUR_S
    kept = np.exp(-apart_h / how.lasting_h)
    for t in range(1, grid.n):
        fresh[t] = kept[t - 1] * fresh[t - 1] + np.sqrt(1.0 - kept[t - 1] ** 2) * fresh[t]
    return np.ascontiguousarray(fresh.transpose(1, 2, 0))


def _normal_scores(error: Floats) -> Floats:
    """Each series' ranks as standard normal scores; NaN stays."""
    from scipy.stats import rankdata  # noqa: PLC0415 -- a second of import that few ask for

    score = np.full(error.shape, np.nan)
    for s, row in enumerate(error):
        known = np.isfinite(row)
        if known.any():
            score[s, known] = ndtri((rankdata(row[known]) - 0.5) / known.sum())
    return score


def _correlation_near(matrix: Floats) -> Floats:
    """The matrix with its negative eigenvalues cut off and its diagonal back at 1."""
    np.fill_diagonal(matrix, 1.0)
    value, vector = np.linalg.eigh(0.5 * (matrix + matrix.T))
    fixed = (vector * np.maximum(value, 1e-9)) @ vector.T
    size = np.sqrt(np.diag(fixed))
    return np.asarray(fixed / np.outer(size, size))


def _root(matrix: Floats) -> Floats:
    """A square root of a correlation matrix, also of a singular one."""
    value, vector = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray(vector * np.sqrt(np.maximum(value, 0.0)))
