"""Marks of several methods on the same series, a day a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._score import score
from gridflock.model import Forecast, History
from gridflock.units import DAY_S, Seconds

Floats = NDArray[np.float64]

KEPT_DAYS = 60
_FADES_DAYS = 10.0
"""Days over which a mark's weight in choosing falls to 1/e."""
_LEAST_DAYS = 3
"""Days both methods must have been marked on before a champion can lose to another."""
_BETTER = 0.98
"""A challenger must miss at most so much of what the champion misses: champions do not flutter."""


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """The last days' marks.

    Attributes:
        series: S ids.
        methods: M names; the first is always there and is what the others are measured by.
        days_s: (D,) starts of the days, ascending.
        crps_kw: (M, S, D) twice the mean pinball loss of nine quantiles; NaN without forecast or truth.
        mae_kw: (M, S, D) mean absolute error of the median.
        coverage: (M, S, D) share of truths in the 10–90 % band.
        size_kw: (S, D) mean size of what happened.
        champion: (S,) row of ``methods`` to be believed.
    """

    series: tuple[str, ...]
    methods: tuple[str, ...]
    days_s: Seconds
    crps_kw: Floats
    mae_kw: Floats
    coverage: Floats
    size_kw: Floats
    champion: NDArray[np.int64]

    def faded(self, marks: Floats, alike: NDArray[np.bool_]) -> Floats:
        """Means (..., S) over the days of marks (..., S, D), younger ones weighing more, ``alike`` alone."""
        age = (self.days_s[-1] - self.days_s) / DAY_S if len(self.days_s) else np.zeros(0)
        weight = np.where(alike, np.exp(-age / _FADES_DAYS), 0.0)
        total, mass = (np.where(alike, marks, 0.0) * weight).sum(axis=-1), weight.sum(axis=-1)
        mean: Floats = np.divide(total, mass, out=np.full(total.shape, np.nan), where=mass > 0)
        return mean


def new_card(series: tuple[str, ...], methods: tuple[str, ...]) -> Card:
    """A card without marks: the first method is champion everywhere.

    Raises:
        ValueError: no method, or one twice.
    """
    if not methods or len(set(methods)) != len(methods):
        raise ValueError("a card needs methods, each once")
    empty = np.empty((len(methods), len(series), 0))
    return Card(
        series, methods, np.empty(0, np.int64), empty, empty, empty, empty[0],
        np.zeros(len(series), np.int64),
    )  # fmt: skip


def marked(
    card: Card,
    day_s: int,
    history: History,
    forecasts: Mapping[str, Forecast],
    end_s: int | None = None,
) -> Card:
    """The card with one more day, and the champions it makes.

    A champion is deposed where another method missed less over the last days, as marks fade, on the days on
    which both were marked. What gave no forecast for the day, though there was something to mark, is no
    champion.

    Args:
        card: the days before.
        day_s: start of the day; a day that is on the card already is marked anew.
        history: what happened, series of the card among it.
        forecasts: by method, of the steps that lie in the day; others are ignored. A method may be missing,
            and a forecast may lack series.
        end_s: end of the day; None: 24 hours after its start. A local day may have 23 or 25.

    Raises:
        KeyError: a method that the card does not know.
    """
    strange = set(forecasts) - set(card.methods)
    if strange:
        raise KeyError(min(strange))
    end_s = day_s + DAY_S if end_s is None else end_s
    kept = card.days_s != day_s
    shape = (len(card.methods), len(card.series))
    crps, mae, cover = (np.full(shape, np.nan) for _ in range(3))
    for m, method in enumerate(card.methods):
        if method in forecasts:
            said = _of_day(forecasts[method], day_s, end_s)
            crps[m], mae[m], cover[m] = _marks(card.series, history, said)
    size = _size(card.series, history, day_s, end_s)
    days = np.append(card.days_s[kept], day_s)
    order = np.argsort(days, kind="stable")[-KEPT_DAYS:]

    def longer(old: Floats, new: Floats) -> Floats:
        return np.concatenate([old[..., kept], new[..., None]], axis=-1)[..., order]

    found = replace(
        card,
        days_s=days[order],
        crps_kw=longer(card.crps_kw, crps),
        mae_kw=longer(card.mae_kw, mae),
        coverage=longer(card.coverage, cover),
        size_kw=longer(card.size_kw, size),
    )
    return replace(found, champion=_champions(found))


def _champions(card: Card) -> NDArray[np.int64]:
    champion = card.champion.copy()
    here = np.arange(len(card.series))
    silent = np.isnan(card.crps_kw[:, :, -1])
    champion = np.where(silent[champion, here] & ~silent[0], 0, champion)
    for m in range(len(card.methods)):
        ours, theirs = card.crps_kw[champion, here], card.crps_kw[m]
        alike = np.isfinite(ours) & np.isfinite(theirs)
        better = card.faded(theirs, alike) < _BETTER * card.faded(ours, alike)
        enough = alike.sum(axis=1) >= _LEAST_DAYS
        champion = np.where(better & enough & ~silent[m], m, champion)
    return champion


def _of_day(forecast: Forecast, day_s: int, end_s: int) -> Forecast:
    """The steps that begin and end in the day; they must follow each other."""
    grid = forecast.grid
    inside = np.flatnonzero((grid.starts_s >= day_s) & (grid.edges_s[1:] <= end_s))
    if not len(inside):
        return replace(forecast, grid=type(grid)(grid.edges_s[:1]), value_kw=forecast.value_kw[:, :, :0])
    first, last = int(inside[0]), int(inside[-1]) + 1
    return replace(
        forecast,
        grid=type(grid)(grid.edges_s[first : last + 1]),
        value_kw=forecast.value_kw[:, :, first:last],
    )


def _marks(series: tuple[str, ...], history: History, forecast: Forecast) -> tuple[Floats, Floats, Floats]:
    """CRPS, MAE and coverage (S,) of the series that the forecast and the history hold."""
    crps, mae, cover = (np.full(len(series), np.nan) for _ in range(3))
    known = {name: k for k, name in enumerate(forecast.series) if name in set(history.series)}
    rows = [s for s, name in enumerate(series) if name in known]
    if not rows or not forecast.grid.n:
        return crps, mae, cover
    at = [known[series[s]] for s in rows]
    some = replace(forecast, series=tuple(series[s] for s in rows), value_kw=forecast.value_kw[at])
    found = score(history, some)
    crps[rows], mae[rows], cover[rows] = 2.0 * found.pinball_kw, found.mae_kw, found.coverage
    return crps, mae, cover


def _size(series: tuple[str, ...], history: History, day_s: int, end_s: int) -> Floats:
    place = {name: k for k, name in enumerate(history.series)}
    inside = (history.grid.starts_s >= day_s) & (history.grid.edges_s[1:] <= end_s)
    size = np.full(len(series), np.nan)
    for s, name in enumerate(series):
        if name in place:
            value = np.abs(history.value_kw[place[name], inside])
            known = np.isfinite(value)
            size[s] = value[known].mean() if known.any() else np.nan
    return size
