"""Laws of vehicles' stays in the running system: what is seen is kept, what is foreseen uses no more."""

from dataclasses import replace

import numpy as np
import pytest

from gridflock.fleet.flexible import arriving
from gridflock.fleet.flexible._bands import Coming
from gridflock.forecast import Site
from gridflock.runtime._expected import expected
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._sites import Sites
from gridflock.runtime._stays import Stays, coming, leaving
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import DAY_S, HOUR_S, NEVER_S, TimeGrid

SCENARIO = Scenario(ders=120, seed=5)
EVERY = np.arange(1_000, dtype=np.int32)
SITE = Site(34.05, -118.24, "America/Los_Angeles", "US-CA")


@pytest.fixture(scope="module")
def world():
    """A small world at midnight."""
    return World(SCENARIO)


@pytest.fixture(scope="module")
def system(world):
    """The system that is told of it."""
    return System.build(feeder_document(SCENARIO.feeder), world.registry)


@pytest.fixture(scope="module")
def before(world):
    """Three days before it."""
    return world.history(3)


@pytest.fixture(scope="module")
def past(system, before):
    """A past that has been told of them."""
    return told(system, before)


def told(system, before):
    """A past that knows some days."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    found = Past(system.groups, sites, system.fleet.family, system.fleet.columns)
    found.load(
        before, np.array([system.fleet.row_of.get(name, -1) for name in before["ids"]], dtype=np.int32)
    )
    return found


def seen(system, now_s, *, there, **values):
    """An image of vehicles that are all there or all away."""
    n = len(system.fleet.ids)
    columns = {
        "p_kw": np.zeros(n, np.float32),
        "e_kwh": np.full(n, 10.0, np.float32),
        "e_target_kwh": np.full(n, 22.0, np.float32),
        "depart_s": np.full(n, NEVER_S),
    }
    heard = {"heard_s": np.full(n, now_s), "ready": np.full(n, int(there), np.uint8)}
    return replace(system.fleet.image(now_s), **columns | heard | values)


def test_a_stay_is_kept_when_both_its_ends_were_seen(system):
    """Away, there, away: one stay a vehicle, with what it lacked; who was there at first is not kept."""
    stays = Stays.of(system.fleet.family, system.fleet.columns)
    n = len(stays.rows)
    start_s = SCENARIO.day.toordinal() * DAY_S
    course = [(0, True), (60, True), (120, False), (180, True), (240, True), (300, False)]
    for t_s, there in course:
        stays = stays.heard(seen(system, start_s + t_s, there=there))
    assert len(stays.who) == n
    assert set((stays.plugged_s - start_s).tolist()) == {180}
    assert set((stays.left_s - start_s).tolist()) == {300}
    assert stays.energy_kwh == pytest.approx(12.0)
    again = stays.heard(seen(system, start_s + 300, there=True))
    assert again is stays


def test_who_is_full_and_takes_no_orders_is_there_until_it_said(system):
    """Not ready any more, departure ahead: still there; it left when it said, not when that was seen."""
    stays = Stays.of(system.fleet.family, system.fleet.columns)
    start_s = 1_800_000_000
    leaves = np.full(len(system.fleet.ids), start_s + 250)
    stays = stays.heard(seen(system, start_s, there=False))
    stays = stays.heard(seen(system, start_s + 60, there=True, depart_s=leaves))
    for t_s in (120, 180, 240):
        stays = stays.heard(seen(system, start_s + t_s, there=False, depart_s=leaves))
        assert (stays.since_s == start_s + 60).all()
    stays = stays.heard(seen(system, start_s + 300, there=False, depart_s=leaves))
    assert (stays.left_s == start_s + 250).all()
    assert (stays.since_s == NEVER_S).all()


def test_a_quiet_vehicle_neither_comes_nor_leaves(system):
    """Silence for hours is no departure, and no end was seen; after a pause of the system's own no coming."""
    stays = Stays.of(system.fleet.family, system.fleet.columns)
    start_s = 1_800_000_000
    quiet = np.full(len(system.fleet.ids), start_s + 60)
    stays = stays.heard(seen(system, start_s, there=False))
    stays = stays.heard(seen(system, start_s + 60, there=True))
    for t_s in range(2 * HOUR_S, 3 * HOUR_S, 600):
        stays = stays.heard(seen(system, start_s + t_s, there=False, heard_s=quiet))
    assert (stays.since_s == start_s + 60).all()
    stays = stays.heard(seen(system, start_s + 4 * HOUR_S, there=False))
    assert (stays.since_s == NEVER_S).all()
    assert len(stays.who) == 0
    stays = stays.heard(seen(system, start_s + 9 * HOUR_S, there=True))
    assert not stays.seen.any()


def lived(system, course):
    """Stays after images of all vehicles: (moment, moment heard, there, other columns)."""
    stays, n = Stays.of(system.fleet.family, system.fleet.columns), len(system.fleet.ids)
    for t_s, heard_s, there, columns in course:
        full = {name: np.full(n, value) for name, value in columns.items()}
        stays = stays.heard(seen(system, t_s, there=there, heard_s=np.full(n, heard_s), **full))
    return stays


T_S = 1_800_000_000


def test_what_falls_into_a_silence_was_not_seen(system):
    """A device that was mute while it came, left, or both begins no stay; a told departure ends it."""
    away, comes = (T_S, T_S, False, {}), (T_S + 300, T_S + 300, True, {})
    later = T_S + 5 * HOUR_S
    mute = (T_S + 2 * HOUR_S, T_S + 300, True, {})
    back = lived(system, [away, comes, mute, (later, later, True, {}), (later + 60, later + 60, False, {})])
    assert len(back.who) == 0
    unseen = lived(system, [away, (T_S + HOUR_S, T_S, False, {}), (later, later, True, {})])
    assert (unseen.since_s == later).all()
    assert not unseen.seen.any()
    told = {"depart_s": T_S + HOUR_S}
    ends = [away, (T_S + 300, T_S + 300, True, told), (later, later, False, told)]
    for course in (ends, [*ends[:2], (later, T_S + 300, True, told)]):
        kept = lived(system, course)
        assert (kept.left_s == T_S + HOUR_S).all()
        assert len(kept.who) == len(kept.rows)
        assert (kept.since_s == NEVER_S).all()


def test_who_never_returns_is_not_there_for_ever(system):
    """Two days after the last word a vehicle is away, and no stay is learnt."""
    first = [(T_S, T_S, False, {}), (T_S + 300, T_S + 300, True, {})]
    days = [(T_S + k * HOUR_S, T_S + 300, True, {}) for k in range(1, 60)]
    stays = lived(system, first + days)
    assert (stays.since_s == NEVER_S).all()
    assert len(stays.who) == 0
    assert (lived(system, first + days[:40]).since_s == T_S + 300).all()


def test_nothing_is_counted_across_an_outage(system):
    """What was drawn last goes on for a quarter of an hour at most; without a need the stay is void."""
    blind = {"e_kwh": np.nan, "p_kw": -6.0}
    down = T_S + 10 * HOUR_S
    course = [(T_S, T_S, False, {}), (T_S + 300, T_S + 300, True, blind), (down, down, True, blind)]
    stays = lived(system, course)
    gain = system.fleet.columns["eff_charge"][stays.rows]
    assert (stays.drawn_kwh <= 6.0 * gain * 0.25 + 1e-6).all()
    assert len(lived(system, [*course, (down + 300, down + 300, False, {})]).who) == 0


def test_the_simulated_past_tells_stays_that_agree_with_its_needs(world, before, past):
    """Those that are over ended before the day; all of them sum to the need that the meter data has."""
    assert len(past.stays.who) > 50
    assert (past.stays.left_s <= world.start_s).all()
    assert (past.stays.left_s > past.stays.plugged_s).all()
    assert ((past.stays.since_s >= 0) == past.stays.seen).all()
    assert past.stays.seen.any()
    assert len(past.stays.who) + past.stays.seen.sum() == len(before["stay_kwh"])
    drawn = -before["need_kw"].sum() * STEP_S / HOUR_S
    assert 0.8 * drawn < before["stay_kwh"].sum() <= drawn


def test_stays_come_back_with_the_past(system, past):
    """A snapshot holds them bit for bit; one of other vehicles is not taken."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    back = Past(system.groups, sites, system.fleet.family, system.fleet.columns)
    assert back.restore(past.to_bytes())
    assert back.to_bytes() == past.to_bytes()
    assert np.array_equal(back.stays.energy_kwh, past.stays.energy_kwh)


def test_the_leaving_of_those_that_told_none(system, world, past):
    """In order and ahead for who is there and silent of it, NaN for all others; own habits first."""
    now_s = world.start_s + 60
    image = seen(system, now_s, there=True)
    stays = past.stays.heard(seen(system, now_s - 60, there=False)).heard(image)
    found = leaving(stays, image, SITE, EVERY)
    vehicle = system.fleet.family == Family.VEHICLE
    assert np.isnan(found[~vehicle]).all()
    known = np.isfinite(found[vehicle]).all(axis=1)
    assert known.mean() > 0.9
    assert (np.diff(found[vehicle][known], axis=1) >= 0).all()
    assert (found[vehicle][known] >= now_s).all()
    says = replace(image, depart_s=np.full(image.n, now_s + HOUR_S))
    few = stays.rows[[1, 5]]
    some = leaving(stays, image, SITE, few)
    assert np.array_equal(some[few], found[few], equal_nan=True)
    assert np.isnan(np.delete(some, few, axis=0)).all()
    assert np.isnan(leaving(stays, says, SITE, EVERY)).all()
    mine = np.full(20, 3)
    plugged = now_s - DAY_S * np.arange(1, 21)
    own = stays.with_past(mine, plugged, plugged + 2 * HOUR_S, np.full(20, 5.0))
    mine = leaving(own, image, SITE, EVERY)[stays.rows[3]]
    assert mine == pytest.approx(now_s + 2 * HOUR_S, abs=HOUR_S / 6)


def test_those_to_come_know_nothing_that_ends_later(system, world, past):
    """Needs and departures by step: stays that end after the moment may be anything."""
    group = next(g for g in past.plan_groups if g.startswith("plan/vehicle/residential"))
    now_s = world.start_s - DAY_S
    grid = TimeGrid.uniform(now_s, HOUR_S, 24)
    rows = system.rows_of[group]
    one = coming(past.stays, rows, system.site, grid, now_s)
    late = past.stays.left_s > now_s
    changed = replace(past.stays, energy_kwh=np.where(late, 999.0, past.stays.energy_kwh))
    other = coming(changed, rows, system.site, grid, now_s)
    assert np.array_equal(one.need_kwh, other.need_kwh)
    assert np.array_equal(one.leaves_s, other.leaves_s)
    assert (one.leaves_s >= grid.edges_s[1:, None]).all()
    assert one.number.argmax() in range(12, 24)
    empty = Stays.of(system.fleet.family, system.fleet.columns)
    assert coming(empty, rows, SITE, grid, now_s) is None


def test_those_who_are_still_there_are_no_evidence():
    """A group whose forty members have come for the first time is foreseen by the stays of its class."""
    now_s, count = T_S - T_S % STEP_S, 80
    who = np.repeat(np.arange(40, 80), 20)
    plugged = now_s - 6 * HOUR_S - DAY_S * np.random.default_rng(0).integers(1, 60, len(who))
    since = np.where(np.arange(count) < 40, now_s - HOUR_S, NEVER_S)
    stays = Stays(
        np.arange(count, dtype=np.int32), np.zeros(count, np.uint8), np.full(count, 7.0), since, since >= 0,
        np.full(count, 5.0), np.zeros(count), np.full(count, NEVER_S), now_s, who, plugged,
        plugged + 8 * HOUR_S, np.full(len(who), 8.0),
    )  # fmt: skip
    found = coming(stays, np.arange(40, dtype=np.int32), SITE, TimeGrid.uniform(now_s, STEP_S, 16), now_s)
    assert found is not None
    assert found.need_kwh == pytest.approx(8.0)


def test_a_group_without_history_is_forecast_by_the_stays_of_its_class(system, world, before):
    """Meter data of vehicles is missing: their groups are foreseen by sessions, about as if it were there."""
    vehicles = [k for k, name in enumerate(before["ids"]) if system.fleet.row_of.get(name, -1) >= 0]
    rows = [
        k for k in vehicles if system.fleet.family[system.fleet.row_of[before["ids"][k]]] == Family.VEHICLE
    ]
    blind = dict(before, need_kw=before["need_kw"].copy())
    blind["need_kw"][rows] = np.nan
    grid = TimeGrid.uniform(world.start_s, STEP_S, 96)
    knows, finds = (expected(told(system, one), grid, system.site, world.start_s) for one in (before, blind))
    names = [g for g in knows.series if g.startswith("plan/vehicle/residential")]
    whole = [
        sum(one.value_kw[one.series.index(g)].mean(axis=0).sum() for g in names) for one in (knows, finds)
    ]
    assert whole[1] < 0
    assert 0.6 < whole[1] / whole[0] < 1.4


def test_bands_of_those_to_come_keep_to_when_they_leave():
    """All of a need is in when the last has left, none before the first can; short stays promise less."""
    grid = TimeGrid.uniform(0, HOUR_S, 10)
    inflow = np.zeros((1, 10))
    inflow[0, 1] = -9.0
    leaves = grid.edges_s[1:, None] + np.array([2, 4]) * HOUR_S
    able = arriving(grid, ["a"], inflow, [Coming(np.full(10, 9.0), leaves, 7.0, np.ones(10))])
    assert able.x_lo_kwh[0].tolist() == pytest.approx([0, 0, 0, 0, 4.5, 4.5, 9, 9, 9, 9, 9])
    assert able.down_kw[0].tolist() == pytest.approx([0, 0, 7, 7, 3.5, 3.5, 0, 0, 0, 0])
    brief = arriving(
        grid, ["a"], inflow, [Coming(np.full(10, 9.0), grid.edges_s[1:, None] + 1_800, 7.0, np.ones(10))]
    )
    assert brief.x_lo_kwh[0, -1] == pytest.approx(0.9 * 3.5)
    assert (brief.x_hi_kwh >= brief.x_lo_kwh).all()
    usual = arriving(grid, ["a"], inflow)
    assert np.array_equal(arriving(grid, ["a"], inflow, [None]).x_lo_kwh, usual.x_lo_kwh)
