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


def voltage_factors(law: Places, at: int, size: int, m: Vec) -> tuple[Vec, Vec]:
    """Factors f of p and of q at m = (|u|/v_rated)²; compiled code only."""
    raise NotImplementedError


def outside(law: Places, at: int, m: Vec, so_far: Vec) -> Vec:
    """Above zero once m has left the range a class was made for; compiled code only."""
    raise NotImplementedError


def opened(law: Place) -> Places:
    """Like ``begin``; polynomials come as a tuple, which tells them from none at compile time."""
    raise NotImplementedError


def _choose_factors(law: Places, at: int, size: int, m: Vec) -> Places:
    del at, size, m
    return _polynomials if isinstance(law, types.BaseTuple) else _constant_power


def _choose_outside(law: Places, at: int, m: Vec, so_far: Vec) -> Places:
    del at, m, so_far
    return _beyond_fit if isinstance(law, types.BaseTuple) else _never_outside


def _choose_opened(law: Place) -> Places:
    return _open_one if law.ndim == 1 else _open_tuple


overload(voltage_factors, strict=False)(_choose_factors)
overload(outside, strict=False)(_choose_outside)
overload(opened, strict=False)(_choose_opened)


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
def _current(ports: Places, demand: Places, e: int, re: Vec, im: Vec) -> tuple[Vec, Vec]:
    """Current of port row ``e`` at the voltage across it, A."""
    port, law, law_at, size = ports
    table, power, shape_at = demand
    m = (re * re + im * im) * pick(port, PORT * e + 8)
    f_p, f_q = voltage_factors(law, pick(law_at, e), size, m)
    p = load(table, pick(shape_at, 2 * e)) * pick(power, 2 * e) * f_p
    q = load(table, pick(shape_at, 2 * e + 1)) * pick(power, 2 * e + 1) * f_q
    return p * re + q * im, p * im - q * re


@inlined
def beyond_slope(port: Place, k: int, drawn: Places, change: Places) -> tuple[Vec, Vec]:
    """Δi − G·δ of the port row at ``k``: its current, and the voltage change δ across it."""
    return (
        drawn[0] - pick(port, k + 2) - (pick(port, k + 4) * change[0] + pick(port, k + 5) * change[1]),
        drawn[1] - pick(port, k + 3) - (pick(port, k + 6) * change[0] + pick(port, k + 7) * change[1]),
    )


@inlined
def moved(port: Place, current: Place, e: int, change: Places, before: Places, step: Vec) -> Vec:
    """Note the voltage change across port row ``e``; the largest step of any port so far."""
    at = e * (4 * lanes_of(current)) + 2 * lanes_of(current)
    store(current, at, change[0])
    store(current, at + lanes_of(current), change[1])
    move_re, move_im = change[0] - before[0], change[1] - before[1]
    return max((move_re * move_re + move_im * move_im) * pick(port, PORT * e + 8), step)


@inlined
def answered(
    ports: Places, demand: Places, current: Place, e: int, change: Places, miss: Vec, so_far: Vec
) -> tuple[Vec, Vec]:
    """Port row ``e`` answers to the voltage change across it; the largest miss and outlier so far."""
    port, law, law_at, _ = ports
    lanes = lanes_of(current)
    k, at = PORT * e, e * (4 * lanes)
    u_re, u_im = pick(port, k) + change[0], pick(port, k + 1) + change[1]
    i_re, i_im = beyond_slope(port, k, _current(ports, demand, e, u_re, u_im), change)
    miss_re, miss_im = i_re - load(current, at), i_im - load(current, at + lanes)
    store(current, at, i_re)
    store(current, at + lanes, i_im)
    square = u_re * u_re + u_im * u_im
    miss = max((miss_re * miss_re + miss_im * miss_im) * square, miss)
    return miss, outside(law, pick(law_at, e), square * pick(port, k + 8), so_far)
