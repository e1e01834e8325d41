"""Answers what the controls' walk asks: many (step, control state) pairs solved in lanes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._batch import Shaped, Spread
from gridflock.grid._circuit import circuit
from gridflock.grid._controls import Settled, settled
from gridflock.grid._flow import Flow
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.grid.lanes import LaneFlows, Lanes, StateTable, Wanted
from gridflock.grid.lanes import Shaped as LaneShaped
from gridflock.grid.lanes import States as LaneStates
from gridflock.grid.series._inverters import Inverters
from gridflock.grid.series._march import States
from gridflock.grid.series._positions import positions
from gridflock.grid.series._steps import Steps, phase_nodes, solver_of
from gridflock.grid.series._table import table
from gridflock.grid.series._watch import Watch, watch
from gridflock.units import NEVER_S, Mask, Rows

TOL_PU = {"float32": 1e-5, "float64": 1e-7}
ROUGH_PU = 3e-4
"""The lanes' tolerance where an answer only guides the walk."""
TIMES = 3.0
"""About how often a step is solved."""
MOST_FEATURES = 64
MOST_ROUNDS = 30
"""Control rounds to a typical state; where it is not found by then it is near enough."""
ALIKE = 12
"""Decimals to which the courses of two inverters' powers must agree to be one."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Q operating points.

    Attributes:
        v: complex (Q, W) voltages of the nodes asked for, V.
        converged: (Q,) only there they are answers.
        residual_kva: (Q,) largest miss of Kirchhoff's current law at a node, times its voltage.
        low_pu: (Q,) lowest voltage.
        high_pu: (Q,) highest.
        below: (n,) operating points with a node below the band.
        above: (n,) above it.
    """

    v: Complex
    converged: Mask
    residual_kva: Float
    low_pu: Float
    high_pu: Float
    below: NDArray[np.int64]
    above: NDArray[np.int64]

    def take(self, rows: Rows, found: Answers) -> None:
        """Put some operating points in their rows, and add what they count."""
        for name in ("v", "converged", "residual_kva", "low_pu", "high_pu"):
            getattr(self, name)[rows] = getattr(found, name)
        self.below[:] += found.below
        self.above[:] += found.above


class Questions:
    """A network and its steps, ready to answer.

    Attributes:
        watch: what controls see.
        nodes: (W,) nodes whose voltages are known where a step ends.
        place: (n,) place of each node among these, -1 for none.
        seen: (L,) places of the nodes that controls see.
        total_kw: (T,) sum of the active powers of all ports, the inverters' as available.
    """

    def __init__(
        self, network: Network, steps: Steps, start: States, nodes: Rows, spread: Spread, parts: int
    ) -> None:
        """Gather what does not depend on a control state.

        Args:
            network: the feeder.
            steps: what happens to it.
            start: (K+M,) control state the lanes are factored at.
            nodes: nodes whose voltages the caller wants besides those the controls see.
            spread: how parts are run: ``map``, or a thread pool's.
            parts: into how many lanes are cut.
        """
        self.network, self.steps = network, steps
        self.inverters = steps.inverters
        ends = network.load_nodes[self.inverters.port] if self.inverters else np.zeros((0, 2), np.int32)
        self.watch: Watch = watch(network)
        wanted = [nodes, network.source_nodes, ends[ends >= 0], self.watch.nodes]
        self.nodes: Rows = np.unique(np.concatenate(wanted)).astype(np.int32)
        self.place = np.full(network.n + 1, -1, dtype=np.int32)
        self.place[self.nodes] = np.arange(len(self.nodes))
        self.seen = self.place[self.watch.nodes]
        self._ends = self.place[ends]
        self._phases = phase_nodes(network)
        self._spread, self._parts = spread, parts
        self._positions = positions(network)
        self._solver = solver_of(network, steps)
        self._ask = _asked(steps, self.inverters)
        self.total_kw: Float = self._demand(np.arange(len(steps), dtype=np.int32)).total_kw()
        self.stand_at(start)

    def stand_at(self, base: States) -> None:
        """Factor the lanes at another control state: the nearer to those asked for, the faster."""
        self._base = base.copy()
        self._lanes: dict[str, Lanes] = {}
        self._tables: dict[str, tuple[StateTable, dict[bytes, int]]] = {}

    def prepare(self, ends: States) -> None:
        """Make the base points of the lanes for steps that end about where ``ends`` (T, K+M) says."""
        everything = np.arange(len(self.steps), dtype=np.int32)
        self._at("float32").prepare(
            self._demand(everything), self._states("float32", ends), tol=TOL_PU["float32"], times=TIMES
        )

    def typical(self, start: States) -> States:
        """(K+M,) where the controls settle at the step of median load, the inverters as at rated voltage."""
        order = np.argsort(self.total_kw, kind="stable")
        step = int(order[len(order) // 2])
        load = self.steps.load_kva(step).copy()
        if self.inverters is not None:
            assert self.steps.p_kw is not None
            rated = np.ones(len(self.inverters.port))
            load[self.inverters.port] = self.inverters.answer(self.steps.p_kw[step], rated)
        held = replace(self.steps, loads=load[None], inverters=None, p_kw=None)
        end = settled(
            self.network, solver_of(self.network, held)(0), self.control_state(start), None, MOST_ROUNDS,
            self.steps.second_s(step),
        )  # fmt: skip
        return np.concatenate([end.state.taps, end.state.cap_on]).astype(np.int8)

    def settle(self, step: int, state: ControlState, start: Flow | None, rounds: int) -> Settled:
        """One step by the reference path, its controls acting."""
        return settled(self.network, self._solver(step), state, start, rounds, self.steps.second_s(step))

    def features(self) -> Float:
        """(T, F) numbers that tell the steps' powers apart: the shapes where they are few, else the sums."""
        loads, total = self.steps.loads, self.total_kw
        columns = [np.ones((len(total), 1)), total[:, None]]
        if isinstance(loads, Shaped) and len(loads.multipliers) <= MOST_FEATURES:
            columns.append(loads.multipliers.T)
        if self.steps.p_kw is not None:
            columns.append(self.steps.p_kw.sum(axis=1)[:, None])
        found = np.concatenate(columns, axis=1)
        scaled: Float = found / np.maximum(np.abs(found).max(axis=0), 1e-9)
        return scaled

    def ask(
        self, step: Rows, state: States, dtype: str = "float32", *, rough: bool = False
    ) -> tuple[Float, Mask]:
        """What controls see at steps and control states.

        Args:
            step: (Q,) which steps.
            state: (Q, K+M) at which positions.
            dtype: of the lanes.
            rough: near enough to guide the walk.

        Returns:
            (Q, K+2M) sights and (Q,) whether there is an answer.
        """
        found = self._solved(step, state, dtype, self.watch.nodes, ROUGH_PU if rough else TOL_PU[dtype])
        return self.watch.sights(found.v, state), found.converged

    def end(self, step: Rows, state: States, band_pu: tuple[float, float]) -> Answers:
        """The operating points at which steps end, with the voltages of ``nodes``.

        Args:
            step: (Q,) which steps.
            state: (Q, K+M) at which positions.
            band_pu: count nodes outside it.
        """
        return self._solved(step, state, "float32", self.nodes, TOL_PU["float32"], band_pu)

    def blank(self, count: int) -> Answers:
        """Room for the operating points of ``count`` ends."""
        n = self.network.n
        return Answers(
            np.full((count, len(self.nodes)), np.nan, dtype=np.complex128), np.zeros(count, dtype=np.bool_),
            np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan),
            np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64),
        )  # fmt: skip

    def _solved(
        self, step: Rows, state: States, dtype: str, nodes: Rows, tol: float,
        band_pu: tuple[float, float] | None = None,
    ) -> Answers:  # fmt: skip
        counted = band_pu is not None and len(self._phases) < self.network.n
        wanted = Wanted(
            tol, v_pu=counted, nodes=tuple(nodes.tolist()), band=None if counted else band_pu,
            spread=self._spread, parts=self._parts,
        )  # fmt: skip
        flows = self._at(dtype).solve(self._demand(step), wanted, self._states(dtype, state))
        found = self._noted(flows, band_pu if counted else None)
        for row in np.flatnonzero(~found.converged).tolist():
            self._by_reference(found, row, int(step[row]), state[row], nodes, band_pu)
        return found

    def _noted(self, flows: LaneFlows, band_pu: tuple[float, float] | None) -> Answers:
        """The answers of lanes; with a band they hold every voltage, and only phases count."""
        n = self.network.n
        below, above = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        low, high = flows.low_pu.astype(np.float64), flows.high_pu.astype(np.float64)
        if band_pu is not None:
            own = flows.v_pu[:, self._phases]
            low, high = own.min(axis=1).astype(np.float64), own.max(axis=1).astype(np.float64)
            below[self._phases] = (own < band_pu[0]).sum(axis=0)
            above[self._phases] = (own > band_pu[1]).sum(axis=0)
        elif len(flows.below):
            below, above = flows.below, flows.above
        return Answers(flows.v, flows.converged, flows.residual_kva, low, high, below, above)

    def _by_reference(
        self, found: Answers, row: int, step: int, state: States, nodes: Rows,
        band_pu: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        """One pair that stayed out of reach of the lanes."""
        flow = self._solver(step)(self.control_state(state), None)
        found.converged[row], found.residual_kva[row] = flow.converged, flow.residual_kva
        if not flow.converged:
            return
        own = flow.v_pu[self._phases]
        found.v[row], found.low_pu[row], found.high_pu[row] = flow.v[nodes], own.min(), own.max()
        if band_pu is not None:
            found.below[self._phases] += own < band_pu[0]
            found.above[self._phases] += own > band_pu[1]

    def _at(self, dtype: str) -> Lanes:
        if dtype not in self._lanes:
            none, own = np.zeros(0, dtype=np.int32), self.inverters
            arrays = circuit(self.network, self.control_state(self._base), none)
            if own is not None:
                arrays = replace(arrays, inverters=table(own.curves, own.start, own.port))
            mean = self._demand(np.arange(len(self.steps), dtype=np.int32)).mean_kva()
            like = next(iter(self._lanes.values()), None)
            self._lanes[dtype] = Lanes(arrays, mean, dtype=dtype, tail=self._positions.nodes, like=like)
        return self._lanes[dtype]

    def _states(self, dtype: str, state: States) -> LaneStates | None:
        """Control states (Q, K+M) as rows of the lanes' table, in which each is factored once."""
        if not len(self._positions.nodes):
            return None
        if dtype not in self._tables:
            self._tables[dtype] = self._at(dtype).table(), {}
        kept, row = self._tables[dtype]
        names = np.ascontiguousarray(state).view(f"S{state.shape[1]}")[:, 0].tolist()
        first = {name: k for k, name in enumerate(names) if name not in row}
        if first:
            there, new = self._positions, np.fromiter(first.values(), dtype=np.int64)
            rows = kept.add_at(there.row, there.column, there.change(state[new], self._base))
            row.update(zip(first, rows.tolist(), strict=True))
        return LaneStates(np.fromiter(map(row.__getitem__, names), dtype=np.int32, count=len(names)), kept)

    def control_state(self, state: States) -> ControlState:
        """Positions as the rest of the grid has them."""
        k = len(self.network.regulators.ids)
        return ControlState(state[:k].copy(), state[k:] != 0, np.full(len(state), NEVER_S, dtype=np.int64))

    def _demand(self, step: Rows) -> LaneShaped:
        """Powers of the ports at chosen steps, the inverters' as available."""
        ask = self._ask
        if isinstance(self.steps.loads, Shaped):
            return LaneShaped(ask.s_kva, ask.p_shape, ask.q_shape, ask.shapes[:, step])
        return _each_its_own(self.steps.loads[step], self.inverters, self.steps.p_kw, step)

    def port_pu(self, v: Complex) -> Float:
        """(S, C) voltages across the inverters' ports per unit, from those (S, W) of ``nodes``."""
        assert self.inverters is not None
        grounded = np.concatenate([v, np.zeros((len(v), 1))], axis=1)
        across = np.abs(grounded[:, self._ends[:, 0]] - grounded[:, self._ends[:, 1]])
        per_unit: Float = across / self.network.load_v[self.inverters.port]
        return per_unit


def _asked(steps: Steps, inverters: Inverters | None) -> LaneShaped:
    """All steps as shapes; the inverters' powers stand beside the loads', one shape for each course."""
    if not isinstance(steps.loads, Shaped):
        none = np.zeros(0, dtype=np.int32)
        return LaneShaped(np.zeros(0, dtype=np.complex128), none, none, np.zeros((0, len(steps))))
    loads = steps.loads
    kva, shape, shapes = loads.kva.astype(np.complex128), loads.shape.astype(np.int32), loads.multipliers
    if inverters is None:
        return LaneShaped(kva, shape, shape, shapes)
    assert steps.p_kw is not None
    most = np.abs(steps.p_kw).max(axis=0, initial=0.0)
    course = np.round(steps.p_kw / np.where(most > 0.0, most, 1.0), ALIKE) + 0.0
    names = [np.ascontiguousarray(course[:, d]).tobytes() for d in range(inverters.n)]
    _, first, of = np.unique(np.array(names, dtype=np.object_), return_index=True, return_inverse=True)
    kva, p_shape = kva.copy(), shape.copy()
    kva[inverters.port] = (most / np.diff(inverters.start))[inverters.owner]
    p_shape[inverters.port] = len(shapes) + of[inverters.owner]
    return LaneShaped(kva, p_shape, shape, np.concatenate([shapes, course[:, first].T]))


def _each_its_own(dense: Complex, inverters: Inverters | None, p_kw: Float | None, step: Rows) -> LaneShaped:
    """Powers (S, L) without shared shapes: every port has its own."""
    if inverters is not None and p_kw is not None:
        dense[:, inverters.port] = inverters.spread(p_kw[step], np.zeros((len(step), inverters.n)))
    count = dense.shape[1]
    own = np.arange(count, dtype=np.int32)
    shapes = np.concatenate([dense.real.T, dense.imag.T])
    return LaneShaped(np.full(count, 1.0 + 1.0j), own, count + own, shapes)
