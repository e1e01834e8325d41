"""The node admittance matrix and its factor, once per control state.

Every element is a dense primitive block over its conductors (Dugan's primitive admittance of
OpenDSS; Kersting, *Distribution System Modeling and Analysis*, ch. 6-8). Moving a tap by its factor
a divides the rows and columns of that end's conductors by a, which is exact for any winding block.

The matrix falls into the islands that are fed; each is factored by itself (``_island``) and its
factor kept as long as its own positions stay, whatever is switched elsewhere. A conductor of a live
element that is itself dead carries no current: it is eliminated from the element's block, as an
open phase is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._island import IslandFactor, Pattern, factor_of, pattern_of, rows_by_island
from gridflock.grid._network import Blocks, Complex, Float, Network
from gridflock.grid._state import ControlState, initial
from gridflock.units import Mask

if TYPE_CHECKING:
    from gridflock.grid.build._document import Faults

KEPT = 64
"""Control states whose factors are kept per network, and per island; the oldest go first."""


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The factored matrix: one factor per live island; dead nodes are the identity.

    Attributes:
        n: rows.
        islands: the factors.
    """

    n: int
    islands: tuple[IslandFactor, ...]

    def solve(self, rhs: Complex, trans: str = "N") -> Complex:
        """``Y⁻¹·rhs`` (``trans`` ``"T"``, ``"H"``: of the transposed, the conjugate transposed).

        Args:
            rhs: complex (n,) or (n, k); more than 16 columns at once are slower each.
            trans: as in SciPy's ``SuperLU.solve``.
        """
        if len(self.islands) == 1 and len(self.islands[0].nodes) == self.n:
            whole: Complex = self.islands[0].lu.solve(rhs, trans)
            return whole
        found = np.array(rhs, dtype=np.complex128)
        for island in self.islands:
            found[island.nodes] = island.lu.solve(found[island.nodes], trans)
        return found


@dataclass(frozen=True, eq=False)
class Admittance:
    """One control state of one network, ready to solve.

    Attributes:
        network: the version.
        state: the control state.
        i_source: (n,) Norton current of the sources, A.
        v_idle: (n,) voltages with every port at zero current, V.
        lu: sparse factor of ``y``. On a feeder of a few hundred nodes its two triangular solves
            cost 20 µs, half of what evaluating the loads costs; a dense inverse saves little per
            solve and costs milliseconds at every tap change.
    """

    network: Network
    state: ControlState
    i_source: Complex
    v_idle: Complex
    lu: Factor

    @cached_property
    def y(self) -> sparse.csc_matrix:
        """CSC complex (n, n) node admittance without loads, sources included; the identity at dead nodes."""
        islands, n = self.lu.islands, self.lu.n
        if len(islands) == 1 and len(islands[0].nodes) == n:
            return islands[0].y
        dead = np.flatnonzero(~self.network.topology.live)
        columns = np.concatenate([*(i.nodes[_columns(i.y)] for i in islands), dead])
        rows = np.concatenate([*(i.nodes[i.y.indices] for i in islands), dead])
        values = np.concatenate([*(i.y.data for i in islands), np.ones(len(dead))])
        return sparse.csc_matrix((values, (rows, columns)), shape=(n, n))

    @cached_property
    def to_currents(self) -> sparse.csr_matrix:
        """CSR complex (c, n): node voltages to the current into each branch at each of its conductors, A."""
        blocks = self.network.branch_blocks
        row, column = blocks.pairs()
        values = branch_values(self.network, self.state.taps)
        used = (blocks.node[column] >= 0) & (values != 0)
        starts = np.concatenate([[0], np.cumsum(np.bincount(row[used], minlength=len(blocks.node)))])
        return sparse.csr_matrix(
            (values[used], blocks.node[column[used]], starts), shape=(len(blocks.node), self.network.n)
        )

    def voltages(self, i_ports: Complex) -> Complex:
        """Node voltages (n,) for injected port currents (n,), by superposition on the idle state."""
        v: Complex = self.v_idle + self.lu.solve(i_ports)
        return v


def _columns(matrix: sparse.csc_matrix) -> NDArray[np.int64]:
    return np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))


def admittance(network: Network, state: ControlState) -> Admittance:
    """The factored admittance of a control state, from the network's cache where it is known.

    Raises:
        numpy.linalg.LinAlgError: the network is singular at this state.
    """
    key = (state.taps.tobytes(), state.cap_on.tobytes())
    kept = network.factors
    if key not in kept:
        _put(kept, key, _factored(network, state), KEPT)
    found: Admittance = kept[key]
    return found


def _put(kept: dict[Any, Any], key: object, value: object, most: int) -> None:
    """Keep a value, and forget the oldest beyond the limit."""
    while len(kept) >= most:
        kept.pop(next(iter(kept)))
    kept[key] = value


def _factored(network: Network, state: ControlState) -> Admittance:
    islands = tuple(_island_factor(network, pattern, state) for pattern in _patterns(network))
    i_source = np.zeros(network.n, dtype=np.complex128)
    np.add.at(i_source, network.source_nodes, network.source_y @ network.source_v)
    v_idle = np.zeros(network.n, dtype=np.complex128)
    for island in islands:
        v_idle[island.nodes] = island.v_idle
    return Admittance(network, state, i_source, v_idle, Factor(network.n, islands))


def _patterns(network: Network) -> list[Pattern]:
    """The pattern of each live island, known ones by their positions."""
    kept, most = network.wiring.patterns, 4 * network.topology.islands_live + 16
    branches, shunts = cut_values(network)
    found = []
    for island in rows_by_island(network):
        key = island.key()
        if key not in kept:
            _put(kept, key, pattern_of(network, island, branches, shunts), most)
        found.append(kept[key])
    return found


def _island_factor(network: Network, pattern: Pattern, state: ControlState) -> IslandFactor:
    key = (pattern.key, state.taps[pattern.regulators].tobytes(), state.cap_on[pattern.capacitors].tobytes())
    kept = network.wiring.factored
    if key not in kept:
        taken = tap_factors(network, state.taps)
        found = factor_of(pattern, taken, fitted_shunts(network, state.cap_on))
        _put(kept, key, found, KEPT * max(1, network.topology.islands_live))
    factor: IslandFactor = kept[key]
    return factor


def tap_factors(network: Network, taps: NDArray[np.int8]) -> Float:
    """(c,) what each branch conductor's row and column are multiplied by: 1/(1 + step·tap) at tapped ends."""
    blocks, reg = network.branch_blocks, network.regulators
    factors = np.ones(len(blocks.node))
    for branch, end, step, tap in zip(reg.branch, reg.end, reg.step_pu, taps, strict=True):
        own = slice(int(blocks.start[branch]), int(blocks.start[branch + 1]))
        factors[own] = np.where(
            blocks.end[own] == end, factors[own] / (1.0 + step * float(tap)), factors[own]
        )
    return factors


def fitted_shunts(network: Network, cap_on: NDArray[np.bool_]) -> Mask:
    """(s,) shunts that are switched in and in service."""
    fitted = ~network.shunt_out
    fitted[network.capacitors.shunt] &= cap_on
    return fitted


def branch_values(network: Network, taps: NDArray[np.int8]) -> Complex:
    """Values of all branch blocks at given taps, zero where open or dead, S."""
    blocks = network.branch_blocks
    row, column = blocks.pairs()
    factors = tap_factors(network, taps)
    values: Complex = cut_values(network)[0] * (factors[row] * factors[column])
    values[~network.topology.branch_live[blocks.owner[row]]] = 0.0
    return values


def cut_values(network: Network) -> tuple[Complex, Complex]:
    """Values of branch and of shunt blocks, the dead conductors of live elements eliminated, S."""
    return (
        _without_dead(network.branch_blocks, network.topology.live),
        _without_dead(network.shunt_blocks, network.topology.live),
    )


def _without_dead(blocks: Blocks, live: Mask) -> Complex:
    """Values of the blocks; where some conductors are dead, what is left if these carry no current.

    ``Y_LL - Y_LD·Y_DD⁺·Y_DL`` over the live conductors L and the dead ones D, zero elsewhere (Kron);
    the pseudo-inverse because a line's two ends float together.
    """
    dead = (blocks.node >= 0) & ~np.append(live, False)[blocks.node]
    if not dead.any():
        return blocks.y
    count = np.bincount(blocks.owner[dead], minlength=len(blocks.sizes))
    grounds = np.bincount(blocks.owner[blocks.node < 0], minlength=len(blocks.sizes))
    mixed = (count > 0) & (count + grounds < blocks.sizes)
    values = blocks.y.copy()
    for size in np.unique(blocks.sizes[mixed]).tolist():
        rows = np.flatnonzero(mixed & (blocks.sizes == size))
        at = blocks.y_start[rows][:, None] + np.arange(size * size)
        out = dead[blocks.start[rows][:, None] + np.arange(size)]
        for pattern in np.unique(out, axis=0):
            same = (out == pattern).all(axis=1)
            cut = _eliminated(blocks.y[at[same]].reshape(-1, size, size), pattern)
            values[at[same]] = cut.reshape(-1, size * size)
    return values


def _eliminated(y: Complex, out: Mask) -> Complex:
    """Blocks (r, k, k) with the conductors ``out`` (k,) eliminated, their rows and columns zero."""
    kept, gone = np.flatnonzero(~out), np.flatnonzero(out)
    found = np.zeros_like(y)
    across = y[:, kept[:, None], gone] @ np.linalg.pinv(y[:, gone[:, None], gone], rcond=1e-10)
    found[:, kept[:, None], kept] = y[:, kept[:, None], kept] - across @ y[:, gone[:, None], kept]
    return found


def idle_voltages(network: Network, faults: Faults) -> Complex:
    """(n,) voltages without any load; a singular network becomes a fault that names a node."""
    try:
        found = admittance(network, initial(network))
    except np.linalg.LinAlgError as error:
        faults.add("feeder", network.name, "topology", str(error))
        return np.ones(network.n, dtype=np.complex128)
    for reason in irregular(network, found.lu.islands):
        faults.add("feeder", network.name, "topology", reason)
    return found.v_idle


def irregular(network: Network, islands: Sequence[IslandFactor]) -> list[str]:
    """In words, which islands cannot be solved."""
    return [
        f"the network is singular: look at node {network.node_name(island.weakest)}, "
        "nothing ties it and what hangs with it to ground or a source"
        for island in islands
        if not island.regular
    ]
