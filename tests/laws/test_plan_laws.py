"""Laws of the plan: within its bands, optimal by an independent solver, never without an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Terms, check, plan
from gridflock.plan._check import sound
from gridflock.plan._plan import one_way
from gridflock.plan.direct._model import band_penalty, build, strained_stores, values_of
from gridflock.plan.direct._solve import Solution, solve
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
ENDLESS = np.inf
STEPS = st.sampled_from([(900, 900, 3600), (3600,) * 4, (900,) * 6])


def grid_of(steps):
    """A time grid of the given step lengths."""
    return TimeGrid(NOW_S + np.concatenate([[0], np.cumsum(steps)]).astype(np.int64))


def battery(grid, kw=5.0, kwh=10.0, held=5.0, eta=0.9, wear=0.01, name="battery"):
    """One battery holding ``held`` kWh."""
    n = grid.n
    return Flexibility(
        grid,
        (name,),
        np.zeros((1, n)),
        np.full((1, n), kw),
        np.full((1, n), kw),
        np.full((1, n + 1), -held),
        np.full((1, n + 1), kwh - held),
        np.array([-1 / eta]),
        np.array([eta]),
        np.array([wear]),
        np.array([wear]),
    )


def joined(*parts):
    """Several flexibilities over one grid as one."""
    names = (
        "base_kw",
        "up_kw",
        "down_kw",
        "x_lo_kwh",
        "x_hi_kwh",
        "gain_up",
        "gain_down",
        "cost_up",
        "cost_down",
    )
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    return Flexibility(parts[0].grid, tuple(g for part in parts for g in part.groups), *arrays)


def terms_of(grid, price, **more):
    """Terms without limits, export at a third of the import price."""
    price = np.broadcast_to(np.asarray(price, dtype=float), (grid.n,)).copy()
    endless = np.full(grid.n, ENDLESS)
    given_terms = {"import_limit_kw": endless, "export_limit_kw": endless, "export_price": price / 3} | more
    return Terms(import_price=price, **given_terms)


@st.composite
def problems(draw):
    """A random small problem: batteries, sun, comfort bands, some of them unable to keep their band."""
    grid = grid_of(draw(STEPS))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, g = grid.n, draw(st.integers(1, 4))
    eta = rng.uniform(0.7, 1.0, g)
    store = rng.random(g) < 0.75
    lo = np.where(store[:, None], -rng.uniform(0, 8, (g, 1)), -ENDLESS) * np.ones((g, n + 1))
    hi = np.where(store[:, None], rng.uniform(0, 8, (g, 1)), ENDLESS) * np.ones((g, n + 1))
    lo[:, -1] = np.where(store & (rng.random(g) < 0.3), np.minimum(hi[:, -1], 4.0), lo[:, -1])
    flexibility = Flexibility(
        grid,
        tuple(f"g{k}" for k in range(g)),
        rng.normal(0, 5, (g, n)),
        rng.uniform(0, 6, (g, n)) * (rng.random((g, 1)) < 0.9),
        rng.uniform(0, 6, (g, n)) * (rng.random((g, 1)) < 0.9),
        lo,
        hi,
        np.where(store, -1 / eta, 0.0),
        np.where(store, eta, 0.0),
        rng.uniform(0, 0.05, g),
        rng.uniform(0, 0.05, g),
    )
    price = rng.uniform(0.02, 0.5, n)
    terms = Terms(
        price,
        price * rng.uniform(0, 1, n),
        rng.uniform(0, 20, n),
        rng.uniform(0, 20, n),
        peak_price=float(rng.choice([0.0, 0.3])),
        peak_so_far_kw=float(rng.uniform(0, 5)),
        limit_penalty=5.0,
        ramp_penalty=float(rng.choice([0.0, 0.01])),
        group_limits=(Envelope("two", *sorted(rng.normal(0, 4, 2)), "transformer T1", int(grid.edges_s[2])),),
        members={"two": flexibility.groups[:2]},
    )
    return flexibility, rng.normal(-5, 5, n), terms


class Referee:
    """The plan's problem by scipy, written out variable by variable as dictionaries."""

    def __init__(self, f, fixed, terms):
        self.f, self.fixed, self.terms = f, fixed, terms
        self.cost, self.high, self.low = {}, {}, {}
        self.equal, self.at_most = [], []

    def least(self):
        """The least cost."""
        for k in range(len(self.f.groups)):
            self.group(k)
        for t in range(self.f.grid.n):
            self.head(t)
            self.envelope(t)
        self.cost["peak"] = self.terms.peak_price
        order = {name: k for k, name in enumerate(self.cost)}
        bounds = [(self.low.get(name, 0.0), self.high.get(name, ENDLESS)) for name in order]
        (a_eq, b_eq), (a_ub, b_ub) = (self.dense(rows, order) for rows in (self.equal, self.at_most))
        found = linprog(list(self.cost.values()), a_ub, b_ub, a_eq, b_eq, bounds)
        assert found.status == 0, found.message
        return found.fun

    @staticmethod
    def dense(rows, order):
        """Rows of names and coefficients as a matrix and its right side."""
        matrix = np.zeros((len(rows), len(order)))
        for k, (row, _) in enumerate(rows):
            for name, value in row.items():
                matrix[k, order[name]] += value
        return matrix, [side for _, side in rows]

    def group(self, k):
        """Power, level and band of one group; both slacks are always there."""
        f, hours = self.f, self.f.grid.hours
        penalty, last = band_penalty(self.terms), f.grid.n - 1
        bounded = np.isfinite(f.x_lo_kwh[k]).any()
        worth = self.median() / -f.gain_up[k] if f.gain_up[k] < 0 and bounded else 0.0
        for t in range(f.grid.n):
            up, down, x, short, spare = ((name, k, t) for name in ("up", "down", "x", "short", "spare"))
            self.cost |= {
                up: f.cost_up[k] * hours[t],
                down: f.cost_down[k] * hours[t],
                short: penalty,
                spare: penalty,
            }
            self.cost[x] = -worth if t == last else 0.0
            self.high |= {up: f.up_kw[k, t], down: f.down_kw[k, t]}
            self.low[x] = -ENDLESS
            row = {x: 1.0, up: -f.gain_up[k] * hours[t], down: -f.gain_down[k] * hours[t]}
            self.equal.append((row | ({("x", k, t - 1): -1.0} if t else {}), 0.0))
            if bounded:
                self.at_most.append(({x: 1.0, spare: -1.0}, f.x_hi_kwh[k, t + 1]))
                self.at_most.append(({x: -1.0, short: -1.0}, -f.x_lo_kwh[k, t + 1]))

    def head(self, t):
        """Balance, limits, peak and ramp at the head."""
        terms, hours = self.terms, self.f.grid.hours[t]
        buy, sell = {("buy", t): 1.0, ("more", t): 1.0}, {("sell", t): -1.0, ("excess", t): -1.0}
        self.cost["buy", t] = terms.import_price[t] * hours
        self.cost["more", t] = (terms.import_price[t] + terms.limit_penalty) * hours
        self.cost["sell", t] = -terms.export_price[t] * hours
        self.cost["excess", t] = (terms.limit_penalty - terms.export_price[t]) * hours
        self.high |= {("buy", t): terms.import_limit_kw[t], ("sell", t): terms.export_limit_kw[t]}
        groups = range(len(self.f.groups))
        moved = {("up", k, t): 1.0 for k in groups} | {("down", k, t): -1.0 for k in groups}
        self.equal.append((buy | sell | moved, -(self.fixed[t] + self.f.base_kw[:, t].sum())))
        self.at_most.append((buy | {"peak": -1.0}, terms.peak_so_far_kw))
        if t:
            before = {(name, t - 1): -value for (name, _), value in (buy | sell).items()}
            self.cost |= {("rise", t): terms.ramp_penalty, ("fall", t): terms.ramp_penalty}
            self.equal.append((buy | sell | before | {("rise", t): 1.0, ("fall", t): -1.0}, 0.0))

    def envelope(self, t):
        """The one group limit of the problem."""
        (limit,) = self.terms.group_limits
        if self.f.grid.starts_s[t] >= limit.until_s:
            return
        inside = [k for k, name in enumerate(self.f.groups) if name in self.terms.members[limit.group]]
        base = self.f.base_kw[inside, t].sum()
        for sign, bound, slack in ((1.0, limit.p_hi_kw, ("over", t)), (-1.0, limit.p_lo_kw, ("under", t))):
            self.cost[slack] = self.terms.limit_penalty * self.f.grid.hours[t]
            moved = {("up", k, t): sign for k in inside} | {("down", k, t): -sign for k in inside}
            self.at_most.append((moved | {slack: -1.0}, sign * (bound - base)))

    def median(self):
        """Import price below and above which half of the time lies."""
        hours = self.f.grid.hours
        passed = 0.0
        for price, length in sorted(zip(self.terms.import_price, hours, strict=True)):
            passed += length
            if passed >= 0.5 * hours.sum():
                return price
        raise AssertionError


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_the_cost_is_that_of_an_independent_solver(problem):
    """HiGHS on our sparse blocks and scipy on a dense problem written out agree on the least cost.

    Holding a store to one direction per step can only add to it, and does not where it moves
    one way by itself.
    """
    f, fixed, terms = problem
    given_terms = sound(f, fixed, terms)
    model = build(given_terms.flexibility, given_terms.fixed_kw, given_terms.terms)
    solution = solve(model.program)
    least = Referee(f, fixed, terms).least()
    assert solution.cost == pytest.approx(least, rel=1e-7, abs=1e-6)
    cost = plan(f, fixed, terms, NOW_S).cost
    assert cost >= least - 1e-6
    both = np.minimum(values_of(model.up, solution), values_of(model.down, solution)) > 1e-6
    if not both.any():
        assert cost == solution.cost


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_plan_keeps_the_bands(problem):
    """Powers lie within up and down, stores within their band unless it could not be kept."""
    f, fixed, terms = problem
    _, solution, up, down = one_way(sound(f, fixed, terms), lambda model: solve(model.program))
    schedule = plan(f, fixed, terms, NOW_S)
    assert solution.ok
    np.testing.assert_allclose(schedule.p_kw, f.base_kw + up - down, atol=1e-6)
    assert (up >= -1e-6).all()
    assert (down >= -1e-6).all()
    assert (up <= f.up_kw + 1e-6).all()
    assert (down <= f.down_kw + 1e-6).all()
    x = np.cumsum((f.gain_up[:, None] * up + f.gain_down[:, None] * down) * f.grid.hours, axis=1)
    free = ~strained_stores(f)
    assert (x >= f.x_lo_kwh[:, 1:] - 1e-5)[free].all()
    assert (x <= f.x_hi_kwh[:, 1:] + 1e-5)[free].all()
    lossy = f.gain_up + f.gain_down != 0
    assert (np.minimum(up, down)[lossy] <= 1e-6).all()
    np.testing.assert_allclose(schedule.net_kw, fixed + schedule.p_kw.sum(axis=0), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(problems())
def test_doing_nothing_is_never_better(problem):
    """The same problem with nothing to decide costs at least as much."""
    f, fixed, terms = problem
    still = replace(f, up_kw=np.zeros_like(f.up_kw), down_kw=np.zeros_like(f.down_kw))
    assert plan(f, fixed, terms, NOW_S).cost <= plan(still, fixed, terms, NOW_S).cost + 1e-6


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(0, 2))
def test_the_price_is_the_worth_of_injection(problem, step):
    """One kW more or less at a step changes the cost by the price, from both sides."""
    f, fixed, terms = problem
    schedule = plan(f, fixed, terms, NOW_S)
    nudge = np.zeros(f.grid.n)
    nudge[step] = 1e-3
    hours = f.grid.hours[step] * 1e-3
    more, less = (plan(f, fixed + sign * nudge, terms, NOW_S).cost for sign in (1, -1))
    assert (schedule.cost - more) / hours <= schedule.price[step] + 1e-4
    assert (less - schedule.cost) / hours >= schedule.price[step] - 1e-4


def test_battery_arbitrage_by_hand():
    """Cheap hour, dear hour: store what the dear hour can use beyond what is held, no more.

    5 of 10 kWh held, 0.9 each way, wear 0.01, prices 0.1 then 0.5 (median 0.1, so a kWh at the
    end is worth 0.09). 5 kWh delivered in hour 2 take 5/0.9 out of the store, 5 of which are
    there; the rest is charged in hour 1 at (5/0.9 - 5)/0.9 kW. More would cost 0.11/0.9 a kWh.
    """
    grid = grid_of((3600, 3600))
    schedule = plan(battery(grid), np.full(2, -8.0), terms_of(grid, [0.1, 0.5]), NOW_S)
    charge = (5 / 0.9 - 5) / 0.9
    np.testing.assert_allclose(schedule.p_kw[0], [-charge, 5.0], atol=1e-7)
    by_hand = (8 + charge) * 0.1 + 3 * 0.5 + (5 + charge) * 0.01 + 0.09 * 5
    assert schedule.cost == pytest.approx(by_hand, abs=1e-9)
    np.testing.assert_allclose(schedule.price, [0.1, 0.5], atol=1e-9)


def test_a_small_spread_does_not_pay():
    """Where losses and wear exceed the spread of prices the battery rests."""
    grid = grid_of((3600,) * 4)
    schedule = plan(battery(grid), np.full(4, -8.0), terms_of(grid, [0.2, 0.205, 0.2, 0.205]), NOW_S)
    np.testing.assert_allclose(schedule.p_kw, 0.0, atol=1e-9)


def test_an_import_limit_raises_the_price_and_is_named():
    """With 6 kW of import allowed and 8 wanted, the battery gives 2 kW; the limit has a price."""
    grid = grid_of((3600, 3600))
    limit = np.array([6.0, ENDLESS])
    terms = terms_of(grid, [0.2, 0.4], import_limit_kw=limit)
    schedule = plan(battery(grid, held=2.5), np.full(2, -8.0), terms, NOW_S)
    free = plan(battery(grid, held=2.5), np.full(2, -8.0), terms_of(grid, [0.2, 0.4]), NOW_S)
    assert schedule.net_kw[0] == pytest.approx(-6.0)
    assert schedule.price[0] > free.price[0] + 0.05
    reason = next(r for r in schedule.reasons if r.row == "import limit of the feeder head")
    assert reason.step == 0
    assert reason.slack_kw == 0.0
    assert reason.price == pytest.approx(schedule.price[0] - 0.2)


def test_an_export_limit_lowers_the_price():
    """Where export is full, sun is curtailed and another kWh is worth nothing (or less)."""
    grid = grid_of((3600,))
    sun = replace(battery(grid, name="sun"), base_kw=np.full((1, 1), 9.0), up_kw=np.zeros((1, 1)))
    sun = replace(sun, gain_up=np.zeros(1), gain_down=np.zeros(1), down_kw=np.full((1, 1), 9.0))
    terms = terms_of(grid, [0.3], export_limit_kw=np.full(1, 4.0))
    schedule = plan(sun, np.zeros(1), terms, NOW_S)
    assert schedule.p_kw[0, 0] == pytest.approx(4.0)
    assert schedule.price[0] == pytest.approx(-0.01)
    assert schedule.reasons[0].row == "export limit of the feeder head"


def test_a_demand_charge_shaves_the_peak():
    """A peak price above the spread lets the battery cut the one high step."""
    grid = grid_of((3600,) * 3)
    fixed = -np.array([4.0, 10.0, 4.0])
    terms = terms_of(grid, 0.2, peak_price=2.0, peak_so_far_kw=5.0)
    schedule = plan(battery(grid), fixed, terms, NOW_S)
    assert schedule.peak_kw == pytest.approx(5.5, abs=1.0)
    assert schedule.net_kw[1] > -6.0
    assert any(r.row == "import peak (demand charge)" and r.step == 1 for r in schedule.reasons)


def test_contradictory_limits_give_a_schedule_with_named_slack():
    """At least 3 and at most 1 kW at once, no import and 8 kW of load: a plan, and who gave way."""
    grid = grid_of((3600, 3600))
    until = grid.end_s
    crossed = (
        Envelope("battery", 3.0, np.inf, "contract C", until),
        Envelope("battery", -np.inf, 1.0, "transformer T", until),
    )
    terms = terms_of(grid, 0.2, import_limit_kw=np.zeros(2), group_limits=crossed)
    schedule = plan(battery(grid, held=9.0), np.full(2, -8.0), terms, NOW_S)
    slack = {r.row: r.slack_kw for r in schedule.reasons if r.slack_kw > 0}
    assert np.isfinite(schedule.p_kw).all()
    assert slack["import limit of the feeder head"] == pytest.approx(8.0 - schedule.p_kw[0].max(), abs=1e-6)
    assert slack.keys() & {"contract C (limit of battery)", "transformer T (limit of battery)"}


def test_one_crossed_envelope_gives_way_too():
    """A single envelope with its bounds crossed is reported and still planned with."""
    grid = grid_of((3600,))
    terms = terms_of(grid, 0.2, group_limits=(Envelope("battery", 3.0, 1.0, "both", grid.end_s),))
    schedule = plan(battery(grid), np.full(1, -8.0), terms, NOW_S)
    assert sum(r.slack_kw for r in schedule.reasons if r.row == "both (limit of battery)") == pytest.approx(
        2.0
    )
    assert any("crossed" in r.row or "above p_hi_kw" in r.row for r in schedule.reasons)


def test_an_unreachable_energy_band_is_named():
    """A vehicle that wants 8 kWh but can take 4.5 takes all it can, and the shortfall is named."""
    grid = grid_of((3600,))
    car = battery(grid, held=0.0, name="cars")
    car = replace(car, x_lo_kwh=np.array([[0.0, 8.0]]), up_kw=np.zeros((1, 1)))
    schedule = plan(car, np.zeros(1), terms_of(grid, 0.4), NOW_S)
    assert schedule.p_kw[0, 0] == pytest.approx(-5.0)
    reason = schedule.reasons[0]
    assert reason.row == "energy band of cars"
    assert reason.slack_kw == pytest.approx(3.5)


def test_burning_energy_at_a_negative_price_is_not_planned():
    """A full lossy battery at a negative price would like to charge and discharge at once; it rests."""
    grid = grid_of((3600, 3600))
    terms = terms_of(grid, [-0.5, -0.5], export_price=np.full(2, -0.5))
    given_terms = sound(battery(grid, held=10.0), np.full(2, -1.0), terms)
    model, solution, up, down = one_way(given_terms, lambda model: solve(model.program))
    assert solution.ok
    assert (np.minimum(up, down) <= 1e-6).all()
    np.testing.assert_array_equal(values_of(model.up, solution), up)
    schedule = plan(battery(grid, held=10.0), np.full(2, -1.0), terms, NOW_S)
    x = np.cumsum(-0.9 * np.minimum(schedule.p_kw, 0) - np.maximum(schedule.p_kw, 0) / 0.9)
    assert (x <= 1e-6).all()


def test_circular_prices_do_not_earn_without_end():
    """Export dearer than import is named and counted as equal; the plan stays finite."""
    grid = grid_of((3600, 3600))
    terms = terms_of(grid, 0.1, export_price=np.full(2, 0.4))
    schedule = plan(battery(grid), np.full(2, -8.0), terms, NOW_S)
    assert np.isfinite(schedule.cost)
    assert check(battery(grid), np.full(2, -8.0), terms)[0].field == "export_price"
    assert any("export_price" in r.row for r in schedule.reasons)


BAD_GROUPS = [
    ("base_kw", np.nan),
    ("up_kw", -1.0),
    ("down_kw", np.nan),
    ("x_lo_kwh", 99.0),
    ("gain_up", np.nan),
    ("cost_down", np.inf),
]


@pytest.mark.parametrize(("name", "value"), BAD_GROUPS)
def test_a_broken_group_rests_and_is_named(name, value):
    """One bad group is planned at base, named with field and rule; the other is planned as ever."""
    grid = grid_of((3600, 3600))
    good, bad = battery(grid), battery(grid, name="bad")
    bad = replace(bad, **{name: np.full_like(getattr(bad, name), value)})
    both, fixed, terms = joined(good, bad), np.full(2, -8.0), terms_of(grid, [0.1, 0.5])
    schedule = plan(both, fixed, terms, NOW_S)
    alone = plan(good, fixed, terms, NOW_S)
    np.testing.assert_allclose(schedule.p_kw, [alone.p_kw[0], [0.0, 0.0]], atol=1e-7)
    rejected = check(both, fixed, terms)
    assert [(r.component, r.field, r.ids) for r in rejected] == [("group", name, ("bad",))]
    assert any("bad" in r.row and name in r.row for r in schedule.reasons)
    assert check(good, fixed, terms) == ()


def test_missing_numbers_are_named_and_bridged():
    """NaN in fixed power, prices or limits takes the neighbour's value and is named."""
    grid = grid_of((3600,) * 3)
    terms = terms_of(grid, [0.1, np.nan, 0.3], import_limit_kw=np.array([5.0, -1.0, 9.0]), peak_price=np.nan)
    terms = replace(terms, export_price=np.zeros(3))
    fixed = np.array([-1.0, np.nan, -3.0])
    assert {r.field for r in check(battery(grid), fixed, terms)} == {
        "fixed_kw",
        "import_price",
        "import_limit_kw",
        "peak_price",
    }
    schedule = plan(battery(grid), fixed, terms, NOW_S)
    np.testing.assert_array_equal(schedule.fixed_kw, [-1.0, -1.0, -3.0])
    assert np.isfinite(schedule.p_kw).all()


def test_misshapen_input_and_an_empty_horizon_rest_at_base():
    """Arrays that do not fit, or no step at all: the groups stay at base and the reason says so."""
    grid = grid_of((3600, 3600))
    terms = terms_of(grid, 0.1)
    schedule = plan(battery(grid), np.zeros(5), terms, NOW_S)
    np.testing.assert_array_equal(schedule.p_kw, np.zeros((1, 2)))
    assert "fixed_kw" in schedule.reasons[0].row
    nothing = TimeGrid(np.array([NOW_S], dtype=np.int64))
    empty = plan(battery(nothing), np.zeros(0), terms_of(nothing, 0.1), NOW_S)
    assert empty.p_kw.shape == (1, 0)
    assert "horizon" in empty.reasons[0].row


def test_a_solver_that_fails_leaves_everybody_at_base(monkeypatch):
    """Without an optimum the schedule is the base, NaN is its price, and the reason says so."""
    from gridflock.plan import _plan

    nothing = np.empty(0)
    failed = Solution("Time limit reached", float("nan"), nothing, nothing, nothing)
    monkeypatch.setattr(_plan, "solve", lambda _: failed)
    grid = grid_of((3600, 3600))
    schedule = plan(battery(grid), np.full(2, -8.0), terms_of(grid, [0.1, 0.5]), NOW_S)
    np.testing.assert_array_equal(schedule.p_kw, schedule.base_kw)
    assert np.isnan(schedule.price).all()
    assert "Time limit reached" in schedule.reasons[0].row


def test_no_groups_at_all():
    """With nothing to steer, the plan is the fixed power and its price."""
    grid = grid_of((3600, 3600))
    none = joined(battery(grid))
    none = Flexibility(
        grid,
        (),
        *(getattr(none, name)[:0] for name in ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")),
        *(getattr(none, name)[:0] for name in ("gain_up", "gain_down", "cost_up", "cost_down")),
    )
    schedule = plan(none, np.array([-3.0, 2.0]), terms_of(grid, 0.3), NOW_S)
    np.testing.assert_allclose(schedule.net_kw, [-3.0, 2.0])
    assert schedule.cost == pytest.approx(3 * 0.3 - 2 * 0.1)
    np.testing.assert_allclose(schedule.price, [0.3, 0.1])


@settings(max_examples=15, deadline=None)
@given(problems())
def test_the_same_input_gives_the_same_bytes(problem):
    """Planning twice gives the same schedule to the bit."""
    one, other = plan(*problem, NOW_S), plan(*problem, NOW_S)
    assert one.p_kw.tobytes() == other.p_kw.tobytes()
    assert one.price.tobytes() == other.price.tobytes()
    assert one.reasons == other.reasons


def test_a_premium_moves_only_the_groups_that_have_it():
    """A generator dearer than the price rests; a premium above the gap makes it run at full.

    Its equal without one goes on resting.
    """
    grid = TimeGrid.uniform(0, 3600, 4)
    full, none, ends = np.full((2, 4), 100.0), np.zeros((2, 4)), np.full((2, 5), np.inf)
    able = Flexibility(
        grid, ("owner/a", "owner/b"), none, full, none, -ends, ends,
        np.zeros(2), np.zeros(2), np.full(2, 0.4), np.zeros(2),
    )  # fmt: skip
    price, free = np.full(4, 0.3), np.full(4, np.inf)
    plain = Terms(price, np.full(4, 0.1), free, free)
    lifted = Terms(price, np.full(4, 0.1), free, free, premium={"owner/a": np.full(4, 0.2)})
    fixed = np.full(4, -500.0)
    np.testing.assert_allclose(plan(able, fixed, plain, 0).p_kw, 0.0, atol=1e-9)
    np.testing.assert_allclose(plan(able, fixed, lifted, 0).p_kw, [[100.0] * 4, [0.0] * 4], atol=1e-9)
