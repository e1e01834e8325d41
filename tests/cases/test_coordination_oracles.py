"""Every oracle's answers against a linear program by HiGHS."""

import numpy as np
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
    )


def store_optimum(of, k, price):
    """Least own cost less the worth of the energy: columns drawn, given, content, missing, spare."""
    window = range(of.first[k], of.last[k])
    n = len(window)
    hours = of.hours[of.first[k] : of.last[k]]
    price = price[of.first[k] : of.last[k]]
    cost = np.concatenate(
        [
            (price + of.wear[k]) * hours,
            (of.wear[k] - price) * hours,
            np.zeros(n),
            [of.short_price[k], -of.end_value[k]],
        ]
    )
    balance = np.zeros((n + 1, 3 * n + 2))
    for j in range(n):
        balance[j, j] = -of.eff_charge[k] * hours[j]
        balance[j, n + j] = hours[j] / of.eff_discharge[k]
        balance[j, 2 * n + j] = 1.0
        if j:
            balance[j, 2 * n + j - 1] = -1.0
    balance[n, 3 * n - 1], balance[n, 3 * n], balance[n, 3 * n + 1] = 1.0, 1.0, -1.0
    right = np.concatenate([[of.e_now_kwh[k]], np.zeros(n - 1), [of.e_want_kwh[k]]])
    share = np.zeros((n, 3 * n + 2))
    share[np.arange(n), np.arange(n)] = 1.0 / of.charge_kw[k]
    share[np.arange(n), n + np.arange(n)] = 1.0 / of.discharge_kw[k]
    bounds = [(0, None)] * (2 * n) + [(of.e_lo_kwh[k], of.e_hi_kwh[k])] * n + [(0, None), (0, None)]
    found = linprog(cost, A_ub=share, b_ub=np.ones(n), A_eq=balance, b_eq=right, bounds=bounds)
    assert found.status == 0
    return found.fun


def test_stores_are_best_at_any_price():
    """300 random stores at prices from well below zero agree with the linear program to 1e-9."""
    rng = np.random.default_rng(3)
    for _ in range(3):
        of = stores(rng, 100)
        price = rng.normal(0.1, 0.15, (100, STEPS))
        answer = of.respond(Question(price, 0.0))
        value = answer.cost - (answer.p_kw * price * of.hours).sum(axis=1)
        best = np.array([store_optimum(of, k, price[k]) for k in range(100)])
        assert np.abs(value - best).max() <= 1e-9 * np.abs(best).max()
        assert not answer.epsilon.any()


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
    of = vehicles(rng, 300)
    price = rng.normal(0.1, 0.1, (300, STEPS))
    price[:50] = np.round(price[:50], 1)  # many ties
    hard = of.respond(Question(price, 0.0))
    paid = -(hard.p_kw * price * of.hours).sum(axis=1)
    served = of.need_kwh - of.missing_kwh()
    for k in range(300):
        inside = (np.arange(STEPS) >= of.first[k]) & (np.arange(STEPS) < of.last[k])
        bounds = [(0.0, of.most_kw[k] * h if at else 0.0) for h, at in zip(of.hours, inside, strict=True)]
        best = linprog(price[k], A_eq=np.ones((1, STEPS)), b_eq=[served[k]], bounds=bounds)
        assert best.status == 0
        assert abs(paid[k] - best.fun) <= 1e-9 * max(1.0, abs(best.fun))
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
    for k in np.flatnonzero((of.missing_kwh() == 0.0) & (of.need_kwh > 0.0)):
        inside = (np.arange(STEPS) >= of.first[k]) & (np.arange(STEPS) < of.last[k])
        level = price[k] + width * drawn[k] / of.most_kw[k]
        used = inside & (drawn[k] > 1e-9)
        left = inside & (drawn[k] < of.most_kw[k] - 1e-9)
        if used.any() and left.any():
            assert level[used].max() <= level[left].min() + 1e-9


def test_sums_do_not_depend_on_the_threads():
    """Several parts add up to the very same numbers."""
    rng = np.random.default_rng(6)
    of = stores(rng, 60)
    together = Stores(
        **{n: getattr(of, n) for n in Stores.__slots__} | {"start": np.array([0, 7, 7, 31, 60])}
    )
    price = rng.normal(0.1, 0.1, (4, STEPS))
    one = together.respond(Question(price, 0.0))
    many = Stores(**{n: getattr(together, n) for n in Stores.__slots__} | {"parts": 3}).respond(
        Question(price, 0.0)
    )
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
