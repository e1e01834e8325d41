"""A base point ready for lanes: factored, packed, proved; and the scenarios solved around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid.lanes import _kernel, _plain
from gridflock.grid.lanes._answers import Answers
from gridflock.grid.lanes._asked import Shaped, States, Wanted
from gridflock.grid.lanes._block import Demand, Work
from gridflock.grid.lanes._circuit import Circuit, Complex
from gridflock.grid.lanes._fit import Classes, classes
from gridflock.grid.lanes._plan import Packed, Reals, aligned, pack
from gridflock.grid.lanes._point import Pattern, Point, changed, pattern, point
from gridflock.grid.lanes._proof import packed_error
from gridflock.grid.lanes._simd import width, works
from gridflock.grid.lanes._states import StateTable
from gridflock.grid.lanes._tail import Elimination, elimination, square
from gridflock.units import Rows

MOST_ITERATIONS = 12
"""A lane that needs more is too far from its base point: another one is cheaper."""
FIT_ACCURACY = {"float32": 1e-6, "float64": 1e-12}
PROOF_SWING = 0.3
"""The proof lane's injections differ from the base point's by this share, up and down in turn."""
PROOF_LIMIT_PU = 2e-5
FACTOR_LIMIT = 1e-3
"""Relative, of the packed factors: a voltage changes by some per cent, so this is below the tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What all base points of one network share.

    Attributes:
        circuit: the network.
        dtype: of the lanes.
        tail: (T,) nodes whose admittances may differ between scenarios.
        plain: plain loops instead of vectors.
        pattern: elimination order and the admittances in it.
        laws: load laws as the kernel evaluates them.
        steps: elimination of the tail.
    """

    circuit: Circuit
    dtype: np.dtype[np.floating]
    tail: Rows
    plain: bool
    pattern: Pattern
    laws: Classes
    steps: Elimination

    @property
    def width(self) -> int:
        """Lanes side by side."""
        return _plain.LANES if self.plain else width(self.dtype)

    def changed(self, change: Complex) -> Frame:
        """The frame with complex (E,) added to the admittances of the tail's entries, S."""
        n, nodes, delta_y = len(self.circuit.v_base), self.tail, square(self.steps, change)
        where = np.repeat(nodes, len(nodes)), np.tile(nodes, len(nodes))
        added = sparse.csc_matrix((delta_y.reshape(-1), where), shape=(n, n))
        circuit = replace(self.circuit, y=(self.circuit.y + added).tocsc())
        return replace(self, circuit=circuit, pattern=changed(self.pattern, nodes, delta_y))

    def table(self, states: States) -> StateTable:
        """The states' table, made for this call if they have none."""
        if isinstance(states.delta_y, StateTable):
            return states.delta_y
        made = StateTable(self.steps)
        made.add(states.delta_y)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A base point with everything the kernel needs.

    Attributes:
        frame: the network.
        base: the operating point; the rest is of use only if it was found.
        packed: the plan of the kernel.
        factor_error: largest relative difference of the packed factors from the float64 ones.
        proof_pu: largest error of a lane away from the base point against Newton's method in float64.
    """

    frame: Frame
    base: Point
    packed: Packed
    factor_error: float
    proof_pu: float

    @property
    def ready(self) -> bool:
        """Whether the base point was found and its packed form reproduces what float64 finds."""
        exact = self.factor_error <= FACTOR_LIMIT and self.proof_pu <= PROOF_LIMIT_PU
        return bool(self.base.solved and exact)


def frame(circuit: Circuit, dtype: str, tail: Rows, *, plain: bool) -> Frame:
    """Order the eliminations and fit the load laws, once per network."""
    laws = classes(circuit.law, FIT_ACCURACY[dtype])
    shape = pattern(circuit, tail)
    steps = elimination(shape.order, tail)
    return Frame(circuit, np.dtype(dtype), tail, plain or not works(), shape, laws, steps)


def anchor(shared: Frame, base_kva: Complex, near: Anchor | None = None) -> Anchor:
    """Find a base point, factor, pack and prove it; the search begins at the one ``near`` by."""
    start = near.base.v if near is not None and near.base.solved else None
    with np.errstate(all="ignore"):
        base = point(shared.circuit, shared.pattern, base_kva, start)
        packed = pack(shared.circuit, base, shared.laws, shared.dtype, shared.width)
        if not base.solved:
            return Anchor(shared, base, packed, np.inf, np.inf)
        made = Anchor(shared, base, packed, packed_error(packed.plan, base, shared.width), 0.0)
        return replace(made, proof_pu=_prove(made))


def _prove(made: Anchor) -> float:
    shared, base = made.frame, made.base.s_kva
    scale = np.abs(base) + 0.1 * (np.abs(base).mean() if base.any() else 0.1)
    asked = base + PROOF_SWING * scale * np.where(np.arange(len(base)) % 2, 1.0, -0.5)
    truth = point(shared.circuit, shared.pattern, asked, made.base.v)
    wanted = Wanted(v_pu=True)
    answers = Answers(len(shared.circuit.v_base), shared.dtype, 1, wanted)
    solve_into(made, answers, np.zeros(1, dtype=np.int64), asked[None], wanted)
    if not (truth.solved and answers.converged[0]):
        return np.inf
    return float(np.abs(np.abs(truth.v) / shared.circuit.v_base - answers.v_pu[0]).max(initial=0.0))


def solve_into(
    around: Anchor,
    answers: Answers,
    rows: NDArray[np.int64],
    demand: Shaped | Complex,
    wanted: Wanted,
    states: States | None = None,
) -> None:
    """Solve the scenarios of ``demand`` around a base point into ``rows`` of the answers."""
    if not around.ready or not len(rows):
        return
    here = answers if len(rows) == len(answers.converged) else answers.apart(len(rows), wanted)
    asked = _demand(around, demand, states)
    cuts = np.linspace(0, -(-len(rows) // around.frame.width), wanted.parts + 1).astype(np.int64)
    extremes = [here.new_extremes() for _ in range(wanted.parts)]
    run = _plain.run if around.frame.plain else _kernel.run

    def part(k: int) -> None:
        blocks = (int(cuts[k]), int(cuts[k + 1]))
        limits = (float(wanted.tol), MOST_ITERATIONS)
        run(around.packed.plan, asked, _work(around, asked), here.answer(extremes[k]), blocks, limits)

    _exhaust(wanted.spread(part, range(wanted.parts)))
    here.v += around.base.v[here.nodes]
    for found in extremes:
        answers.merge(found)
    if here is not answers:
        answers.take(here, rows)


def _exhaust(parts: Iterable[None]) -> None:
    """Wait for all parts; what one of them raised is raised here."""
    for _ in parts:
        pass


def _demand(anchor: Anchor, demand: Shaped | Complex, states: States | None) -> Demand:
    frame = anchor.frame
    row, lanes = anchor.packed.port_row, frame.width
    scale = (1000.0 / frame.circuit.port_v[row] ** 2)[:, None]
    if isinstance(demand, Shaped):
        power = np.column_stack([demand.s_kva.real, demand.s_kva.imag])[row] * scale
        at = np.column_stack([demand.p_shape, demand.q_shape])[row] * lanes
        shapes, dense = demand.shapes, np.zeros((0, 0))
    else:
        power = np.repeat(scale, 2, axis=1)
        at = np.arange(2 * len(row), dtype=np.int32) * np.int32(lanes)
        shapes = np.zeros((0, 0))
        dense = np.ascontiguousarray(demand, dtype=np.complex128).view(np.float64)
    values: Reals = np.zeros((0, 0), dtype=frame.dtype)
    state: Rows = np.zeros(0, dtype=np.int32)
    if states is not None:
        state = np.asarray(states.of, dtype=np.int32)
        values = frame.table(states).values(anchor.base, state, frame.dtype)
    return Demand(
        power.astype(frame.dtype).reshape(-1),
        at.astype(np.int32).reshape(-1),
        np.ascontiguousarray(shapes, dtype=frame.dtype),
        dense,
        row,
        state,
        values,
    )


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
