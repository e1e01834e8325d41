"""Laws of uncertainty: paths as forecast, a fan no worse than it must be, targets met on unseen paths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import binomtest

from gridflock.forecast.together import Dependence, dependence_of, paths
from gridflock.model import Envelope, Flexibility, Forecast
from gridflock.plan import Terms, plan
from gridflock.plan._terms import Band, Flow
from gridflock.plan.scenario import (
    Paths,
    backed_off,
    fanned,
    futures,
    violations,
)
from gridflock.plan.scenario._backoff import lowered
from gridflock.plan.scenario._rate import upper_bound
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 1)
UNSEEN = 1_000
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def forecast_of(grid, median, spread, names):
    """Normal quantiles of series (S, T) with a standard deviation each."""
    median, spread = np.atleast_2d(median), np.atleast_2d(spread)
    value = median[:, None, :] + spread[:, None, :] * ndtri(LEVELS)[None, :, None]
    return Forecast(grid, names, LEVELS, value, grid.start_s)


def batteries(grid, count, kw, kwh):
    """A few batteries, half full."""
    flat, edges = np.ones((count, grid.n)), np.ones((count, grid.n + 1))
    names = tuple(f"battery {k}" for k in range(count))
    one = np.ones(count)
    half = 0.5 * kwh * edges
    return Flexibility(
        grid,
        names,
        0 * flat,
        kw * flat,
        kw * flat,
        -half,
        half,
        -one / 0.95,
        0.95 * one,
        0.02 * one,
        0.02 * one,
    )


def evening(limit_kw, kw=25.0, step_s=900):
    """A day with an evening peak of load, three batteries and a limit at the head."""
    grid = TimeGrid.uniform(NOW_S, step_s, 86_400 // step_s)
    hour = (grid.middles_s - NOW_S) / 3600
    load = -(60 + 40 * np.exp(-(((hour - 10) / 3) ** 2)))
    price = np.where((hour > 8) & (hour < 14), 0.4, 0.2)
    terms = Terms(price, price / 3, np.full(grid.n, limit_kw), np.full(grid.n, np.inf))
    return batteries(grid, 3, kw, 80.0), load, terms


def drawn(grid, load, count, seed, spread=0.08, lasting_h=4.0):
    """Paths of the load."""
    found = paths(
        forecast_of(grid, load, spread * np.abs(load), ("load",)),
        count,
        seed,
        Dependence(np.eye(1), lasting_h),
    )
    return Paths(found[:, 0], None, np.full(count, 1.0 / count))


@pytest.mark.parametrize(("lasting_h", "rho"), [(0.5, 0.0), (3.0, 0.6), (12.0, -0.5)])
def test_paths_have_the_quantiles_and_the_correlation_asked_for(lasting_h, rho):
    """Marginals are the forecast's, errors last as long and move together as much as said."""
    grid = TimeGrid(NOW_S + np.array([0, 900, 1800, 3600, 7200, 14400], dtype=np.int64))
    median, spread = np.array([[-50.0] * 5, [-5.0] * 5]), np.array([[4.0] * 5, [0.5] * 5])
    forecast = forecast_of(grid, median, spread, ("a", "b"))
    found = paths(forecast, 20_000, 3, Dependence(np.array([[1, rho], [rho, 1]]), lasting_h))
    seen = np.quantile(found, LEVELS, axis=0).transpose(1, 0, 2)
    assert np.abs(seen - forecast.value_kw).max() < 0.15
    score = (found - median) / spread
    apart = np.abs(grid.middles_s[:, None] - grid.middles_s[None]) / 3600
    np.testing.assert_allclose(np.corrcoef(score[:, 0].T), np.exp(-apart / lasting_h), atol=0.03)
    between = [np.corrcoef(score[:, 0, t], score[:, 1, t])[0, 1] for t in range(5)]
    np.testing.assert_allclose(between, rho, atol=0.03)


def test_paths_are_a_function_of_their_seed():
    """The same seed gives the same bytes, another one others."""
    f, load, _ = evening(100.0, step_s=3600)
    one, two, other = (drawn(f.grid, load, 5, seed).fixed_kw for seed in (1, 1, 2))
    assert one.tobytes() == two.tobytes() != other.tobytes()


def test_a_series_that_never_changes_sign_keeps_it():
    """Sun is never negative and exactly 0 at night, load never feeds in, however far the tails reach."""
    grid = TimeGrid.uniform(NOW_S, 3600, 4)
    sun = np.maximum(np.array([[0.0, 1.0, 5.0, 0.0]]), 0.0)[:, None] * np.linspace(0.0, 2.0, 9)[None, :, None]
    forecast = Forecast(grid, ("sun", "load"), LEVELS, np.concatenate([sun, -sun[:, ::-1] - 0.1]), NOW_S)
    found = paths(forecast, 2_000, 1)
    assert (found[:, 0] >= 0).all()
    assert (found[:, 0, [0, 3]] == 0).all()
    assert (found[:, 1] <= 0).all()


def test_futures_move_what_is_taken_at_its_median():
    """Groups whose base is the forecast's median follow their own path, others stay, nothing is lost."""
    grid = TimeGrid.uniform(NOW_S, 3600, 4)
    f = replace(batteries(grid, 2, 5.0, 10.0), groups=("sun", "battery"))
    f = replace(f, base_kw=np.array([[3.0] * 4, [0.0] * 4]))
    median, spread = (
        np.array([[-20.0] * 4, [3.0] * 4, [-1.0] * 4]),
        np.array([[2.0] * 4, [0.5] * 4, [0.1] * 4]),
    )
    forecast = forecast_of(grid, median, spread, ("outside", "sun", "battery"))
    drawn = paths(forecast, 50, 3)
    found = futures(forecast, "outside", f, drawn)
    np.testing.assert_array_equal(found.fixed_kw, drawn[:, 0])
    np.testing.assert_array_equal(found.base_kw[:, 0], drawn[:, 1])
    assert (found.base_kw[:, 1] == 0).all()
    with pytest.raises(KeyError):
        futures(forecast, "elsewhere", f, drawn)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_dependence_is_found_again(rho):
    """Estimated from errors of any scale with gaps, it is near what made them."""
    grid, truth = TimeGrid.uniform(NOW_S, 900, 5_000), Dependence(np.array([[1, rho], [rho, 1]]), 2.0)
    error = paths(forecast_of(grid, np.zeros((2, 5_000)), np.ones((2, 5_000)), ("a", "b")), 1, 7, truth)[0]
    error = np.exp(0.5 * error)
    error[0, ::13] = np.nan
    found = dependence_of(error, 0.25)
    assert abs(found.between[0, 1] - rho) < 0.1
    assert 1.5 < found.lasting_h < 2.7


@pytest.mark.parametrize(
    "error", [np.full((2, 40), np.nan), np.zeros((2, 40)), np.ones((1, 3)), np.zeros((3, 0))]
)
def test_errors_without_news_give_a_dependence_all_the_same(error):
    """Unknown, constant or hardly any errors: finite, ones on the diagonal, no exception."""
    found = dependence_of(error, 0.25)
    assert np.isfinite(found.between).all()
    np.testing.assert_allclose(np.diag(found.between), 1.0)
    assert 0 < found.lasting_h < 100


@QUICK
@given(st.integers(0, 10_000), st.sampled_from([2, 5]))
def test_a_fan_lies_between_knowing_and_not_knowing(seed, count):
    """Knowing each path costs least, one schedule for all most, shared first steps something between."""
    f, load, terms = evening(92.0, step_s=3600)
    ahead = drawn(f.grid, load, count, seed)
    known = np.mean([plan(f, fixed, terms, NOW_S).cost for fixed in ahead.fixed_kw])
    free, some, same = (fanned(f, load, terms, ahead, common) for common in (0, 4, f.grid.n))
    assert known == pytest.approx(free.cost, rel=1e-6)
    assert free.cost <= some.cost + 1e-6 * abs(some.cost)
    assert some.cost <= same.cost + 1e-6 * abs(same.cost)
    assert (np.ptp(same.per_path_kw, axis=0) < 1e-9).all()
    assert (np.ptp(some.per_path_kw[:, :, :4], axis=0) < 1e-9).all()
    np.testing.assert_allclose(some.p_kw[:, :4], some.per_path_kw[0, :, :4])


@QUICK
@given(st.integers(0, 10_000))
def test_a_fan_keeps_every_band(seed):
    """In every path the stores stay within their bands, so does the expected schedule."""
    f, load, terms = evening(92.0, step_s=3600)
    fan = fanned(f, load, terms, drawn(f.grid, load, 4, seed), 3)
    for p_kw in (*fan.per_path_kw, fan.p_kw):
        up, down = np.maximum(p_kw, 0.0), np.maximum(-p_kw, 0.0)
        level = np.cumsum((f.gain_up[:, None] * up + f.gain_down[:, None] * down) * f.grid.hours, axis=1)
        assert (level >= f.x_lo_kwh[:, 1:] - 1e-6).all()
        assert (level <= f.x_hi_kwh[:, 1:] + 1e-6).all()


def test_a_fan_of_one_certain_path_is_the_plan():
    """With a single future nothing is uncertain: cost and price at the head are the plan's."""
    f, load, terms = evening(92.0, step_s=3600)
    fan = fanned(f, load, terms, Paths(load[None], None, np.ones(1)), 5)
    alone = plan(f, load, terms, NOW_S)
    assert fan.cost == pytest.approx(alone.cost, rel=1e-9)
    np.testing.assert_allclose(fan.price, alone.price, atol=1e-9)


@pytest.mark.parametrize("target", [0.05, 0.01])
@pytest.mark.parametrize("seed", range(5))
def test_a_violation_target_is_met_on_unseen_paths(seed, target):
    """On 1,000 paths never seen, limits break at most as often as wanted; without room they often do."""
    f, load, terms = evening(98.0)
    found = backed_off(f, load, terms, drawn(f.grid, load, 5_000, seed), target, NOW_S)
    assert found.met
    assert found.rate_at_most <= target
    unseen = drawn(f.grid, load, UNSEEN, 10_000 + seed)
    assert violations(f, load, terms, unseen, found.schedule.p_kw).rate <= target
    assert violations(f, load, terms, unseen, plan(f, load, terms, NOW_S).p_kw).rate > 0.2
    assert found.price > -1e-3
    assert not found.named


def test_a_target_out_of_reach_is_named():
    """Where load alone is beyond the limit in most futures, the limit, its times and the reason are told."""
    f, load, terms = evening(70.0, kw=5.0)
    found = backed_off(f, load, terms, drawn(f.grid, load, 400, 1), 0.05, NOW_S)
    assert not found.met
    assert found.rate_at_most > 0.05
    assert "import limit of the feeder head" in found.named[0]
    assert "of 24 futures" in found.named[-1]
    assert int(found.named[-1].split(", ")[1].split()[0]) > 12


def test_too_few_paths_never_prove_a_target():
    """A hundred paths without a break still allow more than one in a hundred: not met."""
    f, load, terms = evening(500.0, step_s=3600)
    found = backed_off(f, load, terms, drawn(f.grid, load, 100, 1), 0.01, NOW_S)
    assert found.rate == 0
    assert not found.met
    assert "too few paths" in found.named[0]


def test_limits_of_groups_get_room_too():
    """Errors of what groups do unasked count at their own limits as well as at the head."""
    f, load, terms = evening(150.0, step_s=3600)
    f = replace(f, base_kw=np.full((3, f.grid.n), -10.0))
    limit = Envelope("battery 1", -14.0, np.inf, "transformer T1", f.grid.end_s)
    terms = replace(terms, group_limits=(limit,))
    rng, count = np.random.default_rng(4), 4_000
    base = f.base_kw + rng.normal(0, 1.5, (count, 3, f.grid.n))
    ahead = Paths(np.repeat(load[None], count, axis=0), base, np.full(count, 1 / count))
    nominal = violations(f, load, terms, ahead, plan(f, load, terms, NOW_S).p_kw)
    found = backed_off(f, load, terms, ahead, 0.05, NOW_S)
    assert dict(nominal.by_row).keys() >= {"transformer T1 (limit of battery 1)"}
    assert found.met
    assert found.terms.group_limits[0].p_lo_kw > -14.0


def test_rows_of_goals_get_room_too():
    """A band on part of a group's power is moved inwards by that part of the group's error."""
    f, load, terms = evening(150.0, step_s=3600)
    flow, endless = Flow({"battery 0": 0.5}, np.zeros(f.grid.n)), np.full(f.grid.n, np.inf)
    terms = replace(terms, blocks=(Band("phase a", flow, np.full(f.grid.n, -7.0), endless, 5.0, 5.0),))
    base = np.zeros((2, 3, f.grid.n))
    base[1, 0] = -4.0
    ahead = Paths(np.repeat(load[None], 2, axis=0), base, np.full(2, 0.5))
    p_kw = np.zeros((3, f.grid.n))
    p_kw[0, 5] = -12.0
    found = violations(f, load, terms, ahead, p_kw)
    assert found.by_row == (("phase a", 0.5),)
    assert found.worst_kw == pytest.approx(1.0)
    margins = [(np.zeros(f.grid.n), np.zeros(f.grid.n))] * 2 + [(np.full(f.grid.n, 2.0), np.zeros(f.grid.n))]
    np.testing.assert_allclose(lowered(terms, margins).blocks[0].lo_kw, -5.0)


@QUICK
@given(st.integers(0, 10_000))
def test_lowered_limits_never_reach_beyond_what_was_asked(seed):
    """Whatever the margins, every limit stays inside the true one, and bounds do not cross."""
    rng = np.random.default_rng(seed)
    f, _, terms = evening(50.0, step_s=3600)
    lo, hi = np.sort(rng.normal(0, 5, 2))
    terms = replace(terms, group_limits=(Envelope("battery 0", lo, hi, "T", f.grid.end_s),))
    margins = [tuple(rng.exponential(20, (2, f.grid.n))) for _ in range(3)]
    found = lowered(terms, margins)
    assert (found.import_limit_kw <= terms.import_limit_kw).all()
    assert (found.import_limit_kw >= 0).all()
    limit = found.group_limits[0]
    assert lo <= limit.p_lo_kw <= limit.p_hi_kw <= hi


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 100), (10, 10), (40, 1_000)])
def test_the_confidence_bound_is_the_exact_one(count, of):
    """Clopper-Pearson as an independent implementation has it (one-sided 97.5 % is its two-sided 95 %)."""
    exact = binomtest(count, of).proportion_ci(0.95, "exact").high
    assert upper_bound(count, of, 0.975) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("fault", ["nan load", "no steps", "nan price", "short"])
def test_broken_input_is_named_and_never_raised(fault):
    """Bad numbers and empty horizons: the fan and the margins answer, and say what is wrong."""
    f, load, terms = evening(98.0, step_s=3600)
    ahead = drawn(f.grid, load, 40, 1)
    if fault == "nan load":
        load = np.full(f.grid.n, np.nan)
    elif fault == "nan price":
        terms = replace(terms, import_price=np.full(f.grid.n, np.nan))
    elif fault == "short":
        load = load[:-1]
    else:
        grid = TimeGrid(f.grid.edges_s[:1])
        f = batteries(grid, 3, 1.0, 1.0)
        load, ahead = np.zeros(0), Paths(np.zeros((4, 0)), None, np.full(4, 0.25))
        terms = Terms(*[np.zeros(0)] * 4)
    careful = backed_off(f, load, terms, ahead, 0.05, NOW_S)
    fan = fanned(f, load, terms, ahead, 2)
    assert fan.rejected or not careful.met
    assert careful.met or careful.named


GOOD = np.full((40, 24), -60.0)
BROKEN = {
    "unknown power": ({"fixed_kw": np.full((40, 24), np.nan)}, {}, "fixed_kw is not finite"),
    "one step unknown": ({"fixed_kw": np.where(np.arange(24) == 3, np.nan, GOOD)}, {}, "in 40 cells"),
    "too short": ({"fixed_kw": GOOD[:, 1:]}, {}, "expected (40, 24)"),
    "other groups": ({"base_kw": np.zeros((40, 1, 24))}, {}, "expected (40, 3, 24)"),
    "unknown base": ({"base_kw": np.full((40, 3, 24), np.inf)}, {}, "base_kw is not finite"),
    "unknown weight": ({"weight": np.full(40, np.nan)}, {}, "weight is not finite"),
    "one path": ({"fixed_kw": GOOD[:1], "weight": np.ones(1)}, {}, "at least 2"),
    "no path": ({"fixed_kw": GOOD[:0], "weight": np.ones(0)}, {}, "at least 2"),
    "no steps": ({}, {"steps": 0}, "steps: 0"),
    "no target": ({}, {"target": np.nan}, "target: nan"),
    "no confidence": ({}, {"confidence": 1.0}, "confidence: 1.0"),
    "nobody": ({}, {"unseen": 0}, "unseen: 0"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_nothing_is_promised_on_broken_futures(fault):
    """Paths, targets and horizons that are none: not met, the fault named, and never an exception."""
    wrong, more, words = BROKEN[fault]
    f, load, terms = evening(1e3, step_s=3600)
    ahead = Paths(**({"fixed_kw": GOOD, "base_kw": None, "weight": np.full(40, 1 / 40)} | wrong))
    careful = backed_off(f, load, terms, ahead, now_s=NOW_S, **({"target": 0.5} | more))
    assert not careful.met
    assert words in "; ".join(careful.named)
    assert careful.schedule.p_kw.shape == (3, 24)


def test_terms_with_gaps_are_mended_before_they_are_held_against_futures():
    """A head limit unknown from a step on is that of the step before; one unknown throughout is named."""
    f, load, terms = evening(98.0, step_s=3600)
    ahead = drawn(f.grid, load, 40, 1)
    gaps = terms.import_limit_kw.copy()
    gaps[4:] = np.nan
    whole, mended, none = (
        backed_off(f, load, replace(terms, import_limit_kw=limit), ahead, 0.5, NOW_S)
        for limit in (terms.import_limit_kw, gaps, np.full(24, np.nan))
    )
    assert (mended.rate, mended.level, mended.met) == (whole.rate, whole.level, whole.met)
    assert not none.met
    assert "import limit of the feeder head: no number" in none.named[0]


def test_unknown_flows_count_as_broken():
    """A future whose power is unknown never counts as one that held."""
    f, load, terms = evening(1e3, step_s=3600)
    ahead = Paths(np.where(np.arange(40)[:, None] < 10, np.nan, GOOD), None, np.full(40, 1 / 40))
    assert violations(f, load, terms, ahead, f.base_kw).rate == 0.25
