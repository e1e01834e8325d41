"""Flexibility forecasts held against simulated days."""

import pytest

from gridflock.bench import flexibility_forecast


@pytest.mark.slow
def test_bands_of_a_small_fleet_hold_about_what_they_say():
    """Set right by three days, bands hold most of what comes in the next three, and more than as counted."""
    found = flexibility_forecast(ders=60, days=6, seed=5)
    assert 0.5 < found["coverage80_fleet"] <= 0.97
    assert 0.6 < found["coverage80"] < 0.95
    assert found["coverage80"] > found["coverage80_counted"]
    assert found["mae_share"] < 0.6
    assert found["cases"] > 1_000
