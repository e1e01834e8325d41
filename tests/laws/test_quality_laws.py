"""Laws of the data quality gate: clean series raise nothing, planted faults are found and mended."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast.quality import Kind, Repair, Rule, check, examine, gathered, repaired, with_light
from gridflock.model import History, Weather
from gridflock.units import DAY_S, HOUR_S, TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("quality_world")
KINDS, SITES, STARTS, clean, row_of, with_row = (
    here.KINDS,
    here.SITES,
    here.STARTS,
    here.clean,
    here.row_of,
    here.with_row,
)
LABELS = {name: Kind(kind) for name, kind in KINDS.items()}
DAYS = 70
worlds = st.tuples(
    st.integers(0, len(SITES) - 1),
    st.integers(0, len(STARTS) - 1),
    st.sampled_from([1800, 3600]),
    st.just(DAYS),
    st.integers(0, 1),
)


def later(row, steps):
    """A series whose clock is ahead by some steps: its values stand later."""
    found = np.full_like(row, np.nan)
    if steps > 0:
        found[steps:] = row[:-steps]
    else:
        found[:steps] = row[-steps:]
    return found


def days(world, n):
    """Steps in some days of a world."""
    return n * DAY_S // world[2]


def hours(world, n):
    """Steps in some hours of a world."""
    return n * HOUR_S // world[2]


def span_of(history, at):
    """Moments of a stretch of steps."""
    return int(history.grid.edges_s[at[0]]), int(history.grid.edges_s[at[1]])


def faults(examination, *, safe=False):
    """Findings that are faults of values, not mere absence."""
    return [f for f in examination.findings if f.rule is not Rule.GAP and (f.safe or not safe)]


def must_find(history, name, rule, at, site, spare_s=DAY_S, inner_s=6 * HOUR_S):
    """Exactly the planted fault is found, and its stretch ends within so much of the planted one's ends."""
    seen = examine(history, KINDS, site)
    here = [f for f in faults(seen) if f.series == name and f.rule is rule]
    from_s, until_s = span_of(history, at)
    close = [
        f
        for f in here
        if from_s - spare_s <= f.from_s <= from_s + inner_s
        and until_s - inner_s <= f.until_s <= until_s + spare_s
    ]
    assert close, [(f.series, f.rule, f.from_s - from_s, f.until_s - until_s) for f in faults(seen)]
    others = [f for f in faults(seen) if f.series != name]
    assert not others
    again = examine(*again_of(history, seen), site)
    assert not faults(again, safe=True)
    return close[0], repaired(history, seen.findings, LABELS)


def again_of(history, seen):
    """A mended history and what its series are then."""
    mended = repaired(history, seen.findings, LABELS)
    return mended.history, mended.kinds


def agree(mended, original, name, share=0.97):
    """Nearly all values of a mended series that are known are the original ones."""
    row, truth = row_of(mended.history, name), row_of(original, name)
    known = np.isfinite(row)
    assert known.mean() > 0.8
    assert np.isclose(row[known], truth[known], rtol=1e-9, atol=1e-6).mean() > share


@settings(max_examples=25)
@given(world=worlds, sited=st.booleans())
def test_clean_series_raise_no_alarm(world, sited):
    """Loads, a roof, its light and a street with hidden roofs: not one finding, with a site or without."""
    site, history = clean(*world)
    assert examine(history, KINDS, site if sited else None).findings == ()


@settings(max_examples=8)
@given(world=worlds, off_h=st.sampled_from([-11, -6, -3, -2, -1, 1, 2, 3, 6, 11]))
def test_a_shifted_clock_is_put_right_by_the_sun(world, off_h):
    """A roof stamped hours early or late is found over its whole span and moved back."""
    site, history = clean(*world)
    wrong = with_row(history, "roof", later(row_of(history, "roof"), hours(world, off_h)))
    found, mended = must_find(wrong, "roof", Rule.CLOCK_SHIFT, (0, history.grid.n), site)
    assert (found.repair, found.amount) == (Repair.SHIFT, -off_h * HOUR_S)
    agree(mended, history, "roof")


@settings(max_examples=8)
@given(world=worlds, day=st.integers(25, 45), off_h=st.sampled_from([-1, 1]))
def test_a_clock_that_jumps_is_put_right_from_the_jump_on(world, day, off_h):
    """A roof whose clock follows daylight saving from some day on is found from about that day on."""
    world = (*world[:2], 1800, *world[3:])
    site, history = clean(*world)
    row, at = row_of(history, "roof"), days(world, day)
    wrong = with_row(
        history, "roof", np.where(np.arange(len(row)) < at, row, later(row, hours(world, off_h)))
    )
    jumps = [f for f in examine(wrong, KINDS, site).findings if f.rule is Rule.CLOCK_JUMP]
    assert [(f.series, f.amount) for f in jumps] == [("roof", -off_h * HOUR_S)]
    assert abs(jumps[0].from_s - span_of(history, (at, at + 1))[0]) <= 4 * DAY_S
    agree(repaired(wrong, jumps, LABELS), history, "roof", share=0.95)


@settings(max_examples=8)
@given(world=worlds, off_h=st.sampled_from([-4, -3, -2, 2, 3, 4]))
def test_a_street_is_put_right_by_the_light(world, off_h):
    """A net load with hidden roofs, hours early or late, is found by its clouds."""
    site, history = clean(*world)
    wrong = with_row(history, "street", later(row_of(history, "street"), hours(world, off_h)))
    found, _ = must_find(wrong, "street", Rule.CLOCK_SHIFT, (0, history.grid.n), site)
    assert abs(found.amount + off_h * HOUR_S) <= max(world[2], 1800)


@settings(max_examples=8)
@given(
    world=worlds,
    name=st.sampled_from(["works", "home", "roof"]),
    start=st.integers(4 * 24, 40 * 24),
    length=st.sampled_from([3, 10, 20, None]),
)
def test_a_flipped_sign_is_turned_back(world, name, start, length):
    """Days, weeks or the whole of a one-sided series with the wrong sign are found and turned."""
    site, history = clean(*world)
    first = hours(world, start)
    at = (0, history.grid.n) if length is None else (first, first + days(world, length))
    row = row_of(history, name)
    row[at[0] : at[1]] *= -1
    found, mended = must_find(with_row(history, name, row), name, Rule.SIGN, at, site)
    assert found.repair is Repair.NEGATE
    agree(mended, history, name)


@settings(max_examples=8)
@given(world=worlds)
def test_a_street_with_the_wrong_sign_is_turned_back(world):
    """A net load that feeds in at night and draws from the sun is turned."""
    site, history = clean(*world)
    wrong = with_row(history, "street", -row_of(history, "street"))
    _, mended = must_find(wrong, "street", Rule.SIGN, (0, history.grid.n), site)
    agree(mended, history, "street")


@settings(max_examples=8)
@given(
    world=worlds,
    name=st.sampled_from(["works", "home", "street"]),
    start=st.integers(4 * 24, 60 * 24),
    length_h=st.integers(10, 72),
)
def test_a_value_that_stands_still_is_masked(world, name, start, length_h):
    """One value for ten hours or more, in a series that otherwise moves, is found to the step."""
    site, history = clean(*world)
    at = (hours(world, start), hours(world, start + length_h))
    row = row_of(history, name)
    row[at[0] : at[1]] = row[at[0]]
    found, mended = must_find(with_row(history, name, row), name, Rule.STUCK, at, site, spare_s=world[2])
    assert found.repair is Repair.MASK
    assert np.isnan(row_of(mended.history, name)[at[0] : at[1]]).all()


@settings(max_examples=8)
@given(world=worlds, of=st.sampled_from(["works", "home", "street"]))
def test_a_load_under_the_name_of_a_roof_is_taken_for_what_it_is(world, of):
    """A "roof" with power at midnight is no roof; models get it as a series of which nothing is expected."""
    site, history = clean(*world)
    wrong = with_row(history, "roof", np.abs(row_of(history, of)))
    _, mended = must_find(wrong, "roof", Rule.MISLABEL, (0, history.grid.n), site)
    assert mended.kinds["roof"] is Kind.OTHER


@settings(max_examples=8)
@given(
    world=worlds,
    name=st.sampled_from(["works", "home", "roof", "street"]),
    start=st.integers(4 * 24, 48 * 24),
    length=st.integers(3, 18),
    factor=st.sampled_from([1000.0, 0.001]),
)
def test_a_stretch_in_another_unit_is_scaled_back(world, name, start, length, factor):
    """Watts among kilowatts or megawatts among kilowatts, for days: found and scaled by a thousand."""
    site, history = clean(*world)
    at = (hours(world, start), hours(world, start) + days(world, length))
    row = row_of(history, name)
    row[at[0] : at[1]] *= factor
    found, mended = must_find(with_row(history, name, row), name, Rule.UNIT, at, site, inner_s=DAY_S)
    assert found.repair is Repair.SCALE
    assert found.amount == pytest.approx(1 / factor)
    agree(mended, history, name, share=0.96)


@settings(max_examples=8)
@given(
    world=worlds,
    name=st.sampled_from(list(KINDS)),
    place=st.floats(0, 0.999),
    size=st.sampled_from([-20, 20]),
)
def test_a_spike_out_of_all_proportion_is_masked(world, name, place, size):
    """A single value twenty spreads away is found, and nothing else is."""
    site, history = clean(*world)
    row, k = row_of(history, name), int(place * history.grid.n)
    row[k] = size * (np.quantile(row, 0.99) - np.quantile(row, 0.01))
    _, mended = must_find(with_row(history, name, row), name, Rule.OUTLIER, (k, k + 1), site, spare_s=0)
    assert np.isnan(row_of(mended.history, name)).sum() == 1


@settings(max_examples=8)
@given(world=worlds, start=st.integers(6 * 24, 44 * 24), length=st.integers(8, 20), up=st.booleans())
def test_a_level_fault_of_weeks_is_masked(world, start, length, up):
    """A constant on top of a load for a week or three is found from step to step, within hours."""
    site, history = clean(*world)
    at = (hours(world, start), hours(world, start) + days(world, length))
    row = row_of(history, "works")
    row[at[0] : at[1]] += (0.8 if up else -0.8) * np.median(np.abs(row))
    must_find(with_row(history, "works", row), "works", Rule.LEVEL, at, site)


@settings(max_examples=8)
@given(world=worlds, start=st.integers(6 * 24, 60 * 24), length_h=st.integers(9, 24))
def test_a_transfer_of_load_is_masked(world, start, length_h):
    """A neighbour's load on top for hours, far beyond what the series ever does, is found."""
    site, history = clean(*world)
    at = (hours(world, start), hours(world, start + length_h))
    row = row_of(history, "works")
    row[at[0] : at[1]] -= 1.3 * np.median(np.abs(row))
    must_find(with_row(history, "works", row), "works", Rule.LEVEL, at, site)


@settings(max_examples=8)
@given(world=worlds, day=st.integers(3, 60), length=st.integers(1, 5))
def test_dead_days_of_a_roof_are_masked(world, day, length):
    """A roof that gives nothing by day is found, its nights are not."""
    world = (world[0] % 4, *world[1:])  # without Stockholm, where a winter's day has too little light to tell
    site, history = clean(*world)
    at = (days(world, day), days(world, day + length))
    row = row_of(history, "roof")
    row[at[0] : at[1]] = 0.0
    seen = faults(examine(with_row(history, "roof", row), KINDS, site))
    assert {(f.series, f.rule) for f in seen} == {("roof", Rule.DEAD)}
    from_s, until_s = span_of(history, at)
    assert min(f.from_s for f in seen) <= from_s + 12 * HOUR_S
    assert max(f.until_s for f in seen) >= until_s - 12 * HOUR_S


@settings(max_examples=8)
@given(
    world=worlds,
    name=st.sampled_from(list(KINDS)),
    start=st.integers(24, 60 * 24),
    length_h=st.integers(3, 150),
)
def test_a_gap_is_named_to_the_step(world, name, start, length_h):
    """Nothing heard for hours is a gap from its first to its last step, and no other fault."""
    site, history = clean(*world)
    at = (hours(world, start), hours(world, start + length_h))
    row = row_of(history, name)
    row[at[0] : at[1]] = np.nan
    seen = examine(with_row(history, name, row), KINDS, site).findings
    assert [(f.series, f.rule, (f.from_s, f.until_s)) for f in seen] == [
        (name, Rule.GAP, span_of(history, at))
    ]


@settings(max_examples=8)
@given(world=worlds, seed=st.integers(0, 99), doubled=st.integers(0, 50))
def test_shuffled_and_doubled_stamps_make_the_same_history(world, seed, doubled):
    """Rows in any order, some of them twice, are laid out as if they had come in order."""
    _, history = clean(*world)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.arange(history.grid.n), rng.integers(0, history.grid.n, doubled)])
    rng.shuffle(rows)
    columns = {name: row[rows] for name, row in zip(history.series, history.value_kw, strict=True)}
    found, findings = gathered(history.grid.starts_s[rows], columns)
    assert np.array_equal(found.grid.edges_s, history.grid.edges_s)
    assert np.allclose(found.value_kw, history.value_kw, rtol=1e-12, atol=0)
    rules = {f.rule for f in findings}
    assert rules == ({Rule.DISORDER, Rule.DUPLICATE} if doubled else {Rule.DISORDER})


broken = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 5.0, -5.0, 1e12, 1e-300])


@settings(max_examples=30)
@given(
    n=st.integers(0, 400),
    seed=st.integers(0, 9),
    fill=broken,
    share=st.sampled_from([0.0, 0.3, 1.0]),
    stamps=st.sampled_from(["even", "random", "same", "absurd"]),
    sited=st.booleans(),
)
def test_whatever_comes_in_an_answer_comes_out(n, seed, fill, share, stamps, sited):
    """Three points, nothing but NaN, constants, absurd stamps: findings of known series, finite repairs."""
    rng = np.random.default_rng(seed)
    t_s = {
        "even": 1_600_000_000 + 3600.0 * np.arange(n),
        "random": 1_600_000_000 + np.floor(rng.random(n) * 400 * 3600),
        "same": np.full(n, 1_600_000_000.0),
        "absurd": rng.choice([1.6e9, 1.6001e9, -1e18, np.nan, np.inf], n),
    }[stamps]
    columns = {name: np.where(rng.random(n) < share, fill, rng.normal(-3, 2, n)) for name in KINDS}
    mended, seen = check(t_s, columns, KINDS, SITES[0] if sited else None)
    assert mended.history.series == tuple(KINDS)
    assert not np.isinf(mended.history.value_kw).any()
    assert {f.series for f in seen.findings} <= set(KINDS)
    assert set(mended.done) | set(mended.left) == set(seen.findings)
    for f in seen.findings:
        assert f.plain()["rule"] in {str(rule) for rule in Rule}
        assert f.from_s <= f.until_s


def test_the_same_history_gives_the_same_findings():
    """Examining changes nothing, and twice gives the same."""
    site, history = clean()
    wrong = with_row(history, "roof", later(row_of(history, "roof"), 4))
    before = wrong.value_kw.copy()
    first, second = examine(wrong, KINDS, site), examine(wrong, KINDS, site)
    assert [f.plain() for f in first.findings] == [f.plain() for f in second.findings]
    assert np.array_equal(before, wrong.value_kw, equal_nan=True)


def test_unsafe_repairs_are_left_until_asked_for():
    """Half of a series in watts: nobody can know which half is right, so it is named and left."""
    site, history = clean()
    row = row_of(history, "works")
    row[: len(row) // 2] *= 1000
    wrong = with_row(history, "works", row)
    seen = examine(wrong, KINDS, site)
    assert [(f.rule, f.safe) for f in seen.findings] == [(Rule.UNIT, False)]
    assert np.array_equal(repaired(wrong, seen.findings).history.value_kw, wrong.value_kw)
    scaled = repaired(wrong, seen.findings, unsafe=True).history
    sizes = np.median(np.abs(row_of(scaled, "works")).reshape(2, -1), axis=1)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_when_a_value_was_learnt_moves_with_it():
    """Shifting stamps moves the moments at which values were learnt with the values."""
    site, history = clean(step_s=3600)
    known_s = np.broadcast_to(history.grid.edges_s[1:], history.value_kw.shape).copy()
    wrong = with_row(history, "roof", later(row_of(history, "roof"), 2))
    mended = repaired(
        History(wrong.grid, wrong.series, wrong.value_kw, known_s), examine(wrong, KINDS, site).findings
    )
    roof = mended.history.series.index("roof")
    assert np.array_equal(mended.history.known_s[roof][:-2], known_s[roof][2:])
    assert np.array_equal(mended.history.known_s[0], known_s[0])


def test_uneven_steps_are_our_own_mistake():
    """A history with steps that grow is no past to examine."""
    grid = TimeGrid(np.array([0, 3600, 9000], dtype=np.int64))
    with pytest.raises(ValueError, match="uniform"):
        examine(History(grid, ("a",), np.zeros((1, 2))), {"a": "load"})
    with pytest.raises(ValueError, match="another length"):
        gathered(np.arange(3), {"a": np.zeros(2)})


def test_light_of_the_weather_stands_beside_the_series():
    """A weather's hourly irradiance becomes a series on the history's half hours, absent outside its span."""
    _, history = clean()
    hourly = TimeGrid.uniform(history.grid.start_s + DAY_S, HOUR_S, 48)
    weather = Weather(hourly, {"ghi_w_m2": np.arange(48.0)}, "issued")
    lit = with_light(history, weather)
    assert lit.series == (*history.series, "ghi_w_m2")
    light = row_of(lit, "ghi_w_m2")
    assert np.array_equal(light[48 : 48 + 96], np.repeat(np.arange(48.0), 2))
    assert np.isnan(light[:48]).all()
    assert np.isnan(light[144:]).all()
