"""Bands of flexibility are set right by what groups could have done on the days before."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import gridflock.runtime._could_have as could_have_module
from gridflock.forecast.flexibility._states import repeated
from gridflock.runtime import LOCAL, Settings, rehearse, replay
from gridflock.runtime._kept import to_bytes
from gridflock.sim import Scenario

SCENARIO = Scenario(ders=40, seed=3)
SETTINGS = Settings(tick_s=300, learn_days=0, in_ac=False, fine_steps=24, coarse_steps=12)
JOIN_S = 21_600 - 900


def live(derms, ticks):
    """So many ticks."""
    for _ in range(ticks):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 300)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Six hours from shortly before six in the morning, in two lives; and the same in one."""
    patch = pytest.MonkeyPatch()
    patch.setattr(could_have_module, "_LEADS_S", (3_600, 5_400))
    folder = tmp_path_factory.mktemp("could")
    for ticks in (10, 57):
        derms, _ = rehearse(folder / "twice", SCENARIO, SETTINGS, join_s=JOIN_S)
        live(derms, ticks)
        derms.close()
    once, _ = rehearse(folder / "once", SCENARIO, SETTINGS, join_s=JOIN_S)
    live(once, 67)
    yield folder, derms, once
    once.close()
    patch.undo()


def test_what_was_said_is_held_against_what_came(lived):
    """Fleet, sections and types of five members or more: misses both ways and for every run, once an hour."""
    _, _, derms = lived
    known = derms._loop.could_have
    assert known.failed == ""
    assert "all" in known.misses
    assert all(len(derms._loop.system.rows_of[name]) >= 5 for name in known.misses)
    assert known.misses["all"].missed.shape == (1, 2, 3)
    assert np.isfinite(known.misses["all"].missed[:, 0]).all()
    assert [said.start_s % 3_600 for said in known.said] == [1_800]


def test_it_outlives_a_restart(lived):
    """A life that was interrupted knows what an unbroken one knows, to the bit."""
    _, twice, once = lived
    assert to_bytes(twice._loop.could_have) == to_bytes(once._loop.could_have)
    assert to_bytes(twice._loop.near) == to_bytes(once._loop.near)


def test_plans_are_marked_an_hour_ahead(lived):
    """With every plan from the sixth quarter-hour on: every series on the card, before any day is over."""
    _, _, derms = lived
    near = derms.card(LOCAL).near
    assert {one.series for one in near} == set(derms._loop.past.series)
    assert all(one.days == 1 and one.crps_kw is not None for one in near)
    count = derms._loop.near.sums[-1, 3]
    assert (count.min(), count.max()) == (count.max(), 18)


def test_it_is_lived_again(lived, tmp_path):
    """A replay comes to the same bytes."""
    folder, *_ = lived
    found = replay(shutil.copytree(folder / "once", tmp_path / "copy"))
    assert found.identical, found.differs


def test_bands_are_set_right_from_enough_days_on(lived, monkeypatch):
    """Before, the view says that it is as counted; after, that it is set right, and by how many days."""
    _, _, derms = lived
    counted = derms.flexibility(LOCAL, "all", hours=1)
    assert (counted.by, counted.days) == ("as counted", 1)
    monkeypatch.setattr(could_have_module, "ENOUGH_DAYS", 1)
    monkeypatch.setattr("gridflock.runtime._flexibility_ahead.ENOUGH_DAYS", 1)
    right = derms.flexibility(LOCAL, "all", hours=3)
    assert (right.by, right.days) == ("set right", 1)
    assert right.t[:4] == counted.t
    assert right.runs[0].up.change_kw.p10[:4] != counted.runs[0].up.change_kw.p10
    nobody = derms.resources(LOCAL, "type/battery_home", 1)[0].id
    assert derms.flexibility(LOCAL, nobody, hours=1).by == "as counted"


def test_misses_of_other_members_do_not_count(lived):
    """A group whose members have changed begins anew."""
    _, _, derms = lived
    system, known = derms._loop.system, derms._loop.could_have
    assert known.days(system, "all") == 1
    other = could_have_module._Misses(1, known.misses["all"].start_s, known.misses["all"].missed)
    changed = could_have_module.CouldHave(misses={"all": other})
    assert changed.days(system, "all") == 0


def _heard(system, image, ticks, **columns):
    """What is known of the fleet after so many ticks of five minutes in which all say the same."""
    rows = np.unique(np.concatenate(list(could_have_module.looked_at(system).values())))
    found = could_have_module.CouldHave(rows.astype(np.int32))
    begin_s = image.now_s - image.now_s % 900
    for k in range(ticks):
        now_s = begin_s + 300 * k
        heard = {"heard_s": np.full(image.n, now_s)} | {name: of(k) for name, of in columns.items()}
        found = could_have_module._heard(found, replace(image, now_s=now_s, **heard))
    return found


def test_who_does_not_say_what_is_on_offer_gives_what_it_gives(lived):
    """Roofs whose inverters tell no available power count with their own, not with 0."""
    _, _, derms = lived
    system, image = derms._loop.system, derms.moment.image
    five = np.full(image.n, 5.0, np.float32)
    mute = np.full(image.n, np.nan, np.float32)
    known = _heard(system, image, 4, p_kw=lambda _: five, p_avail_kw=lambda _: mute)
    assert known.quarter_kw.shape[1] == 1
    assert (known.quarter_kw == 5.0).all()


def test_silence_is_no_power(lived):
    """A quarter-hour in which one was silent is unknown, and a stale value is not counted as heard."""
    _, _, derms = lived
    system, image = derms._loop.system, derms.moment.image
    five = np.full(image.n, 5.0, np.float32)
    begin_s = image.now_s - image.now_s % 900
    last = np.full(image.n, begin_s, dtype=np.int64)
    reach = int(image.columns["reach_s"].max())
    ticks = 3 * (4 + -(-reach // 900)) + 1
    known = _heard(
        system, image, ticks, p_kw=lambda _: five, p_avail_kw=lambda _: five, heard_s=lambda _: last
    )
    assert (known.quarter_kw[:, 0] == 5.0).all()
    assert np.isnan(known.quarter_kw[:, -1]).all()


def test_groups_of_which_too_little_is_known_are_left_out(lived):
    """Members silent in most of a run count as unknown; who missed a quarter-hour is like in the others."""
    _, _, derms = lived
    system, image = derms._loop.system, derms.moment.image
    groups = could_have_module.looked_at(system)
    rows = np.unique(np.concatenate(list(groups.values()))).astype(np.int32)
    power = np.full((len(rows), 16), 4.0, np.float32)
    power[:, 3] = np.nan
    of = could_have_module.CouldHave(rows, quarter_kw=power)
    part = replace(repeated(image, rows, 1), heard_s=np.full(len(rows), image.now_s))
    unasked, known = could_have_module._unasked(of, part)
    assert (unasked == 4.0).all()
    assert set(could_have_module._known_groups(of, part, known, groups)) == set(groups)
    one = next(name for name in groups if name.startswith("type/"))
    power[np.searchsorted(rows, groups[one])] = np.nan
    unasked, known = could_have_module._unasked(of, part)
    left = could_have_module._known_groups(of, part, known, groups)
    assert one not in left
    assert np.isfinite(unasked).all()
