"""What plans' forecasts were worth an hour ahead: marked as the day goes, so that drift near term is seen.

The score card marks a day by what was said at its first moment. Beside it, every plan's forecast of the
quarter-hour that begins an hour later is held against what came, and against persistence: the newest
quarter-hour that was known then. Marks of a day are sums of a few numbers a series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Forecast
from gridflock.runtime._out_of_scale import out_of_scale
from gridflock.runtime._past import STEP_S, Past
from gridflock.units import DAY_S, HOUR_S, utc_offset_s

Floats = NDArray[np.float64]

AHEAD_S = HOUR_S
_KEPT_DAYS = 21
_LATELY, _BEFORE = 3, 7
"""Days that are compared with those before, at least so many."""
_WORSE = 1.3
"""Ratio of misses, in terms of persistence's, from which the last days are worse than those before."""
_NARROW = 0.65
"""Share of truths in the 80 % band below which a week says that it is too narrow."""
_CRPS, _PERSISTED, _INSIDE, _COUNT, _SIZE = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """Of the quarter-hour that begins at a moment: (S, 9) quantiles, and (S,) what was newest then."""

    start_s: int
    value_kw: NDArray[np.float32]
    newest_kw: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearMark:
    """One series over the marked days, an hour ahead; NaN without any.

    Attributes:
        series: its id.
        days: on which it was marked.
        crps_kw: mean over all plans.
        crps_ratio: to the mean absolute error of persistence.
        coverage: share of truths in the 10 to 90 % band.
        drift: that ratio over the last three days to that of the days before.
    """

    series: str
    days: int
    crps_kw: float
    crps_ratio: float
    coverage: float
    drift: float


@dataclass(frozen=True, slots=True, eq=False)
class NearMarks:
    """What is kept between two ticks; each tick makes the next one.

    Attributes:
        series: S ids.
        said: of quarter-hours whose truth is not known yet.
        said_s: when something was said last.
        days: (D,) local days, ordinals, the present one last.
        sums: (D, 5, S) CRPS, persistence's absolute error, hits of the band, how many, absolute truth.
        failed: what went wrong in marking last; empty where nothing did.
    """

    series: tuple[str, ...] = ()
    said: tuple[_Said, ...] = ()
    said_s: int = 0
    days: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sums: Floats = field(default_factory=lambda: np.empty((0, 5, 0)))
    failed: str = ""

    def after(self, past: Past, seen: Forecast | None, now_s: int, timezone: str) -> NearMarks:
        """The next one, after a tick: something happens where a plan was made in it.

        Args:
            past: what came.
            seen: the forecast of the plan in force.
            now_s: moment of the tick.
            timezone: whose days are marked.
        """
        if seen is None or seen.known_at_s != now_s or self.said_s == now_s or not past.steps:
            return self
        anew = NearMarks(seen.series, said_s=now_s, sums=np.empty((0, 5, len(seen.series))))
        try:
            return _held(self if self.series == seen.series else anew, past, seen, now_s, timezone)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in marking must not stop the ticks
            text = f"what was said an hour ahead: {type(error).__name__}: {error}"
            return replace(anew, failed=text[:200])

    def marks(self, days: int) -> Iterator[NearMark]:
        """Every series over its last days."""
        total = self.sums[-days:].sum(axis=0)
        lately, before = self.sums[-_LATELY:].sum(axis=0), self.sums[:-_LATELY].sum(axis=0)
        drift = _ratio(_ratio(lately[_CRPS], lately[_PERSISTED]), _ratio(before[_CRPS], before[_PERSISTED]))
        if len(self.days) < _LATELY + _BEFORE:
            drift = np.full(len(self.series), np.nan)
        for s, name in enumerate(self.series):
            count = total[_COUNT, s]
            marked = int((self.sums[-days:, _COUNT, s] > 0).sum())
            crps, persisted, inside = total[[_CRPS, _PERSISTED, _INSIDE], s].tolist()
            yield NearMark(
                name,
                marked,
                crps / count if count else np.nan,
                crps / persisted if persisted > 0 else np.nan,
                inside / count if count else np.nan,
                float(drift[s]),
            )

    def troubles(self) -> tuple[str, ...]:
        """Series that an hour ahead miss more than they did, or whose band holds too little."""
        if self.failed:
            return (self.failed,)
        if len(self.days) < _LATELY + _BEFORE:
            return ()
        size = self.sums[:, _SIZE].sum(axis=0)
        crps = self.sums[:, _CRPS].sum(axis=0)
        # What is no error beside a series' own size is none.
        told = dict(zip(self.series, (crps > 1e-3 * size).tolist(), strict=True))
        marks = [one for one in self.marks(_BEFORE) if told[one.series]]
        worse = [f"{one.series} ({one.drift:.2f})" for one in marks if one.drift > _WORSE]
        narrow = [f"{one.series} ({one.coverage:.2f})" for one in marks if one.coverage < _NARROW]
        found = (("worse", worse), ("narrow", narrow))
        return tuple(f"forecast near {rule}: {_named(many)}" for rule, many in found if many)


def _held(of: NearMarks, past: Past, seen: Forecast, now_s: int, timezone: str) -> NearMarks:
    """What was said held against what came, and what is said now noted."""
    found = of
    came = past.measured()
    place = {name: row for row, name in enumerate(came.series)}
    told = np.where(out_of_scale(came), np.nan, came.value_kw)
    value = np.asarray(told, dtype=np.float64)[[place[name] for name in seen.series]]
    left: list[_Said] = []
    for said in found.said:
        k = (said.start_s - came.grid.start_s) // STEP_S
        # After a standstill what came then is not kept any more, or was never counted.
        if k < 0 or said.start_s > now_s + AHEAD_S:
            continue
        if k < value.shape[1]:
            found = _marked(found, said, value[:, k], timezone)
        else:
            left.append(said)
    step = seen.grid.step_at(now_s - now_s % STEP_S + AHEAD_S)
    # A step that is longer is no quarter-hour: such plans are not marked.
    if step >= 0 and seen.grid.edges_s[step + 1] - seen.grid.edges_s[step] == STEP_S:
        nine = np.asarray(seen.value_kw[:, :, step], dtype=np.float32)
        left.append(_Said(int(seen.grid.starts_s[step]), nine, value[:, -1].astype(np.float32)))
    return replace(found, said=tuple(left), said_s=now_s, failed="")


def _marked(of: NearMarks, said: _Said, came_kw: Floats, timezone: str) -> NearMarks:
    """With the marks of one quarter-hour; the oldest day goes."""
    start = np.array([said.start_s], dtype=np.int64)
    day = int((start + utc_offset_s(timezone, start))[0] // DAY_S)
    days, sums = of.days, of.sums
    if not len(days) or day > days[-1]:
        days = np.append(days, day)[-_KEPT_DAYS:]
        sums = np.concatenate([sums.reshape(-1, 5, len(of.series)), np.zeros((1, 5, len(of.series)))])
        sums = sums[-_KEPT_DAYS:]
    known = np.isfinite(came_kw) & np.isfinite(said.newest_kw)
    nine = said.value_kw.astype(np.float64)
    level = np.arange(1, 10) / 10.0
    off = came_kw[:, None] - nine
    crps = 2.0 * np.maximum(level * off, (level - 1.0) * off).mean(axis=1)
    slack = 1e-6 * (1.0 + np.abs(came_kw))
    inside = (came_kw >= nine[:, 0] - slack) & (came_kw <= nine[:, -1] + slack)
    one = np.stack([crps, np.abs(came_kw - said.newest_kw), inside, known, np.abs(came_kw)])
    more = sums.copy()
    more[-1] += np.where(known, one, 0.0)
    return replace(of, days=days, sums=more)


def _ratio(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.divide(one, other, out=np.full(len(one), np.nan), where=other > 0))


def _named(many: list[str], most: int = 5) -> str:
    more = f" and {len(many) - most} more" if len(many) > most else ""
    return ", ".join(many[:most]) + more
