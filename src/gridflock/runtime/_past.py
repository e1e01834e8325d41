"""The past that forecasts learn from: means per plan group and step.

What a series holds depends on the family, because the plan asks what a group would do *unasked*:
what is on offer for sun, wind, heat-led generation and processes; the energy need that vehicles
bring when they plug in; consumption for comfort loads. ``outside`` is everything at the feeder
head that the resources do not explain: demand, unknown loads and losses. Where too little of a series
is heard (``_metered``), the step is unknown, and nobody learns from it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Groups, Image, arrivals_kwh
from gridflock.fleet.flexible._bands import Coming
from gridflock.forecast import Site
from gridflock.forecast.quality import repaired
from gridflock.model import History, Weather
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.runtime._lessons import HABIT_DAYS, Lessons, newest
from gridflock.runtime._metered import Metered, offered, usual_draw
from gridflock.runtime._out_of_scale import out_of_scale
from gridflock.runtime._points import Points
from gridflock.runtime._sites import Sites
from gridflock.runtime._skies import Skies
from gridflock.runtime._stays import Stays, coming, leaving
from gridflock.runtime._subjects import OUTSIDE
from gridflock.schema import Family
from gridflock.units import DAY_S, HOUR_S, Codes, Kw, Rows, TimeGrid

STEP_S = 900
_T = TypeVar("_T")


def lessons_named(data: bytes) -> str:
    """Name of the lessons that belong to a snapshot's state; empty where none do."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return str(file["lessons"]) if "lessons" in file.files else ""


def _kept(kind: type[_T], data: bytes) -> _T | None:
    """A value of a kind as it was kept; None where another version kept it: it begins anew."""
    try:
        found = from_bytes(data)
    except KeptBroken:
        return None
    return found if isinstance(found, kind) else None


class Past:
    """Rolling means of 15-minute steps, one series per plan group and ``outside``.

    Args:
        groups: the fleet's groups; ids beginning with ``plan/`` become series.
        sites: connection points with a demand charge, which learn their usual peaks.
        family: (n,) family code per row.
        columns: of the registry.
        keep_days: so much is kept.
    """

    def __init__(
        self,
        groups: Groups,
        sites: Sites,
        family: Codes,
        columns: Mapping[str, NDArray[Any]],
        keep_days: int = HABIT_DAYS,
    ) -> None:
        self.sites = sites
        self.skies = Skies()
        """What has been heard of the weather."""
        self.taught: tuple[str, Lessons] | None = None
        """What was learnt last, with its name; None before the first."""
        self.told = ""
        """What became of it when it was read again, where that is to be told."""
        self.keep(keep_days)
        self.plan_groups = tuple(g for g in groups.ids if g.startswith("plan/"))
        self.series = (*self.plan_groups, OUTSIDE)
        self._rows = {group: groups.rows(group) for group in self.plan_groups}
        group_of = np.full(len(family), -1, dtype=np.int64)
        for g, rows in enumerate(self._rows.values()):
            group_of[rows] = g
        self._metered = Metered(group_of, len(self.plan_groups), family, columns)
        self.stays = Stays.of(family, columns)
        """When vehicles were there, and what they needed."""
        self.points = Points.of(columns)
        """Customers' meters, hour by hour."""
        self._family = family
        self._offered = np.isin(family, (Family.RENEWABLE, Family.GENERATOR, Family.SHED))
        self._value = np.empty((len(self.series), 0))
        self._end_s = 0
        self._open_s = 0
        self._sum = np.zeros(len(self.series))
        self._need = np.zeros(len(self.series))
        self._count = np.zeros(len(self.series), dtype=np.int64)
        self._images = 0
        self._before: Image | None = None
        self._ratio = np.nan
        self._loaded_until_s = 0
        self._wild: tuple[tuple[int, int, str], tuple[str, ...]] = (0, 0, ""), ()

    def keep(self, days: int) -> None:
        """Keep so many days from the next closed step on."""
        self._keep = max(days, HABIT_DAYS) * DAY_S // STEP_S

    @property
    def steps(self) -> int:
        """How many closed steps it holds."""
        return self._value.shape[1]

    @property
    def solar(self) -> frozenset[str]:
        """Series whose shape is the sun's."""
        return frozenset(g for g in self.plan_groups if g.startswith("plan/sun/"))

    def load(self, before: Mapping[str, Any], rows: Rows) -> None:
        """Take in meter data of the days before, and the vehicles' stays of these days where they are told.

        Args:
            before: ``t_s`` (T,) starts of uniform 15-minute steps; ``p_kw``, ``p_avail_kw``, ``need_kw``
                (m, T), house sign, NaN where not heard; stays as ``Stays.told_by`` takes them.
            rows: (m,) fleet rows of the series; -1 = not in the registry.
        """
        t_s, n, known = before["t_s"], len(self._family), rows >= 0
        full = {name: np.full((n, len(t_s)), np.nan) for name in ("p_kw", "p_avail_kw", "need_kw")}
        for name, values in full.items():
            values[rows[known]] = before[name][known]
        if "stay_id" in before:
            self.stays = self.stays.told_by(before, rows)
        p_kw = full["p_kw"]
        self.sites.learn(p_kw)
        self.points = self.points.told(t_s, p_kw)
        per_row = np.where(self._offered[:, None], full["p_avail_kw"], p_kw)
        per_row = np.where((self._family == Family.VEHICLE)[:, None], full["need_kw"], per_row)
        values = np.empty((len(self.series), len(t_s)))
        values[:-1] = self._metered.sums(per_row, np.isfinite(per_row))
        values[-1] = self._metered.demand(p_kw, np.isfinite(p_kw), usual_draw(p_kw))
        self._value, self._end_s = values, int(t_s[-1]) + STEP_S
        self._loaded_until_s = self._end_s

    def add(self, image: Image) -> None:
        """Count one image towards the step it falls in, and close the step before it.

        An image of a step that is already closed is not counted again.
        """
        start_s = image.now_s - image.now_s % STEP_S
        if start_s < self._end_s:
            return
        if self._images and start_s > self._open_s:
            self._close(self._open_s)
        self._open_s = start_s
        heard, p_kw = self._metered.heard(image), image.p_kw.astype(np.float64)
        per_row, told = offered(image, self._offered, self._family)
        value = np.empty(len(self.series))
        value[:-1] = self._metered.sums(per_row, heard & told)
        if self._before is not None:
            need = -arrivals_kwh(self._before, image) * HOUR_S / STEP_S
            # A need is an energy that appears, so its steps are sums and not means.
            self._need[:-1] += np.nan_to_num(self._metered.sums(need, heard))
        value[-1] = self._metered.outside(p_kw, heard)
        demand = float(self._metered.demand(p_kw, heard))
        if demand < 0 and np.isfinite(value[-1]):
            ratio = value[-1] / demand
            self._ratio = ratio if np.isnan(self._ratio) else self._ratio + 0.05 * (ratio - self._ratio)
        known = np.isfinite(value)
        self._sum[known] += value[known]
        self._count += known
        self._images += 1
        self._before = image
        self.stays = self.stays.heard(image)
        self.points = self.points.heard(image, heard, self._keep * STEP_S)

    def _close(self, start_s: int) -> None:
        enough = 2 * self._count >= self._images
        mean = np.where(enough, self._sum / np.maximum(self._count, 1) + self._need, np.nan)
        gap = max(0, (start_s - self._end_s) // STEP_S) if self._value.shape[1] else 0
        fill = np.full((len(self.series), gap), np.nan)
        self._value = np.hstack([self._value, fill, mean[:, None]])[:, -self._keep :]
        self._end_s = start_s + STEP_S
        self._sum = np.zeros(len(self.series))
        self._need = np.zeros(len(self.series))
        self._count = np.zeros(len(self.series), dtype=np.int64)
        self._images = 0

    def history(self) -> History:
        """The closed steps that habits look at, mended as far as faults are known."""
        return newest(self.mended(HABIT_DAYS + 1), HABIT_DAYS)

    def mended(self, days: int | None = None) -> History:
        """All closed steps, or those of so many days, mended as far as faults are known.

        What is out of all proportion and not known to the gate yet is taken as not heard.
        """
        whole = self.whole()
        some = whole if days is None else newest(whole, days)
        faults = () if self.taught is None else self.taught[1].findings
        found = repaired(some, faults).history if faults else some
        wild = out_of_scale(found)
        return replace(found, value_kw=np.where(wild, np.nan, found.value_kw)) if wild.any() else found

    def wild(self) -> tuple[str, ...]:
        """Series of which something in the last day is out of all proportion."""
        known = self._end_s, self.steps, "" if self.taught is None else self.taught[0]
        if self._wild[0] != known:
            faults = () if self.taught is None else self.taught[1].findings
            found = out_of_scale(repaired(newest(self.whole(), HABIT_DAYS), faults).history)
            late = found[:, -DAY_S // STEP_S :].any(axis=1)
            self._wild = known, tuple(self.series[row] for row in np.flatnonzero(late).tolist())
        return self._wild[1]

    def measured(self) -> History:
        """All closed steps as they were counted; of the days before, customer meters only."""
        n = self._value.shape[1]
        grid = TimeGrid.uniform(self._end_s - n * STEP_S, STEP_S, n)
        return History(grid, self.series, self._value.copy())

    def whole(self) -> History:
        """All closed steps.

        The days before know customer meters only; losses and unmetered loads are added to their
        ``outside`` in the proportion seen since.
        """
        found = self.measured()
        if np.isfinite(self._ratio):
            found.value_kw[-1, found.grid.starts_s < self._loaded_until_s] *= self._ratio
        return found

    def coming(self, group: str, site: Site, grid: TimeGrid, now_s: int) -> Coming | None:
        """Vehicles that will come to a plan group, step by step; None where nothing is known of such."""
        return coming(self.stays, self._rows[group], site, grid, now_s)

    def leaving(self, image: Image, site: Site, rows: Rows) -> NDArray[np.float64]:
        """When vehicles among some rows leave that have not told it: (n, 9) quantiles, NaN for all else."""
        return leaving(self.stays, image, site, rows)

    def hear(self, told: Weather | None, now_s: int) -> None:
        """Take in a forecast of the weather, where there is a new one."""
        if told is not None:
            self.skies = self.skies.heard(told, now_s, self._keep * STEP_S)

    def be_taught(self, name: str, lessons: Lessons) -> None:
        """Take in what was learnt; of other series than these it is of no use."""
        if lessons.history.series == self.series:
            self.taught = name, lessons

    def to_bytes(self) -> bytes:
        """State for a snapshot: all but ``last_image``, and but what the lessons hold."""
        buffer, told = io.BytesIO(), 0
        if self.taught is not None:
            told = max(0, (self.taught[1].history.grid.end_s - self._end_s) // STEP_S + self._value.shape[1])
        np.savez(
            buffer,
            series=np.array(self.series),
            value=self._value[:, told:],
            lessons=np.array("" if self.taught is None else self.taught[0]),
            skies=np.frombuffer(to_bytes(self.skies), dtype=np.uint8),
            end_s=self._end_s,
            open_s=self._open_s,
            sum=self._sum,
            need=self._need,
            count=self._count,
            images=self._images,
            ratio=self._ratio,
            loaded_until_s=self._loaded_until_s,
            site=np.array(self.sites.names, dtype=str),
            site_usual_kw=self.sites.usual_kw,
            site_mean_kw=self.sites.mean_kw,
            points=np.frombuffer(to_bytes(self._new_points()), dtype=np.uint8),
            stays=np.frombuffer(to_bytes(self.stays), dtype=np.uint8),
        )
        return buffer.getvalue()

    @property
    def last_image(self) -> Image | None:
        """The image that was counted last, from which arrivals of vehicles are seen."""
        return self._before

    def restore(self, data: bytes, before: Image | None = None, history: History | None = None) -> bool:
        """Take a snapshot's state back; False, and nothing done, where it is of other series or sites.

        Args:
            data: from ``to_bytes``.
            before: what ``last_image`` was; None = not known.
            history: what the lessons of that time hold, where these are of no use any more.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if tuple(file["series"]) != self.series or tuple(file["site"]) != self.sites.names:
                return False
            self._value, self._end_s = file["value"], int(file["end_s"])
            self._open_s, self._sum, self._need = int(file["open_s"]), file["sum"], file["need"]
            # Where every series was counted alike, one number stood for all.
            self._count = np.broadcast_to(file["count"], len(self.series)).astype(np.int64)
            self._images = int(file["images"] if "images" in file.files else file["count"])
            self._ratio, self._loaded_until_s = float(file["ratio"]), int(file["loaded_until_s"])
            self.sites.usual_kw, self.sites.mean_kw = file["site_usual_kw"], file["site_mean_kw"]
            if "stays" in file.files:
                found = _kept(Stays, file["stays"].tobytes())
                self.stays = (
                    found if found is not None and np.array_equal(found.rows, self.stays.rows) else self.stays
                )
            if "points" in file.files:
                self._take_points(_kept(Points, file["points"].tobytes()))
            if "skies" in file.files:
                self.skies = _kept(Skies, file["skies"].tobytes()) or Skies()
        start_s = self._end_s - self._value.shape[1] * STEP_S
        if history is None and self.taught is not None:
            history = self.taught[1].history
        self._value = np.hstack([self._of(history, start_s), self._value])[:, -self._keep :]
        self._before = before
        return True

    def _new_points(self) -> Points:
        """What the lessons do not hold."""
        learnt = None if self.taught is None else self.taught[1].points
        return self.points if learnt is None else self.points.since(learnt.end_s)

    def _take_points(self, kept: Points | None) -> None:
        """Points as they were kept, behind what the lessons hold of them."""
        learnt = None if self.taught is None else self.taught[1].points
        if kept is None or not np.array_equal(kept.rows, self.points.rows):
            return
        self.points = kept
        if learnt is not None and np.array_equal(learnt.rows, kept.rows):
            whole = learnt.joined(kept.value_kw, kept.start_s, self._keep * STEP_S)
            self.points = replace(kept, value_kw=whole.value_kw)

    def _of(self, history: History | None, until_s: int) -> Kw:
        """What a history of these series holds of the time before a moment."""
        nothing = np.empty((len(self.series), 0))
        if history is None or history.series != self.series:
            return nothing
        n = (until_s - history.grid.start_s) // STEP_S
        return history.value_kw[:, :n] if 0 < n <= history.grid.n else nothing
