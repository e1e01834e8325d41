"""Generation by the sun: planes found again, nothing at night, never beyond capacity, weather or none."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast import Site
from gridflock.forecast._sun import clear_sky
from gridflock.forecast.learned import SETTINGS, backtest, from_bytes, to_bytes, train
from gridflock.forecast.learned._forest import fit_forest
from gridflock.forecast.sun import CLEAR_GHI, clear_power, fit_planes, orientation, with_clear_sky
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

SITE = Site(50.4, -4.1, "Europe/London")
START_S = unix_s("2026-02-01")
DAYS = 60
ISSUES_S = START_S + 12 * HOUR_S + DAY_S * np.arange(DAYS)
NOW_S = START_S + 50 * DAY_S + 12 * HOUR_S
LEADS = np.arange(36)
SMALL = replace(SETTINGS["pv"], trees=10, forest_trees=15, warm_days=14, least=20)
FULL_KW = 60.0


@lru_cache(maxsize=2)
def _sky(days=DAYS):
    return clear_sky(SITE, START_S + HOUR_S * np.arange(24 * days + 1))


def normal(tilt_deg, azimuth_deg):
    """Up, north and east of a plane's normal."""
    tilt, azimuth = np.radians(tilt_deg), np.radians(azimuth_deg)
    return np.array([np.cos(tilt), np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth)])


def clouds(seed, hours):
    """A clear-sky index that keeps its mood for hours; a third of the days are clear."""
    rng = np.random.default_rng(seed)
    day = np.repeat(
        np.where(rng.random(hours // 24 + 1) < 0.35, 1.0, rng.uniform(0.2, 0.9, hours // 24 + 1)), 24
    )
    return np.clip(day[:hours] + np.where(day[:hours] < 1, rng.normal(0, 0.15, hours), 0), 0.05, 1.0)


def world(seed=0, days=DAYS):
    """A roof of 100 kW behind an inverter of 60 under clouds that its weather knows, roughly."""
    sky = _sky(days)
    grid = TimeGrid.uniform(START_S, HOUR_S, 24 * days)
    index = clouds(seed, grid.n)
    plane = 100 * np.append(normal(35, 190), 1.0)
    power = np.minimum(clear_power(sky[:, :4], plane[None])[0] * index, FULL_KW)
    ghi = (
        1000
        * sky[:, [0, 3]].sum(axis=1)
        * np.clip(index + np.random.default_rng(seed).normal(0, 0.1, grid.n), 0, 1)
    )
    columns = {"ghi_w_m2": ghi, "temp_c": 8 + 10 * index}
    return History(grid, ("roof",), power[None]), Weather(
        grid, columns, "issued", grid.starts_s - 48 * HOUR_S
    )


@lru_cache(maxsize=1)
def _model():
    return train(*world(), SITE, ISSUES_S, LEADS, SMALL, NOW_S)


def lit(issue_s):
    """Which of the steps ahead of a moment the sun rises in."""
    edges = issue_s + HOUR_S * np.arange(len(LEADS) + 1)
    return clear_sky(SITE, edges)[:, [0, 3]].sum(axis=1) > 0


@settings(max_examples=15, deadline=None)
@given(
    tilt=st.floats(10, 55),
    azimuth=st.floats(110, 250),
    size=st.floats(1, 5000),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_planted_plane_is_found_again_through_clouds(tilt, azimuth, size, seed):
    """Tilt, azimuth and size of a plane come out of five months of its output, clouds and all."""
    sky = _sky(150)[:, :4]
    plane = size * np.append(normal(tilt, azimuth), 1.0)
    power = clear_power(sky, plane[None])[0] * clouds(seed, len(sky))
    found = orientation(fit_planes(sky, power[None]))
    assert abs(found.tilt_deg[0] - tilt) < 15
    assert abs(found.azimuth_deg[0] - azimuth) < 15
    assert abs(found.size_kw[0] / size - 1) < 0.4


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.6, 0.9), seed=st.integers(0, 2**32 - 1))
def test_a_full_inverter_does_not_lay_the_plane_flat(share, seed):
    """Output that stands at a limit says nothing of the plane but that it offers as much."""
    sky = _sky(150)[:, :4]
    plane = 100 * np.append(normal(35, 180), 1.0)
    clear = clear_power(sky, plane[None])[0]
    power = np.minimum(clear * clouds(seed, len(sky)), share * clear.max())
    found = orientation(fit_planes(sky, power[None]))
    assert abs(found.tilt_deg[0] - 35) < 10
    assert abs(found.azimuth_deg[0] - 180) < 12


def test_of_generators_never_heard_nothing_breaks():
    """Planes of series without a value, and of none at all, are still planes."""
    sky = _sky()[:, :4]
    assert np.isfinite(fit_planes(sky, np.full((2, len(sky)), np.nan))).all()
    assert fit_planes(sky, np.empty((0, len(sky)))).shape == (0, 4)
    assert np.isfinite(fit_planes(sky[:0], np.empty((1, 0)))).all()


def test_the_clear_sky_beside_the_weather_keeps_its_steps():
    """The column added to a weather is the light on a horizontal plane over the same steps, 0 at night."""
    weather = with_clear_sky(world()[1], SITE)
    clear = weather.columns[CLEAR_GHI]
    assert np.allclose(clear, 1000 * _sky()[:, [0, 3]].sum(axis=1))
    assert (clear[weather.columns["ghi_w_m2"] > 0] > 0).all()


@settings(max_examples=8, deadline=None)
@given(hours=st.integers(0, 200))
def test_night_is_exactly_zero_and_day_within_capacity(hours):
    """At any moment of issue all quantiles of night steps are 0; none exceeds what was reached before."""
    history, weather = world()
    now_s = NOW_S + hours * HOUR_S
    found = _model().forecast(history, weather, SITE, now_s).value_kw[0]
    day = lit(now_s)
    assert (found[:, ~day] == 0).all()
    assert (found >= 0).all()
    assert found.max() <= 1.02 * FULL_KW
    assert (found[-1, day] > 0).any()
    assert (np.diff(found, axis=0) >= 0).all()


def test_without_weather_geometry_and_lags_answer():
    """No weather at all: a wider forecast that keeps night and capacity, by members that know no weather."""
    history, weather = world()
    told = train(history, None, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    assert not {"sun_sky", "sun_air", "sun_missed"} & set(told.settings.blocks)
    blind = told.forecast(history, None, SITE, NOW_S).value_kw[0]
    seeing = _model().forecast(history, weather, SITE, NOW_S).value_kw[0]
    assert (blind[:, ~lit(NOW_S)] == 0).all()
    assert (blind[-1] - blind[0]).sum() > (seeing[-1] - seeing[0]).sum()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_comes_later_changes_no_byte(seed):
    """Neither training nor forecast knows output or weather that was learnt after its moment."""
    history, weather = world()
    rng = np.random.default_rng(seed)
    value = history.value_kw.copy()
    late = history.grid.edges_s[1:] > NOW_S
    value[:, late] = rng.uniform(0, 500, late.sum())
    hidden = weather.known_s > NOW_S
    columns = {k: np.where(hidden, rng.uniform(0, 900, len(v)), v) for k, v in weather.columns.items()}
    other = (
        History(history.grid, history.series, value),
        Weather(weather.grid, columns, "issued", weather.known_s),
    )
    again = train(*other, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    assert to_bytes(again) == to_bytes(_model())
    first = _model().forecast(history, weather, SITE, NOW_S)
    assert again.forecast(*other, SITE, NOW_S).value_kw.tobytes() == first.value_kw.tobytes()


def test_a_back_test_beats_its_own_climate_and_stays_dark_at_night():
    """Rolling forecasts follow the weather: a smaller error than the median of each hour; 0 at night."""
    history, weather = world()
    trial = backtest(history, weather, SITE, ISSUES_S, LEADS, SMALL, START_S + 35 * DAY_S)
    hour = (trial.issues_s[:, None] // HOUR_S + LEADS) % 24
    truth, found = trial.truth_kw[0], trial.value_kw[0]
    known = np.isfinite(truth)
    usual = np.array(
        [np.median(truth[known & (hour == h)]) if (known & (hour == h)).any() else 0 for h in range(24)]
    )
    assert np.abs(found[..., 4] - truth)[known].mean() < 0.6 * np.abs(usual[hour] - truth)[known].mean()
    night = np.stack([~lit(int(issue)) for issue in trial.issues_s])
    assert (found[night] == 0).all()


def test_an_hour_ahead_is_nearer_than_the_last_step_and_dark_at_night():
    """Forecasts of the next hour err less than the last known hour repeated; 0 at night."""
    history, weather = world()
    issues_s = START_S + HOUR_S * np.arange(24, 24 * DAYS)
    quick = replace(SETTINGS["pv_hour"], trees=10, forest_trees=15, warm_days=14, least=20)
    trial = backtest(history, weather, SITE, issues_s, np.array([0]), quick, START_S + 50 * DAY_S)
    truth, found = trial.truth_kw[0, :, 0], trial.value_kw[0, :, 0]
    last = history.value_kw[0, (trial.issues_s - START_S) // HOUR_S - 1]
    assert np.abs(found[:, 4] - truth).mean() < 0.7 * np.abs(last - truth).mean()
    assert (found[[not lit(int(issue))[0] for issue in trial.issues_s]] == 0).all()


def test_dead_days_are_not_learnt_from():
    """A week of outage among the days learnt from leaves the forecast of a sunny week as it was, nearly."""
    history, weather = world()
    dead = history.value_kw.copy()
    dead[:, 24 * 20 : 24 * 27] = 0
    broken = train(History(history.grid, ("roof",), dead), weather, SITE, ISSUES_S, LEADS, SMALL, NOW_S)
    whole = _model().forecast(history, weather, SITE, NOW_S).value_kw[0, 4].sum()
    assert broken.forecast(history, weather, SITE, NOW_S).value_kw[0, 4].sum() == pytest.approx(
        whole, rel=0.15
    )


def test_a_model_of_the_sun_comes_back_from_its_bytes():
    """Bytes give the same forest, the same trees, the same answer."""
    history, weather = world()
    again = from_bytes(to_bytes(_model()))
    first = _model().forecast(history, weather, SITE, NOW_S)
    assert to_bytes(again) == to_bytes(_model())
    assert again.forecast(history, weather, SITE, NOW_S).value_kw.tobytes() == first.value_kw.tobytes()


def test_a_forest_knows_how_wide_its_targets_lie():
    """Quantiles of a normal spread that grows with the feature are those of the spread, within its noise."""
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (6000, 1)).astype(np.float32)
    y = x[:, 0] + rng.normal(0, 1, len(x)) * (0.1 + 0.4 * x[:, 0])
    grown = replace(SMALL, forest_trees=60, forest_leaves=30, forest_least=60, forest_columns=1.0)
    found = fit_forest(x, y, np.ones(len(x)), grown, 0).predict(np.array([[0.1], [0.9]], dtype=np.float32))
    width = found[:, -1] - found[:, 0]
    assert found[:, 4] == pytest.approx([0.1, 0.9], abs=0.08)
    assert width == pytest.approx([2.563 * 0.14, 2.563 * 0.46], rel=0.2)
