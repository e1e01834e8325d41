"""Laws of a plan down to devices: possible for each, never better than its bound, on the groups' terms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Members, Terms, plan, planned
from gridflock.plan import _members as module
from gridflock.plan.devices import Bands
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200


def homes(rng, n, steps):
    """Some batteries, suns and comfort bands in three groups, over quarter-hours."""
    grid = TimeGrid.uniform(NOW_S, 900, steps)
    kind = np.sort(rng.integers(0, 3, n))
    battery, sun, comfort = (kind == k for k in range(3))
    power = rng.uniform(1.0, 6.0, (n, 1)) * np.ones((n, steps))
    energy = rng.uniform(1.0, 8.0, (n, 1)) * np.ones((n, steps + 1))
    shape = np.maximum(np.sin(np.linspace(0.0, np.pi, steps)), 0.0)
    base = np.where(sun[:, None], power * shape, np.where(comfort[:, None], -0.4 * power, 0.0))
    up = np.where(battery[:, None], power, np.where(comfort[:, None], 0.4 * power, 0.0))
    down = np.where(sun[:, None], np.maximum(base, 0.0), np.where(comfort[:, None], 0.6 * power, power))
    store = ~sun
    held = rng.uniform(0.0, 1.0, (n, 1))
    flexibility = Flexibility(
        grid,
        tuple(f"home-{k}" for k in range(n)),
        base,
        up,
        down,
        np.where(store[:, None], -held * energy, -np.inf),
        np.where(store[:, None], (1.0 - held) * energy, np.inf),
        np.where(battery, -1.0 / 0.93, np.where(comfort, -1.0, 0.0)),
        np.where(battery, 0.93, np.where(comfort, 1.0, 0.0)),
        np.full(n, 0.01),
        np.full(n, 0.01),
    )
    return Members(flexibility, ("batteries", "suns", "comfort"), kind.astype(np.int64))


def terms_of(rng, steps, **more):
    """A tariff with a dear evening, a demand charge and calm; export earns half."""
    price = 0.15 + 0.2 * (np.arange(steps) > steps // 2) + rng.uniform(0.0, 0.05, steps)
    endless = np.full(steps, np.inf)
    given_terms = {"import_limit_kw": endless, "export_limit_kw": endless, "export_price": price / 2}
    return Terms(import_price=price, **(given_terms | {"peak_price": 0.3, "ramp_penalty": 0.02} | more))


def drawn(seed, n=40, steps=12):
    """Members, load and terms of a seed."""
    rng = np.random.default_rng(seed)
    return homes(rng, n, steps), -rng.uniform(60.0, 160.0, steps), terms_of(rng, steps)


def possible(members, p_kw, tolerance):
    """Whether every device can follow its schedule: the nearest one it can is the same."""
    bands = Bands.of(members.flexibility)
    nearest, _ = bands.nearest(np.zeros_like(p_kw), p_kw, 1e4)
    return float(np.abs(nearest - p_kw).max()) <= tolerance


@pytest.mark.parametrize("seed", range(6))
def test_prices_and_one_program_agree(seed, monkeypatch):
    """By prices the plan costs at most its gap more than as one program, and its bound is no higher."""
    members, load, terms = drawn(seed)
    whole = planned(members, load, terms, NOW_S)
    monkeypatch.setattr(module, "FEW", 0)
    found = planned(members, load, terms, NOW_S, target=0.002)
    best = whole.schedule.cost
    tolerance = 1e-5 * abs(best) + 1e-4
    assert found.schedule.cost - found.gap <= best + tolerance
    assert whole.gap <= tolerance
    assert best - tolerance <= found.schedule.cost <= best + 0.004 * abs(best) + tolerance
    assert possible(members, found.p_kw, 2e-2)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.floats(0.4, 1.2))
def test_a_plan_of_devices_says_what_it_is(seed, part):
    """Sums are the groups', net is load and sums, every device can follow, limits that give way are named."""
    rng = np.random.default_rng(seed)
    steps = 8
    members = homes(rng, 210, steps)
    load = -rng.uniform(200.0, 500.0, steps)
    limit = part * float(-load.min())
    limited = Envelope("batteries", -50.0, 80.0, "transformer T7", NOW_S + 900 * steps)
    more = {"import_limit_kw": np.full(steps, limit), "group_limits": (limited,)}
    found = planned(members, load, terms_of(rng, steps, **more), NOW_S)
    schedule = found.schedule
    np.testing.assert_allclose(members.sums(found.p_kw), schedule.p_kw, atol=1e-6)
    np.testing.assert_allclose(load + schedule.p_kw.sum(axis=0), schedule.net_kw, atol=1e-6)
    assert found.gap >= 0.0
    assert schedule.penalty >= 0.0
    assert possible(members, found.p_kw, 2e-2)
    beyond = np.maximum(-schedule.net_kw - limit, 0.0).max()
    named = {reason.row for reason in schedule.reasons if reason.slack_kw > 0.0}
    assert beyond <= 0.01 * limit or "import limit of the feeder head" in named


def test_the_price_of_a_device_is_the_sum_of_its_parts():
    """Grounds add up: at its local price a device's plan is worth no less than what it would do alone."""
    rng = np.random.default_rng(5)
    members, load = homes(rng, 240, 10), -rng.uniform(200.0, 400.0, 10)
    dear = {"suns": np.full(10, 0.1)}
    found = planned(members, load, terms_of(rng, 10, premium=dear), NOW_S, target=5e-4)
    grounds = found.grounds
    assert grounds is not None
    bands = Bands.of(members.flexibility, end_value=grounds.end_value)
    price = np.array([grounds.price(row) for row in range(240)])
    best, cost = bands.respond_rows(price)
    hours = members.flexibility.grid.hours
    mine = bands.nearest(price, found.p_kw, 1e4)[1] - (price * found.p_kw) @ hours
    lost = float((mine - (cost - (price * best) @ hours)).sum())
    assert lost <= 0.01 * abs(found.schedule.cost)
    assert {part.name for part in grounds.parts} >= {"import tariff", "the owner's own tariff"}


def test_the_next_horizon_starts_from_the_prices_of_the_last():
    """Carried prices fit another horizon; the plan is as good as without, as far as either is proven."""
    members, load, terms = drawn(3, n=260)
    first = planned(members, load, terms, NOW_S)
    assert first.prices is not None
    later = planned(members, load, terms, NOW_S + 900, warm=first.prices)
    assert abs(later.schedule.cost - first.schedule.cost) <= max(first.gap, later.gap) + 1e-6
    assert max(first.gap, later.gap) <= 0.05 * abs(first.schedule.cost)


def test_broken_devices_rest_and_are_named():
    """A device with numbers that cannot be rests at its base; the others are planned."""
    members, load, terms = drawn(1, n=230)
    up = members.flexibility.up_kw.copy()
    up[4, 2] = np.nan
    broken = replace(members, flexibility=replace(members.flexibility, up_kw=up))
    found = planned(broken, load, terms, NOW_S)
    assert (found.p_kw[4] == members.flexibility.base_kw[4]).all()
    assert any("home-4" in reason.row for reason in found.schedule.reasons)
    assert not np.allclose(found.p_kw, members.flexibility.base_kw)


def test_an_empty_horizon_is_no_exception():
    """Nothing to plan is said in words."""
    members, load, terms = drawn(1, n=230)
    grid = TimeGrid(np.array([NOW_S], dtype=np.int64))
    of = members.flexibility
    tables = {name: getattr(of, name)[:, :0] for name in ("base_kw", "up_kw", "down_kw")}
    edges = {name: getattr(of, name)[:, :1] for name in ("x_lo_kwh", "x_hi_kwh")}
    empty = replace(members, flexibility=replace(of, grid=grid, **tables, **edges))
    found = planned(empty, load[:0], terms, NOW_S)
    assert "empty horizon" in found.schedule.reasons[0].row


def test_a_need_that_cannot_be_met_is_named():
    """A vehicle that owes more than it can charge is a reason of the plan, however many devices there are."""
    for n in (3, 230):
        grid = TimeGrid.uniform(NOW_S, 900, 8)
        tables, edges = np.ones((n, 8)), np.ones((n, 9))
        least = np.zeros((n, 9))
        least[:, 8] = 1.0
        least[0, 8] = 9.0
        cars = Flexibility(
            grid, tuple(f"car-{k}" for k in range(n)), 0 * tables, 0 * tables, tables, least, 10 * edges,
            np.zeros(n), np.full(n, 0.9), np.zeros(n), np.zeros(n),
        )  # fmt: skip
        members = Members(cars, ("cars",), np.zeros(n, dtype=np.int64))
        found = planned(members, np.full(8, -100.0), terms_of(np.random.default_rng(1), 8), NOW_S)
        assert {r.row for r in found.schedule.reasons if r.slack_kw > 0.0} == {"energy band of car-0"}


def test_cost_is_the_same_however_it_was_found(monkeypatch):
    """Owners' tariffs, stored energy and limits that give way count alike by prices and as one program."""
    rng = np.random.default_rng(9)
    members, load = homes(rng, 50, 10), -rng.uniform(100.0, 200.0, 10)
    more = {"premium": {"suns": np.full(10, 0.1)}, "end_value": {"batteries": 0.4}}
    more["import_limit_kw"] = np.full(10, 90.0)
    terms = terms_of(rng, 10, **more)
    whole = planned(members, load, terms, NOW_S)
    monkeypatch.setattr(module, "FEW", 0)
    found = planned(members, load, terms, NOW_S, target=0.001)
    assert found.schedule.penalty == pytest.approx(whole.schedule.penalty, rel=0.01)
    assert found.schedule.cost == pytest.approx(whole.schedule.cost, rel=0.003)
    assert found.schedule.cost - found.gap <= whole.schedule.cost + 1e-3


@pytest.mark.parametrize("seed", range(40))
def test_no_feasible_plan_undercuts_what_is_proven_at_negative_prices(seed):
    """The proven gap holds against an optimum that may choose each step's direction (HiGHS, yes or no)."""
    rng = np.random.default_rng(seed)
    steps = 4
    grid = TimeGrid.uniform(NOW_S, 3600, steps)
    held = rng.uniform(0.0, 4.0)
    store = Flexibility(
        grid, ("store",), np.zeros((1, steps)), np.full((1, steps), 3.0), np.full((1, steps), 3.0),
        np.full((1, steps + 1), -held), np.full((1, steps + 1), 4.0 - held),
        np.array([-1 / 0.8]), np.array([0.8]), np.array([0.01]), np.array([0.01]),
    )  # fmt: skip
    price = rng.uniform(-0.4, 0.2, steps)
    endless = np.full(steps, np.inf)
    terms = Terms(price, price / 2, endless, endless)
    members = Members(store, ("store",), np.zeros(1, dtype=np.int64))
    found = planned(members, np.full(steps, -5.0), terms, NOW_S)
    proven = found.schedule.cost - found.gap
    best = np.inf
    for ways in range(2**steps):
        up = np.array([ways >> t & 1 for t in range(steps)], dtype=bool)
        one = replace(store, up_kw=store.up_kw * up, down_kw=store.down_kw * ~up)
        best = min(best, plan(one, np.full(steps, -5.0), terms, NOW_S).cost)
    assert proven <= best + 1e-6
    assert found.schedule.cost >= best - 1e-6
