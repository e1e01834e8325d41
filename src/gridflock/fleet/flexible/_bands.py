"""What groups can do over a horizon: the form of ``model.Flexibility``, family by family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._capability import STALE_S
from gridflock.fleet._columns import Image, filled
from gridflock.model import Flexibility
from gridflock.schema import Enrolment, Family, Kind
from gridflock.units import DAY_S, HOUR_S, NEVER_S, Kw, Kwh, Rows, TimeGrid

DWELL_S = 8 * HOUR_S
"""How long a vehicle that arrives stays, s."""
TYPICAL_NEED_KWH = 10.0
TYPICAL_CHARGER_KW = 7.2
TYPICAL_GAIN = 0.9
"""Stored of what is drawn."""
COMFORT_SHARE = 0.6
"""Part of the comfort band a plan may use: losses and uneven members take the rest."""
COMFORT_COST = 0.015
CURTAILMENT_COST = 0.02
CALL_HOURS = 4.0
"""A process is paused for so long a day at most, h."""

_Array = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _Form:
    """One group's flexibility: (T,) powers, (T+1,) store bounds."""

    base: _Array
    up: _Array
    down: _Array
    x_lo: _Array
    x_hi: _Array
    gain_up: float = 0.0
    gain_down: float = 0.0
    cost_up: float = 0.0
    cost_down: float = 0.0

    @classmethod
    def still(cls, base: Kw) -> _Form:
        steps = len(base)
        zero, band = np.zeros(steps), np.zeros(steps + 1)
        return cls(np.asarray(base, dtype=np.float64), zero, zero.copy(), band, band.copy())


@dataclass(frozen=True, slots=True, eq=False)
class Coming:
    """Vehicles that are not there yet, by the step in which they come.

    Attributes:
        need_kwh: (T,) mean energy that each lacks, > 0.
        leaves_s: (T, J) moments at which they leave, equally likely.
        charger_kw: what each can draw, a magnitude.
        number: (T,) how many are expected.
    """

    need_kwh: Kwh
    leaves_s: _Array
    charger_kw: float
    number: _Array


class _Members:
    """Columns of the members that take orders now, as float64."""

    def __init__(self, image: Image, rows: Rows, grid: TimeGrid) -> None:
        willing = (image.ready[rows] == 1) & ~image.silent(STALE_S)[rows]
        willing &= image.columns["enrolment"][rows] == Enrolment.ENROLLED
        self.image, self.grid = image, grid
        self.rows: Rows = rows[willing]

    def having_energy(self) -> _Members:
        """Only those whose stored energy is known."""
        self.rows = self.rows[~np.isnan(self.image.e_kwh[self.rows])]
        return self

    def column(self, name: str) -> _Array:
        values: _Array = self.image.columns[name][self.rows].astype(np.float64)
        return values

    def total(self, name: str) -> float:
        return float(self.column(name).sum())

    def mean(self, name: str, size: str, default: float) -> float:
        """Mean of a column, by size."""
        weight = np.abs(self.column(size))
        whole = float(weight.sum())
        return float((self.column(name) * weight).sum() / whole) if whole > 0 else default

    def energy(self) -> _Array:
        return self.image.e_kwh[self.rows].astype(np.float64)

    def hours_since_start(self) -> _Array:
        return (self.grid.edges_s - self.grid.start_s) / HOUR_S


def _renewable(_: _Members, base: Kw, __: Kw) -> _Form:
    form = _Form.still(base)
    form.down = np.maximum(form.base, 0.0)
    form.cost_down = CURTAILMENT_COST
    return form


def _storage(members: _Members, base: Kw, _: Kw) -> _Form:
    members.having_energy()
    form = _Form.still(base)
    form.up += members.total("p_max_kw")
    form.down -= members.total("p_min_kw")
    energy = members.energy()
    # Below the reserve nothing can be taken; that it should be refilled is the owner's device's care.
    form.x_lo -= np.maximum(energy - members.column("e_reserve_kwh"), 0.0).sum()
    form.x_hi += np.maximum(members.column("e_max_kwh") - energy, 0.0).sum()
    form.gain_up = -1.0 / members.mean("eff_discharge", "p_max_kw", 1.0)
    form.gain_down = members.mean("eff_charge", "p_min_kw", 1.0)
    form.cost_up = members.mean("cost_kwh", "p_max_kw", 0.0)
    form.cost_down = members.mean("cost_kwh", "p_min_kw", 0.0)
    return form


def _vehicle(members: _Members, base: Kw, inflow: Kw) -> _Form:
    """Vehicles that are plugged in now, and those expected.

    The store counts energy put into vehicles since the start; who has left goes on counting. Its
    lower bound is charging as late as every departure allows, its upper bound all needs.
    """
    members.having_energy()
    form = _Form.still(base)
    form.gain_down = members.mean("eff_charge", "p_min_kw", TYPICAL_GAIN)
    form.gain_up = -1.0 / members.mean("eff_discharge", "p_max_kw", 0.9)
    form.cost_up = members.mean("cost_kwh", "p_max_kw", 0.0)
    _plugged(members, form)
    _expected(members.grid, form, inflow)
    return form


def _plugged(members: _Members, form: _Form) -> None:
    image, rows, grid = members.image, members.rows, members.grid
    leave = image.depart_s[rows].astype(np.float64)
    leave = np.where(leave == NEVER_S, grid.start_s + DWELL_S, leave)
    stay_h = np.maximum(leave - grid.start_s, 0.0) / HOUR_S
    energy, full = members.energy(), -members.column("p_min_kw")
    two_way = np.isin(image.kind[rows], (Kind.EV_V2G, Kind.EV_V2H))
    wanted = np.where(np.isnan(image.e_target_kwh[rows]), energy, image.e_target_kwh[rows])
    rate = full * form.gain_down
    # What cannot be reached any more is not promised.
    need = np.minimum(np.minimum(wanted, members.column("e_max_kwh")) - energy, rate * stay_h)
    spare = np.where(two_way, np.maximum(energy - members.column("e_reserve_kwh"), 0.0), 0.0)
    # Shares of each step before departure (m, T), hours left at each edge (m, T+1).
    here = np.clip((leave[:, None] - grid.edges_s[:-1]) / np.diff(grid.edges_s), 0.0, 1.0)
    left_h = np.maximum(leave[:, None] - grid.edges_s, 0.0) / HOUR_S
    form.down += full @ here
    form.up += np.where(two_way, members.column("p_max_kw"), 0.0) @ here
    latest = need[:, None] - rate[:, None] * left_h
    form.x_lo += np.maximum(latest, -spare[:, None]).sum(axis=0)
    form.x_hi += np.maximum(need, 0.0).sum()


def _expected(grid: TimeGrid, form: _Form, inflow: Kw) -> None:
    """Needs that appear along the horizon, to be met one dwell later."""
    need = np.maximum(-np.asarray(inflow, dtype=np.float64), 0.0) * grid.hours
    arrive, leave = grid.edges_s[1:], grid.edges_s[1:] + DWELL_S
    form.x_hi[1:] += np.cumsum(need)
    form.x_lo += (grid.edges_s[:, None] >= leave) @ need
    starts = grid.edges_s[:-1, None]
    here = np.clip((leave - starts) / np.diff(grid.edges_s)[:, None], 0.0, 1.0) * (starts >= arrive)
    form.down += here @ need * (TYPICAL_CHARGER_KW / TYPICAL_NEED_KWH)


def _coming(grid: TimeGrid, form: _Form, inflow: Kw, coming: Coming) -> None:
    """Needs that appear along the horizon, to be met before each of those who bring them leaves.

    In each step the departures that are told are equally likely; what cannot be reached until one is not
    promised.
    """
    need = np.maximum(-np.asarray(inflow, dtype=np.float64), 0.0) * grid.hours
    power = need * (coming.charger_kw / coming.need_kwh)
    parts = coming.leaves_s.shape[1]
    arrive, leave = grid.edges_s[1:, None], np.maximum(coming.leaves_s, grid.edges_s[1:, None])
    reached = np.minimum(need[:, None], power[:, None] * form.gain_down * (leave - arrive) / HOUR_S)
    form.x_hi[1:] += np.cumsum(need)
    form.x_lo += np.einsum("etj,tj->e", grid.edges_s[:, None, None] >= leave, reached) / parts
    starts, ends = grid.edges_s[:-1, None, None], grid.edges_s[1:, None, None]
    here = np.clip((leave - starts) / (ends - starts), 0.0, 1.0) * (starts >= arrive)
    form.down += here.sum(axis=2) @ power / parts


def _generator(members: _Members, base: Kw, _: Kw) -> _Form:
    """Heat-led sets move around their base inside the tank; others only burn fuel.

    In one group both are one store: its upper bound grows with what the fuelled ones could have
    given, an outer form as all sums are.
    """
    form = _Form.still(base)
    led = members.image.kind[members.rows] != Kind.GENSET
    energy = filled(members.energy())
    form.up = np.maximum(members.total("p_max_kw") - np.maximum(form.base, 0.0), 0.0)
    form.down = np.maximum(form.base, 0.0)
    room = np.maximum(members.column("e_max_kwh") - energy, 0.0)
    form.x_lo -= np.maximum(energy, 0.0)[led].sum()
    form.x_hi += room[led].sum()
    form.x_hi += members.column("p_max_kw")[~led].sum() * members.hours_since_start()
    form.gain_up, form.gain_down = 1.0, -1.0
    form.cost_up = members.mean("cost_kwh", "p_max_kw", 0.0)
    return form


def _shed(members: _Members, base: Kw, _: Kw) -> _Form:
    form = _Form.still(base)
    flexible = -members.total("p_min_kw")
    form.up = np.minimum(flexible, np.maximum(-form.base, 0.0))
    days = 1.0 + (members.grid.edges_s - members.grid.start_s) // DAY_S
    form.x_lo -= CALL_HOURS * flexible * days
    form.gain_up = -1.0
    form.cost_up = members.mean("cost_kwh", "p_min_kw", 0.0)
    return form


def _thermal(members: _Members, base: Kw, _: Kw) -> _Form:
    members.having_energy()
    form = _Form.still(base)
    usual = np.maximum(-form.base, 0.0)
    rated = -members.total("p_min_kw")
    form.up = np.minimum(usual, rated)
    form.down = np.maximum(rated - usual, 0.0)
    wide = members.column("e_max_kwh")
    stored = np.clip(members.energy(), 0.0, wide)
    form.x_lo -= COMFORT_SHARE * stored.sum()
    form.x_hi += COMFORT_SHARE * (wide - stored).sum()
    form.gain_up, form.gain_down = -1.0, 1.0
    form.cost_up = form.cost_down = COMFORT_COST
    return form


_FORMS = {
    Family.RENEWABLE: _renewable,
    Family.STORAGE: _storage,
    Family.VEHICLE: _vehicle,
    Family.GENERATOR: _generator,
    Family.SHED: _shed,
    Family.THERMAL: _thermal,
}


def flexibility(
    image: Image,
    group_ids: Sequence[str],
    rows_by_group: Sequence[Rows],
    grid: TimeGrid,
    base_kw: Kw,
    inflow_kw: Kw,
) -> Flexibility:
    """Bands of groups of one family each (such as ``plan/...``) over a horizon.

    Members that are silent or not ready give nothing; an empty group stands still at its base.

    Args:
        image: the process image.
        group_ids: G groups.
        rows_by_group: rows of each of them, in the same order.
        grid: T steps, starting about now.
        base_kw: (G, T) what each group would do unasked: the sun on offer, the demand of processes
            and comfort loads, heat-led output; 0 for storage, vehicles and gensets.
        inflow_kw: (G, T) energy need that vehicles will bring, as a negative mean power.

    Returns:
        An outer approximation in the form that ``model.Flexibility`` states; doing nothing lies
        inside wherever no departure demands otherwise.

    Raises:
        ValueError: a group of several families, which has no such form.
    """
    forms = []
    for g, (group, rows) in enumerate(zip(group_ids, rows_by_group, strict=True)):
        families = np.unique(image.family[rows])
        if len(families) > 1:
            raise ValueError(f"group {group!r} holds several families; use its plan groups")
        family = Family(int(families[0])) if len(families) else Family.NONE
        if family in _FORMS:
            form = _FORMS[family](_Members(image, rows, grid), base_kw[g], inflow_kw[g])
            forms.append(_sane(form, grid.hours))
        else:
            forms.append(_Form.still(base_kw[g]))
    return _stacked(grid, tuple(group_ids), forms)


def arriving(
    grid: TimeGrid, names: Sequence[str], inflow_kw: Kw, coming: Sequence[Coming | None] | None = None
) -> Flexibility:
    """Bands of vehicles that are not there yet, from the energy need they are expected to bring.

    Args:
        grid: T steps.
        names: G rows.
        inflow_kw: (G, T) the need as a negative mean power.
        coming: of each row, who brings it and when they leave; None: typical vehicles.
    """
    forms = []
    stays = [None] * len(names) if coming is None else coming
    for inflow, stay in zip(np.asarray(inflow_kw, dtype=np.float64), stays, strict=True):
        form = _Form.still(np.zeros(grid.n))
        form.gain_down = TYPICAL_GAIN
        if stay is None:
            _expected(grid, form, inflow)
        else:
            _coming(grid, form, inflow, stay)
        forms.append(_sane(form, grid.hours))
    return _stacked(grid, tuple(names), forms)


def _sane(form: _Form, hours: _Array) -> _Form:
    """Bands that hold 0 at the start, never cross, and ask for no more than the power allows."""
    charging = np.maximum(form.gain_up * form.up, 0.0) + np.maximum(form.gain_down * form.down, 0.0)
    draining = np.minimum(form.gain_up * form.up, 0.0) + np.minimum(form.gain_down * form.down, 0.0)
    form.x_lo[1:] = np.minimum(form.x_lo[1:], np.cumsum(charging * hours))
    form.x_hi[1:] = np.maximum(form.x_hi[1:], np.cumsum(draining * hours))
    form.x_lo[0], form.x_hi[0] = min(form.x_lo[0], 0.0), max(form.x_hi[0], 0.0)
    form.x_lo = np.minimum(form.x_lo, form.x_hi)
    return form


def _stacked(grid: TimeGrid, groups: tuple[str, ...], forms: Sequence[_Form]) -> Flexibility:
    def rows(name: str, width: int) -> _Array:
        return np.array([getattr(form, name) for form in forms]).reshape(len(forms), width)

    def each(name: str) -> _Array:
        return np.array([getattr(form, name) for form in forms], dtype=np.float64)

    return Flexibility(
        grid=grid,
        groups=groups,
        base_kw=rows("base", grid.n),
        up_kw=rows("up", grid.n),
        down_kw=rows("down", grid.n),
        x_lo_kwh=rows("x_lo", grid.n + 1),
        x_hi_kwh=rows("x_hi", grid.n + 1),
        gain_up=each("gain_up"),
        gain_down=each("gain_down"),
        cost_up=each("cost_up"),
        cost_down=each("cost_down"),
    )


def arrivals_kwh(previous: Image, image: Image) -> Kwh:
    """Energy need that appeared with vehicles plugged in between two images, kWh, float64 (n,) >= 0.

    A vehicle that was never heard before is no arrival: it may have stood there all day.

    Args:
        previous: the earlier image.
        image: the later image of the same fleet.
    """
    came = (image.family == Family.VEHICLE) & (image.ready == 1)
    came &= (previous.ready == 0) & (previous.heard_s != NEVER_S)
    need = filled(image.e_target_kwh - image.e_kwh)
    appeared: Kwh = np.where(came, np.maximum(need, 0.0), 0.0)
    return appeared
