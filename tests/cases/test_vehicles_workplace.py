"""Vehicles at a real workplace: what was said the day before, against what came."""

import numpy as np
import pytest

from gridflock.forecast import Site, crps, inside
from gridflock.forecast.vehicles import Sessions, plug_ins, stay
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s, utc_offset_s

PASADENA = Site(34.20, -118.17, "America/Los_Angeles", "US-CA")
FIRST_S, LAST_S = unix_s("2019-08-05T19:00"), unix_s("2019-10-14T19:00")


@pytest.fixture(scope="module")
def workplace(shared):
    """All sessions of the JPL garages; their clock is the wall clock."""
    import duckdb

    file = shared / "data" / "series" / "ev_sessions" / "sessions.parquet"
    with duckdb.connect() as base:
        query = f"""SELECT epoch("start") AS t, epoch("end") AS u, energy_kwh AS e
            FROM read_parquet('{file}') WHERE site = 'jpl'"""
        rows = base.execute(query).fetchnumpy()
    wall = [rows[name].astype(np.int64) for name in "tu"]
    begun, left = (w - utc_offset_s("America/Los_Angeles", w + 8 * HOUR_S) for w in wall)
    return Sessions(begun, left, rows["e"].astype(np.float64))


def test_departures_and_energy_are_as_sure_as_said(workplace):
    """Asked the noon before, four in five stays and energies lie in the 80 % band; stays beat habit's mean.

    The baseline says of each vehicle what all of the last 60 days did.
    """
    said, came, taken, drawn, plain = [], [], [], [], []
    for noon in range(FIRST_S, LAST_S, DAY_S):
        wanted = (workplace.plugged_s >= noon + 12 * HOUR_S) & (workplace.plugged_s < noon + 36 * HOUR_S)
        known = (workplace.left_s <= noon) & (workplace.plugged_s > noon - 60 * DAY_S)
        begun = workplace.plugged_s[wanted]
        found = stay(workplace, PASADENA, begun, noon)
        said.append(found.left_s - begun[:, None])
        came.append((workplace.left_s - workplace.plugged_s)[wanted])
        taken.append(found.energy_kwh)
        drawn.append(workplace.energy_kwh[wanted])
        length = (workplace.left_s - workplace.plugged_s)[known]
        plain.append(np.tile(np.quantile(length, np.arange(0.1, 0.95, 0.1)), (len(begun), 1)))
    said, came, taken, drawn, plain = (np.concatenate(x) for x in (said, came, taken, drawn, plain))
    assert 0.77 <= inside(came.astype(float), said).mean() <= 0.83
    assert 0.77 <= inside(drawn, taken).mean() <= 0.83
    assert crps(came.astype(float), said).mean() < 0.65 * crps(came.astype(float), plain).mean()


def test_counts_of_arrivals_beat_last_week(workplace):
    """The median count of each hour misses less than the count a week before."""
    ours, theirs = 0.0, 0.0
    for noon in range(FIRST_S, LAST_S, DAY_S):
        grid = TimeGrid.uniform(noon, HOUR_S, 36)
        came = np.histogram(workplace.plugged_s, grid.edges_s)[0]
        week = np.histogram(workplace.plugged_s, grid.edges_s - 7 * DAY_S)[0]
        ours += np.abs(came - plug_ins(workplace, PASADENA, grid, noon)[:, 4]).sum()
        theirs += np.abs(came - week).sum()
    assert ours < 0.75 * theirs
