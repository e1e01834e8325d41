"""The small program of feedback against an interior-point solver."""

import numpy as np
import pytest
from scipy import sparse

from gridflock.dispatch.feedback import _solve
from gridflock.dispatch.feedback._solve import AS_GOOD, CAP, EASED, TOP, TRIFLE, Program, instead, solve


def _program(rng, variables, columns, quantities, shift):
    """A feeder's worth of random rows: nearer the end of the line everybody matters more."""
    column = rng.integers(0, columns, variables).astype(np.int32)
    at, seen = rng.random(columns), rng.random(quantities)
    effect = np.minimum(at[:, None], seen) * 1e-4 * (1.0 + 0.3 * rng.normal(size=(columns, quantities)))
    low, high = -rng.uniform(0.0, 7.0, variables), rng.uniform(0.0, 7.0, variables)
    room = np.concatenate([rng.normal(shift, 0.01, quantities), rng.normal(0.05, 0.03, quantities)])
    room[rng.random(2 * quantities) < 0.2] = np.inf
    ease = np.where(rng.random(variables) < 0.5, 1.0, 0.03)
    anchor = np.clip(rng.normal(0.0, 3.0, variables), low, high)
    return Program(
        effect.astype(np.float32),
        room,
        np.maximum(room, 0.0),
        np.full(quantities, 1e-5),
        np.zeros(quantities),
        column,
        ease,
        anchor,
        low,
        high,
    )


def _rows(program):
    """Rows that ask something, of unit effect, and the scale of prices."""
    effect = program.effect.astype(np.float64).T[:, program.column]
    asked = np.isfinite(program.room)
    a = np.concatenate([effect, -effect])[asked]
    sums = np.zeros((len(effect), len(program.effect)))
    np.add.at(sums.T, program.column, program.ease[:, None])
    size = np.sqrt(
        (
            np.concatenate([program.effect, program.effect], axis=1).T.astype(np.float64)[asked] ** 2
            * sums[0]
        ).sum(axis=1)
    )
    most = float(np.sqrt(((program.high - program.low) ** 2 / program.ease).sum()))
    size = np.where(size > 0.0, size, 1.0)
    return a / size[:, None], program.room[asked] / size, program.wall[asked] / size, most


def _worth(program, x):
    """What is minimised, slack included."""
    a, room, wall, most = _rows(program)
    grown = a @ x
    soft = np.minimum(np.maximum(grown - room, 0.0), wall - room).sum()
    hard = np.maximum(grown - wall, 0.0).sum()
    moved = ((x - program.anchor) ** 2 / program.ease).sum() / 2.0
    return moved + CAP * most * soft + TOP * most * hard


def _by_interior_point(program):
    piqp = pytest.importorskip("piqp")
    a, room, wall, most = _rows(program)
    n, k = len(program.anchor), len(room)
    curve = sparse.block_diag([sparse.diags(1.0 / program.ease), sparse.csc_matrix((2 * k, 2 * k))])
    slope = np.concatenate([-program.anchor / program.ease, np.full(k, CAP * most), np.full(k, TOP * most)])
    eye = sparse.identity(k)
    rows = sparse.hstack([sparse.csc_matrix(a), -eye, -eye]).tocsc()
    low = np.concatenate([program.low, np.zeros(2 * k)])
    high = np.concatenate([program.high, wall - room, np.full(k, 1e6)])
    solver = piqp.SparseSolver()
    solver.settings.eps_abs, solver.settings.eps_rel, solver.settings.max_iter = 1e-10, 1e-13, 500
    solver.setup(curve.tocsc(), slope, None, None, rows, np.full(k, -1e30), room, low, high)
    solver.solve()
    return np.clip(solver.result.x[:n], program.low, program.high)


@pytest.mark.parametrize("seed", range(25))
def test_the_least_change_is_that_of_an_interior_point_solver(seed):
    """Worth no more than the other's answer to 1e-6 of it, and the same change to 1e-3 of the largest."""
    rng = np.random.default_rng(seed)
    variables = int(rng.integers(2, 40))
    program = _program(
        rng, variables, int(rng.integers(1, variables + 1)), int(rng.integers(1, 40)), rng.normal(0.0, 0.02)
    )
    ours = solve(program, np.zeros(len(program.room)))
    theirs = _by_interior_point(program)
    assert ours.exact
    assert (ours.x >= program.low).all()
    assert (ours.x <= program.high).all()
    assert _worth(program, ours.x) <= _worth(program, theirs) * (1.0 + 1e-9) + 1e-6
    assert np.abs(ours.x - theirs).max() <= 1e-3 * 7.0


@pytest.mark.parametrize("seed", range(6))
def test_a_warm_start_changes_nothing_but_the_work(seed):
    """From the prices of a neighbouring program the same answer comes, to 1e-6."""
    rng = np.random.default_rng([seed, 1])
    program = _program(rng, 300, 120, 60, -0.01)
    cold = solve(program, np.zeros(len(program.room)))
    warm = solve(program, cold.price)
    assert cold.exact
    assert warm.climbs <= cold.climbs
    assert np.abs(warm.x - cold.x).max() <= 1e-6


@pytest.mark.parametrize("work", [1.0, 1e5, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_a_program_without_time_is_answered_by_the_best_on_the_way(monkeypatch, seed, work):
    """Inside all bounds, and never worse than standing still; the more work the less is left broken."""
    program = _program(np.random.default_rng([seed, 2]), 300, 120, 60, -0.03)
    still = np.clip(np.zeros(300), program.low, program.high)
    sums = np.zeros(len(program.effect))
    np.add.at(sums, program.column, still)
    at_rest = _solve._harm(program, sums @ program.effect.astype(np.float64))
    whole = solve(program, np.zeros(len(program.room)))
    monkeypatch.setattr(_solve, "WORK", work)
    hasty = solve(program, np.zeros(len(program.room)))
    assert (hasty.x >= program.low).all()
    assert (hasty.x <= program.high).all()
    harm = _solve._harm(program, hasty.growth)
    assert harm <= at_rest * (1.0 + 1e-9)
    assert hasty.exact or hasty.eases == (harm <= (1.0 - EASED) * at_rest)
    assert whole.exact


@pytest.mark.parametrize("left", [1.0, 0.9, 0.5, 0.01, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_an_answer_that_is_clipped_is_worth_what_is_sent(seed, left):
    """Growth is that of the changes sent; too little of an answer is neither its end nor an easing."""
    program = _program(np.random.default_rng([seed, 3]), 300, 120, 60, -0.03)
    still = np.clip(np.zeros(300), program.low, program.high)
    whole = solve(program, np.zeros(len(program.room)))
    sent = instead(program, whole, still + left * (whole.x - still))
    sums = np.bincount(program.column, sent.x, minlength=len(program.effect))
    assert np.abs(sent.growth - sums @ program.effect.astype(np.float64)).max() < 1e-12
    at_rest = instead(program, whole, still)
    harm, worst = (_solve._harm(program, of.growth) for of in (sent, at_rest))
    assert sent.exact == (harm <= AS_GOOD * _solve._harm(program, whole.growth) + TRIFLE)
    assert sent.eases == (sent.exact or harm <= (1.0 - EASED) * worst)
    assert not at_rest.eases
    assert whole.eases
