"""Numbers of parts that no arithmetic could survive: refused by element and field, whoever read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gridflock.grid._network import CapacitorMode
from gridflock.grid.build._document import LARGEST, SMALLEST
from gridflock.grid.build._parts import Bus, Capacitor, Parts, Port, Regulator, Source

MOST_CONDUCTORS = 99
CONDUCTORS = f"a conductor is a number from 0 to {MOST_CONDUCTORS}"
MOST_EXPONENT = 100.0
Wrong = tuple[str, str]
"""Field, and why its value cannot be."""


def refuse_numbers(parts: Parts) -> None:
    """Note every number that is not finite, has the wrong sign, or is larger than anything on a feeder."""
    for bus in parts.buses:
        _note(parts, "bus", bus.id, _bus(bus), "")
    for source in parts.sources:
        _note(parts, "source", source.id, _source(source), source.where)
    for port in parts.ports:
        _note(parts, "load", port.id, _port(port, len(parts.buses)), port.where)
    for regulator in parts.regulators:
        _note(parts, "regulator", regulator.id, _regulator(regulator), regulator.where)
    for capacitor in parts.capacitors:
        _note(parts, "capacitor", capacitor.id, _capacitor(capacitor), capacitor.where)


def _note(parts: Parts, component: str, name: str, wrong: Iterable[Wrong], where: str) -> None:
    for field, reason in wrong:
        parts.faults.add(component, name, field, reason + (f" ({where})" if where else ""))


def _finite(thing: object, *fields: str) -> Iterable[Wrong]:
    for field in fields:
        value = getattr(thing, field)
        if not abs(value) <= LARGEST:
            yield field, f"{value} is no number that can be"


def _not_below(thing: object, *fields: str) -> Iterable[Wrong]:
    for field in fields:
        value = getattr(thing, field)
        if not 0.0 <= value <= LARGEST:
            yield field, f"{value} is not a number from 0 upwards"


def _above(thing: object, *fields: str) -> Iterable[Wrong]:
    for field in fields:
        value = getattr(thing, field)
        if not SMALLEST <= value <= LARGEST:
            yield field, f"{value} is not a number above 0"


def _bus(bus: Bus) -> Iterable[Wrong]:
    if not math.isnan(bus.v):
        yield from _above(bus, "v")


def _source(source: Source) -> Iterable[Wrong]:
    if len(source.v) != len(source.end.conductors):
        yield "v", f"{len(source.v)} voltages for {len(source.end.conductors)} conductors"
    elif not all(abs(v) <= LARGEST for v in source.v):
        yield "v", "a voltage that is not finite, or larger than any"


def _port(port: Port, buses: int) -> Iterable[Wrong]:
    if not 0 <= port.bus < buses:
        yield "bus", "unknown bus"
    if not all(0 <= c <= MOST_CONDUCTORS for c in port.conductors):
        yield "phases", CONDUCTORS
    yield from _finite(port, "kva")
    yield from _above(port, "rated_v")
    if not all(abs(share) <= LARGEST for share in (*port.zip_p, *port.zip_q)):
        yield "law", "a share that is not finite"
    if any(abs(exponent) > MOST_EXPONENT for exponent in port.exponent):
        yield "law", f"an exponent beyond {MOST_EXPONENT:g}"
    floor, low, high = port.limits
    edges = port.edge if port.edge is not None else (low, high)
    if not 0.0 <= floor <= low <= high <= LARGEST or not all(0.0 < abs(edge) <= LARGEST for edge in edges):
        yield "limits", f"the law of a load holds between voltages in order, not {port.limits}"


def _regulator(regulator: Regulator) -> Iterable[Wrong]:
    yield from _finite(regulator, "v_set_v", "r_v", "x_v")
    yield from _not_below(regulator, "band_v", "delay_s")
    yield from _above(regulator, "pt_ratio", "step_pu", "base_v")
    if regulator.current >= 0:
        yield from _above(regulator, "ct_a")


def _capacitor(capacitor: Capacitor) -> Iterable[Wrong]:
    yield from _not_below(capacitor, "delay_s", "delay_off_s")
    if capacitor.mode is CapacitorMode.FIXED:
        return
    yield from _finite(capacitor, "on_at", "off_at")
    yield from _above(capacitor, "pt_ratio", "ct_ratio")
    for field in ("v_low_v", "v_high_v"):
        if not math.isnan(getattr(capacitor, field)):
            yield from _finite(capacitor, field)
