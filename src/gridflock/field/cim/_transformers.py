"""Transformers: whole ones by their ends and meshed impedances, tanks by their nameplate and tests.

A ``PowerTransformer`` either has three-phase ends of its own, with the impedance of each pair of
ends (or a star of them), or consists of tanks, each with a nameplate and short-circuit and no-load
tests. The resistance of a pair is shared out to its windings, which ``transformer_block`` then takes
as a nameplate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from gridflock.field.cim._model import Model, Thing
from gridflock.field.cim._places import NEUTRAL, PHASES, Places, tank_end_info, tank_info
from gridflock.field.cim._taps import Tap, regulator, tap_of
from gridflock.grid.build import Branch, End, Parts
from gridflock.grid.build._windings import Winding, transformer_block

ANTIFLOAT_PPM = 1.0
SOLID_OHM = 1e-6
"""Solid ground of a neutral that is a conductor of its own."""
AGREE = 0.02
"""Resistances of pairs may miss the ones of windings by this share."""
CORE_AT = 1
"""A no-load test says what the core draws; it is put at the second winding, the one next to the core."""
Pairs = dict[tuple[int, int], complex]


@dataclass(frozen=True, slots=True)
class _End:
    """One end, read: where it is, what it is rated for, how it is wound."""

    thing: Thing
    bus: int
    conductors: tuple[int, ...]
    winding: Winding
    kva: float
    tap: Tap | None


def read_transformers(model: Model, places: Places, parts: Parts) -> None:
    """Every ``PowerTransformer`` and every tank."""
    for transformer in model.of("PowerTransformer"):
        ends = _in_order(transformer.referring("PowerTransformerEnd.PowerTransformer"))
        tanks = transformer.referring("TransformerTank.PowerTransformer")
        if bool(ends) == bool(tanks):
            transformer.fault("PowerTransformerEnd.PowerTransformer", "expected either ends or tanks")
        elif ends:
            _read_whole(transformer, ends, places, parts)
        else:
            for tank in tanks:
                _read_tank(tank, transformer, places, parts)


def _in_order(ends: Sequence[Thing]) -> list[Thing]:
    return sorted(ends, key=lambda e: e.whole("TransformerEnd.endNumber"))


def _terminal_bus(end: Thing, places: Places) -> int:
    terminal = end.need("TransformerEnd.Terminal")
    row = places.row(terminal) if terminal else -1
    if terminal and row < 0:
        end.fault("TransformerEnd.Terminal", "is connected to nothing")
    return row


def _ground(end: Thing, *, default: bool) -> complex | None:
    """Impedance from the star point to ground; None where it floats."""
    if not end.flag("TransformerEnd.grounded", default=default):
        return None
    return complex(end.number("TransformerEnd.rground", 0.0), end.number("TransformerEnd.xground", 0.0))


def _star(places: Places, bus: int, ground: complex | None) -> tuple[int, complex | None]:
    """Conductor of a star point and what leads from it to ground."""
    if ground == 0:
        return (NEUTRAL, SOLID_OHM) if places.has_neutral(bus) else (0, None)
    if places.has_neutral(bus):
        return NEUTRAL, ground
    return places.new_star(bus), ground


# ---- three-phase ends ----------------------------------------------------------------------------


def _read_whole(transformer: Thing, things: list[Thing], places: Places, parts: Parts) -> None:
    ends = [_whole_end(end, places) for end in things]
    if len(things) < 2 or any(end is None for end in ends):
        if len(things) < 2:
            transformer.fault("PowerTransformerEnd.PowerTransformer", "fewer than two ends")
        return
    found = [end for end in ends if end is not None]
    kva = found[0].kva
    pairs = _pair_impedances(transformer, found, kva)
    if pairs is not None:
        core = _core(found, kva)
        _finish(transformer, transformer, found, pairs, core, 3, places, parts)


def _whole_end(end: Thing, places: Places) -> _End | None:
    bus = _terminal_bus(end, places)
    kind = end.text("PowerTransformerEnd.connectionKind")
    if kind not in {"D", "Y", "Yn"}:
        end.fault(
            "PowerTransformerEnd.connectionKind", f"connection {kind or 'missing'} cannot be represented"
        )
    kva = end.number("PowerTransformerEnd.ratedS", above=0.0) / 1000.0
    volts = end.number("PowerTransformerEnd.ratedU", above=0.0)
    clock = end.whole("PowerTransformerEnd.phaseAngleClock", 0)
    if bus < 0 or kind not in {"D", "Y", "Yn"}:
        return None
    if kind == "D":
        return _End(end, bus, (1, 2, 3), Winding("delta", volts, clock=clock), kva, tap_of(end))
    star, ground = _star(places, bus, _ground(end, default=kind == "Yn"))
    winding = Winding("wye", volts, clock=clock, neutral_ohm=ground)
    return _End(end, bus, (1, 2, 3, star), winding, kva, tap_of(end))


def _pair_impedances(transformer: Thing, ends: list[_End], kva: float) -> Pairs | None:
    """Per-unit short-circuit impedance of each pair, on ``kva``."""
    row = {end.thing.id: k for k, end in enumerate(ends)}
    pairs: Pairs = {}
    for end in ends:
        for mesh in end.thing.referring("TransformerMeshImpedance.FromTransformerEnd"):
            ohm = complex(
                mesh.number("TransformerMeshImpedance.r"), mesh.number("TransformerMeshImpedance.x")
            )
            for target in mesh.values.get("TransformerMeshImpedance.ToTransformerEnd", ()):
                if target not in row or target == end.thing.id:
                    mesh.fault(
                        "TransformerMeshImpedance.ToTransformerEnd", "is no other end of this transformer"
                    )
                    return None
                pair = tuple(sorted((row[end.thing.id], row[target])))
                pairs[pair[0], pair[1]] = ohm * kva * 1000.0 / end.winding.rated_v**2
    if not pairs:
        arms = [_arm(end) * kva * 1000.0 / end.winding.rated_v**2 for end in ends]
        pairs = {(i, j): arms[i] + arms[j] for i, j in combinations(range(len(ends)), 2)}
    if len(pairs) != len(ends) * (len(ends) - 1) // 2:
        transformer.fault("TransformerMeshImpedance", "not every pair of ends has an impedance")
        return None
    return pairs


def _arm(end: _End) -> complex:
    """Impedance of one end, ohm: of its star impedance, or its own."""
    star = next(iter(end.thing.referring("TransformerStarImpedance.TransformerEnd")), None)
    star = star or end.thing.ref("TransformerEnd.StarImpedance")
    if star is not None:
        return complex(star.number("TransformerStarImpedance.r"), star.number("TransformerStarImpedance.x"))
    own = "PowerTransformerEnd"
    return complex(end.thing.number(f"{own}.r", 0.0), end.thing.number(f"{own}.x", 0.0))


def _core(ends: list[_End], kva: float) -> tuple[complex, int]:
    """No-load loss and magnetising current as percent of ``kva``, and the end they are seen at."""
    for row, end in enumerate(ends):
        admittance = end.thing.ref("TransformerEnd.CoreAdmittance")
        thing, kind = (
            (admittance, "TransformerCoreAdmittance") if admittance else (end.thing, "PowerTransformerEnd")
        )
        g, b = thing.number(f"{kind}.g", 0.0), thing.number(f"{kind}.b", 0.0)
        if g or b:
            return complex(g, abs(b)) * end.winding.rated_v**2 / (kva * 10.0), row
    return 0j, 0


# ---- tanks ---------------------------------------------------------------------------------------


def _read_tank(tank: Thing, transformer: Thing, places: Places, parts: Parts) -> None:
    things = _in_order(tank.referring("TransformerTankEnd.TransformerTank"))
    info = tank_info(tank)
    if info is None or len(things) < 2:
        tank.fault("TransformerTank.TransformerTankInfo", "no nameplate, or fewer than two ends")
        return
    stars: dict[tuple[int, complex | None], tuple[int, complex | None]] = {}
    ends = [_tank_end(end, places, stars) for end in things]
    found = [end for end in ends if end is not None]
    legs = {3 if len(end.conductors) > 2 else 1 for end in found}
    if len(found) != len(things) or len(legs) != 1:
        if len(legs) > 1:
            tank.fault("TransformerTankEnd.orderedPhases", "ends of one and of three phases in one tank")
        return
    tests = _tests(tank, found)
    if tests is not None:
        _finish(tank, transformer, found, tests[0], tests[1], legs.pop(), places, parts)


def _tank_end(
    end: Thing, places: Places, stars: dict[tuple[int, complex | None], tuple[int, complex | None]]
) -> _End | None:
    bus = _terminal_bus(end, places)
    info = tank_end_info(end)
    names = places.tank_letters(end)
    if info is None or not names:
        end.fault("TransformerTankEnd.orderedPhases", "no phases, or no nameplate for this end")
        return None
    if bus < 0:
        return None
    kind = info.text("TransformerEndInfo.connectionKind")
    volts = info.number("TransformerEndInfo.ratedU", above=0.0)
    kva = info.number("TransformerEndInfo.ratedS", above=0.0) / 1000.0
    clock = info.whole("TransformerEndInfo.phaseAngleClock", 0)
    ground = _ground(end, default="N" in names)
    lines = [name for name in names if name != "N"]
    shape = _shape(kind, names)
    if shape is None:
        end.fault(
            "TransformerTankEnd.orderedPhases",
            f"{''.join(names)} of connection {kind or 'missing'} cannot be represented",
        )
        return None
    conductors = [PHASES[name] for name in lines]
    if shape == "delta":
        if len(conductors) == 1:
            conductors.append(conductors[0] % 3 + 1)
        return _End(end, bus, tuple(conductors), Winding("delta", volts, clock=clock), kva, tap_of(end))
    if (bus, ground) not in stars:
        stars[bus, ground] = _star(places, bus, ground)
        star, neutral = stars[bus, ground]
    else:
        star, neutral = stars[bus, ground][0], None
    if lines == ["s2"]:
        clock = 6  # the leg opposite s1, whatever way its coil is named
    elif names[0] == "N":
        clock = (clock + 6) % 12
    winding = Winding("wye", volts, clock=clock, neutral_ohm=neutral)
    return _End(end, bus, (*conductors, star), winding, kva, tap_of(end))


def _shape(kind: str, names: list[str]) -> Literal["wye", "delta"] | None:
    """Whether coils go to a common point or between phases; None where it cannot be told."""
    lines = [name for name in names if name != "N"]
    single = len(lines) == 1 or (len(lines) == 2 and "N" not in names)
    if not (single or lines == ["A", "B", "C"]):
        return None
    if kind == "D" or (kind in {"I", "Y", "Yn"} and len(lines) == 2):
        return "delta"
    if kind in {"I", "Y", "Yn"} and (len(lines) == 1 or kind != "I"):
        return "wye"
    return None


def _tests(tank: Thing, ends: list[_End]) -> tuple[Pairs, tuple[complex, int]] | None:
    """Per-unit impedances of each pair and the core, both on the first winding's rating."""
    kva = ends[0].kva
    infos = [tank_end_info(end.thing) for end in ends]
    row = {info.id: k for k, info in enumerate(infos) if info is not None}
    pairs: Pairs = {}
    for info in infos:
        for test in info.referring("ShortCircuitTest.EnergisedEnd") if info else ():
            shorted = test.values.get("ShortCircuitTest.GroundedEnds", [])
            if info is None or len(shorted) != 1 or shorted[0] not in row or shorted[0] == info.id:
                test.fault("ShortCircuitTest.GroundedEnds", "expected one other shorted end of the same tank")
                return None
            i, j = sorted((row[info.id], row[shorted[0]]))
            if (z := _test_impedance(test, info, infos[row[shorted[0]]], kva)) is not None:
                pairs[i, j] = z
    if len(pairs) != len(ends) * (len(ends) - 1) // 2:
        tank.fault("ShortCircuitTest.EnergisedEnd", "not every pair of ends has a usable test")
        return None
    for info in infos:
        for test in info.referring("NoLoadTest.EnergisedEnd") if info else ():
            return pairs, (_excitation(test, kva), CORE_AT)
    return pairs, (0j, CORE_AT)


def _test_impedance(test: Thing, fed: Thing, other: Thing | None, kva: float) -> complex | None:
    """Per-unit impedance of a short-circuit test on ``kva``."""
    volts = fed.number("TransformerEndInfo.ratedU", above=0.0)
    size = test.number("ShortCircuitTest.leakageImpedance", above=0.0) * kva * 1000.0 / volts**2
    base = test.number("TransformerTest.basePower", kva * 1000.0, above=0.0)
    r = test.number("ShortCircuitTest.loss", 0.0) * 1000.0 / base * kva * 1000.0 / base
    if r == 0.0 and other is not None:
        r = sum(
            info.number("TransformerEndInfo.r", 0.0)
            * kva * 1000.0 / info.number("TransformerEndInfo.ratedU", above=0.0) ** 2
            for info in (fed, other)
        )  # fmt: skip
    if not 0.0 <= r <= size:
        test.fault("ShortCircuitTest.loss", "is negative, or more than the impedance allows")
        return None
    return complex(r, math.sqrt(size**2 - r**2))


def _excitation(test: Thing, kva: float) -> complex:
    """No-load loss and magnetising current of a test, percent of ``kva``."""
    base = test.number("TransformerTest.basePower", kva * 1000.0, above=0.0)
    loss = test.number("NoLoadTest.loss", 0.0) * 1000.0 / base
    current = test.number("NoLoadTest.excitingCurrent", 0.0) / 100.0
    if current and loss > current * (1.0 + 1e-6):
        test.fault("NoLoadTest.loss", "more than the exciting current allows")
    magnetising = math.sqrt(max(current**2 - loss**2, 0.0))
    return complex(loss, magnetising) * base / (kva * 10.0)


# ---- both ----------------------------------------------------------------------------------------


def _finish(
    thing: Thing, transformer: Thing, ends: list[_End], pairs: Pairs, core: tuple[complex, int],
    phases: int, places: Places, parts: Parts,
) -> None:  # fmt: skip
    """Make the branch and its regulators."""
    order = list(combinations(range(len(ends)), 2))
    r = _shares(thing, [pairs[p].real for p in order], order, len(ends))
    windings = [
        replace(end.winding, r_pct=100.0 * share, tap=end.tap.fixed if end.tap else 1.0)
        for end, share in zip(ends, r, strict=True)
    ]
    kva = ends[0].kva
    try:
        y = transformer_block(
            windings, [100.0 * pairs[p].imag for p in order], kva=kva, phases=phases,
            core_pct=(core[0].real, core[0].imag), core_at=core[1], antifloat_ppm=ANTIFLOAT_PPM,
        )  # fmt: skip
    except ValueError as error:
        thing.fault("PowerTransformer.vectorGroup", str(error))
        return
    regulated = [end for end in ends if end.tap and end.tap.control]
    volts = ends[0].winding.rated_v * (math.sqrt(3.0) if phases == 3 else 1.0)
    connected = places.is_connected(transformer) and places.is_connected(thing)
    kind = "regulator" if regulated else "transformer"
    branch_ends = tuple(End(end.bus, end.conductors) for end in ends)
    parts.branches.append(
        Branch(thing.key, kind, branch_ends, y, kva * 1000.0 / volts, connected, thing.where)
    )
    for row, end in enumerate(ends):
        if end.tap and end.tap.control:
            control = regulator(thing.key, row, branch_ends, end.winding.rated_v, end.tap, places)
            if control is not None:
                parts.regulators.append(control)


def _shares(thing: Thing, pairs: list[float], order: list[tuple[int, int]], count: int) -> list[float]:
    """Resistance of each winding from those of the pairs."""
    if count == 2:
        return [pairs[0] / 2.0] * 2
    incidence = np.zeros((len(order), count))
    for k, (i, j) in enumerate(order):
        incidence[k, [i, j]] = 1.0
    shares = np.linalg.lstsq(incidence, np.array(pairs), rcond=None)[0]
    if np.abs(incidence @ shares - pairs).max() > AGREE * max(pairs):
        thing.fault("TransformerMeshImpedance.r", "resistances of the pairs that no windings can have")
    return [float(share) for share in shares]
