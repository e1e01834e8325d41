"""What some stores of a group can no longer draw, drawn by others of the group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices import Stores
from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.units import Kw


def resplit(stores: Stores, p_kw: NDArray[np.float32], missing_kw: Kw) -> Kw:
    """Lower stores' schedules, in place, so that their group draws what is missing.

    Stores are taken in order; each gives less or draws more as far as its power goes and as its content
    then stays under its highest in every later step.

    Args:
        stores: the oracle.
        p_kw: float32 (m, T) schedules that the stores' contents allow.
        missing_kw: (G, T) by how much each group's sum is to fall, >= 0; becomes the result.

    Returns:
        (G, T) what nobody could draw.
    """
    gains = (stores.eff_charge, stores.eff_discharge)
    contents = (stores.e_now_kwh, stores.e_hi_kwh)
    window = (stores.first, stores.last)
    for g in np.flatnonzero(missing_kw.any(axis=1)):
        members = (int(stores.start[g]), int(stores.start[g + 1]))
        _lower(members, p_kw, missing_kw[g], stores.charge_kw, gains, contents, window, stores.hours)
    return missing_kw


@compiled
def _lower(
    members: tuple[int, int],
    p_kw: NDArray[np.float32],
    missing: Array,
    charge: Array,
    gains: tuple[Array, Array],
    contents: tuple[Array, Array],
    window: tuple[Indices, Indices],
    hours: Array,
) -> None:
    """One group's stores in order, each from its last step back: what it stores there fills none before."""
    steps = len(hours)
    room = np.empty(steps)
    for k in range(members[0], members[1]):
        eff_in, eff_out = gains[0][k], gains[1][k]
        e = contents[0][k]
        for t in range(window[0][k], window[1][k]):
            p = p_kw[k, t]
            e += (-p * eff_in if p < 0.0 else -p / eff_out) * hours[t]
            room[t] = contents[1][k] - e
        least = np.inf
        for t in range(window[1][k] - 1, window[0][k] - 1, -1):
            least = max(min(least, room[t]), 0.0)
            if missing[t] <= 0.0 or least <= 0.0:
                continue
            p = float(p_kw[k, t])
            less = min(max(p, 0.0), missing[t], least * eff_out / hours[t])
            stored = less / eff_out * hours[t]
            more = min(charge[k] - max(-p, 0.0), missing[t] - less, (least - stored) / eff_in / hours[t])
            more = max(more, 0.0) if p - less <= 0.0 else 0.0
            p_kw[k, t] = p - less - more
            missing[t] -= less + more
            least -= stored + more * eff_in * hours[t]
