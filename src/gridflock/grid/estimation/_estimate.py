"""The estimate: what the readings, the pseudo-measurements and the network say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import sparse

from gridflock.grid._admittance import Admittance, admittance
from gridflock.grid._flow import RESIDUAL_LIMIT_KVA, Flow, load_currents, port_voltages
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._state import ControlState
from gridflock.grid.estimation._analysis import Analysis, analyse
from gridflock.grid.estimation._fit import (
    Fit,
    Point,
    Problem,
    fit,
    imbalance,
    source_voltages,
    weigh,
)
from gridflock.grid.estimation._measurements import (
    PORT_POWERS,
    Ageing,
    Measurements,
    Screened,
    aged,
    screen,
)
from gridflock.grid.estimation._naming import to_name
from gridflock.grid.estimation._ports import places
from gridflock.grid.estimation._sensors import linked, sensors
from gridflock.grid.estimation._suspects import Judged, judge, node_knowledge, port_knowledge
from gridflock.model import Rejected
from gridflock.units import Codes, Mask, Rows

FALSE_ALARM = 0.002
"""Probability that an estimate of good readings names any of them."""
AGREES = 3.0
"""A named reading within this many standard deviations of what the others say is taken back."""
MOST_ROUNDS = 20
"""After this many rounds of naming bad readings the search ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Pseudo:
    """Pseudo-measurements: what is assumed of every port before anybody reads it.

    Attributes:
        load_kva: complex (L,) expected power at rated voltage, house sign; the load law applies.
        sigma_kva: complex (L,) standard deviation of the active (real) and reactive (imaginary) part.
    """

    load_kva: Complex
    sigma_kva: Complex

    @classmethod
    def shares(cls, load_kva: Complex, share: float = 0.5, least: float = 0.02) -> Pseudo:
        """Standard deviations as a share of each part, at least ``least`` of the apparent power."""
        floor = least * np.abs(load_kva)
        p = np.maximum(share * np.abs(load_kva.real), floor)
        q = np.maximum(share * np.abs(load_kva.imag), floor)
        return cls(load_kva, p + 1j * q)


@dataclass(frozen=True, slots=True)
class BadReading:
    """A reading that contradicts the others; it was left out of the estimate.

    Attributes:
        id: its name.
        row: its row among the measurements.
        value: what it said, V, kW, kvar or A.
        expected: what the others say, same unit.
        normalised: its normalised residual when it was named, in standard deviations.
    """

    id: str
    row: int
    value: float
    expected: float
    normalised: float


def rated_kva(network: Network, v: Complex, load_kva: Complex) -> Complex:
    """Powers at rated voltage (L,) of ports that draw given powers at voltages v; 0 at dead ones.

    Args:
        network: the feeder.
        v: complex (n,) node voltages, V.
        load_kva: complex (L,) actual powers, house sign.
    """
    unit = np.full(len(network.loads), 1.0 + 1.0j)
    law = port_voltages(network, v) * np.conj(load_currents(network, unit, v)) / 1000.0
    p = np.divide(load_kva.real, law.real, out=np.zeros(len(unit)), where=law.real > 0.0)
    q = np.divide(load_kva.imag, law.imag, out=np.zeros(len(unit)), where=law.imag > 0.0)
    return p + 1j * q


@dataclass(frozen=True, slots=True, eq=False)
class StateEstimate:
    """The most likely state of a feeder. n nodes, L ports, m measurements.

    Attributes:
        network: the feeder; with uncertain sources, its version with the estimated source voltages.
        state: taps and capacitors.
        v: complex (n,) node voltages, V.
        load_kva: complex (L,) actual port powers, house sign.
        inject_kva: complex (n,) the injections that were taken as known.
        sigma_v_pu: (n,) standard deviation of the voltage magnitudes; where nothing leads to ground, of
            the voltage to the next phase over √3.
        sigma_kva: complex (L,) standard deviation of the port powers, active and reactive part.
        node_known: (n,) ``Known``: what each voltage rests on.
        port_known: (L, 2) ``Known`` of active and reactive power.
        expected: (m,) what each measurement should have read; NaN where it was unusable.
        redundancy: (m,) share of each reading's variance that others account for; NaN out of use.
        normalised: (m,) normalised residuals; NaN out of use or critical.
        threshold: limit of the normalised residuals.
        bad: readings that were named and left out, in the order of discovery.
        rejected: impossible measurements, counted by rule.
        missing: measurements without a value.
        chi_square: weighted sum of squares of readings and pseudo-measurements.
        freedom: its expectation when all is as assumed: the number of readings in use.
        iterations: Gauss-Newton steps of the last fit.
        residual_kva: largest miss of Kirchhoff's current law at a node, times its voltage.
        converged: only then is the rest an answer.
    """

    network: Network
    state: ControlState
    v: Complex
    load_kva: Complex
    inject_kva: Complex
    sigma_v_pu: Float
    sigma_kva: Complex
    node_known: Codes
    port_known: Codes
    expected: Float
    redundancy: Float
    normalised: Float
    threshold: float
    bad: tuple[BadReading, ...]
    rejected: tuple[Rejected, ...]
    missing: int
    chi_square: float
    freedom: int
    iterations: int
    residual_kva: float
    converged: bool

    @property
    def v_pu(self) -> Float:
        """(n,) voltage magnitude per unit of the nominal line-to-neutral voltage."""
        magnitude: Float = np.abs(self.v) / self.network.v_base
        return magnitude

    def flow(self) -> Flow:
        """The same operating point as a flow, its loads referred to rated voltage."""
        net = self.network
        rated = rated_kva(net, self.v, self.load_kva)
        return Flow(
            net,
            self.state,
            rated,
            self.inject_kva,
            self.v,
            self.iterations,
            self.residual_kva,
            self.converged,
        )


def estimate_state(
    network: Network,
    state: ControlState,
    pseudo: Pseudo,
    given: Measurements | Sequence[Measurements],
    now_s: int,
    *,
    inject_kva: Complex | None = None,
    source_sigma_pu: float = 0.0,
    ageing: Ageing | None = None,
    start: Complex | None = None,
    false_alarm: float = FALSE_ALARM,
) -> StateEstimate:
    """Estimate the state of a feeder.

    Args:
        network: the feeder.
        state: taps and capacitors.
        pseudo: pseudo-measurements of every port.
        given: measurements, in any order.
        now_s: the present, unix seconds.
        inject_kva: complex (n,) known injections, house sign; at a three-wire bus between that phase
            and the next. None: nothing.
        source_sigma_pu: standard deviation of the sources' voltages; 0 takes them as exact.
        ageing: how late readings lose weight.
        start: complex (n,) voltages to start from, V.
        false_alarm: probability of naming any reading when all are good.

    Returns:
        The estimate; look at ``converged``.

    Raises:
        numpy.linalg.LinAlgError: the network is singular.
    """
    if not isinstance(given, Measurements):
        given = Measurements.joined(given)
    inject = np.zeros(network.n, dtype=np.complex128) if inject_kva is None else inject_kva
    screened = screen(network, given, now_s)
    sigma = aged(network, given, screened.placed, pseudo.sigma_kva, now_s, ageing or Ageing())
    problem = _problem(network, state, pseudo, given, screened, inject, source_sigma_pu)
    v = problem.matrix.v_idle if start is None else start
    point = Point(v, np.zeros(network.n, dtype=np.complex128))
    used = screened.usable.copy()
    fitted, judged = _fitted(problem, used, sigma, point, false_alarm)
    named: dict[int, float] = {}
    for _ in range(MOST_ROUNDS):
        worst = to_name(problem, fitted, judged) if fitted.converged else []
        if not worst:
            break
        named |= {row: float(judged.normalised[row]) for row in worst}
        used[worst] = False
        fitted, judged = _fitted(problem, used, sigma, fitted.point, false_alarm)
    cleared = _cleared(given, judged, sigma, list(named))
    if cleared and fitted.converged:
        used[cleared] = True
        named = {row: size for row, size in named.items() if row not in cleared}
        fitted, judged = _fitted(problem, used, sigma, fitted.point, false_alarm)
    return _result(problem, state, inject, screened, used, sigma, named, fitted, judged)


def _fitted(
    problem: Problem, used: Mask, sigma: Float, start: Point, false_alarm: float
) -> tuple[Fit, Judged]:
    fitted = fit(problem, weigh(problem, used, sigma), start)
    judged = judge(problem, fitted, used, sigma, false_alarm) if fitted is not None else None
    if fitted is None or judged is None:
        raise np.linalg.LinAlgError("the estimator's matrix is singular")
    return fitted, judged


def _cleared(given: Measurements, judged: Judged, sigma: Float, named: list[int]) -> list[int]:
    """Named readings that agree with the estimate now that the others named are out."""
    if len(named) < 2:
        return []
    miss = np.abs(given.value[named] - judged.expected[named])
    agree = miss <= AGREES * np.hypot(sigma[named], judged.sure.reading[named])
    return [row for row, fine in zip(named, agree, strict=True) if fine]


def _problem(
    network: Network,
    state: ControlState,
    pseudo: Pseudo,
    given: Measurements,
    screened: Screened,
    inject_kva: Complex,
    source_sigma_pu: float,
) -> Problem:
    matrix = admittance(network, state)
    sensor = sensors(network, matrix, given, screened.placed)
    where, fixed = places(network, inject_kva)
    power = np.isin(given.quantity, PORT_POWERS) & screened.placed
    entries = power[given.owner]
    shape = (len(given), len(network.loads))
    at = (given.owner[entries], given.row[entries])
    sums = sparse.csr_matrix((np.ones(len(at[0])), at), shape=shape)
    busy = np.zeros(network.n, dtype=np.bool_)
    for nodes in (where.nodes.ravel(), sensor.node, network.source_nodes):
        busy[nodes[nodes >= 0]] = True
    floating = np.stack([network.three_wire, network.three_wire_next], axis=1)
    links = np.concatenate([where.nodes, floating, linked(sensor), _summed_links(sums, where.nodes)])
    links = links[(links >= 0).all(axis=1)].astype(np.int32)
    analysis = _analysis(network, matrix, busy.tobytes(), np.unique(links, axis=0).tobytes())
    return Problem(
        network, matrix, sparse.csr_matrix(matrix.y.conj().T), analysis, given, sensor, where, sums,
        pseudo.load_kva, pseudo.sigma_kva, fixed, source_sigma_pu,
    )  # fmt: skip


@lru_cache(maxsize=8)
def _analysis(network: Network, matrix: Admittance, busy: bytes, links: bytes) -> Analysis:
    """The analysis of a control state and set of places, made once."""
    pairs = np.frombuffer(links, dtype=np.int32).reshape(-1, 2)
    return analyse(network, matrix, np.frombuffer(busy, dtype=np.bool_), pairs)


def _summed_links(sums: sparse.csr_matrix, nodes: Rows) -> Rows:
    """(k, 2) pairs of nodes of ports that are read together."""
    several = sums[np.diff(sums.indptr) > 1]
    together = sparse.coo_matrix(several.T @ several)
    apart = together.row < together.col
    first, second = nodes[together.row[apart]], nodes[together.col[apart]]
    pairs = [np.stack([first[:, a], second[:, b]], axis=1) for a in (0, 1) for b in (0, 1)]
    every = np.concatenate(pairs)
    found: Rows = every[every[:, 0] != every[:, 1]]
    return found


def _result(
    problem: Problem,
    state: ControlState,
    inject_kva: Complex,
    screened: Screened,
    used: Mask,
    sigma: Float,
    named: dict[int, float],
    fitted: Fit,
    judged: Judged,
) -> StateEstimate:
    network, given = problem.network, problem.given
    v, ports = fitted.point.v, fitted.ports
    load_kva = ports.s_kva[: problem.where.loads]
    residual = float(np.abs(v * imbalance(problem, fitted.point, ports)).max(initial=0.0)) / 1000.0
    if problem.source_sigma_pu > 0.0:
        network = replace(network, source_v=source_voltages(problem, fitted.point.multiplier))
    bad = tuple(
        BadReading(given.ids[row], row, float(given.value[row]), float(judged.expected[row]), normalised)
        for row, normalised in named.items()
    )
    misses = (given.value - judged.expected)[used] / sigma[used]
    assumed = load_kva - ports.pseudo_kva
    pseudo = np.concatenate(
        [assumed.real / problem.pseudo_sigma_kva.real, assumed.imag / problem.pseudo_sigma_kva.imag]
    )
    p_sigma, q_sigma = judged.sure.kva
    return StateEstimate(
        network=network,
        state=state,
        v=v,
        load_kva=load_kva,
        inject_kva=inject_kva,
        sigma_v_pu=judged.sure.v_pu,
        sigma_kva=p_sigma + 1j * q_sigma,
        node_known=node_knowledge(problem, judged, used),
        port_known=port_knowledge(problem, judged, used),
        expected=np.where(screened.usable, judged.expected, np.nan),
        redundancy=judged.redundancy,
        normalised=judged.normalised,
        threshold=judged.threshold,
        bad=bad,
        rejected=screened.rejected,
        missing=screened.missing,
        chi_square=float(misses @ misses + pseudo @ pseudo),
        freedom=int(np.count_nonzero(used)),
        iterations=fitted.iterations,
        residual_kva=residual,
        converged=fitted.converged and residual <= RESIDUAL_LIMIT_KVA,
    )
