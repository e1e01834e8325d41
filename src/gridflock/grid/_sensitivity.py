"""Exact derivatives at a solved flow: what one more kW or kvar anywhere does to anything.

With ``F(v, s) = Y·v - i_source - A·i(Aᵀv, s) = 0`` a change of the injections moves the voltages by
``J·dv = A·di``, ``J = Y - A·G·Aᵀ``, where G is how every port's current follows its own voltage, the
edges of its law included. G has a part in dv and one in its conjugate, so J is real-linear only: it
is factored once per flow as a real 2n matrix. A monitored quantity q with ``dq = Re(c̄·dv)`` then
needs one transposed solve ``Jᵀλ = c`` and has the derivative ``Re(λ̄·di)`` for every port at once:
the adjoint method, without any dense matrix (Dommel and Tinney, "Optimal power flow solutions", IEEE
Trans. PAS-87(10), 1968).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from gridflock.grid._admittance import admittance
from gridflock.grid._flow import DEAD_V, Flow, load_currents, port_laws, port_voltages
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._topology import NEUTRAL
from gridflock.grid._unbalance import UnbalanceBy, unbalance, unbalance_slope
from gridflock.grid.lanes._law import factors
from gridflock.units import Rows

AT_ONCE = 16
"""Right sides per call: SuperLU slows down by an order of magnitude when given many more."""
PIVOT = 0.01
"""A diagonal pivot is kept down to this share of the column's largest: keeps the fill of the ordering."""


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """How one quantity follows every injection, in its own unit per kW and per kvar, house sign.

    Attributes:
        value: the quantity at the flow.
        node_kw: (n,) per kW of constant power injected at a node as ``solve`` takes it: at a
            three-wire bus between that phase and the next. 0 at neutrals and dead nodes.
        node_kvar: (n,) per kvar.
        port_kw: (L,) per kW of ``load_kva``, the power of a port at its rated voltage.
        port_kvar: (L,) per kvar of it.
    """

    value: float
    node_kw: Float
    node_kvar: Float
    port_kw: Float
    port_kvar: Float


@dataclass(frozen=True, slots=True, eq=False)
class Linearisation:
    """The factored derivative of a flow. Taps and capacitors are held. Made by ``linearise``.

    Attributes:
        flow: where it is taken.
        lu: factor of the equilibrated real Jacobian, imaginary current equations first.
        scale: (n,) square root of the diagonal admittance: unknowns times it, equations over it.
        node_amps: complex (n,) conjugate current of 1 kW injected at a node, A; 0 where none can be.
        port_amps: complex (2, L) conjugate current of a port per kW and per kvar of its ``load_kva``, A.
    """

    flow: Flow
    lu: linalg.SuperLU
    scale: Float
    node_amps: Complex
    port_amps: Complex

    def voltage(self, node: int) -> Gradient:
        """Of the voltage magnitude of a node, pu; NaN at a dead one."""
        return self.gradients(self.voltage_direction(node)[None], self.flow.v_pu[[node]])[0]

    def current(self, conductor: int) -> Gradient:
        """Of the current magnitude in a row of ``branch_blocks``, A; NaN where there is no current."""
        amps = np.abs(self.flow.currents[[conductor]])
        return self.gradients(self.current_direction(conductor)[None], amps)[0]

    def power(self, conductors: Rows) -> tuple[Gradient, Gradient]:
        """Of the active (kW) and the reactive power (kvar) that enters branches at some conductors.

        Args:
            conductors: rows of ``branch_blocks``, such as those of one end of an element.
        """
        net = self.flow.network
        rows = np.asarray(conductors)
        v = np.append(self.flow.v, 0.0)[net.branch_blocks.node[rows]]
        total = complex((v * np.conj(self.flow.currents[rows])).sum() / 1000.0)
        directions = np.stack([self.power_direction(rows), self.power_direction(rows, reactive=True)])
        active, reactive = self.gradients(directions, np.array([total.real, total.imag]))
        return active, reactive

    def losses(self) -> Gradient:
        """Of ``Flow.losses_kw``."""
        net, v = self.flow.network, self.flow.v
        y = admittance(net, self.flow.state).y
        both = y @ v + y.conj().T @ v
        at = net.source_nodes
        np.subtract.at(both, at, (net.source_y + net.source_y.conj().T) @ v[at])
        return self.gradients(both[None] / 1000.0, np.array([self.flow.losses_kw]))[0]

    def unbalance(self, bus: int, by: UnbalanceBy = UnbalanceBy.LINE) -> Gradient:
        """Of the voltage unbalance of a three-phase bus, a share of 1.

        Args:
            bus: bus row.
            by: which definition.
        """
        nodes = self.flow.network.node_table()[bus]
        value = unbalance(self.flow.v[nodes][None], by)
        return self.gradients(self.unbalance_direction(bus, by)[None], value)[0]

    def voltage_direction(self, node: int) -> Complex:
        """Complex (n,) c with ``d|V|/v_base = Re(c̄·dv)``."""
        c = np.zeros(self.flow.network.n, dtype=np.complex128)
        v = self.flow.v[node]
        c[node] = v / (abs(v) * self.flow.network.v_base[node]) if abs(v) > DEAD_V else np.nan
        return c

    def current_direction(self, conductor: int) -> Complex:
        """Complex (n,) c with ``d|I| = Re(c̄·dv)``, A."""
        current = self.flow.currents[conductor]
        along = current / abs(current) if abs(current) > 0.0 else np.nan
        return self._through(np.array([conductor]), np.array([along]))

    def power_direction(self, conductors: Rows, *, reactive: bool = False) -> Complex:
        """Complex (n,) c with ``dP = Re(c̄·dv)``, or dQ, kW or kvar."""
        nodes = self.flow.network.branch_blocks.node[conductors]
        ends = np.append(self.flow.v, 0.0)[nodes]
        turn = -1j if reactive else 1.0 + 0j
        c: Complex = np.append(self._through(conductors, turn * ends), 0.0)
        np.add.at(c, nodes, np.conj(turn) * self.flow.currents[conductors])
        direction: Complex = c[:-1] / 1000.0
        return direction

    def unbalance_direction(self, bus: int, by: UnbalanceBy) -> Complex:
        """Complex (n,) c with ``du = Re(c̄·dv)``."""
        nodes = self.flow.network.node_table()[bus]
        c = np.zeros(self.flow.network.n, dtype=np.complex128)
        c[nodes] = unbalance_slope(self.flow.v[nodes], by)
        return c

    def gradients(self, directions: Complex, values: Float) -> list[Gradient]:
        """Gradients of k quantities, each by one transposed solve.

        Args:
            directions: complex (k, n) c of each quantity: ``dq = Re(c̄·dv)``; NaN where it has no
                derivative, and then all of its gradient is NaN.
            values: (k,) the quantities at the flow.
        """
        net = self.flow.network
        adjoint = self._solve(directions, transposed=True)
        adjoint[np.isnan(directions).any(axis=1)] = np.nan
        node = np.conj(self._across_nodes(adjoint)) * np.conj(self.node_amps)
        port = np.conj((net.load_incidence.T @ adjoint.T).T)
        by_kw, by_kvar = (port * np.conj(amps) for amps in self.port_amps)
        return [
            Gradient(float(value), node[k].real, node[k].imag, by_kw[k].real, by_kvar[k].real)
            for k, value in enumerate(values)
        ]

    def response(self, d_kva: Complex, d_load_kva: Complex | None = None) -> Complex:
        """Change of all node voltages for a small change of the injections, V.

        Args:
            d_kva: complex (n,) or (k, n) change of the node injections, house sign.
            d_load_kva: complex (L,) or (k, L) change of ``load_kva``.

        Returns:
            Complex, shaped like ``d_kva``.
        """
        net = self.flow.network
        d_kva = np.asarray(d_kva, dtype=np.complex128)
        right = np.conj(np.atleast_2d(d_kva) * self.node_amps)
        at, to = net.three_wire, net.three_wire_next
        if len(at):
            back = np.zeros_like(right)
            back[:, to] = right[:, at]
            right -= back
        if d_load_kva is not None:
            asked = np.atleast_2d(d_load_kva)
            amps = asked.real * np.conj(self.port_amps[0]) + asked.imag * np.conj(self.port_amps[1])
            right = right + (net.load_incidence @ amps.T).T
        moved: Complex = self._solve(right, transposed=False).reshape(d_kva.shape)
        return moved

    def magnitudes(self, d_v: Complex) -> Float:
        """Change of voltage magnitudes, pu, for a change (n,) or (k, n) of the voltages, V; 0 where dead."""
        v, base = self.flow.v, self.flow.network.v_base
        size = np.abs(v)
        along: Complex = np.divide(np.conj(v), size * base, out=np.zeros_like(v), where=size > DEAD_V)
        change: Float = (along * d_v).real
        return change

    def _across_nodes(self, values: Complex) -> Complex:
        """(k, n) values at each node less those at the node its injection returns to."""
        net = self.flow.network
        across = values.copy()
        across[:, net.three_wire] -= values[:, net.three_wire_next]
        return across

    def _through(self, conductors: Rows, along: Complex) -> Complex:
        """Complex (n,) c with ``Re(c̄·dv) = Re(Σ conj(along)·dI)`` over conductors."""
        rows = admittance(self.flow.network, self.flow.state).to_currents[conductors]
        c: Complex = rows.conj().T @ np.asarray(along, dtype=np.complex128)
        return c

    def _solve(self, right: Complex, *, transposed: bool) -> Complex:
        """Complex (k, n) solutions of J or Jᵀ, ``AT_ONCE`` right sides at a time."""
        found = np.empty_like(right)
        for first in range(0, len(right), AT_ONCE):
            part = np.ascontiguousarray(right[first : first + AT_ONCE] / self.scale)
            if not transposed:
                part = _swapped(part)
            x = self.lu.solve(part.view(np.float64).T, "T" if transposed else "N")
            answer = np.ascontiguousarray(x.T).view(np.complex128)
            found[first : first + AT_ONCE] = (_swapped(answer) if transposed else answer) / self.scale
        return found


def _swapped(values: Complex) -> Complex:
    """Real and imaginary parts exchanged."""
    swapped: Complex = 1j * np.conj(values)
    return swapped


def linearise(flow: Flow) -> Linearisation:
    """Factor the derivative of a converged flow.

    Args:
        flow: a converged flow; its loads, injections, taps and capacitors are those it was solved at.

    Raises:
        ValueError: the flow has not converged.
        numpy.linalg.LinAlgError: the operating point is a bifurcation: J is singular.
    """
    if not flow.converged:
        raise ValueError("no derivative of a flow that has not converged")
    net = flow.network
    y = admittance(net, flow.state).y
    across = flow.v.copy()
    across[net.three_wire] -= flow.v[net.three_wire_next]
    can = net.topology.live & (net.node_phase < NEUTRAL) & (np.abs(across) > DEAD_V)
    node_amps = np.divide(1000.0, across, out=np.zeros_like(across), where=can)
    scale = np.sqrt(np.maximum(np.abs(y.diagonal()), 1e-12))
    jacobian = _jacobian(flow, y, across, scale)
    try:
        lu = linalg.splu(
            jacobian, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=PIVOT, options={"SymmetricMode": True}
        )
    except RuntimeError as error:
        raise np.linalg.LinAlgError(f"the derivative of the flow is singular: {error}") from error
    return Linearisation(flow, lu, scale, node_amps, _port_amps(flow))


def _jacobian(flow: Flow, y: sparse.csc_matrix, across: Complex, scale: Float) -> sparse.csc_matrix:
    """The equilibrated real Jacobian (2n, 2n): unknowns re, im by node; equations im, re by node."""
    net = flow.network
    own = y.tocoo()
    fed = np.flatnonzero(net.topology.port_live)
    slope, turned = load_slopes(net, flow.load_kva, flow.v)
    load = _stamps(net.load_nodes[fed], slope[fed], turned[fed])
    used = np.flatnonzero(flow.inject_kva)
    following = np.full(net.n, -1, dtype=np.int32)
    following[net.three_wire] = net.three_wire_next
    with np.errstate(all="ignore"):
        held = np.where(
            net.topology.live[used], -1000.0 * np.conj(flow.inject_kva[used] / across[used] ** 2), 0.0
        )
    injected = _stamps(np.stack([used, following[used]], axis=1), np.zeros_like(held), held)
    parts = [(own.row, own.col, own.data, np.zeros_like(own.data)), load, injected]
    at, to, linear, conjugate = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = net.topology.live[at] | (at == to)
    at, to = at[kept], to[kept]
    weight = 1.0 / (scale[at] * scale[to])
    plus, minus = (linear + conjugate)[kept] * weight, (linear - conjugate)[kept] * weight
    rows = np.concatenate([2 * at, 2 * at, 2 * at + 1, 2 * at + 1])
    columns = np.concatenate([2 * to, 2 * to + 1, 2 * to, 2 * to + 1])
    values = np.concatenate([plus.imag, minus.real, plus.real, -minus.imag])
    return sparse.csc_matrix((values, (rows, columns)), shape=(2 * net.n, 2 * net.n))


def _stamps(ends: Rows, slope: Complex, turned: Complex) -> tuple[Rows, Rows, Complex, Complex]:
    """Entries of ``-A·G·Aᵀ``: rows, columns, the part in dv and the part in its conjugate."""
    at = np.concatenate([ends[:, 0], ends[:, 0], ends[:, 1], ends[:, 1]])
    to = np.concatenate([ends[:, 0], ends[:, 1], ends[:, 0], ends[:, 1]])
    sign = np.repeat([-1.0, 1.0, 1.0, -1.0], len(ends))
    there = (at >= 0) & (to >= 0)
    return at[there], to[there], (sign * np.tile(slope, 4))[there], (sign * np.tile(turned, 4))[there]


def load_slopes(network: Network, load_kva: Complex, v: Complex) -> tuple[Complex, Complex]:
    """How the current of each port follows its voltage: ``di = α·du + β·conj(du)``.

    With the law ``i = c(r)·u/|u|`` of ``load_currents``, ``α, β = (c'/load_v ± c/|u|)/2``, β turned by
    ``(u/|u|)²``.

    Returns:
        Complex (L,) α and β, S; 0 at a dead port.
    """
    u = port_voltages(network, v)
    size = np.abs(u)
    dead = size < DEAD_V
    size = np.where(dead, 1.0, size)
    along = u / size
    r = size / network.load_v
    chord = load_currents(network, load_kva, v) * np.conj(along) / size
    _, steep = factors(port_laws(network), r)
    drawn = load_kva.real * steep[:, 0] - 1j * load_kva.imag * steep[:, 1]
    tangent = np.where(dead, 0.0, drawn * (1000.0 / network.load_v**2))
    return (tangent + chord) / 2.0, along**2 * (tangent - chord) / 2.0


def _port_amps(flow: Flow) -> Complex:
    """Complex (2, L) conjugate current of each port per kW and per kvar of nominal power, A."""
    net = flow.network
    by_kw = load_currents(net, np.ones(len(net.loads), dtype=np.complex128), flow.v)
    by_kvar = load_currents(net, np.full(len(net.loads), 1j), flow.v)
    amps: Complex = np.conj(np.stack([by_kw, by_kvar]))
    return amps
