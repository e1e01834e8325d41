"""Loads, PV, storage and generators of a compiled circuit as ports: one law between two conductors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridflock.field.opendss._elements import Walk
from gridflock.field.opendss._shapes import Origin
from gridflock.grid import PortKind
from gridflock.grid.build import Port

NAN = float("nan")
_POWER, _CURRENT, _IMPEDANCE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
Shares = tuple[float, float, float]
_SHARES: dict[int, tuple[Shares, Shares]] = {
    1: (_POWER, _POWER),
    2: (_IMPEDANCE, _IMPEDANCE),
    3: (_POWER, _IMPEDANCE),
    5: (_CURRENT, _CURRENT),
}
"""Shares of P and of Q by load model."""
_KINDS = {"pvsystem": PortKind.PV, "storage": PortKind.STORAGE, "generator": PortKind.GENERATOR}
_HIGH = 100.0
"""Lower voltage limit, pu, far above any voltage."""


@dataclass(frozen=True, slots=True)
class Law:
    """How the power of a port depends on its voltage, in the words of ``Port``."""

    zip_p: Shares = _POWER
    zip_q: Shares = _POWER
    exponent: tuple[float, float] = (NAN, NAN)
    limits: Shares = (0.5, 0.95, 1.05)
    edge: tuple[float, float] | None = None


class Ports:
    """Makes ports.

    Args:
        walk: the circuit and the parts to fill.

    Attributes:
        origins: the element behind each port made so far.
    """

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.circuit, self.parts = walk.circuit, walk.parts
        self.origins: list[Origin] = []

    # ---- loads -------------------------------------------------------------------------------------

    def loads(self) -> None:
        """All loads, split into single ports as the engine splits them."""
        multiplier = self.circuit.api.Solution.LoadMult
        if multiplier != 1.0:
            self.parts.notes.append(f"load multiplier {multiplier:g} of the file is in the loads")
        for row in self.circuit.table("load"):
            element = f"load.{row['Name']}"
            law = self._load_law(element, row)
            if law is None:
                continue
            scaled = str(row["Status"]).lower().startswith("v")
            kva = -complex(row["kW"], row["kvar"]) * (multiplier if scaled else 1.0) / int(row["Phases"])
            laws = [(kva, law)]
            if int(row["Model"]) == 8 and law.zip_p != law.zip_q:
                reactive = replace(law, edge=_own_edge(law.zip_q, law.limits))
                laws = [(complex(kva.real), law), (complex(0.0, kva.imag), reactive)]
            self._split(element, row, laws, PortKind.LOAD, _rated(row), scaled=scaled)

    def _load_law(self, element: str, row: dict[str, Any]) -> Law | None:
        """The voltage law of a load: OpenDSS's models 1 to 5 and 8 with their limits."""
        model = int(row["Model"])
        limits = _limits(row["VLowpu"], row["VMinpu"], row["VMaxpu"])
        if model in _SHARES:
            edge = {2: limits[1:], 5: (1.0, 1.0)}.get(model)
            return Law(*_SHARES[model], limits=limits, edge=edge)
        if model == 4 and not row["CVRCurve"]:
            return Law(exponent=(row["CVRWatts"], row["CVRVars"]), limits=limits)
        if model == 8:
            return self._zip_law(element, row, limits)
        what = "a CVR curve" if model == 4 else f"load model {model}"
        self.circuit.fault(element, "model", f"{what} cannot be represented: use model 1 to 5 or 8")
        return None

    def _zip_law(self, element: str, row: dict[str, Any], limits: Shares) -> Law:
        z = [float(v) for v in row["ZIPV"]]
        if z[6] > 0.0:
            where = self.circuit.where(element)
            self.parts.notes.append(f"{element} drops out below {z[6]:g} pu: not modelled ({where})")
        zip_p, zip_q = (z[2], z[1], z[0]), (z[5], z[4], z[3])
        return Law(zip_p, zip_q, limits=limits, edge=_own_edge(zip_p, limits))

    # ---- generation --------------------------------------------------------------------------------

    def generation(self) -> None:
        """PV, storage and generators with what they inject in a snapshot.

        The engine works out their power (irradiance, efficiency, state, dispatch) and is asked for it:
        once with limits so wide that they inject what they are set to, once with limits so high that
        they are the impedance of that power at their lower limit, which tells their rated voltage.
        """
        found = [
            (f"{kind}.{row['Name']}", row, port)
            for kind, port in _KINDS.items()
            for row in self.circuit.table(kind)
            if self._plain_generator(f"{kind}.{row['Name']}", row)
        ]
        if not found:
            return
        elements = [(element, _is_delta(row)) for element, row, _ in found]
        self._enable_loads("no")
        wide = self._measured(elements, 1e-6, 1e6)
        high = self._measured(elements, _HIGH, 2.0 * _HIGH)
        self._enable_loads("yes")
        for (element, row, kind), (kva, v), (kva_high, v_high) in zip(found, wide, high, strict=True):
            rated = _rated(row)
            if int(row["Model"]) == 2:
                law = Law(_IMPEDANCE, _IMPEDANCE, limits=(0.0, 0.5, 2.0), edge=(0.5, 2.0))
                at_rated = kva * (rated / v) ** 2
            else:
                at_rated, law = kva, Law(limits=(0.0, row["VMinpu"], row["VMaxpu"]))
                if abs(kva) > 0.0:
                    rated = v_high * math.sqrt(abs(kva / kva_high)) / _HIGH
                if _is_delta(row) and row["Phases"] == 1:
                    # Beyond its limits the engine gives it a third of the admittance of its power.
                    rated /= math.sqrt(3.0)
                    law = replace(law, edge=(1.0 / (3.0 * law.limits[1]), 1.0 / (3.0 * law.limits[2])))
            self._split(element, row, [(at_rated / int(row["Phases"]), law)], kind, rated, scaled=False)

    def _plain_generator(self, element: str, row: dict[str, Any]) -> bool:
        """Whether a generator injects a constant power or is a constant admittance, phase by phase."""
        wrong = ""
        if int(row["Model"]) not in {1, 2}:
            wrong = f"model {row['Model']} cannot be represented: use model 1 or 2"
        elif row.get("LimitCurrent"):
            wrong = "a current limit cannot be represented: set LimitCurrent=no"
        elif row.get("Balanced") and int(row["Phases"]) > 1:
            wrong = "balanced currents cannot be represented: set Balanced=no"
        elif str(row.get("ControlMode", "GFL")).upper() != "GFL":
            wrong = "a grid-forming inverter cannot be represented: set ControlMode=GFL"
        if wrong:
            self.circuit.fault(element, "model", wrong)
        return not wrong

    def _enable_loads(self, word: str) -> None:
        for element in dict.fromkeys(origin.element for origin in self.origins):
            if element.startswith("load."):
                self.circuit.command(f"edit {element} enabled={word}")

    def _measured(
        self, elements: list[tuple[str, bool]], low: float, high: float
    ) -> list[tuple[complex, float]]:
        """Power injected (kVA) and the phases' rms voltage (V) with given voltage limits."""
        api = self.circuit.api
        for element, _ in elements:
            self.circuit.command(f"edit {element} vminpu={low} vmaxpu={high}")
        for option in ("mode=snapshot", "controlmode=off", "tolerance=1e-12", "maxiterations=300"):
            self.circuit.command(f"set {option}")
        self.circuit.command("solve")
        if not api.Solution.Converged:
            reason = "the power of the generation cannot be found: the engine does not converge without loads"
            self.parts.faults.add("opendss", elements[0][0], "power", reason)
        self.parts.faults.stop_if_any()
        found = []
        for element, delta in elements:
            self.circuit.activate(element)
            active = api.ActiveCktElement
            kva = -complex(np.asarray(active.Powers).view(np.complex128).sum())
            v = np.asarray(active.Voltages).view(np.complex128)
            across = (v - np.roll(v, -1) if delta else v - v[-1])[: active.NumPhases]
            found.append((kva, float(np.sqrt(np.mean(np.abs(across) ** 2)))))
        return found

    # ---- splitting ---------------------------------------------------------------------------------

    def _split(
        self,
        element: str,
        row: dict[str, Any],
        laws: list[tuple[complex, Law]],
        kind: PortKind,
        rated: float,
        *,
        scaled: bool,
    ) -> None:
        """One port per phase and law.

        A wye element stands between each phase and its last wire, a delta one between each phase and
        the next wire, around.
        """
        self.circuit.activate(element)
        place = self.walk.place(element)
        nodes, count = place.nodes[0], int(row["Phases"])
        if not rated > 0.0:
            self.circuit.fault(element, "kV", f"{row['kV']} is no rated voltage: give the one across it")
        for k in range(count):
            pair = (nodes[k], nodes[(k + 1) % len(nodes)] if _is_delta(row) else nodes[-1])
            if pair[0] == pair[1]:
                self.circuit.fault(
                    element, "bus1", f"contradictory: phase {k + 1} stands between node {pair[0]} twice"
                )
                continue
            for part, (kva, law) in enumerate(laws):
                name = element if count == 1 else f"{element}.{k + 1}"
                whole = len(laws) == 1
                self.origins.append(
                    Origin(element, (whole or part == 0) / count, (whole or part == 1) / count)
                )
                self.parts.ports.append(
                    Port(
                        id=name if part == 0 else f"{name}.q",
                        bus=place.buses[0],
                        conductors=pair if pair[0] > 0 else (pair[1], pair[0]),
                        kva=kva,
                        rated_v=rated,
                        zip_p=law.zip_p,
                        zip_q=law.zip_q,
                        exponent=law.exponent,
                        limits=law.limits,
                        edge=law.edge,
                        kind=kind,
                        scaled=scaled,
                        where=self.circuit.where(element),
                    )
                )


def _is_delta(row: dict[str, Any]) -> bool:
    return str(row["Conn"]).lower().startswith(("d", "l"))


def _rated(row: dict[str, Any]) -> float:
    """Voltage across one phase, V: two- and three-phase wye elements are rated line to line."""
    rated: float = 1000.0 * row["kV"]
    return rated / math.sqrt(3.0) if row["Phases"] in {2, 3} and not _is_delta(row) else rated


def _own_edge(shares: Shares, limits: Shares) -> tuple[float, float]:
    """Current at the limits by the shares themselves."""
    low, high = (shares[0] / r + shares[1] + shares[2] * r for r in limits[1:])
    return low, high


def _limits(floor: float, low: float, high: float) -> Shares:
    """Floor, low, high; the floor goes first where the two cross."""
    return floor, max(low, floor + 1e-9), high
