"""The network as arrays: nodes, primitive blocks, ports, branches, controls, sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._reading import Parts, read
from gridflock.units import PHASES, Codes, Mask, Rows, phase_letters

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Regulators:
    """Tap-changing controls, one row each; a ganged one moves all its phases.

    Attributes:
        ids: K names.
        branch: (K,) branch row of the winding pair.
        node: (K,) regulated node on the load side: the monitored phase.
        phase: (K,) monitored phase, 0, 1, 2.
        v_set_v: (K,) voltage level on the control's 120 V base.
        band_v: (K,) full band width on the same base.
        pt_ratio: (K,) potential transformer ratio.
        ct_a: (K,) primary current of the current transformer; 5 A secondary is implied by R and X in volt.
        r_v: (K,) line-drop compensation, resistive setting in volt.
        x_v: (K,) line-drop compensation, reactive setting in volt.
        delay_s: (K,) time out of band before a tap moves.
        tap: int8 (K,) published position, -16..16.
    """

    ids: tuple[str, ...]
    branch: Rows
    node: Rows
    phase: Rows
    v_set_v: Float
    band_v: Float
    pt_ratio: Float
    ct_a: Float
    r_v: Float
    x_v: Float
    delay_s: Float
    tap: NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Capacitors:
    """Shunt capacitors, one row each, switched as a whole.

    Attributes:
        ids: M names.
        nodes: (M, 3) node of each phase, -1 where there is none.
        kvar: (M, 3) injected reactive power at nominal voltage.
        on: (M,) published state.
        v_on_pu: (M,) switches on below; NaN where fixed.
        v_off_pu: (M,) switches off above; NaN where fixed.
        delay_s: (M,) time beyond the threshold before it switches.
    """

    ids: tuple[str, ...]
    nodes: Rows
    kvar: Float
    on: Mask
    v_on_pu: Float
    v_off_pu: Float
    delay_s: Float


@dataclass(frozen=True, slots=True, eq=False)
class Switches:
    """All switches, open ones included; a closed one is also a branch.

    Attributes:
        ids: names.
        from_bus: bus rows.
        to_bus: bus rows.
        closed: state.
    """

    ids: tuple[str, ...]
    from_bus: Rows
    to_bus: Rows
    closed: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One immutable version of a feeder. n nodes, nb buses, m branches, L load ports.

    Attributes:
        name: short name.
        latitude: degrees north of the site.
        longitude: degrees east of the site.
        timezone: IANA name.
        buses: nb bus names.
        bus_xy: (nb, 2) plan coordinates in ft.
        bus_phases: (nb,) bit mask of the phases that exist there.
        bus_section: (nb,) row in ``sections``.
        bus_parent: (nb,) next bus towards the source on a breadth-first tree; -1 at the source.
        node_bus: (n,) bus row.
        node_phase: (n,) phase 0, 1, 2.
        v_base: (n,) nominal line-to-neutral voltage, V.
        source_nodes: (3,) node rows of the source, phases a, b, c.
        source_v: (3,) voltage behind the source impedance, V.
        source_y: (3, 3) its admittance, S.
        loads: L ids, one per spot load and phase (or phase pair).
        load_bus: (L,) bus row.
        load_phase: (L,) bit mask of the one or two phases of the port.
        load_nodes: (L, 2) nodes i and j of the port; j = -1 means ground.
        load_kva: complex (L,) nominal power, house sign (demand negative).
        load_zip: (L, 3) shares of constant power, current, impedance.
        load_v: (L,) rated voltage of the port, V.
        load_range: (L, 2) pu range outside which the load becomes an impedance.
        branches: m ids; lines, closed switches, transformers, regulators.
        branch_from: (m,) bus row of the source side as written.
        branch_to: (m,) bus row.
        branch_kind: m times ``"line"``, ``"switch"``, ``"transformer"`` or ``"regulator"``.
        branch_phases: (m,) bit mask.
        rating_a: (m,) ampere per phase, referred to the from side.
        branch_nodes: (m, 6) nodes from a, b, c, to a, b, c; -1 where absent.
        branch_y: (m, 3, 3) series admittance seen from the from side, S.
        branch_b: (m, 3, 3) total charging susceptance, S.
        branch_ratio: (m,) nominal voltage ratio from/to (1 for lines).
        branch_control: (m,) row in ``regulators`` or -1.
        branch_stray: (m, 2) inductive admittance to ground at each corner of the from and to side,
            S: keeps a winding without a path to ground solvable.
        regulators: tap controls.
        capacitors: shunt capacitors.
        switches: all switches.
        sections: feeder section ids.
        section_titles: what a person calls them.
        three_wire: (k,) nodes of buses fed by delta windings only, where nothing leads to ground.
        three_wire_next: (k,) the node of the next phase at the same bus: an injection at such a node
            stands between the two.
        load_incidence: CSR (n, L), +1 at node i and -1 at node j of each port.
        factors: solved admittances of the last control states; a cache, no part of the value.
    """

    name: str
    latitude: float
    longitude: float
    timezone: str
    buses: tuple[str, ...]
    bus_xy: Float
    bus_phases: Codes
    bus_section: Rows
    bus_parent: Rows
    node_bus: Rows
    node_phase: Rows
    v_base: Float
    source_nodes: Rows
    source_v: Complex
    source_y: Complex
    loads: tuple[str, ...]
    load_bus: Rows
    load_phase: Codes
    load_nodes: Rows
    load_kva: Complex
    load_zip: Float
    load_v: Float
    load_range: Float
    branches: tuple[str, ...]
    branch_from: Rows
    branch_to: Rows
    branch_kind: tuple[str, ...]
    branch_phases: Codes
    rating_a: Float
    branch_nodes: Rows
    branch_y: Complex
    branch_b: Float
    branch_ratio: Float
    branch_control: Rows
    branch_stray: Float
    regulators: Regulators
    capacitors: Capacitors
    switches: Switches
    sections: tuple[str, ...]
    section_titles: tuple[str, ...]
    three_wire: Rows
    three_wire_next: Rows
    load_incidence: sparse.csr_matrix = field(init=False, repr=False)
    factors: dict[tuple[bytes, bytes], Any] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        ends = self.load_nodes
        rows, ports = ends.T.ravel(), np.tile(np.arange(len(ends)), 2)
        signs = np.repeat([1.0, -1.0], len(ends))
        kept = rows >= 0
        shape = (len(self.node_bus), len(ends))
        incidence = sparse.csr_matrix((signs[kept], (rows[kept], ports[kept])), shape=shape)
        object.__setattr__(self, "load_incidence", incidence)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Network:
        """Build the arrays from a feeder document.

        Raises:
            FeederRejected: naming every fault of the document.
        """
        return assemble(read(document))

    @property
    def n(self) -> int:
        """How many nodes."""
        return len(self.node_bus)

    def node_row(self, bus: str, phase: str) -> int:
        """Row of the node at a bus and phase (``"a"``, ``"b"``, ``"c"``).

        Raises:
            KeyError: no such node.
        """
        rows = np.flatnonzero(self.node_phase == PHASES.find(phase))
        for row in rows:
            if self.buses[self.node_bus[row]] == bus:
                return int(row)
        raise KeyError((bus, phase))

    def spread(self, bus_rows: Rows, phase_masks: Codes) -> sparse.csr_matrix:
        """Matrix that shares an item's power equally over the nodes of its phases.

        Args:
            bus_rows: (k,) bus of each item.
            phase_masks: (k,) bit mask of its phases.

        Returns:
            CSR (n, k); each column sums to 1.

        Raises:
            ValueError: an item asks for a phase that does not exist at its bus.
        """
        bus_rows = np.asarray(bus_rows, dtype=np.int64)
        masks = np.asarray(phase_masks, dtype=np.int64)
        bad = np.flatnonzero((masks & ~self.bus_phases[bus_rows].astype(np.int64)) | (masks == 0))
        if len(bad):
            item = int(bad[0])
            bus = self.buses[bus_rows[item]]
            raise ValueError(f"item {item}: phases {phase_letters(int(masks[item]))!r} not at bus {bus}")
        table = self.node_table()
        present = (masks[:, None] >> np.arange(3)) & 1 == 1
        items, phases = np.nonzero(present)
        share = 1.0 / present.sum(axis=1)
        shape = (self.n, len(masks))
        return sparse.csr_matrix((share[items], (table[bus_rows[items], phases], items)), shape=shape)

    def node_table(self) -> Rows:
        """(nb, 3) node of each bus and phase, -1 where there is none."""
        table = np.full((len(self.buses), 3), -1, dtype=np.int32)
        table[self.node_bus, self.node_phase] = np.arange(self.n)
        return table

    def with_impedance_factors(self, factors: Float) -> Network:
        """The same feeder with each branch's series impedance multiplied by its factor.

        Args:
            factors: (m,) positive.
        """
        return replace(self, branch_y=self.branch_y / np.asarray(factors)[:, None, None])


def assemble(parts: Parts) -> Network:
    """Arrays from checked parts.

    Raises:
        FeederRejected: a bus, load or capacitor phase without a path to the source.
    """
    table, parent = _energised(parts)
    node_bus, node_phase = (a.astype(np.int32) for a in np.nonzero(table >= 0))
    latitude, longitude, timezone = parts.site
    source_bus, source_v, source_z = parts.source
    turns = np.exp(-2j * np.pi / 3 * np.arange(3))
    return Network(
        name=parts.name,
        latitude=latitude,
        longitude=longitude,
        timezone=timezone,
        buses=tuple(parts.buses),
        bus_xy=parts.bus_xy,
        bus_phases=((table >= 0) @ np.array([1, 2, 4])).astype(np.uint8),
        bus_section=_sections(parts, parent),
        bus_parent=parent,
        node_bus=node_bus,
        node_phase=node_phase,
        v_base=parts.bus_v[node_bus],
        source_nodes=table[source_bus],
        source_v=source_v * turns,
        source_y=np.eye(3, dtype=np.complex128) / source_z,
        **_load_columns(parts, table),
        **_branch_columns(parts, table),
        regulators=_regulators(parts, table),
        capacitors=_capacitors(parts, table),
        switches=Switches(
            ids=tuple(s[0] for s in parts.switches),
            from_bus=np.array([s[1] for s in parts.switches], dtype=np.int32),
            to_bus=np.array([s[2] for s in parts.switches], dtype=np.int32),
            closed=np.array([s[3] for s in parts.switches], dtype=np.bool_),
        ),
        sections=tuple(s[0] for s in parts.sections),
        section_titles=tuple(s[1] for s in parts.sections),
        **_three_wire(parts, table),
    )


def _energised(parts: Parts) -> tuple[Rows, Rows]:
    """Node table (nb, 3) and parents (nb,) of what the source reaches, phase by phase.

    A transformer couples all its phases: one reached corner of a delta reaches the other side.
    """
    reached = np.zeros((len(parts.buses), 3), dtype=np.bool_)
    source = parts.source[0]
    reached[source] = True
    parent = np.full(len(parts.buses), -1, dtype=np.int32)
    touching: list[list[int]] = [[] for _ in parts.buses]
    for row, branch in enumerate(parts.branches):
        for end in branch.ends:
            touching[end].append(row)
    queue = [source]
    while queue:
        bus = queue.pop(0)
        for row in touching[bus]:
            branch = parts.branches[row]
            far = branch.ends[0] if branch.ends[1] == bus else branch.ends[1]
            phases = [p for p in branch.phases if reached[bus, p] and not reached[far, p]]
            if phases:
                if parent[far] < 0 and far != source:
                    parent[far] = bus
                reached[far, phases] = True
                queue.append(far)
    _refuse_isolated(parts, reached)
    table = np.full(reached.shape, -1, dtype=np.int32)
    table[reached] = np.arange(np.count_nonzero(reached))
    return table, parent


def _refuse_isolated(parts: Parts, reached: Mask) -> None:
    faults = parts.faults
    for name, row in parts.buses.items():
        if not reached[row].any():
            faults.add("bus", name, "id", "isolated: no closed path to the source", row + 1)
    branches = [(b.kind, b.id, end, b.phases) for b in parts.branches for end in b.ends]
    ports = [("load", p.id, p.bus, p.phases) for p in parts.loads]
    shunts = [("capacitor", c.id, c.bus, c.phases) for c in parts.capacitors]
    for kind, name, bus, phases in branches + ports + shunts:
        dead = [PHASES[p] for p in phases if not reached[bus, p]]
        if dead and reached[bus].any():
            bus_name = list(parts.buses)[bus]
            faults.add(
                kind, name, "phases", f"isolated: phase {', '.join(dead)} is not fed at bus {bus_name}"
            )
    faults.stop_if_any()


def _three_wire(parts: Parts, table: Rows) -> dict[str, Any]:
    """Nodes without a path to ground, and the next phase of each."""
    grounded = {parts.source[0]}
    found = True
    while found:
        new = {e for b in parts.branches if not b.delta and grounded & {*b.ends} for e in b.ends} - grounded
        grounded |= new
        found = bool(new)
    floating = sorted(set(parts.buses.values()) - grounded)
    names = tuple(parts.buses)
    node: list[int] = []
    following: list[int] = []
    for bus in floating:
        nodes = [int(row) for row in table[bus] if row >= 0]
        if len(nodes) == 1:
            parts.faults.add("bus", names[bus], "id", "a single phase behind a delta winding has no return")
        node += nodes
        following += nodes[1:] + nodes[:1]
    for p in parts.loads:
        if p.bus in floating and len(p.phases) == 1:
            parts.faults.add("load", p.id, "connection", f"wye, but bus {names[p.bus]} has no path to ground")
    parts.faults.stop_if_any()
    return {
        "three_wire": np.array(node, dtype=np.int32),
        "three_wire_next": np.array(following, dtype=np.int32),
    }


def _sections(parts: Parts, parent: Rows) -> Rows:
    """(nb,) section of each bus: the nearest section head on the way to the source."""
    section = np.full(len(parent), -1, dtype=np.int32)
    for row, (_, _, head) in enumerate(parts.sections):
        section[head] = row
    if section[parts.source[0]] < 0:
        parts.faults.add("section", "sections", "head", "the source bus heads no section")
        parts.faults.stop_if_any()
    for bus in range(len(parent)):
        way = [bus]
        while section[way[-1]] < 0:
            way.append(int(parent[way[-1]]))
        section[way] = section[way[-1]]
    return section


def _load_columns(parts: Parts, table: Rows) -> dict[str, Any]:
    loads = parts.loads
    nodes = [
        [table[p.bus, p.phases[0]], table[p.bus, p.phases[1]] if len(p.phases) == 2 else -1] for p in loads
    ]
    return {
        "loads": tuple(p.id for p in loads),
        "load_bus": np.array([p.bus for p in loads], dtype=np.int32),
        "load_phase": np.array([sum(1 << k for k in p.phases) for p in loads], dtype=np.uint8),
        "load_nodes": np.array(nodes, dtype=np.int32).reshape(-1, 2),
        "load_kva": np.array([p.kva for p in loads], dtype=np.complex128),
        "load_zip": np.array([p.zip for p in loads]).reshape(-1, 3),
        "load_v": np.array([p.rated_v for p in loads]),
        "load_range": np.array([p.limits for p in loads]).reshape(-1, 2),
    }


def _branch_columns(parts: Parts, table: Rows) -> dict[str, Any]:
    branches = parts.branches
    nodes = np.full((len(branches), 6), -1, dtype=np.int32)
    for row, branch in enumerate(branches):
        for phase in branch.phases:
            nodes[row, phase] = table[branch.ends[0], phase]
            nodes[row, 3 + phase] = table[branch.ends[1], phase]
    return {
        "branches": tuple(b.id for b in branches),
        "branch_from": np.array([b.ends[0] for b in branches], dtype=np.int32),
        "branch_to": np.array([b.ends[1] for b in branches], dtype=np.int32),
        "branch_kind": tuple(b.kind for b in branches),
        "branch_phases": np.array([sum(1 << p for p in b.phases) for b in branches], dtype=np.uint8),
        "rating_a": np.array([b.rating_a for b in branches]),
        "branch_nodes": nodes,
        "branch_y": np.array([b.y for b in branches], dtype=np.complex128).reshape(-1, 3, 3),
        "branch_b": np.array([b.b for b in branches], dtype=np.float64).reshape(-1, 3, 3),
        "branch_ratio": np.array([b.ratio for b in branches]),
        "branch_control": np.array([b.control for b in branches], dtype=np.int32),
        "branch_stray": np.array([b.stray_s for b in branches]).reshape(-1, 2),
    }


def _regulators(parts: Parts, table: Rows) -> Regulators:
    controls = parts.regulators
    rows = {b.control: row for row, b in enumerate(parts.branches) if b.control >= 0}
    v_set, band, pt_ratio, ct, r, x, delay = np.array([c.settings for c in controls]).reshape(-1, 7).T
    return Regulators(
        ids=tuple(c.id for c in controls),
        branch=np.array([rows[k] for k in range(len(controls))], dtype=np.int32),
        node=np.array([table[c.to_bus, c.monitored] for c in controls], dtype=np.int32),
        phase=np.array([c.monitored for c in controls], dtype=np.int32),
        v_set_v=v_set,
        band_v=band,
        pt_ratio=pt_ratio,
        ct_a=ct,
        r_v=r,
        x_v=x,
        delay_s=delay,
        tap=np.array([c.tap for c in controls], dtype=np.int8),
    )


def _capacitors(parts: Parts, table: Rows) -> Capacitors:
    shunts = parts.capacitors
    nodes = np.full((len(shunts), 3), -1, dtype=np.int32)
    kvar = np.zeros((len(shunts), 3))
    for row, shunt in enumerate(shunts):
        for phase, value in zip(shunt.phases, shunt.kvar, strict=True):
            nodes[row, phase] = table[shunt.bus, phase]
            kvar[row, phase] = value
    control = np.array([c.control for c in shunts]).reshape(-1, 3).T
    on = np.array([c.on for c in shunts], dtype=np.bool_)
    return Capacitors(tuple(c.id for c in shunts), nodes, kvar, on, *control)
