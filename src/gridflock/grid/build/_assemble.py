"""From parts to arrays: nodes numbered by bus and conductor, every contradiction refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._admittance import idle_voltages
from gridflock.grid._network import Blocks, CapacitorMode, Capacitors, Network, Regulators
from gridflock.grid.build._numbers import CONDUCTORS, MOST_CONDUCTORS, refuse_numbers
from gridflock.grid.build._parts import Capacitor, End, Parts, Port, Regulator, Section
from gridflock.units import Rows

MOST_TAPS = 100
MOST_SIEMENS = 1e12
"""A larger admittance leaves no digit for any other at its node."""
V_COLLAPSED = 0.5
"""Per unit, below which a load is the impedance of its nominal power (OpenDSS ``vlowpu``)."""


class _Nodes:
    """Node rows by bus row and conductor number."""

    def __init__(self, parts: Parts) -> None:
        used: set[tuple[int, int]] = set()
        for end in _all_ends(parts):
            used.update((end.bus, c) for c in end.conductors if c > 0)
        self.pairs = sorted(used)
        self.row = {pair: k for k, pair in enumerate(self.pairs)}

    def of(self, end: End) -> list[int]:
        """Node rows of an end; -1 for ground."""
        return [self.row[end.bus, c] if c > 0 else -1 for c in end.conductors]

    def find(self, bus: int, conductor: int) -> int:
        """Node row; -1 for ground or where there is none."""
        return self.row.get((bus, conductor), -1)


def _all_ends(parts: Parts) -> list[End]:
    ends = [end for b in parts.branches for end in b.ends]
    ends += [s.end for s in parts.shunts] + [s.end for s in parts.sources]
    return ends + [End(p.bus, p.conductors) for p in parts.ports]


def assemble(parts: Parts) -> Network:
    """Arrays from checked parts.

    Raises:
        FeederRejected: with every fault found: unknown rows, matrices that do not fit their
            conductors, zero or singular impedances, nodes without a path to a source.
    """
    network = arranged(parts)
    _refuse_isolated(parts, network)
    return _with_bases(parts, network)


def arranged(parts: Parts) -> Network:
    """Arrays from parts of which some may be dead; nominal voltages as given.

    Raises:
        FeederRejected: with every fault found: unknown rows, matrices that do not fit their conductors.
    """
    _check_shapes(parts)
    refuse_numbers(parts)
    parts.faults.stop_if_any()
    nodes = _Nodes(parts)
    if not parts.sources:
        parts.faults.add("feeder", parts.name, "sources", "no voltage source")
    parts.faults.stop_if_any()
    sections = parts.sections or [Section("feeder", parts.name, parts.sources[0].end.bus)]
    branch_row = {b.id: k for k, b in enumerate(parts.branches)}
    blocks = _blocks([(b.ends, b.y) for b in parts.branches], nodes)
    node_bus = np.array([bus for bus, _ in nodes.pairs], dtype=np.int32)
    v_base = np.array([b.v for b in parts.buses])[node_bus]
    return Network(
        name=parts.name,
        latitude=parts.latitude,
        longitude=parts.longitude,
        timezone=parts.timezone,
        buses=tuple(b.id for b in parts.buses),
        bus_xy=np.array([b.xy for b in parts.buses], dtype=np.float64).reshape(-1, 2),
        node_bus=node_bus,
        node_conductor=np.array([c for _, c in nodes.pairs], dtype=np.uint8),
        v_base=v_base,
        **_source_columns(parts, nodes),
        **_port_columns(parts.ports, nodes),
        branches=tuple(b.id for b in parts.branches),
        branch_kind=tuple(b.kind for b in parts.branches),
        branch_from=np.array([b.ends[0].bus for b in parts.branches], dtype=np.int32),
        branch_to=np.array([b.ends[1].bus for b in parts.branches], dtype=np.int32),
        branch_closed=np.array([b.closed for b in parts.branches], dtype=np.bool_),
        branch_out=np.array([b.out for b in parts.branches], dtype=np.bool_),
        branch_blocks=blocks,
        rating_a=np.array([b.rating_a for b in parts.branches], dtype=np.float64),
        shunts=tuple(s.id for s in parts.shunts),
        shunt_kind=tuple(s.kind for s in parts.shunts),
        shunt_blocks=_blocks([((s.end,), s.y) for s in parts.shunts], nodes),
        shunt_out=np.array([s.out for s in parts.shunts], dtype=np.bool_),
        regulators=_regulators(parts, nodes, branch_row, blocks.start),
        capacitors=_capacitors(parts, nodes, branch_row, blocks.start),
        sections=tuple(s.id for s in sections),
        section_titles=tuple(s.title for s in sections),
        section_head=np.array([s.head for s in sections], dtype=np.int32),
        notes=tuple(parts.notes),
    )


def _check_shapes(parts: Parts) -> None:
    faults, nb = parts.faults, len(parts.buses)
    for component, ids in (
        ("bus", [b.id for b in parts.buses]),
        ("branch", [b.id for b in parts.branches]),
        ("load", [p.id for p in parts.ports]),
        ("shunt", [s.id for s in parts.shunts]),
    ):
        seen: set[str] = set()
        for name in ids:
            if name in seen:
                faults.add(component, name, "id", f"duplicate {name!r}")
            seen.add(name)
    items: list[tuple[str, str, Sequence[End], NDArray[Any], str]] = [
        (b.kind, b.id, b.ends, b.y, b.where) for b in parts.branches
    ]
    items += [(s.kind, s.id, (s.end,), s.y, s.where) for s in parts.shunts]
    items += [("source", s.id, (s.end,), s.y, s.where) for s in parts.sources]
    for component, name, ends, y, where in items:
        at = f" ({where})" if where else ""
        reason = _not_admittance(y, sum(len(end.conductors) for end in ends))
        if reason:
            faults.add(component, name, "y", reason + at)
        if any(not 0 <= c <= MOST_CONDUCTORS for end in ends for c in end.conductors):
            faults.add(component, name, "phases", CONDUCTORS + at)
        if any(not 0 <= end.bus < nb for end in ends):
            faults.add(component, name, "bus", f"unknown bus{at}")
        if component in {"line", "switch", "transformer", "regulator"} and len(ends) < 2:
            faults.add(component, name, "bus", f"needs two ends{at}")


def _not_admittance(y: NDArray[Any], conductors: int) -> str:
    """Why an array is no admittance of so many conductors; empty where it is."""
    if np.shape(y) != (conductors, conductors):
        return f"{np.shape(y)} admittance for {conductors} conductors"
    if not np.isfinite(y).all():
        return "zero impedance or a value that is not finite"
    return f"an admittance above {MOST_SIEMENS:g} S" if np.abs(y).max(initial=0.0) > MOST_SIEMENS else ""


def _blocks(items: list[tuple[tuple[End, ...], Any]], nodes: _Nodes) -> Blocks:
    return Blocks.stacked(
        [[row for end in ends for row in nodes.of(end)] for ends, _ in items],
        [[k for k, end in enumerate(ends) for _ in end.conductors] for ends, _ in items],
        [y for _, y in items],
    )


def _source_columns(parts: Parts, nodes: _Nodes) -> dict[str, Any]:
    rows = [nodes.of(s.end) for s in parts.sources]
    kept = [[k for k, row in enumerate(of) if row >= 0] for of in rows]
    total = sum(len(k) for k in kept)
    y = np.zeros((total, total), dtype=np.complex128)
    at = 0
    for source, keep in zip(parts.sources, kept, strict=True):
        y[at : at + len(keep), at : at + len(keep)] = source.y[np.ix_(keep, keep)]
        at += len(keep)
    return {
        "sources": tuple(s.id for s in parts.sources),
        "source_of": np.repeat(np.arange(len(kept), dtype=np.int32), [len(k) for k in kept]),
        "source_nodes": np.array(
            [of[k] for of, keep in zip(rows, kept, strict=True) for k in keep], dtype=np.int32
        ),
        "source_v": np.array(
            [s.v[k] for s, keep in zip(parts.sources, kept, strict=True) for k in keep], dtype=np.complex128
        ),
        "source_y_own": y,
        "source_out": np.array([s.out for s in parts.sources], dtype=np.bool_),
    }


def _port_columns(ports: Sequence[Port], nodes: _Nodes) -> dict[str, Any]:
    limits = np.array([p.limits for p in ports], dtype=np.float64).reshape(-1, 3)
    edge = np.array(
        [p.edge if p.edge is not None else (1.0 / p.limits[1], 1.0 / p.limits[2]) for p in ports],
        dtype=np.float64,
    ).reshape(-1, 2)
    return {
        "loads": tuple(p.id for p in ports),
        "load_kind": np.array([p.kind for p in ports], dtype=np.uint8),
        "load_bus": np.array([p.bus for p in ports], dtype=np.int32),
        "load_nodes": np.array(
            [[nodes.find(p.bus, c) for c in p.conductors] for p in ports], dtype=np.int32
        ).reshape(-1, 2),
        "load_kva": np.array([p.kva for p in ports], dtype=np.complex128),
        "load_zip": np.array([(p.zip_p, p.zip_q) for p in ports], dtype=np.float64).reshape(-1, 2, 3),
        "load_exponent": np.array([p.exponent for p in ports], dtype=np.float64).reshape(-1, 2),
        "load_v": np.array([p.rated_v for p in ports], dtype=np.float64),
        "load_range": limits,
        "load_edge": edge,
        "load_scaled": np.array([p.scaled for p in ports], dtype=np.bool_),
    }


def _regulators(parts: Parts, nodes: _Nodes, branch_row: dict[str, int], start: Rows) -> Regulators:
    kept: list[Regulator] = []
    for c in parts.regulators:
        if c.branch not in branch_row:
            parts.faults.add("regulator", c.id, "branch", f"unknown branch {c.branch!r}")
        elif nodes.find(c.seen[0], c.seen[1]) < 0:
            parts.faults.add("regulator", c.id, "monitored", "the regulated node does not exist")
        elif max(-c.tap_low, c.tap_high, c.most_taps) > MOST_TAPS:
            parts.faults.add("regulator", c.id, "taps", f"more than {MOST_TAPS} positions either way")
        elif not c.tap_low <= c.tap <= c.tap_high:
            parts.faults.add("regulator", c.id, "tap", f"{c.tap} is not in {c.tap_low}..{c.tap_high}")
        else:
            kept.append(c)
    parts.faults.stop_if_any()
    rows = np.array([branch_row[c.branch] for c in kept], dtype=np.int32)
    local = np.array([c.current for c in kept], dtype=np.int32)

    def floats(name: str) -> NDArray[np.float64]:
        return np.array([getattr(c, name) for c in kept], dtype=np.float64)

    def small(name: str) -> NDArray[np.int8]:
        return np.array([getattr(c, name) for c in kept], dtype=np.int8)

    return Regulators(
        ids=tuple(c.id for c in kept),
        branch=rows,
        end=np.array([c.end for c in kept], dtype=np.uint8),
        node=np.array([nodes.find(c.seen[0], c.seen[1]) for c in kept], dtype=np.int32),
        node_to=np.array([nodes.find(c.seen[0], c.seen[2]) for c in kept], dtype=np.int32),
        conductor=np.where(local >= 0, start[rows] + local, -1).astype(np.int32),
        v_set_v=floats("v_set_v"),
        band_v=floats("band_v"),
        pt_ratio=floats("pt_ratio"),
        ct_a=floats("ct_a"),
        r_v=floats("r_v"),
        x_v=floats("x_v"),
        delay_s=floats("delay_s"),
        tap=small("tap"),
        tap_low=small("tap_low"),
        tap_high=small("tap_high"),
        step_pu=floats("step_pu"),
        base_v=floats("base_v"),
        most_taps=small("most_taps"),
        direction=small("direction"),
        locked=np.array([c.locked for c in kept], dtype=np.bool_),
    )


def _capacitors(parts: Parts, nodes: _Nodes, branch_row: dict[str, int], start: Rows) -> Capacitors:
    shunt_row = {s.id: k for k, s in enumerate(parts.shunts)}
    kept: list[Capacitor] = []
    for c in parts.capacitors:
        if c.shunt not in shunt_row:
            parts.faults.add("capacitor", c.id, "shunt", f"unknown shunt {c.shunt!r}")
        elif c.branch and c.branch not in branch_row:
            parts.faults.add("capacitor", c.id, "element", f"unknown branch {c.branch!r}")
        elif c.mode in {CapacitorMode.KVAR, CapacitorMode.CURRENT} and not c.conductors:
            parts.faults.add("capacitor", c.id, "element", "its control needs a branch to look at")
        else:
            kept.append(c)
    parts.faults.stop_if_any()
    seen = [[nodes.find(*pair) for pair in c.seen] for c in kept]
    flow = [[int(start[branch_row[c.branch]]) + k for k in c.conductors] if c.branch else [] for c in kept]

    def floats(name: str) -> NDArray[np.float64]:
        return np.array([getattr(c, name) for c in kept], dtype=np.float64)

    def starts(lists: list[list[int]]) -> Rows:
        return np.concatenate([[0], np.cumsum([len(item) for item in lists])]).astype(np.int32)

    return Capacitors(
        ids=tuple(c.id for c in kept),
        shunt=np.array([shunt_row[c.shunt] for c in kept], dtype=np.int32),
        on=np.array([c.on for c in kept], dtype=np.bool_),
        mode=np.array([c.mode for c in kept], dtype=np.uint8),
        seen_start=starts(seen),
        seen_node=np.array([row for item in seen for row in item], dtype=np.int32),
        flow_start=starts(flow),
        flow_conductor=np.array([row for item in flow for row in item], dtype=np.int32),
        on_at=floats("on_at"),
        off_at=floats("off_at"),
        pt_ratio=floats("pt_ratio"),
        ct_ratio=floats("ct_ratio"),
        v_low_v=floats("v_low_v"),
        v_high_v=floats("v_high_v"),
        delay_s=floats("delay_s"),
        delay_off_s=floats("delay_off_s"),
    )


def _refuse_isolated(parts: Parts, network: Network) -> None:
    """With every switch closed, each node of an element and of a port must be reached.

    What stands behind an open switch is dead and not wrong.
    """
    closed = np.ones(len(parts.branches), dtype=np.bool_)
    whole = network if network.branch_closed.all() else replace(network, branch_closed=closed)
    live = whole.topology.live
    dead_bus = np.ones(len(network.buses), dtype=np.bool_)
    dead_bus[network.node_bus[live]] = False
    for row in np.flatnonzero(dead_bus).tolist():
        parts.faults.add("bus", network.buses[row], "id", "isolated: no closed path to a source", row + 1)
    items: list[tuple[str, str, End, str]] = [
        (b.kind, b.id, end, b.where) for b in parts.branches if not b.out for end in b.ends
    ]
    items += [("load", p.id, End(p.bus, p.conductors), p.where) for p in parts.ports]
    items += [(s.kind, s.id, s.end, s.where) for s in parts.shunts]
    index = {
        (int(bus), int(c)): k
        for k, (bus, c) in enumerate(zip(network.node_bus, network.node_conductor, strict=True))
    }
    for component, name, end, where in items:
        dead = [c for c in end.conductors if c > 0 and not live[index[end.bus, c]]]
        if dead and not dead_bus[end.bus]:
            at = f" ({where})" if where else ""
            letters = ", ".join("abc"[c - 1] if c <= 3 else f"n{c}" for c in dead)
            bus = network.buses[end.bus]
            parts.faults.add(
                component, name, "phases", f"isolated: phase {letters} is not fed at bus {bus}{at}"
            )
    _refuse_no_return(parts, network)
    parts.faults.stop_if_any()


def _refuse_no_return(parts: Parts, network: Network) -> None:
    """At a bus without a path to ground only ports between two of its conductors can draw power."""
    three_wire = np.zeros(network.n, dtype=np.bool_)
    three_wire[network.three_wire] = True
    to_ground = (network.load_nodes[:, 1] < 0) & three_wire[network.load_nodes[:, 0]]
    for row in np.flatnonzero(to_ground).tolist():
        bus = network.buses[network.load_bus[row]]
        parts.faults.add(
            "load", network.loads[row], "connection", f"wye, but bus {bus} has no path to ground"
        )


def _with_bases(parts: Parts, network: Network) -> Network:
    """Nominal voltages where the file names none: the idle voltage, to three digits."""
    unknown = np.isnan(network.v_base)
    idle = np.abs(idle_voltages(network, parts.faults))
    parts.faults.stop_if_any()
    if unknown.any():
        network.v_base[unknown] = [float(f"{max(v, 1.0):.3g}") for v in idle[unknown]]
    return network
