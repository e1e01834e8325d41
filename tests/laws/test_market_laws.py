"""Laws of bills and of the worth of a day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.market import DayAccount, bill, prices, tariffs, worth
from gridflock.schema import CUSTOMER_CLASSES
from gridflock.units import TimeGrid

TABLE = tariffs()
START_S = 1_750_057_200  # 2025-06-16 00:00 in Los Angeles, a Monday


@st.composite
def metered(draw, days=1):
    """A tariff, a grid and the net power of a few sites."""
    step = draw(st.sampled_from([60, 300, 900, 3600, 5400]))
    start = START_S + draw(st.integers(-400, 400)) * 86_400 + draw(st.sampled_from([0, 60, 1234]))
    grid = TimeGrid.uniform(start, step, days * 86_400 // step)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    tariff = TABLE[draw(st.sampled_from(CUSTOMER_CLASSES))]
    return tariff, grid, rng.normal(0, 5, (draw(st.integers(1, 4)), grid.n))


@settings(max_examples=40, deadline=None)
@given(metered())
def test_a_bill_of_zero_is_zero(problem):
    """No power, no money: exactly."""
    tariff, grid, net = problem
    assert bill(tariff, grid, np.zeros_like(net)).total == 0.0


@settings(max_examples=40, deadline=None)
@given(metered(), st.floats(0.05, 0.95))
def test_energy_adds_up_over_slices_of_time(problem, share):
    """The energy part of the whole is the sum of the parts, wherever the cut falls."""
    tariff, grid, net = problem
    k = max(1, min(grid.n - 1, int(share * grid.n)))
    parts = [
        bill(tariff, TimeGrid(grid.edges_s[: k + 1]), net[:, :k]),
        bill(tariff, TimeGrid(grid.edges_s[k:]), net[:, k:]),
    ]
    whole = bill(tariff, grid, net)
    for line in ("import_kwh", "export_kwh", "energy_import", "export_credit"):
        assert sum(getattr(part, line) for part in parts) == pytest.approx(getattr(whole, line), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(metered())
def test_bills_add_up_over_sites(problem):
    """The bill of a class is the sum of its sites' bills, demand included."""
    tariff, grid, net = problem
    each = [bill(tariff, grid, row[None]).total for row in net]
    assert sum(each) == pytest.approx(bill(tariff, grid, net).total, rel=1e-12, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(metered(), st.sampled_from([60, 300, 900]))
def test_the_bill_is_that_of_a_minute_by_minute_count(problem, cut):
    """Cutting the steps finer, power the same, leaves the energy part as it is."""
    tariff, grid, net = problem
    step = int(grid.edges_s[1] - grid.edges_s[0])
    fine = TimeGrid.uniform(grid.start_s, cut, (grid.end_s - grid.start_s) // cut)
    if step % cut:
        return
    got = bill(tariff, fine, np.repeat(net, step // cut, axis=1))
    assert got.energy_import == pytest.approx(bill(tariff, grid, net).energy_import, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(CUSTOMER_CLASSES),
    st.floats(0.0, 20.0),
    st.floats(0.5, 1.0),
    st.integers(0, 23),
)
def test_putting_off_is_no_gain(customer, kwh, eff, hour):
    """Owing energy, filling a store or emptying one gains no more than the day's spread of prices."""
    grid = TimeGrid.uniform(START_S, 3600, 24)
    tariff = TABLE[customer]
    price = prices(tariff, grid)[0]
    spread = (price[hour] - price.min()) * kwh / eff
    bought = np.zeros((1, 24))
    bought[0, hour] = -kwh / eff
    charged = DayAccount((bill(tariff, grid, bought),), eff_charge={customer: eff})
    idle = DayAccount((bill(tariff, grid, 0 * bought),), owed_kwh={customer: kwh}, eff_charge={customer: eff})
    demand = charged.bills[0].demand
    assert worth(charged, idle, TABLE, grid).total <= spread + demand + 1e-9
    filled = DayAccount(charged.bills, stored_kwh={customer: kwh}, eff_charge={customer: eff})
    nothing = DayAccount(idle.bills, eff_charge={customer: eff})
    assert worth(nothing, filled, TABLE, grid).total <= 1e-9
    assert worth(filled, nothing, TABLE, grid).total <= spread + demand + 1e-9


@settings(max_examples=30, deadline=None)
@given(metered())
def test_a_day_against_itself_is_worth_nothing(problem):
    """The same account twice: every line is zero."""
    tariff, grid, net = problem
    account = DayAccount(
        (bill(tariff, grid, net),), {"fuel": 3.0}, {tariff.customer: 5.0}, {tariff.customer: 1.0}
    )
    assert worth(account, account, TABLE, grid).total == 0.0


def test_every_customer_class_has_a_tariff():
    """The built-in table names each class of the schema, off-peak below peak, credit below both."""
    assert tuple(TABLE) == CUSTOMER_CLASSES
    for customer, tariff in TABLE.items():
        assert tariff.customer == customer
        assert tariff.import_price.shape == (7, 24)
        assert 0 <= tariff.export_credit <= tariff.import_price.min() < tariff.import_price.max()
    home = TABLE["residential"].import_price
    assert sorted(np.unique(home)) == [0.12, 0.18, 0.38]
    assert (home[:5, 16:21] == 0.38).all()
    assert (home[5:] < 0.38).all()


def test_power_of_the_wrong_shape_is_our_own_bug():
    """A (T,) vector instead of (S, T) raises with both shapes named."""
    with pytest.raises(ValueError, match=r"expected \(sites, 24\)"):
        bill(TABLE["utility"], TimeGrid.uniform(START_S, 3600, 24), np.zeros(24))
