"""The network as arrays: nodes, primitive blocks, ports, controls, sections.

Everything here is what a feeder *is*; what follows from it (who is fed, by whom, which section a
bus stands in) is derived by ``_topology`` whenever a version is made.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.grid._topology import NEUTRAL, Topology, derive
from gridflock.grid._wiring import Wiring, wire
from gridflock.units import PHASES, Codes, Mask, Rows, phase_letters

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


class PortKind(IntEnum):
    """What stands at a port."""

    LOAD = 0
    PV = 1
    STORAGE = 2
    GENERATOR = 3


class CapacitorMode(IntEnum):
    """What the control of a capacitor looks at."""

    FIXED = 0
    VOLTAGE = 1
    KVAR = 2
    CURRENT = 3
    TIME = 4


@dataclass(frozen=True, eq=False)
class Blocks:
    """Dense primitive admittances, one per element, over all conductors of its ends.

    Attributes:
        start: (m+1,) first conductor of each element.
        node: (c,) node of each conductor; -1 is ground.
        end: (c,) which end of its element a conductor belongs to, 0-based.
        y_start: int64 (m+1,) first value of each element's block.
        y: complex (sum of k²,) blocks row by row, S.
    """

    start: Rows
    node: Rows
    end: Codes
    y_start: NDArray[np.int64]
    y: Complex

    @cached_property
    def sizes(self) -> Rows:
        """(m,) conductors of each element."""
        return np.diff(self.start)

    @cached_property
    def owner(self) -> Rows:
        """(c,) element of each conductor."""
        return np.repeat(np.arange(len(self.start) - 1, dtype=np.int32), self.sizes)

    def block(self, row: int) -> Complex:
        """(k, k) block of one element."""
        k = int(self.start[row + 1] - self.start[row])
        return self.y[self.y_start[row] : self.y_start[row + 1]].reshape(k, k)

    def pairs(self) -> tuple[Rows, Rows]:
        """Conductor of the row and of the column of every value in ``y``; found once."""
        return self._pairs

    @cached_property
    def _pairs(self) -> tuple[Rows, Rows]:
        k = np.repeat(self.sizes, self.sizes**2).astype(np.int64)
        within = np.arange(len(self.y)) - np.repeat(self.y_start[:-1], self.sizes.astype(np.int64) ** 2)
        first = np.repeat(self.start[:-1], self.sizes**2)
        return (first + within // k).astype(np.int32), (first + within % k).astype(np.int32)

    @classmethod
    def stacked(cls, nodes: list[list[int]], ends: list[list[int]], matrices: list[Complex]) -> Blocks:
        """Blocks from element-wise lists."""
        sizes = np.array([len(n) for n in nodes], dtype=np.int64)
        flat = [np.asarray(m, dtype=np.complex128).ravel() for m in matrices]
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
            np.array([v for n in nodes for v in n], dtype=np.int32),
            np.array([v for e in ends for v in e], dtype=np.uint8),
            np.concatenate([[0], np.cumsum(sizes**2)]).astype(np.int64),
            np.concatenate(flat) if flat else np.empty(0, dtype=np.complex128),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Regulators:
    """Tap-changing controls, one row each; a ganged one moves all phases of its end.

    Attributes:
        ids: K names.
        branch: (K,) branch row it moves.
        end: (K,) tapped end of that branch.
        node: (K,) regulated node.
        node_to: (K,) second node of the potential transformer; -1 is ground.
        conductor: (K,) row among the conductors of ``Network.branch_blocks`` whose current feeds
            the line-drop compensation; -1 without.
        v_set_v: (K,) voltage level on the control's own base (120 V).
        band_v: (K,) full band width on the same base.
        pt_ratio: (K,) potential transformer ratio.
        ct_a: (K,) primary current of the current transformer at which R and X are given.
        r_v: (K,) line-drop compensation, resistive setting in volt.
        x_v: (K,) line-drop compensation, reactive setting in volt.
        delay_s: (K,) time out of band before a tap moves.
        tap: int8 (K,) written position.
        tap_low: int8 (K,) lowest position.
        tap_high: int8 (K,) highest position.
        step_pu: (K,) voltage of one position, per unit.
        base_v: (K,) nominal voltage of the regulated winding, V.
        most_taps: (K,) positions it may move in one action where time is not simulated.
        direction: int8 (K,) +1 where a higher tap raises the regulated voltage, else -1.
        locked: (K,) held at ``tap``: the control does not act.
    """

    ids: tuple[str, ...]
    branch: Rows
    end: Codes
    node: Rows
    node_to: Rows
    conductor: Rows
    v_set_v: Float
    band_v: Float
    pt_ratio: Float
    ct_a: Float
    r_v: Float
    x_v: Float
    delay_s: Float
    tap: NDArray[np.int8]
    tap_low: NDArray[np.int8]
    tap_high: NDArray[np.int8]
    step_pu: Float
    base_v: Float
    most_taps: NDArray[np.int8]
    direction: NDArray[np.int8]
    locked: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Capacitors:
    """Switches of shunt capacitors and their controls, one row each.

    Attributes:
        ids: M names.
        shunt: (M,) row among the shunts.
        on: (M,) written state.
        mode: (M,) ``CapacitorMode``.
        seen_start: (M+1,) first row of each control's ``seen_node``.
        seen_node: nodes whose mean voltage a control sees.
        flow_start: (M+1,) first row of each control's ``flow_conductor``.
        flow_conductor: rows among the conductors of ``Network.branch_blocks`` whose power is summed
            or whose current is averaged.
        on_at: (M,) switches on beyond (voltage: below) this: V or A on the control's own base,
            kvar into the branch, second of the day.
        off_at: (M,) switches off beyond this.
        pt_ratio: (M,) potential transformer ratio.
        ct_ratio: (M,) current transformer ratio.
        v_low_v: (M,) voltage override on the control's base; NaN without.
        v_high_v: (M,) the upper one.
        delay_s: (M,) time before it switches on.
        delay_off_s: (M,) time before it switches off.
    """

    ids: tuple[str, ...]
    shunt: Rows
    on: Mask
    mode: Codes
    seen_start: Rows
    seen_node: Rows
    flow_start: Rows
    flow_conductor: Rows
    on_at: Float
    off_at: Float
    pt_ratio: Float
    ct_ratio: Float
    v_low_v: Float
    v_high_v: Float
    delay_s: Float
    delay_off_s: Float


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One immutable version of a network. n nodes, nb buses, m branches, L ports.

    Attributes:
        name: short name.
        latitude: degrees north of the site; NaN unknown.
        longitude: degrees east of the site; NaN unknown.
        timezone: IANA name.
        buses: nb bus names.
        bus_xy: (nb, 2) plan coordinates; NaN unknown.
        node_bus: (n,) bus row.
        node_conductor: (n,) conductor number at that bus: 1, 2, 3 are the phases a, b, c or the legs
            of a split-phase bus, 4 and up are neutrals.
        v_base: (n,) nominal line-to-neutral voltage, V.
        sources: names of the voltage sources.
        source_of: (ks,) row in ``sources`` of each source conductor.
        source_nodes: (ks,) node rows.
        source_v: complex (ks,) voltage behind the source impedance, V.
        source_y_own: complex (ks, ks) its admittance, S, whether in service or not.
        source_out: (sources,) taken out of service.
        loads: L port ids: spot loads and the generation written in the feeder, one per phase (pair).
        load_kind: (L,) ``PortKind``.
        load_bus: (L,) bus row.
        load_nodes: (L, 2) nodes i and j of the port; j = -1 means ground.
        load_kva: complex (L,) nominal power, house sign (demand negative).
        load_zip: (L, 2, 3) shares of constant power, current, impedance, of P and of Q.
        load_exponent: (L, 2) exponents of the voltage instead, for P and Q; NaN where ``load_zip`` speaks.
        load_v: (L,) rated voltage across the port, V.
        load_range: (L, 3) pu: floor, low and high; between low and high the law holds.
        load_edge: (L, 2) current at low and at high, in parts of |kva|/load_v: above it grows like an
            impedance's, below it falls linearly to the nominal impedance's at the floor.
        load_scaled: (L,) follows a load multiplier.
        branches: m ids: lines, switches, transformers, regulators, series reactors.
        branch_kind: m times ``"line"``, ``"switch"``, ``"transformer"``, ``"regulator"``, ``"reactor"``.
        branch_from: (m,) bus row of the first end as written.
        branch_to: (m,) bus row of the second end.
        branch_closed: (m,) switch position: False where open.
        branch_out: (m,) taken out of service, whatever its switch position.
        branch_blocks: primitive admittances, regulated ends at neutral.
        rating_a: (m,) ampere per phase at the first end; NaN where unknown.
        shunts: ids of linear elements to ground.
        shunt_kind: ``"capacitor"``, ``"reactor"`` or ``"stray"``.
        shunt_blocks: primitive admittances, everything switched in.
        shunt_out: (s,) taken out of service, whatever its capacitor switch says.
        regulators: tap controls.
        capacitors: capacitor switches and controls.
        sections: section ids.
        section_titles: what a person calls them.
        section_head: (k,) bus row where each begins.
        notes: what the file says and this model leaves out.
        version: how many changes led here from the network as read.
        changes: in words, what changed from the version before.
        wiring: what follows from the elements alone; shared by versions that have the same ones.
        topology: what follows from all this; made with the version.
        load_powered: ports whose law has an exponent.
        load_alike: whether P and Q of every port follow the same law.
        load_incidence: CSR (n, L), +1 at node i and -1 at node j of each live port.
        factors: solved admittances of the last control states; a cache, no part of the value.
    """

    name: str
    latitude: float
    longitude: float
    timezone: str
    buses: tuple[str, ...]
    bus_xy: Float
    node_bus: Rows
    node_conductor: Codes
    v_base: Float
    sources: tuple[str, ...]
    source_of: Rows
    source_nodes: Rows
    source_v: Complex
    source_y_own: Complex
    source_out: Mask
    loads: tuple[str, ...]
    load_kind: Codes
    load_bus: Rows
    load_nodes: Rows
    load_kva: Complex
    load_zip: Float
    load_exponent: Float
    load_v: Float
    load_range: Float
    load_edge: Float
    load_scaled: Mask
    branches: tuple[str, ...]
    branch_kind: tuple[str, ...]
    branch_from: Rows
    branch_to: Rows
    branch_closed: Mask
    branch_out: Mask
    branch_blocks: Blocks
    rating_a: Float
    shunts: tuple[str, ...]
    shunt_kind: tuple[str, ...]
    shunt_blocks: Blocks
    shunt_out: Mask
    regulators: Regulators
    capacitors: Capacitors
    sections: tuple[str, ...]
    section_titles: tuple[str, ...]
    section_head: Rows
    notes: tuple[str, ...]
    version: int = 0
    changes: tuple[str, ...] = ()
    wiring: Wiring = field(init=False, repr=False)
    topology: Topology = field(init=False, repr=False)
    load_powered: NDArray[np.intp] = field(init=False, repr=False)
    load_alike: bool = field(init=False, repr=False)
    load_incidence: sparse.csr_matrix = field(init=False, repr=False)
    factors: dict[tuple[bytes, bytes], Any] = field(init=False, repr=False, default_factory=dict)

    wired: InitVar[Wiring | None] = None

    def __post_init__(self, wired: Wiring | None) -> None:
        object.__setattr__(self, "wiring", wire(self) if wired is None else wired)
        object.__setattr__(self, "topology", derive(self))
        ends = self.load_nodes
        rows, ports = ends.T.ravel(), np.tile(np.arange(len(ends)), 2)
        signs = np.repeat([1.0, -1.0], len(ends))
        kept = (rows >= 0) & np.tile(self.topology.port_live, 2)
        shape = (len(self.node_bus), len(ends))
        incidence = sparse.csr_matrix((signs[kept], (rows[kept], ports[kept])), shape=shape)
        object.__setattr__(self, "load_incidence", incidence)
        powered = ~np.isnan(self.load_exponent).all(axis=1)
        object.__setattr__(self, "load_powered", np.flatnonzero(powered))
        alike = np.array_equal(self.load_zip[:, 0], self.load_zip[:, 1]) and not powered.any()
        object.__setattr__(self, "load_alike", alike)

    @property
    def n(self) -> int:
        """How many nodes."""
        return len(self.node_bus)

    @property
    def branch_in(self) -> Mask:
        """(m,) closed and in service."""
        return self.branch_closed & ~self.branch_out

    @property
    def source_y(self) -> Complex:
        """Complex (ks, ks) admittance of the sources in service, S; zero at the others."""
        at_work = ~self.source_out[self.source_of]
        y: Complex = np.where(at_work[:, None] & at_work, self.source_y_own, 0.0)
        return y

    @property
    def node_phase(self) -> Rows:
        """(n,) phase 0, 1, 2; 3 for a neutral."""
        return np.minimum(self.node_conductor.astype(np.int32) - 1, NEUTRAL)

    @property
    def bus_phases(self) -> Codes:
        """(nb,) bit mask of the phases that exist at each bus."""
        return self.topology.bus_phases

    @property
    def bus_parent(self) -> Rows:
        """(nb,) next bus towards the source on a breadth-first tree; -1 at a source and where dead."""
        return self.topology.bus_parent

    @property
    def bus_section(self) -> Rows:
        """(nb,) row in ``sections``; -1 where dead."""
        return self.topology.bus_section

    @property
    def branch_phases(self) -> Codes:
        """(m,) bit mask of the phases at the first end."""
        return self.topology.branch_phases

    @property
    def branch_head(self) -> Rows:
        """(m, 3) row in ``branch_blocks.node`` of phase a, b, c at the first end; -1 absent."""
        return self.topology.branch_head

    @property
    def three_wire(self) -> Rows:
        """(k,) nodes of buses where nothing leads to ground."""
        return self.topology.three_wire

    @property
    def three_wire_next(self) -> Rows:
        """(k,) the node of the next phase at the same bus: an injection stands between the two."""
        return self.topology.three_wire_next

    @property
    def load_phase(self) -> Codes:
        """(L,) bit mask of the one or two phases of each port; 0 where it has only neutrals."""
        bits = np.append(1 << self.node_phase, 0) & 7
        return (bits[self.load_nodes[:, 0]] | bits[self.load_nodes[:, 1]]).astype(np.uint8)

    def node_name(self, row: int) -> str:
        """``bus.phase`` of a node, neutrals as ``bus.n``, further ones by their number."""
        conductor = int(self.node_conductor[row])
        letter = f"{PHASES}n"[conductor - 1] if conductor <= 4 else str(conductor)
        return f"{self.buses[self.node_bus[row]]}.{letter}"

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
        phase = np.flatnonzero(self.node_phase < NEUTRAL)
        table[self.node_bus[phase], self.node_phase[phase]] = phase
        return table

    def with_impedance_factors(self, factors: Float) -> Network:
        """The same feeder with each branch's impedance multiplied by its factor.

        Args:
            factors: (m,) positive.
        """
        blocks = self.branch_blocks
        widths = np.diff(blocks.y_start)
        scaled = replace(blocks, y=blocks.y / np.repeat(np.asarray(factors), widths))
        return replace(self, branch_blocks=scaled)
