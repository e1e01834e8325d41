"""What inverters inject at the voltage they see: their law in float64, and as the numbers the lanes read."""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes._circuit import Complex, Float, Inverters

AROUND_PU = 0.03
"""Distance over which the slope of the law is taken, up and down. A curve bends at its corners, and the
lanes of one base point stand on either side of these: half the width of a segment serves most of them."""
COLUMNS = (
    "p_low", "p_high", "watt_from", "watt_to", "watt_p", "watt_slope", "first_low", "first_high",
    "none_below", "full_from", "steady", "second_low", "second_high", "by_v", "by_p", "ratio", "q0",
    "keep_absorb", "keep_inject", "absorb", "inject",
)  # fmt: skip
"""Of a record, in the order in which the law reads them; the part of each port and the segments follow."""
SEGMENTS_FROM = len(COLUMNS) + 1
ROUNDING = 1e-6
"""In a record the power below which there is no reactive power is smaller by this part: a power that stands
right on it, rounded to float32, is not below."""


def powers(c: Inverters, p: Float, v: Float) -> tuple[Float, Float]:
    """Active and reactive power (..., D) in parts of the rating, house sign.

    Args:
        c: settings.
        p: (..., D) active power available, in parts of the rating.
        v: (..., D) voltage seen, per unit.
    """
    p = np.clip(p, c.p_low, c.p_high)
    p = np.minimum(p, c.watt_p + c.watt_slope * (np.clip(v, c.watt_from, c.watt_to) - c.watt_from))
    p = np.clip(p, c.first_low, c.first_high)
    part = np.where(np.abs(p) < c.none_below, 0.0, np.minimum(np.abs(p) / c.full_from, 1.0))
    part = np.maximum(part, c.steady)
    p = np.clip(p, c.second_low, c.second_high)
    x, q = c.by_v * v + c.by_p * p, c.q0 + c.ratio * p
    for k in range(c.corner.shape[1]):
        q = q + c.slope[:, k] * np.clip(x - c.corner[:, k], 0.0, c.width[:, k])
    room = np.sqrt(np.maximum(1.0 - p * p, 0.0))
    q = np.clip(q, -np.maximum(room, c.keep_absorb), np.maximum(room, c.keep_inject))
    q = np.clip(q, -part * c.absorb, part * c.inject)
    room = np.sqrt(np.maximum(1.0 - q * q, 0.0))
    return np.clip(p, -room, room), q


def seen(c: Inverters, r: Float) -> Float:
    """(..., D) mean of the voltages across each inverter's ports, of (..., P) per unit."""
    mean: Float = np.add.reduceat(r[..., c.port], c.start[:-1], axis=-1) / c.count
    return mean


def followed(c: Inverters, s_kva: Complex, r: Float) -> tuple[Complex, Complex]:
    """Injections (P,) with those of the inverters put in, kVA, and their mean slopes around, kVA per unit.

    The slope of a port supposes that the inverter's other ports move alike.

    Args:
        c: inverters.
        s_kva: complex (P,) nominal injections; of inverters what is available.
        r: (P,) voltages, per unit of the rated ones.
    """
    available, v = np.add.reduceat(s_kva.real[c.port], c.start[:-1]) / c.kva, seen(c, r)
    share = (c.kva / c.count)[c.owner]
    at = np.stack([v, v + AROUND_PU, v - AROUND_PU])
    p, q = powers(c, np.broadcast_to(available, at.shape), at)
    whole = (p + 1j * q)[:, c.owner] * share
    held, bend = s_kva.copy(), np.zeros_like(s_kva)
    held[c.port], bend[c.port] = whole[0], (whole[1] - whole[2]) / (2.0 * AROUND_PU)
    return held, bend


def records(c: Inverters) -> Float:
    """(D, SEGMENTS_FROM + 3·k) the settings as the lanes read them."""
    columns = [getattr(c, name) for name in COLUMNS]
    columns[COLUMNS.index("none_below")] = c.none_below * (1.0 - ROUNDING)
    columns[COLUMNS.index("full_from")] = 1.0 / c.full_from
    each = np.stack([c.corner, c.width, c.slope], axis=-1).reshape(len(c.kva), -1)
    return np.column_stack([*columns, 1.0 / c.count, each])
