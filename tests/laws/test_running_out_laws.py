"""Laws of orders that nobody renews: they run out one by one, and those that are renewed never do."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gridflock.dispatch import Response
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
FLEET, GROUPS = world.fleet_of({Kind.BATTERY_HOME: 400})
CELLS = GROUPS.rows("type/battery_home")
VALUES = world.ordinary(FLEET, np.random.default_rng(3))
VALUES["p_kw"][CELLS], VALUES["e_kwh"][CELLS] = 0.0, 8.0
IMAGE = world.tell(FLEET, VALUES)
POLICY = world.free_policy()
WISH = world.want("w", "type/battery_home", 800.0, until_s=NOW_S + 36_000)


def test_what_nobody_renews_runs_out_one_by_one():
    """Orders of one tick that live on their own end within the last fifth of the longest life, evenly."""
    orders = world.decide(IMAGE, GROUPS, [WISH], policy=POLICY).orders
    lives_s = orders.expires_s - NOW_S
    assert len(orders.index) == len(CELLS)
    assert lives_s.max() <= POLICY.valid_s
    assert lives_s.min() >= POLICY.valid_s * (1.0 - POLICY.spread)
    many = np.bincount((lives_s - 240) // 10, minlength=6)[:6]
    assert many.max() <= 2 * len(CELLS) / 6
    again = world.decide(IMAGE, GROUPS, [WISH], policy=POLICY).orders
    assert np.array_equal(again.expires_s, orders.expires_s)


@pytest.mark.parametrize("tick_s", [4, 60])
def test_what_is_renewed_never_runs_out(tick_s):
    """As long as its wish lasts every resource has an order in force, however the lot fell."""
    response, power = Response.empty(IMAGE.n), np.zeros(IMAGE.n)
    for tick in range(900 // tick_s):
        now_s = NOW_S + tick * tick_s
        image = dataclasses.replace(
            IMAGE, now_s=now_s, heard_s=np.full(IMAGE.n, now_s), p_kw=power.astype(np.float32)
        )
        decision = world.decide(image, GROUPS, [WISH], response=response, policy=POLICY)
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
        power = np.nan_to_num(response.ordered_kw)
        assert (response.expires_s[CELLS] > now_s + tick_s).all()


def test_without_a_spread_all_live_as_long():
    """A share of 0 gives every order the whole life."""
    policy = world.free_policy(spread=0.0)
    orders = world.decide(IMAGE, GROUPS, [WISH], policy=policy).orders
    assert set((orders.expires_s - NOW_S).tolist()) == {policy.valid_s}
