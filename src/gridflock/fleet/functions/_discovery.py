"""What a group can be asked for: the functions its members have by kind and settings (5.9)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups import Groups
from gridflock.model import DerFunction
from gridflock.schema import INVERTERS, Enrolment, Family, attribute
from gridflock.units import Mask, Rows

_FLAGS = tuple(DerFunction)
_DISPATCHABLE = (Family.STORAGE, Family.VEHICLE, Family.GENERATOR, Family.SHED, Family.THERMAL)
_READ = ("kind", "enrolment", "on_off", "s_max_kva", "ramp_kw_s")
_LIMITED = (Family.RENEWABLE, Family.STORAGE, Family.VEHICLE, Family.GENERATOR)


class Ability(NamedTuple):
    """Functions of a group."""

    all_of: DerFunction
    """What every member can do; nothing where there are none."""
    any_of: DerFunction
    """What at least one member can do."""
    able: dict[DerFunction, int]
    """How many members can do each."""


def functions_by_row(fleet: Fleet, rows: Rows | slice = slice(None)) -> NDArray[np.uint16]:
    """``DerFunction`` of each resource, (n,); nothing for who is not enrolled or takes no orders.

    Whatever takes orders can be disconnected. Inverters of IEEE 1547-2018 have volt-watt and
    frequency-watt curves, and with an apparent-power rating volt-var, voltage regulation and reactive
    power; sun and wind can be limited, but not dispatched; a ramp is controlled where one is set.
    """
    column = {name: fleet.columns[name][rows] for name in _READ}
    family = fleet.family[rows]
    takes = (family != Family.NONE) & (column["enrolment"] == Enrolment.ENROLLED)
    steps = column["on_off"] == 1
    inverter = np.isin(column["kind"], tuple(INVERTERS))
    reactive = inverter & (column["s_max_kva"] > 0)
    has: dict[DerFunction, Mask] = {
        DerFunction.CONNECT_DISCONNECT: takes,
        DerFunction.FREQUENCY_WATT: inverter,
        DerFunction.REAL_POWER_LIMITING: np.isin(family, _LIMITED) & ~steps,
        DerFunction.RAMP_RATE_CONTROL: ~steps & (column["ramp_kw_s"] < attribute("ramp_kw_s").high),
        DerFunction.REACTIVE_POWER_DISPATCH: reactive,
        DerFunction.REAL_POWER_DISPATCH: np.isin(family, _DISPATCHABLE),
        DerFunction.VOLTAGE_REGULATION: reactive,
        DerFunction.VOLT_VAR: reactive,
        DerFunction.VOLT_WATT: inverter,
    }
    found = np.zeros(len(family), dtype=np.uint16)
    for flag, able in has.items():
        found |= np.where(able & takes, np.uint16(flag), np.uint16(0))
    return found


def functions_of_rows(fleet: Fleet, rows: Rows) -> Ability:
    """Functions of a group of these rows."""
    by_row = functions_by_row(fleet, rows)
    able = {flag: int(np.count_nonzero(by_row & np.uint16(flag))) for flag in _FLAGS}
    every = DerFunction(int(np.bitwise_and.reduce(by_row))) if len(by_row) else DerFunction.NONE
    return Ability(every, DerFunction(int(np.bitwise_or.reduce(by_row))), able)


def discovered(groups: Groups, names: tuple[str, ...]) -> dict[str, Ability]:
    """Functions of groups by name.

    Raises:
        KeyError: no such group.
    """
    return {name: functions_of_rows(groups.fleet, groups.rows(name)) for name in names}
