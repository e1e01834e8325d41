"""Scenarios in, flows out: one factored base point and the lanes solved around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid.lanes._circuit import Circuit, Complex, Float
from gridflock.grid.lanes._fit import classes
from gridflock.grid.lanes import _kernel, _plain
from gridflock.grid.lanes._block import Answer, Demand, Work
from gridflock.grid.lanes._plan import WIDEST, Reals, aligned, pack
from gridflock.grid.lanes._point import changed, pattern, point
from gridflock.grid.lanes._simd import width, works
from gridflock.grid.lanes._tail import tail_values
from gridflock.units import Mask, Pu, Rows

Spread = Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]
"""``map``, or the same of a pool of threads: compiled parts run without the interpreter's lock."""

TOLERANCE_PU = 1e-5
MOST_ITERATIONS = 12
"""A lane that needs more is too far from its base point: another one is cheaper."""
ROUNDS = 2
"""How often the lanes left over are tried again around base points of their own."""
GROUPS = 4
"""Base points made in one round, for lanes grouped by their total power."""
SMALLEST_GROUP = 16
FIT_ACCURACY = {"float32": 1e-6, "float64": 1e-12}
PROOF_SWING = 0.3
"""The proof lane's injections differ from the base point's by this share, up and down in turn."""
PROOF_LIMIT_PU = 2e-5


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """Scenarios as shared multipliers of constant injections: ``p·shapes[p_shape] + j·q·shapes[q_shape]``.

    Attributes:
        s_kva: complex (P,) injection of each port, house sign.
        p_shape: (P,) row of ``shapes`` for the active power.
        q_shape: (P,) row for the reactive power.
        shapes: (K, S) multipliers.
    """

    s_kva: Complex
    p_shape: Rows
    q_shape: Rows
    shapes: Float

    def mean_kva(self) -> Complex:
        """Complex (P,) mean injection over the scenarios."""
        return self._scaled(self.shapes.mean(axis=1))

    def total_kw(self) -> Float:
        """(S,) sum of the active injections."""
        weight = np.bincount(self.p_shape, self.s_kva.real, len(self.shapes))
        total: Float = weight @ self.shapes
        return total

    def some(self, rows: Rows) -> Shaped:
        """The scenarios ``rows`` alone."""
        return Shaped(self.s_kva, self.p_shape, self.q_shape, self.shapes[:, rows])

    def dense(self) -> Complex:
        """Complex (S, P) kVA, written out."""
        p = self.s_kva.real[:, None] * self.shapes[self.p_shape]
        written: Complex = (p + 1j * self.s_kva.imag[:, None] * self.shapes[self.q_shape]).T
        return written

    def _scaled(self, each: Float) -> Complex:
        scaled: Complex = self.s_kva.real * each[self.p_shape] + 1j * self.s_kva.imag * each[self.q_shape]
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class LaneFlows:
    """Flows of S scenarios over n nodes. A scenario that is not converged has no voltage: NaN.

    Attributes:
        converged: (S,) only then is the rest an answer.
        iterations: (S,) of its block of lanes.
        residual_kva: (S,) largest miss of a port's current against the law at the final voltages, times
            the voltage across the port.
        low_pu: (S,) lowest node voltage.
        high_pu: (S,) highest.
        v_pu: (S, n) every node voltage; without rows if not asked for.
        v: complex (S, c) V at the chosen nodes.
        node_low_pu: (n,) lowest voltage of each node over the converged scenarios; empty without a band.
        node_high_pu: (n,) highest.
        below: (n,) how many converged scenarios leave the node below the band.
        above: (n,) how many above.
    """

    converged: Mask
    iterations: Rows
    residual_kva: Float
    low_pu: Pu
    high_pu: Pu
    v_pu: Pu
    v: Complex
    node_low_pu: Pu
    node_high_pu: Pu
    below: NDArray[np.int64]
    above: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What to solve for and what to keep of the answers.

    Attributes:
        tol: estimated distance to the exact answer at which a lane may stop, pu.
        v_pu: keep every node voltage of every scenario.
        nodes: keep the complex voltage of these nodes.
        band: low and high pu: keep each node's extremes and how often it leaves the band.
        spread: ``map`` or that of a pool of threads.
        parts: how many calls to spread over.
        rounds: how often lanes left over are tried around new base points.
        room: aligned memory for ``v_pu`` from ``Lanes.room``, to be used again from call to call.
    """

    tol: float = TOLERANCE_PU
    v_pu: bool = False
    nodes: tuple[int, ...] = ()
    band: tuple[float, float] | None = None
    spread: Spread = map
    parts: int = 1
    rounds: int = ROUNDS
    room: Reals | None = None


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Control states of the tail per scenario.

    Attributes:
        of: (S,) row of ``delta_y``.
        delta_y: complex (states, T, T) change of the admittance between the tail's nodes against the
            circuit's, S, in the order in which the tail was given.
    """

    of: Rows
    delta_y: Complex


class Lanes:
    """A network factored around one operating point; ``solve`` answers any number of scenarios around it."""

    def __init__(
        self,
        circuit: Circuit,
        base_kva: Complex,
        *,
        dtype: str = "float32",
        tail: Rows | None = None,
        plain: bool = False,
    ) -> None:
        """Order, factor and pack.

        Args:
            circuit: the network.
            base_kva: complex (P,) injections of the base point, house sign; the mean of what will be asked.
            dtype: "float32", 16 lanes, or "float64", 8 lanes: for ungrounded or very stiff networks.
            plain: use plain loops even where vectors work.
            tail: (T,) nodes whose admittances differ between scenarios (regulators, capacitors).
        """
        self.circuit = circuit
        self.dtype = np.dtype(dtype)
        self.tail = np.zeros(0, dtype=np.int32) if tail is None else np.asarray(tail, dtype=np.int32)
        self.plain = plain or not works()
        self.width = _plain.LANES if self.plain else width(self.dtype)
        self._pattern = pattern(circuit, self.tail)
        self._laws = classes(circuit.law, FIT_ACCURACY[self.dtype.name])
        self._settle(np.asarray(base_kva, dtype=np.complex128), None)

    def _settle(self, base_kva: Complex, start: Complex | None) -> None:
        """Find the base point, pack it and prove it."""
        self.base = point(self.circuit, self._pattern, base_kva, start)
        self._packed = pack(self.circuit, self.base, self._laws, self.dtype, self.width)
        self.proof_pu = self._prove() if self.base.solved else np.inf

    @property
    def ready(self) -> bool:
        """Whether the base point was found and the packed factors reproduce a flow known in float64."""
        return bool(self.proof_pu <= PROOF_LIMIT_PU)

    def around(self, base_kva: Complex, delta_y: Complex | None = None) -> Lanes:
        """The same network around another base point: factored again, not ordered again.

        Args:
            base_kva: complex (P,) injections of the new base point.
            delta_y: complex (T, T) change of the admittance between the tail's nodes, S.
        """
        other = copy(self)
        if delta_y is not None:
            n, nodes = len(self.circuit.v_base), self.tail
            where = np.repeat(nodes, len(nodes)), np.tile(nodes, len(nodes))
            change = sparse.csc_matrix((delta_y.reshape(-1), where), shape=(n, n))
            other.circuit = replace(self.circuit, y=(self.circuit.y + change).tocsc())
            other._pattern = changed(self._pattern, nodes, delta_y)
        other._settle(base_kva, self.base.v if self.base.solved else None)
        return other

    def room(self, scenarios: int) -> Reals:
        """Memory for every node voltage of so many scenarios, to hand to ``Wanted`` again and again."""
        return aligned(scenarios * len(self._packed.plan.node_at), self.dtype)

    def solve(
        self, demand: Shaped | Complex, wanted: Wanted | None = None, states: States | None = None
    ) -> LaneFlows:
        """Solve every scenario; lanes that stay away are tried again around base points of their own.

        Args:
            demand: shaped, or complex (S, P) kVA in the house sign.
            wanted: tolerance, outputs and threads.
            states: control states, where the scenarios differ in them.

        Raises:
            ValueError: ``states`` change an admittance between tail nodes that nothing couples.
        """
        wanted = wanted or Wanted()
        flows = _Flows(self, len(demand.total_kw() if isinstance(demand, Shaped) else demand), wanted)
        everyone = np.arange(len(flows.converged))
        self._solve_into(flows, everyone, demand, wanted, states)
        for _ in range(wanted.rounds):
            for rows in _groups(demand, np.flatnonzero(~flows.converged)):
                some = _some(demand, rows)
                own, change = None, None
                if states is not None:
                    change = states.delta_y[np.bincount(states.of[rows]).argmax()]
                    own = States(states.of[rows], states.delta_y - change)
                mean = some.mean_kva() if isinstance(some, Shaped) else some.mean(axis=0)
                self.around(mean, change)._solve_into(flows, rows, some, wanted, own)
        return flows.finished()

    def _prove(self) -> float:
        """Largest error of one lane against Newton's method in float64, pu, away from the base point."""
        base = self.base.s_kva
        scale = np.abs(base) + 0.1 * (np.abs(base).mean() if base.any() else 0.1)
        asked = base + PROOF_SWING * scale * np.where(np.arange(len(base)) % 2, 1.0, -0.5)
        truth = point(self.circuit, self._pattern, asked, self.base.v)
        wanted = Wanted(v_pu=True, rounds=0)
        flows = _Flows(self, 1, wanted)
        self.proof_pu = 0.0
        self._solve_into(flows, np.zeros(1, dtype=np.int64), asked[None], wanted, None)
        if not (truth.solved and flows.converged[0]):
            return np.inf
        return float(np.abs(np.abs(truth.v) / self.circuit.v_base - flows.v_pu[0]).max())

    def _solve_into(
        self, flows: _Flows, rows: NDArray[np.int64], demand: Shaped | Complex, wanted: Wanted, states: States | None
    ) -> None:
        """Solve the scenarios of ``demand`` around this base point into ``rows`` of the flows."""
        if not self.ready or not len(rows):
            return
        here = flows if len(rows) == len(flows.converged) else _Flows(self, len(rows), wanted, alone=True)
        asked = self._demand(demand, states)
        blocks = -(-len(rows) // self.width)
        cuts = np.linspace(0, blocks, wanted.parts + 1).astype(np.int64)
        extremes = [here.new_extremes() for _ in range(wanted.parts)]

        def part(k: int) -> None:
            answer = here.answer(extremes[k])
            limits = (float(wanted.tol), MOST_ITERATIONS)
            run = _plain.run if self.plain else _kernel.run
            run(self._packed.plan, asked, self._work(asked), answer, (int(cuts[k]), int(cuts[k + 1])), limits)

        for _ in wanted.spread(part, range(wanted.parts)):
            pass
        here.v += self.base.v[here.nodes]
        for found in extremes:
            flows.merge(found)
        if here is not flows:
            flows.take(here, rows)

    def _demand(self, demand: Shaped | Complex, states: States | None) -> Demand:
        row, lanes = self._packed.port_row, self.width
        scale = (1000.0 / self.circuit.port_v[row] ** 2)[:, None]
        if isinstance(demand, Shaped):
            power = np.column_stack([demand.s_kva.real, demand.s_kva.imag])[row] * scale
            at = np.column_stack([demand.p_shape, demand.q_shape])[row] * lanes
            shapes, dense = demand.shapes, np.zeros((0, 0))
        else:
            power = np.repeat(scale, 2, axis=1)
            at = np.arange(2 * len(row)) * lanes
            shapes = np.zeros((0, 0))
            dense = np.ascontiguousarray(demand, dtype=np.complex128).view(np.float64)
        state, values = np.zeros(0, dtype=np.int32), np.zeros((0, 0))
        if states is not None:
            state = np.ascontiguousarray(states.of, dtype=np.int32)
            values = tail_values(self.base, self.tail, states.delta_y)
        return Demand(
            power.astype(self.dtype).reshape(-1),
            at.astype(np.int32).reshape(-1),
            np.ascontiguousarray(shapes, dtype=self.dtype),
            dense,
            row,
            state,
            values.astype(self.dtype),
        )

    def _work(self, demand: Demand) -> Work:
        """Scratch for one part; the ground behind the last node is zero."""
        lanes, plan = self.width, self._packed.plan
        n, ports = plan.sizes[0], plan.sizes[2]
        state = aligned((n + 1) * 2 * lanes, self.dtype)
        state[n * 2 * lanes :] = 0.0
        rows = len(demand.shapes) or 2 * ports
        return Work(
            state,
            aligned(ports * 4 * lanes, self.dtype),
            aligned(max(rows, 1) * lanes, self.dtype),
            aligned(max(demand.values.shape[1], 1) * lanes, self.dtype),
            aligned(lanes * lanes, self.dtype),
            aligned(3 * lanes, self.dtype),
            np.zeros(2 * lanes),
        )


class _Flows:
    """Answers while they are being made."""

    def __init__(self, lanes: Lanes, scenarios: int, wanted: Wanted, *, alone: bool = False) -> None:
        self.n = len(lanes.circuit.v_base)
        self.stride = -(-self.n // WIDEST) * WIDEST
        self.dtype, self.band = lanes.dtype, wanted.band
        self.nodes = np.array(wanted.nodes, dtype=np.int32)
        kept = scenarios if wanted.v_pu else 0
        room = None if alone else wanted.room
        self.magnitude = (
            aligned(kept * self.stride, lanes.dtype) if room is None else room[: kept * self.stride]
        )
        self.v_pu = self.magnitude.reshape(kept, self.stride)[:, : self.n]
        self.converged = np.zeros(scenarios, dtype=np.bool_)
        self.iterations = np.zeros(scenarios, dtype=np.int32)
        self.residual_kva = np.full(scenarios, np.nan)
        self.low_pu = np.full(scenarios, np.nan, dtype=lanes.dtype)
        self.high_pu = np.full(scenarios, np.nan, dtype=lanes.dtype)
        self.v = np.full((scenarios, len(self.nodes)), np.nan, dtype=np.complex128)
        self.extremes = self.new_extremes().reshape(4, -1)[:, : self.n]

    def new_extremes(self) -> Reals:
        """Extremes of nothing yet: lowest, highest, below, above."""
        kept = self.stride if self.band is not None else 0
        extremes = aligned(4 * kept, self.dtype)
        extremes[:kept], extremes[kept:] = np.inf, 0.0
        return extremes

    def answer(self, extremes: Reals) -> Answer:
        """Where the kernel writes."""
        return Answer(
            self.residual_kva,
            self.iterations,
            self.converged,
            self.magnitude,
            self.low_pu,
            self.high_pu,
            extremes,
            self.nodes,
            self.v,
            self.band or (0.0, np.inf),
        )

    def merge(self, extremes: Reals) -> None:
        """Take in what one part counted."""
        found = extremes.reshape(4, -1)[:, : self.n]
        low, high, below, above = self.extremes
        np.minimum(low, found[0], out=low)
        np.maximum(high, found[1], out=high)
        below += found[2]
        above += found[3]

    def take(self, some: _Flows, rows: NDArray[np.int64]) -> None:
        """Take in the answers of some scenarios solved apart."""
        for name in ("converged", "iterations", "residual_kva", "low_pu", "high_pu", "v"):
            getattr(self, name)[rows] = getattr(some, name)
        if len(self.v_pu):
            self.v_pu[rows] = some.v_pu

    def finished(self) -> LaneFlows:
        """The answers, with no voltage where there is none."""
        lost = ~self.converged
        for values in (self.low_pu, self.high_pu, self.v):
            values[lost] = np.nan
        if len(self.v_pu):
            self.v_pu[lost] = np.nan
        low, high, below, above = self.extremes
        return LaneFlows(
            self.converged,
            self.iterations,
            self.residual_kva,
            self.low_pu,
            self.high_pu,
            self.v_pu,
            self.v,
            low,
            high,
            below.astype(np.int64),
            above.astype(np.int64),
        )


def _groups(demand: Shaped | Complex, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Scenarios that share a base point: neighbours by total active power."""
    if not len(rows):
        return []
    some = _some(demand, rows)
    total = some.total_kw() if isinstance(some, Shaped) else some.real.sum(axis=1)
    count = min(GROUPS, max(1, len(rows) // SMALLEST_GROUP))
    return [np.sort(rows[part]) for part in np.array_split(np.argsort(total, kind="stable"), count)]


def _some(demand: Shaped | Complex, rows: Any) -> Shaped | Complex:
    return demand.some(rows) if isinstance(demand, Shaped) else demand[rows]
