"""Quantiles as a line over the normal score: read off, and read back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gridflock.units import Kw, Mask

Floats = NDArray[np.float64]


def at_scores(score: Floats, quantiles: Floats, value_kw: Kw) -> Floats:
    """Values at normal scores, the line's ends continued: the tails are normal ones.

    A series whose quantiles never change sign keeps it.

    Args:
        score: (..., S, T).
        quantiles: (Q,) levels, ascending.
        value_kw: (S, Q, T) never crossing.
    """
    knots = ndtri(np.asarray(quantiles, dtype=np.float64))
    lines = np.moveaxis(np.asarray(value_kw, dtype=np.float64), 1, -1)
    if len(knots) < 2:
        return np.broadcast_to(lines[..., 0], score.shape).copy()
    left = np.clip(np.searchsorted(knots, score, side="right") - 1, 0, len(knots) - 2)
    lines = np.broadcast_to(lines, (*score.shape, len(knots)))
    low = np.take_along_axis(lines, left[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(lines, left[..., None] + 1, axis=-1)[..., 0]
    value = low + (high - low) * (score - knots[left]) / (knots[left + 1] - knots[left])
    never_below = np.asarray((value_kw >= 0).all(axis=(1, 2)))[:, None]
    never_above = np.asarray((value_kw <= 0).all(axis=(1, 2)))[:, None]
    value = np.where(never_below, np.maximum(value, 0.0), value)
    return np.asarray(np.where(never_above, np.minimum(value, 0.0), value))


def scores_of(truth_kw: Kw, quantiles: Floats, value_kw: Kw) -> Floats:
    """Normal scores (S, T) of truths in forecasts' terms, the inverse of ``at_scores``; NaN where unknown.

    Where quantiles coincide, a truth on them has the middle of their scores.
    """
    knots = ndtri(np.asarray(quantiles, dtype=np.float64))
    lines = np.moveaxis(np.asarray(value_kw, dtype=np.float64), 1, -1)
    truth = np.asarray(truth_kw, dtype=np.float64)[..., None]
    last = len(knots) - 1
    below, upto = (lines < truth).sum(axis=-1), (lines <= truth).sum(axis=-1)
    left = np.clip(below - 1, 0, last - 1)
    low = np.take_along_axis(lines, left[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(lines, left[..., None] + 1, axis=-1)[..., 0]
    rise = high - low
    share = np.divide(truth[..., 0] - low, rise, out=np.full(rise.shape, 0.5), where=rise > 0)
    between = knots[left] + share * (knots[left + 1] - knots[left])
    on = 0.5 * (knots[np.minimum(below, last)] + knots[np.maximum(upto - 1, 0)])
    score = np.where(upto > below, on, between)
    # Beyond a point forecast there is no line to continue: as far out as the outermost quantile twice.
    return np.where(np.isfinite(truth[..., 0]), np.clip(score, 2.0 * knots[0], 2.0 * knots[-1]), np.nan)


def expected(quantiles: Floats, value_kw: Kw) -> Kw:
    """Means (S, T) of the distributions that ``at_scores`` draws from: what adds up, where medians do not.

    The mean of the quantiles alone leaves the tails out, of which skewed series (homes) have one only.

    Args:
        quantiles: (Q,) levels, ascending.
        value_kw: (S, Q, T) never crossing.
    """
    knots = ndtri(np.asarray(quantiles, dtype=np.float64))
    value = np.asarray(value_kw, dtype=np.float64)
    if len(knots) < 2:
        return np.asarray(value[:, 0])
    mass, moment = np.diff(ndtr(knots)), -np.diff(_density(knots))
    rise = np.diff(value, axis=1) / np.diff(knots)[:, None]
    within = (value[:, :-1] - rise * knots[:-1, None]) * mass[:, None] + rise * moment[:, None]
    never_below, never_above = (np.asarray((sign * value >= 0).all(axis=(1, 2)))[:, None] for sign in (1, -1))
    low = _tail(knots[0], value[:, 0], rise[:, 0], never_below)
    high = _tail(-knots[-1], -value[:, -1], rise[:, -1], never_above)
    return np.asarray(within.sum(axis=1) + low - high)


def _tail(knot: float, value: Kw, rise: Kw, ends_at_0: Mask) -> Kw:
    """What lies below a knot adds to the mean: a line that falls, to 0 at most where it is to end there."""
    steep = np.where(rise > 0, rise, 1.0)
    start = np.where(ends_at_0 & (rise > 0), knot - value / steep, -np.inf)
    mass = ndtr(knot) - ndtr(start)
    return np.asarray((value - rise * knot) * mass + rise * (_density(start) - _density(np.array(knot))))


def _density(score: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * score**2) / np.sqrt(2.0 * np.pi))
