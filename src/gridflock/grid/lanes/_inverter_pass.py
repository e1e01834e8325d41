"""Inverters on vectors of lanes: their powers by the law of ``_inverter_law``, and their ports' currents."""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes._block import Demand, Work
from gridflock.grid.lanes._compiled import Place, Vec, compiled, inlined
from gridflock.grid.lanes._inverter_law import SEGMENTS_FROM
from gridflock.grid.lanes._plan import PORT, Plan
from gridflock.grid.lanes._ports import beyond_slope, outside, voltage_factors
from gridflock.grid.lanes._simd import (
    lanes_of,
    load,
    pick,
    root,
    size,
    splat,
    store,
    where_less,
    zeros_like,
)


@inlined
def _clip(x: Vec, low: Vec, high: Vec) -> Vec:
    return min(max(x, low), high)


@inlined
def _active(record: Place, k: int, p: Vec, v: Vec) -> Vec:
    """Active power under its limits and volt-watt."""
    p = _clip(p, pick(record, k), pick(record, k + 1))
    past = _clip(v, pick(record, k + 2), pick(record, k + 3)) - pick(record, k + 2)
    p = min(p, pick(record, k + 4) + past * pick(record, k + 5))
    return _clip(p, pick(record, k + 6), pick(record, k + 7))


@inlined
def _part(record: Place, k: int, p: Vec) -> Vec:
    """Part of the reactive capability there is at an active power."""
    rising = min(size(p) * pick(record, k + 9), splat(p, np.float32(1.0)))
    rising = where_less(size(p), pick(record, k + 8), zeros_like(p), rising)
    return max(rising, splat(p, pick(record, k + 10)))


@inlined
def _curve(record: Place, k: int, segments: int, p: Vec, v: Vec) -> Vec:
    """Reactive power wanted."""
    zero = zeros_like(p)
    x = v * pick(record, k + 13) + p * pick(record, k + 14)
    q = p * pick(record, k + 15) + pick(record, k + 16)
    for s in range(k + SEGMENTS_FROM, k + SEGMENTS_FROM + 3 * segments, 3):
        past = min(max(x - pick(record, s), zero), splat(x, pick(record, s + 1)))
        q = q + past * pick(record, s + 2)
    return q


@inlined
def _beside(power: Vec) -> Vec:
    """What the rating leaves beside a power, in parts of it."""
    return root(max(np.float32(1.0) - power * power, zeros_like(power)))


@inlined
def _powers(record: Place, k: int, segments: int, p: Vec, v: Vec) -> tuple[Vec, Vec]:
    """Both powers in parts of the rating."""
    p = _active(record, k, p, v)
    part = _part(record, k, p)
    p = _clip(p, pick(record, k + 11), pick(record, k + 12))
    q = _curve(record, k, segments, p, v)
    room, zero = _beside(p), zeros_like(p)
    absorb = min(max(room, splat(p, pick(record, k + 17))), part * pick(record, k + 19))
    inject = min(max(room, splat(p, pick(record, k + 18))), part * pick(record, k + 20))
    q = _clip(q, zero - absorb, inject)
    room = _beside(q)
    return _clip(p, zero - room, room), q


@compiled
def inverters(plan: Plan, demand: Demand, work: Work) -> None:
    """Every inverter answers to the voltage changes across its ports that are stored with their currents.

    Takes the miss of its ports and their leaving the range of their law into ``measure``.
    """
    current, table, measure = work.current, work.table, work.measure
    port, record, rows = plan.port, plan.inverter, plan.inverter_port
    lanes, segments = lanes_of(current), plan.sizes[5]
    width = SEGMENTS_FROM + 3 * segments
    zero = zeros_like(load(current, 0))
    miss, out = load(measure, lanes), load(measure, 2 * lanes)
    for d in range(plan.sizes[6]):
        first, last = pick(plan.inverter_start, d), pick(plan.inverter_start, d + 1)
        p, v = zero, zero
        for j in range(first, last):
            e = pick(rows, j)
            k, at = PORT * e, (4 * e + 2) * lanes
            re, im = pick(port, k) + load(current, at), pick(port, k + 1) + load(current, at + lanes)
            v = v + root((re * re + im * im) * pick(port, k + 8))
            p = p + load(table, pick(demand.shape_at, 2 * e)) * pick(demand.power, 2 * e) * pick(port, k + 13)
        v = v * pick(record, d * width + SEGMENTS_FROM - 1)
        p, q = _powers(record, d * width, segments, p, v)
        for j in range(first, last):
            e = pick(rows, j)
            k, at, law_at = PORT * e, 4 * e * lanes, -1 - pick(plan.port_law, e)
            change = (load(current, at + 2 * lanes), load(current, at + 3 * lanes))
            re, im = pick(port, k) + change[0], pick(port, k + 1) + change[1]
            square = re * re + im * im
            m, share = square * pick(port, k + 8), pick(port, k + 14)
            f_p, f_q = voltage_factors(plan.law, law_at, plan.sizes[3], m)
            a, b = p * share * f_p, q * share * f_q
            drawn = (a * re + b * im, a * im - b * re)
            i_re, i_im = beyond_slope(port, k, drawn, change)
            away_re, away_im = i_re - load(current, at), i_im - load(current, at + lanes)
            miss = max((away_re * away_re + away_im * away_im) * square, miss)
            out = outside(plan.law, law_at, m, out)
            store(current, at, i_re)
            store(current, at + lanes, i_im)
    store(measure, lanes, miss)
    store(measure, 2 * lanes, out)
