"""Several DERs under one end device, as the one resource that they are to us.

Powers, reactive powers and energies are sums over the DERs that state them. A mode is one that all of them
have, since a control is for all of them; charging and discharging are there where one of them does it. Ramps
are means by rated power, states of charge by usable energy. The resource takes orders while one of them does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import and_, or_
from typing import Any, TypeVar

from gridflock.field.ieee2030_5._map import Plate, active_power, in_kilo, reactive_power, state_of
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    ApparentPower,
    DERAvailability,
    DERCapability,
    DERControlType,
    DERSettings,
    DERStatus,
    DERType,
    ReactivePower,
    WattHour,
)
from gridflock.field.ieee2030_5.server._equipment import AVAILABILITY, CAPABILITY, SETTINGS, STATUS
from gridflock.field.ieee2030_5.server._state import State

T = TypeVar("T")
_UINT16, _BYTE, _ALL = 2**16 - 1, 2**8 - 1, 2**32 - 1
_EITHER = DERControlType.CHARGE | DERControlType.DISCHARGE


def told(state: State, device: int, kind: str, of: type[T]) -> list[tuple[int, T]]:
    """What each DER of a device last said of a kind, with its number; who said nothing is left out."""
    many = state.equipment.ders.get(device, 1)
    found = [(der, state.equipment.latest(device, der, kind)) for der in range(1, many + 1)]
    return [(der, each) for der, each in found if isinstance(each, of)]


def capability(state: State, device: int) -> DERCapability | None:
    """Ratings of a device as a whole; None before any of its DERs has told its own."""
    each = [one for _, one in told(state, device, CAPABILITY, DERCapability)]
    if len(each) < 2:
        return each[0] if each else None
    modes = [one.modes_supported for one in each]
    shared = reduce(and_, modes) | (reduce(or_, modes) & _EITHER)
    types = {one.type for one in each}
    return replace(
        each[0],
        modes_supported=shared,
        doe_modes_supported=_shared([one.doe_modes_supported for one in each], absent=0),
        vpp_modes_supported=_shared([one.vpp_modes_supported for one in each], absent=0),
        type=types.pop() if len(types) == 1 else DERType.VIRTUAL_OR_MIXED,
        **_sums(each, "rtg_max_"),
    )


def settings(state: State, device: int) -> DERSettings | None:
    """Settings of a device as a whole; None before any of its DERs has told its own."""
    each = [one for _, one in told(state, device, SETTINGS, DERSettings)]
    if len(each) < 2:
        return each[0] if each else None
    size = [max(in_kilo(one.set_max_w), 1e-3) for one in each]
    ramp = sum(kw * one.set_grad_w for kw, one in zip(size, each, strict=True)) / sum(size)
    modes = [one.modes_enabled for one in each]
    enabled = _shared(modes, absent=_ALL)
    if enabled is not None:
        enabled |= reduce(or_, [_ALL if mode is None else mode for mode in modes]) & _EITHER
    return replace(
        each[0],
        modes_enabled=enabled,
        doe_modes_enabled=_shared([one.doe_modes_enabled for one in each], absent=_BYTE),
        vpp_modes_enabled=_shared([one.vpp_modes_enabled for one in each], absent=_BYTE),
        set_grad_w=int(ramp),
        set_min_wh=_watt_hours([one.set_min_wh for one in each]),
        updated_time=max(one.updated_time for one in each),
        **_sums(each, "set_max_"),
    )


def status(state: State, device: int, plate: Plate) -> dict[str, float]:
    """What the statuses of a device's DERs come to in our columns."""
    each = told(state, device, STATUS, DERStatus)
    found = [(_usable_kwh(state, device, der), state_of(one, plate)) for der, one in each]
    values: dict[str, float] = {}
    if found:
        values["ready"] = max(one["ready"] for _, one in found)
    stored = [(e_kwh, one["e_kwh"]) for e_kwh, one in found if "e_kwh" in one]
    if stored:
        known = all(math.isfinite(e_kwh) and e_kwh > 0 for e_kwh, _ in stored)
        weight = [e_kwh if known else 1.0 for e_kwh, _ in stored]
        mean = sum(w * e for w, (_, e) in zip(weight, stored, strict=True)) / sum(weight)
        values = {"e_kwh": mean} | values
    return values


def more_kw(state: State, device: int) -> float:
    """By how much a device could give more than it does; NaN where none of its DERs says so."""
    each = [in_kilo(one.stat_w_avail) for _, one in told(state, device, AVAILABILITY, DERAvailability)]
    return _total(each)


def _usable_kwh(state: State, device: int, der: int) -> float:
    """Of one DER, by its settings, else its rating; NaN where neither says so."""
    said = state.equipment.latest(device, der, SETTINGS)
    e_kwh = in_kilo(said.set_max_wh) if isinstance(said, DERSettings) else math.nan
    if math.isfinite(e_kwh):
        return e_kwh
    rated = state.equipment.latest(device, der, CAPABILITY)
    return in_kilo(rated.rtg_max_wh) if isinstance(rated, DERCapability) else math.nan


def _sums(each: Sequence[object], prefix: str) -> dict[str, Any]:
    """Sums of the quantities that add up, by field."""
    kinds: dict[str, Callable[[Sequence[Any]], Any]] = {
        "w": _watts, "charge_rate_w": _watts, "discharge_rate_w": _watts, "wh": _watt_hours,
        "va": _volt_amperes, "charge_rate_va": _volt_amperes, "discharge_rate_va": _volt_amperes,
        "var": _vars, "var_neg": _vars,
    }  # fmt: skip
    return {prefix + name: add([getattr(one, prefix + name) for one in each]) for name, add in kinds.items()}


def _total(kilo: Sequence[float]) -> float:
    said = [value for value in kilo if not math.isnan(value)]
    return sum(said) if said else math.nan


def _watts(each: Sequence[ActivePower | None]) -> ActivePower | None:
    total = _total([in_kilo(one) for one in each])
    return None if math.isnan(total) else active_power(total)


def _vars(each: Sequence[ReactivePower | None]) -> ReactivePower | None:
    total = _total([in_kilo(one) for one in each])
    return None if math.isnan(total) else reactive_power(total)


def _volt_amperes(each: Sequence[ApparentPower | None]) -> ApparentPower | None:
    total = _total([in_kilo(one) for one in each])
    if math.isnan(total):
        return None
    whole = active_power(total)
    return ApparentPower(multiplier=whole.multiplier, value=whole.value)


def _watt_hours(each: Sequence[WattHour | None]) -> WattHour | None:
    total = _total([in_kilo(one) for one in each])
    if math.isnan(total):
        return None
    value, multiplier = int(total * 1_000 + 1e-6), 0
    while value > _UINT16:
        value, multiplier = value // 10, multiplier + 1
    return WattHour(multiplier=multiplier, value=value)


def _shared(bits: Sequence[int | None], *, absent: int) -> int | None:
    """Bits that all have, ``absent`` for those that state none; None where none states any."""
    if all(each is None for each in bits):
        return None
    return reduce(and_, [absent if each is None else each for each in bits])
