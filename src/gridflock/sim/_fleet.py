"""Who lives on the feeder: the DERs with nameplate, owner, programme and connection point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import Network
from gridflock.model import Json
from gridflock.schema import CUSTOMER_CLASSES, FAMILY, Family, Kind, attribute
from gridflock.sim._buildings import houses, tanks
from gridflock.sim._devices import NUMBERS, Columns
from gridflock.sim._makes import MAKES, Make
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.sim._thermal import Houses, Tanks
from gridflock.units import PHASES, Codes, Rows, phase_letters

SPOKEN_REACH_S = 300.0
"""How seldom a DER asks that speaks for itself: the field's usual poll rate."""
_SPEAK = (Kind.PV_ROOFTOP, Kind.BATTERY_HOME, Kind.EV_V1G, Kind.EV_V2G)
HEADS = tuple(f"head-{phase}" for phase in PHASES)
_KW_PER_HOME = 2.6
"""Published peak demand that stands for one home."""


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """N DERs in order of kind, on L load ports and H homes.

    Attributes:
        ids: N + L + 3 ids: DERs, then loads, then the feeder heads.
        kind: (N,).
        bus: (N,) bus row.
        phases: (N,) registered phase mask.
        true_phases: (N,) where the device really sits.
        home: (N,) home, or -1.
        provider: N names.
        program: N names.
        customer: (N,) code of the customer class.
        plate: registry numbers, float64 (N,).
        houses: thermal shells of thermostats and heat pumps.
        tanks: of heat pumps and water heaters.
        home_port: (H,) load port a home hangs at.
        home_share: (H,) its share of that port's demand.
        port_customer: (L,) code of the customer class.
        port_true_phase: (L,) phase mask where the metered demand really sits.
    """

    ids: tuple[str, ...]
    kind: Codes
    bus: Rows
    phases: Codes
    true_phases: Codes
    home: Rows
    provider: NDArray[np.str_]
    program: NDArray[np.str_]
    customer: Codes
    plate: Columns
    houses: Houses
    tanks: Tanks
    home_port: Rows
    home_share: NDArray[np.float64]
    port_customer: Codes
    port_true_phase: Codes

    @property
    def n(self) -> int:
        """How many DERs."""
        return len(self.kind)

    def rows(self, family: Family) -> slice:
        """The rows of a family: kinds are sorted, so each family is a slice."""
        mine = [kind for kind in Kind if FAMILY[kind] is family]
        low, high = np.searchsorted(self.kind, [min(mine), max(mine) + 1])
        return slice(int(low), int(high))

    def plate_of(self, rows: slice) -> Columns:
        """Registry numbers of some rows."""
        return {name: column[rows] for name, column in self.plate.items()}


def counts(ders: int) -> dict[Kind, int]:
    """How many of each kind in a fleet of ``ders``, by largest remainder; sums exactly."""
    weight = np.array([make.count for make in MAKES.values()], dtype=np.float64)
    exact = weight / weight.sum() * ders
    whole = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - whole), kind="stable")[: ders - whole.sum()]
    whole[rest] += 1
    return dict(zip(MAKES, whole.tolist(), strict=True))


def fleet(scenario: Scenario, network: Network) -> Fleet:
    """Draw the fleet of a scenario on a feeder."""
    rng = draws(scenario.seed, Draw.FLEET)
    number = counts(scenario.ders)
    kind = np.repeat(np.array(list(number), dtype=np.uint8), list(number.values()))
    port_customer = _port_customers(network)
    home_port, home_share = _homes(rng, network, port_customer)
    home = _who_has_what(rng, number, len(home_port))
    bus, phases = _sites(rng, network, kind, home, home_port)
    _beside_processes(kind, bus, phases)
    plate = _plates(rng, number)
    _fit_chargers_to_phases(plate, kind, phases)
    shells, vessels = _buildings(rng, kind, plate)
    load_bus_phases = network.bus_phases[network.load_bus]
    return Fleet(
        ids=(*_names(number), *network.loads, *HEADS),
        kind=kind,
        bus=bus,
        phases=phases,
        true_phases=_misplaced(rng, phases, network.bus_phases[bus], scenario.phase_error_share),
        home=home,
        provider=_texts(rng, number, "providers"),
        program=_texts(rng, number, "program"),
        customer=np.array(
            [CUSTOMER_CLASSES.index(MAKES[Kind(k)].customer) for k in kind.tolist()], dtype=np.uint8
        ),
        plate=plate,
        houses=shells,
        tanks=vessels,
        home_port=home_port,
        home_share=home_share,
        port_customer=port_customer,
        port_true_phase=_misplaced(rng, network.load_phase, load_bus_phases, scenario.phase_error_share),
    )


def speakers(fleet: Fleet, many: int) -> Rows:
    """So many DERs that could speak for themselves, spread over their kinds; fewer where there are fewer."""
    able = np.flatnonzero(np.isin(fleet.kind, _SPEAK))
    chosen = np.linspace(0, len(able) - 1, min(many, len(able))).round().astype(np.int64)
    return able[np.unique(chosen)].astype(np.int32)


def registry(fleet: Fleet, network: Network, spoken: int = 0) -> list[dict[str, Json]]:
    """What the utility's register says: one row per DER, load port and feeder-head phase."""
    reach_s = np.zeros(fleet.n)
    reach_s[speakers(fleet, spoken)] = SPOKEN_REACH_S
    numbers = [{name: float(fleet.plate[name][row]) for name in NUMBERS} for row in range(fleet.n)]
    rows: list[dict[str, Json]] = [
        {
            "id": fleet.ids[row],
            "kind": Kind(int(fleet.kind[row])).name,
            "bus": network.buses[fleet.bus[row]],
            "phases": phase_letters(int(fleet.phases[row])),
            "provider": str(fleet.provider[row]),
            "program": str(fleet.program[row]),
            "customer": CUSTOMER_CLASSES[fleet.customer[row]],
            **numbers[row],
            **({"reach_s": float(reach_s[row])} if spoken else {}),
        }
        for row in range(fleet.n)
    ]
    for port, load in enumerate(network.loads):
        nominal = abs(complex(network.load_kva[port]))
        rows.append(
            {
                "id": load,
                "kind": Kind.LOAD.name,
                "bus": network.buses[network.load_bus[port]],
                "phases": phase_letters(int(network.load_phase[port])),
                "customer": CUSTOMER_CLASSES[fleet.port_customer[port]],
                "p_min_kw": -1.5 * nominal,
                "s_max_kva": 1.5 * nominal,
            }
        )
    source = network.buses[network.node_bus[network.source_nodes[0]]]
    rows.extend(
        {"id": head, "kind": Kind.FEEDER_HEAD.name, "bus": source, "phases": phase, "customer": "utility"}
        for head, phase in zip(HEADS, PHASES, strict=True)
    )
    return rows


def _names(number: dict[Kind, int]) -> list[str]:
    return [f"{MAKES[kind].prefix}-{i + 1:04d}" for kind, n in number.items() for i in range(n)]


def _port_customers(network: Network) -> Codes:
    """Buses with demand on all three phases are businesses, the largest of them industry."""
    size = np.zeros(len(network.buses))
    np.add.at(size, network.load_bus, -network.load_kva.real)
    spread = np.zeros(len(network.buses), dtype=np.int64)
    np.bitwise_or.at(spread, network.load_bus, network.load_phase.astype(np.int64))
    business = spread == 7
    industry = business & (size >= np.max(size[business], initial=0.0) * 0.9)
    code = np.where(industry, 2, np.where(business, 1, 0))
    return code[network.load_bus].astype(np.uint8)


def _homes(
    rng: np.random.Generator, network: Network, port_customer: Codes
) -> tuple[Rows, NDArray[np.float64]]:
    """Load port and demand share of each home."""
    kw = -network.load_kva.real
    per_port = np.where(port_customer == 0, np.maximum(np.round(kw / _KW_PER_HOME), 1), 0).astype(int)
    port = np.repeat(np.arange(len(kw)), per_port).astype(np.int32)
    share = rng.uniform(0.6, 1.4, len(port)) / per_port[port]
    return port, share


def _who_has_what(rng: np.random.Generator, number: dict[Kind, int], homes: int) -> Rows:
    """Home of each DER: batteries go to homes with sun, one vehicle and one cooling per home first."""
    sun, car, comfort = (rng.permutation(homes) for _ in range(3))
    order = {
        Kind.PV_ROOFTOP: (sun, 0),
        Kind.BATTERY_HOME: (sun, 0),
        Kind.EV_V1G: (car, 0),
        Kind.EV_V2G: (car, number[Kind.EV_V1G]),
        Kind.EV_V2H: (car, number[Kind.EV_V1G] + number[Kind.EV_V2G]),
        Kind.THERMOSTAT: (comfort, 0),
        Kind.HEAT_PUMP: (comfort, number[Kind.THERMOSTAT]),
        Kind.WATER_HEATER: (comfort, number[Kind.THERMOSTAT] + number[Kind.HEAT_PUMP]),
    }
    parts = []
    for kind, n in number.items():
        if kind in order:
            turn, first = order[kind]
            parts.append(turn[(first + np.arange(n)) % homes])
        else:
            parts.append(np.full(n, -1))
    return np.concatenate(parts).astype(np.int32)


def _sites(
    rng: np.random.Generator, network: Network, kind: Codes, home: Rows, home_port: Rows
) -> tuple[Rows, Codes]:
    """Bus and registered phases: homes on their port's phase, larger things on three-phase load buses."""
    port_phase = network.load_phase.astype(np.int64)
    single = (port_phase & -port_phase).astype(np.uint8)
    load_buses = np.unique(network.load_bus)
    wide = load_buses[network.bus_phases[load_buses] == 7]
    wide = wide if len(wide) else load_buses
    at_home = home >= 0
    port = home_port[np.maximum(home, 0)]
    bus = np.where(at_home, network.load_bus[port], rng.choice(wide, len(kind))).astype(np.int32)
    here = network.bus_phases[bus]
    one = np.array([1, 2, 4], dtype=np.uint8)[rng.integers(0, 3, len(kind))]
    lowest = (here.astype(np.int64) & -here.astype(np.int64)).astype(np.uint8)
    one = np.where(one & here, one, lowest)
    narrow = (kind == Kind.EVSE) & (rng.random(len(kind)) < 0.8)
    phases = np.where(at_home, single[port], np.where(narrow, one, here)).astype(np.uint8)
    return bus, phases


def _beside_processes(kind: Codes, bus: Rows, phases: Codes) -> None:
    """Large batteries stand behind the meter of a customer with a process to run, one each in turn."""
    hosts = np.flatnonzero(kind == Kind.CURTAILABLE)
    rows = np.flatnonzero(kind == Kind.BATTERY_COMMERCIAL)
    if len(hosts):
        host = hosts[np.arange(len(rows)) % len(hosts)]
        bus[rows], phases[rows] = bus[host], phases[host]


def _misplaced(rng: np.random.Generator, phases: Codes, here: Codes, share: float) -> Codes:
    """True phases: some single-phase connections hang on the next phase that exists at their bus."""
    wrong = rng.random(len(phases)) < share
    single = np.isin(phases, (1, 2, 4))
    turned = phases.astype(np.int64)
    for _ in range(2):
        moved = np.where(turned == 4, 1, turned * 2)
        step = wrong & single & ((turned == phases) | ((turned & here) == 0))
        turned = np.where(step, moved, turned)
    good = (turned & here) != 0
    return np.where(good, turned, phases).astype(np.uint8)


def _plates(rng: np.random.Generator, number: dict[Kind, int]) -> Columns:
    """Registry numbers, drawn kind by kind from the table of makes."""
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in NUMBERS}
    for kind, n in number.items():
        for name, values in _plate(rng, MAKES[kind], n).items():
            columns[name].append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _plate(rng: np.random.Generator, make: Make, n: int) -> Columns:
    span = make.ratings_kw
    drawn = rng.choice(span, n) if make.listed else rng.uniform(span[0], span[-1], n)
    rating = np.round(drawn, 1)
    energy = make.hours * rating * rng.uniform(*make.energy_spread, n)
    reserve = np.where(rng.random(n) < make.cautious, 0.8, make.reserve) * energy
    values = {name: np.full(n, float(attribute(name).default or 0.0)) for name in NUMBERS}
    values |= {
        "p_max_kw": make.up * rating,
        "p_min_kw": -make.down * rating,
        "s_max_kva": 1.1 * rating,
        "p_floor_kw": np.full(n, make.floor_kw) + make.floor * rating,
        "ramp_kw_s": make.ramp * rating,
        "on_off": np.full(n, float(make.on_off)),
        "min_on_s": np.full(n, make.min_on_s),
        "min_off_s": np.full(n, make.min_off_s),
        "e_max_kwh": energy,
        "e_reserve_kwh": reserve,
        "eff_charge": np.full(n, make.eff_charge),
        "eff_discharge": np.full(n, make.eff_discharge),
        "cost_kwh": np.round(make.cost_kwh * rng.uniform(0.8, 1.2, n), 4),
    }
    # The register holds single precision: the world is built from what it can say.
    return {name: column.astype(np.float32).astype(np.float64) for name, column in values.items()}


def _fit_chargers_to_phases(plate: Columns, kind: Codes, phases: Codes) -> None:
    """Three-phase charging points are 11 kW, with 6 A on each phase as their least."""
    wide = (kind == Kind.EVSE) & (phases == 7)
    plate["p_min_kw"][wide] = -11.0
    plate["s_max_kva"][wide] = np.float32(12.1)
    plate["p_floor_kw"][wide] = np.float32(4.1)


def _buildings(rng: np.random.Generator, kind: Codes, plate: Columns) -> tuple[Houses, Tanks]:
    """Shells and tanks; writes their energy into the plate."""
    shelter = np.isin(kind, (Kind.THERMOSTAT, Kind.HEAT_PUMP))
    vessel = np.isin(kind, (Kind.HEAT_PUMP, Kind.WATER_HEATER))
    shells = houses(rng, -plate["p_min_kw"][shelter])
    vessels = tanks(rng, kind[vessel] == Kind.HEAT_PUMP)
    energy = np.zeros(len(kind))
    energy[shelter] += 2 * shells.band_k * shells.heat_kwh_k / shells.cop
    energy[vessel] += vessels.width_kwh / vessels.cop
    thermal = shelter | vessel
    plate["e_max_kwh"][thermal] = energy[thermal].astype(np.float32)
    return shells, vessels


def _texts(rng: np.random.Generator, number: dict[Kind, int], what: str) -> NDArray[np.str_]:
    parts: list[NDArray[np.str_]] = []
    for kind, n in number.items():
        choice = getattr(MAKES[kind], what)
        options = (choice,) if isinstance(choice, str) else choice
        parts.append(rng.choice(np.array(options), n))
    return np.concatenate(parts)
