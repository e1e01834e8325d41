"""Laws of features of charging places and heat pumps: fortnights, days of rest, degrees, no look-ahead."""

import numpy as np
import pytest

from gridflock.forecast import Site
from gridflock.forecast.learned._habits import habits
from gridflock.forecast.learned._heating import heating
from gridflock.forecast.learned._view import view_of
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

PLACE = Site(34.2, -118.2, "America/Los_Angeles", "US-CA")
START_S = unix_s("2019-07-01T07:00")
DAYS = 100
LEADS = np.arange(36)
ONE = np.ones((1, 1, 1))


def noon_of(day):
    """Local noon (daylight-saving time) of a day after the start."""
    return np.array([START_S + day * DAY_S + 12 * HOUR_S])


def history_of(value):
    """Hours of one series from the start on."""
    return History(TimeGrid.uniform(START_S, HOUR_S, value.shape[-1]), ("site",), value.reshape(1, -1))


def workplace(rng, *, fortnights):
    """Kilowatts by day and hour: workdays alike, free weekends, and every other Friday free if told."""
    day = np.arange(DAYS)
    free = (day % 7 >= 5) | (fortnights & (day % 14 == 11))
    shape = np.exp(-0.5 * ((np.arange(24) - 10.0) / 3.0) ** 2)
    noise = rng.normal(1.0, 0.03, (DAYS, 24))
    return -100.0 * np.where(free, 0.02, 1.0)[:, None] * shape * noise


@pytest.mark.parametrize("fortnights", [True, False])
def test_fortnights_are_found_where_they_are(fortnights):
    """A free Friday every other week is expected on its day; without such a rhythm all Fridays are alike."""
    value = workplace(np.random.default_rng(1), fortnights=fortnights)
    for thursday in (87, 94):
        view = view_of(history_of(value), None, PLACE, noon_of(thursday), LEADS)
        friday = habits(view, ONE)["habit"][0, 0, 12:]
        assert np.abs(friday - value[thursday + 1]).max() < 15.0


def test_a_holiday_is_a_day_of_rest():
    """Labor Day, a Monday, is expected to be like the Sundays before it."""
    value = workplace(np.random.default_rng(2), fortnights=False)
    sunday = (unix_s("2019-09-01T07:00") - START_S) // DAY_S
    view = view_of(history_of(value), None, PLACE, noon_of(sunday), LEADS)
    monday = habits(view, ONE)["habit"][0, 0, 12:]
    assert np.abs(monday).max() < 5.0


def test_habits_and_degrees_foresee_nothing():
    """Whatever is heard after the moment of issue changes no feature."""
    rng = np.random.default_rng(3)
    value = workplace(rng, fortnights=True)
    changed = value.copy().ravel()
    changed[80 * 24 + 12 :] = rng.normal(0.0, 1e3, changed[80 * 24 + 12 :].shape)
    for block in (habits, heating):
        first, second = (
            block(view_of(history_of(v), None, PLACE, noon_of(80), LEADS), ONE) for v in (value, changed)
        )
        for name, column in first.items():
            np.testing.assert_array_equal(column, second[name])


def test_many_series_are_seen_as_each_alone():
    """A series' habits do not depend on the series beside it."""
    rng = np.random.default_rng(4)
    pair = np.stack([workplace(rng, fortnights=f).ravel() for f in (True, False)])
    grid = TimeGrid.uniform(START_S, HOUR_S, pair.shape[1])
    both = habits(view_of(History(grid, ("a", "b"), pair), None, PLACE, noon_of(80), LEADS), ONE)
    for k, value in enumerate(pair):
        alone = habits(view_of(history_of(value), None, PLACE, noon_of(80), LEADS), ONE)
        for name, column in alone.items():
            np.testing.assert_allclose(column[0], both[name][k])


def test_draw_in_proportion_to_degrees_is_carried_over_exactly():
    """Where draw goes with the degrees, a cold snap after warm days is expected in full."""
    hours = DAYS * 24
    temp = 10.0 + 5.0 * np.sin(np.arange(hours) / 50.0)
    temp[80 * 24 :] -= 12.0
    grid = TimeGrid.uniform(START_S, HOUR_S, hours)
    weather = Weather(grid, {"temp_c": temp}, "perfect")
    probe = view_of(history_of(np.zeros(hours)), weather, PLACE, grid.starts_s[200:], np.array([0]))
    draw = np.zeros(hours)
    draw[200:] = -2.0 * heating(probe, ONE)["degrees"][0, :, 0]
    view = view_of(history_of(draw), weather, PLACE, noon_of(80), LEADS)
    found = heating(view, ONE)
    for name in ("degree_day", "degree_week"):
        np.testing.assert_allclose(found[name][0, 0], draw[view.target[0]], rtol=1e-6)


def test_without_temperature_the_last_days_are_carried_over():
    """No weather at all: the anchors are means of past days, known for every lead."""
    value = workplace(np.random.default_rng(5), fortnights=False)
    found = heating(view_of(history_of(value), None, PLACE, noon_of(80), LEADS), ONE)
    assert np.isfinite(found["degree_day"]).all()
    assert np.isnan(found["degrees"]).all()
