"""Habits as features: what such a day has been like, and how far today has gone from it.

Workplaces have habits that a week does not hold: where every other Friday is free, the same time last week
is wrong on every Friday. Whether a weekday goes by fortnights is found from its own past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.learned._holidays import rest
from gridflock.forecast.learned._view import Floats, Index, View, mean_known
from gridflock.units import DAY_S, HOUR_S

_DAYS = 56
"""How far back a habit reaches: four fortnights."""
_FADES = 0.96
"""Weight of a day against the one after it."""
_EPOCH_WEEKDAY, _WEEK, _SAT, _SUN = 3, 7, 5, 6
_YEAR_END = 0.75
"""Of ``rest``: a day taken off as often as not; no example of an ordinary one."""
_OWN_REST = 0.5
"""Share of its own weekday in the habit of a Saturday or Sunday, against all days of rest."""
_SURE, _STEEP, _ALIKE = 3.0, 2.0, 0.03
"""Fortnights count where they lie three standard errors apart, of which 3 % of the mean is one."""
_CELLS = 4_000_000
_MORNING_H, _NEAR_H = 6, 2


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """The days before each moment of issue.

    Attributes:
        value: (S, I, P, N) of the P days before that of the issue, newest first; N steps of a day.
        number: (I, P) local day numbers.
        kind: (I, P) weekday 0–6; 6 for holidays too; -1 for days that are no example.
        midnight: (I,) first step of the issue's day.
    """

    value: Floats
    number: Index
    kind: Index
    midnight: Index


def habits(view: View, scale: Floats) -> Mapping[str, Floats]:
    """The habit of the target's weekday (fortnight where that shows) and of its day type; gaps from it.

    ``habit`` serves as anchor. ``habit_even`` and ``habit_odd`` are the means over the same weekday an even
    and an odd number of weeks before. ``gap_…`` say how far the last hours, the last six and yesterday went
    from their own habit.
    """
    s, i, _ = view.shape
    span = max(1, _CELLS // max(1, s * (_DAYS + 1) * view.per_day))
    parts = [_part(_between(view, k, k + span)) for k in range(0, i, span)]
    return {name: np.concatenate([part[name] for part in parts], axis=1) / scale for name in parts[0]}


def _between(view: View, begin: int, end: int) -> View:
    since = None if view.since is None else view.since[:, begin:end]
    return replace(view, issues_s=view.issues_s[begin:end], at=view.at[begin:end], since=since)


def _part(view: View) -> dict[str, Floats]:
    days = _days(view)
    today = view.local_of(days.midnight) // DAY_S
    local = view.local_of(view.target)
    ahead, slot = local // DAY_S - today[:, None], local % DAY_S // view.step_s
    names = ("habit", "habit_even", "habit_odd", "habit_type", "habit_day")
    found = {name: np.full(view.shape, np.nan) for name in names}
    for offset in np.unique(ahead):
        profiles = _profiles(view, days, today + offset, int(offset))
        here = ahead == offset
        row, _ = np.nonzero(here)
        for name, profile in profiles.items():
            found[name][:, here] = profile[:, row, slot[here]]
    return found | _gaps(view, days, today)


def _days(view: View) -> _Days:
    n = view.per_day
    midnight = view.at - view.local_of(view.at) % DAY_S // view.step_s
    back, slots = np.arange(1, _DAYS + 1), np.arange(n)
    plain = midnight[:, None, None] + slots - back[:, None] * n
    expected = view.local_of(midnight)[:, None, None] + slots * view.step_s - back[:, None] * DAY_S
    steps = plain - (view.local_of(plain) - expected) // view.step_s
    value = view.value(steps.reshape(len(steps), -1)).reshape(len(view.series), *steps.shape)
    number = (view.local_of(midnight) // DAY_S)[:, None] - back
    return _Days(value, number, _kind(view, number, examples=True), midnight)


def _kind(view: View, number: Index, *, examples: bool) -> Index:
    holiday, joined = rest(view.site.country, number)
    weekday = (number + _EPOCH_WEEKDAY) % _WEEK
    free = (holiday > 0) | (joined >= 1.0)
    kind = np.where(free & (weekday < _SAT), _SUN, weekday)
    odd = examples & (joined >= _YEAR_END) & (joined < 1.0) & (weekday < _SAT)
    return np.where(odd, -1, kind)


def _profiles(view: View, days: _Days, wanted: Index, offset: int) -> dict[str, Floats]:
    """Means (S, I, N) over the past days like the wanted ones (I,), ``offset`` days after the issue's."""
    kind = _kind(view, wanted, examples=False)[:, None]
    age = wanted[:, None] - days.number
    fade = np.where(age > 0, _FADES ** (age - offset), 0.0)
    same, restful = days.kind == kind, days.kind >= _SAT
    alike = np.where(days.kind < 0, 0.0, (restful == (kind >= _SAT)).astype(np.float64))
    of_type = _mean(days.value, fade * alike)
    own = _first(_mean(days.value, fade * same), of_type)
    even = same & (age // _WEEK % 2 == 0) & (kind < _SAT)
    odd = same & ~even & (kind < _SAT)
    even_mean, odd_mean = (_first(_mean(days.value, fade * k), own) for k in (even, odd))
    sure = _fortnightly(days, even, odd, alike * fade)[:, :, None]
    share = np.where(kind >= _SAT, _OWN_REST, 1.0).reshape(1, -1, 1)
    habit = share * (sure * even_mean + (1.0 - sure) * own) + (1.0 - share) * of_type
    whole = np.repeat(mean_known(habit)[:, :, None], habit.shape[2], axis=2)
    return {
        "habit": habit, "habit_even": even_mean, "habit_odd": odd_mean, "habit_type": of_type,
        "habit_day": whole,
    }  # fmt: skip


def _fortnightly(days: _Days, even: NDArray[np.bool_], odd: NDArray[np.bool_], ordinary: Floats) -> Floats:
    """How sure it is (S, I) that a weekday goes by fortnights."""
    total = mean_known(days.value)
    moments = [_moments(total, side) for side in (even, odd)]
    apart = np.abs(moments[0][0] - moments[1][0])
    usual = np.abs(_mean(total[..., None], ordinary)[..., 0])
    error = np.sqrt(moments[0][1] + moments[1][1]) + _ALIKE * usual
    ratio = np.divide(apart, error, out=np.zeros(apart.shape), where=error > 0)
    sure = 1.0 / (1.0 + np.exp(-_STEEP * (np.minimum(ratio, 2 * _SURE) - _SURE)))
    return np.where(np.isfinite(ratio), sure, 0.0)


def _moments(total: Floats, side: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean (S, I) of the days of a side and its squared error; NaN with fewer than two."""
    known = np.where(side, total, np.nan)
    count = np.isfinite(known).sum(axis=2)
    mean = mean_known(known)
    square = mean_known((known - mean[:, :, None]) ** 2)
    return mean, np.where(count > 1, square / np.maximum(count, 1), np.nan)


def _gaps(view: View, days: _Days, today: Index) -> dict[str, Floats]:
    """How far the last hours, the last six and yesterday went from their habit: alike for all leads."""
    hour = max(1, HOUR_S // view.step_s)
    now = _profiles(view, days, today, 0)["habit"]
    steps = view.at[:, None] - 1 - np.arange(_MORNING_H * hour)
    slot = steps - days.midnight[:, None]
    row = np.arange(len(steps))[:, None]
    gap = view.value(steps) - np.where(slot >= 0, now[:, row, np.maximum(slot, 0)], np.nan)
    before = _profiles(view, days, today - 1, -1)["habit"]
    yesterday = mean_known(days.value[:, :, 0] - before)
    found = {
        "gap_2h": mean_known(gap[..., : _NEAR_H * hour]), "gap_6h": mean_known(gap), "gap_day": yesterday,
    }  # fmt: skip
    return {name: np.repeat(v[:, :, None], len(view.leads), axis=2) for name, v in found.items()}


def _mean(value: Floats, weight: Floats) -> Floats:
    """Weighted means over days of (S, I, P, N) by (I, P); NaN where no day is known."""
    known = np.isfinite(value)
    mass = np.einsum("ip,sipn->sin", weight, known.astype(np.float64))
    total = np.einsum("ip,sipn->sin", weight, np.where(known, value, 0.0))
    return np.asarray(np.divide(total, mass, out=np.full(mass.shape, np.nan), where=mass > 0))


def _first(value: Floats, other: Floats) -> Floats:
    return np.asarray(np.where(np.isfinite(value), value, other))
