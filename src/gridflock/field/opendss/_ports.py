"""Loads, PV, storage and generators of a compiled circuit as ports: one law between two conductors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gridflock.field.opendss._elements import Walk
from gridflock.grid._network import PortKind
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
    """

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.circuit, self.parts = walk.circuit, walk.parts

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
            kva = -complex(row["kW"], row["kvar"]) * (multiplier if scaled else 1.0)
            self._split(element, row, kva, law, PortKind.LOAD, scaled=scaled)

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
        return Law((z[2], z[1], z[0]), (z[5], z[4], z[3]), limits=limits)

    # ---- splitting ---------------------------------------------------------------------------------

    def _split(
        self, element: str, row: dict[str, Any], kva: complex, law: Law, kind: PortKind, *, scaled: bool
    ) -> None:
        self.circuit.activate(element)
        place = self.walk.place(element)
        nodes, count = place.nodes[0], int(row["Phases"])
        delta = str(row["Conn"]).lower().startswith(("d", "l"))
        rated = 1000.0 * row["kV"]
        if not delta and count in {2, 3}:
            rated /= math.sqrt(3.0)
        for k in range(count):
            pair = (nodes[k], nodes[(k + 1) % len(nodes)] if delta else nodes[-1])
            if pair[0] == pair[1]:
                self.circuit.fault(
                    element, "bus1", f"contradictory: both ends of phase {k + 1} at node {pair[0]}"
                )
                continue
            self.parts.ports.append(
                Port(
                    id=element if count == 1 else f"{element}.{k + 1}",
                    bus=place.buses[0],
                    conductors=pair if pair[0] > 0 else (pair[1], pair[0]),
                    kva=kva / count,
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


def _limits(floor: float, low: float, high: float) -> Shares:
    """Floor, low, high; the floor goes first where the two cross."""
    return floor, max(low, floor + 1e-9), high
