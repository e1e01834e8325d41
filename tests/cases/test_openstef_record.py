"""OpenSTEF's scores on the Dutch substations are on record; ours are set against them by station."""

import numpy as np

from gridflock.bench._forecast_rivals import against_openstef, recorded
from gridflock.bench._forecast_sets import SETS

STATIONS = ("pid_287", "pid_307", "pid_435")
SUBSTATION_SETS = ("substations_36h", "substations_1h")


def test_the_record_says_what_ran_and_when():
    """Version, date and end of training stand in the file: a figure nobody can place is none."""
    record = recorded()
    assert record["versions"]["openstef"].startswith("3.")
    assert record["measured_on"] >= "2021-01-28"
    assert record["trained_to"].startswith("2021-01-10T17:00")


def test_every_station_and_set_has_a_score_of_each_way():
    """Three stations, two sets, three ways to train; a better trained rival is not left out."""
    for station in STATIONS:
        for name in SUBSTATION_SETS:
            assert name in SETS
            ways = recorded()["stations"][station][name]
            assert set(ways) == {"plain", "refitted", "alone"}
            for score in ways.values():
                assert score["crps_mw"] > 0.0
                assert 0.0 < score["coverage80"] < 1.0
                assert score["rows"] == ways["plain"]["rows"]


def test_the_ratio_is_the_mean_over_stations():
    """Each station counts alike, however large it is; cells that are not scored do not count."""
    name = "substations_36h"
    truth = np.zeros((3, 2, 4))
    spread = np.arange(-4.0, 5.0)
    ours = np.array([1.0, 10.0, 100.0])[:, None, None, None] * spread + truth[..., None]
    ours[:, 1] = 1e9
    scored = np.zeros(truth.shape, dtype=bool)
    scored[:, 0] = True
    answer = against_openstef(name, STATIONS, truth, ours, 2.0 * ours, scored)
    single = 2.0 * np.mean(
        np.abs(spread) * np.where(spread > 0, 0.1 * np.arange(9, 0, -1), 0.1 * np.arange(1, 10))
    )
    wanted = [
        single * size / (1000.0 * recorded()["stations"][station][name]["plain"]["crps_mw"])
        for station, size in zip(STATIONS, (1.0, 10.0, 100.0), strict=True)
    ]
    assert np.isclose(answer["crps_ratio"], np.mean(wanted), atol=2e-4)
    for station in STATIONS:
        assert answer["openstef"]["stations"][station]["naive_ratio"] == 0.5
        assert answer["openstef"]["stations"][station]["rows"][0] == 4
