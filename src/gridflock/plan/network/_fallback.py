"""What always exists: single steps shrunk towards rest, the nearest to nothing that each device can do.

Where every device can do nothing that is the day without devices, which keeps the limits.

First only ports with a say in what is broken shrink, in the end whole steps, reactive power with them.
Sun and reactive power shrink as they are, batteries by bounds that their nearest schedule keeps, so that what
they lack in one step they do in another; vehicles come last, since only they lose energy by it.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.network._columns import Columns
from gridflock.plan.network._movement import (
    Bounds,
    Dispatch,
    Guard,
    Kinds,
    Space,
    moved,
    within,
    within_power,
)
from gridflock.units import Mask, Money

LAST = 0.3
"""Vehicles shrink with the others once less than this part is left of those."""


def shrunk(
    kinds: Kinds,
    columns: Columns,
    price: Money,
    of: Dispatch,
    held: Bounds,
    guard: Guard,
    space: Space,
    where: Mask,
    part: Float,
    pull: float,
) -> tuple[Dispatch, Bounds]:
    """A dispatch with some steps shrunk.

    Args:
        kinds: the devices, with firm needs and soft ones.
        columns: where they stand.
        price: (k, T) worth of a kWh injected at each port, money/kWh: where displaced energy goes.
        of: the dispatch.
        held: what holds its devices already.
        guard: where energy is not to go.
        space: how much of it can.
        where: (k, T) ports and steps that shrink.
        part: (T,) of their power beyond rest that may stay.
        pull: money per kW² and step of straying from that.

    Returns:
        The dispatch, possible for every device, and the bounds with those of this change.
    """
    bands = kinds.firm
    two_way = bands.up_kw.any(axis=1)
    charging = (bands.gain_down != 0.0) & ~two_way
    mine = where[columns.port]
    keep = np.where(mine, part, 1.0)
    keep[charging] = np.where(mine[charging] & (part <= LAST), part / LAST, 1.0)
    rest = within_power(bands, np.zeros_like(of.p_kw))
    less = keep < 1.0
    wanted = np.where(less, rest + (of.p_kw - rest) * keep, of.p_kw)
    low = np.where(less, np.minimum(wanted, rest), held.low_kw)
    high = np.where(less, np.maximum(wanted, rest), held.high_kw)
    kept = Bounds(low, high)
    found = moved(kinds, columns, price, of, kept, guard, space, wanted, pull)
    q_kvar = of.q_kvar * np.where(where.all(axis=0), part, 1.0)
    return Dispatch(found.p_kw, within(columns, found.p_kw, q_kvar)), kept
