"""How much of a group is connected, at work, and would answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.flexible._members import willing
from gridflock.forecast.flexibility._ahead import LEVELS
from gridflock.forecast.flexibility._futures import Futures
from gridflock.schema import Family
from gridflock.units import Kw, Rows, TimeGrid

Floats = NDArray[np.float64]

_AT_WORK = (Family.RENEWABLE, Family.SHED, Family.THERMAL, Family.GENERATOR)


@dataclass(frozen=True, slots=True, eq=False)
class Availability:
    """What of a group would follow an order, quantiles 0.1, 0.5 and 0.9.

    Attributes:
        group: its id.
        grid: T steps.
        share: (3, T) of its members that are there and would answer.
        p_kw: (3, T) power of those, an amount: the rating of stores and vehicles, and of all others what
            they give or draw unasked; >= 0.
        known_at_s: nothing later was used.
    """

    group: str
    grid: TimeGrid
    share: Floats
    p_kw: Kw
    known_at_s: int


def availability(future: Futures, groups: Mapping[str, Rows]) -> tuple[Availability, ...]:
    """Quantiles over the paths of who is there and would answer, group by group.

    Who takes no orders now, or is silent, is not counted on; nor are vehicles that have yet to come.
    """
    image = future.image
    able = np.zeros(image.n, dtype=bool)
    every = np.arange(image.n, dtype=np.int32)
    able[every[willing(image, every)]] = True
    base = _at_work(future)
    found = []
    for name, rows in groups.items():
        own = np.unique(rows)
        there = future.leaves_s[:, own, None] > future.grid.starts_s
        there &= (future.answered[:, own] & able[own])[..., None]
        total = np.zeros((future.count, future.grid.n))
        for part_rows, work in base:
            inside = np.isin(part_rows, own)
            follow = (future.answered[:, part_rows] & able[part_rows])[:, inside, None]
            total += (follow * work[:, inside]).sum(axis=1)
        rated = np.where(np.isin(image.family[own], _AT_WORK), 0.0, _rated(future)[own])
        total += np.einsum("kmt,m->kt", there, rated)
        share = there.mean(axis=1) if len(own) else np.zeros((future.count, future.grid.n))
        shares, powers = (np.quantile(one, LEVELS, axis=0) for one in (share, total))
        found.append(Availability(name, future.grid, shares, powers, image.now_s))
    return tuple(found)


def _at_work(future: Futures) -> list[tuple[Rows, Floats]]:
    """Rows of each part and what they give or draw unasked, (K, m, T), within their ratings."""
    found = []
    for part in future.parts:
        if len(part.rows) and int(future.image.family[part.rows[0]]) in _AT_WORK:
            work = np.abs(part.base_kw)[:, None] * future.share(part)[:, None]
            found.append((part.rows, np.minimum(work, _rated(future)[part.rows][:, None])))
    return found


def _rated(future: Futures) -> Floats:
    columns = future.image.columns
    return np.asarray(np.maximum(columns["p_max_kw"], -columns["p_min_kw"]), dtype=np.float64)
