"""A day's schedule of a site's stores beside modelling languages: the same model, in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits

from gridflock.bench._schedule_world import Answer, Site, chains, checked, site
from gridflock.plan.direct import optimum

SIZES = (10, 50)
REPEATS, TRIES = 4, 3
"""Turns, and timed calls of each side in every turn: the first among other programs' is seldom the best."""
AGREES = 1e-6
"""Largest difference of objectives, as a part of the cost; and largest breach of a bound."""
Solver = Callable[[Site], Answer]


def schedule(seed: int) -> dict[str, Any]:
    """Stores with wear, exclusion of charge and discharge, an import limit and a peak, over 96 quarter-hours.

    Times are of the processor, one thread each, from the site's numbers to the schedule: the model's making
    and its solution. All are warm; answers are compared first; then all take turns, as many timed calls each,
    and the least of each counts. Of pyomo's ways to HiGHS and of cvxpy's solvers the one that was quickest
    warming up takes part.

    Args:
        seed: of the sites.

    Returns:
        Per size, its number at each name's end: milliseconds of ours, of pyomo with HiGHS, of cvxpy with
        Clarabel and, where another solver is quicker there, with that; ratios; relative differences of
        the objectives and of ours to its own bound; the largest breach of a bound by our schedule; versions.

    Raises:
        ImportError: a rival is not installed.
    """
    from gridflock.bench import _schedule_rivals as rivals  # noqa: PLC0415 - development dependencies

    with threadpool_limits(1):
        found: dict[str, Any] = {"steps": 96, "tries_each": REPEATS * TRIES}
        for size in SIZES:
            place = site(size, seed)
            figures = _measured(place, rivals.PYOMO, rivals.CVXPY)
            found |= {f"{name}_{size}": value for name, value in figures.items()}
    wrong = _wrong(found)
    return {**found, **rivals.VERSIONS, "counts": not wrong, "why_not": "; ".join(wrong)}


def _ours(of: Site) -> Answer:
    found = optimum(chains(of))
    return Answer(found.down, found.up, found.cost)


def _measured(of: Site, pyomo: dict[str, Solver], cvxpy: dict[str, Solver]) -> dict[str, Any]:
    optimum(chains(of))
    proof = optimum(chains(of))
    cost, breach = checked(of, _ours(of))
    pyomo_way, pyomo_apart = _warm(of, pyomo, cost)
    cvxpy_way, cvxpy_apart = _warm(of, cvxpy, cost)
    turns: dict[str, Solver] = {"pyomo": pyomo[pyomo_way], "clarabel": cvxpy["Clarabel"]}
    turns["cvxpy"] = cvxpy[cvxpy_way]
    spent = _race(of, turns)
    ours = spent["ours"]
    return {
        "ms": round(1e3 * ours, 2),
        "pyomo_highs_ms": round(1e3 * spent["pyomo"], 1),
        "cvxpy_clarabel_ms": round(1e3 * spent["clarabel"], 1),
        "ratio_vs_pyomo_highs": round(spent["pyomo"] / ours, 1),
        "ratio_vs_cvxpy_clarabel": round(spent["clarabel"] / ours, 1),
        "pyomo_way": pyomo_way,
        "cvxpy_quickest": cvxpy_way,
        "ratio_vs_cvxpy_quickest": round(min(spent["clarabel"], spent["cvxpy"]) / ours, 1),
        "cost": round(cost, 6),
        "pyomo_apart": float(f"{pyomo_apart:.1e}"),
        "cvxpy_apart": float(f"{cvxpy_apart:.1e}"),
        "stated_apart": float(f"{abs(proof.cost - cost) / abs(cost):.1e}"),
        "gap": float(f"{(proof.cost - proof.bound) / abs(cost):.1e}"),
        "breach": float(f"{breach:.1e}"),
        "proven": proof.proven,
        "rounds": proof.rounds,
    }


def _warm(of: Site, ways: dict[str, Solver], cost: float) -> tuple[str, float]:
    """Name of the quickest way, and the largest relative difference of any one's objective to ``cost``."""
    spent, apart = {}, 0.0
    for name, solve in ways.items():
        solve(of)
        begun = time.process_time()
        answer = solve(of)
        spent[name] = time.process_time() - begun
        apart = max(apart, abs(answer.cost - cost) / abs(cost))
    return min(spent, key=lambda name: spent[name]), apart


def _race(of: Site, rivals: dict[str, Solver]) -> dict[str, float]:
    """Least processor seconds of each, all in turn, so that none has the machine's quiet hours to itself."""
    spent: dict[str, list[float]] = {name: [] for name in ("ours", *rivals)}
    for _ in range(REPEATS):
        for name, solve in (("ours", _ours), *rivals.items()):
            for _ in range(TRIES):
                begun = time.process_time()
                solve(of)
                spent[name].append(time.process_time() - begun)
    return {name: min(taken) for name, taken in spent.items()}


def _wrong(found: dict[str, Any]) -> list[str]:
    """Why the times do not count; what is NaN is within no limit."""
    rules = ("pyomo_apart", "cvxpy_apart", "stated_apart", "gap", "breach")
    wrong = [
        f"{name} {value} (rule: at most {AGREES:g})"
        for name, value in found.items()
        if name.rpartition("_")[0] in rules and not value <= AGREES
    ]
    unproven = [name for name, value in found.items() if name.startswith("proven_") and not value]
    return wrong + [f"{name}: no (rule: the optimum is proven)" for name in unproven]
