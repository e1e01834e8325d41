"""What devices do while nobody coordinates them: curves of voltage, a default envelope, two thresholds.

Nothing here needs a message: every value is measured at the device or was handed to it before. So a feeder
without feedback is not without control, only without its neighbours' knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.dispatch.feedback._sight import Able, Float, Powers
from gridflock.units import Kw, Pu

_EASY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """What each of n devices follows by itself.

    The curves' defaults are those of IEEE 1547-2018, category B: volt-var of table 8 (reactive power as a
    part of the largest), volt-watt of table 10 (active power as a part of the rated).

    Attributes:
        p_lo_kw: (n,) default envelope, lower.
        p_hi_kw: (n,) upper.
        charge_below: (n,) price below which a store charges, money/kWh; NaN for what is no store.
        discharge_above: (n,) price above which it discharges.
        var_v_pu: voltages of the volt-var curve, ascending.
        var_part: reactive power there, injection positive.
        watt_v_pu: voltages of the volt-watt curve, ascending.
        watt_part: largest active power there.
    """

    p_lo_kw: Kw
    p_hi_kw: Kw
    charge_below: Float
    discharge_above: Float
    var_v_pu: tuple[float, ...] = (0.92, 0.98, 1.02, 1.08)
    var_part: tuple[float, ...] = (1.0, 0.0, 0.0, -1.0)
    watt_v_pu: tuple[float, ...] = (1.06, 1.10)
    watt_part: tuple[float, ...] = (1.0, 0.2)


def alone(local: Local, able: Able, v_pu: Pu, price: float) -> Powers:
    """Powers of devices left to themselves.

    Args:
        local: what they follow.
        able: what they can do.
        v_pu: (n,) voltage at each device; NaN is taken for nominal.
        price: present price of the plan they were left with, money/kWh; NaN: stores rest.

    Returns:
        Inside ``able`` and the default envelope; active power goes before reactive power.
    """
    v = np.where(np.isfinite(v_pu), v_pu, 1.0)
    low = np.maximum(able.p_lo_kw, local.p_lo_kw)
    high = np.maximum(np.minimum(able.p_hi_kw, local.p_hi_kw), low)
    store = np.isfinite(local.charge_below) & np.isfinite(local.discharge_above)
    with np.errstate(invalid="ignore"):
        charges, discharges = price < local.charge_below, price > local.discharge_above
    rests = np.clip(0.0, low, high)
    p_kw = np.where(store, np.where(charges, low, np.where(discharges, high, rests)), high)
    rated = np.where(np.isfinite(able.s_kva), able.s_kva, np.inf)
    p_kw = np.minimum(p_kw, rated * np.interp(v, local.watt_v_pu, local.watt_part))
    p_kw = np.maximum(p_kw, able.p_lo_kw)
    room = np.sqrt(np.maximum(able.s_kva**2 - p_kw**2, 0.0))
    asked = able.q_most_kvar * np.interp(v, local.var_v_pu, local.var_part)
    return Powers(p_kw, np.clip(asked, -room, room))
