"""Laws of "why?": prices add up, the plan is a best answer to them, and refusals never promise too little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Terms
from gridflock.plan._alone import best_answer
from gridflock.plan._check import sound
from gridflock.plan._explain import explain
from gridflock.plan._grounds import Grounds, Part, grounds_of, packed, unpacked
from gridflock.plan._plan import one_way
from gridflock.plan._terms import Band, Flow, Peak, Ramp
from gridflock.plan.direct import build, solve
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def worlds(draw):
    """Stores, suns and loads without flexibility; limits, peak, owners' tariffs and goals of all forms."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n, g = draw(st.sampled_from([4, 9])), draw(st.integers(1, 4))
    grid = TimeGrid(NOW_S + np.concatenate([[0], np.cumsum(rng.choice([900, 3600], n))]).astype(np.int64))
    eta, store = rng.uniform(0.8, 1.0, g), rng.random(g) < 0.7
    lo = np.where(store[:, None], -rng.uniform(0, 8, (g, 1)), -np.inf) * np.ones((g, n + 1))
    hi = np.where(store[:, None], rng.uniform(0.5, 8, (g, 1)), np.inf) * np.ones((g, n + 1))
    power = rng.uniform(0, 6, (2, g, n)) * (rng.random((2, g, 1)) < 0.8)
    flexibility = Flexibility(
        grid,
        tuple(f"g{k}" for k in range(g)),
        rng.normal(0, 5, (g, n)),
        *power,
        lo,
        hi,
        np.where(store, -1 / eta, 0.0),
        np.where(store, eta, 0.0),
        rng.uniform(0, 0.05, g),
        rng.uniform(0, 0.05, g),
    )
    price = rng.uniform(0.02, 0.5, n)
    flow = Flow(dict.fromkeys(flexibility.groups[:2], 0.5), rng.normal(0, 1, n))
    terms = Terms(
        price,
        price * rng.uniform(0, 1, n),
        rng.uniform(0, 20, n),
        rng.uniform(0, 20, n),
        peak_price=float(rng.choice([0.0, 0.3])),
        ramp_penalty=float(rng.choice([0.0, 0.01])),
        group_limits=(
            Envelope("two", *np.sort(rng.normal(0, 4, 2)), "transformer T1", int(grid.edges_s[2])),
        ),
        members={"two": flexibility.groups[:2]},
        premium={"g0": rng.normal(0, 0.1, n)},
        blocks=(
            Band("a phase", flow, np.full(n, -3.0), np.full(n, 2.0), 1.0, 2.0),
            Peak("the pair's peak", flow, np.ones(n, dtype=bool), 0.5, 0.2),
            Ramp("the pair's ramp", flow, np.full(n - 1, 1.0), 0.05),
        ),
    )
    return flexibility, rng.normal(-5, 5, n), terms


def grounded(world):
    """Grounds, model and solution of the plan's program, no store moving both ways at once."""
    found = replace(sound(*world), terms=world[2])
    model, solution, _, _ = one_way(found, lambda model: solve(model.program))
    assert solution.ok
    return grounds_of(model, solution, found.flexibility, found.fixed_kw, found.terms), model, solution


def of_the_column(model, solution, columns, rows_out):
    """What the program's rows, some left out, pay for one more unit of each column."""
    row, col = (np.concatenate(blocks) for blocks in (model.program.entry_row, model.program.entry_col))
    value = np.concatenate(model.program.entry_value)
    paid = np.where(np.isin(row, rows_out), 0.0, value * solution.row_price[row])
    return np.bincount(col, paid, model.program.n_cols)[columns]


@QUICK
@given(worlds())
def test_the_parts_add_up_to_what_the_program_pays(world):
    """Part by part the sum is what the rows pay for one more kWh of each group, as the columns have it."""
    grounds, model, solution = grounded(world)
    f = grounds.flexibility
    stores = np.concatenate(model.program.entry_row)[
        np.isin(np.concatenate(model.program.entry_col), model.level.ravel())
    ]
    paid = of_the_column(model, solution, np.maximum(model.up, 0), stores)
    for g, group in enumerate(f.groups):
        premium = world[2].premium.get(group, np.zeros(f.grid.n))
        for t in range(f.grid.n):
            found = explain(grounds, group, t)
            assert found.price == sum(part.price for part in found.parts)
            if model.up[g, t] >= 0:
                assert found.price == pytest.approx(paid[g, t] / f.grid.hours[t] + premium[t], abs=1e-5)


def costs_of(grounds, g, p_kw):
    """Own cost of a profile less its worth at the local prices and in store."""
    f, hours = grounds.flexibility, grounds.flexibility.grid.hours
    moved = p_kw - f.base_kw[g]
    up, down = np.maximum(moved, 0.0) * hours, np.maximum(-moved, 0.0) * hours
    store = (f.gain_up[g] * up + f.gain_down[g] * down).sum() * grounds.end_value[g]
    return f.cost_up[g] * up.sum() + f.cost_down[g] * down.sum() - grounds.price(g) @ (moved * hours) - store


@QUICK
@given(worlds())
def test_the_plan_is_a_best_answer_to_its_prices(world):
    """No group could do better for itself at the local prices than what the plan gave it."""
    grounds, model, _ = grounded(world)
    f = grounds.flexibility
    for g in range(len(f.groups)):
        if g in model.strained:
            continue
        best = best_answer(f, g, grounds.price(g), float(grounds.end_value[g]), grounds.band_penalty)
        assert costs_of(grounds, g, grounds.p_kw[g]) <= costs_of(grounds, g, best.p_kw) + 1e-6


@QUICK
@given(worlds(), st.integers(0, 3), st.integers(0, 8))
def test_a_refusal_costs_at_most_what_it_would_cost_all(world, group, step):
    """Forced upon the whole program, the other set-point costs at least what the answer said."""
    grounds, model, solution = grounded(world)
    f = grounds.flexibility
    g, t = group % len(f.groups), step % f.grid.n
    if g in model.strained:
        return
    found = explain(grounds, f.groups[g], t)
    for refused in (found.more, found.less):
        assert refused.why or refused.costs >= 0
        if refused.why:
            continue
        wanted = found.p_kw + refused.by_kw - f.base_kw[g, t]
        forced = build(f, sound(*world).fixed_kw, world[2])
        row = forced.program.rows(np.array([wanted]), np.array([wanted]))
        forced.program.put(row, forced.up[g, t], 1.0)
        forced.program.put(row, forced.down[g, t], -1.0)
        whole = solve(forced.program)
        assert whole.ok
        assert whole.cost - solution.cost >= refused.costs - 1e-5


@QUICK
@given(worlds())
def test_the_set_point_stands_between_its_prices(world):
    """The local price lies where the set-point stands, and the worth in store is the sum of its parts."""
    grounds, model, _ = grounded(world)
    f = grounds.flexibility
    for g, group in enumerate(f.groups):
        if g in model.strained:
            continue
        worth = best_answer(f, g, grounds.price(g), float(grounds.end_value[g]), grounds.band_penalty).worth
        for t in range(f.grid.n):
            found = explain(grounds, group, t)
            assert found.holds[0] <= found.price + 1e-6
            assert found.holds[1] >= found.price - 1e-6
            assert found.text.startswith(group)
            np.testing.assert_allclose(found.worth, worth[t], atol=1e-6)


@QUICK
@given(worlds())
def test_grounds_come_back_from_their_columns(world):
    """Rebuilt from 32-bit columns, the same set-point has the same price and limits to their precision."""
    grounds, _, _ = grounded(world)
    again = unpacked(*packed(grounds))
    assert again.flexibility.groups == grounds.flexibility.groups
    for group in grounds.flexibility.groups:
        one, two = explain(grounds, group, 0), explain(again, group, 0)
        assert two.p_kw == pytest.approx(one.p_kw, rel=1e-5, abs=1e-5)
        assert two.price == pytest.approx(one.price, rel=1e-5, abs=1e-5)
        assert [part.name for part in two.limits] == [part.name for part in one.limits]


def test_no_such_group_and_no_such_step_are_said():
    """An unknown group is a KeyError, a step beyond the grid an IndexError."""
    n = 2
    flat, edges = np.ones((1, n)), np.ones((1, n + 1))
    one = np.ones(1)
    able = Flexibility(
        TimeGrid.uniform(NOW_S, 900, n),
        ("a",),
        0 * flat,
        flat,
        flat,
        -edges,
        edges,
        -one,
        one,
        0 * one,
        0 * one,
    )
    price = np.full(n, 0.3)
    grounds, _, _ = grounded((able, np.zeros(n), Terms(price, price, price + 10, price + 10)))
    with pytest.raises(KeyError):
        explain(grounds, "b", 0)
    with pytest.raises(IndexError):
        explain(grounds, "a", n)


def test_a_group_that_cannot_move_is_told_so():
    """Without any flexibility there is still a price, its parts by their shares, and a plain reason."""
    grid = TimeGrid.uniform(NOW_S, 900, 3)
    nothing, endless, one = np.zeros((1, 3)), np.full((1, 4), np.inf), np.zeros(1)
    idle = Flexibility(
        grid, ("loads",), nothing - 7.0, nothing, nothing, -endless, endless, one, one, one, one
    )
    tariff = Part("import tariff", np.array([0]), np.ones(1), np.full(3, 0.3))
    limit = Part("voltage of bus 83", np.array([0]), np.array([0.5]), np.array([0.0, 0.2, 0.0]))
    grounds = Grounds(idle, idle.base_kw, np.zeros(1), (tariff, limit))
    found = explain(grounds, "loads", 1)
    assert found.price == pytest.approx(0.4)
    assert [(part.name, part.price) for part in found.limits] == [("voltage of bus 83", pytest.approx(0.1))]
    assert found.bounds == ("it has nothing to move in this step",)
    assert found.alone_kw == found.p_kw == -7.0
    assert np.isnan(found.worth)
    assert found.more.why
    assert found.less.why
    assert "No price would change it." in found.text
