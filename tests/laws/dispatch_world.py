"""Small worlds for the laws of dispatch: a fleet of every kind, read through the real fleet and groups."""

from __future__ import annotations

import numpy as np

from gridflock.dispatch import GuardLimits, Policy, Response, step
from gridflock.fleet import Fleet, Groups
from gridflock.model import Orders, Outcomes, OutcomeStatus, Priority, Proposal, Readings, Schedule
from gridflock.schema import QUANTITY, Kind
from gridflock.units import TimeGrid

NOW_S = 1_750_000_000
PLATES = {
    Kind.PV_ROOFTOP: {"p_max_kw": 6.0},
    Kind.WIND: {"p_max_kw": 40.0},
    Kind.BATTERY_HOME: {
        "p_max_kw": 5.0,
        "p_min_kw": -5.0,
        "e_max_kwh": 13.5,
        "e_reserve_kwh": 2.0,
        "eff_charge": 0.95,
        "eff_discharge": 0.95,
        "cost_kwh": 0.05,
    },
    Kind.EV_V1G: {"p_min_kw": -7.2, "p_floor_kw": 1.4, "e_max_kwh": 60.0, "eff_charge": 0.92},
    Kind.EV_V2G: {
        "p_max_kw": 7.0,
        "p_min_kw": -7.0,
        "p_floor_kw": 1.4,
        "e_max_kwh": 60.0,
        "e_reserve_kwh": 10.0,
        "eff_charge": 0.92,
        "eff_discharge": 0.92,
        "cost_kwh": 0.08,
    },
    Kind.CHP: {"p_max_kw": 60.0, "p_floor_kw": 30.0, "e_max_kwh": 120.0, "cost_kwh": 0.09},
    Kind.GENSET: {"p_max_kw": 100.0, "p_floor_kw": 30.0, "cost_kwh": 0.38},
    Kind.CURTAILABLE: {"p_min_kw": -20.0, "cost_kwh": 0.3},
    Kind.THERMOSTAT: {"p_min_kw": -3.0, "on_off": 1, "e_max_kwh": 1.5},
    Kind.HEAT_PUMP: {"p_min_kw": -4.0, "p_floor_kw": 1.0, "e_max_kwh": 4.0},
    Kind.WATER_HEATER: {"p_min_kw": -4.5, "on_off": 1, "e_max_kwh": 6.0},
    Kind.LOAD: {},
    Kind.FEEDER_HEAD: {},
}
"""One plausible nameplate per kind."""
BUSES = {"b1": 7, "b2": 7, "b3": 7}
SECTIONS = {"b1": "north", "b2": "south", "b3": "south"}


def fleet_of(counts, heads=True):
    """A fleet of so many of each kind, spread over three buses; feeder heads on phases a, b, c."""
    rows = [
        {"id": f"{kind.name.lower()}-{i}", "kind": kind.name, "bus": f"b{i % 3 + 1}", "phases": "abc"[i % 3]}
        | PLATES[kind]
        for kind, count in counts.items()
        for i in range(count)
    ]
    if heads:
        rows += [{"id": f"head-{p}", "kind": "FEEDER_HEAD", "bus": "b1", "phases": p} for p in "abc"]
    fleet, rejected = Fleet.from_rows(rows, BUSES)
    assert not rejected
    return fleet, Groups.standard(fleet, SECTIONS, {})


def ordinary(fleet, rng):
    """Readings of an ordinary moment by quantity, (n,) each; NaN where a kind has none."""
    n, kind, columns = len(fleet.ids), fleet.columns["kind"], fleet.columns
    low, high = columns["p_min_kw"].astype(float), columns["p_max_kw"].astype(float)
    u = rng.random((4, n))
    own = low + u[0] * (high - low)
    own = np.where(columns["on_off"] == 1, np.where(u[0] < 0.5, low, 0.0), own)
    floor = columns["p_floor_kw"]
    own = np.where(np.abs(own) < floor, np.where(u[1] < 0.5, 0.0, np.where(low < 0, -floor, floor)), own)
    own = np.where(kind == Kind.LOAD, -5.0 * u[0], own)
    own = np.where(kind == Kind.CURTAILABLE, 1.5 * low, own)
    full = columns["e_max_kwh"].astype(float)
    cars = np.isin(kind, (Kind.EV_V1G, Kind.EV_V2G))
    values = {
        "p_kw": own,
        "p_avail_kw": own.copy(),
        "e_kwh": np.where(full > 0, (0.1 + 0.8 * u[2]) * full, np.nan),
        "e_target_kwh": np.where(cars, 0.9 * full, np.nan),
        "depart_s": np.where(cars, NOW_S + 14_400 + np.floor(36_000 * u[3]), np.nan),
        "ready": np.ones(n),
        "locked_s": np.zeros(n),
    }
    heads = kind == Kind.FEEDER_HEAD
    values["p_kw"][heads] = (values["p_kw"][~heads].sum() - 30.0) / max(1, heads.sum())
    return values


def tell(fleet, values, now_s=NOW_S):
    """Ingest readings by quantity and take the image; NaN cells are not sent."""
    for name, column in values.items():
        at = np.flatnonzero(~np.isnan(column)).astype(np.int32)
        code = np.full(len(at), QUANTITY[name], dtype=np.uint8)
        time_s = np.full(len(at), now_s, dtype=np.int64)
        readings = Readings(
            fleet.ids, at, code, column[at].astype(float), time_s, np.zeros(len(at), np.uint8)
        )
        assert not fleet.ingest(readings, now_s)
    return fleet.image(now_s)


def want(
    name, group, p_kw=None, priority=Priority.OPERATOR, lo=-np.inf, hi=np.inf, start_s=NOW_S, until_s=None
):
    """A proposal, in force for an hour."""
    until_s = NOW_S + 3_600 if until_s is None else until_s
    return Proposal(name, group, priority, "test", "because", start_s, until_s, p_kw, lo, hi)


def rows_of(groups):
    """Rows of every group by name, as ``step`` takes them."""
    return {name: groups.rows(name) for name in groups.ids}


def schedule_of(groups, p_kw, base_kw=None, peak_kw=1e6):
    """A plan of one hour in four steps with constant values."""
    grid = TimeGrid.uniform(NOW_S - NOW_S % 900, 900, 4)
    wide = np.repeat(np.asarray(p_kw, float)[:, None], 4, axis=1)
    base = (
        np.full_like(wide, 1e5)
        if base_kw is None
        else np.repeat(np.asarray(base_kw, float)[:, None], 4, axis=1)
    )
    zero = np.zeros(4)
    return Schedule(grid, tuple(groups), wide, base, zero, zero, zero, peak_kw, (), 0.0, NOW_S)


def free_policy(**settings):
    """A policy whose guard does not bind."""
    return Policy(guard=GuardLimits(step_kw=1e9), **settings)


def answers(orders: Orders, status=OutcomeStatus.ACCEPTED, p_kw=None, time_s=NOW_S, chosen=None):
    """The same answer to every order, or to the chosen ones; rows as ``Response.heard`` takes them."""
    at = np.arange(len(orders.index)) if chosen is None else np.flatnonzero(chosen)
    settled = orders.p_kw[at] if p_kw is None else np.asarray(p_kw)
    codes = np.full(len(at), status, dtype=np.uint8)
    when = np.full(len(at), time_s, dtype=np.int64)
    outcomes = Outcomes(orders.ids, orders.index[at], orders.order_id[at], codes, settled, when)
    return orders.index[at].astype(np.int64), outcomes


def decide(
    image, groups, proposals=(), schedule=None, envelopes=(), response=None, policy=None, guarded=None
):
    """One tick with the defaults filled in."""
    response = Response.empty(image.n) if response is None else response
    return step(
        image,
        schedule,
        envelopes,
        proposals,
        rows_of(groups),
        response,
        free_policy() if policy is None else policy,
        guarded=guarded,
    )
