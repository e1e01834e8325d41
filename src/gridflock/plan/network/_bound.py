"""What the network is worth: prices of rows and ports, and bounds on how much better any plan could be.

The free bound is every device's best answer to its price alone: no plan that keeps more limits can cost less.
The linearised bound adds the limits by their duals y, with the derivatives and exact values of the last
anchor (Lagrange): for any y ``Σ_i min(cost_i - (price·hours + (-Aᵀy))·p_i) + y·(start - A·anchor) - Σ_r
max{y_r·w_r : w_r kept}`` is at most what the best plan of the linear model costs. Reactive power is taken as
free up to its share of the rating. It is tight, but no proof for AC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.network._derivatives import Matrix
from gridflock.plan.network._loop import Loop
from gridflock.plan.network._movement import Dispatch
from gridflock.units import Money

PASSES = 60
"""Between two bounds; the duals' means over the last ones are used."""
WINDOWS = (1, 2, 4, 8)
"""Over so many times these passes: the longer the calmer, the shorter the nearer to the end."""
TIRED = 3
"""Bounds in turn that are hardly better end the search."""
BETTER = 1e-4
"""What is better by less than this share of the cost is hardly better."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What the network adds to the worth of power at device ports.

    Attributes:
        kwh: (k, T) money/kWh injected, k ports; negative where injecting is to be less.
        kvarh: (d, T) money/kvarh, by reactive column.
    """

    kwh: Money
    kvarh: Money


def prices(loop: Loop, s: Matrix | None = None) -> Prices:
    """Locational prices of a loop that has turned, or of other scaled duals (R, T) of its rows."""
    k = loop.day.columns.ports
    added = -loop.pull * loop.system.prices(loop.s if s is None else s).astype(np.float64)
    added /= loop.day.deciders.bands.hours
    return Prices(added[:k], added[k:])


def linear_bound(loop: Loop, s: Matrix) -> float:
    """Least cost of the linear model around the last anchor that duals prove, money.

    Args:
        loop: anchored at the limits themselves (``Loop.anchor_here(aside=False)``).
        s: (R, T) scaled duals, any.
    """
    day, rows = loop.day, loop.system
    columns, bands = day.columns, day.deciders.bands
    added = prices(loop, s)
    price = day.price + added.kwh[columns.port]
    best = day.deciders.best(price)
    devices = day.deciders.cost(best) - float(((price * best) @ bands.hours).sum())
    room = columns.reactive_room(np.zeros_like(best))
    reactive = -float(((room * np.abs(added.kvarh)) @ bands.hours).sum())
    y = -loop.pull * rows.weight[:, None].astype(np.float64) * s
    return devices + reactive + _rows_part(loop, y)


def _rows_part(loop: Loop, y: Float) -> float:
    """``y·(start - A·anchor) - max y·w``."""
    rows, found = loop.system, loop.sides
    r, b = len(rows.volts), len(rows.amps)
    place = found.place[:, rows.amps].reshape(2 * b, -1)
    start = np.concatenate([np.zeros((r, y.shape[1])), place])
    moved = rows.a.astype(np.float64) @ loop.anchor.astype(np.float64)
    boxes = np.where(y[:r] > 0.0, y[:r] * found.high[rows.volts], y[:r] * found.low[rows.volts])
    discs = np.hypot(y[r : r + b], y[r + b :]) * found.radius[rows.amps]
    return float((y * (start - moved)).sum() - boxes.sum() - discs.sum())


def tightened(loop: Loop, plan: Dispatch, most: int) -> float:
    """The best linearised bound around a plan that some passes find; the loop goes on from there.

    Args:
        loop: one that has turned.
        plan: where the linear model is taken.
        most: passes.
    """
    loop.take(plan)
    loop.pull = loop.settings.pull
    loop.linearise()
    loop.anchor_here(aside=False)
    loop.weigh()
    scale = abs(loop.day.value(plan.p_kw))
    best, tired, means = -np.inf, 0, []
    for _ in range(0, most, PASSES):
        loop.passes(PASSES)
        means.append(loop.mean_s)
        wanted = [count for count in WINDOWS if count <= len(means)]
        found = max(linear_bound(loop, np.mean(means[-count:], axis=0)) for count in wanted)
        tired = 0 if found > best + BETTER * scale else tired + 1
        best = max(best, found)
        if tired >= TIRED:
            break
    return best
