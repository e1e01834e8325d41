"""Linear elements of a compiled circuit: sources, lines, transformers, reactors, capacitors."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from gridflock.field.opendss._circuit import Circuit, Complex
from gridflock.grid.build import Branch, Bus, Capacitor, End, Parts, Shunt, Source

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Place:
    """How the active element stands in the network.

    Attributes:
        ends: its terminals without ground conductors; terminals wholly to ground left out, a terminal
            of two buses (the series winding of an autotransformer) as two.
        kept: position of each of their conductors among all conductors of the element.
        nodes: (terminals, conductors) node numbers as the engine has them, 0 for ground.
        buses: bus row of each terminal.
        end_of: (terminals) position among ``ends``; -1 where it is none or more than one.
    """

    ends: tuple[End, ...]
    kept: list[int]
    nodes: list[list[int]]
    buses: list[int]
    end_of: list[int]


class Walk:
    """Makes parts from the elements of one circuit.

    Args:
        circuit: compiled, with admittances built.
        parts: what is filled.
    """

    def __init__(self, circuit: Circuit, parts: Parts) -> None:
        self.circuit, self.parts = circuit, parts
        self.rows: dict[str, int] = {}
        self.api = circuit.api

    def buses(self) -> None:
        """All buses, with the nominal voltages the file gives them."""
        xy = self.circuit.script.coordinates
        for row, name in enumerate(self.api.AllBusNames):
            base = self.api.Buses(row).kVBase
            v = 1000.0 * base if base > 0 else NAN
            self.rows[name] = row
            self.parts.buses.append(Bus(name, v, xy.get(name.lower(), (NAN, NAN))))

    def place(self, element: str) -> Place:
        """Where the active element is connected; a bus with more nodes than it has wires is a fault."""
        api = self.api.ActiveCktElement
        wires = api.NumConductors
        flat = [int(n) for n in api.NodeOrder]
        names = [str(name).split(".") for name in api.BusNames[: len(flat) // wires]]
        for name in names:
            named = len(name) - 1
            if any(node != "0" for node in name[wires + 1 :]) or 0 < named < api.NumPhases:
                reason = f"contradictory: bus {'.'.join(name)} for {api.NumPhases} phases, {wires} wires"
                self.circuit.fault(element, "phases", reason)
        buses = [self.rows.get(name[0].lower(), -1) for name in names]
        bus_of = [bus for bus in buses for _ in range(wires)]
        if element.startswith("autotrans."):
            bus_of, flat = self._referred(bus_of)
        kept = [k for k, node in enumerate(flat) if node > 0]
        ends: list[End] = []
        end_of = [-1] * len(buses)
        for (terminal, bus), group in groupby(kept, key=lambda k: (k // wires, bus_of[k])):
            first = end_of[terminal] == -1 and bus == buses[terminal]
            end_of[terminal] = len(ends) if first else -2
            ends.append(End(bus, tuple(flat[k] for k in group)))
        nodes = [flat[i : i + wires] for i in range(0, len(flat), wires)]
        return Place(tuple(ends), kept, nodes, buses, [max(end, -1) for end in end_of])

    def _referred(self, bus_of: list[int]) -> tuple[list[int], list[int]]:
        """Bus row and node of each conductor by the rows of the engine's matrix.

        A series winding ends where the common winding begins, whatever its own bus says.
        """
        order = [str(name).lower().rsplit(".", 1) for name in self.api.YNodeOrder]
        refs = [int(ref) - 1 for ref in self.api.ActiveCktElement.NodeRef]
        rows = [self.rows[order[r][0]] if r >= 0 else bus for r, bus in zip(refs, bus_of, strict=True)]
        return rows, [int(order[r][1]) if r >= 0 else 0 for r in refs]

    # ---- sources -----------------------------------------------------------------------------------

    def sources(self) -> None:
        """Voltage sources behind their impedance."""
        for row in self.circuit.table("vsource"):
            element = f"vsource.{row['Name']}"
            self.circuit.activate(element)
            place = self.place(element)
            if len(place.ends) != 1 or any(n > 0 for n in place.nodes[1]):
                self.circuit.fault(element, "bus2", "a source between two buses cannot be represented")
                continue
            if row["Frequency"] != self.api.Solution.Frequency:
                self.circuit.fault(
                    element, "frequency", "a source of another frequency cannot be represented"
                )
                continue
            y = self.circuit.primitive()[np.ix_(place.kept, place.kept)]
            v = _source_voltages(row)[: len(place.kept)]
            self.parts.sources.append(Source(element, place.ends[0], v, y, self.circuit.where(element)))

    # ---- branches ----------------------------------------------------------------------------------

    def lines(self) -> None:
        """Lines, cables and switches."""
        api = self.api.Lines
        at = api.First
        while at:
            element = f"line.{api.Name.lower()}"
            self._linear(element, "switch" if api.IsSwitch else "line", api.NormAmps)
            at = api.Next

    def transformers(self, regulated: set[str]) -> None:
        """Transformers, their regulated windings at neutral."""
        for kind in ("transformer", "autotrans"):
            for element in self.circuit.names(kind):
                self.circuit.activate(element)
                api = self.api.ActiveCktElement
                if api.Enabled:
                    self._linear(
                        element, "regulator" if element in regulated else "transformer", api.NormalAmps
                    )

    def reactors(self) -> None:
        """Reactors and faults: series or to ground."""
        for kind in ("reactor", "fault"):
            for element in self.circuit.names(kind):
                self.circuit.activate(element)
                api = self.api.ActiveCktElement
                if api.Enabled:
                    self._linear(element, "reactor", api.NormalAmps)

    def _linear(self, element: str, kind: str, rating_a: float) -> None:
        """One linear element as a branch, or as a shunt where only one bus is not ground."""
        place = self.place(element)
        y = self.circuit.primitive()[np.ix_(place.kept, place.kept)]
        where = self.circuit.where(element)
        if len({end.bus for end in place.ends}) > 1:
            rating = rating_a if rating_a > 0 else NAN
            closed = element not in self.circuit.out
            self.parts.branches.append(Branch(element, kind, place.ends, y, rating, closed, where))
        elif place.ends:
            end, y = _merged(place.ends, y)
            self.parts.shunts.append(Shunt(element, "reactor", end, y, where))
        if element in self.circuit.partly:
            self.parts.notes.append(f"{element} has a phase open: taken as it is, not as a switch ({where})")

    # ---- capacitors --------------------------------------------------------------------------------

    def capacitors(self) -> None:
        """Shunt capacitors with their switch, series capacitors as branches."""
        api = self.api.Capacitors
        at = api.First
        while at:
            element = f"capacitor.{api.Name.lower()}"
            place = self.place(element)
            if len({end.bus for end in place.ends}) > 1:
                self._linear(element, "reactor", self.api.ActiveCktElement.NormalAmps)
            elif place.ends:
                self._bank(element, place, [bool(state) for state in api.States])
            api.Name = element.split(".", 1)[1]
            at = api.Next

    def _bank(self, element: str, place: Place, states: list[bool]) -> None:
        where = self.circuit.where(element)
        if not any(states):
            self._set_states(element, [True] * len(states))
        elif not all(states):
            self.parts.notes.append(f"{element}: its steps that are in are taken as one ({where})")
        y = self.circuit.primitive()[np.ix_(place.kept, place.kept)]
        if not any(states):
            self._set_states(element, states)
        end, y = _merged(place.ends, y)
        self.parts.shunts.append(Shunt(element, "capacitor", end, y, where))
        self.parts.capacitors.append(Capacitor(element, element, any(states), where=where))

    def _set_states(self, element: str, states: list[bool]) -> None:
        self.circuit.command(f"edit {element} states=[{' '.join(str(int(s)) for s in states)}]")
        self.circuit.build()
        self.circuit.activate(element)


def _merged(ends: tuple[End, ...], y: Complex) -> tuple[End, Complex]:
    """The terminals of an element at one bus as one end, each conductor once."""
    wires = [c for end in ends for c in end.conductors]
    once = sorted(set(wires))
    gather = np.array([[float(c == u) for c in wires] for u in once])
    return End(ends[0].bus, tuple(once)), gather @ y @ gather.T


def _source_voltages(row: dict[str, Any]) -> Complex:
    """(phases,) voltages behind the impedance: phase i lags the first by i·360°/phases."""
    count = int(row["Phases"])
    size = 1000.0 * row["BasekV"] * row["pu"]
    if count > 1:
        size /= 2.0 * math.sin(math.pi / count)
    turn = {"positive": -1.0, "pos": -1.0, "negative": 1.0, "neg": 1.0, "zero": 0.0}
    step = turn[str(row["Sequence"]).lower()] * 2.0 * math.pi / count
    first = math.radians(row["Angle"])
    return np.array([cmath.rect(size, first + step * k) for k in range(count)])
