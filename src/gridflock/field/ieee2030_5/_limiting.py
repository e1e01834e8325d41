"""Operating envelopes as controls ahead of their time, and the default that holds when nothing is heard.

Limits speak of all modes that the default speaks of: what the default alone bounds is left free by them,
since it is for who hears nothing. Where no limit is told the default holds, and orders keep to it as well.

Bounds come in steps. Steps that say the same become one control, and unchanged limits make nothing new. A
change makes the new control first; what it replaces gives way to it by the rules of events, or is cancelled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5._map import Able, Plate
from gridflock.field.ieee2030_5._placing import AT_REST, limits
from gridflock.field.ieee2030_5._renewal import Run, renewal, runs
from gridflock.field.ieee2030_5.events import gives_way, modes
from gridflock.field.ieee2030_5.resources import DefaultDERControl, DERControl, DERControlBase, EventState
from gridflock.field.ieee2030_5.server import By
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Rejected
from gridflock.units import Kw, Seconds

_BY = By("grid", "operating envelope")
_OPEN = (EventState.SCHEDULED, EventState.ACTIVE)
_FAR_S = 7 * 86_400
_CLOSE_KW = 0.001
_DRAWS = frozenset({"op_mod_load_lim_w", "op_mod_imp_lim_w"})


@dataclass(frozen=True, slots=True)
class Held:
    """Bounds that hold for one resource, whatever else does not reach it.

    Attributes:
        p_lo_kw: lowest power, injection positive; -inf where there is no bound.
        p_hi_kw: highest; inf where there is no bound.
        at_point: of its connection point with all that is there, not of itself.
    """

    p_lo_kw: float = -math.inf
    p_hi_kw: float = math.inf
    at_point: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """Bounds of n resources in T steps to come.

    Attributes:
        ids: resources.
        edges_s: int64 (T + 1,) ascending; step t is ``[edges_s[t], edges_s[t + 1])``.
        p_lo_kw: (n, T) lowest power, injection positive; -inf where there is no bound.
        p_hi_kw: (n, T) highest; inf where there is no bound.
        at_point: resources whose bounds are of their connection point with all that is there.
    """

    ids: tuple[str, ...]
    edges_s: Seconds
    p_lo_kw: Kw
    p_hi_kw: Kw
    at_point: frozenset[str] = frozenset()


@dataclass(slots=True)
class Limiting:
    """Limits as controls; on the server's thread.

    Attributes:
        plates: the resources.
        able: what a device can be told now.
        fallback: bounds that hold where nothing else does.
    """

    plates: Mapping[str, Plate]
    able: Callable[[State, Device], Able]
    fallback: Mapping[str, Held] = field(default_factory=dict)

    def default(self, state: State, device: Device) -> DefaultDERControl:
        """What a device does without contact."""
        held = self.fallback.get(device.resource)
        if held is None:
            return AT_REST
        plate, can = self.plates[device.resource], self.able(state, device)
        base = _map.limits_of(held.p_lo_kw, held.p_hi_kw, plate, can, at_point=held.at_point)
        return AT_REST if base is None else replace(AT_REST, der_control_base=base)

    def publish(self, turn: Turn, ahead: Ahead, devices: Mapping[str, Device]) -> tuple[Rejected, ...]:
        """Let every device know its bounds; those that have no mode for them are told."""
        rejected = []
        for row, name in enumerate(ahead.ids):
            device = devices.get(name)
            program = turn.state.offered.by_name.get(limits(name))
            if device is None or program is None:
                continue
            can, at_point = self.able(turn.state, device), name in ahead.at_point
            wanted = _runs(ahead, row, turn.now_s, self.plates[name], can, at_point=at_point)
            said = modes(wanted[0].value) if wanted else frozenset[str]()
            rejected += _short(ahead, row, self.plates[name], said)
            if name in self.fallback:
                beside = self.default(turn.state, device).der_control_base
                plate = self.plates[name]
                wanted = [replace(run, value=_map.freed(run.value, beside, plate)) for run in wanted]
            if wanted:
                _renew(turn, program, wanted)
        return tuple(rejected)

    def bounds(self, state: State, device: Device, start_s: int, end_s: int) -> tuple[float, float]:
        """Lowest and highest power, kW, that the limits of a time leave a device."""
        plate = self.plates[device.resource]
        low, high = -math.inf, math.inf
        program = state.offered.by_name.get(limits(device.resource))
        controls = list(state.offered.controls.get(-1 if program is None else program, {}).values())
        held = device.resource in self.fallback
        if not controls and not held:
            return low, high
        can, upto_s = self.able(state, device), start_s
        for since_s, until_s, base in sorted(
            ((*_covers(control, controls), control.der_control_base) for control in controls),
            key=lambda each: each[:2],
        ):
            if since_s < end_s and start_s < until_s:
                lowest, highest = _map.bounds(base, plate, can)
                low, high = max(low, lowest), min(high, highest)
                upto_s = max(upto_s, until_s) if since_s <= upto_s else upto_s
        if held and upto_s < end_s:
            lowest, highest = _map.bounds(self.default(state, device).der_control_base, plate, can)
            low, high = max(low, lowest), min(high, highest)
        return low, high


def _runs(
    ahead: Ahead, row: int, now_s: int, plate: Plate, can: Able, *, at_point: bool
) -> list[Run[DERControlBase]]:
    """What is wanted from now on, equal neighbours as one."""
    pairs = list(zip(ahead.p_lo_kw[row].tolist(), ahead.p_hi_kw[row].tolist(), strict=True))
    base = {pair: _map.limits_of(*pair, plate, can, at_point=at_point) for pair in set(pairs)}
    said = [each for pair in pairs if (each := base[pair]) is not None]
    # What a device can be told depends on its modes alone: all steps can be said, or none.
    return runs(ahead.edges_s.tolist(), said, now_s) if len(said) == len(pairs) else []


def _renew(turn: Turn, program: int, wanted: Sequence[Run[DERControlBase]]) -> None:
    """Make what is missing, and end what is no longer wanted."""
    held = list(turn.state.offered.controls.get(program, {}).values())
    told = [Run(*_covers(control, held), control.der_control_base) for control in held]
    todo = renewal(wanted, told, turn.now_s, lambda one, other: modes(one) == modes(other))
    for run in todo.missing:
        for start_s in range(run.start_s, run.end_s, _FAR_S):
            length_s = min(run.end_s - start_s, _FAR_S)
            made = make_control(turn, program, Wanted(run.value, start_s, length_s, description="limit"), _BY)
            assert not isinstance(made, Rejected), made
    for place in todo.wrong:
        cancel(turn, held[place].mrid, _BY)


def _covers(control: DERControl, others: Sequence[DERControl]) -> tuple[int, int]:
    """From when to when a control is the one that holds; nothing where it is over."""
    start_s = control.interval.start
    if control.event_status.current_status not in _OPEN:
        return start_s, start_s
    way = gives_way(control, others).superseded_s
    end_s = start_s + control.interval.duration
    return start_s, end_s if way is None else max(min(end_s, way), start_s)


def _short(ahead: Ahead, row: int, plate: Plate, said: frozenset[str]) -> list[Rejected]:
    """Bounds beyond the nameplate's own that a device has no mode for."""
    at_point = ahead.ids[row] in ahead.at_point
    place = "its connection point" if at_point else "it"
    least, most = (-math.inf, math.inf) if at_point else (min(plate.p_min_kw, 0), max(plate.p_max_kw, 0))
    low, high = ahead.p_lo_kw[row] > least + _CLOSE_KW, ahead.p_hi_kw[row] < most - _CLOSE_KW
    found = []
    if low.any() and not said & _DRAWS:
        found.append(Rejected("limit", "p_lo_kw", (plate.id,), f"no mode bounds what {place} draws"))
    if high.any() and not said - _DRAWS:
        found.append(Rejected("limit", "p_hi_kw", (plate.id,), f"no mode bounds what {place} gives"))
    return found
