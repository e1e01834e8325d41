"""A day planned ahead: the same forecast, engine and verdict as in the running system, without living it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gridflock.plan.coordination import Status
from gridflock.plan.network import Round
from gridflock.runtime._access import LOCAL
from gridflock.runtime._open import rehearse
from gridflock.runtime._plan_views import PlanView
from gridflock.runtime._settings import Settings
from gridflock.sim import Scenario

STEPS = 96


@dataclass(frozen=True, slots=True)
class Ahead:
    """A day's plan and what it was made for.

    Attributes:
        plan: as the façade tells it.
        feeder: its name.
        resources: how many were planned.
    """

    plan: PlanView
    feeder: str
    resources: int


def plan_ahead(
    scenario: Scenario,
    settings: Settings | None = None,
    watch: Callable[[Status | Round], None] = lambda _: None,
) -> Ahead:
    """Plan the day of a scenario from its first moment on, in quarter-hours, from what is known then.

    Args:
        scenario: feeder, resources, day and seed.
        settings: prices, limits and goals, each with its cost; the horizon is always the day.
        watch: told of every round of prices and of every round in AC.
    """
    settings = replace(settings or Settings(), fine_steps=STEPS, coarse_steps=0, goal_costs=True)
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        derms, _ = rehearse(Path(folder) / "day", scenario, settings, watch=watch)
        try:
            derms.tick()
            status = derms.status(LOCAL)
            return Ahead(derms.plan(LOCAL), status.feeder, status.resources)
        finally:
            derms.close()
