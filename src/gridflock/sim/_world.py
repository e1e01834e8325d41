"""The world as a ``ports.Field``: time passes, meters speak, orders arrive, answers come back."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import Network
from gridflock.grid.build import from_document
from gridflock.model import Json, Orders, Outcomes, Readings
from gridflock.schema import Family
from gridflock.sim._devices import Columns
from gridflock.sim._fleet import HEADS, fleet, registry, speakers
from gridflock.sim._forecaster import Forecaster
from gridflock.sim._meters import Meters
from gridflock.sim._orders import OrderBook
from gridflock.sim._past import past
from gridflock.sim._people import people
from gridflock.sim._population import KM_PER_FT, Population
from gridflock.sim._scenario import Scenario, feeder_document
from gridflock.sim._tally import Tally
from gridflock.sim._weather import local_midnight
from gridflock.sim._wires import Tick, Wires
from gridflock.units import NEVER_S, Kvar, Kw, Rows, Seconds

STEP_S = 60
"""Longest step of the devices; tables of the day hold one row per step."""


class World:
    """One day on one feeder, from local midnight to midnight.

    It implements ``ports.Field``. Whoever sends no orders lives the unmanaged day; with the
    same scenario, weather, habits, demand and bad luck are the same whatever is ordered.

    Attributes:
        scenario: what it was made from.
        registry: what the utility's register says: rows of ``schema.REGISTRY`` columns.
        ids: DERs, load ports, feeder heads; the vocabulary of readings and outcomes.
        spoken: those DERs that speak for themselves; orders by ``send`` do not reach them.
        start_s: first moment of the day.
        end_s: last moment, not included.
        now_s: how far it has lived.
        tally: the truth, counted.
        trace: per tick the true inputs and answer, when the scenario asks for it.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        network = from_document(feeder_document(scenario.feeder))
        self._network = network
        self._fleet = fleet(scenario, network)
        self.registry: list[dict[str, Json]] = registry(self._fleet, network, scenario.spoken)
        self.ids = self._fleet.ids
        self.spoken = tuple(self.ids[row] for row in speakers(self._fleet, scenario.spoken).tolist())
        self.start_s = local_midnight(scenario.day, network.timezone)
        self.end_s = local_midnight(scenario.day + timedelta(days=1), network.timezone)
        self.now_s = self.start_s
        self._folk = people(scenario, self._fleet.n, self.start_s, self.end_s)
        self._population = Population(scenario, network, self._fleet, [scenario.day], STEP_S)
        self._book = OrderBook(scenario, self.ids, self._fleet.n, self._folk)
        self._wires = Wires(scenario, network, self._fleet)
        self._meters = Meters(scenario, self.ids, self._reporting(), len(HEADS))
        self._read_s = NEVER_S
        self.trace: list[Tick] = []
        self._solve()
        self.tally = Tally(self._population, network.buses, network.load_bus, (self.start_s, self.end_s))

    @property
    def network(self) -> Network:
        """The true feeder: its impedances are not the model's."""
        return self._wires.network

    def _reporting(self) -> dict[str, Rows]:
        """Which rows of ``ids`` report which quantity."""
        n, population = self._fleet.n, self._population
        everyone = np.arange(len(self.ids), dtype=np.int32)
        ders = everyone[:n]
        vehicles = ders[population.rows[Family.VEHICLE]]
        timed = np.concatenate([ders[population.rows[f]] for f in (Family.GENERATOR, Family.THERMAL)])
        return {
            "p_kw": everyone,
            "q_kvar": everyone,
            "v_pu": everyone[: -len(HEADS)],
            "p_avail_kw": ders,
            "e_kwh": population.with_energy(),
            "e_target_kwh": vehicles,
            "depart_s": vehicles,
            "ready": ders,
            "locked_s": timed,
        }

    def advance(self, now_s: int) -> None:
        """Live until ``now_s``: devices in steps of at most a minute, then one power flow.

        Args:
            now_s: unix seconds, not after ``end_s``; the past changes nothing.
        """
        begin = self.now_s
        while self.now_s < now_s:
            border = self.now_s - self.now_s % STEP_S + STEP_S
            self._step(min(border, now_s) - self.now_s)
        if self.now_s > begin:
            self._solve()
            self.tally.tick(self.now_s, self.now_s - begin, self._wires.now())

    def _step(self, seconds: int) -> None:
        population = self._population
        population.step(self.now_s, seconds, self._book.asked(self.now_s + seconds / 2))
        p_kw = population.p_kw
        self.tally.book(self.now_s, seconds, np.concatenate([p_kw, self._wires.metered_kva().real]))
        self.now_s += seconds
        own_kw = population.own_kw
        self._book.settle(self.now_s, p_kw, own_kw, population.rating_kw, population.ceiling)

    def _solve(self) -> None:
        """The true flow at the powers of the last step."""
        population = self._population
        p_kw = population.p_kw
        demand_kw = population.demand_kw[population.index(max(self.now_s - 1, self.start_s))]
        self._q_kvar = population.q_kvar(self._book.asked_kvar(self.now_s))
        self._wires.solve(self.now_s, demand_kw, p_kw, self._q_kvar)
        if self.scenario.trace:
            self.trace.append(self._wires.trace(self.now_s))

    def read(self, now_s: int) -> Readings:
        """Measurements of this moment, and late ones of the past; a moment is measured once.

        A vehicle that is away says no more than its power and that it is not ready.
        """
        silent = np.zeros(len(self.ids), bool)
        silent[: self._fleet.n] = self._folk.silent(self.now_s)
        fresh = self._truth() if self._read_s < self.now_s else None
        self._read_s = self.now_s
        return self._meters.read(max(now_s, self.now_s), fresh, silent)

    def _truth(self) -> dict[str, NDArray[Any]]:
        population, wires = self._population, self._wires
        p_kw, head, metered = population.p_kw, wires.now().head_kva, wires.metered_kva()
        vehicles = population.vehicles
        ready = self._folk.willing(self.now_s)
        ready[population.rows[Family.VEHICLE]] &= vehicles.obeys
        ready[population.rows[Family.THERMAL]] &= population.thermal.works
        ready[population.rows[Family.SHED]] &= population.processes.e_kwh > 0
        energy = population.energy_kwh()[population.with_energy()]
        return {
            "p_kw": np.concatenate([p_kw, metered.real, head.real]),
            "q_kvar": np.concatenate([self._q_kvar, metered.imag, head.imag]),
            "v_pu": np.concatenate(wires.volts()),
            "p_avail_kw": population.own_kw,
            "e_kwh": energy,
            "e_target_kwh": vehicles.target_kwh,
            "depart_s": vehicles.depart_s,
            "ready": ready.astype(np.float64),
            "locked_s": np.concatenate([
                population.generators.locked_s(self.now_s), population.thermal.locked_s(self.now_s)
            ]),
        }  # fmt: skip

    def send(self, orders: Orders) -> None:
        """Hand orders over; a repeated ``order_id`` changes nothing."""
        if self.spoken:
            silent = set(self.spoken)
            mine = np.array([orders.ids[row] not in silent for row in orders.index.tolist()], dtype=bool)
            orders = orders.only(mine)
        self._book.send(orders)

    def local(self, ids: tuple[str, ...], p_kw: Kw, q_kvar: Kvar, until_s: Seconds) -> None:
        """Let devices' own controllers set them, without a message that could be lost.

        Args:
            ids: (n,) of DERs.
            p_kw: (n,) what they do where they can; NaN leaves them alone.
            q_kvar: (n,) the same of reactive power.
            until_s: (n,) before these moments.
        """
        self._book.local(ids, p_kw, q_kvar, until_s)

    def outcomes(self, now_s: int) -> Outcomes:
        """Answers that are back by now, each once."""
        return self._book.collect(now_s)

    def history(self, days: int = 7, step_s: int = 900) -> dict[str, Any]:
        """The unmanaged days before this one, for learning; see ``past``."""
        return past(self.scenario, self._network, self._fleet, days, step_s)

    def forecaster(self) -> Forecaster:
        """The service that forecasts its weather: a ``ports.Weather``."""
        network = self._network
        site = (network.latitude, network.longitude)
        return Forecaster(self.scenario, network.timezone, site, network.bus_xy * KM_PER_FT)

    def snapshot(self) -> bytes:
        """Everything that has changed since midnight, as one ``.npz``; no pickles inside."""
        parts = {"population": self._population.state(), "book": self._book.state(),
                 "wires": self._wires.state(), "meters": self._meters.state(),
                 "tally": self.tally.state()}  # fmt: skip
        flat = {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}
        sink = io.BytesIO()
        np.savez(sink, allow_pickle=False, clock=np.array([self.now_s, self._read_s]), **flat)
        return sink.getvalue()

    @classmethod
    def restored(cls, scenario: Scenario, data: bytes) -> World:
        """The world of a snapshot, which lives on bit for bit; its trace begins anew."""
        world = cls(scenario)
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            flat = {name: kept[name] for name in kept.files}

        def of(part: str) -> Columns:
            mark = f"{part}/"
            return {name[len(mark) :]: value for name, value in flat.items() if name.startswith(mark)}

        world.now_s, world._read_s = flat["clock"].tolist()
        world._population.resume(of("population"))
        world._book.resume(of("book"))
        world._wires.resume(of("wires"))
        world._meters.resume(of("meters"))
        world.tally.resume(of("tally"))
        world._q_kvar = world._population.q_kvar(world._book.asked_kvar(world.now_s))
        world.trace.clear()
        return world
