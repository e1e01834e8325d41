"""Quasi-static time series: one operating point per step, the feeder's controls acting in between.

Each step begins at the positions the one before ended at. Its controls act without time (``settle``),
as OpenDSS's static control mode has it, inverters within every solution. This is the step-by-step
engine: simple, and the measure of the one in lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._batch import Shaped
from gridflock.grid._controls import Settled, settled
from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState, initial
from gridflock.grid.series._inverters import Acting, Inverters
from gridflock.units import DAY_S, NEVER_S, QUARTER_S, Mask, Pu, Rows

ROUNDS = 10
"""Control rounds a step may take, OpenDSS's own limit."""
BAND_PU = (0.95, 1.05)
"""Service voltage, ANSI C84.1 range A."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What happens to a network over T steps, apart from its own controls.

    Attributes:
        loads: shapes, or complex (T, L) power of every port at rated voltage, house sign.
        inject_kva: complex (T, n) constant-power injections at nodes; None for none.
        inverters: those that act; None for none.
        p_kw: (T, D) active power available to each inverter, or wanted of storage.
        start_s: second of the local day the first step stands at; absent where no control has a clock.
        step_s: seconds between steps.
    """

    loads: Shaped | Complex
    inject_kva: Complex | None = None
    inverters: Inverters | None = None
    p_kw: Float | None = None
    start_s: int = NEVER_S
    step_s: int = QUARTER_S

    def __len__(self) -> int:
        return len(self.loads)

    def load_kva(self, step: int) -> Complex:
        """Complex (L,) powers of one step."""
        return self.loads.at(step) if isinstance(self.loads, Shaped) else self.loads[step]

    def second_s(self, step: int) -> int:
        """Second of the local day of one step; absent where the first is."""
        return NEVER_S if self.start_s == NEVER_S else (self.start_s + step * self.step_s) % DAY_S


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """T operating points of a network with K regulators and M capacitors.

    Attributes:
        taps: int8 (T, K) positions at the end of each step.
        cap_on: (T, M) capacitors at the end of each step.
        rounds: (T,) how often controls moved within the step.
        quiet: (T,) no control still wished to move.
        converged: (T,) only there are the other figures answers; NaN elsewhere.
        residual_kva: (T,) largest miss of Kirchhoff's current law at a node, times its voltage.
        low_pu: (T,) lowest voltage of a live phase node.
        high_pu: (T,) highest.
        below: (n,) steps in which a node is below the band.
        above: (n,) above it.
        head_kva: complex (T,) net injection into the sources: negative when importing.
        losses_kw: (T,) lost in branches and shunts; NaN where not asked for.
        v: complex (T, k) voltages of the nodes asked for, V.
        p_kw: (T, D) what the inverters gave.
        q_kvar: (T, D) the same, reactive.
    """

    taps: NDArray[np.int8]
    cap_on: Mask
    rounds: Rows
    quiet: Mask
    converged: Mask
    residual_kva: Float
    low_pu: Pu
    high_pu: Pu
    below: NDArray[np.int64]
    above: NDArray[np.int64]
    head_kva: Complex
    losses_kw: Float
    v: Complex
    p_kw: Float
    q_kvar: Float

    @classmethod
    def blank(cls, network: Network, steps: Steps, watched: int) -> Series:
        """All steps still to come: nothing converged, every figure absent."""
        t, n = len(steps), network.n
        d = steps.inverters.n if steps.inverters is not None else 0
        return cls(
            taps=np.zeros((t, len(network.regulators.ids)), dtype=np.int8),
            cap_on=np.zeros((t, len(network.capacitors.ids)), dtype=np.bool_),
            rounds=np.zeros(t, dtype=np.int32),
            quiet=np.zeros(t, dtype=np.bool_),
            converged=np.zeros(t, dtype=np.bool_),
            residual_kva=np.full(t, np.nan),
            low_pu=np.full(t, np.nan),
            high_pu=np.full(t, np.nan),
            below=np.zeros(n, dtype=np.int64),
            above=np.zeros(n, dtype=np.int64),
            head_kva=np.full(t, np.nan, dtype=np.complex128),
            losses_kw=np.full(t, np.nan),
            v=np.full((t, watched), np.nan, dtype=np.complex128),
            p_kw=np.full((t, d), np.nan),
            q_kvar=np.full((t, d), np.nan),
        )


def phase_nodes(network: Network) -> Rows:
    """Live nodes whose magnitude is a service voltage: phases, not neutrals."""
    return np.flatnonzero(network.topology.live & (network.node_phase < 3)).astype(np.int32)


def solver_of(network: Network, steps: Steps) -> Callable[[int], Callable[[ControlState, Flow | None], Flow]]:
    """What solves a step at a control state by the reference path, inverters included."""
    nothing = np.zeros(network.n, dtype=np.complex128)
    acting = Acting(network, steps.inverters) if steps.inverters is not None else None

    def at(step: int) -> Callable[[ControlState, Flow | None], Flow]:
        load = steps.load_kva(step)
        inject = nothing if steps.inject_kva is None else steps.inject_kva[step]
        if acting is None:
            return lambda state, start: solve(network, load, inject, state, start)
        assert steps.p_kw is not None
        p_kw = steps.p_kw[step]
        return lambda state, start: acting.solve(load, inject, state, p_kw, start)

    return at


def step_by_step(
    network: Network,
    steps: Steps,
    state: ControlState | None = None,
    *,
    controls: bool = True,
    rounds: int = ROUNDS,
    nodes: Rows | None = None,
    band_pu: tuple[float, float] = BAND_PU,
    progress: Progress | None = None,
) -> Series:
    """Solve a series one step after the other.

    Args:
        network: the feeder.
        steps: what happens to it.
        state: positions before the first step; as written in the feeder if None.
        controls: let regulators and capacitors act.
        rounds: control rounds a step may take.
        nodes: nodes whose complex voltages are kept.
        band_pu: voltages outside it are counted.
        progress: told after each step how many are done, and of how many.
    """
    state = initial(network) if state is None else state
    watched = np.zeros(0, dtype=np.int32) if nodes is None else nodes
    found = Series.blank(network, steps, len(watched))
    phases, solver = phase_nodes(network), solver_of(network, steps)
    flow: Flow | None = None
    for step in range(len(steps)):
        end = settled(network, solver(step), state, flow, rounds if controls else 0, steps.second_s(step))
        flow, state = end.flow, end.state
        _note(found, step, end, steps.inverters, watched, phases, band_pu)
        if not controls:
            found.quiet[step] = end.flow.converged
        if progress is not None:
            progress(step + 1, len(steps))
    return found


def _note(
    found: Series,
    step: int,
    end: Settled,
    inverters: Inverters | None,
    nodes: Rows,
    phases: Rows,
    band_pu: tuple[float, float],
) -> None:
    """Write one step's answer down."""
    flow = end.flow
    found.taps[step], found.cap_on[step] = end.state.taps, end.state.cap_on
    found.rounds[step], found.quiet[step] = end.rounds, end.quiet
    found.converged[step], found.residual_kva[step] = flow.converged, flow.residual_kva
    if not flow.converged:
        return
    v_pu = flow.v_pu[phases]
    found.low_pu[step], found.high_pu[step] = v_pu.min(), v_pu.max()
    found.below[phases] += v_pu < band_pu[0]
    found.above[phases] += v_pu > band_pu[1]
    found.head_kva[step] = flow.source_kva.sum()
    found.losses_kw[step] = flow.losses_kw
    found.v[step] = flow.v[nodes]
    if inverters is not None:
        found.p_kw[step], found.q_kvar[step] = inverters.powers(flow.load_kva)
