"""The same iteration in plain loops: for where the vector type cannot be made, and as its oracle.

Lanes are an inner loop whose length is known only at run time, which lets LLVM vectorise it; several
times slower than ``_kernel``, and free of numba's and llvmlite's inner interfaces.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes._block import (
    Answer,
    Demand,
    Work,
    choose,
    fill,
    fill_tail,
    note,
    settled,
)
from gridflock.grid.lanes._compiled import compiled, inlined
from gridflock.grid.lanes._fit import HEAD
from gridflock.grid.lanes._inverter_law import SEGMENTS_FROM
from gridflock.grid.lanes._plan import PORT, WIDEST, Offsets, Plan, Reals

LANES = 64
"""Lanes side by side: enough to pay for the alias checks of a vectorised inner loop."""


@inlined
def _factors(law: Reals, at: int, size: int, m: float) -> tuple[float, float]:
    """Factors f of p and of q at m = (|u|/v_rated)²."""
    if m > law[at + 2]:
        return law[at + 5], law[at + 5]
    if m < law[at + 4]:
        return 1.0, 1.0
    if m < law[at + 3]:
        below = law[at + 6] + law[at + 7] / np.sqrt(m)
        return below, below
    if size == HEAD:
        return 1.0 / m, 1.0 / m
    t = (m - law[at]) * law[at + 1]
    p, q, count = 0.0, 0.0, (size - HEAD) // 2
    for k in range(at + HEAD, at + HEAD + count):
        p = p * t + law[k]
        q = q * t + law[k + count]
    return p, q


@compiled
def _currents(plan: Plan, demand: Demand, work: Work, lanes: int, iteration: int) -> None:
    """Every port answers to the voltage across it; leaves the measures (see ``_kernel``)."""
    state, current, port, table = work.state, work.current, plan.port, work.table
    law = plan.law.reshape(-1)
    work.measure[:] = 0.0
    rows = plan.sizes[0] - plan.sizes[1]
    for q in range(rows):
        own = (plan.sizes[1] + q) * 2 * lanes
        for e in range(plan.port_start[q], plan.port_start[q + 1]):
            at, other, kind = e * 4 * lanes, plan.port_other[e], plan.port_law[e]
            for lane in range(lanes):
                d_re = state[own + lane] - state[other + lane]
                d_im = state[own + lanes + lane] - state[other + lanes + lane]
                if iteration > 0:
                    move = (d_re - current[at + 2 * lanes + lane]) ** 2
                    move += (d_im - current[at + 3 * lanes + lane]) ** 2
                    _raise(work.measure, lane, move * port[PORT * e + 8])
                current[at + 2 * lanes + lane], current[at + 3 * lanes + lane] = d_re, d_im
                if kind >= 0:
                    p = table[demand.shape_at[2 * e] + lane] * demand.power[2 * e]
                    r = table[demand.shape_at[2 * e + 1] + lane] * demand.power[2 * e + 1]
                    _draw(port, law[kind:], plan.sizes[3], work, (e, lane, lanes), (p, r), iteration)
    _inverters(plan, demand, work, lanes, iteration)


@inlined
def _across(port: Reals, current: Reals, e: int, lane: int, lanes: int) -> tuple[float, float]:
    """Voltage across a port row, V."""
    at = (4 * e + 2) * lanes + lane
    return port[PORT * e] + current[at], port[PORT * e + 1] + current[at + lanes]


@inlined
def _draw(
    port: Reals, law: Reals, size: int, work: Work, place: tuple[int, int, int],
    power: tuple[float, float], iteration: int,
) -> None:  # fmt: skip
    """Current of one lane's port of some nominal power beyond its slope; its measures."""
    e, lane, lanes = place
    current, k, at = work.current, PORT * e, 4 * e * lanes + lane
    d_re, d_im = current[at + 2 * lanes], current[at + 3 * lanes]
    re, im = _across(port, current, e, lane, lanes)
    square = re * re + im * im
    m = square * port[k + 8]
    f_p, f_q = _factors(law, 0, size, m)
    p, q = power[0] * f_p, power[1] * f_q
    i_re = p * re + q * im - port[k + 2] - (port[k + 4] * d_re + port[k + 5] * d_im)
    i_im = p * im - q * re - port[k + 3] - (port[k + 6] * d_re + port[k + 7] * d_im)
    if iteration > 0:
        miss = (i_re - current[at]) ** 2 + (i_im - current[at + lanes]) ** 2
        _raise(work.measure, lanes + lane, miss * square)
        _raise(work.measure, 2 * lanes + lane, m - law[9])
        _raise(work.measure, 2 * lanes + lane, law[8] - m)
    current[at], current[at + lanes] = i_re, i_im


@inlined
def _clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


@compiled
def _powers(c: Reals, segments: int, p: float, v: float) -> tuple[float, float]:
    """Powers of an inverter in parts of its rating (see ``_inverter_law``)."""
    p = _clip(p, c[0], c[1])
    p = min(p, c[4] + c[5] * (_clip(v, c[2], c[3]) - c[2]))
    p = _clip(p, c[6], c[7])
    part = 0.0 if abs(p) < c[8] else min(abs(p) * c[9], 1.0)
    part = max(part, c[10])
    p = _clip(p, c[11], c[12])
    x, q = c[13] * v + c[14] * p, c[15] * p + c[16]
    for s in range(SEGMENTS_FROM, SEGMENTS_FROM + 3 * segments, 3):
        q += c[s + 2] * _clip(x - c[s], 0.0, c[s + 1])
    room = np.sqrt(max(1.0 - p * p, 0.0))
    q = _clip(q, -max(room, c[17]), max(room, c[18]))
    q = _clip(q, -part * c[19], part * c[20])
    room = np.sqrt(max(1.0 - q * q, 0.0))
    return _clip(p, -room, room), q


@compiled
def _inverters(plan: Plan, demand: Demand, work: Work, lanes: int, iteration: int) -> None:
    """Every inverter answers to the mean voltage across its ports."""
    port, law, width = plan.port, plan.law.reshape(-1), SEGMENTS_FROM + 3 * plan.sizes[5]
    for d in range(plan.sizes[6]):
        record = plan.inverter[d * width : (d + 1) * width]
        rows = plan.inverter_port[plan.inverter_start[d] : plan.inverter_start[d + 1]]
        for lane in range(lanes):
            p, v = 0.0, 0.0
            for e in rows:
                re, im = _across(port, work.current, e, lane, lanes)
                v += np.sqrt((re * re + im * im) * port[PORT * e + 8])
                asked = work.table[demand.shape_at[2 * e] + lane] * demand.power[2 * e]
                p += asked * port[PORT * e + 13]
            p, q = _powers(record, plan.sizes[5], p, v * record[SEGMENTS_FROM - 1])
            for e in rows:
                share, kind = port[PORT * e + 14], -1 - plan.port_law[e]
                _draw(
                    port, law[kind:], plan.sizes[3], work, (e, lane, lanes), (p * share, q * share), iteration
                )


@inlined
def _raise(measure: Reals, k: int, value: float) -> None:
    """Keep the larger; what is not a number is kept too."""
    if not value <= measure[k]:
        measure[k] = value


@inlined
def _subtract(state: Reals, own: int, other: int, a: float, b: float, c: float, d: float, lanes: int) -> None:
    for lane in range(lanes):
        re, im = state[other + lane], state[other + lanes + lane]
        state[own + lane] -= a * re + b * im
        state[own + lanes + lane] -= c * re + d * im


@inlined
def _gather(state: Reals, own: int, column: Offsets, block: Reals, first: int, last: int, lanes: int) -> None:
    for k in range(first, last):
        b = 4 * k
        _subtract(state, own, column[k], block[b], block[b + 1], block[b + 2], block[b + 3], lanes)


@compiled
def _ask(plan: Plan, work: Work, q: int, own: int, lanes: int) -> None:
    """Right side of row ``q`` into its state."""
    state, current = work.state, work.current
    state[own : own + 2 * lanes] = 0.0
    for e in range(plan.port_start[q], plan.port_start[q + 1]):
        for k in range(2 * lanes):
            state[own + k] += current[e * 4 * lanes + k]
    for h in range(plan.return_start[q], plan.return_start[q + 1]):
        for k in range(2 * lanes):
            state[own + k] -= current[plan.returned[h] * 4 * lanes + k]


@compiled
def _down(plan: Plan, work: Work, rows: int, lanes: int) -> None:
    state, pivot = work.state, plan.pivot
    for q in range(rows):
        own, d = (plan.sizes[1] + q) * 2 * lanes, 4 * q
        _ask(plan, work, q, own, lanes)
        for lane in range(lanes):
            re, im = state[own + lane], state[own + lanes + lane]
            state[own + lane] = pivot[d] * re + pivot[d + 1] * im
            state[own + lanes + lane] = pivot[d + 2] * re + pivot[d + 3] * im
        first, last = plan.lower_start[q], plan.lower_start[q + 1]
        _gather(state, own, plan.lower, plan.lower_block, first, last, lanes)


@compiled
def _up(plan: Plan, work: Work, first: int, last: int, lanes: int) -> None:
    """Upwards over positions counted from the last."""
    for t in range(first, last):
        own = (plan.sizes[0] - 1 - t) * 2 * lanes
        start, end = plan.upper_start[t], plan.upper_start[t + 1]
        _gather(work.state, own, plan.upper, plan.upper_block, start, end, lanes)


@compiled
def _gather_lanes(
    state: Reals, own: int, column: Offsets, block: Reals, first: int, last: int, lanes: int
) -> None:
    for k in range(first, last):
        b, other = 4 * k * lanes, column[k]
        for lane in range(lanes):
            re, im = state[other + lane], state[other + lanes + lane]
            state[own + lane] -= block[b + lane] * re + block[b + lanes + lane] * im
            state[own + lanes + lane] -= block[b + 2 * lanes + lane] * re + block[b + 3 * lanes + lane] * im


@compiled
def _tail(plan: Plan, work: Work, lanes: int) -> None:
    """The tail, every lane with the factors of its own control state."""
    state, tail = work.state, work.tail
    size = plan.sizes[0] - plan.sizes[4]
    lower = tail[4 * size * lanes :]
    upper = lower[4 * plan.near_lower_start[size] * lanes :]
    for t in range(size):
        own, d = (plan.sizes[4] + t) * 2 * lanes, 4 * t * lanes
        _ask(plan, work, plan.sizes[4] - plan.sizes[1] + t, own, lanes)
        _gather(state, own, plan.far, plan.far_block, plan.far_start[t], plan.far_start[t + 1], lanes)
        for lane in range(lanes):
            re, im = state[own + lane], state[own + lanes + lane]
            state[own + lane] = tail[d + lane] * re + tail[d + lanes + lane] * im
            state[own + lanes + lane] = tail[d + 2 * lanes + lane] * re + tail[d + 3 * lanes + lane] * im
        first, last = plan.near_lower_start[t], plan.near_lower_start[t + 1]
        _gather_lanes(state, own, plan.near_lower, lower, first, last, lanes)
    for t in range(size - 1, -1, -1):
        own = (plan.sizes[4] + t) * 2 * lanes
        first, last = plan.near_upper_start[t], plan.near_upper_start[t + 1]
        _gather_lanes(state, own, plan.near_upper, upper, first, last, lanes)
    offset = upper[4 * plan.near_upper_start[size] * lanes :]
    first = plan.sizes[4] * 2 * lanes
    for k in range(2 * size * lanes):
        state[first + k] += offset[k]


@compiled
def _show(plan: Plan, demand: Demand, work: Work, answer: Answer, lanes: int, first: int) -> None:
    """Leave the voltages of the block's lanes where they are wanted."""
    n = plan.sizes[0]
    count = -(-n // WIDEST) * WIDEST
    for lane in range(min(lanes, len(demand.scenario) - first)):
        own = demand.scenario[first + lane]
        low, high = np.inf, 0.0
        for node in range(n):
            at, k = plan.node_at[node] + lane, 4 * node
            re, im = plan.node_base[k] + work.state[at], plan.node_base[k + 1] + work.state[at + lanes]
            v = np.sqrt(re * re + im * im) * plan.node_base[k + 2]
            away = plan.node_base[k + 3]
            low, high = min(low, v + away), max(high, v - away)
            if len(answer.magnitude):
                answer.magnitude[own * count + node] = v
            if len(answer.extremes) and answer.converged[own]:
                _count(answer.extremes, answer.band, v, node, count)
        answer.low_pu[own] = low
        answer.high_pu[own] = high


@inlined
def _count(extremes: Reals, band: tuple[float, float], v: float, node: int, count: int) -> None:
    extremes[node] = min(extremes[node], v)
    extremes[count + node] = max(extremes[count + node], v)
    extremes[2 * count + node] += v < band[0]
    extremes[3 * count + node] += v > band[1]


@compiled
def run(
    plan: Plan, demand: Demand, work: Work, answer: Answer, blocks: tuple[int, int], limits: tuple[float, int]
) -> None:
    """Solve the blocks from ``blocks[0]`` to ``blocks[1]``; arguments as in ``_kernel``."""
    lanes = LANES
    n, quiet = plan.sizes[0], plan.sizes[1]
    own_states = len(demand.state) > 0
    solved = n - plan.sizes[4] if own_states else 0
    for block in range(blocks[0], blocks[1]):
        first = block * lanes
        fill(demand, work.table, lanes, first)
        fill_tail(demand, work.tail, lanes, first)
        work.state[:] = 0.0
        k = 0
        _currents(plan, demand, work, lanes, k)
        done = False
        while k < limits[1] and not done:
            k += 1
            _down(plan, work, n - quiet - solved, lanes)
            if own_states:
                _tail(plan, work, lanes)
            _up(plan, work, solved, n - quiet, lanes)
            _currents(plan, demand, work, lanes, k)
            done = settled(work, lanes, k, limits[0])
        work.state[: quiet * 2 * lanes] = 0.0
        _up(plan, work, n - quiet, n, lanes)
        note(demand, work, answer, lanes, first, k)
        _show(plan, demand, work, answer, lanes, first)
        choose(plan.node_at, demand, work, answer, lanes, first)
