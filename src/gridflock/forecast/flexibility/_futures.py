"""Ways the future may go for a fleet: what each part does unasked, who answers, who leaves when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.forecast._residual import QUANTILES
from gridflock.forecast.flexibility._answers import Chances, answers
from gridflock.schema import Family
from gridflock.units import HOUR_S, NEVER_S, Kw, Mask, Rows, Seconds, TimeGrid

Floats = NDArray[np.float64]

_STAYS_S = 8 * HOUR_S
"""How long a vehicle stays of which nothing is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Resources of one family whose unasked power is one series.

    Attributes:
        rows: int32 (m,) of the fleet.
        base_kw: (K, T) joint paths of what they do unasked, house sign; of vehicles the energy need that
            arrives, as a negative mean power.
    """

    rows: Rows
    base_kw: Kw


@dataclass(frozen=True, slots=True, eq=False)
class Futures:
    """K paths of a fleet of n rows over T steps.

    Attributes:
        image: now.
        grid: the T steps.
        parts: disjoint sets of rows with their bases; rows in no part do nothing unasked.
        answered: (K, n) who would answer.
        leaves_s: (K, n) when a vehicle that is connected leaves; inf for all else.
    """

    image: Image
    grid: TimeGrid
    parts: tuple[Part, ...]
    answered: NDArray[np.bool_]
    leaves_s: Floats

    @property
    def count(self) -> int:
        """K."""
        return len(self.answered)

    def share(self, part: Part) -> Floats:
        """(m,) of a part's base that each of its rows has: by size."""
        columns = self.image.columns
        size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)[part.rows]
        return np.asarray(size / max(float(size.sum()), 1e-9))

    def steps_at(self, moments_s: Seconds) -> NDArray[np.int64]:
        """Step of each moment; beyond the horizon its last."""
        return np.clip(np.searchsorted(self.grid.edges_s, moments_s, side="right") - 1, 0, self.grid.n - 1)


def futures(
    image: Image,
    grid: TimeGrid,
    parts: Sequence[Part],
    chances: Chances | None,
    seed: int,
    stays_s: Floats | None = None,
) -> Futures:
    """Draw who answers and which vehicles leave when, beside paths of what all do unasked.

    Args:
        image: n rows, now; what a set ``depart_s`` says of a vehicle holds in every path.
        grid: T steps.
        parts: with K paths each.
        chances: of the n rows; None: all answer.
        seed: of the draws.
        stays_s: (n, 9) quantiles of the moment each vehicle leaves (``forecast.vehicles.stay``), used where
            its departure is not known; NaN where nothing is.

    Raises:
        ValueError: no part, paths of other numbers or steps, or a row in two parts.
    """
    shapes = {part.base_kw.shape for part in parts}
    rows = np.concatenate([part.rows for part in parts]) if parts else np.zeros(0, np.int32)
    if len(shapes) != 1 or next(iter(shapes))[1:] != (grid.n,) or len(np.unique(rows)) < len(rows):
        raise ValueError("parts need one number of paths over the same steps, and rows of their own")
    count = next(iter(shapes))[0]
    answered = np.ones((count, image.n), bool) if chances is None else answers(chances, count, seed)
    return Futures(image, grid, tuple(parts), answered, _leaving(image, count, seed + 1, stays_s))


def _leaving(image: Image, count: int, seed: int, stays_s: Floats | None) -> Floats:
    """(K, n) when connected vehicles leave."""
    vehicle: Mask = image.family == Family.VEHICLE
    found = np.full((count, image.n), np.inf)
    known = image.depart_s != NEVER_S
    usual = np.where(known, image.depart_s, image.now_s + _STAYS_S).astype(np.float64)
    found[:, vehicle] = usual[vehicle]
    if stays_s is not None:
        rank = np.random.default_rng(seed).random((count, image.n))
        for row in np.flatnonzero(vehicle & ~known & np.isfinite(stays_s).all(axis=1)):
            found[:, row] = np.interp(rank[:, row], QUANTILES, stays_s[row])
    return found
