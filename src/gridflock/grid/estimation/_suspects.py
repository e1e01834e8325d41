"""How sure an estimate is, what the readings rest on, and which of them cannot be right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from gridflock.grid._network import Complex, Float, Network
from gridflock.grid.estimation._analysis import Factored, Inverse, Vectors
from gridflock.grid.estimation._fit import Fit, Problem, Weights, linearise, weigh
from gridflock.grid.estimation._measurements import PORT_POWERS, VOLTAGES, Quantity
from gridflock.grid.estimation._ports import spread
from gridflock.units import Codes, Mask, Rows

VAGUE = 10.0
"""What is known from readings stays known when pseudo-measurements are this many times vaguer."""
SAME = 2.0
"""By at most this factor may the standard deviation grow then."""
KNOWN_PU = 1e-3
"""A voltage this sure with vague pseudo-measurements rests on readings and the network alone."""
CRITICAL = 0.01
"""A reading whose redundancy is below this is critical: the others predict it no better than within ten
times its own standard deviation, so its residual says little about it."""


class Known(IntEnum):
    """What the knowledge of a voltage or a power rests on."""

    ASSUMED = 0
    """On pseudo-measurements."""
    IMPLIED = 1
    """On readings elsewhere and the network."""
    READ = 2
    """On a reading of its own."""
    DEAD = 3
    """Nothing feeds it: zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Sureness:
    """Standard deviations at the solution.

    Attributes:
        v_pu: (n,) of the voltage magnitudes; where nothing leads to ground, of the voltage to the next
            phase over √3, as the potential of the whole is a matter of stray admittances.
        kva: complex (L,) of the port powers, active and reactive part.
        reading: (m,) of what each measurement measures, its own unit.
    """

    v_pu: Float
    kva: tuple[Float, Float]
    reading: Float


def sureness(problem: Problem, fitted: Fit, weights: Weights, factored: Factored) -> Sureness:
    """Posterior standard deviations of voltages, port powers and measured quantities.

    They come from the selected inverse, but for flows in branches: across a small impedance a flow is a
    large multiple of a small difference, which the inverse's blocks do not resolve; one solution each does.
    """
    inverse = factored.inverse()
    net, v = problem.network, fitted.point.v
    v_pu = _root(inverse.voltage_variance(_magnitudes(net, v)))
    reading = np.full(len(problem.given), np.nan)
    h = problem.sensor.derivatives(v, net.v_base)
    variance = inverse.voltage_variance(h)
    for sensor in np.flatnonzero(~np.isin(problem.sensor.quantity, VOLTAGES)):
        dv, _ = respond(problem, factored, h, int(sensor))
        own = slice(int(h.start[sensor]), int(h.start[sensor + 1]))
        variance[sensor] = (np.conj(h.value[own]) * dv[h.node[own]]).real.sum()
    reading[problem.sensor.row] = _root(variance)
    kva = []
    identity = sparse.identity(problem.where.loads, format="csr")
    for k, quantity in enumerate(PORT_POWERS):
        kva.append(_power_sigma(problem, fitted, weights, inverse, k, identity))
        rows = np.flatnonzero(problem.given.quantity == quantity)
        reading[rows] = _power_sigma(problem, fitted, weights, inverse, k, problem.sums[rows])
    return Sureness(v_pu, (kva[0], kva[1]), reading)


def respond(problem: Problem, factored: Factored, h: Vectors, sensor: int) -> tuple[Complex, Complex]:
    """Covariance (n,) of the voltages, pu, and of the multipliers with what one sensor measures."""
    own = slice(int(h.start[sensor]), int(h.start[sensor + 1]))
    nothing = np.zeros(problem.network.n, dtype=np.complex128)
    return factored.solve(dense(h.node[own], h.value[own], problem.network.n), nothing)


def dense(node: Rows, value: Complex, n: int) -> Complex:
    """(n,) sums of values by node."""
    total = np.zeros(n, dtype=np.complex128)
    np.add.at(total, node, value)
    return total


def _magnitudes(network: Network, v: Complex) -> Vectors:
    """Vectors of the voltage magnitudes of all nodes, as ``Sureness.v_pu`` means them."""
    back = np.full(network.n, -1)
    back[network.three_wire] = network.three_wire_next
    floating = back >= 0
    u = v - np.where(floating, v[back], 0.0)
    way = u / np.where(u != 0.0, np.abs(u), 1.0)
    way = np.where(floating, way / np.sqrt(3.0), way)
    counts = 1 + floating
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    node, value = np.empty(start[-1], dtype=np.int32), np.empty(start[-1], dtype=np.complex128)
    node[start[:-1]], value[start[:-1]] = np.arange(network.n), way
    second = start[1:][floating] - 1
    node[second], value[second] = back[floating], -way[floating]
    return Vectors(start, node, value)


def _root(variance: Float) -> Float:
    sigma: Float = np.sqrt(np.maximum(variance, 0.0))
    return sigma


def _power_sigma(
    problem: Problem, fitted: Fit, weights: Weights, inverse: Inverse, part: int, sums: sparse.csr_matrix
) -> Float:
    """Posterior standard deviation of sums (k, L) of active (0) or reactive (1) port powers."""
    merged = weights.merged[part]
    turn = (1.0, -1j)[part]
    shares = sparse.csc_matrix(merged.covariance @ sums.T)
    before = np.asarray(sums.multiply(shares.T).sum(axis=1)).ravel()
    vectors = spread(problem.network, problem.where, shares).vectors(turn * fitted.ports.per_kw)
    return _root(before - inverse.multiplier_variance(vectors))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The measurements in use against the estimate.

    Attributes:
        sure: standard deviations.
        vague: the same with pseudo-measurements ``VAGUE`` times vaguer.
        expected: (m,) what each measurement should read.
        redundancy: (m,) share of its variance that other readings account for: 0 nobody checks it,
            1 it adds nothing; NaN out of use.
        residual_sigma: (m,) standard deviation of the residuals; NaN out of use or critical.
        normalised: (m,) residual over its standard deviation; NaN out of use or critical.
        threshold: beyond this a normalised residual means a bad reading.
        factored: the matrix at the estimate.
    """

    sure: Sureness
    vague: Sureness
    expected: Float
    redundancy: Float
    residual_sigma: Float
    normalised: Float
    threshold: float
    factored: Factored


def judge(problem: Problem, fitted: Fit, used: Mask, sigma: Float, false_alarm: float) -> Judged | None:
    """Normalised residuals of the measurements in use; None if the vaguer matrix is singular.

    Monticelli, *State Estimation in Electric Power Systems*, ch. 7 and 8. The covariance of the
    residuals is exact, from the selected inverse. The threshold is Bonferroni's: the probability of
    naming any of the tested readings when all are good is at most ``false_alarm``.
    """
    sures, matrices = [], []
    for weights in (fitted.weights, weigh(problem, used, sigma, VAGUE)):
        factored = linearise(problem, weights, fitted.point, fitted.ports)
        if factored is None:
            return None
        matrices.append(factored)
        sures.append(sureness(problem, fitted, weights, factored))
    sure, vague = sures
    expected = expectations(problem, fitted)
    sigma = np.where(used, sigma, np.nan)
    redundancy = np.maximum(1.0 - (vague.reading / sigma) ** 2, 0.0)
    tested = used & (redundancy >= CRITICAL)
    left = np.where(tested, sigma**2 - sure.reading**2, np.nan)
    residual_sigma = np.sqrt(np.where(left > 0.0, left, np.nan))
    normalised = (problem.given.value - expected) / residual_sigma
    count = max(int(np.count_nonzero(tested)), 1)
    threshold = float(-ndtri(false_alarm / (2 * count)))
    return Judged(sure, vague, expected, redundancy, residual_sigma, normalised, threshold, matrices[0])


def expectations(problem: Problem, fitted: Fit) -> Float:
    """(m,) what each measurement should read at the estimate."""
    expected = np.zeros(len(problem.given))
    expected[problem.sensor.row] = problem.sensor.values(fitted.point.v)
    s = fitted.ports.s_kva[: problem.where.loads]
    for quantity, part in ((Quantity.PORT_KW, s.real), (Quantity.PORT_KVAR, s.imag)):
        rows = np.flatnonzero(problem.given.quantity == quantity)
        expected[rows] = problem.sums[rows] @ part
    return expected


def node_knowledge(problem: Problem, judged: Judged, used: Mask) -> Codes:
    """(n,) ``Known`` of the node voltages."""
    sure, vague = judged.sure.v_pu, judged.vague.v_pu
    known = np.where((vague <= SAME * sure) | (vague <= KNOWN_PU), Known.IMPLIED, Known.ASSUMED)
    given = problem.given
    rows = np.flatnonzero(used & (given.quantity == Quantity.VOLTAGE))
    known[given.row[given.start[rows]]] = Known.READ
    known[~problem.network.topology.live] = Known.DEAD
    return known.astype(np.uint8)


def port_knowledge(problem: Problem, judged: Judged, used: Mask) -> Codes:
    """(L, 2) ``Known`` of the active and reactive port powers."""
    columns = []
    given = problem.given
    alone = np.diff(problem.sums.indptr) == 1
    for k, quantity in enumerate(PORT_POWERS):
        known = np.where(judged.vague.kva[k] <= SAME * judged.sure.kva[k], Known.IMPLIED, Known.ASSUMED)
        rows = np.flatnonzero(used & alone & (given.quantity == quantity))
        known[given.row[given.start[rows]]] = Known.READ
        known[~problem.where.live[: problem.where.loads]] = Known.DEAD
        columns.append(known)
    return np.stack(columns, axis=1).astype(np.uint8)
