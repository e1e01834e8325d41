"""Suns and winds against a cone program by Clarabel: the disc of an inverter, and what is best inside it."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from gridflock.plan.devices import Question, Sources, onto_disc, room_kvar
from gridflock.plan.devices._disc import best_point

STEPS = 8
TOLERANCES = ("tol_gap_abs", "tol_gap_rel", "tol_feas")


def sources(rng, m, groups=None):
    """Random sources: shares from none to the whole rating, some steps above the rating, some dark."""
    s = rng.uniform(1.0, 10.0, m)
    available = s[:, None] * rng.uniform(0.0, 1.2, (m, STEPS)) * (rng.random((m, STEPS)) < 0.9)
    cuts = np.sort(rng.integers(0, m + 1, (groups or m) - 1)) if groups else np.arange(1, m)
    return Sources(
        hours=rng.choice([0.25, 0.5, 1.0], STEPS),
        start=np.concatenate([[0], cuts, [m]]),
        available_kw=available,
        s_kva=s,
        share=rng.choice([0.0, 0.44, 0.8, 1.0], m),
        curtail_price=rng.choice([0.0, 0.02, 0.1], m),
    )


def allowed(p, q, lo, hi, s, share):
    """The inverters' sets as cone constraints, one per point."""
    return [p >= lo, p <= hi, cp.abs(q) <= share * s, cp.SOC(s, cp.vstack([p, q]), axis=0)]


def by_clarabel(objective, constraints, sharp=1e-11):
    """Solve to so many digits."""
    problem = cp.Problem(objective, constraints)
    problem.solve(solver=cp.CLARABEL, **dict.fromkeys(TOLERANCES, sharp))
    assert problem.status == "optimal"


def points(rng, n):
    """Random sets: bounds on both sides of zero, or all on one."""
    s, share = rng.uniform(0.5, 10.0, n), rng.choice([0.0, 0.3, 0.44, 1.0], n)
    lo, hi = np.sort(rng.uniform(-1.0, 1.0, (2, n)), axis=0) * s
    across = rng.random(n) < 0.6
    return np.where(across, -np.abs(lo), lo), np.where(across, np.abs(hi), hi), s, share


def excess(p, q, lo, hi, s, share):
    """By how much points break their sets."""
    return max(np.max(lo - p), np.max(p - hi), np.max(np.abs(q) - share * s), np.max(np.hypot(p, q) - s))


@pytest.mark.parametrize("uneven", [False, True])
def test_a_thousand_points_come_back_to_the_nearest_of_their_discs(uneven):
    """Position and distance agree with the cone program to 1e-6 of the rating, for equal and uneven pulls."""
    rng = np.random.default_rng(11 + uneven)
    lo, hi, s, share = points(rng, 1000)
    x, y = rng.normal(0.0, 1.5, (2, 1000)) * s
    pull_p, pull_q = (rng.uniform(0.1, 3.0, (2, 1000))) if uneven else np.ones((2, 1000))
    sides = [side[:, None] for side in (x, y, lo, hi)]
    p, q = (found[:, 0] for found in onto_disc(*sides, s, share, (pull_p, pull_q)))
    assert excess(p, q, lo, hi, s, share) <= 1e-12
    a, b = cp.Variable(1000), cp.Variable(1000)
    far = cp.sum(cp.multiply(pull_p / s**2, (a - x) ** 2) + cp.multiply(pull_q / s**2, (b - y) ** 2))
    by_clarabel(cp.Minimize(far), allowed(a, b, lo, hi, s, share))
    ours = pull_p * (p - x) ** 2 + pull_q * (q - y) ** 2
    theirs = pull_p * (a.value - x) ** 2 + pull_q * (b.value - y) ** 2
    assert np.max((ours - theirs) / s**2) <= 1e-8
    assert np.max(np.hypot(p - a.value, q - b.value) / s) <= 1e-6


def test_no_allowed_point_lies_beyond_the_nearest_one():
    """Sizes, pulls and distances over many decades: the line across the answer has the set behind it."""
    rng = np.random.default_rng(17)
    n = 10_000
    lo, hi, _, share = points(rng, n)
    size, far = 10.0 ** rng.uniform(-3.0, 3.0, n), 10.0 ** rng.uniform(-2.0, 6.0, (2, n))
    s = np.maximum(np.maximum(np.abs(lo), np.abs(hi)), 0.5) * size
    lo, hi = lo * size, hi * size
    x, y = rng.normal(0.0, 1.0, (2, n)) * s * far * (rng.random((2, n)) < 0.9)
    pull = tuple(10.0 ** rng.uniform(-4.0, 4.0, (2, n)))
    p, q = (found[:, 0] for found in onto_disc(*(v[:, None] for v in (x, y, lo, hi)), s, share, pull))
    assert excess(p / s, q / s, lo / s, hi / s, 1.0, share) <= 1e-15
    slope = np.array([pull[0] * (x - p), pull[1] * (y - q)])
    ends = np.array([best_point(*each) for each in zip(*slope, lo, hi, s, share * s, strict=True)]).T
    beyond = (slope * (ends - [p, q])).sum(axis=0)
    assert np.max(beyond / np.maximum(np.hypot(*slope) * s, 1e-300)) <= 1e-14


def test_a_thousand_best_points_are_worth_most():
    """Worth at random prices of both, some of them nothing, agrees with the cone program to 1e-6."""
    rng = np.random.default_rng(12)
    of = sources(rng, 125)
    price, price_q = (rng.normal(0.05, 0.2, (125, STEPS)) * (rng.random((125, STEPS)) < 0.9) for _ in "pq")
    p, q = of.best_both(price, price_q)
    rating = np.repeat(of.s_kva, STEPS)
    share, reach = np.repeat(of.share, STEPS), np.minimum(of.available_kw.ravel(), rating)
    assert excess(p.ravel(), q.ravel(), 0.0, reach, rating, share) <= 1e-12
    worth, worth_q = (price + of.curtail_price[:, None]).ravel(), price_q.ravel()
    a, b = cp.Variable(1000), cp.Variable(1000)
    limits = allowed(a, b, 0.0, reach, rating, share)
    by_clarabel(cp.Maximize(worth @ a + worth_q @ b), limits, 1e-9)
    ours, theirs = worth * p.ravel() + worth_q * q.ravel(), worth * a.value + worth_q * b.value
    assert np.max(np.abs(ours - theirs)) <= 1e-6


def test_a_proximal_answer_is_best_under_its_own_cost():
    """Own cost less worth plus the pull to a target: no other allowed point costs less (Clarabel)."""
    rng = np.random.default_rng(13)
    of = sources(rng, 125)
    shape = (125, STEPS)
    price, price_q = rng.normal(0.05, 0.2, (2, *shape))
    target, target_q = rng.normal(0.0, 1.0, (2, *shape)) * of.s_kva[:, None]
    pull, pull_q = rng.uniform(0.01, 0.5, (2, 125))
    p, q = of.nearest_both(price, price_q, target, target_q, pull, pull_q)

    def cost(a, b, power=lambda z: z**2):
        worth = (price + of.curtail_price[:, None]) * of.hours
        away = 0.5 * pull[:, None] * np.ones(STEPS), 0.5 * pull_q[:, None] * np.ones(STEPS)
        away = cp.multiply(away[0], power(a - target)) + cp.multiply(away[1], power(b - target_q))
        return away - cp.multiply(worth, a) - cp.multiply(price_q * of.hours, b)

    a, b = cp.Variable(shape), cp.Variable(shape)
    rating = of.s_kva[:, None] * np.ones(STEPS)
    reach = np.minimum(of.available_kw, rating)
    flat = [part.ravel() for part in (rating, np.repeat(of.share[:, None], STEPS, 1))]
    limits = allowed(cp.vec(a, order="C"), cp.vec(b, order="C"), 0.0, reach.ravel(), *flat)
    by_clarabel(cp.Minimize(cp.sum(cost(a, b, cp.square))), limits)
    assert excess(p.ravel(), q.ravel(), 0.0, reach.ravel(), *flat) <= 1e-12
    ours, theirs = cost(p, q).value, cost(a.value, b.value).value
    assert np.max(ours - theirs) <= 1e-6


def test_answers_are_what_is_available_or_nothing():
    """By group: the sum, and own cost only of what is held back; schedules add up to the answer."""
    rng = np.random.default_rng(14)
    of = sources(rng, 60, groups=7)
    price = rng.normal(0.0, 0.08, (7, STEPS))
    answer = of.respond(Question(price, 0.0))
    of_group = np.repeat(np.arange(7), np.diff(of.start))
    reach = np.minimum(of.available_kw, of.s_kva[:, None])
    gives = reach * (price[of_group] + of.curtail_price[:, None] >= 0.0)
    cost = of.curtail_price * ((reach - gives) @ of.hours)
    np.testing.assert_allclose(answer.cost, np.bincount(of_group, cost, 7), atol=1e-12)
    np.testing.assert_allclose(answer.p_kw, [gives[of_group == g].sum(axis=0) for g in range(7)], atol=1e-12)
    assert not answer.epsilon.any()
    total = np.zeros((60, STEPS), dtype=np.float32)
    of.add_schedules(Question(price, 0.0), np.full(7, 1.0), total)
    np.testing.assert_allclose(total, gives, atol=1e-5)
    assert of.thinned(2).members == of.thinned(2).start[-1]


def test_rows_answer_prices_and_pulls_of_their_own():
    """Active power alone is the same as both where reactive power is worth nothing and there is no share."""
    rng = np.random.default_rng(15)
    of = sources(rng, 200)
    of = replace(of, share=np.zeros(200))
    price, target = rng.normal(0.0, 0.1, (200, STEPS)), rng.normal(2.0, 3.0, (200, STEPS))
    nothing, pull = np.zeros((200, STEPS)), rng.uniform(0.01, 0.5, 200)
    p, cost = of.respond_rows(price)
    np.testing.assert_allclose(p, of.best_both(price, nothing)[0], atol=1e-12)
    np.testing.assert_allclose(p, of.respond(Question(price, 0.0)).p_kw, atol=1e-12)
    np.testing.assert_allclose(cost, of.respond(Question(price, 0.0)).cost, atol=1e-12)
    p, cost = of.nearest(price, target, pull)
    np.testing.assert_allclose(p, of.nearest_both(price, nothing, target, nothing, pull, pull)[0], atol=1e-12)
    spilt = np.minimum(of.available_kw, of.s_kva[:, None]) - p
    np.testing.assert_allclose(cost, of.curtail_price * (spilt @ of.hours), atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value", "ids"),
    [
        ("available_kw", [[-1.0] * STEPS] * 2 + [[1.0] * STEPS], ("a", "b")),
        ("available_kw", [[1.0] * STEPS] * 2 + [[np.inf] * STEPS], ("c",)),
        ("s_kva", [1.0, np.nan, 1.0], ("b",)),
        ("share", [0.4, 0.4, 1.4], ("c",)),
        ("curtail_price", [0.4, np.inf, 1.4], ("b",)),
        ("s_kva", [1.0, 1.0], ()),
    ],
)
def test_columns_that_break_a_rule_are_named(field, value, ids):
    """Field and sources, nothing else; a sound set has no refusals."""
    of = sources(np.random.default_rng(16), 3)
    assert of.rejected("abc") == ()
    wrong = replace(of, **{field: np.array(value)})
    (refused,) = wrong.rejected("abc")
    assert (refused.field, refused.ids, refused.count) == (field, ids, max(len(ids), 1))


def test_reactive_room_shrinks_to_nothing_at_the_rating():
    """0.44 of the rating while the disc leaves it, then what is left of the disc, then nothing."""
    p = np.array([[0.0, 8.0, -9.5, 10.0, 12.0]])
    room = room_kvar(p, np.array([10.0]), np.array([0.44]))
    np.testing.assert_allclose(room, [[4.4, 4.4, np.sqrt(100 - 9.5**2), 0.0, 0.0]])
