"""The compiled iteration: chord Newton in delta form on one vector of scenarios at a time.

With d = v − v̄ from the base point, ``J·d ← A·(Δi(d) − G·δ)`` repeats with the factor of J at the base
point. One state array holds everything: downwards a position reads its d, lets its ports answer to it,
gathers the earlier positions, and leaves D⁻¹·z in place; upwards it gathers the later ones. A block of
lanes stops when each lane's remaining error, estimated from its contraction ρ = |Δd_k|/|Δd_{k−1}| as
ρ/(1−ρ)·|Δd_k|, is below the tolerance and ρ < 0.5; the voltage changes are those across the ports.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid.lanes._block import (
    Answer,
    Demand,
    Scenarios,
    Work,
    choose,
    fill,
    fill_tail,
    note,
    settled,
)
from gridflock.grid.lanes._compiled import Place, Places, Vec, compiled, inlined
from gridflock.grid.lanes._inverter_pass import inverters
from gridflock.grid.lanes._plan import PORT, WIDEST, Plan
from gridflock.grid.lanes._ports import answered, moved, opened
from gridflock.grid.lanes._simd import (
    after,
    begin,
    lanes_of,
    load,
    pick,
    root,
    splat,
    store,
    stream,
    transpose,
    where_less,
    zeros_like,
)

# ---- passes over the nodes -----------------------------------------------------------------------


@inlined
def _gather(
    state: Place, column: Place, block: Place, k: int, last: int, re: Vec, im: Vec
) -> tuple[Vec, Vec]:
    """Subtract what the columns ``k`` to ``last`` explain."""
    lanes = lanes_of(state)
    while k < last:
        at = pick(column, k)
        a, b = load(state, at), load(state, at + lanes)
        re = re - pick(block, 4 * k) * a - pick(block, 4 * k + 1) * b
        im = im - pick(block, 4 * k + 2) * a - pick(block, 4 * k + 3) * b
        k += 1
    return re, im


@inlined
def _asked(ends: Places, current: Place, q: int, re: Vec, im: Vec) -> tuple[Vec, Vec, bool]:
    """Right side of row ``q``: what its ports want beyond the base point; False where it has none."""
    port_start, return_start, returned = ends
    step = 4 * lanes_of(current)
    first, last = pick(port_start, q), pick(port_start, q + 1)
    for e in range(first, last):
        re = re + load(current, e * step)
        im = im + load(current, e * step + lanes_of(current))
    back, end = pick(return_start, q), pick(return_start, q + 1)
    for h in range(back, end):
        at = pick(returned, h) * step
        re = re - load(current, at)
        im = im - load(current, at + lanes_of(current))
    return re, im, last > first or end > back


@compiled
def _first_currents(plan: Plan, demand: Demand, work: Work) -> None:
    """What the ports want at d = 0: they answer to the base voltages."""
    current, table = work.current, work.table
    port, power, shape_at = plan.port, demand.power, demand.shape_at
    lanes = lanes_of(current)
    zero = zeros_like(load(current, 0))
    for e in range(plan.sizes[2]):
        k, at = PORT * e, e * (2 * lanes)
        if pick(plan.port_law, e) < 0:
            store(current, 2 * at + 2 * lanes, zero)
            store(current, 2 * at + 3 * lanes, zero)
            continue
        p = load(table, pick(shape_at, 2 * e)) * pick(power, 2 * e)
        q = load(table, pick(shape_at, 2 * e + 1)) * pick(power, 2 * e + 1)
        store(current, 2 * at, p * pick(port, k + 9) + q * pick(port, k + 10) - pick(port, k + 2))
        store(current, 2 * at + lanes, p * pick(port, k + 11) - q * pick(port, k + 12) - pick(port, k + 3))
    inverters(plan, demand, work)


@compiled
def _down(plan: Plan, work: Work, rows: int) -> None:
    """A pass downwards over the first ``rows`` iterated positions."""
    state, current = work.state, work.current
    ends = (plan.port_start, plan.return_start, plan.returned)
    start, column, block, pivot = plan.lower_start, plan.lower, plan.lower_block, plan.pivot
    lanes = lanes_of(state)
    zero = zeros_like(load(current, 0))
    own = plan.sizes[1] * (2 * lanes)
    for q in range(rows):
        re, im, asked = _asked(ends, current, q, zero, zero)
        if asked:
            d = 4 * q
            re, im = (
                pick(pivot, d) * re + pick(pivot, d + 1) * im,
                pick(pivot, d + 2) * re + pick(pivot, d + 3) * im,
            )
        re, im = _gather(state, column, block, pick(start, q), pick(start, q + 1), re, im)
        store(state, own, re)
        store(state, own + lanes, im)
        own += 2 * lanes


@inlined
def _gather_lanes(
    state: Place, column: Place, block: Place, k: int, last: int, re: Vec, im: Vec
) -> tuple[Vec, Vec]:
    """Like ``_gather`` where every lane has blocks of its own."""
    lanes = lanes_of(state)
    while k < last:
        at, b = pick(column, k), 4 * k * lanes
        x, y = load(state, at), load(state, at + lanes)
        re = re - load(block, b) * x - load(block, b + lanes) * y
        im = im - load(block, b + 2 * lanes) * x - load(block, b + 3 * lanes) * y
        k += 1
    return re, im


@compiled
def _tail_down(plan: Plan, work: Work) -> None:
    """The tail downwards, every lane with the factors of its own control state."""
    state, current, tail = work.state, work.current, work.tail
    ends = (plan.port_start, plan.return_start, plan.returned)
    far, lower = (plan.far_start, plan.far, plan.far_block), (plan.near_lower_start, plan.near_lower)
    lanes = lanes_of(state)
    zero = zeros_like(load(current, 0))
    size = plan.sizes[0] - plan.sizes[4]
    blocks = after(tail, 4 * size * lanes)
    for t in range(size):
        re, im, _ = _asked(ends, current, plan.sizes[4] - plan.sizes[1] + t, zero, zero)
        re, im = _gather(state, far[1], far[2], pick(far[0], t), pick(far[0], t + 1), re, im)
        d = 4 * t * lanes
        z_re = load(tail, d) * re + load(tail, d + lanes) * im
        z_im = load(tail, d + 2 * lanes) * re + load(tail, d + 3 * lanes) * im
        re, im = _gather_lanes(state, lower[1], blocks, pick(lower[0], t), pick(lower[0], t + 1), z_re, z_im)
        own = (plan.sizes[4] + t) * (2 * lanes)
        store(state, own, re)
        store(state, own + lanes, im)


@compiled
def _tail_up(plan: Plan, work: Work) -> None:
    """The tail upwards, and the constant part of its answer."""
    state, tail = work.state, work.tail
    start, column = plan.near_upper_start, plan.near_upper
    lanes = lanes_of(state)
    size = plan.sizes[0] - plan.sizes[4]
    blocks = after(tail, 4 * (size + pick(plan.near_lower_start, size)) * lanes)
    for back in range(size):
        t = size - 1 - back
        own = (plan.sizes[4] + t) * (2 * lanes)
        re, im = load(state, own), load(state, own + lanes)
        re, im = _gather_lanes(state, column, blocks, pick(start, t), pick(start, t + 1), re, im)
        store(state, own, re)
        store(state, own + lanes, im)
    offset = after(blocks, 4 * pick(start, size) * lanes)
    first = plan.sizes[4] * (2 * lanes)
    for k in range(2 * size):
        store(state, first + k * lanes, load(state, first + k * lanes) + load(offset, k * lanes))


@compiled
def _up(plan: Plan, demand: Demand, work: Work, solved: int, k: int) -> None:
    """A pass upwards over the iterated positions, at which the ports answer (iteration ``k``).

    The last ``solved`` positions hold their d already. Leaves in ``measure``, per lane: the largest
    voltage step across a port since the pass before, squared (pu²); the largest |miss|·|u| of a port,
    squared (VA²), where the miss is what the port draws at the new voltages less the current these
    were solved for; and a number that is zero only if every voltage is inside the range of its law.
    """
    state, current = work.state, work.current
    start, column, block = plan.upper_start, plan.upper, plan.upper_block
    port_start, port_other = plan.port_start, plan.port_other
    ports = (plan.port, plan.law, plan.port_law, plan.sizes[3])
    wanted = (work.table, demand.power, demand.shape_at)
    lanes = lanes_of(state)
    zero = zeros_like(load(current, 0))
    step, miss, out = zero, zero, zero
    rows = plan.sizes[0] - plan.sizes[1]
    own = (plan.sizes[0] - 1) * (2 * lanes)
    for t in range(rows):
        re, im = load(state, own), load(state, own + lanes)
        if t >= solved:
            re, im = _gather(state, column, block, pick(start, t), pick(start, t + 1), re, im)
            store(state, own, re)
            store(state, own + lanes, im)
        q = rows - 1 - t
        for e in range(pick(port_start, q), pick(port_start, q + 1)):
            at, other = e * (4 * lanes) + 2 * lanes, pick(port_other, e)
            change = (re - load(state, other), im - load(state, other + lanes))
            before = (zero, zero) if k == 1 else (load(current, at), load(current, at + lanes))
            step = moved(plan.port, current, e, change, before, step)
            if pick(plan.port_law, e) >= 0:
                miss, out = answered(ports, wanted, current, e, change, miss, out)
        own -= 2 * lanes
    store(work.measure, 0, step)
    store(work.measure, lanes, miss)
    store(work.measure, 2 * lanes, out)
    inverters(plan, demand, work)


@compiled
def _expand(plan: Plan, work: Work) -> None:
    """The d of the positions before the iterated ones, whose right side is zero."""
    state = work.state
    start, column, block = plan.upper_start, plan.upper, plan.upper_block
    lanes = lanes_of(state)
    zero = zeros_like(load(work.table, 0))
    n, quiet = plan.sizes[0], plan.sizes[1]
    own = (quiet - 1) * (2 * lanes)
    for t in range(n - quiet, n):
        re, im = _gather(state, column, block, pick(start, t), pick(start, t + 1), zero, zero)
        store(state, own, re)
        store(state, own + lanes, im)
        own -= 2 * lanes


# ---- one block of lanes --------------------------------------------------------------------------


@compiled
def _solve(
    plan: Plan, demand: Demand, work: Work, answer: Answer, first: int, limits: tuple[float, int]
) -> None:
    """Solve the block that begins at scenario ``first``."""
    tol, most = limits
    lanes = lanes_of(work.state)
    own_states = len(demand.state) > 0
    solved = plan.sizes[0] - plan.sizes[4] if own_states else 0
    fill(demand, work.table, lanes, first)
    fill_tail(demand, work.tail, lanes, first)
    _first_currents(plan, demand, work)
    k = 0
    done = False
    while k < most and not done:
        k += 1
        _down(plan, work, plan.sizes[0] - plan.sizes[1] - solved)
        if own_states:
            _tail_down(plan, work)
            _tail_up(plan, work)
        _up(plan, demand, work, solved, k)
        done = settled(work, lanes, k, tol)
    note(demand, work, answer, lanes, first, k)


@compiled
def _show(plan: Plan, demand: Demand, work: Work, answer: Answer, first: int) -> None:
    """Leave the voltages of the block's lanes where they are wanted."""
    state, square = work.state, work.square
    lanes = lanes_of(state)
    scenario = demand.scenario[first : first + lanes]
    real = len(scenario)
    count = -(-plan.sizes[0] // WIDEST) * WIDEST
    node_at, node_base, magnitude = plan.node_at, plan.node_base, begin(answer.magnitude)
    written, counted = len(answer.magnitude) > 0, len(answer.extremes) > 0
    low = splat(load(work.table, 0), np.inf)
    high = splat(low, 0.0)
    for start in range(0, count, lanes):
        for j in range(lanes):
            at, k = pick(node_at, start + j), 4 * (start + j)
            re = pick(node_base, k) + load(state, at)
            im = pick(node_base, k + 1) + load(state, at + lanes)
            v = root(re * re + im * im) * pick(node_base, k + 2)
            store(square, j * lanes, v)
            away = pick(node_base, k + 3)
            low, high = min(v + away, low), max(v - away, high)
        transpose(square, 0)
        if written:
            for lane in range(real):
                stream(magnitude, scenario[lane] * count + start, load(square, lane * lanes))
        if counted:
            _count(square, answer, scenario, start, count)
    store(square, 0, low)
    store(square, lanes, high)
    for lane in range(real):
        answer.low_pu[scenario[lane]] = square[lane]
        answer.high_pu[scenario[lane]] = square[lanes + lane]


@compiled
def _count(square: Place, answer: Answer, scenario: Scenarios, start: int, count: int) -> None:
    """Take the answered lanes of one square into the extremes of its nodes."""
    lanes = lanes_of(square)
    extremes = begin(answer.extremes)
    low, high = load(extremes, start), load(extremes, count + start)
    below, above = load(extremes, 2 * count + start), load(extremes, 3 * count + start)
    for lane in range(len(scenario)):
        if answer.converged[scenario[lane]]:
            v = load(square, lane * lanes)
            low, high = min(v, low), max(v, high)
            below = below + where_less(v, answer.band[0], splat(v, 1.0), 0.0)
            above = above + where_less(answer.band[1], v, splat(v, 1.0), 0.0)
    store(extremes, start, low)
    store(extremes, count + start, high)
    store(extremes, 2 * count + start, below)
    store(extremes, 3 * count + start, above)


@compiled
def run(
    plan: Plan,
    demand: Demand,
    work: Work,
    answer: Answer,
    blocks: tuple[int, int],
    limits: tuple[float, int],
) -> None:
    """Solve the blocks of lanes from ``blocks[0]`` to ``blocks[1]``, without the interpreter's lock.

    Args:
        plan: base point.
        demand: injections.
        work: scratch of this call alone.
        answer: shared by all calls of one batch, except ``extremes``, which is this call's own.
        blocks: first block and the one behind the last.
        limits: tolerance in pu and most iterations.
    """
    here = Plan(
        plan.sizes,
        begin(plan.lower_start),
        begin(plan.lower),
        begin(plan.lower_block),
        begin(plan.pivot),
        begin(plan.upper_start),
        begin(plan.upper),
        begin(plan.upper_block),
        begin(plan.port_start),
        begin(plan.port_other),
        begin(plan.port_law),
        begin(plan.port),
        begin(plan.return_start),
        begin(plan.returned),
        opened(plan.law),
        begin(plan.inverter_start),
        begin(plan.inverter_port),
        begin(plan.inverter),
        begin(plan.far_start),
        begin(plan.far),
        begin(plan.far_block),
        begin(plan.near_lower_start),
        begin(plan.near_lower),
        begin(plan.near_upper_start),
        begin(plan.near_upper),
        begin(plan.node_at),
        begin(plan.node_base),
    )
    asked = Demand(
        begin(demand.power),
        begin(demand.shape_at),
        demand.shapes,
        demand.dense,
        demand.port_row,
        demand.scenario,
        demand.state,
        demand.values,
    )
    room = Work(
        begin(work.state),
        begin(work.current),
        begin(work.table),
        begin(work.tail),
        begin(work.square),
        begin(work.measure),
        begin(work.step),
    )
    lanes = lanes_of(room.state)
    for block in range(blocks[0], blocks[1]):
        first = block * lanes
        _solve(here, asked, room, answer, first, limits)
        _expand(here, room)
        _show(here, asked, room, answer, first)
        choose(here.node_at, asked, room, answer, lanes, first)
