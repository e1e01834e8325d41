"""Buses that nothing leads to: usually a bus name written in two ways."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gridflock.grid.build import Parts

_MOST_NAMED = 3


def refuse_isolated(parts: Parts) -> None:
    """Refuse every bus that no element leads to from a source, not even with all switches closed."""
    pairs = [(b.ends[0].bus, end.bus) for b in parts.branches for end in b.ends[1:]]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    size = len(parts.buses)
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
    island = connected_components(links, directed=False)[1]
    fed = np.isin(island, island[[source.end.bus for source in parts.sources]])
    dead = np.flatnonzero(~fed).tolist()
    if not dead:
        return
    at = _elements_by_bus(parts)
    for bus in dead:
        who = ", ".join(at[bus][:_MOST_NAMED]) or "nothing in service"
        reason = f"isolated: nothing leads from a source to {who}; is the bus name right?"
        parts.faults.add("bus", parts.buses[bus].id, "id", reason)


def _elements_by_bus(parts: Parts) -> defaultdict[int, list[str]]:
    at: defaultdict[int, list[str]] = defaultdict(list)
    for branch in parts.branches:
        for end in branch.ends:
            at[end.bus].append(f"{branch.id} ({branch.where})")
    for shunt in parts.shunts:
        at[shunt.end.bus].append(f"{shunt.id} ({shunt.where})")
    for port in parts.ports:
        at[port.bus].append(f"{port.id} ({port.where})")
    return at
