"""What devices could do at best: the least worst violation on a feeder, everything known and nothing late.

Rounds of linear programs over exact sensitivities, each answer judged by an exact AC flow and kept only where
it is better. A disturbance that leaves no room even so is beyond the devices, whoever commands them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from gridflock.bench._feedback_plant import REACTIVE
from gridflock.bench._feedback_point import AROUND, Point, _sensitivities, flow_of
from gridflock.dispatch.feedback import Quantity
from gridflock.grid import Flow
from gridflock.grid._network import Float

ROUNDS, TRUST = 10, 0.25
"""Linear programs at most; part of each device's range that the first may move."""
SIDES = 16
"""Of the polygon inside an inverter's disc."""
FIRST, MORE, PASSES = 60, 40, 20
"""Rows in a program at first, and taken in at a time where they turn out broken."""
UNIT = 0.01
"""One percent of a limit weighs as much as so much of a pu."""
ENOUGH = 1e-4


@dataclass(frozen=True, slots=True)
class Best:
    """The best that was found, an exact flow behind it.

    Attributes:
        worst: largest violation left: pu, or part of a limit; negative is the room that all limits have.
        bound: what the last linear program promised; no better is to be had near there.
        at: the limit that is the tightest.
        moved_kw: active power moved from the targets, all devices together.
    """

    worst: float
    bound: float
    at: str
    moved_kw: float


def best(of: Point) -> Best:
    """The least worst violation of the limits at a moment.

    Args:
        of: the moment; its flow is the start.

    Raises:
        ArithmeticError: a linear program without an answer.
    """
    fleet, trust, bound = of.fleet, TRUST, -np.inf
    low = np.asarray(fleet.low_kw, dtype=np.float64)
    high = np.maximum(np.asarray(fleet.high_kw, dtype=np.float64), low)
    wanted = np.clip(fleet.wanted_kw, low, high)
    p: Float = wanted.astype(np.float64)
    q = np.zeros(len(low))
    flow = flow_of(of.feeder, fleet, of.load_kva, p, q, of.flow)
    for _ in range(ROUNDS):
        beyond = _beyond(of, flow)
        step = np.maximum(low - p, -trust * (high - low)), np.minimum(high - p, trust * (high - low))
        dp, dq, bound = _stepped(of, flow, p, q, step, trust)
        if bound > beyond.max() - ENOUGH:
            break
        tried = flow_of(of.feeder, fleet, of.load_kva, p + dp, q + dq, flow)
        if tried.converged and _beyond(of, tried).max() < beyond.max():
            p, q, flow = p + dp, q + dq, tried
        else:
            trust /= 2.0
    beyond = _beyond(of, flow)
    moved = float(np.abs(p - wanted).sum())
    return Best(float(beyond.max()), float(bound), of.names[int(np.argmax(beyond))], moved)


def _scale(of: Point) -> Float:
    """(m,) what one is of each quantity: a pu, or its limit."""
    limit = np.fmin(np.abs(of.high), np.abs(of.low))
    volts = of.quantity == Quantity.VOLTAGE
    return np.where(volts, UNIT, UNIT * np.where(np.isfinite(limit) & (limit > 0.0), limit, 1.0))


def _beyond(of: Point, flow: Flow) -> Float:
    """(m,) violations, negative where there is room; directions of currents are left to their sizes."""
    value = of.values(flow)
    over: Float = np.maximum(value - of.high, of.low - value) / _scale(of) * UNIT
    over[_directions(of)] = -np.inf
    return over


def _directions(of: Point) -> slice:
    first = len(of.nodes) + len(of.lines)
    return slice(first, first + len(AROUND) * len(of.lines))


def _stepped(
    of: Point, flow: Flow, p: Float, q: Float, step: tuple[Float, Float], trust: float
) -> tuple[Float, Float, float]:
    """Changes of both powers that a linear program finds best, and the worst violation it promises."""
    fleet = of.fleet
    by_kw, by_kvar = (
        np.asarray(each, dtype=np.float64) for each in _sensitivities(of.feeder, flow, of.nodes, of.lines)
    )
    value, unit = of.values(flow), _scale(of)
    place, n = fleet.place, len(p)
    most = REACTIVE * fleet.s_kva
    bounds = np.stack(
        [
            np.concatenate([step[0], np.maximum(-most - q, -2.0 * trust * most), [-1e3]]),
            np.concatenate([step[1], np.minimum(most - q, 2.0 * trust * most), [1e6]]),
        ],
        axis=1,
    )
    discs, rim = _discs(fleet.s_kva, p, q)
    rows = np.argsort(-_beyond(of, flow), kind="stable")[:FIRST]
    for _ in range(PASSES):
        above, below = rows[np.isfinite(of.high[rows])], rows[np.isfinite(of.low[rows])]
        signed = np.concatenate([above, below])
        sign = np.repeat([1.0, -1.0], [len(above), len(below)])[:, None]
        a = np.hstack([sign * by_kw[signed][:, place], sign * by_kvar[signed][:, place], -unit[signed, None]])
        room = np.concatenate([of.high[above] - value[above], value[below] - of.low[below]])
        found = optimize.linprog(
            np.append(np.zeros(2 * n), 1.0), sparse.vstack([sparse.csr_matrix(a), discs]).tocsc(),
            np.concatenate([room, rim]), bounds=bounds, method="highs",
        )  # fmt: skip
        if found.status != 0:
            raise ArithmeticError(f"best: {found.message}")
        dp, dq, worst = found.x[:n], found.x[n:-1], float(found.x[-1])
        there = value + by_kw @ np.bincount(place, dp, minlength=by_kw.shape[1])
        there += by_kvar @ np.bincount(place, dq, minlength=by_kw.shape[1])
        over = np.maximum(there - of.high, of.low - there) / unit
        over[_directions(of)] = -np.inf
        broken = np.argsort(-over, kind="stable")[:MORE]
        new = np.setdiff1d(broken[over[broken] > worst + 1e-3], rows)
        if not len(new):
            break
        rows = np.concatenate([rows, new])
    return dp, dq, worst * UNIT


def _discs(s_kva: Float, p: Float, q: Float) -> tuple[sparse.csr_matrix, Float]:
    """Sides of the polygon inside each inverter's disc, as rows over both powers' changes."""
    has = np.flatnonzero(s_kva > 0.0)
    rows, rim = [], []
    for turn in 2.0 * np.pi * np.arange(SIDES) / SIDES:
        x, y = np.full(len(has), np.cos(turn)), np.full(len(has), np.sin(turn))
        at = np.tile(np.arange(len(has)), 2)
        cells = (np.concatenate([x, y]), (at, np.concatenate([has, len(p) + has])))
        rows.append(sparse.csr_matrix(cells, shape=(len(has), 2 * len(p) + 1)))
        edge = s_kva[has] * np.cos(np.pi / SIDES) - x * p[has] - y * q[has]
        rim.append(np.maximum(edge, 0.0))
    return sparse.vstack(rows).tocsr(), np.concatenate(rim)
