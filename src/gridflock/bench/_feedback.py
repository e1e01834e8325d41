"""Step disturbances on a real feeder: how soon feedback from measurements is back inside all limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.bench._feedback_plant import Links, Plant
from gridflock.bench._feedback_point import Fleet, Point, fleet, point
from gridflock.bench._network_world import opened, world
from gridflock.dispatch.feedback import Correction, Feedback, Quantity, correct
from gridflock.dispatch.feedback._solve import Program, solve
from gridflock.grid._network import Float

BEFORE_S, AFTER_S = 40, 80
IN_TIME_S = 10
"""From the first violation that a reading could show."""
TOLERATED = (5e-4, 5e-3, 5e-3)
"""Less beyond a voltage (pu), or a current or power (part of its limit), is half a meter's error and none."""
WITHIN = 0.01
"""Of a reverse-flow limit: what it may be missed by after that, and always on the ramp."""
CLOUD, CLOUD_S = 0.3, 60
"""Part of the panels that vanish, and in which time."""
JUMP, LIMIT_DROP, HEAD_ROOM = 1.2, 0.9, 1.04
LIFT = 1.025
"""Of the source's voltage: the step of a tap changer that went too far."""
EXPORT_LOAD, EXPORT_SOURCE = 0.2, 0.975
"""Load beside sun, and voltage of the source, where the feeder is to export."""
RAMP_A_MINUTE = 0.2
"""How much more sun, of what there is, comes in a minute."""
ERRORS = {
    "each_30_percent": (0.3, 1.0),
    "all_30_percent_low": (0.05, 0.7),
    "all_30_percent_high": (0.05, 1.3),
}
"""Largest error of each sensitivity by itself, and the factor on all of them."""
Disturbance = Callable[[Plant, Fleet, int], None]


def feedback(source: str, root: Path | None, ders: int, seed: int) -> dict[str, Any]:
    """Disturb a feeder in six ways, each with sensitivities wrong in three ways.

    One percent of noise on every reading, readings two seconds late, orders followed after two more, and five
    percent of readings, orders and answers lost. Time counts from when the first reading could have shown the
    violation to when all true quantities are inside their limits for good, to within half a meter's error.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read.
        ders: devices.
        seed: of everything drawn.

    Returns:
        By disturbance and error: seconds to be back, worst violations, processor milliseconds a tick; and
        whether the figures count.

    Raises:
        FeederRejected: the file cannot be read.
        ArithmeticError: the feeder has no solution.
    """
    with threadpool_limits(1):
        _compile()
        with opened(source, root) as (path, within):
            of = world(path, within, ders, seed)
        here = fleet(of, seed)
        sun = float(here.wanted_kw[here.of("pv")].sum())
        load = float(-of.feeder.load_kva[4].real.sum())
        importing = point(of, here, max(1.0, 2.0 * sun / load))
        exporting = point(of, here, EXPORT_LOAD * max(sun, 1.0) / load, EXPORT_SOURCE)
        found: dict[str, Any] = {"feeder": of.feeder.network.name, "nodes": of.feeder.network.n}
        found |= {"ders": ders, "rows": len(importing.names), "seed": seed}
        where = {"reverse_flow": exporting, "sun_ramp": exporting}
        for name, disturb in DISTURBED.items():
            at = where.get(name, importing)
            found[name] = {
                error: _tried(at, Links(wrong=wrong, bias=bias), seed, disturb)
                for error, (wrong, bias) in ERRORS.items()
            }
    why_not = _wrong(found)
    return found | {"counts": not why_not, "why_not": "; ".join(why_not)}


def _compile() -> None:
    """Have the solver compiled before it is timed."""
    one = np.ones(1)
    solve(
        Program(np.ones((1, 1), dtype=np.float32), np.array([-1.0, 1.0]), np.array([0.0, 1.0]), one,
                np.zeros(1, dtype=np.int32), one, one, -9.0 * one, 9.0 * one), np.zeros(2),
    )  # fmt: skip


def _tried(at: Point, links: Links, seed: int, disturb: Disturbance) -> dict[str, float | int | bool]:
    """One disturbance, once."""
    plant, state = Plant(at, links, seed), Feedback.none(len(at.fleet.place))
    beyond, spent = [], []
    alarms = late = 0
    for t in range(BEFORE_S + AFTER_S):
        plant.t_s = t
        disturb(plant, at.fleet, t - BEFORE_S)
        plant.second()
        seen = plant.sight(), plant.wanted(), plant.standing(), plant.able()
        begun = time.process_time()
        answer: Correction = correct(state, *seen, float(t))
        spent.append(time.process_time() - begun)
        state = answer.state
        alarms, late = alarms + bool(answer.alarm), late + (not answer.exact)
        plant.order(answer.p_kw, answer.q_kvar)
        beyond.append(_beyond(plant, at))
    return _figures(np.array(beyond[BEFORE_S:]), links, disturb) | {
        "cpu_ms": round(1e3 * float(np.median(spent)), 2),
        "cpu_most_ms": round(1e3 * max(spent[BEFORE_S:]), 2),
        "alarms": alarms,
        "late_ticks": late,
    }


def _beyond(plant: Plant, at: Point) -> Float:
    """(3,) worst violation now, by quantity: pu, then parts of a limit; negative where all hold."""
    value = plant.truth[-1]
    size = np.ones(len(value))
    for limit in (plant.low, plant.high):
        bound = np.isfinite(limit) & (at.quantity != Quantity.VOLTAGE)
        size[bound] = np.abs(limit[bound])
    over = np.maximum(value - plant.high, plant.low - value) / size
    return np.array([over[at.quantity == one].max(initial=-np.inf) for one in Quantity])


def _figures(beyond: Float, links: Links, disturb: Disturbance) -> dict[str, float | int | bool]:
    broken = np.flatnonzero((beyond > TOLERATED).any(axis=1))
    # A new limit is known at once; what changes on the feeder is seen as late as it is read.
    seen = 0 if disturb in (_line, _reverse) else links.reading_s
    back = int(broken[-1]) + 1 - int(broken[0]) - seen if len(broken) else 0
    worst = {one.name.lower(): float(beyond[:, one].max()) for one in Quantity}
    later = beyond[int(broken[0]) + seen + IN_TIME_S :] if len(broken) else beyond
    return {
        "back_s": max(back, 0),
        "violated_s": len(broken),
        "worst_voltage_pu": round(max(worst["voltage"], 0.0), 5),
        "worst_current": round(max(worst["current"], 0.0), 4),
        "worst_power": round(max(worst["power"], 0.0), 4),
        "after_10_s": round(max(float(later.max(initial=0.0)), 0.0), 5),
    }


def _wrong(found: dict[str, Any]) -> list[str]:
    """Why the figures do not count."""
    wrong = []
    for name in DISTURBED:
        for error, one in found[name].items():
            if name == "sun_ramp":
                if one["worst_power"] > WITHIN:
                    wrong.append(f"{name}, {error}: {one['worst_power']} beyond (rule: {WITHIN})")
            elif name == "reverse_flow":
                if one["after_10_s"] > WITHIN:
                    wrong.append(f"{name}, {error}: {one['after_10_s']} after 10 s (rule: {WITHIN})")
            elif one["back_s"] > IN_TIME_S:
                wrong.append(f"{name}, {error}: back after {one['back_s']} s (rule: {IN_TIME_S})")
            if one["alarms"] or one["late_ticks"]:
                wrong.append(f"{name}, {error}: {one['alarms']} alarms, {one['late_ticks']} late ticks")
    return wrong


# ---- disturbances ------------------------------------------------------------------------------------


def _line(plant: Plant, of: Fleet, t: int) -> None:
    """The limit of the most loaded line drops to 90 % of what flows."""
    del of
    if t == 0:
        size = plant.point.of_line(0)[0] + np.arange(len(plant.point.lines))
        flow = plant.truth[-1][size]
        loaded = int(np.argmax(flow / plant.high[size]))
        plant.high[plant.point.of_line(loaded)] = LIMIT_DROP * flow[loaded]


def _cloud(plant: Plant, of: Fleet, t: int) -> None:
    """30 % of the panels vanish within a minute; the head may import little more than it does."""
    _import_limit(plant, t)
    panels = np.flatnonzero(of.of("pv"))
    gone = np.random.default_rng(0).permutation(panels)[: round(CLOUD * len(panels))]
    if t >= 0:
        plant.sun_kw[gone] = of.high_kw[gone] * max(0.0, 1.0 - t / CLOUD_S)


def _load(plant: Plant, of: Fleet, t: int) -> None:
    """All load grows by a fifth from one second to the next."""
    del of
    _import_limit(plant, t)
    if t == 0:
        plant.load *= JUMP


def _voltage(plant: Plant, of: Fleet, t: int) -> None:
    """The source's voltage rises in one step."""
    del of
    if t == 0:
        plant.lift_source(LIFT)


def _reverse(plant: Plant, of: Fleet, t: int) -> None:
    """The head may suddenly export only 90 % of what it does."""
    del of
    if t == 0:
        plant.high[-1] = LIMIT_DROP * plant.truth[-1][-1]


def _ramp(plant: Plant, of: Fleet, t: int) -> None:
    """More and more sun against an export limit that is nearly reached."""
    if t == 0:
        plant.high[-1] = 1.02 * plant.truth[-1][-1]
    if t >= 0:
        sun = of.of("pv")
        plant.sun_kw[sun] = of.high_kw[sun] * (1.0 + RAMP_A_MINUTE * min(t, 60) / 60.0)


def _import_limit(plant: Plant, t: int) -> None:
    if t == -10:
        plant.low[-1] = HEAD_ROOM * plant.truth[-1][-1]


DISTURBED: dict[str, Disturbance] = {
    "line_limit": _line,
    "cloud": _cloud,
    "load_jump": _load,
    "voltage_step": _voltage,
    "reverse_flow": _reverse,
    "sun_ramp": _ramp,
}
