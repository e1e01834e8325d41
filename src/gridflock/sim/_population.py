"""All devices and their weather over one or more days, stepped together; knows no wires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from gridflock.grid import Network
from gridflock.schema import INVERTERS, Family, Kind
from gridflock.sim import _habits as habits
from gridflock.sim._devices import Column, Columns, Devices
from gridflock.sim._fleet import Fleet
from gridflock.sim._generators import Generators
from gridflock.sim._process import Processes
from gridflock.sim._renewables import Renewables, offer
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.sim._storage import Batteries
from gridflock.sim._thermal import Thermal
from gridflock.sim._vehicles import Vehicles
from gridflock.sim._weather import Weather, weather
from gridflock.units import Kvar, Kw, Kwh, Rows

KM_PER_FT = 0.3048e-3
_COOLING_FROM_C = 17.0
"""A day with a warmer mean is one for cooling."""
_REACTIVE_SHARE = 0.44
"""Of the apparent-power rating: what a category B inverter can give (IEEE 1547-2018, 5.2)."""
_REACTIVE = {Family.THERMAL: 0.25, Family.SHED: 0.35}
"""Reactive over active demand of motors; inverters run at unity."""


class Population:
    """The N DERs of a fleet and the L native demands around them, from the first midnight on.

    Attributes:
        start_s: first moment.
        step_s: length of a step of the tables.
        demand_kw: (T, L) native metered demand, positive.
        families: device models by family; their rows are ``rows[family]``.
    """

    def __init__(
        self, scenario: Scenario, network: Network, fleet: Fleet, days: Sequence[date], step_s: int
    ) -> None:
        self.fleet = fleet
        self.step_s = step_s
        seed = scenario.seed
        site = (network.latitude, network.longitude)
        skies = [
            weather(seed, day, step_s, network.timezone, site, network.bus_xy * KM_PER_FT) for day in days
        ]
        self.start_s = int(skies[0].t_s[0])
        self.outdoor_c = np.concatenate([sky.outdoor_c for sky in skies])
        clear = np.concatenate([sky.ghi * sky.clear_index.mean(axis=0) for sky in skies])
        self.sun_kw_m2 = clear / 1000
        nominal = np.maximum(-network.load_kva.real, 0.0) * scenario.demand_scale
        self.demand_kw = np.concatenate([
            habits.demand(seed, day, sky, nominal, fleet.port_customer)
            for day, sky in zip(days, skies, strict=True)
        ])  # fmt: skip
        orderable = [family for family in Family if family is not Family.NONE]
        self.rows: dict[Family, slice] = {family: fleet.rows(family) for family in orderable}
        self._home_of = {family: fleet.home[rows] for family, rows in self.rows.items()}
        self._build(scenario, network, days, skies)
        self.families: dict[Family, Devices] = {
            Family.RENEWABLE: self.renewables,
            Family.STORAGE: self.storage,
            Family.VEHICLE: self.vehicles,
            Family.GENERATOR: self.generators,
            Family.SHED: self.processes,
            Family.THERMAL: self.thermal,
        }
        ratio = np.zeros(fleet.n)
        for family, value in _REACTIVE.items():
            ratio[self.rows[family]] = value
        self.reactive = ratio
        self.ceiling = np.zeros(fleet.n, bool)
        self.ceiling[self.rows[Family.RENEWABLE]] = True
        self.inverter = np.isin(fleet.kind, tuple(INVERTERS))
        plate = fleet.plate
        self.rating_kw: Kw = np.maximum(plate["p_max_kw"], -plate["p_min_kw"])

    def _build(
        self, scenario: Scenario, network: Network, days: Sequence[date], skies: Sequence[Weather]
    ) -> None:
        fleet, seed, rows = self.fleet, scenario.seed, self.rows
        rng = draws(seed, Draw.START, days[0].toordinal())
        pairs = list(zip(days, skies, strict=True))

        sun = rows[Family.RENEWABLE]
        plate = fleet.plate_of(sun)
        windy = fleet.kind[sun] == Kind.WIND
        self.renewables = Renewables(
            plate, np.concatenate([offer(seed, plate, windy, fleet.bus[sun], sky) for sky in skies])
        )

        plate = fleet.plate_of(rows[Family.STORAGE])
        kind = fleet.kind[rows[Family.STORAGE]]
        self_use = (kind == Kind.BATTERY_HOME) & (draws(seed, Draw.FLEET, 2).random(len(kind)) < 0.5)
        fill = np.where(self_use, rng.uniform(0.0, 0.5, len(kind)), rng.uniform(0.85, 1.0, len(kind)))
        fill = np.where(kind == Kind.BATTERY_COMMERCIAL, rng.uniform(0.3, 0.7, len(kind)), fill)
        content = plate["e_reserve_kwh"] + fill * (plate["e_max_kwh"] - plate["e_reserve_kwh"])
        self.storage = Batteries(plate, content, self_use)

        plate = fleet.plate_of(rows[Family.VEHICLE])
        kind = fleet.kind[rows[Family.VEHICLE]]
        stays = habits.sessions(seed, [days[0] - timedelta(days=1), *days], network.timezone, kind, plate)
        self.vehicles = Vehicles(plate, stays, np.isin(kind, (Kind.EV_V2G, Kind.EV_V2H)), kind == Kind.EV_V2H)
        self.vehicles.start(self.start_s)

        plate = fleet.plate_of(rows[Family.GENERATOR])
        chilled = fleet.kind[rows[Family.GENERATOR]] == Kind.TRIGENERATION
        self.generators = Generators(
            plate, np.concatenate([habits.heat(seed, day, sky, plate, chilled) for day, sky in pairs])
        )
        self.generators.start(rng)
        plate = fleet.plate_of(rows[Family.SHED])
        self.processes = Processes(
            plate, np.concatenate([habits.process(seed, day, sky, plate) for day, sky in pairs])
        )
        plate = fleet.plate_of(rows[Family.THERMAL])
        n, w = len(plate["p_max_kw"]), len(fleet.tanks.width_kwh)
        drawn = np.concatenate([habits.hot_water(seed, day, sky, w) for day, sky in pairs])
        self.occupied = np.concatenate([habits.occupancy(seed, day, sky.hour, n) for day, sky in pairs])
        cooling = float(self.outdoor_c.mean()) > _COOLING_FROM_C
        tanks = replace(fleet.tanks, draw_kwh=drawn)
        self.thermal = Thermal(plate, fleet.houses, tanks, cooling=cooling, step_h=self.step_s / 3600)
        self.thermal.start(rng)

    def q_kvar(self, ask_kvar: Kvar) -> Kvar:
        """Reactive power (N,): as asked within the inverter's disc, else at the device's own factor.

        Active power goes first, and no more than IEEE 1547-2018 asks of category B is given.
        """
        p_kw, rating = self.p_kw, self.fleet.plate["s_max_kva"].astype(np.float64)
        most = np.minimum(_REACTIVE_SHARE * rating, np.sqrt(np.maximum(rating**2 - p_kw**2, 0.0)))
        obeys = self.inverter & np.isfinite(ask_kvar)
        obeys[self.rows[Family.VEHICLE]] &= self.vehicles.plugged
        return np.where(obeys, np.clip(np.nan_to_num(ask_kvar), -most, most), self.reactive * p_kw)

    def index(self, t_s: float) -> int:
        """Row of the day's tables in force at a moment."""
        return min(int(t_s - self.start_s) // self.step_s, len(self.demand_kw) - 1)

    def step(self, now_s: int, seconds: int, ask_kw: Kw) -> None:
        """Hold every device for some seconds within one step of the tables.

        Args:
            now_s: start.
            seconds: length.
            ask_kw: (N,) asked power, NaN for nothing.
        """
        k, hours = self.index(now_s), seconds / 3600
        ask = {family: ask_kw[rows] for family, rows in self.rows.items()}
        self.renewables.step(k, ask[Family.RENEWABLE])
        home_kw = self._homes(k)
        self.storage.step(hours, ask[Family.STORAGE], home_kw[self._home_of[Family.STORAGE]])
        self.vehicles.step(now_s, hours, ask[Family.VEHICLE], home_kw[self._home_of[Family.VEHICLE]])
        self.generators.step(now_s, hours, ask[Family.GENERATOR], k)
        self.processes.step(hours, ask[Family.SHED], k)
        air = (float(self.outdoor_c[k]), float(self.sun_kw_m2[k]), k)
        self.thermal.step(now_s, hours, ask[Family.THERMAL], air, self.occupied[k])

    def _homes(self, k: int) -> Kw:
        """Native demand and roof of each home (H + 1,); the last entry is for things without a home."""
        fleet = self.fleet
        home_kw = np.zeros(len(fleet.home_port) + 1)
        home_kw[:-1] = -self.demand_kw[k][fleet.home_port] * fleet.home_share
        roof = self._home_of[Family.RENEWABLE]
        home_kw += np.bincount(roof % len(home_kw), weights=self.renewables.p_kw, minlength=len(home_kw))
        home_kw[-1] = 0.0
        return home_kw

    def _gather(self, part: str) -> Column:
        return np.concatenate([getattr(self.families[family], part) for family in self.families])

    @property
    def p_kw(self) -> Kw:
        """Active power over the last step (N,)."""
        return self._gather("p_kw")

    @property
    def own_kw(self) -> Kw:
        """What all would have done unasked (N,)."""
        return self._gather("own_kw")

    def energy_kwh(self) -> Kwh:
        """Energy readings (N,), NaN where there is none."""
        return np.concatenate([model.energy_kwh() for model in self.families.values()])

    def with_energy(self) -> Rows:
        """Rows that have an energy reading."""
        families = np.ones(self.fleet.n, bool)
        families[self.rows[Family.RENEWABLE]] = False
        families[self.fleet.kind == Kind.GENSET] = False
        return np.flatnonzero(families).astype(np.int32)

    def state(self) -> Columns:
        """All that changes, by family."""
        return {
            f"{family.name}_{name}": column
            for family, model in self.families.items()
            for name, column in model.state().items()
        }

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        for family, model in self.families.items():
            mark = f"{family.name}_"
            model.resume({name[len(mark) :]: value for name, value in state.items() if name.startswith(mark)})
