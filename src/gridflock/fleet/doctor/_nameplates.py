"""Nameplates that cannot be right."""

from __future__ import annotations

import numpy as np

from gridflock.fleet._columns import Fleet
from gridflock.fleet.doctor._rules import Findings
from gridflock.schema import INVERTERS, Family, Kind
from gridflock.units import Mask

_ROUNDING = 1.001
"""Nameplates are rounded: so much above a limit is still on it."""
_SWITCHES_BY_NATURE = (Family.GENERATOR, Family.SHED)
_CONSUMES_ONLY = (
    Kind.EV_V1G,
    Kind.CURTAILABLE,
    Kind.THERMOSTAT,
    Kind.HEAT_PUMP,
    Kind.WATER_HEATER,
    Kind.LOAD,
)
_STORES = (Kind.BATTERY_HOME, Kind.BATTERY_COMMERCIAL, Kind.EV_V1G, Kind.EV_V2G, Kind.EV_V2H)


def plant_of(fleet: Fleet, service: Mask) -> Mask:
    """Rows in service that take orders, bool (n,)."""
    plant: Mask = service & (fleet.family != Family.NONE)
    return plant


def check_nameplates(fleet: Fleet, service: Mask, found: Findings) -> None:
    """Missing and impossible values.

    Args:
        fleet: n resources.
        service: bool (n,) rows that count: who is not retired.
        found: takes what is wrong.
    """
    columns, kind, family = fleet.columns, fleet.columns["kind"], fleet.family
    plant = plant_of(fleet, service)
    p_max, p_min, s_max = columns["p_max_kw"], columns["p_min_kw"], columns["s_max_kva"]
    e_max = columns["e_max_kwh"]
    size = np.maximum(p_max, -p_min)
    idle, stores = size == 0, e_max > 0
    inverter = np.isin(kind, [int(code) for code in INVERTERS])
    found.add("rating-missing", plant & inverter & ~(s_max > 0))
    for name in ("p_max_kw", "p_min_kw"):
        found.add("rating-missing", plant & np.isnan(columns[name]), field=name)
    found.add("no-power", plant & idle & ~stores)
    found.add("power-above-rating", plant & (s_max > 0) & (size > _ROUNDING * s_max))
    produces = np.isin(family, (Family.RENEWABLE, Family.GENERATOR))
    found.add("wrong-direction", service & produces & (p_min < 0))
    found.add("wrong-direction", service & np.isin(kind, _CONSUMES_ONLY) & (p_max > 0), field="p_max_kw")
    found.add("energy-without-power", plant & idle & stores)
    found.add("energy-missing", plant & np.isin(kind, _STORES) & ~idle & ~stores)
    found.add("reserve-above-energy", plant & (columns["e_reserve_kwh"] > _ROUNDING * e_max))
    found.add("floor-above-power", plant & ~idle & (columns["p_floor_kw"] > _ROUNDING * size))
    rests = (columns["min_on_s"] > 0) | (columns["min_off_s"] > 0)
    switched = (columns["on_off"] == 1) | np.isin(family, _SWITCHES_BY_NATURE)
    found.add("rest-without-switching", plant & rests & ~switched)
