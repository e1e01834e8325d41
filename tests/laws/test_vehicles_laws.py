"""Laws of vehicles at a site: nothing foreseen, quantiles in order, never less than is known already."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast import Site
from gridflock.forecast.vehicles import Sessions, plug_ins, stay
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

PLACE = Site(34.2, -118.2, "America/Los_Angeles", "US-CA")
START_S = unix_s("2019-03-11T07:00")
NOW_S = START_S + 60 * DAY_S + 12 * HOUR_S
ARRIVING_S = NOW_S + np.array([1, 20, 44]) * HOUR_S
THERE_S = NOW_S - np.array([1, 5, 30]) * HOUR_S
AHEAD = TimeGrid.uniform(NOW_S, HOUR_S, 36)


def sessions(seed, days=70, per_day=20):
    """Workdays' arrivals in the morning that stay a working day."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), per_day)
    day = day[day % 7 < 5]
    plugged = START_S + day * DAY_S + (rng.normal(8.0, 1.0, len(day)) * HOUR_S).astype(np.int64)
    left = plugged + (rng.uniform(2.0, 10.0, len(day)) * HOUR_S).astype(np.int64)
    return Sessions(plugged, left, rng.gamma(3.0, 4.0, len(day)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 50), st.integers(0, 50))
def test_what_ends_later_changes_nothing(seed, other):
    """Sessions that end after the moment of asking may be anything; arrivals after it too."""
    table, rng = sessions(seed), np.random.default_rng(other)
    late = table.left_s > NOW_S
    begun = table.plugged_s < NOW_S
    shifted = np.where(begun, table.plugged_s, table.plugged_s + rng.integers(0, DAY_S, late.shape))
    left = np.where(late, shifted + NOW_S + rng.integers(1, DAY_S, late.shape), table.left_s)
    changed = Sessions(shifted, left, np.where(late, rng.gamma(2.0, 9.0, late.shape), table.energy_kwh))
    for arrivals in (ARRIVING_S, THERE_S):
        one, two = (stay(t, PLACE, arrivals, NOW_S) for t in (table, changed))
        np.testing.assert_array_equal(one.left_s, two.left_s)
        np.testing.assert_array_equal(one.energy_kwh, two.energy_kwh)
    one, two = (plug_ins(t, PLACE, AHEAD, NOW_S) for t in (table, changed))
    np.testing.assert_array_equal(one, two)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1_000), st.lists(st.floats(0.0, 200.0), min_size=3, max_size=3))
def test_quantiles_are_in_order_and_keep_to_what_is_known(seed, drawn):
    """A vehicle that is there leaves in the future and takes at least what it has drawn; counts are >= 0."""
    table, drawn = sessions(seed), np.array(drawn)
    found = stay(table, PLACE, THERE_S, NOW_S, drawn)
    assert (np.diff(found.left_s, axis=1) >= 0).all()
    assert (found.left_s >= NOW_S).all()
    some = np.isfinite(found.energy_kwh)
    assert (found.energy_kwh[some] >= np.repeat(drawn[:, None], 9, axis=1)[some]).all()
    counts = plug_ins(table, PLACE, AHEAD, NOW_S)
    assert (counts >= 0).all()
    assert (np.diff(counts, axis=1) >= 0).all()


def test_the_order_of_the_table_says_nothing():
    """Shuffled rows give the same quantiles."""
    table = sessions(3)
    order = np.random.default_rng(0).permutation(len(table.plugged_s))
    mixed = Sessions(table.plugged_s[order], table.left_s[order], table.energy_kwh[order])
    one, two = (stay(t, PLACE, ARRIVING_S, NOW_S) for t in (table, mixed))
    np.testing.assert_allclose(one.left_s, two.left_s)
    np.testing.assert_allclose(one.energy_kwh, two.energy_kwh)


def test_mornings_of_workdays_bring_vehicles_and_weekends_none():
    """Twenty arrive on a workday around eight; on Saturday hardly one."""
    table = sessions(5)
    for day, least, most in ((56, 15.0, 25.0), (61, 0.0, 1.0)):
        grid = TimeGrid.uniform(START_S + day * DAY_S, HOUR_S, 24)
        arrived = plug_ins(table, PLACE, grid, grid.start_s)[:, 4].sum()
        assert least <= arrived <= most


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_hardly_anything_still_answers(rows):
    """Without sessions the answer is unknown, never an error; a stay longer than any ends some day."""
    table = sessions(1)
    few = Sessions(table.plugged_s[:rows], table.left_s[:rows], table.energy_kwh[:rows])
    assert stay(few, PLACE, ARRIVING_S, NOW_S).left_s.shape == (3, 9)
    there = stay(few, PLACE, THERE_S, NOW_S).left_s
    assert np.isfinite(there).all()
    assert (there >= NOW_S).all()
    assert plug_ins(few, PLACE, AHEAD, NOW_S).shape == (36, 9)


def test_faulty_rows_are_not_learnt_from():
    """Sessions that end before they begin, or draw less than nothing, tell nothing."""
    table = sessions(7)
    n = len(table.plugged_s)
    wrong = Sessions(
        np.concatenate([table.plugged_s, table.plugged_s]),
        np.concatenate([table.left_s, table.plugged_s - HOUR_S]),
        np.concatenate([table.energy_kwh, np.full(n, 500.0)]),
    )
    one, two = (stay(t, PLACE, ARRIVING_S, NOW_S) for t in (table, wrong))
    np.testing.assert_array_equal(one.left_s, two.left_s)
    np.testing.assert_array_equal(one.energy_kwh, two.energy_kwh)
