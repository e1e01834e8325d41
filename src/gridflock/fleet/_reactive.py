"""Reactive power that inverters can give beside their active power."""

from __future__ import annotations

import numpy as np

from gridflock.fleet._columns import Image
from gridflock.schema import INVERTERS
from gridflock.units import Kvar

REACTIVE_SHARE = 0.44
"""Of the apparent-power rating, either way: what IEEE 1547-2018 asks of category B (§5.2)."""


def reactive_room(image: Image) -> Kvar:
    """(n,) largest reactive power either way, kvar; 0 for what has no inverter or is not ready.

    The P–Q disc of the rating, cut at ``REACTIVE_SHARE``; active power goes first.
    """
    s = image.columns["s_max_kva"].astype(np.float64)
    p = np.nan_to_num(image.p_kw.astype(np.float64))
    able = np.isin(image.kind, tuple(INVERTERS)) & (image.ready == 1)
    beside = np.sqrt(np.maximum(s**2 - p**2, 0.0))
    room: Kvar = np.where(able, np.minimum(REACTIVE_SHARE * s, beside), 0.0)
    return room
