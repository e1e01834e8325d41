"""Laws of goals: each has the optimum of an independent model, ranks hold, reserves are kept."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.plan.direct._model import build
from gridflock.plan.direct._solve import Solution, solve
from gridflock.plan.goals import Ranked, Setting, pursue, shown, weigh
from gridflock.plan.goals._pursue import _costs
from gridflock.plan.goals.bounds import (
    Departures,
    Event,
    LoadShape,
    PowerLimit,
    RampLimit,
    Reserve,
    VoltageReduction,
)
from gridflock.plan.goals.bounds._store import levels
from gridflock.plan.goals.fairness import (
    CallBound,
    FairShare,
)
from gridflock.plan.goals.money import Carbon, DemandCharge, EnergyCost, Losses, SelfConsumption, Wear

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("goals_world")
KINDS, MEMBERS, NOW_S = here.KINDS, here.MEMBERS, here.NOW_S
energy_cost, goal_of, world = here.energy_cost, here.goal_of, here.world

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Referee:
    """The same goals by a modelling language, each written down from its definition."""

    def __init__(self, f, fixed):
        g, n = f.base_kw.shape
        self.f, self.fixed, self.h = f, fixed, f.grid.hours
        self.up, self.down = cp.Variable((g, n), nonneg=True), cp.Variable((g, n), nonneg=True)
        self.p = f.base_kw + self.up - self.down
        self.imported, self.exported = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.net = fixed + cp.sum(self.p, axis=0)
        self.rules = [
            self.exported - self.imported == self.net, self.up <= f.up_kw, self.down <= f.down_kw,
        ]  # fmt: skip
        self.x = {}
        for k in range(g):
            if f.gain_up[k]:
                self.x[k] = cp.cumsum(
                    cp.multiply(f.gain_up[k] * self.up[k] + f.gain_down[k] * self.down[k], self.h)
                )
                self.rules += [self.x[k] >= f.x_lo_kwh[k, 1:], self.x[k] <= f.x_hi_kwh[k, 1:]]
        self.buy, self.premium = np.zeros(n), np.zeros((g, n))
        self.cost = f.cost_up @ (self.up @ self.h) + f.cost_down @ (self.down @ self.h)

    def flow(self, members, beside=0.0, moves=1.0):
        """The power of some groups, spelt out."""
        where = {"T1": {"store0": 1, "store1": 1}, "phase a": {"store0": 1 / 3, "store1": 1}}
        if not members:
            share = dict.fromkeys(self.f.groups, 1.0)
            beside = beside + self.fixed
        else:
            share = {g: s for name in members for g, s in where.get(name, {name: 1}).items()}
        rows = [self.f.groups.index(g) for g in share]
        moved = sum(
            s * moves * (self.up[k] - self.down[k]) for k, s in zip(rows, share.values(), strict=True)
        )
        rest = sum(s * self.f.base_kw[k] for k, s in zip(rows, share.values(), strict=True))
        return rest + beside + moved, rest

    def add(self, goal):  # noqa: C901, PLR0912 -- one case per goal
        """One goal more."""
        n, t = self.f.grid.n, self.f.grid.starts_s
        per = np.ones(n)
        match goal:
            case EnergyCost():
                self.trade(goal.import_price * per, goal.export_price * per)
            case SelfConsumption():
                self.trade(0 * per, -goal.worth * per)
            case Carbon():
                price = goal.price * goal.kg_per_kwh
                self.trade(price, price * goal.credited)
            case Losses():
                for name, factor in goal.factor.items():
                    for g in ("store0", "store1") if name == "T1" else (name,):
                        k = self.f.groups.index(g)
                        self.premium[k] -= goal.price * factor
                        self.cost += cp.sum(
                            cp.multiply(goal.price * factor * self.h, self.up[k] - self.down[k])
                        )
            case Wear():
                for g, price in goal.price.items():
                    k = self.f.groups.index(g)
                    self.cost += price * cp.sum(cp.multiply(self.h, self.up[k] + self.down[k]))
            case DemandCharge():
                flow, _ = self.flow(goal.members, goal.beside_kw)
                counted = [
                    k for k in range(n) if not goal.windows or goal.windows[0][0] <= t[k] < goal.windows[0][1]
                ]
                self.cost += goal.price * cp.pos(cp.max(-flow[counted]) - goal.so_far_kw)
            case PowerLimit():
                flow, _ = self.flow(goal.members, goal.beside_kw)
                self.band(flow, -goal.import_kw * per, goal.export_kw * per, goal.price, per > 0)
            case RampLimit():
                flow, _ = self.flow(goal.members)
                most = goal.kw_per_min * 60 * (self.h[1:] + self.h[:-1]) / 2
                self.cost += goal.price * cp.sum(cp.pos(cp.abs(cp.diff(flow)) - most))
                first = goal.kw_per_min * 60 * self.h[0] / 2
                self.cost += goal.price * cp.pos(cp.abs(flow[0] - goal.before_kw) - first)
            case LoadShape():
                flow, _ = self.flow(goal.members, 0.0, goal.response)
                half = goal.band * np.abs(goal.target_kw)
                within = (t >= goal.from_s) & (t < goal.until_s)
                self.band(flow, goal.target_kw - half, goal.target_kw + half, goal.price, within)
            case Event():
                flow, base = self.flow(("T1",))
                asked = np.where(t >= goal.stages[1].from_s, goal.stages[1].rise_kw, goal.stages[0].rise_kw)
                inside = (t >= goal.start_s) & (t < goal.end_s)
                after = (t >= goal.end_s) & (t < goal.end_s + goal.rebound_s)
                self.band(flow, base + asked, 1e9 * per, goal.price, inside)
                self.band(flow, base - goal.rebound_kw, 1e9 * per, goal.rebound_price, after)
            case FairShare():
                self.fair(goal)
            case CallBound():
                self.band(self.p[2], self.f.base_kw[2], 1e9 * per, goal.price, per > 0)
            case Reserve() | Departures():
                self.floor(goal)

    def trade(self, buy, sell):
        """Energy at the head."""
        self.buy = self.buy + buy
        self.cost += (buy * self.h) @ self.imported - (sell * self.h) @ self.exported

    def band(self, flow, lo, hi, price, counted):
        """A soft band."""
        beyond = cp.pos(lo - flow) + cp.pos(flow - hi)
        self.cost += price * ((self.h * counted) @ beyond)

    def fair(self, goal):
        """Concave worth as the least of its tangents."""
        slope = ((np.arange(goal.segments) + 0.5) / goal.segments) ** -goal.alpha
        for k, who in ((2, "a"), (3, "b")):
            energy, asked = self.p[k] @ self.h, float(self.f.base_kw[k] @ self.h)
            edge = asked * np.arange(goal.segments) / goal.segments
            at_edge = np.concatenate([[0.0], np.cumsum(slope * asked / goal.segments)])
            pieces = [v + s * (energy - e) for v, s, e in zip(at_edge, slope, edge, strict=False)]
            worth = cp.minimum(*pieces, at_edge[-1])
            self.cost -= goal.worth * goal.weight.get(who, 1.0) * worth

    def floor(self, goal):
        """What a store holds, as far as it can be reached."""
        f = self.f
        if isinstance(goal, Reserve):
            wanted = f.x_lo_kwh[0, 0] + goal.kwh["store0"]
            k, edges = 0, range(3, f.grid.n + 1)
        else:
            k, edges, wanted = 1, [4], goal.needs[0].kwh
        reach = 0.0
        for edge in range(1, f.grid.n + 1):
            reach = min(
                reach + f.gain_down[k] * f.down_kw[k, edge - 1] * self.h[edge - 1], f.x_hi_kwh[k, edge]
            )
            if edge in edges:
                self.rules.append(self.x[k][edge - 1] >= min(wanted, reach - 1e-5))

    def least(self):
        """The least cost; what is left in a store is worth the median price less the loss of delivering."""
        for k, x in self.x.items():
            price = np.sort(self.buy + self.premium[k])
            self.cost -= max(price[(len(price) + 1) // 2 - 1], 0.0) / -self.f.gain_up[k] * x[-1]
        problem = cp.Problem(cp.Minimize(self.cost), self.rules)
        problem.solve(solver=cp.HIGHS)
        assert problem.status == "optimal"
        return problem.value


def least(goals, f, fixed):
    """The cost of our program for goals, before stores are held to one direction."""
    weighed = weigh(goals, f, fixed, NOW_S, MEMBERS)
    assert not weighed.rejected
    solution = solve(build(weighed.flexibility, weighed.fixed_kw, weighed.terms).program)
    assert solution.ok
    return solution.cost


@pytest.mark.parametrize("kind", KINDS)
@settings(QUICK, max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_each_goal_has_the_optimum_of_an_independent_model(kind, seed):
    """Energy cost and one more goal cost the same as the definitions written in a modelling language."""
    f, fixed, rng = world(seed, step_s=900 if seed % 2 else 3600)
    goals = [energy_cost(rng, f.grid.n), goal_of(kind, f, rng)]
    referee = Referee(f, fixed)
    for goal in goals:
        referee.add(goal)
    best = referee.least()
    assert least(goals, f, fixed) == pytest.approx(best, rel=1e-6, abs=1e-6)
    assert pursue(goals, f, fixed, NOW_S, MEMBERS).schedule.cost >= best - 1e-6 * max(1.0, abs(best))


@settings(QUICK, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_all_goals_together_have_the_optimum_of_an_independent_model(seed):
    """Fifteen goals at once still make the one problem their definitions make."""
    f, fixed, rng = world(seed)
    goals = [energy_cost(rng, f.grid.n), *(goal_of(kind, f, rng) for kind in KINDS)]
    goals = [replace(goal, name=f"{k}") for k, goal in enumerate(goals)]
    referee = Referee(f, fixed)
    for goal in goals:
        referee.add(goal)
    assert least(goals, f, fixed) == pytest.approx(referee.least(), rel=1e-6, abs=1e-6)


@settings(QUICK, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_what_is_read_off_is_what_was_paid(seed):
    """A goal's reading times its price is what its columns cost in the optimum."""
    f, fixed, rng = world(seed)
    kinds = ("demand charge", "limit of the head", "limit of a phase", "ramp limit", "load shape", "carbon")
    goals = [energy_cost(rng, f.grid.n), *(goal_of(kind, f, rng) for kind in kinds)]
    goals = [replace(goal, name=f"{k}") for k, goal in enumerate(goals)]
    weighed = weigh(goals, f, fixed, NOW_S, MEMBERS)
    model = build(weighed.flexibility, weighed.fixed_kw, weighed.terms)
    solution = solve(model.program)
    own, _ = _costs(model, weighed)
    p_kw = f.base_kw + np.where(model.up >= 0, solution.value[model.up], 0.0)
    p_kw = p_kw - np.where(model.down >= 0, solution.value[model.down], 0.0)
    for c, cost in zip(weighed.compiled, own, strict=True):
        got = c.goal.reading(weighed.setting, p_kw)
        assert got.value * got.price == pytest.approx(cost @ solution.value, rel=1e-6, abs=1e-6)


def rivals(rng, n):
    """Three goals that want different things."""
    return {
        "limit": PowerLimit(float(rng.uniform(2, 8)), float(rng.uniform(0, 4)), name="limit"),
        "peak": DemandCharge(1.0, name="peak"),
        "cost": energy_cost(rng, n),
    }


def money_of(got, goal, f):
    """The bill, the owners' costs and what is left in store, from the powers alone."""
    at, p_kw, hours = got.weighed.setting, got.schedule.p_kw, f.grid.hours
    moved = p_kw - f.base_kw
    own = f.cost_up @ (np.maximum(moved, 0) @ hours) + f.cost_down @ (np.maximum(-moved, 0) @ hours)
    price = np.sort(goal.import_price)[(f.grid.n + 1) // 2 - 1]
    left = sum(price / -f.gain_up[k] * levels(f, p_kw)[k, -1] for k in (0, 1))
    return goal.reading(at, p_kw).value + own - left


def measure(got, goal, f):
    """What keeping a tier is about: money of the energy cost, the reading of any other goal."""
    if isinstance(goal, EnergyCost):
        return money_of(got, goal, f)
    return got.reached(goal.name).reached * goal.price


def louder(goal, factor):
    """The same goal at higher prices."""
    if isinstance(goal, EnergyCost):
        return EnergyCost(goal.import_price * factor, goal.export_price * factor)
    return replace(goal, price=goal.price * factor)


@settings(QUICK, max_examples=25)
@given(
    seed=st.integers(0, 10_000), order=st.permutations(["limit", "peak", "cost"]), factor=st.floats(1, 1e3)
)
def test_a_lower_goal_takes_nothing_from_a_higher_one(seed, order, factor):
    """Solved in turn, the first goal is as good as alone, however dear the lower ones become."""
    f, fixed, rng = world(seed)
    by_name = rivals(rng, f.grid.n)
    first, second, third = (by_name[name] for name in order)
    tolerance = Ranked.__dataclass_fields__["tolerance"].default
    best = measure(pursue(Ranked((first,), strict=True), f, fixed, NOW_S), first, f)
    most = best + 2.01 * tolerance * max(1.0, abs(best))
    got = pursue(Ranked((first, second, third), strict=True), f, fixed, NOW_S)
    assert [line.goal for line in got.table] == [first.name, second.name, third.name]
    assert measure(got, first, f) <= most
    lower = (louder(second, factor), louder(third, factor))
    assert measure(pursue(Ranked((first, *lower), strict=True), f, fixed, NOW_S), first, f) <= most
    # The second goal gives only what the first one needs: the third takes nothing either.
    pair = measure(pursue(Ranked((first, second), strict=True), f, fixed, NOW_S), second, f)
    assert measure(got, second, f) <= pair + 4 * tolerance * max(1.0, abs(pair), abs(best))


@settings(QUICK, max_examples=25)
@given(seed=st.integers(0, 10_000), peak_first=st.booleans())
def test_price_tiers_keep_the_order_too(seed, peak_first):
    """A limit or a peak above the cost of energy is as good as alone, by prices in one solution."""
    f, fixed, rng = world(seed)
    by_name = rivals(rng, f.grid.n)
    first = by_name["peak" if peak_first else "limit"]
    alone = pursue(Ranked((first,), strict=True), f, fixed, NOW_S).table[0].reached
    got = pursue(Ranked((first, by_name["cost"])), f, fixed, NOW_S)
    assert got.table[0].reached <= alone + 1e-3 * max(1.0, alone)
    assert got.table[0].price > first.price * (1 - 1e-9)
    assert got.table[1].price == 1.0


def test_tiers_too_far_apart_for_prices_are_solved_in_turn():
    """Above a steep fairness three tiers would need prices of 1e7 and more: they are solved in turn."""
    f, fixed, rng = world(2)
    by_name = rivals(rng, f.grid.n)
    fair = FairShare({"a": ("sun0",), "b": ("sun1",)}, "injecting", 12.0)
    got = pursue(Ranked((by_name["limit"], by_name["peak"], fair, by_name["cost"])), f, fixed, NOW_S)
    alone = pursue(Ranked((by_name["limit"],), strict=True), f, fixed, NOW_S)
    assert got.weighed.strict
    assert not pursue(Ranked(tuple(by_name.values())), f, fixed, NOW_S).weighed.strict
    assert got.table[0].reached <= alone.table[0].reached + 1e-3


@settings(QUICK, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_the_cost_is_told_at_the_goals_own_prices(seed):
    """However tiers raise prices, the schedule's cost is that of the same goals unranked, or more."""
    f, fixed, rng = world(seed)
    goals = tuple(rivals(rng, f.grid.n).values())
    free = pursue(goals, f, fixed, NOW_S).schedule.cost
    for strict in (False, True):
        assert pursue(Ranked(goals, strict=strict), f, fixed, NOW_S).schedule.cost >= free - 1e-6


@pytest.mark.parametrize("kind", ["demand charge", "limit of the head", "ramp limit", "load shape", "event"])
def test_a_goal_without_a_price_changes_nothing(kind):
    """At price 0 the cost is that without the goal."""
    f, fixed, rng = world(7)
    cost = energy_cost(rng, f.grid.n)
    free = {"price": 0.0} | ({"rebound_price": 0.0} if kind == "event" else {})
    goal = replace(goal_of(kind, f, rng), **free)
    one, other = (pursue(g, f, fixed, NOW_S, MEMBERS).schedule.cost for g in ([cost], [cost, goal]))
    assert one == pytest.approx(other, abs=1e-7)


@settings(QUICK, max_examples=25)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_a_reserve_is_never_broken_where_it_can_be_reached(seed, share):
    """No price or limit takes energy that was to be kept; what is out of reach is said to the kWh."""
    f, fixed, rng = world(seed)
    held = f.x_hi_kwh[0, 0] - f.x_lo_kwh[0, 0]
    since = int(f.grid.edges_s[3])
    reserve = Reserve({"store0": share * held}, since)
    goals = [energy_cost(rng, f.grid.n), goal_of("limit of the head", f, rng), reserve]
    got = pursue(goals, f, fixed, NOW_S)
    assert not got.rejected
    floor = f.x_lo_kwh[0, 0] + share * held
    reach = 0.0
    for k in range(3):
        reach = min(reach + f.gain_down[0] * f.down_kw[0, k] * f.grid.hours[k], f.x_hi_kwh[0, 0])
    x = levels(f, got.schedule.p_kw)[0]
    assert x[3] >= min(floor, reach) - 1e-4
    assert got.reached("reserve").reached <= max(floor - reach, 0.0) + 1e-4
    assert got.reached("reserve").reached >= max(floor - reach, 0.0) - 1e-4


def test_prices_alone_are_ranked_too():
    """Goals that are only prices, in turn: carbon first emits as little as alone, at whatever cost."""
    f, fixed, rng = world(4)
    clean, cost = Carbon(rng.uniform(0, 1, f.grid.n), 0.05), energy_cost(rng, f.grid.n)
    alone = pursue(Ranked((clean,), strict=True), f, fixed, NOW_S).table[0].reached
    first = pursue(Ranked((clean, cost), strict=True), f, fixed, NOW_S)
    last = pursue(Ranked((cost, clean), strict=True), f, fixed, NOW_S)
    assert first.reached("carbon").reached == pytest.approx(alone, rel=1e-3, abs=0.01)
    assert last.reached("carbon").reached > alone + 0.1
    assert money_of(last, cost, f) < money_of(first, cost, f) - 0.1


def test_where_the_solver_finds_nothing_everybody_rests(monkeypatch):
    """No optimum is said as the first reason, with the solver's word; the table is empty."""
    f, fixed, rng = world(4)
    nothing = np.empty(0)
    failed = Solution("Time limit reached", float("nan"), nothing, nothing, nothing)
    monkeypatch.setattr("gridflock.plan.goals._pursue.solve", lambda _: failed)
    for strict in (False, True):
        got = pursue(Ranked((energy_cost(rng, f.grid.n),), strict=strict), f, fixed, NOW_S)
        np.testing.assert_array_equal(got.schedule.p_kw, f.base_kw)
        assert "Time limit reached" in got.schedule.reasons[0].row
        assert got.table == ()


def test_rows_that_give_way_are_reasons():
    """A limit that cannot hold is among the reasons of the schedule, by its goal's name, with its kW."""
    f, fixed, _ = world(1)
    got = pursue([PowerLimit(0.0, 0.0, name="island")], f, fixed - 100.0, NOW_S)
    gave = [r for r in got.schedule.reasons if r.row == "island" and r.slack_kw > 1.0]
    assert len(gave) == f.grid.n
    assert got.reached("island").reached == pytest.approx(sum(r.slack_kw for r in gave), rel=1e-6)
    with pytest.raises(KeyError):
        got.reached("mainland")


def test_the_voltage_wish_is_handed_on():
    """Lower voltage is worth load times factor times price; among the sums it changes nothing."""
    f, fixed, rng = world(1)
    cost = energy_cost(rng, f.grid.n)
    wish = VoltageReduction(0.97, 0.8, -100.0, 0.25)
    got = pursue([cost, wish], f, fixed, NOW_S)
    np.testing.assert_allclose(got.weighed.voltage[0].worth, 0.25 * 0.8 * 100.0 * f.grid.hours)
    assert got.weighed.voltage[0].target_v_pu == 0.97
    np.testing.assert_array_equal(got.schedule.p_kw, pursue([cost], f, fixed, NOW_S).schedule.p_kw)


def test_same_goals_same_bytes_and_a_table_to_read():
    """Planning twice gives the same schedule and the same table."""
    f, fixed, rng = world(5)
    goals = Ranked(tuple(rivals(rng, f.grid.n).values()), strict=True)
    one, other = (pursue(goals, f, fixed, NOW_S) for _ in range(2))
    assert one.schedule.p_kw.tobytes() == other.schedule.p_kw.tobytes()
    assert shown(one.table) == shown(other.table)
    lines = shown(one.table).splitlines()
    assert lines[0].split() == ["rank", "goal", "asked", "reached", "price"]
    assert [line.split()[1] for line in lines[1:]] == ["limit", "peak", "energy"]


def test_a_setting_counts_a_group_reached_twice_once():
    """A group named beside its transformer, or by two names, flows once."""
    f, fixed, _ = world(1)
    at = Setting(f, fixed, MEMBERS, NOW_S)
    assert at.shares(("T1", "store0")) == {"store0": 1.0, "store1": 1.0}
    assert at.shares(("phase a",)) == {"store0": 1 / 3, "store1": 1.0}
    assert at.strangers(("T1", "T2")) == ("T2",)
