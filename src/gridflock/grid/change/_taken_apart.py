"""From arrays back to parts: what ``assemble`` made of them, element by element."""

from __future__ import annotations

import numpy as np

from gridflock.grid._network import CapacitorMode, Network, PortKind
from gridflock.grid._topology import NEUTRAL
from gridflock.grid.build._parts import (
    Branch,
    Bus,
    Capacitor,
    End,
    Parts,
    Port,
    Regulator,
    Section,
    Shunt,
    Source,
)


def parts_of(network: Network) -> Parts:
    """The elements of a network as parts; put together again they give the same arrays.

    A bus carries the nominal voltage of its first phase; where conductors of one bus differ, the
    caller keeps them.
    """
    parts = Parts(network.name, network.latitude, network.longitude, network.timezone)
    parts.notes += network.notes
    parts.buses += _buses(network)
    parts.sources += _sources(network)
    parts.branches += _branches(network)
    parts.shunts += _shunts(network)
    parts.ports += _ports(network)
    parts.regulators += _regulators(network)
    parts.capacitors += _capacitors(network)
    parts.sections += [
        Section(name, title, head)
        for name, title, head in zip(
            network.sections, network.section_titles, network.section_head.tolist(), strict=True
        )
    ]
    return parts


def _buses(network: Network) -> list[Bus]:
    v = np.full(len(network.buses), np.nan)
    order = np.argsort(network.node_phase == NEUTRAL, kind="stable")[::-1]
    v[network.node_bus[order]] = network.v_base[order]
    return [
        Bus(name, volts, (x, y))
        for name, volts, (x, y) in zip(network.buses, v.tolist(), network.bus_xy.tolist(), strict=True)
    ]


def _conductors(network: Network, nodes: list[int]) -> tuple[int, ...]:
    return tuple(int(network.node_conductor[node]) if node >= 0 else 0 for node in nodes)


def _sources(network: Network) -> list[Source]:
    found = []
    for row, name in enumerate(network.sources):
        own = np.flatnonzero(network.source_of == row)
        nodes = network.source_nodes[own].tolist()
        end = End(int(network.node_bus[nodes[0]]), _conductors(network, nodes))
        y = network.source_y_own[np.ix_(own, own)]
        found.append(Source(name, end, network.source_v[own], y, out=bool(network.source_out[row])))
    return found


def _branches(network: Network) -> list[Branch]:
    blocks = network.branch_blocks
    found = []
    for row, name in enumerate(network.branches):
        own = slice(int(blocks.start[row]), int(blocks.start[row + 1]))
        nodes, of_end = blocks.node[own], blocks.end[own]
        ends = []
        for k in range(int(of_end.max()) + 1):
            mine = nodes[of_end == k].tolist()
            fixed = int((network.branch_from, network.branch_to)[k][row]) if k < 2 else -1
            bus = next((int(network.node_bus[node]) for node in mine if node >= 0), max(fixed, 0))
            ends.append(End(fixed if k < 2 else bus, _conductors(network, mine)))
        found.append(
            Branch(
                name, network.branch_kind[row], tuple(ends), blocks.block(row),
                float(network.rating_a[row]), bool(network.branch_closed[row]),
                out=bool(network.branch_out[row]),
            )
        )  # fmt: skip
    return found


def _shunts(network: Network) -> list[Shunt]:
    blocks = network.shunt_blocks
    found = []
    for row, name in enumerate(network.shunts):
        nodes = blocks.node[blocks.start[row] : blocks.start[row + 1]].tolist()
        bus = next((int(network.node_bus[node]) for node in nodes if node >= 0), 0)
        end = End(bus, _conductors(network, nodes))
        out = bool(network.shunt_out[row])
        found.append(Shunt(name, network.shunt_kind[row], end, blocks.block(row), out=out))
    return found


def _ports(network: Network) -> list[Port]:
    found = []
    for row, name in enumerate(network.loads):
        first, second = _conductors(network, network.load_nodes[row].tolist())
        zip_p, zip_q = (tuple(shares) for shares in network.load_zip[row].tolist())
        found.append(
            Port(
                name, int(network.load_bus[row]), (first, second), complex(network.load_kva[row]),
                float(network.load_v[row]), zip_p, zip_q, tuple(network.load_exponent[row].tolist()),
                tuple(network.load_range[row].tolist()), tuple(network.load_edge[row].tolist()),
                PortKind(int(network.load_kind[row])), bool(network.load_scaled[row]),
            )
        )  # fmt: skip
    return found


def _seen(network: Network, node: int) -> tuple[int, int]:
    return int(network.node_bus[node]), int(network.node_conductor[node])


def _regulators(network: Network) -> list[Regulator]:
    reg, blocks = network.regulators, network.branch_blocks
    found = []
    for row, name in enumerate(reg.ids):
        branch, conductor = int(reg.branch[row]), int(reg.conductor[row])
        other = int(reg.node_to[row])
        found.append(
            Regulator(
                name, network.branches[branch], int(reg.end[row]),
                (*_seen(network, int(reg.node[row])), _seen(network, other)[1] if other >= 0 else 0),
                conductor - int(blocks.start[branch]) if conductor >= 0 else -1,
                float(reg.v_set_v[row]), float(reg.band_v[row]), float(reg.pt_ratio[row]),
                float(reg.ct_a[row]), float(reg.r_v[row]), float(reg.x_v[row]), float(reg.delay_s[row]),
                int(reg.tap[row]), float(reg.base_v[row]), int(reg.tap_low[row]), int(reg.tap_high[row]),
                float(reg.step_pu[row]), int(reg.most_taps[row]), int(reg.direction[row]),
                locked=bool(reg.locked[row]),
            )
        )  # fmt: skip
    return found


def _capacitors(network: Network) -> list[Capacitor]:
    caps, blocks = network.capacitors, network.branch_blocks
    found = []
    for row, name in enumerate(caps.ids):
        seen = caps.seen_node[caps.seen_start[row] : caps.seen_start[row + 1]].tolist()
        flow = caps.flow_conductor[caps.flow_start[row] : caps.flow_start[row + 1]]
        branch = int(blocks.owner[flow[0]]) if len(flow) else -1
        found.append(
            Capacitor(
                name, network.shunts[int(caps.shunt[row])], bool(caps.on[row]),
                CapacitorMode(int(caps.mode[row])), tuple(_seen(network, node) for node in seen),
                network.branches[branch] if branch >= 0 else "",
                conductors=tuple((flow - blocks.start[branch]).tolist()) if branch >= 0 else (),
                on_at=float(caps.on_at[row]), off_at=float(caps.off_at[row]),
                pt_ratio=float(caps.pt_ratio[row]), ct_ratio=float(caps.ct_ratio[row]),
                v_low_v=float(caps.v_low_v[row]), v_high_v=float(caps.v_high_v[row]),
                delay_s=float(caps.delay_s[row]), delay_off_s=float(caps.delay_off_s[row]),
            )
        )  # fmt: skip
    return found
