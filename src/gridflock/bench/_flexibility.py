"""Vertices of a flexibility set with every member's schedule, against a greedy in NumPy and HiGHS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import highspy
import numpy as np
from numpy.typing import NDArray

from gridflock.bench._million import NOON_S, Million, million
from gridflock.fleet import Fleet
from gridflock.fleet.flexible import FlexibilitySet, flexibility_set
from gridflock.schema import Family
from gridflock.units import QUARTER_S, Rows, TimeGrid

STEPS = 96
GREEDY_MEMBERS = 2_000
"""So many does the greedy serve; its time grows with them."""
GROUPS = 60
GROUP_SIZE = 6
WITHIN = 1e-9
PER_THOUSAND = 2.0
"""Resources drawn for each store or vehicle that is wanted."""
Float = NDArray[np.float64]


def flexibility(
    members: int = 100_000, prices: int = 20, seed: int = 0
) -> Mapping[str, float | int | bool | str]:
    """Supporting vertices of a group of lossless stores and vehicles over a day of quarter-hours.

    Args:
        members: how many.
        prices: price vectors, each asked once.
        seed: of fleet and prices.

    Returns:
        ``vertex_s`` by the clock on two threads, the median over the price vectors, and the worst;
        ``vertex_cpu_s`` on one; what a greedy in NumPy takes for a member against ours; the largest gap
        to HiGHS on 60 small groups, relative; ``counts``: gaps are below 1e-9 and sums agree.
    """
    rng = np.random.default_rng((seed, 7))
    world, rows = _lossless(members, seed)
    grid = TimeGrid.uniform(NOON_S, QUARTER_S, STEPS)
    whole = flexibility_set(world.image(NOON_S), rows, grid)
    worth = [_price(rng) for _ in range(prices)]
    whole.vertex(worth[0])
    wrong = [] if whole.form == "g-polymatroid" else [f"the set is {whole.form}"]
    clock, cpu = [], []
    with ThreadPoolExecutor(2) as pool:
        for price in worth:
            begun = time.perf_counter()
            answer = whole.vertex(price, pool.map, 2)
            clock.append(time.perf_counter() - begun)
            if abs(price @ answer.p_kw.sum(axis=0, dtype=np.float64) - whole.most(price)) > 1e-3:
                wrong.append("schedules do not add up to the vertex")
    for price in worth[:3]:
        begun = time.process_time()
        whole.vertex(price)
        cpu.append(time.process_time() - begun)
    ratio = _against_greedy(world, rows, grid, worth[0], min(cpu) / len(rows), wrong)
    gap = max(
        _gap(world, rng.choice(rows, GROUP_SIZE, replace=False), grid, _price(rng)) for _ in range(GROUPS)
    )
    if gap > WITHIN:
        wrong.append(f"a vertex is {gap:.1e} from the optimum of the linear program")
    return {
        "members": len(whole.rows),
        "steps": STEPS,
        "prices": prices,
        "vertex_s": round(float(np.median(clock)), 3),
        "worst_vertex_s": round(max(clock), 3),
        "vertex_cpu_s": round(min(cpu), 3),
        "ratio_vs_greedy": round(ratio, 1),
        "groups_vs_highs": GROUPS,
        "max_gap_vs_highs": float(f"{gap:.2e}"),
        "counts": not wrong,
        "why_not": "; ".join(wrong),
    }


def _price(rng: np.random.Generator) -> Float:
    """A day's prices: a slow wave with noise, sometimes below zero."""
    wave = np.sin(2 * np.pi * (np.arange(STEPS) / STEPS + rng.random()))
    price: Float = 0.12 + 0.1 * wave + rng.normal(0.0, 0.05, STEPS)
    return price


def _lossless(members: int, seed: int) -> tuple[Fleet, Rows]:
    """A fleet whose stores and vehicles lose nothing, and so many of them."""
    world = million(int(PER_THOUSAND * members) + 1_000, seed)
    while (found := _storing(world)).size < members:
        world = million(2 * world.n, seed)
    columns = dict(world.registry.columns)
    for name in ("eff_charge", "eff_discharge"):
        columns[name] = np.ones_like(columns[name])
    registry = replace(world.registry, columns=MappingProxyType(columns))
    fleet = replace(world, registry=registry).fleet()
    rng = np.random.default_rng((seed, 8))
    return fleet, np.sort(rng.choice(found, members, replace=False)).astype(np.int32)


def _storing(world: Million) -> Rows:
    stores = np.isin(world.registry.family, (Family.STORAGE, Family.VEHICLE))
    return np.flatnonzero(stores & (world.telemetry["ready"] > 0)).astype(np.int32)


def _against_greedy(
    fleet: Fleet, rows: Rows, grid: TimeGrid, price: Float, ours_s: float, wrong: list[str]
) -> float:
    """How many times longer a member takes by the greedy."""
    part = flexibility_set(fleet.image(NOON_S), rows[:: max(len(rows) // GREEDY_MEMBERS, 1)], grid)
    begun = time.process_time()
    schedule = _greedy(part, price)
    theirs_s = (time.process_time() - begun) / len(part.rows)
    best = part.most(price)
    if abs(float(price @ schedule.sum(axis=0)) - best) > WITHIN * max(
        1.0, float(np.abs(price).sum() * np.abs(schedule).sum())
    ):
        wrong.append("the greedy finds another vertex")
    return theirs_s / ours_s


def _greedy(whole: FlexibilitySet, price: Float) -> Float:
    """The greedy of g-polymatroids: dearest steps first as high, cheapest below zero as low as can be.

    After each step the contents that all other steps can still reach are worked out anew.
    """
    chains = whole.members.chains
    hours, low, high = chains.hours, chains.p_lo_kw.copy(), chains.p_hi_kw.copy()
    order = np.argsort(-np.abs(price), kind="stable")
    for t in order.tolist():
        floor, ceiling = _reach(chains.e_lo_kwh, chains.e_hi_kwh, low, high, hours)
        wanted = ceiling[:, t] - floor[:, t + 1] if price[t] > 0 else floor[:, t] - ceiling[:, t + 1]
        # Rounding may let the contents cross; the power bounds do not.
        fixed = np.clip(wanted / hours[t], low[:, t], high[:, t])
        low[:, t] = high[:, t] = fixed
    return low


def _reach(e_lo: Float, e_hi: Float, low: Float, high: Float, hours: Float) -> tuple[Float, Float]:
    """(m, T+1) contents that are reached and lead on."""
    floor, ceiling = e_lo.copy(), e_hi.copy()
    for t in range(len(hours)):
        floor[:, t + 1] = np.maximum(floor[:, t + 1], floor[:, t] - hours[t] * high[:, t])
        ceiling[:, t + 1] = np.minimum(ceiling[:, t + 1], ceiling[:, t] - hours[t] * low[:, t])
    for t in range(len(hours) - 1, -1, -1):
        floor[:, t] = np.maximum(floor[:, t], floor[:, t + 1] + hours[t] * low[:, t])
        ceiling[:, t] = np.minimum(ceiling[:, t], ceiling[:, t + 1] + hours[t] * high[:, t])
    return floor, ceiling


def _gap(fleet: Fleet, rows: Rows, grid: TimeGrid, price: Float) -> float:
    """Relative distance of a small group's vertex to the optimum of its linear program by HiGHS."""
    part = flexibility_set(fleet.image(NOON_S), rows, grid)
    chains = part.members.chains
    best = 0.0
    for k in range(len(chains.rows)):
        solver = highspy.Highs()
        solver.silent()
        power = [
            solver.addVariable(lb=lo, ub=hi, obj=-worth)
            for lo, hi, worth in zip(chains.p_lo_kw[k], chains.p_hi_kw[k], price, strict=True)
        ]
        content = [
            solver.addVariable(lb=lo, ub=hi)
            for lo, hi in zip(chains.e_lo_kwh[k], chains.e_hi_kwh[k], strict=True)
        ]
        for t, hours in enumerate(chains.hours.tolist()):
            solver.addConstr(content[t + 1] - content[t] + hours * power[t] == 0.0)
        solver.run()
        best -= float(solver.getObjectiveValue())
    return abs(part.most(price) - best) / max(1.0, abs(best))
