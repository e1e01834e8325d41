"""The baseline every forecast is measured by: a value of the past, with what such a value has missed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._residual import QUANTILES
from gridflock.units import DAY_S, HOUR_S, Seconds, utc_offset_s

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
_HOURS = 24


def naive(
    value: Floats,
    starts_s: Seconds,
    timezone: str,
    at: Index,
    leads: Index,
    rule: Literal["week", "day", "last"],
    train_end_s: int,
) -> Floats:
    """Quantiles (S, I, L, 9) of the same time last week, of the newest known day, or of the last known step.

    The same time is that of the local clock, over its changes too.

    Each value of the past gets the quantiles of its own errors in the training span, by local hour of the
    target and by how far back the value lies.

    Args:
        value: (S, T) uniform steps, NaN where unknown.
        starts_s: (T,) of the steps.
        timezone: whose hours.
        at: (I,) first step that is not known at each moment of issue.
        leads: (L,) steps after it.
        rule: which value of the past.
        train_end_s: errors of steps from here on are not used.
    """
    step_s = int(starts_s[1] - starts_s[0])
    target = at[:, None] + leads
    back = _back(target, at[:, None], rule, DAY_S // step_s)
    moved = _moved(starts_s, timezone, target, back) if rule != "last" else 0
    point = _read(value, target - back + moved)
    trained = value[:, starts_s < train_end_s]
    hours = (starts_s + utc_offset_s(timezone, starts_s)) % DAY_S // HOUR_S
    # Most targets are yet to come: their hour is read off the clock, the past does not reach there.
    there = (int(starts_s[0]) + target * step_s).ravel()
    hour = ((there + utc_offset_s(timezone, there)) % DAY_S // HOUR_S).reshape(target.shape)
    found = np.empty((*point.shape, len(QUANTILES)))
    for lag in np.unique(back):
        errors = _errors(trained, int(lag), hours[: trained.shape[1]])
        here = back == lag
        found[:, here] = point[:, here, None] + errors[:, hour[here]]
    return found


def _back(target: Index, at: Index, rule: str, per_day: int) -> Index:
    if rule == "week":
        return np.full(target.shape, 7 * per_day)
    if rule == "last":
        return target - at + 1
    ahead = target - at
    return (ahead // per_day + 1) * per_day


def _moved(starts_s: Seconds, timezone: str, target: Index, back: Index) -> Index:
    """Steps by which the local clock was moved between a step and the one that lies ``back`` before it."""
    step_s = int(starts_s[1] - starts_s[0])
    late, early = (int(starts_s[0]) + cells * step_s for cells in (target, target - back))
    apart = utc_offset_s(timezone, early.ravel()) - utc_offset_s(timezone, late.ravel())
    return -(apart // step_s).reshape(target.shape)


def _read(value: Floats, steps: Index) -> Floats:
    inside = (steps >= 0) & (steps < value.shape[1])
    return np.where(inside, value[:, np.where(inside, steps, 0)], np.nan)


def _errors(value: Floats, lag: int, hours: Index) -> Floats:
    """Quantiles (S, 24, 9) of what a value ``lag`` steps old has missed, by hour."""
    error = value[:, lag:] - value[:, :-lag]
    found = np.zeros((len(value), _HOURS, len(QUANTILES)))
    for hour in range(_HOURS):
        own = error[:, hours[lag:] == hour]
        for k, row in enumerate(own):
            known = row[np.isfinite(row)]
            if len(known):
                found[k, hour] = np.quantile(known, QUANTILES)
    return found
