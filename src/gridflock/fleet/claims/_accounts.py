"""What each resource has to be claimed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.schema import Family
from gridflock.units import DAY_S, HOUR_S, Kw, Kwh

WATTS = 1_000
"""Accounts are kept in whole W and Wh, so that sums are exact."""
_SLACK = 1e-3
"""Rounding of float32 below this is none, W."""


@dataclass(frozen=True, slots=True, eq=False)
class Accounts:
    """What n resources have. What is not known (NaN) or negative cannot be promised: it counts as 0.

    Attributes:
        up_kw: (n,) power to inject more or draw less.
        down_kw: (n,) power to inject less or draw more.
        e_kwh: (n,) energy that can be had within one interval, once.
        interval_s: energy is accounted per whole intervals of this length since 1970, UTC; a claim
            holds its energy in each one that it touches.
    """

    up_kw: Kw
    down_kw: Kw
    e_kwh: Kwh
    interval_s: int = DAY_S

    def watts(self) -> NDArray[np.int64]:
        """(3, n) W up, W down and Wh, rounded down."""
        columns = np.stack([self.up_kw, self.down_kw, self.e_kwh]).astype(np.float64)
        known = np.where(np.isfinite(columns), np.maximum(columns, 0.0), 0.0)
        return np.floor(known * WATTS + _SLACK).astype(np.int64)


def whole_watts(size: float) -> int:
    """W (or Wh) of a claim in kW (or kWh), rounded up."""
    return int(np.ceil(size * WATTS - _SLACK))


def nameplate_accounts(fleet: Fleet, interval_s: int = DAY_S) -> Accounts:
    """Accounts by family from the registry alone.

    Sun and wind have their rating both ways (output can be sold, and curtailed); storage and vehicles
    what they can charge and discharge, a charging vehicle up to a stop and back; generators their
    rating; pausing loads what they can leave off; comfort loads their consumption. Energy is what is
    stored above the owner's reserve, or power all interval long where nothing is stored.

    Args:
        fleet: whose rows.
        interval_s: length of the intervals that energy is accounted by.
    """
    column = {name: fleet.columns[name].astype(np.float64) for name in ("p_max_kw", "p_min_kw", "e_max_kwh")}
    give, draw = np.maximum(column["p_max_kw"], 0.0), np.maximum(-column["p_min_kw"], 0.0)
    family = fleet.family

    def of(*families: Family) -> NDArray[np.bool_]:
        return np.isin(family, families)

    both = of(Family.RENEWABLE, Family.GENERATOR)
    up: NDArray[Any] = np.where(
        of(Family.VEHICLE), give + draw, np.where(of(Family.SHED, Family.THERMAL), draw, give)
    )
    down: NDArray[Any] = np.where(both, give, np.where(of(Family.SHED), 0.0, draw))
    stored = of(Family.STORAGE, Family.VEHICLE, Family.THERMAL)
    reserve = fleet.columns["e_reserve_kwh"].astype(np.float64)
    spare = np.maximum(column["e_max_kwh"] - reserve, 0.0)
    energy = np.where(stored, spare, np.maximum(up, down) * interval_s / HOUR_S)
    none = of(Family.NONE)
    for quantity in (up, down, energy):
        quantity[none] = 0.0
    return Accounts(up, down, energy, interval_s)
