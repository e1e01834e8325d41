"""Columns for prices of energy: days past, the day that is published, and how scarce it has been.

A price stands in a ``History`` as it is, in money per kWh. A day-ahead price is known before its hour: its
``History.known_s`` is the moment it was published, so that today's prices are known this morning, and
tomorrow's when the auction is over. It may be negative and has no bound; what is published is certain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflock.forecast.learned._view import Floats, Index, View, mean_known
from gridflock.units import HOUR_S

Columns = dict[str, Floats]

_WEEK = 7
_NEAR_H = 6
_FADES_H = (3.0, 12.0)
_SPIKE, _LOW = 2.0, 0.0


def price(view: View, scale: Floats) -> Columns:
    """The same hour on past days, their middle and extremes; newest prices, spikes, and prices below 0.

    ``price_usual`` serves as anchor: half the newest day, half the middle of seven; 0 where unknown.
    """
    days = np.stack([published(view, view.days_back(d)) / scale for d in range(1, 2 * _WEEK + 1)], axis=-1)
    week = days[..., :_WEEK]
    newest, middle = _first(days[..., :3]), _middle(week)
    mean = np.where(np.isfinite(middle), middle, newest)
    either = np.where(np.isfinite(newest), newest, mean)
    found = {
        "price_usual": np.nan_to_num(0.5 * either + 0.5 * mean),
        "price_day": newest,
        "price_middle": middle,
        "price_week": days[..., _WEEK - 1],
        "price_fortnight": days[..., 2 * _WEEK - 1],
        "price_low": _extreme(week, np.fmin),
        "price_high": _extreme(week, np.fmax),
        "price_rough": mean_known(np.abs(week - middle[..., None])),
    }
    return found | _lately(view, scale)


def _lately(view: View, scale: Floats) -> Columns:
    """What the newest prices say, alike for all leads but for what fades."""
    hour = max(1, HOUR_S // view.step_s)
    back = view.at[:, None] - 1 - np.arange(_WEEK * view.per_day)
    past = view.value(back) / scale
    day, near = past[..., : view.per_day], past[..., : _NEAR_H * hour]
    before = past[..., view.per_day : view.per_day + _NEAR_H * hour]
    lead_h = ((view.leads + 0.5) * view.step_s / HOUR_S)[None, None]
    apart = (mean_known(near) - mean_known(past))[..., None]
    middle = _middle(past)[..., None]
    found = {
        "price_last": past[..., :1],
        "price_last_6h": mean_known(near)[..., None],
        "price_last_24h": mean_known(day)[..., None],
        "price_last_7d": mean_known(past)[..., None],
        "price_gone_6h": (mean_known(near) - mean_known(before))[..., None],
        "price_highest_24h": _extreme(day, np.fmax)[..., None],
        "price_lowest_24h": _extreme(day, np.fmin)[..., None],
        "price_spikes": mean_known(np.where(np.isfinite(past), past > _SPIKE * middle, np.nan))[..., None],
        "price_below_0": mean_known(np.where(np.isfinite(past), past < _LOW, np.nan))[..., None],
    }
    return found | {f"price_fade_{h:.0f}h": apart * np.exp(-lead_h / h) for h in _FADES_H}


def published(view: View, steps: Index) -> Floats:
    """(S, I, K) prices of steps, of the past or to come, that were published by each moment of issue."""
    if view.known_s is None:
        return view.value(steps)
    return replace(view, at=np.full_like(view.at, view.heard.shape[1])).value(steps)


def published_bound(view: View) -> tuple[Floats, Floats]:
    """What is published is certain; anything else may be any price: (S, I, L) each."""
    told = published(view, view.target)
    known = np.isfinite(told)
    return np.where(known, told, -np.inf), np.where(known, told, np.inf)


def _first(values: Floats) -> Floats:
    """The first over the last axis that is known."""
    found = values[..., 0]
    for k in range(1, values.shape[-1]):
        found = np.where(np.isfinite(found), found, values[..., k])
    return found


def _middle(values: Floats) -> Floats:
    """Median over the last axis of what is known; NaN where nothing is."""
    count = np.isfinite(values).sum(axis=-1)
    ranked = np.sort(np.where(np.isfinite(values), values, np.inf), axis=-1)
    place = np.maximum(count - 1, 0)[..., None] // 2
    low = np.take_along_axis(ranked, place, axis=-1)[..., 0]
    high = np.take_along_axis(ranked, np.maximum(count, 1)[..., None] // 2, axis=-1)[..., 0]
    return np.where(count > 0, 0.5 * (low + np.where(count > 1, high, low)), np.nan)


def _extreme(values: Floats, of: np.ufunc) -> Floats:
    """Least or most over the last axis of what is known; NaN where nothing is."""
    return np.asarray(of.reduce(values, axis=-1))
