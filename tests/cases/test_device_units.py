"""Units that are on or off against every schedule there is, and against a mixed-integer program by HiGHS."""

import itertools

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from gridflock.plan.devices import Question, Units


def units(rng, m, steps, levels, places, even=False):
    """Random units: some with tanks and heat, starts, times, ramps, any state now."""
    level = np.sort(rng.uniform(2.0, 10.0, (m, levels)), axis=1)
    hot = rng.random(m) < 0.6
    boiler = rng.uniform(0.03, 0.12, m)
    tank = rng.uniform(1.0, 8.0, m) * (places > 1)
    return Units(
        hours=np.full(steps, 0.5) if even else rng.choice([0.25, 0.5, 1.0], steps),
        start=np.arange(m + 1),
        level_kw=level,
        burn=rng.uniform(0.0, 0.3, (m, 1)) + level * rng.uniform(0.02, 0.12, (m, 1)) + 0.002 * level**2,
        start_cost=rng.choice([0.0, 0.1, 1.0], m),
        min_on_h=rng.choice([0.0, 0.5, 1.0, 1.75, 9.0], m, p=[0.2, 0.25, 0.25, 0.2, 0.1]),
        min_off_h=rng.choice([0.0, 0.5, 1.0, 1.75, 9.0], m, p=[0.2, 0.25, 0.25, 0.2, 0.1]),
        ramp_kw_h=rng.choice([2.0, 6.0, 15.0, np.inf], m),
        on=(rng.random(m) < 0.5).astype(np.uint8),
        since_h=rng.choice([0.0, 0.25, 1.0, 24.0], m),
        now_kw=rng.uniform(level[:, 0], level[:, -1]),
        heat_kw=level * 1.4 * hot[:, None],
        heat_need_kw=rng.uniform(0.0, 12.0, (m, steps)) * hot[:, None],
        tank_kwh=tank,
        tank_now_kwh=tank * rng.random(m),
        boiler_price=boiler,
        dump_price=rng.choice([0.0, 0.01, 0.2], m),
        heat_value=boiler * rng.choice([0.0, 0.7, 1.0], m),
        tank_places=places,
    )


def allowed(of, k, chosen):
    """Which of all level sequences (S, T), -1 for off, keep times and ramps; and how often each starts."""
    fit, starts = np.ones(len(chosen), bool), np.zeros(len(chosen))
    was, since = np.full(len(chosen), bool(of.on[k])), np.full(len(chosen), of.since_h[k])
    at = np.full(len(chosen), of.now_kw[k])
    first_gap = np.abs(of.level_kw[k] - of.now_kw[k]).min()
    for t, hours in enumerate(of.hours):
        now, reach = chosen[:, t] >= 0, of.ramp_kw_h[k] * hours
        kw = np.where(now, of.level_kw[k][chosen[:, t]], 0.0)
        edge = max(of.level_kw[k, 0], reach) + 1e-9
        moved = np.abs(kw - at) <= (max(reach, first_gap) if t == 0 else reach) + 1e-9
        fit &= np.where(now & was, moved, np.where(now, kw <= edge, ~was | (at <= edge)))
        least = np.where(was, of.min_on_h[k], of.min_off_h[k])
        fit &= (now == was) | (since >= least - 1e-9)
        starts += now & ~was
        since = np.where(now == was, since + hours, hours)
        was, at = now, kw
    return fit, starts


def heat_paid(of, k, chosen):
    """(S,) least cost of boiler and dump over all contents on the grid, less what is left."""
    content = of.tank_kwh[k] * np.linspace(0.0, 1.0, of.tank_places) if of.tank_places > 1 else np.zeros(1)
    held = np.full((len(chosen), 1), of.tank_now_kwh[k])
    paid = np.zeros((len(chosen), 1))
    for t, hours in enumerate(of.hours):
        made = np.where(chosen[:, t] >= 0, of.heat_kw[k][chosen[:, t]], 0.0)
        before = held + ((made - of.heat_need_kw[k, t]) * hours)[:, None]
        lack = content[None, None] - before[:, :, None]
        steps = np.where(lack > 0, lack * of.boiler_price[k], -lack * of.dump_price[k])
        paid = (paid[:, :, None] + steps).min(axis=1)
        held = np.broadcast_to(content, paid.shape)
    return (paid - of.heat_value[k] * content).min(axis=1)


def least_cost(of, k, price, pull=0.0, target=0.0):
    """By trying everything: own cost less worth (plus pull to a target), and whether one schedule has it."""
    levels = of.level_kw.shape[1]
    chosen = np.array(list(itertools.product(range(-1, levels), repeat=len(of.hours))))
    fit, starts = allowed(of, k, chosen)
    chosen, starts = chosen[fit], starts[fit]
    kw = np.where(chosen >= 0, of.level_kw[k][chosen], 0.0)
    burnt = np.where(chosen >= 0, of.burn[k][chosen], 0.0) @ of.hours
    away = 0.5 * pull * ((kw - target) ** 2).sum(axis=1)
    total = burnt + starts * of.start_cost[k] - kw @ (price * of.hours) + away + heat_paid(of, k, chosen)
    return total.min()


@pytest.mark.parametrize(
    ("steps", "levels", "places", "count"), [(6, 2, 4, 400), (5, 3, 1, 300), (4, 4, 3, 300)]
)
def test_a_thousand_units_do_what_no_other_schedule_beats(steps, levels, places, count):
    """Cost less worth equals the least over every schedule; it adds up from the schedule that is given."""
    rng = np.random.default_rng(steps)
    of = units(rng, count, steps, levels, places)
    price = rng.normal(0.08, 0.1, (count, steps))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    best = np.array([least_cost(of, k, price[k]) for k in range(count)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-9
    total = np.zeros((count, steps), dtype=np.float32)
    of.add_schedules(Question(price, 0.0), np.ones(count), total)
    np.testing.assert_allclose(total, answer.p_kw, atol=1e-5)


def test_given_schedules_keep_times_ramps_and_levels():
    """Each answer, of a long horizon, is among the schedules that are allowed."""
    rng = np.random.default_rng(21)
    of = units(rng, 200, 48, 5, 6)
    p = of.respond(Question(rng.normal(0.08, 0.1, (200, 48)), 0.0)).p_kw
    for k in range(200):
        gap = np.abs(of.level_kw[k][:, None] - p[k])
        chosen = np.where(p[k] > 0.0, gap.argmin(axis=0), -1)
        assert np.all((gap.min(axis=0) == 0.0) | (p[k] == 0.0))
        assert allowed(of, k, chosen[None])[0].all()


def test_a_proximal_answer_is_the_best_of_all_schedules():
    """With a pull to a target the same search finds nothing better."""
    rng = np.random.default_rng(22)
    of = units(rng, 150, 5, 3, 3)
    price, target = rng.normal(0.08, 0.1, (150, 5)), rng.uniform(0.0, 10.0, (150, 5))
    pull = rng.uniform(0.0, 0.1, 150)
    p, cost = of.nearest(price, target, pull)
    value = cost - (p * price) @ of.hours + 0.5 * pull * ((p - target) ** 2).sum(axis=1)
    best = np.array([least_cost(of, k, price[k], pull[k], target[k]) for k in range(150)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-9


def by_highs(of, k, price):
    """The same as a mixed-integer program: level, start and stop of every step, content on its grid."""
    steps, levels, places = len(of.hours), of.level_kw.shape[1], of.tank_places
    width = of.tank_kwh[k] / (places - 1)
    # Columns per step: each level, start, stop, place, boiler, dump.
    size = levels + 5
    column = np.arange(steps * size).reshape(steps, size)
    cost = np.zeros((steps, size))
    worth = np.outer(price, of.level_kw[k])
    cost[:, :levels] = (of.burn[k] - worth) * of.hours[:, None]
    cost[:, levels] = of.start_cost[k]
    cost[-1, levels + 2] = -of.heat_value[k] * width
    cost[:, levels + 3], cost[:, levels + 4] = of.boiler_price[k], of.dump_price[k]
    rows, low, high = [], [], []

    def row(entries, lo, hi):
        line = np.zeros(steps * size)
        for at, value in entries:
            line[at] += value
        rows.append(line)
        low.append(lo)
        high.append(hi)

    for t in range(steps):
        on = [(at, 1.0) for at in column[t, :levels]]
        before = [(at, -1.0) for at in column[t - 1, :levels]] if t else []
        row(on, 0.0, 1.0)
        was = 0.0 if t else float(of.on[k])
        row([*on, *before, (column[t, levels], -1.0), (column[t, levels + 1], 1.0)], was, was)
        row([(column[t, levels], 1.0), (column[t, levels + 1], 1.0)], 0.0, 1.0)
        heat = list(zip(column[t, :levels], of.heat_kw[k] * of.hours[t], strict=True))
        held = [(column[t - 1, levels + 2], width)] if t else []
        given = of.heat_need_kw[k, t] * of.hours[t] - (0.0 if t else of.tank_now_kwh[k])
        flows = [(column[t, levels + 2], -width), (column[t, levels + 3], 1.0), (column[t, levels + 4], -1.0)]
        row([*heat, *held, *flows], given, given)
        clock = np.concatenate([[0.0], np.cumsum(of.hours)])
        for s in range(t):
            if clock[t] - clock[s] < of.min_on_h[k] - 1e-9:
                row([*on, (column[s, levels], -1.0)], 0.0, np.inf)
            if clock[t] - clock[s] < of.min_off_h[k] - 1e-9:
                row([*on, (column[s, levels + 1], 1.0)], -np.inf, 1.0)
        least = (of.min_on_h if of.on[k] else of.min_off_h)[k] - of.since_h[k]
        if clock[t] < least - 1e-9:
            row(on, float(of.on[k]), float(of.on[k]))
    top = np.ones((steps, size))
    top[:, levels + 2], top[:, levels + 3 :] = places - 1, np.inf
    whole = np.ones((steps, size))
    whole[:, levels + 3 :] = 0
    found = milp(
        cost.ravel(),
        constraints=LinearConstraint(np.array(rows), low, high),
        bounds=(np.zeros(steps * size), top.ravel()),
        integrality=whole.ravel(),
        options={"mip_rel_gap": 0.0},
    )
    assert found.status == 0
    return found.fun


def test_longer_horizons_agree_with_a_mixed_integer_program():
    """Two dozen steps with tank and times, no ramp: HiGHS finds the same optimum to 1e-6."""
    rng = np.random.default_rng(23)
    of = units(rng, 30, 20, 3, 5)
    of = Units(**{n: getattr(of, n) for n in Units.__slots__} | {"ramp_kw_h": np.full(30, np.inf)})
    price = rng.normal(0.08, 0.1, (30, 20))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    best = np.array([by_highs(of, k, price[k]) for k in range(30)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-6
