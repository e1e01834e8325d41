"""Laws of needs that had to yield: what they get after all, and what no plan can give them."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridflock.bench._network_unservable import lacking_kwh, through_kw, unservable_kwh
from gridflock.bench._network_world import drawn
from gridflock.grid.build import from_document
from gridflock.plan.devices import Bands
from gridflock.plan.network._columns import columns
from gridflock.plan.network._correction import Workshop, near_rows
from gridflock.plan.network._deciders import content, missing_kwh
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._movement import Dispatch
from gridflock.plan.network._needs import WIDE, WIDE_PU, Kept, _asked, _eased, served, unserved_kwh
from gridflock.plan.network._repair import repair
from gridflock.plan.network._verdict import limits
from gridflock.sim import feeder_document

SEEDS = st.integers(0, 1_000)
HOURS = 0.25


def day(seed, ders=250):
    """A packed feeder's day and its limits."""
    of = drawn(from_document(feeder_document("ieee123")), ders, seed)
    exact = Exact(of.feeder)
    still = np.zeros((of.feeder.ports, of.feeder.steps))
    without = exact.points(still, still)
    amps = exact.currents(without.v)
    return of, exact, limits(of.feeder.network, without.v, amps), np.abs(amps)


def lacking_plan(seed):
    """A clean plan of such a day, and the same with a fifth of some vehicles' charging left out."""
    of, exact, kept, _ = day(seed)
    stand = columns(of.place, of.s_kva, of.feeder.ports)
    shop = Workshop(of.feeder, exact, kept, Bands.of(of.flexibility), stand, of.price)
    p_kw, _ = shop.bands.respond_rows(of.price[of.place])
    found = repair(shop, Dispatch(p_kw, np.zeros((len(stand.reactive), of.feeder.steps)))).dispatch
    some = of.of("vehicle") & (np.random.default_rng(seed).random(len(p_kw)) < 0.3)
    less = Dispatch(np.where(some[:, None], 0.8, 1.0) * found.p_kw, found.q_kvar)
    return shop, Kept(less, *shop.judged(less))


@given(SEEDS)
@settings(max_examples=3)
def test_what_is_served_stays_clean_and_possible(seed):
    """Needs lack less and never more; limits, powers, stores and inverters are kept."""
    shop, before = lacking_plan(seed)
    assert before.verdict.clean
    after = served(shop, before, rounds=1)
    left = unserved_kwh(shop, after.dispatch).sum()
    assert left < 0.5 * unserved_kwh(shop, before.dispatch).sum()
    assert shop.judged(after.dispatch)[1].clean
    bands, p_kw = shop.kinds.soft, after.dispatch.p_kw
    assert missing_kwh(bands, content(bands, p_kw)).max() <= 1e-5
    assert (np.abs(after.dispatch.q_kvar) <= shop.columns.reactive_room(p_kw) + 1e-9).all()
    vehicles = unserved_kwh(shop, before.dispatch) > 0.0
    assert (p_kw[~vehicles] == before.dispatch.p_kw[~vehicles]).all()


@given(SEEDS)
@settings(max_examples=2)
def test_room_is_made_by_reactive_power_alone(seed):
    """Room for needs leaves active power as it is, inverters inside their rating, and limits kept."""
    shop, before = lacking_plan(seed)
    asked = _asked(shop, before.dispatch, unserved_kwh(shop, before.dispatch))
    assert asked.any()
    assert (asked >= 0.0).all()
    rows = near_rows(shop, before.dispatch, before.verdict, before.verdict.solved, (WIDE_PU, WIDE))
    after = _eased(shop, before, rows, asked)
    assert after.dispatch.p_kw is before.dispatch.p_kw
    assert (np.abs(after.dispatch.q_kvar) <= shop.columns.reactive_room(before.dispatch.p_kw) + 1e-9).all()
    assert shop.judged(after.dispatch)[1].clean


def test_nothing_is_asked_where_nothing_lacks():
    """A plan whose needs are served, or that breaks a limit, is left as it is."""
    shop, less = lacking_plan(3)
    full = served(shop, less, rounds=0)
    if not (unserved_kwh(shop, full.dispatch) > 1e-6).any():
        assert served(shop, full) is full
    p_kw, _ = shop.bands.respond_rows(3.0 * shop.price[shop.columns.port])
    broken = Dispatch(1.5 * p_kw, less.dispatch.q_kvar)
    now = Kept(broken, *shop.judged(broken))
    assert now.verdict.clean or served(shop, now) is now


# ---- what no plan can serve ---------------------------------------------------------------------------


def least_lacking(of, rows, vehicles, room_kw):
    """The same bound as a small program over powers alone, contents written out as sums."""
    steps, m = len(room_kw), len(rows)
    n = 2 * m * steps
    cost = np.append(np.zeros(n), np.ones(m))
    most = np.concatenate([of.up_kw[rows].ravel(), of.down_kw[rows].ravel(), np.where(vehicles, np.inf, 0.0)])
    a, b = [], []
    for t in range(steps):
        row = np.zeros(n + m)
        row[np.arange(m) * steps + t] = -1.0
        row[(m + np.arange(m)) * steps + t] = 1.0
        a.append(row)
        b.append(room_kw[t] + of.base_kw[rows, t].sum())
    for k, device in enumerate(rows):
        for t in range(steps):
            row = np.zeros(n + m)
            row[k * steps : k * steps + t + 1] = of.gain_up[device] * HOURS
            row[(m + k) * steps : (m + k) * steps + t + 1] = of.gain_down[device] * HOURS
            for sign, edge in ((-1.0, of.x_lo_kwh), (1.0, of.x_hi_kwh)):
                one = sign * row
                one[n + k] = -1.0
                a.append(one)
                b.append(sign * edge[device, t + 1])
    found = linprog(cost, A_ub=np.array(a), b_ub=b, bounds=np.stack([np.zeros(n + m), most], axis=1))
    assert found.status == 0
    return found.fun


@given(SEEDS, st.floats(1.0, 12.0))
@settings(max_examples=6, deadline=None)
def test_what_lacks_behind_an_element_is_that_of_a_small_program(seed, room):
    """Vehicles and batteries behind one limit: as much lacks as a program written otherwise says."""
    of = drawn(from_document(feeder_document("ieee123")), 40, seed)
    kind = np.array(of.kind)
    rows = np.sort(
        np.concatenate([np.flatnonzero(kind == "vehicle")[:3], np.flatnonzero(kind == "battery")[:1]])
    )
    room_kw = room + np.random.default_rng(seed).uniform(-1.0, 1.0, of.feeder.steps)
    vehicles = of.of("vehicle")
    found = lacking_kwh(of.flexibility, rows, vehicles, room_kw)
    told = least_lacking(of.flexibility, rows, vehicles[rows], room_kw)
    assert abs(found - max(0.0, told)) <= 1e-4
    assert found <= told + 1e-7


@given(SEEDS, st.floats(0.0, 1.0))
@settings(max_examples=5, deadline=None)
def test_no_plan_serves_more_than_what_is_proven(seed, part):
    """Where limits are what a plan takes of the network in each step, it lacks at least what is proven."""
    of, exact, kept, _ = day(seed, ders=150)
    best, _ = Bands.of(of.flexibility).respond_rows(of.price[of.place])
    p_kw = np.where(of.of("vehicle")[:, None], part * best, best)
    sums = np.zeros((of.feeder.ports, of.feeder.steps))
    np.add.at(sums, of.place, p_kw)
    points = exact.points(sums, np.zeros_like(sums))
    size, amps = np.abs(points.v) / of.feeder.network.v_base, np.abs(exact.currents(points.v))
    asked = replace(kept, v_low_pu=size, v_high_pu=size, most_a=amps)
    lacks = (1.0 - part) * of.flexibility.x_hi_kwh[of.of("vehicle"), -1].sum()
    assert unservable_kwh(of, asked) <= lacks + 1e-3


def test_something_is_proven_where_nothing_is_left():
    """Conductors that carry what loads alone take, and no more: vehicles behind some lack energy."""
    of, _, kept, without = day(4, ders=300)
    assert unservable_kwh(of, replace(kept, most_a=without)) > 1.0
    assert unservable_kwh(of, kept) == 0.0


def test_what_is_unlimited_proves_nothing():
    """Without limits of current no power is bounded, and nothing is proven to lack."""
    of, _, kept, _ = day(4, ders=60)
    free = replace(kept, most_a=np.full_like(kept.most_a, np.inf))
    assert not np.isfinite(through_kw(of.feeder.network, free)[:, of.feeder.network.load_bus]).any()
    assert unservable_kwh(of, free) == 0.0
