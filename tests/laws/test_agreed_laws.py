"""What devices agree with their server: what is granted is planned once, settings never widen anything."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch import Response
from gridflock.fleet import flexibility
from gridflock.runtime._agreed import Agreed, Agreement, Setting
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.runtime._reserved import Granted, firm, less_expected
from gridflock.schema import Family, Kind
from gridflock.units import HOUR_S, TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("flexible_world")

STORES = (Kind.BATTERY_HOME, Kind.EV_V1G, Kind.EV_V2G)
NOW_S = world.NOW_S
STEPS = 12
EXACT = 1e-6


def _able(image, grid):
    rows = np.arange(image.n, dtype=np.int32)
    none = np.zeros((image.n, grid.n))
    return flexibility(image, list(image.ids), list(rows[:, None]), grid, none, none), rows


def _grants(rng, image, grid):
    """One for some of them, somewhere, of any size; not always of whole steps."""
    found = []
    for row in rng.permutation(image.n)[: rng.integers(1, image.n + 1)].tolist():
        start_s = int(rng.integers(grid.start_s - HOUR_S, grid.end_s))
        end_s = start_s + int(rng.integers(60, 4 * HOUR_S))
        p_kw = float(rng.uniform(-10, 10 if image.columns["p_max_kw"][row] > 0 else -0.1))
        e_kwh = p_kw * (end_s - start_s) / HOUR_S * float(rng.uniform(0.3, 1))
        found.append(Granted(f"g{row}", image.ids[row], start_s, end_s, p_kw, e_kwh))
    return tuple(found)


def _reach(able, m):
    """Least and most that a store can hold at each edge, all limits kept."""
    low, high = [0.0], [0.0]
    moves = able.gain_up[m] * able.up_kw[m], able.gain_down[m] * able.down_kw[m]
    rise = sum(np.maximum(one, 0.0) for one in moves) * able.grid.hours
    fall = sum(np.minimum(one, 0.0) for one in moves) * able.grid.hours
    for t in range(able.grid.n):
        low.append(max(low[-1] + fall[t], able.x_lo_kwh[m, t + 1]))
        high.append(min(high[-1] + rise[t], able.x_hi_kwh[m, t + 1]))
    return np.array(low), np.array(high)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_what_is_granted_is_held_and_planned_once(seed):
    """In its interval a resource has no choice, within plate and store; beside it less, never more.

    What is granted and what is left to the plan never store more than there is room for, nor drain more than
    there is; whoever was granted nothing is as before, and bounds are such that a schedule exists.
    """
    rng = np.random.default_rng(seed)
    image, grid = world.mixed(rng, 5, STORES), world.uneven(rng, STEPS)
    able, rows = _able(image, grid)
    before = {name: getattr(able, name).copy() for name in ("base_kw", "up_kw", "x_lo_kwh", "x_hi_kwh")}
    granted = _grants(rng, image, grid)
    found = firm(able, rows, granted, image)
    for name, value in before.items():
        assert np.array_equal(getattr(able, name), value)
    whose = {one.resource: one for one in granted}
    for m, row in enumerate(rows.tolist()):
        one = whose.get(image.ids[row])
        if one is None or not one.share(grid).any():
            for name in before:
                assert np.array_equal(getattr(found, name)[m], getattr(able, name)[m])
            continue
        share, columns = one.share(grid), image.columns
        whole = share > 1.0 - 1e-12
        assert not found.up_kw[m][whole].any()
        assert not found.down_kw[m][whole].any()
        assert (found.up_kw[m] <= able.up_kw[m] + EXACT).all()
        assert (found.down_kw[m] <= able.down_kw[m] + EXACT).all()
        most = max(columns["p_max_kw"][row], -columns["p_min_kw"][row]) + EXACT
        assert (np.abs(found.base_kw[m]) <= min(abs(one.rate_kw), most) * share + EXACT).all()
        low, high = _reach(found, m)
        assert (low <= high + EXACT).all()
        gain = np.where(found.base_kw[m] > 0, found.gain_up[m], -found.gain_down[m])
        stored = np.concatenate([[0.0], np.cumsum(found.base_kw[m] * gain * grid.hours)])
        energy = image.e_kwh[row]
        room = max(columns["e_max_kwh"][row] - energy, 0.0)
        spare = max(energy - columns["e_reserve_kwh"][row], 0.0)
        assert (stored <= room + 1e-4).all()
        assert (stored >= -spare - 1e-4).all()
        if image.family[row] == Family.STORAGE:
            assert (low + stored >= -spare - 1e-4).all()
            assert (high + stored <= room + 1e-4).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_of_what_is_granted_to_who_has_yet_to_come_none_is_expected_twice(seed):
    """Expected need falls by just what is granted, as far as it goes, and only before the grant is over."""
    rng = np.random.default_rng(seed)
    image, grid = world.mixed(rng, 4, (Kind.EV_V1G,)), world.uneven(rng, STEPS)
    ready = (rng.random(image.n) < 0.5).astype(np.uint8)
    image = _with(image, ready=ready)
    rows = np.arange(image.n, dtype=np.int32)
    inflow = -rng.uniform(0, 3, grid.n) * (rng.random(grid.n) < 0.7)
    granted = tuple(one for one in _grants(rng, image, grid) if one.p_kw < 0)
    left = less_expected(inflow, rows, granted, image, grid)
    away = [one for one in granted if not ready[image.ids.index(one.resource)]]
    if not away:
        assert left is inflow
        return
    assert (left <= 1e-12).all()
    assert (left >= inflow - 1e-12).all()
    last = max(int(np.flatnonzero(one.share(grid)).max(initial=-1)) for one in away)
    assert np.allclose(left[last + 1 :], inflow[last + 1 :])
    due = sum(float((one.share(grid) * grid.hours).sum()) * -one.rate_kw for one in away)
    taken = float(((left - inflow) * grid.hours).sum())
    assert taken <= due + EXACT
    if len(away) == 1:
        there = float((-inflow * grid.hours)[: last + 1].sum())
        assert taken == pytest.approx(min(due, there), abs=1e-9)


def _with(image, **changed):
    from dataclasses import replace

    return replace(image, **changed)


bounds = st.floats(0, 12) | st.just(float("inf"))


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    told=st.lists(st.tuples(st.integers(0, 9), bounds, bounds, bounds, st.floats(0, 9), bounds), max_size=6),
)
def test_settings_narrow_and_never_widen(seed, told):
    """No column leaves more than the registry does; powers still hold 0, and a reserve what can be stored."""
    image = world.mixed(np.random.default_rng(seed), 10)
    row_of = {name: row for row, name in enumerate(image.ids)}
    said = {
        row: Setting(image.ids[row], -low, high, kva, least, most)
        for row, low, high, kva, least, most in told
    }
    agreement = Agreement(settings=(*said.values(), Setting("of nobody", -1.0, 1.0)))
    found = agreement.narrowed(image, row_of)
    for name, sign in (("p_max_kw", 1), ("p_min_kw", -1), ("s_max_kva", 1), ("e_max_kwh", 1)):
        was, now = image.columns[name], found.columns[name]
        assert (sign * now <= sign * was).all()
        assert (sign * now >= np.minimum(sign * was, 0)).all()
        same = ~np.isin(np.arange(image.n), list(said))
        assert np.array_equal(was[same], now[same])
    assert (found.columns["e_reserve_kwh"] <= np.maximum(found.columns["e_max_kwh"], 0)).all()
    for row, one in said.items():
        assert found.columns["p_max_kw"][row] <= np.float32(one.p_max_kw)
    assert Agreement().narrowed(image, row_of) is image


def test_what_was_told_before_is_no_news():
    """What is not known yet changes nothing, what is known already is not told again; bytes bring it back."""
    granted = (Granted("g", "r0", NOW_S, NOW_S + 600, -2.0, -0.3),)
    now = Agreed(granted, (Setting("r0", -1.0),))
    agreement = Agreement().heard(Agreement().news(now))
    assert agreement.news(now) == Agreed()
    assert agreement.news(Agreed()) == Agreed()
    assert agreement.heard(Agreed()) == agreement
    assert agreement.heard(agreement.news(Agreed((), now.settings))).granted == ()
    assert from_bytes(to_bytes(now)) == now
    assert from_bytes(to_bytes(agreement)) == agreement


# ---- kept to -----------------------------------------------------------------------------------------


def _lived(p_of, *, end_s=1_800, p_kw=-2.0, e_kwh=-1.0, ordered=None, heard=True, ends=True):
    """Texts that are told of a grant, with its resource doing ``p_of`` (of seconds since its start)."""
    image = world.mixed(np.random.default_rng(3), 1, (Kind.BATTERY_HOME,))
    one = Granted("g", image.ids[0], NOW_S, NOW_S + end_s, p_kw, e_kwh)
    agreement, texts = Agreement(granted=(one,)), []
    for at_s in range(-120, end_s + 180, 60):
        now_s = NOW_S + at_s
        if ends and at_s >= end_s:
            agreement = agreement.heard(Agreed((), None))
        seen = _with(
            image, now_s=now_s, p_kw=np.array([p_of(at_s)], dtype=np.float32),
            heard_s=np.array([now_s if heard else NOW_S - HOUR_S]),
        )  # fmt: skip
        response = Response.empty(1)
        if ordered is not None:
            response = _with(response, ordered_kw=np.array([ordered]))
        agreement, entries = agreement.after(seen, {image.ids[0]: 0}, response)
        texts += [entry.head["text"] for entry in entries]
    assert not (ends and agreement.watched)
    return texts


@pytest.mark.parametrize(
    "p_of",
    [
        lambda _: -2.0,
        lambda _: -2.15,
        lambda at_s: 0.0 if at_s < 280 else -1.9,
        lambda at_s: -2.0 if at_s % 120 else -1.8,
    ],
)
def test_who_keeps_to_what_it_was_granted_is_not_told(p_of):
    """Within a tenth, after the time that it takes to obey, nothing is told."""
    assert _lived(p_of) == []


def test_who_does_not_is_told_once():
    """Who draws nothing, or more than granted, is one event of its reservation, not one of each tick."""
    (nothing,) = _lived(lambda _: 0.0)
    assert "reservation not kept" in nothing
    assert "0.00 kW on average where -2.00 kW are granted" in nothing
    (more,) = _lived(lambda _: -3.0)
    assert "-3.00 kW on average" in more
    (other,) = _lived(lambda _: 2.0)
    assert "2.00 kW on average where -2.00" in other


def test_who_was_ordered_otherwise_is_told_with_that():
    """Where limits or people went before what was granted, the event says what was ordered."""
    (told,) = _lived(lambda _: -0.5, ordered=-0.5)
    assert told.endswith("; it was ordered -0.50 kW")


def test_who_has_had_its_energy_may_rest():
    """A power for twice as long as the energy takes: drawn at once and then resting is kept to, too."""
    assert _lived(lambda at_s: -2.0 if at_s < 1_800 else 0.0, end_s=3_600) == []
    (told,) = _lived(lambda _: -2.0, end_s=3_600)  # twice as much energy as was granted
    assert "are granted" in told


def test_who_was_never_heard_of_is_told_at_the_end():
    """Silence is no deviation that could be measured; when it is over it is told as what it was."""
    (told,) = _lived(lambda _: 0.0, heard=False)
    assert told.endswith("nothing was heard of it")


def test_wishes_are_of_those_who_are_there_and_whose_time_it_is():
    """A grant is wanted in its interval alone, at its power and never beyond, and of nobody who is away."""
    image = world.mixed(np.random.default_rng(3), 1, (Kind.BATTERY_HOME,))
    p_kw = float(image.columns["p_min_kw"][0]) / 2
    one = Granted("g", image.ids[0], NOW_S, NOW_S + 600, p_kw, p_kw / 6)
    agreement, row_of = Agreement(granted=(one,)), {image.ids[0]: 0}
    (wish,) = agreement.beside((), image, row_of)
    assert (wish.p_kw, wish.p_lo_kw, wish.p_hi_kw) == (pytest.approx(p_kw), wish.p_kw, float("inf"))
    assert (wish.group, wish.until_s) == (image.ids[0], NOW_S + 600)
    assert agreement.beside((), _with(image, now_s=NOW_S + 600), row_of) == ()
    assert agreement.beside((), _with(image, now_s=NOW_S - 1), row_of) == ()
    assert agreement.beside((), _with(image, ready=np.zeros(1, np.uint8)), row_of) == ()
    assert agreement.beside((wish,), image, {}) == (wish,)


def test_a_grant_beyond_the_horizon_changes_nothing():
    """What begins after the last step, or is over, leaves the very same flexibility."""
    rng = np.random.default_rng(1)
    image, grid = world.mixed(rng, 2, STORES), TimeGrid.uniform(NOW_S, 900, 4)
    able, rows = _able(image, grid)
    for start_s in (grid.end_s, grid.start_s - 600):
        one = Granted("g", image.ids[0], start_s, start_s + 600, -1.0, -0.1)
        assert firm(able, rows, (one,), image) is able


def _agreed_of_two(one_kw, other_kw):
    """A store of one home, and two grants of it at once, at parts of its plate."""
    image = world.mixed(np.random.default_rng(3), 1, (Kind.BATTERY_HOME,))
    plate = -float(image.columns["p_min_kw"][0])
    return image, tuple(
        Granted(name, image.ids[0], NOW_S, NOW_S + end_s, part * plate, part * plate * end_s / HOUR_S)
        for name, part, end_s in (("a", one_kw, 1_800), ("b", other_kw, 3_600))
    )


@pytest.mark.parametrize(("one", "other"), [(-0.5, -0.25), (-0.8, -0.7), (-0.5, 0.25)])
def test_what_is_granted_twice_at_once_adds_up(one, other):
    """One wish of both, within the plate, and the same in the plan; then the one that still lasts."""
    image, granted = _agreed_of_two(one, other)
    image = _with(image, e_kwh=image.columns["e_max_kwh"] / 2)
    row_of, plate = {image.ids[0]: 0}, -float(image.columns["p_min_kw"][0])
    (wish,) = Agreement(granted=granted).beside((), image, row_of)
    assert wish.p_kw == pytest.approx(max(one + other, -1.0) * plate)
    assert (wish.p_lo_kw, wish.until_s) == (wish.p_kw, NOW_S + 1_800)
    (left,) = Agreement(granted=granted).beside((), _with(image, now_s=NOW_S + 1_800), row_of)
    assert left.p_kw == pytest.approx(other * plate)
    able, rows = _able(image, TimeGrid.uniform(NOW_S, 60, 1))
    assert firm(able, rows, granted, image).base_kw[0, 0] == pytest.approx(wish.p_kw)


def test_who_keeps_to_two_grants_at_once_is_not_told():
    """Each is held against what is measured beyond the other; who keeps to one of both is told."""
    image, granted = _agreed_of_two(-0.5, -0.25)
    plate = -float(image.columns["p_min_kw"][0])

    def told(part):
        agreement, texts = Agreement(granted=granted), []
        for at_s in range(0, 1_800, 60):
            now_s = NOW_S + at_s
            p_kw = np.array([part * plate], dtype=np.float32)
            seen = _with(image, now_s=now_s, p_kw=p_kw, heard_s=np.array([now_s]))
            agreement, entries = agreement.after(seen, {image.ids[0]: 0}, Response.empty(1))
            texts += entries
        return texts

    assert told(-0.75) == []
    assert told(-0.5)


@pytest.mark.parametrize("end_s", [60, 120])
def test_what_is_over_before_it_could_be_judged_is_not_told(end_s):
    """Who was heard of all the while was heard of, however short the time."""
    assert _lived(lambda _: -2.0, end_s=end_s, e_kwh=-2.0 * end_s / HOUR_S) == []
