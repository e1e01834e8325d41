"""Power flow with inverters acting: every inverter holds the powers its curves give at its own voltage.

The curves' slopes enter Newton's matrix beside those of the loads, so a steep volt-var curve on a
weak feeder converges where repeated solving with updated set points would swing. The matrix is kept
from one flow to the next and made anew only when steps stop shrinking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from gridflock.grid._admittance import admittance
from gridflock.grid._circuit import circuit
from gridflock.grid._flow import RESIDUAL_LIMIT_KVA, Flow
from gridflock.grid._network import Complex, Float, Network, PortKind
from gridflock.grid._state import ControlState
from gridflock.grid.lanes._circuit import Circuit
from gridflock.grid.lanes._law import currents, factors, port_voltage
from gridflock.grid.series._curves import Curves, faults, respond
from gridflock.units import Rows

MAX_STEPS = 80
ROUNDING_PU = 1e-7
"""A step below this that does not shrink any more is what rounding leaves on stiff branches."""
SLOW = 0.25
"""A step that keeps more than this share of the one before asks for a new matrix."""
RANGE_PU = (0.4, 0.6, 1.5)
"""Floor, low and high: an inverter holds its power over every voltage of use."""
CHUNK = 128
"""Operating points whose curves are read in one go: their arrays stay in the cache."""
NUDGE_PU = 1e-6
"""Voltage difference over which the slope of a curve is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Inverters:
    """Inverters at ports of a network. D inverters, each at one port per phase (pair).

    Attributes:
        start: (D+1,) first entry of each inverter in ``port``.
        port: rows among the network's loads; an inverter acts on the mean of their voltages and
            shares its power equally among them.
        curves: ratings and settings.
    """

    start: Rows
    port: Rows
    curves: Curves

    def __post_init__(self) -> None:
        wrong = faults(self.curves)
        if wrong:
            row, column, rule = wrong[0]
            raise ValueError(f"inverter {row}: {column} {rule}")

    @property
    def n(self) -> int:
        """How many inverters."""
        return len(self.start) - 1

    @property
    def owner(self) -> Rows:
        """(P,) inverter of each entry of ``port``."""
        return np.repeat(np.arange(self.n, dtype=np.int32), np.diff(self.start))

    def seen_pu(self, magnitude_pu: Float) -> Float:
        """(..., D) mean of the voltages (..., P) across the ports, each per unit of its rating."""
        counts = np.diff(self.start)
        seen: Float = np.add.reduceat(magnitude_pu, self.start[:-1], axis=-1) / counts
        return seen

    def answer(self, p_kw: Float, magnitude_pu: Float) -> Complex:
        """Complex (..., P) power of each port: what the curves make of available power and voltage.

        Args:
            p_kw: (..., D) active power available or wanted, house sign.
            magnitude_pu: (..., P) voltages across the ports.
        """
        seen = self.seen_pu(magnitude_pu)
        if seen.ndim == 1:
            return self.spread(*respond(self.curves, p_kw, seen))
        powers = np.empty(magnitude_pu.shape, dtype=np.complex128)
        for begin in range(0, len(seen), CHUNK):
            part = slice(begin, begin + CHUNK)
            powers[part] = self.spread(*respond(self.curves, p_kw[part], seen[part]))
        return powers

    def spread(self, p_kw: Float, q_kvar: Float) -> Complex:
        """Complex (..., P) share of each port in the powers (..., D) of the inverters."""
        total: Complex = np.asarray(p_kw + 1j * q_kvar, dtype=np.complex128)
        return (total / np.diff(self.start))[..., self.owner]

    def powers(self, load_kva: Complex) -> tuple[Float, Float]:
        """Active (..., D) kW and reactive (..., D) kvar power of the inverters in powers of all ports."""
        own: Complex = load_kva[..., self.port]
        p_kw: Float = np.add.reduceat(own.real, self.start[:-1], axis=-1)
        q_kvar: Float = np.add.reduceat(own.imag, self.start[:-1], axis=-1)
        return p_kw, q_kvar


def fitted(
    network: Network, ids: tuple[str, ...], nodes: Rows, rated_v: Float, start: Rows, curves: Curves
) -> tuple[Network, Inverters]:
    """A new version of a network with inverters at it.

    Args:
        network: the feeder.
        ids: D names.
        nodes: (P, 2) nodes i and j between which each phase of each inverter stands; j = -1 is ground.
        rated_v: (P,) nominal voltage across each, V.
        start: (D+1,) first row of each inverter in ``nodes``.
        curves: their ratings and settings.

    Raises:
        ValueError: settings that cannot be, with row and rule.
    """
    count = len(nodes)
    inverters = Inverters(start, np.arange(count, dtype=np.int32) + np.int32(len(network.loads)), curves)
    constant = np.zeros((count, 2, 3))
    constant[:, :, 0] = 1.0
    edge = np.tile([1.0 / RANGE_PU[1], 1.0 / RANGE_PU[2]], (count, 1))
    more = replace(
        network,
        loads=network.loads + tuple(ids[k] for k in inverters.owner),
        load_kind=np.append(network.load_kind, np.full(count, PortKind.PV, dtype=np.uint8)),
        load_bus=np.append(network.load_bus, network.node_bus[nodes[:, 0]]),
        load_nodes=np.concatenate([network.load_nodes, nodes]).astype(np.int32),
        load_kva=np.append(network.load_kva, np.zeros(count, dtype=np.complex128)),
        load_zip=np.concatenate([network.load_zip, constant]),
        load_exponent=np.concatenate([network.load_exponent, np.full((count, 2), np.nan)]),
        load_v=np.append(network.load_v, rated_v),
        load_range=np.concatenate([network.load_range, np.tile(RANGE_PU, (count, 1))]),
        load_edge=np.concatenate([network.load_edge, edge]),
        load_scaled=np.append(network.load_scaled, np.zeros(count, dtype=np.bool_)),
    )
    return more, inverters


class Acting:
    """A network with inverters that act, solved flow by flow.

    Args:
        network: the feeder.
        inverters: at its ports.
    """

    def __init__(self, network: Network, inverters: Inverters) -> None:
        self.network = network
        self.inverters = inverters
        self._matrix: linalg.SuperLU | None = None

    def solve(
        self,
        load_kva: Complex,
        inject_kva: Complex,
        state: ControlState,
        p_kw: Float,
        start: Flow | None = None,
        *,
        tol: float = 1e-9,
    ) -> Flow:
        """Solve one operating point.

        Args:
            load_kva: complex (L,) powers of all ports; those of inverters are not read.
            inject_kva: complex (n,) constant-power injections at nodes.
            state: taps and capacitors, held.
            p_kw: (D,) active power available to each inverter, or wanted of storage, house sign.
            start: an earlier flow to begin from, if it converged.
            tol: largest last step, per unit.

        Returns:
            The flow; its ``load_kva`` has the powers the inverters settled at.
        """
        nodes = np.flatnonzero(inject_kva).astype(np.int32)
        feeder = _Feeder(
            self, circuit(self.network, state, nodes), np.append(load_kva, inject_kva[nodes]), p_kw
        )
        v = start.v if start is not None and start.converged else admittance(self.network, state).v_idle
        with np.errstate(all="ignore"):
            v, steps, done = self._newton(feeder, v, tol)
            miss, s_kva, _ = feeder.miss(v)
            residual = float(np.abs(miss * v).max()) / 1000.0
        converged = bool(done and residual <= RESIDUAL_LIMIT_KVA)
        settled = s_kva[: len(load_kva)]
        return Flow(self.network, state, settled, inject_kva, v, steps, residual, converged)

    def _newton(self, feeder: _Feeder, v: Complex, tol: float) -> tuple[Complex, int, bool]:
        last, damping, taken = np.inf, 1.0, 0
        while taken < MAX_STEPS:
            taken += 1
            miss, _, slopes = feeder.miss(v)
            if self._matrix is None or self._matrix.shape[0] != 2 * len(v):
                self._matrix = feeder.factor(slopes)
            move, step = self._move(miss)
            if step > SLOW * last:
                self._matrix = feeder.factor(slopes)
                move, step = self._move(miss)
                damping = max(0.5 * damping, 0.25) if step > last else 1.0
            v = v - damping * move
            rounding = step <= ROUNDING_PU and step > 0.5 * last
            last = step
            if not np.isfinite(step) or step <= tol or rounding:
                return v, taken, bool(np.isfinite(step))
        return v, taken, False

    def _move(self, miss: Complex) -> tuple[Complex, float]:
        """Newton's step for a miss, and its size per unit."""
        assert self._matrix is not None
        move = _complex(self._matrix.solve(_real(miss)))
        return move, float((np.abs(move) / self.network.v_base).max())


@dataclass(frozen=True, slots=True, eq=False)
class _Feeder:
    """One control state and one set of powers, as Newton's method asks for them."""

    acting: Acting
    circuit: Circuit
    s_kva: Complex
    p_kw: Float

    def miss(self, v: Complex) -> tuple[Complex, Complex, Float]:
        """Current missing at each node, the ports' powers and the slopes of their currents."""
        inverters = self.acting.inverters
        port = inverters.port
        u = port_voltage(self.circuit, v)
        r = np.abs(u[port]) / self.circuit.port_v[port]
        s_kva = self.s_kva.copy()
        s_kva[port] = inverters.answer(self.p_kw, r)
        bend = (inverters.answer(self.p_kw, r + NUDGE_PU) - inverters.answer(self.p_kw, r - NUDGE_PU)) / (
            2 * NUDGE_PU
        )
        current, slopes = currents(self.circuit, s_kva, u)
        g, _ = factors(self.circuit.law, np.abs(u) / self.circuit.port_v)
        slopes[port] += _curve_slopes(u[port], self.circuit.port_v[port], g[port], bend)
        total = np.zeros(len(v) + 1, dtype=np.complex128)
        np.add.at(total, self.circuit.port_nodes[:, 0], current)
        np.subtract.at(total, self.circuit.port_nodes[:, 1], current)
        return self.circuit.y @ v - self.circuit.i_source - total[:-1], s_kva, slopes

    def factor(self, slopes: Float) -> linalg.SuperLU:
        """Newton's matrix ``Y - A·G·Aᵀ``, real and imaginary parts interleaved."""
        y = self.circuit.y.tocoo()
        ends = self.circuit.port_nodes
        at = [y.row, *(ends[:, k] for k in (0, 0, 1, 1))]
        to = [y.col, *(ends[:, k] for k in (0, 1, 0, 1))]
        own = np.stack([y.data.real, -y.data.imag, y.data.imag, y.data.real], axis=1)
        values = np.concatenate([own, -slopes, slopes, slopes, -slopes])
        row, column = np.concatenate(at), np.concatenate(to)
        inside = (row >= 0) & (column >= 0)
        row, column, values = 2 * row[inside], 2 * column[inside], values[inside]
        rows = np.stack([row, row, row + 1, row + 1], axis=1).ravel()
        columns = np.stack([column, column + 1, column, column + 1], axis=1).ravel()
        size = 2 * len(self.circuit.v_base)
        matrix = sparse.csc_matrix((values.ravel(), (rows, columns)), shape=(size, size))
        return linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A")


def _curve_slopes(u: Complex, rated: Float, g: Float, bend: Complex) -> Float:
    """(P, 4) what curves add to the slopes of port currents: the power moves with the port's own voltage.

    An inverter on several phases acts on their mean; that they move together is close enough for
    Newton's matrix.

    Args:
        u: complex (P,) voltages, V.
        rated: (P,) V.
        g: (P, 2) current factors of active and reactive power.
        bend: complex (P,) change of power with the voltage per unit, kVA.
    """
    along = u / np.abs(u)
    level = (bend.real * g[:, 0] - 1j * bend.imag * g[:, 1]) * along * (1000.0 / rated**2)
    by_re, by_im = level * along.real, level * along.imag
    return np.stack([by_re.real, by_im.real, by_re.imag, by_im.imag], axis=1)


def _real(values: Complex) -> Float:
    return np.ascontiguousarray(values).view(np.float64)


def _complex(values: Float) -> Complex:
    return values.view(np.complex128)
