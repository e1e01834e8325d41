"""A synthetic fleet of any size, a million by default: kinds, places and readings as a utility has them.

All of it is drawn, none of it is anybody's data; shares and sizes are round numbers of the order that
a utility with many small devices sees. The same size and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Fleet
from gridflock.fleet.registry import Registry
from gridflock.model import Readings
from gridflock.schema import (
    CUSTOMER_CLASSES,
    FAMILY,
    INVERTERS,
    REGISTRY,
    TELEMETRY,
    Enrolment,
    Family,
    Kind,
)
from gridflock.units import HOUR_S, Codes, Mask, Rows, phase_letters

NOON_S = 1_718_992_800
"""Moment of the readings, a midsummer day, unix seconds."""

_PER_PREMISE, _PER_TRANSFORMER, _PER_FEEDER, _PER_SUBSTATION = 5, 10, 100, 20
_PROVIDERS = ("utility", *(f"aggregator-{i:02d}" for i in range(1, 12)))
_MAKES, _DEVICES, _FIRMWARES = 24, 60, 30
_THREE_PHASE = 7
_Array = NDArray[np.float64]


class _Typical(NamedTuple):
    """What devices of one kind are like; sizes are medians of a log-normal spread."""

    share: float
    up_kw: float
    down_kw: float
    hours: float = 0.0
    eff: float = 1.0
    floor: float = 0.0
    on_off: bool = False
    rest_s: float = 0.0
    cost: float = 0.0
    customer: int = 0
    program: str = "none"


_TYPICAL: dict[Kind, _Typical] = {
    Kind.PV_ROOFTOP: _Typical(0.20, 6.0, 0.0, program="solar-export"),
    Kind.PV_COMMUNITY: _Typical(0.001, 800.0, 0.0, customer=3, program="solar-export"),
    Kind.WIND: _Typical(0.0005, 1_500.0, 0.0, cost=0.01, customer=3),
    Kind.BATTERY_HOME: _Typical(0.06, 5.0, 5.0, hours=2.5, eff=0.95, cost=0.04, program="battery-rewards"),
    Kind.BATTERY_COMMERCIAL: _Typical(0.003, 120.0, 120.0, hours=2.0, eff=0.94, cost=0.03, customer=1),
    Kind.EV_V1G: _Typical(0.09, 0.0, 7.2, hours=8.5, eff=0.9, floor=0.2, program="managed-charging"),
    Kind.EV_V2G: _Typical(
        0.004, 7.2, 7.2, hours=8.5, eff=0.9, floor=0.2, cost=0.06, program="vehicle-to-grid"
    ),
    Kind.EV_V2H: _Typical(0.003, 7.2, 7.2, hours=8.5, eff=0.9, floor=0.2, cost=0.06),
    Kind.EVSE: _Typical(
        0.02, 0.0, 11.0, hours=6.0, eff=0.9, floor=0.13, customer=1, program="managed-charging"
    ),
    Kind.CHP: _Typical(0.0008, 150.0, 0.0, hours=1.5, floor=0.5, rest_s=1_800, cost=0.09, customer=1),
    Kind.TRIGENERATION: _Typical(
        0.0002, 400.0, 0.0, hours=1.5, floor=0.5, rest_s=1_800, cost=0.09, customer=2
    ),
    Kind.GENSET: _Typical(
        0.002, 250.0, 0.0, floor=0.3, rest_s=900, cost=0.35, customer=1, program="emergency"
    ),
    Kind.CURTAILABLE: _Typical(0.006, 0.0, 180.0, cost=0.25, customer=2, program="interruptible"),
    Kind.THERMOSTAT: _Typical(0.30, 0.0, 3.0, hours=0.6, on_off=True, rest_s=180, program="smart-cooling"),
    Kind.HEAT_PUMP: _Typical(0.08, 0.0, 2.5, hours=1.0, on_off=True, rest_s=300, program="smart-heating"),
    Kind.WATER_HEATER: _Typical(0.17, 0.0, 4.0, hours=1.5, on_off=True, rest_s=120, program="hot-water"),
    Kind.LOAD: _Typical(0.06, 0.0, 4.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Million:
    """A drawn fleet of n resources, rows sorted as a fleet sorts them.

    Attributes:
        registry: nameplates; ``bus`` is the premise's service point.
        telemetry: float64 (n,) by ``schema.TELEMETRY`` name, NaN where a resource has no such reading.
        up: the places as parents, five int32 arrays: premise of each row (n,), transformer of each
            premise, feeder of each transformer, substation of each feeder, and the one root (0) of
            each substation.
        seed: what the numbers were drawn with.
    """

    registry: Registry
    telemetry: Mapping[str, _Array]
    up: tuple[Rows, Rows, Rows, Rows, Rows]
    seed: int

    @property
    def n(self) -> int:
        """How many resources."""
        return len(self.registry.ids)

    @property
    def places(self) -> dict[str, int]:
        """Mask of the phases present at each bus, as reading a registry file asks for it."""
        return dict.fromkeys(self.registry.labels["bus"], _THREE_PHASE)

    def fleet(self, now_s: int | None = NOON_S) -> Fleet:
        """A fleet of these resources, told its telemetry of ``now_s``; untold where that is None."""
        fleet = Fleet(self.registry)
        if now_s is not None:
            fleet.ingest(self.readings(now_s), now_s)
        return fleet

    def readings(self, time_s: int, count: int | None = None, seed: int = 0) -> Readings:
        """A batch of the telemetry of one moment.

        Args:
            time_s: moment of all readings, unix seconds.
            count: how many, drawn in random order over all rows and quantities without repetition;
                None = all there are, quantity by quantity.
            seed: of the draw, beside the fleet's own.
        """
        stacked = np.stack([self.telemetry[entry.name] for entry in TELEMETRY])
        cells = np.flatnonzero(~np.isnan(stacked.reshape(-1)))
        if count is not None:
            cells = np.random.default_rng((self.seed, seed)).choice(cells, count, replace=False)
        quantity, row = np.divmod(cells, self.n)
        n = len(cells)
        return Readings(
            self.registry.ids,
            row.astype(np.int32),
            quantity.astype(np.uint8),
            stacked.reshape(-1)[cells],
            np.full(n, time_s, dtype=np.int64),
            np.zeros(n, dtype=np.uint8),
        )

    def table(self) -> dict[str, NDArray[Any]]:
        """The registry file's columns in random order of rows: texts as NumPy strings, numbers as such."""
        order = np.random.default_rng((self.seed, 1)).permutation(self.n)
        kinds = np.array([kind.name.lower() for kind in Kind])
        states = np.array([state.name.lower() for state in Enrolment])
        letters = np.array(["", *(phase_letters(mask) for mask in range(1, 8))])
        named = {
            "kind": kinds,
            "enrolment": states,
            "phases": letters,
            "customer": np.array(CUSTOMER_CLASSES),
        }
        named |= {name: np.array(texts) for name, texts in self.registry.labels.items()}
        columns: dict[str, NDArray[Any]] = {"id": np.array(self.registry.ids)[order]}
        for name, column in self.registry.columns.items():
            columns[name] = named[name][column[order]] if name in named else column[order]
        return columns

    def identities(self) -> dict[str, NDArray[np.str_]]:
        """Names with others, row by row, all distinct: mRID and LFDI in hexadecimal, a serial number."""
        rng = np.random.default_rng((self.seed, 2))
        hexadecimal = {"mrid": 32, "lfdi": 40}
        drawn = {name: rng.bytes(self.n * digits // 2).hex().upper() for name, digits in hexadecimal.items()}
        names: dict[str, NDArray[np.str_]] = {
            name: np.frombuffer(drawn[name].encode(), dtype=f"S{digits}").astype(f"U{digits}")
            for name, digits in hexadecimal.items()
        }
        names["serial"] = np.array([f"SN{number}" for number in rng.permutation(self.n) + 10_000_000])
        return names


def million(n: int = 1_000_000, seed: int = 0) -> Million:
    """Draw a fleet: premises, transformers, feeders and substations at 200k : 20k : 200 : 10 per million.

    Args:
        n: how many resources, at least 1.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    kind = _kinds(rng, n)
    premise, up = _places(rng, n)
    feeder = up[1][up[0][premise]]
    serial = rng.permutation(n)
    # Premises are numbered along the feeders, so that the premise's number sorts as its bus does.
    order = np.lexsort((serial, premise, feeder, kind))
    kind, premise, serial = kind[order], premise[order].astype(np.int32), serial[order]
    drawn, labels = _nameplates(rng, kind)
    _put_places(rng, drawn, labels, premise, up)
    columns = {entry.name: drawn[entry.name] for entry in REGISTRY if entry.name != "id"}
    family = np.array([FAMILY[Kind(code)] for code in range(len(Kind))], dtype=np.uint8)[kind]
    telemetry = _telemetry(rng, kind, family, columns)
    for array in (*columns.values(), family, *telemetry.values(), premise, *up):
        array.flags.writeable = False
    digits = len(str(n))
    ids = tuple([f"der-{number:0{digits}d}" for number in serial.tolist()])
    registry = Registry(ids, MappingProxyType(columns), MappingProxyType(labels), family)
    return Million(registry, MappingProxyType(telemetry), (premise, *up), seed)


def _kinds(rng: np.random.Generator, n: int) -> Codes:
    share = np.array([typical.share for typical in _TYPICAL.values()])
    kinds = np.array([int(kind) for kind in _TYPICAL], dtype=np.uint8)
    return rng.choice(kinds, n, p=share / share.sum())


def _under(rng: np.random.Generator, children: int, per_parent: int) -> Rows:
    """Parents of children numbered along them: none without a child, uneven sizes."""
    parents = max(1, children // per_parent)
    drawn = rng.integers(parents, size=children - parents)
    return np.sort(np.concatenate([np.arange(parents), drawn])).astype(np.int32)


def _places(rng: np.random.Generator, n: int) -> tuple[Rows, tuple[Rows, Rows, Rows, Rows]]:
    """Premise of each resource, and the parents of premises, transformers, feeders and substations."""
    premise = rng.permutation(_under(rng, n, _PER_PREMISE))
    transformer = _under(rng, int(premise.max()) + 1, _PER_TRANSFORMER)
    feeder = _under(rng, int(transformer[-1]) + 1, _PER_FEEDER)
    substation = _under(rng, int(feeder[-1]) + 1, _PER_SUBSTATION)
    root = np.zeros(int(substation[-1]) + 1, dtype=np.int32)
    return premise, (transformer, feeder, substation, root)


def _coded(codes: NDArray[np.integer[Any]], names: tuple[str, ...]) -> tuple[Rows, tuple[str, ...]]:
    """Codes into the sorted vocabulary of the names in use."""
    used = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    used = used[np.argsort(np.array(names)[used])]
    code = np.zeros(len(names), dtype=np.int32)
    code[used] = np.arange(len(used))
    return code[codes], tuple([names[at] for at in used])


def _numbered(word: str, count: int) -> tuple[str, ...]:
    digits = len(str(count))
    return tuple([f"{word}{i:0{digits}d}" for i in range(count)])


def _nameplates(
    rng: np.random.Generator, kind: Codes
) -> tuple[dict[str, NDArray[Any]], dict[str, tuple[str, ...]]]:
    """All columns but those of the place."""
    n = len(kind)
    table = np.zeros((len(Kind), 9))
    for code, typical in _TYPICAL.items():
        table[code] = typical[1:10]
    up, down, hours, eff, floor, on_off, rest, cost, customer = table[kind].T
    spread = np.exp(0.35 * rng.standard_normal(n)).clip(0.3, 3.0)
    p_max, p_min = np.round(up * spread, 2), 0.0 - np.round(down * spread, 2)
    size = np.maximum(p_max, -p_min)
    e_max = np.round(hours * size * rng.uniform(0.8, 1.25, n), 2)
    inverter = np.isin(kind, [int(code) for code in INVERTERS])
    numbers = {
        "p_max_kw": p_max,
        "p_min_kw": p_min,
        "s_max_kva": np.where(inverter, np.round(1.1 * size, 2), 0.0),
        "p_floor_kw": np.round(floor * size, 2),
        "ramp_kw_s": np.where(p_max > 100.0, 0.01 * size, 1e6),
        "min_on_s": rest,
        "min_off_s": rest,
        "e_max_kwh": e_max,
        "e_reserve_kwh": np.where(kind == Kind.BATTERY_HOME, 0.2 * e_max, 0.0),
        "eff_charge": eff,
        "eff_discharge": eff,
        "cost_kwh": np.round(cost * rng.uniform(0.8, 1.2, n), 4),
        "reach_s": np.zeros(n),
    }
    columns: dict[str, NDArray[Any]] = {name: value.astype(np.float32) for name, value in numbers.items()}
    columns |= {"kind": kind, "on_off": on_off.astype(np.uint8), "customer": customer.astype(np.uint8)}
    states = np.array([0.005, 0.005, 0.01, 0.96, 0.012, 0.008])
    columns["enrolment"] = rng.choice(len(Enrolment), n, p=states).astype(np.uint8)
    single = rng.choice(np.array([1, 2, 4], dtype=np.uint8), n)
    columns["phases"] = np.where((size > 10.0) | (customer > 0), np.uint8(_THREE_PHASE), single)
    labels: dict[str, tuple[str, ...]] = {}
    for name, (codes, names) in _texts(rng, kind).items():
        columns[name], labels[name] = _coded(codes, names)
    return columns, labels


def _texts(
    rng: np.random.Generator, kind: Codes
) -> dict[str, tuple[NDArray[np.integer[Any]], tuple[str, ...]]]:
    """Who speaks for a resource, under which programme, and who made it; a make makes few kinds."""
    n = len(kind)
    weight = 1.0 / np.arange(1, len(_PROVIDERS) + 1)
    programs = tuple(sorted({typical.program for typical in _TYPICAL.values()} | {"none"}))
    own = np.zeros(len(Kind), dtype=np.int64)
    for code, typical in _TYPICAL.items():
        own[code] = programs.index(typical.program)
    enrolled = rng.random(n) < 0.8
    make = (kind.astype(np.int64) * 5 + rng.integers(4, size=n)) % _MAKES
    return {
        "provider": (rng.choice(len(_PROVIDERS), n, p=weight / weight.sum()), _PROVIDERS),
        "program": (np.where(enrolled, own[kind], programs.index("none")), programs),
        "make": (make, _numbered("make-", _MAKES)),
        "device": ((make * 3 + rng.integers(3, size=n)) % _DEVICES, _numbered("model-", _DEVICES)),
        "firmware": (rng.integers(_FIRMWARES, size=n), _numbered("1.", _FIRMWARES)),
    }


def _put_places(
    rng: np.random.Generator,
    columns: dict[str, NDArray[Any]],
    labels: dict[str, tuple[str, ...]],
    premise: Rows,
    up: tuple[Rows, Rows, Rows, Rows],
) -> None:
    """Bus, transformer, feeder, latitude and longitude of each row."""
    transformer, feeder, substation, root = up
    labels["bus"] = _numbered("bus-", len(transformer))
    labels["transformer"] = _numbered("xfm-", len(feeder))
    labels["feeder"] = _numbered("feeder-", len(substation))
    columns["bus"] = premise.copy()
    columns["transformer"] = transformer[premise]
    columns["feeder"] = feeder[columns["transformer"]]
    for name, middle in (("lat_deg", 45.0), ("lon_deg", 7.0)):
        place = (
            middle + rng.uniform(-0.5, 0.5, len(root))[substation] + rng.normal(0.0, 0.08, len(substation))
        )
        place = place[feeder] + rng.normal(0.0, 0.015, len(feeder))
        place = place[transformer] + rng.normal(0.0, 0.001, len(transformer))
        columns[name] = place[premise].astype(np.float32)


def _telemetry(
    rng: np.random.Generator, kind: Codes, family: Codes, columns: Mapping[str, NDArray[Any]]
) -> dict[str, _Array]:
    """Readings of a sunny noon: inside the nameplates, absent where a device has no such quantity."""
    n = len(kind)
    u = rng.random((5, n))
    full = columns["e_max_kwh"].astype(np.float64)
    top, bottom = columns["p_max_kw"].astype(np.float64), columns["p_min_kw"].astype(np.float64)
    is_load = kind == Kind.LOAD

    def of(*families: Family) -> Mask:
        return np.isin(family, [int(entry) for entry in families])

    thermal, vehicle, generator = of(Family.THERMAL), of(Family.VEHICLE), of(Family.GENERATOR)
    ready = np.where(vehicle, u[0] < 0.4, u[0] < 0.97)
    runs = u[1] < np.select([thermal, vehicle, generator], [0.45, 0.3, 0.15], 1.0)
    offered = np.select(
        [of(Family.RENEWABLE), generator, of(Family.SHED) | is_load],
        [top * (0.5 + 0.45 * u[2]), top * 0.6 * runs, bottom * (0.3 + 0.6 * u[2])],
        np.nan,
    )
    power = np.select([thermal, vehicle], [bottom * runs, bottom * (runs & ready)], offered)
    storage = of(Family.STORAGE)
    power[storage] = (bottom + (top - bottom) * u[2])[storage]
    held = (full > 0) & (~vehicle | ready)
    energy = np.where(held, full * (0.1 + 0.8 * u[3]), np.nan)
    plugged = vehicle & ready
    return {
        "p_kw": np.round(power, 3),
        "q_kvar": np.where(columns["s_max_kva"] > 0, np.round(-0.1 * np.abs(power), 3), np.nan),
        "v_pu": np.round(rng.normal(1.0, 0.012, n).clip(0.9, 1.1), 4),
        "p_avail_kw": np.round(offered, 3),
        "e_kwh": np.round(energy, 3),
        "e_target_kwh": np.where(plugged, np.round(0.9 * full, 3), np.nan),
        "depart_s": np.where(plugged, NOON_S + HOUR_S + np.floor(10 * HOUR_S * u[4]), np.nan),
        "ready": np.where(is_load, np.nan, ready),
        "locked_s": np.where(
            columns["min_on_s"] > 0, np.floor(columns["min_on_s"] * u[4] * (u[3] < 0.1)), np.nan
        ),
    }
