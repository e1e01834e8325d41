"""The past that forecasts learn from: means per plan group and step.

What a series holds depends on the family, because the plan asks what a group would do *unasked*:
what is on offer for sun, wind, heat-led generation and processes; the energy need that vehicles
bring when they plug in; consumption for comfort loads. ``outside`` is everything at the feeder
head that the resources do not explain: demand, unknown loads and losses.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Groups, Image, arrivals_kwh
from gridflock.model import History
from gridflock.runtime._sites import Sites
from gridflock.schema import Family, Kind
from gridflock.units import HOUR_S, Codes, Kw, Rows, TimeGrid

OUTSIDE = "outside"
STEP_S = 900
_KEEP_DAYS = 9


class Past:
    """Rolling means of 15-minute steps, one series per plan group and ``outside``.

    Args:
        groups: the fleet's groups; ids beginning with ``plan/`` become series.
        sites: connection points with a demand charge, which learn their usual peaks.
        family: (n,) family code per row.
        kind: (n,) kind code per row.
    """

    def __init__(self, groups: Groups, sites: Sites, family: Codes, kind: Codes) -> None:
        self.sites = sites
        self.plan_groups = tuple(g for g in groups.ids if g.startswith("plan/"))
        self.series = (*self.plan_groups, OUTSIDE)
        self._group = np.full(len(family), -1, dtype=np.int64)
        for g, group in enumerate(self.plan_groups):
            self._group[groups.rows(group)] = g
        self._in_group = np.flatnonzero(self._group >= 0)
        self._family = family
        self._head = np.flatnonzero(kind == Kind.FEEDER_HEAD)
        self._load = np.flatnonzero(kind == Kind.LOAD)
        self._offered = np.isin(family, (Family.RENEWABLE, Family.GENERATOR, Family.SHED))
        self._value = np.empty((len(self.series), 0))
        self._end_s = 0
        self._open_s = 0
        self._sum = np.zeros(len(self.series))
        self._need = np.zeros(len(self.series))
        self._count = 0
        self._before: Image | None = None
        self._ratio = np.nan
        self._loaded_until_s = 0

    @property
    def solar(self) -> frozenset[str]:
        """Series whose shape is the sun's."""
        return frozenset(g for g in self.plan_groups if g.startswith("plan/sun/"))

    def load(self, t_s: NDArray[np.int64], columns: Mapping[str, Kw], rows: Rows) -> None:
        """Take in meter data of the days before.

        Args:
            t_s: (T,) starts of uniform 15-minute steps.
            columns: ``p_kw``, ``p_avail_kw``, ``need_kw`` (m, T), house sign.
            rows: (m,) fleet rows of the series; -1 = not in the registry.
        """
        n = len(self._family)
        full = {name: np.zeros((n, len(t_s))) for name in columns}
        known = rows >= 0
        for name, values in columns.items():
            full[name][rows[known]] = np.nan_to_num(values[known])
        self.sites.learn(full["p_kw"])
        per_row = np.where(self._offered[:, None], full["p_avail_kw"], full["p_kw"])
        per_row = np.where((self._family == Family.VEHICLE)[:, None], full["need_kw"], per_row)
        values = np.zeros((len(self.series), len(t_s)))
        np.add.at(values, self._group[self._in_group], per_row[self._in_group])
        values[-1] = full["p_kw"][self._load].sum(axis=0)
        self._value, self._end_s = values, int(t_s[-1]) + STEP_S
        self._loaded_until_s = self._end_s

    def add(self, image: Image) -> None:
        """Count one image towards the step it falls in, and close the step before it.

        An image of a step that is already closed is not counted again.
        """
        start_s = image.now_s - image.now_s % STEP_S
        if start_s < self._end_s:
            return
        if self._count and start_s > self._open_s:
            self._close(self._open_s)
        self._open_s = start_s
        per_row = np.where(self._offered, image.p_avail_kw, image.p_kw)
        # What comfort loads and vehicles draw under orders says nothing of what they would do.
        per_row = np.where(self._family == Family.VEHICLE, 0.0, per_row)
        inside = np.nan_to_num(per_row[self._in_group])
        value = np.bincount(self._group[self._in_group], weights=inside, minlength=len(self.series))
        if self._before is not None:
            need = -arrivals_kwh(self._before, image)[self._in_group] * HOUR_S / STEP_S
            # A need is an energy that appears, so its steps are sums and not means.
            self._need += np.bincount(self._group[self._in_group], weights=need, minlength=len(self.series))
        asked = float(np.nansum(image.p_kw[self._in_group]))
        value[-1] = float(np.nansum(image.p_kw[self._head])) - asked
        demand = float(np.nansum(image.p_kw[self._load]))
        if demand < 0:
            ratio = value[-1] / demand
            self._ratio = ratio if np.isnan(self._ratio) else self._ratio + 0.05 * (ratio - self._ratio)
        self._sum += value
        self._count += 1
        self._before = image

    def _close(self, start_s: int) -> None:
        mean = self._sum / self._count + self._need
        gap = max(0, (start_s - self._end_s) // STEP_S) if self._value.shape[1] else 0
        fill = np.full((len(self.series), gap), np.nan)
        keep = _KEEP_DAYS * 86_400 // STEP_S
        self._value = np.hstack([self._value, fill, mean[:, None]])[:, -keep:]
        self._end_s = start_s + STEP_S
        self._sum = np.zeros(len(self.series))
        self._need = np.zeros(len(self.series))
        self._count = 0

    def history(self) -> History:
        """All closed steps.

        The days before know customer meters only; losses and unmetered loads are added to their
        ``outside`` in the proportion seen since.
        """
        n = self._value.shape[1]
        grid = TimeGrid.uniform(self._end_s - n * STEP_S, STEP_S, n)
        value = self._value.copy()
        if np.isfinite(self._ratio):
            value[-1, grid.starts_s < self._loaded_until_s] *= self._ratio
        return History(grid, self.series, value)

    def to_bytes(self) -> bytes:
        """State for a snapshot: all but ``last_image``."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            series=np.array(self.series),
            value=self._value,
            end_s=self._end_s,
            open_s=self._open_s,
            sum=self._sum,
            need=self._need,
            count=self._count,
            ratio=self._ratio,
            loaded_until_s=self._loaded_until_s,
            site=np.array(self.sites.names, dtype=str),
            site_usual_kw=self.sites.usual_kw,
            site_mean_kw=self.sites.mean_kw,
        )
        return buffer.getvalue()

    @property
    def last_image(self) -> Image | None:
        """The image that was counted last, from which arrivals of vehicles are seen."""
        return self._before

    def restore(self, data: bytes, before: Image | None = None) -> bool:
        """Take a snapshot's state back; False, and nothing done, where it is of other series or sites.

        Args:
            data: from ``to_bytes``.
            before: what ``last_image`` was; None = not known.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if tuple(file["series"]) != self.series or tuple(file["site"]) != self.sites.names:
                return False
            self._value, self._end_s = file["value"], int(file["end_s"])
            self._open_s, self._count = int(file["open_s"]), int(file["count"])
            self._sum, self._need = file["sum"], file["need"]
            self._ratio, self._loaded_until_s = float(file["ratio"]), int(file["loaded_until_s"])
            self.sites.usual_kw, self.sites.mean_kw = file["site_usual_kw"], file["site_mean_kw"]
        self._before = before
        return True
