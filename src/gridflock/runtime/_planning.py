"""The slow tick: what will be, what could be done, and the plan that follows.

Everything that a plan was made from is kept beside it, so that "why?" can be asked of any number of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image, flexibility
from gridflock.forecast import forecast
from gridflock.market import prices, tariffs
from gridflock.model import Entry, Envelope, Flexibility, Forecast, Json, Schedule
from gridflock.plan import Grounds, Terms, grounded, packed
from gridflock.runtime._past import OUTSIDE, Past
from gridflock.runtime._settings import Settings
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.units import Kw, Money, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan with what it was made from.

    Attributes:
        schedule: the plan.
        forecast: quantiles of the plan groups and of all else.
        able: what the plan groups can do.
        fixed_kw: (T,) expected injection of everything that takes no orders.
        terms: what was weighed.
        grounds: the prices behind it; None where all rest at base.
    """

    schedule: Schedule
    forecast: Forecast
    able: Flexibility
    fixed_kw: Kw
    terms: Terms
    grounds: Grounds | None


class Planning:
    """Plans, one after the other.

    Args:
        settings: tempos and limits.
        past: what forecasts learn from.
        timezone: whose local time tariffs go by.
    """

    def __init__(self, settings: Settings, past: Past, timezone: str) -> None:
        self._settings, self._past = settings, past
        self._tariffs = tariffs(timezone)

    def plan(self, system: System, image: Image, head: Envelope, peak_kw: float) -> Planned:
        """Forecast, flexibility, plan.

        Args:
            system: network, fleet and groups as they are now.
            image: the process image.
            head: what the feeder as a whole may draw and deliver.
            peak_kw: import peak of the feeder's local day so far.
        """
        settings, now_s, past = self._settings, image.now_s, self._past
        grid = horizon(now_s, settings)
        seen = forecast(past.history(), grid, system.site, past.solar, now_s)
        able = self._able(system, image, seen, grid)
        buy, sell = prices(self._tariffs[settings.tariff], grid)
        terms = Terms(
            import_price=buy,
            export_price=sell,
            peak_price=settings.peak_price,
            ramp_penalty=settings.ramp_penalty,
            peak_so_far_kw=peak_kw,
            import_limit_kw=np.full(grid.n, max(0.0, -head.p_lo_kw)),
            export_limit_kw=np.full(grid.n, max(0.0, head.p_hi_kw)),
            premium={group: self._own_price(group, grid) - buy for group in able.groups},
        )
        fixed_kw = seen.median(OUTSIDE)
        found = grounded(able, fixed_kw, terms, now_s)
        return Planned(found.schedule, seen, able, fixed_kw, terms, found.grounds)

    def _able(self, system: System, image: Image, seen: Forecast, grid: TimeGrid) -> Flexibility:
        """What the plan groups can do over the horizon."""
        groups = self._past.plan_groups
        median = np.stack([seen.median(group) for group in groups])
        vehicle = np.array([f"/{Family.VEHICLE.name.lower()}/" in group for group in groups])
        rows = [system.rows_of[group] for group in groups]
        # Arrivals come in spikes, whose median says nothing of their energy; the mean does.
        mean = np.stack([seen.value_kw[seen.series.index(group)].mean(axis=0) for group in groups])
        inflow = np.where(vehicle[:, None], mean, 0.0)
        base = np.where(vehicle[:, None], 0.0, median)
        able = flexibility(image, groups, rows, grid, base, inflow)
        self._past.sites.narrow(able, system.rows_of, image)
        return able

    def _own_price(self, group: str, grid: TimeGrid) -> Money:
        """(T,) what a plan group's owners pay per kWh: the class is in the group's name."""
        return prices(self._tariffs[group.split("/")[2]], grid)[0]


def horizon(now_s: int, settings: Settings) -> TimeGrid:
    """Quarter-hours first, then hours: 36 steps look a day ahead at a third of the size."""
    start_s = now_s - now_s % settings.plan_s
    fine = start_s + 900 * np.arange(settings.fine_steps + 1, dtype=np.int64)
    coarse = fine[-1] + 3_600 * np.arange(1, settings.coarse_steps + 1, dtype=np.int64)
    return TimeGrid(np.concatenate([fine, coarse]))


def plan_entry(planned: Planned) -> Entry:
    """The plan as a chained record of columns."""
    schedule = planned.schedule
    tight = [r for r in schedule.reasons if r.slack_kw > 1e-3]
    head: dict[str, Json] = {
        "text": f"plan of {len(schedule.groups)} groups, peak {schedule.peak_kw:.0f} kW",
        "peak_kw": round(schedule.peak_kw, 3),
        "cost": round(schedule.cost, 6),
        "groups": list(schedule.groups),
        "gave": [f"{r.row}: {r.slack_kw:.1f} kW" for r in tight[:20]],
    }
    columns: dict[str, NDArray[np.generic]] = {
        "edges_s": schedule.grid.edges_s,
        "p_kw": np.asarray(schedule.p_kw, dtype=np.float32).ravel(),
        "net_kw": np.asarray(schedule.net_kw, dtype=np.float32),
        "price": np.asarray(schedule.price, dtype=np.float32),
    }
    if planned.grounds is not None:
        names, why = packed(planned.grounds)
        head |= names
        columns |= why
    return Entry("plan", schedule.made_at_s, head, columns)
