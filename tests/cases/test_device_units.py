"""Units that are on or off against every schedule there is, and against a mixed-integer program by HiGHS."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from gridflock.plan.devices import Question
from gridflock.plan.devices.whole import Units

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("units_world")


@pytest.mark.parametrize(
    ("steps", "levels", "places", "count"), [(6, 2, 4, 400), (5, 3, 1, 300), (4, 4, 3, 300)]
)
def test_a_thousand_units_do_what_no_other_schedule_beats(steps, levels, places, count):
    """Cost less worth equals the least over every schedule; it adds up from the schedule that is given."""
    rng = np.random.default_rng(steps)
    of = here.units(rng, count, steps, levels, places)
    price = rng.normal(0.08, 0.1, (count, steps))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    best = np.array([here.everything(of, k, price[k])[1].min() for k in range(count)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-9
    total = np.zeros((count, steps), dtype=np.float32)
    of.add_schedules(Question(price, 0.0), np.ones(count), total)
    np.testing.assert_allclose(total, answer.p_kw, atol=1e-5)


def test_given_schedules_keep_times_ramps_and_levels():
    """Each answer, of a long horizon, is among the schedules that are allowed."""
    rng = np.random.default_rng(21)
    of = here.units(rng, 200, 48, 5, 6)
    p = of.respond(Question(rng.normal(0.08, 0.1, (200, 48)), 0.0)).p_kw
    for k in range(200):
        gap = np.abs(of.level_kw[k][:, None] - p[k])
        chosen = np.where(p[k] > 0.0, gap.argmin(axis=0), -1)
        assert np.all((gap.min(axis=0) == 0.0) | (p[k] == 0.0))
        assert here.allowed(of, k, chosen[None])[0].all()


def test_a_proximal_answer_is_the_best_of_all_schedules():
    """With a pull to a target the same search finds nothing better."""
    rng = np.random.default_rng(22)
    of = here.units(rng, 150, 5, 3, 3)
    price, target = rng.normal(0.08, 0.1, (150, 5)), rng.uniform(0.0, 10.0, (150, 5))
    pull = rng.uniform(0.0, 0.1, 150)
    p, cost = of.nearest(price, target, pull)
    value = cost - (p * price) @ of.hours + 0.5 * pull * ((p - target) ** 2).sum(axis=1)
    best = np.array([here.everything(of, k, price[k], pull[k], target[k])[1].min() for k in range(150)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-9


def test_rows_answer_prices_of_their_own():
    """Each row's answer is that of a group of its own."""
    rng = np.random.default_rng(24)
    of = here.units(rng, 60, 24, 4, 3)
    price = rng.normal(0.08, 0.1, (60, 24))
    answer, (p, cost) = of.respond(Question(price, 0.0)), of.respond_rows(price)
    np.testing.assert_array_equal(p, answer.p_kw)
    np.testing.assert_allclose(cost, answer.cost)


@pytest.mark.parametrize(
    ("field", "value", "ids"),
    [
        ("level_kw", [[1.0, 2.0], [2.0, 2.0], [0.0, 1.0]], ("b", "c")),
        ("burn", [[1.0, 2.0], [2.0, np.nan], [0.0, 1.0]], ("b",)),
        ("start_cost", [-1.0, 0.0, 0.0], ("a",)),
        ("min_on_h", [1.0, 0.0, np.inf], ("c",)),
        ("ramp_kw_h", [1.0, np.nan, np.inf], ("b",)),
        ("on", [0, 2, 1], ("b",)),
        ("heat_value", [9.0, 0.0, 0.0], ("a",)),
        ("tank_kwh", [0.0, 0.0, 5.0], ("c",)),
        ("heat_need_kw", np.zeros((3, 5)), ()),
    ],
)
def test_units_that_break_a_rule_are_named(field, value, ids):
    """Field and units; a sound set has no refusals."""
    of = here.units(np.random.default_rng(25), 3, 4, 2, 1)
    assert of.rejected("abc") == ()
    wrong = replace(of, **{field: np.array(value)})
    (refused,) = wrong.rejected("abc")
    assert (refused.field, refused.ids) == (field, ids)


def test_nameplates_make_units():
    """Gensets from minimum load, rating and fuel; the same with heat; both sound and as the curve says."""
    m, steps, one = 4, 12, np.ones(4)
    sets = Units.gensets(
        np.full(steps, 0.25),
        least_kw=30.0 * one,
        rated_kw=np.array([100.0, 60.0, 30.0, 80.0]),
        idle=2.0 * one,
        fuel=0.2 * one,
        start_cost=5.0 * one,
        min_on_h=one,
        min_off_h=one,
        ramp_kw_h=np.inf * one,
        on=np.zeros(m, np.uint8),
        since_h=24.0 * one,
        now_kw=0.0 * one,
    )
    heat = {"tank_kwh": 40.0 * one, "tank_now_kwh": 20.0 * one, "boiler_price": 0.1 * one}
    both = sets.heating(
        heat_per_kwh=1.3 * one,
        need_kw=np.full((m, steps), 40.0),
        dump_price=0.0 * one,
        heat_value=0.05 * one,
        **heat,
    )
    assert sets.rejected("abcd") == both.rejected("abcd") == ()
    price = np.full((m, steps), 0.25)
    p, cost = sets.respond_rows(price)
    # On throughout at the rating where that earns more than idling and the start cost.
    np.testing.assert_allclose(p.max(axis=1), [100.0, 0.0, 0.0, 80.0])
    np.testing.assert_allclose(cost[0], 5.0 + 3.0 * (2.0 + 0.2 * 100.0))
    assert (both.respond_rows(price)[0] @ sets.hours >= p @ sets.hours - 1e-9).all()


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
    of = here.units(rng, 30, 20, 3, 5)
    of = replace(of, ramp_kw_h=np.full(30, np.inf))
    price = rng.normal(0.08, 0.1, (30, 20))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    best = np.array([by_highs(of, k, price[k]) for k in range(30)])
    assert np.max(np.abs(value - best) / np.maximum(np.abs(best), 1.0)) <= 1e-6
