"""Stores behind one connection over a day: what ours and the rivals are given, and a check of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.direct import Chains

Float = NDArray[np.floating[Any]]
STEPS = 96
HOURS = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """m stores over T steps; charging and discharging exclude each other as c/most_c + d/most_d <= 1.

    Attributes:
        charge_kw: (m,) most.
        discharge_kw: (m,) most.
        size_kwh: (m,).
        held_kwh: (m,) at the beginning.
        charged: (m,) kWh stored per kWh drawn.
        discharged: (m,) kWh delivered per kWh taken out.
        wear: (m,) money per kWh charged or discharged.
        buy: (T,) money per kWh.
        sell: (T,) money per kWh, less than ``buy``.
        load_kw: (T,) of everything else, what the sun gives taken off.
        limit_kw: of import, hard.
        peak_price: money per kW of the largest import.
        worth: money per kWh left at the end.
    """

    charge_kw: Float
    discharge_kw: Float
    size_kwh: Float
    held_kwh: Float
    charged: Float
    discharged: Float
    wear: Float
    buy: Float
    sell: Float
    load_kw: Float
    limit_kw: float
    peak_price: float
    worth: float


def site(devices: int, seed: int) -> Site:
    """Batteries of 2 to 12 kW and 1.5 to 4 hours, an evening peak, sun at noon, a limit below the peak."""
    rng = np.random.default_rng(seed)
    hour = np.arange(STEPS) * HOURS
    power = rng.uniform(2.0, 12.0, devices)
    size = power * rng.uniform(1.5, 4.0, devices)
    one_way = np.sqrt(rng.uniform(0.82, 0.95, devices))
    evening, noon = np.exp(-((hour - 19.0) ** 2) / 8.0), np.exp(-((hour - 13.0) ** 2) / 8.0)
    buy = 0.22 + 0.08 * np.sin((hour - 9.0) / 24.0 * 2.0 * np.pi) + 0.1 * (evening - noon)
    buy += rng.normal(0.0, 0.01, STEPS)
    load = devices * (1.5 + evening + 0.6 * np.exp(-((hour - 8.0) ** 2) / 4.0) - 2.5 * noon)
    load *= 1.0 + rng.normal(0.0, 0.03, STEPS)
    return Site(
        charge_kw=power,
        discharge_kw=power * rng.uniform(0.7, 1.3, devices),
        size_kwh=size,
        held_kwh=size * rng.uniform(0.1, 0.9, devices),
        charged=one_way,
        discharged=one_way,
        wear=rng.uniform(0.005, 0.03, devices),
        buy=buy,
        sell=0.4 * buy,
        load_kw=load,
        limit_kw=0.75 * float(load.max()),
        peak_price=0.5,
        worth=0.15,
    )


def chains(of: Site) -> Chains:
    """The site as our own solver is given it."""
    steps, m = len(of.buy), len(of.wear)
    one, endless = np.ones(steps), np.full(steps, np.inf)
    wear = np.outer(of.wear, HOURS * one)
    return Chains(
        most_up=np.outer(of.discharge_kw, one),
        most_down=np.outer(of.charge_kw, one),
        cost_up=wear,
        cost_down=wear,
        effect_up=np.outer(-HOURS / of.discharged, one),
        effect_down=np.outer(HOURS * of.charged, one),
        content=of.held_kwh,
        least=np.zeros((m, steps)),
        most=np.outer(of.size_kwh, one),
        worth=np.full(m, of.worth),
        exclusive=np.ones(m, dtype=bool),
        demand=of.load_kw,
        buy=of.buy * HOURS,
        sell=of.sell * HOURS,
        import_limit=of.limit_kw * one,
        export_limit=endless,
        penalty=endless,
        peak_price=of.peak_price,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A schedule: charge and discharge (m, T) kW, and the objective its solver states."""

    charge: Float
    discharge: Float
    cost: float


def checked(of: Site, answer: Answer) -> tuple[float, float]:
    """Cost of the schedule worked out anew, and its largest breach of a bound: kW, kWh or a share of one."""
    stored = HOURS * (of.charged[:, None] * answer.charge - answer.discharge / of.discharged[:, None])
    held = of.held_kwh[:, None] + stored.cumsum(axis=1)
    net = of.load_kw + (answer.charge - answer.discharge).sum(axis=0)
    drawn = np.maximum(net, 0.0)
    both = answer.charge / of.charge_kw[:, None] + answer.discharge / of.discharge_kw[:, None]
    over = (
        -held,
        held - of.size_kwh[:, None],
        drawn - of.limit_kw,
        both - 1.0,
        -answer.charge,
        -answer.discharge,
    )
    wear = of.wear @ (answer.charge + answer.discharge).sum(axis=1)
    energy = of.buy @ drawn - of.sell @ np.maximum(-net, 0.0)
    cost = HOURS * (energy + wear) + of.peak_price * drawn.max() - of.worth * held[:, -1].sum()
    return float(cost), max(float(part.max()) for part in over)
