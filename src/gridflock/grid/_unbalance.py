"""Voltage unbalance of three-phase buses, by the definitions in use, and its derivative."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import Complex, Float

_TURN = np.exp(2j * np.pi / 3.0)
_NEGATIVE = np.array([1.0, _TURN**2, _TURN]) / 3.0
_POSITIVE = np.array([1.0, _TURN, _TURN**2]) / 3.0
_LINES = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])


class UnbalanceBy(IntEnum):
    """Which definition of voltage unbalance.

    ``LINE``: largest deviation of a line-to-line magnitude from the mean of the three, over that
    mean (NEMA MG 1-2016, 14.36; ANSI C84.1-2020, annex on polyphase voltage unbalance).
    ``SEQUENCE``: negative over positive sequence voltage (IEEE 1159-2019; IEC 61000-4-30).
    ``PHASE``: as ``LINE`` with the line-to-neutral magnitudes (IEEE 141-1993), the one that needs
    no angles.
    """

    LINE = 0
    SEQUENCE = 1
    PHASE = 2


def unbalance(v: Complex | Float, by: UnbalanceBy) -> Float:
    """Unbalance (...), a share of 1, of phase voltages (..., 3) in any unit.

    Args:
        v: complex voltages, or magnitudes for ``PHASE``.
        by: the definition.
    """
    if by == UnbalanceBy.SEQUENCE:
        ratio: Float = np.abs(v @ _NEGATIVE) / np.abs(v @ _POSITIVE)
        return ratio
    sizes = np.abs(v @ _LINES.T if by == UnbalanceBy.LINE else v)
    mean = sizes.mean(axis=-1, keepdims=True)
    spread: Float = np.abs(sizes - mean).max(axis=-1) / mean[..., 0]
    return spread


def unbalance_slope(v: Complex, by: UnbalanceBy) -> Complex:
    """Complex (3,) c with ``du = Re(c̄·dv)`` at the phase voltages v (3,), per volt; NaN in balance."""
    if by == UnbalanceBy.SEQUENCE:
        negative, positive = v @ _NEGATIVE, v @ _POSITIVE
        ratio = abs(negative) / abs(positive)
        if ratio == 0.0:
            return np.full(3, np.nan, dtype=np.complex128)
        slope: Complex = np.conj(_NEGATIVE) * negative / (abs(negative) * abs(positive)) - np.conj(
            _POSITIVE
        ) * positive * (ratio / abs(positive) ** 2)
        return slope
    parts = _LINES if by == UnbalanceBy.LINE else np.eye(3)
    across = parts @ v
    sizes = np.abs(across)
    mean = sizes.mean()
    off = sizes - mean
    worst = int(np.argmax(np.abs(off)))
    if off[worst] == 0.0:
        return np.full(3, np.nan, dtype=np.complex128)
    weight: NDArray[np.float64] = -np.full(3, (np.sign(off[worst]) + abs(off[worst]) / mean) / 3.0)
    weight[worst] += np.sign(off[worst])
    found: Complex = parts.T @ (weight * across / (sizes * mean))
    return found
