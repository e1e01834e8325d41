"""Combined heat and power, and gensets: on at one of some levels, or off, for no less than their times.

A unit's best schedule is a shortest path: its state after each step is on or off, for how many steps (as
far as a minimum time still binds), at which level, and how full its heat tank is. Levels and contents stand
on grids, and on these the answer is exact. Heat that is missing comes from a boiler at a price and heat
that is too much is thrown away at one, so no state is a dead end; they also bring the content to the next
place of its grid.

Such sets are not convex: a mix of two schedules is none. One unit is one group, so that a last choice of
one schedule each is possible (``pick_whole``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule
from gridflock.plan.devices.whole._path import TINY, Columns, add, nearest, sums
from gridflock.plan.devices.whole._proximal import Proximal
from gridflock.units import Codes, Kw, Kwh, Money

LEVELS = 9
"""Places of a grid of outputs or of contents where none are asked for."""
_NOT_NEGATIVE = ("start_cost", "min_on_h", "min_off_h", "since_h", "tank_kwh", "boiler_price", "dump_price")
_FINITE = ("tank_now_kwh", "heat_value")


@dataclass(frozen=True, slots=True, eq=False)
class Units(Proximal):
    """An oracle of m units (``Grouped``) that are on at one of L levels or off; exact on its grid.

    Own cost: fuel, starts, and heat made by a boiler or thrown away, less the worth of heat left in the
    tank. From one step to the next the output moves by the ramp at most; it enters and leaves at the lowest
    level or within the ramp from nothing. A mix of answers is no schedule: one unit per group.

    Attributes:
        level_kw: float64 (m, L) outputs while on, > 0, ascending; the first is the minimum load.
        burn: float64 (m, L) fuel and wear at each level, money/h.
        start_cost: float64 (m,) money for each start, >= 0.
        min_on_h: float64 (m,) shortest time on, h.
        min_off_h: float64 (m,) shortest time off, h.
        ramp_kw_h: float64 (m,) most that the output may change, kW per hour; inf for any change.
        on: uint8 (m,) 1 where it is on now.
        since_h: float64 (m,) hours for which it has been so.
        now_kw: float64 (m,) output now, where on.
        heat_kw: float64 (m, L) heat at each level, kW; 0 for a genset.
        heat_need_kw: float64 (m, T) heat taken, kW, >= 0.
        tank_kwh: float64 (m,) heat a full tank holds, >= 0.
        tank_now_kwh: float64 (m,) heat in it now.
        boiler_price: float64 (m,) money per kWh of heat from elsewhere, >= 0.
        dump_price: float64 (m,) money per kWh of heat thrown away, >= 0.
        heat_value: float64 (m,) money per kWh of heat left at the end, at most ``boiler_price``.
        tank_places: places of the contents' grid; 1 without tanks.
    """

    level_kw: Kw
    burn: Money
    start_cost: Money
    min_on_h: Array
    min_off_h: Array
    ramp_kw_h: Array
    on: Codes
    since_h: Array
    now_kw: Kw
    heat_kw: Kw
    heat_need_kw: Kw
    tank_kwh: Kwh
    tank_now_kwh: Kwh
    boiler_price: Money
    dump_price: Money
    heat_value: Money
    tank_places: int = 1

    @classmethod
    def gensets(
        cls,
        hours: Array,
        *,
        least_kw: Kw,
        rated_kw: Kw,
        idle: Money,
        fuel: Money,
        start_cost: Money,
        min_on_h: Array,
        min_off_h: Array,
        ramp_kw_h: Array,
        on: Codes,
        since_h: Array,
        now_kw: Kw,
        levels: int = LEVELS,
    ) -> Self:
        """Units without heat from their nameplates, each a group of its own, on an even grid of levels.

        Args:
            hours: float64 (T,) length of each step.
            least_kw: float64 (m,) minimum load, > 0.
            rated_kw: float64 (m,) largest output, >= ``least_kw``.
            idle: float64 (m,) fuel and wear for being on at all, money/h.
            fuel: float64 (m,) money for each kWh besides.
            start_cost: as in the class, like all that follow.
            min_on_h: float64 (m,).
            min_off_h: float64 (m,).
            ramp_kw_h: float64 (m,).
            on: uint8 (m,).
            since_h: float64 (m,).
            now_kw: float64 (m,).
            levels: places of the grid of outputs, at least 2.
        """
        m = len(rated_kw)
        least, rated = (np.asarray(each, dtype=np.float64) for each in (least_kw, rated_kw))
        # One output only: its grid still has to climb, by less than any meter sees.
        level = np.linspace(least, np.maximum(rated, least * (1.0 + 1e-9)), levels, axis=1)
        none = np.zeros(m)
        return cls(
            hours=hours,
            start=np.arange(m + 1),
            level_kw=level,
            burn=np.asarray(idle)[:, None] + np.asarray(fuel)[:, None] * level,
            start_cost=start_cost,
            min_on_h=min_on_h,
            min_off_h=min_off_h,
            ramp_kw_h=ramp_kw_h,
            on=on,
            since_h=since_h,
            now_kw=now_kw,
            heat_kw=np.zeros_like(level),
            heat_need_kw=np.zeros((m, len(hours))),
            tank_kwh=none,
            tank_now_kwh=none,
            boiler_price=none,
            dump_price=none,
            heat_value=none,
        )

    def heating(
        self,
        *,
        heat_per_kwh: Array,
        need_kw: Kw,
        tank_kwh: Kwh,
        tank_now_kwh: Kwh,
        boiler_price: Money,
        dump_price: Money,
        heat_value: Money,
        places: int = LEVELS,
    ) -> Self:
        """The same units with their heat used: combined heat and power.

        Args:
            heat_per_kwh: float64 (m,) heat made with each kWh, >= 0.
            need_kw: float64 (m, T) heat taken, kW, >= 0.
            tank_kwh: float64 (m,) heat a full tank holds.
            tank_now_kwh: float64 (m,) heat in it now.
            boiler_price: float64 (m,) money per kWh of heat from elsewhere.
            dump_price: float64 (m,) money per kWh of heat thrown away.
            heat_value: float64 (m,) money per kWh of heat left at the end.
            places: of the contents' grid, at least 2.
        """
        return replace(
            self,
            heat_kw=self.level_kw * heat_per_kwh[:, None],
            heat_need_kw=need_kw,
            tank_kwh=tank_kwh,
            tank_now_kwh=tank_now_kwh,
            boiler_price=boiler_price,
            dump_price=dump_price,
            heat_value=heat_value,
            tank_places=places,
        )

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules."""
        asked = (self._columns(), question.price, self.clock, self.tank_places)
        return self._exact(question, lambda of, *into: sums(of, self.start, *asked, *into))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every unit's schedule to ``total`` (m, T), kW."""
        asked = (self._columns(), question.price, self.clock, self.tank_places)
        self._over_groups(lambda of: add(of, self.start, *asked, weight, total))

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        levels = np.shape(self.level_kw)[-1:]
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("level_kw", "burn", "heat_kw"), (count, *levels))
        wanted |= dict.fromkeys((*_NOT_NEGATIVE, *_FINITE, "on", "now_kw", "ramp_kw_h"), (count,))
        return wanted | {"heat_need_kw": (count, len(self.hours))}

    def _rules(self) -> Sequence[Rule]:
        finite = (*_NOT_NEGATIVE, *_FINITE, "burn", "heat_kw", "heat_need_kw")
        climbs = (np.diff(self.level_kw, axis=-1) > 0.0).all(axis=-1) & (self.level_kw[..., 0] > 0.0)
        fits = np.full(self.members, self.tank_places > 1) | (self.tank_kwh == 0.0)
        return (
            ("level_kw", "must be finite, above 0 and ascending", climbs),
            *((f, "must be finite and not below 0", getattr(self, f) >= 0.0) for f in _NOT_NEGATIVE),
            *((f, "must be finite", np.isfinite(getattr(self, f))) for f in finite),
            ("on", "must be 0 or 1", self.on <= 1),
            ("ramp_kw_h", "must not be below 0", self.ramp_kw_h >= 0.0),
            ("now_kw", "must be known where the unit is on", np.isfinite(self.now_kw) | (self.on == 0)),
            ("heat_value", "must not be above boiler_price", ~(self.heat_value > self.boiler_price)),
            ("tank_kwh", "must be 0 where tank_places is 1", fits),
        )

    def _follow(self, price: Array, target: Kw, pull: Array, p_kw: Kw, cost: Money) -> None:
        nearest(self._columns(), price, target, pull, self.clock, self.tank_places, p_kw, cost)

    def _columns(self) -> Columns:
        clock = self.clock
        least = np.stack([self.min_off_h, self.min_on_h]).astype(np.float64)
        left = least[self.on, np.arange(self.members)] - self.since_h
        return Columns(
            self.level_kw,
            self.burn,
            self.start_cost,
            self.ramp_kw_h,
            self.on,
            self.now_kw,
            self.heat_kw,
            self.heat_need_kw,
            self.tank_kwh,
            np.clip(self.tank_now_kwh, 0.0, self.tank_kwh),
            self.boiler_price,
            self.dump_price,
            self.heat_value,
            least,
            np.searchsorted(clock, left - TINY),
            _ages(clock, least),
        )


def _ages(clock: Array, least: Array) -> Indices:
    """How many steps of a state have to be told apart: the most that a shortest time can last, at least 1."""
    ends = np.searchsorted(clock, clock[:-1] + least.ravel()[:, None] - TINY)
    count = (np.minimum(ends, len(clock) - 1) - np.arange(len(clock) - 1)).max(axis=1)
    ages: Indices = np.maximum(count, 1).reshape(least.shape).astype(np.int64)
    return ages
