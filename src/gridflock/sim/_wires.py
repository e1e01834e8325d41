"""The true feeder: other impedances, wrong phases and unknown demand, none of it in the register."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import ControlState, Flow, Network, act, initial, settle, solve
from gridflock.sim._devices import Columns
from gridflock.sim._fleet import Fleet
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.units import Kvar, Kw, Mask, Pu

_POWER_FACTOR_GAIN = 0.7
"""Reactive over active demand against the published peak case: today's appliances correct part of it."""
_HIDDEN_PORTS = 12

Complex = NDArray[np.complex128]


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """What a replay needs of one tick: the true inputs, positions and answer."""

    t_s: int
    load_kva: Complex
    inject_kva: Complex
    taps: NDArray[np.int8]
    cap_on: Mask
    v: Complex


class Wires:
    """The true network with its controls, solved on demand.

    Attributes:
        network: the true feeder.
        flow: the last solution.
        controls: taps and capacitors.
    """

    def __init__(self, scenario: Scenario, network: Network, fleet: Fleet) -> None:
        rng = draws(scenario.seed, Draw.NETWORK)
        spread = scenario.impedance_spread
        self.network = network.with_impedance_factors(
            rng.uniform(1 - spread, 1 + spread, len(network.branches))
        )
        self._sites = network.spread(fleet.bus, fleet.true_phases).astype(np.float64)
        self._ports = network.spread(network.load_bus, fleet.port_true_phase)
        self._sites_v = self._sites.T.tocsr()
        self._ports_v = self._ports.T.tocsr()
        self._moved: Mask = fleet.port_true_phase != network.load_phase
        active = np.minimum(network.load_kva.real, -1e-9)
        self._ratio: NDArray[np.float64] = _POWER_FACTOR_GAIN * network.load_kva.imag / active
        hidden = np.zeros(len(network.loads))
        chosen = rng.permutation(len(hidden))[: min(_HIDDEN_PORTS, len(hidden))]
        hidden[chosen] = rng.dirichlet(np.full(len(chosen), 3.0))
        self._hidden = scenario.hidden_share * hidden
        self._known = np.ones(len(hidden))
        self.controls: ControlState = initial(self.network)
        self.flow: Flow | None = None
        self._asked: Complex = np.zeros(len(hidden), np.complex128)

    def solve(self, now_s: int, demand_kw: Kw, p_kw: Kw, q_kvar: Kvar) -> Flow:
        """Solve the true flow, then let regulators and capacitors look at it.

        Args:
            now_s: moment.
            demand_kw: (L,) metered native demand, positive, at rated voltage.
            p_kw: (N,) DER injection.
            q_kvar: (N,) the same, reactive.
        """
        dark = self._hidden * demand_kw.sum()
        self._known = demand_kw / np.maximum(demand_kw + dark, 1e-9)
        self._asked = -(demand_kw + dark) * (1 + 1j * self._ratio)
        inject = self._sites @ (p_kw + 1j * q_kvar) + self._ports @ np.where(self._moved, self._asked, 0.0)
        load = np.where(self._moved, 0.0, self._asked)
        if self.flow is None:
            flow, self.controls = settle(self.network, load, inject, self.controls)
        else:
            start = self.flow if self.flow.converged else None
            flow = solve(self.network, load, inject, self.controls, start)
            if flow.converged:
                self.controls = act(self.network, flow, self.controls, now_s)
        self.flow = flow
        return flow

    def now(self) -> Flow:
        """The last solution; the world solves one before anybody asks."""
        assert self.flow is not None
        return self.flow

    def metered_kva(self) -> Complex:
        """Power through each load port's meter at the actual voltage, complex (L,): without the unknown."""
        served: Complex = np.where(self._moved, self._asked, self.now().served_kva)
        return served * self._known.astype(np.complex128)

    def volts(self) -> tuple[Pu, Pu]:
        """Voltage at DERs (N,) and load ports (L,), mean over their true phases, pu."""
        v_pu = self.now().v_pu
        return self._sites_v @ v_pu, self._ports_v @ v_pu

    def trace(self, now_s: int) -> Tick:
        """What a replay needs of the last solution."""
        flow = self.now()
        return Tick(now_s, flow.load_kva, flow.inject_kva, flow.state.taps, flow.state.cap_on, flow.v)

    def state(self) -> Columns:
        """All that changes."""
        flow, controls = self.now(), self.controls
        return {
            "v": flow.v, "load_kva": flow.load_kva, "inject_kva": flow.inject_kva,
            "flow_taps": flow.state.taps, "flow_cap_on": flow.state.cap_on,
            "flow_since": flow.state.pending_since_s,
            "solved": np.array([flow.iterations, flow.residual_kva, flow.converged]),
            "taps": controls.taps, "cap_on": controls.cap_on, "since": controls.pending_since_s,
            "known": self._known, "asked": self._asked,
        }  # fmt: skip

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        held = ControlState(state["flow_taps"], state["flow_cap_on"], state["flow_since"])
        steps, miss, good = state["solved"].tolist()
        self.flow = Flow(
            self.network,
            held,
            state["load_kva"],
            state["inject_kva"],
            state["v"],
            int(steps),
            miss,
            bool(good),
        )
        self.controls = ControlState(state["taps"], state["cap_on"], state["since"])
        self._known, self._asked = state["known"], state["asked"]
