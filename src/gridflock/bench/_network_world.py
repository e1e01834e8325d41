"""A real feeder for a day with thousands of synthetic devices on it, whose own wishes break its limits.

The feeder, its taps and its customers come from a file; load shapes, devices, prices and noise are drawn.
Devices stand at customers' ports: between the two legs of a split-phase service, else where a load stands.
Ratings are the file's normal amps; where a file gives none, OpenDSS's default (400 A of a line) stands.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gridflock.bench._case import SHAPES, STEPS_PER_DAY, daily_shapes
from gridflock.field import opendss
from gridflock.grid import ControlState, Network, Shaped, initial, settle, solve
from gridflock.grid._admittance import admittance
from gridflock.grid._network import Complex, Float
from gridflock.grid.build import assemble, from_document
from gridflock.model import Flexibility
from gridflock.plan.network._feeder import Feeder, feeder
from gridflock.sim import feeder_document
from gridflock.units import QUARTER_S, Kw, Mask, Rows, TimeGrid

NOON_S = 1_781_784_000
"""Noon of a day in June: a horizon from noon to noon holds a night's charging whole."""
PEAK = 0.51
"""Highest load of the day as a part of the file's nominal one."""
OPPOSED = 1.8
"""Two legs count as opposed where their difference is so many times their mean size."""
SHIFTS = 8
"""Volt by which set points may go down, on a base of 120 V."""
KINDS = ("pv", "vehicle", "battery")
SHARES = (0.40, 0.28, 0.32)
MEAN_PRICE, LOCAL = 0.16, 0.001
"""Money/kWh; spread of the small differences between ports."""
CURTAILING, WEAR = 1e-4, 0.01
"""Money/kWh of curtailed sun, beyond the price it does not earn, and of a battery's discharge."""
OVER_RATING = 1.1
"""Apparent rating of an inverter as a part of its active one."""
GAIN = 0.92
"""Of a vehicle's charger."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A feeder, its day without devices, and the devices. T steps, P ports with devices, D devices.

    Attributes:
        feeder: the feeder with its ports and the day's loads; taps and capacitors held until a plan moves
            them.
        loads: the same loads as shapes, each element's ports on one.
        flexibility: D devices, one row each.
        kind: D of ``"pv"``, ``"vehicle"``, ``"battery"``.
        place: (D,) port of each device.
        s_kva: (D,) apparent rating of its inverter; 0 where it gives no reactive power.
        price: (P, T) worth of a kWh injected at each port, money/kWh.
    """

    feeder: Feeder
    loads: Shaped
    flexibility: Flexibility
    kind: tuple[str, ...]
    place: Rows
    s_kva: Float
    price: Float

    @property
    def hours(self) -> Float:
        """(T,) length of each step, h."""
        return self.flexibility.grid.hours

    def of(self, kind: str) -> Mask:
        """(D,) devices of a kind."""
        return np.array([one == kind for one in self.kind], dtype=np.bool_)


@contextmanager
def opened(source: str, root: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """An OpenDSS master and the folder it may not lead out of; a packed feeder is written as one.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read; of no account for a packed feeder.

    Raises:
        UnknownFeeder: neither a file nor a packed feeder.
    """
    if Path(source).suffix.lower() == ".dss":
        yield Path(source), root
        return
    network = from_document(feeder_document(source))
    state = centred(network, 0.75 * PEAK * network.load_kva[None])
    with tempfile.TemporaryDirectory(prefix="gridflock-") as folder:
        path = Path(folder) / f"{source}.dss"
        path.write_text(opendss.script(network, state), "utf-8")
        yield path, Path(folder)


def world(path: Path, root: Path | None, ders: int, seed: int, *, peak: float = PEAK) -> World:
    """Read a feeder and draw its day.

    Args:
        path: an OpenDSS master.
        root: folder outside which nothing is read.
        ders: devices.
        seed: of everything drawn.
        peak: highest load of the day as a part of the file's nominal one.

    Raises:
        FeederRejected: the file cannot be read.
        OpenDssMissing: the reader is not installed.
    """
    return drawn(assemble(opendss.read_dss(path, root)[0]), ders, seed, peak=peak)


def drawn(network: Network, ders: int, seed: int, *, peak: float = PEAK) -> World:
    """The day of a network; arguments as of ``world``."""
    rng = np.random.default_rng([seed, 21])
    loads = _loads(rng, network, seed, peak)
    load_kva = (loads.kva[:, None] * loads.multipliers[loads.shape]).T
    state = centred(network, load_kva)
    stands = places(network, state)
    kinds = rng.choice(3, ders, p=SHARES).astype(np.int32)
    used, place = np.unique(rng.integers(0, len(stands), ders), return_inverse=True)
    flexibility, s_kva = _devices(rng, kinds)
    price = _price(rng)[None, :] + rng.normal(0.0, LOCAL, (len(used), STEPS_PER_DAY))
    return World(
        feeder(network, state, load_kva, stands[used]), loads, flexibility,
        tuple(KINDS[k] for k in kinds.tolist()), place.astype(np.int32), s_kva, np.maximum(price, 0.01),
    )  # fmt: skip


def rolled(of: World, p_kw: Kw) -> World:
    """The same world a step later: devices and taps where a first step left them, the day's end repeated.

    Args:
        of: the world planned.
        p_kw: (D, T) what its devices do.
    """
    rows = of.flexibility
    change = p_kw[:, 0] - rows.base_kw[:, 0]
    content = np.where(change > 0.0, rows.gain_up * change, -rows.gain_down * change) * rows.grid.hours[0]
    low, high = (
        np.concatenate([edges[:, 1:-1], edges[:, -2:-1], edges[:, -1:]], axis=1) - content[:, None]
        for edges in (rows.x_lo_kwh, rows.x_hi_kwh)
    )
    served = of.of("vehicle")
    low[served, -2] = low[served, -1]
    grid = TimeGrid(rows.grid.edges_s + (rows.grid.edges_s[1] - rows.grid.edges_s[0]))
    moved = replace(
        rows, grid=grid, x_lo_kwh=low, x_hi_kwh=high,
        **{name: np.roll(getattr(rows, name), -1, axis=1) for name in ("base_kw", "up_kw", "down_kw")},
    )  # fmt: skip
    loads = replace(of.loads, multipliers=np.roll(of.loads.multipliers, -1, axis=1))
    course = {name: np.roll(getattr(of.feeder, name), -1, axis=0) for name in ("load_kva", "taps", "cap_on")}
    feeder = replace(of.feeder, state=of.feeder.state_at(0), **course)
    price = np.roll(of.price, -1, axis=1)
    return replace(of, feeder=feeder, loads=loads, flexibility=moved, price=price)


def elements(network: Network) -> tuple[str, ...]:
    """L names of the elements the ports belong to: the phases of a load are ports ``name.1``, ``name.2``."""
    known = set(network.loads)
    found = []
    for name in network.loads:
        stem, dot, last = name.rpartition(".")
        phase = bool(dot) and last.isdigit() and f"{stem}.1" in known and f"{stem}.2" in known
        found.append(stem if phase else name)
    return tuple(found)


def _loads(rng: np.random.Generator, network: Network, seed: int, peak: float) -> Shaped:
    """The day's loads from noon, all at the day's level; those of fixed status follow a last, flat shape."""
    shapes = np.roll(daily_shapes(STEPS_PER_DAY, 1.0, seed), -STEPS_PER_DAY // 2, axis=1)
    names = elements(network)
    rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
    follows = rng.integers(0, SHAPES, len(rows))
    shape = np.where(network.load_scaled, follows[[rows[name] for name in names]], SHAPES).astype(np.int32)
    steps = np.vstack([shapes, np.ones(STEPS_PER_DAY)])
    total = network.load_kva.real @ steps[shape]
    return Shaped(network.load_kva, shape, steps * (peak * network.load_kva.real.sum() / total.min()))


def centred(network: Network, load_kva: Complex) -> ControlState:
    """Taps as the regulators settle at mean load, their set points lowered by whole volts.

    The feeder's own set points leave no room for devices that inject: of all shifts that is taken whose
    day without devices strays least from nominal voltage where loads stand.

    Args:
        network: the feeder.
        load_kva: complex (T, L) the day's loads.
    """
    still, watched = np.zeros(network.n, dtype=np.complex128), np.unique(network.load_nodes[:, 0])
    total = load_kva.real.sum(axis=1)
    ends = load_kva[[int(total.argmin()), int(total.argmax())]]
    best = begun = initial(network)
    least = np.inf
    for shift_v in range(SHIFTS):
        regulators = replace(network.regulators, v_set_v=network.regulators.v_set_v - shift_v)
        _, state = settle(replace(network, regulators=regulators), load_kva.mean(axis=0), still, begun)
        flows = [solve(network, loads, still, state) for loads in ends]
        strays = max(float(np.abs(flow.v_pu[watched] - 1.0).max()) for flow in flows)
        if all(flow.converged for flow in flows) and strays < least:
            best, least = state, strays
    return best


def places(network: Network, state: ControlState) -> Rows:
    """(P, 2) nodes between which customers connect devices; -1 is ground."""
    idle = np.append(admittance(network, state).v_idle, 0.0)
    at_bus: dict[int, list[tuple[int, int]]] = {}
    for bus, (i, j) in zip(network.load_bus.tolist(), network.load_nodes.tolist(), strict=True):
        at_bus.setdefault(bus, []).append((i, j))
    found: dict[tuple[int, int], None] = {}
    for pairs in at_bus.values():
        legs = sorted({i for i, j in pairs if j < 0})
        split = len(legs) == 2 and _opposed(idle[legs[0]], idle[legs[1]])
        found |= dict.fromkeys([(legs[0], legs[1])] if split else pairs)
    return np.array(list(found), dtype=np.int32).reshape(-1, 2)


def _opposed(one: complex, other: complex) -> bool:
    return abs(one - other) > OPPOSED * (abs(one) + abs(other)) / 2.0


# ---- devices -----------------------------------------------------------------------------------------


def _devices(rng: np.random.Generator, kinds: Rows) -> tuple[Flexibility, Float]:
    """Rows of flexibility and apparent ratings of devices of given kinds."""
    count, steps = len(kinds), STEPS_PER_DAY
    grid = TimeGrid.uniform(NOON_S, QUARTER_S, steps)
    zero, edge = np.zeros((count, steps)), np.zeros((count, steps + 1))
    rows = Flexibility(
        grid, tuple(f"der_{k}" for k in range(count)), zero, zero.copy(), zero.copy(), edge, edge.copy(),
        *(np.zeros(count) for _ in range(4)),
    )  # fmt: skip
    s_kva = np.zeros(count)
    for k, draw in enumerate((_suns, _vehicles, _batteries)):
        draw(rng, np.flatnonzero(kinds == k).astype(np.int32), rows, s_kva)
    return rows, s_kva


def _suns(rng: np.random.Generator, rows: Rows, of: Flexibility, s_kva: Float) -> None:
    """Sun on offer, clouds common to all and each panel's own; it can be curtailed."""
    peak_kw = rng.uniform(3.0, 7.7, len(rows))
    hour = (of.grid.edges_s[:-1] - of.grid.start_s) / 3_600.0 + 12.0
    clear = np.clip(np.sin((hour % 24.0 - 6.0) * np.pi / 12.0), 0.0, None)
    common = 1.0 - 0.3 * rng.random(len(hour)) * (rng.random(len(hour)) < 0.25)
    own = rng.uniform(0.9, 1.0, (len(rows), len(hour)))
    of.base_kw[rows] = peak_kw[:, None] * clear * common * own
    of.down_kw[rows] = of.base_kw[rows]
    of.cost_down[rows] = CURTAILING
    s_kva[rows] = OVER_RATING * peak_kw


def _vehicles(rng: np.random.Generator, rows: Rows, of: Flexibility, s_kva: Float) -> None:
    """Chargers in use from an evening's arrival to the morning's departure, with a need that fits."""
    del s_kva
    count, steps = len(rows), len(of.grid.hours)
    rate = rng.choice([7.0, 7.4, 11.0], count, p=[0.6, 0.3, 0.1])
    first = np.clip(np.rint(rng.normal(24.0, 6.0, count)), 0, 48).astype(np.int64)
    last = np.clip(np.rint(rng.normal(78.0, 5.0, count)), 60, steps).astype(np.int64)
    reach = GAIN * rate * (last - first) * 0.25
    need = np.minimum(rng.uniform(6.0, 30.0, count), 0.9 * reach)
    clock = np.arange(steps)
    here = (clock >= first[:, None]) & (clock < last[:, None])
    of.down_kw[rows] = np.where(here, rate[:, None], 0.0)
    of.gain_down[rows] = GAIN
    of.x_hi_kwh[rows] = need[:, None]
    of.x_lo_kwh[rows] = np.where(np.arange(steps + 1) >= last[:, None], need[:, None], 0.0)


def _batteries(rng: np.random.Generator, rows: Rows, of: Flexibility, s_kva: Float) -> None:
    """Batteries that end the day at least as full as they began it."""
    count = len(rows)
    power, hours = rng.uniform(3.0, 6.8, count), rng.uniform(2.0, 3.0, count)
    efficiency = rng.uniform(0.92, 0.97, count)
    size = power * hours
    now = size * rng.uniform(0.3, 0.7, count)
    of.up_kw[rows] = power[:, None]
    of.down_kw[rows] = power[:, None]
    of.gain_up[rows] = -1.0 / efficiency
    of.gain_down[rows] = efficiency
    of.cost_up[rows] = WEAR
    of.x_lo_kwh[rows] = -now[:, None]
    of.x_lo_kwh[rows, -1] = 0.0
    of.x_hi_kwh[rows] = (size - now)[:, None]
    s_kva[rows] = OVER_RATING * power


def _price(rng: np.random.Generator) -> Float:
    """(T,) a tariff's day from noon: dear evenings, cheap noons and nights, small noise; positive."""
    hour = (np.arange(STEPS_PER_DAY) / 4.0 + 12.0) % 24.0
    wave = 0.09 * np.exp(-(((hour - 19.0) / 2.5) ** 2)) + 0.03 * np.exp(-(((hour - 8.0) / 1.5) ** 2))
    noon = -0.05 * np.exp(-(((hour - 13.0) / 2.5) ** 2)) - 0.02 * np.exp(-(((hour - 3.0) / 2.0) ** 2))
    price: Float = MEAN_PRICE + wave + noon + rng.normal(0.0, 0.002, STEPS_PER_DAY)
    return price
