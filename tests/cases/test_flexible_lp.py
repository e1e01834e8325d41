"""Answers to prices, divisions and proofs against HiGHS; how tight inner forms are."""

import numpy as np
import pytest
from scipy.optimize import linprog

from gridflock.fleet.flexible._blocks import Blocks, Turns
from gridflock.fleet.flexible._chains import Chains
from gridflock.fleet.flexible._divide import Division, Group, Outside, divide
from gridflock.fleet.flexible._lossy import two_way
from gridflock.fleet.flexible._nearest import nearest
from gridflock.fleet.flexible._vertex import best


def chains(rng, members, steps, *, lossless=False):
    """Random stores: windows without power, floors and ceilings that come and go, leaks and uneven gains."""
    hours = rng.choice([0.25, 0.5, 1.0], steps)
    present = rng.random((members, steps)) < 0.9
    high = np.where(rng.random((members, 1)) < 0.6, rng.uniform(0, 5, (members, 1)), 0.0) * present
    low = -rng.uniform(0, 5, (members, 1)) * present
    size = rng.uniform(1, 10, members)
    e_lo = rng.uniform(0, 0.5, (members, steps + 1)) * (rng.random((members, steps + 1)) < 0.3)
    e_hi = 1 - rng.uniform(0, 0.4, (members, steps + 1)) * (rng.random((members, steps + 1)) < 0.3)
    e_lo[:, 0] = e_hi[:, 0] = rng.random(members)
    gain = hours * (1.0 if lossless else rng.uniform(0.8, 1.2, (members, 1))) * np.ones((members, 1))
    leak = np.where(rng.random(members) < 0.5, rng.uniform(0, 0.3, members), 0.0) * (not lossless)
    rows = np.arange(members, dtype=np.int32)
    return Chains.of(rows, hours, low, high, gain, leak, e_lo * size[:, None], e_hi * size[:, None])


def rows_of(held, k):
    """Contents of chain k as a matrix of its powers, and with none."""
    steps = len(held.hours)
    matrix, still = np.zeros((steps, steps)), np.zeros(steps)
    line, content = np.zeros(steps), held.e_lo_kwh[k, 0]
    for t in range(steps):
        rho = np.exp(-held.loss_per_h[k] * held.hours[t])
        line, content = rho * line, rho * content
        line[t] -= held.gain_h[k, t]
        matrix[t], still[t] = line, content
    return matrix, still


def program(held):
    """All chains side by side: inequality rows, their bounds, and bounds of the powers."""
    members, steps = held.p_lo_kw.shape
    rows = np.zeros((2 * members * steps, members * steps))
    most = np.zeros(2 * members * steps)
    for k in range(members):
        matrix, still = rows_of(held, k)
        own, at = slice(k * steps, (k + 1) * steps), 2 * k * steps
        rows[at : at + steps, own], most[at : at + steps] = matrix, held.e_hi_kwh[k, 1:] - still
        rows[at + steps : at + 2 * steps, own] = -matrix
        most[at + steps : at + 2 * steps] = still - held.e_lo_kwh[k, 1:]
    bounds = np.stack([held.p_lo_kw.ravel(), held.p_hi_kw.ravel()], axis=1)
    return rows, most, bounds


@pytest.mark.parametrize("seed", range(60))
def test_a_vertex_is_the_optimum_of_the_linear_program(seed):
    """60 random small groups: the sum's worth is HiGHS's optimum within 1e-9 of its size."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(2, 25))
    held, price = chains(rng, int(rng.integers(1, 8)), steps), rng.normal(size=steps)
    rows, most, bounds = program(held)
    members = len(held.rows)
    solved = linprog(-np.tile(price, members), A_ub=rows, b_ub=most, bounds=bounds, method="highs-ds")
    schedule = np.empty((members, steps))
    total = best(held, price, schedule)
    assert solved.status == 0
    assert abs(price @ total + solved.fun) <= 1e-9 * max(1.0, abs(solved.fun))
    assert np.allclose(total, schedule.sum(axis=0), atol=1e-12)
    assert (rows @ schedule.ravel() <= most + 1e-9).all()


@pytest.mark.parametrize("seed", range(40))
def test_inside_and_outside_are_as_the_linear_program_says(seed):
    """Trajectories scaled about the edge of the set are divided exactly where HiGHS finds a division."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(2, 13))
    held = chains(rng, int(rng.integers(1, 6)), steps)
    members = len(held.rows)
    group = Group(held, Blocks.none(steps))
    centre = np.mean([group.best(rng.normal(size=steps)) for _ in range(6)], axis=0)
    edge = group.best(rng.normal(size=steps)) - centre
    rows, most, bounds = program(held)
    sums = np.tile(np.eye(steps), members)
    for scale in (0.3, 0.9, 1.1, 2.0):
        wanted = centre + scale * edge
        solved = linprog(
            np.zeros(members * steps),
            A_ub=rows,
            b_ub=most,
            A_eq=sums,
            b_eq=wanted,
            bounds=bounds,
            method="highs-ds",
        )
        found = divide(group, wanted)
        assert isinstance(found, Division) == (solved.status == 0)
        if isinstance(found, Division):
            assert np.abs(found.chains_kw.sum(axis=0) - wanted).max() <= 1e-6
            assert (rows @ found.chains_kw.ravel() <= most + 1e-9).all()


@pytest.mark.parametrize("seed", range(30))
def test_nearest_schedules_are_optimal_and_their_derivative_is_true(seed):
    """No schedule earns more along the gradient, and a small change of price moves the sum as said."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(2, 12))
    held, price = chains(rng, 1, steps), 1.5 * rng.normal(size=steps)
    size, schedule = rng.uniform(0.5, 3, 1), np.empty((1, steps))
    answer = nearest(held, size, price, schedule)
    ease = np.clip(0.0, held.p_lo_kw[0], held.p_hi_kw[0])
    gradient = price - (schedule[0] - ease) / size
    assert gradient @ (best(held, gradient, np.empty((1, steps))) - schedule[0]) <= 1e-9
    move = 1e-7 * rng.normal(size=steps)
    moved = nearest(held, size, price + move, np.empty((1, steps)))
    assert np.allclose(moved.p_kw - answer.p_kw, answer.reach @ move, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_turns_earn_what_the_integer_optimum_earns(seed):
    """For one load, switching at its turns, the answer is the best of all patterns of on and off."""
    rng = np.random.default_rng(seed)
    steps, hold = int(rng.integers(3, 9)), int(rng.integers(1, 4))
    blocks = Blocks.of(
        np.zeros(1, np.int32),
        steps,
        np.array([2.0]),
        np.ones(1, np.uint8),
        np.array([hold]),
        np.zeros(1, int),
    )
    turns, price = Turns(blocks), rng.normal(size=steps)
    count = -(-(steps - int(blocks.first[0])) // hold)
    patterns = np.array(np.meshgrid(*[[0, -2.0]] * count)).reshape(count, -1).T
    worth = [price @ np.repeat(pattern, hold)[:steps] for pattern in patterns]
    assert np.isclose(price @ turns.power(turns.best(price)), max(worth))


def lossy_bound(held, efficiency, price, bounds):
    """Most a store with losses earns, from outside: charging and discharging may share a step's time."""
    (charge, discharge), (low, high, e_lo, e_hi, hours) = efficiency, bounds
    steps = len(hours)
    fill = np.tril(np.ones((steps, steps))) * hours
    rows = np.hstack([-fill / discharge, fill * charge])
    shared = np.hstack([np.diag(1 / high), np.diag(-1 / low)])
    limits = np.concatenate([np.full(steps, e_hi - held), np.full(steps, held - e_lo), np.ones(steps)])
    solved = linprog(
        np.concatenate([-price, price]), A_ub=np.vstack([rows, -rows, shared]), b_ub=limits, method="highs"
    )
    assert solved.status == 0
    return -solved.fun


@pytest.mark.parametrize(
    ("span_h", "shape", "guided", "least"),
    [
        (2, "noise", True, 0.98),
        (4, "noise", True, 0.98),
        (2, "day", True, 0.8),
        (4, "day", True, 0.88),
        (2, "noise", False, 0.58),
        (4, "noise", False, 0.74),
        (2, "day", False, 0.64),
        (4, "day", False, 0.72),
    ],
)
def test_tightness_of_stores_with_losses(span_h, shape, guided, least):
    """The inner form earns a good part of what stores could, with a price to guide it and without.

    Stores of 90 % round trip over a day of quarters of an hour; the bound is from outside, so that the
    true part is larger.
    """
    rng, steps = np.random.default_rng(7), 96
    hours, members = np.full(steps, 0.25), 6
    low, high = np.full((members, steps), -1.0), np.full((members, steps), 1.0)
    eff = (np.full(members, 0.95), np.full(members, 0.95))
    held = span_h * rng.uniform(0.2, 0.8, members)
    bounds = np.zeros((members, steps + 1)), np.full((members, steps + 1), float(span_h))
    earned = bound = 0.0
    for _ in range(4):
        wave = np.sin(2 * np.pi * (np.arange(steps) / 48 + rng.random()))
        price = rng.normal(size=steps) if shape == "noise" else wave + 0.1 * rng.normal(size=steps)
        guide = price if guided else None
        made = two_way(hours, low, high, eff, held, bounds, guide, np.zeros(members, bool))
        p_lo, p_hi, gain, floor = made
        ceiling = bounds[1].copy()
        floor[:, 0] = ceiling[:, 0] = held
        rows = np.arange(members, dtype=np.int32)
        inside = Chains.of(rows, hours, p_lo, p_hi, gain, np.zeros(members), floor, ceiling)
        earned += price @ best(inside, price, np.empty((members, steps)))
        for energy in held:
            limits = (low[0], high[0], 0.0, float(span_h), hours)
            bound += lossy_bound(energy, (0.95, 0.95), price, limits)
    assert least <= earned / bound <= 1.0 + 1e-9, earned / bound


def test_a_large_group_is_divided():
    """Of 2,000 stores over 96 steps a trajectory inside is divided, and one outside is proven so."""
    rng = np.random.default_rng(0)
    held = chains(rng, 2_000, 96, lossless=True)
    assert held.lossless
    group = Group(held, Blocks.none(96))
    corners = [group.best(rng.normal(size=96)) for _ in range(6)]
    found = divide(group, np.mean(corners, axis=0))
    assert isinstance(found, Division)
    assert found.residual_kw <= 1e-6
    assert found.rounds < 60
    assert isinstance(divide(group, 1.02 * corners[0] - 0.02 * np.mean(corners, axis=0)), Outside)
