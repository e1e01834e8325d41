"""Lines, series reactors and switches.

A line is its exact pi section, ``[[Y + B/2, -Y], [-Y, Y + B/2]]`` (Kersting, *Distribution System
Modeling and Analysis*, ch. 6), from a phase matrix, or from sequence values by
``z_self = (2 z1 + z0) / 3``, ``z_mutual = (z0 - z1) / 3``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.field.cim._model import Model, Thing
from gridflock.field.cim._places import PHASES, Places, brings_neutral
from gridflock.field.cim._wires import wire_matrices
from gridflock.grid.build import Branch, End, Parts

Complex = NDArray[np.complex128]
Matrices = tuple[Complex, Complex]
"""Series impedance, ohm, and shunt admittance, S."""
CLOSED_OHM = 1e-6
"""Resistance of a closed switch, which CIM gives none: 0.4 mV at 400 A."""
KINDS = {"ACLineSegment": "line", "SeriesCompensator": "reactor"}
SWITCHES = (
    "Switch", "LoadBreakSwitch", "Breaker", "Recloser", "Fuse", "Sectionaliser", "Disconnector", "Jumper",
    "ProtectedSwitch", "DisconnectingCircuitBreaker",
)  # fmt: skip
LIMIT_OWNERS = ("ACDCTerminal.OperationalLimitSet", "ConductingEquipment.OperationalLimitSet")


def read_lines(model: Model, places: Places, parts: Parts) -> None:
    """Every ``ACLineSegment`` and ``SeriesCompensator``."""
    for line in model.of(*KINDS):
        rows = places.bus_rows(line, 2)
        if not rows:
            continue
        phases = _line_phases(line)
        matrices = _series(line) if line.kind == "SeriesCompensator" else _matrices(line, phases)
        if matrices is None:
            continue
        z, shunt = matrices
        if abs(np.linalg.det(z)) <= 1e-12 * np.prod(np.abs(np.diag(z))) or not np.abs(z).any():
            line.fault("ACLineSegment.r", "zero impedance: the matrix R + jX has no inverse")
            continue
        ends = tuple(End(row, tuple(_conductor(places, p, row) for p in phases)) for row in rows)
        parts.branches.append(
            Branch(
                line.key, KINDS[line.kind], ends, pi_block(np.linalg.inv(z), shunt), rating(places, line),
                places.is_connected(line), line.where,
            )
        )  # fmt: skip


def pi_block(series: NDArray[Any], shunt: NDArray[Any]) -> Complex:
    """(2k, 2k) block of a series admittance with half the shunt admittance at each end, S."""
    half = np.asarray(series + shunt / 2.0, dtype=np.complex128)
    return np.block([[half, -series], [-series, half]])


def phase_matrix(one: complex, zero: complex, phases: int) -> Complex:
    """Self and mutual values of a transposed line from its sequence values."""
    mutual = (zero - one) / 3.0
    return np.full((phases, phases), mutual, dtype=np.complex128) + np.eye(phases) * one


def _conductor(places: Places, letter: str, bus: int) -> int:
    return PHASES.get(letter) or places.neutral(bus)


def _line_phases(line: Thing) -> list[str]:
    """Phases in the order of the matrix rows; a neutral that is folded into them is left out."""
    found = line.referring("ACLineSegmentPhase.ACLineSegment")
    if not brings_neutral(line):
        found = [p for p in found if p.text("ACLineSegmentPhase.phase") != "N"]
    number = "ACLineSegmentPhase.sequenceNumber"
    if not found:
        return ["A", "B", "C"]
    if all(p.has(number) for p in found):
        found = sorted(found, key=lambda p: p.whole(number))
    else:
        found = sorted(found, key=lambda p: p.text("ACLineSegmentPhase.phase").replace("N", "z"))
    names = [p.text("ACLineSegmentPhase.phase") for p in found]
    if len(set(names)) != len(names) or not set(names) <= {*PHASES, "N"}:
        line.fault("ACLineSegmentPhase.phase", f"contradictory phases {', '.join(names)}")
        return ["A"]
    return names


def _matrices(line: Thing, phases: list[str]) -> Matrices | None:
    """Series impedance, ohm, and shunt admittance, S, of the whole line."""
    if line.has("ACLineSegment.PerLengthImpedance"):
        table = line.ref("ACLineSegment.PerLengthImpedance")
        length = line.number("Conductor.length", above=0.0)
        if table is None:
            return None
        if table.kind == "PerLengthSequenceImpedance":
            per_m: Matrices | None = _sequence(table, "PerLengthSequenceImpedance", len(phases))
        elif table.kind == "PerLengthPhaseImpedance":
            per_m = _table(line, table, len(phases))
        else:
            line.fault("ACLineSegment.PerLengthImpedance", f"{table.kind} cannot be represented")
            return None
        return (per_m[0] * length, per_m[1] * length) if per_m else None
    if line.has("ACLineSegment.r") or line.has("ACLineSegment.x"):
        return _sequence(line, "ACLineSegment", len(phases))
    return wire_matrices(line, phases)


def _sequence(thing: Thing, kind: str, phases: int) -> Matrices:
    def pair(real: str, imaginary: str, other: complex | None = None) -> complex:
        default = None if other is None else (other.real, other.imag)
        return complex(
            thing.number(f"{kind}.{real}", default[0] if default else None),
            thing.number(f"{kind}.{imaginary}", default[1] if default else None),
        )

    one = pair("r", "x")
    zero = pair("r0", "x0", one)
    charge = pair("gch", "bch", 0j)
    return phase_matrix(one, zero, phases), phase_matrix(charge, pair("g0ch", "b0ch", charge), phases)


def _series(line: Thing) -> Matrices:
    one = complex(line.number("SeriesCompensator.r", 0.0), line.number("SeriesCompensator.x"))
    zero = complex(
        line.number("SeriesCompensator.r0", one.real), line.number("SeriesCompensator.x0", one.imag)
    )
    return phase_matrix(one, zero, 3), np.zeros((3, 3), dtype=np.complex128)


def _table(line: Thing, table: Thing, phases: int) -> Matrices | None:
    """Per-length phase matrices of a table."""
    size = table.whole("PerLengthPhaseImpedance.conductorCount", phases)
    if size != phases:
        line.fault(
            "ACLineSegment.PerLengthImpedance", f"{phases} phases, but {table.name} has {size} conductors"
        )
        return None
    z = np.full((size, size), np.nan, dtype=np.complex128)
    shunt = np.zeros((size, size), dtype=np.complex128)
    for data in table.referring("PhaseImpedanceData.PhaseImpedance"):
        row, column = _position(data, size)
        if not (0 <= row < size and 0 <= column < size):
            data.fault("PhaseImpedanceData.row", f"row {row + 1}, column {column + 1} of {size}")
            return None
        z[row, column] = z[column, row] = complex(
            data.number("PhaseImpedanceData.r"), data.number("PhaseImpedanceData.x")
        )
        shunt[row, column] = shunt[column, row] = complex(
            data.number("PhaseImpedanceData.g", 0.0), data.number("PhaseImpedanceData.b", 0.0)
        )
    if np.isnan(z).any():
        table.fault("PhaseImpedanceData.row", f"not every pair of its {size} conductors is given")
        return None
    return z, shunt


def _position(data: Thing, size: int) -> tuple[int, int]:
    """Row and column, 0-based; by number down the columns of the lower triangle where neither is given."""
    if data.has("PhaseImpedanceData.row"):
        return data.whole("PhaseImpedanceData.row") - 1, data.whole("PhaseImpedanceData.column") - 1
    left = data.whole("PhaseImpedanceData.sequenceNumber") - 1
    for column in range(size):
        if left < size - column:
            return column + left, column
        left -= size - column
    return size, size


def rating(places: Places, thing: Thing) -> float:
    """Ampere that may flow for the longest time; NaN where no limit is given."""
    sets = [t.ref(p) for p in LIMIT_OWNERS for t in (*places.terminals(thing.id), thing) if t.has(p)]
    sets += [s for t in places.terminals(thing.id) for s in t.referring("OperationalLimitSet.Terminal")]
    sets += thing.referring("OperationalLimitSet.Equipment")
    best: tuple[float, float] | None = None
    for limit_set in {s.id: s for s in sets if s is not None}.values():
        for limit in limit_set.referring("OperationalLimit.OperationalLimitSet"):
            if limit.kind != "CurrentLimit":
                continue
            kind = limit.ref("OperationalLimit.OperationalLimitType")
            lasting = kind.number("OperationalLimitType.acceptableDuration", math.inf) if kind else math.inf
            value = limit.number("CurrentLimit.value", above=0.0)
            best = max(best or (-math.inf, 0.0), (lasting, -value))
    return -best[1] if best else math.nan


def read_switches(model: Model, places: Places, parts: Parts) -> None:
    """Every switch; one whose phases stand differently becomes one branch for each phase."""
    for switch in model.of(*SWITCHES):
        rows = places.bus_rows(switch, 2)
        if not rows:
            continue
        amps = rating(places, switch)
        if math.isnan(amps):
            amps = switch.number("Switch.ratedCurrent", math.nan)
        closed = not switch.flag("Switch.open", default=switch.flag("Switch.normalOpen", default=False))
        closed = closed and places.is_connected(switch)
        poles = _poles(switch, places, rows, closed=closed)
        if not poles:
            continue
        mixed = len({pole[2] for pole in poles}) > 1
        groups = [[pole] for pole in poles] if mixed else [poles]
        for group in groups:
            ends = tuple(End(row, tuple(pole[side] for pole in group)) for side, row in enumerate(rows))
            y = np.eye(len(group), dtype=np.complex128) / CLOSED_OHM
            name = f"{switch.key}.{'abcn'[group[0][0] - 1]}" if mixed else switch.key
            parts.branches.append(
                Branch(name, "switch", ends, pi_block(y, 0.0 * y), amps, group[0][2], switch.where)
            )


def _poles(switch: Thing, places: Places, rows: list[int], *, closed: bool) -> list[tuple[int, int, bool]]:
    """Conductor at either side, and whether the pole is closed; none where the switch is at fault."""
    found = switch.referring("SwitchPhase.Switch")
    if not found:
        return [(c, c, closed) for c in (1, 2, 3)]
    poles = []
    for phase in found:
        first = places.conductor(phase, "SwitchPhase.phaseSide1", rows[0])
        second = first
        if phase.has("SwitchPhase.phaseSide2"):
            second = places.conductor(phase, "SwitchPhase.phaseSide2", rows[1])
        pole_closed = phase.flag("SwitchPhase.closed", default=closed)
        if first and second:
            poles.append((first, second, closed and pole_closed))
    sides = [{pole[side] for pole in poles} for side in (0, 1)]
    if not poles:
        switch.fault("SwitchPhase.phaseSide1", "none of its phases connects two conductors")
    elif min(map(len, sides)) < len(poles):
        switch.fault("SwitchPhase.phaseSide1", "two of its phases meet at one conductor")
        return []
    return poles
