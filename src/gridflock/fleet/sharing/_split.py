"""One target for many: each family by its own rule, the shortfall named by cause.

The pair of ``Groups.aggregate``: splitting a target and adding the shares up again gives the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._capability import laxity_s
from gridflock.fleet._columns import Image, filled
from gridflock.fleet.sharing._horizon import balance
from gridflock.fleet.sharing._shares import gather, in_turn, off_holes, settle
from gridflock.fleet.sharing._water import fair
from gridflock.model import BoundSource, Capability
from gridflock.schema import Family
from gridflock.units import Codes, Kw, Kwh, Mask, Rows

ROUNDING = "on/off rounding"
SMALLEST_LEVEL = "minimum level"
_SAME_LAXITY_S = 900.0
"""Vehicles whose laxity differs by less are alike: who charges goes on charging."""
_RUNNING_BONUS = 0.05
"""A running generator is started elsewhere only if that saves more than this share of its cost."""
_REL = 1e-9
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Shares of a target.

    Attributes:
        p_kw: float64, one share per row that was given, injection positive.
        shortfall_kw: target − Σ shares; 0 where the target was met.
        causes: what the shortfall is due to, kW each, of its sign, summing to it: a ``BoundSource``
            in lower case, ``"on/off rounding"`` or ``"minimum level"``.
    """

    p_kw: Kw
    shortfall_kw: float
    causes: Mapping[str, float]


@dataclass(slots=True, eq=False)
class _Part:
    """The rows of a split with what their rules need; (m,) each."""

    image: Image
    rows: Rows
    lo: _Array
    hi: _Array
    state: _Array
    """Where each is now: its last order, or what it does."""
    floor: _Array
    steps: Mask
    called: _Array

    def column(self, name: str) -> _Array:
        values: _Array = self.image.columns[name][self.rows].astype(np.float64)
        return values

    def energy(self) -> _Array:
        values: _Array = filled(self.image.e_kwh[self.rows])
        return values

    def of(self, where: Rows | slice) -> _Part:
        """Some of the rows, by their positions."""
        return _Part(
            self.image,
            self.rows[where],
            self.lo[where],
            self.hi[where],
            self.state[where],
            self.floor[where],
            self.steps[where],
            self.called[where],
        )


def _in_turn(part: _Part, start: _Array, amount: float, key: _Array) -> _Array:
    """Move from ``start`` by an amount, smallest key first, on/off devices as a whole."""
    return in_turn(start, amount, key, part.lo, part.hi, part.floor, part.steps)


def _renewable(part: _Part, target: float) -> _Array:
    """The same fraction of what each is offered."""
    low, span = float(part.lo.sum()), part.hi - part.lo
    whole = float(span.sum())
    fraction = min(max((target - low) / whole, 0.0), 1.0) if whole > 0 else 0.0
    shares: _Array = part.lo + fraction * span
    if part.steps.any():
        start = np.where(part.steps, part.hi, shares)
        return _in_turn(part, start, target - float(start.sum()), -part.hi)
    return shares


def _storage(part: _Part, target: float) -> _Array:
    """Balancing states of charge: discharge by energy above the reserve, charge by room."""
    energy = part.energy()
    spare = (energy - part.column("e_reserve_kwh")) * part.column("eff_discharge")
    room = (part.column("e_max_kwh") - energy) / part.column("eff_charge")
    if part.steps.any():
        rest = np.clip(0.0, part.lo, part.hi)
        amount = target - float(rest.sum())
        return _in_turn(part, rest, amount, -spare if amount >= 0 else -room)
    return balance(target, part.lo, part.hi, spare, room)


def _vehicle(part: _Part, target: float) -> _Array:
    """Charging by least laxity; discharging by energy to spare."""
    rest = np.clip(0.0, part.lo, part.hi)
    amount = target - float(rest.sum())
    if amount <= 0:
        laxity = laxity_s(part.image, part.rows)
        charges = part.state < -0.5 * part.floor - 1e-3
        turn = np.floor(np.clip(laxity, -1e12, 1e12) / _SAME_LAXITY_S)
        return _in_turn(part, rest, amount, 2.0 * turn + ~charges)
    wanted = filled(part.image.e_target_kwh[part.rows])
    spare = part.energy() - part.column("e_reserve_kwh")
    # Energy above the target comes before energy that has to be charged again.
    weight = np.maximum(spare, 0.0) + np.maximum(part.energy() - wanted, 0.0)
    weight = np.maximum(weight, 1e-6 * max(1.0, float(weight.max(initial=0.0))))
    if part.steps.any():
        return _in_turn(part, rest, amount, -weight)
    return fair(target, rest, part.hi, weight, rest)


def _generator(part: _Part, target: float) -> _Array:
    """Cheapest first, running ones before equals."""
    cost = part.column("cost_kwh")
    runs = part.state > 0.5 * part.floor + 1e-3
    start = np.clip(0.0, part.lo, part.hi)
    return _in_turn(
        part, start, target - float(start.sum()), cost * (1.0 - _RUNNING_BONUS * runs) - 1e-9 * runs
    )


def _shed(part: _Part, target: float) -> _Array:
    """Who is paused stays paused; the next are those called least so far, then the cheapest."""
    order = np.lexsort((part.column("cost_kwh"), part.called))
    key = np.empty(len(order))
    key[order] = np.arange(len(order))
    paused = part.state > part.lo + 0.05 * (part.hi - part.lo)
    return _in_turn(part, part.lo, target - float(part.lo.sum()), key - len(order) * paused)


def _thermal(part: _Part, target: float) -> _Array:
    """Priority stack: fullest off first, emptiest on first, from where each is now."""
    middle = 0.5 * (part.lo + part.hi)
    start = np.where(
        part.steps, np.where(part.state < middle, part.lo, part.hi), np.clip(part.state, part.lo, part.hi)
    )
    start = off_holes(start, part.lo, part.hi, part.floor)
    fullness = part.energy() / np.maximum(part.column("e_max_kwh"), 1e-9)
    amount = target - float(start.sum())
    return _in_turn(part, start, amount, -fullness if amount >= 0 else fullness)


_RULES = {
    Family.RENEWABLE: _renewable,
    Family.STORAGE: _storage,
    Family.VEHICLE: _vehicle,
    Family.GENERATOR: _generator,
    Family.SHED: _shed,
    Family.THERMAL: _thermal,
}


_PLANNABLE = (_renewable, _storage, _vehicle)
"""Rules of the families whose members each follow a plan of their own."""


def _is_planned(part: _Part, planned_kw: Kw) -> bool:
    return bool(np.isfinite(planned_kw[part.rows]).all()) and not part.steps.any()


def _near_plan(part: _Part, target: float, planned: Kw) -> _Array:
    """Each at its plan, the difference to the target by size."""
    size = np.maximum(part.column("p_max_kw"), -part.column("p_min_kw"))
    return fair(target, part.lo, part.hi, size, np.asarray(planned, dtype=np.float64))


def _unasked(part: _Part, family: Family) -> float:
    """Sum of a family in a mixed group before anybody is asked for more or less, kW."""
    if family is Family.RENEWABLE:
        return float(part.hi.sum())
    if family is Family.SHED:
        return float(part.lo.sum())
    if family is Family.THERMAL:
        return float(np.clip(part.state, part.lo, part.hi).sum())
    return float(np.clip(0.0, part.lo, part.hi).sum())


def _by_family(codes: Codes) -> dict[Family, Rows | slice]:
    """The rows of each family: one slice each where they stand in the fleet's own order."""
    counts = np.bincount(codes, minlength=len(Family))
    families = [Family(code) for code in np.flatnonzero(counts).tolist()]
    if (codes[1:] >= codes[:-1]).all():
        ends = np.cumsum(counts).tolist()
        return {f: slice(ends[f] - int(counts[f]), ends[f]) for f in families}
    return {f: np.flatnonzero(codes == f).astype(np.int32) for f in families}


def _by_merit(part: _Part, target: float) -> _Array:
    """A mixed group: families by their mean cost, held-back sun and wind last, each by its rule."""
    where = _by_family(part.image.family[part.rows])
    families = list(where)
    parts = {f: part.of(at) for f, at in where.items()}
    sums = {f: _unasked(parts[f], f) for f in families}
    missing = target - sum(sums.values())
    shares = np.array(np.clip(part.state, part.lo, part.hi))
    cost = {f: float(parts[f].column("cost_kwh").mean()) for f in families}
    for family in sorted(families, key=lambda f: (f is Family.RENEWABLE, cost[f], f)):
        mine = parts[family]
        wanted = min(max(sums[family] + missing, float(mine.lo.sum())), float(mine.hi.sum()))
        got = _settled(mine, _RULES[family](mine, wanted), wanted)[0] if family in _RULES else mine.lo
        missing -= float(got.sum()) - sums[family]
        shares[where[family]] = got
    return shares


def _settled(part: _Part, shares: _Array, target: float) -> tuple[_Array, float]:
    """Shares on levels that devices can hold, the rest trimmed over the smooth ones, and their sum."""
    settled = np.array(shares, dtype=np.float64)
    return settled, settle(settled, target, part.lo, part.hi, part.floor, part.steps)


def split(
    target_kw: float,
    rows: Rows,
    image: Image,
    capability: Capability,
    previous_kw: Kw,
    *,
    called_kwh: Kwh | None = None,
    planned_kw: Kw | None = None,
) -> Split:
    """Share a group's target among its members.

    Sun and wind by one fraction; storage by water-filling on what is stored; vehicles charge by
    least laxity and discharge by energy to spare; generators cheapest first; processes in
    rotation; comfort loads by a priority stack that switches as few as possible. In a mixed group
    families come in order of their cost.

    Args:
        target_kw: wanted sum of the rows, injection positive.
        rows: (m,) rows of the image, each once.
        image: the process image, n rows.
        capability: (n,) bounds, possibly narrowed.
        previous_kw: (n,) orders in force; NaN where none: then what the device does counts.
        called_kwh: (n,) how much each was called before, for the rotation; without it the cheapest
            processes come first.
        planned_kw: (n,) what each is planned to do, NaN where nothing; a group of continuous stores,
            vehicles or suns all of which are planned stays as near to it as the target allows.

    Returns:
        Shares inside the capability; they add up to the target, or the shortfall is named.
    """
    part = _part(rows, image, capability, previous_kw, called_kwh)
    codes = image.family[rows]
    rule = _RULES.get(Family(int(codes[0]))) if len(rows) and (codes == codes[0]).all() else None
    if rule in _PLANNABLE and planned_kw is not None and _is_planned(part, planned_kw):
        shares = _near_plan(part, target_kw, planned_kw[rows])
    else:
        shares = rule(part, target_kw) if rule else _by_merit(part, target_kw)
    shares, total = _settled(part, shares, target_kw)
    shortfall = target_kw - total
    scale = max(1.0, abs(target_kw), float(np.abs(shares).sum()))
    if abs(shortfall) <= _REL * scale:
        return Split(shares, 0.0, MappingProxyType({}))
    causes = _causes(shortfall, target_kw, part, capability)
    return Split(shares, shortfall, MappingProxyType(causes))


def _part(rows: Rows, image: Image, capability: Capability, previous_kw: Kw, called_kwh: Kwh | None) -> _Part:
    names = ("p_min_kw", "p_max_kw", "p_floor_kw", "on_off")
    doubles = [np.asarray(a, np.float64) for a in (capability.p_lo_kw, capability.p_hi_kw, previous_kw)]
    singles = [np.asarray(a, np.float32) for a in (image.p_kw, image.p_avail_kw)]
    columns: list[NDArray[Any]] = [
        rows,
        *doubles,
        *singles,
        *(image.columns[name] for name in names),
        image.family,
    ]
    low, high, state, floor, steps = gather(*[_frozen(column) for column in columns])
    called = np.zeros(len(rows)) if called_kwh is None else np.asarray(called_kwh, dtype=np.float64)[rows]
    return _Part(image, rows, low, high, state, floor, steps, called)


def _frozen(column: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: one compiled loop serves columns of every origin."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


def _causes(shortfall: float, target: float, part: _Part, capability: Capability) -> dict[str, float]:
    """Name a shortfall: what lies beyond the bounds by their sources, the rest by the devices' levels."""
    upward = shortfall > 0
    bound = (capability.p_hi_kw if upward else capability.p_lo_kw)[part.rows]
    beyond = target - float(bound.sum())
    beyond = min(max(beyond, 0.0), shortfall) if upward else max(min(beyond, 0.0), shortfall)
    causes: dict[str, float] = {}
    if beyond != 0:
        causes = _by_source(beyond, bound, part, capability)
    inside = shortfall - beyond
    if abs(inside) > _REL * max(1.0, abs(target)):
        causes[ROUNDING if part.steps.any() else SMALLEST_LEVEL] = float(inside)
    elif causes:
        largest = max(causes, key=lambda name: abs(causes[name]))
        causes[largest] += inside
    return causes


def _by_source(beyond: float, bound: Kw, part: _Part, capability: Capability) -> dict[str, float]:
    """Share what no bound allows among the sources, by how far each keeps its rows from nameplate."""
    if beyond > 0:
        source = capability.hi_source[part.rows]
        kept = np.maximum(part.column("p_max_kw") - bound, 0.0)
    else:
        source = capability.lo_source[part.rows]
        kept = np.maximum(bound - part.column("p_min_kw"), 0.0)
    kept[source == BoundSource.NAMEPLATE] = 0.0
    weight = np.bincount(source, weights=kept, minlength=len(BoundSource))
    whole = float(weight.sum())
    held = min(whole, abs(beyond))
    named = weight * (held / whole if whole > 0 else 0.0)
    named[BoundSource.NAMEPLATE] = abs(beyond) - held
    signed = np.copysign(named, beyond).tolist()
    return {BoundSource(code).name.lower(): kw for code, kw in enumerate(signed) if kw}
