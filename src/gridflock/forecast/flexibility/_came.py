"""What groups could have delivered, seen afterwards, and forecasts set right by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.fleet.flexible import Outlook, flexibility_set
from gridflock.forecast.flexibility._ahead import LEVELS, Asked, FlexibilityAhead, Way
from gridflock.forecast.flexibility._levels import changes
from gridflock.forecast.flexibility._members import SAME, inner_grid, noticed, run_steps, switched_off
from gridflock.forecast.flexibility._states import charging
from gridflock.units import Kw, Rows

Floats = NDArray[np.float64]

_FLOOR = 0.02
"""Least width, of the median, that misses are measured in."""
_CALM = 2.0
"""Days of evidence that no correction is worth."""


def came(
    image: Image, unasked_kw: Kw, groups: Mapping[str, Rows], asked: Asked, answered: NDArray[np.bool_]
) -> Kw:
    """What groups could have delivered from the moment of an image on.

    Args:
        image: of the moment.
        unasked_kw: (n, H) what each row then did unasked, over the H steps of the longest run.
        groups: G sets of rows.
        asked: notices and runs.
        answered: (n,) who answered, or would have.

    Returns:
        (2, G, N, R) change up and down, >= 0.
    """
    runs, inner = run_steps(asked), inner_grid(asked, image.now_s, tail=True)
    after = np.repeat(unasked_kw[:, -1:], inner.n - runs[-1], axis=1)
    unasked = np.concatenate([unasked_kw[:, : runs[-1]], after], axis=1)
    running = np.arange(runs[-1]) < runs[:, None]
    found = np.empty((2, len(groups), len(asked.notices_s), len(runs)))
    for way, up in enumerate((True, False)):
        worth = np.where(np.arange(inner.n) < runs[-1], 1.0, 0.0) * (1.0 if up else -1.0)
        every = np.arange(image.n, dtype=np.int32)
        able = flexibility_set(image, every, inner, Outlook(unasked_kw=unasked, worth=worth))
        own, blocks = able.members.chains.rows, able.members.blocks
        same = np.isin(image.family[own], SAME)[:, None]
        base = np.where(same, charging(image, own, inner.hours), unasked[own])
        can = changes(able, base, runs, up=up).change_kw[..., : runs[-1]]
        each = np.zeros((image.n, len(asked.notices_s), len(runs), int(runs[-1])))
        each[own] = noticed(can, image, own, asked)
        if up and blocks.n:
            each[blocks.rows] += switched_off(able, image, asked)
        each *= answered[:, None, None, None]
        for g, rows in enumerate(groups.values()):
            total = each[np.unique(rows)].sum(axis=0)
            found[way, g] = total.min(axis=-1, where=running, initial=np.inf)
    return found


def missed(said: FlexibilityAhead, step: int, came_kw: Kw) -> Floats:
    """How far what came lay from what was said of a step, in widths of the band.

    Args:
        said: the forecast.
        step: of its moments.
        came_kw: (2, N, R) of the group, from ``came``.

    Returns:
        (2, R) at the largest notice; NaN where nothing was said and nothing came.
    """
    found = np.empty((2, len(said.asked.runs_s)))
    for way, of in enumerate((said.up, said.down)):
        low, middle, high = of.change_kw[:, -1, :, step]
        width = _width(low, middle, high)
        off = came_kw[way, -1] - middle
        found[way] = np.divide(off, width, out=np.full(len(off), np.nan), where=width > 0)
    return found


def recalibrated(said: FlexibilityAhead, past: Floats, days: int) -> FlexibilityAhead:
    """A forecast whose three quantiles are moved to where what came has lain.

    Args:
        said: as counted from paths.
        past: (n, 2, R) from ``missed``, of the same group, whose truth is known by now.
        days: how many days these are of: their misses hang together.

    Returns:
        The same with other changes; longer runs still never give more, and more notice never less.
    """
    sides = []
    for way, of in enumerate((said.up, said.down)):
        change = of.change_kw.copy()
        for r in range(len(said.asked.runs_s)):
            known = past[np.isfinite(past[:, way, r]), way, r]
            if len(known):
                where = np.asarray(np.quantile(known, LEVELS), dtype=np.float64)
                change[:, :, r] = _moved(change[:, :, r], where, days / (days + _CALM))
        change = np.sort(np.maximum(change, 0.0), axis=0)
        change = np.minimum.accumulate(np.maximum.accumulate(change, axis=1), axis=2)
        sides.append(Way(change, of.rebound_kwh, of.recovery_s))
    return replace(said, up=sides[0], down=sides[1])


def _moved(change: NDArray[np.floating], where: Floats, trust: float) -> Floats:
    """Quantiles (3, N, T) drawn towards the median plus so many widths (3,)."""
    low, middle, high = change
    wanted = middle + where[:, None, None] * _width(low, middle, high)
    return np.asarray(np.where(middle + high > 0, (1.0 - trust) * change + trust * wanted, change))


def _width(low: NDArray[np.floating], middle: NDArray[np.floating], high: NDArray[np.floating]) -> Floats:
    return np.asarray(np.maximum(high - low, _FLOOR * middle))
