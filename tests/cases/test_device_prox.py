"""Band stores of every kind under a pull: against a quadratic program by PIQP."""

import importlib
import sys
from pathlib import Path

import numpy as np
import piqp
import pytest
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("band_world")

STEPS, EACH = 12, 250


def optimum(of, price, target, pull, p_lo=None, p_hi=None):
    """(n,) least own cost less the worth of the energy plus the pull's, by PIQP."""
    p = world.program(of, price, p_lo, p_hi)
    n, steps = price.shape
    aim, each = target - of.base_kw, np.repeat(pull, steps)
    square, none = sparse.diags_array(each), sparse.csc_matrix((n * steps, n * steps))
    hessian = sparse.bmat(
        [[square, -square, none], [-square, square, none], [none, none, none]], format="csc"
    )
    towards = (pull[:, None] * aim).ravel()
    c = p.c + np.concatenate([-towards, towards, np.zeros(n * steps)])
    solver = piqp.SparseSolver()
    solver.settings.eps_abs, solver.settings.eps_rel, solver.settings.max_iter = 1e-8, 1e-9, 200
    low = np.full(len(p.b), -np.inf)
    solver.setup(hessian, c, p.a_eq, np.zeros(n * steps), p.a, low, p.b, p.lo, p.hi)
    assert solver.solve() == piqp.PIQP_SOLVED
    z = np.array(solver.result.x)
    value = (z * (0.5 * (hessian @ z) + c)).reshape(3, n, steps).sum(axis=(0, 2))
    return value + p.const + 0.5 * pull * (aim**2).sum(axis=1)


def far(of, price, target, pull, p_lo=None, p_hi=None):
    """How far the answers are beyond and below PIQP's, at most, relative to it."""
    p_kw, cost = of.nearest(price, target, pull, p_lo_kw=p_lo, p_hi_kw=p_hi)
    value = world.net_cost(of, price, p_kw, cost) + 0.5 * pull * ((p_kw - target) ** 2).sum(axis=1)
    best = optimum(of, price, target, pull, p_lo, p_hi)
    off = (value - best) / np.maximum(np.abs(best), 1.0)
    return off.max(), -off.min()


def questions(rng, of, shift=0.1):
    """Prices, targets and pulls."""
    shape = of.base_kw.shape
    price, target = rng.normal(shift, 0.2, shape), of.base_kw + rng.normal(0.0, 3.0, shape)
    return price, target, 10.0 ** rng.uniform(-3.0, 0.0, shape[0])


@pytest.mark.parametrize("kind", world.KINDS)
def test_a_pulled_band_store_is_best(kind):
    """1,000 rows of a kind are never worse than PIQP by more than 1e-9 and agree with it to 1e-6."""
    rng = np.random.default_rng(world.KINDS.index(kind))
    found = []
    for shift, odd, narrow in (
        (0.1, False, False),
        (-0.3, False, False),
        (0.1, True, False),
        (-0.1, False, True),
    ):
        of = world.bands(rng, EACH, STEPS, kind, odd=odd)
        bounds = world.envelope(rng, of) if narrow else (None, None)
        found.append(far(of, *questions(rng, of, shift), *bounds))
    worse, better = np.max(found, axis=0)
    assert worse <= 1e-9
    assert better <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", world.KINDS)
def test_a_pulled_band_store_is_best_over_a_day(kind):
    """The same over 96 steps."""
    rng = np.random.default_rng(10 + world.KINDS.index(kind))
    of = world.bands(rng, 100, 96, kind)
    worse, better = far(of, *questions(rng, of), *world.envelope(rng, of))
    assert worse <= 1e-9
    assert better <= 1e-6
