"""A trained model: made once a day or a week, asked at any moment, kept as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._forecast import forecast as by_habit
from gridflock.forecast._residual import QUANTILES
from gridflock.forecast._sun import Site
from gridflock.forecast.learned._blend import Blend
from gridflock.forecast.learned._cells import blind_cells, cells_of
from gridflock.forecast.learned._members import Member, said
from gridflock.forecast.learned._rolling import bounded, single, some_of
from gridflock.forecast.learned._settings import Settings
from gridflock.forecast.learned._view import View, heard_days, view_of
from gridflock.model import Forecast, History, Weather
from gridflock.units import Kw, TimeGrid

_CHUNK = 4_000
"""Series that are forecast at once: what they need stays in a hundred megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Members, their weights and their corrections for one class of series.

    Attributes:
        settings: of the class.
        step_s: of the histories it can be asked with.
        leads: (L,) steps after the one that begins at the moment of issue.
        members: fitted; none where there was too little to learn from: habits answer then.
        blend: weights and corrections.
        trained_s: nothing later was learnt from.
        needs: columns of the weather that were learnt from.
        blind: learnt from the same without weather: answers for steps whose weather is not known; None where
            nothing is needed.
        young: learnt from the same as if they had just begun: answers for series of which few days are known;
            None where there are too few siblings to learn that from.
        usual_kw: size to expect of a series of which nothing is known; NaN where that is not known either.
        few_days: ``young`` answers for series of which fewer days are known of the last four weeks.
        each: models of series that are learnt apart, by name.
    """

    settings: Settings
    step_s: int
    leads: NDArray[np.int64]
    members: tuple[Member, ...]
    blend: Blend | None
    trained_s: int
    needs: tuple[str, ...] = ()
    blind: Trained | None = None
    young: Trained | None = None
    usual_kw: float = float("nan")
    few_days: float = 0.0
    each: tuple[tuple[str, Trained], ...] = ()

    def forecast(
        self, history: History, weather: Weather | None, site: Site, now_s: int, size_kw: Kw | None = None
    ) -> Forecast:
        """Nine quantiles of each series over the steps ahead.

        Any series of the class may be asked for, learnt from or not. One of which fewer than ``few_days``
        are known of the last four weeks is forecast as its siblings were when as much was known of them.
        Series with gaps in the last week get a wider answer; so do steps for which weather is missing
        (``blind_steps``). Where series are learnt apart, one that was not learnt from gets the mean of what
        models of the others say of it. Of the history and the weather only what was known at ``now_s`` is
        used.

        Args:
            history: of the series asked for.
            weather: what is expected, or None.
            site: coordinates, clock, holidays.
            now_s: moment of issue.
            size_kw: (S,) the mean size that a series' attributes let expect (a contract, a nameplate, a count
                of homes), > 0, NaN where they do not; counts as long as little of it is known.

        Raises:
            ValueError: the history's steps are not those that were learnt from.
        """
        _check_step(history, self.step_s)
        grid = _grid(history, self.leads, now_s, self.step_s)
        if self.each:
            return Forecast(
                grid, history.series, QUANTILES.copy(), self._apart(history, weather, site, now_s), now_s
            )
        if not self.members:
            return by_habit(history, grid, site, (), now_s)
        missing = self.blind_steps(history, weather, site, now_s)
        value = np.empty((len(history.series), len(QUANTILES), grid.n))
        sizes = (
            np.full(len(history.series), np.nan) if size_kw is None else np.asarray(size_kw, dtype=np.float64)
        )
        if not missing.all():
            seen = weather if self.needs else None
            found = [
                self._some(some_of(history, rows), seen, site, now_s, sizes[rows]) for rows in _parts(history)
            ]
            value = np.concatenate(found) if found else value
        if self.blind is not None and missing.any():
            value = np.where(
                missing, self.blind.forecast(history, None, site, now_s, size_kw).value_kw, value
            )
        return Forecast(grid, history.series, QUANTILES.copy(), value, now_s)

    @property
    def learnt(self) -> bool:
        """Whether anything was learnt; otherwise habits answer."""
        return bool(self.members) or any(model.learnt for _, model in self.each)

    def blind_steps(
        self, history: History, weather: Weather | None, site: Site, now_s: int
    ) -> NDArray[np.bool_]:
        """(L,) steps that ``forecast`` answers without weather although weather was learnt from.

        At these a column that is needed is absent, ends before, or was published after ``now_s``. None are
        where no weather was learnt from: all that is answered is without it then.
        """
        issue = np.array([now_s], dtype=np.int64)
        return np.asarray(blind_cells(history, weather, site, issue, self.leads, self.needs)[0])

    def _apart(
        self, history: History, weather: Weather | None, site: Site, now_s: int
    ) -> NDArray[np.float64]:
        """Quantiles (S, 9, L), each series by its own model; one without by the mean of all."""
        own = dict(self.each)
        found = np.empty((len(history.series), len(QUANTILES), len(self.leads)))
        for k, one in enumerate(single(history)):
            name = one.series[0]
            asked = [own[name]] if name in own else list(own.values())
            found[k] = np.mean([by.forecast(one, weather, site, now_s).value_kw[0] for by in asked], axis=0)
        return found

    def _some(
        self, history: History, weather: Weather | None, site: Site, now_s: int, size_kw: Kw
    ) -> NDArray[np.float64]:
        """Quantiles (S, 9, L) of some series; those that have just begun by the twin that knows such."""
        if self.young is None:
            return _said(self, history, weather, site, now_s)
        usual = np.where(size_kw > 0, size_kw, self.young.usual_kw)[:, None]
        view = view_of(history, None, site, np.array([now_s], dtype=np.int64), self.leads)
        few = heard_days(view)[:, 0] < self.few_days
        found = np.empty((len(few), len(QUANTILES), len(self.leads)))
        if few.any():
            rows, seen_as = np.flatnonzero(few), partial(replace, usual_kw=usual[few])
            found[few] = _said(self.young, some_of(history, rows), weather, site, now_s, seen_as)
        if not few.all():
            rows, seen_as = np.flatnonzero(~few), partial(replace, usual_kw=usual[~few])
            found[~few] = _said(self, some_of(history, rows), weather, site, now_s, seen_as)
        return found


def _parts(history: History) -> Iterator[NDArray[np.int64]]:
    n = len(history.series)
    for first in range(0, n, _CHUNK):
        yield np.arange(first, min(n, first + _CHUNK))


def _check_step(history: History, step_s: int) -> None:
    if history.grid.n and (np.diff(history.grid.edges_s) != step_s).any():
        raise ValueError(f"history needs steps of {step_s} s")


def _grid(history: History, leads: NDArray[np.int64], now_s: int, step_s: int) -> TimeGrid:
    start = history.grid.start_s
    first = start + ((now_s - start) // step_s + int(leads[0])) * step_s
    return TimeGrid.uniform(first, step_s, len(leads))


def _said(
    by: Trained,
    history: History,
    weather: Weather | None,
    site: Site,
    now_s: int,
    seen_as: Callable[[View], View] | None = None,
) -> NDArray[np.float64]:
    """What a model's members say together (S, 9, L)."""
    issue = np.array([now_s], dtype=np.int64)
    cells = cells_of(history, weather, site, issue, by.leads, by.settings, seen_as=seen_as)
    rows = np.arange(len(cells.issue_s))
    nine = [m.quantiles(said(m.model, cells, rows), cells.hour) for m in by.members]
    assert by.blend is not None
    value = bounded(by.blend.apply(np.stack(nine), cells.bins), cells)
    return value.reshape(len(history.series), len(by.leads), -1).transpose(0, 2, 1)
