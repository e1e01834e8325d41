"""Generators under the sun, as known at each moment of issue: planes, capacity, what a clear sky would give.

Planes are fitted anew each week, to what was known when the week began; so a moment's forecast takes
nothing from its own future, and two moments of a week share a plane. Moments that are learnt from only share
the plane that was known when forecasts began, so that the same sun and sky give the same index throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site, clear_sky
from gridflock.forecast.learned._view import Floats, Index, View
from gridflock.forecast.sun import clear_power, fit_planes
from gridflock.units import DAY_S, HOUR_S, Seconds

_WEEK_S = 7 * DAY_S
_FIT_DAYS = 400
"""How far back a plane is fitted to."""
_LEAST_SHARE = 0.01
"""Share of capacity that a clear-sky power is taken as at least, where it is divided by."""
_HEADROOM = 1.01
"""How far beyond the largest output ever seen under as bright a sky a forecast may reach."""
_FULL, _FULL_HOURS, _OFFERED_MORE = 0.97, 6, 1.1
"""An inverter is full that stands above this share of its largest output so long under such an offer."""
_LATE_S = DAY_S
"""What is learnt so much later than it was is not used to tell dead days."""
_DEAD_SHARE = 0.02
"""A day with less than this share of its clear-sky energy was no weather: outage, snow."""


@dataclass(frozen=True, slots=True, eq=False)
class Sunlit:
    """Planes of S series through the W weeks that I moments of issue lie in.

    Attributes:
        week: (I,) which week each moment lies in.
        plane: (W, S, 4).
        largest_kw: (W, S) largest output known.
        brightest_kw: (W, S) largest clear-sky power among steps whose output is known; inf before any, and
            where the inverter was full.
    """

    week: Index
    plane: Floats
    largest_kw: Floats
    brightest_kw: Floats

    def clear(self, view: View, steps: Index) -> Floats:
        """Clear-sky kW (S, I, K) at steps (I, K), not beyond capacity."""
        sky = sky_of(view, steps)[..., :4]
        found = np.empty((self.plane.shape[1], *steps.shape))
        for k, plane in enumerate(self.plane):
            here = self.week == k
            offered = clear_power(sky[here], plane)
            found[:, here] = np.minimum(offered, self._limit(k, offered))
        return found

    def limit(self, view: View, steps: Index) -> Floats:
        """Capacity (S, I, K): the largest output known, under a brighter sky than was ever seen more."""
        sky = sky_of(view, steps)[..., :4]
        found = np.empty((self.plane.shape[1], *steps.shape))
        for k, plane in enumerate(self.plane):
            here = self.week == k
            found[:, here] = self._limit(k, clear_power(sky[here], plane))
        return found

    def _limit(self, week: int, offered: Floats) -> Floats:
        largest, brightest = self.largest_kw[week][:, None, None], self.brightest_kw[week][:, None, None]
        return np.where(largest > 0, np.maximum(largest, largest * offered / brightest), np.inf)

    def capacity(self) -> Floats:
        """Largest output (S, I) to be taken for the size of a series, > 0."""
        reached = np.where(self.largest_kw > 0, self.largest_kw, np.nan)
        size = np.abs(self.plane[..., 0]) + np.abs(self.plane[..., 3])
        found = np.where(np.isfinite(reached), reached, np.where(size > 0, size, 1.0))
        return found[self.week].T


@lru_cache(maxsize=1)
def sunlit(view: View) -> Sunlit:
    """Fit planes for all weeks that the view's moments of issue lie in."""
    number, week = np.unique(np.maximum(view.issues_s, view.settled_s) // _WEEK_S, return_inverse=True)
    steps = np.arange(view.heard.shape[1], dtype=np.int64)
    sky = sky_of(view, steps)[:, :4]
    fitted = [_fitted(view, sky, int(n) * _WEEK_S) for n in number]
    plane, largest, brightest = (np.stack(part) for part in zip(*fitted, strict=True))
    return Sunlit(np.asarray(week, dtype=np.int64), plane, largest, brightest)


def _fitted(view: View, sky: Floats, now_s: int) -> tuple[Floats, Floats, Floats]:
    """Planes (S, 4), largest output (S,) and brightest sky (S,) as known at a moment."""
    end = int(np.clip((now_s - view.start_s) // view.step_s, 0, view.heard.shape[1]))
    begin = max(0, end - _FIT_DAYS * view.per_day)
    power = view.heard[:, begin:end]
    if view.known_s is not None:
        learnt = view.known_s[:, begin:end]
        power = np.where((learnt >= 0) & (learnt <= now_s), power, np.nan)
    plane = fit_planes(sky[begin:end], power)
    known = np.isfinite(power)
    power = np.where(known, power, 0.0)
    largest = power.max(axis=1, initial=0.0)
    brightest = np.where(known, clear_power(sky[begin:end], plane), 0.0).max(axis=1, initial=0.0)
    # Output that stood near its largest for hours while the plane offered more met a limit.
    hours = (power >= _FULL * largest[:, None]).sum(axis=1) * view.step_s / HOUR_S
    full = (hours >= _FULL_HOURS) & (brightest > _OFFERED_MORE * largest)
    return plane, largest, np.where((brightest > 0) & ~full, brightest, np.inf)


def sky_of(view: View, steps: Index) -> Floats:
    """Columns (..., 5) of ``clear_sky`` at steps (...); steps before the history are taken as its first."""
    last = view.heard.shape[1] + 2 * view.per_day
    last = max(last, int(steps.max(initial=0)) + 1)
    table = _sky(view.site, view.start_s, view.step_s, last)
    return np.asarray(table[np.maximum(steps, 0)])


@lru_cache(maxsize=2)
def _sky(site: Site, start_s: int, step_s: int, steps: int) -> Floats:
    """Columns (N, 5) of ``clear_sky`` over steps from a start."""
    return clear_sky(site, start_s + step_s * np.arange(steps + 1, dtype=np.int64))


def sunlit_scale(view: View) -> Floats:
    """Size (S, I, L) of each cell: what a clear sky would give, at least a hundredth of capacity."""
    known = sunlit(view)
    return np.maximum(known.clear(view, view.target), _LEAST_SHARE * known.capacity()[:, :, None])


def sunlit_bound(view: View) -> tuple[float, Floats]:
    """Generation between 0 and capacity (S, I, L); exactly 0 where the sun does not rise.

    Capacity is the largest output known; under a brighter sky than was ever seen it grows with the sky.
    """
    high = _HEADROOM * sunlit(view).limit(view, view.target)
    light = sky_of(view, view.target)[..., [0, 3]].sum(axis=-1)
    return 0.0, np.where(light[None] > 0, high, 0.0)


def sunlit_learnt(view: View, learnt_s: Seconds, never_s: int) -> Seconds:
    """When each cell (S, I, L) may be learnt from, given when it was heard.

    At night there is nothing to learn, nor on days on which next to nothing came whatever the sky: snow and
    outages are no weather. Which days those are is known when they are over. Nor is there while a series'
    size is not known.
    """
    known = sunlit(view)
    unseen = (known.largest_kw == 0)[known.week].T[:, :, None]
    local = view.local_of(view.target)
    over_s = view.start_s + view.target * view.step_s + DAY_S - local % DAY_S
    over_s = over_s if view.known_s is None else over_s + _LATE_S
    dark = sky_of(view, view.target)[..., [0, 3]].sum(axis=-1) == 0
    steps = np.arange(view.heard.shape[1], dtype=np.int64)
    dead = _dead(view, sky_of(view, steps)[:, :4])[:, np.minimum(view.target, len(steps) - 1)]
    later = np.where(learnt_s == never_s, never_s, np.maximum(learnt_s, over_s))
    return np.where(dead | dark | unseen, never_s, later)


def _dead(view: View, sky: Floats) -> NDArray[np.bool_]:
    """Steps (S, T) of local days that brought next to nothing of what all the history says was possible.

    A day is held against the best one so far, by what it brought for the light on a horizontal plane. What
    was learnt more than a day late is left out: which days were dead does not change any more then.
    """
    light = sky[:, 0] + sky[:, 3]
    day = view.local_of(np.arange(len(light))) // DAY_S
    number, of = np.unique(day, return_inverse=True)
    known = np.isfinite(view.heard)
    if view.known_s is not None:
        end_s = view.start_s + np.arange(1, len(light) + 1) * view.step_s
        known &= (view.known_s[:, : len(light)] >= 0) & (view.known_s <= end_s + _LATE_S)
    dead = np.zeros(view.heard.shape, dtype=bool)
    for s, row in enumerate(view.heard):
        energy = np.bincount(of, np.where(known[s], row, 0.0), len(number))
        offered = np.bincount(of, np.where(known[s], light, 0.0), len(number))
        index = np.divide(energy, offered, out=np.zeros(len(number)), where=offered > 0)
        best = np.maximum.accumulate(index)
        dead[s] = ((index < _DEAD_SHARE * best) & (offered > 0))[of]
    return dead
