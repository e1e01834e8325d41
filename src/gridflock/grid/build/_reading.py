"""Our own feeder document: every element checked, then made a part.

A line is Kersting's exact model, ``[[Y + jB/2, -Y], [-Y, Y + jB/2]]``; a transformer an ideal ratio n
in front of its series admittance, ``[[Y, -Y·n], [-n·Y, n·Y·n]]`` (Kersting, *Distribution System
Modeling and Analysis*, ch. 6-8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._network import CapacitorMode, Network
from gridflock.grid.build._assemble import V_COLLAPSED, assemble
from gridflock.grid.build._document import FORMAT, Element, Faults, elements
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

FT_PER_MILE = 5280.0
Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
Phases = tuple[int, ...]
ZIP = {"pq": (1.0, 0.0, 0.0), "i": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
DELTA = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
"""Winding voltages of a delta from its corner voltages: a-b, b-c, c-a."""
ABC = (1, 2, 3)


def from_document(document: Mapping[str, Any]) -> Network:
    """Build the arrays from a feeder document.

    Raises:
        FeederRejected: naming every fault of the document.
    """
    return assemble(read(document))


def read(document: Mapping[str, Any]) -> Parts:
    """Check a document element by element.

    Raises:
        FeederRejected: with every fault found.
    """
    faults = Faults()
    head = Element(faults, "feeder", 0, {"id": "feeder", **document})
    head.choice("format", (FORMAT,))
    parts = Parts(
        head.text("name"), head.number("latitude", -90), head.number("longitude", -180),
        head.text("timezone"), faults,
    )  # fmt: skip
    buses, bus_v = _buses(parts, document)
    limits = _limits(head)
    parts.branches += [_switch(e, buses) for e in elements(faults, document, "switches", "switch")]
    parts.branches += _lines(faults, document, buses)
    parts.branches += [
        _transformer(e, buses, bus_v) for e in elements(faults, document, "transformers", "transformer")
    ]
    for e in elements(faults, document, "regulators", "regulator"):
        branch, control = _regulator(e, buses, bus_v)
        parts.branches.append(branch)
        parts.regulators.append(control)
    for e in elements(faults, document, "capacitors", "capacitor"):
        shunt, switch = _capacitor(e, buses, bus_v)
        parts.shunts.append(shunt)
        parts.capacitors.append(switch)
    parts.ports += [
        p for e in elements(faults, document, "loads", "load") for p in _loads(e, buses, bus_v, limits)
    ]
    parts.sections += [
        Section(e.id, e.text("title"), e.bus("head", buses))
        for e in elements(faults, document, "sections", "section")
    ]
    parts.sources += _source(faults, document, buses, bus_v)
    faults.stop_if_any()
    _check_sections(parts)
    return parts


def _check_sections(parts: Parts) -> None:
    if all(section.head != parts.sources[0].end.bus for section in parts.sections):
        parts.faults.add("section", "sections", "head", "the source bus heads no section")
        parts.faults.stop_if_any()


def _buses(parts: Parts, document: Mapping[str, Any]) -> tuple[dict[str, int], Float]:
    rows: dict[str, int] = {}
    for e in elements(parts.faults, document, "buses", "bus"):
        if e.id in rows:
            continue
        rows[e.id] = len(rows)
        v = e.number("kv", above=0.0) * 1000.0 / math.sqrt(3.0)
        parts.buses.append(Bus(e.id, v, (e.number("x_ft"), e.number("y_ft"))))
    return rows, np.array([bus.v for bus in parts.buses])


def _limits(head: Element) -> tuple[float, float]:
    low, high = head.numbers("load_range_pu", 2)
    if not 0.5 < low <= high:
        head.fault("load_range_pu", f"expected 0.5 < low <= high, got {low}, {high}")
        return 0.95, 1.05
    return low, high


def _source(
    faults: Faults, document: Mapping[str, Any], buses: Mapping[str, int], bus_v: Float
) -> list[Source]:
    fields = document.get("source")
    if not isinstance(fields, Mapping):
        faults.add("source", "source", "source", "missing")
        return []
    e = Element(faults, "source", 0, {"id": "source", **fields})
    z = complex(e.number("r_ohm", 0.0), e.number("x_ohm", 0.0))
    if z == 0:
        e.fault("x_ohm", "zero impedance")
        z = 1j
    bus = e.bus("bus", buses)
    v = e.number("v_pu", above=0.0) * _base_of(bus_v, bus)
    turns = np.exp(-2j * np.pi / 3 * np.arange(3))
    return [Source("source", End(bus, ABC), v * turns, np.eye(3, dtype=np.complex128) / z)]


def _ends(e: Element, buses: Mapping[str, int]) -> tuple[int, int]:
    ends = e.bus("from", buses), e.bus("to", buses)
    if ends[0] == ends[1] != -1:
        e.fault("to", "both ends on the same bus")
    return ends


def _two_ended(ends: tuple[int, int], phases: Phases) -> tuple[End, End]:
    conductors = tuple(p + 1 for p in phases)
    return End(ends[0], conductors), End(ends[1], conductors)


def _series(y: NDArray[Any], charging: NDArray[Any] | float = 0.0, ratio: float = 1.0) -> Complex:
    """(2k, 2k) block of a series admittance with charging and a voltage ratio from/to."""
    half = 0.5 * np.asarray(charging, dtype=np.complex128)
    return np.block([[y + half, -y * ratio], [-y * ratio, y * ratio**2 + half]])


def _switch(e: Element, buses: Mapping[str, int]) -> Branch:
    ends = _ends(e, buses)
    closed = e.flag("closed")
    phases = e.phases("phases")
    y = np.eye(len(phases), dtype=np.complex128) / e.number("resistance_ohm", above=0.0)
    rating = e.number("rating_a", above=0.0)
    return Branch(e.id, "switch", _two_ended(ends, phases), _series(y), rating, closed)


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


def _lines(faults: Faults, document: Mapping[str, Any], buses: Mapping[str, int]) -> list[Branch]:
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
        series = np.linalg.inv(c.z_mile * miles)
        block = _series(series, 1j * c.b_mile * miles)
        lines.append(Branch(e.id, "line", _two_ended(ends, c.phases), block, c.ampacity_a))
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


def _transformer(e: Element, buses: Mapping[str, int], bus_v: Float) -> Branch:
    ends = _ends(e, buses)
    connection = e.choice("connection", ("delta-delta", "wye-wye"))
    kva = e.number("kva", above=0.0)
    v_from, v_to = (_base_of(bus_v, end) for end in ends)
    windings = DELTA if connection == "delta-delta" else np.eye(3)
    v = v_from * (math.sqrt(3.0) if connection == "delta-delta" else 1.0)
    va = kva * 1000.0 / 3.0
    y: Complex = windings.T @ windings * np.complex128(_winding_y(e, v, va))
    block = _series(y, ratio=v_from / v_to)
    ppm = e.number("antifloat_ppm", 0.0) * 1e-6 if e.has("antifloat_ppm") else 0.0
    stray = np.repeat([ppm * va / v**2, ppm * va / (v * v_to / v_from) ** 2], 3)
    rating = kva * 1000.0 / (3.0 * v_from)
    return Branch(e.id, "transformer", _two_ended(ends, (0, 1, 2)), block - 1j * np.diag(stray), rating)


def _regulator(e: Element, buses: Mapping[str, int], bus_v: Float) -> tuple[Branch, Regulator]:
    ends = _ends(e, buses)
    phases = e.phases("phases")
    monitored = e.phases("monitored")
    if monitored and (len(monitored) != 1 or monitored[0] not in phases):
        e.fault("monitored", "expected one of the regulator's phases")
    v = _base_of(bus_v, ends[0])
    if v != _base_of(bus_v, ends[1]):
        e.fault("to", "a regulator's two buses must have the same nominal voltage")
    va = e.number("kva", above=0.0) * 1000.0 / max(1, len(phases))
    y = np.eye(len(phases)) * _winding_y(e, v, va)
    ct_a = e.number("ct_primary_a", above=0.0)
    branch = Branch(e.id, "regulator", _two_ended(ends, phases), _series(y), ct_a)
    phase = monitored[0] if monitored else 0
    place = phases.index(phase) if phase in phases else 0
    control = Regulator(
        e.id, e.id, 1, (ends[1], phase + 1, 0), len(phases) + place,
        e.number("vreg_v", above=0.0), e.number("band_v", above=0.0), e.number("pt_ratio", above=0.0),
        ct_a, e.number("r_v"), e.number("x_v"), e.number("delay_s", 0.0), e.whole("tap", -16, 16), v,
    )  # fmt: skip
    return branch, control


def _capacitor(e: Element, buses: Mapping[str, int], bus_v: Float) -> tuple[Shunt, Capacitor]:
    phases = e.phases("phases")
    kvar = np.array(e.numbers("kvar", len(phases)))
    bus = e.bus("bus", buses)
    v = _base_of(bus_v, bus)
    conductors = tuple(p + 1 for p in phases)
    shunt = Shunt(e.id, "capacitor", End(bus, conductors), np.diag(1j * kvar * 1000.0 / v**2))
    if not any(e.has(f) for f in ("v_on_pu", "v_off_pu", "delay_s")):
        return shunt, Capacitor(e.id, e.id, e.flag("on"))
    v_on, v_off, delay = e.number("v_on_pu", 0.0), e.number("v_off_pu", 0.0), e.number("delay_s", 0.0)
    if v_on >= v_off:
        e.fault("v_off_pu", "must lie above v_on_pu")
    seen = tuple((bus, c) for c in conductors)
    return shunt, Capacitor(
        e.id, e.id, e.flag("on"), CapacitorMode.VOLTAGE, seen,
        on_at=v_on * v, off_at=v_off * v, delay_s=delay, delay_off_s=delay,
    )  # fmt: skip


def _loads(e: Element, buses: Mapping[str, int], bus_v: Float, limits: tuple[float, float]) -> list[Port]:
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
        first = phases[0] + 1 if phases else 1
        parts.append(
            Port(
                f"{e.id}{name}", bus, (first, phases[1] + 1 if len(phases) > 1 else 0),
                -complex(kw[k], kvar[k]), rated, shares, shares, limits=(V_COLLAPSED, *limits),
                edge=(_current(shares, limits[0]), _current(shares, limits[1])),
            )
        )  # fmt: skip
    return parts


def _current(shares: tuple[float, float, float], r: float) -> float:
    """Current of a port at voltage r, per unit of its nominal one."""
    return shares[0] / r + shares[1] + shares[2] * r
