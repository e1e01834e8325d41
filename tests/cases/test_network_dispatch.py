"""A feeder's day of devices planned inside its limits: the packed IEEE 123-node feeder, 24 hours."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gridflock.grid import solve
from gridflock.grid.build import from_document
from gridflock.model import Flexibility
from gridflock.plan.devices import Bands
from gridflock.plan.network import (
    DayRejected,
    Devices,
    Feeder,
    How,
    NetworkPlan,
    Policy,
    day_limits,
    dispatch_plan,
    feeder,
    hold,
)
from gridflock.plan.network._verdict import Limits
from gridflock.sim import feeder_document
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
day = importlib.import_module("network_day")
STEPS, PRICE = day.STEPS, day.PRICE
COUNT = 90
PV, VEHICLE, BATTERY = 0, 1, 2


def small_feeder() -> Feeder:
    """The feeder at about 40 % load with a device port at every load."""
    of: Feeder = day.feeder_at(0.4)
    return of


def small_fleet(scale: float = 3.0) -> Devices:
    """Suns, vehicles and batteries, the same number of each, drawn."""
    rng = np.random.default_rng(5)
    kind = np.arange(COUNT) % 3
    zero, edge = np.zeros((COUNT, STEPS)), np.zeros((COUNT, STEPS + 1))
    grid = TimeGrid.uniform(0, 3600, STEPS)
    rows = Flexibility(
        grid, tuple(f"der_{k}" for k in range(COUNT)), zero, zero.copy(), zero.copy(), edge, edge.copy(),
        *(np.zeros(COUNT) for _ in range(4)),
    )  # fmt: skip
    sun = np.clip(np.sin((np.arange(STEPS) - 6.0) * np.pi / 12.0), 0.0, None)
    kw = scale * rng.uniform(20.0, 40.0, COUNT)
    of = kind == PV
    rows.base_kw[of] = rows.down_kw[of] = kw[of, None] * sun
    rows.cost_down[of] = 1e-3
    of = kind == VEHICLE
    rows.down_kw[of, :10] = 0.5 * kw[of, None]
    rows.gain_down[of] = 0.9
    rows.x_hi_kwh[of] = kw[of, None]
    rows.x_lo_kwh[of, 10:] = kw[of, None]
    of = kind == BATTERY
    rows.up_kw[of] = rows.down_kw[of] = 0.5 * kw[of, None]
    rows.gain_up[of], rows.gain_down[of], rows.cost_up[of] = -1.0 / 0.95, 0.95, 0.01
    rows.x_lo_kwh[of], rows.x_hi_kwh[of] = -0.5 * kw[of, None], 0.5 * kw[of, None]
    rows.x_lo_kwh[of, -1] = 0.0
    port = rng.integers(0, small_feeder().ports, COUNT).astype(np.int32)
    return Devices(rows, port, np.where(kind == VEHICLE, 0.0, 1.1 * kw))


@lru_cache(maxsize=4)
def planned(scale: float = 3.0) -> NetworkPlan:
    """The plan of the small fleet."""
    return dispatch_plan(small_feeder(), small_fleet(scale), PRICE)


def test_what_price_alone_breaks_the_plan_keeps() -> None:
    """The price-only plan breaks limits; the plan breaks none, in any step."""
    plan = planned()
    assert plan.log[0].voltages + plan.log[0].currents > 0
    assert plan.clean
    assert not plan.broken


def test_reference_flow_agrees() -> None:
    """The reference power flow of single steps of the plan keeps the limits, too."""
    of, devices, plan = small_feeder(), small_fleet(), planned()
    kept = day_limits(of)
    sums = np.zeros((2, of.ports, STEPS))
    np.add.at(sums[0], devices.port, plan.p_kw)
    np.add.at(sums[1], devices.port, plan.q_kvar)
    powers = of.powers(sums[0], sums[1])
    still = np.zeros(of.network.n, dtype=np.complex128)
    for t in (0, 7, 13, 23):
        flow = solve(of.network, powers[t], still, of.state)
        assert (flow.v_pu >= kept.v_low_pu[t] - 1e-6).all()
        assert (flow.v_pu <= kept.v_high_pu[t] + 1e-6).all()
        assert (np.abs(flow.currents) <= kept.most_a[t] * (1.0 + 1e-5)).all()


def test_devices_can_do_their_part() -> None:
    """Powers are inside bounds, bands are kept, needs are served, and reactive power is inside the disc."""
    devices, plan = small_fleet(), planned()
    rows = devices.flexibility
    assert (plan.p_kw <= rows.base_kw + rows.up_kw + 1e-6).all()
    assert (plan.p_kw >= rows.base_kw - rows.down_kw - 1e-6).all()
    assert plan.missing_kwh.max() < 1e-3
    s = devices.s_kva[:, None]
    assert (np.hypot(plan.p_kw, plan.q_kvar)[s[:, 0] > 0.0] <= s[s[:, 0] > 0.0] + 1e-6).all()
    assert (np.abs(plan.q_kvar) <= devices.q_share * s + 1e-6).all()


def test_cost_stands_between_its_bounds() -> None:
    """The free bound is below the linearised one, that below the cost, and little is left between."""
    plan = planned()
    assert plan.free_bound <= plan.linear_bound + 1e-6 * abs(plan.cost)
    assert plan.linear_bound <= plan.cost + 1e-3 * abs(plan.cost)
    assert plan.cost - plan.linear_bound <= 0.02 * abs(plan.linear_bound)


def test_where_nothing_binds_price_alone_decides() -> None:
    """A fleet too small to break anything does what price alone makes it do."""
    plan = planned(0.01)
    assert plan.clean
    assert plan.cost == pytest.approx(plan.free_bound, abs=1e-9)
    assert not plan.prices.kwh.any()


def test_same_input_same_bytes() -> None:
    """Planned twice, a day is the same to the bit."""
    quick = How(rounds=2, bound=0)
    one, two = (dispatch_plan(small_feeder(), small_fleet(), PRICE, how=quick) for _ in range(2))
    assert one.p_kw.tobytes() == two.p_kw.tobytes()
    assert one.q_kvar.tobytes() == two.q_kvar.tobytes()


def test_prices_have_their_reasons() -> None:
    """What the network adds at a port is the sum of the limits named for it."""
    plan = planned()
    port, step = np.unravel_index(np.argmax(np.abs(plan.prices.kwh)), plan.prices.kwh.shape)
    found = plan.reasons.at(int(port), int(step), most=10_000)
    assert found
    assert sum(reason.price for reason in found) == pytest.approx(plan.prices.kwh[port, step], abs=5e-3)
    assert all(reason.element in str(reason) for reason in found)


def test_without_time_there_is_still_a_plan() -> None:
    """A planner that may not go on says what it has, with its verdict."""
    plan = dispatch_plan(small_feeder(), small_fleet(), PRICE, how=How(going=lambda: False))
    assert plan.p_kw.shape == (COUNT, STEPS)
    assert not plan.clean
    assert plan.broken
    assert np.isnan(plan.linear_bound)


def test_a_need_beyond_the_network_is_named() -> None:
    """Where limits leave nothing, vehicles lack what cannot be served, and no limit is broken for it."""
    of, devices = small_feeder(), small_fleet()
    kept = day_limits(of)
    rows = replace(
        devices.flexibility,
        down_kw=devices.flexibility.down_kw * 9.0,
        x_lo_kwh=np.where(
            devices.flexibility.x_lo_kwh > 0.0,
            devices.flexibility.x_lo_kwh * 30.0,
            devices.flexibility.x_lo_kwh,
        ),
        x_hi_kwh=np.where(
            devices.flexibility.gain_up[:, None] == 0.0,
            devices.flexibility.x_hi_kwh * 30.0,
            devices.flexibility.x_hi_kwh,
        ),
    )
    plan = dispatch_plan(of, replace(devices, flexibility=rows), PRICE, kept, how=How(bound=0))
    assert plan.clean or plan.broken
    assert plan.missing_kwh.max() > 1.0


@pytest.mark.parametrize("policy", list(Policy))
def test_without_reactive_power(policy: Policy) -> None:
    """Inverters that give no reactive power get none asked, and the verdict is honest."""
    devices = replace(small_fleet(), s_kva=np.zeros(COUNT))
    plan = dispatch_plan(small_feeder(), devices, PRICE, day_limits(small_feeder(), policy), how=How(bound=0))
    assert not plan.q_kvar.any()
    assert plan.clean == (not plan.broken)


def test_a_later_horizon_begins_where_the_last_one_ended() -> None:
    """The same day again, begun from its own plan, is clean sooner than from nothing."""
    first = planned()
    again = dispatch_plan(small_feeder(), small_fleet(), PRICE, how=How(bound=0), warm=first.warm.later(0))
    assert again.clean
    assert len(again.log) <= len(first.log)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"port": np.full(COUNT, 10_000, dtype=np.int32)}, "port"),
        ({"port": np.zeros(3, dtype=np.int32)}, "port"),
        ({"s_kva": np.full(COUNT, np.nan)}, "s_kva"),
        ({"q_share": -1.0}, "q_share"),
        ({"port": np.zeros(COUNT)}, "port"),
        ({"end_value": np.nan}, "end_value"),
        ({"unserved_price": np.inf}, "unserved_price"),
    ],
)
def test_bad_devices_are_named(change: dict[str, object], field: str) -> None:
    """What breaks a rule is named with the device it belongs to."""
    devices = replace(small_fleet(), **change)  # type: ignore[arg-type]
    with pytest.raises(DayRejected) as refused:
        dispatch_plan(small_feeder(), devices, PRICE)
    assert [one.field for one in refused.value.rejected] == [field]
    with pytest.raises(DayRejected) as refused:
        hold(small_feeder(), devices, np.zeros((COUNT, STEPS)), PRICE)
    assert [one.field for one in refused.value.rejected] == [field]


@pytest.mark.parametrize(
    "p_kw",
    [
        np.zeros((COUNT, STEPS - 1)),
        np.zeros(STEPS),
        np.full((COUNT, STEPS), np.nan),
        np.full((COUNT, STEPS), np.inf),
    ],
)
def test_bad_plans_are_named(p_kw: NDArray[np.float64]) -> None:
    """A plan to be held that does not fit, or is no number, is refused."""
    with pytest.raises(DayRejected) as refused:
        hold(small_feeder(), small_fleet(), p_kw, PRICE)
    assert [one.field for one in refused.value.rejected] == ["p_kw"]


def test_limits_that_are_no_numbers_are_named() -> None:
    """No number is no limit: who asks nothing says infinite."""
    kept = day_limits(small_feeder())
    bad = replace(kept, v_low_pu=np.full_like(kept.v_low_pu, np.nan))
    with pytest.raises(DayRejected, match="v_low_pu"):
        dispatch_plan(small_feeder(), small_fleet(), PRICE, bad)


@lru_cache(maxsize=1)
def overloaded_feeder() -> Feeder:
    """The feeder with loads of constant power at any voltage, in step 10 more than it can carry."""
    of = small_feeder()
    count = len(of.network.loads)
    network = replace(
        of.network,
        load_range=np.tile([0.2, 0.4, 1.6], (count, 1)),
        load_edge=np.tile([1.0 / 0.4, 1.0 / 1.6], (count, 1)),
        wired=of.network.wiring,
    )
    loads = of.load_kva.copy()
    loads[10] *= 30.0
    return replace(of, network=network, load_kva=loads)


def test_a_day_without_a_solution_is_said() -> None:
    """Where loads alone are more than the feeder carries there still is a plan, which names these steps."""
    of, devices = overloaded_feeder(), small_fleet(1.0)
    plan = dispatch_plan(of, devices, PRICE, how=How(rounds=2, bound=0))
    held = hold(of, devices, devices.flexibility.base_kw, PRICE, rounds=4)
    stores = np.arange(COUNT) % 3 == BATTERY
    for found, verdict in ((plan, plan.verdict), (held, held.verdict)):
        assert not verdict.clean
        assert verdict.unsolved == 1
        assert (found.broken[0].kind, found.broken[0].step, found.broken[0].steps) == ("unsolved", 10, 1)
        assert possible_kwh(devices, found.p_kw)[stores].max() < 1e-3
    assert all(entry.unsolved == 1 for entry in plan.log)
    assert np.isfinite(plan.prices.kwh).all()


def test_price_alone_and_clean_at_once_is_a_whole_plan() -> None:
    """Prices, reasons, bound and the next start are there though no round was needed, warm or not."""
    first = planned(0.01)
    how = How(rounds=0, bound=60)
    again = dispatch_plan(small_feeder(), small_fleet(0.01), PRICE, how=how, warm=first.warm.later(1))
    for plan in (first, again):
        assert plan.clean
        assert [entry.stage for entry in plan.log] == ["loop"]
        assert np.isfinite(plan.linear_bound)
        assert not plan.prices.kwh.any()
        assert plan.reasons.at(0, 0) == ()


@pytest.mark.parametrize("price", [np.full(STEPS, np.nan), np.zeros(3), np.full((COUNT, STEPS), np.inf)])
def test_bad_prices_are_named(price: NDArray[np.float64]) -> None:
    """Prices that are no numbers, or too few, are refused."""
    with pytest.raises(DayRejected, match="price"):
        dispatch_plan(small_feeder(), small_fleet(), price)


def test_bad_rows_are_named() -> None:
    """A store with its minimum above its maximum and a negative bound are both found at once."""
    rows = small_fleet().flexibility
    low, up = rows.x_lo_kwh.copy(), rows.up_kw.copy()
    low[3], up[4] = 1e6, -1.0
    bad = replace(small_fleet(), flexibility=replace(rows, x_lo_kwh=low, up_kw=up))
    with pytest.raises(DayRejected) as refused:
        dispatch_plan(small_feeder(), bad, PRICE)
    assert {(one.field, one.ids) for one in refused.value.rejected} == {
        ("x_lo_kwh", ("der_3",)),
        ("up_kw", ("der_4",)),
    }


def test_negative_prices_are_prices() -> None:
    """Where injecting costs, the sun is curtailed and the limits hold."""
    plan = dispatch_plan(small_feeder(), small_fleet(), -PRICE, how=How(bound=0))
    assert plan.clean
    sun = np.arange(COUNT) % 3 == PV
    assert np.abs(plan.p_kw[sun]).max() < 1.0


def possible_kwh(devices: Devices, p_kw: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the true contents under schedules leave each device's band, kWh; powers are inside."""
    rows = devices.flexibility
    assert (p_kw >= rows.base_kw - rows.down_kw).all()
    assert (p_kw <= rows.base_kw + rows.up_kw).all()
    up, down = np.maximum(p_kw - rows.base_kw, 0.0), np.maximum(rows.base_kw - p_kw, 0.0)
    change = rows.gain_up[:, None] * up + rows.gain_down[:, None] * down
    content = np.cumsum(change * rows.grid.hours, axis=1)
    beyond = np.maximum(rows.x_lo_kwh[:, 1:] - content, content - rows.x_hi_kwh[:, 1:])
    return np.maximum(beyond.max(axis=1), 0.0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_no_battery_is_overfilled_where_injecting_costs(scale: float) -> None:
    """Charging and discharging in one step would burn energy; of a plan only the net is followed."""
    devices, price = small_fleet(scale), PRICE - 0.5
    stores = np.arange(COUNT) % 3 == BATTERY
    plan = dispatch_plan(small_feeder(), devices, price, how=How(bound=0))
    assert possible_kwh(devices, plan.p_kw)[stores].max() < 1e-3
    assert plan.missing_kwh == pytest.approx(possible_kwh(devices, plan.p_kw), abs=1e-9)
    assert plan.clean == (not plan.broken)
    # What a planner that does not look at losses makes of it:
    wished = Bands.of(devices.flexibility).respond_rows(np.broadcast_to(price, plan.p_kw.shape))[0]
    assert possible_kwh(devices, wished)[stores].max() > 1.0
    held = hold(small_feeder(), devices, wished, price)
    assert possible_kwh(devices, held.p_kw)[stores].max() < 1e-3
    assert held.missing_kwh == pytest.approx(possible_kwh(devices, held.p_kw), abs=1e-9)
    assert held.verdict.clean == (not held.broken)


def test_who_cannot_move_is_left_and_its_limits_are_named() -> None:
    """A device that has to draw more than the feeder carries keeps drawing it; what breaks is named."""
    devices = small_fleet(1.0)
    rows = devices.flexibility
    base, up, down = rows.base_kw.copy(), rows.up_kw.copy(), rows.down_kw.copy()
    base[PV], up[PV], down[PV] = 0.0, 0.0, 0.0
    base[PV, 10] = -2_000.0
    rows = replace(rows, base_kw=base, up_kw=up, down_kw=down)
    devices = replace(devices, flexibility=rows, port=np.maximum(devices.port, 1))
    held = hold(small_feeder(), devices, base, PRICE)
    plan = dispatch_plan(small_feeder(), devices, PRICE, how=How(rounds=3, bound=0))
    for p_kw, verdict, broken in (
        (held.p_kw, held.verdict, held.broken),
        (plan.p_kw, plan.verdict, plan.broken),
    ):
        assert p_kw[PV] == pytest.approx(base[PV])
        assert (p_kw >= base - down).all()
        assert (p_kw <= base + up).all()
        assert not verdict.clean
        assert broken
        assert {one.step for one in broken} == {10}


def test_ports_must_be_live_nodes() -> None:
    """A device port at no node, or loads that do not fit, are refused."""
    of = small_feeder()
    network = from_document(feeder_document("ieee123"))
    with pytest.raises(ValueError, match="device port 0"):
        feeder(network, of.state, of.load_kva, np.array([[5, 5]], dtype=np.int32))
    with pytest.raises(ValueError, match="load_kva"):
        feeder(network, of.state, of.load_kva[:, :3], network.load_nodes)


def test_limits_do_not_fit_another_feeder() -> None:
    """Limits of another shape are refused by name."""
    wrong = Limits(np.zeros((2, 3)), np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(DayRejected, match="v_low_pu"):
        dispatch_plan(small_feeder(), small_fleet(), PRICE, wrong)
