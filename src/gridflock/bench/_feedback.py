"""Step disturbances on a real feeder: how soon feedback from measurements is back inside all limits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.bench._feedback_best import best
from gridflock.bench._feedback_days import DAYS, WARNED_S, Day, source_step
from gridflock.bench._feedback_plant import Links, Plant, believed, lifted
from gridflock.bench._feedback_point import Fleet, Point, fleet, point
from gridflock.bench._network_world import World, opened, world
from gridflock.dispatch.feedback import Correction, Feedback, Quantity, correct
from gridflock.dispatch.feedback._solve import Program, solve
from gridflock.grid._network import Float

BEFORE_S, AFTER_S = 120, 80
"""Feedback puts right what the feeder begins with, and comes to rest; then the disturbance."""
IN_TIME_S = 10
"""From the first violation that a reading could show."""
TOLERATED = (5e-4, 5e-3, 5e-3)
"""Less beyond a voltage (pu), or a current or power (part of its limit), is half a meter's error and none."""
WITHIN = 0.01
"""Of a reverse-flow limit: what it may be missed by after that, and always on the ramp."""
LIFTS = (1.025, 1.0125)
"""Steps of the source's voltage: the largest is taken that leaves ``LIFT_ROOM`` with everything known."""
LIFT_ROOM = 0.005
"""pu: half a meter's noise."""
EXPORT_LOAD, EXPORT_SOURCE = 0.2, 0.975
"""Load beside sun, and voltage of the source, where the feeder is to export."""
ERRORS = {
    "each_30_percent": (0.3, 1.0),
    "all_30_percent_low": (0.05, 0.7),
    "all_30_percent_high": (0.05, 1.3),
}
"""Largest error of each sensitivity by itself, and the factor on all of them."""
Figures = dict[str, Any]


def feedback(source: str, root: Path | None, ders: int, seed: int) -> dict[str, Any]:
    """Disturb a feeder in six ways, each with sensitivities wrong in three ways.

    One percent of noise on every reading, readings two seconds late, orders followed after two more, and five
    percent of readings, orders and answers lost. Time counts from when the first reading could have shown the
    violation to when all true quantities are inside their limits for good, to within half a meter's error.
    Beside each run stands the same day on which feedback stops when the disturbance comes: what is not broken
    then was no disturbance.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read.
        ders: devices.
        seed: of everything drawn.

    Returns:
        By disturbance and error: seconds to be back, seconds out with feedback and without, worst violations
        of both, processor milliseconds a tick; what was beyond the devices; and whether the figures count.

    Raises:
        FeederRejected: the file cannot be read.
        ArithmeticError: the feeder has no solution.
    """
    with threadpool_limits(1):
        _compile()
        with opened(source, root) as (path, within):
            of = world(path, within, ders, seed)
        here = fleet(of, seed)
        importing, exporting = _points(of, here)
        found: dict[str, Any] = {"feeder": of.feeder.network.name, "nodes": of.feeder.network.n}
        found |= {"ders": ders, "rows": len(importing.names), "seed": seed}
        lift, rooms = _largest_lift(importing)
        days = DAYS | {"voltage_step": source_step(lift)}
        beyond = {f"voltage_step_of_{size}": source_step(size) for size in LIFTS if size > lift}
        for at, there in ((importing, False), (exporting, True)):
            of_these = {name: day for name, day in (days | beyond).items() if day.exporting is there}
            for error in ERRORS:
                for name, figures in _tried(at, of_these, error, seed).items():
                    found.setdefault(name, {})[error] = figures
    found |= {"voltage_step_size": lift, "voltage_step_rooms": rooms, "beyond_devices": [*beyond]}
    why_not = _wrong(found, days, beyond)
    return found | {"counts": not why_not, "why_not": "; ".join(why_not)}


def _points(of: World, here: Fleet) -> tuple[Point, Point]:
    """The feeder where it imports, and where it exports."""
    sun = float(here.wanted_kw[here.of("pv")].sum())
    load = float(-of.feeder.load_kva[4].real.sum())
    return (
        point(of, here, max(1.0, 2.0 * sun / load)),
        point(of, here, EXPORT_LOAD * max(sun, 1.0) / load, EXPORT_SOURCE),
    )


def _largest_lift(at: Point) -> tuple[float, dict[str, Figures]]:
    """The largest step of the source that leaves devices room, and the best that was found for each tried."""
    rooms: dict[str, Figures] = {}
    for lift in LIFTS:
        least = best(replace(at, feeder=lifted(at.feeder, lift)))
        rooms[str(lift)] = {
            "best_possible": round(least.worst, 5), "promised": round(least.bound, 5), "tightest": least.at,
            "moved_kw": round(least.moved_kw, 1),
        }  # fmt: skip
        if least.worst <= -LIFT_ROOM:
            break
    return lift, rooms


def _compile() -> None:
    """Have the solver compiled before it is timed."""
    one = np.ones(1)
    solve(
        Program(np.ones((1, 1), dtype=np.float32), np.array([-1.0, 1.0]), np.array([0.0, 1.0]), one, one,
                np.zeros(1, dtype=np.int32), one, one, -9.0 * one, 9.0 * one), np.zeros(2),
    )  # fmt: skip


def _tried(at: Point, days: dict[str, Day], error: str, seed: int) -> dict[str, Figures]:
    """Disturbances, each from the same rest."""
    wrong, bias = ERRORS[error]
    links = Links(wrong=wrong, bias=bias)
    plant, state = Plant(at, links, seed, believed(at, links, seed)), Feedback.none(len(at.fleet.place))
    for t in range(BEFORE_S - WARNED_S):
        plant.t_s = t
        state = _tick(plant, state)[0].state
    return {name: _disturbed(plant.twin(), state, day, links) for name, day in days.items()}


def _tick(plant: Plant, state: Feedback) -> tuple[Correction, float]:
    """One second with feedback, and the processor seconds that feedback took of it."""
    plant.second()
    seen = plant.sight(), plant.wanted(), plant.standing(), plant.able()
    begun = time.process_time()
    answer = correct(state, *seen, float(plant.t_s))
    spent = time.process_time() - begun
    plant.order(answer.p_kw, answer.q_kvar)
    return answer, spent


def _disturbed(plant: Plant, state: Feedback, day: Day, links: Links) -> Figures:
    """One disturbance, once; and the same seconds on a twin whose orders nobody corrects any more."""
    beyond, without, spent = [], [], []
    alarms = late = 0
    alone = plant
    for t in range(-WARNED_S, AFTER_S):
        if t == 0:
            alone = plant.twin()
        plant.t_s = BEFORE_S + t
        day.disturb(plant, t)
        answer, cpu_s = _tick(plant, state)
        spent.append(cpu_s)
        state = answer.state
        alarms, late = alarms + bool(answer.alarm), late + (not answer.exact)
        beyond.append(_beyond(plant))
        if t >= 0:
            alone.t_s = plant.t_s
            day.disturb(alone, t)
            alone.unasked()
            alone.second()
            without.append(_beyond(alone))
    after, left = np.array(beyond[WARNED_S:]), np.array(without)
    return _figures(after, 0 if day.told else links.reading_s) | {
        "before": round(max(float((beyond[WARNED_S - 1] / TOLERATED).max()), 0.0), 3),
        "seconds_out_without": int((left > TOLERATED).any(axis=1).sum()),
        **{f"{name}_without": value for name, value in _worst(left).items()},
        "cpu_ms": round(1e3 * float(np.median(spent)), 2),
        "cpu_most_ms": round(1e3 * max(spent), 2),
        "alarms": alarms,
        "late_ticks": late,
    }


def _beyond(plant: Plant) -> Float:
    """(3,) worst violation now, by quantity: pu, then parts of a limit; negative where all hold."""
    value, quantity = plant.truth[-1], plant.point.quantity
    size = np.ones(len(value))
    for limit in (plant.low, plant.high):
        bound = np.isfinite(limit) & (quantity != Quantity.VOLTAGE)
        size[bound] = np.abs(limit[bound])
    over = np.maximum(value - plant.high, plant.low - value) / size
    return np.array([over[quantity == one].max(initial=-np.inf) for one in Quantity])


def _worst(beyond: Float) -> Figures:
    """Worst violations, by quantity."""
    most = np.maximum(beyond.max(axis=0), 0.0)
    names = ("worst_voltage_pu", "worst_current", "worst_power")
    return {name: round(float(value), 5) for name, value in zip(names, most, strict=True)}


def _figures(beyond: Float, unseen_s: int) -> Figures:
    """Figures of the seconds after a disturbance, (t, 3) as of ``_beyond``."""
    broken = np.flatnonzero((beyond > TOLERATED).any(axis=1))
    back = int(broken[-1]) + 1 - int(broken[0]) - unseen_s if len(broken) else 0
    later = beyond[int(broken[0]) + unseen_s + IN_TIME_S :] if len(broken) else beyond
    return {
        "back_s": max(back, 0),
        "seconds_out": len(broken),
        **_worst(beyond),
        "after_10_s": round(max(float(later.max(initial=0.0)), 0.0), 5),
        "at_the_end": round(max(float(beyond[-1].max()), 0.0), 5),
    }


def _wrong(found: dict[str, Any], days: dict[str, Day], beyond: dict[str, Day]) -> list[str]:
    """Why the figures do not count."""
    wrong = []
    for name, day in days.items():
        for error, one in found[name].items():
            where = f"{name}, {error}: "
            wrong += [where + words for words in _broken(name, one)]
            if day.named and one["seconds_out_without"] <= IN_TIME_S:
                wrong.append(
                    f"{where}broken for {one['seconds_out_without']} s without feedback: no evidence"
                )
            if one["before"] > 1.0:
                wrong.append(f"{where}a limit broken before the disturbance")
    for name in beyond:
        for error, one in found[name].items():
            without = max(one[f"{worst}_without"] for worst in ("worst_voltage_pu", "worst_current"))
            if one["alarms"] or one["at_the_end"] > without:
                wrong.append(
                    f"{name}, {error}: {one['alarms']} alarms, {one['at_the_end']} beyond at the end"
                )
    return wrong


def _broken(name: str, one: Figures) -> list[str]:
    """What a run's figures have against it."""
    wrong = []
    if name == "sun_ramp" and one["worst_power"] > WITHIN:
        wrong.append(f"{one['worst_power']} beyond (rule: {WITHIN})")
    if name == "reverse_flow" and one["after_10_s"] > WITHIN:
        wrong.append(f"{one['after_10_s']} after 10 s (rule: {WITHIN})")
    if name not in {"sun_ramp", "reverse_flow"} and one["back_s"] > IN_TIME_S:
        wrong.append(f"back after {one['back_s']} s (rule: {IN_TIME_S})")
    if one["alarms"] or one["late_ticks"]:
        wrong.append(f"{one['alarms']} alarms, {one['late_ticks']} late ticks")
    return wrong
