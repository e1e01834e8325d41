"""Laws of fairness: shares come close to the smooth ones, ledgers and bounds on calls hold."""

from __future__ import annotations

import importlib
import sys
import warnings
from itertools import permutations
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.plan.goals import pursue
from gridflock.plan.goals.bounds import (
    PowerLimit,
)
from gridflock.plan.goals.fairness import (
    FairShare,
    Ledger,
    gini,
    jain,
    price_of_fairness,
    side_by_side,
    utility,
)
from gridflock.plan.goals.fairness._share import slopes

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("goals_world")
NOW_S, world = here.NOW_S, here.world

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(QUICK, max_examples=20)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.5, 1.0, 2.0]))
def test_segments_come_close_to_the_smooth_utility(seed, alpha):
    """Shares of a scarce limit differ from the alpha-fair ones of a cone solver by a segment or so."""
    f, fixed, rng = world(seed, n=3)
    room = 0.6 * float(f.base_kw[2:].sum(axis=0).max())
    limit = PowerLimit(export_kw=room, members=("sun0", "sun1"), price=1e5)
    weight = {"a": float(rng.uniform(0.5, 2))}
    share = FairShare(
        {"a": ("sun0",), "b": ("sun1",)}, "injecting", alpha, weight=weight, worth=10.0, segments=100
    )
    got = pursue([limit, share], f, fixed, NOW_S)
    p = cp.Variable((2, 3), nonneg=True)
    asked = f.base_kw[2:] @ f.grid.hours
    s = cp.multiply(p @ f.grid.hours, 1 / asked)
    worth = cp.log(s) if alpha == 1 else (cp.power(s, 1 - alpha) - 1) / (1 - alpha)
    weights = np.array([weight["a"], 1.0]) * asked
    rules = [p <= f.base_kw[2:], cp.sum(p, axis=0) <= room]
    curtailing = cp.sum(cp.multiply(f.cost_down[2:], (f.base_kw[2:] - p) @ f.grid.hours))
    problem = cp.Problem(cp.Maximize(10.0 * (weights @ worth) - curtailing), rules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "may be inaccurate": to six digits instead of eight
        problem.solve(solver=cp.CLARABEL)
    shares = share.shares(got.weighed.setting, got.schedule.p_kw)
    np.testing.assert_allclose(shares, s.value, atol=0.025)


@settings(QUICK, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_fairness_costs_energy_and_never_earns_any(seed):
    """Any alpha has at most the value of alpha 0; a large one never lowers the least share."""
    f, fixed, _ = world(seed, n=3)
    limit = PowerLimit(export_kw=6.0, members={"sun0": 1.0, "sun1": 0.5}, price=10.0)
    share = FairShare({"a": ("sun0",), "b": ("sun1",)}, "injecting", 0.0, worth=1.0, segments=20)
    policies = side_by_side(share, (), f, fixed, NOW_S, above=(limit,), alphas=(0.0, 1.0, 8.0))
    lost = price_of_fairness(policies)
    assert lost[0] == 0.0
    assert min(lost) >= -1e-3 * max(1.0, abs(policies[0].value))
    assert policies[2].least_share >= policies[0].least_share - 1e-3
    assert policies[2].alpha == 8.0


@given(st.floats(0, 16), st.integers(1, 200))
def test_the_worth_of_a_share_is_concave(alpha, segments):
    """Slopes never rise, are 1 near a full share, and follow the utility where they are not cut."""
    slope = slopes(alpha, segments)
    assert (np.diff(slope) <= 1e-12 * slope[:-1]).all()
    middle = (np.arange(segments) + 0.5) / segments
    ahead, back = utility(middle * (1 + 1e-6), alpha), utility(middle * (1 - 1e-6), alpha)
    uncut = middle**-alpha <= 1e4
    np.testing.assert_allclose(((ahead - back) / (2e-6 * middle))[uncut], slope[uncut], rtol=1e-3)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(1e-3, 1e3), st.randoms())
def test_jain_and_gini_are_indices(values, scale, random):
    """Both lie in their range and do not depend on scale or order; equal values are fair."""
    x = np.array(values)
    turned = x.copy()
    random.shuffle(turned)
    assert 1 / len(x) - 1e-9 <= jain(x) <= 1 + 1e-9
    assert -1e-9 <= gini(x) <= 1 - 1 / len(x) + 1e-9
    assert jain(turned * scale) == pytest.approx(jain(x), rel=1e-6)
    assert gini(turned * scale) == pytest.approx(gini(x), abs=1e-6)
    assert jain(np.full(len(x), 3.0)) == pytest.approx(1.0)
    assert gini(np.full(len(x), 3.0)) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 9), st.floats(0.5, 1.0), st.sampled_from([1.0, 1.5, 2.0]))
def test_nobody_is_called_more_than_the_bound(seed, count, keep, times):
    """However callers choose among those not spared, calls stay within the bound over the median."""
    rng = np.random.default_rng(seed)
    who = [f"p{k}" for k in range(count)]
    ledger = Ledger(keep=keep)
    for _ in range(30):
        free = [name for name in who if name not in ledger.spared(who, times)]
        called = {name: 1.0 for name in free if rng.random() < 0.5 or name == free[0]}
        ledger = ledger.after(dict.fromkeys(who, 0.0) | called)
        assert max(ledger.calls.values()) <= ledger.most_calls(who, times) + 1e-6
        ledger = ledger.faded()
        assert max(ledger.calls.values()) <= ledger.most_calls(who, times) + 1e-6


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100), min_size=2))
def test_whoever_gave_more_counts_more(kwh):
    """Weights grow with what was given, are all different, and stay between a quarter and four."""
    calls = {name: float(value > 0) for name, value in kwh.items()}
    weight = Ledger(kwh, calls).weights(sorted(kwh))
    assert all(0.25 <= value <= 4.0 * 1.001 for value in weight.values())
    assert len(set(weight.values())) == len(weight)
    for one, other in permutations(kwh, 2):
        if kwh[one] > kwh[other]:
            assert weight[one] > weight[other]
