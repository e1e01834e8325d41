"""Lines that are described by their wires and where these hang.

Carson's equations in their usual first-term form with an earth return at depth
``658.5 sqrt(rho / f)`` m (Kersting, *Distribution System Modeling and Analysis*, ch. 4), potential
coefficients with images for the charging (ch. 5), and the neutral wires taken as grounded all along
the line, so that they fold into the phases (Kron).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.field.cim._model import Thing

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]
MU_0 = 4e-7 * math.pi
EPSILON_0 = 8.854e-12
EARTH_OHM_M = 100.0
USUAL_HZ = 60.0
RESISTANCES = ("WireInfo.rAC50", "WireInfo.rAC75", "WireInfo.rAC25")


def wire_matrices(line: Thing, phases: list[str]) -> tuple[Complex, Complex] | None:
    """Series impedance, ohm, and shunt admittance, S, of a whole line; None where it is at fault."""
    spacing = line.ref("ACLineSegment.WireSpacingInfo") or line.ref("PowerSystemResource.AssetDatasheet")
    if spacing is None or spacing.kind != "WireSpacingInfo":
        line.fault("ACLineSegment.PerLengthImpedance", "neither impedances nor wires are given")
        return None
    if spacing.whole("WireSpacingInfo.phaseWireCount", 1) > 1 or spacing.flag(
        "WireSpacingInfo.isCable", default=False
    ):
        spacing.fault(
            "WireSpacingInfo.isCable",
            "cables and bundled conductors described by wires cannot be represented",
        )
        return None
    wires = _wires(line, spacing)
    if wires is None:
        return None
    r, gmr, radius, spots = wires
    hz = next(
        (f.number("BaseFrequency.frequency", above=0.0) for f in line.model.of("BaseFrequency")), USUAL_HZ
    )
    z, potential = carson(r, gmr, spots, hz), potentials(radius, spots)
    length = line.number("Conductor.length", above=0.0)
    kept = len(phases)
    charging = 2j * math.pi * hz * np.linalg.inv(fold(potential, kept))
    return fold(z, kept) * length, np.asarray(charging * length, dtype=np.complex128)


def carson(r: Float, gmr: Float, spots: Float, hz: float) -> Complex:
    """Primitive impedance of parallel wires over earth, ohm/m.

    Args:
        r: (w,) resistance, ohm/m.
        gmr: (w,) geometric mean radius, m.
        spots: (w, 2) horizontal position and height, m.
        hz: frequency.
    """
    omega = 2.0 * math.pi * hz
    depth = 658.5 * math.sqrt(EARTH_OHM_M / hz)
    apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, gmr)
    earth = omega * MU_0 / 8.0
    z = np.diag(r) + earth + 1j * omega * MU_0 / (2.0 * math.pi) * np.log(depth / apart)
    return np.asarray(z, dtype=np.complex128)


def potentials(radius: Float, spots: Float) -> Float:
    """Potential coefficients of parallel wires over earth, m/F.

    Args:
        radius: (w,) outer radius, m.
        spots: (w, 2) horizontal position and height, m.
    """
    apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, radius)
    image = spots * np.array([1.0, -1.0])
    mirrored = np.hypot(*(spots[:, None] - image[None]).transpose(2, 0, 1))
    coefficients: Float = np.log(mirrored / apart) / (2.0 * math.pi * EPSILON_0)
    return coefficients


def fold(matrix: NDArray[Any], kept: int) -> Complex:
    """Eliminate everything behind the first ``kept`` rows, whose potential is zero."""
    head, tail = slice(0, kept), slice(kept, None)
    behind = np.linalg.solve(matrix[tail, tail], matrix[tail, head])
    return np.asarray(matrix[head, head] - matrix[head, tail] @ behind, dtype=np.complex128)


def _wires(line: Thing, spacing: Thing) -> tuple[Float, Float, Float, Float] | None:
    """Resistance, geometric mean radius, radius and position of each wire, neutrals last."""
    positions = {
        p.whole("WirePosition.sequenceNumber"): p for p in spacing.referring("WirePosition.WireSpacingInfo")
    }
    found = []
    phases = line.referring("ACLineSegmentPhase.ACLineSegment")
    for phase in sorted(phases, key=lambda p: p.whole("ACLineSegmentPhase.sequenceNumber")):
        wire = phase.need("ACLineSegmentPhase.WireInfo")
        position = positions.get(phase.whole("ACLineSegmentPhase.sequenceNumber"))
        if wire is None or position is None:
            phase.fault("ACLineSegmentPhase.sequenceNumber", "no wire or no position for this phase")
            return None
        if wire.kind != "OverheadWireInfo":
            wire.fault("ACLineSegmentPhase.WireInfo", f"{wire.kind} cannot be represented")
            return None
        resistance = next((p for p in RESISTANCES if wire.has(p)), RESISTANCES[0])
        found.append(
            (
                phase.text("ACLineSegmentPhase.phase") == "N",
                wire.number(resistance, above=0.0),
                wire.number("WireInfo.gmr", above=0.0),
                wire.number("WireInfo.radius", above=0.0),
                position.number("WirePosition.xCoord"),
                position.number("WirePosition.yCoord", above=0.0),
            )
        )
    if not found:
        line.fault("ACLineSegmentPhase.WireInfo", "no phase names its wire")
        return None
    table = np.array(sorted(found, key=lambda row: row[0]))
    return table[:, 1], table[:, 2], table[:, 3], table[:, 4:]
