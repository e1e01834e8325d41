"""OpenDSS on daily steps: the rival of the batched power flow, at its fastest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss._circuit import Circuit
from gridflock.field.opendss._text import read_script
from gridflock.grid import ControlState, Network
from gridflock.grid.build import Faults
from gridflock.units import Mask, Rows

STEP_S = 900
"""The steps are quarter-hours."""
_MOST_ITERATIONS = 200
Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


class Daily:
    """One master file in one engine, its loads following shared shapes in daily mode.

    Meters and monitors are off: with them OpenDSS takes twice as long.

    Args:
        path: the master file.
        root: folder outside which nothing is read.
        multipliers: (K, S) shapes, a step of a quarter-hour each.
        limits: per-unit voltages between which every load's law is held; the file's own where None.

    Raises:
        FeederRejected: the file cannot be read.
        OpenDssMissing: dss-python is not installed.
    """

    def __init__(
        self,
        path: Path,
        root: Path | None,
        multipliers: Float,
        limits: tuple[float, float] | None = None,
    ) -> None:
        self._faults = Faults()
        self._circuit = Circuit(read_script(path, root), self._faults, limits)
        self._faults.stop_if_any()
        self.steps = int(multipliers.shape[1])
        self._loads = [str(name).lower() for name in self._circuit.api.Loads.AllNames]
        shapes = self._circuit.api.LoadShapes
        for k, shape in enumerate(multipliers):
            self._circuit.command(f"new loadshape.gridflock_{k} npts={self.steps} sinterval={STEP_S}")
            shapes.Name = f"gridflock_{k}"
            shapes.Pmult = shape
        for row, name in enumerate(self._loads):
            self._circuit.command(f"edit load.{name} daily=gridflock_{row % len(multipliers)}")
        present = {str(name).split(".", 1)[0].lower() for name in self._circuit.api.AllElementNames}
        for kind in sorted(present & {"monitor", "energymeter"}):
            self._circuit.command(f"batchedit {kind}..* enabled=no")

    def add(self, commands: Sequence[str]) -> None:
        """Put more into the circuit by commands of the engine's own.

        Raises:
            FeederRejected: the engine refuses one.
        """
        for line in commands:
            self._circuit.command(line)
        self._faults.stop_if_any()

    def hold(self, network: Network, state: ControlState) -> None:
        """Put the file's regulators and capacitors where a control state has them."""
        reg, caps = network.regulators, network.capacitors
        for row, tap in enumerate(state.taps.tolist()):
            name, winding = network.branches[reg.branch[row]], int(reg.end[row]) + 1
            self._circuit.command(f"edit {name} wdg={winding} tap={1.0 + reg.step_pu[row] * tap:.15g}")
        for row, on in enumerate(state.cap_on.tolist()):
            name = network.shunts[caps.shunt[row]]
            self._circuit.command(f"edit {name} states=[{int(on)}]")
            # Its control looks at the terminal: a closed bank without a step is one with steps to spare.
            self._circuit.command(f"{'close' if on else 'open'} {name} 1")

    def shape_of(self, network: Network, shapes: int) -> Rows:
        """(L,) the shape each port of the same file's network follows."""
        row = {name: k % shapes for k, name in enumerate(self._loads)}
        found = []
        for port in network.loads:
            name = port.removeprefix("load.")
            found.append(row[name] if name in row else row[name.rsplit(".", 1)[0]])
        return np.array(found, dtype=np.int32)

    def run(self, tolerance: float, *, controls: bool = False) -> None:
        """All steps in one call of the engine."""
        self._prepare(tolerance, self.steps, 0, controls=controls)
        self._circuit.api.Solution.Solve()

    def begin(self, tolerance: float, rounds: int) -> None:
        """Stand before the first step with the controls acting; each ``step`` then solves the next.

        The engine puts its capacitors back as the file has them: ``hold`` comes after.

        Args:
            tolerance: of the engine's solution.
            rounds: control rounds it may take within a step.
        """
        self._prepare(tolerance, 1, 0, controls=True)
        self._circuit.command(f"set maxcontroliter={rounds}")
        self._faults.stop_if_any()

    def step(self) -> None:
        """Solve the step at hand and go on to the next."""
        self._circuit.api.Solution.Solve()

    def positions(self, network: Network) -> tuple[NDArray[np.int8], Mask]:
        """Where the regulators (K,) and capacitors (M,) of the same file's network stand now."""
        controls, capacitors = self._circuit.api.RegControls, self._circuit.api.Capacitors
        taps = np.zeros(len(network.regulators.ids), dtype=np.int8)
        for row, name in enumerate(network.regulators.ids):
            controls.Name = name.split(".", 1)[-1]
            taps[row] = controls.TapNumber
        closed = np.zeros(len(network.capacitors.ids), dtype=np.bool_)
        for row, shunt in enumerate(network.capacitors.shunt.tolist()):
            capacitors.Name = network.shunts[shunt].split(".", 1)[-1]
            closed[row] = capacitors.States[0] == 1
        return taps, closed

    def voltages(self, network: Network, steps: Sequence[int], tolerance: float = 1e-9) -> Complex:
        """Complex (len(steps), n) node voltages in the network's order at chosen steps, controls fixed, V."""
        place = {str(name).lower(): k for k, name in enumerate(self._circuit.api.YNodeOrder)}
        order = [
            place[f"{network.buses[bus]}.{conductor}".lower()]
            for bus, conductor in zip(network.node_bus, network.node_conductor, strict=True)
        ]
        v = np.empty((len(steps), network.n), dtype=np.complex128)
        for k, step in enumerate(steps):
            self._prepare(tolerance, 1, step, controls=False)
            self._circuit.api.Solution.Solve()
            v[k] = np.asarray(self._circuit.api.YNodeVarray).view(np.complex128)[order]
        return v

    def _prepare(self, tolerance: float, number: int, first: int, *, controls: bool) -> None:
        hours, seconds = divmod(first * STEP_S, 3600)
        for line in (
            f"set controlmode={'static' if controls else 'off'}",
            f"set tolerance={tolerance:g}",
            f"set maxiterations={_MOST_ITERATIONS}",
            f"set mode=daily stepsize={STEP_S}s number={number} hour={hours} sec={seconds}",
        ):
            self._circuit.command(line)
