"""Laws of absent meters: what is not heard is unknown and never 0; who is heard speaks for its group."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.runtime._metered import LEAST, QUIET_S, Metered, usual_draw
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._sites import Sites
from gridflock.runtime._subjects import OUTSIDE
from gridflock.runtime._system import System
from gridflock.schema import Family, Kind
from gridflock.sim import Scenario, World, feeder_document

SCENARIO = Scenario(ders=80, seed=3)
START_S = 1_800_000_000 - 1_800_000_000 % STEP_S


@pytest.fixture(scope="module")
def system():
    """A feeder with eighty resources."""
    return System.build(feeder_document(SCENARIO.feeder), World(SCENARIO).registry)


def new_past(system):
    """A past that has seen nothing."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    return Past(system.groups, sites, system.fleet.family, system.fleet.columns)


def seen(system, t_s, quiet=(), **values):
    """An image in which each row gives its row number, all heard now but for some."""
    n = len(system.fleet.ids)
    p_kw = values.get("p_kw", -np.arange(1.0, n + 1).astype(np.float32))
    heard_s = np.full(n, t_s)
    heard_s[list(quiet)] = t_s - QUIET_S - 1
    ready = np.ones(n, dtype=np.uint8)
    return replace(system.fleet.image(t_s), p_kw=p_kw, p_avail_kw=p_kw, heard_s=heard_s, ready=ready)


def learnt(system, quiet, steps=2, some=None):
    """The first step of a past in which some are quiet, in so many of its ten images."""
    past = new_past(system)
    for k in range(10 * steps):
        t_s = START_S + 90 * k
        past.add(seen(system, t_s, quiet if some is None or k % 10 < some else ()))
    history = past.measured()
    return dict(zip(history.series, history.value_kw[:, 0], strict=True))


def head_of(system):
    """Rows of the feeder head."""
    return np.flatnonzero(system.fleet.columns["kind"] == Kind.FEEDER_HEAD)


def sunny(system):
    """A sun group of some members, and its rows."""
    groups = [name for name in system.groups.ids if name.startswith("plan/sun/")]
    name = max(groups, key=lambda one: len(system.rows_of[one]))
    assert len(system.rows_of[name]) >= 4
    return name, system.rows_of[name]


def test_a_head_that_is_not_heard_is_unknown(system):
    """One quiet phase of the head: outside is NaN, not what the others make of it; groups are as ever."""
    whole, found = learnt(system, ()), learnt(system, head_of(system)[:1])
    assert np.isfinite(whole[OUTSIDE])
    assert np.isnan(found.pop(OUTSIDE))
    assert all(found[name] == whole[name] for name in found)


def test_a_group_that_is_mostly_quiet_is_unknown_and_not_0(system):
    """All members quiet: NaN; the other groups know what they knew."""
    name, rows = sunny(system)
    whole, found = learnt(system, ()), learnt(system, rows)
    assert np.isnan(found[name])
    others = set(whole) - {name, OUTSIDE}
    assert all(found[other] == whole[other] for other in others)


def test_a_part_that_is_heard_speaks_for_the_rest_by_rating(system):
    """One member quiet of many: the others' sum over their share of the rating."""
    name, rows = sunny(system)
    columns = system.fleet.columns
    size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)[rows]
    small = int(np.argmin(size))
    value = -(rows + 1.0)
    share = 1 - size[small] / size.sum()
    assert share > LEAST
    assert learnt(system, rows[[small]])[name] == pytest.approx((value.sum() - value[small]) / share)


def test_outside_takes_the_quiet_for_what_their_siblings_give(system):
    """Proportional powers: who is quiet is estimated exactly, so that outside does not notice."""
    _, rows = sunny(system)
    columns = system.fleet.columns
    size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)
    metered = new_past(system)._metered
    heard = np.ones(len(size), dtype=bool)
    whole = metered.outside(size, heard)
    heard[rows[0]] = False
    assert metered.outside(size, heard) == pytest.approx(whole)
    heard[:] = columns["kind"] == Kind.FEEDER_HEAD
    assert np.isnan(metered.outside(size, heard))


@pytest.mark.parametrize(("some", "known"), [(4, True), (6, False)])
def test_a_step_is_known_where_half_of_its_images_are(system, some, known):
    """Quiet in four of ten images: the mean of the six; in six of ten: unknown."""
    whole = learnt(system, ())
    found = learnt(system, head_of(system), some=some)[OUTSIDE]
    assert (found == pytest.approx(whole[OUTSIDE])) if known else np.isnan(found)


def test_arrivals_that_nobody_could_hear_are_unknown(system):
    """Vehicles that are quiet: the step's need is NaN and not nothing."""
    rows = np.flatnonzero(system.fleet.family == Family.VEHICLE)
    found = learnt(system, rows)
    needs = [value for name, value in found.items() if name.startswith("plan/vehicle/")]
    assert needs
    assert np.isnan(needs).all()
    assert all(value == 0 for name, value in learnt(system, ()).items() if name.startswith("plan/vehicle/"))


def test_a_resource_that_never_says_what_is_on_offer_is_taken_by_what_it_gives(system):
    """No word of the power on offer: what is measured stands in, not 0."""
    name, rows = sunny(system)
    past = new_past(system)
    for t_s in (START_S, START_S + STEP_S):
        image = seen(system, t_s)
        past.add(replace(image, p_avail_kw=np.full_like(image.p_kw, np.nan)))
    history = past.measured()
    assert history.value_kw[history.series.index(name), 0] == pytest.approx(-(rows + 1.0).sum())


def test_meter_data_with_gaps_is_unknown_where_it_is_not_heard(system):
    """Of the days before: a group without data is NaN, one with gaps is scaled, customers by their habit."""
    name, rows = sunny(system)
    n = len(system.fleet.ids)
    t_s = START_S + STEP_S * np.arange(96, dtype=np.int64)
    loads = np.flatnonzero(system.fleet.columns["kind"] == Kind.LOAD)
    p_kw = np.full((n, 96), -2.0)
    p_kw[loads[0], 10:20] = np.nan
    p_kw[rows, 30:40] = np.nan
    p_kw[loads, 50:60] = np.nan
    past = new_past(system)
    told = {"t_s": t_s, "p_kw": p_kw, "p_avail_kw": p_kw, "need_kw": np.zeros((n, 96))}
    past.load(told, np.arange(n))
    history = past.measured()
    sun, outside = history.value_kw[history.series.index(name)], history.value_kw[-1]
    assert np.isnan(sun[30:40]).all()
    assert np.isfinite(np.delete(sun, slice(30, 40))).all()
    assert outside[10:20] == pytest.approx(outside[0])
    assert np.isnan(outside[50:60]).all()


def test_sites_learn_no_peak_from_what_is_not_heard(system):
    """A day with a silent member has no peak, and one without any data leaves the site unlimited."""
    names = system.charged_sites
    assert names
    sites = Sites.of(names, system.groups, system.fleet.family)
    n = len(system.fleet.ids)
    p_kw = np.full((n, 2 * 96), -1.0)
    p_kw[:, 96:] = np.nan
    sites.learn(p_kw)
    assert sites.usual_kw == pytest.approx([len(rows) for rows in sites.rows])
    nobody = Sites.of(names, system.groups, system.fleet.family)
    nobody.learn(np.full((n, 96), np.nan))
    assert np.isinf(nobody.usual_kw).all()


def test_a_past_with_quiet_meters_comes_back_from_its_bytes(system):
    """A snapshot in the middle of such a step goes on as if there had been none."""
    quiet = head_of(system)
    one, other = new_past(system), new_past(system)
    for k in range(15):
        one.add(seen(system, START_S + 90 * k, quiet if k % 3 else ()))
        if k == 4:
            assert other.restore(one.to_bytes(), one.last_image)
        if k > 4:
            other.add(seen(system, START_S + 90 * k, quiet if k % 3 else ()))
    assert one.to_bytes() == other.to_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_sums_are_exact_where_all_are_heard_and_unknown_below_the_share(data):
    """Any groups, any values: the plain sum of all; NaN exactly where less than the share is heard."""
    n = data.draw(st.integers(1, 12))
    group = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n)), dtype=np.int64)
    size = np.array(data.draw(st.lists(st.floats(0.5, 50), min_size=n, max_size=n)))
    value = np.array(data.draw(st.lists(st.floats(-50, 50), min_size=n, max_size=n)))
    heard = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    columns = {"p_max_kw": size, "p_min_kw": -size, "kind": np.zeros(n, dtype=np.uint8)}
    metered = Metered(group, 3, np.zeros(n, dtype=np.uint8), columns)
    whole = metered.sums(value, np.ones(n, dtype=bool))
    assert whole == pytest.approx([value[group == g].sum() for g in range(3)], abs=1e-9)
    found = metered.sums(value, heard)
    for g in range(3):
        inside = group == g
        share = size[inside & heard].sum() / size[inside].sum() if inside.any() else 1.0
        if abs(share - LEAST) > 1e-9:
            assert np.isfinite(found[g]) == (share > LEAST)


def test_usual_draws_are_positive_and_of_the_known():
    """Means of sizes; who was never heard counts as the others do."""
    found = usual_draw(np.array([[-2.0, np.nan], [np.nan, np.nan], [-4.0, -4.0]]))
    assert found.tolist() == [2.0, 3.0, 4.0]
