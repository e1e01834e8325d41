"""Energy that devices were granted, held in the plan.

A granted resource has no choice for as long as its grant lasts: what it may still move is bounded to the rest
of each step, and what the grant stores is neither stored once more nor owed. A vehicle that is granted energy
and has yet to come is planned all the same, and so much less is expected of those who come unnamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.model import Flexibility
from gridflock.units import HOUR_S, Kw, Kwh, Rows, TimeGrid

Floats = NDArray[np.float64]
_NOTHING_KW = 1e-9


@dataclass(frozen=True, slots=True)
class Granted:
    """Energy that a resource was granted in an interval.

    Attributes:
        id: of the grant.
        resource: who was granted it.
        start_s: from when on, unix seconds.
        end_s: until when.
        p_kw: power that it may have at most; injection positive, so that charging is negative.
        e_kwh: energy, of the same sign.
    """

    id: str
    resource: str
    start_s: int
    end_s: int
    p_kw: float
    e_kwh: float

    @property
    def rate_kw(self) -> float:
        """The energy spread over the interval, at no more than the power that is granted."""
        mean = abs(self.e_kwh) * HOUR_S / max(self.end_s - self.start_s, 1)
        return float(np.copysign(min(mean, abs(self.p_kw)), self.p_kw))

    def share(self, grid: TimeGrid) -> Floats:
        """(T,) part of each step that it takes."""
        edges = grid.edges_s
        held = np.minimum(edges[1:], self.end_s) - np.maximum(edges[:-1], self.start_s)
        part: Floats = np.clip(held, 0, None) / np.diff(edges)
        return part


def able_kw(image: Image, row: int) -> tuple[float, float]:
    """Lowest and highest power of a resource, with 0 between them."""
    low, high = float(image.columns["p_min_kw"][row]), float(image.columns["p_max_kw"][row])
    return min(low, 0.0), max(high, 0.0)


def firm(able: Flexibility, rows: Rows, granted: Sequence[Granted], image: Image) -> Flexibility:
    """What resources can do beside what they were granted, which is part of their base.

    Args:
        able: m resources; not changed.
        rows: (m,) their fleet rows.
        granted: to them and to others.
        image: the process image.
    """
    place = {image.ids[row]: m for m, row in enumerate(rows.tolist())}
    mine = [(place[one.resource], one) for one in granted if one.resource in place]
    mine = [(m, one) for m, one in mine if one.share(able.grid).any()]
    if not mine:
        return able
    found = replace(
        able,
        base_kw=able.base_kw.copy(),
        up_kw=able.up_kw.copy(),
        down_kw=able.down_kw.copy(),
        x_lo_kwh=able.x_lo_kwh.copy(),
        x_hi_kwh=able.x_hi_kwh.copy(),
    )
    for m in sorted({m for m, _ in mine}):
        _hold(found, m, int(rows[m]), [one for at, one in mine if at == m], image)
    return found


def _hold(able: Flexibility, m: int, row: int, granted: Sequence[Granted], image: Image) -> None:
    """Take the choice from one resource while its grants last."""
    grid = able.grid
    parts = np.array([one.share(grid) for one in granted])
    taken = np.minimum(parts.sum(axis=0), 1.0)
    free, (low, high) = 1.0 - taken, able_kw(image, row)
    # Several that hold at once add up, as far as their resource can do so much.
    p_kw = np.clip(np.array([one.rate_kw for one in granted]) @ parts, low * taken, high * taken)
    up, down = able.up_kw[m], able.down_kw[m]
    there = bool((up > _NOTHING_KW).any() or (down > _NOTHING_KW).any())
    if there:
        p_kw, stored = _storable(able, m, row, p_kw, image)
        able.x_lo_kwh[m] -= stored
        able.x_hi_kwh[m] -= stored
    able.base_kw[m] = able.base_kw[m] * free + p_kw
    up *= free
    down *= free
    if there:
        _reachable(able, m)


def _storable(able: Flexibility, m: int, row: int, p_kw: Kw, image: Image) -> tuple[Kw, Kwh]:
    """(T,) powers as far as there is room for them in store, and (T + 1,) what they store."""
    energy = float(image.e_kwh[row])
    known = np.isfinite(energy)
    room = max(float(image.columns["e_max_kwh"][row]) - energy, 0.0) if known else np.inf
    spare = max(energy - float(image.columns["e_reserve_kwh"][row]), 0.0) if known else np.inf
    gain = np.where(p_kw > 0, able.gain_up[m], -able.gain_down[m])  # of injection
    stored = np.zeros(len(p_kw) + 1)
    fits = p_kw.copy()
    for t, wanted in enumerate((p_kw * gain * able.grid.hours).tolist()):
        stored[t + 1] = min(max(stored[t] + wanted, -spare), room)
        fits[t] *= (stored[t + 1] - stored[t]) / wanted if wanted else 0.0
    return fits, stored


def _reachable(able: Flexibility, m: int) -> None:
    """Bounds of a store that what is left of its power can keep: never missed, never in vain."""
    hours = able.grid.hours
    one, other = able.gain_up[m] * able.up_kw[m] * hours, able.gain_down[m] * able.down_kw[m] * hours
    rise = np.maximum(one, 0.0) + np.maximum(other, 0.0)
    fall = np.minimum(one, 0.0) + np.minimum(other, 0.0)
    low, high = able.x_lo_kwh[m], able.x_hi_kwh[m]
    for t in range(len(hours) - 1, -1, -1):
        low[t] = max(low[t], low[t + 1] - rise[t])
        high[t] = min(high[t], high[t + 1] - fall[t])
    low[0], high[0] = min(low[0], 0.0), max(high[0], 0.0)
    least = most = 0.0
    for t in range(len(hours)):
        lowest, highest = least + fall[t], most + rise[t]
        high[t + 1] = max(high[t + 1], lowest)
        low[t + 1] = min(low[t + 1], highest, high[t + 1])
        least, most = max(lowest, low[t + 1]), min(highest, high[t + 1])


def less_expected(inflow_kw: Kw, rows: Rows, granted: Sequence[Granted], image: Image, grid: TimeGrid) -> Kw:
    """(T,) energy that vehicles will bring the need for, without what those among them were granted.

    Args:
        inflow_kw: (T,) the need as a negative mean power.
        rows: of the group that they belong to.
        granted: to them and to others.
        image: who is there.
        grid: T steps.
    """
    away = {image.ids[row] for row in rows.tolist() if image.ready[row] != 1}
    coming = [one for one in granted if one.resource in away and one.p_kw < 0]
    if not coming:
        return inflow_kw
    need = np.maximum(-np.asarray(inflow_kw, dtype=np.float64), 0.0) * grid.hours
    for one in coming:
        part = one.share(grid)
        left = float((part * grid.hours).sum()) * abs(one.rate_kw)
        # Who comes for it comes before it is over, and rather shortly than long before it.
        for t in range(int(np.flatnonzero(part).max(initial=-1)), -1, -1):
            taken = min(need[t], left)
            need[t], left = need[t] - taken, left - taken
    return -need / grid.hours
