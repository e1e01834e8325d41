"""Laws of conflicts: really conflicting, irreducible, none where everything can hold, never an exception."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridflock.model import Envelope, Flexibility
from gridflock.plan import Terms
from gridflock.plan._reason import HEAD
from gridflock.plan.conflict import conflicts
from gridflock.plan.direct._model import strained_stores
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
ENDLESS = np.inf
HOLDS_KWH = 1e-4
MATTERS_KWH = 0.05
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def terms_of(grid, limit_kw, **more):
    """Terms with the same limit on import and export, and a flat tariff."""
    price, limit = np.full(grid.n, 0.3), np.broadcast_to(np.asarray(limit_kw, dtype=float), (grid.n,)).copy()
    return Terms(
        **(
            {
                "import_price": price,
                "export_price": price / 3,
                "import_limit_kw": limit,
                "export_limit_kw": limit,
            }
            | more
        )
    )


@st.composite
def worlds(draw):
    """Batteries and vehicles that are owed energy, limits at the head and two envelopes of one pair."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n, g = draw(st.sampled_from([4, 8, 12])), draw(st.integers(1, 3))
    grid = TimeGrid.uniform(NOW_S, 1800, n)
    eta = rng.uniform(0.8, 1.0, g)
    held = rng.uniform(0, 8, (g, 1))
    lo = np.repeat(-held, n + 1, axis=1)
    hi = lo + rng.uniform(8, 20, (g, 1))
    due = rng.integers(1, n + 1, g)
    owed = (np.arange(n + 1) >= due[:, None]) & (rng.random((g, 1)) < 0.6)
    lo = np.where(owed, np.minimum(hi, lo + rng.uniform(0, 15, (g, 1))), lo)
    flexibility = Flexibility(
        grid,
        tuple(f"g{k}" for k in range(g)),
        np.zeros((g, n)),
        rng.uniform(0, 6, (g, n)),
        rng.uniform(2, 8, (g, n)),
        lo,
        hi,
        -1 / eta,
        eta,
        np.full(g, 0.01),
        np.full(g, 0.01),
    )
    low, high = np.sort(rng.normal(0, 6, 2))
    envelopes = (
        Envelope("pair", low, ENDLESS, "contract of the pair", int(grid.edges_s[rng.integers(1, n + 1)])),
        Envelope("g0", -ENDLESS, high, "transformer T1", grid.end_s),
    )
    terms = terms_of(
        grid, rng.uniform(0, 12), group_limits=envelopes, members={"pair": flexibility.groups[:2]}
    )
    return flexibility, rng.normal(-4, 5, n), terms


class Referee:
    """The wishes' problem by scipy, row by row, with slack only where a kept cell (row, verb, step) asks."""

    def __init__(self, f, fixed, terms, kept):
        self.f, self.fixed, self.terms, self.kept = f, fixed, terms, kept
        self.wide = len(f.groups) * f.grid.n
        self.cost = [0.0] * (2 * self.wide)
        self.rows, self.right = [], []

    def least(self):
        """Least kWh by which the kept cells give way, everything else let go."""
        strained = strained_stores(self.f)
        for t in range(self.f.grid.n):
            self.head(t)
            self.envelopes(t)
            for k in range(len(self.f.groups)):
                self.store(k, t, strained[k])
        matrix = np.zeros((len(self.rows), len(self.cost)))
        for r, (row, slack) in enumerate(self.rows):
            matrix[r, : 2 * self.wide] = row
            if slack is not None:
                matrix[r, slack] = -1.0
        most = [*self.f.up_kw.ravel(), *self.f.down_kw.ravel()]
        bounds = [(0, v) for v in most] + [(0, ENDLESS)] * (len(self.cost) - len(most))
        found = linprog(self.cost, matrix, self.right, bounds=bounds)
        assert found.status == 0, found.message
        return found.fun

    def held(self, cell, row, limit, weight):
        """``row @ z - slack <= limit`` where the cell is kept."""
        if cell in self.kept and np.isfinite(limit):
            self.cost.append(weight)
            self.rows.append((row, len(self.cost) - 1))
            self.right.append(limit)

    def power(self, groups, t, sign):
        """A row with the injection of some groups at a step."""
        row, n = np.zeros(2 * self.wide), self.f.grid.n
        for k in groups:
            row[k * n + t], row[self.wide + k * n + t] = sign, -sign
        return row

    def head(self, t):
        """Both limits at the head."""
        every, hour = range(len(self.f.groups)), self.f.grid.hours[t]
        demand = -(self.fixed[t] + self.f.base_kw[:, t].sum())
        limits = self.terms.import_limit_kw[t] - demand, self.terms.export_limit_kw[t] + demand
        self.held((HEAD[0], "", t), self.power(every, t, -1.0), limits[0], hour)
        self.held((HEAD[1], "", t), self.power(every, t, 1.0), limits[1], hour)

    def envelopes(self, t):
        """Both sides of every group limit."""
        for limit in self.terms.group_limits:
            name, hour = f"{limit.source} (limit of {limit.group})", self.f.grid.hours[t]
            names = self.terms.members.get(limit.group, (limit.group,))
            groups = [self.f.groups.index(m) for m in names]
            self.held((name, "at least", t), self.power(groups, t, -1.0), -limit.p_lo_kw, hour)
            self.held((name, "at most", t), self.power(groups, t, 1.0), limit.p_hi_kw, hour)

    def store(self, k, t, strained):
        """The band of a store at the end of a step."""
        f, n = self.f, self.f.grid.n
        level = np.zeros(2 * self.wide)
        level[k * n : k * n + t + 1] = f.gain_up[k] * f.grid.hours[: t + 1]
        level[self.wide + k * n : self.wide + k * n + t + 1] = f.gain_down[k] * f.grid.hours[: t + 1]
        floor, lo = f.x_lo_kwh[k].min(), f.x_lo_kwh[k, t + 1]
        owed = (f"energy owed to {f.groups[k]}", "", t)
        if lo > floor + 1e-9:
            self.held(owed, -level, -lo, 1.0)
        if strained:
            cell = (f"energy band of {f.groups[k]}", "", t)
            self.held(cell, level, f.x_hi_kwh[k, t + 1], 1.0)
            if lo <= floor + 1e-9:
                self.held(cell, -level, -lo, 1.0)
            return
        self.rows += [(level, None), (-level, None)]
        self.right += [f.x_hi_kwh[k, t + 1], -floor]


def least_slack(f, fixed, terms, kept):
    """Least kWh by which the kept cells give way, by an independent solver."""
    return Referee(f, fixed, terms, kept).least()


def cells_of(member, f):
    """Cells (row, verb, step) of a member of a conflict; what is owed stays owed while its level stays."""
    sides = [v for v in ("at most", "at least") if f": {v} " in member.wish and "(limit of" in member.row]
    verb, until = sides[0] if sides else "", member.until_step
    if member.row.startswith("energy owed to "):
        lo = f.x_lo_kwh[f.groups.index(member.row.removeprefix("energy owed to "))]
        while until < f.grid.n and lo[until + 1] == lo[until]:
            until += 1
    return {(member.row, verb, t) for t in range(member.first_step, until)}


def everything(f, terms):
    """All cells that can be asked for."""
    names = [(row, "") for row in HEAD]
    names += [
        (f"{limit.source} (limit of {limit.group})", v)
        for limit in terms.group_limits
        for v in ("at least", "at most")
    ]
    names += [(f"energy {kind} {group}", "") for group in f.groups for kind in ("owed to", "band of")]
    cells = {(row, verb, t) for row, verb in names for t in range(f.grid.n)}
    for limit in terms.group_limits:
        for t in np.flatnonzero(f.grid.starts_s >= limit.until_s):
            cells -= {(f"{limit.source} (limit of {limit.group})", v, t) for v in ("at least", "at most")}
    return cells


@QUICK
@given(worlds())
def test_a_conflict_is_real_and_irreducible(world):
    """By an independent solver: its members cannot all hold, and any one left out lets the rest hold."""
    f, fixed, terms = world
    for conflict in conflicts(*world):
        members = [cells_of(member, f) for member in conflict.members]
        assert least_slack(f, fixed, terms, set().union(*members)) > 0.9 * MATTERS_KWH
        for out in range(len(members)):
            rest = set().union(*members[:out], *members[out + 1 :])
            assert least_slack(f, fixed, terms, rest) <= 2 * HOLDS_KWH


@QUICK
@given(worlds())
def test_conflicts_are_told_just_where_wishes_clash(world):
    """None where an independent solver keeps every wish; at least one where they have to give much."""
    f, fixed, terms = world
    least = least_slack(f, fixed, terms, everything(f, terms))
    found = conflicts(*world)
    assert not found if least < 0.9 * MATTERS_KWH else found or least < 10 * MATTERS_KWH


@QUICK
@given(worlds())
def test_each_member_says_what_it_must_give(world):
    """Every side gives something if the others hold, and its costs are numbers."""
    for conflict in conflicts(*world):
        for member in conflict.members:
            assert member.gives_kwh > 0
            assert np.isfinite([member.costs, member.saves]).all()
            assert member.wish in conflict.text


@QUICK
@given(
    worlds(),
    st.sampled_from([np.nan, -1.0, ENDLESS, 1e9, 1e21, 1e300]),
    st.sampled_from(["up_kw", "x_lo_kwh", "gain_down", "fixed", "limit", "price"]),
)
def test_whatever_comes_in_there_is_an_answer(world, value, where):
    """Broken numbers never become an exception out of the search."""
    f, fixed, terms = world
    if where == "fixed":
        fixed = fixed.copy()
        fixed[0] = value
    elif where == "limit":
        terms = replace(terms, import_limit_kw=np.full(f.grid.n, value))
    elif where == "price":
        terms = replace(terms, import_price=np.full(f.grid.n, value))
    else:
        broken = getattr(f, where).copy()
        broken[0] = value
        f = replace(f, **{where: broken})
    assert isinstance(conflicts(f, fixed, terms), tuple)
    assert conflicts(f, fixed[:-1], terms) == ()


@QUICK
@given(worlds())
def test_the_same_question_has_the_same_answer(world):
    """Conflicts are a function of their input."""
    assert repr(conflicts(*world)) == repr(conflicts(*world))


def test_numbers_the_solver_takes_for_endless_are_an_answer_not_a_crash():
    """A store that is owed 1e21 kWh: said that nothing was found, and the process lives."""
    rows, edges, one = np.ones((1, 4)), np.ones((1, 5)), np.ones(1)
    owed, full = -2 * edges, np.full((1, 5), ENDLESS)
    owed[0, 3] = 1e21
    f = Flexibility(
        TimeGrid.uniform(NOW_S, 900, 4), ("b",), 0 * rows, rows, rows, owed, full, -one, one, 0 * one, 0 * one
    )
    (conflict,) = conflicts(f, -12 * rows[0], terms_of(f.grid, 5.0))
    assert not conflict.members
    assert "not found" in conflict.text


@pytest.mark.parametrize(("owed_kwh", "told"), [(300.2, False), (300.5, True), (0.56, True), (0.53, False)])
def test_a_clash_that_is_small_beside_the_wishes_is_not_told(owed_kwh, told):
    """A store that can draw 300 kWh, or half a kWh, in time: 0.1 % of it, or 0.05 kWh, may lack."""
    kw = 300.0 if owed_kwh > 1 else 0.5
    rows, edges, one = np.ones((1, 4)), np.ones((1, 5)), np.ones(1)
    lo = np.where(np.arange(5) < 4, 0.0, owed_kwh)[None]
    f = Flexibility(
        TimeGrid.uniform(NOW_S, 900, 4),
        ("b",),
        0 * rows,
        0 * rows,
        kw * rows,
        lo,
        1e3 * edges,
        -one,
        one,
        0 * one,
        0 * one,
    )
    assert bool(conflicts(f, 0 * rows[0], terms_of(f.grid, ENDLESS))) == told
