"""Every oracle's answers against a linear program by HiGHS."""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from gridflock.plan.devices import Question, Stores, Vehicles

STEPS = 16


def stores(rng, n):
    """Random stores, one to a group: windows, wants, uneven and perfect efficiencies, no wear at all."""
    power = rng.uniform(1.0, 7.0, (2, n))
    e_hi = rng.uniform(2.0, 20.0, n)
    e_lo = e_hi * rng.uniform(0.0, 0.2, n)
    e_now = e_lo + (e_hi - e_lo) * rng.uniform(0.0, 1.0, n)
    perfect = rng.random(n) < 0.2
    efficiency = np.where(perfect, 1.0, rng.uniform(0.8, 1.0, (2, n)))
    first = rng.integers(0, 6, n)
    end = rng.uniform(-0.05, 0.3, n)
    return Stores(
        hours=rng.choice([0.25, 0.5, 1.0], STEPS),
        start=np.arange(n + 1),
        charge_kw=power[0],
        discharge_kw=power[1],
        e_lo_kwh=e_lo,
        e_hi_kwh=e_hi,
        e_now_kwh=e_now,
        e_want_kwh=e_lo + (e_hi - e_lo) * rng.choice([0.0, 0.5, 1.0], n),
        eff_charge=efficiency[0],
        eff_discharge=efficiency[1],
        wear=np.where(perfect, 0.0, rng.uniform(0.0, 0.05, n)),
        end_value=end,
        short_price=end + rng.choice([0.0, 3.0], n),
        first=first,
        last=rng.integers(first + 1, STEPS + 1),
        loss_per_hour=rng.uniform(0.0, 0.1, n) * (rng.random(n) < 0.5),
    )


def inside(of):
    """(n, T) whether each step lies in the window."""
    return (np.arange(STEPS) >= of.first[:, None]) & (np.arange(STEPS) < of.last[:, None])


def store_optima(of, price):
    """(n,) least own cost less the worth of the energy: columns drawn, given, content, missing, spare."""
    n, window = len(price), inside(of)
    hours = np.where(window, of.hours, 0.0)
    wear, zero = of.wear[:, None], np.zeros((n, STEPS))
    cost = np.stack([(price + wear) * hours, (wear - price) * hours, zero]).ravel()
    cost = np.concatenate([cost, of.short_price, -of.end_value])
    kept = (1.0 - of.loss_per_hour[:, None]) ** hours
    eye = sparse.identity(n * STEPS)
    earlier = kept.copy()
    earlier[:, 0] = 0.0
    last = sparse.kron(sparse.identity(n), np.eye(STEPS)[-1:])
    small, none = sparse.identity(n), sparse.csc_matrix((n * STEPS, n))
    balance = sparse.bmat(
        [
            [
                -sparse.diags_array((of.eff_charge[:, None] * hours).ravel()),
                sparse.diags_array((hours / of.eff_discharge[:, None]).ravel()),
                eye - sparse.diags_array(earlier.ravel()[1:], offsets=-1),
                none,
                none,
            ],
            [None, None, last, small, -small],
        ]
    )
    first = zero.copy()
    first[:, 0] = kept[:, 0] * (of.e_now_kwh - of.e_lo_kwh)
    right = np.concatenate([first.ravel(), of.e_want_kwh - of.e_lo_kwh])
    share = [sparse.diags_array(np.repeat(1.0 / of_kw, STEPS)) for of_kw in (of.charge_kw, of.discharge_kw)]
    share = sparse.hstack([*share, sparse.csc_matrix((n * STEPS, n * STEPS + 2 * n))])
    most = np.concatenate(
        [np.where(window, 99.0, 0.0).ravel()] * 2
        + [np.repeat(of.e_hi_kwh - of.e_lo_kwh, STEPS), np.full(2 * n, np.inf)]
    )
    bounds = np.column_stack([np.zeros(len(most)), most])
    found = linprog(cost, share, np.ones(n * STEPS), balance, right, bounds)
    assert found.status == 0
    value = cost * found.x
    return value[: -2 * n].reshape(3, n, STEPS).sum(axis=(0, 2)) + value[-2 * n :].reshape(2, n).sum(axis=0)


def test_stores_are_best_at_any_price():
    """1,000 random stores at prices from well below zero agree with the linear program to 1e-9."""
    rng = np.random.default_rng(3)
    of = stores(rng, 1000)
    price = rng.normal(0.1, 0.15, (1000, STEPS))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price * of.hours).sum(axis=1)
    best = store_optima(of, price)
    assert np.abs(value - best).max() <= 1e-9 * np.abs(best).max()
    assert not answer.epsilon.any()


def test_a_leaking_store_follows_its_own_answer():
    """Replaying a store's own schedule changes nothing, and costs what it said it would."""
    rng = np.random.default_rng(8)
    of = stores(rng, 200)
    answer = of.respond(Question(rng.normal(0.2, 0.05, (200, STEPS)), 0.0))
    p_kw = answer.p_kw.astype(np.float32)
    clipped, cost = of.replay(p_kw)
    assert not of.corrected(clipped).any()
    assert np.abs(cost - answer.cost).max() <= 1e-4


def vehicles(rng, n):
    """Random vehicles, one to a group; some needs cannot be reached."""
    first = rng.integers(0, 8, n)
    return Vehicles(
        hours=rng.choice([0.25, 0.5, 1.0], STEPS),
        start=np.arange(n + 1),
        need_kwh=rng.uniform(0.0, 30.0, n) * (rng.random(n) < 0.95),
        most_kw=rng.choice([3.7, 7.4, 11.0], n),
        first=first,
        last=rng.integers(first, STEPS + 1),
    )


def test_vehicles_are_best_and_their_epsilon_is_exact():
    """Greedy equals the linear program; a soft answer costs more by just its epsilon and serves as much."""
    rng = np.random.default_rng(4)
    n = 1000
    of = vehicles(rng, n)
    price = rng.normal(0.1, 0.1, (n, STEPS))
    price[:150] = np.round(price[:150], 1)  # many ties
    hard = of.respond(Question(price, 0.0))
    paid = -(hard.p_kw * price * of.hours).sum(axis=1)
    served = of.need_kwh - of.missing_kwh()
    most = np.where(inside(of), of.most_kw[:, None] * of.hours, 0.0).ravel()
    every = sparse.kron(sparse.identity(n), np.ones((1, STEPS)))
    found = linprog(price.ravel(), None, None, every, served, np.column_stack([np.zeros(n * STEPS), most]))
    assert found.status == 0
    best = (price.ravel() * found.x).reshape(n, STEPS).sum(axis=1)
    assert (np.abs(paid - best) <= 1e-9 * np.maximum(1.0, np.abs(best))).all()
    for width in (1e-4, 0.02, 0.5):
        soft = of.respond(Question(price, width))
        dearer = -(soft.p_kw * price * of.hours).sum(axis=1) - paid
        assert np.abs(dearer - soft.epsilon).max() <= 1e-9
        assert np.abs(-soft.p_kw @ of.hours - served).max() <= 1e-9
        assert (soft.p_kw <= 1e-12).all()
        assert (-soft.p_kw <= of.most_kw[:, None] + 1e-12).all()


def test_a_soft_answer_is_best_under_its_own_cost():
    """Water-filling meets the conditions of its optimum: an open step has the level's price, others not."""
    rng = np.random.default_rng(5)
    of = vehicles(rng, 200)
    price = rng.normal(0.1, 0.1, (200, STEPS))
    width = 0.05
    drawn = -of.respond(Question(price, width)).p_kw
    window = inside(of)
    for k in np.flatnonzero((of.missing_kwh() == 0.0) & (of.need_kwh > 0.0)):
        level = price[k] + width * drawn[k] / of.most_kw[k]
        used = window[k] & (drawn[k] > 1e-9)
        left = window[k] & (drawn[k] < of.most_kw[k] - 1e-9)
        if used.any() and left.any():
            assert level[used].max() <= level[left].min() + 1e-9


def test_sums_do_not_depend_on_the_threads():
    """Several parts add up to the very same numbers."""
    rng = np.random.default_rng(6)
    of = stores(rng, 60)
    together = replace(of, start=np.array([0, 7, 7, 31, 60]))
    price = rng.normal(0.1, 0.1, (4, STEPS))
    one = together.respond(Question(price, 0.0))
    many = replace(together, parts=3).respond(Question(price, 0.0))
    assert (one.p_kw == many.p_kw).all()
    assert (one.cost == many.cost).all()
    assert not one.p_kw[1].any()


def test_schedules_add_up_to_the_answer():
    """What a plan's share makes of every member adds up to what the group answered."""
    rng = np.random.default_rng(7)
    of = stores(rng, 40)
    price = rng.normal(0.1, 0.1, (40, STEPS))
    total = np.zeros((40, STEPS), dtype=np.float32)
    of.add_schedules(Question(price, 0.0), np.full(40, 0.25), total)
    of.add_schedules(Question(price, 0.0), np.full(40, 0.75), total)
    assert np.abs(total - of.respond(Question(price, 0.0)).p_kw).max() <= 1e-5


def test_broken_devices_are_named():
    """A store with its lowest above its highest, a vehicle gone before it comes: by field and device."""
    rng = np.random.default_rng(9)
    names = ("a", "b", "c")
    of = stores(rng, 3)
    assert of.rejected(names) == ()
    bad = replace(of, e_lo_kwh=of.e_hi_kwh * [0.0, 2.0, 0.0], eff_charge=np.array([0.9, 0.9, 1.2]))
    told = {(each.field, each.ids) for each in bad.rejected(names)}
    assert told == {
        ("e_lo_kwh", ("b",)),
        ("e_now_kwh", ("b",)),
        ("e_want_kwh", ("b",)),
        ("eff_charge", ("c",)),
    }
    of = vehicles(rng, 3)
    assert of.rejected(names) == ()
    bad = replace(of, last=of.first - [1, 0, 0], need_kwh=np.array([1.0, np.nan, -1.0]))
    assert {(each.field, each.ids) for each in bad.rejected(names)} == {
        ("last", ("a",)),
        ("need_kwh", ("b", "c")),
    }
    assert [each.field for each in replace(of, most_kw=np.ones(2)).rejected(names)] == ["most_kw"]
