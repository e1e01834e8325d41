"""Laws of the direct program: the optimum of simplex, with prices that prove it, whatever it is given."""

from __future__ import annotations

from dataclasses import fields, replace

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Terms
from gridflock.plan._check import sound
from gridflock.plan.direct import Chains, build, optimum, solve
from gridflock.plan.direct import _by_chains as by_chains
from gridflock.plan.direct._chains import Limit
from gridflock.plan.direct._solve import by_simplex
from gridflock.units import TimeGrid

ENDLESS = np.inf
NEAR = 1e-6


def flexibility_of(rng, grid, groups, scale):
    """Batteries, comfort bands and suns; some without power, some without room, some with a last wish."""
    n, shape = grid.n, (groups, grid.n + 1)
    store = rng.random(groups) < 0.75
    eta = np.where(rng.random(groups) < 0.2, 1.0, rng.uniform(0.7, 1.0, groups))
    lo = np.where(store[:, None], -rng.uniform(0, 8, (groups, 1)), -ENDLESS) * np.ones(shape)
    hi = np.where(store[:, None], rng.uniform(0, 8, (groups, 1)), ENDLESS) * np.ones(shape)
    roomless = rng.random(groups) < 0.1
    lo[roomless], hi[roomless] = 0.0, 0.0
    wish = store & (rng.random(groups) < 0.1)
    lo[wish, -1] = np.minimum(hi[wish, -1], 1.0)
    power = [rng.uniform(0, 6, (groups, n)) * (rng.random((groups, 1)) < 0.85) for _ in range(2)]
    up, down = (part * (rng.random((groups, n)) < 0.9) for part in power)
    cost_up, cost_down = rng.uniform(0, 0.05, (2, groups)) * (rng.random((2, groups)) < 0.7)
    names = tuple(f"g{k}" for k in range(groups))
    base = rng.normal(0, 5, (groups, n))
    gains = np.where(store, -1 / eta, 0.0), np.where(store, eta, 0.0)
    return Flexibility(
        grid,
        names,
        base * scale,
        up * scale,
        down * scale,
        lo * scale,
        hi * scale,
        *gains,
        cost_up,
        cost_down,
    )


def problem(seed):
    """A random small problem: flat, negative and equal prices, hard edges, limits on sums, peak and ramp."""
    rng = np.random.default_rng(seed)
    n, groups, scale = int(rng.integers(1, 13)), int(rng.integers(0, 7)), 10.0 ** rng.integers(-1, 4)
    edges = np.cumsum([1_750_003_200, *rng.choice([900, 3600], n)])
    grid = TimeGrid(edges.astype(np.int64))
    f = flexibility_of(rng, grid, groups, scale)
    kinds = [rng.uniform(-0.2, 0.5, n), np.full(n, 0.3), np.zeros(n), np.round(rng.uniform(0, 0.5, n), 1)]
    price = kinds[rng.integers(4)]
    sell = price * rng.uniform(0, 1, n) if rng.random() < 0.7 else price
    bounds = [np.full(n, ENDLESS), np.zeros(n), rng.uniform(0, 20, n) * scale]
    ends = [-ENDLESS, ENDLESS, 0.0, *rng.normal(0, 4 * scale, 3)]
    limits = tuple(
        Envelope(
            f"e{k}",
            *sorted(rng.choice(ends, 2, replace=False)),
            "limit",
            int(grid.edges_s[rng.integers(1, n + 1)]),
        )
        for k in range(rng.integers(0, 3))
    )
    members = {f"e{k}": tuple(x for x in f.groups if rng.random() < 0.6) for k in range(2)}
    terms = Terms(
        price,
        np.minimum(sell, price),
        bounds[rng.integers(3)],
        bounds[rng.integers(3)],
        peak_price=float(rng.choice([0.0, 0.3, 5.0])),
        peak_so_far_kw=float(rng.uniform(0, 5) * scale),
        limit_penalty=float(rng.choice([0.0, 5.0, 10.0])),
        ramp_penalty=float(rng.choice([0.0, 0.01, 0.04])),
        group_limits=limits,
        members=members,
    )
    given_problem = sound(f, rng.normal(-5, 5, n) * scale, terms)
    return given_problem.flexibility, given_problem.fixed_kw, given_problem.terms


def arrays(program):
    """The program's matrix, costs and bounds."""
    entries = (np.concatenate(part) for part in (program.entry_value, program.entry_row, program.entry_col))
    value, row, column = entries
    matrix = sparse.coo_array((value, (row, column)), shape=(program.n_rows, program.n_cols)).tocsr()
    return matrix, *program.joined_columns(), *program.joined_rows()


def distance(price, at, lo, hi):
    """How far from the bound that the sign of its price says it stands at."""
    gap = np.where(price > 0, at - lo, hi - at)
    return np.where(np.abs(price) > NEAR, np.minimum(np.abs(gap), 1e12), 0.0)


def faults(program, solution):
    """Largest breach of a bound, error of stationarity and product of price and distance."""
    matrix, cost, lo, hi, row_lo, row_hi = arrays(program)
    at, rows = solution.value, matrix @ solution.value
    size = max(1.0, np.abs(at).max())
    breach = np.concatenate([lo - at, at - hi, row_lo - rows, rows - row_hi]).max() / size
    leaning = np.abs(cost - matrix.T @ solution.row_price - solution.reduced_cost).max()
    worth = max(1.0, abs(solution.cost))
    slack = np.abs(solution.reduced_cost * distance(solution.reduced_cost, at, lo, hi)).max()
    row_slack = np.abs(solution.row_price * distance(solution.row_price, rows, row_lo, row_hi)).max()
    return breach, leaning / max(1.0, np.abs(cost).max()), max(slack, row_slack) / worth


def test_a_thousand_small_problems_match_simplex():
    """Same optimum as HiGHS, every bound kept, and prices that prove it by themselves."""
    proven = asked = 0
    for seed in range(1_000):
        program = build(*problem(seed)).program
        found, other = solve(program), by_simplex(program)
        assert found.ok
        assert abs(found.cost - other.cost) <= NEAR * max(1.0, abs(other.cost)), seed
        if program.shortcut is not None:
            asked += 1
            proven += program.shortcut(program) is not None
            breach, leaning, slack = faults(program, found)
            assert breach <= NEAR, seed
            assert leaning <= NEAR, seed
            assert slack <= 10 * NEAR, seed
    assert asked > 400
    assert proven > 0.98 * asked


def exclusive_chains(seed):
    """Stores that may not charge and discharge at once, behind a hard import limit they can keep."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 6)), int(rng.integers(1, 25))
    one, power, eta = np.ones(n), rng.uniform(1, 9, m), rng.uniform(0.8, 1.0, m)
    size = power * rng.uniform(0.2, 4.0, m)
    buy = rng.choice([rng.uniform(-0.3, 0.4, n), np.full(n, 0.2)]) * 0.25
    wear = np.outer(rng.uniform(0, 0.02, m), one)
    load = rng.normal(3, 6, n)
    return Chains(
        np.outer(power, one),
        np.outer(power * rng.uniform(0.5, 1.5, m), one),
        wear,
        wear,
        np.outer(-0.25 / eta, one),
        np.outer(0.25 * eta, one),
        size * rng.uniform(0, 1, m),
        np.zeros((m, n)),
        np.outer(size, one),
        rng.uniform(-0.1, 0.3, m),
        np.ones(m, dtype=bool),
        load,
        buy,
        buy * rng.choice([1.0, 0.5]) - (buy < 0) * np.abs(buy),
        np.full(n, max(load.max(), 0.0) + 1.0),
        np.full(n, ENDLESS),
        np.full(n, ENDLESS),
        peak_price=float(rng.choice([0.0, 0.4])),
        so_far=float(rng.uniform(0, 4)),
    )


def referee(of):
    """Least cost by HiGHS on a matrix of its own."""
    m, n = of.most_up.shape
    cells, eye = m * n, sparse.identity(m * n)
    before = sparse.kron(sparse.identity(m), sparse.eye(n, k=-1))
    sums, steps = sparse.kron(np.ones((1, m)), sparse.identity(n)), sparse.identity(n)
    share = [sparse.diags(1 / of.most_up.ravel()), sparse.diags(1 / of.most_down.ravel())]
    flows = [-sparse.diags(of.effect_up.ravel()), -sparse.diags(of.effect_down.ravel())]
    matrix = sparse.bmat(
        [
            [*flows, eye - before, None, None, None],
            [*share, None, None, None, None],
            [sums, -sums, None, steps, -steps, None],
            [None, None, None, steps, None, -np.ones((n, 1))],
        ],
        format="csc",
    )
    now = np.zeros((m, n))
    now[:, 0] = of.content
    worth = np.zeros((m, n))
    worth[:, -1] = -of.worth
    endless = np.full(n, ENDLESS)
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = np.concatenate(
        [of.cost_up.ravel(), of.cost_down.ravel(), worth.ravel(), of.buy, -of.sell, [of.peak_price]]
    )
    lp.col_lower_ = np.concatenate([np.zeros(2 * cells), of.least.ravel(), np.zeros(2 * n + 1)])
    top = [np.full(2 * cells, ENDLESS), of.most.ravel(), of.import_limit, endless, [ENDLESS]]
    lp.col_upper_ = np.concatenate(top)
    lp.row_lower_ = np.concatenate([now.ravel(), np.full(cells, -ENDLESS), of.demand, -endless])
    lp.row_upper_ = np.concatenate([now.ravel(), np.ones(cells), of.demand, np.full(n, of.so_far)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(lp)
    solver.run()
    assert solver.modelStatusToString(solver.getModelStatus()) == "Optimal"
    return solver.getInfo().objective_function_value


def test_excluded_flows_match_simplex():
    """With exclusion, negative prices and a peak: proven, and the optimum of HiGHS."""
    for seed in range(200):
        chains = exclusive_chains(seed)
        found = optimum(chains)
        assert found.proven, seed
        assert found.cost == pytest.approx(referee(chains), rel=NEAR, abs=NEAR)
        assert found.bound <= found.cost + 1e-9 * (1.0 + abs(found.cost))
        assert (found.up / chains.most_up + found.down / chains.most_down).max() <= 1.0 + 1e-7
        assert (found.content >= -NEAR).all()
        assert (found.room_price >= -NEAR).all()


def plain(m=2, n=4, **more):
    """Two lossy stores over four steps."""
    shape = (m, n)
    given_chains = Chains(
        np.full(shape, 5.0),
        np.full(shape, 5.0),
        np.full(shape, 0.01),
        np.full(shape, 0.01),
        np.full(shape, -1.1),
        np.full(shape, 0.9),
        np.full(m, 4.0),
        np.zeros(shape),
        np.full(shape, 10.0),
        np.zeros(m),
        np.ones(m, dtype=bool),
        np.full(n, 8.0),
        np.linspace(0.1, 0.4, n),
        np.linspace(0.05, 0.2, n),
        np.full(n, ENDLESS),
        np.full(n, ENDLESS),
        np.full(n, 10.0),
    )
    return replace(given_chains, **more)


DEGENERATE = {
    "zero power": {"most_up": np.zeros((2, 4)), "most_down": np.zeros((2, 4))},
    "one way only": {"most_up": np.zeros((2, 4))},
    "zero capacity": {"content": np.zeros(2), "most": np.zeros((2, 4))},
    "equal bounds": {"least": np.full((2, 4), 4.0), "most": np.full((2, 4), 4.0)},
    "full and paid to draw": {"content": np.full(2, 10.0), "buy": np.full(4, -0.2), "sell": np.full(4, -0.2)},
    "nothing costs": {
        "buy": np.zeros(4),
        "sell": np.zeros(4),
        "cost_up": np.zeros((2, 4)),
        "cost_down": np.zeros((2, 4)),
    },
    "buying and selling alike": {"sell": np.linspace(0.1, 0.4, 4)},
    "no import at all": {"import_limit": np.zeros(4)},
    "a peak nobody reaches": {"peak_price": 3.0, "so_far": 1e4},
    "a peak that is all": {"peak_price": 1e3},
    "change is dear": {"change_price": 50.0},
    "a limit nobody can keep": {
        "limits": (Limit(np.array([True, False]), np.full(3, 99.0), np.full(3, 99.0), np.full(3, 2.0)),)
    },
    "no store has bounds": {"least": np.full((2, 4), -ENDLESS), "most": np.full((2, 4), ENDLESS)},
    "no load": {"demand": np.zeros(4)},
    "mixed sizes": {
        "most_up": np.outer([1e-3, 1e4], np.ones(4)),
        "content": np.array([5e-3, 4.0]),
        "most": np.outer([1e-2, 1e5], np.ones(4)),
    },
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_problems_are_solved_and_proven(name):
    """No power, no room, no price, no bounds: the optimum all the same, its bound below its cost."""
    found = optimum(plain(**DEGENERATE[name]))
    assert found.proven
    assert found.bound <= found.cost + NEAR * (1.0 + abs(found.cost))


def test_no_device_and_one_step():
    """Nothing to move, and a single step: the head's cost alone, at its own price."""
    none = plain(m=0, n=1)
    found = optimum(none)
    assert found.proven
    assert found.cost == pytest.approx(8.0 * 0.1)
    assert found.price[0] == pytest.approx(0.1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 10**6),
    st.floats(-9, 9),
    st.floats(-9, 9),
    st.sampled_from([f.name for f in fields(Chains)][:8]),
)
def test_never_an_exception(seed, magnitude, other, name):
    """Whatever the magnitudes, an answer that says whether it is proven; one that is keeps its bound."""
    chains = exclusive_chains(seed)
    value = np.abs(getattr(chains, name)) * 10.0**magnitude
    signed = -value if name == "effect_up" else value
    chains = replace(chains, **{name: signed}, demand=chains.demand * 10.0**other)
    found = optimum(replace(chains, least=np.minimum(chains.least, chains.most)))
    if found.proven:
        assert found.bound <= found.cost + NEAR * (1.0 + abs(found.cost))


def test_the_same_chains_give_the_same_bytes():
    """Solving twice gives the same answer to the bit."""
    one, other = optimum(exclusive_chains(3)), optimum(exclusive_chains(3))
    for name in ("up", "down", "price", "value"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def chained():
    """The first problem that moves something and is chains."""
    models = (build(*problem(seed)) for seed in range(99))
    return next(model for model in models if model.program.shortcut and (model.up >= 0).any())


def test_what_is_not_proven_goes_to_simplex(monkeypatch):
    """An answer without its proof is never handed on, and the one that is says where it is from."""
    program = chained().program
    whole = by_simplex(program)
    assert solve(program).by == "chains"
    monkeypatch.setattr(by_chains, "optimum", lambda chains: replace(optimum(chains), proven=False))
    found = solve(program)
    assert found.value.tobytes() == whole.value.tobytes()
    assert found.by == "simplex after chains"


def test_a_program_that_has_grown_is_another_program():
    """A row added afterwards is obeyed: the structure known before does not answer for it."""
    model = chained()
    program = model.program
    used = solve(program).value[model.up[model.up >= 0]].sum()
    row = program.rows(np.array([used + 1.0]), np.array([ENDLESS]))
    slack = program.columns(np.array([1e-3]), 0.0, ENDLESS)
    program.put(row, model.up[model.up >= 0], 1.0)
    program.put(row, slack, 1.0)
    found = solve(program)
    assert found.value[model.up[model.up >= 0]].sum() + found.value[slack[0]] >= used + 1.0 - NEAR


def test_a_program_with_other_numbers_is_another_program():
    """Bounds and costs changed afterwards are obeyed: the structure known before does not answer for them."""
    model = chained()
    moved = model.up[model.up >= 0]
    model.program.bound(moved, None, 0.0)
    assert not solve(model.program).value[moved].any()
    model = chained()
    best = solve(model.program)
    model.program.charge(moved, np.full(len(moved), 1e4))
    found = solve(model.program)
    assert found.by == "simplex"
    assert found.value[moved].sum() < best.value[moved].sum()
