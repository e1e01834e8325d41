"""Measurements as columns, their screening, and what age does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from gridflock.grid._network import Complex, Float, Network
from gridflock.model import Rejected
from gridflock.units import HOUR_S, NEVER_S, Codes, Mask, Rows, Seconds

SCREENFUL = 5
"""How many ids a rejection names."""
V_RANGE_PU = (0.02, 5.0)
"""A voltage outside this band of the nominal one was not measured, whatever the meter says."""
ABSURD = 10.0
"""A power of more than this many times the whole feeder's nominal load was not measured either."""
MOST_MEMORIES = 60.0
"""Beyond thirty memories a reading is worth nothing; the exponential stays finite."""
FINEST = 1e-6
"""No instrument is believed beyond this share of what it reads: weights stay within the arithmetic."""
AHEAD_S = 300
"""How far a meter's clock may run ahead."""


class Quantity(IntEnum):
    """What a measurement tells, and which rows it is about."""

    VOLTAGE = 0
    """Voltage to ground at a node, V; row of a node."""
    PORT_VOLTAGE = 1
    """Voltage across a port, V; row of a load port."""
    PORT_KW = 2
    """Active power of a port, or of several together, house sign (demand negative); rows of load ports."""
    PORT_KVAR = 3
    """Reactive power of the same."""
    BRANCH_KW = 4
    """Active power into a branch at one conductor, or at several together; rows of ``branch_blocks``."""
    BRANCH_KVAR = 5
    """Reactive power of the same."""
    BRANCH_A = 6
    """Current at one conductor of a branch, A."""


VOLTAGES = (Quantity.VOLTAGE, Quantity.PORT_VOLTAGE)
PORT_POWERS = (Quantity.PORT_KW, Quantity.PORT_KVAR)
BRANCH_POWERS = (Quantity.BRANCH_KW, Quantity.BRANCH_KVAR)


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """m measurements.

    Attributes:
        ids: m names, e.g. of the meter and what it reads.
        quantity: (m,) ``Quantity``.
        start: (m+1,) first entry of each measurement in ``row``.
        row: what it is about; powers of several rows are their sum, all others have one row.
        value: (m,) V, kW, kvar or A; NaN where nothing arrived.
        sigma: (m,) standard deviation of the instrument, same unit, positive.
        time_s: (m,) moment of measurement, unix seconds.
    """

    ids: tuple[str, ...]
    quantity: Codes
    start: Rows
    row: Rows
    value: Float
    sigma: Float
    time_s: Seconds

    @classmethod
    def of(
        cls,
        quantity: Quantity,
        rows: Rows | Sequence[int],
        value: Float,
        sigma: Float | float,
        time_s: Seconds | int,
        ids: tuple[str, ...] | None = None,
        size: int = 1,
    ) -> Measurements:
        """Measurements of one quantity.

        Args:
            quantity: of all of them.
            rows: (k·size,) rows, those of one measurement side by side.
            value: (k,).
            sigma: (k,) or one for all.
            time_s: (k,) or one for all.
            ids: k names; by default the quantity and the first row.
            size: how many rows each is about.
        """
        flat = np.asarray(rows, dtype=np.int32)
        count = len(flat) // size
        if ids is None:
            ids = tuple(f"{quantity.name.lower()} {row}" for row in flat[::size])
        return cls(
            ids,
            np.full(count, quantity, dtype=np.uint8),
            np.arange(0, len(flat) + 1, size, dtype=np.int32),
            flat,
            np.array(np.broadcast_to(value, count), dtype=np.float64),
            np.array(np.broadcast_to(sigma, count), dtype=np.float64),
            np.array(np.broadcast_to(time_s, count), dtype=np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Measurements]) -> Measurements:
        """All measurements of several sets, in order."""
        offsets = np.concatenate([[0], np.cumsum([len(part.row) for part in parts])])
        starts = [part.start[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
        columns = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(cls)
            if f.name not in {"ids", "start"}
        }
        start = np.concatenate([*starts, offsets[-1:]]).astype(np.int32)
        return cls(ids=tuple(name for part in parts for name in part.ids), start=start, **columns)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def owner(self) -> Rows:
        """The measurement of each entry of ``row``."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.start))


@dataclass(frozen=True, slots=True, eq=False)
class Ageing:
    """How fast a measurement stops telling the present.

    What is measured is taken as a stationary process that forgets with ``tau_s``: its value an age
    a ago differs from the present one by a variance ``spread²·(exp(2·a/tau) - 1)``, which is added to
    the instrument's. It is nil for a fresh reading, grows like a random walk, and makes a very old
    reading weigh nothing beside the pseudo-measurement.

    Attributes:
        tau_s: memory of the process, s.
        v_pu: spread of a voltage, per unit of nominal.
        share: spread of a branch's power or current, as a share of the reading; a port's power
            spreads like its pseudo-measurement.
    """

    tau_s: float = float(HOUR_S)
    v_pu: float = 0.01
    share: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What of a set of measurements is fit for use.

    Attributes:
        placed: (m,) stands at a live place that exists, whether or not a value came.
        usable: (m,) present and possible.
        missing: how many had no value.
        rejected: the impossible ones by rule.
    """

    placed: Mask
    usable: Mask
    missing: int
    rejected: tuple[Rejected, ...]


def screen(network: Network, given: Measurements, now_s: int) -> Screened:
    """Sort out what is absent and what is impossible; every impossible one is counted under one rule."""
    known = given.quantity <= max(Quantity)
    exists = known & _rows_exist(network, given, known)
    nominal, live = _nominal(network, given, exists)
    rejected: list[Rejected] = []
    left = ~np.isnan(given.value)
    missing = int(np.count_nonzero(~left))
    for name, broken, reason in (
        ("quantity", ~known, "no such quantity"),
        ("row", ~exists, "no such row, or not the number of rows this quantity takes"),
        ("row", ~live, "stands where no source feeds"),
        ("value", ~np.isfinite(given.value), "not a finite number"),
        (
            "sigma",
            ~(np.isfinite(given.sigma) & (given.sigma > 0.0)),
            "the standard deviation must be positive",
        ),
        ("time_s", given.time_s == NEVER_S, "no moment of measurement"),
        ("time_s", given.time_s > now_s + AHEAD_S, f"more than {AHEAD_S} s in the future"),
        *_absurd(network, given, nominal),
    ):
        left = _reject(given, name, broken & left, reason, rejected, left)
    return Screened(exists & live, left, missing, tuple(rejected))


def _reject(
    given: Measurements, name: str, broken: Mask, reason: str, rejected: list[Rejected], left: Mask
) -> Mask:
    rows = np.flatnonzero(broken)
    if len(rows):
        column = getattr(given, name)
        first = f"{reason}: {column[rows[0]]}" if name not in {"row", "time_s"} else reason
        ids = tuple(given.ids[row] for row in rows[:SCREENFUL])
        rejected.append(Rejected("measurement", name, ids, first, int(rows[0]) + 1, len(rows)))
    return left & ~broken


def _rows_exist(network: Network, given: Measurements, known: Mask) -> Mask:
    """(m,) all rows exist and their number fits the quantity."""
    limits = np.empty(len(Quantity), dtype=np.int64)
    limits[Quantity.VOLTAGE] = network.n
    limits[[Quantity.PORT_VOLTAGE, *PORT_POWERS]] = len(network.loads)
    limits[[*BRANCH_POWERS, Quantity.BRANCH_A]] = len(network.branch_blocks.node)
    quantity = np.where(known, given.quantity, 0)
    limit = limits[quantity][given.owner]
    outside = np.bincount(given.owner, (given.row < 0) | (given.row >= limit), len(given)) > 0
    sizes = np.diff(given.start)
    summed = np.isin(quantity, [*PORT_POWERS, *BRANCH_POWERS])
    fits: Mask = ~outside & (sizes >= 1) & (summed | (sizes == 1))
    return fits


def _absurd(network: Network, given: Measurements, nominal: Float) -> tuple[tuple[str, Mask, str], ...]:
    """Sizes that no meter on this feeder can have seen."""
    low, high = V_RANGE_PU
    voltage = np.isin(given.quantity, VOLTAGES)
    wild = voltage & ((given.value < low * nominal) | (given.value > high * nominal))
    most_kva = ABSURD * max(float(np.abs(network.load_kva).sum()), 1.0)
    current = given.quantity == Quantity.BRANCH_A
    kva = np.where(current, given.value * nominal / 1000.0, given.value)
    return (
        ("value", wild, f"a voltage outside {low}..{high} of the nominal one"),
        (
            "value",
            ~voltage & (np.abs(kva) > most_kva),
            f"more than {ABSURD:g} times the feeder's nominal load",
        ),
        ("value", current & (given.value < 0.0), "a current's magnitude is not negative"),
    )


def _nominal(network: Network, given: Measurements, exists: Mask) -> tuple[Float, Mask]:
    """(m,) nominal voltage where each stands, V, and whether all its places are fed."""
    fed = np.append(network.topology.live, [True])  # ground counts as fed
    base = np.append(network.v_base, 1.0)
    conductors = network.branch_blocks
    port_fed = fed[network.load_nodes[:, 0]] & fed[network.load_nodes[:, 1]]
    nominal, live = np.ones(len(given)), np.ones(len(given), dtype=np.bool_)
    owner = given.owner
    tables = (
        ((Quantity.VOLTAGE,), network.v_base, network.topology.live),
        ((Quantity.PORT_VOLTAGE, *PORT_POWERS), network.load_v, port_fed),
        (
            (*BRANCH_POWERS, Quantity.BRANCH_A),
            base[conductors.node],
            network.topology.branch_live[conductors.owner],
        ),
    )
    for quantities, volts, fed_rows in tables:
        mine = exists & np.isin(given.quantity, quantities)
        nominal[mine] = volts[given.row[given.start[:-1][mine]]]
        entries = mine[owner]
        live &= np.bincount(owner[entries], ~fed_rows[given.row[entries]], len(given)) == 0
    return nominal, live


def aged(
    network: Network, given: Measurements, placed: Mask, sigma_kva: Complex, now_s: int, ageing: Ageing
) -> Float:
    """(m,) standard deviation of each measurement as a statement about the present.

    Args:
        network: the feeder.
        given: the measurements; values of unusable rows do not matter.
        placed: (m,) those at a place that exists.
        sigma_kva: complex (L,) of the pseudo-measurements: active part, then reactive part.
        now_s: the present.
        ageing: the model.
    """
    age = np.maximum(now_s - given.time_s, 0).astype(np.float64)
    growth = np.sqrt(np.expm1(np.minimum(2.0 * age / ageing.tau_s, MOST_MEMORIES)))
    nominal, _ = _nominal(network, given, placed)
    spread = np.where(
        np.isin(given.quantity, VOLTAGES), ageing.v_pu * nominal, ageing.share * np.abs(given.value)
    )
    owner = given.owner
    for quantity, part in ((Quantity.PORT_KW, sigma_kva.real), (Quantity.PORT_KVAR, sigma_kva.imag)):
        mine = placed & (given.quantity == quantity)
        entries = mine[owner]
        summed = np.sqrt(np.bincount(owner[entries], part[given.row[entries]] ** 2, len(given)))
        spread[mine] = summed[mine]
    scale = np.where(np.isin(given.quantity, VOLTAGES), nominal, np.abs(given.value))
    return np.hypot(np.maximum(given.sigma, FINEST * scale), np.where(growth > 0.0, growth * spread, 0.0))
