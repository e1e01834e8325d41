"""Three-phase unbalanced power flow by the implicit Z-bus fixed point.

With the factored Y, ``v <- Y⁻¹·(i_source + i_ports(v))`` (Chen et al., "Distribution system
power flow analysis - a rigid approach", IEEE Trans. Power Delivery 6(3), 1991), valid for every
connection because only nodes and ports appear; where that does not contract, by Newton's method. The
answer is judged by the residual of the original equations, not by the size of the last step alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gridflock.grid._admittance import Admittance, admittance
from gridflock.grid._circuit import circuit
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.grid.lanes import Laws
from gridflock.grid.lanes._point import pattern, point
from gridflock.units import Mask

MAX_ITERATIONS = 200
RESIDUAL_LIMIT_KVA = 1e-3
"""No node may miss its current balance by more; a solved feeder stays orders below."""
ROUNDING = 16.0 * float(np.finfo(np.float64).eps)
"""What a sum of a few products keeps of their size as error."""
DEAD_V = 1e-9
"""Volt, below which a port carries no current."""


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
        u = port_voltages(net, self.v)
        served: Complex = u * np.conj(load_currents(net, self.load_kva, self.v)) / 1000.0
        return served

    @cached_property
    def source_kva(self) -> Complex:
        """Complex (ks,) power that flows into each source conductor: negative when the feeder imports."""
        net = self.network
        v = self.v[net.source_nodes]
        into: Complex = -v * np.conj(net.source_y @ (net.source_v - v)) / 1000.0
        return into

    @cached_property
    def head_kva(self) -> Complex:
        """Complex (3,) net injection of the feeder into its sources, per phase: negative when importing."""
        total = np.zeros(4, dtype=np.complex128)
        np.add.at(total, self.network.node_phase[self.network.source_nodes], self.source_kva)
        return total[:3]

    @property
    def losses_kw(self) -> float:
        """Active power lost in the branches: what is injected and does not reach the source."""
        injected = self.served_kva.sum() + self.inject_kva.sum()
        return float((injected - self.head_kva.sum()).real)

    @cached_property
    def currents(self) -> Complex:
        """Complex (c,) current into each branch at each of its conductors, A."""
        currents: Complex = admittance(self.network, self.state).to_currents @ self.v
        return currents

    @property
    def _head_currents(self) -> Complex:
        head = self.network.branch_head
        current: Complex = np.where(head >= 0, self.currents[head], 0.0)
        return current

    @property
    def branch_amps(self) -> Float:
        """(m, 3) current magnitude of each phase at the first end; 0 where a phase is absent."""
        amps: Float = np.abs(self._head_currents)
        return amps

    @property
    def branch_kva(self) -> Complex:
        """Complex (m, 3) power entering at the first end by phase, positive from there onwards."""
        net = self.network
        v = self.v[net.branch_blocks.node[net.branch_head]]
        power: Complex = v * np.conj(self._head_currents) / 1000.0
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
    converged = bool(step <= tol and residual <= _limit_kva(matrix, v, residual))
    if not converged:
        return _by_newton(network, load_kva, inject_kva, state, matrix, iterations)
    return Flow(network, state, load_kva, inject_kva, v, iterations, residual, converged)


def _limit_kva(matrix: Admittance, v: Complex, residual_kva: float) -> float:
    """Largest residual that is an answer: beside very small impedances the rounding of Y·v exceeds 1 VA."""
    if residual_kva <= RESIDUAL_LIMIT_KVA or not np.isfinite(v).all():
        return RESIDUAL_LIMIT_KVA
    turned = float((np.abs(v) * (abs(matrix.y) @ np.abs(v))).max()) / 1000.0
    return max(RESIDUAL_LIMIT_KVA, ROUNDING * turned)


def _by_newton(
    network: Network,
    load_kva: Complex,
    inject_kva: Complex,
    state: ControlState,
    matrix: Admittance,
    iterations: int,
) -> Flow:
    """The same point by Newton's method: where the source is weak the fixed point does not contract."""
    nodes = np.flatnonzero(inject_kva).astype(np.int32)
    arrays = circuit(network, state, nodes)
    asked = np.concatenate([np.where(network.topology.port_live, load_kva, 0.0), inject_kva[nodes]])
    with np.errstate(all="ignore"):
        found = point(arrays, pattern(arrays, np.zeros(0, dtype=np.int32)), asked)
        miss = matrix.y @ found.v - matrix.i_source - _currents(network, load_kva, inject_kva, found.v)
        residual = float(np.abs(found.v * miss).max()) / 1000.0
    good = bool(found.solved and residual <= _limit_kva(matrix, found.v, residual))
    return Flow(network, state, load_kva, inject_kva, found.v, iterations, residual, good)


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


def port_voltages(network: Network, v: Complex) -> Complex:
    """Complex (L,) voltage across each port, V; 0 where an end of it is dead."""
    ends = np.append(v, 0.0)[network.load_nodes]
    across: Complex = np.where(network.topology.port_live, ends[:, 0] - ends[:, 1], 0.0)
    return across


def port_laws(network: Network) -> Laws:
    """The voltage laws of all ports."""
    floor, low, high = network.load_range.T
    return Laws(network.load_zip, network.load_exponent, low, high, floor, network.load_edge)


def _currents(network: Network, load_kva: Complex, inject_kva: Complex, v: Complex) -> Complex:
    """(n,) current that all ports put into the nodes, A."""
    total: Complex = network.load_incidence @ load_currents(network, load_kva, v)
    between = v
    if len(network.three_wire):
        between = v.copy()
        between[network.three_wire] -= v[network.three_wire_next]
    used = np.flatnonzero(inject_kva)
    injected = 1000.0 * np.conj(inject_kva[used] / between[used])
    total[used] += injected
    if len(network.three_wire):
        full = np.zeros(network.n, dtype=np.complex128)
        full[used] = injected
        np.subtract.at(total, network.three_wire_next, full[network.three_wire])
    total[~network.topology.live] = 0.0
    return total


def load_currents(network: Network, load_kva: Complex, v: Complex) -> Complex:
    """(L,) current that each port puts into its first node, A; 0 at a dead port.

    With r = |u|/v_rated the current is ``(p·g_p(r) - j·q·g_q(r))/v_rated · u/|u|``. Inside the port's
    range g is its law's: ``g = p/r + i + z·r``, or ``r**(e-1)``; above it the impedance that has the
    current of the upper edge there; below it g falls linearly from the lower edge to the nominal
    impedance at the floor and follows that further down. These are the rules of OpenDSS's load models.
    """
    u = port_voltages(network, v)
    size = np.abs(u)
    size = np.where(size < DEAD_V, 1.0, size)
    r = size / network.load_v
    g_p = _law(network, r, 0)
    g_q = g_p if network.load_alike else _law(network, r, 1)
    _, low, high = network.load_range.T
    out = (r < low) | (r > high)
    if out.any():
        g_p[out] = g_q[out] = _edge_law(network, r, out)
    drawn = np.conj(load_kva) * g_p if g_q is g_p else load_kva.real * g_p - 1j * load_kva.imag * g_q
    current: Complex = drawn * (1000.0 / (network.load_v * size)) * u
    return current


def _law(network: Network, r: Float, part: int) -> Float:
    """(L,) current per unit of nominal of the active (0) or reactive (1) part, inside the range."""
    shares = network.load_zip[:, part]
    g: Float = shares[:, 0] / r + shares[:, 1] + shares[:, 2] * r
    rows = network.load_powered
    if len(rows):
        exponent = network.load_exponent[rows, part]
        g[rows] = np.where(np.isnan(exponent), g[rows], r[rows] ** (exponent - 1.0))
    return g


def _edge_law(network: Network, r: Float, out: Mask) -> Float:
    floor, low, high = network.load_range[out].T
    at_low, at_high = network.load_edge[out].T
    r = r[out]
    below = np.where(r > floor, floor + (at_low - floor) / (low - floor) * (r - floor), r)
    g: Float = np.where(r > high, at_high * r / high, below)
    return g
