"""Members read from an image: each family's model as chains or blocks, never more than it can do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.fleet._capability import STALE_S
from gridflock.fleet._columns import Image, filled
from gridflock.fleet.flexible._bands import CALL_HOURS, DWELL_S
from gridflock.fleet.flexible._blocks import Blocks
from gridflock.fleet.flexible._chains import Chains
from gridflock.fleet.flexible._compiled import Array
from gridflock.fleet.flexible._lossy import two_way
from gridflock.schema import Enrolment, Family, Kind
from gridflock.units import DAY_S, HOUR_S, NEVER_S, Codes, Kw, Mask, Rows, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What is known beyond the image; all is optional.

    Attributes:
        unasked_kw: (n, T) for every row of the fleet what it would do unasked: sun on offer, a process's
            demand, the usual demand inside a comfort band, heat-led output. Without it, what the row
            offers now goes on.
        worth: (T,) a price per step that guides two-way stores with losses: late in the horizon they
            only discharge where it is above its median and only charge elsewhere.
        running: uint8 (n, T) which generators run at which steps. Without it those that run go on.
        loss_per_h: (n,) rate at which stored energy fades. Without it, it does not.
    """

    unasked_kw: Kw | None = None
    worth: Array | None = None
    running: Codes | None = None
    loss_per_h: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Models of some rows.

    Attributes:
        chains: the stores and what is bounded like one.
        inner: (m,) True where a chain grants less than its device can do.
        blocks: the on/off loads.
    """

    chains: Chains
    inner: Mask
    blocks: Blocks

    def and_also(self, others: Members) -> Members:
        """These members and those."""
        return Members(
            self.chains.and_also(others.chains),
            np.concatenate([self.inner, others.inner]),
            self.blocks.and_also(others.blocks),
        )


class _Sheet:
    """Columns of the rows of one family over a horizon, float64, and the bounds while they are made."""

    def __init__(self, image: Image, rows: Rows, grid: TimeGrid, outlook: Outlook) -> None:
        self.image, self.rows, self.grid, self.outlook = image, rows, grid, outlook
        self.hours = grid.hours
        shape = (len(rows), grid.n)
        self.lo = np.broadcast_to(self["p_min_kw"][:, None], shape).copy()
        self.hi = np.broadcast_to(self["p_max_kw"][:, None], shape).copy()
        self.gain = np.broadcast_to(self.hours, shape).copy()
        self.e_now = filled(image.e_kwh[rows])
        self.e_lo = np.full((len(rows), grid.n + 1), -np.inf)
        self.e_hi = np.full((len(rows), grid.n + 1), np.inf)
        self.drift = np.zeros(shape)
        self.inner = np.zeros(len(rows), dtype=bool)

    def __getitem__(self, name: str) -> Array:
        values: Array = self.image.columns[name][self.rows].astype(np.float64)
        return values

    def unasked(self) -> Kw:
        """(m, T) what the rows would do if nobody asked."""
        if self.outlook.unasked_kw is not None:
            return self.outlook.unasked_kw[self.rows].astype(np.float64)
        offered = self.image.p_avail_kw[self.rows]
        now = filled(np.where(np.isnan(offered), self.image.p_kw[self.rows], offered))
        return np.broadcast_to(now[:, None], self.lo.shape)

    def loss(self) -> Array:
        fade = self.outlook.loss_per_h
        return np.zeros(len(self.rows)) if fade is None else fade[self.rows].astype(np.float64)

    def only(self, fixed_kw: Kw, where: Mask) -> None:
        """Hold the powers of some members."""
        self.lo = np.where(where[:, None], fixed_kw, self.lo)
        self.hi = np.where(where[:, None], fixed_kw, self.hi)

    def chains(self, keep: Mask | None = None) -> Chains:
        """The chains, drift carried into the energy bounds: bounds of what is above the drift."""
        loss, steps = self.loss(), self.grid.n
        carried = np.zeros(self.e_lo.shape)
        for t in range(steps):
            carried[:, t + 1] = np.exp(-loss * self.hours[t]) * carried[:, t] + self.drift[:, t]
        e_lo, e_hi = self.e_lo - carried, self.e_hi - carried
        e_lo[:, 0] = e_hi[:, 0] = self.e_now
        columns = (self.lo, np.maximum(self.lo, self.hi), self.gain, loss, e_lo, np.maximum(e_lo, e_hi))
        some = slice(None) if keep is None else keep
        return Chains.of(self.rows[some], self.hours, *(column[some] for column in columns))

    def members(self) -> Members:
        return Members(self.chains(), self.inner, Blocks.none(self.grid.n))


def _renewable(sheet: _Sheet) -> Members:
    sheet.lo[:] = 0.0
    sheet.hi = np.minimum(np.maximum(sheet.unasked(), 0.0), sheet.hi)
    sheet.gain[:] = 0.0
    return sheet.members()


def _storage(sheet: _Sheet) -> Members:
    sheet.e_lo[:] = np.minimum(sheet["e_reserve_kwh"], sheet.e_now)[:, None]
    sheet.e_hi[:] = np.maximum(sheet["e_max_kwh"], sheet.e_now)[:, None]
    _with_losses(sheet, charging=np.zeros(len(sheet.rows), dtype=bool))
    return sheet.members()


def _vehicle(sheet: _Sheet) -> Members:
    image, grid = sheet.image, sheet.grid
    leaves = image.depart_s[sheet.rows].astype(np.float64)
    leaves = np.where(leaves == NEVER_S, grid.start_s + DWELL_S, leaves)
    here = np.clip((leaves[:, None] - grid.edges_s[:-1]) / np.diff(grid.edges_s), 0.0, 1.0)
    both = np.isin(image.kind[sheet.rows], (Kind.EV_V2G, Kind.EV_V2H))
    sheet.lo *= here
    sheet.hi = np.where(both[:, None], sheet.hi * here, 0.0)
    e_max = np.maximum(sheet["e_max_kwh"], sheet.e_now)
    wanted = image.e_target_kwh[sheet.rows].astype(np.float64)
    wanted = np.minimum(np.where(np.isnan(wanted), sheet.e_now, wanted), e_max)
    gone = grid.edges_s >= leaves[:, None]
    sheet.e_lo = np.where(gone, wanted[:, None], np.minimum(sheet["e_reserve_kwh"], sheet.e_now)[:, None])
    sheet.e_hi[:] = e_max[:, None]
    _with_losses(sheet, charging=wanted > sheet.e_now)
    return sheet.members()


def _with_losses(sheet: _Sheet, charging: Mask) -> None:
    """Gains of stores with losses; two-way ones become linear from inside."""
    charge, discharge = sheet["eff_charge"][:, None], sheet["eff_discharge"][:, None]
    draws: Mask = np.any(sheet.lo < 0.0, axis=1)
    gives: Mask = np.any(sheet.hi > 0.0, axis=1)
    sheet.gain = sheet.hours * np.where(gives[:, None], 1.0 / discharge, charge)
    wasteful = np.less(charge * discharge, 1.0).ravel()
    lossy = np.flatnonzero(draws & gives & wasteful)
    if not len(lossy):
        return
    made = two_way(
        sheet.hours,
        sheet.lo[lossy],
        sheet.hi[lossy],
        (charge[lossy, 0], discharge[lossy, 0]),
        sheet.e_now[lossy],
        (sheet.e_lo[lossy], sheet.e_hi[lossy]),
        sheet.outlook.worth,
        charging[lossy],
    )
    sheet.lo[lossy], sheet.hi[lossy], sheet.gain[lossy], sheet.e_lo[lossy] = made
    sheet.inner[lossy] = True


def _generator(sheet: _Sheet) -> Members:
    """Sets that run keep between floor and rating, with moves no faster than their ramp; others rest.

    Heat-led ones fill a tank with what they give beyond the heat drawn: its content bounds them.
    """
    image, rows = sheet.image, sheet.rows
    floor, rated = sheet["p_floor_kw"], sheet["p_max_kw"]
    now = filled(image.p_kw[rows])
    runs = now > 0.5 * np.maximum(floor, 1e-3)
    given = sheet.outlook.running
    on = np.broadcast_to(runs[:, None], sheet.lo.shape) if given is None else given[rows] > 0
    _lasting(sheet, on, runs)
    centre = np.clip(now, floor, rated)
    swing = 0.5 * sheet["ramp_kw_s"] * HOUR_S * float(sheet.hours.min())
    low, high = np.maximum(floor, centre - swing), np.minimum(rated, centre + swing)
    sheet.inner = (low > floor) | (high < rated)
    sheet.lo = np.where(on, np.minimum(low, high)[:, None], 0.0)
    sheet.hi = np.where(on, high[:, None], 0.0)
    led = image.kind[rows] != Kind.GENSET
    sheet.gain = np.where(led[:, None], sheet.hours, 0.0)
    # The store is the room left in the tank: giving power uses it up, the heat drawn restores it.
    sheet.drift = np.where(led[:, None], np.maximum(sheet.unasked(), 0.0) * sheet.hours, 0.0)
    wide = np.where(led, sheet["e_max_kwh"], np.inf)
    sheet.e_now = np.where(led, np.maximum(sheet["e_max_kwh"] - sheet.e_now, 0.0), 0.0)
    sheet.e_lo[:] = np.where(led, 0.0, -np.inf)[:, None]
    sheet.e_hi[:] = np.maximum(wide, sheet.e_now)[:, None]
    return sheet.members()


def _lasting(sheet: _Sheet, on: Mask, runs: Mask) -> None:
    """Refuse running times that break a minimum on or off time or the present lock."""
    edges = sheet.grid.edges_s
    locked = edges[0] + filled(sheet.image.locked_s[sheet.rows])
    broken = ((on != runs[:, None]) & (edges[:-1] < locked[:, None])).any(axis=1)
    since, state = np.full(len(runs), -np.inf), runs.copy()
    shortest = {True: sheet["min_on_s"], False: sheet["min_off_s"]}
    for t in range(sheet.grid.n):
        turned = on[:, t] != state
        least = np.where(state, shortest[True], shortest[False])
        broken |= turned & (edges[t] - since < least)
        since, state = np.where(turned, float(edges[t]), since), on[:, t]
    if broken.any():
        names = ", ".join(sheet.image.ids[row] for row in sheet.rows[broken][:5])
        raise ValueError(f"running: {names}: switched within a minimum on or off time")


def _shed(sheet: _Sheet) -> Members:
    """A process may pause its flexible part, for some hours a day; or switch it as a whole."""
    demand = np.minimum(sheet.unasked(), 0.0)
    part = np.minimum(-sheet["p_min_kw"][:, None], -demand)
    switched = sheet["on_off"] > 0
    steady = part.min(axis=1)
    resting = demand + np.where(switched, steady, 0.0)[:, None]
    sheet.lo = np.where(switched[:, None], resting, demand)
    sheet.hi = np.where(switched[:, None], resting, demand + part)
    days = (sheet.grid.end_s - sheet.grid.start_s) / DAY_S
    calls = CALL_HOURS * -sheet["p_min_kw"] * max(1.0, np.floor(days))
    sheet.e_now = np.where(switched, 0.0, calls)
    # What is left of the calls: it falls by what is injected above the demand.
    sheet.drift = np.where(switched[:, None], 0.0, demand * sheet.hours)
    sheet.gain = np.where(switched[:, None], 0.0, sheet.hours)
    sheet.e_lo[:] = np.where(switched, -np.inf, 0.0)[:, None]
    able = switched & (steady > 0.0)
    return replace(sheet.members(), blocks=_blocks(sheet, np.flatnonzero(able).astype(np.int32), steady))


def _blocks(sheet: _Sheet, those: Rows, rated: Kw) -> Blocks:
    shortest_s = float(np.diff(sheet.grid.edges_s).min())
    stays = np.maximum(sheet["min_on_s"], sheet["min_off_s"])[those]
    hold = np.maximum(np.ceil(stays / shortest_s), 1.0).astype(np.int32)
    locked = np.ceil(filled(sheet.image.locked_s[sheet.rows[those]]) / shortest_s).astype(np.int32)
    now = filled(sheet.image.p_kw[sheet.rows[those]])
    runs = (now < 0.5 * sheet["p_min_kw"][those]).astype(np.uint8)
    return Blocks.of(sheet.rows[those], sheet.grid.n, rated[those], runs, hold, locked)


def _thermal(sheet: _Sheet) -> Members:
    """A comfort band filled by what is drawn and emptied by the usual demand.

    One that only knows on and off follows a mean power by switching where the energy it is ahead or
    behind reaches half of what its shortest time on or off moves, or later if it is locked at first: the
    band is narrowed on both sides by what that time moves.
    """
    usual = np.maximum(-sheet.unasked(), 0.0)
    rated = -sheet["p_min_kw"]
    sheet.hi[:] = 0.0
    sheet.drift = -np.minimum(usual, rated[:, None]) * sheet.hours
    shortest_h = np.maximum(sheet["min_on_s"], sheet["min_off_s"]) / HOUR_S
    margin = np.where(sheet["on_off"] > 0, rated * shortest_h, 0.0)
    wide = sheet["e_max_kwh"]
    sheet.e_lo[:], sheet.e_hi[:] = margin[:, None], np.maximum(wide - margin, margin)[:, None]
    sheet.inner = margin > 0.0
    _locked(sheet, rated)
    sheet.only(-np.minimum(usual, rated[:, None]), 2.0 * margin >= wide)
    return sheet.members()


def _locked(sheet: _Sheet, rated: Kw) -> None:
    """What may not switch yet goes on for its share of the first steps."""
    begins = sheet.grid.edges_s[:-1] - sheet.grid.start_s
    bound_s = filled(sheet.image.locked_s[sheet.rows])[:, None]
    share = np.clip((bound_s - begins) / np.diff(sheet.grid.edges_s), 0.0, 1.0)
    runs = (filled(sheet.image.p_kw[sheet.rows]) < -0.5 * rated)[:, None]
    sheet.hi = np.where(runs, -rated[:, None] * share, sheet.hi)
    sheet.lo = np.where(runs, sheet.lo, -rated[:, None] * (1.0 - share))


_MODELS = {
    Family.RENEWABLE: _renewable,
    Family.STORAGE: _storage,
    Family.VEHICLE: _vehicle,
    Family.GENERATOR: _generator,
    Family.SHED: _shed,
    Family.THERMAL: _thermal,
}
_STORED = (Family.STORAGE, Family.VEHICLE, Family.THERMAL)


def willing(image: Image, rows: Rows) -> Mask:
    """Which rows take orders now and are known well enough to promise anything of them."""
    family = image.family[rows]
    known = ~np.isnan(image.e_kwh[rows]) | ~np.isin(family, _STORED)
    led = (family == Family.GENERATOR) & (image.kind[rows] != Kind.GENSET)
    known &= ~led | ~np.isnan(image.e_kwh[rows])
    known &= image.columns["enrolment"][rows] == Enrolment.ENROLLED
    able: Mask = (image.ready[rows] == 1) & ~image.silent(STALE_S)[rows] & (family != Family.NONE) & known
    return able


def members_of(image: Image, rows: Rows, grid: TimeGrid, outlook: Outlook) -> Members:
    """Models of the given rows, all of them willing, over a horizon that starts now."""
    none = np.zeros(0, dtype=bool)
    found = Members(Chains.none(grid.hours), none, Blocks.none(grid.n))
    for family, model in _MODELS.items():
        some = rows[image.family[rows] == family]
        if len(some):
            found = found.and_also(model(_Sheet(image, some, grid, outlook)))
    return found
