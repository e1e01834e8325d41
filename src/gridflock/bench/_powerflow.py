"""The batched power flow against OpenDSS: the same feeder, the same scenarios, the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gridflock.bench._case import (
    REPEATS,
    SHAPES,
    STEPS_PER_DAY,
    TOLERANCE_PU,
    YEAR_STEPS,
    Case,
    Spent,
    daily_shapes,
    least,
    shortest,
    spend,
    year,
)
from gridflock.bench._processors import on_processors
from gridflock.field import opendss
from gridflock.grid import Network, initial, settle, solve
from gridflock.grid.build import assemble, from_document
from gridflock.sim import feeder_document
from gridflock.units import Pu

__all__ = ["SHAPES", "STEPS_PER_DAY", "WIDE_PU", "YEAR_STEPS", "daily_shapes", "powerflow"]

WIDE_PU = (0.85, 1.15)
"""Limits on both sides for feeders whose loads jump at their own."""
COUNTS_PU = 2e-5
"""A speed at a larger error of any lane does not count."""
TRUTH_AGREES_PU = 1e-6
USUAL_PU = 1e-4
"""OpenDSS's own tolerance, which most of its users leave."""
TOLERANCES = (TOLERANCE_PU, USUAL_PU)
TRIES = 3
"""First answers of ours per turn: as a whole each, where OpenDSS has the best of every piece."""
PIECE = 12
"""Steps of one call to OpenDSS: long beside the call itself, short beside the machine's disturbances."""
SAMPLE = 24
"""Scenarios that the reference path and OpenDSS at 1e-9 check the float64 truth on."""
Float = NDArray[np.float64]
Figures = dict[str, float | int | str]


def powerflow(
    source: str,
    root: Path | None = None,
    scenarios: int = 2048,
    level: float = 0.6,
    seed: int = 1,
    *,
    widen: tuple[float, float] | None = None,
    processors: bool = False,
) -> Mapping[str, float | int | str]:
    """Daily steps in order, 50 shared shapes, fixed taps, one thread each, both at 1e-5 pu.

    Both sides are warm: ours is compiled, OpenDSS has solved all steps once, one by one, and converged
    at each. Then they take turns; times are of the processor. OpenDSS solves three hours per call, and of
    each call its best time counts; of ours the best first answer of a new batch as a whole.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read; of no account for a packed feeder.
        scenarios: daily steps.
        level: mean load multiplier.
        seed: of the shapes.
        widen: per-unit voltages between which every load's law is held on both sides; for feeders
            whose loads jump at their limits.
        processors: measure ours compiled for older processors and in plain loops, too.

    Returns:
        Microseconds per flow of both, every node's voltage magnitude written out by ours, and their
        ratio; the same with ours charged for making its batch; whether it counts, and why not; the
        largest voltage error of any lane, and of OpenDSS on a sample, against our float64 solution; that
        solution's distance to OpenDSS at 1e-9 on the sample; OpenDSS at its usual tolerance; by how
        much the clock ran faster than the processor, near 1 on a quiet machine; a year of quarter-hours
        on two threads; and our time with base points made in advance.

    Raises:
        FeederRejected: the file cannot be read.
        NotConverged: the rival does not solve these steps.
        OpenDssMissing: the rival is not installed.
        ProcessorFailed: a processor cannot be tried here.
        UnknownFeeder: no such packed feeder.
    """
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder, threadpool_limits(1):
        path = Path(source)
        if path.suffix.lower() != ".dss":
            network = from_document(feeder_document(source))
            root, path = Path(folder), Path(folder) / f"{source}.dss"
            path.write_text(opendss.script(network, initial(network)), "utf-8")
        steps = daily_shapes(scenarios, level, seed)
        network = assemble(opendss.read_dss(path, root, limits=widen)[0])
        rival = opendss.Daily(path, root, steps, widen)
        case = _case(network, rival, steps, level)
        rival.hold(network, case.state)
        found = _measure(case, rival, seed)
        if processors:
            found |= on_processors(case, Path(folder))
        return found


def _case(network: Network, rival: opendss.Daily, steps: Float, level: float) -> Case:
    """Every port follows what its load follows in OpenDSS; controls stand where mean load settles them."""
    shape = rival.shape_of(network, SHAPES)
    # A load of fixed status follows no shape: it gets one of its own that stays at 1.
    shape[~network.load_scaled] = SHAPES
    base = network.load_kva * np.where(network.load_scaled, level, 1.0)
    _, state = settle(network, base, np.zeros(network.n, dtype=np.complex128), initial(network))
    return Case(network, state, shape, np.vstack([steps, np.ones(steps.shape[1])]), level)


def _measure(case: Case, rival: opendss.Daily, seed: int) -> Figures:
    network, loads = case.network, case.loads
    batch = case.batch()
    flows = batch.solve(loads, tol=TOLERANCE_PU, v_pu=True, room=batch.room(len(loads)))
    assert flows.v_pu is not None
    truth = case.truth()
    sample = np.linspace(0, len(loads) - 1, min(SAMPLE, len(loads))).astype(int).tolist()
    still = np.zeros(network.n, dtype=np.complex128)
    reference = np.array([solve(network, loads.at(k), still, case.state).v_pu for k in sample])
    tight = np.abs(rival.voltages_at(network, sample)) / network.v_base
    found: Figures = {
        "feeder": network.name,
        "nodes": network.n,
        "taps": " ".join(map(str, case.state.taps.tolist())),
        "scenarios": len(loads),
        **_race(case, rival, truth, sample),
        "max_error_pu": _apart(flows.v_pu, truth),
        "truth_vs_reference_pu": _apart(reference, truth[sample]),
        "truth_vs_opendss_pu": _apart(tight, truth[sample]),
        "mean_iterations": round(float(flows.iterations.mean()), 2),
        "lanes_resolved": int(flows.resolved.sum()),
        "lanes_failed": int((~flows.converged).sum()),
        **year(case, seed),
        **_prepared(case, truth),
    }
    why_not = _why_not(found)
    return {**found, "counts": not why_not, "why_not": why_not}


@dataclass(frozen=True, slots=True)
class _Rivals:
    """OpenDSS at one tolerance.

    Attributes:
        seconds: processor time of all steps, the best of a few turns piece by piece.
        iterations: mean.
        error_pu: its largest voltage error on the sample.
    """

    seconds: float
    iterations: float
    error_pu: float


def _race(case: Case, rival: opendss.Daily, truth: Float, sample: list[int]) -> Figures:
    """Both sides in turn, so that neither has the machine's quiet hours to itself.

    Another program on the machine takes from the caches, which lengthens long calls surely and misses
    some short ones: OpenDSS's steps are called by few hours, and of each piece the best time counts.
    """
    pieces = [min(PIECE, rival.steps - first) for first in range(0, rival.steps, PIECE)]
    judged = {tolerance: _judged(case, rival, tolerance, truth, sample) for tolerance in TOLERANCES}
    spent: dict[float, list[Float]] = {tolerance: [] for tolerance in TOLERANCES}
    room = case.batch().room(rival.steps)
    ours = []
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(REPEATS):
        for tolerance, taken in spent.items():
            taken.append(_pieces(rival, tolerance, pieces))
        ours += [spend(case, room) for _ in range(TRIES)]
    busy = (time.perf_counter() - begun) / (time.process_time() - worked)
    theirs = {
        tolerance: _Rivals(float(np.min(spent[tolerance], axis=0).sum()), *judged[tolerance])
        for tolerance in TOLERANCES
    }
    figures = _figures(least(ours), theirs[TOLERANCE_PU], theirs[USUAL_PU], rival.steps)
    return {**figures, "wall_per_cpu": round(busy, 2)}


def _judged(
    case: Case, rival: opendss.Daily, tolerance: float, truth: Float, sample: list[int]
) -> tuple[float, float]:
    """Mean iterations, and largest error on the sample, of OpenDSS's steps one by one."""
    iterations, errors = [], []
    for step in rival.run(tolerance):
        iterations.append(rival.iterations)
        if step in sample:
            v_pu = np.abs(rival.voltages(case.network)) / case.network.v_base
            errors.append(np.abs(v_pu - truth[step]).max())
    return float(np.mean(iterations)), float(np.max(errors))


def _pieces(rival: opendss.Daily, tolerance: float, pieces: list[int]) -> Float:
    """Processor seconds of each piece."""
    spent = np.empty(len(pieces))
    rival.begin(tolerance)
    for piece, steps in enumerate(pieces):
        begun = time.process_time()
        rival.step(steps)
        spent[piece] = time.process_time() - begun
    return spent


def _figures(ours: Spent, theirs: _Rivals, usual: _Rivals, steps: int) -> Figures:
    """Per flow."""
    both = ours.setup_s + ours.solve_s
    return {
        "us_per_flow": round(1e6 * ours.solve_s / steps, 2),
        "opendss_us_per_flow": round(1e6 * theirs.seconds / steps, 2),
        "ratio_vs_opendss": round(theirs.seconds / ours.solve_s, 1),
        "setup_s": round(ours.setup_s, 3),
        "us_per_flow_with_setup": round(1e6 * both / steps, 2),
        "ratio_with_setup": round(theirs.seconds / both, 1),
        "opendss_max_error_pu": float(f"{theirs.error_pu:.2e}"),
        "opendss_mean_iterations": round(theirs.iterations, 2),
        "opendss_usual_us_per_flow": round(1e6 * usual.seconds / steps, 2),
        "opendss_usual_max_error_pu": float(f"{usual.error_pu:.2e}"),
        "ratio_vs_opendss_usual": round(usual.seconds / ours.solve_s, 1),
    }


def _prepared(case: Case, truth: Float) -> Figures:
    """The same with base points made in advance, as who asks again and again would do."""
    batch, loads = case.batch(), case.loads
    begun = time.process_time()
    points = batch.prepare(loads, tol=TOLERANCE_PU)
    prepare_s = time.process_time() - begun
    room = batch.room(len(loads))
    flows = batch.solve(loads, tol=TOLERANCE_PU, v_pu=True, room=room)
    assert flows.v_pu is not None
    error = _apart(flows.v_pu, truth)
    spent = shortest(lambda: batch.solve(loads, tol=TOLERANCE_PU, v_pu=True, room=room))
    return {
        "prepare_s": round(prepare_s, 3),
        "base_points_prepared": points,
        "us_per_flow_prepared": round(1e6 * spent / len(loads), 2),
        "max_error_prepared_pu": error,
    }


def _apart(found: Pu | Float, truth: Float) -> float:
    """Largest difference, three digits; NaN where one is missing."""
    return float(f"{np.abs(found - truth).max():.2e}")


def _why_not(found: Mapping[str, float | int | str]) -> str:
    """Why a speed does not count; empty where it does. What is NaN is within no limit."""
    limits = {
        "max_error_pu": COUNTS_PU,
        "max_error_prepared_pu": COUNTS_PU,
        "year_error_pu": COUNTS_PU,
        "truth_vs_reference_pu": TRUTH_AGREES_PU,
        "truth_vs_opendss_pu": TRUTH_AGREES_PU,
        "lanes_failed": 0,
        "year_lanes_failed": 0,
    }
    return "; ".join(
        f"{name} {found[name]} (rule: at most {limit:g})"
        for name, limit in limits.items()
        if not float(found[name]) <= limit
    )
