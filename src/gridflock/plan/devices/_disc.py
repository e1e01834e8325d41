"""The set of an inverter's active and reactive power: its rating's disc, cut by bounds on both.

A point ``(p, q)`` is allowed where ``p_lo <= p <= p_hi``, ``|q| <= share·s`` and ``p² + q² <= s²``. Where
a box corner lies outside the disc the boundary between them is an arc, along which both a linear worth
and a distance have one turning point only. So the best point of the arc is the best of the whole circle,
moved to the nearer end of the arc where it lies beyond.
"""

from __future__ import annotations

import math

import numpy as np

from gridflock.plan.devices._compiled import Array, compiled
from gridflock.units import Kvar, Kw

_STEPS = 60
"""Newton steps at most; it takes four to eight."""


def room_kvar(p_kw: Kw, s_kva: Array, share: Array | float) -> Kvar:
    """Largest reactive power either way beside an active power, kvar.

    The one bound on reactive power for all who look for it: 0 where the active power alone fills the
    rating.

    Args:
        p_kw: (..., T) active power; each row is one inverter's.
        s_kva: (...,) apparent-power rating.
        share: (...,) of the rating that reactive power may take, in [0, 1] (IEEE 1547-2018 §5.2: 0.44).

    Returns:
        float64 (..., T), >= 0.
    """
    rating = np.asarray(s_kva, dtype=np.float64)[..., None]
    most = np.asarray(share, dtype=np.float64)[..., None] * rating
    beside = np.sqrt(np.maximum((rating - p_kw) * (rating + p_kw), 0.0))
    room: Kvar = np.minimum(most, beside)
    return room


@compiled
def best_point(
    worth_p: float, worth_q: float, p_lo: float, p_hi: float, s: float, q_most: float
) -> tuple[float, float]:
    """The allowed point with the largest ``worth_p·p + worth_q·q``; what is worth nothing rests.

    Active power that is worth nothing stays as high as the reactive power lets it.
    """
    turn_p, turn_q = (1.0 if worth_p >= 0.0 else -1.0), (1.0 if worth_q >= 0.0 else -1.0)
    lo, hi = (p_lo, p_hi) if turn_p > 0.0 else (-p_hi, -p_lo)
    hi = min(hi, s)
    c_p, c_q = abs(worth_p), abs(worth_q)
    p, q = hi, 0.0
    if c_q > 0.0:
        beside = math.sqrt(max((s - q_most) * (s + q_most), 0.0))
        if hi > beside:
            inner = min(max(beside, lo), hi)
            p = min(max(s * c_p / math.hypot(c_p, c_q), inner), hi)
        q = min(q_most, math.sqrt(max((s - p) * (s + p), 0.0)))
    return turn_p * p, turn_q * q


@compiled
def _on_circle(x: float, y: float, pull_p: float, pull_q: float, s: float) -> tuple[float, float]:
    """The point of the circle nearest to ``(x, y)`` outside of it, both >= 0.

    With equal pulls along the radius; else ``p = pull_p·x/(pull_p + m)``, ``q`` alike, with the one
    multiplier ``m >= 0`` that meets the circle: Newton on the inverse of the length, from below (Moré and
    Sorensen, SIAM J. Sci. Stat. Comput. 4, 1983).
    """
    if pull_p == pull_q:
        length = math.hypot(x, y)
        return s * x / length, s * y / length
    m = 0.0
    for _ in range(_STEPS):
        p, q = pull_p * x / (pull_p + m), pull_q * y / (pull_q + m)
        length = math.hypot(p, q)
        steep = (p * p / (pull_p + m) + q * q / (pull_q + m)) / length**2
        more = (length / s - 1.0) / steep
        m += more
        if more <= 1e-15 * m:
            break
    p, q = pull_p * x / (pull_p + m), pull_q * y / (pull_q + m)
    length = math.hypot(p, q)
    return s * p / length, s * q / length


@compiled
def nearest_point(
    x: float,
    y: float,
    pull_p: float,
    pull_q: float,
    p_lo: float,
    p_hi: float,
    s: float,
    q_most: float,
) -> tuple[float, float]:
    """The allowed point with the least ``pull_p·(p - x)² + pull_q·(q - y)²``."""
    p = min(max(x, p_lo), p_hi)
    q = min(max(y, -q_most), q_most)
    if p * p + q * q <= s * s:
        return p, q
    turn_p, turn_q = (1.0 if p >= 0.0 else -1.0), (1.0 if y >= 0.0 else -1.0)
    lo, hi = (p_lo, p_hi) if turn_p > 0.0 else (-p_hi, -p_lo)
    if turn_p * x < lo:
        # Held away from where it would be: any move off the bound is away from it and takes room from q.
        p = min(max(lo, 0.0), s)
        return turn_p * p, turn_q * min(q_most, math.sqrt(max((s - p) * (s + p), 0.0)))
    p, q = _on_circle(turn_p * x, turn_q * y, pull_p, pull_q, s)
    hi = min(hi, s)
    inner = min(max(math.sqrt(max((s - q_most) * (s + q_most), 0.0)), lo), hi)
    if p < inner or p > hi:
        p = min(max(p, inner), hi)
        q = min(q_most, math.sqrt(max((s - p) * (s + p), 0.0)))
    return turn_p * p, turn_q * q


@compiled
def nearest_points(
    x: Array,
    y: Array,
    pull: tuple[Array, Array],
    p_lo: Array,
    p_hi: Array,
    s: Array,
    q_most: Array,
    p_kw: Array,
    q_kvar: Array,
) -> None:
    """``nearest_point`` for m rows of T steps."""
    for k in range(x.shape[0]):
        for t in range(x.shape[1]):
            p_kw[k, t], q_kvar[k, t] = nearest_point(
                x[k, t], y[k, t], pull[0][k], pull[1][k], p_lo[k, t], p_hi[k, t], s[k], q_most[k]
            )


def onto_disc(
    p_kw: Kw,
    q_kvar: Kvar,
    p_lo_kw: Kw,
    p_hi_kw: Kw,
    s_kva: Array,
    share: Array,
    weight: tuple[Array, Array] | None = None,
) -> tuple[Kw, Kvar]:
    """The nearest allowed points: a repair's or a loop's wish brought back onto the inverters' sets.

    Args:
        p_kw: float64 (m, T) wanted active power.
        q_kvar: float64 (m, T) wanted reactive power.
        p_lo_kw: float64 (m, T) lowest active power, at least ``-s_kva``.
        p_hi_kw: float64 (m, T) highest, not below the lowest, at most ``s_kva``.
        s_kva: float64 (m,) rating, >= 0.
        share: float64 (m,) of the rating that reactive power may take, in [0, 1].
        weight: (m,) of a squared kW and of a squared kvar, > 0; equal where left out.

    Returns:
        Active and reactive power, float64 (m, T).
    """
    p, q = np.empty(p_kw.shape), np.empty(p_kw.shape)
    same = np.ones(len(s_kva))
    nearest_points(p_kw, q_kvar, weight or (same, same), p_lo_kw, p_hi_kw, s_kva, share * s_kva, p, q)
    return p, q
