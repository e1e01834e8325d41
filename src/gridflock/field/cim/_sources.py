"""Voltage sources behind their short-circuit impedance."""

from __future__ import annotations

import math

import numpy as np

from gridflock.field.cim._lines import phase_matrix
from gridflock.field.cim._model import Model
from gridflock.field.cim._places import Places
from gridflock.grid.build import End, Parts, Source

STIFF_OHM = 1e-6
"""Impedance of a source that is written without any."""


def read_sources(model: Model, places: Places, parts: Parts) -> None:
    """Every ``EnergySource``."""
    for source in model.of("EnergySource"):
        rows = places.bus_rows(source, 1)
        if not rows or not places.is_connected(source):
            continue
        phases = source.referring("EnergySourcePhase.EnergySource")
        lines = sorted(places.conductor(p, "EnergySourcePhase.phase", rows[0]) for p in phases) or [1, 2, 3]
        volts = source.number(
            "EnergySource.voltageMagnitude", source.number("EnergySource.nominalVoltage", math.nan), above=0.0
        )
        if math.isnan(volts):
            source.fault("EnergySource.voltageMagnitude", "missing")
            continue
        one = complex(source.number("EnergySource.r", 0.0), source.number("EnergySource.x", 0.0))
        zero = complex(source.number("EnergySource.r0", one.real), source.number("EnergySource.x0", one.imag))
        if one == 0 or zero == 0:
            parts.notes.append(f"EnergySource {source.title} without impedance: {STIFF_OHM} ohm taken")
            one, zero = one or STIFF_OHM * 1j, zero or STIFF_OHM * 1j
        angles = source.number("EnergySource.voltageAngle", 0.0) - 2.0 * np.pi / 3.0 * (np.array(lines) - 1)
        v = volts / math.sqrt(3.0) * np.exp(1j * angles)
        y = np.asarray(np.linalg.inv(phase_matrix(one, zero, len(lines))), dtype=np.complex128)
        parts.sources.append(Source(source.key, End(rows[0], tuple(lines)), v, y, source.where))
