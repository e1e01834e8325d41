"""OpenDSS on daily steps: the rival of the batched power flow, at its fastest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss._circuit import Circuit
from gridflock.field.opendss._referee import NotConverged
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

    There are no meters and monitors, with which OpenDSS takes twice as long: reading leaves them out.
    What the engine does not solve is an error and never a voltage or a time.

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
        from dss import DSSException  # noqa: PLC0415 optional component, which is there by now

        self._error: type[Exception] = DSSException
        self._order: Rows | None = None
        self._tolerance, self._at, self._number = 0.0, 0, 1
        self.steps = int(multipliers.shape[1])
        self._loads = [str(name).lower() for name in self._circuit.api.Loads.AllNames]
        shapes = self._circuit.api.LoadShapes
        for k, shape in enumerate(multipliers):
            self._circuit.command(f"new loadshape.gridflock_{k} npts={self.steps} sinterval={STEP_S}")
            shapes.Name = f"gridflock_{k}"
            shapes.Pmult = shape
        for row, name in enumerate(self._loads):
            self._circuit.command(f"edit load.{name} daily=gridflock_{row % len(multipliers)}")

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

    def run(self, tolerance: float) -> Iterator[int]:
        """Solve all steps one by one at held controls, each judged before it is told.

        Args:
            tolerance: of the engine's solution, per unit.

        Yields:
            The step just solved.

        Raises:
            NotConverged: naming the first step the engine does not solve.
        """
        self.begin(tolerance)
        for step in range(self.steps):
            self.step()
            yield step

    @property
    def iterations(self) -> int:
        """The engine's iterations at the step just solved."""
        return int(self._circuit.api.Solution.Iterations)

    def begin(self, tolerance: float, rounds: int = 0) -> None:
        """Stand before the first step; each ``step`` then solves the next ones.

        With controls acting the engine puts its capacitors back as the file has them: ``hold`` comes
        after.

        Args:
            tolerance: of the engine's solution, per unit.
            rounds: control rounds it may take within a step; at 0 the controls are held.

        Raises:
            FeederRejected: the engine refuses the number of rounds.
        """
        self._prepare(tolerance, 0, controls=rounds > 0)
        if rounds:
            self._circuit.command(f"set maxcontroliter={rounds}")
        self._faults.stop_if_any()

    def step(self, number: int = 1) -> None:
        """Solve the next steps in one call of the engine.

        The engine tells only of the last step of a call whether it converged: ``run`` judges every one.

        Args:
            number: of steps.

        Raises:
            NotConverged: naming the step.
        """
        if number != self._number:
            self._number = number
            self._circuit.command(f"set number={number}")
        self._at += number
        solution = self._circuit.api.Solution
        try:
            solution.Solve()
        except self._error as error:
            raise NotConverged(f"OpenDSS stops at step {self._at - 1}: {error}") from error
        if not solution.Converged:
            raise NotConverged(
                f"OpenDSS does not solve step {self._at - 1} to {self._tolerance:g} pu "
                f"within {_MOST_ITERATIONS} iterations"
            )

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

    def voltages(self, network: Network) -> Complex:
        """Complex (n,) node voltages of the same file's network at the step just solved, V."""
        if self._order is None:
            place = {str(name).lower(): k for k, name in enumerate(self._circuit.api.YNodeOrder)}
            pairs = zip(network.node_bus.tolist(), network.node_conductor.tolist(), strict=True)
            rows = [place[f"{network.buses[bus]}.{wire}".lower()] for bus, wire in pairs]
            self._order = np.array(rows, dtype=np.int32)
        v: Complex = np.asarray(self._circuit.api.YNodeVarray).view(np.complex128)[self._order]
        return v

    def voltages_at(self, network: Network, steps: Sequence[int], tolerance: float = 1e-9) -> Complex:
        """Complex (len(steps), n) node voltages at chosen steps, controls held, V.

        Raises:
            NotConverged: naming the step.
        """
        v = np.empty((len(steps), network.n), dtype=np.complex128)
        for k, step in enumerate(steps):
            self._prepare(tolerance, step, controls=False)
            self.step()
            v[k] = self.voltages(network)
        return v

    def _prepare(self, tolerance: float, first: int, *, controls: bool) -> None:
        hours, seconds = divmod(first * STEP_S, 3600)
        for line in (
            f"set controlmode={'static' if controls else 'off'}",
            f"set tolerance={tolerance:g}",
            f"set maxiterations={_MOST_ITERATIONS}",
            f"set mode=daily stepsize={STEP_S}s number=1 hour={hours} sec={seconds}",
        ):
            self._circuit.command(line)
        self._tolerance, self._at, self._number = tolerance, first, 1
