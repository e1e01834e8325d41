"""A feeder's day planned with its regulators taking part: ±5 % unwidened, on the packed IEEE 123 feeder."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from gridflock.grid import solve
from gridflock.grid._network import Complex
from gridflock.model import Flexibility
from gridflock.plan.network import (
    Devices,
    Feeder,
    How,
    NetworkPlan,
    Policy,
    day_limits,
    dispatch_plan,
)
from gridflock.plan.network._verdict import Limits, judged
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
day = importlib.import_module("network_day")
STEPS, PRICE = day.STEPS, day.PRICE
COUNT = 120


def small_feeder() -> Feeder:
    """The feeder at about 60 % load with a device port at every load."""
    of: Feeder = day.feeder_at(0.6)
    return of


@lru_cache(maxsize=1)
def batteries() -> Devices:
    """Large batteries at drawn ports, their inverters without reactive power: only taps help voltages."""
    rng = np.random.default_rng(3)
    kw = rng.uniform(40.0, 80.0, COUNT)
    steps, edges = np.ones((COUNT, STEPS)), np.ones((COUNT, STEPS + 1))
    rows = Flexibility(
        TimeGrid.uniform(0, 3600, STEPS), tuple(f"der_{k}" for k in range(COUNT)), 0.0 * steps,
        kw[:, None] * steps, kw[:, None] * steps, -2.0 * kw[:, None] * edges, 2.0 * kw[:, None] * edges,
        np.full(COUNT, -1.0 / 0.95), np.full(COUNT, 0.95), np.full(COUNT, 0.01), np.zeros(COUNT),
    )  # fmt: skip
    rows.x_lo_kwh[:, -1] = 0.0
    port = rng.integers(0, small_feeder().ports, COUNT).astype(np.int32)
    return Devices(rows, port, np.zeros(COUNT))


def unwidened() -> Limits:
    """±5 % and every rating, whatever the day without devices breaks."""
    return day_limits(small_feeder(), Policy.HARD)


@lru_cache(maxsize=2)
def planned(*, taps: bool) -> NetworkPlan:
    """The batteries' plan, taps held or taking part."""
    how = How(taps=taps, polish=4, bound=0)
    return dispatch_plan(small_feeder(), batteries(), PRICE, unwidened(), how=how)


def solved(plan: NetworkPlan) -> tuple[Complex, Complex]:
    """Voltages and currents of a plan's steps by the reference flow, each at the plan's own taps."""
    of, sums = plan.feeder, np.zeros((small_feeder().ports, STEPS))
    np.add.at(sums, batteries().port, plan.p_kw)
    powers, still = of.powers(sums, np.zeros_like(sums)), np.zeros(of.network.n, dtype=np.complex128)
    flows = [solve(of.network, powers[t], still, of.state_at(t)) for t in range(STEPS)]
    return np.array([flow.v for flow in flows]), np.array([flow.currents for flow in flows])


def test_taps_keep_five_percent_and_save_what_voltages_cost() -> None:
    """Price alone breaks voltages; with taps nothing breaks unwidened limits, and the plan is cheaper."""
    acting, held = planned(taps=True), planned(taps=False)
    assert acting.log[0].voltages > 0
    assert acting.clean
    assert acting.feeder.tap_moves > 0
    assert "taps" in {one.stage for one in acting.log}
    assert not held.clean or acting.cost < held.cost
    assert acting.cost >= acting.free_bound


def test_the_verdict_is_that_of_the_reference_flow_at_these_taps() -> None:
    """Every step solved by the reference at its own positions: no limit breaks there either."""
    plan, kept = planned(taps=True), unwidened()
    theirs = judged(plan.feeder.network, kept, *solved(plan))
    assert theirs.clean
    for name in ("low_pu", "high_pu", "over"):
        assert np.allclose(getattr(theirs, name), getattr(plan.verdict, name), atol=1e-6)
    held = replace(plan, feeder=small_feeder())
    assert not judged(plan.feeder.network, kept, *solved(held)).clean


def test_without_the_lever_nothing_moves() -> None:
    """A plan with taps held stands on the feeder that was handed in."""
    plan = planned(taps=False)
    assert plan.feeder.tap_moves == plan.feeder.cap_moves == 0
    assert "taps" not in {one.stage for one in plan.log}


def test_equal_input_has_equal_moves() -> None:
    """The same day twice: the same positions, the same powers."""
    how = How(taps=True, polish=4, bound=0)
    again = dispatch_plan(small_feeder(), batteries(), PRICE, unwidened(), how=how)
    first = planned(taps=True)
    assert (again.feeder.taps == first.feeder.taps).all()
    assert (again.p_kw == first.p_kw).all()
