"""Customers' meters hour by hour: what is looked through for generation that nobody has registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.model import History
from gridflock.schema import Kind
from gridflock.units import HOUR_S, Kw, Mask, Rows, Seconds, TimeGrid

MOST = 500
"""So many meters are kept, the largest."""
_SHARE = 0.5
"""Of an hour's images in which a meter must be heard."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Hourly means of P connection points; what is kept has a thousandth's precision.

    Attributes:
        rows: (P,) of the fleet.
        value_kw: float16 (P, H) house sign, NaN where not heard.
        end_s: end of the last of these hours; 0 before the first.
        open_s: begin of the hour that is open.
        sum_kw: (P,) over the open hour's images.
        count: (P,) how many of them were heard.
        images: how many there were.
    """

    rows: Rows
    value_kw: NDArray[np.float16]
    end_s: int
    open_s: int
    sum_kw: Floats
    count: NDArray[np.int32]
    images: int

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> Points:
        """Nothing heard yet of the customers' meters of a fleet."""
        loads = np.flatnonzero(columns["kind"] == Kind.LOAD)
        largest = loads[np.argsort(columns["p_min_kw"][loads], kind="stable")[:MOST]]
        rows = np.sort(largest).astype(np.int32)
        n = len(rows)
        return cls(rows, np.empty((n, 0), np.float16), 0, 0, np.zeros(n), np.zeros(n, np.int32), 0)

    @property
    def start_s(self) -> int:
        """Begin of the first hour."""
        return self.end_s - int(self.value_kw.shape[1]) * HOUR_S

    def told(self, t_s: Seconds, p_kw: Kw) -> Points:
        """With meter data of the days before: steps that divide an hour, powers (n, T) of all rows."""
        # Of one moment nobody knows how long its step is.
        if len(t_s) < 2:
            return self
        per_hour = HOUR_S // int(t_s[1] - t_s[0])
        skipped = int(-t_s[0] % HOUR_S) * per_hour // HOUR_S
        hours = max(0, len(t_s) - skipped) // per_hour
        mine = p_kw[self.rows, skipped : skipped + hours * per_hour].reshape(len(self.rows), hours, per_hour)
        known = np.isfinite(mine)
        count = known.sum(axis=2)
        mean = np.where(known, mine, 0.0).sum(axis=2) / np.maximum(count, 1)
        value = np.where(count >= _SHARE * per_hour, mean, np.nan).astype(np.float16)
        return replace(self, value_kw=value, end_s=int(t_s[skipped]) + hours * HOUR_S if hours else 0)

    def heard(self, image: Image, heard: Mask, keep_s: int) -> Points:
        """With one more image; of what is past so much is kept."""
        hour_s = image.now_s - image.now_s % HOUR_S
        if hour_s < self.end_s or not len(self.rows):
            return self
        found = self._closed(keep_s) if self.images and hour_s > self.open_s else self
        known = heard[self.rows]
        return replace(
            found,
            open_s=hour_s,
            sum_kw=found.sum_kw + np.where(known, image.p_kw[self.rows], 0.0),
            count=found.count + known.astype(np.int32),
            images=found.images + 1,
        )

    def _closed(self, keep_s: int) -> Points:
        enough = self.count >= max(1.0, _SHARE * self.images)
        mean = np.where(enough, self.sum_kw / np.maximum(self.count, 1), np.nan).astype(np.float16)
        return replace(
            self.joined(mean[:, None], self.open_s, keep_s),
            sum_kw=np.zeros(len(self.rows)),
            count=np.zeros(len(self.rows), np.int32),
            images=0,
        )

    def joined(self, value_kw: NDArray[np.float16], start_s: int, keep_s: int) -> Points:
        """With hours that begin at a later moment."""
        gap = max(0, (start_s - self.end_s) // HOUR_S) if self.value_kw.shape[1] else 0
        fill = np.full((len(self.rows), gap), np.nan, dtype=np.float16)
        value = np.hstack([self.value_kw, fill, value_kw])[:, -(keep_s // HOUR_S) :]
        return replace(self, value_kw=value, end_s=start_s + value_kw.shape[1] * HOUR_S)

    def since(self, moment_s: int) -> Points:
        """Without the hours that were over at a moment."""
        n = int(np.clip((moment_s - self.start_s) // HOUR_S, 0, self.value_kw.shape[1]))
        return replace(self, value_kw=self.value_kw[:, n:])

    def history(self, ids: tuple[str, ...]) -> History:
        """All closed hours; ``ids`` of the rows."""
        n = self.value_kw.shape[1]
        grid = TimeGrid.uniform(self.start_s, HOUR_S, n)
        return History(grid, ids, self.value_kw.astype(np.float64))
