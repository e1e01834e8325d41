"""Bills: energy in, energy out, and the demand charge, site by site and summed."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gridflock.market._tariff import Tariff, prices
from gridflock.units import DAY_S, QUARTER_S, Kw, TimeGrid, utc_offset_s


@dataclass(frozen=True, slots=True)
class Bill:
    """What the sites of one class pay together; money positive = the customer pays.

    Attributes:
        customer: customer class.
        sites: how many.
        import_kwh: drawn, >= 0.
        export_kwh: delivered, >= 0.
        energy_import: money for what was drawn.
        export_credit: money credited for what was delivered.
        demand: demand charge.
        unmetered_h: site-hours without a reading; they are on no bill.
    """

    customer: str
    sites: int
    import_kwh: float
    export_kwh: float
    energy_import: float
    export_credit: float
    demand: float
    unmetered_h: float

    @property
    def total(self) -> float:
        """Import less credit plus demand."""
        return self.energy_import - self.export_credit + self.demand


def bill(tariff: Tariff, grid: TimeGrid, net_kw: Kw) -> Bill:
    """The bill of all sites on one tariff.

    Energy is counted step by step: within a step a site either draws or delivers its mean.

    Args:
        tariff: of the class.
        grid: T steps.
        net_kw: (S, T) power of each site at its meter, injection positive; NaN = not metered.

    Raises:
        ValueError: ``net_kw`` is not (S, T).
    """
    if np.ndim(net_kw) != 2 or np.shape(net_kw)[1] != grid.n:
        raise ValueError(f"net_kw has shape {np.shape(net_kw)}, expected (sites, {grid.n})")
    net = np.asarray(net_kw, dtype=np.float64)
    heard = np.isfinite(net)
    net = np.where(heard, net, 0.0)
    price, credit = prices(tariff, grid)
    # Per step over all sites first: the sum is the same however the sites are ordered in blocks.
    drawn = np.maximum(-net, 0.0).sum(axis=0) * grid.hours
    delivered = np.maximum(net, 0.0).sum(axis=0) * grid.hours
    return Bill(
        customer=tariff.customer,
        sites=len(net),
        import_kwh=float(drawn.sum()),
        export_kwh=float(delivered.sum()),
        energy_import=float(drawn @ price),
        export_credit=float(delivered @ credit),
        demand=_demand(tariff, grid, net) if tariff.demand_charge else 0.0,
        unmetered_h=float((~heard).sum(axis=0) @ grid.hours),
    )


def _demand(tariff: Tariff, grid: TimeGrid, net: Kw) -> float:
    """Each local day's largest 15-minute import of each site, at the day's share of its month."""
    window = grid.starts_s // QUARTER_S
    first = np.flatnonzero(np.diff(window, prepend=window[0] - 1))
    energy = np.add.reduceat(net * grid.hours, first, axis=1)
    demand = np.maximum(-energy / np.add.reduceat(grid.hours, first), 0.0)
    starts = grid.starts_s[first]
    day = (starts + utc_offset_s(tariff.timezone, starts)) // DAY_S
    first_of_day = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    largest = np.maximum.reduceat(demand, first_of_day, axis=1)
    return float(tariff.demand_charge * largest.sum(axis=0) @ _share_of_month(day[first_of_day]))


def _share_of_month(days: NDArray[np.int64]) -> NDArray[np.float64]:
    dates = [datetime.fromtimestamp(int(day) * DAY_S, tz=UTC) for day in days]
    return np.array([1.0 / monthrange(date.year, date.month)[1] for date in dates])
