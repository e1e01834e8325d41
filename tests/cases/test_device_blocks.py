"""Loads that give up a block at a call, against every list of calls there is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from gridflock.plan.devices import Question
from gridflock.plan.devices.whole import Blocks


def blocks(rng, m, steps):
    """Random loads: few calls, any lengths and rests, some with a call under way."""
    base = -rng.uniform(5.0, 50.0, (m, steps))
    shortest = rng.choice([0.25, 0.5, 1.0], m)
    return Blocks(
        hours=rng.choice([0.25, 0.5, 1.0], steps),
        start=np.arange(m + 1),
        base_kw=base,
        drop_kw=-base * rng.uniform(0.2, 1.0, (m, 1)),
        calls=rng.choice(4, m, p=[0.2, 0.4, 0.3, 0.1]),
        ready_h=rng.choice([0.0, 0.5, 1.25], m),
        shortest_h=shortest,
        longest_h=shortest + rng.choice([0.0, 0.5, 2.0], m),
        rest_h=rng.choice([0.0, 0.25, 1.0], m),
        rebound=rng.choice([0.0, 0.4, 1.1], m),
        rebound_h=rng.choice([0.0, 0.3, 0.5, 1.0], m),
        pay_kwh=rng.uniform(0.0, 0.2, m),
        pay_call=rng.choice([0.0, 2.0], m),
        after_price=rng.uniform(0.0, 0.2, m),
        running_h=np.where(rng.random(m) < 0.3, rng.choice([0.25, 0.5, 2.5], m), np.nan),
        given_kwh=rng.uniform(0.0, 20.0, m),
    )


def ends_of_running(of, k, clock):
    """Steps before which a call under way may end."""
    length = of.running_h[k] + clock
    fit = (length >= of.shortest_h[k] - 1e-9) & (length <= of.longest_h[k] + 1e-9)
    if fit.any():
        return np.flatnonzero(fit)
    long = np.flatnonzero(length >= of.shortest_h[k] - 1e-9)
    return long[:1] if len(long) else np.array([len(clock) - 1])


def lists(of, k, clock, t, left):
    """All lists of calls (first, end) from step ``t`` on."""
    yield ()
    if not left:
        return
    for first in range(t, len(clock) - 1):
        if clock[first] < of.ready_h[k] - 1e-9:
            continue
        for end in range(first + 1, len(clock)):
            length = clock[end] - clock[first]
            if of.shortest_h[k] - 1e-9 <= length <= of.longest_h[k] + 1e-9:
                ready = clock[end] + max(of.rest_h[k], of.rebound_h[k]) - 1e-9
                then = int(np.searchsorted(clock, ready))
                for others in lists(of, k, clock, then, left - 1):
                    yield ((first, end), *others)


def profile(of, k, clock, calls, running):
    """Schedule and own cost of a list of calls."""
    p, own = of.base_kw[k].copy(), 0.0
    for n, (first, end) in enumerate(calls):
        energy = (of.drop_kw[k, first:end] * of.hours[first:end]).sum()
        own += of.pay_kwh[k] * energy + of.pay_call[k] * (not (running and n == 0))
        p[first:end] += of.drop_kw[k, first:end]
        if of.rebound_h[k] == 0.0:
            continue
        owed = of.rebound[k] * (energy + (of.given_kwh[k] if running and n == 0 else 0.0))
        until = clock[end] + of.rebound_h[k]
        overlap = np.clip(np.minimum(clock[1:], until) - np.maximum(clock[:-1], clock[end]), 0.0, None)
        p -= owed * overlap / of.rebound_h[k] / of.hours
        own += owed * (1.0 - overlap.sum() / of.rebound_h[k]) * of.after_price[k]
    return p, own


def everything(of, k):
    """Schedules (S, T) and own costs (S,) of all lists of calls."""
    clock = np.concatenate([[0.0], np.cumsum(of.hours)])
    running = not np.isnan(of.running_h[k])
    found = []
    if running:
        for end in ends_of_running(of, k, clock):
            ready = clock[end] + max(of.rest_h[k], of.rebound_h[k]) - 1e-9
            then = int(np.searchsorted(clock, ready))
            found += [((0, end), *rest) for rest in lists(of, k, clock, then, of.calls[k])]
    else:
        found = list(lists(of, k, clock, 0, of.calls[k]))
    made = [profile(of, k, clock, calls, running) for calls in found]
    return np.array([p for p, _ in made]), np.array([own for _, own in made])


def test_a_thousand_loads_are_called_as_no_other_list_of_calls_beats():
    """Own cost less worth, and with a pull to a target, equal the least over all lists of calls."""
    rng = np.random.default_rng(31)
    of = blocks(rng, 1000, 8)
    price, target = rng.normal(0.15, 0.15, (1000, 8)), rng.uniform(-50.0, 0.0, (1000, 8))
    pull = rng.uniform(0.0, 0.002, 1000)
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    p, own = of.nearest(price, target, pull)
    pulled = own - (p * price) @ of.hours + 0.5 * pull * ((p - target) ** 2).sum(axis=1)
    for k in range(1000):
        all_p, all_own = everything(of, k)
        cost = all_own - all_p @ (price[k] * of.hours)
        away = 0.5 * pull[k] * ((all_p - target[k]) ** 2).sum(axis=1)
        assert abs(value[k] - cost.min()) <= 1e-9 * max(1.0, abs(value[k])), k
        assert abs(pulled[k] - (cost + away).min()) <= 1e-9 * max(1.0, abs(pulled[k])), k
        assert np.abs(all_p - answer.p_kw[k]).max(axis=1).min() <= 1e-9
    assert (answer.p_kw != of.base_kw).any(axis=1).mean() > 0.3
    np.testing.assert_allclose(of.respond_rows(price)[0], answer.p_kw)
    total = np.zeros((1000, 8), dtype=np.float32)
    of.add_schedules(Question(price, 0.0), np.ones(1000), total)
    np.testing.assert_allclose(total, answer.p_kw, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "ids"),
    [
        ("base_kw", np.full((3, 8), 1.0), ("a", "b", "c")),
        ("drop_kw", np.full((3, 8), 99.0), ("a", "b", "c")),
        ("drop_kw", np.full((3, 8), -1.0), ("a", "b", "c")),
        ("calls", [1, -1, 1], ("b",)),
        ("longest_h", [9.0, 0.1, 9.0], ("b",)),
        ("rest_h", [0.0, 0.0, np.nan], ("c",)),
        ("running_h", [np.nan, -1.0, 1.0], ("b",)),
        ("pay_kwh", [np.inf, 0.0, 0.0], ("a",)),
        ("ready_h", [0.0], ()),
    ],
)
def test_loads_that_break_a_rule_are_named(field, value, ids):
    """Field and loads; a sound set has no refusals."""
    of = blocks(np.random.default_rng(33), 3, 8)
    assert of.rejected("abc") == ()
    wrong = replace(of, **{field: np.array(value)})
    refused = wrong.rejected("abc")[0]
    assert (refused.field, refused.ids) == (field, ids)


def test_long_horizons_agree_with_a_mixed_integer_program():
    """A day of quarter hours, four calls: the best set of calls by HiGHS costs the same to 1e-6."""
    rng = np.random.default_rng(32)
    steps = 96
    of = blocks(rng, 12, steps)
    changed = {"hours": np.full(steps, 0.25), "calls": np.full(12, 4), "running_h": np.full(12, np.nan)}
    of = replace(of, **changed)
    price = rng.normal(0.15, 0.1, (12, steps))
    answer = of.respond(Question(price, 0.0))
    value = answer.cost - (answer.p_kw * price) @ of.hours
    clock = np.concatenate([[0.0], np.cumsum(of.hours)])
    for k in range(12):
        calls = [c[0] for c in lists(of, k, clock, 0, 1) if c]
        made = [profile(of, k, clock, (call,), running=False) for call in calls]
        base = -(of.base_kw[k] * price[k]) @ of.hours
        cost = np.array([own - (p * price[k]) @ of.hours - base for p, own in made])
        rest = max(of.rest_h[k], of.rebound_h[k])
        ends = np.array([max(np.searchsorted(clock, clock[end] + rest - 1e-9), end) for _, end in calls])
        busy = [(f <= t) & (t < e) for t in range(steps) for f, e in [(np.array(calls)[:, 0], ends)]]
        rows = np.vstack([np.array(busy), np.ones(len(calls))])
        limit = LinearConstraint(rows, -np.inf, np.append(np.ones(steps), of.calls[k]))
        found = milp(cost, constraints=limit, bounds=(0, 1), integrality=np.ones(len(calls)))
        assert found.status == 0
        assert abs(value[k] - (base + found.fun)) <= 1e-6 * max(1.0, abs(value[k]))
