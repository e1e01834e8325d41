"""Laws of what outside credentials ask of the plan: whatever a plan makes of it, their budget holds.

Each life is decided twice in every tick: once as it is, and once as if nobody had asked; the difference is
booked by the test itself.
"""

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflock.dispatch import GuardLimits, GuardState, Policy, Response, Rules, step
from gridflock.dispatch._desk import unasked_kw
from gridflock.dispatch._diverted import Diversion
from gridflock.dispatch.guard import Approval, Mode
from gridflock.dispatch.guard._diverted import Behind
from gridflock.fleet import capability
from gridflock.model import Envelope, Priority, Proposal
from gridflock.schema import Family, Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S = world.NOW_S
COUNTS = {
    Kind.PV_ROOFTOP: 4,
    Kind.BATTERY_HOME: 5,
    Kind.EV_V1G: 3,
    Kind.EV_V2G: 2,
    Kind.THERMOSTAT: 4,
    Kind.LOAD: 2,
}
FLEET, GROUPS = world.fleet_of(COUNTS)
ROWS = world.rows_of(GROUPS)
PLANS = [name for name in GROUPS.ids if name.startswith("plan/")]
N = len(FLEET.ids)
BUDGET_KW, WINDOW_S = 20.0, 300
SLACK = 1e-3
SHUT = ROWS["section/north"]


class Life:
    """Devices that follow their orders, a plan, and somebody who asks what would do harm of it."""

    def __init__(self, seed, approval_kw=math.inf, size_kw=10.0):
        self.rng = np.random.default_rng(seed)
        self.values = world.ordinary(FLEET, self.rng)
        self.own = self.values["p_kw"].copy()
        self.now = NOW_S
        limits = GuardLimits(
            step_kw=math.inf, budget_kw=BUDGET_KW, window_s=WINDOW_S, approval_kw=approval_kw
        )
        self.policy = Policy(guard=limits, ramp_s=0)
        self.state, self.response, self.rules = GuardState.empty(N), Response.empty(N), Rules()
        self.behind = Behind("mallory", "goals-1", size_kw)
        self.ours = self.rng.normal(0, 10, len(PLANS))
        self.book, self.before = [], np.zeros(N)
        self.followed = []

    def diversion(self, plain):
        """What a plan may come to for goals, prices and forced flows: anything."""
        rng = self.rng
        schedule = replace(
            world.schedule_of(PLANS, rng.normal(0, rng.choice([3, 60]), len(PLANS))),
            peak_kw=float(rng.choice([5.0, 1e6])),
        )
        envelopes = list(plain)
        if rng.random() < 0.3:
            level = float(rng.normal(0, 200))
            envelopes = [Envelope("all", level, level + 5.0, "forced", self.now + 900)]
        wishes = []
        if rng.random() < 0.5:
            low, high = np.sort(rng.normal(0, 40, 2))
            group = str(rng.choice(["all", "section/south", "type/battery_home"]))
            wishes = [
                Proposal(
                    "goal:x", group, Priority.SCHEDULE, "plan", "", self.now, self.now + 900, None, low, high
                )
            ]
        return Diversion(self.behind, schedule, envelopes, wishes)

    def image(self):
        """What is measured now."""
        fleet, _ = world.fleet_of(COUNTS)
        self.values["depart_s"] = np.where(np.isnan(self.values["depart_s"]), np.nan, self.now + 30_000.0)
        return world.tell(fleet, self.values, self.now)

    def tick(self, asks):
        """One tick; what is decided, and what would be without."""
        rng = self.rng
        self.now += int(rng.choice([4, 30, 60, 290]))
        self.ours += rng.normal(0, 2, len(PLANS))
        schedule = world.schedule_of(PLANS, self.ours) if rng.random() < 0.9 else None
        plain = [Envelope("all", -200.0, 200.0, "head", self.now + 900)]
        known = (ROWS, self.response, self.policy, self.rules, self.state)
        image = self.image()
        asked = [self.diversion(plain)] if asks and rng.random() < 0.8 else []
        found = step(image, schedule, plain, [], *known, diversions=asked)
        without = step(image, schedule, plain, [], *known)
        self.check(image, found, without)
        self.happens(found)
        return found, without

    def happens(self, found):
        """Orders are obeyed at once, and answered."""
        orders = found.orders
        self.response, self.state = found.response, found.passed.state
        rows, said = world.answers(orders, time_s=self.now)
        self.response = self.response.heard(rows, said, self.now)
        self.state = self.state.heard(rows, said, self.now)
        ordered = self.response.ordered_kw
        self.values["p_kw"] = np.where(np.isfinite(ordered), ordered, self.own)

    # ---- what must hold ----------------------------------------------------------------------

    def check(self, image, found, without):
        """There and back, no more is diverted in any window than the budget."""
        one, other = found.targets, without.targets
        own = unasked_kw(other.present_kw, image, found.capability)
        ordered = self.response.expired(self.now).ordered_kw
        keeps = np.where(np.isfinite(ordered), ordered, own)
        diverts = np.where(np.isfinite(ordered), self.before, 0.0)
        plain = np.where(np.isnan(other.p_kw), keeps - diverts, other.p_kw)
        by_kw = np.where(np.isnan(one.p_kw), keeps, one.p_kw) - plain
        self.book.append((self.now, float(np.abs(by_kw - self.before).sum())))
        self.before = by_kw
        recent = sum(kw for t_s, kw in self.book if t_s > self.now - WINDOW_S)
        account = self.behind.author
        given = self.rules.at(self.now).approvals.get(self.behind.id)
        most = BUDGET_KW
        if given is not None and given.by != given.author:
            account, most = given.account, 2.0 * given.kw
        held = float(np.abs(by_kw).sum())
        assert recent + held <= most + SLACK * N
        told = found.passed.state.memory
        assert told.diverted_kw(account) == pytest.approx(held, abs=1e-2)
        self.followed += [one.share for one in found.followed]
        smooth = (image.columns["on_off"] == 0) & np.isfinite(one.p_kw)
        able = capability(image)
        assert (one.p_kw[smooth] >= able.p_lo_kw[smooth] - SLACK).all()
        assert (one.p_kw[smooth] <= able.p_hi_kw[smooth] + SLACK).all()


@pytest.mark.parametrize("seed", range(12))
def test_no_goal_diverts_more_than_the_budget(seed):
    """One window's diversions and the way back are within the budget, whatever the plan is made to be."""
    life = Life(seed)
    for _ in range(14):
        life.tick(asks=True)
    for _ in range(4):
        life.tick(asks=False)
    assert max(life.followed) > 0.0
    assert min(life.followed) < 1.0
    # Once nobody asks, and orders have run out, the fleet is where it would be.
    assert np.abs(life.before).sum() <= SLACK * N


@pytest.mark.parametrize("seed", range(4))
def test_large_goals_divert_nothing_before_a_second_person_approves(seed):
    """Until then every target is what it would be without; the author's own word counts for nothing."""
    life = Life(seed, approval_kw=12.0, size_kw=500.0)
    for by in (None, "mallory", "bob", None):
        if by is not None:
            word = Approval("goals-1", "mallory", by, 300.0, life.now + 1_500)
            life.rules = life.rules.with_approval(word)
        if by == "bob":
            life.book, life.before = [], np.zeros(N)
        shares = []
        for _ in range(4):
            found, without = life.tick(asks=True)
            shares += [one.share for one in found.followed]
            if by != "bob" and "bob" not in {a.by for a in life.rules.at(life.now).approvals.values()}:
                assert np.array_equal(found.targets.p_kw, without.targets.p_kw, equal_nan=True)
        if by == "bob":
            assert max(shares) > 0.0
            break


@pytest.mark.parametrize("seed", range(4))
def test_a_part_of_the_way_keeps_the_limits_that_both_ends_keep(seed):
    """On the straight way between two decisions every sum that both hold is held, of smooth devices."""
    life, parts = Life(seed + 100), 0
    batteries = ROWS["type/battery_home"]
    for _ in range(20):
        life.tick(asks=False)
        image, limit = life.image(), 12.0
        bound = [Envelope("type/battery_home", -limit, limit, "transformer", life.now + 900)]
        plans = [world.schedule_of(PLANS, life.rng.normal(0, 60, len(PLANS))) for _ in range(2)]
        asks = Diversion(life.behind, plans[1], bound, [])
        known = (ROWS, life.response, life.policy, life.rules, life.state)
        found = step(image, plans[0], bound, [], *known, diversions=[asks])
        parts += 0.0 < found.followed[0].share < 1.0
        whole = np.where(np.isnan(found.targets.p_kw), found.targets.present_kw, found.targets.p_kw)[
            batteries
        ]
        assert abs(whole.sum()) <= limit + SLACK
        for grant in found.grants:
            assert grant.shortfall_kw == pytest.approx(sum(grant.causes.values()), abs=1e-6)
    assert parts > 5


@pytest.mark.parametrize("seed", range(4))
def test_who_is_disabled_receives_nothing_for_goals_either(seed):
    """Whatever the plan is made to be: no order, not even one that takes another back."""
    life = Life(seed, approval_kw=math.inf)
    life.rules = life.rules.with_mode("section/north", Mode.DISABLED)
    for _ in range(8):
        found, _ = life.tick(asks=True)
        assert not np.isin(found.orders.index, SHUT).any()
        assert len(found.orders.index) or FLEET.family[SHUT].size
    assert (FLEET.family[SHUT] != Family.NONE).any()
