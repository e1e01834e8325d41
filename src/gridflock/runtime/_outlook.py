"""What a group, or all that hangs at the head, would do unasked: as counted, and as expected.

Forecasts are made of plan groups and of what takes no orders. A group made of several of these, or of parts
of them, takes its share of each by size: so means add up, whatever groups are made of which, and quantiles of
sums are those of joint paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gridflock.forecast.together import expected
from gridflock.model import Forecast, History
from gridflock.runtime._expected import by_past_days, drawn
from gridflock.runtime._lessons import Lessons, newest
from gridflock.runtime._past import Past
from gridflock.runtime._subjects import OUTSIDE
from gridflock.runtime._system import System
from gridflock.runtime._views import number, numbers
from gridflock.units import Kw, Rows, iso

_PATHS = 500
_MARKED_DAYS = 21
_LEAST_SHARE = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PartView:
    """A series of the score card in a group, and how reliable what was said of it has been.

    Attributes:
        series: as on the card.
        share: of it in the group.
        steps: marked quarter-hours of the last three weeks, but for those of which the forecast was certain.
        below: share of truths at or below each quantile; empty without marks.
    """

    series: str
    share: float
    steps: int
    below: list[float | None]


@dataclass(frozen=True, slots=True)
class OutlookView:
    """What a group did and is expected to do unasked.

    Attributes:
        group: its id.
        known_at: nothing later was used.
        by: ``own`` quantiles of one series; sums over ``past days`` that hit all series at once; or ``added``
            quantiles, as if all erred together, where too few days are marked: an outer band.
        step_s: of what was counted.
        past_t: starts of these steps.
        past_kw: mean of each as counted, house sign; None where it is unknown.
        t: edges of the steps ahead, one more than these.
        levels: of the quantiles.
        ahead_kw: by level, then by step.
        mean_kw: by step; those of a group's members add up to it, to the rounding.
        parts: the series it is made of, the largest share of power first.
    """

    group: str
    known_at: str
    by: str
    step_s: int
    past_t: list[str]
    past_kw: list[float | None]
    t: list[str]
    levels: list[float]
    ahead_kw: list[list[float | None]]
    mean_kw: list[float | None]
    parts: list[PartView]


def shares_of(system: System, series: tuple[str, ...], rows: Rows) -> Floats:
    """(S,) share of some rows in each forecast series, by size; all have all of what takes no orders.

    A meter without a rating counts as 1 kW, as it does where it speaks for others.
    """
    columns = system.fleet.columns
    size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)
    size = np.where(size > 0, size, 1.0)
    mine = np.zeros(len(size))
    mine[rows] = size[rows]
    found = np.zeros(len(series))
    for s, name in enumerate(series):
        if name == OUTSIDE and len(rows) == len(size):
            found[s] = 1.0
            continue
        members = system.rows_of["demand" if name == OUTSIDE else name]
        whole = float(size[members].sum())
        found[s] = float(mine[members].sum()) / whole if whole > 0 else 0.0
    return found


def mean_of(seen: Forecast, share: Floats) -> Floats:
    """Mean (T,) of a weighted sum of series, tails of their quantiles included.

    Args:
        seen: the forecast.
        share: (S,) from ``shares_of``.
    """
    return np.asarray(share @ expected(seen.quantiles, seen.value_kw))


def paths_of(past: Past, seen: Forecast) -> Kw | None:
    """Joint paths (K, S, T) of a forecast by the ranks of past days; None where too few are marked."""
    return drawn(past, seen, _PATHS, seen.known_at_s) if by_past_days(past, seen) else None


def outlook_of(
    system: System,
    lessons: Lessons | None,
    counted: History,
    seen: Forecast,
    path_kw: Kw | None,
    group: str,
    days: int,
) -> OutlookView:
    """A group's last days and its quantiles ahead.

    Args:
        system: fleet and groups.
        lessons: what was learnt; None: nothing yet.
        counted: what was counted.
        seen: the forecast of the plan in force.
        path_kw: its joint paths, from ``paths_of``.
        group: group or resource id.
        days: so far back.
    """
    share = shares_of(system, seen.series, system.rows_of[group])
    ahead_kw, by = _ahead(path_kw, seen, share)
    back = newest(counted, days)
    place = {name: row for row, name in enumerate(back.series)}
    mine = [s for s in np.flatnonzero(share > _LEAST_SHARE).tolist() if seen.series[s] in place]
    past_kw = share[mine] @ back.value_kw[[place[seen.series[s]] for s in mine]]
    width = np.abs(seen.value_kw).mean(axis=(1, 2)) * share
    return OutlookView(
        group=group,
        known_at=iso(seen.known_at_s),
        by=by,
        step_s=int(back.grid.edges_s[1] - back.grid.edges_s[0]) if back.grid.n else 0,
        past_t=[iso(int(t)) for t in back.grid.starts_s],
        past_kw=numbers(past_kw, 2),
        t=[iso(int(t)) for t in seen.grid.edges_s],
        levels=[round(float(q), 3) for q in seen.quantiles],
        ahead_kw=[numbers(row, 2) for row in ahead_kw],
        mean_kw=numbers(mean_of(seen, share), 2),
        parts=[
            _part(lessons, seen, s, float(share[s])) for s in sorted(mine, key=lambda s: -float(width[s]))
        ],
    )


def _ahead(path_kw: Kw | None, seen: Forecast, share: Floats) -> tuple[Floats, str]:
    """Quantiles (Q, T) of a weighted sum of series, and how they come about."""
    mine = np.flatnonzero(share > _LEAST_SHARE)
    added = np.asarray(np.tensordot(share[mine], seen.value_kw[mine], axes=1), dtype=np.float64)
    if len(mine) <= 1:
        return added, "own"
    if path_kw is None:
        return added, "added"
    together = np.tensordot(path_kw[:, mine].astype(np.float64), share[mine], axes=(1, 0))
    return np.asarray(np.quantile(together, seen.quantiles, axis=0)), "past days"


def _part(lessons: Lessons | None, seen: Forecast, s: int, share: float) -> PartView:
    """One series with its reliability."""
    name = seen.series[s]
    score = np.empty(0)
    if lessons is not None and name in lessons.history.series:
        row = lessons.score[lessons.history.series.index(name)]
        score = np.asarray(row[-_MARKED_DAYS * 96 :], dtype=np.float64)
    # Where all quantiles coincide and the truth is theirs, it has the middle one's score: that says nothing.
    score = score[np.isfinite(score) & (np.abs(score) > _LEAST_SHARE)]
    if not len(score):
        return PartView(name, number(share) or 0.0, 0, [])
    below = (score[None, :] <= ndtri(seen.quantiles)[:, None]).mean(axis=1)
    return PartView(name, number(share) or 0.0, len(score), numbers(below))
