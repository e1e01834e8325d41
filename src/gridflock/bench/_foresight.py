"""What learning is worth to a running system: the same simulated day planned by it, and by habits alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import forecast
from gridflock.model import Forecast, History
from gridflock.runtime import Settings, rehearse
from gridflock.runtime._study import _bills, _settled
from gridflock.runtime._subjects import OUTSIDE, subject_of
from gridflock.sim import Scenario, World
from gridflock.units import HOUR_S, TimeGrid

Floats = NDArray[np.float64]
Progress = Callable[[float], None]

_NEAR_S = HOUR_S
_FAR_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """One plan's forecast and what habits would have said beside it."""

    planned: Forecast
    habits: Forecast


@dataclass(frozen=True, slots=True, eq=False)
class _Day:
    """One day lived: what plans were made from, what came, and the world's books."""

    said: list[_Said]
    truth: History
    figures: Mapping[str, float]
    cpu_s: float
    longest_tick_cpu_s: float


def foresight(
    ders: int = 200,
    seed: int = 1,
    weeks: int = 8,
    tick_s: int = 300,
    hours: int = 24,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Live a day twice from the same draws: plans by what is learnt, and by habits alone.

    Before the day the system has weeks of meter data; the world's own service forecasts its weather. Each
    plan of the learning day is held against what came, over the steps that were over at the day's end, and so
    is what habits would have said at that moment of the same past: ratios of CRPS compare forecasts of one
    truth. The other day is lived by habits from the first tick on: what plans made of it is told by the
    world's books.

    Args:
        ders: how many resources on IEEE 123.
        seed: of the world.
        weeks: of meter data before the day.
        tick_s: fast tempo.
        hours: how much of the day is lived.
        progress: told the share that is done.

    Returns:
        ``crps_ratio`` of learned to habits by what is forecast (``all_groups``: plan groups together), the
        same over the first hour of each plan (``crps_ratio_near``), and both days' books. A ratio is missing
        where habits missed nothing. ``longest_tick_cpu_s`` is that of the tick that waits for what is learnt.
    """
    told = progress or (lambda _: None)
    scenario = Scenario(ders=ders, seed=seed)
    learned = _lived(scenario, Settings(tick_s=tick_s), weeks, hours, lambda share: told(share / 2))
    habits = _lived(
        scenario, Settings(tick_s=tick_s, learn_days=0), weeks, hours, lambda share: told((1 + share) / 2)
    )
    return {
        "crps_ratio": _ratios(learned, _FAR_S),
        "crps_ratio_near": _ratios(learned, _NEAR_S),
        "learned": learned.figures,
        "habits": habits.figures,
        "bills_ratio": round(learned.figures["bills"] / habits.figures["bills"], 4),
        "plans": len(learned.said),
        "ders": ders,
        "seed": seed,
        "weeks": weeks,
        "tick_s": tick_s,
        "hours": hours,
        "longest_tick_cpu_s": round(learned.longest_tick_cpu_s, 1),
        "cpu_s": round(learned.cpu_s + habits.cpu_s, 1),
    }


def _lived(scenario: Scenario, settings: Settings, weeks: int, hours: int, told: Progress) -> _Day:
    """One day under orders."""
    begun, longest, said = time.process_time(), 0.0, list[_Said]()
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        derms, world = rehearse(Path(folder) / "day", scenario, settings, weeks=weeks)
        loop = derms._loop  # noqa: SLF001 - a study of its parts
        try:
            end_s = world.start_s + hours * HOUR_S
            for now_s in range(world.start_s, end_s + 1, settings.tick_s):
                derms.clock.sleep_until(now_s)
                before = time.process_time()
                moment = derms.tick()
                longest = max(longest, time.process_time() - before)
                seen = moment.forecast
                if seen is not None and seen.known_at_s == moment.now_s and settings.learn_days:
                    past, site = loop.past, loop.system.site
                    beside = forecast(past.history(), seen.grid, site, past.solar, moment.now_s)
                    said.append(_Said(seen, beside))
                told((now_s - world.start_s) / (end_s - world.start_s))
            return _Day(said, loop.past.measured(), _figures(world), time.process_time() - begun, longest)
        finally:
            derms.close()


def _figures(world: World) -> dict[str, float]:
    """A day by the world's books; bills with what it left over and cost to run."""
    summary, tally = world.tally.summary(), world.tally
    bills = _settled(world, _bills(world), tally.by_customer())
    offered = summary["pv_available_kwh"] + summary["wind_available_kwh"]
    return {
        "peak_kw": round(summary["peak_import_15min_kw"], 1),
        "voltage_node_hours": round(
            summary["low_voltage_node_hours"] + summary["high_voltage_node_hours"], 3
        ),
        "overload_branch_hours": round(summary["overload_branch_hours"], 3),
        "held_back_kwh": round(offered - summary["pv_kwh"] - summary["wind_kwh"], 1),
        "bills": round(sum(bills.values()), 2),
    }


def _ratios(day: _Day, within_s: int) -> dict[str, float | None]:
    """CRPS of plans' forecasts to that of habits, by what is forecast, over steps that begin soon enough."""
    names = day.said[0].planned.series if day.said else ()
    missed = {name: np.zeros(2) for name in names}
    for said in day.said:
        both = [_missed(one, day.truth, within_s) for one in (said.planned, said.habits)]
        for s, name in enumerate(names):
            missed[name] += (both[0][s], both[1][s])
    subjects: dict[str, Floats] = {}
    for name, pair in missed.items():
        for group in {subject_of(name), *(("all_groups",) if name != OUTSIDE else ())}:
            subjects[group] = subjects.get(group, np.zeros(2)) + pair
    return {
        name: round(float(pair[0] / pair[1]), 4) if pair[1] > 0 else None
        for name, pair in sorted(subjects.items())
    }


def _missed(said: Forecast, truth: History, within_s: int) -> Floats:
    """(S,) CRPS summed over the steps whose truth is known, kWh."""
    came = _on_steps(truth, said.series, said.grid)
    soon = said.grid.starts_s < said.known_at_s + within_s
    off = came[:, None] - np.asarray(said.value_kw, dtype=np.float64)
    level = said.quantiles[None, :, None]
    pinball = np.maximum(level * off, (level - 1.0) * off).mean(axis=1)
    known = np.isfinite(came) & soon
    return np.asarray((2.0 * np.where(known, pinball, 0.0) * said.grid.hours).sum(axis=1))


def _on_steps(truth: History, series: Sequence[str], grid: TimeGrid) -> Floats:
    """(S, T) means of what came over a plan's steps; NaN where that is not over or not known."""
    place = {name: row for row, name in enumerate(truth.series)}
    value = np.asarray(truth.value_kw, dtype=np.float64)[[place[name] for name in series]]
    step_s = int(truth.grid.edges_s[1] - truth.grid.edges_s[0])
    at = (grid.edges_s - truth.grid.start_s) // step_s
    found = np.full((len(series), grid.n), np.nan)
    for k in range(grid.n):
        if 0 <= at[k] < at[k + 1] <= truth.grid.n:
            found[:, k] = value[:, at[k] : at[k + 1]].mean(axis=1)
    return found
