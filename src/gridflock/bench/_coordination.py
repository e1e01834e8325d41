"""A million devices under feeder and system limits: one plan, its proof, and the next horizon's."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridflock.bench._coordination_bound import independent_bound
from gridflock.bench._coordination_monolith import monolith
from gridflock.bench._coordination_world import World, rolled, world
from gridflock.plan.coordination import Carried, Plan, Status, coordinate
from gridflock.plan.coordination._recover import HOLDS, Recovered

PARTS = 2
"""Threads that answer prices."""
LIMIT_S = 300.0
"""After which a plan is taken as it is."""
TARGET, TARGET_SMALL, LOOSE = 0.005, 0.001, 0.1
A_DAY = 96
"""Steps of a quarter of an hour."""
SMALL = 5_000
"""Up to so many devices, all batteries, the whole is also given to HiGHS as one program."""
AGREES = 1e-6
"""Largest difference of the two bounds, as a part of the cost."""
RUNS = 2
"""Timed runs of ours, and of the one program by its quickest method; the least of each counts."""


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    plan: Plan
    recovered: Recovered
    clock_s: float
    cpu_s: float
    recover_s: float


def coordination(ders: int, feeders: int, steps: int, fleet: str, seed: int) -> dict[str, Any]:
    """Plan a synthetic fleet cold, check it device by device, roll it on by a step and plan it warm.

    Args:
        ders: devices.
        feeders: import limits, and one more on their sum.
        steps: of a quarter of an hour.
        fleet: ``normal``, ``tight``, ``volatile`` or ``batteries``.
        seed: of the fleet.

    Returns:
        ``gap`` of net cost, in money and of gross turnover; ``gap_rechecked`` against a bound worked out
        without our oracles; ``gap_recovered`` of what every device's schedule comes to; seconds cold and
        warm, by the clock and of the processors; ``violations``: cells in which the recovered schedules
        break a limit by more than 1e-5 of it, the plan's own slack counted; ``slack_kwh`` beside
        ``slack_allowed_kwh``, the same part of what the limits let through; for small fleets of batteries
        ``ratio_vs_monolith``, to every device's schedule on both sides.
    """
    with ThreadPoolExecutor(PARTS) as pool:
        warm_up = world(40 * feeders, feeders, steps, fleet, seed, pool.map, PARTS)
        _warmed_up(warm_up, seed)
        begun = time.perf_counter()
        here = world(ders, feeders, steps, fleet, seed, pool.map, PARTS)
        made_s = time.perf_counter() - begun
        small = fleet == "batteries" and ders <= SMALL
        target = TARGET_SMALL if small else TARGET
        cold = _planned(here, target, None)
        found = _figures(here, cold, independent_bound(here, cold.plan))
        found |= {"made_s": round(made_s, 2), "recover_s": round(cold.recover_s, 2)}
        after = rolled(here, cold.recovered, seed)
        begun = time.perf_counter()
        warm = Carried.of(cold.plan, cold.recovered, steps=1, day=A_DAY)
        carried_s = time.perf_counter() - begun
        if not small:
            del cold, here
        found |= _warm_figures(after, _planned(after, target, warm), carried_s)
        if small:
            found |= _against_monolith(here, cold)
    found["rss_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
    wrong = _wrong(found, target)
    return {**found, "counts": not wrong, "why_not": "; ".join(wrong)}


def _warmed_up(of: World, seed: int) -> None:
    """Compile everything the measured run needs."""
    cold = _planned(of, LOOSE, None)
    after = rolled(of, cold.recovered, seed)
    _planned(after, LOOSE, Carried.of(cold.plan, cold.recovered, steps=1, day=A_DAY))


def _planned(of: World, target: float, warm: Carried | None) -> _Run:
    """The clock stops with the plan's proof; every device's schedule takes ``recover_s`` more."""
    begun, cpu = time.perf_counter(), time.process_time()
    clock = [0.0, 0.0]

    def progress(_: Status) -> None:
        clock[:] = [time.perf_counter() - begun, time.process_time() - cpu]

    def go_on() -> bool:
        return time.perf_counter() - begun < LIMIT_S

    done = coordinate(of.problem, of.oracles, target=target, warm=warm, go_on=go_on, progress=progress)
    if done.plan is None or done.recovered is None:
        raise ValueError(f"bench: {done.rejected}")
    recover_s = time.perf_counter() - begun - clock[0]
    return _Run(done.plan, done.recovered, clock[0], clock[1], recover_s)


def _figures(of: World, run: _Run, independent: float) -> dict[str, Any]:
    status, got = run.plan.status, run.recovered
    turnover = status.gap / status.gap_of_turnover if status.gap_of_turnover else 0.0
    apart = float(np.abs(got.sums_kw - run.plan.p_kw).max() / np.abs(run.plan.p_kw).max())
    return {
        "ders": sum(oracle.members for oracle in of.oracles),
        "limits": len(of.problem.limits.names),
        "steps": len(of.problem.hours),
        "broken_unmanaged": round(of.broken, 4),
        "worst_unmanaged": round(of.worst, 2),
        "gap": float(f"{status.gap_of_cost:.3g}"),
        "gap_money": round(status.gap, 2),
        "gap_of_turnover": float(f"{status.gap_of_turnover:.3g}"),
        "cost_money": round(status.cost, 2),
        "turnover_money": round(turnover, 2),
        "gap_rechecked": float(f"{(status.cost - independent) / abs(status.cost):.3g}"),
        "bounds_apart": float(f"{abs(status.bound - independent) / abs(status.cost):.2e}"),
        "answers": status.answers,
        "price_vectors": len(run.plan.questions),
        "cold_s": round(run.clock_s, 2),
        "cold_cpu_s": round(run.cpu_s, 2),
        "slack_kwh": float(f"{status.slack_kwh:.3g}"),
        "slack_allowed_kwh": float(f"{_allowed_kwh(of):.3g}"),
        "violations": _violations(of, got),
        "corrected_stores": got.corrected,
        "worst_correction": float(f"{got.worst_correction:.3g}"),
        "resplit_kwh": round(got.resplit_kwh, 3),
        "correction_money": round(got.cost - status.cost, 4),
        "recovered_cost": round(got.cost, 2),
        "gap_recovered": _gap_recovered(run),
        "sums_apart": float(f"{apart:.2e}"),
        "breaches": status.breaches,
    }


def _violations(of: World, got: Recovered) -> int:
    """Cells in which every device's schedule together breaks a limit, whatever the plan itself let go."""
    rows = of.problem.rows
    return int((got.short_kw > HOLDS * rows.scale_kw)[~(rows.peak | rows.change)].sum())


def _allowed_kwh(of: World) -> float:
    """Slack that is rounding: the part of what the limits let through in which they are taken to hold."""
    rows = of.problem.rows
    return HOLDS * float((rows.scale_kw @ of.problem.hours)[~(rows.peak | rows.change)].sum())


def _gap_recovered(run: _Run) -> float:
    """The gap of what the devices' schedules come to, as a part of it."""
    cost = run.recovered.cost
    return float(f"{(cost - run.plan.status.bound) / abs(cost):.3g}")


def _warm_figures(of: World, run: _Run, carried_s: float) -> dict[str, Any]:
    status = run.plan.status
    independent = independent_bound(of, run.plan)
    return {
        "warm_gap": float(f"{status.gap_of_cost:.3g}"),
        "warm_gap_rechecked": float(f"{(status.cost - independent) / abs(status.cost):.3g}"),
        "warm_answers": status.answers,
        "warm_price_vectors": len(run.plan.questions),
        "warm_kept": float(f"{run.plan.kept.mean():.3g}"),
        "warm_s": round(run.clock_s + carried_s, 2),
        "warm_cpu_s": round(run.cpu_s, 2),
        "warm_recover_s": round(run.recover_s, 2),
        "warm_slack_kwh": float(f"{status.slack_kwh:.3g}"),
        "warm_slack_allowed_kwh": float(f"{_allowed_kwh(of):.3g}"),
        "warm_violations": _violations(of, run.recovered),
        "warm_recovered_cost": round(run.recovered.cost, 2),
        "warm_gap_recovered": _gap_recovered(run),
    }


def _against_monolith(of: World, run: _Run) -> dict[str, Any]:
    """The same model as one program, by each of HiGHS's methods; the quickest counts.

    Both sides end with every device's schedule: ours with ``recover``. Neither is charged for making its
    program from the fleet.
    """
    cost, seconds = monolith(of, LIMIT_S)
    fastest = min(seconds, key=lambda name: seconds[name])
    theirs, ours = seconds[fastest], run.clock_s + run.recover_s
    for _ in range(RUNS - 1):
        theirs = min(theirs, monolith(of, LIMIT_S, (fastest,))[1].get(fastest, np.inf))
        again = _planned(of, TARGET_SMALL, None)
        ours = min(ours, again.clock_s + again.recover_s)
    return {
        "runs_each": RUNS,
        "monolith_cost_money": round(cost, 4),
        "monolith_method": fastest,
        "monolith_s": {name: round(value, 2) for name, value in seconds.items()},
        "monolith_least_s": round(theirs, 2),
        "ours_least_s": round(ours, 3),
        "ratio_vs_monolith": round(theirs / ours, 1),
        "over_optimum": float(f"{(run.plan.status.cost - cost) / abs(cost):.3g}"),
        "bound_under_optimum": float(f"{(cost - run.plan.status.bound) / abs(cost):.3g}"),
    }


def _wrong(found: dict[str, Any], target: float) -> list[str]:
    plans = ("gap", "gap_rechecked", "gap_recovered")
    gaps = (*plans, *(f"warm_{name}" for name in plans))
    wrong = [
        f"{name} {found[name]} (rule: at most {target})" for name in gaps if not found[name] <= target * 1.001
    ]
    none = ("violations", "warm_violations", "breaches")
    wrong += [f"{name}: {found[name]}" for name in none if found[name]]
    for when in ("", "warm_"):
        slack, allowed = found[f"{when}slack_kwh"], found[f"{when}slack_allowed_kwh"]
        if not slack <= allowed:
            wrong.append(
                f"{when}slack_kwh {slack} (rule: at most {allowed}, 1e-5 of what the limits let through)"
            )
    if found["bounds_apart"] > AGREES:
        wrong.append(f"the two bounds differ by {found['bounds_apart']:.1e} of the cost")
    if found.get("over_optimum", 0.0) < -AGREES or found.get("bound_under_optimum", 0.0) < -AGREES:
        wrong.append("the optimum of the one program is not between bound and cost")
    return wrong
