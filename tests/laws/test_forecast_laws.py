"""Laws of forecasting: whatever the history, an honest answer with ordered quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast import Score, Site, forecast, naive, score
from gridflock.forecast._sun import clear_sky
from gridflock.model import Forecast, History
from gridflock.units import DAY_S, TimeGrid

SITE = Site(34.05, -118.24, "America/Los_Angeles")
NOW_S = 1_750_003_200  # 2025-06-15 16:00 UTC, a Sunday morning in Los Angeles
QUARTER_S = 900


def growing(now_s):
    """4 h of quarters, then 20 h of hours."""
    return TimeGrid(
        now_s + np.concatenate([np.arange(16) * QUARTER_S, (4 + np.arange(21)) * 3600]).astype(np.int64)
    )


def sunny(sky, size, tilt, azimuth):
    """Power of a tilted plane on clear days."""
    b, a = np.deg2rad(tilt), np.deg2rad(azimuth)
    beam = np.cos(b) * sky[:, 0] + np.sin(b) * (np.cos(a) * sky[:, 1] + np.sin(a) * sky[:, 2])
    return size * (np.maximum(beam, 0.0) + sky[:, 3])


def world(days, seed=0, ahead_days=2, now_s=NOW_S):
    """A roof and two loads over the past and a little beyond now."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(now_s - days * DAY_S, QUARTER_S, (days + ahead_days) * 96)
    sky = clear_sky(SITE, grid.edges_s)
    hour = (grid.starts_s / 3600 - 7) % 24
    weekend = ((grid.starts_s - 7 * 3600) // DAY_S + 3) % 7 >= 5
    cloud = rng.uniform(0.3, 1.0, days + ahead_days + 1)[(grid.starts_s - grid.start_s) // DAY_S]
    home = -(2 + np.sin((hour - 10) / 24 * 2 * np.pi) + 0.5 * weekend + 0.2 * rng.standard_normal(grid.n))
    shop = np.where((hour > 8) & (hour < 18) & ~weekend, -30.0, -5.0) + rng.standard_normal(grid.n)
    values = np.stack([sunny(sky, 6.0, 25, 200) * cloud, home, shop])
    return History(grid, ("roof", "home", "shop"), values)


def width(answer):
    """Mean width of the 80 % band per series."""
    return (answer.value_kw[:, -1] - answer.value_kw[:, 0]).mean(axis=1)


broken_values = st.sampled_from([np.nan, 0.0, 5.0, -5.0, np.inf, 1e4])


@settings(max_examples=40, deadline=None)
@given(
    hours=st.integers(0, 60),
    seed=st.integers(0, 9),
    fill=broken_values,
    fraction=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_quantiles_never_cross_and_an_answer_always_comes(hours, seed, fill, fraction):
    """Empty, short, gappy, constant and absurd histories: finite quantiles in order."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(NOW_S - hours * 3600, QUARTER_S, hours * 4)
    value = rng.normal(-3, 2, (3, grid.n))
    value[rng.random(value.shape) < fraction] = fill
    answer = forecast(History(grid, ("roof", "a", "b"), value), growing(NOW_S), SITE, {"roof"}, NOW_S)
    assert answer.value_kw.shape == (3, 9, answer.grid.n)
    assert np.isfinite(answer.value_kw).all()
    assert (np.diff(answer.value_kw, axis=1) >= 0).all()
    assert answer.quantiles[4] == 0.5
    assert answer.known_at_s == NOW_S


@pytest.mark.parametrize("days", [0, 1, 14])
def test_night_sun_is_exactly_zero(days):
    """Every quantile of a solar series is 0.0 in steps that lie wholly in the night, noise or not."""
    history = world(days)
    history.value_kw[0] += 0.05  # a meter's offset, at night too
    grid = TimeGrid.uniform(NOW_S, QUARTER_S, 96)
    answer = forecast(history, grid, SITE, ("roof",), NOW_S)
    elevation = clear_sky(SITE, TimeGrid.uniform(NOW_S, 300, 288).edges_s)[:, 4].reshape(96, 3)
    night, day = (elevation < 0).all(axis=1), (elevation > 15).all(axis=1)
    assert 30 < night.sum() < 60
    assert (answer.value_kw[0][:, night] == 0.0).all()
    assert (answer.median("roof")[day] > 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), back=st.integers(0, 40))
def test_a_changed_future_changes_nothing(seed, back):
    """Values at or after now, and the step that holds now, leave the answer the same to the bit."""
    history = world(5)
    now_s = NOW_S - back * 700  # mostly inside a step
    changed = history.value_kw.copy()
    unknown = history.grid.edges_s[1:] > now_s
    changed[:, unknown] = np.random.default_rng(seed).normal(0, 100, (3, int(unknown.sum())))
    grid = growing(now_s)
    one = forecast(history, grid, SITE, ("roof",), now_s)
    other = forecast(History(history.grid, history.series, changed), grid, SITE, ("roof",), now_s)
    assert one.value_kw.tobytes() == other.value_kw.tobytes()


def test_less_history_is_wider():
    """Two hours of history give a wider band than two weeks, for every series."""
    grid = growing(NOW_S)
    long = forecast(world(14), grid, SITE, ("roof",), NOW_S)
    full = world(14)
    late = full.grid.starts_s >= NOW_S - 7200
    start = int(full.grid.starts_s[late][0])
    short_past = History(
        TimeGrid.uniform(start, QUARTER_S, int(late.sum())), full.series, full.value_kw[:, late]
    )
    short = forecast(short_past, grid, SITE, ("roof",), NOW_S)
    assert (width(short) > width(long)).all()


def test_silence_is_wider():
    """The longer nothing was heard of a load until now, the wider its band; others do not notice."""
    widths = []
    for silent_h in (0, 6, 24, 72, 120):
        history = world(14, ahead_days=0)
        history.value_kw[1, history.grid.starts_s >= NOW_S - silent_h * 3600] = np.nan
        answer = forecast(history, TimeGrid.uniform(NOW_S + 6 * 3600, 3600, 18), SITE, ("roof",), NOW_S)
        widths.append(width(answer))
    home = np.array(widths)[:, 1]
    assert (np.diff(home) > 0).all()
    assert home[-1] > 1.2 * home[0]
    assert np.ptp(np.array(widths)[:, [0, 2]], axis=0).max() == 0.0


def test_habits_are_learnt_by_weekday_and_constants_stay():
    """The shop that is shut on Sundays is forecast shut; a constant series stays at its value."""
    history = world(21)
    history.value_kw[1] = -4.0
    answer = forecast(history, growing(NOW_S), SITE, ("roof",), NOW_S)
    noon_sunday = answer.grid.step_at(NOW_S + 3 * 3600)
    assert answer.median("shop")[noon_sunday] > -9
    np.testing.assert_allclose(answer.median("home"), -4.0, atol=0.05)
    assert width(answer)[1] < 0.2


def test_local_clock_carries_over_a_daylight_saving_change():
    """A habit at 18 h local time is forecast at 18 h local time on the first day of summer time."""
    now_s = 1_741_503_600  # 2025-03-09 07:00 UTC, 23:00 on the 8th in Los Angeles; clocks change at 2 h
    grid = TimeGrid.uniform(now_s - 10 * DAY_S, QUARTER_S, 10 * 96)
    evening = (grid.starts_s - 8 * 3600) % DAY_S // 3600 == 18
    history = History(grid, ("home",), np.where(evening, -5.0, -1.0)[None])
    answer = forecast(history, TimeGrid.uniform(now_s, QUARTER_S, 96), SITE, (), now_s)
    local_hour = (answer.grid.starts_s - 7 * 3600) % DAY_S // 3600
    after = answer.grid.starts_s >= now_s + 3 * 3600
    low = answer.median("home") < -3
    np.testing.assert_array_equal(low[after], local_hour[after] == 18)


def test_the_plane_of_a_roof_is_found():
    """After three clear days a west roof's forecast follows its own shape within 3 % of its peak."""
    grid = TimeGrid.uniform(NOW_S - 3 * DAY_S, QUARTER_S, 4 * 96)
    truth = sunny(clear_sky(SITE, grid.edges_s), 10.0, 30, 270)
    history = History(grid, ("roof",), truth[None])
    answer = forecast(history, TimeGrid.uniform(NOW_S, QUARTER_S, 96), SITE, ("roof",), NOW_S)
    np.testing.assert_allclose(answer.median("roof"), truth[3 * 96 :], atol=0.03 * truth.max())


def test_steps_of_any_length_carry_the_same_energy():
    """The median over one hour is the mean of the four quarters' medians."""
    history = world(7)
    fine = forecast(history, TimeGrid.uniform(NOW_S, QUARTER_S, 96), SITE, ("roof",), NOW_S)
    coarse = forecast(history, TimeGrid.uniform(NOW_S, 3600, 24), SITE, ("roof",), NOW_S)
    np.testing.assert_allclose(fine.value_kw.reshape(3, 9, 24, 4).mean(axis=3), coarse.value_kw, atol=1e-9)


def test_better_than_yesterday_and_the_band_holds():
    """Over a day of issues the median beats yesterday's values and covers about 80 %."""
    ours, naive, inside = [], [], []
    history = world(16, seed=3)
    for k in range(0, 96, 8):
        now_s = NOW_S + k * QUARTER_S
        grid = TimeGrid.uniform(now_s, QUARTER_S, 48)
        answer = forecast(history, grid, SITE, ("roof",), now_s)
        yesterday = History(TimeGrid(history.grid.edges_s + DAY_S), history.series, history.value_kw)
        copy = np.repeat(_over(yesterday, grid)[:, None], 9, axis=1)
        ours.append(score(history, answer).mae_kw)
        naive.append(score(history, Forecast(grid, history.series, answer.quantiles, copy, now_s)).mae_kw)
        inside.append(score(history, answer).coverage)
    assert (np.mean(ours, axis=0) < np.mean(naive, axis=0)).all()
    assert 0.6 < np.mean(inside) < 0.95


def _over(history, grid):
    first = int((grid.start_s - history.grid.start_s) // QUARTER_S)
    return history.value_kw[:, first : first + grid.n]


def test_score_by_hand():
    """Truth 2, quantiles 0..8 around a median of 4: errors, pinball and coverage by hand."""
    grid = TimeGrid.uniform(0, 3600, 2)
    value = np.repeat(np.arange(9.0)[None, :, None], 2, axis=2)
    answer = Forecast(grid, ("a",), np.round(np.arange(0.1, 0.95, 0.1), 1), value, 0)
    got = score(History(grid, ("a",), np.array([[2.0, np.nan]])), answer)
    assert isinstance(got, Score)
    # pinball: truth above 0, 1 (0.1·2 + 0.2·1), below 3..8 ((1-q)·(v-2), q = 0.4..0.9)
    by_hand = (0.2 + 0.2 + 0.6 * 1 + 0.5 * 2 + 0.4 * 3 + 0.3 * 4 + 0.2 * 5 + 0.1 * 6) / 9
    np.testing.assert_allclose([got.mae_kw[0], got.pinball_kw[0], got.coverage[0]], [2.0, by_hand, 1.0])


def test_uneven_history_is_our_own_bug():
    """A history of unequal steps is a mistake of the caller and raises at once."""
    grid = TimeGrid(np.array([0, 900, 2700], dtype=np.int64))
    with pytest.raises(ValueError, match="uniform"):
        forecast(History(grid, ("a",), np.zeros((1, 2))), growing(3600), SITE, (), 3600)


@pytest.mark.parametrize(
    ("file", "column", "sign", "days_back"), [("demand", "demand_MW", -1, 7), ("pv", "pv_power_mw", 1, 1)]
)
def test_a_real_feeder_and_its_solar_farm_beat_the_naive(shared, file, column, sign, days_back):
    """Half a year of Plymouth, 24 h ahead: a lower error than the naive copy, an honest band."""
    import duckdb

    source = shared / "data" / "series" / "wpd_pod_stentaway" / f"{file}.parquet"
    table = duckdb.sql(f"select epoch(datetime) t, {column} v from '{source}' order by 1").fetchnumpy()
    grid = TimeGrid.uniform(int(table["t"][0]), 1800, len(table["t"]))
    history = History(grid, (file,), sign * 1000.0 * np.asarray(table["v"])[None])
    ours, naive, inside = [], [], []
    for now_s in range(1_546_300_800, 1_561_000_000, 4 * DAY_S + 5 * 3600):
        k = (now_s - grid.start_s) // 1800
        answer = forecast(
            history, TimeGrid.uniform(now_s, 1800, 48), Site(50.37, -4.1, "Europe/London"), {"pv"}, now_s
        )
        marks = score(history, answer)
        ours.append(marks.mae_kw)
        inside.append(marks.coverage)
        past = slice(k - 48 * days_back, k - 48 * (days_back - 1))
        naive.append(np.abs(history.value_kw[:, k : k + 48] - history.value_kw[:, past]).mean())
    assert np.mean(ours) < 0.95 * np.mean(naive)
    assert 0.65 < np.mean(inside) < 0.95


@pytest.mark.parametrize("rule", ["week", "day", "last"])
def test_the_baseline_says_the_same_whether_or_not_the_rest_is_known(rule):
    """Nothing but what was known at the moment of issue counts, and a target's hour is its own."""
    whole = world(21, ahead_days=7)
    value, starts = whole.value_kw, whole.grid.starts_s
    at, leads = np.array([21 * 96]), np.arange(2 * 96)
    cut = naive(value[:, : at[0]], starts[: at[0]], SITE.timezone, at, leads, rule, NOW_S)
    assert np.array_equal(cut, naive(value, starts, SITE.timezone, at, leads, rule, NOW_S))


def test_the_baseline_says_nothing_of_sun_by_night():
    """A roof that never gave anything by night is told to give nothing then, with certainty."""
    whole = world(21, ahead_days=0)
    now = NOW_S - 4 * 3600  # noon
    at = np.array([(now - whole.grid.start_s) // QUARTER_S])
    known = slice(0, int(at[0]))
    told = naive(
        whole.value_kw[:1, known], whole.grid.starts_s[known], SITE.timezone, at, np.arange(96), "day", now
    )[0, 0]
    dark = clear_sky(SITE, TimeGrid.uniform(now, QUARTER_S, 96).edges_s)[:, 3] <= 0
    hour = (now + QUARTER_S * np.arange(96)) // 3600 % 24
    deep = dark & ((hour - 7) % 24 < 4)  # hours of local night on all days
    assert deep.sum() >= 8
    assert np.array_equal(told[deep], np.zeros_like(told[deep]))
