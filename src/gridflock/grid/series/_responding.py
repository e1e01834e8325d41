"""The curves of inverters compiled: ``respond``, one inverter after the other, for many operating points."""

from __future__ import annotations

from typing import NamedTuple

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


class Settings(NamedTuple):
    """The settings of D inverters as compiled code reads them.

    Attributes:
        rows: (D, 36) twelve numbers, then the points of the curves.
        columns: (18, D) what volt-var with reactive power first needs, as offsets and slopes.
        others: inverters that do something else.
        start: (D+1,) first port of each inverter.
    """

    rows: Float
    columns: Float
    others: Rows
    start: Rows


def settings(c: Curves, start: Rows) -> Settings:
    """The settings of inverters whose ports begin at ``start`` (D+1,)."""
    rows = table(c)
    swift = (c.mode == ReactiveMode.VOLT_VAR) & (c.priority == Priority.REACTIVE)
    columns = [rows[:, k] for k in (_S, _P, _CHARGE, _INJECT, _ABSORB, _STEADY)]
    columns += [rows[:, _VV + k] for k in range(5)]
    columns += [_slopes(rows[:, _VV : _VV + 4], rows[:, _VV + 4 : _VV + 8])[:, k] for k in range(3)]
    fall = _slopes(rows[:, _VW : _VW + 2], rows[:, _VW + 2 : _VW + 4])[:, 0]
    limited = c.volt_watt
    columns += [rows[:, _VW], rows[:, _VW + 1], np.where(limited, rows[:, _VW + 2], np.inf)]
    columns += [np.where(limited, fall, 0.0)]
    return Settings(rows, np.ascontiguousarray(columns), np.flatnonzero(~swift).astype(np.int32), start)


def _slopes(x: Float, y: Float) -> Float:
    width, rise = np.diff(x, axis=1), np.diff(y, axis=1)
    slopes: Float = np.divide(rise, width, out=np.zeros_like(rise), where=width > 0)
    return slopes


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


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})  # type: ignore[untyped-decorator] # numba carries no annotations
def _volt_var(c: Float, available: Float, v: Float, p_kw: Float, q_kvar: Float) -> None:
    """Volt-var with reactive power first for all inverters, without branches, so that vectors do it."""
    for d in range(len(v)):
        x = v[d]
        p = min(max(available[d], -c[2, d]), c[1, d])
        p = min(p, c[16, d] + c[17, d] * (min(max(x, c[14, d]), c[15, d]) - c[14, d]))
        q = c[10, d]
        q += c[11, d] * (min(max(x, c[6, d]), c[7, d]) - c[6, d])
        q += c[12, d] * (min(max(x, c[7, d]), c[8, d]) - c[7, d])
        q += c[13, d] * (min(max(x, c[8, d]), c[9, d]) - c[8, d])
        share = abs(p) / c[1, d]
        part = min(share / FULL_REACTIVE_FROM, 1.0)
        part = 0.0 if share < NO_REACTIVE_BELOW else part
        part = max(part, c[5, d])
        q = min(max(q, -part * c[4, d]), part * c[3, d])
        room = np.sqrt(max(c[0, d] * c[0, d] - q * q, 0.0))
        p_kw[d] = min(max(p, -room), room)
        q_kvar[d] = q


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def answered_one(own: Settings, available: Float, seen_pu: Float, room: Float, s_kva: Complex) -> None:
    """Powers (P,) of the inverters' ports at available powers (D,) and voltages (P,); room (3, D)."""
    start, v, p_kw, q_kvar = own.start, room[0], room[1], room[2]
    single = len(v) == len(seen_pu)
    for d in range(len(v)):
        v[d] = seen_pu[d] if single else seen_pu[start[d] : start[d + 1]].mean()
    _volt_var(own.columns, available, v, p_kw, q_kvar)
    for d in own.others:
        p_kw[d], q_kvar[d] = respond_one(own.rows, d, available[d], v[d])
    for d in range(len(v)):
        part = 1.0 / (start[d + 1] - start[d])
        for e in range(start[d], start[d + 1]):
            s_kva[e] = complex(p_kw[d] * part, q_kvar[d] * part)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def answered(own: Settings, p_kw: Float, step: Rows, seen_pu: Float, s_kva: Complex) -> None:
    """Powers of the inverters' ports at some operating points.

    Args:
        own: settings.
        p_kw: (T, D) active power available or wanted.
        step: (S,) row of it.
        seen_pu: (S, P) voltages across the ports.
        s_kva: complex (S, P), written.
    """
    room = np.empty((3, len(own.rows)))
    for k in range(len(step)):
        answered_one(own, p_kw[step[k]], seen_pu[k], room, s_kva[k])


def at_rest(
    own: Settings, asked: tuple[Float, Rows], seen_pu: Float, s_kva: Complex,
    among: tuple[Among, Among, Float], share: float, limits: tuple[int, float],
) -> None:  # fmt: skip
    """Powers and voltages at which inverters agree, where the voltages follow the powers linearly.

    Args:
        own: settings.
        asked: (T, D) active power available or wanted, and (S,) rows of it.
        seen_pu: (S, P) voltages across the ports at
        s_kva: complex (S, P) these powers; both replaced.
        among: (P, P) change of each column's voltage with each row's active and with its reactive
            power, and (P,) ratings.
        share: of the way to the curve that is taken at once, but for the first.
        limits: most rounds, and the part of its rating by which a port may miss.
    """
    by_p, by_q, rating = among
    moved = np.zeros(seen_pu.shape, dtype=np.float32)
    p_move, q_move = np.empty_like(moved), np.empty_like(moved)
    for turn in range(limits[0]):
        part = share if turn else 1.0
        far, active = _turn(own, asked, (seen_pu, moved), s_kva, (p_move, q_move), part, limits[1] * rating)
        moved += q_move @ by_q
        if active:
            moved += p_move @ by_p
        if not far:
            break
    seen_pu += moved


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _turn(
    own: Settings, asked: tuple[Float, Rows], seen: tuple[Float, Among], s_kva: Complex,
    moves: tuple[Among, Among], share: float, limit: Float,
) -> tuple[bool, bool]:  # fmt: skip
    """Take every port a share of the way to its curve; is one far, did active power move."""
    p_kw, step = asked
    ports, far, active = len(limit), False, False
    v, wanted, room = np.empty(ports), np.empty(ports, np.complex128), np.empty((3, len(own.rows)))
    for k in range(len(step)):
        for e in range(ports):
            v[e] = seen[0][k, e] + seen[1][k, e]
        answered_one(own, p_kw[step[k]], v, room, wanted)
        for e in range(ports):
            change = share * (wanted[e] - s_kva[k, e])
            far = far or abs(change.real) + abs(change.imag) > limit[e]
            active = active or change.real != 0.0
            s_kva[k, e] += change
            moves[0][k, e], moves[1][k, e] = change.real, change.imag
    return far, active


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
