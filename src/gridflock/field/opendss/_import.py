"""From a .dss master file to the parts of a network."""

from __future__ import annotations

from pathlib import Path

from gridflock.field.opendss._circuit import Circuit
from gridflock.field.opendss._elements import Walk
from gridflock.field.opendss._ports import Ports
from gridflock.field.opendss._text import read_script
from gridflock.grid.build import Parts

UNREPRESENTED = (
    "isource",
    "vccs",
    "upfc",
    "indmach012",
    "gicsource",
    "gicline",
    "gictransformer",
    "vsconverter",
)


def read_dss(path: Path, root: Path | None = None) -> Parts:
    """Read an OpenDSS feeder.

    Args:
        path: the master file.
        root: folder outside which nothing is read; the master's own folder if None.

    Returns:
        Its parts, regulated windings at neutral, with what was left out in ``notes``.

    Raises:
        FeederRejected: with everything found wrong, each with ``file:line``.
        OpenDssMissing: dss-python is not installed.
    """
    script = read_script(path, root)
    parts = Parts(path.stem, notes=list(script.notes))
    circuit = Circuit(script, parts.faults)
    circuit.switch(closed=True)
    walk = Walk(circuit, parts)
    walk.buses()
    walk.sources()
    walk.lines()
    walk.transformers(set())
    walk.reactors()
    walk.capacitors()
    ports = Ports(walk)
    ports.loads()
    parts.faults.stop_if_any()
    return parts
