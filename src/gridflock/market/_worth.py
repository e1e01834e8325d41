"""Two days compared: what the customers saved, after everything left over is priced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from gridflock.market._bill import Bill
from gridflock.market._tariff import Tariff, prices
from gridflock.units import TimeGrid

_EMPTY: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DayAccount:
    """One day's money and what it left behind.

    Attributes:
        bills: one per customer class.
        running: costs of running devices by line, such as ``"fuel"`` or ``"wear"``, money.
        stored_kwh: energy in stores at the end, by customer class.
        owed_kwh: energy plugged-in vehicles still want at the end, in the vehicle, by class.
        missed_kwh: energy vehicles left without during the day, in the vehicle, by class.
        eff_charge: stored per drawn energy, by customer class; 0.9 where absent.
    """

    bills: Sequence[Bill]
    running: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    stored_kwh: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    owed_kwh: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    missed_kwh: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    eff_charge: Mapping[str, float] = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Worth:
    """What the managed day gained; positive = better than unmanaged.

    Attributes:
        bills: saving by customer class.
        running: saving by line of running costs.
        stored: worth of ending fuller (negative: emptier).
        owed: worth of owing vehicles less (negative: more).
        missed: worth of fewer vehicles leaving short (negative: more).
        import_kwh: change of energy drawn, managed less unmanaged.
        export_kwh: change of energy delivered.
    """

    bills: Mapping[str, float]
    running: Mapping[str, float]
    stored: float
    owed: float
    missed: float
    import_kwh: float
    export_kwh: float

    @property
    def total(self) -> float:
        """All lines together."""
        lines = (*self.bills.values(), *self.running.values(), self.stored, self.owed, self.missed)
        return sum(lines)


def worth(unmanaged: DayAccount, managed: DayAccount, tariffs: Mapping[str, Tariff], grid: TimeGrid) -> Worth:
    """Compare two accounts of the same day.

    What is left over is priced so that putting off is no gain: a kWh owed costs the day's
    lowest import price of its class over the charging efficiency, which is the least it can
    still be bought for. A store that ends fuller is credited the lowest price per kWh, which is
    no more than filling it cost; one that ends emptier pays what refilling takes. A kWh a
    vehicle left without costs the day's highest price: it is bought elsewhere, in a hurry.

    Args:
        unmanaged: the day as it runs by itself.
        managed: the same day under orders.
        tariffs: by customer class.
        grid: the day.

    Raises:
        KeyError: a class without a tariff.
    """
    before, after = _by_class(unmanaged), _by_class(managed)
    stored = owed = missed = 0.0
    for customer in sorted(_classes(unmanaged) | _classes(managed)):
        price = prices(tariffs[customer], grid)[0]
        eff = managed.eff_charge.get(customer, 0.9)
        lowest, refill = float(price.min()), float(price.min()) / eff
        fuller = _change(unmanaged.stored_kwh, managed.stored_kwh, customer)
        stored += fuller * (lowest if fuller > 0 else refill)
        owed -= _change(unmanaged.owed_kwh, managed.owed_kwh, customer) * refill
        missed -= _change(unmanaged.missed_kwh, managed.missed_kwh, customer) * float(price.max()) / eff
    return Worth(
        bills={c: _total(before, c) - _total(after, c) for c in sorted({*before, *after})},
        running={
            line: unmanaged.running.get(line, 0.0) - managed.running.get(line, 0.0)
            for line in sorted({*unmanaged.running, *managed.running})
        },
        stored=stored,
        owed=owed,
        missed=missed,
        import_kwh=sum(b.import_kwh for b in managed.bills) - sum(b.import_kwh for b in unmanaged.bills),
        export_kwh=sum(b.export_kwh for b in managed.bills) - sum(b.export_kwh for b in unmanaged.bills),
    )


def _classes(account: DayAccount) -> set[str]:
    billed = {entry.customer for entry in account.bills}
    return billed.union(account.stored_kwh, account.owed_kwh, account.missed_kwh)


def _change(before: Mapping[str, float], after: Mapping[str, float], customer: str) -> float:
    return after.get(customer, 0.0) - before.get(customer, 0.0)


def _by_class(account: DayAccount) -> dict[str, list[Bill]]:
    table: dict[str, list[Bill]] = {}
    for entry in account.bills:
        table.setdefault(entry.customer, []).append(entry)
    return table


def _total(table: Mapping[str, list[Bill]], customer: str) -> float:
    return sum(entry.total for entry in table.get(customer, ()))
