"""One answer each for those that cannot mix: against every choice there is, and after a coordinated plan."""

import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from gridflock.plan.coordination import Coordinator, Limits, Peaks, Problem, Ramps, answered
from gridflock.plan.devices.whole import pick_whole

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("units_world")

STEPS = 4


def rows_of(rng, groups):
    """Floors, a ceiling, a ramp and a demand charge on random groups."""
    edges = rng.uniform(-15.0, 15.0, (2, STEPS))
    some = [np.flatnonzero(rng.random(groups) < 0.7) for _ in range(4)]
    none = np.zeros((2, STEPS))
    limits = Limits(
        ("a", "b"),
        (some[0], some[1]),
        none,
        np.stack([edges[0], np.full(STEPS, -np.inf)]),
        np.stack([np.where(rng.random(STEPS) < 0.5, np.inf, 30.0), edges[1] + 10.0]),
        rng.choice([0.3, 5.0], 2),
    )
    ramps = Ramps(("r",), (some[2],), none[:1], np.array([4.0]), np.full((1, STEPS), 6.0), np.array([0.4]))
    peaks = Peaks(("p",), (some[3],), none[:1] - 25.0, np.array([3.0]), np.array([2.0]))
    return Problem(np.full(STEPS, 0.5), np.full(STEPS, 0.1), groups, limits, ramps, peaks).rows


def answers(rng, rounds, groups):
    """Answers of some rounds, a few missing, some the same; rows over some of two groups more."""
    p_kw = rng.uniform(0.0, 10.0, (rounds, groups, STEPS)) * (rng.random((rounds, groups, 1)) < 0.8)
    p_kw[rounds // 2] = p_kw[0]
    cost = p_kw.sum(axis=2) * 0.1 + rng.uniform(0.0, 1.0, (rounds, groups))
    there = rng.random((rounds, groups)) < 0.8
    there[0] = True
    others = np.zeros((groups + 2, STEPS))
    others[[0, 3]] = rng.uniform(-5.0, 5.0, (2, STEPS))
    asked = np.delete(np.arange(groups + 2), [0, 3])
    return p_kw, cost, there, rows_of(rng, groups + 2), asked, others


def priced(p_kw, cost, rows, asked, others):
    """Cost of one mix of answers, slack included."""
    every = others.copy()
    every[asked] = p_kw
    return cost + rows.slack_cost(rows.slack(rows.short(every)))


def test_the_choice_is_the_best_of_all():
    """120 random sets of answers below limits, ramps and peaks: no other choice of one each costs less."""
    rng = np.random.default_rng(41)
    for _ in range(120):
        p_kw, cost, there, *coupling = answers(rng, 5, 4)
        picked = pick_whole(p_kw, cost, there, np.ones(4, bool), *coupling)
        every = itertools.product(*(np.flatnonzero(there[:, g]) for g in range(4)))
        at = np.arange(4)
        best = min(priced(p_kw[k, at], cost[k, at].sum(), *coupling) for k in map(list, every))
        assert picked.cost == pytest.approx(best, abs=1e-7)
        assert picked.least <= picked.cost <= picked.least + 1e-6 * max(1.0, abs(best))
        assert set(np.unique(picked.weight)) <= {0.0, 1.0}
        assert (picked.weight.sum(axis=0) == 1.0).all()
        assert not picked.weight[~there].any()
        assert priced(picked.p_kw, (picked.weight * cost).sum(), *coupling) == pytest.approx(picked.cost)


def test_groups_that_mix_go_on_mixing():
    """With some groups free to mix the choice costs no more than whole, and no less than all mixed."""
    rng = np.random.default_rng(42)
    for _ in range(60):
        given = answers(rng, 5, 4)
        some = np.array([True, True, False, False])
        who = (~(some | True), some, some | True)
        mixed, part, whole = (pick_whole(*given[:3], each, *given[3:]).cost for each in who)
        assert mixed <= part + 1e-7 <= whole + 2e-7


def test_without_branches_there_is_still_a_choice():
    """However early the search ends, each group has one of its answers and the cost is that choice's."""
    rng = np.random.default_rng(43)
    p_kw, cost, there, *coupling = answers(rng, 30, 25)
    picked = pick_whole(p_kw, cost, there, np.ones(25, bool), *coupling, nodes=0)
    assert (picked.weight.max(axis=0) == 1.0).all()
    assert priced(picked.p_kw, (picked.weight * cost).sum(), *coupling) == pytest.approx(picked.cost)
    assert picked.least <= picked.cost


def together(of, price, limits, most):
    """Least cost of three units' schedules below a ceiling, by trying all of them together."""
    (a, at_a), (b, at_b), (c, at_c) = (here.everything(of, k, price) for k in range(3))
    best = np.inf
    for p, cost in zip(a, at_a, strict=True):
        over = np.maximum(p + b[:, None] + c[None] - limits, 0.0) @ (most * of.hours)
        best = min(best, float((cost + at_b[:, None] + at_c + over).min()))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_the_gap_holds_against_the_best_of_whole_units(seed):
    """Units below a limit: bound <= the best whole schedules <= the choice <= bound + the stated gap."""
    rng = np.random.default_rng(seed)
    of = here.units(rng, 3, STEPS, 2, 1, even=True)
    price = rng.uniform(0.1, 0.25, STEPS)
    ceiling = np.full((1, STEPS), 0.5 * of.level_kw[:, -1].sum())
    none = np.zeros((1, STEPS))
    limits = Limits(("head",), (np.arange(3),), none, none - np.inf, ceiling, np.array([2.0]))
    problem = Problem(of.hours, price, 3, limits)
    coordinator = Coordinator(problem, target=1e-6)
    for _ in range(25):
        coordinator.absorb(answered([of], coordinator.question()))
    rows, found = problem.rows, coordinator.answers
    picked = pick_whole(
        found.p_kw, found.cost, found.there, np.ones(3, bool), rows, np.arange(3), np.zeros((3, STEPS))
    )
    bound, best = coordinator.status().bound, together(of, price, ceiling[0], 2.0)
    assert bound <= best + 1e-9
    assert best <= picked.cost + 1e-9
    assert picked.cost <= bound + picked.gap(bound) + 1e-9
