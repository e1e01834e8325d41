"""Joint paths of the future, drawn from a forecast's quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from gridflock.model import Flexibility, Forecast
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


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """K futures of what a plan cannot choose.

    Attributes:
        fixed_kw: (K, T) everything that takes no orders.
        base_kw: (K, G, T) what the groups would do unasked, or None where that is taken as known.
        weight: (K,) probabilities, adding up to 1.
    """

    fixed_kw: Kw
    base_kw: Kw | None
    weight: Floats

    @property
    def n(self) -> int:
        """How many."""
        return len(self.weight)

    def part(self, first: int, until: int) -> Paths:
        """Some of the paths, in order, with weights that add up to 1."""
        weight = self.weight[first:until]
        base = None if self.base_kw is None else self.base_kw[first:until]
        return Paths(self.fixed_kw[first:until], base, weight / weight.sum())


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
    value: Kw = np.empty_like(score)
    knots = ndtri(np.asarray(forecast.quantiles, dtype=np.float64))
    for s in range(series):
        for t in range(forecast.grid.n):
            value[:, s, t] = lined(score[:, s, t], knots, forecast.value_kw[s, :, t])
        if (forecast.value_kw[s] >= 0).all():
            value[:, s] = np.maximum(value[:, s], 0.0)
        elif (forecast.value_kw[s] <= 0).all():
            value[:, s] = np.minimum(value[:, s], 0.0)
    return value


def futures(
    forecast: Forecast,
    fixed: str,
    flexibility: Flexibility,
    count: int,
    seed: int,
    dependence: Dependence | None = None,
) -> Paths:
    """Joint paths as a plan needs them: of all that takes no orders, and of what groups do unasked.

    Groups that the flexibility takes at the forecast's median follow their paths; all others are taken as
    known.

    Args:
        forecast: of the series named by ``fixed`` and by the groups.
        fixed: the series of everything that takes no orders.
        flexibility: G groups over the forecast's T steps.
        count: how many paths, equally likely.
        seed: of the draws.
        dependence: as in ``paths``.

    Raises:
        KeyError: no such series.
    """
    if fixed not in forecast.series:
        raise KeyError(fixed)
    drawn = paths(forecast, count, seed, dependence)
    place = {name: k for k, name in enumerate(forecast.series)}
    base: Kw = np.repeat(flexibility.base_kw[None], count, axis=0)
    for g, group in enumerate(flexibility.groups):
        if group in place and np.allclose(flexibility.base_kw[g], forecast.median(group)):
            base[:, g] = drawn[:, place[group]]
    return Paths(drawn[:, place[fixed]], base, np.full(count, 1.0 / count))


def lined(at: Floats, knots: Floats, values: Kw) -> Floats:
    """Values read off a line through knots, its ends continued."""
    inner: Floats = np.interp(at, knots, values)
    if len(knots) < 2:
        return inner
    left = (values[1] - values[0]) / (knots[1] - knots[0])
    right = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    inner += np.minimum(at - knots[0], 0.0) * left + np.maximum(at - knots[-1], 0.0) * right
    return inner


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
