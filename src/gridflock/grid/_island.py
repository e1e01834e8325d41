"""One fed island: where primitive values land in its matrix, and its factor at a control state.

The pattern is found once per set of positions (sorting costs more than factoring); a tap or a
capacitor only changes values. Both are remembered under what decides them, so that an island
nothing happened to keeps its factor from one network version to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from gridflock.grid._network import Blocks, Complex, Float, Network
from gridflock.units import Mask, Rows

REGULAR = 1e-9
"""A factor whose idle voltages miss the source current by more than this share is singular."""
PIVOT = 1e-12
"""A pivot below this share of its column is what rounding leaves of zero: something floats."""


@dataclass(frozen=True, slots=True, eq=False)
class IslandRows:
    """What stands in one live island, rows ascending.

    Attributes:
        nodes: live nodes.
        branches: live branches.
        shunts: shunts in service with a live conductor.
        sources: rows among the source conductors in service.
    """

    nodes: Rows
    branches: Rows
    shunts: Rows
    sources: Rows

    def key(self) -> bytes:
        """The same bytes for the same rows."""
        parts = (self.nodes, self.branches, self.shunts, self.sources)
        return b"|".join(np.asarray(part, dtype=np.int32).tobytes() for part in parts)


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Where the values of an island land.

    Attributes:
        key: what it was found for.
        nodes: (k,) live nodes.
        regulators: rows of those that tap a branch here.
        capacitors: rows of those that switch a shunt here.
        branch_y: branch values at neutral taps, S.
        branch_row: conductor of the row of each.
        branch_column: conductor of its column.
        shunt_y: shunt values, S.
        shunt_owner: shunt of each.
        source_y: source values, S.
        order: sorts branch, shunt and source values by column and row.
        starts: first of each entry of the matrix in that order.
        indices: row of each entry.
        indptr: first entry of each column.
        i_source: complex (k,) Norton current, A.
    """

    key: bytes
    nodes: Rows
    regulators: Rows
    capacitors: Rows
    branch_y: Complex
    branch_row: Rows
    branch_column: Rows
    shunt_y: Complex
    shunt_owner: Rows
    source_y: Complex
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    indices: Rows
    indptr: Rows
    i_source: Complex


@dataclass(frozen=True, slots=True, eq=False)
class IslandFactor:
    """One island at one control state.

    Attributes:
        nodes: (k,) live nodes.
        y: CSC complex (k, k).
        lu: its sparse factor.
        v_idle: complex (k,) voltages without any port, V.
        miss: by which share of the source current they miss it.
        pivot: smallest pivot over the largest value of its column.
        weakest: node row of that column.
    """

    nodes: Rows
    y: sparse.csc_matrix
    lu: linalg.SuperLU
    v_idle: Complex
    miss: float
    pivot: float
    weakest: int

    @property
    def regular(self) -> bool:
        """Whether its voltages can be believed."""
        return self.miss <= REGULAR and self.pivot >= PIVOT


def rows_by_island(network: Network) -> Iterator[IslandRows]:
    """The rows of each live island, in the order of their labels."""
    topology, count = network.topology, network.topology.islands_live
    nodes = np.where(topology.live, topology.island, -1)
    branches = np.where(topology.branch_live, _island_of(network, network.branch_blocks), -1)
    shunts = np.where(network.shunt_out, -1, _island_of(network, network.shunt_blocks))
    at_work = ~network.source_out[network.source_of]
    sources = np.where(at_work, topology.island[network.source_nodes], -1)
    split = [_split(label, count) for label in (nodes, branches, shunts, sources)]
    for rows in zip(*split, strict=True):
        yield IslandRows(*rows)


def _island_of(network: Network, blocks: Blocks) -> Rows:
    """Live island of each element; -1 where none of its conductors is live."""
    label = np.append(np.where(network.topology.live, network.topology.island, -1), -1)
    found = np.full(len(blocks.sizes), -1, dtype=np.int32)
    at = np.flatnonzero(label[blocks.node] >= 0)
    found[blocks.owner[at]] = label[blocks.node[at]]
    return found


def _split(label: Rows, count: int) -> list[Rows]:
    order = np.argsort(label, kind="stable").astype(np.int32)
    bounds = np.searchsorted(label[order], np.arange(count + 1))
    return [order[bounds[k] : bounds[k + 1]] for k in range(count)]


def pattern_of(network: Network, island: IslandRows, branches: Complex, shunts: Complex) -> Pattern:
    """The pattern of an island from the values of branch and shunt blocks."""
    local = np.full(network.n + 1, -1, dtype=np.int32)
    local[island.nodes] = np.arange(len(island.nodes))
    b_value, b_row, b_column = _values(network.branch_blocks, island.branches, branches, local)
    s_value, s_row, s_column = _values(network.shunt_blocks, island.shunts, shunts, local)
    src = np.asarray(island.sources)
    src_row, src_column = (part.ravel() for part in np.meshgrid(src, src, indexing="ij"))
    b, s = network.branch_blocks.node, network.shunt_blocks.node
    at = local[np.concatenate([b[b_row], s[s_row], network.source_nodes[src_row]])].astype(np.int64)
    to = local[np.concatenate([b[b_column], s[s_column], network.source_nodes[src_column]])]
    place = to * np.int64(len(island.nodes)) + at
    order = np.argsort(place, kind="stable")
    fresh = np.diff(place[order], prepend=-1) != 0
    starts = np.flatnonzero(fresh)
    column = to[order][starts]
    i_source = np.zeros(len(island.nodes), dtype=np.complex128)
    own = network.source_y_own[np.ix_(src, src)]
    np.add.at(i_source, local[network.source_nodes[src]], own @ network.source_v[src])
    return Pattern(
        island.key(), island.nodes,
        np.flatnonzero(np.isin(network.regulators.branch, island.branches)).astype(np.int32),
        np.flatnonzero(np.isin(network.capacitors.shunt, island.shunts)).astype(np.int32),
        branches[b_value], b_row, b_column, shunts[s_value], network.shunt_blocks.owner[s_row], own.ravel(),
        order, starts, at[order][starts].astype(np.int32),
        np.searchsorted(column, np.arange(len(island.nodes) + 1)).astype(np.int32), i_source,
    )  # fmt: skip


def _values(blocks: Blocks, rows: Rows, y: Complex, local: Rows) -> tuple[NDArray[np.int64], Rows, Rows]:
    """Values of some elements that land in the island, with the conductors of their row and column."""
    widths = np.diff(blocks.y_start)[rows]
    first = np.repeat(blocks.y_start[rows] - np.concatenate([[0], np.cumsum(widths)[:-1]]), widths)
    value = first + np.arange(int(widths.sum()))
    row, column = (part[value] for part in blocks.pairs())
    inside = (local[blocks.node[row]] >= 0) & (local[blocks.node[column]] >= 0) & (y[value] != 0)
    return value[inside], row[inside], column[inside]


def factor_of(pattern: Pattern, taken: Float, fitted: Mask) -> IslandFactor:
    """The island's factor at given conductor factors of the taps and switched-in shunts.

    Raises:
        numpy.linalg.LinAlgError: it has none.
    """
    values = np.concatenate(
        [
            pattern.branch_y * (taken[pattern.branch_row] * taken[pattern.branch_column]),
            pattern.shunt_y * fitted[pattern.shunt_owner],
            pattern.source_y,
        ]
    )
    k = len(pattern.nodes)
    data = np.add.reduceat(values[pattern.order], pattern.starts)
    y = sparse.csc_matrix((data, pattern.indices, pattern.indptr), shape=(k, k))
    try:
        lu = linalg.splu(y, permc_spec="MMD_AT_PLUS_A")
    except RuntimeError as error:
        raise np.linalg.LinAlgError(f"the network is singular: {error}") from error
    v_idle = lu.solve(pattern.i_source)
    v_idle += lu.solve(pattern.i_source - y @ v_idle)
    miss = np.abs(y @ v_idle - pattern.i_source).max() / max(np.abs(pattern.i_source).max(), 1.0)
    pivots = np.abs(lu.U.diagonal())[lu.perm_c] / np.maximum.reduceat(np.abs(data), pattern.indptr[:-1])
    weakest = int(np.argmin(pivots))
    return IslandFactor(
        pattern.nodes, y, lu, v_idle, float(miss), float(pivots[weakest]), int(pattern.nodes[weakest])
    )
