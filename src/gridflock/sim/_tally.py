"""The truth about a day, counted where no meter can err."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import Flow
from gridflock.schema import CUSTOMER_CLASSES, Family, Kind
from gridflock.sim._devices import Column, Columns, Devices
from gridflock.sim._population import Population
from gridflock.units import PHASES, Kw, Kwh, Rows

V_LOW_PU, V_HIGH_PU = 0.95, 1.05
"""Range A of ANSI C84.1."""
QUARTER_S = 900
_SLACK = 1e-6


class Tally:
    """Books of one day.

    Attributes:
        sites: one name per bus and customer class, ``"47:commercial"``.
        site: (N+L,) site of each DER and load port.
        site_import_kwh: (Q, sites) energy drawn per quarter-hour, net of what the site itself
            produced in the same step.
        site_export_kwh: (Q, sites).
        import_kwh: (Q, N+L) of each DER and load port by itself.
        export_kwh: (Q, N+L).
        available_kwh: (N,) what sun and wind offered.
        produced_kwh: (N,) what was taken of it.
        moved_kwh: (N,) what running costs are paid for: battery throughput, energy out of vehicles,
            generation, paused process load.
        breaches: device steps outside nameplate or energy limits.
    """

    PER_TICK: ClassVar[tuple[str, ...]] = (
        "t_s", "seconds", "losses_kw", "v_min_pu", "v_max_pu", "low_nodes", "high_nodes",
        "overloaded", "loading", "converged", *(f"p_{phase}_kw" for phase in PHASES),
        *(f"q_{phase}_kvar" for phase in PHASES),
    )  # fmt: skip
    _STATE: ClassVar[tuple[str, ...]] = (
        "site_import_kwh", "site_export_kwh", "import_kwh", "export_kwh", "available_kwh", "produced_kwh",
        "moved_kwh",
    )  # fmt: skip

    def __init__(
        self, population: Population, buses: tuple[str, ...], load_bus: Rows, span_s: tuple[int, int]
    ) -> None:
        fleet = population.fleet
        self._population = population
        self._start_s = span_s[0]
        quarters = -(-(span_s[1] - span_s[0]) // QUARTER_S)
        place = np.concatenate([fleet.bus, load_bus]).astype(np.int64)
        code = np.concatenate([fleet.customer, fleet.port_customer]).astype(np.int64)
        known, self.site = np.unique(place * len(CUSTOMER_CLASSES) + code, return_inverse=True)
        self.sites = tuple(f"{buses[s // 4]}:{CUSTOMER_CLASSES[s % 4]}" for s in known.tolist())
        self.site_import_kwh: Kwh = np.zeros((quarters, len(known)))
        self.site_export_kwh: Kwh = np.zeros((quarters, len(known)))
        self.import_kwh: Kwh = np.zeros((quarters, len(place)))
        self.export_kwh: Kwh = np.zeros((quarters, len(place)))
        self.available_kwh: Kwh = np.zeros(fleet.n)
        self.produced_kwh: Kwh = np.zeros(fleet.n)
        self.moved_kwh: Kwh = np.zeros(fleet.n)
        self.breaches = 0
        self._ticks: list[tuple[float, ...]] = []
        self._stored_kwh = self._stored()
        self._content_kwh = self._content()

    def book(self, now_s: int, seconds: int, p_kw: Kw) -> None:
        """Count one step that begins at ``now_s``; ``p_kw`` of DERs and load ports (N+L,)."""
        quarter, hours = (now_s - self._start_s) // QUARTER_S, seconds / 3600
        energy = p_kw * hours
        out = np.maximum(energy, 0.0)
        self.export_kwh[quarter] += out
        self.import_kwh[quarter] += out - energy
        net = np.bincount(self.site, weights=energy, minlength=len(self.sites))
        self.site_export_kwh[quarter] += np.maximum(net, 0.0)
        self.site_import_kwh[quarter] += np.maximum(-net, 0.0)
        population = self._population
        rows = population.rows[Family.RENEWABLE]
        self.available_kwh[rows] += population.renewables.own_kw * hours
        self.produced_kwh[rows] += energy[rows]
        self._move(p_kw[: population.fleet.n] * hours, population.own_kw * hours)
        self.breaches += self._outside(p_kw[: population.fleet.n])

    def _move(self, energy: Kwh, own: Kwh) -> None:
        """Count what running costs are paid for."""
        rows = self._population.rows
        self.moved_kwh[rows[Family.STORAGE]] += np.abs(energy[rows[Family.STORAGE]])
        for family in (Family.VEHICLE, Family.GENERATOR):
            self.moved_kwh[rows[family]] += np.maximum(energy[rows[family]], 0.0)
        shed = rows[Family.SHED]
        self.moved_kwh[shed] += np.maximum(energy[shed] - own[shed], 0.0)

    def _outside(self, p_kw: Kw) -> int:
        plate, population = self._population.fleet.plate, self._population
        wrong = (p_kw < plate["p_min_kw"] - _SLACK) | (p_kw > plate["p_max_kw"] + _SLACK) | np.isnan(p_kw)
        for family, content in (
            (Family.STORAGE, population.storage.e_kwh),
            (Family.VEHICLE, population.vehicles.e_kwh),
            (Family.GENERATOR, population.generators.e_kwh),
            (Family.SHED, population.processes.e_kwh),
        ):
            rows = population.rows[family]
            wrong[rows] |= (content < -_SLACK) | (content > plate["e_max_kwh"][rows] + _SLACK)
        return int(np.count_nonzero(wrong))

    def tick(self, now_s: int, seconds: int, flow: Flow) -> None:
        """Count the state of the wires that held for the last ``seconds``."""
        v_pu, loading = flow.v_pu, flow.loading
        self._ticks.append((
            now_s, seconds, flow.losses_kw, v_pu.min(), v_pu.max(),
            int(np.count_nonzero(v_pu < V_LOW_PU)), int(np.count_nonzero(v_pu > V_HIGH_PU)),
            int(np.count_nonzero(loading > 1.0)), loading.max(), flow.converged,
            *flow.head_kva.real, *flow.head_kva.imag,
        ))  # fmt: skip

    def series(self) -> dict[str, NDArray[np.float64]]:
        """Columns of ``PER_TICK``, float64 (ticks,) each.

        ``t_s`` is the end of a tick; power at the head is per phase, import negative; ``low_nodes``,
        ``high_nodes`` and ``overloaded`` count nodes and branches outside their limits.
        """
        table = np.array(self._ticks, dtype=np.float64).reshape(-1, len(self.PER_TICK))
        return dict(zip(self.PER_TICK, table.T.copy(), strict=True))

    def _stored(self) -> dict[str, float]:
        """Energy in each family that stores, kWh."""
        population = self._population
        models: dict[str, Devices] = {
            "storage": population.storage,
            "vehicle": population.vehicles,
            "thermal": population.thermal,
            "generator": population.generators,
        }
        return {name: float(np.nansum(model.energy_kwh())) for name, model in models.items()}

    def _content(self) -> Kwh:
        """(N,) energy in batteries, kWh.

        Vehicles count by what they are owed; what sits in walls and tanks is left out.
        """
        population = self._population
        found = np.zeros(population.fleet.n)
        found[population.rows[Family.STORAGE]] = population.storage.energy_kwh()
        return found

    def by_customer(self) -> dict[str, dict[str, float]]:
        """What a bill does not show, per customer class.

        ``running`` costs (money), energy ``stored`` in batteries beyond what the day began with,
        ``owed`` to plugged-in vehicles and ``missed`` by those that left (kWh).
        """
        population, fleet = self._population, self._population.fleet
        owed, missed = np.zeros(fleet.n), np.zeros(fleet.n)
        vehicles, rows = population.vehicles, population.rows[Family.VEHICLE]
        owed[rows] = vehicles.owed_by_each()
        missed[rows] = vehicles.unmet_kwh
        columns = {
            "running": self.moved_kwh * fleet.plate["cost_kwh"],
            "stored": self._content() - self._content_kwh,
            "owed": owed,
            "missed": missed,
        }
        code = fleet.customer.astype(np.int64)
        sums = {
            name: np.bincount(code, weights=value, minlength=len(CUSTOMER_CLASSES))
            for name, value in columns.items()
        }
        return {
            customer: {name: float(values[k]) for name, values in sums.items()}
            for k, customer in enumerate(CUSTOMER_CLASSES)
        }

    def by_kind(self) -> dict[str, dict[str, float]]:
        """Per kind: ``resources``, ``installed_kw``, ``drawn_kwh`` and ``delivered_kwh``."""
        population, fleet = self._population, self._population.fleet
        drawn, given = (energy.sum(axis=0)[: fleet.n] for energy in (self.import_kwh, self.export_kwh))
        table = {}
        for code in np.unique(fleet.kind):
            mine = fleet.kind == code
            table[Kind(int(code)).name.lower()] = {
                "resources": float(mine.sum()),
                "installed_kw": float(population.rating_kw[mine].sum()),
                "drawn_kwh": float(drawn[mine].sum()),
                "delivered_kwh": float(given[mine].sum()),
            }
        return table

    def summary(self) -> dict[str, float]:
        """The day in plain numbers; the suffix is the unit. Peaks are means over one tick unless said."""
        return self._wires() | self._devices()

    def _wires(self) -> dict[str, float]:
        ticks = self.series()
        hours = ticks["seconds"] / 3600
        head_kw = sum((ticks[f"p_{phase}_kw"] for phase in PHASES), np.zeros(len(hours)))
        quarter = ((ticks["t_s"] - 1 - self._start_s) // QUARTER_S).astype(np.int64)
        energy, time = np.bincount(quarter, weights=head_kw * hours), np.bincount(quarter, weights=hours)
        mean = np.divide(energy, time, out=np.zeros_like(energy), where=time > 0)
        return {
            "peak_import_kw": float(np.max(-head_kw, initial=0.0)),
            "peak_import_15min_kw": float(np.max(-mean, initial=0.0)),
            "largest_reverse_kw": float(np.max(head_kw, initial=0.0)),
            "reverse_hours": float(hours[head_kw > 0].sum()),
            "import_kwh": float((np.maximum(-head_kw, 0.0) * hours).sum()),
            "export_kwh": float((np.maximum(head_kw, 0.0) * hours).sum()),
            "losses_kwh": float((ticks["losses_kw"] * hours).sum()),
            "v_min_pu": float(np.min(ticks["v_min_pu"], initial=np.inf)),
            "v_max_pu": float(np.max(ticks["v_max_pu"], initial=-np.inf)),
            "low_voltage_node_hours": float((ticks["low_nodes"] * hours).sum()),
            "high_voltage_node_hours": float((ticks["high_nodes"] * hours).sum()),
            "overload_hours": float(hours[ticks["overloaded"] > 0].sum()),
            "overload_branch_hours": float((ticks["overloaded"] * hours).sum()),
            "worst_loading": float(np.max(ticks["loading"], initial=0.0)),
            "unsolved_ticks": float(np.count_nonzero(ticks["converged"] == 0)),
        }

    def _devices(self) -> dict[str, float]:
        population = self._population
        kind, fleet = population.fleet.kind, population.fleet
        vehicles, thermal = population.vehicles, population.thermal
        wind = kind == Kind.WIND
        car = population.rows[Family.VEHICLE]
        drawn, given = self.import_kwh.sum(axis=0), self.export_kwh.sum(axis=0)
        after = self._stored()
        stored = {f"{name}_stored_start_kwh": value for name, value in self._stored_kwh.items()}
        stored |= {f"{name}_stored_end_kwh": value for name, value in after.items()}
        return {
            "pv_kwh": float(self.produced_kwh[~wind].sum()),
            "pv_available_kwh": float(self.available_kwh[~wind].sum()),
            "wind_kwh": float(self.produced_kwh[wind].sum()),
            "wind_available_kwh": float(self.available_kwh[wind].sum()),
            "load_kwh": float(drawn[fleet.n :].sum()),
            "thermal_kwh": float(drawn[population.rows[Family.THERMAL]].sum()),
            "ev_charged_kwh": float(drawn[car].sum()),
            "ev_discharged_kwh": float(given[car].sum()),
            "ev_departures": float(vehicles.left.sum()),
            "ev_unmet_kwh": float(vehicles.unmet_kwh.sum()),
            "ev_unmeetable_kwh": float(vehicles.hopeless_kwh.sum()),
            "ev_owed_kwh": vehicles.owed_kwh(),
            "occupied_minutes": float(thermal.occupied_s.sum() / 60),
            "comfort_lost_minutes": float(thermal.lost_s.sum() / 60),
            "breaches": float(self.breaches),
            **stored,
        }

    def state(self) -> Columns:
        """All that changes."""
        stored = np.array(list(self._stored_kwh.values()))
        ticks: Column = np.array(self._ticks, dtype=np.float64).reshape(-1, len(self.PER_TICK))
        kept = {name: getattr(self, name).copy() for name in self._STATE}
        return kept | {"ticks": ticks, "breaches": np.array(self.breaches), "stored": stored,
                       "content": self._content_kwh.copy()}  # fmt: skip

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        for name in self._STATE:
            setattr(self, name, state[name].copy())
        self._ticks = [tuple(row) for row in state["ticks"].tolist()]
        self.breaches = int(state["breaches"])
        self._content_kwh = state["content"].copy()
        self._stored_kwh = dict(zip(self._stored_kwh, state["stored"].tolist(), strict=True))
