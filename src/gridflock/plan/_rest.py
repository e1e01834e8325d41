"""The schedule where nothing could be planned: everybody does what they would do unasked."""

from __future__ import annotations

import numpy as np

from gridflock.model import Reason, Schedule
from gridflock.units import Kw, TimeGrid


def at_rest(
    grid: TimeGrid,
    groups: tuple[str, ...],
    base_kw: Kw,
    fixed_kw: Kw,
    now_s: int,
    reasons: tuple[Reason, ...],
) -> Schedule:
    """Everybody at base; NaN where a number cannot be stood behind.

    Args:
        grid: T steps.
        groups: G plan groups.
        base_kw: (G, T); of another shape it is not known.
        fixed_kw: (T,) everything that takes no orders.
        now_s: moment of planning, unix seconds.
        reasons: why.
    """
    n = max(grid.n, 0)
    shape = (len(groups), n)
    base = base_kw if np.shape(base_kw) == shape else np.full(shape, np.nan)
    net_kw = fixed_kw + base.sum(axis=0)
    return Schedule(
        grid=grid,
        groups=groups,
        p_kw=base,
        base_kw=base,
        fixed_kw=fixed_kw,
        net_kw=net_kw,
        price=np.full(n, np.nan),
        peak_kw=float(np.max(-net_kw, initial=0.0)),
        reasons=reasons,
        cost=float("nan"),
        made_at_s=now_s,
    )
