"""Many operating points at one control state: in lanes, and by the reference where a lane fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._circuit import circuit, hidden_nodes
from gridflock.grid._flow import Flow, solve
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.grid.lanes import LaneFlows, Lanes, Wanted
from gridflock.grid.lanes import Shaped as ShapedPorts
from gridflock.units import Mask, Pu, Rows

TOLERANCE_PU = 1e-5
TIMES = 10.0
"""How often scenarios are expected to be solved that base points are prepared for."""
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """Powers of all ports over S scenarios as a few shared shapes.

    Attributes:
        kva: complex (L,) power of each port at multiplier 1, house sign.
        shape: (L,) row in ``multipliers`` of each port.
        multipliers: (K, S) one shape a row.
    """

    kva: Complex
    shape: Rows
    multipliers: Float

    def at(self, scenario: int) -> Complex:
        """Complex (L,) powers of one scenario."""
        powers: Complex = self.kva * self.multipliers[self.shape, scenario]
        return powers

    def __len__(self) -> int:
        return int(self.multipliers.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """S operating points.

    Attributes:
        converged: (S,) only there are the voltages an answer.
        resolved: (S,) lanes that the reference path had to solve.
        residual_kva: (S,) largest miss of Kirchhoff's current law at a node, times its voltage.
        iterations: (S,) of the lanes.
        v_pu: float32 (S, n) magnitudes, or None if not asked for.
        v: complex (S, k) voltages of the nodes asked for, V.
        low_pu: (S,) lowest magnitude of a scenario among live phase nodes.
        high_pu: (S,) highest.
        node_low_pu: (n,) lowest magnitude of a node over all scenarios; None without a band, NaN at
            neutrals and dead nodes.
        node_high_pu: (n,) highest.
        below: (n,) scenarios in which a node is below the band; 0 at neutrals and dead nodes.
        above: (n,) above it.
    """

    converged: Mask
    resolved: Mask
    residual_kva: Float
    iterations: Rows
    v_pu: Pu | None
    v: Complex
    low_pu: Pu
    high_pu: Pu
    node_low_pu: Pu | None
    node_high_pu: Pu | None
    below: NDArray[Any] | None
    above: NDArray[Any] | None


class Batch:
    """A network at one control state, prepared for many scenarios around one base point.

    Args:
        network: the feeder.
        state: taps and capacitors, held.
        base_kva: complex (L,) powers of the base point, the scenarios' mean: the nearer, the fewer
            iterations. Nominal powers where None.
        inject_nodes: (k,) nodes that carry constant-power injections besides the ports.
        dtype: ``"float32"`` (16 lanes) or ``"float64"`` (8 lanes). Where None, float32, unless
            it fails its own proof: where only stray admittances tie a part to ground, rounding in
            float32 is a leakage as large as they are.
    """

    def __init__(
        self,
        network: Network,
        state: ControlState,
        base_kva: Complex | None = None,
        inject_nodes: Rows | None = None,
        *,
        dtype: str | None = None,
    ) -> None:
        self.network = network
        self.state = state
        self._hidden = hidden_nodes(network)
        self.inject_nodes = np.zeros(0, np.int32) if inject_nodes is None else np.asarray(inject_nodes)
        base = network.load_kva if base_kva is None else base_kva
        still = np.zeros(len(self.inject_nodes), dtype=np.complex128)
        arrays, point = circuit(network, state, self.inject_nodes), np.append(base, still)
        self.lanes = Lanes(arrays, point, dtype=dtype or "float32")
        if dtype is None and not self.lanes.ready:
            self.lanes = Lanes(arrays, point, dtype="float64")

    def solve(
        self,
        loads: Shaped | Complex,
        inject_kva: Complex | None = None,
        *,
        tol: float = TOLERANCE_PU,
        v_pu: bool = False,
        nodes: Rows | None = None,
        band: tuple[float, float] | None = None,
        spread: Spread = map,
        parts: int = 1,
        room: NDArray[Any] | None = None,
    ) -> Flows:
        """Solve S scenarios.

        Args:
            loads: shapes, or complex (S, L) powers at rated voltage, house sign.
            inject_kva: complex (S, k) powers at ``inject_nodes``; needs dense loads.
            tol: largest error, per unit, that may be left.
            v_pu: keep all magnitudes.
            nodes: keep complex voltages of these.
            band: count scenarios of each node outside (low, high) pu, and keep its extremes.
            spread: how parts are run: ``map``, or a thread pool's (the kernels hold no lock).
            parts: into how many the scenarios are cut.
            room: memory for ``v_pu`` from ``room``; the answer is valid until it is used again.

        Raises:
            ValueError: powers that do not fit the ports.
        """
        self._check(loads, inject_kva)
        wanted = Wanted(
            tol=tol, v_pu=v_pu, nodes=tuple(() if nodes is None else np.asarray(nodes).tolist()),
            band=band, spread=spread, parts=parts, room=room,
        )  # fmt: skip
        if isinstance(loads, Shaped):
            shaped = ShapedPorts(*self._shaped(loads))
            found = self.lanes.solve(shaped, wanted)
        else:
            still = np.zeros((len(loads), len(self.inject_nodes)), dtype=np.complex128)
            found = self.lanes.solve(
                np.concatenate([loads, still if inject_kva is None else inject_kva], axis=1), wanted
            )
        return self._complete(found, loads, inject_kva, wanted)

    def _check(self, loads: Shaped | Complex, inject_kva: Complex | None) -> None:
        """Compiled loops trust their shapes.

        Raises:
            ValueError: powers that do not fit the ports.
        """
        ports = len(self.network.loads)
        if isinstance(loads, Shaped):
            rows = loads.shape
            fits = len(loads.kva) == len(rows) == ports and loads.multipliers.ndim == 2
            fits = fits and (not ports or (rows.min() >= 0 and rows.max() < len(loads.multipliers)))
        else:
            fits = loads.ndim == 2 and loads.shape[1] == ports
        if not fits:
            raise ValueError(f"loads do not fit the {ports} ports of network {self.network.name}")
        if inject_kva is not None and inject_kva.shape != (len(loads), len(self.inject_nodes)):
            raise ValueError(
                f"injections do not fit {len(loads)} scenarios at {len(self.inject_nodes)} nodes"
            )

    def prepare(self, loads: Shaped | Complex, *, tol: float = TOLERANCE_PU, times: float = TIMES) -> int:
        """Make base points in advance for scenarios that will be solved again and again, or piece by piece.

        Without it each call makes those that pay for its own scenarios.

        Args:
            loads: what will be asked: shapes, or complex (S, L) powers at rated voltage, house sign.
            tol: that will be asked, per unit.
            times: how often each scenario will be solved.

        Returns:
            How many base points there are.
        """
        if isinstance(loads, Shaped):
            return self.lanes.prepare(ShapedPorts(*self._shaped(loads)), tol=tol, times=times)
        still = np.zeros((len(loads), len(self.inject_nodes)), dtype=np.complex128)
        return self.lanes.prepare(np.concatenate([loads, still], axis=1), tol=tol, times=times)

    def room(self, scenarios: int) -> NDArray[Any]:
        """Memory for ``v_pu`` of so many scenarios, to hand to ``solve`` again and again."""
        return self.lanes.room(scenarios)

    def _shaped(self, loads: Shaped) -> tuple[Complex, Rows, Rows, Float]:
        """The same with injections, which are at rest where loads are shaped."""
        k = len(self.inject_nodes)
        rows = np.append(loads.shape, np.zeros(k, dtype=np.int32)).astype(np.int32)
        return np.append(loads.kva, np.zeros(k, dtype=np.complex128)), rows, rows, loads.multipliers

    def _complete(
        self, found: LaneFlows, loads: Shaped | Complex, inject_kva: Complex | None, wanted: Wanted
    ) -> Flows:
        """The lanes' answer with failed lanes solved again."""
        counted, hidden = wanted.band is not None, self._hidden
        flows = Flows(
            found.converged.copy(), ~found.converged, found.residual_kva, found.iterations,
            found.v_pu if wanted.v_pu else None, found.v, found.low_pu, found.high_pu,
            found.node_low_pu if counted else None, found.node_high_pu if counted else None,
            found.below if counted else None, found.above if counted else None,
        )  # fmt: skip
        for scenario in np.flatnonzero(flows.resolved).tolist():
            flow = self.reference(
                loads.at(scenario) if isinstance(loads, Shaped) else loads[scenario],
                None if inject_kva is None else inject_kva[scenario],
            )
            flows.converged[scenario] = flow.converged
            flows.residual_kva[scenario] = flow.residual_kva
            magnitude = flow.v_pu if flow.converged else np.full(self.network.n, np.nan)
            if flows.v_pu is not None:
                flows.v_pu[scenario] = magnitude
            flows.v[scenario] = flow.v[list(wanted.nodes)] if flow.converged else np.nan
            watched = magnitude[~hidden]
            flows.low_pu[scenario], flows.high_pu[scenario] = watched.min(), watched.max()
            if flow.converged and wanted.band is not None:
                self._count(flows, magnitude, wanted.band)
        if flows.node_low_pu is not None and flows.node_high_pu is not None:
            flows.node_low_pu[hidden] = flows.node_high_pu[hidden] = np.nan
        if flows.below is not None and flows.above is not None:
            flows.below[hidden] = flows.above[hidden] = 0
        return flows

    def _count(self, flows: Flows, magnitude: Float, band: tuple[float, float]) -> None:
        """Add one scenario to each node's extremes and counts."""
        assert flows.node_low_pu is not None
        assert flows.node_high_pu is not None
        assert flows.below is not None
        assert flows.above is not None
        np.minimum(flows.node_low_pu, magnitude, out=flows.node_low_pu, casting="same_kind")
        np.maximum(flows.node_high_pu, magnitude, out=flows.node_high_pu, casting="same_kind")
        flows.below[magnitude < band[0]] += 1
        flows.above[magnitude > band[1]] += 1

    def reference(self, load_kva: Complex, inject_kva: Complex | None = None) -> Flow:
        """One scenario by the reference path."""
        inject = np.zeros(self.network.n, dtype=np.complex128)
        if inject_kva is not None:
            np.add.at(inject, self.inject_nodes, inject_kva)
        return solve(self.network, load_kva, inject, self.state)
