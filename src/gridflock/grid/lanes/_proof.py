"""Whether packed factors are the factors: they solve random right sides as the float64 factor does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._compiled import exact
from gridflock.grid.lanes._plan import Plan
from gridflock.grid.lanes._point import Point

SEED = 20
SMALL = 1e-3
"""Part of the largest voltage below which a voltage is compared with that instead of with itself."""


def packed_error(plan: Plan, base: Point, lanes: int, right_sides: int = 1) -> float:
    """Largest relative difference between the packed and the float64 factor, at any node.

    Right sides are random at the positions where ports stand; everywhere else both leave zero.
    """
    order = base.factor.order
    rng = np.random.default_rng(SEED)
    asked = _asking(plan)
    worst = 0.0
    for _ in range(right_sides):
        right = np.zeros((len(order.node), 2))
        right[asked] = rng.normal(size=(len(asked), 2))
        wanted = base.factor.solve(right[order.position])[order.node]
        found = right.copy()
        _substitute(plan, found, 2 * lanes)
        size = np.hypot(*wanted.T)
        error = np.hypot(*(found - wanted).T) / (size + SMALL * size.max(initial=1e-300))
        worst = max(worst, float(error.max(initial=0.0)))
    return worst


def _asking(plan: Plan) -> NDArray[np.int64]:
    """Positions at which a port has its first or second end."""
    ends = (np.diff(plan.port_start) > 0) | (np.diff(plan.return_start) > 0)
    return np.flatnonzero(ends) + plan.sizes[1]


@exact
def _substitute(plan: Plan, x: NDArray[np.float64], step: int) -> None:
    """Both passes of the kernel on one right side by position, in place, in float64."""
    n, quiet = plan.sizes[0], plan.sizes[1]
    for q in range(n - quiet):
        own, d = quiet + q, 4 * q
        a, b = x[own]
        re = plan.pivot[d] * a + plan.pivot[d + 1] * b
        im = plan.pivot[d + 2] * a + plan.pivot[d + 3] * b
        for k in range(plan.lower_start[q], plan.lower_start[q + 1]):
            a, b = x[plan.lower[k] // step]
            re -= plan.lower_block[4 * k] * a + plan.lower_block[4 * k + 1] * b
            im -= plan.lower_block[4 * k + 2] * a + plan.lower_block[4 * k + 3] * b
        x[own, 0], x[own, 1] = re, im
    for t in range(n):
        own = n - 1 - t
        for k in range(plan.upper_start[t], plan.upper_start[t + 1]):
            a, b = x[plan.upper[k] // step]
            x[own, 0] -= plan.upper_block[4 * k] * a + plan.upper_block[4 * k + 1] * b
            x[own, 1] -= plan.upper_block[4 * k + 2] * a + plan.upper_block[4 * k + 3] * b
