"""Islands, and what each bus belongs to: source, section, transformer, island."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._network import Complex, Network
from gridflock.grid._topology import nearest
from gridflock.units import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Island:
    """One connected part.

    Attributes:
        label: as in ``network.topology.island``; it may be another after the next change.
        live: fed by a source.
        buses: bus rows.
        ports: rows of the ports there.
        sources: rows of the sources in service there.
        load_kw: nominal active power of the ports that take power, negative (house sign); of a dead
            island what is not served.
        generation_kw: nominal active power of those that give.
    """

    label: int
    live: bool
    buses: Rows
    ports: Rows
    sources: Rows
    load_kw: float
    generation_kw: float


def islands_of(network: Network, load_kva: Complex | None = None) -> tuple[Island, ...]:
    """Every island, the live ones first.

    Args:
        network: the version.
        load_kva: complex (L,) power of each port, house sign; nominal where None.
    """
    topology = network.topology
    p_kw = (network.load_kva if load_kva is None else load_kva).real
    of_port = topology.bus_island[network.load_bus]
    of_source = np.full(len(network.sources), -1, dtype=np.int32)
    of_source[network.source_of] = topology.island[network.source_nodes]
    of_source[network.source_out] = -1
    split = [_split(label, topology.islands) for label in (topology.bus_island, of_port, of_source)]
    return tuple(
        Island(
            label, label < topology.islands_live, buses, ports, sources,
            float(np.minimum(p_kw[ports], 0.0).sum()), float(np.maximum(p_kw[ports], 0.0).sum()),
        )
        for label, (buses, ports, sources) in enumerate(zip(*split, strict=True))
    )  # fmt: skip


def _split(label: Rows, count: int) -> list[Rows]:
    order = np.argsort(label, kind="stable").astype(np.int32)
    bounds = np.searchsorted(label[order], np.arange(count + 1))
    return [order[bounds[k] : bounds[k + 1]] for k in range(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Membership:
    """What each bus belongs to, as rows; -1 where it belongs to none or is dead.

    The columns of a port or resource are those of its bus: ``membership.section[network.load_bus]``.

    Attributes:
        source: (nb,) row in ``sources``: the one at the end of the way up.
        section: (nb,) row in ``sections``.
        transformer: (nb,) branch row of the nearest transformer on the way up.
        island: (nb,) label; dead islands have one, too.
        groups: bus rows by group id: ``source/<id>``, ``section/<id>``, ``transformer/<id>``,
            ``island/<label>``.
    """

    source: Rows
    section: Rows
    transformer: Rows
    island: Rows
    groups: dict[str, Rows]


def membership(network: Network) -> Membership:
    """The topology groups of a version."""
    topology = network.topology
    at_bus = np.full(len(network.buses) + 1, -1, dtype=np.int32)
    at_work = np.flatnonzero(~network.source_out[network.source_of])[::-1]
    at_bus[network.node_bus[network.source_nodes[at_work]]] = network.source_of[at_work]
    is_transformer = np.array([*(kind == "transformer" for kind in network.branch_kind), False])
    own = np.where(is_transformer[topology.bus_feed], topology.bus_feed, -1)
    transformer = nearest(own, topology.bus_parent)
    source, section = at_bus[topology.bus_root], topology.bus_section
    named = [
        ("source", source, network.sources),
        ("section", section, network.sections),
        ("transformer", transformer, network.branches),
        ("island", topology.bus_island, tuple(map(str, range(topology.islands)))),
    ]
    groups = {
        f"{kind}/{names[k]}": rows
        for kind, label, names in named
        for k, rows in enumerate(_split(label, len(names)))
        if len(rows)
    }
    return Membership(source, section, transformer, topology.bus_island, groups)
