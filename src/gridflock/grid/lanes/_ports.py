"""Ports on vectors of lanes: the current each wants, by a law without branches."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from gridflock.grid.lanes._compiled import Place, Places, Vec, inlined
from gridflock.grid.lanes._fit import HEAD
from gridflock.grid.lanes._plan import PORT
from gridflock.grid.lanes._simd import (
    begin,
    lanes_of,
    load,
    pick,
    root,
    splat,
    store,
    where_less,
    zeros_like,
)


def _voltage_factors(law: Places, at: int, size: int, m: Vec) -> tuple[Vec, Vec]:
    """Factors f of p and of q at m = (|u|/v_rated)²; compiled code only."""
    raise NotImplementedError


def _outside(law: Places, at: int, m: Vec, so_far: Vec) -> Vec:
    """Above zero once m has left the range a class was made for; compiled code only."""
    raise NotImplementedError


def opened(law: Place) -> Places:
    """Like ``begin``; polynomials and curves come as tuples, which tells them from none at compile time."""
    raise NotImplementedError


def _class_of(curves: Places, own: int) -> int:
    """Offset of a port row's law class; compiled code only."""
    raise NotImplementedError


def _reactive(curves: Places, own: int, kva: float, m: Vec, most: Vec) -> Vec:
    """Reactive power of a port row whose nominal one is ``most``; compiled code only."""
    raise NotImplementedError


def at_base(curves: Places, own: int, wanted: float, most: Vec) -> Vec:
    """The same at the base voltage, where a curve gives ``wanted``; compiled code only."""
    raise NotImplementedError


def _choose_class_of(curves: Places, own: int) -> Places:
    del own
    return _class_curved if _curved(curves) else _class_own


def _choose_reactive(curves: Places, own: int, kva: float, m: Vec, most: Vec) -> Places:
    del own, kva, m, most
    return _reactive_curved if _curved(curves) else _reactive_nominal


def _choose_at_base(curves: Places, own: int, wanted: float, most: Vec) -> Places:
    del own, wanted, most
    return _at_base_curved if _curved(curves) else _at_base_nominal


def _curved(curves: Places) -> bool:
    return isinstance(curves.types[1], types.BaseTuple)


def _choose_factors(law: Places, at: int, size: int, m: Vec) -> Places:
    del at, size, m
    return _polynomials if isinstance(law, types.BaseTuple) else _constant_power


def _choose_outside(law: Places, at: int, m: Vec, so_far: Vec) -> Places:
    del at, m, so_far
    return _beyond_fit if isinstance(law, types.BaseTuple) else _never_outside


def _choose_opened(law: Place) -> Places:
    return _open_one if law.ndim == 1 else _open_tuple


overload(_voltage_factors, strict=False)(_choose_factors)
overload(_outside, strict=False)(_choose_outside)
overload(opened, strict=False)(_choose_opened)
overload(_class_of, strict=False)(_choose_class_of)
overload(_reactive, strict=False)(_choose_reactive)
overload(at_base, strict=False)(_choose_at_base)


def _open_one(law: Place) -> Place:
    return begin(law)


def _open_tuple(law: Place) -> Places:
    return (begin(law),)


def _never_outside(law: Places, at: int, m: Vec, so_far: Vec) -> Vec:  # noqa: ARG001 # constant power holds everywhere
    return so_far


def _beyond_fit(law: Places, at: int, m: Vec, so_far: Vec) -> Vec:
    high = max(m - pick(law[0], at + 9), so_far)
    return max(pick(law[0], at + 8) - m, high)


@inlined
def _limited(law: Place, at: int, m: Vec, inside: Vec, one_over_r: Vec) -> Vec:
    """The factor f with the closed forms outside the limits."""
    below = where_less(
        m, pick(law, at + 4), splat(m, np.float32(1.0)), pick(law, at + 6) + pick(law, at + 7) * one_over_r
    )
    return where_less(
        pick(law, at + 2), m, pick(law, at + 5), where_less(m, pick(law, at + 3), below, inside)
    )


def _constant_power(law: Place, at: int, size: int, m: Vec) -> tuple[Vec, Vec]:  # noqa: ARG001 # as for polynomials
    one_over_r = np.float32(1.0) / root(m)
    below = max(pick(law, at + 6) + pick(law, at + 7) * one_over_r, np.float32(1.0))
    f = max(min(one_over_r * one_over_r, below), pick(law, at + 5))
    return f, f


def _polynomials(law: Places, at: int, size: int, m: Vec) -> tuple[Vec, Vec]:
    record = law[0]
    count = (size - HEAD) // 2
    t = (m - pick(record, at)) * pick(record, at + 1)
    p, q = zeros_like(m), zeros_like(m)
    for k in range(at + HEAD, at + HEAD + count):
        p = p * t + pick(record, k)
        q = q * t + pick(record, k + count)
    one_over_r = np.float32(1.0) / root(m)
    return _limited(record, at, m, p, one_over_r), _limited(record, at, m, q, one_over_r)


@inlined
def _within(wanted: Vec, most: Vec) -> Vec:
    """Held within ±most; ``most`` may have either sign."""
    bound = max(most, zeros_like(most) - most)
    return max(min(wanted, bound), zeros_like(most) - bound)


@inlined
def _followed(curves: Places, at: int, kva: float, r: Vec, most: Vec) -> Vec:
    """Reactive power of a port on the curve at ``at``, like ``most`` times 1000/v_rated²."""
    curve, count = curves[1][0], curves[2]
    value = splat(r, pick(curve, at))
    zero = zeros_like(r)
    for k in range(count):
        s = at + 1 + 3 * k
        past = min(max(r - pick(curve, s), zero), splat(r, pick(curve, s + 1)))
        value = value + past * pick(curve, s + 2)
    return _within(value * kva, most)


def _class_own(curves: Places, own: int) -> int:  # noqa: ARG001 # as for curves
    return own


def _class_curved(curves: Places, own: int) -> Place:
    return pick(curves[0], -1 - own) if own < 0 else own


def _reactive_nominal(curves: Places, own: int, kva: float, m: Vec, most: Vec) -> Vec:  # noqa: ARG001 # as for curves
    return most


def _reactive_curved(curves: Places, own: int, kva: float, m: Vec, most: Vec) -> Vec:
    q = most
    if own < 0:
        q = _followed(curves, pick(curves[0], -own), kva, root(m), most)
    return q


def _at_base_nominal(curves: Places, own: int, wanted: float, most: Vec) -> Vec:  # noqa: ARG001 # as for curves
    return most


def _at_base_curved(curves: Places, own: int, wanted: float, most: Vec) -> Vec:  # noqa: ARG001 # as without
    q = most
    if own < 0:
        q = _within(splat(most, wanted), most)
    return q


@inlined
def _current(ports: Places, demand: Places, e: int, re: Vec, im: Vec) -> tuple[Vec, Vec]:
    """Current of port row ``e`` at the voltage across it, A."""
    port, law, law_at, size, curves = ports
    table, power, shape_at = demand
    m = (re * re + im * im) * pick(port, PORT * e + 8)
    q = load(table, pick(shape_at, 2 * e + 1)) * pick(power, 2 * e + 1)
    f_p, f_q = _voltage_factors(law, _class_of(curves, pick(law_at, e)), size, m)
    p = load(table, pick(shape_at, 2 * e)) * pick(power, 2 * e) * f_p
    q = _reactive(curves, pick(law_at, e), pick(port, PORT * e + 14), m, q) * f_q
    return p * re + q * im, p * im - q * re


@inlined
def _beyond_slope(ports: Places, demand: Places, e: int, re: Vec, im: Vec) -> tuple[Vec, Vec]:
    """Δi − G·δ of port row ``e`` at the voltage change δ across it."""
    k = PORT * e
    port = ports[0]
    i_re, i_im = _current(ports, demand, e, pick(port, k) + re, pick(port, k + 1) + im)
    return (
        i_re - pick(port, k + 2) - (pick(port, k + 4) * re + pick(port, k + 5) * im),
        i_im - pick(port, k + 3) - (pick(port, k + 6) * re + pick(port, k + 7) * im),
    )


@inlined
def answered(
    ports: Places,
    demand: Places,
    current: Place,
    e: int,
    change: tuple[Vec, Vec],
    before: tuple[Vec, Vec],
    seen: Places,
) -> Vec:
    """Port row ``e`` answers to the voltage change across it; the largest step, miss and outlier so far."""
    step, miss, outside = seen
    port, law = ports[0], ports[1]
    lanes = lanes_of(current)
    k, at = PORT * e, e * (4 * lanes)
    i_re, i_im = _beyond_slope(ports, demand, e, change[0], change[1])
    miss_re, miss_im = i_re - load(current, at), i_im - load(current, at + lanes)
    store(current, at, i_re)
    store(current, at + lanes, i_im)
    store(current, at + 2 * lanes, change[0])
    store(current, at + 3 * lanes, change[1])
    u_re, u_im = pick(port, k) + change[0], pick(port, k + 1) + change[1]
    square = u_re * u_re + u_im * u_im
    move_re, move_im = change[0] - before[0], change[1] - before[1]
    step = max((move_re * move_re + move_im * move_im) * pick(port, k + 8), step)
    miss = max((miss_re * miss_re + miss_im * miss_im) * square, miss)
    outside = _outside(law, _class_of(ports[4], pick(ports[2], e)), square * pick(port, k + 8), outside)
    return step, miss, outside
