"""Flexibility forecast for the simulated fleet, against what it could have delivered when the time came."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.fleet._health import Evidence, Health
from gridflock.forecast import forecast
from gridflock.forecast.flexibility import (
    Asked,
    Chances,
    FlexibilityAhead,
    Part,
    came,
    flexibility_ahead,
    futures,
    missed,
    recalibrated,
)
from gridflock.forecast.together import paths
from gridflock.model import OutcomeStatus
from gridflock.runtime import Settings, rehearse
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.sim import Scenario
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, Kw, Rows, TimeGrid

Floats = NDArray[np.float64]

_TICK_S = 300
_FIRST = date(2026, 6, 1)
_ORIGINS_H = (4, 8, 12, 16)
_LEADS_H = (0.25, 1, 3, 6, 10, 14)
_PATHS = 120
_ORDERS = 20
"""How often each resource was asked before, and answered with its own probability."""
_KEEP = (8.0, 2.0)
"""Beta distribution of the resources' true probabilities."""
_OFFERED = (Family.RENEWABLE, Family.GENERATOR, Family.SHED)


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One group at one moment ahead: what was said, and what it could have delivered."""

    day: int
    group: str
    step: int
    said: FlexibilityAhead
    came_kw: Kw


def flexibility_forecast(
    ders: int = 150, days: int = 16, seed: int = 1, progress: Callable[[float], None] | None = None
) -> Mapping[str, Any]:
    """Forecast a simulated fleet's flexibility through some days, the later half set right by the earlier.

    Each day lives unmanaged. Four times a day flexibility is forecast up to 14 h ahead, from what meters said
    until then; afterwards it is counted what each group could have delivered at those moments, with what all
    did unasked as it came, and with draws of who answers by the resources' true probabilities, of which the
    forecast knows twenty outcomes each. Groups: the fleet, its sections and its types, with five members or
    more.

    Args:
        ders: how many resources.
        days: how many days, an even number.
        seed: of fleet, days and draws.
        progress: told the share that is done.

    Returns:
        Shares of what came in the 10 to 90 % band over the later half: ``coverage80`` set right by the
        earlier half's misses, ``coverage80_counted`` as counted from the paths, and both for the fleet as a
        whole; ``by_run`` and ``by_way``; mean absolute error of the median as part of the mean; ``cpu_s`` of
        one forecast of all groups at all moments.
    """
    cases: list[_Case] = []
    spent: list[float] = []
    for day in range(days):
        cases += _day(ders, day, seed, spent)
        if progress is not None:
            progress((day + 1) / days)
    half = days // 2
    past = {
        name: np.stack([missed(c.said, c.step, c.came_kw) for c in cases if c.group == name and c.day < half])
        for name in {c.group for c in cases}
    }
    later = [c for c in cases if c.day >= half]
    right = [recalibrated(c.said, past[c.group], half) for c in later]
    counted = np.concatenate([_inside(c, c.said) for c in later])
    mended = np.concatenate([_inside(c, said) for c, said in zip(later, right, strict=True)])
    whole = np.concatenate([np.full(len(_inside(c, c.said)), c.group == "all") for c in later])
    off = np.concatenate([_error(c, said) for c, said in zip(later, right, strict=True)])
    return {
        "coverage80": _mean(mended[:, 2]),
        "coverage80_counted": _mean(counted[:, 2]),
        "coverage80_fleet": _mean(mended[whole, 2]),
        "coverage80_fleet_counted": _mean(counted[whole, 2]),
        "by_run": {str(run): _mean(mended[mended[:, 1] == r, 2]) for r, run in enumerate(Asked().runs_s)},
        "by_way": {way: _mean(mended[mended[:, 0] == w, 2]) for w, way in enumerate(("up", "down"))},
        "mae_share": round(float(off[:, 0].sum() / off[:, 1].sum()), 4),
        "groups": len(past),
        "cases": len(mended),
        "days": days,
        "ders": ders,
        "seed": seed,
        "cpu_s": round(float(np.mean(spent)), 2),
    }


def _day(ders: int, day: int, seed: int, spent: list[float]) -> list[_Case]:
    """Live a day, forecast it from its hours, and look back."""
    scenario = Scenario(ders=ders, seed=seed, day=_FIRST + timedelta(days=day))
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        derms, world = rehearse(Path(folder) / "day", scenario, Settings(managed=False, tick_s=_TICK_S))
        try:
            system, past = derms._loop.system, derms._loop.past  # noqa: SLF001 - a study of its parts
            rng = np.random.default_rng((seed, day))
            likely = np.random.default_rng(seed).beta(*_KEEP, len(system.fleet.ids))
            evidence = _asked_before(system, likely, rng, world.start_s)
            images, told = [], {}
            for k in range(DAY_S // _TICK_S):
                world.advance(world.start_s + k * _TICK_S)
                system.fleet.ingest(world.read(world.now_s), world.now_s)
                images.append(system.fleet.image(world.now_s))
                past.add(images[-1])
                if k * _TICK_S in {h * HOUR_S for h in _ORIGINS_H}:
                    told[k] = past.history()
            names = {name: system.rows_of[name] for name in system.groups.ids if _looked_at(system, name)}
            found = []
            for k, history in told.items():
                begun = time.process_time()
                said = _said(system, past.solar, past.plan_groups, history, images[k], names, evidence, seed)
                spent.append(time.process_time() - begun)
                found += _came(said, images, names, likely, rng, day)
            return found
        finally:
            derms.close()


def _looked_at(system: System, name: str) -> bool:
    return (name == "all" or name.startswith(("section/", "type/"))) and len(system.rows_of[name]) >= 5


def _asked_before(system: System, likely: Floats, rng: np.random.Generator, now_s: int) -> Evidence:
    """What twenty orders to each resource have taught."""
    health, rows = Health(system.fleet), system.rows_of["all"].astype(np.int32)
    for k in range(_ORDERS):
        kept = rng.random(len(rows)) < likely[rows]
        status = np.where(kept, OutcomeStatus.ACCEPTED, OutcomeStatus.REFUSED).astype(np.uint8)
        health.learn(rows, status, now_s - DAY_S + k * HOUR_S)
    return health.evidence


def _said(
    system: System,
    solar: frozenset[str],
    plan_groups: tuple[str, ...],
    history: Any,  # noqa: ANN401 - a History
    image: Image,
    names: Mapping[str, Rows],
    evidence: Evidence,
    seed: int,
) -> tuple[FlexibilityAhead, ...]:
    now_s = image.now_s
    grid = TimeGrid.uniform(now_s, QUARTER_S, round((max(_LEADS_H) + 5) * 4))
    seen = forecast(history, grid, system.site, solar, now_s)
    drawn = paths(seen, _PATHS, seed + now_s)
    parts = [Part(system.rows_of[name], drawn[:, seen.series.index(name)]) for name in plan_groups]
    future = futures(image, grid, parts, Chances.of(evidence, now_s), seed + now_s)
    starts = now_s + (HOUR_S * np.array(_LEADS_H)).astype(np.int64)
    return flexibility_ahead(future, names, Asked(), starts)


def _came(
    said: tuple[FlexibilityAhead, ...],
    images: list[Image],
    names: Mapping[str, Rows],
    likely: Floats,
    rng: np.random.Generator,
    day: int,
) -> list[_Case]:
    asked, per = said[0].asked, QUARTER_S // _TICK_S
    unasked = _unasked(images)
    steps = asked.runs_s[-1] // QUARTER_S
    found = []
    for step, start_s in enumerate(said[0].starts_s.tolist()):
        at = (start_s - images[0].now_s) // _TICK_S
        if at // per + steps > unasked.shape[1]:
            continue
        answered = rng.random(len(likely)) < likely
        base = unasked[:, at // per : at // per + steps]
        truth = came(images[at], base, names, asked, answered)
        found += [_Case(day, of.group, step, of, truth[:, g]) for g, of in enumerate(said)]
    return found


def _unasked(images: list[Image]) -> Kw:
    """(n, T) means over quarter-hours of what all did; the last that was heard where nothing was."""
    offered = np.isin(images[0].family, _OFFERED)
    power = np.stack([np.where(offered, i.p_avail_kw, i.p_kw) for i in images], axis=1).astype(np.float64)
    for k in range(1, power.shape[1]):
        power[:, k] = np.where(np.isfinite(power[:, k]), power[:, k], power[:, k - 1])
    per = QUARTER_S // _TICK_S
    return np.asarray(np.nan_to_num(power).reshape(len(power), -1, per).mean(axis=2))


def _inside(case: _Case, said: FlexibilityAhead) -> Floats:
    """(2·R, 3) way, run, whether what came lay in the band; NaN where nothing was said and nothing came."""
    rows = []
    for way, of in enumerate((said.up, said.down)):
        low, _, high = of.change_kw[:, -1, :, case.step]
        truth = case.came_kw[way, -1]
        slack = 1e-6 * (1.0 + high)
        hit = (truth >= low - slack) & (truth <= high + slack)
        idle = (high <= slack) & (truth <= slack)
        rows += [(way, r, np.nan if idle[r] else float(hit[r])) for r in range(len(low))]
    return np.array(rows)


def _error(case: _Case, said: FlexibilityAhead) -> Floats:
    """(2·R, 2) error of the median, and what came, kW."""
    middle = np.concatenate([of.change_kw[1, -1, :, case.step] for of in (said.up, said.down)])
    truth = case.came_kw[:, -1].ravel()
    return np.stack([np.abs(middle - truth), truth], axis=1)


def _mean(values: Floats) -> float:
    return round(float(np.nanmean(values)), 4)
