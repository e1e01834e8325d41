"""Laws of taps and capacitors as a lever of a feeder's day: what is exact at them, how they are chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid import initial, settle, solve
from gridflock.grid._network import Float
from gridflock.grid.build import from_document
from gridflock.plan.network import Feeder, Policy, day_limits, feeder
from gridflock.plan.network._derivatives import Derivatives
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._taps import Levers, Standing, _least, moved
from gridflock.plan.network._verdict import V_COUNTS_PU, Limits
from gridflock.sim import feeder_document

SEEDS = st.integers(0, 2**32 - 1)
STEPS = 6
LEVERS = Levers(block=2)


@lru_cache(maxsize=1)
def small_feeder() -> Feeder:
    """The packed feeder with its regulators, six steps of load, a device port at every load."""
    network = from_document(feeder_document("ieee123"))
    shape = np.array([0.3, 0.3, 0.5, 0.8, 0.8, 0.4])
    loads = network.load_kva[None, :] * shape[:, None]
    still = np.zeros(network.n, dtype=np.complex128)
    _, state = settle(network, loads.mean(axis=0), still, initial(network))
    return feeder(network, state, loads, network.load_nodes)


def drawn_course(rng: np.random.Generator, of: Feeder) -> Feeder:
    """Regulators and capacitors anywhere near where they stand, two or three states in the day."""
    kinds = rng.integers(1, 4)
    taps = of.state.taps + rng.integers(-3, 4, (kinds, of.taps.shape[1]))
    caps = rng.random((kinds, of.cap_on.shape[1])) < 0.5
    which = rng.integers(0, kinds, of.steps)
    return of.acting(taps[which].astype(np.int8), caps[which])


def outside(limits: Limits, size: Float) -> int:
    """How many voltages (T, n) pu break their limits."""
    low, high = limits.v_low_pu - V_COUNTS_PU, limits.v_high_pu + V_COUNTS_PU
    return int(((size < low) | (size > high)).sum())


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_every_step_is_solved_at_its_own_taps(seed: int) -> None:
    """Voltages and currents of each step are those of the reference flow at that step's positions."""
    rng = np.random.default_rng(seed)
    of = drawn_course(rng, small_feeder())
    p_kw, q_kvar = rng.normal(0.0, 10.0, (of.ports, STEPS)), rng.normal(0.0, 5.0, (of.ports, STEPS))
    exact, powers = Exact(of), of.powers(p_kw, q_kvar)
    points, still = exact.points(p_kw, q_kvar), np.zeros(of.network.n, dtype=np.complex128)
    amps = exact.currents(points.v)
    for t in range(STEPS):
        flow = solve(of.network, powers[t], still, of.state_at(t))
        assert np.allclose(np.abs(points.v[t]), np.abs(flow.v), rtol=1e-7)
        assert np.allclose(amps[t], flow.currents, atol=1e-4)
        assert np.allclose(points.amps[t], flow.currents[exact.conductors], atol=1e-4)


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_derivatives_are_those_at_the_most_frequent_taps(seed: int) -> None:
    """Of the steps looked at: as on a feeder that stands there all day."""
    rng = np.random.default_rng(seed)
    of = small_feeder()
    taps = np.repeat(of.taps[:1], STEPS, axis=0)
    taps[2:5] += rng.integers(1, 4, of.taps.shape[1]).astype(np.int8)
    one, steps = of.acting(taps, of.cap_on), np.array([1, 0, 1, 1, 0, 0], dtype=np.bool_)
    all_day = of.acting(np.repeat(taps[2:3], STEPS, axis=0), of.cap_on)
    powers = of.powers(np.zeros((of.ports, STEPS)), np.zeros((of.ports, STEPS))).mean(axis=0)
    nodes = np.unique(of.network.load_nodes[of.network.load_nodes >= 0]).astype(np.int32)
    ports, none = np.arange(5, dtype=np.int32), np.zeros(0, dtype=np.int32)
    asked = nodes, Exact(of).conductors[:20], ports, none
    for found, there in zip(
        Derivatives(one, powers, steps).rows(*asked), Derivatives(all_day, powers).rows(*asked), strict=True
    ):
        assert (found == there).all()


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_taps_that_act_are_never_worse(seed: int) -> None:
    """The day without devices breaks no more limits than before; the same question has the same answer."""
    rng = np.random.default_rng(seed)
    of = drawn_course(rng, small_feeder())
    kept = day_limits(of, Policy.HARD)
    p_kw = np.repeat(rng.normal(0.0, 25.0, (1, STEPS)), of.ports, axis=0) * rng.random((of.ports, 1))
    q_kvar, now = np.zeros_like(p_kw), Standing.of(of)
    found, again = (moved(now, kept, p_kw, q_kvar, LEVERS) for _ in range(2))
    base = of.network.v_base
    assert outside(kept, np.abs(found.without.v) / base) <= outside(kept, np.abs(now.without.v) / base)
    assert (found.feeder.taps == again.feeder.taps).all()
    assert (found.feeder.cap_on == again.feeder.cap_on).all()
    reg = of.network.regulators
    assert (found.feeder.taps >= reg.tap_low).all()
    assert (found.feeder.taps <= reg.tap_high).all()
    fixed = of.network.capacitors.mode == 0
    assert (found.feeder.cap_on == of.cap_on)[:, fixed].all()


def test_a_day_inside_its_limits_moves_nothing() -> None:
    """Where no zone is strained every position stays, and so it does where no regulator may move."""
    of = small_feeder()
    still, wide = np.zeros((of.ports, STEPS)), day_limits(of, band_pu=(0.8, 1.2))
    now = Standing.of(of)
    assert moved(now, wide, still, still, LEVERS) is now
    locked = replace(of.network.regulators, locked=np.ones_like(of.network.regulators.locked))
    stuck = Standing.of(replace(of, network=replace(of.network, regulators=locked)))
    tight = day_limits(of, Policy.HARD, band_pu=(0.995, 1.005))
    assert moved(stuck, tight, still, still, LEVERS) is stuck


def test_a_shifted_feeder_is_put_right() -> None:
    """Taps that stand far too high are brought where the day without devices keeps ±5 %."""
    of = small_feeder()
    begin = replace(of.state, taps=(of.state.taps + 8).astype(np.int8))
    high = replace(of, state=begin, taps=np.repeat(begin.taps[None], STEPS, axis=0))
    kept, now, still = day_limits(high, Policy.HARD), Standing.of(high), np.zeros((of.ports, STEPS))
    found, base = moved(now, kept, still, still, LEVERS), of.network.v_base
    assert outside(kept, np.abs(now.without.v) / base) > 0
    assert outside(kept, np.abs(found.without.v) / base) == 0
    assert found.feeder.tap_moves > 0


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.0, 3.0))
def test_a_control_takes_its_best_course(seed: int, move: float) -> None:
    """Of all courses of one control none has less strain and moves together."""
    rng = np.random.default_rng(seed)
    strain, choice = rng.exponential(1.0, (4, 3)), np.arange(-1, 2)
    before = int(rng.integers(-2, 3))

    def worth(path: tuple[int, ...]) -> float:
        position = np.append(before, choice[list(path)])
        return float(strain[np.arange(4), list(path)].sum() + move * np.abs(np.diff(position)).sum())

    found = _least(strain, choice, before, move)
    best = min(worth(path) for path in product(range(3), repeat=4))
    assert worth(tuple(found.tolist())) == pytest.approx(best)


def test_moves_are_counted_from_before_the_day() -> None:
    """Positions moved, the way to the first step's included; capacitors likewise."""
    of = small_feeder()
    taps, caps = of.taps.copy(), of.cap_on.copy()
    taps[:, 0] += 2
    taps[3:, 1] -= 1
    caps[5, 0] = ~caps[5, 0]
    acting = of.acting(taps, caps)
    assert (acting.tap_moves, acting.cap_moves) == (2 + 1, 1)
    assert [steps.tolist() for _, steps in acting.stands()] == [[0, 1, 2], [3, 4], [5]]
    assert (of.tap_moves, of.cap_moves, len(of.stands())) == (0, 0, 1)


def test_positions_that_do_not_exist_are_refused() -> None:
    """Beyond a regulator's range, or of other shapes."""
    of = small_feeder()
    with pytest.raises(ValueError, match="range"):
        of.acting(np.full_like(of.taps, 40), of.cap_on)
    with pytest.raises(ValueError, match="taps"):
        of.acting(of.taps[:2], of.cap_on)
