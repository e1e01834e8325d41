"""Reactive power: what the grid's envelopes ask of inverters, as little as holds the voltages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridflock.fleet import Image, reactive_room
from gridflock.model import Envelope
from gridflock.units import Kvar, Mask, Rows

_STEP_KVAR = 0.1
_STEP_SHARE = 0.05


def reactive_targets(
    envelopes: Sequence[Envelope],
    rows_of: Mapping[str, Rows],
    image: Image,
    planned_kvar: Kvar | None = None,
) -> Kvar:
    """(n,) reactive power asked of each inverter, injection positive; NaN where none is asked.

    Where an envelope has reactive bounds, its group takes the value nearest to its plan (to zero
    without one) that they allow, and shares the difference by room. Such groups are one phase of an
    area: a three-phase inverter answers each of its phases' wishes with a third of its room.

    Args:
        envelopes: with reactive bounds or without.
        rows_of: every group's rows.
        image: the process image.
        planned_kvar: (n,) what the plan means for each row, NaN where nothing.
    """
    room = reactive_room(image)
    share = room / np.maximum(np.bitwise_count(image.columns["phases"]), 1)
    total, asked = np.zeros(image.n), np.zeros(image.n, dtype=bool)
    if planned_kvar is not None:
        asked = np.isfinite(planned_kvar) & (room > 0)
        total = np.where(asked, np.clip(planned_kvar, -room, room), 0.0)
    planned = total.copy()
    for envelope in envelopes:
        lower, upper = envelope.q_lo_kvar, envelope.q_hi_kvar
        if envelope.group not in rows_of or not (np.isfinite(lower) or np.isfinite(upper)):
            continue
        rows = rows_of[envelope.group]
        rows = rows[room[rows] > 0]
        able = float(share[rows].sum())
        if able <= 0 or envelope.until_s <= image.now_s:
            continue
        usual = float((planned[rows] * share[rows] / room[rows]).sum())
        wanted = min(max(usual, lower), upper) - usual
        total[rows] += np.clip(wanted / able, -1.0, 1.0) * share[rows]
        asked[rows] = True
    return np.where(asked, np.clip(total, -room, room), np.nan)


def reactive_due(target_kvar: Kvar, ordered_kvar: Kvar, image: Image) -> Mask:
    """(n,) inverters to send to: their target moved, and it is not nothing instead of nothing."""
    standing = np.nan_to_num(ordered_kvar)
    moved = np.abs(np.nan_to_num(target_kvar) - standing) > np.maximum(
        _STEP_KVAR, _STEP_SHARE * np.abs(standing)
    )
    inside = np.abs(np.nan_to_num(target_kvar)) <= image.columns["s_max_kva"]
    due: Mask = np.isfinite(target_kvar) & moved & inside
    return due
