"""Tap changers: a fixed position is part of the winding, a controlled one becomes a regulator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gridflock.field.cim._model import Thing
from gridflock.field.cim._places import PHASES, Places, letters
from gridflock.grid.build import End, Regulator

AGREE = 0.01
"""Voltage at the neutral position and rated voltage of the winding may differ by this share."""


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap changer of one end.

    Attributes:
        thing: the ``RatioTapChanger``.
        control: its control in operation; None where it stands still.
        fixed: turns per unit that belong to the winding; 1 where a control moves it.
    """

    thing: Thing
    control: Thing | None
    fixed: float


def tap_of(end: Thing) -> Tap | None:
    """The tap changer of a transformer end; None without one."""
    changers = end.referring("RatioTapChanger.TransformerEnd")
    changer = changers[0] if changers else end.ref("TransformerEnd.RatioTapChanger")
    if len(changers) > 1:
        changers[1].fault("RatioTapChanger.TransformerEnd", "a second tap changer at the same end")
    if changer is None:
        return None
    control = changer.ref("TapChanger.TapChangerControl")
    moves = (
        control is not None
        and changer.flag("TapChanger.controlEnabled", default=True)
        and control.flag("RegulatingControl.enabled", default=True)
    )
    if moves:
        return Tap(changer, control, 1.0)
    return Tap(changer, None, 1.0 + position(changer) * step_pu(changer))


def position(changer: Thing) -> int:
    """Steps away from the neutral position."""
    neutral = changer.whole("TapChanger.neutralStep", 0)
    prop = "TapChanger.step" if changer.has("TapChanger.step") else "TapChanger.normalStep"
    return changer.whole(prop, neutral) - neutral


def step_pu(changer: Thing) -> float:
    """Voltage of one step, per unit of the winding's."""
    return changer.number("RatioTapChanger.stepVoltageIncrement") / 100.0


def regulator(
    branch: str, end: int, ends: tuple[End, ...], rated_v: float, tap: Tap, places: Places
) -> Regulator | None:
    """The control of a tap changer; None where it is at fault.

    Args:
        branch: id of the transformer.
        end: the tapped end, 0-based.
        ends: all its ends.
        rated_v: rated voltage of the winding as its nameplate gives it, V.
        tap: the tap changer and its control.
        places: where terminals are.
    """
    changer, control = tap.thing, tap.control
    assert control is not None
    control.one_of("RegulatingControl.mode", {"voltage"}, "voltage")
    seen = _seen(control, ends[end], places)
    if seen is None:
        return None
    base_v = changer.number("TapChanger.neutralU", rated_v, above=0.0)
    if min(abs(base_v / rated_v - f) for f in (1.0, 1.0 / math.sqrt(3.0))) > AGREE:
        changer.fault("TapChanger.neutralU", f"{base_v:.6g} V at a winding of {rated_v:.6g} V")
    compensates = control.flag("TapChangerControl.lineDropCompensation", default=False)
    neutral = changer.whole("TapChanger.neutralStep", 0)
    ratio = changer.number("TapChanger.ptRatio", 0.0)
    return Regulator(
        id=changer.key,
        branch=branch,
        end=end,
        seen=seen,
        current=_current(seen, end, ends) if compensates else -1,
        v_set_v=control.number("RegulatingControl.targetValue", above=0.0),
        band_v=control.number("RegulatingControl.targetDeadband", above=0.0),
        pt_ratio=ratio if ratio > 0.0 else 1.0,
        ct_a=changer.number("TapChanger.ctRating", above=0.0) if compensates else 1.0,
        r_v=control.number("TapChangerControl.lineDropR", 0.0) if compensates else 0.0,
        x_v=control.number("TapChangerControl.lineDropX", 0.0) if compensates else 0.0,
        delay_s=changer.number("TapChanger.initialDelay", 0.0),
        tap=position(changer),
        base_v=base_v,
        tap_low=changer.whole("TapChanger.lowStep") - neutral,
        tap_high=changer.whole("TapChanger.highStep") - neutral,
        step_pu=step_pu(changer),
        direction=1 if end > 0 or seen[0] == ends[end].bus else -1,
        where=changer.where,
    )


def _seen(control: Thing, end: End, places: Places) -> tuple[int, int, int] | None:
    """Bus and conductors whose voltage is held; without a terminal those of the tapped end."""
    terminal = control.ref("RegulatingControl.Terminal")
    bus = places.row(terminal) if terminal else end.bus
    names = [name for name in letters(control.text("RegulatingControl.monitoredPhase")) if name != "N"]
    if bus < 0 or len(names) > 2:
        control.fault(
            "RegulatingControl.monitoredPhase", "expected one phase, or two, of a connected terminal"
        )
        return None
    if not names:
        return bus, next((c for c in end.conductors if c > 0), 1), 0
    first = PHASES[names[0]]
    return bus, first, PHASES[names[1]] if len(names) == 2 else places.neutral(bus)


def _current(seen: tuple[int, int, int], end: int, ends: tuple[End, ...]) -> int:
    """Position in the block of the conductor that feeds the compensation."""
    before = sum(len(e.conductors) for e in ends[:end])
    own = ends[end].conductors
    return before + (own.index(seen[1]) if seen[1] in own else 0)
