"""Port powers: pseudo-measurements and readings of power merged, and what a port puts into its nodes.

A port's power is its merged expectation plus an error of known covariance. Pseudo-measurements and
readings of the same power are merged beforehand, so the estimator sees one independent error per
port; readings of several ports together correlate the errors of these ports alone.

A pseudo-measurement is a power at rated voltage. What the port's load law makes of it is taken at the
voltage of each iteration without its slope: the fixed point is the same, a voltage reading is not
taken as evidence about an assumed load through its law, and a law that bends at the edge of its range
cannot make the iteration circle around the bend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from gridflock.grid._flow import load_currents, port_voltages
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid.estimation._analysis import Vectors
from gridflock.units import Mask, Rows

LEAST_KVA = 1e-6
"""Smallest standard deviation of a power: an exactly known one keeps the algebra regular."""
LEAST_V = 1e-6
"""A port with less across it is dead."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Active or reactive powers of the ports, readings and pseudo-measurements together.

    Attributes:
        covariance: CSR (L, L) of the merged errors, kVA².
        root: CSC (L, L) with ``root·rootᵀ = covariance``.
        from_readings: (L,) what the readings contribute to the expectation, kVA.
        pseudo_weight: (L,) 1/σ² of the pseudo-measurements.
    """

    covariance: sparse.csr_matrix
    root: sparse.csc_matrix
    from_readings: Float
    pseudo_weight: Float

    def expectation(self, pseudo_kva: Float) -> Float:
        """(L,) expectation where the pseudo-measurements say ``pseudo_kva`` (L,)."""
        mean: Float = self.covariance @ (self.pseudo_weight * pseudo_kva) + self.from_readings
        return mean


def merge(sums: sparse.csr_matrix, value: Float, sigma: Float, pseudo_sigma: Float) -> Merged:
    """Merge readings of powers with pseudo-measurements (Gaussian conditioning).

    Args:
        sums: CSR (k, L) of ones: the ports of each reading.
        value: (k,) kW or kvar.
        sigma: (k,) its standard deviation.
        pseudo_sigma: (L,) that of the pseudo-measurements.
    """
    pseudo_weight = 1.0 / np.maximum(pseudo_sigma, LEAST_KVA) ** 2
    weight = 1.0 / np.maximum(sigma, LEAST_KVA) ** 2
    single = np.diff(sums.indptr) == 1
    alone = pseudo_weight + sums[single].T @ weight[single]
    if single.all():
        covariance = sparse.diags_array(1.0 / alone, format="csr")
        root = sparse.diags_array(1.0 / np.sqrt(alone), format="csc")
    else:
        covariance, root = _inverse(alone, sums[~single], weight[~single])
    covariance, root = sparse.csr_matrix(covariance), sparse.csc_matrix(root)
    return Merged(covariance, root, covariance @ (sums.T @ (weight * value)), pseudo_weight)


def _inverse(
    alone: Float, sums: sparse.csr_matrix, weight: Float
) -> tuple[sparse.csr_matrix, sparse.csc_matrix]:
    """Inverse of ``diag(alone) + sumsᵀ·weight·sums`` and its Cholesky factor, cluster by cluster."""
    together = (sums.T @ sums).tocsr()
    _, label = csgraph.connected_components(together, directed=False)
    by_label = np.argsort(label, kind="stable")
    sizes = np.bincount(label)
    begin = np.concatenate([[0], np.cumsum(sizes)])
    information = (sparse.diags_array(alone) + sums.T @ sparse.diags_array(weight) @ sums).tocsr()
    rows, columns, values, roots = [], [], [], []
    for size in np.unique(sizes):
        clusters = np.flatnonzero(sizes == size)
        member = by_label[begin[clusters][:, None] + np.arange(size)]
        r, c = np.repeat(member, size, axis=1), np.tile(member, (1, size))
        dense = np.asarray(information[r.ravel(), c.ravel()]).reshape(len(clusters), size, size)
        inverse = np.linalg.inv(dense)
        rows.append(r.ravel())
        columns.append(c.ravel())
        values.append(inverse.ravel())
        roots.append(np.linalg.cholesky(inverse).ravel())
    at = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(alone), len(alone))
    covariance = sparse.csr_matrix((np.concatenate(values), at), shape=shape)
    root = sparse.csc_matrix((np.concatenate(roots), at), shape=shape)
    root.eliminate_zeros()
    return covariance, root


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where powers enter: the network's load ports, then one port per injecting node.

    Attributes:
        nodes: (k, 2) nodes i and j; j = -1 is ground.
        live: (k,) both ends fed.
        loads: how many of them are load ports.
    """

    nodes: Rows
    live: Mask
    loads: int

    def across(self, v: Complex) -> Complex:
        """(k,) voltage across each, V."""
        ends = np.append(v, 0.0)[self.nodes]
        difference: Complex = ends[:, 0] - ends[:, 1]
        return difference

    def into_nodes(self, i: Complex, n: int) -> Complex:
        """(n,) sum at the nodes of what each puts into its first and takes from its second."""
        signed = np.concatenate([i, -i])
        rows = self.nodes.T.ravel()
        at = np.where(rows < 0, n, rows)
        total = np.bincount(at, signed.real, n + 1) + 1j * np.bincount(at, signed.imag, n + 1)
        return total[:n]


def places(network: Network, inject_kva: Complex) -> tuple[Places, Complex]:
    """Ports of loads and of the nodes that inject, and the fixed power of the latter."""
    at = np.flatnonzero(inject_kva)
    back = np.full(network.n, -1, dtype=np.int32)
    back[network.three_wire] = network.three_wire_next
    nodes = np.concatenate([network.load_nodes, np.stack([at, back[at]], axis=1)]).astype(np.int32)
    fed = np.append(network.topology.live, [True])  # ground counts as fed
    return Places(nodes, fed[nodes[:, 0]] & fed[nodes[:, 1]], len(network.loads)), inject_kva[at]


@dataclass(frozen=True, slots=True, eq=False)
class PortState:
    """All ports at one point. k ports, the first L of them loads.

    Attributes:
        s_kva: complex (k,) power.
        current: complex (k,) into the first node, A.
        beta: complex (k,) with ``di = beta·conj(du)`` at constant power.
        per_kw: complex (L,) current of one more kW, A/kW; one more kvar adds ``-1j`` times that.
        pseudo_kva: complex (L,) the pseudo-measurements at this voltage.
    """

    s_kva: Complex
    current: Complex
    beta: Complex
    per_kw: Complex
    pseudo_kva: Complex


def port_state(
    network: Network,
    where: Places,
    v: Complex,
    pseudo_kva: Complex,
    merged: tuple[Merged, Merged],
    fixed_kva: Complex,
    mu: Complex,
    held: Complex | None = None,
) -> PortState:
    """Evaluate all ports at voltages v and multipliers mu (n,), kVA per A.

    Where ``held`` (L,) is given it stands for what the load laws make of the pseudo-measurements.
    """
    u = where.across(v)
    there = where.live & (np.abs(u) > LEAST_V)
    u = np.where(there, u, 1.0)
    loads = where.loads
    per_kw = np.where(there[:loads], 1000.0 / np.conj(u[:loads]), 0.0)
    by_law = port_voltages(network, v) * np.conj(load_currents(network, pseudo_kva, v)) / 1000.0
    pseudo = by_law if held is None else held
    pull = np.conj(per_kw) * where.across(mu)[:loads]
    active, reactive = merged
    p = active.expectation(pseudo.real) + active.covariance @ pull.real
    # Re(conj(-1j·b)·mu) = Re(1j·conj(b)·mu) = -Im(conj(b)·mu)
    q = reactive.expectation(pseudo.imag) - reactive.covariance @ pull.imag
    s = np.where(there, np.concatenate([p + 1j * q, fixed_kva]), 0.0)
    current = (1000.0 * np.conj(s / u)).astype(np.complex128)
    return PortState(s, current, -current / np.conj(u), per_kw, pseudo)


def couplings(network: Network, where: Places, ports: PortState) -> tuple[Rows, Rows, Float]:
    """Row node, column node and 2×2 blocks (k, 4) of the ports' part of J, per unit."""
    beta = ports.beta
    block = np.stack([beta.real, beta.imag, beta.imag, -beta.real], axis=1)
    rows, columns, blocks = [], [], []
    for a in (0, 1):
        for b in (0, 1):
            kept = (where.nodes[:, a] >= 0) & (where.nodes[:, b] >= 0) & where.live
            r, c = where.nodes[kept, a], where.nodes[kept, b]
            sign = -1.0 if a == b else 1.0
            scale = sign * network.v_base[r] * network.v_base[c] / 1000.0
            rows.append(r)
            columns.append(c)
            blocks.append(scale[:, None] * block[kept])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(blocks)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Structure of sparse vectors over nodes that stand for combinations of port powers.

    Attributes:
        start: (k+1,) first entry of each.
        node: of each entry.
        port: of each entry.
        factor: signed share of the port times the scale of its node.
    """

    start: Rows
    node: Rows
    port: Rows
    factor: Float

    def vectors(self, per_unit: Complex) -> Vectors:
        """The vectors, where one kVA of a port puts ``per_unit`` (L,) ampere into its first node."""
        return Vectors(self.start, self.node, self.factor * per_unit[self.port])


def spread(network: Network, where: Places, combination: sparse.csc_matrix) -> Spread:
    """Vectors over nodes for the columns of a matrix (L, k) of shares of ports."""
    kept = sparse.csc_matrix(combination)
    column = np.repeat(np.arange(kept.shape[1]), np.diff(kept.indptr))
    port = np.repeat(kept.indices, 2)
    node = where.nodes[kept.indices].ravel()
    sign = np.tile([1.0, -1.0], len(kept.indices))
    used = (node >= 0) & where.live[port]
    scale = np.append(network.v_base, 0.0)[node] / 1000.0
    start = np.zeros(kept.shape[1] + 1, dtype=np.int32)
    start[1:] = np.cumsum(np.bincount(np.repeat(column, 2)[used], minlength=kept.shape[1]))
    share = np.repeat(kept.data, 2)
    return Spread(
        start, node[used].astype(np.int32), port[used].astype(np.int32), (share * sign * scale)[used]
    )


def adjoint(where: Places, ports: PortState, mu: Complex) -> Complex:
    """(k,) transposed derivative of each port's current applied to the multipliers across it."""
    back: Complex = ports.beta * np.conj(where.across(mu))
    return back
