"""Three-phase unbalanced power flow by the implicit Z-bus fixed point.

With the factored Y, ``v <- Y⁻¹·(i_source + i_ports(v))`` (Chen et al., "Distribution system
power flow analysis - a rigid approach", IEEE Trans. Power Delivery 6(3), 1991), valid for every
connection because only nodes and ports appear. The answer is judged by the residual of the
original equations, not by the size of the last step alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridflock.grid._admittance import Admittance, admittance
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState

MAX_ITERATIONS = 200
RESIDUAL_LIMIT_KVA = 1e-3
"""No node may miss its current balance by more; a solved feeder stays orders below."""
V_COLLAPSED = 0.5
"""Per unit, below which a load is the impedance of its nominal power (OpenDSS ``vlowpu``)."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A solved (or refused) operating point. Powers in the house sign.

    Attributes:
        network: the feeder version.
        state: the control state.
        load_kva: complex (L,) nominal load that was asked for.
        inject_kva: complex (n,) constant-power injections.
        v: complex (n,) node voltages, V.
        iterations: fixed-point steps taken.
        residual_kva: largest miss of Kirchhoff's current law at a node, times its voltage.
        converged: only then is ``v`` an answer.
    """

    network: Network
    state: ControlState
    load_kva: Complex
    inject_kva: Complex
    v: Complex
    iterations: int
    residual_kva: float
    converged: bool

    @cached_property
    def v_pu(self) -> Float:
        """(n,) voltage magnitude per unit of the nominal line-to-neutral voltage."""
        magnitude: Float = np.abs(self.v) / self.network.v_base
        return magnitude

    @cached_property
    def served_kva(self) -> Complex:
        """Complex (L,) power of each load at its actual voltage, demand negative."""
        net = self.network
        u = _port_voltage(net, self.v)
        served: Complex = u * np.conj(load_currents(net, self.load_kva, self.v)) / 1000.0
        return served

    @cached_property
    def head_kva(self) -> Complex:
        """Complex (3,) net injection of the feeder into the source, per phase: negative when importing."""
        net = self.network
        v = self.v[net.source_nodes]
        from_source: Complex = v * np.conj(net.source_y @ (net.source_v - v)) / 1000.0
        return -from_source

    @property
    def losses_kw(self) -> float:
        """Active power lost in the branches: what is injected and does not reach the source."""
        injected = self.served_kva.sum() + self.inject_kva.sum()
        return float((injected - self.head_kva.sum()).real)

    @cached_property
    def _terminals(self) -> tuple[Complex, Complex]:
        """Voltages and currents (m, 6) at all branch ends; currents positive into the branch."""
        net = self.network
        blocks = admittance(net, self.state).blocks
        ends = np.append(self.v, 0.0)[net.branch_nodes]
        return ends, (blocks @ ends[:, :, None])[:, :, 0]

    @property
    def currents(self) -> Complex:
        """Complex (m, 6) current into each branch at from a, b, c and to a, b, c, A."""
        return self._terminals[1]

    @property
    def branch_amps(self) -> Float:
        """(m, 3) current magnitude at the from side; 0 where a phase is absent."""
        amps: Float = np.abs(self._terminals[1][:, :3])
        return amps

    @property
    def branch_kva(self) -> Complex:
        """Complex (m, 3) power entering at the from side, positive from there to the to side."""
        v, i = self._terminals
        power: Complex = v[:, :3] * np.conj(i[:, :3]) / 1000.0
        return power

    @property
    def loading(self) -> Float:
        """(m,) worst phase current over the branch's rating."""
        worst: Float = self.branch_amps.max(axis=1) / self.network.rating_a
        return worst


def solve(
    network: Network,
    load_kva: Complex,
    inject_kva: Complex,
    state: ControlState,
    start: Flow | None = None,
    *,
    tol: float = 1e-9,
) -> Flow:
    """Solve one operating point.

    Args:
        network: the feeder.
        load_kva: complex (L,) power of each load at its rated voltage, house sign (demand negative).
        inject_kva: complex (n,) constant-power injection at each node, house sign; at a three-wire
            bus it stands between that phase and the next.
        state: taps and capacitors, held.
        start: an earlier flow to start from; its voltages, not its loads, are used, if it converged.
        tol: largest last step, per unit.

    Returns:
        The flow; look at ``converged``.
    """
    load_kva = np.ascontiguousarray(load_kva, dtype=np.complex128)
    inject_kva = np.ascontiguousarray(inject_kva, dtype=np.complex128)
    matrix = admittance(network, state)
    v = start.v if start is not None and start.converged else matrix.v_idle
    with np.errstate(all="ignore"):
        v, iterations, step = _iterate(network, matrix, load_kva, inject_kva, v, tol)
        miss = matrix.y @ v - matrix.i_source - _currents(network, load_kva, inject_kva, v)
        residual = float(np.abs(v * miss).max()) / 1000.0
    converged = bool(step <= tol and residual <= RESIDUAL_LIMIT_KVA)
    return Flow(network, state, load_kva, inject_kva, v, iterations, residual, converged)


def _iterate(
    network: Network, matrix: Admittance, load_kva: Complex, inject_kva: Complex, v: Complex, tol: float
) -> tuple[Complex, int, float]:
    """Fixed-point steps until the last one is below ``tol`` per unit, or nothing more can be hoped for."""
    scale = 1.0 / network.v_base
    step = np.inf
    iterations = 0
    while iterations < MAX_ITERATIONS:
        iterations += 1
        new = matrix.voltages(_currents(network, load_kva, inject_kva, v))
        step = float((np.abs(new - v) * scale).max())
        v = new
        if step <= tol or not np.isfinite(step):
            break
    return v, iterations, step


def _port_voltage(network: Network, v: Complex) -> Complex:
    ends = np.append(v, 0.0)[network.load_nodes]
    across: Complex = ends[:, 0] - ends[:, 1]
    return across


def _currents(network: Network, load_kva: Complex, inject_kva: Complex, v: Complex) -> Complex:
    """(n,) current that all ports put into the nodes, A."""
    total: Complex = network.load_incidence @ load_currents(network, load_kva, v)
    between = v
    if len(network.three_wire):
        between = v.copy()
        between[network.three_wire] -= v[network.three_wire_next]
    injected = 1000.0 * np.conj(inject_kva / between)
    total += injected
    total[network.three_wire_next] -= injected[network.three_wire]
    return total


def load_currents(network: Network, load_kva: Complex, v: Complex) -> Complex:
    """(L,) current of each load into its first node, A, by the constant P/I/Z law with edges.

    With r = |u|/v_rated, the current is ``conj(s)/v_rated · g(r) · u/|u|``: inside the load's range
    ``g = p/r + i + z·r``; above it the impedance that meets g at the edge; below it g falls linearly
    to the nominal impedance at 0.5 and follows that further down. These are the rules of OpenDSS's
    load models 1, 2 and 5.
    """
    u = _port_voltage(network, v)
    size = np.abs(u)
    r = size / network.load_v
    share_p, share_i, share_z = network.load_zip.T
    g = share_p / r + share_i + share_z * r
    low, high = network.load_range.T
    out = (r < low) | (r > high)
    if out.any():
        g[out] = _edge_law(network, r, out)
    current: Complex = np.conj(load_kva) * (1000.0 * g / (network.load_v * size)) * u
    return current


def _edge_law(network: Network, r: Float, out: Float) -> Float:
    shares, (low, high), r = network.load_zip[out], network.load_range[out].T, r[out]
    edge = np.where(r > high, high, low)
    at_edge = shares[:, 0] / edge + shares[:, 1] + shares[:, 2] * edge
    slope = (at_edge - V_COLLAPSED) / (low - V_COLLAPSED)
    below = np.where(r > V_COLLAPSED, V_COLLAPSED + slope * (r - V_COLLAPSED), r)
    g: Float = np.where(r > high, at_edge * r / high, below)
    return g
