"""Wind and prices learnt: bounds, curves, what is published, and a simulated turbine against persistence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridflock.forecast import Site, crps, naive
from gridflock.forecast.learned import SETTINGS, backtest, from_bytes, to_bytes, train
from gridflock.forecast.learned._turbines import SPEEDS, USUAL, fit_curve, pooled, standard, turbines
from gridflock.forecast.learned._view import view_of
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

SITE = Site(52.1, 5.3, "Europe/Amsterdam", "NL")
START_S = unix_s("2026-01-10")
DAYS = 70
LEADS = np.arange(36)
ISSUES_S = START_S + 12 * HOUR_S + DAY_S * np.arange(DAYS)
WIND = replace(SETTINGS["wind"], trees=25, warm_days=14)
PRICE = replace(SETTINGS["price"], trees=20, warm_days=14)


def turbine_park(seed=0, late_h=0, parks=2):
    """Simulated turbines of the usual curve in gusty wind, told at ten metres, some hours early or late."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(START_S, HOUR_S, 24 * DAYS)
    noise = rng.standard_normal(grid.n + 24)
    speed = np.zeros(grid.n + 24)
    for k in range(1, len(speed)):
        speed[k] = 0.96 * speed[k - 1] + np.sqrt(1 - 0.96**2) * noise[k]
    hub = 8.0 * np.exp(0.45 * speed)
    there = np.stack([hub[12 : 12 + grid.n] * rng.lognormal(0, 0.12, grid.n) for _ in range(parks)])
    value = np.array([1500.0, 400.0])[:parks, None] * np.interp(there, SPEEDS, USUAL)
    told = hub[12 + late_h : 12 + late_h + grid.n] / 10 ** (1 / 7)
    weather = Weather(grid, {"wind_m_s": told, "temp_c": np.full(grid.n, 8.0)}, "issued")
    return History(grid, ("a", "b")[:parks], value), weather


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-5, 5)), st.integers(0, 99))
def test_pooling_never_falls_and_keeps_the_mean(values, seed):
    """The sequence rises, its weighted mean is the values', and one that rises already stays."""
    weight = np.random.default_rng(seed).uniform(0.1, 3, len(values))
    found = pooled(values, weight)
    assert (np.diff(found) >= 0).all()
    assert np.average(found, weights=weight) == pytest.approx(np.average(values, weights=weight), abs=1e-9)
    assert np.allclose(pooled(found, weight), found)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 300))
def test_a_curve_rises_from_0_to_capacity_whatever_is_measured(seed, n):
    """Any pairs of wind and power give a share of capacity between 0 and 1 that never falls."""
    rng = np.random.default_rng(seed)
    speed, power = rng.uniform(-3, 45, n), rng.normal(50, 80, n)
    speed[rng.random(n) < 0.2] = np.nan
    curve = fit_curve(speed, power, float(np.nanmax(power, initial=0.0)), 0.25)
    assert curve.shape == SPEEDS.shape
    assert (np.diff(curve) >= 0).all()
    assert curve[0] >= 0
    assert curve[-1] <= 1


def test_air_counts_by_its_density():
    """15 °C at sea level is standard air, the cube of the speed goes with density."""
    one = np.array([10.0])
    assert standard(one, np.array([15.0]), np.array([101_325.0]))[0] == pytest.approx(10.0, abs=0.01)
    cold = standard(one, np.array([-10.0]), np.array([np.nan]))[0]
    assert (cold / 10.0) ** 3 == pytest.approx(288.15 / 263.15, rel=1e-3)
    assert standard(one, np.array([np.nan]), np.array([np.nan]))[0] == pytest.approx(10.0)


@pytest.mark.parametrize("late_h", [0, 4, -2])
def test_a_wind_told_hours_too_early_or_late_is_found(late_h):
    """The hours by which power follows the wind that is told are found from history, and so is the curve."""
    history, weather = turbine_park(late_h=late_h)
    view = view_of(history, weather, SITE, np.array([ISSUES_S[50]]), LEADS)
    found = turbines(view)
    assert (found.shift == late_h).all()
    assert np.abs(found.curve[0] - USUAL).max() < 0.12
    assert np.allclose(found.capacity_kw[0], [1500.0, 400.0], rtol=0.02)


def test_wind_stays_within_0_and_capacity_and_beats_persistence_where_wind_is_told():
    """A simulated turbine: bounded, sorted, far better than persistence with wind.

    Without wind six weeks are too few to learn from: there persistence is better, and the card says so.
    """
    history, weather = turbine_park()
    first_s = START_S + 45 * DAY_S
    seeing = backtest(history, weather, SITE, ISSUES_S, LEADS, WIND, first_s)
    blind = backtest(history, None, SITE, ISSUES_S, LEADS, WIND, first_s)
    at = (seeing.issues_s - START_S) // HOUR_S
    usual = naive(history.value_kw, history.grid.starts_s, SITE.timezone, at, LEADS, "last", first_s)
    known = np.isfinite(seeing.truth_kw)
    loss = {k: crps(seeing.truth_kw, v)[known].mean() for k, v in (("s", seeing.value_kw), ("n", usual))}
    assert loss["s"] < 0.6 * loss["n"]
    assert crps(blind.truth_kw, blind.value_kw)[known].mean() > loss["s"]
    for trial in (seeing, blind):
        assert (np.diff(trial.value_kw, axis=-1) >= 0).all()
        assert trial.value_kw.min() >= 0
        assert (trial.value_kw.max(axis=(1, 2, 3)) <= history.value_kw.max(axis=1) + 1e-3).all()


def test_a_trained_wind_model_is_kept_as_bytes_and_answers_without_weather():
    """Bytes and back give the same forecast; without wind the blind twin answers, bounded too."""
    history, weather = turbine_park()
    now_s = int(ISSUES_S[60])
    model = train(history, weather, SITE, ISSUES_S, LEADS, WIND, now_s)
    again = from_bytes(to_bytes(model))
    seen = model.forecast(history, weather, SITE, now_s)
    assert seen.value_kw.tobytes() == again.forecast(history, weather, SITE, now_s).value_kw.tobytes()
    assert "wind_m_s" in model.needs
    lost = model.forecast(history, None, SITE, now_s).value_kw
    assert lost.min() >= 0
    assert np.mean(lost[:, -1] - lost[:, 0]) > np.mean(seen.value_kw[:, -1] - seen.value_kw[:, 0])


def auction(seed=0):
    """Hourly prices with two peaks and sales below 0, each published at noon of the day before."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(START_S, HOUR_S, 24 * DAYS)
    hour = np.arange(grid.n) % 24
    level = np.repeat(rng.normal(0.04, 0.03, DAYS), 24)
    shape = 0.03 * np.exp(-0.5 * ((hour - 8) / 2) ** 2) + 0.05 * np.exp(-0.5 * ((hour - 18) / 2) ** 2)
    value = (level + shape + rng.normal(0, 0.005, grid.n))[None]
    published = grid.starts_s // DAY_S * DAY_S - 12 * HOUR_S
    return History(grid, ("nl",), value, published[None])


def test_what_is_published_is_certain_and_what_is_not_changes_nothing():
    """At 11:00 today's prices stand in every quantile; tomorrow's are unknown and do not leak."""
    history = auction()
    now_s = START_S + 60 * DAY_S + 11 * HOUR_S
    issues = START_S + 11 * HOUR_S + DAY_S * np.arange(DAYS)
    model = train(history, None, SITE, issues, LEADS, PRICE, now_s)
    seen = model.forecast(history, None, SITE, now_s).value_kw
    today = history.value_kw[:, 60 * 24 + 11 : 61 * 24]
    assert np.allclose(seen[:, :, :13], today[:, None, :])
    assert (seen[0, -1, 13:] - seen[0, 0, 13:] > 0.003).all()
    assert (np.diff(seen, axis=1) >= 0).all()
    other = history.value_kw.copy()
    other[:, 61 * 24 :] = np.random.default_rng(1).normal(9, 9, (1, other.shape[1] - 61 * 24))
    changed = History(history.grid, history.series, other, history.known_s)
    assert model.forecast(changed, None, SITE, now_s).value_kw.tobytes() == seen.tobytes()
    assert to_bytes(train(changed, None, SITE, issues, LEADS, PRICE, now_s)) == to_bytes(model)


def test_prices_may_be_negative_and_have_no_bound():
    """Where days before were below 0, so is the forecast's low end."""
    history = auction()
    sold = History(history.grid, history.series, history.value_kw - 0.12, history.known_s)
    first_s = START_S + 50 * DAY_S
    trial = backtest(sold, None, SITE, ISSUES_S, LEADS, PRICE, first_s)
    assert np.median(trial.value_kw) < 0
