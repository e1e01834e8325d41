"""Sun: fitted clear-sky power times a clear-sky index, and nothing at night."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._calendar import Ahead, Past, day_weights, ratio, weighted_days
from gridflock.forecast._residual import ResidualTable, believed, learn
from gridflock.forecast._season import of_days, persistence
from gridflock.forecast._sun import Site, clear_sky
from gridflock.forecast.sun import USUAL_INDEX, clear_power, fit_planes

Floats = NDArray[np.float64]

_LEAST_SHARE = 0.005
"""Below this share of capacity the clear-sky index says nothing."""
_BRIGHT_SHARE = 0.05
_MOST_INDEX, _MOST_AT_HORIZON = 1.25, 3.0
_WIDEST = 0.8
_ELEVATIONS = np.array([5.0, 12.0, 30.0])
_NARROWEST = 0.35
_FEW_DAYS = 3


def solar(past: Past, ahead: Ahead, site: Site) -> Floats:
    """Quantiles (S, F, Q) in kW of generation series over the pieces ahead."""
    sky = _sky_of_past(past, site)
    plane = fit_planes(sky[..., :4].reshape(-1, 4), past.value.reshape(len(past.value), -1))
    clear = clear_power(sky[..., :4], plane)
    size = clear.max(axis=(1, 2), initial=0.0)
    index = np.where(clear > _LEAST_SHARE * size[:, None, None], past.value, np.nan)
    index = np.clip(ratio(index, clear), 0.0, _ceiling(sky[..., 4]))

    fitted = weighted_days(index, day_weights(past.days, past.days, by_weekday=False))
    error = index - fitted
    habit = of_days(index, past, ahead, by_weekday=False)
    habit = np.where(np.isfinite(habit), habit, _mean_index(index)[:, None])
    # Near the horizon the index is too rough to say how clouds persist.
    bright = clear > _BRIGHT_SHARE * size[:, None, None]
    usual = np.where(np.isfinite(fitted), fitted, _mean_index(index)[:, None, None])
    last = past.latest(np.where(bright, index - usual, np.nan))
    held = persistence(past.hourly(np.where(bright, error, np.nan)), ahead.lead_h)
    held = np.where(np.isfinite(last)[:, None], held, 0.0)
    expected = habit + held * np.where(np.isfinite(last), last, 0.0)[:, None]

    spread = _spread(sky[..., 4], error, fitted)
    sky_ahead = clear_sky(site, ahead.edges_s)
    band = np.searchsorted(_ELEVATIONS, sky_ahead[:, 4])
    narrowed = np.maximum(np.sqrt(1.0 - held**2), _NARROWEST)[:, :, None]
    highest = _ceiling(sky_ahead[:, 4])[None, :, None] * _unknown(index)
    quantiles = np.clip(expected[:, :, None] + narrowed * spread.look_up(band, expected), 0.0, highest)
    power = quantiles * clear_power(sky_ahead[:, :4], plane)[:, :, None]
    return np.asarray(np.minimum(power, _capacity(past)[:, None, None]))


def _sky_of_past(past: Past, site: Site) -> Floats:
    """Clear-sky columns (D, N, 5) of the past's cells; 0 in cells without a step."""
    there = past.starts_s >= 0
    sky = np.zeros((*there.shape, 5))
    if there.any():
        first, last = int(past.starts_s[there].min()), int(past.starts_s[there].max())
        edges = np.arange(first, last + past.step_s + 1, past.step_s, dtype=np.int64)
        sky[there] = clear_sky(site, edges)[(past.starts_s[there] - first) // past.step_s]
    return sky


def _mean_index(index: Floats) -> Floats:
    """Mean clear-sky index (S,), drawn to the usual one while little is known."""
    known = np.isfinite(index)
    total = np.where(known, index, 0.0).sum(axis=(1, 2))
    mean: Floats = (total + 10.0 * USUAL_INDEX) / (known.sum(axis=(1, 2)) + 10.0)
    return mean


def _ceiling(elevation: Floats) -> Floats:
    """Highest clear-sky index worth believing: cloud edges by day, anything near the horizon."""
    return np.asarray(np.interp(elevation, [0.0, 12.0], [_MOST_AT_HORIZON, _MOST_INDEX]))


def _unknown(index: Floats) -> Floats:
    """Factor (S, 1, 1) on the highest index: 2 before any clear day could have been seen, then 1."""
    days = np.isfinite(index).sum(axis=(1, 2)) / (0.5 * index.shape[2])
    factor: Floats = 1.0 + 1.0 / (1.0 + days**2)
    return factor[:, None, None]


def _spread(elevation: Floats, error: Floats, fitted: Floats) -> ResidualTable:
    """Tables of index errors by elevation of the sun and level of the forecast index."""
    band = np.searchsorted(_ELEVATIONS, elevation).reshape(-1)
    flat_error, flat_fitted = error.reshape(len(error), -1), fitted.reshape(len(error), -1)
    per_band = [np.where(band == b, flat_error, np.nan) for b in range(len(_ELEVATIONS) + 1)]
    prior = believed(error, np.full(len(error), _WIDEST))
    return learn(np.stack(per_band, axis=1), np.repeat(flat_fitted[:, None], len(per_band), axis=1), prior)


def _capacity(past: Past) -> Floats:
    """Largest output (S,) to forecast: a little above the largest seen, once enough was seen."""
    flat = past.value.reshape(len(past.value), -1)
    enough = np.isfinite(flat).sum(axis=1) >= _FEW_DAYS * past.n_slots
    largest = np.where(np.isfinite(flat), flat, 0.0).max(axis=1, initial=0.0)
    return np.where(enough, 1.1 * largest, np.inf)
