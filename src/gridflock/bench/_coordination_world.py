"""A synthetic fleet of batteries and vehicles on feeders whose limits an unmanaged response would break."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.plan.coordination import Limits, Problem
from gridflock.plan.coordination._recover import Recovered
from gridflock.plan.devices import Oracle, Question, Stores, Vehicles
from gridflock.plan.devices._compiled import Spread

QUARTER_H = 0.25
BATTERIES = 0.3
"""Part of the fleet; the rest are vehicles."""
SLACK_PRICE = 2.0
"""Money per kWh beyond a limit."""
TIGHT = 0.8
"""Feeder limits of the tight fleet as a part of the normal one's."""
NOISE = {"normal": 0.003, "tight": 0.003, "volatile": 0.05, "batteries": 0.003}
"""White noise of the price, money/kWh."""
NEWS = 0.005, 0.001
"""How the next horizon's forecasts differ from this one's: loads, as a part; prices, money/kWh."""
SYSTEM = 0.95
"""The system's limit as a part of the feeders' limits together."""

Float = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A problem and who answers.

    Attributes:
        problem: the limits.
        oracles: stores first.
        broken: part of the feeders' cells whose limit the unmanaged response breaks.
        worst: largest load over its limit.
    """

    problem: Problem
    oracles: tuple[Oracle, ...]
    broken: float
    worst: float


def world(ders: int, feeders: int, steps: int, fleet: str, seed: int, spread: Spread, parts: int) -> World:
    """Draw the fleet; its limits follow from its own unmanaged response, as quantiles of each feeder's load.

    Args:
        ders: devices, shared equally among the feeders.
        feeders: how many.
        steps: of a quarter of an hour.
        fleet: ``normal``, ``tight``, ``volatile`` or ``batteries``.
        seed: of the generator.
        spread: ``map``, or that of a pool of threads.
        parts: over how many calls.
    """
    rng = np.random.default_rng((seed, 11))
    clock = np.arange(steps) * QUARTER_H % 24.0
    wave = 0.12 + 0.08 * _bump(clock, 19, 2.5) + 0.03 * _bump(clock, 8, 1.5) - 0.05 * _bump(clock, 13, 2.5)
    price = wave + rng.normal(0.0, NOISE[fleet], steps)
    share = 1.0 if fleet == "batteries" else BATTERIES
    hours = np.full(steps, QUARTER_H)
    oracles: list[Oracle] = [_stores(rng, int(share * ders) // feeders, feeders, price, hours, spread, parts)]
    if share < 1.0:
        each = ders // feeders - int(share * ders) // feeders
        oracles.append(_vehicles(rng, each, feeders, hours, spread, parts))
    kinds = len(oracles)
    question = Question(np.tile(price, (feeders, 1)), 0.0)
    free = sum(oracle.respond(question).p_kw for oracle in oracles)
    load = (
        -(ders / feeders) * 0.35 * (0.6 + 0.4 * _bump(clock, 19, 3.0)) * rng.uniform(0.9, 1.1, (feeders, 1))
    )
    net = load + free
    floor = np.quantile(net, 0.10, axis=1) * (TIGHT if fleet == "tight" else 1.0)
    floor = floor * rng.uniform(0.95, 1.1, feeders)
    every = np.arange(kinds * feeders)
    limits = Limits(
        names=(*(f"import limit of feeder {f}" for f in range(feeders)), "import limit of the system"),
        groups=(*(every[f::feeders] for f in range(feeders)), every),
        fixed_kw=np.vstack([load, load.sum(axis=0)]),
        floor_kw=np.repeat(np.append(floor, SYSTEM * floor.sum())[:, None], steps, axis=1),
        ceiling_kw=np.full((feeders + 1, steps), np.inf),
        slack_price=np.full(feeders + 1, SLACK_PRICE),
    )
    problem = Problem(hours, price, kinds * feeders, limits)
    return World(
        problem, tuple(oracles), float((net < floor[:, None]).mean()), float((net / floor[:, None]).max())
    )


def rolled(of: World, got: Recovered, seed: int) -> World:
    """Carry out the first step; prices and loads move on, with news in every step and a new last one.

    Args:
        of: the world planned.
        got: every device's schedule.
        seed: of the news.
    """
    rng = np.random.default_rng((seed, 12))
    problem, limits = of.problem, of.problem.limits
    price = np.append(problem.price[1:], problem.price[0] + rng.normal(0.0, NOISE["normal"]))
    price = price + rng.normal(0.0, NEWS[1], len(price))
    load = np.roll(limits.fixed_kw[:-1], -1, axis=1) * (
        1.0 + rng.normal(0.0, NEWS[0], (len(limits.names) - 1, len(price)))
    )
    fixed = np.vstack([load, load.sum(axis=0)])
    moved = replace(problem, price=price, limits=replace(limits, fixed_kw=fixed))
    oracles: list[Oracle] = []
    for oracle, p_kw in zip(of.oracles, got.p_kw, strict=True):
        if isinstance(oracle, Stores):
            oracles.append(_store_later(oracle, p_kw[:, 0].astype(np.float64)))
        elif isinstance(oracle, Vehicles):
            oracles.append(_vehicle_later(oracle, p_kw[:, 0].astype(np.float64)))
    return replace(of, problem=moved, oracles=tuple(oracles))


def _store_later(of: Stores, p_kw: Float) -> Stores:
    stored = np.where(p_kw < 0.0, -p_kw * of.eff_charge, -p_kw / of.eff_discharge) * of.hours[0]
    return replace(of, e_now_kwh=np.clip(of.e_now_kwh + stored, of.e_lo_kwh, of.e_hi_kwh))


def _vehicle_later(of: Vehicles, p_kw: Float) -> Vehicles:
    first, last = np.maximum(of.first - 1, 0), np.maximum(of.last - 1, 0)
    left = np.maximum(of.need_kwh + p_kw * of.hours[0], 0.0)
    return replace(
        of, need_kwh=np.minimum(left, of.most_kw * (last - first) * of.hours[0]), first=first, last=last
    )


def _bump(clock: Float, at: float, width: float) -> Float:
    bump: Float = np.exp(-(((clock - at) / width) ** 2))
    return bump


def _stores(
    rng: np.random.Generator,
    each: int,
    feeders: int,
    price: Float,
    hours: Float,
    spread: Spread,
    parts: int,
) -> Stores:
    n = each * feeders
    power = rng.uniform(3.0, 7.0, n)
    e_hi = power * rng.uniform(1.5, 4.0, n)
    efficiency = rng.uniform(0.92, 0.97, n)
    worth = np.full(n, 0.9 * price.mean())
    return Stores(
        hours=hours,
        start=each * np.arange(feeders + 1),
        charge_kw=power,
        discharge_kw=power,
        e_lo_kwh=np.zeros(n),
        e_hi_kwh=e_hi,
        e_now_kwh=e_hi * rng.uniform(0.1, 0.9, n),
        e_want_kwh=np.zeros(n),
        eff_charge=efficiency,
        eff_discharge=efficiency,
        wear=rng.uniform(0.005, 0.02, n),
        end_value=worth,
        short_price=worth,
        first=np.zeros(n, dtype=np.int64),
        last=np.full(n, len(hours)),
        spread=spread,
        parts=parts,
    )


def _vehicles(
    rng: np.random.Generator, each: int, feeders: int, hours: Float, spread: Spread, parts: int
) -> Vehicles:
    n, steps = each * feeders, len(hours)
    most = rng.choice([3.7, 7.4, 11.0], n)
    first = rng.integers(0, max(steps - 36, 1), n)
    last = np.minimum(first + rng.integers(16, 60, n), steps)
    reach = most * (last - first) * QUARTER_H
    return Vehicles(
        hours=hours,
        start=each * np.arange(feeders + 1),
        need_kwh=np.minimum(rng.uniform(5.0, 40.0, n), 0.95 * reach),
        most_kw=most,
        first=first,
        last=last,
        spread=spread,
        parts=parts,
    )
