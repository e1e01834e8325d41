"""A small world for laws of goals: two lossy stores, two suns, a load, and a random goal of every kind."""

from __future__ import annotations

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan.goals.bounds import (
    Departures,
    Event,
    LoadShape,
    Need,
    PowerLimit,
    RampLimit,
    Reserve,
    Stage,
)
from gridflock.plan.goals.fairness import CallBound, FairShare, Ledger
from gridflock.plan.goals.money import Carbon, DemandCharge, EnergyCost, Losses, SelfConsumption, Wear
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
MEMBERS = {"T1": ("store0", "store1"), "phase a": {"store0": 1 / 3, "store1": 1.0}}
NAN = float("nan")


KINDS = (
    "demand charge",
    "demand charge of a transformer",
    "self-consumption",
    "carbon",
    "losses",
    "wear",
    "limit of the head",
    "limit of a phase",
    "ramp limit",
    "load shape",
    "event",
    "reserve",
    "departures",
    "fair share",
    "bound on calls",
)


def world(seed, n=5, step_s=3600):
    """Two lossy stores and two suns over ``n`` steps, and a load beside them; any number is possible."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(NOW_S, step_s, n)
    eta = rng.uniform(0.8, 1.0, 2)
    sun = rng.uniform(0, 12, (2, n))
    none, endless = np.zeros((2, n)), np.full((2, n + 1), np.inf)
    lo, hi = -rng.uniform(0, 8, (2, 1)) * np.ones(n + 1), rng.uniform(4, 12, (2, 1)) * np.ones(n + 1)
    f = Flexibility(
        grid,
        ("store0", "store1", "sun0", "sun1"),
        np.vstack([rng.normal(0, 2, (2, n)), sun]),
        np.vstack([rng.uniform(0, 6, (2, n)), none]),
        np.vstack([rng.uniform(0, 6, (2, n)), sun]),
        np.vstack([lo, -endless]),
        np.vstack([hi, endless]),
        np.array([*(-1 / eta), 0.0, 0.0]),
        np.array([*eta, 0.0, 0.0]),
        np.array([*rng.uniform(0, 0.05, 2), 0.0, 0.0]),
        np.array([*rng.uniform(0, 0.05, 2), *rng.uniform(0, 0.02, 2)]),
    )
    return f, rng.normal(-8, 6, n), rng


def energy_cost(rng, n):
    """A tariff that changes from step to step."""
    price = rng.uniform(0.05, 0.5, n)
    return EnergyCost(price, price * rng.uniform(0, 1, n))


def goal_of(kind, f, rng):  # noqa: C901, PLR0911, PLR0912 -- one case per kind
    """A random goal of a kind."""
    n, t = f.grid.n, f.grid.edges_s
    match kind:
        case "demand charge":
            return DemandCharge(float(rng.uniform(0.1, 3)), float(rng.uniform(0, 5)))
        case "demand charge of a transformer":
            return DemandCharge(2.0, 1.0, ("T1",), rng.normal(-2, 2, n), ((t[1], t[3]),))
        case "self-consumption":
            return SelfConsumption(float(rng.uniform(0, 0.3)))
        case "carbon":
            return Carbon(rng.uniform(0, 1, n), 0.2, credited=bool(rng.integers(2)))
        case "losses":
            return Losses({"T1": rng.uniform(-0.2, 0.2, n), "sun0": 0.1}, 0.3)
        case "wear":
            return Wear({"store0": 0.05, "sun1": 0.01})
        case "limit of the head":
            return PowerLimit(float(rng.uniform(0, 8)), rng.uniform(0, 5, n), price=2.0)
        case "limit of a phase":
            return PowerLimit(1.0, 0.5, ("phase a",), rng.normal(0, 1, n))
        case "ramp limit":
            return RampLimit(float(rng.uniform(0, 0.05)), price=0.4, before_kw=float(rng.normal(-8, 6)))
        case "load shape":
            return LoadShape(rng.normal(-5, 2, n), 0.05, (), 0.0, t[1], t[4], 0.8, 1.5)
        case "event":
            return Event(
                t[1], t[3], (Stage(t[1], 2.0), Stage(t[2], 4.0)), ("T1", "sun1"), ("sun1",),
                rebound_kw=1.0, rebound_s=7200,
            )  # fmt: skip
        case "reserve":
            return Reserve({"store0": float(rng.uniform(0, 4))}, t[3])
        case "departures":
            return Departures((Need("store1", t[4], float(rng.uniform(0, 2))),))
        case "fair share":
            return FairShare(
                {"a": ("sun0",), "b": ("sun1",)}, "injecting", float(rng.choice([0.0, 0.5, 1.0, 3.0])),
                weight={"a": 1.3}, worth=0.2, segments=10,
            )  # fmt: skip
        case "bound on calls":
            return CallBound({"sun0": (), "sun1": ()}, Ledger(calls={"sun0": 3.0, "sun1": 1.0}), "injecting")
    raise AssertionError(kind)
