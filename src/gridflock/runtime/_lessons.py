"""What is learnt once a day from the days before: faults found, methods marked, models trained.

``learn`` is a function of values, so that it may run on any thread; what it returns enters a tick as
something heard. A day is marked by what each method would have said at its first moment, knowing no more
than was known then: habits, the same time last week (sun: yesterday), and the models of the day before. The
gate, too, has seen no more then, and no more than that day when what came is held against what was said: days
that are marked at once have the marks that they would have had one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import Site, forecast, naive
from gridflock.forecast.card import Alarm, Card, alarms, marked, new_card
from gridflock.forecast.learned import Trained, from_bytes, to_bytes, train
from gridflock.forecast.quality import Finding, Rule, examine, repaired
from gridflock.forecast.together._lines import scores_of
from gridflock.model import Forecast, History, Weather
from gridflock.runtime._hidden_sun import BehindMeters, apart, look_behind
from gridflock.runtime._points import Points
from gridflock.runtime._subjects import OUTSIDE, SUBJECTS, kind_of, subjects_of
from gridflock.units import DAY_S, HOUR_S, TimeGrid

HABITS, LAST_WEEK, LEARNED, APART = "habits", "last week", "learned", "sun apart"
METHODS = (HABITS, LAST_WEEK, LEARNED, APART)
QUANTILES = np.round(np.arange(0.1, 0.95, 0.1), 1)
HABIT_DAYS = 9
"""So far back habits look."""
MARKED_DAYS = 21
"""So many days are marked at once where none were before."""
_ISSUE_EVERY_S = 7 * HOUR_S
"""Moments of issue that are learnt from; of all hours of the day in turn."""
_WEEK_DAYS = 7
_LONGEST_DAY = 100
"""Quarter-hours of the day on which clocks go back: models that look less far could not be marked on it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model and whose it is.

    Attributes:
        subject: of ``SUBJECTS``.
        series: what it was asked to learn.
        data: bytes of it.
    """

    subject: str
    series: tuple[str, ...]
    data: bytes

    @property
    def trained(self) -> Trained:
        """It, ready to be asked."""
        return _read(self.data)


@lru_cache(maxsize=32)
def _read(data: bytes) -> Trained:
    return from_bytes(data)


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What one day's learning has left.

    Attributes:
        made_s: nothing later was learnt from.
        history: as it was counted, before anything is added or mended.
        findings: of the gate.
        models: trained ones.
        card: marks of every method.
        score: (S, T) where the truth lay in what the champion of that day had said of it, as normal scores,
            on the steps of the history; NaN where nobody had spoken.
        failed: subjects whose models are those of the day before, and why.
        points: connection points as they were looked through; None where there were none.
        behind: solar generation behind their meters.
    """

    made_s: int
    history: History
    findings: tuple[Finding, ...]
    models: tuple[Model, ...]
    card: Card
    score: NDArray[np.float32]
    failed: tuple[str, ...]
    points: Points | None = None
    behind: BehindMeters | None = None

    def alarms(self) -> tuple[Alarm, ...]:
        """Series whose forecasts no longer hold."""
        return alarms(self.card)


def learn(
    history: History,
    measured: History,
    archive: Weather | None,
    before: Lessons | None,
    site: Site,
    solar: frozenset[str],
    leads: int,
    now_s: int,
    points: Points | None = None,
) -> Lessons:
    """Learn from all that is known at a moment.

    Args:
        history: quarter-hours.
        measured: the same as it was counted, to be kept.
        archive: what was expected of the weather.
        before: the lessons of the day before.
        site: where the feeder stands.
        solar: series whose shape is the sun's.
        leads: how many quarter-hours ahead plans look; models look a day ahead at least.
        now_s: the moment.
        points: connection points, to be looked through for generation that nobody has registered.
    """
    of = _Class(history, archive, site, solar, max(leads, _LONGEST_DAY))
    days = _days(history, before, site.timezone, now_s)
    card = new_card(history.series, METHODS) if before is None else _with_methods(before.card)
    models = () if before is None else before.models
    if before is None and days:
        models, _ = of.models((), days[0])
    score = _carried(history, before)
    for day_s in days:
        unseen = _unseen(day_s, before, _step_s(history))
        behind = before.behind if before is not None and unseen else None
        said = of.said(models if unseen else (), day_s, behind)
        end_s = _day_end(day_s, site.timezone)
        came = of.known(end_s)
        _place(score, came, _by_champion(said, card.champion), day_s)
        card = marked(card, day_s, newest(came, 2), said, end_s)
    models, failed = of.models(models, now_s)
    mended, findings = of.known(now_s), of.findings(now_s)
    behind = None if points is None else look_behind(points, mended, solar, archive)
    return Lessons(now_s, measured, findings, models, card, score, failed, points, behind)


def _with_methods(card: Card) -> Card:
    """A card of another version with the methods of this one: nobody was marked for what was not there."""
    if card.methods == METHODS:
        return card
    place = {method: m for m, method in enumerate(card.methods)}

    def laid(marks: NDArray[np.float64]) -> NDArray[np.float64]:
        nothing = np.full(marks.shape[1:], np.nan)
        return np.stack([marks[place[name]] if name in place else nothing for name in METHODS])

    names = [card.methods[m] for m in card.champion.tolist()]
    champion = [METHODS.index(name) if name in METHODS else 0 for name in names]
    return replace(
        card,
        methods=METHODS,
        crps_kw=laid(card.crps_kw),
        mae_kw=laid(card.mae_kw),
        coverage=laid(card.coverage),
        champion=np.array(champion, dtype=np.int64),
    )


def _faults(history: History, site: Site) -> tuple[Finding, ...]:
    """What the gate finds, but for groups that rest: that is no fault of what devices say."""
    seen = examine(history, {name: kind_of(name) for name in history.series}, site).findings
    return tuple(
        replace(finding, evidence=dict(finding.evidence))
        for finding in seen
        if finding.rule is not Rule.STUCK or finding.series == OUTSIDE
    )


class _Class:
    """One day's learning: a history as it was known at any moment, and how every method speaks of it."""

    def __init__(
        self, history: History, archive: Weather | None, site: Site, solar: frozenset[str], leads: int
    ) -> None:
        self._history, self._archive, self._site, self._solar = history, archive, site, solar
        self._leads = np.arange(leads, dtype=np.int64)
        self._seen: tuple[int, History, tuple[Finding, ...]] | None = None

    def known(self, now_s: int) -> History:
        """What was over at a moment, mended as far as its faults could be found then."""
        return self._gate(now_s)[0]

    def findings(self, now_s: int) -> tuple[Finding, ...]:
        """Faults that could be found at a moment."""
        return self._gate(now_s)[1]

    def _gate(self, now_s: int) -> tuple[History, tuple[Finding, ...]]:
        """Both; the end of a day is the beginning of the next, so that the last ones are kept."""
        if self._seen is None or self._seen[0] != now_s:
            over = until(self._history, now_s)
            faults = _faults(over, self._site)
            self._seen = now_s, repaired(over, faults).history, faults
        return self._seen[1:]

    def models(self, before: Sequence[Model], now_s: int) -> tuple[tuple[Model, ...], tuple[str, ...]]:
        """Models of every subject from what is known at a moment, and which of them are former ones."""
        found: list[Model] = []
        failed: list[str] = []
        known = self.known(now_s)
        first_s = known.grid.start_s + _WEEK_DAYS * DAY_S
        issues = np.arange(first_s, now_s, _ISSUE_EVERY_S, dtype=np.int64)
        for subject, rows in subjects_of(known.series).items():
            part = only(known, rows)
            try:
                trained = train(
                    part, self._archive, self._site, issues, self._leads, SUBJECTS[subject], now_s
                )
            except Exception as error:  # noqa: BLE001 - the former model stays, and the fault is told
                failed.append(f"{subject}: {type(error).__name__}: {error}"[:200])
                found += [model for model in before if model.subject == subject]
                continue
            if trained.learnt:
                found.append(Model(subject, part.series, to_bytes(trained)))
        return tuple(found), tuple(failed)

    def said(
        self, models: Sequence[Model], day_s: int, behind: BehindMeters | None = None
    ) -> dict[str, Forecast]:
        """What each method says of the day that begins at a moment."""
        site, known = self._site, self.known(day_s)
        steps = (_day_end(day_s, site.timezone) - day_s) // _step_s(known)
        grid = TimeGrid.uniform(day_s, _step_s(known), steps)
        habit = forecast(newest(known, HABIT_DAYS), grid, site, self._solar, day_s)
        said = {
            HABITS: habit,
            LAST_WEEK: last_week(newest(known, 4 * _WEEK_DAYS), self._solar, site, grid, day_s),
        }
        other = None
        if behind is not None:
            other = apart(newest(known, HABIT_DAYS), behind, self._solar, site, grid, day_s)
        if other is not None:
            said[APART] = other
        parts = [forecast_by(model, known, self._archive, site, day_s) for model in models]
        if parts:
            joined = np.concatenate([part.value_kw for part in parts])[:, :, :steps]
            names = tuple(name for part in parts for name in part.series)
            grid = TimeGrid(parts[0].grid.edges_s[: joined.shape[2] + 1])
            said[LEARNED] = Forecast(grid, names, QUANTILES, joined, day_s)
        return said


def forecast_by(model: Model, known: History, weather: Weather | None, site: Site, now_s: int) -> Forecast:
    """What a model says of its series from a moment on."""
    place = {name: row for row, name in enumerate(known.series)}
    rows = [place[name] for name in model.series if name in place]
    return model.trained.forecast(only(known, rows), weather, site, now_s)


def last_week(known: History, solar: frozenset[str], site: Site, grid: TimeGrid, now_s: int) -> Forecast:
    """The same time last week (sun: yesterday) over uniform steps, with what such values have missed."""
    step_s = _step_s(known)
    at = np.array([(now_s - known.grid.start_s) // step_s], dtype=np.int64)
    leads = (grid.starts_s - now_s) // step_s
    value = np.asarray(known.value_kw, dtype=np.float64)
    starts = known.grid.starts_s
    week = naive(value, starts, site.timezone, at, leads, "week", now_s)[:, 0]
    sunny = np.array([name in solar for name in known.series], dtype=bool)
    if sunny.any():
        week[sunny] = naive(value[sunny], starts, site.timezone, at, leads, "day", now_s)[:, 0]
    told = np.flatnonzero(np.isfinite(week).all(axis=(1, 2)))
    names = tuple(known.series[row] for row in told.tolist())
    return Forecast(grid, names, QUANTILES, np.sort(week[told], axis=-1).transpose(0, 2, 1), now_s)


def only(history: History, rows: Sequence[int]) -> History:
    """Some series of a history."""
    return History(history.grid, tuple(history.series[r] for r in rows), history.value_kw[list(rows)])


def until(history: History, now_s: int) -> History:
    """What of a history was over at a moment."""
    n = int(np.searchsorted(history.grid.edges_s[1:], now_s, side="right"))
    return History(TimeGrid(history.grid.edges_s[: n + 1]), history.series, history.value_kw[:, :n])


def newest(history: History, days: int) -> History:
    """The last days of a history."""
    n = min(history.grid.n, days * DAY_S // _step_s(history))
    return History(
        TimeGrid(history.grid.edges_s[history.grid.n - n :]),
        history.series,
        history.value_kw[:, history.grid.n - n :],
    )


def _step_s(history: History) -> int:
    return int(history.grid.edges_s[1] - history.grid.edges_s[0]) if history.grid.n else 900


def _days(history: History, before: Lessons | None, timezone: str, now_s: int) -> list[int]:
    """First moments of the local days that are over and not marked yet."""
    zone = ZoneInfo(timezone)
    first_s = history.grid.start_s + 2 * _WEEK_DAYS * DAY_S if before is None else before.made_s - DAY_S
    marked_s = set() if before is None else set(before.card.days_s.tolist())
    today = datetime.fromtimestamp(now_s, tz=UTC).astimezone(zone).date()
    days = [today - timedelta(days=back) for back in range(MARKED_DAYS, 0, -1)]
    starts = [int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) for day in days]
    return [t for t in starts if t >= first_s and t not in marked_s and _day_end(t, timezone) <= now_s]


def _day_end(day_s: int, timezone: str) -> int:
    """Midnight after the one at which a local day begins: 23, 24 or 25 hours later."""
    zone = ZoneInfo(timezone)
    day = datetime.fromtimestamp(day_s, tz=zone).date() + timedelta(days=1)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _unseen(day_s: int, before: Lessons | None, step_s: int) -> bool:
    """Whether the models at hand have learnt nothing of a day: what they say of another is no forecast."""
    # Until the first step of a day is over nothing of it can have been learnt.
    return before is None or before.made_s < day_s + step_s


def _by_champion(said: dict[str, Forecast], champion: NDArray[np.int64]) -> Forecast:
    """One forecast of all series: each by its champion, by habit where and when that said nothing."""
    habit = said[HABITS]
    value = habit.value_kw.copy()
    for m, method in enumerate(METHODS[1:], 1):
        other = said.get(method)
        if other is None:
            continue
        place = {name: row for row, name in enumerate(other.series)}
        for row in np.flatnonzero(champion == m).tolist():
            if habit.series[row] in place:
                value[row, :, : other.grid.n] = other.value_kw[place[habit.series[row]]]
    return replace(habit, value_kw=value)


def _carried(history: History, before: Lessons | None) -> NDArray[np.float32]:
    """Scores of the day before, on the steps of now."""
    score = np.full((len(history.series), history.grid.n), np.nan, dtype=np.float32)
    if before is None or before.history.series != history.series:
        return score
    step_s = _step_s(history)
    shift = (before.history.grid.start_s - history.grid.start_s) // step_s
    first, last = max(0, shift), min(history.grid.n, shift + before.score.shape[1])
    if last > first:
        score[:, first:last] = before.score[:, first - shift : last - shift]
    return score


def _place(score: NDArray[np.float32], came: History, said: Forecast, day_s: int) -> None:
    """Set the scores of one day."""
    k = (day_s - came.grid.start_s) // _step_s(came)
    truth: Any = came.value_kw[:, k : k + said.grid.n]
    if truth.shape[1] == said.grid.n:
        score[:, k : k + said.grid.n] = scores_of(truth, said.quantiles, said.value_kw)
