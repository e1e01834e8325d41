"""Laws of feedback's watchdog: wrong signs are caught, and regulators that act are not taken for them."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch.feedback import Mode, Quantity, Sight, Standing, _correct, _solve, correct, effects
from gridflock.dispatch.feedback._level import Levels
from gridflock.dispatch.feedback._watch import Trust, Watch, answers, judged

_SPEC = importlib.util.spec_from_file_location("feedback_world", Path(__file__).parent / "feedback_world.py")
world_of = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(world_of)

SEEDS = st.integers(0, 10_000)
STEP_PU, ZONES, PER_ZONE = 0.00625, 3, 40


def _feeder(rng):
    """A feeder of zones in a row, each behind a regulator: what steps do, and what a kW does to each row."""
    m = ZONES * PER_ZONE
    zone = np.repeat(np.arange(ZONES), PER_ZONE)
    shifts = STEP_PU * (zone[:, None] >= np.arange(ZONES)) * rng.uniform(0.97, 1.06, (m, ZONES))
    by_kw = np.sort(rng.uniform(0.2, 1.0, m))[:, None] * 1e-3
    return shifts, by_kw


def _alarms(rng, sign, *, act, known, ticks=40):
    """Ticks with an alarm; ``act``: regulators step; ``known``: feedback knows of them."""
    shifts, by_kw = _feeder(rng)
    m, noise, drift = len(shifts), rng.uniform(5e-4, 3e-3), rng.uniform(1e-5, 3e-4)
    quantity = np.full(m, Quantity.VOLTAGE, dtype=np.uint8)
    model = effects(
        by_kw.astype(np.float32), by_kw.astype(np.float32), np.zeros(1, np.int32), quantity,
        shifts=shifts if known else None,
    )  # fmt: skip
    endless = np.full(m, np.inf)
    value, watch, found = np.full(m, 1.0), Watch.none(), []
    last = value
    for t in range(ticks):
        asked = rng.uniform(2.0, 8.0) * rng.choice([-1.0, 1.0])
        by_orders = by_kw[:, 0] * asked * rng.uniform(0.8, 1.2, m)
        value = value + sign * by_kw[:, 0] * asked * rng.uniform(0.7, 1.3) + rng.normal(0.0, drift, m)
        if act and rng.random() < 0.4:
            # As regulators do: against what orders have done, now and then two at once.
            steps = np.where(rng.random(ZONES) < 0.5, -sign * np.sign(asked), 0.0)
            value = value + shifts @ steps
        seen = value + rng.normal(0.0, noise, m)
        heard = rng.random(m) < 0.95
        sight = Sight(
            tuple(map(str, range(m))), quantity, seen, np.full(m, t + 1.0), np.full(m, 0.9), np.full(m, 1.1),
            np.full(m, noise), np.full(m, drift), endless, model,
        )  # fmt: skip
        before = replace(
            Levels.none(m), value=last, value_var=np.full(m, noise**2), seen_s=np.full(m, float(t))
        )
        watch = answers(watch, sight, before, by_orders, heard, 1.0)
        watch, alarm = judged(watch, sight, np.full(m, -1.0), heard, Trust(), t + 1.0, exact=True)
        found += [t] if "wrong way" in alarm else []
        last = seen
    return found, watch.mode


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_regulators_that_act_against_orders_are_no_wrong_answers(seed):
    """With every sign as it should be there is no alarm, whichever regulators step, and whenever."""
    found, mode = _alarms(np.random.default_rng(seed), 1.0, act=True, known=True)
    assert not found
    assert mode is Mode.AT_WORK


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_flipped_sign_is_caught_in_as_many_ticks_as_without_regulators(seed):
    """To know of regulators costs no tick where they rest; where they act as well, a flip is still caught."""
    plain, _ = _alarms(np.random.default_rng(seed), -1.0, act=False, known=False)
    aware, mode = _alarms(np.random.default_rng(seed), -1.0, act=False, known=True)
    assert aware == plain
    assert len(plain) == 1
    assert mode is Mode.LOCAL
    acting, mode = _alarms(np.random.default_rng(seed), -1.0, act=True, known=True)
    assert len(acting) == 1
    assert mode is Mode.LOCAL


@pytest.mark.parametrize("ordered", [True, False])
def test_what_changes_without_an_order_is_no_answer(ordered):
    """Sun that comes and goes with meters' errors tells nothing of signs, unless it is said to be ordered."""
    rng = np.random.default_rng(5)
    world = world_of.line(rng, lift=-0.02)
    world.able = replace(world.able, answers=np.zeros(world.n, dtype=bool))
    state, asked = world_of.begun(world), 0.0
    by_order = (np.full(world.n, ordered), np.full(world.n, ordered))
    for t in range(40):
        told = world.p_kw * rng.uniform(0.7, 1.0, world.n)
        doing = Standing(told, rng.normal(0.0, 0.1, world.n), np.full(world.n, t - 0.5), by_order)
        state = correct(state, world.sight(t), world.wanted, doing, world.able, float(t)).state
        asked = max(asked, float(state.watch.asked.max()))
    assert (asked > 1.0) == ordered


def test_without_knowing_of_them_regulators_look_like_wrong_answers():
    """The first law says something: the same feeders raise the alarm where steps are not known."""
    told = [_alarms(np.random.default_rng(seed), 1.0, act=True, known=False)[0] for seed in range(20)]
    assert sum(map(bool, told)) > 4


@pytest.mark.parametrize("part", [0.01, 1.0])
def test_programs_without_an_end_that_hardly_ease_anything_hand_over(monkeypatch, part):
    """A trifle taken off a violation tick after tick is no easing; the larger part of it is."""
    monkeypatch.setattr(_solve, "PARTS", (part,))
    whole = _correct.solve

    def endless(program, price):
        found = whole(program, price)
        still = np.clip(np.zeros(len(program.anchor)), program.low, program.high)
        if _solve._harm(program, _solve.growth_of(program, still)) < 1.0:
            return found
        return _solve._nearer(program, [(found.x, found.growth)], found.climbs, found.price)

    monkeypatch.setattr(_correct, "solve", endless)
    world = world_of.line(np.random.default_rng(5), lift=0.02)
    state, alarms, ends = world_of.begun(world), [], []
    for t in range(12):
        found = world.tick(state, t)
        state = found.state
        alarms += [found.alarm] if found.alarm else []
        ends += [found.exact]
    assert not all(ends)
    assert any("no end of the program" in alarm for alarm in alarms) == (part < 0.1)
