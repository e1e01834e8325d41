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
from gridflock.grid.series._responding import answered, at_rest, missed, settings
from gridflock.grid.series._steps import Steps, phase_nodes, solver_of
from gridflock.grid.series._watch import Watch, watch
from gridflock.units import NEVER_S, Mask, Rows

LANES = 1024
"""Operating points solved in one go, alike in load: their arrays stay near the cores."""
TOL_PU = {"float32": 1e-5, "float64": 1e-7}
SETTLED = {"float32": (2e-3, 1e-4), "float64": (1e-6, 1e-7)}
"""Part of its rating by which an inverter may miss its curve, and all of them together theirs: together
they move what controls see, one alone does not."""
ROUGH = (2e-2, 5e-3)
"""The same where an answer only guides the walk."""
CORRECTED = {"float32": (3e-2, 2e-3), "float64": (3e-5, 2e-6)}
"""The same where what they miss is put right by what is known of how they move each other and what
controls see: a few per cent of it are left."""
ROUGH_PU = 3e-4
"""The lanes' tolerance there."""
TIMES = 3.0
"""About how often a step is solved."""
MOST_FEATURES = 64
MOST_RELATED = 500
STROKE, STROKE_PU = 0.3, 1e-6
"""Part of its rating by which an inverter is moved to see what that does, and the lanes' tolerance then."""
STEEPEST = 0.44 / 0.06
"""Slope of the standard's volt-var curve, category B."""
RELATED_ROUNDS = 4
"""After so many the relations do not hold here; a secant does."""
AHEAD, AFTER = (2, 5e-3), (3, 1e-3)
"""Rounds to the common answer of inverters and voltages related linearly, before a flow and after it, and
what a port may miss it by."""
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


def together(parts: list[Answers]) -> Answers:
    """The answers of several calls as one."""
    rows = ("v", "converged", "residual_kva", "low_pu", "high_pu", "s_kva")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in rows}
    counts = {name: np.sum([getattr(part, name) for part in parts], axis=0) for name in ("below", "above")}
    return Answers(**joined, **counts)


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
        self._looked_at = self.watch.looked_at
        self.place = np.full(network.n + 1, -1, dtype=np.int32)
        self.place[self.watch.nodes] = np.arange(len(self.watch.nodes))
        self._ends = self.place[ends]
        self._phases = phase_nodes(network)
        self._spread, self._parts = spread, parts
        self._positions = positions(network)
        self._solver = solver_of(network, steps)
        total, ports = len(steps), len(ends)
        self.seen_pu: Float = np.ones((total, ports))
        self._seen_at = np.tile(start, (total, 1))
        self._settled = np.zeros(total, dtype=np.bool_)
        self._lean = np.zeros((1, len(start), ports))
        self._level = np.zeros(total, dtype=np.int32)
        self._among = np.zeros((0, ports), dtype=np.float32)
        self._towards = np.zeros((0, 0), dtype=np.complex128)
        self._share = 1.0
        own = self.inverters
        counts = np.diff(own.start) if own else np.zeros(0, dtype=np.int32)
        self._rating = (own.curves.s_kva / counts)[own.owner] if own else np.zeros(0)
        if own is not None:
            self._settings = settings(own.curves, own.start)
        self._total_kw = self.total_kw()
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
            self._demand(everything, self._powers(everything, self.seen_pu)),
            self._states("float32", ends),
            tol=TOL_PU["float32"],
            times=TIMES,
        )

    def typical(self, start: States) -> States:
        """(K+M,) where the controls settle at the step of median load, the inverters as at rated voltage."""
        order = np.argsort(self.total_kw(), kind="stable")
        step = int(order[len(order) // 2])
        load = self.steps.load_kva(step).copy()
        if self.inverters is not None:
            load[self.inverters.port] = self._first_guess(np.array([step], dtype=np.int32))[0]
        held = replace(self.steps, loads=load[None], inverters=None, p_kw=None)
        end = settled(
            self.network, solver_of(self.network, held)(0), self.control_state(start), None, MOST_ROUNDS,
            self.steps.second_s(step),
        )  # fmt: skip
        return np.concatenate([end.state.taps, end.state.cap_on]).astype(np.int8)

    def settle(self, step: int, state: ControlState, start: Flow | None, rounds: int) -> Settled:
        """One step by the reference path, its controls acting."""
        return settled(self.network, self._solver(step), state, start, rounds, self.steps.second_s(step))

    def relate(self, state: States) -> None:
        """Measure at the step of median load how the inverters' powers move their voltages.

        Not where they are so many that the products would cost more than the flows they save.
        """
        if self.inverters is None or len(self.inverters.port) > MOST_RELATED:
            return
        ports, rating = len(self.inverters.port), self._rating
        step = int(np.argsort(self._total_kw, kind="stable")[len(self._total_kw) // 2])
        steps = np.full(2 * ports + 1, step, dtype=np.int32)
        s = np.repeat(self._powers(steps[:1], self._expected(steps[:1], state[None])[1]), len(steps), axis=0)
        each = np.arange(ports)
        s[1 + each, each] += STROKE * rating
        s[1 + ports + each, each] += 1j * STROKE * rating
        states = self._states("float32", np.tile(state, (len(steps), 1)))
        v = self._flows(steps, s, states, "float32", STROKE_PU).v
        seen = self.port_pu(v)
        among = (seen[1:] - seen[0]) / (STROKE * np.concatenate([rating, rating]))[:, None]
        if np.isfinite(among).all():
            self._among = among.astype(np.float32)
            change = v[1:, self._looked_at] - v[0, self._looked_at]
            self._towards = change / (STROKE * np.concatenate([rating, rating]))[:, None]
            # A curve falls by its whole range over a few per cent of voltage: how far the inverters answer
            # each other's answers is at most this; between nothing and that lies the best share to take.
            slope = rating * STEEPEST
            most = float((np.abs(among[ports:]) * slope[:, None]).sum(axis=0).max())
            self._share = 1.0 / (1.0 + 0.5 * most)

    def lean(self, step: Rows, seen: Float, moved: Float, level: Rows) -> None:
        """Take in how far positions move the inverters' voltages while their powers stay.

        Args:
            step: (G,) at which steps that was seen.
            seen: (G, 1+K+M, P) voltages, the inverters acting, before and after moving each control.
            moved: (G, K+M) by how many positions.
            level: (T,) which of these is like each step.
        """
        count = seen.shape[1]
        s = self._powers(np.repeat(step, count).astype(np.int32), seen.reshape(-1, seen.shape[2]))
        change = s.reshape(seen.shape)[:, 1:] - s.reshape(seen.shape)[:, :1]
        alone = seen[:, 1:] - self._answered_by(change.reshape(-1, seen.shape[2])).reshape(change.shape)
        with np.errstate(all="ignore"):
            self._lean = np.nan_to_num(np.log(alone / seen[:, :1]) / moved[:, :, None])
        self._level = level

    def _answered_by(self, change: Complex) -> Float:
        """(S, P) what changes of the inverters' powers do to their voltages."""
        if not len(self._among):
            return np.zeros(change.shape)
        ports = change.shape[1]
        moved = change.imag.astype(np.float32) @ self._among[ports:]
        if np.abs(change.real).max(initial=0.0) > 0.0:
            moved += change.real.astype(np.float32) @ self._among[:ports]
        return moved.astype(np.float64)

    def suppose(self, state: States, seen_pu: Float) -> None:
        """Take voltages (T, P) across the inverters' ports at one state as near enough to begin from."""
        self.seen_pu[:], self._seen_at[:] = seen_pu, state

    def features(self) -> Float:
        """(T, F) numbers that tell the steps' powers apart: the shapes where they are few, else the sums."""
        loads, total = self.steps.loads, self.total_kw()
        columns = [np.ones((len(total), 1)), total[:, None]]
        if isinstance(loads, Shaped) and len(loads.multipliers) <= MOST_FEATURES:
            columns.append(loads.multipliers.T)
        if self.steps.p_kw is not None:
            columns.append(self.steps.p_kw.sum(axis=1)[:, None])
        found = np.concatenate(columns, axis=1)
        scaled: Float = found / np.maximum(np.abs(found).max(axis=0), 1e-9)
        return scaled

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
        ports = 0 if self.inverters is None else len(self.inverters.port)
        return self._powers(step, np.ones((len(step), ports)))

    def _powers(self, step: Rows, seen_pu: Float) -> Complex:
        """Powers (S, P) of the inverters' ports at voltages across them."""
        found = np.empty(seen_pu.shape, dtype=np.complex128)
        if self.inverters is not None:
            assert self.steps.p_kw is not None
            answered(self._settings, self.steps.p_kw, step, seen_pu, found)
        return found

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
        states = self._states(dtype, state)
        alike = np.argsort(self._total_kw[step], kind="stable").astype(np.int32)
        for begin in range(0, q, LANES):
            rows = alike[begin : begin + LANES]
            self._solve(
                found, rows, (step[rows], state[rows]), _of(states, rows), dtype, band_pu, rough=rough
            )
        for row in np.flatnonzero(~found.converged).tolist():
            self._by_reference(found, row, int(step[row]), state[row], band_pu)
        return found

    def _states(self, dtype: str, state: States) -> LaneStates | None:
        """Control states (Q, K+M) as rows of the lanes' table, in which each is factored once."""
        if not len(self._positions.nodes):
            return None
        if dtype not in self._tables:
            self._tables[dtype] = self._at(dtype).table(), {}
        kept, row = self._tables[dtype]
        # As bytes they sort many times faster than as rows.
        flat = np.ascontiguousarray(state).view(f"S{state.shape[1]}")[:, 0]
        _, first, of = np.unique(flat, return_index=True, return_inverse=True)
        distinct = state[first]
        names = [one.tobytes() for one in distinct]
        new = np.array([k for k, name in enumerate(names) if name not in row], dtype=np.int64)
        if len(new):
            rows = kept.add(self._positions.change(distinct[new], self._base))
            row.update((names[k], r) for k, r in zip(new.tolist(), rows.tolist(), strict=True))
        return LaneStates(np.array([row[name] for name in names], dtype=np.int32)[of.reshape(-1)], kept)

    def _solve(
        self, found: Answers, rows: Rows, pairs: tuple[Rows, States], states: LaneStates | None, dtype: str,
        band_pu: tuple[float, float] | None, *, rough: bool,
    ) -> None:  # fmt: skip
        step = pairs[0]
        if self.inverters is not None:
            self._settle(found, rows, pairs, states, dtype, rough=rough, again=band_pu is not None)
            if band_pu is None:
                return
        every_node = len(self._phases) == self.network.n
        own_band = band_pu if every_node else None
        unsettled = rows[~found.converged[rows]] if self.inverters is not None else rows[:0]
        counted = band_pu is not None and not every_node
        tol = ROUGH_PU if rough else TOL_PU[dtype]
        flows = self._flows(step, found.s_kva[rows], states, dtype, tol, own_band, v_pu=counted)
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
        self, step: Rows, s_kva: Complex, states: LaneStates | None, dtype: str, tol: float,
        band_pu: tuple[float, float] | None = None, *, v_pu: bool = False,
    ) -> LaneFlows:  # fmt: skip
        wanted = Wanted(
            tol, v_pu=v_pu, nodes=tuple(self.watch.nodes.tolist()), band=band_pu,
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
        self, found: Answers, rows: Rows, pairs: tuple[Rows, States], states: LaneStates | None, dtype: str,
        *, rough: bool, again: bool,
    ) -> None:  # fmt: skip
        """Bring the inverters onto their curves, from the voltages expected, then by a secant per lane.

        Where the flow is solved once more anyway (``again``), lanes settled at this state stay so.
        """
        assert self.inverters is not None
        step, state = pairs
        tol, close = (ROUGH_PU, ROUGH) if rough else (TOL_PU[dtype], SETTLED[dtype])
        s, _ = self._at_rest(step, *self._expected(step, state), AHEAD)
        found.s_kva[rows] = s
        open_ = np.arange(len(rows), dtype=np.int32)
        if again:
            there = self._settled[step] & (self._seen_at[step] == state).all(axis=1)
            found.converged[rows[there]] = True
            open_ = open_[~there]
        before, before_miss = s.copy(), np.zeros_like(s)
        for taken in range(INVERTER_ROUNDS):
            if not len(open_):
                break
            flows = self._flows(step[open_], s[open_], _of(states, open_), dtype, tol)
            self._note(found, rows[open_], flows)
            seen = self.port_pu(flows.v)
            after, shares = self._powers(step[open_], seen), np.empty((len(open_), 2))
            missed(after, s[open_], self._rating, shares)
            related = len(self._among) > 0 and taken < RELATED_ROUNDS
            if related:
                some = np.flatnonzero((shares > SETTLED[dtype]).any(axis=1))
                own = open_[some]
                after[some], seen[some] = self._at_rest(step[own], s[own], seen[some], AFTER)
                found.v[np.ix_(rows[own], self._looked_at)] += self._moved_by(after[some] - s[own])
            limit = CORRECTED[dtype] if related else close
            far = flows.converged & (shares > limit).any(axis=1)
            rest = np.flatnonzero(flows.converged & ~far)
            self._remember(step[open_[rest]], state[open_[rest]], seen[rest], settled=not rough)
            found.s_kva[rows[open_[rest]]] = after[rest]
            moved = np.flatnonzero(far)
            open_, after = open_[moved], after[moved]
            miss = after - s[open_]
            if taken and not related:
                after -= _secant(miss, miss - before_miss[open_])[:, None] * (
                    after - before[open_] - before_miss[open_]
                )
            before[open_], before_miss[open_] = s[open_], miss
            s[open_] = after
        found.converged[rows[open_]] = False

    def _moved_by(self, change: Complex) -> Complex:
        """(S, L) what changes (S, P) of the inverters' powers do to the voltages controls look at, V."""
        both = np.concatenate([change.real, change.imag], axis=1)
        moved: Complex = both @ self._towards
        return moved

    def _remember(self, step: Rows, state: States, seen: Float, *, settled: bool) -> None:
        self.seen_pu[step], self._seen_at[step], self._settled[step] = seen, state, settled

    def _expected(self, step: Rows, state: States) -> tuple[Complex, Float]:
        """Powers (S, P) of the inverters as last known at each step, and the voltages with controls moved."""
        moved = (state - self._seen_at[step]).astype(np.float64)
        seen: Float = self.seen_pu[step].astype(np.float64)
        s = self._powers(step, seen)
        level = self._level[step]
        for at in np.unique(level):
            own = np.flatnonzero(level == at)
            seen[own] *= np.exp(moved[own] @ self._lean[at])
        return s, seen

    def _at_rest(
        self, step: Rows, s_kva: Complex, seen_pu: Float, limits: tuple[int, float]
    ) -> tuple[Complex, Float]:
        """Powers and voltages (S, P) at which inverters agree, by what is known of how they move each other.

        Args:
            step: (S,).
            s_kva: complex (S, P) powers at which
            seen_pu: (S, P) these voltages are.
            limits: most rounds, and the part of its rating by which a port may miss.
        """
        if not len(self._among):
            return self._powers(step, seen_pu), seen_pu
        assert self.steps.p_kw is not None
        s, seen, ports = s_kva.copy(), seen_pu.copy(), s_kva.shape[1]
        at_rest(
            self._settings, (self.steps.p_kw, step), seen, s,
            (self._among[:ports], self._among[ports:], self._rating), self._share, limits,
        )  # fmt: skip
        return s, seen

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
    return None if states is None else LaneStates(states.of[rows], states.delta_y)


def _each_its_own(dense: Complex, inverters: Inverters | None, s_kva: Complex) -> LaneShaped:
    """Powers (S, L) without shared shapes: every port has its own."""
    if inverters is not None:
        dense[:, inverters.port] = s_kva
    count = dense.shape[1]
    own = np.arange(count, dtype=np.int32)
    shapes = np.concatenate([dense.real.T, dense.imag.T])
    return LaneShaped(np.full(count, 1.0 + 1.0j), own, count + own, shapes)
