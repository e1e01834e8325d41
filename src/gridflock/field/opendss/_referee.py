"""OpenDSS as referee: the same feeder, loads and taps solved by a program we did not write."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss._script import (
    capacitor_units,
    injection_ports,
    node_name,
    regulator_taps,
    script,
)
from gridflock.grid import ControlState, Network, initial

TOLERANCE = 1e-9
"""OpenDSS's convergence tolerance, per unit; its default of 1e-4 is too coarse for a comparison."""
Complex = NDArray[np.complex128]


class OpenDssMissing(ImportError):  # noqa: N818 reads as what is wrong
    """The optional component is not installed."""


class NotConverged(ArithmeticError):  # noqa: N818 reads as what is wrong
    """OpenDSS did not solve what it was asked: neither its voltages nor its time mean anything."""


def available() -> bool:
    """Whether the OpenDSS engine can be loaded."""
    return importlib.util.find_spec("dss") is not None


def _engine() -> Any:  # noqa: ANN401 the engine's classes carry no types
    """A separate OpenDSS engine that leaves the working directory alone.

    Raises:
        OpenDssMissing: dss-python is not installed.
    """
    if not available():
        raise OpenDssMissing("OpenDSS is not installed: pip install 'gridflock[opendss]'")
    from dss import DSS  # noqa: PLC0415 optional component

    engine = DSS.NewContext()
    engine.AllowChangeDir = False
    return engine


class Referee:
    """One feeder in one OpenDSS engine.

    Args:
        network: the feeder to write.

    Raises:
        OpenDssMissing: dss-python is not installed.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._dss = _engine()

    def solve_series(
        self,
        load_kva: Complex,
        inject_kva: Complex,
        taps: NDArray[np.int8],
        caps: NDArray[np.bool_],
    ) -> Complex:
        """Solve T operating points.

        Loads and injections go in as load shapes over the whole series; only changed taps and
        capacitors are set between steps.

        Args:
            load_kva: complex (T, L) loads at rated voltage, house sign.
            inject_kva: complex (T, n) constant-power injections, house sign.
            taps: (T, K) regulator positions.
            caps: (T, M) capacitor switches.

        Returns:
            Complex (T, n) node voltages, V; NaN in a step that OpenDSS could not solve.
        """
        steps = len(load_kva)
        self._build(load_kva, inject_kva, _state(self.network, taps[0], caps[0]))
        circuit = self._dss.ActiveCircuit
        solution = circuit.Solution
        order = _order(self.network, circuit)
        v = np.full((steps, self.network.n), np.nan + 0j)
        for step in range(steps):
            if step:
                self._move(taps[step - 1], taps[step], caps[step - 1], caps[step])
            solution.Solve()
            if solution.Converged:
                v[step] = np.asarray(circuit.YNodeVarray).view(np.complex128)[order]
        return v

    def _build(self, load_kva: Complex, inject_kva: Complex, state: ControlState) -> None:
        text = self._dss.Text
        for line in script(self.network, state).splitlines():
            text.Command = line
        used = np.flatnonzero(inject_kva.any(axis=0)).tolist()
        for k, name in enumerate(self.network.loads):
            self._shape(f"load_{k}", load_kva[:, k])
            text.Command = f"edit load.{name} daily=load_{k}"
        for node, port in zip(used, injection_ports(self.network, used), strict=True):
            self._shape(f"node_{node}", inject_kva[:, node])
            text.Command = f"new load.node_{node} {port} kw=1 kvar=1 daily=node_{node}"
        for line in ("set mode=daily number=1 stepsize=1h hour=0 sec=0", f"set tolerance={TOLERANCE}"):
            text.Command = line
        text.Command = "set maxiterations=200"

    def _shape(self, name: str, kva: Complex) -> None:
        """A load shape of actual kW and kvar, one value per step, as positive demand."""
        self._dss.Text.Command = f"new loadshape.{name} npts={len(kva)} interval=1 useactual=yes"
        shapes = self._dss.ActiveCircuit.LoadShapes
        shapes.Name = name
        shapes.Pmult = -kva.real
        shapes.Qmult = -kva.imag

    def _move(
        self,
        taps: NDArray[np.int8],
        new_taps: NDArray[np.int8],
        caps: NDArray[np.bool_],
        new_caps: NDArray[np.bool_],
    ) -> None:
        net, text = self.network, self._dss.Text
        for control in np.flatnonzero(taps != new_taps).tolist():
            row = int(net.regulators.branch[control])
            for name, tap in regulator_taps(net, row, int(new_taps[control])):
                text.Command = f"transformer.{name}.wdg=2 tap={tap:.15g}"
        for row in np.flatnonzero(caps != new_caps).tolist():
            for name, _, _ in capacitor_units(net, row):
                text.Command = f"capacitor.{name}.states=[{int(new_caps[row])}]"


def _state(network: Network, taps: NDArray[np.int8], caps: NDArray[np.bool_]) -> ControlState:
    return ControlState(taps, caps, initial(network).pending_since_s)


def _order(network: Network, circuit: Any) -> NDArray[np.int64]:  # noqa: ANN401 the engine's classes carry no types
    """(n,) position of each of our nodes in OpenDSS's voltage vector."""
    place = {name.lower(): k for k, name in enumerate(circuit.YNodeOrder)}
    return np.array([place[node_name(network, node)] for node in range(network.n)])
