"""What a feeder is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from gridflock.grid import Network, PortKind


@dataclass(frozen=True, slots=True)
class FeederInfo:
    """A feeder in numbers.

    Attributes:
        name: its name.
        buses: how many.
        nodes: how many.
        sources: names of its sources.
        branches: how many of each kind.
        open_switches: ids of branches that stand open.
        shunts: how many of each kind.
        regulators: how many tap controls.
        capacitors: how many switched capacitors.
        ports: how many of each kind.
        load_kw: nominal demand, positive.
        load_kvar: the same, reactive.
        generation_kw: nominal generation written in the file.
        islands: connected parts.
        dead_buses: buses without a source.
        three_wire_nodes: nodes without a path to ground.
        voltage_levels_kv: nominal line-to-line voltages.
        notes: what the file says and the model leaves out.
    """

    name: str
    buses: int
    nodes: int
    sources: list[str]
    branches: dict[str, int]
    open_switches: list[str]
    shunts: dict[str, int]
    regulators: int
    capacitors: int
    ports: dict[str, int]
    load_kw: float
    load_kvar: float
    generation_kw: float
    islands: int
    dead_buses: int
    three_wire_nodes: int
    voltage_levels_kv: list[float]
    notes: list[str]


def info(network: Network) -> FeederInfo:
    """A network in numbers."""
    topology = network.topology
    demand = network.load_kva[network.load_kva.real < 0]
    supply = network.load_kva[network.load_kva.real > 0]
    alive = np.zeros(len(network.buses), dtype=np.bool_)
    alive[network.node_bus[topology.live]] = True
    levels = sorted({float(f"{v * 3**0.5 / 1000:.4g}") for v in network.v_base.tolist()}, reverse=True)
    return FeederInfo(
        name=network.name,
        buses=len(network.buses),
        nodes=network.n,
        sources=list(network.sources),
        branches=dict(sorted(Counter(network.branch_kind).items())),
        open_switches=[network.branches[k] for k in np.flatnonzero(~network.branch_closed).tolist()],
        shunts=dict(sorted(Counter(network.shunt_kind).items())),
        regulators=len(network.regulators.ids),
        capacitors=len(network.capacitors.ids),
        ports={PortKind(k).name.lower(): c for k, c in sorted(Counter(network.load_kind.tolist()).items())},
        load_kw=round(float(-demand.real.sum()), 3),
        load_kvar=round(float(-demand.imag.sum()), 3),
        generation_kw=round(float(supply.real.sum()), 3),
        islands=topology.islands,
        dead_buses=int(np.count_nonzero(~alive)),
        three_wire_nodes=len(topology.three_wire),
        voltage_levels_kv=levels,
        notes=list(network.notes),
    )
