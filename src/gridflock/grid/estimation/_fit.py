"""Weighted least squares on the exact network equations, by Gauss-Newton.

Unknown are node voltages and the errors of the port powers; Kirchhoff's law at every node is an
equality with multipliers (the augmented form of Gjelsvik, Aam and Holten, "Hachtel's augmented matrix
method", IEEE Trans. PAS 104(11), 1985). The port errors leave by hand, so per node two rows of
voltage and two of balance remain, whatever is measured. At the solution the inverse's voltage part
is the covariance of the voltages, and minus its balance part says how much the measurements
sharpened the port powers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._admittance import Admittance
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid.estimation._analysis import Analysis, Factored, Vectors, factor
from gridflock.grid.estimation._measurements import Measurements, Quantity
from gridflock.grid.estimation._ports import (
    Merged,
    Places,
    PortState,
    Spread,
    adjoint,
    couplings,
    merge,
    port_state,
    spread,
)
from gridflock.grid.estimation._sensors import Sensors
from gridflock.units import Mask

MAX_ITERATIONS = 30
REFACTOR_PU = 1e-3
"""While steps are larger than this the matrix is formed anew."""
TOLERANCE_PU = 2e-7
"""Last step at which the iteration ends. Steps shrink tenfold and more; stiff feeders round off at 1e-7."""
SETTLING, CIRCLING = 6, 0.5
"""From this step on, steps that shrink by less than this factor tell of a load law that jumps at the
edge of its range (OpenDSS model 4 does): assumed loads then keep their present power."""
SLOW = 0.2
"""A step that shrinks by less than this factor asks for a new matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One network, control state, set of measurement places and pseudo-measurements.

    Attributes:
        network: the feeder.
        matrix: its admittance.
        y_adjoint: CSR conjugate transpose of the node admittance.
        analysis: elimination order and pattern.
        given: all measurements.
        sensor: those of voltage and flow.
        where: the ports.
        sums: CSR (m, L) ports of each measurement of port power; empty rows for the others.
        pseudo_kva: complex (L,) pseudo-measurements at rated voltage, house sign.
        pseudo_sigma_kva: complex (L,) standard deviation of the active and the reactive part.
        inject_kva: complex, fixed powers of the injecting nodes.
        source_sigma_pu: standard deviation of the sources' voltages.
    """

    network: Network
    matrix: Admittance
    y_adjoint: sparse.csr_matrix
    analysis: Analysis
    given: Measurements
    sensor: Sensors
    where: Places
    sums: sparse.csr_matrix
    pseudo_kva: Complex
    pseudo_sigma_kva: Complex
    inject_kva: Complex
    source_sigma_pu: float


class Point(NamedTuple):
    """Node voltages, V, and multipliers of the balances, 1/kVA."""

    v: Complex
    multiplier: Complex


class Weights(NamedTuple):
    """What the measurements in use amount to.

    Attributes:
        merged: active and reactive powers of the ports.
        roots: vectors over nodes of the merged errors, active and reactive.
        sensor_weight: (k,) 1/σ² of the sensors; 0 where out of use.
    """

    merged: tuple[Merged, Merged]
    roots: tuple[Spread, Spread]
    sensor_weight: Float


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The least-squares point of the measurements in use.

    Attributes:
        point: voltages and multipliers.
        ports: the ports there.
        weights: of the measurements.
        iterations: Gauss-Newton steps.
        converged: the last step was within tolerance and the equations hold.
    """

    point: Point
    ports: PortState
    weights: Weights
    iterations: int
    converged: bool


def weigh(problem: Problem, used: Mask, sigma: Float, vagueness: float = 1.0) -> Weights:
    """Merge the measurements in use.

    Args:
        problem: the problem.
        used: (m,) measurements to use.
        sigma: (m,) their standard deviations.
        vagueness: what the standard deviations of the pseudo-measurements are multiplied by.
    """
    given = problem.given
    merged = []
    for quantity, part in (
        (Quantity.PORT_KW, problem.pseudo_sigma_kva.real),
        (Quantity.PORT_KVAR, problem.pseudo_sigma_kva.imag),
    ):
        rows = np.flatnonzero(used & (given.quantity == quantity))
        merged.append(merge(problem.sums[rows], given.value[rows], sigma[rows], vagueness * part))
    roots = [spread(problem.network, problem.where, part.root) for part in merged]
    mine = problem.sensor.row
    weight = np.where(used[mine], 1.0 / sigma[mine] ** 2, 0.0)
    return Weights((merged[0], merged[1]), (roots[0], roots[1]), weight)


def fit(problem: Problem, weights: Weights, start: Point) -> Fit | None:
    """The least-squares point; None if the network is singular at the start."""
    point, ports = start, _ports(problem, weights, start)
    factored = linearise(problem, weights, point, ports)
    held: Complex | None = None
    step = before = np.inf
    iterations = 0
    with np.errstate(all="ignore"):
        while factored is not None and iterations < MAX_ITERATIONS:
            point, now = _step(problem, weights, point, ports, factored)
            before, step = step, now
            iterations += 1
            if held is None and iterations >= SETTLING and step > CIRCLING * before:
                held = ports.pseudo_kva
            ports = _ports(problem, weights, point, held)
            if step <= TOLERANCE_PU or not np.isfinite(step):
                break
            if step > REFACTOR_PU or step > SLOW * before:
                factored = linearise(problem, weights, point, ports)
    if factored is None:
        return None
    return Fit(point, ports, weights, iterations, bool(step <= TOLERANCE_PU))


def linearise(problem: Problem, weights: Weights, point: Point, ports: PortState) -> Factored | None:
    """The factored matrix at a point."""
    net = problem.network
    p, q = (weights.roots[k].vectors(turn * ports.per_kw) for k, turn in ((0, 1.0), (1, -1j)))
    source = source_vectors(problem)
    covariance = _chained((p, q, source))
    ones = np.ones(len(covariance.start) - 1)
    h = problem.sensor.derivatives(point.v, net.v_base)
    return factor(
        problem.analysis, couplings(net, problem.where, ports), (h, weights.sensor_weight), (covariance, ones)
    )


def _chained(parts: tuple[Vectors, ...]) -> Vectors:
    offsets = np.cumsum([0, *(part.start[-1] for part in parts)])
    start = np.concatenate([[0], *(part.start[1:] + o for part, o in zip(parts, offsets, strict=False))])
    value = np.concatenate([part.value for part in parts])
    return Vectors(start.astype(np.int32), np.concatenate([part.node for part in parts]), value)


def source_vectors(problem: Problem) -> Vectors:
    """Balance vectors of one standard deviation of each source conductor's voltage."""
    net = problem.network
    sigma = problem.source_sigma_pu
    count = len(net.source_nodes) if sigma > 0.0 else 0
    at = net.source_nodes
    columns = sigma * net.source_y * net.source_v
    scaled = (net.v_base[at, None] / 1000.0 * columns).T[:count]
    start = np.arange(count + 1, dtype=np.int32) * len(at)
    return Vectors(start.astype(np.int32), np.tile(at, count), np.ascontiguousarray(scaled.ravel()))


def source_voltages(problem: Problem, multiplier: Complex) -> Complex:
    """Voltages behind the source impedances that fit best, V."""
    net = problem.network
    vectors = source_vectors(problem)
    if not len(vectors.value):
        return net.source_v
    pull = (np.conj(vectors.value) * multiplier[vectors.node]).real.reshape(-1, len(net.source_nodes))
    moved: Complex = net.source_v * (1.0 + problem.source_sigma_pu * pull.sum(axis=1))
    return moved


def _ports(problem: Problem, weights: Weights, point: Point, held: Complex | None = None) -> PortState:
    net = problem.network
    mu = net.v_base / 1000.0 * point.multiplier
    return port_state(
        net, problem.where, point.v, problem.pseudo_kva, weights.merged, problem.inject_kva, mu, held
    )


def _step(
    problem: Problem, weights: Weights, point: Point, ports: PortState, factored: Factored
) -> tuple[Point, float]:
    """One step towards zero gradient and zero imbalance, and its largest change of voltage, pu."""
    net, where = problem.network, problem.where
    scale = net.v_base
    balance = scale / 1000.0 * imbalance(problem, point, ports)
    mu = scale / 1000.0 * point.multiplier
    gradient = scale * (problem.y_adjoint @ mu - where.into_nodes(adjoint(where, ports, mu), net.n))
    h = problem.sensor.derivatives(point.v, scale)
    miss = problem.given.value[problem.sensor.row] - problem.sensor.values(point.v)
    pull = np.repeat(
        np.where(weights.sensor_weight > 0.0, weights.sensor_weight * miss, 0.0), np.diff(h.start)
    )
    gradient -= _summed(h.node, pull * h.value, net.n)
    dv, change = factored.solve(-gradient, -balance)
    new = Point(point.v + scale * dv, point.multiplier + change)
    return new, float(np.abs(dv).max(initial=0.0))


def imbalance(problem: Problem, point: Point, ports: PortState) -> Complex:
    """(n,) current that Kirchhoff's law misses at each node, A."""
    net = problem.network
    source = problem.matrix.i_source.copy()
    moved = source_voltages(problem, point.multiplier) - net.source_v
    source += _summed(net.source_nodes, net.source_y @ moved, net.n)
    missed: Complex = problem.matrix.y @ point.v - source - problem.where.into_nodes(ports.current, net.n)
    return missed


def _summed(node: NDArray[np.int32], value: Complex, n: int) -> Complex:
    total: Complex = np.bincount(node, value.real, n) + 1j * np.bincount(node, value.imag, n)
    return total
