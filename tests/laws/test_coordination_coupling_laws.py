"""Laws of what couples groups (coefficients, ramps, demand charges, premiums), and of bad problems."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.coordination import coordinate
from gridflock.plan.coordination._check import check
from gridflock.plan.coordination._recover import recover

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("coordination_world")
coupled, referee, run = here.coupled, here.referee, here.run

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.booleans())
@settings(max_examples=8)
def test_every_coupling_is_that_of_one_program(seed, by_step):
    """With coefficients, ramps, a peak and premiums: bound <= optimum of the whole <= cost, and they meet."""
    of = coupled(seed, by_step=by_step)
    best = referee(of)
    coordinator = run(of, 400, target=1e-3)
    status = coordinator.status()
    tolerance = 1e-6 * max(abs(best), 1.0)
    assert status.done
    assert status.bound <= best + tolerance
    assert best <= status.cost + tolerance


@given(SEEDS, st.integers(1, 12))
@settings(max_examples=6)
def test_coupled_plans_are_true_at_any_moment(seed, rounds):
    """Stopped early the bound is below the optimum, the cost above it, duals keep their prices."""
    of = coupled(seed)
    best = referee(of)
    plan = run(of, rounds, target=0.0).plan()
    tolerance = 1e-6 * max(abs(best), 1.0)
    assert plan.status.bound <= best + tolerance
    assert best <= plan.status.cost + tolerance
    rows = of.problem.rows
    assert (plan.dual >= 0.0).all()
    assert (plan.dual <= rows.most * (1 + 1e-9)).all()
    peak = rows.peak
    assert (plan.dual[peak].sum(axis=1) <= rows.most[peak].max(axis=1) * (1 + 1e-9)).all()


@given(SEEDS)
@settings(max_examples=6)
def test_the_peak_paid_for_is_the_peak_there_is(seed):
    """The slack of a demand charge is the largest net import less what is paid already."""
    of = coupled(seed)
    plan = run(of, 60, target=0.002).plan()
    peaks, rows = of.problem.peaks, of.problem.rows
    net = peaks.fixed_kw[0] + plan.p_kw[peaks.groups[0]].sum(axis=0)
    above = max(float((-net - peaks.paid_kw[0]).max()), 0.0)
    assert plan.slack_kw[rows.peak] == pytest.approx(np.full((1, len(net)), above), abs=1e-6)
    got = recover(of.problem, of.oracles, plan)
    assert got.violations == 0
    assert got.cost == pytest.approx(plan.status.cost, rel=1e-3, abs=1e-3)


def test_pull_is_the_activity_transposed():
    """What duals add to the worth of power is what power brings to the rows."""
    rng = np.random.default_rng(7)
    for by_step in (False, True):
        rows = coupled(3, by_step=by_step).problem.rows
        dual = rng.uniform(0.0, 1.0, rows.need_kw.shape)
        p_kw = rng.normal(0.0, 5.0, (rows.matrix.shape[1], rows.need_kw.shape[1]))
        left, right = (dual * rows.activity(p_kw)).sum(), (rows.pull(dual) * p_kw).sum()
        assert left == pytest.approx(right, rel=1e-12)
        sums = np.zeros_like(rows.need_kw)
        np.add.at(sums, rows.row, rows.terms(p_kw))
        assert sums == pytest.approx(rows.activity(p_kw), abs=1e-9)


@given(SEEDS)
@settings(max_examples=40)
def test_projection_is_the_nearest_point(seed):
    """Projected duals keep their box and the peaks' prices, and no allowed point is nearer."""
    rows = coupled(1).problem.rows
    rng = np.random.default_rng(seed)
    wild = rng.normal(0.0, 1.0, rows.need_kw.shape)
    near = rows.projected(wild)
    other = rows.projected(rng.uniform(0.0, 1.0, wild.shape) * rows.most)
    assert (near >= 0.0).all()
    assert (near <= rows.most + 1e-12).all()
    assert near[rows.peak].sum() <= rows.most[rows.peak].max() + 1e-9
    assert ((wild - near) * (other - near)).sum() <= 1e-9


def broken(problem, part, field, change):
    """The problem with one field of one of its parts changed."""
    if part is None:
        return replace(problem, **{field: change(getattr(problem, field))})
    of = getattr(problem, part)
    return replace(problem, **{part: replace(of, **{field: change(getattr(of, field))})})


def at(value, row=0):
    """Put a value into the first cell of a row."""

    def change(old):
        new = np.array(old, dtype=np.float64)
        new[(row, *[0] * (new.ndim - 1))] = value
        return new

    return change


FAULTS = [
    (None, "price", at(np.nan), "problem", "finite"),
    (None, "price", at(-np.inf), "problem", "finite"),
    (None, "price", lambda p: p[:-1], "problem", "shape"),
    (None, "premium", at(np.nan), "problem", "finite"),
    (None, "hours", lambda _: np.zeros(0), "problem", "empty horizon"),
    (None, "hours", at(0.0), "problem", "> 0"),
    (None, "groups", lambda _: 0, "problem", "at least one group"),
    ("limits", "floor_kw", at(np.nan), "limit", "number"),
    ("limits", "ceiling_kw", at(-1e6), "limit", "<= ceiling_kw"),
    ("limits", "fixed_kw", at(np.nan), "limit", "finite"),
    ("limits", "fixed_kw", lambda f: f[:, :-1], "limit", "shape"),
    ("limits", "slack_price", at(-1.0), "limit", ">= 0"),
    ("limits", "groups", lambda g: (np.array([99]), *g[1:]), "limit", "rows below"),
    ("limits", "groups", lambda g: g[1:], "limit", "names"),
    ("limits", "coefficient", lambda c: (np.ones(9), *c[1:]), "limit", "one for each group"),
    ("ramps", "most_kw", at(-1.0), "ramp", ">= 0"),
    ("ramps", "before_kw", at(np.inf), "ramp", "NaN"),
    ("ramps", "coefficient", lambda _: (np.ones(1),) * 99, "ramp", "names"),
    ("peaks", "paid_kw", at(np.nan), "peak", ">= 0"),
    ("peaks", "counted", lambda _: np.ones((1, 99), dtype=bool), "peak", "shape"),
    ("peaks", "coefficient", lambda _: (np.full(99, np.nan),), "peak", "one for each group"),
    ("peaks", "price", at(-2.0), "peak", ">= 0"),
    (None, "hours", at(1e300), "problem", "at most 1e+12"),
    (None, "price", at(-1e300), "problem", "at most 1e+12"),
    ("limits", "fixed_kw", at(-1e300), "limit", "at most 1e+12"),
    ("limits", "slack_price", at(1e300), "limit", "at most 1e+12"),
    ("limits", "coefficient", lambda c: (c[0] * 1e300, *c[1:]), "limit", "at most 1e+12"),
    ("ramps", "before_kw", at(1e300), "ramp", "at most 1e+12"),
    ("ramps", "slack_price", at(1e300), "ramp", "at most 1e+12"),
    ("peaks", "paid_kw", at(1e300), "peak", "at most 1e+12"),
    ("peaks", "price", at(1e300), "peak", "at most 1e+12"),
]


@pytest.mark.parametrize(("part", "field", "change", "component", "rule"), FAULTS)
def test_bad_problems_are_named(part, field, change, component, rule):
    """Each broken rule comes back as a value with component, field and rule; the whole one has none."""
    of = coupled(2)
    assert check(of.problem, of.oracles) == ()
    found = check(broken(of.problem, part, field, change))
    assert any(
        fault.component == component and rule in fault.reason and (fault.field in {field, "floor_kw"})
        for fault in found
    )


@pytest.mark.parametrize("value", [1e300, 9e11])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("part", "field"),
    [
        (None, "price"),
        ("limits", "fixed_kw"),
        ("limits", "floor_kw"),
        ("limits", "slack_price"),
        ("ramps", "most_kw"),
        ("ramps", "slack_price"),
        ("peaks", "price"),
        ("peaks", "paid_kw"),
    ],
)
def test_absurd_numbers_are_planned_with_or_named(part, field, sign, value):
    """Whatever finite number a problem holds, there is a plan or the fault, and never an exception."""
    of, left = coupled(2, ders=4), iter(range(5))
    problem = broken(of.problem, part, field, at(sign * value))
    done = coordinate(problem, of.oracles, go_on=lambda: next(left, None) is not None)
    assert (done.plan is None) == bool(done.rejected)
    assert done.plan is None or np.isfinite(done.plan.status.cost)


def test_a_limit_beyond_all_numbers_is_endless():
    """A floor of -1e300 kW is planned with as none."""
    of = coupled(2)
    far, none = (
        broken(of.problem, "limits", "floor_kw", lambda f, edge=edge: np.full_like(f, edge))
        for edge in (-1e300, -np.inf)
    )
    assert far.rows.names == none.rows.names
    assert (far.rows.need_kw == none.rows.need_kw).all()


def test_groups_without_a_first_answer_are_named():
    """Stores whose own numbers are none answer nothing: no plan, and which groups they are."""
    of = coupled(2)
    (stores,) = of.oracles
    wear = stores.wear.copy()
    wear[0] = np.nan
    done = coordinate(of.problem, (replace(stores, wear=wear),))
    (fault,) = done.rejected
    assert done.plan is None
    assert fault.ids == ("group 0",)


def test_a_fault_names_its_limits():
    """The names of the limits at fault, and how many they are."""
    of = coupled(2)
    limits = of.problem.limits
    floors = np.where(np.isfinite(limits.floor_kw), limits.floor_kw, -1.0)
    problem = replace(of.problem, limits=replace(limits, floor_kw=floors, ceiling_kw=floors - 1.0))
    (fault,) = check(problem)
    assert fault.ids == limits.names
    assert fault.count == len(limits.names)


def test_negative_prices_are_no_fault():
    """A price below nothing is a price; only what is no number is refused."""
    of = coupled(4)
    problem = replace(of.problem, price=-np.abs(of.problem.price))
    assert check(problem) == ()
    plan = run(replace(of, problem=problem), 60, target=0.005).plan()
    assert plan.status.bound <= plan.status.cost
