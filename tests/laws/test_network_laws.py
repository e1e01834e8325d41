"""Laws of the parts of a feeder's loop: derivatives, merged rows, the step of the ports, prices of needs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridflock.grid import initial, settle, solve
from gridflock.grid.build import from_document
from gridflock.plan.devices import Bands
from gridflock.plan.network import Feeder, feeder
from gridflock.plan.network._deciders import Deciders, content, missing_kwh
from gridflock.plan.network._derivatives import Derivatives
from gridflock.plan.network._exact import Exact
from gridflock.plan.network._rows import Slopes, sides, system
from gridflock.sim import feeder_document

SEEDS = st.integers(0, 2**32 - 1)


@lru_cache(maxsize=1)
def small_feeder() -> Feeder:
    """The packed feeder, two steps of load, a device port at every load."""
    network = from_document(feeder_document("ieee123"))
    loads = network.load_kva[None, :] * np.array([[0.4], [0.7]])
    still = np.zeros(network.n, dtype=np.complex128)
    _, state = settle(network, loads.mean(axis=0), still, initial(network))
    return feeder(network, state, loads, network.load_nodes)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_derivatives_are_those_of_the_reference_flow(seed: int) -> None:
    """A kW or kvar at any port moves voltages and currents as two solutions beside each other say.

    Nearly: between the two a load may come to the edge of its voltage range, where its law has a corner.
    """
    rng = np.random.default_rng(seed)
    of, net = small_feeder(), small_feeder().network
    powers = of.powers(rng.normal(0.0, 10.0, (of.ports, 2)), rng.normal(0.0, 5.0, (of.ports, 2)))[0]
    at = Derivatives(of, powers)
    port, reactive = int(rng.integers(of.ports)), bool(rng.integers(2))
    nodes = np.unique(net.load_nodes[net.load_nodes >= 0]).astype(np.int32)
    conductors = rng.choice(np.flatnonzero(net.branch_blocks.node >= 0), 20).astype(np.int32)
    one, none = np.array([port], dtype=np.int32), np.zeros(0, dtype=np.int32)
    volts, amps = at.rows(nodes, conductors, none if reactive else one, one if reactive else none)
    still = np.zeros(net.n, dtype=np.complex128)
    step = np.zeros(len(powers), dtype=np.complex128)
    step[len(net.loads) - of.pairs + port] = 0.5j if reactive else 0.5
    more, less = (solve(net, powers + sign * step, still, of.state, tol=1e-12) for sign in (1.0, -1.0))
    turn = np.exp(-1j * np.angle(at.v[net.branch_blocks.node[conductors]]))
    moved = (more.currents - less.currents)[conductors] * turn
    assert np.allclose(volts[:, 0], (more.v_pu - less.v_pu)[nodes], atol=2e-3 * np.abs(volts).max())
    assert np.allclose(amps[0, :, 0], moved.real, atol=2e-3 * np.abs(amps).max())
    assert np.allclose(amps[1, :, 0], moved.imag, atol=2e-3 * np.abs(amps).max())


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 300), st.integers(1, 40))
def test_step_of_the_ports_is_the_best_one(seed: int, rows: int, columns: int) -> None:
    """What is left of rows that miss is what the normal equations leave; the inverse is exact enough."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, columns)).astype(np.float32)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    nothing = np.zeros((2, 0, columns), dtype=np.float32)
    like = np.arange(rows), np.arange(0)
    slopes = Slopes(a, nothing, np.ones(rows), np.ones(0), *like)
    weight, agents = rng.uniform(0.01, 1.0, rows), rng.integers(1, 5, columns).astype(np.float64)
    made = system(slopes, np.arange(rows), np.arange(0), (weight, np.zeros(0)), agents)
    miss = rng.normal(size=(rows, 3)).astype(np.float32)
    wide = a.astype(np.float64)
    step = -np.linalg.solve(np.eye(columns) + (wide.T * weight) @ wide * agents, (wide.T * weight) @ miss)
    left = miss + wide @ (agents[:, None] * step)
    found, less = made.step(miss)
    assert np.allclose(found, left, atol=1e-3)
    assert np.allclose(less, -step, atol=1e-3)
    assert np.allclose(made.prices(-found), -step, atol=1e-3)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(2, 12))
def test_rows_that_are_one_keep_all_limits(seed: int, rows: int) -> None:
    """A move that the row for many allows is allowed by each of them, and its box is no narrower."""
    rng = np.random.default_rng(seed)
    like = np.zeros(rows, dtype=np.int64)
    size = rng.uniform(0.1, 2.0, rows)
    none = np.zeros((2, 0, 1), dtype=np.float32)
    slopes = Slopes(np.ones((rows, 1), np.float32), none, size, np.ones(0), like, np.zeros(0, np.int64))
    low, high = -rng.uniform(0.0, 1.0, (rows, 4)), rng.uniform(0.0, 1.0, (rows, 4))
    found = sides(slopes, low, high, np.zeros((2, 0, 4)), np.zeros((0, 4)))
    for move in (found.low[0], found.high[0]):
        change = size[:, None] * move
        assert (change >= low - 1e-12).all()
        assert (change <= high + 1e-12).all()
    assert np.isclose(size[found.who_high[0]] * found.high[0], high[found.who_high[0], np.arange(4)]).all()


def _chargers(rng: np.random.Generator, count: int, steps: int) -> Bands:
    """Rows that only charge, each with a need it can reach."""
    down = rng.uniform(1.0, 10.0, (count, 1)) * (np.arange(steps) < steps - 2)
    need = rng.uniform(0.1, 0.8, count) * 0.9 * down.sum(axis=1)
    high = np.broadcast_to(need[:, None], (count, steps + 1))
    low = np.where(np.arange(steps + 1) >= steps - 2, need[:, None], 0.0)
    still, nothing = np.zeros((count, steps)), np.zeros(count)
    return Bands(
        np.ones(steps), np.arange(count + 1), still, still, down, low, high,
        nothing, np.full(count, 0.9), nothing, nothing, nothing, nothing,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_needs_are_served_while_they_are_worth_it(seed: int) -> None:
    """Below the price of a need a vehicle does the same as one that must; above it, nothing."""
    rng = np.random.default_rng(seed)
    bands = _chargers(rng, 5, 12)
    deciders = Deciders.of(bands, 2.0)
    price = rng.uniform(0.0, 0.5, (5, 12))
    soft, hard = deciders.best(price), bands.respond_rows(price)[0]
    assert np.allclose((price * soft).sum(axis=1), (price * hard).sum(axis=1), atol=1e-9)
    assert missing_kwh(bands, content(bands, soft)).max() < 1e-9
    assert abs(deciders.cost(soft)) < 1e-6
    refused = deciders.best(np.full((5, 12), 3.0))
    assert not refused.any()
    assert np.allclose(deciders.cost(refused), 2.0 * bands.x_lo_kwh[:, -1].sum())


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_nearest_is_no_worse_than_any_other(seed: int) -> None:
    """Free devices and stores alike: no random possible schedule is nearer and cheaper."""
    rng = np.random.default_rng(seed)
    bands = _chargers(rng, 4, 8)
    deciders = Deciders.of(bands, 2.0)
    price, target = rng.uniform(0.0, 0.5, (4, 8)), rng.normal(0.0, 3.0, (4, 8))

    def value(p_kw: NDArray[np.float64]) -> float:
        return deciders.cost(p_kw) - float((price * p_kw).sum() - 0.05 * ((p_kw - target) ** 2).sum())

    found = deciders.nearest(price, target, 0.1)
    for _ in range(20):
        other = bands.respond_rows(rng.normal(0.2, 0.2, (4, 8)))[0]
        part = rng.uniform()
        assert value(found) <= value(part * other + (1.0 - part) * found) + 1e-9


def test_exact_day_is_the_reference_flow() -> None:
    """Voltages and currents of the lanes are those of the reference path."""
    of = small_feeder()
    rng = np.random.default_rng(1)
    p_kw, q_kvar = rng.normal(0.0, 10.0, (2, of.ports, 2))
    exact = Exact(of)
    points = exact.points(p_kw, q_kvar)
    still = np.zeros(of.network.n, dtype=np.complex128)
    for t in range(2):
        flow = solve(of.network, of.powers(p_kw, q_kvar)[t], still, of.state)
        assert np.allclose(points.v[t], flow.v, atol=1e-6 * of.network.v_base)
        assert np.allclose(points.amps[t], flow.currents[exact.conductors], atol=1e-3)
