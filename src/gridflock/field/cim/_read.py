"""From a file to parts: what is modelled, what is refused, what is only told."""

from __future__ import annotations

from pathlib import Path

from gridflock.field.cim._lines import SWITCHES, read_lines, read_switches
from gridflock.field.cim._loads import read_consumers, read_inverters
from gridflock.field.cim._model import Model
from gridflock.field.cim._places import Places
from gridflock.field.cim._shunts import read_capacitors
from gridflock.field.cim._sources import read_sources
from gridflock.field.cim._transformers import read_transformers
from gridflock.field.cim._xml import Limits
from gridflock.grid.build import Parts, Section

EQUIPMENT = {
    "ACLineSegment", "SeriesCompensator", *SWITCHES, "PowerTransformer", "EnergyConsumer", "EnergySource",
    "PowerElectronicsConnection", "LinearShuntCompensator",
}  # fmt: skip
HARMLESS = {"BusbarSection", "Junction"}
"""Equipment that has terminals and no influence on the currents."""
REFUSED = {
    "PhaseTapChangerLinear", "PhaseTapChangerSymmetrical", "PhaseTapChangerAsymmetrical",
    "PhaseTapChangerNonLinear", "PhaseTapChangerTabular", "MutualCoupling", "TransformerTest",
    "OpenCircuitTest",
}  # fmt: skip
"""Things without terminals that change the equations and cannot be represented."""
DETAIL = {
    "ACLineSegmentPhase", "Asset", "BaseFrequency", "BaseVoltage", "BatteryUnit", "ConnectivityNode",
    "CurrentLimit", "EnergyConsumerPhase", "EnergySourcePhase", "Feeder", "LinearShuntCompensatorPhase",
    "LoadResponseCharacteristic", "Location", "NoLoadTest", "OperationalLimitSet", "OperationalLimitType",
    "OverheadWireInfo", "PerLengthPhaseImpedance", "PerLengthSequenceImpedance", "PhaseImpedanceData",
    "PhotovoltaicUnit", "PositionPoint", "PowerElectronicsConnectionPhase", "PowerElectronicsWindUnit",
    "PowerTransformerEnd", "RatioTapChanger", "RegulatingControl", "ShortCircuitTest", "SwitchPhase",
    "TapChangerControl", "Terminal", "TransformerCoreAdmittance", "TransformerEndInfo",
    "TransformerMeshImpedance", "TransformerStarImpedance", "TransformerTank", "TransformerTankEnd",
    "TransformerTankInfo", "WirePosition", "WireSpacingInfo",
}  # fmt: skip
"""Classes that are read as part of an equipment."""


def read_cim(path: Path | str, limits: Limits | None = None) -> Parts:
    """Read a CIM XML file (CIM100 or CIM17, distribution profile, SI units).

    Args:
        path: the file.
        limits: how large it may be.

    Returns:
        Parts without faults; ``notes`` lists what the file says beyond a steady-state model.

    Raises:
        CimMissing: lxml is not installed.
        FeederRejected: with everything that is wrong, or cannot be represented, by name and line.
    """
    path = Path(path)
    parts = Parts(path.stem)
    model = Model(path, limits or Limits(), parts)
    parts.faults.stop_if_any()
    _refuse_unknown(model, parts)
    places = Places(model, parts)
    _state_voltages(model, places)
    read_sources(model, places, parts)
    read_switches(model, places, parts)
    read_lines(model, places, parts)
    read_transformers(model, places, parts)
    read_capacitors(model, places, parts)
    read_consumers(model, places, parts)
    read_inverters(model, places, parts)
    places.finish()
    _name(model, places, parts)
    _note_rest(model, parts)
    parts.faults.stop_if_any()
    return parts


def _refuse_unknown(model: Model, parts: Parts) -> None:
    """Everything that conducts, or changes the equations, must be known."""
    for terminal in model.of("Terminal"):
        equipment = model.by_id.get(terminal.text("Terminal.ConductingEquipment"))
        if equipment is not None and equipment.kind not in EQUIPMENT | HARMLESS:
            equipment.fault("rdf:type", f"{equipment.kind} cannot be represented")
    for thing in model.of(*sorted(REFUSED)):
        thing.fault("rdf:type", f"{thing.kind} cannot be represented")
    for kind in sorted(EQUIPMENT):
        for thing in model.of(kind):
            if not thing.referring("Terminal.ConductingEquipment"):
                thing.fault("Terminal.ConductingEquipment", "has no terminal")
    if not model.of("Terminal"):
        parts.faults.add("file", model.file, "Terminal", "describes no network: it has no terminals")


def _state_voltages(model: Model, places: Places) -> None:
    """Nominal voltages of buses, as the equipment at them says."""
    for end in model.of("TransformerTankEnd", "PowerTransformerEnd"):
        if terminal := model.by_id.get(end.text("TransformerEnd.Terminal")):
            places.state(end, "TransformerEnd.BaseVoltage", places.row(terminal))
    for thing in model.of(*sorted(EQUIPMENT - {"PowerTransformer"})):
        for terminal in places.terminals(thing.id):
            places.state(thing, "ConductingEquipment.BaseVoltage", places.row(terminal))


def _name(model: Model, places: Places, parts: Parts) -> None:
    """Name of the feeder, and its sections where the file says where they begin."""
    feeders = model.of("Feeder")
    if feeders:
        parts.name = feeders[0].name or parts.name
    heads = [(f, f.ref("Feeder.NormalHeadTerminal")) for f in feeders]
    for feeder, terminal in heads:
        if terminal is not None and places.row(terminal) >= 0:
            parts.sections.append(Section(feeder.title, feeder.name or feeder.id, places.row(terminal)))
    if parts.sections and parts.sources and parts.sources[0].end.bus not in {s.head for s in parts.sections}:
        parts.sections.insert(0, Section("source", "source", parts.sources[0].end.bus))


def _note_rest(model: Model, parts: Parts) -> None:
    """Count what was left aside."""
    for kind in sorted(set(model.kinds) - EQUIPMENT - DETAIL):
        parts.notes.append(f"{len(model.kinds[kind])} {kind} left aside")
