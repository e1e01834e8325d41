"""The parts of one running system, joined by plain index arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from gridflock.fleet import Fleet, Groups, Image, reactive_room
from gridflock.fleet.groups import Rule
from gridflock.fleet.registry import Registry
from gridflock.forecast import Site
from gridflock.grid import Area, Flow, Network
from gridflock.grid.build import FeederRejected, from_document
from gridflock.market import tariffs
from gridflock.model import Rejected
from gridflock.runtime._registry import Rows as FileRows
from gridflock.runtime._sites import add_sites
from gridflock.schema import Family, Kind
from gridflock.units import PHASES, Kw, Pu, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where resources hang: fleet rows to feeder nodes and loads.

    Attributes:
        load_rows: (n_loads,) fleet row of each network load's meter; -1 where it has none.
        der_rows: (m,) fleet rows that inject at nodes.
        spread: (n_nodes, m) share of a resource's power at each node.
        volt_rows: (k,) fleet rows of single-phase resources, whose voltage is that of one node.
        volt_nodes: (k,) that node.
        head_rows: (3,) fleet rows of the head meters, phases a, b, c.
    """

    load_rows: Rows
    der_rows: Rows
    spread: sparse.csr_matrix
    volt_rows: Rows
    volt_nodes: Rows
    head_rows: Rows

    @classmethod
    def of(cls, fleet: Fleet, network: Network) -> Places:
        """Resolve ids and buses once."""
        kind = fleet.columns["kind"]
        bus_row = {bus: row for row, bus in enumerate(network.buses)}
        to_bus = np.array([bus_row[bus] for bus in fleet.labels["bus"]], dtype=np.int32)
        der = np.flatnonzero(fleet.family != Family.NONE).astype(np.int32)
        spread = network.spread(to_bus[fleet.columns["bus"][der]], fleet.columns["phases"][der])
        heads = np.flatnonzero(kind == Kind.FEEDER_HEAD)
        order = np.argsort(fleet.columns["phases"][heads])
        loads = np.array([fleet.row_of.get(name, -1) for name in network.loads], dtype=np.int32)
        by_item = spread.tocsc()
        single = np.diff(by_item.indptr) == 1
        nodes = by_item.indices[by_item.indptr[:-1]][single].astype(np.int32)
        head = heads[order].astype(np.int32)
        return cls(loads, der, sparse.csr_matrix(spread), der[single], nodes, head)

    def load_kva(self, image: Image) -> np.ndarray:
        """Complex (n_loads,) newest metered demand in house sign; NaN where unheard."""
        s = np.asarray(image.p_kw, dtype=np.float64) + 1j * np.asarray(image.q_kvar, dtype=np.float64)
        heard: np.ndarray = np.append(s, np.nan + 0j)[self.load_rows]  # row -1 is the absent one
        return heard

    def inject_kva(self, image: Image, p_kw: Kw | None = None) -> np.ndarray:
        """Complex (n_nodes,) injection of the resources: as heard, or at ``p_kw`` (n,) where finite."""
        p = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
        if p_kw is not None:
            p = np.where(np.isfinite(p_kw), p_kw, p)
        q = np.nan_to_num(np.asarray(image.q_kvar, dtype=np.float64))
        injected: np.ndarray = self.spread @ (p + 1j * q)[self.der_rows]
        return injected

    def best_v_pu(self, network: Network, image: Image, flow: Flow) -> Pu:
        """(n,) estimated voltages, shifted per section and phase by what the meters there measure."""
        measured = image.v_pu[self.volt_rows]
        heard = np.isfinite(measured)
        node = self.volt_nodes[heard]
        area = network.bus_section[network.node_bus] * 3 + network.node_phase
        size = int(area.max()) + 1
        gap = np.bincount(area[node], weights=measured[heard] - flow.v_pu[node], minlength=size)
        shift = gap / np.maximum(np.bincount(area[node], minlength=size), 1)
        best: Pu = flow.v_pu + shift[area]
        return best

    def head_kva(self, image: Image) -> np.ndarray:
        """Complex (3,) measured net injection at the feeder head per phase; NaN where unheard."""
        if len(self.head_rows) != 3:
            return np.full(3, np.nan + 0j)
        s: np.ndarray = np.asarray(image.p_kw[self.head_rows], dtype=np.float64) + 1j * np.asarray(
            image.q_kvar[self.head_rows], dtype=np.float64
        )
        return s


class RowsOf(Mapping[str, Rows]):
    """Rows of every group and resource, found once when asked; a group goes before a resource of its name."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self._found: dict[str, Rows] = {}

    def __getitem__(self, name: str) -> Rows:
        """Rows, ascending. Raises ``KeyError`` for an unknown name."""
        rows = self._found.get(name)
        if rows is None:
            known = name in self.groups
            rows = self.groups.rows(name) if known else np.array([self.groups.fleet.row_of[name]], np.int32)
            self._found[name] = rows
        return rows

    def __contains__(self, name: object) -> bool:
        return name in self._found or name in self.groups or name in self.groups.fleet.row_of

    def __iter__(self) -> Iterator[str]:
        yield from self.groups.ids
        yield from (name for name in self.groups.fleet.ids if name not in self.groups)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """Network, fleet and groups of one feeder.

    Attributes:
        title: what people call the feeder.
        network: the feeder as the utility knows it.
        fleet: state of every resource.
        groups: virtual DERs; another state of them is another system.
        places: rows to nodes.
        site: where the feeder stands.
        charged_sites: groups of connection points whose bill has a demand charge.
        rejected: registry rows that were refused.
        rows_of: every group's and resource's rows.
    """

    title: str
    network: Network
    fleet: Fleet
    groups: Groups
    places: Places
    site: Site
    charged_sites: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    rows_of: RowsOf = field(init=False)

    def __post_init__(self) -> None:
        """Another state of the groups has other rows."""
        object.__setattr__(self, "rows_of", RowsOf(self.groups))

    @classmethod
    def build(
        cls, document: Mapping[str, object], registry: Registry | Iterable[Mapping[str, object]]
    ) -> System:
        """Join a feeder document and a registry, or its rows; faults name rows of a file by its lines.

        Raises:
            FeederRejected: the feeder document is at fault; all faults listed.
        """
        network = from_document(document)
        _refuse_dead(network)
        fleet, rejected = _fleet(network, registry)
        sections = {
            bus: network.sections[section]
            for bus, section in zip(network.buses, network.bus_section, strict=True)
        }
        groups = Groups.standard(
            fleet, sections, dict(zip(network.sections, network.section_titles, strict=True))
        )
        _add_phase_areas(groups)
        sites = add_sites(groups, fleet, tariffs(network.timezone))
        site = Site(network.latitude, network.longitude, network.timezone)
        places = Places.of(fleet, network)
        title = str(document.get("title") or network.name)
        return cls(title, network, fleet, groups, places, site, sites, rejected)


def phases_of_buses(network: Network) -> dict[str, int]:
    """Mask of the phases present at each bus: where a resource may be connected."""
    return {bus: int(mask) for bus, mask in zip(network.buses, network.bus_phases, strict=True)}


def _fleet(
    network: Network, registry: Registry | Iterable[Mapping[str, object]]
) -> tuple[Fleet, tuple[Rejected, ...]]:
    """A fleet of a registry, or of rows, and the faults of these."""
    if isinstance(registry, Registry):
        return Fleet(registry), ()
    fleet, rejected = Fleet.from_rows(registry, phases_of_buses(network))
    if isinstance(registry, FileRows):
        rejected = tuple(replace(f, row=registry.numbers[f.row - 1] if f.row else 0) for f in rejected)
    return fleet, rejected


def _refuse_dead(network: Network) -> None:
    """A running system needs every bus fed: its groups and meters name sections of live feeders.

    Raises:
        FeederRejected: buses stand behind open switches.
    """
    dead = [network.buses[row] for row in np.flatnonzero(~network.topology.bus_live).tolist()]
    if dead:
        raise FeederRejected(
            [Rejected("bus", "id", (name,), "dead: it stands behind an open switch") for name in dead]
        )


def _add_phase_areas(groups: Groups) -> None:
    """``section/<s>/<phase>``: the resources that act on one phase of one section."""
    for section in groups.level("section").ids:
        for phase in PHASES:
            name, title = f"{section}/{phase}", f"{groups.title(section)}, phase {phase}"
            rule = Rule(f"phases has {phase} and not family = none", inside=(section,))
            if rule.mask(groups.fleet, groups.rows).any():
                faults = groups.add(name, title, rule=rule, parents=(section,))
                assert not faults, faults


@dataclass(frozen=True, slots=True, eq=False)
class PhaseAreas:
    """The ``section/<s>/<phase>`` groups as areas that answer for voltages.

    Attributes:
        areas: k groups with their nodes.
        active: CSR (k, n) 1 where a row is a member: the group's sum.
        reactive: CSR (k, n) share of a row's phases that lie in the area.
    """

    areas: tuple[Area, ...]
    active: sparse.csr_matrix
    reactive: sparse.csr_matrix

    @classmethod
    def of(cls, system: System) -> PhaseAreas:
        """Resolve groups, nodes and members once."""
        network, columns = system.network, system.fleet.columns
        size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)
        phases = np.maximum(np.bitwise_count(columns["phases"]), 1)
        areas, rows = [], []
        for s, section in enumerate(network.sections):
            for k, phase in enumerate(PHASES):
                group = f"section/{section}/{phase}"
                here = (network.bus_section[network.node_bus] == s) & (network.node_phase == k)
                if group not in system.rows_of or not here.any():
                    continue
                mine = np.zeros(len(size))
                mine[system.rows_of[group]] = size[system.rows_of[group]]
                weight = np.where(here, system.places.spread @ mine[system.places.der_rows], 0.0)
                nodes = np.flatnonzero(here).astype(np.int32)
                areas.append(Area(group, nodes, weight / max(weight.sum(), 1e-9)))
                rows.append(system.rows_of[group])
        shape = (len(areas), len(size))
        at = np.repeat(np.arange(len(areas)), [len(r) for r in rows])
        members = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
        active = sparse.csr_matrix((np.ones(len(members)), (at, members)), shape=shape)
        reactive = sparse.csr_matrix((1.0 / phases[members], (at, members)), shape=shape)
        return cls(tuple(areas), active, reactive)

    def present(self, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """Complex (k,) present injection (reactive: of inverters only) and (k,) reactive room, kvar."""
        room = reactive_room(image)
        p = self.active @ np.nan_to_num(image.p_kw.astype(np.float64))
        q = self.reactive @ np.where(room > 0, np.nan_to_num(image.q_kvar.astype(np.float64)), 0.0)
        return p + 1j * q, self.reactive @ room
