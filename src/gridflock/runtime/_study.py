"""The study: one day lived twice with the same draws, left to itself and managed, and compared.

All figures come from the world's own books and not from what the system believes. "Unmanaged" is
each device's own default behaviour. Energy left in stores and owed to vehicles at midnight is
priced, so that putting off is no gain.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gridflock.field import opendss
from gridflock.market import Bill, DayAccount, Worth, bill, prices, tariffs, worth
from gridflock.model import Orders, Outcomes, OutcomeStatus, Readings
from gridflock.runtime._loop import Moment
from gridflock.runtime._open import Rehearsal, rehearse
from gridflock.runtime._settings import Settings
from gridflock.schema import CUSTOMER_CLASSES
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import TimeGrid

STEP_S = 60
_QUARTER_S = 900
_ETA = 0.9
"""Stored per drawn energy where a leftover is bought again, as in ``market.DayAccount``."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """One lived day, told by the world's books.

    Attributes:
        figures: plain numbers by name; equal names on both days.
        bills: one per customer class.
        left: what the day left behind, for pricing.
        kinds: per kind: resources, kW installed, kWh drawn and delivered.
        settled: per customer class, the bill plus running costs, with energy owed to vehicles or
            taken out of stores priced at the class's cheapest hour.
        series: per tick, for plots.
        replay: largest difference to OpenDSS over all nodes and steps, pu; None where it is absent.
    """

    figures: Mapping[str, float]
    bills: tuple[Bill, ...]
    left: DayAccount
    kinds: Mapping[str, Mapping[str, float]]
    settled: Mapping[str, float]
    series: Mapping[str, NDArray[np.float64]]
    replay: float | None


@dataclass(slots=True)
class Conduct:
    """How the managed day was run: counted tick by tick.

    Attributes:
        sent: orders sent.
        outcomes: answers by status.
        outside_capability: targets outside what the resource could do.
        unnamed_kw: largest shortfall of a group order that no cause explains.
        short_kwh: group orders' shortfall by cause, kWh.
        held_kwh: energy of moves the guard held back.
        refused_readings: readings that were refused.
        cycle_ms: time of each tick without the world's own.
        head_kw: estimated feeder head per tick.
        planned_kw: planned feeder net per tick; NaN before the first plan.
    """

    sent: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: {s.name.lower(): 0 for s in OutcomeStatus})
    outside_capability: int = 0
    unnamed_kw: float = 0.0
    short_kwh: dict[str, float] = field(default_factory=dict)
    held_kwh: float = 0.0
    refused_readings: int = 0
    cycle_ms: list[float] = field(default_factory=list)
    head_kw: list[float] = field(default_factory=list)
    planned_kw: list[float] = field(default_factory=list)

    def count(self, moment: Moment, step_s: int) -> None:
        """Take one tick in."""
        self.head_kw.append(moment.head_kw)
        self.refused_readings += sum(r.count for r in moment.rejected)
        for status, n in zip(*np.unique(moment.outcomes.status, return_counts=True), strict=True):
            self.outcomes[OutcomeStatus(int(status)).name.lower()] += int(n)
        schedule, decision = moment.schedule, moment.decision
        k = -1 if schedule is None else schedule.grid.step_at(moment.now_s)
        self.planned_kw.append(np.nan if schedule is None or k < 0 else float(schedule.net_kw[k]))
        if decision is None:
            return
        hours = step_s / 3600
        self.sent += len(decision.orders.index)
        self.held_kwh += abs(decision.passed.held_kw) * hours
        p_kw, can = decision.targets.p_kw, decision.capability
        asked = np.isfinite(p_kw)
        slack = 1e-3 + 1e-3 * np.abs(p_kw[asked])
        outside = (p_kw[asked] < can.p_lo_kw[asked] - slack) | (p_kw[asked] > can.p_hi_kw[asked] + slack)
        self.outside_capability += int(outside.sum())
        for grant in decision.grants:
            named = sum(grant.causes.values())
            self.unnamed_kw = max(self.unnamed_kw, abs(grant.shortfall_kw - named))
            for cause, kw in grant.causes.items():
                self.short_kwh[cause] = self.short_kwh.get(cause, 0.0) + abs(kw) * hours


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Both days and the difference.

    Attributes:
        scenario: the world.
        unmanaged: the day left to itself.
        managed: the day under orders.
        conduct: how it was run.
        worth: what it was worth, money.
        payments: what the programmes pay to each customer class for running costs that orders
            caused; already taken off the managed day's settled bills.
        seconds: wall time of each part.
    """

    scenario: Scenario
    unmanaged: Account
    managed: Account
    conduct: Conduct
    worth: Worth
    payments: Mapping[str, float]
    seconds: Mapping[str, float]


@dataclass(slots=True)
class _Timed(Rehearsal):
    """The world behind the port, with its own time taken."""

    spent_s: float = 0.0

    def read(self, now_s: int) -> Readings:
        begun = time.perf_counter()
        readings = Rehearsal.read(self, now_s)
        self.spent_s += time.perf_counter() - begun
        return readings

    def send(self, orders: Orders) -> None:
        begun = time.perf_counter()
        Rehearsal.send(self, orders)
        self.spent_s += time.perf_counter() - begun

    def outcomes(self, now_s: int) -> Outcomes:
        begun = time.perf_counter()
        answers = Rehearsal.outcomes(self, now_s)
        self.spent_s += time.perf_counter() - begun
        return answers


def simulate(scenario: Scenario, folder: Path, progress: Progress, weeks: int = 1) -> Study:
    """Live the day twice and compare.

    Args:
        scenario: the world; its trace is kept for the replay.
        folder: ledger and history of the managed day; must not hold a life yet.
        progress: called with a name and a share 0..1.
        weeks: of meter data before the day that the managed day knows.
    """
    begun = time.perf_counter()
    scenario = dataclasses.replace(scenario, trace=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        alone = pool.submit(_live_alone, scenario)
        account, conduct = _live_managed(scenario, folder, progress, weeks)
        managed_s = time.perf_counter() - begun
        progress("unmanaged day", 0.5)
        unmanaged = alone.result()
    edges = account.series["t_s"]
    start_s, end_s = int(edges[0]) - STEP_S, int(edges[-1])
    grid = TimeGrid.uniform(start_s, _QUARTER_S, (end_s - start_s) // _QUARTER_S)
    table = tariffs(str(feeder_document(scenario.feeder)["timezone"]))
    gain = worth(unmanaged.left, account.left, table, grid)
    payments = _payments(unmanaged, account)
    settled = {customer: value - payments[customer] for customer, value in account.settled.items()}
    account = dataclasses.replace(account, settled=settled)
    seconds = {"managed_s": managed_s, "total_s": time.perf_counter() - begun}
    progress("done", 1.0)
    return Study(scenario, unmanaged, account, conduct, gain, payments, seconds)


def _live_alone(scenario: Scenario) -> Account:
    """The day without anybody asking anything."""
    threadpool_limits(1)
    world = World(scenario)
    for now_s in range(world.start_s + STEP_S, world.end_s + 1, STEP_S):
        world.advance(now_s)
    return _account(world)


def _live_managed(
    scenario: Scenario, folder: Path, progress: Progress, weeks: int
) -> tuple[Account, Conduct]:
    """The day under orders, every tick recorded."""
    settings = Settings(tick_s=STEP_S)
    derms, world = rehearse(folder, scenario, settings, wrap=_Timed, weeks=weeks)
    timed = derms.field
    assert isinstance(timed, _Timed)
    conduct = Conduct()
    try:
        for now_s in range(world.start_s, world.end_s + 1, STEP_S):
            derms.clock.sleep_until(now_s)
            begun, before = time.perf_counter(), timed.spent_s
            moment = derms.tick()
            conduct.cycle_ms.append((time.perf_counter() - begun - timed.spent_s + before) * 1e3)
            conduct.count(moment, STEP_S)
            progress("managed day", (now_s - world.start_s) / (world.end_s - world.start_s))
    finally:
        derms.close()
    return _account(world), conduct


def _account(world: World) -> Account:
    """The day from the world's books."""
    summary = world.tally.summary()
    figures = {
        "peak_kw": summary["peak_import_15min_kw"],
        "peak_minute_kw": summary["peak_import_kw"],
        "losses_kwh": summary["losses_kwh"],
        "import_kwh": summary["import_kwh"],
        "export_kwh": summary["export_kwh"],
        "voltage_violation_node_hours": summary["low_voltage_node_hours"]
        + summary["high_voltage_node_hours"],
        "low_voltage_node_hours": summary["low_voltage_node_hours"],
        "high_voltage_node_hours": summary["high_voltage_node_hours"],
        "v_min_pu": summary["v_min_pu"],
        "v_max_pu": summary["v_max_pu"],
        "overload_branch_hours": summary["overload_branch_hours"],
        "worst_loading": summary["worst_loading"],
        "largest_reverse_kw": summary["largest_reverse_kw"],
        "curtailed_kwh": summary["pv_available_kwh"] + summary["wind_available_kwh"]
        - summary["pv_kwh"] - summary["wind_kwh"],
        "pv_curtailed_share": 1.0 - summary["pv_kwh"] / max(summary["pv_available_kwh"], 1e-9),
        "ev_shortfall_kwh": summary["ev_unmet_kwh"] - summary["ev_unmeetable_kwh"],
        "ev_unmeetable_kwh": summary["ev_unmeetable_kwh"],
        "ev_charged_kwh": summary["ev_charged_kwh"],
        "ev_discharged_kwh": summary["ev_discharged_kwh"],
        "ev_owed_kwh": summary["ev_owed_kwh"],
        "ev_departures": summary["ev_departures"],
        "storage_end_kwh": summary["storage_stored_end_kwh"],
        "comfort_lost_minutes": summary["comfort_lost_minutes"],
        "occupied_minutes": summary["occupied_minutes"],
        "comfort_lost_share": summary["comfort_lost_minutes"] / max(summary["occupied_minutes"], 1e-9),
        "device_limit_breaches": summary["breaches"],
        "unsolved_ticks": summary["unsolved_ticks"],
    }  # fmt: skip
    bills, customers = _bills(world), world.tally.by_customer()
    left = DayAccount(
        bills=bills,
        running={name: row["running"] for name, row in customers.items()},
        stored_kwh={name: row["stored"] for name, row in customers.items()},
        owed_kwh={name: row["owed"] for name, row in customers.items()},
        missed_kwh={name: row["missed"] for name, row in customers.items()},
        eff_charge=dict.fromkeys(customers, _ETA),
    )
    settled = _settled(world, bills, customers)
    tally = world.tally
    return Account(figures, bills, left, tally.by_kind(), settled, tally.series(), _replay(world))


def _settled(
    world: World, bills: Sequence[Bill], customers: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Bills with all that the day left over or cost to run, so that nothing is gained by putting it off."""
    table = tariffs(world.network.timezone)
    grid = TimeGrid.uniform(world.start_s, _QUARTER_S, (world.end_s - world.start_s) // _QUARTER_S)
    found = {}
    for entry in bills:
        price, row = prices(table[entry.customer], grid)[0], customers[entry.customer]
        lowest, highest = float(price.min()), float(price.max())
        stored = row["stored"] * (lowest if row["stored"] > 0 else lowest / _ETA)
        later = row["owed"] * lowest / _ETA + row["missed"] * highest / _ETA
        found[entry.customer] = entry.total + row["running"] + later - stored
    return found


def _payments(unmanaged: Account, managed: Account) -> dict[str, float]:
    """What the programmes pay back, per customer class: fuel, wear and pauses that orders caused."""
    before, after = unmanaged.left.running, managed.left.running
    return {customer: max(0.0, after[customer] - before[customer]) for customer in after}


def _bills(world: World) -> tuple[Bill, ...]:
    """One bill per customer class, netted at its sites (bus and class)."""
    tally, table = world.tally, tariffs(world.network.timezone)
    net_kw = (tally.site_export_kwh - tally.site_import_kwh).T * (3600 / _QUARTER_S)
    grid = TimeGrid.uniform(world.start_s, _QUARTER_S, net_kw.shape[1])
    customer = np.array([name.rsplit(":", 1)[1] for name in tally.sites])
    return tuple(
        bill(table[name], grid, net_kw[customer == name])
        for name in CUSTOMER_CLASSES
        if (customer == name).any()
    )


def _replay(world: World) -> float | None:
    """Every step of the true day solved again by OpenDSS; the largest voltage difference, pu."""
    if not opendss.available():
        return None
    columns = (
        np.stack([getattr(tick, name) for tick in world.trace])
        for name in ("load_kva", "inject_kva", "taps", "cap_on")
    )
    v = opendss.Referee(world.network).solve_series(*columns)
    ours = np.stack([tick.v for tick in world.trace])
    return float(np.max(np.abs(np.abs(v) - np.abs(ours)) / world.network.v_base))
