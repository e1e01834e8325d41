"""Laws of sun behind the meters of a running system: found, refused where it drowns, foreseen apart."""

from dataclasses import replace

import numpy as np
import pytest

from gridflock.forecast import Site
from gridflock.forecast._sun import clear_sky
from gridflock.model import History
from gridflock.runtime._hidden_sun import _day_and_night, _feeds_in, apart, look_behind
from gridflock.runtime._lessons import APART, HABITS, LAST_WEEK, METHODS, _with_methods, learn
from gridflock.runtime._past import Past
from gridflock.runtime._points import Points
from gridflock.runtime._sites import Sites
from gridflock.runtime._system import System
from gridflock.schema import Kind
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import DAY_S, HOUR_S, TimeGrid, unix_s

SITE = Site(34.05, -118.24, "America/Los_Angeles", "US-CA")
START_S = unix_s("2026-05-01T07:00:00Z")
DAYS = 42
SUN = frozenset(["plan/sun/residential/s1"])
SERIES = (*SUN, "outside")


@pytest.fixture(scope="module")
def sky():
    """Forty-two days of quarter-hours: light under clouds that come and go, and the grid of it."""
    rng = np.random.default_rng(2)
    grid = TimeGrid.uniform(START_S, 900, DAYS * 96)
    clear = clear_sky(SITE, grid.edges_s)[:, [0, 3]].sum(axis=1)
    slow = np.repeat(rng.uniform(0.25, 1.0, DAYS), 96)
    fast = np.repeat(rng.uniform(0.7, 1.0, DAYS * 24), 4)
    return grid, clear * slow * fast / clear.max()


def homes(grid, seed):
    """A street's demand, kW, negative: evenings, and what varies."""
    rng = np.random.default_rng(seed)
    clock = (grid.starts_s - START_S) % DAY_S / HOUR_S
    usual = 20 + 12 * np.exp(-(((clock - 19) / 2.5) ** 2)) + 5 * np.exp(-(((clock - 8) / 1.5) ** 2))
    return -usual * (1 + 0.05 * np.repeat(rng.standard_normal(len(usual) // 4), 4))


def points_of(grid, net_kw):
    """Hours of some meters whose quarter-hours these are."""
    columns = {
        "kind": np.full(len(net_kw), Kind.LOAD, np.uint8),
        "p_min_kw": -np.abs(net_kw).max(axis=1),
    }
    return Points.of(columns).told(grid.starts_s, net_kw)


def history_of(grid, light, net_kw):
    """The series of a system whose registered sun is half of that light."""
    return History(grid, SERIES, np.stack([40 * light, net_kw.sum(axis=0)]))


@pytest.fixture(scope="module")
def street(sky):
    """Four meters: sun behind it, none, sun drowned in wind, and one that is hardly ever heard."""
    grid, light = sky
    rng = np.random.default_rng(9)
    sun = 30 * light
    wind = np.repeat(rng.gamma(2.0, 60.0, DAYS * 8), 12)
    net = np.stack([homes(grid, k) for k in range(4)])
    net[0] += sun
    net[2] += sun + wind
    net[3, rng.random(grid.n) < 0.9] = np.nan
    return grid, light, net, sun


def test_sun_is_found_where_it_is(street):
    """One meter of four: its peak within a tenth, its hours within 12 % of it; the others not."""
    grid, light, net, sun = street
    found = look_behind(points_of(grid, net), history_of(grid, light, net[:1]), SUN, None)
    assert found.looked == 4
    assert found.days == DAYS
    by_row = {one.row: one for one in found.found}
    assert by_row[0].reason == ""
    assert by_row[0].peak_kw == pytest.approx(sun.max(), rel=0.1)
    assert 1 not in by_row
    assert all(one.reason for row, one in by_row.items() if row)
    hourly = sun.reshape(-1, 4).mean(axis=1)
    bright = hourly > 0.1 * hourly.max()
    missed = np.abs(found.sun_kw[: len(hourly)] - hourly)[bright].mean() / sun.max()
    assert missed < 0.12


def test_what_drowns_in_other_generation_is_refused_with_the_reason(street):
    """A meter that gives power by day and has wind behind it: told, without numbers, with why."""
    grid, light, net, _ = street
    some = net[[2]].copy()
    found = look_behind(points_of(grid, some), history_of(grid, light, some), SUN, None)
    assert not found.separable
    assert not len(found.sun_kw)
    assert all("at night" in one.reason or "correlation" in one.reason for one in found.found)


def test_too_few_days_are_told_as_such(sky):
    """A meter that feeds in by day is told early; that it cannot be separated yet, and why."""
    grid, light = sky
    few = TimeGrid(grid.edges_s[: 10 * 96 + 1])
    net = (homes(grid, 1) + 80 * light)[None, : few.n]
    (one,) = look_behind(points_of(few, net), history_of(few, light[: few.n], net), SUN, None).found
    assert "fewer than 28" in one.reason
    assert np.isnan(one.peak_kw)


def test_without_light_or_meters_nothing_is_said(street):
    """No registered sun and no weather; no meter at all: looked at, nothing found, nothing raised."""
    grid, light, net, _ = street
    dark = History(grid, ("outside",), net[:1])
    assert look_behind(points_of(grid, net), dark, frozenset(), None).found == ()
    none = look_behind(
        points_of(grid, net[:0].reshape(0, grid.n)), history_of(grid, light, net[:1]), SUN, None
    )
    assert (none.looked, none.found) == (0, ())


def test_load_and_sun_are_foreseen_apart_by_the_light_of_now(street):
    """Hidden sun of hours after the look is told by registered sun; without any found there is no answer."""
    grid, light, net, sun = street
    net, now = net[:1], (DAYS - 1) * 96 + 52
    history = history_of(grid, light, net)
    until = TimeGrid(grid.edges_s[: (DAYS - 1) * 96 + 1])
    behind = look_behind(
        points_of(until, net[:, : until.n]),
        History(until, SERIES, history.value_kw[:, : until.n]), SUN, None,
    )  # fmt: skip
    now_s = int(grid.edges_s[now])
    first = now - 9 * 96
    known = History(TimeGrid(grid.edges_s[first : now + 1]), SERIES, history.value_kw[:, first:now])
    ahead = TimeGrid.uniform(now_s, 900, 96)
    said = apart(known, behind, SUN, SITE, ahead, now_s)
    assert said.series == ("outside",)
    assert (np.diff(said.value_kw[0], axis=0) >= -1e-9).all()
    truth = history.value_kw[1, now : now + 20]
    assert np.abs(said.value_kw[0, 4, :20] - truth).mean() < 0.25 * sun.max()
    empty = replace(behind, found=())
    assert apart(known, empty, SUN, SITE, ahead, now_s) is None


def test_the_method_is_marked_from_what_was_found_the_day_before(street):
    """First day: no marks for it; next day it is marked, by what had been found before that day."""
    grid, light, net, _ = street
    net = net[:1]
    whole, points = history_of(grid, light, net), points_of(grid, net)

    def cut(days):
        some = TimeGrid(grid.edges_s[: days * 96 + 1])
        known = History(some, SERIES, whole.value_kw[:, : some.n])
        end_s = some.end_s
        n = days * 24
        part = replace(points, value_kw=points.value_kw[:, :n], end_s=end_s)
        return known, part, end_s

    known, part, end_s = cut(40)
    first = learn(known, known, None, None, SITE, SUN, 96, end_s, part)
    m = METHODS.index(APART)
    assert np.isnan(first.card.crps_kw[m]).all()
    assert first.behind.separable
    known, part, end_s = cut(41)
    second = learn(known, known, None, first, SITE, SUN, 96, end_s, part)
    outside = known.series.index("outside")
    assert np.isfinite(second.card.crps_kw[m, outside, -1])
    assert np.isnan(second.card.crps_kw[m, 0, -1])
    assert second.card.crps_kw[m, outside, -1] < 1.5 * second.card.crps_kw[0, outside, -1]


def test_a_card_of_fewer_methods_is_carried_on(street):
    """Marks of the methods that it knew stay theirs; the new one has none; champions are the same by name."""
    grid, light, net, _ = street
    known = history_of(grid, light, net[:1])
    card = learn(known, known, None, None, SITE, SUN, 96, grid.end_s).card
    old = replace(
        card, methods=(LAST_WEEK, HABITS), crps_kw=card.crps_kw[[1, 0]], mae_kw=card.mae_kw[[1, 0]],
        coverage=card.coverage[[1, 0]], champion=np.array([0, 1]),
    )  # fmt: skip
    found = _with_methods(old)
    assert found.methods == METHODS
    assert np.array_equal(found.crps_kw[:2], card.crps_kw[:2], equal_nan=True)
    assert np.isnan(found.crps_kw[2:]).all()
    assert [METHODS[k] for k in found.champion] == [LAST_WEEK, HABITS]
    assert _with_methods(card) is card


def test_points_are_means_of_hours_and_come_back_with_the_past():
    """Of images: the mean of those heard, NaN where too few were; a snapshot holds them and goes on."""
    system = System.build(
        feeder_document(Scenario(ders=40, seed=7).feeder), World(Scenario(ders=40, seed=7)).registry
    )
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    pasts = [Past(system.groups, sites, system.fleet.family, system.fleet.columns) for _ in range(2)]
    n = len(system.fleet.ids)
    quiet = int(pasts[0].points.rows[3])
    for k in range(3 * 12 + 1):
        t_s = START_S + 300 * k
        heard_s = np.full(n, t_s)
        if 12 <= k < 24:
            heard_s[quiet] = t_s - DAY_S
        image = replace(system.fleet.image(t_s), p_kw=np.full(n, -float(k % 12), np.float32), heard_s=heard_s)
        pasts[0].add(image)
        if k == 17:
            assert pasts[1].restore(pasts[0].to_bytes(), image)
        if k > 17:
            pasts[1].add(image)
    points = pasts[0].points
    assert points.start_s == START_S
    assert np.isnan(points.value_kw[3, 1])
    points.value_kw[3, 1] = -5.5
    assert points.value_kw.astype(float) == pytest.approx(-5.5)
    assert pasts[1].points.end_s == points.end_s
    assert np.array_equal(np.delete(pasts[1].points.value_kw, 3, 0), np.delete(points.value_kw, 3, 0))


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 6])
def test_less_than_an_hour_of_data_tells_of_no_hour(steps):
    """Meter data that begins within an hour: hours are whole, or there are none."""
    columns = {"kind": np.full(2, Kind.LOAD, np.uint8), "p_min_kw": np.full(2, -5.0)}
    t_s = START_S + 1_800 + 900 * np.arange(steps)
    found = Points.of(columns).told(t_s, np.full((2, steps), -1.0))
    hours = max(0, steps - 2) // 4
    assert found.value_kw.shape == (2, hours)
    assert found.end_s == (START_S + 2 * HOUR_S if hours else 0)


def test_unknown_light_is_not_dark():
    """A point that gives by day shows sun, though of some days no light is known; one at night does not."""
    hour = np.arange(10 * 24)
    light = np.where((hour % 24 >= 8) & (hour % 24 < 18), 1.0, 0.0)
    net = np.where(light > 0, 2.0, -1.0)
    gap = (hour >= 48) & (hour < 96)
    bright, dark = _day_and_night([np.where(gap, np.nan, light), np.where(hour < 100, np.nan, light)])
    assert not (bright | dark)[gap].any()
    assert np.array_equal((bright | dark)[~gap], np.ones(len(hour) - 48, bool))
    grid = TimeGrid.uniform(START_S, HOUR_S, len(hour))
    assert _feeds_in(net, bright, dark, grid)
    assert not _feeds_in(np.where(hour == 147, 2.0, net), bright, dark, grid)
