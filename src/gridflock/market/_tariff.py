"""Tariffs: import price by local weekday and hour, export credit, demand charge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.units import DAY_S, HOUR_S, QUARTER_S, Money, Seconds, TimeGrid, utc_offset_s

"""Clock-time offsets of all zones in use are multiples of a quarter of an hour."""
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """What one customer class pays.

    Attributes:
        name: shown on the bill.
        customer: one of ``schema.CUSTOMER_CLASSES``.
        import_price: (7, 24) money per kWh, by local weekday (Monday first) and hour.
        export_credit: money per kWh delivered.
        demand_charge: money per kW and month of the largest 15-minute import of each day, each
            day carrying its share of the month.
        timezone: IANA name of the local time.
    """

    name: str
    customer: str
    import_price: Money
    export_credit: float
    demand_charge: float
    timezone: str


def tariffs(timezone: str = "America/Los_Angeles") -> dict[str, Tariff]:
    """The built-in table, one tariff per customer class.

    Residential is time-of-use: peak 16–21 h on weekdays, off-peak 0–7 h every day, the rest
    shoulder. Commercial and industrial add a demand charge. Utility is what the feeder's owner
    pays for energy at the head.
    """
    table = (
        ("residential", (0.12, 0.18, 0.38), 0.08, 0.0),
        ("commercial", (0.11, 0.15, 0.27), 0.07, 15.0),
        ("industrial", (0.09, 0.12, 0.19), 0.06, 18.0),
        ("utility", (0.05, 0.07, 0.14), 0.05, 0.0),
    )
    return {
        customer: Tariff(f"{customer} time-of-use", customer, _time_of_use(*levels), credit, demand, timezone)
        for customer, levels, credit, demand in table
    }


def prices(tariff: Tariff, grid: TimeGrid) -> tuple[Money, Money]:
    """Import price and export credit of each step (T,), money per kWh.

    A step across a change of price takes the mean over its length.
    """
    starts, steps = _quarters(grid)
    ends = np.append(starts[1:], grid.end_s)
    local = starts + utc_offset_s(tariff.timezone, starts)
    price = tariff.import_price[(local // DAY_S + _EPOCH_WEEKDAY) % 7, local % DAY_S // HOUR_S]
    first = np.searchsorted(steps, np.arange(grid.n))
    low, high = np.minimum.reduceat(price, first), np.maximum.reduceat(price, first)
    mean = np.add.reduceat(price * (ends - starts), first) / np.diff(grid.edges_s)
    # One price all through stays that price to the last digit.
    return np.where(low == high, low, mean), np.full(grid.n, tariff.export_credit)


def _quarters(grid: TimeGrid) -> tuple[Seconds, NDArray[np.int64]]:
    """The grid cut at its own edges and at every quarter of an hour: starts, and step of each."""
    inner = np.arange(-(-grid.start_s // QUARTER_S), -(-grid.end_s // QUARTER_S), dtype=np.int64) * QUARTER_S
    starts = np.union1d(grid.starts_s, inner)
    return starts, np.searchsorted(grid.edges_s, starts, side="right") - 1


def _time_of_use(off_peak: float, shoulder: float, peak: float) -> Money:
    week = np.full((7, 24), shoulder)
    week[:, :7] = off_peak
    week[:5, 16:21] = peak
    week.flags.writeable = False
    return week
