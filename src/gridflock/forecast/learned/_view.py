"""What is known at each moment of issue: the only way from a history to a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._sun import Site
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, Seconds, utc_offset_s

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

SCALE_DAYS = 28
"""Days whose mean is a series' size."""
_PRIOR_H = 12.0
"""Hours of its own that count as much for a series' size as what is usual in its class."""
_WEEK_DAYS = 7
_MOST_WIDER = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """S series seen from I moments of issue, L steps ahead.

    A step's number counts from the history's first step and may lie beyond its last. Nothing learnt after a
    moment of issue comes out of ``value``, ``mean_before`` or ``weather`` for it: it is NaN there.

    Attributes:
        series: S ids.
        step_s: length of a step.
        start_s: start of step 0.
        issues_s: (I,) moments of issue.
        at: (I,) the first step that has not ended at the moment of issue.
        leads: (L,) steps ahead of it.
        site: coordinates, clock and holidays.
        local_s: (N,) start of each step on the local clock, for all steps in question.
        heard: (S, T) the history.
        known_s: (S, T) when each cell was learnt, where that was not at its end.
        weather_columns: (N,) each by name, mean over the step.
        weather_known_s: (N,) when published; None where always known.
        settled_s: moments of issue before this one are learnt from only; what they are measured by (a plane
            under the sun) may be what was known at this one.
        since: (S, I) first step that counts as heard of a series at a moment of issue; None for all.
        usual_kw: size to expect of a series of which nothing is known, of a shape that broadcasts to (S, I);
            None where that is not asked.
    """

    series: tuple[str, ...]
    step_s: int
    start_s: int
    issues_s: Seconds
    at: Index
    leads: Index
    site: Site
    local_s: Seconds
    heard: Floats
    known_s: Seconds | None
    weather_columns: Mapping[str, Floats]
    weather_known_s: Seconds | None
    settled_s: int = 0
    since: Index | None = None
    usual_kw: Floats | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, I, L)."""
        return len(self.series), len(self.at), len(self.leads)

    @property
    def per_day(self) -> int:
        """Steps in a day."""
        return DAY_S // self.step_s

    @property
    def target(self) -> Index:
        """(I, L) the steps to forecast."""
        return self.at[:, None] + self.leads[None, :]

    def days_back(self, days: int) -> Index:
        """(I, L) the step at the same local time ``days`` before the target."""
        plain = self.target - days * self.per_day
        shift = self._local(self.target) - self._local(plain) - days * DAY_S
        return plain - shift // self.step_s

    def newest_day(self) -> Index:
        """(I, L) the step at the target's local time on the newest day where it is over at the issue."""
        found = self.days_back(1)
        for days in range(2, int(self.leads.max(initial=0)) // self.per_day + 2):
            found = np.where(found >= self.at[:, None], self.days_back(days), found)
        return found

    def value(self, steps: Index) -> Floats:
        """(S, I, L') values of steps (I, L') as known at each moment of issue."""
        inside = (steps >= 0) & (steps < np.minimum(self.at, self.heard.shape[1])[:, None])
        place = np.where(inside, steps, 0)
        found = self.heard[:, place]
        allowed = np.broadcast_to(inside, found.shape)
        if self.known_s is not None:
            learnt = self.known_s[:, place]
            allowed = allowed & (learnt >= 0) & (learnt <= self.issues_s[:, None])
        if self.since is not None:
            allowed = allowed & (steps >= self.since[:, :, None])
        return np.where(allowed, found, np.nan)

    def mean_before(self, steps: int, back: int = 0) -> Floats:
        """(S, I) mean of what is known of ``steps`` steps, the last one ``back`` before the issue's."""
        end = np.clip(self.at - back, 0, self.heard.shape[1])
        begin = np.maximum(self.at - back - steps, 0)
        begin = np.minimum(begin, end)
        if self._one_by_one():
            window = (self.at - back)[:, None] - 1 - np.arange(steps)
            return mean_known(self.value(window))
        known = np.isfinite(self.heard)
        total = _running(np.where(known, self.heard, 0.0))
        count = _running(known.astype(np.float64))
        mass = count[:, end] - count[:, begin]
        return _ratio(total[:, end] - total[:, begin], mass)

    def share_before(self, steps: int) -> Floats:
        """(S, I) which share of the last steps is known."""
        if self._one_by_one():
            window = self.at[:, None] - 1 - np.arange(steps)
            return np.asarray(np.isfinite(self.value(window)).mean(axis=-1))
        end = np.clip(self.at, 0, self.heard.shape[1])
        begin = np.minimum(np.maximum(self.at - steps, 0), end)
        count = _running(np.isfinite(self.heard).astype(np.float64))
        return np.asarray((count[:, end] - count[:, begin]) / steps)

    def _one_by_one(self) -> bool:
        """Whether windows are read one by one: cells may be late or not count, or there is one window.

        The two ways of summing round differently, so nothing that is learnt later may choose between them.
        """
        return self.known_s is not None or self.since is not None or len(self.at) == 1

    def weather(self, name: str, steps: Index) -> Floats:
        """(1, I, L') a column at steps (I, L'); NaN where there is no such column or nothing known."""
        column = self.weather_columns.get(name)
        if column is None:
            return np.full((1, *steps.shape), np.nan)
        inside = (steps >= 0) & (steps < len(column))
        place = np.where(inside, steps, 0)
        if self.weather_known_s is not None:
            learnt = self.weather_known_s[place]
            inside &= (learnt >= 0) & (learnt <= self.issues_s[:, None])
        return np.where(inside, column[place], np.nan)[None]

    def weather_mean(self, name: str, steps: Index, hours: float) -> Floats:
        """(1, I, L') mean of a column over the hours that end with steps (I, L')."""
        n = max(1, round(hours * HOUR_S / self.step_s))
        column = self.weather_columns.get(name)
        if self.weather_known_s is not None and column is not None:
            window = (steps[..., None] - np.arange(n)).reshape(len(steps), -1)
            return mean_known(self.weather(name, window).reshape(1, *steps.shape, n))
        if column is None:
            return np.full((1, *steps.shape), np.nan)
        place = np.clip(steps, 0, len(column) - 1)
        return np.where(place == steps, rolled(column, n)[place], np.nan)[None]

    def local_of(self, steps: Index) -> Index:
        """Local seconds since 1970 at the start of steps."""
        return self._local(steps)

    def _local(self, steps: Index) -> Index:
        """Beyond the steps in question the clock runs on without a change."""
        place = np.clip(steps, 0, len(self.local_s) - 1)
        return self.local_s[place] + (steps - place) * self.step_s


def view_of(
    history: History,
    weather: Weather | None,
    site: Site,
    issues_s: Seconds,
    leads: Index,
    settled_s: int = 0,
) -> View:
    """See a history from moments of issue; those before ``settled_s`` are learnt from only.

    Raises:
        ValueError: the history's steps are not uniform, or do not divide a day.
    """
    grid = history.grid
    step_s = int(grid.edges_s[1] - grid.edges_s[0]) if grid.n else HOUR_S
    if DAY_S % step_s or (grid.n and (np.diff(grid.edges_s) != step_s).any()):
        raise ValueError("history needs uniform steps that divide a day")
    at = (np.asarray(issues_s, dtype=np.int64) - grid.start_s) // step_s
    last = int(at.max(initial=0) + leads.max(initial=0))
    # Columns look up to a day past their target: how far must not depend on the history's length.
    n = max(grid.n, last + 1 + DAY_S // step_s)
    starts = grid.start_s + step_s * np.arange(n, dtype=np.int64)
    heard = np.where(np.isfinite(history.value_kw), history.value_kw, np.nan).astype(np.float64)
    columns, known = ({}, None) if weather is None else _on_steps(weather, starts, step_s)
    return View(
        history.series,
        step_s,
        grid.start_s,
        np.asarray(issues_s, dtype=np.int64),
        at,
        np.asarray(leads, dtype=np.int64),
        site,
        starts + utc_offset_s(site.timezone, starts),
        heard,
        history.known_s,
        columns,
        known,
        settled_s,
    )


def _on_steps(weather: Weather, starts: Seconds, step_s: int) -> tuple[dict[str, Floats], Seconds | None]:
    """Columns at the middles of steps, linear between the middles of the weather's own."""
    have, want = weather.grid.middles_s.astype(np.float64), starts + 0.5 * step_s
    far = (want < weather.grid.start_s) | (want > weather.grid.end_s)
    columns = {}
    for name, column in weather.columns.items():
        values = np.where(np.isfinite(column), column, np.nan).astype(np.float64)
        read = np.interp(want, have, values) if len(have) else np.full(len(want), np.nan)
        columns[name] = np.where(far, np.nan, read)
    if weather.known_s is None or not len(have):
        return columns, None
    # Both neighbours of a middle must be known; a middle of the weather's own is its only neighbour.
    sides = np.stack([np.searchsorted(have, want), np.searchsorted(have, want, side="right") - 1])
    told = weather.known_s[np.clip(sides, 0, len(have) - 1)]
    return columns, np.where((told < 0).any(axis=0), -1, told.max(axis=0))


def scale_of(view: View) -> Floats:
    """(S, I) how large each series is: its mean size over 28 days; never 0.

    Where unheard it is what is usual: as the view says, else that of the others. A series that stood at 0
    for all that was heard of it is as small beside that as so many hours of nothing let expect: four weeks,
    1/57.
    """
    size = size_before(view, SCALE_DAYS)
    positive = np.where(size > 0, size, np.nan)
    usual = np.broadcast_to(_median(positive) if view.usual_kw is None else view.usual_kw, size.shape)
    return np.where(np.isfinite(positive), positive, with_usual(view, size, usual))


def with_usual(view: View, own: Floats, usual: Floats) -> Floats:
    """(S, I) between a series' own size and what is usual in its class, by hours heard in 28 days."""
    hours = heard_days(view) * DAY_S / HOUR_S
    known = np.where(np.isfinite(own), own, 0.0)
    return (hours * known + _PRIOR_H * usual) / (hours + _PRIOR_H)


def heard_days(view: View) -> Floats:
    """(S, I) how many days are known of the last four weeks."""
    return SCALE_DAYS * view.share_before(SCALE_DAYS * view.per_day)


def size_before(view: View, days: int) -> Floats:
    """(S, I) mean size of what is known of the last days; NaN where nothing is."""
    return replace(view, heard=np.abs(view.heard)).mean_before(days * view.per_day)


def wider_of(view: View) -> Floats:
    """(S, I) how much wider than usual a band has to be: 1 where the whole last week was heard."""
    return np.asarray(1.0 + _MOST_WIDER * (1.0 - view.share_before(_WEEK_DAYS * view.per_day)))


def _median(values: Floats) -> Floats:
    """Median over series without NaN (I,); 1 where nothing is known."""
    known = np.isfinite(values)
    ranked = np.sort(np.where(known, values, np.inf), axis=0)
    middle = np.maximum(known.sum(axis=0) - 1, 0) // 2
    found = np.take_along_axis(ranked, middle[None], axis=0)[0] if len(values) else np.ones(values.shape[1])
    return np.where(np.isfinite(found), found, 1.0)


def _running(values: Floats) -> Floats:
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


def mean_known(values: NDArray[Any]) -> Floats:
    """Mean over the last axis without NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return _ratio(total, count)


def rolled(column: Floats, steps: int) -> Floats:
    """Mean of each step and the ``steps - 1`` before it (N,), without NaN."""
    known = np.isfinite(column)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, column, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(known)])
    end = np.arange(1, len(column) + 1)
    begin = np.maximum(end - steps, 0)
    mass = count[end] - count[begin]
    return _ratio(total[end] - total[begin], mass)


def _ratio(total: NDArray[Any], mass: NDArray[Any]) -> Floats:
    found: Floats = np.divide(total, mass, out=np.full(mass.shape, np.nan), where=mass > 0)
    return found
