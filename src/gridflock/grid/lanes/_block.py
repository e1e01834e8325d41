"""One block of lanes apart from its arithmetic: what comes in, when it may stop, what is noted of it.

The vector kernel and the plain one share this, so they stop by the same rule and read the same demand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._compiled import Place, compiled
from gridflock.grid.lanes._plan import Offsets, Reals

CONTRACTING = 0.5
"""Largest ρ at which the estimate of the remaining error is believed."""
STILL = 0.02
"""A step this part of the tolerance ends a lane whatever its ρ: below it is the rounding of float32."""
EARLY = 1.0 / 3.0
"""The first contraction seen flatters the later ones: the step before it counts by this share."""
LOST_PU = 1.0
"""A lane whose step is larger is given up."""


Scenarios = NDArray[np.int64]


class Demand(NamedTuple):
    """The injections of some scenarios around one base point.

    Attributes:
        power: (P·2) p and q of each port row times 1000/v_rated², or that factor alone where dense.
        shape_at: (P·2) offset of the multiplier of p and of q in the block's table.
        shapes: (K, M) multipliers, in the order of the lanes.
        dense: (S, 2·ports) p and q in turn, kVA; without rows where the shaped form is used.
        port_row: (P,) port of each port row.
        scenario: (M,) whose answer each lane is, in the order in which lanes fill the blocks.
        state: (M,) control state of each lane; without elements where all share the base point's.
        values: (states, numbers) their factors (see ``_tail.tail_values``).
    """

    power: Reals
    shape_at: Offsets
    shapes: Reals
    dense: Reals
    port_row: Offsets
    scenario: Scenarios
    state: Offsets
    values: Reals


class Work(NamedTuple):
    """Scratch of one thread.

    Attributes:
        state: d of every node, and the ground.
        current: per port what it wants beyond the base point, and the voltage change across it.
        table: multipliers of the block.
        tail: tail factors of the block.
        square: one square of |V|.
        measure: three numbers per lane (see ``_kernel``).
        step: per lane the last voltage step, pu, and whether it may stop.
    """

    state: Reals
    current: Reals
    table: Reals
    tail: Reals
    square: Reals
    measure: Reals
    step: NDArray[np.float64]


class Answer(NamedTuple):
    """Where a thread leaves its answers; what is not wanted has no elements.

    Attributes:
        residual_kva: (S,).
        iterations: (S,).
        converged: (S,).
        magnitude: (S·n16) |V| pu by rows.
        low_pu: (S,) lowest |V| of all nodes.
        high_pu: (S,) highest.
        extremes: (4·n16) per node lowest and highest |V| and how often below and above the band.
        nodes: chosen nodes.
        chosen: (S, c) complex V there.
        band: low and high pu.
    """

    residual_kva: NDArray[np.float64]
    iterations: NDArray[np.int32]
    converged: NDArray[np.bool_]
    magnitude: Reals
    low_pu: Reals
    high_pu: Reals
    extremes: Reals
    nodes: Offsets
    chosen: NDArray[np.complex128]
    band: tuple[float, float]


@compiled
def settled(work: Work, lanes: int, k: int, tol: float) -> bool:
    """Take the measure after iteration ``k`` (from 1); True when no lane can gain from another."""
    waiting = False
    for lane in range(lanes):
        now = np.sqrt(np.float64(work.measure[lane]))
        before = work.step[lane] if k > 1 else 0.0
        done = _remaining(now, before * (EARLY if k == 2 else 1.0), tol) < tol
        work.step[lane] = now
        work.step[lanes + lane] = done
        waiting |= not done and now < LOST_PU
    return not waiting


@compiled
def _remaining(now: float, before: float, tol: float) -> float:
    """Estimated distance to the answer, pu; infinite where the contraction is not trusted."""
    if now < STILL * tol:
        return now
    rate = now / before if before > 0.0 else np.inf
    return now * rate / (1.0 - rate) if rate < CONTRACTING else np.inf


@compiled
def fill(demand: Demand, table: Place, lanes: int, first: int) -> None:
    """The multipliers of the block's lanes; lanes past the end repeat the last scenario."""
    last = len(demand.scenario) - 1
    if len(demand.dense):
        for lane in range(lanes):
            row = demand.dense[demand.scenario[min(first + lane, last)]]
            for e in range(len(demand.port_row)):
                k = 2 * demand.port_row[e]
                table[2 * e * lanes + lane] = row[k]
                table[(2 * e + 1) * lanes + lane] = row[k + 1]
        return
    for k in range(len(demand.shapes)):
        for lane in range(lanes):
            table[k * lanes + lane] = demand.shapes[k, min(first + lane, last)]


@compiled
def fill_tail(demand: Demand, tail: Place, lanes: int, first: int) -> None:
    """The tail factors of the block's lanes."""
    last = len(demand.state) - 1
    if last < 0:
        return
    for lane in range(lanes):
        values = demand.values[demand.state[min(first + lane, last)]]
        for k in range(len(values)):
            tail[k * lanes + lane] = values[k]


@compiled
def note(demand: Demand, work: Work, answer: Answer, lanes: int, first: int, iterations: int) -> None:
    """Leave what is known of the block's real lanes."""
    for lane in range(min(lanes, len(demand.scenario) - first)):
        own = demand.scenario[first + lane]
        residual = np.sqrt(np.float64(work.measure[lanes + lane])) / 1000.0
        answer.residual_kva[own] = residual
        answer.iterations[own] = iterations
        sound = np.isfinite(residual) and work.measure[2 * lanes + lane] <= 0.0
        answer.converged[own] = work.step[lanes + lane] == 1.0 and sound


@compiled
def choose(node_at: Place, demand: Demand, work: Work, answer: Answer, lanes: int, first: int) -> None:
    """Leave d of the chosen nodes; the base point's voltage is added outside, in float64."""
    for lane in range(min(lanes, len(demand.scenario) - first)):
        own = demand.scenario[first + lane]
        for k in range(len(answer.nodes)):
            at = node_at[answer.nodes[k]] + lane
            answer.chosen[own, k] = complex(work.state[at], work.state[at + lanes])
