"""Laws of goals in a plan down to devices: by prices and as one program they come to the same."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflock.plan import _members as module
from gridflock.plan import in_cells, planned
from gridflock.plan._terms import Band, Flow, Peak, Ramp, Share

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("test_members_laws")
NOW_S, drawn, possible = here.NOW_S, here.drawn, here.possible
STEPS = 12


def flow_of(rng, members, load):
    """The head, some plan groups, or some single devices with a part of their power."""
    kind = int(rng.integers(0, 3))
    if kind == 0:
        return Flow(dict.fromkeys(members.flexibility.groups, 1.0), load)
    if kind == 1:
        return Flow({"batteries": 1.0, "suns": 1.0}, rng.normal(0.0, 5.0, STEPS), 0.8)
    some = rng.choice(members.flexibility.groups, 15, replace=False).tolist()
    return Flow({name: 1.0 if k % 2 else 1.0 / 3.0 for k, name in enumerate(some)}, np.zeros(STEPS))


def goal_of(kind, rng, members, load):
    """A random row or variable of a kind, near what the devices would do."""
    flow = flow_of(rng, members, load)
    base = flow.power_kw(members.flexibility, members.flexibility.base_kw)
    inside = rng.random(STEPS) < 0.6
    if kind == "band":
        lo = np.where(inside, base - rng.uniform(-5.0, 10.0), -np.inf)
        hi = np.where(inside, base + rng.uniform(-5.0, 10.0), np.inf)
        return Band(
            kind, flow, lo, np.maximum(hi, lo), float(rng.uniform(0.1, 4.0)), float(rng.uniform(0.1, 4.0))
        )
    if kind == "peak":
        return Peak(kind, flow, inside, float(rng.uniform(0.0, 20.0)), float(rng.uniform(0.1, 2.0)))
    most, before = rng.uniform(0.0, 8.0), base[0] + rng.normal(0.0, 10.0) if rng.random() < 0.6 else np.nan
    return Ramp(kind, flow, np.full(STEPS - 1, most), float(rng.uniform(0.05, 0.5)), before, 0.5 * most)


@pytest.mark.parametrize("seed", range(9))
def test_goals_cost_the_same_by_prices_and_as_one_program(seed, monkeypatch):
    """Bands, peaks and ramps of the head, of groups and of single devices: the same cost within the gap."""
    rng = np.random.default_rng(seed)
    members, load, terms = drawn(seed)
    kinds = rng.choice(["band", "peak", "ramp"], 3)
    goals = [replace(goal_of(kind, rng, members, load), name=f"{kind} {k}") for k, kind in enumerate(kinds)]
    terms = replace(terms, blocks=tuple(goals))
    whole = planned(members, load, terms, NOW_S)
    monkeypatch.setattr(module, "FEW", 0)
    found = planned(members, load, terms, NOW_S, target=0.002)
    best = whole.schedule.cost
    tolerance = 1e-5 * abs(best) + 1e-4
    assert found.schedule.cost - found.gap <= best + tolerance
    assert whole.gap <= tolerance
    assert best - tolerance <= found.schedule.cost <= best + 0.006 * abs(best) + tolerance
    assert possible(members, found.p_kw, 2e-2)
    np.testing.assert_allclose(members.sums(found.p_kw), found.schedule.p_kw, atol=1e-6)


def test_what_a_goal_costs_is_part_of_the_price_of_whom_it_names():
    """A goal that binds is a named part of the price of its members alone, by their share of it."""
    members, load, terms = drawn(4, n=240)
    some = members.flexibility.groups[:40]
    flow = Flow({name: 1.0 if k % 2 else 0.5 for k, name in enumerate(some)}, np.zeros(STEPS))
    rest = flow.power_kw(members.flexibility, members.flexibility.base_kw)
    need = Band(
        "street",
        flow,
        np.where(np.arange(STEPS) == 7, rest + 20.0, -np.inf),
        np.full(STEPS, np.inf),
        5.0,
        0.0,
    )
    found = planned(members, load, replace(terms, blocks=(need,)), NOW_S)
    assert flow.power_kw(members.flexibility, found.p_kw)[7] >= rest[7] + 20.0 - 0.5
    part = next(part for part in found.grounds.parts if part.name == "street")
    assert {members.flexibility.groups[row] for row in part.rows} == set(some)
    np.testing.assert_allclose(
        part.share / part.share.max(), [flow.share[members.flexibility.groups[row]] for row in part.rows]
    )
    assert part.price[7] > 0.0
    assert not np.delete(part.price, 7).any()
    assert any(reason.row == "street" and reason.price > 0.0 for reason in found.schedule.reasons)


def test_a_share_that_many_devices_cannot_weigh_is_named():
    """By prices the worth of a share is left out with its name; in one program it counts."""
    members, load, terms = drawn(2, n=230)
    flow = Flow({"suns": 1.0}, np.zeros(STEPS))
    worth = Share("sun for all", flow, np.ones(STEPS), np.array([5.0, 5.0]), np.array([2.0, 1.0]))
    many = planned(members, load, replace(terms, blocks=(worth,)), NOW_S)
    bare = planned(members, load, terms, NOW_S)
    assert any("sun for all" in reason.row and "left out" in reason.row for reason in many.schedule.reasons)
    np.testing.assert_array_equal(many.p_kw, bare.p_kw)
    members, load, terms = drawn(2)
    few = planned(members, load, replace(terms, blocks=(worth,)), NOW_S)
    assert not any("left out" in reason.row for reason in few.schedule.reasons)
    assert few.schedule.penalty < 0.0


def test_owners_of_single_devices_may_pay_another_tariff(monkeypatch):
    """A premium that names a device goes before its group's, by prices as in one program."""
    members, load, terms = drawn(6)
    dear = {"batteries": np.full(STEPS, 0.05), members.flexibility.groups[0]: np.full(STEPS, 0.3)}
    terms = replace(terms, premium=dear)
    whole = planned(members, load, terms, NOW_S)
    monkeypatch.setattr(module, "FEW", 0)
    found = planned(members, load, terms, NOW_S, target=0.001)
    assert found.schedule.cost == pytest.approx(whole.schedule.cost, rel=0.003)


@pytest.mark.parametrize("seed", range(4))
def test_sums_that_no_goal_tells_apart_say_of_goals_what_devices_do(seed):
    """Cells are parts of groups; every goal's flow is the same of them as of their devices."""
    rng = np.random.default_rng(seed)
    members, load, terms = drawn(seed)
    goals = [replace(goal_of("band", rng, members, load), name=f"goal {k}") for k in range(3)]
    able, said = in_cells(members, replace(terms, blocks=tuple(goals)))
    np.testing.assert_allclose(able.base_kw.sum(axis=0), members.flexibility.base_kw.sum(axis=0))
    np.testing.assert_allclose(able.up_kw.sum(axis=0), members.flexibility.up_kw.sum(axis=0))
    for goal, block in zip(goals, said.blocks, strict=True):
        np.testing.assert_allclose(
            block.flow.power_kw(able, able.base_kw),
            goal_flow(goal, members).power_kw(members.flexibility, members.flexibility.base_kw),
        )


def goal_flow(goal, members):
    """A goal's flow by device."""
    inside = members.inside
    share = {d: part for name, part in goal.flow.share.items() for d in inside.get(name, (name,))}
    return replace(goal.flow, share=share)
