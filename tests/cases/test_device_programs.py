"""Devices given as linear programs against programs solved afresh."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from gridflock.plan.devices import Program, Programs, Question

STEPS = 5


def program(rng, name, variables=8, rows=5):
    """A random program with bounds, equal and open rows around a point, and some of its cost 0."""
    inside = rng.uniform(-1.0, 1.0, variables)
    matrix = rng.normal(0.0, 1.0, (rows, variables)) * (rng.random((rows, variables)) < 0.6)
    at, width = matrix @ inside, rng.choice([0.0, 0.5, np.inf], (2, rows), p=[0.2, 0.5, 0.3])
    return Program(
        name=name,
        cost=rng.normal(0.0, 1.0, variables) * (rng.random(variables) < 0.8),
        lo=inside - rng.uniform(0.0, 2.0, variables),
        hi=inside + rng.uniform(0.0, 2.0, variables),
        matrix=sparse.csr_array(matrix),
        row_lo=at - width[0],
        row_hi=at + width[1],
        power=sparse.csr_array(
            rng.normal(0.0, 1.0, (STEPS, variables)) * (rng.random((STEPS, variables)) < 0.5)
        ),
        base_kw=rng.normal(0.0, 1.0, STEPS),
    )


def best(of, cost):
    """Least of a linear cost over the device's set, by a fresh solve."""
    equal = of.row_lo == of.row_hi
    rows = of.matrix.toarray()
    upper, lower = ~equal & np.isfinite(of.row_hi), ~equal & np.isfinite(of.row_lo)
    found = linprog(
        cost,
        A_ub=np.vstack([rows[upper], -rows[lower]]),
        b_ub=np.concatenate([of.row_hi[upper], -of.row_lo[lower]]),
        A_eq=rows[equal],
        b_eq=of.row_lo[equal],
        bounds=np.column_stack([of.lo, of.hi]),
    )
    assert found.status == 0
    return found.fun


def devices(seed, count, groups):
    """Random programs in groups of unequal size."""
    rng = np.random.default_rng(seed)
    made = [program(rng, f"d{k}") for k in range(count)]
    cuts = np.sort(rng.integers(0, count + 1, groups - 1)) if groups < count else np.arange(1, count)
    start = np.concatenate([[0], cuts, [count]]).astype(np.int64)
    return rng, made, Programs(rng.choice([0.25, 1.0], STEPS), start, made)


def test_a_thousand_answers_are_best_however_often_asked():
    """250 programs at four prices in turn, each from the vertex before: a fresh solve agrees."""
    rng, made, of = devices(51, 250, 250)
    for _ in range(4):
        price = rng.normal(0.1, 0.5, (250, STEPS))
        answer = of.respond(Question(price, 0.0))
        value = answer.cost - (answer.p_kw * price) @ of.hours
        for k, each in enumerate(made):
            worth = price[k] * of.hours
            least = best(each, each.cost - each.power.T @ worth) - worth @ each.base_kw
            assert abs(value[k] - least) <= 1e-7 * max(1.0, abs(least))


def test_schedules_are_those_that_were_answered():
    """Ties and all: after other questions the schedules still add up to the answer of the first."""
    rng, _, of = devices(52, 60, 7)
    first = Question(np.zeros((7, STEPS)), 0.0)
    answer = of.respond(first)
    for _ in range(3):
        of.respond(Question(rng.normal(0.1, 0.5, (7, STEPS)), 0.0))
    total = np.zeros((60, STEPS), dtype=np.float32)
    of.add_schedules(first, np.full(7, 0.25), total)
    of.add_schedules(first, np.full(7, 0.75), total)
    sums = [total[a:b].sum(axis=0) for a, b in zip(of.start[:-1], of.start[1:], strict=True)]
    np.testing.assert_allclose(sums, answer.p_kw, atol=1e-4)
    assert of.thinned(3).members == of.thinned(3).start[-1]


def test_a_proximal_answer_meets_the_conditions_of_its_optimum():
    """At the answer no point of the set lies downhill: a linear program over the slope there finds none."""
    rng, made, of = devices(53, 100, 100)
    for pull in (0.05, 0.05, 2.0):
        price, target = rng.normal(0.1, 0.5, (100, STEPS)), rng.normal(0.0, 3.0, (100, STEPS))
        p, cost = of.nearest(price, target, pull)
        for k, each in enumerate(made):
            slope = pull * (p[k] - target[k]) - price[k] * of.hours
            least = best(each, each.cost + each.power.T @ slope)
            here = cost[k] + slope @ (p[k] - each.base_kw)
            assert here - least <= 1e-6 * max(1.0, abs(least))
            assert here - least >= -1e-6 * max(1.0, abs(least))


def test_a_program_without_a_point_is_named_and_does_not_answer():
    """Its group has no cost, the other groups have theirs."""
    rng = np.random.default_rng(54)
    good, bad = program(rng, "good"), program(rng, "bad")
    rows = sparse.csr_array(np.ones((2, 8)))
    bad = Program(
        "bad",
        bad.cost,
        bad.lo,
        bad.hi,
        rows,
        np.array([0.0, 1.0]),
        np.array([0.0, 1.0]),
        bad.power,
        bad.base_kw,
    )
    of = Programs(np.ones(STEPS), np.array([0, 1, 2]), [good, bad])
    assert [(r.ids, r.field) for r in of.rejected()] == [(("bad",), "matrix")]
    assert np.isnan(of.respond(Question(np.zeros((2, STEPS)), 0.0)).cost).tolist() == [False, True]


def test_a_price_that_is_no_number_gets_no_answer():
    """And spoils none: the next sound price is answered as before."""
    rng, _, of = devices(56, 5, 5)
    sound = Question(rng.normal(0.1, 0.5, (5, STEPS)), 0.0)
    before = of.respond(sound)
    assert np.isnan(of.respond(Question(np.full((5, STEPS), np.nan), 0.0)).cost).all()
    nothing, target = np.full((5, STEPS), np.nan), np.zeros((5, STEPS))
    near = of.nearest(sound.price, target, 0.1)[1]
    assert np.isnan(of.nearest(nothing, target, 0.1)[1]).all()
    np.testing.assert_allclose(of.nearest(sound.price, target, 0.1)[1], near)
    assert (of.respond(sound).cost == before.cost).all()
    fresh = Question(sound.price + 1e-9, 0.0)
    np.testing.assert_allclose(of.respond(fresh).cost, before.cost, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lo": np.zeros(3)}, "lo"),
        ({"lo": np.full(8, 9.0)}, "lo"),
        ({"cost": np.full(8, np.nan)}, "cost"),
        ({"base_kw": np.zeros(STEPS + 1)}, "base_kw"),
        ({"row_hi": np.full(5, np.nan)}, "row_lo"),
    ],
)
def test_what_cannot_be_a_program_is_named(change, field):
    """Shape, order and numbers, by field; a sound one has no faults."""
    of = program(np.random.default_rng(55), "a boiler")
    assert of.faults(STEPS) == ()
    wrong = Program(**{n: getattr(of, n) for n in Program.__slots__} | change)
    faults = wrong.faults(STEPS)
    assert [f.field for f in faults] == [field]
    assert faults[0].ids == ("a boiler",)
