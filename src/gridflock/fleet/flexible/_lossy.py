"""Two-way stores with losses as linear chains from inside.

A store with efficiencies a (charging) and b (discharging) moves by ``a`` per kWh drawn and by ``1/b``
per kWh given: that kink makes its set of schedules not convex. The chain counts both ways with the one
gain ``a``. The true content is then never above the counted one, and below it by ``1/b - a`` per kWh
given so far. So the counted content is kept above the floor by the most that can have been lost:

- What is given through step t is at most what the power allows, and at most
  ``P/(P+C)·(A + energy that could be drawn meanwhile)``, where P and C are the largest powers given and
  drawn, and A the energy above the floor now: each step goes one way, and nothing can be given that was
  neither there nor drawn before.
- Where this would take more than ``LOSS_SHARE`` of the store, more than lies above the floor now (so
  that resting stays allowed), or more than is left over where a vehicle must be filled, the later
  steps become one-way, in which the kink is not felt: each of them only charges, or only discharges,
  with its own exact gain.
"""

from __future__ import annotations

import numpy as np

from gridflock.fleet.flexible._compiled import Array
from gridflock.units import Kw, Kwh, Mask

LOSS_SHARE = 0.2
"""Part of a store's span that may be set aside for losses."""
WINDOW_H = 4.0
"""Without a guide, one-way steps change direction this often, every other store in turn, h."""


def two_way(
    hours: Array,
    lo_kw: Kw,
    hi_kw: Kw,
    efficiency: tuple[Array, Array],
    e_now_kwh: Kwh,
    bounds_kwh: tuple[Kwh, Kwh],
    worth: Array | None,
    charging: Mask,
) -> tuple[Kw, Kw, Array, Kwh]:
    """Chains inside stores with losses.

    Args:
        hours: (T,).
        lo_kw: (m, T) <= 0.
        hi_kw: (m, T) >= 0.
        efficiency: (m,) of charging and of discharging.
        e_now_kwh: (m,).
        bounds_kwh: (m, T+1) lowest and highest content.
        worth: (T,) price that guides the one-way steps, or None.
        charging: (m,) stores whose one-way steps all charge, for they must become fuller.

    Returns:
        Lowest and highest power, gain (m, T), and lowest counted content (m, T+1).
    """
    charge, discharge = efficiency
    e_lo, e_hi = bounds_kwh
    lost = 1.0 / discharge - charge
    given = np.cumsum(hi_kw * hours, axis=1)
    drawn = np.cumsum(-lo_kw * hours, axis=1)
    most_hi, most_lo = hi_kw.max(axis=1), -lo_kw.min(axis=1)
    spare = np.maximum(e_now_kwh - e_lo[:, 0], 0.0) / charge
    part = most_hi / (most_hi + most_lo)
    aside = lost[:, None] * np.minimum(given, part[:, None] * (spare[:, None] + drawn))
    allowed = np.minimum(LOSS_SHARE * (e_hi.min(axis=1) - e_lo[:, 0]), e_now_kwh - e_lo[:, 0])
    reached = np.minimum(e_hi[:, 1:], (e_now_kwh + charge * drawn.T).T)
    allowed = np.minimum(allowed, (reached - e_lo[:, 1:]).min(axis=1))
    both = aside <= np.maximum(allowed, 0.0)[:, None]
    # What was set aside stays so: nothing more is lost once steps are one-way.
    aside = np.maximum.accumulate(np.where(both, aside, 0.0), axis=1)
    gives = ~both & _giving(hours, len(lo_kw), worth) & ~charging[:, None]
    lo = np.where(gives, 0.0, lo_kw)
    hi = np.where(both | gives, hi_kw, 0.0)
    gain = hours * np.where(gives, 1.0 / discharge[:, None], charge[:, None])
    e_lo = np.concatenate([e_lo[:, :1], e_lo[:, 1:] + aside], axis=1)
    return lo, hi, gain, e_lo


def _giving(hours: Array, members: int, worth: Array | None) -> Mask:
    """(m, T) which steps only discharge, where they are one-way."""
    if worth is not None:
        return np.broadcast_to(worth > np.median(worth), (members, len(hours)))
    windows = ((np.cumsum(hours) - 0.5 * hours) // WINDOW_H).astype(np.int64)
    dear: Mask = (windows[None, :] + np.arange(members)[:, None]) % 2 == 0
    return dear
