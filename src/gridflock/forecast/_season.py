"""Habits: the same time of day on days like this one, corrected by the last error."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._calendar import Ahead, Past, day_weights, mean_known, ratio, weighted_days
from gridflock.forecast._residual import believed, learn
from gridflock.units import DAY_S

Floats = NDArray[np.float64]

_FADE_H = 2.0
_MOST_PERSISTENCE = 0.95
_NARROWEST = 0.3
_BANDS = 8
_SILENT_DAYS, _SILENT_WIDER = 7, 0.4
"""After a week of silence bands are so much wider, after days in proportion."""


def season(past: Past, ahead: Ahead) -> Floats:
    """Quantiles (S, F, Q) in kW of every series over the pieces ahead."""
    weights = day_weights(past.days, past.days, by_weekday=True)
    fitted = weighted_days(past.value, weights)
    error = past.value - fitted
    middle = np.where(np.isfinite(m := mean_known(past.value.reshape(len(past.value), -1))), m, 0.0)
    habit = of_days(past.value, past, ahead, by_weekday=True)
    habit = np.where(np.isfinite(habit), habit, middle[:, None])
    # Today's error where a like day is known, else the distance from the series' mean.
    last = past.latest(np.where(np.isfinite(fitted), error, past.value - middle[:, None, None]))
    held = persistence(past.hourly(error), ahead.lead_h)
    held = np.where(np.isfinite(last)[:, None], held, 0.0)
    expected = habit + held * np.where(np.isfinite(last), last, 0.0)[:, None]

    bands = gcd(_BANDS, past.n_slots)
    table = learn(_by_band(error, bands), _by_band(fitted, bands), believed(error, _widest(past.value)))
    spread = table.look_up(ahead.slot * bands // past.n_slots, expected)
    width = np.maximum(np.sqrt(1.0 - held**2), _NARROWEST) * _wider(past)[:, None]
    return _same_sign(past, expected[:, :, None] + width[:, :, None] * spread)


def of_days(cells: Floats, past: Past, ahead: Ahead, *, by_weekday: bool) -> Floats:
    """Weighted mean (S, F) of past days at the time of day of each piece ahead."""
    days, where = np.unique(ahead.day, return_inverse=True)
    return weighted_days(cells, day_weights(days, past.days, by_weekday=by_weekday))[:, where, ahead.slot]


def persistence(hourly_error: Floats, lead_h: Floats) -> Floats:
    """Share (S, F) of the last hour's error still expected at each lead.

    The correlation of errors one hour apart, learnt per series, decays over two hours.
    """
    known = np.where(np.isfinite(hourly_error), hourly_error, 0.0)
    both = (known[:, 1:] * known[:, :-1]).sum(axis=1)
    power = (known**2).sum(axis=1)
    alike = ratio(both, power, default=0.5)
    held: Floats = np.clip(alike[:, None] * np.exp((0.5 - lead_h) / _FADE_H), 0.0, _MOST_PERSISTENCE)
    return held


def typical_size(value: Floats) -> Floats:
    """Mean magnitude (S,) of values (S, D, N); an unheard series takes the others', else 1."""
    size = mean_known(np.abs(value).reshape(len(value), -1))
    heard = np.isfinite(size)
    others = float(np.median(size[heard])) if heard.any() else 1.0
    return np.asarray(np.where(heard, size, others))


def _widest(value: Floats) -> Floats:
    """Spread (S,) to believe of values (S, D, N) before any error has been seen."""
    flat = value.reshape(len(value), -1)
    spread = np.sqrt(np.nan_to_num(mean_known((flat - mean_known(flat)[:, None]) ** 2)))
    size = typical_size(value)
    return np.asarray(np.maximum(spread, 0.1 * size) + size)


def _wider(past: Past) -> Floats:
    """How much wider (S,) bands must be for what nobody has heard of lately; 1 where the last step is known.

    Errors in the table are those of days between days that were heard. A series that was never heard is as
    wide as can be already.
    """
    ends = np.where(np.isfinite(past.value), past.starts_s + past.step_s, 0).reshape(len(past.value), -1)
    last = ends.max(axis=1, initial=0)
    steps = np.where(last > 0, (past.now_s - last) // past.step_s, 0)
    days = np.clip(steps * past.step_s / DAY_S, 0.0, _SILENT_DAYS)
    return np.asarray(1.0 + _SILENT_WIDER * days / _SILENT_DAYS)


def _by_band(cells: Floats, bands: int) -> Floats:
    """(S, D, N) -> (S, bands, D·N/bands)."""
    s, d, n = cells.shape
    return cells.reshape(s, d, bands, n // bands).transpose(0, 2, 1, 3).reshape(s, bands, -1)


def _same_sign(past: Past, value: Floats) -> Floats:
    """A series that never fed in (or never drew) in a day or more is not forecast to."""
    flat = past.value.reshape(len(past.value), -1)
    enough = np.isfinite(flat).sum(axis=1) >= past.n_slots
    never_in = enough & ~(flat > 0).any(axis=1)
    never_out = enough & ~(flat < 0).any(axis=1)
    low = np.where(never_out, 0.0, -np.inf)[:, None, None]
    high = np.where(never_in, 0.0, np.inf)[:, None, None]
    return np.asarray(np.clip(value, low, high))
