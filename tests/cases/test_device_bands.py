"""Band stores of every kind at any price: against a linear program by HiGHS."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("band_world")

STEPS, EACH = 12, 1000


def optimum(of, price, p_lo=None, p_hi=None):
    """(n,) least own cost less the worth of the energy, by HiGHS."""
    p = world.program(of, price, p_lo, p_hi)
    found = linprog(p.c, p.a, p.b, p.a_eq, np.zeros(p.a_eq.shape[0]), np.column_stack([p.lo, p.hi]))
    assert found.status == 0, found.message
    return (p.c * found.x).reshape(3, *price.shape).sum(axis=(0, 2)) + p.const


def far(of, price, p_lo=None, p_hi=None):
    """How far the answers are from the optimum, at most, relative to it."""
    p_kw, cost = of.respond_rows(price, p_lo_kw=p_lo, p_hi_kw=p_hi)
    best = optimum(of, price, p_lo, p_hi)
    return np.abs((world.net_cost(of, price, p_kw, cost) - best) / np.maximum(np.abs(best), 1.0)).max()


@pytest.mark.parametrize("kind", world.KINDS)
def test_a_band_store_is_best_at_any_price(kind):
    """1,000 rows of a kind agree with HiGHS: uneven efficiencies, losses, varying bounds, negative prices."""
    rng = np.random.default_rng(world.KINDS.index(kind))
    of = world.bands(rng, EACH // 2, STEPS, kind)
    assert far(of, rng.normal(0.1, 0.15, (EACH // 2, STEPS))) <= 1e-9
    of = world.bands(rng, EACH // 4, STEPS, kind)
    assert far(of, rng.normal(-0.2, 0.3, (EACH // 4, STEPS)), *world.envelope(rng, of)) <= 1e-9
    of = world.bands(rng, EACH // 4, STEPS, kind, odd=True)
    assert far(of, np.round(rng.normal(0.1, 0.15, (EACH // 4, STEPS)), 1)) <= 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", world.KINDS)
def test_a_band_store_is_best_over_a_day(kind):
    """The same over 96 steps."""
    rng = np.random.default_rng(10 + world.KINDS.index(kind))
    of = world.bands(rng, 100, 96, kind)
    assert far(of, rng.normal(0.1, 0.15, (100, 96)), *world.envelope(rng, of)) <= 1e-9
