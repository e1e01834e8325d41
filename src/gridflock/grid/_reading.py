"""From a feeder document to checked parts: buses, branches, ports, controls, sections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._document import FORMAT, Element, Faults, elements

FT_PER_MILE = 5280.0
Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
Phases = tuple[int, ...]
ZIP = {"pq": (1.0, 0.0, 0.0), "i": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
DELTA = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
"""Winding voltages of a delta from its corner voltages: a-b, b-c, c-a."""


@dataclass(frozen=True, slots=True)
class BranchPart:
    """One two-ended element; matrices are (3, 3) over phases a, b, c, zero where absent."""

    id: str
    kind: str
    ends: tuple[int, int]
    phases: Phases
    y: Complex
    b: Float
    ratio: float
    rating_a: float
    stray_s: tuple[float, float] = (0.0, 0.0)
    control: int = -1
    delta: bool = False


@dataclass(frozen=True, slots=True)
class RegulatorPart:
    """Settings of one tap control, in the order of ``Regulators``."""

    id: str
    to_bus: int
    monitored: int
    settings: tuple[float, ...]
    tap: int


@dataclass(frozen=True, slots=True)
class CapacitorPart:
    """One shunt capacitor."""

    id: str
    bus: int
    phases: Phases
    kvar: tuple[float, ...]
    on: bool
    control: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LoadPart:
    """One load port; ``phases`` are one (to ground) or two (between phases)."""

    id: str
    bus: int
    phases: Phases
    kva: complex
    zip: tuple[float, float, float]
    rated_v: float
    limits: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a document says, checked element by element."""

    faults: Faults
    name: str
    site: tuple[float, float, str]
    source: tuple[int, float, complex]
    buses: dict[str, int]
    bus_v: Float
    bus_xy: Float
    branches: list[BranchPart]
    switches: list[tuple[str, int, int, bool]]
    regulators: list[RegulatorPart]
    capacitors: list[CapacitorPart]
    loads: list[LoadPart]
    sections: list[tuple[str, str, int]]


def read(document: Mapping[str, Any]) -> Parts:
    """Check a document element by element.

    Raises:
        FeederRejected: with every fault found.
    """
    faults = Faults()
    head = Element(faults, "feeder", 0, {"id": "feeder", **document})
    head.choice("format", (FORMAT,))
    site = (head.number("latitude", -90), head.number("longitude", -180), head.text("timezone"))
    buses, bus_v, bus_xy = _buses(faults, document)
    limits = _limits(head)
    switches = [_switch(e, buses) for e in elements(faults, document, "switches", "switch")]
    branches = [part for _, part in switches if part is not None]
    branches += _lines(faults, document, buses)
    branches += [
        _transformer(e, buses, bus_v) for e in elements(faults, document, "transformers", "transformer")
    ]
    regulators = []
    for row, e in enumerate(elements(faults, document, "regulators", "regulator")):
        branch, control = _regulator(e, buses, bus_v, row)
        branches.append(branch)
        regulators.append(control)
    capacitors = [_capacitor(e, buses) for e in elements(faults, document, "capacitors", "capacitor")]
    loads = [p for e in elements(faults, document, "loads", "load") for p in _loads(e, buses, bus_v, limits)]
    sections = [
        (e.id, e.text("title"), e.bus("head", buses))
        for e in elements(faults, document, "sections", "section")
    ]
    _unique(faults, "branch", [b.id for b in branches])
    _unique(faults, "load", [p.id for p in loads])
    name = head.text("name")
    source = _source(faults, document, buses, bus_v)
    faults.stop_if_any()
    return Parts(
        faults, name, site, source, buses, bus_v, bus_xy, branches, [s for s, _ in switches],
        regulators, capacitors, loads, sections,
    )  # fmt: skip


def _buses(faults: Faults, document: Mapping[str, Any]) -> tuple[dict[str, int], Float, Float]:
    rows: dict[str, int] = {}
    volts: list[float] = []
    places: list[tuple[float, float]] = []
    for e in elements(faults, document, "buses", "bus"):
        if e.id in rows:
            continue
        rows[e.id] = len(rows)
        volts.append(e.number("kv", above=0.0) * 1000.0 / math.sqrt(3.0))
        places.append((e.number("x_ft"), e.number("y_ft")))
    return rows, np.array(volts), np.array(places).reshape(-1, 2)


def _limits(head: Element) -> tuple[float, float]:
    low, high = head.numbers("load_range_pu", 2)
    if not 0.5 < low <= high:
        head.fault("load_range_pu", f"expected 0.5 < low <= high, got {low}, {high}")
        return 0.95, 1.05
    return low, high


def _source(
    faults: Faults, document: Mapping[str, Any], buses: Mapping[str, int], bus_v: Float
) -> tuple[int, float, complex]:
    fields = document.get("source")
    if not isinstance(fields, Mapping):
        faults.add("source", "source", "source", "missing")
        return 0, 1.0, 1j
    e = Element(faults, "source", 0, {"id": "source", **fields})
    z = complex(e.number("r_ohm", 0.0), e.number("x_ohm", 0.0))
    if z == 0:
        e.fault("x_ohm", "zero impedance")
    bus = e.bus("bus", buses)
    return bus, e.number("v_pu", above=0.0) * (bus_v[bus] if bus >= 0 else 1.0), z


def _ends(e: Element, buses: Mapping[str, int]) -> tuple[int, int]:
    ends = e.bus("from", buses), e.bus("to", buses)
    if ends[0] == ends[1] != -1:
        e.fault("to", "both ends on the same bus")
    return ends


def _placed(phases: Phases, matrix: NDArray[Any]) -> NDArray[Any]:
    full = np.zeros((3, 3), dtype=matrix.dtype)
    full[np.ix_(phases, phases)] = matrix
    return full


def _switch(e: Element, buses: Mapping[str, int]) -> tuple[tuple[str, int, int, bool], BranchPart | None]:
    ends = _ends(e, buses)
    closed = e.flag("closed")
    phases = e.phases("phases")
    y = np.eye(len(phases), dtype=np.complex128) / e.number("resistance_ohm", above=0.0)
    zero = np.zeros((3, 3))
    part = BranchPart(
        e.id, "switch", ends, phases, _placed(phases, y), zero, 1.0, e.number("rating_a", above=0.0)
    )
    return (e.id, *ends, closed), part if closed else None


@dataclass(frozen=True, slots=True)
class _Configuration:
    phases: Phases
    z_mile: Complex
    b_mile: Float
    ampacity_a: float


def _configurations(faults: Faults, document: Mapping[str, Any]) -> dict[str, _Configuration]:
    found = {}
    for e in elements(faults, document, "line_configurations", "line configuration"):
        phases = e.phases("phases")
        k = len(phases)
        z = np.array(e.matrix("r_ohm_mile", k)) + 1j * np.array(e.matrix("x_ohm_mile", k))
        b = np.array(e.matrix("b_us_mile", k)) * 1e-6
        if k and abs(np.linalg.det(z)) < 1e-12:
            e.fault("r_ohm_mile", "zero impedance: the matrix R + jX has no inverse")
            z = np.eye(k, dtype=np.complex128)
        found[e.id] = _Configuration(phases, z, b, e.number("ampacity_a", above=0.0))
    return found


def _lines(faults: Faults, document: Mapping[str, Any], buses: Mapping[str, int]) -> list[BranchPart]:
    configurations = _configurations(faults, document)
    lines = []
    for e in elements(faults, document, "lines", "line"):
        ends = _ends(e, buses)
        phases = e.phases("phases")
        miles = e.number("length_ft", above=0.0) / FT_PER_MILE
        name = e.text("configuration")
        c = configurations.get(name)
        if c is None:
            if name:
                e.fault("configuration", f"unknown line configuration {name!r}")
            continue
        if phases and c.phases and sorted(phases) != sorted(c.phases):
            e.fault("phases", f"do not match those of line configuration {name!r}")
            continue
        y = _placed(c.phases, np.linalg.inv(c.z_mile * miles))
        lines.append(
            BranchPart(e.id, "line", ends, phases, y, _placed(c.phases, c.b_mile * miles), 1.0, c.ampacity_a)
        )
    return lines


def _winding_y(e: Element, v: float, va: float) -> complex:
    """Series admittance of a winding pair on the voltage base ``v`` and the power base ``va``."""
    z = complex(e.number("r_percent", 0.0), e.number("x_percent", 0.0)) / 100.0
    if z == 0:
        e.fault("x_percent", "zero impedance")
        z = 1 + 0j
    return va / (z * v * v)


def _base_of(bus_v: Float, bus: int) -> float:
    return float(bus_v[bus]) if bus >= 0 else 1.0


def _transformer(e: Element, buses: Mapping[str, int], bus_v: Float) -> BranchPart:
    ends = _ends(e, buses)
    connection = e.choice("connection", ("delta-delta", "wye-wye"))
    kva = e.number("kva", above=0.0)
    v_from, v_to = (_base_of(bus_v, end) for end in ends)
    windings = DELTA if connection == "delta-delta" else np.eye(3)
    v = v_from * (math.sqrt(3.0) if connection == "delta-delta" else 1.0)
    y: Complex = windings.T @ windings * np.complex128(_winding_y(e, v, kva * 1000.0 / 3.0))
    rating = kva * 1000.0 / (3.0 * v_from)
    ppm = e.number("antifloat_ppm", 0.0) * 1e-6 if e.has("antifloat_ppm") else 0.0
    va = kva * 1000.0 / 3.0
    stray = ppm * va / v**2, ppm * va / (v * v_to / v_from) ** 2
    zero = np.zeros((3, 3))
    delta = connection == "delta-delta"
    return BranchPart(
        e.id, "transformer", ends, (0, 1, 2), y, zero, v_from / v_to, rating, stray, delta=delta
    )


def _regulator(
    e: Element, buses: Mapping[str, int], bus_v: Float, row: int
) -> tuple[BranchPart, RegulatorPart]:
    ends = _ends(e, buses)
    phases = e.phases("phases")
    monitored = e.phases("monitored")
    if monitored and (len(monitored) != 1 or monitored[0] not in phases):
        e.fault("monitored", "expected one of the regulator's phases")
    v = _base_of(bus_v, ends[0])
    if v != _base_of(bus_v, ends[1]):
        e.fault("to", "a regulator's two buses must have the same nominal voltage")
    va = e.number("kva", above=0.0) * 1000.0 / max(1, len(phases))
    y = _placed(phases, np.eye(len(phases)) * _winding_y(e, v, va))
    ct_a = e.number("ct_primary_a", above=0.0)
    settings = (
        e.number("vreg_v", above=0.0), e.number("band_v", above=0.0), e.number("pt_ratio", above=0.0),
        ct_a, e.number("r_v"), e.number("x_v"), e.number("delay_s", 0.0),
    )  # fmt: skip
    branch = BranchPart(e.id, "regulator", ends, phases, y, np.zeros((3, 3)), 1.0, ct_a, control=row)
    control = RegulatorPart(
        e.id, ends[1], monitored[0] if monitored else 0, settings, e.whole("tap", -16, 16)
    )
    return branch, control


def _capacitor(e: Element, buses: Mapping[str, int]) -> CapacitorPart:
    phases = e.phases("phases")
    kvar = tuple(e.numbers("kvar", len(phases)))
    fields = ("v_on_pu", "v_off_pu", "delay_s")
    if any(e.has(f) for f in fields):
        v_on, v_off, delay = e.number("v_on_pu", 0.0), e.number("v_off_pu", 0.0), e.number("delay_s", 0.0)
        if v_on >= v_off:
            e.fault("v_off_pu", "must lie above v_on_pu")
    else:
        v_on, v_off, delay = math.nan, math.nan, math.nan
    return CapacitorPart(e.id, e.bus("bus", buses), phases, kvar, e.flag("on"), (v_on, v_off, delay))


def _loads(e: Element, buses: Mapping[str, int], bus_v: Float, limits: tuple[float, float]) -> list[LoadPart]:
    bus = e.bus("bus", buses)
    connection = e.choice("connection", ("wye", "delta"))
    shares = ZIP[e.choice("model", tuple(ZIP))]
    names = e.fields.get("phases")
    if not isinstance(names, list | tuple) or not names:
        e.fault("phases", "missing" if names is None else "expected a list of phases or phase pairs")
        return []
    kw, kvar = e.numbers("demand_kw", len(names)), e.numbers("demand_kvar", len(names))
    wires = 2 if connection == "delta" else 1
    nominal = _base_of(bus_v, bus) * (math.sqrt(3.0) if wires == 2 else 1.0)
    rated = e.number("rated_v", above=0.0) if e.has("rated_v") else nominal
    parts = []
    for k, name in enumerate(names):
        port = Element(e._faults, e.component, e.row, {"id": e.id, "phases": name})  # noqa: SLF001 same document, same list of faults
        phases = port.phases("phases")
        if phases and len(phases) != wires:
            e.fault("phases", f"{name!r} does not fit a {connection} connection")
        parts.append(LoadPart(f"{e.id}{name}", bus, phases, -complex(kw[k], kvar[k]), shares, rated, limits))
    return parts


def _unique(faults: Faults, component: str, ids: list[str]) -> None:
    for name in sorted({i for i in ids if ids.count(i) > 1}):
        faults.add(component, name, "id", f"duplicate {name!r}")
