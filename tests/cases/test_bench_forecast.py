"""The forecast protocol: its sets, its baseline, and what is measured of speed."""

import numpy as np
import pytest

from gridflock.bench import FORECAST_SETS, forecast_joint, forecast_speed
from gridflock.bench._forecast_sets import forecast_set
from gridflock.forecast import crps, inside, naive
from gridflock.units import DAY_S, HOUR_S, utc_offset_s

WANTED = (
    "feeder_day_ahead", "feeder_hour_ahead", "homes17_day_ahead", "home_day_ahead", "pv_day_ahead",
    "pv_day_ahead_no_weather", "ev_day_ahead", "heat_pump_day_ahead", "substations_36h", "substations_1h",
)  # fmt: skip
BESIDE = ("wind_day_ahead", "wind_day_ahead_no_weather", "hourly_price_day_ahead", "auction_price")


def test_all_sets_are_there():
    """The protocol has its ten sets, and wind and prices beside them."""
    assert (*WANTED, *BESIDE) == FORECAST_SETS


@pytest.mark.parametrize("name", WANTED)
def test_a_set_is_read_in_the_house_s_sign_and_clock(name, shared):
    """Loads are negative and generation positive, issues are noons, nothing of the test span is training."""
    task = forecast_set(name, shared / "data" / "series")
    value = task.history.value_kw
    starts = task.history.grid.starts_s
    assert np.isfinite(value).mean() > 0.9
    if task.kind == "pv":
        assert np.nanmin(value) >= 0
    elif task.kind != "substation":
        assert np.nanmax(value) <= 0
    assert task.train_end_s <= task.test_start_s < task.test_end_s <= task.history.grid.end_s
    issues = task.issues(int(starts[0]), task.test_end_s)
    tested = issues[issues >= task.test_start_s]
    assert len(tested) > 10
    if task.daily:
        local = (issues + utc_offset_s(task.site.timezone, issues)) % DAY_S
        assert (local == 12 * HOUR_S).all()
        assert len(task.leads) * task.step_s == 36 * HOUR_S
    else:
        assert (task.leads[0] + 1) * task.step_s == HOUR_S
    assert not [n for n in (task.weather.columns if task.weather else {}) if "predicted" in n]


def test_sessions_keep_their_energy(shared):
    """Spreading sessions over hours neither makes nor loses energy."""
    import duckdb

    task = forecast_set("ev_day_ahead", shared / "data" / "series")
    file = shared / "data" / "series" / "ev_sessions" / "sessions.parquet"
    with duckdb.connect() as base:
        total = base.execute(f"SELECT sum(energy_kwh::DOUBLE) FROM '{file}' WHERE site = 'jpl'").fetchone()[0]
    assert -task.history.value_kw.sum() == pytest.approx(total, rel=1e-5)


def test_only_values_that_stand_still_are_left_out(shared):
    """Of the feeder's demand 58 half-hours of zero are not heard, and nothing else."""
    task = forecast_set("feeder_day_ahead", shared / "data" / "series")
    missing = ~np.isfinite(task.history.value_kw[0])
    assert missing.sum() == 58
    assert np.flatnonzero(missing)[-1] - np.flatnonzero(missing)[0] == 57


def _ramp():
    """Two series of hours that grow by 1 and by 2 kW a day."""
    starts = 1_600_000_000 // DAY_S * DAY_S + HOUR_S * np.arange(24 * 20)
    return np.stack([k * (np.arange(24 * 20) // 24) for k in (1.0, 2.0)]), starts


@pytest.mark.parametrize(("rule", "days"), [("week", (7, 7, 7)), ("day", (1, 1, 2))])
def test_the_baseline_is_a_day_of_the_past_and_what_it_missed(rule, days):
    """On a ramp, the value some days back plus what such days have missed is exact, in every quantile."""
    value, starts = _ramp()
    at = np.array([24 * 15 + 12])
    leads = np.array([0, 13, 30])
    found = naive(value, starts, "UTC", at, leads, rule, int(starts[-1]))
    truth = value[:, at[:, None] + leads]
    assert np.allclose(found, truth[..., None])
    blind = naive(value, starts, "UTC", at, leads, rule, int(starts[24]))
    step = np.array([1.0, 2.0])[:, None] * np.array(days)
    assert np.allclose(blind[:, 0, :, 4], truth[:, 0] - step)


def test_persistence_is_the_last_known_step():
    """An hour ahead in half-hours, the baseline is the step that ended at the moment of issue."""
    value = np.arange(48.0 * 4)[None]
    starts = 1_800 * np.arange(48 * 4)
    found = naive(value, starts, "UTC", np.array([100]), np.array([1]), "last", 0)
    assert (found == 99.0).all()


def test_scores_are_those_of_the_definition():
    """CRPS is twice the mean pinball loss of nine quantiles; a point forecast's is its absolute error."""
    truth = np.array([1.0, -2.0, np.nan])
    point = np.zeros((3, 9))
    assert np.allclose(crps(truth, point)[:2], [1.0, 2.0])
    assert np.isnan(crps(truth, point)[2])
    spread = np.tile(np.linspace(-1, 1, 9), (3, 1))
    assert inside(truth, spread).tolist() == [True, False, False]


@pytest.mark.slow
def test_homes_that_have_just_begun_are_forecast_by_their_siblings(shared):
    """Unknown homes heard for 0, 1 and 7 days: better than habits, near a long past's, bands honest."""
    found = forecast_joint("homes_new", shared / "data" / "series")["history_days"]
    assert found["0"]["crps_ratio_habits"] < 0.8
    assert found["1"]["crps_ratio_habits"] < 0.8
    assert found["1"]["crps_ratio_all_history"] < 1.1
    assert found["7"]["crps_ratio_all_history"] < 1.02
    assert all(0.76 < marks["coverage80"] < 0.85 for marks in found.values())


def test_the_bench_of_speed_counts():
    """A few hundred meters are trained on and refreshed; every forecast is whole."""
    found = forecast_speed(300, seed=1)
    assert found["counts"], found["why_not"]
    assert found["refresh_s"] > 0
    assert found["train_s"] > 0
    assert 0 < found["rss_gib"] < 4
