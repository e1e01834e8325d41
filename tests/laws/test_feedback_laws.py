"""Laws of feedback: inside what is possible, no limit made worse, exact at rest, frozen by silence."""

import importlib
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch.feedback import Powers, Quantity, Standing, Tuning, correct

sys.path.insert(0, str(Path(__file__).parent))
world_of = importlib.import_module("feedback_world")
begun, line = world_of.begun, world_of.line

SEEDS = st.integers(0, 10_000)


def _drawn(seed):
    """A world in which devices do anything they can, a third of them silent."""
    rng = np.random.default_rng(seed)
    world = line(rng, int(rng.integers(2, 9)), lift=rng.uniform(-0.1, 0.05))
    able = world.able
    world.able = replace(able, answers=rng.random(world.n) < 0.7)
    world.p_kw = rng.uniform(able.p_lo_kw, able.p_hi_kw)
    room = np.sqrt(able.s_kva**2 - world.p_kw**2)
    world.q_kvar = np.clip(rng.uniform(-1.0, 1.0, world.n) * able.q_most_kvar, -room, room)
    world.high[-1] = rng.uniform(-20.0, 40.0)
    return world, rng


def _arrays(value, path=""):
    if isinstance(value, np.ndarray):
        yield path, value
    elif is_dataclass(value):
        for one in fields(value):
            yield from _arrays(getattr(value, one.name), f"{path}.{one.name}")


@given(SEEDS)
@settings(max_examples=60)
def test_targets_are_inside_capability_and_the_silent_stay(seed):
    """Every target is within its bounds and its inverter's rating; who does not answer keeps what it does."""
    world, _ = _drawn(seed)
    before = world.p_kw.copy(), world.q_kvar.copy()
    state = begun(world)
    for t in range(6):
        state = world.tick(state, t).state
    able = world.able
    asked = able.answers
    assert (world.p_kw[asked] >= able.p_lo_kw[asked] - 1e-9).all()
    assert (world.p_kw[asked] <= able.p_hi_kw[asked] + 1e-9).all()
    assert (np.abs(world.q_kvar) <= able.q_most_kvar + 1e-9).all()
    assert (np.hypot(world.p_kw, world.q_kvar) <= able.s_kva * (1.0 + 1e-9)).all()
    assert (world.p_kw[~asked] == before[0][~asked]).all()
    assert (world.q_kvar[~asked] == before[1][~asked]).all()


@given(SEEDS)
@settings(max_examples=60)
def test_no_limit_in_sight_is_made_worse(seed):
    """What is inside stays inside, what is beyond goes no further, as far as sensitivities can tell.

    Limits that all devices together cannot move by two units command nobody, and are not judged.
    """
    world, _ = _drawn(seed)
    world.able = replace(world.able, s_kva=np.full(world.n, np.inf))
    world.wrong = np.ones_like(world.wrong)
    world.wanted = Powers(world.p_kw.copy(), world.q_kvar.copy())
    before = world.value()
    world.tick(begun(world), 0)
    after = world.value()
    over = [np.maximum(np.maximum(v - world.high, world.low - v), 0.0) for v in (before, after)]
    unit = np.append(np.full(world.n, 1e-2), 0.01 * abs(world.high[-1]))
    span = np.concatenate([world.able.p_hi_kw - world.able.p_lo_kw, 2.0 * world.able.q_most_kvar])
    has_say = np.abs(world.true) @ (span * np.tile(world.able.answers, 2)) > 2.1 * unit
    assert (over[1] <= over[0] + 1e-5)[has_say].all()


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_at_rest_a_limit_is_reached_exactly_with_wrong_sensitivities(seed):
    """Sensitivities wrong by thirty percent change the way, and not where the voltage comes to rest."""
    rng = np.random.default_rng(seed)
    world = line(rng)
    top = world.value()[:-1].max()
    if top <= 1.05:
        return
    state = begun(world)
    for t in range(60):
        answer = world.tick(state, 10 * t)
        state = answer.state
    assert world.value()[:-1].max() == pytest.approx(1.05, abs=1e-6)
    assert len(answer.held)


@given(SEEDS)
@settings(max_examples=30)
def test_what_was_asked_and_not_seen_yet_is_not_asked_twice(seed):
    """The same old reading again, with orders under way or followed meanwhile, asks the limits for no more.

    Who of two at nearly the same place gives it may change. Where limits cannot all hold, more is given from
    tick to tick, and nothing of this kind can be said.
    """
    world, _ = _drawn(seed)
    # A wide fleet without silence: what feedback asks is what happens.
    world.able = replace(world.able, answers=np.ones(world.n, dtype=bool))
    tuning = Tuning(release_s=1e12)
    seen = world.sight(0)
    doing = Standing(world.p_kw, world.q_kvar, np.full(world.n, -1.0))
    first = correct(begun(world), seen, world.wanted, doing, world.able, 0.0, tuning)
    if first.slack.max() > 1e-9:
        return
    waiting = correct(first.state, seen, world.wanted, doing, world.able, 1.0, tuning)
    followed = Standing(first.p_kw, first.q_kvar, np.full(world.n, 0.5))
    done = correct(waiting.state, seen, world.wanted, followed, world.able, 2.0, tuning)
    voltages = seen.quantity == Quantity.VOLTAGE
    for later in (waiting, done):
        moved = np.concatenate([later.p_kw - first.p_kw, later.q_kvar - first.q_kvar])
        column = seen.effects.column
        at_port = np.zeros(2 * seen.effects.ports)
        np.add.at(at_port, np.concatenate([column, column + seen.effects.ports]), moved)
        effect = at_port @ seen.effects.matrix
        assert effect[voltages] == pytest.approx(0.0, abs=5e-4)


@given(SEEDS)
@settings(max_examples=10)
def test_a_tick_is_a_pure_function(seed):
    """The same values give the same bytes, and nothing that was handed in is changed."""
    world, _ = _drawn(seed)
    doing = Standing(world.p_kw, world.q_kvar, np.zeros(world.n))
    state = correct(begun(world), world.sight(0), world.wanted, doing, world.able, 0.0).state
    inputs = state, world.sight(1), world.wanted, doing, world.able
    kept = [(name, array.tobytes()) for one in inputs for name, array in _arrays(one)]
    answers = [correct(*inputs, 1.0) for _ in range(2)]
    assert [(name, array.tobytes()) for one in inputs for name, array in _arrays(one)] == kept
    one, other = ([(name, a.tobytes()) for name, a in _arrays(answer)] for answer in answers)
    assert one == other


@given(SEEDS)
@settings(max_examples=20)
def test_without_a_broken_limit_nothing_is_moved(seed):
    """Where all limits hold with room to spare, targets are what was wanted."""
    world = line(np.random.default_rng(seed), lift=-0.04)
    answer = world.tick(begun(world), 0)
    assert answer.p_kw == pytest.approx(world.wanted.p_kw)
    assert np.nan_to_num(answer.q_kvar) == pytest.approx(0.0)
    assert not len(answer.held)
