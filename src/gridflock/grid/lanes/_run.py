"""Scenarios handed to the compiled kernels, in groups around their base points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes import _kernel, _plain
from gridflock.grid.lanes._answers import Answers
from gridflock.grid.lanes._asked import Shaped, States, Wanted
from gridflock.grid.lanes._block import Demand, Work
from gridflock.grid.lanes._circuit import Complex
from gridflock.grid.lanes._frame import Anchor
from gridflock.grid.lanes._plan import Reals, aligned
from gridflock.grid.lanes._states import StateTable
from gridflock.units import Rows

MOST_ITERATIONS = 12
"""A lane that needs more is too far from its base point: another one is cheaper."""


class Group(NamedTuple):
    """Scenarios solved around one base point, in the order in which they fill the lanes."""

    around: Anchor
    rows: NDArray[np.int64]


def solve_into(
    answers: Answers,
    groups: list[Group],
    demand: Shaped | Complex,
    wanted: Wanted,
    states: States | None = None,
) -> None:
    """Solve groups of the scenarios of ``demand`` into their rows of the answers."""
    groups = [group for group in groups if group.around.ready and len(group.rows)]
    if not groups:
        return
    frame = groups[0].around.frame
    asked = _demands(groups, demand, states)
    cuts = [
        np.linspace(0, -(-len(group.rows) // frame.width), wanted.parts + 1).astype(np.int64)
        for group in groups
    ]
    extremes = [answers.new_extremes() for _ in range(wanted.parts)]
    run = _plain.run if frame.plain else _kernel.run
    limits = (float(wanted.tol), MOST_ITERATIONS)

    def part(k: int) -> None:
        work, answer = _work(groups[0].around, asked[0]), answers.answer(extremes[k])
        for group, own, cut in zip(groups, asked, cuts, strict=True):
            run(group.around.packed.plan, own, work, answer, (int(cut[k]), int(cut[k + 1])), limits)

    _exhaust(wanted.spread(part, range(wanted.parts)))
    for group in groups:
        answers.v[group.rows] += group.around.base.v[answers.nodes]
    for found in extremes:
        answers.merge(found)


def _exhaust(parts: Iterable[None]) -> None:
    """Wait for all parts; what one of them raised is raised here."""
    for _ in parts:
        pass


def _demands(groups: list[Group], demand: Shaped | Complex, states: States | None) -> list[Demand]:
    """What each group is asked; the ports' share of it is common to all."""
    packed, frame = groups[0].around.packed, groups[0].around.frame
    row, lanes = packed.port_row, frame.width
    scale = (1000.0 / frame.circuit.port_v[row] ** 2)[:, None]
    shapes, dense = np.zeros((0, 0), dtype=frame.dtype), np.zeros((0, 0))
    if isinstance(demand, Shaped):
        power = np.column_stack([demand.s_kva.real, demand.s_kva.imag])[row] * scale
        at = np.column_stack([demand.p_shape, demand.q_shape])[row] * lanes
        shapes = np.ascontiguousarray(demand.shapes, dtype=frame.dtype)
    else:
        power = np.repeat(scale, 2, axis=1)
        at = np.arange(2 * len(row), dtype=np.int32) * np.int32(lanes)
        dense = np.ascontiguousarray(demand, dtype=np.complex128).view(np.float64)
    power, at = power.astype(frame.dtype).reshape(-1), at.astype(np.int32).reshape(-1)
    asked = []
    for around, rows in groups:
        own, values = _own_states(around, rows, states)
        whole = not len(shapes) or _in_order(rows, shapes.shape[1])
        here = shapes if whole else np.take(shapes, rows, axis=1)
        asked.append(Demand(power, at, here, dense, row, rows, own, values))
    return asked


def _in_order(rows: NDArray[np.int64], count: int) -> bool:
    """Whether ``rows`` are all of ``count`` as they stand."""
    return len(rows) == count and bool((rows == np.arange(count)).all())


def _own_states(around: Anchor, rows: NDArray[np.int64], states: States | None) -> tuple[Rows, Reals]:
    """Control state of each lane, and the factors of all around the base point."""
    if states is None:
        return np.zeros(0, dtype=np.int32), np.zeros((0, 0), dtype=around.frame.dtype)
    own = np.asarray(states.of, dtype=np.int32)[rows]
    assert isinstance(states.delta_y, StateTable)
    return own, states.delta_y.values(around, own)


def _work(anchor: Anchor, demand: Demand) -> Work:
    """Scratch for one part; the ground behind the last node is zero."""
    frame = anchor.frame
    lanes, plan = frame.width, anchor.packed.plan
    n, ports = plan.sizes[0], plan.sizes[2]
    state = aligned((n + 1) * 2 * lanes, frame.dtype)
    state[n * 2 * lanes :] = 0.0
    rows = len(demand.shapes) or 2 * ports
    return Work(
        state,
        aligned(ports * 4 * lanes, frame.dtype),
        aligned(max(rows, 1) * lanes, frame.dtype),
        aligned(max(demand.values.shape[1], 1) * lanes, frame.dtype),
        aligned(lanes * lanes, frame.dtype),
        aligned(3 * lanes, frame.dtype),
        np.zeros(2 * lanes),
    )
