"""OpenDSS solving its own file: what our solution of the same file is held against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflock.field.opendss._circuit import Circuit, Complex
from gridflock.field.opendss._controls import Taps
from gridflock.field.opendss._text import read_script
from gridflock.grid import Network
from gridflock.grid.build import Faults, FeederRejected

TOLERANCE = 1e-9
"""Per unit; the default of 1e-4 is too coarse for a comparison."""
MOST_ITERATIONS = 5000


@dataclass(frozen=True, slots=True)
class Reference:
    """A solution by OpenDSS.

    Attributes:
        nodes: ``bus.conductor`` of each voltage, lower case.
        v: complex (n,) V.
        taps: position of each regulator control, in the file's order as in ``Parts.regulators``.
        cap_on: state of each shunt capacitor by ``capacitor.name``.
        converged: whether the engine says so.
        iterations: the engine's count.
    """

    nodes: tuple[str, ...]
    v: Complex
    taps: tuple[int, ...]
    cap_on: dict[str, bool]
    converged: bool
    iterations: int

    def on(self, network: Network) -> Complex:
        """Complex (n,) voltages in the order of a network's nodes; NaN where OpenDSS has no such node."""
        place = {name: k for k, name in enumerate(self.nodes)}
        pairs = zip(network.node_bus.tolist(), network.node_conductor.tolist(), strict=True)
        rows = [place.get(f"{network.buses[bus].lower()}.{wire}", -1) for bus, wire in pairs]
        return np.append(self.v, np.nan + 0j)[rows]


def reference(
    path: Path,
    root: Path | None = None,
    limits: tuple[float, float] | None = None,
    *,
    settle: bool = False,
) -> Reference:
    """Let OpenDSS solve a feeder file at fixed taps.

    Args:
        path: the master file.
        root: folder outside which nothing is read; the master's own folder if None.
        limits: pu voltages between which the law of every load holds, instead of the file's own.
        settle: let the file's regulators and capacitors act first, then hold them.

    Returns:
        The solution to ``TOLERANCE``, with the positions it was made at.

    Raises:
        FeederRejected: as ``read_dss``; also where the engine cannot solve the file at all.
        OpenDssMissing: dss-python is not installed.
    """
    faults = Faults()
    circuit = Circuit(read_script(path, root), faults, limits)
    taps = Taps(circuit)
    faults.stop_if_any()
    circuit.command("set mode=snapshot")
    if settle:
        circuit.command("set controlmode=static")
        circuit.command("set maxcontroliter=200")
        circuit.command("solve")
    for option in ("controlmode=off", f"tolerance={TOLERANCE}", f"maxiterations={MOST_ITERATIONS}"):
        circuit.command(f"set {option}")
    circuit.command("solve")
    if faults.found:
        raise FeederRejected(faults.found)
    api = circuit.api
    return Reference(
        nodes=tuple(name.lower() for name in api.YNodeOrder),
        v=np.array(api.YNodeVarray, dtype=np.float64).view(np.complex128),
        taps=taps.positions(),
        cap_on=_switched(circuit),
        converged=bool(api.Solution.Converged),
        iterations=int(api.Solution.Iterations),
    )


def _switched(circuit: Circuit) -> dict[str, bool]:
    api = circuit.api.Capacitors
    found: dict[str, bool] = {}
    at = api.First
    while at:
        found[f"capacitor.{api.Name.lower()}"] = any(state > 0 for state in api.States)
        at = api.Next
    return found
