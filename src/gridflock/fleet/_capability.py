"""What each resource can do now, family by family, every bound with its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Image, filled
from gridflock.model import BoundSource, Capability
from gridflock.schema import Enrolment, Family, Kind
from gridflock.units import HOUR_S, NEVER_S, Codes, Kw, Mask, Rows

STALE_S = 300
"""A resource not heard for so long keeps what it does, s."""
INTERVAL_S = 120
"""Energy bounds hold over so long: an order's way to the device plus the age of a reading, s."""
MARGIN_S = 1_200
"""A vehicle whose laxity is below this charges now, s."""

_Array = NDArray[np.float64]
_NAMEPLATE, _AVAILABLE, _ENERGY = BoundSource.NAMEPLATE, BoundSource.AVAILABLE, BoundSource.ENERGY


def _full(image: Image, name: str, rows: slice | Rows) -> _Array:
    column: _Array = image.columns[name][rows].astype(np.float64)
    return column


@dataclass(slots=True, eq=False)
class _Bounds:
    """Bounds of some rows while they are being narrowed."""

    lo: _Array
    hi: _Array
    lo_source: Codes
    hi_source: Codes

    @classmethod
    def nameplate(cls, lo: _Array, hi: _Array) -> _Bounds:
        source = np.full(len(lo), _NAMEPLATE, dtype=np.uint8)
        return cls(lo.copy(), hi.copy(), source, source.copy())

    def at_most(self, limit: _Array, source: BoundSource) -> None:
        """Lower the upper bound; what lies below the lower bound stops there."""
        binds = limit < self.hi
        self.hi = np.where(binds, np.maximum(limit, self.lo), self.hi)
        self.hi_source[binds] = source

    def at_least(self, limit: _Array, source: BoundSource) -> None:
        """Raise the lower bound; what lies above the upper bound stops there."""
        binds = limit > self.lo
        self.lo = np.where(binds, np.minimum(limit, self.hi), self.lo)
        self.lo_source[binds] = source

    def pin(self, where: Mask, at: _Array, source: BoundSource) -> None:
        """No choice left: both bounds at one value."""
        self.lo = np.where(where, at, self.lo)
        self.hi = np.where(where, at, self.hi)
        self.lo_source[where] = source
        self.hi_source[where] = source


def present_kw(image: Image, rows: slice) -> _Array:
    """What resources do now, inside their nameplate where they take orders; 0 where unknown."""
    present = filled(image.p_kw[rows])
    takes_orders = image.family[rows] != Family.NONE
    # A pausing process has its flexible part as p_min, not its demand.
    low = np.where(image.family[rows] == Family.SHED, -np.inf, image.columns["p_min_kw"][rows])
    inside: _Array = np.where(takes_orders, np.clip(present, low, image.columns["p_max_kw"][rows]), present)
    return inside


def laxity_s(image: Image, rows: slice | Rows) -> _Array:
    """How long a vehicle could still wait: time to departure − time to charge what is missing, s.

    A vehicle above its target has the more. Infinite without a departure or a target, -inf for
    one that needs energy and has no charging power. (Least laxity first: Mok 1983; for vehicles
    Subramanian et al., ACC 2012.)
    """
    missing = image.e_target_kwh[rows].astype(np.float64) - image.e_kwh[rows]
    drawn = missing / image.columns["eff_charge"][rows]
    power = -_full(image, "p_min_kw", rows)
    needed_s = np.divide(drawn * HOUR_S, power, out=np.copysign(np.inf, drawn), where=power > 0)
    needed_s[drawn == 0] = 0.0
    laxity: _Array = image.depart_s[rows] - image.now_s - needed_s
    laxity[(image.depart_s[rows] == NEVER_S) | np.isnan(missing)] = np.inf
    return laxity


def _renewable(image: Image, rows: slice) -> _Bounds:
    bounds = _Bounds.nameplate(np.zeros(rows.stop - rows.start), _full(image, "p_max_kw", rows))
    offered = np.where(np.isnan(image.p_avail_kw[rows]), image.p_kw[rows], image.p_avail_kw[rows])
    bounds.at_most(filled(offered), _AVAILABLE)
    return bounds


def _stored(image: Image, rows: slice) -> tuple[_Array, _Array]:
    """Greatest charging and discharging power (both >= 0) that the energy allows over an interval."""
    hours = INTERVAL_S / HOUR_S
    energy = image.e_kwh[rows].astype(np.float64)
    room = np.maximum(image.columns["e_max_kwh"][rows] - energy, 0.0)
    spare = np.maximum(energy - image.columns["e_reserve_kwh"][rows], 0.0)
    charge: _Array = room / (image.columns["eff_charge"][rows] * hours)
    discharge: _Array = spare * image.columns["eff_discharge"][rows] / hours
    return charge, discharge


def _storage(image: Image, rows: slice) -> _Bounds:
    bounds = _Bounds.nameplate(_full(image, "p_min_kw", rows), _full(image, "p_max_kw", rows))
    charge, discharge = _stored(image, rows)
    bounds.at_least(-charge, _ENERGY)
    bounds.at_most(discharge, _ENERGY)
    return bounds


def _vehicle(image: Image, rows: slice) -> _Bounds:
    full = -_full(image, "p_min_kw", rows)
    both_ways = np.isin(image.kind[rows], (Kind.EV_V2G, Kind.EV_V2H))
    bounds = _Bounds.nameplate(-full, np.where(both_ways, _full(image, "p_max_kw", rows), 0.0))
    floor = np.minimum(_full(image, "p_floor_kw", rows), full)
    charge, discharge = _stored(image, rows)
    # Below its smallest current a charger can only be off.
    bounds.at_least(np.where(charge < floor, 0.0, -charge), _ENERGY)
    bounds.at_most(discharge, _ENERGY)
    laxity = laxity_s(image, rows)
    # Discharging for an interval must leave the departure reachable: each kWh delivered costs
    # 1/(η_d·η_c) kWh of later charging, and the interval itself is lost.
    round_trip = _full(image, "eff_charge", rows) * image.columns["eff_discharge"][rows]
    spare_s = np.maximum(np.where(np.isfinite(laxity), laxity, HOUR_S * 24.0) - INTERVAL_S - MARGIN_S, 0.0)
    bounds.at_most(spare_s / INTERVAL_S * full * round_trip, BoundSource.DEPARTURE)
    due = (laxity < MARGIN_S) & (image.e_target_kwh[rows] > image.e_kwh[rows]) & (full > 0)
    bounds.pin(due, -np.maximum(np.minimum(full, charge), floor), BoundSource.DEPARTURE)
    return bounds


def _generator(image: Image, rows: slice) -> _Bounds:
    bounds = _Bounds.nameplate(np.zeros(rows.stop - rows.start), _full(image, "p_max_kw", rows))
    heat_led = image.kind[rows] != Kind.GENSET
    led = np.maximum(filled(image.p_avail_kw[rows]), 0.0)
    energy = np.maximum(image.e_kwh[rows].astype(np.float64), 0.0)
    room = np.maximum(image.columns["e_max_kwh"][rows] - energy, 0.0)
    hours = INTERVAL_S / HOUR_S
    bounds.at_most(np.where(heat_led, led + room / hours, np.inf), _ENERGY)
    bounds.at_least(np.where(heat_led, led - energy / hours, -np.inf), _ENERGY)
    floor = _full(image, "p_floor_kw", rows)
    bounds.at_most(np.where(bounds.hi < floor, 0.0, np.inf), _ENERGY)
    bounds.lo = np.where(bounds.lo > 0, np.minimum(np.maximum(bounds.lo, floor), bounds.hi), bounds.lo)
    bounds.lo = np.minimum(bounds.lo, bounds.hi)
    locked = image.locked_s[rows] > 0
    runs = image.p_kw[rows] > 0.5 * np.maximum(floor, 1e-3)
    bounds.at_least(np.where(locked & runs, floor, -np.inf), BoundSource.LOCKED)
    bounds.pin(locked & ~runs, np.zeros(len(floor)), BoundSource.LOCKED)
    return bounds


def _shed(image: Image, rows: slice) -> _Bounds:
    demand = np.where(np.isnan(image.p_avail_kw[rows]), image.p_kw[rows], image.p_avail_kw[rows])
    demand = np.minimum(filled(demand), 0.0)
    paused = np.minimum(demand - image.columns["p_min_kw"][rows], 0.0)
    bounds = _Bounds.nameplate(demand, paused)
    bounds.lo_source[:] = _AVAILABLE
    bounds.hi_source[paused == 0] = _AVAILABLE
    bounds.pin(image.locked_s[rows] > 0, np.clip(present_kw(image, rows), demand, paused), BoundSource.LOCKED)
    return bounds


def _thermal(image: Image, rows: slice) -> _Bounds:
    rated = _full(image, "p_min_kw", rows)
    off = np.zeros(len(rated))
    bounds = _Bounds.nameplate(rated, off)
    energy = image.e_kwh[rows]
    bounds.pin(energy <= 0, rated, BoundSource.COMFORT)
    bounds.pin(energy >= image.columns["e_max_kwh"][rows], off, BoundSource.COMFORT)
    runs = image.p_kw[rows] < 0.5 * rated
    only_on_off = image.columns["on_off"][rows] == 1
    held = np.where(only_on_off, np.where(runs, rated, off), present_kw(image, rows))
    bounds.pin(image.locked_s[rows] > 0, held, BoundSource.LOCKED)
    return bounds


_FORMULAS = {
    Family.RENEWABLE: _renewable,
    Family.STORAGE: _storage,
    Family.VEHICLE: _vehicle,
    Family.GENERATOR: _generator,
    Family.SHED: _shed,
    Family.THERMAL: _thermal,
}


def _needs_energy(image: Image) -> Mask:
    """Rows that cannot be ordered while their stored energy is unknown."""
    stores = np.isin(image.family, (Family.STORAGE, Family.VEHICLE, Family.THERMAL))
    heat_led = (image.family == Family.GENERATOR) & (image.kind != Kind.GENSET)
    needs: Mask = stores | heat_led
    return needs


def capability(image: Image, stale_s: int = STALE_S) -> Capability:
    """Bounds of every resource's injection now, ``p_lo_kw <= p_hi_kw`` always.

    Who is not enrolled, not ready, silent for more than ``stale_s`` seconds, or without the reading its
    bounds rest on, keeps what it does (``NOT_READY``), and so does what takes no orders.

    Args:
        image: the process image, n rows.
        stale_s: age of the newest reading past which a resource counts as silent.

    Returns:
        float64 (n,) bounds in kW, injection positive, each with its ``BoundSource``.
    """
    everyone = slice(0, image.n)
    present = present_kw(image, everyone)
    whole = _Bounds.nameplate(present, present)
    for family, formula in _FORMULAS.items():
        rows = image.rows_of(family)
        if rows.start == rows.stop:
            continue
        part = formula(image, rows)
        whole.lo[rows], whole.hi[rows] = part.lo, part.hi
        whole.lo_source[rows], whole.hi_source[rows] = part.lo_source, part.hi_source
    willing = (image.ready == 1) & ~image.silent(stale_s) & (image.family != Family.NONE)
    willing &= image.columns["enrolment"] == Enrolment.ENROLLED
    willing &= ~(_needs_energy(image) & np.isnan(image.e_kwh))
    whole.pin(~willing, present, BoundSource.NOT_READY)
    return Capability(whole.lo, whole.hi, whole.lo_source, whole.hi_source)


def span_kw(image: Image) -> Kw:
    """Size of each resource: largest injection less largest consumption, kW (n,)."""
    span: Kw = image.columns["p_max_kw"] - image.columns["p_min_kw"].astype(np.float64)
    return span
