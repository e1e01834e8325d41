"""The curves of inverters compiled: ``respond``, one inverter after the other, for many operating points."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.grid.series._curves import (
    BISECTIONS,
    FULL_REACTIVE_FROM,
    NO_REACTIVE_BELOW,
    REQUIRED_ABSORB,
    REQUIRED_INJECT,
    Curves,
    Priority,
    ReactiveMode,
)
from gridflock.units import Rows

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]
Among = NDArray[np.float32]

_S, _P, _CHARGE, _INJECT, _ABSORB, _STEADY, _REQUIRED, _MODE, _ACTIVE, _RATIO, _Q, _VOLT_WATT = range(12)
_VV, _WV, _VW = 12, 20, 32
_FACTOR, _VOLT_VAR, _WATT_VAR, _CONSTANT = (
    int(ReactiveMode.POWER_FACTOR), int(ReactiveMode.VOLT_VAR), int(ReactiveMode.WATT_VAR),
    int(ReactiveMode.CONSTANT),
)  # fmt: skip


def table(c: Curves) -> Float:
    """(D, 36) settings of each inverter in a row: twelve numbers, then the points of its curves."""
    ratio = np.sqrt(1.0 - c.power_factor**2) / c.power_factor * np.where(c.absorbing, -1.0, 1.0)
    required = np.take(REQUIRED_ABSORB, c.category) * c.s_kva
    charge = np.where(c.p_charge_kw > 0, c.p_charge_kw, np.inf)
    columns = [c.s_kva, c.p_kw, charge, c.q_inject_kvar, c.q_absorb_kvar, c.steady, required, c.mode]
    columns += [c.priority == Priority.ACTIVE, ratio, c.q_pu * c.s_kva, c.volt_watt]
    limits = c.vw_p_pu * np.where(c.vw_p_pu < 0, c.p_charge_kw[:, None], c.p_kw[:, None])
    s_kva = c.s_kva[:, None]
    curves = [c.vv_v_pu, c.vv_q_pu * s_kva, c.wv_p_pu, c.wv_q_pu * s_kva, c.vw_v_pu, limits]
    rows = np.concatenate([np.stack(columns, axis=1).astype(np.float64), *curves], axis=1)
    return np.ascontiguousarray(rows)


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator] # numba carries no annotations
def _along(c: Float, d: int, at: int, count: int, x: float) -> float:
    """A curve of ``count`` points that begins at ``at``: ascending x, then y; flat beyond its ends."""
    if x <= c[d, at]:
        return float(c[d, at + count])
    for k in range(at + 1, at + count):
        if x < c[d, k]:
            share = (x - c[d, k - 1]) / (c[d, k] - c[d, k - 1])
            return float(c[d, k - 1 + count] + share * (c[d, k + count] - c[d, k - 1 + count]))
    return float(c[d, at + 2 * count - 1])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _within(c: Float, d: int, p: float, q: float) -> float:
    """Reactive power inside the capability at an active power."""
    part = 1.0
    if c[d, _STEADY] == 0.0:
        share = abs(p) / c[d, _P]
        part = 0.0 if share < NO_REACTIVE_BELOW else min(share / FULL_REACTIVE_FROM, 1.0)
    return float(min(max(q, -part * c[d, _ABSORB]), part * c[d, _INJECT]))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator] # numba carries no annotations
def _beside(c: Float, d: int, power: float) -> float:
    """What the rating leaves beside a power."""
    return float(np.sqrt(max(c[d, _S] ** 2 - power**2, 0.0)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _by_priority(c: Float, d: int, p: float, q: float) -> tuple[float, float]:
    q = _within(c, d, p, q)
    if p**2 + q**2 <= c[d, _S] ** 2:
        return p, q
    if c[d, _ACTIVE] != 0.0:
        least = min(max(q, -c[d, _REQUIRED]), REQUIRED_INJECT * c[d, _S])
        room = _beside(c, d, p)
        yielding = np.sign(q) * room if abs(q) > room else q
        q = least if abs(yielding) < abs(least) else yielding
    return np.sign(p) * min(abs(p), _beside(c, d, q)), q


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _power_factor(c: Float, d: int, p: float) -> tuple[float, float]:
    q = p * c[d, _RATIO]
    shrink = min(1.0, c[d, _S] / max(np.hypot(p, q), 1e-300))
    most = c[d, _INJECT] if q > 0.0 else c[d, _ABSORB]
    out = np.sign(p) * min(abs(p), _beside(c, d, most)) if abs(q * shrink) > most else p * shrink
    return out, _within(c, d, out, q * shrink)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _watt_var_at(c: Float, d: int, p: float) -> float:
    rated = c[d, _P] if p >= 0.0 or c[d, _CHARGE] == np.inf else c[d, _CHARGE]
    return float(_along(c, d, _WV, 6, p / rated))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _watt_var(c: Float, d: int, p: float) -> tuple[float, float]:
    q, out = _watt_var_at(c, d, p), p
    if p**2 + q**2 > c[d, _S] ** 2:
        low, high = 0.0, p
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            holds = middle**2 + _watt_var_at(c, d, middle) ** 2 <= c[d, _S] ** 2
            low, high = (middle, high) if holds else (low, middle)
        out = low
        q = _watt_var_at(c, d, out)
    return out, _within(c, d, p, q)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def respond_one(c: Float, d: int, p: float, v: float) -> tuple[float, float]:
    """What ``respond`` answers for one inverter; row ``d`` of their ``table``."""
    p = min(max(p, -c[d, _CHARGE]), c[d, _P])
    if c[d, _VOLT_WATT] != 0.0:
        p = min(p, _along(c, d, _VW, 2, v))
    mode = int(c[d, _MODE])
    answer: tuple[float, float] = (min(max(p, -c[d, _S]), c[d, _S]), 0.0)
    if mode == _VOLT_VAR:
        answer = _by_priority(c, d, p, _along(c, d, _VV, 4, v))
    elif mode == _CONSTANT:
        answer = _by_priority(c, d, p, c[d, _Q])
    elif mode == _FACTOR:
        answer = _power_factor(c, d, p)
    elif mode == _WATT_VAR:
        answer = _watt_var(c, d, p)
    return answer


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def answered_one(settings: Float, start: Rows, p_kw: Float, seen_pu: Float, s_kva: Complex) -> None:
    """Powers (P,) of the inverters' ports at available powers (D,) and voltages (P,)."""
    for d in range(len(settings)):
        first, last = start[d], start[d + 1]
        v, part = 0.0, 1.0 / (last - first)
        for e in range(first, last):
            v += seen_pu[e]
        p, q = respond_one(settings, d, p_kw[d], v * part)
        for e in range(first, last):
            s_kva[e] = complex(p * part, q * part)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def answered(settings: Float, start: Rows, p_kw: Float, step: Rows, seen_pu: Float, s_kva: Complex) -> None:
    """Powers of the inverters' ports at some operating points.

    Args:
        settings: (D, 36) ``table``.
        start: (D+1,) first port of each inverter.
        p_kw: (T, D) active power available or wanted.
        step: (S,) row of it.
        seen_pu: (S, P) voltages across the ports.
        s_kva: complex (S, P), written.
    """
    for k in range(len(step)):
        answered_one(settings, start, p_kw[step[k]], seen_pu[k], s_kva[k])


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _add(total: Among, by: float, rows: Among, e: int) -> None:
    for f in range(len(total)):
        total[f] += by * rows[e, f]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def at_rest(
    inverters: tuple[Float, Rows, Float, Rows], seen_pu: Float, s_kva: Complex,
    among: tuple[Among, Among, Float], share: float, limits: tuple[int, float],
) -> None:  # fmt: skip
    """Powers at which inverters and voltages agree, where the voltages follow the powers linearly.

    Args:
        inverters: settings, start, available powers and steps, as ``answered`` takes them.
        seen_pu: (S, P) voltages across the ports at
        s_kva: complex (S, P) these powers; replaced.
        among: (P, P) change of each column's voltage with each row's active and with its reactive
            power, and (P,) ratings.
        share: of the way to the curve that is taken at once.
        limits: most rounds, and the part of its rating by which a port may miss.
    """
    settings, start, p_kw, step = inverters
    by_p, by_q, rating = among
    ports, known = len(rating), 0.2 * limits[1]
    v, wanted = np.empty(ports), np.empty(ports, np.complex128)
    moved = np.empty(ports, np.float32)
    for k in range(len(step)):
        moved[:] = 0.0
        taken, available = s_kva[k], p_kw[step[k]]
        for turn in range(limits[0]):
            for e in range(ports):
                v[e] = seen_pu[k, e] + moved[e]
            answered_one(settings, start, available, v, wanted)
            far = False
            for e in range(ports):
                change = wanted[e] - taken[e]
                size = abs(change.real) + abs(change.imag)
                if size <= known * rating[e]:
                    continue
                far = far or size > limits[1] * rating[e]
                move = change if turn == 0 else share * change
                taken[e] += move
                if move.real != 0.0:
                    _add(moved, np.float32(move.real), by_p, e)
                _add(moved, np.float32(move.imag), by_q, e)
            if not far:
                break
        taken[:] = wanted


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def missed(after: Complex, before: Complex, rating: Float, shares: Float) -> None:
    """Largest (S, 2) change of a port's power, and that of their sum, in parts of its rating, of all's."""
    whole = rating.sum()
    for k in range(len(after)):
        most, total = 0.0, 0.0 + 0.0j
        for e in range(after.shape[1]):
            change = after[k, e] - before[k, e]
            most = max(most, abs(change) / rating[e])
            total += change
        shares[k, 0], shares[k, 1] = most, abs(total) / whole
