"""Consumers and inverters: ports between a phase and its neutral, or a phase and the next.

A phase X of a delta consumer is the port from X to the phase after it. Powers are watts and vars;
a consumer's are positive when it takes power. CIM writes an inverter's with the same sign, files of
distribution feeders with the opposite one: what a file does is told by its own photovoltaic units
and batteries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gridflock.field.cim._model import Model, Thing
from gridflock.field.cim._places import Places, letters
from gridflock.grid import PortKind
from gridflock.grid.build import Parts, Port

LIMITS = (0.5, 0.8, 1.2)
"""CIM says nothing of a voltage at which a load changes its law: it holds from 0.8 to 1.2 pu."""
MOST_EXPONENT = 100
SHUNT_KINDS = {"Y", "Yn", "D", "I"}
Shares = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Law:
    """How power depends on voltage."""

    zip_p: Shares = (1.0, 0.0, 0.0)
    zip_q: Shares = (1.0, 0.0, 0.0)
    exponent: tuple[float, float] = (math.nan, math.nan)

    def edge(self, kva: complex) -> tuple[float, float] | None:
        """Current of a power at the limits, in parts of the rated one; None for constant power."""
        if self == _Law() or kva == 0:
            return None
        low, high = (abs(self._power(kva, r)) / (abs(kva) * r) for r in LIMITS[1:])
        return low, high

    def _power(self, kva: complex, r: float) -> complex:
        """What a power becomes at a voltage of r per unit."""
        if not math.isnan(self.exponent[0]):
            return complex(kva.real * r ** self.exponent[0], kva.imag * r ** self.exponent[1])
        p, q = (s[0] + s[1] * r + s[2] * r**2 for s in (self.zip_p, self.zip_q))
        return complex(kva.real * p, kva.imag * q)


def read_consumers(model: Model, places: Places, parts: Parts) -> None:
    """Every ``EnergyConsumer``."""
    laws: dict[str, _Law] = {}
    for consumer in model.of("EnergyConsumer"):
        if not _is_served(consumer, places, parts):
            continue
        response = consumer.ref("EnergyConsumer.LoadResponse")
        law = _Law()
        if response is not None:
            if response.id not in laws:
                laws[response.id] = _law(response)
            law = laws[response.id]
        kva = -_kva(consumer, "EnergyConsumer")
        phases = consumer.referring("EnergyConsumerPhase.EnergyConsumer")
        _ports(consumer, "EnergyConsumer", phases, kva, -1.0, law, PortKind.LOAD, places, parts)


def read_inverters(model: Model, places: Places, parts: Parts) -> None:
    """Every ``PowerElectronicsConnection``."""
    inverters = model.of("PowerElectronicsConnection")
    sign = _generation_sign(inverters)
    if inverters and sign < 0:
        parts.notes.append("powers of inverters are written positive when they take power")
    for inverter in inverters:
        if not _is_served(inverter, places, parts):
            continue
        units = {u.kind for u in inverter.referring("PowerElectronicsUnit.PowerElectronicsConnection")}
        kind = PortKind.GENERATOR
        if "BatteryUnit" in units:
            kind = PortKind.STORAGE
        elif "PhotovoltaicUnit" in units:
            kind = PortKind.PV
        own = "PowerElectronicsConnection"
        phases = inverter.referring(f"{own}Phase.{own}")
        _ports(inverter, own, phases, sign * _kva(inverter, own), sign, _Law(), kind, places, parts)


def _is_served(thing: Thing, places: Places, parts: Parts) -> bool:
    if places.is_connected(thing):
        return True
    parts.notes.append(f"{thing.kind} {thing.title} is out of service ({thing.where})")
    return False


def _kva(thing: Thing, kind: str) -> complex:
    """Power as written, kVA."""
    names = (f"{kind}.p", f"{kind}.q")
    if kind == "EnergyConsumer" and not thing.has(names[0]):
        names = (f"{kind}.pfixed", f"{kind}.qfixed")
    return complex(thing.number(names[0]), thing.number(names[1], 0.0)) / 1000.0


def _law(response: Thing) -> _Law:
    """Voltage dependence; shares are parts of their sum, in percent or not."""
    own = "LoadResponseCharacteristic"
    if response.flag(f"{own}.exponentModel", default=False):
        exponent = response.number(f"{own}.pVoltageExponent"), response.number(f"{own}.qVoltageExponent")
        if max(map(abs, exponent)) > MOST_EXPONENT:
            response.fault(f"{own}.pVoltageExponent", f"{exponent} is beyond {MOST_EXPONENT}")
            return _Law()
        return _Law(exponent=exponent)
    shares = []
    for quantity in "pq":
        names = ("Power", "Current", "Impedance")
        values = [response.number(f"{own}.{quantity}Constant{name}", 0.0) for name in names]
        total = sum(values)
        if total <= 0.0:
            response.fault(f"{own}.{quantity}ConstantPower", "the shares do not add up to anything")
            return _Law()
        shares.append((values[0] / total, values[1] / total, values[2] / total))
    return _Law(shares[0], shares[1])


def _generation_sign(inverters: list[Thing]) -> float:
    """+1 where positive powers are injections, judged by the units that stand behind them."""
    vote = 0.0
    for inverter in inverters:
        p = inverter.number("PowerElectronicsConnection.p", 0.0)
        for unit in inverter.referring("PowerElectronicsUnit.PowerElectronicsConnection"):
            if unit.kind == "PhotovoltaicUnit" or unit.text("BatteryUnit.batteryState") == "discharging":
                vote += p
            elif unit.text("BatteryUnit.batteryState") == "charging":
                vote -= p
    return -1.0 if vote < 0.0 else 1.0


def _ports(
    thing: Thing, kind: str, phases: list[Thing], kva: complex, sign: float, law: _Law, port_kind: PortKind,
    places: Places, parts: Parts,
) -> None:  # fmt: skip
    rows = places.bus_rows(thing, 1)
    connection = thing.text(f"{kind}.phaseConnection") or "Y"
    if connection not in SHUNT_KINDS:
        thing.fault(f"{kind}.phaseConnection", f"connection {connection} cannot be represented")
        return
    if not rows:
        return
    shares = _phase_powers(thing, kind, phases, kva, sign)
    delta = connection == "D"
    if not delta and not _has_return(thing, kind, rows[0], places):
        return
    v = _rated_v(thing, kind, rows[0], places)
    for names, power in shares:
        pair = _pair(names, places.neutral(rows[0]), delta=delta)
        if pair is None:
            thing.fault(f"{kind}Phase.phase", f"phase {''.join(names)} cannot be represented")
            return
        wide = pair[1] not in {0, 4}
        volts = v * _span(names) if wide else v
        parts.ports.append(
            Port(
                f"{thing.key}.{''.join(names)}" if len(shares) > 1 else thing.key,
                rows[0], pair, power, volts, law.zip_p, law.zip_q, law.exponent, LIMITS, law.edge(power),
                port_kind, port_kind is PortKind.LOAD, thing.where,
            )
        )  # fmt: skip


def _phase_powers(
    thing: Thing, kind: str, phases: list[Thing], kva: complex, sign: float
) -> list[tuple[list[str], complex]]:
    """Power of each phase; a third each where none is named."""
    if not phases:
        return [([name], kva / 3.0) for name in "ABC"]
    found = []
    for phase in phases:
        names = letters(phase.text(f"{kind}Phase.phase"))
        if names == ["N"]:
            continue
        power = kva / len(phases)
        if phase.has(f"{kind}Phase.p") or phase.has(f"{kind}Phase.pfixed"):
            fixed = "" if phase.has(f"{kind}Phase.p") else "fixed"
            power = sign * complex(
                phase.number(f"{kind}Phase.p{fixed}"), phase.number(f"{kind}Phase.q{fixed}", 0.0)
            ) / 1000.0  # fmt: skip
        found.append((names, power))
    total = sum(power for _, power in found)
    if abs(total - kva) > 0.01 * max(abs(kva), abs(total)):
        thing.fault(f"{kind}.p", f"{kva:.6g} kVA, but its phases add up to {total:.6g} kVA")
    return found


def _pair(names: list[str], neutral: int, *, delta: bool) -> tuple[int, int] | None:
    """Conductors of a port."""
    number = {"A": 1, "B": 2, "C": 3, "s1": 1, "s2": 2}
    lines = [number[name] for name in names if name in number]
    if len(lines) == 2:
        return lines[0], lines[1]
    if len(lines) != 1:
        return None
    if not delta:
        return lines[0], neutral
    if names[0] in {"s1", "s2"}:
        return 1, 2
    return lines[0], lines[0] % 3 + 1


def _span(names: list[str]) -> float:
    """Voltage between two conductors over the one to neutral."""
    return 2.0 if {"s1", "s2"} & set(names) else math.sqrt(3.0)


def _has_return(thing: Thing, kind: str, bus: int, places: Places) -> bool:
    """Whether a wye has a neutral or ground to return to."""
    if thing.flag(f"{kind}.grounded", default=True) or places.has_neutral(bus):
        return True
    thing.fault(f"{kind}.grounded", "a wye without ground at a bus without neutral cannot be represented")
    return False


def _rated_v(thing: Thing, kind: str, bus: int, places: Places) -> float:
    """Volts to neutral at which the power holds."""
    v = places.base_v(thing, "ConductingEquipment.BaseVoltage", bus)
    if math.isnan(v):
        v = places.nominal_v(bus)
    if math.isnan(v) and thing.has(f"{kind}.ratedU"):
        v = thing.number(f"{kind}.ratedU", above=0.0) / math.sqrt(3.0)
    if math.isnan(v):
        thing.fault("ConductingEquipment.BaseVoltage", "missing")
        return 1.0
    return v
