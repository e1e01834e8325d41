"""From a .dss master file to the parts of a network."""

from __future__ import annotations

from pathlib import Path

from gridflock.field.opendss._circuit import Circuit
from gridflock.field.opendss._controls import TRIAL, Controls, Taps
from gridflock.field.opendss._elements import Walk
from gridflock.field.opendss._isolated import refuse_isolated
from gridflock.field.opendss._ports import Ports
from gridflock.field.opendss._shapes import Shapes, read_shapes
from gridflock.field.opendss._text import read_script
from gridflock.grid.build import Parts


def read_dss(
    path: Path, root: Path | None = None, limits: tuple[float, float] | None = None
) -> tuple[Parts, Shapes]:
    """Read an OpenDSS feeder.

    Args:
        path: the master file.
        root: folder outside which nothing is read; the master's own folder if None.
        limits: pu voltages between which the law of every load holds, instead of the file's own.

    Returns:
        Its parts, regulated windings at neutral, with what was left out in ``notes``; and the load
        shapes its ports follow, in the order of ``parts.ports``.

    Raises:
        FeederRejected: with everything found wrong, each with ``file:line``.
        OpenDssMissing: dss-python is not installed.
    """
    script = read_script(path, root)
    parts = Parts(path.stem, notes=list(script.notes))
    circuit = Circuit(script, parts.faults, limits)
    taps = Taps(circuit)
    parts.faults.stop_if_any()
    circuit.switch(closed=True)
    taps.set(1.0)
    walk = Walk(circuit, parts)
    walk.buses()
    walk.sources()
    walk.lines()
    walk.transformers(taps.elements)
    walk.reactors()
    walk.capacitors()
    controls = Controls(walk, taps)
    controls.regulators()
    controls.capacitors()
    taps.set(TRIAL)
    controls.split_windings()
    taps.set()
    circuit.switch(closed=False)
    ports = Ports(walk)
    ports.loads()
    ports.generation()
    refuse_isolated(parts)
    parts.faults.stop_if_any()
    return parts, read_shapes(circuit, parts, ports.origins)
