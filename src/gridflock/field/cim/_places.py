"""Where things are: buses, terminals, conductors, nominal voltages and coordinates.

Conductors of a bus are 1, 2, 3 for A, B, C, 1 and 2 for the legs s1 and s2 of a split-phase
service, 4 for a neutral where a line brings one and ground where none does. The star point of a
transformer that is not solidly grounded gets a number of its own from 5.
"""

from __future__ import annotations

import math
import re

from gridflock.field.cim._model import Model, Thing
from gridflock.grid.build import Bus, Parts

NEUTRAL = 4
STAR = 5
PHASES = {"A": 1, "B": 2, "C": 3, "s1": 1, "s2": 2}
LETTERS = re.compile(r"s12|s1|s2|[ABCN]")
TANK_PHASES = ("TransformerTankEnd.orderedPhases", "TransformerTankEnd.phases")
PHASE_PROPERTIES = (
    ("ACLineSegmentPhase", "ACLineSegmentPhase.phase", "ACLineSegmentPhase.ACLineSegment"),
    ("EnergyConsumerPhase", "EnergyConsumerPhase.phase", "EnergyConsumerPhase.EnergyConsumer"),
    (
        "PowerElectronicsConnectionPhase",
        "PowerElectronicsConnectionPhase.phase",
        "PowerElectronicsConnectionPhase.PowerElectronicsConnection",
    ),
)
AGREE = 0.02
"""Two statements of one nominal voltage may differ by this much (2400 V and 4160 V / √3)."""


def letters(code: str) -> list[str]:
    """Single phases of a phase code in its order: ``Ns2`` -> N, s2; ``s12N`` -> s1, s2, N."""
    found: list[str] = []
    for letter in LETTERS.findall(code):
        found += ["s1", "s2"] if letter == "s12" else [letter]
    return found


class Places:
    """The buses of a file and what is known of them.

    Args:
        model: the file.
        parts: gets the buses.
    """

    def __init__(self, model: Model, parts: Parts) -> None:
        self._model = model
        self._parts = parts
        self._rows: dict[str, int] = {}
        self._terminals: dict[str, list[Thing]] = {}
        self._stars: dict[int, int] = {}
        self._find_terminals()
        self._neutral = self._neutral_buses()
        self._split = self._buses_with("s1") | self._buses_with("s2")
        self._leg_v = self._service_voltages()
        self._v: dict[int, float] = {}

    def _find_terminals(self) -> None:
        order = ("ACDCTerminal.sequenceNumber", "Terminal.sequenceNumber")
        for terminal in self._model.of("Terminal"):
            equipment = terminal.ref("Terminal.ConductingEquipment")
            node = terminal.ref("Terminal.ConnectivityNode")
            if equipment is None:
                continue
            if node is not None and node.id not in self._rows:
                self._rows[node.id] = len(self._rows)
                self._parts.buses.append(Bus(node.title, math.nan))
            self._terminals.setdefault(equipment.id, []).append(terminal)
        for terminals in self._terminals.values():
            terminals.sort(key=lambda t: next((t.number(p) for p in order if t.has(p)), 0.0))

    def _buses_with(self, letter: str) -> set[int]:
        """Buses that a phase of this kind comes to."""
        found: set[int] = set()
        for kind, prop, owner in PHASE_PROPERTIES:
            for phase in self._model.of(kind):
                if letter in letters(phase.text(prop)):
                    found.update(self.row(t) for t in self.terminals(phase.text(owner)))
        for end in self._model.of("TransformerTankEnd"):
            if letter in self.tank_letters(end) and (terminal := end.ref("TransformerEnd.Terminal")):
                found.add(self.row(terminal))
        return found - {-1}

    def _neutral_buses(self) -> set[int]:
        """Buses that a line with a neutral conductor of its own comes to."""
        lines = [line for line in self._model.of("ACLineSegment") if brings_neutral(line)]
        return {self.row(t) for line in lines for t in self.terminals(line.id)} - {-1}

    @staticmethod
    def tank_letters(end: Thing) -> list[str]:
        """Phases of a tank end in the written order."""
        return next((letters(end.text(p)) for p in TANK_PHASES if end.has(p)), [])

    def _service_voltages(self) -> dict[str, float]:
        """Volts from leg to neutral by base voltage, as the transformers of such services are rated."""
        found: dict[str, float] = {}
        for end in self._model.of("TransformerTankEnd"):
            legs = {"s1", "s2"} & set(self.tank_letters(end))
            info = tank_end_info(end) if legs else None
            if info is not None:
                volts = info.number("TransformerEndInfo.ratedU", above=0.0) / len(legs)
                found.setdefault(end.text("TransformerEnd.BaseVoltage"), volts)
        return found

    def terminals(self, equipment_id: str) -> list[Thing]:
        """Terminals of an equipment in their order."""
        return self._terminals.get(equipment_id, [])

    def row(self, terminal: Thing) -> int:
        """Bus row of a terminal; -1 where it is connected to nothing."""
        return self._rows.get(terminal.text("Terminal.ConnectivityNode"), -1)

    def bus_rows(self, thing: Thing, count: int) -> list[int]:
        """Bus rows of an equipment with ``count`` terminals; empty where it is at fault."""
        rows = [self.row(t) for t in self.terminals(thing.id)]
        if len(rows) != count or -1 in rows:
            connected = len(rows) - rows.count(-1)
            thing.fault("Terminal.ConnectivityNode", f"{connected} connected terminals, expected {count}")
            return []
        if count == 2 and rows[0] == rows[1]:
            thing.fault("Terminal.ConnectivityNode", "both ends on the same bus")
            return []
        return rows

    def is_connected(self, thing: Thing) -> bool:
        """Whether it is in service and all its terminals are connected."""
        serving = all(thing.flag(f"Equipment.{p}", default=True) for p in ("inService", "normallyInService"))
        return serving and all(
            t.flag("ACDCTerminal.connected", default=True) for t in self.terminals(thing.id)
        )

    def neutral(self, bus: int) -> int:
        """Conductor that N means at a bus: its neutral, or ground."""
        return NEUTRAL if bus in self._neutral else 0

    def has_neutral(self, bus: int) -> bool:
        """Whether a line brings a neutral conductor to a bus."""
        return bus in self._neutral

    def new_star(self, bus: int) -> int:
        """A conductor number for a star point of its own."""
        self._stars[bus] = self._stars.get(bus, STAR - 1) + 1
        return self._stars[bus]

    def conductor(self, thing: Thing, prop: str, bus: int) -> int:
        """Conductor of a single phase; 0 where the phase is at fault or means ground."""
        letter = thing.text(prop)
        if letter == "N":
            return self.neutral(bus)
        if letter not in PHASES:
            thing.fault(prop, f"phase {letter} cannot be represented" if letter else "missing")
            return 0
        return PHASES[letter]

    # ---- nominal voltages and coordinates --------------------------------------------------------

    def base_v(self, thing: Thing, prop: str, bus: int) -> float:
        """Nominal line-to-neutral volts that a thing states for a bus; NaN where it states none."""
        base = thing.ref(prop)
        if base is None:
            return math.nan
        nominal = base.number("BaseVoltage.nominalVoltage", above=0.0)
        if nominal < 50.0:
            base.fault("BaseVoltage.nominalVoltage", f"{nominal} is below 50: expected volts, not kilovolts")
        if bus in self._split and base.id in self._leg_v:
            return self._leg_v[base.id]
        return nominal / math.sqrt(3.0)

    def state(self, thing: Thing, prop: str, bus: int) -> None:
        """Take the nominal voltage of a bus from a thing; a contradiction is a fault."""
        v = self.base_v(thing, prop, bus) if bus >= 0 else math.nan
        if math.isnan(v):
            return
        known = self._v.setdefault(bus, v)
        if abs(known - v) > AGREE * known:
            name = self._parts.buses[bus].id
            thing.fault(prop, f"contradicts bus {name}: {v:.6g} V against {known:.6g} V to neutral")

    def nominal_v(self, bus: int) -> float:
        """Nominal line-to-neutral volts of a bus; NaN unknown."""
        return self._v.get(bus, math.nan)

    def finish(self) -> None:
        """Give the buses their nominal voltages and coordinates."""
        spots = self._coordinates()
        for row, bus in enumerate(self._parts.buses):
            self._parts.buses[row] = Bus(bus.id, self.nominal_v(row), spots.get(row, bus.xy))

    def _coordinates(self) -> dict[int, tuple[float, float]]:
        """Position of each bus: the point of a location whose number is the terminal's."""
        points: dict[tuple[str, int], tuple[float, float]] = {}
        for point in self._model.of("PositionPoint"):
            where = point.text("PositionPoint.Location"), point.whole("PositionPoint.sequenceNumber", 1)
            points[where] = point.number("PositionPoint.xPosition"), point.number("PositionPoint.yPosition")
        found: dict[int, tuple[float, float]] = {}
        for owner, terminals in self._terminals.items():
            location = self._model.by_id[owner].text("PowerSystemResource.Location")
            for number, terminal in enumerate(terminals, start=1):
                if (location, number) in points:
                    found.setdefault(self.row(terminal), points[location, number])
        return found


def tank_end_info(end: Thing) -> Thing | None:
    """Nameplate of the winding that a tank end is."""
    tank = end.ref("TransformerTankEnd.TransformerTank")
    info = tank_info(tank) if tank else None
    if info is None:
        return None
    number = end.whole("TransformerEnd.endNumber")
    for other in info.referring("TransformerEndInfo.TransformerTankInfo"):
        if other.whole("TransformerEndInfo.endNumber") == number:
            return other
    return None


def tank_info(tank: Thing) -> Thing | None:
    """Nameplate of a tank: referred to directly or by its asset."""
    for prop in ("TransformerTank.TransformerTankInfo", "PowerSystemResource.AssetDatasheet"):
        if tank.has(prop):
            return tank.ref(prop)
    for asset in tank.referring("Asset.PowerSystemResources"):
        if asset.has("Asset.AssetInfo"):
            return asset.ref("Asset.AssetInfo")
    return None


def brings_neutral(line: Thing) -> bool:
    """Whether the neutral of a line is a conductor of its own, not folded into the phases."""
    phases = line.referring("ACLineSegmentPhase.ACLineSegment")
    table = line.ref("ACLineSegment.PerLengthImpedance")
    if table is None or table.kind != "PerLengthPhaseImpedance":
        return False
    named = any(p.text("ACLineSegmentPhase.phase") == "N" for p in phases)
    return named and table.whole("PerLengthPhaseImpedance.conductorCount", len(phases)) == len(phases)
