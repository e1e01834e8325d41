"""Measured wind and prices as the protocol reads them."""

import numpy as np

from gridflock.bench._forecast_sets import forecast_set
from gridflock.forecast.learned import SETTINGS
from gridflock.forecast.learned._turbines import turbines
from gridflock.forecast.learned._view import view_of
from gridflock.units import DAY_S, HOUR_S, utc_offset_s


def test_wind_parks_feed_in_and_the_wind_is_told_hours_too_early(shared):
    """Four parks generate; a fit finds by itself that power comes 3 to 4 h after the wind in the files."""
    task = forecast_set("wind_day_ahead", shared / "data" / "series")
    assert task.history.value_kw.shape[0] == 4
    assert (np.nanmean(task.history.value_kw, axis=1) > 0).all()
    view = view_of(task.history, task.weather, task.site, np.array([task.train_end_s]), task.leads[:4])
    found = turbines(view)
    assert set(found.shift[0] * task.step_s // HOUR_S) <= {3, 4}
    assert (np.diff(found.curve) >= 0).all()
    assert found.curve.min() >= 0
    assert found.curve.max() <= 1


def test_prices_of_an_auction_are_known_the_day_before(shared):
    """At noon the rest of the day is published and the day to forecast is not."""
    task = forecast_set("auction_price", shared / "data" / "series")
    issues = task.issues(task.test_start_s, task.test_end_s)
    for issue_s in issues[:-1].tolist():
        first = (issue_s - task.history.grid.start_s) // HOUR_S
        known_s = task.history.known_s[0, first : first + 36]
        assert (known_s[:12] <= issue_s).all()
        assert (known_s[12:] > issue_s).all()
    local = task.history.known_s[0] + utc_offset_s(task.site.timezone, task.history.known_s[0])
    assert np.isin(local % DAY_S // HOUR_S, (12, 13, 14)).all()
    assert task.history.value_kw.min() < 0 < SETTINGS["price"].wider


def test_the_hourly_price_is_money_per_kwh_and_spikes(shared):
    """A year of hours, below 0 at times, far beyond its usual level at others."""
    task = forecast_set("hourly_price_day_ahead", shared / "data" / "series")
    value = task.history.value_kw[0]
    assert len(value) == 366 * 24
    assert np.isfinite(value).all()
    assert value.min() < 0
    assert value.max() > 20 * np.median(value)
