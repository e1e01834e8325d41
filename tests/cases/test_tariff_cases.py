"""Bills worked out by hand, to the cent: a weekday, a weekend, the two clock changes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gridflock.market import DayAccount, bill, prices, tariffs, worth
from gridflock.units import TimeGrid

TABLE = tariffs("America/Los_Angeles")
QUARTER_S = 900


def local_day(year, month, day, step_s=QUARTER_S):
    """The steps of one local day in Los Angeles, 23 to 25 hours long."""
    zone = ZoneInfo("America/Los_Angeles")
    start = int(datetime(year, month, day, tzinfo=zone).timestamp())
    noon_after = int(datetime(year, month, day, 12, tzinfo=zone).timestamp()) + 86_400
    end = int(datetime.fromtimestamp(noon_after, tz=zone).replace(hour=0).timestamp())
    return TimeGrid.uniform(start, step_s, (end - start) // step_s)


def test_a_weekday_at_home():
    """Monday 16 June 2025, 1 kW all day: 7 h at 0.12, 5 h at 0.38, 12 h at 0.18."""
    grid = local_day(2025, 6, 16)
    assert grid.n == 96
    got = bill(TABLE["residential"], grid, np.full((1, 96), -1.0))
    assert got.import_kwh == pytest.approx(24.0)
    assert round(got.total, 2) == round(7 * 0.12 + 5 * 0.38 + 12 * 0.18, 2) == 4.90


def test_a_weekend_has_no_peak():
    """Sunday 15 June 2025, the same kilowatt: 7 h at 0.12, 17 h at 0.18."""
    got = bill(TABLE["residential"], local_day(2025, 6, 15), np.full((1, 96), -1.0))
    assert round(got.total, 2) == round(7 * 0.12 + 17 * 0.18, 2) == 3.90


@pytest.mark.parametrize(
    ("date", "hours", "money"),
    [
        ((2025, 3, 9), 23, 6 * 0.12 + 17 * 0.18),  # 2 h does not exist: one cheap hour less
        ((2025, 11, 2), 25, 8 * 0.12 + 17 * 0.18),  # 1 h comes twice: one cheap hour more
    ],
)
def test_clock_changes_take_from_the_cheap_hours(date, hours, money):
    """The 23-hour and the 25-hour Sunday bill the hours that the local clock really showed."""
    grid = local_day(*date, step_s=60)
    assert grid.n == hours * 60
    got = bill(TABLE["residential"], grid, np.full((1, grid.n), -1.0))
    assert round(got.total, 2) == round(money, 2)


def test_export_is_credited_and_netted_by_step_only():
    """Two homes, one drawing 2 kW and one delivering 3 kW at noon: each has its own meter."""
    noon = local_day(2025, 6, 16).start_s + 12 * 3600
    grid = TimeGrid.uniform(noon, QUARTER_S, 4)
    got = bill(TABLE["residential"], grid, np.array([[-2.0] * 4, [3.0] * 4]))
    assert (got.sites, got.import_kwh, got.export_kwh) == (2, 2.0, 3.0)
    assert round(got.energy_import, 2) == 0.36
    assert round(got.export_credit, 2) == 0.24
    assert round(got.total, 2) == 0.12
    assert got.demand == 0.0


def test_a_shop_pays_for_its_own_largest_quarter():
    """Two shops, 10 kW and 4 kW base, peaks of 40 and 12 kW at different times, in June.

    Energy: 10·23.75 + 40·0.25 = 247.5 kWh and 4·23 + 12·1 = 104 kWh. The first peaks at 17:00
    (0.27), the second 11–12 h (0.15). Demand: 15 a kW and month, a thirtieth of it:
    (40 + 12)·15/30 = 26.
    """
    grid = local_day(2025, 6, 16)
    net = np.vstack([np.full(96, -10.0), np.full(96, -4.0)])
    net[0, 68] = -40.0
    net[1, 44:48] = -12.0
    got = bill(TABLE["commercial"], grid, net)
    flat = 7 * 0.11 + 5 * 0.27 + 12 * 0.15
    by_hand = 14 * flat + 30 * 0.25 * 0.27 + 8 * 1 * 0.15
    assert round(got.demand, 2) == 26.0
    assert got.energy_import == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(58.105)
    assert got.import_kwh == pytest.approx(351.5)


def test_demand_is_a_mean_over_the_quarter_hour():
    """One minute at 60 kW inside a quiet quarter is 4 kW of demand; NaN minutes are on no bill."""
    grid = local_day(2025, 7, 7, step_s=60)
    net = np.zeros((1, grid.n))
    net[0, 601] = -60.0
    net[0, 800:860] = np.nan
    got = bill(TABLE["commercial"], grid, net)
    assert round(got.demand, 2) == round(4 * 15 / 31, 2)
    assert got.import_kwh == pytest.approx(1.0)
    assert got.unmetered_h == pytest.approx(1.0)


def test_two_days_pay_each_days_peak():
    """Sunday with 5 kW and Monday with 9 kW: each day its share of its own month."""
    first, second = local_day(2025, 8, 31), local_day(2025, 9, 1)
    grid = TimeGrid(np.concatenate([first.edges_s, second.edges_s[1:]]))
    net = np.zeros((1, grid.n))
    net[0, 10], net[0, 100] = -5.0, -9.0
    assert bill(TABLE["industrial"], grid, net).demand == pytest.approx(18 * (5 / 31 + 9 / 30))


def test_a_step_across_a_change_of_price_takes_the_mean():
    """15:30–17:30 on a weekday holds half an hour of shoulder and one and a half of peak."""
    start = local_day(2025, 6, 16).start_s + 15 * 3600 + 1800
    price, credit = prices(TABLE["residential"], TimeGrid.uniform(start, 7200, 1))
    assert price[0] == pytest.approx((0.5 * 0.18 + 1.5 * 0.38) / 2)
    assert credit[0] == 0.08


def test_a_managed_day_by_hand():
    """Bills, running costs and what is left over, line by line.

    The home saves 5 kWh at 0.38 and buys 6 kWh at 0.12. It ends with 2 kWh less in its battery
    (refilled at 0.12/0.9), owes its car 1 kWh more (0.12/0.9) and left another short by 1 kWh
    (0.38/0.9); the shop ends 3 kWh fuller (credited 0.11). Wear costs 0.20, fuel saves 0.50.
    """
    grid = local_day(2025, 6, 16)
    evening, night = np.zeros((1, 96)), np.zeros((1, 96))
    evening[0, 68:72], night[0, 4:8] = -5.0, -6.0
    before = DayAccount(
        (bill(TABLE["residential"], grid, evening),),
        {"fuel": 1.0},
        {"residential": 5.0, "commercial": 1.0},
    )
    after = DayAccount(
        (bill(TABLE["residential"], grid, night),),
        {"fuel": 0.5, "wear": 0.2},
        {"residential": 3.0, "commercial": 4.0},
        {"residential": 1.0},
        {"residential": 1.0},
    )
    got = worth(before, after, TABLE, grid)
    assert round(got.bills["residential"], 2) == round(5 * 0.38 - 6 * 0.12, 2) == 1.18
    assert {line: round(money, 2) for line, money in got.running.items()} == {"fuel": 0.5, "wear": -0.2}
    assert got.stored == pytest.approx(-2 * 0.12 / 0.9 + 3 * 0.11)
    assert got.owed == pytest.approx(-0.12 / 0.9)
    assert got.missed == pytest.approx(-0.38 / 0.9)
    assert got.import_kwh == pytest.approx(1.0)
    lines = 1.18 + 0.3 - 2 * 0.12 / 0.9 + 0.33 - 0.12 / 0.9 - 0.38 / 0.9
    assert got.total == pytest.approx(lines)
