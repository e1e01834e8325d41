"""Flexibility ahead: quantiles of sums over paths, what is said can be delivered, no free lunch by asking."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet
from gridflock.fleet._health import Health
from gridflock.fleet.flexible import Outlook, flexibility_set
from gridflock.forecast.flexibility import (
    Asked,
    Chances,
    Part,
    availability,
    came,
    flexibility_ahead,
    futures,
    missed,
    recalibrated,
)
from gridflock.forecast.flexibility._answers import answers
from gridflock.forecast.flexibility._arriving import arriving
from gridflock.forecast.flexibility._members import inner_grid, run_steps
from gridflock.model import OutcomeStatus
from gridflock.schema import Family, Kind
from gridflock.units import HOUR_S, TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("flexible_world")
NOW_S, mixed = world.NOW_S, world.mixed
GRID = TimeGrid.uniform(NOW_S, 900, 32)
ASKED = Asked(notices_s=(60, 600, 3_600), runs_s=(900, 3_600, 7_200))
STARTS = GRID.starts_s[[0, 3, 11]]
BY_PATH = (Family.RENEWABLE, Family.SHED, Family.THERMAL, Family.GENERATOR)


def fleet_ahead(seed, paths=12, members=14):
    """A mixed fleet and joint paths of what its families do unasked."""
    image = mixed(np.random.default_rng(seed), members)
    rng = np.random.default_rng(seed + 1)
    parts = []
    for family in BY_PATH:
        rows = np.flatnonzero(image.family == family).astype(np.int32)
        if len(rows):
            size = np.abs(np.nan_to_num(image.p_avail_kw[rows])).sum() + 1.0
            sign = 1.0 if family in (Family.RENEWABLE, Family.GENERATOR) else -1.0
            noise = rng.lognormal(0, 0.3, (paths, GRID.n))
            parts.append(Part(rows, sign * size * noise))
    vehicles = np.flatnonzero(image.family == Family.VEHICLE).astype(np.int32)
    parts.append(Part(vehicles, -rng.exponential(2.0, (paths, GRID.n))))
    return image, futures(image, GRID, parts, None, seed)


def odds_of(n):
    """Nobody was ever asked: four in five answer, as far as is known."""
    none = np.zeros(n)
    return Chances(
        none, none, none.astype(np.int32), np.array([40.0]), np.array([10.0]), 4.0,
        none.astype(np.int32), np.array([0.05]), 0.05,
    )  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_quantiles_are_in_order_runs_never_give_more_and_notice_never_less(seed):
    """P10 <= P50 <= P90; a longer run gives no more, an earlier call no less; nothing is negative."""
    image, future = fleet_ahead(seed)
    future = replace(future, answered=answers(odds_of(image.n), future.count, seed))
    for found in flexibility_ahead(future, {"all": np.arange(image.n)}, ASKED, STARTS):
        for way in (found.up, found.down):
            assert (way.change_kw >= 0).all()
            assert (np.diff(way.change_kw, axis=0) >= -1e-9).all()
            assert (np.diff(way.change_kw, axis=1) >= -1e-9).all()
            assert (np.diff(way.change_kw, axis=2) <= 1e-9).all()
            assert (way.rebound_kwh >= 0).all()
            assert (way.recovery_s >= 0).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_said_of_one_path_can_be_delivered(seed):
    """A change held through a run lies inside the flexibility set of the lossless stores."""
    image, future = fleet_ahead(seed, paths=1)
    rows = np.flatnonzero(image.kind == Kind.BATTERY_COMMERCIAL).astype(np.int32)
    (found,) = flexibility_ahead(replace(future, parts=()), {"stores": rows}, ASKED, STARTS[:1])
    inner = inner_grid(ASKED, NOW_S, tail=True)
    steps = np.arange(inner.n)
    for sign, way in ((1.0, found.up), (-1.0, found.down)):
        worth = sign * (steps < run_steps(ASKED)[-1])
        able = flexibility_set(image, rows, inner, Outlook(worth=worth))
        for r, run in enumerate(run_steps(ASKED)):
            change = (1.0 - 1e-6) * sign * float(way.change_kw[1, -1, r, 0])
            assert able.contains(np.where(steps < run, change, 0.0))


def test_a_battery_alone_gives_what_its_nameplate_and_content_say():
    """A lossless store: the smaller of its power and of its energy over the run, both ways, in every path."""
    image, future = fleet_ahead(3)
    row = int(np.flatnonzero((image.family == Family.STORAGE) & (image.columns["eff_charge"] == 1.0))[0])
    (found,) = flexibility_ahead(future, {"one": np.array([row])}, ASKED, STARTS)
    columns, energy = image.columns, float(image.e_kwh[row])
    hours = np.array(ASKED.runs_s) / HOUR_S
    spare = max(energy - float(columns["e_reserve_kwh"][row]), 0.0)
    up = np.minimum(float(columns["p_max_kw"][row]), spare / hours)
    down = np.minimum(-float(columns["p_min_kw"][row]), (float(columns["e_max_kwh"][row]) - energy) / hours)
    assert np.allclose(found.up.change_kw[:, -1], up[None, :, None], rtol=1e-3, atol=1e-4)
    assert np.allclose(found.down.change_kw[:, -1], down[None, :, None], rtol=1e-3, atol=1e-4)


def test_a_group_of_one_is_the_member_and_other_groups_change_nothing():
    """A resource asked by itself, as a group, or beside others, gets the same answer."""
    image, future = fleet_ahead(11)
    rows = [int(np.flatnonzero(image.family == family)[0]) for family in np.unique(image.family)]
    groups = {str(row): np.array([row]) for row in rows} | {"all": np.arange(image.n)}
    together = {found.group: found for found in flexibility_ahead(future, groups, ASKED, STARTS)}
    for row in rows:
        (alone,) = flexibility_ahead(future, {"it": np.array([row, row])}, ASKED, STARTS)
        for way in ("up", "down"):
            one, other = getattr(alone, way), getattr(together[str(row)], way)
            assert np.allclose(one.change_kw, other.change_kw)
            assert np.allclose(one.rebound_kwh, other.rebound_kwh)


def test_a_group_s_band_is_narrower_than_the_sum_of_its_members():
    """Who answers differs by member, so that quantiles of the sum lie inside sums of quantiles."""
    image, future = fleet_ahead(5, paths=200, members=30)
    future = replace(future, answered=answers(odds_of(image.n), future.count, 5))
    rows = np.flatnonzero(image.family == Family.STORAGE)
    groups = {str(row): np.array([row]) for row in rows} | {"all": rows}
    ahead = flexibility_ahead(future, groups, ASKED, STARTS)
    found = {one.group: one.up.change_kw[:, -1, 0, 0] for one in ahead}
    added = sum(found[str(row)] for row in rows)
    assert found["all"][0] > added[0]
    assert found["all"][2] <= added[2]


def test_the_same_seed_gives_the_same_bytes_and_later_readings_nothing():
    """A forecast is a function of its values: made again from a copy it is the same."""
    image, future = fleet_ahead(8)
    _, again = fleet_ahead(8)
    (one,) = flexibility_ahead(future, {"all": np.arange(image.n)}, ASKED, STARTS)
    (two,) = flexibility_ahead(again, {"all": np.arange(image.n)}, ASKED, STARTS)
    assert one.up.change_kw.tobytes() == two.up.change_kw.tobytes()
    assert one.known_at_s == image.now_s


def test_answers_are_as_likely_as_the_posteriors_say_and_hang_together_by_provider():
    """Shares of paths are the posteriors' means; two behind one provider are correlated by its share."""
    n, share = 6, 0.3
    odds = Chances(
        np.array([0.0, 5.0, 20.0, 0.0, 0.0, 0.0]), np.array([0.0, 20.0, 0.0, 0.0, 0.0, 0.0]),
        np.zeros(n, np.int32), np.array([4000.0]), np.array([1000.0]), 4.0,
        np.array([0, 0, 0, 1, 1, 1], np.int32), np.array([share, 0.0]), 0.05,
    )  # fmt: skip
    drawn = answers(odds, 40_000, 1)
    assert np.allclose(drawn.mean(axis=0), odds.probability(), atol=0.012)
    between = np.corrcoef(drawn[:, [0, 3, 4]].T)
    alike = np.corrcoef(answers(replace(odds, kept=np.zeros(n), missed=np.zeros(n)), 40_000, 2).T)
    assert alike[0, 1] == pytest.approx(share, abs=0.03)
    assert abs(between[1, 2]) < 0.03


def test_health_and_its_posteriors_tell_the_same_probability():
    """``Chances`` read from a health's evidence mean what the health says, at once and weeks later."""
    rows = [
        {"id": f"b{k}", "kind": "battery_home", "bus": "b", "phases": "a", "p_max_kw": 5, "e_max_kwh": 9}
        for k in range(12)
    ]
    fleet, _ = Fleet.from_rows(rows, {"b": 7})
    health = Health(fleet)
    rng = np.random.default_rng(2)
    for k in range(30):
        asked = np.unique(rng.integers(0, len(rows), 4)).astype(np.int32)
        status = rng.choice([OutcomeStatus.ACCEPTED, OutcomeStatus.REFUSED], len(asked)).astype(np.uint8)
        health.learn(asked, status, NOW_S + HOUR_S * k)
    for later_s in (30 * HOUR_S, 30 * 24 * HOUR_S):
        told = Chances.of(health.evidence, NOW_S + later_s).probability()
        assert np.allclose(told, health.probability(NOW_S + later_s), atol=1e-6)


def test_what_came_is_what_a_certain_path_says():
    """Seen afterwards with the same base, groups could have done what one certain path said."""
    image, future = fleet_ahead(21, paths=1)
    quiet = replace(future, parts=tuple(p for p in future.parts if image.family[p.rows[0]] != Family.VEHICLE))
    unasked = np.zeros((image.n, 8))
    for part in quiet.parts:
        unasked[part.rows] = future.share(part)[:, None] * part.base_kw[0, None, :8]
    groups = {"all": np.arange(image.n)}
    (said,) = flexibility_ahead(quiet, groups, ASKED, STARTS[:1])
    truth = came(image, unasked, groups, ASKED, np.ones(image.n, bool))
    assert np.allclose(truth[0, 0], said.up.change_kw[1, :, :, 0])
    assert np.allclose(truth[1, 0], said.down.change_kw[1, :, :, 0])


def test_misses_set_a_band_right():
    """Truths that lie twice as far out as was said, and higher, come inside 80 % of the time afterwards."""
    image, future = fleet_ahead(7, paths=60)
    (said,) = flexibility_ahead(future, {"all": np.arange(image.n)}, ASKED, STARTS)
    rng = np.random.default_rng(0)

    def truth():
        found = np.empty((2, 3, 3))
        for way, of in enumerate((said.up, said.down)):
            low, middle, high = of.change_kw[..., 0]
            wide = np.maximum(high - low, 0.02 * middle)
            found[way] = np.maximum(middle + wide * (0.3 + 0.8 * rng.standard_normal()), 0.0)
        return found

    past = np.stack([missed(said, 0, truth()) for _ in range(400)])
    right = recalibrated(said, past, 200)
    low, _, high = right.up.change_kw[:, -1, 0, 0]
    hits = [low <= truth()[0, -1, 0] <= high for _ in range(400)]
    assert 0.72 < np.mean(hits) < 0.88
    for way in (right.up, right.down):
        assert (np.diff(way.change_kw, axis=0) >= -1e-9).all()
        assert (np.diff(way.change_kw, axis=1) >= -1e-9).all()
        assert (np.diff(way.change_kw, axis=2) <= 1e-9).all()


def test_vehicles_to_come_draw_what_they_need():
    """The energy drawn over a day is the need by the charger's efficiency; what has left draws nothing."""
    grid = TimeGrid.uniform(NOW_S, 900, 16)
    need = np.zeros((1, 16))
    need[0, 2] = -40.0
    edges = NOW_S + 900 * np.arange(0, 97)
    drawn, idle = arriving(need, grid, edges)
    assert drawn.sum() * 0.25 == pytest.approx(10.0 / 0.9, rel=1e-6)
    assert (drawn[0, :3] == 0).all()
    assert (idle >= 0).all()
    assert idle[0, 40:].sum() == 0


def test_availability_is_a_share_and_counts_who_is_there():
    """Shares lie in 0 to 1, powers within ratings, and a vehicle that leaves is not counted any more."""
    image, future = fleet_ahead(13, paths=40)
    (found,) = availability(future, {"all": np.arange(image.n)})
    rated = np.maximum(image.columns["p_max_kw"], -image.columns["p_min_kw"]).sum()
    assert ((found.share >= 0) & (found.share <= 1)).all()
    assert (np.diff(found.share, axis=0) >= 0).all()
    assert ((found.p_kw >= 0) & (found.p_kw <= rated + 1e-6)).all()
    leaving = np.flatnonzero((image.family == Family.VEHICLE) & (image.ready == 1) & (image.depart_s > 0))
    if len(leaving):
        (one,) = availability(future, {"car": leaving[:1]})
        gone = GRID.starts_s >= image.depart_s[leaving[0]]
        assert (one.share[:, gone] == 0).all()


def test_parts_of_one_row_twice_or_of_other_steps_are_refused():
    """A row has one base, and all parts share paths and steps."""
    image, future = fleet_ahead(1)
    part = future.parts[0]
    with pytest.raises(ValueError, match="rows of their own"):
        futures(image, GRID, [part, part], None, 0)
    with pytest.raises(ValueError, match="same steps"):
        futures(image, GRID, [replace(part, base_kw=part.base_kw[:, :-1])], None, 0)
    with pytest.raises(ValueError, match="ascending"):
        Asked(runs_s=(1_000,))
    with pytest.raises(ValueError, match="outside"):
        flexibility_ahead(future, {"all": np.arange(image.n)}, ASKED, np.array([NOW_S - 1]))
    with pytest.raises(ValueError, match="not there"):
        flexibility_ahead(future, {"all": np.array([image.n])}, ASKED)


def test_how_long_a_change_lasts_falls_with_its_size():
    """The longest run through which a change is delivered never grows with the change."""
    image, future = fleet_ahead(17)
    (found,) = flexibility_ahead(future, {"all": np.arange(image.n)}, ASKED, STARTS)
    lasts = np.stack([found.lasts_s(kw) for kw in (0.0, 1.0, 5.0, 20.0, 1e6)])
    assert (np.diff(lasts, axis=0) <= 0).all()
    assert (lasts[0] == ASKED.runs_s[-1]).all()
    assert (found.lasts_s(-1e6) == 0).all()
