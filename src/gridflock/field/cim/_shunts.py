"""Shunt capacitors with their switches and controls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.field.cim._model import Model, Thing
from gridflock.field.cim._places import PHASES, Places, letters
from gridflock.grid import CapacitorMode
from gridflock.grid.build import Branch, Capacitor, End, Parts, Shunt

Complex = NDArray[np.complex128]
MODES = {
    "voltage": CapacitorMode.VOLTAGE,
    "reactivePower": CapacitorMode.KVAR,
    "currentFlow": CapacitorMode.CURRENT,
}


def read_capacitors(model: Model, places: Places, parts: Parts) -> None:
    """Every ``LinearShuntCompensator``."""
    for bank in model.of("LinearShuntCompensator"):
        rows = places.bus_rows(bank, 1)
        if not rows:
            continue
        found = _admittance(bank, places, rows[0])
        if found is None:
            continue
        conductors, y, on = found
        parts.shunts.append(Shunt(bank.key, "capacitor", End(rows[0], conductors), y, bank.where))
        control = _control(bank)
        if control is None or not control.flag("RegulatingControl.enabled", default=True):
            parts.capacitors.append(Capacitor(bank.key, bank.key, on, where=bank.where))
        elif (switch := _controlled(bank, control, on, places, parts)) is not None:
            parts.capacitors.append(switch)


def _admittance(bank: Thing, places: Places, bus: int) -> tuple[tuple[int, ...], Complex, bool] | None:
    """Conductors, admittance of all sections in use (else of all there are), and whether any is in use."""
    kind = bank.text("ShuntCompensator.phaseConnection") or "Y"
    phases = bank.referring("ShuntCompensatorPhase.ShuntCompensator")
    if phases:
        names = [p.text("ShuntCompensatorPhase.phase") for p in phases]
        legs = [_leg(p, "LinearShuntCompensatorPhase", "ShuntCompensatorPhase", bank) for p in phases]
    else:
        names = ["A", "B", "C"]
        legs = [_leg(bank, "LinearShuntCompensator", "ShuntCompensator", bank)] * 3
        if kind == "D":
            legs = [(y / 3.0, on) for y, on in legs]
    if kind not in {"Y", "Yn", "D"} or not set(names) <= set(PHASES) or len(set(names)) != len(names):
        bank.fault("ShuntCompensator.phaseConnection", f"connection {kind} of phases {', '.join(names)}")
        return None
    if len({on for _, on in legs}) > 1:
        bank.fault("ShuntCompensatorPhase.sections", "phases switched apart cannot be represented")
        return None
    b = np.array([y for y, _ in legs], dtype=np.complex128)
    lines = [PHASES[name] for name in names]
    if kind == "D":
        return _delta(lines, b, on=legs[0][1])
    if bank.flag("ShuntCompensator.grounded", default=True):
        return (*lines, 0), _star(b), legs[0][1]
    if places.has_neutral(bus):
        return (*lines, places.neutral(bus)), _star(b), legs[0][1]
    return tuple(lines), np.diag(b) - np.outer(b, b) / b.sum(), legs[0][1]


def _leg(thing: Thing, linear: str, general: str, bank: Thing) -> tuple[complex, bool]:
    """Admittance of a phase, S, and whether it is switched in."""
    each = complex(thing.number(f"{linear}.gPerSection", 0.0), thing.number(f"{linear}.bPerSection"))
    normal = thing.number(f"{general}.normalSections", bank.number("ShuntCompensator.normalSections", 1.0))
    sections = thing.number(f"{general}.sections", bank.number("ShuntCompensator.sections", normal))
    most = thing.number(f"{general}.maximumSections", bank.number("ShuntCompensator.maximumSections", 1.0))
    return each * (sections if sections > 0.0 else max(normal, most)), sections > 0.0


def _star(b: Complex) -> Complex:
    """Legs from each phase to a common last conductor."""
    legs = np.hstack([np.eye(len(b)), -np.ones((len(b), 1))])
    return np.asarray(legs.T @ np.diag(b) @ legs, dtype=np.complex128)


def _delta(lines: list[int], b: Complex, *, on: bool) -> tuple[tuple[int, ...], Complex, bool]:
    """Legs from each phase to the next one."""
    conductors = tuple(sorted({c for line in lines for c in (line, line % 3 + 1)}))
    legs = np.zeros((len(lines), len(conductors)))
    for row, line in enumerate(lines):
        legs[row, conductors.index(line)] = 1.0
        legs[row, conductors.index(line % 3 + 1)] = -1.0
    return conductors, np.asarray(legs.T @ np.diag(b) @ legs, dtype=np.complex128), on


def _control(bank: Thing) -> Thing | None:
    """The control of a bank, whichever of the two names the other."""
    found = bank.referring("RegulatingControl.RegulatingCondEq")
    return found[0] if found else bank.ref("RegulatingCondEq.RegulatingControl")


def _controlled(bank: Thing, control: Thing, on: bool, places: Places, parts: Parts) -> Capacitor | None:  # noqa: FBT001 present state
    """A controlled switch; its target and band are primary volts, vars or amperes."""
    mode = control.text("RegulatingControl.mode")
    if mode not in MODES:
        control.fault("RegulatingControl.mode", f"mode {mode or 'missing'} cannot be represented")
        return None
    terminal = control.need("RegulatingControl.Terminal")
    if terminal is None or places.row(terminal) < 0:
        control.fault("RegulatingControl.Terminal", "is connected to nothing")
        return None
    target = control.number("RegulatingControl.targetValue")
    half = abs(control.number("RegulatingControl.targetDeadband")) / 2.0
    names = [n for n in letters(control.text("RegulatingControl.monitoredPhase")) if n != "N"]
    seen = [PHASES[n] for n in names] or [c for c in parts.shunts[-1].end.conductors if c > 0]
    delay = bank.number("ShuntCompensator.aVRDelay", 0.0)
    if mode == "voltage":
        return Capacitor(
            bank.key, bank.key, on, MODES[mode], tuple((places.row(terminal), c) for c in seen),
            on_at=target - half, off_at=target + half, delay_s=delay, delay_off_s=delay, where=bank.where,
        )  # fmt: skip
    branch = _branch_of(terminal, parts)
    if branch is None:
        control.fault("RegulatingControl.Terminal", "belongs to no line, switch or transformer")
        return None
    scale = 1000.0 if mode == "reactivePower" else 1.0
    end = next((k for k, e in enumerate(branch.ends) if e.bus == places.row(terminal)), 0)
    before = sum(len(e.conductors) for e in branch.ends[:end])
    positions = tuple(before + k for k, c in enumerate(branch.ends[end].conductors) if c in seen)
    return Capacitor(
        bank.key, bank.key, on, MODES[mode], (), branch.id, end, positions,
        on_at=(target + half) / scale, off_at=(target - half) / scale, delay_s=delay, delay_off_s=delay,
        where=bank.where,
    )  # fmt: skip


def _branch_of(terminal: Thing, parts: Parts) -> Branch | None:
    equipment = terminal.ref("Terminal.ConductingEquipment")
    if equipment is None:
        return None
    keys = {equipment.key, *(t.key for t in equipment.referring("TransformerTank.PowerTransformer"))}
    return next((b for b in parts.branches if b.id in keys), None)
