"""Answers what the controls' walk asks: many (step, control state) pairs solved in lanes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._batch import Shaped, Spread, circuit
from gridflock.grid._controls import Settled, settled
from gridflock.grid._flow import Flow
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.grid.lanes import LaneFlows, Lanes, Wanted
from gridflock.grid.lanes import Shaped as LaneShaped
from gridflock.grid.lanes import States as LaneStates
from gridflock.grid.series._inverters import Inverters
from gridflock.grid.series._march import States
from gridflock.grid.series._positions import positions
from gridflock.grid.series._steps import Steps, phase_nodes, solver_of
from gridflock.grid.series._watch import Watch, watch
from gridflock.units import NEVER_S, Mask, Rows

LANES = 512
"""Operating points solved in one go, alike in their control states: their arrays stay near the cores."""
TOL_PU = {"float32": 1e-5, "float64": 1e-7}
SETTLED = {"float32": 5e-4, "float64": 1e-6}
"""Part of its rating by which an inverter may miss its curve."""
ROUGH = 2e-2
"""The same where an answer only guides the walk."""
INVERTER_ROUNDS = 40
MOST_ROUNDS = 30
"""Control rounds to a typical state; where it is not found by then it is near enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Q operating points.

    Attributes:
        v: complex (Q, W) voltages of the watched nodes, V.
        converged: (Q,) only there they are answers.
        residual_kva: (Q,) largest miss of Kirchhoff's current law at a node, times its voltage.
        low_pu: (Q,) lowest voltage.
        high_pu: (Q,) highest.
        below: (n,) operating points with a node below the band.
        above: (n,) above it.
        s_kva: complex (Q, P) powers of the inverters' ports.
    """

    v: Complex
    converged: Mask
    residual_kva: Float
    low_pu: Float
    high_pu: Float
    below: NDArray[np.int64]
    above: NDArray[np.int64]
    s_kva: Complex


class Questions:
    """A network and its steps, ready to answer.

    Args:
        network: the feeder.
        steps: what happens to it.
        start: (K+M,) control state the lanes are factored at.
        nodes: nodes whose voltages the caller wants besides those the controls see.
        spread: how parts are run: ``map``, or a thread pool's.
        parts: into how many lanes are cut.
    """

    def __init__(
        self, network: Network, steps: Steps, start: States, nodes: Rows, spread: Spread, parts: int
    ) -> None:
        self.network, self.steps = network, steps
        self.inverters = steps.inverters
        ends = network.load_nodes[self.inverters.port] if self.inverters else np.zeros((0, 2), np.int32)
        first = np.unique(np.concatenate([nodes, network.source_nodes, ends[ends >= 0]]))
        self.watch: Watch = watch(network, first.astype(np.int32))
        self.place = np.full(network.n + 1, -1, dtype=np.int32)
        self.place[self.watch.nodes] = np.arange(len(self.watch.nodes))
        self._ends = self.place[ends]
        self._phases = phase_nodes(network)
        self._spread, self._parts = spread, parts
        self._positions = positions(network)
        self._solver = solver_of(network, steps)
        self._last = self._first_guess(np.arange(len(steps), dtype=np.int32))
        self.stand_at(start)

    def stand_at(self, base: States) -> None:
        """Factor the lanes at another control state: the nearer to those asked for, the faster."""
        self._base = base.copy()
        self._lanes: dict[str, Lanes] = {}

    def typical(self, start: States) -> States:
        """(K+M,) where the controls settle at the step of median load, the inverters as at rated voltage."""
        order = np.argsort(self.total_kw(), kind="stable")
        step = int(order[len(order) // 2])
        load = self.steps.load_kva(step).copy()
        if self.inverters is not None:
            load[self.inverters.port] = self._last[step]
        held = replace(self.steps, loads=load[None], inverters=None, p_kw=None)
        end = settled(
            self.network, solver_of(self.network, held)(0), self.control_state(start), None, MOST_ROUNDS,
            self.steps.second_s(step),
        )  # fmt: skip
        return np.concatenate([end.state.taps, end.state.cap_on]).astype(np.int8)

    def settle(self, step: int, state: ControlState, start: Flow | None, rounds: int) -> Settled:
        """One step by the reference path, its controls acting."""
        return settled(self.network, self._solver(step), state, start, rounds, self.steps.second_s(step))

    def total_kw(self) -> Float:
        """(T,) sum of the active powers of all ports, the inverters' as available."""
        everything = np.arange(len(self.steps), dtype=np.int32)
        return self._demand(everything, self._first_guess(everything)).total_kw()

    def _at(self, dtype: str) -> Lanes:
        if dtype not in self._lanes:
            none = np.zeros(0, dtype=np.int32)
            arrays = circuit(self.network, self.control_state(self._base), none)
            everything = np.arange(len(self.steps), dtype=np.int32)
            mean = self._demand(everything, self._first_guess(everything)).mean_kva()
            self._lanes[dtype] = Lanes(arrays, mean, dtype=dtype, tail=self._positions.nodes)
        return self._lanes[dtype]

    def _first_guess(self, step: Rows) -> Complex:
        """Powers (S, P) of the inverters' ports at rated voltage."""
        if self.inverters is None:
            return np.zeros((len(step), 0), dtype=np.complex128)
        assert self.steps.p_kw is not None
        return self.inverters.answer(self.steps.p_kw[step], np.ones((len(step), len(self.inverters.port))))

    def ask(
        self,
        step: Rows,
        state: States,
        dtype: str = "float32",
        band_pu: tuple[float, float] | None = None,
        *,
        rough: bool = False,
    ) -> Answers:
        """Solve steps at control states.

        Args:
            step: (Q,) which steps.
            state: (Q, K+M) at which positions.
            dtype: of the lanes.
            band_pu: count nodes outside it.
            rough: inverters need only be near their curves.
        """
        q, n = len(step), self.network.n
        ports = len(self.inverters.port) if self.inverters else 0
        found = Answers(
            np.full((q, len(self.watch.nodes)), np.nan, dtype=np.complex128),
            np.zeros(q, dtype=np.bool_), np.full(q, np.nan), np.full(q, np.nan), np.full(q, np.nan),
            np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64),
            np.zeros((q, ports), dtype=np.complex128),
        )  # fmt: skip
        distinct, of = np.unique(state, axis=0, return_inverse=True)
        alike = np.argsort(of, kind="stable").astype(np.int32)
        for begin in range(0, q, LANES):
            rows = alike[begin : begin + LANES]
            table, own = np.unique(of[rows], return_inverse=True)
            change = self._positions.change(distinct[table], self._base)
            states = LaneStates(own.astype(np.int32), change) if len(self._positions.nodes) else None
            self._solve(found, rows, step[rows], states, dtype, band_pu, rough=rough)
        for row in np.flatnonzero(~found.converged).tolist():
            self._by_reference(found, row, int(step[row]), state[row], band_pu)
        return found

    def _solve(
        self, found: Answers, rows: Rows, step: Rows, states: LaneStates | None, dtype: str,
        band_pu: tuple[float, float] | None, *, rough: bool,
    ) -> None:  # fmt: skip
        if self.inverters is not None:
            self._settle(found, rows, step, states, dtype, rough=rough)
            if band_pu is None:
                return
        every_node = len(self._phases) == self.network.n
        own_band = band_pu if every_node else None
        unsettled = rows[~found.converged[rows]] if self.inverters is not None else rows[:0]
        counted = band_pu is not None and not every_node
        flows = self._flows(step, found.s_kva[rows], states, dtype, own_band, v_pu=counted)
        self._note(found, rows, flows)
        found.converged[unsettled] = False
        if counted and band_pu is not None:
            own = flows.v_pu[:, self._phases]
            found.low_pu[rows], found.high_pu[rows] = own.min(axis=1), own.max(axis=1)
            found.below[self._phases] += (own < band_pu[0]).sum(axis=0)
            found.above[self._phases] += (own > band_pu[1]).sum(axis=0)
        elif band_pu is not None:
            found.below[:] += flows.below
            found.above[:] += flows.above

    def control_state(self, state: States) -> ControlState:
        """Positions as the rest of the grid has them."""
        k = len(self.network.regulators.ids)
        return ControlState(state[:k].copy(), state[k:] != 0, np.full(len(state), NEVER_S, dtype=np.int64))

    def _flows(
        self, step: Rows, s_kva: Complex, states: LaneStates | None, dtype: str,
        band_pu: tuple[float, float] | None = None, *, v_pu: bool = False,
    ) -> LaneFlows:  # fmt: skip
        wanted = Wanted(
            TOL_PU[dtype], v_pu=v_pu, nodes=tuple(self.watch.nodes.tolist()), band=band_pu,
            spread=self._spread, parts=self._parts,
        )  # fmt: skip
        return self._at(dtype).solve(self._demand(step, s_kva), wanted, states)

    def _demand(self, step: Rows, s_kva: Complex) -> LaneShaped:
        """Powers of the ports at chosen steps, the inverters' put in."""
        loads = self.steps.loads
        if not isinstance(loads, Shaped):
            return _each_its_own(loads[step], self.inverters, s_kva)
        shapes = np.ascontiguousarray(loads.multipliers[:, step])
        kva, p_shape, q_shape = loads.kva.astype(np.complex128), loads.shape, loads.shape
        if self.inverters is not None:
            port, first = self.inverters.port, len(shapes)
            own = np.arange(len(port), dtype=np.int32)
            kva, p_shape, q_shape = kva.copy(), p_shape.copy(), q_shape.copy()
            kva[port], p_shape[port], q_shape[port] = 1.0 + 1.0j, first + own, first + len(port) + own
            shapes = np.concatenate([shapes, s_kva.real.T, s_kva.imag.T])
        return LaneShaped(kva, p_shape, q_shape, shapes)

    def _by_reference(
        self, found: Answers, row: int, step: int, state: States, band_pu: tuple[float, float] | None
    ) -> None:
        """One pair that stayed out of reach of the lanes."""
        flow = self._solver(step)(self.control_state(state), None)
        found.converged[row], found.residual_kva[row] = flow.converged, flow.residual_kva
        if not flow.converged:
            return
        own = flow.v_pu[self._phases]
        found.v[row], found.low_pu[row], found.high_pu[row] = flow.v[self.watch.nodes], own.min(), own.max()
        if band_pu is not None:
            found.below[self._phases] += own < band_pu[0]
            found.above[self._phases] += own > band_pu[1]
        if self.inverters is not None:
            found.s_kva[row] = flow.load_kva[self.inverters.port]

    def _settle(
        self, found: Answers, rows: Rows, step: Rows, states: LaneStates | None, dtype: str, *, rough: bool
    ) -> None:
        """Bring the inverters onto their curves, by a secant per lane from the step's last powers."""
        inverters, p_all = self.inverters, self.steps.p_kw
        assert inverters is not None
        assert p_all is not None
        rating, limit = inverters.curves.s_kva[inverters.owner], ROUGH if rough else SETTLED[dtype]
        s = self._last[step]
        before, before_miss = np.zeros_like(s), np.zeros_like(s)
        open_ = np.arange(len(step), dtype=np.int32)
        for taken in range(INVERTER_ROUNDS):
            flows = self._flows(step[open_], s[open_], _of(states, open_), dtype)
            self._note(found, rows[open_], flows)
            miss = inverters.answer(p_all[step[open_]], self.port_pu(flows.v)) - s[open_]
            far = flows.converged & ((np.abs(miss) / rating).max(axis=1) > limit)
            moved = np.flatnonzero(far)
            open_, miss = open_[moved], miss[moved]
            if not len(open_):
                break
            after = s[open_] + miss
            if taken:
                after -= _secant(miss, miss - before_miss[open_])[:, None] * (
                    after - before[open_] - before_miss[open_]
                )
            before[open_], before_miss[open_] = s[open_], miss
            s[open_] = after
        found.converged[rows[open_]] = False
        found.s_kva[rows] = s
        self._last[step] = s

    def _note(self, found: Answers, rows: Rows, flows: LaneFlows) -> None:
        """Write the answers of some lanes down."""
        found.v[rows], found.converged[rows] = flows.v, flows.converged
        found.residual_kva[rows] = flows.residual_kva
        found.low_pu[rows], found.high_pu[rows] = flows.low_pu, flows.high_pu

    def port_pu(self, v: Complex) -> Float:
        """(S, P) voltages across the inverters' ports per unit, from those of the watched nodes."""
        assert self.inverters is not None
        grounded = np.concatenate([v, np.zeros((len(v), 1))], axis=1)
        across = np.abs(grounded[:, self._ends[:, 0]] - grounded[:, self._ends[:, 1]])
        per_unit: Float = across / self.network.load_v[self.inverters.port]
        return per_unit


def _secant(miss: Complex, turn: Complex) -> Float:
    """(S,) part of the last change to take back: Anderson's method of depth 1."""
    share: Float = (np.conj(turn) * miss).real.sum(axis=1)
    share /= np.maximum((turn.real**2 + turn.imag**2).sum(axis=1), 1e-30)
    return np.clip(share, -1.0, 0.95)


def _of(states: LaneStates | None, rows: Rows) -> LaneStates | None:
    if states is None:
        return None
    used, own = np.unique(states.of[rows], return_inverse=True)
    return LaneStates(own.astype(np.int32), states.delta_y[used])


def _each_its_own(dense: Complex, inverters: Inverters | None, s_kva: Complex) -> LaneShaped:
    """Powers (S, L) without shared shapes: every port has its own."""
    if inverters is not None:
        dense[:, inverters.port] = s_kva
    count = dense.shape[1]
    own = np.arange(count, dtype=np.int32)
    shapes = np.concatenate([dense.real.T, dense.imag.T])
    return LaneShaped(np.full(count, 1.0 + 1.0j), own, count + own, shapes)
